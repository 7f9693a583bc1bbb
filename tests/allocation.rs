//! `respond`, `respond_all` and the sampling of queries allocate nothing: an allocator that counts holds them to that, over every kind of answer.

#![allow(
    unsafe_code,
    reason = "an allocator is an unsafe trait; this one only counts and hands on"
)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use meridian::acme::{Challenge, LONGEST, Subject, Value};
use meridian::answer::{
    Exchange, Query, Response, TCP_BUFFER, Transport, Worker, query_message, respond, respond_all,
};
use meridian::config::{DnstapPlace, DnstapSpec};
use meridian::dataset::Snapshot;
use meridian::dns::{Name, RrType, Ttl};
use meridian::dnstap::Tap;
use meridian::model::Moment;
use meridian::publisher::{AcmeEvent, Publisher, UnitEvent};
use meridian::units::UnitRecord;

struct Counting;

thread_local!(static ALLOCATIONS: Cell<u64> = const { Cell::new(0) });

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ZONE: &str = r#"
--- zones/gtm.example.toml
zone = "gtm.example"
records = '''
$TTL 60
@      SOA   ns1 hostmaster 1 3600 600 604800 30
@      NS    ns1
@      MX    10 ns1
ns1    A     192.0.2.53
c1     CNAME c2
c2     CNAME ns1
*.w    A     192.0.2.1
d      DNAME w
long   DNAME LONG
cut    NS    ns.cut
ns.cut A     192.0.2.99
_acme-challenge TXT "of the zone file"
stick  HTTPS 1 . alpn=h2 ipv4hint=192.0.2.9
MANY'''
[services.near]
route = "nearest"
answers = 2
[services.near.pools]
dublin = { endpoints = ["192.0.2.10", "192.0.2.11", "192.0.2.12"] }
tokyo  = { endpoints = ["192.0.2.30"] }
[services.share]
route = "weighted"
[services.share.pools]
dublin = { weight = 3, endpoints = ["192.0.2.10"] }
tokyo  = { endpoints = ["192.0.2.30"] }
[services.first]
route = "priority"
[services.first.pools]
dublin = { priority = 1, endpoints = ["lb.example."] }
tokyo  = { priority = 2, endpoints = ["lb2.example."] }
[services.trickle]
route = "priority"
trickle = 0.5
[services.trickle.pools]
dublin = { priority = 1, endpoints = ["192.0.2.10"] }
tokyo  = { priority = 2, endpoints = ["192.0.2.30"] }
[services.stick]
route = "sticky"
map = "none"
[services.stick.pools]
dublin = { weight = 3, endpoints = ["192.0.2.10", "192.0.2.11"] }
tokyo  = { endpoints = ["192.0.2.30"] }
[services.unit]
route = "unit"
owners = "dublin"
[services.unit.pools]
dublin = { endpoints = ["192.0.2.10"] }
tokyo  = { endpoints = ["192.0.2.30"] }
[services.fenced]
route = "unit"
owners = "dublin"
[services.fenced.pools]
dublin = { endpoints = ["192.0.2.10"] }
"#;

/// A zone with every kind of name, and one worker that counts by region, too.
fn snapshot() -> Arc<Snapshot> {
    let label = "l".repeat(60);
    let many: String = (0..90)
        .map(|i| format!("many A 198.51.100.{i}\n"))
        .collect();
    let zone = ZONE
        .replace("LONG", &[label.as_str(); 3].join("."))
        .replace("MANY", &many);
    let mut publisher = Publisher::new(common::dataset(&[common::CONFIGURATION, &zone].concat()));
    publisher.count_for(1);
    let owned = UnitRecord::Owned {
        owner: "dublin".to_owned(),
        epoch: 1,
        ttl: Ttl::from_secs(20).unwrap(),
    };
    let records = [("unit.gtm.example.".to_owned(), owned)].into();
    publisher.handle(
        UnitEvent::Adopted {
            records,
            frozen: None,
        },
        Moment::default(),
    );
    let challenge = |name: &str| Challenge {
        subject: Subject::parse(name).unwrap(),
        value: Value::try_from("value".to_owned()).unwrap(),
        by: "anna".to_owned(),
        until: Moment(LONGEST),
    };
    let challenges = ["gtm.example", "a.b.gtm.example"].map(challenge).to_vec();
    publisher.handle(AcmeEvent::Adopted(Some(challenges)), Moment::default());
    publisher.answer_at_once(Moment::default());
    publisher.snapshot()
}

fn name(text: &str) -> Name {
    Name::from_text(text, Some(&Name::from_text("gtm.example.", None).unwrap())).unwrap()
}

fn ask(text: &str, rtype: RrType, client: &str) -> Vec<u8> {
    query_message(&name(text), rtype, client.parse().unwrap())
}

/// A question for an address without OPT.
fn plain(text: &str) -> Vec<u8> {
    let mut bytes = ask(text, RrType::A, "0.0.0.0/0");
    bytes.truncate(12 + name(text).as_wire().len() + 4);
    bytes[11] = 0;
    bytes
}

/// The same with another octet at `at`; from the end if that is negative.
fn with(mut bytes: Vec<u8>, at: isize, octet: u8) -> Vec<u8> {
    let at = if at < 0 {
        bytes.len() - at.unsigned_abs()
    } else {
        at as usize
    };
    bytes[at] = octet;
    bytes
}

/// What an answer is like.
#[derive(Debug, PartialEq)]
enum Kind {
    /// A response code, and how many records each section has, OPT not counted.
    Whole(u16, [u8; 3]),
    /// TC is set.
    Cut,
    /// A response code, and no question.
    Header(u16),
    /// There is none.
    Nothing,
}
use Kind::{Cut, Header, Nothing, Whole};

/// What there is in an answer.
fn kind(answer: &[u8]) -> Kind {
    if answer.is_empty() {
        return Nothing;
    }
    let code = u16::from(answer[3] & 15);
    // The upper bits of the code stand in the OPT record, which is the last.
    let opt = answer
        .windows(3)
        .rposition(|octets| octets == [0, 0, 41])
        .filter(|_| answer[11] > 0);
    let code = code | opt.map_or(0, |at| u16::from(answer[at + 5]) << 4);
    match (answer[2] & 2 != 0, answer[5]) {
        (true, _) => Cut,
        (false, 0) => Header(code),
        (false, _) => Whole(
            code,
            [answer[7], answer[9], answer[11] - u8::from(opt.is_some())],
        ),
    }
}

/// A query for every kind of answer.
fn queries() -> Vec<(&'static str, Vec<u8>, Kind)> {
    let (v4, v6) = ("203.0.113.0/24", "2001:db8:1::/56");
    let deep = [["q".repeat(60).as_str(); 2].join(".").as_str(), "long"].join(".");
    vec![
        ("static", plain("ns1"), Whole(0, [1, 0, 0])),
        (
            "static with OPT",
            ask("NS1", RrType::A, v4),
            Whole(0, [1, 0, 0]),
        ),
        (
            "with additional records",
            ask("@", RrType::MX, v4),
            Whole(0, [1, 0, 1]),
        ),
        (
            "nearest, its client's address",
            plain("near"),
            Whole(0, [2, 0, 0]),
        ),
        (
            "nearest, IPv4 subnet",
            ask("near", RrType::A, v4),
            Whole(0, [2, 0, 0]),
        ),
        (
            "nearest, IPv6 subnet",
            ask("near", RrType::A, v6),
            Whole(0, [2, 0, 0]),
        ),
        (
            "nearest, a border",
            ask("near", RrType::A, "10.1.2.0/24"),
            Whole(0, [1, 0, 0]),
        ),
        (
            "nearest, not to be located",
            ask("near", RrType::A, "0.0.0.0/0"),
            Whole(0, [2, 0, 0]),
        ),
        ("weighted", ask("share", RrType::A, v4), Whole(0, [1, 0, 0])),
        (
            "an alias that is steered",
            ask("first", RrType::AAAA, v4),
            Whole(0, [1, 0, 0]),
        ),
        (
            "a trickle",
            ask("trickle", RrType::A, v4),
            Whole(0, [1, 0, 0]),
        ),
        (
            "sticky, IPv4 subnet",
            ask("stick", RrType::A, v4),
            Whole(0, [1, 0, 0]),
        ),
        (
            "sticky, IPv6 subnet",
            ask("stick", RrType::A, v6),
            Whole(0, [1, 0, 0]),
        ),
        (
            "HTTPS that is steered",
            ask("stick", RrType::HTTPS, v4),
            Whole(0, [1, 0, 0]),
        ),
        ("a unit", ask("unit", RrType::A, v4), Whole(0, [1, 0, 0])),
        (
            "who owns it",
            ask("_epoch.unit", RrType::TXT, v4),
            Whole(0, [1, 0, 0]),
        ),
        (
            "another type of that",
            ask("_epoch.unit", RrType::A, v4),
            Whole(0, [0, 1, 0]),
        ),
        (
            "a unit that nobody owns",
            ask("fenced", RrType::A, v4),
            Whole(0, [0, 1, 0]),
        ),
        (
            "no such name",
            ask("nothing.at.all", RrType::A, v4),
            Whole(3, [0, 1, 0]),
        ),
        (
            "no such type",
            ask("ns1", RrType::AAAA, v4),
            Whole(0, [0, 1, 0]),
        ),
        (
            "no such type of a service",
            ask("near", RrType::AAAA, v4),
            Whole(0, [0, 1, 0]),
        ),
        (
            "any type",
            ask("near", RrType::ANY, v4),
            Whole(0, [1, 0, 0]),
        ),
        (
            "referral",
            ask("www.cut", RrType::A, v4),
            Whole(0, [0, 1, 1]),
        ),
        (
            "DS at a cut",
            ask("cut", RrType::DS, v4),
            Whole(0, [0, 1, 0]),
        ),
        (
            "challenge beside a static record",
            ask("_ACME-challenge", RrType::TXT, v4),
            Whole(0, [2, 0, 0]),
        ),
        (
            "challenge, another type",
            ask("_acme-challenge.a.b", RrType::A, v4),
            Whole(0, [0, 1, 0]),
        ),
        (
            "above a challenge",
            ask("a.b", RrType::A, v4),
            Whole(0, [0, 1, 0]),
        ),
        ("wildcard", ask("q.w", RrType::A, v4), Whole(0, [1, 0, 0])),
        (
            "chain of aliases",
            ask("c1", RrType::A, v4),
            Whole(0, [3, 0, 0]),
        ),
        ("DNAME", ask("a.d", RrType::A, v4), Whole(0, [3, 0, 0])),
        (
            "DNAME, too long a name",
            ask(&deep, RrType::A, v4),
            Whole(6, [1, 0, 0]),
        ),
        ("truncated", ask("many", RrType::A, v4), Cut),
        ("truncated without OPT", plain("many"), Cut),
        (
            "not our zone",
            ask("www.example.", RrType::A, v4),
            Whole(5, [0, 0, 0]),
        ),
        ("transfer", ask("@", RrType::AXFR, v4), Whole(5, [0, 0, 0])),
        (
            "another class",
            with(plain("ns1"), -1, 4),
            Whole(5, [0, 0, 0]),
        ),
        (
            "octets left over",
            [plain("ns1"), vec![0]].concat(),
            Whole(1, [0, 0, 0]),
        ),
        (
            "malformed Client Subnet",
            with(ask("near", RrType::A, v4), -5, 8),
            Whole(1, [0, 0, 0]),
        ),
        (
            "EDNS version 1",
            with(ask("near", RrType::A, v4), -16, 1),
            Whole(16, [0, 0, 0]),
        ),
        ("two questions", with(plain("ns1"), 5, 2), Header(1)),
        ("a question cut off", plain("ns1")[..20].to_vec(), Header(1)),
        ("another opcode", with(plain("ns1"), 2, 0x10), Header(4)),
        ("a response", with(plain("ns1"), 2, 0x80), Nothing),
        (
            "shorter than a header",
            plain("ns1")[..11].to_vec(),
            Nothing,
        ),
        ("empty", Vec::new(), Nothing),
    ]
}

/// How often `work` allocated.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

fn exchange<'m>(bytes: &'m [u8], out: &'m mut [u8], transport: Transport) -> Exchange<'m> {
    Exchange {
        query: Query::synthetic(bytes, "192.0.2.1".parse().unwrap(), transport),
        out,
        answer: None,
    }
}

#[test]
fn respond_allocates_nothing() {
    let (snapshot, mut worker, mut out) = (snapshot(), Worker::numbered(1, 0), vec![0; TCP_BUFFER]);
    for (label, bytes, expected) in queries() {
        for transport in [Transport::Udp, Transport::Tcp] {
            let Exchange { query, out, .. } = exchange(&bytes, &mut out, transport);
            let mut sent = Response::Send(0);
            assert_eq!(
                allocations(|| sent = respond(&snapshot, &mut worker, &query, out)),
                0,
                "{label} over {transport}"
            );
            let length = if let Response::Send(length) = sent {
                length
            } else {
                0
            };
            match expected {
                Cut if transport == Transport::Tcp => {
                    assert_eq!(kind(&out[..length]), Whole(0, [90, 0, 0]), "{label}")
                }
                _ => assert_eq!(kind(&out[..length]), expected, "{label} over {transport}"),
            }
        }
    }
    assert!(
        snapshot
            .answers_of(snapshot.dataset.service_at(&name("near")).unwrap())
            .any(|(_, count)| count > 0)
    );
    // The counter counts.
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1u8]))), 1);
}

/// In batches of every length and of every mixture that a turn of the queries makes, and with the answers that they get one by one.
#[test]
fn respond_all_allocates_nothing() {
    let snapshot = snapshot();
    let mut queries: Vec<_> = queries().into_iter().map(|(_, bytes, _)| bytes).collect();
    let mut rooms = vec![vec![0; TCP_BUFFER]; queries.len()];
    let (mut together, mut alone, mut out) = (
        Worker::numbered(7, 0),
        Worker::numbered(7, 0),
        vec![0; TCP_BUFFER],
    );
    for transport in [Transport::Udp, Transport::Tcp] {
        for count in 0..=queries.len() {
            let messages = queries.iter().zip(&mut rooms).take(count);
            let mut exchanges: Vec<_> = messages
                .map(|(bytes, room)| exchange(bytes, room, transport))
                .collect();
            assert_eq!(
                allocations(|| respond_all(&snapshot, &mut together, &mut exchanges)),
                0,
                "{count} over {transport}"
            );
            for Exchange {
                query,
                out: room,
                answer,
            } in &exchanges
            {
                let length = match respond(&snapshot, &mut alone, query, &mut out) {
                    Response::Send(length) => Some(length),
                    Response::Drop(_) => None,
                };
                assert_eq!(*answer, length, "{:02x?}", query.bytes);
                assert_eq!(
                    room[..length.unwrap_or(0)],
                    out[..length.unwrap_or(0)],
                    "{:02x?}",
                    query.bytes
                );
            }
            queries.rotate_left(1);
        }
    }
}

/// With slots to spare, with none left, and for what is too long for a slot.
#[test]
fn sampling_allocates_nothing() {
    let (snapshot, mut worker) = (snapshot(), Worker::numbered(3, 0));
    let queries: Vec<_> = queries().into_iter().map(|(_, bytes, _)| bytes).collect();
    let mut rooms = vec![vec![0; TCP_BUFFER]; queries.len()];
    let mut tap = Tap::new(DnstapSpec {
        place: DnstapPlace::File("unused".into()),
        sample: 1,
        identity: None,
        version: None,
    });
    let mut sampler = tap.sampler(7);
    let counters = sampler.counters();
    let mut taken = 0;
    while counters.queue_full.get() < 100 {
        let messages = queries.iter().zip(&mut rooms);
        let mut exchanges: Vec<_> = messages
            .map(|(bytes, room)| exchange(bytes, room, Transport::Udp))
            .collect();
        taken += exchanges.len() as u64;
        let work = || {
            respond_all(&snapshot, &mut worker, &mut exchanges);
            sampler.count_all(&exchanges);
        };
        assert_eq!(allocations(work), 0, "after {taken} samples");
    }
    // Some were taken before.
    assert!(taken > counters.queue_full.get() + 100, "{taken}");
    let long = vec![7; TCP_BUFFER];
    let Exchange { query, out, .. } = exchange(&long, &mut rooms[0], Transport::Tcp);
    assert_eq!(allocations(|| sampler.count(&query, Some(out))), 0);
    assert_eq!(counters.too_long.get(), 1);
}
