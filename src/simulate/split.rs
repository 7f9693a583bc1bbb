//! Where clients are sent: the exact chance of each region, from the trace of one selection.

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
    /// Every subject of `dataset`, in the order of its services. A service is asked for one type, the first that it has, unless
    /// `family = "split"` lets the other go another way.
    pub fn all(dataset: &Dataset) -> impl Iterator<Item = Subject> {
        let services = dataset.config.services.iter().enumerate();
        services.flat_map(|(index, service)| {
            let service_id = ServiceId::from_index(index);
            types(service).map(move |rtype| Subject {
                service: service_id,
                rtype,
            })
        })
    }
}

/// The types that can go different ways.
fn types(service: &Service) -> impl Iterator<Item = RrType> + use<> {
    let families = service.families();
    let alike = !service.is_split() || service.pools.iter().all(|pool| pool.families() == families);
    let offered = Family::BOTH
        .into_iter()
        .filter(move |family| families.contains(*family));
    let types = offered.map(|family| match family {
        Family::V4 => RrType::A,
        Family::V6 => RrType::AAAA,
    });
    types.take(if alike { 1 } else { 2 })
}

/// Where clients are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    /// A region.
    Region(RegionId),
    /// The service's `fallback` addresses.
    Fallback,
    /// Nowhere: there is no answer.
    Nowhere,
}

/// Where some clients are sent: destinations with the share of the clients that each gets, in their order, none with 0.
pub type Split = Vec<(Destination, f64)>;

/// What the clients of a class get.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Given {
    /// Sums to 1.
    pub(super) split: Split,
    /// `None` where there is no answer.
    pub(super) rung: Option<Rung>,
}

impl Given {
    /// What `plan`, for clients located by `map`, gives those of `class` who ask for `rtype`.
    pub(super) fn to(&mut self, plan: &Plan, map: Option<&GeoMap>, rtype: RrType, class: &Class) {
        self.split.clear();
        // Draws decide what is taken, not how probable it was.
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
        self.rung = selection.map(|(selection, _)| selection.rung);
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

/// The share of the clients that must move for `before` to become `after`, both in the order of their destinations: half of
/// what all shares differ by. Rendezvous hashing moves no more.
pub(super) fn moved<D: Ord + Copy>(before: &[(D, f64)], after: &[(D, f64)]) -> f64 {
    let (mut before, mut after) = (
        before.iter().copied().peekable(),
        after.iter().copied().peekable(),
    );
    let mut differ = 0.0;
    loop {
        let (left, right) = match (before.peek(), after.peek()) {
            (None, None) => return differ / 2.0,
            (Some((a, _)), Some((b, _))) => (a <= b, b <= a),
            (left, right) => (left.is_some(), right.is_some()),
        };
        let share = |next: Option<(D, f64)>| next.map_or(0.0, |(_, share)| share);
        let left = if left { share(before.next()) } else { 0.0 };
        let right = if right { share(after.next()) } else { 0.0 };
        differ += (left - right).abs();
    }
}
