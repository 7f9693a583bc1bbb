//! The answers given lately: the workers' counters, compared with an earlier reading.
//!
//! Readings are taken when pages are made, at most every [`APART`]: a server that nobody looks at
//! takes none.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::dataset::Snapshot;
use crate::metrics::UNCOUNTED;
use crate::model::Moment;

/// The time between two readings.
const APART: Duration = Duration::from_secs(30);

/// One reading: the counts by the number of the counter.
#[derive(Debug, Clone, Default)]
struct Reading {
    at: Moment,
    counts: Vec<u64>,
}

/// The readings that the pages have in common.
#[derive(Debug, Default)]
pub(super) struct Readings(Mutex<Option<(Reading, Reading)>>);

/// Answers by counter since an earlier moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Traffic {
    counts: Vec<u64>,
    /// The time over which they were given; `None` since the start of the process.
    pub(super) over: Option<Duration>,
}

impl Traffic {
    /// The answers that `counter` counted.
    pub(super) fn lately(&self, counter: u32) -> u64 {
        self.counts.get(counter as usize).copied().unwrap_or(0)
    }

    /// The time in words.
    pub(super) fn window(&self) -> String {
        match self.over {
            None => "since the start".to_owned(),
            Some(over) if over < Duration::from_secs(120) => {
                format!("last {} s", over.as_secs())
            }
            Some(over) => format!("last {} min", over.as_secs() / 60),
        }
    }
}

impl Readings {
    /// The answers until `now`; takes a reading if the last one is old enough.
    pub(super) fn lately(&self, snapshot: &Snapshot, now: Moment) -> Traffic {
        let counts = read(snapshot);
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((earlier, last)) = &mut *readings else {
            let first = Reading {
                at: now,
                counts: counts.clone(),
            };
            *readings = Some((Reading::default(), first));
            return Traffic { counts, over: None };
        };
        if now.since(last.at) >= APART {
            let next = Reading {
                at: now,
                counts: counts.clone(),
            };
            *earlier = std::mem::replace(last, next);
        }
        let is_first = earlier.counts.is_empty();
        let since = |(counter, count): (usize, u64)| {
            count.wrapping_sub(earlier.counts.get(counter).copied().unwrap_or(0))
        };
        Traffic {
            counts: counts.into_iter().enumerate().map(since).collect(),
            over: (!is_first).then(|| now.since(earlier.at)),
        }
    }
}

/// The count of every counter that a plan counts in.
fn read(snapshot: &Snapshot) -> Vec<u64> {
    let mut counts = Vec::new();
    for plan in &snapshot.plans {
        let pools = plan.pools.iter().map(|pool| pool.counter);
        for counter in pools.chain([plan.fallback_counter]) {
            if counter == UNCOUNTED {
                continue;
            }
            let place = counter as usize;
            if counts.len() <= place {
                counts.resize(place + 1, 0);
            }
            let workers = snapshot.pool_counters.iter();
            counts[place] = workers.fold(0, |sum: u64, own| sum.wrapping_add(own.get(counter)));
        }
    }
    counts
}
