//! What changed, as the one sentence that is said of it.

use std::fmt;
use std::time::Duration;

use crate::health::{Cause, End, Warning};
use crate::model::{Moment, WallTime};
use crate::steer::{Override, Rung};
use crate::units;

/// Where a pool stands for one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stand {
    /// The best rung it stands on.
    pub rung: Rung,
    /// It awaits an operator's resume.
    pub held: bool,
    /// An operator drained it.
    pub drained: bool,
}

/// A change of state, as one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An endpoint's check went up or down.
    Target {
        /// Address or name probed.
        target: String,
        /// The check's name.
        check: String,
        /// What it is now.
        up: bool,
        /// Why.
        cause: Cause,
        /// Regions that have an endpoint there.
        regions: Vec<String>,
        /// How many services use it.
        services: usize,
    },
    /// What passes now and will fail if nobody acts; `None` where that is over.
    Warned {
        /// Address or name probed.
        target: String,
        /// The check's name.
        check: String,
        /// What it is.
        warning: Option<Warning>,
    },
    /// A region became available or unavailable for a service.
    Pool {
        /// Owner name.
        service: String,
        /// The region.
        region: String,
        /// `A` or `AAAA`.
        family: &'static str,
        /// Where it stood.
        old: Stand,
        /// Where it stands.
        new: Stand,
    },
    /// A target flaps, and is held down.
    Flapping {
        /// Address or name probed.
        target: String,
        /// The check's name.
        check: String,
        /// How often it went up or down.
        changes: usize,
        /// The time in which it did.
        within: Duration,
        /// Until when it is held.
        until: Moment,
    },
    /// A target that was held down as flapping is held no longer, and is down.
    FlappingEnded {
        /// Address or name probed.
        target: String,
        /// The check's name.
        check: String,
    },
    /// The weight of a pool that returned grows.
    RampBegan {
        /// Owner name.
        service: String,
        /// The region.
        region: String,
        /// How long it takes.
        ramp: Duration,
    },
    /// A pool that returned has its whole weight again.
    RampEnded {
        /// Owner name.
        service: String,
        /// The region.
        region: String,
    },
    /// An operator took a held pool back.
    Resumed {
        /// Owner name.
        service: String,
        /// The region.
        region: String,
    },
    /// An operator's word took effect.
    Overridden(Override),
    /// An operator announced a word, which takes effect later.
    OverrideAnnounced(Override),
    /// What was announced took effect.
    OverrideBegan(Override),
    /// An operator took one back.
    Released {
        /// It.
        own: Override,
        /// The pre-flight spoke against that.
        forced: bool,
    },
    /// An operator goes on without the overrides that could not be read back.
    OverridesLossAccepted {
        /// How many there are.
        left: usize,
    },
    /// The end of one is near.
    OverrideEndsSoon(Override),
    /// One has ended.
    OverrideEnded(Override),
    /// One that a state directory has is not taken up, since its time is over.
    OverrideOver(Override),
    /// The state directory does not take the history of health; a sentence says why.
    HistoryNotKept(String),
    /// It does again.
    HistoryKept,
    /// The rung that answers a service's clients, borders left aside, changed.
    Service {
        /// Owner name.
        service: String,
        /// `A` or `AAAA`.
        family: &'static str,
        /// Before.
        old: Rung,
        /// Now.
        new: Rung,
    },
    /// Something happened to units.
    Unit(units::Event),
    /// Our own network failed.
    IsolationBegan,
    /// Probes count again.
    IsolationEnded(End),
}

impl Change {
    /// True for what someone should look at.
    pub fn is_bad(&self) -> bool {
        match self {
            Change::Target { up, .. } => !up,
            Change::Pool { old, new, .. } => new.rung > old.rung || new.held,
            Change::Overridden(own)
            | Change::OverrideAnnounced(own)
            | Change::OverrideBegan(own) => own.forced,
            Change::Released { forced, .. } => *forced,
            Change::Service { old, new, .. } => new > old,
            Change::Warned { warning, .. } => warning.is_some(),
            Change::IsolationBegan
            | Change::Flapping { .. }
            | Change::HistoryNotKept(_)
            | Change::OverrideOver(_) => true,
            Change::Unit(event) => event.is_bad(),
            Change::IsolationEnded(_)
            | Change::FlappingEnded { .. }
            | Change::RampBegan { .. }
            | Change::RampEnded { .. }
            | Change::Resumed { .. }
            | Change::OverridesLossAccepted { .. }
            | Change::OverrideEndsSoon(_)
            | Change::OverrideEnded(_)
            | Change::HistoryKept => false,
        }
    }
}

/// A change in words, its times by the wall clock.
#[derive(Debug)]
pub struct Shown<'c> {
    change: &'c Change,
    wall: WallTime,
}

impl Change {
    /// The sentence, with times as `wall` reads them.
    pub fn show(&self, wall: WallTime) -> Shown<'_> {
        Shown { change: self, wall }
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wall = self.wall;
        let word = |up: &bool| if *up { "up" } else { "down" };
        match self.change {
            Change::Target { target, check, up, cause, regions, services } => {
                let plural = if *services == 1 { "" } else { "s" };
                let regions = if regions.is_empty() { "no region".to_owned() } else { regions.join(", ") };
                write!(f, "endpoint {target} check {check} is {}, was {}: {cause}; in {regions}, ", word(up), word(&!up))?;
                write!(f, "used by {services} service{plural}")
            }
            Change::Warned { target, check, warning: Some(warning) } => write!(f, "endpoint {target} check {check}: {warning}"),
            Change::Warned { target, check, warning: None } => write!(f, "endpoint {target} check {check}: no warning any more"),
            Change::Pool { service, region, family, old, new } => {
                write!(f, "service {service} {family} region {region} is {new}, was {old}")
            }
            Change::Flapping { target, check, changes, within, until } => {
                let within = humantime::format_duration(*within);
                write!(f, "endpoint {target} check {check} is flapping: it went up or down {changes} times in {within}; ")?;
                write!(f, "it is held down until {}", wall.show(*until))
            }
            Change::FlappingEnded { target, check } => {
                write!(f, "endpoint {target} check {check} is held down for flapping no longer; it is down")
            }
            Change::RampBegan { service, region, ramp } => {
                write!(f, "service {service} region {region} returns: its weight grows for {}", humantime::format_duration(*ramp))
            }
            Change::RampEnded { service, region } => {
                write!(f, "service {service} region {region} has returned: its weight has grown to the whole")
            }
            Change::Resumed { service, region } => write!(f, "service {service} region {region} was resumed by an operator"),
            Change::Overridden(own) => {
                write!(f, "override {}: {}{}", own.id, own.sentence(wall), by_force(own.forced))
            }
            Change::OverrideAnnounced(own) => {
                let (id, starts) = (own.id, wall.show(own.starts));
                write!(f, "override {id} is announced and takes effect at {starts}: ")?;
                write!(f, "{}{}", own.sentence(wall), by_force(own.forced))
            }
            Change::OverrideBegan(own) => {
                write!(f, "override {}, announced before, is in force: {}{}", own.id, own.sentence(wall), by_force(own.forced))
            }
            Change::Released { own, forced } => {
                write!(f, "override {} is taken back: {}{}", own.id, own.sentence(wall), by_force(*forced))
            }
            Change::OverridesLossAccepted { left } => {
                let those = if *left == 1 { "1 override is".to_owned() } else { format!("{left} overrides are") };
                write!(f, "the loss of overrides is accepted: {those} kept from now on")
            }
            Change::OverrideEndsSoon(own) => {
                write!(f, "override {} ends within {} minutes: {}", own.id, super::ENDS_SOON.as_secs() / 60, own.sentence(wall))
            }
            Change::OverrideEnded(own) => write!(f, "override {} has ended: {}", own.id, own.sentence(wall)),
            Change::OverrideOver(own) => {
                write!(f, "override {} ended while no server was here to say so, and is gone: {}", own.id, own.sentence(wall))
            }
            Change::HistoryNotKept(why) => {
                write!(f, "the history of health is not kept: {why}; a restart will begin with a first round")
            }
            Change::HistoryKept => f.write_str("the history of health is kept again"),
            Change::Service { service, family, old, new } => {
                write!(f, "service {service} {family} is answered from {}, was {}", new.as_str(), old.as_str())
            }
            Change::Unit(event) => write!(f, "{event}"),
            Change::IsolationBegan => f.write_str(
                "isolated: no endpoint anywhere passes, so our own network is taken to be what failed; health is frozen and this node is not ready",
            ),
            Change::IsolationEnded(End::Pass) => f.write_str("isolation is over: a probe passed; outcomes count again"),
            Change::IsolationEnded(End::TimeLimit) => {
                f.write_str("isolation is over: it lasted 60 s, so the failures are taken to be real; outcomes count again")
            }
        }
    }
}

/// A pool that stands only on the rungs of last resort is down.
impl fmt::Display for Stand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.rung {
            _ if self.held => "held until it is resumed",
            Rung::Standby if self.drained => "drained",
            rung if rung >= Rung::AsIfUp => "down",
            rung => rung.as_str(),
        })
    }
}

fn by_force(forced: bool) -> &'static str {
    if forced { " (forced)" } else { "" }
}
