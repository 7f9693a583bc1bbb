//! `/v1/audit`: the log of attempts to change something.

use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::paging::Limit;
use super::{Params, Problem, Refusals, Routes, Running};
use crate::control::{AuditPage, AuditQuery, read_audit};

/// The parameters of `/v1/audit`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Entries with numbers below this: the `next` of the page before.
    before: Option<u64>,
    /// Entries of this time and later, as RFC 3339 in UTC.
    since: Option<String>,
    /// The most entries, 1 to 1000; 100 by default.
    #[serde(default)]
    #[param(value_type = u32, minimum = 1, maximum = 1000)]
    limit: Limit,
}

/// Show the audit log, the newest entries first.
#[utoipa::path(
    get, path = "/v1/audit", tag = "state", params(Wanted),
    responses((status = 200, description = "A page of the audit log", body = AuditPage), Refusals)
)]
async fn audit(
    Running(control): Running,
    Params(wanted): Params<Wanted>,
) -> Result<Response, Problem> {
    let since = wanted.since.as_deref().map(time).transpose()?;
    // No entry has such a number, and the description ends there.
    if wanted.before.is_some_and(|before| before > i64::MAX as u64) {
        let why = format!("an entry has a number of at most {}", i64::MAX);
        return Err(Problem::wrong("before", "out-of-range", why));
    }
    let query = AuditQuery {
        before: wanted.before,
        since,
        limit: wanted.limit.get(),
    };
    let Some(directory) = control.audit.directory() else {
        let why = "there is no audit log: this server has no state directory of its own";
        return Err(Problem::unavailable(why).breaking("no-state-directory"));
    };
    let read = tokio::task::spawn_blocking(move || read_audit(&directory, &query));
    match read.await {
        Ok(Ok(page)) => Ok(Json(page).into_response()),
        Ok(Err(error)) => Err(Problem::unavailable(format!(
            "the audit log cannot be read: {error}"
        ))),
        Err(why) => Err(Problem::unavailable(why.to_string())),
    }
}

fn time(text: &str) -> Result<Duration, Problem> {
    let read = humantime::parse_rfc3339(text);
    let since = read
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.ok_or_else(|| {
        let why = format!("{text} is not a time like 2026-01-31T00:00:00Z");
        Problem::wrong("since", "bad-time", why)
    })
}

/// The routes of this subject.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(audit))
}
