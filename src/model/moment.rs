//! Time as the state machines see it: an argument, never a clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point in time, as the time since an arbitrary start.
///
/// Monotonic, and comparable only within the process (or test) that made it: nothing that happens to the wall clock moves it, and a
/// suspended machine's time counts. A time of day is had from it through a [`WallTime`], when it is written or shown.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
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

/// The wall clock's reading of moments, as it stands when it is made: "this [`Moment`] is this time of day".
///
/// Made anew whenever something is written or shown, since the wall clock may be set at any time. The default takes moments for Unix
/// times, which is what tests and files that no server runs with want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WallTime {
    /// The Unix time of the moment zero, in nanoseconds.
    zero: i64,
}

impl WallTime {
    /// The reading at which `moment` is the Unix time `unix`.
    pub fn new(moment: Moment, unix: Duration) -> WallTime {
        WallTime {
            zero: clamped(nanos(unix) - nanos(moment.0)),
        }
    }

    /// The same as one number, to be shared between threads.
    pub fn to_nanos(self) -> i64 {
        self.zero
    }

    /// The reading of which [`WallTime::to_nanos`] is `nanos`.
    pub fn from_nanos(nanos: i64) -> WallTime {
        WallTime { zero: nanos }
    }

    /// Returns how far the wall clock was set, ahead or back, from this reading to `later`.
    pub fn step_to(self, later: WallTime) -> Duration {
        Duration::from_nanos(later.zero.abs_diff(self.zero))
    }

    /// The Unix time of `moment`, up to the end of the year 9999.
    pub fn unix(self, moment: Moment) -> Duration {
        // RFC 3339 goes as far.
        const LAST: Duration = Duration::from_secs(253_402_300_799);
        duration(i128::from(self.zero) + nanos(moment.0)).min(LAST)
    }

    /// The Unix time of `moment` in seconds, as metrics have it.
    pub fn unix_seconds(self, moment: Moment) -> f64 {
        self.unix(moment).as_secs_f64()
    }

    /// The moment of a Unix time; the moment zero for what is before it.
    pub fn moment(self, unix: Duration) -> Moment {
        Moment(duration(nanos(unix) - i128::from(self.zero)))
    }

    /// `moment` as RFC 3339, UTC, to the second.
    pub fn show(self, moment: Moment) -> impl fmt::Display {
        humantime::format_rfc3339_seconds(UNIX_EPOCH + self.unix(moment))
    }
}

fn nanos(time: Duration) -> i128 {
    time.as_nanos().try_into().unwrap_or(i128::MAX / 4)
}

fn clamped(nanos: i128) -> i64 {
    let nearest = if nanos < 0 { i64::MIN } else { i64::MAX };
    i64::try_from(nanos).unwrap_or(nearest)
}

/// Zero for what is negative.
fn duration(nanos: i128) -> Duration {
    const SECOND: i128 = 1_000_000_000;
    let nanos = nanos.max(0);
    Duration::new(
        u64::try_from(nanos / SECOND).unwrap_or(u64::MAX),
        // Less than a second, by the remainder.
        (nanos % SECOND) as u32,
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_moment_is_shown_by_the_wall_clock_of_the_hour() {
        let moment = Moment(Duration::from_secs(3_000_000_000));
        let at = |seconds| WallTime::new(moment, Duration::from_secs(seconds));
        assert_eq!(
            at(1_800_000_000).show(moment).to_string(),
            "2027-01-15T08:00:00Z"
        );
        assert_eq!(
            at(0).show(moment + Duration::from_secs(3600)).to_string(),
            "1970-01-01T01:00:00Z"
        );
        assert_eq!(
            at(0).step_to(at(1_800_000_000)),
            Duration::from_secs(1_800_000_000)
        );
        assert_eq!(
            WallTime::default().show(Moment(Duration::MAX)).to_string(),
            "9999-12-31T23:59:59Z"
        );
    }

    proptest! {
        #[test]
        fn a_time_of_day_comes_back_as_the_moment_it_was(
            now in 0u64..1 << 33,
            unix in 0u64..1 << 33,
            ahead in 0u64..1 << 33,
        ) {
            let seconds = Duration::from_secs;
            let wall = WallTime::new(Moment(seconds(now)), seconds(unix));
            let moment = Moment(seconds(now + ahead));
            prop_assert_eq!(wall.unix(moment), seconds(unix + ahead));
            prop_assert_eq!(wall.moment(wall.unix(moment)), moment);
            prop_assert_eq!(WallTime::from_nanos(wall.to_nanos()), wall);
        }
    }
}
