//! `[checks.*]`: a table of options, and what they make for each type of check.
//!
//! ```text
//! options   every option: types, default, range, reader
//! values    readers of the options' values
//! kinds     the options of one type, and the rules between them
//! files     the secrets, programs and certificates that they name
//! targets   the (check, address) pairs that are probed
//! ```

mod files;
mod kinds;
mod options;
mod targets;
mod values;

use std::time::Duration;

use super::document::{Item, Located, Table};
use super::kinds::one_of;
use crate::diag::{At, Diagnostics};
use crate::model::{CheckSpec, FlapRule};

use kinds::value;
use options::{Options, TYPES, Type};

pub(super) use files::{Files, program, read_secret, roots, with_secrets};
pub use options::{CheckOption, OptionDefault, check_options};
pub(super) use targets::{Targets, sanity, warn_unused_addresses};
pub(super) use values::{command, credential, header_text, headers};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);
/// A probe that takes longer than this says enough, whatever the interval.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

/// The shortest default of `recheck`: less than that is no second look.
const LEAST_RECHECK: Duration = Duration::from_millis(50);

/// Networks lose packets for so long, and go on as if nothing had been.
const SHORT_BURST: Duration = Duration::from_millis(200);

/// The time that a report of a `push` check holds: several times the usual interval of reports.
const DEFAULT_EXPIRES: Duration = Duration::from_secs(30);

/// Reads one `[checks.NAME]`.
pub(super) fn check(
    name: &str,
    item: &Item<'_>,
    files: &mut Files<'_>,
    out: &mut Diagnostics,
) -> Option<CheckSpec> {
    let mut t = item.table(out)?;
    let kind = t.required(out, "type", &type_hint(), one_of(TYPES));
    let mut options = Options::read(&mut t, kind, out);
    let timing = Timing::take(&mut options, kind);
    let pace = Pace::take(&mut options, &timing, item, out);
    if t.sound() {
        timing.warn(item, out);
        if kind.is_some_and(|kind| kind != Type::Push) {
            timing.warn_short_burst(&pace, item, out);
        }
    }
    if !check_port(&mut t, kind, item, out) || !t.finish(out) {
        return None;
    }
    let kind = kind?;
    let port = value(options.port.take()).or(kind.usual_port());
    let address = value(options.address.take());
    let watch = value(options.watch.take());
    let forgive = value(options.forgive.take());
    let flap = options.flap.take();
    if let Some(flap) = &flap
        && kind != Type::Push
    {
        timing.warn_never_flaps(flap, &pace, item, out);
    }
    Some(CheckSpec {
        name: name.to_owned(),
        kind: options.into_kind(kind, item, files, out)?,
        address,
        port: port.unwrap_or(0),
        interval: timing.interval,
        timeout: timing.timeout_of(kind),
        fall: timing.falls(),
        rise: timing.rise,
        forgive: forgive.unwrap_or(5),
        fall_refused: pace.fall_refused,
        recheck: pace.recheck,
        recheck_up: pace.recheck_up,
        watch: watch.unwrap_or(false),
        flap: value(flap).unwrap_or(Some(FlapRule::DEFAULT)),
    })
}

fn type_hint() -> String {
    let names: Vec<_> = TYPES
        .iter()
        .map(|(name, _)| format!("\"{name}\""))
        .collect();
    format!(
        "write type = \"https\", or another one of {}",
        names.join(", ")
    )
}

/// Reports a missing `port` where the type has no usual one.
fn check_port(
    t: &mut Table<'_>,
    kind: Option<Type>,
    item: &Item<'_>,
    out: &mut Diagnostics,
) -> bool {
    let Some(kind) = kind.filter(|kind| kind.has_port() && kind.usual_port().is_none()) else {
        return true;
    };
    if t.item("port").is_some() {
        return true;
    }
    let message = format!("`port` is missing in `{}`", item.path);
    let hint = format!(
        "a {} check has no default port: write port = 5432, or whatever the service listens on",
        kind.name()
    );
    out.error("missing-key", item.key_at(), t.key_path("port"), message)
        .hint(hint);
    false
}

/// The rules that make a check decide sooner than `fall` and `interval` do.
struct Pace {
    fall_refused: u32,
    recheck: Duration,
    /// The place of `recheck`, where it is written.
    recheck_at: Option<At>,
    recheck_up: bool,
}

impl Pace {
    /// Reads the rules, and reports those that are slower than the ones they are to hasten.
    fn take(
        options: &mut Options,
        timing: &Timing,
        item: &Item<'_>,
        out: &mut Diagnostics,
    ) -> Pace {
        let show = humantime::format_duration;
        let fall = timing.falls();
        let fall_refused = options.fall_refused.take();
        if let Some(refused) = fall_refused.as_ref().filter(|own| own.value > fall) {
            let message = format!(
                "`fall_refused` is {}, which is more than `fall` ({fall})",
                refused.value
            );
            let path = format!("{}.fall_refused", item.path);
            out.error("out-of-range", refused.at.clone(), path, message)
                .hint(format!(
                    "a refusal counts towards `fall` as well: write a number from 1 to {fall}"
                ));
        }
        let recheck = options.recheck.take();
        if let Some(recheck) = recheck.as_ref().filter(|own| own.value > timing.interval) {
            let message = format!(
                "`recheck` is {}, which is longer than the interval of {}",
                show(recheck.value),
                show(timing.interval)
            );
            let path = format!("{}.recheck", item.path);
            out.error("out-of-range", recheck.at.clone(), path, message)
                .hint(format!(
                    "write a time from 50ms to {0}; recheck = \"{0}\" probes at the interval only",
                    show(timing.interval)
                ));
        }
        Pace {
            recheck_at: recheck.as_ref().map(|own| own.at.clone()),
            recheck_up: value(options.recheck_up.take()).unwrap_or(false),
            fall_refused: value(fall_refused).unwrap_or(fall).min(fall),
            recheck: value(recheck)
                .unwrap_or((timing.interval / 4).max(LEAST_RECHECK))
                .min(timing.interval),
        }
    }
}

/// The times and thresholds of a check; those of which something is to be said, with their place.
struct Timing {
    interval: Duration,
    timeout: Option<Located<Duration>>,
    fall: Option<Located<u32>>,
    default_fall: u32,
    rise: u32,
}

impl Timing {
    fn take(options: &mut Options, kind: Option<Type>) -> Timing {
        // A report is no packet that may get lost: it counts at once, and so does silence.
        let (interval, fall, rise) = match kind {
            Some(Type::Push) => {
                let expires = options.expires.as_ref().map(|expires| expires.value);
                (expires.unwrap_or(DEFAULT_EXPIRES), 1, 1)
            }
            _ => (DEFAULT_INTERVAL, 3, 4),
        };
        Timing {
            interval: value(options.interval.take()).unwrap_or(interval),
            timeout: options.timeout.take(),
            fall: options.fall.take(),
            default_fall: fall,
            rise: value(options.rise.take()).unwrap_or(rise),
        }
    }

    fn falls(&self) -> u32 {
        self.fall
            .as_ref()
            .map_or(self.default_fall, |fall| fall.value)
    }

    fn timeout_of(&self, kind: Type) -> Duration {
        match (&self.timeout, kind) {
            (Some(timeout), _) => timeout.value,
            (None, Type::Push) => Duration::ZERO,
            (None, _) => DEFAULT_TIMEOUT.min(self.interval / 2),
        }
    }

    /// Warns of a rule that nothing can break: as many changes as it counts take longer than its
    /// window.
    fn warn_never_flaps(
        &self,
        flap: &Located<Option<FlapRule>>,
        pace: &Pace,
        item: &Item<'_>,
        out: &mut Diagnostics,
    ) {
        let Some(rule) = flap.value else {
            return;
        };
        // Between two changes it takes all the failures or all the passes. With an odd number of
        // changes the shorter of the two comes once more.
        let fall = pace.recheck * pace.fall_refused;
        let rise = match pace.recheck_up {
            true => pace.recheck * self.rise,
            // The first pass may come soon after a recheck that failed.
            false => pace.recheck + self.interval * (self.rise - 1),
        };
        let (shorter, longer) = (fall.min(rise), fall.max(rise));
        let least = shorter * rule.changes.div_ceil(2) + longer * (rule.changes / 2);
        if least < rule.within {
            return;
        }
        let show = humantime::format_duration;
        let message = format!(
            "an endpoint cannot go up or down {} times in {}",
            rule.changes + 1,
            show(rule.within)
        );
        let path = format!("{}.flap", item.path);
        out.warning("never-flaps", flap.at.clone(), path, message)
            .hint(format!(
                "with this `interval`, `fall`, `rise` and `recheck` so many changes take at least {}: set a longer `within`, or flap = false",
                show(least)
            ));
    }

    /// True where `quick-fall` is said, which covers bursts too.
    fn falls_quickly(&self) -> bool {
        let falls = self.fall.as_ref().is_some_and(|fall| fall.value < 3);
        falls && self.interval < Duration::from_secs(1)
    }

    /// Warns of failures that follow each other so soon that one short burst of packet loss makes
    /// up all of them.
    fn warn_short_burst(&self, pace: &Pace, item: &Item<'_>, out: &mut Diagnostics) {
        let (fall, timeout) = (self.falls(), self.timeout_of(Type::Tcp));
        let apart = (pace.recheck + timeout).min(self.interval) * fall.saturating_sub(1);
        if fall < 2 || self.falls_quickly() || apart >= SHORT_BURST {
            return;
        }
        let show = humantime::format_duration;
        let message = format!(
            "a burst of packet loss of {} takes a healthy endpoint down: with fall = {fall}, recheck = \
             {} and timeout = {}, its failures follow each other within that time",
            show(apart),
            show(pace.recheck),
            show(timeout)
        );
        let timeout_at = self.timeout.as_ref().map(|own| own.at.clone());
        let (key, at) = match (&pace.recheck_at, timeout_at) {
            (Some(at), _) => ("recheck", at.clone()),
            (None, Some(at)) => ("timeout", at),
            (None, None) => ("fall", item.key_at()),
        };
        out.warning("short-burst", at, format!("{}.{key}", item.path), message)
            .hint("networks lose packets for 200ms and recover: set a larger `fall`, `recheck` or `timeout`");
    }

    fn warn(&self, item: &Item<'_>, out: &mut Diagnostics) {
        let show = humantime::format_duration;
        if let Some(timeout) = self
            .timeout
            .as_ref()
            .filter(|timeout| timeout.value >= self.interval)
        {
            let message = format!(
                "the timeout of {} is not shorter than the interval of {}",
                show(timeout.value),
                show(self.interval)
            );
            out.warning(
                "slow-timeout",
                timeout.at.clone(),
                format!("{}.timeout", item.path),
                message,
            )
            .hint("a slow probe would still be running when the next one is due; half the interval is usual");
        }
        if let Some(fall) = self.fall.as_ref().filter(|_| self.falls_quickly()) {
            let message = format!(
                "with fall = {} and an interval of {}, a little packet loss counts as an outage",
                fall.value,
                show(self.interval)
            );
            out.warning(
                "quick-fall",
                fall.at.clone(),
                format!("{}.fall", item.path),
                message,
            )
            .hint("set fall = 3 or an interval of at least 1s, which tolerates a lost packet");
        }
    }
}
