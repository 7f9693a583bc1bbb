//! `meridian probe`, and the checks that need a peer of their own: DNS against Meridian and unbound,
//! reports over HTTP. What is printed is compared whole, with the times masked.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::Value;

use crate::support::{Done, Process, Site, Toy, command, get, wait_for};

const CHECKS: &str = r#"
[checks.own-dns]
type = "dns"
port = 5300
timeout = "5s"
query_name = "text.gtm.example"
query_type = "TXT"
[checks.resolver]
type = "dns"
port = 5300
timeout = "5s"
query_name = "www.lan.example"
expect_address = ["192.0.2.7"]
[checks.resolver-tcp]
type = "dns"
port = 5300
timeout = "5s"
query_name = "www.lan.example"
transport = "tcp"
expect_address = ["192.0.2.8"]
[checks.lag]
type = "exec"
command = ["/bin/sh", "-c", "echo $MERIDIAN_ADDRESS lags by 7 s; exit 2"]
timeout = "5s"
[checks.ping]
type = "icmp"
timeout = "5s"
[checks.own]
type = "push"
expires = "1h"
"#;

fn site() -> Site {
    let site = Site::with_app();
    let main = std::fs::read_to_string(site.path("meridian.toml")).unwrap();
    site.write(
        "meridian.toml",
        &[&main, CHECKS]
            .concat()
            .replace("timeout  = \"100ms\"", "timeout  = \"5s\""),
    );
    site
}

/// Times as `TIME`, the site's network as `NET`, and no run of blanks that follows from their lengths.
fn masked(site: &Site, text: &str) -> String {
    let net = site.net.host(0).to_string();
    let net = net.trim_end_matches(".0");
    let line = |line: &str| {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        for at in (1..words.len())
            .rev()
            .filter(|at| words[*at] == "ms")
            .collect::<Vec<_>>()
        {
            words.splice(at - 1..=at, ["TIME"]);
        }
        words.join(" ").replace(net, "NET")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn prints(site: &Site, arguments: &[&str], code: i32, expected: &str) {
    let done = site.run(&[&["probe"], arguments].concat());
    assert_eq!(
        (done.code, done.stderr.as_str()),
        (Some(code), ""),
        "{done:?}"
    );
    assert_eq!(masked(site, &done.stdout), expected.trim());
}

#[test]
fn a_check_shows_its_phases_and_its_verdict() {
    let site = site();
    let _toys = Toy::regions(site.net);
    let host = |last| site.net.host(last).to_string();
    prints(
        &site,
        &["web", &host(11)],
        0,
        "check web: http, port 8080, timeout 5s\ntarget NET.11\nconnect TIME\nresponse TIME\ntotal TIME\nverdict pass",
    );
    prints(
        &site,
        &["web", &host(99)],
        1,
        "check web: http, port 8080, timeout 5s\ntarget NET.99\nconnect TIME\ntotal TIME\nreason the connection was refused\nverdict fail",
    );
    prints(
        &site,
        &["lag", &host(11)],
        1,
        "check lag: exec, timeout 5s\ntarget NET.11\nrun TIME\ntotal TIME\n\
         reason the program ended with exit code 2\nevidence NET.11 lags by 7 s\nverdict fail",
    );
}

#[test]
fn a_service_shows_a_row_for_each_use_of_a_check() {
    let site = site();
    let [_dublin, ashburn, _tokyo] = Toy::regions(site.net);
    let net = prefix(&site);
    let more = format!(
        r#""{net}.13", {{ address = "{net}.14", checks = [] }}, {{ address = "{net}.15", checks = ["own"] }}"#
    );
    site.edit("zones/gtm.example.toml", &format!("\"{net}.13\""), &more);
    let _down = ashburn.kill();
    prints(
        &site,
        &["--service", "app.gtm.example"],
        1,
        "REGION ENDPOINT CHECK VERDICT TIME\n\
         ashburn NET.12 web fail TIME the connection was refused\n\
         dublin NET.11 web pass TIME\n\
         tokyo NET.13 web pass TIME\n\
         tokyo NET.14 - - - no check: always up\n\
         tokyo NET.15 own - - reports itself\n\
         2 of 3 probes passed",
    );
    let json: Value = serde_json::from_str(
        &site
            .run(&["probe", "--service", "APP.gtm.example.", "--json"])
            .stdout,
    )
    .unwrap();
    assert_eq!(
        (&json["service"], &json["passed"], &json["failed"]),
        (&"app.gtm.example.".into(), &2.into(), &1.into())
    );
    assert_eq!(json["probes"].as_array().unwrap().len(), 5);
    assert_eq!(json["probes"][0]["reason"], "the connection was refused");
    assert_eq!(json["probes"][3]["check"], Value::Null);
}

fn prefix(site: &Site) -> String {
    site.net
        .host(0)
        .to_string()
        .trim_end_matches(".0")
        .to_owned()
}

#[test]
fn json_keeps_its_contract() {
    let site = site();
    let done = site.run(&["probe", "lag", "192.0.2.1", "--json"]);
    assert_eq!(done.code, Some(1));
    let json: Value = serde_json::from_str(&done.stdout).unwrap();
    let keys: Vec<_> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let expected = [
        "check",
        "type",
        "port",
        "target",
        "verdict",
        "reason",
        "evidence",
        "load",
        "warning",
        "phases_ms",
        "total_ms",
    ];
    assert_eq!(keys, expected);
    assert_eq!(
        (json["verdict"].as_str(), json["port"].as_u64()),
        (Some("fail"), None)
    );
    assert_eq!(json["evidence"], "192.0.2.1 lags by 7 s");
    assert_eq!(
        json["phases_ms"]
            .as_object()
            .unwrap()
            .keys()
            .collect::<Vec<_>>(),
        ["run"]
    );
}

#[test]
fn what_cannot_be_probed_is_told_and_has_a_code_of_its_own() {
    let site = site();
    let refused = |arguments: &[&str]| -> Done {
        let done = site.run(&[&["probe"], arguments].concat());
        assert_eq!((done.code, done.stdout.as_str()), (Some(2), ""), "{done:?}");
        done
    };
    for (arguments, message) in [
        (
            &["wbe", "192.0.2.1"][..],
            "meridian probe: there is no check wbe; did you mean web?\n",
        ),
        (
            &["web", "192.0.2"],
            "meridian probe: 192.0.2 is neither an address nor a name that ends in a dot\n",
        ),
        (&["web", "www..example."], "meridian probe: www..example.: "),
        (
            &["own", "192.0.2.1"],
            "meridian probe: own is a push check: its endpoints report themselves",
        ),
        (
            &["--service", "ap.gtm.example"],
            "meridian probe: there is no service ap.gtm.example.; did you mean app.gtm.example.?\n",
        ),
    ] {
        assert!(
            refused(arguments).stderr.starts_with(message),
            "{:?}",
            refused(arguments)
        );
    }
    refused(&["web"]);
    refused(&[]);
    refused(&["web", "192.0.2.1", "--service", "app.gtm.example"]);
    site.edit("meridian.toml", "type     = \"http\"", "type     = \"htp\"");
    assert!(
        refused(&["web", "192.0.2.1"])
            .stderr
            .contains("did you mean \"http\"?")
    );
}

#[test]
fn dns_checks_ask_meridian_and_unbound() {
    let site = site();
    let host = |last| site.net.host(last).to_string();
    let _server = site.start();
    prints(
        &site,
        &["own-dns", &host(1)],
        0,
        "check own-dns: dns, port 5300, timeout 5s\ntarget NET.1\nresponse TIME\ntotal TIME\nverdict pass",
    );
    let configuration = "server:\n  interface: ADDRESS@5300\n  access-control: 127.0.0.0/8 allow\n  do-daemonize: no\n  chroot: \"\"\n  \
         username: \"\"\n  directory: \"DIRECTORY\"\n  pidfile: \"\"\n  use-syslog: no\n  do-ip6: no\n  \
         local-zone: \"lan.example.\" static\n  local-data: \"www.lan.example. A 192.0.2.7\"\nremote-control:\n  control-enable: no\n";
    let directory = site.directory().display().to_string();
    site.write(
        "unbound.conf",
        &configuration
            .replace("ADDRESS", &host(3))
            .replace("DIRECTORY", &directory),
    );
    let mut unbound = Process::spawn(
        command("/usr/sbin/unbound")
            .arg("-d")
            .arg("-c")
            .arg(site.path("unbound.conf")),
    );
    unbound.wait_log("start of service", 0);
    prints(
        &site,
        &["resolver", &host(3)],
        0,
        "check resolver: dns, port 5300, timeout 5s\ntarget NET.3\nresponse TIME\ntotal TIME\nverdict pass",
    );
    prints(
        &site,
        &["resolver-tcp", &host(3)],
        1,
        "check resolver-tcp: dns, port 5300, timeout 5s\ntarget NET.3\nconnect TIME\nresponse TIME\ntotal TIME\n\
         reason its answer has none of the expected addresses\nevidence NOERROR, 1 record: A 192.0.2.7\nverdict fail",
    );
}

/// Without the right to send echo requests an endpoint is not judged, rather than down.
#[test]
fn icmp_without_permission_judges_nothing() {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("left out: not root, so that nothing can be taken away");
        return;
    }
    let groups = std::fs::read_to_string("/proc/sys/net/ipv4/ping_group_range").unwrap();
    let numbers: Vec<u32> = groups
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    if (numbers[0]..=numbers[1]).contains(&65534) {
        eprintln!("left out: this system lets every group send echo requests");
        return;
    }
    let site = site();
    // The directory of the test is its owner's alone.
    let config = std::fs::read(site.path("meridian.toml")).unwrap();
    let zone = std::fs::read(site.path("zones/gtm.example.toml")).unwrap();
    let open = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir()
        .unwrap();
    std::fs::create_dir(open.path().join("zones")).unwrap();
    std::fs::write(open.path().join("meridian.toml"), config).unwrap();
    std::fs::write(open.path().join("zones/gtm.example.toml"), zone).unwrap();
    let mut setpriv = command("setpriv");
    setpriv.args([
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "--bounding-set",
        "-all",
        "--inh-caps",
        "-all",
    ]);
    let copy = open.path().join("meridian");
    std::fs::copy(env!("CARGO_BIN_EXE_meridian"), &copy).unwrap();
    setpriv
        .arg(copy)
        .args(["probe", "ping", "127.0.0.1", "--config"])
        .arg(open.path().join("meridian.toml"));
    let done = Done::from(setpriv.output().unwrap());
    assert_eq!(done.code, Some(1), "{done:?}");
    let printed = masked(&site, &done.stdout);
    assert!(
        printed.ends_with("reason this node may not send ICMP echo requests\nverdict not judged"),
        "{printed}"
    );
}

#[test]
fn an_endpoint_reports_itself_over_http() {
    let site = site();
    let (check, own) = ("checks = [\"web\"]", "checks = [\"own\"]");
    site.edit("zones/gtm.example.toml", check, own);
    let mut server = site.start();
    let report = |what: &str| {
        meridian::control::post(
            &site.net.admin_url().parse().unwrap(),
            &format!("/push?check=own&target={what}"),
            None,
        )
        .map_err(|error| error.to_string())
    };
    let host = site.net.host(11);
    assert_eq!(
        report(&format!("{host}&status=fail&note=disk+full")).as_deref(),
        Ok("taken\n")
    );
    server.says(&format!(
        "endpoint {host} check own is down, was up: it reported that it is not well (1 failure)"
    ));
    assert_eq!(
        report(&format!("{host}&status=pass&load=0.25")).as_deref(),
        Ok("taken\n")
    );
    server.says(&format!(
        "endpoint {host} check own is up, was down: 1 pass"
    ));
    // What /health shows is brought up to date a moment after the report.
    wait_for("the load that was reported", || {
        let (_, health) = get(server.net.admin(), "/health");
        let health: Value = serde_json::from_str(&health).unwrap();
        let mut targets = health["targets"].as_array().unwrap().iter();
        let target = targets.find(|target| target["target"] == host.to_string().as_str())?;
        (target["load"] == 0.25).then_some(())
    });
    for (what, status) in [
        ("192.0.2.99&status=pass", "404"),
        ("www..example&status=pass", "400"),
        (&format!("{host}&status=well"), "400"),
        (&format!("{host}&status=pass&load=-1"), "400"),
        (&format!("{host}&status=pass&lode=1"), "400"),
    ] {
        let refused = report(what).unwrap_err();
        assert!(
            refused.contains(&format!("answered {status}")),
            "{what}: {refused}"
        );
    }
    wait_for("the server goes on", || {
        (get(server.net.admin(), "/readyz").0 == 200).then_some(())
    });
}
