//! `[checks.*]`: a table of options, and what they make for each type of check.
//!
//! ```text
//! options   every option: types, default, range, reader
//! values    what the options may hold
//! targets   the (check, address) pairs that are probed
//! ```

mod options;
mod targets;
mod values;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Source;
use super::document::{Item, Located};
use super::kinds::one_of;
use super::report;
use crate::diag::{At, Diagnostics};
use crate::dns::{Name, Rcode, RrType};
use crate::model::{
    CheckKind, CheckSpec, DnsSpec, DnsTransport, ExecSpec, FlapRule, GrpcSpec, HeaderText,
    HttpSpec, IcmpSpec, LoadSource, PushSpec, Roots, SecretPlace, TcpSpec, TlsSpec,
};

use options::{Options, TYPES, Type};

pub use options::{CheckOption, OptionDefault, check_options};
pub(super) use targets::{Targets, sanity, warn_unused_addresses};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);
/// A probe that takes longer than this says enough, whatever the interval.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a report of a `push` check holds: several times what endpoints usually report at.
const DEFAULT_EXPIRES: Duration = Duration::from_secs(30);

/// Where the files are that a check names.
pub(super) struct Files<'a> {
    /// What relative paths are relative to.
    pub(super) directory: &'a Path,
    pub(super) source: &'a mut dyn Source,
}

/// Reads one `[checks.NAME]`.
pub(super) fn check(
    name: &str,
    item: &Item<'_>,
    files: &mut Files<'_>,
    out: &mut Diagnostics,
) -> Option<CheckSpec> {
    let mut t = item.table(out)?;
    let names: Vec<_> = TYPES
        .iter()
        .map(|(name, _)| format!("\"{name}\""))
        .collect();
    let hint = format!(
        "write type = \"https\", or another one of {}",
        names.join(", ")
    );
    let kind = t.required(out, "type", &hint, one_of(TYPES));
    let mut options = Options::read(&mut t, kind, out);
    let expires = options
        .expires
        .as_ref()
        .map_or(DEFAULT_EXPIRES, |expires| expires.value);
    // A report is no packet that may get lost: it counts at once, and so does silence.
    let (interval, fall, rise) = if kind == Some(Type::Push) {
        (expires, 1, 1)
    } else {
        (DEFAULT_INTERVAL, 3, 4)
    };
    let timing = Timing {
        interval: value(options.interval.take()).unwrap_or(interval),
        timeout: options.timeout.take(),
        fall: options.fall.take(),
    };
    if t.sound() {
        timing.warn(item, out);
    }
    let no_port = |kind: Type| kind.has_port() && kind.usual_port().is_none();
    if let Some(kind) = kind.filter(|kind| no_port(*kind) && t.item("port").is_none()) {
        let hint = format!(
            "a {} check has no usual port: write port = 5432, or whichever it is",
            kind.name()
        );
        out.error(
            "missing-key",
            item.key_at(),
            t.key_path("port"),
            format!("`port` is missing in `{}`", item.path),
        )
        .hint(hint);
        return None;
    }
    if !t.finish(out) {
        return None;
    }
    let timeout = if kind == Some(Type::Push) {
        Duration::ZERO
    } else {
        DEFAULT_TIMEOUT.min(timing.interval / 2)
    };
    let port = value(options.port.take())
        .or(kind?.usual_port())
        .unwrap_or(0);
    let (address, forgive, flap) = (
        options.address.take(),
        options.forgive.take(),
        options.flap.take(),
    );
    let rise = value(options.rise.take()).unwrap_or(rise);
    let fall = timing.fall.as_ref().map_or(fall, |fall| fall.value);
    if let Some(Located {
        value: Some(rule),
        at,
    }) = &flap
        && kind != Some(Type::Push)
    {
        // Between two changes it takes all the failures or all the passes.
        let falls = if fall < rise {
            rule.changes.div_ceil(2)
        } else {
            rule.changes / 2
        };
        let least = timing.interval * (falls * fall + (rule.changes - falls) * rise);
        warn_never_flaps(*rule, least, at, item, out);
    }
    Some(CheckSpec {
        name: name.to_owned(),
        kind: options.into_kind(kind?, item, files, out)?,
        address: value(address),
        port,
        interval: timing.interval,
        timeout: timing.timeout.map_or(timeout, |timeout| timeout.value),
        fall,
        rise,
        forgive: value(forgive).unwrap_or(5),
        flap: value(flap).unwrap_or(Some(FlapRule::DEFAULT)),
    })
}

/// Warns of a rule that nothing can break, since that takes at least the time `least`.
fn warn_never_flaps(
    rule: FlapRule,
    least: Duration,
    at: &At,
    item: &Item<'_>,
    out: &mut Diagnostics,
) {
    if least < rule.within {
        return;
    }
    let show = humantime::format_duration;
    let message = format!(
        "nothing goes up or down {} times in {}",
        rule.changes + 1,
        show(rule.within)
    );
    out.warning("never-flaps", at.clone(), format!("{}.flap", item.path), message).hint(format!(
        "by `interval`, `fall` and `rise` so many changes take at least {}: write a longer `within`, or flap = false",
        show(least)
    ));
}

struct Timing {
    interval: Duration,
    timeout: Option<Located<Duration>>,
    fall: Option<Located<u32>>,
}

impl Timing {
    fn warn(&self, item: &Item<'_>, out: &mut Diagnostics) {
        let show = humantime::format_duration;
        if let Some(timeout) = self
            .timeout
            .as_ref()
            .filter(|timeout| timeout.value >= self.interval)
        {
            let message = format!(
                "a timeout of {} is not below the interval of {}",
                show(timeout.value),
                show(self.interval)
            );
            out.warning(
                "slow-timeout",
                timeout.at.clone(),
                format!("{}.timeout", item.path),
                message,
            )
            .hint("a slow probe then still runs when the next is due; half the interval is usual");
        }
        if let Some(fall) = self
            .fall
            .as_ref()
            .filter(|fall| fall.value < 3 && self.interval < Duration::from_secs(1))
        {
            let message = format!(
                "fall = {} with an interval of {} takes little packet loss for an outage",
                fall.value,
                show(self.interval)
            );
            out.warning(
                "quick-fall",
                fall.at.clone(),
                format!("{}.fall", item.path),
                message,
            )
            .hint("fall = 3 or an interval of at least 1s forgives a lost packet");
        }
    }
}

fn value<T>(option: Option<Located<T>>) -> Option<T> {
    option.map(|located| located.value)
}

impl Options {
    /// What a probe of type `kind` does.
    fn into_kind(
        self,
        kind: Type,
        item: &Item<'_>,
        files: &mut Files<'_>,
        out: &mut Diagnostics,
    ) -> Option<CheckKind> {
        Some(match kind {
            Type::Http => CheckKind::Http(self.into_http(item, files, out)?.0),
            Type::Https => {
                let (http, rest) = self.into_http(item, files, out)?;
                CheckKind::Https(http, rest.into_tls(item, files, out)?)
            }
            Type::Tcp => CheckKind::Tcp(TcpSpec {
                send: value(self.send),
                expect: value(self.expect),
            }),
            Type::Tls => CheckKind::Tls(self.into_tls(item, files, out)?),
            Type::Icmp => CheckKind::Icmp(IcmpSpec {
                size: value(self.size).unwrap_or(56),
            }),
            Type::Dns => self.into_dns(item, out)?,
            Type::Grpc => self.into_grpc(item, files, out)?,
            Type::Exec => CheckKind::Exec(ExecSpec {
                command: program(self.command?, item, files, out)?,
            }),
            Type::Push => CheckKind::Push(PushSpec {
                expires: value(self.expires).unwrap_or(DEFAULT_EXPIRES),
            }),
        })
    }

    /// The exchange, and the options without those that went into it.
    fn into_http(
        mut self,
        item: &Item<'_>,
        files: &mut Files<'_>,
        out: &mut Diagnostics,
    ) -> Option<(HttpSpec, Options)> {
        let headers = self.headers.take().map_or(Some(Vec::new()), |headers| {
            with_secrets(headers.value, item, files, out)
        })?;
        let defaults = HttpSpec::default();
        let load = match (self.load_header.take(), self.load_json.take()) {
            (Some(_), Some(second)) => {
                out.error(
                    "excluding-keys",
                    second.at,
                    format!("{}.load_json", item.path),
                    "`load_json` stands beside `load_header`",
                )
                .hint("a load is read from one place: remove one of them");
                return None;
            }
            (Some(header), None) => Some(LoadSource::Header(header.value)),
            (None, pointer) => value(pointer).map(LoadSource::Json),
        };
        let http = HttpSpec {
            version: value(self.http_version.take()).unwrap_or(defaults.version),
            method: value(self.method.take()).unwrap_or(defaults.method),
            path: value(self.path.take()).unwrap_or(defaults.path),
            host: value(self.host.take()),
            headers,
            expect_status: value(self.expect_status.take()).unwrap_or(defaults.expect_status),
            expect_body: value(self.expect_body.take()),
            json: value(self.json.take()).unwrap_or_default(),
            follow_redirects: value(self.follow_redirects.take()).unwrap_or(0),
            load,
        };
        if http.method == "HEAD" && http.reads_body() {
            out.error(
                "head-without-body",
                item.key_at(),
                item.path.clone(),
                "the answer to HEAD has no body to look into",
            )
            .hint("remove `method`, or what is expected of the body");
            return None;
        }
        Some((http, self))
    }

    fn into_dns(self, item: &Item<'_>, out: &mut Diagnostics) -> Option<CheckKind> {
        let rr_type = value(self.query_type).unwrap_or(RrType::A);
        let expect_rcode = value(self.expect_rcode).unwrap_or(Rcode::NOERROR);
        if let Some(Located {
            value: addresses,
            at,
        }) = &self.expect_address
        {
            let has_type = |address: &IpAddr| {
                rr_type
                    == if address.is_ipv4() {
                        RrType::A
                    } else {
                        RrType::AAAA
                    }
            };
            let problem = match addresses.iter().find(|address| !has_type(address)) {
                _ if addresses.is_empty() => {
                    Some("the list is empty: no probe would ever pass".to_owned())
                }
                _ if expect_rcode != Rcode::NOERROR => {
                    Some(format!("an answer of {expect_rcode} has no address"))
                }
                Some(address) => Some(format!(
                    "the answer to a query for {rr_type} never has {address}"
                )),
                None => None,
            };
            if let Some(problem) = problem {
                out.error("never-passes", at.clone(), format!("{}.expect_address", item.path), problem).hint(
                    "A records have IPv4 addresses, AAAA records have IPv6 ones; without the key any answer of the code passes",
                );
                return None;
            }
        }
        Some(CheckKind::Dns(DnsSpec {
            name: value(self.query_name).unwrap_or_else(Name::root),
            rr_type,
            transport: value(self.transport).unwrap_or(DnsTransport::Udp),
            expect_rcode,
            expect_address: value(self.expect_address).unwrap_or_default(),
        }))
    }

    fn into_grpc(
        mut self,
        item: &Item<'_>,
        files: &mut Files<'_>,
        out: &mut Diagnostics,
    ) -> Option<CheckKind> {
        let (service, host) = (
            value(self.service.take()).unwrap_or_default(),
            value(self.host.take()),
        );
        let inside = value(self.tls.take()).unwrap_or(false);
        if !inside && let Some((key, at)) = self.tls_key() {
            out.warning(
                "useless-key",
                at,
                format!("{}.{key}", item.path),
                format!("`{key}` does nothing without TLS"),
            )
            .hint("write tls = true, or remove it");
        }
        let tls = self.into_tls(item, files, out)?;
        Some(CheckKind::Grpc(GrpcSpec {
            service,
            host,
            tls: inside.then_some(tls),
        }))
    }

    /// The first key that is about TLS, and where it stands.
    fn tls_key(&self) -> Option<(&'static str, At)> {
        fn at<T>(key: &'static str, option: &Option<Located<T>>) -> Option<(&'static str, At)> {
            option.as_ref().map(|located| (key, located.at.clone()))
        }
        at("server_name", &self.server_name)
            .or_else(|| at("verify_certificate", &self.verify_certificate))
            .or_else(|| at("ca_file", &self.ca_file))
            .or_else(|| at("certificate_min_days", &self.certificate_min_days))
            .or_else(|| at("certificate_warn_days", &self.certificate_warn_days))
    }

    fn into_tls(
        self,
        item: &Item<'_>,
        files: &mut Files<'_>,
        out: &mut Diagnostics,
    ) -> Option<TlsSpec> {
        let defaults = TlsSpec::default();
        let roots = match self.ca_file {
            Some(file) => Some(roots(&file, item, files, out)?),
            None => None,
        };
        let verify_certificate =
            value(self.verify_certificate).unwrap_or(defaults.verify_certificate);
        // Who takes any certificate does not care for its end, unless they say so.
        let warn = if verify_certificate {
            defaults.certificate_warn_days
        } else {
            0
        };
        Some(TlsSpec {
            server_name: value(self.server_name),
            verify_certificate,
            roots,
            certificate_min_days: value(self.certificate_min_days)
                .unwrap_or(defaults.certificate_min_days),
            certificate_warn_days: value(self.certificate_warn_days).unwrap_or(warn),
        })
    }
}

/// The headers, and what the secrets among them are.
fn with_secrets(
    headers: Vec<(String, Located<HeaderText>)>,
    item: &Item<'_>,
    files: &mut Files<'_>,
    out: &mut Diagnostics,
) -> Option<Vec<(String, HeaderText)>> {
    let mut sound = true;
    let mut read = Vec::with_capacity(headers.len());
    for (
        name,
        Located {
            value: mut text,
            at,
        },
    ) in headers
    {
        if let HeaderText::Secret(secret) = &mut text {
            if let SecretPlace::File(path) = &mut secret.place {
                *path = files.directory.join(&*path);
            }
            let key = format!("{}.headers.{name}", item.path);
            match files.source.secret(&secret.place) {
                Ok(value) => secret.value = value,
                Err(problem) => {
                    report(problem, at.clone(), key.clone(), out);
                    sound = false;
                }
            }
            if sound && secret.value.is_none() {
                out.warning("secret-not-read", at, key, format!("{} cannot be read here", secret.place)).hint(
                    "the check judges no endpoint without it; systemd hands credentials to the service alone (LoadCredential=)",
                );
            }
        }
        read.push((name, text));
    }
    sound.then_some(read)
}

/// A command whose program is there and may be run.
fn program(
    command: Located<Vec<String>>,
    item: &Item<'_>,
    files: &mut Files<'_>,
    out: &mut Diagnostics,
) -> Option<Vec<String>> {
    match files.source.program(Path::new(&command.value[0])) {
        Ok(()) => Some(command.value),
        Err(problem) => {
            report(problem, command.at, format!("{}.command", item.path), out);
            None
        }
    }
}

/// Reads a `ca_file`: at least one certificate in PEM, each good as a root.
fn roots(
    file: &Located<PathBuf>,
    item: &Item<'_>,
    files: &mut Files<'_>,
    out: &mut Diagnostics,
) -> Option<Roots> {
    let path = files.directory.join(&file.value);
    let mut refuse = |rule, message: String, hint: String| {
        out.error(
            rule,
            file.at.clone(),
            format!("{}.ca_file", item.path),
            message,
        )
        .hint(hint);
        None
    };
    let convert =
        "it must be PEM: openssl x509 -inform der -in FILE -out FILE.pem converts one certificate";
    let text = match files.source.text(&path) {
        Ok(text) => text,
        Err(problem) if problem.rule == "not-utf8" => {
            return refuse(
                "bad-certificate",
                format!("{} is not a PEM file", path.display()),
                convert.to_owned(),
            );
        }
        Err(problem) => {
            return refuse(
                problem.rule,
                problem.message,
                problem.hint.unwrap_or_default(),
            );
        }
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let certificates = match certificates {
        Ok(certificates) if !certificates.is_empty() => certificates,
        Ok(_) => {
            return refuse(
                "bad-certificate",
                format!("{} holds no certificate", path.display()),
                convert.to_owned(),
            );
        }
        Err(problem) => {
            return refuse(
                "bad-certificate",
                format!("{} is not a PEM file: {problem}", path.display()),
                convert.to_owned(),
            );
        }
    };
    let mut store = RootCertStore::empty();
    for (index, certificate) in certificates.iter().enumerate() {
        if store.add(certificate.clone()).is_err() {
            let message = format!(
                "certificate {} in {} cannot be read",
                index + 1,
                path.display()
            );
            return refuse(
                "bad-certificate",
                message,
                "openssl x509 -in FILE -noout -text shows what is wrong with the first".to_owned(),
            );
        }
    }
    Some(Roots {
        file: path,
        certificates: certificates.into(),
    })
}
