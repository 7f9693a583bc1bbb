//! The one place where the moments of health come from.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::model::Moment;

/// The process's monotonic clock; copies agree with each other.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    /// The Unix time of the start, as the system's clock said then.
    origin: Moment,
}

impl Clock {
    /// Starts counting; one per process.
    pub fn start() -> Clock {
        let origin = Moment(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        Clock { start: Instant::now(), origin }
    }

    /// Now.
    pub fn now(&self) -> Moment {
        self.origin + self.start.elapsed()
    }

    /// `moment` in the runtime's terms, to sleep until it; what lies before the start is the start.
    pub fn instant(&self, moment: Moment) -> Instant {
        self.start + moment.since(self.origin)
    }
}
