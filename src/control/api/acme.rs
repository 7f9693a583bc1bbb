//! `/v1/acme`: challenges of ACME, for certificate authorities to ask for.

use std::time::Duration;

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::challenges::list;
use super::{
    Concern, Deed, Nothing, Params, Problem, Refusals, Routes, Running, Segments, Write, build,
    carry_out, look,
};
use crate::acme::{ChallengeRequest, LABEL, LONGEST, Subject, USUAL, Value};
use crate::control::access::Scope;
use crate::control::{Command, Control, Request, ask};

pub use super::challenges::ChallengeDocument;

/// The shortest challenge; a shorter one ends before anybody asks for it.
const SHORTEST: Duration = Duration::from_secs(1);

/// The challenges in force.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ChallengeList {
    /// The challenges, in the order in which they were set.
    pub challenges: Vec<ChallengeDocument>,
}

/// A challenge to set.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewChallenge {
    /// The value: 1 to 255 characters of base64url. Others of the same name stay.
    pub value: String,
    /// The time until it goes by itself, as `1h`: 1 s to 24 h, an hour where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#for: Option<String>,
}

/// The challenge to clear.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ClearedChallenge {
    /// Its value; every challenge of the name where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A change of the challenges of one name, which is on the disk.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WrittenChallenges {
    /// The deed in words, a line for each challenge.
    pub message: String,
    /// The revision of the state document that it is in, counted since the server took its state
    /// directory up; null where nothing was written.
    #[serde(default)]
    pub revision: Option<u64>,
    /// The challenges that the name has now.
    pub challenges: Vec<ChallengeDocument>,
}

fn subject(name: &str) -> Result<Subject, Problem> {
    Subject::parse(name).map_err(|why| Problem::wrong("name", "bad-name", why.to_string()))
}

fn value(text: String) -> Result<Value, Problem> {
    Value::try_from(text).map_err(|why| Problem::wrong("value", "bad-value", why.to_string()))
}

fn lasting(text: Option<&str>) -> Result<Duration, Problem> {
    let Some(text) = text else {
        return Ok(USUAL);
    };
    let bad = |why: String| Problem::wrong("for", "bad-duration", why);
    let time = humantime::parse_duration(text).map_err(|why| bad(format!("{text}: {why}")))?;
    if !(SHORTEST..=LONGEST).contains(&time) {
        return Err(bad(format!("{text} is not a time from 1s to 24h")));
    }
    Ok(time)
}

/// Has the loop change the challenges of `subject`; the answer comes once that is on the disk.
async fn change(
    control: Control,
    subject: Subject,
    command: Command,
) -> Result<WrittenChallenges, Problem> {
    let done = ask(&control, |reply| Request::Command { command, reply }).await??;
    let told = look(&control, move |present| {
        Ok(WrittenChallenges {
            message: done.done.message(present.wall),
            revision: done.revision.map(|revision| revision.0),
            challenges: list(present, |own| own.subject == subject),
        })
    });
    told.await
}

/// List ACME challenges.
#[utoipa::path(
    get, path = "/v1/acme", tag = "acme",
    responses((status = 200, description = "The challenges", body = ChallengeList), Refusals)
)]
async fn challenges(Running(control): Running) -> Result<Response, Problem> {
    build(&control, |present| {
        let challenges = list(present, |_| true);
        Ok(ChallengeList { challenges })
    })
    .await
}

/// Set an ACME challenge.
#[utoipa::path(
    put, path = "/v1/acme/{name}", tag = "acme", request_body = NewChallenge,
    params(("name" = String, Path, description = "The name that the certificate is for")),
    responses((status = 200, description = "The challenges of the name", body = WrittenChallenges), Refusals)
)]
async fn set(
    Segments(name): Segments<String>,
    Write { writer, body }: Write<NewChallenge>,
) -> Result<Response, Problem> {
    let deed = deed("acme-set", &name);
    let (control, asking) = (writer.control.clone(), writer.clone());
    let doing = async move {
        let subject = subject(&name)?;
        let asked = ChallengeRequest {
            subject: subject.clone(),
            value: value(body.value)?,
            by: asking.operator(None).await,
            lasts: lasting(body.r#for.as_deref())?,
        };
        change(control, subject, Command::SetChallenge(asked)).await
    };
    carry_out(&writer, deed, doing).await
}

/// Clear ACME challenges.
#[utoipa::path(
    delete, path = "/v1/acme/{name}", tag = "acme",
    params(
        ("name" = String, Path, description = "The name that the certificate is for"),
        ClearedChallenge
    ),
    responses((status = 200, description = "The challenges of the name that are left", body = WrittenChallenges), Refusals)
)]
async fn clear(
    Segments(name): Segments<String>,
    Params(cleared): Params<ClearedChallenge>,
    Write { writer, .. }: Write<Nothing>,
) -> Result<Response, Problem> {
    let deed = deed("acme-clear", &name);
    let (control, asking) = (writer.control.clone(), writer.clone());
    let doing = async move {
        let subject = subject(&name)?;
        let command = Command::ClearChallenges {
            subject: subject.clone(),
            value: cleared.value.map(value).transpose()?,
            by: asking.operator(None).await,
        };
        change(control, subject, command).await
    };
    carry_out(&writer, deed, doing).await
}

fn deed<'d>(action: &'d str, name: &str) -> Deed<'d> {
    Deed {
        action,
        subject: format!("{LABEL}.{name}"),
        reason: None,
        concern: Concern::Challenges(name.to_owned()),
        scope: Scope::Operate,
    }
}

/// The routes of this subject.
pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(challenges))
        .routes(routes!(set, clear))
}
