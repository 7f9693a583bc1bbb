//! The state directory as the server has it: adopted by this process alone, or not.
//!
//! One process at a time adopts a state directory: it alone writes overrides and who owns the units, and
//! it alone serves the control socket. Another one that finds it taken serves all else.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use crate::acme::Challenge;
use crate::config::Config;
use crate::control::{self, Control};
use crate::model::WallTime;
use crate::overrides;
use crate::publisher::{AcmeEvent, Event, OverrideEvent, UnitEvent};
use crate::state::{self, FoundOverrides, Lock, NotLocked, StateWriter};
use crate::units::{UnitRecords, begin_units};

/// A state directory, adopted by this process alone or not.
#[derive(Debug, Default)]
pub(super) struct Directory {
    path: Option<PathBuf>,
    /// True where nobody else may change what is in it: then it may be written to.
    is_usable: bool,
    lock: Option<Lock>,
    socket: Option<(PathBuf, JoinHandle<()>)>,
}

/// A state directory that a reload leads to, adopted beside the loop: each step of that may hang with
/// its file system.
#[derive(Debug)]
pub(super) struct Moved {
    pub(super) directory: Directory,
    pub(super) listener: Option<UnixListener>,
    pub(super) found: Found,
}

impl Moved {
    /// Adopts the directory that the files name, `named`, unless it is the one that is `settled`; `wall`
    /// reads the times kept in it.
    pub(super) fn find(
        named: Option<PathBuf>,
        settled: Option<Option<PathBuf>>,
        wall: impl FnOnce() -> WallTime,
    ) -> Option<Moved> {
        let state = state::state_directory(named);
        // The lock of a directory that is already adopted is held by this process: taking it again
        // would fail.
        if settled.as_ref() == Some(&state) {
            return None;
        }
        let mut directory = Directory::default();
        let found = directory.adopt(state.as_deref(), wall());
        let listener = directory.bind();
        Some(Moved {
            directory,
            listener,
            found,
        })
    }
}

/// The units, overrides and ACME challenges in a state directory.
#[derive(Debug)]
pub(super) struct Found {
    records: UnitRecords,
    /// The reason why no unit may change hands.
    frozen: Option<String>,
    /// True when the records of units could not be read and were lost.
    lost: bool,
    /// The overrides of operators.
    overrides: FoundOverrides,
    /// The ACME challenges that operators set; `None` where none were ever kept.
    challenges: Option<Vec<Challenge>>,
}

impl Found {
    /// Nothing, for a reason why no unit may change hands.
    fn frozen(why: String) -> Found {
        Found {
            records: UnitRecords::new(),
            frozen: Some(why),
            lost: false,
            overrides: FoundOverrides::default(),
            challenges: None,
        }
    }

    /// The records of units that the directory has.
    pub(super) fn records(&self) -> &UnitRecords {
        &self.records
    }

    /// The events that tell the publisher about them.
    pub(super) fn events(self) -> [Event; 3] {
        let Found {
            records,
            frozen,
            overrides,
            challenges,
            ..
        } = self;
        let FoundOverrides {
            overrides,
            last,
            lost,
            ..
        } = overrides;
        [
            OverrideEvent::Adopted(overrides::Found {
                overrides,
                last,
                lost,
            })
            .into(),
            AcmeEvent::Adopted(challenges).into(),
            UnitEvent::Adopted { records, frozen }.into(),
        ]
    }
}

/// Refuses a directory that others may change: nothing in it can be trusted.
fn refuse(why: String) -> Found {
    tracing::error!(
        "state directory not used: {why}; no unit is answered, the overrides are unknown, and there is no control socket until you repair the directory and reload"
    );
    // Marked as lost rather than empty: the node is not ready, since regions that an operator drained
    // may get clients from it.
    let lost = format!("overrides lost: {why}; no override is in force");
    Found {
        overrides: FoundOverrides {
            lost: Some(lost),
            ..FoundOverrides::default()
        },
        ..Found::frozen(why)
    }
}

/// Reads a directory that this process has for itself.
fn read(path: &Path, wall: WallTime) -> Found {
    let overrides = find_overrides(path, wall);
    let challenges = state::load_acme(path, wall).unwrap_or_else(|why| {
        tracing::warn!("{why}");
        None
    });
    match state::load_units(path) {
        Ok(records) => Found {
            records,
            frozen: None,
            lost: state::were_units_lost(path),
            overrides,
            challenges,
        },
        Err(why) => {
            // The directory is adopted all the same: an operator has to reach this server to give
            // new epochs.
            tracing::error!("{why}");
            // A file that could not be set aside must not be written over.
            let there = path.join(state::UNITS_FILE).exists();
            Found {
                records: UnitRecords::new(),
                frozen: there.then(|| why.to_string()),
                lost: true,
                overrides,
                challenges,
            }
        }
    }
}

impl Directory {
    /// Adopts `path`, and tells what is found there; `wall` reads the times kept in it.
    pub(super) fn adopt(&mut self, path: Option<&Path>, wall: WallTime) -> Found {
        self.path = path.map(Path::to_owned);
        let Some(path) = path else {
            return Found::frozen(
                "there is no state directory: [server] state names one".to_owned(),
            );
        };
        if let Some(why) = state::objection(path) {
            return refuse(why);
        }
        // Without the lock the history is still written: two processes' histories are equally good, and
        // each write is atomic.
        self.is_usable = true;
        let (records, why) = match Lock::take(path) {
            Ok(lock) => {
                self.lock = Some(lock);
                // Only under the lock: what looks unfinished may be a write of the process that has
                // the directory.
                state::sweep(path);
                return read(path, wall);
            }
            Err(why @ NotLocked::Taken) => {
                tracing::error!(
                    "state directory not adopted: {why} {}; no unit is answered, and there is no control socket",
                    path.display()
                );
                (UnitRecords::new(), format!("{why} {}", path.display()))
            }
            Err(why @ NotLocked::Impossible(_)) => {
                tracing::warn!(
                    "state directory not adopted: {why}; no unit changes hands, and there is no control socket"
                );
                // Whoever owns a unit keeps it: what is on the disk stays as it is.
                let records = state::peek_units(path).unwrap_or_default();
                (records, why.to_string())
            }
        };
        // What operators tell the process that has the directory holds here as it stands now.
        Found {
            records,
            overrides: find_overrides(path, wall),
            challenges: state::peek_acme(path, wall).unwrap_or_default(),
            ..Found::frozen(why)
        }
    }

    /// Gives each unit without a record the owner that the files name, on the disk before anything is
    /// answered.
    pub(super) fn begin_units(&self, config: &Config, found: &mut Found) {
        // A copy: on a failed write the units stay without an owner, as the disk has it.
        let mut records = found.records.clone();
        let begun = begin_units(config, &mut records);
        let Some(path) = self.path.as_ref().filter(|_| !begun.is_empty()) else {
            return;
        };
        let refused = match (&found.frozen, found.lost) {
            (Some(why), _) => why.clone(),
            (None, true) => {
                "the records of their last owners were lost: run `meridian unit init --epoch N` with an epoch higher than any before".to_owned()
            }
            (None, false) => match state::write_units(path, &records) {
                Ok(()) => {
                    tracing::info!("units initialised: {}; each is owned by the region that its zone file names, in epoch 1", begun.len());
                    found.records = records;
                    return;
                }
                Err(error) => format!("{}: {error}", path.join(state::UNITS_FILE).display()),
            },
        };
        tracing::error!("units not initialised: {}; {refused}", begun.len());
    }

    /// Makes the control socket in it, where it is adopted.
    pub(super) fn bind(&self) -> Option<UnixListener> {
        let path = self.path.as_ref().filter(|_| self.lock.is_some())?;
        control::local::bind(path)
            .inspect_err(|why| tracing::warn!("control socket not created: {why}; operators' commands cannot reach this server"))
            .ok()
    }

    /// Serves the control socket.
    pub(super) fn serve(&mut self, listener: Option<UnixListener>, control: &Control) {
        let (Some(path), Some(listener)) = (&self.path, listener) else {
            return;
        };
        let socket = path.join(state::SOCKET);
        self.socket = Some((
            socket,
            tokio::spawn(control::local::serve(listener, control.clone())),
        ));
    }

    /// The path; `None` where there is no state directory.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The path of a directory that may be written to.
    pub(super) fn usable_path(&self) -> Option<&Path> {
        self.path().filter(|_| self.is_usable)
    }

    /// The path of a directory that this process alone writes to.
    pub(super) fn adopted_path(&self) -> Option<PathBuf> {
        self.path.clone().filter(|_| self.is_adopted())
    }

    /// True where this process alone writes to it.
    pub(super) fn is_adopted(&self) -> bool {
        self.lock.is_some()
    }

    /// The directory, or that there is none; `None` where it was not adopted, and may be another time.
    pub(super) fn settled(&self) -> Option<Option<PathBuf>> {
        (self.path.is_none() || self.lock.is_some()).then(|| self.path.clone())
    }

    /// Lets other processes adopt it, once its socket is gone and `writer` has written what it has to
    /// write. That is done on a thread of its own, whose file system may hang; the receiver hears when
    /// the socket is gone.
    pub(super) fn leave(&mut self, writer: Option<StateWriter>) -> Receiver<()> {
        let (gone, removed) = channel();
        let (lock, socket) = (self.lock.take(), self.socket.take());
        if let Some((_, task)) = &socket {
            // No request may arrive for a directory that is being left.
            task.abort();
        }
        thread::spawn(move || {
            if let Some((path, _)) = socket {
                let _ = std::fs::remove_file(path);
            }
            // The end waits for this and not for the lock, so that a hanging write does not hold it
            // up.
            let _ = gone.send(());
            if let Some(writer) = writer {
                writer.finish(Duration::MAX);
            }
            // The lock goes last: whoever has it next makes a socket of the same name.
            drop(lock);
        });
        removed
    }
}

/// Reads the overrides in `path`, whose times `wall` reads; a loss is logged.
fn find_overrides(path: &Path, wall: WallTime) -> FoundOverrides {
    let found = state::load_overrides(path, wall);
    if let Some(why) = &found.lost {
        tracing::error!(
            "{why}; the node is not ready until you run `meridian overrides --accept-loss`, or repair the file and restart"
        );
    }
    found
}
