//! Effects of losses on the clients of a service.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value, json};

use super::clients::Population;
use super::losses::Loss;
use super::plan_if;
use super::split::{ClassSplit, Destination, Split, Subject, moved};
use crate::dataset::Dataset;
use crate::model::{Part, Region, RegionId, Route, Service};
use crate::steer::Rung;

/// Simulation of losses.
#[derive(Debug, Clone, Copy)]
pub struct Simulation<'s> {
    /// The services, all of which are up before.
    pub dataset: &'s Dataset,
    /// The clients.
    pub population: &'s Population,
    /// The losses.
    pub losses: &'s [Loss],
    /// Demand of all clients together, in the unit of `capacity`.
    pub demand: f64,
}

/// Effects of the losses on one service.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The service, and the type asked for.
    pub subject: Subject,
    /// Its name.
    pub name: String,
    /// Outcome with nothing lost.
    pub normal: Outcome,
    /// Outcome of each loss that takes a pool of it, by its place in [`Simulation::losses`]. The
    /// other losses have no effect.
    pub lost: Vec<(usize, Outcome)>,
    /// True when an endpoint has no checks: the server would go on answering with it when it is
    /// lost, whatever the outcomes say.
    pub unchecked: bool,
}

/// Outcome for the clients of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Their destinations.
    pub split: Split,
    /// The share of them who go elsewhere than with nothing lost, 0 … 1.
    pub moved: f64,
    /// The worst rung that any of them is on; `None` when one of them gets no answer.
    pub worst: Option<Rung>,
    /// The share of them below rung 2 of the ladder, 0 … 1. It can be 0 although there are some, if
    /// all of them count 0.
    pub degraded: f64,
    /// The share of them who get endpoints that are down, or nothing, 0 … 1; likewise.
    pub empty: f64,
    /// Regions that are not lost and get more than their `capacity`.
    pub over_capacity: Vec<RegionId>,
}

impl Outcome {
    /// True when some clients are below rung 2 of the ladder.
    pub fn is_degraded(&self) -> bool {
        self.worst.is_none_or(Rung::is_degraded)
    }

    /// True when some clients get endpoints that are down, or nothing.
    pub fn is_empty(&self) -> bool {
        is_empty(self.worst)
    }

    /// Key for sorting; larger is worse.
    pub fn badness(&self) -> (u8, f64, usize, f64) {
        let rung = if self.is_degraded() {
            rank(self.worst)
        } else {
            0
        };
        (
            rung,
            round(self.degraded),
            self.over_capacity.len(),
            round(self.moved),
        )
    }
}

fn is_empty(rung: Option<Rung>) -> bool {
    rung.is_none_or(|rung| rung >= Rung::AsIfUp)
}

fn rank(rung: Option<Rung>) -> u8 {
    rung.map_or(u8::MAX, |rung| rung as u8)
}

impl Simulation<'_> {
    /// Effects on `subject`, a service of the dataset.
    pub fn run(&self, subject: Subject) -> Report {
        self.run_with(subject, true)
    }

    /// The same; without `shortcut` every class of clients goes through every selection anew, as a
    /// test of the shortcut.
    pub(super) fn run_with(&self, subject: Subject, shortcut: bool) -> Report {
        let config = &self.dataset.config;
        let service = &config.services[subject.service.index()];
        let classes = self.population.classes(service);
        let plan = plan_if(config, service, &Part::default(), &[]);
        let map = self.dataset.map_of(&plan);
        let mut before = vec![ClassSplit::default(); classes.len()];
        let mut totals = Totals::new(config.regions.len());
        for (class, split) in classes.iter().zip(&mut before) {
            split.fill(&plan, map, subject.rtype, class);
            totals.add(split, class.weight, 0.0);
        }
        let normal = totals.outcome(&config.regions, self.demand, None);
        let mut after = ClassSplit::default();
        let mut lost = Vec::new();
        for (index, loss) in self.losses.iter().enumerate() {
            if !service.pools.iter().any(|pool| loss.has(pool.region)) {
                continue;
            }
            let plan = plan_if(config, service, &loss.part(), &[]);
            totals.clear();
            for (class, before) in classes.iter().zip(&before) {
                // Clients who could not get a lost region choose among the same regions as before.
                // Most classes are of that kind, and a selection is what takes the time.
                if shortcut && !is_touched(&before.split, loss) {
                    totals.add(before, class.weight, 0.0);
                } else {
                    after.fill(&plan, map, subject.rtype, class);
                    totals.add(&after, class.weight, moved(&before.split, &after.split));
                }
            }
            let outcome = totals.outcome(&config.regions, self.demand, Some(loss));
            lost.push((index, outcome));
        }
        Report {
            subject,
            name: service.name.to_string(),
            normal,
            lost,
            unchecked: is_unchecked(service),
        }
    }
}

/// True when `loss` takes a region of the split.
fn is_touched(split: &Split, loss: &Loss) -> bool {
    let mut split = split.iter();
    split.any(|(to, _)| matches!(to, Destination::Region(region) if loss.has(*region)))
}

/// True when an endpoint has no checks.
fn is_unchecked(service: &Service) -> bool {
    let mut endpoints = service.pools.iter().flat_map(|pool| &pool.endpoints);
    endpoints.any(|endpoint| endpoint.probes.is_empty())
}

/// Sums over classes of clients.
pub(super) struct Totals {
    /// By region, then the fallback, then nowhere.
    shares: Vec<f64>,
    moved: f64,
    worst: Option<Rung>,
    degraded: f64,
    empty: f64,
}

impl Totals {
    pub(super) fn new(regions: usize) -> Totals {
        Totals {
            shares: vec![0.0; regions + 2],
            moved: 0.0,
            worst: Some(Rung::Up),
            degraded: 0.0,
            empty: 0.0,
        }
    }

    fn clear(&mut self) {
        *self = Totals {
            shares: std::mem::take(&mut self.shares),
            ..Totals::new(0)
        };
        self.shares.fill(0.0);
    }

    /// Adds a class with this `split` and `weight`, of which the share `moved` moves.
    pub(super) fn add(&mut self, split: &ClassSplit, weight: f64, moved: f64) {
        let regions = self.shares.len() - 2;
        for (destination, share) in &split.split {
            let slot = match destination {
                Destination::Region(region) => region.index(),
                Destination::Fallback => regions,
                Destination::Nowhere => regions + 1,
            };
            self.shares[slot] += weight * share;
        }
        self.moved += weight * moved;
        if rank(split.rung) > rank(self.worst) {
            self.worst = split.rung;
        }
        if split.rung.is_none_or(Rung::is_degraded) {
            self.degraded += weight;
        }
        if is_empty(split.rung) {
            self.empty += weight;
        }
    }

    pub(super) fn outcome(&self, regions: &[Region], demand: f64, loss: Option<&Loss>) -> Outcome {
        let mut split = Split::new();
        let mut over_capacity = Vec::new();
        for (slot, share) in self.shares.iter().enumerate() {
            if *share <= 0.0 {
                continue;
            }
            let Some(region) = regions.get(slot) else {
                split.push(match slot - regions.len() {
                    0 => (Destination::Fallback, *share),
                    _ => (Destination::Nowhere, *share),
                });
                continue;
            };
            let id = RegionId::from_index(slot);
            split.push((Destination::Region(id), *share));
            // Sums of shares are not exact to the last bit, which must not fail a pipeline.
            if let Some(capacity) = region.capacity
                && share * demand > capacity * (1.0 + 1e-9)
                && loss.is_none_or(|loss| !loss.has(id))
            {
                over_capacity.push(id);
            }
        }
        Outcome {
            split,
            moved: self.moved,
            worst: self.worst,
            degraded: self.degraded,
            empty: self.empty,
            over_capacity,
        }
    }
}

/// Condition under which a pipeline fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Condition {
    /// Some clients of a service get endpoints that are down, or nothing.
    Empty,
    /// A region that is not lost gets more of a service than its `capacity`.
    OverCapacity,
    /// More than this share of a service's clients move, 0 … 1.
    Moves(f64),
}

/// Text that is no [`Condition`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadCondition {
    /// The text is none of the conditions.
    Unknown,
    /// The share of `moves>` cannot be read.
    Share(BadShare),
}

impl fmt::Display for BadCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadCondition::Unknown => f.write_str("must be empty, over-capacity or moves>N%"),
            BadCondition::Share(share) => share.fmt(f),
        }
    }
}

impl std::error::Error for BadCondition {}

/// Text that is no share of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadShare(String);

impl fmt::Display for BadShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a share of the clients, 0% to 100%", self.0)
    }
}

impl std::error::Error for BadShare {}

impl std::str::FromStr for Condition {
    type Err = BadCondition;

    /// Reads `empty`, `over-capacity`, `moves>30%`.
    fn from_str(text: &str) -> Result<Condition, BadCondition> {
        match text {
            "empty" => Ok(Condition::Empty),
            "over-capacity" => Ok(Condition::OverCapacity),
            _ => {
                let share = text.strip_prefix("moves>").ok_or(BadCondition::Unknown)?;
                let share = read_share(share).map_err(BadCondition::Share)?;
                Ok(Condition::Moves(share))
            }
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::Empty => f.write_str("empty"),
            Condition::OverCapacity => f.write_str("over-capacity"),
            Condition::Moves(share) => write!(f, "moves>{}%", round(share * 100.0)),
        }
    }
}

/// Reads a share of clients, `5%`, as 0 … 1.
pub fn read_share(text: &str) -> Result<f64, BadShare> {
    let number = text.strip_suffix('%').unwrap_or_default().trim();
    match number.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err(BadShare(text.to_owned())),
    }
}

impl Condition {
    /// Distance by which `outcome` breaks it, larger being worse; `None` when it does not.
    pub fn broken_by(self, outcome: &Outcome) -> Option<f64> {
        match self {
            Condition::Empty => outcome.is_empty().then_some(outcome.empty),
            Condition::OverCapacity => {
                (!outcome.over_capacity.is_empty()).then_some(outcome.over_capacity.len() as f64)
            }
            // Sums of shares are not exact to the last bit, which must not fail a pipeline.
            Condition::Moves(share) => (outcome.moved > share + 1e-9).then_some(outcome.moved),
        }
    }
}

/// Summary of all services, gathered report by report.
#[derive(Debug)]
pub struct Summary {
    /// By loss, and one more first: nothing lost.
    pub losses: Vec<LossSummary>,
    /// By condition: everything that breaks it.
    pub conditions: Vec<(Condition, Broken)>,
    /// Names with clients below rung 2 of the ladder; losses of everything are left out.
    pub degraded: Broken,
    /// Number of names with an endpoint that has no checks.
    pub unchecked: usize,
    /// By loss: true when it takes every region. Such losses break no condition.
    everything: Vec<bool>,
}

/// Effects of one loss on all services.
#[derive(Debug, Clone, Default)]
pub struct LossSummary {
    /// Number of names that have a pool in a lost region.
    pub names: usize,
    /// Number of names of which clients move.
    pub moving: usize,
    /// The largest share of a service's clients that moves, and the name of that service.
    pub largest: Option<(f64, String)>,
    /// Number of names with clients below rung 2 of the ladder.
    pub degraded: usize,
    /// Number of names with clients who get endpoints that are down, or nothing.
    pub empty: usize,
    /// Regions that get more than their capacity of one service or another.
    pub over_capacity: BTreeSet<RegionId>,
}

impl LossSummary {
    fn add(&mut self, name: &str, outcome: &Outcome) {
        self.names += 1;
        self.moving += usize::from(outcome.moved > 0.0);
        if outcome.moved > self.largest.as_ref().map_or(0.0, |(largest, _)| *largest) {
            self.largest = Some((outcome.moved, name.to_owned()));
        }
        self.degraded += usize::from(outcome.is_degraded());
        self.empty += usize::from(outcome.is_empty());
        self.over_capacity.extend(&outcome.over_capacity);
    }

    /// Key for sorting; larger is worse.
    pub fn badness(&self) -> (usize, usize, usize, f64) {
        let largest = self
            .largest
            .as_ref()
            .map_or(0.0, |(largest, _)| round(*largest));
        (self.empty, self.degraded, self.over_capacity.len(), largest)
    }
}

/// Names that break a condition.
#[derive(Debug, Clone, Default)]
pub struct Broken {
    /// Number of names.
    pub names: usize,
    /// Number of times, counting each loss of each name.
    pub times: usize,
    /// The names that break it the furthest: how far, the name, and the loss with which it is so
    /// far (`None`: with nothing lost).
    pub worst: Vec<(f64, String, Option<usize>)>,
}

/// The most names that are named of those that break a condition.
const WORST: usize = 10;

impl Broken {
    /// Takes in the outcomes of one name. `broken` tells how far an outcome breaks the condition.
    fn add_all(
        &mut self,
        name: &str,
        outcomes: &[(Option<usize>, &Outcome)],
        broken: impl Fn(&Outcome) -> Option<f64>,
    ) {
        let mut furthest: Option<(f64, Option<usize>)> = None;
        for (loss, outcome) in outcomes {
            let Some(far) = broken(outcome) else { continue };
            self.times += 1;
            if furthest.is_none_or(|(other, _)| far > other + 1e-9) {
                furthest = Some((far, *loss));
            }
        }
        let Some((far, loss)) = furthest else { return };
        self.names += 1;
        let at = self
            .worst
            .partition_point(|(other, ..)| *other > far - 1e-9);
        if at < WORST {
            self.worst.insert(at, (far, name.to_owned(), loss));
            self.worst.truncate(WORST);
        }
    }
}

impl Summary {
    /// Summary of no report yet.
    pub fn new(losses: &[Loss], conditions: &[Condition]) -> Summary {
        let mut broken = Vec::new();
        for condition in conditions {
            broken.push((*condition, Broken::default()));
        }
        Summary {
            losses: vec![LossSummary::default(); losses.len() + 1],
            conditions: broken,
            degraded: Broken::default(),
            unchecked: 0,
            everything: losses.iter().map(|loss| loss.is_everything).collect(),
        }
    }

    /// Takes in the report of one more service.
    pub fn add(&mut self, report: &Report) {
        self.unchecked += usize::from(report.unchecked);
        self.losses[0].add(&report.name, &report.normal);
        let mut judged = vec![(None, &report.normal)];
        for (loss, outcome) in &report.lost {
            self.losses[loss + 1].add(&report.name, outcome);
            // Nothing can survive the loss of everything, so no condition asks for it.
            if !self.everything[*loss] {
                judged.push((Some(*loss), outcome));
            }
        }
        self.degraded.add_all(&report.name, &judged, |outcome| {
            outcome.is_degraded().then_some(outcome.degraded)
        });
        for (condition, broken) in &mut self.conditions {
            broken.add_all(&report.name, &judged, |outcome| {
                condition.broken_by(outcome)
            });
        }
    }

    /// True when a condition is broken.
    pub fn has_failed(&self) -> bool {
        self.conditions.iter().any(|(_, broken)| broken.times > 0)
    }

    /// The keys `losses` and `failed` of what `simulate --json` prints, which are a contract.
    pub fn json(&self, losses: &[Loss], regions: &[Region]) -> (Value, Value) {
        let mut summaries = vec![self.losses[0].json(None, regions)];
        for (loss, summary) in losses.iter().zip(&self.losses[1..]) {
            summaries.push(summary.json(Some(loss), regions));
        }
        let mut failed = Vec::new();
        for (condition, broken) in &self.conditions {
            if broken.times > 0 {
                failed.push(broken.json(*condition, losses));
            }
        }
        (summaries.into(), failed.into())
    }
}

impl LossSummary {
    fn json(&self, loss: Option<&Loss>, regions: &[Region]) -> Value {
        let largest = match &self.largest {
            Some((moved, name)) => json!({ "name": name, "moved": round(*moved) }),
            None => Value::Null,
        };
        json!({
            "loss": loss.map(|loss| &loss.name),
            "regions": names(regions, loss.map_or(&[][..], |loss| &loss.regions)),
            "everything": loss.is_some_and(|loss| loss.is_everything),
            "names": self.names,
            "moving": self.moving,
            "largest": largest,
            "degraded": self.degraded,
            "empty": self.empty,
            "over_capacity": names(regions, &self.over_capacity),
        })
    }
}

impl Broken {
    fn json(&self, condition: Condition, losses: &[Loss]) -> Value {
        let mut worst = Vec::new();
        for (_, name, loss) in &self.worst {
            let loss = loss.map(|loss| &losses[loss].name);
            worst.push(json!({ "name": name, "loss": loss }));
        }
        json!({
            "condition": condition.to_string(),
            "names": self.names,
            "times": self.times,
            "worst": worst,
        })
    }
}

impl Report {
    /// One of `services` in what `simulate --json` prints; its keys are a contract.
    pub fn json(&self, simulation: &Simulation<'_>) -> Value {
        let config = &simulation.dataset.config;
        let mut lost = Vec::new();
        for (index, outcome) in &self.lost {
            let mut object = Map::new();
            object.insert("loss".to_owned(), json!(simulation.losses[*index].name));
            object.extend(outcome.json(&config.regions));
            lost.push(object);
        }
        json!({
            "name": self.name,
            "type": self.subject.rtype.to_string(),
            "route": route_name(config.services[self.subject.service.index()].route),
            "unchecked": self.unchecked,
            "normal": self.normal.json(&config.regions),
            "lost": lost,
        })
    }
}

impl Outcome {
    fn json(&self, regions: &[Region]) -> Map<String, Value> {
        let mut split = Map::new();
        for (to, share) in &self.split {
            let to = destination_name(regions, *to).to_owned();
            split.insert(to, json!(round(*share)));
        }
        let object = [
            ("moved", json!(round(self.moved))),
            ("split", split.into()),
            ("rung", json!(self.worst.map(Rung::as_label))),
            ("degraded", json!(round(self.degraded))),
            ("empty", json!(round(self.empty))),
            ("over_capacity", names(regions, &self.over_capacity).into()),
        ];
        Map::from_iter(object.map(|(key, value)| (key.to_owned(), value)))
    }
}

/// Names of regions.
fn names<'r>(regions: &[Region], ids: impl IntoIterator<Item = &'r RegionId>) -> Vec<String> {
    let mut names = Vec::new();
    for id in ids {
        names.push(regions[id.index()].name.clone());
    }
    names
}

/// Name of a destination; those that are no region stand in parentheses.
pub fn destination_name(regions: &[Region], destination: Destination) -> &str {
    match destination {
        Destination::Region(region) => &regions[region.index()].name,
        Destination::Fallback => "(fallback)",
        Destination::Nowhere => "(nowhere)",
    }
}

/// Name of a route in the configuration.
pub fn route_name(route: Route) -> &'static str {
    match route {
        Route::Nearest => "nearest",
        Route::Weighted => "weighted",
        Route::Priority => "priority",
        Route::Sticky => "sticky",
        Route::Unit => "unit",
    }
}

/// The number with six digits after the point: no more is certain of a sum of shares.
pub fn round(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

/// Percentage of a share, 0 … 1, with at most one digit after the point.
pub fn percent(share: f64) -> String {
    match share {
        // Sums of shares are not exact to the last bit.
        share if share < 1e-9 => "0 %".to_owned(),
        share if share < 0.0005 => "<0.1 %".to_owned(),
        share if share > 0.9995 && share < 1.0 - 1e-9 => ">99.9 %".to_owned(),
        share => format!("{} %", (share * 1000.0).round() / 10.0),
    }
}
