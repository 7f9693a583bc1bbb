//! Routes on real servers: a sticky client's region on every node and after restarts, and HTTPS records that follow.

use std::collections::BTreeSet;

use crate::support::{Site, Toy, dig, kdig, wait_for};

const STICKY: &str = r#"
[services.chat]
route = "sticky"
map = "none"
[services.chat.pools]
dublin  = { weight = 2, endpoints = ["192.0.2.10", "192.0.2.11"] }
ashburn = { endpoints = ["192.0.2.20"] }
tokyo   = { endpoints = ["192.0.2.30"] }
"#;

/// What a hundred clients get.
fn answers(site: &Site) -> Vec<String> {
    let answer = |client: u32| {
        let subnet = format!("+subnet={}.{}.0.0/24", 11 + client, 7 * client % 256);
        dig(site.net.dns(), &["chat.gtm.example", &subnet, "+short"])
            .trim()
            .to_owned()
    };
    (0..100).map(answer).collect()
}

#[test]
fn a_client_sticks_to_its_endpoint_on_every_node_and_after_restarts() {
    let sites: Vec<Site> = (0..2).map(|_| Site::new()).collect();
    for (index, site) in sites.iter().enumerate() {
        site.edit(
            "zones/gtm.example.toml",
            "[services.www]",
            &format!("{STICKY}\n[services.www]"),
        );
        site.edit("meridian.toml", "test-node", &format!("node-{index}"));
    }
    // Nodes may list pools and services in another order.
    sites[1].edit(
        "zones/gtm.example.toml",
        "tokyo   = { endpoints = [\"192.0.2.30\"] }\n",
        "",
    );
    sites[1].edit(
        "zones/gtm.example.toml",
        "[services.chat.pools]",
        "[services.chat.pools]\ntokyo = { endpoints = [\"192.0.2.30\"] }",
    );
    let servers: Vec<_> = sites.iter().map(Site::start).collect();
    let first = answers(&sites[0]);
    assert_eq!(answers(&sites[1]), first);
    assert_eq!(
        first.iter().collect::<BTreeSet<_>>().len(),
        4,
        "each endpoint has clients: {first:?}"
    );
    servers.into_iter().for_each(|server| drop(server.stop()));
    let server = sites[0].start();
    assert_eq!(answers(&sites[0]), first);
    // Tokyo leaves: its clients move, and nobody else.
    let drained = sites[0].run(&["drain", "tokyo", "--for", "1h", "--reason", "test"]);
    assert_eq!(drained.code, Some(0), "{}", drained.stderr);
    for (before, after) in first.iter().zip(answers(&sites[0])) {
        assert_eq!(*before == after, before != "192.0.2.30", "{before} {after}");
    }
    let shown = kdig(
        sites[0].net.dns(),
        &["chat.gtm.example", "+subnet=192.0.2.0/16"],
    );
    assert!(shown.contains("SUBNET: 192.0.0.0/16/24"), "{shown}");
    server.stop();
}

#[test]
fn https_hints_follow_the_region_and_its_health() {
    let site = Site::with_app();
    site.edit(
        "zones/gtm.example.toml",
        "alias 300",
        "app 300 HTTPS 1 . alpn=h2,h3 ipv4hint=192.0.2.99\nmail 300 MX 5 app\nalias 300",
    );
    let [dublin, _ashburn, _tokyo] = Toy::regions(site.net);
    let server = site.start();
    let ask = |rtype: &str| {
        dig(
            site.net.dns(),
            &["app.gtm.example", rtype, "+subnet=203.0.113.0/24", "+short"],
        )
        .trim()
        .to_owned()
    };
    let region = |host: u8| format!("1 . alpn=\"h2,h3\" ipv4hint={}", site.net.host(host));
    assert_eq!(ask("HTTPS"), region(11));
    assert_eq!(ask("A"), site.net.host(11).to_string());
    let full = dig(
        site.net.dns(),
        &[
            "app.gtm.example",
            "HTTPS",
            "+subnet=203.0.113.0/24",
            "+noall",
            "+answer",
        ],
    );
    assert_eq!(
        full.split_whitespace().nth(1),
        Some("2"),
        "the service's TTL: {full}"
    );
    drop(dublin);
    wait_for("the hint is of the next region", || {
        (ask("HTTPS") == region(12)).then_some(())
    });
    assert_eq!(ask("A"), site.net.host(12).to_string());
    assert_eq!(ask("MX"), "");
    server.stop();
}
