//! What would happen if: losses of regions, and the tests that zone files carry, from the same plan
//! and the same selection that serve.

use std::sync::Arc;

use crate::answer::{Explanation, explain};
use crate::dataset::{Dataset, Snapshot};
use crate::diag::Diagnostics;
use crate::health::State;
use crate::model::{Expect, RegionId, RoutingTest};
use crate::steer::Plan;

const DOWN: State = State { up: false, settled: true };

/// A snapshot in which every endpoint of the `down` regions is down and all others are up.
pub fn what_if(dataset: &Arc<Dataset>, down: &[RegionId]) -> Snapshot {
    let regions = dataset.config.regions.len();
    let plan = |service| {
        Plan::compile(service, regions, &|pool, _| if down.contains(&pool.region) { DOWN } else { State::UNPROBED }, &[])
    };
    let plans = dataset.config.services.iter().map(|service| Arc::new(plan(service))).collect();
    Snapshot { dataset: dataset.clone(), plans }
}

/// Runs every `[[tests]]`; an error for each that does not get what it expects. Returns how many ran.
pub fn run_tests(dataset: &Arc<Dataset>, diagnostics: &mut Diagnostics) -> usize {
    for test in &dataset.config.tests {
        let snapshot = what_if(dataset, &test.down);
        let explanation = explain(&snapshot, &test.name, test.rtype, test.client, 0);
        if !is_met(dataset, test, &explanation) {
            let expected = match &test.expect {
                Expect::Region(region) => dataset.config.regions[region.index()].name.clone(),
                Expect::Target(target) => target.to_string(),
                Expect::NoData => "no records".to_owned(),
            };
            let got = explanation.region.clone().unwrap_or_else(|| explanation.answers.join(" "));
            let got = if got.is_empty() { explanation.rcode.clone() } else { got };
            let message = format!("expected {expected}, and the client {} gets {got}", test.client);
            diagnostics.error("test-failed", test.at.clone(), "tests", message).hint(explanation.lines().join("\n"));
        }
    }
    dataset.config.tests.len()
}

/// Where chance decides, it is enough that the client can get what is expected.
fn is_met(dataset: &Dataset, test: &RoutingTest, explanation: &Explanation) -> bool {
    match &test.expect {
        Expect::Region(region) => explanation.possible.regions.contains(region),
        Expect::NoData => explanation.rcode == "NOERROR" && explanation.answers.is_empty(),
        Expect::Target(target) => {
            let text = target.to_string();
            match dataset.service_at(&test.name) {
                Some(_) if !explanation.steps.is_empty() => explanation.possible.targets.contains(&text),
                _ => explanation.answers.contains(&text),
            }
        }
    }
}
