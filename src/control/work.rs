//! Work on files, which the loop leaves to other threads, and how long it takes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Work on files, which the loop leaves to other threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A look at the location databases.
    Databases,
    /// A reload.
    Reload,
    /// The copies of the last good files.
    LastGood,
    /// A write to the state directory.
    State,
}

impl Work {
    /// All of it.
    pub const ALL: [Work; 4] = [Work::Databases, Work::Reload, Work::LastGood, Work::State];

    /// Its name in the metrics.
    pub fn as_label(self) -> &'static str {
        match self {
            Work::Databases => "databases",
            Work::Reload => "reload",
            Work::LastGood => "last_good",
            Work::State => "state",
        }
    }
}

/// The time that each work under way takes so far, in milliseconds: written by the loop, read by
/// anyone.
#[derive(Debug, Default)]
pub struct WorkTimes([AtomicU64; Work::ALL.len()]);

impl WorkTimes {
    /// Notes how long work takes so far; zero where none is under way.
    pub fn set(&self, work: Work, takes: Duration) {
        // The cast is the index of a variant, of which there are as many as counters.
        self.0[work as usize].store(millis(takes), Ordering::Relaxed);
    }

    /// The time that work takes so far.
    pub fn get(&self, work: Work) -> Duration {
        Duration::from_millis(self.0[work as usize].load(Ordering::Relaxed))
    }
}

/// Whole milliseconds; more than 64 bits hold are as good as for ever.
pub(super) fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}
