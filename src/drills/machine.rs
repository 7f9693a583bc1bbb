//! The state machine of drills: at most one runs, and the last ones leave their reports.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use super::DrillRequest;
use super::report::{DrillReport, Verdict};
use super::survey::{Survey, WATERMARK};
use crate::changes::{DrillChange, DrillEvent, Keys};
use crate::model::{Moment, Severity, WallTime};
use crate::overrides::{Override, OverrideRequest};

/// The most reports that are kept.
const KEPT: usize = 50;
/// The time after which a release that has not come about is asked for again.
const AGAIN: Duration = Duration::from_secs(5);
/// The time after the end of a drain at which it is taken for ended although nobody has said so.
const LATE: Duration = Duration::from_secs(60);

/// The drills of this node.
#[derive(Debug, Default)]
pub struct Drills {
    /// The highest number ever given.
    last: u64,
    running: Option<Running>,
    /// The reports of those that have ended, oldest first.
    ended: VecDeque<DrillReport>,
    /// Overrides of drills that this process has not begun, which are to be released.
    left: BTreeSet<u64>,
    /// The moment at which their release was asked for last.
    left_asked: Option<Moment>,
}

/// The document of the drills, as it is kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StoredDrills {
    /// The highest number ever given.
    pub last: u64,
    /// The reports, oldest first; that of a running drill is the last.
    pub reports: Vec<DrillReport>,
}

/// An output of the drills.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// This override is to be made; its fate comes back through [`Drills::drained`].
    Drain(OverrideRequest),
    /// The override of this number is to be released; where that fails, it is asked for again.
    Release(u64),
    /// This is to be kept.
    Keep(StoredDrills),
    /// This happened.
    Told(DrillChange),
}

/// The reason why a drill has not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotStarted {
    /// The drill of this number runs.
    Running(u64),
    /// The survey speaks against it.
    Refused {
        /// Its number.
        drill: u64,
        /// The objections, as sentences.
        why: Vec<String>,
    },
}

/// Error of stopping a drill: none runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotStopped;

#[derive(Debug)]
struct Running {
    report: DrillReport,
    lasts: Duration,
    /// The moment since which its drain is in force; `None` until it is known to be.
    since: Option<Moment>,
    survivors: BTreeSet<String>,
    services: BTreeSet<String>,
    /// The verdict and its causes, once it is to end before its time.
    ending: Option<(Verdict, Vec<String>)>,
    /// The moment at which the release was asked for last.
    release_asked: Option<Moment>,
}

impl Drills {
    /// The report of the drill that runs.
    pub fn running(&self) -> Option<&DrillReport> {
        self.running.as_ref().map(|running| &running.report)
    }

    /// Every report that is kept, oldest first; that of a running drill is the last.
    pub fn reports(&self) -> impl DoubleEndedIterator<Item = &DrillReport> {
        self.ended.iter().chain(self.running())
    }

    /// Takes in what is kept, and the overrides there are: a drill that ran when its process ended
    /// is aborted, since nobody has watched its survivors.
    pub fn adopt(
        &mut self,
        stored: StoredDrills,
        overrides: &[Override],
        now: Moment,
        wall: WallTime,
    ) -> Vec<Output> {
        self.last = self.last.max(stored.last);
        let mut outputs = Vec::new();
        for mut report in stored.reports {
            self.last = self.last.max(report.id);
            if report.verdict == Verdict::Running {
                let why = "the server ended meanwhile, and nobody watched the survivors".to_owned();
                report.finish(Verdict::Aborted, vec![why], now, wall);
                outputs.push(Output::Told(report.change()));
            }
            self.keep(report);
        }
        for own in overrides {
            if let Some(drill) = own.drill {
                self.last = self.last.max(drill);
                self.left.insert(own.id);
            }
        }
        if !outputs.is_empty() {
            outputs.push(Output::Keep(self.stored()));
        }
        outputs.extend(self.release_left(now));
        outputs
    }

    /// Begins a drill, unless one runs or the survey speaks against it.
    pub fn start(
        &mut self,
        asked: DrillRequest,
        survey: &Survey<'_>,
        now: Moment,
        wall: WallTime,
    ) -> (Result<u64, NotStarted>, Vec<Output>) {
        if let Some(running) = self.running() {
            return (Err(NotStarted::Running(running.id)), Vec::new());
        }
        self.last += 1;
        let drill = self.last;
        let mut report = DrillReport::begin(drill, &asked, survey.shift, now, wall);
        let why = survey.objections();
        if !why.is_empty() {
            report.finish(Verdict::Refused, why.clone(), now, wall);
            let told = Output::Told(report.change());
            self.keep(report);
            let outputs = vec![Output::Keep(self.stored()), told];
            return (Err(NotStarted::Refused { drill, why }), outputs);
        }
        let mut services = BTreeSet::new();
        for name in &survey.shift.names {
            services.insert(name.name.clone());
        }
        self.running = Some(Running {
            report,
            lasts: asked.lasts,
            since: None,
            survivors: survey.survivors(),
            services,
            ending: None,
            release_asked: None,
        });
        // Kept first: a process that ends in between finds that a drill was under way.
        let outputs = vec![
            Output::Keep(self.stored()),
            Output::Drain(asked.drain(drill)),
        ];
        (Ok(drill), outputs)
    }

    /// Takes in the fate of the drain: its number once it is in force, or the reason why it is not.
    pub fn drained(
        &mut self,
        result: Result<u64, String>,
        now: Moment,
        wall: WallTime,
    ) -> Vec<Output> {
        let Some(running) = &mut self.running else {
            return Vec::new();
        };
        let id = match result {
            Ok(id) => id,
            Err(why) => return self.finish(Verdict::Refused, vec![why], now, wall),
        };
        running.since = Some(now);
        running.report.r#override = Some(id);
        let told = running.report.change();
        let mut outputs = vec![Output::Told(told), Output::Keep(self.stored())];
        // A survivor may have degraded while the disk was waited for.
        outputs.extend(self.release(now));
        outputs
    }

    /// Takes in a change, as others are told of it.
    pub fn seen(
        &mut self,
        keys: &Keys,
        sentence: &str,
        now: Moment,
        wall: WallTime,
    ) -> Vec<Output> {
        if let Some(id) = keys.r#override
            && matches!(keys.event, "ended" | "released" | "ended_meanwhile")
        {
            self.left.remove(&id);
            return self.override_ended(id, keys.event, now, wall);
        }
        let Some(running) = &mut self.running else {
            return Vec::new();
        };
        if !running.is_harmed_by(keys) {
            return Vec::new();
        }
        running.report.note(sentence, now, wall);
        self.abort(sentence.to_owned(), now)
    }

    /// Takes in that the override of this number is no longer there.
    pub fn gone(&mut self, id: u64, now: Moment, wall: WallTime) -> Vec<Output> {
        self.left.remove(&id);
        self.override_ended(id, "ended", now, wall)
    }

    /// Takes in that changes were lost before they came here.
    pub fn lost(&mut self, now: Moment) -> Vec<Output> {
        self.abort(
            "changes were lost, so nobody knows how the survivors are".to_owned(),
            now,
        )
    }

    /// Takes in the load, 0 … 1, that the endpoints of a region report: the highest average of its
    /// pools.
    pub fn load(&mut self, region: &str, load: f64, now: Moment) -> Vec<Output> {
        let Some(running) = &mut self.running else {
            return Vec::new();
        };
        if !running.survivors.contains(region) {
            return Vec::new();
        }
        running.report.note_load(region, load);
        if load <= WATERMARK {
            return Vec::new();
        }
        self.abort(
            format!("{region} reports a load of {load:.2}, above {WATERMARK}"),
            now,
        )
    }

    /// Ends the drill that runs before its time, for `by`.
    pub fn stop(&mut self, by: &str, now: Moment) -> (Result<u64, NotStopped>, Vec<Output>) {
        let Some(running) = &mut self.running else {
            return (Err(NotStopped), Vec::new());
        };
        let id = running.report.id;
        // One that aborts already does so for a better reason.
        let why = || (Verdict::Stopped, vec![format!("{by} stopped it")]);
        running.ending.get_or_insert_with(why);
        (Ok(id), self.release(now).into_iter().collect())
    }

    /// Takes in that time has passed: releases that have not come about are asked for again.
    pub fn tick(&mut self, now: Moment, wall: WallTime) -> Vec<Output> {
        let mut outputs = self.release_left(now);
        if let Some(running) = &self.running
            && let Some(since) = running.since
        {
            if now >= since + running.lasts + LATE {
                let verdict = running.ending.clone();
                let (verdict, why) = verdict.unwrap_or((Verdict::Completed, Vec::new()));
                outputs.extend(self.finish(verdict, why, now, wall));
            } else {
                outputs.extend(self.release(now));
            }
        }
        outputs
    }

    /// The document of this moment.
    pub fn stored(&self) -> StoredDrills {
        StoredDrills {
            last: self.last,
            reports: self.reports().cloned().collect(),
        }
    }

    fn override_ended(&mut self, id: u64, event: &str, now: Moment, wall: WallTime) -> Vec<Output> {
        let Some(running) = &self.running else {
            return Vec::new();
        };
        if running.report.r#override != Some(id) {
            return Vec::new();
        }
        let (verdict, why) = match (&running.ending, event) {
            (Some(ending), _) => ending.clone(),
            (None, "released") => {
                let why = format!("its override {id} was released");
                (Verdict::Stopped, vec![why])
            }
            (None, _) => (Verdict::Completed, Vec::new()),
        };
        self.finish(verdict, why, now, wall)
    }

    fn abort(&mut self, why: String, now: Moment) -> Vec<Output> {
        let Some(running) = &mut self.running else {
            return Vec::new();
        };
        running
            .ending
            .get_or_insert_with(|| (Verdict::Aborted, vec![why]));
        self.release(now).into_iter().collect()
    }

    /// Asks for the release of the drain where it is to end, and is in force, and nobody has asked
    /// a moment ago.
    fn release(&mut self, now: Moment) -> Option<Output> {
        let running = self.running.as_mut()?;
        running.ending.as_ref()?;
        let id = running.report.r#override?;
        if running.release_asked.is_some_and(|at| now < at + AGAIN) {
            return None;
        }
        running.release_asked = Some(now);
        Some(Output::Release(id))
    }

    /// Asks for the release of what drills before this process have left.
    fn release_left(&mut self, now: Moment) -> Vec<Output> {
        if self.left.is_empty() || self.left_asked.is_some_and(|at| now < at + AGAIN) {
            return Vec::new();
        }
        self.left_asked = Some(now);
        self.left.iter().copied().map(Output::Release).collect()
    }

    fn finish(
        &mut self,
        verdict: Verdict,
        why: Vec<String>,
        now: Moment,
        wall: WallTime,
    ) -> Vec<Output> {
        let Some(mut running) = self.running.take() else {
            return Vec::new();
        };
        let lasted = match (verdict, running.since) {
            // It was in force some time before anybody was told.
            (Verdict::Completed, _) => running.lasts,
            (_, Some(since)) => now.since(since).min(running.lasts),
            (_, None) => Duration::ZERO,
        };
        running.report.lasted_seconds = lasted.as_secs_f64();
        running.report.finish(verdict, why, now, wall);
        let told = Output::Told(running.report.change());
        self.keep(running.report);
        vec![told, Output::Keep(self.stored())]
    }

    fn keep(&mut self, report: DrillReport) {
        self.ended.push_back(report);
        while self.ended.len() > KEPT {
            self.ended.pop_front();
        }
    }
}

impl Running {
    /// True for a change after which a survivor, or a service of which clients moved, is worse off.
    fn is_harmed_by(&self, keys: &Keys) -> bool {
        if keys.severity != Severity::Warning {
            return false;
        }
        let is_of_survivor = self
            .survivors
            .iter()
            .any(|region| keys.is_in_region(region));
        match (keys.kind, keys.event) {
            ("node", _) => true,
            ("endpoint", "down" | "flapping") | ("pool", _) => is_of_survivor,
            ("service", _) => keys
                .service
                .as_ref()
                .is_some_and(|service| self.services.contains(service)),
            _ => false,
        }
    }
}

impl DrillReport {
    fn finish(&mut self, verdict: Verdict, why: Vec<String>, now: Moment, wall: WallTime) {
        self.verdict = verdict;
        self.why = why;
        self.ended = Some(wall.show(now).to_string());
    }

    /// The change that its state is.
    fn change(&self) -> DrillChange {
        let why = self.why.join("; ");
        DrillChange {
            drill: self.id,
            target: self.target.clone(),
            by: self.by.clone(),
            change: match self.verdict {
                Verdict::Running => DrillEvent::Started,
                Verdict::Completed => DrillEvent::Completed,
                Verdict::Stopped => DrillEvent::Stopped(why),
                Verdict::Aborted => DrillEvent::Aborted(why),
                Verdict::Refused => DrillEvent::Refused(why),
            },
        }
    }
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotStarted::Running(drill) => write!(f, "drill {drill} is running: one at a time"),
            NotStarted::Refused { drill, why } => {
                write!(f, "drill {drill} is refused: {}", why.join("; "))
            }
        }
    }
}

impl std::error::Error for NotStarted {}

impl fmt::Display for NotStopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no drill is running")
    }
}

impl std::error::Error for NotStopped {}
