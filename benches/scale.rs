//! Cost of many services: `cargo bench --bench scale [-- SERVICES REGIONS]`, by default 10 000 in
//! 20 regions.
//!
//! Every service has two endpoints in every region, which it shares with all others, and each is
//! probed. The program prints one table: the start, a health change of one service, a region that
//! fails under all of them, a reload of the same files, and the resident memory.

#![allow(clippy::print_stdout, reason = "it is a program that prints a table")]

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meridian::allocator;
use meridian::dataset::{Dataset, Published};
use meridian::health::{FailReason, Outcome, Seen};
use meridian::loader::{self, Built};
use meridian::model::{Moment, TargetId};
use meridian::publisher::{Effect, Event, ProbeEvent, Publisher};

fn main() {
    allocator::map_large_vectors();
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let services = numbers.next().unwrap_or(10_000);
    let regions = numbers.next().unwrap_or(20);
    let directory = tempfile::tempdir().expect("a directory for the files");
    write_files(directory.path(), services, regions);
    let config = directory.path().join("meridian.toml");
    println!("{services} services in {regions} regions");

    let empty = resident();
    let (built, read) = timed(|| loader::build(&config));
    row("files read and compiled", read, 1);
    let (dataset, contents) = taken(built);
    let (publisher, plans) = timed(|| Publisher::new(dataset.clone()));
    row("first plans", plans, 1);
    let mut world = World {
        publisher,
        published: Published::new(Arc::new(snapshot_of(&dataset))),
        seconds: 0,
    };
    world.first_round(&dataset);
    allocator::give_back();
    println!(
        "{:<46} {:>9.1} MiB",
        "resident, of it the program alone",
        resident()
    );
    println!("{:<46} {:>9.1} MiB", "", empty);

    let own = [target(&dataset, "192.0.2.1")];
    row("one service's endpoint fails", world.fails(&own), 2);
    row("and passes again", world.passes(&own), 2);
    let region = [target(&dataset, "10.0.0.1"), target(&dataset, "10.0.0.2")];
    row("a region fails under all services", world.fails(&region), 2);
    row("and passes again", world.passes(&region), 2);

    let (built, read) = timed(|| loader::rebuild(&config, &contents, &dataset));
    let (again, _) = taken(built);
    for (new, old) in again.maps.iter().zip(&dataset.maps) {
        assert!(Arc::ptr_eq(new, old), "the maps did not change");
    }
    let reload = world.event(Event::Reload {
        dataset: again,
        first_round: Vec::new(),
    });
    row("a reload: files read and compiled", read, 1);
    row("a reload: health carried over and published", reload, 1);
}

/// Prints a row of the table, with this many digits after the point.
fn row(label: &str, time: Duration, digits: usize) {
    let millis = time.as_secs_f64() * 1000.0;
    println!("{label:<46} {millis:>9.digits$} ms");
}

/// The publisher and what it publishes; everything passes unless it is said to fail.
struct World {
    publisher: Publisher,
    published: Published,
    seconds: u64,
}

impl World {
    fn first_round(&mut self, dataset: &Dataset) {
        let all: Vec<TargetId> = (0..dataset.config.targets.len())
            .map(TargetId::from_index)
            .collect();
        self.passes(&all);
        self.event(ProbeEvent::FirstRoundEnded);
    }

    /// The longest that one event takes until `targets` are down, all of their failures together.
    fn fails(&mut self, targets: &[TargetId]) -> Duration {
        self.outcomes(targets, Seen::Fail(FailReason::ConnectRefused))
    }

    fn passes(&mut self, targets: &[TargetId]) -> Duration {
        self.outcomes(targets, Seen::Pass)
    }

    /// Rounds of outcomes until the thresholds are passed; the time of the slowest round.
    fn outcomes(&mut self, targets: &[TargetId], seen: Seen) -> Duration {
        let mut slowest = Duration::ZERO;
        for _ in 0..5 {
            self.seconds += 1;
            let now = Moment(Duration::from_secs(self.seconds));
            let generation = self.publisher.generation();
            let mut round = Duration::ZERO;
            for target in targets {
                let outcome = Outcome::new(now, seen);
                round += self.event(ProbeEvent::Outcome {
                    generation,
                    target: *target,
                    outcome,
                });
            }
            // The tick publishes what waits for its turn.
            self.seconds += 1;
            round += self.event(Event::Tick);
            slowest = slowest.max(round);
        }
        slowest
    }

    /// Time from the event until the new snapshot is stored.
    fn event(&mut self, event: impl Into<Event>) -> Duration {
        let now = Moment(Duration::from_secs(self.seconds));
        let start = Instant::now();
        for effect in self.publisher.handle(event, now) {
            if let Effect::Publish(snapshot) = effect {
                self.published.store(snapshot);
            }
        }
        start.elapsed()
    }
}

fn write_files(directory: &Path, services: usize, regions: usize) {
    let mut main = "[server]\nnode = \"bench\"\nlisten = [\"127.0.0.1:5300\"]\nzones = \"zones\"\n\
        [maps.default]\nby_distance = true\n[checks.web]\ntype = \"tcp\"\nport = 80\ninterval = \"1s\"\n"
        .to_owned();
    let mut zone = "zone = \"bench.example\"\nrecords = '''\n$TTL 60\n@ SOA ns1 h 1 3600 600 604800 30\n@ NS ns1\n\
        ns1 A 192.0.2.53\n'''\n"
        .to_owned();
    for region in 0..regions {
        let (latitude, longitude) = (
            region as f64 * 180.0 / regions as f64 - 90.0,
            region as f64 * 360.0 / regions as f64 - 180.0,
        );
        writeln!(
            main,
            "[regions.r{region}]\nlatitude = {latitude}\nlongitude = {longitude}"
        )
        .expect("a string takes all");
    }
    for service in 0..services {
        write!(zone, "[services.s{service}]\nroute = \"nearest\"\nchecks = [\"web\"]\n[services.s{service}.pools]\n")
            .expect("a string takes all");
        for region in 0..regions {
            let own = if service == 0 && region == 0 {
                ", \"192.0.2.1\""
            } else {
                ""
            };
            writeln!(
                zone,
                "r{region} = {{ endpoints = [\"10.{region}.0.1\", \"10.{region}.0.2\"{own}] }}"
            )
            .expect("a string takes all");
        }
    }
    std::fs::create_dir(directory.join("zones")).expect("an empty directory");
    std::fs::write(directory.join("zones/bench.toml"), zone).expect("room on the disk");
    std::fs::write(directory.join("meridian.toml"), main).expect("room on the disk");
}

fn taken(built: Built) -> (Arc<Dataset>, loader::Contents) {
    let Built {
        dataset,
        diagnostics,
        contents,
        ..
    } = built;
    (
        Arc::new(dataset.unwrap_or_else(|| panic!("{diagnostics:?}"))),
        contents,
    )
}

fn snapshot_of(dataset: &Arc<Dataset>) -> meridian::dataset::Snapshot {
    meridian::dataset::Snapshot::of(dataset.clone(), Vec::new())
}

fn target(dataset: &Dataset, address: &str) -> TargetId {
    let index = dataset
        .config
        .targets
        .iter()
        .position(|target| target.target.to_string() == address);
    TargetId::from_index(index.expect("one of the endpoints"))
}

fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let made = run();
    (made, start.elapsed())
}

/// MiB of memory that this process has.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("a line of resident memory");
    line.trim()
        .trim_end_matches(" kB")
        .parse::<f64>()
        .expect("a number")
        / 1024.0
}
