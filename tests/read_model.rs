//! The read model: a view kept current by updates is what the publisher itself says, whatever happens.

mod common;

use std::sync::Arc;
use std::time::Duration;

use meridian::dataset::Dataset;
use meridian::health::{Evidence, FailReason, Outcome, Seen};
use meridian::model::{Moment, TargetId};
use meridian::publisher::{Event, ProbeEvent, Publisher, UnitEvent, View};
use meridian::recovery::PoolRecord;
use meridian::units::{UnitRecords, begin_units};

const ZONE: &str = r#"
--- zones/gtm.example.toml
zone = "gtm.example"
records = '''
@   3600 SOA ns1 hostmaster 1 3600 600 604800 30
@   3600 NS  ns1
ns1 3600 A   192.0.2.53
'''
[services.www]
route  = "nearest"
checks = ["web"]
resume = "manual"
[services.www.pools]
dublin  = { endpoints = ["192.0.2.10", "192.0.2.11"] }
ashburn = { endpoints = ["192.0.2.20"] }
tokyo   = { endpoints = ["192.0.2.30"] }
[services.app]
route  = "weighted"
checks = ["web"]
ramp   = "10s"
[services.app.pools]
dublin  = { endpoints = ["192.0.2.12"] }
ashburn = { endpoints = ["192.0.2.20"] }
tokyo   = { endpoints = ["192.0.2.31"] }
[services.orders]
route  = "unit"
units  = 2
owners = { "0" = "dublin", "1" = "ashburn" }
checks = ["web"]
[services.orders.pools]
dublin  = { endpoints = ["192.0.2.13"] }
ashburn = { endpoints = ["192.0.2.21"] }
"#;

fn dataset() -> Arc<Dataset> {
    common::dataset(&[common::CONFIGURATION, ZONE].concat())
}

/// Holds every part of `view` to what the publisher says at `now`.
fn compare(view: &View, publisher: &Publisher, now: Moment) {
    let health = publisher.health();
    assert_eq!(view.is_isolated, health.is_isolated());
    let mut count = 0;
    for (id, target) in view.targets() {
        assert_eq!(target.state, health.state(id));
        assert_eq!(target.changed, health.changed(id));
        assert_eq!(target.fails, health.tracker(id).fails());
        assert_eq!(target.passes, health.tracker(id).passes());
        assert_eq!(target.flapping_until, health.flapping_until(id));
        assert_eq!(target.restored, health.is_restored(id));
        assert_eq!(target.load, health.load(id).average());
        assert_eq!(target.last.as_ref(), health.last_outcome(id));
        count += 1;
    }
    assert_eq!(count, publisher.dataset().config.targets.len());
    let recovery = publisher.returning(now);
    assert_eq!(view.recovery().count(), recovery.len());
    for (seen, pool) in view.recovery().zip(recovery) {
        // How far a weight has grown is told with the next change, and shown to nobody.
        let phase = |record: &PoolRecord| record.families.map(|family| family.map(|_| ()));
        assert_eq!((&seen.service, &seen.region), (&pool.service, &pool.region));
        assert_eq!(phase(seen), phase(&pool));
    }
    let (units, frozen) = publisher.units(now);
    assert!(view.units().eq(&units), "{units:?}");
    assert_eq!(view.frozen.as_deref(), frozen);
}

#[test]
fn a_view_kept_current_by_updates_is_what_the_publisher_says() {
    fastrand::seed(7);
    let mut publisher = Publisher::new(dataset());
    let mut now = Moment(Duration::from_secs(1));
    let mut view = Arc::new(View::first(publisher.view_update(now)).unwrap());
    let mut records = UnitRecords::new();
    begin_units(&publisher.dataset().config, &mut records);
    let adopted = UnitEvent::Adopted {
        records,
        frozen: None,
    };
    publisher.handle(adopted, now);
    publisher.handle(ProbeEvent::FirstRoundEnded, now);
    let mut kept = Vec::new();
    for step in 0..3_000 {
        now = now + Duration::from_millis(fastrand::u64(..300));
        let targets = publisher.dataset().config.targets.len();
        // Bad times and good ones, long enough for isolation, holds and their ends.
        let is_bad = step / 400 % 3 == 0;
        let seen = match fastrand::u8(..10) {
            0..=7 if is_bad => Seen::Fail(FailReason::ConnectRefused),
            9 => Seen::Fail(FailReason::Status(500)),
            _ => Seen::Pass,
        };
        let mut outcome = Outcome::new(now, seen);
        outcome.evidence = Evidence::of(b"HTTP/1.1 500");
        let event = match fastrand::u8(..100) {
            0 => Event::Tick,
            1 if step % 7 == 0 => Event::Reload {
                dataset: dataset(),
                first_round: Vec::new(),
            },
            _ => ProbeEvent::Outcome {
                generation: publisher.generation(),
                target: TargetId::from_index(fastrand::usize(..targets)),
                outcome,
            }
            .into(),
        };
        publisher.handle(event, now);
        if fastrand::u8(..4) == 0 {
            // Plans, and so units and pools, follow health within the pause between publications.
            now = now + Duration::from_millis(20);
            publisher.handle(Event::Tick, now);
            Arc::make_mut(&mut view).apply(publisher.view_update(now));
            compare(&view, &publisher, now);
        }
        if fastrand::u8(..50) == 0 {
            kept.push((view.clone(), format!("{view:?}")));
        }
        if kept.len() > 3 {
            let (view, before) = kept.remove(0);
            assert_eq!(format!("{view:?}"), before, "a reader keeps what it reads");
        }
    }
}
