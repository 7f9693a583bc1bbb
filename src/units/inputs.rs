//! The inputs of decisions about units: configuration, health, overrides and time.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::dns::Ttl;
use crate::health::{Health, State};
use crate::model::{Endpoint, Moment, Pool, RegionId, Service, ServiceId, Takeover, Unit};
use crate::overrides::Overrides;
use crate::steer::{Plan, succession};

/// The inputs of this moment.
#[derive(Clone, Copy)]
pub struct Inputs<'i> {
    /// The configuration; ids of events are its own.
    pub config: &'i Config,
    /// The health as probes see it.
    pub health: &'i Health,
    /// The overrides in force.
    pub overrides: &'i Overrides,
    /// True until the first round of probes has ended.
    pub first_round: bool,
    /// True while not every endpoint was seen again since this process stood still.
    pub blind: bool,
    /// The present.
    pub now: Moment,
}

/// A reason not to move a unit to a region. An operator may do so by force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objection {
    /// Health is not known yet.
    FirstRound,
    /// This node's own network is assumed down.
    Isolated,
    /// The region of this name is drained.
    Drained(String),
    /// The region of this name is down.
    Down(String),
    /// The region is up, and checks of its `ready_checks` are not.
    NotReady {
        /// The region's name.
        region: String,
        /// The checks, each with its target.
        checks: Vec<String>,
    },
}

/// The part of the configuration that is about one unit.
#[derive(Clone, Copy)]
pub struct UnitRules<'r> {
    config: &'r Config,
    service: &'r Service,
    unit: &'r Unit,
}

impl UnitRules<'_> {
    /// The TTL of its answers.
    pub fn ttl(&self) -> Ttl {
        self.service.ttl
    }

    /// The time that a fence lasts beyond the longest TTL.
    pub fn grace(&self) -> Duration {
        self.unit.rules.grace
    }

    /// The party that decides that the unit moves when its owner is down.
    pub fn takeover(&self) -> Takeover {
        self.unit.rules.takeover
    }

    /// The region of a name, where the unit has a pool in it.
    pub fn region(&self, name: &str) -> Option<RegionId> {
        Some(pool(self.config, self.service, name)?.region)
    }
}

/// The health of the regions of one unit.
#[derive(Clone, Copy)]
pub struct RegionHealth<'h> {
    inputs: &'h Inputs<'h>,
    service: &'h Service,
    unit: &'h Unit,
}

impl RegionHealth<'_> {
    /// True where a takeover may be judged by it. What was not probed yet, or through a network that
    /// is down, says nothing about an owner.
    pub fn is_settled(&self) -> bool {
        let inputs = self.inputs;
        // All three are times in which a region looks down because this node does not see it.
        !inputs.first_round && !inputs.blind && !inputs.health.is_isolated()
    }

    /// True where the pool in the region of a name is up.
    pub fn is_up(&self, region: &str) -> bool {
        pool(self.inputs.config, self.service, region)
            .is_some_and(|pool| self.inputs.is_up(self.service, pool))
    }

    /// The regions that are up and ready to become the owner, best first: by `priority`, then by name.
    pub fn ready(&self) -> Vec<&str> {
        let mut ready = Vec::new();
        for (index, pool) in succession(self.service) {
            if self.inputs.is_ready(self.service, self.unit, index) {
                ready.push(self.inputs.config.region_name(pool.region));
            }
        }
        ready
    }
}

impl Inputs<'_> {
    /// The service of a unit, and its part that makes it one.
    pub(super) fn unit(&self, id: ServiceId) -> (&Service, &Unit) {
        let service = &self.config.services[id.index()];
        let unit = service.unit.as_ref();
        (service, unit.expect("only units have an ownership"))
    }

    pub(super) fn rules(&self, id: ServiceId) -> UnitRules<'_> {
        let (service, unit) = self.unit(id);
        UnitRules {
            config: self.config,
            service,
            unit,
        }
    }

    pub(super) fn health(&self, id: ServiceId) -> RegionHealth<'_> {
        let (service, unit) = self.unit(id);
        RegionHealth {
            inputs: self,
            service,
            unit,
        }
    }

    /// The state of an endpoint as probes see it, unless an override says otherwise.
    fn state(&self, service: &Service, pool: &Pool, endpoint: &Endpoint) -> State {
        self.overrides
            .state(&self.config.regions, service, pool, endpoint, self.now)
            .unwrap_or_else(|| self.health.endpoint(endpoint))
    }

    /// True where a pool is up and not drained: an operator who drains the owner's region wants the
    /// unit elsewhere, as if the region were down.
    pub(super) fn is_up(&self, service: &Service, pool: &Pool) -> bool {
        let families = Plan::is_up(service, pool, &|endpoint| {
            self.state(service, pool, endpoint)
        });
        all_up(families) && !self.is_drained(service, pool)
    }

    fn is_drained(&self, service: &Service, pool: &Pool) -> bool {
        self.overrides
            .is_drained(&self.config.regions, service, pool, self.now)
    }

    /// True where a pool is up when only endpoints count whose `ready_checks` are up too.
    fn is_ready(&self, service: &Service, unit: &Unit, index: usize) -> bool {
        let pool = &service.pools[index];
        let families = Plan::is_up(service, pool, &|endpoint| {
            let state = self.state(service, pool, endpoint);
            State {
                up: state.up && self.passes_ready_checks(unit, pool, index, endpoint),
                ..state
            }
        });
        all_up(families) && !self.is_drained(service, pool)
    }

    fn passes_ready_checks(
        &self,
        unit: &Unit,
        pool: &Pool,
        index: usize,
        endpoint: &Endpoint,
    ) -> bool {
        // Two endpoints of a pool may be equal; their checks are theirs by place.
        let place = pool
            .endpoints
            .iter()
            .position(|own| std::ptr::eq(own, endpoint));
        let Some(targets) = place.and_then(|place| unit.rules.ready[index].get(place)) else {
            return true;
        };
        targets.iter().all(|target| self.health.state(*target).up)
    }

    /// The reason not to move a unit to the pool at `index`; `None` where there is none.
    pub(super) fn objection(
        &self,
        service: &Service,
        unit: &Unit,
        index: usize,
    ) -> Option<Objection> {
        let pool = &service.pools[index];
        let region = self.config.region_name(pool.region).to_owned();
        // What is wrong with this node comes first: until that is over, nothing that it sees of a
        // region counts.
        if self.first_round {
            Some(Objection::FirstRound)
        } else if self.health.is_isolated() {
            Some(Objection::Isolated)
        } else if self.is_drained(service, pool) {
            Some(Objection::Drained(region))
        } else if !self.is_up(service, pool) {
            Some(Objection::Down(region))
        } else if !self.is_ready(service, unit, index) {
            let checks = self.failing_ready_checks(unit, index);
            Some(Objection::NotReady { region, checks })
        } else {
            None
        }
    }

    fn failing_ready_checks(&self, unit: &Unit, index: usize) -> Vec<String> {
        let mut failing = BTreeSet::new();
        for target in unit.rules.ready[index].iter().flatten() {
            if !self.health.state(*target).up {
                let probed = &self.config.targets[target.index()];
                let check = &self.config.checks[probed.check.index()].name;
                failing.insert(format!("{check} of {}", probed.target));
            }
        }
        failing.into_iter().collect()
    }
}

/// The pool of a service in the region of a name.
pub(super) fn pool<'c>(config: &Config, service: &'c Service, region: &str) -> Option<&'c Pool> {
    service
        .pools
        .iter()
        .find(|pool| config.region_name(pool.region) == region)
}

/// True where a pool is up in every family that it offers.
fn all_up(families: [Option<bool>; 2]) -> bool {
    families.into_iter().flatten().all(|up| up)
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Objection::FirstRound => {
                f.write_str("the first round of probes after the start is under way")
            }
            Objection::Isolated => f.write_str("this node is isolated: every probe fails"),
            Objection::Drained(region) => write!(f, "{region} is drained"),
            Objection::Down(region) => write!(f, "{region} is down"),
            Objection::NotReady { region, checks } => {
                write!(
                    f,
                    "{region} is up and not ready: down is {}",
                    checks.join(", ")
                )
            }
        }
    }
}
