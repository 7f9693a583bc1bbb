//! The only writer of what is published: events in; a new snapshot, writes and changes out.
//!
//! ```text
//! Event ─► health, overrides, units, recovery ─► dirty services ─► compile ─► Compiled ─► emit ─► Effects
//! ```
//! It reads no clock and does no I/O: `now` comes with each event, and [`Publisher::next_deadline`]
//! says when it wants to be called again without one. Snapshots are published at once, and then at
//! most one every [`COALESCE`].

mod counters;
mod differences;
mod event;
mod history;
mod inputs;
mod operators;
mod outbox;
mod plans;
mod probes;
mod reload;
mod stalls;
mod view;

use std::sync::Arc;
use std::time::Duration;

use crate::acme::{self, StoredChallenges};
use crate::changes;
use crate::commit::{self, Collection, Write};
use crate::dataset::{Dataset, Snapshot};
use crate::health::{Health, READING, match_targets};
use crate::model::{Moment, RegionId, ServiceId, TargetId};
use crate::overrides::{Overrides, Store, StoredOverrides};
use crate::recovery::{NotResumed, PoolRecord, Recovery};
use crate::units::{UnitRecord, UnitView, Units};

pub use event::{AcmeEvent, Done, Effect, Event, NotDone, OverrideEvent, ProbeEvent, UnitEvent};
pub use history::{History, PERSIST_PAUSE, PERSIST_PAUSE_IN_DOUBT, PERSIST_PERIOD};
pub use plans::COALESCE;
pub use reload::new_targets;
pub use view::{OverridesView, ServiceView, TargetView, View, ViewUpdate};

use history::HistoryWriter;
use inputs::Inputs;
use outbox::Outbox;
use plans::Plans;
use view::Dirty;

/// The state of the server; the one writer of snapshots.
#[derive(Debug)]
pub struct Publisher {
    inputs: Inputs,
    overrides: Store,
    acme: acme::Store,
    recovery: Recovery,
    units: Units,
    history: HistoryWriter,
    plans: Plans,
    /// The changes that readers have not been told yet.
    dirty_view: Dirty,
    /// The effects of the event that is being handled.
    outbox: Outbox,
}

/// A write of documents, by their collection.
#[derive(Debug, Clone)]
pub enum Commit {
    /// The history of health.
    History(Write<History>),
    /// The records of units that change.
    Units(Write<UnitRecord>),
    /// All overrides.
    Overrides(Write<StoredOverrides>),
    /// All ACME challenges.
    Acme(Write<StoredChallenges>),
}

impl Publisher {
    /// Starts with everything up, before the first round.
    pub fn new(dataset: Arc<Dataset>) -> Publisher {
        let mut publisher = Publisher::without_plans(dataset);
        publisher.begin(Moment::default());
        publisher
    }

    fn without_plans(dataset: Arc<Dataset>) -> Publisher {
        let config = &dataset.config;
        Publisher {
            overrides: Store::default(),
            acme: acme::Store::default(),
            recovery: Recovery::new(config),
            units: Units::new(config),
            history: HistoryWriter::default(),
            plans: Plans::new(config),
            dirty_view: Dirty::default(),
            outbox: Outbox::default(),
            inputs: Inputs::new(dataset),
        }
    }

    /// Starts from what was persisted `age` ago, before the first round. Returns the targets
    /// without history, in order: they are to be probed before anything is answered.
    pub fn restore(
        dataset: Arc<Dataset>,
        history: &History,
        age: Duration,
        now: Moment,
    ) -> (Publisher, Vec<TargetId>) {
        let mut publisher = Publisher::without_plans(dataset);
        let Inputs {
            dataset, targets, ..
        } = &mut publisher.inputs;
        let carry = match_targets(&history.keys, &targets.keys);
        let unknown = targets.health.restore(&history.records, &carry, age, now);
        publisher
            .recovery
            .restore(&dataset.config, &history.pools, age, now);
        publisher.begin(now);
        (publisher, unknown)
    }

    /// Compiles the first plans, which [`Publisher::snapshot`] hands out unasked.
    fn begin(&mut self, now: Moment) {
        self.compile_all(now);
        // No unit has an owner in the first snapshot, so that fences may count from it.
        self.units.published(self.plans.publication);
    }

    /// Goes on with a state directory for the history and for units, or with none: what was under
    /// way elsewhere is given up. With one, [`Effect::Commit`] is to be heeded.
    pub fn switch_history(&mut self, on: bool) {
        self.history.switch(on);
        self.units.switch(on);
    }

    /// Goes on with a state directory for overrides and ACME challenges, or with none: then they are
    /// refused. What was under way elsewhere is given up.
    pub fn switch_overrides(&mut self, on: bool) -> Vec<Effect> {
        let outputs = self.overrides.switch(on);
        self.outbox.overrides(outputs);
        let outputs = self.acme.switch(on);
        self.outbox.acme(outputs);
        self.outbox.take()
    }

    /// The number of publications so far; 0 is what [`Publisher::snapshot`] hands out before the
    /// first [`Effect::Publish`].
    pub fn publication(&self) -> u64 {
        self.plans.publication
    }

    /// True while a fence waits until every thread has left the snapshots before it:
    /// [`UnitEvent::SeenByAll`].
    pub fn awaits_seen_by_all(&self) -> bool {
        self.units.awaits_seen_by_all()
    }

    /// Every unit at `now`, and the reason why no unit changes hands.
    pub fn units(&self, now: Moment) -> (Vec<UnitView>, Option<&str>) {
        let inputs = self.inputs.of_units(self.overrides(), now);
        let plans = &self.plans.current;
        let views = self
            .units
            .views(|unit| plans[unit.index()].unit_state(), &inputs);
        (views, self.units.frozen())
    }

    /// The reason why the persisted overrides are lost, until an operator accepts that: this
    /// node may hand out what was drained.
    pub fn overrides_lost(&self) -> Option<&str> {
        self.overrides.lost()
    }

    /// The overrides in force or announced.
    pub fn overrides(&self) -> &Overrides {
        self.overrides.overrides()
    }

    /// The history to persist at this moment; none before the end of the first round, since it
    /// would make what was restored look younger than it is.
    pub fn history(&self, now: Moment) -> Option<History> {
        let Inputs {
            dataset,
            targets,
            start,
            ..
        } = &self.inputs;
        if start.first_round {
            return None;
        }
        Some(History {
            keys: targets.keys.clone(),
            records: targets.health.records(now),
            pools: self.recovery.records(&dataset.config, now),
        })
    }

    /// The write of the history that the process ends with, whatever is under way.
    pub fn last_history(&mut self, now: Moment) -> Option<Commit> {
        let history = self.history(now)?;
        Some(Commit::History(self.history.last(history, now)))
    }

    /// Has the answers of each pool counted by so many workers; at first by none.
    pub fn count_for(&mut self, workers: usize) {
        self.plans.counters.count_for(workers);
    }

    /// The number of accepted datasets before this one; outcomes carry it.
    pub fn generation(&self) -> u32 {
        self.inputs.targets.generation
    }

    /// True after the first round, while this node's own network works.
    pub fn is_ready(&self) -> bool {
        !self.inputs.start.first_round && !self.health().is_isolated()
    }

    /// True until the first round has ended.
    pub fn is_first_round(&self) -> bool {
        self.inputs.start.first_round
    }

    /// The regions in which `service` waits for an operator: all of them, or `region` alone.
    ///
    /// # Errors
    /// [`NotResumed::NotHeld`] where there is none.
    pub fn held(
        &self,
        service: ServiceId,
        region: Option<RegionId>,
    ) -> Result<Vec<RegionId>, NotResumed> {
        let config = &self.inputs.dataset.config;
        self.recovery.held(config, service, region)
    }

    /// The content of the files.
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.inputs.dataset
    }

    /// The pools that are not simply in use.
    pub fn returning(&self, now: Moment) -> Vec<PoolRecord> {
        self.recovery.records(&self.inputs.dataset.config, now)
    }

    /// The health behind the plans.
    pub fn health(&self) -> &Health {
        &self.inputs.targets.health
    }

    /// The snapshot of this moment.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(Snapshot {
            dataset: self.inputs.dataset.clone(),
            // Pointers: a snapshot shares with the one before every plan that did not change.
            plans: self.plans.current.clone(),
            pool_counters: self.plans.counters.by_worker(),
            zone_counters: self.plans.counters.zones(),
            challenges: self.plans.challenges.clone(),
        })
    }

    /// The moment at which [`Publisher::handle`] is to be called with a tick at the latest.
    pub fn next_deadline(&self) -> Option<Moment> {
        let Inputs {
            targets,
            start,
            stalls,
            ..
        } = &self.inputs;
        let publish = self.plans.next_publication();
        let history = self.history.due();
        [
            targets.health.next_deadline(),
            targets.pushes.next_deadline(),
            self.recovery.next_step(),
            // Neither is done before the end of the first round, so a deadline for it would be over
            // at once, and the loop would spin.
            publish.filter(|_| !start.is_silent()),
            history.filter(|_| !start.first_round),
            self.units.next_deadline(),
            // Counted from the last look at time: what began since then has not been taken in yet.
            self.overrides.next_deadline(stalls.looked()),
            self.acme.next_deadline(),
            stalls.next_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Takes in that this process stood still for the time of `stall`, until `now`; to be called
    /// before what waited is handled. Deadlines of health move, probes that were under way are not
    /// judged, and no unit is taken over before its owner was seen again.
    pub fn stalled(&mut self, stall: Duration, now: Moment) {
        let Inputs {
            targets, stalls, ..
        } = &mut self.inputs;
        // Within the window every probed endpoint is seen again. Reports of `push` checks that came
        // in the stall wait in sockets, which takes up to `READING` to read.
        stalls.add(stall, targets.health.window().max(READING), now);
        targets.health.stalled(stall);
        targets.pushes.stalled(stall, now);
    }

    /// Takes in one event; returns what follows from it, in order.
    pub fn handle(&mut self, event: impl Into<Event>, now: Moment) -> Vec<Effect> {
        // A report that is overdue was due before this event.
        self.record_overdue(now);
        self.take(event.into(), now);
        // Time comes after the event: an outcome that waited in the queue counts before a takeover
        // is judged.
        self.advance(now);
        // The snapshot goes first. A failover waits for nothing, and no disk is asked before it is
        // out.
        self.publish_due(now);
        // Writes begin last: what this event brought about is in them.
        self.persist_history(now);
        self.step_overrides(now);
        let outputs = self.acme.step(&self.inputs.dataset.names, now);
        self.outbox.acme(outputs);
        let write = self.units.persist();
        self.take_units(write);
        self.outbox.take()
    }

    fn take(&mut self, event: Event, now: Moment) {
        match event {
            Event::Probe(event) => self.handle_probe(event, now),
            Event::Override(event) => self.handle_override(event, now),
            Event::Acme(event) => self.handle_acme(event, now),
            Event::Unit(event) => self.handle_unit(event, now),
            Event::Reload {
                dataset,
                first_round,
            } => self.reload(dataset, first_round, now),
            Event::Resume { service, region } => self.resume(service, region, now),
            Event::Committed(end) => self.committed(end, now),
            Event::Told(change) => self.outbox.change(change),
            Event::ClockSet => {
                // What is in memory goes by a monotonic clock; only files have times of day.
                self.history.changed = true;
                self.overrides.clock_set();
                self.acme.clock_set();
            }
            Event::Tick => {
                // What time alone changes in health is looked for here; `next_deadline` has a tick
                // come then.
                let effects = self.inputs.targets.health.tick(now);
                self.take_health(effects);
            }
        }
    }

    /// Takes in what time has brought: steps of ramps, overrides that begin or end, fences.
    fn advance(&mut self, now: Moment) {
        self.plans.dirty.extend(self.recovery.take_due(now));
        // Overrides come before units: a drain that begins now counts in this takeover.
        let (looked, sees_again) = self.inputs.stalls.look(now);
        if sees_again {
            // Takeovers that waited for the end of the blindness may go on.
            self.units.look_at_all();
        }
        let config = &self.inputs.dataset.config;
        let (outputs, changed) = self.overrides.advance(config, looked, now);
        self.plans.dirty.extend(changed);
        self.outbox.overrides(outputs);
        let ended = self.acme.advance(now);
        if !ended.is_empty() {
            self.compile_challenges();
        }
        self.outbox.acme(ended);
        self.step_units(now);
    }

    /// Gives the end of a write to the part that began it.
    fn committed(&mut self, end: commit::End, now: Moment) {
        match end.collection {
            Collection::Health => {
                // Plans do not depend on the history, so that its fate is told and nothing else.
                if let Some(change) = self.history.ended(end, now) {
                    self.outbox.change(changes::Event::History(change));
                }
            }
            Collection::Units => {
                let outputs = self.units.write_ended(end, now);
                self.take_units(outputs);
            }
            Collection::Overrides => {
                let config = &self.inputs.dataset.config;
                let (outputs, changed) = self.overrides.write_ended(end, config, now);
                self.plans.dirty.extend(changed);
                self.outbox.overrides(outputs);
            }
            Collection::Acme => {
                let (outputs, is_changed) = self.acme.write_ended(end, now);
                if is_changed {
                    self.compile_challenges();
                }
                self.outbox.acme(outputs);
            }
        }
    }

    /// Answers queries from now on, although the first round has not ended: publishes what was
    /// found so far.
    pub fn answer_at_once(&mut self, now: Moment) -> Vec<Effect> {
        // Queries are answered on what is known of each endpoint so far, and what is unknown counts
        // as up.
        self.inputs.start.answering = true;
        self.publish(now);
        self.outbox.take()
    }

    fn persist_history(&mut self, now: Moment) {
        if self.history.due().is_some_and(|due| due <= now)
            && let Some(history) = self.history(now)
        {
            let write = self.history.begin(history, now);
            self.outbox.push(Effect::Commit(Commit::History(write)));
        }
    }
}
