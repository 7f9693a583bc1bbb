//! `verify`, `why` and `geoip build`.

use std::io::Read;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{APP, Site, command, run};

const ZONE_FILE: &str = "zones/gtm.example.toml";

const TESTS: &str = r#"
[[tests]]
client = "203.0.113.0/24"
name   = "www"
expect = "dublin"

[[tests]]
client = "203.0.113.0/24"
name   = "www"
down   = ["dublin"]
expect = "ashburn"
"#;

#[test]
fn verify_runs_the_tests_of_a_good_zone() {
    let site = Site::new();
    site.write(ZONE_FILE, &[crate::support::ZONE, TESTS].concat());
    let done = site.run(&["verify"]);
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{done:?}");
    assert!(
        done.stdout
            .contains("meridian.toml is good; 2 routing tests passed"),
        "{done:?}"
    );
    let json: Value = serde_json::from_str(&site.run(&["verify", "--json"]).stdout).unwrap();
    let mut expected = serde_json::json!({
        "errors": 0, "warnings": 0, "diagnostics": [], "tests": 2, "unseen": null
    });
    expected["failover"] = json["failover"].clone();
    assert_eq!(json, expected);
    let services = json["failover"].as_array().unwrap();
    assert!(!services.is_empty());
    for service in services {
        let name = service["service"].as_str().unwrap();
        assert!(name.ends_with(".gtm.example."), "{service}");
        let text = name.trim_end_matches('.');
        assert!(done.stdout.contains(text), "{text}: {}", done.stdout);
    }
}

#[test]
fn verify_fails_a_zone_whose_test_fails() {
    let site = Site::new();
    site.write(
        ZONE_FILE,
        &[
            crate::support::ZONE,
            &TESTS.replace("expect = \"ashburn\"", "expect = \"tokyo\""),
        ]
        .concat(),
    );
    let done = site.run(&["verify"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(
        done.stdout.contains("tokyo")
            && done.stdout.contains("ashburn")
            && done.stdout.contains("1 error, 0 warnings"),
        "{done:?}"
    );
}

#[test]
fn verify_fails_a_service_that_is_slower_than_its_test_expects() {
    let site = Site::new();
    let with = |within: &str| {
        let test = format!("\n[[tests]]\nname = \"app\"\nexpect_failover = \"{within}\"\n");
        site.write(ZONE_FILE, &[crate::support::ZONE, APP, &test].concat());
        site.run(&["verify"])
    };
    let done = with("1h");
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.contains("1 routing test passed"), "{done:?}");
    let done = with("1s");
    assert_eq!(done.code, Some(1), "{done:?}");
    let line = crate::support::ZONE.lines().count() + APP.lines().count() + 4;
    let place = format!("{ZONE_FILE}:{line}:19: error[test-failed]: tests: expected that a client");
    assert!(done.stdout.contains(&place), "{place}: {}", done.stdout);
}

#[test]
fn verify_shows_every_fault_where_it_stands() {
    let site = Site::new();
    site.edit(
        "meridian.toml",
        "rest        = [\"dublin\"",
        "rest        = [\"dubln\"",
    );
    site.edit(
        ZONE_FILE,
        "route = \"nearest\"",
        "route = \"nearest\"\nansers = 2",
    );
    let done = site.run(&["verify"]);
    assert_eq!(done.code, Some(1));
    for expected in [
        "meridian.toml:15:",
        "\"dubln\"",
        "dublin",
        "gtm.example.toml:",
        "ansers",
        "answers",
        "│",
        "2 errors, 0 warnings",
    ] {
        assert!(
            done.stdout.contains(expected),
            "{expected}: {}",
            done.stdout
        );
    }
    assert!(
        !done.stdout.contains('\x1b'),
        "no colour without a terminal"
    );

    let done = site.run(&["verify", "--json"]);
    assert_eq!(done.code, Some(1));
    let json: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(json["errors"], 2);
    for diagnostic in json["diagnostics"].as_array().unwrap() {
        let keys: Vec<_> = diagnostic
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            keys,
            [
                "severity", "rule", "file", "line", "column", "key", "message", "hint"
            ]
        );
        assert!(diagnostic["line"].as_u64().unwrap() > 0);
    }
    assert_eq!(
        site.run(&["why", "www.gtm.example", "--client", "203.0.113.1"])
            .code,
        Some(1)
    );
}

#[test]
fn why_json_keeps_its_contract() {
    let site = Site::new();
    let done = site.run(&[
        "why",
        "www.gtm.example",
        "--client",
        "203.0.113.0/24",
        "--down",
        "dublin",
        "--json",
    ]);
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
    let why: Value = serde_json::from_str(&done.stdout).unwrap();
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let contract = [
        "name",
        "type",
        "client",
        "located_by",
        "location",
        "order",
        "scope",
        "region",
        "answers",
        "ttl",
        "rcode",
        "steps",
        "failover",
    ];
    assert_eq!(keys(&why), contract);
    assert_eq!(
        keys(&why["location"]),
        [
            "continent",
            "country",
            "subdivision",
            "latitude",
            "longitude",
            "asn"
        ]
    );
    for step in why["steps"].as_array().unwrap() {
        assert_eq!(keys(step), ["region", "verdict", "detail"]);
    }
    assert_eq!(why["name"], "www.gtm.example.");
    assert_eq!(
        (&why["type"], &why["client"]),
        (&"A".into(), &"203.0.113.0/24".into())
    );
    assert_eq!(
        (&why["located_by"], &why["location"]["country"]),
        (&"distance".into(), &"IE".into())
    );
    assert_eq!(
        why["order"],
        serde_json::json!(["dublin", "ashburn", "tokyo"])
    );
    assert_eq!(
        (&why["region"], &why["answers"]),
        (&"ashburn".into(), &serde_json::json!(["192.0.2.20"]))
    );
    assert_eq!(
        (&why["ttl"], &why["rcode"]),
        (&20.into(), &"NOERROR".into())
    );
    assert_eq!(
        (&why["steps"][0]["region"], &why["steps"][1]["verdict"]),
        (&"dublin".into(), &"taken".into())
    );
}

#[test]
fn why_explains_to_people() {
    let site = Site::new();
    let why = |arguments: &[&str]| site.run(&[&["why"], arguments].concat());
    let text = why(&["www.gtm.example", "AAAA", "--client", "10.1.2.3"]);
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(
        text.stdout.starts_with(
            "www.gtm.example. AAAA for 10.1.2.3/32: NOERROR 2001:db8::30 from tokyo, TTL 20\n"
        ),
        "{text:?}"
    );
    assert!(text.stdout.contains("located by network"), "{text:?}");
    assert!(
        why(&["text.gtm.example", "TXT", "--client", "10.1.2.3"])
            .stdout
            .contains("NOERROR")
    );
    assert!(
        why(&["nothing.gtm.example", "--client", "10.1.2.3"])
            .stdout
            .contains("NXDOMAIN")
    );
    assert!(
        why(&["www.elsewhere.example", "--client", "10.1.2.3"])
            .stdout
            .contains("REFUSED")
    );
    let unknown = why(&["www.gtm.example", "--client", "10.1.2.3", "--down", "dubln"]);
    assert_eq!(unknown.code, Some(1));
    assert!(
        unknown
            .stderr
            .contains("there is no region, metro, label or endpoint dubln; did you mean dublin?"),
        "{unknown:?}"
    );
    let drained = why(&[
        "www.gtm.example",
        "--client",
        "203.0.113.5",
        "--drained",
        "dublin",
    ]);
    assert!(
        drained.stdout.contains("NOERROR 192.0.2.20 from ashburn"),
        "{drained:?}"
    );
    assert!(
        drained
            .stdout
            .contains("dublin: drained, 2 of 2 endpoints up, weight 1"),
        "{drained:?}"
    );
    let endpoint = why(&[
        "www.gtm.example",
        "--client",
        "10.1.2.3",
        "--drained",
        "192.0.2.10",
    ]);
    assert!(
        endpoint.code == Some(1) && endpoint.stderr.contains("not endpoints"),
        "{endpoint:?}"
    );
    let bad = why(&["www..example", "--client", "10.1.2.3"]);
    assert_eq!(bad.code, Some(1));
    assert!(bad.stderr.contains("www..example"), "{bad:?}");
}

#[test]
fn geoip_build_makes_a_database_of_an_address_plan() {
    let site = Site::new();
    site.write(
        "plan.csv",
        "network,continent,country,subdivision,city,latitude,longitude,asn\n10.0.0.0/8,NA,US,US-VA,Ashburn,39.04,-77.49,\n",
    );
    let built = run(
        site.directory(),
        &["geoip", "build", "plan.csv", "plan.mmdb"],
    );
    assert_eq!(built.code, Some(0), "{built:?}");
    site.edit(
        "meridian.toml",
        "[maps.default]",
        "[geo]\ncity = \"plan.mmdb\"\n[maps.default]",
    );
    let done = site.run(&[
        "why",
        "www.gtm.example",
        "--client",
        "10.9.8.0/24",
        "--json",
    ]);
    let why: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(
        (&why["region"], &why["location"]["subdivision"]),
        (&"ashburn".into(), &"US-VA".into()),
        "{why}"
    );
    assert_eq!(why["located_by"], "distance");

    site.write(
        "plan.csv",
        "network,latitude,longitude\n10.0.0.0/8,north,1\n10.0.0.0/99,1,1\n",
    );
    let refused = run(
        site.directory(),
        &["geoip", "build", "plan.csv", "plan.mmdb"],
    );
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("plan.csv:2:") && refused.stderr.contains("plan.csv:3:"),
        "{refused:?}"
    );
    assert_eq!(
        site.run(&["verify"]).code,
        Some(0),
        "the database of before is still there"
    );
}

#[test]
fn a_pipe_that_is_closed_early_is_no_panic() {
    let site = Site::new();
    // More text than a pipe holds.
    let tests: String = (0..3000)
        .map(|_| "[[tests]]\nclient = \"203.0.113.0/24\"\nname = \"www\"\nexpect = \"tokyo\"\n")
        .collect();
    site.write(ZONE_FILE, &[crate::support::ZONE, &tests].concat());
    let config = site.path("meridian.toml").display().to_string();
    let mut verify = command(env!("CARGO_BIN_EXE_meridian"));
    verify
        .args(["verify", "--json", "--config", &config])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = verify.spawn().unwrap();
    let mut first = [0; 16];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(!said.contains("panicked"), "{said}");
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

/// What `meridian` prints of a bad zone on a terminal with this environment.
fn on_a_terminal(site: &Site, environment: &[(&str, &str)]) -> String {
    let mut script = command("script");
    let config = site.path("meridian.toml").display().to_string();
    script.args([
        "-qec",
        &format!(
            "{} verify --config {config}",
            env!("CARGO_BIN_EXE_meridian")
        ),
        "/dev/null",
    ]);
    script
        .env_remove("NO_COLOR")
        .env("TERM", "xterm")
        .envs(environment.iter().copied())
        .stdin(Stdio::null());
    String::from_utf8(script.output().unwrap().stdout).unwrap()
}

#[test]
fn a_terminal_without_colour_gets_none() {
    let site = Site::new();
    site.edit(
        ZONE_FILE,
        "route = \"nearest\"",
        "route = \"nearest\"\nansers = 2",
    );
    assert!(
        on_a_terminal(&site, &[]).contains('\x1b'),
        "with colour by default"
    );
    assert!(
        on_a_terminal(&site, &[("NO_COLOR", "")]).contains('\x1b'),
        "an empty NO_COLOR is none"
    );
    for plain in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let text = on_a_terminal(&site, &[plain]);
        assert!(
            text.contains("answers") && !text.contains('\x1b'),
            "{plain:?}: {text}"
        );
    }
}

#[test]
fn a_missing_configuration_names_every_place_that_was_tried() {
    let site = Site::new();
    std::fs::create_dir(site.path("empty")).unwrap();
    let there = "neither ./meridian.toml nor /etc/meridian/meridian.toml exists; name one with --config FILE";
    for (command, code) in [
        (&["verify"][..], 1),
        (&["serve"], 1),
        (&["why", "a.example", "--client", "::1"], 1),
        (&["resume", "a.example"], 1),
        (&["probe", "web", "::1"], 2),
        (&["drain", "a", "--for", "1h", "--reason", "x"], 1),
        (&["unit", "list"], 1),
    ] {
        let done = run(&site.path("empty"), command);
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (Some(code), ""),
            "{done:?}"
        );
        assert!(
            done.stderr.starts_with(&format!("meridian {}", command[0]))
                && done.stderr.contains(there),
            "{done:?}"
        );
    }
}

#[test]
fn a_log_filter_that_says_nothing_is_refused() {
    let site = Site::new();
    let done = crate::support::Done::from(
        site.serve()
            .env("MERIDIAN_LOG", "nonsense")
            .output()
            .unwrap(),
    );
    assert_eq!((done.code, done.stdout.as_str()), (Some(2), ""), "{done:?}");
    assert!(
        done.stderr
            .starts_with("meridian serve: MERIDIAN_LOG: \"nonsense\" is neither a level"),
        "{done:?}"
    );
}

/// A gate that can judge nothing has not failed: a pipeline is to stop and say so.
#[test]
fn a_gate_that_can_judge_nothing_is_wrong_usage() {
    let site = Site::new();
    for (wrong, said) in [
        (
            &["simulate", "--fail-if", "over-capacity"][..],
            "--fail-if over-capacity: no region has a `capacity`",
        ),
        (&["simulate", "--loss", "dubln"], "did you mean dublin?"),
        (
            &["simulate", "--service", "ww.gtm.example"],
            "there is no service ww.gtm.example.",
        ),
    ] {
        let done = site.run(wrong);
        assert_eq!((done.code, done.stdout.as_str()), (Some(2), ""), "{done:?}");
        assert!(
            done.stderr.starts_with("meridian simulate: ") && done.stderr.contains(said),
            "{done:?}"
        );
    }
    let judged = site.run(&["simulate", "--fail-if", "empty", "--single"]);
    assert_eq!(
        judged.code,
        Some(1),
        "clients that only tokyo may serve lose it: {judged:?}"
    );
}

/// A plan that takes longer than a second to read, since another program writes it.
#[test]
fn what_takes_long_says_so_on_a_terminal_and_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    let script = format!(
        "mkfifo plan.csv && ( ( sleep 2; cat '{}/geoip/world.csv' ) > plan.csv & ) && \
         {} geoip build plan.csv plan.mmdb",
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_meridian"),
    );
    let run = |program: &str, arguments: &[&str]| -> crate::support::Done {
        let _ = std::fs::remove_file(directory.path().join("plan.csv"));
        let mut shell = command(program);
        shell.args(arguments).current_dir(directory.path());
        shell.env("TERM", "xterm").stdin(Stdio::null());
        shell.output().unwrap().into()
    };
    let piped = run("sh", &["-c", &script]);
    assert_eq!((piped.code, piped.stderr.as_str()), (Some(0), ""));
    assert!(piped.stdout.starts_with("plan.mmdb: "), "{}", piped.stdout);
    assert_eq!(piped.stdout.lines().count(), 1, "{}", piped.stdout);
    let shown = run("script", &["-qec", &script, "/dev/null"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains("building the database"), "{shown:?}");
    // It is gone before the result stands there.
    let (before, after) = shown.stdout.split_once("plan.mmdb: ").unwrap();
    assert!(before.contains("building") && !after.contains("building"));
    let dumb = run(
        "env",
        &["TERM=dumb", "script", "-qec", &script, "/dev/null"],
    );
    assert!(dumb.stdout.starts_with("plan.mmdb: "), "{dumb:?}");
}
