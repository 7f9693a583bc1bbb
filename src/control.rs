//! The admin address: `/healthz`, `/readyz`, `/announcez`, `/metrics`, `/health`, `/why`, `/resume` and `/push` over HTTP; and
//! [`local`], the control socket.
//!
//! It reads what is published, the [`ReadModel`] beside it and what the workers count: no question
//! enters the publisher's loop. What operators and endpoints want done goes there as a [`Request`];
//! nothing is written here.

mod access;
pub mod api;
mod audit;
mod certificate;
mod client;
mod dashboard;
mod drills;
mod edge;
mod events;
mod gate;
mod history;
mod hosts;
mod last_reload;
mod liveness;
pub mod local;
mod metrics;
mod notifications;
mod preflight;
mod problem;
mod push;
mod rates;
mod read_model;
mod request;
mod status;
mod tallies;
mod work;

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get as on_get, post as on_post};
use axum::{Json, Router, middleware};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tower_http::catch_panic::CatchPanicLayer;

use crate::answer::{Counters, explain};
use edge::Edge;
use gate::{Door, Requester};

use crate::clock::Clock;
use crate::config::{AdminSpec, Config};
use crate::dataset::Published;
use crate::dns::{Name, Prefix, RrType};
use crate::dnstap::Counters as Sampled;
use crate::model::WallTime;
use crate::probe::ProbeCounters;
use crate::publisher::View;
use crate::recovery::{self, NotResumed};
use crate::server::{self, BindError, ServerCounters, Transport, seed};

pub use access::{Caller, Scope};
pub use api::KeptAnswers;
pub use audit::{
    AUDIT_FILE, Audit, AuditEntry, AuditPage, AuditQuery, AuditResult, Entry, read_audit,
};
pub use client::{
    Admittance, AdmittanceError, BadServer, EventStream, RequestError, Server, StreamEvent, delete,
    follow, get, get_within, percent_encode, post, post_within, put,
};
pub use drills::{
    DrillDesk, DrillInbox, DrillRefusal, DrillsShown, StatePlace, drive as drive_drills,
};
pub use edge::{LOCAL_CONNECTIONS, LOCAL_STREAMS};
pub use events::{EventId, Events, Kept, NotAnEventId, Recorded, Seen, Subscription};
pub use gate::Gate;
pub use history::{HistoryKey, Interval, Strip};
pub use last_reload::{LastReload, NotReloaded, Refused, Reloaded, Reloads};
pub use liveness::{Liveness, TURN};
pub use metrics::page as metrics_page;
pub use notifications::{Delivery, Notifications};
pub use preflight::{NameNumbers, Populations, Preflight, RegionNumbers};
pub use problem::{DiagnosticDocument, Problem, ProblemDocument};
pub use read_model::{Feed, ReadModel};
pub use request::{Command, Durable, Request, Stale};
pub use status::{
    OverrideStatus, PoolStatus, ProbeStatus, Status, TargetStatus, UnitStatus, UnitsStatus,
};
pub use tallies::Tallies;
pub use work::{Work, WorkTimes};

/// The time that the publisher's loop may take to answer; what waits for a disk takes less.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything that the API works with.
#[derive(Clone)]
pub struct Control {
    /// The snapshot that queries are answered from.
    pub published: Arc<Published>,
    /// The state behind it.
    pub state: ReadModel,
    /// The workers' counters.
    pub counters: Vec<Arc<Counters>>,
    /// The transports' counters.
    pub server: Arc<ServerCounters>,
    /// The counters of query sampling.
    pub sampled: Arc<Sampled>,
    /// The signs of life of this process.
    pub liveness: Arc<Liveness>,
    /// The times that work on files takes.
    pub work: Arc<WorkTimes>,
    /// The way into the publisher's loop.
    pub requests: mpsc::Sender<Request>,
    /// The outcome of the last reload.
    pub reloads: Arc<Reloads>,
    /// The counters of the probes.
    pub probes: Arc<ProbeCounters>,
    /// The counts of what the process did.
    pub tallies: Arc<Tallies>,
    /// The changes of this process, for those who follow them.
    pub events: Arc<Events>,
    /// The clients of the dataset in use.
    pub populations: Arc<Populations>,
    /// The answers of the API that are kept for requests that come again.
    pub answers: Arc<KeptAnswers>,
    /// The fate of what destinations are told.
    pub notifications: Arc<Notifications>,
    /// The gate of the HTTP interface.
    pub gate: Arc<Gate>,
    /// The way into the audit log.
    pub audit: Audit,
    /// The way to the drills.
    pub drills: DrillDesk,
}

impl Control {
    /// The name of this node.
    pub fn node(&self) -> String {
        self.published.load().dataset.config.server.node.clone()
    }
}

/// The API's [`Control`], once queries are answered. Before that only `/healthz` has something to say.
pub type Started = Arc<OnceLock<Control>>;

impl FromRequestParts<Started> for Control {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(
        _: &mut Parts,
        started: &Started,
    ) -> Result<Control, Self::Rejection> {
        started.get().cloned().ok_or((
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: starting; queries are answered once the first round of probes has ended, within 5 s\n",
        ))
    }
}

/// The admin addresses, taken and not yet served.
#[derive(Debug)]
pub struct Admin {
    listeners: Vec<(TcpListener, Door)>,
    gate: Arc<Gate>,
}

/// Takes the admin addresses, on a thread of the runtime.
pub fn bind(spec: &AdminSpec, gate: Arc<Gate>) -> Result<Admin, BindError> {
    let mut listeners = Vec::new();
    for (addresses, is_for_pushes) in [(&spec.listen, false), (&spec.push_listen, true)] {
        for address in addresses {
            let listener = server::bind_admin(*address)?;
            let listener = edge::prepare(&listener).and_then(|()| TcpListener::from_std(listener));
            let listener =
                listener.map_err(|error| BindError::explain(*address, Transport::Tcp, error))?;
            let door = Door {
                is_exposed: !address.ip().to_canonical().is_loopback(),
                is_for_pushes,
            };
            listeners.push((listener, door));
        }
    }
    Ok(Admin { listeners, gate })
}

/// Serves the API on the admin addresses for as long as the runtime lives, to so many connections at once, and to so many
/// streams beside them: at once, and all of it from when `started` is set.
pub async fn serve(admin: Admin, connections: usize, streams: usize, started: Started) {
    let routes = Router::new()
        .route("/healthz", on_get(async || "ok\n"))
        .route("/readyz", on_get(readyz))
        .route("/announcez", on_get(announcez))
        .route("/health", on_get(health))
        .route("/metrics", on_get(metrics))
        .route("/why", on_get(why))
        .route("/resume", on_post(resume))
        .route("/push", on_post(push::push))
        .merge(dashboard::routes())
        .layer(catch_panics(failed))
        .with_state(started.clone())
        .merge(api::routes(started))
        // Around all else: whoever is refused reaches no handler at all.
        .layer(middleware::from_fn_with_state(
            admin.gate.clone(),
            gate::gate,
        ));
    tokio::spawn(admin.gate.certificate.clone().watch());
    let edge = Edge::new(connections, streams, admin.gate);
    for (listener, door) in admin.listeners {
        tokio::spawn(edge.clone().serve(listener, door, routes.clone()));
    }
}

/// Requests of the admin address and the control socket that ended in 500 because the program failed at them.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Answers with `failed` where a handler panics, and counts it.
fn catch_panics(
    failed: fn() -> Response,
) -> CatchPanicLayer<impl FnMut(Box<dyn Any + Send>) -> Response + Clone> {
    CatchPanicLayer::custom(move |_| {
        // The panic hook has logged where it happened.
        PANICS.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            "HTTP request failed with status 500: its handler panicked, which is a fault of Meridian; please report it"
        );
        failed()
    })
}

/// The answer to a request whose handler panicked.
fn failed() -> Response {
    (
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal error in Meridian: see the log\n",
    )
        .into_response()
}

/// The reason why the publisher's loop did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Unanswered {
    /// It was not asked: nothing has a name that the request has.
    NotFound(String),
    /// The process ends.
    Stopping,
    /// The loop hangs: the time by which it is late.
    Stalled(Duration),
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unanswered::NotFound(why) => f.write_str(why),
            Unanswered::Stopping => f.write_str("stopping"),
            Unanswered::Stalled(late) => write!(
                f,
                "control loop stalled: late by {} ms, so nothing was answered; see the log",
                late.as_millis()
            ),
        }
    }
}

impl IntoResponse for Unanswered {
    fn into_response(self) -> Response {
        let status = match self {
            Unanswered::NotFound(_) => StatusCode::NOT_FOUND,
            Unanswered::Stopping | Unanswered::Stalled(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, format!("{self}\n")).into_response()
    }
}

/// Makes something of the state of this moment, on a thread that may take its time: texts of tens of
/// thousands of targets take longer than others on this runtime should wait.
async fn render<T: Send + 'static>(
    control: &Control,
    make: impl FnOnce(&View, WallTime) -> T + Send + 'static,
) -> Result<T, Response> {
    let state = control.state.clone();
    // Read there too: taking in updates may cost milliseconds, and two threads carry the whole
    // runtime.
    let made = tokio::task::spawn_blocking(move || make(&state.read(), Clock.wall())).await;
    made.map_err(|why| (StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n")).into_response())
}

/// The state of this moment, as `/health` shows it.
async fn status(control: &Control) -> Result<Status, Response> {
    let not_ready = control.liveness.ready(Clock.now()).err();
    render(control, move |view, wall| {
        Status::new(view, not_ready, wall)
    })
    .await
}

impl From<Unanswered> for Response {
    fn from(why: Unanswered) -> Response {
        why.into_response()
    }
}

/// Puts a request to the publisher's loop, which answers at once unless it hangs.
async fn ask<T>(
    control: &Control,
    request: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Result<T, Unanswered> {
    ask_within(PATIENCE, control, request).await
}

/// The same for a request that the loop may answer as late as `patience`.
async fn ask_within<T>(
    patience: Duration,
    control: &Control,
    request: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Result<T, Unanswered> {
    let (reply, answer) = oneshot::channel();
    // Both steps are under one limit: a loop that hangs leaves its queue full as well.
    let asked = async {
        control.requests.send(request(reply)).await.ok()?;
        answer.await.ok()
    };
    match tokio::time::timeout(patience, asked).await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(Unanswered::Stopping),
        Err(_) => Err(Unanswered::Stalled(control.liveness.late(Clock.now()))),
    }
}

/// Puts a request about ids to the publisher's loop. Names are resolved here, beside the loop, which
/// would hold up everybody while it searches tens of thousands of targets; where a reload comes in
/// between, the loop refuses the ids and the names are resolved again.
async fn ask_about<I, E: fmt::Display, T>(
    control: &Control,
    resolve: impl Fn(&Config) -> Result<I, E>,
    request: impl Fn(Arc<Config>, I, oneshot::Sender<Result<T, Stale>>) -> Request,
) -> Result<T, Unanswered> {
    loop {
        let config = control.published.load().dataset.config.clone();
        let ids = resolve(&config).map_err(|why| Unanswered::NotFound(why.to_string()))?;
        // A second turn finds the new files: they are published before the loop takes more requests.
        if let Ok(answer) = ask(control, |reply| request(config, ids, reply)).await? {
            return Ok(answer);
        }
    }
}

/// Says whether this node should be sent new traffic.
async fn readyz(control: Control) -> Response {
    match control.liveness.ready(Clock.now()) {
        // Still 200: the node serves good answers, and draining it would help nobody.
        Ok(()) => match control.reloads.load().refused {
            None => "ready\n".into_response(),
            Some(refused) => format!("ready, but {}\n", refused.as_str()).into_response(),
        },
        Err(why) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {why}\n"),
        )
            .into_response(),
    }
}

/// Says whether this process can answer, however it judges itself.
async fn announcez(control: Control) -> Response {
    // Readiness is left out on purpose: all nodes may be unready at once, and withdrawing all of
    // them would turn a bad answer into none.
    let (turns, now) = (control.server.turns(), Clock.now());
    match control.liveness.announced(turns, now) {
        Ok(()) => "answering\n".into_response(),
        Err(why) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not answering: {why}\n"),
        )
            .into_response(),
    }
}

async fn health(control: Control) -> Result<Response, Response> {
    Ok(Json(status(&control).await?).into_response())
}

async fn metrics(control: Control, headers: HeaderMap) -> Result<Response, Response> {
    let (format, all) = (metrics::Format::accepted(&headers), control.clone());
    let text = render(&control, move |view, wall| {
        metrics::encode(all, view.clone(), wall, format)
    })
    .await?;
    // A cache in between must not give one client the other's format.
    let kind = [
        (header::CONTENT_TYPE, format.content_type()),
        (header::VARY, "accept"),
    ];
    Ok((kind, text).into_response())
}

/// The parameters of `/resume`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resume {
    service: String,
    region: Option<String>,
    #[serde(default = "text")]
    format: Format,
}

fn text() -> Format {
    Format::Text
}

async fn resume(
    control: Control,
    caller: Caller,
    requester: Requester,
    Query(what): Query<Resume>,
) -> Result<Response, Response> {
    caller
        .may(Scope::Operate)
        .map_err(IntoResponse::into_response)?;
    let Resume {
        service,
        region,
        format,
    } = what;
    let resumed = ask_about(
        &control,
        |config| recovery::resolve(config, &service, region.as_deref()),
        |config, (service, region), reply| Request::Resume {
            config,
            service,
            region,
            reply,
        },
    )
    .await?;
    let what = match &region {
        Some(region) => format!("{service}/{region}"),
        None => service.clone(),
    };
    let entry = Entry::new(caller.name(), "resume", what);
    control.audit.record(requester.record(match &resumed {
        Ok(regions) => Entry {
            after: serde_json::json!({ "regions": regions }),
            ..entry
        },
        Err(why) => entry.ended(AuditResult::Refused, why.to_string()),
    }));
    Ok(match resumed {
        Ok(regions) if format == Format::Json => {
            Json(serde_json::json!({ "service": service, "regions": regions })).into_response()
        }
        Ok(regions) => format!("resumed {service} in {}\n", regions.join(", ")).into_response(),
        Err(why @ NotResumed::NotHeld { .. }) => {
            (StatusCode::CONFLICT, format!("{why}\n")).into_response()
        }
        Err(why) => (StatusCode::NOT_FOUND, format!("{why}\n")).into_response(),
    })
}

/// The parameters of `/why`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Why {
    name: String,
    client: String,
    r#type: Option<String>,
    #[serde(default)]
    format: Format,
}

#[derive(Debug, Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Text,
}

async fn why(control: Control, Query(why): Query<Why>) -> Response {
    let bad = |what: String| (StatusCode::BAD_REQUEST, format!("{what}\n")).into_response();
    let name = match Name::from_text(&why.name, Some(&Name::root())) {
        Ok(name) => name,
        Err(error) => return bad(format!("name {}: {error}", why.name)),
    };
    let client = match why.client.parse::<Prefix>() {
        Ok(client) => client,
        Err(error) => return bad(format!("client {} {error}", why.client)),
    };
    let rtype = match why.r#type.as_deref().map(str::parse::<RrType>).transpose() {
        Ok(rtype) => rtype,
        Err(()) => {
            return bad(format!(
                "type {} is not a DNS type",
                why.r#type.unwrap_or_default()
            ));
        }
    };
    // From the snapshot that queries get, by the same code: an explanation cannot differ from an
    // answer.
    let explanation = explain(
        &control.published.load(),
        &name,
        rtype,
        client,
        seed(),
        Clock.wall(),
    );
    match why.format {
        Format::Json => Json(explanation.json()).into_response(),
        Format::Text => format!("{}\n", explanation.lines().join("\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_handler_that_panics_answers_500_and_is_counted() {
        let fails = async || -> &'static str { panic!("an error in the program") };
        let routes = Router::new()
            .route("/fails", on_get(fails))
            .route("/works", on_get(async || "ok\n"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server: Server = url.parse().unwrap();
        tokio::spawn(axum::serve(listener, routes.layer(catch_panics(failed))).into_future());
        let ask = move |path: &'static str| {
            let server = server.clone();
            async move {
                tokio::task::spawn_blocking(move || get(&server, path))
                    .await
                    .unwrap()
            }
        };
        for count in 1..=2 {
            assert!(
                ask("/fails")
                    .await
                    .unwrap_err()
                    .to_string()
                    .contains("internal error in Meridian")
            );
            assert_eq!(PANICS.load(Ordering::Relaxed), count);
            assert_eq!(ask("/works").await.unwrap(), "ok\n");
        }
    }
}
