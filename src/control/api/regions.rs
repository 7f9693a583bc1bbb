//! `/v1/regions`: the regions with what is in them.

use std::collections::BTreeMap;

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::endpoints::{places, standing};
use super::services::Level;
use super::{Present, Problem, Refusals, Routes, Running, build};
use crate::model::ServiceId;
use crate::simulate::round;
use crate::steer::Rung;

/// The regions.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RegionList {
    /// The regions, in the order of their names.
    pub regions: Vec<RegionDocument>,
}

/// A region.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct RegionDocument {
    /// Its name.
    pub region: String,
    /// Degrees north; null where its place is not known.
    pub latitude: Option<f64>,
    /// Degrees east; likewise.
    pub longitude: Option<f64>,
    /// Its metro; null where it has none.
    pub metro: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its capacity; null where none is set.
    pub capacity: Option<f64>,
    /// The number of pools in it.
    pub pools: usize,
    /// The number of those that are up and in use, in a family or in both.
    pub pools_up: usize,
    /// The number of those that are drained.
    pub pools_drained: usize,
    /// The number of those of which nothing is up.
    pub pools_down: usize,
    /// The number of endpoints in it.
    pub endpoints: usize,
    /// The number of those that are up.
    pub endpoints_up: usize,
    /// Answers so far that sent clients to it, of all services.
    pub answers: u64,
    /// Its share of all answers of services so far, 0 to 1; null before the first.
    pub share: Option<f64>,
}

/// Every region.
pub(in crate::control) fn list(present: &Present) -> RegionList {
    let mut regions: Vec<RegionDocument> = Vec::new();
    for region in &present.config().regions {
        regions.push(RegionDocument {
            region: region.name.clone(),
            latitude: region.coordinates.map(|place| place.latitude),
            longitude: region.coordinates.map(|place| place.longitude),
            metro: region.metro.clone(),
            labels: region.labels.clone(),
            capacity: region.capacity,
            ..RegionDocument::default()
        });
    }
    for place in places(present) {
        let region = &mut regions[place.pool.region.index()];
        region.endpoints += 1;
        region.endpoints_up += usize::from(standing(present, place).state.up);
    }
    let all = add_pools(present, &mut regions);
    for region in &mut regions {
        region.share = (all > 0).then(|| round(region.answers as f64 / all as f64));
    }
    RegionList { regions }
}

/// Adds the pools to their regions; returns the answers of all services.
fn add_pools(present: &Present, regions: &mut [RegionDocument]) -> u64 {
    let mut all = 0;
    for (index, plan) in present.snapshot.plans.iter().enumerate() {
        for pool in &plan.pools {
            let region = &mut regions[pool.region.index()];
            let rungs = pool.rungs[0] | pool.rungs[1];
            let note = plan.note(pool.region);
            let drained = note.is_some_and(|note| note.conditions.drained.is_some());
            region.pools += 1;
            region.pools_up += usize::from(rungs & Rung::Up.bit() != 0);
            region.pools_drained += usize::from(drained);
            // A region that does not own a unit stands on no rung, and is not down for that.
            let rung = Rung::best(rungs);
            region.pools_down += usize::from(rung.is_some() && Level::of_pool(rung) == Level::Down);
        }
        let answers = present.snapshot.answers_of(ServiceId::from_index(index));
        for (region, count) in answers {
            all += count;
            if let Some(region) = region {
                regions[region.index()].answers += count;
            }
        }
    }
    all
}

/// List regions.
#[utoipa::path(
    get, path = "/v1/regions", tag = "state",
    responses((status = 200, description = "The regions", body = RegionList), Refusals)
)]
async fn regions(Running(control): Running) -> Result<Response, Problem> {
    build(&control, |present| Ok(list(present))).await
}

/// The routes of this subject.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(regions))
}
