//! What of health comes through a restart.

use super::*;

/// A new process that finds what `old` leaves, `age` later.
fn restart(
    old: &Health,
    specs: &[TargetSpec],
    age: Duration,
    now: Moment,
) -> (Health, Vec<TargetId>) {
    let carry: Vec<Carry> = (0..specs.len())
        .map(|index| Carry::Same(TargetId::from_index(index)))
        .collect();
    let mut new = Health::new(specs.to_vec());
    let unknown = new.restore(&old.records(now), &carry, age, now + age);
    (new, unknown)
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_changed_or_unknown_target_takes_the_verdict_or_nothing() {
    let mut old = health(&[0, 1, 2]);
    play(
        &mut old,
        &[
            (0, 2, Seen::Pass),
            (1, 0, REFUSED),
            (2, 0, REFUSED),
            (3, 2, Seen::Pass),
        ],
    );
    let carry = [
        Carry::Changed(T[0]),
        Carry::Changed(T[2]),
        Carry::New,
        Carry::Same(T[0]),
    ];
    let mut new = health(&[0, 1, 2, 0]);
    let unknown = new.restore(&old.records(at(100)), &carry, MINUTE, at(60_100));
    assert_eq!(unknown, [T[2]]);
    assert_eq!(
        [0, 1, 2, 3].map(|i| new.state(T[i]).up),
        [false, true, true, false]
    );
    assert_eq!(
        new.changed(T[0]),
        None,
        "a changed check's history begins anew"
    );
    assert_eq!(new.changed(T[3]), Some(at(2)));
    assert!(
        play(&mut new, &[(60_200, 0, Seen::Pass)]).is_empty(),
        "across a restart a DOWN takes all its passes"
    );
}

#[test]
fn old_history_is_down_or_nothing() {
    let mut old = health(&[0, 1]);
    play(
        &mut old,
        &[
            (0, 1, Seen::Pass),
            (1, 0, REFUSED),
            (2, 0, REFUSED),
            (3, 1, Seen::Pass),
        ],
    );
    old.tick(at(1000));
    let specs = [spec(0, 2), spec(1, 2)];
    let (fresh, unknown) = restart(&old, &specs, FRESH - Duration::from_millis(1), at(1000));
    assert_eq!((unknown, fresh.is_restored(T[1])), (vec![], true));
    let (mut stale, unknown) = restart(&old, &specs, FRESH, at(1000));
    assert_eq!(
        (unknown, stale.is_restored(T[1])),
        (vec![T[0], T[1]], false)
    );
    assert_eq!(
        stale.state(T[0]),
        State {
            up: false,
            settled: true
        }
    );
    let later = 601_000;
    assert!(
        play(
            &mut stale,
            &[(later, 1, Seen::Pass), (later, 0, Seen::Pass)]
        )
        .is_empty()
    );
    assert_eq!(
        play(&mut stale, &[(later + 100, 0, Seen::Pass)]),
        [format!("{} 0 up: 2 passes in a row", later + 100)]
    );
}

#[test]
fn a_hold_goes_on_and_a_bad_record_does_no_harm() {
    let record = Record {
        up: true,
        settled: true,
        hold: Some(Duration::from_secs(1 << 40)),
        load: Some(7.0),
        ..Record::default()
    };
    let mut health = health(&[0]);
    health.restore(&[record], &[Carry::Same(T[0])], MINUTE, at(0));
    assert_eq!(
        health.flapping_until(T[0]),
        Some(at(240_000)),
        "no hold is longer than a hold"
    );
    assert_eq!(
        health.state(T[0]),
        State {
            up: false,
            settled: false
        },
        "what is held is down"
    );
    assert_eq!(health.load(T[0]).average(), None);
    assert_eq!(health.tick(at(240_000))[0], Effect::FlappingEnded(T[0]));
    // Records that are missing leave their targets unknown.
    assert_eq!(
        Health::new(vec![spec(0, 2)]).restore(&[], &[Carry::Same(T[5])], MINUTE, at(0)),
        [T[0]]
    );
}

proptest! {
    /// After any history, at any moment: a restart changes no verdict and no doubt, one lost probe
    /// takes nothing down, and what was down is not up before it has passed `rise` times.
    #[test]
    fn a_restart_changes_nothing(
        script in prop::collection::vec((0u64..500, 0usize..4, seen()), 0..200),
        age in 0u64..550,
        after in prop::collection::vec((0usize..4, any::<bool>()), 0..20),
    ) {
        let specs: Vec<_> = (0..4).map(|region| spec(region % 3, 2)).collect();
        let mut old = Health::new(specs.clone());
        let mut now = at(0);
        for (pause, target, seen) in script {
            now = now + Duration::from_millis(pause);
            old.record(T[target], outcome(seen, now), now);
        }
        old.tick(now);
        let age = Duration::from_secs(age);
        let (mut new, unknown) = restart(&old, &specs, age, now);
        prop_assert!(unknown.is_empty());
        now = now + age;
        for target in &T[..4] {
            let (before, after) = (old.state(*target), new.state(*target));
            prop_assert_eq!(before.up, after.up);
            prop_assert!(before.settled || !after.settled || old.flapping_until(*target).is_some());
            prop_assert_eq!(old.changed(*target).map(|c| c.0), new.changed(*target).map(|c| c.0));
        }
        // What is written again at once is what was read, but for doubt that a moment ends.
        let again = new.records(now);
        for (first, second) in old.records(now).iter().zip(&again) {
            prop_assert_eq!((first.up, first.judged, first.changed, first.load), (second.up, second.judged, second.changed, second.load));
        }
        let mut passes = [0; 4];
        let mut fails = [0; 4];
        // What flaps may have passed, and come up when its hold is over.
        let mut rose = [false; 4];
        for (target, pass) in after {
            now = now + Duration::from_millis(10);
            let was_up = new.state(T[target]).up;
            new.record(T[target], outcome(if pass { Seen::Pass } else { REFUSED }, now), now);
            if pass { passes[target] += 1 } else { (passes[target], fails[target]) = (0, fails[target] + 1) }
            rose[target] |= passes[target] >= 2;
            let is_up = new.state(T[target]).up;
            prop_assert!(was_up || !is_up || rose[target], "up after {} passes", passes[target]);
            prop_assert!(!was_up || is_up || fails[target] >= 2, "down after {} failures", fails[target]);
            rose[target] &= is_up || !was_up;
        }
    }
}
