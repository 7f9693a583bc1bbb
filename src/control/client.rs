//! HTTP client of the command line.
//!
//! It takes nothing from the environment: no proxy, no token. A redirect is an answer like any other.

mod admittance;
mod stream;

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::runtime::Runtime;
use url::{Host, Url};

pub use admittance::{Admittance, AdmittanceError};
pub use stream::{EventStream, StreamEvent};

/// The time for which a stream may be silent; a server sends at least a comment every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// The time that a server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The number of the last event that a client has seen (HTML, "Server-sent events").
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A running server, and what a client needs to be let in there.
#[derive(Debug, Clone)]
pub struct Server {
    address: Address,
    admittance: Admittance,
}

/// Address of a running server.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    /// Its admin address; without a final slash.
    Admin(String),
    /// Its control socket.
    Socket(PathBuf),
}

/// Error in the address of a server: it is neither an URL nor a control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadServer;

impl fmt::Display for BadServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write http://ADDRESS:PORT, https://NAME:PORT, or unix: and the path of a control socket")
    }
}

impl Error for BadServer {}

impl FromStr for Server {
    type Err = BadServer;

    /// Reads `http://ADDRESS:PORT`, `https://NAME:PORT` or `unix:PATH`.
    fn from_str(text: &str) -> Result<Server, BadServer> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.is_empty() {
                true => Err(BadServer),
                false => Ok(Server::socket(path)),
            };
        }
        // The URL crate reads more than is meant by a server's address: it would also take
        // `http:host`, and say nothing of a password.
        if !text.starts_with("http://") && !text.starts_with("https://") {
            return Err(BadServer);
        }
        let url = Url::parse(text).map_err(|_| BadServer)?;
        let is_plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        match url.has_host() && is_plain {
            true => Ok(Address::Admin(text.trim_end_matches('/').to_owned()).into()),
            false => Err(BadServer),
        }
    }
}

impl From<Address> for Server {
    fn from(address: Address) -> Server {
        Server {
            address,
            admittance: Admittance::default(),
        }
    }
}

impl Server {
    /// The server whose control socket is at `path`.
    pub fn socket(path: impl Into<PathBuf>) -> Server {
        Address::Socket(path.into()).into()
    }

    /// The same server, which `admittance` is shown to.
    #[must_use]
    pub fn with(self, admittance: Admittance) -> Server {
        Server { admittance, ..self }
    }

    /// True for a control socket.
    pub fn is_socket(&self) -> bool {
        matches!(self.address, Address::Socket(_))
    }

    /// True where a token would pass a network in the clear.
    fn exposes_token(&self) -> bool {
        let Address::Admin(url) = &self.address else {
            return false;
        };
        let is_local = |url: &Url| match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        url.starts_with("http:") && !Url::parse(url).is_ok_and(|url| is_local(&url))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Admin(url) => f.write_str(url),
            Address::Socket(path) => path.display().fmt(f),
        }
    }
}

/// Failed request to a running server.
#[derive(Debug)]
pub struct RequestError {
    /// Boxed: most results that may be this error are not.
    server: Box<Server>,
    reason: Box<Reason>,
}

#[derive(Debug)]
enum Reason {
    /// The address and the path make no URL.
    BadAddress,
    /// The token would pass a network in the clear.
    ExposedToken,
    /// No connection came about.
    Connect(ErrorKind, String),
    /// The server's certificate, or the client that speaks TLS to it, is at fault.
    Tls(rustls::Error),
    /// The connection broke before the answer was complete.
    Broken(String),
    /// The server took longer than this.
    Late(Duration),
    /// The server answered with this status and body.
    Refused(StatusCode, String),
    /// This process cannot run the request.
    Runtime(io::Error),
}

impl RequestError {
    /// True when the text is the server's own message, which does not name the server.
    pub fn is_refusal(&self) -> bool {
        self.server.is_socket() && matches!(*self.reason, Reason::Refused(..))
    }

    /// True when nothing answers at the server's address.
    pub fn is_absence(&self) -> bool {
        let absent = [ErrorKind::NotFound, ErrorKind::ConnectionRefused];
        matches!(&*self.reason, Reason::Connect(kind, _) if absent.contains(kind))
    }

    /// The status of the answer; `None` where there was none.
    pub fn status(&self) -> Option<u16> {
        match *self.reason {
            Reason::Refused(status, _) => Some(status.as_u16()),
            _ => None,
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = &self.server;
        match &*self.reason {
            Reason::BadAddress => write!(f, "{server}: {BadServer}"),
            Reason::ExposedToken => write!(
                f,
                "{server}: the token is not sent, because http:// would show it to the network: \
                 use https://"
            ),
            Reason::Connect(kind, error) => match kind {
                _ if server.is_socket() && self.is_absence() => {
                    write!(f, "{server}: no server is running there: {error}")
                }
                ErrorKind::PermissionDenied if server.is_socket() => write!(
                    f,
                    "{server}: {error}: run the command as root (sudo) or as the server's user"
                ),
                _ => write!(f, "{server}: {error}"),
            },
            Reason::Tls(error) => write!(f, "{server}: {error}{}", tls_hint(error)),
            Reason::Broken(error) => write!(f, "{server}: {error}"),
            Reason::Late(time) => {
                write!(f, "{server} did not answer within {} s", time.as_secs())
            }
            Reason::Refused(status, text) => match server.is_socket() {
                false => write!(f, "{server} answered {status}: {text}"),
                true => f.write_str(text),
            },
            Reason::Runtime(error) => write!(f, "{server}: cannot start the request: {error}"),
        }
    }
}

/// Advice that follows an error of TLS; empty where there is none.
fn tls_hint(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError::{NotValidForName, NotValidForNameContext, UnknownIssuer};
    match error {
        rustls::Error::InvalidCertificate(UnknownIssuer) => {
            ": name the authority that issued it with --ca FILE"
        }
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            ": use a name or an address that the certificate has"
        }
        rustls::Error::InvalidMessage(_) => ": does the server speak HTTP without TLS there?",
        _ => "",
    }
}

impl Error for RequestError {}

/// Body of the answer to GET `path` (`/path?query`).
pub fn get(server: &Server, path: &str) -> Result<String, RequestError> {
    get_within(TIMEOUT, server, path)
}

/// Body of the answer to GET `path`, which may take as long as `time`.
pub fn get_within(time: Duration, server: &Server, path: &str) -> Result<String, RequestError> {
    send_within(time, server, Method::GET, path, None)
}

/// Body of the answer to a POST of `body` to `path`.
pub fn post(server: &Server, path: &str, body: Option<&Value>) -> Result<String, RequestError> {
    post_within(TIMEOUT, server, path, body)
}

/// Body of the answer to a POST of `body` to `path`, which may take as long as `time`.
pub fn post_within(
    time: Duration,
    server: &Server,
    path: &str,
    body: Option<&Value>,
) -> Result<String, RequestError> {
    send_within(time, server, Method::POST, path, body)
}

/// Body of the answer to a PUT of `body` to `path`.
pub fn put(server: &Server, path: &str, body: Option<&Value>) -> Result<String, RequestError> {
    send_within(TIMEOUT, server, Method::PUT, path, body)
}

/// Body of the answer to a DELETE of `path`.
pub fn delete(server: &Server, path: &str) -> Result<String, RequestError> {
    send_within(TIMEOUT, server, Method::DELETE, path, None)
}

/// Body of the answer to a request, which may take as long as `time`.
fn send_within(
    time: Duration,
    server: &Server,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<String, RequestError> {
    let request = Prepared {
        server: server.clone(),
        method,
        path: path.to_owned(),
        body: body.map(Value::to_string),
    };
    let answer = on_a_thread(time, request);
    let (status, text) = answer.map_err(|reason| failed(server, reason))?;
    match status.is_success() {
        true => Ok(text),
        false => Err(failed(server, Reason::Refused(status, text))),
    }
}

/// Reads the answer to GET `path` for as long as it goes on and `each` wants more of it; `each` gets
/// pieces of the body as they come. `last_event_id` is that of the last event seen, for streams of
/// events.
///
/// # Errors
/// When the request fails, or the connection breaks before the server has ended the answer.
pub fn follow(
    server: &Server,
    path: &str,
    last_event_id: Option<&str>,
    mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<(), RequestError> {
    let followed = async {
        let mut request = builder(server, Method::GET, path)?
            .header(ACCEPT, "text/event-stream, application/json");
        if let Some(id) = last_event_id {
            request = request.header(LAST_EVENT_ID, id);
        }
        let sent = tokio::time::timeout(TIMEOUT, request.send()).await;
        let mut response = sent.map_err(|_| Reason::Late(TIMEOUT))?.map_err(classify)?;
        if !response.status().is_success() {
            let (status, text) = read(response).await?;
            return Err(Reason::Refused(status, text));
        }
        loop {
            let piece = tokio::time::timeout(SILENCE, response.chunk()).await;
            let piece = piece
                .map_err(|_| Reason::Late(SILENCE))?
                .map_err(classify)?;
            let Some(piece) = piece else {
                break;
            };
            if each(&piece).is_break() {
                break;
            }
        }
        Ok(())
    };
    let runtime = runtime().map_err(|reason| failed(server, reason))?;
    runtime
        .block_on(followed)
        .map_err(|reason| failed(server, reason))
}

/// Encodes everything but unreserved characters (RFC 3986 §2.3) as `%XX`.
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}

fn failed(server: &Server, reason: Reason) -> RequestError {
    RequestError {
        server: Box::new(server.clone()),
        reason: Box::new(reason),
    }
}

/// A request to be sent.
struct Prepared {
    server: Server,
    method: Method,
    path: String,
    body: Option<String>,
}

impl Prepared {
    /// Sends it: the status, and the body as text.
    async fn send(self) -> Result<(StatusCode, String), Reason> {
        let mut request = builder(&self.server, self.method, &self.path)?;
        if let Some(body) = self.body {
            request = request
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .body(body);
        }
        read(request.send().await.map_err(classify)?).await
    }
}

/// Sends a request on a thread of its own, and waits for its answer as long as `time`. A control
/// socket on a file system that hangs, or a resolver, would hold any other thread up for ever.
fn on_a_thread(time: Duration, request: Prepared) -> Result<(StatusCode, String), Reason> {
    let (sender, answer) = sync_channel(1);
    let spawned = thread::Builder::new()
        .name("request".to_owned())
        .spawn(move || {
            let answered = runtime().and_then(|runtime| {
                let sent = within(time, request);
                runtime.block_on(sent)
            });
            // Whoever asked may have given up.
            let _ = sender.send(answered);
        });
    spawned.map_err(Reason::Runtime)?;
    match answer.recv_timeout(time) {
        Ok(answered) => answered,
        Err(RecvTimeoutError::Timeout) => Err(Reason::Late(time)),
        Err(RecvTimeoutError::Disconnected) => {
            let lost = io::Error::other("the thread of the request ended");
            Err(Reason::Runtime(lost))
        }
    }
}

async fn within(time: Duration, request: Prepared) -> Result<(StatusCode, String), Reason> {
    match tokio::time::timeout(time, request.send()).await {
        Ok(answered) => answered,
        Err(_) => Err(Reason::Late(time)),
    }
}

fn runtime() -> Result<Runtime, Reason> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Reason::Runtime)
}

/// The beginning of a request to `server`, with its token.
fn builder(server: &Server, method: Method, path: &str) -> Result<RequestBuilder, Reason> {
    let url = match &server.address {
        Address::Admin(url) => format!("{url}{path}"),
        Address::Socket(_) => format!("http://localhost{path}"),
    };
    let url = Url::parse(&url).map_err(|_| Reason::BadAddress)?;
    let is_tls = url.scheme() == "https";
    let mut client = Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .tls_backend_preconfigured(server.admittance.tls(is_tls));
    if let Address::Socket(path) = &server.address {
        client = client.unix_socket(path.clone());
    }
    let request = client.build().map_err(classify)?.request(method, url);
    let Some(token) = server.admittance.token() else {
        return Ok(request);
    };
    match server.exposes_token() {
        true => Err(Reason::ExposedToken),
        false => Ok(request.header(AUTHORIZATION, token)),
    }
}

/// The status and the text of an answer; of a problem document (RFC 9457), what it says in words.
async fn read(response: Response) -> Result<(StatusCode, String), Reason> {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE);
    let is_problem = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem"));
    let body = response.bytes().await.map_err(classify)?;
    let text = String::from_utf8_lossy(&body).into_owned();
    let text = match is_problem {
        true => in_words(&text).unwrap_or(text),
        false => text,
    };
    Ok((
        status,
        if status.is_success() {
            text
        } else {
            text.trim().to_owned()
        },
    ))
}

/// The members of a problem document that are for people.
#[derive(Deserialize)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
}

fn in_words(text: &str) -> Option<String> {
    let Problem { title, detail } = serde_json::from_str(text).ok()?;
    detail.or(title)
}

/// The reason behind an error, which names it at the end of a chain of sources.
fn classify(error: reqwest::Error) -> Reason {
    let mut cause: &(dyn Error + 'static) = &error;
    let mut kind = None;
    loop {
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return Reason::Tls(error.clone());
        }
        let io = cause.downcast_ref::<io::Error>();
        kind = io.map(io::Error::kind).or(kind);
        // The source of an I/O error skips the error that it is made of.
        let inner = io.and_then(io::Error::get_ref);
        cause = match (inner, cause.source()) {
            (Some(inner), _) => inner,
            (None, Some(source)) => source,
            (None, None) => break,
        };
    }
    match kind {
        Some(kind) if error.is_connect() => Reason::Connect(kind, cause.to_string()),
        None if error.is_connect() => Reason::Connect(ErrorKind::Other, cause.to_string()),
        _ => Reason::Broken(cause.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_url_or_a_control_socket() {
        for text in [
            "http://127.0.0.1:8053",
            "https://gtm.example.net",
            "https://[2001:db8::1]:8443/",
            "unix:/var/lib/meridian/control.sock",
        ] {
            let server: Server = text.parse().unwrap();
            let shown = text.trim_start_matches("unix:").trim_end_matches('/');
            assert_eq!(server.to_string(), shown);
        }
        for text in [
            "",
            "unix:",
            "127.0.0.1:8053",
            "localhost",
            "ftp://localhost",
            "http:localhost",
            "http://",
            "http://user@localhost",
            "http://localhost?x",
        ] {
            assert_eq!(text.parse::<Server>().unwrap_err(), BadServer, "{text}");
        }
    }

    #[test]
    fn a_token_does_not_leave_the_host_in_the_clear() {
        for (text, exposes) in [
            ("http://127.8.9.1:8053", false),
            ("http://[::1]:8053", false),
            ("http://localhost:8053", false),
            ("https://gtm.example.net", false),
            ("unix:/run/control.sock", false),
            ("http://gtm.example.net", true),
            ("http://192.0.2.1:8053", true),
        ] {
            let server: Server = text.parse().unwrap();
            assert_eq!(server.exposes_token(), exposes, "{text}");
        }
    }
}
