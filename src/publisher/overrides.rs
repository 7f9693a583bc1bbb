//! Overrides as they come and go: persisted before they take effect, and ended by time.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::{Change, Commit, Done, Effect, NotDone};
use crate::commit::{self, Collection, End, Failure, Key, Outcome, Put};
use crate::config::Config;
use crate::health::Health;
use crate::model::{Moment, ServiceId};
use crate::steer::{Override, Overrides, Scope, Word};

/// So long before the end of an override it is said that it will end.
pub const ENDS_SOON: Duration = Duration::from_secs(600);
/// The pause after a write that failed where nobody waits for it.
const RETRY: Duration = Duration::from_secs(60);
/// So many overrides there may be: each is looked at whenever the plan of a service is made.
const MOST: usize = 1000;

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

/// What the state directory has of overrides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOverrides {
    /// Those in force or announced.
    pub overrides: Overrides,
    /// The highest number ever given.
    pub last: u64,
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
    /// What was kept could not be read back, as a sentence says: nothing is written until an operator accepts the loss.
    lost: Option<String>,
    writes: u64,
    under_way: Option<Write>,
    waiting: VecDeque<Job>,
    /// Something ended that the file still has; it is written anew at this time.
    outdated: Option<Moment>,
    /// Of these it was said that they end soon.
    warned: BTreeSet<u64>,
}

/// What an operator waits for. It is judged when its turn comes: what was asked for before it has been written or refused by
/// then, so that nothing is on its way that the judgement would miss.
#[derive(Debug)]
struct Job {
    request: u64,
    asked: Asked,
}

#[derive(Debug)]
enum Asked {
    Say(OverrideRequest),
    Release { what: String, force: bool },
    AcceptLoss,
}

#[derive(Debug)]
enum ListChange {
    Add(Override),
    Remove { all: Vec<Override>, forced: bool },
    AcceptLoss,
}

#[derive(Debug)]
struct Write {
    id: u64,
    /// Who is answered, and what it is for; nothing where it only leaves out what has ended.
    change: Option<(u64, ListChange)>,
}

impl Words {
    /// There is somewhere to keep them, or nowhere; what was under way elsewhere is given up.
    pub(super) fn switch(&mut self, on: bool, effects: &mut Vec<Effect>) {
        self.on = on;
        let under_way = self
            .under_way
            .take()
            .and_then(|write| write.change)
            .map(|(request, _)| request);
        for request in under_way.into_iter().chain(
            std::mem::take(&mut self.waiting)
                .into_iter()
                .map(|job| job.request),
        ) {
            let why = "the state directory was left before it was written".to_owned();
            effects.push(Effect::Answer {
                request,
                result: Err(NotDone::NotKept(why)),
            });
        }
    }

    /// What a state directory has, the highest number that it gave, and how it lost what it had, if it did; what has ended
    /// meanwhile is left out, and said. True where that is news.
    ///
    /// What was said later than now was dated by a clock that has been set back since: it is taken to be said now, so that a clock
    /// that is behind does not make two hours last for years.
    pub(super) fn take_up(
        &mut self,
        mut list: Overrides,
        last: u64,
        lost: Option<String>,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> bool {
        for own in &mut list.0 {
            let ahead = own.made.since(now);
            (own.made, own.starts) = (own.made - ahead, own.starts - ahead);
            own.until = own.until.map(|until| until - ahead);
        }
        self.last_id = list
            .0
            .iter()
            .map(|own| own.id)
            .max()
            .unwrap_or(0)
            .max(last)
            .max(self.last_id);
        // A directory where nothing was ever kept takes what this process has, as it does of units.
        if list.0.is_empty()
            && last == 0
            && lost.is_none()
            && self.lost.is_none()
            && !self.list.0.is_empty()
        {
            self.outdated = Some(now);
            return false;
        }
        self.lost = lost;
        let before = std::mem::replace(&mut self.list, list);
        let over: Vec<Override> = self
            .list
            .0
            .extract_if(.., |own| own.until.is_some_and(|until| until <= now))
            .collect();
        self.outdated = (!over.is_empty()).then_some(now).or(self.outdated);
        effects.extend(
            over.into_iter()
                .map(|own| Effect::Say(Change::OverrideOver(own))),
        );
        before != self.list
    }

    /// The wall clock was set: what the file has is dated by the old one.
    pub(super) fn clock_set(&mut self, now: Moment) {
        if !self.list.0.is_empty() {
            self.outdated = Some(now);
        }
    }

    /// Why what was kept is lost, until an operator accepts that.
    pub(super) fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// An operator's word, to be judged and persisted first.
    pub(super) fn add(&mut self, request: u64, asked: OverrideRequest, effects: &mut Vec<Effect>) {
        self.ask(request, Asked::Say(asked), effects);
    }

    /// Takes back an override by its number, or all of something.
    pub(super) fn remove(
        &mut self,
        request: u64,
        what: String,
        force: bool,
        effects: &mut Vec<Effect>,
    ) {
        self.ask(request, Asked::Release { what, force }, effects);
    }

    /// An operator goes on with what is in force, after a loss.
    pub(super) fn accept_loss(&mut self, request: u64, effects: &mut Vec<Effect>) {
        self.ask(request, Asked::AcceptLoss, effects);
    }

    fn ask(&mut self, request: u64, asked: Asked, effects: &mut Vec<Effect>) {
        if self.on {
            self.waiting.push_back(Job { request, asked });
        } else {
            let why =
                NotDone::Refused("there is no state directory to keep overrides in".to_owned());
            effects.push(Effect::Answer {
                request,
                result: Err(why),
            });
        }
    }

    fn judged(&mut self, asked: Asked, ground: &Ground<'_>) -> Result<ListChange, NotDone> {
        let refused = |why: String| Err(NotDone::Refused(why));
        match (asked, &self.lost) {
            (Asked::AcceptLoss, None) => {
                refused("no overrides are lost: there is nothing to accept".to_owned())
            }
            (Asked::AcceptLoss, Some(_)) => Ok(ListChange::AcceptLoss),
            (_, Some(why)) => refused(format!(
                "{why}; `meridian overrides --accept-loss` comes first"
            )),
            (Asked::Say(asked), None) => self.judged_word(asked, ground).map(ListChange::Add),
            (Asked::Release { what, force }, None) => {
                let all = self.named(&what, ground.config);
                if all.is_empty() {
                    return Err(NotDone::NotFound(format!("there is no override of {what}")));
                }
                let mut without = self.list.clone();
                without
                    .0
                    .retain(|other| all.iter().all(|own| own.id != other.id));
                let refusals = self.refusals(&without, ground);
                if !refusals.is_empty() && !force {
                    return refused(format!(
                        "{}; --force takes it back all the same",
                        listed(&refusals, "\n")
                    ));
                }
                Ok(ListChange::Remove {
                    all,
                    forced: !refusals.is_empty(),
                })
            }
        }
    }

    fn judged_word(
        &mut self,
        asked: OverrideRequest,
        ground: &Ground<'_>,
    ) -> Result<Override, NotDone> {
        let scope = Scope::find(ground.config, &asked.what).map_err(NotDone::NotFound)?;
        let starts = ground.now + asked.starts_in;
        let mut own = Override {
            id: self.last_id + 1,
            word: asked.word,
            scope,
            by: asked.by,
            reason: asked.reason,
            made: ground.now,
            starts,
            until: asked.lasts.map(|lasts| starts + lasts),
            forced: false,
        };
        let mut with = self.list.clone();
        say(&mut with, &own);
        if with.0.len() > MOST {
            return Err(NotDone::Refused(format!(
                "there are {MOST} overrides, and no more can be: release some"
            )));
        }
        let refusals = self.refusals(&with, ground);
        if !refusals.is_empty() && !asked.force {
            return Err(NotDone::Refused(listed(&refusals, "\n")));
        }
        self.last_id += 1;
        own.forced = !refusals.is_empty();
        Ok(own)
    }

    /// What speaks against having `after` in place of what there is, now or at a later moment.
    fn refusals(&self, after: &Overrides, ground: &Ground<'_>) -> Vec<String> {
        let Ground {
            config,
            health,
            stranded,
            now,
        } = *ground;
        let mut refusals =
            self.list
                .refusals(after, config, &|endpoint| health.endpoint(endpoint), now);
        let moments = self.list.moments(after, now);
        let units: BTreeSet<String> = moments
            .into_iter()
            .flat_map(|at| stranded(&self.list, after, at))
            .collect();
        if !units.is_empty() {
            let units = listed(&Vec::from_iter(units), ", ");
            refusals.push(format!(
                "it would take the owners of units out of use that only an operator moves: {units}"
            ));
        }
        refusals
    }

    /// The overrides that `what` means.
    fn named(&self, what: &str, config: &Config) -> Vec<Override> {
        let scope = Scope::find(config, what).ok();
        let named = |own: &&Override| {
            what.trim_start_matches('#').parse() == Ok(own.id)
                || own.scope.to_string() == what
                || Some(&own.scope) == scope.as_ref()
        };
        self.list.0.iter().filter(named).cloned().collect()
    }

    /// Begins the next write, where one is due.
    pub(super) fn keep(&mut self, ground: &Ground<'_>, effects: &mut Vec<Effect>) {
        if !self.on || self.under_way.is_some() {
            return;
        }
        let mut change = None;
        while change.is_none()
            && let Some(Job { request, asked }) = self.waiting.pop_front()
        {
            match self.judged(asked, ground) {
                Ok(judged) => change = Some((request, judged)),
                Err(why) => effects.push(Effect::Answer {
                    request,
                    result: Err(why),
                }),
            }
        }
        if change.is_none()
            && (self.lost.is_some() || self.outdated.is_none_or(|at| at > ground.now))
        {
            return;
        }
        let mut list = self.list.clone();
        change
            .iter()
            .for_each(|(_, change)| change.apply(&mut list));
        self.outdated = None;
        self.writes += 1;
        self.under_way = Some(Write {
            id: self.writes,
            change,
        });
        let stored = StoredOverrides {
            overrides: list,
            last: self.last_id,
        };
        let put = Put {
            key: Key {
                collection: Collection::Overrides,
                name: String::new(),
            },
            value: stored,
            expected: None,
            lease: None,
        };
        effects.push(Effect::Commit(Commit::Overrides(commit::Write {
            collection: Collection::Overrides,
            id: self.writes,
            puts: vec![put],
        })));
    }

    /// A write has ended; the services whose plans change.
    pub(super) fn write_ended(
        &mut self,
        end: End,
        config: &Config,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> Vec<ServiceId> {
        let Some(write) = self.under_way.take_if(|write| write.id == end.id) else {
            return Vec::new();
        };
        let result = match end.outcome {
            Outcome::Committed(_) => Ok(()),
            Outcome::Conflict { key, .. } => Err(Failure::Changed(key).to_string()),
            Outcome::Failed(failure) => Err(failure.to_string()),
        };
        let Some((request, change)) = write.change else {
            if result.is_err() {
                self.outdated = Some(now + RETRY);
            }
            return Vec::new();
        };
        if let Err(why) = result {
            effects.push(Effect::Answer {
                request,
                result: Err(NotDone::NotKept(why)),
            });
            return Vec::new();
        }
        change.apply(&mut self.list);
        if matches!(change, ListChange::AcceptLoss) {
            self.lost = None;
        }
        let said = change.said(&self.list);
        effects.push(Effect::Answer {
            request,
            result: Ok(Done::Changes(said.clone())),
        });
        effects.extend(said.into_iter().map(Effect::Say));
        change
            .of()
            .iter()
            .flat_map(|own| affected(config, &own.scope))
            .collect()
    }

    /// What time has brought: overrides that take effect or end. The services whose plans change.
    pub(super) fn due(
        &mut self,
        config: &Config,
        last: Moment,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> Vec<ServiceId> {
        let mut changed = Vec::new();
        for own in &self.list.0 {
            if own.starts > last && own.starts <= now && own.made < own.starts {
                changed.extend(affected(config, &own.scope));
                effects.push(Effect::Say(Change::OverrideBegan(own.clone())));
            }
            if own
                .until
                .is_some_and(|until| until > now && until <= now + ENDS_SOON)
                && own
                    .until
                    .is_some_and(|until| until.since(own.made) > ENDS_SOON)
                && self.warned.insert(own.id)
            {
                effects.push(Effect::Say(Change::OverrideEndsSoon(own.clone())));
            }
        }
        let ended: Vec<Override> = self
            .list
            .0
            .extract_if(.., |own| own.until.is_some_and(|until| until <= now))
            .collect();
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
        let changes = [
            self.list.next_change(now),
            warnings.filter(|at| *at > now).min(),
        ];
        let outdated = self
            .outdated
            .filter(|_| self.on && self.under_way.is_none());
        changes.into_iter().flatten().chain(outdated).min()
    }
}

impl ListChange {
    fn of(&self) -> &[Override] {
        match self {
            ListChange::Add(own) => std::slice::from_ref(own),
            ListChange::Remove { all, .. } => all,
            ListChange::AcceptLoss => &[],
        }
    }

    fn apply(&self, list: &mut Overrides) {
        match self {
            ListChange::Add(own) => say(list, own),
            ListChange::Remove { all, .. } => list
                .0
                .retain(|other| all.iter().all(|own| own.id != other.id)),
            ListChange::AcceptLoss => {}
        }
    }

    /// What is told of it once it is on the disk, and in `list`.
    fn said(&self, list: &Overrides) -> Vec<Change> {
        match self {
            ListChange::Add(own) if own.starts > own.made => {
                vec![Change::OverrideAnnounced(own.clone())]
            }
            ListChange::Add(own) => vec![Change::Overridden(own.clone())],
            ListChange::Remove { all, forced } => all
                .iter()
                .cloned()
                .map(|own| Change::Released {
                    own,
                    forced: *forced,
                })
                .collect(),
            ListChange::AcceptLoss => vec![Change::OverridesLossAccepted { left: list.0.len() }],
        }
    }
}

/// A word on the same axis of the same thing takes the place of the one before.
fn say(list: &mut Overrides, own: &Override) {
    list.0.retain(|other| {
        other.scope != own.scope || other.word.is_of_weight() != own.word.is_of_weight()
    });
    list.0.push(own.clone());
}

/// The first few, and how many more there are.
fn listed(all: &[String], separator: &str) -> String {
    const SHOWN: usize = 10;
    let more = all.len().saturating_sub(SHOWN);
    let more = if more > 0 {
        format!("{separator}and {more} more")
    } else {
        String::new()
    };
    format!("{}{more}", all[..all.len().min(SHOWN)].join(separator))
}

/// The services of which something is in `scope`.
fn affected(config: &Config, scope: &Scope) -> Vec<ServiceId> {
    let services = config
        .services
        .iter()
        .enumerate()
        .filter(|(_, service)| scope.touches(&config.regions, service));
    services
        .map(|(index, _)| ServiceId::from_index(index))
        .collect()
}
