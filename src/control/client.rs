//! The HTTP client of the command line.

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a server may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The body of `base` + `path` (`http://host:port`, `/path?query`); a sentence where there is none.
pub fn get(base: &str, path: &str) -> Result<String, String> {
    exchange(Method::GET, base, path)
}

/// The same for a POST without a body.
pub fn post(base: &str, path: &str) -> Result<String, String> {
    exchange(Method::POST, base, path)
}

/// Everything but unreserved characters (RFC 3986 §2.3) as `%XX`.
pub fn percent_encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn exchange(method: Method, base: &str, path: &str) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| format!("cannot start: {e}"))?;
    let answer = runtime.block_on(async { tokio::time::timeout(TIMEOUT, fetch(method, base, path)).await });
    answer.unwrap_or_else(|_| Err(format!("{base} did not answer within {} s", TIMEOUT.as_secs())))
}

async fn fetch(method: Method, base: &str, path: &str) -> Result<String, String> {
    let form = || format!("{base} is not of the form http://ADDRESS:PORT");
    let uri: Uri = format!("{}{path}", base.trim_end_matches('/')).parse().map_err(|_| form())?;
    let (Some("http"), Some(host)) = (uri.scheme_str(), uri.host()) else { return Err(form()) };
    let failed = |what: &dyn std::fmt::Display| format!("{base}: {what}");
    let port = uri.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await.map_err(|e| failed(&e))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
    tokio::spawn(connection);
    let target = uri.path_and_query().map_or("/", |p| p.as_str());
    let authority = uri.authority().map_or("", |a| a.as_str());
    let request = Request::builder().method(method).uri(target).header("host", authority);
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| failed(&e))?;
    let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|e| failed(&e))?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() { Ok(text) } else { Err(format!("{base} says {status}: {}", text.trim())) }
}
