//! The API under `/v1`, described at `/openapi.json`: JSON documents of the state, and requests that
//! change it. The admin address and the control socket serve the same routes.
//!
//! ```text
//! params, write ─► a subject's handler ─► Present ─► a builder, pure ─► its document
//!                                    └──► carry_out ─► the publisher's loop ─► its answer
//! ```
//! Each subject has a file: its documents, the functions that build them, its handlers, and
//! `routes`, which the one here merges. Builders take the published state and nothing else, so that
//! whatever else shows the state calls them too. Every error is a [`Problem`].

pub mod acme;
mod audit;
mod before;
mod challenges;
pub mod drills;
pub mod endpoints;
pub mod events;
pub mod history;
mod kept;
pub mod locate;
mod names;
pub mod overrides;
mod paging;
mod params;
mod present;
pub mod push;
pub mod regions;
pub mod reload;
pub mod resume;
pub mod services;
pub mod simulate;
pub mod status;
pub mod units;
pub mod why;
mod write;
pub mod written;
pub mod zones;

use std::sync::LazyLock;

use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get as on_get};
use axum::{Router, middleware};
use utoipa::openapi::{ComponentsBuilder, Info, LicenseBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;

use super::access::{Caller, Scope};
use super::problem::{DiagnosticDocument, MEDIA_TYPE, Problem, ProblemDocument, Refusals};
use super::{Started, catch_panics};

pub use kept::KeptAnswers;

pub(super) use before::Concern;
pub(super) use params::{Params, Running, Segments};
use present::look;
pub(super) use present::{Present, build};
pub(super) use write::{Deed, Nothing, Write, Writer, carry_out};

/// A subject's routes.
type Routes = OpenApiRouter<Started>;

/// The routes of every subject, and their description.
fn described() -> (Router<Started>, OpenApi) {
    let subjects = [
        status::routes(),
        zones::routes(),
        regions::routes(),
        services::routes(),
        endpoints::routes(),
        units::routes(),
        overrides::routes(),
        drills::routes(),
        why::routes(),
        locate::routes(),
        simulate::routes(),
        events::routes(),
        history::routes(),
        names::routes(),
        resume::routes(),
        acme::routes(),
        reload::routes(),
        push::routes(),
        audit::routes(),
    ];
    let all = subjects
        .into_iter()
        .fold(Routes::with_openapi(about()), Routes::merge);
    all.split_for_parts()
}

/// The head of the description.
fn about() -> OpenApi {
    let license = LicenseBuilder::new().name(env!("CARGO_PKG_LICENSE"));
    let mut info = Info::new("Meridian", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "The state of a Meridian server, and what operators do with it. docs/api.md explains it."
            .to_owned(),
    );
    info.license = Some(license.build());
    let components = ComponentsBuilder::new()
        .schema_from::<ProblemDocument>()
        .schema_from::<DiagnosticDocument>();
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components.build()))
        .build()
}

/// The description of the API, as `/openapi.json` has it.
pub fn openapi() -> String {
    let (_, description) = described();
    description
        .to_pretty_json()
        .expect("a description is made of strings, lists and maps")
}

/// The routes of the API, for the admin address and the control socket alike.
pub(super) fn routes(started: Started) -> Router {
    static DESCRIPTION: LazyLock<String> = LazyLock::new(openapi);
    let (routes, _) = described();
    let kind = [(header::CONTENT_TYPE, "application/json")];
    routes
        .route(
            "/openapi.json",
            on_get(async move || (kind, DESCRIPTION.as_str())),
        )
        .route("/v1/fleet", any(reserved))
        .route("/v1/fleet/{*rest}", any(reserved))
        .route("/v1", any(unknown))
        .route("/v1/{*rest}", any(unknown))
        .method_not_allowed_fallback(not_allowed)
        .layer(catch_panics(failed))
        .layer(middleware::from_fn(admit))
        .with_state(started)
}

/// Lets in callers that are known, to read where they may; each handler that changes something
/// asks for itself.
async fn admit(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let is_reading = matches!(parts.method, Method::GET | Method::HEAD);
    let caller = match Caller::of(&parts) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    if is_reading && let Err(problem) = caller.may(Scope::Read) {
        return problem.into_response();
    }
    next.run(Request::from_parts(parts, body)).await
}

async fn unknown(request: Request) -> Problem {
    let path = request.uri().path();
    let why = format!("the API has no {path}: /openapi.json lists what it has");
    Problem::new(StatusCode::NOT_FOUND, why).breaking("unknown-path")
}

async fn reserved() -> Problem {
    let why = "/v1/fleet is reserved: it will be about all nodes together, and this version has nothing there";
    Problem::new(StatusCode::NOT_FOUND, why).breaking("reserved")
}

async fn not_allowed(request: Request) -> Problem {
    let (method, path) = (request.method(), request.uri().path());
    let why = format!("{path} has no method {method}");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, why).breaking("unknown-method")
}

/// The answer to a request whose handler panicked.
fn failed() -> Response {
    let why = "internal error in Meridian: see the log";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, why).into_response()
}
