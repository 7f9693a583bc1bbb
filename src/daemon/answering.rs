//! The threads that answer queries, and the wall clock that they show times by.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::Failure;
use crate::answer::{Counters, Exchange, Query, Response, Worker, failed, respond, respond_all};
use crate::clock::Clock;
use crate::config::{ServerSpec, TcpLimits, UdpOptions};
use crate::dataset::{Published, Snapshot};
use crate::dnstap::{Sampler, Tap};
use crate::model::WallTime;
use crate::server::{self, Engine, Listeners, Server};

/// A wall clock that moves by so much between two looks was set.
const CLOCK_STEP: Duration = Duration::from_secs(1);

/// The addresses and threads of the server.
pub(super) struct Listen {
    addresses: Vec<SocketAddr>,
    workers: NonZeroUsize,
    udp: UdpOptions,
}

impl Listen {
    /// Takes them from the files, and checks that the ports are free: one that somebody holds is found
    /// before anything is probed.
    pub(super) fn check(server: &ServerSpec) -> Result<Listen, Failure> {
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let addresses = if server.listen_default {
            server::spoken(&server.listen)
        } else {
            server.listen.clone()
        };
        // Nobody reads these sockets yet, and so they are closed again: a query that comes before there
        // is anything to answer is refused by the kernel, and whoever asks goes on to another server
        // at once.
        server::bind(&addresses, NonZeroUsize::MIN, UdpOptions::default())
            .map(drop)
            .map_err(Failure::Bind)?;
        Ok(Listen {
            addresses,
            workers: NonZeroUsize::new(server.workers).unwrap_or(cores),
            udp: server.udp,
        })
    }

    /// The number of sockets that [`Listen::bind`] opens.
    pub(super) fn sockets(&self) -> usize {
        self.addresses.len() * (self.workers.get() + 1)
    }

    /// Opens the sockets.
    pub(super) fn bind(&self) -> Result<Listeners, Failure> {
        let listeners =
            server::bind(&self.addresses, self.workers, self.udp).map_err(Failure::Bind)?;
        listeners.say_early();
        Ok(listeners)
    }
}

/// The running transports.
pub(super) struct Answering {
    pub(super) server: Server,
    /// The wall clock as it was when it was last looked at, for the threads.
    wall: Arc<AtomicI64>,
    clock: Clock,
}

impl Answering {
    /// Starts the threads; each answers from the newest snapshot in `published`, and has a sampler
    /// of `tap`.
    pub(super) fn start(
        listeners: Listeners,
        limits: TcpLimits,
        published: &Arc<Published>,
        mut tap: Option<&mut Tap>,
        clock: Clock,
    ) -> io::Result<(Answering, Vec<Arc<Counters>>)> {
        let wall = Arc::new(AtomicI64::new(clock.wall().to_nanos()));
        let mut counters = Vec::new();
        let server = Server::start(listeners, limits, |number| {
            let worker = Worker::numbered(server::seed(), number);
            // Each thread has counters of its own, added up by a scrape: no two threads write to
            // one cache line.
            counters.push(worker.counters.clone());
            Queries {
                published: published.clone(),
                current: published.load_full(),
                worker,
                sampler: tap.as_mut().map(|tap| tap.sampler(server::seed())),
                wall: wall.clone(),
            }
        })?;
        let answering = Answering {
            server,
            wall,
            clock,
        };
        Ok((answering, counters))
    }

    /// Has the threads show times by the wall clock as it is now; true where it was set meanwhile.
    pub(super) fn follow_wall(&self) -> bool {
        let wall = self.clock.wall();
        let before = WallTime::from_nanos(self.wall.swap(wall.to_nanos(), Ordering::Relaxed));
        let step = before.step_to(wall);
        // NTP slews and small steps are normal; the files' times of day are not that precise.
        if step < CLOCK_STEP {
            return false;
        }
        let way = if wall.to_nanos() > before.to_nanos() {
            "ahead"
        } else {
            "back"
        };
        let step = humantime::format_duration(Duration::from_secs(step.as_secs()));
        tracing::warn!(
            "wall clock set {way} by {step}: overrides, fences and checks keep their remaining time"
        );
        true
    }

    /// Logs the addresses.
    pub(super) fn log_addresses(&self) {
        for address in self.server.addresses() {
            tracing::info!("listening on {address}, UDP and TCP");
        }
    }
}

/// The engine of one transport thread.
struct Queries {
    published: Arc<Published>,
    current: Arc<Snapshot>,
    worker: Worker,
    /// `None` where no query is sampled.
    sampler: Option<Sampler>,
    wall: Arc<AtomicI64>,
}

impl Engine for Queries {
    type Rest = Infallible;

    fn refresh(&mut self) {
        self.worker.wall = WallTime::from_nanos(self.wall.load(Ordering::Relaxed));
        // Once a batch: every answer of a batch comes from one snapshot, and a load is a shared
        // cache line.
        let newest = self.published.load();
        // Most batches see no new snapshot: comparing saves the count that all threads would write
        // to.
        if !Arc::ptr_eq(&newest, &self.current) {
            self.current = Arc::clone(&newest);
        }
    }

    fn answer(&mut self, query: &Query<'_>, out: &mut [u8]) -> Response {
        let (current, worker) = (&self.current, &mut self.worker);
        // One loop serves all connections: it may not end by a query.
        let answered = catch_unwind(AssertUnwindSafe(|| respond(current, worker, query, out)));
        let response = answered.unwrap_or_else(|_| failed(&self.worker, query, out));
        if let Some(sampler) = &mut self.sampler {
            let answer = match response {
                Response::Send(length) => Some(&out[..length]),
                Response::Drop(_) => None,
            };
            sampler.count(query, answer);
        }
        response
    }

    fn answer_all(&mut self, exchanges: &mut [Exchange<'_>]) {
        respond_all(&self.current, &mut self.worker, exchanges);
        if let Some(sampler) = &mut self.sampler {
            sampler.count_all(exchanges);
        }
    }
}
