//! Facts of a moment, as the pages show them: the plans in force and the view, by region and by pool.

use std::collections::BTreeMap;

use super::traffic::Traffic;
use crate::config::Config;
use crate::control::api::Present;
use crate::dataset::Snapshot;
use crate::health::Seen;
use crate::model::{Moment, RegionId, WallTime};
use crate::publisher::View;
use crate::steer::{Plan, PoolPlan, Rung};

/// Everything that a page is made of.
#[derive(Clone, Copy)]
pub(super) struct Facts<'f> {
    /// The state of the moment, for the builders of documents.
    pub(super) present: &'f Present,
    /// The plans in force.
    pub(super) snapshot: &'f Snapshot,
    /// The state behind them.
    pub(super) view: &'f View,
    /// The answers given lately.
    pub(super) traffic: &'f Traffic,
    /// The wall clock.
    pub(super) wall: WallTime,
    /// The time of the page.
    pub(super) now: Moment,
}

/// State of a pool, a region or a service, from better to worse but for the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// In use.
    Up,
    /// Out of use on purpose: a weight of 0, a later priority, no owner of the unit.
    Idle,
    /// In use, and may change soon.
    InDoubt,
    /// In use, with some endpoints down or shed by load.
    Partly,
    /// Up, and waits for an operator.
    Held,
    /// Taken out of use by an operator.
    Drained,
    /// No endpoint is up.
    Down,
}

impl State {
    /// Its class in the style sheet, which gives it its colour and its sign.
    pub(super) fn class(self) -> &'static str {
        match self {
            State::Up => "up",
            State::Idle => "idle",
            State::InDoubt | State::Partly | State::Held => "doubt",
            State::Drained => "drained",
            State::Down => "down",
        }
    }

    /// Its word.
    pub(super) fn word(self) -> &'static str {
        match self {
            State::Up => "up",
            State::Idle => "standby",
            State::InDoubt => "in doubt",
            State::Partly => "partly up",
            State::Held => "held",
            State::Drained => "drained",
            State::Down => "down",
        }
    }
}

/// The state of a pool.
pub(super) fn pool_state(plan: &Plan, pool: &PoolPlan) -> State {
    let unit = plan.unit_state();
    if unit.is_some_and(|unit| unit.owner() != Some(pool.region)) {
        return if pool.up == 0 {
            State::Down
        } else {
            State::Idle
        };
    }
    let conditions = plan.note(pool.region).map(|note| &note.conditions);
    let rungs = pool.rungs.iter().filter_map(|rungs| Rung::best(*rungs));
    let worst = rungs.max();
    if pool.up == 0 || worst.is_some_and(|rung| rung >= Rung::AsIfUp) {
        return State::Down;
    }
    if conditions.is_some_and(|conditions| conditions.drained.is_some()) {
        return State::Drained;
    }
    match worst {
        Some(Rung::Standby) if conditions.is_some_and(|own| own.held.contains(&true)) => {
            State::Held
        }
        Some(Rung::Standby) => State::Idle,
        _ if pool.doubt => State::InDoubt,
        _ if pool.up < pool.endpoints || worst.is_some_and(|rung| rung > Rung::Up) => State::Partly,
        _ => State::Up,
    }
}

/// The rung from which a service is answered, the worst of its families.
pub(super) fn service_rung(plan: &Plan) -> Option<Rung> {
    let families = crate::model::Family::BOTH;
    families
        .into_iter()
        .filter_map(|family| plan.rung(family))
        .max()
}

/// A region at this moment.
#[derive(Debug, Clone)]
pub(super) struct RegionFacts {
    /// Its id.
    pub(super) id: RegionId,
    /// The state of most that it has.
    pub(super) state: State,
    /// Endpoints of its pools that are up, and all.
    pub(super) endpoints: (usize, usize),
    /// Its pools that are up, drained or in use, and all.
    pub(super) pools: (usize, usize),
    /// Answers lately.
    pub(super) answers: u64,
    /// Its share of the answers lately; `None` where there were none at all.
    pub(super) share: Option<f64>,
    /// The endpoints that are down.
    pub(super) failure: Option<Failure>,
}

/// The endpoints of a region that are down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// The time of the first transition of those that are still down.
    pub(super) since: Option<Moment>,
    /// The most frequent reason of their last probes.
    pub(super) reason: String,
}

impl<'f> Facts<'f> {
    /// The facts of a moment.
    pub(super) fn new(present: &'f Present, traffic: &'f Traffic) -> Facts<'f> {
        Facts {
            present,
            snapshot: &present.snapshot,
            view: &present.view,
            traffic,
            wall: present.wall,
            now: present.now,
        }
    }

    /// The files.
    pub(super) fn config(&self) -> &'f Config {
        &self.snapshot.dataset.config
    }

    /// Every region, in the order of its id.
    pub(super) fn regions(&self) -> Vec<RegionFacts> {
        let config = self.config();
        let mut regions: Vec<Gathered> =
            config.regions.iter().map(|_| Gathered::default()).collect();
        for plan in &self.snapshot.plans {
            for pool in &plan.pools {
                regions[pool.region.index()].add(plan, pool, self.traffic.lately(pool.counter));
            }
        }
        let total: u64 = regions.iter().map(|region| region.answers).sum();
        let mut failures = self.failures();
        let mut facts = Vec::new();
        for (index, region) in regions.into_iter().enumerate() {
            let id = RegionId::from_index(index);
            facts.push(RegionFacts {
                id,
                state: region.state(),
                endpoints: region.endpoints,
                pools: region.pools,
                answers: region.answers,
                share: (total > 0).then(|| region.answers as f64 / total as f64),
                failure: failures.remove(&id),
            });
        }
        facts
    }

    /// The regions of which targets are down, and why.
    fn failures(&self) -> BTreeMap<RegionId, Failure> {
        let config = self.config();
        let down: BTreeMap<_, _> = self
            .view
            .targets()
            .filter(|(_, target)| !target.state.up)
            .collect();
        if down.is_empty() {
            return BTreeMap::new();
        }
        let mut reasons: BTreeMap<RegionId, (Option<Moment>, BTreeMap<String, usize>)> =
            BTreeMap::new();
        for pool in config.services.iter().flat_map(|service| &service.pools) {
            for probe in pool.endpoints.iter().flat_map(|endpoint| &endpoint.probes) {
                let Some(target) = down.get(probe) else {
                    continue;
                };
                let (since, counts) = reasons.entry(pool.region).or_default();
                *since = match (*since, target.changed) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
                let reason = match target.last.as_ref().map(|outcome| &outcome.seen) {
                    Some(Seen::Pass) => "probes pass again".to_owned(),
                    Some(seen) => seen.to_string(),
                    None => "never probed".to_owned(),
                };
                *counts.entry(reason).or_default() += 1;
            }
        }
        reasons
            .into_iter()
            .map(|(region, (since, counts))| {
                let most = counts.into_iter().max_by_key(|(_, count)| *count);
                let reason = most.map(|(reason, _)| reason).unwrap_or_default();
                (region, Failure { since, reason })
            })
            .collect()
    }
}

/// A region while its pools are gone through.
#[derive(Debug, Default)]
struct Gathered {
    endpoints: (usize, usize),
    pools: (usize, usize),
    answers: u64,
    by_state: BTreeMap<State, usize>,
}

impl Gathered {
    fn add(&mut self, plan: &Plan, pool: &PoolPlan, answers: u64) {
        let state = pool_state(plan, pool);
        *self.by_state.entry(state).or_default() += 1;
        self.endpoints.0 += usize::from(pool.up);
        self.endpoints.1 += usize::from(pool.endpoints);
        self.pools.0 += usize::from(state != State::Down);
        self.pools.1 += 1;
        self.answers += answers;
    }

    /// One word for all pools that are not out of use on purpose: that of every one of them, or the
    /// mixture.
    fn state(&self) -> State {
        let in_use = self.by_state.keys().filter(|state| **state != State::Idle);
        let (Some(best), Some(worst)) = (in_use.clone().min(), in_use.max()) else {
            return State::Idle;
        };
        match (*best, *worst) {
            (best, worst) if best == worst => worst,
            (_, State::Down | State::Drained | State::Partly) => State::Partly,
            (_, worst) => worst,
        }
    }
}
