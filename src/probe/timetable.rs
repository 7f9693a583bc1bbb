//! Turns of targets: evenly spread, without drift, without bursts. Pure: time is an argument.
//!
//! The `i`th of a check's `n` targets is due at `phase + i/n` of each interval, and the phases of
//! the checks are spread by the golden ratio, so that a hundred checks of one target each do not
//! fall on one instant either.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::model::Moment;

/// The golden ratio's fraction: its multiples modulo 1 never come close to each other.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// The next probe of every target, by the target's index in the scheduler.
#[derive(Debug, Default)]
pub(super) struct Timetable {
    due: BinaryHeap<Reverse<(Moment, usize)>>,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    interval: Duration,
    /// The next turn of its own.
    turn: Moment,
    /// The next probe: its turn, or before it.
    next: Moment,
    /// The last probe came before its turn.
    was_early: bool,
}

/// A target that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// Its index.
    pub(super) index: usize,
    /// True where it was asked for before its turn.
    pub(super) early: bool,
}

impl Timetable {
    /// Adds a target that is due at `first` and every `interval` from then on.
    pub(super) fn push(&mut self, interval: Duration, first: Moment) {
        self.due.push(Reverse((first, self.rows.len())));
        self.rows.push(Row {
            interval: interval.max(Duration::from_millis(1)),
            turn: first,
            next: first,
            was_early: false,
        });
    }

    /// Moment at which the next target is due.
    pub(super) fn next_due(&self) -> Option<Moment> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// Moment at which target `index` has its next turn.
    pub(super) fn turn_of(&self, index: usize) -> Moment {
        self.rows[index].turn
    }

    /// Has target `index` due at `due`, where that is before its turn. A turn between two early
    /// probes falls out: failures that decide are to lie as far apart as rechecks do. After a turn
    /// none does, so that nothing is found out later than at the interval.
    pub(super) fn hasten(&mut self, index: usize, due: Moment) {
        let row = &mut self.rows[index];
        if row.was_early && row.next == row.turn && row.turn <= due {
            row.turn = row.turn + row.interval * turns_until(row, due);
            row.next = row.turn;
        }
        if due < row.next {
            row.next = due;
            self.due.push(Reverse((due, index)));
        }
    }

    /// The next target due at `now`, which becomes due again at its next turn. Turns that were
    /// missed by a whole interval (the machine slept) are left out, not made up for in a burst.
    pub(super) fn pop(&mut self, now: Moment) -> Option<Due> {
        loop {
            let (due, index) = self.due.peek().filter(|Reverse((due, _))| *due <= now)?.0;
            self.due.pop();
            let row = &mut self.rows[index];
            // The place of a turn that an early probe came before.
            if due != row.next {
                continue;
            }
            let early = due != row.turn;
            // The turns stay where they are, so that what died together is spread again later, and
            // none is put off by an early probe that passes.
            let turns = turns_until(row, now);
            row.turn = row.turn + row.interval * turns;
            (row.next, row.was_early) = (row.turn, early);
            self.due.push(Reverse((row.next, index)));
            if early || turns == 1 {
                return Some(Due { index, early });
            }
        }
    }
}

/// Turns of `row` that are over at `until`, the one at that moment included.
fn turns_until(row: &Row, until: Moment) -> u32 {
    if row.turn > until {
        return 0;
    }
    let whole = until.since(row.turn).as_nanos() / row.interval.as_nanos();
    u32::try_from(whole).unwrap_or(u32::MAX).saturating_add(1)
}

/// Computes how far into its interval target `index` of `count` of the `check`th check is due.
pub(super) fn phase(interval: Duration, check: usize, index: usize, count: usize) -> Duration {
    let fraction = (check as f64 * GOLDEN + index as f64 / count.max(1) as f64).fract();
    interval.mul_f64(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    const TURN: Due = Due {
        index: 0,
        early: false,
    };
    const EARLY: Due = Due {
        index: 0,
        early: true,
    };

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    /// Ten thousand targets of one check and a hundred checks of one target, at one interval.
    fn crowded() -> Timetable {
        let mut timetable = Timetable::default();
        for index in 0..10_000 {
            timetable.push(2 * SECOND, at(0) + phase(2 * SECOND, 0, index, 10_000));
        }
        for check in 1..101 {
            timetable.push(2 * SECOND, at(0) + phase(2 * SECOND, check, 0, 1));
        }
        timetable
    }

    #[test]
    fn every_slot_of_10_ms_is_within_twice_the_mean() {
        let mut timetable = crowded();
        let mean = 10_100 / 200;
        for slot in 1..=400 {
            let due = std::iter::from_fn(|| timetable.pop(at(slot * 10))).count();
            assert!(
                due <= 2 * mean && due >= mean / 2,
                "{due} probes in slot {slot}"
            );
        }
    }

    #[test]
    fn single_targets_of_many_checks_are_spread() {
        let mut phases: Vec<_> = (0..100).map(|check| phase(SECOND, check, 0, 1)).collect();
        phases.sort();
        let widest = phases
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .max()
            .unwrap();
        assert!(widest < Duration::from_millis(30), "{widest:?}");
    }

    #[test]
    fn a_late_turn_neither_drifts_nor_repeats() {
        let mut timetable = Timetable::default();
        timetable.push(SECOND, at(100));
        assert_eq!(timetable.pop(at(99)), None);
        assert_eq!(timetable.pop(at(300)), Some(TURN));
        assert_eq!(timetable.next_due(), Some(at(1100)));
        assert_eq!(
            timetable.pop(at(9500)),
            None,
            "eight turns missed: none is made up for"
        );
        assert_eq!(timetable.next_due(), Some(at(10_100)));
        assert_eq!(timetable.pop(at(10_100)), Some(TURN));
    }

    #[test]
    fn an_early_probe_leaves_the_turns_where_they_are() {
        let mut timetable = Timetable::default();
        timetable.push(SECOND, at(100));
        assert_eq!(timetable.pop(at(100)), Some(TURN));
        timetable.hasten(0, at(350));
        timetable.hasten(0, at(900));
        assert_eq!(timetable.next_due(), Some(at(350)), "the earlier one");
        assert_eq!(timetable.pop(at(350)), Some(EARLY));
        assert_eq!(
            timetable.pop(at(1099)),
            None,
            "the later one is not there too"
        );
        assert_eq!(timetable.pop(at(1100)), Some(TURN));
        timetable.hasten(0, at(1900));
        assert_eq!(timetable.pop(at(1900)), Some(EARLY));
        assert_eq!(
            timetable.pop(at(2100)),
            Some(TURN),
            "an early probe that passes puts nothing off"
        );
        timetable.hasten(0, at(3050));
        assert_eq!(timetable.pop(at(3050)), Some(EARLY));
        timetable.hasten(0, at(3300));
        assert_eq!(
            timetable.pop(at(3200)),
            None,
            "a turn between two rechecks falls out"
        );
        assert_eq!(timetable.pop(at(3300)), Some(EARLY));
        assert_eq!(timetable.pop(at(4100)), Some(TURN));
        timetable.hasten(0, at(5200));
        assert_eq!(timetable.pop(at(5100)), Some(TURN), "and none after a turn");
        timetable.hasten(0, at(9000));
        assert_eq!(timetable.pop(at(6100)), Some(TURN), "no turn is put off");
    }
}
