//! State of one thread that answers: its randomness and its counters.

use std::sync::Arc;

use super::{DropReason, Response, Transport};
use crate::dns::Rcode;
use crate::metrics::Counter;
use crate::model::WallTime;
use crate::steer::Rung;

/// One thread's own state; never shared.
#[derive(Debug)]
pub struct Worker {
    /// Draws by weight.
    pub rng: fastrand::Rng,
    /// Its place among the workers, by which it finds its counters in a snapshot; past the last, it has none.
    pub number: usize,
    /// A recent reading of the wall clock; `why` shows it, and nothing is decided by it.
    pub wall: WallTime,
    /// The worker's counters; others read them, and it alone writes them.
    pub counters: Arc<Counters>,
}

impl Worker {
    /// A worker whose draws start at `seed`.
    pub fn new(seed: u64) -> Worker {
        Worker {
            rng: fastrand::Rng::with_seed(seed),
            number: usize::MAX,
            wall: WallTime::default(),
            counters: Arc::default(),
        }
    }

    /// The same, with the counters of worker `number`.
    pub fn numbered(seed: u64, number: usize) -> Worker {
        Worker {
            number,
            ..Worker::new(seed)
        }
    }
}

/// The counters of one worker, on cache lines of their own: no other worker writes near them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    /// Messages, by [`Transport::index`].
    pub queries: [Counter; Transport::ALL.len()],
    /// Answers by response code 0 … 15, and BADVERS.
    pub rcodes: [Counter; 17],
    /// Messages without an answer, by [`DropReason`].
    pub dropped: [Counter; DropReason::ALL.len()],
    /// Answers with TC set.
    pub truncated: Counter,
    /// Answers of services, by the rung they came from.
    pub rungs: [Counter; Rung::ALL.len()],
    /// Queries that ended in SERVFAIL because the program failed at them.
    pub panics: Counter,
}

impl Counters {
    pub(super) fn count_query(&self, transport: Transport) {
        self.queries[transport.index()].add(1);
    }

    pub(super) fn count_rcode(&self, rcode: Rcode) {
        self.rcodes[usize::from(rcode.0).min(16)].add(1);
    }

    pub(super) fn count_drop(&self, reason: DropReason) -> Response {
        self.dropped[reason as usize].add(1);
        Response::Drop(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_workers_write_one_cache_line() {
        let workers = [Worker::new(1), Worker::new(2)];
        assert!(
            workers
                .iter()
                .all(|worker| std::ptr::from_ref(&*worker.counters).addr() % 128 == 0)
        );
        assert_eq!(size_of::<Counters>() % 128, 0);
    }
}
