//! The local backend of write-ahead: a thread of its own that writes files of the state directory.
//!
//! A directory has few units compared with a fleet, one writer, and a disk whose sync costs far more
//! than the octets it takes. So all units stay in one file: the documents of a write are merged into
//! those that the directory had when it was adopted, and one file is written and synced once, however
//! many documents change. It is whole or absent after a crash, which many small files would not be
//! together. The merge is done here, on the thread that waits for the disk, so that the loop hands
//! over changed documents only.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::acme::write_acme;
use super::history::{HISTORY_FILE, write_history};
use super::{ACME_FILE, OVERRIDES_FILE, UNITS_FILE, write_overrides, write_units};
use crate::acme::StoredChallenges;
use crate::commit::{Documents, End, Failure, Outcome, Revision, Write};
use crate::model::WallTime;
use crate::overrides::StoredOverrides;
use crate::publisher::{Commit, History};
use crate::units::{UnitRecord, UnitRecords};

/// Writes to a state directory on a thread of its own.
#[derive(Debug)]
pub struct StateWriter {
    jobs: mpsc::Sender<Job>,
    /// Nothing is ever sent on it: it closes when the thread ends.
    end: mpsc::Receiver<()>,
    /// The begin of the write under way, in milliseconds since `started`, and one more; 0 where none
    /// is.
    began: Arc<AtomicU64>,
    started: Instant,
}

#[derive(Debug)]
enum Job {
    Adopt(UnitRecords),
    Write {
        commit: Commit,
        /// The time at which it was handed over: ages in the history count from it.
        made: SystemTime,
        /// Reads the times of overrides and challenges.
        wall: WallTime,
    },
}

/// The thread's state.
struct Backend {
    directory: PathBuf,
    units: Documents<UnitRecord>,
}

impl StateWriter {
    /// Starts the thread for a directory that has these units; `ended` hears from it how each write
    /// ended.
    pub fn start(
        directory: PathBuf,
        units: UnitRecords,
        ended: impl Fn(End) + Send + 'static,
    ) -> io::Result<StateWriter> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (alive, end) = mpsc::channel::<()>();
        let (began, started) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let under_way = began.clone();
        let mut backend = Backend {
            directory,
            units: Documents::adopt(units),
        };
        thread::Builder::new()
            .name("state".to_owned())
            .spawn(move || {
                // Dropped with the thread, however it ends: that is how `finish` notices.
                let _alive = alive;
                for job in inbox {
                    let since = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                    // The number stands alone: nothing else is read by it, so that no order is
                    // needed.
                    under_way.store(since.saturating_add(1), Ordering::Relaxed);
                    backend.run(job).into_iter().for_each(&ended);
                    under_way.store(0, Ordering::Relaxed);
                }
            })?;
        Ok(StateWriter {
            jobs,
            end,
            began,
            started,
        })
    }

    /// Takes the units that its directory has to be these from now on: it was adopted again.
    pub fn adopt(&self, units: UnitRecords) {
        self.send(Job::Adopt(units));
    }

    /// Writes documents after all that came before, times of overrides as `wall` reads them; returns
    /// at once.
    pub fn write(&self, commit: Commit, wall: WallTime) {
        // Taken now: the ages in the history count from here, however long the disk makes the write
        // wait.
        let made = SystemTime::now();
        self.send(Job::Write { commit, made, wall });
    }

    fn send(&self, job: Job) {
        // The thread ends after this sender only.
        let _ = self.jobs.send(job);
    }

    /// The time that the write under way has taken so far; zero where none is.
    pub fn takes(&self) -> Duration {
        match self.began.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            began => self
                .started
                .elapsed()
                .saturating_sub(Duration::from_millis(began - 1)),
        }
    }

    /// Waits for what is still to be written, but not longer than `patience`; true where all of it is.
    pub fn finish(self, patience: Duration) -> bool {
        // Ends the thread's loop once it has done all jobs before.
        drop(self.jobs);
        !matches!(
            self.end.recv_timeout(patience),
            Err(mpsc::RecvTimeoutError::Timeout)
        )
    }
}

impl Backend {
    /// Does a job; the end of its write, where it is one.
    fn run(&mut self, job: Job) -> Option<End> {
        let (commit, made, wall) = match job {
            Job::Write { commit, made, wall } => (commit, made, wall),
            Job::Adopt(units) => {
                self.units = Documents::adopt(units);
                return None;
            }
        };
        Some(match commit {
            Commit::History(write) => write.end(self.write_history(&write, made)),
            Commit::Units(write) => write.end(self.write_units(&write)),
            Commit::Overrides(write) => write.end(self.write_overrides(&write, wall)),
            Commit::Acme(write) => write.end(self.write_acme(&write, wall)),
        })
    }

    fn write_history(&self, write: &Write<History>, made: SystemTime) -> Outcome {
        for put in &write.puts {
            if let Err(error) = write_history(&self.directory, &put.value, made) {
                return Outcome::Failed(failure(&self.directory, HISTORY_FILE, &error));
            }
        }
        Outcome::Committed(Revision(write.id))
    }

    fn write_units(&mut self, write: &Write<UnitRecord>) -> Outcome {
        // Borrowed apart from the units, which `commit` changes.
        let directory = &self.directory;
        self.units.commit(write, |documents| {
            write_units(directory, documents.values())
                .map_err(|error| failure(directory, UNITS_FILE, &error))
        })
    }

    fn write_overrides(&self, write: &Write<StoredOverrides>, wall: WallTime) -> Outcome {
        for put in &write.puts {
            let StoredOverrides { overrides, last } = &put.value;
            if let Err(error) = write_overrides(&self.directory, overrides, *last, wall) {
                return Outcome::Failed(failure(&self.directory, OVERRIDES_FILE, &error));
            }
        }
        Outcome::Committed(Revision(write.id))
    }

    fn write_acme(&self, write: &Write<StoredChallenges>, wall: WallTime) -> Outcome {
        for put in &write.puts {
            if let Err(error) = write_acme(&self.directory, &put.value, wall) {
                return Outcome::Failed(failure(&self.directory, ACME_FILE, &error));
            }
        }
        Outcome::Committed(Revision(write.id))
    }
}

fn failure(directory: &Path, file: &str, error: &io::Error) -> Failure {
    Failure::Storage {
        path: directory.join(file).display().to_string(),
        error: error.to_string(),
    }
}
