//! The ownership of one unit, on its way from owner to owner.
//!
//! ```text
//!          a move, a takeover            the fence is over
//!  Owned ─────────────────────► Fenced ────────────────────► Owned, its epoch one higher
//!    each arrow: wanted ─► written ─► durable, and only then answered
//! ```
//! Answers follow from what is durable, never from what is wanted: a crash in between leaves the
//! state that was answered. A fence begins when every thread has left the last snapshot with an
//! owner, and lasts the longest TTL that was answered, and the grace, so that no resolver holds the
//! last owner when the next one is answered. A process that starts with a fence on the disk begins
//! it anew, since it cannot know how long the one before it waited.

use std::time::Duration;

use super::{Cause, RegionHealth, UnitRecord, UnitRules};
use crate::dns::Ttl;
use crate::model::{Moment, Takeover};
use crate::steer::{OwnerState, UnitState};

/// A change that is to become durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The record after it.
    pub record: UnitRecord,
    /// Its cause.
    pub cause: Cause,
    /// The write that has it, once that has begun.
    pub write: Option<u64>,
}

/// A time without an owner in the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Vacancy {
    /// The first publication without the owner, once there is one.
    publication: Option<u64>,
    /// The moment since which no thread answers from one before.
    since: Option<Moment>,
}

/// The owner that this process answered last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answered {
    owner: String,
    epoch: u64,
    ttl: Ttl,
}

/// The state of one unit.
#[derive(Debug, Clone, Default)]
pub struct Ownership {
    /// The durable record.
    record: Option<UnitRecord>,
    wanted: Option<Wanted>,
    vacancy: Option<Vacancy>,
    answered: Option<Answered>,
    /// The longest TTL of the files while there was no record: an owner before may have been answered
    /// with it.
    unknown_ttl: Option<Ttl>,
    /// Its owner is down, and there is no other.
    stranded: bool,
}

impl Ownership {
    /// The ownership with a durable record.
    pub fn new(record: Option<UnitRecord>) -> Ownership {
        Ownership {
            record,
            ..Ownership::default()
        }
    }

    /// The durable record.
    pub fn record(&self) -> Option<&UnitRecord> {
        self.record.as_ref()
    }

    /// The change that is to become durable.
    pub fn wanted(&self) -> Option<&Wanted> {
        self.wanted.as_ref()
    }

    /// The record that a write which begins now is to have.
    pub fn to_write(&self) -> Option<&UnitRecord> {
        self.wanted
            .as_ref()
            .map(|wanted| &wanted.record)
            .or(self.record.as_ref())
    }

    /// Adopts the record of another directory; a change that was wanted in the one before is dropped.
    pub fn adopt(&mut self, record: Option<UnitRecord>) {
        // What was answered stays in memory: whatever the other directory says, no second owner
        // comes within a fence.
        (self.record, self.wanted) = (record, None);
    }

    /// Asks for `record` to be written next. A change that is asked for already comes first, and
    /// nothing happens then.
    pub fn ask(&mut self, record: UnitRecord, cause: Cause) {
        self.wanted.get_or_insert(Wanted {
            record,
            cause,
            write: None,
        });
    }

    /// Notes that write `id` has begun, and has the change that is asked for.
    pub fn write_begins(&mut self, id: u64) {
        if let Some(wanted) = &mut self.wanted {
            wanted.write = Some(id);
        }
    }

    /// Takes in the end of write `id`; the change that is durable now, and the record before it.
    pub fn write_ended(&mut self, id: u64, written: bool) -> Option<(Wanted, Option<UnitRecord>)> {
        let wanted = self.wanted.take_if(|wanted| wanted.write == Some(id))?;
        // A write that failed may be durable all the same. The record stays what it was: it is what
        // was answered, and the change is asked for anew if its cause still holds.
        written.then(|| {
            let before = self.record.replace(wanted.record.clone());
            (wanted, before)
        })
    }

    /// Decides who may be answered at `now`. The decision is to be in the next snapshot.
    pub fn settle(&mut self, rules: &UnitRules<'_>, now: Moment) -> UnitState {
        let state = self.state(rules, now);
        if self.record.is_none() {
            // A process before this one may have answered an owner under any of the files since.
            self.unknown_ttl = self.unknown_ttl.max(Some(rules.ttl()));
        }
        match (&state.owner, &self.record) {
            (OwnerState::Owner(_), Some(UnitRecord::Owned { owner, epoch, ttl })) => {
                self.vacancy = None;
                // While the owner stays, a TTL that was lowered still counts: resolvers have it.
                let before = self
                    .answered
                    .take()
                    .filter(|before| before.epoch == *epoch && before.owner == *owner);
                let ttl = before.map_or(*ttl, |before| before.ttl.max(*ttl));
                self.answered = Some(Answered {
                    owner: owner.clone(),
                    epoch: *epoch,
                    ttl,
                });
            }
            _ => {
                // The fence counts from the first publication without an owner, however often the
                // plan is compiled meanwhile.
                self.vacancy.get_or_insert(Vacancy {
                    publication: None,
                    since: None,
                });
            }
        }
        state
    }

    fn state(&self, rules: &UnitRules<'_>, now: Moment) -> UnitState {
        let until = self.due(rules);
        let (owner, epoch) = match &self.record {
            None => {
                let answered = self.answered.as_ref();
                let epoch = answered.map_or(0, |answered| answered.epoch);
                (OwnerState::Unknown, epoch)
            }
            Some(UnitRecord::Owned { owner, epoch, ttl }) => match rules.region(owner) {
                None => (OwnerState::Gone(owner.clone()), *epoch),
                Some(region) if self.may_follow(owner, *epoch, rules, now) => {
                    // Answers never outlive what a fence after a crash would wait for, so the
                    // recorded TTL bounds that of the files.
                    return UnitState {
                        owner: OwnerState::Owner(region),
                        epoch: *epoch,
                        max_ttl: Some(*ttl),
                    };
                }
                // The epoch in the answers is that of the last owner until the new one is answered.
                Some(next) => (OwnerState::Fenced { until, next }, epoch.saturating_sub(1)),
            },
            Some(UnitRecord::Fenced { next, epoch, .. }) => match rules.region(next) {
                None => (OwnerState::Gone(next.clone()), *epoch),
                Some(next) => (OwnerState::Fenced { until, next }, *epoch),
            },
        };
        UnitState {
            owner,
            epoch,
            max_ttl: None,
        }
    }

    /// True where `owner` may be answered after the owner that this process answered last: the same,
    /// or another after a whole fence and in a higher epoch. Only another state directory, or a
    /// change of the disk's content behind our back, makes it false.
    fn may_follow(&self, owner: &str, epoch: u64, rules: &UnitRules<'_>, now: Moment) -> bool {
        let Some(answered) = &self.answered else {
            return true;
        };
        if answered.owner == owner {
            return epoch >= answered.epoch;
        }
        let since = self.vacancy.and_then(|vacancy| vacancy.since);
        let is_fence_over = since.is_some_and(|since| since + self.fence(rules) <= now);
        epoch > answered.epoch && is_fence_over
    }

    /// The length of a fence.
    fn fence(&self, rules: &UnitRules<'_>) -> Duration {
        let recorded = match &self.record {
            Some(UnitRecord::Fenced { ttl, .. }) => Some(*ttl),
            _ => None,
        };
        // Resolvers may hold an answer for the longest TTL that was ever given with this owner, be it
        // by this process or by one before it.
        let longest = recorded.max(self.answered.as_ref().map(|answered| answered.ttl));
        Duration::from_secs(longest.map_or(0, Ttl::secs).into()) + rules.grace()
    }

    /// The end of the fence; `None` while its beginning is not certain, and where there is none.
    pub fn due(&self, rules: &UnitRules<'_>) -> Option<Moment> {
        // Without a record there is no next owner, and so nothing that a fence could end with.
        self.record.as_ref()?;
        Some(self.vacancy?.since? + self.fence(rules))
    }

    /// True while some thread may still answer the last owner.
    pub fn awaits_seen_by_all(&self) -> bool {
        self.vacancy.is_some_and(|vacancy| vacancy.since.is_none())
    }

    /// Notes that the last decision of [`Ownership::settle`] is in this publication.
    pub fn published(&mut self, publication: u64) {
        if let Some(vacancy) = &mut self.vacancy {
            // The first one counts: those after it are without the owner as well.
            vacancy.publication.get_or_insert(publication);
        }
    }

    /// Notes that since `now` every thread answers from this publication or a later one; true where
    /// that begins a time without an owner.
    pub fn seen_by_all(&mut self, publication: u64, now: Moment) -> bool {
        match &mut self.vacancy {
            Some(Vacancy {
                publication: Some(first),
                since: since @ None,
            }) if *first <= publication => {
                *since = Some(now);
                true
            }
            _ => false,
        }
    }

    /// True where its owner is down, and no other region is up and ready.
    pub fn is_stranded(&self) -> bool {
        self.stranded
    }

    /// Asks for what is due at `now`: a takeover, the end of a fence, a longer TTL.
    pub fn step(&mut self, rules: &UnitRules<'_>, health: &RegionHealth<'_>, now: Moment) {
        // One change at a time: what is being written decides what is due after it.
        if self.wanted.is_some() {
            return;
        }
        // A node that may be blind itself takes nothing over; what an operator asks for goes on.
        let is_auto = rules.takeover() == Takeover::Auto && health.is_settled();
        match self.record.clone() {
            Some(UnitRecord::Owned { owner, epoch, ttl }) => {
                self.step_owned(owner, epoch, ttl, is_auto, rules, health);
            }
            Some(UnitRecord::Fenced { next, epoch, .. })
                if self.due(rules).is_some_and(|due| due <= now) =>
            {
                self.end_fence(next, epoch, is_auto, rules, health);
            }
            Some(UnitRecord::Fenced { .. }) | None => {}
        }
    }

    fn step_owned(
        &mut self,
        owner: String,
        epoch: u64,
        ttl: Ttl,
        is_auto: bool,
        rules: &UnitRules<'_>,
        health: &RegionHealth<'_>,
    ) {
        let is_gone = rules.region(&owner).is_none();
        let is_lost = is_auto && (is_gone || !health.is_up(&owner));
        // The candidates are looked at for a lost owner only: that costs every check of every pool.
        let mut next = None;
        if is_lost {
            let ready = health.ready();
            next = ready.into_iter().find(|region| *region != owner);
        }
        self.stranded = is_lost && next.is_none();
        if let Some(next) = next {
            let cause = if is_gone {
                Cause::Gone(owner.clone())
            } else {
                Cause::Down(owner.clone())
            };
            let next = next.to_owned();
            let last = Some(owner);
            self.ask(
                UnitRecord::Fenced {
                    last,
                    next,
                    epoch,
                    ttl,
                },
                cause,
            );
        } else if rules.ttl() > ttl {
            // Until it is durable, answers keep the shorter TTL: a process that starts after a crash
            // fences for as long as the record says.
            let ttl = rules.ttl();
            self.ask(UnitRecord::Owned { owner, epoch, ttl }, Cause::LongerTtl);
        }
    }

    fn end_fence(
        &mut self,
        next: String,
        epoch: u64,
        is_auto: bool,
        rules: &UnitRules<'_>,
        health: &RegionHealth<'_>,
    ) {
        let mut owner = next.clone();
        let mut cause = Cause::FenceOver;
        if is_auto {
            let ready = health.ready();
            // The next owner may have failed during the fence. Without any other that is ready it
            // still gets the unit: a unit without an owner serves nobody.
            if let Some(other) = ready.first().filter(|_| !ready.contains(&next.as_str())) {
                owner = (*other).to_owned();
                cause = Cause::NotReady(next);
            }
        }
        // An owner without a pool would serve nobody: the fence stays until an operator names
        // another.
        if rules.region(&owner).is_some() {
            let record = UnitRecord::Owned {
                owner,
                // Epochs begin below 2⁵³, and each takes a fence of seconds: none ever wraps.
                epoch: epoch + 1,
                // The longest TTL is counted anew for each owner, and this one was answered with
                // none yet.
                ttl: rules.ttl(),
            };
            self.ask(record, cause);
        }
    }

    /// The record after an operator named the first owner, in `epoch`, at least 1; `ttl` is that of
    /// the files.
    pub fn begun(&self, owner: String, epoch: u64, ttl: Ttl) -> UnitRecord {
        UnitRecord::Fenced {
            last: None,
            next: owner,
            epoch: epoch.saturating_sub(1),
            ttl: self.unknown_ttl.map_or(ttl, |longest| longest.max(ttl)),
        }
    }

    /// The record after an operator named the next owner; `None` where there is no record.
    pub fn moved(&self, next: &str) -> Option<UnitRecord> {
        let next = next.to_owned();
        Some(match self.record.clone()? {
            UnitRecord::Owned { owner, epoch, ttl } => UnitRecord::Fenced {
                last: Some(owner),
                next,
                epoch,
                ttl,
            },
            UnitRecord::Fenced {
                last, epoch, ttl, ..
            } => UnitRecord::Fenced {
                last,
                next,
                epoch,
                ttl,
            },
        })
    }
}
