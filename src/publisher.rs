//! The only writer of what is published: events in, a new snapshot and sentences out.
//!
//! ```text
//! Event ─► Health ─► services of the targets that changed ─► their plans ─► Snapshot ─► Effect::Publish
//! ```
//! It reads no clock and does no I/O: `now` comes with each event, and [`Publisher::next_deadline`]
//! says when it wants to be called again without one. Snapshots are published at once, and then at
//! most one every [`COALESCE`].

mod change;
mod history;
mod numbering;
mod overrides;
mod pools;
mod view;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::commit::{self, Collection, Write};
use crate::config::Config;
use crate::dataset::{Dataset, Snapshot};
use crate::health::{
    self, Carry, Cause, FailReason, Health, Key, NotJudged, Outcome, Pushes, READING, Report, Seen,
    TargetSpec, match_targets,
};
use crate::model::{
    Endpoint, Family, Moment, Pool, RegionId, ServiceId, Target, TargetId, WallTime,
};
use crate::steer::{Holding, Overrides, Plan, Ramp, Rung};
use crate::units::{self, Inputs, UnitRecord, UnitRecords, UnitView, Units};

pub use change::{Change, Shown, Stand};
pub use history::{History, PERSIST_PAUSE, PERSIST_PAUSE_IN_DOUBT, PERSIST_PERIOD, PoolRecord};
pub use overrides::{ENDS_SOON, OverrideRequest, StoredOverrides};
pub use pools::NotResumed;
pub use view::{OverridesView, ServiceView, TargetView, View, ViewUpdate};

use history::HistoryWriter;
use numbering::Numbering;
use overrides::{Ground, Words};
use pools::Pools;
use view::Dirty;

/// The least time between two snapshots.
pub const COALESCE: Duration = Duration::from_millis(10);

/// What happens to the server.
#[derive(Debug)]
pub enum Event {
    /// A probe of the dataset of this generation has ended.
    Outcome {
        /// [`Publisher::generation`] when the probe was set up; others are stale and ignored.
        generation: u32,
        /// What was probed.
        target: TargetId,
        /// What it saw.
        outcome: Outcome,
    },
    /// An endpoint reports itself; what is no target of a `push` check is ignored.
    Report {
        /// Which, as [`Publisher::push_target`] has it.
        target: TargetId,
        /// What it says.
        report: Report,
    },
    /// Every target has been probed to a verdict, or the time for that is over.
    FirstRoundEnded,
    /// New files were accepted.
    Reload {
        /// What they say.
        dataset: Arc<Dataset>,
        /// What probes of its new targets saw, each to a verdict.
        first_round: Vec<(TargetId, Outcome)>,
    },
    /// An operator takes back a pool that is held; nothing happens where it is not.
    Resume {
        /// Its service.
        service: ServiceId,
        /// Its region.
        region: RegionId,
    },
    /// A write of documents has ended.
    Committed(commit::End),
    /// A state directory was taken up, or there is none: what it knows of units counts from now on.
    UnitsTakenUp {
        /// What it has.
        records: UnitRecords,
        /// Why no unit is to change hands.
        frozen: Option<String>,
    },
    /// An operator moves a unit to another region; [`Effect::Answer`] says what came of it.
    MoveUnit {
        /// The request's number.
        request: u64,
        /// The unit, by an id of the dataset that is published.
        unit: ServiceId,
        /// The region that is to own it, likewise.
        region: RegionId,
        /// Although something speaks against it.
        force: bool,
    },
    /// An operator gives units their first owners, as the files have them; [`Effect::Answer`] says what came of it.
    BeginUnits {
        /// The request's number.
        request: u64,
        /// The units, by ids of the dataset that is published; those that have a record keep it.
        units: Vec<ServiceId>,
        /// Their epoch, at least 1.
        epoch: u64,
    },
    /// A state directory was taken up: what it has of overrides counts from now on.
    OverridesTakenUp {
        /// What it has.
        overrides: Overrides,
        /// The highest number that was ever given; at least those of `overrides`.
        last: u64,
        /// What it had could not be read back, as a sentence says: until [`Event::AcceptLoss`] nothing is written there.
        lost: Option<String>,
    },
    /// An operator goes on after a loss of overrides; [`Effect::Answer`] says what came of it.
    AcceptLoss {
        /// The request's number.
        request: u64,
    },
    /// An operator says something of health or weight; [`Effect::Answer`] says what came of it.
    Override {
        /// The request's number.
        request: u64,
        /// What is said.
        asked: OverrideRequest,
    },
    /// An operator takes an override back; [`Effect::Answer`] says what came of it, for each that is meant.
    Release {
        /// The request's number.
        request: u64,
        /// Its number, or what it is about.
        what: String,
        /// Although the pre-flight speaks against it.
        force: bool,
    },
    /// Every thread answers from this publication, or from a later one.
    InForce {
        /// As [`Publisher::publication`] numbers them.
        publication: u64,
    },
    /// The wall clock was set: what is kept with times of day is dated wrongly.
    ClockSet,
    /// Time has passed.
    Tick,
}

/// What the caller is to do.
#[derive(Debug)]
pub enum Effect {
    /// Publish this.
    Publish(Arc<Snapshot>),
    /// Say this once, in the log and on the event stream.
    Say(Change),
    /// Have this written, and report the end of it as [`Event::Committed`]. Writes of one collection
    /// are not to overtake one another.
    Commit(Commit),
    /// What came of an operator's request.
    Answer {
        /// The request's number.
        request: u64,
        /// What is done, or why it is not.
        result: Result<Done, NotDone>,
    },
}

/// A write of documents, by their collection.
#[derive(Debug, Clone)]
pub enum Commit {
    /// The history of health.
    History(Write<History>),
    /// The records of units that change.
    Units(Write<UnitRecord>),
    /// All overrides.
    Overrides(Write<StoredOverrides>),
}

/// What came of an operator's request that was heeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// A sentence.
    Said(String),
    /// What the log says too.
    Changes(Vec<Change>),
}

impl Done {
    /// The sentences, a line each, with times as `wall` reads them.
    pub fn show(&self, wall: WallTime) -> String {
        match self {
            Done::Said(sentence) => sentence.clone(),
            Done::Changes(changes) => changes
                .iter()
                .map(|change| change.show(wall).to_string())
                .collect::<Vec<_>>()
                .join("\n"),
        }
    }

    /// The overrides that it is about, by number.
    pub fn numbers(&self) -> Vec<u64> {
        let number = |change: &Change| match change {
            Change::Overridden(own)
            | Change::OverrideAnnounced(own)
            | Change::Released { own, .. } => Some(own.id),
            _ => None,
        };
        match self {
            Done::Said(_) => Vec::new(),
            Done::Changes(changes) => changes.iter().filter_map(number).collect(),
        }
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
    NotKept(String),
    /// It is being written, and how that ends is not known.
    NotKnown(String),
}

impl From<units::Rejected> for NotDone {
    fn from(rejected: units::Rejected) -> NotDone {
        match rejected {
            units::Rejected::NotAUnit | units::Rejected::NoPool { .. } => {
                NotDone::NotFound(rejected.to_string())
            }
            units::Rejected::NotWritten(failure) => NotDone::NotKept(failure.to_string()),
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
            NotDone::NotKept(why) => {
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

/// A time in which this process stood still, and so saw nothing.
#[derive(Debug, Clone, Copy)]
struct Stall {
    ended: Moment,
    /// No takeover before: by then every endpoint has shown what it is.
    judged: Moment,
    /// Probes that were under way are not judged: false where another stall was shortly before, for a process that is always late
    /// has to judge by what it has.
    excuses: bool,
}

/// Probes under way in a stall have told what they saw within so long.
const LATE_PROBES: Duration = Duration::from_secs(1);
/// A timer that rings so late did not ring because nobody ran.
const LATE_TIMER: Duration = Duration::from_millis(250);
/// Stalls nearer to each other than this are no pauses, but overload.
const OVERLOAD: Duration = Duration::from_secs(10);

/// Holds the state of the server; the one writer of snapshots.
#[derive(Debug)]
pub struct Publisher {
    dataset: Arc<Dataset>,
    health: Health,
    pushes: Pushes,
    /// By [`TargetId`]: what health is kept by.
    keys: Arc<[Key]>,
    /// By [`TargetId`].
    used_by: Vec<Vec<ServiceId>>,
    pools: Pools,
    words: Words,
    /// When time was last looked at, for overrides.
    looked: Moment,
    units: Units,
    numbering: Numbering,
    plans: Vec<Arc<Plan>>,
    dirty: BTreeSet<ServiceId>,
    /// Services of targets whose falls were undone since their plans were compiled.
    undone: BTreeSet<ServiceId>,
    published: Option<Moment>,
    /// Counts publications.
    publication: u64,
    generation: u32,
    first_round: bool,
    /// Queries are answered beside the first round.
    answering: bool,
    /// The last time this process stood still.
    stall: Option<Stall>,
    history: HistoryWriter,
    /// Changes that readers have not been told yet.
    dirty_view: Dirty,
}

impl Publisher {
    /// Starts with everything up, before the first round.
    pub fn new(dataset: Arc<Dataset>) -> Publisher {
        let mut publisher = Publisher::without_plans(dataset);
        publisher.compile_all(Moment::default());
        publisher.units.published(publisher.publication);
        publisher
    }

    fn without_plans(dataset: Arc<Dataset>) -> Publisher {
        Publisher {
            health: new_health(&dataset),
            pushes: Pushes::new(&dataset.config.checks, &dataset.config.targets),
            keys: keys(&dataset),
            used_by: used_by(&dataset),
            pools: Pools::new(&dataset.config),
            words: Words::default(),
            looked: Moment::default(),
            units: Units::new(&dataset.config),
            numbering: Numbering::new(&dataset.config),
            plans: Vec::new(),
            dirty: BTreeSet::new(),
            undone: BTreeSet::new(),
            published: None,
            publication: 0,
            generation: 0,
            first_round: true,
            answering: false,
            stall: None,
            history: HistoryWriter::default(),
            dirty_view: Dirty::default(),
            dataset,
        }
    }

    /// Starts from what was kept `age` ago, before the first round. Returns the targets that it says
    /// nothing of, in order: they are to be probed before anything is answered.
    pub fn restore(
        dataset: Arc<Dataset>,
        history: &History,
        age: Duration,
        now: Moment,
    ) -> (Publisher, Vec<TargetId>) {
        let mut publisher = Publisher::without_plans(dataset);
        let carry = match_targets(&history.keys, &publisher.keys);
        let unknown = publisher.health.restore(&history.records, &carry, age, now);
        publisher
            .pools
            .restore(&publisher.dataset.config, &history.pools, age, now);
        publisher.compile_all(now);
        publisher.units.published(publisher.publication);
        (publisher, unknown)
    }

    /// Goes on with a state directory for the history and for units, or with none: what was under
    /// way elsewhere is given up. With one, [`Effect::Commit`] is to be heeded.
    pub fn keep_history(&mut self, on: bool) {
        self.history.switch(on);
        self.units.switch(on);
    }

    /// Counts publications; 0 is what [`Publisher::snapshot`] says before the first [`Effect::Publish`].
    pub fn publication(&self) -> u64 {
        self.publication
    }

    /// A fence waits for the word that every thread has left the snapshots before it: [`Event::InForce`].
    pub fn awaits_in_force(&self) -> bool {
        self.units.awaits_seen_by_all()
    }

    /// Every unit at `now`, and why no unit changes hands.
    pub fn units(&self, now: Moment) -> (Vec<UnitView>, Option<&str>) {
        let inputs = self.unit_inputs(now);
        let views = self
            .units
            .views(|unit| self.plans[unit.index()].holding(), &inputs);
        (views, self.units.frozen())
    }

    fn unit_inputs(&self, now: Moment) -> Inputs<'_> {
        let (config, health, words) = (&self.dataset.config, &self.health, &self.words.list);
        let is_blind = self.is_blind(now);
        unit_inputs(config, health, words, self.first_round, is_blind, now)
    }

    /// Whether there is somewhere to keep overrides; without, they are refused. What was under way elsewhere is given up.
    pub fn keep_overrides(&mut self, on: bool) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.words.switch(on, &mut effects);
        effects
    }

    /// Why the overrides that were kept are lost, until an operator accepts that: this node may hand out what was drained.
    pub fn overrides_lost(&self) -> Option<&str> {
        self.words.lost()
    }

    /// The overrides in force or announced.
    pub fn overrides(&self) -> &Overrides {
        &self.words.list
    }

    /// What there is to keep at this moment; nothing before the end of the first round, since it
    /// would make what was restored look younger than it is.
    pub fn history(&self, now: Moment) -> Option<History> {
        let pools = || self.pools.records(&self.dataset.config, now);
        (!self.first_round).then(|| History {
            keys: self.keys.clone(),
            records: self.health.records(now),
            pools: pools(),
        })
    }

    /// The write of the history that the process ends with, whatever is under way.
    pub fn last_history(&mut self, now: Moment) -> Option<Commit> {
        let history = self.history(now)?;
        Some(Commit::History(self.history.last(history, now)))
    }

    /// Has the answers of each pool counted by so many workers; at first by none.
    pub fn count_for(&mut self, workers: usize) {
        self.numbering.count_for(workers);
    }

    /// Counts accepted datasets; outcomes carry it.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The target of the `push` check of this name, and of this address or name; `None` where there is none.
    pub fn push_target(&self, check: &str, target: &Target) -> Option<TargetId> {
        let config = &self.dataset.config;
        let found = config.targets.iter().position(|probe| {
            let spec = &config.checks[probe.check.index()];
            spec.kind.is_push() && spec.name == check && probe.target == *target
        });
        found.map(TargetId::from_index)
    }

    /// True after the first round, while our own network works.
    pub fn is_ready(&self) -> bool {
        !self.first_round && !self.health.is_isolated()
    }

    /// Nothing is answered yet.
    fn is_silent(&self) -> bool {
        self.first_round && !self.answering
    }

    /// True until the first round has ended.
    pub fn is_first_round(&self) -> bool {
        self.first_round
    }

    /// The held pools that an operator means by the owner name of a service, with a region or without.
    pub fn held(
        &self,
        service: &str,
        region: Option<&str>,
    ) -> Result<Vec<(ServiceId, RegionId)>, NotResumed> {
        self.pools.held(&self.dataset.config, service, region)
    }

    /// What the files say.
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.dataset
    }

    /// The pools that are not simply in use.
    pub fn returning(&self, now: Moment) -> Vec<PoolRecord> {
        self.pools.records(&self.dataset.config, now)
    }

    /// The health behind the plans.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The snapshot of this moment.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(Snapshot {
            dataset: self.dataset.clone(),
            plans: self.plans.clone(),
            tallies: self.numbering.tallies(),
        })
    }

    /// When to call [`Publisher::handle`] with a tick at the latest.
    pub fn next_deadline(&self) -> Option<Moment> {
        let publish = if self.is_silent() || self.dirty.is_empty() {
            None
        } else {
            self.published.map(|at| at + COALESCE)
        };
        let keep = self.history.due().filter(|_| !self.first_round);
        let words = self.words.next_deadline(self.looked);
        let units = self.units.next_deadline();
        let judged = self
            .stall
            .map(|stall| stall.judged)
            .filter(|judged| *judged > self.looked);
        [
            self.health.next_deadline(),
            self.pushes.next_deadline(),
            self.pools.next_step(),
            publish,
            keep,
            units,
            words,
            judged,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// This process stood still for the time of `stall`, until `now`; to be called before what waited is handled. Deadlines of health
    /// move, probes that were under way are not judged, and no unit is taken over before its owner was seen again.
    pub fn stalled(&mut self, stall: Duration, now: Moment) {
        let excuses = self
            .stall
            .is_none_or(|last| now.since(last.ended) >= stall + OVERLOAD);
        self.stall = Some(Stall {
            ended: now,
            judged: now + self.health.window().max(READING),
            excuses,
        });
        self.health.stalled(stall);
        self.pushes.stalled(stall, now);
    }

    /// Takeovers wait for what is seen after a stall.
    fn is_blind(&self, now: Moment) -> bool {
        self.stall.is_some_and(|stall| now < stall.judged)
    }

    /// The outcome of a probe; not judged where it ran out of time because this process stood still.
    fn excused(&self, target: TargetId, outcome: Outcome) -> Outcome {
        let Some(stall) = self.stall.filter(|stall| stall.excuses) else {
            return outcome;
        };
        let began = outcome.at - outcome.phases.total();
        let is_timeout = matches!(outcome.seen, Seen::Fail(FailReason::Timeout(_)));
        // A timer that did not ring when it was to: what the endpoint did in time was not seen in time.
        let is_late = outcome.phases.total() >= self.health.spec(target).timeout + LATE_TIMER;
        if is_timeout && is_late && began < stall.ended && outcome.at <= stall.ended + LATE_PROBES {
            return Outcome {
                seen: Seen::NotJudged(NotJudged::Stalled),
                ..outcome
            };
        }
        outcome
    }

    /// Takes in one event; what follows from it, in order.
    pub fn handle(&mut self, event: Event, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (target, outcome) in self.pushes.overdue(now) {
            self.observe(target, outcome, now, &mut effects);
        }
        match event {
            Event::Report { target, report } => {
                if let Some(outcome) = self.pushes.report(target, report, now) {
                    self.observe(target, outcome, now, &mut effects);
                }
            }
            Event::Outcome {
                generation,
                target,
                outcome,
            } if generation == self.generation => {
                let outcome = self.excused(target, outcome);
                self.observe(target, outcome, now, &mut effects);
            }
            Event::Outcome { .. } => {}
            Event::FirstRoundEnded => {
                let changes = self.health.end_first_round(now);
                self.first_round = false;
                self.units.look_at_all();
                self.pushes.begin(now);
                self.take(changes, &mut effects);
                self.step_units(now, &mut effects);
                // The first answer is given from what the round found.
                self.publish(now, &mut effects);
            }
            Event::Reload {
                dataset,
                first_round,
            } => self.reload(dataset, first_round, now, &mut effects),
            Event::Resume { service, region } => self.resume(service, region, now, &mut effects),
            Event::Committed(end) => self.committed(end, now, &mut effects),
            Event::OverridesTakenUp {
                overrides,
                last,
                lost,
            } => {
                if self.words.take_up(overrides, last, lost, now, &mut effects) {
                    self.dirty
                        .extend((0..self.plans.len()).map(ServiceId::from_index));
                    self.units.look_at_all();
                }
            }
            Event::AcceptLoss { request } => self.words.accept_loss(request, &mut effects),
            Event::Override { request, asked } => self.words.add(request, asked, &mut effects),
            Event::Release {
                request,
                what,
                force,
            } => self.words.remove(request, what, force, &mut effects),
            Event::UnitsTakenUp { records, frozen } => {
                let outputs = self.units.adopt(records, frozen);
                self.take_units(outputs, &mut effects);
            }
            Event::MoveUnit {
                request,
                unit,
                region,
                force,
            } => {
                let inputs = unit_inputs(
                    &self.dataset.config,
                    &self.health,
                    &self.words.list,
                    self.first_round,
                    self.is_blind(now),
                    now,
                );
                let answer = self.units.move_unit(request, unit, region, force, &inputs);
                self.take_units(answer, &mut effects);
            }
            Event::BeginUnits {
                request,
                units,
                epoch,
            } => {
                let inputs = unit_inputs(
                    &self.dataset.config,
                    &self.health,
                    &self.words.list,
                    self.first_round,
                    self.is_blind(now),
                    now,
                );
                let answer = self.units.begin(request, &units, epoch, &inputs);
                self.take_units(answer, &mut effects);
            }
            Event::InForce { publication } => {
                let outputs = self.units.seen_by_all(publication, now);
                self.take_units(outputs, &mut effects);
            }
            Event::ClockSet => {
                self.history.changed = true;
                self.words.clock_set(now);
            }
            Event::Tick => {
                let changes = self.health.tick(now);
                self.take(changes, &mut effects);
            }
        }
        self.dirty.extend(self.pools.due(now));
        let looked = std::mem::replace(&mut self.looked, now);
        if self
            .stall
            .is_some_and(|stall| looked < stall.judged && stall.judged <= now)
        {
            self.units.look_at_all();
        }
        self.dirty.extend(
            self.words
                .due(&self.dataset.config, looked, now, &mut effects),
        );
        self.step_units(now, &mut effects);
        // Before anything is answered, what is found is compiled once, at the end of that time.
        if !self.is_silent()
            && !self.dirty.is_empty()
            && self.published.is_none_or(|at| now >= at + COALESCE)
        {
            self.publish(now, &mut effects);
        }
        self.keep(now, &mut effects);
        self.keep_words(now, &mut effects);
        let write = self.units.persist();
        self.take_units(write, &mut effects);
        effects
    }

    /// Gives the end of a write to the part that began it.
    fn committed(&mut self, end: commit::End, now: Moment, effects: &mut Vec<Effect>) {
        match end.collection {
            Collection::Health => effects.extend(self.history.ended(end, now).map(Effect::Say)),
            Collection::Units => {
                let outputs = self.units.write_ended(end, now);
                self.take_units(outputs, effects);
            }
            Collection::Overrides => {
                let changed = self
                    .words
                    .write_ended(end, &self.dataset.config, now, effects);
                self.dirty.extend(changed);
            }
        }
    }

    /// Judges what operators ask for, and begins to write it.
    fn keep_words(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let (config, health, units) = (&self.dataset.config, &self.health, &self.units);
        let (first_round, blind) = (self.first_round, self.is_blind(now));
        let stranded = |before: &Overrides, after: &Overrides, at: Moment| {
            let before = unit_inputs(config, health, before, first_round, blind, at);
            let after = Inputs {
                overrides: after,
                ..before
            };
            units.stranded(&before, &after)
        };
        self.words.keep(
            &Ground {
                config,
                health,
                stranded: &stranded,
                now,
            },
            effects,
        );
    }

    /// Asks for what health and time have brought about of units.
    fn step_units(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let inputs = unit_inputs(
            &self.dataset.config,
            &self.health,
            &self.words.list,
            self.first_round,
            self.is_blind(now),
            now,
        );
        let outputs = self.units.step(&self.dirty, &inputs);
        self.take_units(outputs, effects);
    }

    /// Does what the units ask for.
    fn take_units(
        &mut self,
        outputs: impl IntoIterator<Item = units::Output>,
        effects: &mut Vec<Effect>,
    ) {
        for output in outputs {
            effects.push(match output {
                units::Output::Dirty(service) => {
                    self.dirty.insert(service);
                    continue;
                }
                units::Output::Event(event) => Effect::Say(Change::Unit(event)),
                units::Output::Write(write) => Effect::Commit(Commit::Units(write)),
                units::Output::Answer { request, result } => Effect::Answer {
                    request,
                    result: result.map(Done::Said).map_err(NotDone::from),
                },
            });
        }
    }

    /// Queries are answered from now on, although the first round has not ended: publishes what was found so far.
    pub fn answer_at_once(&mut self, now: Moment) -> Vec<Effect> {
        self.answering = true;
        let mut effects = Vec::new();
        self.publish(now, &mut effects);
        effects
    }

    fn keep(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.history.due().is_some_and(|due| due <= now)
            && let Some(history) = self.history(now)
        {
            let write = self.history.begin(history, now);
            effects.push(Effect::Commit(Commit::History(write)));
        }
    }

    fn resume(
        &mut self,
        service: ServiceId,
        region: RegionId,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let Some(ramp) = self
            .pools
            .resume(service, &self.dataset.config, region, now)
        else {
            return;
        };
        self.history.changed = true;
        self.dirty.insert(service);
        let (service, region) = self.names_of(service, region);
        effects.push(Effect::Say(Change::Resumed {
            service: service.clone(),
            region: region.clone(),
        }));
        effects.extend(ramp.map(|ramp| Effect::Say(ramp_change(service, region, ramp))));
    }

    /// Takes in what was seen of a target.
    fn observe(
        &mut self,
        target: TargetId,
        outcome: Outcome,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let changes = self.health.record(target, outcome, now);
        self.dirty_view.target(target);
        self.take(changes, effects);
    }

    fn take(&mut self, changes: Vec<health::Effect>, effects: &mut Vec<Effect>) {
        for change in changes {
            self.note(&change);
            match change {
                health::Effect::Transition(transition) => {
                    self.history.changed = true;
                    self.dirty.extend(&self.used_by[transition.target.index()]);
                    if transition.cause == Cause::Undone {
                        self.undone.extend(&self.used_by[transition.target.index()]);
                    }
                    effects.push(Effect::Say(self.target_change(&transition)));
                }
                health::Effect::Doubt { target, .. } => {
                    self.history.doubted = true;
                    self.dirty.extend(&self.used_by[target.index()]);
                }
                health::Effect::Flapping {
                    target,
                    changes,
                    within,
                    until,
                } => {
                    self.history.changed = true;
                    self.dirty.extend(&self.used_by[target.index()]);
                    let (target, check) = self.target_names(target);
                    effects.push(Effect::Say(Change::Flapping {
                        target,
                        check,
                        changes,
                        within,
                        until,
                    }));
                }
                health::Effect::FlappingEnded(target) => {
                    self.history.changed = true;
                    self.dirty.extend(&self.used_by[target.index()]);
                    let (target, check) = self.target_names(target);
                    effects.push(Effect::Say(Change::FlappingEnded { target, check }));
                }
                health::Effect::Warned { target, warning } => {
                    let (target, check) = self.target_names(target);
                    effects.push(Effect::Say(Change::Warned {
                        target,
                        check,
                        warning,
                    }));
                }
                health::Effect::IsolationBegan => effects.push(Effect::Say(Change::IsolationBegan)),
                health::Effect::IsolationEnded(end) => {
                    self.units.look_at_all();
                    effects.push(Effect::Say(Change::IsolationEnded(end)));
                }
            }
        }
    }

    /// Recomputes the plans of the services that changed, and publishes where any did.
    fn publish(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let mut changed = false;
        for service in std::mem::take(&mut self.dirty) {
            let (plan, ramps) = self.compile(service, now);
            self.dirty_view.service(service);
            let old = &self.plans[service.index()];
            if **old != plan {
                say_differences(&self.dataset, service, old, &plan, effects);
                self.plans[service.index()] = Arc::new(plan);
                changed = true;
            }
            for (region, ramp) in ramps {
                let (service, region) = self.names_of(service, region);
                effects.push(Effect::Say(ramp_change(service, region, ramp)));
            }
        }
        if changed {
            self.emit(now, effects);
        } else {
            self.units.published(self.publication);
        }
    }

    fn emit(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.published = Some(now);
        self.publication += 1;
        self.units.published(self.publication);
        effects.push(Effect::Publish(self.snapshot()));
    }

    /// Takes up a new dataset: health follows by (check definition, address), and what is new starts
    /// from its own first round.
    fn reload(
        &mut self,
        dataset: Arc<Dataset>,
        first_round: Vec<(TargetId, Outcome)>,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let (mut health, keys) = (new_health(&dataset), keys(&dataset));
        let carry = match_targets(&self.keys, &keys);
        health.carry_over(&self.health, &carry);
        let mut pushes = Pushes::new(&dataset.config.checks, &dataset.config.targets);
        pushes.carry_over(&self.pushes, &carry);
        if !self.first_round {
            pushes.begin(now);
        }
        self.pushes = pushes;
        let mut pools = Pools::new(&dataset.config);
        pools.restore(
            &dataset.config,
            &self.pools.records(&self.dataset.config, now),
            Duration::ZERO,
            now,
        );
        (self.health, self.keys, self.pools) = (health, keys, pools);
        self.numbering
            .renumber(&self.dataset.config, &dataset.config);
        self.used_by = used_by(&dataset);
        let outputs = self.units.reload(&dataset.config);
        self.take_units(outputs, effects);
        self.dataset = dataset;
        self.history.changed = true;
        self.generation += 1;
        for (target, outcome) in first_round {
            self.observe(target, outcome, now, effects);
        }
        self.compile_all(now);
        self.dirty.clear();
        self.emit(now, effects);
    }

    /// The plan of this moment, and the pools whose weight began to grow or has grown.
    fn compile(&mut self, id: ServiceId, now: Moment) -> (Plan, Vec<(RegionId, Ramp)>) {
        let (config, health) = (&self.dataset.config, &self.health);
        let undone = self.undone.remove(&id);
        let service = &config.services[id.index()];
        let (regions, words) = (&config.regions, &self.words.list);
        let state = |pool: &Pool, endpoint: &Endpoint| {
            words
                .state(regions, service, pool, endpoint, now)
                .unwrap_or_else(|| health.endpoint(endpoint))
        };
        let (mut standings, ramps) = self.pools.update(id, config, &state, health, undone, now);
        let applied = words.apply(regions, service, &mut standings, now);
        let blind = self.stall.is_some_and(|stall| now < stall.judged);
        let inputs = unit_inputs(config, health, words, self.first_round, blind, now);
        let holding = self.units.settle(id, &inputs);
        let mut plan = Plan::compile_held(&applied, regions, &state, &standings, holding);
        plan.count_in(self.numbering.of(id));
        (plan, ramps)
    }

    fn compile_all(&mut self, now: Moment) {
        self.dirty_view.all();
        let services = 0..self.dataset.config.services.len();
        self.plans = services
            .map(|index| Arc::new(self.compile(ServiceId::from_index(index), now).0))
            .collect();
    }

    fn names_of(&self, service: ServiceId, region: RegionId) -> (String, String) {
        let config = &self.dataset.config;
        (
            config.services[service.index()].name.to_string(),
            config.region_name(region).to_owned(),
        )
    }

    /// What is probed, and by which check.
    fn target_names(&self, target: TargetId) -> (String, String) {
        let config = &self.dataset.config;
        let target = &config.targets[target.index()];
        (
            target.target.to_string(),
            config.checks[target.check.index()].name.clone(),
        )
    }

    fn target_change(&self, transition: &health::Transition) -> Change {
        let config = &self.dataset.config;
        let (target, check) = self.target_names(transition.target);
        let mut regions: BTreeSet<RegionId> = BTreeSet::new();
        regions.extend(&self.health.spec(transition.target).regions);
        Change::Target {
            target,
            check,
            up: transition.up,
            cause: transition.cause,
            regions: regions
                .into_iter()
                .map(|region| config.region_name(region).to_owned())
                .collect(),
            services: self.used_by[transition.target.index()].len(),
        }
    }
}

/// The inputs of the units. Fields of the publisher are borrowed one by one, so that the units may
/// change meanwhile.
fn unit_inputs<'i>(
    config: &'i Config,
    health: &'i Health,
    overrides: &'i Overrides,
    first_round: bool,
    blind: bool,
    now: Moment,
) -> Inputs<'i> {
    Inputs {
        config,
        health,
        overrides,
        first_round,
        blind,
        now,
    }
}

fn keys(dataset: &Dataset) -> Arc<[Key]> {
    Key::all(&dataset.config.checks, &dataset.config.targets)
}

fn ramp_change(service: String, region: String, ramp: Ramp) -> Change {
    match ramp {
        Ramp::Began(ramp) => Change::RampBegan {
            service,
            region,
            ramp,
        },
        Ramp::Ended => Change::RampEnded { service, region },
    }
}

/// The targets of `new` that `old` has no health of: to be probed before `new` is published.
pub fn new_targets(old: &Dataset, new: &Dataset) -> Vec<TargetId> {
    let carried = match_targets(&keys(old), &keys(new));
    let unknown = carried
        .iter()
        .enumerate()
        .filter(|(_, carry)| matches!(carry, Carry::New));
    unknown
        .map(|(index, _)| TargetId::from_index(index))
        .collect()
}

fn new_health(dataset: &Dataset) -> Health {
    let config = &dataset.config;
    Health::new(TargetSpec::all(
        &config.checks,
        &config.targets,
        &config.services,
        &config.server.sanity,
    ))
}

fn used_by(dataset: &Dataset) -> Vec<Vec<ServiceId>> {
    let mut used_by = vec![Vec::new(); dataset.config.targets.len()];
    for (index, service) in dataset.config.services.iter().enumerate() {
        let endpoints = service.pools.iter().flat_map(|pool| &pool.endpoints);
        let ready = service
            .unit
            .iter()
            .flat_map(|unit| unit.rules.ready.iter().flatten().flatten());
        for target in endpoints.flat_map(|endpoint| &endpoint.probes).chain(ready) {
            let services: &mut Vec<ServiceId> = &mut used_by[target.index()];
            if services.last() != Some(&ServiceId::from_index(index)) {
                services.push(ServiceId::from_index(index));
            }
        }
    }
    used_by
}

/// Where the pool in `region` stands in a plan; `None` for a family that it does not offer.
fn stand(plan: &Plan, region: RegionId, family: Family) -> Option<Stand> {
    let rung = Rung::best(plan.pool(region)?.rungs[family.index()])?;
    let note = if rung == Rung::Standby {
        plan.note(region)
    } else {
        None
    };
    let held = note.is_some_and(|note| note.standing.held[family.index()]);
    Some(Stand {
        rung,
        held,
        drained: note.is_some_and(|note| note.standing.drained.is_some()),
    })
}

/// One sentence per pool and family whose rung changed, and one where the service's did.
fn say_differences(
    dataset: &Dataset,
    service: ServiceId,
    old: &Plan,
    new: &Plan,
    effects: &mut Vec<Effect>,
) {
    let name = || dataset.config.services[service.index()].name.to_string();
    // What changes hands says so itself.
    if old.holding().map(Holding::owner) != new.holding().map(Holding::owner) {
        return;
    }
    for (family, label) in [(Family::V4, "A"), (Family::V6, "AAAA")] {
        if !new.families.contains(family) {
            continue;
        }
        for pool in &new.pools {
            if let (Some(old), Some(new)) = (
                stand(old, pool.region, family),
                stand(new, pool.region, family),
            ) && old != new
            {
                let region = dataset.config.region_name(pool.region).to_owned();
                effects.push(Effect::Say(Change::Pool {
                    service: name(),
                    region,
                    family: label,
                    old,
                    new,
                }));
            }
        }
        if let (Some(old), Some(new)) = (old.rung(family), new.rung(family))
            && old != new
        {
            effects.push(Effect::Say(Change::Service {
                service: name(),
                family: label,
                old,
                new,
            }));
        }
    }
}
