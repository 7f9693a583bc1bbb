//! `/v1/zones`: the zones that are served, and what identifies their content.

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{Present, Problem, Refusals, Routes, Running, build};
use crate::config::ZoneSpec;
use crate::model::ZoneId;

/// The zones that are served.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ZoneList {
    /// The zones, in the order of their names.
    pub zones: Vec<ZoneDocument>,
}

/// A zone.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ZoneDocument {
    /// Its name.
    pub zone: String,
    /// The serial of its SOA record.
    pub serial: u32,
    /// The number of its names, empty non-terminals among them.
    pub names: usize,
    /// The number of its services; each unit counts as one.
    pub services: usize,
    /// The SHA-256 of its file and of the master files that belong to it, in hexadecimal: nodes that
    /// serve the same files have the same.
    pub digest: String,
}

/// Every zone.
pub(in crate::control) fn list(present: &Present) -> ZoneList {
    let zones = present.config().zones.iter().enumerate();
    let zones = zones.map(|(index, zone)| document(present, ZoneId::from_index(index), zone));
    ZoneList {
        zones: zones.collect(),
    }
}

fn document(present: &Present, id: ZoneId, zone: &ZoneSpec) -> ZoneDocument {
    let names = &present.snapshot.dataset.names;
    ZoneDocument {
        zone: zone.origin.to_string(),
        serial: names.serial(id),
        names: names.count(id),
        services: zone.services.len(),
        digest: zone.digest.to_string(),
    }
}

/// List zones.
#[utoipa::path(
    get, path = "/v1/zones", tag = "state",
    responses((status = 200, description = "The zones", body = ZoneList), Refusals)
)]
async fn zones(Running(control): Running) -> Result<Response, Problem> {
    build(&control, |present| Ok(list(present))).await
}

/// The routes of this subject.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(zones))
}
