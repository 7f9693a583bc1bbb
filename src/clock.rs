//! The one place where the moments of the server come from.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::model::{Moment, WallTime};

/// The time before the machine's start that still has moments: a hundred years.
const BEFORE: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The machine's clock: monotonic, and it goes on while the machine is suspended (`CLOCK_BOOTTIME`).
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock;

impl Clock {
    /// Now.
    pub fn now(&self) -> Moment {
        // The kernel has had this clock since 2.6.39; without it nothing would ever be due.
        let since_boot =
            clock_gettime(ClockId::CLOCK_BOOTTIME).expect("every Linux has CLOCK_BOOTTIME");
        // Ages from before a restart of the machine must not fall below zero.
        Moment(BEFORE + Duration::from(since_boot))
    }

    /// Reads the wall clock, which somebody may set at any time.
    pub fn wall(&self) -> WallTime {
        WallTime::new(
            self.now(),
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        )
    }

    /// `moment` in the runtime's terms, to sleep until it; what is past is now. The runtime sleeps on while the machine is
    /// suspended, so that who sleeps long looks again in between.
    pub fn instant(&self, moment: Moment) -> Instant {
        // `since` saturates, so a moment in the past is now.
        Instant::now() + moment.since(self.now())
    }
}
