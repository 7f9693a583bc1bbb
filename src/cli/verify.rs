//! `meridian verify`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use crate::config::Config;
use crate::dataset::Dataset;
use crate::diag::{Diagnostics, render_json, render_text};
use crate::loader::{self, Removed};
use crate::publisher::compare_units;
use crate::simulate::run_tests;
use crate::state::{UNITS_FILE, peek_units};

pub(super) fn run(config: &Path, json: bool) -> ExitCode {
    let built = loader::build(config);
    let (mut diagnostics, sources) = (built.diagnostics, built.sources);
    let mut tests = 0;
    if let Some(dataset) = built.dataset {
        check_state(&dataset.config, &mut diagnostics);
        check_removed(config, &dataset, &mut diagnostics);
        tests = run_tests(&Arc::new(dataset), &mut diagnostics);
    }
    diagnostics.sort();
    if json {
        let mut object = render_json(&diagnostics);
        object["tests"] = tests.into();
        say!("{object:#}");
    } else {
        say!("{}", render_text(&diagnostics, &sources, std::io::stdout().is_terminal()).trim_end());
        if !diagnostics.has_errors() {
            say!("{} is good; {tests} routing test{} passed", config.display(), if tests == 1 { "" } else { "s" });
        }
    }
    if diagnostics.has_errors() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Says what a reload would refuse, where the files that were accepted last can be read.
fn check_removed(config: &Path, new: &Dataset, out: &mut Diagnostics) {
    let state = new.config.server.state.clone().or_else(|| std::env::var_os("STATE_DIRECTORY").map(PathBuf::from));
    let last = state.and_then(|state| loader::build_last_good(&state).ok()).and_then(|built| built.dataset);
    let Some(last) = last else { return };
    let mut refused = Diagnostics::default();
    Removed::between(&last, new).refuse(new.config.server.max_removed, config, &mut refused);
    for refusal in refused.iter() {
        out.warning(refusal.rule, refusal.at.clone(), refusal.key.clone(), refusal.message.clone()).hint = refusal.hint.clone();
    }
}

/// Says of which units nothing is known: nobody owns them when the server starts.
fn check_state(config: &Config, out: &mut Diagnostics) {
    // One warning a service, where it begins.
    let firsts: Vec<_> =
        config.services.iter().filter(|service| service.unit.as_ref().is_some_and(|unit| unit.index == 0)).collect();
    let (records, place) = match &config.server.state {
        None => (Ok(Default::default()), None),
        Some(state) => (peek_units(state), Some(state.join(UNITS_FILE))),
    };
    let records = match records {
        Ok(records) => records,
        // Whoever may not look there learns nothing.
        Err(why) if why.starts_with("cannot be read") => return,
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
        let others = if others.is_empty() { String::new() } else { format!(", which is of {} others", others.len()) };
        let (message, hint) = match &place {
            Some(place) => (
                format!("nothing is known of {count} of {} units in {}{others}", rules.count, place.display()),
                "they are fenced until `meridian unit init`; on the first start of a zone, `meridian serve --init-units` does it",
            ),
            None => (
                format!("without a state directory the {count} units of {} are fenced for ever", rules.service),
                "name one in [server] state; systemd's StateDirectory= does too, and is not seen from here",
            ),
        };
        out.warning("units-without-state", service.at.clone(), "services", message).hint(hint);
    }
}
