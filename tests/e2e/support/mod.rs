//! What the tests share: addresses, files, processes, toy endpoints and a client.

mod client;
mod net;
mod process;
mod site;
mod toy;
mod unbound;

pub(crate) use client::{Answer, Client, Hammer, exchange_tcp, get, get_with, post, query, udp};
pub(crate) use net::Net;
pub(crate) use process::{Done, Process, command, dig, kdig, run};
pub(crate) use site::{APP, Meridian, Site, ZONE};
pub(crate) use toy::Toy;
pub(crate) use unbound::{unbound, unbound_address};

use std::time::{Duration, Instant};

/// How long anything may take that is not itself what a test measures; only a broken program waits it out.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The first value that `look` finds; panics with `what` after [`PATIENCE`].
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
