//! Probes that come before their interval is over: rechecks, second looks, and shared fate.
//!
//! ```text
//! a failure counted, of a target that is up ──┐
//! its watched connection is lost ─────────────┼─► hurried: probed soon ──► nothing counted: calm
//! another target of its region fell ──────────┘      │      ▲
//!                                        no room: waiting, in turn
//! ```
//! A *hurried* target is probed `recheck` after each of its outcomes, until nothing is counted any
//! more. No more than [`Pace::limit`] targets are hurried at once, so that the death of a large
//! region costs a bounded part of the load of all probes; the others wait in line, and are probed at
//! their interval meanwhile. Thresholds and isolation know nothing of all this: an early probe
//! counts as any other.
//!
//! Early probes are also bounded in number: for some time there are no more of them than ordinary
//! ones ([`Allowance`]). A `recheck` that is a small part of the interval would otherwise multiply
//! the load when much fails, and a node that is late with its probes because of that would see more
//! failures. Without allowance a target is probed at its interval.
//!
//! One thing rechecks would change: a target could fall before anything else is probed, and the loss
//! of our own network look like the loss of its region. Its first failure therefore has *witnesses*
//! probed, targets of other regions, and a fall that came sooner than the interval allows is held
//! back until anything has passed since that failure, or until the interval would have allowed it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::spec::TargetSpec;
use crate::model::{Moment, RegionId, TargetId};

/// The part of all probed targets that may be hurried at once, as a divisor.
const PART: usize = 4;
/// So many targets may be hurried at once, however few there are: their probes cost nothing, and a
/// small installation loses its regions at once too.
const LEAST: usize = 16;
/// Early probes a second that are allowed however few targets there are.
const LEAST_RATE: f64 = 64.0;
/// Early probes that may come at once, as a multiple of the probed targets: a region that dies is
/// looked at and rechecked at once.
const BURST: f64 = 2.0;
/// The same however few targets there are.
const LEAST_BURST: f64 = 256.0;
/// The longest time between the probes of two targets of a region that are looked at together.
const GAP: Duration = Duration::from_micros(100);

/// The most witnesses that are asked at once, one of a region.
const WITNESSES: usize = 3;
/// The least time between two times that witnesses are asked: where much fails at once, much is
/// probed anyway.
const WITNESS_PAUSE: Duration = Duration::from_millis(20);

/// A target that is to be probed before its interval is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Early {
    /// The target.
    pub target: TargetId,
    /// Moment of the probe.
    pub due: Moment,
}

/// Numbers about early probes, for readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rechecks {
    /// The most targets that may be hurried at once.
    pub limit: usize,
    /// Those that are.
    pub hurried: usize,
    /// Those that wait until another is done.
    pub waiting: usize,
    /// Early probes asked for since the start.
    pub asked: u64,
}

/// The targets that are hurried, and those that wait for that.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    limit: usize,
    hurried: usize,
    asked: u64,
    allowance: Allowance,
    /// By [`TargetId`].
    states: Vec<State>,
    /// By the number of their turn.
    waiting: BTreeMap<u64, TargetId>,
    turns: u64,
    /// By [`RegionId`].
    regions: Vec<Region>,
    /// The targets of `[server] sanity`.
    sanity: Vec<TargetId>,
    /// The last moment at which witnesses were asked.
    asked_witnesses: Option<Moment>,
}

/// Early probes that may still come: as many in a time as ordinary ones, and a burst beside.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    left: f64,
    most: f64,
    /// Early probes a second.
    rate: f64,
    /// The last moment at which it grew.
    since: Option<Moment>,
}

impl Allowance {
    fn new(targets: usize, rate: f64) -> Allowance {
        // Fewer targets than 2³².
        let most = (BURST * targets as f64).max(LEAST_BURST);
        Allowance {
            left: most,
            most,
            rate: rate.max(LEAST_RATE),
            since: None,
        }
    }

    /// Takes one early probe; false where none is left.
    fn take(&mut self, now: Moment) -> bool {
        let since = self.since.replace(now).unwrap_or(now);
        let grown = now.since(since).as_secs_f64() * self.rate;
        self.left = (self.left + grown).min(self.most);
        let is_left = self.left >= 1.0;
        if is_left {
            self.left -= 1.0;
        }
        is_left
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Calm,
    Hurried,
    /// The number of its turn.
    Waiting(u64),
}

/// The targets of a region.
#[derive(Debug, Clone, Default)]
struct Region {
    targets: Vec<TargetId>,
    /// The last moment at which all of them were looked at together.
    looked: Option<Moment>,
}

impl Pace {
    /// Nothing is hurried; `specs` by [`TargetId`].
    pub(super) fn new(specs: &[TargetSpec]) -> Pace {
        let mut regions: Vec<Region> = Vec::new();
        let (mut probed, mut sanity, mut rate) = (0, Vec::new(), 0.0);
        for (index, spec) in specs.iter().enumerate().filter(|(_, spec)| !spec.pushed) {
            probed += 1;
            rate += 1.0 / spec.interval.as_secs_f64().max(0.001);
            if spec.sanity {
                sanity.push(TargetId::from_index(index));
            }
            for region in &spec.regions {
                if regions.len() <= region.index() {
                    regions.resize_with(region.index() + 1, Region::default);
                }
                regions[region.index()]
                    .targets
                    .push(TargetId::from_index(index));
            }
        }
        Pace {
            limit: (probed / PART).max(LEAST),
            hurried: 0,
            asked: 0,
            allowance: Allowance::new(probed, rate),
            states: vec![State::Calm; specs.len()],
            waiting: BTreeMap::new(),
            turns: 0,
            regions,
            sanity,
            asked_witnesses: None,
        }
    }

    /// Goes on with the count of `old`, which was of other files.
    pub(super) fn carry_over(&mut self, old: &Pace) {
        self.asked = old.asked;
    }

    /// The numbers of this moment.
    pub(super) fn rechecks(&self) -> Rechecks {
        Rechecks {
            limit: self.limit,
            hurried: self.hurried,
            waiting: self.waiting.len(),
            asked: self.asked,
        }
    }

    /// True while a target is neither hurried nor waits for it.
    pub(super) fn is_calm(&self, target: TargetId) -> bool {
        self.states[target.index()] == State::Calm
    }

    /// Has a target probed at `due`, if there is room; else it waits for its turn.
    pub(super) fn hurry(
        &mut self,
        target: TargetId,
        due: Moment,
        now: Moment,
        early: &mut Vec<Early>,
    ) {
        match self.states[target.index()] {
            State::Hurried => {}
            State::Waiting(_) => return,
            State::Calm if self.hurried >= self.limit => {
                self.states[target.index()] = State::Waiting(self.turns);
                self.waiting.insert(self.turns, target);
                self.turns += 1;
                return;
            }
            State::Calm => {
                self.states[target.index()] = State::Hurried;
                self.hurried += 1;
            }
        }
        self.ask(target, due, now, early);
    }

    /// Ends the hurry of a target, and gives its place to the one that has waited longest.
    pub(super) fn calm(&mut self, target: TargetId, now: Moment, early: &mut Vec<Early>) {
        match std::mem::replace(&mut self.states[target.index()], State::Calm) {
            State::Calm => {}
            State::Waiting(turn) => {
                self.waiting.remove(&turn);
            }
            State::Hurried => {
                self.hurried -= 1;
                if let Some((_, next)) = self.waiting.pop_first() {
                    self.states[next.index()] = State::Hurried;
                    self.hurried += 1;
                    self.ask(next, now, now, early);
                }
            }
        }
    }

    /// The other targets of a region of which one fell, unless they were looked at together less
    /// than `pause` ago.
    pub(super) fn look_at(
        &mut self,
        region: RegionId,
        pause: Duration,
        now: Moment,
    ) -> Vec<TargetId> {
        // Each fall of a dying region would otherwise go through all its targets: a million steps
        // for a thousand of them.
        match self.regions.get_mut(region.index()) {
            Some(region) if region.looked.is_none_or(|at| now.since(at) >= pause) => {
                region.looked = Some(now);
                region.targets.clone()
            }
            _ => Vec::new(),
        }
    }

    /// The targets that can tell the loss of our own network from that of `regions`, for each of
    /// the groups of which one member is enough: the sanity checks, else the targets of other
    /// regions.
    pub(super) fn witnesses(&self, regions: &[RegionId]) -> Vec<&[TargetId]> {
        if !self.sanity.is_empty() {
            return self.sanity.chunks(1).collect();
        }
        let mut groups = Vec::new();
        for (index, region) in self.regions.iter().enumerate() {
            if !region.targets.is_empty() && !regions.contains(&RegionId::from_index(index)) {
                groups.push(&region.targets[..]);
            }
            if groups.len() == WITNESSES {
                break;
            }
        }
        groups
    }

    /// True where witnesses may be asked again; they are then taken as asked.
    pub(super) fn may_ask(&mut self, now: Moment) -> bool {
        let may = self
            .asked_witnesses
            .is_none_or(|at| now.since(at) >= WITNESS_PAUSE);
        if may {
            self.asked_witnesses = Some(now);
        }
        may
    }

    fn ask(&mut self, target: TargetId, due: Moment, now: Moment, early: &mut Vec<Early>) {
        // Without it the target keeps its place, and asks again after its next probe.
        if self.allowance.take(now) {
            self.asked += 1;
            early.push(Early { target, due });
        }
    }
}

/// The time between the probes of `count` targets that are looked at together: they are spread over
/// `recheck`, and never in one instant.
pub(super) fn gap(recheck: Duration, count: usize) -> Duration {
    // More targets than 2³² have no ids.
    let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    (recheck / count).min(GAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_probes_are_no_more_than_ordinary_ones_for_long() {
        // A thousand targets every 10 s.
        let mut allowance = Allowance::new(1000, 100.0);
        let mut taken = 0;
        // 10 000 are asked for in each second.
        for step in 0..200_000_u64 {
            let now = Moment(Duration::from_micros(100 * step));
            taken += u64::from(allowance.take(now));
        }
        assert!(
            (2000 + 1990..=2000 + 2010).contains(&taken),
            "a burst, and 100 a second for 20 s: {taken}"
        );
        let mut few = Allowance::new(2, 0.2);
        let now = Moment::default();
        assert_eq!((0..1000).filter(|_| few.take(now)).count(), 256);
    }
}
