//! What losses do to the clients of a service.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value, json};

use super::clients::Population;
use super::losses::Loss;
use super::plan_if;
use super::split::{Destination, Given, Split, Subject, moved};
use crate::dataset::Dataset;
use crate::model::{Part, Region, RegionId, Route};
use crate::steer::Rung;

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Simulation<'s> {
    /// The services, everything of which is up before.
    pub dataset: &'s Dataset,
    /// The clients.
    pub population: &'s Population,
    /// What is lost.
    pub losses: &'s [Loss],
    /// What all clients together ask for, in the unit of `capacity`.
    pub demand: f64,
}

/// What happens to one service.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The service, and the type asked for.
    pub subject: Subject,
    /// Its name.
    pub name: String,
    /// With nothing lost.
    pub normal: Outcome,
    /// With each loss that takes a pool of it: the place in [`Simulation::losses`], and what comes of it. Nothing comes of the others.
    pub lost: Vec<(usize, Outcome)>,
    /// An endpoint of it has no checks: it is answered on when it is lost, whatever is said here.
    pub unchecked: bool,
}

/// What its clients get.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Where they go.
    pub split: Split,
    /// The share of them who go elsewhere than with nothing lost, 0 … 1.
    pub moved: f64,
    /// The worst rung that any of them is on; `None` where there is one without an answer.
    pub worst: Option<Rung>,
    /// The share of them below step 2 of the ladder, 0 … 1; clients who count 0 can be the only ones.
    pub degraded: f64,
    /// The share of them who get what is not up, or nothing, 0 … 1; likewise.
    pub empty: f64,
    /// Regions that are not lost and get more than their `capacity`.
    pub over_capacity: Vec<RegionId>,
}

impl Outcome {
    /// Some clients are below step 2 of the ladder.
    pub fn is_degraded(&self) -> bool {
        self.worst.is_none_or(Rung::is_degraded)
    }

    /// Some clients get what is not up, or nothing.
    pub fn is_empty(&self) -> bool {
        is_empty(self.worst)
    }

    /// Larger is worse.
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
    /// What happens to `subject`, a service of the dataset.
    pub fn run(&self, subject: Subject) -> Report {
        self.run_with(subject, true)
    }

    /// The same; without `shortcut` every class of clients goes through every selection anew.
    pub(super) fn run_with(&self, subject: Subject, shortcut: bool) -> Report {
        let config = &self.dataset.config;
        let service = &config.services[subject.service.index()];
        let classes = self.population.classes(service);
        let plan = plan_if(config, service, &Part::default(), &[]);
        let map = self.dataset.map_of(&plan);
        let mut before = vec![Given::default(); classes.len()];
        let mut normal = Totals::new(config.regions.len());
        for (class, given) in classes.iter().zip(&mut before) {
            given.to(&plan, map, subject.rtype, class);
            normal.add(given, class.weight, 0.0);
        }
        let mut after = Given::default();
        let mut lost = Vec::new();
        let mut totals = Totals::new(config.regions.len());
        for (index, loss) in self.losses.iter().enumerate() {
            if !service.pools.iter().any(|pool| loss.has(pool.region)) {
                continue;
            }
            let plan = plan_if(config, service, &loss.part(), &[]);
            totals.clear();
            for (class, before) in classes.iter().zip(&before) {
                // Who could not get a lost region chooses among the same as before.
                let touched = before
                    .split
                    .iter()
                    .any(|(to, _)| matches!(to, Destination::Region(region) if loss.has(*region)));
                if shortcut && !touched {
                    totals.add(before, class.weight, 0.0);
                } else {
                    after.to(&plan, map, subject.rtype, class);
                    totals.add(&after, class.weight, moved(&before.split, &after.split));
                }
            }
            lost.push((
                index,
                totals.outcome(&config.regions, self.demand, Some(loss)),
            ));
        }
        Report {
            subject,
            name: service.name.to_string(),
            normal: normal.outcome(&config.regions, self.demand, None),
            lost,
            unchecked: service
                .pools
                .iter()
                .flat_map(|pool| &pool.endpoints)
                .any(|endpoint| endpoint.probes.is_empty()),
        }
    }
}

/// Sums over classes of clients.
struct Totals {
    /// By region, then the fallback, then nowhere.
    shares: Vec<f64>,
    moved: f64,
    worst: Option<Rung>,
    degraded: f64,
    empty: f64,
}

impl Totals {
    fn new(regions: usize) -> Totals {
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

    fn add(&mut self, given: &Given, weight: f64, moved: f64) {
        let regions = self.shares.len() - 2;
        for (destination, share) in &given.split {
            let slot = match destination {
                Destination::Region(region) => region.index(),
                Destination::Fallback => regions,
                Destination::Nowhere => regions + 1,
            };
            self.shares[slot] += weight * share;
        }
        self.moved += weight * moved;
        if rank(given.rung) > rank(self.worst) {
            self.worst = given.rung;
        }
        if given.rung.is_none_or(Rung::is_degraded) {
            self.degraded += weight;
        }
        if is_empty(given.rung) {
            self.empty += weight;
        }
    }

    fn outcome(&self, regions: &[Region], demand: f64, loss: Option<&Loss>) -> Outcome {
        let destination = |slot: usize| match slot.checked_sub(regions.len()) {
            None => Destination::Region(RegionId::from_index(slot)),
            Some(0) => Destination::Fallback,
            Some(_) => Destination::Nowhere,
        };
        let shares = self
            .shares
            .iter()
            .enumerate()
            .filter(|(_, share)| **share > 0.0);
        let split: Split = shares
            .map(|(slot, share)| (destination(slot), *share))
            .collect();
        let is_over = |(to, share): &(Destination, f64)| match to {
            Destination::Region(region) if loss.is_none_or(|loss| !loss.has(*region)) => {
                // Not for the last bit of a sum.
                regions[region.index()]
                    .capacity
                    .filter(|capacity| share * demand > capacity * (1.0 + 1e-9))
                    .map(|_| *region)
            }
            _ => None,
        };
        let over_capacity = split.iter().filter_map(is_over).collect();
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

/// What a pipeline refuses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Condition {
    /// Some clients of a service get what is not up, or nothing.
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
    /// How far `outcome` breaks it; `None` where it does not. Larger is worse.
    pub fn broken_by(self, outcome: &Outcome) -> Option<f64> {
        match self {
            Condition::Empty => outcome.is_empty().then_some(outcome.empty),
            Condition::OverCapacity => {
                (!outcome.over_capacity.is_empty()).then_some(outcome.over_capacity.len() as f64)
            }
            // Not for the last bit of a sum.
            Condition::Moves(share) => (outcome.moved > share + 1e-9).then_some(outcome.moved),
        }
    }
}

/// What all services have in common, gathered report by report.
#[derive(Debug)]
pub struct Summary {
    /// By loss, and one more first: nothing lost.
    pub losses: Vec<LossSummary>,
    /// By condition: what breaks it.
    pub conditions: Vec<(Condition, Broken)>,
    /// Names with clients below step 2 of the ladder; of losses of everything none is here.
    pub degraded: Broken,
    /// Names with an endpoint that has no checks.
    pub unchecked: usize,
    /// Losses that take every region: conditions are not asked of them.
    everything: Vec<bool>,
}

/// What one loss does to all services.
#[derive(Debug, Clone, Default)]
pub struct LossSummary {
    /// Names that have a pool in a lost region.
    pub names: usize,
    /// Names of which clients move.
    pub moving: usize,
    /// The largest share of a service's clients that moves, and the name of that service.
    pub largest: Option<(f64, String)>,
    /// Names with clients below step 2 of the ladder.
    pub degraded: usize,
    /// Names with clients who get what is not up, or nothing.
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

    /// Larger is worse.
    pub fn badness(&self) -> (usize, usize, usize, f64) {
        let largest = self
            .largest
            .as_ref()
            .map_or(0.0, |(largest, _)| round(*largest));
        (self.empty, self.degraded, self.over_capacity.len(), largest)
    }
}

/// What breaks a condition.
#[derive(Debug, Clone, Default)]
pub struct Broken {
    /// How many names do.
    pub names: usize,
    /// How many times, counting each loss of each name.
    pub times: usize,
    /// The names that do so the furthest: how far, the name, and the loss with which it is so far (`None`: with nothing lost).
    pub worst: Vec<(f64, String, Option<usize>)>,
}

/// How many names are named of those that break a condition.
const WORST: usize = 10;

impl Broken {
    /// Takes in each of the outcomes of one name that is `broken`, by how far.
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
    /// Of no report yet.
    pub fn new(losses: &[Loss], conditions: &[Condition]) -> Summary {
        Summary {
            losses: vec![LossSummary::default(); losses.len() + 1],
            conditions: conditions
                .iter()
                .map(|condition| (*condition, Broken::default()))
                .collect(),
            degraded: Broken::default(),
            unchecked: 0,
            everything: losses.iter().map(|loss| loss.is_everything).collect(),
        }
    }

    /// Takes in what happens to one more service.
    pub fn add(&mut self, report: &Report) {
        self.unchecked += usize::from(report.unchecked);
        let lost = report
            .lost
            .iter()
            .map(|(index, outcome)| (Some(*index), outcome));
        let mut outcomes: Vec<_> = std::iter::once((None, &report.normal))
            .chain(lost)
            .collect();
        for (loss, outcome) in &outcomes {
            self.losses[loss.map_or(0, |loss| loss + 1)].add(&report.name, outcome);
        }
        outcomes.retain(|(loss, _)| loss.is_none_or(|loss| !self.everything[loss]));
        let degraded = |outcome: &Outcome| outcome.is_degraded().then_some(outcome.degraded);
        self.degraded.add_all(&report.name, &outcomes, degraded);
        for (condition, broken) in &mut self.conditions {
            broken.add_all(&report.name, &outcomes, |outcome| {
                condition.broken_by(outcome)
            });
        }
    }

    /// A condition is broken.
    pub fn has_failed(&self) -> bool {
        self.conditions.iter().any(|(_, broken)| broken.times > 0)
    }

    /// The keys `losses` and `failed` of what `simulate --json` prints, which are a contract.
    pub fn json(&self, losses: &[Loss], regions: &[Region]) -> (Value, Value) {
        let all = std::iter::once(None).chain(losses.iter().map(Some));
        let summaries = all.zip(&self.losses).map(|(loss, summary)| {
            json!({
                "loss": loss.map(|loss| &loss.name),
                "regions": loss.map_or(&[][..], |loss| &loss.regions).iter().map(|region| name(regions, *region)).collect::<Vec<_>>(),
                "everything": loss.is_some_and(|loss| loss.is_everything),
                "names": summary.names,
                "moving": summary.moving,
                "largest": summary.largest.as_ref().map(|(moved, name)| json!({ "name": name, "moved": round(*moved) })),
                "degraded": summary.degraded,
                "empty": summary.empty,
                "over_capacity": summary.over_capacity.iter().map(|region| name(regions, *region)).collect::<Vec<_>>(),
            })
        });
        let failed = self.conditions.iter().filter(|(_, broken)| broken.times > 0).map(|(condition, broken)| {
            let worst =
                broken.worst.iter().map(|(_, name, loss)| json!({ "name": name, "loss": loss.map(|loss| &losses[loss].name) }));
            json!({
                "condition": condition.to_string(),
                "names": broken.names,
                "times": broken.times,
                "worst": worst.collect::<Vec<_>>(),
            })
        });
        (summaries.collect(), failed.collect())
    }
}

impl Report {
    /// One of `services` in what `simulate --json` prints; its keys are a contract.
    pub fn json(&self, simulation: &Simulation<'_>) -> Value {
        let config = &simulation.dataset.config;
        let service = &config.services[self.subject.service.index()];
        let of = |outcome: &Outcome| {
            json!({
                "moved": round(outcome.moved),
                "split": split_json(&config.regions, &outcome.split),
                "rung": outcome.worst.map(Rung::as_label),
                "degraded": round(outcome.degraded),
                "empty": round(outcome.empty),
                "over_capacity": outcome.over_capacity.iter().map(|region| name(&config.regions, *region)).collect::<Vec<_>>(),
            })
        };
        let lost = self.lost.iter().map(|(index, outcome)| {
            let mut object = json!({ "loss": simulation.losses[*index].name });
            if let (Some(object), Value::Object(keys)) = (object.as_object_mut(), of(outcome)) {
                object.extend(keys);
            }
            object
        });
        json!({
            "name": self.name,
            "type": self.subject.rtype.to_string(),
            "route": route_name(service.route),
            "unchecked": self.unchecked,
            "normal": of(&self.normal),
            "lost": lost.collect::<Vec<_>>(),
        })
    }
}

/// A split as an object: `{"dublin": 0.4, "tokyo": 0.6}`, with the keys `(fallback)` and `(nowhere)`.
fn split_json(regions: &[Region], split: &Split) -> Value {
    split
        .iter()
        .map(|(to, share)| {
            (
                destination_name(regions, *to).to_owned(),
                json!(round(*share)),
            )
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The name of a destination; those that are no region stand in parentheses.
pub fn destination_name(regions: &[Region], destination: Destination) -> &str {
    match destination {
        Destination::Region(region) => name(regions, region),
        Destination::Fallback => "(fallback)",
        Destination::Nowhere => "(nowhere)",
    }
}

fn name(regions: &[Region], region: RegionId) -> &str {
    &regions[region.index()].name
}

/// The word of the configuration for a route.
pub fn route_name(route: Route) -> &'static str {
    match route {
        Route::Nearest => "nearest",
        Route::Weighted => "weighted",
        Route::Priority => "priority",
        Route::Sticky => "sticky",
        Route::Unit => "unit",
    }
}

/// Six digits after the point: no more is certain of a sum of shares.
pub fn round(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}
