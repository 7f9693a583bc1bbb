//! The log sentence of a change: its object and new state, then the cause.

use std::fmt;

use super::{
    DrillChange, DrillEvent, EndpointChange, EndpointEvent, Event, HistoryChange, NodeChange,
    PoolChange, PoolEvent, PoolState, ServiceChange, Verdict,
};
use crate::health::End;
use crate::model::{Family, WallTime};
use crate::overrides::{self, ENDS_SOON, Override, OverrideChange};
use crate::steer::Rung;

/// A change in words, its times by the wall clock.
#[derive(Debug)]
pub struct Sentence<'c> {
    event: &'c Event,
    wall: WallTime,
}

impl Event {
    /// The sentence of the log, with times as `wall` reads them.
    pub fn sentence(&self, wall: WallTime) -> Sentence<'_> {
        Sentence { event: self, wall }
    }
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.event {
            Event::Endpoint(endpoint) => write_endpoint(f, endpoint, self.wall),
            Event::Pool(pool) => write_pool(f, pool),
            Event::Service(service) => write_service(f, service),
            Event::Override(event) => f.write_str(&override_sentence(event, self.wall)),
            Event::Acme(challenge) => f.write_str(&challenge.sentence(self.wall)),
            Event::Unit(unit) => write!(f, "{unit}"),
            Event::Node(node) => f.write_str(node_sentence(node)),
            Event::History(history) => write_history(f, history),
            Event::Drill(drill) => write_drill(f, drill),
        }
    }
}

fn write_endpoint(
    f: &mut fmt::Formatter<'_>,
    endpoint: &EndpointChange,
    wall: WallTime,
) -> fmt::Result {
    let EndpointChange { target, check, .. } = endpoint;
    write!(f, "endpoint {target} check {check}")?;
    match &endpoint.change {
        EndpointEvent::Health {
            old,
            new,
            cause,
            regions,
            services,
        } => {
            let regions = if regions.is_empty() {
                "no region".to_owned()
            } else {
                regions.join(", ")
            };
            let plural = if *services == 1 { "" } else { "s" };
            // The regions and the number of services tell an operator how far the failure reaches.
            write!(
                f,
                " is {new}, was {old}: {cause}; in {regions}, used by {services} service{plural}"
            )
        }
        EndpointEvent::Warning(Some(warning)) => write!(f, ": {warning}"),
        EndpointEvent::Warning(None) => f.write_str(": the warning is over"),
        EndpointEvent::Flapping {
            changes,
            within,
            until,
        } => write!(
            f,
            " is flapping: it went up or down {changes} times in {}; it is held down until {}",
            humantime::format_duration(*within),
            wall.show(*until)
        ),
        EndpointEvent::FlappingEnded => {
            f.write_str(" is down: the hold for flapping is over, and probes decide again")
        }
        EndpointEvent::WatchGivenUp => f.write_str(
            " is not watched any more: its server closes idle connections at once, or sends without end; probes go on at their interval (set watch = false, or have the server keep idle connections)",
        ),
    }
}

fn write_pool(f: &mut fmt::Formatter<'_>, pool: &PoolChange) -> fmt::Result {
    let PoolChange {
        service, region, ..
    } = pool;
    match &pool.change {
        PoolEvent::Availability { family, old, new } => {
            let family = rtype(*family);
            write!(
                f,
                "service {service} {family} region {region} is {new}, was {old}"
            )
        }
        PoolEvent::RampBegan(ramp) => write!(
            f,
            "service {service} region {region}: ramp begun, back at full weight in {}",
            humantime::format_duration(*ramp)
        ),
        PoolEvent::RampEnded => write!(
            f,
            "service {service} region {region}: ramp complete, back at full weight"
        ),
        PoolEvent::Resumed => {
            write!(
                f,
                "service {service} region {region}: resumed by an operator"
            )
        }
    }
}

fn write_service(f: &mut fmt::Formatter<'_>, change: &ServiceChange) -> fmt::Result {
    let ServiceChange {
        service, old, new, ..
    } = change;
    let (family, old, new) = (rtype(change.family), old.as_str(), new.as_str());
    write!(
        f,
        "service {service} {family} is answered from {new}, was {old}"
    )
}

/// The type of the records of a family.
fn rtype(family: Family) -> &'static str {
    match family {
        Family::V4 => "A",
        Family::V6 => "AAAA",
    }
}

/// The sentence of an event of the overrides, which operators are answered with too.
pub fn override_sentence(event: &overrides::Event, wall: WallTime) -> String {
    match event {
        overrides::Event::LossAccepted { left } => {
            let plural = if *left == 1 { "" } else { "s" };
            format!("override loss accepted: {left} override{plural} left, in force or announced")
        }
        overrides::Event::Changed { own, change } => changed_override(own, *change, wall),
    }
}

fn changed_override(own: &Override, change: OverrideChange, wall: WallTime) -> String {
    let state = match change {
        OverrideChange::InForce => String::new(),
        OverrideChange::Announced => {
            format!(
                " is announced and takes effect at {}",
                wall.show(own.starts)
            )
        }
        OverrideChange::Began => " is in force, as announced".to_owned(),
        OverrideChange::Released { .. } => format!(" is released{}", back(own)),
        OverrideChange::EndsSoon => format!(" ends within {} minutes", ENDS_SOON.as_secs() / 60),
        OverrideChange::Returning => format!(" has ended{}", back(own)),
        OverrideChange::Ended => " has ended".to_owned(),
        OverrideChange::EndedMeanwhile => " ended while no server was running".to_owned(),
    };
    // A new override is forced or not for as long as it is there; its release is judged by itself.
    let forced = match change {
        OverrideChange::InForce | OverrideChange::Announced | OverrideChange::Began => own.forced,
        OverrideChange::Released { forced } => forced,
        OverrideChange::EndsSoon
        | OverrideChange::Returning
        | OverrideChange::Ended
        | OverrideChange::EndedMeanwhile => false,
    };
    let by_force = if forced { " (forced)" } else { "" };
    format!(
        "override {}{state}: {}{by_force}",
        own.id,
        own.sentence(wall)
    )
}

/// The way in which the pools of an override come back, as the end of a phrase.
fn back(own: &Override) -> String {
    match own.ramp {
        Some(ramp) => {
            let ramp = humantime::format_duration(ramp);
            format!(", and its weight grows back in {ramp}")
        }
        None => String::new(),
    }
}

fn node_sentence(node: &NodeChange) -> &'static str {
    match node {
        NodeChange::Isolated => {
            "node isolated: every probe fails, so this node's own network is assumed down; health is frozen and the node is not ready"
        }
        NodeChange::IsolationEnded(End::Pass) => {
            "node no longer isolated: a probe passed; outcomes count again"
        }
        NodeChange::IsolationEnded(End::TimeLimit) => {
            "node no longer isolated: isolation lasted 60 s, so the failures are taken to be real; outcomes count again"
        }
    }
}

fn write_history(f: &mut fmt::Formatter<'_>, history: &HistoryChange) -> fmt::Result {
    match history {
        HistoryChange::NotPersisted(why) => write!(
            f,
            "health history not persisted: {why}; a restart will begin with a first round of probes"
        ),
        HistoryChange::Persisted => f.write_str("health history is persisted again"),
    }
}

fn write_drill(f: &mut fmt::Formatter<'_>, change: &DrillChange) -> fmt::Result {
    let DrillChange {
        drill, target, by, ..
    } = change;
    write!(f, "drill {drill} of {target} by {by} ")?;
    match &change.change {
        DrillEvent::Started => {
            f.write_str("has begun: it is drained, and the survivors are watched")
        }
        DrillEvent::Completed => f.write_str("is completed: nothing degraded"),
        DrillEvent::Stopped(why) => write!(f, "is stopped: {why}"),
        DrillEvent::Aborted(why) => write!(f, "is aborted: {why}"),
        DrillEvent::Refused(why) => write!(f, "is refused: {why}"),
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Up => "up",
            Verdict::Down => "down",
        })
    }
}

/// A pool that stands only on the rungs of last resort is down.
impl fmt::Display for PoolState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.rung {
            // Held and drained pools stand on the same rung, and different people bring them back.
            _ if self.held => "held until it is resumed",
            Rung::Standby if self.drained => "drained",
            rung if rung >= Rung::AsIfUp => "down",
            rung => rung.as_str(),
        })
    }
}
