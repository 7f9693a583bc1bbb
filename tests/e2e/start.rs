//! Starts that fail: each with its own message and exit code 1, and wrong usage with 2.

use std::net::UdpSocket;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use hickory_proto::rr::RecordType;

use crate::support::{Done, Process, Site, command, get, query, run, udp};

/// Starts the server, which must not come up; its message, with exit code 1.
#[track_caller]
fn refusal(mut serve: Command) -> String {
    let done = Done::from(serve.output().unwrap());
    assert_eq!(done.code, Some(1), "{done:?}");
    assert_eq!(done.stdout, "");
    assert!(!done.stderr.contains("panicked"), "{done:?}");
    done.stderr
}

#[test]
fn a_port_held_by_another_process_is_named_with_its_holder() {
    let site = Site::new();
    let dns = site.net.dns();
    let holder = UdpSocket::bind(dns).unwrap();
    let said = refusal(site.serve());
    assert!(
        said.contains(&format!(
            "meridian: cannot listen on {dns} (UDP): the port is in use"
        )),
        "{said}"
    );
    assert!(
        said.contains(&format!("process {}", std::process::id())),
        "{said}"
    );
    drop(holder);

    let first = site.start();
    let said = refusal(site.serve());
    for transport in ["UDP", "TCP"] {
        assert!(
            said.contains(&format!(
                "cannot listen on {dns} ({transport}): the port is in use"
            )),
            "{said}"
        );
    }
    assert!(
        said.contains(&format!("stop process {} (meridian)", first.process.id())),
        "{said}"
    );
    // The first goes on undisturbed.
    assert!(crate::support::dig(dns, &["www.gtm.example", "+short"]).starts_with("192.0.2."));
}

#[test]
fn an_admin_port_that_is_held_is_a_failure_too() {
    let site = Site::new();
    let _holder = std::net::TcpListener::bind(site.net.admin()).unwrap();
    let said = refusal(site.serve());
    assert!(
        said.contains(&format!(
            "cannot listen on {} (TCP): the port is in use",
            site.net.admin()
        )),
        "{said}"
    );
}

#[test]
fn the_admin_address_answers_and_queries_are_refused_before_the_first_round_ends() {
    let site = Site::with_app();
    let net = site.net;
    // Connections to these endpoints open, and nobody says anything: the first round takes all its time.
    let _hung =
        [11, 12, 13].map(|host| std::net::TcpListener::bind((net.host(host), 8080)).unwrap());
    site.edit(
        "meridian.toml",
        "interval = \"200ms\"\ntimeout  = \"100ms\"",
        "interval = \"20s\"\ntimeout  = \"10s\"",
    );
    let mut process = Process::spawn(&mut site.serve());
    process.wait_log("concurrent probes", 0);
    let starting = "not ready: starting; queries are answered once the first round of probes has ended, within 5 s\n";
    assert_eq!(get(net.admin(), "/healthz"), (200, "ok\n".to_owned()));
    for path in ["/readyz", "/announcez", "/health", "/metrics"] {
        assert_eq!(get(net.admin(), path), (503, starting.to_owned()), "{path}");
    }
    // No black hole: whoever asks hears at once that nobody answers.
    let client = udp(net.dns());
    client
        .send(&query("www.gtm.example", RecordType::A))
        .unwrap();
    let refused = client.recv(&mut [0; 512]).unwrap_err();
    assert_eq!(
        refused.kind(),
        std::io::ErrorKind::ConnectionRefused,
        "{refused}"
    );
    let refused = std::net::TcpStream::connect(net.dns()).unwrap_err();
    assert_eq!(
        refused.kind(),
        std::io::ErrorKind::ConnectionRefused,
        "{refused}"
    );
    assert!(!process.log().contains("listening on"), "{}", process.log());
    process.wait_log("started: ", 0);
    assert!(crate::support::dig(net.dns(), &["www.gtm.example", "+short"]).starts_with("192.0.2."));
    assert_eq!(get(net.admin(), "/announcez").0, 200);
}

#[test]
fn a_privileged_port_needs_the_privilege() {
    let first_free: u16 = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .map_or(1024, |text| text.trim().parse().unwrap());
    if first_free <= 53 {
        eprintln!(
            "not run: on this machine port 53 is not privileged (net.ipv4.ip_unprivileged_port_start = {first_free})"
        );
        return;
    }
    let site = Site::new();
    site.edit("meridian.toml", ":5300", ":53");
    // The binary and the files may stand where another user cannot go.
    let public = tempfile::Builder::new()
        .prefix("meridian-e2e-")
        .tempdir_in("/tmp")
        .unwrap();
    let binary = public.path().join("meridian");
    std::fs::copy(env!("CARGO_BIN_EXE_meridian"), &binary).unwrap();
    copy_tree(site.directory(), public.path());
    let mut serve = command("setpriv");
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        assert!(
            Command::new("chmod")
                .args(["-R", "a+rX"])
                .arg(public.path())
                .status()
                .unwrap()
                .success()
        );
        serve.args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--bounding-set=-all",
            "--",
        ]);
    }
    serve
        .arg(&binary)
        .args(["serve", "--config"])
        .arg(public.path().join("meridian.toml"));
    let said = refusal(serve);
    assert!(
        said.contains(":53 (UDP): permission denied (ports below 1024 are privileged"),
        "{said}"
    );
    assert!(said.contains("CAP_NET_BIND_SERVICE"), "{said}");
}

fn copy_tree(from: &Path, to: &Path) {
    assert!(
        Command::new("cp")
            .arg("-r")
            .arg(from.join("."))
            .arg(to)
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn a_missing_configuration_is_named() {
    let site = Site::new();
    std::fs::remove_file(site.path("meridian.toml")).unwrap();
    let said = refusal(site.serve());
    assert!(
        said.contains("meridian.toml: error[missing-file]: there is no file"),
        "{said}"
    );
    assert!(said.contains("--config FILE"), "{said}");
    assert!(
        said.ends_with(
            "not started, and no last good files to serve instead: there is no state directory\n"
        ),
        "{said}"
    );
}

#[test]
fn a_missing_zones_directory_is_named() {
    let site = Site::new();
    std::fs::remove_dir_all(site.path("zones")).unwrap();
    let said = refusal(site.serve());
    assert!(
        said.contains("error[missing-zones-directory]") && said.contains("meridian.toml:5:"),
        "{said}"
    );
    assert!(
        said.contains("create it and put the zone files into it"),
        "{said}"
    );
}

#[test]
fn an_empty_zones_directory_is_named() {
    let site = Site::new();
    std::fs::remove_file(site.path("zones/gtm.example.toml")).unwrap();
    let said = refusal(site.serve());
    assert!(
        said.contains("has no zone file, so every query would be refused"),
        "{said}"
    );
    assert!(
        said.contains("hidden files and other extensions are ignored"),
        "{said}"
    );
}

#[test]
fn a_broken_zone_with_nothing_kept_is_shown_whole() {
    let site = Site::new();
    site.edit(
        "zones/gtm.example.toml",
        "route = \"nearest\"",
        "route = \"nearst\"\nansers = 2",
    );
    site.edit("zones/gtm.example.toml", "TXT   \"one\"", "TXTT  \"one\"");
    let said = refusal(site.serve());
    for expected in [
        "nearst",
        "nearest",
        "ansers",
        "answers",
        "TXTT",
        "3 errors, 0 warnings",
        "│",
        "gtm.example.toml:",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn a_broken_location_database_is_an_error_of_its_key() {
    let whole = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/geoip/world.mmdb")).unwrap();
    for (broken, name) in [
        (&b"\x89PNG\r\n\x1a\n not an MMDB"[..], "foreign"),
        (&whole[..whole.len() / 2], "truncated"),
        (&[], "empty"),
    ] {
        let site = Site::new();
        site.write_bytes("city.mmdb", broken);
        site.edit(
            "meridian.toml",
            "[maps.default]",
            "[geo]\ncity = \"city.mmdb\"\n[maps.default]",
        );
        let said = refusal(site.serve());
        assert!(
            said.contains("error[bad-mmdb]") && said.contains("geo.city"),
            "{name}: {said}"
        );
        assert!(
            said.contains("replace it with a complete MMDB"),
            "{name}: {said}"
        );
    }
}

#[test]
fn wrong_usage_is_code_2_and_help_code_0() {
    let here = Path::new("/");
    for wrong in [
        &[][..],
        &["sevre"],
        &["serve", "--konfig", "x"],
        &["why", "www.gtm.example"],
        &["why", "www.gtm.example", "--client", "203.0.113.0/33"],
        &[
            "why",
            "www.gtm.example",
            "NOTYPE",
            "--client",
            "203.0.113.1",
        ],
        &["geoip"],
        &["demo", "--listen", "5300"],
    ] {
        let done = run(here, wrong);
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (Some(2), ""),
            "{wrong:?}: {done:?}"
        );
        assert!(
            done.stderr.contains("Usage: meridian") || done.stderr.contains("--help"),
            "{done:?}"
        );
    }
    for right in [&["--help"][..], &["--version"], &["why", "--help"]] {
        let done = run(here, right);
        assert_eq!(
            (done.code, done.stderr.as_str()),
            (Some(0), ""),
            "{right:?}"
        );
        assert!(done.stdout.contains("eridian"), "{done:?}");
    }
}

/// The files can be the same on every host.
#[test]
fn a_node_is_called_by_its_command_its_files_or_its_host() {
    let site = Site::new();
    let name = |arguments: &[&str]| {
        let mut serve = site.serve();
        serve.args(arguments);
        let mut server = Process::spawn(&mut serve);
        server.wait_log("started: ", 0);
        crate::support::dig(site.net.dns(), &["CH", "TXT", "id.server", "+short"])
    };
    assert_eq!(name(&[]), "\"test-node\"\n");
    assert_eq!(name(&["--node", "ns7"]), "\"ns7\"\n");
    site.edit("meridian.toml", "node   = \"test-node\"\n", "");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(name(&[]), format!("\"{}\"\n", host.trim()));

    let done = run(site.directory(), &["serve", "--node", "ns 7"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(
        done.stderr
            .contains("up to 64 letters, digits and punctuation"),
        "{done:?}"
    );
}
