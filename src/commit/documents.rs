//! The documents of one collection, as a backend holds them that keeps all of them in one file.

use std::collections::BTreeMap;

use super::{Failure, Outcome, Revision, Write};

/// Documents by name, each with its revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Documents<V> {
    by_name: BTreeMap<String, (Revision, V)>,
    /// The revision that was given last.
    last: Revision,
}

impl<V: Clone> Documents<V> {
    /// The documents that a directory had when it was adopted.
    pub fn adopt(values: impl IntoIterator<Item = (String, V)>) -> Documents<V> {
        let mut by_name = BTreeMap::new();
        for (name, value) in values {
            by_name.insert(name, (Revision::ADOPTED, value));
        }
        Documents {
            by_name,
            last: Revision::ADOPTED,
        }
    }

    /// The documents after `write`, and the revision of those that it put; the conflict where it
    /// expected others. Nothing changes here before [`Documents::commit`].
    pub fn merged(&self, write: &Write<V>) -> Result<(Documents<V>, Revision), Outcome> {
        // All are compared before any is put: a write is taken as a whole or not at all.
        for put in &write.puts {
            let current = self.revision(&put.key.name);
            if put.expected.is_some_and(|expected| expected != current) {
                return Err(Outcome::Conflict {
                    key: put.key.clone(),
                    current,
                });
            }
        }
        let mut merged = self.clone();
        // One revision for the whole write: its documents became durable together.
        merged.last = Revision(self.last.0 + 1);
        for put in &write.puts {
            let document = (merged.last, put.value.clone());
            merged.by_name.insert(put.key.name.clone(), document);
        }
        let revision = merged.last;
        Ok((merged, revision))
    }

    /// The revision of a document; [`Revision::ABSENT`] where there is none of that name.
    pub fn revision(&self, name: &str) -> Revision {
        self.by_name
            .get(name)
            .map_or(Revision::ABSENT, |(revision, _)| *revision)
    }

    /// The documents by name.
    pub fn values(&self) -> impl Iterator<Item = (&str, &V)> {
        self.by_name
            .iter()
            .map(|(name, (_, value))| (name.as_str(), value))
    }

    /// Writes what `write` leaves with `store`, and takes it over where that succeeds.
    pub fn commit(
        &mut self,
        write: &Write<V>,
        store: impl FnOnce(&Documents<V>) -> Result<(), Failure>,
    ) -> Outcome {
        let (merged, revision) = match self.merged(write) {
            Ok(merged) => merged,
            Err(conflict) => return conflict,
        };
        // After a failure the file may have either. Nothing is taken over then, so that the next
        // write, which has all documents, puts back what its writers still go by.
        match store(&merged) {
            Ok(()) => {
                *self = merged;
                Outcome::Committed(revision)
            }
            Err(failure) => Outcome::Failed(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::{Collection, Key, Put};

    fn write(puts: &[(&str, u32, Option<Revision>)]) -> Write<u32> {
        let put = |&(name, value, expected): &(&str, u32, Option<Revision>)| Put {
            key: Key {
                collection: Collection::Units,
                name: name.to_owned(),
            },
            value,
            expected,
            lease: None,
        };
        Write {
            collection: Collection::Units,
            id: 1,
            puts: puts.iter().map(put).collect(),
        }
    }

    fn values(documents: &Documents<u32>) -> Vec<(&str, u32)> {
        documents
            .values()
            .map(|(name, value)| (name, *value))
            .collect()
    }

    #[test]
    fn a_write_merges_what_it_puts_with_what_is_there() {
        let mut documents = Documents::adopt([("a".to_owned(), 1), ("b".to_owned(), 2)]);
        let puts = write(&[
            ("b", 20, Some(Revision::ADOPTED)),
            ("c", 30, Some(Revision::ABSENT)),
        ]);
        let committed = documents.commit(&puts, |_| Ok(()));
        assert_eq!(committed, Outcome::Committed(Revision(2)));
        assert_eq!(values(&documents), [("a", 1), ("b", 20), ("c", 30)]);
        assert_eq!(documents.revision("a"), Revision::ADOPTED);
        assert_eq!(documents.revision("b"), Revision(2));
    }

    #[test]
    fn one_conflict_refuses_the_whole_write() {
        let mut documents = Documents::adopt([("a".to_owned(), 1)]);
        let puts = write(&[
            ("b", 2, Some(Revision::ABSENT)),
            ("a", 3, Some(Revision(7))),
        ]);
        let Outcome::Conflict { key, current } = documents.commit(&puts, |_| Ok(())) else {
            panic!("it has another revision");
        };
        assert_eq!(
            (key.name.as_str(), current),
            ("a", Revision::ADOPTED),
            "the first that is not as expected"
        );
        assert_eq!(values(&documents), [("a", 1)]);
        assert!(
            documents.merged(&write(&[("a", 3, None)])).is_ok(),
            "any revision will do"
        );
    }

    #[test]
    fn a_failure_leaves_the_documents_as_they_were() {
        let mut documents = Documents::adopt([("a".to_owned(), 1)]);
        let puts = write(&[("a", 2, Some(Revision::ADOPTED))]);
        let failed = documents.commit(&puts, |_| Err(Failure::Abandoned));
        assert_eq!(failed, Outcome::Failed(Failure::Abandoned));
        assert_eq!(values(&documents), [("a", 1)]);
        // The same write, once more.
        assert!(matches!(
            documents.commit(&puts, |_| Ok(())),
            Outcome::Committed(_)
        ));
    }
}
