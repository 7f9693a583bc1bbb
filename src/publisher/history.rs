//! The history of health, which outlives the process, and the times at which it is written.

use std::sync::Arc;
use std::time::Duration;

use crate::changes::HistoryChange;
use crate::commit::{Collection, End, Turn, Write, WriteAhead};
use crate::health::{Key, Record};
use crate::model::Moment;
use crate::recovery::PoolRecord;

/// The least time between two writes.
pub const PERSIST_PAUSE: Duration = Duration::from_secs(2);
/// The same where nothing but doubt has changed.
pub const PERSIST_PAUSE_IN_DOUBT: Duration = Duration::from_secs(10);
/// The most: history is to be young although nothing changes. Also the pause after a write that
/// failed.
pub const PERSIST_PERIOD: Duration = Duration::from_secs(60);

/// Everything that is persisted; its times are ages, at the time it was made.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// The keys of the targets that `records` are of.
    pub keys: Arc<[Key]>,
    /// By key.
    pub records: Vec<Record>,
    /// Pools that are not simply in use.
    pub pools: Vec<PoolRecord>,
}

/// Decides when the history is written.
#[derive(Debug)]
pub(super) struct HistoryWriter {
    /// Something that should not be lost has changed since the last write.
    pub(super) changed: bool,
    /// Something became settled or in doubt since then.
    pub(super) doubted: bool,
    last: Option<Moment>,
    writer: WriteAhead<()>,
}

impl Default for HistoryWriter {
    fn default() -> HistoryWriter {
        HistoryWriter {
            changed: false,
            doubted: false,
            last: None,
            writer: WriteAhead::new(Collection::Health, PERSIST_PERIOD),
        }
    }
}

impl HistoryWriter {
    /// Goes on with a state directory, or with none: the first write is due at once.
    pub(super) fn switch(&mut self, on: bool) {
        self.writer.switch(on);
        // Another directory has none of this history, however recently the one before was written.
        (self.changed, self.doubted, self.last) = (false, false, None);
    }

    /// The moment of the next write; `None` while one is under way.
    pub(super) fn due(&self) -> Option<Moment> {
        if !self.writer.is_idle() {
            return None;
        }
        let pause = match (self.changed, self.doubted) {
            (true, _) => PERSIST_PAUSE,
            (false, true) => PERSIST_PAUSE_IN_DOUBT,
            (false, false) => PERSIST_PERIOD,
        };
        // A disk that refused is not asked again for every change.
        let next = self.writer.next_try();
        next.or_else(|| Some(self.last.map_or(Moment::default(), |last| last + pause)))
    }

    /// Begins a write.
    pub(super) fn begin(&mut self, history: History, now: Moment) -> Write<History> {
        self.last = Some(now);
        // Cleared at the begin: what changes while the disk works belongs to the next write.
        (self.changed, self.doubted) = (false, false);
        self.writer.begin([(String::new(), history)], ())
    }

    /// Begins the last write; the end of one that is under way is not waited for.
    pub(super) fn last(&mut self, history: History, now: Moment) -> Write<History> {
        // Gives up the write under way, whose end would otherwise have to come first: the process
        // ends, and does not wait for a disk that hangs.
        self.writer.switch(true);
        self.begin(history, now)
    }

    /// Takes in the end of a write; what there is to say of it.
    pub(super) fn ended(&mut self, end: End, now: Moment) -> Option<HistoryChange> {
        let ended = self.writer.end(end, now)?;
        // What was in the failed write is not on the disk, and is due again.
        self.changed |= ended.result.is_err();
        ended.turn.map(|turn| match turn {
            Turn::Failing(failure) => HistoryChange::NotPersisted(failure.to_string()),
            Turn::Recovered => HistoryChange::Persisted,
        })
    }
}
