//! Probes against real servers on loopback that misbehave in every way a server can.

mod body;
mod dns;
mod exec;
mod grpc;
mod http;
mod http2;
mod icmp;
mod misbehaviour;
mod resolve;
mod schedule;
mod server;
mod tcp;
mod tls;
mod watch;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::{Check, Prober};
use crate::clock::Clock;
use crate::health::{FailReason, Outcome, Phase, ResolveFault, Seen};
use crate::model::{CheckKind, CheckSpec, HttpSpec, Target, TcpSpec};

/// Long enough for a loaded machine; what runs into it on purpose sets a shorter one.
const TIMEOUT: Duration = Duration::from_secs(5);
/// For servers that never answer.
const SHORT: Duration = Duration::from_millis(150);

fn check(kind: CheckKind, port: u16) -> CheckSpec {
    CheckSpec {
        name: "test".into(),
        kind,
        address: None,
        port,
        interval: Duration::from_millis(100),
        timeout: TIMEOUT,
        fall: 3,
        rise: 2,
        forgive: 5,
        fall_refused: 3,
        recheck: Duration::from_millis(500),
        recheck_up: false,
        watch: false,
        flap: None,
    }
}

fn http() -> HttpSpec {
    HttpSpec {
        path: "/healthz".into(),
        ..HttpSpec::default()
    }
}

fn connects() -> CheckKind {
    CheckKind::Tcp(TcpSpec::default())
}

fn loopback() -> Target {
    Target::Address(IpAddr::from([127, 0, 0, 1]))
}

/// Probes and proves that the timeout was kept.
async fn probe(prober: &Prober, check: &CheckSpec, target: &Target) -> Outcome {
    let begun = Instant::now();
    let outcome = prober.probe(&Check::from(check.clone()), target).await;
    assert!(
        begun.elapsed() < check.timeout + Duration::from_secs(3),
        "bounded time: {:?}",
        begun.elapsed()
    );
    outcome
}

async fn probe_port(kind: CheckKind, address: SocketAddr, timeout: Duration) -> Seen {
    outcome(kind, address, timeout).await.seen
}

async fn outcome(kind: CheckKind, address: SocketAddr, timeout: Duration) -> Outcome {
    let check = CheckSpec {
        timeout,
        ..check(kind, address.port())
    };
    probe(&Prober::new(Clock), &check, &loopback()).await
}

/// Returns what was seen, and the evidence.
fn told(outcome: &Outcome) -> (Seen, Option<String>) {
    (
        outcome.seen,
        outcome.evidence.as_ref().map(ToString::to_string),
    )
}

/// A port that nothing listens on.
async fn closed_port() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

#[tokio::test]
async fn phases_are_timed() {
    let address =
        server::start(|stream| server::answer(stream, "HTTP/1.1 204 No Content\r\n\r\n")).await;
    let prober = Prober::new(Clock);
    let outcome = probe(
        &prober,
        &check(CheckKind::Http(http()), address.port()),
        &loopback(),
    )
    .await;
    assert_eq!(outcome.seen, Seen::Pass);
    assert_eq!(
        outcome
            .phases
            .iter()
            .map(|(phase, _)| phase)
            .collect::<Vec<_>>(),
        [Phase::Connect, Phase::Response]
    );
    assert!(outcome.phases.total() <= outcome.at.0);
}

#[tokio::test]
async fn a_target_name_that_does_not_resolve_fails() {
    // Nobody is asked for it (RFC 6761 §6.4).
    let nowhere = Target::Name(crate::dns::Name::from_text("no-such-host.invalid.", None).unwrap());
    let seen = probe(&Prober::new(Clock), &check(connects(), 80), &nowhere)
        .await
        .seen;
    assert_eq!(
        seen,
        Seen::Fail(FailReason::Resolve(ResolveFault::NoSuchName))
    );
}
