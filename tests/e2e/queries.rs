//! `dig`, `kdig` and `delv` against a running server.

use hickory_proto::rr::RecordType;
use serde_json::Value;

use crate::support::{Site, dig, get, kdig, query, udp, wait_for};

/// The objects that `kdig +json` prints.
#[track_caller]
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn dig_gets_the_region_near_the_client() {
    let server = Site::new().start();
    let dns = server.net.dns();
    for (client, region, address, address6) in [
        ("203.0.113.0/24", "dublin", "192.0.2.10", "2001:db8::10"),
        ("192.0.2.0/24", "ashburn", "192.0.2.20", "2001:db8::20"),
        ("198.51.100.0/24", "tokyo", "192.0.2.30", "2001:db8::30"),
        ("10.1.2.0/24", "tokyo", "192.0.2.30", "2001:db8::30"),
    ] {
        for transport in ["+notcp", "+tcp"] {
            let subnet = format!("+subnet={client}");
            let ask = |rtype| {
                dig(
                    dns,
                    &["www.gtm.example", rtype, &subnet, transport, "+short"],
                )
            };
            assert_eq!(
                (ask("A").trim(), ask("AAAA").trim()),
                (address, address6),
                "{region} {transport}"
            );
        }
    }
}

#[test]
fn dig_shows_flags_client_subnet_and_nsid() {
    let server = Site::new().start();
    let text = dig(
        server.net.dns(),
        &[
            "WwW.gtm.example",
            "+subnet=203.0.113.0/24",
            "+nsid",
            "+norecurse",
        ],
    );
    for expected in [
        "status: NOERROR",
        ";; flags: qr aa; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 1",
        "udp: 1232",
        "(\"test-node\")",
        ";WwW.gtm.example.",
        "192.0.2.10",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let scope = text
        .lines()
        .find_map(|line| line.strip_prefix("; CLIENT-SUBNET: 203.0.113.0/24/"))
        .expect("an echo");
    assert!((1..=32).contains(&scope.parse::<u8>().unwrap()), "{text}");
    // A source of 0 asks to be located by its address, and that nobody else shares what follows (RFC 7871 §7.1.2).
    let private = dig(server.net.dns(), &["www.gtm.example", "+subnet=0"]);
    assert!(
        private.contains("CLIENT-SUBNET: 0.0.0.0/0/0") || private.contains("CLIENT-SUBNET: 0/0/0"),
        "{private}"
    );
}

#[test]
fn kdig_parses_every_kind_of_answer() {
    let server = Site::new().start();
    let ask = |arguments: &[&str]| json(&kdig(server.net.dns(), &[arguments, &["+json"]].concat()));
    for transport in ["+notcp", "+tcp"] {
        let steered = ask(&["www.gtm.example", "A", "+client=198.51.100.0/24", transport]);
        assert_eq!(steered["RCODE"], 0);
        assert_eq!(steered["answerRRs"][0]["rdataA"], "192.0.2.30");
        assert_eq!(steered["answerRRs"][0]["TTL"], 20);

        let missing = ask(&["nothing.gtm.example", "A", transport]);
        assert_eq!(
            (&missing["RCODE"], &missing["AA"]),
            (&3.into(), &1.into()),
            "{missing}"
        );
        assert_eq!(missing["authorityRRs"][0]["TYPEname"], "SOA");
        assert_eq!(
            missing["authorityRRs"][0]["TTL"], 30,
            "the SOA's minimum (RFC 2308)"
        );

        let nodata = ask(&["www.gtm.example", "MX", transport]);
        assert_eq!(
            (&nodata["RCODE"], &nodata["ANCOUNT"], &nodata["NSCOUNT"]),
            (&0.into(), &0.into(), &1.into())
        );

        let any = ask(&["www.gtm.example", "ANY", transport]);
        assert_eq!(any["answerRRs"][0]["rdataHINFO"], "\"RFC8482\" \"\"");

        let chased = ask(&["alias.gtm.example", "TXT", transport]);
        let types: Vec<_> = chased["answerRRs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|rr| rr["TYPEname"].as_str().unwrap())
            .collect();
        assert_eq!(types, ["CNAME", "TXT"]);

        let refused = ask(&["www.other.example", "A", transport]);
        assert_eq!((&refused["RCODE"], &refused["AA"]), (&5.into(), &0.into()));
    }
}

#[test]
fn delv_accepts_an_unsigned_answer() {
    let server = Site::new().start();
    let dns = server.net.dns();
    let (at, port) = (format!("@{}", dns.ip()), dns.port().to_string());
    let output = crate::support::command("delv")
        .args([&at, "-p", &port, "-i", "www.gtm.example", "A"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("www.gtm.example.\t20\tIN\tA\t192.0.2."),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn class_ch_names_the_node_and_explains_an_answer() {
    let site = Site::new();
    site.edit(
        "meridian.toml",
        "[admin]",
        "why_from = [\"127.0.0.0/8\"]\n[admin]",
    );
    let server = site.start();
    let dns = server.net.dns();
    assert_eq!(
        dig(dns, &["CH", "TXT", "id.server", "+short"]),
        "\"test-node\"\n"
    );
    assert_eq!(
        dig(dns, &["CH", "TXT", "hostname.bind", "+short"]),
        "\"test-node\"\n"
    );
    assert!(dig(dns, &["CH", "TXT", "version.bind", "+short"]).starts_with("\"meridian "));
    for transport in ["+notcp", "+tcp"] {
        let why = dig(
            dns,
            &[
                "CH",
                "TXT",
                "www.gtm.example",
                "+subnet=203.0.113.0/24",
                "+short",
                transport,
            ],
        );
        assert!(
            why.contains("NOERROR 192.0.2.10 from dublin, TTL 20"),
            "{why}"
        );
        assert!(why.contains("located by distance (EU IE"), "{why}");
        assert!(
            why.contains("\"dublin: taken, up: 2 of 2 endpoints up"),
            "{why}"
        );
    }
}

#[test]
fn why_is_told_to_nobody_outside_why_from() {
    let site = Site::new();
    site.edit(
        "meridian.toml",
        "node   = \"test-node\"",
        "node = \"test-node\"\nwhy_from = [\"192.0.2.0/24\"]\nidentity = false",
    );
    let server = site.start();
    for name in ["www.gtm.example", "id.server", "version.bind"] {
        let refused = dig(server.net.dns(), &["CH", "TXT", name]);
        assert!(
            refused.contains("status: REFUSED") && refused.contains("ANSWER: 0"),
            "{name}: {refused}"
        );
    }
    assert!(!dig(server.net.dns(), &["www.gtm.example", "+nsid"]).contains("NSID"));
}

#[test]
fn without_why_from_nobody_is_told_why_since_a_forwarder_on_this_host_asks_for_anybody() {
    let server = Site::new().start();
    let refused = dig(server.net.dns(), &["CH", "TXT", "www.gtm.example"]);
    assert!(
        refused.contains("status: REFUSED") && refused.contains("EDE: 18 (Prohibited)"),
        "{refused}"
    );
    assert_eq!(
        dig(server.net.dns(), &["CH", "TXT", "id.server", "+short"]),
        "\"test-node\"\n"
    );
}

#[test]
fn a_query_signed_with_a_key_of_somebodys_own_is_told_so() {
    let server = Site::new().start();
    let key = "hmac-sha256:mine:bWVyaWRpYW4gbWVyaWRpYW4gbWVyaWRpYW4=";
    let said = dig(server.net.dns(), &["-y", key, "www.gtm.example"]);
    assert!(
        said.contains("status: NOTAUTH") && said.contains("BADKEY"),
        "{said}"
    );
    let said = kdig(server.net.dns(), &["-y", key, "www.gtm.example"]);
    assert!(said.contains("status: BADKEY"), "{said}");
    assert!(
        dig(
            server.net.dns(),
            &["+opcode=notify", "+edns", "gtm.example", "SOA"]
        )
        .contains("EDE: 21 (Not Supported)")
    );
    assert!(
        kdig(server.net.dns(), &["+edns", "elsewhere.example"])
            .contains("EDE: 20 (Not Authoritative)")
    );
}

#[test]
fn long_queries_are_answered_and_longer_ones_counted() {
    let server = Site::new().start();
    let socket = udp(server.net.dns());
    let padded = |length: u16| {
        let mut message = query("www.gtm.example", RecordType::A);
        message[11] = 1;
        let padding = length - message.len() as u16 - 15;
        message.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0]);
        message.extend([(padding + 4).to_be_bytes(), [0, 12], padding.to_be_bytes()].concat());
        message.resize(usize::from(length), 0);
        message
    };
    for length in [1400, 1401, 2000, 4096] {
        socket.send(&padded(length)).unwrap();
        let mut answer = [0; 1232];
        socket
            .recv(&mut answer)
            .unwrap_or_else(|error| panic!("{length}: {error}"));
        assert_eq!((answer[3] & 15, answer[7]), (0, 1), "{length}: one address");
    }
    socket.send(&padded(4097)).unwrap();
    wait_for("it is counted", || {
        get(server.net.admin(), "/metrics")
            .1
            .contains("meridian_dropped_total{reason=\"too_long\"} 1\n")
            .then_some(())
    });
}

#[test]
fn ipv6_is_listened_on_like_ipv4() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("not run: this machine has no ::1");
        return;
    }
    let site = Site::new();
    site.edit(
        "meridian.toml",
        "listen = [\"NET.1:5300\"]"
            .replace("NET", &net(&site))
            .as_str(),
        "listen = [\"[::1]:0\"]\nwhy_from = [\"::1/128\"]",
    );
    let server = site.start();
    let log = server.process.log();
    let address = log
        .split("listening on ")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .expect("it says where");
    let dns = address.parse().unwrap();
    for transport in ["+notcp", "+tcp"] {
        assert_eq!(
            dig(
                dns,
                &[
                    "www.gtm.example",
                    "AAAA",
                    "+subnet=203.0.113.0/24",
                    "+short",
                    transport
                ]
            ),
            "2001:db8::10\n"
        );
    }
    assert!(dig(dns, &["CH", "TXT", "www.gtm.example", "+short"]).contains("for ::1/128"));
}

/// The first three octets of the site's addresses.
fn net(site: &Site) -> String {
    site.net
        .host(0)
        .to_string()
        .trim_end_matches(".0")
        .to_owned()
}
