//! A plan: compiled once a change, and chosen from by every query.

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use meridian::health::State;
use meridian::model::{Family, Prefix, Region, RegionId, RegionOrder, Route, Service};
use meridian::steer::{Asked, Plan, client_hash, select};

use super::common::Files;
use super::publish::configuration;

pub(crate) fn bench(criterion: &mut Criterion) {
    let config = Files::parse(&configuration(1))
        .load()
        .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let (service, regions) = (&config.services[0], config.regions.len());
    let up = Plan::compile(service, &config.regions, &|_, _| State::UNPROBED, &[]);
    let half_down = |pool: &meridian::model::Pool, _: &_| State {
        up: pool.region.index() >= regions / 2,
        settled: true,
    };
    let down = Plan::compile(service, &config.regions, &half_down, &[]);
    let mut group = criterion.benchmark_group("plan");
    group.throughput(Throughput::Elements(1));
    group.bench_function("compile, 20 regions", |bencher| {
        bencher.iter(|| Plan::compile(black_box(service), &config.regions, &half_down, &[]));
    });
    let order = RegionOrder {
        steps: (0..regions)
            .map(|i| vec![RegionId::from_index(i)])
            .collect(),
        border: None,
    };
    let asked = Asked {
        family: Family::V4,
        order: Some(&order),
        border: None,
        hash: 0,
        svcb: None,
    };
    let mut random = fastrand::Rng::with_seed(1);
    for (label, plan, region) in [
        ("select, all up", &up, 0),
        ("select, the nearest ten of 20 down", &down, regions / 2),
    ] {
        let chosen =
            select(plan, &asked, &mut random, &mut ()).expect("every region has an endpoint");
        assert_eq!(chosen.region.map(RegionId::index), Some(region), "{label}");
        group.bench_function(label, |bencher| {
            bencher.iter(|| select(black_box(plan), &asked, &mut random, &mut ()))
        });
    }
    sticky(&mut group, service, &config.regions);
    group.finish();
}

/// Selections among all regions by the hash of a new client each time.
fn sticky(group: &mut BenchmarkGroup<'_, WallTime>, service: &Service, regions: &[Region]) {
    let mut random = fastrand::Rng::with_seed(1);
    let mut sticky = service.clone();
    sticky.route = Route::Sticky;
    let sticky = Plan::compile(&sticky, regions, &|_, _| State::UNPROBED, &[]);
    let mut address = 0u32;
    group.bench_function("select, sticky among 20 regions", |bencher| {
        bencher.iter(|| {
            address = address.wrapping_add(0x0101_0100);
            let client =
                Prefix::truncating(Ipv4Addr::from(address).into(), 24).expect("a length of IPv4");
            let asked = Asked {
                family: Family::V4,
                order: None,
                border: None,
                hash: client_hash(client),
                svcb: None,
            };
            select(black_box(&sticky), &asked, &mut random, &mut ())
                .map(|selection| selection.region)
        });
    });
}
