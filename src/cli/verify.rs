//! `meridian verify`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::terminal::has_color;
use crate::config::Config;
use crate::dataset::Dataset;
use crate::diag::{At, Diagnostics, render_json, render_text};
use crate::loader::{self, Removed};
use crate::model::WallTime;
use crate::publisher::{UnitRecords, compare_units};
use crate::simulate::run_tests;
use crate::state::{self, UNITS_FILE, Unusable, peek_units};

pub(super) fn run(config: &Path, json: bool) -> ExitCode {
    let built = loader::build(config);
    let (mut diagnostics, sources) = (built.diagnostics, built.sources);
    let (mut tests, mut unseen) = (0, None);
    if let Some(dataset) = built.dataset {
        unseen = check_state(config, &dataset.config, &mut diagnostics).err();
        check_removed(config, &dataset, &mut diagnostics);
        tests = run_tests(&Arc::new(dataset), &mut diagnostics);
    }
    diagnostics.sort();
    if json {
        let mut object = render_json(&diagnostics);
        object["tests"] = tests.into();
        object["unseen"] = unseen.into();
        say!("{object:#}");
    } else {
        say!(
            "{}",
            render_text(&diagnostics, &sources, has_color(&std::io::stdout())).trim_end()
        );
        if !diagnostics.has_errors() {
            say!(
                "{} is good; {tests} routing test{} passed",
                config.display(),
                if tests == 1 { "" } else { "s" }
            );
            unseen.iter().for_each(|unseen| say!("{unseen}"));
        }
    }
    if diagnostics.has_errors() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Says what a reload would refuse, where the files that were accepted last can be read.
fn check_removed(config: &Path, new: &Dataset, out: &mut Diagnostics) {
    let state = state::state_directory(new.config.server.state.clone())
        .filter(|state| state::objection(state).is_none());
    let last = state
        .and_then(|state| state::load_last_good(&state).ok())
        .map(|kept| loader::build_copies(&kept.config, kept.files))
        .and_then(|built| built.dataset);
    let Some(last) = last else { return };
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

/// Says what a start would find wrong with the state directory, and of which units nothing is known: nobody owns them when the
/// server starts. The error says what this user may not look at.
fn check_state(path: &Path, config: &Config, out: &mut Diagnostics) -> Result<(), String> {
    let hidden = |place: &Path| {
        format!(
            "not looked at, since this user may not: overrides and units in the state directory {}; `sudo meridian verify` does",
            place.display()
        )
    };
    let state = state::state_directory(config.server.state.clone());
    if state.is_none() && state::is_default_state_hidden() {
        return Err(hidden(Path::new(state::DEFAULT_STATE)));
    }
    let at = || At::file(path.display().to_string());
    let mut records = Ok(Default::default());
    if let Some(state) = &state {
        if let Some(why) = state::objection(state) {
            out.warning(
                "bad-state-directory",
                at(),
                "server.state",
                format!("{why}; the server will use nothing in it"),
            )
            .hint(
                "until it is mended the server is not ready, answers no unit and takes no override",
            );
            return Ok(());
        }
        records = peek_units(state);
        let found = state::load_overrides(state, WallTime::default());
        if found.is_hidden || matches!(&records, Err(Unusable::Forbidden(_))) {
            return Err(hidden(state));
        }
        if let Some(why) = found.lost {
            out.warning("lost-overrides", at(), "server.state", format!("{why}; the server will not be ready")).hint(
                "mend or bring back the file before it starts, or `meridian overrides --accept-loss` on the running server",
            );
        }
    }
    check_units(
        config,
        state.map(|state| state.join(UNITS_FILE)).as_deref(),
        records,
        out,
    );
    Ok(())
}

fn check_units(
    config: &Config,
    place: Option<&Path>,
    records: Result<UnitRecords, Unusable>,
    out: &mut Diagnostics,
) {
    // One warning a service, where it begins.
    let firsts: Vec<_> = config
        .services
        .iter()
        .filter(|service| service.unit.as_ref().is_some_and(|unit| unit.index == 0))
        .collect();
    let records = match records {
        Ok(records) => records,
        Err(why) => {
            if let (Some(first), Some(place)) = (firsts.first(), place) {
                let message = format!("{} {why}; every unit will be fenced", place.display());
                out.warning("units-without-state", first.at.clone(), "services", message)
                    .hint("mend the file, or bring it back, before the server starts");
            }
            return;
        }
    };
    let (unknown, others) = compare_units(config, &records);
    for service in firsts {
        let rules = &service.unit.as_ref().expect("it is a unit").rules;
        let suffix = rules.service.to_lowercase().to_string();
        let within = |name: &&String| **name == suffix || name.ends_with(&format!(".{suffix}"));
        let count = unknown.iter().filter(within).count();
        if count == 0 {
            continue;
        }
        let others = if others.is_empty() {
            String::new()
        } else {
            format!(", which is of {} others", others.len())
        };
        let (message, hint) = match place {
            Some(place) => (
                format!(
                    "nothing is known of {count} of {} units in {}{others}",
                    rules.count,
                    place.display()
                ),
                "they are fenced until `meridian unit init`; on the first start of a zone, `meridian serve --init-units` does it",
            ),
            None => (
                format!(
                    "without a state directory the {count} units of {} are fenced for ever",
                    rules.service
                ),
                "name one in [server] state; the systemd unit has /var/lib/meridian, which its first start makes",
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
