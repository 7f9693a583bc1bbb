//! `http` checks.

use std::time::Duration;

use tokio::sync::mpsc;

use super::server::{answer, banner, endless, hang, request, start};
use super::*;
use crate::health::HttpFault;

async fn seen(address: SocketAddr, timeout: Duration) -> Seen {
    probe_port(CheckKind::Http(http()), address, timeout).await
}

#[tokio::test]
async fn the_status_decides() {
    for (status, verdict) in [
        ("200 OK", Seen::Pass),
        ("299 Fine", Seen::Pass),
        ("503 Service Unavailable", Seen::Fail(FailReason::Status(503))),
        ("301 Moved\r\nLocation: http://127.0.0.1:1/", Seen::Fail(FailReason::Status(301))),
    ] {
        let text: &str = Box::leak(format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\nyes").into_boxed_str());
        assert_eq!(seen(start(move |stream| answer(stream, text)).await, TIMEOUT).await, verdict, "{status}");
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
        headers: vec![("X-Probe".into(), "yes".into())],
        ..http()
    };
    probe_port(CheckKind::Http(spec), address, TIMEOUT).await;
    let text = requests.recv().await.unwrap();
    assert!(text.starts_with("HEAD /ready?deep=1 HTTP/1.1\r\n"), "{text}");
    for header in ["host: www.example.com\r\n", "x-probe: yes\r\n", "connection: close\r\n"] {
        assert!(text.to_lowercase().contains(header), "{header} in {text}");
    }
    probe_port(CheckKind::Http(http()), address, TIMEOUT).await;
    let text = requests.recv().await.unwrap();
    assert!(text.to_lowercase().contains(&format!("host: 127.0.0.1:{}\r\n", address.port())), "{text}");
}

#[tokio::test]
async fn a_server_that_hangs_is_a_timeout() {
    assert_eq!(seen(start(hang).await, SHORT).await, Seen::Fail(FailReason::Timeout(Phase::Response)));
}

#[tokio::test]
async fn a_server_that_closes_at_once_is_named() {
    let closed = Seen::Fail(FailReason::Closed(Phase::Response));
    assert_eq!(seen(start(|stream| async { drop(stream) }).await, TIMEOUT).await, closed);
    assert_eq!(seen(start(|stream| answer(stream, "")).await, TIMEOUT).await, closed);
    assert_eq!(seen(start(|stream| answer(stream, "HTTP/1.1 20")).await, TIMEOUT).await, closed);
}

#[tokio::test]
async fn an_endless_head_is_cut_off() {
    let lines: &str = Box::leak("X-More: 0123456789012345678901234567890123456789\r\n".repeat(100).into_boxed_str());
    let many = start(move |stream| endless(stream, "HTTP/1.1 200 OK\r\n", lines, Duration::ZERO)).await;
    assert_eq!(seen(many, TIMEOUT).await, Seen::Fail(FailReason::Http(HttpFault::HeadTooLong)));
    let value: &str = Box::leak("0123456789".repeat(500).into_boxed_str());
    let long = start(move |stream| endless(stream, "HTTP/1.1 200 OK\r\nX-Long: ", value, Duration::ZERO)).await;
    assert_eq!(seen(long, TIMEOUT).await, Seen::Fail(FailReason::Http(HttpFault::HeadTooLong)));
    let early = "HTTP/1.1 103 Early Hints\r\n\r\n";
    let informational = start(move |stream| endless(stream, "", early, Duration::ZERO)).await;
    assert_eq!(seen(informational, SHORT).await, Seen::Fail(FailReason::Timeout(Phase::Response)));
}

#[tokio::test]
async fn an_endless_body_does_not_matter() {
    let body = "0123456789".repeat(1000);
    let body: &str = Box::leak(body.into_boxed_str());
    let address = start(move |stream| endless(stream, "HTTP/1.1 200 OK\r\n\r\n", body, Duration::ZERO)).await;
    assert_eq!(seen(address, TIMEOUT).await, Seen::Pass);
}

#[tokio::test]
async fn a_byte_at_a_time_runs_into_the_timeout() {
    let address = start(|stream| endless(stream, "HTTP/1.1 200 OK\r\nX: ", "y", Duration::from_millis(20))).await;
    assert_eq!(seen(address, SHORT).await, Seen::Fail(FailReason::Timeout(Phase::Response)));
}

#[tokio::test]
async fn other_protocols_and_nonsense_are_named() {
    let not_http = Seen::Fail(FailReason::Http(HttpFault::NotHttp));
    let smtp = start(|stream| banner(stream, b"220 mail.example.com ESMTP\r\n")).await;
    assert_eq!(seen(smtp, TIMEOUT).await, not_http);
    let alert = start(|stream| answer(stream, "\u{15}\u{3}\u{1}\0\u{2}\u{2}\u{16}")).await;
    assert_eq!(seen(alert, TIMEOUT).await, not_http);
    let nonsense = start(|stream| answer(stream, "\0\u{1}\u{2}nonsense\r\n\r\n")).await;
    assert_eq!(seen(nonsense, TIMEOUT).await, not_http);
}
