//! Every fuzz target on its seeds, and on damage done to them for a moment. `tests/fuzz/run` goes on from here for hours.

mod common;
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use targets::{TARGETS, Target};

/// How long each target is tried.
const TIME: Duration = Duration::from_secs(1);

fn seeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds")
}

/// Runs a target on each of its seeds, and on mutations of them until the time is over.
fn exercise(name: &str) {
    let target: Target = TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .unwrap_or_else(|| panic!("{name} is not a target"))
        .1;
    let mut files: Vec<PathBuf> = fs::read_dir(seeds().join(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let until = Instant::now() + TIME;
    seeds.iter().for_each(|seed| target(seed));
    let mut rng = fastrand::Rng::with_seed(0x7061);
    while Instant::now() < until {
        target(&damaged(&seeds, &mut rng));
    }
}

/// One of `seeds` with a few changes; the last may be to begin it with another.
fn damaged(seeds: &[Vec<u8>], rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = seeds[rng.usize(..seeds.len())].clone();
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(..bytes.len().max(1));
        match rng.u8(..6) {
            _ if bytes.is_empty() => bytes.push(rng.u8(..)),
            0 => bytes[at] = rng.u8(..),
            1 => bytes.truncate(at.max(1)),
            2 => bytes.insert(at, b"\"'\\()[]{}\n@$;=.#0"[rng.usize(..17)]),
            3 => {
                let from = rng.usize(..bytes.len());
                let piece = bytes[from..(from + rng.usize(1..40)).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            4 if rng.u8(..8) == 0 => {
                let other = &seeds[rng.usize(..seeds.len())];
                bytes.splice(..at, other[..rng.usize(..=other.len())].iter().copied());
            }
            _ => bytes[at] ^= 1 << rng.u8(..8),
        }
    }
    bytes
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            exercise(stringify!($name));
        })*

        #[test]
        fn every_target_has_seeds_and_a_test() {
            let tested: BTreeSet<String> = [$(stringify!($name)),*].map(str::to_owned).into();
            assert_eq!(tested, TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect());
            let names = fs::read_dir(seeds()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            assert_eq!(tested, names.collect());
        }
    };
}

targets! {
    respond master_file includes names configuration zone_file compile render last_good history units overrides
    acme token_file audit drills
    clients address_plan mmdb dns_answer icmp body grpc certificate tcp admin control
}

/// The seeds of `history` are what a server keeps whose regions are down, held, returning and flapping.
#[test]
fn the_seeds_of_histories_are_what_a_server_keeps() {
    use meridian::health::{FailReason, Outcome, Seen};
    use meridian::model::{Moment, TargetId};
    use meridian::publisher::{Event, ProbeEvent, Publisher};
    use meridian::recovery::resolve;

    let dataset = common::dataset(&common::checked());
    let mut publisher = Publisher::new(dataset.clone());
    publisher.handle(ProbeEvent::FirstRoundEnded, Moment::default());
    let mut seeds = Vec::new();
    for second in 0..120 {
        let now = Moment(Duration::from_secs(second));
        for target in 0..dataset.config.targets.len() {
            let failing = target as u64 * 7 + 3;
            let seen = if second % (2 * failing) < failing {
                Seen::Pass
            } else {
                Seen::Fail(FailReason::ConnectRefused)
            };
            let outcome = Outcome::new(now, seen);
            publisher.handle(
                ProbeEvent::Outcome {
                    generation: 0,
                    target: TargetId::from_index(target),
                    outcome,
                },
                now,
            );
        }
        if second % 40 == 39 {
            let history = publisher.history(now).unwrap();
            seeds.push(meridian::state::encode_history(
                &history,
                std::time::UNIX_EPOCH + Duration::from_secs(1_799_999_990),
            ));
            let (service, _) =
                resolve(&publisher.dataset().config, "www.gtm.example", None).unwrap();
            for region in publisher.held(service, None).unwrap_or_default() {
                publisher.handle(Event::Resume { service, region }, now);
            }
        }
    }
    let text = String::from_utf8(seeds.concat()).unwrap();
    assert!(
        ["\"held\"", "\"ramping\"", "\"hold\"", "\"up\":false"]
            .iter()
            .all(|part| text.contains(part)),
        "{text}"
    );
    for (index, seed) in seeds.iter().enumerate() {
        let file = self::seeds()
            .join("history")
            .join(format!("{}-seconds", 40 * (index + 1)));
        if std::env::var_os("MERIDIAN_WRITE_SEEDS").is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, seed).unwrap();
        }
        let kept = fs::read(&file).unwrap();
        assert_eq!(
            String::from_utf8_lossy(seed),
            String::from_utf8_lossy(&kept),
            "MERIDIAN_WRITE_SEEDS=1 writes them anew"
        );
    }
}
