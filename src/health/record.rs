//! Records of health that outlive the process.
//!
//! | in the history | younger than [`FRESH`] | older |
//! |---|---|---|
//! | up | up, in doubt if it was | not known: the first round finds out |
//! | down | down, and needs `rise` passes | the same |
//!
//! Failures and passes that were counted are not kept. So the first lost probe after a restart never
//! takes anything down that takes more than one, and what is down passes all of its `rise` again.

use std::cmp::Reverse;
use std::time::Duration;

use super::carry::Carry;
use super::combine::State;
use super::entry::Entry;
use super::flap::Flap;
use super::load::AverageLoad;
use super::table::Health;
use super::tracker::Tracker;
use crate::model::{Moment, TargetId};

/// The age up to which history is answered from; what is older is probed first.
pub const FRESH: Duration = Duration::from_secs(600);

/// The persistent state of one target; its times are ages, at the time the record was made.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    /// The published state.
    pub up: bool,
    /// The same.
    pub settled: bool,
    /// Some probe of it was judged.
    pub judged: bool,
    /// The time since it last went up or down; `None` where it never did.
    pub changed: Option<Duration>,
    /// The age of each change that counts for flapping, oldest first.
    pub changes: Vec<Duration>,
    /// For how long it is still held down as flapping.
    pub hold: Option<Duration>,
    /// Its average load.
    pub load: Option<f64>,
}

impl Health {
    /// A record of every target, in their order.
    pub fn records(&self, now: Moment) -> Vec<Record> {
        self.entries.iter().map(|entry| entry.record(now)).collect()
    }

    /// Takes over `records`, made `age` ago, as `carry` says (see [`super::match_targets`]). To be
    /// called before any outcome. Returns the targets whose health is not known from them, in order.
    pub fn restore(
        &mut self,
        records: &[Record],
        carry: &[Carry],
        age: Duration,
        now: Moment,
    ) -> Vec<TargetId> {
        let mut unknown = Vec::new();
        for (index, carry) in carry.iter().enumerate().take(self.entries.len()) {
            let target = TargetId::from_index(index);
            let (record, same) = match carry {
                Carry::New => (None, false),
                Carry::Same(from) => (records.get(from.index()), true),
                Carry::Changed(from) => (records.get(from.index()), false),
            };
            let known = record.is_some() && age < FRESH;
            if !known {
                unknown.push(target);
            }
            // A "down" of any age is believed, an old "up" is not: a restart must never bring a
            // region that is down back up.
            if let Some(record) = record.filter(|record| known || !record.up) {
                self.entries[index].restore(record, same, age, now);
                self.watch(target);
            }
        }
        unknown
    }

    /// Looks at a restored target again when its doubt or hold may be over.
    fn watch(&mut self, target: TargetId) {
        let entry = &self.entries[target.index()];
        if let Some(until) = entry.flap.hold() {
            self.flapping.push(target);
            self.settling.push(Reverse((until, target)));
        }
        if let Some(since) = entry.tracker.since().filter(|_| !entry.state.settled) {
            self.settling
                .push(Reverse((since + entry.spec.interval, target)));
        }
    }
}

impl Entry {
    fn record(&self, now: Moment) -> Record {
        Record {
            up: self.state.up,
            settled: self.state.settled,
            judged: self.judged,
            changed: self.changed.map(|moment| now.since(moment)),
            changes: ages(self.flap.changes(), now),
            hold: self.flap.hold().map(|until| until.since(now)),
            load: self.load.average(),
        }
    }

    /// The verdict, and with the `same` check the rest too. A verdict in doubt stays so for an interval.
    fn restore(&mut self, record: &Record, same: bool, age: Duration, now: Moment) {
        self.restored = true;
        if same {
            self.judged = record.judged;
            self.changed = record.changed.map(|ago| moment(ago, age, now));
            // The rule may be a shorter one by now, and a file is not trusted with a hold that no
            // rule gives.
            let longest = self.spec.flap.map_or(Duration::ZERO, |rule| rule.hold);
            self.flap = Flap::restored(
                record
                    .changes
                    .iter()
                    .map(|ago| moment(*ago, age, now))
                    .collect(),
                record
                    .hold
                    .map(|left| now + left.min(longest).saturating_sub(age)),
                self.spec.flap,
                now,
            );
            self.load = AverageLoad::restored(record.load);
        }
        let up = record.up && self.flap.hold().is_none();
        // Counts do not survive: with them, one lost packet after a restart could take a region
        // down.
        self.tracker = Tracker::assumed(up);
        // `Tracker::is_settled` measures from the last transition, so doubt is given one.
        if !record.settled {
            self.tracker.stamp(now);
        }
        self.state = State {
            up,
            settled: self.is_settled(now),
        };
    }
}

/// The age of each of `moments` at `now`.
fn ages(moments: &[Moment], now: Moment) -> Vec<Duration> {
    moments.iter().map(|moment| now.since(*moment)).collect()
}

/// The moment that was `ago` before a record was made, which itself was made `age` before `now`.
fn moment(ago: Duration, age: Duration, now: Moment) -> Moment {
    now - age.saturating_add(ago)
}
