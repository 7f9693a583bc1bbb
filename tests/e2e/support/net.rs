//! Loopback addresses that belong to one test.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};

/// The port of the DNS servers.
pub(crate) const DNS: u16 = 5300;
/// The port of the admin addresses.
pub(crate) const ADMIN: u16 = 8053;
/// The port of the toy endpoints.
pub(crate) const HTTP: u16 = 8080;

/// A network `127.a.b.0/24`: `a` from the process, `b` counted, so that neither the tests of one run nor
/// two runs on one machine meet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Net(u8, u8);

impl Net {
    pub(crate) fn new() -> Net {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        Net(
            10 + (std::process::id() % 240) as u8,
            NEXT.fetch_add(1, Ordering::Relaxed),
        )
    }

    /// An address in it.
    pub(crate) fn host(self, last: u8) -> IpAddr {
        Ipv4Addr::new(127, self.0, self.1, last).into()
    }

    /// Where this test's server answers DNS.
    pub(crate) fn dns(self) -> SocketAddr {
        (self.host(1), DNS).into()
    }

    /// Where it answers HTTP.
    pub(crate) fn admin(self) -> SocketAddr {
        (self.host(1), ADMIN).into()
    }

    /// `http://` and the same.
    pub(crate) fn admin_url(self) -> String {
        format!("http://{}", self.admin())
    }
}
