//! Location databases on the disk of a running server.

use std::time::{Duration, Instant};

use crate::support::{Site, dig, get};

const CITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/geoip/world.mmdb");

/// A site with a database of its own, in which `203.0.113.0/24` is near dublin.
fn site() -> Site {
    let site = Site::new();
    site.write_bytes("city.mmdb", &std::fs::read(CITY).unwrap());
    site.edit(
        "meridian.toml",
        "[maps.default]",
        "[geo]\ncity = \"city.mmdb\"\n[maps.default]",
    );
    site
}

/// A database in which it is near tokyo.
fn other(site: &Site) -> Vec<u8> {
    made(site, "AS,JP,,Tokyo,35.68,139.69,")
}

/// A database in which it is at `place`.
fn made(site: &Site, place: &str) -> Vec<u8> {
    site.write(
        "plan.csv",
        &format!("network,continent,country,subdivision,city,latitude,longitude,asn\n203.0.113.0/24,{place}\n"),
    );
    let (input, output) = (
        site.path("plan.csv").display().to_string(),
        site.path("plan.mmdb").display().to_string(),
    );
    let done = crate::support::run(site.directory(), &["geoip", "build", &input, &output]);
    assert_eq!(done.code, Some(0), "{done:?}");
    std::fs::read(output).unwrap()
}

#[test]
fn a_database_replaced_on_disk_is_taken_up_once_it_is_quiet() {
    let site = site();
    let mut server = site.start();
    assert_eq!(server.www(), "192.0.2.10");
    site.write_bytes("city.mmdb", &other(&site));
    let replaced = Instant::now();
    server.says("reloading: a location database changed on disk");
    assert!(
        replaced.elapsed() > Duration::from_millis(4900),
        "it waits for quiet"
    );
    server.says("reloaded:");
    assert_eq!(server.www(), "192.0.2.30");
}

#[test]
fn a_broken_database_at_reload_keeps_the_old_one() {
    let site = site();
    let mut server = site.start();
    let whole = std::fs::read(CITY).unwrap();
    for broken in [&whole[..whole.len() / 2], b"not an MMDB", b""] {
        site.write_bytes("city.mmdb", broken);
        let log = server.reload("reload refused");
        assert!(
            log.contains("error[bad-mmdb]") && log.contains("geo.city"),
            "{log}"
        );
        assert_eq!(server.www(), "192.0.2.10");
    }
    site.write_bytes("city.mmdb", &other(&site));
    server.reload("reloaded:");
    assert_eq!(server.www(), "192.0.2.30");
}

#[test]
fn a_broken_database_found_on_disk_is_refused_however_often_it_is_read() {
    let site = site();
    let mut server = site.start();
    site.write_bytes("city.mmdb", b"not an MMDB");
    server.says("reloading: a location database changed on disk");
    server.says("reload refused");
    // It was tried; asked to, the server tries again, and must not take what it has in memory for the file.
    assert!(server.reload("reload refused").contains("bad-mmdb"));
    assert_eq!(server.www(), "192.0.2.10");
    assert_eq!(get(server.net.admin(), "/readyz").0, 200);
}

#[test]
fn a_new_database_is_not_forgotten_over_a_broken_zone() {
    let site = site();
    let mut server = site.start();
    let zone = std::fs::read(site.path("zones/gtm.example.toml")).unwrap();
    site.write_bytes("zones/gtm.example.toml", b"zone = ");
    site.write_bytes("city.mmdb", &other(&site));
    server.says("reloading: a location database changed on disk");
    server.says("reloaded: the location databases");
    assert_eq!(
        server.www(),
        "192.0.2.30",
        "the zone file has nothing to do with it"
    );
    server.reload("reload refused");
    site.write_bytes("zones/gtm.example.toml", &zone);
    server.reload("reloaded:");
    assert_eq!(
        server.www(),
        "192.0.2.30",
        "the new database, since it is the one on the disk"
    );
}

#[test]
fn a_new_database_publishes_no_edit_of_a_zone_that_is_not_finished() {
    let site = site();
    let mut server = site.start();
    site.edit("zones/gtm.example.toml", "192.0.2.30", "192.0.2.99");
    site.write_bytes("city.mmdb", &other(&site));
    server.says("reloaded: the location databases");
    assert_eq!(server.www(), "192.0.2.30");
    server.reload("reloaded:");
    assert_eq!(server.www(), "192.0.2.99", "asked to, it reads them all");
    site.write_bytes("city.mmdb", &std::fs::read(CITY).unwrap());
    server.says("reloaded: the location databases");
    assert_eq!(server.stop().0, Some(0));

    // What is kept for a start with broken files has the database that was read last, and the zone that was accepted last.
    std::fs::write(site.path("zones/gtm.example.toml"), "zone = ").unwrap();
    std::fs::remove_file(site.path("city.mmdb")).unwrap();
    let server = site.start();
    assert_eq!(server.www(), "192.0.2.10");
    assert_eq!(
        dig(
            server.net.dns(),
            &["www.gtm.example", "+subnet=10.1.2.0/24", "+short"]
        )
        .trim(),
        "192.0.2.99"
    );
}

#[test]
fn a_database_written_again_with_the_same_content_is_no_change() {
    let site = site();
    let mut server = site.start();
    site.write_bytes("city.mmdb", &std::fs::read(CITY).unwrap());
    server.says("location database unchanged: a file was written again with the same contents");
    let log = server.process.log();
    assert!(
        !log.contains("reloading") && !log.contains("reloaded"),
        "{log}"
    );
}

#[test]
fn a_database_replaced_under_equal_time_and_length_is_taken_up_by_sighup() {
    let site = site();
    let put = |place: &str| {
        let bytes = made(&site, place);
        site.write_bytes("city.mmdb", &bytes);
        let file = std::fs::File::options()
            .write(true)
            .open(site.path("city.mmdb"))
            .unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        bytes.len()
    };
    let old = put("EU,IE,,Sligo,54.27,-8.47,");
    let mut server = site.start();
    assert_eq!(server.www(), "192.0.2.10");
    assert_eq!(
        put("AS,JP,,Tokyo,35.68,139.69,"),
        old,
        "nothing shows but the content and the inode"
    );
    server.reload("reloaded:");
    assert_eq!(server.www(), "192.0.2.30");
}
