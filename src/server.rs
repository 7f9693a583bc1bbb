//! The transports: sockets on one side, an [`Engine`] on the other.
//!
//! ```text
//! bind ──► Listeners ──► Server::start ──► one thread per (worker, listen address): UDP, blocking, in batches
//!                                     └──► one thread for TCP: every listener and connection on it
//! ```
//! A transport knows nothing of DNS but the two-byte length before a message on TCP. Every thread
//! owns its engine, its buffers and its counters; the threads share a flag that tells them to
//! leave, and nothing else.

mod admission;
mod bind;
mod counters;
mod holder;
#[cfg_attr(not(test), deny(clippy::disallowed_methods))]
mod mmsg;
pub mod notify;
mod tcp;
#[cfg_attr(not(test), deny(clippy::disallowed_methods))]
mod udp;

#[cfg(test)]
mod tests;

use std::collections::hash_map::RandomState;
use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use tokio::sync::watch;

use crate::config::TcpLimits;

pub use crate::answer::{Exchange, Query, Response, TCP_BUFFER, Transport, UDP_BUFFER};

pub(crate) use admission::{Admission, Admitted, Ticket};
pub use bind::{BindError, BindFailure, Listeners, bind, bind_admin, spoken};
pub use counters::{SAMPLED, ServerCounters, TcpCounters, UdpCounters};
pub use holder::Holder;

/// The longest sleep of a thread without work: then it looks for a newer snapshot and whether to
/// leave.
const IDLE: Duration = Duration::from_millis(200);

/// A start for an engine's draws by weight, another at each call: the standard library's hash keys
/// come from the system's randomness.
pub fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The code that answers the queries of a transport; every thread owns one.
pub trait Engine {
    /// The messages of an answer after its first, where one has several; [`Infallible`] where none
    /// ever has.
    type Rest: Messages + 'static;

    /// Adopts the newest snapshot. Called before each batch of queries, and at least five times a
    /// second without any, so that an old snapshot is soon let go.
    fn refresh(&mut self);

    /// Answers one message into `out` ([`UDP_BUFFER`] or [`TCP_BUFFER`] bytes).
    ///
    /// A response that drops the message closes the connection over TCP, and is no answer over UDP.
    fn answer(&mut self, query: &Query<'_>, out: &mut [u8]) -> Response<Self::Rest>;

    /// Answers datagrams, those of a batch together; [`Exchange::answer`] is `None` in all of them.
    fn answer_all(&mut self, exchanges: &mut [Exchange<'_>]) {
        for Exchange { query, out, answer } in exchanges {
            *answer = match self.answer(query, out) {
                Response::Send(length) | Response::Stream(length, _) => Some(length),
                Response::Drop(_) => None,
            };
        }
    }
}

/// The messages of one answer, made one at a time: a client that reads slowly holds the next one
/// back, and no answer is ever in memory as a whole.
pub trait Messages {
    /// Writes the next message into `out` ([`TCP_BUFFER`] bytes) and returns its length; `None`
    /// after the last.
    fn next(&mut self, out: &mut [u8]) -> Option<usize>;
}

impl Messages for Infallible {
    fn next(&mut self, _: &mut [u8]) -> Option<usize> {
        match *self {}
    }
}

/// The running threads. Dropping it stops them as [`Server::stop`] does.
pub struct Server {
    addresses: Vec<SocketAddr>,
    counters: Arc<ServerCounters>,
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    stop_tcp: watch::Sender<bool>,
}

/// Looks for threads of a [`Server`] that hang.
#[derive(Debug)]
pub struct Stalls {
    counters: Arc<ServerCounters>,
    /// Each thread's name, and how often it had been round its loop at the last look.
    threads: Vec<(String, u64)>,
}

impl Server {
    /// Starts to serve: one thread for each UDP socket of `listeners` and one for TCP. `engine` makes the engine of each
    /// thread; its argument counts them from 0 in the order of the sockets, and TCP's is the last.
    ///
    /// # Errors
    /// Fails when a thread or TCP's event loop cannot be made; then nothing is left running.
    pub fn start<E>(
        listeners: Listeners,
        limits: TcpLimits,
        mut engine: impl FnMut(usize) -> E,
    ) -> io::Result<Server>
    where
        E: Engine + Send + 'static,
    {
        let (options, sockets) = (
            listeners.options,
            listeners.udp.into_iter().map(Arc::new).collect::<Vec<_>>(),
        );
        let cores = if options.pin_workers {
            allowed_cores()?
        } else {
            Vec::new()
        };
        let workers = sockets.len() / listeners.addresses.len().max(1);
        let (stop_tcp, stopped) = watch::channel(false);
        let mut server = Server {
            addresses: listeners.addresses,
            counters: Arc::new(ServerCounters::new(sockets.clone())),
            threads: Vec::with_capacity(sockets.len() + 1),
            stop: Arc::new(AtomicBool::new(false)),
            stop_tcp,
        };
        for (n, socket) in sockets.iter().cloned().enumerate() {
            let (engine, counters, stop) =
                (engine(n), server.counters.clone(), server.stop.clone());
            // The sockets come address by address, each with one for every worker.
            let core = cores.get(n % workers.max(1) % cores.len().max(1)).copied();
            server.spawn(format!("udp-{n}"), move || {
                core.inspect(|core| stay_on(*core));
                udp::serve(&socket, options.batch, engine, &counters.udp[n], &stop);
            })?;
        }
        let service = tcp::Service::new(
            limits,
            engine(sockets.len()),
            server.counters.clone(),
            stopped,
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let tcp = tcp::register(&runtime, listeners.tcp, &limits)?;
        server.spawn("tcp".to_owned(), move || tcp::serve(&runtime, tcp, service))?;
        Ok(server)
    }

    /// The addresses served, in the order they were listed; port 0 is replaced by the port in use.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The counters of the threads, for a scrape.
    pub fn counters(&self) -> Arc<ServerCounters> {
        self.counters.clone()
    }

    /// Returns the watch over threads that hang; the time of the first look begins now.
    pub fn stalls(&self) -> Stalls {
        let names = self
            .threads
            .iter()
            .map(|handle| handle.thread().name().unwrap_or("unnamed").to_owned());
        Stalls {
            counters: self.counters.clone(),
            threads: names.zip(self.counters.turns()).collect(),
        }
    }

    /// Stops serving: what is queued in the sockets is answered, open TCP exchanges get a second to finish, and the sockets
    /// are closed. Returns when every thread has left.
    pub fn stop(mut self) {
        self.leave();
    }

    fn spawn(&mut self, name: String, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let handle = std::thread::Builder::new().name(name).spawn(body)?;
        self.threads.push(handle);
        Ok(())
    }

    fn leave(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.stop_tcp.send_replace(true);
        for thread in self.threads.drain(..) {
            let name = thread.thread().name().unwrap_or("unnamed").to_owned();
            if thread.join().is_err() {
                tracing::error!("thread {name} panicked");
            }
        }
    }
}

impl Stalls {
    /// The threads that have not been round their loop since the last look, by name. A healthy one goes round at least five times
    /// a second: one that has not within some seconds is stuck or gone.
    pub fn stalled(&mut self) -> Vec<String> {
        let mut stalled = Vec::new();
        for ((name, before), now) in self.threads.iter_mut().zip(self.counters.turns()) {
            if std::mem::replace(before, now) == now {
                stalled.push(name.clone());
            }
        }
        stalled
    }
}

/// The cores that this process may run on.
fn allowed_cores() -> io::Result<Vec<usize>> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count())
        .filter(|core| allowed.is_set(*core).unwrap_or(false))
        .collect())
}

/// Keeps the calling thread on `core`.
fn stay_on(core: usize) {
    let mut only = CpuSet::new();
    if let Err(error) = only
        .set(core)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &only))
    {
        tracing::warn!("cannot pin a worker to core {core}: {error}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.leave();
    }
}
