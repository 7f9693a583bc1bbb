//! Plans: the answers of a service, compiled once per change and read by every query.

mod compile;
mod judge;
mod layout;

use super::conditions::PoolConditions;
use super::hash;
use super::rung::Rung;
use super::svcb::Svcb;
use super::unit::UnitState;
use crate::dns::{RrType, Ttl};
use crate::metrics::{PoolCounters, UNCOUNTED};
use crate::model::{Families, Family, MapId, RegionId, Route, Share};
use crate::prefetch;

/// The answers of one service.
///
/// With many services a query finds its plan in no cache, so the fields that nearly every query
/// reads come first and fit one cache line; a pool fits another, and the RRs of its answer a third.
#[derive(Debug, Clone, PartialEq)]
#[repr(C, align(64))]
pub struct Plan {
    /// One per pool, in the service's order.
    pub pools: Box<[PoolPlan]>,
    /// Pool index by region; `NO_POOL` where the service has none.
    by_region: Box<[u16]>,
    /// The RRs. Each ring is laid out so that the answer that starts at endpoint `i` is one slice:
    /// the ring's endpoints, and the first `answers − 1` of them once more.
    rrs: Box<[u8]>,
    /// The map of the clients' orders and borders.
    pub map: Option<MapId>,
    /// TTL while every pool that was consulted is settled.
    pub ttl: Ttl,
    /// The rungs that have a pool, per family.
    any: [u8; 2],
    /// The rule by which a region is chosen.
    pub route: Route,
    /// Families that have records at all.
    pub families: Families,
    /// True where an endpoint is a CNAME target: one client gets the same region for every type.
    pub names: bool,
    /// True where the client's hash decides, instead of a draw for each answer.
    pub by_client: bool,
    /// TTL in doubt and on degraded rungs.
    pub ttl_min: Ttl,
    /// Per laid-out RR: its position, and the weights of its ring's endpoints up to and with it.
    slots: Box<[Slot]>,
    /// Pool indexes, lowest priority number first.
    by_priority: Box<[u16]>,
    /// All endpoints of each pool, per family, up or not.
    all: Box<[[Ring; 2]]>,
    fallback: [Ring; 2],
    /// The counter of answers with the `fallback` addresses.
    pub fallback_counter: u32,
    /// By pool: the first of the counters of its answers on later rungs than the first; empty where
    /// none of them can be needed.
    later_counters: Box<[u32]>,
    /// By pool: the endpoints of each family; read by metrics alone.
    census: Box<[[Census; 2]]>,
    /// By pool, where any has conditions; read by `why` alone.
    notes: Box<[Note]>,
    /// The share of the answers that goes to the next priority.
    pub(super) trickle: Share,
    /// The keys that clients are hashed with, where they are.
    keys: Option<Box<Keys>>,
    /// The state of the unit, where the service is one.
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
    /// The TXT RR that names the owner.
    epoch: Box<[u8]>,
}

/// The ids of the counters of a service's answers, in [`PoolCounters`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CounterSet {
    /// By pool, for answers on [`Rung::Up`], and last of those with the `fallback` addresses.
    pub up: Box<[u32]>,
    /// By pool, where answers on later rungs are counted: the first of [`CounterSet::LATER`] ids that
    /// follow one another.
    pub later: Box<[u32]>,
}

impl CounterSet {
    /// The number of counters for the rungs after the first.
    pub const LATER: u32 = Rung::ALL.len() as u32 - 1;
}

/// The endpoints of one family in a pool; those by name count in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// The number of them.
    pub endpoints: u16,
    /// The number of those that are up.
    pub up: u16,
    /// The number of those in doubt.
    pub in_doubt: u16,
}

/// The conditions of a pool, as `why` tells them.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// Its weight as configured; draws go by [`PoolPlan::weight`].
    pub weight: u32,
    /// Its other conditions.
    pub conditions: PoolConditions,
}

/// The index of no pool: a service has fewer than 65 535 of them.
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
    /// True where an endpoint of it is in doubt, or a change of it is announced.
    pub doubt: bool,
    /// The number of its endpoints that are up, for `why`.
    pub up: u16,
    /// The number of its endpoints.
    pub endpoints: u16,
    /// The counter of its answers; see [`Plan::count_in`].
    pub counter: u32,
    /// Endpoints usable now, per family.
    usable: [Ring; 2],
}

/// Endpoints to pick from by weight: a stretch of a plan's RRs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ring {
    /// The index of its first slot.
    first: u32,
    /// The position of the answer that starts at its first endpoint. It is in the slots too, but
    /// those are a cache line further away.
    start: u32,
    /// The octets of that answer.
    length: u16,
    /// The number of endpoints that can be picked.
    pub len: u16,
    /// The number of RRs in an answer.
    pub answers: u8,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Slot {
    start: u32,
    cumulative: u64,
}

impl Plan {
    /// Has the answers of each pool, and those with the `fallback` addresses, counted in `counters`;
    /// a new plan counts in none.
    pub fn count_in(&mut self, counters: &CounterSet) {
        for (pool, counter) in self.pools.iter_mut().zip(&counters.up) {
            pool.counter = *counter;
        }
        let fallback = counters.up.get(self.pools.len());
        self.fallback_counter = fallback.copied().unwrap_or(UNCOUNTED);
        self.later_counters = counters.later.clone();
    }

    /// True where some client may get an answer from a pool on another rung than [`Rung::Up`]: no
    /// pool is up, or some are not and clients have borders.
    pub fn can_degrade(&self, has_borders: bool) -> bool {
        Family::BOTH.into_iter().any(|family| {
            let is_up = |rungs: u8| Rung::best(rungs).is_none_or(|rung| rung == Rung::Up);
            let mut pools = self.pools.iter().map(|pool| pool.rungs[family.index()]);
            !is_up(self.rungs(family)) || (has_borders && !pools.all(is_up))
        })
    }

    /// The counter of the answers of `pool`, one of this plan's, on `rung`.
    #[inline]
    pub fn counter(&self, pool: &PoolPlan, rung: Rung) -> u32 {
        if rung == Rung::Up {
            return pool.counter;
        }
        self.later_counter(pool, rung)
    }

    /// Out of the way of the answers that are given while all is well.
    #[inline(never)]
    fn later_counter(&self, pool: &PoolPlan, rung: Rung) -> u32 {
        let first = self.later_counters.get(self.index_of(pool));
        // Rungs count from the first, which is not among these.
        first.map_or(UNCOUNTED, |first| first + rung as u32 - 1)
    }

    /// The endpoints of one of its pools, by its place among them.
    pub fn census(&self, pool: usize, family: Family) -> Census {
        self.census[pool][family.index()]
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
                // Nothing is fetched past the end: without a pool there this asks for nothing.
                .map_or(usize::MAX, |pool| usize::from(*pool)),
        };
        prefetch::fetch(&self.pools, index);
    }

    /// Has the memory fetched of what that pool hands out, and of where that is counted; to be
    /// called once the pool is there.
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

    /// The endpoints that `pool`, one of this plan's, hands out on `rung`.
    #[inline]
    pub fn ring(&self, pool: &PoolPlan, family: Family, rung: Rung) -> Ring {
        let usable = pool.usable[family.index()];
        // Down to standbys a pool is chosen for the endpoints that are up. Further down nothing is
        // known to work, and the choice is among all of them.
        if rung <= Rung::Standby && usable.len > 0 {
            return usable;
        }
        // Looked up by index instead of kept in the pool, which has to fit one cache line.
        self.all[self.index_of(pool)][family.index()]
    }

    /// The conditions of the service's pool in `region`, where any pool has some.
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
            // Pools lie in the order of their regions. The pool is one of these by contract, and a
            // query path has no use for a panic.
            .unwrap_or_default()
    }

    /// The key of `pool`, for [`hash`]; 0 where clients are not hashed.
    pub(super) fn key_of(&self, pool: &PoolPlan) -> u64 {
        self.keys
            .as_ref()
            .map_or(0, |keys| keys.pools[self.index_of(pool)])
    }

    /// True where a share of the answers goes to the next priority.
    pub fn is_trickling(&self) -> bool {
        self.trickle > Share::ZERO
    }

    /// True for a type that it has records of, for any client and any health.
    pub fn offers(&self, rtype: RrType) -> bool {
        Family::of(rtype).is_some_and(|family| self.families.contains(family))
            || self.names
            || self.svcb(rtype).is_some()
    }

    /// The state of the unit, where the service is one.
    pub fn unit_state(&self) -> Option<&UnitState> {
        self.unit.as_ref().map(|unit| &unit.unit_state)
    }

    /// The TXT RR that names the owner of the unit; empty where the service is none.
    pub fn epoch(&self) -> &[u8] {
        self.unit.as_ref().map_or(&[], |unit| &unit.epoch)
    }

    /// The HTTPS or SVCB records of type `rtype` that follow the steering, by their place in the
    /// plan.
    #[inline(never)]
    pub fn svcb(&self, rtype: RrType) -> Option<usize> {
        self.svcb.iter().position(|svcb| svcb.rtype == rtype)
    }

    /// The RRs of the records of [`Plan::svcb`], for `pool` or, without, for the `fallback`
    /// addresses; and how many they are.
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

    /// Picks the slot of `ring` with the least rendezvous score for this client; of an empty one
    /// the first.
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
            // Slots have cumulative weights, for draws: the difference is the endpoint's own.
            let score = (
                hash::draw(client, keys.slots[first + slot]),
                cumulative - before,
            );
            before = cumulative;
            if hash::less(score, best.1) {
                best = (slot, score);
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
            // The first answer, the only one of a single endpoint, needs no look at the slots,
            // which are a cache line further away.
            return &self.rrs[ring.start as usize..][..usize::from(ring.length)];
        }
        let first = ring.first as usize + slot;
        // An answer ends where the one `answers` slots later begins; the repeated endpoints are in
        // the slots too, so that this holds for the last one.
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
        // Without the repeated endpoints at the end, which would count twice.
        let slots = &self.slots[ring.first as usize..][..usize::from(ring.len)];
        let ticket = below(slots[slots.len() - 1].cumulative, rng);
        slots.partition_point(|slot| slot.cumulative <= ticket)
    }
}

/// A number below `bound` (at least 1) without a rejection loop: the bias of the multiplication is
/// under bound / 2⁶⁴.
pub(super) fn below(bound: u64, rng: &mut fastrand::Rng) -> u64 {
    ((u128::from(rng.u64(..)) * u128::from(bound)) >> 64) as u64
}
