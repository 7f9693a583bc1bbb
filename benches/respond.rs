//! Cost of one answer.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use meridian::answer::{
    DropReason, Query, Response, Transport, UDP_BUFFER, Worker, query_message, respond,
};
use meridian::dns::{Name, RrType};
use meridian::publisher::Publisher;

use super::common;

const ZONE: &str = r#"
--- zones/bench.example.toml
zone = "bench.example"
records = '''
$TTL 60
@      SOA   ns1 hostmaster 1 3600 600 604800 30
@      NS    ns1
ns1    A     192.0.2.53
c1     CNAME c2
c2     CNAME ns1
cut    NS    ns.cut
ns.cut A     192.0.2.99
RECORDS'''
[services.near]
route = "nearest"
[services.near.pools]
dublin  = { endpoints = ["192.0.2.10"] }
ashburn = { endpoints = ["192.0.2.20"] }
tokyo   = { endpoints = ["192.0.2.30"] }
[services.share]
route = "weighted"
[services.share.pools]
dublin  = { weight = 70, endpoints = ["192.0.2.10"] }
ashburn = { weight = 20, endpoints = ["192.0.2.20"] }
tokyo   = { weight = 10, endpoints = ["192.0.2.30"] }
"#;

/// Expected answer: response code, whether it is truncated, and its number of answer records.
type Shape = (u8, bool, u8);

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut many = String::new();
    // Forty addresses do not fit 512 octets.
    for address in 0..40 {
        many += &format!("many A 198.51.100.{address}\n");
    }
    let files = [common::CONFIGURATION, &ZONE.replace("RECORDS", &many)].concat();
    let mut publisher = Publisher::new(common::dataset(&files));
    // Counted as a server does.
    publisher.count_for(1);
    let (snapshot, mut worker) = (publisher.snapshot(), Worker::numbered(1, 0));
    let mut out = [0; UDP_BUFFER];
    let client = "203.0.113.9".parse().expect("an address");
    let mut group = criterion.benchmark_group("respond");
    group.throughput(Throughput::Elements(1));
    for (label, bytes, shape) in answered() {
        let query = Query::synthetic(&bytes, client, Transport::Udp);
        let sent = respond(&snapshot, &mut worker, &query, &mut out);
        assert!(matches!(sent, Response::Send(12..)), "{label}: {sent:?}");
        assert_eq!((out[3] & 15, out[2] & 2 != 0, out[7]), shape, "{label}");
        group.bench_function(label, |bencher| {
            bencher.iter(|| respond(&snapshot, &mut worker, black_box(&query), &mut out));
        });
    }
    for (label, bytes, reason) in dropped() {
        let query = Query::synthetic(&bytes, client, Transport::Udp);
        assert_eq!(
            respond(&snapshot, &mut worker, &query, &mut out),
            Response::Drop(reason),
            "{label}"
        );
        group.bench_function(label, |bencher| {
            bencher.iter(|| respond(&snapshot, &mut worker, black_box(&query), &mut out));
        });
    }
    group.finish();
}

/// Queries that are answered.
fn answered() -> Vec<(&'static str, Vec<u8>, Shape)> {
    let (near, ns1) = ("near.bench.example.", "ns1.bench.example.");
    let v4 = subnet(near, "203.0.113.0/24");
    let v6 = subnet(near, "2001:db8:1::/56");
    vec![
        ("static", plain(ns1), (0, false, 1)),
        ("nearest, IPv4 subnet", v4, (0, false, 1)),
        ("nearest, IPv6 subnet", v6, (0, false, 1)),
        ("nearest, without EDNS", plain(near), (0, false, 1)),
        ("weighted", plain("share.bench.example."), (0, false, 1)),
        (
            "no such name",
            plain("nothing.bench.example."),
            (3, false, 0),
        ),
        ("referral", plain("www.cut.bench.example."), (0, false, 0)),
        ("two aliases", plain("c1.bench.example."), (0, false, 3)),
        ("truncated", plain("many.bench.example."), (0, true, 0)),
        ("refused", plain("www.elsewhere.example."), (5, false, 0)),
        ("malformed", plain(ns1)[..20].to_vec(), (1, false, 0)),
        ("two questions", with(plain(ns1), 5, 2), (1, false, 0)),
        ("bad OPT", bad_opt(ns1), (1, false, 0)),
        ("unknown opcode", with(plain(ns1), 2, 0x10), (4, false, 0)),
    ]
}

/// Messages that get no answer.
fn dropped() -> [(&'static str, Vec<u8>, DropReason); 2] {
    let query = plain("ns1.bench.example.");
    [
        (
            "shorter than a header",
            query[..11].to_vec(),
            DropReason::Short,
        ),
        ("a response", with(query, 2, 0x80), DropReason::NotAQuery),
    ]
}

/// The same with another octet in its header.
fn with(mut bytes: Vec<u8>, at: usize, octet: u8) -> Vec<u8> {
    bytes[at] = octet;
    bytes
}

/// A query whose Client Subnet has more address octets than its length says.
fn bad_opt(name: &str) -> Vec<u8> {
    let mut bytes = subnet(name, "203.0.113.0/24");
    let source = bytes.len() - 5;
    assert_eq!(bytes[source], 24);
    bytes[source] = 8;
    bytes
}

fn subnet(name: &str, client: &str) -> Vec<u8> {
    let name = Name::from_text(name, None).expect("a name");
    query_message(&name, RrType::A, client.parse().expect("a prefix"))
}

/// The same without its OPT.
fn plain(name: &str) -> Vec<u8> {
    let mut bytes = subnet(name, "0.0.0.0/0");
    let end = 12
        + bytes[12..]
            .iter()
            .position(|octet| *octet == 0)
            .expect("a name ends in the root")
        + 5;
    bytes.truncate(end);
    bytes[11] = 0;
    bytes
}
