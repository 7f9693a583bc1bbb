//! Query sampling: one query in so many, and its answer, as dnstap frames to a socket or a file.
//!
//! ```text
//! a worker: query, answer ─► a free slot ─► its own ring ─► the thread "dnstap" ─► socket or file
//!                 ▲                                            │
//!                 └───────────── the slot, free again ◄────────┘
//! ```
//! Slots are made at the start. A worker copies into a free one, or counts that there is none: it
//! waits for nothing and allocates nothing. The thread looks at the rings by itself, since to wake
//! it would be a system call of the worker.

mod message;
mod output;
#[cfg_attr(not(test), deny(clippy::disallowed_methods))]
mod sampler;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::config::DnstapSpec;
use crate::dataset::Published;
use crate::metrics::Counter;

pub use sampler::{Sampler, SamplerCounters};

use message::Sender;
use output::Output;
use sampler::Drain;
use writer::Writer;

/// The counters of all that sample, for a scrape.
#[derive(Debug, Default)]
pub struct Counters {
    /// Those of each worker; none while nothing is sampled.
    pub workers: Vec<Arc<SamplerCounters>>,
    /// Those of the thread that writes.
    pub written: Arc<WriterCounters>,
}

/// The counters of the thread that writes, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WriterCounters {
    /// Frames that the socket or the file took.
    pub frames: Counter,
    /// Samples that it did not take.
    pub lost: Counter,
}

/// Query sampling before its start: samplers are made of it, one for each thread that answers.
#[derive(Debug)]
pub struct Tap {
    spec: DnstapSpec,
    drains: Vec<Drain>,
    counters: Counters,
}

/// The thread that writes; dropping it leaves it running.
#[derive(Debug)]
pub struct Tapping {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Tap {
    /// Query sampling as the files want it; nothing is opened yet.
    pub fn new(spec: DnstapSpec) -> Tap {
        Tap {
            spec,
            drains: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// A sampler for one more thread; its intervals come from `seed`.
    pub fn sampler(&mut self, seed: u64) -> Sampler {
        let (sampler, drain) = sampler::pair(self.spec.sample, seed);
        self.counters.workers.push(sampler.counters());
        self.drains.push(drain);
        sampler
    }

    /// Starts the thread that writes the samples of every sampler made so far. `node` names it in
    /// the frames unless the files do; the zone of a query is the one in `published`.
    ///
    /// # Errors
    /// Fails when the thread cannot be made.
    pub fn start(self, node: &str, published: Arc<Published>) -> io::Result<(Tapping, Counters)> {
        let spec = self.spec;
        let sender = Sender {
            identity: spec.identity.unwrap_or_else(|| node.to_owned()),
            version: spec
                .version
                .unwrap_or_else(|| concat!("meridian ", env!("CARGO_PKG_VERSION")).to_owned()),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            drains: self.drains,
            output: Output::new(spec.place, self.counters.written.clone()),
            sender,
            published,
            stop: stop.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("dnstap".to_owned())
            .spawn(move || writer.run())?;
        Ok((Tapping { stop, thread }, self.counters))
    }
}

impl Tapping {
    /// Has what is sampled written, and ends the stream. Waits for a reader at most for the limits
    /// of one write and of the end, some seconds together.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("thread dnstap panicked");
        }
    }
}
