//! The store of challenges: each is checked, written, in force once it is on the disk, and ended by
//! time.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{
    Challenge, ChallengeChange, ChallengeRequest, Event, LONGEST, MOST, MOST_OF_A_NAME, NoPlace,
    Subject, Value,
};
use crate::commit::{Collection, End, Failure, Write, WriteAhead};
use crate::model::Moment;
use crate::zone::NameTable;

/// The pause after a failed write for which nobody waits.
const RETRY: Duration = Duration::from_secs(60);

/// The document of the store, as it is persisted: every challenge in force, in the order in which they
/// were set.
pub type StoredChallenges = Arc<[Challenge]>;

/// The challenges of this process, and those that are asked for.
#[derive(Debug)]
pub struct Store {
    list: StoredChallenges,
    /// Each write comes with the requests that it is for; without any it only leaves out what has ended.
    writer: WriteAhead<Vec<Pending>>,
    waiting: VecDeque<Job>,
    /// True where the file still has something that has ended, or dates of a clock that was set.
    outdated: bool,
}

/// An output of the store.
#[derive(Debug)]
pub enum Output {
    /// Something happened to a challenge.
    Event(Event),
    /// This is to be written; its end comes back through [`Store::write_ended`].
    Write(Write<StoredChallenges>),
    /// A request is answered.
    Answer {
        /// Its number.
        request: u64,
        /// The events that it brought about; none where all was so already.
        result: Result<Vec<Event>, Rejected>,
    },
}

/// A reason to reject a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejected {
    /// The zones have no room for a challenge of this name.
    NoPlace(Subject, NoPlace),
    /// There is no state directory.
    NoDirectory,
    /// There are as many challenges as there may be, in all.
    TooMany,
    /// There are as many challenges of this name as there may be.
    TooManyOf(Subject),
    /// The write failed, so nothing changed.
    NotWritten(Failure),
}

/// A request that awaits the next write.
#[derive(Debug)]
struct Job {
    request: u64,
    asked: Asked,
}

#[derive(Debug)]
enum Asked {
    Set(ChallengeRequest),
    Clear {
        subject: Subject,
        value: Option<Value>,
        by: String,
    },
}

/// A request that is being written, and what it changes.
#[derive(Debug)]
struct Pending {
    request: u64,
    events: Vec<Event>,
}

impl Default for Store {
    fn default() -> Store {
        Store {
            list: Arc::default(),
            writer: WriteAhead::new(Collection::Acme, RETRY),
            waiting: VecDeque::new(),
            outdated: false,
        }
    }
}

impl Store {
    /// The challenges in force, in the order in which they were set.
    pub fn challenges(&self) -> &StoredChallenges {
        &self.list
    }

    /// Goes on with a state directory, or without one; requests under way in the one before are
    /// given up.
    pub fn switch(&mut self, on: bool) -> Vec<Output> {
        // What was under way may be on that disk all the same; nobody here can tell.
        let under_way = self.writer.switch(on).unwrap_or_default();
        let written = under_way.iter().map(|pending| pending.request);
        let waiting = self.waiting.iter().map(|job| job.request);
        let outputs = written.chain(waiting).map(|request| Output::Answer {
            request,
            result: Err(Rejected::NotWritten(Failure::Abandoned)),
        });
        let outputs = outputs.collect();
        self.waiting.clear();
        outputs
    }

    /// Adopts the content of a state directory, `None` where it never had any; true where the
    /// challenges in force are others now.
    ///
    /// A challenge that ends later than any may was dated by a clock that has been set back since. It
    /// lasts as long as one that is set now.
    pub fn adopt(&mut self, found: Option<Vec<Challenge>>, now: Moment) -> bool {
        // A directory in which nothing was ever kept takes over the challenges of this process, as
        // it does with overrides.
        let Some(mut found) = found else {
            self.outdated = !self.list.is_empty();
            return false;
        };
        for challenge in &mut found {
            challenge.until = challenge.until.min(now + LONGEST);
        }
        let kept = found.len();
        found.retain(|challenge| challenge.until > now);
        self.outdated = found.len() < kept;
        let before = std::mem::replace(&mut self.list, found.into());
        before != self.list
    }

    /// Has everything written anew: the wall clock was set, and the file is dated by the old one.
    pub fn clock_set(&mut self) {
        self.outdated |= !self.list.is_empty();
    }

    /// Takes in a request to set a challenge.
    pub fn set(&mut self, request: u64, asked: ChallengeRequest) -> Option<Output> {
        self.ask(request, Asked::Set(asked))
    }

    /// Takes in a request of `by` to clear the challenge of `subject` with this `value`, or all of its
    /// challenges.
    pub fn clear(
        &mut self,
        request: u64,
        subject: Subject,
        value: Option<Value>,
        by: String,
    ) -> Option<Output> {
        let asked = Asked::Clear { subject, value, by };
        self.ask(request, asked)
    }

    fn ask(&mut self, request: u64, asked: Asked) -> Option<Output> {
        if self.writer.is_on() {
            self.waiting.push_back(Job { request, asked });
            return None;
        }
        Some(Output::Answer {
            request,
            result: Err(Rejected::NoDirectory),
        })
    }

    /// Begins the next write where one is due: of all requests that wait, since a client that renews
    /// a hundred names asks for a hundred challenges at once.
    pub fn step(&mut self, names: &NameTable, now: Moment) -> Vec<Output> {
        let mut outputs = Vec::new();
        if !self.writer.is_idle() {
            return outputs;
        }
        let mut list = self.list.to_vec();
        let mut pending = Vec::new();
        for Job { request, asked } in self.waiting.drain(..) {
            match asked.apply(&mut list, names, now) {
                Ok(events) if !events.is_empty() => pending.push(Pending { request, events }),
                // What is so already, as far as the disk has it, is done.
                result => outputs.push(Output::Answer { request, result }),
            }
        }
        if !pending.is_empty() || (self.outdated && !self.writer.is_pausing(now)) {
            self.outdated = false;
            // One document: the file is small, and is written as a whole.
            let document = (String::new(), list.into());
            outputs.push(Output::Write(self.writer.begin([document], pending)));
        }
        outputs
    }

    /// Takes in the end of a write. Returns what follows from it, and true where the challenges in
    /// force are others now.
    pub fn write_ended(&mut self, end: End, now: Moment) -> (Vec<Output>, bool) {
        let Some(ended) = self.writer.end(end, now) else {
            return (Vec::new(), false);
        };
        // Nobody asked for a write without requests, so that nobody would ask again.
        self.outdated |= ended.result.is_err() && ended.then.is_empty();
        let is_changed = ended.result.is_ok() && !ended.then.is_empty();
        // Applied to the list of this moment: others may have ended during the write.
        let mut list = self.list.to_vec();
        let mut outputs = Vec::new();
        for Pending { request, events } in ended.then {
            // Who asked is told, and may ask again: it is not tried again.
            let result = match &ended.result {
                Err(failure) => Err(Rejected::NotWritten(failure.clone())),
                Ok(()) => {
                    events.iter().for_each(|event| event.apply(&mut list));
                    outputs.extend(events.iter().cloned().map(Output::Event));
                    Ok(events)
                }
            };
            outputs.push(Output::Answer { request, result });
        }
        if is_changed {
            self.list = list.into();
        }
        (outputs, is_changed)
    }

    /// Takes in that it is `now`: challenges end. Returns the events.
    pub fn advance(&mut self, now: Moment) -> Vec<Output> {
        let (ended, left): (Vec<Challenge>, Vec<Challenge>) =
            if self.list.iter().all(|own| own.until > now) {
                return Vec::new();
            } else {
                self.list.iter().cloned().partition(|own| own.until <= now)
            };
        self.list = left.into();
        // It ends at its time, whether or not the disk takes that.
        self.outdated = true;
        let events = ended.into_iter().map(|challenge| Event {
            challenge,
            change: ChallengeChange::Ended,
        });
        events.map(Output::Event).collect()
    }

    /// The next moment at which [`Store::advance`] or [`Store::step`] has something to do.
    pub fn next_deadline(&self) -> Option<Moment> {
        let ends = self.list.iter().map(|own| own.until);
        // Without a failure before, an outdated file is written in the same step.
        let rewrite = self.writer.next_try().filter(|_| self.outdated);
        ends.chain(rewrite).min()
    }
}

impl Asked {
    /// Does to `list` what is asked for; returns the events, once they are on the disk.
    fn apply(
        self,
        list: &mut Vec<Challenge>,
        names: &NameTable,
        now: Moment,
    ) -> Result<Vec<Event>, Rejected> {
        let events = match self {
            Asked::Set(asked) => vec![asked.judge(list, names, now)?],
            Asked::Clear { subject, value, by } => {
                let is_meant = |own: &&Challenge| {
                    own.subject == subject && value.as_ref().is_none_or(|value| *value == own.value)
                };
                let meant = list.iter().filter(is_meant).cloned();
                let events: Vec<Event> = meant
                    .map(|challenge| Event {
                        challenge,
                        change: ChallengeChange::Cleared(by.clone()),
                    })
                    .collect();
                // What is gone is cleared, since a client clears what may have ended meanwhile; a name
                // that is none of ours is a mistake.
                if events.is_empty() && subject.place(names) == Err(NoPlace::NotOurs) {
                    return Err(Rejected::NoPlace(subject, NoPlace::NotOurs));
                }
                events
            }
        };
        for event in &events {
            event.apply(list);
        }
        Ok(events)
    }
}

impl ChallengeRequest {
    fn judge(self, list: &[Challenge], names: &NameTable, now: Moment) -> Result<Event, Rejected> {
        if let Err(why) = self.subject.place(names) {
            return Err(Rejected::NoPlace(self.subject, why));
        }
        let challenge = Challenge {
            subject: self.subject,
            value: self.value,
            by: self.by,
            until: now + self.lasts.min(LONGEST),
        };
        // Said again by a client that was not sure of having been heard.
        if list.iter().any(|own| own.is_same(&challenge)) {
            let change = ChallengeChange::Renewed;
            return Ok(Event { challenge, change });
        }
        let of_name = list.iter().filter(|own| own.subject == challenge.subject);
        if of_name.count() >= MOST_OF_A_NAME {
            return Err(Rejected::TooManyOf(challenge.subject));
        }
        if list.len() >= MOST {
            return Err(Rejected::TooMany);
        }
        let change = ChallengeChange::Set;
        Ok(Event { challenge, change })
    }
}

impl Challenge {
    /// True for the same value of the same name.
    fn is_same(&self, other: &Challenge) -> bool {
        self.subject == other.subject && self.value == other.value
    }
}

impl Event {
    /// Does to `list` what happened.
    fn apply(&self, list: &mut Vec<Challenge>) {
        let place = list.iter().position(|own| own.is_same(&self.challenge));
        match (&self.change, place) {
            (ChallengeChange::Set | ChallengeChange::Renewed, Some(place)) => {
                list[place] = self.challenge.clone();
            }
            (ChallengeChange::Set | ChallengeChange::Renewed, None) => {
                list.push(self.challenge.clone());
            }
            (ChallengeChange::Cleared(_) | ChallengeChange::Ended, Some(place)) => {
                list.remove(place);
            }
            (ChallengeChange::Cleared(_) | ChallengeChange::Ended, None) => {}
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejected::NoPlace(subject, why) => {
                write!(f, "no ACME challenge of {subject} can be set: {why}")
            }
            Rejected::NoDirectory => {
                f.write_str("there is no state directory to keep ACME challenges in")
            }
            Rejected::TooMany => write!(
                f,
                "there are {MOST} ACME challenges already, which is the most: clear some first"
            ),
            Rejected::TooManyOf(subject) => write!(
                f,
                "there are {MOST_OF_A_NAME} ACME challenges of {subject} already, which is the \
                 most: clear some first"
            ),
            Rejected::NotWritten(failure) => write!(f, "{failure}"),
        }
    }
}

impl std::error::Error for Rejected {}
