//! Write-ahead: a state is durable before anything is answered from it.
//!
//! ```text
//!  a room (units, overrides, history)          a backend (state/: the local directory)
//!  WriteAhead::begin(puts) ──► Write {id, puts} ──► compares revisions, writes, syncs
//!  WriteAhead::end(End)    ◄── End {id, outcome} ◄── Committed | Conflict | Failed
//! ```
//! Documents lie under a [`Key`], and each has a [`Revision`]. A [`Put`] names the revision that it
//! replaces, so that of two writers who saw the same document one loses ([`Outcome::Conflict`]) and
//! judges anew. The puts of one [`Write`] are committed together or not at all: a thousand units
//! that are fenced at once cost one sync of the disk.
//!
//! The contract is that of a store with compare-and-set and leases, so that a fleet's store can be a
//! backend beside the local directory. Three rules make a backend:
//!
//! - writes take effect in the order in which they were begun;
//! - [`Outcome::Committed`] is reported only once the write survives a crash;
//! - after [`Outcome::Failed`] the document may be there all the same. Whoever wrote it goes on with
//!   what it knew before, and the next write puts the document again.

mod documents;
mod write_ahead;

use std::fmt;
use std::time::Duration;

pub use documents::Documents;
pub use write_ahead::{Ended, Turn, WriteAhead};

/// The kinds of documents, each with one writer in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collection {
    /// The history of health: one document, private to this process.
    Health,
    /// The owners of units: a document for each unit.
    Units,
    /// The overrides of operators.
    Overrides,
    /// The ACME challenges that operators set.
    Acme,
}

impl Collection {
    /// True where no other process ever writes its documents, so that none is compared.
    pub fn is_private(self) -> bool {
        self == Collection::Health
    }
}

/// The place of a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub collection: Collection,
    /// Its name among those of its kind; empty where the collection has one document.
    pub name: String,
}

/// The state of a document among those that it had, counted by the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision of a document that does not exist.
    pub const ABSENT: Revision = Revision(0);
    /// The revision of every document that a local directory had when it was adopted.
    pub const ADOPTED: Revision = Revision(1);
}

/// One document to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put<V> {
    /// Its place.
    pub key: Key,
    /// Its content.
    pub value: V,
    /// The revision that it replaces; `None` where nobody else writes it, and any will do.
    pub expected: Option<Revision>,
    /// The time after which it goes by itself, unless its writer is heard of; `None` for ever.
    pub lease: Option<Duration>,
}

/// Documents that are committed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write<V> {
    /// Their kind; the keys of all puts have it too.
    pub collection: Collection,
    /// The number of the write among those of its kind.
    pub id: u64,
    /// The documents. A fleet's store takes at most 127 in one transaction, a directory any number.
    pub puts: Vec<Put<V>>,
}

/// The result of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All documents are durable, and have this revision.
    Committed(Revision),
    /// A document is not what the writer expected: nothing was written.
    Conflict {
        /// The first such document.
        key: Key,
        /// Its revision now.
        current: Revision,
    },
    /// The backend did not take the write, or cannot tell whether it did.
    Failed(Failure),
}

/// The end of a write, as its backend reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The kind of its documents.
    pub collection: Collection,
    /// Its number.
    pub id: u64,
    /// Its result.
    pub outcome: Outcome,
}

/// The reason why a write failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The file system refused it.
    Storage {
        /// The file.
        path: String,
        /// The system's reason.
        error: String,
    },
    /// The backend was replaced by another one before the write was durable.
    Abandoned,
    /// Another writer changed the document meanwhile.
    Changed(Key),
}

impl<V> Write<V> {
    /// The report that this write ended so.
    pub fn end(&self, outcome: Outcome) -> End {
        End {
            collection: self.collection,
            id: self.id,
            outcome,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.collection {
            Collection::Health => "health",
            Collection::Units => "units",
            Collection::Overrides => "overrides",
            Collection::Acme => "acme",
        })?;
        if self.name.is_empty() {
            Ok(())
        } else {
            write!(f, "/{}", self.name)
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Storage { path, error } => write!(f, "{path}: {error}"),
            Failure::Abandoned => f.write_str("the state directory was changed meanwhile"),
            Failure::Changed(key) => write!(f, "another writer changed {key} meanwhile"),
        }
    }
}

impl std::error::Error for Failure {}
