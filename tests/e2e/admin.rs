//! The admin address over HTTP, and the command that asks it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use hickory_proto::rr::RecordType;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{
    Meridian, PATIENCE, Site, Toy, dig, get, get_with, query, run, udp, wait_for,
};

/// Checks an exposition line by line (OpenMetrics 1.0, "Text Format"); values by name and labels.
fn parse_metrics(text: &str) -> BTreeMap<String, f64> {
    let body = text.strip_suffix("# EOF\n").expect("the end is marked");
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut values = BTreeMap::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (family, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(
                kinds.insert(family, kind).is_none(),
                "one TYPE line per family: {line}"
            );
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let name = series.split('{').next().unwrap();
            let suffixes = ["_total", "_bucket", "_count", "_sum"];
            let family = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
            let kind = *kinds
                .get(family.unwrap_or(name))
                .unwrap_or_else(|| panic!("typed before its first value: {line}"));
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert_eq!(kind == "gauge", family.is_none(), "{line}");
            assert!(
                values
                    .insert(series.to_owned(), value.parse().expect("a number"))
                    .is_none(),
                "twice: {line}"
            );
        }
    }
    values
}

/// The metrics of a server, as OpenMetrics.
fn open_metrics(server: SocketAddr) -> (u16, String) {
    get_with(
        server,
        "/metrics",
        "Accept: application/openmetrics-text\r\n",
    )
}

#[test]
fn metrics_count_what_was_asked() {
    let site = Site::new();
    let server = site.start();
    for _ in 0..3 {
        dig(server.net.dns(), &["www.gtm.example"]);
    }
    dig(server.net.dns(), &["nothing.gtm.example", "+tcp"]);
    let (status, text) = open_metrics(server.net.admin());
    assert_eq!(status, 200);
    let metrics = parse_metrics(&text);
    for (series, value) in [
        ("meridian_queries_total{transport=\"udp\"}", 3.0),
        ("meridian_queries_total{transport=\"tcp\"}", 1.0),
        ("meridian_responses_total{rcode=\"NOERROR\"}", 3.0),
        ("meridian_responses_total{rcode=\"NXDOMAIN\"}", 1.0),
        ("meridian_service_answers_total{rung=\"up\"}", 3.0),
        (
            "meridian_zone_responses_total{zone=\"gtm.example.\",rcode=\"NOERROR\"}",
            3.0,
        ),
        (
            "meridian_zone_responses_total{zone=\"gtm.example.\",rcode=\"NXDOMAIN\"}",
            1.0,
        ),
        ("meridian_query_families_total{family=\"ipv4\"}", 4.0),
        ("meridian_query_types_total{type=\"A\"}", 4.0),
        ("meridian_query_options_total{option=\"edns\"}", 4.0),
        (
            "meridian_query_options_total{option=\"client_subnet\"}",
            0.0,
        ),
        ("meridian_response_size_bytes_count", 4.0),
        (
            "meridian_service_rung{service=\"www.gtm.example.\",family=\"ipv4\"}",
            0.0,
        ),
        ("meridian_tcp_connections_accepted_total", 1.0),
        ("meridian_ready", 1.0),
        ("meridian_isolated", 0.0),
    ] {
        assert_eq!(metrics.get(series), Some(&value), "{series}: {text}");
    }
    let of_www = metrics.iter().filter(|(series, _)| {
        series.starts_with("meridian_answers_total{service=\"www.gtm.example.\",region=")
    });
    assert_eq!(of_www.map(|(_, value)| value).sum::<f64>(), 3.0, "{text}");
}

#[test]
fn queries_that_a_socket_had_no_room_for_are_counted() {
    let site = Site::new();
    site.edit(
        "meridian.toml",
        "[server]\n",
        "[server]\nworkers = 1\nudp_receive_buffer = 4096\n",
    );
    let server = site.start();
    let (client, query, sent) = (
        udp(server.net.dns()),
        query("www.gtm.example", RecordType::A),
        500,
    );
    server.process.signal(Signal::SIGSTOP);
    let tasks = format!("/proc/{}/task", server.process.id());
    let stat = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("stat")).unwrap();
    wait_for("every thread is stopped", || {
        let mut tasks = std::fs::read_dir(&tasks)
            .unwrap()
            .map(|task| stat(task.unwrap()));
        tasks
            .all(|stat| stat.rsplit_once(") ").unwrap().1.starts_with('T'))
            .then_some(())
    });
    (0..sent).for_each(|_| assert_eq!(client.send(&query).unwrap(), query.len()));
    server.process.signal(Signal::SIGCONT);
    let [received, lost] = wait_for("every query is received or counted as lost", || {
        let metrics = parse_metrics(&open_metrics(server.net.admin()).1);
        let series = [
            "meridian_queries_total{transport=\"udp\"}",
            "meridian_dropped_total{reason=\"overflow\"}",
        ];
        let counts = series.map(|series| metrics[series] as usize);
        (counts[0] + counts[1] == sent).then_some(counts)
    });
    assert!(received > 0 && lost > 0, "{received} received, {lost} lost");
}

#[test]
fn health_shows_every_target_and_what_its_last_probe_saw() {
    let site = Site::with_app();
    let net = site.net;
    let [dublin, _ashburn, _tokyo] = Toy::regions(net);
    let mut server = site.start();
    assert_eq!(get(net.admin(), "/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(get(net.admin(), "/readyz"), (200, "ready\n".to_owned()));
    drop(dublin);
    server.says("region dublin is down, was up");
    let settled = |health: &Value| {
        health["targets"]
            .as_array()
            .unwrap()
            .iter()
            .all(|target| target["settled"] == true)
    };
    let health = wait_for("everything is settled", || {
        let health: Value = serde_json::from_str(&get(net.admin(), "/health").1).unwrap();
        Some(health).filter(settled)
    });
    assert_eq!(
        (&health["not_ready"], &health["isolated"]),
        (&Value::Null, &Value::Bool(false))
    );
    let up: BTreeMap<_, _> = health["targets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| (t["target"].as_str().unwrap(), t["up"].as_bool().unwrap()))
        .collect();
    let address = |host| net.host(host).to_string();
    assert_eq!(
        up,
        BTreeMap::from([
            (&*address(11), false),
            (&*address(12), true),
            (&*address(13), true)
        ])
    );
    let (_, text) = open_metrics(net.admin());
    let metrics = parse_metrics(&text);
    assert_eq!(
        metrics[&format!(
            "meridian_target_up{{check=\"web\",target=\"{}\"}}",
            address(11)
        )],
        0.0
    );
    assert_eq!(
        metrics[&format!(
            "meridian_target_up{{check=\"web\",target=\"{}\"}}",
            address(12)
        )],
        1.0
    );
}

#[test]
fn our_own_network_failing_is_not_ready_and_empties_nothing() {
    let site = Site::with_app();
    let net = site.net;
    let toys = Toy::regions(net);
    let mut server = site.start();
    drop(toys);
    server.says("node isolated: every probe fails");
    assert_eq!(
        get(net.admin(), "/readyz"),
        (
            503,
            "not ready: node isolated: every probe fails, so this node's own network is assumed down\n".to_owned()
        )
    );
    // All nodes see this alike, and must not withdraw alike.
    assert_eq!(
        get(net.admin(), "/announcez"),
        (200, "answering\n".to_owned())
    );
    assert_eq!(
        dig(net.dns(), &["app.gtm.example", "+short"]).trim(),
        net.host(11).to_string()
    );
    let _toys = Toy::regions(net);
    server.says("node no longer isolated");
    wait_for("it is ready again", || {
        (get(net.admin(), "/readyz").0 == 200).then_some(())
    });
}

#[test]
fn why_over_http_knows_health_and_the_command_asks_it() {
    let site = Site::with_app();
    let net = site.net;
    let [dublin, _ashburn, _tokyo] = Toy::regions(net);
    let mut server = site.start();
    drop(dublin);
    server.says("region dublin is down, was up");
    let path = "/why?name=app.gtm.example&client=203.0.113.0/24";
    let (status, body) = get(net.admin(), path);
    let why: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &why["region"], &why["steps"][0]["verdict"]),
        (200, &"ashburn".into(), &"down".into()),
        "{why}"
    );
    assert_eq!(why["answers"][0], net.host(12).to_string());

    let url = net.admin_url();
    let command = |extra: &[&str]| {
        run(
            site.directory(),
            &[
                &[
                    "why",
                    "app.gtm.example",
                    "A",
                    "--client",
                    "203.0.113.0/24",
                    "--server",
                    &url,
                ],
                extra,
            ]
            .concat(),
        )
    };
    let json = command(&["--json"]);
    assert_eq!(json.code, Some(0), "{json:?}");
    let asked: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        (&asked["region"], &asked["order"], &asked["scope"]),
        (&why["region"], &why["order"], &why["scope"])
    );
    let text = command(&[]);
    assert!(
        text.stdout.contains("dublin: down, 0 of 1 endpoints up"),
        "{text:?}"
    );

    for (wrong, said) in [
        ("/why?name=app.gtm.example", "client"),
        (
            "/why?name=app.gtm.example&client=203.0.113.0/33",
            "client 203.0.113.0/33",
        ),
        (
            "/why?name=app..example&client=203.0.113.1",
            "name app..example",
        ),
        (
            "/why?name=app.gtm.example&client=203.0.113.1&type=NOTYPE",
            "NOTYPE",
        ),
        (
            "/why?name=app.gtm.example&client=203.0.113.1&tpye=A",
            "tpye",
        ),
    ] {
        let (status, body) = get(net.admin(), wrong);
        assert_eq!(status, 400, "{wrong}: {body}");
        assert!(body.contains(said), "{wrong}: {body}");
    }
    assert_eq!(get(net.admin(), "/nothing").0, 404);
    for wrong in [&*net.admin().to_string(), "ftp://127.0.0.1", "localhost"] {
        let done = run(
            site.directory(),
            &[
                "why",
                "app.gtm.example",
                "--client",
                "203.0.113.1",
                "--server",
                wrong,
            ],
        );
        assert_eq!(done.code, Some(2), "{done:?}");
        assert!(
            done.stderr.contains(&format!(
                "'{wrong}' for '--server <URL|unix:PATH>': write http://ADDRESS:PORT, \
                 https://NAME:PORT, or unix: and the path of a control socket"
            )),
            "{done:?}"
        );
    }
    drop(server);
    let nobody = command(&[]);
    assert_eq!(nobody.code, Some(1));
    assert!(
        nobody.stderr.contains(&url) && nobody.stderr.contains("refused"),
        "{nobody:?}"
    );
}

/// What the admin address says to these octets, until it closes.
fn raw(server: &Meridian, request: &str) -> String {
    let mut stream = TcpStream::connect(server.net.admin()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn a_web_page_whose_name_was_pointed_here_reads_nothing() {
    let site = Site::new();
    site.edit(
        "meridian.toml",
        "[maps.default]",
        "hosts = [\"gtm.internal.example\"]\n[maps.default]",
    );
    let server = site.start();
    let status = |path: &str, host: &str| {
        let said = raw(
            &server,
            &format!("GET {path} HTTP/1.1\r\n{host}Connection: close\r\n\r\n"),
        );
        said.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    for path in [
        "/health",
        "/healthz",
        "/metrics",
        "/why?name=www.gtm.example&client=203.0.113.1",
        "/nothing",
    ] {
        assert_eq!(status(path, "Host: rebound.example\r\n"), "421", "{path}");
        assert_eq!(
            status(path, "Host: rebound.example:8053\r\n"),
            "421",
            "{path}"
        );
    }
    for host in [
        "localhost",
        "LOCALHOST:8053",
        "127.0.0.1",
        "192.0.2.1:8053",
        "[::1]:8053",
        "GTM.internal.example.",
        "gtm.internal.example:80",
    ] {
        assert_eq!(
            status("/health", &format!("Host: {host}\r\n")),
            "200",
            "{host}"
        );
    }
    for (what, host) in [
        ("none", ""),
        ("two", "Host: localhost\r\nHost: rebound.example\r\n"),
        ("no host", "Host: /\r\n"),
    ] {
        assert_eq!(status("/health", host), "400", "{what}");
    }
    assert_eq!(
        status("http://rebound.example/health", "Host: localhost\r\n"),
        "421",
        "the target's host comes first"
    );
    assert!(
        raw(&server, "GET /healthz HTTP/1.0\r\n\r\n").contains("200 OK"),
        "a load balancer's probe"
    );
    let said = raw(
        &server,
        "GET /health HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n",
    );
    assert!(
        said.contains(
            "use an address, or list the name in [admin]: hosts = [\\\"rebound.example\\\"]"
        ),
        "{said}"
    );
}

#[test]
fn idle_slow_and_overlong_requests_end() {
    let server = Site::new().start();
    let began = Instant::now();
    let mut idle: Vec<TcpStream> = [
        "",
        "GET /healthz HTTP/1.1\r\nHost: localh",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ]
    .into_iter()
    .map(|beginning| {
        let mut stream = TcpStream::connect(server.net.admin()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(beginning.as_bytes()).unwrap();
        stream
    })
    .collect();
    let many: String = (0..100).map(|n| format!("X-{n}: 1\r\n")).collect();
    let said = raw(
        &server,
        &format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"),
    );
    assert!(said.starts_with("HTTP/1.1 431"), "{said}");
    let said = raw(
        &server,
        &format!(
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
            "x".repeat(20_000)
        ),
    );
    assert!(said.starts_with("HTTP/1.1 431"), "{said}");
    for stream in &mut idle {
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    assert_eq!(get(server.net.admin(), "/healthz").0, 200);
}

#[test]
fn more_idle_connections_than_places_keep_nobody_out() {
    let server = Site::new().start();
    let idle: Vec<TcpStream> = (0..200)
        .map(|_| TcpStream::connect(server.net.admin()).unwrap())
        .collect();
    let began = Instant::now();
    assert_eq!(
        get(server.net.admin(), "/readyz"),
        (200, "ready\n".to_owned())
    );
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    let sockets = || {
        std::fs::read_dir(format!("/proc/{}/fd", server.process.id()))
            .unwrap()
            .count()
    };
    wait_for("those that asked nothing have made room", || {
        (sockets() < 130).then_some(())
    });
    drop(idle);
}
