//! Units: shards of a service that exactly one region owns at a time.
//!
//! ```text
//!  operators, health, time ─► Units ─► Output::Write ─► durable ─► Units ─► Output::{Event, Answer, Dirty}
//!                              │ ▲
//!                 settle(unit) ▼ │ published, seen_by_all
//!                     the plans that are handed out
//! ```
//! [`Units`] is a state machine without clock or I/O. What it wants is written ahead
//! ([`crate::commit`]); who owns a unit in the answers follows from durable records alone
//! (`ownership`). Between two owners lies a fence, which begins once every thread has left the
//! snapshots with the last one.

mod commands;
mod event;
mod inputs;
mod lookup;
mod ownership;
mod record;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::commit::{Collection, End, Failure, Turn, Write, WriteAhead};
use crate::config::Config;
use crate::model::{Moment, Service, ServiceId, Unit};
use crate::steer::UnitState;

pub use commands::Rejected;
pub use event::{Cause, Event};
pub use inputs::{Inputs, Objection, RegionHealth, UnitRules};
pub use lookup::{NotFound, find_region, find_unit, find_units};
pub use ownership::{Ownership, Wanted};
pub use record::{MAX_EPOCH, UnitRecord, UnitRecords, begin_units, compare_units};
pub use view::UnitView;

/// The pause before a write that failed is tried again by itself.
pub const UNITS_RETRY: Duration = Duration::from_secs(5);

/// The units of the files, and the records of others.
#[derive(Debug)]
pub struct Units {
    held: BTreeMap<ServiceId, Held>,
    /// The records of units that the files do not have: a zone that comes back finds its owners.
    foreign: UnitRecords,
    /// The reason why nothing changes hands.
    frozen: Option<String>,
    /// The operators who wait for a write are kept with it.
    writer: WriteAhead<Vec<Pending>>,
    /// True where some unit wants a write.
    asking: bool,
    /// The units whose records are known here and missing in the state directory.
    missing: BTreeSet<String>,
    /// The units to look at next.
    look: BTreeSet<ServiceId>,
    /// The units of which some thread may still answer the last owner.
    awaiting: BTreeSet<ServiceId>,
    /// The ends of fences; one that came to nothing is harmless.
    steps: BTreeSet<(Moment, ServiceId)>,
    /// The operators whose change is to be in the next write.
    requests: Vec<Pending>,
}

/// An output of the units.
#[derive(Debug)]
pub enum Output {
    /// Something happened.
    Event(Event),
    /// This is to be written; its end comes back through [`Units::write_ended`].
    Write(Write<UnitRecord>),
    /// A request is answered.
    Answer {
        /// Its number.
        request: u64,
        /// The sentence of what is done now.
        result: Result<String, Rejected>,
    },
    /// The plan of this service is to be compiled anew.
    Dirty(ServiceId),
}

/// A unit of the files.
#[derive(Debug)]
struct Held {
    /// Its owner name, in lower case.
    name: String,
    ownership: Ownership,
    /// True once an event said that its owner is down and stays it.
    said_stranded: bool,
}

/// An operator who waits for a write.
#[derive(Debug)]
struct Pending {
    request: u64,
    /// The answer once it is durable.
    said: String,
}

/// The name of a unit's record.
fn key(service: &Service) -> String {
    service.name.to_lowercase().to_string()
}

/// The units of a configuration.
fn of_config(config: &Config) -> impl Iterator<Item = (ServiceId, &Service, &Unit)> {
    let services = config.services.iter().enumerate();
    services.filter_map(|(index, service)| {
        Some((
            ServiceId::from_index(index),
            service,
            service.unit.as_ref()?,
        ))
    })
}

impl Units {
    /// The units of a configuration, without records and without a state directory.
    pub fn new(config: &Config) -> Units {
        let held = of_config(config).map(|(id, service, _)| (id, Held::new(key(service), None)));
        Units {
            held: held.collect(),
            foreign: UnitRecords::new(),
            // Until a directory is adopted nobody knows who owns a unit, so that none is answered.
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

    /// Goes on with a backend for writes, or with none.
    pub fn switch(&mut self, on: bool) {
        let given_up = self.writer.switch(on);
        // They are answered when the records of the next directory are here.
        self.requests.extend(given_up.into_iter().flatten());
        self.look_at_all();
    }

    /// Adopts the records of a state directory, which count from now on; `frozen` says why no unit is
    /// to change hands. Records that this process has and the directory lacks are written to it.
    pub fn adopt(&mut self, records: UnitRecords, frozen: Option<String>) -> Vec<Output> {
        // Records of a directory that was not ours alone may be out of date, and are not carried on.
        let is_carried = self.frozen.is_none() && frozen.is_none();
        let mut records = records;
        let given_up = self.writer.adopt(records.keys().cloned());
        self.requests.extend(given_up.into_iter().flatten());
        self.missing.clear();
        for held in self.held.values_mut() {
            let record = match records.remove(&held.name) {
                None if is_carried && held.ownership.record().is_some() => {
                    self.missing.insert(held.name.clone());
                    held.ownership.record().cloned()
                }
                record => record,
            };
            held.ownership.adopt(record);
        }
        (self.foreign, self.frozen) = (records, frozen);
        let mut outputs = Vec::new();
        for pending in self.requests.drain(..) {
            outputs.push(Output::Answer {
                request: pending.request,
                result: Err(Rejected::NotWritten(Failure::Abandoned)),
            });
        }
        self.look_at_all();
        if let Some(why) = self.frozen.clone().filter(|_| !self.held.is_empty()) {
            let units = self.held.len();
            outputs.push(Output::Event(Event::Frozen { why, units }));
        }
        self.report_unknown(&mut outputs);
        outputs.extend(self.held.keys().copied().map(Output::Dirty));
        outputs
    }

    /// Reports the units that are fenced for lack of a record, and the records of units that the
    /// files do not have.
    fn report_unknown(&self, outputs: &mut Vec<Output>) {
        let foreign: Vec<String> = self.foreign.keys().cloned().collect();
        let unknown = self.unknown();
        if !unknown.is_empty() && self.frozen.is_none() {
            // A directory that knows of none of the units is probably that of other files.
            let is_all = self.held.len() == unknown.len();
            let others = if is_all { foreign.clone() } else { Vec::new() };
            outputs.push(Output::Event(Event::Unknown {
                units: unknown,
                others,
            }));
        }
        if !foreign.is_empty() {
            outputs.push(Output::Event(Event::Foreign { units: foreign }));
        }
    }

    /// The units without a record.
    fn unknown(&self) -> Vec<String> {
        let unknown = self
            .held
            .values()
            .filter(|held| held.ownership.record().is_none());
        unknown.map(|held| held.name.clone()).collect()
    }

    /// Goes on with another configuration. Ownership follows by name.
    pub fn reload(&mut self, config: &Config) -> Vec<Output> {
        let unknown = self.unknown();
        let foreign: Vec<String> = self.foreign.keys().cloned().collect();
        let mut before: BTreeMap<String, Held> = BTreeMap::new();
        for held in std::mem::take(&mut self.held).into_values() {
            before.insert(held.name.clone(), held);
        }
        for (id, service, _) in of_config(config) {
            let name = key(service);
            let held = match before.remove(&name) {
                Some(held) => held,
                None => {
                    let record = self.foreign.remove(&name);
                    Held::new(name, record)
                }
            };
            self.held.insert(id, held);
        }
        // A zone that is removed keeps its records: it may come back, and then has owners.
        for held in before.into_values() {
            if let Some(record) = held.ownership.record().cloned() {
                self.foreign.insert(held.name, record);
            }
        }
        // Both go by ids of the configuration before; the plans, compiled anew, fill them again.
        self.awaiting.clear();
        self.steps.clear();
        self.look_at_all();
        let mut outputs = Vec::new();
        if unknown != self.unknown() || !foreign.iter().eq(self.foreign.keys()) {
            self.report_unknown(&mut outputs);
        }
        outputs
    }

    /// Has every unit looked at in the next [`Units::step`].
    pub fn look_at_all(&mut self) {
        self.look.extend(self.held.keys());
    }

    /// Decides who answers for the service, where it is a unit. The decision is to be in the next
    /// snapshot: a fence counts from there.
    pub fn settle(&mut self, id: ServiceId, inputs: &Inputs<'_>) -> Option<UnitState> {
        let ownership = &mut self.held.get_mut(&id)?.ownership;
        let rules = inputs.rules(id);
        let state = ownership.settle(&rules, inputs.now);
        if ownership.awaits_seen_by_all() {
            self.awaiting.insert(id);
        } else {
            self.awaiting.remove(&id);
        }
        // Only a fence ends by time; an owner stays until something happens.
        if state.owner().is_none()
            && let Some(due) = ownership.due(&rules).filter(|due| *due > inputs.now)
        {
            self.steps.insert((due, id));
        }
        Some(state)
    }

    /// Notes that everything settled so far is in this publication.
    pub fn published(&mut self, publication: u64) {
        for id in &self.awaiting {
            if let Some(held) = self.held.get_mut(id) {
                // Each unit keeps the first publication since its decision, and passes over later
                // ones.
                held.ownership.published(publication);
            }
        }
    }

    /// True while some thread may still answer a last owner, so that [`Units::seen_by_all`] is
    /// waited for.
    pub fn awaits_seen_by_all(&self) -> bool {
        !self.awaiting.is_empty()
    }

    /// Notes that every thread answers from this publication or a later one: for the units whose last
    /// owner was in the ones before, the fence begins.
    pub fn seen_by_all(&mut self, publication: u64, now: Moment) -> Vec<Output> {
        let mut fenced = Vec::new();
        // Taken and put back: a unit stays while some thread may still be on an older publication.
        for id in std::mem::take(&mut self.awaiting) {
            let Some(held) = self.held.get_mut(&id) else {
                continue;
            };
            if held.ownership.seen_by_all(publication, now) {
                fenced.push(id);
            }
            if held.ownership.awaits_seen_by_all() {
                self.awaiting.insert(id);
            }
        }
        self.look.extend(&fenced);
        // Compiled anew, so that `settle` sets the deadline of the fence, and `why` tells its end.
        fenced.into_iter().map(Output::Dirty).collect()
    }

    fn can_write(&self) -> bool {
        // A server without units never writes `units.json`.
        self.writer.is_on() && self.frozen.is_none() && !self.held.is_empty()
    }

    /// The next moment at which [`Units::step`] has something to do.
    pub fn next_deadline(&self) -> Option<Moment> {
        let retry = self.writer.next_try().filter(|_| self.can_write());
        let fence = self.steps.first().map(|(due, _)| *due);
        fence.into_iter().chain(retry).min()
    }

    /// Looks at the units whose services are `dirty`, and at those that time has changed.
    pub fn step(&mut self, dirty: &BTreeSet<ServiceId>, inputs: &Inputs<'_>) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some((at, id)) = self.steps.first().copied() {
            if at > inputs.now {
                break;
            }
            // Without regard to the disk: an owner that is durable is answered once its fence is
            // over.
            self.steps.pop_first();
            outputs.push(Output::Dirty(id));
            self.look.insert(id);
        }
        if !self.can_write() {
            return outputs;
        }
        for id in dirty {
            if self.held.contains_key(id) {
                self.look.insert(*id);
            }
        }
        // Until the pause after a failure is over, nothing is asked for by itself; then everything is
        // looked at, since the failure dropped what was wanted.
        if self.writer.is_pausing(inputs.now) {
            return outputs;
        }
        if self.writer.take_retry(inputs.now) {
            self.look_at_all();
        }
        for id in std::mem::take(&mut self.look) {
            outputs.extend(self.look_at(id, inputs).map(Output::Event));
        }
        outputs
    }

    fn look_at(&mut self, id: ServiceId, inputs: &Inputs<'_>) -> Option<Event> {
        let held = self.held.get_mut(&id)?;
        held.ownership
            .step(&inputs.rules(id), &inputs.health(id), inputs.now);
        self.asking |= held.ownership.wanted().is_some();
        let is_stranded = held.ownership.is_stranded();
        let was_said = std::mem::replace(&mut held.said_stranded, is_stranded);
        if !is_stranded || was_said {
            return None;
        }
        Some(Event::Stranded {
            unit: held.name.clone(),
            owner: held.ownership.record()?.owner()?.to_owned(),
        })
    }

    /// Begins a write where one is wanted and none is under way. It has the units that change, and no
    /// others.
    pub fn persist(&mut self) -> Option<Output> {
        // A directory that just refused is not asked again for what is merely missing there; an
        // operator's request, which sets `asking`, goes at once.
        let is_behind = !self.missing.is_empty() && !self.writer.awaits_retry();
        if !self.can_write() || !self.writer.is_idle() || !(self.asking || is_behind) {
            return None;
        }
        self.asking = false;
        let mut records = UnitRecords::new();
        for name in &self.missing {
            if let Some(record) = self.foreign.get(name) {
                records.insert(name.clone(), record.clone());
            }
        }
        for held in self.held.values() {
            if (held.ownership.wanted().is_some() || self.missing.contains(&held.name))
                && let Some(record) = held.ownership.to_write()
            {
                records.insert(held.name.clone(), record.clone());
            }
        }
        let requests = std::mem::take(&mut self.requests);
        let write = self.writer.begin(records, requests);
        // What is asked for from here on is not in this write, and waits for the next.
        for held in self.held.values_mut() {
            held.ownership.write_begins(write.id);
        }
        Some(Output::Write(write))
    }

    /// Takes in the end of a write.
    pub fn write_ended(&mut self, end: End, now: Moment) -> Vec<Output> {
        let id = end.id;
        let Some(ended) = self.writer.end(end, now) else {
            return Vec::new();
        };
        let mut outputs = Vec::new();
        for (unit, held) in &mut self.held {
            let written = held.ownership.write_ended(id, ended.result.is_ok());
            let Some((wanted, before)) = written else {
                continue;
            };
            // What is durable now may make the next step due at once.
            self.look.insert(*unit);
            outputs.push(Output::Dirty(*unit));
            let event = Event::of_write(&held.name, wanted.record, wanted.cause, before);
            outputs.extend(event.map(Output::Event));
        }
        if ended.result.is_ok() {
            // Every write has all that was missing when it began.
            self.missing.clear();
        }
        for Pending { request, said } in ended.then {
            let result = match &ended.result {
                Ok(()) => Ok(said),
                Err(failure) => Err(Rejected::NotWritten(failure.clone())),
            };
            outputs.push(Output::Answer { request, result });
        }
        match ended.turn {
            Some(Turn::Failing(failure)) => {
                let why = failure.to_string();
                outputs.push(Output::Event(Event::NotWritten { why }));
            }
            Some(Turn::Recovered) => {
                self.look_at_all();
                outputs.push(Output::Event(Event::Written));
            }
            None => {}
        }
        outputs
    }

    /// The reason why nothing changes hands.
    pub fn frozen(&self) -> Option<&str> {
        self.frozen.as_deref()
    }
}

impl Held {
    fn new(name: String, record: Option<UnitRecord>) -> Held {
        Held {
            name,
            ownership: Ownership::new(record),
            said_stranded: false,
        }
    }
}
