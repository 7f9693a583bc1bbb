//! What steering promises, over random configurations, health, drains, units and clients: no answer is empty, no border is
//! crossed, the answer comes from the first rung that has anything, and the hash is the same throughout a scope.
//!
//! What is expected is worked out here from the words of the rules, and not with the code that answers.

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use fastrand::Rng;
use meridian::answer::{Explanation, explain};
use meridian::dataset::{Dataset, Snapshot};
use meridian::dns::{Prefix, RrType};
use meridian::geo::{EMBEDDED, Locations};
use meridian::health::State;
use meridian::model::{
    Endpoint, Family, FamilyRule, Part, Pool, RegionId, Route, Service, Share, Target, WallTime,
};
use meridian::simulate::what_if;
use meridian::steer::{Drain, OwnerState, Plan, PoolConditions, Rung, UnitState};
use proptest::prelude::*;

use common::Files;

/// A configuration with services of every route, and what is known of it.
struct World {
    dataset: Arc<Dataset>,
    /// Networks with a border: longest prefixes last.
    borders: Vec<(Prefix, Vec<RegionId>)>,
    /// No two regions are equally near.
    plain: bool,
    /// By service, pool and endpoint.
    states: Vec<Vec<Vec<State>>>,
    standings: Vec<Vec<PoolConditions>>,
    unit_states: Vec<Option<UnitState>>,
}

fn one_in(random: &mut Rng, n: u32) -> bool {
    random.u32(..n) == 0
}

/// Some of `0..count`, the first always.
fn some(random: &mut Rng, count: usize) -> Vec<usize> {
    (0..count)
        .filter(|index| *index == 0 || random.bool())
        .collect()
}

fn listed(regions: &[usize]) -> String {
    regions
        .iter()
        .map(|region| format!("\"r{region}\""))
        .collect::<Vec<_>>()
        .join(", ")
}

/// With `names` some pools are names, and the others of whatever families.
fn service_text(
    random: &mut Rng,
    name: &str,
    route: &str,
    regions: usize,
    shared_families: [bool; 2],
    names: bool,
) -> String {
    let split = one_in(random, 4) && route != "unit";
    let mut text = format!("[services.{name}]\nroute = \"{route}\"\n");
    if split {
        text += "family = \"split\"\n";
    }
    if one_in(random, 3) {
        let both = !names || random.bool();
        text += if both {
            "fallback = [\"192.0.2.250\", \"2001:db8:ff::1\"]\n"
        } else {
            "fallback = [\"192.0.2.250\"]\n"
        };
    }
    if route == "priority" && random.bool() {
        text += &format!("trickle = {}\n", random.u32(0..=50) as f64 / 100.0);
    }
    let answers = if names { 1 } else { random.u32(1..=3) };
    text += &format!(
        "answers = {answers}\nmin_up = {}\n",
        random.u32(0..=10) as f64 / 10.0
    );
    let pools = some(random, regions);
    if route == "unit" {
        text += &format!("owners = \"r{}\"\n", random.choice(&pools).unwrap());
        if random.bool() {
            text += "fence_answer = [\"192.0.2.251\", \"2001:db8:ff::2\"]\n";
        }
    }
    text += &format!("[services.{name}.pools]\n");
    for (index, region) in pools.iter().enumerate() {
        let families = match (split || names) && index > 0 {
            true => *random
                .choice(&[[true, true], [true, false], [false, true]])
                .unwrap(),
            false if split && !names => [true, true],
            false => shared_families,
        };
        let mut endpoints = Vec::new();
        for (offers, prefix) in families.into_iter().zip(["198.51.100.", "2001:db8::"]) {
            let count = if offers { random.usize(1..=3) } else { 0 };
            let weights = (0..count)
                .map(|i| if i == 0 { 1 } else { random.u32(0..3) })
                .collect::<Vec<_>>();
            let endpoint = |(i, weight)| {
                format!(
                    "{{ address = \"{prefix}{}\", weight = {weight} }}",
                    10 * region + i + 1
                )
            };
            endpoints.extend(weights.into_iter().enumerate().map(endpoint));
        }
        // At least one, and not always the first.
        if names && (random.bool() || (index + 1 == pools.len() && !text.contains("example.net"))) {
            endpoints = (0..random.usize(1..=2))
                .map(|i| format!("\"lb{i}.r{region}.example.net.\""))
                .collect();
        }
        let weight = if index == 0 {
            random.u32(1..4)
        } else {
            random.u32(0..4)
        };
        let priority = if route == "priority" {
            format!("priority = {}, ", random.u32(1..4))
        } else {
            String::new()
        };
        text += &format!(
            "r{region} = {{ weight = {weight}, {priority}endpoints = [{}] }}\n",
            endpoints.join(", ")
        );
    }
    text
}

fn world(seed: u64, names: bool) -> World {
    let random = &mut Rng::with_seed(seed);
    let regions = random.usize(2..=6);
    let mut main = "[server]\nnode = \"test\"\n".to_owned();
    for region in 0..regions {
        main += &format!(
            "[regions.r{region}]\nlatitude = {}\nlongitude = {}\n",
            random.i32(-80..80),
            random.i32(-179..179)
        );
        if one_in(random, 3) {
            main += &format!("metro = \"m{}\"\n", random.u32(0..2));
        }
    }
    main += &format!("[maps.default]\nby_distance = {}\n", random.bool());
    if one_in(random, 3) && main.contains("by_distance = true") {
        main += "within = \"4000km\"\n";
    }
    let plain = !main.contains("within") && !main.contains("metro");
    let mut borders = Vec::new();
    let mut networks = Vec::new();
    for (index, prefix) in [
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.2.0.0/16",
        "2001:db8::/32",
        "2001:db8:1::/48",
    ]
    .iter()
    .enumerate()
    {
        let some = some(random, regions);
        let only = random.bool() && index != 2;
        networks.push(format!(
            "\"{prefix}\" = {}",
            if only {
                format!("{{ only = [{}] }}", listed(&some))
            } else {
                format!("[{}]", listed(&some))
            }
        ));
        if only {
            borders.push((
                prefix.parse().unwrap(),
                some.into_iter().map(RegionId::from_index).collect(),
            ));
        }
    }
    main += &format!(
        "networks = {{ {} }}\nrest = [{}]\n",
        networks.join(", "),
        listed(&some(random, regions))
    );
    let mut zone =
        "zone = \"z.example\"\nrecords = '''\n$TTL 60\n@ SOA ns1 h 1 3600 600 86400 300\n@ NS ns1\nns1 A 192.0.2.53\n".to_owned();
    let https = "nearest HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1 ipv6hint=::1\nsticky HTTPS 1 . ipv4hint=192.0.2.1\nunit SVCB 1 . ipv6hint=::1\n";
    zone += if names { "" } else { https };
    zone += "'''\n";
    for route in ["nearest", "weighted", "priority", "sticky", "unit"] {
        let families = *random
            .choice(&[[true, true], [true, false], [false, true]])
            .unwrap();
        zone += &service_text(random, route, route, regions, families, names);
    }
    let text = format!("--- meridian.toml\n{main}\n--- zones/z.toml\n{zone}");
    let config = Files::parse(&text)
        .load()
        .unwrap_or_else(|diagnostics| panic!("{text}\n{diagnostics}"));
    let dataset = Arc::new(Dataset::compile(config, LOCATIONS.with(Arc::clone)));
    let services = &dataset.config.services;
    // From all up to all down.
    let share = random.f64();
    let mut state = |_: &Endpoint| State {
        up: random.f64() < share,
        settled: one_in(random, 2),
    };
    let states = services
        .iter()
        .map(|s| {
            s.pools
                .iter()
                .map(|p| p.endpoints.iter().map(&mut state).collect())
                .collect()
        })
        .collect();
    let drain = Arc::new(Drain {
        what: "label a:b".into(),
        by: "me".into(),
        reason: "tests".into(),
        until: None,
    });
    let mut standing = |_: &Pool| PoolConditions {
        drained: one_in(random, 5).then(|| drain.clone()),
        held: [one_in(random, 8); 2],
        ..PoolConditions::default()
    };
    let standings = services
        .iter()
        .map(|service| service.pools.iter().map(&mut standing).collect())
        .collect();
    let mut unit_state = |service: &Service| {
        service.unit.as_ref()?;
        let region = random.choice(&service.pools).unwrap().region;
        let owner = match random.u32(..4) {
            0 | 1 => OwnerState::Owner(region),
            2 => OwnerState::Fenced {
                until: None,
                next: region,
            },
            _ => OwnerState::Unknown,
        };
        Some(UnitState {
            owner,
            epoch: 3,
            max_ttl: None,
        })
    };
    let unit_states = services.iter().map(&mut unit_state).collect();
    World {
        borders,
        plain,
        states,
        standings,
        unit_states,
        dataset,
    }
}

thread_local! {
    static LOCATIONS: Arc<Locations> = Arc::new(Locations::read(Some(EMBEDDED), None).unwrap());
}

impl World {
    fn snapshot(&self) -> Snapshot {
        let config = &self.dataset.config;
        let plan = |(index, service): (usize, &Service)| {
            let state = |pool: &Pool, endpoint: &Endpoint| {
                let at = service
                    .pools
                    .iter()
                    .position(|own| own.region == pool.region)
                    .unwrap();
                let place = pool
                    .endpoints
                    .iter()
                    .position(|own| own.target == endpoint.target)
                    .unwrap();
                self.states[index][at][place]
            };
            Arc::new(Plan::compile_unit(
                service,
                &config.regions,
                &state,
                &self.standings[index],
                self.unit_states[index].clone(),
            ))
        };
        let plans = config.services.iter().enumerate().map(plan).collect();
        Snapshot::of(self.dataset.clone(), plans)
    }

    /// The regions that a client may be sent to.
    fn border(&self, client: Prefix) -> Option<&[RegionId]> {
        let around = self
            .borders
            .iter()
            .filter(|(network, _)| network.contains(client.address()));
        around
            .max_by_key(|(network, _)| network.length())
            .map(|(_, only)| only.as_slice())
    }

    /// By rung, the pools of a service that stand on it in a family, for clients inside `border`.
    fn ladder(
        &self,
        index: usize,
        family: Family,
        border: Option<&[RegionId]>,
    ) -> Vec<(Rung, Vec<RegionId>)> {
        let service = &self.dataset.config.services[index];
        let mut rungs: Vec<(Rung, Vec<RegionId>)> =
            Rung::ALL.iter().map(|rung| (*rung, Vec::new())).collect();
        for (at, pool) in service.pools.iter().enumerate() {
            if !pool.families().contains(family)
                || border.is_some_and(|border| !border.contains(&pool.region))
            {
                continue;
            }
            let judged: Vec<(bool, bool)> = Family::BOTH
                .into_iter()
                .filter(|own| {
                    pool.families().contains(*own)
                        && (service.family == FamilyRule::Same || service.names || *own == family)
                })
                .map(|own| self.judge(pool, &self.states[index][at], own))
                .collect();
            let (up, survivors) = (judged.iter().all(|j| j.0), judged.iter().all(|j| j.1));
            let standing = &self.standings[index][at];
            let used = pool.weight.get() > 0 && standing.drained.is_none();
            let own = self.judge(pool, &self.states[index][at], family);
            let rung = match (up, survivors, own.1) {
                (true, ..) if used && !standing.held[family.index()] => Some(Rung::Up),
                (true, ..) => Some(Rung::Standby),
                (_, true, _) => Some(Rung::Survivors),
                (_, _, true) => Some(Rung::SomeSurvivors),
                _ => None,
            };
            rung.into_iter()
                .chain(used.then_some(Rung::AsIfUp))
                .chain([Rung::Every])
                .for_each(|rung| rungs[rung as usize].1.push(pool.region));
        }
        rungs
    }

    /// Up, and with survivors.
    fn judge(&self, pool: &Pool, states: &[State], family: Family) -> (bool, bool) {
        let own: Vec<(f64, bool)> = pool
            .endpoints
            .iter()
            .zip(states)
            .filter(|(endpoint, _)| endpoint.target.families().contains(family))
            .map(|(endpoint, state)| (f64::from(endpoint.weight.get()), state.up))
            .collect();
        let total: f64 = own.iter().map(|(weight, _)| weight).sum();
        let up: f64 = own
            .iter()
            .filter(|(_, up)| *up)
            .map(|(weight, _)| weight)
            .sum();
        let survivors = own.iter().any(|(_, up)| *up);
        (
            survivors && up * f64::from(Share::WHOLE) >= f64::from(pool.min_up.parts()) * total,
            survivors,
        )
    }

    fn region(&self, explanation: &Explanation) -> Option<RegionId> {
        let name = explanation.region.as_ref()?;
        self.dataset
            .config
            .regions
            .iter()
            .position(|region| region.name == *name)
            .map(RegionId::from_index)
    }
}

fn client(random: &mut Rng) -> Prefix {
    let v4 =
        |address: u32, length| Prefix::truncating(Ipv4Addr::from(address).into(), length).unwrap();
    let v6 =
        |address: u128, length| Prefix::truncating(Ipv6Addr::from(address).into(), length).unwrap();
    match random.u32(..6) {
        0 => v4(random.u32(..), random.u8(16..=32)),
        1 | 2 => v4(
            10 << 24 | random.u32(..3) << 16 | random.u32(..) & 0xffff,
            random.u8(16..=32),
        ),
        3 => v6(random.u128(..) >> 8 | 0x2a << 120, random.u8(32..=128)),
        4 => v6(
            0x2001_0db8 << 96 | random.u128(..2) << 80 | random.u128(..) >> 48,
            random.u8(48..=128),
        ),
        // NAT64: the client's IPv4 address.
        _ => v6(
            0x64_ff9b << 96 | u128::from(10 << 24 | random.u32(..1 << 18)),
            128,
        ),
    }
}

/// The address that maps and hashes see.
fn seen(client: Prefix) -> Prefix {
    match client.address() {
        IpAddr::V6(address) if address.segments()[..2] == [0x64, 0xff9b] => Prefix::truncating(
            Ipv4Addr::from(address.to_bits() as u32).into(),
            client.length() - 96,
        )
        .unwrap(),
        _ => client,
    }
}

proptest! {
    #[test]
    fn no_answer_is_empty_and_none_comes_from_beyond_the_border_or_below_its_rung(seed in any::<u64>()) {
        let world = world(seed, false);
        let snapshot = world.snapshot();
        let random = &mut Rng::with_seed(seed ^ 1);
        for (index, service) in world.dataset.config.services.iter().enumerate() {
            for _ in 0..6 {
                let client = client(random);
                let border = if service.map.is_some() { world.border(seen(client)) } else { None };
                let mut regions = Vec::new();
                for family in Family::BOTH {
                    let rtype = if family == Family::V4 { RrType::A } else { RrType::AAAA };
                    let explanation = explain(&snapshot, &service.name, Some(rtype), client, random.u64(..), WallTime::default());
                    prop_assert_eq!(&explanation.rcode, "NOERROR");
                    let offered = service.families().contains(family);
                    if !offered {
                        prop_assert!(explanation.answers.is_empty() && explanation.scope == 0);
                        continue;
                    }
                    let owner = world.unit_states[index].as_ref().map(|unit_state| unit_state.owner());
                    if owner == Some(None) {
                        let unit = explanation.unit.as_ref().unwrap();
                        prop_assert!(unit.owner.is_none() && unit.sentence.starts_with("fenced"), "{}", unit.sentence);
                        prop_assert!(explanation.region.is_none());
                        let fence = !service.unit.as_ref().unwrap().rules.fence_answer.is_empty();
                        prop_assert_eq!(explanation.answers.is_empty(), !fence);
                        prop_assert!(explanation.ttl <= service.ttl_min.secs());
                        continue;
                    }
                    prop_assert!(!explanation.answers.is_empty(), "{:?}", explanation.lines());
                    let mut ladder = world.ladder(index, family, border);
                    if let Some(owner) = owner {
                        ladder.iter_mut().for_each(|(_, regions)| regions.retain(|region| Some(*region) == owner));
                    }
                    let fallback = service.fallback.iter().any(|address| address.is_ipv4() == (family == Family::V4));
                    let (rung, members) =
                        ladder.into_iter().find(|(rung, regions)| !regions.is_empty() || *rung == Rung::Fallback && fallback).unwrap();
                    let why = explanation.lines().join("\n");
                    prop_assert_eq!(explanation.rung, Some(rung), "{}", why);
                    let region = world.region(&explanation);
                    regions.push((rung, region));
                    if rung == Rung::Fallback {
                        prop_assert_eq!(region, None);
                        prop_assert!(explanation.answers.iter().all(|answer| answer.ends_with(".250") || answer.ends_with("ff::1")));
                        continue;
                    }
                    let region = region.unwrap();
                    prop_assert!(members.contains(&region), "{why}\n{members:?}");
                    prop_assert!(border.is_none_or(|border| border.contains(&region)), "{why}\n{border:?}");
                    if service.route == Route::Nearest && world.plain {
                        let name = |region: &RegionId| world.dataset.config.regions[region.index()].name.clone();
                        let members: Vec<String> = members.iter().map(name).collect();
                        prop_assert_eq!(explanation.order.iter().find(|region| members.contains(region)), explanation.region.as_ref());
                    }
                    let priorities = members.iter().map(|member| service.pools.iter().find(|pool| pool.region == *member).unwrap().priority);
                    if service.route == Route::Priority && service.trickle == Share::ZERO {
                        let own = service.pools.iter().find(|pool| pool.region == region).unwrap().priority;
                        prop_assert_eq!(Some(own), priorities.min(), "{}", why);
                    }
                    prop_assert_eq!(explanation.ttl <= service.ttl_min.secs(), explanation.ttl != service.ttl.secs());
                    prop_assert!(!rung.is_degraded() || explanation.ttl == service.ttl_min.secs());
                    let pool = service.pools.iter().find(|pool| pool.region == region).unwrap();
                    let own = |answer: &String| pool.endpoints.iter().any(|endpoint| endpoint.target.to_string() == *answer);
                    prop_assert!(explanation.answers.iter().all(own), "{why}");
                    // Every region of the service is accounted for, up to the one that was taken, or by the border.
                    let outside = explanation.steps.iter().filter(|step| step.verdict == "outside the border").count();
                    let excluded = service.pools.iter().filter(|pool| border.is_some_and(|border| !border.contains(&pool.region)));
                    prop_assert_eq!(outside, excluded.count(), "{}", why);
                    prop_assert_eq!(explanation.steps.iter().filter(|step| step.verdict == "taken").count(), 1, "{}", why);
                }
                // Where no chance decides, all types of one client lead to one region, unless one family of it is dead.
                let together = regions.iter().all(|(rung, _)| *rung != Rung::SomeSurvivors);
                if matches!(service.route, Route::Sticky | Route::Unit) && service.family == FamilyRule::Same {
                    prop_assert!(!together || regions.windows(2).all(|pair| pair[0] == pair[1]));
                    let https = if service.route == Route::Sticky { RrType::HTTPS } else { RrType::SVCB };
                    let explanation = explain(&snapshot, &service.name, Some(https), client, 0, WallTime::default());
                    if let Some((_, region)) = regions.first() {
                        prop_assert_eq!(explanation.answers.len(), 1);
                        prop_assert_eq!(world.region(&explanation), *region);
                    }
                }
            }
        }
    }

    /// A service with names among its endpoints: the CNAME for every type, or addresses.
    #[test]
    fn one_client_gets_one_thing_where_there_are_names(seed in any::<u64>()) {
        let world = world(seed, true);
        let snapshot = world.snapshot();
        let random = &mut Rng::with_seed(seed ^ 3);
        for (index, service) in world.dataset.config.services.iter().enumerate() {
            for _ in 0..6 {
                let client = client(random);
                let border = if service.map.is_some() { world.border(seen(client)) } else { None };
                let mut ask = |rtype| explain(&snapshot, &service.name, Some(rtype), client, random.u64(..), WallTime::default());
                let types = [RrType::AAAA, RrType::A, RrType::MX, RrType::TXT, RrType::HTTPS, RrType::CNAME, RrType::ANY];
                let got = types.map(|rtype| (rtype, ask(rtype)));
                let (_, first) = &got[0];
                let why = first.lines().join("\n");
                // Where all are names, each answer is drawn by itself.
                let alias = service.pools.iter().all(Pool::has_names);
                let fenced = world.unit_states[index].as_ref().is_some_and(|unit_state| unit_state.owner().is_none());
                let pool_of = |explanation: &Explanation| {
                    world.region(explanation).map(|region| service.pools.iter().find(|pool| pool.region == region).unwrap())
                };
                let pool = pool_of(first);
                for (rtype, explanation) in &got {
                    let addresses = |list: &[IpAddr]| -> Vec<String> {
                        let family = if *rtype == RrType::A { IpAddr::is_ipv4 } else { IpAddr::is_ipv6 };
                        let asked = [RrType::A, RrType::AAAA].contains(rtype);
                        list.iter().filter(|address| asked && family(address)).map(IpAddr::to_string).collect()
                    };
                    prop_assert_eq!(&explanation.rcode, "NOERROR");
                    prop_assert_eq!((explanation.rung, explanation.scope), (first.rung, first.scope), "{}", why);
                    prop_assert!(alias || explanation.region == first.region, "{}", why);
                    let may_be: Vec<String> = match pool_of(explanation) {
                        Some(pool) if pool.has_names() => {
                            // The same one.
                            prop_assert!(alias || explanation.answers == first.answers, "{} {}", why, explanation.lines().join("\n"));
                            prop_assert!(explanation.answers.len() == 1);
                            pool.endpoints.iter().map(|endpoint| endpoint.target.to_string()).collect()
                        }
                        Some(pool) => {
                            let all = pool.endpoints.iter().map(|endpoint| match endpoint.target {
                                Target::Address(address) => address,
                                Target::Name(_) => unreachable!("a pool has names or addresses"),
                            });
                            addresses(&all.collect::<Vec<_>>())
                        }
                        None if fenced => addresses(&service.unit.as_ref().unwrap().rules.fence_answer),
                        None => addresses(&service.fallback),
                    };
                    if *rtype == RrType::ANY && explanation.answers.iter().any(|answer| answer.contains("RFC8482")) {
                        prop_assert!(pool.is_none_or(|pool| !pool.has_names()));
                        continue;
                    }
                    prop_assert_eq!(explanation.answers.is_empty(), may_be.is_empty(), "{} {:?}", rtype, explanation.lines());
                    prop_assert!(explanation.answers.iter().all(|answer| may_be.contains(answer)), "{}", explanation.lines().join("\n"));
                    let most = if first.rung.is_none_or(Rung::is_degraded) { service.ttl_min } else { service.ttl };
                    prop_assert!(explanation.ttl <= most.secs(), "{:?}", explanation.lines());
                }
                if !fenced && world.unit_states[index].is_none() {
                    // From the best rung that any region stands on in any family.
                    let best = |family| {
                        let ladder = world.ladder(index, family, border);
                        ladder.into_iter().find(|(rung, regions)| *rung != Rung::Fallback && !regions.is_empty()).map(|(rung, _)| rung)
                    };
                    let best = Family::BOTH.into_iter().filter_map(best).min().unwrap();
                    let fallback = !service.fallback.is_empty() && best > Rung::Fallback;
                    prop_assert_eq!(first.rung, Some(if fallback { Rung::Fallback } else { best }), "{}", why);
                }
            }
        }
    }

    #[test]
    fn a_hashed_choice_holds_throughout_its_scope(seed in any::<u64>()) {
        let world = world(seed, false);
        let snapshot = world.snapshot();
        let random = &mut Rng::with_seed(seed ^ 2);
        let (index, service) = world.dataset.config.services.iter().enumerate().find(|(_, s)| s.route == Route::Sticky).unwrap();
        let rtype = if service.families().v4 { RrType::A } else { RrType::AAAA };
        for _ in 0..10 {
            let client = client(random);
            let explanation = explain(&snapshot, &service.name, Some(rtype), client, random.u64(..), WallTime::default());
            if explanation.region.is_none() {
                continue;
            }
            let least = match seen(client).address() {
                IpAddr::V4(_) if client.address().is_ipv6() => 120,
                IpAddr::V4(_) => 24,
                IpAddr::V6(_) => 48,
            };
            prop_assert!(explanation.scope >= least, "{index}: {:?}", explanation.lines());
            // Sources of at least the hash's own length: a shorter one is hashed as it is sent.
            if client.length() < least {
                continue;
            }
            for _ in 0..10 {
                let mask = |bits: u32, width: u32| if bits >= width { 0 } else { u128::MAX >> (128 - width + bits) };
                let other: IpAddr = match client.address() {
                    IpAddr::V4(v4) => Ipv4Addr::from(v4.to_bits() | random.u32(..) & mask(explanation.scope.into(), 32) as u32).into(),
                    IpAddr::V6(v6) => Ipv6Addr::from(v6.to_bits() | random.u128(..) & mask(explanation.scope.into(), 128)).into(),
                };
                if !Prefix::truncating(client.address(), explanation.scope).unwrap().contains(other) {
                    continue;
                }
                let near = explain(&snapshot, &service.name, Some(rtype), Prefix::host(other), random.u64(..), WallTime::default());
                prop_assert_eq!(&near.answers, &explanation.answers);
                prop_assert_eq!((near.region, near.scope), (explanation.region.clone(), explanation.scope));
            }
        }
    }
}

/// Its CNAME is there for every type, but the addresses of its fallback are not.
#[test]
fn an_alias_on_its_last_resort_has_addresses_for_their_own_type_alone() {
    let text = "--- meridian.toml\n[server]\nnode = \"test\"\n[regions.a]\n--- zones/z.toml\nzone = \"z.example\"\nrecords = '''\n\
        @ 60 SOA ns1 h 1 2 3 4 5\n@ 60 NS ns1\nns1 60 A 192.0.2.53\n'''\n[services.www]\nroute = \"weighted\"\n\
        fallback = [\"192.0.2.250\"]\n[services.www.pools]\na = { endpoints = [\"lb.example.net.\"] }\n";
    let dataset = common::dataset(text);
    let answers = |down: &[RegionId], rtype| {
        let part = Part {
            regions: down.to_vec(),
            endpoints: vec![],
        };
        let name = &dataset.config.services[0].name;
        explain(
            &what_if(&dataset, &part, &[]),
            name,
            Some(rtype),
            "192.0.2.0/24".parse().unwrap(),
            0,
            WallTime::default(),
        )
        .answers
    };
    for rtype in [RrType::A, RrType::AAAA, RrType::TXT] {
        assert_eq!(answers(&[], rtype), ["lb.example.net."]);
    }
    assert_eq!(answers(&[RegionId(0)], RrType::A), ["192.0.2.250"]);
    assert_eq!(answers(&[RegionId(0)], RrType::AAAA), [""; 0]);
    assert_eq!(answers(&[RegionId(0)], RrType::TXT), [""; 0]);
}

/// Shares of clients rather than of answers, so that chance does not part the types.
#[test]
fn names_and_addresses_share_clients_by_weight() {
    let text = "--- meridian.toml\n[server]\nnode = \"test\"\n[regions.a]\n[regions.b]\n--- zones/z.toml\nzone = \"z.example\"\nrecords = '''\n\
        @ 60 SOA ns1 h 1 2 3 4 5\n@ 60 NS ns1\nns1 60 A 192.0.2.53\n'''\n\
        [services.weighted]\nroute = \"weighted\"\n[services.weighted.pools]\na = { weight = 4, endpoints = [\"192.0.2.1\"] }\n\
        b = { endpoints = [\"lb.example.net.\"] }\n\
        [services.trickle]\nroute = \"priority\"\ntrickle = 0.2\n[services.trickle.pools]\na = { endpoints = [\"192.0.2.1\"] }\n\
        b = { priority = 2, endpoints = [\"lb.example.net.\"] }\n\
        [services.plain]\nroute = \"priority\"\n[services.plain.pools]\na = { endpoints = [\"192.0.2.1\"] }\n\
        b = { priority = 2, endpoints = [\"lb.example.net.\"] }\n";
    let dataset = common::dataset(text);
    let snapshot = what_if(&dataset, &Part::default(), &[]);
    for service in &dataset.config.services {
        let plain = service.name.to_string().starts_with("plain");
        let mut named = 0;
        for client in 0..4000u32 {
            let client =
                Prefix::truncating(Ipv4Addr::from(client << 8 | 11 << 24).into(), 24).unwrap();
            let ask = |rtype, seed| {
                explain(
                    &snapshot,
                    &service.name,
                    Some(rtype),
                    client,
                    seed,
                    WallTime::default(),
                )
            };
            let (a, aaaa) = (ask(RrType::A, 7), ask(RrType::AAAA, 1));
            assert_eq!((&a.region, a.scope), (&aaaa.region, aaaa.scope));
            assert_eq!(
                a.scope,
                if plain { 0 } else { 24 },
                "who looks at nobody says so"
            );
            let is_named = a.answers == ["lb.example.net."];
            assert_eq!(aaaa.answers.is_empty(), !is_named);
            named += u32::from(is_named);
        }
        // Four standard deviations about 800.
        assert!(
            if plain {
                named == 0
            } else {
                (700..=900).contains(&named)
            },
            "{}: {named}",
            service.name
        );
    }
}
