use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::index::{Index, Place};
use super::*;
use crate::dns::RrType;
use crate::dns::Ttl;
use crate::model::{
    Endpoint, FamilyRule, Need, Pool, RegionId, Resume, Route, Share, Takeover, Target, Unit,
    UnitRules, Weight, ZoneId,
};
use crate::zone::{Include, IncludeError, Input, Record, parse, target_offset};

struct NoFiles;

impl Include for NoFiles {
    fn read(&mut self, _: &str, _: &str, _: u64) -> Result<Input, IncludeError> {
        Err(IncludeError {
            rule: "include-failed",
            message: "there are no files".to_owned(),
            hint: None,
        })
    }
}

fn name(text: &str) -> Name {
    Name::from_text(text, None).unwrap()
}

fn records(origin: &str, text: &str) -> Records {
    let mut diagnostics = Diagnostics::default();
    let input = Input::whole("z", Arc::<str>::from(text).into());
    let records = parse(&input, &name(origin), &mut NoFiles, &mut diagnostics);
    assert!(
        !diagnostics.has_errors(),
        "{:?}",
        diagnostics
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    );
    records
}

/// A service with one pool in the first region; an endpoint that ends in a dot is a name.
fn service(line: u32, owner: &str, endpoints: &[&str]) -> Service {
    let endpoint = |text: &&str| Endpoint {
        target: match text.parse() {
            Ok(address) => Target::Address(address),
            Err(_) => Target::Name(name(text)),
        },
        weight: Weight::ONE,
        probes: Vec::new(),
        need: Need::All,
    };
    Service {
        zone: ZoneId(0),
        name: Name::from_text(owner, Some(&name("gtm.example."))).unwrap(),
        at: At::new("z.toml", line, 1, 3),
        route: Route::Weighted,
        map: None,
        ttl: Ttl::from_secs(20).unwrap(),
        ttl_min: Ttl::from_secs(5).unwrap(),
        answers: 1,
        family: FamilyRule::Same,
        ramp: None,
        resume: Resume::Auto,
        pools: vec![Pool {
            region: RegionId(0),
            weight: Weight::ONE,
            priority: 1,
            min_up: Share::HALF,
            endpoints: endpoints.iter().map(endpoint).collect(),
        }],
        fallback: Vec::new(),
        trickle: Share::ZERO,
        min_regions: 1,
        unit: None,
        svcb: Vec::new(),
        names: endpoints.iter().any(|text| text.ends_with('.')),
        by_client: false,
    }
}

/// The same with one unit.
fn unit(line: u32, owner: &str) -> Service {
    let service = service(line, owner, A);
    let rules = UnitRules {
        service: service.name.clone(),
        count: 1,
        takeover: Takeover::Manual,
        ready: vec![vec![vec![]]],
        grace: Duration::from_secs(5),
        fence_answer: vec![],
    };
    Service {
        route: Route::Unit,
        unit: Some(Unit {
            index: 0,
            owner: RegionId(0),
            rules: rules.into(),
        }),
        ..service
    }
}

fn region() -> Region {
    Region {
        name: "eu-west".to_owned(),
        coordinates: None,
        metro: None,
        labels: Default::default(),
        bias: 0,
        capacity: None,
    }
}

fn check_records(records: &Records, services: &[Service], complete: bool) -> Vec<String> {
    let (origin, at) = (name("gtm.example."), At::new("z.toml", 1, 1, 4));
    let regions = [region()];
    let unread = Unread {
        anywhere: !complete,
        ..Unread::default()
    };
    let zone = ZoneUnderCheck {
        origin: &origin,
        at: &at,
        records,
        services,
        regions: &regions,
        unread: &unread,
    };
    let mut diagnostics = Diagnostics::default();
    check(&zone, &mut diagnostics);
    diagnostics.iter().map(ToString::to_string).collect()
}

/// Returns the findings in `text` after an apex that is as it must be, in lines 1 and 2, and ns1 in
/// line 3.
fn found(text: &str, services: &[Service]) -> Vec<String> {
    let apex = "$TTL 60\n@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\nns1 A 192.0.2.53\n";
    check_records(
        &records("gtm.example.", &format!("{apex}{text}")),
        services,
        true,
    )
}

const A: &[&str] = &["192.0.2.1"];

#[test]
fn a_zone_that_is_right_gives_nothing() {
    let text = "www TXT x\n@ MX 10 mail\nmail A 192.0.2.1\n AAAA ::1\n@ MX 0 .\n_x._tcp SRV 0 0 0 .\n\
        _y._tcp SRV 0 0 1 www\n_z._tcp SRV 0 0 1 far.example.\n_w._tcp SRV 0 0 1 x.y.wild\n*.wild A 192.0.2.2\n\
        sub NS ns.sub\n NS ns1\n NS ns.other\nns.sub A 192.0.2.3\nsub DS 1 13 2 00\nother NS ns.sub\n\
        ns.other A 192.0.2.4\nsub2 NS ns.other\nd DNAME other.example.\nal CNAME www\n al2 CNAME x.example.\n\
        m2 MX 1 x.sub\nm3 MX 1 x.svc\nc CNAME c2\nc2 CNAME www\n";
    let services = [
        service(9, "www", A),
        service(10, "@", A),
        service(11, "*.svc", A),
        service(12, "alias", &["www.gtm.example.", "x.example."]),
    ];
    assert_eq!(
        found(&text.replace(" al2", "al2"), &services),
        [] as [&str; 0]
    );
}

#[test]
fn every_rule_finds_what_breaks_it() {
    let alias = &["x.example."][..];
    let mut several = service(9, "www", alias);
    several.answers = 2;
    let cases: Vec<(&str, Vec<Service>, &str)> = vec![
        (
            "@ SOA ns1 h 2 2 3 4 5",
            vec![],
            "z:5:1: error[soa-twice]: @ SOA: the name has a second SOA beside that at z:2:1 (keep one of them)",
        ),
        (
            "a SOA ns1 h 2 2 3 4 5",
            vec![],
            "z:5:1: error[soa-not-at-apex]: a SOA: the SOA record stands below the apex gtm.example. (move it to the apex, or give that name a zone file of its own)",
        ),
        (
            "a.example. A 192.0.2.1",
            vec![],
            "z:5:1: error[out-of-zone]: a.example. A: a.example. is not in the zone gtm.example. (a name is relative to the zone unless it ends in a dot)",
        ),
        (
            "@ CNAME a.example.",
            vec![],
            "z:5:1: error[cname-at-apex]: @ CNAME: a CNAME cannot stand at the apex, which has SOA and NS (write addresses, or a service with address endpoints as [services.\"@\"])",
        ),
        (
            "a A 192.0.2.1\nA CNAME b.example.",
            vec![],
            "z:6:1: error[cname-and-other-data]: A CNAME: the name has a CNAME and the A record at z:5:1 (a name with a CNAME takes every other type from its target: keep one or the other)",
        ),
        (
            "a DNAME c.example.\na CNAME b.example.",
            vec![],
            "z:6:1: error[cname-and-other-data]: a CNAME: the name has a CNAME and the DNAME record at z:5:1 (a name with a CNAME takes every other type from its target: keep one or the other)",
        ),
        (
            "a CNAME b.example.\na CNAME c.example.",
            vec![],
            "z:6:1: error[cname-twice]: a CNAME: the name has a second CNAME beside that at z:5:1 (keep one; to share clients by weight, write a service whose endpoints are names)",
        ),
        (
            "a DNAME b.example.\na DNAME c.example.",
            vec![],
            "z:6:1: error[dname-twice]: a DNAME: the name has a second DNAME beside that at z:5:1 (keep one of them)",
        ),
        (
            "a DNAME b.example.\nx.a TXT x",
            vec![],
            "z:6:1: error[data-below-dname]: x.a TXT: the record stands below the DNAME of a (the DNAME renames everything below it: remove one of the two)",
        ),
        (
            "a DNAME b.example.",
            vec![service(9, "x.A", A)],
            "z.toml:9:1: error[data-below-dname]: services.x.A: the service stands below the DNAME of A (the DNAME renames everything below it: remove one of the two)",
        ),
        (
            "*.a NS ns.example.",
            vec![],
            "z:5:1: error[wildcard-delegation]: *.a NS: resolvers disagree on what NS records at a wildcard mean (write the record for each name)",
        ),
        (
            "a 60 A 192.0.2.1\na 30 A 192.0.2.2",
            vec![],
            "z:6:1: warning[mixed-ttls]: a A: the records of this RRset have TTLs from 30 to 60; all are served with 30 (give them one TTL)",
        ),
        (
            "a MX 1 M.example.\na MX 2 m.example.\na MX 1 m.example.",
            vec![],
            "z:7:1: warning[duplicate-record]: a MX: the record repeats that at z:5:1; it is served once (remove one of them)",
        ),
        (
            "a MX 1 b\nb CNAME c.example.",
            vec![],
            "z:5:1: error[target-is-cname]: a MX: the target b is a CNAME (use the name that has the addresses)",
        ),
        (
            "a SRV 1 2 3 b.w\n*.w CNAME c.example.",
            vec![],
            "z:5:1: error[target-is-cname]: a SRV: the target b.w is a CNAME (use the name that has the addresses)",
        ),
        (
            "a NS b.d\nd DNAME c.example.",
            vec![],
            "z:5:1: error[target-is-cname]: a NS: the target b.d is below a DNAME (use the name that has the addresses)",
        ),
        (
            "a MX 1 www",
            vec![service(9, "www", alias)],
            "z:5:1: error[target-is-cname]: a MX: the target www is a service with CNAME endpoints (use the name that has the addresses)",
        ),
        (
            "a NS WWW",
            vec![service(9, "www", A)],
            "z:5:1: error[ns-target-is-service]: a NS: the name server WWW is the service www (a name server needs one address for all clients: write A or AAAA records for it)",
        ),
        (
            "a MX 1 192.0.2.1",
            vec![],
            "z:5:1: error[target-without-address]: a MX: the target 192.0.2.1 is a name of this zone, but has no address (write A or AAAA records for it; a name of another zone ends in a dot)",
        ),
        (
            // The empty non-terminal hides the wildcard (RFC 4592 §2.2.2).
            "a SRV 1 2 3 e.w\n*.w A 192.0.2.1\nx.e.w A 192.0.2.1",
            vec![],
            "z:5:1: error[target-without-address]: a SRV: the target e.w is a name of this zone, but has no address (write A or AAAA records for it; a name of another zone ends in a dot)",
        ),
        (
            "a NS ns.a",
            vec![],
            "z:5:1: error[glue-missing]: a NS: the name server ns.a lies inside the delegation it serves, but has no glue (write its A or AAAA records into this zone too)",
        ),
        (
            "a NS ns.example.\nx.a A 192.0.2.1",
            vec![],
            "z:6:1: warning[data-below-delegation]: x.a A: the record stands below the delegation of a and is not the address of a name server (it is not served: move it into the delegated zone, or remove the NS records)",
        ),
        (
            "a NS ns.example.\na TXT x",
            vec![],
            "z:6:1: warning[data-below-delegation]: a TXT: the record stands at a delegation, whose own servers answer for the name (it is not served: move it into the delegated zone, or remove the NS records)",
        ),
        (
            "a NS ns.example.",
            vec![service(9, "x.a", A)],
            "z.toml:9:1: error[service-below-delegation]: services.x.a: the service stands at or below the delegation of a (move it into the delegated zone, or remove the NS records)",
        ),
        (
            "www TXT x\nwww AAAA ::1",
            vec![service(9, "www", A)],
            "z.toml:9:1: error[service-beside-records]: services.www: the name of the service also has the AAAA record at z:6:1 (remove the record: the service answers for the name)",
        ),
        (
            "_epoch.db TXT x",
            vec![unit(9, "db")],
            "z.toml:9:1: error[epoch-beside-records]: services.db: _epoch.db also has the TXT record at z:5:1 (remove the record: the service answers with the unit's owner there)",
        ),
        (
            "www HTTPS 1 . ipv4hint=192.0.2.1 ipv6hint=::1",
            vec![service(9, "www", A)],
            "z:5:1: warning[hint-without-family]: www HTTPS: the record has IPv6 hints, but the service has no IPv6 addresses (remove the hint: its addresses are taken from the service's endpoints)",
        ),
        (
            "",
            vec![service(9, "@", alias)],
            "z.toml:9:1: error[cname-endpoint-at-apex]: services.@: the pool eu-west has the CNAME endpoint x.example., which cannot stand beside SOA and NS at the apex (give the service at the apex addresses as endpoints)",
        ),
        (
            "www TXT x",
            vec![service(9, "www", alias)],
            "z.toml:9:1: error[cname-endpoint-beside-records]: services.www: the pool eu-west has the CNAME endpoint x.example. beside the TXT record at z:5:1 (a name with a CNAME takes every other type from its target: remove the record)",
        ),
        (
            "",
            vec![several],
            "z.toml:9:1: error[cname-endpoint-answers]: services.www: answers = 2, but the pool eu-west has the CNAME endpoint x.example. (a name has one CNAME: set answers = 1)",
        ),
        (
            "a CNAME b\nb CNAME A",
            vec![],
            "z:5:1: error[cname-loop]: a CNAME: the CNAMEs form a loop: a → b → a (point one of them at a name with addresses)",
        ),
        (
            "*.w CNAME x.w",
            vec![],
            "z:5:1: error[cname-loop]: *.w CNAME: the CNAMEs form a loop: *.w → *.w (point one of them at a name with addresses)",
        ),
        (
            "a CNAME www",
            vec![service(9, "www", &["x.example.", "a.gtm.example."])],
            "z:5:1: error[cname-loop]: a CNAME: the CNAMEs form a loop: a → service www → a (point one of them at a name with addresses)",
        ),
        (
            "",
            vec![service(9, "www", &["www.gtm.example."])],
            "z.toml:9:1: error[cname-loop]: services.www: the CNAMEs form a loop: service www → service www (point one of them at a name with addresses)",
        ),
        (
            "a CNAME x.ren\nren DNAME to\nx.to CNAME a",
            vec![],
            "z:5:1: error[cname-loop]: a CNAME: the CNAMEs form a loop: a → x.to → a (point one of them at a name with addresses)",
        ),
        (
            "a DNAME b\nb DNAME a\nout DNAME x.example.\nlong DNAME to.out",
            vec![],
            "z:5:1: error[dname-loop]: a DNAME: the DNAMEs rename names endlessly: a → b → a (point one of them at names that no DNAME renames)",
        ),
        (
            "a DNAME b.a",
            vec![],
            "z:5:1: error[dname-loop]: a DNAME: the DNAMEs rename names endlessly: a → a → a → a → a → a → a → a → … (point one of them at names that no DNAME renames)",
        ),
        (
            "a CNAME nope\nb CNAME _acme-challenge.www",
            vec![],
            "z:5:1: warning[alias-to-nothing]: a CNAME: the target nope is a name of this zone, but has no records (write the records or the service of that name; a name of another zone ends in a dot)",
        ),
        (
            "a HTTPS 0 x\ny.x A 192.0.2.1\n_z CNAME _epoch.u",
            vec![unit(9, "u")],
            "z:5:1: warning[alias-to-nothing]: a HTTPS: the target x is a name of this zone, but has no records (write the records or the service of that name; a name of another zone ends in a dot)",
        ),
        (
            "",
            vec![service(9, "www", &["nope.gtm.example."])],
            "z.toml:9:1: warning[alias-to-nothing]: services.www: the target nope is a name of this zone, but has no records (write the records or the service of that name; a name of another zone ends in a dot)",
        ),
        (
            "_acme-challenge.x.w TXT t\n_dmarc.w TXT t\ny.w A 192.0.2.1\na.z.w TXT t\nz.w CNAME far.example.",
            vec![service(9, "*.w", A)],
            "z.toml:9:1: warning[blocks-wildcard]: services.*.w: x.w exists because of _acme-challenge.x.w, so the wildcard does not answer there (RFC 4592), and it has no addresses of its own (add a service of that name too, with the pools of the wildcard)",
        ),
        (
            "_acme-challenge.v CNAME far.example.",
            vec![
                service(9, "*.w", alias),
                service(10, "*.v", alias),
                service(11, "*.u", A),
            ],
            "z.toml:9:1: warning[acme-below-wildcard]: services.*.w: the wildcard answers for _acme-challenge.w too, with a CNAME: a certificate authority looks for the challenge at x.example. (if you validate certificates by DNS, write a TXT record of that name, or a CNAME to the name that has it)",
        ),
    ];
    for (text, services, message) in &cases {
        assert_eq!(found(text, services), [*message], "{text}");
    }
    let elsewhere = ["soa-missing", "ns-missing", "rrset-too-large"];
    for check in CHECKS
        .iter()
        .filter(|check| !elsewhere.contains(&check.rule))
    {
        let mark = format!("[{}]", check.rule);
        assert!(
            cases.iter().any(|(.., message)| message.contains(&mark)),
            "no case for {}",
            check.rule
        );
    }
}

#[test]
fn an_apex_needs_soa_and_ns_where_the_zone_was_read_whole() {
    let zone = records("gtm.example.", "a 1 A 192.0.2.1\n@ 1 NS b.a\na 1 NS c.a");
    let missing = "z.toml:1:1: error[soa-missing]: zone: the zone gtm.example. has no SOA record at its apex (write one, like: @ 3600 SOA ns1 hostmaster 1 3600 600 604800 20)";
    let no_servers = "z.toml:1:1: error[ns-missing]: zone: the zone gtm.example. has no NS record at its apex (write one for each server of the zone, like: @ 3600 NS ns1)";
    assert_eq!(
        check_records(&Records::default(), &[], true),
        [missing, no_servers]
    );
    assert_eq!(
        check_records(&Records::default(), &[], false),
        [] as [&str; 0]
    );
    assert_eq!(
        check_records(&zone, &[], false).len(),
        1,
        "the A record at the delegation is there, whatever was not read"
    );
}

#[test]
fn an_rrset_that_no_message_can_carry_is_refused() {
    let text: String = (0..4063)
        .map(|i| format!("a A 10.0.{}.{}\n", i / 256, i % 256))
        .collect();
    assert_eq!(
        found(&text, &[]),
        [
            "z:5:1: error[rrset-too-large]: a A: the 4063 records of this RRset take 65008 octets; a message has room for 65000 (spread them over several names)"
        ]
    );
}

#[test]
fn many_findings_of_one_rule_are_counted_and_not_all_shown() {
    let text: String = (0..60)
        .map(|i| format!("a{i}.example. A 192.0.2.1\n"))
        .collect();
    let found = found(&text, &[]);
    assert_eq!(found.len(), 51);
    assert_eq!(
        found[50],
        "z.toml:1:1: error[out-of-zone]: zone: 10 more findings of this rule in the zone are not shown"
    );
}

#[test]
fn a_long_chain_is_walked_without_recursion_and_shown_in_part() {
    let mut text: String = (0..50_000)
        .map(|i| format!("a{i} CNAME a{}\n", i + 1))
        .collect();
    assert_eq!(
        found(&format!("{text}a50000 A 192.0.2.1\n"), &[]),
        [] as [&str; 0]
    );
    text.push_str("a50000 CNAME a0\n");
    assert_eq!(
        found(&text, &[]),
        [
            "z:5:1: error[cname-loop]: a0 CNAME: the CNAMEs form a loop: a0 → a1 → a2 → a3 → a4 → a5 → a6 → a7 → … → a0 (point one of them at a name with addresses)"
        ]
    );
}

#[test]
fn zones_may_lie_inside_each_other_only_where_they_are_delegated() {
    let texts = [
        ("example.", "@ 1 NS a.\nb 1 NS a.\nx.c 1 NS a."),
        ("b.example.", ""),
        ("y.X.c.example.", ""),
        ("c.example.", ""),
        ("B.example.", ""),
        ("d.y.x.c.example.", ""),
        ("other.", ""),
    ];
    let parts: Vec<(Name, At, Records)> = texts
        .iter()
        .enumerate()
        .map(|(at, (origin, text))| {
            (
                name(origin),
                At::new(Arc::from(format!("{at}.toml")), 1, 1, 4),
                records(origin, text),
            )
        })
        .collect();
    let zones: Vec<_> = parts
        .iter()
        .map(|(origin, at, records)| ZoneUnderCheck {
            origin,
            at,
            records,
            services: &[],
            regions: &[],
            unread: &records.unread,
        })
        .collect();
    let mut diagnostics = Diagnostics::default();
    check_overlap(&zones, &mut diagnostics);
    let found: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "4.toml:1:1: error[zone-twice]: zone: the zone B.example. is already defined at 1.toml:1:1 (remove one of the two files, or merge them)",
            "2.toml:1:1: error[zone-not-delegated]: zone: y.X.c.example. lies inside the zone c.example. of 3.toml:1:1, which does not delegate it (write NS records for y.X into c.example., or move this zone's records there)",
            "3.toml:1:1: error[zone-not-delegated]: zone: c.example. lies inside the zone example. of 0.toml:1:1, which does not delegate it (write NS records for c into example., or move this zone's records there)",
            "5.toml:1:1: error[zone-not-delegated]: zone: d.y.x.c.example. lies inside the zone y.X.c.example. of 2.toml:1:1, which does not delegate it (write NS records for d into y.X.c.example., or move this zone's records there)",
        ]
    );
    diagnostics = Diagnostics::default();
    check_overlap(&[zones[0], zones[1], zones[2], zones[6]], &mut diagnostics);
    assert_eq!(
        diagnostics.iter().count(),
        0,
        "delegated at the origin, or above it"
    );
}

/// Delegations with glue below each: first in the order of most files, then with all glue at the
/// end.
#[test]
fn many_delegations_are_judged_one_by_one() {
    const COUNT: usize = 3000;
    let cuts = |glue_apart: bool| {
        let (mut text, mut apart) = (String::new(), String::new());
        for i in 0..COUNT {
            text += &format!("d{i} NS ns1.d{i}\nd{i} NS NS2.D{i}\n");
            let glue = if glue_apart { &mut apart } else { &mut text };
            *glue += &format!("ns1.d{i} A 192.0.2.1\nns2.d{i} A 192.0.2.2\n");
        }
        text + &apart
    };
    for glue_apart in [false, true] {
        let good = cuts(glue_apart);
        assert_eq!(found(&good, &[]), [] as [&str; 0]);
        let bad = format!(
            "{}www.d7 A 192.0.2.9\nx.d2999 TXT x\n",
            good.replace("ns2.d1234 A", "ns3.d1234 A")
        );
        let head = |line: &String| line.split(": ").take(3).collect::<Vec<_>>().join(" ");
        let mut rules: Vec<String> = found(&bad, &[]).iter().map(head).collect();
        // Four lines of the apex come first.
        let line = |owner: &str| {
            5 + bad
                .lines()
                .position(|line| line.starts_with(owner))
                .unwrap()
        };
        let mut expected = [
            format!("z:{}:1 error[glue-missing] d1234 NS", line("d1234 NS") + 1),
            format!(
                "z:{}:1 warning[data-below-delegation] ns3.d1234 A",
                line("ns3.d1234")
            ),
            format!(
                "z:{}:1 warning[data-below-delegation] www.d7 A",
                line("www.d7")
            ),
            format!(
                "z:{}:1 warning[data-below-delegation] x.d2999 TXT",
                line("x.d2999")
            ),
        ];
        rules.sort();
        expected.sort();
        assert_eq!(rules, expected, "glue apart: {glue_apart}");
    }
}

/// A name of few labels, so that many are one another's parents and targets.
fn few_names() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "A", "b", "ns", "*"]), 1..4)
        .prop_map(|labels| labels.join("."))
}

proptest! {
    #[test]
    fn what_is_looked_up_by_neighbours_is_what_is_looked_up_by_name(
        lines in prop::collection::vec((few_names(), 0usize..5, few_names()), 0..24),
    ) {
        let mut text = "$TTL 60\n@ SOA ns1 h 1 2 3 4 5\n".to_owned();
        for (owner, kind, target) in &lines {
            text += &match kind {
                0 => format!("{owner} A 192.0.2.1\n"),
                1 => format!("{owner} MX 1 {target}\n"),
                2 => format!("{owner} DNAME {target}.far.example.\n"),
                _ => format!("{owner} NS {target}\n"),
            };
        }
        let records = records("gtm.example.", &text);
        let (origin, at) = (name("gtm.example."), At::new("z.toml", 1, 1, 4));
        let zone = ZoneUnderCheck { origin: &origin, at: &at, records: &records, services: &[], regions: &[], unread: &records.unread };
        let index = Index::new(&zone);
        for (at, owner) in index.owners.iter().enumerate() {
            prop_assert_eq!(index.cut_of_owner(at), index.cut(index.owner_name(owner)));
        }
        let plain = |place: &Place<'_>| match place {
            Place::Outside => ("outside", None),
            Place::Delegated { owner } => ("delegated", owner.map(|(at, _)| at)),
            Place::Renamed => ("renamed", None),
            Place::Found { owner, .. } => ("found", owner.map(|(at, _)| at)),
        };
        let mut targets = 0;
        for (_, target, place) in index.targets() {
            targets += 1;
            prop_assert_eq!(plain(&place), plain(&index.resolve(target)));
        }
        // What is delegated is served as glue only.
        let is_served = |record: &Record<'_>| match index.cut(record.owner) {
            Some(cut) => cut.len() == record.owner.len() && record.rtype == RrType::NS,
            None => true,
        };
        prop_assert_eq!(targets, records.iter().filter(|record| target_offset(record.rtype).is_some() && is_served(record)).count());
    }
}
