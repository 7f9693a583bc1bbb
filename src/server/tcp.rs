//! DNS over TCP (RFC 7766): one thread, one event loop, one engine for all connections.
//!
//! A connection is a task that takes turns: answer every whole message that has come, in order
//! and into one buffer; write that out; read more. A message has the idle timeout to arrive and
//! again to leave, in all and not per byte, so a peer that trickles bytes is cut off like a silent one.
//!
//! An answer of several messages ([`Messages`]) takes its turns the same way: no more of it is made
//! than is written out next, and what the client asked behind it waits for its end.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinSet, LocalSet, yield_now};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::admission::{Admission, Admitted, Ticket};
use super::counters::SAMPLED;
use super::{
    Engine, IDLE, Messages, Query, Response, ServerCounters, TCP_BUFFER, TcpCounters, Transport,
};
use crate::clock::Clock;
use crate::config::TcpLimits;

/// The time that open exchanges may take to finish when the server stops.
const GRACE: Duration = Duration::from_secs(1);

/// The pause before the next connection is accepted after the kernel had no descriptor or memory
/// for one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Space made for reading, in bytes: a burst of pipelined queries, or the beginning of a long message.
const READ_SIZE: usize = 4096;

/// Answers are written out when there are this many bytes of them, and buffers longer than this are not kept.
const WRITE_SIZE: usize = 16 * 1024;

/// Messages of one connection that are answered in a turn, before its answers are written out.
const TURN: usize = 32;

/// A turn with so many messages is followed by those of the others; one with fewer most likely has to wait for its client.
const LONG_TURN: usize = 8;

/// The most bytes that the kernel may keep for a connection in either direction; it keeps its books
/// in twice that. By itself it lets a client that asks and does not read have megabytes.
const SOCKET_BUFFER: usize = 16 * 1024;

/// Connections beyond those that may be open for a moment, while others make room for them.
const MAKING_ROOM: usize = 8;

/// The parts that the connections share. It is made before its thread, and moves there.
pub(super) struct Service<E> {
    worker: Worker<E>,
    limits: TcpLimits,
    counters: Arc<ServerCounters>,
    stop: watch::Receiver<bool>,
}

/// The engine and the space it answers into.
struct Worker<E> {
    engine: E,
    answer: Box<[u8]>,
}

impl<E: Engine> Service<E> {
    pub(super) fn new(
        limits: TcpLimits,
        engine: E,
        counters: Arc<ServerCounters>,
        stop: watch::Receiver<bool>,
    ) -> Service<E> {
        let worker = Worker {
            engine,
            answer: vec![0; TCP_BUFFER].into_boxed_slice(),
        };
        Service {
            worker,
            limits,
            counters,
            stop,
        }
    }
}

/// Registers the listeners with the event loop. Their connections inherit what is set here.
pub(super) fn register(
    runtime: &Runtime,
    listeners: Vec<std::net::TcpListener>,
    limits: &TcpLimits,
) -> io::Result<Vec<TcpListener>> {
    let _context = runtime.enter();
    for listener in listeners.iter().map(SockRef::from) {
        listener.set_send_buffer_size(SOCKET_BUFFER)?;
        listener.set_recv_buffer_size(SOCKET_BUFFER)?;
        // Also of a connection that is closed, and whose client leaves the last answers standing.
        listener.set_tcp_user_timeout(Some(limits.idle_timeout))?;
    }
    listeners.into_iter().map(TcpListener::from_std).collect()
}

/// Serves `listeners` until told to stop; then open exchanges finish, within [`GRACE`].
pub(super) fn serve<E: Engine + 'static>(
    runtime: &Runtime,
    listeners: Vec<TcpListener>,
    service: Service<E>,
) {
    let shared = Rc::new(Shared {
        admission: RefCell::new(Admission::new(service.limits)),
        worker: RefCell::new(service.worker),
        // Counted apart from admission: one that was told to make room has left its place there,
        // but has its descriptor until its task ends.
        descriptors: Arc::new(Semaphore::new(service.limits.connections + MAKING_ROOM)),
        idle_timeout: service.limits.idle_timeout,
        counters: service.counters,
        stop: service.stop,
    });
    runtime.block_on(async {
        let tasks = LocalSet::new();
        tasks
            .run_until(accept_until_stopped(listeners, &shared))
            .await;
        // Those that are not done by then are cut off: a server that is asked to stop must end.
        let _ = timeout(GRACE, tasks).await;
    });
}

struct Shared<E> {
    /// Borrowed only between two points of waiting, as is `admission`.
    worker: RefCell<Worker<E>>,
    admission: RefCell<Admission>,
    /// One for each connection that is not closed yet: nobody is accepted beyond them.
    descriptors: Arc<Semaphore>,
    idle_timeout: Duration,
    counters: Arc<ServerCounters>,
    stop: watch::Receiver<bool>,
}

impl<E> Shared<E> {
    fn counters(&self) -> &TcpCounters {
        &self.counters.tcp
    }
}

async fn accept_until_stopped<E: Engine + 'static>(
    listeners: Vec<TcpListener>,
    shared: &Rc<Shared<E>>,
) {
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn_local(accept(listener, shared.clone()));
    }
    let mut stop = shared.stop.clone();
    let mut clock = tokio::time::interval(IDLE);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = clock.tick() => {
                shared.counters().turns.increment();
                shared.worker.borrow_mut().engine.refresh();
            }
        }
    }
}

async fn accept<E: Engine + 'static>(listener: TcpListener, shared: Rc<Shared<E>>) {
    let mut failing = false;
    loop {
        // Before accepting, so that at the limit clients wait in the kernel's queue and cost us
        // nothing.
        let descriptor = shared
            .descriptors
            .clone()
            .acquire_owned()
            .await
            .expect("it is never closed");
        match listener.accept().await {
            Ok((stream, client)) => {
                failing = false;
                take_in(stream, descriptor, client, &shared);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                shared.counters().accept_errors.increment();
                // Once for a row of failures, which would otherwise fill the log ten times a
                // second.
                if !failing {
                    tracing::warn!("cannot accept TCP connections: {error}; retrying");
                }
                failing = true;
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Errors of a connection that was gone before it was accepted (accept(2), "Error handling").
fn is_of_one_connection(error: &io::Error) -> bool {
    use libc::{
        ECONNABORTED, ECONNRESET, EHOSTDOWN, EHOSTUNREACH, EINTR, ENETDOWN, ENETUNREACH, ENONET,
        ENOPROTOOPT, EOPNOTSUPP, EPROTO,
    };
    matches!(
        error.raw_os_error(),
        Some(
            ECONNABORTED
                | ECONNRESET
                | EHOSTDOWN
                | EHOSTUNREACH
                | EINTR
                | ENETDOWN
                | ENETUNREACH
                | ENONET
                | ENOPROTOOPT
                | EOPNOTSUPP
                | EPROTO
        )
    )
}

/// Starts a connection's task, or closes the connection where its client has its share.
fn take_in<E: Engine + 'static>(
    stream: TcpStream,
    descriptor: OwnedSemaphorePermit,
    client: SocketAddr,
    shared: &Rc<Shared<E>>,
) {
    // An accepted socket has an address unless its connection is gone already.
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let Some(Admitted {
        ticket,
        evict,
        instead,
    }) = shared
        .admission
        .borrow_mut()
        .admit(client.ip(), Instant::now())
    else {
        shared.counters().refused.increment();
        return;
    };
    shared.counters().accepted.increment();
    shared.counters().evicted.add(u64::from(instead));
    let place = Place {
        ticket,
        shared: shared.clone(),
    };
    tokio::task::spawn_local(async move {
        let mut connection = Connection {
            stream,
            peer: client,
            local,
            place,
            input: Vec::new(),
            rest: None,
            output: Vec::new(),
        };
        let end = tokio::select! {
            biased;
            () = evict.notified() => End::Closed,
            end = connection.serve() => end,
        };
        if matches!(end, End::TimedOut) {
            connection.place.shared.counters().timed_out.increment();
        }
        connection.close();
        drop(descriptor);
    });
}

/// A connection's place among the open ones, given back however its task ends.
struct Place<E> {
    ticket: Ticket,
    shared: Rc<Shared<E>>,
}

impl<E> Drop for Place<E> {
    fn drop(&mut self) {
        self.shared.admission.borrow_mut().leave(self.ticket);
        self.shared.counters().closed.increment();
    }
}

struct Connection<E: Engine> {
    stream: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
    place: Place<E>,
    /// Bytes read and not yet answered.
    input: Vec<u8>,
    /// The messages that are still to come of an answer that has several.
    rest: Option<E::Rest>,
    /// Answers not yet written.
    output: Vec<u8>,
}

/// The end of a connection.
enum End {
    /// By its client, the network, a message that deserved no answer, or the server's end.
    Closed,
    /// The client was idle or slow.
    TimedOut,
}

/// The progress through the messages in the input.
enum Answered {
    /// All whole ones have been answered.
    All,
    /// There may be more, but it is for this turn to end.
    Some,
    /// One deserved no answer.
    Hostile,
}

impl<E: Engine> Connection<E> {
    async fn serve(&mut self) -> End {
        // Answers to pipelined queries shall not wait for each other's acknowledgement.
        let _ = self.stream.set_nodelay(true);
        let idle_timeout = self.place.shared.idle_timeout;
        let mut deadline = Instant::now() + idle_timeout;
        loop {
            // First what has been read already: one segment may hold many messages, and waiting for
            // more bytes before answering them could wait for ever.
            let (answered, messages) = self.answer();
            if !self.output.is_empty() {
                match timeout(idle_timeout, self.stream.write_all(&self.output)).await {
                    Ok(Ok(())) => self.output.clear(),
                    Ok(Err(_)) => return End::Closed,
                    Err(_) => return End::TimedOut,
                }
                let now = Instant::now();
                self.place
                    .shared
                    .admission
                    .borrow_mut()
                    // Written and not only computed: a client that asks and does not read is not a
                    // useful one, and the first to make room.
                    .useful(self.place.ticket, now);
                deadline = now + idle_timeout;
            }
            // All connections share one thread, so a long pipeline has to let the others in
            // between.
            if messages >= LONG_TURN {
                yield_now().await;
            }
            match answered {
                Answered::All => {}
                Answered::Some => continue,
                Answered::Hostile => return End::Closed,
            }
            let waiting = self.input.is_empty();
            if let Some(end) = self.read(deadline).await {
                return end;
            }
            // From its first byte on a message has the whole time; the bytes that follow do not
            // extend it, or a byte now and then would keep a connection open for ever.
            if waiting {
                deadline = Instant::now() + idle_timeout;
            }
        }
    }

    /// Answers whole messages in the order they came (RFC 7766 §7 allows any order; this one serves every client).
    /// Returns how many there were, too.
    fn answer(&mut self) -> (Answered, usize) {
        let shared = &*self.place.shared;
        let mut worker = shared.worker.borrow_mut();
        let Worker { engine, answer } = &mut *worker;
        engine.refresh();
        let now = Clock.now();
        let before = shared.counters().answered.get();
        let (mut done, mut messages) = (0, 0);
        let answered = loop {
            let full = self.output.len() >= WRITE_SIZE || messages == TURN;
            if let Some(rest) = &mut self.rest {
                if full {
                    break Answered::Some;
                }
                messages += 1;
                match rest.next(answer) {
                    Some(length) => append(&mut self.output, &answer[..length]),
                    None => self.rest = None,
                }
                continue;
            }
            let Some(query) = first_message(&self.input[done..]) else {
                break Answered::All;
            };
            if full {
                break Answered::Some;
            }
            messages += 1;
            done += 2 + query.len();
            shared.counters().received.increment();
            let query = Query {
                bytes: query,
                peer: self.peer,
                local: self.local,
                transport: Transport::Tcp,
                now,
            };
            let length = match engine.answer(&query, answer) {
                Response::Send(length) => length,
                Response::Stream(length, rest) => {
                    self.rest = Some(rest);
                    length
                }
                Response::Drop(_) => {
                    // Who sends what deserves no answer is cut off: over TCP the address is not
                    // forged.
                    shared.counters().dropped.increment();
                    break Answered::Hostile;
                }
            };
            append(&mut self.output, &answer[..length]);
            shared.counters().answered.increment();
        };
        self.input.drain(..done);
        let counters = shared.counters();
        // A turn of many answers is met more often than one of few, and so it counts once.
        if before / SAMPLED != counters.answered.get() / SAMPLED {
            counters.latency.record(Clock.now().since(now), 1);
        }
        (answered, messages)
    }

    /// Closes the connection. What its client has not taken in its time is thrown away: the kernel would keep it for minutes.
    fn close(self) {
        if !self.output.is_empty() {
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// Waits for bytes until `deadline`; `Some` when there will be none. A connection that is in the middle of no message
    /// ends when the server stops.
    async fn read(&mut self, deadline: Instant) -> Option<End> {
        self.make_space();
        let mut stop = self.place.shared.stop.clone();
        let waiting = self.input.is_empty();
        tokio::select! {
            biased;
            read = timeout_at(deadline, self.stream.read_buf(&mut self.input)) => match read {
                Ok(Ok(0) | Err(_)) => Some(End::Closed),
                Ok(Ok(_)) => None,
                Err(_) => Some(End::TimedOut),
            },
            _ = stop.wait_for(|stop| *stop), if waiting => Some(End::Closed),
        }
    }

    /// Sees that there is space to read into: for the rest of the message that has begun, at least for [`READ_SIZE`].
    fn make_space(&mut self) {
        if self.output.capacity() > WRITE_SIZE {
            self.output = Vec::new();
        }
        if self.input.is_empty() && self.input.capacity() > 2 * READ_SIZE {
            self.input = Vec::new();
        }
        let announced = announced_length(&self.input).unwrap_or(0);
        let missing = (2 + announced).saturating_sub(self.input.len());
        self.input.reserve(missing.max(READ_SIZE));
    }
}

/// Appends `message` to `output`, its length before it (RFC 1035 §4.2.2).
fn append(output: &mut Vec<u8>, message: &[u8]) {
    let length = u16::try_from(message.len()).expect("an engine's space has no more octets");
    output.extend(length.to_be_bytes());
    output.extend(message);
}

/// The length that the first message says it has (RFC 1035 §4.2.2).
fn announced_length(input: &[u8]) -> Option<usize> {
    input
        .first_chunk()
        .map(|length| usize::from(u16::from_be_bytes(*length)))
}

/// The first message, once it is whole.
fn first_message(input: &[u8]) -> Option<&[u8]> {
    input.get(2..2 + announced_length(input)?)
}
