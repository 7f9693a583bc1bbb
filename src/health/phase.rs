//! The phases of a probe, and how long each took.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The parts of a probe, in their order; each type of check has some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Resolving the target name; addresses skip it.
    Resolve,
    /// The TCP handshake.
    Connect,
    /// The TLS handshake.
    Tls,
    /// From the request's first byte to the answer: an HTTP response's head, a datagram, a first byte.
    Response,
    /// From there to the end of what is read of a body.
    Body,
    /// The run of an `exec` check's program.
    Run,
}

/// The time that each phase of a probe took, in whole microseconds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Phases([u32; Phase::ALL.len()]);

impl Phases {
    const NONE: u32 = u32::MAX;

    /// Returns the time that `phase` took; `None` where the probe did not come to it.
    pub fn get(&self, phase: Phase) -> Option<Duration> {
        let micros = self.0[phase as usize];
        (micros != Phases::NONE).then(|| Duration::from_micros(u64::from(micros)))
    }

    /// Adds to how long `phase` took: a target name's addresses are probed one after another.
    pub fn add(&mut self, phase: Phase, taken: Duration) {
        let total = self.get(phase).unwrap_or_default().saturating_add(taken);
        let micros = u32::try_from(total.as_micros()).unwrap_or(u32::MAX);
        // The largest number means "not reached"; 71 minutes and more are shown as just below it.
        self.0[phase as usize] = micros.min(Phases::NONE - 1);
    }

    /// All phases together.
    pub fn total(&self) -> Duration {
        self.iter().map(|(_, taken)| taken).sum()
    }

    /// The phases the probe came to, with how long each took.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> + '_ {
        Phase::ALL
            .into_iter()
            .filter_map(|phase| Some((phase, self.get(phase)?)))
    }
}

impl Default for Phases {
    fn default() -> Phases {
        Phases([Phases::NONE; Phase::ALL.len()])
    }
}

impl fmt::Debug for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Phase {
    /// Every phase, in their order.
    pub const ALL: [Phase; 6] = [
        Phase::Resolve,
        Phase::Connect,
        Phase::Tls,
        Phase::Response,
        Phase::Body,
        Phase::Run,
    ];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Resolve => "while resolving the name",
            Phase::Connect => "while connecting",
            Phase::Tls => "in the TLS handshake",
            Phase::Response => "while waiting for the response",
            Phase::Body => "while reading the body",
            Phase::Run => "while the program ran",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_add_up() {
        let mut phases = Phases::default();
        phases.add(Phase::Connect, Duration::from_millis(3));
        phases.add(Phase::Response, Duration::from_millis(4));
        phases.add(Phase::Connect, Duration::from_micros(500));
        assert_eq!(phases.total(), Duration::from_micros(7500));
        assert_eq!(phases.get(Phase::Tls), None);
        assert_eq!(
            phases.iter().map(|(phase, _)| phase).collect::<Vec<_>>(),
            [Phase::Connect, Phase::Response]
        );
        phases.add(Phase::Run, Duration::MAX);
        assert!(
            phases.get(Phase::Run) > Some(Duration::from_secs(4000)),
            "the end of the range, not none"
        );
    }
}
