//! `/v1/names`: the names by which a shell completes a command.

use axum::Json;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{Params, Refusals, Routes, Running};
use crate::config::{NameKind, names_beginning};

/// The parameters of `/v1/names`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// The kind of names.
    #[param(value_type = String, pattern = "^(region|place|part|scope|service|unit|check|endpoint)$")]
    kind: NameKind,
    /// The beginning of the names.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    beginning: String,
}

/// Complete names.
// From the published files: a loop that is late keeps nobody at a prompt waiting.
#[utoipa::path(
    get, path = "/v1/names", tag = "questions", params(Wanted),
    responses((status = 200, description = "The names that begin so", body = Vec<String>), Refusals)
)]
async fn names(Running(control): Running, Params(wanted): Params<Wanted>) -> Json<Vec<String>> {
    let dataset = control.published.load().dataset.clone();
    Json(names_beginning(
        &dataset.config,
        wanted.kind,
        &wanted.beginning,
    ))
}

/// The routes of this subject.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(names))
}
