//! What would happen if: losses of regions, changes of the files, and the tests that zone files
//! carry, from the same plan and the same selection that serve.
//!
//! ```text
//! maps or a sample ── Population ── classes of clients who are all alike to a map
//! regions, metros, labels ── losses ──┐
//!                   Simulation::run(service) ── for each class and loss one traced selection ── Report ── Summary
//! ```
//!
//! A selection tells its trace how probable each region was, so one of them gives the exact split
//! of a class.

mod change;
mod clients;
mod losses;
mod outcome;
mod split;

use std::net::IpAddr;
use std::sync::Arc;

use crate::answer::{Explanation, explain};
use crate::config::Config;
use crate::dataset::{Dataset, Snapshot};
use crate::diag::{Diagnostics, UnknownName};
use crate::dns::Prefix;
use crate::health::State;
use crate::model::{
    Endpoint, Expect, Part, Pool, RegionId, RoutingTest, Service, Takeover, WallTime, regions_named,
};
use crate::steer::{Drain, Plan, PoolConditions, UnitState, successor};

pub use change::{Change, Movement, Names, ServiceChange};
pub use clients::{Population, Sampled, read_clients};
pub use losses::{Loss, losses};
pub use outcome::{
    BadCondition, BadShare, Broken, Condition, LossSummary, Outcome, Report, Simulation, Summary,
    destination_name, read_share, round, route_name,
};
pub use split::{Destination, Split, Subject};

const DOWN: State = State {
    up: false,
    settled: true,
};

/// A snapshot in which every endpoint of `down` is down, all others are up, and the `drained`
/// regions are drained. A unit that moves by itself is owned by who takes it over.
pub fn what_if(dataset: &Arc<Dataset>, down: &Part, drained: &[RegionId]) -> Snapshot {
    let plan = |service| Arc::new(plan_if(&dataset.config, service, down, drained));
    let plans = dataset.config.services.iter().map(plan).collect();
    Snapshot {
        dataset: dataset.clone(),
        plans,
        pool_counters: Arc::default(),
    }
}

/// The plan of one service of `config` in such a snapshot.
fn plan_if(config: &Config, service: &Service, down: &Part, drained: &[RegionId]) -> Plan {
    let is_drained = |pool: &Pool| drained.contains(&pool.region);
    let state = |pool: &Pool, endpoint: &Endpoint| {
        if down.contains(pool.region, endpoint) {
            DOWN
        } else {
            State::UNPROBED
        }
    };
    let drain = || Drain {
        what: "region".to_owned(),
        by: "the question".to_owned(),
        reason: String::new(),
        until: None,
    };
    let conditions = |pool: &Pool| PoolConditions {
        drained: is_drained(pool).then(|| Arc::new(drain())),
        ..PoolConditions::default()
    };
    let all: Vec<PoolConditions> = if drained.is_empty() {
        Vec::new()
    } else {
        service.pools.iter().map(conditions).collect()
    };
    let unit_state = service.unit.as_ref().map(|unit| {
        let is_up = |pool: &Pool| {
            let up = Plan::is_up(service, pool, &|endpoint| state(pool, endpoint));
            up.iter().flatten().all(|up| *up) && !is_drained(pool)
        };
        let owner = service.pools.iter().find(|pool| pool.region == unit.owner);
        let moves = unit.rules.takeover == Takeover::Auto && !owner.is_some_and(is_up);
        let next = if moves {
            successor(service, &is_up, unit.owner)
        } else {
            None
        };
        next.map_or_else(
            || UnitState::of(unit.owner),
            |next| UnitState {
                epoch: 2,
                ..UnitState::of(next)
            },
        )
    });
    Plan::compile_unit(service, &config.regions, &state, &all, unit_state)
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

/// Runs every `[[tests]]`; an error for each that does not get what it expects. Returns how many
/// ran.
pub fn run_tests(dataset: &Arc<Dataset>, diagnostics: &mut Diagnostics) -> usize {
    for test in &dataset.config.tests {
        let snapshot = what_if(dataset, &test.down, &test.drained);
        let explanation = explain(
            &snapshot,
            &test.name,
            test.rtype,
            test.client,
            0,
            WallTime::default(),
        );
        if !is_met(dataset, test, &explanation) {
            let expected = match &test.expect {
                Expect::Region(region) => dataset.config.region_name(*region).to_owned(),
                Expect::Target(target) => target.to_string(),
                Expect::NoData => "no records".to_owned(),
            };
            let got = explanation
                .region
                .clone()
                .unwrap_or_else(|| explanation.answers.join(" "));
            let got = if got.is_empty() {
                explanation.rcode.clone()
            } else {
                got
            };
            let message = format!(
                "expected {expected}, and the client {} gets {got}",
                test.client
            );
            let mut hint = explanation.lines().join("\n");
            if dataset.config.geo.city.is_some() && is_for_documentation(test.client) {
                hint += &format!(
                    "\n{} is kept for documentation: the built-in database gives it a place, and that of [geo] city has none for it; \
                     write the address of a real client",
                    test.client
                );
            }
            diagnostics
                .error("test-failed", test.at.clone(), "tests", message)
                .hint(hint);
        }
    }
    dataset.config.tests.len()
}

/// True for clients in the prefixes of RFC 5737 and RFC 3849.
fn is_for_documentation(client: Prefix) -> bool {
    match client.address() {
        IpAddr::V4(address) => address.is_documentation(),
        IpAddr::V6(address) => address.segments()[..2] == [0x2001, 0xdb8],
    }
}

/// Where chance decides, it is enough that the client can get what is expected.
fn is_met(dataset: &Dataset, test: &RoutingTest, explanation: &Explanation) -> bool {
    match &test.expect {
        Expect::Region(region) => explanation.possible.regions.contains(region),
        Expect::NoData => explanation.rcode == "NOERROR" && explanation.answers.is_empty(),
        Expect::Target(target) => {
            let text = target.to_string();
            match dataset.service_at(&test.name) {
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
