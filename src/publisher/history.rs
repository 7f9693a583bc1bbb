//! What outlives the process, and when it is written.

use std::sync::Arc;
use std::time::Duration;

use crate::health::{Key, Record};
use crate::model::Moment;
use crate::steer::Return;

/// The least time between two writes.
pub const KEEP_PAUSE: Duration = Duration::from_secs(2);
/// The same where nothing but doubt has changed.
pub const KEEP_PAUSE_IN_DOUBT: Duration = Duration::from_secs(10);
/// The most: history is to be young although nothing changes. Also the pause after a write that failed.
pub const KEEP_PERIOD: Duration = Duration::from_secs(60);

/// Everything that is kept; its times are ages, at the time it was made.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// What `records` are of.
    pub keys: Arc<[Key]>,
    /// By key.
    pub records: Vec<Record>,
    /// Pools that are not simply in use.
    pub pools: Vec<PoolRecord>,
}

/// What is kept of one pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRecord {
    /// Owner name of its service.
    pub service: String,
    /// Its region.
    pub region: String,
    /// Where it is on its way back, per family; for how long its weight has grown.
    pub families: [Return<Duration>; 2],
}

/// When to write. One write is under way at most: a disk that hangs delays the next, and nothing else.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// There is somewhere to write to.
    on: bool,
    /// Something that should not be lost has changed since the last write.
    pub(super) changed: bool,
    /// Something became settled or in doubt since then.
    pub(super) doubted: bool,
    under_way: Option<u64>,
    last: Option<Moment>,
    refused: bool,
    count: u64,
}

impl Keeping {
    /// There is somewhere to write to, or nowhere: the first write is due at once.
    pub(super) fn switch(&mut self, on: bool) {
        *self = Keeping {
            on,
            count: self.count,
            ..Keeping::default()
        };
    }

    /// When the next write is due; `None` while one is under way.
    pub(super) fn due(&self) -> Option<Moment> {
        let pause = match (self.changed, self.doubted) {
            _ if self.refused => KEEP_PERIOD,
            (true, _) => KEEP_PAUSE,
            (false, true) => KEEP_PAUSE_IN_DOUBT,
            (false, false) => KEEP_PERIOD,
        };
        (self.on && self.under_way.is_none())
            .then(|| self.last.map_or(Moment::default(), |last| last + pause))
    }

    /// A write begins; its number.
    pub(super) fn begin(&mut self, now: Moment) -> u64 {
        self.count += 1;
        (self.last, self.under_way) = (Some(now), Some(self.count));
        (self.changed, self.doubted) = (false, false);
        self.count
    }

    /// Write `id` has ended; true where that is news.
    pub(super) fn ended(&mut self, id: u64, refused: bool) -> bool {
        if self.under_way == Some(id) {
            self.under_way = None;
        }
        self.changed |= refused;
        std::mem::replace(&mut self.refused, refused) != refused
    }
}
