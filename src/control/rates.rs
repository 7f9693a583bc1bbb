//! Rates of requests: each caller has its own, in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// The most callers that are told apart. Beyond, those that ask least are forgotten first.
const CALLERS: usize = 4096;

/// The rates at which callers ask: each may ask so often in a second, and twice as often at once.
#[derive(Debug, Clone)]
pub(super) struct Rates<K> {
    /// Requests a second.
    rate: f64,
    /// Requests at once.
    burst: f64,
    callers: HashMap<K, Bucket>,
}

/// The requests that a caller has left, at a moment.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl<K: Eq + Hash + Clone> Rates<K> {
    /// Rates of at most `rate` requests a second, and `burst` at once; both above 0.
    pub(super) fn new(rate: f64, burst: f64) -> Rates<K> {
        Rates {
            rate,
            burst,
            callers: HashMap::new(),
        }
    }

    /// Changes the limits; what callers have left stays, up to the new limit.
    pub(super) fn set(&mut self, rate: f64, burst: f64) {
        (self.rate, self.burst) = (rate, burst);
    }

    /// Counts a request of a caller.
    ///
    /// # Errors
    /// The time until it may ask again, when it asks too often.
    pub(super) fn ask(&mut self, caller: &K, now: Instant) -> Result<(), Duration> {
        let left = self.left(caller, now);
        if left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - left) / self.rate));
        }
        if !self.callers.contains_key(caller) && self.callers.len() >= CALLERS {
            self.forget(now);
        }
        let bucket = Bucket {
            left: left - 1.0,
            at: now,
        };
        self.callers.insert(caller.clone(), bucket);
        Ok(())
    }

    /// The requests that a caller has left.
    fn left(&self, caller: &K, now: Instant) -> f64 {
        match self.callers.get(caller) {
            Some(bucket) => self.refilled(bucket, now),
            None => self.burst,
        }
    }

    fn refilled(&self, bucket: &Bucket, now: Instant) -> f64 {
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.left + since * self.rate).min(self.burst)
    }

    /// Makes room: forgets half of the callers, those that ask least. A caller that is forgotten has
    /// its whole burst again, so that the ones who ask most are never among them.
    fn forget(&mut self, now: Instant) {
        let mut left: Vec<f64> = self
            .callers
            .values()
            .map(|bucket| self.refilled(bucket, now))
            .collect();
        let middle = left.len() / 2;
        let (_, median, _) = left.select_nth_unstable_by(middle, f64::total_cmp);
        let (median, most) = (*median, self.callers.len() - middle);
        let (rate, burst, mut gone) = (self.rate, self.burst, 0);
        self.callers.retain(|_, bucket| {
            let since = now.saturating_duration_since(bucket.at).as_secs_f64();
            let stays = (bucket.left + since * rate).min(burst) < median || gone == most;
            gone += usize::from(!stays);
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_caller_has_a_burst_and_then_its_rate() {
        let (mut rates, start) = (Rates::new(2.0, 4.0), Instant::now());
        for _ in 0..4 {
            assert_eq!(rates.ask(&"a", start), Ok(()));
        }
        assert_eq!(rates.ask(&"a", start), Err(Duration::from_millis(500)));
        assert_eq!(rates.ask(&"b", start), Ok(()));
        let later = start + Duration::from_millis(500);
        assert_eq!(rates.ask(&"a", later), Ok(()));
        assert!(rates.ask(&"a", later).is_err());
        let much_later = start + Duration::from_secs(3600);
        for _ in 0..4 {
            assert_eq!(rates.ask(&"a", much_later), Ok(()));
        }
        assert!(rates.ask(&"a", much_later).is_err());
    }

    #[test]
    fn a_flood_of_callers_takes_no_more_room_and_frees_nobody_who_asks_much() {
        let (mut rates, now) = (Rates::new(0.001, 3.0), Instant::now());
        let busy = u32::MAX;
        while rates.ask(&busy, now).is_ok() {}
        for caller in 0..100_000 {
            assert_eq!(rates.ask(&caller, now), Ok(()));
            assert!(rates.callers.len() <= CALLERS);
        }
        assert!(rates.ask(&busy, now).is_err());
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_burst_and_rate(
            waits in prop::collection::vec(0u64..400, 1..300),
            rate in 1.0f64..50.0,
        ) {
            let (mut rates, start) = (Rates::new(rate, 2.0 * rate), Instant::now());
            let (mut now, mut passed) = (start, 0.0);
            for wait in waits {
                now += Duration::from_millis(wait);
                match rates.ask(&(), now) {
                    Ok(()) => passed += 1.0,
                    Err(wait) => {
                        let later = now + wait + Duration::from_millis(1);
                        prop_assert!(rates.clone().ask(&(), later).is_ok());
                    }
                }
                let most = 2.0 * rate + (now - start).as_secs_f64() * rate + 1.0;
                prop_assert!(passed <= most, "{passed} of {most}");
            }
        }
    }
}
