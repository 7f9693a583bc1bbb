//! `meridian verify`.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::diag::{render_json, render_text};
use crate::loader;
use crate::simulate::run_tests;

pub(super) fn run(config: &Path, json: bool) -> ExitCode {
    let built = loader::build(config);
    let (mut diagnostics, sources) = (built.diagnostics, built.sources);
    let mut tests = 0;
    if let Some(dataset) = built.dataset {
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
