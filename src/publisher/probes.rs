//! Health: outcomes and reports in, dirty services and changes out.

use super::{Effect, ProbeEvent, Publisher};
use crate::changes::{EndpointChange, EndpointEvent, Event, NodeChange, Verdict};
use crate::health::{self, Cause, Outcome, Transition};
use crate::model::{Moment, TargetId};

impl Publisher {
    pub(super) fn handle_probe(&mut self, event: ProbeEvent, now: Moment) {
        match event {
            ProbeEvent::Report { target, report } => {
                let pushes = &mut self.inputs.targets.pushes;
                if let Some(outcome) = pushes.report(target, report, now) {
                    self.record(target, outcome, now);
                }
            }
            ProbeEvent::Outcome {
                generation,
                target,
                outcome,
            } => {
                let targets = &self.inputs.targets;
                // An id of another dataset may be that of another target here.
                if generation == targets.generation {
                    let timeout = targets.health.spec(target).timeout;
                    let outcome = self.inputs.stalls.excuse(outcome, timeout);
                    self.record(target, outcome, now);
                }
            }
            ProbeEvent::Watch {
                generation,
                target,
                watch,
            } => {
                if generation == self.inputs.targets.generation {
                    let effects = self.inputs.targets.health.watched(target, watch, now);
                    self.dirty_view.target(target);
                    self.take_health(effects);
                }
            }
            ProbeEvent::FirstRoundEnded => self.end_first_round(now),
        }
    }

    fn end_first_round(&mut self, now: Moment) {
        let effects = self.inputs.targets.health.end_first_round(now);
        // In this order: health settles, units may move by it, and one snapshot has all of that.
        self.inputs.start.first_round = false;
        self.units.look_at_all();
        // Reports that are missing count from now on only: during the start nobody listened for
        // them.
        self.inputs.targets.pushes.begin(now);
        self.take_health(effects);
        self.step_units(now);
        // The first answer is given from what the round found.
        self.publish(now);
    }

    /// Records the outcomes of `push` checks whose reports are overdue.
    pub(super) fn record_overdue(&mut self, now: Moment) {
        for (target, outcome) in self.inputs.targets.pushes.overdue(now) {
            self.record(target, outcome, now);
        }
    }

    /// Records an outcome, and takes in what it changes.
    pub(super) fn record(&mut self, target: TargetId, outcome: Outcome, now: Moment) {
        let effects = self.inputs.targets.health.record(target, outcome, now);
        // Each outcome changes what the view shows of the target, though mostly no plan.
        self.dirty_view.target(target);
        self.take_health(effects);
    }

    /// Marks the services of the targets that changed, and reports the changes.
    pub(super) fn take_health(&mut self, effects: Vec<health::Effect>) {
        for effect in effects {
            self.dirty_view.note(&effect);
            match effect {
                health::Effect::Transition(transition) => self.take_transition(&transition),
                health::Effect::Doubt { target, .. } => {
                    // Doubt shortens TTLs and is no change that anybody is told of.
                    self.history.doubted = true;
                    self.plans.dirty.extend(self.inputs.targets.used_by(target));
                }
                health::Effect::Flapping {
                    target,
                    changes,
                    within,
                    until,
                } => {
                    self.mark(target);
                    self.report(
                        target,
                        EndpointEvent::Flapping {
                            changes,
                            within,
                            until,
                        },
                    );
                }
                health::Effect::FlappingEnded(target) => {
                    self.mark(target);
                    self.report(target, EndpointEvent::FlappingEnded);
                }
                health::Effect::Warned { target, warning } => {
                    self.report(target, EndpointEvent::Warning(warning));
                }
                health::Effect::ProbeEarly(early) => self.outbox.push(Effect::ProbeEarly(early)),
                health::Effect::WatchGivenUp(target) => {
                    self.report(target, EndpointEvent::WatchGivenUp);
                }
                health::Effect::IsolationBegan => {
                    self.outbox.change(Event::Node(NodeChange::Isolated));
                }
                health::Effect::IsolationEnded(end) => {
                    // No unit is taken over while this node cannot tell which owner is down.
                    self.units.look_at_all();
                    let change = NodeChange::IsolationEnded(end);
                    self.outbox.change(Event::Node(change));
                }
            }
        }
    }

    fn take_transition(&mut self, transition: &Transition) {
        let target = transition.target;
        self.mark(target);
        let used_by = self.inputs.targets.used_by(target);
        if transition.cause == Cause::Undone {
            // A fall that was our own network's leaves no ramp and no hold behind.
            self.plans.undone.extend(used_by);
        }
        let services = used_by.len();
        self.report(
            target,
            EndpointEvent::Health {
                old: Verdict::of(!transition.up),
                new: Verdict::of(transition.up),
                cause: transition.cause,
                regions: self.inputs.regions_of(target),
                services,
            },
        );
    }

    /// Has the services of a target compiled, and its history written.
    fn mark(&mut self, target: TargetId) {
        self.history.changed = true;
        self.plans.dirty.extend(self.inputs.targets.used_by(target));
    }

    fn report(&mut self, target: TargetId, change: EndpointEvent) {
        // Names are copied: the log and readers of the event stream may see the change after a
        // reload.
        let (target, check) = self.inputs.target_names(target);
        self.outbox.change(Event::Endpoint(EndpointChange {
            target,
            check,
            change,
        }));
    }
}
