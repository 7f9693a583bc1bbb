//! Publication: the snapshot that queries are answered from, the read model beside it, and the log of
//! what changed. Queries come first, then readers, then the log.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::changes::ChangeLog;
use super::retired::Retired;
use crate::allocator;
use crate::changes::Change;
use crate::control::{Feed, ReadModel};
use crate::dataset::{Published, Snapshot};
use crate::model::{Moment, WallTime};
use crate::publisher::{Publisher, View};

/// The number of targets with news that readers are told at once, lest copying more takes the loop long.
const VIEW_CHANGES: usize = 512;
/// The pause between two looks of nobody in particular at the read model.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// The outlets of the publisher.
pub(super) struct Publication {
    published: Arc<Published>,
    /// The number of the publication in `published`.
    number: u64,
    retired: Retired,
    /// Tells readers what changed.
    feed: Feed,
    /// Renders changes for the log, and tells the observer of publications.
    log: ChangeLog,
}

impl Publication {
    /// Begins with the snapshot in `published`, the publisher's own; readers begin with its state.
    pub(super) fn start(
        published: Arc<Published>,
        publisher: &mut Publisher,
        log: ChangeLog,
        now: Moment,
    ) -> (Publication, ReadModel) {
        let view = View::first(publisher.view_update(now));
        let (feed, state) = ReadModel::new(view.expect("a first update tells everything"));
        tokio::spawn(read_regularly(state.clone()));
        let publication = Publication {
            published,
            number: publisher.publication(),
            retired: Retired::default(),
            feed,
            log,
        };
        (publication, state)
    }

    /// The snapshot in force.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.published.load_full()
    }

    /// Puts a snapshot in force: threads that answer take it before their next batch.
    pub(super) fn publish(&mut self, snapshot: &Arc<Snapshot>, number: u64) {
        let replaced = self.published.swap(snapshot.clone());
        let before = std::mem::replace(&mut self.number, number);
        // Kept with its number: a fence asks which publication the slowest thread still answers
        // from.
        self.retired.push(before, replaced);
    }

    /// Tells readers everything that changed.
    pub(super) fn tell_readers(&self, publisher: &mut Publisher, now: Moment) {
        self.feed.send(publisher.view_update(now));
    }

    /// Tells readers what changed once that is a good deal: a second's worth of outcomes of tens of
    /// thousands of targets would take the loop long, and bit by bit it does not.
    pub(super) fn tell_readers_much(&self, publisher: &mut Publisher, now: Moment) {
        if publisher.view_changes() >= VIEW_CHANGES {
            self.tell_readers(publisher, now);
        }
    }

    /// Hands changes to the log, and the snapshot that they led to.
    pub(super) fn log(
        &self,
        changes: Vec<Change>,
        snapshot: Option<&Arc<Snapshot>>,
        wall: WallTime,
    ) {
        self.log.send(changes, snapshot, wall);
    }

    /// Frees the replaced snapshots that every thread has left, and gives a replaced dataset's memory
    /// back.
    pub(super) fn free_retired(&mut self) {
        let freed = self.retired.free(&self.published.load().dataset);
        if !freed.is_empty() {
            // A dataset of a million names takes many milliseconds to free.
            tokio::task::spawn_blocking(move || {
                drop(freed);
                allocator::give_back();
            });
        }
    }

    /// The publication that every thread has come to: all have left the snapshots before it.
    pub(super) fn seen_by_all(&mut self) -> u64 {
        self.free_retired();
        self.retired.oldest().unwrap_or(self.number)
    }

    /// Waits until everything is logged, but not longer than `patience`.
    pub(super) fn finish(self, patience: Duration) {
        self.log.finish(patience);
    }
}

/// Takes in what the loop tells where nobody asks: it waits in memory until then.
async fn read_regularly(state: ReadModel) {
    let mut pause = tokio::time::interval(READ_PAUSE);
    // A backlog of reads gains nothing: one read takes everything that waits.
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pause.tick().await;
        let state = state.clone();
        let _ = tokio::task::spawn_blocking(move || drop(state.read())).await;
    }
}
