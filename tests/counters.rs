//! Counts of answers: by service, region and rung, and by zone and response code. Nothing is counted
//! twice or under another name, whatever is up, and counts survive reloads.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use meridian::answer::{Query, Response, TCP_BUFFER, Transport, Worker, query_message, respond};
use meridian::commit::{self, Revision};
use meridian::dataset::Snapshot;
use meridian::dns::{Name, RrType};
use meridian::model::{Moment, ServiceId, ZoneId};
use meridian::overrides::{Action, OverrideRequest, Scope};
use meridian::publisher::{Commit, Effect, Event, OverrideEvent, ProbeEvent, Publisher};
use meridian::steer::Rung;
use proptest::prelude::*;

const ZONES: &str = r#"--- zones/gtm.example.toml
zone = "gtm.example"
records = '''
@    3600 SOA   ns1 hostmaster 1 3600 600 604800 30
@    3600 NS    ns1
ns1  3600 A     192.0.2.53
d    300  DNAME where-names-become-too-long.elsewhere.example.
'''
[services.near]
route = "nearest"
family = "split"
fallback = ["192.0.2.99"]
[services.near.pools]
dublin  = { endpoints = ["192.0.2.10", "192.0.2.11", "2001:db8::10"], min_up = 1.0 }
ashburn = { endpoints = ["192.0.2.20"] }
tokyo   = { weight = 0, endpoints = ["192.0.2.30", "2001:db8::30"] }
[services.plain]
route = "weighted"
map = "none"
[services.plain.pools]
dublin  = { endpoints = ["192.0.2.10"] }
ashburn = { endpoints = ["192.0.2.20"] }
--- zones/other.example.toml
zone = "other.example"
records = '''
@    3600 SOA   ns1 hostmaster 1 3600 600 604800 30
@    3600 NS    ns1
ns1  3600 A     192.0.2.53
'''
"#;

/// A publisher that counts for one worker, and that worker.
struct World {
    publisher: Publisher,
    worker: Worker,
    snapshot: Arc<Snapshot>,
    now: Moment,
}

impl World {
    fn new(files: &str) -> World {
        let mut publisher = Publisher::new(common::dataset(files));
        publisher.count_for(1);
        assert!(publisher.switch_overrides(true).is_empty());
        let mut world = World {
            snapshot: publisher.snapshot(),
            worker: Worker::numbered(1, 0),
            publisher,
            now: Moment(Duration::from_secs(1000)),
        };
        world.event(ProbeEvent::FirstRoundEnded);
        world
    }

    fn event(&mut self, event: impl Into<Event>) {
        // Far enough from the last publication for another.
        self.now = self.now + Duration::from_secs(1);
        for effect in self.publisher.handle(event, self.now) {
            match effect {
                Effect::Publish(snapshot) => self.snapshot = snapshot,
                Effect::Commit(Commit::Overrides(write)) => {
                    let end = write.end(commit::Outcome::Committed(Revision(write.id)));
                    self.event(Event::Committed(end));
                }
                _ => {}
            }
        }
    }

    fn impose(&mut self, action: Action, what: &str) {
        let config = &self.publisher.dataset().config;
        let asked = OverrideRequest {
            action,
            scope: Scope::find(config, what).unwrap(),
            by: "anna".to_owned(),
            reason: "test".to_owned(),
            starts_in: Duration::ZERO,
            lasts: None,
            force: true,
            ramp: None,
            drill: None,
        };
        self.event(OverrideEvent::Request { request: 1, asked });
        self.event(Event::Tick);
    }

    /// Asks for `name` and `rtype` as `client`.
    fn ask(&mut self, name: &str, rtype: RrType, client: &str) {
        let name = Name::from_text(name, Some(&Name::root())).unwrap();
        let message = query_message(&name, rtype, client.parse().unwrap());
        let query = Query::synthetic(&message, "127.0.0.1".parse().unwrap(), Transport::Tcp);
        let mut out = vec![0; TCP_BUFFER];
        let sent = respond(&self.snapshot, &mut self.worker, &query, &mut out);
        assert!(matches!(sent, Response::Send(_)));
    }

    /// Answers of all services by rung, as they are counted by service and region.
    fn by_rung(&self) -> BTreeMap<Rung, u64> {
        let mut sums = BTreeMap::new();
        for index in 0..self.snapshot.plans.len() {
            let service = ServiceId::from_index(index);
            let mut all = 0;
            for (_, rung, count) in self.snapshot.answers_by_rung(service) {
                *sums.entry(rung).or_default() += count;
                all += count;
            }
            let by_region = self.snapshot.answers_of(service).map(|(_, count)| count);
            assert_eq!(by_region.sum::<u64>(), all);
        }
        sums
    }

    /// The same as the worker counts them, whatever the service.
    fn of_worker(&self) -> BTreeMap<Rung, u64> {
        let counts = Rung::ALL.map(|rung| {
            let count = self.worker.counters.rungs[rung as usize].get();
            (rung, count)
        });
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    fn by_zone(&self) -> Vec<String> {
        let zones = self.snapshot.dataset.config.zones.iter().enumerate();
        zones
            .flat_map(|(index, zone)| {
                let counts = self.snapshot.answers_from(ZoneId::from_index(index));
                counts.map(move |(rcode, count)| format!("{} {rcode} {count}", zone.origin))
            })
            .collect()
    }
}

/// A service before another, so that the ids of both are others.
const ADDED: &str = r#"[services.added]
route = "weighted"
map = "none"
[services.added.pools]
ashburn = { endpoints = ["192.0.2.20"] }
[services.plain]"#;

/// Clients everywhere, and one inside the border of the tests' map.
const CLIENTS: [&str; 3] = ["10.1.0.0/16", "203.0.113.0/24", "8.8.8.0/24"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_answer_is_counted_under_the_rung_that_it_came_from(
        turns in prop::collection::vec((0usize..4, 0usize..6), 1..8)
    ) {
        let files = [common::CONFIGURATION, ZONES].concat();
        let mut world = World::new(&files);
        for (action, what) in turns {
            let action = [Action::Drain, Action::Down, Action::Up, Action::Down][action];
            let what = [
                "dublin", "ashburn", "tokyo", "192.0.2.10", "near.gtm.example/dublin",
                "plain.gtm.example",
            ][what];
            world.impose(action, what);
            for name in ["near.gtm.example", "plain.gtm.example"] {
                for client in CLIENTS {
                    world.ask(name, RrType::A, client);
                    world.ask(name, RrType::AAAA, client);
                }
            }
            prop_assert_eq!(world.by_rung(), world.of_worker());
        }
        // Counts belong to names, and go on where the files are others.
        let before = world.by_rung();
        let dataset = common::dataset(&files.replacen("[services.plain]", ADDED, 1));
        world.event(Event::Reload { dataset, first_round: Vec::new() });
        prop_assert_eq!(world.by_rung(), before);
    }
}

#[test]
fn answers_are_counted_by_their_zone_and_code() {
    let files = [common::CONFIGURATION, ZONES].concat();
    let mut world = World::new(&files);
    let deep = format!("{}.d.gtm.example", ["q".repeat(57).as_str(); 4].join("."));
    let client = "203.0.113.0/24";
    for (name, rtype) in [
        ("ns1.gtm.example", RrType::A),
        ("ns1.gtm.example", RrType::AAAA),
        ("near.gtm.example", RrType::A),
        ("missing.gtm.example", RrType::A),
        (deep.as_str(), RrType::A),
        ("gtm.example", RrType::AXFR),
        ("ns1.other.example", RrType::A),
        ("elsewhere.example", RrType::A),
    ] {
        world.ask(name, rtype, client);
    }
    let counted = [
        "gtm.example. NOERROR 3",
        "gtm.example. NXDOMAIN 1",
        "gtm.example. YXDOMAIN 1",
        "gtm.example. REFUSED 1",
        "other.example. NOERROR 1",
    ];
    assert_eq!(world.by_zone(), counted);
    // A zone comes before them, and one goes: counts follow the names.
    let (gtm, _) = ZONES.split_once("--- zones/other").unwrap();
    let first = ZONES.split_once("--- zones/other").unwrap().1;
    let first = format!("--- zones/other{first}").replace("other.example", "a.example");
    let dataset = common::dataset(&[common::CONFIGURATION, gtm, &first].concat());
    world.event(Event::Reload {
        dataset,
        first_round: Vec::new(),
    });
    assert_eq!(world.by_zone(), counted[..4]);
    world.ask("ns1.a.example", RrType::A, client);
    assert_eq!(world.by_zone()[0], "a.example. NOERROR 1");
    let dataset = common::dataset(&files);
    world.event(Event::Reload {
        dataset,
        first_round: Vec::new(),
    });
    assert_eq!(world.by_zone(), counted[..4], "what was gone begins anew");
}
