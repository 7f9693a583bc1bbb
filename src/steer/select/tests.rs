use super::*;
use crate::diag::At;
use crate::dns::Name;
use crate::health::State;
use crate::model::{Endpoint, FamilyRule, Need, Pool, Region, Resume, Service, Target, Weight, ZoneId};

/// Region, weight, priority, endpoints.
type Pools<'a> = &'a [(u16, u32, u32, &'a [&'a str])];

const REGIONS: [&str; 4] = ["a", "b", "c", "d"];

/// Pools as text: region, weight, priority, endpoints (an address, `*weight`, `-` down, `?` in doubt).
fn service(route: Route, family: FamilyRule, answers: u8, pools: Pools<'_>) -> (Service, Vec<State>) {
    let mut states = Vec::new();
    let pools = pools
        .iter()
        .map(|(region, weight, priority, endpoints)| Pool {
            region: RegionId(*region),
            weight: Weight::new(*weight).unwrap(),
            priority: *priority,
            min_up: 0.5,
            endpoints: endpoints
                .iter()
                .map(|text| {
                    states.push(State { up: !text.contains('-'), settled: !text.contains('?') });
                    let text = text.replace(['-', '?'], "");
                    let (address, weight) = text.split_once('*').unwrap_or((&text, "1"));
                    let target = match address.parse() {
                        Ok(address) => Target::Address(address),
                        Err(_) => Target::Name(Name::from_text(address, None).unwrap()),
                    };
                    Endpoint { target, weight: Weight::new(weight.parse().unwrap()).unwrap(), probes: vec![], need: Need::All }
                })
                .collect(),
        })
        .collect();
    let service = Service {
        zone: ZoneId(0),
        name: Name::root(),
        at: At::file("t"),
        route,
        map: None,
        ttl: Ttl::from_secs(20).unwrap(),
        ttl_min: Ttl::from_secs(5).unwrap(),
        answers,
        family,
        ramp: None,
        resume: Resume::Auto,
        pools,
        fallback: vec![],
        trickle: 0.0,
        unit: None,
        svcb: vec![],
    };
    (service, states)
}

fn regions() -> Vec<Region> {
    let region = |name: &&str| Region {
        name: name.to_string(),
        coordinates: None,
        metro: None,
        labels: Default::default(),
        bias: 0,
        capacity: None,
    };
    REGIONS.iter().map(region).collect()
}

fn compile((service, states): &(Service, Vec<State>)) -> Plan {
    let endpoints: Vec<*const Endpoint> = service.pools.iter().flat_map(|p| &p.endpoints).map(std::ptr::from_ref).collect();
    let state = |endpoint: &Endpoint| states[endpoints.iter().position(|e| std::ptr::eq(*e, endpoint)).unwrap()];
    Plan::compile(service, &regions(), &|_, endpoint| state(endpoint), &[])
}

fn order(steps: &[&[u16]]) -> RegionOrder {
    RegionOrder { steps: steps.iter().map(|s| s.iter().map(|r| RegionId(*r)).collect()).collect(), border: None }
}

/// `region rung ttl last-octets`, of the first draw.
fn pick(plan: &Plan, family: Family, order: Option<&RegionOrder>) -> String {
    let border = order.and_then(|o| o.border.as_ref());
    let asked = Asked { family, order, border, hash: 0, svcb: None };
    match select(plan, &asked, &mut fastrand::Rng::with_seed(1), &mut ()) {
        None => "none".into(),
        Some(s) => {
            let octets: Vec<_> = crate::zone::rrs(s.rrs).map(|(_, rdata)| rdata[rdata.len() - 1].to_string()).collect();
            assert_eq!(octets.len(), usize::from(s.count));
            let region = s.region.map_or("-", |r| REGIONS[r.index()]);
            format!("{region} {:?} {} {}", s.rung, s.ttl, octets.join(","))
        }
    }
}

#[test]
fn nearest_goes_down_the_ladder() {
    let near_first = order(&[&[0], &[1], &[2], &[3]]);
    let cases: &[(Pools<'_>, &str)] = &[
        (&[(0, 1, 1, &["192.0.2.1"]), (1, 1, 1, &["192.0.2.2"])], "a Up 20 1"),
        (&[(1, 1, 1, &["192.0.2.2"]), (2, 1, 1, &["192.0.2.3"])], "b Up 20 2"),
        (&[(0, 1, 1, &["192.0.2.1-"]), (1, 1, 1, &["192.0.2.2"])], "b Up 20 2"),
        (&[(0, 1, 1, &["192.0.2.1-?"]), (1, 1, 1, &["192.0.2.2"])], "b Up 5 2"),
        (&[(0, 1, 1, &["192.0.2.1?"]), (1, 1, 1, &["192.0.2.2"])], "a Up 5 1"),
        (&[(0, 1, 1, &["192.0.2.1"]), (1, 1, 1, &["192.0.2.2?"])], "a Up 20 1"),
        (&[(0, 0, 1, &["192.0.2.1"]), (1, 1, 1, &["192.0.2.2"])], "b Up 20 2"),
        (&[(0, 0, 1, &["192.0.2.1"]), (1, 1, 1, &["192.0.2.2-"])], "a Standby 5 1"),
        (&[(0, 1, 1, &["192.0.2.1", "192.0.2.2-"]), (1, 1, 1, &["192.0.2.3-"])], "a Up 20 1"),
        (&[(0, 1, 1, &["192.0.2.1-*3", "192.0.2.2"]), (1, 1, 1, &["192.0.2.3"])], "b Up 20 3"),
        (&[(0, 1, 1, &["192.0.2.1-*3", "192.0.2.2"]), (1, 0, 1, &["192.0.2.3"])], "a Survivors 5 2"),
        (&[(0, 1, 1, &["192.0.2.1-"]), (1, 1, 1, &["192.0.2.2-"])], "a AsIfUp 5 1"),
        (&[(0, 0, 1, &["192.0.2.1-"]), (1, 1, 1, &["192.0.2.2-"])], "b AsIfUp 5 2"),
        (&[(0, 0, 1, &["192.0.2.1-"]), (1, 0, 1, &["192.0.2.2-"])], "a Every 5 1"),
    ];
    for (pools, expected) in cases {
        let plan = compile(&service(Route::Nearest, FamilyRule::Same, 1, pools));
        assert_eq!(&pick(&plan, Family::V4, Some(&near_first)), expected, "{pools:?}");
    }
}

#[test]
fn families_move_together_unless_split() {
    let pools: Pools<'_> = &[(0, 1, 1, &["192.0.2.1", "2001:db8::1-"]), (1, 1, 1, &["192.0.2.2", "2001:db8::2"])];
    let near_first = order(&[&[0], &[1]]);
    let same = compile(&service(Route::Nearest, FamilyRule::Same, 1, pools));
    assert_eq!(pick(&same, Family::V4, Some(&near_first)), "b Up 20 2");
    assert_eq!(pick(&same, Family::V6, Some(&near_first)), "b Up 20 2");
    let split = compile(&service(Route::Nearest, FamilyRule::Split, 1, pools));
    assert_eq!(pick(&split, Family::V4, Some(&near_first)), "a Up 20 1");
    assert_eq!(pick(&split, Family::V6, Some(&near_first)), "b Up 20 2");
}

#[test]
fn a_dead_family_everywhere_leaves_the_other_its_survivors() {
    let pools: Pools<'_> = &[(0, 1, 1, &["192.0.2.1-", "192.0.2.2", "2001:db8::1-"]), (1, 1, 1, &["192.0.2.3-", "2001:db8::2-"])];
    let plan = compile(&service(Route::Nearest, FamilyRule::Same, 1, pools));
    let near_first = order(&[&[1], &[0]]);
    assert_eq!(pick(&plan, Family::V4, Some(&near_first)), "a SomeSurvivors 5 2");
    assert_eq!(pick(&plan, Family::V6, Some(&near_first)), "a SomeSurvivors 5 1");
}

#[test]
fn a_border_is_never_crossed() {
    let pools: Pools<'_> = &[(0, 1, 1, &["192.0.2.1"]), (1, 1, 1, &["192.0.2.2-"])];
    for route in [Route::Nearest, Route::Weighted, Route::Priority] {
        let plan = compile(&service(route, FamilyRule::Same, 1, pools));
        let bordered = RegionOrder { steps: vec![vec![RegionId(1)]], border: Some([RegionId(1)].into_iter().collect()) };
        assert_eq!(pick(&plan, Family::V4, Some(&bordered)), "b AsIfUp 5 2");
    }
}

#[test]
fn the_fallback_comes_before_dead_pools_and_knows_no_border() {
    let (mut service, states) = service(Route::Nearest, FamilyRule::Same, 1, &[(0, 1, 1, &["192.0.2.1-"])]);
    service.fallback = vec!["203.0.113.7".parse().unwrap()];
    let plan = compile(&(service, states));
    let bordered = RegionOrder { steps: vec![vec![RegionId(0)]], border: Some([RegionId(0)].into_iter().collect()) };
    assert_eq!(pick(&plan, Family::V4, Some(&bordered)), "- Fallback 5 7");
    assert_eq!(pick(&plan, Family::V6, Some(&bordered)), "none");
}

#[test]
fn priority_takes_the_lowest_number_that_stands() {
    let pools: Pools<'_> =
        &[(0, 1, 2, &["192.0.2.1"]), (1, 1, 1, &["192.0.2.2-?"]), (2, 1, 3, &["192.0.2.3?"]), (3, 1, 1, &["192.0.2.4-"])];
    let plan = compile(&service(Route::Priority, FamilyRule::Same, 1, pools));
    assert_eq!(pick(&plan, Family::V4, None), "a Up 5 1");
}

#[test]
fn several_answers_are_neighbours_on_the_ring() {
    let pools: Pools<'_> = &[(0, 1, 1, &["192.0.2.1*0", "192.0.2.2", "192.0.2.3-", "192.0.2.4"])];
    let plan = compile(&service(Route::Weighted, FamilyRule::Same, 3, pools));
    let asked = Asked { family: Family::V4, order: None, border: None, hash: 0, svcb: None };
    let mut seen = std::collections::BTreeSet::new();
    let mut rng = fastrand::Rng::with_seed(3);
    for _ in 0..50 {
        let s = select(&plan, &asked, &mut rng, &mut ()).unwrap();
        seen.insert(crate::zone::rrs(s.rrs).map(|(_, rdata)| rdata[3]).collect::<Vec<_>>());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [[2, 4], [4, 2]]);
}

/// Draws `n` times and holds each share to five standard deviations of its binomial.
fn assert_shares(plan: &Plan, order: Option<&RegionOrder>, expected: &[(u8, f64)], n: u32) {
    let mut counts = [0u32; 256];
    let mut rng = fastrand::Rng::with_seed(42);
    for _ in 0..n {
        let s = select(plan, &Asked { family: Family::V4, order, border: None, hash: 0, svcb: None }, &mut rng, &mut ()).unwrap();
        counts[usize::from(s.rrs[s.rrs.len() - 1])] += 1;
    }
    assert_eq!(counts.iter().filter(|c| **c > 0).count(), expected.len());
    for (octet, share) in expected {
        let (mean, deviation) = (f64::from(n) * share, (f64::from(n) * share * (1.0 - share)).sqrt());
        let count = f64::from(counts[usize::from(*octet)]);
        assert!((count - mean).abs() < 5.0 * deviation, "{octet}: {count} of {n}, expected {mean} ± {deviation}");
    }
}

#[test]
fn weights_are_exact_in_the_long_run() {
    let pools: Pools<'_> = &[
        (0, 70, 1, &["192.0.2.1*3", "192.0.2.2"]),
        (1, 20, 1, &["192.0.2.3"]),
        (2, 10, 1, &["192.0.2.4"]),
        (3, 50, 1, &["192.0.2.5-"]),
    ];
    let weighted = compile(&service(Route::Weighted, FamilyRule::Same, 1, pools));
    assert_shares(&weighted, None, &[(1, 0.525), (2, 0.175), (3, 0.2), (4, 0.1)], 100_000);
    let metro = order(&[&[1, 2], &[0], &[3]]);
    let nearest = compile(&service(Route::Nearest, FamilyRule::Same, 1, pools));
    assert_shares(&nearest, Some(&metro), &[(3, 2.0 / 3.0), (4, 1.0 / 3.0)], 100_000);
}

#[test]
fn an_alias_hands_out_its_target() {
    let plan = compile(&service(Route::Weighted, FamilyRule::Same, 1, &[(0, 1, 1, &["lb.cloud.example."])]));
    assert!(plan.alias);
    let s = select(
        &plan,
        &Asked { family: Family::V4, order: None, border: None, hash: 0, svcb: None },
        &mut fastrand::Rng::with_seed(1),
        &mut (),
    )
    .unwrap();
    assert_eq!(&s.rrs[12..], b"\x02lb\x05cloud\x07example\0");
}
