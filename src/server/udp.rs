//! One UDP socket and the thread that blocks on it.
//!
//! The thread takes what is there, up to a batch of datagrams with one system call, answers each
//! into its own slot and sends all answers with a second call. It has no event loop: a thread has
//! one socket, so it sleeps in the kernel's receive call, which is the shortest way to wake up.

use std::any::Any;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::counters::SAMPLED;
use super::mmsg::{Batch, PassedOver, Wait};
use super::{Engine, UdpCounters};
use crate::clock::Clock;

/// Batches that a thread answers at most when it shall leave: more than a socket's queue holds, and yet an end under a flood.
const DRAIN: usize = 256;

/// The address of a socket that cannot tell its own.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Pause of a thread after an error of its socket that no peer has made.
const PAUSE: Duration = Duration::from_millis(10);

/// Serves one socket until `stop`, then answers what is left in its queue.
///
/// A panic of the engine costs the rest of its batch and is counted; the thread goes on, since a socket that nobody reads
/// would swallow its share of all queries.
pub(super) fn serve(
    socket: &UdpSocket,
    batch: usize,
    mut engine: impl Engine,
    counters: &UdpCounters,
    stop: &AtomicBool,
) {
    // A bound socket has an address; without one, datagrams would only say less of where they went.
    let local = socket.local_addr().unwrap_or(NOWHERE);
    let mut batch = Batch::new(batch, local);
    while guarded(counters, || {
        serve_until(stop, socket, &mut batch, &mut engine, counters)
    })
    .is_err()
    {}
    // The kernel has given these datagrams to this socket and to no other: unread they would be
    // lost.
    for _ in 0..DRAIN {
        if let Ok(Err(_)) = guarded(counters, || {
            turn(Wait::No, socket, &mut batch, &mut engine, counters)
        }) {
            break;
        }
    }
}

/// Runs `work`, and counts a panic in it.
fn guarded<T>(counters: &UdpCounters, work: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    // The engine may be left half way through an answer: its buffers are overwritten by the next one, and the batch starts
    // anew with the next receive.
    catch_unwind(AssertUnwindSafe(work)).inspect_err(|_| counters.panics.increment())
}

fn serve_until(
    stop: &AtomicBool,
    socket: &UdpSocket,
    batch: &mut Batch,
    engine: &mut impl Engine,
    counters: &UdpCounters,
) {
    while !stop.load(Ordering::Relaxed) {
        counters.turns.increment();
        match turn(Wait::ForOne, socket, batch, engine, counters) {
            Ok(()) => {}
            // Without queries too: an idle thread would otherwise keep an old snapshot for ever.
            Err(error) if is_silence(&error) => engine.refresh(),
            #[expect(
                clippy::disallowed_methods,
                reason = "the socket fails: there is nobody to answer meanwhile"
            )]
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Receives a batch, answers it, sends the answers.
fn turn(
    wait: Wait,
    socket: &UdpSocket,
    batch: &mut Batch,
    engine: &mut impl Engine,
    counters: &UdpCounters,
) -> io::Result<()> {
    let received = batch.receive(socket, wait)?;
    engine.refresh();
    // Once for the batch: its queries came within microseconds of each other.
    let now = Clock.now();
    batch.answer(now, |exchanges| engine.answer_all(exchanges));
    let queued = batch.queued();
    let sent = batch.send(socket);
    // Whole batches are sampled, since their answers leave together; each counts for all of them.
    if counters.turns.get().is_multiple_of(SAMPLED) {
        counters.latency.record(Clock.now().since(now), sent as u64);
    }
    // Counted after sending: nobody waits for numbers.
    counters.received.add(received as u64);
    counters.dropped.add((received - queued) as u64);
    let PassedOver { too_long, nowhere } = batch.passed_over();
    counters.too_long.add(too_long as u64);
    counters.nowhere.add(nowhere as u64);
    counters.answered.add(sent as u64);
    counters.send_errors.add((queued - sent) as u64);
    Ok(())
}

/// Nothing came in time, a signal came instead, or an ICMP message about an earlier answer did.
fn is_silence(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable,
        TimedOut, WouldBlock,
    };
    matches!(
        error.kind(),
        WouldBlock
            | TimedOut
            | Interrupted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | NetworkUnreachable
    )
}
