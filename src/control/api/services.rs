//! `/v1/services`: the services with their pools: health, rung, weight, overrides and what was
//! handed out.

use std::collections::BTreeMap;

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::paging::{Limit, Page, page};
use super::{Params, Present, Problem, Refusals, Routes, Running, Segments, build};
use crate::control::status::{PoolStatus, UnitStatus};
use crate::model::{Family, Pool, RegionId, Service, ServiceId};
use crate::publisher::ServiceView;
use crate::simulate::{round, route_name};
use crate::steer::{Note, Plan, PoolPlan, RAMP_STEPS, Rung};

/// A page of services.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ServiceList {
    /// The number of services on all pages.
    pub total: usize,
    /// The value of `after` for the next page; null on the last one.
    pub next: Option<String>,
    /// The services, in the order of the files.
    pub services: Vec<ServiceDocument>,
}

/// A service.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ServiceDocument {
    /// Its owner name.
    pub service: String,
    /// Its zone.
    pub zone: String,
    /// The rule by which a region is chosen: `nearest`, `weighted`, `priority`, `sticky` or `unit`.
    pub route: String,
    /// The map of its clients; null where it has none.
    pub map: Option<String>,
    /// TTL while nothing is in doubt, in seconds.
    pub ttl: u32,
    /// TTL in doubt and on degraded rungs, in seconds.
    pub ttl_min: u32,
    /// The regions that are to stay up; the pre-flight guards them. Null for a unit.
    pub min_regions: Option<u32>,
    /// The regions that are up and in use, in a family or in both; null for a unit.
    pub regions_up: Option<usize>,
    /// `up`, `degraded` or `down`: the worst of its families.
    pub state: String,
    /// True where a pool may soon change.
    pub in_doubt: bool,
    /// Answers so far, by all pools and the fallback together.
    pub answers: u64,
    /// Answers so far with the `fallback` addresses.
    pub fallback_answers: u64,
    /// The families that it has.
    pub families: Vec<FamilyDocument>,
    /// The ownership, where it is a unit; null else.
    pub unit: Option<UnitStatus>,
    /// Its pools, in the order of their regions.
    pub pools: Vec<PoolDocument>,
}

/// A service in one address family.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FamilyDocument {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// `up`, `degraded` or `down`.
    pub state: String,
    /// The rung of the ladder from which clients without a border are answered; null where there is
    /// no answer.
    pub rung: Option<String>,
    /// The shortest TTL that answers have now, in seconds.
    pub ttl: u32,
}

/// A pool: the endpoints of a service in one region.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PoolDocument {
    /// Its region.
    pub region: String,
    /// Its weight in the files.
    pub configured_weight: u32,
    /// Its weight now, under overrides.
    pub weight: u32,
    /// The share of that weight that its ramp allows, 0 to 1.
    pub ramp: f64,
    /// Its priority number; the lowest is used first.
    pub priority: u32,
    /// The number of its endpoints.
    pub endpoints: usize,
    /// The number of its endpoints that are up.
    pub endpoints_up: usize,
    /// True where an endpoint is in doubt, or a change of it is announced.
    pub in_doubt: bool,
    /// The drain that takes it out of use, in words; null where there is none.
    pub drained: Option<String>,
    /// The other overrides of it and of its endpoints, in words.
    pub overrides: Vec<String>,
    /// The time until which an endpoint of it is held down as flapping; null where none is.
    pub flapping_until: Option<String>,
    /// The families that it has.
    pub families: Vec<PoolFamily>,
    /// TTL of its answers now, in seconds; shorter where a nearer pool is in doubt.
    pub ttl: u32,
    /// Answers so far.
    pub answers: u64,
    /// Its share of the service's answers so far, 0 to 1; null before the first.
    pub share: Option<f64>,
}

/// A pool in one address family.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PoolFamily {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// `up`, `degraded` or `down`; `not_owner` in the regions that do not own a unit.
    pub state: String,
    /// The best rung of the ladder that it stands on; null in the regions that do not own a unit.
    pub rung: Option<String>,
    /// Its way back: `in use`, `down`, `ramping` or `held`.
    pub recovery: String,
}

/// The parameters of `/v1/services`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::control) struct Wanted {
    /// Only services of this zone.
    zone: Option<String>,
    /// Only services with a pool in this region.
    region: Option<String>,
    /// Only services in this state.
    #[param(inline)]
    state: Option<StateFilter>,
    /// The most services on the page; 100 where it is left out.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Limit,
    /// The page after this one: the `next` of the page before.
    after: Option<String>,
}

/// A state of services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ServiceStateFilter)]
pub(in crate::control) enum StateFilter {
    /// Up in every family.
    Up,
    /// Answered from a degraded rung in a family.
    Degraded,
    /// Without anything up in a family.
    Down,
    /// Perhaps soon in another state.
    InDoubt,
}

/// A state of a service, a pool or a family, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Answers come from what is up and in use.
    Up,
    /// Answers come from less than that.
    Degraded,
    /// Nothing is up.
    Down,
}

impl Level {
    /// The level of answers from `rung`, of none where there is no answer.
    pub(super) fn of(rung: Option<Rung>) -> Level {
        match rung {
            Some(Rung::Up | Rung::Shed) => Level::Up,
            Some(Rung::Survivors | Rung::SomeSurvivors | Rung::Standby | Rung::Fallback) => {
                Level::Degraded
            }
            Some(Rung::AsIfUp | Rung::Every) | None => Level::Down,
        }
    }

    /// The level of a pool whose best rung is `rung`; a standby, such as a drained pool, is up.
    pub(super) fn of_pool(rung: Option<Rung>) -> Level {
        match rung {
            Some(Rung::Standby) => Level::Up,
            rung => Level::of(rung),
        }
    }

    /// Its word.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Level::Up => "up",
            Level::Degraded => "degraded",
            Level::Down => "down",
        }
    }
}

/// The families that `plan` has, each with the rung from which it is answered.
pub(super) fn rungs(plan: &Plan) -> impl Iterator<Item = (Family, Option<Rung>)> {
    let families = Family::BOTH.into_iter();
    let own = families.filter(|family| plan.families.contains(*family));
    own.map(|family| (family, plan.rung(family)))
}

/// The level of a service: the worst of its families.
pub(super) fn level(plan: &Plan) -> Level {
    let levels = rungs(plan).map(|(_, rung)| Level::of(rung));
    levels.max().unwrap_or(Level::Down)
}

/// True where a pool of `plan` may soon change.
pub(super) fn is_in_doubt(plan: &Plan) -> bool {
    plan.pools.iter().any(|pool| pool.doubt)
}

/// The regions that are up and in use, in one family or in both.
pub(super) fn regions_up(plan: &Plan) -> usize {
    let in_use = |pool: &&PoolPlan| (pool.rungs[0] | pool.rungs[1]) & Rung::Up.bit() != 0;
    plan.pools.iter().filter(in_use).count()
}

/// A service of the configuration with all that is known of it.
struct Row<'p> {
    present: &'p Present,
    service: &'p Service,
    plan: &'p Plan,
    view: Option<&'p ServiceView>,
    /// By region; `None` is the fallback.
    answers: BTreeMap<Option<RegionId>, u64>,
}

/// The document of a service.
pub(in crate::control) fn document(present: &Present, id: ServiceId) -> ServiceDocument {
    let config = present.config();
    let service = &config.services[id.index()];
    let row = Row {
        present,
        service,
        plan: &present.snapshot.plans[id.index()],
        view: present.view.service(id),
        answers: present.snapshot.answers_of(id).collect(),
    };
    let is_unit = service.unit.is_some();
    let unit = row.view.and_then(|view| view.unit.as_ref());
    let pools = service.pools.iter().zip(&row.plan.pools);
    ServiceDocument {
        service: service.name.to_string(),
        zone: config.zones[service.zone.index()].origin.to_string(),
        route: route_name(service.route).to_owned(),
        map: service.map.map(|map| config.maps[map.index()].name.clone()),
        ttl: row.plan.ttl.secs(),
        ttl_min: row.plan.ttl_min.secs(),
        min_regions: (!is_unit).then_some(service.min_regions),
        regions_up: (!is_unit).then(|| regions_up(row.plan)),
        state: level(row.plan).as_str().to_owned(),
        in_doubt: is_in_doubt(row.plan),
        answers: row.answers.values().sum(),
        fallback_answers: row.answers.get(&None).copied().unwrap_or_default(),
        families: row.families(),
        unit: unit.map(|unit| UnitStatus::new(unit, present.wall)),
        pools: pools.map(|(pool, plan)| row.pool(pool, plan)).collect(),
    }
}

impl Row<'_> {
    fn families(&self) -> Vec<FamilyDocument> {
        let mut families = Vec::new();
        for (family, rung) in rungs(self.plan) {
            let is_degraded = rung.is_none_or(Rung::is_degraded);
            let ttl = match is_degraded || is_in_doubt(self.plan) {
                true => self.plan.ttl_min,
                false => self.plan.ttl,
            };
            families.push(FamilyDocument {
                family: family.as_label().to_owned(),
                state: Level::of(rung).as_str().to_owned(),
                rung: rung.map(|rung| rung.as_label().to_owned()),
                ttl: ttl.secs(),
            });
        }
        families
    }

    fn pool(&self, pool: &Pool, plan: &PoolPlan) -> PoolDocument {
        let (present, note) = (self.present, self.plan.note(plan.region));
        let conditions = note.map(|note| &note.conditions);
        let recovery = self.recovery(plan.region);
        let mut families = Vec::new();
        let own = Family::BOTH.into_iter();
        for family in own.filter(|family| pool.families().contains(*family)) {
            families.push(self.family(family, plan, recovery.as_ref()));
        }
        let rung = Rung::best(plan.rungs[0] | plan.rungs[1]);
        let ttl = match plan.doubt || rung.is_none_or(Rung::is_degraded) {
            true => self.plan.ttl_min,
            false => self.plan.ttl,
        };
        let answers = self.answers.get(&Some(plan.region)).copied();
        let all: u64 = self.answers.values().sum();
        let answers = answers.unwrap_or_default();
        let ramp = conditions.map_or(RAMP_STEPS, |conditions| conditions.share);
        PoolDocument {
            region: present.config().region_name(plan.region).to_owned(),
            configured_weight: pool.weight.get(),
            weight: note.map_or(pool.weight.get(), |note: &Note| note.weight),
            ramp: f64::from(ramp) / f64::from(RAMP_STEPS),
            priority: plan.priority,
            endpoints: plan.endpoints.into(),
            endpoints_up: plan.up.into(),
            in_doubt: plan.doubt,
            drained: conditions
                .and_then(|conditions| conditions.drained.as_ref())
                .map(|drain| drain.sentence(present.wall)),
            overrides: conditions.map_or(Vec::new(), |conditions| {
                let overrides = conditions.overrides.iter();
                overrides.map(|own| own.sentence(present.wall)).collect()
            }),
            flapping_until: conditions
                .and_then(|conditions| conditions.flapping_until)
                .map(|until| present.show(until)),
            families,
            ttl: ttl.secs(),
            answers,
            share: (all > 0).then(|| round(answers as f64 / all as f64)),
        }
    }

    fn family(&self, family: Family, plan: &PoolPlan, recovery: Option<&PoolStatus>) -> PoolFamily {
        let rung = Rung::best(plan.rungs[family.index()]);
        let is_owner = self.service.unit.is_none() || rung.is_some();
        let recovery = recovery.map_or("in use", |own| match family {
            Family::V4 => own.ipv4,
            Family::V6 => own.ipv6,
        });
        PoolFamily {
            family: family.as_label().to_owned(),
            state: match is_owner {
                true => Level::of_pool(rung).as_str(),
                false => "not_owner",
            }
            .to_owned(),
            rung: rung.map(|rung| rung.as_label().to_owned()),
            recovery: recovery.to_owned(),
        }
    }

    fn recovery(&self, region: RegionId) -> Option<PoolStatus> {
        let name = self.present.config().region_name(region);
        let mut records = self.view?.recovery.iter();
        records
            .find(|record| record.region == name)
            .map(PoolStatus::new)
    }
}

/// The page of services that `wanted` asks for.
///
/// # Errors
/// A problem where it names what is not there.
pub(in crate::control) fn list(present: &Present, wanted: &Wanted) -> Result<ServiceList, Problem> {
    let config = present.config();
    let of = |index: &usize| &config.services[*index];
    let keep = |index: &usize| {
        let zone = &config.zones[of(index).zone.index()].origin;
        let mut pools = of(index).pools.iter();
        let (in_zone, region) = (wanted.zone.as_deref(), wanted.region.as_deref());
        in_zone.is_none_or(|name| zone.is_written(name))
            && region.is_none_or(|name| pools.any(|pool| config.region_name(pool.region) == name))
            && is_in_state(&present.snapshot.plans[*index], wanted.state)
    };
    let Page {
        entries,
        total,
        next,
    } = page(
        0..config.services.len(),
        wanted.after.as_deref(),
        wanted.limit,
        |index| of(index).name.to_string(),
        keep,
    )?;
    let services = entries.into_iter().map(ServiceId::from_index);
    Ok(ServiceList {
        total,
        next,
        services: services.map(|id| document(present, id)).collect(),
    })
}

fn is_in_state(plan: &Plan, wanted: Option<StateFilter>) -> bool {
    wanted.is_none_or(|wanted| match wanted {
        StateFilter::Up => level(plan) == Level::Up,
        StateFilter::Degraded => level(plan) == Level::Degraded,
        StateFilter::Down => level(plan) == Level::Down,
        StateFilter::InDoubt => is_in_doubt(plan),
    })
}

/// The document of the service of this name.
///
/// # Errors
/// A problem where there is none.
pub(in crate::control) fn one(present: &Present, name: &str) -> Result<ServiceDocument, Problem> {
    let mut services = present.config().services.iter();
    let Some(index) = services.position(|own| own.name.is_written(name)) else {
        let why = format!("there is no service {name}");
        return Err(Problem::not_found("name", why));
    };
    Ok(document(present, ServiceId::from_index(index)))
}

/// List services.
#[utoipa::path(
    get, path = "/v1/services", tag = "state", params(Wanted),
    responses((status = 200, description = "A page of services", body = ServiceList), Refusals)
)]
async fn services(
    Running(control): Running,
    Params(wanted): Params<Wanted>,
) -> Result<Response, Problem> {
    build(&control, move |present| list(present, &wanted)).await
}

/// Show a service.
#[utoipa::path(
    get, path = "/v1/services/{name}", tag = "state",
    params(("name" = String, Path, description = "The owner name, with its final dot or without")),
    responses((status = 200, description = "The service", body = ServiceDocument), Refusals)
)]
async fn service(
    Running(control): Running,
    Segments(name): Segments<String>,
) -> Result<Response, Problem> {
    build(&control, move |present| one(present, &name)).await
}

/// The routes of this subject.
pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(services))
        .routes(routes!(service))
}
