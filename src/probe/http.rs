//! `http` and `https` checks: a request, the redirects it is to follow, and what the answer is held to.
//!
//! The head alone decides unless the check looks into the body: then its first 64 KiB do. A body that is not longer is
//! read to its end all the same, as far as the timeout allows; of a longer one the connection is cut off.

mod exchange;
mod redirect;

use std::borrow::Cow;
use std::net::SocketAddr;

use hyper::header::{ACCEPT, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Method};

use super::attempt::{Attempt, family};
use super::check::Check;
use super::report::Report;
use super::resolver::Resolver;
use super::tls::{self, Alpn, Tls};
use super::{MAX_BODY, tcp};
use crate::health::{Evidence, FailReason, HttpFault, JsonFault, NotJudged, Phase, Seen};
use crate::model::{
    HeaderText, HttpSpec, HttpVersion, JsonRule, JsonTest, Load, LoadSource, Scalar, TlsSpec,
};

use exchange::{Answer, Message, Reset};

/// Destination of one request of a probe.
#[derive(Debug, Clone, PartialEq)]
struct Place<'a> {
    /// Inside TLS.
    secure: bool,
    address: SocketAddr,
    /// The Host header: a name or an address, with its port unless it is the scheme's.
    authority: Cow<'a, str>,
    /// Path and query.
    path: Cow<'a, str>,
    /// The check's own host, which alone gets the headers of the check, and may have secrets in them.
    ours: bool,
}

/// The parts of a prober that a request and its redirects need.
pub(super) struct Network<'a> {
    pub(super) connectors: &'a Tls,
    pub(super) resolver: &'a Resolver,
}

/// An `http` check, or with `tls` an `https` one.
pub(super) async fn probe(
    spec: &HttpSpec,
    tls: Option<&TlsSpec>,
    attempt: &Attempt<'_>,
    network: Network<'_>,
    report: &mut Report,
) -> Result<(), Seen> {
    let mut place = Place {
        secure: tls.is_some(),
        address: attempt.address,
        authority: authority(spec, attempt, if tls.is_some() { 443 } else { 80 }),
        path: Cow::Borrowed(&spec.path),
        ours: true,
    };
    let mut method = method(spec)?;
    for followed in 0.. {
        let answer = fetch(
            spec,
            tls,
            &place,
            &method,
            attempt,
            network.connectors,
            report,
        )
        .await?;
        if spec.follow_redirects == 0 || !redirect::is_one(spec, answer.status) {
            return judge(spec, &answer, attempt.check, report);
        }
        if followed == spec.follow_redirects {
            return Err(Seen::Fail(FailReason::Http(HttpFault::TooManyRedirects)));
        }
        // "303 See Other" asks for a GET; for POST, 301 and 302 are taken so by everyone (RFC 9110 §15.4).
        if answer.status == 303 || (method == Method::POST && matches!(answer.status, 301 | 302)) {
            method = Method::GET;
        }
        place = Box::pin(redirect::follow(
            &place,
            &answer,
            attempt,
            network.resolver,
            report,
        ))
        .await?;
        report.enter(Phase::Connect);
    }
    unreachable!("the loop ends with its last redirect")
}

/// The Host header: the check's as written, else the target with a port that is not the scheme's.
fn authority<'a>(spec: &'a HttpSpec, attempt: &'a Attempt<'_>, scheme_port: u16) -> Cow<'a, str> {
    match &spec.host {
        Some(host) => Cow::Borrowed(host),
        None if attempt.address.port() == scheme_port => attempt.named(),
        None => Cow::Owned(format!("{}:{}", attempt.named(), attempt.address.port())),
    }
}

fn method(spec: &HttpSpec) -> Result<Method, Seen> {
    Method::from_bytes(spec.method.as_bytes()).map_err(|_| Seen::NotJudged(NotJudged::Check))
}

/// Makes one request at `place` and returns its answer, as far as it is of interest.
async fn fetch(
    spec: &HttpSpec,
    tls: Option<&TlsSpec>,
    place: &Place<'_>,
    method: &Method,
    attempt: &Attempt<'_>,
    connectors: &Tls,
    report: &mut Report,
) -> Result<Answer, Seen> {
    let wants = |status| wants(spec, status);
    let message = Message {
        method,
        secure: place.secure,
        authority: &place.authority,
        path: &place.path,
        headers: headers(
            if place.ours { &spec.headers } else { &[] },
            &place.authority,
        )
        .map_err(Seen::NotJudged)?,
        family: family(&place.address),
        wants: &wants,
        // A pattern alone may be found before the body has ended; JSON may not.
        awaits: attempt.check.pattern().filter(|_| !spec.reads_json()),
        deadline: attempt.deadline,
    };
    // Each way is boxed, since a probe's memory is otherwise that of the way that takes most.
    if place.secure {
        // A redirect into TLS, or to another host, is held to what browsers would hold it to.
        let usual = TlsSpec::default();
        let tls = tls.filter(|_| place.ours).unwrap_or(&usual);
        return Box::pin(fetch_inside(
            tls,
            spec.version,
            place,
            message,
            connectors,
            report,
        ))
        .await;
    }
    let stream = Reset(tcp::connect(place.address).await?);
    report.enter(Phase::Response);
    match spec.version {
        HttpVersion::Two => Box::pin(exchange::http2(stream, message, report)).await,
        HttpVersion::Auto | HttpVersion::One => {
            Box::pin(exchange::http1(stream, message, report)).await
        }
    }
}

/// Sends `message` inside TLS, in the version of HTTP that the handshake chose.
async fn fetch_inside(
    tls: &TlsSpec,
    version: HttpVersion,
    place: &Place<'_>,
    message: Message<'_>,
    connectors: &Tls,
    report: &mut Report,
) -> Result<Answer, Seen> {
    let handshake = tls::open(
        tls,
        alpn(version),
        place.address,
        &place.authority,
        connectors,
        report,
    );
    let stream = Box::pin(handshake).await?;
    report.enter(Phase::Response);
    let chosen_two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    match (version, chosen_two) {
        (_, true) => Box::pin(exchange::http2(stream, message, report)).await,
        (HttpVersion::Two, false) => Err(Seen::Fail(FailReason::Http(HttpFault::NoHttp2))),
        (_, false) => Box::pin(exchange::http1(stream, message, report)).await,
    }
}

/// Protocols that are offered inside TLS for a version of HTTP.
pub(super) fn alpn(version: HttpVersion) -> Alpn {
    match version {
        HttpVersion::Auto => Alpn::Either,
        HttpVersion::One => Alpn::Http1,
        HttpVersion::Two => Alpn::Http2,
    }
}

fn headers(ours: &[(String, HeaderText)], authority: &str) -> Result<HeaderMap, NotJudged> {
    let mut headers = HeaderMap::with_capacity(ours.len() + 4);
    headers.insert(
        HOST,
        HeaderValue::from_str(authority).map_err(|_| NotJudged::Check)?,
    );
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("meridian/", env!("CARGO_PKG_VERSION"))),
    );
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    for (name, text) in ours {
        let value = match text {
            HeaderText::Plain(text) => HeaderValue::from_str(text),
            HeaderText::Secret(secret) => {
                let value = secret.value.as_ref().ok_or(NotJudged::Secret)?;
                HeaderValue::from_str(&format!("{}{value}", secret.prefix)).map(|mut value| {
                    value.set_sensitive(true);
                    value
                })
            }
        };
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| NotJudged::Check)?;
        headers.insert(name, value.map_err(|_| NotJudged::Check)?);
    }
    Ok(headers)
}

fn passes(spec: &HttpSpec, status: u16) -> bool {
    spec.expect_status
        .iter()
        .any(|range| range.contains(status))
}

/// Decides how much of the body is read after a status.
fn wants(spec: &HttpSpec, status: u16) -> exchange::Body {
    if spec.follow_redirects > 0 && redirect::is_one(spec, status) {
        exchange::Body::Passing
    } else if !passes(spec, status) {
        exchange::Body::Glimpse
    } else if spec.reads_body() {
        exchange::Body::Start
    } else {
        exchange::Body::Nothing
    }
}

/// Holds the last answer to what the check expects.
fn judge(spec: &HttpSpec, answer: &Answer, check: &Check, report: &mut Report) -> Result<(), Seen> {
    let reads = passes(spec, answer.status) && spec.reads_json();
    let document = if reads { answer.json() } else { None };
    if let Err((reason, evidence)) = expectations(spec, answer, document.as_ref(), check) {
        report.evidence = evidence;
        return Err(Seen::Fail(reason));
    }
    report.load = load(spec, answer, document.as_ref());
    Ok(())
}

/// Reports the first expectation that the answer does not meet, with what shows it.
fn expectations(
    spec: &HttpSpec,
    answer: &Answer,
    document: Option<&serde_json::Value>,
    check: &Check,
) -> Result<(), (FailReason, Option<Evidence>)> {
    let body = || Evidence::of(&answer.body);
    if !passes(spec, answer.status) {
        return Err((FailReason::Status(answer.status), body()));
    }
    if let Some(pattern) = check.pattern()
        && !pattern.is_match(&answer.body)
    {
        return Err((FailReason::NoMatch, body()));
    }
    for rule in &spec.json {
        let Some(document) = document else {
            return Err((FailReason::Json(JsonFault::NotJson), body()));
        };
        let found = document.pointer(rule.pointer.as_str());
        if let Err(fault) = hold(rule, found) {
            let shown = found.map_or_else(|| "nothing".to_owned(), ToString::to_string);
            let evidence = format!("{} is {shown}", rule.pointer);
            return Err((FailReason::Json(fault), Evidence::of(evidence.as_bytes())));
        }
    }
    Ok(())
}

/// Holds the value `found` to one rule.
fn hold(rule: &JsonRule, found: Option<&serde_json::Value>) -> Result<(), JsonFault> {
    let value = found.ok_or(JsonFault::Absent)?;
    match &rule.test {
        JsonTest::Present => Ok(()),
        JsonTest::Between { min, max } => match value.as_f64().ok_or(JsonFault::NotANumber)? {
            number if number < *min => Err(JsonFault::Below),
            number if number > *max => Err(JsonFault::Above),
            _ => Ok(()),
        },
        JsonTest::Equals(scalar) if is(value, scalar) => Ok(()),
        JsonTest::Differs(scalar) if !is(value, scalar) => Ok(()),
        JsonTest::Equals(_) | JsonTest::Differs(_) => Err(JsonFault::OtherValue),
    }
}

/// True when `value` is `scalar`; `1` and `1.0` are one number.
fn is(value: &serde_json::Value, scalar: &Scalar) -> bool {
    match scalar {
        Scalar::Text(text) => value.as_str() == Some(text),
        Scalar::Number(number) => value.as_f64() == Some(*number),
        Scalar::Flag(flag) => value.as_bool() == Some(*flag),
    }
}

/// The load that the answer tells; what is not there or no load is none.
fn load(spec: &HttpSpec, answer: &Answer, json: Option<&serde_json::Value>) -> Option<Load> {
    let share = match spec.load.as_ref()? {
        LoadSource::Header(name) => answer
            .headers
            .get(name)?
            .to_str()
            .ok()?
            .trim()
            .parse()
            .ok()?,
        LoadSource::Json(pointer) => json?.pointer(pointer.as_str())?.as_f64()?,
    };
    Load::new(share)
}

impl Answer {
    fn json(&self) -> Option<serde_json::Value> {
        if self.body.len() < MAX_BODY {
            serde_json::from_slice(&self.body).ok()
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{JsonPointer, Secret, SecretPlace};

    #[test]
    fn headers_of_the_check_replace_ours() {
        let secret = |value| Secret {
            prefix: "Bearer ".into(),
            place: SecretPlace::Credential("token".into()),
            value,
        };
        let ours = [
            (
                "user-agent".to_owned(),
                HeaderText::Plain("probe".to_owned()),
            ),
            ("X-Token".to_owned(), HeaderText::Plain("1".to_owned())),
            (
                "Authorization".to_owned(),
                HeaderText::Secret(secret(Some("s3cret".to_owned()))),
            ),
        ];
        let headers = headers(&ours, "www.example.com").unwrap();
        assert_eq!(headers["user-agent"], "probe");
        assert_eq!(headers["x-token"], "1");
        assert_eq!(headers["host"], "www.example.com");
        assert_eq!(headers["authorization"], "Bearer s3cret");
        assert!(!format!("{headers:?} {ours:?}").contains("s3cret"));
        let unread = [("Authorization".to_owned(), HeaderText::Secret(secret(None)))];
        assert_eq!(
            super::headers(&unread, "www.example.com"),
            Err(NotJudged::Secret)
        );
    }

    #[test]
    fn what_cannot_be_sent_is_no_request() {
        let one = |name: &str, value: &str| {
            headers(
                &[(name.to_owned(), HeaderText::Plain(value.to_owned()))],
                "www.example.com",
            )
        };
        assert!(one("x y", "1").is_err());
        assert!(one("x", "a\nb").is_err());
        assert!(headers(&[], "www\nexample").is_err());
    }

    #[test]
    fn rules_over_json() {
        let document = serde_json::json!({ "lag": 4, "state": "ok", "ready": true, "half": 0.5, "none": null });
        let held = |pointer: &str, test| {
            let rule = JsonRule {
                pointer: JsonPointer::new(pointer).unwrap(),
                test,
            };
            hold(&rule, document.pointer(rule.pointer.as_str()))
        };
        let between = |min, max| JsonTest::Between { min, max };
        assert_eq!(held("/lag", between(0.0, 4.0)), Ok(()));
        assert_eq!(
            held("/lag", between(f64::NEG_INFINITY, 3.9)),
            Err(JsonFault::Above)
        );
        assert_eq!(
            held("/lag", between(4.1, f64::INFINITY)),
            Err(JsonFault::Below)
        );
        assert_eq!(
            held("/state", between(0.0, 1.0)),
            Err(JsonFault::NotANumber)
        );
        assert_eq!(held("/gone", JsonTest::Present), Err(JsonFault::Absent));
        assert_eq!(
            held("/none", JsonTest::Present),
            Ok(()),
            "null is something"
        );
        assert_eq!(
            held("/state", JsonTest::Equals(Scalar::Text("ok".into()))),
            Ok(())
        );
        assert_eq!(
            held("/ready", JsonTest::Equals(Scalar::Text("true".into()))),
            Err(JsonFault::OtherValue)
        );
        assert_eq!(
            held("/ready", JsonTest::Differs(Scalar::Flag(false))),
            Ok(())
        );
        assert_eq!(
            held("/lag", JsonTest::Differs(Scalar::Number(4.0))),
            Err(JsonFault::OtherValue)
        );
    }
}
