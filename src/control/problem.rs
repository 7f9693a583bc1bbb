//! Problems: every error of the API, as RFC 9457 has them.

use std::collections::BTreeMap;
use std::fmt;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::openapi::{Content, Ref, RefOr, Response as Described, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use super::Unanswered;
use crate::diag::{Diagnostics, Severity};
use crate::publisher::NotDone;

/// The media type of problems.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// Error of the API.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem(Box<ProblemDocument>, Option<(HeaderName, HeaderValue)>);

/// An error, as RFC 9457 describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// The kind of problem, as a URI: `urn:meridian:problem:` and one of the names in docs/api.md.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The fault of this request.
    pub detail: String,
    /// The parameter or the part of the body that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The rule that the request breaks, in kebab case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The objections of the pre-flight, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objections: Vec<String>,
    /// The faults of the files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<DiagnosticDocument>,
}

/// A fault of the files: what is wrong where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DiagnosticDocument {
    /// `error` or `warning`.
    pub severity: String,
    /// The rule that is broken, in kebab case.
    pub rule: String,
    /// The file, as the configuration names it.
    pub file: String,
    /// Its line, from 1; 0 means the whole file.
    pub line: u32,
    /// The column in characters, from 1; 0 means the whole line.
    pub column: u32,
    /// The key or record that it is about; may be empty.
    pub key: String,
    /// The fault.
    pub message: String,
    /// The way to mend it.
    pub hint: Option<String>,
}

impl fmt::Display for DiagnosticDocument {
    /// One line: `file:line:column: severity[rule]: key: message (hint)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        for place in [self.line, self.column] {
            if place > 0 {
                write!(f, "{place}:")?;
            }
        }
        write!(f, " {}[{}]: ", self.severity, self.rule)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl DiagnosticDocument {
    /// Every diagnostic, in its order.
    pub fn all(diagnostics: &Diagnostics) -> Vec<DiagnosticDocument> {
        let mut documents = Vec::new();
        for own in diagnostics.iter() {
            let severity = match own.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            documents.push(DiagnosticDocument {
                severity: severity.to_owned(),
                rule: own.rule.to_owned(),
                file: own.at.file.to_string(),
                line: own.at.line,
                column: own.at.column,
                key: own.key.clone(),
                message: own.message.clone(),
                hint: own.hint.clone(),
            });
        }
        documents
    }
}

/// A status with the name and the words of its kind.
fn kind(status: StatusCode) -> (&'static str, &'static str) {
    match status {
        StatusCode::BAD_REQUEST => ("bad-request", "The request cannot be read"),
        StatusCode::UNAUTHORIZED => ("unauthorized", "The caller is not known"),
        StatusCode::FORBIDDEN => ("forbidden", "The caller may not do this"),
        StatusCode::NOT_FOUND => ("not-found", "There is nothing of that name"),
        StatusCode::METHOD_NOT_ALLOWED => ("method-not-allowed", "The path has no such method"),
        StatusCode::CONFLICT => ("refused", "The state speaks against it"),
        StatusCode::REQUEST_TIMEOUT => ("too-slow", "The request came too slowly"),
        StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "The body is too large"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("unsupported-media-type", "The body is not JSON"),
        StatusCode::MISDIRECTED_REQUEST => ("misdirected", "The host is not this server"),
        StatusCode::UNPROCESSABLE_ENTITY => ("unprocessable", "The request makes no sense"),
        StatusCode::TOO_MANY_REQUESTS => ("too-many-requests", "There are too many requests"),
        StatusCode::SERVICE_UNAVAILABLE => ("unavailable", "The server cannot do this now"),
        _ => ("internal", "The server failed"),
    }
}

impl Problem {
    /// A problem with a status and an explanation.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        let (name, title) = kind(status);
        let document = Box::new(ProblemDocument {
            kind: format!("urn:meridian:problem:{name}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            rule: None,
            objections: Vec::new(),
            diagnostics: Vec::new(),
        });
        Problem(document, None)
    }

    /// The same about a field, which is a parameter or a part of the body.
    #[must_use]
    pub fn of_field(mut self, field: impl Into<String>) -> Problem {
        self.0.field = Some(field.into());
        self
    }

    /// The same with a header of its response.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.1 = Some((name, value));
        self
    }

    /// The same with the rule that is broken.
    #[must_use]
    pub fn breaking(mut self, rule: impl Into<String>) -> Problem {
        self.0.rule = Some(rule.into());
        self
    }

    /// The same with faults of the files.
    #[must_use]
    pub fn with_diagnostics(mut self, diagnostics: Vec<DiagnosticDocument>) -> Problem {
        self.0.diagnostics = diagnostics;
        self
    }

    /// The same with objections of the pre-flight.
    #[must_use]
    pub fn with_objections(mut self, objections: Vec<String>) -> Problem {
        self.0.objections = objections;
        self
    }

    /// A field with a value that breaks a rule: status 422.
    pub fn wrong(field: &str, rule: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
            .of_field(field)
            .breaking(rule)
    }

    /// A name that nothing has: status 404.
    pub fn not_found(field: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
            .of_field(field)
            .breaking("unknown-name")
    }

    /// A caller who may not ask that: status 403.
    pub fn forbidden(rule: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, detail).breaking(rule)
    }

    /// The state does not allow it: status 409.
    pub fn refused(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, detail)
    }

    /// The server cannot say or do that now: status 503.
    pub fn unavailable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// The document.
    pub fn document(&self) -> &ProblemDocument {
        &self.0
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<Unanswered> for Problem {
    fn from(why: Unanswered) -> Problem {
        match why {
            Unanswered::NotFound(what) => {
                Problem::new(StatusCode::NOT_FOUND, what).breaking("unknown-name")
            }
            why @ (Unanswered::Stopping | Unanswered::Stalled(_)) => {
                Problem::unavailable(why.to_string())
            }
        }
    }
}

impl From<NotDone> for Problem {
    fn from(why: NotDone) -> Problem {
        let text = why.to_string();
        match why {
            NotDone::NotFound(_) => {
                Problem::new(StatusCode::NOT_FOUND, text).breaking("unknown-name")
            }
            NotDone::Refused(_) => Problem::refused(text),
            // Not the operator's mistake: the same request may succeed once the disk answers.
            NotDone::NotPersisted(_) => Problem::unavailable(text).breaking("not-persisted"),
            NotDone::NotKnown(_) => Problem::unavailable(text).breaking("not-confirmed"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, MEDIA_TYPE)];
        let mut response = (self.status(), kind, Json(self.0)).into_response();
        if let Some((name, value)) = self.1 {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// The problems that any request may meet, for its description.
pub(super) struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let described = |status: &str, words: &str| {
            let schema = Ref::from_schema_name("Problem");
            let response = ResponseBuilder::new()
                .description(words)
                .content(MEDIA_TYPE, Content::new(Some(schema)))
                .build();
            (status.to_owned(), response.into())
        };
        BTreeMap::from([
            described("4XX", "The request cannot be heeded"),
            described("5XX", "The server cannot heed it now"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_kind_its_field_and_its_rule() {
        let problem = Problem::wrong("for", "bad-duration", "2 moons is no duration");
        let json = serde_json::to_value(problem.document()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "urn:meridian:problem:unprocessable",
                "title": "The request makes no sense",
                "status": 422,
                "detail": "2 moons is no duration",
                "field": "for",
                "rule": "bad-duration",
            })
        );
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
    }
}
