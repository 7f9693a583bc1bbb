//! HTTPS and SVCB records of a service name: their address hints follow the steering (RFC 9460
//! §7.3).

use super::rr::push_rr;
use crate::dns::{RrType, Ttl};
use crate::model::{Family, SvcbSet};

/// The most hints of a family: hints save a query and are no answer, so a few will do and keep the
/// message small.
const MAX_HINTS: usize = 8;
const MANDATORY: u16 = 0;

/// One RRset of a service, built for each region.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Svcb {
    pub(super) rtype: RrType,
    count: u16,
    /// By pool: with its usable endpoints, and with all.
    pools: Box<[[Box<[u8]>; 2]]>,
    fallback: Box<[u8]>,
}

/// The addresses of a pool, of both families, each one after the other.
pub(super) struct SvcbHints {
    pub(super) usable: [Vec<u8>; 2],
    pub(super) all: [Vec<u8>; 2],
}

impl Svcb {
    pub(super) fn compile(
        set: &SvcbSet,
        ttl: Ttl,
        pools: impl Iterator<Item = SvcbHints>,
        fallback: [Vec<u8>; 2],
    ) -> Svcb {
        Svcb {
            rtype: set.rtype,
            count: set.rdatas.len() as u16,
            // Both blocks are built now, so that a query picks one and builds nothing.
            pools: pools
                .map(|hints| [&hints.usable, &hints.all].map(|hints| block(set, ttl, hints)))
                .collect(),
            fallback: block(set, ttl, &fallback),
        }
    }

    /// The RRs for a pool, by its place, with its usable endpoints or with all; or for the
    /// fallback. And how many.
    pub(super) fn answer(&self, pool: Option<(usize, bool)>) -> (&[u8], u16) {
        let block = match pool {
            Some((pool, usable)) => &self.pools[pool][usize::from(!usable)],
            None => &self.fallback,
        };
        (block, self.count)
    }
}

/// The RRs of a set, with `hints` in place of their own.
fn block(set: &SvcbSet, ttl: Ttl, hints: &[Vec<u8>; 2]) -> Box<[u8]> {
    let mut out = Vec::new();
    for rdata in &set.rdatas {
        push_rr(&mut out, set.rtype, ttl, &rewritten(rdata, hints));
    }
    out.into()
}

/// `rdata` with its address hints replaced by `hints`; a hint that is left without an address goes.
fn rewritten(rdata: &[u8], hints: &[Vec<u8>; 2]) -> Vec<u8> {
    // Hints of another target are the addresses of that name, and not of this service.
    if !SvcbSet::is_steered(rdata) {
        return rdata.to_vec();
    }
    // The priority and the target, which is the root.
    let mut out = rdata[..3].to_vec();
    for (key, value) in SvcbSet::params(rdata) {
        let kept: Vec<u8>;
        let value = match key {
            // RFC 9460 §8: every key in this list has to be there, so a hint that goes leaves it as
            // well.
            MANDATORY => {
                kept = without_gone(value, hints);
                &kept
            }
            _ => hint(key, hints).unwrap_or(value),
        };
        // The list of mandatory keys has at least one (RFC 9460 §8). Other keys, as `no-default-
        // alpn`, have an empty value by right.
        if !(value.is_empty() && (key == MANDATORY || is_gone(key, hints))) {
            out.extend_from_slice(&key.to_be_bytes());
            // It is no longer than the RDATA that it is from, or than eight addresses.
            out.extend_from_slice(&(value.len() as u16).to_be_bytes());
            out.extend_from_slice(value);
        }
    }
    out
}

/// The value of a key that is a hint: the first of the addresses; `None` for any other key.
fn hint(key: u16, hints: &[Vec<u8>; 2]) -> Option<&[u8]> {
    let place = SvcbSet::HINTS.iter().position(|own| *own == key)?;
    let family = Family::BOTH[place];
    let addresses = &hints[family.index()];
    let octets = match family {
        Family::V4 => 4,
        Family::V6 => 16,
    };
    Some(&addresses[..addresses.len().min(octets * MAX_HINTS)])
}

/// True for a hint without an address.
fn is_gone(key: u16, hints: &[Vec<u8>; 2]) -> bool {
    hint(key, hints).is_some_and(<[u8]>::is_empty)
}

/// The mandatory keys without the hints that are gone.
fn without_gone(keys: &[u8], hints: &[Vec<u8>; 2]) -> Vec<u8> {
    let mut left = Vec::with_capacity(keys.len());
    for key in keys.as_chunks::<2>().0 {
        if !is_gone(u16::from_be_bytes(*key), hints) {
            left.extend_from_slice(key);
        }
    }
    left
}
