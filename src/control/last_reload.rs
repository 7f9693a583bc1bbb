//! The outcome of the last reload, and what it means for a restart.

use arc_swap::ArcSwap;

use crate::diag::Diagnostics;

/// The outcome of the last reload.
pub type Reloads = ArcSwap<LastReload>;

/// The outcome of the last reload.
#[derive(Debug, Clone)]
pub struct LastReload {
    /// The reason why the files on the disk are not what is served; `None` where they are.
    pub refused: Option<Refused>,
    /// The time of its end, in seconds since 1970; before the first one, of the start.
    pub ended: u64,
    /// The number of reloads that were refused or failed since the start.
    pub failures: u64,
}

/// A reload that was accepted.
#[derive(Debug, Clone)]
pub struct Reloaded {
    /// A summary of what is served now.
    pub summary: String,
    /// Warnings about the files.
    pub warnings: Diagnostics,
}

/// A reload that was refused or failed.
#[derive(Debug, Clone)]
pub struct NotReloaded {
    /// The reason.
    pub refused: Refused,
    /// Every diagnostic with its code frame, or the reason for a failure.
    pub text: String,
    /// Every diagnostic.
    pub diagnostics: Diagnostics,
}

/// The reason why files are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// They are broken.
    Broken,
    /// A location database is.
    Database,
    /// They remove more than `max_removed`.
    TooMuchRemoved,
    /// The reload itself failed.
    Failed,
}

impl Refused {
    /// Describes what the refusal means for a restart.
    pub fn as_str(self) -> &'static str {
        match self {
            Refused::Broken => {
                "the last reload was refused: a restart would not come up with these files (`meridian verify` says why)"
            }
            Refused::Database => {
                "a location database was refused: a restart would not come up with these files (`meridian verify` says why)"
            }
            Refused::TooMuchRemoved => {
                "the last reload was refused because it removes more than max_removed: a restart would accept these files"
            }
            Refused::Failed => {
                "the last reload failed: a restart may not come up with these files (see the log)"
            }
        }
    }
}
