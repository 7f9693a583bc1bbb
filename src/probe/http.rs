//! One HTTP/1.1 exchange on a connection that is open already: request out, response head in.
//!
//! The head alone decides. The body is not read: it may be endless, and what has not arrived by
//! then is cut off with the connection. Redirects are answers like any other, never followed.

use std::error::Error as _;
use std::io;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::prober::Attempt;
use super::report::Report;
use super::{route, tcp, tls};
use crate::health::{FailReason, HttpFault, NotJudged, Phase, Seen};
use crate::model::{Family, HttpSpec, TlsSpec};

/// The longest response head that is read, in bytes.
pub const MAX_HEAD: usize = 64 * 1024;

/// An `http` check, or with `tls` an `https` one.
pub(super) async fn probe(
    http: &HttpSpec,
    tls: Option<&TlsSpec>,
    attempt: &Attempt<'_>,
    report: &mut Report,
) -> Result<(), Seen> {
    let family = attempt.family();
    let stream = tcp::connect(attempt.address).await?;
    let host = host(http, attempt, if tls.is_some() { 443 } else { 80 });
    let Some(tls) = tls else {
        report.enter(Phase::Response);
        return exchange(stream, http, &host, family).await;
    };
    report.enter(Phase::Tls);
    // The request follows the handshake's last flight at once; it must not wait for its ACK.
    stream.set_nodelay(true).map_err(|error| route::judge(&error, Phase::Tls, family))?;
    let name = server_name(&host);
    let stream = attempt.prober.tls().connect(stream, name, tls.verify_certificate, family).await?;
    report.enter(Phase::Response);
    exchange(stream, http, &host, family).await
}

/// The Host header: the check's as written, else the target with a port that is not the scheme's.
fn host(http: &HttpSpec, attempt: &Attempt<'_>, scheme_port: u16) -> String {
    match &http.host {
        Some(host) => host.clone(),
        None if attempt.address.port() == scheme_port => attempt.named.to_owned(),
        None => format!("{}:{}", attempt.named, attempt.address.port()),
    }
}

/// Sends the request of `http` for `host` and judges the status that comes back.
async fn exchange<S>(stream: S, http: &HttpSpec, host: &str, family: Family) -> Result<(), Seen>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let request = request(http, host).ok_or(Seen::NotJudged(NotJudged::Check))?;
    let status = status(stream, request).await.map_err(|error| judge(&error, family))?;
    match http.expect_status.iter().any(|range| range.contains(status)) {
        true => Ok(()),
        false => Err(Seen::Fail(FailReason::Status(status))),
    }
}

/// The server name of a Host header's value: without port and brackets.
fn server_name(host: &str) -> &str {
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    match host.split_once(':') {
        Some((name, port)) if !port.contains(':') => name,
        _ => host,
    }
}

/// `None` where a part of the check cannot stand in a request.
fn request(http: &HttpSpec, host: &str) -> Option<Request<Empty<Bytes>>> {
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::from_bytes(http.method.as_bytes()).ok()?;
    *request.uri_mut() = http.path.parse().ok()?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(host).ok()?);
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("meridian/", env!("CARGO_PKG_VERSION"))));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    for (name, value) in &http.headers {
        headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
    }
    Some(request)
}

async fn status<S>(stream: S, request: Request<Empty<Bytes>>) -> hyper::Result<u16>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await?;
    let mut connection = Box::pin(connection);
    let mut response = std::pin::pin!(sender.send_request(request));
    // The connection only moves while it is polled; when it ends first, its error says more than
    // the response's, which then is "canceled".
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        response = &mut response => return Ok(response?.status().as_u16()),
    };
    drop(connection);
    match (response.await, ended) {
        (Ok(response), _) => Ok(response.status().as_u16()),
        (Err(canceled), Err(error)) if canceled.is_canceled() => Err(error),
        (Err(error), _) => Err(error),
    }
}

fn judge(error: &hyper::Error, family: Family) -> Seen {
    if error.is_user() {
        return Seen::NotJudged(NotJudged::Check);
    }
    if let Some(error) = error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        return tls::judge(error, Phase::Response, family);
    }
    Seen::Fail(if error.is_parse_too_large() {
        FailReason::Http(HttpFault::HeadTooLong)
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        FailReason::Closed(Phase::Response)
    } else {
        // Not parseable, or sent before we asked: a banner of another protocol.
        FailReason::Http(HttpFault::NotHttp)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(headers: &[(&str, &str)]) -> HttpSpec {
        HttpSpec {
            path: "/healthz?full=1".into(),
            headers: headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            ..HttpSpec::default()
        }
    }

    #[test]
    fn server_names_have_no_port() {
        for (host, name) in [
            ("www.example.com", "www.example.com"),
            ("www.example.com:8443", "www.example.com"),
            ("192.0.2.1:443", "192.0.2.1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(server_name(host), name);
        }
    }

    #[test]
    fn headers_of_the_check_replace_ours() {
        let request = request(&spec(&[("user-agent", "probe"), ("X-Token", "1")]), "www.example.com").unwrap();
        assert_eq!(request.headers()["user-agent"], "probe");
        assert_eq!(request.headers()["x-token"], "1");
        assert_eq!(request.headers()["host"], "www.example.com");
        assert_eq!(request.uri(), "/healthz?full=1");
    }

    #[test]
    fn what_cannot_be_sent_is_no_request() {
        assert!(request(&spec(&[("x y", "1")]), "www.example.com").is_none());
        assert!(request(&spec(&[("x", "a\nb")]), "www.example.com").is_none());
        assert!(request(&spec(&[]), "www\nexample").is_none());
    }
}
