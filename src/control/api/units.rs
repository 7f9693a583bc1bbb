//! `/v1/units`: the units, who owns them, and what is in the way of a change.

use axum::response::Response;
use utoipa_axum::routes;

use super::{Problem, Refusals, Routes, Running, build};
use crate::control::status::UnitsStatus;

/// List units.
#[utoipa::path(
    get, path = "/v1/units", tag = "state",
    responses((status = 200, description = "The units", body = UnitsStatus), Refusals)
)]
async fn units(Running(control): Running) -> Result<Response, Problem> {
    build(&control, |present| {
        Ok(UnitsStatus::new(&present.view, present.wall))
    })
    .await
}

/// The routes of this subject.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(units))
}
