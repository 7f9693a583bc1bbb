//! `/v1/overrides`: what operators impose on health and weight.

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{Present, Problem, Refusals, Routes, Running, build};
use crate::model::{Moment, WallTime};
use crate::overrides::{Action, Override};

/// The overrides in force and announced.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OverrideList {
    /// The reason why others were lost, until an operator accepts it; null where none were.
    pub lost: Option<String>,
    /// The overrides, in the order in which they were made.
    pub overrides: Vec<OverrideDocument>,
}

/// An override of health or weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OverrideDocument {
    /// Its id: an opaque text, never another's.
    pub id: String,
    /// `drain`, `up`, `down` or `weight`.
    pub action: String,
    /// The weight, where that is the action; null else.
    pub weight: Option<u32>,
    /// The kind of its subject: `region`, `metro`, `label`, `service`, `pool` or `endpoint`.
    pub scope: String,
    /// Its subject, as commands take it.
    pub name: String,
    /// The operator who made it, and the node: `anna@fra1`.
    pub by: String,
    /// The operator's reason.
    pub reason: String,
    /// The time at which it was made, in RFC 3339.
    pub made: String,
    /// The time at which it took or takes effect.
    pub starts: String,
    /// The time of its end; null where it lasts until it is released.
    pub until: Option<String>,
    /// True once it has taken effect.
    pub in_force: bool,
    /// True where the pre-flight spoke against it.
    pub forced: bool,
}

impl OverrideDocument {
    /// The document of `own`, at `now`, with times as `wall` reads them.
    pub(in crate::control) fn new(own: &Override, now: Moment, wall: WallTime) -> OverrideDocument {
        OverrideDocument {
            id: own.id.to_string(),
            action: own.action.as_label().to_owned(),
            weight: match own.action {
                Action::Weight(weight) => Some(weight.get()),
                Action::Drain | Action::Up | Action::Down => None,
            },
            scope: own.scope.as_label().to_owned(),
            name: own.scope.name(),
            by: own.by.clone(),
            reason: own.reason.clone(),
            made: wall.show(own.made).to_string(),
            starts: wall.show(own.starts).to_string(),
            until: own.until.map(|until| wall.show(until).to_string()),
            in_force: own.starts <= now,
            forced: own.forced,
        }
    }
}

/// Every override.
pub(in crate::control) fn list(present: &Present) -> OverrideList {
    let all = &present.view.overrides;
    let overrides = all.list.0.iter();
    OverrideList {
        lost: all.lost.clone(),
        overrides: overrides
            .map(|own| OverrideDocument::new(own, present.view.at, present.wall))
            .collect(),
    }
}

/// List overrides.
#[utoipa::path(
    get, path = "/v1/overrides", tag = "overrides",
    responses((status = 200, description = "The overrides", body = OverrideList), Refusals)
)]
async fn overrides(Running(control): Running) -> Result<Response, Problem> {
    build(&control, |present| Ok(list(present))).await
}

/// The routes of this subject.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(overrides))
}
