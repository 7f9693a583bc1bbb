//! The turn that a change takes: for the worse or for the better, and of what.

use super::{
    EndpointEvent, Event, HistoryChange, NodeChange, PoolChange, PoolEvent, PoolState, Verdict,
};
use crate::units;

/// A change for the worse or for the better of one aspect of an object. Levels begin at 0, which is
/// good, and grow as things get worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The aspect, which is independent of the object's others.
    pub aspect: &'static str,
    /// The level before.
    pub from: u8,
    /// The level now.
    pub to: u8,
    /// True where an operator meant it: it begins no incident.
    pub is_meant: bool,
}

impl Turn {
    fn new(aspect: &'static str, from: u8, to: u8) -> Turn {
        Turn {
            aspect,
            from,
            to,
            is_meant: false,
        }
    }

    fn bad(aspect: &'static str) -> Option<Turn> {
        Some(Turn::new(aspect, 0, 1))
    }

    fn good(aspect: &'static str) -> Option<Turn> {
        Some(Turn::new(aspect, 1, 0))
    }
}

impl Event {
    /// The turn that it takes; `None` where nothing got better or worse.
    pub fn turn(&self) -> Option<Turn> {
        match self {
            Event::Endpoint(endpoint) => of_endpoint(&endpoint.change),
            Event::Pool(pool) => of_pool(pool),
            Event::Service(service) => {
                Some(Turn::new("rung", service.old as u8, service.new as u8))
            }
            Event::Override(_) | Event::Acme(_) | Event::Drill(_) => None,
            Event::Unit(unit) => of_unit(unit),
            Event::Node(NodeChange::Isolated) => Turn::bad("isolation"),
            Event::Node(NodeChange::IsolationEnded(_)) => Turn::good("isolation"),
            Event::History(HistoryChange::NotPersisted(_)) => Turn::bad("persistence"),
            Event::History(HistoryChange::Persisted) => Turn::good("persistence"),
        }
    }
}

fn of_endpoint(change: &EndpointEvent) -> Option<Turn> {
    match change {
        EndpointEvent::Health { new, .. } => match new {
            Verdict::Up => Turn::good("health"),
            Verdict::Down => Turn::bad("health"),
        },
        EndpointEvent::Warning(Some(_)) => Turn::bad("warning"),
        EndpointEvent::Warning(None) => Turn::good("warning"),
        EndpointEvent::Flapping { .. } => Turn::bad("flapping"),
        EndpointEvent::FlappingEnded => Turn::good("flapping"),
        EndpointEvent::WatchGivenUp => None,
    }
}

fn of_pool(pool: &PoolChange) -> Option<Turn> {
    let PoolEvent::Availability { old, new, .. } = &pool.change else {
        return None;
    };
    // Where somebody drains a pool, or takes that back, nobody needs to be woken up.
    let drains = new.drained && !is_down(new);
    let is_meant = drains || (old.drained && !is_down(old) && new.rung < old.rung);
    Some(Turn {
        is_meant,
        ..Turn::new("availability", old.rung as u8, new.rung as u8)
    })
}

fn is_down(state: &PoolState) -> bool {
    state.as_label() == "down"
}

fn of_unit(event: &units::Event) -> Option<Turn> {
    match event {
        units::Event::Fenced { .. } => Turn::bad("ownership"),
        units::Event::Owned { .. } => Turn::good("ownership"),
        // Its owner is down and stays: worse than a fence, which ends by itself.
        units::Event::Stranded { .. } => Some(Turn::new("ownership", 0, 2)),
        units::Event::Frozen { .. } | units::Event::NotWritten { .. } => Turn::bad("records"),
        units::Event::Written => Turn::good("records"),
        units::Event::Redirected { .. }
        | units::Event::Unknown { .. }
        | units::Event::Foreign { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::changes::tests::of_every_kind;

    #[test]
    fn what_gets_worse_is_a_warning_unless_it_is_meant() {
        let mut turns = 0;
        for event in of_every_kind() {
            let Some(turn) = event.turn() else {
                continue;
            };
            turns += 1;
            assert_ne!(turn.from, turn.to, "{event:?}");
            if turn.to > turn.from && !turn.is_meant {
                assert!(event.is_warning(), "{event:?}");
            }
        }
        assert!(turns > 15);
    }
}
