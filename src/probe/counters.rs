//! Counters of probes, by check.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::health::{Outcome, Seen};

/// The counts of every check's probes since the process began.
#[derive(Debug, Default)]
pub struct ProbeCounters(Mutex<BTreeMap<String, CheckCounts>>);

/// The counts of one check's probes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckCounts {
    /// Probes that passed.
    pub passed: u64,
    /// Probes that failed, by the kind of reason.
    pub failed: BTreeMap<&'static str, u64>,
    /// Probes that say nothing about the endpoint, by the kind of reason.
    pub not_judged: BTreeMap<&'static str, u64>,
    /// Probes by [`DURATIONS`], and last those that took longer.
    pub durations: [u64; DURATIONS.len() + 1],
    /// The time that all of them took.
    pub took: Duration,
}

/// The longest durations of the classes that probes are counted in, in seconds.
pub const DURATIONS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

impl ProbeCounters {
    /// Counts a probe of `check`.
    pub(super) fn count(&self, check: &str, outcome: &Outcome) {
        // Held for some nanoseconds, by probes alone and by a scrape; neither the loop nor a query
        // comes here.
        let mut checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match checks.get_mut(check) {
            Some(counts) => counts.count(outcome),
            None => checks.entry(check.to_owned()).or_default().count(outcome),
        }
    }

    /// The counts so far, by the check's name.
    pub fn get(&self) -> BTreeMap<String, CheckCounts> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl CheckCounts {
    fn count(&mut self, outcome: &Outcome) {
        match outcome.seen {
            Seen::Pass => self.passed += 1,
            Seen::Fail(why) => *self.failed.entry(why.as_label()).or_default() += 1,
            Seen::NotJudged(why) => *self.not_judged.entry(why.as_label()).or_default() += 1,
        }
        let took = outcome.phases.total();
        let class = DURATIONS
            .iter()
            .position(|most| took.as_secs_f64() <= *most);
        self.durations[class.unwrap_or(DURATIONS.len())] += 1;
        self.took += took;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{FailReason, NotJudged, Phase};
    use crate::model::Moment;

    #[test]
    fn probes_are_counted_by_check_result_and_duration() {
        let counters = ProbeCounters::default();
        let outcome = |seen, millis| {
            let mut outcome = Outcome::new(Moment::default(), seen);
            outcome
                .phases
                .add(Phase::Connect, Duration::from_millis(millis));
            outcome
        };
        counters.count("web", &outcome(Seen::Pass, 1));
        counters.count("web", &outcome(Seen::Fail(FailReason::Status(500)), 30));
        counters.count("web", &outcome(Seen::Fail(FailReason::Status(502)), 9000));
        counters.count("db", &outcome(Seen::NotJudged(NotJudged::NoRoots), 0));
        let counts = counters.get();
        let web = &counts["web"];
        assert_eq!((web.passed, web.failed["status"]), (1, 2));
        assert_eq!(
            (web.durations[0], web.durations[5], web.durations[12]),
            (1, 1, 1)
        );
        assert_eq!(web.took, Duration::from_millis(9031));
        assert_eq!(counts["db"].not_judged["no_roots"], 1);
    }
}
