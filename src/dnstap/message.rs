//! The protobuf messages of dnstap, as far as an authoritative server writes them.
//!
//! Fields, their numbers and types are those of `dnstap.proto`, version 2.

use std::net::{IpAddr, SocketAddr};

use prost::Message as _;

use super::sampler::Sample;
use crate::answer::Transport;
use crate::dns::Request;
use crate::model::{Moment, WallTime};
use crate::zone::NameTable;

/// The sender, as every frame has it.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) identity: String,
    pub(super) version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Dnstap {
    #[prost(bytes = "vec", optional, tag = "1")]
    identity: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    version: Option<Vec<u8>>,
    #[prost(message, optional, tag = "14")]
    message: Option<Message>,
    /// Required; always [`MESSAGE`].
    #[prost(int32, required, tag = "15")]
    kind: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Message {
    /// Required: [`AUTH_QUERY`] or [`AUTH_RESPONSE`].
    #[prost(int32, required, tag = "1")]
    kind: i32,
    /// 1 is IPv4, 2 is IPv6.
    #[prost(int32, optional, tag = "2")]
    socket_family: Option<i32>,
    /// 1 is UDP, 2 is TCP.
    #[prost(int32, optional, tag = "3")]
    socket_protocol: Option<i32>,
    #[prost(bytes = "vec", optional, tag = "4")]
    query_address: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "5")]
    response_address: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "6")]
    query_port: Option<u32>,
    #[prost(uint32, optional, tag = "7")]
    response_port: Option<u32>,
    #[prost(uint64, optional, tag = "8")]
    query_time_sec: Option<u64>,
    #[prost(fixed32, optional, tag = "9")]
    query_time_nsec: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "10")]
    query_message: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "11")]
    query_zone: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "12")]
    response_time_sec: Option<u64>,
    #[prost(fixed32, optional, tag = "13")]
    response_time_nsec: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "14")]
    response_message: Option<Vec<u8>>,
}

/// The one type of a `Dnstap`.
const MESSAGE: i32 = 1;
/// A query that an authoritative server received.
const AUTH_QUERY: i32 = 1;
/// An answer that an authoritative server sent.
const AUTH_RESPONSE: i32 = 2;

/// The frame of `sample`, whose zone is looked up in `names`; `wall` reads its times.
pub(super) fn frame(
    sample: &Sample,
    sender: &Sender,
    names: &NameTable,
    wall: WallTime,
) -> Vec<u8> {
    let (asked_sec, asked_nsec) = time(sample.received, wall);
    let (answered_sec, answered_nsec) = time(sample.answered, wall);
    let answer = sample.answer();
    let message = Message {
        kind: match answer {
            Some(_) => AUTH_RESPONSE,
            None => AUTH_QUERY,
        },
        socket_family: Some(match canonical(sample.peer) {
            IpAddr::V4(_) => 1,
            IpAddr::V6(_) => 2,
        }),
        socket_protocol: Some(match sample.transport {
            Transport::Udp => 1,
            Transport::Tcp => 2,
        }),
        query_address: Some(octets(sample.peer)),
        response_address: Some(octets(sample.local)),
        query_port: Some(sample.peer.port().into()),
        response_port: Some(sample.local.port().into()),
        query_time_sec: Some(asked_sec),
        query_time_nsec: Some(asked_nsec),
        query_message: Some(sample.query().to_vec()),
        query_zone: zone(sample.query(), names),
        response_time_sec: answer.map(|_| answered_sec),
        response_time_nsec: answer.map(|_| answered_nsec),
        response_message: answer.map(<[u8]>::to_vec),
    };
    let dnstap = Dnstap {
        identity: Some(sender.identity.clone().into_bytes()),
        version: Some(sender.version.clone().into_bytes()),
        message: Some(message),
        kind: MESSAGE,
    };
    dnstap.encode_to_vec()
}

/// The origin of the zone that a query is about, in wire format.
fn zone(query: &[u8], names: &NameTable) -> Option<Vec<u8>> {
    let request = Request::parse(query).ok()?;
    // Type and class follow the name.
    let name = &request.question[..request.question.len() - 4];
    let (zone, _) = names.lookup(name, request.qtype)?;
    Some(names.origin(zone).to_vec())
}

fn time(moment: Moment, wall: WallTime) -> (u64, u32) {
    let unix = wall.unix(moment);
    (unix.as_secs(), unix.subsec_nanos())
}

/// The address; a wildcard IPv6 socket shows those of IPv4 as mapped ones.
fn canonical(socket: SocketAddr) -> IpAddr {
    socket.ip().to_canonical()
}

fn octets(socket: SocketAddr) -> Vec<u8> {
    match canonical(socket) {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::answer::Query;
    use crate::dnstap::sampler;

    /// The frame of one query, decoded.
    fn decoded(query: &Query<'_>, answer: Option<&[u8]>) -> Dnstap {
        let sender = Sender {
            identity: "node-1".to_owned(),
            version: "v1".to_owned(),
        };
        let (mut sampler, mut drain) = sampler::pair(1, 7);
        sampler.count(query, answer);
        let mut frames = Vec::new();
        let names = NameTable::build(&[]);
        drain.take(|sample| frames.push(frame(sample, &sender, &names, WallTime::default())));
        assert_eq!(frames.len(), 1);
        Dnstap::decode(&*frames[0]).unwrap()
    }

    #[test]
    fn an_answer_is_there_with_its_query() {
        let query = Query {
            bytes: b"the query",
            peer: "[2001:db8::1]:4242".parse().unwrap(),
            local: "[2001:db8::53]:53".parse().unwrap(),
            transport: Transport::Tcp,
            now: Moment(Duration::new(1_700_000_000, 123_456_789)),
        };
        let frame = decoded(&query, Some(b"the answer"));
        assert_eq!(frame.kind, MESSAGE);
        assert_eq!(frame.identity.as_deref(), Some(&b"node-1"[..]));
        assert_eq!(frame.version.as_deref(), Some(&b"v1"[..]));
        let message = frame.message.unwrap();
        assert_eq!(message.kind, AUTH_RESPONSE);
        assert_eq!(
            (message.socket_family, message.socket_protocol),
            (Some(2), Some(2))
        );
        assert_eq!(message.query_address.unwrap()[..4], [0x20, 1, 0xd, 0xb8]);
        assert_eq!(message.response_address.unwrap()[15], 0x53);
        assert_eq!(
            (message.query_port, message.response_port),
            (Some(4242), Some(53))
        );
        assert_eq!(message.query_time_sec, Some(1_700_000_000));
        assert_eq!(message.query_time_nsec, Some(123_456_789));
        assert_eq!(message.query_message.as_deref(), Some(&b"the query"[..]));
        assert_eq!(
            message.response_message.as_deref(),
            Some(&b"the answer"[..])
        );
        assert!(message.response_time_sec.is_some() && message.response_time_nsec.is_some());
        assert_eq!(message.query_zone, None);
    }

    #[test]
    fn a_message_without_an_answer_is_a_query_alone() {
        let query = Query {
            peer: "[::ffff:192.0.2.1]:4242".parse().unwrap(),
            ..Query::synthetic(b"q", [192, 0, 2, 1].into(), Transport::Udp)
        };
        let message = decoded(&query, None).message.unwrap();
        assert_eq!(message.kind, AUTH_QUERY);
        assert_eq!(
            (message.socket_family, message.socket_protocol),
            (Some(1), Some(1))
        );
        assert_eq!(message.query_address.as_deref(), Some(&[192, 0, 2, 1][..]));
        assert_eq!(message.response_message, None);
        assert_eq!(
            (message.response_time_sec, message.response_time_nsec),
            (None, None)
        );
    }
}
