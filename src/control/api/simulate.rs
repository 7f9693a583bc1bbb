//! `/v1/simulate`: what the loss of regions does to the clients of every service.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::paging::Limit;
use super::{Params, Present, Problem, Refusals, Routes, Running, build};
use crate::config::Config;
use crate::simulate::{
    Loss, Outcome, Population, Report, Simulation, Subject, destination_name, round, route_name,
};
use crate::steer::Rung;

/// The demand of all clients where none is given: then shares are percentages.
const DEMAND: f64 = 100.0;

/// The effects of a loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SimulateDocument {
    /// The loss.
    pub loss: LossDocument,
    /// The demand of all clients together, in the unit of the regions' capacity.
    pub demand: f64,
    /// The capacity of each region that has one.
    pub capacity: BTreeMap<String, f64>,
    /// The number of services with a pool in a lost region; the others do not notice.
    pub affected: usize,
    /// The number of those of which clients end up on a degraded rung.
    pub degraded: usize,
    /// The number of those of which clients get endpoints that are down, or nothing.
    pub empty: usize,
    /// The affected services, the worst first, as many as were asked for.
    pub services: Vec<ServiceLoss>,
}

/// Regions that are lost together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LossDocument {
    /// Its name, as it was asked for.
    pub name: String,
    /// The regions.
    pub regions: Vec<String>,
    /// True where no region is left.
    pub everything: bool,
}

/// The effect of a loss on one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceLoss {
    /// Its owner name.
    pub service: String,
    /// The type that its clients ask for.
    #[serde(rename = "type")]
    pub rtype: String,
    /// The rule by which a region is chosen.
    pub route: String,
    /// True when an endpoint has no checks: the server would go on answering with it when it is
    /// lost.
    pub unchecked: bool,
    /// Where clients go with nothing lost and everything up.
    pub before: OutcomeDocument,
    /// Where they go then.
    pub after: OutcomeDocument,
}

/// Where clients of a service go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OutcomeDocument {
    /// The share of them that each region gets, 0 to 1; `(fallback)` and `(nowhere)` are no regions.
    pub shares: BTreeMap<String, f64>,
    /// The share of them who go elsewhere than with nothing lost, 0 to 1.
    pub moved: f64,
    /// The worst rung of the ladder that any of them is on; null where one gets no answer.
    pub rung: Option<String>,
    /// The share of them on a degraded rung, 0 to 1.
    pub degraded: f64,
    /// The share of them who get endpoints that are down, or nothing, 0 to 1.
    pub empty: f64,
    /// Regions that are not lost and get more of this service than their capacity.
    pub over_capacity: Vec<String>,
}

impl OutcomeDocument {
    /// The document of `outcome`.
    pub(in crate::control) fn new(config: &Config, outcome: &Outcome) -> OutcomeDocument {
        let mut shares = BTreeMap::new();
        for (to, share) in &outcome.split {
            let name = destination_name(&config.regions, *to);
            shares.insert(name.to_owned(), round(*share));
        }
        let over = outcome.over_capacity.iter();
        OutcomeDocument {
            shares,
            moved: round(outcome.moved),
            rung: outcome.worst.map(|rung| Rung::as_label(rung).to_owned()),
            degraded: round(outcome.degraded),
            empty: round(outcome.empty),
            over_capacity: over
                .map(|region| config.region_name(*region).to_owned())
                .collect(),
        }
    }
}

/// A question about a loss.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::control) struct Wanted {
    /// The regions, metros or labels that are lost together, separated by commas.
    loss: String,
    /// Only this service, or the units of this one.
    service: Option<String>,
    /// The demand of all clients together, in the unit of the regions' capacity; 100 where it is
    /// left out.
    #[param(minimum = 0)]
    demand: Option<f64>,
    /// The most services in the answer; 100 where it is left out.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Limit,
}

/// The effects of the loss that `wanted` asks about, on the clients of the dataset.
///
/// # Errors
/// A problem where it names what is not there.
pub(in crate::control) fn document(
    present: &Present,
    population: &Population,
    wanted: &Wanted,
) -> Result<SimulateDocument, Problem> {
    let dataset = &present.snapshot.dataset;
    let config = &dataset.config;
    let demand = wanted.demand.unwrap_or(DEMAND);
    if !(0.0..=1e15).contains(&demand) {
        let why = format!("{demand} is not a number from 0 to 1e15");
        return Err(Problem::wrong("demand", "bad-value", why));
    }
    let loss = Loss::named(&config.regions, &wanted.loss)
        .map_err(|unknown| Problem::not_found("loss", unknown.to_string()))?;
    let losses = [loss];
    let simulation = Simulation {
        dataset,
        population,
        losses: &losses,
        demand,
    };
    let mut reports = reports(&simulation, wanted.service.as_deref())?;
    let outcomes = || reports.iter().filter_map(after);
    let (affected, degraded, empty) = (
        reports.len(),
        outcomes().filter(|own| own.is_degraded()).count(),
        outcomes().filter(|own| own.is_empty()).count(),
    );
    reports.sort_by(|a, b| {
        let badness = |report| after(report).map(Outcome::badness);
        badness(b)
            .partial_cmp(&badness(a))
            .unwrap_or(Ordering::Equal)
    });
    reports.truncate(wanted.limit.get());
    let services = reports.iter().filter_map(|report| service(config, report));
    Ok(SimulateDocument {
        loss: lost(config, &losses[0]),
        demand,
        capacity: capacity(config),
        affected,
        degraded,
        empty,
        services: services.collect(),
    })
}

/// The reports of the services that the loss affects.
fn reports(simulation: &Simulation<'_>, only: Option<&str>) -> Result<Vec<Report>, Problem> {
    let config = &simulation.dataset.config;
    let mut subjects = Subject::all(simulation.dataset);
    if let Some(name) = only {
        subjects.retain(|own| config.services[own.service.index()].goes_by(name));
        if subjects.is_empty() {
            let why = format!("there is no service {name}");
            return Err(Problem::not_found("service", why));
        }
    }
    let lost = &simulation.losses[0].regions;
    subjects.retain(|own| {
        let mut pools = config.services[own.service.index()].pools.iter();
        pools.any(|pool| lost.contains(&pool.region))
    });
    Ok(subjects
        .into_iter()
        .map(|own| simulation.run(own))
        .collect())
}

fn after(report: &Report) -> Option<&Outcome> {
    report.lost.first().map(|(_, outcome)| outcome)
}

fn lost(config: &Config, loss: &Loss) -> LossDocument {
    let regions = loss.regions.iter();
    LossDocument {
        name: loss.name.clone(),
        regions: regions
            .map(|region| config.region_name(*region).to_owned())
            .collect(),
        everything: loss.is_everything,
    }
}

fn capacity(config: &Config) -> BTreeMap<String, f64> {
    let mut capacity = BTreeMap::new();
    for region in &config.regions {
        capacity.extend(region.capacity.map(|own| (region.name.clone(), own)));
    }
    capacity
}

fn service(config: &Config, report: &Report) -> Option<ServiceLoss> {
    let service = &config.services[report.subject.service.index()];
    Some(ServiceLoss {
        service: report.name.clone(),
        rtype: report.subject.rtype.to_string(),
        route: route_name(service.route).to_owned(),
        unchecked: report.unchecked,
        before: OutcomeDocument::new(config, &report.normal),
        after: OutcomeDocument::new(config, after(report)?),
    })
}

/// Simulate a loss.
#[utoipa::path(
    get, path = "/v1/simulate", tag = "questions", params(Wanted),
    responses((status = 200, description = "The effects of the loss", body = SimulateDocument), Refusals)
)]
async fn simulate(
    Running(control): Running,
    Params(wanted): Params<Wanted>,
) -> Result<Response, Problem> {
    let populations = control.populations.clone();
    build(&control, move |present| {
        let population = populations.of(&present.snapshot.dataset);
        document(present, &population, &wanted)
    })
    .await
}

/// The routes of this subject.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(simulate))
}
