//! Files of the configuration, read whole and only up to a limit.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use crate::config::Unreadable;
use crate::diag::{At, position};

/// TOML is parsed into a tree several times its size; data of this size belongs into `records_file`.
const MAX_TOML: u64 = 64 << 20;
/// Master files and MMDBs.
pub(super) const MAX_FILE: u64 = 1 << 30;

/// A reason why a file was not read.
#[derive(Debug)]
pub(super) enum Problem {
    Io(io::Error),
    NotAFile(&'static str),
    TooLarge(u64),
    BadPath,
}

/// Reads a whole regular file; a pipe or a device could block or never end.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    read_up_to(
        path,
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            MAX_TOML
        } else {
            MAX_FILE
        },
    )
}

/// Reads a regular file likewise, of at most `limit` octets.
pub(super) fn read_up_to(path: &Path, limit: u64) -> Result<Vec<u8>, Problem> {
    if path.to_str().is_none() {
        return Err(Problem::BadPath);
    }
    // Looked at before it is opened: opening a pipe waits for a writer.
    let kind = fs::metadata(path).map_err(Problem::Io)?.file_type();
    if !kind.is_file() {
        return Err(Problem::NotAFile(if kind.is_dir() {
            "a directory"
        } else {
            "a pipe or a device"
        }));
    }
    let file = File::open(path).map_err(Problem::Io)?;
    let size = file.metadata().map_err(Problem::Io)?.len();
    if size > limit {
        return Err(Problem::TooLarge(limit));
    }
    // At most `limit`, which is 1 GiB.
    let mut bytes = Vec::with_capacity(size as usize);
    // One byte more shows a file that grew past the limit meanwhile.
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(Problem::Io)?;
    if bytes.len() as u64 > limit {
        Err(Problem::TooLarge(limit))
    } else {
        Ok(bytes)
    }
}

impl Problem {
    pub(super) fn explain(self, path: &Path) -> Unreadable {
        let path = path.display();
        let (rule, message, hint) = match self {
            Problem::Io(error) if error.kind() == ErrorKind::NotFound => (
                "missing-file",
                format!("there is no file {path}"),
                "relative paths start at the directory of the file that names them",
            ),
            Problem::Io(error) if error.kind() == ErrorKind::PermissionDenied => (
                "unreadable-file",
                format!("the file {path} cannot be read: permission denied"),
                "the user that runs the server must be able to read it and to enter its directory",
            ),
            Problem::Io(error) => (
                "unreadable-file",
                format!("the file {path} cannot be read: {error}"),
                "check the kernel log for disk errors",
            ),
            Problem::NotAFile(what) => (
                "unreadable-file",
                format!("{path} is {what}, not a file"),
                "name a regular file",
            ),
            Problem::TooLarge(limit) if limit == MAX_TOML => (
                "file-too-large",
                format!("{path} is larger than {} MiB", limit >> 20),
                "keep large data in a master file: records_file = \"…\"",
            ),
            Problem::TooLarge(limit) => (
                "file-too-large",
                format!("{path} is larger than {} MiB", limit >> 20),
                "check that it is the right file; split a large zone with $INCLUDE",
            ),
            Problem::BadPath => (
                "unreadable-file",
                format!("the name of {path} is not valid UTF-8"),
                "rename the file: letters, digits, dots and hyphens are safe",
            ),
        };
        Unreadable {
            rule,
            message,
            hint: Some(hint.to_owned()),
            position: None,
        }
    }
}

/// The bytes as text, or where they stop being UTF-8.
pub(super) fn text(path: &Path, bytes: Vec<u8>) -> Result<String, Unreadable> {
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let (before, bad) = (&error.as_bytes()[..good], error.as_bytes()[good]);
        let line_start = before
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |i| i + 1);
        let line = position(before.iter().filter(|b| **b == b'\n').count() + 1);
        let before = String::from_utf8_lossy(&before[line_start..]);
        let column = position(before.chars().count() + 1);
        Unreadable {
            rule: "not-utf8",
            message: format!("the byte 0x{bad:02X} is not UTF-8 text"),
            hint: Some(
                "save the file as UTF-8: iconv -f latin1 -t utf-8 converts most old files"
                    .to_owned(),
            ),
            position: Some(At::new(path.display().to_string(), line, column, 0)),
        }
    })
}

/// Refuses a file of the configuration, for the reason `what` that completes "PATH …".
pub(super) fn refuse<T>(
    path: &Path,
    rule: &'static str,
    what: &str,
    hint: &str,
) -> Result<T, Unreadable> {
    Err(Unreadable {
        rule,
        message: format!("{} {what}", path.display()),
        hint: Some(hint.to_owned()),
        position: None,
    })
}
