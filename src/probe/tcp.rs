//! The TCP connection: the `tcp` check, and the first step of the others that have one.

use std::net::SocketAddr;

use regex::bytes::Regex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::attempt::{Attempt, family};
use super::report::Report;
use super::{MAX_BODY, route};
use crate::health::{Evidence, FailReason, Phase, Seen};
use crate::model::TcpSpec;

/// The number of searches of what came so far before only a doubling of it is reason for another:
/// an endpoint that sends its bytes one by one costs no more than that.
const LOOKS: usize = 64;

/// A `tcp` check: the connection opens, takes what is sent and answers what is expected.
pub(super) async fn probe(
    spec: &TcpSpec,
    attempt: &Attempt<'_>,
    report: &mut Report,
) -> Result<(), Seen> {
    let mut stream = connect(attempt.address).await?;
    if spec.send.is_none() && spec.expect.is_none() {
        return Ok(());
    }
    report.enter(Phase::Response);
    let judge = |error| route::judge(&error, Phase::Response, attempt.family());
    if let Some(text) = &spec.send {
        stream.write_all(text.as_bytes()).await.map_err(judge)?;
    }
    match attempt.check.pattern() {
        Some(pattern) => expect(&mut stream, pattern, report).await.map_err(judge)?,
        None => Ok(()),
    }
}

/// Reads until `pattern` matches what came; the outer error is the connection's. What came is kept
/// as evidence as it comes, for a probe that is cut off.
async fn expect(
    stream: &mut TcpStream,
    pattern: &Regex,
    report: &mut Report,
) -> std::io::Result<Result<(), Seen>> {
    let mut received = Vec::with_capacity(1024);
    let (mut looks, mut looked) = (0, 0);
    loop {
        let read = stream
            .take((MAX_BODY - received.len()) as u64)
            .read_buf(&mut received)
            .await?;
        let ended = read == 0;
        if received.len() <= Evidence::MAX + read {
            report.evidence = Evidence::of(&received);
        }
        if looks < LOOKS || received.len() >= 2 * looked || ended {
            (looks, looked) = (looks + 1, received.len());
            if pattern.is_match(&received) {
                return Ok(Ok(()));
            }
        }
        if ended {
            return Ok(Err(Seen::Fail(if received.is_empty() {
                FailReason::Closed(Phase::Response)
            } else {
                FailReason::NoMatch
            })));
        }
    }
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
