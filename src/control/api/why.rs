//! `/v1/why`: the answer that a client gets for a name, and what led to it.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::locate::{PlaceDocument, client};
use super::{Params, Present, Problem, Refusals, Routes, Running, build};
use crate::answer::{Explanation, explain};
use crate::config::Config;
use crate::dataset::Snapshot;
use crate::dns::{Name, Prefix, RrType};
use crate::model::Part;
use crate::server::seed;
use crate::simulate::{part, what_if};

/// The answer that a client gets, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhyDocument {
    /// The name asked.
    pub name: String,
    /// The type asked.
    #[serde(rename = "type")]
    pub rtype: String,
    /// The client's prefix.
    pub client: String,
    /// The source of the map that gave the order; `none` where no map did.
    pub located_by: String,
    /// The client's place, as far as it is known.
    pub location: PlaceDocument,
    /// The client's region order.
    pub order: Vec<String>,
    /// The length of the Client Subnet scope.
    pub scope: u8,
    /// The region that the answer comes from; null for static records and the fallback.
    pub region: Option<String>,
    /// Addresses, targets, or other data in presentation format.
    pub answers: Vec<String>,
    /// TTL of the answers, or of the negative answer, in seconds.
    pub ttl: u32,
    /// The response code.
    pub rcode: String,
    /// Every region considered, in order.
    pub steps: Vec<StepDocument>,
    /// The ownership, where the name is that of a unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitWhy>,
    /// The time in which a client leaves a dead region; left out for static records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<FailoverDocument>,
    /// The same as lines for people.
    pub lines: Vec<String>,
}

/// A region considered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepDocument {
    /// Its name.
    pub region: String,
    /// The decision: `taken`, `not drawn`, `no pool`, or the state for which it was passed over.
    pub verdict: String,
    /// The numbers behind it, and what operators said.
    pub detail: String,
}

/// The ownership of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnitWhy {
    /// The epoch of the owner, or of the last one.
    pub epoch: u64,
    /// The owner; null where there is none now.
    pub owner: Option<String>,
    /// The next owner, during a fence.
    pub next: Option<String>,
    /// The end of the fence, in RFC 3339, once it is known.
    pub fenced_until: Option<String>,
}

/// The time in which a client leaves a dead region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FailoverDocument {
    /// That time in seconds; null where clients may never leave it.
    pub seconds: Option<f64>,
    /// The endpoint, check or setting that decides it, or the reason for never, in words.
    pub decides: String,
    /// The time until the first failure; null where there is none.
    pub first_failure: Option<f64>,
    /// The time from there until the region counts as down; likewise.
    pub detection: Option<f64>,
}

/// A question about an answer.
#[derive(Debug, Clone)]
pub(in crate::control) struct Question {
    name: Name,
    rtype: Option<RrType>,
    client: Prefix,
    /// Names of what is assumed down.
    down: Vec<String>,
    /// Names of what is assumed drained.
    drained: Vec<String>,
}

/// The parameters of `/v1/why`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::control) struct Wanted {
    /// The name to ask for.
    name: String,
    /// The type to ask for; where it is left out, the address family that the service has.
    r#type: Option<String>,
    /// The client: an address, or a prefix as a Client Subnet option has it.
    client: String,
    /// Regions, metros, labels and endpoints to assume down, separated by commas; all else is
    /// assumed up then.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    down: String,
    /// Regions, metros and labels to assume drained, separated by commas; likewise.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    drained: String,
}

impl Question {
    /// Reads the parameters.
    ///
    /// # Errors
    /// A problem where one of them is no name, type or client.
    pub(in crate::control) fn read(wanted: &Wanted) -> Result<Question, Problem> {
        let name = Name::from_text(&wanted.name, Some(&Name::root())).map_err(|why| {
            Problem::wrong("name", "bad-name", format!("name {}: {why}", wanted.name))
        })?;
        let rtype = wanted.r#type.as_deref().map(rtype).transpose()?;
        Ok(Question {
            name,
            rtype,
            client: client("client", &wanted.client)?,
            down: names(&wanted.down),
            drained: names(&wanted.drained),
        })
    }
}

fn rtype(text: &str) -> Result<RrType, Problem> {
    let bad = |()| Problem::wrong("type", "unknown-type", format!("{text} is not a DNS type"));
    text.parse().map_err(bad)
}

fn names(text: &str) -> Vec<String> {
    let parts = text.split(',').map(str::trim);
    let names = parts.filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

/// Explains the answer to `question`: by the snapshot that queries get and by the same code, or by
/// one in which what it assumes is so.
///
/// # Errors
/// A problem where it assumes something of what is not there.
pub(in crate::control) fn explained(
    present: &Present,
    question: &Question,
) -> Result<Explanation, Problem> {
    let dataset = &present.snapshot.dataset;
    let assumed: Arc<Snapshot> = if question.down.is_empty() && question.drained.is_empty() {
        present.snapshot.clone()
    } else {
        let down = assumption(&dataset.config, "down", &question.down)?;
        let drained = assumption(&dataset.config, "drained", &question.drained)?;
        if !drained.endpoints.is_empty() {
            let why = "only regions, metros and labels can be drained here, not endpoints";
            return Err(Problem::wrong("drained", "drained-endpoint", why));
        }
        Arc::new(what_if(dataset, &down, &drained.regions))
    };
    Ok(explain(
        &assumed,
        &question.name,
        question.rtype,
        question.client,
        seed(),
        present.wall,
    ))
}

fn assumption(config: &Config, field: &str, names: &[String]) -> Result<Part, Problem> {
    part(config, names).map_err(|unknown| Problem::not_found(field, unknown.to_string()))
}

/// The document of an explanation.
///
/// # Errors
/// A problem where it cannot be made, which is a fault of Meridian.
pub(in crate::control) fn document(explanation: &Explanation) -> Result<WhyDocument, Problem> {
    let mut object = explanation.json();
    object["lines"] = explanation.lines().into();
    serde_json::from_value(object)
        .map_err(|why| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, why.to_string()))
}

/// Explain an answer.
#[utoipa::path(
    get, path = "/v1/why", tag = "questions", params(Wanted),
    responses((status = 200, description = "The answer and why", body = WhyDocument), Refusals)
)]
async fn why(
    Running(control): Running,
    Params(wanted): Params<Wanted>,
) -> Result<Response, Problem> {
    let question = Question::read(&wanted)?;
    build(&control, move |present| {
        document(&explained(present, &question)?)
    })
    .await
}

/// The routes of this subject.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(why))
}
