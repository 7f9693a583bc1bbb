//! Signs of life of the control loop, so that nobody has to ask it: a loop that hangs is seen too.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::model::Moment;

/// The longest time between two turns of the loop.
pub const TURN: Duration = Duration::from_millis(200);
/// A loop that is late by so much does not follow health: the node is not ready.
const UNFIT: Duration = Duration::from_secs(10);

/// Written by the loop, and by whoever watches it; read by anyone.
#[derive(Debug, Default)]
pub struct Vitals {
    /// Why this node should not be sent queries; `None` when it is ready.
    not_ready: ArcSwap<Option<&'static str>>,
    /// When the loop last went round, in milliseconds of its clock.
    turned: AtomicU64,
    /// The number of times it was late.
    stalls: AtomicU64,
    /// How long the oldest work on files that is under way takes, in milliseconds.
    files: [AtomicU64; Work::ALL.len()],
}

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

impl Vitals {
    /// The loop goes round at `now`.
    pub fn turn(&self, now: Moment) {
        self.turned.store(millis(now.0), Ordering::Relaxed);
    }

    /// How late the loop is at `now`; zero while it goes round as it should.
    pub fn late(&self, now: Moment) -> Duration {
        let turned = Duration::from_millis(self.turned.load(Ordering::Relaxed));
        now.since(Moment(turned)).saturating_sub(TURN)
    }

    /// The loop was late again.
    pub fn count_stall(&self) {
        self.stalls.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was.
    pub fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Relaxed)
    }

    /// Publishes whether this node should be sent queries.
    pub fn set_ready(&self, not_ready: Option<&'static str>) {
        if **self.not_ready.load() != not_ready {
            self.not_ready.store(not_ready.into());
        }
    }

    /// Why this node should not be sent queries at `now`; `None` when it is ready.
    pub fn not_ready(&self, now: Moment) -> Option<String> {
        let late = self.late(now);
        if late >= UNFIT {
            let seconds = late.as_secs();
            return Some(format!(
                "the control loop hangs: for {seconds} s nothing has followed health, operators or the files"
            ));
        }
        self.not_ready.load().map(str::to_owned)
    }

    /// Says how long work on files takes so far; zero where none is under way.
    pub fn set_work(&self, work: Work, takes: Duration) {
        self.files[work as usize].store(millis(takes), Ordering::Relaxed);
    }

    /// How long it takes so far.
    pub fn work(&self, work: Work) -> Duration {
        Duration::from_millis(self.files[work as usize].load(Ordering::Relaxed))
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    #[test]
    fn a_loop_that_does_not_go_round_is_late_and_after_a_while_the_node_is_not_ready() {
        let vitals = Vitals::default();
        vitals.turn(at(5000));
        assert_eq!(vitals.late(at(5200)), Duration::ZERO, "so long it may take");
        assert_eq!(vitals.late(at(5700)), Duration::from_millis(500));
        assert_eq!(vitals.not_ready(at(15_199)), None);
        let why = vitals.not_ready(at(15_200)).unwrap();
        assert!(why.starts_with("the control loop hangs: for 10 s"), "{why}");
        vitals.turn(at(15_201));
        assert_eq!(vitals.not_ready(at(15_202)), None);
        vitals.set_ready(Some("isolated"));
        assert_eq!(vitals.not_ready(at(15_203)).as_deref(), Some("isolated"));
    }
}
