//! What-if questions: losses of regions, changes of the files, and the tests that zone files carry,
//! answered by the plan and the selection that serve.
//!
//! ```text
//! maps or a sample ── Population ── classes of clients who are all alike to a map
//! regions, metros, labels ── losses ──┐
//!                   Simulation::run(service) ── for each class and loss one traced selection ── Report ── Summary
//! ```
//!
//! [`Present`] asks the same of a change of the overrides, from the state of a moment instead of
//! from the files alone: its [`Shift`] has the numbers of the pre-flight.
//!
//! A selection tells its trace how probable each region was, so one of them gives the exact split
//! of a class.

mod catchments;
mod change;
mod clients;
mod losses;
mod outcome;
mod shift;
mod split;

use std::net::IpAddr;
use std::sync::Arc;

use crate::answer::{Explanation, explain};
use crate::config::Config;
use crate::dataset::{Dataset, Snapshot};
use crate::diag::{Diagnostics, UnknownName};
use crate::dns::{Name, Prefix};
use crate::failover::Failover;
use crate::health::State;
use crate::model::{
    AnswerTest, Endpoint, Expect, FailoverTest, Part, Pool, RegionId, Service, Takeover, WallTime,
    regions_named,
};
use crate::steer::{Drain, Plan, PoolConditions, UnitState, successor};

pub use catchments::{Area, CELL, Catchment, Census};
pub use change::{Change, Movement, Names, ServiceChange};
pub use clients::{Population, Sampled, read_clients};
pub use losses::{Loss, losses};
pub use outcome::{
    BadCondition, BadShare, Broken, Condition, LossSummary, Outcome, Report, Simulation, Summary,
    destination_name, percent, read_share, round, route_name,
};
pub use shift::{DEMAND, NAMES, NameShift, Present, RegionShift, Shift};
pub use split::{Destination, Split, Subject};

const DOWN: State = State {
    up: false,
    settled: true,
};

/// A snapshot in which every endpoint of `down` is down, all others are up, and the `drained`
/// regions are drained. A unit with `takeover = "auto"` whose owner is not up has moved on.
pub fn what_if(dataset: &Arc<Dataset>, down: &Part, drained: &[RegionId]) -> Snapshot {
    let mut plans = Vec::new();
    for service in &dataset.config.services {
        plans.push(Arc::new(plan_if(&dataset.config, service, down, drained)));
    }
    Snapshot::of(dataset.clone(), plans)
}

/// The plan of one service of `config` in such a snapshot.
fn plan_if(config: &Config, service: &Service, down: &Part, drained: &[RegionId]) -> Plan {
    let assumed = Assumed {
        service,
        down,
        drained,
    };
    Plan::compile_unit(
        service,
        &config.regions,
        &|pool: &Pool, endpoint: &Endpoint| assumed.state(pool, endpoint),
        &assumed.conditions(),
        assumed.unit(),
    )
}

/// Assumptions about a service.
struct Assumed<'a> {
    service: &'a Service,
    down: &'a Part,
    drained: &'a [RegionId],
}

impl Assumed<'_> {
    fn state(&self, pool: &Pool, endpoint: &Endpoint) -> State {
        if self.down.contains(pool.region, endpoint) {
            DOWN
        } else {
            State::UNPROBED
        }
    }

    fn is_drained(&self, pool: &Pool) -> bool {
        self.drained.contains(&pool.region)
    }

    /// Conditions of each pool; none where nothing is drained.
    fn conditions(&self) -> Vec<PoolConditions> {
        let mut conditions = Vec::new();
        if self.drained.is_empty() {
            return conditions;
        }
        for pool in &self.service.pools {
            let drain = self.is_drained(pool).then(|| {
                Arc::new(Drain {
                    what: "region".to_owned(),
                    by: "the question".to_owned(),
                    reason: String::new(),
                    until: None,
                })
            });
            conditions.push(PoolConditions {
                drained: drain,
                ..PoolConditions::default()
            });
        }
        conditions
    }

    /// True when the pool can own a unit.
    fn is_up(&self, pool: &Pool) -> bool {
        let state = |endpoint: &Endpoint| self.state(pool, endpoint);
        let up = Plan::is_up(self.service, pool, &state);
        up.iter().flatten().all(|up| *up) && !self.is_drained(pool)
    }

    /// State of the unit after a takeover, if one follows; `None` for services without units.
    fn unit(&self) -> Option<UnitState> {
        let unit = self.service.unit.as_ref()?;
        let mut pools = self.service.pools.iter();
        let owner = pools.find(|pool| pool.region == unit.owner);
        let is_up = |pool: &Pool| self.is_up(pool);
        if unit.rules.takeover == Takeover::Auto
            && !owner.is_some_and(is_up)
            && let Some(next) = successor(self.service, &is_up, unit.owner)
        {
            // The takeover made a second epoch.
            return Some(UnitState {
                epoch: 2,
                ..UnitState::of(next)
            });
        }
        Some(UnitState::of(unit.owner))
    }
}

/// Part of the configuration that an operator calls `names`: regions, metros, labels as
/// `KEY:VALUE`, addresses and target names of endpoints. The error is the first name that is none
/// of them.
pub fn part(config: &Config, names: &[String]) -> Result<Part, UnknownName> {
    let mut part = Part::default();
    for name in names {
        let regions = regions_named(losses::ids(&config.regions), name);
        if !regions.is_empty() {
            part.regions.extend(regions);
        } else if let Some(endpoint) = endpoint_named(config, name) {
            part.endpoints.push(endpoint.target.clone());
        } else {
            let known = config.regions.iter().map(|region| region.name.as_str());
            let kind = "region, metro, label or endpoint";
            return Err(UnknownName::new(kind, name, known));
        }
    }
    Ok(part)
}

fn endpoint_named<'c>(config: &'c Config, name: &str) -> Option<&'c Endpoint> {
    let pools = config.services.iter().flat_map(|service| &service.pools);
    pools
        .flat_map(|pool| &pool.endpoints)
        .find(|endpoint| endpoint.target.to_string() == name)
}

/// Runs every `[[tests]]`, and reports an error for each that gets something else than it expects,
/// and for each service that is slower than expected. Returns the number of tests.
pub fn run_tests(dataset: &Arc<Dataset>, diagnostics: &mut Diagnostics) -> usize {
    for test in &dataset.config.tests {
        if let Some(answer) = &test.answer {
            run_answer_test(dataset, &test.name, answer, diagnostics);
        }
        if let Some(failover) = &test.failover {
            run_failover_test(dataset, &test.name, failover, diagnostics);
        }
    }
    dataset.config.tests.len()
}

fn run_answer_test(
    dataset: &Arc<Dataset>,
    name: &Name,
    test: &AnswerTest,
    diagnostics: &mut Diagnostics,
) {
    let explanation = explain(
        &what_if(dataset, &test.down, &test.drained),
        name,
        test.rtype,
        test.client,
        0,
        WallTime::default(),
    );
    if !is_met(dataset, name, test, &explanation) {
        diagnose(dataset, test, &explanation, diagnostics);
    }
}

fn run_failover_test(
    dataset: &Dataset,
    name: &Name,
    test: &FailoverTest,
    diagnostics: &mut Diagnostics,
) {
    let config = &dataset.config;
    let whole = |service: &&Service| service.goes_by(&name.to_string());
    let Some(service) = dataset
        .service_at(name)
        .map(|id| &config.services[id.index()])
        .or_else(|| config.services.iter().find(whole))
    else {
        let message = format!("{name} is no service, so there is no region to leave");
        diagnostics.error("no-service", test.at.clone(), "tests", message);
        return;
    };
    let failover = Failover::of(config, service);
    if failover
        .bound()
        .is_some_and(|bound| bound.within <= test.within)
    {
        return;
    }
    let show = humantime::format_duration;
    let message = format!(
        "expected that a client of {name} leaves a dead region within {}, but {failover}",
        show(test.within)
    );
    diagnostics
        .error("test-failed", test.at.clone(), "tests", message)
        .hint(failover.hint(config, service));
}

fn diagnose(
    dataset: &Dataset,
    test: &AnswerTest,
    explanation: &Explanation,
    diagnostics: &mut Diagnostics,
) {
    let client = test.client;
    let expected = match &test.expect {
        Expect::Region(region) => dataset.config.region_name(*region).to_owned(),
        Expect::Target(target) => target.to_string(),
        Expect::NoData => "no records".to_owned(),
    };
    let got = match &explanation.region {
        Some(region) => region.clone(),
        None if explanation.answers.is_empty() => explanation.rcode.clone(),
        None => explanation.answers.join(" "),
    };
    let mut hint = explanation.lines().join("\n");
    if dataset.config.geo.city.is_some() && is_for_documentation(client) {
        hint += &format!(
            "\n{client} is reserved for documentation: only the built-in database knows a place \
             for it, the one of [geo] city does not; test with the address of a real client"
        );
    }
    let message = format!("expected {expected}, but the client {client} gets {got}");
    diagnostics
        .error("test-failed", test.at.clone(), "tests", message)
        .hint(hint);
}

/// True for clients in the prefixes of RFC 5737 and RFC 3849.
fn is_for_documentation(client: Prefix) -> bool {
    match client.address() {
        IpAddr::V4(address) => address.is_documentation(),
        IpAddr::V6(address) => address.segments()[..2] == [0x2001, 0xdb8],
    }
}

/// True when the client gets what the test expects; where chance decides, when it can get that.
fn is_met(dataset: &Dataset, name: &Name, test: &AnswerTest, explanation: &Explanation) -> bool {
    match &test.expect {
        // One draw is only one of the ways that chance allows, so a test that looked at the answer
        // alone would fail now and then.
        Expect::Region(region) => explanation.possible.regions.contains(region),
        Expect::NoData => explanation.rcode == "NOERROR" && explanation.answers.is_empty(),
        Expect::Target(target) => {
            let text = target.to_string();
            match dataset.service_at(name) {
                Some(_) if !explanation.steps.is_empty() => {
                    explanation.possible.targets.contains(&text)
                }
                _ => explanation.answers.contains(&text),
            }
        }
    }
}

#[cfg(test)]
mod tests;
