//! The admin address: `/healthz`, `/readyz`, `/announcez`, `/metrics`, `/health`, `/why`, `/resume` and `/push` over HTTP; and
//! [`local`], the control socket.
//!
//! It reads what is published and what the workers count, and asks the publisher's loop for the
//! rest; it writes nothing itself.

mod client;
mod edge;
mod life;
pub mod local;
mod metrics;
mod push;
mod status;
mod vitals;

use std::any::Any;
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
use crate::clock::Clock;
use crate::config::AdminSpec;
use crate::dataset::Published;
use crate::dns::{Name, Prefix, RrType};
use crate::health::Report;
use crate::model::Target;
use crate::overrides::{OverrideRequest, Selector};
use crate::publisher::NotDone;
use crate::recovery::NotResumed;
use crate::server::{self, BindError, ServerCounters, Transport, seed};

pub use client::{RequestError, get, get_local, percent_encode, post, post_local};
pub use edge::{CONNECTIONS, LOCAL_CONNECTIONS};
pub use life::{LastReload, Pulse, Refused, Reloads};
pub use status::{
    Answered, Facts, OverrideStatus, OverridesStatus, PoolStatus, ProbeStatus, Status,
    TargetStatus, UnitStatus, UnitsStatus,
};
pub use vitals::{TURN, Vitals, Work};

/// The time that the publisher's loop may take to answer; what waits for a disk takes less.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the API works with.
#[derive(Clone)]
pub struct Control {
    /// What is answered.
    pub published: Arc<Published>,
    /// What the workers count.
    pub counters: Vec<Arc<Counters>>,
    /// What the transports count.
    pub server: Arc<ServerCounters>,
    /// What the publisher's loop tells unasked.
    pub vitals: Arc<Vitals>,
    /// The publisher's loop.
    pub requests: mpsc::Sender<Request>,
    /// Whether this process can answer.
    pub pulse: Arc<Pulse>,
    /// The outcome of the last reload.
    pub reloads: Arc<Reloads>,
}

/// What the API works with, once queries are answered. Before that only `/healthz` has something to say.
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

/// What the API asks of the publisher's loop.
#[derive(Debug)]
pub enum Request {
    /// The state of this moment.
    Status(oneshot::Sender<Facts>),
    /// An endpoint reports itself.
    Report {
        /// The name of a `push` check.
        check: String,
        /// The endpoint.
        target: Target,
        /// What it says.
        report: Report,
        /// False where the check has no such endpoint.
        reply: oneshot::Sender<bool>,
    },
    /// An operator takes back what is held.
    Resume {
        /// The owner name of a service.
        service: String,
        /// A region; all that are held where it is left out.
        region: Option<String>,
        /// The regions taken back.
        reply: oneshot::Sender<Result<Vec<String>, NotResumed>>,
    },
    /// An operator moves a unit.
    MoveUnit {
        /// Its owner name.
        unit: String,
        /// The region that is to own it.
        region: String,
        /// Although something speaks against it.
        force: bool,
        /// What is done, or why it is not.
        reply: oneshot::Sender<Result<Answered, NotDone>>,
    },
    /// The overrides in force and announced.
    Overrides(oneshot::Sender<OverridesStatus>),
    /// An operator says something of health or weight.
    Override {
        /// What.
        asked: OverrideRequest,
        /// What is done, or why it is not.
        reply: oneshot::Sender<Result<Answered, NotDone>>,
    },
    /// An operator takes overrides back.
    Release {
        /// The overrides.
        what: Selector,
        /// Although that leaves a service too few regions.
        force: bool,
        /// What is done, or why it is not.
        reply: oneshot::Sender<Result<Answered, NotDone>>,
    },
    /// An operator has the files read again.
    Reload {
        /// Although they remove more than `max_removed`.
        force: bool,
        /// What is served now, or why that is still the same: every diagnostic.
        reply: oneshot::Sender<Result<String, NotDone>>,
    },
    /// An operator goes on with the overrides in force, after others were lost.
    AcceptLoss(oneshot::Sender<Result<Answered, NotDone>>),
    /// An operator gives units their first owners.
    BeginUnits {
        /// The owner name of a unit, or of a service: then all its units of which nothing is known.
        name: String,
        /// Their epoch, at least 1.
        epoch: u64,
        /// What is done, or why it is not.
        reply: oneshot::Sender<Result<Answered, NotDone>>,
    },
}

/// The admin address, taken and not yet served.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    hosts: Arc<[String]>,
}

/// Takes the admin address, on a thread of the runtime.
pub fn bind(spec: AdminSpec) -> Result<Admin, BindError> {
    let listener = server::bind_admin(spec.listen)?;
    let listener = edge::prepare(&listener).and_then(|()| TcpListener::from_std(listener));
    let listener =
        listener.map_err(|error| BindError::explain(spec.listen, Transport::Tcp, error))?;
    Ok(Admin {
        listener,
        hosts: spec.hosts.into(),
    })
}

/// Serves the API on the admin address for as long as the runtime lives, to so many connections at once: at once, and all of
/// it from when `started` is set.
pub async fn serve(admin: Admin, connections: usize, started: Started) {
    let routes = Router::new()
        .route("/healthz", on_get(async || "ok\n"))
        .route("/readyz", on_get(readyz))
        .route("/announcez", on_get(announcez))
        .route("/health", on_get(health))
        .route("/metrics", on_get(metrics))
        .route("/why", on_get(why))
        .route("/resume", on_post(resume))
        .route("/push", on_post(push::push))
        .layer(catch_panics())
        .with_state(started)
        .layer(middleware::from_fn_with_state(
            admin.hosts,
            edge::check_host,
        ));
    edge::serve(admin.listener, connections, routes).await;
}

/// Requests of the admin address and the control socket that ended in 500 because the program failed at them.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Answers 500 where a handler panics, and counts it.
fn catch_panics() -> CatchPanicLayer<impl FnMut(Box<dyn Any + Send>) -> Response + Clone> {
    CatchPanicLayer::custom(|_| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            "a request of the admin address or the control socket failed: this is an error in the program"
        );
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            "an error in the program; its log says more\n",
        )
            .into_response()
    })
}

async fn status(control: &Control) -> Result<Status, Response> {
    let facts = ask(control, Request::Status).await?;
    let made = tokio::task::spawn_blocking(move || Status::new(facts, Clock.wall())).await;
    made.map_err(|why| (StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n")).into_response())
}

/// Puts a request to the publisher's loop, which answers at once unless it hangs.
async fn ask<T>(
    control: &Control,
    request: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Result<T, Response> {
    let (reply, answer) = oneshot::channel();
    let asked = async {
        control.requests.send(request(reply)).await.ok()?;
        answer.await.ok()
    };
    let why = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Some(answer)) => return Ok(answer),
        Ok(None) => "stopping\n".to_owned(),
        Err(_) => {
            let late = control.vitals.late(Clock.now()).as_millis();
            format!("the control loop does not answer: it is late by {late} ms\n")
        }
    };
    Err((StatusCode::SERVICE_UNAVAILABLE, why).into_response())
}

/// Whether this node should be sent new traffic. The loop is not asked: it is to have no work with those who ask this often, and
/// one that hangs is to be found out.
async fn readyz(control: Control) -> Response {
    match control.vitals.not_ready(Clock.now()) {
        None => match control.reloads.load().refused {
            None => "ready\n".into_response(),
            Some(refused) => format!("ready, but {}\n", refused.as_str()).into_response(),
        },
        Some(why) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {why}\n"),
        )
            .into_response(),
    }
}

/// Whether this process can answer, however it judges itself: all nodes may be not ready at once, and must not withdraw at once.
async fn announcez(control: Control) -> Response {
    match control.pulse.trouble(control.server.turns()) {
        None => "answering\n".into_response(),
        Some(why) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not answering: {why}\n"),
        )
            .into_response(),
    }
}

async fn health(control: Control) -> Result<Response, Response> {
    Ok(Json(status(&control).await?).into_response())
}

async fn metrics(control: Control) -> Response {
    // What the loop does not tell is left out: that it hangs is to be seen here.
    let text = metrics::encode(&control, status(&control).await.ok());
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
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

/// It changes something. A browser says on whose behalf it posts, and no page has any
/// business here: not even one that a name made to look local.
async fn resume(
    control: Control,
    headers: HeaderMap,
    Query(what): Query<Resume>,
) -> Result<Response, Response> {
    if headers.contains_key(header::ORIGIN) {
        return Err((
            StatusCode::FORBIDDEN,
            "web pages may not change anything here\n",
        )
            .into_response());
    }
    let Resume {
        service,
        region,
        format,
    } = what;
    let resumed = ask(&control, |reply| Request::Resume {
        service: service.clone(),
        region,
        reply,
    })
    .await?;
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
        tokio::spawn(axum::serve(listener, routes.layer(catch_panics())).into_future());
        let ask = move |path: &'static str| {
            let url = url.clone();
            async move {
                tokio::task::spawn_blocking(move || get(&url, path))
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
                    .contains("an error in the program")
            );
            assert_eq!(PANICS.load(Ordering::Relaxed), count);
            assert_eq!(ask("/works").await.unwrap(), "ok\n");
        }
    }
}
