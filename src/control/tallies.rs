//! Counts of what the process did: writes of its state, and changes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::changes::Event;
use crate::commit::{Collection, End, Outcome};

/// Counts of what the process did since it began.
#[derive(Debug, Default)]
pub struct Tallies {
    /// By the documents' place in [`DOCUMENTS`]: writes that ended well, and others.
    writes: [[AtomicU64; 2]; DOCUMENTS.len()],
    /// By the keys of a change.
    changes: Mutex<BTreeMap<[&'static str; 2], u64>>,
}

/// The kinds of documents, by their names in the metrics.
const DOCUMENTS: [(Collection, &str); 4] = [
    (Collection::Health, "health"),
    (Collection::Units, "units"),
    (Collection::Overrides, "overrides"),
    (Collection::Acme, "acme"),
];

impl Tallies {
    /// Counts the end of a write: an increment, for the loop.
    pub fn count_write(&self, end: &End) {
        let place = DOCUMENTS
            .iter()
            .position(|(collection, _)| *collection == end.collection);
        let is_bad = !matches!(end.outcome, Outcome::Committed(_));
        if let Some(place) = place {
            self.writes[place][usize::from(is_bad)].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes by kind of document: its name, those that ended well, and the others.
    pub fn writes(&self) -> [(&'static str, u64, u64); DOCUMENTS.len()] {
        std::array::from_fn(|place| {
            let [good, bad] = self.writes[place]
                .each_ref()
                .map(|count| count.load(Ordering::Relaxed));
            (DOCUMENTS[place].1, good, bad)
        })
    }

    /// Counts a change; for the thread that logs them, since it may wait for a scrape.
    pub fn count_change(&self, event: &Event) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        *changes.entry(event.labels()).or_default() += 1;
    }

    /// The number of changes by their keys, of those that there were.
    pub fn changes(&self) -> BTreeMap<[&'static str; 2], u64> {
        self.changes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::NodeChange;
    use crate::commit::{Failure, Revision};

    #[test]
    fn writes_and_changes_are_counted_by_what_they_are_of() {
        let tallies = Tallies::default();
        let write = |outcome| End {
            collection: Collection::Overrides,
            id: 1,
            outcome,
        };
        let failure = Failure::Storage {
            path: "overrides.json".to_owned(),
            error: "no space left".to_owned(),
        };
        tallies.count_write(&write(Outcome::Committed(Revision(1))));
        tallies.count_write(&write(Outcome::Failed(failure)));
        tallies.count_write(&write(Outcome::Committed(Revision(2))));
        assert_eq!(tallies.writes()[2], ("overrides", 2, 1));
        assert_eq!(tallies.writes()[0], ("health", 0, 0));
        tallies.count_change(&Event::Node(NodeChange::Isolated));
        assert_eq!(tallies.changes()[&["node", "isolated"]], 1);
    }
}
