//! The state directory's part that changes while the server runs: `health.json`, the history of
//! health, `units.json`, the owners of units, and `overrides.json`.
//!
//! ```text
//! Effect::Commit ─► StateWriter ─► its thread: merge, encode, write, fsync, rename ─► commit::End
//! load(directory) ─► History and its age, load_units(directory) ─► UnitRecords, or a sentence why not
//! ```
//! Everything is written by one thread, in turn; nobody waits for it but the end of the process, and
//! that not for long. A file that cannot be used is set aside, never deleted.

mod directory;
mod files;
mod format;
mod last_good;
mod lock;
mod overrides;
mod place;
mod units;
mod writer;

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::publisher::History;

pub use directory::{objection, sweep};
pub use format::{Unusable, decode, encode};
pub use last_good::{LastGood, LastGoodError, load_last_good, save_databases, save_last_good};
pub use lock::{Lock, NotLocked};
pub use overrides::{
    FoundOverrides, OVERRIDES_FILE, decode_overrides, encode_overrides, load_overrides,
    write_overrides,
};
pub use place::{DEFAULT_STATE, SOCKET, is_default_state_hidden, state_directory};
pub use units::{
    UNITS_FILE, UNITS_SET_ASIDE, decode_units, encode_units, load_units, peek_units,
    were_units_lost, write_units,
};
pub use writer::StateWriter;

/// The file in the state directory.
pub const FILE: &str = "health.json";
/// What a file that cannot be used is renamed to.
pub const SET_ASIDE: &str = "health.json.bad";
/// The largest file that is read, in octets: a million targets.
pub const MAX_SIZE: u64 = 256 << 20;

/// Reads the history kept in `directory`, and how old it is at `now`; `None` where none is. An error
/// is one sentence; the file is then set aside, so that it is looked into and not met again.
pub fn load(directory: &Path, now: SystemTime) -> Result<Option<(History, Duration)>, String> {
    let path = directory.join(FILE);
    let kept = match read(&path, MAX_SIZE) {
        Ok(Some(bytes)) => decode(&bytes, now),
        Ok(None) => return Ok(None),
        Err(why) => Err(why),
    };
    kept.map(Some).map_err(|why| {
        let aside = set_aside(&path, directory, SET_ASIDE);
        format!(
            "the history of health in {} is not used, since it {why}; {aside}",
            path.display()
        )
    })
}

/// Renames a file that cannot be used; what came of it.
fn set_aside(path: &Path, directory: &Path, name: &str) -> String {
    match fs::rename(path, directory.join(name)) {
        Ok(()) => format!("it is set aside as {name}"),
        Err(error) => format!("it cannot be set aside: {error}"),
    }
}

/// A regular file's content; whatever else stands there is not opened, for a pipe would block and a link leads elsewhere.
fn read(path: &Path, most: u64) -> Result<Option<Vec<u8>>, Unusable> {
    let unreadable = |error: std::io::Error| {
        let why = format!("cannot be read: {error}");
        if error.kind() == ErrorKind::PermissionDenied {
            Unusable::Forbidden(why)
        } else {
            Unusable::Damaged(why)
        }
    };
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        // In a directory that is not there, or is a file, nothing is kept.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(unreadable(error)),
    };
    if !metadata.is_file() {
        return Err(Unusable::Damaged("is no regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > most {
        return Err(Unusable::Damaged(format!(
            "is larger than {} MiB",
            most >> 20
        )));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests;
