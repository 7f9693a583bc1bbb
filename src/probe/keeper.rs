//! The state of one target's watch, as its slot keeps it.

mod policy;

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use crate::health::Watch;
use crate::model::TargetId;

pub(super) use policy::Policy;

/// The watch of one target; its end ends the connection.
#[derive(Default)]
pub(super) struct Keeper(Mutex<Kept>);

/// The parts of a keeper.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) policy: Policy,
    /// The generation and the state that were told last.
    pub(super) told: Option<(u32, Watch)>,
    /// The task that opens the connection and holds it.
    pub(super) task: Option<AbortHandle>,
}

/// The end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The peer ended it or could not be reached, or it could not be opened.
    Lost,
    /// The peer sends so much that it was cut off.
    Talkative,
    /// There was no descriptor for it.
    NoDescriptor,
}

impl Keeper {
    /// Other files are in force: where the watch was given up it is tried again.
    pub(super) fn reloaded(&self) {
        self.kept().policy.retry();
    }

    /// Its parts.
    pub(super) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(task) = self.kept().task.take() {
            task.abort();
        }
    }
}

impl Kept {
    /// The state of a watch, with the configuration and the id to tell it under; `None` where that
    /// is known, or where the target has no `address` any more.
    pub(super) fn news(&self, address: Option<(u32, TargetId)>) -> Option<(u32, TargetId, Watch)> {
        let (generation, target) = address?;
        let watch = self.policy.watch();
        let is_known = match self.told {
            None => watch == Watch::None,
            // What was told just before a reload may have come too late for it.
            told => told == Some((generation, watch)),
        };
        (!is_known).then_some((generation, target, watch))
    }
}
