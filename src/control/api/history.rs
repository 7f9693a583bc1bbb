//! `/v1/history`: the states of pools and endpoints in the last 24 hours.

use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{Params, Problem, Refusals, Routes, Running};
use crate::clock::Clock;
use crate::control::{Events, HistoryKey, Strip};

/// The states of the last 24 hours.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = History)]
pub struct HistoryDocument {
    /// The end of the 24 hours, RFC 3339 in UTC.
    pub now: String,
    /// Changes of objects that found no room among the 50 000 that are followed.
    pub untold: u64,
    /// The pools and endpoints that changed; others have had their state for 24 hours, or since the
    /// process began.
    pub strips: Vec<StripDocument>,
}

/// The states of a pool in one family, or of an endpoint under one check.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Strip)]
pub struct StripDocument {
    /// Owner name of the service of a pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The region of a pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The family of a pool: `ipv4` or `ipv6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// The address or target name of an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The check of an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// Its states, one after the other; the first begins late where more than 32 changes fell out,
    /// or the process began.
    pub intervals: Vec<IntervalDocument>,
}

/// A state from one time to another.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Interval)]
pub struct IntervalDocument {
    /// Its beginning, RFC 3339 in UTC.
    pub from: String,
    /// Its end.
    pub to: String,
    /// The state, as changes name it.
    pub state: String,
}

/// The parameters of `/v1/history`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Only the pools of this service.
    service: Option<String>,
    /// Only the pools of this region.
    region: Option<String>,
    /// Only this endpoint.
    endpoint: Option<String>,
}

impl Wanted {
    fn takes(&self, key: &HistoryKey) -> bool {
        let is = |wanted: &Option<String>, own: &str| {
            wanted.as_deref().is_none_or(|wanted| {
                let bare = wanted.trim_end_matches('.');
                bare.eq_ignore_ascii_case(own.trim_end_matches('.'))
            })
        };
        is(&self.service, &key.service)
            && is(&self.region, &key.region)
            && is(&self.endpoint, &key.endpoint)
    }
}

/// The document of `strips` at a Unix time in seconds.
pub(in crate::control) fn document(strips: Vec<Strip>, untold: u64, now: u64) -> HistoryDocument {
    let strips = strips.into_iter().map(|strip| {
        let key = strip.key;
        let named = |text: Box<str>| (!text.is_empty()).then(|| text.into_string());
        StripDocument {
            service: named(key.service),
            region: named(key.region),
            family: key.family.map(|family| family.as_label().to_owned()),
            endpoint: named(key.endpoint),
            check: named(key.check),
            intervals: strip
                .intervals
                .iter()
                .map(|own| IntervalDocument {
                    from: show(own.from),
                    to: show(own.to),
                    state: own.state.to_owned(),
                })
                .collect(),
        }
    });
    HistoryDocument {
        now: show(now),
        untold,
        strips: strips.collect(),
    }
}

fn show(unix: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(unix)).to_string()
}

/// Show the last 24 hours.
#[utoipa::path(
    get, path = "/v1/history", tag = "state", params(Wanted),
    responses((status = 200, description = "States by time", body = HistoryDocument), Refusals)
)]
async fn history(
    Running(control): Running,
    Params(wanted): Params<Wanted>,
) -> Result<Json<HistoryDocument>, Problem> {
    let events = control.events;
    // Fifty thousand strips are some ten megabytes.
    let made = tokio::task::spawn_blocking(move || of(&events, &wanted)).await;
    made.map(Json).map_err(|why| {
        let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, why.to_string())
    })
}

fn of(events: &Events, wanted: &Wanted) -> HistoryDocument {
    let clock = Clock;
    let now = clock.wall().unix(clock.now()).as_secs();
    let (strips, untold) = events.history(now, |key| wanted.takes(key));
    document(strips, untold, now)
}

/// The routes of this subject.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(history))
}
