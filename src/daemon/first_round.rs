//! Health before the first answer: from before a restart, or from a first round of probes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use super::changes::ChangeLog;
use crate::dataset::Dataset;
use crate::health::Outcome;
use crate::model::TargetId;
use crate::probe::{self, Job, ProbeLimit, Prober};
use crate::publisher::{ProbeEvent, Publisher, new_targets};
use crate::state;

/// The longest time that the first round may take.
const FIRST_ROUND: Duration = Duration::from_secs(5);

/// A first round beside the answers: closed at its end.
pub(super) type Beside = mpsc::UnboundedReceiver<(TargetId, Outcome)>;

/// The publisher as the state directory, where there is one that is good, lets it begin; and the
/// targets to probe before anything is answered.
pub(super) fn begin(
    dataset: &Arc<Dataset>,
    state: Option<&Path>,
    prober: &Prober,
) -> (Publisher, Vec<TargetId>) {
    let all = || {
        (0..dataset.config.targets.len())
            .map(TargetId::from_index)
            .collect()
    };
    let state = state.filter(|state| state::objection(state).is_none());
    match state.map(|state| state::load_history(state, SystemTime::now())) {
        Some(Ok(Some((history, age)))) => {
            let (publisher, unknown) =
                Publisher::restore(dataset.clone(), &history, age, prober.clock().now());
            let (targets, age) = (
                dataset.config.targets.len(),
                Duration::from_secs(age.as_secs()),
            );
            let known = targets - unknown.len();
            let age = humantime::format_duration(age);
            tracing::info!(
                "health restored from before the restart, {age} ago: {known} of {targets} probe targets"
            );
            (publisher, unknown)
        }
        kept => {
            if let Some(Err(why)) = kept {
                tracing::warn!("{why}");
            }
            (Publisher::new(dataset.clone()), all())
        }
    }
}

/// Probes the `unknown` targets to a verdict, before anything is answered. The others, where there
/// are any, are probed beside the answers.
pub(super) async fn first_round(
    prober: &Arc<Prober>,
    limit: ProbeLimit,
    publisher: &mut Publisher,
    changes: &ChangeLog,
    jobs: &[Job],
    unknown: &[TargetId],
) -> Option<Beside> {
    let (first, beside): (Vec<Job>, Vec<Job>) = jobs
        .iter()
        .cloned()
        .partition(|job| unknown.binary_search(&job.id).is_ok());
    // The outcomes change plans that nobody sees yet, so only the changes among the effects count.
    let generation = publisher.generation();
    for (target, outcome) in probe::first_round(prober, limit, &first, FIRST_ROUND).await {
        let effects = publisher.handle(
            ProbeEvent::Outcome {
                generation,
                target,
                outcome,
            },
            prober.clock().now(),
        );
        changes.send_effects(effects, prober.clock().wall());
    }
    let now = prober.clock().now();
    if beside.is_empty() {
        let effects = publisher.handle(ProbeEvent::FirstRoundEnded, now);
        changes.send_effects(effects, prober.clock().wall());
        return None;
    }
    // The rest keeps its state from before the restart, which is a better guess than none.
    let effects = publisher.answer_at_once(now);
    changes.send_effects(effects, prober.clock().wall());
    // Unbounded, yet at most one outcome for each target comes.
    let (sender, outcomes) = mpsc::unbounded_channel();
    let prober = prober.clone();
    tokio::spawn(async move {
        // Nobody listens once the server stops.
        let send = |target, outcome| drop(sender.send((target, outcome)));
        probe::first_round_each(&prober, limit, &beside, FIRST_ROUND, send).await;
    });
    Some(outcomes)
}

/// Probes the targets that only the new files have, so that a dead endpoint is not handed out first
/// and found out later.
pub(super) async fn probe_new_targets(
    prober: &Arc<Prober>,
    limit: ProbeLimit,
    old: &Dataset,
    new: &Dataset,
) -> Vec<(TargetId, Outcome)> {
    let wanted = new_targets(old, new);
    let mut jobs = Job::all(&new.config.checks, &new.config.targets);
    // Targets that the old files had keep their state; probing them again would delay the reload.
    jobs.retain(|job| wanted.binary_search(&job.id).is_ok());
    probe::first_round(prober, limit, &jobs, FIRST_ROUND).await
}

/// A family that this node has no route for is not judged; said once.
pub(super) fn log_unrouted(dataset: &Dataset) {
    for family in probe::unrouted(dataset.config.targets.iter().map(|target| &target.target)) {
        tracing::warn!(
            "no default route for {family} on this node: endpoints that it cannot reach without one are not judged"
        );
    }
}

/// The next outcome of the first round beside the answers; `None` at its end.
pub(super) async fn next(beside: &mut Option<Beside>) -> Option<(TargetId, Outcome)> {
    match beside {
        Some(outcomes) => outcomes.recv().await,
        None => std::future::pending().await,
    }
}
