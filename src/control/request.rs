//! The inputs of the publisher's loop that come by the admin address and the control socket.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::last_reload::{NotReloaded, Reloaded};
use crate::acme::{ChallengeRequest, Subject, Value};
use crate::changes;
use crate::commit::Revision;
use crate::config::Config;
use crate::health::Report;
use crate::model::{RegionId, ServiceId, TargetId};
use crate::overrides::{OverrideRequest, Selector};
use crate::publisher::{Done, NotDone};
use crate::recovery::NotResumed;

/// Error of a request whose ids belong to a configuration that a reload has replaced; whoever
/// resolved them resolves them again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale;

/// An input of the publisher's loop, and the way of its answer.
#[derive(Debug)]
pub enum Request {
    /// An endpoint reports itself.
    Report {
        /// The configuration that `target` belongs to.
        config: Arc<Config>,
        /// The targets of a `push` check that it counts for.
        targets: Vec<TargetId>,
        /// The report's contents.
        report: Report,
        /// The answer.
        reply: oneshot::Sender<Result<(), Stale>>,
    },
    /// An operator takes back what is held.
    Resume {
        /// The configuration that the ids belong to.
        config: Arc<Config>,
        /// The service.
        service: ServiceId,
        /// A region; all that are held where it is left out.
        region: Option<RegionId>,
        /// The regions taken back.
        reply: oneshot::Sender<Result<Result<Vec<String>, NotResumed>, Stale>>,
    },
    /// An operator has the files read again.
    Reload {
        /// Although they remove more than `max_removed`.
        force: bool,
        /// The outcome: a summary of what is served now, or the reason why it is what it was.
        reply: oneshot::Sender<Result<Reloaded, NotReloaded>>,
    },
    /// Something happened beside the loop, which numbers it with the other changes.
    Tell(changes::Event),
    /// An operator changes units or overrides: answered once the change is on the disk.
    Command {
        /// The change.
        command: Command,
        /// The channel for the result: what was done, or why it was not.
        reply: oneshot::Sender<Result<Durable, NotDone>>,
    },
}

/// A deed that is on the disk.
#[derive(Debug, Clone)]
pub struct Durable {
    /// The deed.
    pub done: Done,
    /// The revision of the document that it is in; `None` where nothing was written.
    pub revision: Option<Revision>,
}

/// A change of units, overrides or ACME challenges.
#[derive(Debug)]
pub enum Command {
    /// Moves a unit.
    MoveUnit {
        /// Its owner name.
        unit: String,
        /// The region that is to own it.
        region: String,
        /// Although something speaks against it.
        force: bool,
    },
    /// Gives units their first owners.
    BeginUnits {
        /// The owner name of a unit, or of a service: then all its units without recorded state.
        name: String,
        /// Their epoch, at least 1.
        epoch: u64,
    },
    /// Overrides health or weight.
    Override(OverrideRequest),
    /// Takes overrides back.
    Release {
        /// The overrides.
        what: Selector,
        /// Although that leaves a service too few regions.
        force: bool,
    },
    /// Goes on with the overrides in force, after others were lost.
    AcceptLoss,
    /// Sets an ACME challenge.
    SetChallenge(ChallengeRequest),
    /// Clears ACME challenges.
    ClearChallenges {
        /// The name.
        subject: Subject,
        /// The value; all of the name where it is left out.
        value: Option<Value>,
        /// Whoever asks.
        by: String,
    },
}
