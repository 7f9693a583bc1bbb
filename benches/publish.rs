//! From a change to the snapshot that answers by it: 10 000 services in 20 regions.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion};
use meridian::dataset::Dataset;
use meridian::geo::{EMBEDDED, Locations};
use meridian::health::{FailReason, Outcome, Seen};
use meridian::model::{FlapRule, Moment, TargetId};
use meridian::publisher::{COALESCE, Effect, Event, ProbeEvent, Publisher};

use super::common::Files;
use super::size;

const REGIONS: usize = 20;

pub(crate) fn bench(criterion: &mut Criterion) {
    let services = size(10_000, 20);
    let locations =
        Arc::new(Locations::read(Some(EMBEDDED), None).expect("the built-in database is good"));
    let text = configuration(services);
    let load = || {
        let config = Files::parse(&text)
            .load()
            .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        Arc::new(Dataset::compile(config, locations.clone()))
    };
    let dataset = load();
    assert_eq!(dataset.config.services.len(), services);
    let mut world = World::new(dataset.clone());
    let mut group = criterion.benchmark_group("publish");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5));
    for (label, targets) in [
        (
            "one endpoint of 10 000 × 20 goes down or comes back",
            vec![world.target(&dataset, endpoint(3, 0))],
        ),
        (
            "the 10 000 endpoints of a region go down or come back",
            (0..services)
                .map(|i| world.target(&dataset, endpoint(3, i)))
                .collect(),
        ),
        (
            "an endpoint that 10 000 services share goes down or comes back",
            vec![world.target(&dataset, shared())],
        ),
    ] {
        group.bench_function(label, |bencher| {
            bencher.iter_custom(|iterations| (0..iterations).map(|_| world.flip(&targets)).sum());
        });
        if world.up {
            // The next ones begin with everything up.
            world.flip(&targets);
        }
    }
    group.bench_function(
        "reload 10 000 services: files in memory to snapshot",
        |bencher| {
            let reload = |()| {
                world.handle(Event::Reload {
                    dataset: load(),
                    first_round: Vec::new(),
                })
            };
            bencher.iter_batched(|| (), reload, BatchSize::PerIteration);
        },
    );
    group.finish();
}

/// A configuration of `services` services, each with an endpoint of its own in each of twenty
/// regions, and in the first of them one that all share.
pub(crate) fn configuration(services: usize) -> String {
    let mut text = "--- meridian.toml\n[server]\nnode = \"bench\"\nstate = \"state\"\n".to_owned();
    text.push_str("[checks.web]\ntype = \"tcp\"\nport = 80\nfall = 1\nrise = 1\n[maps.default]\nby_distance = true\n");
    for region in 0..REGIONS {
        let _ = writeln!(
            text,
            "[regions.r{region:02}]\nlatitude = {}\nlongitude = {}",
            region * 8 % 60,
            region * 9
        );
    }
    text.push_str("--- zones/bench.toml\nzone = \"bench.example\"\nrecords = '''\n$TTL 60\n@ SOA ns1 h 1 3600 600 86400 60\n");
    text.push_str("@ NS ns1\nns1 A 192.0.2.53\n'''\n");
    for service in 0..services {
        let _ = writeln!(
            text,
            "[services.s{service}]\nroute = \"nearest\"\nchecks = [\"web\"]\n[services.s{service}.pools]"
        );
        for region in 0..REGIONS {
            let more = if region == 0 {
                format!(", \"{}\"", shared())
            } else {
                String::new()
            };
            let _ = writeln!(
                text,
                "r{region:02} = {{ endpoints = [\"{}\"{more}] }}",
                endpoint(region, service)
            );
        }
    }
    text
}

fn endpoint(region: usize, service: usize) -> String {
    format!("10.{region}.{}.{}", service / 256, service % 256)
}

fn shared() -> String {
    "10.255.0.1".to_owned()
}

/// A publisher and its clock.
struct World {
    publisher: Publisher,
    now: Moment,
    /// State that the next flip gives its targets.
    up: bool,
}

impl World {
    fn new(dataset: Arc<Dataset>) -> World {
        let mut world = World {
            publisher: Publisher::new(dataset),
            now: Moment(Duration::from_secs(1)),
            up: false,
        };
        world.handle(ProbeEvent::FirstRoundEnded);
        world
    }

    fn target(&self, dataset: &Dataset, address: String) -> TargetId {
        let found = dataset.config.targets.iter().position(|target| {
            target
                .address()
                .is_some_and(|probed| probed.to_string() == address)
        });
        TargetId::from_index(found.expect("every endpoint is probed"))
    }

    fn handle(&mut self, event: impl Into<Event>) -> Vec<Effect> {
        self.now = self.now + COALESCE * 2;
        self.publisher.handle(event, self.now)
    }

    /// Every target fails, or every one passes again; until that is published. What went before is
    /// long over by then, so that nothing is held as flapping.
    fn flip(&mut self, targets: &[TargetId]) -> Duration {
        self.now = self.now + FlapRule::DEFAULT.within;
        self.handle(Event::Tick);
        let seen = if self.up {
            Seen::Pass
        } else {
            Seen::Fail(FailReason::ConnectRefused)
        };
        self.up = !self.up;
        let generation = self.publisher.generation();
        let now = self.now + COALESCE / 2;
        let mut effects = Vec::new();
        let begun = Instant::now();
        for target in targets {
            let outcome = Outcome::new(now, seen);
            effects.extend(self.publisher.handle(
                ProbeEvent::Outcome {
                    generation,
                    target: *target,
                    outcome,
                },
                now,
            ));
        }
        effects.extend(self.handle(Event::Tick));
        let took = begun.elapsed();
        assert!(
            effects
                .iter()
                .any(|effect| matches!(effect, Effect::Publish(_))),
            "a change is published"
        );
        took
    }
}
