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
        Work::Databases => "changes of location databases are not seen, and those in use stay",
        Work::Reload => {
            "the files cannot be read, the previous ones stay in use, and further reloads wait"
        }
        Work::LastGood => {
            "copies of the last good files are not written, and a restart with broken files would use older ones"
        }
        Work::State => {
            "the state directory cannot be written: overrides are refused, no unit changes hands, and health history is not persisted"
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
            // The published time is the memory of whether this was logged: no second record can
            // disagree.
            let was_late = self.control.work.get(work) >= patience;
            self.control.work.set(work, takes);
            match (was_late, takes >= patience) {
                (false, true) => tracing::warn!(
                    "file system hangs: no answer for {} s; {}",
                    takes.as_secs(),
                    harm(work)
                ),
                (true, false) => {
                    tracing::info!(
                        "file system answers again: {} work has ended",
                        work.as_label()
                    )
                }
                _ => {}
            }
        }
        // In the same second tick: those who wait for a disk that hangs are answered within their
        // patience.
        self.operators.give_up(now);
    }
}
