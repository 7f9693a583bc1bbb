//! The tables against `maxminddb` and a plain reading of the rules, on random databases and maps.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use maxminddb::Reader;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::diag::At;
use crate::model::{Coordinates, Entry, MapSpec, Prefix, Region, RegionId, RegionOrder, RegionSet};

/// Where the rows of the random databases are: everything after `network` in a plan.
const PLACES: [&str; 7] = [
    "EU,IE,IE-D,Dublin,53.35,-6.26,64500",
    "EU,DE,DE-HE,Frankfurt,50.11,8.68,64501",
    "NA,US,US-CA,San Jose,37.34,-121.89,",
    "NA,US,US-VA,Ashburn,39.04,-77.49,64502",
    "AS,JP,,Tokyo,35.69,139.69,64500",
    "AS,CN,,,,,",
    ",,,,,,64502",
];

/// Name, latitude and longitude, metro, bias.
type Place = (&'static str, Option<(f64, f64)>, Option<&'static str>, i8);
const REGIONS: [Place; 8] = [
    ("ap-east", Some((22.3, 114.2)), None, 0),
    ("ap-north", Some((35.6, 139.8)), None, -20),
    ("eu-mid", Some((52.4, 4.9)), Some("lowlands"), 0),
    ("eu-mid-2", Some((51.9, 4.4)), Some("lowlands"), 0),
    ("eu-mid-3", None, Some("lowlands"), 0),
    ("eu-west", Some((53.3, -6.2)), None, 10),
    ("nowhere", None, None, 0),
    ("us-east", Some((38.9, -77.4)), None, 0),
];

fn regions() -> Vec<Region> {
    let region = |(name, at, metro, bias): Place| Region {
        name: name.to_owned(),
        coordinates: at.map(|(latitude, longitude)| Coordinates {
            latitude,
            longitude,
        }),
        metro: metro.map(str::to_owned),
        labels: BTreeMap::new(),
        bias,
        capacity: None,
    };
    REGIONS.map(region).into()
}

fn empty_map() -> MapSpec {
    MapSpec {
        name: "test".to_owned(),
        at: At::file("meridian.toml"),
        networks: Vec::new(),
        asns: BTreeMap::new(),
        subdivisions: BTreeMap::new(),
        countries: BTreeMap::new(),
        continents: BTreeMap::new(),
        by_distance: false,
        distance_steps: 4,
        within: None,
        rest: Vec::new(),
    }
}

/// An MMDB with these networks and places.
fn mmdb(rows: &[(Prefix, usize)]) -> Vec<u8> {
    let mut plan = build::COLUMNS.join(",");
    for (network, place) in rows {
        plan += &format!("\n{network},{}", PLACES[*place]);
    }
    build::build("plan.csv", &plan).unwrap()
}

// ---- strategies ----

/// Addresses that meet often: a base, and a few bits below it.
fn v4() -> impl Strategy<Value = u32> {
    let bits = proptest::collection::vec(0u32..32, 0..4);
    (
        prop_oneof![Just(0u32), Just(0x0a00_0000), Just(0xc000_0200)],
        bits,
    )
        .prop_map(|(base, bits)| bits.into_iter().fold(base, |all, bit| all ^ 1 << bit))
}

fn v6() -> impl Strategy<Value = u128> {
    let bits = proptest::collection::vec(prop_oneof![0u32..8, 60u32..68, 76u32..128], 0..4);
    let base = prop_oneof![3 => Just(0x2001_0db8u128 << 96), 1 => Just(0x2001u128 << 112), 1 => Just(0x2003u128 << 112)];
    (base, bits).prop_map(|(base, bits)| bits.into_iter().fold(base, |all, bit| all ^ 1 << bit))
}

/// An IPv4 address, in one of the ways that IPv6 has for it.
fn embedded() -> impl Strategy<Value = u128> {
    (v4(), 0usize..5).prop_map(|(address, way)| match way {
        0 => u128::from(address) | 0xffff << 32,
        1 => u128::from(address) | 0xffff << 48,
        2 => u128::from(address) | 0x64_ff9b << 96,
        3 => u128::from(!address) | 0x2001_0000 << 96 | 0x4136_e378 << 64,
        _ => u128::from(address) << 80 | 0x2002 << 112,
    })
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        3 => v4().prop_map(|a| IpAddr::V4(a.into())),
        2 => v6().prop_map(|a| IpAddr::V6(a.into())),
        1 => embedded().prop_map(|a| IpAddr::V6(a.into())),
    ]
}

fn network() -> impl Strategy<Value = Prefix> {
    let v4 = (v4(), 0u8..=32)
        .prop_map(|(a, length)| Prefix::truncating(IpAddr::V4(a.into()), length).unwrap());
    let v6 = (v6(), 8u8..=128)
        .prop_map(|(a, length)| Prefix::truncating(IpAddr::V6(a.into()), length).unwrap());
    let placeable = |prefix: &Prefix| match prefix.address() {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => {
            address.to_bits() >> 32 != 0
                && embedded::around(address.to_bits(), prefix.length()).is_none()
        }
    };
    prop_oneof![v4, v6.prop_filter("not IPv4's", placeable)]
}

fn entry() -> impl Strategy<Value = Entry> {
    let list = proptest::collection::vec((0..REGIONS.len()).prop_map(RegionId::from_index), 1..3);
    prop_oneof![3 => list.clone().prop_map(Entry::Prefer), 2 => list.prop_map(Entry::Only)]
}

fn entries(keys: &'static [&'static str]) -> impl Strategy<Value = BTreeMap<String, Entry>> {
    proptest::collection::btree_map(
        proptest::sample::select(keys).prop_map(str::to_owned),
        entry(),
        0..3,
    )
}

prop_compose! {
    fn map()(
        networks in proptest::collection::btree_map(network(), entry(), 0..6),
        asns in proptest::collection::btree_map(64500u32..64503, entry(), 0..2),
        subdivisions in entries(&["IE-D", "US-CA", "US-VA", "DE-HE"]),
        countries in entries(&["IE", "US", "CN", "JP"]),
        continents in entries(&["EU", "NA", "AS"]),
        by_distance in any::<bool>(),
        distance_steps in 1u8..6,
        within in proptest::option::of(prop_oneof![Just(100.0), Just(1500.0), Just(9000.0)]),
        rest in proptest::collection::vec((0..REGIONS.len()).prop_map(RegionId::from_index), 0..4),
    ) -> MapSpec {
        let networks = networks.into_iter().collect();
        MapSpec { networks, asns, subdivisions, countries, continents, by_distance, distance_steps, within, rest, ..empty_map() }
    }
}

// ---- the rules, read plainly ----

/// The IPv4 address that `client` stands for, if it is an IPv6 one that holds one.
fn plain_unwrap(client: Prefix) -> IpAddr {
    let IpAddr::V6(address) = client.address() else {
        return client.address();
    };
    let s = address.segments();
    let inner = |high: u16, low: u16| {
        IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
    };
    let deep = client.length() > 96;
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low] if deep => inner(high, low),
        [0, 0, 0, 0, 0xffff, 0, high, low] if deep => inner(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] if deep => inner(high, low),
        [0x2001, 0, _, _, _, _, high, low] if deep => inner(!high, !low),
        [0x2002, high, low, ..] if client.length() > 16 => inner(high, low),
        _ => client.address(),
    }
}

fn haversine(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (p, q) = (a.0.to_radians(), b.0.to_radians());
    let (dp, dl) = (q - p, (b.1 - a.1).to_radians());
    let h = (dp / 2.0).sin().powi(2) + p.cos() * q.cos() * (dl / 2.0).sin().powi(2);
    2.0 * 6371.0 * h.sqrt().asin()
}

fn plain_distance(spec: &MapSpec, record: &Value) -> Vec<Vec<usize>> {
    let degrees = |key: &str| record["location"][key].as_f64();
    let (true, Some(latitude), Some(longitude)) =
        (spec.by_distance, degrees("latitude"), degrees("longitude"))
    else {
        return Vec::new();
    };
    let mut far: Vec<(f64, usize)> = Vec::new();
    for (index, (_, at, _, bias)) in REGIONS.iter().enumerate() {
        let Some(at) = at else { continue };
        let d = haversine((latitude, longitude), *at);
        let b = f64::from(*bias);
        far.push((
            if b > 0.0 {
                d * (1.0 - b / 100.0)
            } else {
                d / (1.0 + b / 100.0)
            },
            index,
        ));
    }
    far.sort_by(|a, b| a.0.total_cmp(&b.0));
    let limit = far[0].0 + spec.within.unwrap_or(0.0);
    let mut steps: Vec<Vec<usize>> = Vec::new();
    for (d, region) in far.clone() {
        let metro = REGIONS[region].2;
        if region == far[0].1 || d < limit {
            if steps.is_empty() {
                steps.push(Vec::new());
            }
            steps[0].push(region);
        } else if metro.is_none()
            || !steps
                .iter()
                .flatten()
                .any(|placed| REGIONS[*placed].2 == metro)
        {
            steps.push(vec![region]);
        }
    }
    steps.truncate(spec.distance_steps.into());
    steps
}

/// The order of `client`, by the text of the rules and nothing else.
fn plain_order(spec: &MapSpec, reader: &Reader<Vec<u8>>, client: Prefix) -> RegionOrder {
    let address = plain_unwrap(client);
    let in_ipv4_subtree = matches!(address, IpAddr::V6(a) if a.to_bits() >> 32 == 0);
    let record: Value = match in_ipv4_subtree {
        true => Value::Null,
        false => reader
            .lookup(address)
            .unwrap()
            .decode()
            .unwrap()
            .unwrap_or_default(),
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let country = text(&record["country"]["iso_code"]);
    let subdivision = format!("{country}-{}", text(&record["subdivisions"][0]["iso_code"]));
    let mut found: Vec<&Entry> = Vec::new();
    let mut around: Vec<_> = spec
        .networks
        .iter()
        .filter(|(prefix, _)| prefix.contains(address))
        .collect();
    around.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.length()));
    found.extend(around.iter().map(|(_, entry)| entry));
    found.extend(
        record["autonomous_system_number"]
            .as_u64()
            .and_then(|asn| spec.asns.get(&(asn as u32))),
    );
    found.extend(spec.subdivisions.get(&subdivision));
    found.extend(spec.countries.get(&country));
    found.extend(spec.continents.get(&text(&record["continent"]["code"])));
    let border: Option<RegionSet> = found.iter().find_map(|entry| match entry {
        Entry::Only(regions) => Some(regions.iter().copied().collect()),
        Entry::Prefer(_) => None,
    });
    let mut wanted: Vec<Vec<usize>> = match found.first() {
        Some(entry) => entry
            .regions()
            .iter()
            .map(|region| vec![region.index()])
            .collect(),
        None => plain_distance(spec, &record),
    };
    wanted.extend(spec.rest.iter().map(|region| vec![region.index()]));
    wanted.extend((0..REGIONS.len()).map(|region| vec![region]));
    let mut taken: Vec<usize> = Vec::new();
    let mut steps: Vec<Vec<RegionId>> = Vec::new();
    for step in wanted {
        let together =
            |a: usize, b: usize| a == b || (REGIONS[a].2.is_some() && REGIONS[a].2 == REGIONS[b].2);
        let joined: Vec<usize> = (0..REGIONS.len())
            .filter(|region| {
                !taken.contains(region) && step.iter().any(|other| together(*region, *other))
            })
            .collect();
        taken.extend(&joined);
        let inside = joined
            .into_iter()
            .map(RegionId::from_index)
            .filter(|r| border.as_ref().is_none_or(|b| b.contains(*r)));
        steps.push(inside.collect());
    }
    steps.retain(|step| !step.is_empty());
    RegionOrder { steps, border }
}

// ---- scopes ----

/// Addresses around which something may change: the ends of every network, in every way that IPv6
/// has for IPv4, and the ends of those ways.
fn edges(rows: &[(Prefix, usize)], spec: &MapSpec) -> Vec<IpAddr> {
    let mut edges = Vec::new();
    for prefix in rows
        .iter()
        .map(|(prefix, _)| *prefix)
        .chain(spec.networks.iter().map(|(prefix, _)| *prefix))
    {
        match prefix.address() {
            IpAddr::V4(first) => {
                let last =
                    first.to_bits() | u32::MAX.checked_shr(prefix.length().into()).unwrap_or(0);
                for v4 in [
                    first.to_bits(),
                    last,
                    last.wrapping_add(1),
                    first.to_bits().wrapping_sub(1),
                ] {
                    edges.push(IpAddr::V4(v4.into()));
                    let wide = u128::from(v4);
                    let teredo = u128::from(!v4) | 0x2001_0000 << 96 | 0x4136_e378 << 64;
                    let ways = [
                        wide | 0xffff << 32,
                        wide | 0xffff << 48,
                        wide | 0x64_ff9b << 96,
                        teredo,
                        wide << 80 | 0x2002 << 112,
                    ];
                    edges.extend(ways.map(|v6| IpAddr::V6(v6.into())));
                }
            }
            IpAddr::V6(first) => {
                let last =
                    first.to_bits() | u128::MAX.checked_shr(prefix.length().into()).unwrap_or(0);
                let ends = [
                    first.to_bits(),
                    last,
                    last.wrapping_add(1),
                    first.to_bits().wrapping_sub(1),
                ];
                edges.extend(ends.map(|v6| IpAddr::V6(v6.into())));
            }
        }
    }
    for embedding in embedded::EMBEDDINGS {
        let ends = [
            embedding.start,
            embedding.start - 1,
            embedding.end(),
            embedding.end() - 1,
        ];
        edges.extend(ends.map(|v6| IpAddr::V6(v6.into())));
    }
    edges.extend([
        IpAddr::V4(u32::MAX.into()),
        IpAddr::V4(0.into()),
        IpAddr::V6(0.into()),
        IpAddr::V6(u128::MAX.into()),
    ]);
    edges
}

/// `address` with the bit before its prefix of `length` bits flipped: inside the parent prefix only.
fn sibling(address: IpAddr, length: u8) -> Prefix {
    let flipped = match address {
        IpAddr::V4(a) => IpAddr::V4((a.to_bits() ^ 1 << (32 - length)).into()),
        IpAddr::V6(a) => IpAddr::V6((a.to_bits() ^ 1 << (128 - length)).into()),
    };
    Prefix::truncating(flipped, length).unwrap()
}

/// True when a longer prefix is looked up in the same family as `client` is.
fn reaches(client: Prefix) -> bool {
    plain_unwrap(client).is_ipv4() == plain_unwrap(Prefix::host(client.address())).is_ipv4()
}

/// Every address inside the scope of `client` has what `client` has, and no wider prefix would do.
fn scope_is_exact<K: PartialEq + std::fmt::Debug>(
    look: impl Fn(Prefix) -> (K, u8),
    client: Prefix,
    edges: &[IpAddr],
) -> Result<(), TestCaseError> {
    let (found, scope) = look(client);
    // A Teredo address has bits of its own before the IPv4 address.
    let server = bits(client) >> 32;
    let teredo = edges.iter().filter_map(|edge| match edge {
        IpAddr::V4(v4) if server >> 64 == 0x2001_0000 => Some(IpAddr::V6(
            (server << 32 | u128::from(!v4.to_bits())).into(),
        )),
        _ => None,
    });
    let edges: Vec<IpAddr> = edges.iter().copied().chain(teredo).collect();
    let inside = Prefix::truncating(client.address(), scope).unwrap();
    for edge in edges.iter().filter(|edge| inside.contains(**edge)) {
        prop_assert_eq!(
            &look(Prefix::host(*edge)).0,
            &found,
            "{} has scope {}, and {} is inside",
            client,
            scope,
            edge
        );
    }
    if scope > 0 {
        let beside = sibling(client.address(), scope);
        let inner = edges.iter().copied().filter(|edge| beside.contains(*edge));
        let other = std::iter::once(beside.address())
            .chain(inner)
            .any(|edge| look(Prefix::host(edge)).0 != found);
        prop_assert!(
            other,
            "{client} has scope {scope}, and {beside} is no different"
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_table_agrees_with_maxminddb_and_the_entries(
        rows in proptest::collection::btree_map(network(), 0..PLACES.len(), 1..16),
        spec in map(),
        clients in proptest::collection::vec((address(), 0u8..=128), 24),
    ) {
        let rows: Vec<(Prefix, usize)> = rows.into_iter().collect();
        let bytes = mmdb(&rows);
        // A file without a single location, or AS number, is refused as a file of those.
        let has_city = Locations::read(Some(&bytes), None).is_ok();
        let has_asn = Locations::read(None, Some(&bytes)).is_ok();
        let locations = Locations::read(has_city.then_some(&bytes), has_asn.then_some(&bytes)).unwrap();
        let reader = Reader::from_source(bytes).unwrap();
        let regions = regions();
        let map = GeoMap::compile(&spec, &regions, &locations);
        let edges = edges(&rows, &spec);
        let orders = |client: Prefix| { let l = map.lookup(client); (map.order(l.order), l.scope) };
        for (address, length) in clients.into_iter().chain(edges.iter().map(|edge| (*edge, 128))) {
            let length = if address.is_ipv4() { length.min(32) } else { length };
            let client = Prefix::truncating(address, length).unwrap();
            let plain = plain_order(&spec, &reader, client);
            let explained = map.explain(&spec, &regions, &locations, client);
            prop_assert_eq!(explained.order, map.lookup(client).order);
            if reaches(client) {
                prop_assert_eq!(orders(client).0, &plain, "{}", client);
                prop_assert_eq!(map.border(client).0, plain.border.as_ref(), "{}", client);
                scope_is_exact(orders, client, &edges)?;
                scope_is_exact(|client| map.border(client), client, &edges)?;
            } else if orders(client).0 != &plain {
                // All of IPv4 has one order, and a prefix too short to hold a bit of it has that too.
                prop_assert_eq!(map.lookup("0.0.0.0/0".parse().unwrap()).scope, 0);
                prop_assert_eq!(map.lookup("0.0.0.0/0".parse().unwrap()).order, explained.order);
            }
        }
        prop_assert!(map.orders().iter().all(|order| order.steps.iter().all(|step| !step.is_empty())));
    }

    #[test]
    fn damaged_bytes_are_an_error_or_a_table(flips in proptest::collection::vec((0..EMBEDDED.len(), any::<u8>()), 1..6)) {
        let mut bytes = EMBEDDED.to_vec();
        for (at, byte) in flips {
            bytes[at] = byte;
        }
        if let Ok(locations) = Locations::read(Some(&bytes), None) {
            let map = GeoMap::compile(&empty_map(), &regions(), &locations);
            prop_assert_eq!(map.orders().len(), 1);
        }
    }
}

fn bits(client: Prefix) -> u128 {
    match client.address() {
        IpAddr::V4(a) => a.to_bits().into(),
        IpAddr::V6(a) => a.to_bits(),
    }
}

// ---- the rules by example ----

fn only(regions: &[usize]) -> Entry {
    Entry::Only(regions.iter().copied().map(RegionId::from_index).collect())
}

fn prefer(regions: &[usize]) -> Entry {
    Entry::Prefer(regions.iter().copied().map(RegionId::from_index).collect())
}

/// The order of `client` by the embedded database, as names, steps with `+`; how it was found; its scope.
fn located(spec: &MapSpec, client: &str) -> (String, &'static str, u8) {
    let (regions, locations) = (regions(), Locations::read(Some(EMBEDDED), None).unwrap());
    let map = GeoMap::compile(spec, &regions, &locations);
    let client = client.parse().unwrap();
    let explained = map.explain(spec, &regions, &locations, client);
    let step = |step: &Vec<RegionId>| {
        step.iter()
            .map(|r| regions[r.index()].name.clone())
            .collect::<Vec<_>>()
            .join("+")
    };
    let order = map
        .order(map.lookup(client).order)
        .steps
        .iter()
        .map(step)
        .collect::<Vec<_>>()
        .join(" ");
    (order, explained.located_by.as_str(), explained.scope)
}

#[test]
fn the_first_source_with_an_entry_decides() {
    let mut spec = MapSpec {
        rest: vec![RegionId(7)],
        ..empty_map()
    };
    let tail = "ap-east ap-north eu-mid+eu-mid-2+eu-mid-3 eu-west nowhere";
    assert_eq!(
        located(&spec, "203.0.113.0/24"),
        (format!("us-east {tail}"), "rest", 0)
    );
    spec.continents.insert("EU".to_owned(), prefer(&[5]));
    assert_eq!(located(&spec, "203.0.113.0/24").1, "continent");
    spec.countries.insert("IE".to_owned(), prefer(&[0]));
    assert_eq!(located(&spec, "203.0.113.0/24").1, "country");
    spec.subdivisions.insert("IE-D".to_owned(), prefer(&[3, 5]));
    let order = "eu-mid+eu-mid-2+eu-mid-3 eu-west us-east ap-east ap-north nowhere".to_owned();
    assert_eq!(located(&spec, "203.0.113.0/24"), (order, "subdivision", 24));
    spec.networks
        .push(("203.0.113.128/25".parse().unwrap(), prefer(&[6])));
    assert_eq!(located(&spec, "203.0.113.128/25").1, "network");
    assert_eq!(located(&spec, "203.0.113.0/25").2, 25);
    assert_eq!(located(&spec, "8.8.8.0/24").1, "rest");
    spec.rest.clear();
    assert_eq!(located(&spec, "8.8.8.0/24").1, "none");
}

#[test]
fn distance_counts_its_steps_and_leaves_the_rest_to_rest() {
    let mut spec = MapSpec {
        by_distance: true,
        distance_steps: 2,
        rest: vec![RegionId(0)],
        ..empty_map()
    };
    let order = "eu-west eu-mid+eu-mid-2+eu-mid-3 ap-east ap-north nowhere us-east".to_owned();
    assert_eq!(located(&spec, "203.0.113.0/24"), (order, "distance", 24));
    spec.within = Some(2000.0);
    let order = "eu-mid+eu-mid-2+eu-mid-3+eu-west us-east ap-east ap-north nowhere".to_owned();
    assert_eq!(located(&spec, "203.0.113.0/24"), (order, "distance", 24));
    assert_eq!(
        located(&spec, "8.8.8.0/24").1,
        "rest",
        "a continent has no coordinates"
    );
}

#[test]
fn a_border_keeps_to_itself() {
    let mut spec = empty_map();
    spec.countries.insert("IE".to_owned(), only(&[3, 0]));
    spec.networks
        .push(("203.0.113.0/25".parse().unwrap(), prefer(&[7, 0])));
    assert_eq!(
        located(&spec, "203.0.113.128/25").0,
        "eu-mid-2 ap-east",
        "a metro does not widen it"
    );
    assert_eq!(
        located(&spec, "203.0.113.0/25").0,
        "ap-east eu-mid-2",
        "nor does a preference lift it"
    );
    spec.networks
        .push(("203.0.113.0/24".parse().unwrap(), only(&[7])));
    assert_eq!(
        located(&spec, "203.0.113.128/25").0,
        "us-east",
        "a more specific border replaces it"
    );
    assert_eq!(
        located(&spec, "203.0.113.0/25").0,
        "us-east",
        "inside a network's border its subnets stay in it"
    );
    let map = GeoMap::compile(
        &spec,
        &regions(),
        &Locations::read(Some(EMBEDDED), None).unwrap(),
    );
    let (border, scope) = map.border("203.0.113.0/25".parse().unwrap());
    assert_eq!(
        (border, scope),
        (Some(&RegionSet::from_iter([RegionId(7)])), 24)
    );
    assert_eq!(map.border("8.8.8.8/32".parse().unwrap()).0, None);
}

#[test]
fn a_map_without_borders_has_no_scope_for_them() {
    let mut spec = empty_map();
    spec.countries.insert("IE".to_owned(), prefer(&[3]));
    let map = GeoMap::compile(
        &spec,
        &regions(),
        &Locations::read(Some(EMBEDDED), None).unwrap(),
    );
    assert_eq!(map.border("203.0.113.0/24".parse().unwrap()), (None, 0));
}

#[test]
fn the_embedded_database_knows_continents_and_the_examples() {
    let locations = Locations::read(Some(EMBEDDED), None).unwrap();
    let at = |address: &str| locations.locate(address.parse().unwrap()).copied();
    let continent = |address: &str| {
        at(address)
            .and_then(|l| l.continent)
            .map(|code| code.to_string())
    };
    let [africa, asia, europe, north, south] =
        ["AF", "AS", "EU", "NA", "SA"].map(|code| Some(code.to_owned()));
    assert_eq!(
        [
            continent("8.8.8.8"),
            continent("1.1.1.1"),
            continent("193.0.0.1")
        ],
        [north.clone(), asia.clone(), europe.clone()]
    );
    assert_eq!(
        [
            continent("200.1.1.1"),
            continent("41.1.1.1"),
            continent("10.1.1.1")
        ],
        [south.clone(), africa.clone(), None]
    );
    assert_eq!(
        [
            continent("2600::1"),
            continent("2400::1"),
            continent("2a10::1")
        ],
        [north, asia, europe]
    );
    assert_eq!(
        [
            continent("2800::1"),
            continent("2c00::1"),
            continent("2001:db8::1")
        ],
        [south, africa, None]
    );
    assert_eq!(
        at("203.0.113.77").unwrap().subdivision.unwrap().as_str(),
        "IE-D"
    );
    assert_eq!(at("2001:db8:2::1").unwrap().country.unwrap().as_str(), "BR");
}
