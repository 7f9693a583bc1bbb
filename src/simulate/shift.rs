//! The shift of clients that a change of the overrides brings about, from the state of a moment:
//! the numbers of the pre-flight.
//!
//! ```text
//! plans that are published, health ─► Present ┐
//! overrides before and after ─────────────────┴─► the plans of each service they touch ─► Shift
//! ```
//!
//! Services whose pools stand alike, under one map, give their clients alike: they are computed
//! once.

mod sentences;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::clients::Population;
use super::outcome::{Outcome, Totals, destination_name};
use super::split::{ClassSplit, Destination, Split, Subject, moved, types};
use crate::dataset::Dataset;
use crate::dns::RrType;
use crate::health::State;
use crate::model::{
    Endpoint, Family, MapId, Moment, Pool, Region, RegionId, Route, Service, ServiceId, Share,
    Takeover,
};
use crate::overrides::{Override, Overrides, PreflightInputs, objections};
use crate::steer::{Plan, PoolConditions, Rung, UnitState, successor};

/// The demand of all clients of a service together, in the unit of `capacity`, as `simulate` has
/// it without a sample.
pub const DEMAND: f64 = 100.0;
/// The most names that a shift tells of one by one.
pub const NAMES: usize = 50;

/// The state of the moment in which a change of the overrides is asked for.
pub struct Present<'p> {
    /// The files.
    pub dataset: &'p Dataset,
    /// By [`ServiceId`]: the plans that are published.
    pub plans: &'p [Arc<Plan>],
    /// The health of an endpoint as probes see it.
    pub state: &'p dyn Fn(&Endpoint) -> State,
    /// The load that an endpoint reports, 0 … 1; `None` where none is known.
    pub load: &'p dyn Fn(&Endpoint) -> Option<f64>,
    /// The clients.
    pub population: &'p Population,
    /// The present.
    pub now: Moment,
}

/// The shift of clients that a change of the overrides brings about.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Shift {
    /// The number of services of which clients move.
    pub moving: usize,
    /// The smallest and the largest share of a service's clients that moves, 0 … 1, among those of
    /// which any does.
    pub moved: (f64, f64),
    /// The names of which clients move, those first of which most do; [`NAMES`] at most.
    pub names: Vec<NameShift>,
    /// The regions in which clients of these names are afterwards, in the order of their names.
    pub regions: Vec<RegionShift>,
    /// The number of services of which more clients are below rung 2 of the ladder than before.
    pub degraded: usize,
    /// The objections of the pre-flight, as sentences.
    pub objections: Vec<String>,
    /// The moment by which the last cache has let go of the answers before the change; `None` where
    /// it changes no answers.
    pub caches_until: Option<Moment>,
}

/// The shift of the clients of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct NameShift {
    /// Its owner name.
    pub name: String,
    /// A or AAAA: with `family = "split"` the two may go different ways.
    pub rtype: RrType,
    /// The share of its clients that moves, 0 … 1.
    pub moved: f64,
    /// The share of its clients that each region has before, in the order of the regions; regions
    /// without any are left out. What is no region stands in parentheses.
    pub before: Vec<(String, f64)>,
    /// The same afterwards.
    pub after: Vec<(String, f64)>,
    /// The worst rung that any of its clients is on afterwards; `None` where one gets no answer.
    pub rung: Option<Rung>,
}

/// The clients that a region gets.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionShift {
    /// Its name.
    pub region: String,
    /// The name of which it gets the largest share of the clients.
    pub name: String,
    /// The share of that name's clients that it has before, 0 … 1.
    pub before: f64,
    /// The same afterwards.
    pub after: f64,
    /// Its `capacity`, in shares of 100 of a service's clients.
    pub capacity: Option<f64>,
    /// The highest load that its endpoints of one pool report on average, 0 … 1, and the load that
    /// this becomes if it grows as that pool's clients do; `None` where none is known.
    pub load: Option<(f64, f64)>,
}

impl RegionShift {
    /// The load afterwards as a multiple of its capacity; `None` where it has none.
    pub fn of_capacity(&self) -> Option<f64> {
        let capacity = self.capacity?;
        Some(if capacity > 0.0 {
            self.after * DEMAND / capacity
        } else {
            f64::INFINITY
        })
    }

    /// True where it gets more clients than it had, and more than it can take: by its capacity, or
    /// by the load that its endpoints report.
    pub fn is_over(&self) -> bool {
        // Sums of shares are not exact to the last bit.
        let grows = self.after > self.before + 1e-9;
        let is_over_capacity = self.of_capacity().is_some_and(|of| of > 1.0 + 1e-9);
        grows && (is_over_capacity || self.load.is_some_and(|(_, after)| after > 1.0))
    }
}

impl Present<'_> {
    /// The shift that `after` in place of `before` brings about, as it is at the moment `at`: when
    /// what is asked for takes effect.
    pub fn shift(&self, before: &Overrides, after: &Overrides, at: Moment) -> Shift {
        let changed = before.one_sided(after);
        let config = &self.dataset.config;
        let mut known = Known::new();
        let mut sums = Sums::new(config.regions.len());
        for (index, service) in config.services.iter().enumerate() {
            if !touches(&changed, &config.regions, service) {
                continue;
            }
            let id = ServiceId::from_index(index);
            let plans = [before, after].map(|overrides| self.plan(id, overrides, at));
            // A word about a name that another, narrower word decides changes nothing.
            if plans[0] == plans[1] {
                continue;
            }
            sums.note_ttl(service);
            let mut outcomes = Vec::new();
            for rtype in types(service) {
                outcomes.push((rtype, self.outcomes(service, &plans, rtype, &mut known)));
            }
            sums.add(id, service, outcomes, self.load);
        }
        let mut shift = sums.finish(self.dataset);
        shift.objections = self.objections(before, after);
        shift.caches_until = sums.caches_until(self.now, at);
        shift
    }

    /// The plan that a service has under `overrides` at a moment, its pools' recovery as it is now.
    fn plan(&self, id: ServiceId, overrides: &Overrides, at: Moment) -> Plan {
        let regions = &self.dataset.config.regions;
        let service = &self.dataset.config.services[id.index()];
        let published = &self.plans[id.index()];
        let mut conditions = recovery_of(published);
        let applied = overrides.apply(regions, service, &mut conditions, at);
        let state =
            |pool: &Pool, endpoint: &Endpoint| self.state(service, pool, endpoint, overrides, at);
        let unit_state = self.unit_state(service, published, overrides, at);
        Plan::compile_unit(&applied, regions, &state, &conditions, unit_state)
    }

    fn state(
        &self,
        service: &Service,
        pool: &Pool,
        endpoint: &Endpoint,
        overrides: &Overrides,
        at: Moment,
    ) -> State {
        let regions = &self.dataset.config.regions;
        let overridden = overrides.state(regions, service, pool, endpoint, at);
        overridden.unwrap_or_else(|| (self.state)(endpoint))
    }

    /// The state of a unit: as it is published, or taken over where its owner goes out of use and
    /// nobody has to be asked.
    fn unit_state(
        &self,
        service: &Service,
        published: &Plan,
        overrides: &Overrides,
        at: Moment,
    ) -> Option<UnitState> {
        let unit_state = published.unit_state()?;
        let takeover = service.unit.as_ref()?.rules.takeover;
        let is_up = |pool: &Pool| self.is_in_use(service, pool, overrides, at);
        let owner = unit_state.owner();
        let owned = service.pools.iter().find(|pool| Some(pool.region) == owner);
        if takeover == Takeover::Auto
            && let Some(owned) = owned
            && !is_up(owned)
            && let Some(next) = successor(service, &is_up, owned.region)
        {
            return Some(UnitState {
                epoch: unit_state.epoch + 1,
                ..UnitState::of(next)
            });
        }
        Some(unit_state.clone())
    }

    /// True where a pool may own a unit: up in each of its families, and not drained.
    fn is_in_use(&self, service: &Service, pool: &Pool, overrides: &Overrides, at: Moment) -> bool {
        let regions = &self.dataset.config.regions;
        let up = Plan::is_up(service, pool, &|endpoint: &Endpoint| {
            self.state(service, pool, endpoint, overrides, at)
        });
        up.into_iter().flatten().all(|up| up) && !overrides.is_drained(regions, service, pool, at)
    }

    /// The destinations of a service's clients with each of two plans, before and after.
    fn outcomes(
        &self,
        service: &Service,
        plans: &[Plan; 2],
        rtype: RrType,
        known: &mut Known,
    ) -> Rc<[Outcome; 2]> {
        let key = plans.each_ref().map(|plan| Shape::of(plan, service, rtype));
        if let Some(outcomes) = known.get(&key) {
            return outcomes.clone();
        }
        let regions = &self.dataset.config.regions;
        let [before, after] = plans;
        let map = self.dataset.map_of(before);
        let mut totals = [Totals::new(regions.len()), Totals::new(regions.len())];
        let mut splits = [ClassSplit::default(), ClassSplit::default()];
        for class in self.population.classes(service) {
            splits[0].fill(before, map, rtype, class);
            splits[1].fill(after, map, rtype, class);
            let moved = moved(&splits[0].split, &splits[1].split);
            totals[0].add(&splits[0], class.weight, 0.0);
            totals[1].add(&splits[1], class.weight, moved);
        }
        let outcomes = totals.map(|totals| totals.outcome(regions, DEMAND, None));
        let outcomes = Rc::new(outcomes);
        known.insert(key, outcomes.clone());
        outcomes
    }

    /// The objections of the judge itself.
    fn objections(&self, before: &Overrides, after: &Overrides) -> Vec<String> {
        objections(
            before,
            after,
            &PreflightInputs {
                config: &self.dataset.config,
                state: self.state,
                stranded: &|before: &Overrides, after: &Overrides, at| {
                    self.stranded(before, after, at)
                },
                now: self.now,
            },
        )
    }

    /// The units whose owners go out of use, and that only an operator moves.
    fn stranded(&self, before: &Overrides, after: &Overrides, at: Moment) -> Vec<String> {
        let mut stranded = Vec::new();
        for (service, plan) in self.dataset.config.services.iter().zip(self.plans) {
            let takeover = service.unit.as_ref().map(|unit| unit.rules.takeover);
            let owner = plan.unit_state().and_then(UnitState::owner);
            if takeover != Some(Takeover::Manual) {
                continue;
            }
            let pool = service.pools.iter().find(|pool| Some(pool.region) == owner);
            if let Some(pool) = pool
                && self.is_in_use(service, pool, before, at)
                && !self.is_in_use(service, pool, after, at)
            {
                stranded.push(service.name.to_string());
            }
        }
        stranded
    }
}

fn touches(changed: &[&Override], regions: &[Region], service: &Service) -> bool {
    let mut changed = changed.iter();
    changed.any(|own| own.scope.touches(regions, service))
}

/// The conditions that recovery and flapping put on the pools of a published plan, without those of
/// the overrides.
fn recovery_of(published: &Plan) -> Vec<PoolConditions> {
    let mut conditions = Vec::new();
    for pool in &published.pools {
        let Some(note) = published.note(pool.region) else {
            continue;
        };
        let own = &note.conditions;
        conditions.push(PoolConditions {
            held: own.held,
            share: own.share,
            flapping_until: own.flapping_until,
            ..PoolConditions::default()
        });
    }
    conditions
}

/// Outcomes before and after, by the shapes of the plans.
type Known = HashMap<[Shape; 2], Rc<[Outcome; 2]>>;

/// Everything in a plan that decides which region a client gets: plans of one shape split the
/// clients alike.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Shape {
    route: Route,
    map: Option<MapId>,
    rtype: RrType,
    families: [bool; 2],
    names: bool,
    by_client: bool,
    trickle: Share,
    owner: Option<RegionId>,
    /// The rungs that have anything, the fallback too.
    rungs: [u8; 2],
    pools: Vec<(RegionId, u32, u32, [u8; 2])>,
}

impl Shape {
    fn of(plan: &Plan, service: &Service, rtype: RrType) -> Shape {
        let mut pools = Vec::with_capacity(plan.pools.len());
        for pool in &plan.pools {
            pools.push((pool.region, pool.weight, pool.priority, pool.rungs));
        }
        Shape {
            route: plan.route,
            map: plan.map,
            rtype,
            families: Family::BOTH.map(|family| plan.families.contains(family)),
            names: plan.names,
            by_client: plan.by_client,
            trickle: service.trickle,
            owner: plan.unit_state().and_then(UnitState::owner),
            rungs: Family::BOTH.map(|family| plan.rungs(family)),
            pools,
        }
    }
}

/// Sums over the names that are touched.
struct Sums {
    moving: usize,
    /// Each name of which clients move, and how many do.
    names: Vec<(f64, Subject, Rc<[Outcome; 2]>)>,
    degraded: usize,
    /// By region.
    regions: Vec<Option<RegionSum>>,
    /// The longest TTLs, outside doubt and in it; `None` where no answer changes.
    ttls: Option<(Duration, Duration)>,
}

struct RegionSum {
    service: ServiceId,
    before: f64,
    after: f64,
    load: Option<(f64, f64)>,
}

impl Sums {
    fn new(regions: usize) -> Sums {
        Sums {
            moving: 0,
            names: Vec::new(),
            degraded: 0,
            regions: (0..regions).map(|_| None).collect(),
            ttls: None,
        }
    }

    fn note_ttl(&mut self, service: &Service) {
        let (ttl, ttl_min) = self.ttls.unwrap_or_default();
        let own = [service.ttl, service.ttl_min].map(|ttl| Duration::from_secs(ttl.secs().into()));
        self.ttls = Some((ttl.max(own[0]), ttl_min.max(own[1])));
    }

    fn add(
        &mut self,
        id: ServiceId,
        service: &Service,
        outcomes: Vec<(RrType, Rc<[Outcome; 2]>)>,
        load: &dyn Fn(&Endpoint) -> Option<f64>,
    ) {
        let (mut is_moving, mut is_worse) = (false, false);
        for (rtype, outcomes) in outcomes {
            let [before, after] = &*outcomes;
            is_worse |= after.degraded > before.degraded + 1e-9
                || (after.is_degraded() && !before.is_degraded());
            for pool in &service.pools {
                let region = pool.region;
                let [had, has] = [before, after].map(|outcome| share_of(&outcome.split, region));
                if has > 0.0 {
                    let load = average(pool, load).map(|load| (load, grown(load, had, has)));
                    self.add_region(region, id, (had, has), load);
                }
            }
            if after.moved > 1e-9 {
                is_moving = true;
                let subject = Subject { service: id, rtype };
                self.names.push((after.moved, subject, outcomes));
            }
        }
        self.moving += usize::from(is_moving);
        self.degraded += usize::from(is_worse);
    }

    fn add_region(
        &mut self,
        region: RegionId,
        service: ServiceId,
        (before, after): (f64, f64),
        load: Option<(f64, f64)>,
    ) {
        let sum = self.regions[region.index()].get_or_insert(RegionSum {
            service,
            before,
            after,
            load: None,
        });
        // Each name is judged by itself, as `simulate` does: capacities count the clients of one.
        if after > sum.after {
            (sum.service, sum.before, sum.after) = (service, before, after);
        }
        let is_higher = |(_, new): (f64, f64)| sum.load.is_none_or(|(_, known)| new > known);
        if load.is_some_and(is_higher) {
            sum.load = load;
        }
    }

    /// The shift, without what the judge says.
    fn finish(&mut self, dataset: &Dataset) -> Shift {
        let config = &dataset.config;
        let moving = &mut self.names;
        // The sort is stable: names of which equally many move stay in the order of the files.
        moving.sort_by(|a, b| b.0.total_cmp(&a.0));
        let largest = moving.first().map_or(0.0, |(moved, ..)| *moved);
        let smallest = moving.last().map_or(0.0, |(moved, ..)| *moved);
        let mut names = Vec::new();
        for (moved, subject, outcomes) in moving.iter().take(NAMES) {
            let [before, after] = &**outcomes;
            names.push(NameShift {
                name: config.services[subject.service.index()].name.to_string(),
                rtype: subject.rtype,
                moved: *moved,
                before: named(&before.split, dataset),
                after: named(&after.split, dataset),
                rung: after.worst,
            });
        }
        let mut regions = Vec::new();
        for (region, sum) in config.regions.iter().zip(&self.regions) {
            let Some(sum) = sum else { continue };
            regions.push(RegionShift {
                region: region.name.clone(),
                name: config.services[sum.service.index()].name.to_string(),
                before: sum.before,
                after: sum.after,
                capacity: region.capacity,
                load: sum.load,
            });
        }
        Shift {
            moving: self.moving,
            moved: (smallest, largest),
            names,
            regions,
            degraded: self.degraded,
            ..Shift::default()
        }
    }

    /// The end of the longest TTL of an answer that was given before the change at `at`. While a
    /// change is announced its answers have `ttl_min`.
    fn caches_until(&self, now: Moment, at: Moment) -> Option<Moment> {
        let (ttl, ttl_min) = self.ttls?;
        let before = now + ttl;
        Some(if at > now {
            before.max(at + ttl_min)
        } else {
            before
        })
    }
}

/// The share of the clients that a region gets.
fn share_of(split: &Split, region: RegionId) -> f64 {
    let to = Destination::Region(region);
    let found = split.iter().find(|(destination, _)| *destination == to);
    found.map_or(0.0, |(_, share)| *share)
}

/// The average of the loads that a pool's endpoints report.
fn average(pool: &Pool, load: &dyn Fn(&Endpoint) -> Option<f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0u32);
    for reported in pool.endpoints.iter().filter_map(load) {
        sum += reported;
        count += 1;
    }
    (count > 0).then(|| sum / f64::from(count))
}

/// The load that `load` becomes when clients grow from one share to another. From nothing it says
/// nothing, and stays.
fn grown(load: f64, before: f64, after: f64) -> f64 {
    if before > 0.0 {
        load * after / before
    } else {
        load
    }
}

fn named(split: &Split, dataset: &Dataset) -> Vec<(String, f64)> {
    let mut named = Vec::new();
    for (to, share) in split {
        named.push((
            destination_name(&dataset.config.regions, *to).to_owned(),
            *share,
        ));
    }
    named
}
