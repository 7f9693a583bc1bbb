//! Flap hold: what goes up and down all the time is held down for a while.

use crate::model::{FlapRule, Moment};

/// The changes of one target's published state, and its hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Flap {
    /// Oldest first; at most one more than the rule bears, those of the hold included.
    changes: Vec<Moment>,
    hold: Option<Moment>,
}

impl Flap {
    /// Restores the changes counted before a restart, as far as they are not out of date.
    pub(super) fn restored(
        changes: Vec<Moment>,
        hold: Option<Moment>,
        rule: Option<FlapRule>,
        now: Moment,
    ) -> Flap {
        let mut flap = Flap {
            changes,
            hold: hold.filter(|until| *until > now),
        };
        flap.follow(rule);
        flap
    }

    /// Goes on under a `rule` that may be another one. A hold becomes no longer by that, and may be over.
    pub(super) fn follow(&mut self, rule: Option<FlapRule>) {
        let Some(rule) = rule else {
            // An operator who removes the rule frees what it holds down.
            return *self = Flap::default();
        };
        self.changes
            // `count` compares with one change more than the rule bears; the newest are those still
            // within its time.
            .drain(..self.changes.len().saturating_sub(rule.changes as usize + 1));
        if let (Some(until), Some(last)) = (&mut self.hold, self.changes.last()) {
            // Counted from the last change, which began the hold: a shorter rule applies at once, a
            // longer one to the next hold.
            *until = (*until).min(*last + rule.hold);
        }
    }

    /// Counts a change of state at `now`; the end of the hold that it begins. Without a `rule` nothing is counted.
    pub(super) fn count(&mut self, rule: Option<FlapRule>, now: Moment) -> Option<Moment> {
        let rule = rule?;
        self.changes
            .retain(|change| now.since(*change) < rule.within);
        self.changes.push(now);
        if self.changes.len() > rule.changes as usize {
            self.hold = Some(now + rule.hold);
        }
        self.hold
    }

    /// The last change, if it was at `at`, did not happen: neither did a hold that it began.
    pub(super) fn undo(&mut self, at: Option<Moment>) {
        if at.is_some() && self.changes.last().copied() == at {
            self.changes.pop();
            self.hold = None;
        }
    }

    /// Ends a hold that is over; true where it did. Counting begins anew: what led to this hold must not lead to the next.
    pub(super) fn release(&mut self, now: Moment) -> bool {
        let over = self.hold.is_some_and(|until| until <= now);
        if over {
            *self = Flap::default();
        }
        over
    }

    /// Until when the target is held down.
    pub(super) fn hold(&self) -> Option<Moment> {
        self.hold
    }

    /// The changes counted, oldest first.
    pub(super) fn changes(&self) -> &[Moment] {
        &self.changes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RULE: Option<FlapRule> = Some(FlapRule::DEFAULT);

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn the_fifth_change_within_ten_minutes_begins_a_hold() {
        let mut flap = Flap::default();
        assert!((0..4).all(|second| flap.count(RULE, at(second)).is_none()));
        assert_eq!(flap.count(RULE, at(599)), Some(at(899)));
        assert!(!flap.release(at(898)));
        assert!(flap.release(at(899)));
        assert_eq!(flap.count(RULE, at(900)), None, "counted anew");
    }

    #[test]
    fn older_changes_are_forgotten() {
        let mut flap = Flap::default();
        assert!(
            (0..100).all(|step| flap.count(RULE, at(step * 150)).is_none()),
            "four in ten minutes, for ever"
        );
    }

    #[test]
    fn an_undone_change_takes_its_hold_with_it() {
        let mut flap = Flap::default();
        (0..5).for_each(|second| {
            flap.count(RULE, at(second));
        });
        flap.undo(Some(at(3)));
        assert_eq!(flap.hold(), Some(at(304)), "not the last one");
        flap.undo(Some(at(4)));
        assert_eq!((flap.hold(), flap.changes().len()), (None, 4));
    }

    #[test]
    fn the_rule_of_a_check_decides() {
        let rule = Some(FlapRule {
            changes: 1,
            within: Duration::from_secs(10),
            hold: Duration::from_secs(60),
        });
        let mut flap = Flap::default();
        assert_eq!(
            [
                flap.count(rule, at(0)),
                flap.count(rule, at(10)),
                flap.count(rule, at(19))
            ],
            [None, None, Some(at(79))]
        );
        let mut never = Flap::default();
        assert!(
            (0..100).all(|second| never.count(None, at(second)).is_none()),
            "flap = false"
        );
        assert!(never.changes().is_empty());
    }

    #[test]
    fn another_rule_shortens_a_hold_and_makes_none_longer() {
        let mut flapping = Flap::default();
        (0..5).for_each(|second| {
            flapping.count(RULE, at(second));
        });
        let under = |rule| {
            let mut flap = flapping.clone();
            flap.follow(rule);
            (flap.hold(), flap.changes().len())
        };
        let rule = |changes, hold| {
            Some(FlapRule {
                changes,
                hold: Duration::from_secs(hold),
                ..FlapRule::DEFAULT
            })
        };
        assert_eq!(under(RULE), (Some(at(304)), 5));
        assert_eq!(under(rule(4, 20)), (Some(at(24)), 5));
        assert_eq!(under(rule(4, 3600)), (Some(at(304)), 5));
        assert_eq!(
            under(rule(2, 300)),
            (Some(at(304)), 3),
            "the last ones count"
        );
        assert_eq!(under(None), (None, 0), "flap = false lets it go");
    }
}
