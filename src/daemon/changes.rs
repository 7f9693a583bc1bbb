//! The log of changes: rendered, and shown to observers, on a thread of its own.
//!
//! ```text
//! the loop ─ changes as data ─► bounded queue ─► the thread "changes": sentences ─┬► the log's queue
//!                                                                                 └► Events
//! ```
//! The loop writes no sentence and waits for no observer. A queue that is full drops changes, and
//! they are counted with the log lines that are dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use std::{io, thread};

use super::Observer;
use crate::changes::{Change, lines};
use crate::clock::Clock;
use crate::control::{Events, Tallies};
use crate::dataset::Snapshot;
use crate::log;
use crate::model::{Moment, WallTime};
use crate::publisher::Effect;

/// The most batches that wait.
const BATCHES: usize = 4096;
/// The most changes that wait: several failures of every region under ten thousand services.
const CHANGES: usize = 1 << 18;

/// The loop's end of the queue.
#[derive(Debug)]
pub(super) struct ChangeLog {
    batches: SyncSender<Batch>,
    waiting: Arc<AtomicUsize>,
    /// Nothing is ever sent on it: it closes when the thread ends.
    end: Receiver<()>,
    is_observed: bool,
    tallies: Arc<Tallies>,
    events: Arc<Events>,
}

/// Changes that happened together.
#[derive(Debug)]
struct Batch {
    changes: Vec<Change>,
    /// The snapshot that they led to, where there is one and somebody observes.
    snapshot: Option<Arc<Snapshot>>,
    at: Moment,
    wall: WallTime,
}

impl ChangeLog {
    /// Starts the thread; `observer` hears there of each publication.
    pub(super) fn start(mut observer: Option<Observer>) -> io::Result<ChangeLog> {
        let (tallies, events) = (Arc::<Tallies>::default(), Arc::<Events>::default());
        let (counts, tells) = (tallies.clone(), events.clone());
        let (batches, inbox) = sync_channel::<Batch>(BATCHES);
        let (alive, end) = sync_channel::<()>(0);
        let waiting = Arc::new(AtomicUsize::new(0));
        let taken = waiting.clone();
        let is_observed = observer.is_some();
        thread::Builder::new()
            .name("changes".to_owned())
            .spawn(move || {
                let _alive = alive;
                for batch in inbox {
                    batch.tell(&tells);
                    for change in &batch.changes {
                        counts.count_change(&change.event);
                    }
                    if let (Some(observer), Some(snapshot)) = (&mut observer, &batch.snapshot) {
                        observer(snapshot, &batch.changes);
                    }
                    // Only now: a batch that is being rendered still takes memory.
                    taken.fetch_sub(batch.changes.len(), Ordering::Relaxed);
                }
            })?;
        Ok(ChangeLog {
            batches,
            waiting,
            end,
            is_observed,
            tallies,
            events,
        })
    }

    /// The counts of the changes, and of what else the process does.
    pub(super) fn tallies(&self) -> Arc<Tallies> {
        self.tallies.clone()
    }

    /// The changes, for those who follow them.
    pub(super) fn events(&self) -> Arc<Events> {
        self.events.clone()
    }

    /// Hands over changes, their times as `wall` reads them, and the snapshot that they led to;
    /// returns at once.
    pub(super) fn send(
        &self,
        changes: Vec<Change>,
        snapshot: Option<&Arc<Snapshot>>,
        wall: WallTime,
    ) {
        // Somebody who only logs is no reason to hold a snapshot: a fence waits until it is left.
        let snapshot = snapshot.filter(|_| self.is_observed).cloned();
        if changes.is_empty() && snapshot.is_none() {
            return;
        }
        let count = changes.len();
        // Both bounds are needed: a batch may have one change or a hundred thousand.
        let fits = self.waiting.fetch_add(count, Ordering::Relaxed) + count <= CHANGES;
        let batch = Batch {
            changes,
            snapshot,
            // Read here: the thread may come to them later.
            at: Clock.now(),
            wall,
        };
        if !fits || self.batches.try_send(batch).is_err() {
            self.waiting.fetch_sub(count, Ordering::Relaxed);
            log::count_dropped(count);
        }
    }

    /// Hands over the changes among effects of which nothing else is done.
    pub(super) fn send_effects(&self, effects: Vec<Effect>, wall: WallTime) {
        let mut changes = Vec::new();
        for effect in effects {
            if let Effect::Changed(change) = effect {
                changes.push(change);
            }
        }
        self.send(changes, None, wall);
    }

    /// Waits until everything is rendered, but not longer than `patience`.
    pub(super) fn finish(self, patience: Duration) {
        drop(self.batches);
        let _ = self.end.recv_timeout(patience);
    }
}

impl Batch {
    /// Tells those who follow the events, and the log.
    fn tell(&self, events: &Events) {
        let mut sentences = Vec::with_capacity(self.changes.len());
        for change in &self.changes {
            sentences.push(change.sentence(self.wall).to_string());
        }
        events.record(&self.changes, &sentences, self.at, self.wall);
        for line in lines(&self.changes, &sentences) {
            log::change(line.is_warning, &line.sentence, &line.keys);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::changes::{Event, NodeChange};

    fn isolated(number: u64) -> Change {
        let event = Event::Node(NodeChange::Isolated);
        Change { number, event }
    }

    fn snapshot() -> Arc<Snapshot> {
        let dataset = crate::loader::build(
            &std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("meridian.toml"),
        );
        let dataset = dataset.dataset.expect("the examples are good");
        crate::publisher::Publisher::new(Arc::new(dataset)).snapshot()
    }

    #[test]
    fn an_observer_that_hangs_delays_nobody_and_what_is_dropped_is_counted() {
        let (go, gate) = channel::<()>();
        let (seen, observed) = channel();
        let observer: Observer = Box::new(move |_, changes| {
            let _ = gate.recv();
            let _ = seen.send(changes.len());
        });
        let log = ChangeLog::start(Some(observer)).unwrap();
        let (snapshot, before) = (snapshot(), log::dropped());
        let many = u64::try_from(BATCHES).unwrap() + 10;
        for number in 0..many {
            log.send(vec![isolated(number)], Some(&snapshot), WallTime::default());
        }
        // The thread holds one batch, and the queue as many as it may.
        let dropped = log::dropped() - before;
        assert!((9..=10).contains(&dropped), "{dropped}");
        drop(go);
        log.finish(Duration::from_secs(60));
        assert_eq!(
            observed.iter().sum::<usize>(),
            BATCHES + 10 - dropped as usize
        );
    }
}
