//! What `http` checks expect of a body, where they go, and the load they bring back.

use super::server::{answer, endless, request, start};
use super::*;
use crate::health::{HttpFault, JsonFault};
use crate::model::{HeaderText, JsonPointer, JsonRule, JsonTest, LoadSource, Pattern, Scalar};

/// A server that gives `body` with `status`, whatever it is asked.
async fn serving(status: &str, body: &str) -> SocketAddr {
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nX-Load: 0.25\r\n\r\n{body}",
        body.len()
    );
    let text: &str = Box::leak(text.into_boxed_str());
    start(move |stream| answer(stream, text)).await
}

async fn asked(spec: HttpSpec, address: SocketAddr) -> Outcome {
    outcome(CheckKind::Http(spec), address, TIMEOUT).await
}

fn rule(pointer: &str, test: JsonTest) -> JsonRule {
    JsonRule {
        pointer: JsonPointer::new(pointer).unwrap(),
        test,
    }
}

#[tokio::test]
async fn a_body_is_held_to_a_pattern() {
    let address = serving("200 OK", "all is well\n").await;
    let expecting = |text: &str| HttpSpec {
        expect_body: Some(Pattern::regex(text)),
        ..http()
    };
    let passed = asked(expecting("(?m)well$"), address).await;
    assert_eq!(told(&passed), (Seen::Pass, None));
    assert!(passed.phases.get(Phase::Body).is_some());
    let failed = told(&asked(expecting("unwell"), address).await);
    assert_eq!(
        failed,
        (
            Seen::Fail(FailReason::NoMatch),
            Some("all is well\\n".to_owned())
        )
    );
}

#[tokio::test]
async fn only_the_first_64_kib_count() {
    let body = format!("{}needle", "x".repeat(crate::probe::MAX_BODY - 3));
    let address = serving("200 OK", &body).await;
    let expecting = |text: &str| HttpSpec {
        expect_body: Some(Pattern::text(text)),
        ..http()
    };
    assert_eq!(asked(expecting("xnee"), address).await.seen, Seen::Pass);
    assert_eq!(
        asked(expecting("needle"), address).await.seen,
        Seen::Fail(FailReason::NoMatch)
    );
    let json = HttpSpec {
        json: vec![rule("", JsonTest::Present)],
        ..http()
    };
    let long = serving(
        "200 OK",
        &format!("\"{}\"", "x".repeat(crate::probe::MAX_BODY)),
    )
    .await;
    assert_eq!(
        asked(json, long).await.seen,
        Seen::Fail(FailReason::Json(JsonFault::NotJson))
    );
}

#[tokio::test]
async fn json_is_held_to_its_rules() {
    let address = serving(
        "200 OK",
        r#"{"replication": {"lag_s": 7}, "role": "replica"}"#,
    )
    .await;
    let with = |pointer: &str, test| HttpSpec {
        json: vec![rule(pointer, test)],
        ..http()
    };
    let most = |max| JsonTest::Between {
        min: f64::NEG_INFINITY,
        max,
    };
    assert_eq!(
        asked(with("/replication/lag_s", most(7.0)), address)
            .await
            .seen,
        Seen::Pass
    );
    let above = told(&asked(with("/replication/lag_s", most(5.0)), address).await);
    assert_eq!(
        above,
        (
            Seen::Fail(FailReason::Json(JsonFault::Above)),
            Some("/replication/lag_s is 7".to_owned())
        )
    );
    let absent = told(&asked(with("/lag", most(5.0)), address).await);
    assert_eq!(
        absent,
        (
            Seen::Fail(FailReason::Json(JsonFault::Absent)),
            Some("/lag is nothing".to_owned())
        )
    );
    let primary = told(
        &asked(
            with("/role", JsonTest::Equals(Scalar::Text("primary".into()))),
            address,
        )
        .await,
    );
    assert_eq!(
        primary,
        (
            Seen::Fail(FailReason::Json(JsonFault::OtherValue)),
            Some("/role is \"replica\"".to_owned())
        )
    );
    let text = serving("200 OK", "<html>").await;
    let not_json = told(&asked(with("/x", JsonTest::Present), text).await);
    assert_eq!(
        not_json,
        (
            Seen::Fail(FailReason::Json(JsonFault::NotJson)),
            Some("<html>".to_owned())
        )
    );
}

#[tokio::test]
async fn an_unexpected_status_shows_what_came_with_it() {
    let address = serving("503 Service Unavailable", "draining: \u{7}soon").await;
    let failed = told(&asked(http(), address).await);
    assert_eq!(
        failed,
        (
            Seen::Fail(FailReason::Status(503)),
            Some("draining: \\u{7}soon".to_owned())
        )
    );
    let bodiless =
        start(|stream| answer(stream, "HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\n")).await;
    let begun = Instant::now();
    assert_eq!(
        told(&asked(http(), bodiless).await),
        (Seen::Fail(FailReason::Status(500)), None)
    );
    assert!(
        begun.elapsed() < TIMEOUT / 2,
        "it is not waited for until the end"
    );
}

#[tokio::test]
async fn a_body_that_comes_after_its_head_is_shown_all_the_same() {
    let address = start(|mut stream| async move {
        request(&mut stream).await;
        for text in ["HTTP/1.1 503 No\r\nContent-Length: 8\r\n\r\n", "draining"] {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, text.as_bytes()).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    let failed = told(&asked(http(), address).await);
    assert_eq!(
        failed,
        (
            Seen::Fail(FailReason::Status(503)),
            Some("draining".to_owned())
        )
    );
}

#[tokio::test]
async fn a_body_that_does_not_come_makes_no_timeout_of_a_status() {
    let address = start(|stream| {
        endless(
            stream,
            "HTTP/1.1 503 No\r\nContent-Length: 8\r\n\r\n",
            "",
            TIMEOUT,
        )
    })
    .await;
    // Sooner than the body would be given up; a machine under load may not even see the head by then.
    let limit = Duration::from_millis(15);
    for _ in 0..50 {
        if outcome(CheckKind::Http(http()), address, limit).await.seen
            == Seen::Fail(FailReason::Status(503))
        {
            return;
        }
    }
    panic!("the status was never told");
}

#[tokio::test]
async fn a_load_comes_from_a_header_or_from_json() {
    let address = serving("200 OK", r#"{"load": 0.5, "name": "a"}"#).await;
    let from = |load| HttpSpec {
        load: Some(load),
        ..http()
    };
    let json = |pointer: &str| LoadSource::Json(JsonPointer::new(pointer).unwrap());
    for (source, load) in [
        (LoadSource::Header("x-load".into()), Some(0.25)),
        (LoadSource::Header("x-other".into()), None),
        (json("/load"), Some(0.5)),
        (json("/name"), None),
    ] {
        let outcome = asked(from(source), address).await;
        assert_eq!(
            (outcome.seen, outcome.load.map(|load| load.share())),
            (Seen::Pass, load)
        );
    }
    let text = serving("200 OK", "ok").await;
    let outcome = asked(from(json("/load")), text).await;
    assert_eq!(
        (outcome.seen, outcome.load),
        (Seen::Pass, None),
        "no load is no failure"
    );
}

/// Redirects to the path one shorter until it is `/`, which answers 200.
async fn redirecting() -> SocketAddr {
    start(|mut stream| async move {
        let asked = request(&mut stream).await;
        let path = asked.split(' ').nth(1).unwrap_or("/").to_owned();
        let text = match path.len() {
            1 => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
            length => format!(
                "HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
                &path[..length - 1]
            ),
        };
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, text.as_bytes()).await;
    })
    .await
}

#[tokio::test]
async fn redirects_are_followed_as_far_as_the_check_says() {
    let address = redirecting().await;
    let following = |follow_redirects| HttpSpec {
        path: "/abc".into(),
        follow_redirects,
        ..HttpSpec::default()
    };
    assert_eq!(
        asked(following(0), address).await.seen,
        Seen::Fail(FailReason::Status(302))
    );
    assert_eq!(asked(following(3), address).await.seen, Seen::Pass);
    assert_eq!(
        asked(following(2), address).await.seen,
        Seen::Fail(FailReason::Http(HttpFault::TooManyRedirects))
    );
    let nowhere =
        start(|stream| answer(stream, "HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n")).await;
    assert_eq!(
        asked(following(1), nowhere).await.seen,
        Seen::Fail(FailReason::Http(HttpFault::BadRedirect))
    );
}

#[tokio::test]
async fn another_host_is_not_told_the_headers_of_the_check() {
    let (sender, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let elsewhere = start(move |mut stream| {
        let sender = sender.clone();
        async move {
            let _ = sender.send(request(&mut stream).await);
            let _ = tokio::io::AsyncWriteExt::write_all(
                &mut stream,
                b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            )
            .await;
        }
    })
    .await;
    let text = format!(
        "HTTP/1.1 307 Go\r\nLocation: http://127.0.0.2:{}/x\r\nContent-Length: 0\r\n\r\n",
        elsewhere.port()
    );
    let text: &str = Box::leak(text.into_boxed_str());
    let first = start(move |stream| answer(stream, text)).await;
    let spec = HttpSpec {
        headers: vec![("Authorization".into(), HeaderText::Plain("secret".into()))],
        follow_redirects: 1,
        ..http()
    };
    // 127.0.0.2 reaches a listener on 127.0.0.1 only where it listens on all; it does not, and says so.
    let seen = asked(spec.clone(), first).await.seen;
    assert_eq!(
        seen,
        Seen::Fail(FailReason::ConnectRefused),
        "the other address is the one that was tried"
    );
    let text = format!(
        "HTTP/1.1 307 Go\r\nLocation: http://localhost:{}/x\r\nContent-Length: 0\r\n\r\n",
        elsewhere.port()
    );
    let text: &str = Box::leak(text.into_boxed_str());
    let first = start(move |stream| answer(stream, text)).await;
    if asked(spec, first).await.seen == Seen::Pass {
        let asked = requests.recv().await.unwrap().to_lowercase();
        assert!(
            asked.contains("host: localhost:") && !asked.contains("secret"),
            "{asked}"
        );
    }
}

/// Serves an answer in pieces, with a pause before each but the first, and tells how its writes went.
async fn in_pieces(
    pieces: &'static [&'static str],
) -> (
    SocketAddr,
    tokio::sync::mpsc::UnboundedReceiver<std::io::Result<()>>,
) {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let address = start(move |mut stream| {
        let tell = tell.clone();
        async move {
            request(&mut stream).await;
            for (index, piece) in pieces.iter().enumerate() {
                if index > 0 {
                    tokio::time::sleep(Duration::from_millis(60)).await;
                }
                let _ = tell
                    .send(tokio::io::AsyncWriteExt::write_all(&mut stream, piece.as_bytes()).await);
            }
        }
    })
    .await;
    (address, told)
}

#[tokio::test]
async fn a_server_that_writes_head_and_body_apart_sees_no_reset() {
    let pass = &[
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        "all",
        " is",
        "wel",
    ];
    let fail = &[
        "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n",
        "3\r\nall\r\n",
        "2\r\nis\r\n",
        "0\r\n\r\n",
    ];
    for (pieces, expected) in [
        (pass, Seen::Pass),
        (fail, Seen::Fail(FailReason::Status(503))),
    ] {
        let (address, mut told) = in_pieces(pieces).await;
        assert_eq!(asked(http(), address).await.seen, expected);
        for write in 0..pieces.len() {
            let went = told.recv().await.unwrap();
            assert!(went.is_ok(), "{expected:?}: piece {write}: {went:?}");
        }
    }
}

#[tokio::test]
async fn a_body_that_does_not_end_passes_with_what_it_has_shown() {
    let address = start(|stream| async {
        endless(
            stream,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nready\r\n",
            "1\r\n.\r\n",
            SHORT / 10,
        )
        .await;
    })
    .await;
    let short = |spec| outcome(CheckKind::Http(spec), address, SHORT);
    let expecting = |text: &str| HttpSpec {
        expect_body: Some(Pattern::regex(text)),
        ..http()
    };
    assert_eq!(short(expecting("ready")).await.seen, Seen::Pass);
    assert_eq!(
        short(http()).await.seen,
        Seen::Pass,
        "the head alone decides"
    );
    assert_eq!(
        short(expecting("steady")).await.seen,
        Seen::Fail(FailReason::Timeout(Phase::Body))
    );
    let json = HttpSpec {
        json: vec![rule("", JsonTest::Present)],
        ..expecting("ready")
    };
    assert_eq!(
        short(json).await.seen,
        Seen::Fail(FailReason::Timeout(Phase::Body)),
        "half a document is none"
    );
}

#[tokio::test]
async fn a_head_may_have_more_than_a_hundred_fields() {
    let fields = |count: usize| {
        (0..count)
            .map(|index| format!("X-{index}: {}\r\n", "v".repeat(70)))
            .collect::<String>()
    };
    let serving = async |fields: String| {
        let text: &str = Box::leak(
            format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n").into_boxed_str(),
        );
        asked(http(), start(move |stream| answer(stream, text)).await)
            .await
            .seen
    };
    assert_eq!(serving(fields(180)).await, Seen::Pass, "14 KiB");
    assert_eq!(serving(fields(780)).await, Seen::Pass, "62 KiB");
    assert_eq!(serving("X: y\r\n".repeat(2000)).await, Seen::Pass);
    let too_long = Seen::Fail(FailReason::Http(HttpFault::HeadTooLong));
    assert_eq!(serving(fields(2000)).await, too_long, "156 KiB");
    assert_eq!(serving("X: y\r\n".repeat(2100)).await, too_long);
}
