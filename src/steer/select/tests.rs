use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::diag::At;
use crate::dns::Name;
use crate::dns::RrType;
use crate::health::State;
use crate::model::{
    Endpoint, FamilyRule, Need, Pool, Prefix, Region, Resume, Service, Share, SvcbSet, Takeover,
    Target, Unit, UnitRules, Weight, ZoneId,
};
use crate::steer::{Drain, OwnerState, PoolConditions, UnitState, client_hash};

/// Region, weight, priority, endpoints.
type Pools<'a> = &'a [(u16, u32, u32, &'a [&'a str])];

const REGIONS: [&str; 4] = ["a", "b", "c", "d"];

/// Pools as text: region, weight, priority, endpoints (an address, `*weight`, `-` down, `?` in
/// doubt).
fn service(
    route: Route,
    family: FamilyRule,
    answers: u8,
    pools: Pools<'_>,
) -> (Service, Vec<State>) {
    let mut states = Vec::new();
    let pools = pools
        .iter()
        .map(|(region, weight, priority, endpoints)| Pool {
            region: RegionId(*region),
            weight: Weight::new(*weight).unwrap(),
            priority: *priority,
            min_up: Share::HALF,
            endpoints: endpoints
                .iter()
                .map(|text| {
                    states.push(State {
                        up: !text.contains('-'),
                        settled: !text.contains('?'),
                    });
                    let text = text.replace(['-', '?'], "");
                    let (address, weight) = text.split_once('*').unwrap_or((&text, "1"));
                    let target = match address.parse() {
                        Ok(address) => Target::Address(address),
                        Err(_) => Target::Name(Name::from_text(address, None).unwrap()),
                    };
                    Endpoint {
                        target,
                        weight: Weight::new(weight.parse().unwrap()).unwrap(),
                        probes: vec![],
                        need: Need::All,
                    }
                })
                .collect(),
        })
        .collect::<Vec<_>>();
    let names = |alike: bool| pools.iter().any(|pool: &Pool| pool.has_names() == alike);
    let service = Service {
        names: names(true),
        by_client: route == Route::Sticky || (names(true) && names(false)),
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
        trickle: Share::ZERO,
        min_regions: 1,
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
    let endpoints: Vec<*const Endpoint> = service
        .pools
        .iter()
        .flat_map(|p| &p.endpoints)
        .map(std::ptr::from_ref)
        .collect();
    let state = |endpoint: &Endpoint| {
        states[endpoints
            .iter()
            .position(|e| std::ptr::eq(*e, endpoint))
            .unwrap()]
    };
    Plan::compile(service, &regions(), &|_, endpoint| state(endpoint), &[])
}

fn order(steps: &[&[u16]]) -> RegionOrder {
    RegionOrder {
        steps: steps
            .iter()
            .map(|s| s.iter().map(|r| RegionId(*r)).collect())
            .collect(),
        border: None,
    }
}

/// `region rung ttl last-octets`, of the first draw.
fn pick(plan: &Plan, family: Family, order: Option<&RegionOrder>) -> String {
    let border = order.and_then(|o| o.border.as_ref());
    let asked = Asked {
        family,
        order,
        border,
        hash: 0,
        svcb: None,
    };
    match select(plan, &asked, &mut fastrand::Rng::with_seed(1), &mut ()) {
        None => "none".into(),
        Some(s) => {
            let octets: Vec<_> = crate::zone::rrs(s.rrs)
                .map(|(_, rdata)| rdata[rdata.len() - 1].to_string())
                .collect();
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
        (
            &[(0, 1, 1, &["192.0.2.1"]), (1, 1, 1, &["192.0.2.2"])],
            "a Up 20 1",
        ),
        (
            &[(1, 1, 1, &["192.0.2.2"]), (2, 1, 1, &["192.0.2.3"])],
            "b Up 20 2",
        ),
        (
            &[(0, 1, 1, &["192.0.2.1-"]), (1, 1, 1, &["192.0.2.2"])],
            "b Up 20 2",
        ),
        (
            &[(0, 1, 1, &["192.0.2.1-?"]), (1, 1, 1, &["192.0.2.2"])],
            "b Up 5 2",
        ),
        (
            &[(0, 1, 1, &["192.0.2.1?"]), (1, 1, 1, &["192.0.2.2"])],
            "a Up 5 1",
        ),
        (
            &[(0, 1, 1, &["192.0.2.1"]), (1, 1, 1, &["192.0.2.2?"])],
            "a Up 20 1",
        ),
        (
            &[(0, 0, 1, &["192.0.2.1"]), (1, 1, 1, &["192.0.2.2"])],
            "b Up 20 2",
        ),
        (
            &[(0, 0, 1, &["192.0.2.1"]), (1, 1, 1, &["192.0.2.2-"])],
            "a Standby 5 1",
        ),
        (
            &[
                (0, 1, 1, &["192.0.2.1", "192.0.2.2-"]),
                (1, 1, 1, &["192.0.2.3-"]),
            ],
            "a Up 20 1",
        ),
        (
            &[
                (0, 1, 1, &["192.0.2.1-*3", "192.0.2.2"]),
                (1, 1, 1, &["192.0.2.3"]),
            ],
            "b Up 20 3",
        ),
        (
            &[
                (0, 1, 1, &["192.0.2.1-*3", "192.0.2.2"]),
                (1, 0, 1, &["192.0.2.3"]),
            ],
            "a Survivors 5 2",
        ),
        (
            &[(0, 1, 1, &["192.0.2.1-"]), (1, 1, 1, &["192.0.2.2-"])],
            "a AsIfUp 5 1",
        ),
        (
            &[(0, 0, 1, &["192.0.2.1-"]), (1, 1, 1, &["192.0.2.2-"])],
            "b AsIfUp 5 2",
        ),
        (
            &[(0, 0, 1, &["192.0.2.1-"]), (1, 0, 1, &["192.0.2.2-"])],
            "a Every 5 1",
        ),
    ];
    for (pools, expected) in cases {
        let plan = compile(&service(Route::Nearest, FamilyRule::Same, 1, pools));
        assert_eq!(
            &pick(&plan, Family::V4, Some(&near_first)),
            expected,
            "{pools:?}"
        );
    }
}

#[test]
fn families_move_together_unless_split() {
    let pools: Pools<'_> = &[
        (0, 1, 1, &["192.0.2.1", "2001:db8::1-"]),
        (1, 1, 1, &["192.0.2.2", "2001:db8::2"]),
    ];
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
    let pools: Pools<'_> = &[
        (0, 1, 1, &["192.0.2.1-", "192.0.2.2", "2001:db8::1-"]),
        (1, 1, 1, &["192.0.2.3-", "2001:db8::2-"]),
    ];
    let plan = compile(&service(Route::Nearest, FamilyRule::Same, 1, pools));
    let near_first = order(&[&[1], &[0]]);
    assert_eq!(
        pick(&plan, Family::V4, Some(&near_first)),
        "a SomeSurvivors 5 2"
    );
    assert_eq!(pick(&plan, Family::V6, Some(&near_first)), "b AsIfUp 5 2");
}

/// Found while drills failed one address of a pair.
#[test]
fn a_dead_address_is_not_preferred_to_a_standby_or_the_fallback() {
    let pools: Pools<'_> = &[
        (0, 1, 1, &["192.0.2.1-", "2001:db8::1"]),
        (1, 0, 1, &["192.0.2.2", "2001:db8::2"]),
    ];
    let plan = compile(&service(Route::Weighted, FamilyRule::Same, 1, pools));
    assert_eq!(pick(&plan, Family::V4, None), "b Standby 5 2");
    assert_eq!(pick(&plan, Family::V6, None), "a SomeSurvivors 5 1");
    let (mut alone, states) = service(Route::Weighted, FamilyRule::Same, 1, &pools[..1]);
    alone.fallback = vec!["203.0.113.7".parse().unwrap()];
    let plan = compile(&(alone, states));
    assert_eq!(pick(&plan, Family::V4, None), "- Fallback 5 7");
    assert_eq!(pick(&plan, Family::V6, None), "a SomeSurvivors 5 1");
}

#[test]
fn a_border_is_never_crossed() {
    let pools: Pools<'_> = &[(0, 1, 1, &["192.0.2.1"]), (1, 1, 1, &["192.0.2.2-"])];
    for route in [Route::Nearest, Route::Weighted, Route::Priority] {
        let plan = compile(&service(route, FamilyRule::Same, 1, pools));
        let bordered = RegionOrder {
            steps: vec![vec![RegionId(1)]],
            border: Some([RegionId(1)].into_iter().collect()),
        };
        assert_eq!(pick(&plan, Family::V4, Some(&bordered)), "b AsIfUp 5 2");
    }
}

#[test]
fn the_fallback_comes_before_dead_pools_and_knows_no_border() {
    let (mut service, states) = service(
        Route::Nearest,
        FamilyRule::Same,
        1,
        &[(0, 1, 1, &["192.0.2.1-"])],
    );
    service.fallback = vec!["203.0.113.7".parse().unwrap()];
    let plan = compile(&(service, states));
    let bordered = RegionOrder {
        steps: vec![vec![RegionId(0)]],
        border: Some([RegionId(0)].into_iter().collect()),
    };
    assert_eq!(pick(&plan, Family::V4, Some(&bordered)), "- Fallback 5 7");
    assert_eq!(pick(&plan, Family::V6, Some(&bordered)), "none");
}

#[test]
fn priority_takes_the_lowest_number_that_stands() {
    let pools: Pools<'_> = &[
        (0, 1, 2, &["192.0.2.1"]),
        (1, 1, 1, &["192.0.2.2-?"]),
        (2, 1, 3, &["192.0.2.3?"]),
        (3, 1, 1, &["192.0.2.4-"]),
    ];
    let plan = compile(&service(Route::Priority, FamilyRule::Same, 1, pools));
    assert_eq!(pick(&plan, Family::V4, None), "a Up 5 1");
}

#[test]
fn several_answers_are_neighbours_on_the_ring() {
    let pools: Pools<'_> = &[(
        0,
        1,
        1,
        &["192.0.2.1*0", "192.0.2.2", "192.0.2.3-", "192.0.2.4"],
    )];
    let plan = compile(&service(Route::Weighted, FamilyRule::Same, 3, pools));
    let asked = Asked {
        family: Family::V4,
        order: None,
        border: None,
        hash: 0,
        svcb: None,
    };
    let mut seen = std::collections::BTreeSet::new();
    let mut rng = fastrand::Rng::with_seed(3);
    for _ in 0..50 {
        let s = select(&plan, &asked, &mut rng, &mut ()).unwrap();
        seen.insert(
            crate::zone::rrs(s.rrs)
                .map(|(_, rdata)| rdata[3])
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [[2, 4], [4, 2]]);
}

/// Draws `n` times and holds each share to five standard deviations of its binomial.
fn assert_shares(plan: &Plan, order: Option<&RegionOrder>, expected: &[(u8, f64)], n: u32) {
    let mut counts = [0u32; 256];
    let mut rng = fastrand::Rng::with_seed(42);
    for _ in 0..n {
        let s = select(
            plan,
            &Asked {
                family: Family::V4,
                order,
                border: None,
                hash: 0,
                svcb: None,
            },
            &mut rng,
            &mut (),
        )
        .unwrap();
        counts[usize::from(s.rrs[s.rrs.len() - 1])] += 1;
    }
    assert_eq!(counts.iter().filter(|c| **c > 0).count(), expected.len());
    for (octet, share) in expected {
        let (mean, deviation) = (
            f64::from(n) * share,
            (f64::from(n) * share * (1.0 - share)).sqrt(),
        );
        let count = f64::from(counts[usize::from(*octet)]);
        assert!(
            (count - mean).abs() <= 5.0 * deviation,
            "{octet}: {count} of {n}, expected {mean} ± {deviation}"
        );
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
    assert_shares(
        &weighted,
        None,
        &[(1, 0.525), (2, 0.175), (3, 0.2), (4, 0.1)],
        100_000,
    );
    let metro = order(&[&[1, 2], &[0], &[3]]);
    let nearest = compile(&service(Route::Nearest, FamilyRule::Same, 1, pools));
    assert_shares(
        &nearest,
        Some(&metro),
        &[(3, 2.0 / 3.0), (4, 1.0 / 3.0)],
        100_000,
    );
}

#[test]
fn an_alias_hands_out_its_target() {
    let plan = compile(&service(
        Route::Weighted,
        FamilyRule::Same,
        1,
        &[(0, 1, 1, &["lb.cloud.example."])],
    ));
    assert!(plan.names && !plan.by_client);
    let s = select(
        &plan,
        &Asked {
            family: Family::V4,
            order: None,
            border: None,
            hash: 0,
            svcb: None,
        },
        &mut fastrand::Rng::with_seed(1),
        &mut (),
    )
    .unwrap();
    assert_eq!(&s.rrs[12..], b"\x02lb\x05cloud\x07example\0");
}

/// χ² of `counts` against `shares`, which sum to 1.
fn chi_squared(counts: &[u32], shares: &[f64]) -> f64 {
    let n = f64::from(counts.iter().sum::<u32>());
    let term = |(count, share): (&u32, &f64)| (f64::from(*count) - n * share).powi(2) / (n * share);
    counts.iter().zip(shares).map(term).sum()
}

/// Returns the χ² that is exceeded once in a million times, with this many degrees of freedom
/// (Wilson and Hilferty's approximation).
fn chi_squared_bound(freedom: usize) -> f64 {
    let k = freedom as f64;
    k * (1.0 - 2.0 / (9.0 * k) + 4.75 * (2.0 / (9.0 * k)).sqrt()).powi(3)
}

fn prefix(random: &mut fastrand::Rng, v6: bool) -> Prefix {
    match v6 {
        false => Prefix::truncating(Ipv4Addr::from(random.u32(..)).into(), 24),
        true => Prefix::truncating(Ipv6Addr::from(random.u128(..) >> 3 | 1 << 125).into(), 48),
    }
    .unwrap()
}

fn stick(plan: &Plan, client: Prefix, order: Option<&RegionOrder>) -> (usize, u8) {
    let asked = Asked {
        family: Family::V4,
        order,
        border: None,
        hash: client_hash(client),
        svcb: None,
    };
    // No draw: whatever the random generator is, the answer is the same.
    let answer = |seed| {
        let s = select(plan, &asked, &mut fastrand::Rng::with_seed(seed), &mut ()).unwrap();
        (s.region.unwrap().index(), s.rrs[s.rrs.len() - 1])
    };
    assert_eq!(answer(1), answer(2));
    answer(1)
}

const STICKY: Pools<'_> = &[
    (0, 5, 1, &["192.0.2.1*2", "192.0.2.2"]),
    (1, 3, 1, &["192.0.2.3"]),
    (2, 1, 1, &["192.0.2.4", "192.0.2.5", "192.0.2.6"]),
    (3, 1, 1, &["192.0.2.7"]),
];

#[test]
fn lots_fall_by_weight_on_regions_and_on_endpoints() {
    let plan = compile(&service(Route::Sticky, FamilyRule::Same, 1, STICKY));
    let shares = [
        1.0 / 3.0,
        1.0 / 6.0,
        0.3,
        1.0 / 30.0,
        1.0 / 30.0,
        1.0 / 30.0,
        0.1,
    ];
    for v6 in [false, true] {
        let mut random = fastrand::Rng::with_seed(7);
        let mut counts = [0u32; 7];
        (0..60_000).for_each(|_| {
            counts[usize::from(stick(&plan, prefix(&mut random, v6), None).1) - 1] += 1
        });
        let chi = chi_squared(&counts, &shares);
        assert!(chi < chi_squared_bound(6), "{chi}: {counts:?}");
    }
    // Neighbours on the net are no neighbours on the ring.
    let mut counts = [0u32; 7];
    for network in 0..60_000 {
        let client = Prefix::truncating(Ipv4Addr::from(network << 8).into(), 24).unwrap();
        counts[usize::from(stick(&plan, client, None).1) - 1] += 1;
    }
    assert!(
        chi_squared(&counts, &shares) < chi_squared_bound(6),
        "{counts:?}"
    );
}

#[test]
fn extreme_weights_are_kept_to() {
    let pools: Pools<'_> = &[
        (0, 1_000_000, 1, &["192.0.2.1"]),
        (1, 1000, 1, &["192.0.2.2"]),
    ];
    let plan = compile(&service(Route::Sticky, FamilyRule::Same, 1, pools));
    let mut random = fastrand::Rng::with_seed(11);
    let mut counts = [0u32; 2];
    (0..400_000).for_each(|_| counts[stick(&plan, prefix(&mut random, false), None).0] += 1);
    assert!(
        chi_squared(&counts, &[1000.0 / 1001.0, 1.0 / 1001.0]) < chi_squared_bound(1),
        "{counts:?}"
    );
}

/// Of 20 000 clients, those that move although neither their region nor their endpoint changed.
#[test]
fn when_a_pool_or_an_endpoint_leaves_only_its_clients_move() {
    let before = compile(&service(Route::Sticky, FamilyRule::Same, 1, STICKY));
    let clients: Vec<Prefix> = {
        let mut random = fastrand::Rng::with_seed(5);
        (0..20_000)
            .map(|i| prefix(&mut random, i % 2 == 0))
            .collect()
    };
    let without_pool: Vec<_> = STICKY.iter().filter(|pool| pool.0 != 1).copied().collect();
    let mut down = STICKY.to_vec();
    down[1].3 = &["192.0.2.3-"];
    let mut drained_endpoint = STICKY.to_vec();
    drained_endpoint[2].3 = &["192.0.2.4", "192.0.2.5-", "192.0.2.6"];
    let cases: [(&[_], u8, bool); 3] = [
        (&without_pool, 3, false),
        (&down, 3, false),
        (&drained_endpoint, 5, true),
    ];
    for (pools, lost, same_region) in cases {
        let after = compile(&service(Route::Sticky, FamilyRule::Same, 1, pools));
        let (mut moved, mut left) = (0, 0);
        for client in &clients {
            let (was, is) = (stick(&before, *client, None), stick(&after, *client, None));
            if was.1 == lost {
                left += 1;
                assert_ne!(is.1, lost);
                assert!(
                    !same_region || was.0 == is.0,
                    "an endpoint that leaves moves nobody out of the region"
                );
            } else {
                moved += usize::from(was != is);
            }
        }
        assert!(
            left > 300 && moved == 0,
            "{lost}: {moved} moved, of {left} it was the own"
        );
    }
}

#[test]
fn sticky_stays_inside_the_first_step_that_stands() {
    let steps = order(&[&[1, 2], &[0, 3]]);
    let plan = compile(&service(Route::Sticky, FamilyRule::Same, 1, STICKY));
    let mut random = fastrand::Rng::with_seed(3);
    let mut seen = [0u32; 4];
    (0..8000).for_each(|_| seen[stick(&plan, prefix(&mut random, false), Some(&steps)).0] += 1);
    assert_eq!((seen[0], seen[3]), (0, 0));
    assert!(
        chi_squared(&seen[1..3], &[0.75, 0.25]) < chi_squared_bound(1),
        "{seen:?}"
    );
    let mut down = STICKY.to_vec();
    (down[1].3, down[2].3) = (&["192.0.2.3-"], &["192.0.2.4-"]);
    let plan = compile(&service(Route::Sticky, FamilyRule::Same, 1, &down));
    let regions: BTreeSet<_> = (0..100)
        .map(|_| stick(&plan, prefix(&mut random, false), Some(&steps)).0)
        .collect();
    assert_eq!(regions, [0, 3].into());
}

#[test]
fn draws_hold_to_the_weights_of_pools_and_endpoints() {
    let (weighted, states) = service(Route::Weighted, FamilyRule::Same, 1, STICKY);
    let shares = [
        1.0 / 3.0,
        1.0 / 6.0,
        0.3,
        1.0 / 30.0,
        1.0 / 30.0,
        1.0 / 30.0,
        0.1,
    ];
    let plan = compile(&(weighted, states));
    let asked = Asked {
        family: Family::V4,
        order: None,
        border: None,
        hash: 0,
        svcb: None,
    };
    for seed in 0..5 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut counts = [0u32; 7];
        for _ in 0..50_000 {
            let s = select(&plan, &asked, &mut random, &mut ()).unwrap();
            counts[usize::from(s.rrs[s.rrs.len() - 1]) - 1] += 1;
        }
        assert!(
            chi_squared(&counts, &shares) < chi_squared_bound(6),
            "{counts:?}"
        );
    }
}

/// Hears the chances.
#[derive(Default)]
struct Chances(Vec<(usize, f64)>);

impl Trace for Chances {
    fn considered(&mut self, region: RegionId, verdict: Verdict, chance: f64) {
        assert_eq!(
            chance > 0.0,
            matches!(verdict, Verdict::Taken | Verdict::NotDrawn),
            "{verdict:?} {chance}"
        );
        if chance > 0.0 {
            self.0.push((region.index(), chance));
        }
    }
}

#[test]
fn a_trickle_goes_to_the_next_priority_that_stands() {
    let cases: &[(Pools<'_>, &[(u8, f64)])] = &[
        (
            &[
                (0, 1, 1, &["192.0.2.1"]),
                (1, 1, 2, &["192.0.2.2"]),
                (2, 1, 3, &["192.0.2.3"]),
            ],
            &[(1, 0.9), (2, 0.1)],
        ),
        (
            &[
                (0, 1, 1, &["192.0.2.1"]),
                (1, 1, 2, &["192.0.2.2-"]),
                (2, 1, 3, &["192.0.2.3"]),
            ],
            &[(1, 0.9), (3, 0.1)],
        ),
        (
            &[
                (0, 1, 1, &["192.0.2.1-"]),
                (1, 1, 2, &["192.0.2.2"]),
                (2, 1, 3, &["192.0.2.3"]),
            ],
            &[(2, 0.9), (3, 0.1)],
        ),
        (
            &[
                (0, 1, 1, &["192.0.2.1-"]),
                (1, 1, 2, &["192.0.2.2-"]),
                (2, 1, 3, &["192.0.2.3"]),
            ],
            &[(3, 1.0)],
        ),
        (
            &[
                (0, 3, 1, &["192.0.2.1"]),
                (1, 1, 1, &["192.0.2.2"]),
                (2, 1, 3, &["192.0.2.3"]),
            ],
            &[(1, 0.675), (2, 0.225), (3, 0.1)],
        ),
        // A standby by weight is no next priority, and there is no trickle on the lower rungs.
        (
            &[(0, 1, 1, &["192.0.2.1"]), (1, 0, 2, &["192.0.2.2"])],
            &[(1, 1.0)],
        ),
        (
            &[
                (0, 0, 1, &["192.0.2.1"]),
                (1, 0, 2, &["192.0.2.2"]),
                (2, 1, 3, &["192.0.2.3-"]),
            ],
            &[(1, 1.0)],
        ),
    ];
    for (pools, expected) in cases {
        let (mut service, states) = service(Route::Priority, FamilyRule::Same, 1, pools);
        service.trickle = Share::from_decimal("0.1").unwrap();
        let plan = compile(&(service, states));
        assert_shares(&plan, None, expected, 50_000);
        // The trace tells the same without drawing.
        let asked = Asked {
            family: Family::V4,
            order: None,
            border: None,
            hash: 0,
            svcb: None,
        };
        let mut chances = Chances::default();
        select(
            &plan,
            &asked,
            &mut fastrand::Rng::with_seed(1),
            &mut chances,
        )
        .unwrap();
        let told: Vec<_> = chances
            .0
            .iter()
            .map(|(region, chance)| (*region as u8 + 1, (chance * 1e6).round() / 1e6))
            .collect();
        assert_eq!(told, *expected, "{pools:?}");
    }
}

#[test]
fn a_drained_pool_is_a_standby() {
    let (service, _) = service(
        Route::Weighted,
        FamilyRule::Same,
        1,
        &[(0, 9, 1, &["192.0.2.1"]), (1, 1, 1, &["192.0.2.2"])],
    );
    let drain = Drain {
        what: "region a".into(),
        by: "me".into(),
        reason: "work".into(),
        until: None,
    };
    let drained = PoolConditions {
        drained: Some(drain.into()),
        ..PoolConditions::default()
    };
    let plan = |up: [bool; 2], standings: &[PoolConditions]| {
        let state = |pool: &Pool, _: &Endpoint| State {
            up: up[pool.region.index()],
            settled: true,
        };
        pick(
            &Plan::compile(&service, &regions(), &state, standings),
            Family::V4,
            None,
        )
    };
    let first = [drained.clone(), PoolConditions::default()];
    assert_eq!(plan([true, true], &first), "b Up 20 2");
    assert_eq!(plan([true, false], &first), "a Standby 5 1");
    assert_eq!(plan([false, false], &first), "b AsIfUp 5 2");
    assert_eq!(
        plan([false, false], &[drained.clone(), drained.clone()]),
        "a Every 5 1"
    );
}

#[test]
fn a_unit_is_its_owners_whatever_becomes_of_it() {
    let pools: Pools<'_> = &[
        (0, 1, 1, &["192.0.2.1", "192.0.2.2"]),
        (1, 1, 1, &["192.0.2.3"]),
    ];
    let (mut unit, _) = service(Route::Unit, FamilyRule::Same, 1, pools);
    let rules = UnitRules {
        service: Name::root(),
        count: 1,
        takeover: Takeover::Manual,
        ready: vec![],
        grace: Duration::from_secs(5),
        fence_answer: vec!["203.0.113.9".parse().unwrap()],
    };
    unit.unit = Some(Unit {
        index: 0,
        owner: RegionId(0),
        rules: Arc::new(rules.clone()),
    });
    let plan = |unit: &Service, down: &[&str], owner: OwnerState, max_ttl: Option<u32>| {
        let max_ttl = max_ttl.map(|ttl| Ttl::from_secs(ttl).unwrap());
        let state = |_: &Pool, endpoint: &Endpoint| State {
            up: !down.contains(&&*endpoint.target.to_string()),
            settled: true,
        };
        Plan::compile_unit(
            unit,
            &regions(),
            &state,
            &[],
            Some(UnitState {
                owner,
                epoch: 7,
                max_ttl,
            }),
        )
    };
    let says = |plan: &Plan| String::from_utf8_lossy(&plan.epoch()[13..]).into_owned();
    let a = || OwnerState::Owner(RegionId(0));
    let owned = plan(&unit, &["192.0.2.1"], a(), None);
    assert_eq!(pick(&owned, Family::V4, None), "a Up 20 2");
    assert_eq!(says(&owned), "epoch=7 owner=a");
    assert_eq!(
        pick(
            &plan(&unit, &["192.0.2.1", "192.0.2.2"], a(), None),
            Family::V4,
            None
        ),
        "a AsIfUp 5 2",
        "b is not asked"
    );
    assert_eq!(
        pick(
            &plan(&unit, &[], OwnerState::Owner(RegionId(1)), Some(7)),
            Family::V4,
            None
        ),
        "b Up 7 3"
    );
    for owner in [
        OwnerState::Unknown,
        OwnerState::Gone("x".into()),
        OwnerState::Fenced {
            until: None,
            next: RegionId(1),
        },
    ] {
        let fenced = plan(&unit, &[], owner.clone(), None);
        assert_eq!(pick(&fenced, Family::V4, None), "- Fallback 5 9");
        assert_eq!(pick(&fenced, Family::V6, None), "none");
        assert_eq!(says(&fenced), "epoch=7 fenced");
        // The sorry page of the service is not for a fence: what is answered then is said for
        // itself.
        let mut silent = unit.clone();
        silent.fallback = vec!["203.0.113.7".parse().unwrap()];
        silent.unit.as_mut().unwrap().rules = Arc::new(UnitRules {
            fence_answer: vec![],
            ..rules.clone()
        });
        assert_eq!(
            pick(&plan(&silent, &[], owner, None), Family::V4, None),
            "none"
        );
        assert_eq!(
            pick(
                &plan(&silent, &["192.0.2.1", "192.0.2.2"], a(), None),
                Family::V4,
                None
            ),
            "- Fallback 5 7"
        );
    }
}

/// The SvcParams of one record.
type Params = Vec<(u16, Vec<u8>)>;

/// Where an answer comes from, and the parameters of its records.
fn hints(plan: &Plan, svcb: usize) -> (String, Vec<Params>) {
    let asked = Asked {
        family: Family::V4,
        order: None,
        border: None,
        hash: 0,
        svcb: Some(svcb),
    };
    let s = select(plan, &asked, &mut fastrand::Rng::with_seed(1), &mut ()).unwrap();
    let params = |rdata: &[u8]| {
        SvcbSet::params(rdata)
            .map(|(key, value)| (key, value.to_vec()))
            .collect()
    };
    let records: Vec<_> = crate::zone::rrs(s.rrs)
        .map(|(_, rdata)| params(rdata))
        .collect();
    assert_eq!(records.len(), usize::from(s.count));
    (
        format!(
            "{} {:?} {}",
            s.region.map_or("-", |r| REGIONS[r.index()]),
            s.rung,
            s.ttl
        ),
        records,
    )
}

#[test]
fn hints_are_the_usable_addresses_of_the_region() {
    let rdata = |text: &[(u16, &[u8])]| -> Box<[u8]> {
        let params = text.iter().flat_map(|(key, value)| {
            [
                &key.to_be_bytes(),
                &(value.len() as u16).to_be_bytes(),
                *value,
            ]
            .concat()
        });
        [0, 1, 0].into_iter().chain(params).collect()
    };
    let https = rdata(&[
        (0, &[0, 4, 0, 6]),
        (1, b"\x02h2"),
        (4, &[9, 9, 9, 9]),
        (6, &[9; 16]),
    ]);
    let plain = rdata(&[(1, b"\x02h2")]);
    let alias: Box<[u8]> = b"\0\0\x01x\0".as_slice().into();
    let set = SvcbSet {
        rtype: RrType::HTTPS,
        rdatas: vec![https, plain, alias],
    };
    let pools: Pools<'_> = &[
        (
            0,
            1,
            1,
            &["192.0.2.1-", "192.0.2.2", "192.0.2.3", "2001:db8::1"],
        ),
        (1, 0, 1, &["192.0.2.9", "2001:db8::9"]),
    ];
    let (mut service, mut states) = service(Route::Weighted, FamilyRule::Split, 1, pools);
    service.svcb = vec![set];
    let (v6, other_v6) = (
        "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets(),
        "2001:db8::9".parse::<Ipv6Addr>().unwrap().octets(),
    );
    let expected = |v4: &[u8], v6: Option<[u8; 16]>| {
        let mandatory: &[u8] = if v6.is_some() { &[0, 4, 0, 6] } else { &[0, 4] };
        let mut first = vec![
            (0, mandatory.to_vec()),
            (1, b"\x02h2".to_vec()),
            (4, v4.to_vec()),
        ];
        first.extend(v6.map(|v6| (6, v6.to_vec())));
        first
    };
    let check = |states: &[State], region: &str, first: Vec<(u16, Vec<u8>)>| {
        let plan = compile(&(service.clone(), states.to_vec()));
        let svcb = plan.svcb(RrType::HTTPS).unwrap();
        assert_eq!(plan.svcb(RrType::SVCB), None);
        let (from, records) = hints(&plan, svcb);
        assert_eq!(
            (from.as_str(), &records[0], &records[1][..]),
            (region, &first, &[(1, b"\x02h2".to_vec())][..])
        );
    };
    check(
        &states,
        "a Up 20",
        expected(&[192, 0, 2, 2, 192, 0, 2, 3], Some(v6)),
    );
    states[3].up = false;
    check(
        &states,
        "a Up 20",
        expected(&[192, 0, 2, 2, 192, 0, 2, 3], None),
    );
    states[1].up = false;
    states[2].up = false;
    check(
        &states,
        "b Standby 5",
        expected(&[192, 0, 2, 9], Some(other_v6)),
    );
    states.iter_mut().for_each(|state| state.up = false);
    check(
        &states,
        "a AsIfUp 5",
        expected(&[192, 0, 2, 1, 192, 0, 2, 2, 192, 0, 2, 3], Some(v6)),
    );
}

#[test]
fn sticky_clients_are_sticky_on_the_fallback_rung() {
    let (mut sticky, states) = service(
        Route::Sticky,
        FamilyRule::Same,
        1,
        &[(0, 1, 1, &["192.0.2.1-"])],
    );
    sticky.fallback = (1..=4)
        .map(|octet| Ipv4Addr::new(198, 51, 100, octet).into())
        .collect();
    let plan = compile(&(sticky, states));
    let mut random = fastrand::Rng::with_seed(3);
    let mut counts = [0u32; 4];
    for _ in 0..20_000 {
        let asked = Asked {
            family: Family::V4,
            order: None,
            border: None,
            hash: client_hash(prefix(&mut random, false)),
            svcb: None,
        };
        let last = |seed| {
            let s = select(&plan, &asked, &mut fastrand::Rng::with_seed(seed), &mut ()).unwrap();
            assert_eq!(s.rung, Rung::Fallback);
            s.rrs[s.rrs.len() - 1]
        };
        assert_eq!(last(1), last(2));
        counts[usize::from(last(1)) - 1] += 1;
    }
    assert!(
        chi_squared(&counts, &[0.25; 4]) < chi_squared_bound(3),
        "{counts:?}"
    );
}

#[test]
fn exactly_min_up_is_up() {
    let near_first = order(&[&[0], &[1]]);
    for (up, down) in [
        (55, 45),
        (7, 93),
        (14, 86),
        (28, 72),
        (56, 44),
        (550_000, 450_000),
    ] {
        let (a, b) = (format!("192.0.2.1*{up}"), format!("192.0.2.2-*{down}"));
        let endpoints: &[&str] = &[&a, &b];
        let pools: Pools<'_> = &[(0, 1, 1, endpoints), (1, 1, 1, &["192.0.2.3"])];
        let (mut exact, states) = service(Route::Nearest, FamilyRule::Same, 1, pools);
        exact.pools[0].min_up =
            Share::from_decimal(&format!("{up}e{}", if up > 100 { -6 } else { -2 })).unwrap();
        assert_eq!(
            pick(
                &compile(&(exact.clone(), states.clone())),
                Family::V4,
                Some(&near_first)
            ),
            "a Up 20 1"
        );
        exact.pools[0].min_up = Share::of_parts(exact.pools[0].min_up.parts() + 1).unwrap();
        assert_eq!(
            pick(&compile(&(exact, states)), Family::V4, Some(&near_first)),
            "b Up 20 3",
            "{up} of 100"
        );
    }
}

#[test]
fn addresses_of_one_family_beside_a_name_are_chosen_whatever_the_type() {
    let near_first = order(&[&[0], &[1]]);
    let pools: Pools<'_> = &[(0, 1, 1, &["192.0.2.1"]), (1, 1, 1, &["lb.cloud.example."])];
    for family in [FamilyRule::Same, FamilyRule::Split] {
        let plan = compile(&service(Route::Nearest, family, 1, pools));
        let of = |family| pick(&plan, family, Some(&near_first));
        assert_eq!(
            (of(Family::V4), of(Family::V6)),
            ("a Up 20 1".into(), "a Up 20 ".into())
        );
    }
}
