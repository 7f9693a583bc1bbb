//! The closed list of reasons for which a probe fails.
//!
//! The `Display` texts are made to stand in one log sentence after "because" or a colon:
//! `eu-west 192.0.2.10 is down: the connection was refused`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::phase::Phase;
use super::tracker::Failure;
use crate::dns::Rcode;

/// Reason why a probe failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// HTTP: the answer is not acceptable HTTP.
    Http(HttpFault),
    /// The body, or what came back on the connection, does not contain what the check expects.
    NoMatch,
    /// The body breaks a rule of `json`.
    Json(JsonFault),
    /// The target name did not resolve.
    Resolve(ResolveFault),
    /// DNS: not the answer that the check expects.
    Dns(DnsFault),
    /// gRPC: the health service does not say that it is serving.
    Grpc(GrpcFault),
    /// The program of an `exec` check did not pass.
    Exec(ExecFault),
    /// The endpoint's own reports.
    Push(PushFault),
    /// The operating system's error, by its number, where none of the above fits.
    System(i32),
}

impl FailReason {
    /// Its kind, as a metric's label.
    pub fn as_label(self) -> &'static str {
        match self {
            FailReason::ConnectRefused => "connect_refused",
            FailReason::Unreachable => "unreachable",
            FailReason::Timeout(_) => "timeout",
            FailReason::Closed(_) => "closed",
            FailReason::Certificate(_) => "certificate",
            FailReason::Tls(_) => "tls",
            FailReason::Status(_) => "status",
            FailReason::Http(_) => "http",
            FailReason::NoMatch => "no_match",
            FailReason::Json(_) => "json",
            FailReason::Resolve(_) => "resolve",
            FailReason::Dns(_) => "dns",
            FailReason::Grpc(_) => "grpc",
            FailReason::Exec(_) => "exec",
            FailReason::Push(_) => "push",
            FailReason::System(_) => "system",
        }
    }
}

/// Rule that a certificate breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// Its end is nearer than `certificate_min_days`: in this many days, 0 on its last day.
    EndsIn(u32),
    /// It was revoked.
    Revoked,
    /// It cannot be read.
    Encoding,
    /// Any other rule.
    Other,
}

/// A fault in TLS, certificates aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsFault {
    /// The peer sent a fatal alert, by its number (RFC 8446 §6).
    Alert(u8),
    /// The reply is not TLS.
    NotTls,
    /// No protocol version or cipher suite in common.
    Incompatible,
    /// Any other violation of the protocol.
    Other,
}

/// A fault of an HTTP answer, status aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpFault {
    /// The reply is not HTTP of the requested version.
    NotHttp,
    /// The response's head is longer than the prober reads.
    HeadTooLong,
    /// It does not offer HTTP/2, which the check asks for.
    NoHttp2,
    /// HTTP/2: the peer ended the request or the connection with this error code (RFC 9113 §7).
    Http2(u32),
    /// It redirects more often than `follow_redirects` allows.
    TooManyRedirects,
    /// A redirect without a location that can be followed.
    BadRedirect,
}

/// A fault of a body that must be JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JsonFault {
    /// It is no JSON, or longer than the prober reads.
    NotJson,
    /// Nothing is where the pointer leads.
    Absent,
    /// The value is not a number, and the check compares it with one.
    NotANumber,
    /// The number is below `min`.
    Below,
    /// The number is above `max`.
    Above,
    /// The value is not the one that `equals` names, or is the one that `not` names.
    OtherValue,
}

/// Reason why a target name has no address, as a working name server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResolveFault {
    /// There is no such name (NXDOMAIN).
    NoSuchName,
    /// The name exists without addresses.
    NoAddress,
}

/// A fault of a DNS answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DnsFault {
    /// Another response code than the one expected.
    Rcode(Rcode),
    /// None of the expected addresses is in the answer.
    Address,
    /// The reply is not an answer to the query.
    NotDns,
    /// The answer over UDP is cut short.
    Truncated,
}

/// A fault of the answer of a gRPC health service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrpcFault {
    /// The call failed with this status code.
    Status(u8),
    /// It says that it is not serving.
    NotServing,
    /// It says that it does not know.
    Unknown,
    /// It does not know the service.
    UnknownService,
    /// The reply is not gRPC.
    NotGrpc,
}

/// The failing end of the program of an `exec` check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecFault {
    /// With this exit code, not 0.
    Exit(u8),
    /// By this signal.
    Signal(u8),
    /// It wrote more than is read.
    TooMuchOutput,
}

/// Reason why the endpoint's own reports fail it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushFault {
    /// None came for longer than `expires`.
    Silent,
    /// It reported that it is not well.
    Reported,
}

impl FailReason {
    /// The kind of the failure: a refused, reset or closed connection is the deed of a host that
    /// is reached, and no lost packet.
    pub fn failure(self) -> Failure {
        match self {
            FailReason::ConnectRefused | FailReason::Closed(_) => Failure::Refusal,
            _ => Failure::Doubtful,
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
            FailReason::NoMatch => f.write_str("it did not answer what is expected"),
            FailReason::Json(fault) => fault.fmt(f),
            FailReason::Resolve(fault) => fault.fmt(f),
            FailReason::Dns(fault) => fault.fmt(f),
            FailReason::Grpc(fault) => fault.fmt(f),
            FailReason::Exec(fault) => fault.fmt(f),
            FailReason::Push(fault) => fault.fmt(f),
            FailReason::System(number) => {
                write!(f, "{}", std::io::Error::from_raw_os_error(*number))
            }
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
            CertificateRule::EndsIn(0) => "expires within a day",
            CertificateRule::EndsIn(1) => "expires in 1 day",
            CertificateRule::EndsIn(days) => return write!(f, "expires in {days} days"),
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
            TlsFault::Incompatible => {
                f.write_str("it has no TLS version or cipher suite in common with us")
            }
            TlsFault::Other => f.write_str("it broke the TLS protocol"),
        }
    }
}

impl fmt::Display for HttpFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HttpFault::NotHttp => "it does not speak HTTP",
            HttpFault::HeadTooLong => "the head of its response is too long",
            HttpFault::NoHttp2 => "it does not offer HTTP/2",
            HttpFault::Http2(code) => {
                return write!(f, "it ended the HTTP/2 request with error code {code}");
            }
            HttpFault::TooManyRedirects => "it redirects too often",
            HttpFault::BadRedirect => "it redirects to nowhere that can be followed",
        })
    }
}

impl fmt::Display for JsonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JsonFault::NotJson => "its body is not JSON",
            JsonFault::Absent => "its JSON has nothing where the pointer leads",
            JsonFault::NotANumber => "its JSON has no number where the pointer leads",
            JsonFault::Below => "a number in its JSON is below the least allowed",
            JsonFault::Above => "a number in its JSON is above the most allowed",
            JsonFault::OtherValue => "a value in its JSON is not the one expected",
        })
    }
}

impl fmt::Display for ResolveFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ResolveFault::NoSuchName => "its name does not exist",
            ResolveFault::NoAddress => "its name has no address",
        })
    }
}

impl fmt::Display for DnsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DnsFault::Rcode(rcode) => return write!(f, "it answered {rcode}"),
            DnsFault::Address => "its answer has none of the expected addresses",
            DnsFault::NotDns => "what it sent is no answer to the query",
            DnsFault::Truncated => "its answer was cut short",
        })
    }
}

impl fmt::Display for GrpcFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GrpcFault::Status(code) => {
                return match grpc_status(*code) {
                    Some(name) => write!(f, "it answered with gRPC status {name} ({code})"),
                    None => write!(f, "it answered with gRPC status {code}"),
                };
            }
            GrpcFault::NotServing => "it says that it is not serving",
            GrpcFault::Unknown => "it says that it does not know whether it is serving",
            GrpcFault::UnknownService => "it does not know the service",
            GrpcFault::NotGrpc => "it does not speak gRPC",
        })
    }
}

impl fmt::Display for ExecFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExecFault::Exit(code) => write!(f, "the program ended with exit code {code}"),
            ExecFault::Signal(number) => write!(f, "the program was killed by signal {number}"),
            ExecFault::TooMuchOutput => f.write_str("the program wrote too much"),
        }
    }
}

impl fmt::Display for PushFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PushFault::Silent => "it has not reported for too long",
            PushFault::Reported => "it reported that it is not well",
        })
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

/// gRPC's status codes.
fn grpc_status(code: u8) -> Option<&'static str> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES.get(usize::from(code)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_as_the_end_of_a_sentence() {
        let texts = [
            FailReason::Timeout(Phase::Connect).to_string(),
            FailReason::Certificate(CertificateRule::Expired).to_string(),
            FailReason::Certificate(CertificateRule::EndsIn(6)).to_string(),
            FailReason::Tls(TlsFault::Alert(40)).to_string(),
            FailReason::Tls(TlsFault::Alert(255)).to_string(),
            FailReason::Status(503).to_string(),
            FailReason::Dns(DnsFault::Rcode(Rcode::SERVFAIL)).to_string(),
            FailReason::Grpc(GrpcFault::Status(14)).to_string(),
        ];
        assert_eq!(
            texts,
            [
                "the timeout ran out while connecting",
                "the certificate has expired",
                "the certificate expires in 6 days",
                "it refused TLS with alert handshake_failure (40)",
                "it refused TLS with alert 255",
                "it answered with status 503",
                "it answered SERVFAIL",
                "it answered with gRPC status UNAVAILABLE (14)",
            ]
        );
    }
}
