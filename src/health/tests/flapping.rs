//! Flap hold, alone and with isolation.

use super::*;
use crate::model::FlapRule;

/// Passes of target 1 in between, so that nothing looks like isolation.
fn alternate(health: &mut Health, changes: usize) -> (u64, Vec<String>) {
    let (mut millis, mut said) = (0, Vec::new());
    for change in 0..changes {
        let seen = if change % 2 == 0 { REFUSED } else { Seen::Pass };
        for _ in 0..2 {
            millis += 10;
            said.extend(play(health, &[(millis, 1, Seen::Pass), (millis, 0, seen)]));
        }
    }
    (millis, said)
}

#[test]
fn what_flaps_is_held_down_and_in_doubt_until_its_hold_is_over() {
    let mut health = health(&[0, 1]);
    let (millis, said) = alternate(&mut health, 5);
    assert_eq!(said.last().unwrap(), "100 0 flaps: 5, until 300100");
    assert_eq!(health.flapping_until(T[0]), Some(at(millis + 300_000)));
    play(
        &mut health,
        &[
            (200, 0, Seen::Pass),
            (210, 0, Seen::Pass),
            (220, 0, Seen::Pass),
        ],
    );
    assert!(health.tracker(T[0]).is_up() && health.any_flapping());
    assert_eq!(health.tick(at(299_000)), []);
    assert_eq!(
        health.state(T[0]),
        State {
            up: false,
            settled: false
        }
    );
    assert_eq!(health.next_deadline(), Some(at(300_100)));
    assert!(
        matches!(
            health.tick(at(300_100))[..],
            [Effect::Transition(Transition {
                up: true,
                cause: Cause::Released,
                ..
            })]
        ),
        "{:?}",
        health.state(T[0])
    );
    assert!(!health.any_flapping());
}

#[test]
fn a_hold_may_begin_with_a_rise_and_end_in_a_down() {
    let mut health = health(&[0, 1]);
    alternate(&mut health, 5);
    play(
        &mut health,
        &[
            (300_000, 1, Seen::Pass),
            (300_050, 0, Seen::Pass),
            (300_060, 0, Seen::Pass),
        ],
    );
    health.tick(at(300_100));
    // Up at 300100; the next fifth change is that to up again.
    let mut said = Vec::new();
    for (step, seen) in [REFUSED, Seen::Pass, REFUSED, Seen::Pass]
        .into_iter()
        .enumerate()
    {
        let millis = 300_200 + 100 * step as u64;
        said.extend(play(
            &mut health,
            &[
                (millis, 1, Seen::Pass),
                (millis + 10, 0, seen),
                (millis + 20, 0, seen),
            ],
        ));
    }
    assert_eq!(said.last().unwrap(), "300520 0 flaps: 5, until 600520");
    assert!(!health.state(T[0]).up, "the rise was not published");
    play(
        &mut health,
        &[
            (400_000, 1, Seen::Pass),
            (400_010, 0, REFUSED),
            (400_020, 0, REFUSED),
        ],
    );
    assert_eq!(health.tick(at(600_520))[0], Effect::FlappingEnded(T[0]));
    assert!(!health.state(T[0]).up);
}

#[test]
fn a_hold_that_is_over_while_isolated_ends_with_isolation() {
    let mut health = Health::new(vec![spec(0, 2), spec(1, 2), sanity()]);
    alternate(&mut health, 5);
    play(&mut health, &[(200, 0, Seen::Pass), (210, 0, Seen::Pass)]);
    let lost = [
        (299_000, 0, REFUSED),
        (299_010, 1, REFUSED),
        (299_020, 2, REFUSED),
        (299_300, 0, REFUSED),
    ];
    assert_eq!(play(&mut health, &lost), ["299300 isolated"]);
    assert_eq!(health.tick(at(400_000)), [], "states are kept");
    assert!(!health.state(T[0]).up);
    let back = play(&mut health, &[(500_000, 1, Seen::Pass)]);
    assert_eq!(
        back,
        [
            "500000 ended Pass",
            "500000 0 up: flap hold over, and it has passed since"
        ]
    );
}

#[test]
fn a_fall_that_is_undone_neither_counts_nor_holds() {
    let mut health = health(&[0, 1]);
    alternate(&mut health, 4);
    // The fifth change falls before the second region fails: it holds, and is undone with the hold.
    let script = [
        (1000, 1, Seen::Pass),
        (1010, 0, REFUSED),
        (1020, 0, REFUSED),
        (1100, 1, REFUSED),
        (1211, 0, REFUSED),
    ];
    assert_eq!(
        play(&mut health, &script)[1..],
        [
            "1020 0 flaps: 5, until 301020",
            "1211 isolated",
            "1211 0 up: its failures were this node's own network"
        ]
    );
    assert!(health.state(T[0]).up && !health.any_flapping());
}

proptest! {
    /// Whatever happens: what is held is down and in doubt, and nothing is published up and down more
    /// than five times in ten minutes by its own outcomes.
    #[test]
    fn a_held_target_is_never_up(script in prop::collection::vec((0u64..3000, 0usize..2, any::<bool>()), 1..400)) {
        let mut health = health(&[0, 1, 2]);
        let mut now = at(0);
        let mut changes: Vec<Moment> = Vec::new();
        for (pause, target, pass) in script {
            now = now + Duration::from_millis(pause);
            let seen = if pass { Seen::Pass } else { REFUSED };
            let mut effects = health.record(T[2], outcome(Seen::Pass, now), now);
            effects.extend(health.record(T[target], outcome(seen, now), now));
            effects.retain(|effect| matches!(effect, Effect::Transition(t) if t.target == T[0]));
            changes.extend(effects.iter().map(|_| now));
            for target in &T[..2] {
                prop_assert!(health.flapping_until(*target).is_none() || !health.state(*target).up);
                prop_assert!(health.flapping_until(*target).is_none() || !health.state(*target).settled);
            }
            prop_assert!(health.next_deadline().is_none_or(|deadline| deadline > now));
        }
        for (index, change) in changes.iter().enumerate() {
            let until = *change + FlapRule::DEFAULT.hold;
            let burst = changes[index..].iter().take_while(|other| **other < until).count();
            prop_assert!(burst <= FlapRule::DEFAULT.changes as usize + 1, "{burst} changes from {change:?}");
        }
    }
}

#[test]
fn a_reload_with_flap_false_lets_go_what_is_held() {
    let mut health = health(&[0, 1, 2]);
    let (millis, _) = alternate(&mut health, 5);
    assert!(health.any_flapping());
    let keys = T.map(Carry::Same);
    let specs = (0..3)
        .map(|region| TargetSpec {
            flap: None,
            ..spec(region, 2)
        })
        .collect();
    let mut reloaded = Health::new(specs);
    reloaded.carry_over(&health, &keys);
    assert!(!reloaded.any_flapping());
    let said = play(
        &mut reloaded,
        &[
            (millis + 100, 0, Seen::Pass),
            (millis + 200, 0, Seen::Pass),
            (millis + 300, 0, Seen::Pass),
        ],
    );
    assert!(said.iter().any(|line| line.contains("0 up")), "{said:?}");
}
