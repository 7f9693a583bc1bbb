//! One HTTP exchange on a connection that is open already: request out, head and start of the body in.
//!
//! A connection of hyper or h2 moves only while it is polled, which it is beside the exchange, in the
//! same task: nothing of a probe outlives it.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::{HeaderMap, Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::health::{Evidence, FailReason, HttpFault, NotJudged, Phase, Seen};
use crate::model::Family;
use crate::probe::report::Report;
use crate::probe::{MAX_BODY, MAX_HEAD, tls};

/// A request, and what is wanted of the answer.
pub(super) struct Message<'a> {
    pub(super) method: &'a Method,
    pub(super) secure: bool,
    /// The Host header, which in HTTP/2 is `:authority`.
    pub(super) authority: &'a str,
    pub(super) path: &'a str,
    pub(super) headers: HeaderMap,
    /// For errors that depend on it.
    pub(super) family: Family,
    /// How much of the body is read after a status.
    pub(super) wants: &'a (dyn Fn(u16) -> Body + Sync),
    /// When the probe is cut off.
    pub(super) deadline: Instant,
}

/// How long the body of an answer that fails anyway is waited for. It may come in a segment after its head.
const GLIMPSE: Duration = Duration::from_millis(20);
/// So long before a probe is cut off, what is known by then is said.
const LAST_MOMENT: Duration = Duration::from_millis(5);

/// Until when a body is waited for that only tells people why: never so long that the probe is cut off for it.
fn glimpse_end(deadline: Instant) -> Instant {
    (Instant::now() + GLIMPSE).min(deadline - LAST_MOMENT)
}

/// How much of a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// None of it.
    Nothing,
    /// What comes soon, for evidence.
    Glimpse,
    /// Its first 64 KiB.
    Start,
}

/// What came back.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// As much as was wanted, at most [`MAX_BODY`].
    pub(super) body: Vec<u8>,
}

/// A connection in the clear, which its drop resets: to be shut down first would be two packets more
/// for each probe, and another wake of the server.
pub(super) struct Reset(pub(super) TcpStream);

impl AsyncRead for Reset {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Reset {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Speaks HTTP/1.1 on `stream`.
pub(super) async fn http1<S>(stream: S, message: Message<'_>, report: &mut Report) -> Result<Answer, Seen>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = message.method.clone();
    *request.uri_mut() = message.path.parse().map_err(|_| Seen::NotJudged(NotJudged::Check))?;
    *request.headers_mut() = message.headers;
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let (wants, deadline) = (message.wants, message.deadline);
    let exchanged = async {
        let (mut sender, connection) = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await?;
        // It is handed over before the connection is polled, which otherwise takes a banner for an answer to nothing.
        let response = sender.send_request(request);
        let work = async {
            let response = response.await?;
            let (head, mut body) = response.into_parts();
            let mut answer = Answer { status: head.status.as_u16(), headers: head.headers, body: Vec::new() };
            match wants(answer.status) {
                Body::Nothing => {}
                Body::Glimpse => glimpse1(&mut body, &mut answer.body, glimpse_end(deadline)).await,
                Body::Start => {
                    report.enter(Phase::Body);
                    start1(&mut body, &mut answer.body, report).await?;
                }
            }
            Ok(answer)
        };
        drive(connection, work, hyper::Error::is_canceled).await
    };
    exchanged.await.map_err(|error| judge1(&error, report.phase(), message.family))
}

/// Speaks HTTP/2 on `stream`.
pub(super) async fn http2<S>(stream: S, message: Message<'_>, report: &mut Report) -> Result<Answer, Seen>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut request = Request::new(());
    *request.method_mut() = message.method.clone();
    let scheme = if message.secure { "https" } else { "http" };
    let uri = Uri::builder().scheme(scheme).authority(message.authority).path_and_query(message.path).build();
    *request.uri_mut() = uri.map_err(|_| Seen::NotJudged(NotJudged::Check))?;
    *request.headers_mut() = message.headers;
    request.headers_mut().remove(HOST);
    let (wants, deadline) = (message.wants, message.deadline);
    let exchanged = async {
        let mut builder = h2::client::Builder::new();
        builder.max_header_list_size(MAX_HEAD as u32).enable_push(false);
        let (sender, connection) = builder.handshake::<_, Bytes>(stream).await?;
        let work = async {
            let (response, _) = sender.ready().await?.send_request(request, true)?;
            let (head, mut body) = response.await?.into_parts();
            let mut answer = Answer { status: head.status.as_u16(), headers: head.headers, body: Vec::new() };
            match wants(answer.status) {
                Body::Nothing => {}
                Body::Glimpse => glimpse2(&mut body, &mut answer.body, glimpse_end(deadline)).await,
                Body::Start => {
                    report.enter(Phase::Body);
                    start2(&mut body, &mut answer.body, report).await?;
                }
            }
            Ok(answer)
        };
        drive(connection, work, |_| false).await
    };
    exchanged.await.map_err(|error: h2::Error| judge2(&error, report.phase(), message.family))
}

/// Polls `connection` beside `work`. When it ends first with an error, and that of the work is only
/// that it was `canceled`, the connection's says more.
async fn drive<T, E>(
    connection: impl Future<Output = Result<(), E>>,
    work: impl Future<Output = Result<T, E>>,
    canceled: fn(&E) -> bool,
) -> Result<T, E> {
    let mut work = std::pin::pin!(work);
    let mut connection = Box::pin(connection);
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        done = &mut work => return done,
    };
    drop(connection);
    match (work.await, ended) {
        (Err(error), Err(cause)) if canceled(&error) => Err(cause),
        (done, _) => done,
    }
}

/// Takes up the beginning of a body, if it comes until `until`.
async fn glimpse1(body: &mut Incoming, into: &mut Vec<u8>, until: Instant) {
    let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
    if let Ok(Some(Ok(frame))) = timeout_at(until, frame).await {
        append(into, frame.data_ref().map_or(&[], |data| data));
    }
}

async fn glimpse2(body: &mut h2::RecvStream, into: &mut Vec<u8>, until: Instant) {
    if let Ok(Some(Ok(data))) = timeout_at(until, body.data()).await {
        append(into, &data);
    }
}

/// Reads the start of a body. What came is kept as evidence, for a probe that is cut off.
async fn start1(body: &mut Incoming, into: &mut Vec<u8>, report: &mut Report) -> hyper::Result<()> {
    while into.len() < MAX_BODY
        && let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
    {
        keep(into, frame?.data_ref().map_or(&[], |data| data), report);
    }
    Ok(())
}

async fn start2(body: &mut h2::RecvStream, into: &mut Vec<u8>, report: &mut Report) -> Result<(), h2::Error> {
    while into.len() < MAX_BODY
        && let Some(data) = body.data().await
    {
        let data = data?;
        keep(into, &data, report);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok(())
}

fn keep(into: &mut Vec<u8>, data: &[u8], report: &mut Report) {
    let shown = into.len() < Evidence::MAX;
    append(into, data);
    if shown {
        report.evidence = Evidence::of(into);
    }
}

fn append(into: &mut Vec<u8>, data: &[u8]) {
    into.extend_from_slice(&data[..data.len().min(MAX_BODY - into.len())]);
}

fn judge1(error: &hyper::Error, phase: Phase, family: Family) -> Seen {
    if error.is_user() {
        return Seen::NotJudged(NotJudged::Check);
    }
    if let Some(error) = error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        if error.raw_os_error().is_some() || error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
            return tls::judge(error, phase, family);
        }
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Seen::Fail(FailReason::Closed(phase));
        }
    }
    Seen::Fail(if error.is_parse_too_large() {
        FailReason::Http(HttpFault::HeadTooLong)
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        FailReason::Closed(phase)
    } else {
        // Not parseable, or sent before we asked: a banner of another protocol.
        FailReason::Http(HttpFault::NotHttp)
    })
}

fn judge2(error: &h2::Error, phase: Phase, family: Family) -> Seen {
    if let Some(error) = error.get_io() {
        return tls::judge(error, phase, family);
    }
    match error.reason() {
        Some(code) if error.is_remote() => Seen::Fail(FailReason::Http(HttpFault::Http2(code.into()))),
        _ => Seen::Fail(FailReason::Http(HttpFault::NotHttp)),
    }
}
