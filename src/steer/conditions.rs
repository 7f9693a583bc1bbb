//! The conditions of a pool besides the health of its endpoints, as its plan has them.

use std::sync::Arc;

use crate::model::{Moment, WallTime};

/// The number of steps in which a ramp grows, a plan compiled for each: enough to be smooth, few
/// enough to be cheap.
pub const RAMP_STEPS: u32 = 50;

/// The conditions of a pool besides the health of its endpoints.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolConditions {
    /// True where it awaits an operator's resume, per family.
    pub held: [bool; 2],
    /// Its share of its weight, 1 … [`RAMP_STEPS`]; the latter is all of it.
    pub share: u32,
    /// The latest moment until which an endpoint of it is held down as flapping.
    pub flapping_until: Option<Moment>,
    /// The drain that takes it out of use.
    pub drained: Option<Arc<Drain>>,
    /// True where overrides say that all of its endpoints are down.
    pub overridden_down: bool,
    /// True where an override of it is announced.
    pub announced: bool,
    /// The other overrides of it and of its endpoints.
    pub overrides: Vec<Applied>,
}

/// A drain: its scope is not used while anything else is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// The scope: `region eu-west`, `label provider:cloud-a` …
    pub what: String,
    /// The operator's name.
    pub by: String,
    /// The operator's reason.
    pub reason: String,
    /// The moment at which it ends; `None` until it is released.
    pub until: Option<Moment>,
}

/// An override that bears on a pool, as `why` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its action and scope: `up of endpoint 192.0.2.1`.
    pub what: String,
    /// The operator's name.
    pub by: String,
    /// The operator's reason.
    pub reason: String,
    /// The moment at which it takes effect, where it is announced; `None` where it is in force.
    pub starts: Option<Moment>,
    /// The moment at which it ends; `None` until it is released.
    pub until: Option<Moment>,
}

impl Default for PoolConditions {
    fn default() -> PoolConditions {
        PoolConditions {
            held: [false; 2],
            share: RAMP_STEPS,
            flapping_until: None,
            drained: None,
            overridden_down: false,
            announced: false,
            overrides: Vec::new(),
        }
    }
}

impl Drain {
    /// Its scope, operator, end and reason in one phrase, with times as `wall` reads them.
    pub fn sentence(&self, wall: WallTime) -> String {
        let Drain {
            what, by, reason, ..
        } = self;
        let until = until(self.until, wall);
        let why = if reason.is_empty() { "" } else { ": " };
        format!("{what} drained by {by} {until}{why}{reason}")
    }
}

impl Applied {
    /// Its effect, operator, times and reason in one sentence, with times as `wall` reads them.
    pub fn sentence(&self, wall: WallTime) -> String {
        let Applied {
            what, by, reason, ..
        } = self;
        let until = until(self.until, wall);
        let sentence = format!("{what} by {by} {until}: {reason}");
        match self.starts {
            Some(starts) => format!("from {} on {sentence}", wall.show(starts)),
            None => sentence,
        }
    }
}

/// The end of an override, in words.
pub(crate) fn until(until: Option<Moment>, wall: WallTime) -> String {
    match until {
        Some(until) => format!("until {}", wall.show(until)),
        None => "until it is released".to_owned(),
    }
}
