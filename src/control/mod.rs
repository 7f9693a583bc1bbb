//! The admin address: `/healthz`, `/readyz`, `/metrics`, `/health` and `/why` over HTTP.
//!
//! It reads what is published and what the workers count, and asks the publisher's loop for the
//! rest; it writes nothing itself.

mod client;
mod metrics;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get as on_get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::answer::{Counters, explain};
use crate::dataset::{Dataset, Published};
use crate::dns::{Name, Prefix, RrType};
use crate::health::Health;
use crate::model::TargetId;
use crate::server::{BindError, ServerCounters, Transport, seed};

pub use client::get;

/// What the API works with.
#[derive(Clone)]
pub struct Control {
    /// What is answered.
    pub published: Arc<Published>,
    /// What the workers count.
    pub counters: Vec<Arc<Counters>>,
    /// What the transports count.
    pub server: Arc<ServerCounters>,
    /// The publisher's loop.
    pub requests: mpsc::Sender<Request>,
}

/// What the API asks of the publisher's loop.
#[derive(Debug)]
pub enum Request {
    /// The state of this moment.
    Status(oneshot::Sender<Status>),
}

/// The state of a moment.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Why this node should not be sent queries; null when it is ready.
    pub not_ready: Option<&'static str>,
    /// True while our own network is taken to be what failed.
    pub isolated: bool,
    /// Every (check, address) pair.
    pub targets: Vec<TargetStatus>,
}

/// The state of one (check, address) pair.
#[derive(Debug, Clone, Serialize)]
pub struct TargetStatus {
    /// The check's name.
    pub check: String,
    /// The address or name probed.
    pub target: String,
    /// Up, after thresholds.
    pub up: bool,
    /// False is in doubt.
    pub settled: bool,
    /// What the last probe saw; null before the first.
    pub last: Option<String>,
    /// Of a failed probe: the start of what the endpoint sent that tells why.
    pub evidence: Option<String>,
    /// How long the last probe took in all, in milliseconds.
    pub took_ms: Option<f64>,
    /// What passes now and will fail if nobody acts.
    pub warning: Option<String>,
}

impl Status {
    /// The state of `health`, of the targets of `dataset`.
    pub fn new(dataset: &Dataset, health: &Health, not_ready: Option<&'static str>) -> Status {
        let config = &dataset.config;
        let status = |(index, target): (usize, &crate::model::ProbeTarget)| {
            let id = TargetId::from_index(index);
            let (state, last) = (health.state(id), health.last_outcome(id));
            TargetStatus {
                check: config.checks[target.check.index()].name.clone(),
                target: target.target.to_string(),
                up: state.up,
                settled: state.settled,
                last: last.map(|outcome| outcome.seen.to_string()),
                evidence: last.and_then(|outcome| Some(outcome.evidence.as_ref()?.to_string())),
                took_ms: last.map(|outcome| outcome.phases.total().as_micros() as f64 / 1000.0),
                warning: health.warning(id).map(|warning| warning.to_string()),
            }
        };
        Status { not_ready, isolated: health.is_isolated(), targets: config.targets.iter().enumerate().map(status).collect() }
    }
}

/// Takes the admin address.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|error| BindError::explain(address, Transport::Tcp, error))
}

/// Serves the API on `listener` for as long as the runtime lives.
pub async fn serve(listener: TcpListener, control: Control) {
    let routes = Router::new()
        .route("/healthz", on_get(async || "ok\n"))
        .route("/readyz", on_get(readyz))
        .route("/health", on_get(health))
        .route("/metrics", on_get(metrics))
        .route("/why", on_get(why))
        .with_state(control);
    if let Err(error) = axum::serve(listener, routes).await {
        tracing::error!("the admin address is not served any more: {error}");
    }
}

async fn status(control: &Control) -> Result<Status, Response> {
    let gone = || (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    let (reply, status) = oneshot::channel();
    control.requests.send(Request::Status(reply)).await.map_err(|_| gone())?;
    status.await.map_err(|_| gone())
}

async fn readyz(State(control): State<Control>) -> Result<Response, Response> {
    Ok(match status(&control).await?.not_ready {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response(),
    })
}

async fn health(State(control): State<Control>) -> Result<Response, Response> {
    Ok(Json(status(&control).await?).into_response())
}

async fn metrics(State(control): State<Control>) -> Result<Response, Response> {
    let status = status(&control).await?;
    let text = metrics::encode(&control, status);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
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

async fn why(State(control): State<Control>, Query(why): Query<Why>) -> Response {
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
        Err(()) => return bad(format!("type {} is not a DNS type", why.r#type.unwrap_or_default())),
    };
    let explanation = explain(&control.published.load(), &name, rtype, client, seed());
    match why.format {
        Format::Json => Json(explanation.json()).into_response(),
        Format::Text => format!("{}\n", explanation.lines().join("\n")).into_response(),
    }
}
