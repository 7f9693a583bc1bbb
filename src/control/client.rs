//! HTTP client of the command line.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// The time that a server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Address of a running server.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Server {
    /// Its admin address, `http://ADDRESS:PORT`.
    Admin(String),
    /// Its control socket.
    Socket(PathBuf),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server::Admin(url) => f.write_str(url),
            Server::Socket(path) => path.display().fmt(f),
        }
    }
}

/// Failed request to a running server.
#[derive(Debug)]
pub struct RequestError {
    server: Server,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    /// The address is not of the form that the client understands.
    BadAddress,
    /// No connection came about.
    Connect(io::Error),
    /// The connection broke before the answer was complete.
    Broken(hyper::Error),
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
        matches!(
            (&self.server, &self.reason),
            (Server::Socket(_), Reason::Refused(..))
        )
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = &self.server;
        match &self.reason {
            Reason::BadAddress => write!(f, "{server} is not of the form http://ADDRESS:PORT"),
            Reason::Connect(error) => match (server, error.kind()) {
                (Server::Socket(_), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                    write!(f, "{server}: no server is running there: {error}")
                }
                (Server::Socket(_), ErrorKind::PermissionDenied) => write!(
                    f,
                    "{server}: {error}: run the command as root (sudo) or as the server's user"
                ),
                _ => write!(f, "{server}: {error}"),
            },
            Reason::Broken(error) => write!(f, "{server}: {error}"),
            Reason::Late(time) => {
                write!(f, "{server} did not answer within {} s", time.as_secs())
            }
            Reason::Refused(status, text) => match server {
                Server::Admin(_) => write!(f, "{server} answered {status}: {text}"),
                Server::Socket(_) => f.write_str(text),
            },
            Reason::Runtime(error) => write!(f, "{server}: cannot start the request: {error}"),
        }
    }
}

impl std::error::Error for RequestError {}

/// Body of the answer to GET `path` (`/path?query`) at the admin address `url`.
pub fn get(url: &str, path: &str) -> Result<String, RequestError> {
    request(Server::Admin(url.to_owned()), Method::GET, path, TIMEOUT)
}

/// Body of the answer to a POST without a body to `path` at the admin address `url`.
pub fn post(url: &str, path: &str) -> Result<String, RequestError> {
    request(Server::Admin(url.to_owned()), Method::POST, path, TIMEOUT)
}

/// Body of the answer to GET `path` (`/path?query`) at the control socket `socket`.
pub fn get_local(socket: &Path, path: &str) -> Result<String, RequestError> {
    get_local_within(TIMEOUT, socket, path)
}

/// Body of the answer to GET `path` at the control socket `socket`, which may take as long as
/// `time`.
pub fn get_local_within(time: Duration, socket: &Path, path: &str) -> Result<String, RequestError> {
    request(Server::Socket(socket.to_owned()), Method::GET, path, time)
}

/// Body of the answer to a POST without a body to `path` at the control socket `socket`, which
/// may take as long as `time`.
pub fn post_local(time: Duration, socket: &Path, path: &str) -> Result<String, RequestError> {
    request(Server::Socket(socket.to_owned()), Method::POST, path, time)
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

/// Makes one request, and waits for its answer as long as `time`.
fn request(
    server: Server,
    method: Method,
    path: &str,
    time: Duration,
) -> Result<String, RequestError> {
    answer(&server, method, path, time).map_err(|reason| RequestError { server, reason })
}

fn answer(server: &Server, method: Method, path: &str, time: Duration) -> Result<String, Reason> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Reason::Runtime)?;
    let answer = runtime
        .block_on(async { tokio::time::timeout(time, exchange(server, method, path)).await });
    // Dropping the runtime would wait for its blocking threads, and connecting to a socket on a
    // file system that hangs blocks one for ever.
    runtime.shutdown_background();
    let (status, text) = answer.map_err(|_| Reason::Late(time))??;
    if status.is_success() {
        Ok(text)
    } else {
        Err(Reason::Refused(status, text.trim().to_owned()))
    }
}

async fn exchange(
    server: &Server,
    method: Method,
    path: &str,
) -> Result<(StatusCode, String), Reason> {
    match server {
        Server::Admin(url) => {
            let uri = admin_uri(url, path).ok_or(Reason::BadAddress)?;
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
            let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80)))
                .await
                .map_err(Reason::Connect)?;
            send(stream, method, &uri).await.map_err(Reason::Broken)
        }
        Server::Socket(socket) => {
            let uri = format!("http://localhost{path}")
                .parse()
                .map_err(|_| Reason::BadAddress)?;
            let stream = connect_local(socket.clone())
                .await
                .map_err(Reason::Connect)?;
            send(stream, method, &uri).await.map_err(Reason::Broken)
        }
    }
}

fn admin_uri(url: &str, path: &str) -> Option<Uri> {
    let uri: Uri = format!("{}{path}", url.trim_end_matches('/'))
        .parse()
        .ok()?;
    (uri.scheme_str() == Some("http") && uri.host().is_some()).then_some(uri)
}

/// Connects on a thread of its own: a path on a file system that hangs must not stop the timeout.
async fn connect_local(path: PathBuf) -> io::Result<UnixStream> {
    let connect = move || std::os::unix::net::UnixStream::connect(path);
    let stream = tokio::task::spawn_blocking(connect)
        .await
        .map_err(io::Error::other)??;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Asks for `uri` over `stream`: the status, and the body as text.
async fn send<S>(stream: S, method: Method, uri: &Uri) -> Result<(StatusCode, String), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", authority)
        .body(Empty::<Bytes>::new())
        .expect("the parts of a URI make a request");
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
