//! What is handed out now for one service.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::conditions::{PoolConditions, RAMP_STEPS};
use super::hash;
use super::svcb::{Svcb, SvcbHints};
use super::unit::{OwnerState, UnitState};
use crate::dns::{RrType, Ttl};
use crate::health::State;
use crate::metrics::{PoolCounters, UNCOUNTED};
use crate::model::{
    Endpoint, Families, Family, MapId, Pool, Region, RegionId, Route, Service, Share, Target,
};
use crate::prefetch;
use crate::zone::rrs;

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

/// What is handed out now for one service: compiled once per change, read by every query.
///
/// With many services a query finds its plan in no cache, so what nearly every query reads comes
/// first and fits one cache line; a pool fits another, and the RRs of its answer a third.
#[derive(Debug, Clone, PartialEq)]
#[repr(C, align(64))]
pub struct Plan {
    /// One per pool, in the service's order.
    pub pools: Box<[PoolPlan]>,
    /// Pool index by region; `NO_POOL` where the service has none.
    by_region: Box<[u16]>,
    /// The RRs, each ring laid out so that the answer that starts at endpoint `i` is one slice: the ring's
    /// endpoints, and the first `answers − 1` of them once more.
    rrs: Box<[u8]>,
    /// The map of the clients' orders and borders.
    pub map: Option<MapId>,
    /// TTL while what was consulted is settled.
    pub ttl: Ttl,
    /// The rungs that have a pool, per family.
    any: [u8; 2],
    /// How a region is chosen.
    pub route: Route,
    /// Families that have records at all.
    pub families: Families,
    /// An endpoint is a CNAME target: one client gets one thing for every type.
    pub names: bool,
    /// Clients draw lots, instead of each answer.
    pub by_client: bool,
    /// TTL in doubt and on degraded rungs.
    pub ttl_min: Ttl,
    /// Per laid-out RR: where it starts, and the weights of its ring's endpoints up to and with it.
    slots: Box<[Slot]>,
    /// Pool indexes, lowest priority number first.
    by_priority: Box<[u16]>,
    /// All endpoints of each pool, per family, up or not.
    all: Box<[[Ring; 2]]>,
    fallback: [Ring; 2],
    /// Where answers with the `fallback` addresses are counted.
    pub fallback_counter: u32,
    /// By pool, where there is anything to say of one; read by `why` alone.
    notes: Box<[Note]>,
    /// The share of the answers that goes to the next priority.
    pub(super) trickle: Share,
    /// What clients draw lots for, where they do.
    keys: Option<Box<Keys>>,
    /// Who answers, where it is a unit.
    unit: Option<Box<UnitPlan>>,
    /// HTTPS and SVCB records that follow the steering.
    svcb: Box<[Svcb]>,
}

/// Keys of candidates, for [`hash`].
#[derive(Debug, Clone, PartialEq)]
struct Keys {
    /// By pool.
    pools: Box<[u64]>,
    /// By slot.
    slots: Box<[u64]>,
}

#[derive(Debug, Clone, PartialEq)]
struct UnitPlan {
    unit_state: UnitState,
    /// The TXT RR that says so.
    epoch: Box<[u8]>,
}

/// What `why` says of a pool besides its health.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// Its weight as configured; [`PoolPlan::weight`] is what is drawn by.
    pub weight: u32,
    /// Its other conditions.
    pub conditions: PoolConditions,
}

const NO_POOL: u16 = u16::MAX;

/// One pool in a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolPlan {
    /// Its region.
    pub region: RegionId,
    /// Its weight among equals.
    pub weight: u32,
    /// Its priority number.
    pub priority: u32,
    /// The rungs it stands on, per family.
    pub rungs: [u8; 2],
    /// An endpoint of it is in doubt, or a change of it is announced.
    pub doubt: bool,
    /// How many of its endpoints are up, for `why`.
    pub up: u16,
    /// How many endpoints it has.
    pub endpoints: u16,
    /// Where its answers are counted; see [`Plan::count_in`].
    pub counter: u32,
    /// Endpoints usable now, per family.
    usable: [Ring; 2],
}

/// Endpoints to pick from by weight: a stretch of a plan's RRs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ring {
    first: u32,
    /// Where the RRs of the answer that starts at its first endpoint are.
    start: u32,
    length: u16,
    /// How many endpoints can be picked.
    pub len: u16,
    /// How many RRs an answer has.
    pub answers: u8,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Slot {
    start: u32,
    cumulative: u64,
}

impl Plan {
    /// Compiles `service` with its endpoints' states. `regions` is the names of all regions; `conditions` has one for each
    /// pool, or none where nothing is to be said of any. A unit is owned by whom the files name.
    pub fn compile(
        service: &Service,
        regions: &[Region],
        state: &dyn Fn(&Pool, &Endpoint) -> State,
        conditions: &[PoolConditions],
    ) -> Plan {
        let unit_state = service.unit.as_ref().map(|unit| UnitState::of(unit.owner));
        Plan::compile_unit(service, regions, state, conditions, unit_state)
    }

    /// Compiles the plan of a service, with the state of the unit where it is one.
    pub fn compile_unit(
        service: &Service,
        regions: &[Region],
        state: &dyn Fn(&Pool, &Endpoint) -> State,
        conditions: &[PoolConditions],
        unit_state: Option<UnitState>,
    ) -> Plan {
        // While a weight grows all are counted in fractions, so that a weight of 1 can grow too.
        let scale = if conditions
            .iter()
            .any(|conditions| conditions.share < RAMP_STEPS)
        {
            RAMP_STEPS
        } else {
            1
        };
        let drawn = |weight: u32, share: u32| if scale == 1 { weight } else { weight * share };
        let note = |(pool, conditions): (&Pool, &PoolConditions)| Note {
            weight: pool.weight.get(),
            conditions: conditions.clone(),
        };
        let notes = service.pools.iter().zip(conditions).map(note).collect();
        let ttl = unit_state
            .as_ref()
            .and_then(|unit_state| unit_state.max_ttl)
            .map_or(service.ttl, |most| most.min(service.ttl));
        let mut layout = Layout::new(service, ttl);
        let (mut pools, all): (Vec<PoolPlan>, Vec<[Ring; 2]>) = service
            .pools
            .iter()
            .enumerate()
            .map(|(i, pool)| pool_plan(service, pool, state, conditions.get(i), &mut layout))
            .unzip();
        for (pool, conditions) in pools.iter_mut().zip(conditions) {
            pool.weight = drawn(pool.weight, conditions.share);
        }
        let mut last_resort = &service.fallback;
        if let (Some(unit_state), Some(unit)) = (&unit_state, &service.unit) {
            let owner = unit_state.owner();
            pools
                .iter_mut()
                .filter(|pool| Some(pool.region) != owner)
                .for_each(|pool| pool.rungs = [0; 2]);
            if owner.is_none() {
                last_resort = &unit.rules.fence_answer;
            }
        }
        let fallback = Family::BOTH.map(|family| {
            let addresses: Vec<_> = last_resort
                .iter()
                .map(|a| Target::Address(*a))
                .filter(|t| t.families().contains(family))
                .collect();
            layout.ring(&addresses.iter().map(|target| (target, 1)))
        });
        let any = Family::BOTH.map(|family| {
            let pools = pools
                .iter()
                .fold(0, |any, pool| any | pool.rungs[family.index()]);
            // A CNAME beside addresses of the other family would be taken for both.
            let has_fallback =
                fallback[family.index()].len > 0 || (service.names && !last_resort.is_empty());
            pools
                | if has_fallback {
                    Rung::Fallback.bit()
                } else {
                    0
                }
        });
        let mut by_region = vec![NO_POOL; regions.len()].into_boxed_slice();
        for (index, pool) in pools.iter().enumerate() {
            by_region[pool.region.index()] = index as u16;
        }
        let mut by_priority: Box<[u16]> = (0..pools.len() as u16).collect();
        by_priority.sort_by_key(|index| pools[usize::from(*index)].priority);
        let keys = layout.keys.take().map(|slots| {
            let pools = pools
                .iter()
                .map(|pool| hash::key(&regions[pool.region.index()].name))
                .collect();
            Box::new(Keys {
                pools,
                slots: slots.into(),
            })
        });
        let svcb = service.svcb.iter().map(|set| {
            let hints = |rings: [Ring; 2]| rings.map(|ring| layout.addresses(ring));
            let pools = pools.iter().zip(&all).map(|(pool, all)| SvcbHints {
                usable: hints(pool.usable),
                all: hints(*all),
            });
            Svcb::compile(set, ttl, pools, hints(fallback))
        });
        let svcb = svcb.collect();
        let unit = unit_state.map(|unit_state| {
            let epoch = layout.epoch(&unit_state, regions, service.ttl_min);
            Box::new(UnitPlan { unit_state, epoch })
        });
        Plan {
            route: service.route,
            map: service.map,
            pools: pools.into(),
            all: all.into(),
            ttl,
            ttl_min: service.ttl_min.min(ttl),
            families: service.families(),
            names: service.names,
            by_client: service.by_client,
            by_region,
            by_priority,
            any,
            fallback,
            fallback_counter: UNCOUNTED,
            notes,
            trickle: service.trickle,
            keys,
            unit,
            svcb,
            rrs: layout.bytes.into(),
            slots: layout.slots.into(),
        }
    }

    /// Counts the answers of each pool, and then those with the `fallback` addresses, in `counters`, by their
    /// numbers in a [`crate::metrics::PoolCounters`]; a new plan counts in none.
    pub fn count_in(&mut self, counters: &[u32]) {
        self.pools
            .iter_mut()
            .zip(counters)
            .for_each(|(pool, counter)| pool.counter = *counter);
        self.fallback_counter = counters.get(self.pools.len()).copied().unwrap_or(UNCOUNTED);
    }

    /// Whether `pool` of `service` is up, for each family that it offers.
    pub fn is_up(
        service: &Service,
        pool: &Pool,
        state: &dyn Fn(&Endpoint) -> State,
    ) -> [Option<bool>; 2] {
        let states: Vec<State> = pool.endpoints.iter().map(state).collect();
        judge_families(service, pool, &states).map(|judged| judged.map(|judged| judged.up))
    }

    /// The service's pool in `region`.
    #[inline]
    pub fn pool(&self, region: RegionId) -> Option<&PoolPlan> {
        // Pools are in the order of their regions: a service that is everywhere needs no table.
        match self.pools.get(region.index()) {
            Some(pool) if pool.region == region => Some(pool),
            _ => self
                .pools
                .get(usize::from(*self.by_region.get(region.index())?)),
        }
    }

    /// Has the memory fetched of the pool in `region`, without one of the first.
    #[inline]
    pub fn fetch_pool(&self, region: Option<RegionId>) {
        let index = match region {
            None => 0,
            // A service that is everywhere needs no table.
            Some(region) if self.pools.len() == self.by_region.len() => region.index(),
            Some(region) => self
                .by_region
                .get(region.index())
                .map_or(usize::MAX, |pool| usize::from(*pool)),
        };
        prefetch::fetch(&self.pools, index);
    }

    /// Has the memory fetched of what that pool hands out, and of where that is counted; to be called once the pool is there.
    #[inline]
    pub fn fetch_answer(
        &self,
        region: Option<RegionId>,
        family: Family,
        counters: Option<&PoolCounters>,
    ) {
        let pool = region.map_or(self.pools.first(), |region| self.pool(region));
        if let Some(pool) = pool {
            prefetch::fetch(&self.rrs, pool.usable[family.index()].start as usize);
            counters.inspect(|counters| counters.fetch(pool.counter));
        }
    }

    /// What `pool`, one of this plan's, hands out on `rung`.
    #[inline]
    pub fn ring(&self, pool: &PoolPlan, family: Family, rung: Rung) -> Ring {
        let usable = pool.usable[family.index()];
        if rung <= Rung::Standby && usable.len > 0 {
            return usable;
        }
        self.all[self.index_of(pool)][family.index()]
    }

    /// What else is known of the service's pool in `region`, where there is anything.
    pub fn note(&self, region: RegionId) -> Option<&Note> {
        self.notes.get(
            self.pools
                .binary_search_by_key(&region, |pool| pool.region)
                .ok()?,
        )
    }

    /// Pools, lowest priority number first.
    pub fn by_priority(&self) -> impl Iterator<Item = &PoolPlan> {
        self.by_priority
            .iter()
            .map(|index| &self.pools[usize::from(*index)])
    }

    /// The rungs that have something for `family`, for clients without a border.
    #[inline]
    pub fn rungs(&self, family: Family) -> u8 {
        self.any[family.index()]
    }

    /// The best rung for clients without a border; `None` for a family the service has nowhere.
    pub fn rung(&self, family: Family) -> Option<Rung> {
        Rung::best(self.rungs(family))
    }

    /// The place of `pool`, one of this plan's, among its pools.
    pub(super) fn index_of(&self, pool: &PoolPlan) -> usize {
        self.pools
            .binary_search_by_key(&pool.region, |own| own.region)
            .unwrap_or_default()
    }

    /// The key of `pool`, for [`hash`]; 0 where no client draws for it.
    pub(super) fn key_of(&self, pool: &PoolPlan) -> u64 {
        self.keys
            .as_ref()
            .map_or(0, |keys| keys.pools[self.index_of(pool)])
    }

    /// A share of the answers goes to the next priority.
    pub fn is_trickling(&self) -> bool {
        self.trickle > Share::ZERO
    }

    /// True for a type that it has records of, whoever asks and whatever is up.
    pub fn offers(&self, rtype: RrType) -> bool {
        Family::of(rtype).is_some_and(|family| self.families.contains(family))
            || self.names
            || self.svcb(rtype).is_some()
    }

    /// Who answers, where it is a unit.
    pub fn unit_state(&self) -> Option<&UnitState> {
        self.unit.as_ref().map(|unit| &unit.unit_state)
    }

    /// The TXT RR that says who owns the unit; nothing where it is none.
    pub fn epoch(&self) -> &[u8] {
        self.unit.as_ref().map_or(&[], |unit| &unit.epoch)
    }

    /// The HTTPS or SVCB records of type `rtype` that follow the steering, by their place in the plan.
    #[inline(never)]
    pub fn svcb(&self, rtype: RrType) -> Option<usize> {
        self.svcb.iter().position(|svcb| svcb.rtype == rtype)
    }

    /// The RRs of the records of [`Plan::svcb`], for `pool` or, without, for the `fallback` addresses; and how many they are.
    #[inline(never)]
    pub(super) fn svcb_answer(
        &self,
        svcb: usize,
        pool: Option<&PoolPlan>,
        family: Family,
        rung: Rung,
    ) -> (&[u8], u16) {
        let usable = |pool: &PoolPlan| rung <= Rung::Standby && pool.usable[family.index()].len > 0;
        self.svcb[svcb].answer(pool.map(|pool| (self.index_of(pool), usable(pool))))
    }

    /// Picks a slot of `ring` as the client with this hash draws; of an empty one the first.
    #[inline(never)]
    pub(super) fn pick_hashed(&self, ring: Ring, client: u64) -> usize {
        let first = ring.first as usize;
        let Some(keys) = self.keys.as_ref().filter(|_| ring.len > 1) else {
            return 0;
        };
        let mut before = 0;
        let mut best = (0, (u64::MAX, 1));
        for slot in 0..usize::from(ring.len) {
            let cumulative = self.slots[first + slot].cumulative;
            let lot = (
                hash::draw(client, keys.slots[first + slot]),
                cumulative - before,
            );
            before = cumulative;
            if hash::less(lot, best.1) {
                best = (slot, lot);
            }
        }
        best.0
    }

    /// The `fallback` addresses.
    pub fn fallback(&self, family: Family) -> Ring {
        self.fallback[family.index()]
    }

    /// The RRs of the answer that starts at `slot` of `ring`: owners `C0 0C`, TTL [`Plan::ttl`].
    #[inline]
    pub fn answer(&self, ring: Ring, slot: usize) -> &[u8] {
        if slot == 0 {
            return &self.rrs[ring.start as usize..][..usize::from(ring.length)];
        }
        let first = ring.first as usize + slot;
        let end = self
            .slots
            .get(first + usize::from(ring.answers))
            .map_or(self.rrs.len(), |s| s.start as usize);
        &self.rrs[self.slots[first].start as usize..end]
    }

    /// Picks a slot of `ring` by weight, exactly in the long run; of an empty one the first.
    #[inline]
    pub fn pick(&self, ring: Ring, rng: &mut fastrand::Rng) -> usize {
        if ring.len <= 1 {
            return 0;
        }
        let slots = &self.slots[ring.first as usize..][..usize::from(ring.len)];
        let ticket = below(slots[slots.len() - 1].cumulative, rng);
        slots.partition_point(|slot| slot.cumulative <= ticket)
    }
}

/// A number below `bound` (at least 1) without a rejection loop: the bias of the multiplication is under bound / 2⁶⁴.
pub(super) fn below(bound: u64, rng: &mut fastrand::Rng) -> u64 {
    ((u128::from(rng.u64(..)) * u128::from(bound)) >> 64) as u64
}

/// A pool's plan, and the rings of all its endpoints.
fn pool_plan(
    service: &Service,
    pool: &Pool,
    state: &dyn Fn(&Pool, &Endpoint) -> State,
    conditions: Option<&PoolConditions>,
    layout: &mut Layout,
) -> (PoolPlan, [Ring; 2]) {
    let held = conditions.map_or([false; 2], |conditions| conditions.held);
    let drained = conditions.is_some_and(|conditions| conditions.drained.is_some());
    let kept_down = conditions.is_some_and(|conditions| conditions.overridden_down);
    let mut states = std::mem::take(&mut layout.states);
    states.clear();
    states.extend(pool.endpoints.iter().map(|endpoint| state(pool, endpoint)));
    let judged = judge_families(service, pool, &states);
    let weighted = pool.weight.get() > 0 && !drained;
    let rungs = Family::BOTH.map(|family| {
        let rungs =
            judged[family.index()].map_or(0, |own| rung_set(own, weighted, held[family.index()]));
        if kept_down {
            rungs & !Rung::AsIfUp.bit()
        } else {
            rungs
        }
    });
    let offered = pool.families();
    let mut ring = |family: Family, usable: bool| {
        if !offered.contains(family) {
            return Ring::default();
        }
        let endpoints = pool
            .endpoints
            .iter()
            .zip(&states)
            .filter(|(endpoint, state)| {
                endpoint.target.families().contains(family) && (state.up || !usable)
            })
            .map(|(endpoint, _)| (&endpoint.target, endpoint.weight.get()));
        // Endpoints of weight 0 are standby inside their pool.
        let active = endpoints.clone().any(|(_, weight)| weight > 0);
        layout.ring(
            &endpoints
                .filter(|(_, weight)| *weight > 0 || !active)
                .map(|(t, w)| (t, w.max(1))),
        )
    };
    let all = Family::BOTH.map(|family| ring(family, false));
    let every_up = states.iter().all(|s| s.up);
    let usable = if every_up {
        all
    } else {
        Family::BOTH.map(|family| ring(family, true))
    };
    let plan = PoolPlan {
        region: pool.region,
        weight: pool.weight.get(),
        priority: pool.priority,
        rungs,
        doubt: states.iter().any(|s| !s.settled)
            || conditions.is_some_and(|conditions| conditions.announced),
        up: states.iter().filter(|s| s.up).count() as u16,
        endpoints: states.len() as u16,
        counter: UNCOUNTED,
        usable,
    };
    layout.states = states;
    (plan, all)
}

#[derive(Clone, Copy)]
struct Judged {
    up: bool,
    survivors: bool,
    /// Something of it is up in this family, whatever becomes of the other.
    some_survive: bool,
}

/// The families that `pool` offers, each on its own or, with `family = "same"`, all alike; both, where the service hands out
/// names.
fn judge_families(service: &Service, pool: &Pool, states: &[State]) -> [Option<Judged>; 2] {
    let offered = pool.families();
    let own = Family::BOTH.map(|family| {
        offered
            .contains(family)
            .then(|| judge(pool, states, family))
    });
    if service.is_split() {
        return own;
    }
    let all = |of: fn(&Judged) -> bool| own.iter().flatten().all(of);
    let (up, survivors) = (all(|judged| judged.up), all(|judged| judged.survivors));
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
    let members = || {
        pool.endpoints
            .iter()
            .zip(states)
            .filter(|(e, _)| e.target.families().contains(family))
    };
    let weightless = members().all(|(e, _)| e.weight.get() == 0);
    for (endpoint, state) in members() {
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
        up: survivors && pool.min_up.is_reached(up, total),
        survivors,
        some_survive: survivors,
    }
}

fn rung_set(view: Judged, weighted: bool, held: bool) -> u8 {
    let own = match (view.up, view.survivors, view.some_survive) {
        (true, _, _) if weighted && !held => Rung::Up.bit(),
        (true, _, _) => Rung::Standby.bit(),
        (_, true, _) => Rung::Survivors.bit(),
        (_, _, true) => Rung::SomeSurvivors.bit(),
        _ => 0,
    };
    own | Rung::Every.bit() | if weighted { Rung::AsIfUp.bit() } else { 0 }
}

/// Lays RRs out.
struct Layout {
    ttl: Ttl,
    answers: u8,
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    /// By slot, where clients draw lots for endpoints.
    keys: Option<Vec<u64>>,
    /// The states of one pool's endpoints; kept so that its memory is.
    states: Vec<State>,
}

impl Layout {
    fn new(service: &Service, ttl: Ttl) -> Layout {
        // Room for all endpoints once, as when all are up: IPv4 addresses with one answer fill it exactly.
        let endpoints = service.pools.iter().map(|pool| pool.endpoints.len()).sum();
        let (bytes, slots) = (
            Vec::with_capacity(16 * endpoints),
            Vec::with_capacity(endpoints),
        );
        let keys = service.by_client.then(Vec::new);
        Layout {
            ttl,
            answers: service.answers,
            bytes,
            slots,
            keys,
            states: Vec::new(),
        }
    }

    fn ring<'a>(&mut self, endpoints: &(impl Iterator<Item = (&'a Target, u32)> + Clone)) -> Ring {
        let count = endpoints.clone().count();
        let answers = usize::from(self.answers).min(count);
        let (first, start) = (self.slots.len(), self.bytes.len());
        let mut cumulative = 0;
        for (target, weight) in endpoints
            .clone()
            .chain(endpoints.clone().take(answers.saturating_sub(1)))
        {
            cumulative += u64::from(weight);
            self.slots.push(Slot {
                start: self.bytes.len() as u32,
                cumulative,
            });
            if let Some(keys) = &mut self.keys {
                keys.push(hash::endpoint_key(target));
            }
            self.push_rr(target);
        }
        let end = self
            .slots
            .get(first + answers)
            .map_or(self.bytes.len(), |slot| slot.start as usize);
        Ring {
            first: first as u32,
            start: start as u32,
            length: (end - start) as u16,
            len: count as u16,
            answers: answers as u8,
        }
    }

    fn push_rr(&mut self, target: &Target) {
        let (rtype, rdata): (RrType, &[u8]) = match target {
            Target::Address(IpAddr::V4(v4)) => (RrType::A, &v4.octets()),
            Target::Address(IpAddr::V6(v6)) => (RrType::AAAA, &v6.octets()),
            Target::Name(name) => (RrType::CNAME, name.as_wire()),
        };
        push_rr(&mut self.bytes, rtype, self.ttl, rdata);
    }

    /// The addresses of a ring, one after the other.
    fn addresses(&self, ring: Ring) -> Vec<u8> {
        let slots = &self.slots[ring.first as usize..][..usize::from(ring.len)];
        slots
            .iter()
            .flat_map(|slot| {
                rrs(&self.bytes[slot.start as usize..])
                    .next()
                    .map(|(_, rdata)| rdata)
            })
            .flatten()
            .copied()
            .collect()
    }

    /// The TXT RR that says who owns a unit.
    fn epoch(&self, unit_state: &UnitState, regions: &[Region], ttl: Ttl) -> Box<[u8]> {
        let owner = match &unit_state.owner {
            OwnerState::Owner(region) => format!("owner={}", regions[region.index()].name),
            OwnerState::Fenced { .. } | OwnerState::Unknown | OwnerState::Gone(_) => {
                "fenced".to_owned()
            }
        };
        let text = format!("epoch={} {owner}", unit_state.epoch);
        let mut rr = Vec::new();
        push_rr(
            &mut rr,
            RrType::TXT,
            ttl,
            &[&[text.len() as u8], text.as_bytes()].concat(),
        );
        rr.into()
    }
}

/// Appends an RR of the question's name.
pub(super) fn push_rr(out: &mut Vec<u8>, rtype: RrType, ttl: Ttl, rdata: &[u8]) {
    out.extend_from_slice(&[0xc0, 12]);
    out.extend_from_slice(&rtype.0.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    out.extend_from_slice(&ttl.secs().to_be_bytes());
    out.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
    out.extend_from_slice(rdata);
}
