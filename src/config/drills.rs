//! `[[drills]]`: drills that come again and again.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::document::{Item, Table};
use super::kinds::{duration, list, text};
use crate::diag::Diagnostics;
use crate::model::{DrillSpec, Region, RegionId, Schedule, place_names, regions_named};

/// The times for which a drill may last.
const LASTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);
/// The longest reason, in characters.
const LONGEST_REASON: usize = 500;

/// Reads every `[[drills]]`. `regions` has those that are right; `None` stands for one that is wrong
/// and has been reported.
pub(super) fn drills(
    items: &[Item<'_>],
    regions: &[Option<Region>],
    out: &mut Diagnostics,
) -> Vec<DrillSpec> {
    let mut drills = Vec::new();
    for item in items {
        drills.extend(drill(item, regions, out));
    }
    drills
}

fn drill(item: &Item<'_>, regions: &[Option<Region>], out: &mut Diagnostics) -> Option<DrillSpec> {
    let at = item.key_at();
    let mut t: Table<'_> = item.table(out)?;
    let hint = "name a region, a metro or a label: target = \"dublin\"";
    let target = t.required(out, "target", hint, |item, out| target(item, regions, out));
    let zone = t.optional(out, "time_zone", time_zone);
    let skip = t.optional(out, "skip", list(date));
    let skip: BTreeSet<Date> = skip.unwrap_or_default().into_iter().collect();
    let zone = zone.unwrap_or(TimeZone::UTC);
    let hint =
        "write minute, hour, day of the month, month and weekday: schedule = \"0 3 * * TUE\"";
    let schedule = t.required(out, "schedule", hint, |item, out| {
        schedule(item, zone, skip, out)
    });
    let hint = "say how long it lasts: for = \"15m\"";
    let lasts = t.required(out, "for", hint, duration(LASTS));
    let reason = t.optional(out, "reason", reason);
    if !t.finish(out) {
        return None;
    }
    Some(DrillSpec {
        at,
        target: target?,
        schedule: schedule?,
        lasts: lasts?,
        reason: reason.unwrap_or_else(|| "scheduled drill".to_owned()),
    })
}

fn target(item: &Item<'_>, regions: &[Option<Region>], out: &mut Diagnostics) -> Option<String> {
    let target = text(item, out)?;
    let known = regions.iter().enumerate();
    let known =
        known.filter_map(|(index, region)| Some((RegionId::from_index(index), region.as_ref()?)));
    // A region that is wrong may have the metro or the label.
    let is_whole = regions.iter().all(Option::is_some);
    if is_whole && regions_named(known, &target).is_empty() {
        let regions: Vec<Region> = regions.iter().flatten().cloned().collect();
        let names = place_names(&regions);
        let suggestion = crate::diag::suggestion(&target, names.iter().map(String::as_str));
        let message = format!("there is no region, metro or label {target}{suggestion}");
        item.error(out, "unknown-place", message);
        return None;
    }
    Some(target)
}

fn time_zone(item: &Item<'_>, out: &mut Diagnostics) -> Option<TimeZone> {
    let name = text(item, out)?;
    let zone = Schedule::zone(&name);
    if zone.is_none() {
        let message = format!("{name} is not a time zone");
        item.error(out, "bad-time-zone", message)
            .hint("write a name of the IANA database, as \"Europe/Dublin\" or \"UTC\"");
    }
    zone
}

fn date(item: &Item<'_>, out: &mut Diagnostics) -> Option<Date> {
    let text = text(item, out)?;
    let date = text.parse().ok();
    if date.is_none() {
        let message = format!("{text} is not a date");
        item.error(out, "bad-date", message)
            .hint("write year, month and day: \"2026-12-24\"");
    }
    date
}

fn schedule(
    item: &Item<'_>,
    zone: TimeZone,
    skip: BTreeSet<Date>,
    out: &mut Diagnostics,
) -> Option<Schedule> {
    let text = text(item, out)?;
    match Schedule::new(&text, zone, skip) {
        Ok(schedule) if schedule.next(Duration::ZERO).is_none() => {
            let message = format!("{text} never comes");
            item.error(out, "bad-schedule", message);
            None
        }
        Ok(schedule) => Some(schedule),
        Err(why) => {
            let message = format!("{text} is not a schedule: {why}");
            item.error(out, "bad-schedule", message)
                .hint("write minute, hour, day of the month, month and weekday: \"0 3 * * TUE\"");
            None
        }
    }
}

fn reason(item: &Item<'_>, out: &mut Diagnostics) -> Option<String> {
    let reason = text(item, out)?;
    if reason.chars().count() > LONGEST_REASON || reason.chars().any(char::is_control) {
        let message =
            format!("a reason is one line of plain text, of {LONGEST_REASON} characters at most");
        item.error(out, "bad-reason", message);
        return None;
    }
    Some(reason)
}
