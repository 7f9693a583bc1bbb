//! Admission of TCP connections: limits in all and per client.
//!
//! A client beyond its share is refused. When all places are taken, the connection that has been
//! useless the longest gives way to the new one: a server is thus not closed to everyone by a few
//! who hold connections and ask nothing (RFC 7766 §6.2.3 lets a server close what is idle).

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::TcpLimits;

/// The open connections.
pub(crate) struct Admission {
    limits: TcpLimits,
    open: HashMap<Ticket, Connection, foldhash::fast::RandomState>,
    per_client: HashMap<IpAddr, usize, foldhash::fast::RandomState>,
    next: u64,
}

/// One connection's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ticket(u64);

/// A connection taken in.
pub(crate) struct Admitted {
    /// Its place, to be given back with [`Admission::leave`].
    pub(crate) ticket: Ticket,
    /// Told when the connection has to make room.
    pub(crate) evict: Arc<Notify>,
    /// Another connection was told to make room for this one.
    pub(crate) instead: bool,
}

struct Connection {
    client: IpAddr,
    /// Moment of its last answer, or of its opening.
    useful: Instant,
    evict: Arc<Notify>,
}

impl Admission {
    /// No connections, and at most `limits` of them.
    pub(crate) fn new(limits: TcpLimits) -> Admission {
        Admission {
            limits,
            open: HashMap::default(),
            per_client: HashMap::default(),
            next: 0,
        }
    }

    /// Takes a connection in, or `None` where its client has its share already.
    pub(crate) fn admit(&mut self, client: IpAddr, now: Instant) -> Option<Admitted> {
        let client = accountable(client);
        if self
            .per_client
            .get(&client)
            .is_some_and(|open| *open >= self.limits.connections_per_address)
        {
            return None;
        }
        // The client's share is checked before: otherwise one client at its limit could push out
        // all others.
        let instead = self.open.len() >= self.limits.connections && self.evict_one();
        let (ticket, evict) = (Ticket(self.next), Arc::new(Notify::new()));
        self.next += 1;
        *self.per_client.entry(client).or_default() += 1;
        self.open.insert(
            ticket,
            Connection {
                client,
                useful: now,
                evict: evict.clone(),
            },
        );
        Some(Admitted {
            ticket,
            evict,
            instead,
        })
    }

    /// The connection has just had an answer.
    pub(crate) fn useful(&mut self, ticket: Ticket, now: Instant) {
        if let Some(connection) = self.open.get_mut(&ticket) {
            connection.useful = now;
        }
    }

    /// The connection has ended. One that was told to make room has left already.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        let Some(connection) = self.open.remove(&ticket) else {
            return;
        };
        if let Entry::Occupied(mut open) = self.per_client.entry(connection.client) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }

    fn evict_one(&mut self) -> bool {
        let Some((ticket, connection)) = self
            .open
            .iter()
            // The one that has been useless for longest; of equals the oldest. A search of all,
            // since it only happens at the limit.
            .min_by_key(|(ticket, connection)| (connection.useful, ticket.0))
        else {
            return false;
        };
        // The place is free at once and the connection ends when its task next runs: the new one
        // need not wait for that.
        connection.evict.notify_one();
        let ticket = *ticket;
        self.leave(ticket);
        true
    }
}

/// Returns the address that a connection counts for: an IPv4 address, or an IPv6 /64, since one
/// host can use all addresses of its /64.
fn accountable(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn admission(connections: usize, connections_per_address: usize) -> (Admission, Instant) {
        let limits = TcpLimits {
            connections,
            connections_per_address,
            idle_timeout: Duration::from_secs(10),
        };
        (Admission::new(limits), Instant::now())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn told(admitted: &Admitted) -> bool {
        use std::task::{Context, Poll, Waker};
        let notified = std::pin::pin!(admitted.evict.notified());
        notified.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn a_client_has_its_share_and_gets_a_place_back_when_it_leaves() {
        let (mut admission, now) = admission(10, 2);
        let first = admission.admit(ip("192.0.2.1"), now).unwrap();
        admission.admit(ip("192.0.2.1"), now).unwrap();
        assert!(admission.admit(ip("192.0.2.1"), now).is_none());
        assert!(admission.admit(ip("192.0.2.2"), now).is_some());
        admission.leave(first.ticket);
        admission.leave(first.ticket);
        assert!(admission.admit(ip("192.0.2.1"), now).is_some());
        assert!(admission.admit(ip("192.0.2.1"), now).is_none());
    }

    #[test]
    fn an_ipv6_client_is_its_64() {
        let (mut admission, now) = admission(10, 1);
        assert!(admission.admit(ip("2001:db8::1"), now).is_some());
        assert!(admission.admit(ip("2001:db8::ffff:0:0:2"), now).is_none());
        assert!(admission.admit(ip("2001:db8:0:1::1"), now).is_some());
    }

    #[test]
    fn the_connection_useless_the_longest_makes_room() {
        let (mut admission, start) = admission(2, 5);
        let busy = admission.admit(ip("192.0.2.1"), start).unwrap();
        let idle = admission
            .admit(ip("192.0.2.2"), start + Duration::from_secs(1))
            .unwrap();
        admission.useful(busy.ticket, start + Duration::from_secs(2));
        let new = admission
            .admit(ip("192.0.2.3"), start + Duration::from_secs(3))
            .unwrap();
        assert!(new.instead && told(&idle) && !told(&busy) && !told(&new));
        admission.leave(idle.ticket);
        assert_eq!((admission.open.len(), admission.per_client.len()), (2, 2));
    }

    #[test]
    fn nothing_is_remembered_of_clients_that_left() {
        let (mut admission, now) = admission(4, 4);
        let tickets: Vec<Ticket> = (0..4)
            .map(|n| {
                admission
                    .admit(ip(&format!("192.0.2.{n}")), now)
                    .unwrap()
                    .ticket
            })
            .collect();
        tickets
            .into_iter()
            .for_each(|ticket| admission.leave(ticket));
        assert_eq!((admission.open.len(), admission.per_client.len()), (0, 0));
    }
}
