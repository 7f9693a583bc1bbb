//! Counters that cost the hot path a load and a store.
//!
//! Every worker owns its counters and is their only writer; a scrape reads those of all workers
//! and sums them. So there is no locked instruction and no cache line that two cores write, as
//! long as counters of different writers lie on different lines: groups of them are declared with
//! `#[repr(align(128))]` (two 64-byte lines, since processors fetch lines in pairs).

mod histogram;
mod pools;

use std::sync::atomic::{AtomicU64, Ordering};

pub use histogram::Histogram;
pub use pools::{PoolCounters, UNCOUNTED};

/// A count that one thread writes and any thread reads.
///
/// With two writers it would lose counts (it would do no other harm): [`Counter::add`] is a load
/// and a store, not a read-modify-write.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at 0.
    pub const fn new() -> Counter {
        Counter(AtomicU64::new(0))
    }

    /// Adds `n`; only for the thread that owns the counter. Wraps at 2^64.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    /// Adds 1; only for the thread that owns the counter.
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Reads the count so far, from any thread.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test of what two threads see")]
    fn a_reader_sees_what_the_one_writer_counted() {
        let counter = Counter::new();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..1000).for_each(|_| counter.increment()));
        });
        counter.add(u64::MAX - 1000);
        assert_eq!(counter.get(), u64::MAX);
        counter.add(2);
        assert_eq!(counter.get(), 1);
    }
}
