//! Counters of answers by id: one for each pool of each service, for every worker.

use std::sync::Arc;

use super::Counter;
use crate::prefetch;

/// The number of counters in a chunk: 4 KiB, so that counters that grow are added to and never
/// moved.
const CHUNK: usize = 512;

/// Some of one worker's counters. On cache lines of its own: no other worker writes near it.
#[derive(Debug)]
#[repr(align(128))]
struct Chunk([Counter; CHUNK]);

/// The id of a counter that does not exist: nothing is counted.
pub const UNCOUNTED: u32 = u32::MAX;

/// One worker's counters by id. A clone counts in the same ones; one that has grown since has them
/// too.
#[derive(Debug, Clone, Default)]
pub struct PoolCounters(Arc<[Arc<Chunk>]>);

impl PoolCounters {
    /// Adds 1 to counter `number`, if it is there; only for the worker that owns them.
    #[inline]
    pub fn count(&self, number: u32) {
        if let Some(chunk) = self.0.get(number as usize / CHUNK) {
            chunk.0[number as usize % CHUNK].increment();
        }
    }

    /// Prefetches counter `number`: among many, it is in no cache.
    #[inline]
    pub fn fetch(&self, number: u32) {
        if let Some(chunk) = self.0.get(number as usize / CHUNK) {
            prefetch::fetch(&chunk.0, number as usize % CHUNK);
        }
    }

    /// The count of `number` so far, from any thread.
    pub fn get(&self, number: u32) -> u64 {
        self.0
            .get(number as usize / CHUNK)
            .map_or(0, |chunk| chunk.0[number as usize % CHUNK].get())
    }

    /// The same counters, at least `count` of them; the new ones are at 0.
    pub fn grown(&self, count: usize) -> PoolCounters {
        let new = (self.0.len()..count.div_ceil(CHUNK))
            .map(|_| Arc::new(Chunk([const { Counter::new() }; CHUNK])));
        PoolCounters(self.0.iter().cloned().chain(new).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_grows_without_losing_a_count() {
        let small = PoolCounters::default().grown(1);
        small.count(0);
        small.count(UNCOUNTED);
        let large = small.grown(CHUNK + 1);
        small.count(0);
        large.count(CHUNK as u32);
        assert_eq!(
            (
                large.get(0),
                large.get(CHUNK as u32),
                small.get(CHUNK as u32)
            ),
            (2, 1, 0)
        );
        assert_eq!(large.get(UNCOUNTED), 0);
    }

    #[test]
    fn no_two_workers_write_one_cache_line() {
        let pool_counters = [
            PoolCounters::default().grown(1),
            PoolCounters::default().grown(1),
        ];
        assert!(
            pool_counters
                .iter()
                .all(|counters| std::ptr::from_ref(&counters.0[0].0).addr() % 128 == 0)
        );
        assert_eq!(size_of::<Chunk>() % 128, 0);
    }
}
