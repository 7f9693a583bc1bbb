//! The thread that writes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use super::{FILE, encode};
use crate::loader::write_atomically;
use crate::publisher::History;

/// Writes to a state directory on a thread of its own.
#[derive(Debug)]
pub struct Keeper {
    jobs: mpsc::Sender<Job>,
    /// Nothing is ever sent on it: it closes when the thread ends.
    end: mpsc::Receiver<()>,
}

#[derive(Debug)]
struct Job {
    id: u64,
    history: History,
    made: SystemTime,
}

impl Keeper {
    /// Starts the thread; `ended` hears from it how each write ended, with the number it was given
    /// and, where it failed, why.
    pub fn start(directory: PathBuf, ended: impl Fn(u64, Result<(), String>) + Send + 'static) -> io::Result<Keeper> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (alive, end) = mpsc::channel::<()>();
        thread::Builder::new().name("state".to_owned()).spawn(move || {
            let _alive = alive;
            for Job { id, history, made } in inbox {
                let written = write(&directory, &encode(&history, made));
                ended(id, written.map_err(|error| format!("{}: {error}", directory.join(FILE).display())));
            }
        })?;
        Ok(Keeper { jobs, end })
    }

    /// Has `history`, made just now, written; returns at once.
    pub fn keep(&self, id: u64, history: History) {
        // The thread ends after this sender only.
        let _ = self.jobs.send(Job { id, history, made: SystemTime::now() });
    }

    /// Waits for what is still to be written, but not longer than `patience`; true where all of it is.
    pub fn finish(self, patience: Duration) -> bool {
        drop(self.jobs);
        !matches!(self.end.recv_timeout(patience), Err(mpsc::RecvTimeoutError::Timeout))
    }
}

fn write(directory: &Path, content: &[u8]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    write_atomically(directory, FILE, content)
}
