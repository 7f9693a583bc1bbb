//! State that health keeps of one target.

use std::time::Duration;

use super::combine::State;
use super::effect::{Cause, Effect};
use super::flap::Flap;
use super::load::AverageLoad;
use super::outcome::{Outcome, Warning};
use super::reason::FailReason;
use super::spec::TargetSpec;
use super::tracker::{Failure, Step, Thresholds, Tracker};
use super::watch::Watch;
use crate::model::{Moment, TargetId};

/// One target's health.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) spec: TargetSpec,
    pub(super) tracker: Tracker,
    /// The published state: the tracker's, unless held back or held down; as of the last outcome or
    /// tick.
    pub(super) state: State,
    /// Moment of its last going up or down; `None` before the first.
    pub(super) changed: Option<Moment>,
    /// The tracker as it was before its first failure in the running silence: what isolation restores.
    pub(super) before: Option<Tracker>,
    /// Its fall is held back.
    pub(super) held: bool,
    /// The verdict is inherited from a check that was changed since; the first outcome replaces it.
    pub(super) inherited: bool,
    /// The verdict comes from before a restart, and nothing was seen since.
    pub(super) restored: bool,
    /// Some outcome was a pass or a failure.
    pub(super) judged: bool,
    pub(super) flap: Flap,
    pub(super) load: AverageLoad,
    pub(super) last: Option<Outcome>,
    pub(super) last_failure: Option<FailReason>,
    /// The first of the failures that are counted, or were at the last fall.
    pub(super) first_failure: Option<Moment>,
    /// Failures that its last fall took.
    pub(super) fell_after: u32,
    /// The connection that is held to it.
    pub(super) watch: Watch,
    /// Of the last pass.
    pub(super) warning: Option<Warning>,
}

impl Entry {
    pub(super) fn new(spec: TargetSpec) -> Entry {
        Entry {
            spec,
            // Up until the probes say otherwise: what was never probed must not empty a pool.
            tracker: Tracker::assumed(true),
            state: State::UNPROBED,
            changed: None,
            before: None,
            held: false,
            inherited: false,
            restored: false,
            judged: false,
            flap: Flap::default(),
            load: AverageLoad::default(),
            last: None,
            last_failure: None,
            first_failure: None,
            fell_after: 0,
            watch: Watch::None,
            warning: None,
        }
    }

    pub(super) fn inherit(&mut self, old: &Entry) {
        self.tracker = Tracker::assumed(old.state.up);
        self.state = State {
            up: old.state.up,
            settled: true,
        };
        self.changed = old.changed;
        self.inherited = true;
    }

    pub(super) fn doubt(&mut self, target: TargetId, in_doubt: bool, effects: &mut Vec<Effect>) {
        if self.state.settled == in_doubt {
            self.state.settled = !in_doubt;
            effects.push(Effect::Doubt { target, in_doubt });
        }
    }

    /// Nothing speaks against what is published. While it is held down as flapping, its end does.
    pub(super) fn is_settled(&self, now: Moment) -> bool {
        self.flap.hold().is_none() && self.tracker.is_settled(self.spec.interval, now)
    }

    /// It fell in the running silence, and not longer than the window ago: isolation would undo it.
    pub(super) fn is_uncertain(&self, window: Duration, now: Moment) -> bool {
        self.before
            .is_some_and(|before| self.fell_in_silence(before))
            && self.fell_within(window, now)
    }

    pub(super) fn fell_in_silence(&self, before: Tracker) -> bool {
        before.is_up() && !self.tracker.is_up()
    }

    pub(super) fn fell_within(&self, window: Duration, now: Moment) -> bool {
        self.tracker
            .since()
            .is_some_and(|since| now.since(since) <= window)
    }

    /// Moment at which its failures would have taken it down without rechecks, at the earliest.
    pub(super) fn ordinary_fall(&self) -> Option<Moment> {
        let more = self.fell_after.saturating_sub(1);
        self.first_failure
            .map(|first| first + self.spec.interval * more)
    }

    /// Counts a failure at `now`.
    pub(super) fn fail(&mut self, failure: Failure, now: Moment) -> Step {
        let fails = self.tracker.fails() + 1;
        if self.tracker.is_up() && fails == 1 {
            self.first_failure = Some(now);
        }
        let step = self.tracker.fail(failure, &self.thresholds(), now);
        if step == Step::Fell {
            self.fell_after = fails;
        }
        step
    }

    /// The check's thresholds; a verdict that is only inherited gives way to the first pass.
    pub(super) fn thresholds(&self) -> Thresholds {
        let thresholds = self.spec.thresholds;
        if self.inherited {
            Thresholds {
                rise: 1,
                ..thresholds
            }
        } else {
            thresholds
        }
    }

    /// True while probes are to come after `recheck`: a failure is counted, or a pass where
    /// `recheck_up` is set.
    pub(super) fn is_hasty(&self) -> bool {
        // Reports come when the endpoint sends them, and what is held down as flapping stays down
        // whatever is seen.
        if self.spec.pushed || self.spec.recheck >= self.spec.interval || self.flap.hold().is_some()
        {
            return false;
        }
        match self.tracker.is_up() {
            true => self.tracker.fails() > 0,
            false => self.spec.recheck_up && self.tracker.passes() > 0,
        }
    }

    /// True while a sudden look may find out more: up, and nothing counted.
    pub(super) fn is_unsuspected(&self) -> bool {
        !self.spec.pushed && self.tracker.is_up() && self.tracker.fails() == 0
    }

    /// Cause of the tracker's state, at a transition.
    pub(super) fn cause(&self) -> Cause {
        match (self.tracker.is_up(), self.last_failure, &self.last) {
            (false, Some(reason), _) => Cause::Failed {
                reason,
                // The tracker has cleared its count at the fall.
                fails: self.fell_after,
            },
            (true, _, Some(last)) if last.passed() => Cause::Passed {
                passes: self.thresholds().rise,
            },
            // No outcome led here: isolation put the tracker back.
            _ => Cause::Undone,
        }
    }
}
