//! The thresholds machine of one (check, address) pair: gdnsd's, with an accumulated `fall`.
//!
//! ```text
//! UP   + pass: if fails>0 { passes+=1; if passes==forgive { fails=0; passes=0 } }
//! UP   + fail: passes=0; fails+=1; if fails==fall         { fails=0; -> DOWN }
//! DOWN + pass: passes+=1; if passes==rise                 { fails=0; passes=0; -> UP }
//! DOWN + fail: passes=0
//! ```
//! Of the failures, those that are no lost packet (a refused, reset or closed connection) are also
//! counted apart: `fall_refused` of them take the endpoint down as well.
//!
//! Failures accumulate while up: an endpoint that loses one probe in five still goes down.

use std::time::Duration;

use crate::model::{CheckSpec, Moment};

/// The numbers of outcomes that change the state; each at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Failures, accumulated, that take an endpoint down.
    pub fall: u32,
    /// Refusals, accumulated, that do the same; at most `fall`.
    pub fall_refused: u32,
    /// Passes in a row that bring it back.
    pub rise: u32,
    /// Passes in a row that forgive accumulated failures.
    pub forgive: u32,
}

/// One pair's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracker {
    up: bool,
    fails: u32,
    /// Those of `fails` that were refusals.
    refused: u32,
    passes: u32,
    /// The last transition; `None` before the first.
    since: Option<Moment>,
}

/// Kind of a failure, as far as thresholds tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// A lost packet would look the same.
    Doubtful,
    /// The connection was refused, reset or closed, which no loss of packets does.
    Refusal,
}

/// The effect of an outcome on the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// No transition.
    Stayed,
    /// Down → up, after `rise` passes in a row.
    Rose,
    /// Up → down, after `fall` failures.
    Fell,
}

impl Tracker {
    /// Without history: up or down by assumption, nothing counted, no transition seen.
    pub fn assumed(up: bool) -> Tracker {
        Tracker {
            up,
            fails: 0,
            refused: 0,
            passes: 0,
            since: None,
        }
    }

    /// Counts a pass at `now`.
    pub fn pass(&mut self, thresholds: &Thresholds, now: Moment) -> Step {
        if self.up {
            // One pass forgives nothing, only a row of them does: an endpoint that loses one probe
            // in five still goes down.
            if self.fails > 0 {
                self.passes += 1;
                if self.passes >= thresholds.forgive {
                    (self.fails, self.refused, self.passes) = (0, 0, 0);
                }
            }
            return Step::Stayed;
        }
        self.passes += 1;
        if self.passes < thresholds.rise {
            return Step::Stayed;
        }
        *self = Tracker {
            up: true,
            fails: 0,
            refused: 0,
            passes: 0,
            since: Some(now),
        };
        Step::Rose
    }

    /// Counts a failure at `now`.
    pub fn fail(&mut self, failure: Failure, thresholds: &Thresholds, now: Moment) -> Step {
        // A failure breaks both rows: towards `forgive` while up, towards `rise` while down.
        self.passes = 0;
        if !self.up {
            return Step::Stayed;
        }
        self.fails += 1;
        self.refused += u32::from(failure == Failure::Refusal);
        if self.fails < thresholds.fall && self.refused < thresholds.fall_refused {
            return Step::Stayed;
        }
        *self = Tracker {
            up: false,
            fails: 0,
            refused: 0,
            passes: 0,
            since: Some(now),
        };
        Step::Fell
    }

    /// Counts the last transition from `now`: it was held back, or undone.
    pub fn stamp(&mut self, now: Moment) {
        self.since = Some(now);
    }

    /// Up or down.
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// The last transition; `None` before the first.
    pub fn since(&self) -> Option<Moment> {
        self.since
    }

    /// Failures counted against an endpoint that is up, 0 … `fall` − 1.
    pub fn fails(&self) -> u32 {
        self.fails
    }

    /// Passes in a row counted towards `rise` or `forgive`.
    pub fn passes(&self) -> u32 {
        self.passes
    }

    /// Up with no failure counted, or down with no pass counted, for at least `interval` since the
    /// last transition. What is not settled is in doubt.
    pub fn is_settled(&self, interval: Duration, now: Moment) -> bool {
        let counting = if self.up { self.fails } else { self.passes };
        counting == 0 && self.since.is_none_or(|since| now.since(since) >= interval)
    }
}

impl From<&CheckSpec> for Thresholds {
    fn from(check: &CheckSpec) -> Thresholds {
        Thresholds {
            fall: check.fall,
            fall_refused: check.fall_refused,
            rise: check.rise,
            forgive: check.forgive,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEFAULTS: Thresholds = Thresholds {
        fall: 3,
        fall_refused: 3,
        rise: 4,
        forgive: 5,
    };

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    /// Runs `+` (pass), `-` (doubtful failure) and `x` (refusal), one a second, and writes the state
    /// after each.
    fn run(thresholds: &Thresholds, outcomes: &str) -> String {
        let mut tracker = Tracker::assumed(true);
        let step = |(second, outcome)| {
            let now = at(second as u64);
            match outcome {
                '+' => tracker.pass(thresholds, now),
                'x' => tracker.fail(Failure::Refusal, thresholds, now),
                _ => tracker.fail(Failure::Doubtful, thresholds, now),
            };
            if tracker.is_up() { 'U' } else { 'd' }
        };
        outcomes.chars().enumerate().map(step).collect()
    }

    #[test]
    fn failures_accumulate_and_are_forgiven() {
        assert_eq!(run(&DEFAULTS, "--+-"), "UUUd");
        assert_eq!(
            run(&DEFAULTS, "-++++-++++-"),
            "UUUUUUUUUUd",
            "one loss in five still goes down"
        );
        assert_eq!(
            run(&DEFAULTS, "--+++++--+"),
            "UUUUUUUUUU",
            "five passes in a row forgive"
        );
    }

    #[test]
    fn refusals_have_a_threshold_of_their_own() {
        let thresholds = Thresholds {
            fall_refused: 2,
            ..DEFAULTS
        };
        assert_eq!(run(&thresholds, "xx"), "Ud");
        assert_eq!(run(&thresholds, "x-x"), "UUd");
        assert_eq!(run(&thresholds, "x--"), "UUd", "a refusal is a failure too");
        assert_eq!(
            run(&thresholds, "x+++++x"),
            "UUUUUUU",
            "passes forgive refusals with the rest"
        );
        assert_eq!(run(&DEFAULTS, "xxx"), "UUd", "by default they count alike");
    }

    #[test]
    fn rise_counts_passes_in_a_row() {
        assert_eq!(run(&DEFAULTS, "---+++-++++"), "UUddddddddU");
    }

    #[test]
    fn settled_needs_an_interval_and_nothing_counted() {
        let second = Duration::from_secs(1);
        let thresholds = Thresholds {
            fall: 1,
            fall_refused: 1,
            rise: 2,
            forgive: 1,
        };
        let mut tracker = Tracker::assumed(true);
        assert!(tracker.is_settled(second, at(0)));
        assert_eq!(
            tracker.fail(Failure::Doubtful, &thresholds, at(10)),
            Step::Fell
        );
        assert!(!tracker.is_settled(second, at(10)));
        assert!(tracker.is_settled(second, at(11)));
        assert_eq!(tracker.pass(&thresholds, at(20)), Step::Stayed);
        assert!(
            !tracker.is_settled(second, at(99)),
            "one pass of two is counted"
        );
        assert_eq!(tracker.pass(&thresholds, at(100)), Step::Rose);
        assert!(!tracker.is_settled(second, at(100)));
        assert!(tracker.is_settled(second, at(101)));
    }

    /// The four lines of the rule, written down as they stand.
    struct Naive {
        up: bool,
        fails: u32,
        refused: u32,
        passes: u32,
    }

    impl Naive {
        fn step(&mut self, t: &Thresholds, pass: bool, refusal: bool) {
            match (self.up, pass) {
                (true, true) if self.fails > 0 => {
                    self.passes += 1;
                    if self.passes == t.forgive {
                        self.fails = 0;
                        self.refused = 0;
                        self.passes = 0;
                    }
                }
                (true, true) => {}
                (true, false) => {
                    self.passes = 0;
                    self.fails += 1;
                    if refusal {
                        self.refused += 1;
                    }
                    if self.fails == t.fall || self.refused == t.fall_refused {
                        self.fails = 0;
                        self.refused = 0;
                        self.up = false;
                    }
                }
                (false, true) => {
                    self.passes += 1;
                    if self.passes == t.rise {
                        self.fails = 0;
                        self.passes = 0;
                        self.up = true;
                    }
                }
                (false, false) => self.passes = 0,
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_rule_as_written(
            (fall, refused, rise, forgive) in (1u32..5, 1u32..5, 1u32..5, 1u32..7),
            outcomes in prop::collection::vec(any::<(bool, bool)>(), 0..200),
        ) {
            let thresholds = Thresholds { fall, fall_refused: refused.min(fall), rise, forgive };
            let mut tracker = Tracker::assumed(true);
            let mut naive = Naive { up: true, fails: 0, refused: 0, passes: 0 };
            for (second, (pass, refusal)) in outcomes.into_iter().enumerate() {
                let (was_up, now) = (tracker.is_up(), at(second as u64));
                let failure = if refusal { Failure::Refusal } else { Failure::Doubtful };
                let step = if pass { tracker.pass(&thresholds, now) } else { tracker.fail(failure, &thresholds, now) };
                naive.step(&thresholds, pass, refusal);
                prop_assert_eq!(
                    (tracker.is_up(), tracker.fails(), tracker.passes()),
                    (naive.up, naive.fails, naive.passes)
                );
                let expected = match (was_up, naive.up) {
                    (true, false) => Step::Fell,
                    (false, true) => Step::Rose,
                    _ => Step::Stayed,
                };
                prop_assert_eq!(step, expected);
            }
        }

        #[test]
        fn no_single_outcome_flips_what_is_settled(
            (fall, refused, rise, forgive) in (2u32..5, 2u32..5, 2u32..5, 1u32..7),
            outcomes in prop::collection::vec(any::<(bool, bool)>(), 1..200),
        ) {
            let thresholds = Thresholds { fall, fall_refused: refused.min(fall), rise, forgive };
            let mut tracker = Tracker::assumed(true);
            for (second, (pass, refusal)) in outcomes.into_iter().enumerate() {
                let now = at(second as u64);
                let failure = if refusal { Failure::Refusal } else { Failure::Doubtful };
                let before = (tracker.is_up(), tracker.is_settled(Duration::from_secs(1), now));
                if pass { tracker.pass(&thresholds, now) } else { tracker.fail(failure, &thresholds, now) };
                prop_assert!(!before.1 || tracker.is_up() == before.0);
            }
        }
    }
}
