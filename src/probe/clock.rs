//! The one place where the moments of health come from.

use crate::model::Moment;
use tokio::time::Instant;

/// The process's monotonic clock; copies agree with each other.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts counting; one per process.
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// Now.
    pub fn now(&self) -> Moment {
        Moment(self.start.elapsed())
    }

    /// `moment` in the runtime's terms, to sleep until it.
    pub fn instant(&self, moment: Moment) -> Instant {
        self.start + moment.0
    }
}
