//! The edge of both HTTP interfaces: which connections may be open, how long each may take, and by which names they
//! may be asked.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::access::Caller;
use crate::config::TcpLimits;
use crate::server::{Admission, Admitted, Ticket};

/// Connections of the admin address at once: probes of a load balancer, scrapers and operators need a few each.
pub const CONNECTIONS: usize = 64;
/// Connections of the control socket at once.
pub const LOCAL_CONNECTIONS: usize = 16;
/// Connections beyond those that may be open for a moment, while others make room for them.
const MAKING_ROOM: usize = 4;

/// Header lines of a request; browsers send about 20.
const MAX_HEADERS: usize = 64;
/// Octets of a request's head.
const MAX_HEAD: usize = 16 * 1024;
/// The time that a client may take for a request's head, or send none.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// The time for which a client's kernel may leave a response standing.
const TAKE_TIME: Duration = Duration::from_secs(30);

/// Sees that the connections of `listener` end when their clients take nothing any more.
pub(super) fn prepare(listener: &std::net::TcpListener) -> io::Result<()> {
    SockRef::from(listener).set_tcp_user_timeout(Some(TAKE_TIME))
}

/// Serves `routes` on `listener` for as long as the runtime lives, to `connections` at once. A new one takes the place of
/// the one that has asked nothing for the longest time.
pub(super) async fn serve<L: Identify>(mut listener: L, connections: usize, routes: Router) {
    let limits = TcpLimits {
        connections,
        connections_per_address: usize::MAX,
        idle_timeout: HEAD_TIME,
    };
    let open = Arc::new(Mutex::new(Admission::new(limits)));
    let descriptors = Arc::new(Semaphore::new(connections + MAKING_ROOM));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_headers(MAX_HEADERS)
        // hyper's defaults would let each client hold 400 KiB.
        .max_buf_size(MAX_HEAD);
    loop {
        // Taken before accepting: connections that wait stay in the kernel's queue and use no
        // descriptor.
        let descriptor = descriptors
            .clone()
            .acquire_owned()
            .await
            .expect("it is never closed");
        let (stream, address) = listener.accept().await;
        let caller = L::caller(&stream, &address);
        // Evicting the idlest lets an operator in, however many connections somebody leaves open.
        let Some(Admitted { ticket, evict, .. }) = lock(&open).admit(ANYBODY, Instant::now())
        else {
            continue;
        };
        let place = Place {
            ticket,
            open: open.clone(),
        };
        let routes = TowerToHyperService::new(routes.clone());
        let http = http.clone();
        tokio::spawn(async move {
            let answer = service_fn(|mut request| {
                if let Some(caller) = &caller {
                    hyper::Request::extensions_mut(&mut request).insert(caller.clone());
                }
                // A request makes a connection useful; one that only stays open is the first to go.
                lock(&place.open).useful(place.ticket, Instant::now());
                routes.call(request)
            });
            tokio::select! {
                // Eviction wins over a request that arrives at the same moment: its place is
                // already given away.
                biased;
                () = evict.notified() => {}
                _ = http.serve_connection(TokioIo::new(stream), answer) => {}
            }
            drop(descriptor);
        });
    }
}

/// A listener that knows who connects.
pub(super) trait Identify: Listener {
    /// The party at the other end of a connection; `None` where it is nobody that is known.
    fn caller(stream: &Self::Io, address: &Self::Addr) -> Option<Caller>;
}

impl Identify for TcpListener {
    fn caller(_: &TcpStream, address: &SocketAddr) -> Option<Caller> {
        let is_local = address.ip().to_canonical().is_loopback();
        is_local.then_some(Caller::Loopback)
    }
}

impl Identify for UnixListener {
    fn caller(stream: &UnixStream, _: &tokio::net::unix::SocketAddr) -> Option<Caller> {
        let credentials = stream.peer_cred().ok()?;
        Some(Caller::Local(credentials.uid()))
    }
}

/// Nobody has a share of their own.
const ANYBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// A connection's place among the open ones, given back however its task ends.
struct Place {
    ticket: Ticket,
    open: Arc<Mutex<Admission>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.open).leave(self.ticket);
    }
}

fn lock(open: &Mutex<Admission>) -> std::sync::MutexGuard<'_, Admission> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Refuses requests for names that are not ours.
///
/// A web page can be read from a name whose owner then points it at this address (DNS rebinding); the browser takes what it
/// gets from here for that page's own. The name is in the request. An address cannot be pointed elsewhere, and so passes.
pub(super) async fn check_host(
    State(hosts): State<Arc<[String]>>,
    request: Request,
    next: Next,
) -> Response {
    match misdirected(&request, &hosts) {
        None => next.run(request).await,
        Some(refusal) => refusal,
    }
}

fn misdirected(request: &Request, hosts: &[String]) -> Option<Response> {
    let bad = || {
        Some(
            (
                StatusCode::BAD_REQUEST,
                "a request must name exactly one host\n",
            )
                .into_response(),
        )
    };
    let mut written = request.headers().get_all(header::HOST).iter();
    let authority = match (written.next(), written.next()) {
        // Browsers speak no HTTP/1.0; some probes of load balancers do.
        (None, _) if request.version() < Version::HTTP_11 => return None,
        (Some(host), None) => host
            .to_str()
            .ok()
            .and_then(|host| host.parse::<Authority>().ok()),
        _ => None,
    };
    // "the host component of the request-target" comes first where it has one (RFC 9112 §3.2.2).
    let Some(authority) = request.uri().authority().cloned().or(authority) else {
        return bad();
    };
    // Brackets and a final dot are other spellings of the same host.
    let host = authority
        .host()
        .trim_matches(['[', ']'])
        .to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    if host == "localhost"
        || host.parse::<IpAddr>().is_ok()
        || hosts.iter().any(|known| known == host)
    {
        return None;
    }
    let why = format!(
        "{host} is not a name of this server: use an address, or list the name in [admin]: hosts = [\"{host}\"]\n"
    );
    Some((StatusCode::MISDIRECTED_REQUEST, why).into_response())
}
