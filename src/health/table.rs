//! The health of every target: trackers, isolation, and what is published of them.
//!
//! A tracker always follows its outcomes at once. The *published* state follows the tracker, with
//! one exception: a fall is held back while isolation is suspected (see `isolation.rs`). A held
//! endpoint is published as up and in doubt; the next pass of anything takes it down.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::time::Duration;

use super::carry::Carry;
use super::combine::{State, combine};
use super::isolation::{Change, End, Isolation};
use super::outcome::{Outcome, Seen, Warning};
use super::reason::FailReason;
use super::spec::TargetSpec;
use super::tracker::{Thresholds, Tracker};
use crate::model::{Endpoint, Moment, TargetId};

/// The health of every (check, address) pair of one configuration.
#[derive(Debug, Clone)]
pub struct Health {
    /// By [`TargetId`].
    entries: Vec<Entry>,
    isolation: Isolation,
    /// Targets that failed since the last pass of anything; exactly those with `before`.
    silent: Vec<TargetId>,
    /// Targets whose fall is held back; exactly those with `held`.
    held: Vec<TargetId>,
    /// When a transition may have settled, soonest first; entries that came to nothing are harmless.
    settling: BinaryHeap<Reverse<(Moment, TargetId)>>,
}

#[derive(Debug, Clone)]
struct Entry {
    spec: TargetSpec,
    tracker: Tracker,
    /// What is published: the tracker's, unless held back; as of the last outcome or tick.
    state: State,
    /// The tracker as it was before its first failure in the running silence: what isolation restores.
    before: Option<Tracker>,
    /// Its fall is held back.
    held: bool,
    /// The verdict is inherited from a check that was changed since; the first outcome replaces it.
    inherited: bool,
    /// Some outcome was a pass or a failure.
    judged: bool,
    last: Option<Outcome>,
    last_failure: Option<FailReason>,
    /// Of the last pass.
    warning: Option<Warning>,
}

/// What an outcome or the passage of time changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// A target went up or down.
    Transition(Transition),
    /// A target became settled or in doubt without going up or down.
    Doubt {
        /// Which.
        target: TargetId,
        /// True when it is in doubt now.
        in_doubt: bool,
    },
    /// What a target that passes is warned of changed; `None` where it is not any more.
    Warned {
        /// Which.
        target: TargetId,
        /// Of what.
        warning: Option<Warning>,
    },
    /// Our own network failed: states are kept until it ends.
    IsolationBegan,
    /// Outcomes count again.
    IsolationEnded(End),
}

/// A target going up or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Which.
    pub target: TargetId,
    /// What it is now.
    pub up: bool,
    /// Why.
    pub cause: Cause,
}

/// Why a target went up or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Down: it failed.
    Failed {
        /// How its last probe failed.
        reason: FailReason,
        /// How many failures were counted: its `fall`.
        fails: u32,
    },
    /// Up: it passed this many times in a row.
    Passed {
        /// Its `rise`; 1 for the first outcome of a changed check.
        passes: u32,
    },
    /// Up: its fall was our own network's, see "Isolation".
    Undone,
}

impl Health {
    /// Without history: everything is up until probed otherwise. `specs` by [`TargetId`].
    pub fn new(specs: Vec<TargetSpec>) -> Health {
        let longest = |of: fn(&TargetSpec) -> Duration| specs.iter().map(of).max().unwrap_or_default();
        let window = longest(|spec| spec.interval) + longest(|spec| spec.timeout);
        let sanity = specs.iter().enumerate().filter(|(_, spec)| spec.sanity);
        let isolation = Isolation::new(window, sanity.map(|(index, _)| TargetId::from_index(index)));
        let entries = specs.into_iter().map(Entry::new).collect();
        Health { entries, isolation, silent: Vec::new(), held: Vec::new(), settling: BinaryHeap::new() }
    }

    /// Takes over from the previous configuration what `carry` says, one entry per target of this
    /// one (see [`super::match_targets`]), and its isolation. To be called before any outcome.
    pub fn carry_over(&mut self, old: &Health, carry: &[Carry]) {
        for (index, carry) in carry.iter().enumerate().take(self.entries.len()) {
            let target = TargetId::from_index(index);
            match carry {
                Carry::New => {}
                Carry::Same(from) => self.carry_same(target, &old.entries[from.index()]),
                Carry::Changed(from) => self.entries[index].inherit(&old.entries[from.index()]),
            }
        }
        self.isolation.carry_over(&old.isolation, !self.silent.is_empty());
    }

    /// Takes in one outcome; what changed, in the order it did. A `target` that is none is ignored.
    pub fn record(&mut self, target: TargetId, outcome: Outcome, now: Moment) -> Vec<Effect> {
        let mut effects = self.tick(now);
        let (seen, warning) = (outcome.seen, outcome.warning);
        let Some(entry) = self.entries.get_mut(target.index()) else { return effects };
        if seen == Seen::Pass && std::mem::replace(&mut entry.warning, warning) != warning {
            effects.push(Effect::Warned { target, warning });
        }
        entry.last = Some(outcome);
        match seen {
            Seen::Pass => self.pass(target, now, &mut effects),
            Seen::Fail(reason) => self.fail(target, reason, now, &mut effects),
            Seen::NotJudged(_) => self.abstain(target, now, &mut effects),
        }
        effects
    }

    /// The passage of time; to be called at [`Health::next_deadline`] at the latest.
    pub fn tick(&mut self, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        let change = self.isolation.tick(now);
        self.isolation_changed(change, now, &mut effects);
        if !self.held.is_empty() && !self.isolation.is_suspected(now) {
            for target in self.let_go() {
                self.publish(target, now, &mut effects);
            }
        }
        while self.settling.peek().is_some_and(|Reverse((due, _))| *due <= now) {
            let Reverse((_, target)) = self.settling.pop().expect("just peeked");
            self.publish(target, now, &mut effects);
        }
        effects
    }

    /// When time alone will change something; `None` where only outcomes do.
    pub fn next_deadline(&self) -> Option<Moment> {
        let release = if self.held.is_empty() { None } else { self.isolation.window_end() };
        let settling = self.settling.peek().map(|Reverse((due, _))| *due);
        [self.isolation.deadline(), release, settling].into_iter().flatten().min()
    }

    /// The end of the first round, in which every target was probed until it passed or had failed
    /// `fall` times (its outcomes recorded like any others). If nothing passed where isolation
    /// shows, everything stays up, isolated; else every loss is real, and what is undecided is up.
    pub fn end_first_round(&mut self, now: Moment) -> Vec<Effect> {
        let mut effects = self.tick(now);
        if self.entries.iter().any(|entry| entry.last.as_ref().is_some_and(Outcome::passed)) {
            self.end_silence(now, &mut effects);
        } else {
            let change = self.isolation.end_first_round(now);
            self.isolation_changed(change, now, &mut effects);
        }
        effects
    }

    /// What is published of a target, as of the last outcome or tick.
    pub fn state(&self, target: TargetId) -> State {
        self.entries[target.index()].state
    }

    /// What is published of an endpoint, as of the last outcome or tick.
    pub fn endpoint(&self, endpoint: &Endpoint) -> State {
        combine(endpoint.need, endpoint.probes.iter().map(|target| self.state(*target)))
    }

    /// True while our own network is what failed.
    pub fn is_isolated(&self) -> bool {
        self.isolation.is_isolated()
    }

    /// What the last probe of a target saw.
    pub fn last_outcome(&self, target: TargetId) -> Option<&Outcome> {
        self.entries[target.index()].last.as_ref()
    }

    /// What a target was warned of when it last passed.
    pub fn warning(&self, target: TargetId) -> Option<Warning> {
        self.entries[target.index()].warning
    }

    /// A target's thresholds machine, with what it has counted.
    pub fn tracker(&self, target: TargetId) -> &Tracker {
        &self.entries[target.index()].tracker
    }

    /// How a target is judged.
    pub fn spec(&self, target: TargetId) -> &TargetSpec {
        &self.entries[target.index()].spec
    }

    fn pass(&mut self, target: TargetId, now: Moment, effects: &mut Vec<Effect>) {
        self.end_silence(now, effects);
        let entry = &mut self.entries[target.index()];
        entry.judged = true;
        entry.tracker.pass(&entry.thresholds(), now);
        self.publish(target, now, effects);
        self.entries[target.index()].inherited = false;
    }

    fn fail(&mut self, target: TargetId, reason: FailReason, now: Moment, effects: &mut Vec<Effect>) {
        self.entries[target.index()].last_failure = Some(reason);
        self.lose(target, now, effects);
        if self.isolation.is_isolated() {
            return;
        }
        let entry = &mut self.entries[target.index()];
        entry.judged = true;
        entry.inherited = false;
        if entry.before.is_none() {
            entry.before = Some(entry.tracker);
            self.silent.push(target);
        }
        entry.tracker.fail(&entry.thresholds(), now);
        self.publish(target, now, effects);
    }

    /// An outcome that is not judged changes no tracker. Where the target was judged before it is
    /// still a sign that our own network fails: a lost default route shows in no other way.
    fn abstain(&mut self, target: TargetId, now: Moment, effects: &mut Vec<Effect>) {
        if self.entries[target.index()].judged {
            self.lose(target, now, effects);
        } else {
            self.isolation.abstain(target);
        }
    }

    /// Tells isolation of a loss, before it is applied to any state.
    fn lose(&mut self, target: TargetId, now: Moment, effects: &mut Vec<Effect>) {
        let change = self.isolation.fail(target, &self.entries[target.index()].spec.regions, now);
        self.isolation_changed(change, now, effects);
    }

    /// Something passed: every loss before it is real.
    fn end_silence(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let change = self.isolation.pass();
        self.isolation_changed(change, now, effects);
        self.let_go();
        for target in std::mem::take(&mut self.silent) {
            self.entries[target.index()].before = None;
            self.publish(target, now, effects);
        }
    }

    fn isolation_changed(&mut self, change: Change, now: Moment, effects: &mut Vec<Effect>) {
        match change {
            Change::None => {}
            Change::Ended(end) => effects.push(Effect::IsolationEnded(end)),
            Change::Began => {
                effects.push(Effect::IsolationBegan);
                self.undo_silence(now, effects);
            }
        }
    }

    /// Puts every target back to where the running silence found it; falls older than the window stay.
    fn undo_silence(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.let_go();
        let window = self.isolation.window();
        for target in std::mem::take(&mut self.silent) {
            let entry = &mut self.entries[target.index()];
            match entry.before.take() {
                Some(before) if !entry.fell_in_silence(before) || entry.fell_within(window, now) => entry.tracker = before,
                _ => {}
            }
            self.publish(target, now, effects);
        }
    }

    /// Brings what is published of a target in line with its tracker.
    fn publish(&mut self, target: TargetId, now: Moment, effects: &mut Vec<Effect>) {
        let suspected = self.isolation.is_suspected(now);
        let entry = &mut self.entries[target.index()];
        let up = entry.tracker.is_up();
        if entry.state.up && !up && suspected {
            if !std::mem::replace(&mut entry.held, true) {
                self.held.push(target);
            }
            entry.doubt(target, true, effects);
            return;
        }
        if entry.state.up != up {
            entry.tracker.stamp(now);
        }
        let uncertain = self.isolation.is_watching() && entry.is_uncertain(self.isolation.window(), now);
        let settled = !uncertain && entry.tracker.is_settled(entry.spec.interval, now);
        if entry.state.up == up {
            entry.doubt(target, !settled, effects);
            return;
        }
        entry.state = State { up, settled };
        effects.push(Effect::Transition(Transition { target, up, cause: entry.cause() }));
        self.settling.push(Reverse((now + entry.spec.interval, target)));
        self.settling.push(Reverse((now + self.isolation.window(), target)));
    }

    /// No fall is held back any more; those that were.
    fn let_go(&mut self) -> Vec<TargetId> {
        let held = std::mem::take(&mut self.held);
        for target in &held {
            self.entries[target.index()].held = false;
        }
        held
    }

    fn carry_same(&mut self, target: TargetId, old: &Entry) {
        let entry = &mut self.entries[target.index()];
        let spec = std::mem::replace(entry, old.clone()).spec;
        entry.spec = spec;
        if let Some(since) = entry.tracker.since() {
            self.settling.push(Reverse((since + entry.spec.interval, target)));
            self.settling.push(Reverse((since + self.isolation.window(), target)));
        }
        if entry.before.is_some() {
            self.isolation.retell(target, &entry.spec.regions);
            self.silent.push(target);
        }
        if entry.held {
            self.held.push(target);
        }
    }
}

impl Entry {
    fn new(spec: TargetSpec) -> Entry {
        Entry {
            spec,
            tracker: Tracker::assumed(true),
            state: State::UNPROBED,
            before: None,
            held: false,
            inherited: false,
            judged: false,
            last: None,
            last_failure: None,
            warning: None,
        }
    }

    fn inherit(&mut self, old: &Entry) {
        self.tracker = Tracker::assumed(old.state.up);
        self.state = State { up: old.state.up, settled: true };
        self.inherited = true;
    }

    fn doubt(&mut self, target: TargetId, in_doubt: bool, effects: &mut Vec<Effect>) {
        if self.state.settled == in_doubt {
            self.state.settled = !in_doubt;
            effects.push(Effect::Doubt { target, in_doubt });
        }
    }

    /// It fell in the running silence, and not longer than the window ago: isolation would undo it.
    fn is_uncertain(&self, window: Duration, now: Moment) -> bool {
        self.before.is_some_and(|before| self.fell_in_silence(before)) && self.fell_within(window, now)
    }

    fn fell_in_silence(&self, before: Tracker) -> bool {
        before.is_up() && !self.tracker.is_up()
    }

    fn fell_within(&self, window: Duration, now: Moment) -> bool {
        self.tracker.since().is_some_and(|since| now.since(since) < window)
    }

    /// The check's thresholds; a verdict that is only inherited gives way to the first pass.
    fn thresholds(&self) -> Thresholds {
        let thresholds = self.spec.thresholds;
        if self.inherited { Thresholds { rise: 1, ..thresholds } } else { thresholds }
    }

    /// Why the tracker is where it is, at a transition.
    fn cause(&self) -> Cause {
        match (self.tracker.is_up(), self.last_failure, &self.last) {
            (false, Some(reason), _) => Cause::Failed { reason, fails: self.thresholds().fall },
            (true, _, Some(last)) if last.passed() => Cause::Passed { passes: self.thresholds().rise },
            _ => Cause::Undone,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Failed { reason, fails: 1 } => write!(f, "{reason} (1 failure)"),
            Cause::Failed { reason, fails } => write!(f, "{reason} ({fails} failures)"),
            Cause::Passed { passes: 1 } => f.write_str("1 pass"),
            Cause::Passed { passes } => write!(f, "{passes} passes in a row"),
            Cause::Undone => f.write_str("its failures were our own network's"),
        }
    }
}
