//! `meridian drill` on a real server: checked before, ended by itself, aborted when a survivor is
//! killed, and reported.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Done, Meridian, Site, Toy, dig, get, wait_for};

/// The first regions that a client near Dublin is sent to.
const DUBLIN: &str = "192.0.2.10";
const ASHBURN: &str = "192.0.2.20";

#[track_caller]
fn done(what: Done) -> String {
    assert_eq!(
        (what.code, what.stderr.as_str()),
        (Some(0), ""),
        "{}",
        what.stdout
    );
    what.stdout
}

fn www(site: &Site) -> String {
    let question = ["www.gtm.example", "+subnet=203.0.113.0/24", "+short"];
    dig(site.net.dns(), &question).trim().to_owned()
}

fn report(site: &Site) -> Value {
    let text = done(site.run(&["drill", "report", "--json"]));
    serde_json::from_str(&text).unwrap()
}

/// Waits for the end of the last drill; its report.
#[track_caller]
fn ended(site: &Site) -> Value {
    wait_for("the drill ends", || {
        let report = report(site);
        (report["verdict"] != "running").then_some(report)
    })
}

fn start(site: &Site, lasts: &str) -> Done {
    site.run(&[
        "drill", "start", "dublin", "--for", lasts, "--reason", "INC-9", "--by", "anna",
    ])
}

fn with_app() -> (Site, Meridian, Vec<Toy>) {
    let site = Site::with_app();
    let toys = Vec::from(Toy::regions(site.net));
    let server = site.start();
    (site, server, toys)
}

#[test]
fn a_drill_ends_by_itself_and_its_report_outlives_the_process() {
    let site = Site::new();
    let mut server = site.start();
    assert_eq!(
        done(site.run(&["drill", "list"])),
        "no drills yet, and none to come\n"
    );
    let said = done(start(&site, "2s"));
    assert!(
        said.starts_with("drill 1: running of region dublin\n"),
        "{said}"
    );
    assert_eq!(www(&site), ASHBURN);
    let list = done(site.run(&["overrides", "--json"]));
    assert!(list.contains("INC-9"), "{list}");
    let again = start(&site, "2s");
    assert_eq!(again.code, Some(1));
    assert!(
        again.stderr.contains("drill 1 is running: one at a time"),
        "{}",
        again.stderr
    );
    let ended = ended(&site);
    assert_eq!(ended["verdict"], "completed", "{ended}");
    assert_eq!(ended["lasted_seconds"], 2.0);
    assert_eq!(ended["names"][0]["name"], "www.gtm.example.");
    assert_eq!(www(&site), DUBLIN);
    server.has_said("drill 1 of region dublin by anna@test-node is completed: nothing degraded");
    let (_, metrics) = get(site.net.admin(), "/metrics");
    assert!(
        metrics.contains("meridian_drills_total{verdict=\"completed\"} 1"),
        "{metrics}"
    );
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    let server = site.start();
    assert_eq!(report(&site)["verdict"], "completed");
    assert!(done(site.run(&["drill", "list"])).starts_with("1  region dublin completed at "));
    server.stop();
}

#[test]
fn a_survivor_that_is_killed_aborts_a_drill_at_once() {
    let (site, mut server, mut toys) = with_app();
    done(start(&site, "1h"));
    assert_eq!(www(&site), ASHBURN);
    // Ashburn's; the last is Tokyo's.
    let _back = toys.remove(1).kill();
    server.says("drill 1 of region dublin by anna@test-node is aborted: endpoint ");
    let ended = ended(&site);
    assert_eq!(ended["verdict"], "aborted", "{ended}");
    assert!(ended["broke_count"].as_u64().unwrap() >= 1, "{ended}");
    assert_eq!(www(&site), DUBLIN, "it is back");
    assert_eq!(done(site.run(&["overrides"])), "no overrides\n");
    // Now Ashburn is down, and Tokyo can take its clients over: but the node says who is left.
    let report = done(site.run(&["drill", "report", "1"]));
    assert!(report.contains("\n  because endpoint "), "{report}");
    server.stop();
}

#[test]
fn what_cannot_take_the_clients_over_refuses_a_drill() {
    let site = Site::new();
    site.edit(
        "meridian.toml",
        "[regions.ashburn]",
        "[regions.ashburn]\ncapacity = 10",
    );
    let server = site.start();
    let refused = start(&site, "1h");
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    assert!(
        refused
            .stderr
            .contains("drill 1 is refused: ashburn would reach "),
        "{}",
        refused.stderr
    );
    assert_eq!(www(&site), DUBLIN);
    assert_eq!(report(&site)["verdict"], "refused");
    for (arguments, said) in [
        (
            &["start", "dubln", "--for", "1h"][..],
            "did you mean dublin?",
        ),
        (
            &["start", "dublin", "--for", "0s"],
            "a drill lasts from 1 s to 24 h",
        ),
        (
            &["start", "dublin", "--for", "1h", "--reason", "a\u{1b}b"],
            "write one line of plain text",
        ),
        (&["stop"], "no drill is running"),
        (&["report", "7"], "there is no report of a drill 7"),
    ] {
        let what = site.run(&[&["drill"], arguments].concat());
        assert_eq!(what.code, Some(1), "{said}: {}", what.stdout);
        assert!(what.stderr.contains(said), "{said}: {}", what.stderr);
    }
    server.stop();
}

#[test]
fn a_drill_whose_server_is_killed_is_ended_by_the_next() {
    let site = Site::new();
    let server = site.start();
    done(start(&site, "1h"));
    assert_eq!(www(&site), ASHBURN);
    server.process.signal(Signal::SIGKILL);
    server.process.end();
    let mut server = site.start();
    server.has_said(
        "drill 1 of region dublin by anna@test-node is aborted: the server ended meanwhile",
    );
    wait_for("its drain is released", || {
        (www(&site) == DUBLIN).then_some(())
    });
    assert_eq!(ended(&site)["verdict"], "aborted");
    assert_eq!(done(site.run(&["overrides"])), "no overrides\n");
    server.stop();
}

#[test]
fn an_operator_ends_a_drill() {
    let site = Site::new();
    let server = site.start();
    done(start(&site, "1h"));
    done(site.run(&["drill", "stop", "--by", "ben"]));
    let ended = ended(&site);
    assert_eq!(
        (&ended["verdict"], &ended["why"][0]),
        (&"stopped".into(), &"ben@test-node stopped it".into())
    );
    assert_eq!(www(&site), DUBLIN);
    server.stop();
}
