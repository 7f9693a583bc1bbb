//! `/v1/locate`: what the location databases and every map say of one client.

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{Params, Problem, Refusals, Routes, Running, build};
use crate::dataset::Dataset;
use crate::dns::Prefix;
use crate::geo::{GeoMap, Location};
use crate::model::MapSpec;

/// The place of a client, and its order of regions on every map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LocateDocument {
    /// The client's prefix.
    pub client: String,
    /// Its place, as far as the databases know it.
    pub location: PlaceDocument,
    /// Its order on each map, in the order of their names.
    pub maps: Vec<MapOrder>,
}

/// A place, as far as the location databases know it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlaceDocument {
    /// AF, AN, AS, EU, NA, OC or SA; null where it is not known.
    pub continent: Option<String>,
    /// ISO 3166-1; likewise.
    pub country: Option<String>,
    /// ISO 3166-2; likewise.
    pub subdivision: Option<String>,
    /// Degrees north; likewise.
    pub latitude: Option<f64>,
    /// Degrees east; likewise.
    pub longitude: Option<f64>,
    /// The AS that announces it; likewise.
    pub asn: Option<u32>,
}

/// The order of regions that a client has on a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MapOrder {
    /// The map's name.
    pub map: String,
    /// The source that gave the order: `network`, `asn`, `subdivision`, `country`, `continent`,
    /// `distance`, `rest` or `none`.
    pub located_by: String,
    /// The steps, best first: each is one region, or several that are equally near.
    pub order: Vec<Vec<String>>,
    /// The regions that the client never leaves; null where it may be sent anywhere.
    pub border: Option<Vec<String>>,
    /// The length of the largest prefix in which every client has this order.
    pub scope: u8,
}

impl PlaceDocument {
    fn new(location: &Location, asn: Option<u32>) -> PlaceDocument {
        PlaceDocument {
            continent: location.continent.map(|code| code.to_string()),
            country: location.country.map(|code| code.to_string()),
            subdivision: location.subdivision.map(|code| code.to_string()),
            latitude: location.coordinates.map(|place| place.latitude),
            longitude: location.coordinates.map(|place| place.longitude),
            asn,
        }
    }
}

/// The document about `client`.
pub fn locate(dataset: &Dataset, client: Prefix) -> LocateDocument {
    let config = &dataset.config;
    let address = client.address().to_canonical();
    let known = dataset.locations.locate(address);
    let mut location = known.copied().unwrap_or_default();
    let mut asn = dataset.locations.asn(address);
    let mut maps = Vec::new();
    for (spec, map) in config.maps.iter().zip(&dataset.maps) {
        let explained = map.explain(spec, &config.regions, &dataset.locations, client);
        // A map knows which address stands for a prefix.
        (location, asn) = (explained.location, explained.asn);
        maps.push(on_map(
            dataset,
            spec,
            map,
            client,
            explained.located_by.as_str(),
        ));
    }
    LocateDocument {
        client: client.to_string(),
        location: PlaceDocument::new(&location, asn),
        maps,
    }
}

fn on_map(
    dataset: &Dataset,
    spec: &MapSpec,
    map: &GeoMap,
    client: Prefix,
    located_by: &str,
) -> MapOrder {
    let config = &dataset.config;
    let located = map.lookup(client);
    let order = map.order(located.order);
    let mut steps = Vec::new();
    for step in &order.steps {
        let names = step.iter().map(|region| config.region_name(*region));
        steps.push(names.map(str::to_owned).collect());
    }
    let border = order.border.as_ref().map(|border| {
        let regions = order.steps.iter().flatten();
        let inside = regions.filter(|region| border.contains(**region));
        inside
            .map(|region| config.region_name(*region).to_owned())
            .collect()
    });
    MapOrder {
        map: spec.name.clone(),
        located_by: located_by.to_owned(),
        order: steps,
        border,
        scope: located.scope,
    }
}

/// The parameters of `/v1/locate`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// The client: an address, or a prefix as a Client Subnet option has it.
    ip: String,
}

/// Locate a client.
#[utoipa::path(
    get, path = "/v1/locate", tag = "questions", params(Wanted),
    responses((status = 200, description = "What is known of the client", body = LocateDocument), Refusals)
)]
async fn located(
    Running(control): Running,
    Params(wanted): Params<Wanted>,
) -> Result<Response, Problem> {
    let client = client("ip", &wanted.ip)?;
    build(&control, move |present| {
        Ok(locate(&present.snapshot.dataset, client))
    })
    .await
}

/// Reads a client from the parameter `field`.
pub(super) fn client(field: &str, text: &str) -> Result<Prefix, Problem> {
    text.parse::<Prefix>()
        .map_err(|why| Problem::wrong(field, "bad-prefix", format!("{text} {why}")))
}

/// The routes of this subject.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(located))
}
