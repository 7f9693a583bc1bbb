//! A large master file: its parsing, and the table of its names.

use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use meridian::diag::Diagnostics;
use meridian::dns::{Name, RrType};
use meridian::model::ZoneId;
use meridian::zone::{Include, IncludeError, Input, NameTable, Records, ZoneInput, parse};

use super::data::MILLION_ZONE;
use super::data::files::many_records;
use super::size;

struct NoFiles;

impl Include for NoFiles {
    fn read(&mut self, path: &str, _: &str, _: u64) -> Result<Input, IncludeError> {
        Err(IncludeError {
            rule: "include-failed",
            message: format!("{path} is not there"),
            hint: None,
        })
    }
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let count = size(100_000, 1000);
    let input = Input::whole("million.zone", Arc::<str>::from(many_records(count)).into());
    let origin = Name::from_text(&format!("{MILLION_ZONE}."), None).expect("a name");
    let mut group = criterion.benchmark_group("zone");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5))
        .throughput(Throughput::Elements(count as u64));
    group.bench_function("parse 100 k names", |bencher| {
        bencher.iter_batched(|| (), |()| read(&input, &origin), BatchSize::PerIteration);
    });
    let records = read(&input, &origin);
    assert_eq!(records.len(), count + 3);
    let table = || {
        NameTable::build(&[ZoneInput {
            origin: &origin,
            records: &records,
            services: Vec::new(),
            epochs: &[],
        }])
    };
    group.bench_function("build the table of 100 k names", |bencher| {
        bencher.iter_batched(|| (), |()| table(), BatchSize::PerIteration);
    });
    let names: Vec<Name> = (0..1 << 16)
        .map(|i| {
            // An odd factor visits every number of a power of two once.
            let number = i * 40_503 % (1 << 16) * count / (1 << 16);
            Name::from_text(&format!("n{number:07}.{MILLION_ZONE}."), None).expect("a name")
        })
        .collect();
    let table = table();
    group.bench_function("canonical order of 100 k names", |bencher| {
        bencher.iter(|| table.canonical_names(&[ZoneId(0)]));
    });
    let mut next = 0;
    group.throughput(Throughput::Elements(1));
    group.bench_function("look up one of 100 k names", |bencher| {
        bencher.iter(|| {
            next = (next + 1) % names.len();
            table
                .lookup(names[next].as_wire(), RrType::A)
                .expect("it is in the zone")
        });
    });
    group.finish();
}

fn read(input: &Input, origin: &Name) -> Records {
    let mut diagnostics = Diagnostics::default();
    let records = parse(input, origin, &mut NoFiles, &mut diagnostics);
    assert!(!diagnostics.has_errors());
    records
}
