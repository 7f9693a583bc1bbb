//! The layout of a plan's RRs in one block of memory.

use std::net::IpAddr;

use super::{Ring, Slot};
use crate::dns::{RrType, Ttl};
use crate::health::State;
use crate::model::{Region, Service, Target};
use crate::steer::hash;
use crate::steer::rr::push_rr;
use crate::steer::unit::{OwnerState, UnitState};
use crate::zone::rrs;

/// The RRs and slots of a plan, as they are laid out.
pub(super) struct Layout {
    pub(super) ttl: Ttl,
    answers: u8,
    pub(super) bytes: Vec<u8>,
    pub(super) slots: Vec<Slot>,
    /// By slot, where clients are hashed to endpoints.
    pub(super) keys: Option<Vec<u64>>,
    /// The states of one pool's endpoints; kept so that their memory is used again for the next.
    pub(super) states: Vec<State>,
}

impl Layout {
    pub(super) fn new(service: &Service, ttl: Ttl) -> Layout {
        // Room for all endpoints once, as when all are up: IPv4 addresses with one answer fill it
        // exactly.
        let endpoints = service.pools.iter().map(|pool| pool.endpoints.len()).sum();
        let (bytes, slots) = (
            Vec::with_capacity(16 * endpoints),
            Vec::with_capacity(endpoints),
        );
        let keys = service.by_client.then(Vec::new);
        Layout {
            ttl,
            answers: service.answers,
            bytes,
            slots,
            keys,
            states: Vec::new(),
        }
    }

    /// Lays out the RRs of one ring. The first `answers − 1` endpoints follow the last once more,
    /// so that the answer that starts at any endpoint is one slice, and nothing wraps on the query
    /// path.
    pub(super) fn ring<'a>(
        &mut self,
        endpoints: &(impl Iterator<Item = (&'a Target, u32)> + Clone),
    ) -> Ring {
        let count = endpoints.clone().count();
        let answers = usize::from(self.answers).min(count);
        let (first, start) = (self.slots.len(), self.bytes.len());
        let mut cumulative = 0;
        // The sums go on through the repeated endpoints, which no draw ever looks at.
        for (target, weight) in endpoints
            .clone()
            .chain(endpoints.clone().take(answers.saturating_sub(1)))
        {
            cumulative += u64::from(weight);
            self.slots.push(Slot {
                // A service has 65 535 endpoints at most, and an RR 267 octets: far below 2³².
                start: self.bytes.len() as u32,
                cumulative,
            });
            if let Some(keys) = &mut self.keys {
                // Slots and keys are numbered alike, so the repeated endpoints need keys as well.
                keys.push(hash::endpoint_key(target));
            }
            self.push_rr(target);
        }
        let end = self
            .slots
            .get(first + answers)
            .map_or(self.bytes.len(), |slot| slot.start as usize);
        // Positions fit `u32` as above; eight RRs and 65 535 endpoints fit `u16`, eight answers
        // `u8`.
        Ring {
            first: first as u32,
            start: start as u32,
            length: (end - start) as u16,
            len: count as u16,
            answers: answers as u8,
        }
    }

    fn push_rr(&mut self, target: &Target) {
        let (rtype, rdata): (RrType, &[u8]) = match target {
            Target::Address(IpAddr::V4(v4)) => (RrType::A, &v4.octets()),
            Target::Address(IpAddr::V6(v6)) => (RrType::AAAA, &v6.octets()),
            Target::Name(name) => (RrType::CNAME, name.as_wire()),
        };
        push_rr(&mut self.bytes, rtype, self.ttl, rdata);
    }

    /// The addresses of a ring, one after the other.
    pub(super) fn addresses(&self, ring: Ring) -> Vec<u8> {
        let slots = &self.slots[ring.first as usize..][..usize::from(ring.len)];
        slots
            .iter()
            .flat_map(|slot| {
                rrs(&self.bytes[slot.start as usize..])
                    .next()
                    .map(|(_, rdata)| rdata)
            })
            .flatten()
            .copied()
            .collect()
    }

    /// The TXT RR that names the owner of a unit.
    pub(super) fn epoch(&self, unit_state: &UnitState, regions: &[Region], ttl: Ttl) -> Box<[u8]> {
        let owner = match &unit_state.owner {
            OwnerState::Owner(region) => format!("owner={}", regions[region.index()].name),
            // Readers of the record act on the owner alone, so every reason for having none is one
            // word to them.
            OwnerState::Fenced { .. } | OwnerState::Unknown | OwnerState::Gone(_) => {
                "fenced".to_owned()
            }
        };
        let text = format!("epoch={} {owner}", unit_state.epoch);
        let mut rr = Vec::new();
        // A region's name and a number are far shorter than the 255 octets of a string.
        push_rr(
            &mut rr,
            RrType::TXT,
            ttl,
            &[&[text.len() as u8], text.as_bytes()].concat(),
        );
        rr.into()
    }
}
