//! `/v1/push`: endpoints of `push` checks report themselves, one by one or a region as a whole.

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{Concern, Deed, Problem, Refusals, Routes, Segments, Write, carry_out};
use crate::config::Config;
use crate::control::access::Scope;
use crate::control::{Control, Request, ask_about};
use crate::health::Report;
use crate::model::{Load, TargetId};

/// The state that an endpoint reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PushedState {
    /// It serves.
    Pass,
    /// It does not.
    Fail,
}

/// The report of an endpoint about itself.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pushed {
    /// Its state.
    pub status: PushedState,
    /// Its load, 0 idle to 1 full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub load: Option<f64>,
    /// More about it, for operators.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A report that was taken.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Taken {
    /// The endpoints that it counts for.
    pub endpoints: Vec<String>,
}

/// The targets that `subject`, an endpoint or a region, has of a `push` check.
fn targets(config: &Config, check: &str, subject: &str) -> Result<Vec<TargetId>, String> {
    let mut found = config.push_targets(check, |_, endpoint| endpoint.target.is_written(subject));
    if found.is_empty() {
        found = config.push_targets(check, |pool, _| config.region_name(pool.region) == subject);
    }
    match found.is_empty() {
        true => Err(format!(
            "no push check {check} has an endpoint {subject}, or one in a region of that name"
        )),
        false => Ok(found),
    }
}

async fn take(
    control: Control,
    check: String,
    subject: String,
    body: Pushed,
) -> Result<Taken, Problem> {
    let load = match body.load.map(Load::new) {
        // Negative loads and NaN are refused here, so that steering never meets one.
        Some(None) => {
            let why = "load must be a number of at least 0";
            return Err(Problem::wrong("load", "bad-value", why));
        }
        load => load.flatten(),
    };
    let report = Report {
        pass: body.status == PushedState::Pass,
        load,
        note: body.note,
    };
    ask_about(
        &control,
        |config| targets(config, &check, &subject),
        |config, targets, reply| Request::Report {
            config,
            targets,
            report: report.clone(),
            reply,
        },
    )
    .await?;
    let dataset = control.published.load().dataset.clone();
    let config = &dataset.config;
    let counted = targets(config, &check, &subject).unwrap_or_default();
    let endpoints = counted.iter();
    Ok(Taken {
        endpoints: endpoints
            .map(|target| config.targets[target.index()].target.to_string())
            .collect(),
    })
}

/// Report an endpoint's state.
#[utoipa::path(
    post, path = "/v1/push/{check}/{endpoint}", tag = "operations", request_body = Pushed,
    params(
        ("check" = String, Path, description = "A check of type push"),
        ("endpoint" = String, Path, description = "An address, a target name with its final dot, or a region: then every endpoint of the check there"),
    ),
    responses((status = 200, description = "The report counts", body = Taken), Refusals)
)]
async fn push(
    Segments((check, endpoint)): Segments<(String, String)>,
    Write { writer, body }: Write<Pushed>,
) -> Result<Response, Problem> {
    let deed = Deed {
        action: "push",
        subject: format!("{check}/{endpoint}"),
        reason: None,
        concern: Concern::Nothing,
        scope: Scope::Push(&check),
    };
    let control = writer.control.clone();
    let doing = take(control, check.clone(), endpoint, body);
    carry_out(&writer, deed, doing).await
}

/// The routes of this subject.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(push))
}
