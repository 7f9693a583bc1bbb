//! How endpoints are probed.

use std::net::IpAddr;
use std::time::Duration;

use super::{CheckId, Target};

/// One `[checks.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckSpec {
    /// Its name in the configuration.
    pub name: String,
    /// What a probe does.
    pub kind: CheckKind,
    /// What `[server] sanity` probes with it; endpoints bring their own address.
    pub address: Option<IpAddr>,
    /// TCP port probed.
    pub port: u16,
    /// Time from one probe of an endpoint to the next; at least 100 ms.
    pub interval: Duration,
    /// How long one probe may take in all.
    pub timeout: Duration,
    /// Failures (accumulated) that take an endpoint down; at least 1.
    pub fall: u32,
    /// Passes in a row that bring it back; at least 1.
    pub rise: u32,
    /// Passes in a row that forgive accumulated failures; at least 1.
    pub forgive: u32,
}

/// What a probe does and what it expects.
#[derive(Debug, Clone, PartialEq)]
pub enum CheckKind {
    /// A TCP connection that opens.
    Tcp,
    /// An HTTP/1.1 exchange in the clear.
    Http(HttpSpec),
    /// The same inside TLS.
    Https {
        /// The exchange.
        http: HttpSpec,
        /// False accepts any certificate: the probe then proves reachability, not identity.
        verify_certificate: bool,
    },
}

/// An HTTP exchange.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSpec {
    /// Request method, e.g. `GET`.
    pub method: String,
    /// Request target, starting with `/`.
    pub path: String,
    /// Host header and TLS server name; `None` uses the endpoint's address or target name.
    pub host: Option<String>,
    /// Further request headers.
    pub headers: Vec<(String, String)>,
    /// Statuses that pass; never empty.
    pub expect_status: Vec<StatusRange>,
}

/// An inclusive range of status codes: `"204"` is one, `"2xx"` a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    /// First status that passes, 100 … 599.
    pub first: u16,
    /// Last status that passes.
    pub last: u16,
}

impl StatusRange {
    /// True when `status` passes.
    pub fn contains(&self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

/// A (check, address) pair: what is probed and what health is kept for, shared by every service
/// that uses the pair.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProbeTarget {
    /// How it is probed.
    pub check: CheckId,
    /// What is probed: an address, or a name that is resolved at each probe.
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
