//! `/v1/status`: the state of the node at a glance.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::endpoints::{self, Place, places, standing};
use super::services::{Level, is_in_doubt, level, rungs};
use super::written::OverrideDocument;
use super::zones::ZoneDocument;
use super::{Present, Problem, Refusals, Routes, Running, build, overrides, zones};
use crate::clock::Clock;
use crate::control::Control;
use crate::control::last_reload::LastReload;
use crate::control::status::PoolStatus;
use crate::model::{Moment, Target};

/// The most endpoints and services that are listed one by one.
const LISTED: usize = 100;

/// The state of the node.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NodeStatus {
    /// The node's name.
    pub node: String,
    /// The version of Meridian.
    pub version: String,
    /// True while this node should be sent new traffic.
    pub ready: bool,
    /// The reason why it should not; null while it is ready.
    pub not_ready: Option<String>,
    /// True while this process can answer queries, ready or not.
    pub announced: bool,
    /// The reason why it cannot; null while it can.
    pub not_announced: Option<String>,
    /// True while this node's own network is taken to be what failed.
    pub isolated: bool,
    /// The time at which it began to answer, in RFC 3339.
    pub started: String,
    /// The time since then, in seconds.
    pub uptime: u64,
    /// The number of endpoints, by their state.
    pub endpoints: Counts,
    /// The number of services, by their state.
    pub services: ServiceCounts,
    /// Endpoints that are down, at most 100 of them.
    pub down: Vec<DownEndpoint>,
    /// Services that are not up in a family, at most 100 of them.
    pub degraded: Vec<DegradedService>,
    /// Pools that wait for an operator to resume them, at most 100 of them.
    pub held: Vec<HeldPool>,
    /// The zones.
    pub zones: Vec<ZoneDocument>,
    /// The overrides in force and announced.
    pub overrides: Vec<OverrideDocument>,
    /// The reason why overrides were lost, until an operator accepts it; null where none were.
    pub overrides_lost: Option<String>,
    /// The reason why no unit changes hands; null when they may.
    pub units_frozen: Option<String>,
    /// The last reload.
    pub reload: ReloadStatus,
}

/// Endpoints by their state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counts {
    /// All.
    pub total: usize,
    /// Those that are up.
    pub up: usize,
    /// Those that are down.
    pub down: usize,
    /// Those, up or down, that may soon change.
    pub in_doubt: usize,
}

/// Services by their state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceCounts {
    /// All.
    pub total: usize,
    /// Those that are answered from what is up and in use, in every family.
    pub up: usize,
    /// Those that are answered from less than that in a family.
    pub degraded: usize,
    /// Those of which nothing is up in a family.
    pub down: usize,
    /// Those, in any state, that may soon change.
    pub in_doubt: usize,
}

/// An endpoint that is down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DownEndpoint {
    /// Its region.
    pub region: String,
    /// Its address, or its target name with its final dot.
    pub endpoint: String,
    /// The services that have it.
    pub services: Vec<String>,
    /// The time since which probes see it down, in RFC 3339; null where they do not.
    pub since: Option<String>,
    /// The reason, in words.
    pub why: String,
    /// The id of the override that has it down; null where probes do.
    pub overridden_by: Option<String>,
}

/// A service that is not up in a family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DegradedService {
    /// Its owner name.
    pub service: String,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// `degraded` or `down`.
    pub state: String,
    /// The rung of the ladder from which it is answered; null where there is no answer.
    pub rung: Option<String>,
}

/// A pool that waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldPool {
    /// Owner name of the service.
    pub service: String,
    /// The region.
    pub region: String,
}

/// The last reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReloadStatus {
    /// The time of its end, in RFC 3339; before the first one, of the start.
    pub ended: String,
    /// The reason why the files on the disk are not what is served; null where they are.
    pub refused: Option<String>,
    /// The number of reloads since the start that were refused or failed.
    pub failures: u64,
}

/// The facts about the node that are in no snapshot.
#[derive(Debug, Clone)]
pub(in crate::control) struct NodeFacts {
    not_ready: Option<String>,
    not_announced: Option<String>,
    began: Moment,
    reload: Arc<LastReload>,
}

impl NodeFacts {
    /// The facts of this moment.
    pub(in crate::control) fn of(control: &Control) -> NodeFacts {
        let (liveness, now) = (&control.liveness, Clock.now());
        let announced = liveness.announced(control.server.turns(), now);
        NodeFacts {
            not_ready: liveness.ready(now).err().map(|why| why.to_string()),
            not_announced: announced.err().map(|why| why.to_string()),
            began: liveness.began(),
            reload: control.reloads.load_full(),
        }
    }
}

/// The state of the node.
pub(in crate::control) fn document(present: &Present, node: &NodeFacts) -> NodeStatus {
    let view = &present.view;
    let (endpoints, down) = endpoints_now(present);
    let (services, degraded) = services_now(present);
    let overrides = overrides::list(present);
    NodeStatus {
        node: present.config().server.node.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ready: node.not_ready.is_none(),
        not_ready: node.not_ready.clone(),
        announced: node.not_announced.is_none(),
        not_announced: node.not_announced.clone(),
        isolated: view.is_isolated,
        started: present.show(node.began),
        uptime: present.now.since(node.began).as_secs(),
        endpoints,
        services,
        down,
        degraded,
        held: held(present),
        zones: zones::list(present).zones,
        overrides: overrides.overrides,
        overrides_lost: overrides.lost,
        units_frozen: view.frozen.as_deref().map(str::to_owned),
        reload: reload(&node.reload),
    }
}

/// Counts the endpoints, and lists the first that are down. One that several services have is one
/// entry of the list.
fn endpoints_now(present: &Present) -> (Counts, Vec<DownEndpoint>) {
    let mut counts = Counts::default();
    let mut down: BTreeMap<(usize, String), Vec<Place<'_>>> = BTreeMap::new();
    for place in places(present) {
        let state = standing(present, place).state;
        counts.total += 1;
        counts.in_doubt += usize::from(!state.settled);
        if state.up {
            counts.up += 1;
            continue;
        }
        counts.down += 1;
        let key = (place.pool.region.index(), sortable(&place.endpoint.target));
        if down.len() < LISTED || down.contains_key(&key) {
            down.entry(key).or_default().push(place);
        }
    }
    let down = down.values().filter_map(|places| listed(present, places));
    (counts, down.collect())
}

/// A text by which addresses are in the order of their numbers.
fn sortable(target: &Target) -> String {
    match target {
        Target::Address(address) => format!(
            "{:?}",
            match address {
                std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
                std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
            }
        ),
        Target::Name(name) => name.to_string(),
    }
}

fn listed(present: &Present, places: &[Place<'_>]) -> Option<DownEndpoint> {
    let first = *places.first()?;
    let standing = standing(present, first);
    let since = endpoints::since(present, first, standing.probed);
    let services = places.iter().map(|place| place.service.name.to_string());
    Some(DownEndpoint {
        region: present.config().region_name(first.pool.region).to_owned(),
        endpoint: first.endpoint.target.to_string(),
        services: services.collect(),
        since: since
            .filter(|_| !standing.probed.up)
            .map(|since| present.show(since)),
        why: endpoints::why(present, first, &standing).unwrap_or_default(),
        overridden_by: standing.by.map(|own| own.id.to_string()),
    })
}

fn services_now(present: &Present) -> (ServiceCounts, Vec<DegradedService>) {
    let (mut counts, mut degraded) = (ServiceCounts::default(), Vec::new());
    let services = present.config().services.iter();
    for (service, plan) in services.zip(&present.snapshot.plans) {
        counts.total += 1;
        counts.in_doubt += usize::from(is_in_doubt(plan));
        match level(plan) {
            Level::Up => {
                counts.up += 1;
                continue;
            }
            Level::Degraded => counts.degraded += 1,
            Level::Down => counts.down += 1,
        }
        for (family, rung) in rungs(plan) {
            if Level::of(rung) > Level::Up && degraded.len() < LISTED {
                degraded.push(DegradedService {
                    service: service.name.to_string(),
                    family: family.as_label().to_owned(),
                    state: Level::of(rung).as_str().to_owned(),
                    rung: rung.map(|rung| rung.as_label().to_owned()),
                });
            }
        }
    }
    (counts, degraded)
}

fn held(present: &Present) -> Vec<HeldPool> {
    let pools = present.view.recovery().map(PoolStatus::new);
    let held = pools.filter(PoolStatus::is_held).take(LISTED);
    held.map(|pool| HeldPool {
        service: pool.service,
        region: pool.region,
    })
    .collect()
}

fn reload(last: &LastReload) -> ReloadStatus {
    let ended = UNIX_EPOCH + Duration::from_secs(last.ended);
    ReloadStatus {
        ended: humantime::format_rfc3339_seconds(ended).to_string(),
        refused: last.refused.map(|refused| refused.as_str().to_owned()),
        failures: last.failures,
    }
}

/// Show the state of the node.
#[utoipa::path(
    get, path = "/v1/status", tag = "state",
    responses((status = 200, description = "The state of the node", body = NodeStatus), Refusals)
)]
async fn status(Running(control): Running) -> Result<Response, Problem> {
    let node = NodeFacts::of(&control);
    build(&control, move |present| Ok(document(present, &node))).await
}

/// The routes of this subject.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(status))
}
