//! Incidents: an object goes bad, may get worse, and is good again.
//!
//! ```text
//!            worse                      good for `resolve_after`
//! (none) ───────────► open ─► good again ──────────────────────► resolved, (none)
//!                      ▲          │ worse: the same incident goes on
//!                      └──────────┘
//! ```
//! A destination hears of the beginning, of each level that was not reached before, and of the end:
//! an object that flaps is one incident. Pure: `now` is an argument.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::changes::Turn;
use crate::control::Recorded;
use crate::model::{Moment, Severity};

/// The most incidents that are open at once; those beyond are told of, and not remembered.
const MOST: usize = 20_000;

/// A change that a destination is to hear of.
#[derive(Debug, Clone)]
pub(super) struct Notice {
    /// Its place in an incident.
    pub(super) state: NoticeState,
    /// The key of the incident, the same from its beginning to its end; empty where there is none.
    pub(super) incident: String,
    /// The number of times that the object went bad again during the incident.
    pub(super) repeats: u32,
    /// The change.
    pub(super) change: Arc<Recorded>,
}

/// The place of a change in an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoticeState {
    /// It begins one.
    Open,
    /// The object is worse off than ever during the incident.
    Worse,
    /// The incident is over.
    Resolved,
    /// It has no part in any.
    Note,
}

impl NoticeState {
    /// Its name in messages.
    pub(super) fn as_label(self) -> &'static str {
        match self {
            NoticeState::Open => "open",
            NoticeState::Worse => "worse",
            NoticeState::Resolved => "resolved",
            NoticeState::Note => "note",
        }
    }
}

impl Notice {
    /// The weight for an operator: an incident's end weighs as much as its beginning.
    pub(super) fn severity(&self) -> Severity {
        match (self.state, self.change.turn) {
            (NoticeState::Open | NoticeState::Worse | NoticeState::Resolved, _) => {
                Severity::Warning
            }
            (NoticeState::Note, Some(turn)) if turn.is_meant => Severity::Info,
            (NoticeState::Note, _) => self.change.keys.severity,
        }
    }
}

/// The incidents that are open.
#[derive(Debug, Default)]
pub(super) struct Incidents {
    open: HashMap<String, Incident>,
    /// When those that are good again will be over.
    due: BTreeSet<(Moment, String)>,
}

#[derive(Debug)]
struct Incident {
    /// The level from which it began: that is good enough.
    from: u8,
    /// The worst level so far.
    worst: u8,
    repeats: u32,
    /// The moment at which it is over, and the change by which it got good.
    good: Option<(Moment, Arc<Recorded>)>,
}

impl Incidents {
    /// Takes in a change; an incident is over once its object was good for `resolve_after`.
    pub(super) fn take(
        &mut self,
        change: &Arc<Recorded>,
        now: Moment,
        resolve_after: Duration,
    ) -> Option<Notice> {
        let note = |state, incident, repeats| {
            Some(Notice {
                state,
                incident,
                repeats,
                change: change.clone(),
            })
        };
        let Some(turn) = change.turn else {
            return note(NoticeState::Note, String::new(), 0);
        };
        let key = key(change, turn);
        if let Some(incident) = self.open.get_mut(&key) {
            if turn.to <= incident.from {
                // A second good turn does not begin the wait anew.
                if incident.good.is_none() {
                    let end = now + resolve_after;
                    incident.good = Some((end, change.clone()));
                    self.due.insert((end, key));
                }
                return None;
            }
            if let Some((end, _)) = incident.good.take() {
                incident.repeats += 1;
                self.due.remove(&(end, key.clone()));
            }
            if turn.to <= incident.worst {
                return None;
            }
            incident.worst = turn.to;
            return note(NoticeState::Worse, key, incident.repeats);
        }
        if turn.is_meant {
            return note(NoticeState::Note, String::new(), 0);
        }
        if turn.to < turn.from {
            // It began before this process did, or before the files named this destination.
            return note(NoticeState::Resolved, key, 0);
        }
        if self.open.len() < MOST {
            let incident = Incident {
                from: turn.from,
                worst: turn.to,
                repeats: 0,
                good: None,
            };
            self.open.insert(key.clone(), incident);
        }
        note(NoticeState::Open, key, 0)
    }

    /// The incidents that are over at `now`.
    pub(super) fn take_over(&mut self, now: Moment) -> Vec<Notice> {
        let mut over = Vec::new();
        while self.next_end().is_some_and(|end| end <= now) {
            let Some((_, key)) = self.due.pop_first() else {
                break;
            };
            let Some(Incident {
                good: Some((_, change)),
                repeats,
                ..
            }) = self.open.remove(&key)
            else {
                continue;
            };
            over.push(Notice {
                state: NoticeState::Resolved,
                incident: key,
                repeats,
                change,
            });
        }
        over
    }

    /// The moment at which the next incident is over, if nothing happens until then.
    pub(super) fn next_end(&self) -> Option<Moment> {
        self.due.first().map(|(end, _)| *end)
    }
}

/// The key of what a turn is about. The region of an endpoint is left out: it may be in several, and
/// files may move it while it is down.
fn key(change: &Recorded, turn: Turn) -> String {
    let keys = &change.keys;
    let region = keys.region.as_deref().filter(|_| keys.kind == "pool");
    let mut key = keys.kind.to_owned();
    let parts = [
        keys.service.as_deref(),
        region,
        keys.endpoint.as_deref(),
        keys.check.as_deref(),
        keys.family.map(crate::model::Family::as_label),
        Some(turn.aspect),
    ];
    for part in parts.into_iter().flatten() {
        key.push('/');
        key.push_str(part);
    }
    key
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::changes::{Change, Event, PoolChange, PoolEvent, PoolState};
    use crate::control::{Events, Seen};
    use crate::model::{Family, WallTime};
    use crate::steer::Rung;

    const AFTER: Duration = Duration::from_secs(60);

    fn pool(old: Rung, new: Rung, drained: bool) -> Arc<Recorded> {
        let state = |rung| PoolState {
            rung,
            held: false,
            drained: drained && rung == Rung::Standby,
        };
        let change = Change {
            number: 1,
            event: Event::Pool(PoolChange {
                service: "www.gtm.example.".to_owned(),
                region: "dublin".to_owned(),
                change: PoolEvent::Availability {
                    family: Family::V4,
                    old: state(old),
                    new: state(new),
                },
            }),
        };
        let events = Arc::new(Events::default());
        let mut subscription = events.subscribe(None);
        let sentence = change.sentence(WallTime::default()).to_string();
        events.record(
            &[change],
            &[sentence],
            Moment::default(),
            WallTime::default(),
        );
        match subscription.try_next() {
            Some(Seen::Change(change)) => change,
            other => panic!("{other:?}"),
        }
    }

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    fn state(notice: Option<Notice>) -> Option<(NoticeState, u32)> {
        notice.map(|notice| (notice.state, notice.repeats))
    }

    #[test]
    fn an_object_that_flaps_is_one_incident() {
        let mut incidents = Incidents::default();
        let (up, some, down) = (Rung::Up, Rung::Survivors, Rung::AsIfUp);
        let mut take =
            |old, new, seconds| state(incidents.take(&pool(old, new, false), at(seconds), AFTER));
        assert_eq!(take(up, some, 0), Some((NoticeState::Open, 0)));
        assert_eq!(take(some, up, 10), None);
        assert_eq!(take(up, some, 20), None);
        assert_eq!(take(some, down, 21), Some((NoticeState::Worse, 1)));
        assert_eq!(take(down, some, 22), None);
        assert_eq!(take(some, up, 30), None);
        assert_eq!(incidents.next_end(), Some(at(90)));
        assert!(incidents.take_over(at(89)).is_empty());
        let over = incidents.take_over(at(90));
        assert_eq!(over.len(), 1);
        assert_eq!((over[0].state, over[0].repeats), (NoticeState::Resolved, 1));
        assert_eq!(
            over[0].incident,
            "pool/www.gtm.example./dublin/ipv4/availability"
        );
        assert!(incidents.open.is_empty() && incidents.next_end().is_none());
    }

    #[test]
    fn what_an_operator_means_is_no_incident() {
        let mut incidents = Incidents::default();
        let drains = pool(Rung::Up, Rung::Standby, true);
        let notice = incidents.take(&drains, at(0), AFTER).expect("a note");
        assert_eq!(
            (notice.state, notice.severity()),
            (NoticeState::Note, Severity::Info)
        );
        // It fails while it is drained, and is drained once more.
        let fails = pool(Rung::Standby, Rung::AsIfUp, true);
        let notice = incidents.take(&fails, at(1), AFTER);
        assert_eq!(state(notice), Some((NoticeState::Open, 0)));
        let again = pool(Rung::AsIfUp, Rung::Standby, true);
        assert!(incidents.take(&again, at(2), AFTER).is_none());
        assert_eq!(incidents.take_over(at(62)).len(), 1);
        // What began before this process is over as well.
        let up = pool(Rung::AsIfUp, Rung::Up, false);
        assert_eq!(
            state(incidents.take(&up, at(70), AFTER)),
            Some((NoticeState::Resolved, 0))
        );
    }

    proptest! {
        /// However it turns, each beginning has one end, and none comes before the object was good
        /// for so long.
        #[test]
        fn beginnings_and_ends_alternate(
            steps in prop::collection::vec((0usize..8, 1u64..100), 1..40)
        ) {
            let mut incidents = Incidents::default();
            let (mut now, mut rung, mut is_open, mut good_since) = (0, Rung::Up, false, None);
            for (index, waits) in steps {
                now += waits;
                for over in incidents.take_over(at(now)) {
                    prop_assert!(is_open && over.state == NoticeState::Resolved);
                    is_open = false;
                    prop_assert!(good_since.is_some_and(|since| now - since >= 60));
                }
                let new = Rung::ALL[index];
                if new == rung {
                    continue;
                }
                let notice = incidents.take(&pool(rung, new, false), at(now), AFTER);
                rung = new;
                match notice.map(|notice| notice.state) {
                    Some(NoticeState::Open) => {
                        prop_assert!(!is_open);
                        is_open = true;
                    }
                    Some(NoticeState::Worse) => prop_assert!(is_open),
                    Some(other) => prop_assert!(false, "{other:?}"),
                    None => prop_assert!(is_open),
                }
                good_since = match (rung, good_since) {
                    (Rung::Up, None) => Some(now),
                    (Rung::Up, since) => since,
                    _ => None,
                };
            }
            let ends = incidents.take_over(at(now + 60)).len();
            prop_assert_eq!(ends, usize::from(is_open && rung == Rung::Up));
        }
    }
}
