//! `/v1/units`: the units, who owns them, and their ways to other owners.

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::written::{Written, command};
use super::{Concern, Deed, Problem, Refusals, Routes, Running, Segments, Write, build, carry_out};
use crate::control::Command;
use crate::control::access::Scope;
use crate::control::status::UnitsStatus;
use crate::units::MAX_EPOCH;

/// List units.
#[utoipa::path(
    get, path = "/v1/units", tag = "units",
    responses((status = 200, description = "The units", body = UnitsStatus), Refusals)
)]
async fn units(Running(control): Running) -> Result<Response, Problem> {
    build(&control, |present| {
        Ok(UnitsStatus::new(&present.view, present.wall))
    })
    .await
}

/// The next owner of a unit.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// The region that is to own it.
    pub region: String,
    /// True to move it although the region is down, not ready, or of unknown health.
    #[serde(default)]
    pub force: bool,
}

/// Move a unit.
///
/// The fence has begun, durably, when the answer comes: no region owns the unit until it is over.
#[utoipa::path(
    post, path = "/v1/units/{unit}/move", tag = "units", request_body = Move,
    params(("unit" = String, Path, description = "Owner name of the unit")),
    responses((status = 200, description = "The unit is on its way", body = Written), Refusals)
)]
async fn move_unit(
    Segments(unit): Segments<String>,
    Write { writer, body }: Write<Move>,
) -> Result<Response, Problem> {
    let deed = Deed {
        action: "move",
        subject: format!("unit {unit} to {}", body.region),
        reason: None,
        concern: Concern::Units(unit.clone()),
        scope: Scope::Operate,
    };
    let control = writer.control.clone();
    let moving = Command::MoveUnit {
        unit,
        region: body.region,
        force: body.force,
    };
    let doing = async move { command(&control, moving).await };
    carry_out(&writer, deed, doing).await
}

/// The first epoch of units.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    /// Their epoch, 1 where it is left out. After lost state, one higher than any before.
    #[serde(default = "first")]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991i64)]
    pub epoch: u64,
}

fn first() -> u64 {
    1
}

/// Give units their first owners.
///
/// Units without recorded state get the owner that the zone file names, after a fence.
#[utoipa::path(
    post, path = "/v1/units/{unit}/init", tag = "units", request_body = Option<Begin>,
    params(("unit" = String, Path, description = "Owner name of the unit, or of a service: then all its units")),
    responses((status = 200, description = "The units have owners", body = Written), Refusals)
)]
async fn begin(
    Segments(name): Segments<String>,
    Write { writer, body }: Write<Begin>,
) -> Result<Response, Problem> {
    let epoch = body.epoch;
    if !(1..=MAX_EPOCH).contains(&epoch) {
        let why = format!("{epoch} is not an epoch: write a number from 1 to {MAX_EPOCH}");
        return Err(Problem::wrong("epoch", "bad-value", why));
    }
    let deed = Deed {
        action: "init",
        subject: format!("units {name}, epoch {epoch}"),
        reason: None,
        concern: Concern::Units(name.clone()),
        scope: Scope::Operate,
    };
    let control = writer.control.clone();
    let doing = async move { command(&control, Command::BeginUnits { name, epoch }).await };
    carry_out(&writer, deed, doing).await
}

/// The routes of this subject.
pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(units))
        .routes(routes!(move_unit))
        .routes(routes!(begin))
}
