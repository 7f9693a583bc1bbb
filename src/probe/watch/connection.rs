//! One connection: how it is opened, and what ends it.
//!
//! Where a check speaks HTTP/1.1, or nothing at all, nothing is sent. Inside TLS the state of TLS is
//! dropped after the handshake, and what the peer sends is read without being deciphered: that a
//! connection ends shows without, and the state would be several times as large as all the rest.

use std::io::{self, Read, Write};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::frames::{Frames, OPENING};
use crate::health::{Phase, Seen};
use crate::model::{CheckKind, HttpVersion, TlsSpec};
use crate::probe::attempt::Attempt;
use crate::probe::keeper::End;
use crate::probe::report::Report;
use crate::probe::tls::{Alpn, Tls};
use crate::probe::{http, tcp, tls};

/// Pause between two keep-alive segments that are not answered, and the number of them.
const KEEPALIVE_PAUSE: Duration = Duration::from_secs(1);
const KEEPALIVES: u32 = 3;
/// Octets that the peer may send within a [`MINUTE`]; banners, pings and TLS tickets are far below.
const MOST_OCTETS: usize = 64 << 10;
const MINUTE: Duration = Duration::from_secs(60);
/// Octets that the least of what the peer sends counts as: it wakes a thread.
const OF_A_WAKE: usize = 256;
/// Octets that are read at once.
const AT_ONCE: usize = 4096;

/// A connection that is held.
pub(in crate::probe) struct Connection {
    stream: TcpStream,
    reading: Reading,
}

/// The protocol inside a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// None that this node speaks.
    Nothing,
    /// HTTP/2.
    Http2,
    /// HTTP/2 if the server chooses it in the handshake.
    Either,
}

/// The state of what is read.
struct Reading {
    /// Where HTTP/2 is read.
    frames: Option<Frames>,
    allowance: Allowance,
}

/// Octets that the peer may still send.
struct Allowance {
    left: usize,
    since: Instant,
}

impl Connection {
    /// Connects to the attempt's address, and goes on as far as its check does without a request.
    pub(in crate::probe) async fn open(
        attempt: &Attempt<'_>,
        connectors: &Tls,
    ) -> Result<Connection, Seen> {
        let (tls, inside) = protocols(&attempt.check.spec.kind);
        match tls {
            None => open_clear(attempt, inside).await,
            Some(tls) => Box::pin(open_inside(tls, inside, attempt, connectors)).await,
        }
    }

    /// Waits for the end.
    pub(in crate::probe) async fn hold(mut self) -> End {
        let Connection { stream, reading } = &mut self;
        let ended = stream
            .async_io(Interest::READABLE, || reading.take_in(stream))
            .await;
        ended.unwrap_or(End::Lost)
    }
}

/// TLS and what is spoken in it, for checks of this kind.
fn protocols(kind: &CheckKind) -> (Option<&TlsSpec>, Inside) {
    match kind {
        CheckKind::Http(http) if http.version == HttpVersion::Two => (None, Inside::Http2),
        CheckKind::Https(http, tls) => {
            let inside = match http.version {
                HttpVersion::Auto => Inside::Either,
                HttpVersion::One => Inside::Nothing,
                HttpVersion::Two => Inside::Http2,
            };
            (Some(tls), inside)
        }
        CheckKind::Tls(tls) => (Some(tls), Inside::Nothing),
        CheckKind::Grpc(grpc) => (grpc.tls.as_ref(), Inside::Http2),
        _ => (None, Inside::Nothing),
    }
}

async fn open_clear(attempt: &Attempt<'_>, inside: Inside) -> Result<Connection, Seen> {
    let mut stream = tcp::connect(attempt.address).await?;
    keep_alive(&stream, attempt).map_err(|error| judge(&error, attempt))?;
    let mut reading = Reading::new();
    if inside == Inside::Http2 {
        stream
            .write_all(OPENING)
            .await
            .map_err(|error| judge(&error, attempt))?;
        reading.frames = Some(Frames::default());
    }
    Ok(Connection { stream, reading })
}

async fn open_inside(
    spec: &TlsSpec,
    inside: Inside,
    attempt: &Attempt<'_>,
    connectors: &Tls,
) -> Result<Connection, Seen> {
    let (named, alpn) = match &attempt.check.spec.kind {
        CheckKind::Https(http, _) => (http.host.as_deref(), http::alpn(http.version)),
        CheckKind::Grpc(grpc) => (grpc.host.as_deref(), Alpn::Http2),
        _ => (None, Alpn::None),
    };
    let own = attempt.named();
    let mut stream = tls::open(
        spec,
        alpn,
        attempt.address,
        named.unwrap_or(&own),
        connectors,
        // Nobody is told how the handshake went: the probe before it passed.
        &mut Report::start(Phase::Connect),
    )
    .await?;
    keep_alive(stream.get_ref().0, attempt).map_err(|error| judge(&error, attempt))?;
    let chosen_two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    if inside != Inside::Nothing && chosen_two {
        greet(&mut stream)
            .await
            .map_err(|error| judge(&error, attempt))?;
    }
    Ok(Connection {
        stream: stream.into_inner().0,
        reading: Reading::new(),
    })
}

/// Begins HTTP/2, until both sides know the other's settings: a server may end a connection that
/// does not get as far.
async fn greet(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    stream.write_all(OPENING).await?;
    stream.flush().await?;
    let (mut frames, mut allowance) = (Frames::default(), Allowance::new());
    let mut buffer = [0; 512];
    while !frames.is_settled {
        let read = stream.read(&mut buffer).await?;
        if read == 0 || !allowance.takes(read) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let mut replies = Vec::new();
        frames
            .read(&buffer[..read], &mut replies)
            .map_err(|_| io::ErrorKind::ConnectionAborted)?;
        stream.write_all(&replies).await?;
    }
    stream.flush().await
}

/// Has the kernel ask whether the peer is there. An ICMP error says nothing here: the kernel ignores
/// one about a keep-alive segment, which lies outside of the window.
fn keep_alive(stream: &TcpStream, attempt: &Attempt<'_>) -> io::Result<()> {
    let socket = SockRef::from(stream);
    // Unlike a probe's, this connection ends in order where it ends on this side: a server may log
    // a reset.
    socket.set_linger(None)?;
    let idle = Duration::from_secs(attempt.check.spec.interval.as_secs().max(1));
    let keepalive = TcpKeepalive::new()
        .with_time(idle)
        .with_interval(KEEPALIVE_PAUSE)
        .with_retries(KEEPALIVES);
    socket.set_tcp_keepalive(&keepalive)?;
    // What was sent and is not acknowledged is waited for no longer.
    socket.set_tcp_user_timeout(Some(idle + KEEPALIVES * KEEPALIVE_PAUSE))?;
    Ok(())
}

fn judge(error: &io::Error, attempt: &Attempt<'_>) -> Seen {
    tls::judge(error, Phase::Connect, attempt.family())
}

impl Reading {
    fn new() -> Reading {
        Reading {
            frames: None,
            allowance: Allowance::new(),
        }
    }

    /// Takes in what has come; the error is "would block" while the connection goes on.
    fn take_in(&mut self, stream: &TcpStream) -> io::Result<End> {
        let socket = SockRef::from(stream);
        let mut buffer = [0; AT_ONCE];
        loop {
            match (&*socket).read(&mut buffer) {
                Ok(0) => return Ok(End::Lost),
                Ok(read) if !self.allowance.takes(read) => return Ok(End::Talkative),
                Ok(read) => {
                    if let Some(end) = self.answer(&buffer[..read], &socket) {
                        return Ok(end);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => return Ok(End::Lost),
            }
        }
    }

    /// Answers what HTTP/2 wants answered.
    fn answer(&mut self, octets: &[u8], socket: &socket2::Socket) -> Option<End> {
        let frames = self.frames.as_mut()?;
        let mut replies = Vec::new();
        if frames.read(octets, &mut replies).is_err() {
            return Some(End::Lost);
        }
        if replies.is_empty() {
            return None;
        }
        // A peer that does not even read a few octets is not waited for.
        let sent = (&mut &*socket).write(&replies).ok();
        (sent != Some(replies.len())).then_some(End::Lost)
    }
}

impl Allowance {
    fn new() -> Allowance {
        Allowance {
            left: MOST_OCTETS,
            since: Instant::now(),
        }
    }

    /// True where the peer may send as much now.
    fn takes(&mut self, octets: usize) -> bool {
        if self.since.elapsed() >= MINUTE {
            *self = Allowance::new();
        }
        self.left = self.left.saturating_sub(octets.max(OF_A_WAKE));
        self.left > 0
    }
}
