//! Starts with broken files: the last good ones are served, loudly, and the node is not ready.

use std::process::Command;

use crate::support::{Meridian, Site, dig, get};

const ZONE_FILE: &str = "zones/gtm.example.toml";

#[track_caller]
fn serves_www(server: &Meridian) {
    assert_eq!(
        dig(
            server.net.dns(),
            &["www.gtm.example", "+subnet=203.0.113.0/24", "+short"]
        ),
        "192.0.2.10\n"
    );
}

#[track_caller]
fn serves_the_last_good(site: &Site) -> Meridian {
    let server = site.start();
    serves_www(&server);
    let log = server.process.log();
    assert!(
        log.contains("configuration broken: serving the last good files"),
        "{log}"
    );
    let (status, why) = get(server.net.admin(), "/readyz");
    assert_eq!(
        (status, why.as_str()),
        (
            503,
            "not ready: configuration broken: serving the last good files until the files are fixed and reloaded\n"
        )
    );
    assert_eq!(get(server.net.admin(), "/healthz").0, 200);
    server
}

#[track_caller]
fn mended(server: &mut Meridian) {
    server.reload("reloaded:");
    serves_www(server);
    assert_eq!(
        get(server.net.admin(), "/readyz"),
        (200, "ready\n".to_owned())
    );
}

#[test]
fn broken_files_are_replaced_by_the_last_good_until_they_are_mended() {
    let site = Site::new();
    assert_eq!(site.start().stop().0, Some(0));
    let good = std::fs::read(site.path(ZONE_FILE)).unwrap();

    site.edit(ZONE_FILE, "route = \"nearest\"", "route = \"nearst\"");
    let mut server = serves_the_last_good(&site);
    assert!(
        server.process.log().contains("nearst"),
        "the fault is shown"
    );
    // A reload that fails changes nothing, and what is served is still the copies.
    server.reload("reload refused");
    assert_eq!(get(server.net.admin(), "/readyz").0, 503);
    site.write_bytes(ZONE_FILE, &good);
    mended(&mut server);
    assert_eq!(server.stop().0, Some(0));
    assert!(!site.start().process.log().contains("BROKEN"));
}

#[test]
fn everything_may_be_gone_but_the_state() {
    let site = Site::new();
    assert_eq!(site.start().stop().0, Some(0));
    std::fs::remove_dir_all(site.path("zones")).unwrap();
    site.edit("meridian.toml", "[maps.default]", "[maps.default");
    drop(serves_the_last_good(&site));
    // Even the configuration: then the service manager knows where the state is.
    std::fs::remove_file(site.path("meridian.toml")).unwrap();
    let server = site.start_as(site.serve().env("STATE_DIRECTORY", site.path("state")));
    serves_www(&server);
}

#[test]
fn the_state_directory_of_the_service_manager_is_used_where_none_is_configured() {
    let site = Site::new();
    site.edit("meridian.toml", "state  = \"state\"\n", "");
    let state = site.path("given");
    let serve = || {
        let mut serve = site.serve();
        serve.env("STATE_DIRECTORY", &state);
        serve
    };
    assert_eq!(site.start_as(&mut serve()).stop().0, Some(0));
    assert!(state.join("last-good/manifest.json").exists());
    std::fs::write(site.path(ZONE_FILE), "zone = ").unwrap();
    let server = site.start_as(&mut serve());
    serves_www(&server);
}

#[test]
fn a_broken_location_database_is_no_reason_not_to_serve() {
    let site = Site::new();
    site.write_bytes(
        "city.mmdb",
        &std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/geoip/world.mmdb")).unwrap(),
    );
    site.edit(
        "meridian.toml",
        "[maps.default]",
        "[geo]\ncity = \"city.mmdb\"\n[maps.default]",
    );
    assert_eq!(site.start().stop().0, Some(0));
    let whole = std::fs::read(site.path("city.mmdb")).unwrap();
    site.write_bytes("city.mmdb", &whole[..whole.len() / 3]);
    let mut server = serves_the_last_good(&site);
    // Asked again, the answer is the same: what was kept is not taken for what is on the disk.
    assert!(server.reload("reload refused").contains("bad-mmdb"));
    assert_eq!(get(server.net.admin(), "/readyz").0, 503);
    site.write_bytes("city.mmdb", &whole);
    mended(&mut server);
}

#[test]
fn a_state_directory_that_cannot_be_written_never_stops_serving() {
    let site = Site::new();
    // A file in its place refuses root too.
    std::fs::write(site.path("state"), "a file").unwrap();
    let mut server = site.start();
    server.has_said("last good files not saved in");
    serves_www(&server);
    assert_eq!(get(server.net.admin(), "/readyz").0, 200);
    server.reload("reloaded:");
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn damaged_copies_are_not_served() {
    let site = Site::new();
    assert_eq!(site.start().stop().0, Some(0));
    let copies = site.path("state/last-good/files");
    assert!(
        Command::new("sh")
            .arg("-c")
            .arg("for f in *; do echo damaged > \"$f\"; done")
            .current_dir(copies)
            .status()
            .unwrap()
            .success()
    );
    std::fs::write(site.path(ZONE_FILE), "zone = ").unwrap();
    let done = crate::support::Done::from(site.serve().output().unwrap());
    assert_eq!(done.code, Some(1));
    assert!(
        done.stderr.contains("the last good files cannot be used")
            && done.stderr.contains("is damaged"),
        "{done:?}"
    );
}
