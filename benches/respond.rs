//! What one answer costs: `cargo bench --bench respond`.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use meridian::answer::{Query, Transport, UDP_BUFFER, Worker, query_message, respond};
use meridian::config::{self, Source, Unreadable};
use meridian::dataset::{Dataset, Snapshot};
use meridian::diag::{Diagnostics, Sources};
use meridian::dns::{Name, RrType};
use meridian::geo::{EMBEDDED, Locations};
use meridian::publisher::Publisher;

const CONFIGURATION: &str = r#"
[server]
node = "bench"
[maps.default]
by_distance = true
rest = ["dublin", "ashburn", "tokyo"]
[regions.dublin]
latitude = 53.35
longitude = -6.26
[regions.ashburn]
latitude = 39.04
longitude = -77.49
[regions.tokyo]
latitude = 35.68
longitude = 139.69
"#;

const ZONE: &str = r#"
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

struct Files(BTreeMap<&'static str, &'static str>);

impl Source for Files {
    fn text(&mut self, path: &Path) -> Result<Arc<str>, Unreadable> {
        Ok(self.0[path.to_str().expect("the paths are ASCII")].into())
    }

    fn zone_files(&mut self, _: &Path) -> Result<Vec<PathBuf>, Unreadable> {
        Ok(vec!["zones/bench.toml".into()])
    }

    fn database(&mut self, _: &Path) -> Result<(), Unreadable> {
        Ok(())
    }
}

fn snapshot() -> Arc<Snapshot> {
    let mut files = Files(BTreeMap::from([("meridian.toml", CONFIGURATION), ("zones/bench.toml", ZONE)]));
    let mut diagnostics = Diagnostics::default();
    let config = config::load(&mut files, Path::new("meridian.toml"), &mut Sources::new(), &mut diagnostics);
    let config = config.unwrap_or_else(|| panic!("{:?}", diagnostics.iter().collect::<Vec<_>>()));
    let locations = Arc::new(Locations::read(Some(EMBEDDED), None).expect("the embedded database is good"));
    Publisher::new(Arc::new(Dataset::compile(config, locations))).snapshot()
}

fn answers(criterion: &mut Criterion) {
    let snapshot = snapshot();
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
