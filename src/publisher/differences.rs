//! The changes that a new plan of a service brings.

use crate::changes::{Event, PoolChange, PoolEvent, PoolState, ServiceChange};
use crate::config::Config;
use crate::model::{Family, RegionId, Service};
use crate::recovery::{self, RecoveryChange};
use crate::steer::{Plan, Rung, UnitState};

/// A change for each pool and family whose rung changed, and one where the service's did.
pub(super) fn differences(
    config: &Config,
    service: &Service,
    old: &Plan,
    new: &Plan,
) -> Vec<Event> {
    let mut events = Vec::new();
    // A unit that changes hands reports that itself.
    if old.unit_state().map(UnitState::owner) != new.unit_state().map(UnitState::owner) {
        return events;
    }
    for family in Family::BOTH {
        if !new.families.contains(family) {
            continue;
        }
        for pool in &new.pools {
            let region = pool.region;
            if let (Some(old), Some(new)) =
                (state_in(old, region, family), state_in(new, region, family))
                && old != new
            {
                events.push(Event::Pool(PoolChange {
                    service: service.name.to_string(),
                    region: config.region_name(region).to_owned(),
                    change: PoolEvent::Availability { family, old, new },
                }));
            }
        }
        if let (Some(old), Some(new)) = (old.rung(family), new.rung(family))
            && old != new
        {
            events.push(Event::Service(ServiceChange {
                service: service.name.to_string(),
                family,
                old,
                new,
            }));
        }
    }
    events
}

/// The state of the pool in `region`; `None` for a family that it does not offer.
fn state_in(plan: &Plan, region: RegionId, family: Family) -> Option<PoolState> {
    let rung = Rung::best(plan.pool(region)?.rungs[family.index()])?;
    // Held and drained pools are standbys; of any other rung these say nothing.
    let note = plan.note(region).filter(|_| rung == Rung::Standby);
    Some(PoolState {
        rung,
        held: note.is_some_and(|note| note.conditions.held[family.index()]),
        drained: note.is_some_and(|note| note.conditions.drained.is_some()),
    })
}

/// The change that an event of the recovery is.
pub(super) fn recovery_change(config: &Config, event: &recovery::Event) -> Event {
    Event::Pool(PoolChange {
        service: config.services[event.service.index()].name.to_string(),
        region: config.region_name(event.region).to_owned(),
        change: match event.change {
            RecoveryChange::Resumed => PoolEvent::Resumed,
            RecoveryChange::RampBegan(ramp) => PoolEvent::RampBegan(ramp),
            RecoveryChange::RampEnded => PoolEvent::RampEnded,
        },
    })
}
