//! Log lines leave by a queue: whoever logs never waits for whoever reads.
//!
//! ```text
//! any thread: tracing event ─► line ─► bounded queue ─► the thread "log" ─► standard error, or the journal
//! ```
//! A reader that stops (a full pipe, a journal that hangs) fills the queue; what is logged then is dropped and counted, and the count is
//! the first line once it reads again. [`flush`] waits for what is queued, and not for long.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// The most lines that may wait.
const LINES: usize = 16_384;
/// The most octets that all waiting lines may have.
const OCTETS: usize = 16 << 20;

/// The queue of this process, once [`start`] has made it.
static QUEUE: OnceLock<Queue> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);
/// The number of octets in the lines that wait.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// The queue in which lines wait.
#[derive(Debug, Clone)]
struct Queue(SyncSender<Item>);

#[derive(Debug)]
enum Item {
    Line(Level, String),
    /// All that came before is out.
    Flush(SyncSender<()>),
}

/// The output of log lines.
enum Sink {
    Stderr,
    Journal(tracing_journald::Layer, LevelFilter),
}

/// Starts logging what passes `filter`, once per process: to the journal under systemd, else to standard error, in colour with `color`.
///
/// # Errors
/// When the thread cannot be made; then nothing is logged.
pub fn start(filter: EnvFilter, color: bool) -> io::Result<()> {
    let (sender, lines) = sync_channel(LINES);
    let queue = Queue(sender);
    // The journal's own registry sees lines that passed the filter already: it must drop none of
    // them.
    let level = filter.max_level_hint().unwrap_or(LevelFilter::TRACE);
    let registry = tracing_subscriber::registry().with(filter);
    let sink = match journal() {
        Some(journal) => {
            registry.with(queue.clone()).init();
            Sink::Journal(journal, level)
        }
        None => {
            let lines = tracing_subscriber::fmt::layer()
                .with_writer(queue.clone())
                .with_target(false)
                .with_ansi(color);
            registry.with(lines).init();
            Sink::Stderr
        }
    };
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_all(&lines, sink))?;
    // After the thread runs: a flush before that would wait for nobody.
    QUEUE.get_or_init(|| queue);
    // The standard hook writes to standard error itself, and would wait for its reader.
    std::panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        tracing::error!(
            "thread {} panicked, which is a fault of Meridian: {panic}",
            thread.name().unwrap_or("unnamed")
        );
        // The process ends with this thread, and the line would be lost in the queue.
        if thread.name() == Some("main") {
            flush(Duration::from_secs(1));
        }
    }));
    Ok(())
}

/// Counts the lines dropped since the start because the queue was full.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Counts changes that were dropped before they became lines, with the lines that are dropped.
pub fn count_dropped(changes: usize) {
    DROPPED.fetch_add(changes as u64, Ordering::Relaxed);
}

/// Waits until what was logged so far is out, but not longer than `patience`.
pub fn flush(patience: Duration) {
    let Some(queue) = QUEUE.get() else { return };
    let end = Instant::now() + patience;
    let (done, out) = sync_channel(1);
    let mut item = Item::Flush(done);
    while let Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) =
        queue.0.try_send(item)
    {
        item = back;
        if Instant::now() >= end {
            return;
        }
        // A bounded channel cannot be waited for with a limit, and this happens only at the end.
        thread::sleep(Duration::from_millis(10));
    }
    let _ = out.recv_timeout(end.saturating_duration_since(Instant::now()));
}

/// The journal, where standard error is connected to it: systemd says so in `JOURNAL_STREAM`, as device:inode (systemd.exec(5)).
fn journal() -> Option<tracing_journald::Layer> {
    let stream = std::env::var("JOURNAL_STREAM").ok()?;
    let stderr = std::fs::metadata("/dev/stderr").ok()?;
    (stream == format!("{}:{}", stderr.dev(), stderr.ino()))
        .then(|| tracing_journald::layer().ok())?
}

impl Queue {
    /// Puts a line in line, or drops it.
    fn put(&self, level: Level, line: String) {
        let length = line.len();
        // Counted before it is sent: two threads at once must not both find the last room.
        let fits = WAITING.fetch_add(length, Ordering::Relaxed) + length <= OCTETS;
        if !fits || self.0.try_send(Item::Line(level, line)).is_err() {
            WAITING.fetch_sub(length, Ordering::Relaxed);
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The thread "log".
fn write_all(lines: &Receiver<Item>, sink: Sink) {
    match sink {
        Sink::Stderr => hand_over(lines, |_, line| {
            // Nobody is left to be told that standard error is gone.
            let _ = io::stderr().write_all(line.as_bytes());
        }),
        // Its layer writes where the event is made: on this thread, for no other.
        Sink::Journal(journal, level) => {
            let registry = tracing_subscriber::registry().with(level).with(journal);
            tracing::subscriber::with_default(registry, || hand_over(lines, to_journal));
        }
    }
}

fn to_journal(level: Level, line: &str) {
    match level {
        Level::ERROR => tracing::error!("{line}"),
        Level::WARN => tracing::warn!("{line}"),
        Level::INFO => tracing::info!("{line}"),
        Level::DEBUG => tracing::debug!("{line}"),
        Level::TRACE => tracing::trace!("{line}"),
    }
}

/// Writes what is queued for as long as anyone can log; says what was dropped when nothing is left to write.
fn hand_over(lines: &Receiver<Item>, write: impl Fn(Level, &str)) {
    let mut said = 0;
    loop {
        let item = match lines.try_recv() {
            Ok(item) => item,
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                // Only with an empty queue is there room for this line, which takes the same way as
                // all others.
                let dropped = dropped();
                if dropped > said {
                    let lines = dropped - said;
                    said = dropped;
                    tracing::warn!(
                        "{lines} log lines were dropped before this one because the log reader did not keep up"
                    );
                    continue;
                }
                match lines.recv() {
                    Ok(item) => item,
                    Err(_) => return,
                }
            }
        };
        match item {
            Item::Line(level, line) => {
                write(level, &line);
                WAITING.fetch_sub(line.len(), Ordering::Relaxed);
            }
            Item::Flush(done) => drop(done.try_send(())),
        }
    }
}

/// For standard error: the layer that makes the text writes it here, a line at a time.
impl<'q> MakeWriter<'q> for Queue {
    type Writer = LineWriter<'q>;

    fn make_writer(&'q self) -> LineWriter<'q> {
        LineWriter(self)
    }
}

/// Takes one line at a time.
struct LineWriter<'q>(&'q Queue);

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0
            .put(Level::INFO, String::from_utf8_lossy(line).into_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// For the journal, which has time and level of its own.
impl<S: Subscriber> Layer<S> for Queue {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.put(*event.metadata().level(), line.0);
    }
}

/// The message, and what other fields an event has.
#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
