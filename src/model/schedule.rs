//! Schedules: times of day in a time zone, by the syntax of cron.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, Zoned};

use crate::diag::At;

/// The most times in a row that may be skipped: more than the days of a year's holidays.
const SKIPPED: usize = 1000;

/// Times of day in a time zone, less the days that are skipped.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    cron: Cron,
    zone: TimeZone,
    skip: BTreeSet<Date>,
}

/// One `[[drills]]`: a drill that comes again and again.
#[derive(Debug, Clone, PartialEq)]
pub struct DrillSpec {
    /// Its place in the configuration.
    pub at: At,
    /// The region, metro or label that is drained, as an operator names it.
    pub target: String,
    /// The times at which it begins.
    pub schedule: Schedule,
    /// The time for which it lasts.
    pub lasts: Duration,
    /// The reason for it, in one line.
    pub reason: String,
}

/// Text that is no schedule in the syntax of cron.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSchedule(String);

impl fmt::Display for BadSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadSchedule {}

impl PartialEq for Schedule {
    fn eq(&self, other: &Schedule) -> bool {
        (&self.text, &self.zone, &self.skip) == (&other.text, &other.zone, &other.skip)
    }
}

impl Schedule {
    /// Reads five fields in the syntax of cron: minute, hour, day of the month, month, weekday.
    ///
    /// # Errors
    /// [`BadSchedule`] with the reason as the parser has it.
    pub fn new(text: &str, zone: TimeZone, skip: BTreeSet<Date>) -> Result<Schedule, BadSchedule> {
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser
            .parse(text)
            .map_err(|error| BadSchedule(error.to_string()))?;
        Ok(Schedule {
            text: text.to_owned(),
            cron,
            zone,
            skip,
        })
    }

    /// The time zone of this name in the IANA database that is compiled in; `None` where there is
    /// none.
    pub fn zone(name: &str) -> Option<TimeZone> {
        // The machine's own files would make what a configuration means depend on the machine.
        TimeZoneDatabase::bundled().get(name).ok()
    }

    /// The first time after the Unix time `after`, as such; `None` where there is none, as on 30
    /// February.
    pub fn next(&self, after: Duration) -> Option<Duration> {
        let mut time = self.zoned(after)?;
        for _ in 0..SKIPPED {
            time = self.cron.find_next_occurrence(&time, false).ok()?;
            if !self.skip.contains(&time.date()) {
                let seconds = u64::try_from(time.timestamp().as_second()).ok()?;
                return Some(Duration::from_secs(seconds));
            }
        }
        None
    }

    /// A Unix time by the clock of its time zone, as `2026-12-01T03:00:00+00:00[Europe/Dublin]`.
    pub fn show(&self, at: Duration) -> String {
        self.zoned(at)
            .map_or_else(String::new, |time| time.to_string())
    }

    fn zoned(&self, at: Duration) -> Option<Zoned> {
        let seconds = i64::try_from(at.as_secs()).ok()?;
        let timestamp = Timestamp::from_second(seconds).ok()?;
        Some(timestamp.to_zoned(self.zone.clone()))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(text: &str, zone: &str, skip: &[&str], after: &str) -> Option<String> {
        let skip = skip.iter().map(|date| date.parse().unwrap()).collect();
        let schedule = Schedule::new(text, Schedule::zone(zone).unwrap(), skip).unwrap();
        let after: Timestamp = after.parse().unwrap();
        let after = Duration::from_secs(after.as_second().try_into().unwrap());
        schedule.next(after).map(|at| schedule.show(at))
    }

    #[test]
    fn times_follow_the_clock_of_their_zone() {
        let berlin = |after| next("0 3 * * TUE", "Europe/Berlin", &[], after).unwrap();
        assert_eq!(
            berlin("2026-07-01T00:00:00Z"),
            "2026-07-07T03:00:00+02:00[Europe/Berlin]"
        );
        assert_eq!(
            berlin("2026-12-01T00:00:00Z"),
            "2026-12-01T03:00:00+01:00[Europe/Berlin]"
        );
        // The time itself is over.
        assert_eq!(
            berlin("2026-12-01T02:00:00Z"),
            "2026-12-08T03:00:00+01:00[Europe/Berlin]"
        );
    }

    #[test]
    fn an_hour_that_comes_twice_or_never_has_one_drill() {
        let nightly = |after| next("30 2 * * *", "Europe/Berlin", &[], after).unwrap();
        // 2:30 comes at 00:30Z and at 01:30Z.
        let first = nightly("2026-10-25T00:00:00Z");
        assert_eq!(first, "2026-10-25T02:30:00+02:00[Europe/Berlin]");
        let second = nightly("2026-10-25T00:30:00Z");
        assert_eq!(second, "2026-10-26T02:30:00+01:00[Europe/Berlin]");
        // There is no 2:30.
        let spring = nightly("2026-03-28T12:00:00Z");
        assert!(spring.starts_with("2026-03-29T03:"), "{spring}");
    }

    #[test]
    fn days_are_skipped() {
        let skip = ["2026-12-24", "2026-12-31"];
        assert_eq!(
            next("0 9 * * THU", "UTC", &skip, "2026-12-18T00:00:00Z").unwrap(),
            "2027-01-07T09:00:00+00:00[UTC]"
        );
        assert_eq!(next("0 9 30 2 *", "UTC", &[], "2026-12-18T00:00:00Z"), None);
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in [
            "",
            "0 3 * *",
            "61 * * * *",
            "0 0 3 * * *",
            "every day",
            "0 3 * * * 2027",
        ] {
            assert!(
                Schedule::new(text, TimeZone::UTC, BTreeSet::new()).is_err(),
                "{text}"
            );
        }
        assert!(Schedule::zone("Mars/Olympus").is_none());
    }
}
