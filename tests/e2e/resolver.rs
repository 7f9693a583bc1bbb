//! unbound in front, with the subdomain delegated to Meridian: what clients see of a failover.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use crate::support::{
    Answer, Client, Hammer, Meridian, Process, Site, Toy, dig, unbound, unbound_address, wait_for,
};

/// The zone of the parent, which delegates `gtm.example`.
const PARENT: &str = r#"
zone    = "example"
records = '''
@       3600 SOA ns hostmaster 1 3600 600 604800 30
@       3600 NS  ns
ns      3600 A   NET.2
gtm     3600 NS  ns1.gtm
ns1.gtm 3600 A   NET.1
'''
"#;

/// Options as an operator of a resolver sets them, without DNSSEC (nothing here is signed) and the
/// Internet.
const OPTIONS: &str = r#"
    do-not-query-localhost: no
    qname-minimisation: yes
    prefetch: yes
    cache-max-ttl: 86400
    minimal-responses: yes
"#;

/// Meridian with `gtm.example` behind unbound. On port 53 a Meridian of the parent zone delegates it, as
/// in life; unbound follows referrals to port 53 only, so without the right to bind it the zone is a stub of its own.
struct World {
    site: Site,
    server: Meridian,
    _parent: Option<(Site, Meridian)>,
    _unbound: Process,
    resolver: SocketAddr,
}

impl World {
    fn start(site: Site, modules: &str, subnet: &str) -> World {
        let net = site.net;
        let delegated = UdpSocket::bind((net.host(1), 53)).is_ok();
        let text = |text: &str| text.replace("NET", net.host(0).to_string().trim_end_matches(".0"));
        let mut parent = None;
        let (zone, address) = if delegated {
            site.edit("meridian.toml", ":5300", ":53");
            let above = Site::new();
            std::fs::remove_file(above.path("zones/gtm.example.toml")).unwrap();
            above.write("zones/example.toml", &text(PARENT));
            above.edit(
                "meridian.toml",
                &above.net.dns().to_string(),
                &text("NET.2:53"),
            );
            let server = above.start();
            parent = Some((above, server));
            ("example", "NET.2")
        } else {
            eprintln!(
                "port 53 may not be bound: gtm.example is a stub zone of unbound, the delegation is not tested"
            );
            ("gtm.example", "NET.1@5300")
        };
        let server = site.start();
        let options = format!("{OPTIONS}    module-config: \"{modules}\"\n    {subnet}\n");
        let sections = format!("stub-zone:\n    name: \"{zone}\"\n    stub-addr: {address}\n");
        let resolver = unbound_address(&site);
        World {
            _unbound: unbound(&site, &options, &sections),
            site,
            server,
            _parent: parent,
            resolver,
        }
    }

    /// Asks unbound until it has an answer.
    fn first(&self, name: &str) -> Answer {
        let mut client = Client::new(self.resolver, name, RecordType::A);
        wait_for("unbound resolves", || {
            Some(client.ask()).filter(|answer| answer.code == Ok(ResponseCode::NoError))
        })
    }
}

#[test]
fn unbound_resolves_through_the_delegation() {
    let world = World::start(Site::new(), "iterator", "");
    assert_eq!(
        world.first("www.gtm.example").rdata,
        ["192.0.2.10"],
        "unbound's own address is nowhere: `rest` begins with dublin"
    );
    let alias = dig(world.resolver, &["alias.gtm.example", "TXT", "+short"]);
    assert_eq!(alias, "text.gtm.example.\n\"one\" \"two\"\n");
    assert!(dig(world.resolver, &["nothing.gtm.example"]).contains("status: NXDOMAIN"));
    let nodata = dig(world.resolver, &["www.gtm.example", "MX"]);
    assert!(
        nodata.contains("status: NOERROR")
            && nodata.contains("ANSWER: 0")
            && nodata.contains("SOA"),
        "{nodata}"
    );
    assert!(dig(world.resolver, &["www.gtm.example", "ANY"]).contains("status: NOERROR"));
}

/// Dublin's own addresses beside a name in Ashburn.
const HYBRID: &str = r#"
[services.hybrid]
route = "nearest"
[services.hybrid.pools]
dublin  = { endpoints = ["192.0.2.10"] }
ashburn = { endpoints = ["cdn.gtm.example."] }
tokyo   = { endpoints = ["192.0.2.30", "2001:db8::30"] }
"#;

fn hybrid() -> Site {
    let site = Site::new();
    site.edit(
        "zones/gtm.example.toml",
        "text  300",
        "cdn   300  A     192.0.2.77\ncdn   300  AAAA  2001:db8::77\ntext  300",
    );
    site.edit(
        "zones/gtm.example.toml",
        "[services.www]",
        &format!("{HYBRID}\n[services.www]"),
    );
    site
}

#[test]
fn unbound_that_asks_for_ipv6_first_takes_no_client_from_its_region() {
    let world = World::start(hybrid(), "iterator", "");
    world.first("www.gtm.example");
    for round in 0..2 {
        for (rtype, expected) in [
            ("AAAA", ""),
            ("MX", ""),
            ("A", "192.0.2.10\n"),
            ("AAAA", ""),
        ] {
            assert_eq!(
                dig(world.resolver, &["hybrid.gtm.example", rtype, "+short"]),
                expected,
                "{rtype}, round {round}"
            );
        }
    }
}

#[test]
fn unbound_keeps_what_names_and_addresses_say_for_each_client_subnet() {
    let options = "send-client-subnet: NET.1\n    client-subnet-always-forward: yes\n    max-client-subnet-ipv4: 24";
    let world = World::start(hybrid(), "subnetcache iterator", options);
    world.first("www.gtm.example");
    let (dublin, ashburn) = ("+subnet=203.0.113.0/24", "+subnet=192.0.2.0/24");
    for round in 0..2 {
        for (client, rtype, expected) in [
            (dublin, "AAAA", ""),
            (ashburn, "AAAA", "cdn.gtm.example.\n2001:db8::77\n"),
            (dublin, "A", "192.0.2.10\n"),
            (ashburn, "A", "cdn.gtm.example.\n192.0.2.77\n"),
            (dublin, "AAAA", ""),
        ] {
            let got = dig(
                world.resolver,
                &["hybrid.gtm.example", rtype, client, "+short"],
            );
            assert_eq!(got, expected, "{rtype} {client}, round {round}");
        }
    }
}

#[test]
fn unbound_keeps_an_answer_for_each_client_subnet() {
    let options = "send-client-subnet: NET.1\n    client-subnet-always-forward: yes\n    max-client-subnet-ipv4: 24";
    let world = World::start(Site::new(), "subnetcache iterator", options);
    world.first("www.gtm.example");
    // Twice: from the server, then from unbound's cache by the scope it was told.
    for _ in 0..2 {
        for (client, address) in [
            ("203.0.113.0/24", "192.0.2.10\n"),
            ("192.0.2.0/24", "192.0.2.20\n"),
            ("198.51.100.0/24", "192.0.2.30\n"),
            ("10.1.2.0/24", "192.0.2.30\n"),
        ] {
            let subnet = format!("+subnet={client}");
            assert_eq!(
                dig(world.resolver, &["www.gtm.example", &subnet, "+short"]),
                address,
                "{client}"
            );
        }
    }
}

/// The check of the tests' configuration: interval 200 ms, timeout 100 ms, recheck 50 ms, fall 3,
/// rise 4.
const DETECTION: Duration = Duration::from_millis(200 + 100 + 2 * (50 + 100));

#[test]
fn a_dead_region_leaves_the_clients_of_unbound_within_the_bound() {
    let site = Site::with_app();
    let net = site.net;
    let [dublin, _ashburn, _tokyo] = Toy::regions(net);
    let mut world = World::start(site, "iterator", "");
    let near = net.host(11).to_string();
    let far = net.host(12).to_string();
    assert_eq!(
        world.first("app.gtm.example").rdata,
        std::slice::from_ref(&near)
    );

    let clients = Hammer::start(
        world.resolver,
        "app.gtm.example",
        Duration::from_millis(100),
    );
    std::thread::sleep(Duration::from_millis(1500));
    let revive = dublin.kill();
    let killed = Instant::now();
    world
        .server
        .says("service app.gtm.example. A region dublin is down, was up");
    let detected = killed.elapsed();
    // Longer than the bound and the slack below: what clients get after both is looked at.
    std::thread::sleep(Duration::from_secs(6));
    let toy = revive();
    let revived = Instant::now();
    world.server.says("region dublin is up, was down");
    std::thread::sleep(Duration::from_secs(5));
    let answers = clients.stop();
    drop(toy);

    // max(interval + ttl, detection + ttl_min) of semantics.md: ttl 2, ttl_min 1. Unbound counts whole seconds.
    let bound = (Duration::from_millis(200) + Duration::from_secs(2))
        .max(DETECTION + Duration::from_secs(1));
    let slack = Duration::from_millis(2000);
    assert!(detected < DETECTION + slack, "detected after {detected:?}");
    let of = |answer: &Answer| answer.rdata.join(" ");
    assert!(
        answers
            .iter()
            .all(|answer| [&near, &far].contains(&&of(answer))),
        "one region, never both, never a third"
    );
    let before: Vec<_> = answers.iter().filter(|answer| answer.at < killed).collect();
    assert!(
        before.len() >= 5 && before.iter().all(|answer| of(answer) == near),
        "{before:?}"
    );
    let last_near = answers
        .iter()
        .rfind(|answer| answer.at < revived && of(answer) == near)
        .unwrap();
    let left = last_near.at.saturating_duration_since(killed);
    assert!(
        left < bound + slack,
        "clients had the dead region for {left:?}; the bound is {bound:?}"
    );
    let away: Vec<_> = answers
        .iter()
        .filter(|answer| answer.at > killed + bound + slack && answer.at < revived)
        .collect();
    assert!(
        !away.is_empty() && away.iter().all(|answer| of(answer) == far),
        "{away:?}"
    );
    let back = answers
        .iter()
        .find(|answer| answer.at > revived && of(answer) == near)
        .expect("clients come back");
    let returned = back.at - revived;
    // Not before `rise` passes of the check, which take three intervals at least.
    assert!(
        returned > Duration::from_millis(550),
        "back after {returned:?}, before four probes passed"
    );
    assert_eq!(of(answers.last().unwrap()), near);
    eprintln!(
        "detected after {detected:?}, left after {left:?} (bound {bound:?}), came back after {returned:?}"
    );
    let log = world.server.process.log();
    assert!(
        log.contains(&format!("endpoint {near} check web is down, was up")),
        "{log}"
    );
    assert!(world.site.path("state").exists());
}
