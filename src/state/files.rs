//! Files and directories of state: written whole or not at all, for this user alone.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// The begin of the names of files that are being written: what a write cut short leaves behind.
pub(super) const UNFINISHED: &str = ".new-";

/// Puts a file in place whole or not at all: written aside, synced, renamed, and the directory synced.
pub(super) fn write_atomically(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        // In the same directory, since a rename is atomic only within one file system.
        .prefix(UNFINISHED)
        .tempfile_in(directory)?;
    file.write_all(bytes)?;
    // The content reaches the disk before the name does: a crash in between leaves the old file,
    // never an empty one.
    file.as_file().sync_all()?;
    file.persist(directory.join(name))
        .map_err(|error| error.error)?;
    // A rename is durable only once the directory is.
    sync_directory(directory)
}

/// Has the names in a directory on the disk.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Makes a directory of state and what is missing above it, for this user alone; one that is there
/// stays as it is.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
