//! `http` checks.

use std::time::Duration;

use tokio::sync::mpsc;

use super::server::{answer, hang, request, start};
use super::*;

async fn seen(address: SocketAddr, timeout: Duration) -> Seen {
    probe_port(CheckKind::Http(http()), address, timeout).await
}

#[tokio::test]
async fn the_status_decides() {
    for (status, verdict) in [
        ("200 OK", Seen::Pass),
        ("299 Fine", Seen::Pass),
        (
            "503 Service Unavailable",
            Seen::Fail(FailReason::Status(503)),
        ),
        (
            "301 Moved\r\nLocation: http://127.0.0.1:1/",
            Seen::Fail(FailReason::Status(301)),
        ),
    ] {
        let text: &str = Box::leak(
            format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\nyes").into_boxed_str(),
        );
        assert_eq!(
            seen(start(move |stream| answer(stream, text)).await, TIMEOUT).await,
            verdict,
            "{status}"
        );
    }
}

#[tokio::test]
async fn the_request_is_the_checks() {
    let (sender, mut requests) = mpsc::unbounded_channel();
    let address = start(move |mut stream| {
        let sender = sender.clone();
        async move {
            let _ = sender.send(request(&mut stream).await);
        }
    })
    .await;
    let spec = HttpSpec {
        method: "HEAD".into(),
        path: "/ready?deep=1".into(),
        host: Some("www.example.com".into()),
        headers: vec![(
            "X-Probe".into(),
            crate::model::HeaderText::Plain("yes".into()),
        )],
        ..http()
    };
    probe_port(CheckKind::Http(spec), address, TIMEOUT).await;
    let text = requests.recv().await.unwrap();
    assert!(
        text.starts_with("HEAD /ready?deep=1 HTTP/1.1\r\n"),
        "{text}"
    );
    for header in [
        "host: www.example.com\r\n",
        "x-probe: yes\r\n",
        "connection: close\r\n",
    ] {
        assert!(text.to_lowercase().contains(header), "{header} in {text}");
    }
    probe_port(CheckKind::Http(http()), address, TIMEOUT).await;
    let text = requests.recv().await.unwrap();
    assert!(
        text.to_lowercase()
            .contains(&format!("host: 127.0.0.1:{}\r\n", address.port())),
        "{text}"
    );
}

#[tokio::test]
async fn a_server_that_hangs_is_a_timeout() {
    assert_eq!(
        seen(start(hang).await, SHORT).await,
        Seen::Fail(FailReason::Timeout(Phase::Response))
    );
}

#[tokio::test]
async fn a_server_that_closes_at_once_is_named() {
    let closed = Seen::Fail(FailReason::Closed(Phase::Response));
    assert_eq!(
        seen(start(|stream| async { drop(stream) }).await, TIMEOUT).await,
        closed
    );
    assert_eq!(
        seen(start(|stream| answer(stream, "")).await, TIMEOUT).await,
        closed
    );
    assert_eq!(
        seen(start(|stream| answer(stream, "HTTP/1.1 20")).await, TIMEOUT).await,
        closed
    );
}
