//! The loop's part in health: what probes saw, what is kept of it, and what operators take back.

use std::path::Path;

use tokio::sync::mpsc;

use super::Daemon;
use super::first_round::Beside;
use crate::commit::End;
use crate::health::Outcome;
use crate::model::TargetId;
use crate::publisher::{Event, ProbeEvent};
use crate::recovery::{self, NotResumed};
use crate::state::StateWriter;
use crate::units::UnitRecords;

impl Daemon {
    pub(super) fn observe(&mut self, generation: u32, target: TargetId, outcome: Outcome) {
        if tracing::enabled!(tracing::Level::DEBUG) && generation == self.publisher.generation() {
            let config = &self.publisher.dataset().config;
            let probed = &config.targets[target.index()];
            let check = &config.checks[probed.check.index()].name;
            let seconds = outcome.phases.total().as_secs_f64();
            tracing::debug!(
                "endpoint {} check {check}: {} after {seconds:.6} s",
                probed.target,
                outcome.seen
            );
        }
        self.handle(ProbeEvent::Outcome {
            generation,
            target,
            outcome,
        });
    }

    /// An outcome of the first round beside the answers, or its end.
    pub(super) fn observe_first(&mut self, outcome: Option<(TargetId, Outcome)>) {
        match outcome {
            // It began with the start's configuration; those of a later one are probed by its reload.
            Some((target, outcome)) => self.observe(0, target, outcome),
            None => {
                self.beside = None;
                self.handle(ProbeEvent::FirstRoundEnded);
            }
        }
    }

    /// Hands the writer the last of the history; its end comes too late for the loop.
    pub(super) fn write_last(&mut self, writer: StateWriter) -> StateWriter {
        if let Some(commit) = self.publisher.last_history(self.now()) {
            writer.write(commit, self.clock.wall());
        }
        writer
    }

    /// Writes to the state directory from now on, where it is `usable`.
    pub(super) fn start_writer(&mut self, usable: bool, units: UnitRecords) {
        let state = self.state.as_deref().filter(|_| usable);
        self.writer = state.and_then(|state| {
            state_writer(state, units, &self.persisted)
                .inspect_err(|why| {
                    tracing::warn!("the history of health is not kept until the next reload: {why}")
                })
                .ok()
        });
        self.publisher.switch_history(self.writer.is_some());
    }

    /// Takes back what is held of a service, in one region or in all; which regions that were.
    pub(super) fn resume(
        &mut self,
        service: &str,
        region: Option<&str>,
    ) -> Result<Vec<String>, NotResumed> {
        let config = self.publisher.dataset().config.clone();
        let (service, region) = recovery::resolve(&config, service, region)?;
        let held = self.publisher.held(service, region)?;
        let mut regions = Vec::with_capacity(held.len());
        for region in held {
            self.handle(Event::Resume { service, region });
            regions.push(config.region_name(region).to_owned());
        }
        Ok(regions)
    }
}

/// A writer of the state directory, which has these units; the loop hears how its writes end.
pub(super) fn state_writer(
    state: &Path,
    units: UnitRecords,
    persisted: &mpsc::UnboundedSender<End>,
) -> std::io::Result<StateWriter> {
    let persisted = persisted.clone();
    // The loop may have ended meanwhile.
    StateWriter::start(state.to_owned(), units, move |end| {
        drop(persisted.send(end))
    })
}

/// What the first round beside the answers saw next; `None` at its end.
pub(super) async fn next(beside: &mut Option<Beside>) -> Option<(TargetId, Outcome)> {
    match beside {
        Some(outcomes) => outcomes.recv().await,
        None => std::future::pending().await,
    }
}
