//! The TCP connection: all of a `tcp` check, and the first step of the others.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::prober::Attempt;
use super::report::Report;
use super::route;
use crate::health::{Phase, Seen};
use crate::model::{Family, TcpSpec};

/// A `tcp` check: the connection opens.
pub(super) async fn probe(_spec: &TcpSpec, attempt: &Attempt<'_>, _report: &mut Report) -> Result<(), Seen> {
    connect(attempt.address).await.map(drop)
}

/// Connects to `address`.
///
/// The connection is set to close with a reset: a probe has nothing left to send, and thousands
/// of probes would otherwise leave thousands of sockets in TIME_WAIT, each with a port.
pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream, Seen> {
    let judge = |error| route::judge(&error, Phase::Connect, family(&address));
    let stream = TcpStream::connect(address).await.map_err(judge)?;
    stream.set_zero_linger().map_err(judge)?;
    Ok(stream)
}

/// The family of a socket address.
pub(super) fn family(address: &SocketAddr) -> Family {
    if address.is_ipv4() { Family::V4 } else { Family::V6 }
}
