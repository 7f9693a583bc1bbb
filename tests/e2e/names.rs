//! Endpoints given by name, looked up at unbound: it answers, hangs, dies, and says that a name is gone.

use nix::sys::signal::Signal;

use crate::support::{Process, Site, Toy, command};

const UNBOUND: &str = r#"
server:
    interface: NET.3@5300
    access-control: 127.0.0.0/8 allow
    do-daemonize: no
    chroot: ""
    username: ""
    directory: "DIRECTORY"
    pidfile: ""
    use-syslog: no
    logfile: ""
    verbosity: 1
    do-ip6: no
    local-zone: "backend.example." static
    local-data: "app.backend.example. 1 IN A NET.11"
    LATER
remote-control:
    control-enable: no
"#;

const SERVICE: &str = r#"
[services.named]
route  = "priority"
map    = "none"
checks = ["web"]
[services.named.pools]
dublin  = { priority = 1, endpoints = ["app.backend.example."] }
ashburn = { priority = 2, endpoints = ["late.backend.example."] }
"#;

fn unbound(site: &Site, later: &str) -> Process {
    let directory = site.directory().display().to_string();
    site.write(
        "unbound.conf",
        &UNBOUND
            .replace("DIRECTORY", &directory)
            .replace("LATER", later),
    );
    let mut unbound = command("/usr/sbin/unbound");
    unbound.arg("-d").arg("-c").arg(site.path("unbound.conf"));
    let mut unbound = Process::spawn(&mut unbound);
    unbound.wait_log("start of service", 0);
    unbound
}

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
    let resolver = unbound(&site, "local-data: \"late.backend.example. 1 IN A NET.12\"");
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
    let _resolver = unbound(&site, "");
    server
        .says("endpoint late.backend.example. check web is down, was up: its name does not exist");
    let (_, log) = server.stop();
    let downs = log
        .lines()
        .filter(|line| line.contains("endpoint") && line.contains("is down, was up"))
        .count();
    assert_eq!(downs, 2, "{log}");
}
