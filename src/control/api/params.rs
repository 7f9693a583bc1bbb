//! Parameters of requests: the query, the segments of the path, and what is wrong with them.

use std::fmt::Display;

use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::Problem;
use crate::control::{Control, Started};

/// The running server, once queries are answered.
pub(in crate::control) struct Running(pub(in crate::control) Control);

impl FromRequestParts<Started> for Running {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, started: &Started) -> Result<Running, Problem> {
        Running::of(started)
    }
}

impl Running {
    /// The server behind `started`.
    pub(super) fn of(started: &Started) -> Result<Running, Problem> {
        started.get().cloned().map(Running).ok_or_else(|| {
            Problem::unavailable(
                "starting: queries are answered once the first round of probes has ended, within 5 s",
            )
            .breaking("starting")
        })
    }
}

/// The parameters in the query of a request; others than those of `T` are refused.
pub(in crate::control) struct Params<T>(pub(in crate::control) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Params<T>, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        let reader = serde_urlencoded::Deserializer::new(pairs);
        serde_path_to_error::deserialize(reader)
            .map(Params)
            .map_err(|error| unreadable(&error.path().to_string(), error.inner()))
    }
}

/// The segments of the path that stand for something.
pub(in crate::control) struct Segments<T>(pub(in crate::control) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Segments<T>, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(segments)) => Ok(Segments(segments)),
            Err(why) => {
                Err(Problem::new(StatusCode::BAD_REQUEST, why.body_text()).breaking("bad-path"))
            }
        }
    }
}

/// The problem of parameters or a body that serde cannot read: `error`, at `path`.
pub(super) fn unreadable(path: &str, error: &impl Display) -> Problem {
    let detail = error.to_string();
    let (rule, named) = broken_rule(&detail);
    // The path leads to the object that lacks a key, and at times to the key that is too much.
    let path = path.trim_matches(['.', '?']);
    let field = match named {
        Some(key) if path.is_empty() => key.to_owned(),
        Some(key) if path != key && !path.ends_with(&format!(".{key}")) => format!("{path}.{key}"),
        _ => path.to_owned(),
    };
    let problem = Problem::new(StatusCode::BAD_REQUEST, detail.clone()).breaking(rule);
    match field.as_str() {
        "" => problem,
        field => problem.of_field(field),
    }
}

/// The rule that serde's message is about, and the key that it names.
fn broken_rule(message: &str) -> (&'static str, Option<&str>) {
    const RULES: [(&str, &str, bool); 5] = [
        ("unknown field", "unknown-key", true),
        ("missing field", "missing-key", true),
        ("duplicate field", "duplicate-key", true),
        ("unknown variant", "unknown-value", false),
        ("invalid type", "wrong-type", false),
    ];
    for (beginning, rule, names_key) in RULES {
        if message.starts_with(beginning) {
            return (rule, message.split('`').nth(1).filter(|_| names_key));
        }
    }
    ("bad-value", None)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        name: String,
        limit: Option<u32>,
    }

    async fn read(query: &str) -> Result<Wanted, Problem> {
        let request = Request::get(format!("/?{query}")).body(()).unwrap();
        let (mut parts, ()) = request.into_parts();
        let Params(wanted) = Params::from_request_parts(&mut parts, &()).await?;
        Ok(wanted)
    }

    #[tokio::test]
    async fn parameters_are_read_whole_and_what_is_wrong_is_named() {
        let wanted = read("name=a%20b&limit=7").await.unwrap();
        assert_eq!(
            wanted,
            Wanted {
                name: "a b".to_owned(),
                limit: Some(7)
            }
        );
        for (query, field, rule) in [
            ("name=a&colour=red", "colour", "unknown-key"),
            ("limit=7", "name", "missing-key"),
            ("name=a&name=b", "name", "duplicate-key"),
            ("name=a&limit=x", "limit", "bad-value"),
        ] {
            let problem = read(query).await.unwrap_err();
            let document = problem.document();
            assert_eq!(
                (document.field.as_deref(), document.rule.as_deref()),
                (Some(field), Some(rule)),
                "{query}: {document:?}"
            );
            assert_eq!(document.status, 400);
        }
    }
}
