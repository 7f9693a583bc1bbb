//! One function is the server: [`respond`], bytes in, bytes out. The transports are its callers.
//!
//! It allocates nothing, locks nothing and makes no system call; class CH alone, where operators ask
//! the server about itself, may allocate.

mod ahead;
mod chaos;
mod internet;
mod why;
mod worker;

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::dataset::Snapshot;
use crate::dns::{
    Class, ExtendedError, HEADER, Rcode, Request, RrType, UDP_SIZE, Unanswerable, Writer,
    header_only, refuse_tsig,
};

use ahead::Ahead;
pub use internet::steer;
pub use why::{Explanation, Possible, Step, explain, query_message};
pub use worker::{Counters, Worker};

/// One message as a transport received it.
#[derive(Debug, Clone, Copy)]
pub struct Query<'q> {
    /// The message.
    pub bytes: &'q [u8],
    /// Who sent it.
    pub client: IpAddr,
    /// How.
    pub transport: Transport,
}

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram: the answer is at most 1232 octets, or what the client takes if that is less.
    Udp,
    /// Over a stream: the answer is at most 65535 octets.
    Tcp,
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
        })
    }
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response {
    /// The answer is the first `n` octets of the buffer.
    Send(usize),
    /// There is no answer to send.
    Drop(DropReason),
}

/// Why a message gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// Fewer octets than a header.
    Short,
    /// It is a response.
    NotAQuery,
}

/// The smallest buffer [`respond`] takes for each transport.
pub const UDP_BUFFER: usize = UDP_SIZE as usize;
/// See [`UDP_BUFFER`].
pub const TCP_BUFFER: usize = 65_535;

/// A message and where its answer goes.
#[derive(Debug)]
pub struct Exchange<'m> {
    /// The message.
    pub query: Query<'m>,
    /// Room for the answer: at least [`UDP_BUFFER`] or [`TCP_BUFFER`] octets.
    pub out: &'m mut [u8],
    /// The answer's length; `None` when the message deserves none.
    pub answer: Option<usize>,
}

/// Answers `query` from `snapshot` into `out`, which has at least [`UDP_BUFFER`] or [`TCP_BUFFER`] octets.
pub fn respond(
    snapshot: &Snapshot,
    worker: &mut Worker,
    query: &Query<'_>,
    out: &mut [u8],
) -> Response {
    finish(
        snapshot,
        worker,
        &Ahead::of(&snapshot.dataset.names, query),
        query,
        out,
    )
}

/// Answers every one of `exchanges`, whose answers are `None`, as [`respond`] does, and sooner than one after the other: what their answers need
/// is fetched from memory for all of them at once.
pub fn respond_all(snapshot: &Snapshot, worker: &mut Worker, exchanges: &mut [Exchange<'_>]) {
    for group in exchanges.chunks_mut(ahead::GROUP) {
        let read = ahead::look_ahead(snapshot, worker.number, group);
        for (exchange, ahead) in group.iter_mut().zip(&read) {
            exchange.answer = match finish(snapshot, worker, ahead, &exchange.query, exchange.out) {
                Response::Send(length) => Some(length),
                Response::Drop(_) => None,
            };
        }
    }
}

fn finish(
    snapshot: &Snapshot,
    worker: &mut Worker,
    ahead: &Ahead<'_>,
    query: &Query<'_>,
    out: &mut [u8],
) -> Response {
    worker.counters.count_query(query.transport);
    match ahead.unanswerable {
        None => {}
        Some(Unanswerable::HeaderOnly(rcode)) => {
            worker.counters.count_rcode(rcode);
            return Response::Send(header_only(query.bytes, rcode, out));
        }
        Some(Unanswerable::Short) => return worker.counters.count_drop(DropReason::Short),
        Some(Unanswerable::NotAQuery) => return worker.counters.count_drop(DropReason::NotAQuery),
    }
    let request = &ahead.request;
    let server = &snapshot.dataset.config.server;
    let nsid = server.identity.then_some(server.node.as_bytes());
    let limit = limit(request, query.transport);
    let mut writer = Writer::new(request, nsid, limit, out);
    match request.error {
        Some(rcode) => writer.rcode = rcode,
        None if matches!(request.qtype, RrType::AXFR | RrType::IXFR) => {
            refuse(&mut writer, ExtendedError::NOT_SUPPORTED)
        }
        None if request.qclass == Class::IN => {
            internet::answer(snapshot, worker, ahead, query, &mut writer)
        }
        None if request.qclass == Class::CH => {
            // What is made for people takes more code than an answer, and no thread may end by it.
            let answer = AssertUnwindSafe(|| {
                chaos::answer(snapshot, worker.wall, request, query, &mut writer)
            });
            if catch_unwind(answer).is_err() {
                return failed(worker, query, out);
            }
        }
        None => refuse(&mut writer, ExtendedError::NOT_SUPPORTED),
    }
    worker.counters.count_rcode(writer.rcode);
    if writer.tc {
        worker.counters.truncated.add(1);
    }
    let length = writer.finish(request, nsid);
    if request.error == Some(Rcode::NOTAUTH) {
        return Response::Send(refuse_tsig(
            query.bytes,
            request.tsig_at,
            length,
            limit,
            out,
        ));
    }
    Response::Send(length)
}

/// REFUSED, and why.
fn refuse(writer: &mut Writer<'_>, why: ExtendedError) {
    writer.rcode = Rcode::REFUSED;
    writer.extended_error = Some(why);
}

/// The answer where the program failed: SERVFAIL, counted.
pub fn failed(worker: &Worker, query: &Query<'_>, out: &mut [u8]) -> Response {
    worker.counters.panics.add(1);
    worker.counters.count_rcode(Rcode::SERVFAIL);
    match query.bytes.len() {
        HEADER.. => Response::Send(header_only(query.bytes, Rcode::SERVFAIL, out)),
        _ => Response::Drop(DropReason::Short),
    }
}

/// The most octets the answer may have. "Values lower than 512 MUST be treated as equal to 512" (RFC 6891 §6.2.3).
fn limit(request: &Request<'_>, transport: Transport) -> usize {
    match (transport, &request.edns) {
        (Transport::Tcp, _) => TCP_BUFFER,
        (Transport::Udp, None) => PLAIN_UDP,
        (Transport::Udp, Some(edns)) => usize::from(edns.udp_size.min(UDP_SIZE)).max(PLAIN_UDP),
    }
}

/// The most octets of a datagram without EDNS (RFC 1035 §4.2.1).
const PLAIN_UDP: usize = 512;
