//! The ladder of availability.

use serde::{Deserialize, Serialize};

/// The steps of availability, best first. For each client, inside its border, the first that has a
/// pool decides; the answer is never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Rung {
    /// Up, weight above 0.
    Up = 0,
    /// Up, but shed by load.
    Shed = 1,
    /// Below `min_up`, with survivors in every family the pool offers.
    Survivors = 2,
    /// Below `min_up`, with survivors in this family and not in the other.
    SomeSurvivors = 3,
    /// Up, but standby by weight 0 or until an operator resumes it.
    Standby = 4,
    /// The service's `fallback` addresses.
    Fallback = 5,
    /// Nothing is up: every pool that has weight, as if all were up.
    AsIfUp = 6,
    /// Every pool.
    Every = 7,
}

impl Rung {
    /// All rungs, best first.
    pub const ALL: [Rung; 8] = [
        Rung::Up,
        Rung::Shed,
        Rung::Survivors,
        Rung::SomeSurvivors,
        Rung::Standby,
        Rung::Fallback,
        Rung::AsIfUp,
        Rung::Every,
    ];

    /// The best rung of a bit set; `None` of an empty one.
    #[inline]
    pub fn best(set: u8) -> Option<Rung> {
        // An empty set has eight trailing zeros, one more than the last index.
        Rung::ALL.get(set.trailing_zeros() as usize).copied()
    }

    /// Its bit in a set.
    #[inline]
    pub fn bit(self) -> u8 {
        1 << self as u8
    }

    /// True for the rungs that mean something is wrong: answers get `ttl_min`, are counted, and the
    /// change is logged.
    pub fn is_degraded(self) -> bool {
        // Being shed is a decision about load, not a failure: the region still answers well.
        self >= Rung::Survivors
    }

    /// Words for messages, metrics and `why`.
    pub fn as_str(self) -> &'static str {
        match self {
            Rung::Up => "up",
            Rung::Shed => "shed by load",
            Rung::Survivors | Rung::SomeSurvivors => "survivors below min_up",
            Rung::Standby => "standby",
            Rung::Fallback => "fallback",
            Rung::AsIfUp => "all down, as if all were up",
            Rung::Every => "all down, every pool",
        }
    }

    /// Its name as a metric's label.
    pub fn as_label(self) -> &'static str {
        match self {
            Rung::Up => "up",
            Rung::Shed => "shed",
            Rung::Survivors => "survivors",
            Rung::SomeSurvivors => "some_survivors",
            Rung::Standby => "standby",
            Rung::Fallback => "fallback",
            Rung::AsIfUp => "as_if_up",
            Rung::Every => "every",
        }
    }
}
