//! The edge of both HTTP interfaces: which connections may be open, how long each may take, and who is at their other
//! end.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::gate::{Denial, Door, Gate, Peer};
use super::problem::Problem;
use crate::config::TcpLimits;
use crate::server::{Admission, Admitted, Ticket};

/// Connections of the control socket at once.
pub const LOCAL_CONNECTIONS: usize = 16;
/// Connections of the control socket beside these on which a stream of events is under way.
pub const LOCAL_STREAMS: usize = 16;
/// Connections beyond those that may be open for a moment, while others make room for them.
const MAKING_ROOM: usize = 4;

/// Header lines of a request; browsers send about 20.
const MAX_HEADERS: usize = 64;
/// Octets of a request's head.
const MAX_HEAD: usize = 16 * 1024;
/// The time that a client may take for a request's head or for the handshake of TLS, or send none.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// The time for which a client's kernel may leave a response standing.
const TAKE_TIME: Duration = Duration::from_secs(30);
/// The seconds after which a client may ask for a stream again.
const STREAM_WAIT: u32 = 10;

/// Sees that the connections of `listener` end when their clients take nothing any more.
pub(super) fn prepare(listener: &std::net::TcpListener) -> io::Result<()> {
    SockRef::from(listener).set_tcp_user_timeout(Some(TAKE_TIME))
}

/// The open connections of listeners that share their limits.
#[derive(Clone)]
pub(super) struct Edge {
    open: Arc<Mutex<Admission>>,
    descriptors: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    gate: Arc<Gate>,
    http: http1::Builder,
}

impl Edge {
    /// No connections, and at most so many at once: `connections` on which requests are answered, and `streams` on which
    /// a stream is under way.
    pub(super) fn new(connections: usize, streams: usize, gate: Arc<Gate>) -> Edge {
        let limits = TcpLimits {
            connections,
            connections_per_address: usize::MAX,
            idle_timeout: HEAD_TIME,
        };
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_headers(MAX_HEADERS)
            // hyper's defaults would let each client hold 400 KiB.
            .max_buf_size(MAX_HEAD);
        Edge {
            open: Arc::new(Mutex::new(Admission::new(limits))),
            descriptors: Arc::new(Semaphore::new(connections + MAKING_ROOM)),
            streams: Arc::new(Semaphore::new(streams)),
            gate,
            http,
        }
    }

    /// Serves `routes` on `listener` for as long as the runtime lives. A new connection takes the place of the one that
    /// has asked nothing for the longest time.
    pub(super) async fn serve<L: Identify>(self, mut listener: L, door: Door, routes: Router) {
        loop {
            // Taken before accepting: connections that wait stay in the kernel's queue and use no
            // descriptor.
            let descriptor = self
                .descriptors
                .clone()
                .acquire_owned()
                .await
                .expect("it is never closed");
            let (stream, address) = listener.accept().await;
            let peer = L::peer(&stream, &address, door);
            // Evicting the idlest lets an operator in, however many connections somebody leaves open.
            let admitted = lock(&self.open).admit(ANYBODY, Instant::now());
            let (Some(admitted), Some(peer)) = (admitted, peer) else {
                continue;
            };
            let Admitted { ticket, evict, .. } = admitted;
            let place = Arc::new(Place::take(self.clone(), ticket, descriptor));
            let acceptor = match door.is_exposed {
                false => None,
                true => match self.gate.certificate.acceptor() {
                    Some(acceptor) => Some(acceptor),
                    // Without a certificate there is nothing to say, and nothing in the clear.
                    None => continue,
                },
            };
            let connection = Connection {
                routes: routes.clone(),
                peer,
                place,
            };
            let http = self.http.clone();
            tokio::spawn(async move {
                tokio::select! {
                    // Eviction wins over a request that arrives at the same moment: its place is
                    // already given away.
                    biased;
                    () = evict.notified() => {}
                    () = connection.serve(stream, acceptor, &http) => {}
                }
            });
        }
    }
}

/// A connection that was let in.
struct Connection {
    routes: Router,
    peer: Peer,
    place: Arc<Place>,
}

impl Connection {
    async fn serve<S>(self, stream: S, acceptor: Option<TlsAcceptor>, http: &http1::Builder)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(acceptor) = acceptor else {
            return self.answer(stream, http).await;
        };
        // An error is the client's: it may be a probe of ports, or one that does not trust us.
        if let Ok(Ok(stream)) = tokio::time::timeout(HEAD_TIME, acceptor.accept(stream)).await {
            self.answer(stream, http).await;
        }
    }

    async fn answer<S>(self, stream: S, http: &http1::Builder)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let routes = TowerToHyperService::new(self.routes);
        let (peer, place) = (self.peer, self.place);
        let answer = service_fn(|mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer);
            // A request makes a connection useful; one that only stays open is the first to go.
            place.is_useful();
            let (answer, place) = (routes.call(request), place.clone());
            async move {
                let Ok(response) = answer.await;
                Ok::<_, Infallible>(place.settle(response))
            }
        });
        // An error is the client's: it has gone, or it does not speak HTTP.
        let _ = http.serve_connection(TokioIo::new(stream), answer).await;
    }
}

/// A listener that knows who connects.
pub(super) trait Identify: Listener {
    /// The party at the other end of a connection that came through `door`; `None` where the system does not say.
    fn peer(stream: &Self::Io, address: &Self::Addr, door: Door) -> Option<Peer>;
}

impl Identify for TcpListener {
    fn peer(_: &TcpStream, address: &SocketAddr, door: Door) -> Option<Peer> {
        Some(Peer::Address(address.ip().to_canonical(), door))
    }
}

impl Identify for UnixListener {
    fn peer(stream: &UnixStream, _: &tokio::net::unix::SocketAddr, _: Door) -> Option<Peer> {
        let credentials = stream.peer_cred().ok()?;
        Some(Peer::User(credentials.uid()))
    }
}

/// Nobody has a share of their own.
const ANYBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// A connection's place among the open ones, given back however its task ends.
struct Place {
    edge: Edge,
    held: Mutex<Held>,
}

/// The place that a connection has, with the permit that goes back when it is dropped.
enum Held {
    /// One among those on which requests are answered.
    Ordinary {
        ticket: Ticket,
        _descriptor: OwnedSemaphorePermit,
    },
    /// One among the streams, which nobody takes away.
    Stream { _stream: OwnedSemaphorePermit },
}

impl Place {
    fn take(edge: Edge, ticket: Ticket, descriptor: OwnedSemaphorePermit) -> Place {
        let connections = &edge.gate.counts.connections;
        connections.fetch_add(1, Ordering::Relaxed);
        Place {
            held: Mutex::new(Held::Ordinary {
                ticket,
                _descriptor: descriptor,
            }),
            edge,
        }
    }

    fn is_useful(&self) {
        if let Held::Ordinary { ticket, .. } = &*lock(&self.held) {
            lock(&self.edge.open).useful(*ticket, Instant::now());
        }
    }

    /// Gives a connection whose response is a stream a place among these; the response of one that finds none is a
    /// problem.
    fn settle(&self, mut response: Response) -> Response {
        let kind = response.headers().get(header::CONTENT_TYPE);
        let is_stream = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let mut held = lock(&self.held);
        let (true, Held::Ordinary { ticket, .. }) = (is_stream, &*held) else {
            return response;
        };
        let Ok(stream) = self.edge.streams.clone().try_acquire_owned() else {
            let counts = &self.edge.gate.counts;
            counts.deny(Denial::Streams);
            let why = format!("all streams are taken; ask again in {STREAM_WAIT} s");
            return Problem::new(StatusCode::SERVICE_UNAVAILABLE, why)
                .breaking("too-many-streams")
                .with_header(header::RETRY_AFTER, HeaderValue::from(STREAM_WAIT))
                .into_response();
        };
        lock(&self.edge.open).leave(*ticket);
        let counts = &self.edge.gate.counts;
        counts.connections.fetch_sub(1, Ordering::Relaxed);
        counts.streams.fetch_add(1, Ordering::Relaxed);
        *held = Held::Stream { _stream: stream };
        // The connection ends with the stream: as an idle one it would keep its place.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
        response
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let counts = &self.edge.gate.counts;
        match &*lock(&self.held) {
            Held::Ordinary { ticket, .. } => {
                lock(&self.edge.open).leave(*ticket);
                counts.connections.fetch_sub(1, Ordering::Relaxed);
            }
            Held::Stream { .. } => {
                counts.streams.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use futures_util::StreamExt;
    use futures_util::stream;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn ask(address: SocketAddr, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// Text that comes, up to `end` at least.
    async fn hear(stream: &mut TcpStream, end: &str) -> String {
        let mut heard = String::new();
        let mut buffer = [0; 512];
        while !heard.contains(end) {
            let read = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await;
            let length = read.expect("something comes").unwrap();
            assert_ne!(length, 0, "closed after {heard:?}");
            heard += &String::from_utf8_lossy(&buffer[..length]);
        }
        heard
    }

    #[tokio::test]
    async fn streams_have_places_of_their_own_that_nobody_takes_away() {
        let events = async || {
            let beats = stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Some((Ok::<_, Infallible>("data: x\n\n"), ()))
            });
            (
                [(header::CONTENT_TYPE, "text/event-stream")],
                Body::from_stream(beats.boxed()),
            )
        };
        let routes = Router::new()
            .route("/events", get(events))
            .route("/ok", get(async || "ok\n"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Arc::new(Gate::default());
        let door = Door {
            is_exposed: false,
            is_for_pushes: false,
        };
        tokio::spawn(Edge::new(2, 1, gate.clone()).serve(listener, door, routes));

        let mut first = ask(address, "/events").await;
        assert!(hear(&mut first, "data: x").await.contains("200 OK"));
        let refused = hear(&mut ask(address, "/events").await, "ask again").await;
        assert!(
            refused.contains("503") && refused.contains("retry-after: 10"),
            "{refused}"
        );
        // More connections than there are places for: the stream is none of those that make room.
        let mut others = Vec::new();
        for _ in 0..5 {
            let mut other = ask(address, "/ok").await;
            hear(&mut other, "ok\n").await;
            others.push(other);
        }
        hear(&mut first, "data: x").await;
        assert_eq!(gate.counts.streams.load(Ordering::Relaxed), 1);
        drop((first, others));
        let mut waited = Duration::ZERO;
        while gate.counts.streams.load(Ordering::Relaxed) > 0
            || gate.counts.connections.load(Ordering::Relaxed) > 0
        {
            assert!(waited < PATIENCE);
            tokio::time::sleep(Duration::from_millis(20)).await;
            waited += Duration::from_millis(20);
        }
        let mut again = ask(address, "/events").await;
        assert!(hear(&mut again, "data: x").await.contains("200 OK"));
    }
}
