use proptest::prelude::*;

use super::*;

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn returns(ramp: Option<u64>, resume: Resume) -> Returns {
    let offers = vec![Families {
        v4: true,
        v6: false,
    }];
    Returns {
        ramp: ramp.map(Duration::from_secs),
        resume,
        pools: vec![<[Return; 2]>::default()],
        offers,
    }
}

const UP: [Option<bool>; 2] = [Some(true), None];
const DOWN: [Option<bool>; 2] = [Some(false), None];

#[test]
fn a_ramp_grows_step_by_step_to_the_whole() {
    let mut returns = returns(Some(100), Resume::Auto);
    assert_eq!(returns.update(0, DOWN, false, at(0)), None);
    assert_eq!(
        returns.standing(0, at(0)).share,
        RAMP_STEPS,
        "survivors share by their whole weight"
    );
    assert_eq!(
        returns.update(0, UP, false, at(1000)),
        Some(Ramp::Began(Duration::from_secs(100)))
    );
    let mut shares = Vec::new();
    let mut now = at(1000);
    while let Some(next) = returns.next_step(now) {
        shares.push(returns.standing(0, now).share);
        assert!(next > now);
        now = next;
        let ended = returns.update(0, UP, false, now);
        assert_eq!(ended, (now == at(1100)).then_some(Ramp::Ended), "{now:?}");
    }
    assert_eq!(now, at(1100));
    assert_eq!(shares.len(), 50);
    assert_eq!(
        (shares[0], shares[1], shares[25], shares[49]),
        (1, 1, 25, 49)
    );
    assert_eq!(returns.standing(0, now).share, RAMP_STEPS);
}

#[test]
fn a_held_pool_waits_for_its_resume_and_then_grows() {
    let mut returns = returns(Some(60), Resume::Manual);
    assert_eq!(returns.resume(0, at(0)), None, "nothing is held");
    returns.update(0, DOWN, false, at(1));
    assert_eq!(
        returns.resume(0, at(2)),
        None,
        "what is down cannot be resumed"
    );
    returns.update(0, UP, false, at(3));
    assert_eq!(returns.standing(0, at(9999)).held, [true, false]);
    assert_eq!(returns.next_step(at(4)), None);
    returns.update(0, DOWN, false, at(5));
    assert_eq!(
        returns.standing(0, at(5)).held,
        [false, false],
        "it is down, and its survivors are used like any"
    );
    returns.update(0, UP, false, at(6));
    assert_eq!(
        returns.resume(0, at(7)),
        Some(Some(Ramp::Began(Duration::from_secs(60))))
    );
    assert_eq!(
        returns.standing(0, at(7)),
        Standing {
            share: 1,
            ..Standing::default()
        }
    );
}

#[test]
fn an_undone_fall_leaves_everything_as_it_was() {
    let mut held = returns(None, Resume::Manual);
    held.update(0, DOWN, false, at(1));
    held.update(0, UP, true, at(2));
    assert_eq!(
        held.standing(0, at(2)),
        Standing::default(),
        "it was in use"
    );
    held.update(0, DOWN, false, at(3));
    held.update(0, UP, false, at(4));
    held.update(0, DOWN, false, at(5));
    held.update(0, UP, true, at(6));
    assert_eq!(held.standing(0, at(6)).held, [true, false], "it was held");
    let mut ramping = returns(Some(100), Resume::Auto);
    ramping.update(0, DOWN, false, at(0));
    ramping.update(0, UP, false, at(10));
    ramping.update(0, DOWN, false, at(20));
    ramping.update(0, UP, true, at(30));
    assert_eq!(
        ramping.standing(0, at(60)).share,
        25,
        "its ramp goes on from its start"
    );
}

#[test]
fn families_that_are_split_are_held_apart() {
    let mut returns = returns(Some(100), Resume::Manual);
    returns.offers = vec![Families { v4: true, v6: true }];
    returns.update(0, [Some(true), Some(false)], false, at(0));
    returns.update(0, [Some(true), Some(true)], false, at(1));
    assert_eq!(
        returns.standing(0, at(1)),
        Standing {
            held: [false, true],
            ..Standing::default()
        }
    );
    returns.resume(0, at(2));
    assert_eq!(
        returns.standing(0, at(2)),
        Standing::default(),
        "the weight is one number, and IPv4 has all of it"
    );
}

#[test]
fn what_the_service_no_longer_asks_for_is_left_out() {
    let own = |phase| [Return { down: false, phase }, Return::default()];
    let mut auto = returns(Some(10), Resume::Auto);
    auto.restore(0, own(Phase::Held));
    assert_eq!(auto.pool(0), own(Phase::InUse));
    let mut manual = returns(None, Resume::Manual);
    manual.restore(0, own(Phase::Ramping(at(1))));
    assert_eq!(manual.pool(0), own(Phase::InUse));
    manual.restore(0, own(Phase::Held));
    assert_eq!(manual.pool(0), own(Phase::Held));
}

proptest! {
    /// Whatever happens: once it was down, a pool of a manual service is in use only after a resume,
    /// and while a weight grows it is at least a step and never shrinks.
    #[test]
    fn only_a_resume_ends_a_hold(
        ramp in prop::option::of(1u64..100),
        script in prop::collection::vec((0u64..30, 0u8..5), 1..100),
    ) {
        let mut returns = returns(ramp, Resume::Manual);
        let (mut now, mut waits, mut up) = (at(0), false, true);
        for (pause, step) in script {
            now = now + Duration::from_secs(pause);
            match step {
                0 => up = false,
                1 => waits &= returns.resume(0, now).is_none(),
                _ => up = true,
            }
            waits |= !up;
            returns.update(0, [Some(up), None], false, now);
            let standing = returns.standing(0, now);
            prop_assert_eq!(standing.held[0], up && waits);
            prop_assert!((1..=RAMP_STEPS).contains(&standing.share));
            if let Some(next) = returns.next_step(now) {
                prop_assert!(next > now && !standing.held[0]);
                prop_assert!(returns.standing(0, next).share >= standing.share);
            }
        }
    }
}
