//! ICMP echo (RFC 792, RFC 4443 §4) over one socket per address family, shared by all probes.
//!
//! The socket is a datagram one where the kernel allows it (`net.ipv4.ping_group_range`), else a raw
//! one (CAP_NET_RAW). A reply finds its probe by the address it comes from and its sequence number,
//! and must bring back the token that was sent; a raw socket hears routers and hosts say that a
//! request did not arrive, too. A thread of its own reads the socket: between the tasks of a first
//! round it would be read too late, and the kernel keeps no more than some hundred replies.
//!
//! Without the permission for either socket nothing is known of any endpoint: that is said once, and
//! no endpoint is judged.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use nix::libc;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::sync::oneshot;

use super::attempt::Attempt;
use super::route;
use crate::health::{FailReason, NotJudged, Phase, Seen};
use crate::model::{Family, IcmpSpec};

/// The token that each request carries first, and each reply brings back.
type Token = [u8; 8];

/// The buffer that is requested from the kernel for unread replies, in bytes; it grants what
/// `net.core.rmem_max` allows.
const RECEIVE_BUFFER: usize = 4 << 20;
/// The pause between two looks of a thread whether its socket is still wanted.
const LOOK_UP: Duration = Duration::from_millis(500);

/// An `icmp` check: the reply comes.
pub(super) async fn probe(spec: &IcmpSpec, attempt: &Attempt<'_>, icmp: &Icmp) -> Result<(), Seen> {
    let family = attempt.family();
    let echoes = icmp.echoes(family)?;
    let failed = |error: io::Error| route::judge(&error, Phase::Response, family);
    let mut request = echoes
        .request(attempt.address.ip(), usize::from(spec.size))
        .map_err(failed)?;
    match (&mut request.answer).await {
        Ok(Answer::Reply) => Ok(()),
        Ok(Answer::Unreachable) => Err(Seen::Fail(FailReason::Unreachable)),
        Err(_) => Err(Seen::NotJudged(NotJudged::Resources(libc::EBADF))),
    }
}

/// Both sockets, each opened when it is first used.
#[derive(Default)]
pub(super) struct Icmp([Mutex<State>; 2]);

#[derive(Default)]
enum State {
    #[default]
    Unopened,
    Open(Arc<Echoes>),
    /// The process may not open one, which only a restart changes.
    Forbidden,
}

impl Icmp {
    fn echoes(&self, family: Family) -> Result<Arc<Echoes>, Seen> {
        let mut state = lock(&self.0[family.index()]);
        if let State::Unopened = *state {
            *state = match Echoes::open(family) {
                Ok(echoes) => State::Open(echoes),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    say_forbidden(family);
                    State::Forbidden
                }
                Err(error) => return Err(route::judge(&error, Phase::Response, family)),
            };
        }
        match &*state {
            State::Open(echoes) => Ok(echoes.clone()),
            State::Unopened | State::Forbidden => Err(Seen::NotJudged(NotJudged::NoIcmp)),
        }
    }
}

impl fmt::Debug for Icmp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Icmp").finish_non_exhaustive()
    }
}

fn say_forbidden(family: Family) {
    tracing::warn!(
        "this node may not send ICMP echo requests over {family}, so icmp checks judge nothing: it needs CAP_NET_RAW, or its group in net.ipv4.ping_group_range"
    );
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The socket of one family, and who waits for what.
struct Echoes {
    family: Family,
    socket: UdpSocket,
    raw: bool,
    /// Tells our requests from those of other processes on a raw socket; a datagram one has its own.
    identifier: u16,
    sequence: AtomicU16,
    waiting: Mutex<HashMap<(IpAddr, u16), Waiter>>,
}

struct Waiter {
    token: Token,
    answer: oneshot::Sender<Answer>,
}

/// The result of a request.
enum Answer {
    Reply,
    Unreachable,
}

/// A request that was sent; dropping it ends the wait.
struct Request<'a> {
    echoes: &'a Echoes,
    key: (IpAddr, u16),
    token: Token,
    answer: oneshot::Receiver<Answer>,
}

impl Echoes {
    fn open(family: Family) -> io::Result<Arc<Echoes>> {
        let (domain, protocol) = match family {
            Family::V4 => (Domain::IPV4, Protocol::ICMPV4),
            Family::V6 => (Domain::IPV6, Protocol::ICMPV6),
        };
        let (raw, socket) = match Socket::new(domain, Type::DGRAM, Some(protocol)) {
            Ok(socket) => (false, socket),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                (true, Socket::new(domain, Type::RAW, Some(protocol))?)
            }
            Err(error) => return Err(error),
        };
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.set_read_timeout(Some(LOOK_UP))?;
        let echoes = Arc::new(Echoes {
            family,
            socket: socket.into(),
            raw,
            identifier: fastrand::u16(..),
            sequence: AtomicU16::new(fastrand::u16(..)),
            waiting: Mutex::default(),
        });
        let (reader, weak) = (echoes.socket.try_clone()?, Arc::downgrade(&echoes));
        std::thread::Builder::new()
            .name("icmp".to_owned())
            .spawn(move || read_replies(&reader, &weak))?;
        Ok(echoes)
    }

    /// Sends a request with `size` bytes of payload, at least those of the token.
    fn request(&self, address: IpAddr, size: usize) -> io::Result<Request<'_>> {
        let token = fastrand::u64(..).to_be_bytes();
        let request = self.expect(address, token);
        let message = echo_request(self.family, self.identifier, request.key.1, token, size);
        // Nothing waits: where the kernel has no room for it, that is this node's fault.
        let flags = libc::MSG_DONTWAIT;
        SockRef::from(&self.socket).send_to_with_flags(
            &message,
            &SocketAddr::new(address, 0).into(),
            flags,
        )?;
        Ok(request)
    }

    /// Waits for the reply to the next sequence number that is free.
    fn expect(&self, address: IpAddr, token: Token) -> Request<'_> {
        let (sender, answer) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        loop {
            let key = (address, self.sequence.fetch_add(1, Ordering::Relaxed));
            if let Entry::Vacant(entry) = waiting.entry(key) {
                entry.insert(Waiter {
                    token,
                    answer: sender,
                });
                return Request {
                    echoes: self,
                    key,
                    token,
                    answer,
                };
            }
        }
    }

    /// Takes in a packet from `source`: whoever waits for it is told.
    fn hear(&self, source: IpAddr, packet: &[u8]) {
        let heard = match self.family {
            Family::V4 => hear_v4(packet, self.raw),
            Family::V6 => hear_v6(packet),
        };
        let Some(heard) = heard else { return };
        if self.raw && heard.identifier != self.identifier {
            return;
        }
        let key = (heard.destination.unwrap_or(source), heard.sequence);
        let mut waiting = lock(&self.waiting);
        if let Entry::Occupied(entry) = waiting.entry(key) {
            let answer = match heard.token {
                Some(token) if token == entry.get().token => Answer::Reply,
                Some(_) => return,
                None => Answer::Unreachable,
            };
            let _ = entry.remove().answer.send(answer);
        }
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        if let Entry::Occupied(entry) = lock(&self.echoes.waiting).entry(self.key)
            && entry.get().token == self.token
        {
            entry.remove();
        }
    }
}

/// Reads the socket until nobody sends on it any more.
fn read_replies(socket: &UdpSocket, echoes: &Weak<Echoes>) {
    let mut buffer = [0; 2048];
    loop {
        let received = socket.recv_from(&mut buffer);
        let Some(echoes) = echoes.upgrade() else {
            return;
        };
        match received {
            Ok((length, source)) => echoes.hear(source.ip(), &buffer[..length]),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            // No error of a socket like this lasts; if one does, it is not to take a core.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// The message of a request. The kernel does ICMPv6's checksum (RFC 3542 §3.1).
fn echo_request(
    family: Family,
    identifier: u16,
    sequence: u16,
    token: Token,
    size: usize,
) -> Vec<u8> {
    let kind = match family {
        Family::V4 => 8,
        Family::V6 => 128,
    };
    let mut message = vec![kind, 0, 0, 0];
    message.extend([identifier.to_be_bytes(), sequence.to_be_bytes()].concat());
    message.extend(token);
    message.resize(8 + size.max(token.len()), b'm');
    let checksum = checksum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&checksum);
    message
}

/// The Internet checksum (RFC 1071).
fn checksum(message: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let sum: u32 = message.chunks(2).map(word).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    // The lower 16 bits: a second carry leaves none above them.
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// A packet's statement about an echo request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EchoHeard {
    /// Of the request.
    pub identifier: u16,
    /// Of the request.
    pub sequence: u16,
    /// The token in a reply; `None` where a router reports that the request did not arrive.
    pub token: Option<[u8; 8]>,
    /// Destination of a request that did not arrive; a reply comes from there.
    pub destination: Option<IpAddr>,
}

/// Reads a packet of ICMP, after its IPv4 header where it comes `with_header`.
pub fn hear_v4(packet: &[u8], with_header: bool) -> Option<EchoHeard> {
    let message = if with_header {
        after_ipv4_header(packet)?
    } else {
        packet
    };
    match message.first()? {
        0 => reply(message),
        // Destination unreachable, time exceeded: with the header of what was sent, and 8 bytes more.
        3 | 11 => {
            let quoted = message.get(8..)?;
            let to: [u8; 4] = quoted.get(16..20)?.try_into().ok()?;
            if quoted[9] != 1 {
                return None;
            }
            lost(after_ipv4_header(quoted)?, 8, Ipv4Addr::from(to).into())
        }
        _ => None,
    }
}

/// Reads a message of ICMPv6.
pub fn hear_v6(message: &[u8]) -> Option<EchoHeard> {
    match message.first()? {
        129 => reply(message),
        // Destination unreachable, packet too big, time exceeded: with as much as fits of what was sent.
        1..=3 => {
            let quoted = message.get(8..)?;
            let to: [u8; 16] = quoted.get(24..40)?.try_into().ok()?;
            if quoted[6] != 58 {
                return None;
            }
            lost(&quoted[40..], 128, Ipv6Addr::from(to).into())
        }
        _ => None,
    }
}

fn after_ipv4_header(packet: &[u8]) -> Option<&[u8]> {
    let first = packet.first()?;
    let length = usize::from(first & 0x0f) * 4;
    if first >> 4 == 4 && length >= 20 {
        packet.get(length..)
    } else {
        None
    }
}

fn reply(message: &[u8]) -> Option<EchoHeard> {
    let token = message.get(8..16)?.try_into().ok()?;
    Some(EchoHeard {
        identifier: word(message, 4)?,
        sequence: word(message, 6)?,
        token: Some(token),
        destination: None,
    })
}

/// A request of this `kind` to `destination` that did not arrive.
fn lost(request: &[u8], kind: u8, destination: IpAddr) -> Option<EchoHeard> {
    if request.first() != Some(&kind) {
        return None;
    }
    let (identifier, sequence) = (word(request, 4)?, word(request, 6)?);
    Some(EchoHeard {
        identifier,
        sequence,
        token: None,
        destination: Some(destination),
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOKEN: Token = *b"12345678";

    fn ipv4(payload: &[u8], options: usize) -> Vec<u8> {
        let mut packet = vec![
            0x45 + options as u8,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            64,
            1,
            0,
            0,
            192,
            0,
            2,
            7,
            192,
            0,
            2,
            9,
        ];
        packet.resize(packet.len() + 4 * options, 1);
        packet.extend(payload);
        packet
    }

    #[test]
    fn the_checksum_of_a_message_with_its_checksum_is_zero() {
        for size in [8, 9, 56, 1400] {
            assert_eq!(
                checksum(&echo_request(Family::V4, 0xbeef, 7, TOKEN, size)),
                0
            );
        }
    }

    #[test]
    fn replies_bring_back_what_was_sent() {
        let heard = EchoHeard {
            identifier: 0xbeef,
            sequence: 7,
            token: Some(TOKEN),
            destination: None,
        };
        let mut reply = echo_request(Family::V4, 0xbeef, 7, TOKEN, 56);
        reply[0] = 0;
        assert_eq!(hear_v4(&reply, false), Some(heard));
        assert_eq!(hear_v4(&ipv4(&reply, 3), true), Some(heard));
        assert_eq!(hear_v4(&reply[..15], false), None);
        reply[0] = 129;
        assert_eq!(hear_v6(&reply), Some(heard));
    }

    #[test]
    fn requests_that_did_not_arrive_are_known_by_what_is_quoted() {
        let lost = |to: &str| EchoHeard {
            identifier: 0xbeef,
            sequence: 7,
            token: None,
            destination: Some(to.parse().unwrap()),
        };
        // No more than the eight bytes that RFC 792 asks for.
        let request = &echo_request(Family::V4, 0xbeef, 7, TOKEN, 56)[..8];
        let unreachable = [&[3, 1, 0, 0, 0, 0, 0, 0], &ipv4(request, 0)[..]].concat();
        assert_eq!(
            hear_v4(&ipv4(&unreachable, 0), true),
            Some(lost("192.0.2.9"))
        );
        let redirect = [&[5, 1, 0, 0, 0, 0, 0, 0], &ipv4(request, 0)[..]].concat();
        assert_eq!(hear_v4(&redirect, false), None);
        let mut quoted = vec![0x60, 0, 0, 0, 0, 64, 58, 64];
        quoted.extend(Ipv6Addr::LOCALHOST.octets());
        quoted.extend("2001:db8::9".parse::<Ipv6Addr>().unwrap().octets());
        quoted.extend(echo_request(Family::V6, 0xbeef, 7, TOKEN, 56));
        assert_eq!(
            hear_v6(&[&[1, 3, 0, 0, 0, 0, 0, 0], &quoted[..]].concat()),
            Some(lost("2001:db8::9"))
        );
        quoted[6] = 17;
        assert_eq!(
            hear_v6(&[&[1, 3, 0, 0, 0, 0, 0, 0], &quoted[..]].concat()),
            None
        );
    }

    proptest! {
        #[test]
        fn anything_may_be_heard(packet in prop::collection::vec(any::<u8>(), 0..120), kind in prop::sample::select(vec![0u8, 1, 3, 11, 129, 0x45, 0x4f])) {
            let mut packet = packet;
            if let Some(first) = packet.first_mut() {
                *first = kind;
            }
            for heard in [hear_v4(&packet, true), hear_v4(&packet, false), hear_v6(&packet)].into_iter().flatten() {
                prop_assert!(heard.token.is_some() != heard.destination.is_some());
            }
        }
    }
}
