//! The load generator of `benches/` against the real server: every answer to tens of thousands of random
//! questions is checked, and by location against the networks that the database was made of.

#[path = "../../benches/data/mod.rs"]
mod data;
#[path = "../../benches/load/generator/mod.rs"]
mod generator;

use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;
use data::files::{Sizes, world, write};
use generator::report::Report;
use generator::{Check, Pool, Settings, Workload};

use crate::support::{Meridian, Site, run};

const NETWORKS: usize = 8000;
const NAMES: usize = 2000;
/// Of each kind.
const QUESTIONS: u64 = 5000;

/// A server for the generated world, in `zones` of it.
fn start(zones: &str) -> Meridian {
    let site = Site::new();
    write(
        &site.path("data"),
        &Sizes {
            networks: NETWORKS,
            large: 0,
            names: NAMES,
        },
    )
    .unwrap();
    let path = |name: &str| site.path(name).display().to_string();
    let done = run(
        site.directory(),
        &[
            "geoip",
            "build",
            &path("data/locations.csv"),
            &path("city.mmdb"),
        ],
    );
    assert_eq!(done.code, Some(0), "{done:?}");
    let server = format!(
        "[server]\nnode = \"load\"\nlisten = [\"NET.1:5300\"]\nzones = \"data/{zones}\"\nstate = \"state\"\n"
    );
    site.write(
        "meridian.toml",
        &[&server, "[geo]\ncity = \"city.mmdb\"\n", &world()].concat(),
    );
    site.start()
}

fn settings(target: SocketAddr, server: &Meridian) -> Settings {
    Settings {
        target,
        own_target: false,
        sockets: 2,
        window: 64,
        rate: None,
        warm_up: Duration::ZERO,
        // Patience on a busy machine; what ends a run is the number of questions.
        duration: Duration::from_secs(50),
        questions: QUESTIONS,
        patience: Duration::from_secs(20),
        check: Check::Full,
        server: Some(server.process.id()),
    }
}

fn ask(server: &Meridian, workload: Workload) -> Report {
    let pool = Pool::new(workload, QUESTIONS as usize, NETWORKS, NAMES, 0x6d65);
    generator::run(&settings(server.net.dns(), server), &pool).unwrap()
}

#[track_caller]
fn assert_all_right(report: &Report, workload: Workload) {
    let counts = report.json();
    assert_eq!(
        (report.wrong(), report.lost, report.stray),
        (0, 0, 0),
        "{workload:?}: {:02x?} {counts}",
        report.first_wrong
    );
    assert!(
        report.sent >= QUESTIONS && report.sent == report.answered + report.late,
        "{workload:?}: {counts}"
    );
}

#[test]
fn every_answer_under_load_is_right() {
    let server = start("zones");
    for workload in Workload::value_variants()
        .iter()
        .filter(|workload| **workload != Workload::Million)
    {
        let report = ask(&server, *workload);
        assert_all_right(&report, *workload);
        let cpu = report.server.expect("the server's process is known").0;
        assert!(cpu > 0.0, "it used CPU time");
    }
    let server = start("million");
    assert_all_right(&ask(&server, Workload::Million), Workload::Million);
}

#[test]
fn questions_at_a_fixed_rate_are_all_asked_and_their_latency_is_known() {
    let server = start("zones");
    let pool = Pool::new(Workload::Mix, 1000, NETWORKS, NAMES, 1);
    let settings = Settings {
        rate: Some(2000.0),
        questions: 1000,
        ..settings(server.net.dns(), &server)
    };
    let report = generator::run(&settings, &pool).unwrap();
    assert_eq!((report.wrong(), report.lost), (0, 0), "{}", report.json());
    // The schedule takes half a second, however fast the answers come, and more where the machine holds the generator up.
    assert!(
        report.elapsed >= Duration::from_millis(499),
        "{:?}",
        report.elapsed
    );
    assert!(report.held > 0 || report.latency.quantile(0.5).is_some());
}

/// The check is no formality: a server that has another map is caught.
#[test]
fn answers_from_another_map_are_found_to_be_wrong() {
    let server = start("zones");
    let pool = Pool::new(Workload::GeoEcs, 1000, NETWORKS * 2, NAMES, 1);
    let report = generator::run(
        &Settings {
            questions: 1000,
            ..settings(server.net.dns(), &server)
        },
        &pool,
    )
    .unwrap();
    assert_eq!(report.lost, 0);
    assert!(report.wrong() > 500, "{}", report.json());
}

#[test]
fn the_generator_refuses_targets_that_are_not_on_this_machine() {
    let server = start("zones");
    let pool = Pool::new(Workload::Static, 1, 0, 0, 1);
    let settings = Settings {
        questions: 1,
        ..settings("192.0.2.1:53".parse().unwrap(), &server)
    };
    let refusal = generator::run(&settings, &pool)
        .err()
        .expect("it is refused");
    assert!(
        refusal.to_string().contains("not a loopback address"),
        "{refusal}"
    );
}
