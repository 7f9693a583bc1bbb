//! The process that holds a port: the question every operator asks next.
//!
//! `/proc/net` lists all sockets of the network namespace with their inode numbers, and
//! `/proc/PID/fd` the sockets of each process that we may look into: all for root, our own user's
//! otherwise. Read only when a port could not be had.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Transport;

/// The process that holds a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name, as `ps` shows it (at most 15 characters).
    pub name: String,
    /// The address that it has bound: the one asked for, or one that overlaps with it.
    pub address: SocketAddr,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "process {} ({}) has {}",
            self.pid, self.name, self.address
        )
    }
}

/// The process whose socket keeps `address` from being bound; `None` when we may not see it.
pub(super) fn find(address: SocketAddr, transport: Transport) -> Option<Holder> {
    let tables = match transport {
        Transport::Udp => ["udp", "udp6"],
        Transport::Tcp => ["tcp", "tcp6"],
    };
    // "self": the plain names are hidden from a service with ProcSubset=pid.
    let sockets: Vec<Held> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(format!("/proc/self/net/{table}")).ok())
        .flat_map(|text| text.lines().filter_map(parse_line).collect::<Vec<_>>())
        .filter(|held| held.conflicts_with(address, transport))
        .collect();
    processes().find_map(|pid| owned_by(pid, &sockets))
}

/// A line of `/proc/net/{udp,udp6,tcp,tcp6}`.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    address: SocketAddr,
    listening: bool,
    inode: u64,
}

impl Held {
    fn conflicts_with(&self, wanted: SocketAddr, transport: Transport) -> bool {
        // An IPv6 wildcard socket may hold IPv4's ports too; that it does not is not to be seen here.
        let overlap = self.address.ip() == wanted.ip()
            || self.address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
            || (self.address.is_ipv4() == wanted.is_ipv4()
                && (self.address.ip().is_unspecified() || wanted.ip().is_unspecified()));
        self.address.port() == wanted.port()
            && overlap
            && (transport == Transport::Udp || self.listening)
    }
}

/// The state of a listening TCP socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// Reads `sl local_address rem_address st … inode …`; the address as hexadecimal words of the machine's byte order.
fn parse_line(line: &str) -> Option<Held> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (ip, port) = fields.get(1)?.split_once(':')?;
    let mut octets = Vec::with_capacity(16);
    if ip.len() % 8 != 0 {
        return None;
    }
    for word in ip.as_bytes().chunks(8) {
        octets.extend(
            u32::from_str_radix(std::str::from_utf8(word).ok()?, 16)
                .ok()?
                .to_ne_bytes(),
        );
    }
    let ip = match octets.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?)),
    };
    let address = SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?);
    Some(Held {
        address,
        listening: *fields.get(3)? == LISTEN,
        inode: fields.get(9)?.parse().ok()?,
    })
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The first of `sockets` that `pid` has open.
fn owned_by(pid: u32, sockets: &[Held]) -> Option<Holder> {
    for descriptor in fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten() {
        let Ok(target) = fs::read_link(descriptor.path()) else {
            continue;
        };
        let inode = target.to_str().and_then(|target| {
            target
                .strip_prefix("socket:[")?
                .strip_suffix(']')?
                .parse::<u64>()
                .ok()
        });
        if let Some(held) = sockets.iter().find(|held| Some(held.inode) == inode) {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            return Some(Holder {
                pid,
                name: name.trim().to_owned(),
                address: held.address,
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn a_socket_of_each_kind_is_found() {
        let udp = UdpSocket::bind("[::1]:0").unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        for (address, transport) in [
            (udp.local_addr().unwrap(), Transport::Udp),
            (tcp.local_addr().unwrap(), Transport::Tcp),
        ] {
            let holder = find(address, transport).unwrap();
            assert_eq!((holder.pid, holder.address), (std::process::id(), address));
            assert!(!holder.name.is_empty());
        }
    }

    #[test]
    fn a_connection_from_the_port_is_not_its_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(find(client.local_addr().unwrap(), Transport::Tcp), None);
    }

    #[test]
    fn wildcards_overlap_within_their_family_and_ipv6_may_hold_ipv4() {
        let held = |address: &str| Held {
            address: address.parse().unwrap(),
            listening: true,
            inode: 1,
        };
        let meets = |a: &str, b: &str| held(a).conflicts_with(b.parse().unwrap(), Transport::Tcp);
        assert!(
            meets("127.0.0.53:53", "0.0.0.0:53")
                && meets("0.0.0.0:53", "192.0.2.1:53")
                && meets("[::]:53", "0.0.0.0:53")
        );
        assert!(
            !meets("127.0.0.53:53", "127.0.0.1:53")
                && !meets("0.0.0.0:53", "[::1]:53")
                && !meets("0.0.0.0:54", "0.0.0.0:53")
        );
    }

    #[test]
    fn lines_that_are_not_sockets_are_passed_over() {
        for line in [
            "",
            "  sl  local_address rem_address   st tx_queue",
            "1: 0100007F 0 0A 0 0 0 0 0 7",
            "1: 01:0035 0 0A 0 0 0 0 0 7",
        ] {
            assert_eq!(parse_line(line), None, "{line}");
        }
    }
}
