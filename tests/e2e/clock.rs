//! A wall clock that is set while the real server runs: by `libfaketime`, from a file that changes.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Meridian, Site, Toy, dig, get, wait_for};

/// Where Debian has it, for the machine that the tests run on.
fn library() -> String {
    let found = fs::read_dir("/usr/lib")
        .unwrap()
        .flatten()
        .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    let found = found
        .chain([Path::new("/usr/lib/faketime/libfaketimeMT.so.1").to_owned()])
        .find(|path| path.exists());
    found
        .expect("libfaketime (tests/run installs it)")
        .display()
        .to_string()
}

/// The wall clock is off by `offset`, from the next look on.
fn set_clock(site: &Site, offset: &str) {
    site.write("clock", offset);
}

fn start(site: &Site) -> Meridian {
    let mut serve = site.serve();
    serve
        .env("LD_PRELOAD", library())
        .env("FAKETIME_TIMESTAMP_FILE", site.path("clock"));
    // A step of the wall clock is one of that clock alone.
    serve
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    site.start_as(&mut serve)
}

/// How far `time`, in RFC 3339, is from now.
fn off(time: &Value) -> Duration {
    let time = humantime::parse_rfc3339(time.as_str().expect("a time")).expect("RFC 3339");
    let now = SystemTime::now();
    now.duration_since(time)
        .or_else(|_| time.duration_since(now))
        .unwrap()
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn answer(site: &Site) -> String {
    dig(
        site.net.dns(),
        &["www.gtm.example", "+subnet=203.0.113.0/24", "+short"],
    )
    .trim()
    .to_owned()
}

fn overrides(site: &Site) -> Value {
    serde_json::from_str(&site.run(&["overrides", "--json"]).stdout).expect("JSON")
}

/// Ends in two hours from now, give or take how slow this machine is.
#[track_caller]
fn ends_in_two_hours(until: &Value) {
    let off = off(until);
    assert!(
        off > 2 * HOUR - 2 * MINUTE && off < 2 * HOUR + MINUTE,
        "{until}"
    );
}

#[test]
fn a_drain_outlives_a_step_of_the_wall_clock_and_a_restart_with_its_right_end() {
    let site = Site::with_app();
    let _toys = Toy::regions(site.net);
    // A machine without a battery for its clock, before NTP has set it.
    set_clock(&site, "-10d");
    let mut server = start(&site);
    assert!(
        site.run(&["drain", "dublin", "--for", "2h", "--reason", "x"])
            .stdout
            .starts_with("override 1: ")
    );
    assert!(
        off(&overrides(&site)[0]["until"]) > 9 * 24 * HOUR,
        "the wall clock is what it is"
    );
    set_clock(&site, "+0");
    server.says("wall clock set ahead by 10days");

    // What is shown follows at once: of health, of the override, and of its reason in class CH.
    let health: Value = serde_json::from_str(&get(site.net.admin(), "/health").1).expect("JSON");
    for target in health["targets"].as_array().expect("targets") {
        assert!(off(&target["last"]["at"]) < MINUTE, "{target}");
    }
    ends_in_two_hours(&health["overrides"][0]["until"]);
    ends_in_two_hours(&overrides(&site)[0]["until"]);
    // So does what is kept, for the next start; the drain was made before the step and has the time it had left.
    let kept = wait_for("the overrides are written anew", || {
        let kept: Value =
            serde_json::from_slice(&fs::read(site.path("state/overrides.json")).ok()?).ok()?;
        (off(&kept["overrides"][0]["until"]) < 24 * HOUR).then_some(kept)
    });
    ends_in_two_hours(&kept["overrides"][0]["until"]);

    // One that is made after the step is dated by the new clock.
    assert!(
        site.run(&["drain", "tokyo", "--for", "2h", "--reason", "y"])
            .stdout
            .starts_with("override 2: ")
    );
    server.process.signal(Signal::SIGKILL);
    server.process.end();
    let server = start(&site);
    assert_eq!(answer(&site), "192.0.2.20", "Dublin is drained");
    let listed = overrides(&site);
    ends_in_two_hours(&listed[0]["until"]);
    ends_in_two_hours(&listed[1]["until"]);
    server.stop();

    // A start after its end leaves it out, and says so.
    set_clock(&site, "+1d");
    let mut server = start(&site);
    server.has_said("override 1 ended while no server was running: drain of region dublin");
    assert_eq!(answer(&site), "192.0.2.10");
    server.stop();
}
