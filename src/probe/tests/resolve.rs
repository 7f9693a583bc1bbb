//! Target names, with name servers that answer, refuse, hang and are gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{RData, Record, RecordType};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use super::*;
use crate::dns::{Name, Rcode};
use crate::health::{NotJudged, ResolverFault, Warning};

/// The behaviour of a name server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Does {
    /// Answers with 127.0.0.1, which may be used for no time.
    Answer,
    Hang,
    NxDomain,
    NoData,
    ServFail,
    Refuse,
    /// Answers with ::1, and says nothing to who asks for IPv4.
    HangForV4,
}

const ALL: [Does; 7] = [
    Does::Answer,
    Does::Hang,
    Does::NxDomain,
    Does::NoData,
    Does::ServFail,
    Does::Refuse,
    Does::HangForV4,
];

/// A name server on loopback, which does what it is told; names that begin with `hung` are never answered.
struct NameServer {
    address: SocketAddr,
    does: Arc<AtomicU8>,
}

impl NameServer {
    async fn start(does: Does) -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = NameServer {
            address: socket.local_addr().unwrap(),
            does: Arc::new(AtomicU8::new(does as u8)),
        };
        let told = server.does.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                if let Some(reply) = reply(
                    &buffer[..length],
                    ALL[usize::from(told.load(Ordering::SeqCst))],
                ) {
                    let _ = socket.send_to(&reply, client).await;
                }
            }
        });
        server
    }

    fn now(&self, does: Does) {
        self.does.store(does as u8, Ordering::SeqCst);
    }

    fn prober(&self) -> Arc<Prober> {
        let prober = Prober::new(Clock);
        prober.look_up_at(&[self.address]);
        Arc::new(prober)
    }
}

fn reply(query: &[u8], does: Does) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).unwrap();
    let asked = query.queries[0].clone();
    let mut reply = Message::new(
        query.metadata.id,
        MessageType::Response,
        query.metadata.op_code,
    );
    reply.metadata.recursion_desired = true;
    reply.metadata.recursion_available = true;
    reply.add_query(asked.clone());
    let v4 = asked.query_type() == RecordType::A;
    reply.metadata.response_code = match does {
        _ if asked.name().to_ascii().starts_with("hung") => return None,
        Does::Hang => return None,
        Does::HangForV4 if v4 => return None,
        Does::NxDomain => ResponseCode::NXDomain,
        Does::ServFail => ResponseCode::ServFail,
        Does::Refuse => ResponseCode::Refused,
        Does::Answer | Does::NoData | Does::HangForV4 => ResponseCode::NoError,
    };
    let address = match does {
        Does::Answer if v4 => Some(RData::A(A::new(127, 0, 0, 1))),
        Does::HangForV4 => Some(RData::AAAA(AAAA::new(0, 0, 0, 0, 0, 0, 0, 1))),
        _ => None,
    };
    reply.add_answers(address.map(|address| Record::from_rdata(asked.name().clone(), 0, address)));
    Some(reply.to_vec().unwrap())
}

fn target(name: &str) -> Target {
    Target::Name(Name::from_text(name, None).unwrap())
}

/// A check of a second, on a port of loopback.
fn on(address: SocketAddr) -> CheckSpec {
    CheckSpec {
        timeout: Duration::from_secs(1),
        ..check(connects(), address.port())
    }
}

fn unresolved(fault: ResolverFault) -> Seen {
    Seen::NotJudged(NotJudged::Resolver(fault))
}

#[tokio::test]
async fn sixty_hung_names_take_no_healthy_endpoint_down() {
    let endpoint = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let check = on(endpoint.local_addr().unwrap());
    let prober = NameServer::start(Does::Answer).await.prober();
    for round in 0..3 {
        let mut running = JoinSet::new();
        let hung = (0..60).map(|index| format!("hung{index}.example."));
        let healthy = (0..20).map(|index| format!("healthy{index}.example."));
        for name in hung.chain(healthy) {
            let (prober, check) = (
                prober.clone(),
                CheckSpec {
                    timeout: TIMEOUT,
                    ..check.clone()
                },
            );
            running.spawn(async move {
                // Those that hang are cut off soon, as many as want to.
                let hangs = name.starts_with("hung");
                let check = if hangs {
                    CheckSpec {
                        timeout: Duration::from_secs(1),
                        ..check
                    }
                } else {
                    check
                };
                (
                    hangs,
                    prober
                        .probe(&Check::from(check.clone()), &target(&name))
                        .await
                        .seen,
                )
            });
        }
        for (hangs, seen) in running.join_all().await {
            let expected = if hangs {
                unresolved(ResolverFault::Silent)
            } else {
                Seen::Pass
            };
            assert_eq!(seen, expected, "round {round}");
        }
    }
}

#[tokio::test]
async fn only_a_name_server_that_works_fails_a_name() {
    let server = NameServer::start(Does::NxDomain).await;
    let check = on(closed_port().await);
    let seen = async |does| {
        server.now(does);
        server
            .prober()
            .probe(&Check::from(check.clone()), &target("app.example."))
            .await
            .seen
    };
    assert_eq!(
        seen(Does::NxDomain).await,
        Seen::Fail(FailReason::Resolve(ResolveFault::NoSuchName))
    );
    assert_eq!(
        seen(Does::NoData).await,
        Seen::Fail(FailReason::Resolve(ResolveFault::NoAddress))
    );
    assert_eq!(
        seen(Does::ServFail).await,
        unresolved(ResolverFault::Rcode(Rcode::SERVFAIL))
    );
    assert_eq!(
        seen(Does::Refuse).await,
        unresolved(ResolverFault::Rcode(Rcode::REFUSED))
    );
    assert_eq!(seen(Does::Hang).await, unresolved(ResolverFault::Silent));
    assert_eq!(
        seen(Does::Answer).await,
        Seen::Fail(FailReason::ConnectRefused),
        "the endpoint's own fault"
    );
}

#[tokio::test]
async fn a_dead_name_server_leaves_the_last_addresses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let check = on(listener.local_addr().unwrap());
    let endpoint = tokio::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    });
    let server = NameServer::start(Does::Answer).await;
    let prober = server.prober();
    let probe = async || {
        let outcome = prober
            .probe(&Check::from(check.clone()), &target("app.example."))
            .await;
        (outcome.seen, outcome.warning)
    };
    // A lookup goes on when its probe has ended: what it found is known to one of the next.
    let until = async |expected: (Seen, Option<Warning>)| {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let seen = probe().await;
            if seen == expected {
                return;
            }
            assert!(Instant::now() < end, "{seen:?} instead of {expected:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let last = |fault| (Seen::Pass, Some(Warning::LastAddresses(fault)));
    until((Seen::Pass, None)).await;
    for (does, code) in [
        (Does::ServFail, Rcode::SERVFAIL),
        (Does::Refuse, Rcode::REFUSED),
    ] {
        server.now(does);
        until(last(ResolverFault::Rcode(code))).await;
    }
    server.now(Does::Hang);
    until(last(ResolverFault::Silent)).await;
    server.now(Does::Answer);
    until((Seen::Pass, None)).await;
    prober.look_up_at(&[closed_port().await]);
    until(last(ResolverFault::Silent)).await;
    endpoint.abort();
    let _ = endpoint.await;
    assert_eq!(
        probe().await.0,
        Seen::Fail(FailReason::ConnectRefused),
        "who is known to be there is judged"
    );

    prober.look_up_at(&[server.address]);
    server.now(Does::NxDomain);
    until((
        Seen::Fail(FailReason::Resolve(ResolveFault::NoSuchName)),
        None,
    ))
    .await;
    server.now(Does::Hang);
    assert_eq!(
        probe().await.0,
        unresolved(ResolverFault::Silent),
        "an absence is not remembered"
    );
}

#[tokio::test]
async fn the_next_name_server_is_asked_where_one_fails() {
    let endpoint = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let check = CheckSpec {
        timeout: TIMEOUT,
        ..on(endpoint.local_addr().unwrap())
    };
    let good = NameServer::start(Does::Answer).await;
    for first in [Does::ServFail, Does::Refuse, Does::Hang] {
        let prober = Prober::new(Clock);
        prober.look_up_at(&[NameServer::start(first).await.address, good.address]);
        assert_eq!(
            prober
                .probe(&Check::from(check.clone()), &target("app.example."))
                .await
                .seen,
            Seen::Pass,
            "{first:?}"
        );
    }
    let prober = Prober::new(Clock);
    prober.look_up_at(&[
        NameServer::start(Does::NxDomain).await.address,
        good.address,
    ]);
    let seen = prober
        .probe(&Check::from(check.clone()), &target("app.example."))
        .await
        .seen;
    assert_eq!(
        seen,
        Seen::Fail(FailReason::Resolve(ResolveFault::NoSuchName)),
        "the first one knows"
    );
}

#[tokio::test]
async fn a_family_that_is_not_answered_leaves_the_other() {
    let Ok(endpoint) = TcpListener::bind("[::1]:0").await else {
        return;
    };
    let check = on(endpoint.local_addr().unwrap());
    let prober = NameServer::start(Does::HangForV4).await.prober();
    assert_eq!(
        prober
            .probe(&Check::from(check.clone()), &target("app.example."))
            .await
            .seen,
        Seen::Pass
    );
}

#[tokio::test]
async fn the_address_that_passed_is_known() {
    let endpoint = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = endpoint.local_addr().unwrap();
    let prober = NameServer::start(Does::Answer).await.prober();
    let check = Check::from(on(address));
    let name = target("endpoint.example.");
    assert_eq!(prober.visit(&check, &name).await.1, Some(address));
    drop(endpoint);
    assert_eq!(prober.visit(&check, &name).await.1, None);
}
