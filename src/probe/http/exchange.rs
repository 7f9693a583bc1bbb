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
use regex::bytes::Regex;
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
    /// Decides how much of the body is read after a status.
    pub(super) wants: &'a (dyn Fn(u16) -> Body + Sync),
    /// The pattern that a body that does not end in time must have shown; `None` where the whole of
    /// it is looked into.
    pub(super) awaits: Option<&'a Regex>,
    /// Moment at which the probe is cut off.
    pub(super) deadline: Instant,
}

/// The time to wait for the body of an answer that fails anyway. It may come in a segment after its
/// head.
const GLIMPSE: Duration = Duration::from_millis(20);
/// Time before the end of a probe at which it reports what is known by then.
const LAST_MOMENT: Duration = Duration::from_millis(5);

/// Most fields in the head of a response: as many as HTTP/2 fits into 64 KiB, where each counts for 32 octets more (RFC 9113 §6.5.2).
const MAX_FIELDS: usize = MAX_HEAD / 32;

/// The part of a body that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// None of it, and another request follows.
    Passing,
    /// None of it.
    Nothing,
    /// The part that comes soon, for evidence.
    Glimpse,
    /// Its first 64 KiB.
    Start,
}

/// The answer to a request.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// The part of the body that was wanted, at most [`MAX_BODY`].
    pub(super) body: Vec<u8>,
}

/// A connection in the clear, which its drop resets: to be shut down first would be two packets more
/// for each probe, and another wake of the server.
pub(super) struct Reset(pub(super) TcpStream);

impl AsyncRead for Reset {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Reset {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
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
pub(super) async fn http1<S>(
    stream: S,
    message: Message<'_>,
    report: &mut Report,
) -> Result<Answer, Seen>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = message.method.clone();
    *request.uri_mut() = message
        .path
        .parse()
        .map_err(|_| Seen::NotJudged(NotJudged::Check))?;
    *request.headers_mut() = message.headers;
    request
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    let reading = Reading {
        wants: message.wants,
        awaits: message.awaits,
        last_moment: message.deadline - LAST_MOMENT,
    };
    let exchanged = async {
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_FIELDS)
            .handshake(TokioIo::new(stream))
            .await?;
        // It is handed over before the connection is polled, which otherwise takes a banner for an answer to nothing.
        let response = sender.send_request(request);
        let work = async {
            let response = response.await?;
            let (head, mut body) = response.into_parts();
            let mut answer = Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body: Vec::new(),
            };
            reading.read(&mut body, &mut answer, report).await?;
            Ok(answer)
        };
        drive(connection, work, hyper::Error::is_canceled).await
    };
    exchanged
        .await
        .map_err(|error| judge1(&error, report.phase(), message.family))
}

/// Speaks HTTP/2 on `stream`.
pub(super) async fn http2<S>(
    stream: S,
    message: Message<'_>,
    report: &mut Report,
) -> Result<Answer, Seen>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut request = Request::new(());
    *request.method_mut() = message.method.clone();
    let scheme = if message.secure { "https" } else { "http" };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(message.authority)
        .path_and_query(message.path)
        .build();
    *request.uri_mut() = uri.map_err(|_| Seen::NotJudged(NotJudged::Check))?;
    *request.headers_mut() = message.headers;
    request.headers_mut().remove(HOST);
    let reading = Reading {
        wants: message.wants,
        awaits: message.awaits,
        last_moment: message.deadline - LAST_MOMENT,
    };
    let exchanged = async {
        let mut builder = h2::client::Builder::new();
        builder
            // 64 KiB.
            .max_header_list_size(MAX_HEAD as u32)
            .enable_push(false);
        let (sender, connection) = builder.handshake::<_, Bytes>(stream).await?;
        let work = async {
            let (response, _) = sender.ready().await?.send_request(request, true)?;
            let (head, mut body) = response.await?.into_parts();
            let mut answer = Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body: Vec::new(),
            };
            reading.read(&mut body, &mut answer, report).await?;
            Ok(answer)
        };
        drive(connection, work, |_| false).await
    };
    exchanged
        .await
        .map_err(|error: h2::Error| judge2(&error, report.phase(), message.family))
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

/// A body as it comes.
trait Chunks {
    type Error;

    /// The next piece; `None` at its end.
    async fn next(&mut self) -> Option<Result<Bytes, Self::Error>>;

    /// True where nothing more comes.
    fn is_over(&self) -> bool;

    /// Returns the least length of the body, as far as its head tells.
    fn least(&self) -> u64;
}

impl Chunks for Incoming {
    type Error = hyper::Error;

    async fn next(&mut self) -> Option<hyper::Result<Bytes>> {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await?;
        // Trailers are no data.
        Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
    }

    fn is_over(&self) -> bool {
        self.is_end_stream()
    }

    fn least(&self) -> u64 {
        self.size_hint().lower()
    }
}

impl Chunks for h2::RecvStream {
    type Error = h2::Error;

    async fn next(&mut self) -> Option<Result<Bytes, h2::Error>> {
        let data = match self.data().await? {
            Ok(data) => data,
            Err(error) => return Some(Err(error)),
        };
        Some(
            self.flow_control()
                .release_capacity(data.len())
                .map(|()| data),
        )
    }

    fn is_over(&self) -> bool {
        self.is_end_stream()
    }

    fn least(&self) -> u64 {
        0
    }
}

/// The reading of a body.
struct Reading<'a> {
    wants: &'a (dyn Fn(u16) -> Body + Sync),
    awaits: Option<&'a Regex>,
    /// Moment at which it reports what is known by then.
    last_moment: Instant,
}

impl Reading<'_> {
    /// Reads as much of `body` as its answer is wanted of, and the rest of a small one.
    async fn read<B: Chunks>(
        &self,
        body: &mut B,
        answer: &mut Answer,
        report: &mut Report,
    ) -> Result<(), B::Error> {
        let soon = (Instant::now() + GLIMPSE).min(self.last_moment);
        let mut rest_until = self.last_moment;
        match (self.wants)(answer.status) {
            // Whoever follows a redirect does not wait long for what nobody reads.
            Body::Passing => rest_until = soon,
            Body::Nothing => {}
            Body::Glimpse => {
                if let Ok(Some(Ok(data))) = timeout_at(soon, body.next()).await {
                    append(&mut answer.body, &data);
                }
            }
            Body::Start => {
                report.enter(Phase::Body);
                self.start(body, &mut answer.body, report).await?;
            }
        }
        finish(body, &mut answer.body, rest_until).await;
        Ok(())
    }

    /// Reads the start of a body. What came is kept as evidence, for a probe that is cut off.
    async fn start<B: Chunks>(
        &self,
        body: &mut B,
        into: &mut Vec<u8>,
        report: &mut Report,
    ) -> Result<(), B::Error> {
        while into.len() < MAX_BODY {
            match timeout_at(self.last_moment, body.next()).await {
                Ok(None) => return Ok(()),
                Ok(Some(data)) => keep(into, &data?, report),
                // It does not end: what it has shown by now counts, and what it has not is a timeout.
                Err(_) if self.awaits.is_some_and(|pattern| pattern.is_match(into)) => {
                    return Ok(());
                }
                Err(_) => return std::future::pending().await,
            }
        }
        Ok(())
    }
}

/// Reads what is left of a body that has room: a server that still writes would log that its client went away.
async fn finish<B: Chunks>(body: &mut B, into: &mut Vec<u8>, until: Instant) {
    while !body.is_over() && body.least() <= (MAX_BODY - into.len()) as u64 {
        match timeout_at(until, body.next()).await {
            Ok(Some(Ok(data))) if data.len() <= MAX_BODY - into.len() => append(into, &data),
            _ => return,
        }
    }
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
    if let Some(error) = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
    {
        if error.raw_os_error().is_some()
            || error
                .get_ref()
                .is_some_and(|inner| inner.is::<rustls::Error>())
        {
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
        Some(code) if error.is_remote() => {
            Seen::Fail(FailReason::Http(HttpFault::Http2(code.into())))
        }
        _ => Seen::Fail(FailReason::Http(HttpFault::NotHttp)),
    }
}
