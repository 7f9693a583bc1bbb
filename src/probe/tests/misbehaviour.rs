//! Endpoints that misbehave: bounded time and memory, a reason with a name, no effect on other probes.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::server::{answer, banner, endless, hang, start};
use super::*;
use crate::health::HttpFault;
use crate::model::{Pattern, TlsSpec};

async fn seen(address: SocketAddr, timeout: Duration) -> Seen {
    probe_port(CheckKind::Http(http()), address, timeout).await
}

/// Looks into the body.
async fn looked(address: SocketAddr, timeout: Duration) -> Seen {
    let spec = HttpSpec {
        expect_body: Some(Pattern::text("needle")),
        ..http()
    };
    probe_port(CheckKind::Http(spec), address, timeout).await
}

fn leaked(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

#[tokio::test]
async fn an_endless_head_is_cut_off() {
    let lines: &str = Box::leak(
        "X-More: 0123456789012345678901234567890123456789\r\n"
            .repeat(100)
            .into_boxed_str(),
    );
    let many =
        start(move |stream| endless(stream, "HTTP/1.1 200 OK\r\n", lines, Duration::ZERO)).await;
    assert_eq!(
        seen(many, TIMEOUT).await,
        Seen::Fail(FailReason::Http(HttpFault::HeadTooLong))
    );
    let value: &str = Box::leak("0123456789".repeat(500).into_boxed_str());
    let long =
        start(move |stream| endless(stream, "HTTP/1.1 200 OK\r\nX-Long: ", value, Duration::ZERO))
            .await;
    assert_eq!(
        seen(long, TIMEOUT).await,
        Seen::Fail(FailReason::Http(HttpFault::HeadTooLong))
    );
    let early = "HTTP/1.1 103 Early Hints\r\n\r\n";
    let informational = start(move |stream| endless(stream, "", early, Duration::ZERO)).await;
    assert_eq!(
        seen(informational, SHORT).await,
        Seen::Fail(FailReason::Timeout(Phase::Response))
    );
}

#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let body = "0123456789".repeat(1000);
    let body: &str = Box::leak(body.into_boxed_str());
    let address =
        start(move |stream| endless(stream, "HTTP/1.1 200 OK\r\n\r\n", body, Duration::ZERO)).await;
    assert_eq!(seen(address, TIMEOUT).await, Seen::Pass);
    assert_eq!(
        looked(address, TIMEOUT).await,
        Seen::Fail(FailReason::NoMatch),
        "64 KiB were enough"
    );
}

#[tokio::test]
async fn a_byte_at_a_time_runs_into_the_timeout() {
    let address = start(|stream| {
        endless(
            stream,
            "HTTP/1.1 200 OK\r\nX: ",
            "y",
            Duration::from_millis(20),
        )
    })
    .await;
    assert_eq!(
        seen(address, SHORT).await,
        Seen::Fail(FailReason::Timeout(Phase::Response))
    );
    let body = start(|stream| {
        endless(
            stream,
            "HTTP/1.1 200 OK\r\n\r\n",
            "y",
            Duration::from_millis(20),
        )
    })
    .await;
    assert_eq!(
        looked(body, SHORT).await,
        Seen::Fail(FailReason::Timeout(Phase::Body))
    );
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

#[tokio::test]
async fn bodies_that_break_off_or_lie_are_named() {
    let short =
        start(|stream| answer(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nneed")).await;
    assert_eq!(
        looked(short, TIMEOUT).await,
        Seen::Fail(FailReason::Closed(Phase::Body))
    );
    let chunks = start(|stream| {
        answer(
            stream,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nneedle",
        )
    })
    .await;
    assert_eq!(
        looked(chunks, TIMEOUT).await,
        Seen::Fail(FailReason::Http(HttpFault::NotHttp))
    );
    let text = leaked(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\nneedle",
        u64::MAX
    ));
    let huge = start(move |stream| answer(stream, text)).await;
    let huge = looked(huge, TIMEOUT).await;
    assert!(
        matches!(
            huge,
            Seen::Fail(FailReason::Closed(Phase::Body) | FailReason::Http(_))
        ),
        "{huge:?}"
    );
}

/// An endpoint that sends nothing but single bytes gets no more searches than one that sends them at once.
#[tokio::test]
async fn a_talkative_endpoint_ends_at_64_kib() {
    let line = leaked("0123456789".repeat(100));
    let talkative = start(move |mut stream| async move {
        while stream.write_all(line.as_bytes()).await.is_ok() {}
    })
    .await;
    let spec = TcpSpec {
        send: None,
        expect: Some(Pattern::text("needle")),
    };
    assert_eq!(
        probe_port(CheckKind::Tcp(spec), talkative, TIMEOUT).await,
        Seen::Fail(FailReason::NoMatch)
    );
}

#[tokio::test]
async fn a_tls_handshake_of_a_byte_at_a_time_runs_into_the_timeout() {
    let slow = start(|mut stream| async move {
        let mut hello = [0; 64];
        let _ = stream.read(&mut hello).await;
        // The head of a record that is never complete.
        for byte in *b"\x16\x03\x03\x40\x00" {
            let _ = stream.write_all(&[byte]).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        hang(stream).await;
    })
    .await;
    assert_eq!(
        probe_port(CheckKind::Tls(TlsSpec::default()), slow, SHORT).await,
        Seen::Fail(FailReason::Timeout(Phase::Tls))
    );
}

/// One prober, every kind of bad endpoint at once, and good ones between them that pass all the same.
#[tokio::test]
async fn bad_endpoints_do_not_touch_the_good_ones() {
    let good = start(|stream| answer(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")).await;
    let value = leaked("0123456789".repeat(500));
    let bad = [
        start(hang).await,
        start(move |stream| endless(stream, "HTTP/1.1 200 OK\r\nX-Long: ", value, Duration::ZERO))
            .await,
        start(|stream| {
            endless(
                stream,
                "HTTP/1.1 200 OK\r\nX: ",
                "y",
                Duration::from_millis(20),
            )
        })
        .await,
        start(|stream| banner(stream, b"\x15\x03\x03\x00\x02\x02\x28")).await,
        start(|stream| async { drop(stream) }).await,
        closed_port().await,
    ];
    let prober = std::sync::Arc::new(Prober::new(Clock));
    let mut probes = tokio::task::JoinSet::new();
    for round in 0..30 {
        for (address, passes) in bad
            .iter()
            .map(|address| (*address, false))
            .chain([(good, true)])
        {
            let timeout = if passes { TIMEOUT } else { SHORT * 4 };
            let spec = CheckSpec {
                timeout,
                ..check(CheckKind::Http(http()), address.port())
            };
            let prober = prober.clone();
            probes.spawn(async move { (round, passes, probe(&prober, &spec, &loopback()).await) });
        }
    }
    while let Some(ended) = probes.join_next().await {
        let (round, passes, outcome) = ended.unwrap();
        assert_eq!(outcome.passed(), passes, "round {round}: {outcome:?}");
    }
}
