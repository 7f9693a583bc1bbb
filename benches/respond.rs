//! What one answer costs: `cargo bench --bench respond`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use meridian::answer::{Query, Transport, UDP_BUFFER, Worker, query_message, respond};
use meridian::dns::{Name, RrType};

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
'''
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

fn answers(criterion: &mut Criterion) {
    let snapshot = common::snapshot(&[common::CONFIGURATION, ZONE].concat());
    let mut worker = Worker::new(1);
    let mut out = [0; UDP_BUFFER];
    let mut group = criterion.benchmark_group("respond");
    for (label, name, rtype) in [
        ("static", "ns1", RrType::A),
        ("nearest with client subnet", "near", RrType::A),
        ("weighted", "share", RrType::A),
        ("no such name", "nothing", RrType::A),
        ("referral", "www.cut", RrType::A),
        ("two aliases", "c1", RrType::A),
    ] {
        let name = Name::from_text(&format!("{name}.bench.example."), None).expect("a name");
        let bytes = query_message(&name, rtype, "203.0.113.0/24".parse().expect("a prefix"));
        let client = "192.0.2.1".parse().expect("an address");
        group.bench_function(label, |bencher| {
            bencher.iter(|| {
                respond(&snapshot, &mut worker, black_box(&Query { bytes: &bytes, client, transport: Transport::Udp }), &mut out)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, answers);
criterion_main!(benches);
