//! HTTP/2, in the clear; inside TLS it is nginx that answers, see `tests/e2e/nginx.rs`.

use super::server::{answer, banner, hang, start};
use super::*;
use crate::health::HttpFault;
use crate::model::{HttpVersion, Pattern};

fn two() -> HttpSpec {
    HttpSpec {
        version: HttpVersion::Two,
        ..http()
    }
}

async fn asked(spec: HttpSpec, address: SocketAddr, timeout: Duration) -> Outcome {
    outcome(CheckKind::Http(spec), address, timeout).await
}

/// A server of HTTP/2 that answers every request by `respond`.
async fn serving<F>(respond: F) -> SocketAddr
where
    F: Fn(hyper::Request<h2::RecvStream>, h2::server::SendResponse<hyper::body::Bytes>)
        + Copy
        + Send
        + Sync
        + 'static,
{
    start(move |stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, reply))) = connection.accept().await {
            respond(request, reply);
        }
    })
    .await
}

fn ok(
    request: hyper::Request<h2::RecvStream>,
    mut reply: h2::server::SendResponse<hyper::body::Bytes>,
) {
    let status = if request.uri().path() == "/healthz" && request.uri().host() == Some("127.0.0.1")
    {
        200
    } else {
        404
    };
    let response = hyper::Response::builder().status(status).body(()).unwrap();
    let mut stream = reply.send_response(response, false).unwrap();
    stream.send_data("all is well".into(), true).unwrap();
}

#[tokio::test]
async fn status_and_body_are_judged_as_in_http_1() {
    let address = serving(ok).await;
    assert_eq!(asked(two(), address, TIMEOUT).await.seen, Seen::Pass);
    let expecting = |text: &str| HttpSpec {
        expect_body: Some(Pattern::text(text)),
        ..two()
    };
    assert_eq!(
        asked(expecting("is well"), address, TIMEOUT).await.seen,
        Seen::Pass
    );
    let failed = told(&asked(expecting("unwell"), address, TIMEOUT).await);
    assert_eq!(
        failed,
        (
            Seen::Fail(FailReason::NoMatch),
            Some("all is well".to_owned())
        )
    );
    let missing = told(
        &asked(
            HttpSpec {
                path: "/none".into(),
                ..two()
            },
            address,
            TIMEOUT,
        )
        .await,
    );
    assert_eq!(
        missing,
        (
            Seen::Fail(FailReason::Status(404)),
            Some("all is well".to_owned())
        )
    );
}

#[tokio::test]
async fn a_refused_stream_is_named() {
    let address = serving(|_, mut reply| reply.send_reset(h2::Reason::REFUSED_STREAM)).await;
    assert_eq!(
        asked(two(), address, TIMEOUT).await.seen,
        Seen::Fail(FailReason::Http(HttpFault::Http2(7)))
    );
}

#[tokio::test]
async fn an_endless_body_is_cut_off_and_a_hung_one_times_out() {
    let address = serving(|_, mut reply| {
        let mut stream = reply
            .send_response(hyper::Response::new(()), false)
            .unwrap();
        // More than any window: the rest waits in the server.
        stream.send_data(vec![b'x'; 1 << 20].into(), false).unwrap();
        std::mem::forget(stream);
    })
    .await;
    let expecting = |text: &str| HttpSpec {
        expect_body: Some(Pattern::text(text)),
        ..two()
    };
    assert_eq!(
        asked(expecting("xx"), address, TIMEOUT).await.seen,
        Seen::Pass
    );
    let hung = serving(|_, mut reply| {
        let stream = reply
            .send_response(hyper::Response::new(()), false)
            .unwrap();
        std::mem::forget(stream);
    })
    .await;
    assert_eq!(
        asked(two(), hung, TIMEOUT).await.seen,
        Seen::Pass,
        "the head alone decides"
    );
    assert_eq!(
        asked(expecting("xx"), hung, SHORT).await.seen,
        Seen::Fail(FailReason::Timeout(Phase::Body))
    );
}

#[tokio::test]
async fn servers_of_other_protocols_are_named() {
    let one = start(|stream| {
        banner(
            stream,
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        )
    })
    .await;
    assert_eq!(
        asked(two(), one, TIMEOUT).await.seen,
        Seen::Fail(FailReason::Http(HttpFault::NotHttp))
    );
    let closing = start(|stream| async { drop(stream) }).await;
    assert_eq!(
        asked(two(), closing, TIMEOUT).await.seen,
        Seen::Fail(FailReason::Closed(Phase::Response))
    );
    assert_eq!(
        asked(two(), start(hang).await, SHORT).await.seen,
        Seen::Fail(FailReason::Timeout(Phase::Response))
    );
    let odd = start(|stream| answer(stream, "")).await;
    assert!(matches!(
        asked(two(), odd, SHORT).await.seen,
        Seen::Fail(FailReason::Closed(_) | FailReason::Timeout(_))
    ));
}

#[tokio::test]
async fn a_body_apart_from_its_head_is_taken_to_its_end() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let tell: &'static _ = Box::leak(Box::new(tell));
    let address = serving(move |_, mut reply| {
        let mut response = hyper::Response::builder();
        for index in 0..180 {
            response = response.header(format!("x-{index}"), "v".repeat(40));
        }
        let mut stream = reply
            .send_response(response.body(()).unwrap(), false)
            .unwrap();
        tokio::spawn(async move {
            for end in [false, true] {
                tokio::time::sleep(Duration::from_millis(60)).await;
                let _ = tell.send(stream.send_data("all is well".into(), end).is_ok());
            }
        });
    })
    .await;
    assert_eq!(asked(two(), address, TIMEOUT).await.seen, Seen::Pass);
    assert_eq!(
        [told.recv().await, told.recv().await],
        [Some(true), Some(true)]
    );
}
