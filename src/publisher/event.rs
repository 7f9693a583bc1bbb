//! The inputs and outputs of the publisher.

use std::fmt;
use std::sync::Arc;

use super::Commit;
use crate::acme::{self, Challenge, ChallengeRequest, Subject, Value};
use crate::changes::{self, Change, override_sentence};
use crate::commit;
use crate::dataset::{Dataset, Snapshot};
use crate::health::{Early, Outcome, Report, Watch};
use crate::model::{RegionId, ServiceId, TargetId, WallTime};
use crate::overrides::{self, Found, OverrideRequest, Selector};
use crate::units::{self, UnitRecords};

/// An input of the publisher.
#[derive(Debug)]
pub enum Event {
    /// Something about the health of targets.
    Probe(ProbeEvent),
    /// Something about overrides.
    Override(OverrideEvent),
    /// Something about ACME challenges.
    Acme(AcmeEvent),
    /// Something about units.
    Unit(UnitEvent),
    /// New files were accepted.
    Reload {
        /// Their content.
        dataset: Arc<Dataset>,
        /// The outcomes of probes of its new targets, each probed to a verdict.
        first_round: Vec<(TargetId, Outcome)>,
    },
    /// An operator resumes a pool; nothing happens where it is not held.
    Resume {
        /// Its service.
        service: ServiceId,
        /// Its region.
        region: RegionId,
    },
    /// A write of documents has ended.
    Committed(commit::End),
    /// Something happened beside the loop, which is to be numbered with the other changes.
    Told(changes::Event),
    /// The wall clock was set: files with times of day are dated wrongly.
    ClockSet,
    /// Time has passed.
    Tick,
}

/// An input about the health of targets.
#[derive(Debug)]
pub enum ProbeEvent {
    /// A probe of the dataset of this generation has ended.
    Outcome {
        /// [`super::Publisher::generation`] when the probe was set up; outcomes of others are
        /// ignored.
        generation: u32,
        /// The target.
        target: TargetId,
        /// The outcome.
        outcome: Outcome,
    },
    /// An endpoint reports itself; a report about a target of another type than `push` is ignored.
    Report {
        /// The target, as [`crate::config::Config::push_target`] has it.
        target: TargetId,
        /// The report.
        report: Report,
    },
    /// The state of the connection that is held to a target.
    Watch {
        /// [`super::Publisher::generation`] when the watch was set up.
        generation: u32,
        /// The target.
        target: TargetId,
        /// The state of the connection.
        watch: Watch,
    },
    /// Every target has been probed to a verdict, or the time for that is over.
    FirstRoundEnded,
}

/// An input about overrides.
#[derive(Debug)]
pub enum OverrideEvent {
    /// A state directory was adopted: its overrides count from now on.
    Adopted(Found),
    /// An operator asks for an override; answered by [`Effect::Answer`].
    Request {
        /// The request's number.
        request: u64,
        /// The override.
        asked: OverrideRequest,
    },
    /// An operator releases overrides; answered by [`Effect::Answer`].
    Release {
        /// The request's number.
        request: u64,
        /// The overrides.
        what: Selector,
        /// True to release them although the pre-flight speaks against it.
        force: bool,
    },
    /// An operator continues after a loss of overrides; answered by [`Effect::Answer`].
    AcceptLoss {
        /// The request's number.
        request: u64,
    },
}

/// An input about ACME challenges.
#[derive(Debug)]
pub enum AcmeEvent {
    /// A state directory was adopted: its challenges count from now on. `None` where none were ever
    /// kept there.
    Adopted(Option<Vec<Challenge>>),
    /// An operator sets a challenge; answered by [`Effect::Answer`].
    Set {
        /// The request's number.
        request: u64,
        /// The challenge.
        asked: ChallengeRequest,
    },
    /// An operator clears challenges; answered by [`Effect::Answer`].
    Clear {
        /// The request's number.
        request: u64,
        /// The name.
        subject: Subject,
        /// The value; `None` for all of the name.
        value: Option<Value>,
        /// Whoever asks.
        by: String,
    },
}

/// An input about units.
#[derive(Debug)]
pub enum UnitEvent {
    /// A state directory was adopted, or there is none: its records count from now on.
    Adopted {
        /// Its records.
        records: UnitRecords,
        /// The reason why no unit may change hands.
        frozen: Option<String>,
    },
    /// An operator moves a unit to another region; answered by [`Effect::Answer`].
    Move {
        /// The request's number.
        request: u64,
        /// The unit, by an id of the dataset that is published.
        unit: ServiceId,
        /// The region that is to own it, likewise.
        region: RegionId,
        /// True to move it although something speaks against that.
        force: bool,
    },
    /// An operator gives units the owners that the files name; answered by [`Effect::Answer`].
    Begin {
        /// The request's number.
        request: u64,
        /// The units, by ids of the dataset that is published; those that have a record keep it.
        units: Vec<ServiceId>,
        /// Their epoch, at least 1.
        epoch: u64,
    },
    /// Every thread answers from this publication, or from a later one.
    SeenByAll {
        /// The number, as [`super::Publisher::publication`] counts them.
        publication: u64,
    },
}

impl From<ProbeEvent> for Event {
    fn from(event: ProbeEvent) -> Event {
        Event::Probe(event)
    }
}

impl From<OverrideEvent> for Event {
    fn from(event: OverrideEvent) -> Event {
        Event::Override(event)
    }
}

impl From<AcmeEvent> for Event {
    fn from(event: AcmeEvent) -> Event {
        Event::Acme(event)
    }
}

impl From<UnitEvent> for Event {
    fn from(event: UnitEvent) -> Event {
        Event::Unit(event)
    }
}

/// An output of the publisher, for the caller to carry out.
#[derive(Debug)]
pub enum Effect {
    /// Publish this snapshot.
    Publish(Arc<Snapshot>),
    /// Probe a target of the present dataset before its interval is over.
    ProbeEarly(Early),
    /// Log this change, and put it on the event stream.
    Changed(Change),
    /// Have this written, and report the end of it as [`Event::Committed`]. Writes of one
    /// collection are not to overtake one another.
    Commit(Commit),
    /// Answer an operator's request.
    Answer {
        /// The request's number.
        request: u64,
        /// The deed, or the reason for none.
        result: Result<Done, NotDone>,
    },
}

/// The deed that answers an operator's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// A deed in one sentence.
    Message(String),
    /// Events of the overrides.
    Overrides(Vec<overrides::Event>),
    /// Events of the ACME challenges; none where all was so already.
    Acme(Vec<acme::Event>),
}

impl Done {
    /// The sentences, a line each, with times as `wall` reads them.
    pub fn message(&self, wall: WallTime) -> String {
        match self {
            Done::Message(sentence) => sentence.clone(),
            Done::Overrides(events) => {
                let sentences = events.iter().map(|event| override_sentence(event, wall));
                sentences.collect::<Vec<_>>().join("\n")
            }
            Done::Acme(events) if events.is_empty() => "nothing to clear".to_owned(),
            Done::Acme(events) => {
                let sentences = events.iter().map(|event| event.sentence(wall));
                sentences.collect::<Vec<_>>().join("\n")
            }
        }
    }

    /// The numbers of the overrides that it is about.
    pub fn numbers(&self) -> Vec<u64> {
        let mut numbers = Vec::new();
        if let Done::Overrides(events) = self {
            for event in events {
                if let overrides::Event::Changed { own, .. } = event {
                    numbers.push(own.id);
                }
            }
        }
        numbers
    }
}

/// The reason why an operator's request is not heeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotDone {
    /// There is nothing of that name.
    NotFound(String),
    /// Something speaks against it.
    Refused(String),
    /// It could not be written.
    NotPersisted(String),
    /// It is being written, and how that ends is not known.
    NotKnown(String),
}

impl From<overrides::Rejected> for NotDone {
    fn from(rejected: overrides::Rejected) -> NotDone {
        match rejected {
            // From here on only the kind of a rejection counts, as a status of the API; its words
            // are made here, by the part that knows the reason.
            overrides::Rejected::NotFound(_) => NotDone::NotFound(rejected.to_string()),
            overrides::Rejected::NotWritten(failure) => NotDone::NotPersisted(failure.to_string()),
            other => NotDone::Refused(other.to_string()),
        }
    }
}

impl From<acme::Rejected> for NotDone {
    fn from(rejected: acme::Rejected) -> NotDone {
        match rejected {
            acme::Rejected::NoPlace(_, acme::NoPlace::NotOurs) => {
                NotDone::NotFound(rejected.to_string())
            }
            acme::Rejected::NotWritten(failure) => NotDone::NotPersisted(failure.to_string()),
            other => NotDone::Refused(other.to_string()),
        }
    }
}

impl From<units::Rejected> for NotDone {
    fn from(rejected: units::Rejected) -> NotDone {
        match rejected {
            units::Rejected::NotAUnit | units::Rejected::NoPool { .. } => {
                NotDone::NotFound(rejected.to_string())
            }
            units::Rejected::NotWritten(failure) => NotDone::NotPersisted(failure.to_string()),
            other => NotDone::Refused(other.to_string()),
        }
    }
}

impl From<units::NotFound> for NotDone {
    fn from(not_found: units::NotFound) -> NotDone {
        NotDone::NotFound(not_found.to_string())
    }
}

impl fmt::Display for NotDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotDone::NotFound(why) | NotDone::Refused(why) => f.write_str(why),
            NotDone::NotPersisted(why) => {
                write!(f, "nothing is changed, since it cannot be written: {why}")
            }
            NotDone::NotKnown(why) => {
                write!(
                    f,
                    "not confirmed: {why}; it may take effect once that is over: see `meridian overrides` and `meridian unit list`"
                )
            }
        }
    }
}

impl std::error::Error for NotDone {}
