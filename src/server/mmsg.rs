//! Many datagrams per system call, and the address each was sent to.
//!
//! `unsafe` stands here because `recvmmsg` and `sendmmsg` want arrays of headers that
//! point at buffers, and no library offers the sending side with ancillary data of each message's
//! own. The addresses and ancillary data that the kernel writes are read as bytes, in safe code.
//!
//! A [`Batch`] is a row of slots. Slot `i` holds the `i`th datagram received, who sent it, what
//! address it was sent to, and the space for its answer. A header of the incoming row points at
//! slot `i` for ever; a header of the outgoing row is pointed at a slot when its answer is queued,
//! so that queries without an answer leave no gap.

#![allow(
    unsafe_code,
    reason = "recvmmsg, sendmmsg and two socket options have no safe interface"
)]

use std::io;
use std::mem::{offset_of, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use arrayvec::ArrayVec;
use libc::{c_int, c_uint, cmsghdr, iovec, mmsghdr};

use super::{Exchange, Query, Transport, UDP_BUFFER};
use crate::model::Moment;

/// Sleep of [`Batch::receive`] until there is a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// For the first one, as long as the socket's receive timeout; the others are taken only if they are there.
    ForOne,
    /// Not at all.
    No,
}

/// A row of datagrams and their answers. Made on the thread that uses it.
pub(super) struct Batch {
    /// Reached by the kernel through pointers in the headers. In Rust only through `Vec::as_ptr` and `Vec::as_mut_ptr`,
    /// which, other than indexing, leave those pointers valid.
    slots: Vec<Slot>,
    /// Header `i` points at slot `i`.
    incoming: Vec<mmsghdr>,
    /// The first `queued` point at slots whose answer is ready.
    outgoing: Vec<mmsghdr>,
    /// The number of headers of `incoming` that the kernel has written into since they were made
    /// ready.
    received: usize,
    queued: usize,
    /// Datagrams passed over in the last batch.
    passed_over: PassedOver,
    /// Room for ancillary data: 0 on a socket with an address of its own.
    control_size: usize,
    /// The address that the socket is bound to.
    local: SocketAddr,
}

/// Datagrams that cannot be answered, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PassedOver {
    /// Longer than [`QUERY_SIZE`].
    pub(super) too_long: usize,
    /// From port 0, to which nothing can be sent.
    pub(super) nowhere: usize,
}

/// The longest datagram taken, in bytes. We announce room for [`UDP_BUFFER`] (RFC 6891 §6.2.4), and a query needs some 300;
/// but padding makes it longer, and others answer that.
pub(super) const QUERY_SIZE: usize = 4096;

/// One datagram and its answer.
///
/// Its size is an odd number of cache lines: the beginnings of the slots, which is all that short queries and answers
/// touch, then spread over all sets of the first-level cache, and two slots never share a line.
#[repr(C, align(64))]
struct Slot {
    query_at: iovec,
    answer_at: iovec,
    control: Control,
    client: Address,
    query: [u8; QUERY_SIZE],
    answer: [u8; UDP_BUFFER],
}

const _: () = assert!(size_of::<Slot>() / 64 % 2 == 1);

/// A `sockaddr_in` or `sockaddr_in6`, as bytes.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Address([u8; 32]);

/// One control message with an `in_pktinfo` or `in6_pktinfo`, as bytes.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 40]);

const CONTROL_DATA: usize = size_of::<cmsghdr>();
const _: () = assert!(CONTROL_DATA + size_of::<libc::in6_pktinfo>() <= size_of::<Control>());
const _: () = assert!(size_of::<libc::sockaddr_in6>() <= size_of::<Address>());

/// Datagrams handed over at a time.
const GROUP: usize = 32;

impl Batch {
    /// A row of `size` slots, for a socket bound to `local`: where that is a wildcard, every datagram
    /// comes with the address it was sent to, and is answered from there.
    pub(super) fn new(size: usize, local: SocketAddr) -> Batch {
        let wildcard = local.ip().is_unspecified();
        let mut batch = Batch {
            slots: (0..size).map(|_| Slot::empty()).collect(),
            incoming: vec![empty_header(); size],
            outgoing: vec![empty_header(); size],
            received: 0,
            queued: 0,
            passed_over: PassedOver::default(),
            control_size: if wildcard { size_of::<Control>() } else { 0 },
            local,
        };
        for i in 0..size {
            batch.aim(i);
        }
        batch
    }

    /// Takes up to a row of datagrams from `socket` and forgets those of the time before. At least one, or an error: also
    /// when none came within the socket's receive timeout.
    pub(super) fn receive(&mut self, socket: &UdpSocket, wait: Wait) -> io::Result<usize> {
        for i in 0..self.received {
            self.restore(i);
        }
        (self.received, self.queued, self.passed_over) = (0, 0, PassedOver::default());
        let flags = match wait {
            Wait::ForOne => libc::MSG_WAITFORONE,
            Wait::No => libc::MSG_DONTWAIT,
        };
        // At most 1024, by `[server] udp_batch`.
        let count = self.incoming.len() as c_uint;
        // SAFETY: `incoming` has `count` headers. Each points at the name, vector and control buffer of its slot, with their
        // true sizes (`aim`, `restore`); each vector points at the slot's query buffer with its true size. The slots live as
        // long as `self`, their `Vec` never grows, and `&mut self` means that nobody holds a reference into them.
        let result = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.incoming.as_mut_ptr(),
                count,
                flags as _,
                ptr::null_mut(),
            )
        };
        self.received = usize::try_from(result).map_err(|_| io::Error::last_os_error())?;
        Ok(self.received)
    }

    /// Hands every datagram received to `answer`, some at a time, and queues the answers that it
    /// gives. A datagram that was longer than its slot, or came from port 0, cannot be answered and
    /// is passed over. `now` is when the batch was received.
    pub(super) fn answer(&mut self, now: Moment, mut answer: impl FnMut(&mut [Exchange<'_>])) {
        let bound = self.local;
        for first in (0..self.received).step_by(GROUP) {
            let mut indexes: ArrayVec<usize, GROUP> = ArrayVec::new();
            let mut exchanges: ArrayVec<Exchange<'_>, GROUP> = ArrayVec::new();
            for i in first..self.received.min(first + GROUP) {
                let header = &self.incoming[i];
                let (flags, length) = (header.msg_hdr.msg_flags, header.msg_len as usize);
                let has_control = header.msg_hdr.msg_controllen != 0;
                let slot = self.slot_pointer(i);
                // SAFETY: as in `slot`; each slot is taken once, so that no two of these references meet, and none outlives
                // this turn of the loop, in which `self` is left alone but for its headers.
                let Slot {
                    query,
                    answer,
                    client,
                    control,
                    ..
                } = unsafe { &mut *slot };
                let client = client.decode().filter(|client| client.port() != 0);
                match (flags & libc::MSG_TRUNC, client) {
                    (0, Some(client)) => {
                        indexes.push(i);
                        let query = Query {
                            bytes: &query[..length],
                            peer: client,
                            local: if has_control {
                                control.destination(bound)
                            } else {
                                bound
                            },
                            transport: Transport::Udp,
                            now,
                        };
                        exchanges.push(Exchange {
                            query,
                            out: answer,
                            answer: None,
                        });
                    }
                    (0, None) => self.passed_over.nowhere += 1,
                    _ => self.passed_over.too_long += 1,
                }
            }
            answer(&mut exchanges);
            // Copied out, since the exchanges borrow the slots that `reply` writes to.
            let lengths: ArrayVec<Option<usize>, GROUP> =
                exchanges.iter().map(|exchange| exchange.answer).collect();
            for (i, length) in indexes.into_iter().zip(lengths) {
                if let Some(length) = length {
                    self.reply(i, length);
                }
            }
        }
    }

    /// Queues the first `length` bytes of the `i`th answer space.
    ///
    /// # Panics
    /// When that is more than the space, or more answers are queued than datagrams were received.
    fn reply(&mut self, i: usize, length: usize) {
        assert!(i < self.received && self.queued < self.received && length <= UDP_BUFFER);
        // The sizes are those of the query, as the kernel gave them: its address and ancillary data
        // are sent back in place.
        let (name_size, control_size) = (
            self.incoming[i].msg_hdr.msg_namelen,
            self.incoming[i].msg_hdr.msg_controllen,
        );
        let slot = self.slot(i);
        slot.answer_at.iov_len = length;
        if control_size != 0 {
            slot.control.answer_from_there();
        }
        let slot = self.slot_pointer(i);
        let header = &mut self.outgoing[self.queued].msg_hdr;
        header.msg_name = slot.wrapping_byte_add(offset_of!(Slot, client)).cast();
        header.msg_namelen = name_size;
        header.msg_iov = slot.wrapping_byte_add(offset_of!(Slot, answer_at)).cast();
        header.msg_iovlen = 1;
        header.msg_control = if control_size == 0 {
            ptr::null_mut()
        } else {
            slot.wrapping_byte_add(offset_of!(Slot, control)).cast()
        };
        header.msg_controllen = control_size;
        self.queued += 1;
    }

    /// Counts the datagrams of the last batch that cannot be answered.
    pub(super) fn passed_over(&self) -> PassedOver {
        self.passed_over
    }

    /// Counts the queued answers.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Sends the queued answers, and returns how many the kernel took. One that it refuses is passed over. When the
    /// socket's send buffer stays full for the socket's send timeout, the rest is given up: its clients ask again.
    pub(super) fn send(&mut self, socket: &UdpSocket) -> usize {
        let (mut done, mut sent) = (0, 0);
        while done < self.queued {
            let rest = &mut self.outgoing[done..self.queued];
            // SAFETY: `rest` has that many headers, each aimed by `reply` at the name, vector and control buffer of a slot, with
            // sizes that the kernel gave for them on receiving; each vector points at the slot's answer buffer (`aim`) and says
            // at most its size (`reply`). The slots live as long as `self`, and nobody holds a reference into them.
            let result = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    // No more than slots.
                    rest.len() as c_uint,
                    0,
                )
            };
            match usize::try_from(result) {
                // One at least, so that the loop ends whatever the kernel returns.
                Ok(count) => (done, sent) = (done + count.max(1), sent + count),
                Err(_) => match io::Error::last_os_error().kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => break,
                    // sendmmsg(2) reports an error only of the first datagram in the row, so that
                    // one is refused and the next may go.
                    _ => done += 1,
                },
            }
        }
        self.queued = 0;
        sent
    }

    fn slot(&mut self, i: usize) -> &mut Slot {
        let slot = self.slot_pointer(i);
        // SAFETY: `slot` is an initialised element of the row. The kernel touches the row only during the calls in `receive`
        // and `send`, which take `&mut self`, so not while this reference lives.
        unsafe { &mut *slot }
    }

    /// Pointer to slot `i`: inside the row, whatever `i`.
    fn slot_pointer(&mut self, i: usize) -> *mut Slot {
        assert!(i < self.slots.len());
        self.slots.as_mut_ptr().wrapping_add(i)
    }

    /// Points header `i` of the incoming row, and the vectors of slot `i`, at the slot's buffers.
    fn aim(&mut self, i: usize) {
        let slot = self.slot_pointer(i);
        let query = slot.wrapping_byte_add(offset_of!(Slot, query)).cast();
        let answer = slot.wrapping_byte_add(offset_of!(Slot, answer)).cast();
        self.slot(i).query_at = iovec {
            iov_base: query,
            iov_len: QUERY_SIZE,
        };
        self.slot(i).answer_at = iovec {
            iov_base: answer,
            iov_len: 0,
        };
        let header = &mut self.incoming[i].msg_hdr;
        header.msg_name = slot.wrapping_byte_add(offset_of!(Slot, client)).cast();
        header.msg_iov = slot.wrapping_byte_add(offset_of!(Slot, query_at)).cast();
        header.msg_iovlen = 1;
        header.msg_control = slot.wrapping_byte_add(offset_of!(Slot, control)).cast();
        self.restore(i);
    }

    /// Gives header `i` of the incoming row its sizes back, which the kernel overwrites with those of what it received.
    fn restore(&mut self, i: usize) {
        let header = &mut self.incoming[i].msg_hdr;
        // Sizes of a few dozen octets, in the types that each C library has for them.
        header.msg_namelen = size_of::<Address>() as _;
        header.msg_controllen = self.control_size as _;
    }
}

impl Slot {
    fn empty() -> Slot {
        let nowhere = iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        Slot {
            query_at: nowhere,
            answer_at: nowhere,
            control: Control([0; 40]),
            client: Address([0; 32]),
            query: [0; QUERY_SIZE],
            answer: [0; UDP_BUFFER],
        }
    }
}

impl Address {
    /// The address that the kernel wrote; `None` for a family that is neither IPv4 nor IPv6.
    fn decode(&self) -> Option<SocketAddr> {
        let port = u16::from_be_bytes(self.bytes(2));
        match c_int::from(u16::from_ne_bytes(self.bytes(0))) {
            libc::AF_INET => {
                Some(SocketAddrV4::new(Ipv4Addr::from(self.bytes::<4>(4)), port).into())
            }
            libc::AF_INET6 => {
                let scope = u32::from_ne_bytes(self.bytes(24));
                Some(SocketAddrV6::new(Ipv6Addr::from(self.bytes::<16>(8)), port, 0, scope).into())
            }
            _ => None,
        }
    }

    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0[at..at + N].try_into().expect("N bytes were cut out")
    }
}

impl Control {
    /// The address that the datagram was sent to, with the port of `bound`, where the socket is bound;
    /// that itself where the kernel did not say.
    fn destination(&self, bound: SocketAddr) -> SocketAddr {
        match self.kind() {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let address =
                    self.bytes::<4>(CONTROL_DATA + offset_of!(libc::in_pktinfo, ipi_addr));
                SocketAddr::new(Ipv4Addr::from(address).into(), bound.port())
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let address =
                    self.bytes::<16>(CONTROL_DATA + offset_of!(libc::in6_pktinfo, ipi6_addr));
                SocketAddr::new(Ipv6Addr::from(address).into(), bound.port())
            }
            _ => bound,
        }
    }

    /// Turns "received on this interface for this local address" into "send from this local address".
    ///
    /// The interface is cleared, so that the answer takes the route to its client and not the way the query came: those
    /// differ where routing is asymmetric, as on anycast hosts. A link-local IPv6 address means nothing without its
    /// interface and keeps it (RFC 4007 §6).
    fn answer_from_there(&mut self) {
        match self.kind() {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                self.clear(offset_of!(libc::in_pktinfo, ipi_ifindex))
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let local: [u8; 16] =
                    self.bytes(CONTROL_DATA + offset_of!(libc::in6_pktinfo, ipi6_addr));
                if !Ipv6Addr::from(local).is_unicast_link_local() {
                    self.clear(offset_of!(libc::in6_pktinfo, ipi6_ifindex));
                }
            }
            _ => {}
        }
    }

    /// Level and type of the control message.
    fn kind(&self) -> (c_int, c_int) {
        (
            c_int::from_ne_bytes(self.bytes(offset_of!(cmsghdr, cmsg_level))),
            c_int::from_ne_bytes(self.bytes(offset_of!(cmsghdr, cmsg_type))),
        )
    }

    /// Sets the four bytes at `field` of the data to 0.
    fn clear(&mut self, field: usize) {
        self.0[CONTROL_DATA + field..][..4].fill(0);
    }

    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0[at..at + N].try_into().expect("N bytes were cut out")
    }
}

/// Sets the options of a UDP socket that decide what a [`Batch`] sees and how its answers travel.
///
/// On a wildcard socket the kernel adds the address asked to every datagram. What ICMP says of a path's MTU is ignored: our
/// answers fit every path, so a small MTU learnt is a forged one, meant to make us fragment (RFC 9715 §3.1).
pub(super) fn prepare(socket: &socket2::Socket, address: SocketAddr) -> io::Result<()> {
    let wildcard = c_int::from(address.ip().is_unspecified());
    if address.is_ipv4() {
        set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, wildcard)?;
        set_option(
            socket,
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_OMIT,
        )
    } else {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, wildcard)?;
        set_option(
            socket,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_OMIT,
        )
    }
}

/// Datagrams that the kernel had no room for in the socket's receive buffer, modulo 2³².
pub(super) fn drops(socket: &UdpSocket) -> io::Result<u32> {
    let mut memory = [0u32; SK_MEMINFO_VARS];
    // A few dozen octets.
    let mut size = size_of_val(&memory) as libc::socklen_t;
    // SAFETY: the kernel writes at most `size` bytes into `memory`, which is that long, and nobody else looks at it.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            memory.as_mut_ptr().cast(),
            &raw mut size,
        )
    };
    if result == 0 {
        Ok(memory[SK_MEMINFO_DROPS])
    } else {
        Err(io::Error::last_os_error())
    }
}

/// `SO_MEMINFO` of `asm-generic/socket.h`, and the array it gives (`linux/sock_diag.h`).
const SO_MEMINFO: c_int = 55;
const SK_MEMINFO_VARS: usize = 9;
const SK_MEMINFO_DROPS: usize = 8;

fn set_option(socket: &socket2::Socket, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // Four octets.
    let size = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the value is read during the call only, and is as long as `size` says.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            ptr::from_ref(&value).cast(),
            size,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn empty_header() -> mmsghdr {
    // SAFETY: a C structure of integers and pointers, for which all zeros are valid: "no name, no data, no control".
    unsafe { std::mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn sockets(server: &str) -> (UdpSocket, UdpSocket) {
        let server: SocketAddr = server.parse().unwrap();
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(server),
            socket2::Type::DGRAM,
            None,
        )
        .unwrap();
        prepare(&socket, server).unwrap();
        socket.bind(&server.into()).unwrap();
        let client =
            UdpSocket::bind((if server.is_ipv4() { "127.0.0.1" } else { "::1" }, 0)).unwrap();
        let socket = UdpSocket::from(socket);
        for socket in [&socket, &client] {
            socket
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
        }
        (socket, client)
    }

    /// Receives `count` datagrams, which have been sent, and queues each one's content as its answer.
    fn echo(batch: &mut Batch, socket: &UdpSocket, count: usize) {
        assert_eq!(batch.receive(socket, Wait::ForOne).unwrap(), count);
        batch.answer(Moment::default(), |exchanges| {
            for Exchange {
                query, out, answer, ..
            } in exchanges
            {
                out[..query.bytes.len()].copy_from_slice(query.bytes);
                *answer = Some(query.bytes.len());
            }
        });
        assert_eq!(batch.queued(), count);
    }

    fn next(client: &UdpSocket) -> Vec<u8> {
        let mut buffer = [0; 2000];
        let length = client.recv(&mut buffer).unwrap();
        buffer[..length].to_vec()
    }

    #[test]
    fn an_answer_that_the_kernel_refuses_is_passed_over() {
        let (socket, client) = sockets("127.0.0.1:0");
        let mut batch = Batch::new(4, socket.local_addr().unwrap());
        for text in ["a", "b", "c"] {
            client
                .send_to(text.as_bytes(), socket.local_addr().unwrap())
                .unwrap();
        }
        echo(&mut batch, &socket, 3);
        batch.slot(1).client.0[2..4].fill(0);
        assert_eq!(batch.send(&socket), 2);
        assert_eq!(
            (next(&client), next(&client)),
            (b"a".to_vec(), b"c".to_vec())
        );
        batch.slot(0).client.0[2..4].fill(0);
        assert_eq!(batch.send(&socket), 0, "nothing is sent twice");
    }

    #[test]
    fn a_datagram_from_port_0_or_too_long_cannot_be_answered() {
        let (socket, client) = sockets("127.0.0.1:0");
        let mut batch = Batch::new(4, socket.local_addr().unwrap());
        for length in [QUERY_SIZE, QUERY_SIZE + 1, 0] {
            client
                .send_to(&vec![7; length], socket.local_addr().unwrap())
                .unwrap();
        }
        assert_eq!(batch.receive(&socket, Wait::ForOne).unwrap(), 3);
        let mut seen = Vec::new();
        batch.answer(Moment::default(), |exchanges| {
            seen.extend(exchanges.iter().map(|exchange| {
                (
                    exchange.query.bytes.len(),
                    exchange.query.peer,
                    exchange.out.len(),
                )
            }));
        });
        let from = client.local_addr().unwrap();
        assert_eq!(
            seen,
            [(QUERY_SIZE, from, UDP_BUFFER), (0, from, UDP_BUFFER)]
        );
        assert_eq!(
            batch.passed_over(),
            PassedOver {
                too_long: 1,
                nowhere: 0
            }
        );
        batch.slot(2).client.0[2..4].fill(0);
        batch.answer(Moment::default(), |exchanges| {
            assert_eq!(exchanges.len(), 1)
        });
        assert_eq!(batch.queued(), 0);
        assert_eq!(
            batch.passed_over(),
            PassedOver {
                too_long: 2,
                nowhere: 1
            }
        );
    }

    #[test]
    fn a_row_takes_what_there_is_and_leaves_the_rest() {
        let (socket, client) = sockets("[::1]:0");
        let mut batch = Batch::new(2, socket.local_addr().unwrap());
        for n in 0..5 {
            client
                .send_to(&[n; 3], socket.local_addr().unwrap())
                .unwrap();
        }
        for count in [2, 2, 1] {
            echo(&mut batch, &socket, count);
            assert_eq!(batch.send(&socket), count);
        }
        assert_eq!(
            (0..5).map(|_| next(&client)[0]).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4]
        );
        assert_eq!(
            batch.receive(&socket, Wait::No).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
    }

    #[test]
    fn a_wildcard_socket_knows_the_address_asked_and_forgets_the_interface() {
        for (server, asked, interface) in [
            ("0.0.0.0:0", "127.0.0.9", CONTROL_DATA),
            ("[::]:0", "::1", CONTROL_DATA + 16),
        ] {
            let (socket, client) = sockets(server);
            let mut batch = Batch::new(2, socket.local_addr().unwrap());
            client
                .connect((asked, socket.local_addr().unwrap().port()))
                .unwrap();
            client.send(b"q").unwrap();
            assert_eq!(batch.receive(&socket, Wait::ForOne).unwrap(), 1);
            assert_ne!(
                batch.slot(0).control.bytes::<4>(interface),
                [0; 4],
                "it came through lo"
            );
            batch.answer(Moment::default(), |exchanges| {
                exchanges[0].out[0] = b'a';
                exchanges[0].answer = Some(1);
            });
            assert_eq!(batch.slot(0).control.bytes::<4>(interface), [0; 4]);
            assert_eq!(batch.send(&socket), 1);
            assert_eq!(
                next(&client),
                b"a",
                "a connected socket hears only the address it asked"
            );
        }
    }

    #[test]
    fn what_the_kernel_has_no_room_for_is_counted() {
        let (socket, client) = sockets("127.0.0.1:0");
        assert_eq!(drops(&socket).unwrap(), 0);
        socket2::SockRef::from(&socket)
            .set_recv_buffer_size(4096)
            .unwrap();
        let sent = 200;
        (0..sent).for_each(|_| {
            assert_eq!(
                client
                    .send_to(&[0; 512], socket.local_addr().unwrap())
                    .unwrap(),
                512
            )
        });
        let mut batch = Batch::new(256, socket.local_addr().unwrap());
        let received = batch.receive(&socket, Wait::No).unwrap();
        assert!(received < sent);
        assert_eq!(drops(&socket).unwrap() as usize, sent - received);
    }

    #[test]
    fn a_link_local_address_keeps_its_interface() {
        let mut control = Control([0; 40]);
        let interface = CONTROL_DATA + offset_of!(libc::in6_pktinfo, ipi6_ifindex);
        for (address, kept) in [("fe80::1", 3), ("2001:db8::1", 0)] {
            control.0[offset_of!(cmsghdr, cmsg_level)..][..4]
                .copy_from_slice(&libc::IPPROTO_IPV6.to_ne_bytes());
            control.0[offset_of!(cmsghdr, cmsg_type)..][..4]
                .copy_from_slice(&libc::IPV6_PKTINFO.to_ne_bytes());
            control.0[CONTROL_DATA..][..16]
                .copy_from_slice(&address.parse::<Ipv6Addr>().unwrap().octets());
            control.0[interface..][..4].copy_from_slice(&3u32.to_ne_bytes());
            control.answer_from_there();
            assert_eq!(
                u32::from_ne_bytes(control.bytes(interface)),
                kept,
                "{address}"
            );
        }
    }

    #[test]
    #[should_panic(expected = "length <= UDP_BUFFER")]
    fn an_answer_longer_than_its_space_is_never_handed_to_the_kernel() {
        let (socket, client) = sockets("127.0.0.1:0");
        let mut batch = Batch::new(1, socket.local_addr().unwrap());
        client.send_to(b"q", socket.local_addr().unwrap()).unwrap();
        batch.receive(&socket, Wait::ForOne).unwrap();
        batch.reply(0, UDP_BUFFER + 1);
    }
}
