//! Drills: drains that rehearse the loss of a place. A drill checks before it begins, ends by
//! itself, aborts as soon as a survivor degrades, and leaves a report.
//!
//! ```text
//! start ─► survey: objections ─► Drain ─► on ── its drain ended ──────────► completed
//!             │ any                         ├── a survivor degrades ─► Release ─► aborted
//!             └────► refused                └── an operator stops it ─► Release ─► stopped
//! ```
//! [`Drills`] is a state machine without clock or I/O. The drain is an override like any other,
//! with an end of its own, so that it ends even where nobody is left who would end it. One drill
//! runs at a time.

mod machine;
mod report;
mod survey;

use std::time::Duration;

use crate::overrides::{Action, OverrideRequest, Scope};

pub use machine::{Drills, NotStarted, NotStopped, Output, StoredDrills};
pub use report::{Broke, DrillReport, MovedClients, ReachedLoad, Verdict};
pub use survey::{Survey, WATERMARK};

/// A request for a drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillRequest {
    /// The part of the configuration that is drained.
    pub target: Scope,
    /// The time for which it is.
    pub lasts: Duration,
    /// The reason, in one line.
    pub reason: String,
    /// The operator's name, or the one of the schedule.
    pub by: String,
    /// True where a schedule of the configuration asks for it.
    pub scheduled: bool,
}

impl DrillRequest {
    /// The override that the drill of this number is.
    pub fn drain(&self, drill: u64) -> OverrideRequest {
        OverrideRequest {
            action: Action::Drain,
            scope: self.target.clone(),
            by: self.by.clone(),
            reason: self.reason.clone(),
            starts_in: Duration::ZERO,
            lasts: Some(self.lasts),
            force: false,
            ramp: None,
            drill: Some(drill),
        }
    }
}

#[cfg(test)]
mod tests;
