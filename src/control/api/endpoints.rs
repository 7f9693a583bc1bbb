//! `/v1/endpoints`: every endpoint, with the state that counts and what its checks see.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use axum::response::Response;

use super::paging::{Limit, Page, page};
use super::{Params, Present, Problem, Refusals, Routes, Running, build};
use crate::control::status::ProbeStatus;
use crate::health::State;
use crate::model::{Endpoint, Moment, Pool, Service, ServiceId, TargetId};
use crate::overrides::Override;
use crate::publisher::TargetView;

/// A page of endpoints.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EndpointList {
    /// The number of endpoints on all pages.
    pub total: usize,
    /// The value of `after` for the next page; null on the last one.
    pub next: Option<String>,
    /// The endpoints, in the order of the files.
    pub endpoints: Vec<EndpointDocument>,
}

/// An endpoint: one address or target name in a pool.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EndpointDocument {
    /// Owner name of the service.
    pub service: String,
    /// The region of the pool.
    pub region: String,
    /// The address, or the target name with its final dot.
    pub endpoint: String,
    /// The weight in the files.
    pub weight: u32,
    /// The state that counts.
    pub up: bool,
    /// True where that state may soon change.
    pub in_doubt: bool,
    /// The state as probes see it: another one than `up` under an override.
    pub probed_up: bool,
    /// The id of the override that gives it its state; null where probes do.
    pub overridden_by: Option<String>,
    /// The time since which probes see it in this state, in RFC 3339; null before the first change.
    pub since: Option<String>,
    /// The reason why it is down, in words; null while it is up.
    pub why: Option<String>,
    /// The checks that judge it.
    pub checks: Vec<CheckDocument>,
}

/// A check of an endpoint.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CheckDocument {
    /// The check's name.
    pub check: String,
    /// Up, after thresholds.
    pub up: bool,
    /// True where that may soon change.
    pub in_doubt: bool,
    /// The time of the last transition, in RFC 3339; null before the first.
    pub since: Option<String>,
    /// Failures counted against it while it is up.
    pub fails: u32,
    /// Passes counted for it, towards `rise` or `forgive`.
    pub passes: u32,
    /// The reason of its last failure; null where it never failed.
    pub last_failure: Option<String>,
    /// The time until which it is held down as flapping; null where it is not.
    pub flapping_until: Option<String>,
    /// True while its state is from before a restart, and no probe has ended since.
    pub restored: bool,
    /// The load that it reports, averaged, 0 to 1; null where it reports none.
    pub load: Option<f64>,
    /// The number of passes without a usable report of load.
    pub load_ignored: u64,
    /// The connection that is held to it: `none`, `held`, `lost`, `given_up` or `no_descriptor`.
    pub watch: String,
    /// The time by which the next probe begins, in RFC 3339; null before the first probe, and for
    /// `push` checks.
    pub next_probe_by: Option<String>,
    /// The last outcome; null before the first.
    pub last: Option<ProbeStatus>,
}

/// The parameters of `/v1/endpoints`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::control) struct Wanted {
    /// Only endpoints of this service, or of the units of this one.
    service: Option<String>,
    /// Only endpoints in this region.
    region: Option<String>,
    /// Only endpoints with this address or target name.
    endpoint: Option<String>,
    /// Only endpoints that this check judges.
    check: Option<String>,
    /// Only endpoints in this state.
    #[param(inline)]
    state: Option<StateFilter>,
    /// The most endpoints on the page; 100 where it is left out.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Limit,
    /// The page after this one: the `next` of the page before.
    after: Option<String>,
}

/// A state of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::control) enum StateFilter {
    /// Up.
    Up,
    /// Down.
    Down,
    /// Perhaps soon in another state.
    InDoubt,
    /// Given its state by an override.
    Overridden,
}

/// An endpoint, and where it is.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    pub(super) service: &'p Service,
    pub(super) pool: &'p Pool,
    pub(super) endpoint: &'p Endpoint,
}

/// Every endpoint, in the order of the files.
pub(super) fn places(present: &Present) -> impl Iterator<Item = Place<'_>> {
    present.config().services.iter().flat_map(|service| {
        service.pools.iter().flat_map(move |pool| {
            pool.endpoints.iter().map(move |endpoint| Place {
                service,
                pool,
                endpoint,
            })
        })
    })
}

/// The state of an endpoint.
#[derive(Clone, Copy)]
pub(super) struct Standing<'p> {
    /// The state that counts.
    pub(super) state: State,
    /// The state as probes see it.
    pub(super) probed: State,
    /// The override that gives it.
    pub(super) by: Option<&'p Override>,
}

/// The state of the endpoint at `place`.
pub(super) fn standing<'p>(present: &'p Present, place: Place<'_>) -> Standing<'p> {
    let Place {
        service,
        pool,
        endpoint,
    } = place;
    let probed = present.view.endpoint(endpoint);
    let (list, regions) = (&present.view.overrides.list, &present.config().regions);
    match list.health_of(regions, service, pool, endpoint, present.view.at) {
        None => Standing {
            state: probed,
            probed,
            by: None,
        },
        Some((state, own)) => Standing {
            state,
            probed,
            by: Some(own),
        },
    }
}

/// The checks of an endpoint that have the state in which probes see it.
fn telling<'p>(
    present: &'p Present,
    place: Place<'p>,
    up: bool,
) -> impl Iterator<Item = (TargetId, &'p TargetView)> {
    let targets = place.endpoint.probes.iter();
    let views = targets.map(move |target| (*target, present.view.target(*target)));
    views.filter(move |(_, view)| view.state.up == up)
}

/// The time since which probes see an endpoint in this state; `None` before the first change.
pub(super) fn since(present: &Present, place: Place<'_>, probed: State) -> Option<Moment> {
    telling(present, place, probed.up)
        .filter_map(|(_, view)| view.changed)
        .max()
}

/// The reason why an endpoint is down, in words.
pub(super) fn why(present: &Present, place: Place<'_>, standing: &Standing<'_>) -> Option<String> {
    if standing.state.up {
        return None;
    }
    if let Some(own) = standing.by {
        return Some(format!("override {}: {}", own.id, own.reason));
    }
    let mut reasons = Vec::new();
    for (target, view) in telling(present, place, false) {
        let config = present.config();
        let check = config.targets[target.index()].check;
        let check = &config.checks[check.index()].name;
        let reason = match (view.flapping_until, view.last_failure) {
            (Some(until), _) => format!("held down as flapping until {}", present.show(until)),
            (None, Some(reason)) => reason.to_string(),
            (None, None) => "down before the restart, and not probed since".to_owned(),
        };
        reasons.push(format!("{check}: {reason}"));
    }
    Some(reasons.join("; "))
}

/// The document of the endpoint at `place`.
pub(super) fn document(present: &Present, place: Place<'_>) -> EndpointDocument {
    let standing = standing(present, place);
    let since = since(present, place, standing.probed);
    let checks = place.endpoint.probes.iter();
    EndpointDocument {
        service: place.service.name.to_string(),
        region: present.config().region_name(place.pool.region).to_owned(),
        endpoint: place.endpoint.target.to_string(),
        weight: place.endpoint.weight.get(),
        up: standing.state.up,
        in_doubt: !standing.state.settled,
        probed_up: standing.probed.up,
        overridden_by: standing.by.map(|own| own.id.to_string()),
        since: since.map(|since| present.show(since)),
        why: why(present, place, &standing),
        checks: checks.map(|target| check(present, *target)).collect(),
    }
}

fn check(present: &Present, id: TargetId) -> CheckDocument {
    let (config, view) = (present.config(), present.view.target(id));
    let spec = &config.checks[config.targets[id.index()].check.index()];
    let next = view.last.as_ref().filter(|_| !spec.kind.is_push());
    let show = |moment| present.show(moment);
    CheckDocument {
        check: spec.name.clone(),
        up: view.state.up,
        in_doubt: !view.state.settled,
        since: view.changed.map(show),
        fails: view.fails,
        passes: view.passes,
        last_failure: view.last_failure.map(|reason| reason.to_string()),
        flapping_until: view.flapping_until.map(show),
        restored: view.restored,
        load: view.load,
        load_ignored: view.load_ignored,
        watch: view.watch.as_label().to_owned(),
        // A probe began before its outcome, and the next one follows that beginning.
        next_probe_by: next.map(|last| show(last.at - last.phases.total() + spec.interval)),
        last: view
            .last
            .as_ref()
            .map(|outcome| ProbeStatus::new(outcome, present.wall)),
    }
}

/// The documents of the endpoints of a service.
pub(in crate::control) fn of_service(present: &Present, id: ServiceId) -> Vec<EndpointDocument> {
    let service = &present.config().services[id.index()];
    let mut documents = Vec::new();
    for pool in &service.pools {
        for endpoint in &pool.endpoints {
            let place = Place {
                service,
                pool,
                endpoint,
            };
            documents.push(document(present, place));
        }
    }
    documents
}

/// The page of endpoints that `wanted` asks for.
///
/// # Errors
/// A problem where it names what is not there.
pub(in crate::control) fn list(
    present: &Present,
    wanted: &Wanted,
) -> Result<EndpointList, Problem> {
    let config = present.config();
    let keep = |place: &Place<'_>| {
        let service = wanted.service.as_deref();
        let region = wanted.region.as_deref();
        let endpoint = wanted.endpoint.as_deref();
        service.is_none_or(|name| place.service.goes_by(name))
            && region.is_none_or(|name| config.region_name(place.pool.region) == name)
            && endpoint.is_none_or(|text| place.endpoint.target.is_written(text))
            && is_checked(present, *place, wanted.check.as_deref())
            && is_in_state(present, *place, wanted.state)
    };
    let Page {
        entries,
        total,
        next,
    } = page(
        places(present),
        wanted.after.as_deref(),
        wanted.limit,
        |place| name(present, *place),
        keep,
    )?;
    let endpoints = entries.into_iter().map(|place| document(present, place));
    Ok(EndpointList {
        total,
        next,
        endpoints: endpoints.collect(),
    })
}

fn is_checked(present: &Present, place: Place<'_>, check: Option<&str>) -> bool {
    let config = present.config();
    check.is_none_or(|name| {
        let mut targets = place.endpoint.probes.iter();
        targets.any(|target| {
            let check = config.targets[target.index()].check;
            config.checks[check.index()].name == name
        })
    })
}

fn is_in_state(present: &Present, place: Place<'_>, wanted: Option<StateFilter>) -> bool {
    let Some(wanted) = wanted else { return true };
    let standing = standing(present, place);
    match wanted {
        StateFilter::Up => standing.state.up,
        StateFilter::Down => !standing.state.up,
        StateFilter::InDoubt => !standing.state.settled,
        StateFilter::Overridden => standing.by.is_some(),
    }
}

/// The name of an endpoint among all, for `after`.
fn name(present: &Present, place: Place<'_>) -> String {
    let region = present.config().region_name(place.pool.region);
    format!("{}/{region}/{}", place.service.name, place.endpoint.target)
}

/// List endpoints.
#[utoipa::path(
    get, path = "/v1/endpoints", tag = "state", params(Wanted),
    responses(
        (status = 200, description = "A page of endpoints", body = EndpointList),
        Refusals,
    )
)]
async fn endpoints(
    Running(control): Running,
    Params(wanted): Params<Wanted>,
) -> Result<Response, Problem> {
    build(&control, move |present| list(present, &wanted)).await
}

/// The routes of this subject.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(endpoints))
}
