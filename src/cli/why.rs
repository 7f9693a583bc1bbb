//! `meridian why`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::terminal::has_color;
use crate::answer::explain;
use crate::diag::render_text;
use crate::dns::{Name, Prefix, RrType};
use crate::loader;
use crate::model::WallTime;
use crate::simulate::{part, what_if};

/// What is asked.
pub(super) struct Question {
    /// A name, taken as absolute.
    pub(super) name: String,
    /// A type.
    pub(super) rtype: Option<RrType>,
    /// The client.
    pub(super) client: Prefix,
    /// What is taken as down: regions, metros, labels, endpoints.
    pub(super) down: Vec<String>,
    /// What is taken as drained: regions, metros, labels.
    pub(super) drained: Vec<String>,
}

/// Explains from the files, with everything up but what is named.
pub(super) fn from_files(question: &Question, config: &Path, json: bool) -> ExitCode {
    let built = loader::build(config);
    let Some(dataset) = built.dataset else {
        eprint!(
            "{}",
            render_text(
                &built.diagnostics,
                &built.sources,
                has_color(&std::io::stderr())
            )
        );
        return ExitCode::FAILURE;
    };
    let name = match Name::from_text(&question.name, Some(&Name::root())) {
        Ok(name) => name,
        Err(why) => return fail(&format!("{}: {why}", question.name)),
    };
    let down = match part(&dataset.config, &question.down) {
        Ok(down) => down,
        Err(why) => return fail(&format!("--down: {why}")),
    };
    let drained = match part(&dataset.config, &question.drained) {
        Ok(drained) if drained.endpoints.is_empty() => drained.regions,
        Ok(_) => {
            return fail("--drained: regions, metros and labels are drained here, no endpoints");
        }
        Err(why) => return fail(&format!("--drained: {why}")),
    };
    let dataset = Arc::new(dataset);
    let explanation = explain(
        &what_if(&dataset, &down, &drained),
        &name,
        question.rtype,
        question.client,
        0,
        WallTime::default(),
    );
    if json {
        say!("{:#}", explanation.json());
    } else {
        say!("{}", explanation.lines().join("\n"));
    }
    ExitCode::SUCCESS
}

/// Asks a running server through its admin address.
pub(super) fn ask_server(question: &Question, url: &str, json: bool) -> ExitCode {
    let kind = question
        .rtype
        .map_or_else(String::new, |rtype| format!("&type={rtype}"));
    let format = if json { "json" } else { "text" };
    let path = format!(
        "/why?name={}&client={}{kind}&format={format}",
        crate::control::percent_encode(&question.name),
        question.client
    );
    match crate::control::get(url, &path) {
        Ok(body) => {
            say!("{}", body.trim_end());
            ExitCode::SUCCESS
        }
        Err(why) => fail(&why),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("meridian why: {message}");
    ExitCode::FAILURE
}
