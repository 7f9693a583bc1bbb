//! Snapshots that were replaced and that some thread may still look at.

use std::sync::Arc;

use crate::dataset::{Dataset, Snapshot};

/// Holds every replaced snapshot, and its publication's number, until nobody else does. Whoever lets go of one last frees it, and with
/// it perhaps a whole dataset, which takes milliseconds: that is to be no thread that answers.
#[derive(Default)]
pub(super) struct Retired(Vec<(u64, Arc<Snapshot>)>);

impl Retired {
    /// Takes a snapshot that no one will load any more.
    pub(super) fn push(&mut self, publication: u64, replaced: Arc<Snapshot>) {
        self.0.push((publication, replaced));
    }

    /// The oldest publication that some thread may still look at; `None` where all have left those that were replaced.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.0.first().map(|(publication, _)| *publication)
    }

    /// Frees those that every thread has left; those of another dataset than `current` are returned, for a thread that may take its
    /// time to free them.
    pub(super) fn free(&mut self, current: &Arc<Dataset>) -> Vec<Arc<Snapshot>> {
        let left = self
            .0
            .extract_if(.., |(_, old)| Arc::strong_count(old) == 1);
        left.map(|(_, old)| old)
            .filter(|old| !Arc::ptr_eq(&old.dataset, current))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::loader;

    fn snapshot(dataset: &Arc<Dataset>) -> Arc<Snapshot> {
        Arc::new(Snapshot::of(dataset.clone(), Vec::new()))
    }

    fn dataset() -> Arc<Dataset> {
        let built = loader::build(&Path::new(env!("CARGO_MANIFEST_DIR")).join("meridian.toml"));
        Arc::new(
            built
                .dataset
                .unwrap_or_else(|| panic!("{:?}", built.diagnostics)),
        )
    }

    #[test]
    fn a_replaced_snapshot_is_freed_when_the_last_reader_has_left() {
        let (before, current) = (dataset(), dataset());
        let published = crate::dataset::Published::new(snapshot(&before));
        let (guard, reader) = (published.load(), published.load_full());
        let mut retired = Retired::default();
        retired.push(0, published.swap(snapshot(&before)));
        retired.push(1, published.swap(snapshot(&current)));
        let first = Arc::downgrade(&reader);
        let dataset = Arc::downgrade(&before);
        drop(before);

        // One is read yet, by two; the other is freed, and the dataset stays.
        retired.free(&current);
        assert_eq!((retired.0.len(), retired.oldest()), (1, Some(0)));
        drop(guard);
        assert!(retired.free(&current).is_empty());
        assert!(dataset.upgrade().is_some());
        drop(reader);
        assert!(first.upgrade().is_some(), "no reader frees it");
        assert_eq!(retired.free(&current).len(), 1);
        assert!(first.upgrade().is_none() && dataset.upgrade().is_none());
        assert!(retired.free(&current).is_empty() && retired.oldest().is_none());
    }
}
