//! Who owns the units: commands, takeovers and fences, and what is written of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::change::Change;
use super::{Commit, Done, Effect};
use crate::commit::{Collection, End, Failure, Turn, WriteAhead};
use crate::config::Config;
use crate::health::{Health, State};
use crate::model::{Endpoint, Moment, Pool, RegionId, Service, ServiceId, Takeover, Unit};
use crate::steer::{
    Because, Holder, Holding, Overrides, Plan, Scene, Tenure, Terms, UnitRecord, succession,
};

/// What is kept of units, by their owner names in lower case.
pub type UnitRecords = BTreeMap<String, UnitRecord>;

/// The pause before a write that failed is tried again by itself.
pub const UNITS_RETRY: Duration = Duration::from_secs(5);

/// All units of the files, and what is kept of others.
#[derive(Debug)]
pub(super) struct Units {
    held: BTreeMap<ServiceId, Held>,
    /// What is kept of units that the files do not have: written again as it is.
    foreign: UnitRecords,
    /// Why nothing changes hands.
    frozen: Option<String>,
    /// Its writes are answered with the operators who wait for them.
    writer: WriteAhead<Vec<Pending>>,
    /// Something is to be written.
    asking: bool,
    /// The units whose records are known here and missing in the state directory.
    missing: BTreeSet<String>,
    /// The units to look at next.
    look: BTreeSet<ServiceId>,
    /// Units of which some thread may still answer the last owner.
    awaiting: BTreeSet<ServiceId>,
    /// When a fence ends; one that came to nothing is harmless.
    steps: BTreeSet<(Moment, ServiceId)>,
    /// Operators whose change is to be in the next write.
    requests: Vec<Pending>,
}

#[derive(Debug)]
struct Held {
    /// The unit's owner name, in lower case.
    name: String,
    tenure: Tenure,
    /// That its owner is down and stays it has been said.
    said_stranded: bool,
}

/// An operator who waits for a write.
#[derive(Debug)]
struct Pending {
    request: u64,
    /// What is answered when it has succeeded.
    said: String,
}

/// Why an operator's word, about units or an override, is not heeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotDone {
    /// There is nothing of that name.
    NotFound(String),
    /// Something speaks against it.
    Refused(String),
    /// It could not be written.
    NotKept(String),
    /// It is being written, and how that ends is not known.
    NotKnown(String),
}

/// The state of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitView {
    /// Its owner name.
    pub unit: String,
    /// The owner name of the service that it is a unit of.
    pub service: String,
    /// Who answers for it.
    pub holding: Holding,
    /// The region that owns it, or is to be its next owner; `None` while nothing is known.
    pub region: Option<String>,
    /// Whether that region's pool is up; `None` where there is none.
    pub is_up: Option<bool>,
}

/// What units are judged by.
#[derive(Clone, Copy)]
pub(super) struct Scenery<'s> {
    pub(super) config: &'s Config,
    pub(super) health: &'s Health,
    /// What operators say.
    pub(super) words: &'s Overrides,
    /// The first round is not over yet.
    pub(super) first_round: bool,
    /// This process stood still, and not every endpoint was seen since.
    pub(super) blind: bool,
    pub(super) now: Moment,
}

impl Scenery<'_> {
    fn service(&self, id: ServiceId) -> (&Service, &Unit) {
        let service = &self.config.services[id.index()];
        (service, service.unit.as_ref().expect("only units are held"))
    }

    fn region_name(&self, region: RegionId) -> &str {
        self.config.region_name(region)
    }

    /// The pool in the region of that name, and its place.
    fn pool<'c>(&'c self, service: &'c Service, region: &str) -> Option<(usize, &'c Pool)> {
        service
            .pools
            .iter()
            .enumerate()
            .find(|(_, pool)| self.region_name(pool.region) == region)
    }

    /// As probes see it, unless an operator says otherwise.
    fn state(&self, service: &Service, pool: &Pool, endpoint: &Endpoint) -> State {
        let said = self
            .words
            .state(&self.config.regions, service, pool, endpoint, self.now);
        said.unwrap_or_else(|| self.health.endpoint(endpoint))
    }

    /// Up, and not drained: a drain of an owner counts as its being down.
    fn is_up(&self, service: &Service, pool: &Pool) -> bool {
        all_up(Plan::is_up(service, pool, &|endpoint| {
            self.state(service, pool, endpoint)
        })) && !self.is_drained(service, pool)
    }

    fn is_drained(&self, service: &Service, pool: &Pool) -> bool {
        self.words
            .is_drained(&self.config.regions, service, pool, self.now)
    }

    /// Up, counting only endpoints whose `ready_checks` are up too.
    fn is_ready(&self, service: &Service, unit: &Unit, index: usize) -> bool {
        let (pool, ready) = (&service.pools[index], &unit.rules.ready[index]);
        let state = |endpoint: &Endpoint| {
            let state = self.state(service, pool, endpoint);
            let place = pool
                .endpoints
                .iter()
                .position(|own| std::ptr::eq(own, endpoint));
            let targets = place
                .and_then(|place| ready.get(place))
                .into_iter()
                .flatten();
            State {
                up: state.up
                    && targets
                        .into_iter()
                        .all(|target| self.health.state(*target).up),
                ..state
            }
        };
        all_up(Plan::is_up(service, pool, &state)) && !self.is_drained(service, pool)
    }

    /// The regions that are up and ready, best first: by `priority`, then by name.
    fn ready(&self, service: &Service, unit: &Unit) -> Vec<String> {
        let ready = succession(service).filter(|(index, _)| self.is_ready(service, unit, *index));
        ready
            .map(|(_, pool)| self.region_name(pool.region).to_owned())
            .collect()
    }

    /// What speaks against a move to the pool at `index`, as a sentence.
    fn objection(&self, service: &Service, unit: &Unit, index: usize) -> Option<String> {
        let region = self.region_name(service.pools[index].region);
        if self.first_round {
            Some("the first round of probes after the start is under way".to_owned())
        } else if self.health.is_isolated() {
            Some("this node is isolated: no endpoint anywhere passes".to_owned())
        } else if self.is_drained(service, &service.pools[index]) {
            Some(format!("{region} is drained"))
        } else if !self.is_up(service, &service.pools[index]) {
            Some(format!("{region} is down"))
        } else if !self.is_ready(service, unit, index) {
            let targets = unit.rules.ready[index]
                .iter()
                .flatten()
                .filter(|target| !self.health.state(**target).up);
            let names = targets.map(|target| {
                let probed = &self.config.targets[target.index()];
                format!(
                    "{} of {}",
                    self.config.checks[probed.check.index()].name,
                    probed.target
                )
            });
            let names: BTreeSet<String> = names.collect();
            let names: Vec<String> = names.into_iter().collect();
            Some(format!(
                "{region} is up and not ready: down is {}",
                names.join(", ")
            ))
        } else {
            None
        }
    }

    /// Calls `then` with what the files and health say of a unit.
    fn with<T>(&self, id: ServiceId, then: impl FnOnce(&Terms<'_>, &Scene<'_>) -> T) -> T {
        let (service, unit) = self.service(id);
        let region = |name: &str| self.pool(service, name).map(|(_, pool)| pool.region);
        let terms = Terms {
            ttl: service.ttl,
            grace: unit.rules.grace,
            takeover: unit.rules.takeover,
            region: &region,
        };
        let is_up = |name: &str| {
            self.pool(service, name)
                .is_some_and(|(_, pool)| self.is_up(service, pool))
        };
        let ready = || self.ready(service, unit);
        let settled = !self.first_round && !self.blind && !self.health.is_isolated();
        then(
            &terms,
            &Scene {
                settled,
                is_up: &is_up,
                ready: &ready,
            },
        )
    }
}

/// Up in every family that it offers.
fn all_up(families: [Option<bool>; 2]) -> bool {
    families.into_iter().flatten().all(|up| up)
}

/// The key of a unit in what is kept.
fn key(service: &Service) -> String {
    service.name.to_lowercase().to_string()
}

fn ids(config: &Config) -> impl Iterator<Item = (ServiceId, &Service, &Unit)> {
    let services = config.services.iter().enumerate();
    services.filter_map(|(index, service)| {
        Some((
            ServiceId::from_index(index),
            service,
            service.unit.as_ref()?,
        ))
    })
}

/// What a first start of zones begins with: whom the files name owns each unit of which `records` know nothing, in the
/// first epoch. Returns the names of those units.
pub fn begin_units(config: &Config, records: &mut UnitRecords) -> Vec<String> {
    let mut begun = Vec::new();
    for (_, service, unit) in ids(config) {
        records.entry(key(service)).or_insert_with(|| {
            begun.push(service.name.to_string());
            let owner = config.region_name(unit.owner).to_owned();
            UnitRecord::Owned {
                owner,
                epoch: 1,
                ttl: service.ttl,
            }
        });
    }
    begun
}

/// The units of the files of which `records` know nothing, and those of `records` that the files do not have.
pub fn compare_units(config: &Config, records: &UnitRecords) -> (Vec<String>, Vec<String>) {
    let known: BTreeSet<String> = ids(config).map(|(_, service, _)| key(service)).collect();
    let unknown = ids(config)
        .map(|(_, service, _)| key(service))
        .filter(|name| !records.contains_key(name))
        .collect();
    (
        unknown,
        records
            .keys()
            .filter(|name| !known.contains(*name))
            .cloned()
            .collect(),
    )
}

impl Units {
    /// Nothing is known of any, and nothing is kept.
    pub(super) fn new(config: &Config) -> Units {
        let held = ids(config).map(|(id, service, _)| {
            (
                id,
                Held {
                    name: key(service),
                    tenure: Tenure::default(),
                    said_stranded: false,
                },
            )
        });
        Units {
            held: held.collect(),
            foreign: UnitRecords::new(),
            frozen: Some("there is no state directory".to_owned()),
            writer: WriteAhead::new(Collection::Units, UNITS_RETRY),
            asking: false,
            missing: BTreeSet::new(),
            look: BTreeSet::new(),
            awaiting: BTreeSet::new(),
            steps: BTreeSet::new(),
            requests: Vec::new(),
        }
    }

    /// Whether what is to be written is heeded from now on.
    pub(super) fn switch(&mut self, on: bool) {
        let given_up = self.writer.switch(on);
        // They are answered when the records of the next directory are here.
        self.requests.extend(given_up.into_iter().flatten());
        self.look_at_all();
    }

    /// What a state directory has is what counts from now on. What it does not know and this process does is written to it.
    pub(super) fn take_up(
        &mut self,
        records: UnitRecords,
        frozen: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        let again = self.frozen.is_none() && frozen.is_none();
        let mut records = records;
        let given_up = self.writer.adopt(records.keys().cloned());
        self.requests.extend(given_up.into_iter().flatten());
        self.missing.clear();
        for held in self.held.values_mut() {
            match records.remove(&held.name) {
                None if again && held.tenure.record().is_some() => {
                    held.tenure.take_up(held.tenure.record().cloned());
                    self.missing.insert(held.name.clone());
                }
                record => held.tenure.take_up(record),
            }
        }
        (self.foreign, self.frozen) = (records, frozen);
        for pending in self.requests.drain(..) {
            let result = Err(NotDone::NotKept(Failure::Abandoned.to_string()));
            effects.push(Effect::Answer {
                request: pending.request,
                result,
            });
        }
        self.look_at_all();
        if let Some(why) = self.frozen.clone().filter(|_| !self.held.is_empty()) {
            effects.push(Effect::Say(Change::UnitsFrozen {
                why,
                units: self.held.len(),
            }));
        }
        self.say_unknown(effects);
    }

    /// Says which units are fenced since nothing is known of them, and what is kept of units that the files do not have.
    fn say_unknown(&self, effects: &mut Vec<Effect>) {
        let foreign: Vec<String> = self.foreign.keys().cloned().collect();
        let unknown = self
            .held
            .values()
            .filter(|held| held.tenure.record().is_none());
        let unknown: Vec<String> = unknown.map(|held| held.name.clone()).collect();
        if !unknown.is_empty() && self.frozen.is_none() {
            let others = if self.held.len() == unknown.len() {
                foreign.clone()
            } else {
                Vec::new()
            };
            effects.push(Effect::Say(Change::UnitsUnknown {
                units: unknown,
                others,
            }));
        }
        if !foreign.is_empty() {
            effects.push(Effect::Say(Change::UnitsForeign { units: foreign }));
        }
    }

    /// Goes on with other files.
    pub(super) fn reload(&mut self, config: &Config, effects: &mut Vec<Effect>) {
        let (unknown, foreign) = (
            self.unknown(),
            self.foreign.keys().cloned().collect::<Vec<_>>(),
        );
        let mut known: BTreeMap<String, Held> = std::mem::take(&mut self.held)
            .into_values()
            .map(|held| (held.name.clone(), held))
            .collect();
        for (id, service, _) in ids(config) {
            let name = key(service);
            let held = known.remove(&name).unwrap_or_else(|| {
                let tenure = Tenure::new(self.foreign.remove(&name));
                Held {
                    name,
                    tenure,
                    said_stranded: false,
                }
            });
            self.held.insert(id, held);
        }
        let left = known
            .into_values()
            .filter_map(|held| Some((held.name, held.tenure.record().cloned()?)));
        self.foreign.extend(left);
        self.awaiting.clear();
        self.steps.clear();
        self.look_at_all();
        if unknown != self.unknown() || foreign != self.foreign.keys().cloned().collect::<Vec<_>>()
        {
            self.say_unknown(effects);
        }
    }

    fn unknown(&self) -> Vec<String> {
        self.held
            .values()
            .filter(|held| held.tenure.record().is_none())
            .map(|held| held.name.clone())
            .collect()
    }

    /// The services that are units.
    pub(super) fn all(&self) -> impl Iterator<Item = &ServiceId> {
        self.held.keys()
    }

    /// Every unit is to be looked at.
    pub(super) fn look_at_all(&mut self) {
        self.look.extend(self.held.keys());
    }

    /// Who answers for the service at `now`, where it is a unit; what this says is to be in the next snapshot.
    pub(super) fn settle(
        &mut self,
        id: ServiceId,
        scenery: &Scenery<'_>,
        now: Moment,
    ) -> Option<Holding> {
        let tenure = &mut self.held.get_mut(&id)?.tenure;
        Some(scenery.with(id, |terms, _| {
            let holding = tenure.settle(terms, now);
            if tenure.awaits_in_force() {
                self.awaiting.insert(id);
            } else {
                self.awaiting.remove(&id);
            }
            if holding.owner().is_none() {
                self.steps.extend(
                    tenure
                        .due(terms)
                        .filter(|due| *due > now)
                        .map(|due| (due, id)),
                );
            }
            holding
        }))
    }

    /// Everything settled is in this publication.
    pub(super) fn published(&mut self, publication: u64) {
        for id in &self.awaiting {
            if let Some(held) = self.held.get_mut(id) {
                held.tenure.published(publication);
            }
        }
    }

    /// Some thread may still answer a last owner: [`super::Event::InForce`] is waited for.
    pub(super) fn await_in_force(&self) -> bool {
        !self.awaiting.is_empty()
    }

    /// Every thread answers from this publication or a later one; the units of which that ends the last owner's time.
    pub(super) fn in_force(&mut self, publication: u64, now: Moment) -> Vec<ServiceId> {
        let mut begun = Vec::new();
        self.awaiting.retain(|id| {
            let Some(held) = self.held.get_mut(id) else {
                return false;
            };
            if held.tenure.in_force(publication, now) {
                begun.push(*id);
            }
            held.tenure.awaits_in_force()
        });
        self.look.extend(&begun);
        begun
    }

    fn can_write(&self) -> bool {
        self.writer.is_on() && self.frozen.is_none() && !self.held.is_empty()
    }

    /// When something is to be done at the latest.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        let retry = self.writer.next_try().filter(|_| self.can_write());
        self.steps
            .first()
            .map(|(due, _)| *due)
            .into_iter()
            .chain(retry)
            .min()
    }

    /// Looks at the units whose services are `dirty`, and at those that time has changed, which are returned.
    pub(super) fn step(
        &mut self,
        dirty: &BTreeSet<ServiceId>,
        scenery: &Scenery<'_>,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> Vec<ServiceId> {
        let mut due = Vec::new();
        while let Some((_, id)) = self.steps.first().copied().filter(|(at, _)| *at <= now) {
            self.steps.pop_first();
            due.push(id);
        }
        self.look.extend(&due);
        if !self.can_write() {
            return due;
        }
        self.look
            .extend(dirty.iter().filter(|id| self.held.contains_key(id)));
        if self.writer.is_pausing(now) {
            // Until then what was refused is not tried again by itself, and at that time all are looked at.
            return due;
        }
        if self.writer.take_retry(now) {
            self.look_at_all();
        }
        for id in std::mem::take(&mut self.look) {
            let Some(held) = self.held.get_mut(&id) else {
                continue;
            };
            scenery.with(id, |terms, scene| held.tenure.step(terms, scene, now));
            self.asking |= held.tenure.wanted().is_some();
            let stranded = held.tenure.is_stranded();
            if stranded != std::mem::replace(&mut held.said_stranded, stranded)
                && let (true, Some(UnitRecord::Owned { owner, .. })) =
                    (stranded, held.tenure.record())
            {
                effects.push(Effect::Say(Change::UnitStranded {
                    unit: held.name.clone(),
                    owner: owner.clone(),
                }));
            }
        }
        due
    }

    /// Begins a write where something is to be written and none is under way. It has the units that
    /// change, and no others.
    pub(super) fn keep(&mut self, effects: &mut Vec<Effect>) {
        let is_behind = !self.missing.is_empty() && !self.writer.awaits_retry();
        if !self.can_write() || !self.writer.is_idle() || !(self.asking || is_behind) {
            return;
        }
        self.asking = false;
        let mut records = UnitRecords::new();
        for name in &self.missing {
            records.extend(
                self.foreign
                    .get(name)
                    .map(|record| (name.clone(), record.clone())),
            );
        }
        for held in self.held.values() {
            if (held.tenure.wanted().is_some() || self.missing.contains(&held.name))
                && let Some(record) = held.tenure.to_keep()
            {
                records.insert(held.name.clone(), record.clone());
            }
        }
        let write = self
            .writer
            .begin(records, std::mem::take(&mut self.requests));
        for held in self.held.values_mut() {
            held.tenure.write_begins(write.id);
        }
        effects.push(Effect::Commit(Commit::Units(write)));
    }

    /// Takes in the end of a write; the units that it changed.
    pub(super) fn write_ended(
        &mut self,
        end: End,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> Vec<ServiceId> {
        let id = end.id;
        let Some(ended) = self.writer.end(end, now) else {
            return Vec::new();
        };
        let mut changed = Vec::new();
        for (unit, held) in &mut self.held {
            if let Some((wanted, before)) = held.tenure.write_ended(id, ended.result.is_ok()) {
                changed.push(*unit);
                effects.extend(
                    said(&held.name, wanted.record, wanted.because, before).map(Effect::Say),
                );
            }
        }
        self.look.extend(&changed);
        if ended.result.is_ok() {
            // Every write has all that was missing when it began.
            self.missing.clear();
        }
        for pending in ended.then {
            let result = match &ended.result {
                Ok(()) => Ok(Done::Said(pending.said)),
                Err(failure) => Err(NotDone::NotKept(failure.to_string())),
            };
            effects.push(Effect::Answer {
                request: pending.request,
                result,
            });
        }
        match ended.turn {
            Some(Turn::Failing(failure)) => {
                effects.push(Effect::Say(Change::UnitsNotKept(failure.to_string())));
            }
            Some(Turn::Recovered) => {
                self.look_at_all();
                effects.push(Effect::Say(Change::UnitsKept));
            }
            None => {}
        }
        changed
    }

    /// An operator moves a unit.
    pub(super) fn move_unit(
        &mut self,
        request: u64,
        unit: &str,
        region: &str,
        force: bool,
        scenery: &Scenery<'_>,
        effects: &mut Vec<Effect>,
    ) {
        match self.asked_to_move(unit, region, force, scenery) {
            Ok(said) => self.requests.push(Pending { request, said }),
            Err(why) => effects.push(Effect::Answer {
                request,
                result: Err(why),
            }),
        }
    }

    fn asked_to_move(
        &mut self,
        unit: &str,
        region: &str,
        force: bool,
        scenery: &Scenery<'_>,
    ) -> Result<String, NotDone> {
        let (id, service, rules) = self.find(unit, scenery.config)?;
        if !scenery.config.regions.iter().any(|own| own.name == region) {
            return Err(NotDone::NotFound(format!("there is no region {region}")));
        }
        let Some((pool, _)) = scenery.pool(service, region) else {
            return Err(NotDone::NotFound(format!(
                "the unit {} has no pool in the region {region}",
                service.name
            )));
        };
        let (name, refuse) = (&service.name, |why: String| Err(NotDone::Refused(why)));
        if let Some(why) = &self.frozen {
            return refuse(format!("units are frozen: {why}"));
        }
        let held = self.held.get_mut(&id).expect("it was found");
        match held.tenure.record() {
            None => {
                return refuse(format!(
                    "nothing is known of {name}; `meridian unit init` comes first"
                ));
            }
            Some(UnitRecord::Owned { owner, epoch, .. }) if owner == region => {
                return refuse(format!("{region} owns {name} already, in epoch {epoch}"));
            }
            Some(UnitRecord::Fenced { next, .. }) if next == region => {
                return refuse(format!(
                    "{name} is fenced, and {region} is its next owner already"
                ));
            }
            _ if held.tenure.wanted().is_some() => {
                return refuse(format!(
                    "another change of {name} is being written; ask again in a moment"
                ));
            }
            _ => {}
        }
        let objection = scenery.objection(service, rules, pool);
        if let Some(objection) = objection.as_ref().filter(|_| !force) {
            return refuse(format!(
                "{name} is not moved to {region}: {objection}; --force moves it all the same"
            ));
        }
        let record = held.tenure.moved(region).expect("it has a record");
        let epoch = record.epoch() + 1;
        held.tenure.ask(record, Because::Operator(objection));
        self.asking = true;
        Ok(format!(
            "{name} is fenced, and {region} owns it after the fence, in epoch {epoch}"
        ))
    }

    /// The unit of that owner name.
    fn find<'c>(
        &self,
        unit: &str,
        config: &'c Config,
    ) -> Result<(ServiceId, &'c Service, &'c Unit), NotDone> {
        let wanted = format!("{}.", unit.trim_end_matches('.').to_ascii_lowercase());
        if let Some((id, _)) = self.held.iter().find(|(_, held)| held.name == wanted) {
            let service = &config.services[id.index()];
            return Ok((
                *id,
                service,
                service.unit.as_ref().expect("only units are held"),
            ));
        }
        let of_service = |(_, _, unit): &(ServiceId, &Service, &Unit)| {
            unit.rules.service.to_lowercase().to_string() == wanted
        };
        Err(NotDone::NotFound(match ids(config).find(of_service) {
            Some((_, first, unit)) => {
                format!(
                    "the service {} has {} units: name one of them, as {}",
                    unit.rules.service, unit.rules.count, first.name
                )
            }
            None => format!("there is no unit {wanted}"),
        }))
    }

    /// An operator begins the state of a unit, or of all units of a service of which nothing is known.
    pub(super) fn begin(
        &mut self,
        request: u64,
        what: &str,
        epoch: u64,
        config: &Config,
        effects: &mut Vec<Effect>,
    ) {
        match self.asked_to_begin(what, epoch, config) {
            Ok(said) => self.requests.push(Pending { request, said }),
            Err(why) => effects.push(Effect::Answer {
                request,
                result: Err(why),
            }),
        }
    }

    fn asked_to_begin(
        &mut self,
        what: &str,
        epoch: u64,
        config: &Config,
    ) -> Result<String, NotDone> {
        let wanted = format!("{}.", what.trim_end_matches('.').to_ascii_lowercase());
        let named = |service: &Service, unit: &Unit| {
            key(service) == wanted || unit.rules.service.to_lowercase().to_string() == wanted
        };
        let units: Vec<_> = ids(config)
            .filter(|(_, service, unit)| named(service, unit))
            .collect();
        let Some((first, service, _)) = units.first().copied() else {
            return Err(NotDone::NotFound(format!(
                "there is no unit {wanted}, and no service of that name with route = \"unit\""
            )));
        };
        if let Some(why) = &self.frozen {
            return Err(NotDone::Refused(format!("units are frozen: {why}")));
        }
        let (mut begun, mut known) = (0, 0);
        for (id, service, unit) in units {
            let tenure = &mut self.held.get_mut(&id).expect("every unit is held").tenure;
            if tenure.record().is_some() || tenure.wanted().is_some() {
                known += 1;
                continue;
            }
            let next = config.region_name(unit.owner).to_owned();
            let record = tenure.begun(next, epoch, service.ttl);
            tenure.ask(record, Because::Begun);
            self.asking = true;
            begun += 1;
        }
        if begun == 0 {
            let state = match self.held[&first].tenure.record() {
                Some(UnitRecord::Owned { owner, epoch, .. }) => {
                    format!("{owner} owns {} in epoch {epoch}", service.name)
                }
                Some(UnitRecord::Fenced { next, epoch, .. }) => {
                    format!(
                        "{} is fenced after epoch {epoch}, and {next} is its next owner",
                        service.name
                    )
                }
                None => format!("{} is being initialised", service.name),
            };
            return Err(NotDone::Refused(format!(
                "nothing is left to initialise: {state}"
            )));
        }
        let units = if begun == 1 {
            "1 unit gets its owner".to_owned()
        } else {
            format!("{begun} units get their owners")
        };
        let others = if known > 0 {
            format!("; what is known of {known} others stays")
        } else {
            String::new()
        };
        Ok(format!(
            "{units} from the files in epoch {epoch}, after a fence{others}"
        ))
    }

    /// The units that nobody but an operator moves and whose owners are in use in `before` and not in `after`.
    pub(super) fn stranded(&self, before: &Scenery<'_>, after: &Scenery<'_>) -> Vec<String> {
        let owned = self
            .held
            .iter()
            .filter_map(|(id, held)| match held.tenure.record() {
                Some(UnitRecord::Owned { owner, .. }) => Some((before.service(*id), owner)),
                _ => None,
            });
        let manual = owned.filter(|((_, unit), _)| unit.rules.takeover == Takeover::Manual);
        let used = |scenery: &Scenery<'_>, service: &Service, owner: &str| {
            scenery
                .pool(service, owner)
                .is_some_and(|(_, pool)| scenery.is_up(service, pool))
        };
        let stranded = manual.filter(|((service, _), owner)| {
            used(before, service, owner) && !used(after, service, owner)
        });
        stranded
            .map(|((service, _), _)| service.name.to_string())
            .collect()
    }

    /// Why nothing changes hands.
    pub(super) fn frozen(&self) -> Option<&str> {
        self.frozen.as_deref()
    }

    /// Every unit's state at `now`.
    pub(super) fn views(
        &self,
        plans: &[std::sync::Arc<Plan>],
        scenery: &Scenery<'_>,
    ) -> Vec<UnitView> {
        self.held
            .keys()
            .filter_map(|id| self.view(*id, plans, scenery))
            .collect()
    }

    /// The state at `now` of one unit; `None` where the service is none.
    pub(super) fn view(
        &self,
        id: ServiceId,
        plans: &[std::sync::Arc<Plan>],
        scenery: &Scenery<'_>,
    ) -> Option<UnitView> {
        self.held.get(&id)?;
        let (service, unit) = scenery.service(id);
        let holding = plans[id.index()].holding()?.clone();
        let region = match &holding.holder {
            Holder::Owner(region) | Holder::Fenced { next: region, .. } => {
                Some(scenery.region_name(*region).to_owned())
            }
            Holder::Gone(region) => Some(region.clone()),
            Holder::Unknown => None,
        };
        let pool = region
            .as_ref()
            .and_then(|region| scenery.pool(service, region));
        Some(UnitView {
            unit: service.name.to_string(),
            service: unit.rules.service.to_string(),
            is_up: pool.map(|(_, pool)| scenery.is_up(service, pool)),
            holding,
            region,
        })
    }
}

/// What is said of a change that is on the disk now.
fn said(
    unit: &str,
    record: UnitRecord,
    because: Because,
    before: Option<UnitRecord>,
) -> Option<Change> {
    let unit = unit.to_owned();
    let why = because.to_string();
    match (record, before) {
        (UnitRecord::Fenced { next, .. }, Some(UnitRecord::Fenced { next: old, .. })) => {
            Some(Change::UnitRedirected {
                unit,
                next,
                old,
                why,
            })
        }
        (UnitRecord::Fenced { last, next, .. }, _) => Some(Change::UnitFenced {
            unit,
            owner: last,
            next,
            why,
        }),
        (UnitRecord::Owned { .. }, _) if because == Because::Kept => None,
        (UnitRecord::Owned { owner, epoch, .. }, _) => Some(Change::UnitOwned {
            unit,
            owner,
            epoch,
            why,
        }),
    }
}

impl fmt::Display for NotDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotDone::NotFound(why) | NotDone::Refused(why) => f.write_str(why),
            NotDone::NotKept(why) => {
                write!(f, "nothing is changed, since it cannot be written: {why}")
            }
            NotDone::NotKnown(why) => {
                write!(
                    f,
                    "not confirmed: {why}; it may take effect once that is over: see `meridian overrides` and `meridian unit list`"
                )
            }
        }
    }
}

impl std::error::Error for NotDone {}
