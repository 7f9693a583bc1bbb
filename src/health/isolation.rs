//! Isolation: telling the loss of our own network from the loss of endpoints.
//!
//! Everything turns on the *silence*: the time since the last pass of anything, measured from the
//! first failure in it. One pass ends a silence, and proves that every loss is real.
//!
//! ```text
//!            failure in ≥ 2 regions (or all sanity checks)        window over, no pass
//!  watching ──────────────────────────────────────► suspected ─────────────────► isolated
//!     ▲  ▲                                              │ pass                   │ pass │ 60 s, without sanity
//!     │  └──────────────────────────────────────────────┴────────────────────────┘      ▼
//!     └───────────────────────────────── pass ─────────────────────────────────────── spent
//! ```
//! *Suspected* is no state of its own: it is a silence with such failures, still shorter than the
//! window (longest interval + longest timeout). The table holds back falls while it lasts, so that
//! the loss of our own network publishes nothing; the next pass releases them. Where only one
//! region dies the others pass, and nothing is held. *Spent*: outcomes count although nothing passes.
//!
//! Where `sanity` checks are set they alone decide: when nothing passes, all of them must fail too.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Moment, RegionId, TargetId};

/// The longest isolation where no `sanity` check can end it.
pub const TIME_LIMIT: Duration = Duration::from_secs(60);

/// The isolation of this node.
#[derive(Debug, Clone)]
pub(super) struct Isolation {
    /// Longest interval + longest timeout: in it every endpoint has shown what it is.
    window: Duration,
    phase: Phase,
    /// The first failure since the last pass of anything.
    silent_since: Option<Moment>,
    failed: FailedRegions,
    sanity: Vec<Sanity>,
}

/// A change of isolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// Isolation began: states are kept from here, and this silence's failures are undone.
    Began,
    /// Isolation ended: outcomes count again.
    Ended(End),
}

/// Reason why isolation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Something passed.
    Pass,
    /// It lasted [`TIME_LIMIT`] without a `sanity` check to tell.
    TimeLimit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Watching,
    Isolated { since: Moment },
    Spent,
}

/// The regions that failed in this silence, as far as it matters: whether they are two.
#[derive(Debug, Clone, Default)]
struct FailedRegions {
    /// Two targets, so that one address shared by two regions is not taken for both.
    targets: Vec<TargetId>,
    regions: Vec<RegionId>,
}

#[derive(Debug, Clone)]
struct Sanity {
    target: TargetId,
    /// The last outcome in this silence.
    last: Heard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    Failure,
    /// Not judged: it has no say.
    Abstention,
}

impl Isolation {
    /// Watching, with nothing heard; `sanity` lists the targets of `[server] sanity`.
    pub(super) fn new(window: Duration, sanity: impl IntoIterator<Item = TargetId>) -> Isolation {
        Isolation {
            window,
            phase: Phase::Watching,
            silent_since: None,
            failed: FailedRegions::default(),
            sanity: sanity
                .into_iter()
                .map(|target| Sanity {
                    target,
                    last: Heard::Nothing,
                })
                .collect(),
        }
    }

    /// Something passed: the silence is over.
    pub(super) fn pass(&mut self) -> Change {
        self.silent_since = None;
        self.failed = FailedRegions::default();
        self.sanity
            .iter_mut()
            .for_each(|sanity| sanity.last = Heard::Nothing);
        match std::mem::replace(&mut self.phase, Phase::Watching) {
            Phase::Isolated { .. } => Change::Ended(End::Pass),
            Phase::Watching | Phase::Spent => Change::None,
        }
    }

    /// `target`, of `regions`, failed; to be told before the failure is applied to its state.
    pub(super) fn fail(&mut self, target: TargetId, regions: &[RegionId], now: Moment) -> Change {
        // The window runs from the first failure. If later ones moved it, failures that trickle in
        // would hold every fall back for ever.
        self.silent_since.get_or_insert(now);
        self.retell(target, regions);
        self.tick(now)
    }

    /// `target` could not be judged: a sanity check has no say then.
    pub(super) fn abstain(&mut self, target: TargetId) {
        self.hear(target, Heard::Abstention);
    }

    /// The passage of time: to be called at [`Isolation::deadline`] at the latest.
    pub(super) fn tick(&mut self, now: Moment) -> Change {
        // Only a whole window without a pass is evidence: every endpoint had its turn in it, so a
        // healthy one would have shown itself.
        match self.phase {
            Phase::Watching
                if self.window_end().is_some_and(|end| end <= now) && self.is_total() =>
            {
                self.begin(now)
            }
            Phase::Isolated { since }
                if self.sanity.is_empty() && now.since(since) >= TIME_LIMIT =>
            {
                // Everything may really be down, and without a sanity check nothing tells that from
                // a failure of our own network. `Spent` and not `Watching`: the same silence would
                // begin isolation again at once. Only a pass arms it anew.
                self.phase = Phase::Spent;
                Change::Ended(End::TimeLimit)
            }
            _ => Change::None,
        }
    }

    /// The end of the first round, in which everything was probed: nothing passed, so the window
    /// need not run out.
    pub(super) fn end_first_round(&mut self, now: Moment) -> Change {
        if self.phase == Phase::Watching && self.is_total() {
            self.begin(now)
        } else {
            Change::None
        }
    }

    /// Nothing could be seen for the time of `stall`: what has begun, began later by as much.
    pub(super) fn stalled(&mut self, stall: Duration) {
        self.silent_since = self.silent_since.map(|since| since + stall);
        if let Phase::Isolated { since } = &mut self.phase {
            // The limit is a time in which a pass could have been seen.
            *since = *since + stall;
        }
    }

    /// Our own network is what failed.
    pub(super) fn is_isolated(&self) -> bool {
        matches!(self.phase, Phase::Isolated { .. })
    }

    /// Isolation may still begin and undo a fall of this silence: such a fall is not certain.
    pub(super) fn is_watching(&self) -> bool {
        self.phase == Phase::Watching
    }

    /// It looks like isolation and the window is still open: falls are to be held back.
    pub(super) fn is_suspected(&self, now: Moment) -> bool {
        self.is_watching()
            && self.window_end().is_some_and(|end| now < end)
            // Weaker than `is_total`: where sanity checks are set they alone begin isolation, but
            // losses in two regions are reason enough to wait for them.
            && (self.failed.are_two() || self.all_sanity_failed())
    }

    /// Next moment at which time alone begins or ends isolation.
    pub(super) fn deadline(&self) -> Option<Moment> {
        match self.phase {
            Phase::Watching => self.window_end().filter(|_| self.is_total()),
            Phase::Isolated { since } => self.sanity.is_empty().then_some(since + TIME_LIMIT),
            Phase::Spent => None,
        }
    }

    /// The end of the window that the running silence opened.
    pub(super) fn window_end(&self) -> Option<Moment> {
        Some(self.silent_since? + self.window)
    }

    /// Longest interval + longest timeout.
    pub(super) fn window(&self) -> Duration {
        self.window
    }

    /// The first moment at which isolation leaves a fall at `fall` alone.
    pub(super) fn past_window(&self, fall: Moment) -> Moment {
        // One nanosecond more, since `Entry::fell_within` counts the last moment of the window in.
        fall + self.window + Duration::from_nanos(1)
    }

    /// Takes over what another configuration's isolation knew; `silence` says whether any failure
    /// of a running silence stays. Those are to be told again with [`Isolation::retell`], since
    /// targets and regions have new ids.
    pub(super) fn carry_over(&mut self, old: &Isolation, silence: bool) {
        self.phase = old.phase;
        // Where all targets that failed are gone the silence begins anew: the next failure would
        // otherwise find its window already over.
        self.silent_since = old.silent_since.filter(|_| silence);
    }

    /// A failure of the running silence, told before by another id.
    pub(super) fn retell(&mut self, target: TargetId, regions: &[RegionId]) {
        self.failed.add(target, regions);
        self.hear(target, Heard::Failure);
    }

    fn begin(&mut self, now: Moment) -> Change {
        self.phase = Phase::Isolated { since: now };
        Change::Began
    }

    /// Nothing passes, in the sense of the rule.
    fn is_total(&self) -> bool {
        if self.sanity.is_empty() {
            self.failed.are_two()
        } else {
            self.all_sanity_failed()
        }
    }

    fn all_sanity_failed(&self) -> bool {
        // Checks that could not be judged do not keep isolation from beginning, but they are no
        // evidence for it: at least one must have failed.
        self.sanity.iter().any(|s| s.last == Heard::Failure)
            && self.sanity.iter().all(|s| s.last != Heard::Nothing)
    }

    fn hear(&mut self, target: TargetId, heard: Heard) {
        if let Some(sanity) = self.sanity.iter_mut().find(|s| s.target == target) {
            sanity.last = heard;
        }
    }
}

impl FailedRegions {
    fn are_two(&self) -> bool {
        self.targets.len() > 1 && self.regions.len() > 1
    }

    /// Adds a failure, as long as it can make a difference.
    fn add(&mut self, target: TargetId, regions: &[RegionId]) {
        // A target that no pool uses, such as that of a `sanity` check, is in no region: it speaks
        // through `hear` alone.
        if self.are_two() || regions.is_empty() {
            return;
        }
        if self.targets.len() < 2 && !self.targets.contains(&target) {
            self.targets.push(target);
        }
        for region in regions {
            if self.regions.len() < 2 && !self.regions.contains(region) {
                self.regions.push(*region);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: TargetId = TargetId(0);
    const B: TargetId = TargetId(1);
    const GATEWAY: TargetId = TargetId(9);
    const EU: &[RegionId] = &[RegionId(0)];
    const US: &[RegionId] = &[RegionId(1)];

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    fn isolation(sanity: &[TargetId]) -> Isolation {
        Isolation::new(Duration::from_secs(3), sanity.iter().copied())
    }

    #[test]
    fn two_regions_and_a_window_without_a_pass() {
        let mut isolation = isolation(&[]);
        assert_eq!(isolation.fail(A, EU, at(1000)), Change::None);
        assert!(!isolation.is_suspected(at(1000)));
        assert_eq!(isolation.fail(B, US, at(1100)), Change::None);
        assert!(isolation.is_suspected(at(1100)));
        assert_eq!(isolation.deadline(), Some(at(4000)));
        assert_eq!(isolation.tick(at(3999)), Change::None);
        assert_eq!(isolation.tick(at(4000)), Change::Began);
        assert!(!isolation.is_suspected(at(4000)));
        assert_eq!(isolation.fail(A, EU, at(5000)), Change::None);
        assert_eq!(isolation.pass(), Change::Ended(End::Pass));
        assert!(!isolation.is_isolated());
    }

    #[test]
    fn a_pass_makes_every_loss_real() {
        let mut isolation = isolation(&[]);
        isolation.fail(A, EU, at(1000));
        isolation.fail(B, US, at(1100));
        assert_eq!(isolation.pass(), Change::None);
        assert!(!isolation.is_suspected(at(1200)));
        isolation.fail(A, EU, at(3000));
        assert_eq!(
            isolation.tick(at(9000)),
            Change::None,
            "one region since the pass"
        );
    }

    #[test]
    fn one_region_is_never_isolated_without_sanity() {
        let mut isolation = isolation(&[]);
        for second in 0..100 {
            assert_eq!(isolation.fail(A, EU, at(second * 1000)), Change::None);
            assert_eq!(isolation.fail(B, EU, at(second * 1000)), Change::None);
        }
    }

    #[test]
    fn one_target_of_two_regions_is_not_two() {
        let mut isolation = isolation(&[]);
        isolation.fail(A, &[RegionId(0), RegionId(1)], at(0));
        assert_eq!(isolation.tick(at(9000)), Change::None);
        assert_eq!(isolation.fail(B, EU, at(9000)), Change::Began);
    }

    #[test]
    fn without_sanity_it_is_spent_after_a_minute_until_a_pass() {
        let mut isolation = isolation(&[]);
        isolation.fail(A, EU, at(0));
        isolation.fail(B, US, at(0));
        assert_eq!(isolation.tick(at(3000)), Change::Began);
        assert_eq!(isolation.deadline(), Some(at(63_000)));
        assert_eq!(isolation.tick(at(63_000)), Change::Ended(End::TimeLimit));
        assert_eq!(isolation.deadline(), None);
        isolation.fail(A, EU, at(64_000));
        isolation.fail(B, US, at(64_000));
        assert!(!isolation.is_suspected(at(64_000)));
        assert_eq!(isolation.tick(at(99_000)), Change::None);
        assert_eq!(isolation.pass(), Change::None);
        isolation.fail(A, EU, at(100_000));
        isolation.fail(B, US, at(100_000));
        assert_eq!(isolation.tick(at(103_000)), Change::Began);
    }

    #[test]
    fn sanity_decides_alone_and_has_no_time_limit() {
        let mut isolation = isolation(&[GATEWAY]);
        isolation.fail(A, EU, at(0));
        isolation.fail(B, US, at(0));
        assert_eq!(
            isolation.tick(at(9000)),
            Change::None,
            "the gateway has not failed"
        );
        assert_eq!(isolation.fail(GATEWAY, &[], at(9100)), Change::Began);
        assert_eq!(isolation.deadline(), None);
        assert_eq!(isolation.tick(at(999_000)), Change::None);
        assert_eq!(isolation.pass(), Change::Ended(End::Pass));
    }

    #[test]
    fn a_sanity_check_that_is_not_judged_has_no_say() {
        let mut isolation = isolation(&[GATEWAY, TargetId(8)]);
        isolation.abstain(TargetId(8));
        assert_eq!(isolation.fail(GATEWAY, &[], at(0)), Change::None);
        assert!(isolation.is_suspected(at(0)));
        assert_eq!(isolation.tick(at(3000)), Change::Began);
    }

    #[test]
    fn the_first_round_need_not_wait_for_the_window() {
        let mut isolation = isolation(&[]);
        isolation.fail(A, EU, at(0));
        assert_eq!(isolation.end_first_round(at(10)), Change::None);
        isolation.fail(B, US, at(20));
        assert_eq!(isolation.end_first_round(at(30)), Change::Began);
    }
}
