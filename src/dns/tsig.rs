//! Signed queries (TSIG, RFC 8945). There are no keys here, so what is signed is refused, in the way its sender understands.

use arrayvec::ArrayVec;

use super::message::{HEADER, Record, skip_name};
use super::{Class, MAX_LABEL, MAX_NAME, RrType};

/// "A key is unknown" (RFC 8945 §3).
const BADKEY: u16 = 17;

/// The parts of a TSIG record that the answer repeats.
pub(super) struct Tsig<'q> {
    key: ArrayVec<u8, MAX_NAME>,
    algorithm: &'q [u8],
    /// Time signed and fudge.
    time: &'q [u8],
    original_id: &'q [u8],
}

impl<'q> Tsig<'q> {
    /// The TSIG record that begins at `start`; `None` where it is malformed (RFC 8945 §4.2).
    pub(super) fn read(message: &'q [u8], start: usize) -> Option<Tsig<'q>> {
        let record = Record::read(message, start)?;
        if record.rtype != RrType::TSIG || record.class != Class::ANY.0 || record.ttl != 0 {
            return None;
        }
        let (algorithm, rest) = record.rdata.split_at_checked(skip_name(record.rdata)?)?;
        let (time, rest) = rest.split_at_checked(8)?;
        let (_mac, rest) = with_length(rest)?;
        let (original_id, rest) = rest.split_at_checked(2)?;
        let (_other, rest) = with_length(rest.get(2..)?)?;
        // The algorithm's name is not compressed: it ends in the root.
        let complete = rest.is_empty() && algorithm.last() == Some(&0);
        complete.then_some(Tsig {
            key: name_at(message, start)?,
            algorithm,
            time,
            original_id,
        })
    }
}

/// Octets behind their length, and what follows them.
fn with_length(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// The name at `at`, its compression undone.
fn name_at(message: &[u8], mut at: usize) -> Option<ArrayVec<u8, MAX_NAME>> {
    let mut name = ArrayVec::new();
    // A pointer leads to "a prior occurrence" (RFC 1035 §4.1.4), so back and further back.
    let mut before = at;
    loop {
        let length = usize::from(*message.get(at)?);
        if length & 0xc0 == 0xc0 {
            let to = (length & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
            if to >= before {
                return None;
            }
            (at, before) = (to, to);
            continue;
        }
        if length > MAX_LABEL {
            return None;
        }
        name.try_extend_from_slice(message.get(at..=at + length)?)
            .ok()?;
        if length == 0 {
            return Some(name);
        }
        at += 1 + length;
    }
}

/// Adds the TSIG record of a refusal to the response that is the first `length` octets of `out`: unsigned, with the
/// error BADKEY (RFC 8945 §5.2.1, §5.3.2). `message` is the query, and its TSIG record is at `tsig_at`. Where the record does not fit into `limit`,
/// the response is truncated. Returns the response's length.
pub fn refuse_tsig(
    message: &[u8],
    tsig_at: u16,
    length: usize,
    limit: usize,
    out: &mut [u8],
) -> usize {
    let Some(Tsig {
        key,
        algorithm,
        time,
        original_id,
    }) = Tsig::read(message, usize::from(tsig_at))
    else {
        return length;
    };
    let rdata_length = algorithm.len() + time.len() + 8;
    let end = length + key.len() + 10 + rdata_length;
    if end > limit.min(out.len()) {
        // TC, so that the client asks again over TCP, where there is room.
        out[2] |= 2;
        return length;
    }
    let word = |value: u16| value.to_be_bytes();
    let mut at = length;
    let parts: [&[u8]; 11] = [
        &key,
        &word(RrType::TSIG.0),
        &word(Class::ANY.0),
        &[0; 4],
        // Part of a message, by the comparison above.
        &word(rdata_length as u16),
        algorithm,
        time,
        &[0; 2],
        original_id,
        &word(BADKEY),
        &[0; 2],
    ];
    for part in parts {
        out[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    let additional = u16::from_be_bytes([out[HEADER - 2], out[HEADER - 1]]) + 1;
    out[HEADER - 2..HEADER].copy_from_slice(&word(additional));
    at
}
