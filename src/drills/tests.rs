//! Drills from their start to each of their ends.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::changes::{self, DrillEvent, EndpointChange, EndpointEvent, Keys};
use crate::dns::RrType;
use crate::health::{Cause, FailReason};
use crate::model::{Moment, WallTime};
use crate::overrides::{Action, Override, OverrideChange, OverrideRequest};
use crate::simulate::{NameShift, RegionShift, Shift};

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

const WALL: fn() -> WallTime = WallTime::default;

fn asked() -> DrillRequest {
    DrillRequest {
        target: Scope::Region("dublin".to_owned()),
        lasts: Duration::from_secs(900),
        reason: "quarterly".to_owned(),
        by: "anna".to_owned(),
        scheduled: false,
    }
}

/// Half of the clients of `www` move from Dublin to Tokyo.
fn shift() -> Shift {
    Shift {
        moving: 1,
        moved: (0.5, 0.5),
        names: vec![NameShift {
            name: "www.gtm.example.".to_owned(),
            rtype: RrType::A,
            moved: 0.5,
            before: vec![("dublin".to_owned(), 0.5), ("tokyo".to_owned(), 0.5)],
            after: vec![("tokyo".to_owned(), 1.0)],
            rung: Some(crate::steer::Rung::Up),
        }],
        regions: vec![RegionShift {
            region: "tokyo".to_owned(),
            name: "www.gtm.example.".to_owned(),
            before: 0.5,
            after: 1.0,
            capacity: Some(125.0),
            load: Some((0.4, 0.8)),
        }],
        ..Shift::default()
    }
}

fn survey(shift: &Shift) -> Survey<'_> {
    Survey {
        shift,
        not_ready: None,
    }
}

fn endpoint_down(region: &str) -> changes::Event {
    changes::Event::Endpoint(EndpointChange {
        target: "192.0.2.30".to_owned(),
        check: "web".to_owned(),
        change: EndpointEvent::Health {
            old: changes::Verdict::Up,
            new: changes::Verdict::Down,
            cause: Cause::Failed {
                reason: FailReason::ConnectRefused,
                fails: 3,
            },
            regions: vec![region.to_owned()],
            services: 1,
        },
    })
}

fn override_event(id: u64, change: OverrideChange) -> changes::Event {
    let request = OverrideRequest {
        action: Action::Drain,
        scope: asked().target,
        by: "anna".to_owned(),
        reason: "quarterly".to_owned(),
        starts_in: Duration::ZERO,
        lasts: Some(asked().lasts),
        force: false,
        ramp: None,
        drill: Some(1),
    };
    let own = Override::new(id, request, at(0));
    let own = Box::new(own);
    changes::Event::Override(crate::overrides::Event::Changed { own, change })
}

fn see(drills: &mut Drills, event: &changes::Event, now: u64) -> Vec<Output> {
    let keys: Keys = event.keys();
    let sentence = event.sentence(WALL()).to_string();
    drills.seen(&keys, &sentence, at(now), WALL())
}

/// A drill of which the drain, number 7, is in force since second 10.
fn running() -> Drills {
    let mut drills = Drills::default();
    let (started, outputs) = drills.start(asked(), &survey(&shift()), at(10), WALL());
    assert_eq!(started, Ok(1));
    let [Output::Keep(_), Output::Drain(drain)] = &outputs[..] else {
        panic!("{outputs:?}");
    };
    assert_eq!(
        (drain.drill, drain.lasts, drain.force),
        (Some(1), Some(asked().lasts), false)
    );
    let outputs = drills.drained(Ok(7), at(10), WALL());
    assert!(
        matches!(&outputs[..], [Output::Told(told), Output::Keep(_)] if told.change == DrillEvent::Started)
    );
    drills
}

fn ended(drills: &Drills) -> &DrillReport {
    assert_eq!(drills.running(), None);
    drills.reports().next_back().expect("a report")
}

#[test]
fn a_drill_ends_with_its_drain() {
    let mut drills = running();
    assert_eq!(
        see(&mut drills, &override_event(8, OverrideChange::Ended), 20),
        []
    );
    see(&mut drills, &override_event(7, OverrideChange::Ended), 910);
    let report = ended(&drills);
    assert_eq!(report.verdict, Verdict::Completed);
    assert_eq!(report.lasted_seconds, 900.0);
    assert_eq!(
        report.lines(),
        [
            "drill 1: completed of region dublin",
            "  1970-01-01T00:00:10Z to 1970-01-01T00:15:10Z, by anna: quarterly",
            "  drained for 900 s of 900 s",
            "  clients of 1 service moved",
            "    www.gtm.example. A: 50 %, 50 % to tokyo",
            "  tokyo: 0.80 × its capacity, load 0.40 at the start, 0.40 at most",
            "  nothing broke",
        ]
    );
}

#[test]
fn a_survivor_that_degrades_aborts_it_at_once() {
    let mut drills = running();
    // That is the target itself.
    assert_eq!(see(&mut drills, &endpoint_down("dublin"), 20), []);
    assert_eq!(
        see(&mut drills, &endpoint_down("tokyo"), 21),
        [Output::Release(7)]
    );
    // Asked for once, and again where it does not come about.
    assert_eq!(see(&mut drills, &endpoint_down("tokyo"), 22), []);
    assert_eq!(drills.tick(at(26), WALL()), [Output::Release(7)]);
    let outputs = see(
        &mut drills,
        &override_event(7, OverrideChange::Released { forced: false }),
        27,
    );
    assert!(
        matches!(&outputs[..], [Output::Told(told), Output::Keep(_)] if matches!(told.change, DrillEvent::Aborted(_)))
    );
    let report = ended(&drills);
    assert_eq!((report.verdict, report.broke_count), (Verdict::Aborted, 2));
    assert!(
        report.why[0].starts_with("endpoint 192.0.2.30 check web is down"),
        "{report:?}"
    );
}

#[test]
fn one_that_degrades_while_the_disk_is_waited_for_aborts_it_once_it_is_drained() {
    let mut drills = Drills::default();
    let _ = drills.start(asked(), &survey(&shift()), at(10), WALL());
    assert_eq!(see(&mut drills, &endpoint_down("tokyo"), 11), []);
    assert_eq!(
        drills.drained(Ok(7), at(12), WALL()).last(),
        Some(&Output::Release(7))
    );
}

#[test]
fn a_survivor_that_is_too_busy_aborts_it() {
    let mut drills = running();
    assert_eq!(drills.load("tokyo", 0.89, at(20)), []);
    assert_eq!(drills.load("dublin", 0.99, at(20)), []);
    assert_eq!(drills.load("tokyo", 0.95, at(21)), [Output::Release(7)]);
    see(
        &mut drills,
        &override_event(7, OverrideChange::Released { forced: false }),
        22,
    );
    let report = ended(&drills);
    assert_eq!(report.why, ["tokyo reports a load of 0.95, above 0.9"]);
    assert_eq!(report.regions[0].highest_load, Some(0.95));
}

#[test]
fn changes_that_were_lost_abort_it() {
    let mut drills = running();
    assert_eq!(drills.lost(at(20)), [Output::Release(7)]);
}

#[test]
fn an_operator_ends_it_by_either_command() {
    let mut drills = running();
    let (stopped, outputs) = drills.stop("ben", at(20));
    assert_eq!((stopped, outputs), (Ok(1), vec![Output::Release(7)]));
    see(
        &mut drills,
        &override_event(7, OverrideChange::Released { forced: false }),
        21,
    );
    assert_eq!(ended(&drills).why, ["ben stopped it"]);
    assert_eq!(drills.stop("ben", at(22)).0, Err(NotStopped));
    let mut drills = running();
    see(
        &mut drills,
        &override_event(7, OverrideChange::Released { forced: false }),
        21,
    );
    let report = ended(&drills);
    assert_eq!(
        (report.verdict, &report.why[..]),
        (
            Verdict::Stopped,
            &["its override 7 was released".to_owned()][..]
        )
    );
}

#[test]
fn what_speaks_against_it_refuses_it_and_is_reported() {
    let refuse = |change: &dyn Fn(&mut Shift), not_ready: Option<&str>| {
        let mut shift = shift();
        change(&mut shift);
        let mut drills = Drills::default();
        let survey = Survey {
            shift: &shift,
            not_ready,
        };
        let (started, _) = drills.start(asked(), &survey, at(10), WALL());
        let Err(NotStarted::Refused { why, .. }) = started else {
            panic!("{started:?}");
        };
        assert_eq!(ended(&drills).why, why);
        why.join("; ")
    };
    assert_eq!(
        refuse(&|_| {}, Some("isolated")),
        "this node is not ready: isolated"
    );
    assert_eq!(
        refuse(
            &|shift| shift
                .objections
                .push("it would leave pay 0 regions up".to_owned()),
            None
        ),
        "it would leave pay 0 regions up"
    );
    assert_eq!(
        refuse(&|shift| shift.regions[0].capacity = Some(80.0), None),
        "tokyo would reach 1.25 × its capacity, with 100 % of the clients of www.gtm.example."
    );
    assert_eq!(
        refuse(&|shift| shift.regions[0].load = Some((0.5, 0.95)), None),
        "tokyo reports a load of 0.5 and would reach 0.95"
    );
    assert_eq!(
        refuse(&|shift| shift.degraded = 2, None),
        "clients of 2 services would be below rung 2"
    );
    assert!(refuse(&|shift| *shift = Shift::default(), None).starts_with("no client would move"));
}

#[test]
fn one_runs_at_a_time_and_a_disk_that_takes_nothing_refuses_it() {
    let mut drills = running();
    let (started, outputs) = drills.start(asked(), &survey(&shift()), at(11), WALL());
    assert_eq!(
        (started, outputs),
        (Err(NotStarted::Running(1)), Vec::new())
    );
    let mut drills = Drills::default();
    let _ = drills.start(asked(), &survey(&shift()), at(10), WALL());
    drills.drained(Err("no space left on device".to_owned()), at(11), WALL());
    let report = ended(&drills);
    assert_eq!(
        (report.verdict, report.r#override),
        (Verdict::Refused, None)
    );
    assert_eq!(report.why, ["no space left on device"]);
}

#[test]
fn a_drill_of_a_process_before_is_aborted_and_its_drain_released() {
    let stored = running().stored();
    let mut drills = Drills::default();
    let event = override_event(7, OverrideChange::InForce);
    let changes::Event::Override(crate::overrides::Event::Changed { own, .. }) = event else {
        panic!("it is one");
    };
    let outputs = drills.adopt(stored, &[*own], at(50), WALL());
    assert!(
        matches!(
            &outputs[..],
            [Output::Told(_), Output::Keep(_), Output::Release(7)]
        ),
        "{outputs:?}"
    );
    assert_eq!(ended(&drills).verdict, Verdict::Aborted);
    assert_eq!(drills.tick(at(51), WALL()), []);
    assert_eq!(drills.tick(at(56), WALL()), [Output::Release(7)]);
    see(
        &mut drills,
        &override_event(7, OverrideChange::Released { forced: true }),
        57,
    );
    assert_eq!(drills.tick(at(70), WALL()), []);
    // Numbers are never given twice.
    assert_eq!(
        drills.start(asked(), &survey(&shift()), at(80), WALL()).0,
        Ok(2)
    );
}

#[test]
fn reports_are_bounded() {
    let mut drills = Drills::default();
    for drill in 0..60 {
        let refused = Shift::default();
        let _ = drills.start(asked(), &survey(&refused), at(drill), WALL());
    }
    assert_eq!(drills.reports().count(), 50);
    assert_eq!(drills.reports().next().map(|report| report.id), Some(11));
    let mut drills = running();
    for second in 20..200 {
        see(&mut drills, &endpoint_down("tokyo"), second);
    }
    let report = drills.running().unwrap();
    assert_eq!((report.broke.len(), report.broke_count), (50, 180));
}

#[derive(Debug, Clone)]
enum Step {
    Start,
    Drained(bool),
    SurvivorDown,
    Lost,
    Load(u8),
    Stop,
    Ended,
    Released,
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Start),
        any::<bool>().prop_map(Step::Drained),
        Just(Step::SurvivorDown),
        Just(Step::Lost),
        (0u8..=100).prop_map(Step::Load),
        Just(Step::Stop),
        Just(Step::Ended),
        Just(Step::Released),
        (1u16..2000).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens, a drill ends: at the latest a minute after its drain has, and no release is
    /// asked for of one that is in order.
    #[test]
    fn a_drill_always_ends(steps in prop::collection::vec(step(), 0..40)) {
        let (mut drills, mut now, mut is_asked) = (Drills::default(), 0u64, false);
        let (mut is_to_end, mut is_released) = (false, false);
        for step in steps {
            let is_ending = matches!(step, Step::SurvivorDown | Step::Lost | Step::Load(91..) | Step::Stop);
            let before = drills.running().is_some();
            let outputs = match step {
                Step::Start => drills.start(asked(), &survey(&shift()), at(now), WALL()).1,
                Step::Drained(well) if is_asked => {
                    drills.drained(if well { Ok(7) } else { Err("full".to_owned()) }, at(now), WALL())
                }
                Step::Drained(_) => Vec::new(),
                Step::SurvivorDown => see(&mut drills, &endpoint_down("tokyo"), now),
                Step::Lost => drills.lost(at(now)),
                Step::Load(percent) => drills.load("tokyo", f64::from(percent) / 100.0, at(now)),
                Step::Stop => drills.stop("ben", at(now)).1,
                Step::Ended => see(&mut drills, &override_event(7, OverrideChange::Ended), now),
                Step::Released => see(&mut drills, &override_event(7, OverrideChange::Released { forced: false }), now),
                Step::Wait(seconds) => {
                    now += u64::from(seconds);
                    drills.tick(at(now), WALL())
                }
            };
            for output in &outputs {
                match output {
                    Output::Drain(_) => is_asked = true,
                    Output::Release(_) => prop_assert!(before, "nothing ran"),
                    _ => {}
                }
            }
            is_asked &= drills.running().is_some_and(|own| own.r#override.is_none());
            is_to_end = drills.running().is_some() && (is_to_end || (before && is_ending));
            is_released = drills.running().is_some()
                && (is_released || outputs.contains(&Output::Release(7)));
            if drills.running().is_some_and(|own| own.r#override.is_some()) {
                prop_assert_eq!(is_to_end, is_released);
            }
        }
        if is_asked {
            drills.drained(Ok(7), at(now), WALL());
        }
        drills.tick(at(now + 900 + 60), WALL());
        prop_assert_eq!(drills.running(), None);
        let stored = drills.stored();
        prop_assert_eq!(crate::state::decode_drills(&crate::state::encode_drills(&stored)), Ok(stored));
    }
}
