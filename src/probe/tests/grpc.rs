//! `grpc` checks, against tonic's health service and servers that are none.

use std::convert::Infallible;

use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};

use super::server::{banner, hang, start};
use super::tls::{authority, config, issued, valid};
use super::*;
use crate::health::{CertificateRule, GrpcFault, HttpFault};
use crate::model::{GrpcSpec, TlsSpec};

fn grpc(service: &str) -> CheckKind {
    CheckKind::Grpc(GrpcSpec {
        service: service.to_owned(),
        host: None,
        tls: None,
    })
}

fn fails(fault: GrpcFault) -> Seen {
    Seen::Fail(FailReason::Grpc(fault))
}

/// tonic's health service: the server as a whole is serving, `good` too, `bad` is not, and of `odd` it does not know.
async fn health_service() -> HealthServer<impl Health> {
    let (reporter, service) = tonic_health::server::health_reporter();
    for (name, status) in [
        ("good", ServingStatus::Serving),
        ("bad", ServingStatus::NotServing),
        ("odd", ServingStatus::Unknown),
    ] {
        reporter.set_service_status(name, status).await;
    }
    service
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: HealthServer<impl Health>,
) {
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let _ = connection
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .await;
}

#[tokio::test]
async fn the_service_says_how_it_is() {
    let health = health_service().await;
    let address = start(move |stream| serve(stream, health.clone())).await;
    for (service, expected) in [
        ("", Seen::Pass),
        ("good", Seen::Pass),
        ("bad", fails(GrpcFault::NotServing)),
        ("odd", fails(GrpcFault::Unknown)),
        ("absent", fails(GrpcFault::UnknownService)),
    ] {
        assert_eq!(
            probe_port(grpc(service), address, TIMEOUT).await,
            expected,
            "{service}"
        );
    }
    let outcome = probe(
        &Prober::new(Clock),
        &check(grpc("bad"), address.port()),
        &loopback(),
    )
    .await;
    assert_eq!(
        outcome
            .phases
            .iter()
            .map(|(phase, _)| phase)
            .collect::<Vec<_>>(),
        [Phase::Connect, Phase::Response]
    );
}

/// A server of HTTP/2 without prior upgrade that answers with what `respond` makes of a request.
async fn http2<F, B>(respond: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> Response<B> + Clone + Send + 'static,
    B: hyper::body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    start(move |stream| {
        let respond = respond.clone();
        let service =
            service_fn(move |request| std::future::ready(Ok::<_, Infallible>(respond(request))));
        async move {
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = connection
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    })
    .await
}

fn of_grpc() -> hyper::http::response::Builder {
    Response::builder().header("content-type", "application/grpc")
}

#[tokio::test]
async fn statuses_are_told_apart() {
    let path = http2(|request| {
        let right = request.uri().path() == "/grpc.health.v1.Health/Check"
            && request.headers()["te"] == "trailers";
        of_grpc()
            .header("grpc-status", if right { "14" } else { "3" })
            .header("grpc-message", "out%20to%20lunch")
            .body(Full::default())
            .unwrap()
    })
    .await;
    let outcome = probe(
        &Prober::new(Clock),
        &check(grpc(""), path.port()),
        &loopback(),
    )
    .await;
    assert_eq!(outcome.seen, fails(GrpcFault::Status(14)));
    assert_eq!(outcome.evidence.unwrap().to_string(), "out to lunch");
    let missing = http2(|_| {
        Response::builder()
            .status(404)
            .body(Full::default())
            .unwrap()
    })
    .await;
    assert_eq!(
        probe_port(grpc(""), missing, TIMEOUT).await,
        Seen::Fail(FailReason::Status(404))
    );
    let page = http2(|_| {
        Response::builder()
            .header("content-type", "text/html")
            .body(Full::from("<html>"))
            .unwrap()
    })
    .await;
    assert_eq!(
        probe_port(grpc(""), page, TIMEOUT).await,
        fails(GrpcFault::NotGrpc)
    );
}

#[tokio::test]
async fn answers_without_end_are_cut_off() {
    let huge = http2(|_| {
        of_grpc()
            .body(Full::from(&b"\0\xff\xff\xff\xff"[..]))
            .unwrap()
    })
    .await;
    let seen = probe_port(grpc(""), huge, TIMEOUT).await;
    assert!(
        matches!(
            seen,
            Seen::Fail(FailReason::Grpc(GrpcFault::Status(8 | 11)))
        ),
        "{seen:?}"
    );
    let endless = http2(|_| {
        let frames =
            futures_util::stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(&[0; 1024]))));
        of_grpc().body(StreamBody::new(frames).boxed()).unwrap()
    })
    .await;
    assert_eq!(
        probe_port(grpc(""), endless, TIMEOUT).await,
        fails(GrpcFault::NotGrpc),
        "empty messages, again and again"
    );
    let head = http2(|_| {
        of_grpc()
            .header("x", "y".repeat(60_000))
            .body(Full::default())
            .unwrap()
    })
    .await;
    let seen = probe_port(grpc(""), head, TIMEOUT).await;
    assert!(matches!(seen, Seen::Fail(_)), "{seen:?}");
}

#[tokio::test]
async fn servers_of_something_else_are_named() {
    let http1 = start(|stream| {
        banner(
            stream,
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        )
    })
    .await;
    assert_eq!(
        probe_port(grpc(""), http1, TIMEOUT).await,
        fails(GrpcFault::NotGrpc)
    );
    let closing = start(|stream| async { drop(stream) }).await;
    assert_eq!(
        probe_port(grpc(""), closing, TIMEOUT).await,
        Seen::Fail(FailReason::Closed(Phase::Response))
    );
    let silent = start(hang).await;
    assert_eq!(
        probe_port(grpc(""), silent, SHORT).await,
        Seen::Fail(FailReason::Timeout(Phase::Response))
    );
    // GOAWAY with ENHANCE_YOUR_CALM (RFC 9113 §6.8).
    let away = start(|mut stream| async move {
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11];
        let _ = stream.write_all(&[&settings[..], &goaway].concat()).await;
        hang(stream).await;
    })
    .await;
    assert_eq!(
        probe_port(grpc(""), away, TIMEOUT).await,
        Seen::Fail(FailReason::Http(HttpFault::Http2(11)))
    );
    assert_eq!(
        probe_port(grpc(""), closed_port().await, TIMEOUT).await,
        Seen::Fail(FailReason::ConnectRefused)
    );
}

#[tokio::test]
async fn inside_tls_the_certificate_counts() {
    let (authority, health) = (authority("ours"), health_service().await);
    let mut config = config(&issued(&authority, valid(&["grpc.example.com"])));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(config));
    let address = start(move |stream| {
        let (acceptor, health) = (acceptor.clone(), health.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, health).await;
            }
        }
    })
    .await;
    let prober = Prober::with_roots(Clock, vec![authority.der().clone()]);
    let named = |host: &str| {
        let spec = GrpcSpec {
            service: "good".to_owned(),
            host: Some(host.to_owned()),
            tls: Some(TlsSpec::default()),
        };
        check(CheckKind::Grpc(spec), address.port())
    };
    let outcome = probe(&prober, &named("grpc.example.com"), &loopback()).await;
    assert_eq!(outcome.seen, Seen::Pass);
    assert!(outcome.phases.get(Phase::Tls).is_some());
    let other = probe(&prober, &named("other.example.com"), &loopback())
        .await
        .seen;
    assert_eq!(
        other,
        Seen::Fail(FailReason::Certificate(CertificateRule::Name))
    );
}
