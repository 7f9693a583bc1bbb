//! Takes the listen addresses, or says of each why not.
//!
//! Every UDP address has one socket per worker, between which the kernel spreads the clients
//! (`SO_REUSEPORT`). The option would also let a second server of the same user share the port in
//! silence, so the first socket of an address is bound without it, which fails when anybody holds
//! the port, and only then opened to its siblings: the port is never free in between.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::num::NonZeroUsize;
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{RcvBufForce, SndBufForce};
use socket2::{Domain, Protocol, Socket, Type};

use super::holder::{self, Holder};
use super::{IDLE, Transport, mmsg};
use crate::config::UdpOptions;

/// Sockets that are bound and that nobody reads yet.
#[derive(Debug)]
pub struct Listeners {
    /// In the order they were listed, with the port in use where 0 was asked for.
    pub(super) addresses: Vec<SocketAddr>,
    /// Address by address, as many as there are workers for each.
    pub(super) udp: Vec<UdpSocket>,
    /// One per address, listening, not blocking.
    pub(super) tcp: Vec<TcpListener>,
    /// The options of the UDP sockets.
    pub(super) options: UdpOptions,
}

impl Listeners {
    /// Counts the threads that serve them: one for each UDP socket, and one for TCP.
    pub fn threads(&self) -> usize {
        self.udp.len() + 1
    }

    /// Says which addresses are not there yet.
    pub fn say_early(&self) {
        self.addresses.iter().copied().for_each(say_early);
    }

    /// The addresses, in the order they were listed; port 0 is replaced by the port in use.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

/// An address that could not be taken, and why.
#[derive(Debug)]
pub struct BindError {
    /// The address as it was listed.
    pub address: SocketAddr,
    /// With which transport.
    pub transport: Transport,
    /// The reason.
    pub failure: BindFailure,
}

/// Reason why an address could not be bound.
#[derive(Debug)]
pub enum BindFailure {
    /// Another process has the port; which one, where that can be seen.
    InUse(Option<Holder>),
    /// This address is covered by a wildcard address that is listed as well.
    Covered(SocketAddr),
    /// The process may not.
    Denied,
    /// A link-local address, which means nothing without its interface.
    NoInterface,
    /// The machine does not speak this version of IP; with the line to write instead.
    NoFamily(String),
    /// Anything else.
    Other(io::Error),
}

/// The hint about the stub of systemd-resolved on 127.0.0.53, port 53.
const RESOLVED: &str = "write DNSStubListener=no below [Resolve] into /etc/systemd/resolved.conf.d/meridian.conf and restart systemd-resolved, \
     or list this machine's addresses one by one instead of the wildcard";

/// Connections that wait to be accepted, per address.
const BACKLOG: i32 = 1024;

/// The time that a UDP thread waits for room in its socket's send buffer, before it gives the
/// answers up.
const SEND_TIMEOUT: Duration = Duration::from_millis(20);

/// The number of times that a port is picked that must be free for both UDP and TCP.
const PORT_PICKS: usize = 16;

/// Those of `addresses` whose version of IP the machine speaks; all of them where it speaks none.
pub fn spoken(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let speaks = |address: &SocketAddr| {
        let socket = Socket::new(
            Domain::for_address(*address),
            Type::DGRAM,
            Some(Protocol::UDP),
        );
        !socket.is_err_and(|error| error.raw_os_error() == Some(libc::EAFNOSUPPORT))
    };
    let (spoken, silent): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(speaks);
    if spoken.is_empty() {
        return silent;
    }
    for address in silent {
        tracing::info!(
            "not listening on {address}: this machine does not speak that version of IP"
        );
    }
    spoken
}

/// Binds every address for UDP, `workers` sockets each, and for TCP. One that no interface has yet is bound all the same: a
/// routing daemon may add it later.
///
/// # Errors
/// All that is wrong, not only the first thing.
pub fn bind(
    addresses: &[SocketAddr],
    workers: NonZeroUsize,
    options: UdpOptions,
) -> Result<Listeners, Vec<BindError>> {
    let mut listeners = Listeners {
        addresses: Vec::new(),
        udp: Vec::new(),
        tcp: Vec::new(),
        options,
    };
    let mut errors = Vec::new();
    for address in addresses {
        if let Some(wildcard) = addresses.iter().find(|other| covers(other, address)) {
            errors.push(BindError::new(
                *address,
                Transport::Udp,
                BindFailure::Covered(*wildcard),
            ));
            continue;
        }
        match bind_both(*address, workers, options) {
            Ok((udp, tcp, taken)) => {
                listeners.udp.extend(udp);
                listeners.tcp.push(tcp);
                listeners.addresses.push(taken);
            }
            Err(found) => errors.extend(found),
        }
    }
    for error in &mut errors {
        if let BindFailure::NoFamily(instead) = &mut error.failure {
            let others = addresses
                .iter()
                .filter(|other| other.is_ipv4() != error.address.is_ipv4());
            let others: Vec<String> = others.map(|other| format!("\"{other}\"")).collect();
            if !others.is_empty() {
                *instead = format!("listen = [{}]", others.join(", "));
            }
        }
    }
    if errors.is_empty() {
        Ok(listeners)
    } else {
        Err(errors)
    }
}

/// Takes an address for the HTTP interface, under the same rules.
///
/// # Errors
/// Why it cannot be had.
pub fn bind_admin(address: SocketAddr) -> Result<TcpListener, BindError> {
    bind_tcp(address)
        .inspect(|_| say_early(address))
        .map_err(|error| {
            let mut error = BindError::explain(address, Transport::Tcp, error);
            if let BindFailure::NoFamily(instead) = &mut error.failure {
                *instead = format!(
                    "listen = \"{}\"",
                    SocketAddr::new(counterpart(address), address.port())
                );
            }
            error
        })
}

/// Binds `socket`, also where no interface has the address yet (`IP_FREEBIND`, ip(7)).
fn bind_early(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match socket.bind(&address.into()) {
        Err(error)
            if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) && !is_switched_off(address) =>
        {
            if address.is_ipv4() {
                socket.set_freebind_v4(true)?;
            } else {
                socket.set_freebind_v6(true)?;
            }
            socket.bind(&address.into())
        }
        bound => bound,
    }
}

/// Says that `address` is not there yet, where that is so: a socket that may not be bound early cannot have it.
fn say_early(address: SocketAddr) {
    let probe = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    );
    let missing = probe.and_then(|probe| probe.bind(&SocketAddr::new(address.ip(), 0).into()));
    if missing.is_err_and(|error| error.raw_os_error() == Some(libc::EADDRNOTAVAIL)) {
        tracing::warn!(
            "{address} is bound, but no interface of this machine has that address yet: it is answered once one has \
             (`ip address` shows them)"
        );
    }
}

/// True when `wildcard` is all addresses of `address`'s family, at the same port, and `address` is only one of them.
fn covers(wildcard: &SocketAddr, address: &SocketAddr) -> bool {
    wildcard.ip().is_unspecified()
        && !address.ip().is_unspecified()
        && wildcard.is_ipv4() == address.is_ipv4()
        && wildcard.port() == address.port()
        && address.port() != 0
}

type Bound = (Vec<UdpSocket>, TcpListener, SocketAddr);

/// Binds one address for UDP and TCP at one port.
fn bind_both(
    address: SocketAddr,
    workers: NonZeroUsize,
    options: UdpOptions,
) -> Result<Bound, Vec<BindError>> {
    // The kernel picks a port that is free for UDP, and another process may have it for TCP.
    let mut picks = if address.port() == 0 { PORT_PICKS } else { 1 };
    loop {
        picks -= 1;
        let udp = bind_udp(address, workers, options);
        let taken = udp.as_ref().map_or(address, |(_, taken)| *taken);
        // A port in use may be so for one transport or both. Every other failure is about the address, and said once.
        let tcp = match &udp {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => None,
            _ => Some(bind_tcp(taken)),
        };
        match (udp, tcp) {
            (Ok((sockets, taken)), Some(Ok(listener))) => return Ok((sockets, listener, taken)),
            (Ok(_), Some(Err(error))) if picks > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            (udp, tcp) => {
                let udp = udp
                    .err()
                    .map(|error| BindError::explain(address, Transport::Udp, error));
                let tcp = tcp
                    .and_then(Result::err)
                    .map(|error| BindError::explain(address, Transport::Tcp, error));
                return Err(udp.into_iter().chain(tcp).collect());
            }
        }
    }
}

fn bind_udp(
    address: SocketAddr,
    workers: NonZeroUsize,
    options: UdpOptions,
) -> io::Result<(Vec<UdpSocket>, SocketAddr)> {
    let first = udp_socket(address, options)?;
    bind_early(&first, address)?;
    // Only after the first is bound: with the option set before, it could bind beside a server that
    // is running, and the kernel would share the queries among both.
    first.set_reuse_port(true)?;
    let first = UdpSocket::from(first);
    let taken = first.local_addr()?;
    let mut sockets = vec![first];
    while sockets.len() < workers.get() {
        let sibling = udp_socket(taken, options)?;
        sibling.set_reuse_port(true)?;
        bind_early(&sibling, taken)?;
        sockets.push(sibling.into());
    }
    Ok((sockets, taken))
}

fn udp_socket(address: SocketAddr, options: UdpOptions) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        // So that `0.0.0.0` and `[::]` can both be listed.
        socket.set_only_v6(true)?;
    }
    mmsg::prepare(&socket, address)?;
    socket.set_read_timeout(Some(IDLE))?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    // The kernel gives what it may: `net.core.rmem_max`, more to a process with CAP_NET_ADMIN. It keeps its books in
    // twice the octets asked for.
    if let Some(octets) = options.receive_buffer {
        socket.set_recv_buffer_size(octets)?;
        // Refused without CAP_NET_ADMIN, which is no failure: `say_smaller` reports what came of
        // it.
        let _ = setsockopt(&socket, RcvBufForce, &octets);
        say_smaller(
            "udp_receive_buffer",
            "net.core.rmem_max",
            octets,
            socket.recv_buffer_size()? / 2,
        );
    }
    if let Some(octets) = options.send_buffer {
        socket.set_send_buffer_size(octets)?;
        let _ = setsockopt(&socket, SndBufForce, &octets);
        say_smaller(
            "udp_send_buffer",
            "net.core.wmem_max",
            octets,
            socket.send_buffer_size()? / 2,
        );
    }
    Ok(socket)
}

fn say_smaller(key: &str, limit: &str, asked: usize, given: usize) {
    if given < asked {
        tracing::warn!(
            "{key} is {given} octets, not {asked}: raise {limit}, or give the process CAP_NET_ADMIN"
        );
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // For TCP this does not share a port that is listened on; it passes over the connections of a server before us that
    // are still being forgotten (TIME_WAIT).
    socket.set_reuse_address(true)?;
    bind_early(&socket, address)?;
    socket.listen(BACKLOG)?;
    // tokio registers sockets and does not change their mode.
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl BindError {
    fn new(address: SocketAddr, transport: Transport, failure: BindFailure) -> BindError {
        BindError {
            address,
            transport,
            failure,
        }
    }

    /// Finds out what the kernel's error means for this address.
    pub fn explain(address: SocketAddr, transport: Transport, error: io::Error) -> BindError {
        let instead = format!(
            "listen = [\"{}\"]",
            SocketAddr::new(counterpart(address), address.port())
        );
        let failure = match error.raw_os_error() {
            Some(libc::EADDRINUSE) => BindFailure::InUse(holder::find(address, transport)),
            Some(libc::EACCES | libc::EPERM) => BindFailure::Denied,
            // Early binding takes an address that no interface has, so what is left is one that
            // none can get.
            Some(libc::EADDRNOTAVAIL) if is_switched_off(address) => BindFailure::NoFamily(instead),
            Some(libc::EAFNOSUPPORT) => BindFailure::NoFamily(instead),
            Some(libc::EINVAL) if needs_interface(address) => BindFailure::NoInterface,
            _ => BindFailure::Other(error),
        };
        BindError::new(address, transport, failure)
    }

    /// Returns the way to solve the problem.
    pub fn hint(&self) -> String {
        let (address, port) = (self.address, self.address.port());
        match &self.failure {
            BindFailure::InUse(Some(holder)) if holder.name == "systemd-resolve" => RESOLVED.to_owned(),
            BindFailure::InUse(Some(holder)) => format!("stop process {} ({}), or choose another port", holder.pid, holder.name),
            BindFailure::InUse(None) => {
                let flag = if self.transport == Transport::Udp { 'u' } else { 't' };
                let resolved = if port == 53 { format!("; where that is systemd-resolved: {RESOLVED}") } else { String::new() };
                format!("`ss -ln{flag}p 'sport = :{port}'`, as root, names the process{resolved}")
            }
            BindFailure::Covered(wildcard) => {
                format!("remove one of the two from `listen`: {wildcard} receives what {address} would")
            }
            BindFailure::Denied if port < 1024 => "ports below 1024 are privileged: run it as the systemd service, or give it \
                 CAP_NET_BIND_SERVICE (setcap cap_net_bind_service=+ep /usr/bin/meridian), or choose a port above 1023"
                .to_owned(),
            BindFailure::Denied => {
                "a security policy forbids it (SELinux, AppArmor, or SocketBindDeny= of the systemd unit)".to_owned()
            }
            BindFailure::NoInterface => {
                format!("write it with the number that `ip link` shows for the interface, such as [{}%2]:{port}", address.ip())
            }
            BindFailure::NoFamily(instead) if address.is_ipv6() => {
                format!(
                    "IPv6 is switched off here (ipv6.disable=1, the sysctl disable_ipv6, or RestrictAddressFamilies= of the systemd \
                     unit): switch it on, or write {instead}"
                )
            }
            BindFailure::NoFamily(instead) => format!("IPv4 is not available to this process: write {instead}"),
            BindFailure::Other(_) => "see the system's log for more".to_owned(),
        }
    }
}

impl fmt::Display for BindError {
    /// Writes the problem, without the hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot listen on {} ({}): ",
            self.address, self.transport
        )?;
        match &self.failure {
            BindFailure::InUse(Some(holder)) => write!(f, "the port is in use: {holder}"),
            BindFailure::InUse(None) => f.write_str("the port is in use by another process"),
            BindFailure::Covered(wildcard) => write!(f, "{wildcard} is listed too and covers it"),
            BindFailure::Denied => f.write_str("permission denied"),
            BindFailure::NoInterface => f.write_str("a link-local address needs its interface"),
            BindFailure::NoFamily(_) => {
                f.write_str("this machine does not speak that version of IP")
            }
            BindFailure::Other(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BindError {}

fn needs_interface(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0)
}

/// The address of the other family that means the same, as far as there is one.
fn counterpart(address: SocketAddr) -> IpAddr {
    match (address.is_ipv6(), address.ip().is_loopback()) {
        (true, true) => Ipv4Addr::LOCALHOST.into(),
        (true, false) => Ipv4Addr::UNSPECIFIED.into(),
        (false, true) => Ipv6Addr::LOCALHOST.into(),
        (false, false) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Reports whether a sysctl takes IPv6 addresses off all interfaces, or the loopback's own for `::1`:
/// then `address` does not come later either.
fn is_switched_off(address: SocketAddr) -> bool {
    let interface = if address.ip().is_loopback() {
        "lo"
    } else {
        "all"
    };
    let sysctl = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
    address.is_ipv6() && std::fs::read_to_string(sysctl).is_ok_and(|value| value.trim() == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NonZeroUsize = NonZeroUsize::MIN;

    fn loopback() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 0).into()
    }

    fn explained(address: &str, error: i32) -> (String, String) {
        let error = BindError::explain(
            address.parse().unwrap(),
            Transport::Udp,
            io::Error::from_raw_os_error(error),
        );
        (error.to_string(), error.hint())
    }

    fn plain(addresses: &[SocketAddr], workers: NonZeroUsize) -> Result<Listeners, Vec<BindError>> {
        bind(addresses, workers, UdpOptions::default())
    }

    #[test]
    fn buffers_are_as_large_as_asked_for_where_the_kernel_allows_it() {
        let options = UdpOptions {
            receive_buffer: Some(65_536),
            send_buffer: Some(32_768),
            ..UdpOptions::default()
        };
        let listeners = bind(&[loopback()], ONE, options).unwrap();
        let socket = socket2::SockRef::from(&listeners.udp[0]);
        assert_eq!(
            (
                socket.recv_buffer_size().unwrap(),
                socket.send_buffer_size().unwrap()
            ),
            (2 * 65_536, 2 * 32_768)
        );
    }

    #[test]
    fn udp_and_tcp_get_the_same_port_and_every_worker_a_socket() {
        let listeners = plain(
            &[loopback(), (Ipv6Addr::LOCALHOST, 0).into()],
            NonZeroUsize::new(3).unwrap(),
        )
        .unwrap();
        assert_eq!(listeners.udp.len(), 6);
        for (address, (udp, tcp)) in listeners
            .addresses
            .iter()
            .zip(listeners.udp.chunks(3).zip(&listeners.tcp))
        {
            assert_ne!(address.port(), 0);
            assert!(
                udp.iter()
                    .all(|socket| socket.local_addr().unwrap() == *address)
            );
            assert_eq!(tcp.local_addr().unwrap(), *address);
        }
    }

    #[test]
    fn a_port_held_by_a_socket_that_would_share_it_is_still_found() {
        let other = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        other.set_reuse_port(true).unwrap();
        other.bind(&loopback().into()).unwrap();
        let address = other.local_addr().unwrap().as_socket().unwrap();
        let errors = plain(&[address], ONE).unwrap_err();
        assert_eq!(errors.len(), 1, "TCP is free: {errors:?}");
        assert!(
            matches!(&errors[0].failure, BindFailure::InUse(Some(holder)) if holder.pid == std::process::id()),
            "{errors:?}"
        );
    }

    #[test]
    fn a_second_server_is_refused_and_both_transports_are_named() {
        let first = plain(&[loopback()], ONE).unwrap();
        let address = first.addresses[0];
        let errors = plain(&[address, "203.0.113.77:5399".parse().unwrap()], ONE).unwrap_err();
        let text: Vec<String> = errors.iter().map(BindError::to_string).collect();
        assert_eq!(text.len(), 2, "{text:?}");
        assert!(
            text[0].starts_with(&format!(
                "cannot listen on {address} (UDP): the port is in use: process "
            )),
            "{}",
            text[0]
        );
        assert!(
            text[1].starts_with(&format!(
                "cannot listen on {address} (TCP): the port is in use: process "
            )),
            "{}",
            text[1]
        );
    }

    #[test]
    fn a_wildcard_meets_the_holder_of_one_address() {
        let held = UdpSocket::bind("127.0.0.53:0").unwrap();
        let errors = plain(
            &[(Ipv4Addr::UNSPECIFIED, held.local_addr().unwrap().port()).into()],
            ONE,
        )
        .unwrap_err();
        assert!(
            errors[0].to_string().contains("127.0.0.53"),
            "{}",
            errors[0]
        );
    }

    #[test]
    fn both_wildcards_can_be_listed_at_one_port_but_not_with_an_address_they_cover() {
        let port = plain(&[(Ipv4Addr::UNSPECIFIED, 0).into()], ONE)
            .unwrap()
            .addresses[0]
            .port();
        let (v4, v6) = (
            (Ipv4Addr::UNSPECIFIED, port).into(),
            (Ipv6Addr::UNSPECIFIED, port).into(),
        );
        assert_eq!(plain(&[v4, v6], ONE).unwrap().addresses, [v4, v6]);
        let errors = plain(&[v4, (Ipv4Addr::LOCALHOST, port).into()], ONE).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert!(
            errors[0]
                .to_string()
                .ends_with(&format!("0.0.0.0:{port} is listed too and covers it")),
            "{}",
            errors[0]
        );
    }

    #[test]
    fn each_failure_has_its_own_words() {
        let (message, hint) = explained("0.0.0.0:53", libc::EACCES);
        assert_eq!(
            message,
            "cannot listen on 0.0.0.0:53 (UDP): permission denied"
        );
        assert!(hint.contains("CAP_NET_BIND_SERVICE") && hint.contains("above 1023"));
        let (_, hint) = explained("0.0.0.0:5353", libc::EPERM);
        assert!(hint.contains("SELinux"), "{hint}");
        let (message, hint) = explained("[::]:53", libc::EAFNOSUPPORT);
        assert!(
            message.ends_with("does not speak that version of IP")
                && hint.contains("IPv6 is switched off"),
            "{hint}"
        );
        assert!(
            hint.ends_with("or write listen = [\"0.0.0.0:53\"]"),
            "{hint}"
        );
        let (message, hint) = explained("[fe80::1]:53", libc::EINVAL);
        assert!(
            message.ends_with("needs its interface") && hint.contains("[fe80::1%2]:53"),
            "{hint}"
        );
        let (message, hint) = explained("203.0.113.77:1", libc::EADDRINUSE);
        assert!(
            message.ends_with("in use by another process")
                && hint.contains("`ss -lnup 'sport = :1'`"),
            "{hint}"
        );
        let (message, _) = explained("0.0.0.0:53", libc::ENOBUFS);
        assert!(message.contains("No buffer space"), "{message}");
    }

    #[test]
    fn an_address_taken_is_given_back_when_another_one_fails() {
        // An address of its own: connections of other tests leave from 127.0.0.1, at any port.
        let own = Ipv4Addr::new(127, 0, 73, 1);
        let free = UdpSocket::bind((own, 0)).unwrap();
        let good = free.local_addr().unwrap();
        drop(free);
        let held = UdpSocket::bind(loopback()).unwrap();
        plain(&[good, held.local_addr().unwrap()], ONE).unwrap_err();
        assert_eq!(plain(&[good], ONE).unwrap().addresses, [good]);
    }
}
