//! The thread that writes.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::files::{make_directory, write_atomically};
use super::{FILE, OVERRIDES_FILE, UNITS_FILE, encode, write_overrides, write_units};
use crate::model::WallTime;
use crate::publisher::{Event, History, UnitRecords};
use crate::steer::Overrides;

/// Writes to a state directory on a thread of its own.
#[derive(Debug)]
pub struct Keeper {
    jobs: mpsc::Sender<Job>,
    /// Nothing is ever sent on it: it closes when the thread ends.
    end: mpsc::Receiver<()>,
    /// When the write under way began, in milliseconds since `started`, and one more; 0 where none is.
    began: Arc<AtomicU64>,
    started: Instant,
}

/// What is written, each to a file of its own.
#[derive(Debug)]
pub enum Kept {
    /// The history of health, made just now; [`Event::Persisted`] says how it went.
    History(History),
    /// Who owns the units; [`Event::UnitsPersisted`] does.
    Units(UnitRecords),
    /// What operators say, the highest number ever given to that, and how times are to be read; [`Event::OverridesPersisted`]
    /// does.
    Overrides(Overrides, u64, WallTime),
}

#[derive(Debug)]
struct Job {
    id: u64,
    kept: Kept,
    made: SystemTime,
}

impl Keeper {
    /// Starts the thread; `ended` hears from it how each write ended, with the number it was given
    /// and, where it failed, why.
    pub fn start(directory: PathBuf, ended: impl Fn(Event) + Send + 'static) -> io::Result<Keeper> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (alive, end) = mpsc::channel::<()>();
        let (began, started) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let under_way = began.clone();
        thread::Builder::new()
            .name("state".to_owned())
            .spawn(move || {
                let _alive = alive;
                for Job { id, kept, made } in inbox {
                    under_way.store(started.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
                    let failed = |file: &str, error: io::Error| {
                        format!("{}: {error}", directory.join(file).display())
                    };
                    ended(match kept {
                        Kept::History(history) => {
                            let written = make_directory(&directory).and_then(|()| {
                                write_atomically(&directory, FILE, &encode(&history, made))
                            });
                            Event::Persisted {
                                id,
                                result: written.map_err(|error| failed(FILE, error)),
                            }
                        }
                        Kept::Units(records) => {
                            let written = write_units(&directory, &records);
                            Event::UnitsPersisted {
                                id,
                                result: written.map_err(|error| failed(UNITS_FILE, error)),
                            }
                        }
                        Kept::Overrides(overrides, last, wall) => {
                            let written = write_overrides(&directory, &overrides, last, wall);
                            Event::OverridesPersisted {
                                id,
                                result: written.map_err(|error| failed(OVERRIDES_FILE, error)),
                            }
                        }
                    });
                    under_way.store(0, Ordering::Relaxed);
                }
            })?;
        Ok(Keeper {
            jobs,
            end,
            began,
            started,
        })
    }

    /// Has it written after all that came before; returns at once.
    pub fn keep(&self, id: u64, kept: Kept) {
        // The thread ends after this sender only.
        let _ = self.jobs.send(Job {
            id,
            kept,
            made: SystemTime::now(),
        });
    }

    /// How long the write under way takes so far; zero where none is.
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
        drop(self.jobs);
        !matches!(
            self.end.recv_timeout(patience),
            Err(mpsc::RecvTimeoutError::Timeout)
        )
    }
}
