//! One process at a time changes who owns units.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::files::make_directory;

/// The file in the state directory that is locked.
const FILE: &str = "lock";

/// A state directory that no other process can adopt while this value lives. The kernel releases it
/// when the process ends, however it does.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

/// A reason why a state directory cannot be had alone.
#[derive(Debug)]
pub enum NotLocked {
    /// Another process has it.
    Taken,
    /// The lock cannot be made.
    Impossible(io::Error),
}

impl Lock {
    /// Takes `directory`, which is made where it is not there.
    pub fn take(directory: &Path) -> Result<Lock, NotLocked> {
        let file = open(directory).map_err(NotLocked::Impossible)?;
        // Without waiting: two servers on one directory are a mistake that the operator has to see
        // at once.
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Lock { _file: file }),
            Err((_, Errno::EWOULDBLOCK)) => Err(NotLocked::Taken),
            Err((_, error)) => Err(NotLocked::Impossible(error.into())),
        }
    }
}

fn open(directory: &Path) -> io::Result<File> {
    make_directory(directory)?;
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        // The file is empty and stays: only the lock on it counts, and removing it would let two
        // processes lock two files.
        .truncate(false)
        .mode(0o600)
        // A link in its place would lock a file elsewhere, and leave this directory open to others.
        .custom_flags(nix::libc::O_NOFOLLOW);
    options.open(directory.join(FILE))
}

impl fmt::Display for NotLocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotLocked::Taken => f.write_str("another process has the state directory"),
            NotLocked::Impossible(error) => {
                write!(f, "the state directory cannot be locked: {error}")
            }
        }
    }
}

impl std::error::Error for NotLocked {}
