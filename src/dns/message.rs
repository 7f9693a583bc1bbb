//! The parts that every message is made of: its header, and records as far as they are read here.

use super::{MAX_LABEL, MAX_NAME, RrType};

/// Octets of a message header (RFC 1035 §4.1.1).
pub const HEADER: usize = 12;

/// A record's parts, as far as OPT and TSIG need them.
pub(super) struct Record<'q> {
    /// Its owner is the root.
    pub(super) at_root: bool,
    pub(super) rtype: RrType,
    pub(super) class: u16,
    pub(super) ttl: u32,
    pub(super) rdata: &'q [u8],
    /// Offset of the octet behind it.
    pub(super) end: usize,
}

impl<'q> Record<'q> {
    /// The record that begins at `start`.
    #[inline]
    pub(super) fn read(message: &'q [u8], start: usize) -> Option<Record<'q>> {
        let name = skip_name(message.get(start..)?)?;
        let fixed = message.get(start + name..start + name + 10)?;
        let word = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let rdata_at = start + name + 10;
        let end = rdata_at + usize::from(word(8));
        Some(Record {
            at_root: message[start] == 0,
            rtype: RrType(word(0)),
            class: word(2),
            ttl: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            rdata: message.get(rdata_at..end)?,
            end,
        })
    }
}

/// The length of a name that may end in a compression pointer, which is not followed: only where the
/// next field starts matters.
pub(super) fn skip_name(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            pointer if pointer & 0xc0 == 0xc0 => return (bytes.len() > at + 1).then_some(at + 2),
            length if usize::from(length) <= MAX_LABEL && at < MAX_NAME => {
                at += 1 + usize::from(length)
            }
            _ => return None,
        }
    }
}
