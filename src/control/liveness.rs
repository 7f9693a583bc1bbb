//! Liveness: when the control loop and the threads that answer last turned, and the conditions of
//! readiness. The loop and its watch write it; anybody reads it without asking the loop, so that one
//! that hangs is found out.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::work::millis;
use crate::metrics::Histogram;
use crate::model::Moment;
use crate::readiness::{self, Conditions, NotAnnounced, NotReady};

/// The longest time between two turns of the loop.
pub const TURN: Duration = Duration::from_millis(200);
/// A thread that has not turned for so long is not taken to come back.
const STILL: Duration = Duration::from_secs(10);

/// The signs of life of this process.
#[derive(Debug)]
pub struct Liveness {
    /// The time of the beginning.
    began: Moment,
    /// The time of the loop's last turn, in milliseconds of its clock.
    turned: AtomicU64,
    /// The number of times the loop was late.
    stalls: AtomicU64,
    /// The times that the loop's turns took.
    turns: Histogram,
    is_stopping: AtomicBool,
    conditions: ArcSwap<Conditions>,
    /// By thread: its turns when they were last seen to change, and when that was. Only those who ask
    /// take the lock.
    threads: Mutex<Vec<(u64, Instant)>>,
}

impl Liveness {
    /// Begins at `now`, in a process that is starting.
    pub fn new(now: Moment) -> Liveness {
        let starting = Conditions {
            is_starting: true,
            ..Conditions::default()
        };
        Liveness {
            began: now,
            turned: AtomicU64::new(millis(now.0)),
            stalls: AtomicU64::new(0),
            turns: Histogram::new(),
            is_stopping: AtomicBool::new(false),
            conditions: ArcSwap::from_pointee(starting),
            threads: Mutex::default(),
        }
    }

    /// The time of the beginning.
    pub fn began(&self) -> Moment {
        self.began
    }

    /// Notes that the loop turns at `now`.
    pub fn turn(&self, now: Moment) {
        // Relaxed suffices: it is one number, and nothing else is read by it.
        self.turned.store(millis(now.0), Ordering::Relaxed);
    }

    /// The lateness of the loop at `now`; zero while it turns as it should.
    pub fn late(&self, now: Moment) -> Duration {
        let turned = Duration::from_millis(self.turned.load(Ordering::Relaxed));
        now.since(Moment(turned)).saturating_sub(TURN)
    }

    /// Counts a turn of the loop, from its input to when it waited for the next; for the loop alone.
    pub fn count_turn(&self, took: Duration) {
        self.turns.record(took, 1);
    }

    /// The times that the loop's turns took.
    pub fn turns(&self) -> &Histogram {
        &self.turns
    }

    /// Counts that the loop was late again.
    pub fn count_stall(&self) {
        self.stalls.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of times the loop was late.
    pub fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Relaxed)
    }

    /// Notes that the process has begun to end.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Publishes the conditions of readiness; true where they are news.
    pub fn set_conditions(&self, conditions: Conditions) -> bool {
        // The loop calls this at every turn, and a store costs an allocation.
        let is_news = **self.conditions.load() != conditions;
        if is_news {
            self.conditions.store(conditions.into());
        }
        is_news
    }

    /// Decides whether this node should get queries at `now`.
    pub fn ready(&self, now: Moment) -> Result<(), NotReady> {
        readiness::ready(&self.conditions.load(), self.late(now))
    }

    /// Decides whether this node should announce its addresses at `now`; `turns` are those of the
    /// threads that answer, in their order.
    pub fn announced(
        &self,
        turns: impl Iterator<Item = u64>,
        now: Moment,
    ) -> Result<(), NotAnnounced> {
        readiness::announced(
            self.is_stopping.load(Ordering::Relaxed),
            self.late(now),
            self.is_any_still(turns, Instant::now()),
        )
    }

    /// True where a thread has not turned since it was seen `STILL` ago. It takes two looks to see
    /// that, so threads that nobody asked about for long are not blamed.
    fn is_any_still(&self, turns: impl Iterator<Item = u64>, now: Instant) -> bool {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let mut still = false;
        for (thread, turns) in turns.enumerate() {
            match threads.get_mut(thread) {
                Some((before, since)) if *before == turns => {
                    // Not returned at once: every thread's count has to be noted for the next look.
                    still |= now.saturating_duration_since(*since) > STILL
                }
                Some(before) => *before = (turns, now),
                None => threads.push((turns, now)),
            }
        }
        still
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    #[test]
    fn a_loop_that_does_not_turn_is_late_and_after_a_while_the_node_is_not_ready() {
        let liveness = Liveness::new(at(0));
        assert_eq!(liveness.ready(at(0)), Err(NotReady::Starting));
        assert!(liveness.set_conditions(Conditions::default()));
        liveness.turn(at(5000));
        assert_eq!(
            liveness.late(at(5200)),
            Duration::ZERO,
            "so long it may take"
        );
        assert_eq!(liveness.late(at(5700)), Duration::from_millis(500));
        assert_eq!(liveness.ready(at(15_199)), Ok(()));
        let why = liveness.ready(at(15_200)).unwrap_err().to_string();
        assert!(why.starts_with("control loop stalled for 10 s"), "{why}");
        liveness.turn(at(15_201));
        assert_eq!(liveness.ready(at(15_202)), Ok(()));
        let isolated = Conditions {
            is_isolated: true,
            ..Conditions::default()
        };
        assert!(liveness.set_conditions(isolated) && !liveness.set_conditions(isolated));
        assert_eq!(liveness.ready(at(15_203)), Err(NotReady::Isolated));
    }

    #[test]
    fn a_thread_that_stands_still_is_found_however_often_anybody_asks() {
        let (liveness, began) = (Liveness::new(at(0)), Instant::now());
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        assert!(!liveness.is_any_still([5, 7].into_iter(), at(0)));
        for second in 1..=10 {
            assert!(
                !liveness.is_any_still([5 + second, 7].into_iter(), at(second)),
                "{second}"
            );
        }
        assert!(
            liveness.is_any_still([20, 7].into_iter(), at(11)),
            "the second thread has not moved for eleven seconds"
        );
        assert!(!liveness.is_any_still([21, 8].into_iter(), at(12)));
        assert!(
            !liveness.is_any_still([90, 9].into_iter(), at(1000)),
            "nobody asked for long, and both moved"
        );
    }

    #[test]
    fn a_process_that_ends_says_so() {
        let liveness = Liveness::new(at(0));
        assert_eq!(liveness.announced([1].into_iter(), at(1)), Ok(()));
        liveness.stop();
        assert_eq!(
            liveness.announced([2].into_iter(), at(2)),
            Err(NotAnnounced::Stopping)
        );
    }
}
