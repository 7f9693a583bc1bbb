//! What a reload keeps, and what it finds out first.

mod common;

use std::sync::Arc;
use std::time::Duration;

use meridian::answer::explain;
use meridian::dataset::{Dataset, Snapshot};
use meridian::dns::Name;
use meridian::geo::{EMBEDDED, Locations};
use meridian::health::{FailReason, Outcome, Seen};
use meridian::model::{Moment, TargetId, WallTime};
use meridian::publisher::{Effect, Event, ProbeEvent, Publisher, new_targets};

/// A service with one endpoint in each of two regions.
fn dataset(dublin: &str, ashburn: &str) -> Arc<Dataset> {
    let zone = format!(
        r#"--- zones/gtm.example.toml
zone = "gtm.example"
records = '''
@   3600 SOA ns1 hostmaster 1 3600 600 604800 30
@   3600 NS  ns1
ns1 3600 A   192.0.2.53
'''
[services.www]
route  = "priority"
checks = ["web"]
[services.www.pools]
dublin  = {{ priority = 1, endpoints = ["{dublin}"] }}
ashburn = {{ priority = 2, endpoints = ["{ashburn}"] }}
tokyo   = {{ priority = 3, endpoints = ["192.0.2.30"] }}
"#
    );
    common::dataset(&[common::CONFIGURATION, &zone].concat())
}

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn failure(now: Moment) -> Outcome {
    Outcome::new(now, Seen::Fail(FailReason::ConnectRefused))
}

fn target(dataset: &Dataset, address: &str) -> TargetId {
    let index = dataset
        .config
        .targets
        .iter()
        .position(|t| t.target.to_string() == address)
        .unwrap();
    TargetId::from_index(index)
}

fn published(effects: Vec<Effect>) -> Arc<Snapshot> {
    let mut snapshots = effects.into_iter().filter_map(|effect| match effect {
        Effect::Publish(snapshot) => Some(snapshot),
        _ => None,
    });
    let last = snapshots.next_back().expect("something is published");
    assert!(snapshots.next().is_none(), "one event publishes once");
    last
}

fn answer(snapshot: &Snapshot) -> String {
    let name = Name::from_text("www.gtm.example.", None).unwrap();
    explain(
        snapshot,
        &name,
        None,
        "203.0.113.0/24".parse().unwrap(),
        0,
        WallTime::default(),
    )
    .answers
    .join(" ")
}

#[test]
fn a_down_endpoint_stays_down_and_a_new_one_is_probed_before_it_is_handed_out() {
    let old = dataset("192.0.2.10", "192.0.2.20");
    let mut publisher = Publisher::new(old.clone());
    publisher.handle(ProbeEvent::FirstRoundEnded, at(0));
    let generation = publisher.generation();
    let pass = |now| Outcome {
        seen: Seen::Pass,
        ..failure(now)
    };
    for second in 1..=3 {
        let others = [target(&old, "192.0.2.20"), target(&old, "192.0.2.30")];
        for other in others {
            publisher.handle(
                ProbeEvent::Outcome {
                    generation,
                    target: other,
                    outcome: pass(at(second)),
                },
                at(second),
            );
        }
        let dead = target(&old, "192.0.2.10");
        publisher.handle(
            ProbeEvent::Outcome {
                generation,
                target: dead,
                outcome: failure(at(second)),
            },
            at(second),
        );
    }
    assert_eq!(answer(&publisher.snapshot()), "192.0.2.20");

    // Ashburn's endpoint is replaced by one that is dead, and Dublin's is still down. Tokyo's passes
    // in that round too: with nothing passing, the losses could be our own network's.
    let new = dataset("192.0.2.10", "192.0.2.21");
    assert_eq!(new_targets(&old, &new), [target(&new, "192.0.2.21")]);
    let mut first_round = vec![(target(&new, "192.0.2.21"), failure(at(4))); 3];
    first_round.push((target(&new, "192.0.2.30"), pass(at(4))));
    let snapshot = published(publisher.handle(
        Event::Reload {
            dataset: new.clone(),
            first_round,
        },
        at(4),
    ));
    assert_eq!(answer(&snapshot), "192.0.2.30");

    // An outcome of a probe from before the reload means some other target now, and is ignored.
    let stale = ProbeEvent::Outcome {
        generation,
        target: target(&new, "192.0.2.30"),
        outcome: failure(at(5)),
    };
    assert!(publisher.handle(stale, at(5)).is_empty());
}

#[test]
fn the_same_files_change_nothing() {
    let old = dataset("192.0.2.10", "192.0.2.20");
    let mut publisher = Publisher::new(old.clone());
    publisher.handle(ProbeEvent::FirstRoundEnded, at(0));
    let before = publisher.snapshot();
    let again = dataset("192.0.2.10", "192.0.2.20");
    assert!(new_targets(&old, &again).is_empty());
    let after = published(publisher.handle(
        Event::Reload {
            dataset: again,
            first_round: vec![],
        },
        at(1),
    ));
    assert_eq!(before.plans, after.plans);
}

/// A map is compiled for every address there is: one that did not change is not compiled again.
#[test]
fn a_reload_shares_the_maps_that_did_not_change() {
    let zone = "--- zones/gtm.example.toml\nzone = \"gtm.example\"\nrecords = \"@ 60 SOA ns1 h 1 2 3 4 5\\n@ 60 NS ns.example.\\n\"\n";
    let other = "\n[maps.other]\nby_distance = true\n";
    let config = |text: &str| {
        common::Files::parse(&[text, zone].concat())
            .load()
            .unwrap_or_else(|wrong| panic!("{wrong}"))
    };
    let first = config(common::CONFIGURATION);
    let locations = Arc::new(Locations::read(Some(EMBEDDED), None).unwrap());
    let before = Dataset::compile(first.clone(), locations.clone());
    assert_eq!(before.maps.len(), 1);

    let same = Dataset::compile_after(Some(&before), first.clone(), locations.clone());
    assert!(Arc::ptr_eq(&same.maps[0], &before.maps[0]));

    // A map more moves no other one, whatever its place among them.
    let more = Dataset::compile_after(
        Some(&before),
        config(&[common::CONFIGURATION, other].concat()),
        locations.clone(),
    );
    assert!(Arc::ptr_eq(&more.maps[0], &before.maps[0]));
    assert_eq!(more.maps.len(), 2);

    let entries = common::CONFIGURATION.replace("10.1.0.0/16", "10.2.0.0/16");
    let regions = common::CONFIGURATION.replace("latitude  = 53.35", "latitude  = 43.35");
    for changed in [entries, regions] {
        let changed = Dataset::compile_after(Some(&before), config(&changed), locations.clone());
        assert!(!Arc::ptr_eq(&changed.maps[0], &before.maps[0]));
    }
    let read_anew = Arc::new(Locations::read(Some(EMBEDDED), None).unwrap());
    let read_anew = Dataset::compile_after(Some(&before), first, read_anew);
    assert!(!Arc::ptr_eq(&read_anew.maps[0], &before.maps[0]));
}
