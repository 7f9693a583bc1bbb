//! The notices that wait for one destination: bounded, and the oldest go first.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::incident::Notice;

/// The notices that wait at most.
pub(super) const ROOM: usize = 1000;

/// A queue of notices.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    notices: VecDeque<Notice>,
    /// Those that were dropped since the last message that was taken.
    lost: u64,
}

impl Queue {
    /// Appends a notice; where there is no room, the oldest one is dropped: the state of things now
    /// is worth more to an operator. Returns the number of those that were dropped.
    pub(super) fn push(&self, notice: Notice) -> u64 {
        let mut waiting = self.lock();
        let mut dropped = 0;
        while waiting.notices.len() >= ROOM {
            waiting.notices.pop_front();
            dropped += 1;
        }
        waiting.notices.push_back(notice);
        waiting.lost += dropped;
        drop(waiting);
        self.news.notify_one();
        dropped
    }

    /// Notes that so many notices are lost.
    pub(super) fn lose(&self, count: u64) {
        self.lock().lost += count;
    }

    /// Waits until there is a notice.
    pub(super) async fn wait(&self) {
        while self.len() == 0 {
            self.news.notified().await;
        }
    }

    /// The number of notices that wait.
    pub(super) fn len(&self) -> usize {
        self.lock().notices.len()
    }

    /// The first notices, up to `most`, and how many are lost before them; both leave the queue.
    pub(super) fn take(&self, most: usize) -> (Vec<Notice>, u64) {
        let mut waiting = self.lock();
        let count = waiting.notices.len().min(most);
        let notices = waiting.notices.drain(..count).collect();
        (notices, std::mem::take(&mut waiting.lost))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
