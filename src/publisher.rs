//! The only writer of what is published: events in, a new snapshot and sentences out.
//!
//! ```text
//! Event ─► Health ─► services of the targets that changed ─► their plans ─► Snapshot ─► Effect::Publish
//! ```
//! It reads no clock and does no I/O: `now` comes with each event, and [`Publisher::next_deadline`]
//! says when it wants to be called again without one. Snapshots are published at once, and then at
//! most one every [`COALESCE`].

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::dataset::{Dataset, Snapshot};
use crate::health::{self, Carry, Cause, End, Health, Outcome, TargetSpec, Warning, match_targets};
use crate::model::{Family, Moment, RegionId, Service, ServiceId, TargetId};
use crate::steer::{Plan, Rung};

/// The least time between two snapshots.
pub const COALESCE: Duration = Duration::from_millis(10);

/// What happens to the server.
#[derive(Debug)]
pub enum Event {
    /// A probe of the dataset of this generation has ended.
    Outcome {
        /// [`Publisher::generation`] when the probe was set up; others are stale and ignored.
        generation: u32,
        /// What was probed.
        target: TargetId,
        /// What it saw.
        outcome: Outcome,
    },
    /// Every target has been probed to a verdict, or the time for that is over.
    FirstRoundEnded,
    /// New files were accepted.
    Reload {
        /// What they say.
        dataset: Arc<Dataset>,
        /// What probes of its new targets saw, each to a verdict.
        first_round: Vec<(TargetId, Outcome)>,
    },
    /// Time has passed.
    Tick,
}

/// What the caller is to do.
#[derive(Debug)]
pub enum Effect {
    /// Publish this.
    Publish(Arc<Snapshot>),
    /// Say this once, in the log and on the event stream.
    Say(Change),
}

/// A change of state, as one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An endpoint's check went up or down.
    Target {
        /// Address or name probed.
        target: String,
        /// The check's name.
        check: String,
        /// What it is now.
        up: bool,
        /// Why.
        cause: Cause,
        /// Regions that have an endpoint there.
        regions: Vec<String>,
        /// How many services use it.
        services: usize,
    },
    /// What passes now and will fail if nobody acts; `None` where that is over.
    Warned {
        /// Address or name probed.
        target: String,
        /// The check's name.
        check: String,
        /// What it is.
        warning: Option<Warning>,
    },
    /// A region became available or unavailable for a service.
    Pool {
        /// Owner name.
        service: String,
        /// The region.
        region: String,
        /// `A` or `AAAA`.
        family: &'static str,
        /// The best rung it stood on.
        old: Rung,
        /// The best rung it stands on.
        new: Rung,
    },
    /// The rung that answers a service's clients, borders left aside, changed.
    Service {
        /// Owner name.
        service: String,
        /// `A` or `AAAA`.
        family: &'static str,
        /// Before.
        old: Rung,
        /// Now.
        new: Rung,
    },
    /// Our own network failed.
    IsolationBegan,
    /// Probes count again.
    IsolationEnded(End),
}

/// Holds the state of the server; the one writer of snapshots.
#[derive(Debug)]
pub struct Publisher {
    dataset: Arc<Dataset>,
    health: Health,
    /// By [`TargetId`].
    used_by: Vec<Vec<ServiceId>>,
    plans: Vec<Arc<Plan>>,
    dirty: BTreeSet<ServiceId>,
    published: Option<Moment>,
    generation: u32,
    first_round: bool,
}

impl Publisher {
    /// Starts with everything up, before the first round.
    pub fn new(dataset: Arc<Dataset>) -> Publisher {
        let health = new_health(&dataset);
        let plans = compile_all(&dataset, &health);
        let used_by = used_by(&dataset);
        Publisher { dataset, health, used_by, plans, dirty: BTreeSet::new(), published: None, generation: 0, first_round: true }
    }

    /// Counts accepted datasets; outcomes carry it.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// True after the first round, while our own network works.
    pub fn is_ready(&self) -> bool {
        !self.first_round && !self.health.is_isolated()
    }

    /// The health behind the plans.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The snapshot of this moment.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(Snapshot { dataset: self.dataset.clone(), plans: self.plans.clone() })
    }

    /// When to call [`Publisher::handle`] with a tick at the latest.
    pub fn next_deadline(&self) -> Option<Moment> {
        let publish = if self.dirty.is_empty() { None } else { self.published.map(|at| at + COALESCE) };
        [self.health.next_deadline(), publish].into_iter().flatten().min()
    }

    /// Takes in one event; what follows from it, in order.
    pub fn handle(&mut self, event: Event, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Outcome { generation, target, outcome } if generation == self.generation => {
                let changes = self.health.record(target, outcome, now);
                self.take(changes, &mut effects);
            }
            Event::Outcome { .. } => {}
            Event::FirstRoundEnded => {
                let changes = self.health.end_first_round(now);
                self.first_round = false;
                self.take(changes, &mut effects);
                // The first answer is given from what the round found.
                self.publish(now, &mut effects);
            }
            Event::Reload { dataset, first_round } => {
                self.reload(dataset, first_round, now, &mut effects);
                return effects;
            }
            Event::Tick => {
                let changes = self.health.tick(now);
                self.take(changes, &mut effects);
            }
        }
        if !self.dirty.is_empty() && self.published.is_none_or(|at| now >= at + COALESCE) {
            self.publish(now, &mut effects);
        }
        effects
    }

    fn take(&mut self, changes: Vec<health::Effect>, effects: &mut Vec<Effect>) {
        for change in changes {
            match change {
                health::Effect::Transition(transition) => {
                    self.dirty.extend(&self.used_by[transition.target.index()]);
                    effects.push(Effect::Say(self.target_change(&transition)));
                }
                health::Effect::Doubt { target, .. } => self.dirty.extend(&self.used_by[target.index()]),
                health::Effect::Warned { target, warning } => {
                    let (target, check) = self.names_of(target);
                    effects.push(Effect::Say(Change::Warned { target, check, warning }));
                }
                health::Effect::IsolationBegan => effects.push(Effect::Say(Change::IsolationBegan)),
                health::Effect::IsolationEnded(end) => effects.push(Effect::Say(Change::IsolationEnded(end))),
            }
        }
    }

    /// Recomputes the plans of the services that changed, and publishes where any did.
    fn publish(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let mut changed = false;
        for service in std::mem::take(&mut self.dirty) {
            let plan = compile(&self.dataset, &self.health, &self.dataset.config.services[service.index()]);
            let old = &self.plans[service.index()];
            if **old != plan {
                say_differences(&self.dataset, service, old, &plan, effects);
                self.plans[service.index()] = Arc::new(plan);
                changed = true;
            }
        }
        if changed {
            self.published = Some(now);
            effects.push(Effect::Publish(self.snapshot()));
        }
    }

    /// Takes up a new dataset: health follows by (check definition, address), and what is new starts
    /// from its own first round.
    fn reload(&mut self, dataset: Arc<Dataset>, first_round: Vec<(TargetId, Outcome)>, now: Moment, effects: &mut Vec<Effect>) {
        let mut health = new_health(&dataset);
        health.carry_over(&self.health, &carry(&self.dataset, &dataset));
        self.health = health;
        self.used_by = used_by(&dataset);
        self.dataset = dataset;
        self.generation += 1;
        for (target, outcome) in first_round {
            let changes = self.health.record(target, outcome, now);
            self.take(changes, effects);
        }
        self.plans = compile_all(&self.dataset, &self.health);
        self.dirty.clear();
        self.published = Some(now);
        effects.push(Effect::Publish(self.snapshot()));
    }

    /// What is probed, and by which check.
    fn names_of(&self, target: TargetId) -> (String, String) {
        let config = &self.dataset.config;
        let target = &config.targets[target.index()];
        (target.target.to_string(), config.checks[target.check.index()].name.clone())
    }

    fn target_change(&self, transition: &health::Transition) -> Change {
        let config = &self.dataset.config;
        let (target, check) = self.names_of(transition.target);
        let mut regions: BTreeSet<RegionId> = BTreeSet::new();
        regions.extend(&self.health.spec(transition.target).regions);
        Change::Target {
            target,
            check,
            up: transition.up,
            cause: transition.cause,
            regions: regions.into_iter().map(|region| config.regions[region.index()].name.clone()).collect(),
            services: self.used_by[transition.target.index()].len(),
        }
    }
}

/// What each target of `new` takes over from `old`.
fn carry(old: &Dataset, new: &Dataset) -> Vec<Carry> {
    let (old, new) = (&old.config, &new.config);
    match_targets((&old.checks, &old.targets), (&new.checks, &new.targets))
}

/// The targets of `new` that `old` has no health of: to be probed before `new` is published.
pub fn new_targets(old: &Dataset, new: &Dataset) -> Vec<TargetId> {
    let carried = carry(old, new);
    let unknown = carried.iter().enumerate().filter(|(_, carry)| matches!(carry, Carry::New));
    unknown.map(|(index, _)| TargetId::from_index(index)).collect()
}

fn new_health(dataset: &Dataset) -> Health {
    let config = &dataset.config;
    Health::new(TargetSpec::all(&config.checks, &config.targets, &config.services, &config.server.sanity))
}

fn compile(dataset: &Dataset, health: &Health, service: &Service) -> Plan {
    Plan::compile(service, dataset.config.regions.len(), &|_, endpoint| health.endpoint(endpoint))
}

fn compile_all(dataset: &Dataset, health: &Health) -> Vec<Arc<Plan>> {
    dataset.config.services.iter().map(|service| Arc::new(compile(dataset, health, service))).collect()
}

fn used_by(dataset: &Dataset) -> Vec<Vec<ServiceId>> {
    let mut used_by = vec![Vec::new(); dataset.config.targets.len()];
    for (index, service) in dataset.config.services.iter().enumerate() {
        let endpoints = service.pools.iter().flat_map(|pool| &pool.endpoints);
        for target in endpoints.flat_map(|endpoint| &endpoint.probes) {
            let services: &mut Vec<ServiceId> = &mut used_by[target.index()];
            if services.last() != Some(&ServiceId::from_index(index)) {
                services.push(ServiceId::from_index(index));
            }
        }
    }
    used_by
}

/// One sentence per pool and family whose rung changed, and one where the service's did.
fn say_differences(dataset: &Dataset, service: ServiceId, old: &Plan, new: &Plan, effects: &mut Vec<Effect>) {
    let name = || dataset.config.services[service.index()].name.to_string();
    for (family, label) in [(Family::V4, "A"), (Family::V6, "AAAA")] {
        if !new.families.contains(family) {
            continue;
        }
        for (before, after) in old.pools.iter().zip(&new.pools) {
            let rung = |set: u8| Rung::best(set);
            if let (Some(old), Some(new)) = (rung(before.rungs[family.index()]), rung(after.rungs[family.index()]))
                && old != new
            {
                let region = dataset.config.regions[after.region.index()].name.clone();
                effects.push(Effect::Say(Change::Pool { service: name(), region, family: label, old, new }));
            }
        }
        if let (Some(old), Some(new)) = (old.rung(family), new.rung(family))
            && old != new
        {
            effects.push(Effect::Say(Change::Service { service: name(), family: label, old, new }));
        }
    }
}

impl Change {
    /// True for what someone should look at.
    pub fn is_bad(&self) -> bool {
        match self {
            Change::Target { up, .. } => !up,
            Change::Pool { old, new, .. } | Change::Service { old, new, .. } => new > old,
            Change::Warned { warning, .. } => warning.is_some(),
            Change::IsolationBegan => true,
            Change::IsolationEnded(_) => false,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |up: &bool| if *up { "up" } else { "down" };
        match self {
            Change::Target { target, check, up, cause, regions, services } => {
                let plural = if *services == 1 { "" } else { "s" };
                let regions = if regions.is_empty() { "no region".to_owned() } else { regions.join(", ") };
                write!(f, "endpoint {target} check {check} is {}, was {}: {cause}; in {regions}, ", word(up), word(&!up))?;
                write!(f, "used by {services} service{plural}")
            }
            Change::Warned { target, check, warning: Some(warning) } => write!(f, "endpoint {target} check {check}: {warning}"),
            Change::Warned { target, check, warning: None } => write!(f, "endpoint {target} check {check}: no warning any more"),
            Change::Pool { service, region, family, old, new } => {
                write!(f, "service {service} {family} region {region} is {}, was {}", pool_word(*new), pool_word(*old))
            }
            Change::Service { service, family, old, new } => {
                write!(f, "service {service} {family} is answered from {}, was {}", new.as_str(), old.as_str())
            }
            Change::IsolationBegan => f.write_str(
                "isolated: no endpoint anywhere passes, so our own network is taken to be what failed; health is frozen and this node is not ready",
            ),
            Change::IsolationEnded(End::Pass) => f.write_str("isolation is over: a probe passed; outcomes count again"),
            Change::IsolationEnded(End::TimeLimit) => {
                f.write_str("isolation is over: it lasted 60 s, so the failures are taken to be real; outcomes count again")
            }
        }
    }
}

/// A pool that stands only on the rungs of last resort is down.
fn pool_word(rung: Rung) -> &'static str {
    if rung >= Rung::AsIfUp { "down" } else { rung.as_str() }
}
