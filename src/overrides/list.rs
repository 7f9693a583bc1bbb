//! The overrides there are, laid over health and weights.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Action, Override, Selector};
use crate::health::State;
use crate::model::{Endpoint, Moment, Pool, Region, Service, Weight};
use crate::steer::{Drain, PoolConditions, RAMP_STEPS};

/// Every override there is, in the order in which they were made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides(pub Vec<Override>);

/// An axis of overrides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axis {
    Health,
    Weight,
}

impl Overrides {
    /// The next moment after `now` at which one takes effect or ends.
    pub fn next_change(&self, now: Moment) -> Option<Moment> {
        let steps = self.0.iter().filter_map(|own| own.next_step(now));
        self.boundaries().chain(steps).filter(|at| *at > now).min()
    }

    /// The moments at which any takes effect or ends.
    fn boundaries(&self) -> impl Iterator<Item = Moment> {
        let starts = self.0.iter().map(|own| own.starts);
        starts.chain(self.0.iter().filter_map(|own| own.until))
    }

    /// The override that counts on `axis` for a pool, or for one endpoint of it.
    fn counting(
        &self,
        regions: &[Region],
        service: &Service,
        pool: &Pool,
        endpoint: Option<&Endpoint>,
        now: Moment,
        axis: Axis,
    ) -> Option<&Override> {
        let of_weight = axis == Axis::Weight;
        let mut counting: Option<&Override> = None;
        for own in &self.0 {
            if !own.holds(now) || own.action.is_of_weight() != of_weight {
                continue;
            }
            let is_inside = own.scope.has_pool(regions, service, pool)
                || endpoint.is_some_and(|endpoint| own.scope.has_endpoint(service, endpoint));
            if is_inside && counting.is_none_or(|other| own.rank() > other.rank()) {
                counting = Some(own);
            }
        }
        counting
    }

    /// The health that an override gives an endpoint at `now`, and that override.
    pub fn health_of(
        &self,
        regions: &[Region],
        service: &Service,
        pool: &Pool,
        endpoint: &Endpoint,
        now: Moment,
    ) -> Option<(State, &Override)> {
        // Mostly there are none, and this is asked for every endpoint.
        if self.0.is_empty() {
            return None;
        }
        let own = self.counting(regions, service, pool, Some(endpoint), now, Axis::Health)?;
        let state = State {
            up: own.action == Action::Up,
            // An operator is never in doubt, so that answers keep the long TTL whatever probes see
            // meanwhile.
            settled: true,
        };
        Some((state, own))
    }

    /// The health that an override gives an endpoint at `now`.
    #[inline]
    pub fn state(
        &self,
        regions: &[Region],
        service: &Service,
        pool: &Pool,
        endpoint: &Endpoint,
        now: Moment,
    ) -> Option<State> {
        let (state, _) = self.health_of(regions, service, pool, endpoint, now)?;
        Some(state)
    }

    /// True when an override drains the whole pool at `now`.
    pub fn is_drained(
        &self,
        regions: &[Region],
        service: &Service,
        pool: &Pool,
        now: Moment,
    ) -> bool {
        let own = self.counting(regions, service, pool, None, now, Axis::Weight);
        own.is_some_and(|own| own.action == Action::Drain)
    }

    /// The service with the weights that overrides give it at `now`. Drains, and the overrides that
    /// bear on each pool, go into `conditions`.
    pub fn apply<'s>(
        &self,
        regions: &[Region],
        service: &'s Service,
        conditions: &mut Vec<PoolConditions>,
        now: Moment,
    ) -> Cow<'s, Service> {
        // Mostly nothing touches a service, and then nothing of it is copied.
        let mut changed = Cow::Borrowed(service);
        if !self.0.iter().any(|own| own.scope.touches(regions, service)) {
            return changed;
        }
        // Recovery gives none where no pool has any, and a plan has those of all pools or of none.
        conditions.resize(service.pools.len(), PoolConditions::default());
        for (index, (pool, conditions)) in service.pools.iter().zip(conditions).enumerate() {
            match self.counting(regions, service, pool, None, now, Axis::Weight) {
                Some(own) if own.action == Action::Drain => {
                    conditions.drained = Some(Arc::new(own.drain()));
                }
                Some(Override {
                    action: Action::Weight(weight),
                    ..
                }) => changed.to_mut().pools[index].weight = *weight,
                _ => {}
            }
            for (place, endpoint) in pool.endpoints.iter().enumerate() {
                if let Some(weight) = self.endpoint_weight(regions, service, pool, endpoint, now) {
                    changed.to_mut().pools[index].endpoints[place].weight = weight;
                }
            }
            conditions.share = conditions
                .share
                .min(self.share(regions, service, pool, now));
            self.describe(regions, service, pool, conditions, now);
        }
        changed
    }

    /// The share of its weight, 1 … [`RAMP_STEPS`], that the overrides which have ended leave a pool
    /// while it comes back.
    fn share(&self, regions: &[Region], service: &Service, pool: &Pool, now: Moment) -> u32 {
        let mut share = RAMP_STEPS;
        for own in &self.0 {
            if own.is_returning(now) && own.scope.has_pool(regions, service, pool) {
                // One step at least: a pool that has come back gets some clients at once.
                share = share.min(own.steps(now).max(1));
            }
        }
        share
    }

    /// The weight that an override of an endpoint alone gives it; a drained one is a standby in its
    /// pool. An override of the whole pool leaves the endpoints' weights as they are.
    fn endpoint_weight(
        &self,
        regions: &[Region],
        service: &Service,
        pool: &Pool,
        endpoint: &Endpoint,
        now: Moment,
    ) -> Option<Weight> {
        let own = self.counting(regions, service, pool, Some(endpoint), now, Axis::Weight)?;
        match own.action {
            _ if !own.scope.has_endpoint(service, endpoint) => None,
            Action::Drain => Some(Weight::ZERO),
            Action::Weight(weight) => Some(weight),
            Action::Up | Action::Down => None,
        }
    }

    /// Notes in `conditions` which overrides bear on `pool`, for `why`.
    fn describe(
        &self,
        regions: &[Region],
        service: &Service,
        pool: &Pool,
        conditions: &mut PoolConditions,
        now: Moment,
    ) {
        conditions.overridden_down = true;
        for endpoint in &pool.endpoints {
            let own = self.counting(regions, service, pool, Some(endpoint), now, Axis::Health);
            conditions.overridden_down &= own.is_some_and(|own| own.action == Action::Down);
        }
        let mut announced = Vec::new();
        conditions.overrides = Vec::new();
        for own in &self.0 {
            if !own.scope.touches_pool(regions, service, pool) {
                continue;
            }
            // A drain of the whole pool is told as `drained`.
            let is_told_as_drain =
                own.action == Action::Drain && own.scope.has_pool(regions, service, pool);
            if own.is_returning(now) {
                continue;
            }
            if !own.holds(now) {
                announced.push(own.applied(now));
            } else if !is_told_as_drain {
                conditions.overrides.push(own.applied(now));
            }
        }
        conditions.announced = !announced.is_empty();
        conditions.overrides.extend(announced);
    }

    /// The moments at which it matters that these become `after`: `now`, and later ones at which an
    /// override of either takes effect or ends, in order; of all these only such at which an
    /// override holds that only one of the two lists has.
    pub(super) fn moments(&self, after: &Overrides, now: Moment) -> BTreeSet<Moment> {
        let changed = self.one_sided(after);
        // Health is taken as it is now for all time to come, so that only overrides can make a
        // later moment differ.
        let mut moments = BTreeSet::from([now]);
        moments.extend(self.boundaries().chain(after.boundaries()));
        moments.retain(|at| *at >= now && changed.iter().any(|own| own.holds(*at)));
        moments
    }

    /// The overrides that only these have, or only `other`.
    pub fn one_sided<'o>(&'o self, other: &'o Overrides) -> Vec<&'o Override> {
        let (ours, theirs) = (self.ids(), other.ids());
        let mut one_sided = Vec::new();
        for own in self.0.iter().chain(&other.0) {
            if ours.contains(&own.id) != theirs.contains(&own.id) {
                one_sided.push(own);
            }
        }
        one_sided
    }

    fn ids(&self) -> BTreeSet<u64> {
        self.0.iter().map(|own| own.id).collect()
    }

    /// Adds an override; it replaces an earlier one on the same axis of the same scope.
    pub fn add(&mut self, own: &Override) {
        self.0.retain(|other| {
            // The earlier one must not come back when this one ends before it.
            other.scope != own.scope || other.action.is_of_weight() != own.action.is_of_weight()
        });
        self.0.push(own.clone());
    }

    /// The overrides that an operator means by `what`.
    pub fn selected(&self, what: &Selector) -> Vec<Override> {
        let selected = self.0.iter().filter(|own| what.selects(own));
        selected.cloned().collect()
    }

    /// Ends those that are in `released` at `now`: one in force with a ramp stays until that is
    /// over, and all others are removed.
    pub fn release(&mut self, released: &[Override], now: Moment) {
        self.0.retain_mut(|own| {
            if released.iter().all(|other| other.id != own.id) {
                return true;
            }
            // A ramp that is under way already is over.
            let returns = own.ramp.is_some() && own.holds(now);
            if returns {
                own.until = Some(now);
            }
            returns
        });
    }

    /// Removes and returns those of which nothing is left at `now`: time and ramp are over.
    pub(super) fn take_ended(&mut self, now: Moment) -> Vec<Override> {
        self.0.extract_if(.., |own| own.is_over(now)).collect()
    }
}

impl Override {
    /// The rank by which one override of an axis outdoes another: the narrower scope, then the later.
    /// The id tells apart what was made within one tick of the clock.
    fn rank(&self) -> (u8, Moment, u64) {
        (self.scope.narrowness(), self.made, self.id)
    }

    fn drain(&self) -> Drain {
        Drain {
            what: self.scope.to_string(),
            by: self.by.clone(),
            reason: self.reason.clone(),
            until: self.until,
        }
    }
}
