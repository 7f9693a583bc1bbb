//! The pre-flight with numbers: who would move where, computed beside the publisher's loop from what
//! is published and the read model.
//!
//! ```text
//! Wish ─► begin(): snapshot and view of this moment ─► a thread that may take its time ─► Preflight
//! ```
//! The loop's own pre-flight stays the judge: this one tells an operator what it will say, and what
//! it does not judge.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use utoipa::ToSchema;

use super::Control;
use super::problem::Problem;
use crate::clock::Clock;
use crate::dataset::{Dataset, Snapshot};
use crate::model::{Endpoint, Moment, WallTime};
use crate::overrides::{Override, OverrideRequest, Overrides, Selector};
use crate::publisher::View;
use crate::simulate::{NameShift, Population, Present, RegionShift, Shift, round};
use crate::steer::Rung;

/// The time that the numbers may take once the rest of an answer is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// The looks at a state that a reload is about to replace, and the pause between two of them.
const TRIES: u32 = 1000;
/// See [`TRIES`].
const PAUSE: Duration = Duration::from_millis(1);

/// A change of the overrides that somebody wishes for.
#[derive(Debug, Clone)]
pub(super) enum Wish {
    /// A new override.
    Add(OverrideRequest),
    /// The end of some that there are.
    Release {
        /// The overrides.
        what: Selector,
        /// Although the pre-flight speaks against it.
        force: bool,
    },
}

/// The numbers of a pre-flight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Preflight {
    /// The same in words, a line each.
    pub lines: Vec<String>,
    /// The reasons to refuse it, as sentences.
    pub objections: Vec<String>,
    /// True where it is accepted: nothing speaks against it, or it is forced.
    pub accepted: bool,
    /// The number of services of which clients move.
    pub services: usize,
    /// The smallest share of such a service's clients that moves, 0 … 1.
    pub moved_least: f64,
    /// The largest.
    pub moved_most: f64,
    /// The names of which clients move, those first of which most do; at most 50.
    pub names: Vec<NameNumbers>,
    /// The regions in which clients of these are afterwards.
    pub regions: Vec<RegionNumbers>,
    /// The number of services of which more clients are below rung 2 of the ladder than before.
    pub degraded: usize,
    /// The time by which the last cache has let go of the answers before, in RFC 3339; null where
    /// no answer changes.
    pub caches_until: Option<String>,
}

/// The clients of one name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NameNumbers {
    /// Its owner name.
    pub name: String,
    /// A or AAAA.
    pub r#type: String,
    /// The share of its clients that moves, 0 … 1.
    pub moved: f64,
    /// The share of its clients by region, before.
    pub before: BTreeMap<String, f64>,
    /// The same afterwards.
    pub after: BTreeMap<String, f64>,
    /// The worst rung that any of its clients is on afterwards; null where one gets no answer.
    pub rung: Option<String>,
}

/// The clients that a region gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RegionNumbers {
    /// The region.
    pub region: String,
    /// The name of which it gets the largest share.
    pub name: String,
    /// That share before, 0 … 1.
    pub before: f64,
    /// That share afterwards.
    pub after: f64,
    /// Its `capacity`; null where it has none.
    pub capacity: Option<f64>,
    /// The multiple of its capacity that it reaches; null where it has none.
    pub of_capacity: Option<f64>,
    /// The load that its endpoints report, 0 … 1; null where none is known.
    pub load: Option<f64>,
    /// The load that this grows to.
    pub load_after: Option<f64>,
    /// True where it gets more clients than before, and more than it can take.
    pub over: bool,
}

impl Preflight {
    /// The verdict of a dry run, in words.
    pub fn verdict(&self) -> String {
        let objections = self.objections.join("; ");
        match (self.accepted, objections.as_str()) {
            (true, "") => "dry run: accepted; nothing is changed".to_owned(),
            (true, why) => {
                format!("dry run: accepted by force, although {why}; nothing is changed")
            }
            (false, why) => format!("dry run: refused: {why}"),
        }
    }

    fn new(shift: &Shift, what: &str, force: bool, wall: WallTime) -> Preflight {
        Preflight {
            lines: shift.lines(what, wall),
            objections: shift.objections.clone(),
            accepted: force || shift.objections.is_empty(),
            services: shift.moving,
            moved_least: round(shift.moved.0),
            moved_most: round(shift.moved.1),
            names: shift.names.iter().map(NameNumbers::new).collect(),
            regions: shift.regions.iter().map(RegionNumbers::new).collect(),
            degraded: shift.degraded,
            caches_until: shift.caches_until.map(|at| wall.show(at).to_string()),
        }
    }
}

impl NameNumbers {
    fn new(shift: &NameShift) -> NameNumbers {
        NameNumbers {
            name: shift.name.clone(),
            r#type: shift.rtype.to_string(),
            moved: round(shift.moved),
            before: shares(&shift.before),
            after: shares(&shift.after),
            rung: shift.rung.map(Rung::as_label).map(str::to_owned),
        }
    }
}

fn shares(split: &[(String, f64)]) -> BTreeMap<String, f64> {
    let shares = split.iter();
    shares
        .map(|(to, share)| (to.clone(), round(*share)))
        .collect()
}

impl RegionNumbers {
    fn new(shift: &RegionShift) -> RegionNumbers {
        // JSON has no infinity, and a region without any capacity left is over it all the same.
        let of_capacity = shift.of_capacity().filter(|of| of.is_finite());
        RegionNumbers {
            region: shift.region.clone(),
            name: shift.name.clone(),
            before: round(shift.before),
            after: round(shift.after),
            capacity: shift.capacity,
            of_capacity: of_capacity.map(round),
            load: shift.load.map(|(now, _)| round(now)),
            load_after: shift.load.map(|(_, after)| round(after)),
            over: shift.is_over(),
        }
    }
}

/// A pre-flight under way.
#[derive(Debug)]
pub(super) struct Judged(JoinHandle<Option<Preflight>>);

impl Judged {
    /// Waits for its end.
    pub(super) async fn wait(self) -> Result<Preflight, Problem> {
        let ended = tokio::time::timeout(PATIENCE, self.0).await;
        match ended {
            Ok(Ok(Some(preflight))) => Ok(preflight),
            Ok(Ok(None)) => {
                let why = "there is no such override, so nothing would change";
                Err(Problem::not_found("id", why))
            }
            Ok(Err(why)) => Err(Problem::unavailable(why.to_string())),
            Err(_) => {
                let why = format!("the pre-flight took more than {} s", PATIENCE.as_secs());
                Err(Problem::unavailable(why))
            }
        }
    }
}

/// Begins the pre-flight of `wish` from the state of this moment: what happens from now on is not
/// in its numbers.
pub(super) async fn begin(control: &Control, wish: Wish) -> Result<Judged, Problem> {
    let control = control.clone();
    let taken = tokio::task::spawn_blocking(move || Situation::take(&control)).await;
    let situation = taken
        .map_err(|why| Problem::unavailable(why.to_string()))?
        .ok_or_else(|| Problem::unavailable("a reload is under way: try again"))?;
    Ok(Judged(tokio::task::spawn_blocking(move || {
        situation.judge(wish)
    })))
}

/// The shift that an override brings about from the state of this moment; `None` where it takes too
/// long to tell.
pub(super) async fn survey(control: &Control, asked: OverrideRequest) -> Option<Shift> {
    let control = control.clone();
    let surveyed = tokio::task::spawn_blocking(move || {
        let situation = Situation::take(&control)?;
        Some(situation.shift_of(asked))
    });
    tokio::time::timeout(PATIENCE, surveyed).await.ok()?.ok()?
}

/// The state of one moment.
struct Situation {
    snapshot: Arc<Snapshot>,
    view: Arc<View>,
    populations: Arc<Populations>,
    now: Moment,
}

impl Situation {
    /// The state as the loop told it last; `None` where a reload is told only in part for longer
    /// than it takes.
    fn take(control: &Control) -> Option<Situation> {
        for _ in 0..TRIES {
            let (view, snapshot) = (control.state.read(), control.published.load_full());
            // Ids of one are those of the other only while both are of one dataset. A reload tells
            // both within a moment.
            if Arc::ptr_eq(&view.dataset, &snapshot.dataset) {
                return Some(Situation {
                    snapshot,
                    view,
                    populations: control.populations.clone(),
                    now: Clock.now(),
                });
            }
            std::thread::sleep(PAUSE);
        }
        None
    }

    /// The numbers of `wish`; `None` where it is about no override that there is.
    fn judge(self, wish: Wish) -> Option<Preflight> {
        let (what, force, shift) = match wish {
            Wish::Add(asked) => {
                let (what, force) = (asked.action.doing(&asked.scope), asked.force);
                (what, force, self.shift_of(asked))
            }
            Wish::Release { what, force } => {
                let before = &self.view.overrides.list;
                let released = before.selected(&what);
                let mut after = before.clone();
                after.release(&released, self.now);
                let shift = self.shift(before, &after, self.now);
                (releasing(&released)?, force, shift)
            }
        };
        Some(Preflight::new(&shift, &what, force, Clock.wall()))
    }

    /// The shift that one more override brings about.
    fn shift_of(&self, asked: OverrideRequest) -> Shift {
        let (before, after, at) = self.with(asked);
        self.shift(&before, &after, at)
    }

    /// The overrides before and with one more, and the moment at which that takes effect.
    fn with(&self, asked: OverrideRequest) -> (Overrides, Overrides, Moment) {
        let before = self.view.overrides.list.clone();
        // A number that none has: the real one is given by the loop.
        let id = before.0.iter().map(|own| own.id).max().unwrap_or(0) + 1;
        let own = Override::new(id, asked, self.now);
        let mut after = before.clone();
        after.add(&own);
        (before, after, own.starts)
    }

    fn shift(&self, before: &Overrides, after: &Overrides, at: Moment) -> Shift {
        let dataset = &self.snapshot.dataset;
        let present = Present {
            dataset,
            plans: &self.snapshot.plans,
            state: &|endpoint: &Endpoint| self.view.endpoint(endpoint),
            load: &|endpoint: &Endpoint| self.view.load(endpoint),
            population: &self.populations.of(dataset),
            now: self.now,
        };
        present.shift(before, after, at)
    }
}

/// The deed of releasing these, as the beginning of a sentence; `None` where there are none.
fn releasing(released: &[Override]) -> Option<String> {
    match released {
        [] => None,
        [only] => Some(format!("releasing {} of {}", only.action, only.scope)),
        several => Some(format!("releasing {} overrides", several.len())),
    }
}

/// The clients of the dataset in use, counted by address once: with millions of networks that takes
/// a while.
#[derive(Debug, Default)]
pub struct Populations(Mutex<Option<(Weak<Dataset>, Arc<Population>)>>);

impl Populations {
    /// The clients of `dataset`.
    pub fn of(&self, dataset: &Arc<Dataset>) -> Arc<Population> {
        // Held while it counts: others who ask meanwhile want the same.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, population)) = &*known
            && std::ptr::eq(of.as_ptr(), Arc::as_ptr(dataset))
        {
            return population.clone();
        }
        let population = Arc::new(Population::of_addresses(dataset));
        // Weak: a dataset that a reload replaces is not kept for its clients.
        *known = Some((Arc::downgrade(dataset), population.clone()));
        population
    }
}
