//! Overrides: what operators impose on health and weight, over regions and services, until a time.
//!
//! There are two axes: `up` and `down` replace health, `drain` and `weight` replace weight. On each
//! the narrowest scope counts (endpoint, pool, service, region, metro, label), and of equally
//! narrow ones the latest. Scopes are names, so that an override outlives a reload; one whose names
//! are gone has no effect until they are back.
//!
//! ```text
//! OverrideRequest, Selector ─► Store ─► pre-flight ─► write ─► on the disk ─► Overrides, Event, answer
//! ```
//! [`Store`] is a state machine without clock or I/O: an override is judged by the pre-flight
//! ([`PreflightInputs`]), written, and in force once it is on the disk; time ends it. [`Overrides`]
//! lays what is in force over health and weights whenever a plan is compiled.

mod list;
mod preflight;
mod scope;
mod store;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Moment, WallTime, Weight};
use crate::steer::{Applied, RAMP_STEPS};

pub use list::Overrides;
pub use preflight::{PreflightInputs, Stranded, objections};
pub use scope::{NoScope, Scope, Selector};
pub use store::{ENDS_SOON, Found, Output, Rejected, Store, StoredOverrides};

/// The effect of an override.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Not used while anything else is left.
    Drain,
    /// Counts as up, whatever probes see.
    Up,
    /// Counts as down, whatever probes see.
    Down,
    /// Has this weight.
    Weight(Weight),
}

/// An override that an operator made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// Its number, never another's.
    pub id: u64,
    /// Its effect.
    pub action: Action,
    /// The part of the configuration that it covers.
    pub scope: Scope,
    /// The operator's name.
    pub by: String,
    /// The operator's reason.
    pub reason: String,
    /// The moment at which it was made.
    pub made: Moment,
    /// The moment at which it takes effect: later than `made` where it is announced. Until then the
    /// answers that it will change have `ttl_min`.
    pub starts: Moment,
    /// The moment at which it ends; `None` where it lasts until it is released.
    pub until: Option<Moment>,
    /// True where the pre-flight would have refused it.
    pub forced: bool,
    /// The time in which the weight of its pools grows back once it ends or is released; `None` is
    /// at once.
    #[serde(default)]
    pub ramp: Option<Duration>,
    /// The number of the drill that it is the drain of.
    #[serde(default)]
    pub drill: Option<u64>,
}

/// An operator's request for an override.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideRequest {
    /// Its effect.
    pub action: Action,
    /// The part of the configuration that it covers.
    pub scope: Scope,
    /// The operator's name.
    pub by: String,
    /// The operator's reason; not empty.
    pub reason: String,
    /// The time from now until it takes effect; until then it is announced.
    pub starts_in: Duration,
    /// The time for which it holds from then on; `None` until it is released.
    pub lasts: Option<Duration>,
    /// True to make it although the pre-flight speaks against it.
    pub force: bool,
    /// The time in which the weight of its pools grows back afterwards; of a drain or `down` of
    /// whole pools alone.
    pub ramp: Option<Duration>,
    /// The number of the drill that it is the drain of.
    pub drill: Option<u64>,
}

/// An event in the life of the overrides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// One override changed.
    Changed {
        /// The override; boxed, as the other events are small.
        own: Box<Override>,
        /// The change.
        change: OverrideChange,
    },
    /// An operator continues without the overrides that could not be read back.
    LossAccepted {
        /// The number of overrides that are left.
        left: usize,
    },
}

/// A change of one override.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverrideChange {
    /// It is in force.
    InForce,
    /// It takes effect later.
    Announced,
    /// It was announced, and is in force now.
    Began,
    /// An operator released it.
    Released {
        /// True where the pre-flight spoke against that.
        forced: bool,
    },
    /// It ends within [`ENDS_SOON`].
    EndsSoon,
    /// Its time is over, and its pools come back by a ramp.
    Returning,
    /// Its time is over, and so is its ramp.
    Ended,
    /// Its time was over before this process read it back.
    EndedMeanwhile,
}

impl Event {
    /// Its kind, as a metric's label.
    pub fn as_label(&self) -> &'static str {
        match self {
            Event::LossAccepted { .. } => "loss_accepted",
            Event::Changed { change, .. } => match change {
                OverrideChange::InForce => "in_force",
                OverrideChange::Announced => "announced",
                OverrideChange::Began => "began",
                OverrideChange::Released { .. } => "released",
                OverrideChange::EndsSoon => "ends_soon",
                OverrideChange::Returning => "returning",
                OverrideChange::Ended => "ended",
                OverrideChange::EndedMeanwhile => "ended_meanwhile",
            },
        }
    }
}

impl Action {
    /// Its kind, as a metric's label.
    pub fn as_label(self) -> &'static str {
        match self {
            Action::Drain => "drain",
            Action::Up => "up",
            Action::Down => "down",
            Action::Weight(_) => "weight",
        }
    }

    /// The deed of taking this action on `scope`: `draining region dublin`.
    pub fn doing(self, scope: &Scope) -> String {
        match self {
            Action::Drain => format!("draining {scope}"),
            Action::Up => format!("marking {scope} up"),
            Action::Down => format!("marking {scope} down"),
            Action::Weight(weight) => format!("giving {scope} weight {}", weight.get()),
        }
    }

    /// True for the actions that replace weight; the others replace health.
    pub fn is_of_weight(self) -> bool {
        matches!(self, Action::Drain | Action::Weight(_))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Drain => f.write_str("drain"),
            Action::Up => f.write_str("up"),
            Action::Down => f.write_str("down"),
            Action::Weight(weight) => write!(f, "weight {}", weight.get()),
        }
    }
}

impl Override {
    /// The override that is asked for at `now`, with this number.
    pub fn new(id: u64, asked: OverrideRequest, now: Moment) -> Override {
        let starts = now + asked.starts_in;
        Override {
            id,
            action: asked.action,
            scope: asked.scope,
            by: asked.by,
            reason: asked.reason,
            made: now,
            starts,
            until: asked.lasts.map(|lasts| starts + lasts),
            forced: false,
            ramp: asked.ramp,
            drill: asked.drill,
        }
    }

    /// True while it is in effect at `now`.
    pub fn holds(&self, now: Moment) -> bool {
        // The start belongs to it and the end does not: one that follows another leaves no gap, and
        // the two never hold together.
        self.starts <= now && self.until.is_none_or(|until| until > now)
    }

    /// True from its end on, while its pools come back by a ramp.
    pub fn is_returning(&self, now: Moment) -> bool {
        self.until.is_some_and(|until| until <= now) && !self.is_over(now)
    }

    /// True once nothing of it is left: its time is over, and so is its ramp.
    fn is_over(&self, now: Moment) -> bool {
        let ramp = self.ramp.unwrap_or_default();
        self.until.is_some_and(|until| until + ramp <= now)
    }

    /// The steps of its ramp that are over at `now`, 0 … [`RAMP_STEPS`]; all of them while it has
    /// not ended.
    fn steps(&self, now: Moment) -> u32 {
        match (self.until, self.ramp) {
            (Some(until), Some(ramp)) if self.is_returning(now) => {
                let steps = u128::from(RAMP_STEPS) * now.since(until).as_nanos();
                // Less than all of them, as less than the ramp is over.
                (steps / ramp.as_nanos().max(1)) as u32
            }
            _ => RAMP_STEPS,
        }
    }

    /// The moment of the next step of its ramp after `now`.
    fn next_step(&self, now: Moment) -> Option<Moment> {
        let (until, ramp) = (self.until?, self.ramp?);
        if !self.is_returning(now) {
            return None;
        }
        let step = ramp.as_nanos() * u128::from(self.steps(now) + 1);
        // A ramp is far below 2⁶⁴ ns, which are 584 years.
        let step = step.div_ceil(u128::from(RAMP_STEPS)) as u64;
        Some(until + Duration::from_nanos(step))
    }

    /// The override as a pool's plan has it at `now`.
    fn applied(&self, now: Moment) -> Applied {
        Applied {
            what: format!("{} of {}", self.action, self.scope),
            by: self.by.clone(),
            reason: self.reason.clone(),
            starts: (self.starts > now).then_some(self.starts),
            until: self.until,
        }
    }

    /// Its effect, scope, operator, end and reason in one sentence, with times as `wall` reads
    /// them.
    pub fn sentence(&self, wall: WallTime) -> String {
        // Once it is said to be in force, the moment at which it took effect says nothing more.
        self.applied(self.starts).sentence(wall)
    }
}
