//! Checks of endpoints: the settings common to all, and a spec for each type.

mod matching;
mod types;

use std::net::IpAddr;
use std::time::Duration;

use super::{CheckId, Target};

pub use matching::{JsonPointer, JsonRule, JsonTest, Load, Pattern, Scalar, StatusRange};
pub use types::{
    DnsSpec, DnsTransport, ExecSpec, GrpcSpec, HeaderText, HttpSpec, HttpVersion, IcmpSpec,
    LoadSource, PushSpec, Roots, Secret, SecretPlace, TcpSpec, TlsSpec,
};

/// One `[checks.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckSpec {
    /// Its name in the configuration.
    pub name: String,
    /// The kind of probe, with its options.
    pub kind: CheckKind,
    /// The address that `[server] sanity` probes; endpoints bring their own.
    pub address: Option<IpAddr>,
    /// Port probed, TCP or UDP as the type has it; 0 for the types that have none.
    pub port: u16,
    /// Time from one probe of an endpoint to the next, at least 100 ms; for `push`, how long a report holds.
    pub interval: Duration,
    /// The longest time that one probe may take in all; nothing waits for a report, so zero for
    /// `push`.
    pub timeout: Duration,
    /// Failures (accumulated) that take an endpoint down; at least 1.
    pub fall: u32,
    /// Passes in a row that bring it back; at least 1.
    pub rise: u32,
    /// Passes in a row that forgive accumulated failures; at least 1.
    pub forgive: u32,
    /// Failures by a refused, reset or closed connection (accumulated) that take an endpoint down;
    /// 1 … `fall`.
    pub fall_refused: u32,
    /// Time from an outcome to the next probe while an endpoint that is up has failures counted;
    /// 50 ms … `interval`. At `interval` no probe comes early.
    pub recheck: Duration,
    /// True where probes come as early while an endpoint that is down has passes counted.
    pub recheck_up: bool,
    /// True where an idle connection to each endpoint is held, whose loss has the endpoint probed
    /// at once.
    pub watch: bool,
    /// Rule by which an endpoint is held down as flapping; `None` holds none.
    pub flap: Option<FlapRule>,
}

/// The number of changes between up and down that count as flapping, and the hold that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlapRule {
    /// Changes of state within `within` that are borne; one more is flapping. At least 1.
    pub changes: u32,
    /// The time in which they are counted.
    pub within: Duration,
    /// The length of the hold.
    pub hold: Duration,
}

impl FlapRule {
    /// The rule of a check that names none.
    pub const DEFAULT: FlapRule = FlapRule {
        changes: 4,
        within: Duration::from_secs(600),
        hold: Duration::from_secs(300),
    };
}

impl CheckSpec {
    /// True where a pass is to report the endpoint's load.
    pub fn reports_load(&self) -> bool {
        matches!(&self.kind, CheckKind::Http(http) | CheckKind::Https(http, _) if http.load.is_some())
    }
}

/// A kind of probe, and its expectations.
#[derive(Debug, Clone, PartialEq)]
pub enum CheckKind {
    /// An HTTP exchange in the clear.
    Http(HttpSpec),
    /// The same inside TLS.
    Https(HttpSpec, TlsSpec),
    /// A TCP connection that opens, and what is said on it.
    Tcp(TcpSpec),
    /// A TLS handshake.
    Tls(TlsSpec),
    /// An ICMP echo.
    Icmp(IcmpSpec),
    /// A DNS query.
    Dns(DnsSpec),
    /// A call of gRPC's health service.
    Grpc(GrpcSpec),
    /// A program of the operator's.
    Exec(ExecSpec),
    /// The endpoint reports itself; nothing is sent to it.
    Push(PushSpec),
}

impl CheckKind {
    /// The type's name in the configuration.
    pub fn type_name(&self) -> &'static str {
        match self {
            CheckKind::Http(_) => "http",
            CheckKind::Https(..) => "https",
            CheckKind::Tcp(_) => "tcp",
            CheckKind::Tls(_) => "tls",
            CheckKind::Icmp(_) => "icmp",
            CheckKind::Dns(_) => "dns",
            CheckKind::Grpc(_) => "grpc",
            CheckKind::Exec(_) => "exec",
            CheckKind::Push(_) => "push",
        }
    }

    /// True where nothing is sent to the endpoint, which reports itself.
    pub fn is_push(&self) -> bool {
        matches!(self, CheckKind::Push(_))
    }

    /// The secrets that its probes send.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let headers = match self {
            CheckKind::Http(http) | CheckKind::Https(http, _) => &http.headers[..],
            _ => &[],
        };
        headers.iter().filter_map(|(_, text)| match text {
            HeaderText::Secret(secret) => Some(secret),
            HeaderText::Plain(_) => None,
        })
    }

    /// Returns the TLS options, where a probe makes a handshake.
    pub fn tls(&self) -> Option<&TlsSpec> {
        match self {
            CheckKind::Https(_, tls) | CheckKind::Tls(tls) => Some(tls),
            CheckKind::Grpc(spec) => spec.tls.as_ref(),
            _ => None,
        }
    }
}

/// A (check, address) pair: what is probed and what health is kept for, shared by every service
/// that uses the pair.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProbeTarget {
    /// The check that probes it.
    pub check: CheckId,
    /// The probed address, or the name that is resolved at each probe.
    pub target: Target,
}

impl ProbeTarget {
    /// The address probed, unless it is a name.
    pub fn address(&self) -> Option<IpAddr> {
        match self.target {
            Target::Address(address) => Some(address),
            Target::Name(_) => None,
        }
    }
}
