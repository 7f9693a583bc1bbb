//! Destinations of clients: the exact chance of each region, from the trace of one selection.

use std::cmp::Ordering;

use super::clients::Class;
use crate::answer::steer;
use crate::dataset::Dataset;
use crate::dns::RrType;
use crate::geo::GeoMap;
use crate::model::{Family, RegionId, Service, ServiceId};
use crate::steer::{Plan, Rung, Trace, Verdict};

/// A service, and a type that it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// The service.
    pub service: ServiceId,
    /// A or AAAA.
    pub rtype: RrType,
}

impl Subject {
    /// Every subject of `dataset`, in the order of its services. A service is asked for one type,
    /// the first that it has, unless `family = "split"` lets the other go another way.
    pub fn all(dataset: &Dataset) -> Vec<Subject> {
        let mut subjects = Vec::new();
        for (index, service) in dataset.config.services.iter().enumerate() {
            for rtype in types(service) {
                let service = ServiceId::from_index(index);
                subjects.push(Subject { service, rtype });
            }
        }
        subjects
    }
}

/// Types that can go different ways.
pub(super) fn types(service: &Service) -> Vec<RrType> {
    let families = service.families();
    let mut types = Vec::new();
    for family in Family::BOTH {
        if families.contains(family) {
            types.push(match family {
                Family::V4 => RrType::A,
                Family::V6 => RrType::AAAA,
            });
        }
    }
    let alike = !service.is_split() || service.pools.iter().all(|pool| pool.families() == families);
    if alike {
        types.truncate(1);
    }
    types
}

/// Destination of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    /// A region.
    Region(RegionId),
    /// The service's `fallback` addresses.
    Fallback,
    /// Nowhere: there is no answer.
    Nowhere,
}

/// Destinations of some clients with the share of them that each gets, in the order of the
/// destinations, none with 0.
pub type Split = Vec<(Destination, f64)>;

/// Split of the clients of one class.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ClassSplit {
    /// Sums to 1.
    pub(super) split: Split,
    /// `None` where there is no answer.
    pub(super) rung: Option<Rung>,
}

impl ClassSplit {
    /// Fills in what `plan`, for clients located by `map`, gives those of `class` who ask for
    /// `rtype`. A buffer that is filled again and again saves an allocation for each class.
    pub(super) fn fill(&mut self, plan: &Plan, map: Option<&GeoMap>, rtype: RrType, class: &Class) {
        self.split.clear();
        // Draws decide which region is taken, not how probable each was; so any seed will do.
        let mut rng = fastrand::Rng::with_seed(0);
        let mut chances = Chances(&mut self.split);
        let selection = steer(
            plan,
            map,
            rtype,
            class.client,
            class.located,
            &mut rng,
            &mut chances,
        );
        self.rung = selection.as_ref().map(|(selection, _)| selection.rung);
        match selection {
            None => self.split.push((Destination::Nowhere, 1.0)),
            Some((selection, _)) if selection.region.is_none() => {
                self.split.push((Destination::Fallback, 1.0))
            }
            Some(_) => self
                .split
                .sort_unstable_by_key(|(destination, _)| *destination),
        }
    }
}

/// Notes every region that could be taken.
struct Chances<'s>(&'s mut Split);

impl Trace for Chances<'_> {
    fn considered(&mut self, region: RegionId, _: Verdict, chance: f64) {
        if chance > 0.0 {
            self.0.push((Destination::Region(region), chance));
        }
    }
}

/// The share of the clients that must move for `before` to become `after`, both in the order of
/// their destinations: half of the sum of all differences. Rendezvous hashing moves no more.
pub(super) fn moved<D: Ord + Copy>(mut before: &[(D, f64)], mut after: &[(D, f64)]) -> f64 {
    let mut differ = 0.0;
    loop {
        // Both lists are sorted: a destination that only one of them has is less than the other's
        // next, and differs by all of its share.
        let order = match (before.first(), after.first()) {
            (None, None) => return differ / 2.0,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((left, _)), Some((right, _))) => left.cmp(right),
        };
        let left = if order.is_le() {
            take(&mut before)
        } else {
            0.0
        };
        let right = if order.is_ge() { take(&mut after) } else { 0.0 };
        differ += (left - right).abs();
    }
}

/// Removes the first destination; returns its share.
fn take<D>(rest: &mut &[(D, f64)]) -> f64 {
    match rest.split_off_first() {
        Some((_, share)) => *share,
        None => 0.0,
    }
}
