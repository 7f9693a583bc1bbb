//! Probing: the scheduler's outcomes, and the first round where it runs beside the answers.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::first_round::{Beside, next};
use crate::clock::Clock;
use crate::config::ServerSpec;
use crate::dataset::Dataset;
use crate::health::{Early, Outcome};
use crate::model::TargetId;
use crate::probe::{Job, Observed, ProbeLimit, Prober, Scheduler};

/// The prober, its limit, and the threads that use it.
pub(super) struct Probing {
    pub(super) prober: Arc<Prober>,
    pub(super) limit: ProbeLimit,
    scheduler: Scheduler,
    outcomes: mpsc::Receiver<Vec<Observed>>,
    /// The first round, while it runs beside the answers.
    beside: Option<Beside>,
}

/// An input of the loop from probes.
pub(super) enum Probed {
    /// Outcomes of scheduled probes, and states of connections.
    Outcomes(Vec<Observed>),
    /// An outcome of the first round.
    First(TargetId, Outcome),
    /// The first round has ended.
    FirstRoundEnded,
    /// The scheduler has ended, which it does not by itself.
    Lost,
}

/// A prober by the rules of the files.
pub(super) fn prober(clock: Clock, server: &ServerSpec) -> Arc<Prober> {
    let prober = Prober::new(clock).with_exec_processes(server.exec_processes);
    prober.look_up_at(&server.resolvers);
    Arc::new(prober)
}

/// The probes of a dataset.
pub(super) fn jobs(dataset: &Dataset) -> Vec<Job> {
    Job::all(&dataset.config.checks, &dataset.config.targets)
}

impl Probing {
    /// Starts the scheduler.
    pub(super) fn start(
        prober: Arc<Prober>,
        limit: ProbeLimit,
        generation: u32,
        jobs: Vec<Job>,
        beside: Option<Beside>,
    ) -> io::Result<Probing> {
        // Bounded: a loop that is behind slows the scheduler instead of filling memory. Each item
        // is a batch.
        let (sender, outcomes) = mpsc::channel(16);
        let scheduler = Scheduler::spawn(prober.clone(), limit, generation, jobs, sender)?;
        Ok(Probing {
            prober,
            limit,
            scheduler,
            outcomes,
            beside,
        })
    }

    /// Probes the targets of other files from now on.
    pub(super) fn replace(&self, generation: u32, dataset: &Dataset) {
        self.scheduler.replace(generation, jobs(dataset));
    }

    /// Probes targets of the files of `generation` before their turn.
    pub(super) fn probe_early(&self, generation: u32, targets: Vec<Early>) {
        self.scheduler.probe_early(generation, targets);
    }

    /// The next input.
    pub(super) async fn next(&mut self) -> Probed {
        let probed = tokio::select! {
            batch = self.outcomes.recv() => batch.map_or(Probed::Lost, Probed::Outcomes),
            outcome = next(&mut self.beside) => match outcome {
                Some((target, outcome)) => Probed::First(target, outcome),
                None => Probed::FirstRoundEnded,
            },
        };
        if matches!(probed, Probed::FirstRoundEnded) {
            self.beside = None;
        }
        probed
    }
}
