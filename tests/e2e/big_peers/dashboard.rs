//! The dashboard in Chromium: tests/browser/walk.mjs walks through it, while regions die and come back here. Screenshots
//! stay in target/screenshots.

use std::path::Path;

use crate::support::{Process, Site, Toy, command};

#[test]
fn an_operator_watches_asks_drains_and_releases_in_a_browser() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(
        root.join("tests/browser/node_modules").is_dir(),
        "tests/run installs it: npm ci in tests/browser"
    );
    let site = Site::with_app();
    let [_dublin, _ashburn, tokyo] = Toy::regions(site.net);
    let _server = site.start();
    let mut node = command("node");
    node.arg(root.join("tests/browser/walk.mjs"))
        .arg(site.net.admin_url())
        .arg(root.join("target/screenshots"));
    let mut walk = Process::spawn(&mut node);
    walk.wait_log("step: kill tokyo", 0);
    let revive = tokyo.kill();
    walk.wait_log("step: revive tokyo", 0);
    let _tokyo = revive();
    for step in [
        "tokyo up",
        "why",
        "a service",
        "the override",
        "the audit entry",
        "the release",
        "every page light 1440",
        "every page dark 1440",
        "every page light 360",
        "every page dark 360",
        "every page dark 3840",
    ] {
        walk.wait_log(&format!("saw: {step}"), 0);
    }
    let (code, log) = walk.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.ends_with("done: no complaint\n"), "{log}");
}
