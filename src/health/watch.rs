//! Connections that are held to endpoints, as far as health knows of them.
//!
//! The loss of one is no failure: a server may close what is idle as it likes. It is a reason to
//! look, and the probe that looks decides.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of the connection that is held to a target with `watch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Watch {
    /// None is held: the target is not watched, or no probe has passed yet.
    #[default]
    None,
    /// A connection is held.
    Held,
    /// It was lost: the peer closed or reset it, or the network has no way to the peer any more.
    Lost,
    /// The server closes every idle connection at once, or sends without end: none is opened any
    /// more.
    GivenUp,
    /// The process has no descriptor left for it.
    NoDescriptor,
}

impl Watch {
    /// The state as a label of a metric.
    pub fn as_label(self) -> &'static str {
        match self {
            Watch::None => "none",
            Watch::Held => "held",
            Watch::Lost => "lost",
            Watch::GivenUp => "given_up",
            Watch::NoDescriptor => "no_descriptor",
        }
    }
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Watch::None => "none",
            Watch::Held => "held",
            Watch::Lost => "lost",
            Watch::GivenUp => "given up",
            Watch::NoDescriptor => "no descriptor",
        })
    }
}
