//! Overrides as they come and go: persisted before they take effect, and ended by time.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::{Change, Done, Effect, NotDone};
use crate::config::Config;
use crate::health::Health;
use crate::model::{Moment, ServiceId};
use crate::steer::{Override, Overrides, Scope, Word};

/// So long before the end of an override it is said that it will end.
pub const ENDS_SOON: Duration = Duration::from_secs(600);
/// The pause after a write that failed where nobody waits for it.
const RETRY: Duration = Duration::from_secs(60);

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideRequest {
    /// What is said.
    pub word: Word,
    /// Of what: see [`Scope::find`].
    pub what: String,
    /// Who says so.
    pub by: String,
    /// Why; not empty.
    pub reason: String,
    /// How long from now until it takes effect; it is announced until then.
    pub starts_in: Duration,
    /// How long it holds from then on; `None` is until it is taken back.
    pub lasts: Option<Duration>,
    /// Although the pre-flight speaks against it.
    pub force: bool,
}

/// What a new override is judged by.
pub(super) struct Ground<'g> {
    pub(super) config: &'g Config,
    pub(super) health: &'g Health,
    pub(super) stranded: &'g Stranded<'g>,
    pub(super) now: Moment,
}

/// The units that lose their owner between two lists of overrides, the latter at a time.
type Stranded<'s> = dyn Fn(&Overrides, &Overrides, Moment) -> Vec<String> + 's;

/// The overrides of a publisher.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// What is in force or announced.
    pub(super) list: Overrides,
    /// The highest number ever given.
    last_id: u64,
    /// There is somewhere to keep them.
    on: bool,
    writes: u64,
    under_way: Option<Write>,
    waiting: VecDeque<Job>,
    /// Something ended that the file still has; it is written anew at this time.
    outdated: Option<Moment>,
    /// Of these it was said that they end soon.
    warned: BTreeSet<u64>,
}

#[derive(Debug)]
struct Job {
    request: u64,
    change: ListChange,
}

#[derive(Debug)]
enum ListChange {
    Add(Override),
    Remove(Vec<Override>),
}

#[derive(Debug)]
struct Write {
    id: u64,
    /// What it is for; nothing where it only leaves out what has ended.
    job: Option<Job>,
}

impl Words {
    /// There is somewhere to keep them, or nowhere; what was under way elsewhere is given up.
    pub(super) fn switch(&mut self, on: bool, effects: &mut Vec<Effect>) {
        self.on = on;
        let given_up = self.under_way.take().and_then(|write| write.job).into_iter().chain(std::mem::take(&mut self.waiting));
        for Job { request, .. } in given_up {
            let why = "the state directory was left before it was written".to_owned();
            effects.push(Effect::Answer { request, result: Err(NotDone::NotKept(why)) });
        }
    }

    /// What a state directory has; what has ended meanwhile is left out, and said. True where that is news.
    ///
    /// What was said later than now was dated by a clock that has been set back since: it is taken to be said now, so that a clock
    /// that is behind does not make two hours last for years.
    pub(super) fn take_up(&mut self, mut list: Overrides, now: Moment, effects: &mut Vec<Effect>) -> bool {
        for own in &mut list.0 {
            let ahead = own.made.since(now);
            (own.made, own.starts) = (own.made - ahead, own.starts - ahead);
            own.until = own.until.map(|until| until - ahead);
        }
        self.last_id = list.0.iter().map(|own| own.id).max().unwrap_or(0).max(self.last_id);
        let before = std::mem::replace(&mut self.list, list);
        let over: Vec<Override> = self.list.0.extract_if(.., |own| own.until.is_some_and(|until| until <= now)).collect();
        self.outdated = (!over.is_empty()).then_some(now).or(self.outdated);
        effects.extend(over.into_iter().map(|own| Effect::Say(Change::OverrideOver(own))));
        before != self.list
    }

    /// The wall clock was set: what the file has is dated by the old one.
    pub(super) fn clock_set(&mut self, now: Moment) {
        if !self.list.0.is_empty() {
            self.outdated = Some(now);
        }
    }

    /// An operator's word, to be persisted first.
    pub(super) fn add(&mut self, request: u64, asked: &OverrideRequest, ground: &Ground<'_>, effects: &mut Vec<Effect>) {
        let checked = self.checked(asked, ground);
        match checked {
            Ok(own) => self.waiting.push_back(Job { request, change: ListChange::Add(own) }),
            Err(why) => effects.push(Effect::Answer { request, result: Err(why) }),
        }
    }

    fn checked(&mut self, asked: &OverrideRequest, ground: &Ground<'_>) -> Result<Override, NotDone> {
        let Ground { config, health, stranded, now } = *ground;
        if !self.on {
            return Err(NotDone::Refused("there is no state directory to keep overrides in".to_owned()));
        }
        let scope = Scope::find(config, &asked.what).map_err(NotDone::NotFound)?;
        let starts = now + asked.starts_in;
        let own = Override {
            id: self.last_id + 1,
            word: asked.word,
            scope,
            by: asked.by.clone(),
            reason: asked.reason.clone(),
            made: now,
            starts,
            until: asked.lasts.map(|lasts| starts + lasts),
            forced: false,
        };
        let mut refusals = self.list.refusals(&own, config, &|endpoint| health.endpoint(endpoint), now);
        let mut with = self.list.clone();
        ListChange::Add(own.clone()).apply(&mut with);
        let units = stranded(&self.list, &with, starts);
        if !units.is_empty() {
            let units = listed(&units, ", ");
            refusals.push(format!("it would take the owners of units out of use that only an operator moves: {units}"));
        }
        if !refusals.is_empty() && !asked.force {
            return Err(NotDone::Refused(listed(&refusals, "\n")));
        }
        self.last_id += 1;
        Ok(Override { forced: !refusals.is_empty(), ..own })
    }

    /// Takes back an override by its number, or all of something.
    pub(super) fn remove(&mut self, request: u64, what: &str, config: &Config, effects: &mut Vec<Effect>) {
        let scope = Scope::find(config, what).ok();
        let named = |own: &Override| {
            what.trim_start_matches('#').parse() == Ok(own.id)
                || own.scope.to_string() == what
                || Some(&own.scope) == scope.as_ref()
        };
        let found: Vec<Override> = self.list.0.iter().filter(|own| named(own)).cloned().collect();
        if found.is_empty() {
            let why = NotDone::NotFound(format!("there is no override of {what}"));
            effects.push(Effect::Answer { request, result: Err(why) });
        }
        if !found.is_empty() {
            self.waiting.push_back(Job { request, change: ListChange::Remove(found) });
        }
    }

    /// Begins the next write, where one is due.
    pub(super) fn keep(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if !self.on || self.under_way.is_some() {
            return;
        }
        let job = self.waiting.pop_front();
        if job.is_none() && self.outdated.is_none_or(|at| at > now) {
            return;
        }
        let mut list = self.list.clone();
        job.iter().for_each(|job| job.change.apply(&mut list));
        self.outdated = None;
        self.writes += 1;
        self.under_way = Some(Write { id: self.writes, job });
        effects.push(Effect::KeepOverrides { id: self.writes, overrides: list });
    }

    /// A write has ended; the services whose plans change.
    pub(super) fn write_ended(
        &mut self,
        id: u64,
        result: Result<(), String>,
        config: &Config,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> Vec<ServiceId> {
        let Some(write) = self.under_way.take_if(|write| write.id == id) else { return Vec::new() };
        let Some(Job { request, change }) = write.job else {
            if result.is_err() {
                self.outdated = Some(now + RETRY);
            }
            return Vec::new();
        };
        if let Err(why) = result {
            effects.push(Effect::Answer { request, result: Err(NotDone::NotKept(why)) });
            return Vec::new();
        }
        change.apply(&mut self.list);
        let said: Vec<Change> = match &change {
            ListChange::Add(own) => vec![Change::Overridden(own.clone())],
            ListChange::Remove(all) => all.iter().cloned().map(Change::Released).collect(),
        };
        effects.push(Effect::Answer { request, result: Ok(Done::Changes(said.clone())) });
        effects.extend(said.into_iter().map(Effect::Say));
        change.of().iter().flat_map(|own| affected(config, &own.scope)).collect()
    }

    /// What time has brought: overrides that take effect or end. The services whose plans change.
    pub(super) fn due(&mut self, config: &Config, last: Moment, now: Moment, effects: &mut Vec<Effect>) -> Vec<ServiceId> {
        let mut changed = Vec::new();
        for own in &self.list.0 {
            if own.starts > last && own.starts <= now && own.made < own.starts {
                changed.extend(affected(config, &own.scope));
                effects.push(Effect::Say(Change::Overridden(own.clone())));
            }
            if own.until.is_some_and(|until| until > now && until <= now + ENDS_SOON)
                && own.until.is_some_and(|until| until.since(own.made) > ENDS_SOON)
                && self.warned.insert(own.id)
            {
                effects.push(Effect::Say(Change::OverrideEndsSoon(own.clone())));
            }
        }
        let ended: Vec<Override> = self.list.0.extract_if(.., |own| own.until.is_some_and(|until| until <= now)).collect();
        for own in ended {
            changed.extend(affected(config, &own.scope));
            self.outdated = Some(now);
            self.warned.remove(&own.id);
            effects.push(Effect::Say(Change::OverrideEnded(own)));
        }
        changed
    }

    /// When [`Words::due`] or [`Words::keep`] is to be called next.
    pub(super) fn next_deadline(&self, now: Moment) -> Option<Moment> {
        let warnings = self
            .list
            .0
            .iter()
            .filter(|own| !self.warned.contains(&own.id))
            .filter_map(|own| own.until)
            .map(|until| until - ENDS_SOON);
        let changes = [self.list.next_change(now), warnings.filter(|at| *at > now).min()];
        let outdated = self.outdated.filter(|_| self.on && self.under_way.is_none());
        changes.into_iter().flatten().chain(outdated).min()
    }
}

impl ListChange {
    fn of(&self) -> &[Override] {
        match self {
            ListChange::Add(own) => std::slice::from_ref(own),
            ListChange::Remove(all) => all,
        }
    }

    /// A word on the same axis of the same thing takes the place of the one before.
    fn apply(&self, list: &mut Overrides) {
        match self {
            ListChange::Add(own) => {
                list.0.retain(|other| other.scope != own.scope || other.word.is_of_weight() != own.word.is_of_weight());
                list.0.push(own.clone());
            }
            ListChange::Remove(all) => list.0.retain(|other| all.iter().all(|own| own.id != other.id)),
        }
    }
}

/// The first few, and how many more there are.
fn listed(all: &[String], separator: &str) -> String {
    const SHOWN: usize = 10;
    let more = all.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!("{separator}and {more} more") } else { String::new() };
    format!("{}{more}", all[..all.len().min(SHOWN)].join(separator))
}

/// The services of which something is in `scope`.
fn affected(config: &Config, scope: &Scope) -> Vec<ServiceId> {
    let services = config.services.iter().enumerate().filter(|(_, service)| scope.touches(&config.regions, service));
    services.map(|(index, _)| ServiceId::from_index(index)).collect()
}
