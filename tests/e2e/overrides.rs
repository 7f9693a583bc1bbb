//! `meridian drain` and its like, on a real server: at once, kept, and refused where they would do harm.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Done, Site, command, dig, get, wait_for};

/// The regions of `www` that a client near Dublin is sent to, in turn.
const DUBLIN: &str = "192.0.2.10";
const ASHBURN: &str = "192.0.2.20";

fn site() -> Site {
    let site = Site::new();
    site.edit(
        "meridian.toml",
        "[admin]",
        "why_from = [\"127.0.0.0/8\"]\n[admin]",
    );
    site.edit(
        "meridian.toml",
        "[regions.dublin]",
        "[regions.dublin]\nlabels = { provider = \"cloud-a\" }",
    );
    site.edit(
        "meridian.toml",
        "[regions.tokyo]",
        "[regions.tokyo]\nlabels = { provider = \"cloud-a\" }",
    );
    site
}

fn answer(site: &Site) -> String {
    dig(
        site.net.dns(),
        &["www.gtm.example", "+subnet=203.0.113.0/24", "+short"],
    )
    .trim()
    .to_owned()
}

#[track_caller]
fn is_ready(site: &Site) {
    wait_for("it is ready", || {
        (get(site.net.admin(), "/readyz").0 == 200).then_some(())
    });
}

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

#[track_caller]
fn refused(what: Done, why: &str) {
    assert_eq!(
        (what.code, what.stdout.as_str()),
        (Some(1), ""),
        "{}",
        what.stderr
    );
    assert!(what.stderr.contains(why), "{}", what.stderr);
}

#[test]
fn a_provider_is_drained_at_once_and_stays_it_over_a_kill() {
    let site = site();
    let server = site.start();
    assert_eq!(answer(&site), DUBLIN);
    let why = ["--reason", "INC-7: loses packets", "--by", "anna"];
    let said = done(site.run(&[&["drain", "provider:cloud-a", "--for", "1h"], &why[..]].concat()));
    assert!(
        said.starts_with("override 1: drain of label provider:cloud-a by anna@test-node until "),
        "{said}"
    );
    assert_eq!(answer(&site), ASHBURN);
    let (_, body) = get(
        site.net.admin(),
        "/why?name=www.gtm.example&client=203.0.113.0/24&format=text",
    );
    assert!(
        body.contains("dublin: drained, 2 of 2 endpoints up, weight 1, label provider:cloud-a drained by anna@test-node until "),
        "{body}"
    );
    assert!(body.contains(": INC-7: loses packets"), "{body}");
    // In band a forwarder on the host may hand it to anybody: no names, no reasons.
    let in_band = dig(
        site.net.dns(),
        &[
            "CH",
            "TXT",
            "www.gtm.example",
            "+subnet=203.0.113.0/24",
            "+short",
            "+tcp",
        ],
    );
    assert!(
        in_band.contains("\"dublin: drained, 2 of 2 endpoints up, weight 1\""),
        "{in_band}"
    );
    assert!(
        !in_band.contains("anna") && !in_band.contains("INC-7"),
        "{in_band}"
    );
    let (_, metrics) = get(site.net.admin(), "/metrics");
    assert!(
        metrics.contains(
            "meridian_override{number=\"1\",action=\"drain\",scope=\"label\",name=\"provider:cloud-a\"} 1"
        ),
        "{metrics}"
    );

    server.process.signal(Signal::SIGKILL);
    server.process.end();
    let server = site.start();
    assert_eq!(answer(&site), ASHBURN);
    let listed: Value = serde_json::from_str(&done(site.run(&["overrides", "--json"]))).unwrap();
    assert_eq!(
        (&listed[0]["scope"], &listed[0]["name"]),
        (&"label".into(), &"provider:cloud-a".into())
    );
    assert_eq!(
        (&listed[0]["in_force"], &listed[0]["forced"]),
        (&true.into(), &false.into())
    );
    // A reload is no end of it.
    drop(done(site.run(&[
        "weight",
        "0",
        "www.gtm.example/ashburn",
        "--until-removed",
        "--reason",
        "last one",
        "--force",
    ])));
    let mut server = server;
    server.reload("reloaded: ");
    assert_eq!(done(site.run(&["overrides"])).lines().count(), 2);
    assert!(
        done(site.run(&["release", "provider:cloud-a"])).starts_with("override 1 is released: ")
    );
    assert_eq!(answer(&site), DUBLIN);
    assert!(
        done(site.run(&["release", "2"])).contains("weight 0 of pool www.gtm.example./ashburn")
    );
    assert_eq!(done(site.run(&["overrides"])), "no overrides\n");
    let mode = fs::metadata(site.path("state/control.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "for its own user alone");
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("override 2 is released"), "{log}");
}

#[test]
fn what_would_do_harm_or_means_nothing_is_refused_in_words() {
    let site = site();
    let terms = ["--for", "1h", "--reason", "x"];
    let drain = |what: &str| site.run(&[&["drain", what], &terms[..]].concat());
    refused(drain("dublin"), "no server is running there");
    let server = site.start();
    refused(
        drain("www.gtm.example"),
        "it would leave www.gtm.example. 0 regions up, and min_regions is 1",
    );
    refused(
        drain("dubln"),
        "there is no region, metro, label, service or endpoint dubln; did you mean dublin?",
    );
    refused(
        site.run(&["release", "dublin"]),
        "there is no override of dublin",
    );
    refused(
        site.run(&["drain", "dublin", "--for", "1h", "--reason", " "]),
        "the reason is missing",
    );
    refused(
        site.run(&["drain", "dublin", "--for", "20years", "--reason", "x"]),
        "is not a time from 0 to 3650 days",
    );
    refused(
        site.run(&[
            "weight", "1000001", "dublin", "--for", "1h", "--reason", "x",
        ]),
        "weight 0 to 1000000",
    );
    for wrong in [
        &["drain", "dublin", "--reason", "x"][..],
        &["drain", "dublin", "--for", "1h"],
        &["up", "--for", "1h", "--reason", "x"],
    ] {
        let what = site.run(wrong);
        assert_eq!(what.code, Some(2), "{}", what.stderr);
    }
    assert!(
        site.run(&["drain", "dublin", "--reason", "x"])
            .stderr
            .contains("--until-removed"),
        "both ways to end it are named"
    );
    assert_eq!(answer(&site), DUBLIN, "nothing of that had an effect");
    server.stop();
}

#[test]
fn a_dry_run_tells_who_would_move_and_changes_nothing() {
    let site = site();
    site.edit(
        "meridian.toml",
        "[regions.ashburn]",
        "[regions.ashburn]\ncapacity = 10",
    );
    let server = site.start();
    let terms = ["--for", "1h", "--reason", "x"];
    let dry = |what: &str, more: &[&str]| {
        site.run(&[&["drain", what, "--dry-run"], &terms[..], more].concat())
    };
    let said = done(dry("dublin", &[]));
    for line in [
        "dry run: accepted; nothing is changed",
        "pre-flight: draining region dublin moves ",
        "warning: ashburn would reach ",
        "caches keep the answers of before until ",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let whole = dry("www.gtm.example", &[]);
    assert_eq!(whole.code, Some(1), "{}", whole.stdout);
    let refusal = "it would leave www.gtm.example. 0 regions up, and min_regions is 1";
    assert!(
        whole
            .stdout
            .starts_with(&format!("dry run: refused: {refusal}\n")),
        "{}",
        whole.stdout
    );
    assert!(
        done(dry("www.gtm.example", &["--force"]))
            .starts_with("dry run: accepted by force, although "),
    );
    refused(dry("dubln", &[]), "did you mean dublin?");
    refused(
        site.run(&["release", "dublin", "--dry-run"]),
        "there is no such override, so nothing would change",
    );
    assert_eq!(done(site.run(&["overrides"])), "no overrides\n");
    assert_eq!(answer(&site), DUBLIN);
    let text = done(dry("dublin", &["--json"]));
    let json: Value = serde_json::from_str(&text).unwrap();
    let preflight = &json["done"][0]["preflight"];
    assert_eq!(preflight["accepted"], true);
    assert_eq!(preflight["names"][0]["name"], "www.gtm.example.");
    assert_eq!(preflight["names"][0]["after"]["dublin"], Value::Null);
    // The deed itself tells the same numbers.
    let deed = done(site.run(&[&["drain", "dublin", "--json"], &terms[..]].concat()));
    let deed: Value = serde_json::from_str(&deed).unwrap();
    assert_eq!(deed["done"][0]["ids"], serde_json::json!(["1"]));
    assert!(deed["done"][0]["revision"].is_u64(), "{deed}");
    assert_eq!(deed["done"][0]["preflight"]["names"], preflight["names"]);
    assert_eq!(
        deed["done"][0]["preflight"]["regions"],
        preflight["regions"]
    );
    let back = done(site.run(&["release", "1", "--dry-run"]));
    assert!(
        back.contains("pre-flight: releasing drain of region dublin moves "),
        "{back}"
    );
    assert_eq!(answer(&site), ASHBURN, "it is still drained");
    server.stop();
}

#[test]
fn a_drain_waits_for_caches_and_comes_back_by_a_ramp_over_a_kill() {
    let site = site();
    // Two seconds of TTL, then a drain of one second with a long way back.
    site.edit("zones/gtm.example.toml", "ttl     = 20", "ttl     = 2");
    site.edit(
        "zones/gtm.example.toml",
        "route = \"nearest\"",
        "route = \"weighted\"",
    );
    let server = site.start();
    let said = done(site.run(&[
        "drain",
        "dublin",
        "--lower-ttl",
        "--for",
        "1s",
        "--ramp",
        "1h",
        "--reason",
        "x",
    ]));
    assert!(
        said.contains(" is announced and takes effect at "),
        "{said}"
    );
    assert!(
        said.contains("caches keep the answers of before until "),
        "{said}"
    );
    let listed = |site: &Site| -> Value {
        let text = done(site.run(&["overrides", "--json"]));
        serde_json::from_str::<Value>(&text).unwrap()[0].clone()
    };
    assert_eq!(listed(&site)["in_force"], false);
    wait_for("it returns", || {
        (listed(&site)["returning"] == true).then_some(())
    });
    assert_eq!(listed(&site)["ramp_seconds"], 3600.0);
    server.process.signal(Signal::SIGKILL);
    server.process.end();
    let server = site.start();
    assert_eq!(listed(&site)["returning"], true);
    let line = done(site.run(&["overrides"]));
    assert!(line.contains(" returning, in force until "), "{line}");
    // Whoever wants it back at once releases the ramp.
    done(site.run(&["release", "dublin"]));
    assert_eq!(done(site.run(&["overrides"])), "no overrides\n");
    let ramped = ["--ramp", "10m", "--for", "1h", "--reason", "x"];
    refused(
        site.run(&[&["drain", "192.0.2.10"], &ramped[..]].concat()),
        "a ramp follows a drain or a down of whole pools",
    );
    server.stop();
}

#[test]
fn reasons_and_times_that_nobody_can_mean_are_refused() {
    let site = site();
    let server = site.start();
    let drain = |reason: &str, terms: &[&str]| {
        site.run(&[&["drain", "dublin", "--reason", reason], terms].concat())
    };
    refused(
        drain("a\x1b[2Jb", &["--for", "1h"]),
        "the reason has the control character U+001B",
    );
    refused(
        drain("a\nERROR all is lost", &["--for", "1h"]),
        "the reason has the control character U+000A",
    );
    refused(drain("\u{202e}desrever", &["--for", "1h"]), "U+202E");
    refused(
        drain(&"x".repeat(501), &["--for", "1h"]),
        "the reason has 501 characters; the limit is 500",
    );
    refused(
        drain("x", &["--for", "1h", "--by", "an\tna"]),
        "the operator's name has the control character U+0009",
    );
    refused(
        drain("x", &["--for", "1h", "--in", "100years"]),
        "is not a time from 0 to 3650 days",
    );
    for shortest in ["0s", "999ms"] {
        let refused = drain("x", &["--for", shortest]);
        assert_eq!(refused.code, Some(2));
        assert!(
            refused.stderr.contains("an override holds for at least 1s"),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(done(site.run(&["overrides"])), "no overrides\n");
    assert!(
        done(drain(&"ü".repeat(500), &["--for", "1h", "--in", "0s"])).starts_with("override 1: "),
        "at once"
    );
    server.stop();
}

#[test]
fn three_drains_at_once_leave_a_region_in_use() {
    let site = site();
    let server = site.start();
    for round in 0..5 {
        let drains: Vec<Done> = std::thread::scope(|scope| {
            let drain = |region| site.run(&["drain", region, "--for", "1h", "--reason", "at once"]);
            let asked =
                ["dublin", "ashburn", "tokyo"].map(|region| scope.spawn(move || drain(region)));
            asked.map(|drain| drain.join().unwrap()).into()
        });
        let taken = drains.iter().filter(|done| done.code == Some(0)).count();
        assert_eq!(taken, 2, "round {round}: {drains:?}");
        let (code, said) = drains
            .iter()
            .find(|done| done.code != Some(0))
            .map(|done| (done.code, &done.stderr))
            .unwrap();
        assert_eq!(code, Some(1));
        assert!(
            said.starts_with("meridian drain: it would leave www.gtm.example. 0 regions up"),
            "{said}"
        );
        for region in ["dublin", "ashburn", "tokyo"] {
            site.run(&["release", region]);
        }
    }
    // Nor does one now, when others are announced.
    for region in ["dublin", "ashburn"] {
        let said = done(site.run(&[
            "drain", region, "--in", "1h", "--for", "1h", "--reason", "later",
        ]));
        assert!(
            said.contains(" is announced and takes effect at "),
            "{said}"
        );
    }
    refused(
        site.run(&["drain", "tokyo", "--until-removed", "--reason", "x"]),
        " from now, and min_regions is 1",
    );
    let (_, log) = server.stop();
    assert!(
        log.contains("override 11 is announced and takes effect at "),
        "{log}"
    );
}

#[test]
fn an_announced_drain_is_said_at_its_beginning_and_its_number_is_not_used_again() {
    let site = site();
    let mut server = site.start();
    let said = done(site.run(&[
        "drain", "dublin", "--in", "2s", "--for", "1h", "--reason", "x",
    ]));
    assert!(
        said.starts_with("override 1 is announced and takes effect at "),
        "{said}"
    );
    server.says("override 1 is in force, as announced: drain of region dublin");
    assert_eq!(answer(&site), ASHBURN);
    done(site.run(&["release", "1"]));
    assert_eq!(server.stop().0, Some(0));
    let server = site.start();
    assert!(
        done(site.run(&["drain", "dublin", "--for", "1h", "--reason", "x"]))
            .starts_with("override 2: ")
    );
    server.stop();
}

#[test]
fn damaged_overrides_keep_the_node_unready_until_an_operator_accepts_the_loss() {
    let site = site();
    let server = site.start();
    done(site.run(&["drain", "dublin", "--until-removed", "--reason", "flooded"]));
    server.stop();
    let kept = fs::read_to_string(site.path("state/overrides.json")).unwrap();
    for bad in [
        kept.replace("\"format\": 1", "\"format\": 3"),
        "{}".to_owned(),
        String::new(),
    ] {
        fs::write(site.path("state/overrides.json"), &bad).unwrap();
        let verified = site.run(&["verify"]);
        assert_eq!(verified.code, Some(0), "{verified:?}");
        assert!(
            verified.stdout.contains("warning[lost-overrides]"),
            "{verified:?}"
        );
        let mut server = site.start();
        server.has_said("the one override of the last good copy, overrides.json.last, is in force");
        server.has_said("the node is not ready until you run `meridian overrides --accept-loss`");
        assert_eq!(answer(&site), ASHBURN, "what was drained stays so");
        let (status, why) = get(site.net.admin(), "/readyz");
        assert!(status == 503 && why.contains("meridian overrides"), "{why}");
        assert!(
            get(site.net.admin(), "/metrics")
                .1
                .contains("meridian_overrides_lost 1")
        );
        let health: Value = serde_json::from_str(&get(site.net.admin(), "/health").1).unwrap();
        assert!(
            health["overrides_lost"]
                .as_str()
                .unwrap()
                .contains("overrides.json"),
            "{health}"
        );
        refused(
            site.run(&["release", "dublin"]),
            "run `meridian overrides --accept-loss` first",
        );
        let listed = site.run(&["overrides"]);
        assert_eq!(listed.code, Some(1));
        assert!(
            listed.stdout.contains("drain of region dublin")
                && listed.stderr.contains("overrides lost"),
            "{listed:?}"
        );
        server.process.signal(Signal::SIGKILL);
        server.process.end();
        assert_eq!(
            fs::read_to_string(site.path("state/overrides.json")).unwrap(),
            bad,
            "it is there for whoever can read it"
        );
    }
    let server = site.start();
    assert_eq!(
        get(site.net.admin(), "/readyz").0,
        503,
        "another start is no acceptance"
    );
    let said = done(site.run(&["overrides", "--accept-loss"]));
    assert_eq!(
        said,
        "override loss accepted: 1 override left, in force or announced\n"
    );
    is_ready(&site);
    assert_eq!(answer(&site), ASHBURN);
    assert!(site.path("state/overrides.json.bad").exists());
    refused(
        site.run(&["overrides", "--accept-loss"]),
        "there is nothing to accept",
    );
    done(site.run(&["release", "dublin"]));
    server.stop();
    let server = site.start();
    is_ready(&site);
    assert_eq!(answer(&site), DUBLIN);
    server.stop();

    // Without a copy nothing is known, and that is said.
    for name in ["overrides.json", "overrides.json.last"] {
        fs::write(site.path(&format!("state/{name}")), "{}").unwrap();
    }
    let mut server = site.start();
    server.has_said("no override is in force");
    assert_eq!(get(site.net.admin(), "/readyz").0, 503);
    done(site.run(&["overrides", "--accept-loss"]));
    is_ready(&site);
    server.stop();
}

#[test]
fn a_state_directory_that_others_may_write_to_is_not_used() {
    let site = site();
    let server = site.start();
    done(site.run(&["drain", "dublin", "--until-removed", "--reason", "x"]));
    server.stop();
    let mode =
        |mode| fs::set_permissions(site.path("state"), fs::Permissions::from_mode(mode)).unwrap();
    fs::write(site.path("state/.new-left"), "half").unwrap();
    mode(0o777);
    let verified = site.run(&["verify"]);
    assert!(
        verified.code == Some(0) && verified.stdout.contains("warning[bad-state-directory]"),
        "{verified:?}"
    );
    let mut server = site.start();
    server.has_said("others may write to the state directory");
    assert_eq!(
        (get(site.net.admin(), "/readyz").0, answer(&site).as_str()),
        (503, DUBLIN),
        "served, and not ready"
    );
    assert!(
        site.path("state/.new-left").exists(),
        "nothing in it is touched"
    );
    mode(0o700);
    server.reload("reloaded: ");
    is_ready(&site);
    assert_eq!(answer(&site), ASHBURN);
    assert!(
        !site.path("state/.new-left").exists(),
        "what a write cut short left behind is gone"
    );
    done(site.run(&["release", "dublin"]));
    server.stop();
}

/// Two servers of one zone, each asked by its socket.
#[test]
fn several_servers_are_told_in_turn_and_scripts_read_what_came_of_it() {
    let (first, second) = (site(), site());
    let sockets =
        [&first, &second].map(|site| site.path("state/control.sock").display().to_string());
    let run = |arguments: &[&str]| {
        let servers: Vec<String> = sockets
            .iter()
            .map(|socket| format!("--server=unix:{socket}"))
            .collect();
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        crate::support::run(first.directory(), &[arguments, &servers].concat())
    };
    let drain = [
        "drain", "dublin", "--for", "1h", "--reason", "x", "--by", "anna",
    ];
    let one = first.start();
    refused(run(&drain), "nothing is done anywhere");
    let json: Value =
        serde_json::from_str(&run(&[&drain[..], &["--json"]].concat()).stdout).unwrap();
    assert_eq!(
        (&json["done"], &json["failed"]["server"]),
        (&serde_json::json!([]), &sockets[1].clone().into())
    );
    let two = second.start();
    let said = done(run(&drain));
    let expected = |socket: &str| {
        format!("{socket}:\noverride 1: drain of region dublin by anna@test-node until ")
    };
    assert!(
        sockets
            .iter()
            .all(|socket| said.contains(&expected(socket))),
        "{said}"
    );
    assert_eq!(
        (answer(&first).as_str(), answer(&second).as_str()),
        (ASHBURN, ASHBURN)
    );
    assert_eq!(
        done(run(&["overrides"]))
            .matches("drain of region dublin")
            .count(),
        2
    );
    let listed: Value = serde_json::from_str(&done(run(&["overrides", "--json"]))).unwrap();
    assert_eq!(listed[&sockets[1]][0]["id"], "1", "{listed}");

    // One that has a reason of its own to refuse is said with what is done already.
    done(second.run(&["drain", "ashburn", "--for", "1h", "--reason", "x"]));
    let half = run(&["drain", "tokyo", "--for", "1h", "--reason", "x", "--json"]);
    assert_eq!(half.code, Some(1));
    assert!(
        half.stderr
            .starts_with(&format!("meridian drain: {}: it would leave", sockets[1])),
        "{half:?}"
    );
    assert!(
        half.stderr.contains("the servers above have done it"),
        "{half:?}"
    );
    let json: Value = serde_json::from_str(&half.stdout).unwrap();
    assert_eq!(json["done"][0]["server"], sockets[0]);
    assert_eq!(
        (
            &json["done"][0]["ids"],
            &json["done"][0]["overrides"][0]["name"]
        ),
        (&serde_json::json!(["2"]), &"tokyo".into())
    );
    assert!(
        json["failed"]["error"]
            .as_str()
            .unwrap()
            .contains("min_regions is 1"),
        "{json}"
    );
    let json: Value =
        serde_json::from_str(&done(first.run(&["release", "tokyo", "--json"]))).unwrap();
    assert!(
        json["done"][0]["message"]
            .as_str()
            .unwrap()
            .starts_with("override 2 is released"),
        "{json}"
    );
    let wrong = crate::support::run(
        first.directory(),
        &[&drain[..], &["--server", "ftp://127.0.0.1"]].concat(),
    );
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("--server"), "{wrong:?}");
    two.stop();

    // What looks is answered by all that can, and the others are named.
    let half = run(&["overrides"]);
    assert_eq!(half.code, Some(1));
    assert!(
        half.stdout
            .starts_with(&format!("{}:\n1  drain", sockets[0])),
        "{half:?}"
    );
    let gone = format!("meridian: {}: no server is running there", sockets[1]);
    assert!(half.stderr.starts_with(&gone), "{half:?}");
    let json: Value = serde_json::from_str(&run(&["overrides", "--json"]).stdout).unwrap();
    assert_eq!(json[&sockets[0]][0]["id"], "1", "{json}");
    let error = json[&sockets[1]]["error"].as_str().unwrap_or_default();
    assert!(error.contains("no server is running there"), "{json}");
    one.stop();
    let nobody = run(&["overrides"]);
    assert_eq!((nobody.code, &*nobody.stdout), (Some(1), ""));
    for socket in &sockets {
        assert!(nobody.stderr.contains(socket), "{nobody:?}");
    }
}

/// As the unit has it: systemd makes `/var/lib/meridian`, a link to where only root may look, and `[server] state` is not written.
/// It needs a mount namespace.
#[test]
fn the_commands_find_the_server_of_the_shipped_unit_without_being_told_where() {
    let site = site();
    site.edit("meridian.toml", "state  = \"state\"\n", "");
    let script = "mount -t tmpfs tmpfs /var/lib && mkdir -m 700 /var/lib/private && mkdir -m 700 /var/lib/private/meridian \
                  && ln -s private/meridian /var/lib/meridian && exec \"$@\"";
    let is_root = nix::unistd::geteuid().is_root();
    let (unshare, nsenter) = if is_root {
        ("-m", vec!["-m"])
    } else {
        ("-rm", vec!["-U", "-m", "--preserve-credentials"])
    };
    let meridian = env!("CARGO_BIN_EXE_meridian");
    let mut serve = command("unshare");
    serve
        .args([unshare, "sh", "-c", script, "sh", meridian, "serve"])
        .current_dir(site.directory());
    if !command("unshare")
        .args([unshare, "sh", "-c", script, "sh", "true"])
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!("not tested: mount namespaces cannot be made here");
        return;
    }
    let server = site.start_as(&mut serve);
    let pid = server.process.id().to_string();
    let inside = |before: &[&str], directory: &Path, arguments: &[&str]| -> Done {
        let mut inside = command("nsenter");
        inside
            .args(["-t", &pid])
            .args(&nsenter)
            .arg(format!("--wd={}", directory.display()))
            .arg("--")
            .args(before);
        inside
            .arg(meridian)
            .args(arguments)
            .output()
            .unwrap()
            .into()
    };
    let drain = [
        "drain",
        "provider:cloud-a",
        "--for",
        "2h",
        "--reason",
        "INC-512: packet loss",
    ];
    assert!(
        done(inside(&[], site.directory(), &drain))
            .starts_with("override 1: drain of label provider:cloud-a by ")
    );
    assert_eq!(answer(&site), ASHBURN);
    // Even without the configuration at hand.
    assert!(
        done(inside(&[], Path::new("/"), &["overrides"]))
            .contains("drain of label provider:cloud-a")
    );
    if is_root {
        let nobody = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ];
        refused(
            inside(&nobody, Path::new("/"), &drain),
            "this user may not read /var/lib/meridian: run the command as root (sudo)",
        );
        fs::set_permissions(site.directory(), fs::Permissions::from_mode(0o755)).unwrap();
        let config = site.path("meridian.toml").display().to_string();
        let verified = done(inside(
            &nobody,
            Path::new("/"),
            &["verify", "--config", &config],
        ));
        let unseen = "overrides and unit ownership not checked: this user may not read the state directory /var/lib/meridian";
        assert!(
            verified.contains("is good; ") && verified.contains(unseen),
            "{verified}"
        );
    }
    server.stop();
}
