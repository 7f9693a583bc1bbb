//! Health as a whole, in simulated time.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::{Family, Moment, RegionId, TargetId};

mod flapping;
mod pace;
mod restart;

const T: [TargetId; 6] = [
    TargetId(0),
    TargetId(1),
    TargetId(2),
    TargetId(3),
    TargetId(4),
    TargetId(5),
];

fn at(millis: u64) -> Moment {
    Moment(Duration::from_millis(millis))
}

/// Interval 100 ms, timeout 100 ms: a window of 200 ms.
fn spec(region: u16, fall: u32) -> TargetSpec {
    TargetSpec {
        thresholds: Thresholds {
            fall,
            fall_refused: fall,
            rise: 2,
            forgive: 3,
        },
        flap: Some(crate::model::FlapRule::DEFAULT),
        interval: Duration::from_millis(100),
        timeout: Duration::from_millis(100),
        recheck: Duration::from_millis(100),
        recheck_up: false,
        regions: vec![RegionId(region)],
        sanity: false,
        reports_load: false,
        pushed: false,
    }
}

fn sanity() -> TargetSpec {
    TargetSpec {
        regions: Vec::new(),
        sanity: true,
        ..spec(0, 2)
    }
}

fn health(regions: &[u16]) -> Health {
    Health::new(regions.iter().map(|region| spec(*region, 2)).collect())
}

fn outcome(seen: Seen, now: Moment) -> Outcome {
    Outcome::new(now, seen)
}

const REFUSED: Seen = Seen::Fail(FailReason::ConnectRefused);
const NO_ROUTE: Seen = Seen::NotJudged(NotJudged::NoRoute(Family::V6));

/// Feeds `(milliseconds, target, what was seen)` and writes down every effect but doubt.
fn play(health: &mut Health, script: &[(u64, usize, Seen)]) -> Vec<String> {
    let record = |(millis, target, seen): &(u64, usize, Seen)| {
        let now = at(*millis);
        let effects = health.record(T[*target], outcome(*seen, now), now);
        effects
            .iter()
            .filter_map(|effect| text(*millis, effect))
            .collect::<Vec<_>>()
    };
    script.iter().flat_map(record).collect()
}

fn text(millis: u64, effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Transition(t) => format!(
            "{millis} {} {}: {}",
            t.target.0,
            if t.up { "up" } else { "down" },
            t.cause
        ),
        Effect::Doubt { .. } | Effect::ProbeEarly(_) => return None,
        Effect::WatchGivenUp(target) => format!("{millis} {} is not watched", target.0),
        Effect::Flapping {
            target,
            changes,
            until,
            ..
        } => {
            format!(
                "{millis} {} flaps: {changes}, until {}",
                target.0,
                until.0.as_millis()
            )
        }
        Effect::FlappingEnded(target) => format!("{millis} {} flaps no longer", target.0),
        Effect::Warned {
            target,
            warning: Some(warning),
        } => format!("{millis} {}: {warning}", target.0),
        Effect::Warned {
            target,
            warning: None,
        } => format!("{millis} {}: no warning", target.0),
        Effect::IsolationBegan => format!("{millis} isolated"),
        Effect::IsolationEnded(end) => format!("{millis} ended {end:?}"),
    })
}

#[test]
fn one_dead_region_is_down_at_its_last_failure() {
    let mut health = health(&[0, 1]);
    let script = [
        (0, 0, Seen::Pass),
        (50, 1, Seen::Pass),
        (100, 0, REFUSED),
        (150, 1, Seen::Pass),
        (200, 0, REFUSED),
    ];
    assert_eq!(
        play(&mut health, &script),
        ["200 0 down: the connection was refused (2 failures)"]
    );
    assert_eq!(
        health.state(T[0]),
        State {
            up: false,
            settled: false
        }
    );
    let back = [
        (250, 1, Seen::Pass),
        (300, 0, Seen::Pass),
        (400, 0, Seen::Pass),
    ];
    assert_eq!(play(&mut health, &back), ["400 0 up: 2 passes in a row"]);
}

#[test]
fn two_dead_regions_of_three_are_down_with_the_next_pass() {
    let mut health = health(&[0, 1, 2]);
    let script = [
        (0, 2, Seen::Pass),
        (10, 0, REFUSED),
        (20, 1, REFUSED),
        (100, 2, Seen::Pass),
        (110, 0, REFUSED),
        (120, 1, REFUSED),
        (200, 2, Seen::Pass),
    ];
    assert_eq!(
        play(&mut health, &script),
        [
            "110 0 down: the connection was refused (2 failures)",
            "200 1 down: the connection was refused (2 failures)",
        ]
    );
}

#[test]
fn the_loss_of_our_own_network_publishes_nothing() {
    let mut health = health(&[0, 0, 1, 1]);
    let mut script: Vec<_> = (0..4).map(|i| (i as u64 * 25, i, Seen::Pass)).collect();
    script.extend((4..20).map(|i| (i as u64 * 25, i % 4, REFUSED)));
    assert_eq!(play(&mut health, &script), ["300 isolated"]);
    assert!(T[..4].iter().all(|target| health.state(*target).up));
    assert_eq!(
        play(&mut health, &[(500, 3, Seen::Pass)]),
        ["500 ended Pass"]
    );
    assert_eq!(
        health.tracker(T[0]).fails(),
        0,
        "failures of the silence are undone too"
    );
}

#[test]
fn a_fall_before_the_second_region_fails_is_undone() {
    let mut health = health(&[0, 1]);
    let script = [
        (0, 1, Seen::Pass),
        (10, 0, REFUSED),
        (20, 0, REFUSED),
        (100, 1, REFUSED),
        (211, 0, REFUSED),
    ];
    assert_eq!(
        play(&mut health, &script),
        [
            "20 0 down: the connection was refused (2 failures)",
            "211 isolated",
            "211 0 up: its failures were this node's own network"
        ]
    );
}

#[test]
fn isolation_begins_and_ends_by_time_alone() {
    let mut health = health(&[0, 1]);
    assert!(play(&mut health, &[(0, 0, REFUSED), (10, 1, REFUSED)]).is_empty());
    assert_eq!(health.next_deadline(), Some(at(200)));
    assert_eq!(health.tick(at(200))[0], Effect::IsolationBegan);
    assert!(health.is_isolated());
    assert_eq!(health.next_deadline(), Some(at(60_200)));
    assert!(
        play(
            &mut health,
            &[(300, 0, REFUSED), (310, 0, REFUSED), (320, 0, REFUSED)]
        )
        .is_empty()
    );
    assert_eq!(
        health.tick(at(60_200)),
        [Effect::IsolationEnded(End::TimeLimit)]
    );
    let script = [
        (60_300, 0, REFUSED),
        (60_310, 1, REFUSED),
        (60_400, 0, REFUSED),
        (60_410, 1, REFUSED),
    ];
    assert_eq!(play(&mut health, &script).len(), 2, "outcomes count again");
}

#[test]
fn sanity_that_passes_makes_every_loss_real() {
    let mut health = Health::new(vec![spec(0, 2), spec(1, 2), sanity()]);
    let script = [
        (0, 2, Seen::Pass),
        (10, 0, REFUSED),
        (20, 1, REFUSED),
        (30, 0, REFUSED),
        (40, 1, REFUSED),
        (100, 2, Seen::Pass),
    ];
    let effects = play(&mut health, &script);
    assert_eq!(effects.len(), 2, "{effects:?}");
    assert!(
        effects.iter().all(|effect| effect.starts_with("100 ")),
        "held until the pass: {effects:?}"
    );
}

#[test]
fn sanity_alone_isolates_even_one_region() {
    let mut health = Health::new(vec![spec(0, 2), sanity()]);
    let script = [
        (0, 0, REFUSED),
        (10, 1, REFUSED),
        (100, 0, REFUSED),
        (110, 1, REFUSED),
        (210, 0, REFUSED),
    ];
    assert_eq!(play(&mut health, &script), ["210 isolated"]);
    assert!(health.state(T[0]).up);
}

#[test]
fn held_falls_are_released_when_the_window_ends_without_isolation() {
    let mut health = Health::new(vec![spec(0, 2), spec(1, 2), sanity()]);
    let script = [
        (0, 0, REFUSED),
        (10, 1, REFUSED),
        (100, 0, REFUSED),
        (110, 1, REFUSED),
    ];
    assert!(play(&mut health, &script).is_empty());
    assert_eq!(
        health.next_deadline(),
        Some(at(200)),
        "the sanity check was never heard"
    );
    let transitions = health.tick(at(200));
    assert_eq!(transitions.len(), 2);
    assert!(!health.state(T[0]).up && !health.state(T[1]).up);
}

#[test]
fn what_has_no_route_stays_up_and_isolates_nobody() {
    let mut health = health(&[0, 1]);
    let script = [
        (0, 0, REFUSED),
        (10, 1, NO_ROUTE),
        (100, 0, REFUSED),
        (110, 1, NO_ROUTE),
        (300, 1, NO_ROUTE),
    ];
    assert_eq!(
        play(&mut health, &script),
        ["100 0 down: the connection was refused (2 failures)"]
    );
    assert_eq!(health.state(T[1]), State::UNPROBED);
}

#[test]
fn a_route_lost_everywhere_is_isolation() {
    let mut health = health(&[0, 1]);
    let script = [
        (0, 0, Seen::Pass),
        (10, 1, Seen::Pass),
        (100, 0, NO_ROUTE),
        (110, 1, NO_ROUTE),
        (200, 0, NO_ROUTE),
        (300, 0, NO_ROUTE),
    ];
    assert_eq!(play(&mut health, &script), ["300 isolated"]);
}

#[test]
fn doubt_and_settling_are_effects() {
    let mut health = health(&[0, 1]);
    let doubt = |in_doubt| {
        [Effect::Doubt {
            target: T[0],
            in_doubt,
        }]
    };
    assert_eq!(
        health.record(T[0], outcome(REFUSED, at(0)), at(0)),
        doubt(true)
    );
    assert_eq!(health.record(T[1], outcome(Seen::Pass, at(1)), at(1)), []);
    assert_eq!(
        health
            .record(T[0], outcome(REFUSED, at(100)), at(100))
            .len(),
        1
    );
    assert_eq!(
        health.record(T[1], outcome(Seen::Pass, at(101)), at(101)),
        []
    );
    assert_eq!(health.next_deadline(), Some(at(200)));
    assert_eq!(health.tick(at(199)), []);
    assert_eq!(health.tick(at(200)), doubt(false));
    assert_eq!(
        health.record(T[0], outcome(Seen::Pass, at(300)), at(300)),
        doubt(true)
    );
}

#[test]
fn the_first_round_decides() {
    let mut lost = health(&[0, 1]);
    let all_fail = [
        (0, 0, REFUSED),
        (1, 0, REFUSED),
        (2, 1, REFUSED),
        (3, 1, REFUSED),
    ];
    play(&mut lost, &all_fail);
    let effects = lost.end_first_round(at(4));
    assert_eq!(effects[0], Effect::IsolationBegan);
    assert!(lost.is_isolated() && lost.state(T[0]).up && lost.state(T[1]).up);

    let mut partly = health(&[0, 1, 2]);
    play(&mut partly, &all_fail[..3]);
    play(&mut partly, &[(3, 2, Seen::Pass), (4, 1, REFUSED)]);
    partly.end_first_round(at(5));
    assert!(!partly.is_isolated());
    assert_eq!(
        T[..3]
            .iter()
            .map(|t| partly.state(*t).up)
            .collect::<Vec<_>>(),
        [false, false, true]
    );

    let mut one_region = health(&[0, 0, 0]);
    play(&mut one_region, &all_fail);
    one_region.end_first_round(at(4));
    assert!(!one_region.is_isolated());
    assert!(!one_region.state(T[0]).up);
    assert!(one_region.state(T[2]).up, "undecided is up");
}

#[test]
fn a_warning_is_told_once_per_change_and_only_by_passes() {
    let mut health = health(&[0]);
    let mut record = |millis, seen, days: Option<u32>| {
        let warning = days.map(Warning::CertificateEndsIn);
        let effects = health.record(
            T[0],
            Outcome {
                warning,
                ..outcome(seen, at(millis))
            },
            at(millis),
        );
        effects
            .iter()
            .filter_map(|effect| text(millis, effect))
            .collect::<Vec<_>>()
    };
    assert!(record(0, Seen::Pass, None).is_empty());
    assert_eq!(
        record(100, Seen::Pass, Some(9)),
        ["100 0: the certificate expires in 9 days"]
    );
    assert!(record(200, Seen::Pass, Some(9)).is_empty());
    assert!(
        record(300, REFUSED, None).is_empty(),
        "a failure may not have come to the certificate"
    );
    assert_eq!(
        record(400, Seen::Pass, Some(8)),
        ["400 0: the certificate expires in 8 days"]
    );
    assert_eq!(record(500, Seen::Pass, None), ["500 0: no warning"]);
}

/// It was settled when the window ended, and flipped by the one outcome that made it isolation.
#[test]
fn a_fall_is_in_doubt_until_isolation_cannot_undo_it() {
    let script = [(0, 0, REFUSED), (0, 0, REFUSED), (100, 0, REFUSED)];
    let with = |last| {
        let mut health = health(&[0, 1]);
        play(&mut health, &script);
        health.tick(at(last));
        let settled = health.state(T[0]).settled;
        (settled, play(&mut health, &[(last, 1, REFUSED)]))
    };
    let undone = "200 0 up: its failures were this node's own network";
    assert_eq!(
        with(200),
        (false, vec!["200 isolated".to_owned(), undone.to_owned()])
    );
    assert_eq!(with(201), (true, vec!["201 isolated".to_owned()]));
}

#[test]
fn history_survives_a_reload() {
    let mut old = health(&[0, 1, 2]);
    play(
        &mut old,
        &[
            (0, 2, Seen::Pass),
            (1, 0, REFUSED),
            (2, 0, REFUSED),
            (3, 2, Seen::Pass),
            (4, 1, REFUSED),
        ],
    );
    let carry = [
        Carry::Same(T[1]),
        Carry::Changed(T[0]),
        Carry::New,
        Carry::Same(T[2]),
    ];
    let mut new = health(&[1, 0, 0, 2]);
    new.carry_over(&old, &carry);
    assert_eq!(
        [0, 1, 2, 3].map(|i| new.state(T[i]).up),
        [true, false, true, true]
    );
    let down = play(&mut new, &[(104, 0, REFUSED)]);
    assert_eq!(
        down,
        ["104 0 down: the connection was refused (2 failures)"],
        "one failure was counted before"
    );
    assert_eq!(
        play(&mut new, &[(105, 1, Seen::Pass)]),
        ["105 1 up: 1 pass"],
        "a changed check's first outcome"
    );
}

#[test]
fn isolation_and_a_held_fall_survive_a_reload() {
    let mut old = health(&[0, 1]);
    play(
        &mut old,
        &[(0, 0, REFUSED), (10, 1, REFUSED), (100, 0, REFUSED)],
    );
    let mut new = health(&[1, 0]);
    new.carry_over(&old, &[Carry::Same(T[1]), Carry::Same(T[0])]);
    assert_eq!(
        new.state(T[1]),
        State {
            up: true,
            settled: false
        }
    );
    assert_eq!(new.next_deadline(), Some(at(200)));
    assert_eq!(new.tick(at(200))[0], Effect::IsolationBegan);
    let mut third = health(&[1, 0]);
    third.carry_over(&new, &[Carry::Same(T[0]), Carry::New]);
    assert!(third.is_isolated());
    assert_eq!(
        play(&mut third, &[(300, 1, Seen::Pass)]),
        ["300 ended Pass"]
    );
}

#[test]
fn an_outcome_of_no_target_is_ignored() {
    assert!(play(&mut health(&[0]), &[(0, 5, REFUSED)]).is_empty());
}

fn seen() -> impl Strategy<Value = Seen> {
    prop_oneof![4 => Just(Seen::Pass), 5 => Just(REFUSED), 1 => Just(NO_ROUTE)]
}

proptest! {
    /// Whatever happens, what is settled flips neither by one outcome nor by time.
    #[test]
    fn no_single_outcome_flips_a_settled_target(
        script in prop::collection::vec((0u64..120, 0usize..5, seen()), 1..150),
        regions in prop::collection::vec(0u16..3, 4),
        with_sanity in any::<bool>(),
    ) {
        let mut specs: Vec<_> = regions.iter().map(|region| spec(*region, 2)).collect();
        specs.push(if with_sanity { sanity() } else { spec(0, 3) });
        let mut health = Health::new(specs);
        let mut now = at(0);
        for (pause, target, seen) in script {
            now = now + Duration::from_millis(pause);
            let states = |health: &Health| T[..5].iter().map(|t| health.state(*t)).collect::<Vec<_>>();
            let before = states(&health);
            health.tick(now);
            let ticked = states(&health);
            health.record(T[target], outcome(seen, now), now);
            for ((before, ticked), after) in before.iter().zip(&ticked).zip(&states(&health)) {
                prop_assert!(!before.settled || before.up == ticked.up);
                prop_assert!(!ticked.settled || ticked.up == after.up);
            }
            prop_assert!(health.next_deadline().is_none_or(|deadline| deadline > now));
        }
    }

    /// While something always passes in between, what is published is the thresholds machine's.
    #[test]
    fn with_passes_in_between_the_published_state_is_the_trackers(
        script in prop::collection::vec((0usize..3, any::<bool>()), 1..150),
    ) {
        let mut health = health(&[0, 1, 2, 3]);
        let mut trackers = [Tracker::assumed(true); 3];
        for (step, (target, pass)) in script.into_iter().enumerate() {
            let now = at(step as u64 * 10);
            health.record(T[3], outcome(Seen::Pass, now), now);
            health.record(T[target], outcome(if pass { Seen::Pass } else { REFUSED }, now), now);
            let thresholds = health.spec(T[target]).thresholds;
            if pass { trackers[target].pass(&thresholds, now) } else { trackers[target].fail(Failure::Refusal, &thresholds, now) };
            for (index, tracker) in trackers.iter().enumerate() {
                let held = health.flapping_until(T[index]).is_some();
                prop_assert_eq!(health.state(T[index]).up, tracker.is_up() && !held);
            }
        }
    }

    /// Everything fails from some time on, each target at its own phase: nothing is published, and
    /// it is isolation within the window.
    #[test]
    fn a_total_loss_is_isolation_and_never_a_down(phases in prop::collection::vec(0u64..100, 4), loss in 200u64..400) {
        let mut health = health(&[0, 0, 1, 1]);
        let mut probes: Vec<(u64, usize)> = (0..12)
            .flat_map(|round| phases.iter().enumerate().map(move |(target, phase)| (round * 100 + phase, target)))
            .collect();
        probes.sort();
        let first_loss = probes.iter().find(|(millis, _)| *millis >= loss).map(|(millis, _)| *millis).unwrap();
        for (millis, target) in probes {
            let now = at(millis);
            let seen = if millis >= loss { REFUSED } else { Seen::Pass };
            for effect in health.record(T[target], outcome(seen, now), now) {
                // A region probed `fall` times before any other is unknowable; here each is probed once a round.
                let down = matches!(effect, Effect::Transition(Transition { up: false, .. }));
                prop_assert!(!down, "{effect:?} at {millis}");
            }
            if millis >= first_loss + 200 + 100 {
                prop_assert!(health.is_isolated());
            }
        }
    }
}
