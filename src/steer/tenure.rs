//! One unit on its way from owner to owner.
//!
//! ```text
//!          a move, a takeover            the fence is over
//!  Owned ─────────────────────► Fenced ────────────────────► Owned, its epoch one higher
//!    each arrow: asked for ─► written ─► on the disk, and only then answered
//! ```
//! What is answered follows from what is on the disk, never from what is asked for. A fence begins when every thread
//! has left the last snapshot with an owner, and lasts the longest TTL that was answered, and the grace: a process
//! that begins with a fence on the disk begins it anew. Regions are kept by name, for files change.

use std::fmt;
use std::time::Duration;

use super::unit::{Holder, Holding};
use crate::dns::Ttl;
use crate::model::{Moment, RegionId, Takeover};

/// What is kept of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitRecord {
    /// A region owns it.
    Owned {
        /// The region's name.
        owner: String,
        /// How many owners there were, with this one.
        epoch: u64,
        /// The longest TTL in force since it became the owner.
        ttl: Ttl,
    },
    /// Nobody does, between two owners.
    Fenced {
        /// The last owner's name; `None` before the first.
        last: Option<String>,
        /// The next owner's name.
        next: String,
        /// The epoch of the last owner; the next one's is one higher.
        epoch: u64,
        /// The longest TTL in force while the last owner was it.
        ttl: Ttl,
    },
}

/// The highest epoch that is taken from a file or from an operator: every JSON reader can tell it from its neighbours.
pub const MAX_EPOCH: u64 = (1 << 53) - 1;

impl UnitRecord {
    /// The epoch of the owner, or of the last one.
    pub fn epoch(&self) -> u64 {
        match self {
            UnitRecord::Owned { epoch, .. } | UnitRecord::Fenced { epoch, .. } => *epoch,
        }
    }
}

/// What the files say of a unit.
#[derive(Clone, Copy)]
pub struct Terms<'t> {
    /// The TTL of its answers.
    pub ttl: Ttl,
    /// How long a fence lasts beyond the longest TTL.
    pub grace: Duration,
    /// Who decides that it moves when its owner is down.
    pub takeover: Takeover,
    /// The region of a name, where the unit has a pool in it.
    pub region: &'t dyn Fn(&str) -> Option<RegionId>,
}

/// What health says of a unit's regions.
#[derive(Clone, Copy)]
pub struct Scene<'s> {
    /// A unit may be taken over: our own network works, and the first round is over.
    pub settled: bool,
    /// Whether the pool in the region of a name is up.
    pub is_up: &'s dyn Fn(&str) -> bool,
    /// The regions that are up and ready to become the owner, best first.
    pub ready: &'s dyn Fn() -> Vec<String>,
}

/// Why a change was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// The owner stays, and the files have a longer TTL now.
    Kept,
    /// The fence is over.
    FenceOver,
    /// The fence is over, and another region is ready instead of the one that was to be the owner.
    NotReady(String),
    /// The owner is down.
    Down(String),
    /// The owner has no pool any more.
    Gone(String),
    /// An operator moved it; by force where something spoke against it.
    Operator(Option<String>),
    /// An operator began its state.
    Begun,
}

/// A change that is to be on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What is to be there.
    pub record: UnitRecord,
    /// Why.
    pub because: Because,
    /// The write that brings it there, once it has begun.
    pub write: Option<u64>,
}

/// A time without an owner in the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Vacancy {
    /// The first publication without the owner, once there is one.
    publication: Option<u64>,
    /// Since when no thread answers from one before.
    since: Option<Moment>,
}

/// Whom this process answered last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answered {
    owner: String,
    epoch: u64,
    ttl: Ttl,
}

/// One unit's state.
#[derive(Debug, Clone, Default)]
pub struct Tenure {
    /// What is on the disk.
    record: Option<UnitRecord>,
    wanted: Option<Wanted>,
    vacancy: Option<Vacancy>,
    answered: Option<Answered>,
    /// The longest TTL of the files while nothing was known: the owner before may have been answered with it.
    unknown_ttl: Option<Ttl>,
    /// Its owner is down, and there is no other.
    stranded: bool,
}

impl Tenure {
    /// With what is on the disk.
    pub fn new(record: Option<UnitRecord>) -> Tenure {
        Tenure {
            record,
            ..Tenure::default()
        }
    }

    /// What is on the disk.
    pub fn record(&self) -> Option<&UnitRecord> {
        self.record.as_ref()
    }

    /// What is to be on the disk.
    pub fn wanted(&self) -> Option<&Wanted> {
        self.wanted.as_ref()
    }

    /// What a write that begins now is to contain.
    pub fn to_keep(&self) -> Option<&UnitRecord> {
        self.wanted
            .as_ref()
            .map(|wanted| &wanted.record)
            .or(self.record.as_ref())
    }

    /// Takes up what another disk has; nothing that was asked of the one before counts any more.
    pub fn take_up(&mut self, record: Option<UnitRecord>) {
        (self.record, self.wanted) = (record, None);
    }

    /// Has `record` written next; a change that is asked for already comes first, and nothing happens then.
    pub fn ask(&mut self, record: UnitRecord, because: Because) {
        self.wanted.get_or_insert(Wanted {
            record,
            because,
            write: None,
        });
    }

    /// Write `id` begins, and contains what is asked for.
    pub fn write_begins(&mut self, id: u64) {
        if let Some(wanted) = &mut self.wanted {
            wanted.write = Some(id);
        }
    }

    /// Write `id` has ended; the change that is on the disk now, and what was there before.
    pub fn write_ended(&mut self, id: u64, written: bool) -> Option<(Wanted, Option<UnitRecord>)> {
        let wanted = self.wanted.take_if(|wanted| wanted.write == Some(id))?;
        written.then(|| {
            let before = self.record.replace(wanted.record.clone());
            (wanted, before)
        })
    }

    /// Who may be answered at `now`. What this says is to be in the next snapshot.
    pub fn settle(&mut self, terms: &Terms<'_>, now: Moment) -> Holding {
        let holding = self.holding(terms, now);
        if self.record.is_none() {
            self.unknown_ttl = self.unknown_ttl.max(Some(terms.ttl));
        }
        match (&holding.holder, &self.record) {
            (Holder::Owner(_), Some(UnitRecord::Owned { owner, epoch, ttl })) => {
                self.vacancy = None;
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
                self.vacancy.get_or_insert(Vacancy {
                    publication: None,
                    since: None,
                });
            }
        }
        holding
    }

    fn holding(&self, terms: &Terms<'_>, now: Moment) -> Holding {
        let none = |holder, epoch| Holding {
            holder,
            epoch,
            max_ttl: None,
        };
        match &self.record {
            None => none(
                Holder::Unknown,
                self.answered.as_ref().map_or(0, |answered| answered.epoch),
            ),
            Some(UnitRecord::Owned { owner, epoch, ttl }) => match (terms.region)(owner) {
                None => none(Holder::Gone(owner.clone()), *epoch),
                Some(region) if self.may_follow(owner, *epoch, terms, now) => Holding {
                    holder: Holder::Owner(region),
                    epoch: *epoch,
                    max_ttl: Some(*ttl),
                },
                Some(next) => none(
                    Holder::Fenced {
                        until: self.due(terms),
                        next,
                    },
                    epoch.saturating_sub(1),
                ),
            },
            Some(UnitRecord::Fenced { next, epoch, .. }) => match (terms.region)(next) {
                None => none(Holder::Gone(next.clone()), *epoch),
                Some(next) => none(
                    Holder::Fenced {
                        until: self.due(terms),
                        next,
                    },
                    *epoch,
                ),
            },
        }
    }

    /// Whether `owner` may be answered after whom this process answered last: the same, or another after a whole fence and
    /// in a higher epoch. Only a change of the state directory or of the disk's content behind our back brings it to a no.
    fn may_follow(&self, owner: &str, epoch: u64, terms: &Terms<'_>, now: Moment) -> bool {
        let Some(answered) = &self.answered else {
            return true;
        };
        let fenced = || {
            self.vacancy
                .and_then(|vacancy| vacancy.since)
                .is_some_and(|since| since + self.fence(terms) <= now)
        };
        if answered.owner == owner {
            epoch >= answered.epoch
        } else {
            epoch > answered.epoch && fenced()
        }
    }

    /// How long a fence lasts.
    fn fence(&self, terms: &Terms<'_>) -> Duration {
        let kept = match &self.record {
            Some(UnitRecord::Fenced { ttl, .. }) => Some(*ttl),
            _ => None,
        };
        let ttl = kept
            .max(self.answered.as_ref().map(|answered| answered.ttl))
            .map_or(0, Ttl::secs);
        Duration::from_secs(ttl.into()) + terms.grace
    }

    /// When the fence ends; `None` while its beginning is not certain, and where there is none.
    pub fn due(&self, terms: &Terms<'_>) -> Option<Moment> {
        self.record.as_ref()?;
        Some(self.vacancy?.since? + self.fence(terms))
    }

    /// True while it is not known that every thread has left the last owner.
    pub fn awaits_in_force(&self) -> bool {
        self.vacancy.is_some_and(|vacancy| vacancy.since.is_none())
    }

    /// What [`Tenure::settle`] said last is in this publication.
    pub fn published(&mut self, publication: u64) {
        if let Some(vacancy) = &mut self.vacancy {
            vacancy.publication.get_or_insert(publication);
        }
    }

    /// Since `now` every thread answers from this publication or a later one; true where that begins a time without an owner.
    pub fn in_force(&mut self, publication: u64, now: Moment) -> bool {
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

    /// Its owner is down, and no other region is up and ready.
    pub fn is_stranded(&self) -> bool {
        self.stranded
    }

    /// Asks for what is due at `now`: a takeover, the end of a fence, a longer TTL.
    pub fn step(&mut self, terms: &Terms<'_>, scene: &Scene<'_>, now: Moment) {
        if self.wanted.is_some() {
            return;
        }
        let auto = terms.takeover == Takeover::Auto && scene.settled;
        match &self.record {
            None => {}
            Some(UnitRecord::Owned { owner, epoch, ttl }) => {
                let gone = (terms.region)(owner).is_none();
                let lost = auto && (gone || !(scene.is_up)(owner));
                let next = if lost {
                    (scene.ready)().into_iter().find(|region| region != owner)
                } else {
                    None
                };
                self.stranded = lost && next.is_none();
                let (epoch, ttl, owner) = (*epoch, *ttl, owner.clone());
                if let Some(next) = next {
                    let because = if gone {
                        Because::Gone(owner.clone())
                    } else {
                        Because::Down(owner.clone())
                    };
                    self.ask(
                        UnitRecord::Fenced {
                            last: Some(owner),
                            next,
                            epoch,
                            ttl,
                        },
                        because,
                    );
                } else if terms.ttl > ttl {
                    self.ask(
                        UnitRecord::Owned {
                            owner,
                            epoch,
                            ttl: terms.ttl,
                        },
                        Because::Kept,
                    );
                }
            }
            Some(UnitRecord::Fenced { next, epoch, .. })
                if self.due(terms).is_some_and(|due| due <= now) =>
            {
                let ready = if auto { (scene.ready)() } else { Vec::new() };
                let other = ready.first().filter(|_| !ready.contains(next)).cloned();
                let because = other
                    .as_ref()
                    .map_or(Because::FenceOver, |_| Because::NotReady(next.clone()));
                let owner = other.unwrap_or_else(|| next.clone());
                if (terms.region)(&owner).is_some() {
                    let record = UnitRecord::Owned {
                        owner,
                        epoch: epoch + 1,
                        ttl: terms.ttl,
                    };
                    self.ask(record, because);
                }
            }
            Some(UnitRecord::Fenced { .. }) => {}
        }
    }

    /// The state after an operator's word that `owner` is to be the first one, in `epoch`, at least 1; `ttl` is that of the files.
    pub fn begun(&self, owner: String, epoch: u64, ttl: Ttl) -> UnitRecord {
        let ttl = self.unknown_ttl.map_or(ttl, |longest| longest.max(ttl));
        UnitRecord::Fenced {
            last: None,
            next: owner,
            epoch: epoch.saturating_sub(1),
            ttl,
        }
    }

    /// The state after an operator's word that `next` is to be the owner; `None` where nothing is known of the last one.
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

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Because::Kept => f.write_str("its ttl is longer now"),
            Because::FenceOver => f.write_str("the fence is over"),
            Because::NotReady(region) => {
                write!(f, "the fence is over, and {region} is not ready any more")
            }
            Because::Down(region) => write!(f, "{region} is down or drained"),
            Because::Gone(region) => write!(f, "{region} has no pool any more"),
            Because::Operator(None) => f.write_str("an operator moved it"),
            Because::Operator(Some(objection)) => {
                write!(f, "an operator moved it by force, although {objection}")
            }
            Because::Begun => f.write_str("an operator initialised it"),
        }
    }
}
