//! Units of the real server: moved by command, and killed at any moment of that.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Client, Meridian, Site, get, wait_for};

const UNITS: &str = "state/units.json";

/// A writer with a TTL of a second, fenced for three.
const WRITER: &str = r#"
[services.writer]
route   = "unit"
owners  = "dublin"
ttl     = 1
ttl_min = 1
grace   = "2s"
[services.writer.pools]
dublin  = { endpoints = ["192.0.2.10"] }
ashburn = { endpoints = ["192.0.2.20"] }
tokyo   = { endpoints = ["192.0.2.30"] }
"#;
const FENCE: Duration = Duration::from_secs(3);

fn site() -> Site {
    let site = Site::new();
    site.write(
        "zones/gtm.example.toml",
        &[crate::support::ZONE, WRITER].concat(),
    );
    site
}

fn first_start(site: &Site) -> Meridian {
    site.start_as(site.serve().arg("--init-units"))
}

/// The address that is answered, and the epoch; none where there is none.
fn owner(site: &Site) -> (Option<String>, String) {
    let mut address = Client::new(site.net.dns(), "writer.gtm.example.", RecordType::A);
    let mut epoch = Client::new(
        site.net.dns(),
        "_epoch.writer.gtm.example.",
        RecordType::TXT,
    );
    (
        address.ask().rdata.pop(),
        epoch.ask().rdata.pop().unwrap_or_default(),
    )
}

/// An answer with an owner, or an epoch.
#[derive(Debug)]
struct Heard {
    asked: Instant,
    at: Instant,
    address: Option<String>,
    epoch: Option<u64>,
}

/// Asks for the owner and for the epoch all the time, whether or not anyone answers.
fn listen(site: &Site) -> (Arc<AtomicBool>, JoinHandle<Vec<Heard>>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, server) = (stop.clone(), site.net.dns());
    let thread = std::thread::spawn(move || {
        let mut heard = Vec::new();
        // A query that a killed server took along is not waited for.
        let patience = Duration::from_millis(100);
        let mut address =
            Client::new(server, "writer.gtm.example.", RecordType::A).with_patience(patience);
        let mut epoch = Client::new(server, "_epoch.writer.gtm.example.", RecordType::TXT)
            .with_patience(patience);
        loop {
            // Whoever stops this has seen an owner: it ends once it has heard one too, and its epoch.
            let ending = stopped.load(Ordering::Relaxed);
            let asked = Instant::now();
            let (owner, text) = (address.ask(), epoch.ask());
            let number = |text: &String| {
                text.split("epoch=")
                    .nth(1)?
                    .split(' ')
                    .next()?
                    .trim_matches('"')
                    .parse()
                    .ok()
            };
            let epoch = text.rdata.first().and_then(number);
            let complete = !owner.rdata.is_empty() && epoch.is_some();
            heard.push(Heard {
                asked,
                at: Instant::now(),
                address: owner.rdata.first().cloned(),
                epoch,
            });
            if ending && complete {
                return heard;
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    });
    (stop, thread)
}

#[test]
fn killed_at_any_moment_there_are_never_two_owners_within_a_fence() {
    let site = site();
    let mut server = first_start(&site);
    let (stop, listener) = listen(&site);
    let mut rng = fastrand::Rng::with_seed(7);
    let regions = ["ashburn", "tokyo", "dublin"];
    for round in 0..5 {
        let done = site.run(&["unit", "move", "writer.gtm.example", regions[round % 3]]);
        // The move before may have ended in a crash with the same region as the next owner.
        assert!(
            done.code == Some(0) || done.stderr.contains("already"),
            "{done:?}"
        );
        // Around its beginning, in the middle, and around its end.
        let milliseconds = [rng.u64(0..30), rng.u64(0..3000), rng.u64(2950..3350)][round % 3];
        std::thread::sleep(Duration::from_millis(milliseconds));
        server.process.signal(Signal::SIGKILL);
        server.process.end();
        server = site.start();
    }
    wait_for("somebody owns it", || owner(&site).0);
    stop.store(true, Ordering::Relaxed);
    let heard = listener.join().unwrap();
    let mut owners: Vec<(String, Instant)> = Vec::new();
    let mut highest = 0;
    for Heard {
        asked,
        at,
        address,
        epoch,
    } in heard
    {
        if let Some(address) = address {
            if let Some((last, until)) = owners.last().filter(|(last, _)| *last != address) {
                // The answer may be as young as it came home, and the last one as old as it was asked for.
                assert!(
                    at.duration_since(*until) >= FENCE,
                    "{last} and {address} within {:?}",
                    at.duration_since(*until)
                );
            }
            owners.push((address, asked));
        }
        if let Some(epoch) = epoch {
            assert!(epoch >= highest, "from epoch {highest} to {epoch}");
            highest = epoch;
        }
    }
    owners.dedup_by(|next, before| next.0 == before.0);
    assert!(
        owners.len() >= 2 && highest >= 2,
        "it moved: {owners:?}, epoch {highest}"
    );
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn a_unit_is_moved_and_listed_by_command() {
    let site = site();
    let mut server = first_start(&site);
    server.has_said("units initialised: 1;");
    assert_eq!(
        owner(&site),
        (
            Some("192.0.2.10".to_owned()),
            "epoch=1 owner=dublin".to_owned()
        )
    );
    let listed = site.run(&["unit", "list"]);
    assert!(
        listed
            .stdout
            .contains("writer.gtm.example.  dublin  1      up      owned"),
        "{listed:?}"
    );
    assert_eq!(
        fs::metadata(site.path("state/control.sock"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );

    for (arguments, said) in [
        (
            &["move", "writer.gtm.example", "dublin"][..],
            "dublin owns writer.gtm.example. already, in epoch 1",
        ),
        (
            &["move", "writer.gtm.example", "paris"],
            "there is no region paris",
        ),
        (
            &["move", "reader.gtm.example", "tokyo"],
            "there is no unit reader.gtm.example.",
        ),
        (
            &["init", "writer.gtm.example"],
            "nothing is left to initialise: dublin owns writer.gtm.example. in epoch 1",
        ),
        (
            &["list", "reader.gtm.example"],
            "there is no unit reader.gtm.example",
        ),
    ] {
        let refused = site.run(&[&["unit"], arguments].concat());
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(
            refused
                .stderr
                .starts_with(&format!("meridian unit {}: ", arguments[0]))
                && refused.stderr.contains(said),
            "{refused:?}"
        );
    }
    assert_eq!(
        site.run(&["unit", "init", "writer.gtm.example", "--epoch", "0"])
            .code,
        Some(2)
    );

    let moved = site.run(&["unit", "move", "writer.gtm.example.", "tokyo"]);
    assert_eq!(moved.code, Some(0), "{moved:?}");
    assert_eq!(
        moved.stdout,
        "writer.gtm.example. is fenced, and tokyo owns it after the fence, in epoch 2\n"
    );
    server.says("unit writer.gtm.example. is fenced, its owner was dublin, its next owner is tokyo: an operator moved it");
    assert_eq!(owner(&site), (None, "epoch=1 fenced".to_owned()));
    let listed: Value =
        serde_json::from_str(&site.run(&["unit", "list", "--json"]).stdout).unwrap();
    assert_eq!(listed["units"][0]["state"], "fenced", "{listed}");
    let health: Value = serde_json::from_str(&get(site.net.admin(), "/health").1).unwrap();
    assert_eq!(health["units"]["units"][0]["next"], "tokyo", "{health}");
    let metrics = get(site.net.admin(), "/metrics").1;
    assert!(
        metrics.contains(
            "meridian_unit_fenced{unit=\"writer.gtm.example.\",service=\"writer.gtm.example.\"} 1"
        ),
        "{metrics}"
    );

    server.says("unit writer.gtm.example. is owned by tokyo in epoch 2");
    wait_for("tokyo is answered", || {
        (owner(&site).0.as_deref() == Some("192.0.2.30")).then_some(())
    });
    assert_eq!(server.stop().0, Some(0));
    assert!(!site.path("state/control.sock").exists());

    let nobody = site.run(&["unit", "list"]);
    assert_eq!(nobody.code, Some(1));
    assert!(
        nobody.stderr.contains("no server is running there"),
        "{nobody:?}"
    );
    // What is there of an earlier process is replaced.
    fs::write(site.path("state/control.sock"), "").unwrap();
    let server = site.start();
    assert_eq!(
        owner(&site),
        (
            Some("192.0.2.30".to_owned()),
            "epoch=2 owner=tokyo".to_owned()
        )
    );
    assert_eq!(site.run(&["unit", "list"]).code, Some(0));
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn without_state_units_are_fenced_until_an_operator_says_so() {
    let site = site();
    let verified = site.run(&["verify"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert!(
        verified.stdout.contains("units-without-state")
            && verified.stdout.contains("serve --init-units"),
        "{verified:?}"
    );
    // A state file from another zone.
    fs::create_dir_all(site.path("state")).unwrap();
    let other = r#"{"format":1,"meridian":"0.1.0","units":{"writer.other.example.":{"state":"owned","owner":"paris","epoch":9,"ttl":5}}}"#;
    fs::write(site.path(UNITS), other).unwrap();
    let mut server = site.start();
    server.has_said("1 unit (writer.gtm.example.) is fenced: no record names an owner; run `meridian unit init`; the records are of 1 unit (writer.other.example.)");
    assert_eq!(owner(&site).0, None);
    let begun = site.run(&["unit", "init", "writer.gtm.example", "--epoch", "4"]);
    assert_eq!(begun.code, Some(0), "{begun:?}");
    server.says("unit writer.gtm.example. is owned by dublin in epoch 4");
    assert_eq!(
        owner(&site),
        (
            Some("192.0.2.10".to_owned()),
            "epoch=4 owner=dublin".to_owned()
        )
    );
    let kept: Value = serde_json::from_slice(&fs::read(site.path(UNITS)).unwrap()).unwrap();
    assert_eq!(kept["units"]["writer.other.example."]["epoch"], 9, "{kept}");
    assert!(!site.run(&["verify"]).stdout.contains("units-without-state"));
    server.process.signal(Signal::SIGKILL);
    server.process.end();

    // Damaged: set aside, and no reason to begin anew.
    fs::write(site.path(UNITS), "{").unwrap();
    let mut server = first_start(&site);
    server.has_said("it is set aside as units.json.bad");
    server.has_said("units not initialised: 1; the records of their last owners were lost");
    assert_eq!(owner(&site).0, None);
    assert_eq!(server.stop().0, Some(0));

    site.edit("meridian.toml", "state  = \"state\"\n", "");
    let mut server = first_start(&site);
    server
        .has_said("unit ownership FROZEN, 1 unit cannot change hands: there is no state directory");
    assert_eq!(owner(&site).0, None);
    assert!(
        site.run(&["unit", "list"])
            .stderr
            .contains("names no state directory")
    );
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn one_process_at_a_time_has_the_state_directory() {
    let site = site();
    let first = first_start(&site);
    // Another server with the same state, on another address.
    let text = fs::read_to_string(site.path("meridian.toml")).unwrap();
    let (ours, theirs) = (
        format!("{}:", site.net.host(1)),
        format!("{}:", site.net.host(2)),
    );
    fs::write(site.path("second.toml"), text.replace(&ours, &theirs)).unwrap();
    let mut serve = crate::support::command(env!("CARGO_BIN_EXE_meridian"));
    serve
        .args(["serve", "--init-units", "--config"])
        .arg(site.path("second.toml"));
    let mut second = site.start_as(&mut serve);
    second.has_said("another process has the state directory");
    let there = (site.net.host(2), 5300).into();
    assert_eq!(
        Client::new(there, "writer.gtm.example.", RecordType::A)
            .ask()
            .rdata,
        Vec::<String>::new()
    );
    assert_eq!(
        Client::new(there, "www.gtm.example.", RecordType::A)
            .ask()
            .rdata
            .len(),
        1,
        "all else is served"
    );
    assert!(
        site.run(&["unit", "list"]).stdout.contains("dublin"),
        "the first one is asked"
    );
    assert_eq!(first.stop().0, Some(0));
    // It is free now, and a reload finds out.
    second.reload("reloaded: ");
    wait_for("it answers", || {
        Client::new(there, "writer.gtm.example.", RecordType::A)
            .ask()
            .rdata
            .pop()
    });
    assert!(site.run(&["unit", "list"]).stdout.contains("dublin"));
    assert_eq!(second.stop().0, Some(0));
}

#[test]
fn a_state_directory_that_changes_takes_what_is_known_along() {
    let site = site();
    let mut server = first_start(&site);
    site.edit(
        "meridian.toml",
        "state  = \"state\"",
        "state  = \"elsewhere\"",
    );
    server.reload("reloaded: ");
    assert_eq!(
        owner(&site),
        (
            Some("192.0.2.10".to_owned()),
            "epoch=1 owner=dublin".to_owned()
        )
    );
    wait_for("it is kept there", || {
        site.path("elsewhere/units.json").exists().then_some(())
    });
    let moved = site.run(&["unit", "move", "writer.gtm.example", "tokyo"]);
    assert_eq!(moved.code, Some(0), "the socket is there too: {moved:?}");
    server.process.signal(Signal::SIGKILL);
    server.process.end();
    assert!(!site.path("state/control.sock").exists());

    // A path that is too long for a socket.
    let long = "x".repeat(100);
    site.edit("meridian.toml", "\"elsewhere\"", &format!("\"{long}\""));
    fs::rename(site.path("elsewhere"), site.path(&long)).unwrap();
    let mut server = site.start();
    server.has_said("choose a shorter [server] state");
    server.has_said("unit writer.gtm.example. is owned by tokyo in epoch 2");
    assert_eq!(server.stop().0, Some(0));
}
