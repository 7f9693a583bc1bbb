//! Endpoints that report themselves, through the real publisher and in simulated time: the first
//! round, silence, a restart, a reload, and what silence has to do with isolation.

mod common;

use std::sync::Arc;
use std::time::Duration;

use meridian::answer::explain;
use meridian::dataset::Dataset;
use meridian::dns::Name;
use meridian::health::{FailReason, Outcome, Phase, Phases, Report, Seen};
use meridian::model::{Moment, Target, TargetId, WallTime};
use meridian::publisher::{Commit, Effect, Event, ProbeEvent, Publisher, UnitEvent};

/// `www` in Dublin, which reports itself, in Ashburn, which is probed, and in Tokyo, always up.
const ZONE: &str = r#"
[checks.own]
type    = "push"
expires = "10s"
--- zones/gtm.example.toml
zone = "gtm.example"
ttl     = 20
ttl_min = 5
records = '''
@   3600 SOA ns1 hostmaster 1 3600 600 604800 30
@   3600 NS  ns1
ns1 3600 A   192.0.2.53
'''
[services.www]
route = "priority"
[services.www.pools]
dublin  = { priority = 1, endpoints = ["192.0.2.10"], checks = ["own"] }
ashburn = { priority = 2, endpoints = ["192.0.2.20"], checks = ["web"] }
tokyo   = { priority = 3, endpoints = ["192.0.2.30"] }
"#;

const DUBLIN: &str = "192.0.2.10";
const ASHBURN: &str = "192.0.2.20";

fn dataset() -> Arc<Dataset> {
    common::dataset(&[common::CONFIGURATION, ZONE].concat())
}

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

/// The publisher, what it said, and how late it is.
struct World {
    publisher: Publisher,
    said: Vec<String>,
    now: u64,
}

impl World {
    fn new(publisher: Publisher, now: u64) -> World {
        World {
            publisher,
            said: Vec::new(),
            now,
        }
    }

    fn started() -> World {
        let mut world = World::new(Publisher::new(dataset()), 0);
        world.event(ProbeEvent::FirstRoundEnded);
        world
    }

    fn event(&mut self, event: impl Into<Event>) {
        for effect in self.publisher.handle(event, at(self.now)) {
            if let Effect::Changed(change) = effect {
                self.said
                    .push(change.sentence(WallTime::default()).to_string());
            }
        }
    }

    /// Time passes, and a tick comes whenever the publisher wants one.
    fn run_until(&mut self, second: u64) {
        for now in self.now..=second {
            self.now = now;
            if self
                .publisher
                .next_deadline()
                .is_some_and(|due| due <= at(now))
            {
                self.event(Event::Tick);
            }
        }
    }

    fn report(&mut self, pass: bool) {
        let target = self
            .publisher
            .dataset()
            .config
            .push_target("own", &Target::Address(DUBLIN.parse().unwrap()))
            .unwrap();
        let report = Report {
            pass,
            load: None,
            note: String::new(),
        };
        self.event(ProbeEvent::Report { target, report });
    }

    fn probed(&mut self, seen: Seen) {
        let config = &self.publisher.dataset().config;
        let index = config
            .targets
            .iter()
            .position(|target| target.target.to_string() == ASHBURN)
            .unwrap();
        let outcome = Outcome::new(at(self.now), seen);
        let generation = self.publisher.generation();
        self.event(ProbeEvent::Outcome {
            generation,
            target: TargetId::from_index(index),
            outcome,
        });
    }

    fn answer(&self) -> String {
        let name = Name::from_text("www.gtm.example.", None).unwrap();
        explain(
            &self.publisher.snapshot(),
            &name,
            None,
            "203.0.113.0/24".parse().unwrap(),
            0,
            WallTime::default(),
        )
        .answers
        .join(" ")
    }
}

#[test]
fn it_is_up_until_the_first_expires_runs_out_and_silence_is_failure() {
    let mut world = World::started();
    world.run_until(9);
    assert_eq!(
        (world.answer().as_str(), world.said.len()),
        (DUBLIN, 0),
        "nothing is known, and nothing is said"
    );
    world.run_until(10);
    assert_eq!(world.answer(), ASHBURN);
    assert!(
        world.said[0].contains("endpoint 192.0.2.10 check own is down"),
        "{:?}",
        world.said
    );
    assert!(
        world.said[0].contains("it has not reported for too long (1 failure)"),
        "{:?}",
        world.said
    );
    world.run_until(500);
    world.report(true);
    world.run_until(501);
    assert_eq!(world.answer(), DUBLIN, "one report brings it back");
}

#[test]
fn reports_hold_for_expires_and_count_at_once() {
    let mut world = World::started();
    for second in [8, 16, 24] {
        world.run_until(second);
        world.report(true);
        assert_eq!(world.answer(), DUBLIN);
    }
    world.run_until(25);
    world.report(false);
    assert_eq!(world.answer(), ASHBURN);
    assert!(
        world.said[0].contains("it reported that it is not well"),
        "{:?}",
        world.said
    );
}

#[test]
fn a_restart_keeps_what_was_known_until_the_first_expires_runs_out() {
    for well in [true, false] {
        let mut before = World::started();
        before.run_until(5);
        before.report(well);
        let history = before.publisher.history(at(5)).unwrap();
        let (publisher, unknown) =
            Publisher::restore(dataset(), &history, Duration::from_secs(30), at(100));
        let dublin = publisher
            .dataset()
            .config
            .push_target("own", &Target::Address(DUBLIN.parse().unwrap()))
            .unwrap();
        assert!(!unknown.contains(&dublin), "what was reported is known");
        let mut after = World::new(publisher, 100);
        after.event(ProbeEvent::FirstRoundEnded);
        after.run_until(109);
        assert_eq!(after.answer(), if well { DUBLIN } else { ASHBURN });
        after.report(true);
        after.run_until(110);
        assert_eq!(after.answer(), DUBLIN, "{well}");
        after.run_until(119);
        assert_eq!(after.answer(), ASHBURN, "silent since 109");
    }
}

#[test]
fn a_reload_does_not_give_more_time() {
    let mut world = World::started();
    world.run_until(7);
    world.event(Event::Reload {
        dataset: dataset(),
        first_round: Vec::new(),
    });
    world.run_until(9);
    assert_eq!(world.answer(), DUBLIN);
    world.run_until(10);
    assert_eq!(world.answer(), ASHBURN);
}

/// Silence is older than any window of isolation: it is no sign that our own network failed.
#[test]
fn silence_and_one_failing_region_are_no_isolation() {
    let mut world = World::started();
    world.run_until(10);
    for second in 11..30 {
        world.run_until(second);
        world.probed(Seen::Fail(FailReason::ConnectRefused));
    }
    assert!(world.publisher.is_ready(), "{:?}", world.said);
    assert!(
        !world
            .said
            .iter()
            .any(|sentence| sentence.contains("isolated")),
        "{:?}",
        world.said
    );
    assert!(
        world
            .said
            .iter()
            .any(|sentence| sentence.contains("endpoint 192.0.2.20 check web is down")),
        "{:?}",
        world.said
    );
}

#[test]
fn what_is_probed_takes_no_reports() {
    let world = World::started();
    let target = |text: &str| Target::Address(text.parse().unwrap());
    assert_eq!(
        world
            .publisher
            .dataset()
            .config
            .push_target("web", &target(ASHBURN)),
        None
    );
    assert_eq!(
        world
            .publisher
            .dataset()
            .config
            .push_target("own", &target(ASHBURN)),
        None
    );
}

/// The machine was suspended, or the process stopped, while the endpoint went on reporting.
#[test]
fn a_report_that_waited_for_a_stopped_process_comes_in_time() {
    let mut world = World::started();
    world.report(true);
    world.run_until(5);
    world.now = 17;
    world.publisher.stalled(Duration::from_secs(12), at(17));
    world.event(Event::Tick);
    world.run_until(20);
    world.report(true);
    world.run_until(29);
    assert_eq!(
        (world.answer().as_str(), world.said.as_slice()),
        (DUBLIN, &[][..])
    );
    // Silence counts as it did before.
    world.run_until(30);
    assert_eq!(world.answer(), ASHBURN);
}

/// With a due time that is about to come, what waits in sockets has a second to be read.
#[test]
fn after_a_stall_reports_have_time_to_be_read() {
    let mut world = World::started();
    world.run_until(9);
    world.now = 30;
    world.publisher.stalled(Duration::from_secs(20), at(30));
    world.event(Event::Tick);
    world.report(true);
    assert_eq!(
        (world.answer().as_str(), world.said.as_slice()),
        (DUBLIN, &[][..])
    );
}

#[test]
fn a_probe_that_a_stall_kept_from_its_timer_is_not_judged_and_a_second_one_is() {
    let mut world = World::started();
    let timeout = |world: &mut World, late: u64| {
        let config = &world.publisher.dataset().config;
        let index = config
            .targets
            .iter()
            .position(|target| target.target.to_string() == ASHBURN)
            .unwrap();
        let mut phases = Phases::default();
        phases.add(
            Phase::Response,
            config.checks[config.targets[index].check.index()].timeout + Duration::from_secs(late),
        );
        let seen = Seen::Fail(FailReason::Timeout(Phase::Response));
        let outcome = Outcome {
            phases,
            ..Outcome::new(at(world.now), seen)
        };
        let generation = world.publisher.generation();
        let target = TargetId::from_index(index);
        world.event(ProbeEvent::Outcome {
            generation,
            target,
            outcome,
        });
        world.publisher.health().tracker(target).fails()
    };
    world.now = 12;
    world.publisher.stalled(Duration::from_secs(12), at(12));
    assert_eq!(
        timeout(&mut world, 12),
        0,
        "nobody looked at what came in time"
    );
    assert_eq!(timeout(&mut world, 0), 1, "its timer rang when it was to");
    // A process that is late all the time has to judge by what it sees.
    world.now = 15;
    world.publisher.stalled(Duration::from_secs(3), at(15));
    assert_eq!(timeout(&mut world, 3), 2);
}

/// Dublin owns the unit, and reports itself.
const ORDERS: &str = r#"
[services.orders]
route    = "unit"
owners   = "dublin"
takeover = "auto"
checks   = ["own"]
[services.orders.pools]
dublin  = { endpoints = ["192.0.2.10"] }
ashburn = { endpoints = ["192.0.2.21"] }
"#;

/// A takeover is judged again after a stall, before its fence is written.
#[test]
fn no_unit_is_taken_over_before_its_owner_was_seen_after_a_stall() {
    let configuration = common::CONFIGURATION.replace("node   =", "sole   = true\nnode   =");
    let mut publisher = Publisher::new(common::dataset(&[&configuration, ZONE, ORDERS].concat()));
    let owned = r#"{"format":1,"meridian":"0","units":{"orders.gtm.example.":{"state":"owned","owner":"dublin","epoch":1,"ttl":20}}}"#;
    let records = meridian::state::decode_units(owned.as_bytes()).unwrap();
    publisher.handle(
        UnitEvent::Adopted {
            records,
            frozen: None,
        },
        at(0),
    );
    publisher.handle(ProbeEvent::FirstRoundEnded, at(0));
    publisher.switch_history(true);
    publisher.handle(Event::Tick, at(1));
    let report = |publisher: &mut Publisher, address: &str, pass: bool, now: Moment| {
        let target = publisher
            .dataset()
            .config
            .push_target("own", &Target::Address(address.parse().unwrap()))
            .unwrap();
        let effects = publisher.handle(
            ProbeEvent::Report {
                target,
                report: Report {
                    pass,
                    load: None,
                    note: String::new(),
                },
            },
            now,
        );
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Commit(Commit::Units(_))))
    };
    publisher.stalled(Duration::from_secs(12), at(17));
    assert!(!report(&mut publisher, "192.0.2.21", true, at(17)));
    assert!(
        !report(&mut publisher, DUBLIN, false, at(17)),
        "not by what is seen first"
    );
    let judged = at(17) + publisher.health().window();
    assert!(publisher.next_deadline().is_some_and(|due| due <= judged));
    let effects = publisher.handle(Event::Tick, judged + Duration::from_secs(1));
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Commit(Commit::Units(_)))),
        "{effects:?}"
    );
}
