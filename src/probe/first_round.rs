//! The first round: what is down is known before the first answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{Job, ProbeLimit, Prober};
use crate::allocator;
use crate::health::{NotJudged, Outcome, Seen, Step, Thresholds, Tracker};
use crate::model::TargetId;

/// Probes every one of `jobs`, all at once as far as `limit` allows. A failing probe repeats at
/// once until it passes or has failed often enough to be down. Ends when all are decided, at the latest after
/// `within`; what is under way then is given up.
///
/// The outcomes, in the order they came, are to be recorded one by one and then
/// [`crate::health::Health::end_first_round`] called.
pub async fn first_round(
    prober: &Arc<Prober>,
    limit: ProbeLimit,
    jobs: &[Job],
    within: Duration,
) -> Vec<(TargetId, Outcome)> {
    let mut seen = Vec::new();
    first_round_each(prober, limit, jobs, within, |target, outcome| {
        seen.push((target, outcome))
    })
    .await;
    seen
}

/// The same for a first round beside the answers: `each` hears every outcome as it comes.
pub async fn first_round_each(
    prober: &Arc<Prober>,
    limit: ProbeLimit,
    jobs: &[Job],
    within: Duration,
    mut each: impl FnMut(TargetId, Outcome),
) {
    let deadline = Instant::now() + within;
    let permits = Arc::new(Semaphore::new(limit.probes));
    let (sender, mut outcomes) = mpsc::unbounded_channel();
    let mut sender = Some(sender);
    let mut round = JoinSet::new();
    let mut jobs = jobs.iter();
    loop {
        tokio::select! {
            biased;
            () = sleep_until(deadline) => break,
            outcome = outcomes.recv() => match outcome {
                Some((target, outcome)) => each(target, outcome),
                None => break,
            },
            permit = permits.clone().acquire_owned(), if sender.is_some() => match (jobs.next(), &sender) {
                (Some(job), Some(sender)) => {
                    let (prober, job, sender) = (prober.clone(), job.clone(), sender.clone());
                    round.spawn(async move {
                        decide(&prober, &job, &sender).await;
                        drop(permit);
                    });
                }
                // The channel ends with the last probe under way.
                _ => sender = None,
            },
        }
    }
    round.shutdown().await;
    // Thousands of probes were under way at once, which is not to come again.
    allocator::give_back();
}

/// Probes one target until it is decided.
async fn decide(prober: &Prober, job: &Job, outcomes: &mpsc::UnboundedSender<(TargetId, Outcome)>) {
    let spec = &job.check.spec;
    let (thresholds, mut tracker) = (Thresholds::from(spec), Tracker::assumed(true));
    for _ in 0..spec.fall {
        let outcome = prober.probe(&job.check, &job.target).await;
        let mut decided = is_decided(outcome.seen);
        if let Seen::Fail(reason) = outcome.seen {
            decided = tracker.fail(reason.failure(), &thresholds, outcome.at) == Step::Fell;
        }
        if outcomes.send((job.id, outcome)).is_err() || decided {
            return;
        }
    }
}

/// Another probe at once could not see anything else.
fn is_decided(seen: Seen) -> bool {
    match seen {
        Seen::Pass => true,
        Seen::NotJudged(NotJudged::Resources(_) | NotJudged::Resolver(_) | NotJudged::Stalled)
        | Seen::Fail(_) => false,
        Seen::NotJudged(_) => true,
    }
}
