//! `/v1/reload`: the files are read again.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{Concern, Deed, Problem, Refusals, Routes, Write, carry_out};
use crate::control::access::Scope;
use crate::control::{Control, DiagnosticDocument, NotReloaded, Refused, Request, ask_within};

/// The time that a reload may take: large files take long to read, and new targets are probed.
const LONGEST: Duration = Duration::from_secs(300);

/// A reload that is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// True to accept files that remove more zones, services or names than `max_removed` allows.
    #[serde(default)]
    pub force: bool,
}

/// A reload that was accepted.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReloadDone {
    /// A summary of what is served now.
    pub message: String,
    /// Warnings about the files.
    pub diagnostics: Vec<DiagnosticDocument>,
}

async fn reload_files(control: Control, force: bool) -> Result<ReloadDone, Problem> {
    let reloaded = ask_within(LONGEST, &control, |reply| Request::Reload { force, reply }).await?;
    match reloaded {
        Ok(done) => Ok(ReloadDone {
            message: format!("reloaded: {}", done.summary),
            diagnostics: DiagnosticDocument::all(&done.warnings),
        }),
        Err(why) => Err(problem(&why)),
    }
}

fn problem(why: &NotReloaded) -> Problem {
    let (status, rule) = match why.refused {
        Refused::Broken => (StatusCode::CONFLICT, "broken-files"),
        Refused::Database => (StatusCode::CONFLICT, "broken-database"),
        Refused::TooMuchRemoved => (StatusCode::CONFLICT, "too-much-removed"),
        Refused::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "reload-failed"),
    };
    Problem::new(status, why.text.clone())
        .breaking(rule)
        .with_diagnostics(DiagnosticDocument::all(&why.diagnostics))
}

/// Reload the files.
///
/// The answer comes when the new files are served, or are refused as a whole: then it has every
/// diagnostic.
#[utoipa::path(
    post, path = "/v1/reload", tag = "operations", request_body = Option<Reload>,
    responses((status = 200, description = "The new files are served", body = ReloadDone), Refusals)
)]
async fn reload(Write { writer, body }: Write<Reload>) -> Result<Response, Problem> {
    let deed = Deed {
        action: if body.force {
            "reload by force"
        } else {
            "reload"
        },
        subject: "files".to_owned(),
        reason: None,
        concern: Concern::Nothing,
        scope: Scope::Operate,
    };
    let control = writer.control.clone();
    carry_out(&writer, deed, reload_files(control, body.force)).await
}

/// The routes of this subject.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(reload))
}
