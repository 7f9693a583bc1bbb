//! Runs every `tests/scenarios/*.scenario`: real configuration and zone text, the real publisher and
//! the real engine, simulated time.
//!
//! A scenario is a text of sections, each begun by a line `--- NAME`:
//!
//! - `--- meridian.toml`, `--- zones/NAME.toml`, …: files;
//! - `--- steps`: one step a line, `#` begins a comment.
//!
//! Steps:
//!
//! | step | meaning |
//! |---|---|
//! | `fail ADDRESS [CHECK]` / `pass ADDRESS [CHECK]` / `all fail` / `all pass` | what probes see from now on |
//! | `start` | the first round |
//! | `run 2s` | time passes; every target is probed at its interval |
//! | `ask NAME TYPE from CLIENT[/LEN]: ANSWER …, ttl N[, scope N]` | the answer, its rdata sorted; `NXDOMAIN`, `NODATA`, `REFUSED` |
//! | `ask NAME TYPE from CLIENT 1000 times: ANSWER, …` | the set of distinct answers |
//! | `said: TEXT` / `not said: TEXT` | a sentence with TEXT was (not) among those since the last `said` step that asked |
//! | `ready` / `not ready` | |

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use meridian::answer::{Query, Response, TCP_BUFFER, Transport, Worker, query_message, respond};
use meridian::dataset::{Dataset, Snapshot};
use meridian::dns::{Name, Prefix};
use meridian::geo::{EMBEDDED, Locations};
use meridian::health::{FailReason, Outcome, Seen};
use meridian::model::{Moment, Target, TargetId};
use meridian::publisher::{Effect, Event, Publisher};

use common::Files;

#[test]
fn every_scenario() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut paths: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "scenario"));
    paths.sort();
    assert!(!paths.is_empty());
    let mut failures = Vec::new();
    for path in &paths {
        let text = std::fs::read_to_string(path).unwrap();
        if let Err(why) = run(&text) {
            failures.push(format!("{}:{why}", path.file_name().unwrap().to_string_lossy()));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

fn run(text: &str) -> Result<(), String> {
    let (files, steps) = text.split_once("--- steps\n").ok_or("no section of steps")?;
    let config = Files::parse(files).load()?;
    let locations = Arc::new(Locations::read(Some(EMBEDDED), None).unwrap());
    let mut world = World::new(Arc::new(Dataset::compile(config, locations)));
    let first_line = files.lines().count() + 2;
    for (number, line) in steps.lines().enumerate() {
        let step = line.split('#').next().unwrap().trim();
        if !step.is_empty() {
            world.step(step).map_err(|why| format!("{}: {step}\n    {why}", first_line + number))?;
        }
    }
    Ok(())
}

/// The server without sockets or a clock.
struct World {
    dataset: Arc<Dataset>,
    publisher: Publisher,
    snapshot: Arc<Snapshot>,
    worker: Worker,
    now: Duration,
    failing: BTreeSet<usize>,
    /// When each target is probed next.
    due: Vec<Duration>,
    said: Vec<String>,
}

impl World {
    fn new(dataset: Arc<Dataset>) -> World {
        let publisher = Publisher::new(dataset.clone());
        let config = &dataset.config;
        let due = config
            .targets
            .iter()
            .enumerate()
            .map(|(i, t)| config.checks[t.check.index()].interval * (i as u32 + 1) / (config.targets.len() as u32 + 1));
        World {
            due: due.collect(),
            snapshot: publisher.snapshot(),
            dataset,
            publisher,
            worker: Worker::new(7),
            now: Duration::ZERO,
            failing: BTreeSet::new(),
            said: Vec::new(),
        }
    }

    fn step(&mut self, step: &str) -> Result<(), String> {
        let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
        match (verb, rest) {
            ("all", "fail") => self.failing = (0..self.due.len()).collect(),
            ("all", "pass") => self.failing.clear(),
            ("fail" | "pass", what) => self.set(what, verb == "fail")?,
            ("start", "") => self.first_round(),
            ("run", time) => self.run(humantime::parse_duration(time).map_err(|e| e.to_string())?),
            ("ask", question) => return self.ask(question),
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

    fn set(&mut self, what: &str, fail: bool) -> Result<(), String> {
        let mut words = what.split_whitespace();
        let (address, check) = (words.next().unwrap_or_default(), words.next());
        let config = &self.dataset.config;
        let matching: Vec<_> = (0..config.targets.len())
            .filter(|i| {
                let target = &config.targets[*i];
                let named = match &target.target {
                    Target::Address(a) => a.to_string() == address,
                    Target::Name(name) => name.to_string() == address,
                };
                named && check.is_none_or(|check| config.checks[target.check.index()].name == check)
            })
            .collect();
        if matching.is_empty() {
            return Err(format!("nothing probes {what}"));
        }
        for target in matching {
            if fail {
                self.failing.insert(target)
            } else {
                self.failing.remove(&target)
            };
        }
        Ok(())
    }

    fn first_round(&mut self) {
        for target in 0..self.due.len() {
            let config = &self.dataset.config;
            let fall = config.checks[config.targets[target].check.index()].fall;
            let times = if self.failing.contains(&target) { fall } else { 1 };
            (0..times).for_each(|_| self.probe(target));
        }
        self.event(Event::FirstRoundEnded);
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let probe = (0..self.due.len()).min_by_key(|i| self.due[*i]);
            let due = probe.map_or(Duration::MAX, |i| self.due[i]);
            let tick = self.publisher.next_deadline().map_or(Duration::MAX, |at| at.0.max(self.now));
            let next = due.min(tick);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            match probe {
                Some(target) if due <= tick => {
                    let config = &self.dataset.config;
                    self.due[target] += config.checks[config.targets[target].check.index()].interval;
                    self.probe(target);
                }
                _ => self.event(Event::Tick),
            }
        }
    }

    fn probe(&mut self, target: usize) {
        let seen = if self.failing.contains(&target) { Seen::Fail(FailReason::ConnectRefused) } else { Seen::Pass };
        let outcome = Outcome::new(Moment(self.now), seen);
        let generation = self.publisher.generation();
        self.event(Event::Outcome { generation, target: TargetId::from_index(target), outcome });
    }

    fn event(&mut self, event: Event) {
        for effect in self.publisher.handle(event, Moment(self.now)) {
            match effect {
                Effect::Publish(snapshot) => self.snapshot = snapshot,
                Effect::Say(change) => self.said.push(change.to_string()),
                Effect::Keep { .. } => {}
            }
        }
    }

    fn ask(&mut self, question: &str) -> Result<(), String> {
        let (question, expected) = question.split_once(": ").ok_or("no expectation")?;
        let words: Vec<&str> = question.split_whitespace().collect();
        let [name, rtype, "from", client, ref times @ ..] = words[..] else {
            return Err("ask NAME TYPE from CLIENT: …".into());
        };
        let name = Name::from_text(name, Some(&self.dataset.config.zones[0].origin)).map_err(|e| e.to_string())?;
        let rtype = rtype.parse().map_err(|()| "no such type".to_owned())?;
        let client: Prefix = client.parse().map_err(|_| "no such client".to_owned())?;
        let message = query_message(&name, rtype, client);
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
        // A scope is compared where one is expected.
        let got = if expected.contains("scope") { got } else { got.split(", scope").next().unwrap().to_owned() };
        if got == expected.trim() { Ok(()) } else { Err(format!("got {got}")) }
    }

    fn answer(&mut self, message: &[u8], client: Prefix) -> String {
        let query = Query { bytes: message, client: client.address(), transport: Transport::Tcp };
        let mut out = vec![0; TCP_BUFFER];
        let Response::Send(length) = respond(&self.snapshot, &mut self.worker, &query, &mut out) else { return "dropped".into() };
        let answer = Message::from_vec(&out[..length]).unwrap();
        match answer.metadata.response_code {
            ResponseCode::NoError if answer.answers.is_empty() => return "NODATA".into(),
            ResponseCode::NoError => {}
            ResponseCode::NXDomain => return "NXDOMAIN".into(),
            ResponseCode::Refused => return "REFUSED".into(),
            other => return format!("{other:?}"),
        }
        let mut rdata: Vec<_> = answer.answers.iter().map(|record| record.data.to_string()).collect();
        rdata.sort();
        let scope = out[length - usize::from(client.length().div_ceil(8)) - 1];
        format!("{}, ttl {}, scope {scope}", rdata.join(" "), answer.answers[0].ttl)
    }
}
