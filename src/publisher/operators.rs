//! Operators: overrides, ACME challenges, units and resumed pools.

use std::sync::Arc;

use super::differences::recovery_change;
use super::{AcmeEvent, Commit, Done, Effect, NotDone, OverrideEvent, Publisher, UnitEvent};
use crate::acme::ChallengeTable;
use crate::changes;
use crate::model::{Endpoint, Moment, RegionId, ServiceId};
use crate::overrides::{Overrides, PreflightInputs};
use crate::units;

impl Publisher {
    pub(super) fn handle_override(&mut self, event: OverrideEvent, now: Moment) {
        let store = &mut self.overrides;
        let answer = match event {
            OverrideEvent::Adopted(found) => {
                let (outputs, is_changed) = store.adopt(found, now);
                self.outbox.overrides(outputs);
                if is_changed {
                    // Those before may have touched any service too.
                    let services = 0..self.plans.current.len();
                    self.plans.dirty.extend(services.map(ServiceId::from_index));
                    self.units.look_at_all();
                }
                return;
            }
            OverrideEvent::Request { request, asked } => store.add(request, asked),
            OverrideEvent::Release {
                request,
                what,
                force,
            } => store.release(request, what, force),
            OverrideEvent::AcceptLoss { request } => store.accept_loss(request),
        };
        self.outbox.overrides(answer);
    }

    pub(super) fn handle_acme(&mut self, event: AcmeEvent, now: Moment) {
        let store = &mut self.acme;
        let answer = match event {
            AcmeEvent::Adopted(found) => {
                if store.adopt(found, now) {
                    self.compile_challenges();
                }
                return;
            }
            AcmeEvent::Set { request, asked } => store.set(request, asked),
            AcmeEvent::Clear {
                request,
                subject,
                value,
                by,
            } => store.clear(request, subject, value, by),
        };
        self.outbox.acme(answer);
    }

    /// Lays the challenges in force over the names of the files in use; the next snapshot has them.
    pub(super) fn compile_challenges(&mut self) {
        let challenges = self.acme.challenges();
        let table = ChallengeTable::compile(challenges, &self.inputs.dataset.names);
        self.plans.challenges = table.map(Arc::new);
        self.plans.is_challenged = true;
    }

    pub(super) fn handle_unit(&mut self, event: UnitEvent, now: Moment) {
        match event {
            UnitEvent::Adopted { records, frozen } => {
                let outputs = self.units.adopt(records, frozen);
                self.take_units(outputs);
            }
            UnitEvent::Move {
                request,
                unit,
                region,
                force,
            } => {
                let inputs = self.inputs.of_units(self.overrides.overrides(), now);
                let answer = self.units.move_unit(request, unit, region, force, &inputs);
                self.take_units(answer);
            }
            UnitEvent::Begin {
                request,
                units,
                epoch,
            } => {
                let inputs = self.inputs.of_units(self.overrides.overrides(), now);
                let answer = self.units.begin(request, &units, epoch, &inputs);
                self.take_units(answer);
            }
            UnitEvent::SeenByAll { publication } => {
                let outputs = self.units.seen_by_all(publication, now);
                self.take_units(outputs);
            }
        }
    }

    pub(super) fn resume(&mut self, service: ServiceId, region: RegionId, now: Moment) {
        let config = &self.inputs.dataset.config;
        // Written soon: a restart before that would hold the pool again.
        for event in self.recovery.resume(service, config, region, now) {
            self.history.changed = true;
            self.plans.dirty.insert(service);
            self.outbox.change(recovery_change(config, &event));
        }
    }

    /// Asks for the changes of units that health and time have brought about.
    pub(super) fn step_units(&mut self, now: Moment) {
        let inputs = self.inputs.of_units(self.overrides.overrides(), now);
        // Services that are due for compilation are those whose health or overrides changed, so
        // their units are looked at.
        let outputs = self.units.step(&self.plans.dirty, &inputs);
        self.take_units(outputs);
    }

    /// Takes in outputs of the units, as the publisher's own.
    pub(super) fn take_units(&mut self, outputs: impl IntoIterator<Item = units::Output>) {
        for output in outputs {
            match output {
                units::Output::Dirty(service) => {
                    self.plans.dirty.insert(service);
                }
                units::Output::Event(event) => self.outbox.change(changes::Event::Unit(event)),
                units::Output::Write(write) => {
                    self.outbox.push(Effect::Commit(Commit::Units(write)));
                }
                units::Output::Answer { request, result } => {
                    let result = result.map(Done::Message).map_err(NotDone::from);
                    self.outbox.answer(request, result);
                }
            }
        }
    }

    /// Judges the overrides that operators ask for, and begins to write one.
    pub(super) fn step_overrides(&mut self, now: Moment) {
        let (inputs, units) = (&self.inputs, &self.units);
        // Judged by the state that this event has brought about: a drain that is asked for after a
        // region fell must not take the last one that is left.
        let outputs = self.overrides.step(&PreflightInputs {
            config: &inputs.dataset.config,
            state: &|endpoint: &Endpoint| inputs.targets.health.endpoint(endpoint),
            stranded: &|before: &Overrides, after: &Overrides, at| {
                units.stranded(&inputs.of_units(before, at), &inputs.of_units(after, at))
            },
            now,
        });
        self.outbox.overrides(outputs);
    }
}
