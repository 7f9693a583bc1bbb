//! Endpoints given by name, looked up at unbound: it answers, hangs, dies, and says that a name is gone.

use nix::sys::signal::Signal;

use crate::support::{Site, Toy, unbound};

/// Zone of the endpoints' names, at unbound.
const BACKEND: &str = r#"
    local-zone: "backend.example." static
    local-data: "app.backend.example. 1 IN A NET.11"
"#;
/// A further name in it, which does not stay.
const LATE: &str = r#"    local-data: "late.backend.example. 1 IN A NET.12""#;

const SERVICE: &str = r#"
[services.named]
route  = "priority"
map    = "none"
checks = ["web"]
[services.named.pools]
dublin  = { priority = 1, endpoints = ["app.backend.example."] }
ashburn = { priority = 2, endpoints = ["late.backend.example."] }
"#;

#[test]
fn a_dead_or_hung_resolver_takes_no_name_endpoint_down() {
    let site = Site::new();
    site.edit(
        "meridian.toml",
        "zones  = \"zones\"",
        "zones  = \"zones\"\nresolvers = [\"NET.3:5300\"]",
    );
    site.write(
        "zones/gtm.example.toml",
        &[crate::support::ZONE, SERVICE].concat(),
    );
    let [dublin, _ashburn, _tokyo] = Toy::regions(site.net);
    let resolver = unbound(&site, &[BACKEND, LATE].concat(), "");
    let mut server = site.start();

    resolver.signal(Signal::SIGSTOP);
    server.has_said("endpoint app.backend.example. check web: its name cannot be looked up (no name server answered in time)");
    let log = server.process.log();
    assert!(!log.contains("is down, was up"), "{log}");
    // Its endpoints are judged all the same.
    let revive = dublin.kill();
    server.says(
        "endpoint app.backend.example. check web is down, was up: the connection was refused",
    );
    let _dublin = revive();
    server.says("endpoint app.backend.example. check web is up, was down");

    drop(resolver);
    let _resolver = unbound(&site, BACKEND, "");
    server
        .says("endpoint late.backend.example. check web is down, was up: its name does not exist");
    let (_, log) = server.stop();
    let downs = log
        .lines()
        .filter(|line| line.contains("endpoint") && line.contains("is down, was up"))
        .count();
    assert_eq!(downs, 2, "{log}");
}
