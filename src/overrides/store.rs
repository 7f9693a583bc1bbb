//! The store of overrides: each is judged, written, in force once it is on the disk, and ended by
//! time.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use super::preflight::{PreflightInputs, listed, objections};
use super::{Event, Override, OverrideChange, OverrideRequest, Overrides, Selector};
use crate::commit::{Collection, End, Failure, Write, WriteAhead};
use crate::config::Config;
use crate::model::{Moment, ServiceId};

/// The time before the end of an override at which its end is announced.
pub const ENDS_SOON: Duration = Duration::from_secs(600);
/// The pause after a failed write for which no operator waits.
const RETRY: Duration = Duration::from_secs(60);
/// The most overrides there may be: each is looked at whenever the plan of a service is compiled.
const MOST: usize = 1000;

/// The overrides of this process, and those that are asked for.
#[derive(Debug)]
pub struct Store {
    /// The overrides in force or announced.
    list: Overrides,
    /// The highest number ever given.
    last_id: u64,
    /// The reason why the persisted overrides could not be read back. Nothing is written until an operator
    /// accepts the loss.
    lost: Option<String>,
    /// Each write comes with the request that it is for; `None` where it only leaves out overrides
    /// that have ended.
    writer: WriteAhead<Option<Pending>>,
    waiting: VecDeque<Job>,
    /// True where the file still has something that has ended, or dates of a clock that was set.
    outdated: bool,
    /// The overrides whose end has been announced.
    warned: BTreeSet<u64>,
}

/// The document of the store, as it is persisted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredOverrides {
    /// The overrides in force or announced.
    pub overrides: Overrides,
    /// The highest number ever given.
    pub last: u64,
}

/// The content of a state directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// The overrides in force or announced.
    pub overrides: Overrides,
    /// The highest number ever given, at least those of `overrides`.
    pub last: u64,
    /// The reason why the file could not be read, as a sentence.
    pub lost: Option<String>,
}

/// An output of the store.
#[derive(Debug)]
pub enum Output {
    /// Something happened to the overrides.
    Event(Event),
    /// This is to be written; its end comes back through [`Store::write_ended`].
    Write(Write<StoredOverrides>),
    /// A request is answered.
    Answer {
        /// Its number.
        request: u64,
        /// The events that it brought about.
        result: Result<Vec<Event>, Rejected>,
    },
}

/// A reason to reject a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejected {
    /// No override is meant by this text.
    NotFound(String),
    /// There is no state directory.
    NoDirectory,
    /// Overrides were lost, as the sentence says, and nobody has accepted that.
    Lost(String),
    /// No overrides are lost, so there is nothing to accept.
    NothingLost,
    /// There are as many overrides as there may be.
    TooMany,
    /// The pre-flight speaks against it.
    Preflight {
        /// The objections, as sentences.
        objections: Vec<String>,
        /// True for a release, false for a new override.
        is_release: bool,
    },
    /// The write failed, so nothing changed.
    NotWritten(Failure),
}

/// A request that awaits its turn. It is judged when its turn comes: by then every request before
/// it has been written or rejected, so that no change is on its way that the judgement would miss.
#[derive(Debug)]
struct Job {
    request: u64,
    asked: Asked,
}

#[derive(Debug)]
enum Asked {
    Add(OverrideRequest),
    Release { what: Selector, force: bool },
    AcceptLoss,
}

/// A request that is being written.
#[derive(Debug)]
struct Pending {
    request: u64,
    change: ListChange,
}

#[derive(Debug)]
enum ListChange {
    Add(Override),
    Remove {
        all: Vec<Override>,
        forced: bool,
        /// The moment at which it was judged: ramps begin then.
        at: Moment,
    },
    AcceptLoss,
}

impl Default for Store {
    fn default() -> Store {
        Store {
            list: Overrides::default(),
            last_id: 0,
            lost: None,
            writer: WriteAhead::new(Collection::Overrides, RETRY),
            waiting: VecDeque::new(),
            outdated: false,
            warned: BTreeSet::new(),
        }
    }
}

impl Store {
    /// The overrides in force or announced.
    pub fn overrides(&self) -> &Overrides {
        &self.list
    }

    /// The reason why the persisted overrides are lost, until an operator accepts the loss.
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// Goes on with a state directory, or without one; requests under way in the one before are
    /// given up.
    pub fn switch(&mut self, on: bool) -> Vec<Output> {
        // What was under way may be on that disk all the same; nobody here can tell.
        let under_way = self.writer.switch(on).flatten();
        let mut outputs = Vec::new();
        if let Some(pending) = under_way {
            outputs.push(Output::given_up(pending.request));
        }
        for job in self.waiting.drain(..) {
            outputs.push(Output::given_up(job.request));
        }
        outputs
    }

    /// Adopts the content of a state directory. Returns the events, and true where the overrides in
    /// force or announced are others now.
    ///
    /// An override made later than `now` was dated by a clock that has been set back since. It
    /// counts as made now, so that a clock that is behind does not make two hours last for years.
    pub fn adopt(&mut self, found: Found, now: Moment) -> (Vec<Output>, bool) {
        let Found {
            overrides: mut list,
            last,
            lost,
        } = found;
        for own in &mut list.0 {
            let ahead = own.made.since(now);
            (own.made, own.starts) = (own.made - ahead, own.starts - ahead);
            own.until = own.until.map(|until| until - ahead);
        }
        let highest = list.0.iter().map(|own| own.id).max();
        self.last_id = self.last_id.max(last).max(highest.unwrap_or(0));
        // A directory in which nothing was ever kept takes over the overrides of this process, as
        // it does with units.
        let is_new = list.0.is_empty() && last == 0 && lost.is_none();
        if is_new && self.lost.is_none() && !self.list.0.is_empty() {
            self.outdated = true;
            return (Vec::new(), false);
        }
        // The directory counts, even where it has less than this process: another process may have
        // written there since.
        self.lost = lost;
        let before = std::mem::replace(&mut self.list, list);
        let mut outputs = Vec::new();
        for own in self.list.take_ended(now) {
            self.outdated = true;
            outputs.push(Output::changed(own, OverrideChange::EndedMeanwhile));
        }
        let is_changed = before != self.list;
        (outputs, is_changed)
    }

    /// Has everything written anew: the wall clock was set, and the file is dated by the old one.
    pub fn clock_set(&mut self) {
        self.outdated |= !self.list.0.is_empty();
    }

    /// Takes in a request for an override.
    pub fn add(&mut self, request: u64, asked: OverrideRequest) -> Option<Output> {
        self.ask(request, Asked::Add(asked))
    }

    /// Takes in a request to release the overrides that `what` selects.
    pub fn release(&mut self, request: u64, what: Selector, force: bool) -> Option<Output> {
        self.ask(request, Asked::Release { what, force })
    }

    /// Takes in a request to continue after a loss.
    pub fn accept_loss(&mut self, request: u64) -> Option<Output> {
        self.ask(request, Asked::AcceptLoss)
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

    /// Begins the next write where one is due: of the first request that the pre-flight lets pass.
    pub fn step(&mut self, inputs: &PreflightInputs<'_>) -> Vec<Output> {
        let mut outputs = Vec::new();
        if !self.writer.is_idle() {
            return outputs;
        }
        let mut pending = None;
        while pending.is_none()
            && let Some(Job { request, asked }) = self.waiting.pop_front()
        {
            match self.judge(asked, inputs) {
                Ok(change) => pending = Some(Pending { request, change }),
                Err(why) => outputs.push(Output::Answer {
                    request,
                    result: Err(why),
                }),
            }
        }
        // What could not be read back may be good yet, so that it is not written over unasked.
        let is_outdated =
            self.outdated && self.lost.is_none() && !self.writer.is_pausing(inputs.now);
        if pending.is_some() || is_outdated {
            outputs.push(Output::Write(self.begin(pending)));
        }
        outputs
    }

    fn begin(&mut self, pending: Option<Pending>) -> Write<StoredOverrides> {
        let mut overrides = self.list.clone();
        if let Some(pending) = &pending {
            pending.change.apply(&mut overrides);
        }
        // The document leaves out all that has ended by now.
        self.outdated = false;
        let document = StoredOverrides {
            overrides,
            last: self.last_id,
        };
        // All overrides are one document: the pre-flight judges them together, so that two writers
        // who each leave one region must not both win.
        self.writer.begin([(String::new(), document)], pending)
    }

    fn judge(
        &mut self,
        asked: Asked,
        inputs: &PreflightInputs<'_>,
    ) -> Result<ListChange, Rejected> {
        match (asked, &self.lost) {
            (Asked::AcceptLoss, None) => Err(Rejected::NothingLost),
            (Asked::AcceptLoss, Some(_)) => Ok(ListChange::AcceptLoss),
            // Any other write would replace a file that can perhaps still be repaired.
            (_, Some(why)) => Err(Rejected::Lost(why.clone())),
            (Asked::Add(asked), None) => self.judge_new(asked, inputs).map(ListChange::Add),
            (Asked::Release { what, force }, None) => self.judge_release(&what, force, inputs),
        }
    }

    fn judge_new(
        &mut self,
        asked: OverrideRequest,
        inputs: &PreflightInputs<'_>,
    ) -> Result<Override, Rejected> {
        let force = asked.force;
        let mut own = Override::new(self.last_id + 1, asked, inputs.now);
        // The pre-flight compares two whole lists, so that it judges a release by the same rule.
        let mut with = self.list.clone();
        with.add(&own);
        // Counted after it is added: one that replaces another always has room.
        if with.0.len() > MOST {
            return Err(Rejected::TooMany);
        }
        let objections = objections(&self.list, &with, inputs);
        own.forced = !objections.is_empty();
        if own.forced && !force {
            return Err(Rejected::Preflight {
                objections,
                is_release: false,
            });
        }
        // A number is used up even where the write fails: the file may have it all the same.
        self.last_id += 1;
        Ok(own)
    }

    fn judge_release(
        &self,
        what: &Selector,
        force: bool,
        inputs: &PreflightInputs<'_>,
    ) -> Result<ListChange, Rejected> {
        let all = self.list.selected(what);
        if all.is_empty() {
            return Err(Rejected::NotFound(what.to_string()));
        }
        let mut without = self.list.clone();
        without.release(&all, inputs.now);
        let objections = objections(&self.list, &without, inputs);
        let forced = !objections.is_empty();
        if forced && !force {
            return Err(Rejected::Preflight {
                objections,
                is_release: true,
            });
        }
        let at = inputs.now;
        Ok(ListChange::Remove { all, forced, at })
    }

    /// Takes in the end of a write. Returns what follows from it, and the services whose plans
    /// change.
    pub fn write_ended(
        &mut self,
        end: End,
        config: &Config,
        now: Moment,
    ) -> (Vec<Output>, Vec<ServiceId>) {
        let Some(ended) = self.writer.end(end, now) else {
            return (Vec::new(), Vec::new());
        };
        let Some(Pending { request, change }) = ended.then else {
            // Nobody asked for this write, so that nobody would ask again.
            self.outdated |= ended.result.is_err();
            return (Vec::new(), Vec::new());
        };
        // It was asked for by somebody who is told, and who may ask again: it is not tried again.
        if let Err(failure) = ended.result {
            let result = Err(Rejected::NotWritten(failure));
            return (vec![Output::Answer { request, result }], Vec::new());
        }
        // Only now that it is durable: an operator never sees in force what a restart would forget.
        change.apply(&mut self.list);
        if matches!(change, ListChange::AcceptLoss) {
            self.lost = None;
        }
        let events = change.events(&self.list);
        let mut outputs = vec![Output::Answer {
            request,
            result: Ok(events.clone()),
        }];
        outputs.extend(events.into_iter().map(Output::Event));
        let changed = change.overrides().iter();
        let changed = changed.flat_map(|own| affected(config, own)).collect();
        (outputs, changed)
    }

    /// Takes in that time went from `last` to `now`: overrides take effect or end. Returns the
    /// events, and the services whose plans change.
    pub fn advance(
        &mut self,
        config: &Config,
        last: Moment,
        now: Moment,
    ) -> (Vec<Output>, Vec<ServiceId>) {
        let (mut outputs, mut changed) = (Vec::new(), Vec::new());
        for own in &self.list.0 {
            let was_announced = own.made < own.starts;
            // Told once, by the look at time in whose span the start lies.
            if was_announced && own.starts > last && own.starts <= now {
                changed.extend(affected(config, own));
                outputs.push(Output::changed(own.clone(), OverrideChange::Began));
            }
            let has_ended = own.until.is_some_and(|until| until > last && until <= now);
            if has_ended && own.is_returning(now) {
                outputs.push(Output::changed(own.clone(), OverrideChange::Returning));
                changed.extend(affected(config, own));
            } else if own.steps(last) != own.steps(now) {
                changed.extend(affected(config, own));
            }
            if own.ends_soon(now) && self.warned.insert(own.id) {
                outputs.push(Output::changed(own.clone(), OverrideChange::EndsSoon));
            }
        }
        for own in self.list.take_ended(now) {
            changed.extend(affected(config, &own));
            // It ends at its time, whether or not the disk takes that.
            self.outdated = true;
            self.warned.remove(&own.id);
            outputs.push(Output::changed(own, OverrideChange::Ended));
        }
        (outputs, changed)
    }

    /// The next moment at which [`Store::advance`] or [`Store::step`] has something to do.
    pub fn next_deadline(&self, now: Moment) -> Option<Moment> {
        let mut warnings = Vec::new();
        for own in &self.list.0 {
            let warning = own.until.map(|until| until - ENDS_SOON);
            if !self.warned.contains(&own.id) {
                warnings.extend(warning.filter(|at| *at > now));
            }
        }
        // Without a failure before, an outdated file is written in the same step.
        let rewrite = self.writer.next_try().filter(|_| self.outdated);
        self.list
            .next_change(now)
            .into_iter()
            .chain(warnings)
            .chain(rewrite)
            .min()
    }
}

impl Override {
    /// True within [`ENDS_SOON`] of its end; never for one that is shorter than that itself.
    fn ends_soon(&self, now: Moment) -> bool {
        self.until.is_some_and(|until| {
            until > now && until <= now + ENDS_SOON && until.since(self.made) > ENDS_SOON
        })
    }
}

impl Output {
    fn changed(own: Override, change: OverrideChange) -> Output {
        let own = Box::new(own);
        Output::Event(Event::Changed { own, change })
    }

    /// The answer to a request whose state directory was replaced before it was written.
    fn given_up(request: u64) -> Output {
        let result = Err(Rejected::NotWritten(Failure::Abandoned));
        Output::Answer { request, result }
    }
}

impl ListChange {
    /// The overrides that it adds or removes.
    fn overrides(&self) -> &[Override] {
        match self {
            ListChange::Add(own) => std::slice::from_ref(own),
            ListChange::Remove { all, .. } => all,
            ListChange::AcceptLoss => &[],
        }
    }

    fn apply(&self, list: &mut Overrides) {
        match self {
            ListChange::Add(own) => list.add(own),
            ListChange::Remove { all, at, .. } => list.release(all, *at),
            ListChange::AcceptLoss => {}
        }
    }

    /// The events that it is, once it is on the disk and in `list`.
    fn events(&self, list: &Overrides) -> Vec<Event> {
        let change = match self {
            ListChange::Add(own) if own.starts > own.made => OverrideChange::Announced,
            ListChange::Add(_) => OverrideChange::InForce,
            ListChange::Remove { forced, .. } => OverrideChange::Released { forced: *forced },
            ListChange::AcceptLoss => {
                let left = list.0.len();
                return vec![Event::LossAccepted { left }];
            }
        };
        let mut events = Vec::new();
        for own in self.overrides() {
            let mut own = Box::new(own.clone());
            if let ListChange::Remove { at, .. } = self
                && !own.holds(*at)
            {
                // It had not begun, or was on its way back already: no ramp follows.
                own.ramp = None;
            }
            events.push(Event::Changed { own, change });
        }
        events
    }
}

/// The services of which an override covers something.
fn affected(config: &Config, own: &Override) -> Vec<ServiceId> {
    let mut affected = Vec::new();
    for (index, service) in config.services.iter().enumerate() {
        if own.scope.touches(&config.regions, service) {
            affected.push(ServiceId::from_index(index));
        }
    }
    affected
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejected::NotFound(what) => write!(f, "there is no override of {what}"),
            Rejected::NoDirectory => {
                f.write_str("there is no state directory to keep overrides in")
            }
            Rejected::Lost(why) => {
                write!(f, "{why}; run `meridian overrides --accept-loss` first")
            }
            Rejected::NothingLost => {
                f.write_str("no overrides are lost, so there is nothing to accept")
            }
            Rejected::TooMany => write!(
                f,
                "there are {MOST} overrides already, which is the most: release some first"
            ),
            Rejected::Preflight {
                objections,
                is_release,
            } => {
                f.write_str(&listed(objections, "\n"))?;
                if *is_release {
                    f.write_str("; --force releases it all the same")?;
                }
                Ok(())
            }
            Rejected::NotWritten(failure) => write!(f, "{failure}"),
        }
    }
}

impl std::error::Error for Rejected {}
