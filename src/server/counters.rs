//! Counters of the transports.

use std::net::UdpSocket;
use std::sync::Arc;

use super::mmsg;
use crate::metrics::{Counter, Histogram};

/// The counters of every thread of a [`super::Server`].
#[derive(Debug)]
pub struct ServerCounters {
    /// One per UDP thread.
    pub udp: Vec<UdpCounters>,
    /// Of the TCP thread.
    pub tcp: TcpCounters,
    /// The UDP threads' sockets, which the kernel counts for.
    sockets: Vec<Arc<UdpSocket>>,
}

/// The counters of one UDP thread, of datagrams.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct UdpCounters {
    /// Taken from the socket.
    pub received: Counter,
    /// Answers handed to the kernel.
    pub answered: Counter,
    /// Not answered: the engine's word, longer than any query we announce room for, or from port 0.
    pub dropped: Counter,
    /// Of those, the ones that were longer than any query we take.
    pub too_long: Counter,
    /// Of those, the ones from port 0.
    pub nowhere: Counter,
    /// Answers that the kernel refused, or had no room for.
    pub send_errors: Counter,
    /// Panics survived; the datagrams of that batch went unanswered.
    pub panics: Counter,
    /// Rounds of the thread's loop: at least five a second while it is well.
    pub turns: Counter,
    /// The time from a datagram's receipt to the end of the call that sends its answer, of one batch
    /// in [`SAMPLED`].
    pub latency: Histogram,
}

/// The counters of the TCP thread.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct TcpCounters {
    /// Whole messages received.
    pub received: Counter,
    /// Answers written out, or at least begun.
    pub answered: Counter,
    /// Messages that deserved no answer; their connections were closed.
    pub dropped: Counter,
    /// Connections taken in.
    pub accepted: Counter,
    /// Of those, the ones that have ended.
    pub closed: Counter,
    /// Connections closed at once, since their address already had its share.
    pub refused: Counter,
    /// Connections closed to make room for a new one.
    pub evicted: Counter,
    /// Connections closed because they were idle, or too slow with a message in either direction.
    pub timed_out: Counter,
    /// Times that no connection could be accepted, for lack of file descriptors or memory.
    pub accept_errors: Counter,
    /// Rounds of the thread's clock: five a second while it is well.
    pub turns: Counter,
    /// The time from the moment at which a connection's messages are looked at to their answers, of
    /// the turn that has one answer in [`SAMPLED`].
    pub latency: Histogram,
}

/// The number of batches, or of answers over TCP, of which the time of one is taken: the clock is
/// read once more for that one alone.
pub const SAMPLED: u64 = 64;

impl ServerCounters {
    pub(super) fn new(sockets: Vec<Arc<UdpSocket>>) -> ServerCounters {
        let udp = sockets.iter().map(|_| UdpCounters::default()).collect();
        ServerCounters {
            udp,
            tcp: TcpCounters::default(),
            sockets,
        }
    }

    /// Datagrams that the kernel dropped since the start, because a socket's receive buffer was full: a system call for
    /// each socket. Each socket's count wraps at 2³².
    pub fn overflows(&self) -> u64 {
        self.sockets
            .iter()
            .map(|socket| u64::from(mmsg::drops(socket).unwrap_or(0)))
            .sum()
    }

    /// The sum of one counter over the UDP threads, e.g. `sum_udp(|c| &c.received)`.
    pub fn sum_udp(&self, which: impl Fn(&UdpCounters) -> &Counter) -> u64 {
        self.udp
            .iter()
            .map(|counters| which(counters).get())
            .fold(0, u64::wrapping_add)
    }

    /// The turns of each thread, in the order they were started.
    pub fn turns(&self) -> impl Iterator<Item = u64> {
        self.udp
            .iter()
            .map(|counters| counters.turns.get())
            .chain([self.tcp.turns.get()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(count: usize) -> Vec<Arc<UdpSocket>> {
        (0..count)
            .map(|_| Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap()))
            .collect()
    }

    #[test]
    fn no_two_threads_write_one_cache_line() {
        let counters = ServerCounters::new(sockets(2));
        let start = |c: &UdpCounters| std::ptr::from_ref(c).addr();
        assert_eq!(start(&counters.udp[0]) % 128, 0);
        assert_eq!(start(&counters.udp[1]) % 128, 0);
        assert_eq!(size_of::<UdpCounters>() % 128, 0);
        assert_eq!(std::ptr::from_ref(&counters.tcp).addr() % 128, 0);
    }

    #[test]
    fn a_sum_covers_every_thread() {
        let counters = ServerCounters::new(sockets(3));
        counters.udp.iter().for_each(|c| c.received.add(5));
        assert_eq!(counters.sum_udp(|c| &c.received), 15);
        assert_eq!(counters.sum_udp(|c| &c.dropped), 0);
    }
}
