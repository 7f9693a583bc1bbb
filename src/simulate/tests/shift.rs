//! The numbers of the pre-flight, against the simulation of losses and by hand.

use std::time::Duration;

use super::*;
use crate::model::Moment;
use crate::overrides::{Action, Override, OverrideRequest, Overrides, Scope};

const NOW: Moment = Moment(Duration::from_secs(1000));

fn asked(dataset: &Dataset, action: Action, what: &str) -> OverrideRequest {
    OverrideRequest {
        action,
        scope: Scope::find(&dataset.config, what).unwrap(),
        by: "anna".to_owned(),
        reason: "work".to_owned(),
        starts_in: Duration::ZERO,
        lasts: None,
        force: false,
        ramp: None,
        drill: None,
    }
}

/// The shift that one more override than `before` brings about where the endpoints of `down` are
/// down, and every endpoint reports `load`.
fn shift(
    dataset: &Arc<Dataset>,
    down: &[&str],
    load: Option<f64>,
    before: &Overrides,
    asked: OverrideRequest,
) -> Shift {
    let down: Vec<String> = down.iter().map(|name| (*name).to_owned()).collect();
    let down = part(&dataset.config, &down).unwrap();
    let is_down = |endpoint: &Endpoint| {
        let mut pools = dataset.config.services.iter().flat_map(|own| &own.pools);
        pools.any(|pool| {
            let mut endpoints = pool.endpoints.iter();
            endpoints.any(|own| std::ptr::eq(own, endpoint)) && down.contains(pool.region, endpoint)
        })
    };
    let snapshot = what_if(dataset, &down, &[]);
    let present = Present {
        dataset,
        plans: &snapshot.plans,
        state: &|endpoint| {
            if is_down(endpoint) {
                DOWN
            } else {
                State::UNPROBED
            }
        },
        load: &|_| load,
        population: &Population::of_addresses(dataset),
        now: NOW,
    };
    let own = Override::new(before.0.len() as u64 + 1, asked, NOW);
    let mut after = before.clone();
    after.add(&own);
    present.shift(before, &after, own.starts)
}

/// Outcomes that `simulate` reports of a loss.
fn simulated(dataset: &Arc<Dataset>, loss: &Loss) -> Vec<(String, String, Outcome)> {
    let population = Population::of_addresses(dataset);
    let simulation = Simulation {
        dataset,
        population: &population,
        losses: std::slice::from_ref(loss),
        demand: DEMAND,
    };
    let mut outcomes = Vec::new();
    for subject in Subject::all(dataset) {
        let report = simulation.run(subject);
        for (_, outcome) in report.lost {
            outcomes.push((report.name.clone(), subject.rtype.to_string(), outcome));
        }
    }
    outcomes
}

#[test]
fn marking_something_down_moves_the_clients_that_its_loss_moves() {
    let dataset = world();
    let mut compared = 0;
    for loss in losses(&dataset.config.regions, false) {
        let asked = asked(&dataset, Action::Down, &loss.name);
        let shift = shift(&dataset, &[], None, &Overrides::default(), asked);
        for (name, rtype, outcome) in simulated(&dataset, &loss) {
            let told = shift
                .names
                .iter()
                .find(|own| own.name == name && own.rtype.to_string() == rtype);
            let what = format!("{name} {rtype} without {}", loss.name);
            // What an operator marks down is not used as if it were up, and a loss is.
            if outcome.is_empty() {
                continue;
            }
            compared += 1;
            assert_close(told.map_or(0.0, |own| own.moved), outcome.moved);
            let Some(told) = told else { continue };
            let split = told.after.iter().map(|(to, share)| (to.as_str(), *share));
            let expected = outcome
                .split
                .iter()
                .map(|(to, share)| (destination_name(&dataset.config.regions, *to), *share));
            for ((to, share), (expected_to, expected)) in split.zip(expected) {
                assert_eq!(to, expected_to, "{what}");
                assert_close(share, expected);
            }
        }
    }
    assert!(compared > 40, "{compared}");
}

/// Three regions of one service, all of whose clients go to the first that is in use, and a service
/// in one region alone.
fn chain() -> Arc<Dataset> {
    dataset(
        "[regions]\na = {}\nb = { capacity = 80 }\nc = { capacity = 120 }\n[maps.default]\nrest = [\"a\", \"b\", \"c\"]\n",
        "[services.www]\nroute = \"nearest\"\nttl = 60\nttl_min = 5\n[services.www.pools]\na = { endpoints = [\"192.0.2.1\"] }\n\
         b = { endpoints = [\"192.0.2.2\"] }\nc = { endpoints = [\"192.0.2.3\"] }\n\
         [services.pay]\nroute = \"nearest\"\n[services.pay.pools]\na = { endpoints = [\"192.0.2.4\"] }\n",
    )
}

#[test]
fn the_present_counts_and_not_a_world_in_which_all_is_up() {
    let dataset = chain();
    let drain = |what| asked(&dataset, Action::Drain, what);
    let www = |shift: &Shift| -> Option<Vec<String>> {
        let www = shift.names.iter().find(|own| own.name.starts_with("www"))?;
        Some(www.after.iter().map(|(to, _)| to.clone()).collect())
    };
    let none = Overrides::default();
    let all_up = www(&shift(&dataset, &[], None, &none, drain("a"))).unwrap();
    assert_eq!(all_up, ["b"]);
    let b_down = www(&shift(&dataset, &["192.0.2.2"], None, &none, drain("a"))).unwrap();
    assert_eq!(b_down, ["c"]);
    let own = Override::new(1, drain("b"), NOW);
    let b_drained = www(&shift(
        &dataset,
        &[],
        None,
        &Overrides(vec![own]),
        drain("a"),
    ))
    .unwrap();
    assert_eq!(b_drained, ["c"]);
    // Nobody is in b, so nobody leaves it.
    assert_eq!(www(&shift(&dataset, &[], None, &none, drain("b"))), None);
    // A narrower override decides about the pool, and the drain of the region changes nothing.
    let weight = asked(
        &dataset,
        Action::Weight(crate::model::Weight::ONE),
        "www.gtm.example/a",
    );
    let own = Override::new(1, weight, NOW);
    let shielded = shift(&dataset, &[], None, &Overrides(vec![own]), drain("a"));
    assert_eq!(www(&shielded), None);
}

#[test]
fn the_words_name_who_moves_and_what_is_too_much() {
    let dataset = chain();
    let drain = asked(&dataset, Action::Drain, "a");
    let what = drain.action.doing(&drain.scope);
    let told = shift(&dataset, &[], Some(0.6), &Overrides::default(), drain);
    assert_eq!(
        told.lines(&what, WallTime::default()),
        [
            "pre-flight: draining region a moves 100 % of the clients of www.gtm.example.",
            "  www.gtm.example. A: 100 %: a 100 % → 0 %, b 0 % → 100 %",
            "warning: b would reach 1.25 × its capacity, with 100 % of the clients of www.gtm.example.",
            "b reports a load of 0.6 and would reach 0.6",
            "warning: clients of 1 service would be below rung 2",
            "caches keep the answers of before until 1970-01-01T00:17:40Z",
        ]
    );
    assert_eq!(
        told.objections,
        ["it would leave pay.gtm.example. 0 regions up, and min_regions is 1"]
    );
    let over: Vec<&str> = told
        .regions
        .iter()
        .filter(|own| own.is_over())
        .map(|own| own.region.as_str())
        .collect();
    assert_eq!(over, ["b"]);
}

#[test]
fn load_grows_with_the_clients() {
    let dataset = dataset(
        "[regions]\na = {}\nb = {}\nc = {}\n",
        "[services.www]\nroute = \"weighted\"\n[services.www.pools]\na = { endpoints = [\"192.0.2.1\"] }\n\
         b = { endpoints = [\"192.0.2.2\"] }\nc = { weight = 2, endpoints = [\"192.0.2.3\"] }\n",
    );
    let drain = asked(&dataset, Action::Drain, "c");
    let told = shift(&dataset, &[], Some(0.7), &Overrides::default(), drain);
    let [b] = &told.regions[1..] else {
        panic!("{told:?}")
    };
    assert_eq!(b.region, "b");
    let (now, then) = b.load.unwrap();
    assert_close(now, 0.7);
    // From a quarter to a half of the clients.
    assert_close(then, 1.4);
    assert!(b.is_over());
}

#[test]
fn caches_let_go_after_the_ttl_or_sooner_where_it_is_announced() {
    let dataset = chain();
    let until = |starts_in: u64| {
        let mut drain = asked(&dataset, Action::Drain, "www.gtm.example/a");
        drain.starts_in = Duration::from_secs(starts_in);
        let told = shift(&dataset, &[], None, &Overrides::default(), drain);
        told.caches_until.unwrap().since(NOW).as_secs()
    };
    assert_eq!(
        [until(0), until(30), until(60), until(300)],
        [60, 60, 65, 305]
    );
}

#[test]
fn a_unit_goes_to_the_region_that_takes_it_over() {
    let auto = unit("auto");
    let told = shift(
        &auto,
        &[],
        None,
        &Overrides::default(),
        asked(&auto, Action::Drain, "a"),
    );
    assert_eq!(told.names[0].after, [("c".to_owned(), 1.0)]);
    assert!(told.objections.is_empty());
    let manual = unit("manual");
    let told = shift(
        &manual,
        &[],
        None,
        &Overrides::default(),
        asked(&manual, Action::Drain, "a"),
    );
    assert_eq!(told.moving, 0, "an operator has to move it");
    assert_eq!(
        told.objections,
        [
            "it would take the owners of these units out of use, and only an operator moves them: u.gtm.example."
        ]
    );
}
