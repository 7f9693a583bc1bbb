use proptest::prelude::*;

use super::*;

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn recovery(ramp: Option<u64>, resume: Resume) -> ServiceRecovery {
    let offers = vec![Families {
        v4: true,
        v6: false,
    }];
    ServiceRecovery {
        ramp: ramp.map(Duration::from_secs),
        resume,
        pools: vec![<[PoolRecovery; 2]>::default()],
        offers,
    }
}

const UP: [Option<bool>; 2] = [Some(true), None];
const DOWN: [Option<bool>; 2] = [Some(false), None];

#[test]
fn a_ramp_grows_step_by_step_to_the_whole() {
    let mut recovery = recovery(Some(100), Resume::Auto);
    assert_eq!(recovery.update(0, DOWN, false, at(0)), None);
    assert_eq!(
        recovery.conditions(0, at(0)).share,
        RAMP_STEPS,
        "survivors share by their whole weight"
    );
    assert_eq!(
        recovery.update(0, UP, false, at(1000)),
        Some(Ramp::Began(Duration::from_secs(100)))
    );
    let mut shares = Vec::new();
    let mut now = at(1000);
    while let Some(next) = recovery.next_step(now) {
        shares.push(recovery.conditions(0, now).share);
        assert!(next > now);
        now = next;
        let ended = recovery.update(0, UP, false, now);
        assert_eq!(ended, (now == at(1100)).then_some(Ramp::Ended), "{now:?}");
    }
    assert_eq!(now, at(1100));
    assert_eq!(shares.len(), 50);
    assert_eq!(
        (shares[0], shares[1], shares[25], shares[49]),
        (1, 1, 25, 49)
    );
    assert_eq!(recovery.conditions(0, now).share, RAMP_STEPS);
}

#[test]
fn a_held_pool_waits_for_its_resume_and_then_grows() {
    let mut recovery = recovery(Some(60), Resume::Manual);
    assert_eq!(recovery.resume(0, at(0)), None, "nothing is held");
    recovery.update(0, DOWN, false, at(1));
    assert_eq!(
        recovery.resume(0, at(2)),
        None,
        "what is down cannot be resumed"
    );
    recovery.update(0, UP, false, at(3));
    assert_eq!(recovery.conditions(0, at(9999)).held, [true, false]);
    assert_eq!(recovery.next_step(at(4)), None);
    recovery.update(0, DOWN, false, at(5));
    assert_eq!(
        recovery.conditions(0, at(5)).held,
        [false, false],
        "it is down, and its survivors are used like any"
    );
    recovery.update(0, UP, false, at(6));
    assert_eq!(
        recovery.resume(0, at(7)),
        Some(Some(Ramp::Began(Duration::from_secs(60))))
    );
    assert_eq!(
        recovery.conditions(0, at(7)),
        PoolConditions {
            share: 1,
            ..PoolConditions::default()
        }
    );
}

#[test]
fn an_undone_fall_leaves_everything_as_it_was() {
    let mut held = recovery(None, Resume::Manual);
    held.update(0, DOWN, false, at(1));
    held.update(0, UP, true, at(2));
    assert_eq!(
        held.conditions(0, at(2)),
        PoolConditions::default(),
        "it was in use"
    );
    held.update(0, DOWN, false, at(3));
    held.update(0, UP, false, at(4));
    held.update(0, DOWN, false, at(5));
    held.update(0, UP, true, at(6));
    assert_eq!(held.conditions(0, at(6)).held, [true, false], "it was held");
    let mut ramping = recovery(Some(100), Resume::Auto);
    ramping.update(0, DOWN, false, at(0));
    ramping.update(0, UP, false, at(10));
    ramping.update(0, DOWN, false, at(20));
    ramping.update(0, UP, true, at(30));
    assert_eq!(
        ramping.conditions(0, at(60)).share,
        25,
        "its ramp goes on from its start"
    );
}

#[test]
fn families_that_are_split_are_held_apart() {
    let mut recovery = recovery(Some(100), Resume::Manual);
    recovery.offers = vec![Families { v4: true, v6: true }];
    recovery.update(0, [Some(true), Some(false)], false, at(0));
    recovery.update(0, [Some(true), Some(true)], false, at(1));
    assert_eq!(
        recovery.conditions(0, at(1)),
        PoolConditions {
            held: [false, true],
            ..PoolConditions::default()
        }
    );
    recovery.resume(0, at(2));
    assert_eq!(
        recovery.conditions(0, at(2)),
        PoolConditions::default(),
        "the weight is one number, and IPv4 has all of it"
    );
}

#[test]
fn what_the_service_no_longer_asks_for_is_left_out() {
    let own = |phase| [PoolRecovery { down: false, phase }, PoolRecovery::default()];
    let mut auto = recovery(Some(10), Resume::Auto);
    auto.restore(0, own(Phase::Held));
    assert_eq!(auto.pool(0), own(Phase::InUse));
    let mut manual = recovery(None, Resume::Manual);
    manual.restore(0, own(Phase::Ramping(at(1))));
    assert_eq!(manual.pool(0), own(Phase::InUse));
    manual.restore(0, own(Phase::Held));
    assert_eq!(manual.pool(0), own(Phase::Held));
}

proptest! {
    /// Whatever happens: once it was down, a pool of a manual service is in use only after a
    /// resume, and while a weight grows it is at least a step and never shrinks.
    #[test]
    fn only_a_resume_ends_a_hold(
        ramp in prop::option::of(1u64..100),
        script in prop::collection::vec((0u64..30, 0u8..5), 1..100),
    ) {
        let mut recovery = recovery(ramp, Resume::Manual);
        let (mut now, mut waits, mut up) = (at(0), false, true);
        for (pause, step) in script {
            now = now + Duration::from_secs(pause);
            match step {
                0 => up = false,
                1 => waits &= recovery.resume(0, now).is_none(),
                _ => up = true,
            }
            waits |= !up;
            recovery.update(0, [Some(up), None], false, now);
            let conditions = recovery.conditions(0, now);
            prop_assert_eq!(conditions.held[0], up && waits);
            prop_assert!((1..=RAMP_STEPS).contains(&conditions.share));
            if let Some(next) = recovery.next_step(now) {
                prop_assert!(next > now && !conditions.held[0]);
                prop_assert!(recovery.conditions(0, next).share >= conditions.share);
            }
        }
    }
}
