//! Schemathesis from PyPI sends the API what its own description allows, and what it does not, and judges the answers
//! by it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Done, Site, command};

const VERSION: &str = "4.32.5";

/// Names that are there, so that not every question is about nothing.
const NAMES: &str = r#"
[parameters]
name   = "www.gtm.example"
client = "203.0.113.7"
ip     = "203.0.113.7"
loss   = "dublin"
"#;

/// The directory of its packages, which are installed once.
fn packages() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let place = target.join(format!("schemathesis-{VERSION}"));
    if !place.is_dir() {
        // Beside its place at first: an installation that was cut short is none.
        let aside = tempfile::TempDir::new_in(target).unwrap();
        let mut pip = Command::new("pip3");
        pip.args([
            "install",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
        ])
        .arg("--target")
        .arg(aside.path().join("packages"))
        .arg(format!("schemathesis=={VERSION}"));
        let installed = pip
            .output()
            .unwrap_or_else(|error| panic!("pip3 (tests/run installs it): {error}"));
        assert!(installed.status.success(), "{installed:?}");
        std::fs::rename(aside.path().join("packages"), &place).unwrap();
    }
    place
}

#[test]
fn the_api_is_as_it_describes_itself() {
    let site = Site::with_app();
    site.write("schemathesis.toml", NAMES);
    let server = site.start();
    let packages = packages();
    let mut schemathesis = command(packages.join("bin/schemathesis"));
    schemathesis
        .arg("run")
        .arg(format!("{}/openapi.json", site.net.admin_url()))
        .args([
            "--phases",
            "examples,coverage,fuzzing",
            "--max-examples",
            "20",
        ])
        // One worker: with several, Python 3.11 may fail at its own parser.
        .args(["--seed", "1", "--checks", "all"])
        // A schema cannot say which names there are, nor that an override has one end.
        .args(["--exclude-checks", "positive_data_acceptance"])
        // A stream of events has no end to wait for.
        .args(["--exclude-path", "/v1/events"])
        // It keeps what it found in its directory.
        .current_dir(site.directory())
        .env("PYTHONPATH", &packages);
    let done: Done = schemathesis.output().unwrap().into();
    assert_eq!(done.code, Some(0), "{}\n{}", done.stdout, done.stderr);
    assert!(done.stdout.contains(" generated, "), "{}", done.stdout);
    assert!(
        !done.stdout.contains("nresolvable reference"),
        "{}",
        done.stdout
    );
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}
