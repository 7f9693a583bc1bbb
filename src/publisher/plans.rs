//! Compile and emit: from dirty services to the snapshot.
//!
//! ```text
//! dirty services ─► compile ─► Compiled ─► emit ─► Effect::Publish, changes
//! ```
//! [`Compiled`] plans answer nobody yet: answers are signed in this stage, before they are emitted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::counters::CounterIds;
use super::differences::{differences, recovery_change};
use super::{Effect, Publisher};
use crate::acme::ChallengeTable;
use crate::config::Config;
use crate::geo::GeoMap;
use crate::model::{Endpoint, Moment, Pool, ServiceId};
use crate::recovery;
use crate::steer::Plan;

/// The least time between two snapshots. A failure of a region is thousands of outcomes within
/// milliseconds: the first is published at once, and the rest together.
pub const COALESCE: Duration = Duration::from_millis(10);

/// The plans that are emitted, and the services whose plans are out of date.
#[derive(Debug)]
pub(super) struct Plans {
    /// By [`ServiceId`].
    pub(super) current: Vec<Arc<Plan>>,
    pub(super) counters: CounterIds,
    /// The ACME challenges in force, as snapshots have them.
    pub(super) challenges: Option<Arc<ChallengeTable>>,
    /// True where the last snapshot has other challenges.
    pub(super) is_challenged: bool,
    pub(super) dirty: BTreeSet<ServiceId>,
    /// Services of targets whose falls were undone since their plans were compiled.
    pub(super) undone: BTreeSet<ServiceId>,
    /// The moment of the last publication.
    pub(super) published: Option<Moment>,
    /// Counts publications.
    pub(super) publication: u64,
}

/// Plans that are compiled and not yet emitted.
#[derive(Debug)]
pub(super) struct Compiled(Vec<CompiledPlan>);

#[derive(Debug)]
struct CompiledPlan {
    service: ServiceId,
    plan: Plan,
    /// The pools whose ramp began or ended with it.
    recovery: Vec<recovery::Event>,
}

impl Plans {
    pub(super) fn new(config: &Config) -> Plans {
        Plans {
            current: Vec::new(),
            counters: CounterIds::new(config),
            challenges: None,
            is_challenged: false,
            dirty: BTreeSet::new(),
            undone: BTreeSet::new(),
            published: None,
            publication: 0,
        }
    }

    /// The moment at which the next snapshot is due; `None` where the last one is up to date.
    pub(super) fn next_publication(&self) -> Option<Moment> {
        let published = self.published.filter(|_| !self.dirty.is_empty());
        published.map(|at| at + COALESCE)
    }

    fn is_due(&self, now: Moment) -> bool {
        // Challenges do not wait: whoever set one is told so now, and has it asked for. They come no
        // faster than the disk takes them.
        self.is_challenged
            || (!self.dirty.is_empty() && self.published.is_none_or(|at| now >= at + COALESCE))
    }
}

impl Publisher {
    /// Publishes where plans are out of date, and the last snapshot is old enough.
    pub(super) fn publish_due(&mut self, now: Moment) {
        // Before anything is answered, all that is found is compiled once, at the end of that time.
        if !self.inputs.start.is_silent() && self.plans.is_due(now) {
            self.publish(now);
        }
    }

    /// Compiles the plans of the services that changed, and emits them.
    pub(super) fn publish(&mut self, now: Moment) {
        // Taken first: what becomes dirty meanwhile belongs to the next snapshot.
        let dirty = std::mem::take(&mut self.plans.dirty);
        let compiled = self.compile(dirty, now);
        self.emit(compiled, now);
    }

    /// Compiles the plans of `services`.
    fn compile(&mut self, services: BTreeSet<ServiceId>, now: Moment) -> Compiled {
        let compiled = services.into_iter().map(|id| self.compile_one(id, now));
        Compiled(compiled.collect())
    }

    /// Compiles the plan of one service at `now`.
    fn compile_one(&mut self, id: ServiceId, now: Moment) -> CompiledPlan {
        // Noted before the plan is compared: recovery and ownership change without the plan as
        // well.
        self.dirty_view.service(id);
        let config = &self.inputs.dataset.config;
        let health = &self.inputs.targets.health;
        let overrides = self.overrides.overrides();
        let service = &config.services[id.index()];
        let state = |pool: &Pool, endpoint: &Endpoint| {
            overrides
                .state(&config.regions, service, pool, endpoint, now)
                .unwrap_or_else(|| health.endpoint(endpoint))
        };
        // Recovery goes by the overridden health: a pool that an operator holds down has not returned.
        let undone = self.plans.undone.remove(&id);
        let update = self
            .recovery
            .update(id, config, &state, health, undone, now);
        let mut conditions = update.conditions;
        // Overrides come over recovery: a drain stands even where a ramp has just begun.
        let applied = overrides.apply(&config.regions, service, &mut conditions, now);
        let unit_state = self.units.settle(id, &self.inputs.of_units(overrides, now));
        let mut plan =
            Plan::compile_unit(&applied, &config.regions, &state, &conditions, unit_state);
        // Before the comparison with the plan in use, which has its counters.
        let map = self.inputs.dataset.map_of(&plan);
        let can_degrade = plan.can_degrade(map.is_some_and(GeoMap::has_borders));
        plan.count_in(self.plans.counters.of(id, can_degrade));
        CompiledPlan {
            service: id,
            plan,
            recovery: update.events,
        }
    }

    /// Stores the compiled plans that differ, reports what they change, and publishes where any
    /// does.
    fn emit(&mut self, compiled: Compiled, now: Moment) {
        let config = &self.inputs.dataset.config;
        let mut is_changed = self.plans.is_challenged;
        for CompiledPlan {
            service: id,
            plan,
            recovery,
        } in compiled.0
        {
            let current = &mut self.plans.current[id.index()];
            // Most outcomes change no plan: an equal one costs no publication.
            if **current != plan {
                let service = &config.services[id.index()];
                // While the plan in use is still at hand.
                for event in differences(config, service, current, &plan) {
                    self.outbox.change(event);
                }
                *current = Arc::new(plan);
                is_changed = true;
            }
            for event in &recovery {
                self.outbox.change(recovery_change(config, event));
            }
        }
        if is_changed {
            self.emit_snapshot(now);
        } else {
            // A unit's plan may say what the one before said; then that one has it already.
            self.units.published(self.plans.publication);
        }
    }

    /// Compiles the plans of all services in place of those there were, and reports no differences:
    /// the files are others.
    pub(super) fn compile_all(&mut self, now: Moment) {
        self.dirty_view.all();
        let services = 0..self.inputs.dataset.config.services.len();
        let compiled = self.compile(services.map(ServiceId::from_index).collect(), now);
        let plans = compiled.0.into_iter().map(|own| Arc::new(own.plan));
        self.plans.current = plans.collect();
        // All are up to date now, also those that became dirty before the files changed.
        self.plans.dirty.clear();
    }

    pub(super) fn emit_snapshot(&mut self, now: Moment) {
        // Only here: plans that turn out equal are not published, and do not delay the next
        // snapshot.
        self.plans.published = Some(now);
        self.plans.publication += 1;
        self.plans.is_challenged = false;
        // A fence begins when all threads have left the publications before this one.
        self.units.published(self.plans.publication);
        self.plans.counters.grow();
        let snapshot = self.snapshot();
        self.outbox.push(Effect::Publish(snapshot));
    }
}
