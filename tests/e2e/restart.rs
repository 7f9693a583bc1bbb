//! Restarts of the real server: what it knew of health is there again, however it ended.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use hickory_proto::rr::RecordType;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Client, Meridian, Site, Toy, dig, get, post, wait_for};

const HISTORY: &str = "state/health.json";

fn site() -> Site {
    let site = Site::with_app();
    // Slow enough that nothing comes back between a start and the first question.
    site.edit("meridian.toml", "interval = \"200ms\"", "interval = \"2s\"");
    site
}

fn answer(site: &Site) -> String {
    dig(
        site.net.dns(),
        &["app.gtm.example", "+subnet=203.0.113.0/24", "+short"],
    )
    .trim()
    .to_owned()
}

/// What the history says of the endpoint at `host`; waits until it says something.
fn kept(site: &Site, host: u8) -> Value {
    let address = site.net.host(host).to_string();
    wait_for("the history is written", || {
        let history: Value = serde_json::from_slice(&fs::read(site.path(HISTORY)).ok()?).ok()?;
        history["targets"]
            .as_array()?
            .iter()
            .find(|target| target["target"] == *address)
            .cloned()
    })
}

fn kill(server: Meridian) {
    server.process.signal(Signal::SIGKILL);
    server.process.end();
}

fn is_ready(site: &Site) {
    wait_for("it is ready", || {
        (get(site.net.admin(), "/readyz").0 == 200).then_some(())
    });
}

#[test]
fn a_restart_with_everything_reachable_changes_nothing() {
    let site = site();
    let _toys = Toy::regions(site.net);
    let server = site.start();
    let before = answer(&site);
    assert_eq!(before, site.net.host(11).to_string());
    assert_eq!(kept(&site, 11)["up"], true);
    kill(server);
    let server = start_again(&site, &before);
    assert_eq!(server.stop().0, Some(0));
    kill(start_again(&site, &before));
}

/// Starts, and holds the first answers to what they were before; no endpoint goes up or down.
fn start_again(site: &Site, before: &str) -> Meridian {
    let server = site.start();
    assert_eq!(answer(site), before);
    is_ready(site);
    assert_eq!(answer(site), before);
    let log = server.process.log();
    assert!(
        log.contains("health restored from before the restart"),
        "{log}"
    );
    assert!(!log.contains("is down") && !log.contains("is up"), "{log}");
    server
}

#[test]
fn a_region_that_is_down_stays_down_through_any_restart() {
    let site = site();
    let [dublin, _ashburn, _tokyo] = Toy::regions(site.net);
    drop(dublin);
    let ashburn = site.net.host(12).to_string();
    let server = site.start();
    assert_eq!(answer(&site), ashburn);
    assert_eq!(kept(&site, 11)["up"], false);
    kill(server);
    // It is back before the server is: that takes more than one pass to believe.
    let _dublin = Toy::start((site.net.host(11), 8080).into());
    let server = site.start();
    assert_eq!(answer(&site), ashburn);
    is_ready(&site);
    assert_eq!(answer(&site), ashburn, "the first round is one pass");
    assert_eq!(server.stop().0, Some(0));
    assert_eq!(kept(&site, 11)["up"], false);
    let mut server = site.start();
    assert_eq!(answer(&site), ashburn);
    server.says("is up, was down: 4 passes in a row");
    wait_for("dublin is answered", || {
        (answer(&site) == site.net.host(11).to_string()).then_some(())
    });
}

#[test]
fn one_lost_probe_in_a_restart_takes_nothing_down() {
    let site = site();
    let [dublin, _ashburn, _tokyo] = Toy::regions(site.net);
    let server = site.start();
    assert_eq!(kept(&site, 11)["up"], true);
    kill(server);
    drop(dublin);
    let listener = TcpListener::bind((site.net.host(11), 8080)).unwrap();
    let toy = std::thread::spawn(move || {
        drop(listener.accept().unwrap());
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        listener
    });
    let server = site.start();
    let _listener = toy.join().unwrap();
    is_ready(&site);
    assert_eq!(answer(&site), site.net.host(11).to_string());
    assert!(
        !server.process.log().contains("is down"),
        "{}",
        server.process.log()
    );
}

#[test]
fn a_history_that_cannot_be_used_is_said_set_aside_and_written_anew() {
    let site = Site::with_app();
    let _toys = Toy::regions(site.net);
    assert_eq!(site.start().stop().0, Some(0));
    let good = String::from_utf8(fs::read(site.path(HISTORY)).unwrap()).unwrap();
    let tomorrow =
        humantime::format_rfc3339_millis(SystemTime::now() + Duration::from_secs(86_400))
            .to_string();
    let written = &good[good.find("\"written\":\"").unwrap() + 11..][..24];
    for (bad, said) in [
        ("garbage".to_owned(), "is damaged"),
        (good[..good.len() / 2].to_owned(), "is damaged"),
        (good.replace("\"format\":1", "\"format\":7"), "has format 7"),
        (good.replace(written, &tomorrow), "is from the future"),
    ] {
        fs::write(site.path(HISTORY), &bad).unwrap();
        let server = site.start();
        assert_eq!(
            fs::read_to_string(site.path("state/health.json.bad")).unwrap(),
            bad
        );
        assert_eq!(answer(&site), site.net.host(11).to_string());
        assert_eq!(kept(&site, 11)["up"], true, "it is written anew");
        let (code, log) = server.stop();
        assert_eq!(code, Some(0));
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("health history not used"))
            .collect();
        assert!(
            lines.len() == 1
                && lines[0].contains(said)
                && lines[0].contains("is set aside as health.json.bad"),
            "{log}"
        );
    }
    // A directory in its place, and one in the place of what is set aside.
    fs::remove_file(site.path(HISTORY)).unwrap();
    fs::remove_file(site.path("state/health.json.bad")).unwrap();
    fs::create_dir_all(site.path("state/health.json/full")).unwrap();
    fs::create_dir_all(site.path("state/health.json.bad/full")).unwrap();
    let mut server = site.start();
    assert!(
        server
            .process
            .log()
            .contains("is not a regular file; it cannot be set aside"),
        "{}",
        server.process.log()
    );
    server.has_said("health history not persisted: ");
    assert_eq!(answer(&site), site.net.host(11).to_string());
    is_ready(&site);
    fs::remove_dir_all(site.path(HISTORY)).unwrap();
    assert_eq!(server.stop().0, Some(0));
    assert_eq!(
        kept(&site, 11)["up"],
        true,
        "what is left to write at the end is written"
    );
}

#[test]
fn a_state_directory_that_cannot_be_written_stops_neither_health_nor_serving() {
    let site = Site::with_app();
    let [dublin, _ashburn, _tokyo] = Toy::regions(site.net);
    // A file in its place refuses root too.
    fs::write(site.path("state"), "a file").unwrap();
    let mut server = site.start();
    server.has_said("health history not persisted: ");
    drop(dublin);
    server.says("region dublin is down, was up");
    assert_eq!(answer(&site), site.net.host(12).to_string());
    let (code, log) = server.stop();
    assert_eq!(code, Some(0));
    assert_eq!(
        log.matches("health history not persisted").count(),
        1,
        "said once: {log}"
    );
}

#[test]
fn without_a_state_directory_nothing_is_kept_and_nothing_is_said() {
    let site = Site::with_app();
    let _toys = Toy::regions(site.net);
    site.edit("meridian.toml", "state  = \"state\"\n", "");
    let (code, log) = site.start().stop();
    assert_eq!(code, Some(0));
    assert!(
        !log.contains("history") && !site.path(HISTORY).exists(),
        "{log}"
    );
}

#[test]
fn a_held_region_waits_for_an_operator_through_a_restart() {
    let site = Site::with_app();
    let (net, [dublin, _ashburn, _tokyo]) = (site.net, Toy::regions(site.net));
    site.edit(
        "zones/gtm.example.toml",
        "ttl    = 2",
        "resume = \"manual\"",
    );
    let mut server = site.start();
    let revive = dublin.kill();
    server.says("region dublin is down, was up");
    let _dublin = revive();
    server.says("service app.gtm.example. A region dublin is held until it is resumed, was down");
    assert_eq!(answer(&site), net.host(12).to_string());
    assert_eq!(server.stop().0, Some(0));

    let mut server = site.start();
    is_ready(&site);
    assert_eq!(answer(&site), net.host(12).to_string());
    let (_, health) = get(net.admin(), "/health");
    let health: Value = serde_json::from_str(&health).unwrap();
    assert_eq!(health["returning"][0]["region"], "dublin", "{health}");
    assert_eq!(health["returning"][0]["ipv4"], "held", "{health}");
    let why = get(
        net.admin(),
        "/why?name=app.gtm.example&client=203.0.113.0/24&format=text",
    )
    .1;
    assert!(
        why.contains("dublin: held: manual resume, 1 of 1 endpoints up"),
        "{why}"
    );

    for (path, headers, expected) in [
        (
            "/resume?service=app.gtm.example&region=paris",
            "",
            (
                404,
                "service app.gtm.example. has no pool in region paris\n",
            ),
        ),
        (
            "/resume?service=nothing.example",
            "",
            (404, "there is no service nothing.example\n"),
        ),
        (
            "/resume?service=app.gtm.example&region=tokyo",
            "",
            (
                409,
                "service app.gtm.example. region tokyo: no pool is held, so there is nothing to resume\n",
            ),
        ),
    ] {
        assert_eq!(
            post(net.admin(), path, headers),
            (expected.0, expected.1.to_owned())
        );
    }
    let page = post(
        net.admin(),
        "/resume?service=app.gtm.example",
        "Origin: http://localhost\r\n",
    );
    assert_eq!(page.0, 403, "{page:?}");
    assert_eq!(
        get(net.admin(), "/resume?service=app.gtm.example").0,
        405,
        "to look changes nothing"
    );
    assert_eq!(answer(&site), net.host(12).to_string());

    let wrong = site.run(&["resume", "app.gtm.example", "tokyo"]);
    assert_eq!(wrong.code, Some(1));
    assert!(
        wrong.stderr.contains(
            "service app.gtm.example. region tokyo: no pool is held, so there is nothing to resume"
        ),
        "{wrong:?}"
    );
    let done = site.run(&["resume", "app.gtm.example", "dublin", "--json"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let json: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "message": "resumed app.gtm.example in dublin",
            "service": "app.gtm.example",
            "regions": ["dublin"]
        })
    );
    server.says("service app.gtm.example. region dublin: resumed by an operator");
    wait_for("dublin is answered", || {
        (answer(&site) == net.host(11).to_string()).then_some(())
    });
}

#[test]
fn queries_are_answered_at_once_though_every_probe_hangs() {
    let site = site();
    let toys = Toy::regions(site.net);
    let server = site.start();
    assert_eq!(kept(&site, 11)["up"], true);
    kill(server);
    drop(toys);
    // Listeners that nobody accepts from: every probe of the first round runs into its timeout, thrice.
    let _hanging = [11, 12, 13].map(|host| TcpListener::bind((site.net.host(host), 8080)).unwrap());
    site.edit("meridian.toml", "timeout  = \"100ms\"", "timeout  = \"1s\"");
    // The check is changed now, and its verdicts are kept all the same.
    let mut process = crate::support::Process::spawn(&mut site.serve());
    process.wait_log("started: ", 0);
    assert!(
        Client::new(site.net.dns(), "app.gtm.example.", RecordType::A)
            .ask()
            .code
            .is_ok()
    );
    assert_eq!(
        get(site.net.admin(), "/readyz"),
        (
            503,
            "not ready: first round of probes in progress: health is not known yet\n".to_owned()
        )
    );
}
