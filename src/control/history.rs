//! History: the states of pools and endpoints in the last 24 hours, from the changes.
//!
//! Memory is bounded whatever flaps: an object has its last [`TURNS`] changes, and there are at most
//! [`OBJECTS`] objects. What falls out is told: an object's strip begins later, and objects that
//! found no room are counted. Pure: the time of a change comes with it.

use std::collections::{BTreeMap, VecDeque};

use crate::changes::Keys;
use crate::model::Family;

/// The changes that are kept of one object.
const TURNS: usize = 32;
/// The objects that are followed: ten thousand endpoints, and two thousand services in ten regions
/// and both families.
const OBJECTS: usize = 50_000;
/// The seconds that are kept.
const WINDOW: u64 = 86_400;

/// The states, by the number that stands for each.
const STATES: [&str; 9] = [
    "up",
    "shed",
    "survivors",
    "some_survivors",
    "standby",
    "fallback",
    "down",
    "held",
    "drained",
];

/// A pool in one family, or an endpoint under one check.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryKey {
    /// Owner name of the service; empty of an endpoint.
    pub service: Box<str>,
    /// The region; empty of an endpoint.
    pub region: Box<str>,
    /// Its address or target name; empty of a pool.
    pub endpoint: Box<str>,
    /// The check; empty of a pool.
    pub check: Box<str>,
    /// The family of a pool.
    pub family: Option<Family>,
}

/// A state from one time to another, in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Its beginning.
    pub from: u64,
    /// Its end.
    pub to: u64,
    /// The state, as changes name it.
    pub state: &'static str,
}

/// The intervals of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strip {
    /// The object.
    pub key: HistoryKey,
    /// Its states, one after the other without a gap.
    pub intervals: Vec<Interval>,
}

/// The states of all objects that changed in the last 24 hours.
#[derive(Debug, Default)]
pub(super) struct History {
    objects: BTreeMap<HistoryKey, Turns>,
    /// The time of the first change: nothing is known of what was before.
    begun: Option<u64>,
    /// Changes of objects that found no room.
    untold: u64,
}

/// The changes of one object.
#[derive(Debug, Default)]
struct Turns {
    /// The time from which on its states are known.
    from: u64,
    /// The state at that time.
    state: u8,
    /// The times at which it changed, and the states from then on.
    turns: VecDeque<(u32, u8)>,
}

impl History {
    /// Takes in a change at a Unix time in seconds.
    pub(super) fn record(&mut self, keys: &Keys, at: u64) {
        let begun = *self.begun.get_or_insert(at);
        let (Some(old), Some(new)) = (number(keys.old.as_deref()), number(keys.new.as_deref()))
        else {
            return;
        };
        if !["pool", "endpoint"].contains(&keys.kind) {
            return;
        }
        let key = HistoryKey::of(keys);
        if self.objects.len() >= OBJECTS && !self.objects.contains_key(&key) {
            self.forget(at);
            if self.objects.len() >= OBJECTS {
                self.untold += 1;
                return;
            }
        }
        let object = self.objects.entry(key).or_insert_with(|| Turns {
            from: begun,
            state: old,
            turns: VecDeque::new(),
        });
        if object.turns.len() >= TURNS {
            object.drop_first();
        }
        // Unix seconds fit until 2106.
        object
            .turns
            .push_back((u32::try_from(at).unwrap_or(u32::MAX), new));
    }

    /// Forgets what is older than the window at `now`.
    fn forget(&mut self, now: u64) {
        let start = now.saturating_sub(WINDOW);
        self.objects.retain(|_, object| {
            while object
                .turns
                .front()
                .is_some_and(|(at, _)| u64::from(*at) < start)
            {
                object.drop_first();
            }
            !object.turns.is_empty()
        });
    }

    /// The strips of the objects that `is_wanted`, in the 24 hours before `now`, and the number of
    /// changes of objects that found no room.
    pub(super) fn strips(
        &mut self,
        now: u64,
        is_wanted: impl Fn(&HistoryKey) -> bool,
    ) -> (Vec<Strip>, u64) {
        self.forget(now);
        let mut strips = Vec::new();
        for (key, object) in &self.objects {
            if is_wanted(key) {
                strips.push(Strip {
                    key: key.clone(),
                    intervals: object.intervals(now),
                });
            }
        }
        (strips, self.untold)
    }
}

impl Turns {
    fn drop_first(&mut self) {
        if let Some((at, state)) = self.turns.pop_front() {
            (self.from, self.state) = (at.into(), state);
        }
    }

    fn intervals(&self, now: u64) -> Vec<Interval> {
        let mut intervals = Vec::with_capacity(self.turns.len() + 1);
        let mut from = self.from.max(now.saturating_sub(WINDOW));
        let mut state = self.state;
        let end = (u32::try_from(now).unwrap_or(u32::MAX), u8::MAX);
        for (at, next) in self.turns.iter().chain([&end]) {
            // The wall clock may be set back: what lies behind then has no length.
            let to = u64::from(*at).clamp(from, now.max(from));
            if to > from {
                let state = STATES[usize::from(state)];
                intervals.push(Interval { from, to, state });
            }
            (from, state) = (to, *next);
        }
        intervals
    }
}

impl HistoryKey {
    fn of(keys: &Keys) -> HistoryKey {
        let is_pool = keys.kind == "pool";
        let of = |text: &Option<String>, is_wanted: bool| {
            let text = text.as_deref().filter(|_| is_wanted);
            text.unwrap_or_default().into()
        };
        HistoryKey {
            service: of(&keys.service, is_pool),
            region: of(&keys.region, is_pool),
            endpoint: of(&keys.endpoint, !is_pool),
            check: of(&keys.check, !is_pool),
            family: keys.family,
        }
    }
}

/// The number of a state; `None` of others, which are none of health.
fn number(state: Option<&str>) -> Option<u8> {
    let place = STATES.iter().position(|own| Some(*own) == state)?;
    u8::try_from(place).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::changes::{Event, PoolChange, PoolEvent, PoolState};
    use crate::steer::Rung;

    fn keys(service: usize, old: Rung, new: Rung) -> Keys {
        let state = |rung| PoolState {
            rung,
            held: false,
            drained: false,
        };
        let event = Event::Pool(PoolChange {
            service: format!("s{service}.example."),
            region: "dublin".to_owned(),
            change: PoolEvent::Availability {
                family: Family::V4,
                old: state(old),
                new: state(new),
            },
        });
        event.keys()
    }

    #[test]
    fn a_strip_has_the_states_one_after_the_other() {
        let mut history = History::default();
        history.record(&keys(0, Rung::Up, Rung::Survivors), 1_000_000);
        history.record(&keys(1, Rung::Up, Rung::AsIfUp), 1_000_100);
        history.record(&keys(1, Rung::AsIfUp, Rung::Up), 1_000_160);
        let (strips, untold) = history.strips(1_000_200, |key| &*key.service == "s1.example.");
        let interval = |from, to, state| Interval { from, to, state };
        assert_eq!(untold, 0);
        assert_eq!(
            strips[0].intervals,
            [
                interval(1_000_000, 1_000_100, "up"),
                interval(1_000_100, 1_000_160, "down"),
                interval(1_000_160, 1_000_200, "up"),
            ]
        );
        // A day later nothing of it is left.
        assert!(history.strips(1_000_161 + WINDOW, |_| true).0.is_empty());
    }

    #[test]
    fn memory_is_bounded_whatever_flaps() {
        let mut history = History::default();
        for turn in 0..100_u64 {
            let (old, new) = match turn % 2 {
                0 => (Rung::Up, Rung::AsIfUp),
                _ => (Rung::AsIfUp, Rung::Up),
            };
            history.record(&keys(0, old, new), 1_000_000 + turn);
        }
        let (strips, _) = history.strips(1_000_200, |_| true);
        assert_eq!(strips[0].intervals.len(), TURNS + 1);
        assert_eq!(strips[0].intervals[0].from, 1_000_067);
        for service in 1..OBJECTS + 7 {
            history.record(&keys(service, Rung::Up, Rung::AsIfUp), 1_000_100);
        }
        assert_eq!((history.objects.len(), history.untold), (OBJECTS, 7));
    }

    proptest! {
        /// Intervals join, lie in the window and end now, wherever the wall clock is set.
        #[test]
        fn intervals_have_no_gap(
            steps in prop::collection::vec((0u64..200_000, 0usize..8), 1..80),
            later in 0u64..100_000,
        ) {
            let (mut history, mut rung, mut last) = (History::default(), Rung::Up, 0);
            for (at, index) in steps {
                let new = Rung::ALL[index];
                history.record(&keys(0, rung, new), 1_000_000 + at);
                (rung, last) = (new, last.max(1_000_000 + at));
            }
            let now = last + later;
            for strip in history.strips(now, |_| true).0 {
                prop_assert!(strip.intervals.first().is_none_or(|own| own.from + WINDOW >= now));
                prop_assert!(strip.intervals.last().is_none_or(|own| own.to == now));
                for pair in strip.intervals.windows(2) {
                    prop_assert_eq!(pair[0].to, pair[1].from);
                }
            }
        }
    }
}
