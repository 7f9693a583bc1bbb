//! Failed attempts to deliver a message.

use std::time::Duration;

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) why: String,
    /// The same message will never be taken.
    pub(super) is_final: bool,
    /// The pause that the receiver asks for.
    pub(super) pause: Option<Duration>,
}

impl Failed {
    /// Another attempt may succeed.
    pub(super) fn once(why: impl Into<String>) -> Failed {
        Failed {
            why: why.into(),
            is_final: false,
            pause: None,
        }
    }

    /// No attempt with this message succeeds.
    pub(super) fn forever(why: impl Into<String>) -> Failed {
        Failed {
            is_final: true,
            ..Failed::once(why)
        }
    }

    /// The same, with the pause that the receiver asks for.
    pub(super) fn after(self, pause: Option<Duration>) -> Failed {
        Failed { pause, ..self }
    }
}
