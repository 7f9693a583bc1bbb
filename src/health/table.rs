//! The health of every target: trackers, isolation, and what is published of them.
//!
//! A tracker always follows its outcomes at once. The *published* state follows the tracker, with
//! two exceptions. A fall is held back while isolation is suspected (see `isolation.rs`): the target
//! is published as up and in doubt, and the next pass of anything takes it down. And what flaps (see
//! `flap.rs`) is held down, and in doubt, until its hold is over; while isolated, not even then.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::carry::Carry;
use super::combine::{State, combine};
use super::effect::{Cause, Effect, Transition};
use super::entry::Entry;
use super::isolation::{Change, Isolation};
use super::load::AverageLoad;
use super::outcome::{Outcome, Seen, Warning};
use super::pace::{Pace, Rechecks, gap};
use super::reason::FailReason;
use super::spec::TargetSpec;
use super::tracker::{Step, Tracker};
use super::watch::Watch;
use crate::model::{Endpoint, Moment, TargetId};

/// The health of every (check, address) pair of one configuration.
#[derive(Debug, Clone)]
pub struct Health {
    /// By [`TargetId`].
    pub(super) entries: Vec<Entry>,
    pub(super) isolation: Isolation,
    pace: Pace,
    /// The last pass of anything.
    passed: Option<Moment>,
    /// Targets that failed since the last pass of anything; exactly those with `before`.
    silent: Vec<TargetId>,
    /// Targets whose fall is held back; exactly those with `held`.
    held: Vec<TargetId>,
    /// Targets held down as flapping; one whose hold was undone is harmless.
    pub(super) flapping: Vec<TargetId>,
    /// Moments at which a transition may have settled or a hold is over, soonest first; entries that came
    /// to nothing are harmless.
    pub(super) settling: BinaryHeap<Reverse<(Moment, TargetId)>>,
}

/// The most targets of a region that are looked at for one that may be a witness.
const MOST_LOOKED_AT: usize = 16;

impl Health {
    /// Without history: everything is up until probed otherwise. `specs` by [`TargetId`].
    pub fn new(specs: Vec<TargetSpec>) -> Health {
        // Pushed targets are left out: their `expires` would make the window minutes long, and their
        // silence is no sign of isolation.
        let (mut interval, mut timeout) = (Duration::ZERO, Duration::ZERO);
        for spec in specs.iter().filter(|spec| !spec.pushed) {
            interval = interval.max(spec.interval);
            timeout = timeout.max(spec.timeout);
        }
        let window = interval + timeout;
        let sanity = specs.iter().enumerate().filter(|(_, spec)| spec.sanity);
        let isolation =
            Isolation::new(window, sanity.map(|(index, _)| TargetId::from_index(index)));
        let pace = Pace::new(&specs);
        let entries = specs.into_iter().map(Entry::new).collect();
        Health {
            entries,
            isolation,
            pace,
            passed: None,
            silent: Vec::new(),
            held: Vec::new(),
            flapping: Vec::new(),
            settling: BinaryHeap::new(),
        }
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
        self.isolation
            .carry_over(&old.isolation, !self.silent.is_empty());
        self.pace.carry_over(&old.pace);
        self.passed = old.passed;
    }

    /// Takes in one outcome; what changed, in the order it did. A `target` that is none is ignored.
    pub fn record(&mut self, target: TargetId, outcome: Outcome, now: Moment) -> Vec<Effect> {
        // Time first: what was due before this outcome must not be decided in its light.
        let mut effects = self.tick(now);
        let (seen, warning) = (outcome.seen, outcome.warning);
        let Some(entry) = self.entries.get_mut(target.index()) else {
            return effects;
        };
        entry.restored = false;
        if outcome.passed() && (entry.spec.reports_load || outcome.load.is_some()) {
            entry.load.report(outcome.load);
        }
        if seen == Seen::Pass && std::mem::replace(&mut entry.warning, warning) != warning {
            effects.push(Effect::Warned { target, warning });
        }
        entry.last = Some(outcome);
        match seen {
            Seen::Pass => self.pass(target, now, &mut effects),
            Seen::Fail(reason) => self.fail(target, reason, now, &mut effects),
            Seen::NotJudged(_) => self.abstain(target, now, &mut effects),
        }
        self.set_pace(target, now, &mut effects);
        effects
    }

    /// Takes in the state of the connection that is held to a target. Where it was lost, the target
    /// is probed at once: the probe decides, not the loss.
    pub fn watched(&mut self, target: TargetId, watch: Watch, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(entry) = self.entries.get_mut(target.index()) else {
            return effects;
        };
        let before = std::mem::replace(&mut entry.watch, watch);
        match watch {
            Watch::Lost if entry.is_unsuspected() => {
                self.look(&[target], now, &mut effects);
            }
            Watch::GivenUp if before != watch => effects.push(Effect::WatchGivenUp(target)),
            _ => {}
        }
        effects
    }

    /// The passage of time; to be called at [`Health::next_deadline`] at the latest.
    pub fn tick(&mut self, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        // Isolation before the falls that are held back: where it begins now they are undone, not
        // published.
        let change = self.isolation.tick(now);
        self.isolation_changed(change, now, &mut effects);
        if !self.held.is_empty() && !self.isolation.is_suspected(now) {
            for target in self.let_go() {
                self.publish(target, now, &mut effects);
            }
        }
        // Nothing is ever taken out of the heap, so an entry may be out of date: `publish` looks at
        // the state as it is.
        while self
            .settling
            .peek()
            .is_some_and(|Reverse((due, _))| *due <= now)
        {
            let Reverse((_, target)) = self.settling.pop().expect("just peeked");
            self.publish(target, now, &mut effects);
        }
        effects
    }

    /// Next moment at which time alone changes something; `None` where only outcomes do.
    pub fn next_deadline(&self) -> Option<Moment> {
        let release = if self.held.is_empty() {
            None
        } else {
            self.isolation.window_end()
        };
        let settling = self.settling.peek().map(|Reverse((due, _))| *due);
        [self.isolation.deadline(), release, settling]
            .into_iter()
            .flatten()
            .min()
    }

    /// The end of the first round, in which every target was probed until it passed or had failed
    /// `fall` times (its outcomes recorded like any others). If nothing passed where isolation
    /// shows, everything stays up, isolated; else every loss is real, and what is undecided is up.
    pub fn end_first_round(&mut self, now: Moment) -> Vec<Effect> {
        let mut effects = self.tick(now);
        if self
            .entries
            .iter()
            .any(|entry| entry.last.as_ref().is_some_and(Outcome::passed))
        {
            self.end_silence(now, &mut effects);
        } else {
            let change = self.isolation.end_first_round(now);
            self.isolation_changed(change, now, &mut effects);
        }
        effects
    }

    /// This process stood still for the time of `stall`, until now: the window and the limit of isolation are longer by as much.
    pub fn stalled(&mut self, stall: Duration) {
        self.isolation.stalled(stall);
    }

    /// The time in which every endpoint shows its state: the longest interval plus the longest
    /// timeout.
    pub fn window(&self) -> Duration {
        self.isolation.window()
    }

    /// Returns the published state of a target, as of the last outcome or tick.
    pub fn state(&self, target: TargetId) -> State {
        self.entries[target.index()].state
    }

    /// Returns the published state of an endpoint, as of the last outcome or tick.
    pub fn endpoint(&self, endpoint: &Endpoint) -> State {
        combine(
            endpoint.need,
            endpoint.probes.iter().map(|target| self.state(*target)),
        )
    }

    /// The connection that is held to a target.
    pub fn connection(&self, target: TargetId) -> Watch {
        self.entries[target.index()].watch
    }

    /// The numbers of targets that are probed before their interval is over.
    pub fn rechecks(&self) -> Rechecks {
        self.pace.rechecks()
    }

    /// True while our own network is what failed.
    pub fn is_isolated(&self) -> bool {
        self.isolation.is_isolated()
    }

    /// Returns the outcome of the last probe of a target.
    pub fn last_outcome(&self, target: TargetId) -> Option<&Outcome> {
        self.entries[target.index()].last.as_ref()
    }

    /// Returns the reason of the last failure of a target; `None` where it never failed.
    pub fn last_failure(&self, target: TargetId) -> Option<FailReason> {
        self.entries[target.index()].last_failure
    }

    /// Returns the warning of a target when it last passed.
    pub fn warning(&self, target: TargetId) -> Option<Warning> {
        self.entries[target.index()].warning
    }

    /// A target's thresholds machine, with what it has counted.
    pub fn tracker(&self, target: TargetId) -> &Tracker {
        &self.entries[target.index()].tracker
    }

    /// Moment at which a target last went up or down; `None` before the first.
    pub fn changed(&self, target: TargetId) -> Option<Moment> {
        self.entries[target.index()].changed
    }

    /// Until when a target is held down as flapping; `None` where it is not.
    pub fn flapping_until(&self, target: TargetId) -> Option<Moment> {
        self.entries[target.index()].flap.hold()
    }

    /// True while any target is held down as flapping.
    pub fn any_flapping(&self) -> bool {
        self.flapping
            .iter()
            .any(|target| self.flapping_until(*target).is_some())
    }

    /// The load that a target reports.
    pub fn load(&self, target: TargetId) -> &AverageLoad {
        &self.entries[target.index()].load
    }

    /// True while a target's verdict is from before a restart, and nothing was seen of it since.
    pub fn is_restored(&self, target: TargetId) -> bool {
        self.entries[target.index()].restored
    }

    /// Returns the rules by which a target is judged.
    pub fn spec(&self, target: TargetId) -> &TargetSpec {
        &self.entries[target.index()].spec
    }

    fn pass(&mut self, target: TargetId, now: Moment, effects: &mut Vec<Effect>) {
        // Before the pass is counted: it proves the losses before it, and they are published ahead
        // of it.
        self.end_silence(now, effects);
        let entry = &mut self.entries[target.index()];
        entry.judged = true;
        entry.tracker.pass(&entry.thresholds(), now);
        self.publish(target, now, effects);
        // Only now, since the transition's cause names the thresholds that were applied.
        self.entries[target.index()].inherited = false;
    }

    fn fail(
        &mut self,
        target: TargetId,
        reason: FailReason,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        // The reason is kept also where isolation lets the failure count for nothing: an operator
        // wants to see it.
        self.entries[target.index()].last_failure = Some(reason);
        self.lose(target, now, effects);
        if self.isolation.is_isolated() {
            return;
        }
        let entry = &mut self.entries[target.index()];
        entry.judged = true;
        entry.inherited = false;
        // The first failure of this silence: isolation would restore the tracker as it is here.
        if entry.before.is_none() {
            entry.before = Some(entry.tracker);
            self.silent.push(target);
        }
        let step = entry.fail(reason.failure(), now);
        if entry.is_hasty() && entry.tracker.fails() == 1 {
            self.ask_witnesses(target, now, effects);
        }
        self.publish(target, now, effects);
        if step == Step::Fell {
            self.look_at_regions(target, now, effects);
        }
    }

    /// Has a target probed soon while something is counted, and no more once nothing is.
    fn set_pace(&mut self, target: TargetId, now: Moment, effects: &mut Vec<Effect>) {
        let entry = &self.entries[target.index()];
        let mut early = Vec::new();
        if entry.is_hasty() {
            self.pace
                .hurry(target, now + entry.spec.recheck, now, &mut early);
        } else {
            self.pace.calm(target, now, &mut early);
        }
        effects.extend(early.into_iter().map(Effect::ProbeEarly));
    }

    /// Has targets probed that tell whether our own network is what failed.
    fn ask_witnesses(&mut self, target: TargetId, now: Moment, effects: &mut Vec<Effect>) {
        if !self.pace.may_ask(now) {
            return;
        }
        let regions = &self.entries[target.index()].spec.regions;
        let mut asked = Vec::new();
        for group in self.pace.witnesses(regions) {
            // Another one each time: thousands of endpoints that lose a packet now and then would
            // all look at the same one. Cut to fewer bits, the number does as well.
            let first = self.pace.rechecks().asked as usize % group.len();
            let unsuspected = group
                .iter()
                .cycle()
                .skip(first)
                .take(MOST_LOOKED_AT)
                .find(|other| self.entries[other.index()].is_unsuspected());
            // What is down may pass, and its failure tells as much as any other.
            asked.extend(unsuspected.or(group.first()).filter(|own| **own != target));
        }
        self.look(&asked, now, effects);
    }

    /// True while a fall may be our own network's although no other region has failed yet: rechecks
    /// brought it about before anything else was probed.
    fn is_unproven(&self, target: TargetId, now: Moment) -> bool {
        let entry = &self.entries[target.index()];
        let Some(first) = entry.first_failure else {
            return false;
        };
        // Without rechecks every fall takes its time.
        entry.spec.recheck < entry.spec.interval
            && !entry.spec.pushed
            && self.passed.is_none_or(|passed| passed < first)
            && entry.ordinary_fall().is_some_and(|fall| now < fall)
            && !self.pace.witnesses(&entry.spec.regions).is_empty()
    }

    /// A target fell: what else its regions have may have died with it, and is looked at now rather
    /// than at its own turn.
    fn look_at_regions(&mut self, target: TargetId, now: Moment, effects: &mut Vec<Effect>) {
        let spec = &self.entries[target.index()].spec;
        let pause = spec.interval;
        for region in spec.regions.clone() {
            let mut others = self.pace.look_at(region, pause, now);
            others.retain(|other| {
                let entry = &self.entries[other.index()];
                entry.is_unsuspected() && entry.is_settled(now) && self.pace.is_calm(*other)
            });
            self.look(&others, now, effects);
        }
    }

    /// Has targets probed now, one shortly after the other.
    fn look(&mut self, targets: &[TargetId], now: Moment, effects: &mut Vec<Effect>) {
        let (mut early, mut due) = (Vec::new(), now);
        for target in targets {
            self.pace.hurry(*target, due, now, &mut early);
            due = due + gap(self.entries[target.index()].spec.recheck, targets.len());
        }
        effects.extend(early.into_iter().map(Effect::ProbeEarly));
    }

    /// An outcome that is not judged changes no tracker. Where the target was judged before it is
    /// still a sign that our own network fails: a lost default route shows in no other way.
    fn abstain(&mut self, target: TargetId, now: Moment, effects: &mut Vec<Effect>) {
        if self.entries[target.index()].judged {
            self.lose(target, now, effects);
        } else {
            // A target that never was judged, such as one of a family without a route, says nothing
            // new of our network.
            self.isolation.abstain(target);
        }
    }

    /// Tells isolation of a loss, before it is applied to any state.
    fn lose(&mut self, target: TargetId, now: Moment, effects: &mut Vec<Effect>) {
        // The silence of a pushed target is as old as its `expires`, longer than the window that
        // isolation looks at.
        if self.entries[target.index()].spec.pushed {
            return;
        }
        let change = self
            .isolation
            .fail(target, &self.entries[target.index()].spec.regions, now);
        self.isolation_changed(change, now, effects);
    }

    /// Something passed: every loss before it is real.
    fn end_silence(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.passed = Some(now);
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
            Change::Ended(end) => {
                effects.push(Effect::IsolationEnded(end));
                // Holds that were over meanwhile end now.
                // Cloned, since `publish` takes a target out of the list when its hold ends.
                for target in self.flapping.clone() {
                    self.publish(target, now, effects);
                }
            }
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
                Some(before)
                    if !entry.fell_in_silence(before) || entry.fell_within(window, now) =>
                {
                    entry.flap.undo(
                        entry
                            .tracker
                            .since()
                            .filter(|_| entry.fell_in_silence(before)),
                    );
                    entry.tracker = before;
                    self.publish_undone(target, now, effects);
                }
                _ => self.publish(target, now, effects),
            }
        }
    }

    /// Brings what is published of a target in line with its tracker.
    fn publish(&mut self, target: TargetId, now: Moment, effects: &mut Vec<Effect>) {
        let isolated = self.isolation.is_isolated();
        let unproven = self.is_unproven(target, now);
        let entry = &mut self.entries[target.index()];
        // While isolated nothing moves: a hold that is over ends with the isolation.
        let released = !isolated && entry.flap.release(now);
        let up = entry.tracker.is_up() && entry.flap.hold().is_none();
        // The wait has an end: the next pass of anything, or the end of the window, publishes the
        // fall.
        if entry.state.up && !up && self.isolation.is_suspected(now) {
            if !std::mem::replace(&mut entry.held, true) {
                self.held.push(target);
            }
            entry.doubt(target, true, effects);
            return;
        }
        // So has this one: a witness that passes, or the time at which the interval would have
        // brought the fall about.
        if entry.state.up && !up && unproven {
            entry.doubt(target, true, effects);
            if let Some(due) = entry.ordinary_fall() {
                self.settling.push(Reverse((due, target)));
            }
            self.ask_witnesses(target, now, effects);
            return;
        }
        if released {
            self.flapping.retain(|other| *other != target);
        }
        if entry.state.up == up {
            if released {
                effects.push(Effect::FlappingEnded(target));
            }
            return self.publish_doubt(target, now, effects);
        }
        let cause = if released {
            Cause::Released
        } else {
            entry.cause()
        };
        // Doubt lasts an interval from the moment that clients see the change, not from the outcome
        // that caused it.
        entry.tracker.stamp(now);
        let hold = entry.flap.count(entry.spec.flap, now);
        // A rise that makes the count full is not published: the hold would take it back at once.
        if !(up && hold.is_some()) {
            self.transit(target, up, cause, now, effects);
        }
        if let Some(until) = hold {
            self.hold_down(target, until, now, effects);
        }
    }

    /// Publishes a target whose failures in the silence are undone; such a change does not count as
    /// flapping.
    fn publish_undone(&mut self, target: TargetId, now: Moment, effects: &mut Vec<Effect>) {
        let entry = &mut self.entries[target.index()];
        let up = entry.tracker.is_up() && entry.flap.hold().is_none();
        if entry.state.up == up {
            return self.publish_doubt(target, now, effects);
        }
        entry.tracker.stamp(now);
        self.transit(target, up, Cause::Undone, now, effects);
    }

    fn publish_doubt(&mut self, target: TargetId, now: Moment, effects: &mut Vec<Effect>) {
        let uncertain = self.isolation.is_watching();
        let entry = &mut self.entries[target.index()];
        let uncertain = uncertain && entry.is_uncertain(self.isolation.window(), now);
        let settled = !uncertain && entry.is_settled(now);
        entry.doubt(target, !settled, effects);
    }

    fn transit(
        &mut self,
        target: TargetId,
        up: bool,
        cause: Cause,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let entry = &mut self.entries[target.index()];
        entry.changed = Some(now);
        entry.state = State { up, settled: false };
        effects.push(Effect::Transition(Transition { target, up, cause }));
        // Two moments to look again: it may be settled after an interval, and isolation can no longer
        // undo it after the window.
        self.settling
            .push(Reverse((now + entry.spec.interval, target)));
        self.settling
            .push(Reverse((self.isolation.past_window(now), target)));
    }

    fn hold_down(
        &mut self,
        target: TargetId,
        until: Moment,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let entry = &self.entries[target.index()];
        let within = entry.spec.flap.map_or(Duration::ZERO, |rule| rule.within);
        effects.push(Effect::Flapping {
            target,
            changes: entry.flap.changes().len(),
            within,
            until,
        });
        self.flapping.push(target);
        self.settling.push(Reverse((until, target)));
        self.publish_doubt(target, now, effects);
    }

    /// Stops holding falls back, and returns the targets whose fall was held.
    fn let_go(&mut self) -> Vec<TargetId> {
        let held = std::mem::take(&mut self.held);
        for target in &held {
            self.entries[target.index()].held = false;
        }
        held
    }

    fn carry_same(&mut self, target: TargetId, old: &Entry) {
        // The state is the old one and the rules are the new ones: regions have new ids, and the flap
        // rule may be another.
        let entry = &mut self.entries[target.index()];
        let spec = std::mem::replace(entry, old.clone()).spec;
        entry.spec = spec;
        entry.flap.follow(entry.spec.flap);
        if let Some(until) = entry.flap.hold() {
            self.flapping.push(target);
            self.settling.push(Reverse((until, target)));
        }
        if let Some(since) = entry.tracker.since() {
            self.settling
                .push(Reverse((since + entry.spec.interval, target)));
            self.settling
                .push(Reverse((self.isolation.past_window(since), target)));
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
