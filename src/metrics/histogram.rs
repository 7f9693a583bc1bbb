//! A distribution of times that one thread writes.

use std::time::Duration;

use super::Counter;

/// Counts of times by their length, in buckets of which each is twice as wide as the one before.
///
/// Like [`Counter`], it has one writer, and is read by anyone.
#[derive(Debug)]
pub struct Histogram {
    /// Up to 1024 ns, 2048 ns, and so on; the last has no end.
    buckets: [Counter; Histogram::BUCKETS],
    /// All times together, in nanoseconds.
    nanos: Counter,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::new()
    }
}

impl Histogram {
    /// The number of buckets.
    pub const BUCKETS: usize = 18;
    /// The bits of a time of the first bucket.
    const FIRST: u32 = 10;

    /// A histogram without any time.
    pub const fn new() -> Histogram {
        Histogram {
            buckets: [const { Counter::new() }; Histogram::BUCKETS],
            nanos: Counter::new(),
        }
    }

    /// Counts `count` times of length `time`; only for the thread that owns the histogram.
    #[inline]
    pub fn record(&self, time: Duration, count: u64) {
        // 64 bits of nanoseconds are 584 years.
        let nanos = time.as_nanos() as u64;
        let bits = u64::BITS - nanos.saturating_sub(1).leading_zeros();
        let bucket = bits.saturating_sub(Histogram::FIRST) as usize;
        self.buckets[bucket.min(Histogram::BUCKETS - 1)].add(count);
        self.nanos.add(nanos.wrapping_mul(count));
    }

    /// The longest time of the bucket at `index`; none for the last one.
    pub fn most(index: usize) -> Option<Duration> {
        let is_last = index + 1 >= Histogram::BUCKETS;
        (!is_last).then(|| Duration::from_nanos(1 << (Histogram::FIRST as usize + index)))
    }

    /// The counts by bucket.
    pub fn counts(&self) -> [u64; Histogram::BUCKETS] {
        self.buckets.each_ref().map(Counter::get)
    }

    /// All times together, in nanoseconds.
    pub fn nanos(&self) -> u64 {
        self.nanos.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::new();
        let cases = [0, 1, 1024, 1025, 2048, 1_000_000, u64::MAX / 4];
        for nanos in cases {
            let time = Duration::from_nanos(nanos);
            let before = histogram.counts();
            histogram.record(time, 3);
            let after = histogram.counts();
            let bucket = (0..Histogram::BUCKETS).find(|index| after[*index] != before[*index]);
            let bucket = bucket.unwrap();
            assert_eq!(after[bucket], before[bucket] + 3);
            assert!(
                Histogram::most(bucket).is_none_or(|most| time <= most),
                "{nanos}"
            );
            assert!(
                bucket == 0 || time > Histogram::most(bucket - 1).unwrap(),
                "{nanos}"
            );
        }
        assert_eq!(Histogram::most(0), Some(Duration::from_nanos(1024)));
        assert_eq!(Histogram::most(Histogram::BUCKETS - 1), None);
    }
}
