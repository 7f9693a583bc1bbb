//! SIGHUP: what good files change, and that bad ones change nothing.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use crate::support::{Hammer, Meridian, Site, dig};

const ZONE_FILE: &str = "zones/gtm.example.toml";

/// SIGHUP with files that must be refused; what was logged, while the old answers stay.
#[track_caller]
fn refused(server: &mut Meridian) -> String {
    let log = server.reload("reload refused: still serving the previous files");
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(server.www(), "192.0.2.10");
    log
}

#[test]
fn a_good_file_takes_effect_and_no_query_is_lost() {
    let site = Site::new();
    let mut server = site.start();
    let clients = Hammer::start(
        server.net.dns(),
        "www.gtm.example",
        Duration::from_millis(1),
    );
    assert_eq!(server.www(), "192.0.2.10");
    for round in 0..10u8 {
        let (old, new) = (
            format!("192.0.2.{}", 10 + round),
            format!("192.0.2.{}", 11 + round),
        );
        site.edit(
            ZONE_FILE,
            &format!("\"{old}\", \"2001:db8::10\""),
            &format!("\"{new}\", \"2001:db8::10\""),
        );
        server.reload("reloaded: 1 zone");
        assert_eq!(server.www(), new);
    }
    let answers = clients.stop();
    assert!(answers.len() > 100, "{}", answers.len());
    site.write(
        "zones/new.example.toml",
        "zone = \"new.example\"\nrecords = '''\n@ 60 SOA ns h 1 2 3 4 5\n@ 60 NS ns\nns 60 A 192.0.2.1\n'''\n",
    );
    server.reload("reloaded: 2 zones");
    assert_eq!(
        dig(server.net.dns(), &["ns.new.example", "+short"]),
        "192.0.2.1\n"
    );
    std::fs::remove_file(site.path("zones/new.example.toml")).unwrap();
    server.reload("reloaded: 1 zone");
    assert!(dig(server.net.dns(), &["ns.new.example"]).contains("status: REFUSED"));
}

#[test]
fn signals_in_a_burst_end_with_the_newest_files() {
    let site = Site::new();
    let mut server = site.start();
    for round in 0..50u8 {
        site.edit(
            ZONE_FILE,
            &format!("192.0.2.{}\", \"2001:db8::10", 10 + round),
            &format!("192.0.2.{}\", \"2001:db8::10", 11 + round),
        );
        server.process.signal(nix::sys::signal::Signal::SIGHUP);
    }
    crate::support::wait_for("the newest file is served", || {
        (server.www() == "192.0.2.60").then_some(())
    });
    // The copies kept of them are the newest too, and whole.
    server.reload("reloaded:");
    server.process.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(server.process.end().0, Some(0));
    std::fs::write(site.path(ZONE_FILE), "broken").unwrap();
    assert_eq!(site.start().www(), "192.0.2.60");
}

#[test]
fn a_broken_file_changes_nothing_and_every_fault_is_logged() {
    let site = Site::new();
    let mut server = site.start();
    site.edit(ZONE_FILE, "192.0.2.10", "192.0.2.99");
    site.edit(
        ZONE_FILE,
        "route = \"nearest\"",
        "route = \"nearst\"\nansers = 2",
    );
    site.edit(ZONE_FILE, "TXT   \"one\"", "TXTT  \"one\"");
    site.write("zones/second.toml", "zone = \"gtm.example\"\n");
    let log = refused(&mut server);
    for expected in ["nearst", "ansers", "TXTT", "second.toml", "│"] {
        assert!(log.contains(expected), "{expected}: {log}");
    }
    site.write(ZONE_FILE, crate::support::ZONE);
    std::fs::remove_file(site.path("zones/second.toml")).unwrap();
    server.reload("reloaded:");
    assert_eq!(server.www(), "192.0.2.10");
}

#[test]
fn what_only_a_restart_changes_is_said() {
    let site = Site::new();
    let mut server = site.start();
    let waits = "listen, workers, pin_workers, udp_*, tcp_*, exec_processes, [dnstap] and the listen addresses, connections and streams of [admin] of the new files take effect at the next restart";
    for (old, new) in [
        (":8053", ":8054"),
        ("[server]\n", "[server]\nudp_batch = 32\n"),
        ("[server]\n", "[server]\npin_workers = true\n"),
        ("[admin]\n", "[dnstap]\nfile = \"queries\"\n[admin]\n"),
    ] {
        site.edit("meridian.toml", old, new);
        let log = server.reload("reloaded:");
        assert!(log.contains(waits), "{new}: {log}");
    }
    let log = server.reload("reloaded:");
    assert!(!log.contains(waits), "{log}");
}

#[test]
fn a_zone_file_that_is_gone_takes_its_zone_along() {
    let site = Site::new();
    let other = "zone = \"other.example\"\nrecords = '''\n@ 60 SOA ns h 1 2 3 4 5\n@ 60 NS ns\nns 60 A 192.0.2.1\n'''\n";
    site.write("zones/other.toml", other);
    let mut server = site.start();
    std::fs::remove_file(site.path(ZONE_FILE)).unwrap();
    assert!(
        server.reload("reload refused").contains("4 of 6 names"),
        "as likely a mishap"
    );
    assert_eq!(site.run(&["reload", "--force"]).code, Some(0));
    assert!(dig(server.net.dns(), &["www.gtm.example"]).contains("status: REFUSED"));
    assert_eq!(
        dig(server.net.dns(), &["ns.other.example", "+short"]),
        "192.0.2.1\n"
    );
    // The last one, and the directory: more likely a mishap than a wish.
    std::fs::remove_file(site.path("zones/other.toml")).unwrap();
    assert!(
        server
            .reload("reload refused")
            .contains("has no zone file, so every query would be refused")
    );
    std::fs::remove_dir_all(site.path("zones")).unwrap();
    assert!(
        server
            .reload("reload refused")
            .contains("there is no directory")
    );
    assert_eq!(
        dig(server.net.dns(), &["ns.other.example", "+short"]),
        "192.0.2.1\n"
    );
}

#[test]
fn files_that_cannot_be_read_are_refused() {
    let site = Site::new();
    let mut server = site.start();
    // Permission bits do not bind root, so these stand in for a file that cannot be read.
    std::fs::create_dir(site.path("zones/directory.toml")).unwrap();
    symlink("nowhere", site.path("zones/dangling.toml")).unwrap();
    symlink("/dev/zero", site.path("zones/endless.toml")).unwrap();
    let log = refused(&mut server);
    assert!(
        log.contains("directory.toml is a directory, not a file"),
        "{log}"
    );
    assert!(
        log.contains("dangling.toml is a link to a file that does not exist"),
        "{log}"
    );
    assert!(
        log.contains("endless.toml is a pipe or a device, not a file"),
        "{log}"
    );
}

#[test]
fn invalid_utf8_is_placed() {
    let site = Site::new();
    let mut server = site.start();
    site.write_bytes(
        "zones/latin1.toml",
        b"zone = \"gtm2.example\"\n# Z\xfcrich\n",
    );
    let log = refused(&mut server);
    assert!(
        log.contains("latin1.toml:2:4") && log.contains("the byte 0xFC is not UTF-8 text"),
        "{log}"
    );
}

#[test]
fn an_include_that_includes_itself_is_refused() {
    let site = Site::new();
    let mut server = site.start();
    site.write(
        "zones/loop.toml",
        "zone = \"loop.example\"\nrecords_file = \"loop.zone\"\n",
    );
    site.write(
        "zones/loop.zone",
        "@ 60 SOA ns h 1 2 3 4 5\n@ 60 NS ns\nns 60 A 192.0.2.1\n$INCLUDE loop.zone\n",
    );
    let log = refused(&mut server);
    assert!(log.contains("loop.zone:4:"), "{log}");
}

/// `megabytes` of printable nonsense.
fn nonsense(megabytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(100);
    let block: Vec<u8> = std::iter::repeat_with(|| {
        if random.u8(..) < 8 {
            b'\n'
        } else {
            random.u8(b' '..=b'~')
        }
    })
    .take(1 << 20)
    .collect();
    block.repeat(megabytes)
}

#[test]
fn a_hundred_megabytes_of_nonsense_end_soon_and_in_few_words() {
    let site = Site::new();
    let mut server = site.start();
    let clients = Hammer::start(
        server.net.dns(),
        "www.gtm.example",
        Duration::from_millis(5),
    );
    for name in ["zones/nonsense.toml", "zones/nonsense.zone"] {
        site.write(
            "zones/nonsense.toml",
            "zone = \"nonsense.example\"\nrecords_file = \"nonsense.zone\"\n",
        );
        site.write_bytes(name, &nonsense(100));
        let began = Instant::now();
        let log = refused(&mut server);
        assert!(
            began.elapsed() < Duration::from_secs(25),
            "{name}: {:?}",
            began.elapsed()
        );
        assert!(
            log.len() < 200_000 && log.contains("nonsense"),
            "{name}: {} octets of log",
            log.len()
        );
        eprintln!(
            "{name}: refused after {:?} in {} octets of log",
            began.elapsed(),
            log.len()
        );
    }
    clients.stop();
}
