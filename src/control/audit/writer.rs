//! The thread that writes the audit log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvError, TryRecvError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::{Value, json};

use super::reader::{self, AuditQuery};
use super::{AUDIT_FILE, AuditEntry, AuditResult, Counts, Entry, Item};
use crate::config::AuditSpec;

/// The most octets of an entry; what is larger loses its states before and after.
const LONGEST: usize = 64 << 10;
/// The time between two log lines about a disk that takes nothing.
const QUIET: Duration = Duration::from_secs(60);

/// The writer of the audit log.
pub(super) struct Writer {
    counts: Arc<Counts>,
    node: String,
    place: Option<Place>,
    /// The number of the last entry; `None` before the files were looked at.
    last: Option<u64>,
    /// The entries lost that an entry in the files tells of.
    told: u64,
    /// Lines that were written and are not known to be on the disk yet.
    unsynced: Option<File>,
    warned: Option<Instant>,
}

struct Place {
    directory: PathBuf,
    spec: AuditSpec,
}

impl Writer {
    pub(super) fn new(counts: Arc<Counts>) -> Writer {
        Writer {
            counts,
            node: String::new(),
            place: None,
            last: None,
            told: 0,
            unsynced: None,
            warned: None,
        }
    }

    /// Works for as long as anyone can record.
    pub(super) fn run(mut self, items: &Receiver<Item>) {
        while let Ok(item) = self.next(items) {
            match item {
                Item::Entry(at, entry) => self.take(at, *entry),
                Item::Place(node, directory, spec) => {
                    let place = directory.map(|directory| Place { directory, spec });
                    if self.directory() != place.as_ref().map(|place| &*place.directory) {
                        self.last = None;
                    }
                    (self.node, self.place) = (node, place);
                }
                Item::Flush(done) => {
                    self.sync();
                    // Whoever waited may have given up.
                    let _ = done.try_send(());
                }
            }
        }
    }

    /// The next item; what came before is on the disk by the time it is waited for.
    fn next(&mut self, items: &Receiver<Item>) -> Result<Item, RecvError> {
        match items.try_recv() {
            Ok(item) => Ok(item),
            Err(TryRecvError::Disconnected) => Err(RecvError),
            Err(TryRecvError::Empty) => {
                self.sync();
                items.recv()
            }
        }
    }

    fn directory(&self) -> Option<&Path> {
        self.place.as_ref().map(|place| &*place.directory)
    }

    fn take(&mut self, at: Duration, entry: Entry) {
        match self.write(at, entry) {
            Ok(()) => {
                self.counts.written.fetch_add(1, Ordering::Relaxed);
                self.warned = None;
            }
            Err(error) => {
                self.counts.lost.fetch_add(1, Ordering::Relaxed);
                self.warn(&error);
            }
        }
    }

    fn warn(&mut self, error: &io::Error) {
        if self.warned.is_some_and(|last| last.elapsed() < QUIET) {
            return;
        }
        self.warned = Some(Instant::now());
        let lost = self.counts.lost.load(Ordering::Relaxed);
        match self.directory() {
            Some(directory) => tracing::warn!(
                "audit log {} not written: {error}; {lost} entries lost so far, and changes go on unrecorded",
                directory.join(AUDIT_FILE).display()
            ),
            None => tracing::warn!("audit log not written: {error}; {lost} entries lost so far"),
        }
    }

    /// Appends an entry, after one that tells how many are missing before it.
    fn write(&mut self, at: Duration, entry: Entry) -> io::Result<()> {
        if self.place.is_none() {
            return Err(io::Error::other(
                "there is no state directory to write it to",
            ));
        }
        let last = match self.last {
            Some(last) => last,
            None => self.find_last()?,
        };
        self.last = Some(last);
        let lost = self.counts.lost.load(Ordering::Relaxed);
        if lost > self.told {
            let missing = lost - self.told;
            let what = format!("{missing} entries before this one");
            let gap = Entry::new("meridian", "audit", what)
                .ended(AuditResult::Failed, "the disk did not take them");
            self.append(at, gap)?;
            self.told = lost;
        }
        self.append(at, entry)
    }

    fn find_last(&self) -> io::Result<u64> {
        let newest = AuditQuery {
            limit: 1,
            ..AuditQuery::default()
        };
        match self.directory() {
            Some(directory) => {
                let page = reader::read_audit(directory, &newest)?;
                Ok(page.entries.first().map_or(0, |entry| entry.number))
            }
            None => Ok(0),
        }
    }

    fn append(&mut self, at: Duration, entry: Entry) -> io::Result<()> {
        let Some(place) = &self.place else {
            return Ok(());
        };
        let number = self.last.unwrap_or_default() + 1;
        let line = line(number, at, &self.node, entry);
        let path = place.directory.join(AUDIT_FILE);
        // Opened each time: entries are few, and the file may have been moved away meanwhile.
        let mut file = open(&path)?;
        let mut length = file.metadata()?.len();
        if length > 0 && length + line.len() as u64 > place.spec.size {
            match rotate(&place.directory, place.spec.keep) {
                Ok(()) => (file, length) = (open(&path)?, 0),
                // It grows beyond its size: that is better than to lose entries.
                Err(error) => tracing::warn!("audit log {} not rotated: {error}", path.display()),
            }
        }
        let line = match ends_in_a_line(&mut file, length)? {
            true => line,
            // A crash left a piece of a line behind.
            false => format!("\n{line}"),
        };
        if let Err(error) = file.write_all(line.as_bytes()) {
            // A piece of a line would be taken for damage by whoever reads it. Giving back room
            // works on full disks too.
            let _ = file.set_len(length);
            return Err(error);
        }
        self.last = Some(number);
        self.unsynced = Some(file);
        Ok(())
    }

    /// Sees that what was written is on the disk.
    fn sync(&mut self) {
        if let Some(Err(error)) = self.unsynced.take().map(|file| file.sync_data()) {
            self.warn(&error);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

/// True where the last of so many octets is a line end.
fn ends_in_a_line(file: &mut File, length: u64) -> io::Result<bool> {
    let Some(last) = length.checked_sub(1) else {
        return Ok(true);
    };
    let mut octet = [0];
    file.seek(SeekFrom::Start(last))?;
    file.read_exact(&mut octet)?;
    Ok(octet == *b"\n")
}

/// Moves every full file one number up; those beyond `keep` go.
fn rotate(directory: &Path, keep: u32) -> io::Result<()> {
    let path = |number: u32| directory.join(format!("{AUDIT_FILE}.{number}"));
    for number in reader::numbers(directory)? {
        if number >= keep {
            fs::remove_file(path(number))?;
        }
    }
    for number in (1..keep).rev() {
        match fs::rename(path(number), path(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(directory.join(AUDIT_FILE), path(1))
}

/// An entry as a line of JSON.
fn line(number: u64, at: Duration, node: &str, entry: Entry) -> String {
    let mut own = AuditEntry {
        number,
        time: humantime::format_rfc3339_millis(UNIX_EPOCH + at).to_string(),
        by: entry.by,
        node: node.to_owned(),
        from: entry.from,
        action: entry.action,
        what: entry.what,
        reason: entry.reason,
        before: entry.before,
        after: entry.after,
        result: entry.result,
        why: entry.why,
        request: entry.request,
    };
    let mut line = json!(own).to_string();
    if line.len() > LONGEST {
        (own.before, own.after) = (Value::Null, Value::Null);
        for text in [&mut own.why, &mut own.reason] {
            *text = text.take().map(|text| text.chars().take(4096).collect());
        }
        own.what = own.what.chars().take(4096).collect();
        line = json!(own).to_string();
    }
    line.push('\n');
    line
}
