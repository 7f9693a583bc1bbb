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
        let block = |hints: &[Vec<u8>; 2]| -> Box<[u8]> {
            let mut out = Vec::new();
            set.rdatas
                .iter()
                .for_each(|rdata| push_rr(&mut out, set.rtype, ttl, &rewritten(rdata, hints)));
            out.into()
        };
        Svcb {
            rtype: set.rtype,
            count: set.rdatas.len() as u16,
            pools: pools
                .map(|hints| [block(&hints.usable), block(&hints.all)])
                .collect(),
            fallback: block(&fallback),
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

/// `rdata` with its address hints replaced by `hints`; a hint that is left without an address goes.
fn rewritten(rdata: &[u8], hints: &[Vec<u8>; 2]) -> Vec<u8> {
    if !SvcbSet::is_steered(rdata) {
        return rdata.to_vec();
    }
    // The priority and the target, which is the root.
    let mut out = rdata[..3].to_vec();
    let hint = |key: u16| {
        let family = Family::BOTH
            .into_iter()
            .find(|family| SvcbSet::HINTS[family.index()] == key)?;
        let addresses = &hints[family.index()];
        let octets = match family {
            Family::V4 => 4,
            Family::V6 => 16,
        };
        Some(&addresses[..addresses.len().min(octets * MAX_HINTS)])
    };
    let gone = |key: u16| hint(key).is_some_and(<[u8]>::is_empty);
    for (key, value) in SvcbSet::params(rdata) {
        let kept: Vec<u8>;
        let value = match key {
            MANDATORY => {
                let keys = value
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .filter(|key| !gone(u16::from_be_bytes(**key)));
                kept = keys.flatten().copied().collect();
                &kept
            }
            _ => hint(key).unwrap_or(value),
        };
        if !(value.is_empty() && (key == MANDATORY || gone(key))) {
            out.extend_from_slice(&key.to_be_bytes());
            out.extend_from_slice(&(value.len() as u16).to_be_bytes());
            out.extend_from_slice(value);
        }
    }
    out
}
