//! The ids of the counters in which answers are counted: of each pool, and of each zone.
//!
//! An id belongs to a service and a region, or to a zone, by their names: it stays through reloads, so
//! that counts do, and is given to no other while the process lives. Each worker has counters for all
//! ids. Answers on later rungs than the first have ids of their own from when such an answer is
//! possible: most services never need them, and with all of them counters would take eight times the
//! memory.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::Config;
use crate::dataset::ZONE_RCODES;
use crate::metrics::PoolCounters;
use crate::model::{Service, ServiceId};
use crate::steer::CounterSet;

/// The ids in use, and the workers' counters.
#[derive(Debug, Default)]
pub(super) struct CounterIds {
    /// By service.
    ids: Vec<CounterSet>,
    /// By zone: the first of the ids of its response codes.
    zones: Arc<[u32]>,
    /// The first id never used.
    next: u32,
    by_worker: Arc<[PoolCounters]>,
    /// True where workers lack counters of ids that were given since.
    is_short: bool,
}

impl CounterIds {
    pub(super) fn new(config: &Config) -> CounterIds {
        let mut ids = CounterIds::default();
        for service in &config.services {
            let own = ids.renewed(service, |_| None);
            ids.ids.push(own);
        }
        let zones = config
            .zones
            .iter()
            .map(|_| ids.give(ZONE_RCODES.len() as u32));
        ids.zones = zones.collect();
        ids
    }

    /// Goes on from `old`, whose ids these are, to `new`.
    pub(super) fn renumber(&mut self, old: &Config, new: &Config) {
        let ids = std::mem::take(&mut self.ids);
        // By service and region; `None` for the fallback, which is in no region.
        let mut known: HashMap<_, HashMap<Option<&str>, Ids>> = HashMap::new();
        for (service, ids) in old.services.iter().zip(&ids) {
            let of_place = (0..ids.up.len()).map(|index| Ids::of(ids, index));
            known.insert(&service.name, places(old, service).zip(of_place).collect());
        }
        for service in &new.services {
            let known = known.get(&service.name);
            let places: Vec<Option<&str>> = places(new, service).collect();
            let own = self.renewed(service, |index| known?.get(&places[index]).copied());
            self.ids.push(own);
        }
        let zones = old.zones.iter().zip(&*self.zones);
        let known: HashMap<_, u32> = zones.map(|(zone, id)| (&zone.origin, *id)).collect();
        let mut zones = Vec::with_capacity(new.zones.len());
        for zone in &new.zones {
            let id = known.get(&zone.origin).copied();
            zones.push(id.unwrap_or_else(|| self.give(ZONE_RCODES.len() as u32)));
        }
        self.zones = zones.into();
    }

    /// Gives so many ids that were never used; the first of them. An id that came back for another
    /// pool would show that pool's count as the old one's.
    fn give(&mut self, count: u32) -> u32 {
        let first = self.next;
        self.next += count;
        self.is_short = true;
        first
    }

    /// The ids of a service: those that are `known` by their index, else new ones.
    fn renewed(&mut self, service: &Service, known: impl Fn(usize) -> Option<Ids>) -> CounterSet {
        let known: Vec<Option<Ids>> = (0..=service.pools.len()).map(known).collect();
        let mut up = Vec::with_capacity(known.len());
        for ids in &known {
            let id = ids.map(|ids| ids.up);
            up.push(id.unwrap_or_else(|| self.give(1)));
        }
        let mut later = Vec::new();
        // A service that needed them once keeps them, since their counts are to be read.
        if known.iter().flatten().any(|ids| ids.later.is_some()) {
            for ids in &known[..service.pools.len()] {
                let id = ids.and_then(|ids| ids.later);
                later.push(id.unwrap_or_else(|| self.give(CounterSet::LATER)));
            }
        }
        CounterSet {
            up: up.into(),
            later: later.into(),
        }
    }

    /// Has so many workers count.
    pub(super) fn count_for(&mut self, workers: usize) {
        self.by_worker = (0..workers).map(|_| PoolCounters::default()).collect();
        self.is_short = true;
        self.grow();
    }

    /// The ids of a service; with those of the later rungs from when it `can_degrade`.
    pub(super) fn of(&mut self, service: ServiceId, can_degrade: bool) -> &CounterSet {
        let own = &self.ids[service.index()];
        if can_degrade && own.later.is_empty() {
            let pools = own.up.len() - 1;
            let later = (0..pools).map(|_| self.give(CounterSet::LATER)).collect();
            self.ids[service.index()].later = later;
        }
        &self.ids[service.index()]
    }

    /// By zone: the first of the ids of its response codes.
    pub(super) fn zones(&self) -> Arc<[u32]> {
        self.zones.clone()
    }

    /// Gives each worker the counters that it lacks; before a snapshot has their ids.
    pub(super) fn grow(&mut self) {
        if std::mem::take(&mut self.is_short) {
            let counters = self.by_worker.iter();
            // The grown counters share their cells with those in the snapshots before: a worker
            // that still uses one of these counts into the same sums.
            let grown = counters.map(|counters| counters.grown(self.next as usize));
            self.by_worker = grown.collect();
        }
    }

    /// The counters of each worker.
    pub(super) fn by_worker(&self) -> Arc<[PoolCounters]> {
        self.by_worker.clone()
    }
}

/// The ids of one place that answers come from.
#[derive(Debug, Clone, Copy)]
struct Ids {
    up: u32,
    later: Option<u32>,
}

impl Ids {
    fn of(set: &CounterSet, index: usize) -> Ids {
        Ids {
            up: set.up[index],
            later: set.later.get(index).copied(),
        }
    }
}

/// The places that answers of a service come from, in the order of its ids: the regions of its
/// pools, and last the fallback.
fn places<'c>(config: &'c Config, service: &'c Service) -> impl Iterator<Item = Option<&'c str>> {
    let pools = service.pools.iter();
    pools
        .map(|pool| Some(config.region_name(pool.region)))
        .chain([None])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_rungs_have_counters_from_when_they_are_needed() {
        let set = |up: &[u32]| CounterSet {
            up: up.into(),
            later: Box::default(),
        };
        let mut ids = CounterIds {
            ids: vec![set(&[0, 1, 2]), set(&[3, 4])],
            next: 5,
            ..CounterIds::default()
        };
        ids.count_for(1);
        assert!(ids.of(ServiceId(0), false).later.is_empty());
        assert_eq!(*ids.of(ServiceId(0), true).later, [5, 12]);
        assert_eq!(*ids.of(ServiceId(1), true).later, [19]);
        assert_eq!(*ids.of(ServiceId(0), false).later, [5, 12], "for good");
        ids.grow();
        let counters = ids.by_worker();
        counters[0].count(25);
        ids.grow();
        assert_eq!(ids.by_worker()[0].get(25), 1);
    }
}
