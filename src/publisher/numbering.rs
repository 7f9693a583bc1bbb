//! Which counter the answers of each pool are counted in.
//!
//! A counter's number belongs to a service and a region by their names: it stays through reloads, so that
//! counts do. Each worker has a tally with all of them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::Config;
use crate::metrics::Tally;
use crate::model::{Service, ServiceId};

/// The numbers in use, and the workers' tallies.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    /// By service: the numbers of its pools, and last that of its fallback.
    numbers: Vec<Box<[u32]>>,
    /// The first number never used.
    next: u32,
    tallies: Arc<[Tally]>,
}

impl Numbering {
    pub(super) fn new(config: &Config) -> Numbering {
        let mut numbering = Numbering::default();
        numbering.numbers = config
            .services
            .iter()
            .map(|service| numbering.number(service, None))
            .collect();
        numbering
    }

    /// Goes on from `old`, whose numbers it has, to `new`.
    pub(super) fn renumber(&mut self, old: &Config, new: &Config) {
        let numbers = std::mem::take(&mut self.numbers);
        let known: HashMap<_, _> = old
            .services
            .iter()
            .zip(&numbers)
            .map(|(service, n)| (&service.name, (service, n)))
            .collect();
        let before = |service: &Service| {
            let (old_service, numbers) = known.get(&service.name)?;
            let regions = old_service
                .pools
                .iter()
                .map(|pool| old.region_name(pool.region));
            Some((
                regions
                    .zip(numbers.iter().copied())
                    .collect::<HashMap<_, _>>(),
                numbers[numbers.len() - 1],
            ))
        };
        self.numbers = new
            .services
            .iter()
            .map(|service| {
                let before = before(service);
                let of = |region: usize| {
                    Some(*before.as_ref()?.0.get(new.regions[region].name.as_str())?)
                };
                let kept = service
                    .pools
                    .iter()
                    .map(|pool| of(pool.region.index()))
                    .chain([before.as_ref().map(|b| b.1)]);
                let kept: Vec<Option<u32>> = kept.collect();
                self.number(service, Some(&kept))
            })
            .collect();
        self.tallies = self
            .tallies
            .iter()
            .map(|tally| tally.grown(self.next as usize))
            .collect();
    }

    /// The numbers of a service: those it is to keep, else new ones.
    fn number(&mut self, service: &Service, kept: Option<&[Option<u32>]>) -> Box<[u32]> {
        let mut take = |index: usize| {
            kept.and_then(|kept| kept[index]).unwrap_or_else(|| {
                self.next += 1;
                self.next - 1
            })
        };
        (0..=service.pools.len()).map(&mut take).collect()
    }

    /// Has so many workers count.
    pub(super) fn count_for(&mut self, workers: usize) {
        self.tallies = (0..workers)
            .map(|_| Tally::default().grown(self.next as usize))
            .collect();
    }

    /// The numbers of a service's pools, and last that of its fallback.
    pub(super) fn of(&self, service: ServiceId) -> &[u32] {
        &self.numbers[service.index()]
    }

    /// By worker.
    pub(super) fn tallies(&self) -> Arc<[Tally]> {
        self.tallies.clone()
    }
}
