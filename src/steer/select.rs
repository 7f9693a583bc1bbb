//! Picks from a plan for one client.

use super::hash;
use super::plan::{Plan, PoolPlan, Ring, below};
use super::rung::Rung;
use crate::dns::{RrType, Ttl};
use crate::model::{Family, RegionId, RegionOrder, RegionSet, Route, Share};

/// One query, as far as steering is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The family asked for; either one for a name.
    pub family: Family,
    /// The client's region order; `nearest` needs one, and `sticky` stays inside its steps.
    pub order: Option<&'a RegionOrder>,
    /// The client's border, where it has one.
    pub border: Option<&'a RegionSet>,
    /// The client's hash, where that decides: see [`super::client_hash`].
    pub hash: u64,
    /// The place in the plan of the HTTPS or SVCB records that are asked for: see [`Plan::svcb`].
    pub svcb: Option<usize>,
}

/// The answer for one client.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'p> {
    /// The region; `None` on [`Rung::Fallback`].
    pub region: Option<RegionId>,
    /// The rung of the ladder that it stands on.
    pub rung: Rung,
    /// TTL to answer with.
    pub ttl: Ttl,
    /// The number of the counter of such answers.
    pub counter: u32,
    /// The number of RRs; 0 where the chosen region has none of the type asked.
    pub count: u16,
    /// The RRs: owners `C0 0C`, each with [`Plan::ttl`].
    pub rrs: &'p [u8],
}

impl Selection<'_> {
    /// True where the RRs are a CNAME, which is one for every type.
    pub fn is_name(&self) -> bool {
        self.rrs.get(2..4) == Some(&RrType::CNAME.0.to_be_bytes())
    }
}

/// A listener to why each region was taken or passed over. `()` hears nothing and costs nothing.
pub trait Trace {
    /// False where nobody listens, so that nothing is done for it.
    const HEARS: bool = true;

    /// `region` was considered; called in the order of consideration. `chance` is how probable it
    /// was, before any draw, that it would be taken: 0 … 1; where clients are hashed, the share of
    /// all clients that it gets.
    fn considered(&mut self, region: RegionId, verdict: Verdict, chance: f64);
}

impl Trace for () {
    const HEARS: bool = false;

    #[inline(always)]
    fn considered(&mut self, _: RegionId, _: Verdict, _: f64) {}
}

/// The fate of a region in a selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The answer comes from it.
    Taken,
    /// The service has no pool there.
    NoPool,
    /// Its pool does not stand on the rung that decides.
    PassedOver,
    /// It could have been taken; the draw went to another.
    NotDrawn,
}

/// Picks the region and its RRs; `None` only for a family the service does not have inside the
/// border, and of a unit that nobody owns. Where the service hands out names, the region may have
/// no RRs of that family.
#[inline]
pub fn select<'p>(
    plan: &'p Plan,
    asked: &Asked<'_>,
    rng: &mut fastrand::Rng,
    trace: &mut impl Trace,
) -> Option<Selection<'p>> {
    // The rung comes before any region: a near region on a worse rung does not beat a far one on a
    // better rung.
    let rung = Rung::best(match asked.border {
        None => plan.rungs(asked.family),
        Some(border) => rungs_inside(plan, asked.family, border),
    })?;
    if rung == Rung::Fallback {
        for pool in &plan.pools {
            trace.considered(pool.region, Verdict::PassedOver, 0.0);
        }
        return Some(fallback(plan, asked, rng));
    }
    let mut draw = Draw {
        plan,
        asked,
        rung,
        rng,
        trace,
        doubt: false,
    };
    let pool = match (plan.route, asked.order) {
        (Route::Nearest | Route::Sticky, Some(order)) => draw.by_order(order),
        (Route::Priority, _) => draw.by_priority(),
        (Route::Unit, _) => draw.owner(),
        (Route::Nearest | Route::Sticky | Route::Weighted, _) => {
            draw.among(&|| plan.pools.iter(), 1.0, true)
        }
    }?;
    let doubt = draw.doubt || pool.doubt;
    let (rrs, count) = match asked.svcb {
        None => {
            let ring = plan.ring(pool, asked.family, rung);
            (
                plan.answer(ring, endpoint(plan, ring, asked, rng)),
                ring.answers.into(),
            )
        }
        Some(svcb) => plan.svcb_answer(svcb, Some(pool), asked.family, rung),
    };
    Some(Selection {
        region: Some(pool.region),
        rung,
        ttl: if doubt || rung.is_degraded() {
            plan.ttl_min
        } else {
            plan.ttl
        },
        counter: plan.counter(pool, rung),
        count,
        rrs,
    })
}

/// Picks the slot of `ring` whose answer is given: by weight, or by the client's hash.
#[inline]
fn endpoint(plan: &Plan, ring: Ring, asked: &Asked<'_>, rng: &mut fastrand::Rng) -> usize {
    if plan.by_client {
        plan.pick_hashed(ring, asked.hash)
    } else {
        plan.pick(ring, rng)
    }
}

/// The rungs of the pools inside `border`; the fallback belongs to no region, so no border applies.
fn rungs_inside(plan: &Plan, family: Family, border: &RegionSet) -> u8 {
    let inside = plan
        .pools
        .iter()
        .filter(|pool| border.contains(pool.region));
    inside.fold(plan.rungs(family) & Rung::Fallback.bit(), |any, pool| {
        any | pool.rungs[family.index()]
    })
}

#[inline(never)]
fn fallback<'p>(plan: &'p Plan, asked: &Asked<'_>, rng: &mut fastrand::Rng) -> Selection<'p> {
    let (rrs, count) = match asked.svcb {
        None => {
            let ring = plan.fallback(asked.family);
            (
                plan.answer(ring, endpoint(plan, ring, asked, rng)),
                ring.answers.into(),
            )
        }
        Some(svcb) => plan.svcb_answer(svcb, None, asked.family, Rung::Fallback),
    };
    Selection {
        region: None,
        rung: Rung::Fallback,
        ttl: plan.ttl_min,
        counter: plan.fallback_counter,
        count,
        rrs,
    }
}

struct Draw<'p, 'a, T> {
    plan: &'p Plan,
    asked: &'a Asked<'a>,
    rung: Rung,
    rng: &'a mut fastrand::Rng,
    trace: &'a mut T,
    /// A pool passed over has an endpoint in doubt.
    doubt: bool,
}

impl<'p, T: Trace> Draw<'p, '_, T> {
    /// Step by step through the client's order.
    #[inline]
    fn by_order(&mut self, order: &RegionOrder) -> Option<&'p PoolPlan> {
        let plan = self.plan;
        order.steps.iter().find_map(|step| {
            // Most steps are one region, where there is nothing to draw.
            if let [region] = step[..] {
                return self.alone(region);
            }
            for region in step.iter().filter(|region| plan.pool(**region).is_none()) {
                self.trace.considered(*region, Verdict::NoPool, 0.0);
            }
            self.among(
                &|| step.iter().filter_map(|region| plan.pool(*region)),
                1.0,
                true,
            )
        })
    }

    /// Considers the pool in `region` alone, as [`Draw::among`] does with several.
    #[inline]
    fn alone(&mut self, region: RegionId) -> Option<&'p PoolPlan> {
        let Some(pool) = self.plan.pool(region) else {
            self.trace.considered(region, Verdict::NoPool, 0.0);
            return None;
        };
        if !self.is_inside(pool) {
            // A region outside the border is not passed over: for this client it does not exist.
            return None;
        }
        let stands = self.stands(pool);
        // A nearer pool that is passed over in doubt may change at any moment, and caches have to
        // notice soon.
        self.doubt |= pool.doubt && !stands;
        let (verdict, chance) = if stands {
            (Verdict::Taken, 1.0)
        } else {
            (Verdict::PassedOver, 0.0)
        };
        self.trace.considered(region, verdict, chance);
        stands.then_some(pool)
    }

    /// The owner of a unit, whatever becomes of it.
    #[inline(never)]
    fn owner(&mut self) -> Option<&'p PoolPlan> {
        let owner = self.plan.unit_state()?.owner()?;
        let pool = self.alone(owner);
        for pool in self
            .plan
            .pools
            .iter()
            // A constant for each kind of trace: for queries the loop is compiled away.
            .filter(|pool| T::HEARS && pool.region != owner)
        {
            self.trace.considered(pool.region, Verdict::PassedOver, 0.0);
        }
        pool
    }

    fn is_inside(&self, pool: &PoolPlan) -> bool {
        self.asked
            .border
            .is_none_or(|border| border.contains(pool.region))
    }

    fn stands(&self, pool: &PoolPlan) -> bool {
        pool.rungs[self.asked.family.index()] & self.rung.bit() != 0
    }

    /// Lowest priority number first; a trickle of the answers goes to the next.
    #[inline(never)]
    fn by_priority(&mut self) -> Option<&'p PoolPlan> {
        let plan = self.plan;
        let of = |priority: u32| {
            move || {
                plan.by_priority()
                    .filter(move |pool| pool.priority == priority)
            }
        };
        let mut above = 0;
        loop {
            let priority = plan
                .by_priority()
                .map(|pool| pool.priority)
                .find(|priority| *priority > above)?;
            above = priority;
            // The trickle keeps the next priority warm. On a degraded rung clients are not sent
            // further away for that.
            if plan.is_trickling()
                && self.rung == Rung::Up
                && let Some(next) = self.next_standing(priority)
            {
                // Both priorities are walked, also the one that is not taken, so that `why` shows
                // the chances of both. The doubt of the latter does not count.
                let trickles = self.trickles();
                let share = plan.trickle.as_f64();
                let (first, next) = (
                    self.among(&of(priority), 1.0 - share, !trickles),
                    self.among(&of(next), share, trickles),
                );
                return first.or(next);
            }
            let pool = self.among(&of(priority), 1.0, true);
            if pool.is_some() {
                return pool;
            }
        }
    }

    /// True where the answer goes to the next priority.
    fn trickles(&mut self) -> bool {
        let (next, whole) = (
            u64::from(self.plan.trickle.parts()),
            u64::from(Share::WHOLE),
        );
        // With hashed clients the side of the trickle is the client's own as well: a draw would
        // move it to and fro.
        if !self.plan.by_client {
            return below(whole, self.rng) < next;
        }
        // No region has such a name.
        let score = |name, weight| (hash::draw(self.asked.hash, hash::key(name)), weight);
        hash::less(
            score("next priority", next),
            score("this priority", whole - next),
        )
    }

    /// The priority after `priority` that has a pool to take, where `priority` has one too.
    fn next_standing(&self, priority: u32) -> Option<u32> {
        let mut standing = self
            .plan
            .by_priority()
            .filter(|pool| pool.priority >= priority && self.is_inside(pool) && self.stands(pool));
        let first = standing.next().filter(|pool| pool.priority == priority)?;
        standing
            .find(|pool| pool.priority > first.priority)
            .map(|pool| pool.priority)
    }

    /// Chooses by weight, or by the client's hash, among those of `pools` that stand on the rung
    /// and inside the border. `chance` is how probable it was that the choice would be among these;
    /// `takes` is true where it is.
    #[inline(never)]
    fn among<I: Iterator<Item = &'p PoolPlan>>(
        &mut self,
        pools: &dyn Fn() -> I,
        chance: f64,
        takes: bool,
    ) -> Option<&'p PoolPlan> {
        let (mut total, mut count) = (0u64, 0u64);
        for pool in pools() {
            if !self.is_inside(pool) {
                continue;
            }
            if self.stands(pool) {
                total += u64::from(pool.weight);
                count += 1;
            } else {
                // A walk that only tells `why` what the chance was passes nothing over.
                self.doubt |= pool.doubt && takes;
                self.trace.considered(pool.region, Verdict::PassedOver, 0.0);
            }
        }
        // Pools of weight 0 share evenly where there is nothing better.
        let weight = |pool: &PoolPlan| {
            if total == 0 {
                1
            } else {
                u64::from(pool.weight)
            }
        };
        let bound = if total == 0 { count } else { total };
        let draws = takes && count > 1 && !self.plan.by_client;
        let mut ticket = if draws { below(bound, self.rng) } else { 0 };
        let standing = || pools().filter(|pool| self.is_inside(pool) && self.stands(pool));
        let taken = match count {
            0 => return None,
            _ if !takes => None,
            1 => standing().next(),
            _ if self.plan.by_client => self.least(standing().map(|pool| (pool, weight(pool)))),
            _ => standing().find(|pool| {
                let found = ticket < weight(pool);
                // It wraps at the pool that is found, after which nobody reads it.
                ticket = ticket.wrapping_sub(weight(pool));
                found
            }),
        };
        // The chances are known only once the sum of the weights is; without a listener the loop
        // ends at once.
        for pool in pools().take_while(|_| T::HEARS) {
            if self.is_inside(pool) && self.stands(pool) {
                let verdict = if taken.is_some_and(|taken| taken.region == pool.region) {
                    Verdict::Taken
                } else {
                    Verdict::NotDrawn
                };
                self.trace.considered(
                    pool.region,
                    verdict,
                    chance * weight(pool) as f64 / bound as f64,
                );
            }
        }
        taken
    }

    /// The pool with the least rendezvous score for the client.
    #[inline(never)]
    fn least(&self, pools: impl Iterator<Item = (&'p PoolPlan, u64)>) -> Option<&'p PoolPlan> {
        // Weight 0 gets no client while others stand, and a score cannot be divided by it.
        let drawn = pools.filter(|(_, weight)| *weight > 0);
        let scores = drawn.map(|(pool, weight)| {
            (
                pool,
                (hash::draw(self.asked.hash, self.plan.key_of(pool)), weight),
            )
        });
        scores
            .reduce(|best, own| if hash::less(own.1, best.1) { own } else { best })
            .map(|(pool, _)| pool)
    }
}

#[cfg(test)]
mod tests;
