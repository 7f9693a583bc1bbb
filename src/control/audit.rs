//! The audit log: each attempt to change something, by whom, why, and what came of it.
//!
//! ```text
//! handlers, the loop: Audit::record ─► bounded queue ─► the thread "audit" ─► STATE/audit.log, .1, .2 …
//! ```
//! Whoever records never waits. What the disk does not take is counted, and the next entry that it
//! takes says how many are missing before it.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{io, thread};

use arc_swap::ArcSwapOption;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::config::AuditSpec;

pub use reader::{AuditPage, AuditQuery, read_audit};

/// The name of the file that entries are appended to; full ones are this with `.1`, `.2` …
pub const AUDIT_FILE: &str = "audit.log";
/// The most entries that wait for the disk.
const QUEUE: usize = 1024;

/// The end of an attempt to change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuditResult {
    /// It is done, and durable where it outlives the process.
    Accepted,
    /// It is not done, because something speaks against it.
    Refused,
    /// It was tried, and did not succeed or may not have.
    Failed,
}

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its number, one more than that of the entry before it.
    pub number: u64,
    /// The time of the attempt, as RFC 3339 in UTC.
    pub time: String,
    /// The token, the user of this host, or what else made the attempt.
    pub by: String,
    /// The node that it was made at.
    pub node: String,
    /// The address that it came from; null for the control socket and for what the node does itself.
    pub from: Option<String>,
    /// The kind of change: `override`, `release`, `reload` …
    pub action: String,
    /// The object of the change.
    pub what: String,
    /// The reason that was given.
    pub reason: Option<String>,
    /// The state before it, where there is one to show.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub before: Value,
    /// The state after it, likewise.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub after: Value,
    /// The end of the attempt.
    pub result: AuditResult,
    /// The reason why it was refused or failed.
    pub why: Option<String>,
    /// The id of the HTTP request.
    pub request: Option<String>,
}

/// An attempt to change something, as it is recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The token, the user of this host, or what else made the attempt.
    pub by: String,
    /// The address that it came from.
    pub from: Option<String>,
    /// The kind of change.
    pub action: String,
    /// The object of the change.
    pub what: String,
    /// The reason that was given.
    pub reason: Option<String>,
    /// The state before it; null where there is none to show.
    pub before: Value,
    /// The state after it, likewise.
    pub after: Value,
    /// The end of the attempt.
    pub result: AuditResult,
    /// The reason why it was refused or failed.
    pub why: Option<String>,
    /// The id of the HTTP request.
    pub request: Option<String>,
}

impl Entry {
    /// An attempt of `by` at `action` on `what` that succeeded, with nothing more to say of it.
    pub fn new(by: impl Into<String>, action: &str, what: impl Into<String>) -> Entry {
        Entry {
            by: by.into(),
            from: None,
            action: action.to_owned(),
            what: what.into(),
            reason: None,
            before: Value::Null,
            after: Value::Null,
            result: AuditResult::Accepted,
            why: None,
            request: None,
        }
    }

    /// The same attempt, which ended so for this reason.
    #[must_use]
    pub fn ended(self, result: AuditResult, why: impl Into<String>) -> Entry {
        Entry {
            result,
            why: Some(why.into()),
            ..self
        }
    }
}

/// The way into the audit log; every clone leads to the same one.
#[derive(Debug, Clone)]
pub struct Audit {
    queue: SyncSender<Item>,
    counts: Arc<Counts>,
    directory: Arc<ArcSwapOption<PathBuf>>,
}

/// Counts of entries.
#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    lost: AtomicU64,
}

/// Work of the thread.
#[derive(Debug)]
enum Item {
    /// An entry, with the Unix time of the attempt. Boxed: the queue has room for a thousand.
    Entry(Duration, Box<Entry>),
    /// The node's name, the directory of the files from now on, and their size and number.
    Place(String, Option<PathBuf>, AuditSpec),
    /// A wait until everything before it is done.
    Flush(SyncSender<()>),
}

impl Default for Audit {
    /// A log that loses every entry: for programs that change nothing.
    fn default() -> Audit {
        let (queue, _) = sync_channel(0);
        Audit {
            queue,
            counts: Arc::default(),
            directory: Arc::default(),
        }
    }
}

impl Audit {
    /// Starts the thread. Entries wait for [`Audit::place`].
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub fn start() -> io::Result<Audit> {
        let (queue, items) = sync_channel(QUEUE);
        let counts = Arc::<Counts>::default();
        let writer = writer::Writer::new(counts.clone());
        thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(&items))?;
        Ok(Audit {
            queue,
            counts,
            directory: Arc::default(),
        })
    }

    /// Has the entries written to files in `directory` from now on, by the node of this name; they
    /// are lost where there is none.
    pub fn place(&self, node: &str, directory: Option<PathBuf>, spec: AuditSpec) {
        self.directory.store(directory.clone().map(Arc::new));
        // A queue that is full is that of a disk that hangs: its files are of no use anyway, and
        // the next reload says it again.
        let place = Item::Place(node.to_owned(), directory, spec);
        if self.queue.try_send(place).is_err() {
            tracing::warn!("audit log not moved: its queue is full because the disk hangs");
        }
    }

    /// Records an attempt to change something. Never waits: what finds no room in the queue is
    /// counted as lost.
    pub fn record(&self, entry: Entry) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let item = Item::Entry(now.unwrap_or_default(), Box::new(entry));
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.queue.try_send(item)
        {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The directory of the files; `None` where nothing is written.
    pub fn directory(&self) -> Option<PathBuf> {
        self.directory.load().as_deref().cloned()
    }

    /// The number of entries that were written.
    pub fn written(&self) -> u64 {
        self.counts.written.load(Ordering::Relaxed)
    }

    /// The number of entries that were lost.
    pub fn lost(&self) -> u64 {
        self.counts.lost.load(Ordering::Relaxed)
    }

    /// Waits until what was recorded so far is written, but not longer than `patience`.
    pub fn flush(&self, patience: Duration) {
        let (done, flushed) = sync_channel(1);
        if self.queue.try_send(Item::Flush(done)).is_ok() {
            let _ = flushed.recv_timeout(patience);
        }
    }
}
