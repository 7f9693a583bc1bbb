//! Packets that no resolver sends, over real sockets: nothing is said to them that should not be, and
//! the server answers the next client as before.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;

use crate::support::{Client, Meridian, PATIENCE, Site, exchange_tcp, query, udp, wait_for};

fn connect(server: &Meridian) -> TcpStream {
    let stream = TcpStream::connect(server.net.dns()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[track_caller]
fn still_answers(server: &Meridian) {
    let mut client = Client::new(server.net.dns(), "www.gtm.example", RecordType::A);
    // Behind a flood the kernel may drop it, as anybody's.
    let answer = wait_for("it answers", || {
        Some(client.ask()).filter(|answer| answer.code.is_ok())
    });
    assert_eq!(
        (answer.code, answer.rdata.len()),
        (Ok(ResponseCode::NoError), 1)
    );
    let message = query("www.gtm.example", RecordType::A);
    let answer = Message::from_vec(&exchange_tcp(&mut connect(server), &message).unwrap()).unwrap();
    assert_eq!(answer.answers.len(), 1);
}

/// The octets read until the server closes, or resets since it has unread input.
fn read_to_close(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return bytes,
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return bytes,
            // A read with a time limit ends when the machine was suspended meanwhile (signal(7)).
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn udp_that_is_no_query_gets_silence_or_its_error() {
    let server = Site::new().start();
    let socket = udp(server.net.dns());
    let good = query("www.gtm.example", RecordType::A);
    let mut response = good.clone();
    response[2] |= 0x80;
    // QR=1, and everything shorter than a header: two servers must not talk to each other for ever.
    socket.send(&response).unwrap();
    for length in 0..12 {
        socket.send(&good[..length]).unwrap();
    }
    // Answered, so what came before was not: it would have come first.
    let mut truncated = good[..good.len() - 3].to_vec();
    truncated[..2].copy_from_slice(&[0xab, 0xcd]);
    socket.send(&truncated).unwrap();
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).unwrap();
    assert_eq!(
        buffer[..2],
        [0xab, 0xcd],
        "the first answer is to the last message"
    );
    assert_eq!(
        (length, buffer[3] & 15),
        (12, 1),
        "FORMERR with a header only"
    );
    still_answers(&server);
}

#[test]
fn udp_garbage_never_stops_the_server() {
    let server = Site::new().start();
    let socket = udp(server.net.dns());
    let mut random = fastrand::Rng::with_seed(53);
    let good = query("www.gtm.example", RecordType::A);
    for round in 0..2000 {
        let mut message = good.clone();
        message.resize(random.usize(0..600), 0);
        let from = if round % 2 == 0 { 0 } else { 12 };
        for octet in message.iter_mut().skip(from) {
            *octet = random.u8(..);
        }
        let _ = socket.send(&message);
    }
    // Label loops and pointers, forward, backward and to themselves.
    for name in [
        &b"\xc0\x0c"[..],
        b"\xc0\xff",
        b"\x01a\xc0\x0c",
        b"\x40",
        b"\x80\x00",
        b"\x3f",
        &[1, b'a'].repeat(200),
    ] {
        let mut message = good[..12].to_vec();
        message.extend_from_slice(name);
        message.extend_from_slice(&[0, 1, 0, 1]);
        socket.send(&message).unwrap();
    }
    socket.set_nonblocking(true).unwrap();
    still_answers(&server);
    let mut buffer = [0; 4096];
    while let Ok(length) = socket.recv(&mut buffer) {
        assert!(
            (12..=1232).contains(&length) && buffer[2] & 0x80 != 0,
            "{:?}",
            &buffer[..length]
        );
    }
}

#[test]
fn sixty_five_thousand_octets_of_garbage_over_tcp() {
    let server = Site::new().start();
    let mut random = fastrand::Rng::with_seed(54);
    for query_bit in [0, 0x80] {
        let mut stream = connect(&server);
        let mut garbage: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
            .take(65535)
            .collect();
        garbage[2] = garbage[2] & 0x7f | query_bit;
        stream.write_all(&[0xff, 0xff]).unwrap();
        let _ = stream.write_all(&garbage);
        let _ = stream.shutdown(Shutdown::Write);
        let said = read_to_close(&mut stream);
        if query_bit == 0 {
            assert_eq!(said[..2], [0, 12], "a header with its error: {said:?}");
            assert_ne!(said[5] & 15, 0);
        } else {
            assert_eq!(said, b"", "QR=1 is never answered");
        }
        still_answers(&server);
    }
}

#[test]
fn half_a_length_prefix_then_silence_is_cut_off() {
    let server = Site::new().start();
    for beginning in [&[0u8][..], &[0, 50], &[0, 50, 1, 2, 3]] {
        let mut stream = connect(&server);
        stream.write_all(beginning).unwrap();
        let began = Instant::now();
        assert_eq!(read_to_close(&mut stream), b"");
        // tcp_idle_timeout is 2 s here.
        assert!(
            (Duration::from_secs(1)..Duration::from_secs(20)).contains(&began.elapsed()),
            "{:?}",
            began.elapsed()
        );
    }
    still_answers(&server);
}

#[test]
fn an_idle_connection_does_not_outlive_its_timeout_and_a_busy_one_does() {
    let server = Site::new().start();
    let (mut idle, mut busy) = (connect(&server), connect(&server));
    let message = query("text.gtm.example", RecordType::TXT);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        assert!(exchange_tcp(&mut busy, &message).is_ok());
        std::thread::sleep(Duration::from_millis(200));
    }
    idle.set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    assert!(matches!(idle.read(&mut [0; 1]), Ok(0)), "closed");
}

#[test]
fn pipelined_queries_are_answered_each() {
    let server = Site::new().start();
    let mut stream = connect(&server);
    let mut burst = Vec::new();
    for id in 0..300u16 {
        let mut message = query("text.gtm.example", RecordType::TXT);
        message[..2].copy_from_slice(&id.to_be_bytes());
        burst.extend_from_slice(&(message.len() as u16).to_be_bytes());
        burst.extend_from_slice(&message);
    }
    stream.write_all(&burst).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let bytes = read_to_close(&mut stream);
    let (mut rest, mut ids) = (&bytes[..], Vec::new());
    while let [high, low, after @ ..] = rest {
        let (message, next) = after.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        ids.push(Message::from_vec(message).unwrap().metadata.id);
        rest = next;
    }
    ids.sort_unstable();
    assert_eq!(ids, (0..300).collect::<Vec<_>>());
}
