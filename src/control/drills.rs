//! Drills: the task that drives their state machine, beside the publisher's loop.
//!
//! ```text
//! operators ─► DrillDesk ─┐                     ┌─► overrides, through the loop
//! [[drills]] ─ seconds ───┼─► Drills, a machine ┼─► changes, which the loop numbers
//! changes, loads ─────────┘                     └─► drills.json, written by another task
//! ```
//! It sees changes as every follower of [`super::Events`] does, so a survivor that degrades is known
//! here a moment after the log knows it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use super::events::{Seen, Subscription};
use super::{Command, Control, Request, ask, preflight};
use crate::changes::{self, DrillEvent};
use crate::clock::Clock;
use crate::dataset::Dataset;
use crate::drills::{
    DrillReport, DrillRequest, Drills, NotStarted, NotStopped, Output, StoredDrills, Survey,
    Verdict,
};
use crate::model::{DrillSpec, Pool};
use crate::overrides::{Scope, Selector};
use crate::publisher::{NotDone, View};
use crate::state::{load_drills, write_drills};

/// The pause between two looks at loads and schedules.
const SECOND: Duration = Duration::from_secs(1);
/// The time after its moment at which a scheduled drill is missed instead of begun: the machine was
/// suspended, or its clock was set.
const MISSED: Duration = Duration::from_secs(60);
/// The most operators who wait for the task.
const WAITING: usize = 8;
/// The name of the operator of scheduled drills.
const SCHEDULE: &str = "schedule";

/// The state directory, where this process writes there.
pub type StatePlace = Arc<ArcSwapOption<PathBuf>>;

/// The operators' way to the drills; clones lead to the same.
#[derive(Debug, Clone)]
pub struct DrillDesk {
    asks: mpsc::Sender<Ask>,
    shown: Arc<Mutex<Arc<DrillsShown>>>,
    tally: Arc<[AtomicU64; Verdict::ALL.len()]>,
}

/// The drills of a moment.
#[derive(Debug, Clone, Default)]
pub struct DrillsShown {
    /// The reports that are kept, oldest first; that of a running drill is the last.
    pub reports: Vec<DrillReport>,
    /// The next drills of the schedule, soonest first: its Unix time, and what is drained.
    pub next: Vec<(Duration, DrillSpec)>,
}

/// The task's end of the desk.
#[derive(Debug)]
pub struct DrillInbox {
    asks: mpsc::Receiver<Ask>,
    desk: DrillDesk,
}

/// A request of an operator.
#[derive(Debug)]
enum Ask {
    Start(
        DrillRequest,
        oneshot::Sender<Result<DrillReport, DrillRefusal>>,
    ),
    Stop(String, oneshot::Sender<Result<DrillReport, NotStopped>>),
}

/// The reason why a drill has not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DrillRefusal {
    /// Something speaks against it.
    NotStarted(NotStarted),
    /// The server cannot do it now, as a sentence says.
    Unavailable(String),
}

impl fmt::Display for DrillRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DrillRefusal::NotStarted(why) => why.fmt(f),
            DrillRefusal::Unavailable(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for DrillRefusal {}

impl DrillDesk {
    /// A desk, and the end of it that [`drive`] takes.
    pub fn new() -> (DrillDesk, DrillInbox) {
        let (sender, asks) = mpsc::channel(WAITING);
        let desk = DrillDesk {
            asks: sender,
            shown: Arc::default(),
            tally: Arc::default(),
        };
        let inbox = DrillInbox {
            asks,
            desk: desk.clone(),
        };
        (desk, inbox)
    }

    /// Begins a drill; returns its report so far once its drain is in force.
    ///
    /// # Errors
    /// [`DrillRefusal`] where it does not begin.
    pub async fn start(&self, asked: DrillRequest) -> Result<DrillReport, DrillRefusal> {
        let (reply, answer) = oneshot::channel();
        let gone = || DrillRefusal::Unavailable("stopping".to_owned());
        let sent = self.asks.send(Ask::Start(asked, reply)).await;
        sent.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Ends the drill that runs, for `by`; returns its report so far.
    ///
    /// # Errors
    /// [`NotStopped`] where none runs.
    pub async fn stop(&self, by: String) -> Result<DrillReport, NotStopped> {
        let (reply, answer) = oneshot::channel();
        let sent = self.asks.send(Ask::Stop(by, reply)).await;
        sent.map_err(|_| NotStopped)?;
        answer.await.map_err(|_| NotStopped)?
    }

    /// The drills of this moment.
    pub fn shown(&self) -> Arc<DrillsShown> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.clone()
    }

    /// The number of drills that this process has seen begin, for [`Verdict::Running`], or end with
    /// a verdict.
    pub fn count(&self, verdict: Verdict) -> u64 {
        self.tally[verdict as usize].load(Ordering::Relaxed)
    }

    /// True while a drill runs.
    pub fn is_running(&self) -> bool {
        let shown = self.shown();
        let last = shown.reports.last();
        last.is_some_and(|report| report.verdict == Verdict::Running)
    }
}

/// The state of the task.
struct Driver {
    control: Control,
    desk: DrillDesk,
    drills: Drills,
    timetable: Timetable,
    keeper: watch::Sender<StoredDrills>,
}

/// Drives the drills for as long as the runtime lives; reports are kept in `place`.
pub async fn drive(control: Control, mut inbox: DrillInbox, place: StatePlace) {
    let mut changes = control.events.subscribe(None);
    let (keeper, kept) = watch::channel(StoredDrills::default());
    let mut driver = Driver {
        desk: inbox.desk.clone(),
        control,
        drills: Drills::default(),
        timetable: Timetable::default(),
        keeper,
    };
    driver.adopt(&place).await;
    tokio::spawn(keep(kept, place));
    let mut second = tokio::time::interval(SECOND);
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // Changes come first: a survivor that degrades waits behind no operator.
            biased;
            seen = changes.next() => driver.see(seen).await,
            asked = inbox.asks.recv() => match asked {
                Some(Ask::Start(asked, reply)) => {
                    let _ = reply.send(driver.start(asked, &mut changes).await);
                }
                Some(Ask::Stop(by, reply)) => {
                    let _ = reply.send(driver.stop(&by).await);
                }
                // A desk of our own keeps it open.
                None => return,
            },
            _ = second.tick() => driver.look(&mut changes).await,
        }
    }
}

/// Writes what is to be kept, the newest alone where the disk is slow.
async fn keep(mut kept: watch::Receiver<StoredDrills>, place: StatePlace) {
    while kept.changed().await.is_ok() {
        let stored = kept.borrow_and_update().clone();
        let Some(directory) = place.load_full() else {
            continue;
        };
        let written = tokio::task::spawn_blocking(move || write_drills(&directory, &stored)).await;
        if let Ok(Err(why)) = written {
            tracing::warn!(
                "report of drill not persisted: {why}; it is shown until the server ends"
            );
        }
    }
}

impl Driver {
    /// Takes in what processes before this one have left.
    async fn adopt(&mut self, place: &StatePlace) {
        let (place, state) = (place.load_full(), self.control.state.clone());
        let found = tokio::task::spawn_blocking(move || {
            let stored = match place.map(|directory| load_drills(&directory)) {
                Some(Ok(stored)) => stored,
                Some(Err(why)) => {
                    tracing::warn!("{why}");
                    StoredDrills::default()
                }
                None => StoredDrills::default(),
            };
            (stored, state.read())
        });
        if let Ok((stored, view)) = found.await {
            let (now, wall) = (Clock.now(), Clock.wall());
            let outputs = self.drills.adopt(stored, &view.overrides.list.0, now, wall);
            self.carry_out(outputs).await;
        }
        self.show();
    }

    async fn start(
        &mut self,
        asked: DrillRequest,
        changes: &mut Subscription,
    ) -> Result<DrillReport, DrillRefusal> {
        // Looked at before the survey, which takes its time.
        if let Some(running) = self.drills.running() {
            return Err(DrillRefusal::NotStarted(NotStarted::Running(running.id)));
        }
        let surveyed = preflight::survey(&self.control, asked.drain(0)).await;
        let Some(shift) = surveyed else {
            let why = "the survey has not ended: try again".to_owned();
            return Err(DrillRefusal::Unavailable(why));
        };
        // What was seen before the survey is in it.
        while changes.try_next().is_some() {}
        let (now, wall) = (Clock.now(), Clock.wall());
        let not_ready = self.control.liveness.ready(now).err();
        let not_ready = not_ready.map(|why| why.to_string());
        let survey = Survey {
            shift: &shift,
            not_ready: not_ready.as_deref(),
        };
        let (started, outputs) = self.drills.start(asked, &survey, now, wall);
        self.carry_out(outputs).await;
        let drill = started.map_err(DrillRefusal::NotStarted)?;
        let report = self.drills.reports().find(|own| own.id == drill).cloned();
        let report = report.ok_or_else(|| DrillRefusal::Unavailable("it is gone".to_owned()))?;
        match report.verdict {
            // The loop is the judge, and the disk has its say.
            Verdict::Refused => Err(DrillRefusal::NotStarted(NotStarted::Refused {
                drill,
                why: report.why,
            })),
            _ => Ok(report),
        }
    }

    async fn stop(&mut self, by: &str) -> Result<DrillReport, NotStopped> {
        let (stopped, outputs) = self.drills.stop(by, Clock.now());
        let report = self.drills.running().cloned();
        self.carry_out(outputs).await;
        stopped.and(report.ok_or(NotStopped))
    }

    async fn see(&mut self, seen: Seen) {
        let (now, wall) = (Clock.now(), Clock.wall());
        let outputs = match seen {
            Seen::Change(change) => self.drills.seen(&change.keys, &change.sentence, now, wall),
            Seen::Lost(..) => self.drills.lost(now),
            Seen::Restarted(_) => Vec::new(),
        };
        self.carry_out(outputs).await;
    }

    /// Looks at the loads of survivors, at the schedule, and at what time has brought.
    async fn look(&mut self, changes: &mut Subscription) {
        let (now, wall) = (Clock.now(), Clock.wall());
        let mut outputs = self.drills.tick(now, wall);
        if self.drills.running().is_some() {
            let state = self.control.state.clone();
            let loads = tokio::task::spawn_blocking(move || loads(&state.read())).await;
            for (region, load) in loads.unwrap_or_default() {
                outputs.extend(self.drills.load(&region, load, now));
            }
        }
        self.carry_out(outputs).await;
        let dataset = self.control.published.load().dataset.clone();
        let due = self.timetable.take_due(&dataset, wall.unix(now));
        for spec in due {
            self.start_scheduled(&dataset, &spec, changes).await;
        }
        self.show();
    }

    async fn start_scheduled(
        &mut self,
        dataset: &Dataset,
        spec: &DrillSpec,
        changes: &mut Subscription,
    ) {
        // The configuration has made sure that there is such a place.
        let Ok(target) = Scope::find(&dataset.config, &spec.target) else {
            return;
        };
        let asked = DrillRequest {
            target,
            lasts: spec.lasts,
            reason: spec.reason.clone(),
            by: format!("{SCHEDULE}@{}", self.control.node()),
            scheduled: true,
        };
        // Refusals of the survey are changes, which are logged; this is all that is not.
        match self.start(asked, changes).await {
            Ok(_) | Err(DrillRefusal::NotStarted(NotStarted::Refused { .. })) => {}
            Err(why) => tracing::warn!("scheduled drill of {} not begun: {why}", spec.target),
        }
    }

    /// Carries out outputs, and those that their outcomes bring about.
    async fn carry_out(&mut self, outputs: Vec<Output>) {
        let mut waiting: VecDeque<Output> = outputs.into();
        while let Some(output) = waiting.pop_front() {
            match output {
                Output::Drain(asked) => {
                    let result = self.command(Command::Override(asked)).await;
                    let result = result.map_err(|why| why.to_string());
                    let (now, wall) = (Clock.now(), Clock.wall());
                    waiting.extend(self.drills.drained(result, now, wall));
                }
                Output::Release(id) => waiting.extend(self.release(id).await),
                Output::Keep(stored) => {
                    self.keeper.send_replace(stored);
                }
                Output::Told(change) => {
                    let verdict = match &change.change {
                        DrillEvent::Started => Verdict::Running,
                        DrillEvent::Completed => Verdict::Completed,
                        DrillEvent::Stopped(_) => Verdict::Stopped,
                        DrillEvent::Aborted(_) => Verdict::Aborted,
                        DrillEvent::Refused(_) => Verdict::Refused,
                    };
                    self.desk.tally[verdict as usize].fetch_add(1, Ordering::Relaxed);
                    let told = Request::Tell(changes::Event::Drill(change));
                    // Nobody hears it where the process ends.
                    let _ = self.control.requests.send(told).await;
                }
            }
            self.show();
        }
    }

    /// Has the loop release the drain; the machine asks again where that fails.
    async fn release(&mut self, id: u64) -> Vec<Output> {
        let dataset = self.control.published.load().dataset.clone();
        let what = Selector::find(&dataset.config, &id.to_string());
        // What ends a drill brings a region back, so that nothing can speak against it.
        let command = Command::Release { what, force: true };
        match self.command(command).await {
            Ok(_) => {}
            Err(NotDone::NotFound(_)) => {
                // It ended while nobody looked, and the change that says so is lost.
                let (now, wall) = (Clock.now(), Clock.wall());
                return self.drills.gone(id, now, wall);
            }
            Err(why) => {
                tracing::warn!("override {id} of a drill not released: {why}; trying again");
            }
        }
        Vec::new()
    }

    /// Has the loop carry out a command; the number of its override.
    async fn command(&self, command: Command) -> Result<u64, NotDone> {
        let asked = ask(&self.control, |reply| Request::Command { command, reply }).await;
        let done = asked.unwrap_or_else(|_| {
            let why = "the control loop has not answered".to_owned();
            Err(NotDone::NotKnown(why))
        })?;
        Ok(done.done.numbers().first().copied().unwrap_or_default())
    }

    /// Shows operators the drills of this moment.
    fn show(&self) {
        let shown = Arc::new(DrillsShown {
            reports: self.drills.reports().cloned().collect(),
            next: self.timetable.next.clone(),
        });
        *self
            .desk
            .shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = shown;
    }
}

/// By region: the highest load that the endpoints of a pool report on average.
fn loads(view: &View) -> BTreeMap<String, f64> {
    let config = &view.dataset.config;
    let mut loads: BTreeMap<String, f64> = BTreeMap::new();
    for pool in config.services.iter().flat_map(|service| &service.pools) {
        if let Some(load) = load(view, pool) {
            let highest = loads.entry(config.region_name(pool.region).to_owned());
            let highest = highest.or_default();
            *highest = highest.max(load);
        }
    }
    loads
}

fn load(view: &View, pool: &Pool) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0u32);
    for load in pool.endpoints.iter().filter_map(|own| view.load(own)) {
        (sum, count) = (sum + load, count + 1);
    }
    (count > 0).then(|| sum / f64::from(count))
}

/// The next drills of the schedule in use.
#[derive(Debug, Default)]
struct Timetable {
    /// The schedule that `next` is of.
    specs: Vec<DrillSpec>,
    /// Soonest first.
    next: Vec<(Duration, DrillSpec)>,
}

impl Timetable {
    /// Removes and returns the drills of `dataset` that are due at the Unix time `now`. What came
    /// while nobody looked is missed, and not made up for.
    fn take_due(&mut self, dataset: &Dataset, now: Duration) -> Vec<DrillSpec> {
        if self.specs != dataset.config.drills {
            self.specs.clone_from(&dataset.config.drills);
            self.plan(now);
            return Vec::new();
        }
        let mut due = Vec::new();
        for (at, spec) in &self.next {
            if *at > now {
                continue;
            }
            if now - *at <= MISSED {
                due.push(spec.clone());
            } else {
                tracing::warn!(
                    "scheduled drill of {} missed: it was due at {}, when this process did not run",
                    spec.target,
                    spec.schedule.show(*at)
                );
            }
        }
        // A clock that is set back would leave the next one too far away.
        let is_outdated = self.next.iter().any(|(at, _)| *at <= now);
        if is_outdated || self.is_too_far(now) {
            self.plan(now);
        }
        due
    }

    /// True where an earlier time than the next one is to come: the clock was set back.
    fn is_too_far(&self, now: Duration) -> bool {
        let mut next = self.next.iter();
        next.any(|(at, spec)| spec.schedule.next(now).is_some_and(|earlier| earlier < *at))
    }

    fn plan(&mut self, now: Duration) {
        self.next.clear();
        for spec in &self.specs {
            if let Some(at) = spec.schedule.next(now) {
                self.next.push((at, spec.clone()));
            }
        }
        self.next.sort_by_key(|(at, _)| *at);
    }
}
