//! Picks from a plan for one client.

use super::plan::{Plan, PoolPlan, Rung, below};
use crate::dns::Ttl;
use crate::model::{Family, RegionId, RegionOrder, RegionSet, Route};

/// One query, as far as steering is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The family asked for; either one for an alias.
    pub family: Family,
    /// The client's region order; `nearest` needs one.
    pub order: Option<&'a RegionOrder>,
    /// The client's border, where it has one.
    pub border: Option<&'a RegionSet>,
}

/// What is handed out.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'p> {
    /// The region; `None` on [`Rung::Fallback`].
    pub region: Option<RegionId>,
    /// How good that is.
    pub rung: Rung,
    /// TTL to answer with.
    pub ttl: Ttl,
    /// The number of the counter of such answers.
    pub counter: u32,
    /// How many RRs there are.
    pub count: u8,
    /// The RRs: owners `C0 0C`, each with [`Plan::ttl`].
    pub rrs: &'p [u8],
}

/// Hears why each region was taken or passed over. `()` hears nothing and costs nothing.
pub trait Trace {
    /// `region` was considered; called in the order of consideration.
    fn considered(&mut self, region: RegionId, verdict: Verdict);
}

impl Trace for () {
    fn considered(&mut self, _: RegionId, _: Verdict) {}
}

/// Why a region was taken or passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The answer comes from it.
    Taken,
    /// The service has no pool there.
    NoPool,
    /// Its pool does not stand on the rung that decides.
    PassedOver,
    /// As good as the one taken; the draw by weight went to another.
    NotDrawn,
}

/// Picks the region and its RRs; `None` only for a family the service does not have inside the border.
pub fn select<'p>(plan: &'p Plan, asked: &Asked<'_>, rng: &mut fastrand::Rng, trace: &mut impl Trace) -> Option<Selection<'p>> {
    let rung = Rung::best(match asked.border {
        None => plan.rungs(asked.family),
        Some(border) => rungs_inside(plan, asked.family, border),
    })?;
    if rung == Rung::Fallback {
        for pool in &plan.pools {
            trace.considered(pool.region, Verdict::PassedOver);
        }
        return Some(fallback(plan, asked.family, rng));
    }
    let mut draw = Draw { plan, asked, rung, rng, trace, doubt: false };
    let pool = match (plan.route, asked.order) {
        (Route::Nearest, Some(order)) => draw.by_order(order),
        (Route::Priority, _) => draw.by_priority(),
        (Route::Nearest | Route::Weighted, _) => draw.among(&|| plan.pools.iter()),
    }?;
    let doubt = draw.doubt || pool.doubt;
    let ring = plan.ring(pool, asked.family, rung);
    let slot = plan.pick(ring, rng);
    Some(Selection {
        region: Some(pool.region),
        rung,
        ttl: if doubt || rung.is_degraded() { plan.ttl_min } else { plan.ttl },
        counter: pool.counter,
        count: ring.answers,
        rrs: plan.answer(ring, slot),
    })
}

/// The rungs of the pools inside `border`; the fallback belongs to no region, so no border applies.
fn rungs_inside(plan: &Plan, family: Family, border: &RegionSet) -> u8 {
    let inside = plan.pools.iter().filter(|pool| border.contains(pool.region));
    inside.fold(plan.rungs(family) & Rung::Fallback.bit(), |any, pool| any | pool.rungs[family.index()])
}

fn fallback<'p>(plan: &'p Plan, family: Family, rng: &mut fastrand::Rng) -> Selection<'p> {
    let ring = plan.fallback(family);
    let slot = plan.pick(ring, rng);
    Selection {
        region: None,
        rung: Rung::Fallback,
        ttl: plan.ttl_min,
        counter: plan.fallback_counter,
        count: ring.answers,
        rrs: plan.answer(ring, slot),
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
    fn by_order(&mut self, order: &RegionOrder) -> Option<&'p PoolPlan> {
        let plan = self.plan;
        order.steps.iter().find_map(|step| {
            // Most steps are one region, where there is nothing to draw.
            if let [region] = step[..] {
                return self.alone(region);
            }
            for region in step.iter().filter(|region| plan.pool(**region).is_none()) {
                self.trace.considered(*region, Verdict::NoPool);
            }
            self.among(&|| step.iter().filter_map(|region| plan.pool(*region)))
        })
    }

    /// What [`Draw::among`] picks of the pool in `region` alone.
    #[inline]
    fn alone(&mut self, region: RegionId) -> Option<&'p PoolPlan> {
        let Some(pool) = self.plan.pool(region) else {
            self.trace.considered(region, Verdict::NoPool);
            return None;
        };
        if !self.is_inside(pool) {
            return None;
        }
        let stands = self.stands(pool);
        self.doubt |= pool.doubt && !stands;
        self.trace.considered(region, if stands { Verdict::Taken } else { Verdict::PassedOver });
        stands.then_some(pool)
    }

    fn is_inside(&self, pool: &PoolPlan) -> bool {
        self.asked.border.is_none_or(|border| border.contains(pool.region))
    }

    fn stands(&self, pool: &PoolPlan) -> bool {
        pool.rungs[self.asked.family.index()] & self.rung.bit() != 0
    }

    /// Lowest priority number first.
    fn by_priority(&mut self) -> Option<&'p PoolPlan> {
        let plan = self.plan;
        let mut above = 0;
        loop {
            let priority = plan.by_priority().map(|pool| pool.priority).find(|priority| *priority > above)?;
            above = priority;
            let pool = self.among(&|| plan.by_priority().filter(move |pool| pool.priority == priority));
            if pool.is_some() {
                return pool;
            }
        }
    }

    /// By weight among those of `pools` that stand on the rung and inside the border.
    fn among<I: Iterator<Item = &'p PoolPlan>>(&mut self, pools: &dyn Fn() -> I) -> Option<&'p PoolPlan> {
        let (mut total, mut count) = (0u64, 0u64);
        for pool in pools() {
            if !self.is_inside(pool) {
                continue;
            }
            if self.stands(pool) {
                total += u64::from(pool.weight);
                count += 1;
            } else {
                self.doubt |= pool.doubt;
                self.trace.considered(pool.region, Verdict::PassedOver);
            }
        }
        // Pools of weight 0 share evenly where there is nothing better.
        let weight = |pool: &PoolPlan| if total == 0 { 1 } else { u64::from(pool.weight) };
        let bound = if total == 0 { count } else { total };
        let mut ticket = match count {
            0 => return None,
            1 => 0,
            _ => below(bound, self.rng),
        };
        let mut taken = None;
        for pool in pools() {
            if !(self.is_inside(pool) && self.stands(pool)) {
                continue;
            }
            if taken.is_none() && (ticket < weight(pool) || count == 1) {
                taken = Some(pool);
                self.trace.considered(pool.region, Verdict::Taken);
            } else {
                ticket = ticket.saturating_sub(if taken.is_none() { weight(pool) } else { 0 });
                self.trace.considered(pool.region, Verdict::NotDrawn);
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests;
