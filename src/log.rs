//! Log lines leave by a queue: whoever logs never waits for whoever reads.
//!
//! ```text
//! any thread: tracing event ─► line ─► bounded queue ─► the thread "log" ─► standard error, or the journal
//! ```
//! On standard error a line is text or a JSON object ([`Format`]); in the journal, and in JSON, lines about changes have their
//! keys as fields. A reader that stops (a full pipe, a journal that hangs) fills the queue; what is logged then is dropped and counted, and the count is
//! the first line once it reads again. [`flush`] waits for what is queued, and not for long.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::changes::Keys;

/// Logs a line with the fields that `$of` gives by name; those that it does not give are left out.
macro_rules! with_fields {
    ($level:expr, $of:expr, $line:expr) => {
        match $level {
            Level::ERROR => with_fields!(@ error, $of, $line),
            Level::WARN => with_fields!(@ warn, $of, $line),
            Level::INFO => with_fields!(@ info, $of, $line),
            Level::DEBUG => with_fields!(@ debug, $of, $line),
            Level::TRACE => with_fields!(@ trace, $of, $line),
        }
    };
    (@ $macro:ident, $of:expr, $line:expr) => {
        tracing::$macro!(
            kind = $of("kind"),
            event = $of("event"),
            message_id = $of("message_id"),
            service = $of("service"),
            region = $of("region"),
            endpoint = $of("endpoint"),
            check = $of("check"),
            family = $of("family"),
            old = $of("old"),
            new = $of("new"),
            r#override = $of("override"),
            by = $of("by"),
            "{}",
            $line
        )
    };
}

/// The most lines that may wait.
const LINES: usize = 16_384;
/// The most octets that all waiting lines may have.
const OCTETS: usize = 16 << 20;

/// The fields of lines about changes: their names in JSON, which are those of the journal in lower case.
const FIELDS: [&str; 12] = [
    "kind",
    "event",
    "message_id",
    "service",
    "region",
    "endpoint",
    "check",
    "family",
    "old",
    "new",
    "override",
    "by",
];

/// The form of the log on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// A line of text, or an entry of the journal under systemd.
    #[default]
    Text,
    /// A line with a JSON object, on standard error under systemd too.
    Json,
}

/// True where lines have fields: everywhere but in plain text.
static HAS_FIELDS: AtomicBool = AtomicBool::new(false);

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
    Line(Level, Line),
    /// All that came before is out.
    Flush(SyncSender<()>),
}

/// The output of log lines.
enum Sink {
    Stderr,
    Json,
    Journal(tracing_journald::Layer, LevelFilter),
}

/// Starts logging what passes `filter`, once per process: to the journal under systemd, else to standard error, in colour with `color`;
/// as JSON always to standard error.
///
/// # Errors
/// When the thread cannot be made; then nothing is logged.
pub fn start(filter: EnvFilter, color: bool, format: Format) -> io::Result<()> {
    let (sender, lines) = sync_channel(LINES);
    let queue = Queue(sender);
    // The journal's own registry sees lines that passed the filter already: it must drop none of
    // them.
    let level = filter.max_level_hint().unwrap_or(LevelFilter::TRACE);
    let registry = tracing_subscriber::registry().with(filter);
    let sink = match (format, journal()) {
        (Format::Json, _) => {
            HAS_FIELDS.store(true, Ordering::Relaxed);
            registry.with(queue.clone()).init();
            Sink::Json
        }
        (Format::Text, Some(journal)) => {
            HAS_FIELDS.store(true, Ordering::Relaxed);
            registry.with(queue.clone()).init();
            Sink::Journal(journal, level)
        }
        (Format::Text, None) => {
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

/// Logs a change: a sentence, and where lines have fields its keys.
pub fn change(is_warning: bool, sentence: &str, keys: &Keys) {
    if !HAS_FIELDS.load(Ordering::Relaxed) {
        match is_warning {
            true => tracing::warn!("{sentence}"),
            false => tracing::info!("{sentence}"),
        }
        return;
    }
    let fields = keys.fields();
    let of = |name: &str| {
        let found = fields.iter().find(|(own, _)| *own == name);
        found.map(|(_, value)| value.as_str())
    };
    let level = if is_warning { Level::WARN } else { Level::INFO };
    with_fields!(level, of, sentence);
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
        // SERVICE= and not F_SERVICE=: the names are documented.
        .map(|layer| layer.with_field_prefix(None))
}

impl Queue {
    /// Puts a line in line, or drops it.
    fn put(&self, level: Level, line: Line) {
        let length = line.octets();
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
            let _ = io::stderr().write_all(line.text.as_bytes());
        }),
        Sink::Json => hand_over(lines, |level, line| {
            let _ = io::stderr().write_all(line.json(level).as_bytes());
        }),
        // Its layer writes where the event is made: on this thread, for no other.
        Sink::Journal(journal, level) => {
            let registry = tracing_subscriber::registry().with(level).with(journal);
            tracing::subscriber::with_default(registry, || hand_over(lines, to_journal));
        }
    }
}

fn to_journal(level: Level, line: &Line) {
    let of = |name: &str| line.field(name);
    with_fields!(level, of, line.text);
}

/// Writes what is queued for as long as anyone can log; says what was dropped when nothing is left to write.
fn hand_over(lines: &Receiver<Item>, write: impl Fn(Level, &Line)) {
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
                WAITING.fetch_sub(line.octets(), Ordering::Relaxed);
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
        self.0.put(
            Level::INFO,
            Line::of(String::from_utf8_lossy(line).into_owned()),
        );
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// For the journal, which has level and time of its own, and for JSON.
impl<S: Subscriber> Layer<S> for Queue {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::of(String::new());
        event.record(&mut line);
        self.put(*event.metadata().level(), line);
    }
}

/// The message with what other fields an event has, and those fields that are kept apart.
#[derive(Debug)]
struct Line {
    /// The time at which it was logged.
    at: SystemTime,
    text: String,
    fields: Vec<(&'static str, String)>,
}

impl Line {
    fn of(text: String) -> Line {
        Line {
            at: SystemTime::now(),
            text,
            fields: Vec::new(),
        }
    }

    fn octets(&self) -> usize {
        let fields = self.fields.iter().map(|(_, value)| value.len());
        self.text.len() + fields.sum::<usize>()
    }

    fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(own, _)| *own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// One JSON object, and the end of the line.
    fn json(&self, level: Level) -> String {
        let time = humantime::format_rfc3339_millis(self.at).to_string();
        let mut object = serde_json::Map::new();
        object.insert("time".to_owned(), time.into());
        let level = level.as_str().to_ascii_lowercase();
        object.insert("level".to_owned(), level.into());
        object.insert("message".to_owned(), self.text.as_str().into());
        for (name, value) in &self.fields {
            object.insert((*name).to_owned(), value.as_str().into());
        }
        format!("{}\n", serde_json::Value::Object(object))
    }

    /// The place of a field that is kept apart, by its name.
    fn keep(&mut self, name: &str, value: String) {
        let kept = FIELDS.iter().find(|own| **own == name);
        // Writing to a string does not fail.
        match kept {
            Some(name) => self.fields.push((name, value)),
            None => drop(write!(self.text, " {name}={value}")),
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.text.push_str(value),
            // The name of a field that is a keyword of the language.
            name => self.keep(name.trim_start_matches("r#"), value.to_owned()),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => drop(write!(self.text, "{value:?}")),
            name => self.keep(name, format!("{value:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_json_has_the_keys_and_the_message() {
        let mut line = Line::of("service www. is \"down\"".to_owned());
        line.keep("service", "www.".to_owned());
        line.keep("other", "7".to_owned());
        let json = line.json(Level::WARN);
        let read: serde_json::Value = serde_json::from_str(json.trim_end()).unwrap();
        assert_eq!(read["level"], "warn");
        assert_eq!(read["service"], "www.");
        assert_eq!(read["message"], "service www. is \"down\" other=7");
        assert_eq!(json.lines().count(), 1);
    }
}
