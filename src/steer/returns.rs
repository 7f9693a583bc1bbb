//! How pools that were down come back: at once, with a weight that grows (`ramp`), or when an
//! operator says so (`resume = "manual"`).
//!
//! ```text
//!            down                    up again, resume = "manual"
//!  in use ─────────► down ───────────────────────────────────────► held ──┐
//!     ▲  ▲             │ up again (with `ramp`)                            │ resumed
//!     │  └── at once ──┼──────────────► ramping ◄──────────── with `ramp` ─┤
//!     └────────────────┴─ `ramp` later ────┘      └──────── without ───────┘
//! ```
//! Whatever a pool was before it fell, it is again where isolation undoes the fall. In a service with
//! `family = "split"` each family is judged, held and resumed on its own, and the weight, which is one
//! number for both, grows when neither family was in use.

use std::time::Duration;

use super::plan::{RAMP_STEPS, Standing};
use crate::model::{Families, Family, Moment, Pool, Resume, Service};

/// The pools of one service that does not take them back at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Returns {
    ramp: Option<Duration>,
    resume: Resume,
    /// By pool and family.
    pools: Vec<[Return; 2]>,
    /// By pool.
    offers: Vec<Families>,
}

/// One pool in one family; `T` is how time is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Return<T = Moment> {
    /// It is not up; `phase` is what it was in before.
    pub down: bool,
    /// Where it is on its way back.
    pub phase: Phase<T>,
}

/// How far a pool has come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase<T = Moment> {
    /// All the way.
    #[default]
    InUse,
    /// Its weight grows since then, or has grown for so long.
    Ramping(T),
    /// It is up, and a standby until an operator resumes it.
    Held,
}

/// A pool whose weight began to grow, or has grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ramp {
    /// It will be at its weight after this long.
    Began(Duration),
    /// It is at its weight.
    Ended,
}

impl Returns {
    /// Everything in use; `None` for a service that takes pools back at once.
    pub fn new(service: &Service) -> Option<Returns> {
        let (ramp, resume) = (service.ramp, service.resume);
        let pools = vec![<[Return; 2]>::default(); service.pools.len()];
        let offers = service.pools.iter().map(Pool::families).collect();
        (ramp.is_some() || resume == Resume::Manual).then_some(Returns {
            ramp,
            resume,
            pools,
            offers,
        })
    }

    /// Where one of the service's pools is, per family.
    pub fn pool(&self, pool: usize) -> [Return; 2] {
        self.pools[pool]
    }

    /// Puts a pool where it was before a restart or a reload; what the service no longer asks for is left out.
    pub fn restore(&mut self, pool: usize, returns: [Return; 2]) {
        let known = |phase| match phase {
            Phase::Ramping(_) if self.ramp.is_none() => Phase::InUse,
            Phase::Held if self.resume == Resume::Auto => Phase::InUse,
            phase => phase,
        };
        self.pools[pool] = returns.map(|own| Return {
            phase: known(own.phase),
            ..own
        });
    }

    /// Takes in whether a pool is up, for each family that it offers. `undone` says that it is up
    /// because a fall was undone.
    pub fn update(
        &mut self,
        pool: usize,
        up: [Option<bool>; 2],
        undone: bool,
        now: Moment,
    ) -> Option<Ramp> {
        let before = self.is_ramping(pool);
        for family in Family::BOTH {
            let Some(up) = up[family.index()] else {
                continue;
            };
            let own = &self.pools[pool][family.index()];
            let phase = match own.phase {
                _ if own.down && up && !undone => self.returned(now),
                Phase::Ramping(since)
                    if up && self.ramp.is_none_or(|ramp| now.since(since) >= ramp) =>
                {
                    Phase::InUse
                }
                phase => phase,
            };
            self.pools[pool][family.index()] = Return { down: !up, phase };
        }
        self.ramp_changed(pool, before)
    }

    /// An operator takes back what is held of a pool; `None` where nothing is.
    pub fn resume(&mut self, pool: usize, now: Moment) -> Option<Option<Ramp>> {
        let before = self.is_ramping(pool);
        let after = self.ramp.map_or(Phase::InUse, |_| Phase::Ramping(now));
        let held = self.pools[pool].iter_mut().filter(|own| own.is_held());
        let resumed = held.map(|own| own.phase = after).count();
        (resumed > 0).then(|| self.ramp_changed(pool, before))
    }

    /// When a weight grows next.
    pub fn next_step(&self, now: Moment) -> Option<Moment> {
        let ramp = self.ramp?;
        let ramping = self
            .pools
            .iter()
            .flatten()
            .filter_map(|own| match own.phase {
                Phase::Ramping(since) if !own.down => Some(since),
                _ => None,
            });
        let next = |since: Moment| {
            let nanos = ramp.as_nanos() * (steps(now.since(since), ramp) + 1);
            since + Duration::from_nanos(nanos.div_ceil(u128::from(RAMP_STEPS)) as u64)
        };
        ramping.map(next).min()
    }

    /// What a plan needs to know of a pool.
    pub fn standing(&self, pool: usize, now: Moment) -> Standing {
        let share = |own: &Return| match (own.phase, self.ramp) {
            (Phase::Ramping(since), Some(ramp)) => {
                steps(now.since(since), ramp).clamp(1, RAMP_STEPS.into()) as u32
            }
            _ => RAMP_STEPS,
        };
        let offered = Family::BOTH
            .into_iter()
            .filter(|family| self.offers[pool].contains(*family));
        let used = offered
            .map(|family| &self.pools[pool][family.index()])
            .filter(|own| !own.down && !own.is_held());
        Standing {
            held: self.pools[pool].map(|own| own.is_held()),
            share: used.map(share).max().unwrap_or(RAMP_STEPS),
            ..Standing::default()
        }
    }

    /// What a pool that is up again comes to.
    fn returned(&self, now: Moment) -> Phase {
        match (self.resume, self.ramp) {
            (Resume::Manual, _) => Phase::Held,
            (Resume::Auto, Some(_)) => Phase::Ramping(now),
            (Resume::Auto, None) => Phase::InUse,
        }
    }

    fn is_ramping(&self, pool: usize) -> bool {
        self.pools[pool]
            .iter()
            .any(|own| !own.down && matches!(own.phase, Phase::Ramping(_)))
    }

    fn ramp_changed(&self, pool: usize, before: bool) -> Option<Ramp> {
        match (before, self.is_ramping(pool)) {
            (false, true) => self.ramp.map(Ramp::Began),
            (true, false) if self.pools[pool].iter().all(|own| !own.down) => Some(Ramp::Ended),
            _ => None,
        }
    }
}

impl<T: Copy> Return<T> {
    /// Up, and waiting for an operator.
    pub fn is_held(&self) -> bool {
        !self.down && matches!(self.phase, Phase::Held)
    }

    /// The same with its time told otherwise.
    pub fn map<U>(self, time: impl Fn(T) -> U) -> Return<U> {
        let phase = match self.phase {
            Phase::InUse => Phase::InUse,
            Phase::Ramping(since) => Phase::Ramping(time(since)),
            Phase::Held => Phase::Held,
        };
        Return {
            down: self.down,
            phase,
        }
    }
}

/// How many of the [`RAMP_STEPS`] of a ramp are over.
fn steps(elapsed: Duration, ramp: Duration) -> u128 {
    elapsed.as_nanos() * u128::from(RAMP_STEPS) / ramp.as_nanos().max(1)
}

#[cfg(test)]
mod tests;
