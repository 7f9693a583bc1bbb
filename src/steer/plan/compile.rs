//! Compilation of a plan: all that a query can be spared is done here, once per change.

use std::net::IpAddr;

use super::judge::{judge_families, rung_set};
use super::layout::Layout;
use super::{Census, Keys, NO_POOL, Note, Plan, PoolPlan, Ring, UnitPlan};
use crate::dns::Ttl;
use crate::health::State;
use crate::metrics::UNCOUNTED;
use crate::model::{Endpoint, Family, Pool, Region, Service, Target};
use crate::steer::conditions::{PoolConditions, RAMP_STEPS};
use crate::steer::hash;
use crate::steer::rung::Rung;
use crate::steer::svcb::{Svcb, SvcbHints};
use crate::steer::unit::UnitState;

impl Plan {
    /// Compiles `service` with its endpoints' states. `regions` has the names of all regions;
    /// `conditions` has one entry for each pool, or none where no pool has any. A unit is owned by
    /// the region that the files name.
    pub fn compile(
        service: &Service,
        regions: &[Region],
        state: &dyn Fn(&Pool, &Endpoint) -> State,
        conditions: &[PoolConditions],
    ) -> Plan {
        let unit_state = service.unit.as_ref().map(|unit| UnitState::of(unit.owner));
        Plan::compile_unit(service, regions, state, conditions, unit_state)
    }

    /// Compiles a plan as [`Plan::compile`] does, for a unit in the state `unit_state`.
    pub fn compile_unit(
        service: &Service,
        regions: &[Region],
        state: &dyn Fn(&Pool, &Endpoint) -> State,
        conditions: &[PoolConditions],
        unit_state: Option<UnitState>,
    ) -> Plan {
        let ttl = longest_ttl(service, unit_state.as_ref());
        let mut layout = Layout::new(service, ttl);
        let mut pools = Vec::with_capacity(service.pools.len());
        let mut all = Vec::with_capacity(service.pools.len());
        let mut counted = Vec::with_capacity(service.pools.len());
        for (index, pool) in service.pools.iter().enumerate() {
            let conditions = conditions.get(index);
            let (plan, every) = pool_plan(service, pool, state, conditions, &mut layout);
            pools.push(plan);
            all.push(every);
            counted.push(census(pool, &layout.states));
        }
        // Only now, with all pools known: one ramp anywhere puts the weights of all on the finer
        // scale.
        scale_weights(&mut pools, conditions);
        let last_resort = last_resort(service, unit_state.as_ref());
        if let Some(unit_state) = &unit_state {
            // Before the rungs of the service are summed up: without an owner there are none but
            // the fallback, and the answer is that or nothing.
            keep_owner(&mut pools, unit_state);
        }
        let fallback = Family::BOTH.map(|family| fallback_ring(last_resort, family, &mut layout));
        // A CNAME beside addresses of the other family would be taken for both.
        let is_for_both = service.names && !last_resort.is_empty();
        let any = Family::BOTH.map(|family| {
            rungs_of(&pools, family) | fallback_rung(fallback[family.index()], is_for_both)
        });
        // The hints are read from the RRs that are laid out, so all rings have to be there.
        let svcb = compile_svcb(service, &pools, &all, fallback, &layout);
        let unit = unit_state.map(|unit_state| {
            let epoch = layout.epoch(&unit_state, regions, service.ttl_min);
            Box::new(UnitPlan { unit_state, epoch })
        });
        Plan {
            route: service.route,
            map: service.map,
            all: all.into(),
            ttl,
            // The record of a unit may hold the TTL below `ttl_min`, and its fence is no longer
            // than that.
            ttl_min: service.ttl_min.min(ttl),
            families: service.families(),
            names: service.names,
            by_client: service.by_client,
            by_region: by_region(&pools, regions.len()),
            by_priority: by_priority(&pools),
            any,
            fallback,
            fallback_counter: UNCOUNTED,
            later_counters: Box::default(),
            census: counted.into(),
            notes: notes(service, conditions),
            trickle: service.trickle,
            keys: keys(&pools, regions, &mut layout),
            unit,
            svcb,
            pools: pools.into(),
            rrs: layout.bytes.into(),
            slots: layout.slots.into(),
        }
    }

    /// The health of `pool` of `service`, for each family that it offers.
    pub fn is_up(
        service: &Service,
        pool: &Pool,
        state: &dyn Fn(&Endpoint) -> State,
    ) -> [Option<bool>; 2] {
        let states: Vec<State> = pool.endpoints.iter().map(state).collect();
        judge_families(service, pool, &states).map(|judged| judged.map(|judged| judged.up))
    }
}

/// The TTL of a service's answers; of a unit, at most the longest that its record allows, since a
/// fence is as long as that.
fn longest_ttl(service: &Service, unit_state: Option<&UnitState>) -> Ttl {
    match unit_state.and_then(|unit_state| unit_state.max_ttl) {
        Some(most) => most.min(service.ttl),
        None => service.ttl,
    }
}

/// Gives each pool the share of its weight that its ramp allows.
fn scale_weights(pools: &mut [PoolPlan], conditions: &[PoolConditions]) {
    // While a weight grows all are counted in fractions, so that a weight of 1 can grow too.
    // Weights are 1 000 000 at most, so that fifty times as much fits.
    if conditions.iter().any(|pool| pool.share < RAMP_STEPS) {
        for (pool, conditions) in pools.iter_mut().zip(conditions) {
            pool.weight *= conditions.share;
        }
    }
}

/// The addresses of the last rung but the down pools: the service's `fallback`, or for a unit
/// without an owner its `fence_answer`.
fn last_resort<'s>(service: &'s Service, unit_state: Option<&UnitState>) -> &'s [IpAddr] {
    match (&service.unit, unit_state) {
        (Some(unit), Some(unit_state)) if unit_state.owner().is_none() => &unit.rules.fence_answer,
        _ => &service.fallback,
    }
}

/// Leaves rungs to the owner of a unit alone: no other region may answer for it, even when it is
/// down.
fn keep_owner(pools: &mut [PoolPlan], unit_state: &UnitState) {
    for pool in pools {
        if Some(pool.region) != unit_state.owner() {
            pool.rungs = [0; 2];
        }
    }
}

/// The ring of those of `addresses` that are of `family`.
fn fallback_ring(addresses: &[IpAddr], family: Family, layout: &mut Layout) -> Ring {
    let mut targets = Vec::new();
    for address in addresses {
        let target = Target::Address(*address);
        if target.families().contains(family) {
            targets.push(target);
        }
    }
    layout.ring(&targets.iter().map(|target| (target, 1)))
}

/// The rung of the fallback addresses of one family, where there are any, or they stand for both.
fn fallback_rung(ring: Ring, is_for_both: bool) -> u8 {
    if ring.len > 0 || is_for_both {
        Rung::Fallback.bit()
    } else {
        0
    }
}

/// The rungs on which any pool stands.
fn rungs_of(pools: &[PoolPlan], family: Family) -> u8 {
    let rungs = pools.iter().map(|pool| pool.rungs[family.index()]);
    rungs.fold(0, |any, rungs| any | rungs)
}

/// The table from regions to pools.
fn by_region(pools: &[PoolPlan], regions: usize) -> Box<[u16]> {
    let mut table = vec![NO_POOL; regions].into_boxed_slice();
    for (index, pool) in pools.iter().enumerate() {
        // A service has one pool in a region, and fewer than 65 535 of them.
        table[pool.region.index()] = index as u16;
    }
    table
}

/// The indexes of the pools, lowest priority number first.
fn by_priority(pools: &[PoolPlan]) -> Box<[u16]> {
    // As in `by_region`.
    let mut indexes: Box<[u16]> = (0..pools.len() as u16).collect();
    // The sort is stable: pools of one priority stay in the order of their regions, so that every
    // node walks them alike.
    indexes.sort_by_key(|index| pools[usize::from(*index)].priority);
    indexes
}

/// The notes of the pools, for `why`.
fn notes(service: &Service, conditions: &[PoolConditions]) -> Box<[Note]> {
    let mut notes = Vec::with_capacity(conditions.len());
    for (pool, conditions) in service.pools.iter().zip(conditions) {
        notes.push(Note {
            weight: pool.weight.get(),
            conditions: conditions.clone(),
        });
    }
    notes.into()
}

/// The keys that clients are hashed with, where they are.
fn keys(pools: &[PoolPlan], regions: &[Region], layout: &mut Layout) -> Option<Box<Keys>> {
    let slots = layout.keys.take()?.into();
    let regions = pools.iter().map(|pool| &regions[pool.region.index()]);
    let pools = regions.map(|region| hash::key(&region.name)).collect();
    Some(Box::new(Keys { pools, slots }))
}

/// The HTTPS and SVCB records, with the addresses of each pool as their hints.
fn compile_svcb(
    service: &Service,
    pools: &[PoolPlan],
    all: &[[Ring; 2]],
    fallback: [Ring; 2],
    layout: &Layout,
) -> Box<[Svcb]> {
    let hints = |rings: [Ring; 2]| rings.map(|ring| layout.addresses(ring));
    let mut compiled = Vec::with_capacity(service.svcb.len());
    for set in &service.svcb {
        let pools = pools.iter().zip(all).map(|(pool, all)| SvcbHints {
            usable: hints(pool.usable),
            all: hints(*all),
        });
        compiled.push(Svcb::compile(set, layout.ttl, pools, hints(fallback)));
    }
    compiled.into()
}

/// A pool's plan, and the rings of all its endpoints.
fn pool_plan(
    service: &Service,
    pool: &Pool,
    state: &dyn Fn(&Pool, &Endpoint) -> State,
    conditions: Option<&PoolConditions>,
    layout: &mut Layout,
) -> (PoolPlan, [Ring; 2]) {
    // Moved out, since the rings need the layout too, and put back for the next pool.
    let mut states = std::mem::take(&mut layout.states);
    states.clear();
    states.extend(pool.endpoints.iter().map(|endpoint| state(pool, endpoint)));
    let all = Family::BOTH.map(|family| ring(pool, &states, family, false, layout));
    // Mostly all are up: one ring serves for both then.
    let usable = if states.iter().all(|state| state.up) {
        all
    } else {
        Family::BOTH.map(|family| ring(pool, &states, family, true, layout))
    };
    let plan = PoolPlan {
        region: pool.region,
        weight: pool.weight.get(),
        priority: pool.priority,
        rungs: rungs(service, pool, &states, conditions),
        doubt: states.iter().any(|state| !state.settled)
            || conditions.is_some_and(|conditions| conditions.announced),
        // The configuration refuses more than 65 535 endpoints.
        up: states.iter().filter(|state| state.up).count() as u16,
        endpoints: states.len() as u16,
        counter: UNCOUNTED,
        usable,
    };
    layout.states = states;
    (plan, all)
}

/// The endpoints of a pool in these states, by family.
fn census(pool: &Pool, states: &[State]) -> [Census; 2] {
    let mut census = [Census::default(); 2];
    for (endpoint, state) in pool.endpoints.iter().zip(states) {
        let families = endpoint.target.families();
        for family in Family::BOTH {
            let own = &mut census[family.index()];
            let is_own = u16::from(families.contains(family));
            // The configuration refuses more than 65 535 endpoints.
            own.endpoints += is_own;
            own.up += is_own * u16::from(state.up);
            own.in_doubt += is_own * u16::from(!state.settled);
        }
    }
    census
}

/// The rungs on which a pool stands, per family.
fn rungs(
    service: &Service,
    pool: &Pool,
    states: &[State],
    conditions: Option<&PoolConditions>,
) -> [u8; 2] {
    let held = conditions.map_or([false; 2], |conditions| conditions.held);
    let drained = conditions.is_some_and(|conditions| conditions.drained.is_some());
    // A drain acts as weight 0 would: the pool is a standby, and comes back when nothing else is
    // up.
    let weighted = pool.weight.get() > 0 && !drained;
    let judged = judge_families(service, pool, states);
    let mut rungs = Family::BOTH.map(|family| match judged[family.index()] {
        Some(judged) => rung_set(judged, weighted, held[family.index()]),
        None => 0,
    });
    // An operator knows that it is down: as if it were up it is not used before all others.
    if conditions.is_some_and(|conditions| conditions.overridden_down) {
        rungs = rungs.map(|rungs| rungs & !Rung::AsIfUp.bit());
    }
    rungs
}

/// The ring of a pool's endpoints of one family: of those that are up, or of all.
fn ring(pool: &Pool, states: &[State], family: Family, only_up: bool, layout: &mut Layout) -> Ring {
    let endpoints = pool.endpoints.iter().zip(states);
    let endpoints = endpoints
        .filter(|(endpoint, state)| {
            endpoint.target.families().contains(family) && (state.up || !only_up)
        })
        .map(|(endpoint, _)| (&endpoint.target, endpoint.weight.get()));
    // Endpoints of weight 0 are standby inside their pool.
    let has_active = endpoints.clone().any(|(_, weight)| weight > 0);
    let picked = endpoints.filter(|(_, weight)| *weight > 0 || !has_active);
    // Standbys alone share evenly, and a score cannot be divided by 0.
    layout.ring(&picked.map(|(target, weight)| (target, weight.max(1))))
}
