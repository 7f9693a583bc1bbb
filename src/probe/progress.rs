//! Where a probe is, and how long each phase took.

use tokio::time::Instant;

use crate::health::{Phase, Phases};

/// Kept outside the probe's future, so that it tells how far a probe came that was cut off.
#[derive(Debug)]
pub(super) struct Progress {
    phase: Phase,
    entered: Instant,
    phases: Phases,
}

impl Progress {
    /// A probe that begins with `phase`.
    pub(super) fn start(phase: Phase) -> Progress {
        Progress { phase, entered: Instant::now(), phases: Phases::default() }
    }

    /// The probe goes on to `phase`.
    pub(super) fn enter(&mut self, phase: Phase) {
        let now = Instant::now();
        self.phases.add(self.phase, now - self.entered);
        (self.phase, self.entered) = (phase, now);
    }

    /// The phase it is in.
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// The probe ended.
    pub(super) fn finish(mut self) -> Phases {
        self.phases.add(self.phase, self.entered.elapsed());
        self.phases
    }
}
