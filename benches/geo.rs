//! Location databases: from an address plan to an MMDB, from that to a compiled map, and what a
//! lookup in it costs, with the table in the caches and out of them.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use meridian::config::Config;
use meridian::dns::Prefix;
use meridian::geo::{GeoMap, Locations, build};

use super::common::Files;
use super::data::files::world;
use super::data::networks::{LARGE, NETWORKS, Network, address, networks, write_plan};
use super::size;

pub(crate) fn bench(criterion: &mut Criterion) {
    let config = configuration();
    let mut group = criterion.benchmark_group("geo");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5));
    for (label, count) in [
        ("400 k", size(NETWORKS, 1000)),
        ("1.6 M", size(LARGE, 4000)),
    ] {
        let world = networks(count);
        let mut plan = Vec::new();
        write_plan(&world, &mut plan).expect("memory takes it");
        let plan = String::from_utf8(plan).expect("a plan is text");
        let mmdb = build::build("plan.csv", &plan).expect("a good plan");
        if label == "400 k" {
            group.throughput(Throughput::Elements(count as u64));
            group.bench_function("build an MMDB, 400 k networks", |bencher| {
                bencher.iter_batched(
                    || (),
                    |()| build::build("plan.csv", &plan),
                    BatchSize::PerIteration,
                );
            });
        }
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("read an MMDB, {label} networks"), |bencher| {
            bencher.iter_batched(
                || (),
                |()| Locations::read(Some(&mmdb), None),
                BatchSize::PerIteration,
            );
        });
        let locations = Locations::read(Some(&mmdb), None).expect("a good database");
        group.bench_function(format!("compile a map, {label} networks"), |bencher| {
            let compile = |()| GeoMap::compile(&config.maps[0], &config.regions, &locations);
            bencher.iter_batched(|| (), compile, BatchSize::PerIteration);
        });
        let map = GeoMap::compile(&config.maps[0], &config.regions, &locations);
        group.throughput(Throughput::Elements(1));
        for v6 in [false, true] {
            let family = if v6 { "IPv6" } else { "IPv4" };
            let clients = clients(&world, v6);
            lookups(
                &mut group,
                &format!("look up {family}, {label} networks, hot"),
                &map,
                &clients[..64],
            );
            lookups(
                &mut group,
                &format!("look up {family}, {label} networks, cold"),
                &map,
                &clients,
            );
        }
    }
    group.finish();
}

/// One lookup after the other, each of another of `clients`, and each after the one before is done:
/// its result goes into the next index, so that the processor cannot fetch ahead.
fn lookups(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    label: &str,
    map: &GeoMap,
    clients: &[Prefix],
) {
    assert!(clients.len().is_power_of_two());
    let mut next = 0usize;
    group.bench_function(label, |bencher| {
        bencher.iter(|| {
            let found = map.lookup(black_box(clients[next]));
            // An order's number is small and a scope at most 128: what is added changes nothing but
            // what the processor can know.
            next = (next + 1 + usize::from(found.scope == u8::MAX)) & (clients.len() - 1);
            found
        });
    });
}

/// A million /24s or /56s in random order, inside the networks of a family.
fn clients(world: &[Network], v6: bool) -> Vec<Prefix> {
    let family: Vec<&Network> = world.iter().filter(|network| network.v6 == v6).collect();
    let mut random = fastrand::Rng::with_seed(7);
    let length = if v6 { 56 } else { 24 };
    let client = || {
        let network = family[random.usize(..family.len())];
        let bits =
            (network.bits | random.u128(..) >> network.length) >> (128 - length) << (128 - length);
        format!("{}/{length}", address(bits, v6))
            .parse()
            .expect("a prefix")
    };
    std::iter::repeat_with(client)
        .take(size(1 << 20, 1 << 10))
        .collect()
}

/// The regions and the map of the load generator's world.
fn configuration() -> Config {
    let zone = "--- zones/bench.toml\nzone = \"bench.example\"\nrecords = '''\n@ 60 SOA ns1 h 1 1 1 1 1\n@ 60 NS ns1\nns1 60 A 192.0.2.53\n'''\n";
    let files = format!(
        "--- meridian.toml\n[server]\nnode = \"bench\"\nstate = \"state\"\n{}{zone}",
        world()
    );
    Files::parse(&files)
        .load()
        .unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}
