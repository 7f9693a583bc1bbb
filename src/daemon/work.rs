//! Work on files that other threads do for the loop: a file system that hangs is said and shown, and delays nothing else.

use std::time::Duration;

use super::Daemon;
use crate::control::Work;

/// The time that each kind of work may take before that is logged: a look or a write is soon done,
/// files may be many.
fn patience(work: Work) -> Duration {
    Duration::from_secs(match work {
        Work::Databases | Work::State => 5,
        Work::Reload | Work::LastGood => 60,
    })
}

/// Names what is not done while the work hangs.
fn harm(work: Work) -> &'static str {
    match work {
        Work::Databases => "looking whether a location database has changed; those in use stay",
        Work::Reload => "reading the files; what was served before stays, and another reload waits",
        Work::LastGood => {
            "keeping copies of the last good files; a restart with broken files would find older ones"
        }
        Work::State => {
            "writing to the state directory; overrides are refused, no unit changes hands, and the history of health is not kept"
        }
    }
}

impl Daemon {
    /// Shows how long work on files takes, and says once when it takes too long and once when that is over.
    pub(super) fn watch_work(&mut self) {
        let now = self.clock.now();
        let mut all = Vec::with_capacity(Work::ALL.len());
        for (work, since) in self.files.under_way() {
            all.push((work, since.map(|since| now.since(since))));
        }
        all.push((Work::State, self.state.takes()));
        for (work, takes) in all {
            let (takes, patience) = (takes.unwrap_or_default(), patience(work));
            let was_late = self.control.work.get(work) >= patience;
            self.control.work.set(work, takes);
            match (was_late, takes >= patience) {
                (false, true) => tracing::warn!(
                    "a file system does not answer for {} s: {}",
                    takes.as_secs(),
                    harm(work)
                ),
                (true, false) => {
                    tracing::info!("a file system answers again: {} is over", work.as_label())
                }
                _ => {}
            }
        }
        self.operators.give_up(now);
    }
}
