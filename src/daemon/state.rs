//! The state directory's part of the loop: the thread that writes there, and the way back from it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Daemon;
use super::directory::{Directory, Found, Moved};
use crate::commit::End;
use crate::control::Control;
use crate::model::WallTime;
use crate::publisher::Commit;
use crate::state::StateWriter;
use crate::units::UnitRecords;

/// The time that the end waits for the socket to go.
const SOCKET_GOES: Duration = Duration::from_millis(100);

/// The state directory, and its writer where it may be written to.
pub(super) struct State {
    directory: Directory,
    writer: Option<StateWriter>,
    ended: mpsc::UnboundedSender<End>,
    ends: mpsc::UnboundedReceiver<End>,
}

impl State {
    /// Adopts the directory at `path`, whose times `wall` reads; its content too.
    pub(super) fn adopt(path: Option<&Path>, wall: WallTime) -> (State, Found) {
        let mut directory = Directory::default();
        let found = directory.adopt(path, wall);
        // Unbounded, so that the writer never waits for the loop; it has one write of each kind
        // under way.
        let (ended, ends) = mpsc::unbounded_channel();
        let state = State {
            directory,
            writer: None,
            ended,
            ends,
        };
        (state, found)
    }

    /// The directory.
    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The path of the directory where this process writes there.
    pub(super) fn written_path(&self) -> Option<PathBuf> {
        self.writer.as_ref()?;
        self.directory.path().map(Path::to_owned)
    }

    /// Starts the writer where the directory is usable: it has these units.
    pub(super) fn start_writer(&mut self, units: UnitRecords) -> io::Result<()> {
        let Some(path) = self.directory.usable_path() else {
            return Ok(());
        };
        let ended = self.ended.clone();
        // The loop may have ended meanwhile.
        let report = move |end| drop(ended.send(end));
        self.writer = Some(StateWriter::start(path.to_owned(), units, report)?);
        Ok(())
    }

    /// True where the history of health and units are written.
    pub(super) fn has_writer(&self) -> bool {
        self.writer.is_some()
    }

    /// Serves the control socket in the directory.
    pub(super) fn serve(&mut self, control: &Control) {
        let listener = self.directory.bind();
        self.directory.serve(listener, control);
    }

    /// Has documents written, times of overrides as `wall` reads them; returns at once.
    pub(super) fn write(&self, commit: Commit, wall: WallTime) {
        if let Some(writer) = &self.writer {
            writer.write(commit, wall);
        }
    }

    /// The end of the next write.
    pub(super) async fn next(&mut self) -> End {
        match self.ends.recv().await {
            Some(end) => end,
            None => std::future::pending().await,
        }
    }

    /// The time that the write under way takes so far.
    pub(super) fn takes(&self) -> Option<Duration> {
        self.writer.as_ref().map(StateWriter::takes)
    }

    /// A sentence where a write has taken longer than `patience`.
    pub(super) fn hangs(&self, patience: Duration) -> Option<String> {
        let takes = self.takes()?;
        let path = self.directory.path()?.display();
        (takes >= patience).then(|| {
            format!(
                "the state directory {path} has not answered for {} s",
                takes.as_secs()
            )
        })
    }

    /// Begins to end: the writer writes what it has, and `last`.
    pub(super) fn write_last(
        &mut self,
        last: Option<Commit>,
        wall: WallTime,
    ) -> Option<StateWriter> {
        let writer = self.writer.take()?;
        if let Some(commit) = last {
            writer.write(commit, wall);
        }
        Some(writer)
    }

    /// Lets other processes adopt the directory.
    pub(super) fn leave(&mut self) {
        // On a file system that hangs the socket stays, and the next start takes its place.
        let _ = self.directory.leave(None).recv_timeout(SOCKET_GOES);
    }
}

impl Daemon {
    /// Tells the tasks that write to the state directory themselves where that is.
    pub(super) fn show_state_place(&self) {
        let is_adopted = self.state.directory.is_adopted();
        let path = self.state.written_path().filter(|_| is_adopted);
        self.state_place.store(path.map(Arc::new));
    }

    /// Writes where the new files say from now on; a directory that could not be adopted before was
    /// tried again.
    pub(super) fn follow_state(&mut self, moved: Option<Moved>) {
        let Some(Moved {
            directory,
            listener,
            found,
        }) = moved
        else {
            return;
        };
        // The writer of a directory that is left goes on until it has written what it has.
        let before = if directory.path() == self.state.directory.path() {
            None
        } else {
            self.state.writer.take()
        };
        // The loop does not wait for it: another directory has another socket.
        drop(self.state.directory.leave(before));
        self.state.directory = directory;
        match &self.state.writer {
            Some(writer) => writer.adopt(found.records().clone()),
            None => {
                if let Err(why) = self.state.start_writer(found.records().clone()) {
                    tracing::warn!(
                        "health history not persisted: cannot start the thread that writes it: {why}; restart the server to try again"
                    );
                }
                self.publisher.switch_history(self.state.has_writer());
            }
        }
        self.state.directory.serve(listener, &self.control);
        self.show_state_place();
        // Overrides need both: another process's file must not be overwritten, however writable it
        // is.
        let is_kept = self.state.directory.is_adopted() && self.state.has_writer();
        let given_up = self.publisher.switch_overrides(is_kept);
        self.take(given_up);
        // Last: these events may commit, and the writer that takes the commit is in place now.
        for event in found.events() {
            self.handle(event);
        }
    }
}
