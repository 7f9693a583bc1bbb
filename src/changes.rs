//! Changes: what happened to the state of the server, as data.
//!
//! The publisher numbers each change and hands it out; the log sentence ([`Sentence`]), the lines
//! that a failure under many services takes ([`lines`]), and the keys by which a change is found
//! ([`Keys`]) are renderings of it, made elsewhere than in the publisher's loop. Names are copied
//! into a change, so that it outlives the configuration.

mod collapse;
mod keys;
mod sentence;
mod turn;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::acme;
use crate::health::{Cause, End, Warning};
use crate::model::{Family, Moment, WallTime};
use crate::overrides::{self, OverrideChange};
use crate::steer::Rung;
use crate::units;

pub use collapse::{Line, lines};
pub use keys::Keys;
pub use sentence::{Sentence, override_sentence};
pub use turn::Turn;

/// A change of the server's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its number: 1 for the first change of this process, and one more for each after it.
    pub number: u64,
    /// The change itself.
    #[serde(flatten)]
    pub event: Event,
}

/// A change, by the kind of object that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// An endpoint changed, as a check sees it.
    Endpoint(EndpointChange),
    /// A service's pool changed.
    Pool(PoolChange),
    /// The rung from which a service is answered changed.
    Service(ServiceChange),
    /// The overrides changed.
    Override(overrides::Event),
    /// An ACME challenge changed.
    Acme(acme::Event),
    /// Units changed.
    Unit(units::Event),
    /// This node changed.
    Node(NodeChange),
    /// The persistence of the history of health changed.
    History(HistoryChange),
    /// A drill changed.
    Drill(DrillChange),
}

/// A change of an endpoint under one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointChange {
    /// The address or name that is probed.
    pub target: String,
    /// The check's name.
    pub check: String,
    /// The change.
    pub change: EndpointEvent,
}

/// The changes of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointEvent {
    /// It went up or down.
    Health {
        /// Its state before.
        old: Verdict,
        /// Its state now.
        new: Verdict,
        /// The cause.
        cause: Cause,
        /// Names of the regions that have an endpoint there.
        regions: Vec<String>,
        /// The number of services that use it.
        services: usize,
    },
    /// It passes now and will fail if nobody acts; `None` where that is over.
    Warning(Option<Warning>),
    /// It flaps, and is held down.
    Flapping {
        /// The number of times that it went up or down.
        changes: usize,
        /// The time in which it did.
        within: Duration,
        /// The end of the hold.
        until: Moment,
    },
    /// The hold for flapping is over, and it is down.
    FlappingEnded,
    /// Its server closes every idle connection at once, or sends without end, so that `watch` holds
    /// none any more.
    WatchGivenUp,
}

/// A state of health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Up, after thresholds.
    Up,
    /// Down, after thresholds.
    Down,
}

/// A change of a service's pool in one region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolChange {
    /// Owner name of the service.
    pub service: String,
    /// The region's name.
    pub region: String,
    /// The change.
    pub change: PoolEvent,
}

/// The changes of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolEvent {
    /// It became available or unavailable for one family.
    Availability {
        /// The family.
        family: Family,
        /// Its state before.
        old: PoolState,
        /// Its state now.
        new: PoolState,
    },
    /// Its weight begins to grow after a return, and is full after this long.
    RampBegan(Duration),
    /// Its weight is full again.
    RampEnded,
    /// An operator resumed it.
    Resumed,
}

/// The state of a pool for one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolState {
    /// The best rung that it stands on.
    pub rung: Rung,
    /// True where it awaits an operator's resume.
    pub held: bool,
    /// True where an operator drained it.
    pub drained: bool,
}

/// A change of the rung that answers a service's clients, borders left aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceChange {
    /// Owner name of the service.
    pub service: String,
    /// The family.
    pub family: Family,
    /// The rung before.
    pub old: Rung,
    /// The rung now.
    pub new: Rung,
}

/// A change of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeChange {
    /// Every probe fails: this node's own network is assumed to be down.
    Isolated,
    /// Probes count again.
    IsolationEnded(End),
}

/// A change in the persistence of the history of health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryChange {
    /// The state directory does not take it, for this reason.
    NotPersisted(String),
    /// The state directory takes it again.
    Persisted,
}

/// A change of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillChange {
    /// Its number.
    pub drill: u64,
    /// The part of the configuration that it drains: `region dublin`.
    pub target: String,
    /// The person who started it.
    pub by: String,
    /// The change.
    pub change: DrillEvent,
}

/// The changes of a drill; the text is the cause, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrillEvent {
    /// Its drain is in force.
    Started,
    /// It lasted as long as it was to, and nothing degraded.
    Completed,
    /// An operator ended it.
    Stopped(String),
    /// A survivor degraded, or nobody watches them.
    Aborted(String),
    /// It did not begin.
    Refused(String),
}

impl DrillEvent {
    fn as_label(&self) -> &'static str {
        match self {
            DrillEvent::Started => "started",
            DrillEvent::Completed => "completed",
            DrillEvent::Stopped(_) => "stopped",
            DrillEvent::Aborted(_) => "aborted",
            DrillEvent::Refused(_) => "refused",
        }
    }
}

impl EndpointEvent {
    fn as_label(&self) -> &'static str {
        match self {
            EndpointEvent::Health { new, .. } => match new {
                Verdict::Up => "up",
                Verdict::Down => "down",
            },
            EndpointEvent::Warning(Some(_)) => "warning",
            EndpointEvent::Warning(None) => "warning_ended",
            EndpointEvent::Flapping { .. } => "flapping",
            EndpointEvent::FlappingEnded => "flapping_ended",
            EndpointEvent::WatchGivenUp => "watch_given_up",
        }
    }
}

impl PoolEvent {
    fn as_label(&self) -> &'static str {
        match self {
            PoolEvent::Availability { new, .. } => new.rung.as_label(),
            PoolEvent::RampBegan(_) => "ramp_began",
            PoolEvent::RampEnded => "ramp_ended",
            PoolEvent::Resumed => "resumed",
        }
    }
}

impl Verdict {
    /// Up or down.
    pub fn of(up: bool) -> Verdict {
        if up { Verdict::Up } else { Verdict::Down }
    }
}

impl Change {
    /// The sentence of the log, with times as `wall` reads them.
    pub fn sentence(&self, wall: WallTime) -> Sentence<'_> {
        self.event.sentence(wall)
    }

    /// True for a change that an operator should look at.
    pub fn is_warning(&self) -> bool {
        self.event.is_warning()
    }
}

impl Event {
    /// The kind of object that changed, and its change, as labels of a metric.
    pub fn labels(&self) -> [&'static str; 2] {
        match self {
            Event::Endpoint(endpoint) => ["endpoint", endpoint.change.as_label()],
            Event::Pool(pool) => ["pool", pool.change.as_label()],
            Event::Service(service) => ["service", service.new.as_label()],
            Event::Override(change) => ["override", change.as_label()],
            Event::Acme(challenge) => ["acme", challenge.as_label()],
            Event::Unit(unit) => ["unit", unit.as_label()],
            Event::Node(NodeChange::Isolated) => ["node", "isolated"],
            Event::Node(NodeChange::IsolationEnded(_)) => ["node", "isolation_ended"],
            Event::History(HistoryChange::NotPersisted(_)) => ["history", "not_persisted"],
            Event::History(HistoryChange::Persisted) => ["history", "persisted"],
            Event::Drill(drill) => ["drill", drill.change.as_label()],
        }
    }

    /// True for a change that an operator should look at.
    pub fn is_warning(&self) -> bool {
        match self {
            Event::Endpoint(endpoint) => match &endpoint.change {
                EndpointEvent::Health { new, .. } => *new == Verdict::Down,
                EndpointEvent::Warning(warning) => warning.is_some(),
                EndpointEvent::Flapping { .. } => true,
                EndpointEvent::FlappingEnded => false,
                EndpointEvent::WatchGivenUp => true,
            },
            Event::Pool(pool) => match &pool.change {
                // Later rungs are worse ones. A held pool is well, and waits for someone.
                PoolEvent::Availability { old, new, .. } => new.rung > old.rung || new.held,
                PoolEvent::RampBegan(_) | PoolEvent::RampEnded | PoolEvent::Resumed => false,
            },
            Event::Service(service) => service.new > service.old,
            Event::Override(overrides::Event::LossAccepted { .. }) => false,
            Event::Override(overrides::Event::Changed { own, change }) => match change {
                OverrideChange::InForce | OverrideChange::Announced | OverrideChange::Began => {
                    // What the pre-flight spoke against may leave a service with too little.
                    own.forced
                }
                OverrideChange::Released { forced } => *forced,
                // Both were decided when it was made; the end brings back what the files say.
                OverrideChange::EndsSoon | OverrideChange::Returning | OverrideChange::Ended => {
                    false
                }
                // It ended while no process was there to warn of that.
                OverrideChange::EndedMeanwhile => true,
            },
            Event::Acme(_) => false,
            Event::Unit(unit) => unit.is_bad(),
            Event::Node(node) => *node == NodeChange::Isolated,
            Event::History(history) => matches!(history, HistoryChange::NotPersisted(_)),
            Event::Drill(drill) => {
                matches!(
                    drill.change,
                    DrillEvent::Aborted(_) | DrillEvent::Refused(_)
                )
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
