//! The dashboard: pages for people, made of what the API's documents are made of.
//!
//! ```text
//! snapshot, view, counters ── Facts ──▶ a page's function ──▶ Markup ── in the frame ──▶ HTML
//! ```
//! A page is whole and needs no script to be read. The script makes it anew after each event, and
//! sends writes to the API. Nothing is fetched from anywhere else, and nothing is written here.

mod assets;
mod facts;
mod fields;
mod happenings;
mod layout;
mod losses;
mod overrides;
mod projection;
mod services;
mod traffic;
mod why;
mod world;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use axum::Router;
use axum::extract::{FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get as on_get;
use maud::{Markup, html};

use super::access::{Caller, Scope};
use super::api::{Present, Running};
use super::preflight;
use super::problem::Problem;
use super::{AuditEntry, AuditQuery, Control, Started, read_audit};
use crate::clock::Clock;
use crate::dataset::{Dataset, Snapshot};
use crate::dns::RrType;
use crate::geo::GeoMap;
use crate::model::ServiceId;
use crate::server::seed;
use crate::simulate::{Census, Population, Subject};
use facts::Facts;
use fields::Fields;
use layout::{Page, Tab};
use traffic::Readings;
use world::{Node, Painted};

/// The policy for every page: its own files, and nothing written into the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The entries of the audit log on a page.
const AUDITED: usize = 20;

/// Work that pages have in common, kept between them.
#[derive(Debug, Default)]
struct Shared {
    readings: Readings,
    censuses: Mutex<Vec<(Weak<GeoMap>, Arc<Census>)>>,
    population: Mutex<Option<(Weak<Dataset>, Arc<Population>)>>,
}

/// The request for a page, from somebody who may read.
struct Asked {
    control: Control,
    fields: Fields,
    /// The service, on the page of one.
    service: Option<String>,
}

impl FromRequestParts<Started> for Asked {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, started: &Started) -> Result<Asked, Response> {
        let refused = |problem| refused(Tab::World, &problem);
        let Ok(caller) = Caller::of(parts) else {
            let why = "beyond this host's loopback, these pages need a token with the scope read";
            return Err(refused(Problem::new(StatusCode::UNAUTHORIZED, why)));
        };
        caller.may(Scope::Read).map_err(refused)?;
        let Running(control) = Running::from_request_parts(parts, started)
            .await
            .map_err(refused)?;
        let path = Option::<Path<String>>::from_request_parts(parts, started).await;
        Ok(Asked {
            control,
            fields: Fields::new(parts.uri.query()),
            service: path.ok().flatten().map(|Path(name)| name),
        })
    }
}

/// The routes of the dashboard.
pub(super) fn routes() -> Router<Started> {
    let shared = Arc::new(Shared::default());
    let page = |tab: Tab| {
        let shared = shared.clone();
        on_get(async move |asked: Asked| show(shared, tab, asked).await)
    };
    Router::new()
        .route("/", page(Tab::World))
        .route("/ui/services", page(Tab::Services))
        .route("/ui/services/{name}", page(Tab::Services))
        .route("/ui/why", page(Tab::Why))
        .route("/ui/events", page(Tab::Events))
        .route("/ui/overrides", page(Tab::Overrides))
        .route("/ui/preflight", on_get(judge))
        .route("/ui/simulate", page(Tab::Simulate))
        .route("/ui/assets/{name}", on_get(assets::serve))
        .layer(middleware::from_fn(guard))
}

/// Adds what keeps a page to itself.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Pages are of one moment; assets say themselves how long they last.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Makes a page, on a thread that may take its time.
async fn show(
    shared: Arc<Shared>,
    tab: Tab,
    Asked {
        control,
        fields,
        service,
    }: Asked,
) -> Response {
    let made = tokio::task::spawn_blocking(move || {
        let present = match Present::read(&control) {
            Ok(present) => present,
            Err(problem) => return refused(tab, &problem),
        };
        match service {
            None => make(&control, &shared, &present, tab, &fields).into_response(),
            Some(name) => one_service(&shared, &present, &name),
        }
    });
    match made.await {
        Ok(page) => page,
        Err(why) => match why.try_into_panic() {
            // Caught once more, by the layer that counts these.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response(),
        },
    }
}

/// A page where a request may not be answered: it says why, and has the field for a token.
fn refused(tab: Tab, problem: &Problem) -> Response {
    let body = html! {
        div.stack {
            h1 { "Not shown" }
            p.note.bad role="alert" { (problem.document().detail) }
            p { button type="button" data-token { "Give a token" } }
        }
    };
    let page = Page {
        tab,
        title: "Not shown",
        node: "",
        is_live: false,
        body,
    };
    (problem.status(), page.render()).into_response()
}

fn one_service(shared: &Shared, present: &Present, name: &str) -> Response {
    let traffic = shared.readings.lately(&present.snapshot, present.now);
    let facts = Facts::new(present, &traffic);
    let tab = Tab::Services;
    let Some(service) = service_named(facts, name) else {
        let why = format!("there is no service {name}");
        return refused(tab, &Problem::new(StatusCode::NOT_FOUND, why));
    };
    Page {
        tab,
        title: name,
        node: &facts.config().server.node,
        is_live: true,
        body: services::one(facts, service),
    }
    .render()
    .into_response()
}

/// The newest entries of the audit log; none where there is no log, or it cannot be read.
fn audit(control: &Control) -> Option<Vec<AuditEntry>> {
    let query = AuditQuery {
        limit: AUDITED,
        ..AuditQuery::default()
    };
    let page = read_audit(&control.audit.directory()?, &query);
    page.ok().map(|page| page.entries)
}

/// The judgement of a change that a form is about: a part of the page of overrides.
async fn judge(
    Asked {
        control, fields, ..
    }: Asked,
) -> Markup {
    let config = control.published.load().dataset.config.clone();
    let question = match overrides::question(&config, &fields) {
        Ok(question) => question,
        Err(problem) => return overrides::problem(&problem),
    };
    let judged = match preflight::begin(&control, question.wish.clone()).await {
        Ok(judged) => judged.wait().await,
        Err(problem) => Err(problem),
    };
    match judged {
        Ok(preflight) => overrides::judgement(&config, &question, &preflight),
        Err(problem) => overrides::problem(&problem),
    }
}

fn make(
    control: &Control,
    shared: &Shared,
    present: &Present,
    tab: Tab,
    fields: &Fields,
) -> Markup {
    let traffic = shared.readings.lately(&present.snapshot, present.now);
    let facts = Facts::new(present, &traffic);
    let body = match tab {
        Tab::Services => services::page(facts, fields),
        Tab::Why => why::page(facts, fields, seed()),
        Tab::Events => happenings::page(&control.events, fields),
        Tab::Overrides => overrides::page(facts, fields, audit(control).as_deref()),
        Tab::Simulate => losses::page(facts, &shared.population(&facts.snapshot.dataset), fields),
        _ => world(control, shared, facts, fields),
    };
    Page {
        tab,
        title: tab.link().1,
        node: &facts.config().server.node,
        is_live: matches!(
            tab,
            Tab::World | Tab::Services | Tab::Events | Tab::Overrides
        ),
        body,
    }
    .render()
}

fn world(control: &Control, shared: &Shared, facts: Facts<'_>, fields: &Fields) -> Markup {
    let node = Node {
        not_ready: control
            .liveness
            .ready(Clock.now())
            .err()
            .map(|why| why.to_string()),
        refused: control
            .reloads
            .load()
            .refused
            .map(|refused| refused.as_str().to_owned()),
    };
    let named = fields
        .get("service")
        .and_then(|name| service_named(facts, name));
    let service = named.or_else(|| world::busiest(facts));
    let painted = service.map(|service| shared.painted(facts.snapshot, service));
    world::page(facts, &node, painted.as_ref(), &control.events)
}

/// The service of this name.
fn service_named(facts: Facts<'_>, name: &str) -> Option<ServiceId> {
    let mut services = facts.config().services.iter();
    let found = services.position(|service| service.name.is_written(name));
    found.map(ServiceId::from_index)
}

impl Shared {
    /// The catchments of a service; of one whose clients are not told apart by their place, none.
    fn painted(&self, snapshot: &Snapshot, service: ServiceId) -> Painted {
        let own = &snapshot.dataset.config.services[service.index()];
        let families = own.families();
        let rtype = if families.v4 { RrType::A } else { RrType::AAAA };
        let map = own.map.filter(|_| world::is_by_place(own.route));
        let catchments = map.map_or(Vec::new(), |map| {
            let map = &snapshot.dataset.maps[map.index()];
            let census = self.census(&snapshot.dataset, map);
            census.catchments(snapshot, Subject { service, rtype })
        });
        Painted {
            service,
            rtype,
            catchments,
        }
    }

    /// The census of a map, taken once for as long as the map is in use.
    fn census(&self, dataset: &Dataset, map: &Arc<GeoMap>) -> Arc<Census> {
        // Held while the census is taken: two pages at once should not both take it.
        let mut kept = self.censuses.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(of, _)| of.strong_count() > 0);
        if let Some((_, census)) = kept.iter().find(|(of, _)| of.as_ptr() == Arc::as_ptr(map)) {
            return census.clone();
        }
        let census = Arc::new(Census::new(map, &dataset.locations));
        kept.push((Arc::downgrade(map), census.clone()));
        census
    }

    /// The clients of a dataset, counted once for as long as it is in use.
    fn population(&self, dataset: &Arc<Dataset>) -> Arc<Population> {
        let mut kept = self
            .population
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((of, population)) = &*kept
            && of.as_ptr() == Arc::as_ptr(dataset)
        {
            return population.clone();
        }
        let population = Arc::new(Population::of_addresses(dataset));
        *kept = Some((Arc::downgrade(dataset), population.clone()));
        population
    }
}

#[cfg(test)]
mod tests;
