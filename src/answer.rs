//! One function is the server: [`respond`], bytes in, bytes out. The transports are its callers.
//!
//! It allocates nothing, locks nothing and makes no system call; class CH alone, where operators ask
//! the server about itself, may allocate.

mod chaos;
mod internet;
mod prefetch;
mod why;
mod worker;

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::dataset::Snapshot;
use crate::dns::{
    Class, ExtendedError, HEADER, Prefix, Rcode, Request, RrType, UDP_SIZE, Unanswerable, Writer,
    header_only, refuse_tsig,
};
use crate::model::Moment;

pub use internet::steer;
use prefetch::Prefetched;
pub use why::{Explanation, Possible, Step, explain, query_message};
pub use worker::{AnswerSize, AskedType, Counters, QueryTraits, Worker};

/// One message as a transport received it.
#[derive(Debug, Clone, Copy)]
pub struct Query<'q> {
    /// The message.
    pub bytes: &'q [u8],
    /// The sender's address and port.
    pub peer: SocketAddr,
    /// The address and port that the message was sent to.
    pub local: SocketAddr,
    /// The transport that it came by.
    pub transport: Transport,
    /// The time of its arrival: read once for all messages of a batch.
    pub now: Moment,
}

impl<'q> Query<'q> {
    /// A query of `client` that came through no socket: with ports 0 and at the moment zero.
    pub fn synthetic(bytes: &'q [u8], client: IpAddr, transport: Transport) -> Query<'q> {
        Query {
            bytes,
            peer: SocketAddr::new(client, 0),
            local: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            transport,
            now: Moment::default(),
        }
    }

    /// The client that decides about the answer: that of the Client Subnet, else the sender.
    #[inline]
    fn client(&self, request: &Request<'_>) -> Prefix {
        match request.client_subnet() {
            Some(subnet) => subnet,
            None => Prefix::host(self.peer.ip()),
        }
    }
}

/// A way for messages to come, and for answers to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams: an answer has at most 1232 octets, or what the client takes if that is less.
    Udp,
    /// A stream: a message of an answer has at most 65535 octets.
    Tcp,
}

impl Transport {
    /// Every transport, in the order of [`Transport::index`].
    pub const ALL: [Transport; 2] = [Transport::Udp, Transport::Tcp];

    /// Its place in tables that have an entry for each transport.
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
        })
    }
}

/// The answer to a message, if it gets one.
///
/// `M` makes the messages of an answer after its first. Nothing that [`respond`] answers has more
/// than one yet; its `M` has no values, and so [`Response::Stream`] costs it nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response<M = Infallible> {
    /// The answer is the first `n` octets of the buffer.
    Send(usize),
    /// The first message of the answer is the first `n` octets of the buffer, and more follow. Only
    /// for transports that are streams.
    Stream(usize, M),
    /// There is no answer to send.
    Drop(DropReason),
}

/// A reason for not answering a message at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// It has fewer octets than a header.
    Short,
    /// It is a response.
    NotAQuery,
}

impl DropReason {
    /// Every reason, in the order of the counters that [`Counters::dropped`] has of them.
    pub const ALL: [DropReason; 2] = [DropReason::Short, DropReason::NotAQuery];
}

/// The smallest buffer that [`respond`] takes for an answer over UDP, in octets.
pub const UDP_BUFFER: usize = UDP_SIZE as usize;
/// The smallest buffer that [`respond`] takes for an answer over a stream, in octets.
pub const TCP_BUFFER: usize = 65_535;

/// A datagram, and the room for its answer.
#[derive(Debug)]
pub struct Exchange<'m> {
    /// The message.
    pub query: Query<'m>,
    /// Room for the answer: at least [`UDP_BUFFER`] or [`TCP_BUFFER`] octets.
    pub out: &'m mut [u8],
    /// The answer's length; `None` when the message deserves none.
    pub answer: Option<usize>,
}

/// Answers `query` from `snapshot` into `out`, which has at least [`UDP_BUFFER`] or [`TCP_BUFFER`]
/// octets.
pub fn respond(
    snapshot: &Snapshot,
    worker: &mut Worker,
    query: &Query<'_>,
    out: &mut [u8],
) -> Response {
    finish(
        snapshot,
        worker,
        &Prefetched::of(&snapshot.dataset.names, query),
        query,
        out,
    )
}

/// Answers every one of `exchanges`, whose answers are `None`, as [`respond`] does.
///
/// It takes less time than answering one after the other: the memory that the answers need is
/// fetched for a group of them at once.
pub fn respond_all(snapshot: &Snapshot, worker: &mut Worker, exchanges: &mut [Exchange<'_>]) {
    for group in exchanges.chunks_mut(prefetch::GROUP) {
        let read = prefetch::prefetch(snapshot, worker.number, group);
        for (exchange, prefetched) in group.iter_mut().zip(&read) {
            let Exchange { query, out, answer } = exchange;
            *answer = match finish(snapshot, worker, prefetched, query, out) {
                Response::Send(length) => Some(length),
                Response::Drop(_) => None,
            };
        }
    }
}

/// Answers `query` from what is known of it already.
fn finish(
    snapshot: &Snapshot,
    worker: &mut Worker,
    prefetched: &Prefetched<'_>,
    query: &Query<'_>,
    out: &mut [u8],
) -> Response {
    // Before anything returns, so that every message is counted, those without an answer too.
    let is_read = prefetched.unanswerable.is_none();
    let request = is_read.then_some(&prefetched.request);
    worker.counters.count_query(query, request);
    match prefetched.unanswerable {
        None => {}
        Some(Unanswerable::HeaderOnly(rcode)) => {
            let length = header_only(query.bytes, rcode, out);
            worker.counters.count_answer(rcode, length);
            return Response::Send(length);
        }
        Some(Unanswerable::Short) => return worker.counters.count_drop(DropReason::Short),
        Some(Unanswerable::NotAQuery) => return worker.counters.count_drop(DropReason::NotAQuery),
    }
    let request = &prefetched.request;
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
            internet::answer(snapshot, worker, prefetched, query, &mut writer)
        }
        None if request.qclass == Class::CH => {
            // An explanation runs far more code than an answer does. An error in it must not end the
            // thread, which serves everybody else.
            let answer = AssertUnwindSafe(|| {
                chaos::answer(snapshot, worker.wall, request, query, &mut writer)
            });
            if catch_unwind(answer).is_err() {
                return failed(worker, query, out);
            }
        }
        None => refuse(&mut writer, ExtendedError::NOT_SUPPORTED),
    }
    if writer.tc {
        worker.counters.truncated.add(1);
    }
    let rcode = writer.rcode;
    let mut length = writer.finish(request, nsid);
    // TSIG is the last record of a message, so it goes behind the OPT record that `finish` has
    // written.
    if request.error == Some(Rcode::NOTAUTH) {
        length = refuse_tsig(query.bytes, request.tsig_at, length, limit, out);
    }
    worker.counters.count_answer(rcode, length);
    if let Some((zone, _)) = prefetched.found {
        snapshot.count_from(zone, rcode, worker.number);
    }
    Response::Send(length)
}

/// Makes the answer REFUSED, for the reason `why`.
fn refuse(writer: &mut Writer<'_>, why: ExtendedError) {
    writer.rcode = Rcode::REFUSED;
    writer.extended_error = Some(why);
}

/// Answers SERVFAIL where the program failed, and counts it.
pub fn failed(worker: &Worker, query: &Query<'_>, out: &mut [u8]) -> Response {
    worker.counters.panics.add(1);
    if query.bytes.len() < HEADER {
        return Response::Drop(DropReason::Short);
    }
    let length = header_only(query.bytes, Rcode::SERVFAIL, out);
    worker.counters.count_answer(Rcode::SERVFAIL, length);
    Response::Send(length)
}

/// The most octets that the answer may have. "Values lower than 512 MUST be treated as equal to 512"
/// (RFC 6891 §6.2.3).
fn limit(request: &Request<'_>, transport: Transport) -> usize {
    match (transport, &request.edns) {
        (Transport::Tcp, _) => TCP_BUFFER,
        (Transport::Udp, None) => PLAIN_UDP,
        (Transport::Udp, Some(edns)) => usize::from(edns.udp_size.min(UDP_SIZE)).max(PLAIN_UDP),
    }
}

/// The most octets of a datagram without EDNS (RFC 1035 §4.2.1).
const PLAIN_UDP: usize = 512;
