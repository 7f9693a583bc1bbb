//! Requests that change something: all of them go through [`carry_out`].
//!
//! ```text
//! Write<T> (who, body, idempotency key) ─► carry_out ─► may the caller? ─► known key? ─► the deed ─► answer
//!                                                    └─────────────────► audit log ◄────────────────┘
//! ```

use std::time::Instant;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ring::digest::{Context, SHA256};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::kept::{Answer, Mark};
use super::params::{Running, unreadable};
use super::{Concern, MEDIA_TYPE, Problem, look};
use crate::control::access::{Caller, Scope};
use crate::control::gate::Requester;
use crate::control::{AuditResult, Control, Entry, Started};

/// The largest body, in octets.
const LARGEST: usize = 64 * 1024;
/// The longest idempotency key, in characters.
const LONGEST_KEY: usize = 255;

/// A request that changes something, with its body.
pub(in crate::control) struct Write<T> {
    /// The party that sent it, and what goes with that.
    pub(in crate::control) writer: Writer,
    /// The body.
    pub(in crate::control) body: T,
}

/// The party that changes something, and where.
#[derive(Clone)]
pub(in crate::control) struct Writer {
    /// The server.
    pub(in crate::control) control: Control,
    /// The party.
    pub(in crate::control) caller: Caller,
    requester: Requester,
    mark: Option<Mark>,
}

/// A body without content: none, or an empty object.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct Nothing {}

/// The deed that a request asks for, as it is recorded.
#[derive(Debug, Clone)]
pub(in crate::control) struct Deed<'d> {
    /// The action, in one word: `drain`, `release`, `reload` …
    pub(in crate::control) action: &'d str,
    /// The subject, as the request names it; may be empty.
    pub(in crate::control) subject: String,
    /// The operator's reason, where one is given.
    pub(in crate::control) reason: Option<String>,
    /// The part of the state that it is about.
    pub(in crate::control) concern: Concern,
    /// The scope that the caller needs.
    pub(in crate::control) scope: Scope<'d>,
}

/// Carries out a request that changes something, and answers it with what `doing` gives. It ends
/// even where the caller does not wait for it.
///
/// # Errors
/// The problem that keeps it from being done.
pub(in crate::control) async fn carry_out<T: Serialize>(
    writer: &Writer,
    deed: Deed<'_>,
    doing: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<Response, Problem> {
    let audit = writer.control.audit.clone();
    let (caller, requester) = (writer.caller.clone(), writer.requester.clone());
    let (action, subject, reason) = (deed.action.to_owned(), deed.subject, deed.reason);
    if let Err(problem) = writer.caller.may(deed.scope) {
        let refused = Entry {
            reason,
            ..Entry::new(caller.name(), &action, subject)
        };
        let why = problem.document().detail.clone();
        audit.record(requester.record(refused.ended(AuditResult::Refused, why)));
        return Err(problem);
    }
    let kept = writer.control.answers.clone();
    if let Some(mark) = &writer.mark
        && let Some(answer) = kept.begin(mark, Instant::now())?
    {
        return Ok(answer.into_response());
    }
    let mark = writer.mark.clone();
    // Reports of endpoints come all the time, and whoever only reads changes nothing: either would
    // push out of the log what it is for.
    let is_recorded = matches!(deed.scope, Scope::Operate);
    let before = match is_recorded {
        true => before(&writer.control, deed.concern).await,
        false => Value::Null,
    };
    // On a task of its own: a client that hangs up has not taken back what it asked for, and asks
    // for the answer with the same key.
    let done = tokio::spawn(async move {
        let answer = answer(doing.await);
        if is_recorded {
            let record = answer.clone();
            // Names come from the user database, which may wait for a network.
            tokio::task::spawn_blocking(move || {
                let entry = Entry {
                    reason,
                    before,
                    ..Entry::new(caller.name(), &action, subject)
                };
                audit.record(requester.record(record.ended(entry)));
            });
        }
        if let Some(mark) = &mark {
            // What the server could not do now may be asked for again.
            let is_final = !answer.status.is_server_error();
            kept.end(mark, is_final.then(|| answer.clone()));
        }
        answer
    });
    match done.await {
        Ok(answer) => Ok(answer.into_response()),
        Err(why) => match why.try_into_panic() {
            // Caught once more, by the layer that counts these.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Problem::unavailable("stopping")),
        },
    }
}

/// The part of the state of this moment that a deed is about; null where it cannot be told just now,
/// which is no reason to keep an operator waiting.
async fn before(control: &Control, concern: Concern) -> Value {
    if concern == Concern::Nothing {
        return Value::Null;
    }
    let read = look(control, move |present| Ok(concern.read(present)));
    read.await.unwrap_or_default()
}

fn answer<T: Serialize>(result: Result<T, Problem>) -> Answer {
    let read = |document: &dyn Fn() -> serde_json::Result<Vec<u8>>| document().unwrap_or_default();
    match result {
        Ok(done) => Answer {
            status: StatusCode::OK,
            media_type: "application/json",
            body: read(&|| serde_json::to_vec(&done)),
        },
        Err(problem) => Answer {
            status: problem.status(),
            media_type: MEDIA_TYPE,
            body: read(&|| serde_json::to_vec(problem.document())),
        },
    }
}

impl Writer {
    /// The name of the operator for records, with that of the node: `anna@fra1`. `given` is the name
    /// that the request gives.
    pub(in crate::control) async fn operator(&self, given: Option<String>) -> String {
        let caller = self.caller.clone();
        let name = tokio::task::spawn_blocking(move || caller.operator(given.as_deref())).await;
        // A panic on the way leaves no name, and is no reason to refuse an urgent drain.
        let name = name.unwrap_or_else(|_| "unknown".to_owned());
        format!("{name}@{}", self.control.node())
    }
}

impl Answer {
    /// The entry of the audit log, with what this answer says of the end.
    fn ended(&self, entry: Entry) -> Entry {
        let said: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let detail = said["detail"].as_str().unwrap_or_default().to_owned();
        match self.status {
            StatusCode::OK => Entry {
                after: said,
                ..entry
            },
            status if status.is_server_error() => entry.ended(AuditResult::Failed, detail),
            _ => entry.ended(AuditResult::Refused, detail),
        }
    }
}

impl<T: DeserializeOwned> FromRequest<Started> for Write<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, started: &Started) -> Result<Write<T>, Problem> {
        let (parts, body) = request.into_parts();
        let Running(control) = Running::of(started)?;
        let caller = Caller::of(&parts)?;
        let Ok(bytes) = to_bytes(body, LARGEST).await else {
            let why = format!("a body has at most {LARGEST} octets");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, why));
        };
        let mark = mark(&parts, &caller, &bytes)?;
        let body = read(&parts.headers, &bytes)?;
        Ok(Write {
            writer: Writer {
                control,
                caller,
                requester: parts.extensions.get().cloned().unwrap_or_default(),
                mark,
            },
            body,
        })
    }
}

/// Reads a body of JSON; none is an empty object.
fn read<T: DeserializeOwned>(headers: &HeaderMap, bytes: &[u8]) -> Result<T, Problem> {
    if !bytes.is_empty() && !is_json(headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the body with Content-Type: application/json",
        ));
    }
    let text = if bytes.is_empty() { b"{}" } else { bytes };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let body = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| unreadable(&error.path().to_string(), error.inner()))?;
    reader
        .end()
        .map_err(|error| unreadable("", &error).breaking("bad-json"))?;
    Ok(body)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// The idempotency key of a request, where it has one.
fn mark(parts: &Parts, caller: &Caller, body: &[u8]) -> Result<Option<Mark>, Problem> {
    const NAME: &str = "idempotency-key";
    let Some(key) = parts.headers.get(NAME) else {
        return Ok(None);
    };
    let key = key.to_str().unwrap_or_default();
    let is_fine = (1..=LONGEST_KEY).contains(&key.len());
    if !is_fine || parts.headers.get_all(NAME).iter().count() > 1 {
        return Err(Problem::wrong(
            "Idempotency-Key",
            "bad-key",
            format!("a request has one key of 1 to {LONGEST_KEY} characters of ASCII"),
        ));
    }
    let mut digest = Context::new(&SHA256);
    let target = parts.uri.path_and_query().map_or("", |own| own.as_str());
    for part in [parts.method.as_str(), target] {
        digest.update(part.as_bytes());
        // Neither contains one, so that no two requests run together to the same.
        digest.update(b"\0");
    }
    digest.update(body);
    let mut octets = [0; 32];
    octets.copy_from_slice(digest.finish().as_ref());
    Ok(Some(Mark {
        // By who it is and not by name: that would ask the user database.
        key: (format!("{caller:?}"), key.to_owned()),
        digest: octets,
    }))
}
