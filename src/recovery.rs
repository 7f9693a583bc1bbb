//! Recovery: pools that were down come back at once, with a weight that grows (`ramp`), or when an
//! operator resumes them (`resume = "manual"`).
//!
//! ```text
//! health of a service's pools ─► Recovery::update ─► PoolConditions for its plan, and Events
//! ```
//! It is a state machine without clock or I/O: `now` is an argument, and [`Recovery::next_step`]
//! says when the next weight grows.

mod service;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::time::Duration;

use crate::config::Config;
use crate::health::{Health, State};
use crate::model::{Endpoint, Moment, Pool, RegionId, Service, ServiceId};
use crate::steer::{Plan, PoolConditions};

pub use service::{Phase, PoolRecovery};

use service::{Ramp, ServiceRecovery};

/// The recovery of the pools of all services.
#[derive(Debug, Default)]
pub struct Recovery {
    /// The services whose pools are not back in use at once.
    services: BTreeMap<ServiceId, ServiceRecovery>,
    /// The moments at which a weight grows, soonest first. A step that no longer changes anything
    /// is harmless.
    steps: BinaryHeap<Reverse<(Moment, ServiceId)>>,
}

/// The state of one pool's recovery, as it outlives the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRecord {
    /// Owner name of the service.
    pub service: String,
    /// The region's name.
    pub region: String,
    /// The recovery per family; a ramp is told by how long it has run.
    pub families: [PoolRecovery<Duration>; 2],
}

/// A change in the recovery of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The service.
    pub service: ServiceId,
    /// The region of its pool.
    pub region: RegionId,
    /// The change.
    pub change: RecoveryChange,
}

/// A step of a pool's recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecoveryChange {
    /// An operator resumed the pool.
    Resumed,
    /// The weight begins to grow, and is back at its full value after this long.
    RampBegan(Duration),
    /// The weight is back at its full value.
    RampEnded,
}

/// The result of an update: conditions for the plan, and changes to report.
#[derive(Debug, Default)]
pub struct Update {
    /// The conditions of each pool; empty where no pool has any.
    pub conditions: Vec<PoolConditions>,
    /// The changes, in the order of the pools.
    pub events: Vec<Event>,
}

/// A reason to resume nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotResumed {
    /// The name belongs to no service.
    NoService(String),
    /// The service has no pool in that region.
    NoRegion {
        /// Owner name of the service.
        service: String,
        /// The region's name.
        region: String,
    },
    /// No pool of the service, or of it in the region, waits for an operator.
    NotHeld {
        /// Owner name of the service.
        service: String,
        /// The region's name, where one was given.
        region: Option<String>,
    },
}

/// Resolves the names of a service and, where one is given, of a region in which it has a pool.
///
/// # Errors
/// [`NotResumed`] where there is no such service or pool.
pub fn resolve(
    config: &Config,
    service: &str,
    region: Option<&str>,
) -> Result<(ServiceId, Option<RegionId>), NotResumed> {
    let mut services = config.services.iter();
    let Some(index) = services.position(|own| own.name.is_written(service)) else {
        return Err(NotResumed::NoService(service.to_owned()));
    };
    let (id, service) = (ServiceId::from_index(index), &config.services[index]);
    let Some(region) = region else {
        return Ok((id, None));
    };
    let mut pools = service.pools.iter();
    match pools.find(|pool| config.region_name(pool.region) == region) {
        Some(pool) => Ok((id, Some(pool.region))),
        None => Err(NotResumed::NoRegion {
            service: service.name.to_string(),
            region: region.to_owned(),
        }),
    }
}

impl Recovery {
    /// Starts with every pool in use.
    pub fn new(config: &Config) -> Recovery {
        let mut services = BTreeMap::new();
        for (index, service) in config.services.iter().enumerate() {
            if let Some(recovery) = ServiceRecovery::new(service) {
                services.insert(ServiceId::from_index(index), recovery);
            }
        }
        Recovery {
            services,
            steps: BinaryHeap::new(),
        }
    }

    /// Takes in the `state` of a service's endpoints, overrides included, and what `health` knows
    /// of flapping. `undone` is true when isolation undid falls of its targets.
    pub fn update(
        &mut self,
        id: ServiceId,
        config: &Config,
        state: &dyn Fn(&Pool, &Endpoint) -> State,
        health: &Health,
        undone: bool,
        now: Moment,
    ) -> Update {
        let service = &config.services[id.index()];
        let mut update = Update::default();
        if let Some(recovery) = self.services.get_mut(&id) {
            for (index, pool) in service.pools.iter().enumerate() {
                // By the same rule as the plan, so that both go up and down at once.
                let up = Plan::is_up(service, pool, &|endpoint: &Endpoint| state(pool, endpoint));
                let ramp = recovery.update(index, up, undone, now);
                update
                    .events
                    .extend(ramp.map(|ramp| Event::ramp(id, pool.region, ramp)));
                update.conditions.push(recovery.conditions(index, now));
            }
            self.steps
                .extend(recovery.next_step(now).map(|step| Reverse((step, id))));
        }
        // Mostly nothing flaps, and this is asked for every plan.
        if health.any_flapping() {
            add_flapping(&mut update.conditions, service, health);
        }
        update
    }

    /// The moment of the next growth of a weight.
    pub fn next_step(&self) -> Option<Moment> {
        self.steps.peek().map(|Reverse((step, _))| *step)
    }

    /// Removes and returns the services in which a weight grows by `now`.
    pub fn take_due(&mut self, now: Moment) -> Vec<ServiceId> {
        // A service may be in the heap several times: its steps are only ever added.
        let mut due = Vec::new();
        while let Some(Reverse((_, service))) =
            self.steps.peek().filter(|Reverse((step, _))| *step <= now)
        {
            due.push(*service);
            self.steps.pop();
        }
        due
    }

    /// The regions in which `service` waits for an operator: all of them, or `region` alone.
    ///
    /// # Errors
    /// [`NotResumed::NotHeld`] where there is none.
    pub fn held(
        &self,
        config: &Config,
        id: ServiceId,
        region: Option<RegionId>,
    ) -> Result<Vec<RegionId>, NotResumed> {
        let service = &config.services[id.index()];
        let mut held = Vec::new();
        for (index, pool) in service.pools.iter().enumerate() {
            let is_asked = region.is_none_or(|region| region == pool.region);
            if is_asked && self.is_held(id, index) {
                held.push(pool.region);
            }
        }
        if held.is_empty() {
            return Err(NotResumed::NotHeld {
                service: service.name.to_string(),
                region: region.map(|region| config.region_name(region).to_owned()),
            });
        }
        Ok(held)
    }

    fn is_held(&self, service: ServiceId, pool: usize) -> bool {
        self.services.get(&service).is_some_and(|recovery| {
            let families = recovery.pool(pool);
            families.iter().any(PoolRecovery::is_held)
        })
    }

    /// Resumes a service's pool in `region`; no events where it is not held.
    pub fn resume(
        &mut self,
        service: ServiceId,
        config: &Config,
        region: RegionId,
        now: Moment,
    ) -> Vec<Event> {
        let pools = &config.services[service.index()].pools;
        let pool = pools.iter().position(|pool| pool.region == region);
        let (Some(pool), Some(recovery)) = (pool, self.services.get_mut(&service)) else {
            return Vec::new();
        };
        let Some(ramp) = recovery.resume(pool, now) else {
            return Vec::new();
        };
        let mut events = vec![Event {
            service,
            region,
            change: RecoveryChange::Resumed,
        }];
        events.extend(ramp.map(|ramp| Event::ramp(service, region, ramp)));
        events
    }

    /// The pools that are not simply in use, with their ramps' ages at `now`.
    pub fn records(&self, config: &Config, now: Moment) -> Vec<PoolRecord> {
        let mut records = Vec::new();
        for id in self.services.keys() {
            records.extend(self.records_of(config, *id, now));
        }
        records
    }

    /// The pools of one service that are not simply in use.
    pub fn records_of(&self, config: &Config, id: ServiceId, now: Moment) -> Vec<PoolRecord> {
        let mut records = Vec::new();
        let Some(recovery) = self.services.get(&id) else {
            return records;
        };
        let service = &config.services[id.index()];
        for (index, pool) in service.pools.iter().enumerate() {
            let families = recovery.pool(index);
            if families != <[PoolRecovery; 2]>::default() {
                records.push(PoolRecord {
                    service: service.name.to_string(),
                    region: config.region_name(pool.region).to_owned(),
                    families: families.map(|own| own.map(|since| now.since(since))),
                });
            }
        }
        records
    }

    /// True for a service whose pools may be on their way back.
    pub fn is_followed(&self, id: ServiceId) -> bool {
        self.services.contains_key(&id)
    }

    /// Puts pools back to where `records` had them `age` ago. Records of services and regions that
    /// no longer exist are left out.
    pub fn restore(&mut self, config: &Config, records: &[PoolRecord], age: Duration, now: Moment) {
        // By name: ids are others after a restart or a reload. A search for each pool would cost
        // pools × records.
        let mut known: BTreeMap<(&str, &str), &PoolRecord> = BTreeMap::new();
        for record in records {
            known.insert((&record.service, &record.region), record);
        }
        for (id, recovery) in &mut self.services {
            let service = &config.services[id.index()];
            let name = service.name.to_string();
            for (index, pool) in service.pools.iter().enumerate() {
                let region = config.region_name(pool.region);
                if let Some(record) = known.get(&(name.as_str(), region)) {
                    let mut families = [PoolRecovery::default(); 2];
                    for (own, recorded) in families.iter_mut().zip(record.families) {
                        *own = recorded.map(|grown| now - age.saturating_add(grown));
                    }
                    recovery.restore(index, families);
                }
            }
        }
    }
}

impl Event {
    fn ramp(service: ServiceId, region: RegionId, ramp: Ramp) -> Event {
        let change = match ramp {
            Ramp::Began(ramp) => RecoveryChange::RampBegan(ramp),
            Ramp::Ended => RecoveryChange::RampEnded,
        };
        Event {
            service,
            region,
            change,
        }
    }
}

/// Adds to the conditions of a service's pools until when endpoints are held down as flapping.
fn add_flapping(conditions: &mut Vec<PoolConditions>, service: &Service, health: &Health) {
    for (index, pool) in service.pools.iter().enumerate() {
        if let Some(until) = flapping_until(health, pool) {
            // A plan has conditions of all pools or of none.
            conditions.resize(service.pools.len(), PoolConditions::default());
            conditions[index].flapping_until = Some(until);
        }
    }
}

/// The latest moment until which an endpoint of `pool` is held down as flapping.
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
            NotResumed::NoRegion { service, region } => {
                write!(f, "service {service} has no pool in region {region}")
            }
            NotResumed::NotHeld { service, region } => {
                write!(f, "service {service}")?;
                if let Some(region) = region {
                    write!(f, " region {region}")?;
                }
                f.write_str(": no pool is held, so there is nothing to resume")
            }
        }
    }
}

impl std::error::Error for NotResumed {}
