//! Time as the state machines see it: an argument, never a clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, UNIX_EPOCH};

/// A point in time, as the time since an arbitrary start.
///
/// Monotonic, and comparable only within the process (or test) that made it. The server's clock
/// starts at the Unix time of its start, so that what lies before the start has a moment too, and
/// each can be shown as a time of day: `Display` writes RFC 3339, UTC, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub Duration);

impl Moment {
    /// The time from `earlier` to this; zero when `earlier` is later.
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, time: Duration) -> Moment {
        Moment(self.0.saturating_add(time))
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;

    fn sub(self, time: Duration) -> Moment {
        Moment(self.0.saturating_sub(time))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Year 9999 is as far as the format goes.
        let seconds = Duration::from_secs(self.0.as_secs().min(253_402_300_799));
        humantime::format_rfc3339_seconds(UNIX_EPOCH + seconds).fmt(f)
    }
}
