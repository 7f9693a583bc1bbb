//! Runs every target at its time, with a bound on how many at once.
//!
//! There are two lanes, each with half of the bound. A target whose last probe ran into its timeout
//! is slow and takes the other lane: so hung endpoints, however many, wait for each other and never
//! delay those that answer. Programs have a third lane, since they wait for turns of their own (see
//! `exec.rs`). A target whose probe is still under way when it is due again sits that turn out.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::{io, thread};

use tokio::runtime::{Builder, Handle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use super::observed::{Observed, Sight};
use super::slot::Slot;
use super::timetable::{Due, Timetable, phase};
use super::watch::Watches;
use super::{Check, ProbeLimit, Prober};
use crate::clock::Clock;
use crate::health::{Early, FailReason, NotJudged, Seen};
use crate::model::{CheckSpec, ProbeTarget, Target, TargetId};

/// A target to probe.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its id in its configuration.
    pub id: TargetId,
    /// The check that probes it.
    pub check: Arc<Check>,
    /// The probed address or name.
    pub target: Target,
}

/// The running scheduler; dropping it ends it, and what is under way is given up.
#[derive(Debug)]
pub struct Scheduler {
    commands: mpsc::UnboundedSender<Command>,
}

/// An order to the scheduler's task.
enum Command {
    /// Probe these targets of a configuration from now on.
    Replace(u32, Vec<Job>),
    /// Probe these targets of a configuration before their turn.
    Early(u32, Vec<Early>),
}

impl Job {
    /// A job for each of a configuration's targets that is probed, in their order.
    pub fn all(checks: &[CheckSpec], targets: &[ProbeTarget]) -> Vec<Job> {
        let checks: Vec<Arc<Check>> = checks
            .iter()
            .map(|check| Arc::new(Check::from(check.clone())))
            .collect();
        let mut jobs = Vec::with_capacity(targets.len());
        for (index, target) in targets.iter().enumerate() {
            let check = &checks[target.check.index()];
            // An endpoint that reports itself is not asked.
            if !check.spec.kind.is_push() {
                jobs.push(Job {
                    id: TargetId::from_index(index),
                    check: check.clone(),
                    target: target.target.clone(),
                });
            }
        }
        jobs
    }
}

impl Scheduler {
    /// Starts probing `jobs`, the targets of configuration `generation`; outcomes go to `outcomes`,
    /// those of probes that end together at once. To be called inside a tokio runtime, which gets the
    /// probes that compute much.
    ///
    /// All others run on a thread of their own: most of a probe is the kernel's work, and waking
    /// another thread for each step of it, or for each outcome, would cost as much again.
    pub fn spawn(
        prober: Arc<Prober>,
        limit: ProbeLimit,
        generation: u32,
        jobs: Vec<Job>,
        outcomes: mpsc::Sender<Vec<Observed>>,
    ) -> io::Result<Scheduler> {
        let (commands, inbox) = mpsc::unbounded_channel();
        let (seen, ended) = mpsc::channel(BATCH);
        let mut running = Running {
            clock: prober.clock(),
            computing: Handle::current(),
            watches: Watches::new(prober.clone(), limit.watches, seen.clone()),
            prober,
            seen,
            // Slow targets have a part of the bound to themselves: a region that hangs must not
            // keep the probes of the others waiting.
            again: commands.downgrade(),
            lanes: [limit.probes - limit.probes / 2, limit.probes / 2, PROGRAMS].map(Lane::new),
            slots: Vec::new(),
            by_target: HashMap::new(),
            generation,
            timetable: Timetable::default(),
            crowded: false,
        };
        running.replace(generation, jobs);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new()
            .name("probes".to_owned())
            .spawn(move || {
                runtime.spawn(hand_on(ended, outcomes));
                runtime.block_on(running.run(inbox));
                // A lookup of the system's resolver may take as long as it likes.
                runtime.shutdown_background();
            })?;
        Ok(Scheduler { commands })
    }

    /// Probes the targets of configuration `generation` from now on. A target whose check and
    /// address are the same keeps its turn, and the probe of it that is under way.
    pub fn replace(&self, generation: u32, jobs: Vec<Job>) {
        // The receiver lives as long as this sender does, unless the runtime is shutting down.
        let _ = self.commands.send(Command::Replace(generation, jobs));
    }

    /// Probes targets of configuration `generation` before their turn. One whose probe is under way
    /// is probed again when that has ended.
    pub fn probe_early(&self, generation: u32, targets: Vec<Early>) {
        let _ = self.commands.send(Command::Early(generation, targets));
    }
}

/// The scheduler's task.
struct Running {
    clock: Clock,
    prober: Arc<Prober>,
    /// Runtime on which a TLS handshake keeps nobody waiting.
    computing: Handle,
    seen: mpsc::Sender<Observed>,
    watches: Arc<Watches>,
    /// For targets that answer, for slow ones, and for programs.
    lanes: [Lane; 3],
    slots: Vec<Arc<Slot>>,
    /// Their indexes.
    by_target: HashMap<TargetId, usize>,
    /// The configuration that they are of.
    generation: u32,
    /// For probes that end and are to be repeated at once.
    again: mpsc::WeakUnboundedSender<Command>,
    timetable: Timetable,
    /// Probes of targets that answer had to wait; said once each time it begins.
    crowded: bool,
}

/// Part of the bound, and who waits for it.
struct Lane {
    permits: Arc<Semaphore>,
    waiting: VecDeque<usize>,
}

/// The most programs that may run, or wait in line for it, at once: more than `[server]
/// exec_processes` allows.
const PROGRAMS: usize = 1024;
/// The most outcomes that are handed on at once.
const BATCH: usize = 256;

impl Running {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>) {
        loop {
            let due = self.timetable.next_due().map(|due| self.clock.instant(due));
            let [answering, slow, programs] = [0, 1, 2].map(|lane| self.lanes[lane].next_permit());
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(Command::Replace(generation, jobs)) => self.replace(generation, jobs),
                    Some(Command::Early(generation, targets)) => self.hasten(generation, &targets),
                    None => return,
                },
                () = until(due) => self.launch_due(),
                Some(permit) = answering => self.launch_waiting(0, permit),
                Some(permit) = slow => self.launch_waiting(1, permit),
                Some(permit) = programs => self.launch_waiting(2, permit),
            }
        }
    }

    fn launch_due(&mut self) {
        let now = self.clock.now();
        while let Some(Due { index, early }) = self.timetable.pop(now) {
            let slot = &self.slots[index];
            // Its last probe still waits or is under way. This turn falls out, so that a slow
            // target never has two probes at a time. What is asked for early is to see what is now,
            // and the probe under way may have begun before: it comes after it.
            if !slot.begin(early) {
                continue;
            }
            let lane = slot.lane();
            match self.lanes[lane].try_permit() {
                Some(permit) => self.launch(index, permit),
                None => {
                    self.lanes[lane].waiting.push_back(index);
                    self.say_crowded(lane);
                }
            }
        }
    }

    fn launch_waiting(&mut self, lane: usize, permit: OwnedSemaphorePermit) {
        if let Some(index) = self.lanes[lane].waiting.pop_front() {
            self.launch(index, permit);
        }
        if lane == 0 && self.lanes[0].waiting.is_empty() {
            self.crowded = false;
        }
    }

    fn launch(&self, index: usize, permit: OwnedSemaphorePermit) {
        let turn = Turn {
            slot: self.slots[index].clone(),
            clock: self.clock,
            commands: self.again.clone(),
        };
        let (prober, seen) = (self.prober.clone(), self.seen.clone());
        let watches = self.watches.clone();
        let computes = turn.slot.check.spec.kind.tls().is_some();
        let probe = async move {
            // Threads that answer queries need not wait for all the probes that are due at once.
            thread::yield_now();
            let (outcome, address) = prober.visit(&turn.slot.check, &turn.slot.target).await;
            let saw = outcome.seen;
            let slow = matches!(
                saw,
                Seen::Fail(FailReason::Timeout(_)) | Seen::NotJudged(NotJudged::Resolver(_))
            );
            turn.slot.slow.store(slow, Ordering::Relaxed);
            // Turn and permit are kept until the outcome is taken: a publisher that falls behind
            // slows the probes down instead of filling memory.
            if let Some((generation, target)) = turn.slot.address() {
                let _ = seen
                    .send(Observed {
                        generation,
                        target,
                        sight: Sight::Outcome(outcome),
                    })
                    .await;
                watches.probed(&turn.slot, saw, address).await;
            }
            drop(permit);
        };
        // The handles are of no use: a probe tells what it saw, and ends by its timeout.
        drop(if computes {
            self.computing.spawn(probe)
        } else {
            tokio::spawn(probe)
        });
    }

    /// Has targets due before their turn.
    fn hasten(&mut self, generation: u32, targets: &[Early]) {
        // Ids of other files are those of other targets.
        if generation != self.generation {
            return;
        }
        for Early { target, due } in targets {
            if let Some(index) = self.by_target.get(target) {
                self.timetable.hasten(*index, *due);
            }
        }
    }

    fn say_crowded(&mut self, lane: usize) {
        if lane == 0 && !std::mem::replace(&mut self.crowded, true) {
            tracing::warn!(
                "probes are late: as many are under way as the limit of descriptors allows"
            );
        }
    }

    fn replace(&mut self, generation: u32, jobs: Vec<Job>) {
        let now = self.clock.now();
        let old_slots = std::mem::take(&mut self.slots);
        let old_timetable = std::mem::take(&mut self.timetable);
        let waiting: Vec<usize> = self
            .lanes
            .iter_mut()
            .flat_map(|lane| std::mem::take(&mut lane.waiting))
            .collect();
        let mut old: HashMap<(&str, &Target), usize> = HashMap::with_capacity(old_slots.len());
        for (index, slot) in old_slots.iter().enumerate() {
            // The probe of a target that is gone reports to nobody; those that stay get their new
            // address below.
            slot.leave();
            old.insert((&slot.check.spec.name, &slot.target), index);
        }
        // Who waits has an index into the old slots, which means nothing in the new ones: it waits
        // for its next turn instead.
        for index in waiting {
            old_slots[index].end();
        }
        let phases = phases(&jobs);
        self.generation = generation;
        self.by_target.clear();
        self.watches.reloaded();
        for (job, phase) in jobs.into_iter().zip(phases) {
            let before = old
                .get(&(job.check.spec.name.as_str(), &job.target))
                .copied();
            let same = before.filter(|index| *old_slots[*index].check == *job.check);
            let keeps_turn = before
                .filter(|index| old_slots[*index].check.spec.interval == job.check.spec.interval);
            let next = keeps_turn.map_or(now + phase, |index| old_timetable.turn_of(index));
            let spec = &job.check.spec;
            self.timetable.push(spec.interval, next);
            self.by_target.insert(job.id, self.slots.len());
            let slot = same.map_or_else(
                || Arc::new(Slot::new(job.check, job.target)),
                |index| old_slots[index].clone(),
            );
            slot.move_to(generation, job.id);
            if let Some(keeper) = &slot.keeper {
                keeper.reloaded();
            }
            self.slots.push(slot);
        }
    }
}

/// Hands on what probes saw: by its turn after theirs, all that ended together is there.
async fn hand_on(mut ended: mpsc::Receiver<Observed>, outcomes: mpsc::Sender<Vec<Observed>>) {
    loop {
        let mut batch = Vec::new();
        if ended.recv_many(&mut batch, BATCH).await == 0 || outcomes.send(batch).await.is_err() {
            return;
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Computes how far into its interval each of `jobs` is due first.
fn phases(jobs: &[Job]) -> Vec<Duration> {
    let mut checks: HashMap<&str, (usize, usize)> = HashMap::new();
    for job in jobs {
        let order = checks.len();
        checks.entry(&job.check.spec.name).or_insert((order, 0)).1 += 1;
    }
    let mut phases = Vec::with_capacity(jobs.len());
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for job in jobs {
        let (order, count) = checks[job.check.spec.name.as_str()];
        let index = seen.entry(&job.check.spec.name).or_default();
        phases.push(phase(job.check.spec.interval, order, *index, count));
        *index += 1;
    }
    phases
}

impl Lane {
    fn new(permits: usize) -> Lane {
        Lane {
            permits: Arc::new(Semaphore::new(permits.max(1))),
            waiting: VecDeque::new(),
        }
    }

    /// A permit, unless none is left or others wait for it.
    fn try_permit(&self) -> Option<OwnedSemaphorePermit> {
        if self.waiting.is_empty() {
            self.permits.clone().try_acquire_owned().ok()
        } else {
            None
        }
    }

    /// The next permit, for those who wait; `None` at once where nobody does.
    fn next_permit(&self) -> impl Future<Output = Option<OwnedSemaphorePermit>> + use<> {
        let permits = (!self.waiting.is_empty()).then(|| self.permits.clone());
        async move {
            match permits {
                Some(permits) => permits.acquire_owned().await.ok(),
                None => None,
            }
        }
    }
}

/// A target's turn: over when dropped, however the probe ends.
struct Turn {
    slot: Arc<Slot>,
    clock: Clock,
    /// Weak: the scheduler ends although probes are under way.
    commands: mpsc::WeakUnboundedSender<Command>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.slot.end() {
            return;
        }
        if let (Some((generation, target)), Some(commands)) =
            (self.slot.address(), self.commands.upgrade())
        {
            let due = self.clock.now();
            let _ = commands.send(Command::Early(generation, vec![Early { target, due }]));
        }
    }
}
