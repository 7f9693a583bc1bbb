//! Types of checks: the action and the expectations of each.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::matching::{JsonPointer, JsonRule, Pattern, StatusRange};
use crate::dns::{Name, Rcode, RrType};

/// An HTTP exchange.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSpec {
    /// Version of the protocol that is spoken.
    pub version: HttpVersion,
    /// Request method, e.g. `GET`.
    pub method: String,
    /// Request target, starting with `/`.
    pub path: String,
    /// Host header and TLS server name; `None` uses the endpoint's address or target name.
    pub host: Option<String>,
    /// Further request headers.
    pub headers: Vec<(String, HeaderText)>,
    /// Statuses that pass; never empty.
    pub expect_status: Vec<StatusRange>,
    /// The pattern that the first 64 KiB of the body must contain.
    pub expect_body: Option<Pattern>,
    /// The rules that the body must meet, read as JSON of at most 64 KiB.
    pub json: Vec<JsonRule>,
    /// The number of redirects to follow, 0 … 10; at 0 a redirect is an answer like any other.
    pub follow_redirects: u32,
    /// Part of the response that tells the endpoint's load.
    pub load: Option<LoadSource>,
}

impl Default for HttpSpec {
    /// `GET /`, expecting a status of 2xx.
    fn default() -> HttpSpec {
        HttpSpec {
            version: HttpVersion::Auto,
            method: "GET".to_owned(),
            path: "/".to_owned(),
            host: None,
            headers: Vec::new(),
            expect_status: vec![StatusRange {
                first: 200,
                last: 299,
            }],
            expect_body: None,
            json: Vec::new(),
            follow_redirects: 0,
            load: None,
        }
    }
}

impl HttpSpec {
    /// True where the head of the response does not decide alone.
    pub fn reads_body(&self) -> bool {
        self.expect_body.is_some() || self.reads_json()
    }

    /// True where the body is read as JSON.
    pub fn reads_json(&self) -> bool {
        !self.json.is_empty() || matches!(self.load, Some(LoadSource::Json(_)))
    }
}

/// Version of HTTP that a probe speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpVersion {
    /// Inside TLS what the server prefers of HTTP/2 and HTTP/1.1 (ALPN), as browsers do; HTTP/1.1 in the clear.
    #[default]
    Auto,
    /// HTTP/1.1.
    One,
    /// HTTP/2; in the clear with prior knowledge (RFC 9113 §3.3).
    Two,
}

/// Part of a response in which an endpoint reports its load, 0.0 (idle) … 1.0 (full).
#[derive(Debug, Clone, PartialEq)]
pub enum LoadSource {
    /// A header of the response.
    Header(String),
    /// A number in its body, read as JSON.
    Json(JsonPointer),
}

/// A TCP connection.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TcpSpec {
    /// The text that is sent once the connection is open.
    pub send: Option<String>,
    /// The pattern that the first 64 KiB of the reply must contain.
    pub expect: Option<Pattern>,
}

/// A TLS handshake.
#[derive(Debug, Clone, PartialEq)]
pub struct TlsSpec {
    /// The name asked for (SNI) and looked for in the certificate; `None` uses the Host header's,
    /// else the endpoint's target name or address.
    pub server_name: Option<String>,
    /// False accepts any certificate: the probe then proves reachability, not identity.
    pub verify_certificate: bool,
    /// Certificate authorities trusted besides the system's.
    pub roots: Option<Roots>,
    /// A certificate that is valid for fewer days than this fails.
    pub certificate_min_days: u32,
    /// One that is valid for fewer days than this is warned of.
    pub certificate_warn_days: u32,
}

impl Default for TlsSpec {
    /// Verified against the system's authorities; warned of 14 days before its end.
    fn default() -> TlsSpec {
        TlsSpec {
            server_name: None,
            verify_certificate: true,
            roots: None,
            certificate_min_days: 0,
            certificate_warn_days: 14,
        }
    }
}

/// The value of a request header of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderText {
    /// These characters of the configuration.
    Plain(String),
    /// A value that is kept elsewhere, because it is secret.
    Secret(Secret),
}

impl HeaderText {
    /// The whole text; `None` of a secret that cannot be read now.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            HeaderText::Plain(text) => Some(Cow::Borrowed(text)),
            HeaderText::Secret(secret) => {
                let value = secret.value.as_deref()?;
                Some(Cow::Owned(format!("{}{value}", secret.prefix)))
            }
        }
    }
}

/// A secret, and what is put before it. Its `Debug` does not show it, and what is derived from that does not depend on it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// Put before it, as in `Bearer `.
    pub prefix: String,
    /// Its place.
    pub place: SecretPlace,
    /// It; `None` where it cannot be read now.
    pub value: Option<String>,
}

/// Place of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPlace {
    /// In a file.
    File(PathBuf),
    /// In systemd's directory of credentials, under this name.
    Credential(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("prefix", &self.prefix)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretPlace::File(path) => write!(f, "{}", path.display()),
            SecretPlace::Credential(name) => write!(f, "the credential {name}"),
        }
    }
}

/// The certificates of a `ca_file`; equal where the certificates are.
#[derive(Debug, Clone)]
pub struct Roots {
    /// The file, for messages.
    pub file: PathBuf,
    /// At least one, each usable as a root; DER (RFC 5280 §4.1).
    pub certificates: Arc<[Box<[u8]>]>,
}

impl PartialEq for Roots {
    fn eq(&self, other: &Roots) -> bool {
        self.certificates == other.certificates
    }
}

/// An ICMP echo request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IcmpSpec {
    /// Bytes of payload, 8 … 1400.
    pub size: u16,
}

/// A DNS query.
#[derive(Debug, Clone, PartialEq)]
pub struct DnsSpec {
    /// The name asked for.
    pub name: Name,
    /// The type asked for.
    pub rr_type: RrType,
    /// UDP or TCP.
    pub transport: DnsTransport,
    /// The response code that passes.
    pub expect_rcode: Rcode,
    /// Addresses of which at least one must be in the answer; empty expects none in particular.
    pub expect_address: Vec<IpAddr>,
}

/// The transport of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsTransport {
    /// One datagram each way.
    Udp,
    /// A connection.
    Tcp,
}

/// A call of `grpc.health.v1.Health/Check`.
#[derive(Debug, Clone, PartialEq)]
pub struct GrpcSpec {
    /// The service asked about; empty asks about the whole server.
    pub service: String,
    /// The `:authority` of the call; `None` uses the endpoint's address or target name.
    pub host: Option<String>,
    /// Inside TLS, or in the clear.
    pub tls: Option<TlsSpec>,
}

/// A program that is run without a shell; exit code 0 passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecSpec {
    /// The program, an absolute path, and its arguments.
    pub command: Vec<String>,
}

/// Reports of the endpoint's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushSpec {
    /// The time that a report is valid; silence for longer is a failure.
    pub expires: Duration,
}
