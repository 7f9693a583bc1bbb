//! What a reload says to machines, and what it refuses although it is no error.

use std::time::SystemTime;

use nix::sys::signal::Signal;

use crate::support::{Meridian, Site, dig, get, wait_for};

const ZONE_FILE: &str = "zones/gtm.example.toml";

/// The value of a metric without labels.
#[track_caller]
fn metric(server: &Meridian, name: &str) -> f64 {
    let (status, text) = get(server.net.admin(), "/metrics");
    assert_eq!(status, 200);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
        .parse()
        .unwrap()
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

/// A site with `count` services more, `s0` and so on.
fn with_services(count: usize) -> Site {
    let site = Site::new();
    let text = std::fs::read_to_string(site.path(ZONE_FILE)).unwrap();
    let services = (0..count).map(|n| {
        format!("[services.s{n}]\nroute = \"priority\"\nmap = \"none\"\n[services.s{n}.pools]\ndublin = {{ endpoints = [\"192.0.2.{n}\"] }}\n")
    });
    site.write(
        ZONE_FILE,
        &services.fold(text, |text, service| text + &service),
    );
    site
}

/// The zone file cut before service `s{n}`.
fn cut_before(site: &Site, n: usize) {
    let text = std::fs::read_to_string(site.path(ZONE_FILE)).unwrap();
    let end = text.find(&format!("[services.s{n}]")).unwrap();
    site.write(ZONE_FILE, &text[..end]);
}

#[test]
fn a_refused_reload_shows_to_machines() {
    let site = Site::new();
    let mut server = site.start();
    assert_eq!(metric(&server, "meridian_last_reload_success"), 1.0);
    assert_eq!(metric(&server, "meridian_reload_failures_total"), 0.0);
    let started = metric(&server, "meridian_last_reload_timestamp_seconds");
    assert!((now() - started).abs() < 60.0, "{started}");
    let good = std::fs::read(site.path(ZONE_FILE)).unwrap();

    site.write(ZONE_FILE, "zone = ");
    server.reload("reload refused");
    let (status, text) = get(server.net.admin(), "/readyz");
    assert_eq!(status, 200, "it serves what it served");
    assert!(
        text.starts_with(
            "ready, but the last reload was refused: a restart would not come up with these files"
        ),
        "{text}"
    );
    assert_eq!(metric(&server, "meridian_last_reload_success"), 0.0);
    assert_eq!(metric(&server, "meridian_reload_failures_total"), 1.0);
    assert!(metric(&server, "meridian_last_reload_timestamp_seconds") >= started);

    site.write_bytes(ZONE_FILE, &good);
    server.reload("reloaded:");
    assert_eq!(
        get(server.net.admin(), "/readyz"),
        (200, "ready\n".to_owned())
    );
    assert_eq!(metric(&server, "meridian_last_reload_success"), 1.0);
    assert_eq!(metric(&server, "meridian_reload_failures_total"), 1.0);
}

#[test]
fn the_command_waits_for_what_comes_of_a_reload() {
    let site = Site::new();
    let server = site.start();
    site.edit(ZONE_FILE, "192.0.2.10", "192.0.2.11");
    let done = site.run(&["reload"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.starts_with("reloaded: 1 zone, "), "{done:?}");
    let www = || {
        dig(
            server.net.dns(),
            &["www.gtm.example", "+subnet=203.0.113.0/24", "+short"],
        )
    };
    assert_eq!(www(), "192.0.2.11\n");

    site.edit(ZONE_FILE, "route = \"nearest\"", "route = \"nearst\"");
    let done = site.run(&["reload"]);
    assert_eq!((done.code, done.stdout.as_str()), (Some(1), ""), "{done:?}");
    assert!(
        done.stderr.starts_with("meridian reload: ") && done.stderr.contains("unknown-value"),
        "{done:?}"
    );
    assert_eq!(www(), "192.0.2.11\n");
    drop(server);
    let done = site.run(
        &[
            "reload",
            "--state",
            &site.path("state").display().to_string(),
        ][..1],
    );
    assert_eq!(done.code, Some(1));
    assert!(
        done.stderr.contains("no server is running there"),
        "{done:?}"
    );
}

#[test]
fn the_unit_reloads_by_the_state_directory_that_systemd_made_and_fails_with_bad_files() {
    let unit = include_str!("../../systemd/meridian.service");
    let reload = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecReload=/usr/bin/meridian "))
        .unwrap();
    let site = Site::new();
    site.edit("meridian.toml", "state  = \"state\"\n", "");
    let exec_reload = || {
        let config = site.path("meridian.toml").display().to_string();
        let mut command = crate::support::command(env!("CARGO_BIN_EXE_meridian"));
        command.args(
            reload
                .replace("/etc/meridian/meridian.toml", &config)
                .split(' '),
        );
        command
            .env("STATE_DIRECTORY", site.path("given"))
            .status()
            .unwrap()
            .code()
    };
    let server = site.start_as(site.serve().env("STATE_DIRECTORY", site.path("given")));
    assert_eq!(exec_reload(), Some(0));
    site.write(ZONE_FILE, "zone = ");
    assert_eq!(exec_reload(), Some(1));
    drop(server);
}

#[test]
fn a_zone_file_cut_short_does_not_remove_its_services() {
    let site = with_services(9);
    let mut server = site.start();
    let s8 = || dig(server_dns(&site), &["s8.gtm.example", "+short"]);
    cut_before(&site, 6);
    let log = server.reload("reload refused");
    assert!(log.contains("error[too-much-removed]"), "{log}");
    let said = "the new files remove 3 of 10 services (s6.gtm.example., s7.gtm.example., s8.gtm.example.): more than max_removed = \"20%\"";
    assert!(log.contains(said), "{log}");
    assert_eq!(s8(), "192.0.2.8\n");
    assert!(
        get(server.net.admin(), "/readyz")
            .1
            .contains("removes more than max_removed: a restart would accept these files")
    );
    let verified = site.run(&["verify"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert!(
        verified.stdout.contains("warning[too-much-removed]"),
        "{verified:?}"
    );
    let refused = site.run(&["reload"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains(said) && refused.stderr.contains("meridian reload --force"),
        "{refused:?}"
    );
    let forced = site.run(&["reload", "--force"]);
    assert_eq!(forced.code, Some(0), "{forced:?}");
    server.says(
        "no longer served: 3 of 10 services (s6.gtm.example., s7.gtm.example., s8.gtm.example.)",
    );
    assert_eq!(s8(), "");
    assert_eq!(
        get(server.net.admin(), "/readyz"),
        (200, "ready\n".to_owned())
    );
}

fn server_dns(site: &Site) -> std::net::SocketAddr {
    site.net.dns()
}

#[test]
fn few_may_go_whatever_share_they_are_and_all_with_a_guard_of_all() {
    let site = with_services(1);
    let mut server = site.start();
    cut_before(&site, 0);
    server.reload("no longer served: 1 of 2 services (s0.gtm.example.)");

    let site = with_services(9);
    site.edit(
        "meridian.toml",
        "[server]\n",
        "[server]\nmax_removed = \"100%\"\n",
    );
    let mut server = site.start();
    cut_before(&site, 0);
    server.reload("no longer served: 9 of 10 services");
}

#[test]
fn a_zone_file_without_its_end_is_refused_where_one_is_asked_for() {
    let site = with_services(1);
    site.edit(
        "meridian.toml",
        "[server]\n",
        "[server]\nrequire_end = true\n",
    );
    let text = std::fs::read_to_string(site.path(ZONE_FILE)).unwrap();
    site.write(ZONE_FILE, &(text + "\n[end]   # whole\n# a remark\n"));
    let mut server = site.start();
    cut_before(&site, 0);
    let log = server.reload("reload refused");
    assert!(
        log.contains("error[end-missing]") && log.contains("it may have been cut short"),
        "{log}"
    );
    assert_eq!(
        dig(site.net.dns(), &["s0.gtm.example", "+short"]),
        "192.0.2.0\n"
    );
}

#[test]
fn reloads_that_are_asked_for_meanwhile_are_all_answered() {
    let site = Site::new();
    let server = site.start();
    let asked: Vec<_> = (0..4)
        .map(|_| {
            let mut reload = crate::support::command(env!("CARGO_BIN_EXE_meridian"));
            reload
                .args(["reload", "--config"])
                .arg(site.path("meridian.toml"));
            std::thread::spawn(move || reload.output().unwrap())
        })
        .collect();
    server.process.signal(Signal::SIGHUP);
    for asked in asked {
        let done = asked.join().unwrap();
        assert!(done.status.success(), "{done:?}");
    }
    wait_for("it is ready", || {
        (get(server.net.admin(), "/readyz").0 == 200).then_some(())
    });
}
