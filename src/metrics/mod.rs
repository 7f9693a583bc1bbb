//! Counters of the hot path: each has one writer and any number of readers.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only goes up, written by one thread and read by any.
///
/// Having one writer, it needs no locked instruction: a load and a store cost what a plain variable
/// costs. A second writer would lose counts, but nothing worse.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`; only the owner calls it.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
