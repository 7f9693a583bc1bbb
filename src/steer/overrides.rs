//! An operator's word over health and weight: `drain`, `up`, `down` and `weight N`, over places and services, until a time.
//!
//! There are two axes: `up` and `down` replace health, `drain` and `weight` replace weight. On each the narrowest scope counts
//! (endpoint, pool, service, region, metro, label), and of equally narrow ones the latest. Scopes are names, so that an override
//! outlives a reload; one whose names are gone has no effect until they are back.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::plan::{Drain, Plan, Rung, Standing};
use crate::config::Config;
use crate::diag::suggestion;
use crate::health::State;
use crate::model::{
    Endpoint, Moment, Pool, Region, RegionId, Service, Target, WallTime, Weight, regions_named,
};

/// What an operator says of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Not to be used while there is anything else.
    Drain,
    /// It counts as up, whatever probes see.
    Up,
    /// It counts as down, whatever probes see.
    Down,
    /// It has this weight.
    Weight(Weight),
}

/// What an override is about; narrower scopes come first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// An address or target name, of one service or wherever it is.
    Endpoint {
        /// The owner name of a service; `None` is every one.
        service: Option<String>,
        /// The address, or the target with its final dot.
        target: String,
    },
    /// A service's endpoints in one region.
    Pool {
        /// The service's owner name.
        service: String,
        /// The region's name.
        region: String,
    },
    /// Everything of one service.
    Service(String),
    /// A region.
    Region(String),
    /// The regions of a metro.
    Metro(String),
    /// The regions with a label: key and value.
    Label(String, String),
}

/// An operator's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Its number: never another's.
    pub id: u64,
    /// What is said.
    pub word: Word,
    /// Of what.
    pub scope: Scope,
    /// Who said it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When it was said.
    pub made: Moment,
    /// When it takes effect: later than `made` where it is announced. Until then answers that it will change have `ttl_min`.
    pub starts: Moment,
    /// When it ends; `None` when it is taken back.
    pub until: Option<Moment>,
    /// The pre-flight would have refused it.
    pub forced: bool,
}

/// An operator's word as a plan has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It counts.
    InForce(Override),
    /// It is to count later.
    Announced(Override),
}

/// Every override there is, in the order in which they were made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides(pub Vec<Override>);

impl Word {
    /// True of the words that replace weight; the others replace health.
    pub fn is_of_weight(self) -> bool {
        matches!(self, Word::Drain | Word::Weight(_))
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Word::Drain => f.write_str("drain"),
            Word::Up => f.write_str("up"),
            Word::Down => f.write_str("down"),
            Word::Weight(weight) => write!(f, "weight {}", weight.get()),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Endpoint {
                service: None,
                target,
            } => write!(f, "endpoint {target}"),
            Scope::Endpoint {
                service: Some(service),
                target,
            } => write!(f, "endpoint {target} of {service}"),
            Scope::Pool { service, region } => write!(f, "pool {service}/{region}"),
            Scope::Service(service) => write!(f, "service {service}"),
            Scope::Region(region) => write!(f, "region {region}"),
            Scope::Metro(metro) => write!(f, "metro {metro}"),
            Scope::Label(key, value) => write!(f, "label {key}:{value}"),
        }
    }
}

impl Scope {
    /// What an operator means by `text`: a region, a metro, a label as `KEY:VALUE`, a service by its owner name, a pool as
    /// `SERVICE/REGION`, an endpoint by its address or target, or `SERVICE/ENDPOINT`. `metro:NAME` is a metro even where a region has
    /// its name. The error is a sentence: nothing there is called so.
    pub fn find(config: &Config, text: &str) -> Result<Scope, String> {
        let regions = config
            .regions
            .iter()
            .enumerate()
            .map(|(index, region)| (RegionId::from_index(index), region));
        let service = |name: &str| {
            config
                .services
                .iter()
                .find_map(|service| own_name(service, name))
        };
        let has = |service: Option<&str>, text: &str| {
            let inside = config
                .services
                .iter()
                .filter(|own| service.is_none_or(|name| own_name(own, name).is_some()));
            let endpoint = inside
                .flat_map(|own| &own.pools)
                .flat_map(|pool| &pool.endpoints)
                .find(|e| is_named(&e.target, text))?;
            Some(endpoint.target.to_string())
        };
        if !regions_named(regions.clone(), text).is_empty() {
            return Ok(match text.split_once(':') {
                _ if config.regions.iter().any(|region| region.name == text) => {
                    Scope::Region(text.to_owned())
                }
                Some(("metro", metro)) => Scope::Metro(metro.to_owned()),
                Some((key, value)) => Scope::Label(key.to_owned(), value.to_owned()),
                None => Scope::Metro(text.to_owned()),
            });
        }
        if let Some(name) = service(text) {
            return Ok(Scope::Service(name));
        }
        if let Some(target) = has(None, text) {
            return Ok(Scope::Endpoint {
                service: None,
                target,
            });
        }
        if let Some((name, part)) = text.split_once('/')
            && let Some(service) = service(name)
        {
            let in_service = |region: &str| {
                let pools = config
                    .services
                    .iter()
                    .filter(|own| own_name(own, name).is_some())
                    .flat_map(|own| &own.pools);
                pools
                    .into_iter()
                    .any(|pool| config.region_name(pool.region) == region)
            };
            if in_service(part) {
                return Ok(Scope::Pool {
                    service,
                    region: part.to_owned(),
                });
            }
            return match has(Some(name), part) {
                Some(target) => Ok(Scope::Endpoint {
                    service: Some(service),
                    target,
                }),
                None => Err(format!(
                    "the service {service} has no pool and no endpoint {part}"
                )),
            };
        }
        let names = config.regions.iter().map(|region| region.name.as_str());
        let hint = suggestion(text, names);
        Err(format!(
            "there is no region, metro, label, service or endpoint {text}{hint}"
        ))
    }

    /// True when something of `service` is in it.
    pub fn touches(&self, regions: &[Region], service: &Service) -> bool {
        let in_pool = |pool: &Pool| {
            self.has_pool(regions, service, pool)
                || pool
                    .endpoints
                    .iter()
                    .any(|endpoint| self.has_endpoint(service, endpoint))
        };
        service.pools.iter().any(in_pool)
    }

    /// True when the whole pool is in it.
    fn has_pool(&self, regions: &[Region], service: &Service, pool: &Pool) -> bool {
        let region = &regions[pool.region.index()];
        match self {
            Scope::Endpoint { .. } => false,
            Scope::Pool {
                service: name,
                region: of,
            } => *of == region.name && own_name(service, name).is_some(),
            Scope::Service(name) => own_name(service, name).is_some(),
            Scope::Region(name) => *name == region.name,
            Scope::Metro(name) => region.metro.as_ref() == Some(name),
            Scope::Label(key, value) => region.labels.get(key) == Some(value),
        }
    }

    /// True when it is that endpoint.
    fn has_endpoint(&self, service: &Service, endpoint: &Endpoint) -> bool {
        match self {
            Scope::Endpoint {
                service: name,
                target,
            } => {
                name.as_ref()
                    .is_none_or(|name| own_name(service, name).is_some())
                    && is_named(&endpoint.target, target)
            }
            _ => false,
        }
    }

    fn narrowness(&self) -> u8 {
        match self {
            Scope::Endpoint {
                service: Some(_), ..
            } => 6,
            Scope::Endpoint { service: None, .. } => 5,
            Scope::Pool { .. } => 4,
            Scope::Service(_) => 3,
            Scope::Region(_) => 2,
            Scope::Metro(_) => 1,
            Scope::Label(..) => 0,
        }
    }
}

/// The name of a service that goes by `name`: its owner name, or for a unit that of the service it is part of.
fn own_name(service: &Service, name: &str) -> Option<String> {
    let same = |own: &str| {
        own.trim_end_matches('.')
            .eq_ignore_ascii_case(name.trim_end_matches('.'))
    };
    let whole = service
        .unit
        .as_ref()
        .map(|unit| unit.rules.service.to_string());
    [Some(service.name.to_string()), whole]
        .into_iter()
        .flatten()
        .find(|own| same(own))
}

fn is_named(target: &Target, text: &str) -> bool {
    match target {
        Target::Address(address) => text.parse() == Ok(*address),
        Target::Name(name) => name.to_string().eq_ignore_ascii_case(text),
    }
}

impl Said {
    /// The sentence, with times as `wall` reads them.
    pub fn sentence(&self, wall: WallTime) -> String {
        match self {
            Said::InForce(own) => own.sentence(wall),
            Said::Announced(own) => {
                format!("from {} on {}", wall.show(own.starts), own.sentence(wall))
            }
        }
    }
}

impl Override {
    /// In effect at `now`.
    fn holds(&self, now: Moment) -> bool {
        self.starts <= now && self.until.is_none_or(|until| until > now)
    }

    /// What is said, of what, by whom, until when and why; with times as `wall` reads them.
    pub fn sentence(&self, wall: WallTime) -> String {
        let until = until(self.until, wall);
        format!(
            "{} of {} by {} {until}: {}",
            self.word, self.scope, self.by, self.reason
        )
    }
}

/// When something ends, in words.
pub(crate) fn until(until: Option<Moment>, wall: WallTime) -> String {
    until.map_or_else(
        || "until it is taken back".to_owned(),
        |until| format!("until {}", wall.show(until)),
    )
}

impl Overrides {
    /// When something of them changes next: one takes effect, or ends.
    pub fn next_change(&self, now: Moment) -> Option<Moment> {
        let changes = self
            .0
            .iter()
            .flat_map(|own| [Some(own.starts), own.until])
            .flatten();
        changes.filter(|at| *at > now).min()
    }

    /// The one that counts on one axis for a pool, or for one endpoint of it.
    fn counting(
        &self,
        regions: &[Region],
        service: &Service,
        pool: &Pool,
        endpoint: Option<&Endpoint>,
        now: Moment,
        of_weight: bool,
    ) -> Option<&Override> {
        let own = self
            .0
            .iter()
            .filter(|own| own.holds(now) && own.word.is_of_weight() == of_weight);
        let inside = own.filter(|own| {
            own.scope.has_pool(regions, service, pool)
                || endpoint.is_some_and(|endpoint| own.scope.has_endpoint(service, endpoint))
        });
        inside.max_by_key(|own| (own.scope.narrowness(), own.made, own.id))
    }

    /// What an operator says of an endpoint's health at `now`.
    #[inline]
    pub fn state(
        &self,
        regions: &[Region],
        service: &Service,
        pool: &Pool,
        endpoint: &Endpoint,
        now: Moment,
    ) -> Option<State> {
        // Mostly there are none, and this is asked for every endpoint.
        if self.0.is_empty() {
            return None;
        }
        let own = self.counting(regions, service, pool, Some(endpoint), now, false)?;
        Some(State {
            up: own.word == Word::Up,
            settled: true,
        })
    }

    /// True when an operator drains all of a pool at `now`.
    pub fn is_drained(
        &self,
        regions: &[Region],
        service: &Service,
        pool: &Pool,
        now: Moment,
    ) -> bool {
        self.counting(regions, service, pool, None, now, true)
            .is_some_and(|own| own.word == Word::Drain)
    }

    /// The service with the weights that operators gave it at `now`; into `standings` goes what is drained, and what is said of each pool.
    pub fn apply<'s>(
        &self,
        regions: &[Region],
        service: &'s Service,
        standings: &mut Vec<Standing>,
        now: Moment,
    ) -> Cow<'s, Service> {
        let mut changed = Cow::Borrowed(service);
        if !self.0.iter().any(|own| own.scope.touches(regions, service)) {
            return changed;
        }
        standings.resize(service.pools.len(), Standing::default());
        for (index, (pool, standing)) in service.pools.iter().zip(standings).enumerate() {
            match self.counting(regions, service, pool, None, now, true) {
                Some(own) if own.word == Word::Drain => {
                    let (what, by, reason) =
                        (own.scope.to_string(), own.by.clone(), own.reason.clone());
                    standing.drained = Some(Arc::new(Drain {
                        what,
                        by,
                        reason,
                        until: own.until,
                    }));
                }
                Some(Override {
                    word: Word::Weight(weight),
                    ..
                }) => changed.to_mut().pools[index].weight = *weight,
                _ => {}
            }
            for (place, endpoint) in pool.endpoints.iter().enumerate() {
                let of_pool = |own: &&Override| own.scope.has_endpoint(service, endpoint);
                match self
                    .counting(regions, service, pool, Some(endpoint), now, true)
                    .filter(of_pool)
                    .map(|own| own.word)
                {
                    Some(Word::Drain) => {
                        changed.to_mut().pools[index].endpoints[place].weight = Weight::ZERO
                    }
                    Some(Word::Weight(weight)) => {
                        changed.to_mut().pools[index].endpoints[place].weight = weight
                    }
                    _ => {}
                }
            }
            let health = |endpoint: &Endpoint| {
                self.counting(regions, service, pool, Some(endpoint), now, false)
            };
            standing.overridden_down = pool
                .endpoints
                .iter()
                .all(|e| health(e).is_some_and(|own| own.word == Word::Down));
            let touches = |own: &&Override| {
                own.scope.has_pool(regions, service, pool)
                    || pool
                        .endpoints
                        .iter()
                        .any(|e| own.scope.has_endpoint(service, e))
            };
            let (now_said, announced): (Vec<_>, Vec<_>) = self
                .0
                .iter()
                .filter(touches)
                .partition(|own| own.holds(now));
            standing.announced = !announced.is_empty();
            let is_told = |own: &&Override| {
                !(own.word == Word::Drain && own.scope.has_pool(regions, service, pool))
            };
            standing.said = now_said
                .into_iter()
                .filter(is_told)
                .cloned()
                .map(Said::InForce)
                .collect();
            standing
                .said
                .extend(announced.into_iter().cloned().map(Said::Announced));
        }
        changed
    }

    /// Why these are not to become `after`: services that it leaves, at some moment from `now` on, with fewer regions up than they
    /// are to have, when these leave them more then. `state` is what probes say.
    pub fn refusals(
        &self,
        after: &Overrides,
        config: &Config,
        state: &dyn Fn(&Endpoint) -> State,
        now: Moment,
    ) -> Vec<String> {
        let regions = &config.regions;
        let changed = self.one_sided(after);
        let touches = |own: &Override, service: &Service| own.scope.touches(regions, service);
        let services = config
            .services
            .iter()
            .filter(|service| service.unit.is_none());
        let affected = services.filter(|service| changed.iter().any(|own| touches(own, service)));
        let refusal = |service: &Service| {
            // Of other words the moments say nothing, and there may be many.
            let near = |list: &Overrides| {
                Overrides(
                    list.0
                        .iter()
                        .filter(|own| touches(own, service))
                        .cloned()
                        .collect(),
                )
            };
            let (before, after) = (near(self), near(after));
            let least = service.min_regions as usize;
            let left_at = |at: Moment| {
                let left = after.regions_up(regions, service, state, at);
                (left < least && left < before.regions_up(regions, service, state, at))
                    .then_some((at, left))
            };
            let (at, left) = before.moments(&after, now).into_iter().find_map(left_at)?;
            let plural = if left == 1 { "region" } else { "regions" };
            let wait = Duration::from_secs(at.since(now).as_secs());
            let when = if at > now {
                format!(" {} from now", humantime::format_duration(wait))
            } else {
                String::new()
            };
            Some(format!(
                "it would leave {} {left} {plural} up{when}, and min_regions is {least}",
                service.name
            ))
        };
        affected.filter_map(refusal).collect()
    }

    /// The moments at which it matters that these become `after`: `now`, and later ones at which a word of either takes effect or
    /// ends, in order; of all these only such at which a word holds that only one of the two has.
    pub fn moments(&self, after: &Overrides, now: Moment) -> BTreeSet<Moment> {
        let changed = self.one_sided(after);
        let all = self
            .0
            .iter()
            .chain(&after.0)
            .flat_map(|own| [Some(own.starts), own.until])
            .flatten();
        let later = all.filter(|at| *at > now);
        later
            .chain([now])
            .filter(|at| changed.iter().any(|own| own.holds(*at)))
            .collect()
    }

    /// The words that only these have, or only `other`.
    fn one_sided<'o>(&'o self, other: &'o Overrides) -> Vec<&'o Override> {
        let ids = |list: &Overrides| list.0.iter().map(|own| own.id).collect::<BTreeSet<u64>>();
        let (ours, theirs) = (ids(self), ids(other));
        self.0
            .iter()
            .chain(&other.0)
            .filter(|own| ours.contains(&own.id) != theirs.contains(&own.id))
            .collect()
    }

    /// How many regions of a service are up at a moment.
    fn regions_up(
        &self,
        regions: &[Region],
        service: &Service,
        state: &dyn Fn(&Endpoint) -> State,
        at: Moment,
    ) -> usize {
        let mut standings = Vec::new();
        let applied = self.apply(regions, service, &mut standings, at);
        let state = |pool: &Pool, endpoint: &Endpoint| {
            self.state(regions, service, pool, endpoint, at)
                .unwrap_or_else(|| state(endpoint))
        };
        let plan = Plan::compile(&applied, regions, &state, &standings);
        plan.pools
            .iter()
            .filter(|pool| pool.rungs.iter().any(|rungs| rungs & Rung::Up.bit() != 0))
            .count()
    }
}
