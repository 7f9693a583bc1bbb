//! The read model: the publisher's state as others may read it, kept current by small updates.
//!
//! ```text
//! Publisher ─ what changed: Dirty ─► view_update() ─► ViewUpdate ─► View::apply, on a reader's thread
//! ```
//! The publisher notes what changes and copies only that: neither an outcome nor a publication
//! costs more with more targets. A [`View`] shares what an update leaves alone with the view before
//! it, so that a reader keeps what it reads while updates go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Publisher;
use crate::acme::StoredChallenges;
use crate::dataset::Dataset;
use crate::health::{self, FailReason, Health, Outcome, Rechecks, State, Watch};
use crate::model::{Endpoint, Moment, ServiceId, TargetId};
use crate::overrides::Overrides;
use crate::recovery::PoolRecord;
use crate::units::UnitView;

/// The targets in one piece of a view: a piece that a reader holds is copied before it changes.
const PIECE: usize = 64;

/// The state of one target.
#[derive(Debug, Clone)]
pub struct TargetView {
    /// The published verdict.
    pub state: State,
    /// The time of the last transition; `None` before the first.
    pub changed: Option<Moment>,
    /// Failures counted against it while it is up.
    pub fails: u32,
    /// Passes counted for it, towards `rise` or `forgive`.
    pub passes: u32,
    /// The end of its hold as flapping; `None` where it is not held.
    pub flapping_until: Option<Moment>,
    /// True while its verdict is from before a restart, and no probe of it has ended since.
    pub restored: bool,
    /// The load it reports, averaged, 0 … 1; `None` where none is known.
    pub load: Option<f64>,
    /// Passes without a report of load that can be used.
    pub load_ignored: u64,
    /// The last probe's outcome; `None` before the first.
    pub last: Option<Outcome>,
    /// The reason of the last failure; `None` where it never failed.
    pub last_failure: Option<FailReason>,
    /// The connection that is held to it.
    pub watch: Watch,
}

impl TargetView {
    fn new(health: &Health, target: TargetId) -> TargetView {
        let (tracker, load) = (health.tracker(target), health.load(target));
        TargetView {
            state: health.state(target),
            changed: health.changed(target),
            fails: tracker.fails(),
            passes: tracker.passes(),
            flapping_until: health.flapping_until(target),
            restored: health.is_restored(target),
            load: load.average(),
            load_ignored: load.ignored(),
            last: health.last_outcome(target).cloned(),
            last_failure: health.last_failure(target),
            watch: health.connection(target),
        }
    }
}

/// The parts of a service's state that are no health: most services have none.
#[derive(Debug, Clone, Default)]
pub struct ServiceView {
    /// Its pools that are not simply in use.
    pub recovery: Vec<PoolRecord>,
    /// Its ownership, where it is a unit.
    pub unit: Option<UnitView>,
}

impl ServiceView {
    fn is_empty(&self) -> bool {
        self.recovery.is_empty() && self.unit.is_none()
    }
}

/// Operators' overrides, in force and announced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OverridesView {
    /// All of them, in the order in which they were made.
    pub list: Overrides,
    /// The reason why others were lost, until an operator accepts that.
    pub lost: Option<String>,
}

/// The state of a moment, for readers.
#[derive(Debug, Clone)]
pub struct View {
    /// The time at which the publisher told it last.
    pub at: Moment,
    /// The files behind it.
    pub dataset: Arc<Dataset>,
    /// True while this node's own network is assumed down.
    pub is_isolated: bool,
    /// The numbers of targets that are probed before their interval is over.
    pub rechecks: Rechecks,
    /// By [`TargetId`], in pieces.
    targets: Vec<Arc<[TargetView]>>,
    /// The services that have something to tell.
    services: Arc<BTreeMap<ServiceId, ServiceView>>,
    /// Operators' overrides.
    pub overrides: Arc<OverridesView>,
    /// ACME challenges in force.
    pub challenges: StoredChallenges,
    /// The reason why no unit changes hands.
    pub frozen: Option<Arc<str>>,
    /// The number of snapshots published since the first, and the time of the last.
    pub publications: (u64, Option<Moment>),
}

/// The difference between two moments.
#[derive(Debug)]
pub struct ViewUpdate {
    at: Moment,
    /// After new files, or at first: nothing of the view before it counts.
    dataset: Option<Arc<Dataset>>,
    targets: Vec<(TargetId, TargetView)>,
    services: Vec<(ServiceId, ServiceView)>,
    overrides: Option<Arc<OverridesView>>,
    challenges: StoredChallenges,
    is_isolated: bool,
    rechecks: Rechecks,
    frozen: Option<Arc<str>>,
    publications: (u64, Option<Moment>),
}

impl View {
    /// The view that a first update tells; `None` where it is not a first one, which tells
    /// everything.
    pub fn first(update: ViewUpdate) -> Option<View> {
        let mut view = View {
            at: update.at,
            dataset: update.dataset.clone()?,
            is_isolated: false,
            rechecks: Rechecks::default(),
            targets: Vec::new(),
            services: Arc::default(),
            overrides: Arc::default(),
            challenges: Arc::default(),
            frozen: None,
            publications: update.publications,
        };
        view.apply(update);
        Some(view)
    }

    /// Takes in what changed.
    pub fn apply(&mut self, update: ViewUpdate) {
        (self.at, self.is_isolated) = (update.at, update.is_isolated);
        self.rechecks = update.rechecks;
        (self.frozen, self.publications) = (update.frozen, update.publications);
        self.challenges = update.challenges;
        if let Some(overrides) = update.overrides {
            self.overrides = overrides;
        }
        let is_first = update.dataset.is_some();
        if let Some(dataset) = update.dataset {
            self.dataset = dataset;
            // Ids are others in new files, and the update brings all that is of interest.
            self.services = Arc::default();
        }
        if is_first {
            self.replace_targets(update.targets);
        } else {
            for (target, view) in update.targets {
                let (piece, place) = (target.index() / PIECE, target.index() % PIECE);
                // A piece is copied only while a reader holds it, and then 64 targets and not all.
                Arc::make_mut(&mut self.targets[piece])[place] = view;
            }
        }
        // A shared map is copied as a whole, so it is left alone where nothing in it changes.
        if update.services.is_empty() {
            return;
        }
        let services = Arc::make_mut(&mut self.services);
        for (service, view) in update.services {
            if view.is_empty() {
                services.remove(&service);
            } else {
                services.insert(service, view);
            }
        }
    }

    fn replace_targets(&mut self, targets: Vec<(TargetId, TargetView)>) {
        let mut targets = targets.into_iter().map(|(_, view)| view).peekable();
        self.targets.clear();
        while targets.peek().is_some() {
            self.targets.push(targets.by_ref().take(PIECE).collect());
        }
    }

    /// Every target, in the order of its id.
    pub fn targets(&self) -> impl Iterator<Item = (TargetId, &TargetView)> {
        let views = self.targets.iter().flat_map(|piece| piece.iter());
        views
            .enumerate()
            .map(|(index, view)| (TargetId::from_index(index), view))
    }

    /// One target of the view's dataset.
    pub fn target(&self, target: TargetId) -> &TargetView {
        &self.targets[target.index() / PIECE][target.index() % PIECE]
    }

    /// The health of an endpoint of the view's dataset as probes see it.
    pub fn endpoint(&self, endpoint: &Endpoint) -> State {
        let states = endpoint.probes.iter();
        health::combine(
            endpoint.need,
            states.map(|target| self.target(*target).state),
        )
    }

    /// The highest load that any check of an endpoint reads, 0 … 1; `None` where none is known.
    pub fn load(&self, endpoint: &Endpoint) -> Option<f64> {
        let loads = endpoint.probes.iter();
        let loads = loads.filter_map(|target| self.target(*target).load);
        loads.reduce(f64::max)
    }

    /// The parts of a service's state that are no health; `None` where it has none.
    pub fn service(&self, service: ServiceId) -> Option<&ServiceView> {
        self.services.get(&service)
    }

    /// The pools that are not simply in use.
    pub fn recovery(&self) -> impl Iterator<Item = &PoolRecord> {
        self.services.values().flat_map(|service| &service.recovery)
    }

    /// Every unit.
    pub fn units(&self) -> impl Iterator<Item = &UnitView> {
        self.services
            .values()
            .filter_map(|service| service.unit.as_ref())
    }
}

/// Notes of what changed since the last update.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    /// Nothing was told yet of the dataset in use.
    all: bool,
    targets: Vec<TargetId>,
    /// A bit for each target: those that are in `targets`.
    noted: Vec<u64>,
    services: BTreeSet<ServiceId>,
    /// The overrides as they were last told.
    overrides: Arc<OverridesView>,
    /// The reason why units are frozen, as it was last told.
    frozen: Option<Arc<str>>,
}

impl Dirty {
    /// Notes that everything is to be told anew.
    pub(super) fn all(&mut self) {
        self.all = true;
        self.targets.clear();
        self.services.clear();
        self.noted.clear();
    }

    /// Notes that a target changed.
    pub(super) fn target(&mut self, target: TargetId) {
        let (word, bit) = (target.index() / 64, 1 << (target.index() % 64));
        // Everything is told anyway, and the list would only grow.
        if self.all {
            return;
        }
        if word >= self.noted.len() {
            self.noted.resize(word + 1, 0);
        }
        if self.noted[word] & bit == 0 {
            self.noted[word] |= bit;
            self.targets.push(target);
        }
    }

    /// Notes that the plan of a service was compiled: its pools' recovery or its owner may be
    /// others.
    pub(super) fn service(&mut self, service: ServiceId) {
        if !self.all {
            self.services.insert(service);
        }
    }

    /// Notes the targets that a change of health is about.
    pub(super) fn note(&mut self, change: &health::Effect) {
        match change {
            health::Effect::Transition(transition) => self.target(transition.target),
            health::Effect::Doubt { target, .. }
            | health::Effect::Flapping { target, .. }
            | health::Effect::FlappingEnded(target)
            | health::Effect::WatchGivenUp(target)
            | health::Effect::Warned { target, .. } => self.target(*target),
            // What is to come changes nothing that is shown of a target.
            health::Effect::ProbeEarly(_) => {}
            // What isolation undoes changes the counts of many targets without a word about each.
            health::Effect::IsolationBegan | health::Effect::IsolationEnded(_) => {
                self.all();
            }
        }
    }

    fn take_targets(&mut self) -> Vec<TargetId> {
        let targets = std::mem::take(&mut self.targets);
        for target in &targets {
            // The words of noted targets alone: clearing all of them would cost more with more
            // targets.
            self.noted[target.index() / 64] = 0;
        }
        targets
    }
}

impl Publisher {
    /// Copies what changed since the last call; everything at the first one, and after new files.
    pub fn view_update(&mut self, now: Moment) -> ViewUpdate {
        let is_first = std::mem::take(&mut self.dirty_view.all);
        let config = &self.inputs.dataset.config;
        let (targets, services) = if is_first {
            let targets = 0..config.targets.len();
            let services = 0..config.services.len();
            (
                targets.map(TargetId::from_index).collect(),
                services.map(ServiceId::from_index).collect(),
            )
        } else {
            let services = std::mem::take(&mut self.dirty_view.services);
            (self.dirty_view.take_targets(), services)
        };
        ViewUpdate {
            at: now,
            // A reader takes an update with a dataset for a whole view.
            dataset: is_first.then(|| self.inputs.dataset.clone()),
            targets: self.target_views(targets),
            services: self.service_views(services, is_first, now),
            overrides: self.changed_overrides(is_first),
            challenges: self.acme.challenges().clone(),
            is_isolated: self.health().is_isolated(),
            rechecks: self.health().rechecks(),
            frozen: self.frozen_reason(),
            publications: (self.plans.publication, self.plans.published),
        }
    }

    /// The number of targets that the next update tells of.
    pub fn view_changes(&self) -> usize {
        self.dirty_view.targets.len()
    }

    fn target_views(&self, targets: Vec<TargetId>) -> Vec<(TargetId, TargetView)> {
        targets
            .into_iter()
            .map(|target| (target, TargetView::new(self.health(), target)))
            .collect()
    }

    fn service_views(
        &self,
        services: BTreeSet<ServiceId>,
        is_first: bool,
        now: Moment,
    ) -> Vec<(ServiceId, ServiceView)> {
        let inputs = self.inputs.of_units(self.overrides(), now);
        let config = &self.inputs.dataset.config;
        let mut views = Vec::new();
        for id in services {
            let view = ServiceView {
                recovery: self.recovery.records_of(config, id, now),
                unit: self.plans.current[id.index()]
                    .unit_state()
                    .and_then(|unit_state| self.units.view(id, unit_state, &inputs)),
            };
            // Most services have nothing to tell, and never had.
            let is_of_interest = !view.is_empty() || (!is_first && self.recovery.is_followed(id));
            if is_of_interest {
                views.push((id, view));
            }
        }
        views
    }

    fn changed_overrides(&mut self, is_first: bool) -> Option<Arc<OverridesView>> {
        let told = &self.dirty_view.overrides;
        let is_same =
            told.list == *self.overrides() && told.lost.as_deref() == self.overrides_lost();
        if is_same && !is_first {
            return None;
        }
        if !is_same {
            self.dirty_view.overrides = Arc::new(OverridesView {
                list: self.overrides().clone(),
                lost: self.overrides_lost().map(str::to_owned),
            });
        }
        Some(self.dirty_view.overrides.clone())
    }

    fn frozen_reason(&mut self) -> Option<Arc<str>> {
        // The reason is shared with the views before for as long as it stays the same.
        if self.dirty_view.frozen.as_deref() != self.units.frozen() {
            self.dirty_view.frozen = self.units.frozen().map(Arc::from);
        }
        self.dirty_view.frozen.clone()
    }
}
