//! Address families without a route, and other faults that are this node's own.
//!
//! The rule: a probe whose `connect` finds no network (ENETUNREACH, EADDRNOTAVAIL, EAFNOSUPPORT)
//! is not judged when this node has no default route for the family at that time. With a default
//! route ENETUNREACH is a failure like any other. Loopback, unique-local and on-link addresses
//! need no default route: their `connect` works, or fails with errors that are judged. That the
//! route is looked at again with each such failure keeps the loss of a route at run time from
//! taking a whole family down.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use nix::libc;

use crate::health::{FailReason, NotJudged, Phase, Seen};
use crate::model::{Family, Target};

/// True when this node has a default route for `family`. Nothing is sent: connecting a UDP socket
/// only looks up the route to a public address.
pub fn has_route(family: Family) -> bool {
    // a.root-servers.net: public for as long as there is a DNS.
    let (own, public): (SocketAddr, SocketAddr) = match family {
        Family::V4 => (
            (Ipv4Addr::UNSPECIFIED, 0).into(),
            (Ipv4Addr::new(198, 41, 0, 4), 53).into(),
        ),
        Family::V6 => {
            let root = Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30);
            ((Ipv6Addr::UNSPECIFIED, 0).into(), (root, 53).into())
        }
    };
    UdpSocket::bind(own)
        .and_then(|socket| socket.connect(public))
        .is_ok()
}

/// The families that some of `targets` belong to and that have no route, to be said at start.
pub fn unrouted<'a>(targets: impl IntoIterator<Item = &'a Target>) -> Vec<Family> {
    let mut used = [false; 2];
    for target in targets {
        match target {
            Target::Address(address) if address.is_ipv4() => used[Family::V4.index()] = true,
            Target::Address(_) => used[Family::V6.index()] = true,
            // A name is probed on whichever of its addresses answers.
            Target::Name(_) => {}
        }
    }
    Family::BOTH
        .into_iter()
        .filter(|family| used[family.index()] && !has_route(*family))
        .collect()
}

/// Judges what an operating system's error in `phase` says about an endpoint of `family`.
pub(super) fn judge(error: &io::Error, phase: Phase, family: Family) -> Seen {
    let Some(number) = error.raw_os_error() else {
        return Seen::Fail(FailReason::Closed(phase));
    };
    let no_route = || Seen::NotJudged(NotJudged::NoRoute(family));
    match number {
        libc::ECONNREFUSED => Seen::Fail(FailReason::ConnectRefused),
        libc::ETIMEDOUT => Seen::Fail(FailReason::Timeout(phase)),
        libc::ECONNRESET | libc::ECONNABORTED | libc::EPIPE | libc::ENOTCONN => {
            Seen::Fail(FailReason::Closed(phase))
        }
        libc::EAFNOSUPPORT => no_route(),
        libc::ENETUNREACH | libc::EADDRNOTAVAIL if !has_route(family) => no_route(),
        libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN => {
            Seen::Fail(FailReason::Unreachable)
        }
        // With a route, no address is available when the ephemeral ports are used up.
        libc::EADDRNOTAVAIL | libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => {
            Seen::NotJudged(NotJudged::Resources(number))
        }
        _ => Seen::Fail(FailReason::System(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(number: i32, family: Family) -> Seen {
        judge(
            &io::Error::from_raw_os_error(number),
            Phase::Connect,
            family,
        )
    }

    #[test]
    fn errors_have_names() {
        assert_eq!(
            judged(libc::ECONNREFUSED, Family::V4),
            Seen::Fail(FailReason::ConnectRefused)
        );
        assert_eq!(
            judged(libc::EHOSTUNREACH, Family::V4),
            Seen::Fail(FailReason::Unreachable)
        );
        assert_eq!(
            judged(libc::EACCES, Family::V4),
            Seen::Fail(FailReason::System(libc::EACCES))
        );
    }

    #[test]
    fn our_own_faults_are_not_judged() {
        assert_eq!(
            judged(libc::EMFILE, Family::V4),
            Seen::NotJudged(NotJudged::Resources(libc::EMFILE))
        );
        assert_eq!(
            judged(libc::EAFNOSUPPORT, Family::V6),
            Seen::NotJudged(NotJudged::NoRoute(Family::V6))
        );
    }

    #[test]
    fn the_default_route_decides_whether_an_unreachable_network_counts() {
        for family in Family::BOTH {
            let expected = match has_route(family) {
                true => Seen::Fail(FailReason::Unreachable),
                false => Seen::NotJudged(NotJudged::NoRoute(family)),
            };
            assert_eq!(judged(libc::ENETUNREACH, family), expected);
        }
    }

    #[test]
    fn only_families_in_use_are_said() {
        let loopback = Target::Address("127.0.0.1".parse().unwrap());
        assert!(!unrouted([&loopback]).contains(&Family::V6));
        assert!(unrouted([]).is_empty());
    }
}
