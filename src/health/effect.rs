//! The changes that health reports to the publisher.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::isolation::End;
use super::outcome::Warning;
use super::pace::Early;
use super::reason::FailReason;
use crate::model::{Moment, TargetId};

/// A change that an outcome or the passage of time caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// A target went up or down.
    Transition(Transition),
    /// A target became settled or in doubt without going up or down.
    Doubt {
        /// The target.
        target: TargetId,
        /// True when it is in doubt now.
        in_doubt: bool,
    },
    /// A target flaps, and is held down.
    Flapping {
        /// The target.
        target: TargetId,
        /// The number of changes.
        changes: usize,
        /// The time in which it did.
        within: Duration,
        /// End of the hold.
        until: Moment,
    },
    /// A hold is over, and the target is down all the same.
    FlappingEnded(TargetId),
    /// The warning of a target that passes changed; `None` where it has none any more.
    Warned {
        /// The target.
        target: TargetId,
        /// Of what.
        warning: Option<Warning>,
    },
    /// A target is to be probed before its interval is over.
    ProbeEarly(Early),
    /// The server of a watched target closes every idle connection: none is held from now on.
    WatchGivenUp(TargetId),
    /// Our own network failed: states are kept until it ends.
    IsolationBegan,
    /// Outcomes count again.
    IsolationEnded(End),
}

/// A target going up or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The target.
    pub target: TargetId,
    /// The new state.
    pub up: bool,
    /// The reason.
    pub cause: Cause,
}

/// Reason why a target went up or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Down: it failed.
    Failed {
        /// The reason why the last probe failed.
        reason: FailReason,
        /// The number of failures counted: the target's `fall`, or fewer where `fall_refused`
        /// decided.
        fails: u32,
    },
    /// Up: it passed this many times in a row.
    Passed {
        /// Its `rise`; 1 for the first outcome of a changed check.
        passes: u32,
    },
    /// Up: its fall was our own network's, see "Isolation".
    Undone,
    /// Up: it was held down as flapping, and has passed since.
    Released,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Failed { reason, fails: 1 } => write!(f, "{reason} (1 failure)"),
            Cause::Failed { reason, fails } => write!(f, "{reason} ({fails} failures)"),
            Cause::Passed { passes: 1 } => f.write_str("1 pass"),
            Cause::Passed { passes } => write!(f, "{passes} passes in a row"),
            Cause::Undone => f.write_str("its failures were this node's own network"),
            Cause::Released => f.write_str("flap hold over, and it has passed since"),
        }
    }
}
