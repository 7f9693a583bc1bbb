//! Prometheus scrapes the server, evaluates the alerts that are shipped, and answers the queries of the dashboard.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Done, Hammer, Process, Site, Toy, command, dig, get, wait_for};

const CONFIGURATION: &str = r#"
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: ["ALERTS"]
scrape_configs:
  - job_name: meridian
    static_configs:
      - targets: ["NET.1:8053"]
"#;

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(shipped(name)).unwrap()
}

/// Runs promtool, with `input` on its standard input, in the directory of the alerts.
fn promtool(arguments: &[&str], input: &str) -> Done {
    let mut promtool = Command::new("promtool");
    promtool
        .args(arguments)
        .current_dir(shipped("docs/prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = promtool
        .spawn()
        .unwrap_or_else(|error| panic!("promtool (tests/run installs it): {error}"));
    let mut stdin = child.stdin.take().unwrap();
    // It may end without having read everything.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap().into()
}

/// The names of alerts in a file, each behind `key`.
fn alerts<'t>(text: &'t str, key: &str) -> BTreeSet<&'t str> {
    let mut names = BTreeSet::new();
    for rest in text.split(key).skip(1) {
        names.extend(
            rest.split([' ', '\n', ',', '}'])
                .find(|name| !name.is_empty()),
        );
    }
    names
}

#[test]
fn promtool_accepts_the_alerts_and_their_cases_hold() {
    let rules = read("docs/prometheus/alerts.yml");
    let cases = read("docs/prometheus/alerts_test.yml");
    let names = alerts(&rules, "- alert:");
    assert!(names.len() >= 20, "{names:?}");
    assert_eq!(names, alerts(&cases, "alertname:"), "a case for each alert");
    for arguments in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let done = promtool(&arguments, "");
        assert_eq!(done.code, Some(0), "{done:?}");
    }
}

/// A server with a service that is checked, under load, with an override in force.
fn busy() -> (Site, [Toy; 3], crate::support::Meridian, Hammer) {
    let site = Site::with_app();
    let toys = Toy::regions(site.net);
    let server = site.start();
    let drained = site.run(&["drain", "ashburn", "--reason", "a test", "--for", "1h"]);
    assert_eq!(drained.code, Some(0), "{drained:?}");
    let hammer = Hammer::start(site.net.dns(), "app.gtm.example", Duration::from_millis(5));
    dig(site.net.dns(), &["www.gtm.example", "+tcp"]);
    (site, toys, server, hammer)
}

#[test]
fn promtool_finds_no_fault_in_the_metrics() {
    let (site, _toys, _server, hammer) = busy();
    hammer.stop();
    let (status, text) = get(site.net.admin(), "/metrics");
    assert_eq!(status, 200);
    let done = promtool(&["check", "metrics"], &text);
    assert_eq!(
        (done.code, done.stdout.as_str(), done.stderr.as_str()),
        (Some(0), "", ""),
        "{text}"
    );
    // It does find faults where there are some.
    let bad = text.replace("meridian_queries_total", "meridian_queries");
    assert_ne!(promtool(&["check", "metrics"], &bad).code, Some(0));
}

/// A running Prometheus that scrapes the server of a site.
struct Prometheus {
    url: String,
    _process: Process,
}

impl Prometheus {
    fn start(site: &Site) -> Prometheus {
        let alerts = shipped("docs/prometheus/alerts.yml");
        let configuration = CONFIGURATION.replace("ALERTS", alerts.to_str().unwrap());
        site.write("prometheus.yml", &configuration);
        let address = format!("{}:9090", site.net.host(4));
        let mut prometheus = command("prometheus");
        prometheus
            .arg("--config.file")
            .arg(site.path("prometheus.yml"))
            .arg("--storage.tsdb.path")
            .arg(site.path("prometheus"))
            .args(["--web.listen-address", &address]);
        let mut process = Process::spawn(&mut prometheus);
        process.wait_log("Server is ready to receive web requests", 0);
        Prometheus {
            url: format!("http://{address}"),
            _process: process,
        }
    }

    /// The data of an answer of its API.
    #[track_caller]
    fn data(&self, path: &str) -> Value {
        let text = meridian::control::get(&self.url.parse().unwrap(), path)
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["status"], "success", "{answer}");
        answer["data"].take()
    }

    /// The result of a query at this moment.
    #[track_caller]
    fn query(&self, query: &str) -> Value {
        let query = meridian::control::percent_encode(query);
        self.data(&format!("/api/v1/query?query={query}"))["result"].take()
    }

    /// Waits for a query that has a result.
    #[track_caller]
    fn wait_for(&self, query: &str) {
        wait_for(query, || {
            let result = self.query(query);
            (!result.as_array().unwrap().is_empty()).then_some(())
        });
    }
}

/// The queries of the dashboard, with its variables filled in.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("docs/grafana/meridian.json")).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            let query = query.replace("$__rate_interval", "1m");
            let query = query.replace("$instance", ".*").replace("$service", ".*");
            assert!(
                !query.contains('$'),
                "a variable that is not filled in: {query}"
            );
            queries.push(query);
        }
    }
    assert!(queries.len() >= 30, "{}", queries.len());
    queries
}

/// Parts of queries that have no result here: no target speaks TLS, and the built-in location database has no age.
const EMPTY: [&str; 2] = ["certificate_expiry", "geo_database"];

#[test]
fn prometheus_scrapes_evaluates_the_alerts_and_fills_the_dashboard() {
    let (site, [_dublin, _ashburn, tokyo], mut server, hammer) = busy();
    let prometheus = Prometheus::start(&site);
    prometheus.wait_for("meridian_target_up");
    let target = prometheus.data("/api/v1/targets")["activeTargets"][0].take();
    assert_eq!(
        (&target["health"], &target["lastError"]),
        (&"up".into(), &"".into())
    );
    // Down, up, and down once more: a rate needs a counter that has grown between two scrapes.
    let revive = tokyo.kill();
    server.says("region tokyo is down");
    prometheus.wait_for("meridian_changes_total{object=\"endpoint\",change=\"down\"} == 1");
    let tokyo = revive();
    server.says("region tokyo is up");
    drop(tokyo);
    server.says("region tokyo is down");
    for query in queries() {
        if EMPTY.iter().any(|part| query.contains(part)) {
            prometheus.query(&query);
        } else {
            prometheus.wait_for(&query);
        }
    }
    let rules = wait_for("every alert was evaluated", || {
        let rules = prometheus.data("/api/v1/rules")["groups"][0]["rules"].take();
        let mut all = rules.as_array().unwrap().iter();
        assert!(
            all.clone().all(|rule| rule["lastError"].is_null()),
            "{rules}"
        );
        all.all(|rule| rule["health"] == "ok").then_some(rules)
    });
    let names = rules
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["name"].as_str().unwrap());
    let shipped = read("docs/prometheus/alerts.yml");
    assert_eq!(BTreeSet::from_iter(names), alerts(&shipped, "- alert:"));
    let pending =
        "ALERTS{alertname=\"MeridianPoolDown\",region=\"tokyo\",service=\"app.gtm.example.\"}";
    prometheus.wait_for(pending);
    let well =
        prometheus.query("ALERTS{alertname=~\"MeridianDown|MeridianNotReady|MeridianPanics\"}");
    assert_eq!(well, Value::Array(Vec::new()), "none of these is pending");
    hammer.stop();
}
