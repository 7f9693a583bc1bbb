//! Runs every `tests/scenarios/*.scenario`: real configuration and zone text, the real publisher and
//! the real engine, simulated time.
//!
//! A scenario is a text of sections, each begun by a line `--- NAME`:
//!
//! - `--- meridian.toml`, `--- zones/NAME.toml`, …: files;
//! - `--- example NAME`: the configuration of `zones/examples` and its zone file NAME, as they are shipped;
//! - `--- steps`: one step a line, `#` begins a comment.
//!
//! Steps:
//!
//! | step | meaning |
//! |---|---|
//! | `fail ADDRESS [CHECK]` / `pass ADDRESS [CHECK]` / `all fail` / `all pass` | what probes see from now on |
//! | `report ADDRESS CHECK pass` / `report ADDRESS CHECK fail` | an endpoint of a `push` check reports itself; nothing probes it |
//! | `lose ADDRESS [CHECK]` | its next probe fails, and only that |
//! | `start` | the first round |
//! | `start with units` | the same; whom the files name owns each unit of which nothing is known: `serve --init-units` |
//! | `restart [after 1m]` | the server ends as it is told to, and starts again from what it kept |
//! | `kill [after 1m]` | the server is killed, and starts again from what it had kept by then |
//! | `edit OLD => NEW` | the files change, every OLD in them |
//! | `reload` | they are read again; what is new in them is probed first |
//! | `resume SERVICE [REGION]: SAYS` | an operator takes back what is held, and is told so, or why not |
//! | `unit move UNIT REGION [by force]: SAYS` | an operator moves a unit, and is told what comes of it |
//! | `unit init NAME [in epoch N]: SAYS` | an operator gives units their first owners, likewise |
//! | `drill start WHAT for 15m: SAYS` / `drill stop: SAYS` | an operator begins a drill, and is told `it runs`, or why not; or ends it |
//! | `drill report: TEXT` | TEXT stands in a line of the last report |
//! | `drain WHAT [for 1h] [ramp 10m]: SAYS` / `release WHAT: SAYS` | an operator drains something, or takes that back; is told `done`, or why not |
//! | `disk full` / `disk works` | who owns the units, and what operators say, can (not) be written from now on |
//! | `lose units` | what is kept of units is gone at the next start |
//! | `run 2s` | time passes; every target is probed at its interval |
//! | `ask NAME TYPE from CLIENT[/LEN]: ANSWER …, ttl N[, scope N]` | the answer, its rdata sorted; `NXDOMAIN`, `NODATA[, ttl N[, scope N]]`, `REFUSED` |
//! | `ask NAME TYPE from CLIENT 1000 times: ANSWER, …` | the set of distinct answers |
//! | `share NAME TYPE from CLIENT: ANSWER 0.19 to 0.21` | how many of 10 000 answers are this one |
//! | `why NAME from CLIENT: TEXT` | TEXT stands in a line of the explanation |
//! | `said: TEXT` / `not said: TEXT` | a sentence with TEXT was (not) among those since the last `said` step that asked |
//! | `ready` / `not ready` | |
//!
//! A restart may find part of what it needs in what was kept. Then answers are given at once, and `start` is the
//! first round beside them; else nothing is answered before `start`.

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hickory_proto::op::{Message, ResponseCode};
use meridian::answer::{
    Query, Response, TCP_BUFFER, Transport, Worker, explain, query_message, respond,
};
use meridian::changes::{self, Change};
use meridian::commit::{self, Documents, Failure, Revision};
use meridian::dataset::{Dataset, Snapshot};
use meridian::dns::{Name, Prefix};
use meridian::drills::{DrillRequest, Drills, Output, Survey};
use meridian::geo::{EMBEDDED, Locations};
use meridian::health::{Early, FailReason, Outcome, Report, Seen};
use meridian::model::{Moment, ProbeTarget, Target, TargetId, WallTime};
use meridian::overrides::{
    Action, Found, Override, OverrideRequest, Scope, Selector, StoredOverrides,
};
use meridian::publisher::{
    Commit, Effect, Event, OverrideEvent, ProbeEvent, Publisher, UnitEvent, new_targets,
};
use meridian::recovery::resolve;
use meridian::simulate::{Population, Present};
use meridian::state::{
    Unusable, decode_drills, decode_history, decode_overrides, decode_units, encode_drills,
    encode_history, encode_overrides, encode_units,
};
use meridian::units::{
    NotFound, UnitRecord, UnitRecords, begin_units, find_region, find_unit, find_units,
};

use common::Files;

#[test]
fn every_scenario() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut paths: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "scenario"));
    paths.sort();
    assert!(!paths.is_empty());
    let mut failures = Vec::new();
    for path in &paths {
        let text = std::fs::read_to_string(path).unwrap();
        if let Err(why) = run(&text) {
            failures.push(format!(
                "{}:{why}",
                path.file_name().unwrap().to_string_lossy()
            ));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

fn run(text: &str) -> Result<(), String> {
    let (files, steps) = text
        .split_once("--- steps\n")
        .ok_or("no section of steps")?;
    let mut world = World::new(&with_example(files)?)?;
    let first_line = files.lines().count() + 2;
    for (number, line) in steps.lines().enumerate() {
        let step = line.split(" #").next().unwrap().trim();
        let step = if step.starts_with('#') { "" } else { step };
        if !step.is_empty() {
            world
                .step(step)
                .map_err(|why| format!("{}: {step}\n    {why}", first_line + number))?;
        }
    }
    Ok(())
}

/// `files` with the two of an example in the place of its line.
fn with_example(files: &str) -> Result<String, String> {
    let Some((before, rest)) = files.split_once("--- example ") else {
        return Ok(files.to_owned());
    };
    let (name, after) = rest
        .split_once('\n')
        .ok_or("no line break after the example")?;
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("zones/examples");
    let read = |path: &str| {
        std::fs::read_to_string(examples.join(path))
            .map_err(|e| format!("zones/examples/{path}: {e}"))
    };
    let (configuration, zone) = (
        read("config/meridian.toml")?,
        read(&format!("{name}.toml"))?,
    );
    Ok(format!(
        "{before}--- meridian.toml\n{configuration}--- ../{name}.toml\n{zone}{after}"
    ))
}

fn compile(files: &str) -> Result<Arc<Dataset>, String> {
    let locations = Arc::new(Locations::read(Some(EMBEDDED), None).unwrap());
    Ok(Arc::new(Dataset::compile(
        Files::parse(files).load()?,
        locations,
    )))
}

/// The server without sockets or a clock.
struct World {
    files: String,
    dataset: Arc<Dataset>,
    publisher: Publisher,
    snapshot: Arc<Snapshot>,
    worker: Worker,
    now: Duration,
    /// Addresses, and the check where only one fails.
    failing: BTreeSet<(String, String)>,
    losing: BTreeSet<(String, String)>,
    /// `health.json`.
    kept: Option<Vec<u8>>,
    /// `units.json`.
    units: Option<Vec<u8>>,
    /// The state that its writer acts on.
    documents: Documents<UnitRecord>,
    /// `overrides.json`.
    overrides: Option<Vec<u8>>,
    disk_full: bool,
    /// Queries are answered.
    answering: bool,
    /// What the last operator was told.
    answered: Option<String>,
    /// When each target is probed next.
    due: Vec<Duration>,
    /// Targets that are probed before that.
    early: BTreeMap<usize, Duration>,
    /// Those whose last probe came before its turn.
    were_early: BTreeSet<usize>,
    said: Vec<String>,
    drills: Drills,
    /// `drills.json`.
    reports: Option<Vec<u8>>,
    /// Changes that the drills have not seen.
    unseen: VecDeque<Change>,
}

impl World {
    fn new(files: &str) -> Result<World, String> {
        let dataset = compile(files)?;
        let mut publisher = Publisher::new(dataset.clone());
        publisher.switch_history(true);
        let mut world = World {
            files: files.to_owned(),
            due: Vec::new(),
            early: BTreeMap::new(),
            were_early: BTreeSet::new(),
            snapshot: publisher.snapshot(),
            dataset,
            publisher,
            worker: Worker::new(7),
            now: Duration::ZERO,
            failing: BTreeSet::new(),
            losing: BTreeSet::new(),
            kept: None,
            units: None,
            documents: Documents::adopt([]),
            overrides: None,
            disk_full: false,
            answering: false,
            answered: None,
            said: Vec::new(),
            drills: Drills::default(),
            reports: None,
            unseen: VecDeque::new(),
        };
        world.take_up_units();
        world.schedule();
        Ok(world)
    }

    /// The first probe of each target, spread over its interval.
    fn schedule(&mut self) {
        let targets = &self.dataset.config.targets;
        let interval =
            |target: &ProbeTarget| self.dataset.config.checks[target.check.index()].interval;
        let phase =
            |(i, target)| self.now + interval(target) * (i as u32 + 1) / (targets.len() as u32 + 1);
        self.due = targets.iter().enumerate().map(phase).collect();
        self.early.clear();
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.now
    }

    fn step(&mut self, step: &str) -> Result<(), String> {
        let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
        match (verb, rest) {
            ("all", "fail") => {
                self.failing = (0..self.due.len())
                    .map(|target| self.names(target))
                    .collect()
            }
            ("all", "pass") => self.failing.clear(),
            ("fail", what) => self.failing.extend(self.matching(what)?),
            ("report", what) => self.report(what)?,
            ("lose", "units") => self.units = None,
            ("lose", what) => self.losing.extend(self.matching(what)?),
            ("pass", what) => {
                let passing = self.matching(what)?;
                self.failing.retain(|names| !passing.contains(names));
            }
            ("start", with @ ("" | "with units")) => {
                if !with.is_empty() {
                    let mut records = self.kept_units().map_err(|why| why.to_string())?;
                    begin_units(&self.dataset.config, &mut records);
                    self.units = Some(encode_units(&records));
                    self.take_up_units();
                }
                self.answering = true;
                (0..self.due.len()).for_each(|target| self.decide(target));
                self.event(ProbeEvent::FirstRoundEnded);
            }
            ("restart", after) => {
                if let Some(history) = self.publisher.history(Moment(self.now)) {
                    self.kept = Some(encode_history(&history, self.wall()));
                }
                self.begin(after)?;
            }
            ("kill", after) => self.begin(after)?,
            ("edit", change) => {
                let (old, new) = change.split_once(" => ").ok_or("edit OLD => NEW")?;
                if !self.files.contains(old) {
                    return Err("it is not in the files".into());
                }
                self.files = self.files.replace(old, new);
            }
            ("reload", "") => self.reload()?,
            ("resume", what) => return self.resume(what),
            ("drain", what) => return self.drain(what),
            ("drill", what) => return self.drill(what),
            ("release", what) => {
                let dataset = self.publisher.dataset().clone();
                return self.operator(what, |what| {
                    Ok(OverrideEvent::Release {
                        request: 1,
                        what: Selector::find(&dataset.config, what),
                        force: false,
                    }
                    .into())
                });
            }
            ("unit", what) => return self.unit(what),
            ("disk", "full") => self.disk_full = true,
            ("disk", "works") => self.disk_full = false,
            ("run", time) => self.run(parse(time)?),
            ("ask", question) => return self.ask(question),
            ("share", question) => return self.share(question),
            ("why", question) => return self.why(question),
            ("said:", text) => {
                let said = std::mem::take(&mut self.said);
                if !said.iter().any(|sentence| sentence.contains(text.trim())) {
                    return Err(format!("said: {said:#?}"));
                }
            }
            ("not", text) if text.starts_with("said:") => {
                let text = text["said:".len()..].trim();
                if self.said.iter().any(|sentence| sentence.contains(text)) {
                    return Err(format!("said: {:#?}", self.said));
                }
            }
            ("ready", "") if !self.publisher.is_ready() => return Err("it is not".into()),
            ("not", "ready") if self.publisher.is_ready() => return Err("it is".into()),
            ("ready", "") | ("not", "ready") => {}
            _ => return Err("no such step".into()),
        }
        Ok(())
    }

    /// The address and the check of a target.
    fn names(&self, target: usize) -> (String, String) {
        let config = &self.dataset.config;
        let target = &config.targets[target];
        (
            target.target.to_string(),
            config.checks[target.check.index()].name.clone(),
        )
    }

    /// The targets of an address, or of an address and a check.
    fn matching(&self, what: &str) -> Result<Vec<(String, String)>, String> {
        let mut words = what.split_whitespace();
        let (address, check) = (words.next().unwrap_or_default(), words.next());
        let all = (0..self.due.len()).map(|target| self.names(target));
        let matching: Vec<_> = all
            .filter(|names| names.0 == address && check.is_none_or(|check| check == names.1))
            .collect();
        if matching.is_empty() {
            Err(format!("nothing probes {what}"))
        } else {
            Ok(matching)
        }
    }

    /// A target in the first round: a failing probe is repeated at once.
    fn decide(&mut self, target: usize) {
        let config = &self.dataset.config;
        let fall = config.checks[config.targets[target].check.index()].fall;
        for _ in 0..fall {
            if self.probe(target) {
                return;
            }
        }
    }

    /// A new process, from what is kept.
    fn begin(&mut self, after: &str) -> Result<(), String> {
        self.now += after
            .strip_prefix("after ")
            .map_or(Ok(Duration::ZERO), parse)?;
        self.dataset = compile(&self.files)?;
        let kept = self
            .kept
            .as_ref()
            .map(|kept| decode_history(kept, self.wall()))
            .transpose()
            .map_err(|why| why.to_string())?;
        let unknown = match kept {
            Some((history, age)) => {
                let (publisher, unknown) =
                    Publisher::restore(self.dataset.clone(), &history, age, Moment(self.now));
                self.publisher = publisher;
                unknown
            }
            None => {
                self.publisher = Publisher::new(self.dataset.clone());
                (0..self.dataset.config.targets.len())
                    .map(TargetId::from_index)
                    .collect()
            }
        };
        self.publisher.switch_history(true);
        self.answering = false;
        self.drills = Drills::default();
        self.unseen.clear();
        self.take_up_units();
        let reports = self.reports.as_deref().map(decode_drills).transpose();
        let reports = reports.map_err(|why| why.to_string())?.unwrap_or_default();
        let overrides = self.publisher.overrides().0.clone();
        let now = Moment(self.now);
        let outputs = self
            .drills
            .adopt(reports, &overrides, now, WallTime::default());
        self.carry_out(outputs);
        self.schedule();
        if unknown.len() < self.due.len() {
            unknown
                .iter()
                .for_each(|target| self.decide(target.index()));
            self.answering = true;
            let effects = self.publisher.answer_at_once(Moment(self.now));
            self.take(effects);
        }
        self.snapshot = self.publisher.snapshot();
        Ok(())
    }

    fn reload(&mut self) -> Result<(), String> {
        let old = std::mem::replace(&mut self.dataset, compile(&self.files)?);
        self.schedule();
        let mut first_round = Vec::new();
        for target in new_targets(&old, &self.dataset) {
            if self.is_push(target.index()) {
                continue;
            }
            let config = &self.dataset.config;
            let fall = config.checks[config.targets[target.index()].check.index()].fall;
            for _ in 0..fall {
                first_round.push((target, self.outcome(target.index())));
                if first_round
                    .last()
                    .is_some_and(|(_, outcome)| outcome.passed())
                {
                    break;
                }
            }
        }
        self.event(Event::Reload {
            dataset: self.dataset.clone(),
            first_round,
        });
        Ok(())
    }

    fn resume(&mut self, what: &str) -> Result<(), String> {
        let (what, expected) = what
            .split_once(": ")
            .ok_or("resume SERVICE [REGION]: SAYS")?;
        let (service, region) = what
            .split_once(' ')
            .map_or((what, None), |(service, region)| (service, Some(region)));
        let dataset = self.publisher.dataset().clone();
        let held = resolve(&dataset.config, service, region).and_then(|(service, region)| {
            let held = self.publisher.held(service, region)?;
            Ok((service, held))
        });
        let said = match held {
            Err(why) => why.to_string(),
            Ok((service, held)) => {
                for region in held {
                    self.event(Event::Resume { service, region });
                }
                "resumed".to_owned()
            }
        };
        if said == expected { Ok(()) } else { Err(said) }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        let mut steps = 0;
        loop {
            // A deadline that is never over would have time stand still for ever.
            steps += 1;
            assert!(steps < 1_000_000, "time stands still at {:?}", self.now);
            let next = |i: &usize| self.due[*i].min(*self.early.get(i).unwrap_or(&Duration::MAX));
            let probe = (0..self.due.len()).min_by_key(next);
            let due = probe.map_or(Duration::MAX, |i| next(&i));
            let tick = self
                .publisher
                .next_deadline()
                .map_or(Duration::MAX, |at| at.0.max(self.now));
            let next = due.min(tick);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            match probe {
                Some(target) if due <= tick => {
                    let config = &self.dataset.config;
                    let check = &config.checks[config.targets[target].check.index()];
                    let turn = self.due[target];
                    if self.early.remove(&target).is_some_and(|early| early < turn) {
                        self.were_early.insert(target);
                    } else {
                        self.were_early.remove(&target);
                        self.due[target] += check.interval;
                    }
                    self.probe(target);
                }
                _ => self.event(Event::Tick),
            }
        }
    }

    fn is_push(&self, target: usize) -> bool {
        let config = &self.dataset.config;
        config.checks[config.targets[target].check.index()]
            .kind
            .is_push()
    }

    fn report(&mut self, what: &str) -> Result<(), String> {
        let [address, check, verdict] = what.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err("report ADDRESS CHECK pass or fail".into());
        };
        let address = address.parse().map_err(|_| "no such address")?;
        let target = self
            .publisher
            .dataset()
            .config
            .push_target(check, &Target::Address(address))
            .ok_or("no endpoint reports so")?;
        let report = Report {
            pass: verdict == "pass",
            load: None,
            note: String::new(),
        };
        self.event(ProbeEvent::Report { target, report });
        Ok(())
    }

    /// Probes a target; true where it passes, or is not probed at all.
    fn probe(&mut self, target: usize) -> bool {
        if self.is_push(target) {
            return true;
        }
        let outcome = self.outcome(target);
        let passed = outcome.passed();
        let generation = self.publisher.generation();
        self.event(ProbeEvent::Outcome {
            generation,
            target: TargetId::from_index(target),
            outcome,
        });
        passed
    }

    fn outcome(&mut self, target: usize) -> Outcome {
        let names = self.names(target);
        let fails = self.losing.remove(&names) || self.failing.contains(&names);
        let seen = if fails {
            Seen::Fail(FailReason::ConnectRefused)
        } else {
            Seen::Pass
        };
        Outcome::new(Moment(self.now), seen)
    }

    fn event(&mut self, event: impl Into<Event>) {
        let effects = self.publisher.handle(event, Moment(self.now));
        self.take(effects);
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Publish(snapshot) => self.snapshot = snapshot,
                Effect::ProbeEarly(Early { target, due }) => {
                    let (due, index) = (due.0.max(self.now), target.index());
                    // As in the scheduler: a turn between two early probes falls out.
                    if self.were_early.contains(&index)
                        && !self.early.contains_key(&index)
                        && self.due[index] <= due
                    {
                        let config = &self.dataset.config;
                        let check = config.targets[index].check;
                        self.due[index] += config.checks[check.index()].interval;
                    }
                    let early = self.early.entry(target.index()).or_insert(due);
                    *early = due.min(*early);
                }
                Effect::Changed(change) => {
                    self.said
                        .push(change.sentence(WallTime::default()).to_string());
                    self.unseen.push_back(change);
                }
                Effect::Commit(Commit::History(write)) => {
                    for put in &write.puts {
                        self.kept = Some(encode_history(&put.value, self.wall()));
                    }
                    let end = write.end(commit::Outcome::Committed(Revision(write.id)));
                    self.event(Event::Committed(end));
                }
                Effect::Commit(Commit::Units(write)) => {
                    let outcome = self
                        .documents
                        .commit(&write, |documents| match self.disk_full {
                            true => Err(full("units.json")),
                            false => {
                                self.units = Some(encode_units(documents.values()));
                                Ok(())
                            }
                        });
                    self.event(Event::Committed(write.end(outcome)));
                }
                Effect::Commit(Commit::Acme(write)) => {
                    let end = write.end(commit::Outcome::Committed(Revision(write.id)));
                    self.event(Event::Committed(end));
                }
                Effect::Commit(Commit::Overrides(write)) => {
                    let outcome = match self.disk_full {
                        true => commit::Outcome::Failed(full("overrides.json")),
                        false => commit::Outcome::Committed(Revision(write.id)),
                    };
                    for put in write.puts.iter().filter(|_| !self.disk_full) {
                        let StoredOverrides { overrides, last } = &put.value;
                        self.overrides =
                            Some(encode_overrides(overrides, *last, WallTime::default()));
                    }
                    self.event(Event::Committed(write.end(outcome)));
                }
                Effect::Answer { result, .. } => {
                    self.answered = Some(result.map_or_else(
                        |why| why.to_string(),
                        |done| done.message(WallTime::default()),
                    ));
                }
            }
        }
        self.follow();
        // No thread lags here.
        if self.answering && self.publisher.awaits_seen_by_all() {
            self.event(UnitEvent::SeenByAll {
                publication: self.publisher.publication(),
            });
        }
    }

    fn kept_units(&self) -> Result<UnitRecords, Unusable> {
        self.units
            .as_ref()
            .map_or_else(|| Ok(UnitRecords::new()), |units| decode_units(units))
    }

    fn take_up_units(&mut self) {
        let records = self.kept_units().expect("only what can be read is written");
        let overrides = self.overrides.as_ref().map(|kept| {
            decode_overrides(kept, WallTime::default()).expect("only what can be read is written")
        });
        self.documents = Documents::adopt(records.clone());
        let nothing = self.publisher.switch_overrides(true);
        self.take(nothing);
        let (overrides, last) = overrides.unwrap_or_default();
        self.event(OverrideEvent::Adopted(Found {
            overrides,
            last,
            lost: None,
        }));
        self.event(UnitEvent::Adopted {
            records,
            frozen: None,
        });
    }

    fn operator(
        &mut self,
        what: &str,
        event: impl FnOnce(&str) -> Result<Event, String>,
    ) -> Result<(), String> {
        let (what, expected) = what.split_once(": ").ok_or("drain WHAT: SAYS")?;
        self.answered = None;
        self.event(event(what)?);
        match self
            .answered
            .take()
            .unwrap_or_else(|| "nothing".to_owned())
            .replace('\n', "; ")
        {
            said if said == expected || (expected == "done" && said.starts_with("override ")) => {
                Ok(())
            }
            said => Err(said),
        }
    }

    fn drain(&mut self, what: &str) -> Result<(), String> {
        let dataset = self.publisher.dataset().clone();
        self.operator(what, |what| {
            let (what, ramp) = what
                .split_once(" ramp ")
                .map_or((what, None), |(what, ramp)| (what, Some(ramp)));
            let (what, lasts) = what
                .split_once(" for ")
                .map_or((what, None), |(what, lasts)| (what, Some(lasts)));
            let asked = OverrideRequest {
                action: Action::Drain,
                scope: Scope::find(&dataset.config, what).map_err(|why| why.to_string())?,
                by: "an operator".to_owned(),
                reason: "a drill".to_owned(),
                starts_in: Duration::ZERO,
                lasts: lasts.map(parse).transpose()?,
                force: false,
                ramp: ramp.map(parse).transpose()?,
                drill: None,
            };
            Ok(OverrideEvent::Request { request: 1, asked }.into())
        })
    }

    fn drill(&mut self, what: &str) -> Result<(), String> {
        let (what, expected) = what.split_once(": ").ok_or("drill …: SAYS")?;
        let got = match what.split_once(' ') {
            Some(("start", what)) => self.start_drill(what)?,
            None if what == "stop" => {
                let (stopped, outputs) = self.drills.stop("an operator", Moment(self.now));
                self.carry_out(outputs);
                stopped.map_or_else(|why| why.to_string(), |_| "it ends".to_owned())
            }
            None if what == "report" => {
                let last = self.drills.reports().next_back();
                let lines = last.ok_or("there is no report")?.lines();
                return match lines.iter().any(|line| line.contains(expected)) {
                    true => Ok(()),
                    false => Err(format!("it says {lines:#?}")),
                };
            }
            _ => return Err("drill start, stop or report".into()),
        };
        match got == expected {
            true => Ok(()),
            false => Err(format!("it says {got}")),
        }
    }

    fn start_drill(&mut self, what: &str) -> Result<String, String> {
        let (what, lasts) = what.split_once(" for ").ok_or("drill start WHAT for 15m")?;
        let dataset = self.publisher.dataset().clone();
        let asked = DrillRequest {
            target: Scope::find(&dataset.config, what).map_err(|why| why.to_string())?,
            lasts: parse(lasts)?,
            reason: "a rehearsal".to_owned(),
            by: "an operator".to_owned(),
            scheduled: false,
        };
        let before = self.publisher.overrides().clone();
        let mut after = before.clone();
        let now = Moment(self.now);
        after.add(&Override::new(u64::MAX, asked.drain(0), now));
        let health = self.publisher.health();
        let present = Present {
            dataset: &dataset,
            plans: &self.snapshot.plans,
            state: &|endpoint| health.endpoint(endpoint),
            load: &|_| None,
            population: &Population::of_addresses(&dataset),
            now,
        };
        let shift = present.shift(&before, &after, now);
        let not_ready = (!self.publisher.is_ready()).then_some("it is not");
        let survey = Survey {
            shift: &shift,
            not_ready,
        };
        let (started, outputs) = self.drills.start(asked, &survey, now, WallTime::default());
        self.carry_out(outputs);
        Ok(started.map_or_else(|why| why.to_string(), |_| "it runs".to_owned()))
    }

    /// Carries out outputs of the drills, as their task does.
    fn carry_out(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Drain(asked) => {
                    let drill = asked.drill;
                    self.event(OverrideEvent::Request { request: 2, asked });
                    let mut overrides = self.publisher.overrides().0.iter();
                    let own = overrides.find(|own| own.drill == drill).map(|own| own.id);
                    let why = self.answered.take().unwrap_or_default();
                    let now = Moment(self.now);
                    let drained = self
                        .drills
                        .drained(own.ok_or(why), now, WallTime::default());
                    self.carry_out(drained);
                }
                Output::Release(id) => {
                    let what = Selector::find(&self.dataset.config, &id.to_string());
                    self.event(OverrideEvent::Release {
                        request: 3,
                        what,
                        force: true,
                    });
                }
                Output::Keep(stored) => self.reports = Some(encode_drills(&stored)),
                Output::Told(change) => self.event(Event::Told(changes::Event::Drill(change))),
            }
        }
    }

    /// Shows the drills what has changed.
    fn follow(&mut self) {
        while let Some(change) = self.unseen.pop_front() {
            let sentence = change.sentence(WallTime::default()).to_string();
            let (keys, now) = (change.event.keys(), Moment(self.now));
            let outputs = self.drills.seen(&keys, &sentence, now, WallTime::default());
            self.carry_out(outputs);
        }
    }

    fn unit(&mut self, what: &str) -> Result<(), String> {
        let (what, expected) = what.split_once(": ").ok_or("unit …: SAYS")?;
        let words: Vec<&str> = what.split_whitespace().collect();
        let origin = self.dataset.config.zones[0].origin.clone();
        let full = |name: &str| format!("{name}.{origin}");
        self.answered = None;
        let event = match words[..] {
            ["move", unit, region, ref force @ ..] => {
                self.move_of(&full(unit), region, force == ["by", "force"])
            }
            ["init", name] => self.begin_of(&full(name), 1),
            ["init", name, "in", "epoch", epoch] => {
                let epoch = epoch.parse().map_err(|_| "no number")?;
                self.begin_of(&full(name), epoch)
            }
            _ => return Err("unit move or unit init".into()),
        };
        match event {
            Ok(event) => self.event(event),
            Err(why) => self.answered = Some(why.to_string()),
        }
        let said = self.answered.take().unwrap_or_else(|| "nothing".to_owned());
        if said == expected { Ok(()) } else { Err(said) }
    }

    fn move_of(&self, unit: &str, region: &str, force: bool) -> Result<UnitEvent, NotFound> {
        Ok(UnitEvent::Move {
            request: 1,
            unit: find_unit(&self.dataset.config, unit)?,
            region: find_region(&self.dataset.config, region)?,
            force,
        })
    }

    fn begin_of(&self, name: &str, epoch: u64) -> Result<UnitEvent, NotFound> {
        Ok(UnitEvent::Begin {
            request: 1,
            units: find_units(&self.dataset.config, name)?,
            epoch,
        })
    }

    fn share(&mut self, question: &str) -> Result<(), String> {
        const DRAWS: u32 = 10_000;
        let (question, expected) = question.split_once(": ").ok_or("no expectation")?;
        let words: Vec<&str> = expected.split_whitespace().collect();
        let [answer, least, "to", most] = words[..] else {
            return Err("ANSWER 0.1 to 0.2".into());
        };
        let (message, client) = self.message(question)?;
        let starts = |got: String| got.split(',').next() == Some(answer);
        let count = (0..DRAWS)
            .filter(|_| starts(self.answer(&message, client)))
            .count();
        let share = count as f64 / f64::from(DRAWS);
        let number = |text: &str| text.parse::<f64>().map_err(|e| e.to_string());
        if (number(least)?..=number(most)?).contains(&share) {
            Ok(())
        } else {
            Err(format!("it is {share}"))
        }
    }

    fn why(&mut self, question: &str) -> Result<(), String> {
        let (question, text) = question.split_once(": ").ok_or("no expectation")?;
        let (name, client) = question
            .split_once(" from ")
            .ok_or("why NAME from CLIENT: TEXT")?;
        let name = Name::from_text(name, Some(&self.dataset.config.zones[0].origin))
            .map_err(|e| e.to_string())?;
        let client = client.parse().map_err(|_| "no such client".to_owned())?;
        let lines = explain(&self.snapshot, &name, None, client, 1, WallTime::default()).lines();
        if lines.iter().any(|line| line.contains(text)) {
            Ok(())
        } else {
            Err(format!("{lines:#?}"))
        }
    }

    /// The query of `NAME TYPE from CLIENT`.
    fn message(&self, question: &str) -> Result<(Vec<u8>, Prefix), String> {
        let words: Vec<&str> = question.split_whitespace().collect();
        let [name, rtype, "from", client] = words[..] else {
            return Err("NAME TYPE from CLIENT: …".into());
        };
        let name = Name::from_text(name, Some(&self.dataset.config.zones[0].origin))
            .map_err(|e| e.to_string())?;
        let rtype = rtype.parse().map_err(|()| "no such type".to_owned())?;
        let client: Prefix = client.parse().map_err(|_| "no such client".to_owned())?;
        Ok((query_message(&name, rtype, client), client))
    }

    fn ask(&mut self, question: &str) -> Result<(), String> {
        let (question, expected) = question.split_once(": ").ok_or("no expectation")?;
        let words: Vec<&str> = question.split_whitespace().collect();
        let (question, times) = words.split_at(words.len().min(4));
        let (message, client) = self.message(&question.join(" "))?;
        let got = match times {
            [] => self.answer(&message, client),
            [n, "times"] => {
                let mut all = BTreeSet::new();
                for _ in 0..n.parse::<u32>().map_err(|e| e.to_string())? {
                    let answer = self.answer(&message, client);
                    all.insert(answer.split(", ttl").next().unwrap().to_owned());
                }
                all.into_iter().collect::<Vec<_>>().join(", ")
            }
            _ => return Err("N times".into()),
        };
        // A scope, and the TTL of an answer without records, are compared where they are expected.
        let got = if expected.contains("scope") {
            got
        } else {
            got.split(", scope").next().unwrap().to_owned()
        };
        let got = if expected.trim() == "NODATA" {
            got.split(", ttl").next().unwrap().to_owned()
        } else {
            got
        };
        if got == expected.trim() {
            Ok(())
        } else {
            Err(format!("got {got}"))
        }
    }

    fn answer(&mut self, message: &[u8], client: Prefix) -> String {
        let query = Query::synthetic(message, client.address(), Transport::Tcp);
        let mut out = vec![0; TCP_BUFFER];
        let Response::Send(length) = respond(&self.snapshot, &mut self.worker, &query, &mut out)
        else {
            return "dropped".into();
        };
        let answer = Message::from_vec(&out[..length]).unwrap();
        let scope = out[length - usize::from(client.length().div_ceil(8)) - 1];
        match answer.metadata.response_code {
            ResponseCode::NoError if answer.answers.is_empty() => {
                return format!("NODATA, ttl {}, scope {scope}", answer.authorities[0].ttl);
            }
            ResponseCode::NoError => {}
            ResponseCode::NXDomain => return "NXDOMAIN".into(),
            ResponseCode::Refused => return "REFUSED".into(),
            other => return format!("{other:?}"),
        }
        let mut rdata: Vec<_> = answer
            .answers
            .iter()
            .map(|record| record.data.to_string())
            .collect();
        rdata.sort();
        format!(
            "{}, ttl {}, scope {scope}",
            rdata.join(" "),
            answer.answers[0].ttl
        )
    }
}

fn parse(time: &str) -> Result<Duration, String> {
    humantime::parse_duration(time).map_err(|e| e.to_string())
}

/// The refusal of a full disk.
fn full(path: &str) -> Failure {
    Failure::Storage {
        path: path.to_owned(),
        error: "no space left".to_owned(),
    }
}
