//! Clients: one query, a stream of queries, and a GET.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};

use super::PATIENCE;

/// A query message with RD set, as stubs send it.
pub(crate) fn query(name: &str, rtype: RecordType) -> Vec<u8> {
    let mut message = Message::new(1, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
    message.to_vec().unwrap()
}

/// A UDP socket connected to `server`.
pub(crate) fn udp(server: SocketAddr) -> UdpSocket {
    let here = if server.is_ipv4() {
        "127.0.0.1:0"
    } else {
        "[::1]:0"
    };
    let socket = UdpSocket::bind(here).unwrap();
    socket.connect(server).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(3)))
        .unwrap();
    socket
}

/// One message over TCP and its answer.
pub(crate) fn exchange_tcp(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(&[&(message.len() as u16).to_be_bytes(), message].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// What a client got and when.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) at: Instant,
    /// The response code, or why there is none.
    pub(crate) code: Result<ResponseCode, String>,
    /// The rdata of the answers.
    pub(crate) rdata: Vec<String>,
}

/// Asks one question again and again.
pub(crate) struct Client {
    socket: UdpSocket,
    message: Vec<u8>,
    id: u16,
}

impl Client {
    pub(crate) fn new(server: SocketAddr, name: &str, rtype: RecordType) -> Client {
        Client {
            socket: udp(server),
            message: query(name, rtype),
            id: 0,
        }
    }

    /// Waits for an answer no longer than that.
    pub(crate) fn with_patience(self, patience: Duration) -> Client {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        self
    }

    /// Asks once, without a second try.
    pub(crate) fn ask(&mut self) -> Answer {
        self.id = self.id.wrapping_add(1);
        self.message[..2].copy_from_slice(&self.id.to_be_bytes());
        let (code, rdata) = match self.exchange() {
            Ok(answer) => (
                Ok(answer.metadata.response_code),
                answer
                    .answers
                    .iter()
                    .map(|record| record.data.to_string())
                    .collect(),
            ),
            Err(why) => (Err(why), Vec::new()),
        };
        Answer {
            at: Instant::now(),
            code,
            rdata,
        }
    }

    fn exchange(&self) -> Result<Message, String> {
        self.socket
            .send(&self.message)
            .map_err(|error| error.to_string())?;
        let mut buffer = [0; 4096];
        loop {
            let length = self
                .socket
                .recv(&mut buffer)
                .map_err(|error| error.to_string())?;
            let answer = Message::from_vec(&buffer[..length]).map_err(|error| error.to_string())?;
            if answer.metadata.id == self.id {
                return Ok(answer);
            }
        }
    }
}

/// A client that asks all the time on a thread of its own.
pub(crate) struct Hammer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Answer>>,
}

impl Hammer {
    /// Asks every `pause`.
    pub(crate) fn start(server: SocketAddr, name: &str, pause: Duration) -> Hammer {
        let mut client = Client::new(server, name, RecordType::A);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut answers = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                answers.push(client.ask());
                std::thread::sleep(pause);
            }
            answers
        });
        Hammer { stop, thread }
    }

    /// Ends it: every answer, of which none may be an error, empty or missing.
    #[track_caller]
    pub(crate) fn stop(self) -> Vec<Answer> {
        self.stop.store(true, Ordering::Relaxed);
        let answers = self.thread.join().unwrap();
        for answer in &answers {
            assert!(
                answer.code == Ok(ResponseCode::NoError) && !answer.rdata.is_empty(),
                "{answer:?}"
            );
        }
        answers
    }
}

/// Status and body of a GET.
pub(crate) fn get(server: SocketAddr, path: &str) -> (u16, String) {
    request(server, "GET", path, "")
}

/// Status and body of a GET with these header lines.
pub(crate) fn get_with(server: SocketAddr, path: &str, headers: &str) -> (u16, String) {
    request(server, "GET", path, headers)
}

/// Status and body of a POST with these header lines and no body.
pub(crate) fn post(server: SocketAddr, path: &str, headers: &str) -> (u16, String) {
    request(server, "POST", path, headers)
}

fn request(server: SocketAddr, method: &str, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server).expect("the admin address answers");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {server}\r\n{headers}Connection: close\r\n\r\n"
    )
    .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").expect("a head and a body");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .expect("a status");
    assert!(
        !head
            .to_ascii_lowercase()
            .contains("transfer-encoding: chunked"),
        "the body is sent whole"
    );
    (status, body.to_owned())
}
