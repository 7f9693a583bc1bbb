//! Reading of the audit log, the newest entry first. Works on the files alone, whether a server runs
//! or not.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AUDIT_FILE, AuditEntry};

/// Octets that are read at once.
const PIECE: u64 = 64 << 10;
/// The longest line, in octets; a longer one is damage.
const LONGEST_LINE: usize = 1 << 20;

/// The entries that are wanted of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only those with a number below this.
    pub before: Option<u64>,
    /// Only those of this Unix time and later.
    pub since: Option<Duration>,
    /// The most entries.
    pub limit: usize,
}

/// Entries of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// The entries, the newest first.
    pub entries: Vec<AuditEntry>,
    /// The `before` of the next page; null where there are no older entries.
    pub next: Option<u64>,
    /// Lines on the way that are no entries: damage, or those of a later version.
    pub unreadable: u64,
}

/// Reads entries from the files in `directory`; none where there are no files.
///
/// # Errors
/// When the directory or a file in it cannot be read.
pub fn read_audit(directory: &Path, query: &AuditQuery) -> io::Result<AuditPage> {
    let mut page = AuditPage::default();
    let mut below = query.before.unwrap_or(u64::MAX);
    // All are opened before the first is read: a rotation meanwhile moves files, and not these.
    for file in open_all(directory)? {
        let mut lines = Backwards::new(file)?;
        while let Some(line) = lines.next()? {
            let Some(entry) = entry(&line) else {
                // An empty line is what ends a piece that a crash left behind.
                page.unreadable += u64::from(!line.is_empty());
                continue;
            };
            // A rotation between two openings shows a file twice.
            if entry.number >= below {
                continue;
            }
            if query
                .since
                .is_some_and(|since| time(&entry.time) < Some(since))
            {
                return Ok(page);
            }
            if page.entries.len() == query.limit {
                page.next = Some(below);
                return Ok(page);
            }
            below = entry.number;
            page.entries.push(entry);
        }
    }
    Ok(page)
}

fn entry(line: &[u8]) -> Option<AuditEntry> {
    serde_json::from_slice(line).ok()
}

/// The Unix time of an entry; `None` where its time is damaged.
fn time(text: &str) -> Option<Duration> {
    let time = humantime::parse_rfc3339(text).ok()?;
    time.duration_since(UNIX_EPOCH).ok()
}

/// The files, the newest first.
fn open_all(directory: &Path) -> io::Result<Vec<File>> {
    let mut names = vec![AUDIT_FILE.to_owned()];
    let numbers = numbers(directory)?;
    names.extend(
        numbers
            .iter()
            .map(|number| format!("{AUDIT_FILE}.{number}")),
    );
    let mut files = Vec::with_capacity(names.len());
    for name in names {
        match File::open(directory.join(name)) {
            Ok(file) => files.push(file),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// The numbers of the full files, in ascending order.
pub(super) fn numbers(directory: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number: Option<u32> = name
            .to_str()
            .and_then(|name| name.strip_prefix(AUDIT_FILE)?.strip_prefix('.'))
            .and_then(|number| number.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The lines of a file, from its end to its beginning.
struct Backwards {
    file: File,
    /// Octets before those that were read.
    left: u64,
    /// Octets that were read and belong to lines not given yet.
    read: Vec<u8>,
    /// A line is being left out because it is too long.
    is_skipping: bool,
}

impl Backwards {
    fn new(mut file: File) -> io::Result<Backwards> {
        let left = file.seek(SeekFrom::End(0))?;
        Ok(Backwards {
            file,
            left,
            read: Vec::new(),
            is_skipping: false,
        })
    }

    /// The line before the last one given, without its line end.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.read.iter().rposition(|octet| *octet == b'\n') {
                let line = self.read.split_off(at + 1);
                self.read.pop();
                match std::mem::take(&mut self.is_skipping) {
                    true => continue,
                    false => return Ok(Some(line)),
                }
            }
            if self.read.len() > LONGEST_LINE {
                self.is_skipping = true;
                self.read.clear();
            }
            if self.left == 0 {
                let line = std::mem::take(&mut self.read);
                let is_line = !line.is_empty() && !self.is_skipping;
                return Ok(is_line.then_some(line));
            }
            self.read_piece()?;
        }
    }

    fn read_piece(&mut self) -> io::Result<()> {
        let length = self.left.min(PIECE);
        self.left -= length;
        self.file.seek(SeekFrom::Start(self.left))?;
        let mut piece = vec![0; length as usize];
        self.file.read_exact(&mut piece)?;
        piece.extend_from_slice(&self.read);
        self.read = piece;
        Ok(())
    }
}
