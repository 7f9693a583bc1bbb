//! The HTTP client of the command line.

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// The time that a server may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The body of `base` + `path` (`http://host:port`, `/path?query`); a sentence where there is none.
pub fn get(base: &str, path: &str) -> Result<String, String> {
    wait(base, over_tcp(Method::GET, base, path))
}

/// The same for a POST without a body.
pub fn post(base: &str, path: &str) -> Result<String, String> {
    wait(base, over_tcp(Method::POST, base, path))
}

/// The body of `path` (`/path?query`) at the control socket `socket`; a sentence where there is none.
pub fn get_local(socket: &Path, path: &str) -> Result<String, String> {
    wait(
        &socket.display().to_string(),
        over_socket(Method::GET, socket, path),
    )
}

/// The same for a POST without a body, which may take as long as `time`.
pub fn post_local(time: Duration, socket: &Path, path: &str) -> Result<String, String> {
    wait_for(
        time,
        &socket.display().to_string(),
        over_socket(Method::POST, socket, path),
    )
}

/// Everything but unreserved characters (RFC 3986 §2.3) as `%XX`.
pub fn percent_encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes()
        .map(|b| {
            if plain(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

/// The answer of a server that may take its time, but not for ever.
fn wait(
    server: &str,
    exchange: impl Future<Output = Result<String, String>>,
) -> Result<String, String> {
    wait_for(TIMEOUT, server, exchange)
}

fn wait_for(
    time: Duration,
    server: &str,
    exchange: impl Future<Output = Result<String, String>>,
) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("cannot start: {e}"))?;
    let answer = runtime.block_on(async { tokio::time::timeout(time, exchange).await });
    // A path on a file system that hangs keeps a thread waiting.
    runtime.shutdown_background();
    answer.unwrap_or_else(|_| {
        Err(format!(
            "{server} did not answer within {} s",
            time.as_secs()
        ))
    })
}

async fn over_tcp(method: Method, base: &str, path: &str) -> Result<String, String> {
    let form = || format!("{base} is not of the form http://ADDRESS:PORT");
    let uri: Uri = format!("{}{path}", base.trim_end_matches('/'))
        .parse()
        .map_err(|_| form())?;
    let (Some("http"), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err(form());
    };
    let port = uri.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port))
        .await
        .map_err(|e| format!("{base}: {e}"))?;
    let (status, text) = exchange(stream, method, &uri)
        .await
        .map_err(|why| format!("{base}: {why}"))?;
    if status.is_success() {
        Ok(text)
    } else {
        Err(format!("{base} says {status}: {}", text.trim()))
    }
}

async fn over_socket(method: Method, socket: &Path, path: &str) -> Result<String, String> {
    let shown = socket.display();
    let uri: Uri = format!("http://localhost{path}")
        .parse()
        .map_err(|_| format!("{path} is no path"))?;
    let path = socket.to_owned();
    let connected =
        tokio::task::spawn_blocking(move || std::os::unix::net::UnixStream::connect(path)).await;
    let connected = connected
        .map_err(std::io::Error::other)
        .and_then(|stream| stream);
    let stream = connected.and_then(|stream| {
        stream
            .set_nonblocking(true)
            .and_then(|()| UnixStream::from_std(stream))
    });
    let stream = stream.map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            format!("no server is running there: {shown}: {error}")
        }
        ErrorKind::PermissionDenied => {
            format!("{shown}: {error}: be root (sudo), or the user that runs the server")
        }
        _ => format!("{shown}: {error}"),
    })?;
    // What is refused is the server's word, and a sentence.
    let (status, text) = exchange(stream, method, &uri)
        .await
        .map_err(|why| format!("{shown}: {why}"))?;
    if status.is_success() {
        Ok(text)
    } else {
        Err(text.trim().to_owned())
    }
}

/// Asks for `uri`; the status, and the body as text.
async fn exchange<S>(
    stream: S,
    method: Method,
    uri: &Uri,
) -> Result<(StatusCode, String), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let target = uri.path_and_query().map_or("/", |p| p.as_str());
    let authority = uri.authority().map_or("", |a| a.as_str());
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", authority);
    let request = request
        .body(Empty::<Bytes>::new())
        .expect("the parts of a URI make a request");
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
