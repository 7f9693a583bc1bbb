//! Connections that are held to endpoints: the death of a server, and a server that lives on.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{Meridian, Process, Site, command, dig, get, wait_for};

const NGINX: &str = r#"
daemon off;
OF_MAIN
worker_processes 1;
error_log stderr;
pid DIRECTORY/NAME.pid;
events {}
http {
    access_log off;
    OF_HTTP
    client_body_temp_path DIRECTORY/NAME-body;
    proxy_temp_path DIRECTORY/NAME-proxy;
    fastcgi_temp_path DIRECTORY/NAME-fastcgi;
    uwsgi_temp_path DIRECTORY/NAME-uwsgi;
    scgi_temp_path DIRECTORY/NAME-scgi;
    server {
        LISTEN
        location / { return 200 "ok\n"; }
    }
}
"#;

/// Options of nginx: a single process, and workers that close an idle connection after a while.
const ONE: [&str; 2] = ["master_process off;", ""];
const PATIENT: [&str; 2] = ["", "client_header_timeout 3s;"];

/// A site whose endpoints are watched, and probed seldom.
fn watching(interval: &str) -> Site {
    let site = Site::with_app();
    site.edit(
        "meridian.toml",
        "interval = \"200ms\"\ntimeout  = \"100ms\"\nfall     = 3",
        &format!(
            "interval = \"{interval}\"\ntimeout = \"1s\"\nfall = 2\nrecheck = \"50ms\"\nwatch = true"
        ),
    );
    site
}

/// nginx on some hosts of the site.
fn nginx(site: &Site, name: &str, hosts: &[u8], [main, http]: [&str; 2]) -> Process {
    let mut listen = String::new();
    for host in hosts {
        listen += &format!("listen NET.{host}:8080; ");
    }
    let file = format!("{name}.conf");
    let text = NGINX
        .replace("DIRECTORY", &site.directory().display().to_string())
        .replace("NAME", name)
        .replace("LISTEN", &listen)
        .replace("OF_HTTP", http)
        .replace("OF_MAIN", main);
    site.write(&file, &text);
    let mut nginx = command("/usr/sbin/nginx");
    let nginx = nginx.arg("-p").arg(site.directory()).arg("-c");
    let process = Process::spawn(nginx.arg(site.path(&file)));
    for host in hosts {
        wait_for("nginx listens", || {
            std::net::TcpStream::connect((site.net.host(*host), 8080)).ok()
        });
    }
    process
}

/// The master process of an nginx with workers, which end with it in this order alone.
struct Master(Process);

impl Drop for Master {
    fn drop(&mut self) {
        let master = Pid::from_raw(self.0.id() as i32);
        // It may have ended by itself.
        let _ = kill(master, Signal::SIGTERM);
        let end = Instant::now() + Duration::from_secs(10);
        while self.0.is_running() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The states of the connections to all targets.
fn states(site: &Site) -> Vec<String> {
    let health: Value = serde_json::from_str(&get(site.net.admin(), "/health").1).unwrap();
    let targets = health["targets"].as_array().unwrap().iter();
    targets
        .map(|target| target["watch"].as_str().unwrap().to_owned())
        .collect()
}

fn wait_all_held(site: &Site) {
    wait_for("a connection to each endpoint", || {
        states(site)
            .iter()
            .all(|state| state == "held")
            .then_some(())
    });
}

/// The address that a client near dublin gets.
fn answer(server: &Meridian) -> String {
    let client = ["app.gtm.example", "+subnet=203.0.113.0/24", "+short"];
    dig(server.net.dns(), &client).trim().to_owned()
}

#[test]
fn a_killed_server_leaves_the_answers_long_before_its_next_probe() {
    let site = watching("10s");
    let dublin = nginx(&site, "dublin", &[11], ONE);
    let _others = nginx(&site, "others", &[12, 13], ONE);
    let server = site.start();
    wait_all_held(&site);
    let metrics = get(site.net.admin(), "/metrics").1;
    assert!(
        metrics.contains("meridian_watches{state=\"held\"} 3"),
        "{metrics}"
    );
    let near = site.net.host(11).to_string();
    assert_eq!(answer(&server), near);
    // With SIGKILL.
    drop(dublin);
    let killed = Instant::now();
    wait_for("another endpoint is in the answers", || {
        (answer(&server) != near).then_some(())
    });
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_server_that_restarts_in_order_stays_in_the_answers() {
    let site = watching("500ms");
    let endpoints = Master(nginx(&site, "all", &[11, 12, 13], PATIENT));
    let mut server = site.start();
    wait_all_held(&site);
    for _ in 0..2 {
        endpoints.0.signal(Signal::SIGHUP);
        // The worker of before ends the connections when their time is over.
        wait_for("a connection is lost", || {
            states(&site).contains(&"lost".to_owned()).then_some(())
        });
        wait_all_held(&site);
    }
    let log = server.process.log();
    assert!(!log.contains(" is down"), "{log}");
    assert!(!log.contains("not watched"), "{log}");
    drop(endpoints);
    server.says("node isolated: every probe fails");
}
