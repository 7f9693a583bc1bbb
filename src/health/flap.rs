//! Flap hold: what goes up and down all the time is held down for a while.

use std::time::Duration;

use crate::model::Moment;

/// So many changes of state within [`FLAP_PERIOD`] are borne; one more is flapping.
pub const FLAP_CHANGES: usize = 4;
/// See [`FLAP_CHANGES`].
pub const FLAP_PERIOD: Duration = Duration::from_secs(600);
/// How long what flaps is held down.
pub const FLAP_HOLD: Duration = Duration::from_secs(300);

/// The changes of one target's published state, and its hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Flap {
    /// Oldest first; at most [`FLAP_CHANGES`] + 1, those of the hold included.
    changes: Vec<Moment>,
    hold: Option<Moment>,
}

impl Flap {
    /// What was counted before a restart; what came of it is out of date by itself.
    pub(super) fn restored(changes: Vec<Moment>, hold: Option<Moment>, now: Moment) -> Flap {
        let mut flap = Flap { changes, hold: hold.filter(|until| *until > now) };
        flap.changes.truncate(FLAP_CHANGES + 1);
        flap
    }

    /// Counts a change of state at `now`; the end of the hold that it begins.
    pub(super) fn count(&mut self, now: Moment) -> Option<Moment> {
        self.changes.retain(|change| now.since(*change) < FLAP_PERIOD);
        self.changes.push(now);
        if self.changes.len() > FLAP_CHANGES {
            self.hold = Some(now + FLAP_HOLD);
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
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn the_fifth_change_within_ten_minutes_begins_a_hold() {
        let mut flap = Flap::default();
        assert!((0..4).all(|second| flap.count(at(second)).is_none()));
        assert_eq!(flap.count(at(599)), Some(at(899)));
        assert!(!flap.release(at(898)));
        assert!(flap.release(at(899)));
        assert_eq!(flap.count(at(900)), None, "counted anew");
    }

    #[test]
    fn older_changes_are_forgotten() {
        let mut flap = Flap::default();
        assert!((0..100).all(|step| flap.count(at(step * 150)).is_none()), "four in ten minutes, for ever");
    }

    #[test]
    fn an_undone_change_takes_its_hold_with_it() {
        let mut flap = Flap::default();
        (0..5).for_each(|second| {
            flap.count(at(second));
        });
        flap.undo(Some(at(3)));
        assert_eq!(flap.hold(), Some(at(304)), "not the last one");
        flap.undo(Some(at(4)));
        assert_eq!((flap.hold(), flap.changes().len()), (None, 4));
    }
}
