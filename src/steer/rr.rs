//! Resource records of the question's name, as plans have them ready.

use crate::dns::{RrType, Ttl};

/// Appends an RR of the question's name.
pub(super) fn push_rr(out: &mut Vec<u8>, rtype: RrType, ttl: Ttl, rdata: &[u8]) {
    // A pointer to the question (RFC 1035 §4.1.4), which stands at octet 12 of every message.
    out.extend_from_slice(&[0xc0, 12]);
    out.extend_from_slice(&rtype.0.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    out.extend_from_slice(&ttl.secs().to_be_bytes());
    // Addresses, names and the RDATA of records in files: 65 535 octets at most.
    out.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
    out.extend_from_slice(rdata);
}
