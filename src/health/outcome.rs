//! What one probe saw, and the closed list of reasons for which one fails.
//!
//! The `Display` texts are made to stand in one log sentence after "because" or a colon:
//! `eu-west 192.0.2.10 is down: the connection was refused`.

use std::fmt;
use std::time::Duration;

use crate::model::{Family, Moment};

/// What one probe saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// When the probe ended.
    pub at: Moment,
    /// What it saw.
    pub seen: Seen,
    /// How long each phase took, the one that failed included.
    pub phases: Phases,
}

/// The verdict of one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The endpoint did what the check expects.
    Pass,
    /// It did not.
    Fail(FailReason),
    /// The probe says nothing about the endpoint: its state is kept.
    NotJudged(NotJudged),
}

/// Why a probe failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailReason {
    /// Nothing listens on the port, or a firewall says so.
    ConnectRefused,
    /// The network or the host says that there is no way to it.
    Unreachable,
    /// The check's `timeout` ran out in this phase.
    Timeout(Phase),
    /// The peer closed or reset the connection in this phase.
    Closed(Phase),
    /// TLS: the certificate breaks this rule.
    Certificate(CertificateRule),
    /// TLS: anything else.
    Tls(TlsFault),
    /// HTTP: a status that the check does not expect.
    Status(u16),
    /// HTTP: the answer is not acceptable HTTP/1.1.
    Http(HttpFault),
    /// The target name did not resolve.
    Resolve(ResolveFault),
    /// The operating system's error, by its number, where none of the above fits.
    System(i32),
}

/// The parts of a probe, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Resolving the target name; addresses skip it.
    Resolve,
    /// The TCP handshake.
    Connect,
    /// The TLS handshake.
    Tls,
    /// From the request's first byte to the end of the response's head.
    Response,
}

/// How long each phase of a probe took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Phases([Option<Duration>; 4]);

/// Which rule a certificate breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateRule {
    /// Its `notAfter` is past.
    Expired,
    /// Its `notBefore` is to come.
    NotYetValid,
    /// It is made for other names than the one asked.
    Name,
    /// No trusted root issued it; self-signed certificates are of this kind.
    UnknownIssuer,
    /// An authority's own certificate, presented as a server's: self-signed ones often are.
    AuthorityAsServer,
    /// A signature in its chain does not verify.
    Signature,
    /// It is not for TLS servers (extended key usage).
    Purpose,
    /// It was revoked.
    Revoked,
    /// It cannot be read.
    Encoding,
    /// Any other rule.
    Other,
}

/// What went wrong in TLS, certificates aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFault {
    /// The peer sent a fatal alert, by its number (RFC 8446 §6).
    Alert(u8),
    /// What came back is not TLS.
    NotTls,
    /// No protocol version or cipher suite in common.
    Incompatible,
    /// Any other violation of the protocol.
    Other,
}

/// What is wrong with an HTTP answer, status aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpFault {
    /// What came back is not HTTP/1.1.
    NotHttp,
    /// The response's head is longer than the prober reads.
    HeadTooLong,
}

/// Why a target name gave no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResolveFault {
    /// The resolver reported an error; "no such name" is one.
    Failed,
    /// The name exists without addresses.
    NoAddress,
}

/// Why a probe says nothing about its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotJudged {
    /// This node has no route for the address family.
    NoRoute(Family),
    /// This node ran out of descriptors, ports or memory; the operating system's error number.
    Resources(i32),
    /// The check cannot be run as it is written.
    Check,
}

impl Outcome {
    /// True when the probe passed.
    pub fn passed(&self) -> bool {
        self.seen == Seen::Pass
    }
}

impl Phases {
    /// How long `phase` took; `None` where the probe did not come to it.
    pub fn get(&self, phase: Phase) -> Option<Duration> {
        self.0[phase as usize]
    }

    /// Adds to how long `phase` took: a target name's addresses are probed one after another.
    pub fn add(&mut self, phase: Phase, taken: Duration) {
        *self.0[phase as usize].get_or_insert_default() += taken;
    }

    /// All phases together.
    pub fn total(&self) -> Duration {
        self.0.iter().flatten().sum()
    }

    /// The phases the probe came to, with how long each took.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> + '_ {
        Phase::ALL.into_iter().filter_map(|phase| Some((phase, self.get(phase)?)))
    }
}

impl Phase {
    /// Every phase, in their order.
    pub const ALL: [Phase; 4] = [Phase::Resolve, Phase::Connect, Phase::Tls, Phase::Response];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Resolve => "while resolving the name",
            Phase::Connect => "while connecting",
            Phase::Tls => "in the TLS handshake",
            Phase::Response => "while waiting for the response",
        })
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seen::Pass => f.write_str("passed"),
            Seen::Fail(reason) => reason.fmt(f),
            Seen::NotJudged(why) => write!(f, "not judged: {why}"),
        }
    }
}

impl fmt::Display for FailReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FailReason::ConnectRefused => f.write_str("the connection was refused"),
            FailReason::Unreachable => f.write_str("the network has no way to it"),
            FailReason::Timeout(phase) => write!(f, "the timeout ran out {phase}"),
            FailReason::Closed(phase) => write!(f, "the connection was closed {phase}"),
            FailReason::Certificate(rule) => write!(f, "the certificate {rule}"),
            FailReason::Tls(fault) => fault.fmt(f),
            FailReason::Status(status) => write!(f, "it answered with status {status}"),
            FailReason::Http(fault) => fault.fmt(f),
            FailReason::Resolve(fault) => fault.fmt(f),
            FailReason::System(number) => write!(f, "{}", std::io::Error::from_raw_os_error(*number)),
        }
    }
}

impl fmt::Display for CertificateRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CertificateRule::Expired => "has expired",
            CertificateRule::NotYetValid => "is not valid yet",
            CertificateRule::Name => "is for another name",
            CertificateRule::UnknownIssuer => "is not issued by a trusted authority",
            CertificateRule::AuthorityAsServer => "is an authority's own, not a server's",
            CertificateRule::Signature => "has a signature that does not verify",
            CertificateRule::Purpose => "is not for TLS servers",
            CertificateRule::Revoked => "was revoked",
            CertificateRule::Encoding => "cannot be read",
            CertificateRule::Other => "is not acceptable",
        })
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsFault::Alert(number) => match alert_name(*number) {
                Some(name) => write!(f, "it refused TLS with alert {name} ({number})"),
                None => write!(f, "it refused TLS with alert {number}"),
            },
            TlsFault::NotTls => f.write_str("it does not speak TLS"),
            TlsFault::Incompatible => f.write_str("it has no TLS version or cipher suite in common with us"),
            TlsFault::Other => f.write_str("it broke the TLS protocol"),
        }
    }
}

impl fmt::Display for HttpFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HttpFault::NotHttp => "it does not speak HTTP/1.1",
            HttpFault::HeadTooLong => "the head of its response is too long",
        })
    }
}

impl fmt::Display for ResolveFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ResolveFault::Failed => "its name did not resolve",
            ResolveFault::NoAddress => "its name has no address",
        })
    }
}

impl fmt::Display for NotJudged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotJudged::NoRoute(Family::V4) => f.write_str("this node has no route for IPv4"),
            NotJudged::NoRoute(Family::V6) => f.write_str("this node has no route for IPv6"),
            NotJudged::Resources(number) => {
                write!(f, "this node cannot probe: {}", std::io::Error::from_raw_os_error(*number))
            }
            NotJudged::Check => f.write_str("the check's request cannot be sent as written"),
        }
    }
}

/// The alerts a server refuses a handshake with (RFC 8446 §6).
fn alert_name(number: u8) -> Option<&'static str> {
    Some(match number {
        10 => "unexpected_message",
        40 => "handshake_failure",
        42 => "bad_certificate",
        47 => "illegal_parameter",
        50 => "decode_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        109 => "missing_extension",
        112 => "unrecognized_name",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_as_the_end_of_a_sentence() {
        let texts = [
            FailReason::Timeout(Phase::Connect).to_string(),
            FailReason::Certificate(CertificateRule::Expired).to_string(),
            FailReason::Tls(TlsFault::Alert(40)).to_string(),
            FailReason::Tls(TlsFault::Alert(255)).to_string(),
            FailReason::Status(503).to_string(),
            Seen::NotJudged(NotJudged::NoRoute(Family::V6)).to_string(),
        ];
        assert_eq!(
            texts,
            [
                "the timeout ran out while connecting",
                "the certificate has expired",
                "it refused TLS with alert handshake_failure (40)",
                "it refused TLS with alert 255",
                "it answered with status 503",
                "not judged: this node has no route for IPv6",
            ]
        );
    }

    #[test]
    fn phases_add_up() {
        let mut phases = Phases::default();
        phases.add(Phase::Connect, Duration::from_millis(3));
        phases.add(Phase::Response, Duration::from_millis(4));
        assert_eq!(phases.total(), Duration::from_millis(7));
        assert_eq!(phases.get(Phase::Tls), None);
        assert_eq!(phases.iter().map(|(phase, _)| phase).collect::<Vec<_>>(), [Phase::Connect, Phase::Response]);
    }
}
