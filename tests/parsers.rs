//! Every parser of files against damaged and arbitrary input, for a bounded time; the targets are those of `tests/fuzz/`.

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::targets;

/// How long each parser is tried.
const TIME: Duration = Duration::from_secs(3);

/// Mutates `seeds` until the time is over.
fn mutate(seeds: &[Vec<u8>], mut target: impl FnMut(&[u8])) {
    let mut rng = fastrand::Rng::with_seed(0x7061);
    let until = Instant::now() + TIME;
    let mut runs = 0;
    while Instant::now() < until {
        let mut bytes = seeds[rng.usize(..seeds.len())].clone();
        for _ in 0..rng.usize(1..6) {
            let at = rng.usize(..bytes.len().max(1));
            match rng.u8(..5) {
                0 => bytes[at] = rng.u8(..),
                1 => bytes.truncate(at.max(1)),
                2 => bytes.insert(at, b"\"'\\()[]{}\n@$;=.#0"[rng.usize(..17)]),
                3 => {
                    let from = rng.usize(..bytes.len());
                    let piece = bytes[from..(from + rng.usize(1..40)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
                _ => bytes[at] ^= 1 << rng.u8(..8),
            }
        }
        target(&bytes);
        runs += 1;
    }
    assert!(runs > 10, "too slow to be a test: {runs} runs in {TIME:?}");
}

fn shipped(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()).collect()
}

#[test]
fn master_files() {
    let zone = include_str!("answers.zone");
    let records = zone.split("'''").nth(1).unwrap().as_bytes().to_vec();
    mutate(&[records], |bytes| targets::read_master_file(&String::from_utf8_lossy(bytes)));
}

#[test]
fn configurations() {
    let seeds = shipped(&["meridian.toml", "zones/gtm.example.toml"]);
    mutate(&seeds, |bytes| targets::read_configuration(&String::from_utf8_lossy(bytes)));
}

#[test]
fn location_databases() {
    mutate(&shipped(&["geoip/world.mmdb"]), targets::read_mmdb);
}

#[test]
fn dns_answers() {
    let mut answer = b"\0\x07\x84\0\0\x01\0\x01\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01".to_vec();
    answer.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01");
    mutate(&[answer], targets::hear_dns_answer);
}

#[test]
fn icmp_packets() {
    let header = b"\x45\0\0\x24\0\0\0\0\x40\x01\0\0\xc0\0\x02\x01\xc0\0\x02\x02".to_vec();
    let reply = b"\0\0\0\0\x12\x34\0\x0112345678".to_vec();
    let lost = [b"\x03\x01\0\0\0\0\0\0", &header[..], b"\x08\0\0\0\x12\x34\0\x01"].concat();
    let reply6 = [&b"\x81"[..], &reply[1..]].concat();
    mutate(&[[&header[..], &reply].concat(), reply, lost, reply6], targets::hear_icmp);
}

#[test]
fn address_plans() {
    let plan =
        b"network,continent,country,subdivision,city,latitude,longitude,asn\n10.0.0.0/8,EU,IE,IE-D,Dublin,53.3,-6.2,64500\n"
            .to_vec();
    mutate(&[plan], |bytes| targets::read_address_plan(&String::from_utf8_lossy(bytes)));
}

#[test]
fn units() {
    let units = r#"{"format":1,"meridian":"0.1.0","units":{
        "00.orders.example.":{"state":"owned","owner":"dublin","epoch":5,"ttl":20},
        "01.orders.example.":{"state":"fenced","last":"dublin","next":"tokyo","epoch":9007199254740991,"ttl":60},
        "writer.example.":{"state":"fenced","next":"dublin","epoch":0,"ttl":0}}}"#;
    mutate(&[units.as_bytes().to_vec()], targets::read_units);
}

#[test]
fn overrides() {
    let overrides = r#"{"format":1,"meridian":"0.1.0","overrides":[
        {"id":1,"word":"drain","of":{"label":["provider","cloud-a"]},"by":"anna","reason":"INC-7","made":"2026-11-25T16:00:00.5Z",
         "starts":"2026-11-25T16:05:00Z","until":"2026-11-25T18:00:00Z","forced":true},
        {"id":7,"word":{"weight":5},"of":{"endpoint":{"service":"www.example.","target":"192.0.2.1"}},"by":"b","reason":"r",
         "made":"1970-01-01T00:00:00Z","starts":"9999-12-31T23:59:59Z"}]}"#;
    mutate(&[overrides.as_bytes().to_vec()], targets::read_overrides);
}

#[test]
fn clients() {
    let seed = b"# queries\n203.0.113.0/24,700\n192.0.2.0/24 , 2.5 # more\n2001:db8::/48\n".to_vec();
    mutate(&[seed], |bytes| targets::read_clients(&String::from_utf8_lossy(bytes)));
}

/// The seed is what a server keeps whose regions are down, held, returning and flapping.
#[test]
fn histories_of_health() {
    use meridian::health::{FailReason, Outcome, Seen};
    use meridian::model::{Moment, TargetId};
    use meridian::publisher::{Event, Publisher};

    let dataset = common::dataset(&common::checked());
    let mut publisher = Publisher::new(dataset.clone());
    publisher.handle(Event::FirstRoundEnded, Moment::default());
    let mut seeds = Vec::new();
    for second in 0..120 {
        let now = Moment(Duration::from_secs(second));
        for target in 0..dataset.config.targets.len() {
            let failing = target as u64 * 7 + 3;
            let seen = if second % (2 * failing) < failing { Seen::Pass } else { Seen::Fail(FailReason::ConnectRefused) };
            let outcome = Outcome::new(now, seen);
            publisher.handle(Event::Outcome { generation: 0, target: TargetId::from_index(target), outcome }, now);
        }
        if second % 40 == 39 {
            let history = publisher.history(now).unwrap();
            seeds.push(meridian::state::encode(&history, std::time::UNIX_EPOCH + Duration::from_secs(1_799_999_990)));
            for (service, region) in publisher.held("www.gtm.example", None).unwrap_or_default() {
                publisher.handle(Event::Resume { service, region }, now);
            }
        }
    }
    let text = String::from_utf8(seeds.concat()).unwrap();
    assert!(["\"held\"", "\"ramping\"", "\"hold\"", "\"up\":false"].iter().all(|part| text.contains(part)), "{text}");
    mutate(&seeds, |bytes| targets::read_history(&dataset, bytes));
}
