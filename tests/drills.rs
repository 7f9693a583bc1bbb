//! Drills over real plans: what they leave, and the numbers that they report.

mod common;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use meridian::dataset::Dataset;
use meridian::drills::{DrillRequest, Drills, Output, Survey};
use meridian::health::State;
use meridian::model::{Endpoint, Moment, Pool, Service, WallTime};
use meridian::overrides::{Override, Overrides, Scope};
use meridian::publisher::Publisher;
use meridian::simulate::{
    DEMAND, Loss, Population, Present, Simulation, Subject, destination_name,
};
use meridian::steer::{Plan, Rung};
use proptest::prelude::*;

const FILES: &str = "
--- meridian.toml
[server]
node = \"test\"
[regions.east]
metro = \"city\"
labels = { provider = \"a\" }
capacity = 90
[regions.north]
labels = { provider = \"b\" }
[regions.south]
labels = { provider = \"b\" }
[regions.west]
metro = \"city\"
labels = { provider = \"a\" }
[maps.default]
networks = { \"10.0.0.0/8\" = [\"east\"], \"192.0.0.0/4\" = [\"south\", \"north\"] }
rest = [\"west\", \"north\", \"east\", \"south\"]
[checks.web]
type = \"tcp\"
port = 80
--- zones/z.toml
zone = \"z.example\"
records = '''
@ 60 SOA ns1 h 1 2 3 4 5
@ 60 NS ns1
ns1 60 A 192.0.2.53
'''
[services.www]
route = \"nearest\"
checks = [\"web\"]
min_regions = 2
[services.www.pools]
east = { endpoints = [\"192.0.2.1\", \"192.0.2.2\"] }
north = { endpoints = [\"192.0.2.3\"] }
south = { endpoints = [\"192.0.2.4\"] }
west = { endpoints = [\"192.0.2.5\"] }
[services.api]
route = \"weighted\"
checks = [\"web\"]
[services.api.pools]
east = { endpoints = [\"192.0.2.6\"] }
north = { weight = 3, endpoints = [\"192.0.2.7\"] }
[services.pay]
route = \"priority\"
checks = [\"web\"]
[services.pay.pools]
south = { endpoints = [\"192.0.2.8\"] }
west = { priority = 2, endpoints = [\"192.0.2.9\"] }
";

/// Compiled once: that takes longer than a case.
static DATASET: LazyLock<Arc<Dataset>> = LazyLock::new(|| common::dataset(FILES));

fn health(down: &BTreeSet<u8>) -> impl Fn(&Endpoint) -> State + use<> {
    let down = down.clone();
    move |endpoint| State {
        up: !down
            .iter()
            .any(|host| endpoint.target.to_string() == format!("192.0.2.{host}")),
        settled: true,
    }
}

/// The plan of a service under `overrides`, and the number of its regions that are up.
fn plan(
    dataset: &Dataset,
    service: &Service,
    overrides: &Overrides,
    state: &dyn Fn(&Endpoint) -> State,
    now: Moment,
) -> (Plan, usize) {
    let regions = &dataset.config.regions;
    let mut conditions = Vec::new();
    let applied = overrides.apply(regions, service, &mut conditions, now);
    let overridden = |pool: &Pool, endpoint: &Endpoint| {
        let own = overrides.state(regions, service, pool, endpoint, now);
        own.unwrap_or_else(|| state(endpoint))
    };
    let plan = Plan::compile(&applied, regions, &overridden, &conditions);
    let up = plan
        .pools
        .iter()
        .filter(|pool| pool.rungs[0] & Rung::Up.bit() != 0);
    let up = up.count();
    (plan, up)
}

/// The acts of a drill of `target` where these hosts are down: the override that it asks for, if it
/// begins, and its report.
fn drill(
    dataset: &Arc<Dataset>,
    target: &str,
    down: &BTreeSet<u8>,
) -> (Option<Override>, meridian::drills::DrillReport) {
    let (state, now) = (health(down), Moment::default());
    let mut plans = Vec::new();
    for service in &dataset.config.services {
        let (plan, _) = plan(dataset, service, &Overrides::default(), &state, now);
        plans.push(Arc::new(plan));
    }
    let asked = DrillRequest {
        target: Scope::find(&dataset.config, target).unwrap(),
        lasts: Duration::from_secs(900),
        reason: "a rehearsal".to_owned(),
        by: "anna".to_owned(),
        scheduled: false,
    };
    let own = Override::new(1, asked.clone().drain(1), now);
    let after = Overrides(vec![own]);
    let present = Present {
        dataset,
        plans: &plans,
        state: &state,
        load: &|_| None,
        population: &Population::of_addresses(dataset),
        now,
    };
    let shift = present.shift(&Overrides::default(), &after, now);
    let survey = Survey {
        shift: &shift,
        not_ready: None,
    };
    let mut drills = Drills::default();
    let (_, outputs) = drills.start(asked, &survey, now, WallTime::default());
    let drain = outputs.into_iter().find_map(|output| match output {
        Output::Drain(asked) => Some(Override::new(1, asked, now)),
        _ => None,
    });
    let report = drills.reports().next_back().unwrap().clone();
    (drain, report)
}

fn target() -> impl Strategy<Value = &'static str> {
    let targets = [
        "east",
        "north",
        "south",
        "west",
        "city",
        "provider:b",
        "api.z.example",
    ];
    prop::sample::select(targets.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_drill_never_leaves_a_service_without_its_min_regions(
        target in target(),
        down in prop::collection::btree_set(1u8..10, 0..5),
    ) {
        let dataset = DATASET.clone();
        let (drain, report) = drill(&dataset, target, &down);
        let Some(drain) = drain else {
            prop_assert!(!report.why.is_empty());
            return Ok(());
        };
        let (state, now) = (health(&down), Moment::default());
        let overrides = Overrides(vec![drain]);
        for service in &dataset.config.services {
            let (_, before) = plan(&dataset, service, &Overrides::default(), &state, now);
            let (_, after) = plan(&dataset, service, &overrides, &state, now);
            let least = service.min_regions as usize;
            prop_assert!(after >= least.min(before), "{} {before} {after}", service.name);
        }
    }

    #[test]
    fn the_numbers_of_a_report_are_those_of_simulate(target in target()) {
        // A loss takes a place, and a service is none.
        prop_assume!(!target.contains(".z."));
        let dataset = DATASET.clone();
        let (drain, report) = drill(&dataset, target, &BTreeSet::new());
        let loss = Loss::named(&dataset.config.regions, target).unwrap();
        let population = Population::of_addresses(&dataset);
        let simulation = Simulation {
            dataset: &dataset,
            population: &population,
            losses: std::slice::from_ref(&loss),
            demand: DEMAND,
        };
        for subject in Subject::all(&dataset) {
            let simulated = simulation.run(subject);
            let told = report.names.iter().find(|own| own.name == simulated.name);
            let Some((_, outcome)) = simulated.lost.first() else {
                prop_assert_eq!(told, None);
                continue;
            };
            // A loss of everything leaves no drill.
            if outcome.is_empty() {
                prop_assert!(drain.is_none());
                continue;
            }
            prop_assert!((told.map_or(0.0, |own| own.moved) - outcome.moved).abs() < 1e-5);
            for (to, share) in outcome.split.iter().filter(|_| told.is_some()) {
                let to = destination_name(&dataset.config.regions, *to);
                let after = &told.unwrap().after;
                prop_assert!((after[to] - share).abs() < 1e-5, "{to}");
            }
        }
    }
}

/// The world of these tests is the publisher's, too.
#[test]
fn the_first_plans_of_a_publisher_are_those_of_the_tests() {
    let dataset = common::dataset(FILES);
    let snapshot = Publisher::new(dataset.clone()).snapshot();
    let state = health(&BTreeSet::new());
    for (service, published) in dataset.config.services.iter().zip(&snapshot.plans) {
        let (plan, _) = plan(
            &dataset,
            service,
            &Overrides::default(),
            &state,
            Moment::default(),
        );
        let rungs = |plan: &Plan| plan.pools.iter().map(|pool| pool.rungs).collect::<Vec<_>>();
        assert_eq!(rungs(&plan), rungs(published));
    }
}
