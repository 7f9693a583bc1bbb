//! The systemd unit, held to systemd's own judgement.
//!
//! `systemd-analyze` is in Debian's package `systemd`; it works on files and needs no running systemd.

use std::path::Path;
use std::process::Command;

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/meridian.service");

/// The highest exposure allowed, in tenths: `systemd-analyze security` rates a service without any hardening 9.6.
const EXPOSURE_TENTHS: u32 = 16;

fn analyze(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("systemd-analyze is installed (apt-get install systemd)");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// The values of a key, in the order of the file.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .collect()
}

/// Writes the unit to `directory` with this build's binary for the installed one, which `verify` looks for.
fn with_our_binary(unit: &str, directory: &Path) -> String {
    let changed = unit.replace(
        "=/usr/bin/meridian ",
        concat!("=", env!("CARGO_BIN_EXE_meridian"), " "),
    );
    assert_ne!(changed, unit);
    let path = directory.join("meridian.service");
    std::fs::write(&path, changed).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn systemd_has_nothing_to_say_about_the_unit() {
    let unit = std::fs::read_to_string(UNIT).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (passed, said) = analyze(&[
        "verify",
        "--man=no",
        &with_our_binary(&unit, directory.path()),
    ]);
    assert!(passed && said.is_empty(), "{said}");
}

#[test]
fn systemd_does_complain_about_a_unit_with_a_key_misspelt() {
    let unit = std::fs::read_to_string(UNIT)
        .unwrap()
        .replace("WatchdogSec=", "WatchDogSec=");
    let directory = tempfile::tempdir().unwrap();
    let (_, said) = analyze(&[
        "verify",
        "--man=no",
        &with_our_binary(&unit, directory.path()),
    ]);
    assert!(said.contains("WatchDogSec"), "{said}");
}

#[test]
fn the_unit_exposes_little() {
    let security = |tenths: u32| {
        analyze(&[
            "security",
            "--offline=true",
            "--no-pager",
            &format!("--threshold={tenths}"),
            UNIT,
        ])
    };
    let (passed, said) = security(EXPOSURE_TENTHS);
    assert!(passed, "{said}");
    assert!(
        said.contains("Overall exposure level for meridian.service"),
        "{said}"
    );
    assert!(!security(1).0, "the threshold is looked at");
}

#[test]
fn the_unit_allows_what_the_server_needs() {
    let unit = std::fs::read_to_string(UNIT).unwrap();
    assert_eq!(
        values(&unit, "Type"),
        ["notify"],
        "notify-reload is newer than Debian 12's systemd"
    );
    let reload = "/usr/bin/meridian reload --config /etc/meridian/meridian.toml";
    assert_eq!(
        values(&unit, "ExecReload"),
        [reload],
        "a signal cannot say that the files are bad"
    );
    assert_eq!(
        values(&unit, "AmbientCapabilities"),
        ["CAP_NET_BIND_SERVICE"]
    );
    assert_eq!(
        values(&unit, "CapabilityBoundingSet"),
        ["CAP_NET_BIND_SERVICE"]
    );
    assert_eq!(values(&unit, "StateDirectory"), ["meridian"]);
    assert_eq!(
        meridian::state::DEFAULT_STATE,
        "/var/lib/meridian",
        "where the commands look for it"
    );
    let families = values(&unit, "RestrictAddressFamilies");
    for family in ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"] {
        assert!(
            families[0].split(' ').any(|listed| listed == family),
            "{family}"
        );
    }
    assert!(!values(&unit, "WatchdogSec").is_empty());
    for hidden in [
        "PrivateNetwork",
        "PrivateUsers",
        "InaccessiblePaths",
        "RootDirectory",
        "IPAddressDeny",
    ] {
        assert!(
            values(&unit, hidden).is_empty(),
            "{hidden}= would take port 53, the clients or the MMDBs away"
        );
    }
}
