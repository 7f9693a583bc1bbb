//! `meridian verify`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::error::Error;
use super::files::Files;
use super::progress::while_waiting;
use super::table::count;
use super::terminal::has_color;
use crate::clock::Clock;
use crate::config::Config;
use crate::dataset::Dataset;
use crate::diag::{At, Diagnostics, render_json, render_text};
use crate::failover::{self, Bound, Failover};
use crate::loader::{self, Removed};
use crate::model::{DrillSpec, Service, WallTime};
use crate::simulate::run_tests;
use crate::state::{self, UNITS_FILE, Unusable, peek_units};
use crate::units::{UnitRecords, compare_units};

/// Options of `meridian verify`.
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    #[command(flatten)]
    files: Files,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Verify {
    /// Checks the files, and prints every diagnostic. Fails where one of them is an error.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let config = self.files.config()?;
        let built = while_waiting("reading the files", || loader::build(&config));
        let (mut diagnostics, sources) = (built.diagnostics, built.sources);
        let (mut tests, mut unseen, mut failovers) = (0, None, Vec::new());
        let mut drills = Vec::new();
        // Routing tests and state need a dataset that compiles; an error in the files comes first.
        if let Some(dataset) = built.dataset {
            unseen = check_state(&config, &dataset.config, &mut diagnostics).err();
            check_removed(&config, &dataset, &mut diagnostics);
            failovers = failover::failovers(&dataset.config).map(named).collect();
            drills.clone_from(&dataset.config.drills);
            let dataset = Arc::new(dataset);
            tests = while_waiting("running the tests of the zone files", || {
                run_tests(&dataset, &mut diagnostics)
            });
        }
        diagnostics.sort();
        let failed = diagnostics.has_errors();
        if self.json {
            let mut object = render_json(&diagnostics);
            object["tests"] = tests.into();
            object["unseen"] = unseen.map(|unseen| unseen.to_string()).into();
            object["failover"] = failovers.iter().map(json).collect();
            print_line!("{object:#}");
        } else {
            let text = render_text(&diagnostics, &sources, has_color(&std::io::stdout()));
            print_line!("{}", text.trim_end());
            if !failed {
                print_line!(
                    "{} is good; {} passed",
                    config.display(),
                    count(tests, "routing test")
                );
                for line in failover_lines(&failovers) {
                    print_line!("{line}");
                }
                for line in drill_lines(&drills) {
                    print_line!("{line}");
                }
                if let Some(unseen) = unseen {
                    print_line!("{unseen}");
                }
            }
        }
        if failed {
            Ok(ExitCode::FAILURE)
        } else {
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Lines about failover that are printed at most: a thousand services may have as many bounds.
const FAILOVER_LINES: usize = 10;
/// Services that such a line names at most.
const NAMED: usize = 3;
/// Runs of a schedule that are named.
const RUNS: usize = 3;

/// Name of a service, with units of the whole of them, and its bound.
type Named = (String, Failover);

fn named((service, failover): (&Service, Failover)) -> Named {
    let unit = service.unit.as_ref();
    let name = unit.map_or(&service.name, |unit| &unit.rules.service);
    (name.to_string(), failover)
}

fn json((name, failover): &Named) -> serde_json::Value {
    let mut object = failover.json();
    object["service"] = name.as_str().into();
    object
}

/// When clients leave a dead region, the slowest services first; those that say the same share a
/// line.
fn failover_lines(failovers: &[Named]) -> Vec<String> {
    // What has no bound is the slowest of all.
    let mut lines: BTreeMap<(Reverse<Duration>, String), Vec<&str>> = BTreeMap::new();
    for (name, failover) in failovers {
        let within = failover.bound().map_or(Duration::MAX, Bound::rounded);
        let names = lines
            .entry((Reverse(within), failover.to_string()))
            .or_default();
        names.push(name.trim_end_matches('.'));
    }
    let mut shown: Vec<String> = Vec::new();
    let mut left_out = 0;
    for ((_, clause), names) in &lines {
        if shown.len() < FAILOVER_LINES {
            shown.push(format!("{clause}: {}", enumeration(names)));
        } else {
            left_out += names.len();
        }
    }
    if left_out > 0 {
        shown.push(format!(
            "{} in less time; `meridian verify --json` lists all",
            count(left_out, "more service")
        ));
    }
    shown
}

/// The next drills of each schedule.
fn drill_lines(drills: &[DrillSpec]) -> Vec<String> {
    let mut lines = Vec::new();
    let clock = Clock;
    let now = clock.wall().unix(clock.now());
    for spec in drills {
        let (mut runs, mut after) = (Vec::new(), now);
        while runs.len() < RUNS
            && let Some(at) = spec.schedule.next(after)
        {
            runs.push(spec.schedule.show(at));
            after = at;
        }
        let lasts = humantime::format_duration(spec.lasts);
        let runs = runs.join(", ");
        lines.push(format!(
            "drill of {} for {lasts}, next at {runs}",
            spec.target
        ));
    }
    lines
}

/// `www, api and 998 more`.
fn enumeration(names: &[&str]) -> String {
    // "1 more" would be longer than most names.
    if names.len() <= NAMED + 1 {
        return names.join(", ");
    }
    let more = names.len() - NAMED;
    format!("{} and {more} more", names[..NAMED].join(", "))
}

/// State directory that this user may not read, so that `verify` cannot check it.
#[derive(Debug)]
struct Unseen(PathBuf);

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "overrides and unit ownership not checked: this user may not read the state directory \
             {}; run `sudo meridian verify` to check them",
            self.0.display()
        )
    }
}

/// Warns of removals that a reload would refuse, where the files accepted last can be read.
fn check_removed(config: &Path, new: &Dataset, out: &mut Diagnostics) {
    let Some(last) = last_accepted(new) else {
        return;
    };
    // `--force` may be meant, so what a reload would refuse is no error of the files.
    let mut refused = Diagnostics::default();
    Removed::between(&last, new).refuse(new.config.server.max_removed, config, &mut refused);
    for refusal in refused.iter() {
        out.warning(
            refusal.rule,
            refusal.at.clone(),
            refusal.key.clone(),
            refusal.message.clone(),
        )
        .hint = refusal.hint.clone();
    }
}

fn last_accepted(new: &Dataset) -> Option<Dataset> {
    let state = state::state_directory(new.config.server.state.clone())?;
    if state::service_objection(&state).is_some() {
        return None;
    }
    let kept = state::load_last_good(&state).ok()?;
    loader::build_copies(&kept.config, kept.files).dataset
}

/// Warns of everything in the state directory that a start would object to, and of units without
/// recorded state: nobody owns them when the server starts.
fn check_state(path: &Path, config: &Config, out: &mut Diagnostics) -> Result<(), Unseen> {
    let Some(state) = state::state_directory(config.server.state.clone()) else {
        if state::is_default_state_hidden() {
            return Err(Unseen(state::DEFAULT_STATE.into()));
        }
        check_units(config, None, &UnitRecords::default(), out);
        return Ok(());
    };
    let at = At::file(path.display().to_string());
    if let Some(objection) = state::service_objection(&state) {
        let message = format!("{objection}; the server will not use anything in it");
        out.warning("bad-state-directory", at, "server.state", message)
            .hint(
                "until this is fixed, the server is not ready, answers for no unit and accepts no \
                 override",
            );
        return Ok(());
    }
    let records = peek_units(&state);
    let overrides = state::load_overrides(&state, WallTime::default());
    if overrides.is_hidden || matches!(&records, Err(Unusable::Forbidden(_))) {
        return Err(Unseen(state));
    }
    if let Some(lost) = overrides.lost {
        let message = format!("{lost}; the server will not be ready");
        out.warning("lost-overrides", at, "server.state", message)
            .hint(
                "repair or restore the file before the server starts, or run `meridian overrides \
                 --accept-loss` once it runs",
            );
    }
    let place = state.join(UNITS_FILE);
    match records {
        Ok(records) => check_units(config, Some(&place), &records, out),
        Err(unusable) => warn_unusable(config, &place, &unusable, out),
    }
    Ok(())
}

/// First unit of each service with units: the place of a warning about the service.
fn first_units(config: &Config) -> impl Iterator<Item = &Service> {
    let services = config.services.iter();
    services.filter(|service| service.unit.as_ref().is_some_and(|unit| unit.index == 0))
}

fn warn_unusable(config: &Config, place: &Path, unusable: &Unusable, out: &mut Diagnostics) {
    let Some(first) = first_units(config).next() else {
        return;
    };
    let message = format!(
        "{} {unusable}; the server will fence every unit",
        place.display()
    );
    out.warning("units-without-state", first.at.clone(), "services", message)
        .hint("repair or restore the file before the server starts");
}

fn check_units(
    config: &Config,
    place: Option<&Path>,
    records: &UnitRecords,
    out: &mut Diagnostics,
) {
    let (unknown, others) = compare_units(config, records);
    for service in first_units(config) {
        let Some(unit) = &service.unit else { continue };
        let suffix = unit.rules.service.to_lowercase().to_string();
        let below = format!(".{suffix}");
        let missing = unknown
            .iter()
            .filter(|name| **name == suffix || name.ends_with(&below))
            .count();
        if missing == 0 {
            continue;
        }
        let all = unit.rules.count;
        let (message, hint) = match place {
            Some(place) => {
                let others = match others.len() {
                    0 => String::new(),
                    others => format!("; the file has {} that no zone has", count(others, "unit")),
                };
                (
                    format!(
                        "{} has no record of {missing} of the {all} units of {}{others}",
                        place.display(),
                        unit.rules.service
                    ),
                    "the units are fenced until `meridian unit init`; on the first start of a \
                     zone, `meridian serve --init-units` gives them their owners",
                )
            }
            None => (
                format!(
                    "without a state directory, {} of {} stay fenced for ever",
                    count(missing, "unit"),
                    unit.rules.service
                ),
                "name a state directory in [server] state; the systemd unit provides \
                 /var/lib/meridian from its first start on",
            ),
        };
        out.warning(
            "units-without-state",
            service.at.clone(),
            "services",
            message,
        )
        .hint(hint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failover::{Never, Part};

    fn within(name: &str, seconds: u64) -> Named {
        let within = Duration::from_secs(seconds);
        let bound = Bound {
            first_failure: Duration::from_secs(3),
            detection: Duration::from_secs(6),
            within,
            decides: Part::Ttl,
        };
        (name.to_owned(), Failover::Within(bound))
    }

    #[test]
    fn a_thousand_equal_services_share_a_line() {
        let mut all: Vec<Named> = (0..1000).map(|i| within(&format!("s{i}.x."), 23)).collect();
        all.push(within("slow.x.", 70));
        all.push(("db.x.".to_owned(), Failover::Never(Never::Operator)));
        assert_eq!(
            failover_lines(&all),
            [
                "a client stays in a dead region until an operator moves the unit: db.x",
                "a client leaves a dead region within 1m 10s (the TTL decides): slow.x",
                "a client leaves a dead region within 23s (the TTL decides): s0.x, s1.x, s2.x and \
                 997 more",
            ]
        );
    }

    #[test]
    fn a_thousand_bounds_are_left_to_json() {
        let all: Vec<Named> = (1..=1000).map(|i| within(&format!("s{i}.x."), i)).collect();
        let lines = failover_lines(&all);
        assert_eq!(lines.len(), FAILOVER_LINES + 1);
        assert!(lines[0].ends_with("within 16m 40s (the TTL decides): s1000.x"));
        assert_eq!(
            lines[FAILOVER_LINES],
            "990 more services in less time; `meridian verify --json` lists all"
        );
    }
}
