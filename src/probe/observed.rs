//! Sights of targets, as the scheduler hands them on.

use crate::health::{Outcome, Watch};
use crate::model::TargetId;

/// Something that was seen of a target.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The configuration that `target` is an id of: the number given with its jobs. What was seen
    /// of another configuration than the current one is to be dropped.
    pub generation: u32,
    /// The target.
    pub target: TargetId,
    /// The sight of it.
    pub sight: Sight,
}

/// A sight of a target.
#[derive(Debug, Clone)]
pub enum Sight {
    /// The outcome of one probe.
    Outcome(Outcome),
    /// The state of the connection that is held to it.
    Watch(Watch),
}
