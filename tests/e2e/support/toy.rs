//! HTTP servers that can be killed and come back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Net;
use super::net::HTTP;

/// Answers every request with 200 until dropped; then its port refuses connections.
pub(crate) struct Toy {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Toy {
    pub(crate) fn start(address: SocketAddr) -> Toy {
        let listener = TcpListener::bind(address).expect("the toy's address is free");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let _ = stream.and_then(answer);
            }
        });
        Toy {
            address,
            stop,
            thread: Some(thread),
        }
    }

    /// The endpoints of dublin, ashburn and tokyo.
    pub(crate) fn regions(net: Net) -> [Toy; 3] {
        [11, 12, 13].map(|host| Toy::start((net.host(host), HTTP).into()))
    }

    /// Kills it; what starts it again.
    pub(crate) fn kill(self) -> impl FnOnce() -> Toy {
        let address = self.address;
        drop(self);
        move || Toy::start(address)
    }
}

impl Drop for Toy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread out of its wait for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => request.extend_from_slice(&buffer[..length]),
        }
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
}
