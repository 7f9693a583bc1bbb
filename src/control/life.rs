//! Whether this process can answer, and how its last reload went: told by the publisher's loop without waiting for anybody, and
//! asked without waiting for the loop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

/// A thread, or the loop, that has stood still for so long is not taken to come back.
const STILL: Duration = Duration::from_secs(10);

/// The signs of life of the publisher's loop and of the threads that answer.
#[derive(Debug)]
pub struct Pulse {
    began: Instant,
    /// When the loop last went round, in milliseconds since `began`.
    beat: AtomicU64,
    stopping: AtomicBool,
    /// By thread: its turns when they were last seen to change, and when that was. Only those who ask for it take the lock.
    turns: Mutex<Vec<(u64, Instant)>>,
}

impl Default for Pulse {
    fn default() -> Pulse {
        let (beat, stopping) = (AtomicU64::new(0), AtomicBool::new(false));
        Pulse {
            began: Instant::now(),
            beat,
            stopping,
            turns: Mutex::default(),
        }
    }
}

impl Pulse {
    /// The loop goes round. To be said at least every few seconds.
    pub fn beat(&self) {
        self.beat
            .store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// The process has begun to end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Why this process cannot answer, or does not keep up with what it answers; `turns` are those of the threads that
    /// answer, in their order.
    pub(super) fn trouble(&self, turns: impl Iterator<Item = u64>) -> Option<&'static str> {
        let now = Instant::now();
        let beat = self.began + Duration::from_millis(self.beat.load(Ordering::Relaxed));
        if self.stopping.load(Ordering::Relaxed) {
            Some("stopping")
        } else if now.saturating_duration_since(beat) > STILL {
            Some("the loop that judges health stands still")
        } else if self.is_any_still(turns, now) {
            Some("a thread that answers queries stands still")
        } else {
            None
        }
    }

    fn is_any_still(&self, turns: impl Iterator<Item = u64>, now: Instant) -> bool {
        let mut seen = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let mut still = false;
        for (thread, turns) in turns.enumerate() {
            match seen.get_mut(thread) {
                Some((before, since)) if *before == turns => {
                    still |= now.saturating_duration_since(*since) > STILL
                }
                Some(before) => *before = (turns, now),
                None => seen.push((turns, now)),
            }
        }
        still
    }
}

/// The outcome of the last reload.
pub type Reloads = ArcSwap<LastReload>;

/// The outcome of the last reload.
#[derive(Debug, Clone)]
pub struct LastReload {
    /// Why the files on the disk are not what is served; `None` where they are.
    pub refused: Option<Refused>,
    /// When it ended, in seconds since 1970; before the first one, the start.
    pub ended: u64,
    /// How many were refused or failed since the start.
    pub failures: u64,
}

/// Why files are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// They are broken.
    Broken,
    /// A location database is.
    Database,
    /// They remove more than `max_removed`.
    TooMuchRemoved,
    /// The reload itself failed.
    Failed,
}

impl Refused {
    /// What that means for a restart.
    pub fn as_str(self) -> &'static str {
        match self {
            Refused::Broken => {
                "the last reload was refused: a restart would not come up with these files (`meridian verify` says why)"
            }
            Refused::Database => {
                "a location database was refused: a restart would not come up with these files (`meridian verify` says why)"
            }
            Refused::TooMuchRemoved => {
                "the last reload was refused, since it removes more than max_removed: a restart would take these files"
            }
            Refused::Failed => {
                "the last reload failed, and the log says how: a restart may not come up with these files"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_still_is_found_however_often_it_is_asked() {
        let pulse = Pulse::default();
        let began = pulse.began;
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        assert!(!pulse.is_any_still([5, 7].into_iter(), at(0)));
        for second in 1..=10 {
            assert!(
                !pulse.is_any_still([5 + second, 7].into_iter(), at(second)),
                "{second}"
            );
        }
        assert!(
            pulse.is_any_still([20, 7].into_iter(), at(11)),
            "the second thread has not moved for eleven seconds"
        );
        assert!(!pulse.is_any_still([21, 8].into_iter(), at(12)));
        assert!(
            !pulse.is_any_still([90, 9].into_iter(), at(1000)),
            "nobody asked for long, and both moved"
        );
    }

    #[test]
    fn a_process_that_ends_says_so() {
        let pulse = Pulse::default();
        assert_eq!(pulse.trouble([1].into_iter()), None);
        pulse.stop();
        assert_eq!(pulse.trouble([2].into_iter()), Some("stopping"));
    }
}
