//! Class CH: what operators ask the server about itself, and `why` an answer is what it is.

use super::{Query, Transport, explain, refuse};
use crate::dataset::Snapshot;
use crate::dns::{ExtendedError, Name, Prefix, QNAME, Request, RrType, Section, Writer};
use crate::model::WallTime;

/// Answers a class CH query.
pub(super) fn answer(
    snapshot: &Snapshot,
    wall: WallTime,
    request: &Request<'_>,
    query: &Query<'_>,
    writer: &mut Writer<'_>,
) {
    let server = &snapshot.dataset.config.server;
    let qname = &*request.qname().to_ascii_lowercase();
    let lines = match qname {
        b"\x02id\x06server\0" | b"\x08hostname\x04bind\0" if server.identity => {
            vec![server.node.clone()]
        }
        b"\x07version\x04bind\0" | b"\x07version\x06server\0" if server.identity => {
            vec![concat!("meridian ", env!("CARGO_PKG_VERSION")).to_owned()]
        }
        _ => match why(snapshot, wall, request, query, qname, writer) {
            Some(lines) => lines,
            None => return,
        },
    };
    writer.aa = true;
    if matches!(request.qtype, RrType::TXT | RrType::ANY) {
        let block: Vec<u8> = lines.iter().flat_map(|line| txt(line)).collect();
        // More RRs than a count can say are longer than any message: the writer refuses the block.
        let count = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        writer.tc |= !writer.rrset(Section::Answer, count, &block, QNAME, None, (&[], 0));
    }
}

/// The explanation of a class IN name, for clients inside `why_from`, without what operators said: a forwarder on this host
/// would hand it on to anybody. It is large and made on demand,
/// so over UDP it goes to loopback only, where no source address is forged; others are sent to TCP.
fn why(
    snapshot: &Snapshot,
    wall: WallTime,
    request: &Request<'_>,
    query: &Query<'_>,
    qname: &[u8],
    writer: &mut Writer<'_>,
) -> Option<Vec<String>> {
    if !snapshot.dataset.may_ask_why(query.peer.ip()) {
        refuse(writer, ExtendedError::PROHIBITED);
        return None;
    }
    let name = Name::from_wire(qname)
        .filter(|_| snapshot.dataset.names.lookup(qname, RrType::A).is_some());
    let Some(name) = name else {
        refuse(writer, ExtendedError::NOT_AUTHORITATIVE);
        return None;
    };
    if query.transport == Transport::Udp && !query.peer.ip().to_canonical().is_loopback() {
        writer.tc = true;
        return None;
    }
    let client = request
        .client_subnet()
        .unwrap_or_else(|| Prefix::host(query.peer.ip().to_canonical()));
    Some(explain(snapshot, &name, None, client, 0, wall).lines_without_operators())
}

/// The most octets of a character string (RFC 1035 §3.3).
const MAX_STRING: usize = 255;

/// One TXT RR with `text` in strings of at most 255 octets, TTL 0.
fn txt(text: &str) -> Vec<u8> {
    let mut strings = Vec::with_capacity(text.len() + text.len() / MAX_STRING + 1);
    for chunk in text.as_bytes().chunks(MAX_STRING) {
        strings.push(u8::try_from(chunk.len()).expect("a chunk has 255 octets at most"));
        strings.extend_from_slice(chunk);
    }
    let mut rr = vec![0xc0, 12, 0, 16, 0, 3, 0, 0, 0, 0];
    // Longer rdata fits no message: the writer refuses it.
    let length = u16::try_from(strings.len()).unwrap_or(u16::MAX);
    rr.extend_from_slice(&length.to_be_bytes());
    rr.extend_from_slice(&strings);
    rr
}
