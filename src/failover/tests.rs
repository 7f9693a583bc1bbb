//! Bounds of small configurations.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::config::{self, Source, Unreadable};
use crate::diag::{Diagnostics, Sources};

/// Two files of text: `meridian.toml` and one zone.
struct Files<'t>(&'t str, &'t str);

impl Source for Files<'_> {
    fn text(&mut self, path: &Path) -> Result<Arc<str>, Unreadable> {
        let text = match path.ends_with("meridian.toml") {
            true => self.0,
            false => self.1,
        };
        Ok(text.into())
    }

    fn database(&mut self, _: &Path) -> Result<(), Unreadable> {
        Ok(())
    }

    fn zone_files(&mut self, directory: &Path) -> Result<Vec<PathBuf>, Unreadable> {
        Ok(vec![directory.join("z.toml")])
    }
}

fn load(checks: &str, services: &str) -> Config {
    let main = format!(
        "[server]\nnode = \"n\"\nsole = true\n[regions.a]\n[regions.b]\n[regions.c]\n{checks}"
    );
    let zone = format!(
        "zone = \"gtm.example\"\nrecords = '''\n@ 60 SOA ns1 h 1 3600 600 86400 60\n@ 60 NS ns1\n\
         ns1 60 A 192.0.2.53\n'''\n{services}"
    );
    let (mut sources, mut diagnostics) = (Sources::new(), Diagnostics::default());
    let config = config::load(
        &mut Files(&main, &zone),
        Path::new("meridian.toml"),
        &mut sources,
        &mut diagnostics,
    );
    let said: Vec<_> = diagnostics.iter().map(|one| &one.message).collect();
    config.unwrap_or_else(|| panic!("{said:?}"))
}

/// A service with these keys, and an endpoint in each of two regions.
fn service(keys: &str) -> String {
    format!(
        "[services.www]\n{keys}\n[services.www.pools]\na = {{ endpoints = [\"192.0.2.1\"] }}\nb = \
         {{ endpoints = [\"192.0.2.2\"] }}\n"
    )
}

fn failover(checks: &str, services: &str) -> Failover {
    let config = load(checks, services);
    Failover::of(&config, &config.services[0])
}

/// First failure, detection and bound in milliseconds, and the deciding part.
fn numbers(checks: &str, services: &str) -> (u128, u128, u128, Part) {
    match failover(checks, services) {
        Failover::Within(bound) => (
            bound.first_failure.as_millis(),
            bound.detection.as_millis(),
            bound.within.as_millis(),
            bound.decides,
        ),
        Failover::Never(never) => panic!("{never:?}"),
    }
}

const WEB: &str = "[checks.web]\ntype = \"http\"\n";

/// A check `web` with these keys.
fn web(keys: &str) -> String {
    format!("{WEB}{keys}\n")
}

fn weighted(keys: &str) -> String {
    service(&format!("route = \"weighted\"\nchecks = [\"web\"]\n{keys}"))
}

#[test]
fn the_defaults_give_23_seconds() {
    assert_eq!(numbers(WEB, &weighted("")), (3000, 6000, 23_000, Part::Ttl));
    assert_eq!(
        failover(WEB, &weighted("")).to_string(),
        "a client leaves a dead region within 23s (the TTL decides)"
    );
}

#[test]
fn the_largest_part_of_a_slow_detection_decides() {
    let short = weighted("ttl = 5\nttl_min = 5");
    for (keys, expected) in [
        ("", (3000, 6000, 11_000, Part::Timeout)),
        ("timeout = \"200ms\"", (2200, 3600, 8600, Part::Interval)),
        ("recheck = \"2s\"", (3000, 7000, 12_000, Part::Interval)),
        (
            "interval = \"4s\"\nrecheck = \"3s\"\ntimeout = \"100ms\"",
            (4100, 10_300, 15_300, Part::Recheck),
        ),
        // Probes at the interval are sooner where a probe takes nearly as long.
        ("timeout = \"1900ms\"", (3900, 7900, 12_900, Part::Interval)),
        ("fall = 1", (3000, 3000, 8000, Part::Ttl)),
        ("fall_refused = 1", (3000, 6000, 11_000, Part::Timeout)),
    ] {
        assert_eq!(numbers(&web(keys), &short), expected, "{keys}");
    }
}

#[test]
fn silence_counts_once_every_expires() {
    for (keys, expected) in [
        ("", (30_000, 30_000, 50_000, Part::Ttl)),
        (
            "expires = \"10s\"\nfall = 4",
            (10_000, 40_000, 45_000, Part::Expires),
        ),
    ] {
        let push = format!("[checks.web]\ntype = \"push\"\n{keys}\n");
        assert_eq!(numbers(&push, &weighted("")), expected, "{keys}");
    }
}

const TWO: &str = "[checks.web]\ntype = \"http\"\n[checks.slow]\ntype = \"http\"\ninterval = \
                   \"10s\"\ntimeout = \"500ms\"\nrecheck = \"10s\"\n";

#[test]
fn the_fastest_of_all_checks_decides_and_the_slowest_of_any() {
    let both = |need| {
        service(&format!(
            "route = \"weighted\"\nchecks = [\"web\", \"slow\"]\nchecks_need = \"{need}\""
        ))
    };
    assert_eq!(numbers(TWO, &both("all")), (3000, 6000, 23_000, Part::Ttl));
    assert_eq!(
        numbers(TWO, &both("any")),
        (10_500, 30_500, 35_500, Part::Interval)
    );
}

#[test]
fn the_slowest_endpoint_of_the_slowest_region_decides() {
    let zone = "[services.www]\nroute = \"weighted\"\nchecks = [\"web\"]\n[services.www.pools]\n\
                a = { endpoints = [\"192.0.2.1\"] }\n\
                b = { endpoints = [\"192.0.2.2\", { address = \"192.0.2.3\", checks = [\"slow\"] }] }\n";
    assert_eq!(numbers(TWO, zone), (10_500, 30_500, 35_500, Part::Interval));
    let zone = zone.replace("checks = [\"slow\"]", "checks = []");
    let never = Never::Unchecked(RegionId(1), Target::Address([192, 0, 2, 3].into()));
    assert_eq!(failover(TWO, &zone), Failover::Never(never));
}

#[test]
fn one_region_has_no_other_unless_there_is_a_fallback() {
    let alone = |keys| {
        format!(
            "[services.www]\nroute = \"weighted\"\nchecks = [\"web\"]\n{keys}\n\
             [services.www.pools]\na = {{ endpoints = [\"192.0.2.1\"] }}\n"
        )
    };
    let one = failover(WEB, &alone(""));
    assert_eq!(one, Failover::Never(Never::NoOtherRegion));
    assert_eq!(one.json()["decides"], "no_other_region");
    let fallback = alone("fallback = [\"203.0.113.1\"]");
    assert_eq!(numbers(WEB, &fallback).2, 23_000);
}

#[test]
fn a_unit_moves_by_an_operator_or_after_its_fence() {
    let units = |keys| {
        service(&format!(
            "route = \"unit\"\nunits = 3\nowners = {{ \"0-2\" = \"a\" }}\nchecks = \
             [\"web\"]\ngrace = \"5s\"\n{keys}"
        ))
    };
    assert_eq!(failover(WEB, &units("")), Failover::Never(Never::Operator));
    let auto = units("takeover = \"auto\"");
    assert_eq!(
        numbers(WEB, &auto),
        (3000, 6000, 6000 + 25_000 + 5000, Part::Fence)
    );
    let short = units("takeover = \"auto\"\nttl = 0\nttl_min = 0").replace("5s", "2s");
    assert_eq!(numbers(WEB, &short).3, Part::Timeout);
    let config = load(WEB, &auto);
    assert_eq!(config.services.len(), 3);
    assert_eq!(failovers(&config).count(), 1, "units of one service");
}

#[test]
fn times_are_rounded_up_to_tenths() {
    let ms = Duration::from_millis;
    for (time, rounded) in [(0, 0), (1, 100), (100, 100), (101, 200), (23_050, 23_100)] {
        assert_eq!(round_up(ms(time)), ms(rounded), "{time}");
    }
    let odd = web("timeout = \"333ms\"");
    let json = failover(&odd, &weighted("")).json();
    assert_eq!(json["seconds"], 22.4);
    assert_eq!(json["first_failure"], 2.4);
    assert_eq!(json["decides"], "ttl");
}

#[test]
fn the_summary_names_the_slowest_bound() {
    let text = |zone: &str| summary(&load(TWO, zone));
    let within = "a client leaves a dead region within 23s";
    assert_eq!(text(&weighted("")).as_deref(), Some(within));
    let unchecked = service("route = \"weighted\"");
    assert_eq!(text(&unchecked), None);
    let both = format!("{}{}", weighted(""), unchecked.replace("www", "db"));
    let expected = format!("{within} (1 service has no bound)");
    assert_eq!(text(&both), Some(expected));
}
