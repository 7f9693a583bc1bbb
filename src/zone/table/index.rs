//! A hash index of names: 32 bits of hash to the number of a record, eight entries to a cache line.
//!
//! An entry's line follows from its hash; when that is full, the next line is taken. Lines fill from
//! their front and nothing is ever removed, so an entry that is free ends a search. With five entries
//! to a line on average, one search in fifty looks at a second line.

use crate::prefetch::{self, LINE};

/// Entries in a line.
const ENTRIES: usize = LINE / size_of::<u64>();
/// Entries in use in a line, on average.
const LOAD: usize = 5;

/// Hashes of names, and the records they stand for; records are numbers above 0.
#[derive(Debug, Default)]
pub(super) struct Index {
    lines: Vec<Line>,
}

/// The record of an entry: its lower half.
#[inline]
fn record_of(entry: u64) -> u32 {
    entry as u32
}

/// Entries: the hash in the upper half, the record in the lower; 0 is free.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Line([u64; ENTRIES]);

impl Index {
    /// An index of these hashes and records.
    pub(super) fn new(entries: &[(u32, u32)]) -> Index {
        let count = entries.len().div_ceil(LOAD) + 1;
        let mut lines = Vec::with_capacity(count);
        prefetch::prefer_large_pages(&lines);
        lines.resize(count, Line::default());
        let mut index = Index { lines };
        for (hash, record) in entries {
            debug_assert!(*record > 0);
            let mut at = index.line(*hash);
            let free = loop {
                match index.lines[at].0.iter_mut().find(|entry| **entry == 0) {
                    Some(free) => break free,
                    None => at = (at + 1) % count,
                }
            };
            *free = u64::from(*hash) << 32 | u64::from(*record);
        }
        index
    }

    /// Every record, in no particular order.
    pub(super) fn records(&self) -> impl Iterator<Item = u32> {
        self.lines
            .iter()
            .flat_map(|line| line.0)
            .map(record_of)
            .filter(|record| *record != 0)
    }

    /// The record with this hash that is the `same`.
    #[inline]
    pub(super) fn find(&self, hash: u32, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = self.line(hash);
        loop {
            for entry in &self.lines.get(at)?.0 {
                let record = record_of(*entry);
                if record == 0 {
                    return None;
                }
                if (*entry >> 32) as u32 == hash && same(record) {
                    return Some(record);
                }
            }
            at = (at + 1) % self.lines.len();
        }
    }

    /// Has the line fetched where a search for `hash` begins.
    #[inline]
    pub(super) fn fetch(&self, hash: u32) {
        prefetch::fetch(&self.lines, self.line(hash));
    }

    /// The first record with this hash, if its line has one: where to look next, as a hint.
    #[inline]
    pub(super) fn likely(&self, hash: u32) -> Option<u32> {
        let line = self.lines.get(self.line(hash))?;
        line.0
            .iter()
            .find(|entry| (**entry >> 32) as u32 == hash)
            .map(|entry| record_of(*entry))
    }

    #[inline]
    fn line(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.lines.len() as u64) >> 32) as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few different hashes, so that lines overflow and hashes are met twice.
        #[test]
        fn finds_every_entry_and_no_other(hashes in proptest::collection::vec(prop_oneof![0u32..3, u32::MAX - 2..=u32::MAX, any::<u32>()], 0..60)) {
            let entries: Vec<(u32, u32)> = hashes.iter().copied().zip(1..).collect();
            let index = Index::new(&entries);
            for (hash, record) in &entries {
                prop_assert_eq!(index.find(*hash, |found| found == *record), Some(*record));
                prop_assert!(index.find(*hash, |_| false).is_none());
            }
            prop_assert!(index.find(77, |_| true).is_none_or(|_| hashes.contains(&77)));
        }
    }

    #[test]
    fn an_empty_index_has_nothing() {
        assert_eq!(Index::default().find(1, |_| true), None);
        assert_eq!(Index::new(&[]).find(1, |_| true), None);
        assert_eq!(Index::default().likely(1), None);
    }
}
