//! The loop's timers.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

use crate::clock::Clock;
use crate::control::TURN;
use crate::model::Moment;

/// The pause between two looks at the wall clock, the work on files and the location databases.
const SECOND: Duration = Duration::from_secs(1);
/// The pause between two looks whether every thread has left a last owner, while a fence waits for that.
const FENCE: Duration = Duration::from_millis(20);

/// The loop's timers.
pub(super) struct Timers {
    clock: Clock,
    turn: Interval,
    second: Interval,
    fence: Interval,
}

/// A timer that rings.
#[derive(Debug, Clone, Copy)]
pub(super) enum Timer {
    /// The publisher wants to be called.
    Deadline,
    /// A second is over.
    Second,
    /// A fence waits for threads to leave a snapshot.
    Fence,
    /// The loop is to turn, so that others see it alive.
    Turn,
}

impl Timers {
    /// Starts them.
    pub(super) fn new(clock: Clock) -> Timers {
        Timers {
            clock,
            // Twice as often as needed: one delayed wake-up does not make the loop late.
            turn: interval(TURN / 2),
            second: interval(SECOND),
            fence: interval(FENCE),
        }
    }

    /// The next timer that rings; that of fences only with `fences`.
    pub(super) async fn next(&mut self, deadline: Option<Moment>, fences: bool) -> Timer {
        let deadline = deadline.map(|at| self.clock.instant(at));
        tokio::select! {
            () = sleep_until(deadline) => Timer::Deadline,
            _ = self.second.tick() => Timer::Second,
            // Fifty wake-ups in a second are worth it only while a unit waits without an owner.
            _ = self.fence.tick(), if fences => Timer::Fence,
            _ = self.turn.tick() => Timer::Turn,
        }
    }
}

/// An interval that does not hurry after a stall.
fn interval(pause: Duration) -> Interval {
    let mut interval = tokio::time::interval(pause);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
