//! The scheduler and the first round, in real time with wide bounds.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::server::{hang, start};
use super::*;
use crate::model::TargetId;
use crate::probe::{Job, Observed, ProbeLimit, Scheduler, first_round};

pub(super) const LIMIT: ProbeLimit = ProbeLimit {
    descriptors: 1024,
    probes: 64,
    watches: 64,
};

pub(super) fn job(id: u32, check: &CheckSpec) -> Job {
    Job {
        id: TargetId(id),
        check: Arc::new(Check::from(CheckSpec {
            name: format!("check {id}"),
            ..check.clone()
        })),
        target: loopback(),
    }
}

pub(super) fn prober() -> Arc<Prober> {
    Arc::new(Prober::new(Clock))
}

/// Collects what arrives within `time`.
async fn collect(outcomes: &mut mpsc::Receiver<Vec<Observed>>, time: Duration) -> Vec<Observed> {
    let mut seen = Vec::new();
    let end = tokio::time::Instant::now() + time;
    while let Ok(Some(observed)) = tokio::time::timeout_at(end, outcomes.recv()).await {
        seen.extend(observed);
    }
    seen
}

/// Collects what arrives until each of `targets` was probed `times` times, and the time that it
/// took; a machine that has other work to do may take much longer than the intervals say.
async fn collect_until(
    outcomes: &mut mpsc::Receiver<Vec<Observed>>,
    targets: std::ops::Range<u32>,
    times: usize,
) -> (HashMap<u32, usize>, Duration) {
    let began = std::time::Instant::now();
    let mut seen = Vec::new();
    loop {
        seen.extend(collect(outcomes, Duration::from_secs(1)).await);
        let (counts, took) = (per_target(&seen), began.elapsed());
        assert!(seen.iter().all(|observed| observed.generation == 7));
        if targets
            .clone()
            .all(|id| counts.get(&id).is_some_and(|count| *count >= times))
        {
            return (counts, took);
        }
        assert!(
            took < Duration::from_secs(60),
            "at least {times} each: {counts:?}"
        );
    }
}

fn per_target(seen: &[Observed]) -> HashMap<u32, usize> {
    let mut counts = HashMap::new();
    seen.iter()
        .for_each(|observed| *counts.entry(observed.target.0).or_default() += 1);
    counts
}

#[tokio::test]
async fn each_target_is_probed_at_its_interval() {
    let address = start(|_| async {}).await;
    let jobs = (0..20)
        .map(|id| job(id, &check(connects(), address.port())))
        .collect();
    let (sender, mut outcomes) = mpsc::channel(64);
    let _scheduler = Scheduler::spawn(prober(), LIMIT, 7, jobs, sender).unwrap();
    let (counts, took) = collect_until(&mut outcomes, 0..20, 4).await;
    assert_eq!(counts.len(), 20);
    let most = took.as_millis() as usize / 100 + 2;
    assert!(
        counts.values().all(|count| *count <= most),
        "at most {most} each in {took:?}: {counts:?}"
    );
}

#[tokio::test]
async fn hung_targets_never_delay_the_others() {
    let (hanging, answering) = (start(hang).await, start(|_| async {}).await);
    let hung = CheckSpec {
        timeout: Duration::from_millis(100),
        ..check(CheckKind::Http(http()), hanging.port())
    };
    let mut jobs: Vec<_> = (0..30).map(|id| job(id, &hung)).collect();
    jobs.extend((30..35).map(|id| job(id, &check(connects(), answering.port()))));
    let (sender, mut outcomes) = mpsc::channel(64);
    let limit = ProbeLimit { probes: 8, ..LIMIT };
    let _scheduler = Scheduler::spawn(prober(), limit, 7, jobs, sender).unwrap();
    // At first nobody is known to be slow: 30 probes of 100 ms, 4 at once.
    collect(&mut outcomes, Duration::from_millis(1200)).await;
    let (counts, took) = collect_until(&mut outcomes, 30..35, 4).await;
    let slow: usize = (0..30).filter_map(|id| counts.get(&id)).sum();
    let most = 50 * (took.as_secs() as usize + 1);
    assert!(
        (4..=most).contains(&slow),
        "4 at once, 100 ms each: {slow} in {took:?}"
    );
}

#[tokio::test]
async fn a_probe_never_overlaps_itself() {
    let at_once = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (counter, highest) = (at_once.clone(), most.clone());
    let address = start(move |mut stream| {
        let (counter, highest) = (counter.clone(), highest.clone());
        async move {
            highest.fetch_max(counter.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            server::request(&mut stream).await;
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            counter.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await;
    let slow = CheckSpec {
        timeout: Duration::from_millis(450),
        ..check(CheckKind::Http(http()), address.port())
    };
    let (sender, mut outcomes) = mpsc::channel(64);
    let _scheduler = Scheduler::spawn(prober(), LIMIT, 0, vec![job(0, &slow)], sender).unwrap();
    let seen = collect(&mut outcomes, Duration::from_secs(2)).await;
    assert!(
        (2..=5).contains(&seen.len()),
        "a turn in five: {}",
        seen.len()
    );
    // The server may see the next connection before the end of the last.
    assert!(most.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn a_reload_renames_keeps_and_drops() {
    let address = start(|_| async {}).await;
    let tcp = check(connects(), address.port());
    let (sender, mut outcomes) = mpsc::channel(64);
    let scheduler =
        Scheduler::spawn(prober(), LIMIT, 1, vec![job(0, &tcp), job(1, &tcp)], sender).unwrap();
    assert_eq!(
        per_target(&collect(&mut outcomes, Duration::from_millis(500)).await).len(),
        2
    );
    let kept = Job {
        id: TargetId(5),
        ..job(1, &tcp)
    };
    scheduler.replace(2, vec![kept, job(6, &tcp)]);
    let after = collect(&mut outcomes, Duration::from_millis(700)).await;
    let new: Vec<_> = after
        .into_iter()
        .filter(|observed| observed.generation == 2)
        .collect();
    let mut ids: Vec<_> = per_target(&new).into_keys().collect();
    ids.sort();
    assert_eq!(ids, [5, 6]);
    scheduler.replace(3, Vec::new());
    collect(&mut outcomes, Duration::from_millis(200)).await;
    assert!(
        collect(&mut outcomes, Duration::from_millis(300))
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn dropping_the_scheduler_ends_it() {
    let address = start(|_| async {}).await;
    let (sender, mut outcomes) = mpsc::channel(64);
    let jobs = vec![job(0, &check(connects(), address.port()))];
    drop(Scheduler::spawn(prober(), LIMIT, 1, jobs, sender).unwrap());
    let ended = async { while outcomes.recv().await.is_some() {} };
    tokio::time::timeout(TIMEOUT, ended)
        .await
        .expect("the channel closes with the last probe");
}

#[tokio::test]
async fn the_first_round_repeats_failures_at_once() {
    let (answering, hanging) = (start(|_| async {}).await, start(hang).await);
    let refusing = closed_port().await;
    let never = CheckSpec {
        timeout: Duration::from_secs(60),
        ..check(CheckKind::Http(http()), hanging.port())
    };
    let jobs = [
        job(0, &check(connects(), answering.port())),
        job(1, &check(connects(), refusing.port())),
        job(2, &never),
    ];
    let begun = Instant::now();
    let seen = first_round(&prober(), LIMIT, &jobs[..2], TIMEOUT).await;
    assert!(begun.elapsed() < TIMEOUT, "over as soon as all are decided");
    let count = |seen: &[(TargetId, Outcome)], id| {
        seen.iter()
            .filter(|(target, _)| *target == TargetId(id))
            .count()
    };
    assert_eq!((count(&seen, 0), count(&seen, 1)), (1, 3));
    let undecided = first_round(&prober(), LIMIT, &jobs, Duration::from_millis(500)).await;
    assert_eq!(count(&undecided, 2), 0);
    assert_eq!(count(&undecided, 0), 1);
}

#[tokio::test]
async fn the_first_round_is_bounded_too() {
    let address = start(|_| async {}).await;
    let jobs: Vec<_> = (0..50)
        .map(|id| job(id, &check(connects(), address.port())))
        .collect();
    let seen = first_round(&prober(), ProbeLimit { probes: 2, ..LIMIT }, &jobs, TIMEOUT).await;
    assert_eq!(seen.len(), 50);
    assert!(first_round(&prober(), LIMIT, &[], TIMEOUT).await.is_empty());
}
