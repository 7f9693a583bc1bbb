//! `/push`: endpoints of `push` checks report themselves.

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::access::{Caller, Scope};
use super::{Control, Request, ask_about};
use crate::dns::Name;
use crate::health::Report;
use crate::model::{Load, Target};

/// The parameters of `/push`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Push {
    check: String,
    /// The endpoint as the zone file has it: an address, or a name.
    target: String,
    status: Status,
    load: Option<f64>,
    #[serde(default)]
    note: String,
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Pass,
    Fail,
}

/// Hands the report to the publisher's loop.
pub(super) async fn push(
    control: Control,
    caller: Caller,
    Query(push): Query<Push>,
) -> Result<&'static str, Response> {
    let refuse = |status: StatusCode, why: String| (status, format!("{why}\n")).into_response();
    caller
        .may(Scope::Push(&push.check))
        .map_err(IntoResponse::into_response)?;
    // An address first: `192.0.2.1` would also read as a name.
    let target = match push.target.parse() {
        Ok(address) => Target::Address(address),
        Err(_) => Target::Name(Name::from_text(&push.target, Some(&Name::root())).map_err(
            |problem| {
                refuse(
                    StatusCode::BAD_REQUEST,
                    format!("target {}: {problem}", push.target),
                )
            },
        )?),
    };
    let load = match push.load.map(Load::new) {
        // Negative loads and NaN are refused here, so that steering never meets one.
        Some(None) => {
            return Err(refuse(
                StatusCode::BAD_REQUEST,
                "load must be a number of at least 0".to_owned(),
            ));
        }
        load => load.flatten(),
    };
    let report = Report {
        pass: push.status == Status::Pass,
        load,
        note: push.note,
    };
    let check = push.check;
    ask_about(
        &control,
        |config| {
            config
                .push_target(&check, &target)
                .map(|target| vec![target])
                .ok_or_else(|| format!("no push check {check} has an endpoint {target}"))
        },
        |config, targets, reply| Request::Report {
            config,
            targets,
            report: report.clone(),
            reply,
        },
    )
    .await?;
    Ok("taken\n")
}
