//! Reload: a new dataset takes the place of the one before, and state follows by names.

use std::sync::Arc;
use std::time::Duration;

use super::Publisher;
use super::inputs::{Targets, keys};
use crate::dataset::Dataset;
use crate::health::{Carry, Outcome, match_targets};
use crate::model::{Moment, TargetId};
use crate::recovery::Recovery;

impl Publisher {
    /// Adopts a new dataset: health follows by (check definition, address), and what is new starts
    /// from its own first round.
    pub(super) fn reload(
        &mut self,
        dataset: Arc<Dataset>,
        first_round: Vec<(TargetId, Outcome)>,
        now: Moment,
    ) {
        // Health is carried while the old keys are at hand, and before the new outcomes are recorded.
        self.carry_targets(&dataset, now);
        let old = std::mem::replace(&mut self.inputs.dataset, dataset);
        let new = &self.inputs.dataset;
        // Ids are others now: records name services and regions.
        let mut recovery = Recovery::new(&new.config);
        let records = self.recovery.records(&old.config, now);
        recovery.restore(&new.config, &records, Duration::ZERO, now);
        self.recovery = recovery;
        // Before the plans are compiled, which take their counters from it.
        self.plans.counters.renumber(&old.config, &new.config);
        // Units hold ids, so that they follow before anything asks for a unit of the new files.
        let outputs = self.units.reload(&new.config);
        self.take_units(outputs);
        self.history.changed = true;
        // The new endpoints were probed before the reload, so that none of them is up on trust.
        for (target, outcome) in first_round {
            self.record(target, outcome, now);
        }
        self.compile_all(now);
        // The zones are others: a challenge may have its place in them now, or none any more.
        self.compile_challenges();
        // At once, without regard to `COALESCE`: from now on ids are those of the new files.
        self.emit_snapshot(now);
    }

    /// Takes the targets of `dataset` in place of those there are, with the health of those that
    /// both have.
    fn carry_targets(&mut self, dataset: &Dataset, now: Moment) {
        let old = &self.inputs.targets;
        let mut targets = Targets::new(dataset, old.generation + 1);
        let carry = match_targets(&old.keys, &targets.keys);
        targets.health.carry_over(&old.health, &carry);
        targets.pushes.carry_over(&old.pushes, &carry);
        if !self.inputs.start.first_round {
            // New endpoints have until `expires` from now to report for the first time.
            targets.pushes.begin(now);
        }
        self.inputs.targets = targets;
    }
}

/// The targets of `new` that `old` has no health of: to be probed before `new` is published.
pub fn new_targets(old: &Dataset, new: &Dataset) -> Vec<TargetId> {
    let carried = match_targets(&keys(old), &keys(new));
    let unknown = carried
        .iter()
        .enumerate()
        .filter(|(_, carry)| matches!(carry, Carry::New));
    unknown
        .map(|(index, _)| TargetId::from_index(index))
        .collect()
}
