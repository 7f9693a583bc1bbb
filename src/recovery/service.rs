//! The pools of one service on their way back: at once, with a weight that grows (`ramp`), or when
//! an operator resumes them (`resume = "manual"`).
//!
//! ```text
//!            down                    up again, resume = "manual"
//!  in use ─────────► down ───────────────────────────────────────► held ──┐
//!     ▲  ▲             │ up again (with `ramp`)                            │ resumed
//!     │  └── at once ──┼──────────────► ramping ◄──────────── with `ramp` ─┤
//!     └────────────────┴─ `ramp` later ────┘      └──────── without ───────┘
//! ```
//! Whatever a pool was before it fell, it is again where isolation undoes the fall. In a service
//! with `family = "split"` each family is judged, held and resumed on its own, and the weight,
//! which is one number for both, grows when neither family was in use.

use std::time::Duration;

use crate::model::{Families, Family, Moment, Pool, Resume, Service};
use crate::steer::{PoolConditions, RAMP_STEPS};

/// The recovery of one service whose pools are not back in use at once.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ServiceRecovery {
    ramp: Option<Duration>,
    resume: Resume,
    /// By pool and family.
    pools: Vec<[PoolRecovery; 2]>,
    /// By pool.
    offers: Vec<Families>,
}

/// The recovery of one pool in one family; `T` is how it tells time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolRecovery<T = Moment> {
    /// True while the pool is not up; `phase` is the one it was in before.
    pub down: bool,
    /// Its distance from full use.
    pub phase: Phase<T>,
}

/// The phase of a pool's way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase<T = Moment> {
    /// All the way.
    #[default]
    InUse,
    /// Its weight has been growing since then, or for so long.
    Ramping(T),
    /// Up, and a standby until an operator resumes it.
    Held,
}

/// A change of a pool's ramp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ramp {
    /// The weight begins to grow, and is back at its full value after this long.
    Began(Duration),
    /// The weight is back at its full value.
    Ended,
}

impl ServiceRecovery {
    /// Every pool in use; `None` for a service that uses pools again at once.
    pub(super) fn new(service: &Service) -> Option<ServiceRecovery> {
        let (ramp, resume) = (service.ramp, service.resume);
        let pools = vec![<[PoolRecovery; 2]>::default(); service.pools.len()];
        let offers = service.pools.iter().map(Pool::families).collect();
        (ramp.is_some() || resume == Resume::Manual).then_some(ServiceRecovery {
            ramp,
            resume,
            pools,
            offers,
        })
    }

    /// The recovery of one of the service's pools, per family.
    pub(super) fn pool(&self, pool: usize) -> [PoolRecovery; 2] {
        self.pools[pool]
    }

    /// Puts a pool back to where it was before a restart or a reload; a phase that the service no
    /// longer asks for becomes `InUse`.
    pub(super) fn restore(&mut self, pool: usize, returns: [PoolRecovery; 2]) {
        self.pools[pool] = returns.map(|own| PoolRecovery {
            phase: self.known(own.phase),
            ..own
        });
    }

    /// The phase, or `InUse` in place of one that the service no longer asks for.
    fn known(&self, phase: Phase) -> Phase {
        match phase {
            Phase::Ramping(_) if self.ramp.is_none() => Phase::InUse,
            Phase::Held if self.resume == Resume::Auto => Phase::InUse,
            phase => phase,
        }
    }

    /// Takes in the health of a pool, for each family that it offers. `undone` is true when the
    /// pool is up because isolation undid its fall.
    pub(super) fn update(
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
                // A fall that isolation undid was none: the pool goes on in the phase that it had.
                _ if own.down && up && !undone => self.returned(now),
                Phase::Ramping(since)
                    if up && self.ramp.is_none_or(|ramp| now.since(since) >= ramp) =>
                {
                    Phase::InUse
                }
                phase => phase,
            };
            // A pool that is down keeps its phase, in case isolation undoes the fall.
            self.pools[pool][family.index()] = PoolRecovery { down: !up, phase };
        }
        self.ramp_changed(pool, before)
    }

    /// Resumes the held families of a pool; `None` where none is held.
    pub(super) fn resume(&mut self, pool: usize, now: Moment) -> Option<Option<Ramp>> {
        let before = self.is_ramping(pool);
        let after = self.ramp.map_or(Phase::InUse, |_| Phase::Ramping(now));
        let mut is_resumed = false;
        for own in &mut self.pools[pool] {
            if own.is_held() {
                own.phase = after;
                is_resumed = true;
            }
        }
        is_resumed.then(|| self.ramp_changed(pool, before))
    }

    /// The moment of the next step of any ramp.
    pub(super) fn next_step(&self, now: Moment) -> Option<Moment> {
        let ramp = self.ramp?;
        let mut next = None;
        for own in self.pools.iter().flatten() {
            // A pool that is down has no weight that could grow.
            if let Phase::Ramping(since) = own.phase
                && !own.down
            {
                let step = step_after(since, ramp, now);
                next = Some(next.map_or(step, |next: Moment| next.min(step)));
            }
        }
        next
    }

    /// The conditions that a pool's recovery puts on its plan.
    pub(super) fn conditions(&self, pool: usize, now: Moment) -> PoolConditions {
        // The weight is one number for both families: the one that has come back further decides.
        let mut share = None;
        for family in Family::BOTH {
            let own = &self.pools[pool][family.index()];
            if self.offers[pool].contains(family) && !own.down && !own.is_held() {
                share = share.max(Some(self.share(own, now)));
            }
        }
        PoolConditions {
            held: self.pools[pool].map(|own| own.is_held()),
            share: share.unwrap_or(RAMP_STEPS),
            ..PoolConditions::default()
        }
    }

    /// The share of its weight that a pool in use has at `now`, 1 … [`RAMP_STEPS`].
    fn share(&self, own: &PoolRecovery, now: Moment) -> u32 {
        match (own.phase, self.ramp) {
            (Phase::Ramping(since), Some(ramp)) => {
                // One step at least: a pool that has returned gets some clients at once.
                let steps = steps(now.since(since), ramp).clamp(1, RAMP_STEPS.into());
                // It is at most `RAMP_STEPS`, a `u32`.
                steps as u32
            }
            _ => RAMP_STEPS,
        }
    }

    /// The phase of a pool that is up again.
    fn returned(&self, now: Moment) -> Phase {
        match (self.resume, self.ramp) {
            // With both set, the ramp begins when the operator resumes it.
            (Resume::Manual, _) => Phase::Held,
            (Resume::Auto, Some(_)) => Phase::Ramping(now),
            (Resume::Auto, None) => Phase::InUse,
        }
    }

    fn is_ramping(&self, pool: usize) -> bool {
        let mut families = self.pools[pool].iter();
        families.any(|own| !own.down && matches!(own.phase, Phase::Ramping(_)))
    }

    fn ramp_changed(&self, pool: usize, before: bool) -> Option<Ramp> {
        match (before, self.is_ramping(pool)) {
            (false, true) => self.ramp.map(Ramp::Began),
            // A ramp that breaks off because the pool fell has not ended.
            (true, false) if self.pools[pool].iter().all(|own| !own.down) => Some(Ramp::Ended),
            _ => None,
        }
    }
}

impl<T: Copy> PoolRecovery<T> {
    /// True for a pool that is up and waits for an operator.
    pub fn is_held(&self) -> bool {
        !self.down && matches!(self.phase, Phase::Held)
    }

    /// The same recovery with its time converted by `time`.
    pub fn map<U>(self, time: impl Fn(T) -> U) -> PoolRecovery<U> {
        let phase = match self.phase {
            Phase::InUse => Phase::InUse,
            Phase::Ramping(since) => Phase::Ramping(time(since)),
            Phase::Held => Phase::Held,
        };
        PoolRecovery {
            down: self.down,
            phase,
        }
    }
}

/// The moment of the first step after `now` of a ramp that began at `since`.
fn step_after(since: Moment, ramp: Duration, now: Moment) -> Moment {
    let nanos = ramp.as_nanos() * (steps(now.since(since), ramp) + 1);
    // A ramp ends within its own length, which the configuration keeps far below 2⁶⁴ ns (584
    // years).
    since + Duration::from_nanos(nanos.div_ceil(u128::from(RAMP_STEPS)) as u64)
}

/// The number of the [`RAMP_STEPS`] of a ramp that are over.
fn steps(elapsed: Duration, ramp: Duration) -> u128 {
    elapsed.as_nanos() * u128::from(RAMP_STEPS) / ramp.as_nanos().max(1)
}

#[cfg(test)]
mod tests;
