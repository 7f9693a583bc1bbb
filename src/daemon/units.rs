//! The loop's part in units: the state directory that they are kept in, and operators who move them.
//!
//! One process at a time takes a state directory up: it alone writes who owns the units, and it alone serves the control
//! socket. Another one that finds it taken serves all else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Daemon;
use crate::config::Config;
use crate::control::{self, Command, Control};
use crate::model::{Moment, WallTime};
use crate::overrides;
use crate::publisher::{Done, Event, NotDone, OverrideEvent, UnitEvent};
use crate::state::{self, FoundOverrides, Lock, NotLocked, StateWriter};
use crate::units::{self, UnitRecords, begin_units};

/// How long operators wait for the state directory.
const PATIENCE: Duration = Duration::from_secs(5);

/// A state directory, taken up for this process alone or not.
#[derive(Debug, Default)]
pub(super) struct Directory {
    path: Option<PathBuf>,
    lock: Option<Lock>,
    socket: Option<(PathBuf, JoinHandle<()>)>,
}

/// A state directory that a reload leads to, taken up beside the loop: each step of that may hang with its file system.
#[derive(Debug)]
pub(super) struct Moved {
    state: Option<PathBuf>,
    /// It may be written to.
    usable: bool,
    directory: Directory,
    listener: Option<UnixListener>,
    found: Found,
}

impl Moved {
    /// Takes up the directory that the files name, `named`, unless it is the one that is `settled`; `wall` reads the times kept in it.
    pub(super) fn find(
        named: Option<PathBuf>,
        settled: Option<Option<PathBuf>>,
        wall: impl FnOnce() -> WallTime,
    ) -> Option<Moved> {
        let state = state::state_directory(named);
        if settled.as_ref() == Some(&state) {
            return None;
        }
        let mut directory = Directory::default();
        let found = directory.take_up(state.as_deref(), wall());
        let listener = directory.bind();
        let usable = state
            .as_deref()
            .is_some_and(|state| state::objection(state).is_none());
        Some(Moved {
            state,
            usable,
            directory,
            listener,
            found,
        })
    }
}

/// What a state directory says of units and overrides.
#[derive(Debug)]
pub(super) struct Found {
    records: UnitRecords,
    /// Why no unit may change hands.
    frozen: Option<String>,
    /// What is known of units could not be read, and was lost.
    lost: bool,
    /// What operators say.
    overrides: FoundOverrides,
}

impl Found {
    /// The records of units that the directory has.
    pub(super) fn records(&self) -> &UnitRecords {
        &self.records
    }

    /// What the publisher is to hear.
    pub(super) fn events(self) -> [Event; 2] {
        let Found {
            records,
            frozen,
            overrides,
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
            UnitEvent::Adopted { records, frozen }.into(),
        ]
    }
}

impl Directory {
    /// Takes `path` up, where nothing is; `wall` reads the times kept in it.
    pub(super) fn take_up(&mut self, path: Option<&Path>, wall: WallTime) -> Found {
        self.path = path.map(Path::to_owned);
        let found = |records, frozen| Found {
            records,
            frozen,
            lost: false,
            overrides: FoundOverrides::default(),
        };
        let Some(path) = path else {
            let why = "there is no state directory: [server] state names one".to_owned();
            return found(UnitRecords::new(), Some(why));
        };
        if let Some(why) = state::objection(path) {
            tracing::error!(
                "{why}. NOTHING IN IT IS USED, NO UNIT IS ANSWERED, and there is no control socket until a reload"
            );
            let lost = Some(format!(
                "the overrides are lost, since {why}; NO OVERRIDE IS IN FORCE"
            ));
            let overrides = FoundOverrides {
                lost,
                ..FoundOverrides::default()
            };
            return Found {
                overrides,
                ..found(UnitRecords::new(), Some(why))
            };
        }
        match Lock::take(path) {
            Ok(lock) => self.lock = Some(lock),
            Err(why @ NotLocked::Taken) => {
                tracing::error!(
                    "{why} {}: NO UNIT IS ANSWERED, and there is no control socket",
                    path.display()
                );
                // What operators say to that process holds here as it stands now.
                return Found {
                    overrides: find_overrides(path, wall),
                    ..found(
                        UnitRecords::new(),
                        Some(format!("{why} {}", path.display())),
                    )
                };
            }
            Err(why @ NotLocked::Impossible(_)) => {
                tracing::warn!("{why}; there is no control socket");
                // Whoever owns a unit keeps it: what is on the disk stays as it is.
                let records = state::peek_units(path).unwrap_or_default();
                return Found {
                    overrides: find_overrides(path, wall),
                    ..found(records, Some(why.to_string()))
                };
            }
        }
        state::sweep(path);
        let overrides = find_overrides(path, wall);
        match state::load_units(path) {
            Ok(records) => Found {
                overrides,
                lost: state::were_units_lost(path),
                ..found(records, None)
            },
            Err(why) => {
                tracing::error!("{why}");
                // What is in the way would be written over.
                let there = path.join(state::UNITS_FILE).exists();
                Found {
                    records: UnitRecords::new(),
                    frozen: there.then(|| why.to_string()),
                    lost: true,
                    overrides,
                }
            }
        }
    }

    /// Gives each unit without a record the owner that the files name, on the disk before anything is
    /// answered.
    pub(super) fn begin_units(&self, config: &Config, found: &mut Found) {
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

    /// Makes the control socket in it, where it is taken up.
    pub(super) fn bind(&self) -> Option<UnixListener> {
        let path = self.path.as_ref().filter(|_| self.lock.is_some())?;
        control::local::bind(path)
            .inspect_err(|why| tracing::warn!("there is no control socket: {why}"))
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

    /// True where this process alone writes to it.
    pub(super) fn is_taken_up(&self) -> bool {
        self.lock.is_some()
    }

    /// The directory, or that there is none; `None` where it was not taken up, and may be another time.
    pub(super) fn settled(&self) -> Option<Option<PathBuf>> {
        (self.path.is_none() || self.lock.is_some()).then(|| self.path.clone())
    }

    /// Lets others take it up, once `writer` has written there what it has to write.
    pub(super) fn leave(&mut self, writer: Option<StateWriter>) {
        if let Some((path, task)) = self.socket.take() {
            task.abort();
            let (gone, removed) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                let _ = std::fs::remove_file(path);
                let _ = gone.send(());
            });
            // On a file system that hangs it stays, and the next start takes its place.
            let _ = removed.recv_timeout(Duration::from_millis(100));
        }
        let lock = self.lock.take();
        if let Some(writer) = writer {
            std::thread::spawn(move || {
                writer.finish(Duration::MAX);
                drop(lock);
            });
        }
    }
}

/// What operators say, as it is kept in `path`, whose times `wall` reads; a loss is said.
fn find_overrides(path: &Path, wall: WallTime) -> FoundOverrides {
    let found = state::load_overrides(path, wall);
    if let Some(why) = &found.lost {
        tracing::error!(
            "{why}. NOT READY until `meridian overrides --accept-loss`, or until a restart that finds the file mended"
        );
    }
    found
}

/// An operator who waits for an answer, which is given once what was asked for is on the disk.
#[derive(Debug)]
pub(super) struct Asking {
    since: Moment,
    pub(super) reply: oneshot::Sender<Result<Done, NotDone>>,
}

impl Daemon {
    /// Operators are not kept waiting for a disk that hangs.
    pub(super) fn answer_waiting(&mut self) {
        let now = self.now();
        for (_, asking) in self
            .requests
            .extract_if(|_, asking| now.since(asking.since) >= PATIENCE)
        {
            let why = format!(
                "the state directory has not answered for {} s",
                now.since(asking.since).as_secs()
            );
            let _ = asking.reply.send(Err(NotDone::NotKnown(why)));
        }
    }

    /// That a write to the state directory takes too long.
    fn state_hangs(&self) -> Option<String> {
        let takes = self.writer.as_ref()?.takes();
        let path = self.state.as_deref()?.display();
        (takes >= PATIENCE).then(|| {
            format!(
                "the state directory {path} has not answered for {} s",
                takes.as_secs()
            )
        })
    }

    /// The history of health, units and overrides are kept where the new files say; a directory that could not be taken up before
    /// was tried again.
    pub(super) fn follow_state(&mut self, moved: Option<Moved>) {
        let Some(Moved {
            state,
            usable,
            directory,
            listener,
            found,
        }) = moved
        else {
            return;
        };
        let before = if state == self.state {
            None
        } else {
            self.writer.take()
        };
        self.state = state;
        match &self.writer {
            Some(writer) => writer.adopt(found.records.clone()),
            None => self.start_writer(usable, found.records.clone()),
        }
        self.directory.leave(before);
        self.directory = directory;
        self.directory.serve(listener, &self.control);
        let given_up = self
            .publisher
            .switch_overrides(self.directory.is_taken_up() && self.writer.is_some());
        self.take(given_up);
        found
            .events()
            .into_iter()
            .for_each(|event| self.handle(event));
    }

    /// Every thread has left the snapshots before this one.
    pub(super) fn report_seen_by_all(&mut self) {
        self.free_retired();
        let publication = self.retired.oldest().unwrap_or(self.publication);
        self.handle(UnitEvent::SeenByAll { publication });
    }

    /// Has the publisher carry out an operator's command, which it may answer later.
    pub(super) fn carry_out(
        &mut self,
        command: Command,
        reply: oneshot::Sender<Result<Done, NotDone>>,
    ) {
        if let Some(why) = self.state_hangs() {
            let _ = reply.send(Err(NotDone::NotKept(why)));
            return;
        }
        let event = event_of(
            command,
            self.requested + 1,
            &self.publisher.dataset().config,
        );
        match event {
            Ok(event) => {
                self.requested += 1;
                let asking = Asking {
                    since: self.now(),
                    reply,
                };
                self.requests.insert(self.requested, asking);
                self.handle(event);
            }
            Err(why) => drop(reply.send(Err(why))),
        }
    }
}

/// The publisher's event of a command, which is answered by its number. Ids hold for one dataset:
/// names are resolved here, in the loop, where no reload comes between this and the event.
fn event_of(command: Command, request: u64, config: &Config) -> Result<Event, NotDone> {
    Ok(match command {
        Command::MoveUnit {
            unit,
            region,
            force,
        } => UnitEvent::Move {
            request,
            unit: units::find_unit(config, &unit)?,
            region: units::find_region(config, &region)?,
            force,
        }
        .into(),
        Command::BeginUnits { name, epoch } => UnitEvent::Begin {
            request,
            units: units::find_units(config, &name)?,
            epoch,
        }
        .into(),
        Command::Override(asked) => OverrideEvent::Request { request, asked }.into(),
        Command::Release { what, force } => OverrideEvent::Release {
            request,
            what,
            force,
        }
        .into(),
        Command::AcceptLoss => OverrideEvent::AcceptLoss { request }.into(),
    })
}
