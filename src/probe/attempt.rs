//! One attempt: a check, run at one address.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use tokio::time::Instant;

use super::check::Check;
use crate::model::Family;

/// The facts of one attempt at one address, as every type of check needs them.
pub(super) struct Attempt<'a> {
    /// The check that is run.
    pub(super) check: &'a Check,
    /// The target's name, without its final dot; `None` where it is an address.
    pub(super) name: Option<&'a str>,
    /// The address probed; with port 0 where the type of the check has none.
    pub(super) address: SocketAddr,
    /// The moment at which the attempt is cut off.
    pub(super) deadline: Instant,
}

impl Attempt<'_> {
    /// The target as a Host header names it, port not included.
    pub(super) fn named(&self) -> Cow<'_, str> {
        match (self.name, self.address.ip()) {
            (Some(name), _) => Cow::Borrowed(name),
            (None, IpAddr::V4(address)) => Cow::Owned(address.to_string()),
            (None, IpAddr::V6(address)) => Cow::Owned(format!("[{address}]")),
        }
    }

    /// The family of the address.
    pub(super) fn family(&self) -> Family {
        family(&self.address)
    }
}

/// The family of a socket address.
pub(super) fn family(address: &SocketAddr) -> Family {
    if address.is_ipv4() {
        Family::V4
    } else {
        Family::V6
    }
}
