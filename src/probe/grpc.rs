//! A call of `grpc.health.v1.Health/Check`, gRPC's health checking protocol, on a connection that is open already.
//!
//! tonic frames the call and reads its status, over an HTTP/2 connection of hyper's on our own
//! socket: so the address is pinned and the phases are seen, and nothing of tonic's own transport
//! (its pool, buffers and balancer) is built for each probe.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http_body_util::{LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::attempt::Attempt;
use super::report::Report;
use super::tls::{Alpn, Tls};
use super::{tcp, tls};
use crate::health::{Evidence, FailReason, GrpcFault, HttpFault, NotJudged, Phase, Seen};
use crate::model::GrpcSpec;

/// The longest message that is read, in bytes; one of the protocol has two or three.
const MAX_MESSAGE: usize = 4 << 10;
/// The longest body that is read, in bytes, however many messages it has.
const MAX_BODY: usize = 64 << 10;
/// The longest response head that is read, in bytes.
const MAX_HEAD: u32 = 16 << 10;
/// The most bytes that the peer may send before they are read: what HTTP/2 begins with (RFC 9113
/// §6.9.2).
const WINDOW: u32 = 65_535;

/// A `grpc` check: the health service says that the service is serving.
pub(super) async fn probe(
    spec: &GrpcSpec,
    attempt: &Attempt<'_>,
    connectors: &Tls,
    report: &mut Report,
) -> Result<(), Seen> {
    let authority = match &spec.host {
        Some(host) => host.clone(),
        None => format!("{}:{}", attempt.named(), attempt.address.port()),
    };
    let Some(tls) = &spec.tls else {
        let stream = tcp::connect(attempt.address).await?;
        report.enter(Phase::Response);
        return check(stream, "http", &authority, &spec.service, report).await;
    };
    let stream = tls::open(
        tls,
        Alpn::Http2,
        attempt.address,
        &authority,
        connectors,
        report,
    )
    .await?;
    report.enter(Phase::Response);
    check(stream, "https", &authority, &spec.service, report).await
}

/// Asks for the health of `service` under the name `authority`.
async fn check<S>(
    stream: S,
    scheme: &str,
    authority: &str,
    service: &str,
    report: &mut Report,
) -> Result<(), Seen>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let origin = Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query("/")
        .build();
    let origin = origin.map_err(|_| Seen::NotJudged(NotJudged::Check))?;
    let tasks = Tasks::default();
    let _scope = Scope(tasks.clone());
    let (sender, connection) = http2::Builder::new(tasks.clone())
        .max_header_list_size(MAX_HEAD)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Seen::Fail(reason(&error)))?;
    // Its error comes to the call as well.
    tasks.lock().spawn(async { drop(connection.await) });
    let mut client = HealthClient::with_origin(Connection(sender), origin)
        .max_decoding_message_size(MAX_MESSAGE);
    match client
        .check(HealthCheckRequest {
            service: service.to_owned(),
        })
        .await
    {
        Ok(answer) => {
            judge(answer.into_inner().status()).map_err(|fault| Seen::Fail(FailReason::Grpc(fault)))
        }
        Err(status) => {
            report.evidence = Evidence::of(status.message().as_bytes());
            Err(Seen::Fail(failed(&status)))
        }
    }
}

fn judge(status: ServingStatus) -> Result<(), GrpcFault> {
    match status {
        ServingStatus::Serving => Ok(()),
        ServingStatus::NotServing => Err(GrpcFault::NotServing),
        ServingStatus::Unknown => Err(GrpcFault::Unknown),
        ServingStatus::ServiceUnknown => Err(GrpcFault::UnknownService),
    }
}

/// Reason why a call failed, without what tonic makes of failures below gRPC.
fn failed(status: &Status) -> FailReason {
    if let Some(refusal) = find::<Refusal>(status) {
        return match refusal {
            Refusal::Http(error) => reason(error),
            Refusal::Status(status) => FailReason::Status(status.as_u16()),
            Refusal::NotGrpc => FailReason::Grpc(GrpcFault::NotGrpc),
        };
    }
    if let Some(error) = find::<hyper::Error>(status) {
        return reason(error);
    }
    if find::<LengthLimitError>(status).is_some() {
        return FailReason::Grpc(GrpcFault::NotGrpc);
    }
    FailReason::Grpc(match status.code() {
        Code::NotFound => GrpcFault::UnknownService,
        code => GrpcFault::Status(code as u8),
    })
}

/// Reason why the HTTP/2 connection failed.
fn reason(error: &hyper::Error) -> FailReason {
    match find::<h2::Error>(error) {
        Some(error) if error.is_io() => FailReason::Closed(Phase::Response),
        Some(error) if error.is_remote() => {
            FailReason::Http(HttpFault::Http2(error.reason().map_or(0, u32::from)))
        }
        // We ended it: what came back is not HTTP/2, or more than we read.
        Some(_) => FailReason::Grpc(GrpcFault::NotGrpc),
        None => FailReason::Closed(Phase::Response),
    }
}

/// The first `E` among an error and its sources.
fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Carries tonic's requests on the connection.
struct Connection(http2::SendRequest<Body>);

impl Service<Request<Body>> for Connection {
    type Response = Response<Limited<Incoming>>;
    type Error = Refusal;
    type Future =
        Pin<Box<dyn Future<Output = Result<Response<Limited<Incoming>>, Refusal>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.0.poll_ready(context).map_err(Refusal::Http)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let agent = HeaderValue::from_static(concat!("meridian/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        let answer = self.0.send_request(request);
        Box::pin(async {
            Ok(accept(answer.await.map_err(Refusal::Http)?)?
                .map(|body| Limited::new(body, MAX_BODY)))
        })
    }
}

/// Reason why a request got no response of gRPC.
#[derive(Debug)]
enum Refusal {
    Http(hyper::Error),
    /// A status of HTTP other than 200: gRPC tells its own inside of that one.
    Status(StatusCode),
    NotGrpc,
}

fn accept(response: Response<Incoming>) -> Result<Response<Incoming>, Refusal> {
    if response.status() != StatusCode::OK {
        return Err(Refusal::Status(response.status()));
    }
    let kind = response
        .headers()
        .get(CONTENT_TYPE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    if kind.starts_with(b"application/grpc") {
        Ok(response)
    } else {
        Err(Refusal::NotGrpc)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Http(error) => error.fmt(f),
            Refusal::Status(status) => write!(f, "HTTP status {status}"),
            Refusal::NotGrpc => f.write_str("not gRPC"),
        }
    }
}

impl Error for Refusal {}

/// The tasks of one connection, which end with the probe.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
{
    fn execute(&self, future: F) {
        self.lock().spawn(async { drop(future.await) });
    }
}

/// Ends the tasks when it is dropped: each holds the others, so that none would end by itself.
struct Scope(Tasks);

impl Drop for Scope {
    fn drop(&mut self) {
        self.0.lock().abort_all();
    }
}
