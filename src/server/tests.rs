//! Whole servers on loopback sockets, with an engine of the tests' own.

mod tcp;
mod udp;

use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Engine, Messages, Query, Response, Server, ServerCounters, Transport, bind};
use crate::answer::DropReason;
use crate::config::{TcpLimits, UdpOptions};

/// Longer than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers a query with itself, QR set, and the transport's name behind it. Drops what is shorter than a header or an
/// answer. Some contents make it misbehave; after `stream` that many messages follow the first.
#[derive(Clone, Default)]
struct Parrot {
    refreshed: Arc<AtomicUsize>,
}

/// The same message again and again, each with the number of those that are still to come in its id.
struct Echoes {
    left: u16,
    message: Vec<u8>,
}

impl Messages for Echoes {
    fn next(&mut self, out: &mut [u8]) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        self.message[..2].copy_from_slice(&self.left.to_be_bytes());
        out[..self.message.len()].copy_from_slice(&self.message);
        Some(self.message.len())
    }
}

impl Engine for Parrot {
    type Rest = Echoes;

    fn refresh(&mut self) {
        self.refreshed.fetch_add(1, Ordering::Relaxed);
    }

    fn answer(&mut self, asked: &Query<'_>, out: &mut [u8]) -> Response<Echoes> {
        let query = asked.bytes;
        if query.len() < 12 || query[2] & 0x80 != 0 {
            return Response::Drop(DropReason::NotAQuery);
        }
        let content = &query[12..];
        assert!(!content.starts_with(b"panic"), "as asked for");
        if content.starts_with(b"brief") {
            std::thread::sleep(Duration::from_millis(1));
        }
        if content.starts_with(b"slow") {
            std::thread::sleep(Duration::from_millis(400));
        }
        let mut answer = query.to_vec();
        answer.extend(asked.transport.to_string().bytes());
        if content.starts_with(b"where") {
            answer.extend(format!(" {} {}", asked.peer, asked.local).bytes());
        }
        let length = if content.starts_with(b"huge") {
            out.len()
        } else {
            answer.len().min(out.len())
        };
        out[..answer.len().min(length)].copy_from_slice(&answer[..answer.len().min(length)]);
        out[2] |= 0x80;
        if let Some(count) = content.strip_prefix(b"stream") {
            let left = String::from_utf8_lossy(count).parse().unwrap();
            let message = out[..length].to_vec();
            return Response::Stream(length, Echoes { left, message });
        }
        Response::Send(length)
    }
}

/// A query with 12 bytes of header.
fn query(id: u16, content: &str) -> Vec<u8> {
    let mut query = id.to_be_bytes().to_vec();
    query.extend([0; 10]);
    query.extend(content.as_bytes());
    query
}

/// The answer of [`Parrot`] to [`query`].
fn answer(id: u16, content: &str, transport: Transport) -> Vec<u8> {
    let mut answer = query(id, content);
    answer[2] |= 0x80;
    answer.extend(transport.to_string().bytes());
    answer
}

fn limits() -> TcpLimits {
    TcpLimits {
        connections: 100,
        connections_per_address: 50,
        idle_timeout: PATIENCE,
    }
}

/// A server on `addresses` with `workers` each.
fn start(addresses: &[&str], workers: usize, limits: TcpLimits) -> Server {
    let addresses: Vec<SocketAddr> = addresses
        .iter()
        .map(|address| address.parse().unwrap())
        .collect();
    let listeners = bind(
        &addresses,
        NonZeroUsize::new(workers).unwrap(),
        UdpOptions::default(),
    )
    .unwrap();
    Server::start(listeners, limits, |_| Parrot::default()).unwrap()
}

/// A UDP client that hears `server` only.
fn udp_client(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((if server.is_ipv4() { "127.0.0.1" } else { "::" }, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

/// Waits until what the server counts is as expected; counters may come a moment after the answers.
fn eventually(server: &Server, expected: impl Fn(&ServerCounters) -> bool) {
    let counters = server.counters();
    let deadline = Instant::now() + PATIENCE;
    while !expected(&counters) {
        assert!(Instant::now() < deadline, "{counters:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn threads_that_go_round_are_not_stalled_and_those_that_stand_still_are() {
    let server = start(&["127.0.0.1:0"], 1, limits());
    let mut stalls = server.stalls();
    for seen in 0..3 {
        eventually(&server, |c| {
            c.udp[0].turns.get() > 2 * seen && c.tcp.turns.get() > 2 * seen
        });
        assert!(stalls.stalled().is_empty());
    }
    server.stop.store(true, Ordering::Relaxed);
    while !server.threads[0].is_finished() {
        std::thread::yield_now();
    }
    stalls.stalled();
    assert!(stalls.stalled().contains(&"udp-0".to_owned()));
}

#[test]
fn an_idle_server_still_takes_up_new_snapshots() {
    let listeners = bind(
        &["127.0.0.1:0".parse().unwrap()],
        NonZeroUsize::MIN,
        UdpOptions::default(),
    )
    .unwrap();
    let mut per_thread = Vec::new();
    let server = Server::start(listeners, limits(), |_| {
        let engine = Parrot::default();
        per_thread.push(engine.refreshed.clone());
        engine
    })
    .unwrap();
    eventually(&server, |_| {
        per_thread
            .iter()
            .all(|refreshed| refreshed.load(Ordering::Relaxed) >= 2)
    });
}
