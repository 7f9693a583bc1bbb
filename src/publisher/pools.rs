//! The pools of all services on their way back.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::time::Duration;

use super::history::PoolRecord;
use crate::config::Config;
use crate::health::{Health, State};
use crate::model::{Endpoint, Moment, Pool, RegionId, ServiceId};
use crate::steer::{Plan, Ramp, Return, Returns, Standing};

/// What is known of pools besides the health of their endpoints.
#[derive(Debug, Default)]
pub(super) struct Pools {
    /// Of the services that do not take pools back at once.
    returns: BTreeMap<ServiceId, Returns>,
    /// When a weight grows next, soonest first; one that came to nothing is harmless.
    steps: BinaryHeap<Reverse<(Moment, ServiceId)>>,
}

/// Why nothing is resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotResumed {
    /// There is no such service.
    NoService(String),
    /// The service has no pool in that region.
    NoRegion(String, String),
    /// Nothing of it waits for an operator.
    NotHeld(String),
}

impl Pools {
    /// Everything in use.
    pub(super) fn new(config: &Config) -> Pools {
        let services = config.services.iter().enumerate();
        let returns = services.filter_map(|(index, service)| {
            Some((ServiceId::from_index(index), Returns::new(service)?))
        });
        Pools {
            returns: returns.collect(),
            steps: BinaryHeap::new(),
        }
    }

    /// Takes in the `state` of a service's endpoints, which operators may have overridden, and what else is known of their
    /// `health`. What its plan needs to know of each pool, or nothing where there is nothing to know; and the pools whose
    /// weight began to grow or has grown.
    pub(super) fn update(
        &mut self,
        id: ServiceId,
        config: &Config,
        state: &dyn Fn(&Pool, &Endpoint) -> State,
        health: &Health,
        undone: bool,
        now: Moment,
    ) -> (Vec<Standing>, Vec<(RegionId, Ramp)>) {
        let service = &config.services[id.index()];
        let mut standings = Vec::new();
        let mut ramps = Vec::new();
        if let Some(returns) = self.returns.get_mut(&id) {
            for (index, pool) in service.pools.iter().enumerate() {
                let up = Plan::is_up(service, pool, &|endpoint: &Endpoint| state(pool, endpoint));
                ramps.extend(
                    returns
                        .update(index, up, undone, now)
                        .map(|ramp| (pool.region, ramp)),
                );
                standings.push(returns.standing(index, now));
            }
            self.steps
                .extend(returns.next_step(now).map(|step| Reverse((step, id))));
        }
        if health.any_flapping()
            && service
                .pools
                .iter()
                .any(|pool| flapping_until(health, pool).is_some())
        {
            standings.resize(service.pools.len(), Standing::default());
            for (standing, pool) in standings.iter_mut().zip(&service.pools) {
                standing.flapping_until = flapping_until(health, pool);
            }
        }
        (standings, ramps)
    }

    /// When a weight grows next.
    pub(super) fn next_step(&self) -> Option<Moment> {
        self.steps.peek().map(|Reverse((step, _))| *step)
    }

    /// The services in which a weight grows at `now`.
    pub(super) fn due(&mut self, now: Moment) -> Vec<ServiceId> {
        let mut due = Vec::new();
        while let Some(Reverse((_, service))) =
            self.steps.peek().filter(|Reverse((step, _))| *step <= now)
        {
            due.push(*service);
            self.steps.pop();
        }
        due
    }

    /// The held pools of the service named, in one region or in all.
    pub(super) fn held(
        &self,
        config: &Config,
        service: &str,
        region: Option<&str>,
    ) -> Result<Vec<(ServiceId, RegionId)>, NotResumed> {
        let named = |name: &str| {
            name.trim_end_matches('.')
                .eq_ignore_ascii_case(service.trim_end_matches('.'))
        };
        let Some(index) = config
            .services
            .iter()
            .position(|own| named(&own.name.to_string()))
        else {
            return Err(NotResumed::NoService(service.to_owned()));
        };
        let (id, service) = (ServiceId::from_index(index), &config.services[index]);
        let name = |pool: &Pool| config.region_name(pool.region);
        let wanted = |pool: &Pool| region.is_none_or(|region| region == name(pool));
        if let Some(region) = region.filter(|_| !service.pools.iter().any(wanted)) {
            return Err(NotResumed::NoRegion(
                service.name.to_string(),
                region.to_owned(),
            ));
        }
        let is_held = |pool: usize| {
            self.returns
                .get(&id)
                .is_some_and(|returns| returns.pool(pool).iter().any(Return::is_held))
        };
        let held = service
            .pools
            .iter()
            .enumerate()
            .filter(|(pool, own)| wanted(own) && is_held(*pool));
        let held: Vec<_> = held.map(|(_, pool)| (id, pool.region)).collect();
        if held.is_empty() {
            let region = region.map_or_else(String::new, |region| format!(" region {region}"));
            return Err(NotResumed::NotHeld(format!("{}{region}", service.name)));
        }
        Ok(held)
    }

    /// An operator takes a pool back; `None` where it is not held.
    pub(super) fn resume(
        &mut self,
        service: ServiceId,
        config: &Config,
        region: RegionId,
        now: Moment,
    ) -> Option<Option<Ramp>> {
        let pool = config.services[service.index()]
            .pools
            .iter()
            .position(|pool| pool.region == region)?;
        self.returns.get_mut(&service)?.resume(pool, now)
    }

    /// The pools that are not simply in use.
    pub(super) fn records(&self, config: &Config, now: Moment) -> Vec<PoolRecord> {
        let mut records = Vec::new();
        for id in self.returns.keys() {
            records.extend(self.records_of(config, *id, now));
        }
        records
    }

    /// The same, of one service.
    pub(super) fn records_of(
        &self,
        config: &Config,
        id: ServiceId,
        now: Moment,
    ) -> Vec<PoolRecord> {
        let Some(returns) = self.returns.get(&id) else {
            return Vec::new();
        };
        let mut records = Vec::new();
        let service = &config.services[id.index()];
        for (index, pool) in service.pools.iter().enumerate() {
            let families = returns.pool(index);
            if families != <[Return; 2]>::default() {
                let region = config.region_name(pool.region).to_owned();
                let families = families.map(|own| own.map(|since| now.since(since)));
                records.push(PoolRecord {
                    service: service.name.to_string(),
                    region,
                    families,
                });
            }
        }
        records
    }

    /// True for a service whose pools may have something to tell.
    pub(super) fn is_followed(&self, id: ServiceId) -> bool {
        self.returns.contains_key(&id)
    }

    /// Puts pools where `records` say that they were `age` ago. Services and regions that are not there any more are
    /// left out.
    pub(super) fn restore(
        &mut self,
        config: &Config,
        records: &[PoolRecord],
        age: Duration,
        now: Moment,
    ) {
        let known: BTreeMap<(&str, &str), &PoolRecord> = records
            .iter()
            .map(|record| ((&*record.service, &*record.region), record))
            .collect();
        for (id, returns) in &mut self.returns {
            let service = &config.services[id.index()];
            let name = service.name.to_string();
            for (index, pool) in service.pools.iter().enumerate() {
                if let Some(record) = known.get(&(&*name, config.region_name(pool.region))) {
                    returns.restore(
                        index,
                        record
                            .families
                            .map(|own| own.map(|grown| now - age.saturating_add(grown))),
                    );
                }
            }
        }
    }
}

/// The latest time until which an endpoint of `pool` is held down as flapping.
fn flapping_until(health: &Health, pool: &Pool) -> Option<Moment> {
    let targets = pool.endpoints.iter().flat_map(|endpoint| &endpoint.probes);
    targets
        .filter_map(|target| health.flapping_until(*target))
        .max()
}

impl fmt::Display for NotResumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotResumed::NoService(service) => write!(f, "there is no service {service}"),
            NotResumed::NoRegion(service, region) => {
                write!(f, "the service {service} has no pool in a region {region}")
            }
            NotResumed::NotHeld(what) => write!(f, "nothing of {what} is held"),
        }
    }
}

impl std::error::Error for NotResumed {}
