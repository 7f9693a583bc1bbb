//! unbound, a resolver that runs beside Meridian.

use std::net::SocketAddr;

use super::{Process, Site, command};

/// Configuration that every test shares: no privileges, no IPv6, the log on standard error.
const CONFIGURATION: &str = r#"
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
OPTIONS
remote-control:
    control-enable: no
SECTIONS
"#;

/// Address of the unbound of `site`.
pub(crate) fn unbound_address(site: &Site) -> SocketAddr {
    (site.net.host(3), 5300).into()
}

/// Starts unbound with these `options` of its server and further `sections`; NET is replaced.
pub(crate) fn unbound(site: &Site, options: &str, sections: &str) -> Process {
    let directory = site.directory().display().to_string();
    let configuration = CONFIGURATION
        .replace("DIRECTORY", &directory)
        .replace("OPTIONS", options)
        .replace("SECTIONS", sections);
    site.write("unbound.conf", &configuration);
    let mut unbound = command("/usr/sbin/unbound");
    unbound.arg("-d").arg("-c").arg(site.path("unbound.conf"));
    let mut unbound = Process::spawn(&mut unbound);
    unbound.wait_log("start of service", 0);
    unbound
}
