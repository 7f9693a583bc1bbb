//! The query that `why` puts to the server, and the records of its answer.

use std::net::IpAddr;
use std::ops::Range;

use crate::dns::{HEADER, Name, Prefix, RrType, Section};
use crate::zone::read_name;

/// A record of an answer.
pub(super) struct Received {
    pub(super) section: Section,
    pub(super) rtype: RrType,
    pub(super) ttl: u32,
    /// The place of its rdata in the message.
    pub(super) rdata: Range<usize>,
}

impl Received {
    /// The records of `message`, an answer of ours with one question.
    pub(super) fn all(message: &[u8]) -> Vec<Received> {
        let mut records = Vec::new();
        let mut at = read_name(message, HEADER).map_or(message.len(), |(_, after)| after + 4);
        for (count, section) in [
            (6, Section::Answer),
            (8, Section::Authority),
            (10, Section::Additional),
        ] {
            for _ in 0..half(message, count).unwrap_or(0) {
                let Some(record) = Received::at(message, at, section) else {
                    break;
                };
                at = record.rdata.end;
                records.push(record);
            }
        }
        records
    }

    /// The record that begins at `at`.
    fn at(message: &[u8], at: usize, section: Section) -> Option<Received> {
        let (_, fixed) = read_name(message, at)?;
        let start = fixed + 10;
        let length = usize::from(half(message, fixed + 8)?);
        Some(Received {
            section,
            rtype: RrType(half(message, fixed)?),
            ttl: u32::from_be_bytes(*message.get(fixed + 4..)?.first_chunk()?),
            rdata: start..start + length,
        })
    }
}

/// The two octets at `at`.
fn half(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*message.get(at..)?.first_chunk()?))
}

/// A query for `name` and `rtype` with `client` in a Client Subnet option.
pub fn query_message(name: &Name, rtype: RrType, client: Prefix) -> Vec<u8> {
    let mut message = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    message.extend_from_slice(name.as_wire());
    message.extend_from_slice(&rtype.0.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    let octets = match client.address() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let family = if client.address().is_ipv4() { 1 } else { 2 };
    let address = &octets[..usize::from(client.length().div_ceil(8))];
    let length = 4 + client.length().div_ceil(8);
    message.extend_from_slice(&[
        0,
        0,
        41,
        0xff,
        0xff,
        0,
        0,
        0,
        0,
        0,
        length + 4,
        0,
        8,
        0,
        length,
        0,
        family,
        client.length(),
        0,
    ]);
    message.extend_from_slice(address);
    message
}
