//! `dns` checks, against servers that answer, lie and babble.

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::server::start;
use super::*;
use crate::dns::{Rcode, RrType};
use crate::health::DnsFault;
use crate::model::{DnsSpec, DnsTransport};
use crate::probe::dns::{Heard, Question};

fn spec() -> DnsSpec {
    DnsSpec {
        name: crate::dns::Name::from_text("www.example.com.", None).unwrap(),
        rr_type: RrType::A,
        transport: DnsTransport::Udp,
        expect_rcode: Rcode::NOERROR,
        expect_address: Vec::new(),
    }
}

/// The answer to `query`: an alias and the address of what it stands for.
fn answer(query: &[u8]) -> Message {
    let query = Message::from_vec(query).unwrap();
    let mut answer = Message::new(
        query.metadata.id,
        MessageType::Response,
        query.metadata.op_code,
    );
    answer.metadata.recursion_desired = true;
    answer.add_query(query.queries[0].clone());
    let (asked, real) = (
        query.queries[0].name().clone(),
        Name::from_ascii("real.example.com.").unwrap(),
    );
    answer.add_answer(Record::from_rdata(
        asked,
        60,
        RData::CNAME(CNAME(real.clone())),
    ));
    answer.add_answer(Record::from_rdata(real, 60, RData::A(A::new(192, 0, 2, 1))));
    answer
}

fn with(change: impl FnOnce(&mut Message), query: &[u8]) -> Vec<u8> {
    let mut answer = answer(query);
    change(&mut answer);
    answer.to_vec().unwrap()
}

/// A server that sends what `replies` makes of a query, one datagram each.
async fn udp<F, R>(replies: F) -> SocketAddr
where
    F: Fn(Vec<u8>) -> R + Send + 'static,
    R: IntoIterator<Item = Vec<u8>, IntoIter: Send> + Send,
{
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            for reply in replies(buffer[..length].to_vec()) {
                let _ = socket.send_to(&reply, client).await;
            }
        }
    });
    address
}

async fn ask(spec: DnsSpec, address: SocketAddr, timeout: Duration) -> Outcome {
    let check = CheckSpec {
        timeout,
        ..check(CheckKind::Dns(spec), address.port())
    };
    probe(&Prober::new(Clock), &check, &loopback()).await
}

fn fails(fault: DnsFault) -> Seen {
    Seen::Fail(FailReason::Dns(fault))
}

#[tokio::test]
async fn the_rcode_decides() {
    let good = udp(|query| [answer(&query).to_vec().unwrap()]).await;
    let outcome = ask(spec(), good, TIMEOUT).await;
    assert_eq!(outcome.seen, Seen::Pass);
    assert_eq!(
        outcome
            .phases
            .iter()
            .map(|(phase, _)| phase)
            .collect::<Vec<_>>(),
        [Phase::Response]
    );
    let expecting = |rcode| DnsSpec {
        expect_rcode: rcode,
        ..spec()
    };
    assert_eq!(
        ask(expecting(Rcode::NXDOMAIN), good, TIMEOUT).await.seen,
        fails(DnsFault::Rcode(Rcode::NOERROR))
    );
    let absent = udp(|query| {
        [with(
            |answer| answer.metadata.response_code = ResponseCode::NXDomain,
            &query,
        )]
    })
    .await;
    assert_eq!(
        ask(expecting(Rcode::NXDOMAIN), absent, TIMEOUT).await.seen,
        Seen::Pass
    );
    assert_eq!(
        ask(spec(), absent, TIMEOUT).await.seen,
        fails(DnsFault::Rcode(Rcode::NXDOMAIN))
    );
    // A server that refuses may leave the question out.
    let bare = udp(|query| [[&query[..2], &[0x80, 5], &[0; 8]].concat()]).await;
    assert_eq!(
        ask(spec(), bare, TIMEOUT).await.seen,
        fails(DnsFault::Rcode(Rcode::REFUSED))
    );
}

#[tokio::test]
async fn one_of_the_expected_addresses_is_in_the_answer() {
    let server = udp(|query| [answer(&query).to_vec().unwrap()]).await;
    let expecting = |addresses: &[&str]| DnsSpec {
        expect_address: addresses
            .iter()
            .map(|address| address.parse().unwrap())
            .collect(),
        ..spec()
    };
    assert_eq!(
        ask(expecting(&["192.0.2.9", "192.0.2.1"]), server, TIMEOUT)
            .await
            .seen,
        Seen::Pass
    );
    let outcome = ask(expecting(&["192.0.2.9", "2001:db8::1"]), server, TIMEOUT).await;
    assert_eq!(outcome.seen, fails(DnsFault::Address));
    let said = outcome.evidence.unwrap().to_string();
    assert_eq!(
        said,
        "NOERROR, 2 records: CNAME real.example.com., A 192.0.2.1"
    );
}

/// Datagrams from the right place that answer no query of ours.
fn noise(query: &[u8]) -> Vec<Vec<u8>> {
    let other = Name::from_ascii("other.example.com.").unwrap();
    let other_name = |answer: &mut Message| {
        answer.queries[0].set_name(other);
    };
    let other_type = |answer: &mut Message| {
        answer.queries[0].set_query_type(RecordType::AAAA);
    };
    vec![
        Vec::new(),
        b"\0".to_vec(),
        vec![0xff; 4096],
        query.to_vec(),
        with(|answer| answer.metadata.id ^= 1, query),
        with(other_name, query),
        with(other_type, query),
        with(|answer| answer.queries.clear(), query),
    ]
}

#[tokio::test]
async fn what_is_no_answer_is_waited_past() {
    let late = udp(|query| {
        noise(&query)
            .into_iter()
            .chain([answer(&query).to_vec().unwrap()])
    })
    .await;
    assert_eq!(ask(spec(), late, TIMEOUT).await.seen, Seen::Pass);
    let never = udp(|query| noise(&query)).await;
    assert_eq!(
        ask(spec(), never, SHORT).await.seen,
        Seen::Fail(FailReason::Timeout(Phase::Response))
    );
    let broken =
        udp(|query| [[&query[..2], &[0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0xc0, 0x0c]].concat()]).await;
    assert_eq!(
        ask(spec(), broken, TIMEOUT).await.seen,
        fails(DnsFault::NotDns)
    );
}

#[tokio::test]
async fn an_answer_from_elsewhere_is_not_heard() {
    let (asked, other) = (
        UdpSocket::bind("127.0.0.1:0").await.unwrap(),
        UdpSocket::bind("127.0.0.2:0").await.unwrap(),
    );
    let address = asked.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        let (length, client) = asked.recv_from(&mut buffer).await.unwrap();
        other
            .send_to(&answer(&buffer[..length]).to_vec().unwrap(), client)
            .await
            .unwrap();
        // Closed, its port would refuse.
        std::future::pending::<()>().await;
        drop(asked);
    });
    assert_eq!(
        ask(spec(), address, SHORT).await.seen,
        Seen::Fail(FailReason::Timeout(Phase::Response))
    );
}

#[tokio::test]
async fn a_flood_ends_with_the_check() {
    let server = udp(|query| std::iter::repeat_n(query, 200_000)).await;
    assert_eq!(
        ask(spec(), server, SHORT).await.seen,
        Seen::Fail(FailReason::Timeout(Phase::Response))
    );
}

#[tokio::test]
async fn a_port_without_a_server_refuses() {
    let closed = UdpSocket::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    assert_eq!(
        ask(spec(), closed, TIMEOUT).await.seen,
        Seen::Fail(FailReason::ConnectRefused)
    );
}

/// Reads one query and sends what `reply` makes of it, each message with its length.
async fn serve(mut stream: TcpStream, reply: fn(&[u8]) -> Vec<Vec<u8>>) {
    let mut query = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut query).await.unwrap();
    for message in reply(&query) {
        let length = (message.len() as u16).to_be_bytes();
        let _ = stream.write_all(&[&length, &message[..]].concat()).await;
    }
    // What has been sent is read before the end is seen.
    let _ = stream.shutdown().await;
}

fn over_tcp() -> DnsSpec {
    DnsSpec {
        transport: DnsTransport::Tcp,
        ..spec()
    }
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let server = start(|stream| serve(stream, |query| vec![answer(query).to_vec().unwrap()])).await;
    let socket = UdpSocket::bind(server).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let cut = |answer: &mut Message| {
                (answer.metadata.truncation, answer.answers) = (true, Vec::new())
            };
            socket
                .send_to(&with(cut, &buffer[..length]), client)
                .await
                .unwrap();
        }
    });
    let outcome = ask(
        DnsSpec {
            expect_address: vec!["192.0.2.1".parse().unwrap()],
            ..spec()
        },
        server,
        TIMEOUT,
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
    let still_cut = start(|stream| {
        serve(stream, |query| {
            vec![with(|answer| answer.metadata.truncation = true, query)]
        })
    })
    .await;
    assert_eq!(
        ask(over_tcp(), still_cut, TIMEOUT).await.seen,
        fails(DnsFault::Truncated)
    );
}

#[tokio::test]
async fn servers_over_tcp_are_bounded_too() {
    let noisy = start(|stream| {
        serve(stream, |query| {
            [noise(query), vec![answer(query).to_vec().unwrap()]].concat()
        })
    })
    .await;
    assert_eq!(ask(over_tcp(), noisy, TIMEOUT).await.seen, Seen::Pass);
    let closing = start(|stream| serve(stream, |_| Vec::new())).await;
    assert_eq!(
        ask(over_tcp(), closing, TIMEOUT).await.seen,
        Seen::Fail(FailReason::Closed(Phase::Response))
    );
    let endless =
        start(|mut stream| async move { while stream.write_all(&[0; 4096]).await.is_ok() {} })
            .await;
    assert_eq!(
        ask(over_tcp(), endless, SHORT).await.seen,
        Seen::Fail(FailReason::Timeout(Phase::Response))
    );
    let slow = start(|mut stream| async move {
        while stream.write_all(&[1]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    })
    .await;
    assert_eq!(
        ask(over_tcp(), slow, SHORT).await.seen,
        Seen::Fail(FailReason::Timeout(Phase::Response))
    );
    assert_eq!(
        ask(over_tcp(), closed_port().await, TIMEOUT).await.seen,
        Seen::Fail(FailReason::ConnectRefused)
    );
}

proptest! {
    /// Whatever comes, it is heard without a panic; and without our id it is never an answer.
    #[test]
    fn anything_may_come_back(id: u16, start in any::<[u8; 12]>(), rest in prop::collection::vec(any::<u8>(), 0..200), ours: bool) {
        let spec = spec();
        let question = Question::new(&spec, id).unwrap();
        let mut message = [&start[..], &rest].concat();
        if ours {
            message[..2].copy_from_slice(&id.to_be_bytes());
        }
        let heard = question.hear(&message);
        prop_assert!(message[..2] == id.to_be_bytes() || heard == Heard::Other);
        prop_assert!(!matches!(heard, Heard::Answer(Ok(()), _)) || message.len() > 12, "the question is in it");
    }

    /// A good answer that was damaged may fail, but not pass under another question.
    #[test]
    fn damaged_answers_are_heard(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut: prop::sample::Index) {
        let spec = spec();
        let question = Question::new(&spec, 7).unwrap();
        let mut message = answer(&question.to_vec().unwrap()).to_vec().unwrap();
        prop_assert!(matches!(question.hear(&message), Heard::Answer(Ok(()), _)));
        for (at, octet) in changes {
            let at = at.index(message.len());
            message[at] = octet;
        }
        message.truncate(cut.index(message.len()) + 1);
        if let Heard::Answer(Ok(()), _) = question.hear(&message) {
            let asked = Message::from_vec(&message).unwrap().queries[0].to_string().to_lowercase();
            prop_assert_eq!(asked, "www.example.com. in a");
        }
    }
}
