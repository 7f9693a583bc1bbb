//! The ids of the counters in which answers of each pool are counted.
//!
//! An id belongs to a service and a region by their names: it stays through reloads, so that counts
//! do, and is given to no other while the process lives. Each worker has counters for all ids.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::Config;
use crate::metrics::PoolCounters;
use crate::model::{Service, ServiceId};

/// The ids in use, and the workers' counters.
#[derive(Debug, Default)]
pub(super) struct CounterIds {
    /// By service: the ids of its pools, and last that of its fallback.
    ids: Vec<Box<[u32]>>,
    /// The first id never used.
    next: u32,
    by_worker: Arc<[PoolCounters]>,
}

impl CounterIds {
    pub(super) fn new(config: &Config) -> CounterIds {
        let mut ids = CounterIds::default();
        for service in &config.services {
            let own = ids.renewed(service, |_| None);
            ids.ids.push(own);
        }
        ids
    }

    /// Goes on from `old`, whose ids these are, to `new`.
    pub(super) fn renumber(&mut self, old: &Config, new: &Config) {
        let ids = std::mem::take(&mut self.ids);
        // By service and region; `None` for the fallback, which is in no region.
        let mut known: HashMap<_, HashMap<Option<&str>, u32>> = HashMap::new();
        for (service, ids) in old.services.iter().zip(&ids) {
            known.insert(
                &service.name,
                places(old, service).zip(ids.iter().copied()).collect(),
            );
        }
        for service in &new.services {
            let known = known.get(&service.name);
            let places: Vec<Option<&str>> = places(new, service).collect();
            let own = self.renewed(service, |index| known?.get(&places[index]).copied());
            self.ids.push(own);
        }
        self.by_worker = self
            .by_worker
            .iter()
            // The grown counters share their cells with those in the snapshots before: a worker
            // that still uses one of these counts into the same sums.
            .map(|counters| counters.grown(self.next as usize))
            .collect();
    }

    /// The ids of a service: those that are `known` by their index, else new ones.
    fn renewed(&mut self, service: &Service, known: impl Fn(usize) -> Option<u32>) -> Box<[u32]> {
        let mut ids = Vec::with_capacity(service.pools.len() + 1);
        for index in 0..=service.pools.len() {
            ids.push(known(index).unwrap_or_else(|| {
                // Never used again: an id that came back for another pool would show that pool's
                // count as the old one's.
                self.next += 1;
                self.next - 1
            }));
        }
        ids.into()
    }

    /// Has so many workers count.
    pub(super) fn count_for(&mut self, workers: usize) {
        self.by_worker = (0..workers)
            .map(|_| PoolCounters::default().grown(self.next as usize))
            .collect();
    }

    /// The ids of a service's pools, and last that of its fallback.
    pub(super) fn of(&self, service: ServiceId) -> &[u32] {
        &self.ids[service.index()]
    }

    /// The counters of each worker.
    pub(super) fn by_worker(&self) -> Arc<[PoolCounters]> {
        self.by_worker.clone()
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
