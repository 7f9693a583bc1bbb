//! The health of a pool, from that of its endpoints: per family, and as rungs of the ladder.

use crate::health::State;
use crate::model::{Family, Pool, Service};
use crate::steer::rung::Rung;

/// The health of a pool in one family.
#[derive(Clone, Copy)]
pub(super) struct Judged {
    /// True from `min_up` on.
    pub(super) up: bool,
    survivors: bool,
    /// True where an endpoint is up in this family, whatever becomes of the other.
    some_survive: bool,
}

/// The families that `pool` offers, each on its own or, with `family = "same"`, all alike; both,
/// where the service hands out names.
pub(super) fn judge_families(
    service: &Service,
    pool: &Pool,
    states: &[State],
) -> [Option<Judged>; 2] {
    let offered = pool.families();
    let own = Family::BOTH.map(|family| {
        offered
            .contains(family)
            .then(|| judge(pool, states, family))
    });
    if service.is_split() {
        // Families part only where the operator asked for it: a client that races both of them
        // would else be sent to two regions.
        return own;
    }
    let up = own.iter().flatten().all(|judged| judged.up);
    let survivors = own.iter().flatten().all(|judged| judged.survivors);
    if service.names {
        // The region is chosen whatever the type; where it lacks a family, that is NODATA.
        let some_survive = own.iter().flatten().any(|judged| judged.survivors);
        return [Some(Judged {
            up,
            survivors,
            some_survive,
        }); 2];
    }
    // What survives in one family is no reason to hand out what is dead in the other.
    own.map(|judged| {
        judged.map(|judged| Judged {
            up,
            survivors,
            some_survive: judged.survivors,
        })
    })
}

/// A pool is up in a family when the weight of its up endpoints is at least `min_up` of the total
/// there, and at least one is up.
fn judge(pool: &Pool, states: &[State], family: Family) -> Judged {
    let (mut up, mut total, mut survivors) = (0u64, 0u64, false);
    let members = pool.endpoints.iter().zip(states);
    let members = members.filter(|(endpoint, _)| endpoint.target.families().contains(family));
    // Where all are standbys, none counts less than another.
    let weightless = members
        .clone()
        .all(|(endpoint, _)| endpoint.weight.get() == 0);
    for (endpoint, state) in members {
        let weight = if weightless {
            1
        } else {
            u64::from(endpoint.weight.get())
        };
        total += weight;
        if state.up {
            up += weight;
            survivors = true;
        }
    }
    Judged {
        // With `min_up = 0` any pool reaches its share, even one with no endpoint up.
        up: survivors && pool.min_up.is_reached(up, total),
        survivors,
        some_survive: survivors,
    }
}

/// The rungs on which a pool with this health stands.
pub(super) fn rung_set(view: Judged, weighted: bool, held: bool) -> u8 {
    let own = match (view.up, view.survivors, view.some_survive) {
        (true, _, _) if weighted && !held => Rung::Up.bit(),
        (true, _, _) => Rung::Standby.bit(),
        (_, true, _) => Rung::Survivors.bit(),
        (_, _, true) => Rung::SomeSurvivors.bit(),
        _ => 0,
    };
    // The last two rungs hold for every pool, up or down: an answer is never empty.
    own | Rung::Every.bit() | if weighted { Rung::AsIfUp.bit() } else { 0 }
}
