//! `tcp` checks.

use super::server::{banner, hang, start};
use super::*;
use crate::model::Pattern;

fn talks(send: Option<&str>, expect: &str) -> CheckKind {
    CheckKind::Tcp(TcpSpec {
        send: send.map(str::to_owned),
        expect: Some(Pattern::regex(expect)),
    })
}

#[tokio::test]
async fn tcp_passes_and_is_refused() {
    let listening = start(|_| async {}).await;
    assert_eq!(probe_port(connects(), listening, TIMEOUT).await, Seen::Pass);
    assert_eq!(
        probe_port(connects(), closed_port().await, TIMEOUT).await,
        Seen::Fail(FailReason::ConnectRefused)
    );
}

#[tokio::test]
async fn a_full_accept_queue_is_a_timeout_while_connecting() {
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let fill = || std::net::TcpStream::connect_timeout(&address, SHORT);
    let _queue: Vec<_> = (0..4).map(|_| fill()).collect();
    let seen = probe_port(connects(), address, SHORT).await;
    assert_eq!(seen, Seen::Fail(FailReason::Timeout(Phase::Connect)));
}

#[tokio::test]
async fn what_is_said_is_held_to_what_is_expected() {
    let smtp = start(|stream| banner(stream, b"220 mail.example.com ESMTP\r\n")).await;
    assert_eq!(
        probe_port(talks(None, "^220 "), smtp, TIMEOUT).await,
        Seen::Pass
    );
    let other = outcome(talks(None, "^250 "), smtp, SHORT).await;
    let text = Some("220 mail.example.com ESMTP\\r\\n".to_owned());
    assert_eq!(
        told(&other),
        (Seen::Fail(FailReason::Timeout(Phase::Response)), text),
        "more may come"
    );
    let closing = start(|mut stream| async move {
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"-ERR no\n").await;
    })
    .await;
    let refused = outcome(talks(None, r"^\+OK"), closing, TIMEOUT).await;
    assert_eq!(
        told(&refused),
        (
            Seen::Fail(FailReason::NoMatch),
            Some("-ERR no\\n".to_owned())
        )
    );
    let silent = start(|stream| async { drop(stream) }).await;
    assert_eq!(
        probe_port(talks(None, "x"), silent, TIMEOUT).await,
        Seen::Fail(FailReason::Closed(Phase::Response))
    );
    assert_eq!(
        probe_port(talks(None, "x"), start(hang).await, SHORT).await,
        Seen::Fail(FailReason::Timeout(Phase::Response))
    );
}

#[tokio::test]
async fn what_is_sent_arrives() {
    let redis = start(|mut stream| async move {
        let (mut reader, mut writer) = stream.split();
        let mut asked = [0; 6];
        let _ = tokio::io::AsyncReadExt::read_exact(&mut reader, &mut asked).await;
        // In two pieces, and then nothing.
        for piece in [&b"+PO"[..], b"NG\r\n"] {
            let _ = tokio::io::AsyncWriteExt::write_all(
                &mut writer,
                if asked == *b"PING\r\n" { piece } else { b"-" },
            )
            .await;
            tokio::task::yield_now().await;
        }
        hang(stream).await;
    })
    .await;
    assert_eq!(
        probe_port(talks(Some("PING\r\n"), r"^\+PONG"), redis, TIMEOUT).await,
        Seen::Pass
    );
}
