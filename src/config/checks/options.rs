//! The table of every option of a check: one row says which types take it, its default, its range
//! and unit, and how it is read. [`Options::read`] goes through the rows, so that each rule about
//! keys (absent, useless for the type, out of range) is reported in one way.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::super::document::{Item, Located, Table};
use super::super::kinds::{address, boolean, duration, integer, list, one_of, text};
use super::values::{
    command, dns_name, flap, header_name, headers, host, json, method, path, pattern, pointer,
    rr_type, statuses,
};
use crate::diag::Diagnostics;
use crate::dns::{Name, Rcode, RrType};
use crate::model::{
    DnsTransport, FlapRule, HeaderText, HttpVersion, JsonPointer, JsonRule, Pattern, StatusRange,
};

use OptionDefault::{By, Is, No, Required};
use Type::{Dns, Exec, Grpc, Http, Https, Icmp, Push, Tcp, Tls};

/// The type of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Http,
    Https,
    Tcp,
    Tls,
    Icmp,
    Dns,
    Grpc,
    Exec,
    Push,
}

/// The types that there are, by the names they have in the configuration.
pub(super) const TYPES: &[(&str, Type)] = &[
    ("http", Http),
    ("https", Https),
    ("tcp", Tcp),
    ("tls", Tls),
    ("icmp", Icmp),
    ("dns", Dns),
    ("grpc", Grpc),
    ("exec", Exec),
    ("push", Push),
];

const ALL: &[Type] = &[Http, Https, Tcp, Tls, Icmp, Dns, Grpc, Exec, Push];
/// Those that are probed, instead of reporting themselves.
const PROBED: &[Type] = &[Http, Https, Tcp, Tls, Icmp, Dns, Grpc, Exec];
/// Those that are sent to a port; and programs, which may be told one.
const PORT: &[Type] = &[Http, Https, Tcp, Tls, Dns, Grpc, Exec];
/// Those that are a connection, which can be held.
const CONNECTED: &[Type] = &[Http, Https, Tcp, Tls, Grpc];
/// Those that speak HTTP as a browser does.
const WEB: &[Type] = &[Http, Https];
/// Those that may be inside TLS.
const IN_TLS: &[Type] = &[Https, Tls, Grpc];

impl Type {
    /// Its name in the configuration.
    pub(super) fn name(self) -> &'static str {
        match self {
            Http => "http",
            Https => "https",
            Tcp => "tcp",
            Tls => "tls",
            Icmp => "icmp",
            Dns => "dns",
            Grpc => "grpc",
            Exec => "exec",
            Push => "push",
        }
    }

    /// The port that such servers usually have; `None` where there is none in particular.
    pub(super) fn usual_port(self) -> Option<u16> {
        match self {
            Http => Some(80),
            Https | Tls => Some(443),
            Dns => Some(53),
            Tcp | Grpc | Icmp | Exec | Push => None,
        }
    }

    /// True where a probe goes to a port.
    pub(super) fn has_port(self) -> bool {
        PORT.contains(&self) && self != Exec
    }
}

/// One option of a check, as it is documented and enforced.
#[derive(Debug)]
pub struct CheckOption {
    /// The key.
    pub key: &'static str,
    types: &'static [Type],
    /// The value where it is not written.
    pub default: OptionDefault,
    /// Its range with its unit, or what it may hold.
    pub range: &'static str,
}

/// The value of an option that is not written.
#[derive(Debug, Clone, Copy)]
pub enum OptionDefault {
    /// This value, as the file would have it.
    Is(&'static str),
    /// A value that these words describe.
    By(&'static str),
    /// None: the probe leaves that out.
    No,
    /// It must be written; the hint shows an example.
    Required(&'static str),
}

impl CheckOption {
    /// The names of the types of check that take it.
    pub fn types(&self) -> impl Iterator<Item = &'static str> + '_ {
        TYPES
            .iter()
            .filter(|(_, kind)| self.types.contains(kind))
            .map(|(name, _)| *name)
    }
}

/// Every option of a check, `type` aside, in the order they are documented.
pub fn check_options() -> impl Iterator<Item = &'static CheckOption> {
    ROWS.iter().filter(|row| row.types().next().is_some())
}

macro_rules! options {
    ($($key:ident: $value:ty = $types:expr, $default:expr, $range:literal, $read:expr;)+) => {
        const ROWS: &[CheckOption] = &[
            $(CheckOption { key: stringify!($key), types: $types, default: $default, range: $range },)+
        ];

        /// The options of one `[checks.NAME]`; `None` where one is not written, or wrong.
        pub(super) struct Options {
            $(pub(super) $key: Option<Located<$value>>,)+
        }

        impl Options {
            /// Reads every option of the table `t` for a check of type `kind`, and reports what is
            /// wrong.
            pub(super) fn read(t: &mut Table<'_>, kind: Option<Type>, out: &mut Diagnostics) -> Options {
                let mut rows = ROWS.iter();
                Options { $($key: rows.next().and_then(|row| row.read(t, kind, out, $read)),)+ }
            }
        }
    };
}

options! {
    // key: value = types, default, range and unit, reader
    port: u16 = PORT, By("80 for http, 443 for https and tls, 53 for dns; none for exec"), "1 to 65535",
        |item, out| integer(1..=65535, "")(item, out).and_then(|port| u16::try_from(port).ok());
    interval: Duration = PROBED, Is("\"2s\""), "100ms to 1h",
        duration(Duration::from_millis(100)..=Duration::from_secs(3600));
    timeout: Duration = PROBED, By("half the interval, at most 1s"), "1ms to 1m",
        duration(Duration::from_millis(1)..=Duration::from_secs(60));
    fall: u32 = ALL, By("3; 1 for push"), "1 to 1000 failures", integer(1..=1000, "failures");
    rise: u32 = ALL, By("4; 1 for push"), "1 to 1000 passes", integer(1..=1000, "passes");
    forgive: u32 = ALL, Is("5"), "1 to 1000 passes", integer(1..=1000, "passes");
    fall_refused: u32 = PROBED, By("`fall`"), "1 failure or more, at most `fall`", integer(1..=1000, "failures");
    recheck: Duration = PROBED, By("a quarter of the interval, at least 50ms"), "50ms or more, at most the interval",
        duration(Duration::from_millis(50)..=Duration::from_secs(3600));
    recheck_up: bool = PROBED, Is("false"), "true or false", boolean;
    watch: bool = CONNECTED, Is("false"), "true or false", boolean;
    flap: Option<FlapRule> = ALL, Is("{ changes = 4, within = \"10m\", hold = \"5m\" }"),
        "a table of changes (1 … 100), within and hold (1s … 1d), or false", flap;
    address: IpAddr = PROBED, No, "an address", address;

    path: String = WEB, Is("\"/\""), "a path, with its query", path;
    method: String = WEB, Is("\"GET\""), "a method in upper case", method;
    host: String = &[Http, Https, Grpc], By("the endpoint's address or target name"), "a host name or an address", host;
    headers: Vec<(String, Located<HeaderText>)> = WEB, No, "a table of strings, and of { file = \"…\" } or { credential = \"…\" } with a prefix", headers;
    http_version: HttpVersion = WEB, Is("\"auto\""), "\"auto\", \"1.1\", \"2\"",
        one_of(&[("auto", HttpVersion::Auto), ("1.1", HttpVersion::One), ("2", HttpVersion::Two)]);
    follow_redirects: u32 = WEB, Is("0"), "0 to 10 redirects", integer(0..=10, "redirects");
    expect_status: Vec<StatusRange> = WEB, Is("[\"2xx\"]"), "a list of \"204\", \"2xx\", \"200-399\"", statuses;
    expect_body: Pattern = WEB, No, "a string or { regex = \"…\" }", pattern;
    json: Vec<JsonRule> = WEB, No, "{ pointer = \"/…\" } with min, max, equals or not; or a list of them", json;
    load_header: String = WEB, No, "the name of a header", header_name;
    load_json: JsonPointer = WEB, No, "a JSON pointer", pointer;

    send: String = &[Tcp], No, "a string", text;
    expect: Pattern = &[Tcp], No, "a string or { regex = \"…\" }", pattern;

    tls: bool = &[Grpc], Is("false"), "true or false", boolean;
    server_name: String = IN_TLS, By("the name in `host`, else the endpoint's target name or address"),
        "a host name or an address", host;
    verify_certificate: bool = IN_TLS, Is("true"), "true or false", boolean;
    ca_file: PathBuf = IN_TLS, No, "a PEM file", |item, out| text(item, out).map(PathBuf::from);
    certificate_min_days: u32 = IN_TLS, Is("0"), "0 to 3650 days", integer(0..=3650, "days");
    certificate_warn_days: u32 = IN_TLS, By("14, and 0 without `verify_certificate`"), "0 to 3650 days", integer(0..=3650, "days");

    size: u16 = &[Icmp], Is("56"), "8 to 1400 bytes", |item, out| integer(8..=1400, "bytes")(item, out).and_then(|size| u16::try_from(size).ok());

    query_name: Name = &[Dns], Required("write query_name = \"www.example.com\""), "a name", dns_name;
    query_type: RrType = &[Dns], Is("\"A\""), "a record type", rr_type;
    transport: DnsTransport = &[Dns], Is("\"udp\""), "\"udp\", \"tcp\"",
        one_of(&[("udp", DnsTransport::Udp), ("tcp", DnsTransport::Tcp)]);
    expect_rcode: Rcode = &[Dns], Is("\"NOERROR\""), "\"NOERROR\", \"NXDOMAIN\", \"REFUSED\", \"SERVFAIL\"",
        one_of(&[
            ("NOERROR", Rcode::NOERROR), ("NXDOMAIN", Rcode::NXDOMAIN), ("REFUSED", Rcode::REFUSED), ("SERVFAIL", Rcode::SERVFAIL),
        ]);
    expect_address: Vec<IpAddr> = &[Dns], No, "a list of addresses", list(address);

    service: String = &[Grpc], Is("\"\""), "a service's name, or empty for the whole server",
        |item, out| item.string(out, "a string").map(str::to_owned);

    command: Vec<String> = &[Exec], Required("write command = [\"/usr/local/lib/check\"]"), "a list of strings", command;

    expires: Duration = &[Push], Is("\"30s\""), "1s to 1d", duration(Duration::from_secs(1)..=Duration::from_secs(86_400));
}

impl CheckOption {
    /// The option's value in `t`, which is a check of type `kind`.
    fn read<'d, T>(
        &self,
        t: &mut Table<'d>,
        kind: Option<Type>,
        out: &mut Diagnostics,
        read: impl FnOnce(&Item<'d>, &mut Diagnostics) -> Option<T>,
    ) -> Option<Located<T>> {
        let useless = kind.filter(|kind| !self.types.contains(kind));
        match (useless, t.item(self.key)) {
            (Some(kind), Some(item)) => {
                let message = format!(
                    "`{}` does nothing in a check of type \"{}\"",
                    self.key,
                    kind.name()
                );
                out.error("useless-key", item.key_at(), item.path, message)
                    .hint("remove it, or change the type of the check");
                None
            }
            (None, None) if kind.is_some() => match self.default {
                Required(hint) => t.required(out, self.key, hint, |_, _| None),
                _ => None,
            },
            (_, None) => None,
            (None, Some(_)) => t.located(out, self.key, read),
        }
    }
}
