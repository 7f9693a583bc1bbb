//! Report of a probe besides its verdict: its phase, how long each phase took, and its evidence.

use std::net::SocketAddr;

use tokio::time::Instant;

use crate::health::{Evidence, Outcome, Phase, Phases, Seen, Warning};
use crate::model::{Load, Moment};

/// Kept outside the probe's future, so that it tells how far a probe came that was cut off.
#[derive(Debug)]
pub(super) struct Report {
    phase: Phase,
    entered: Instant,
    phases: Phases,
    /// The part of the endpoint's reply that explains the failure.
    pub(super) evidence: Option<Evidence>,
    /// The load that it told.
    pub(super) load: Option<Load>,
    /// A warning: not a failure yet.
    pub(super) warning: Option<Warning>,
    /// The end of the server's certificate, in seconds since 1970.
    pub(super) certificate_end: Option<u32>,
    /// The address that passed.
    pub(super) passed_at: Option<SocketAddr>,
}

impl Report {
    /// A probe that begins with `phase`.
    pub(super) fn start(phase: Phase) -> Report {
        Report {
            phase,
            entered: Instant::now(),
            phases: Phases::default(),
            evidence: None,
            load: None,
            warning: None,
            certificate_end: None,
            passed_at: None,
        }
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

    /// Forgets what was found, to try another address, which begins with `phase`.
    pub(super) fn begin_attempt(&mut self, phase: Phase) {
        self.enter(phase);
        (self.load, self.warning) = (None, None);
        self.certificate_end = None;
    }

    /// The probe ended.
    pub(super) fn finish(mut self, at: Moment, seen: Seen) -> Outcome {
        self.phases.add(self.phase, self.entered.elapsed());
        let evidence = self.evidence.filter(|_| seen != Seen::Pass);
        Outcome {
            at,
            seen,
            phases: self.phases,
            evidence,
            load: self.load,
            warning: self.warning,
            certificate_end: self.certificate_end,
        }
    }
}
