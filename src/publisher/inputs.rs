//! The inputs of plans: the files, the health of targets, and how far this process sees.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::stalls::Stalls;
use crate::dataset::Dataset;
use crate::health::{Health, Key, Pushes, TargetSpec};
use crate::model::{Moment, RegionId, ServiceId, TargetId};
use crate::overrides::Overrides;
use crate::units;

/// The state of everything that plans and units are judged by.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) dataset: Arc<Dataset>,
    pub(super) targets: Targets,
    pub(super) start: Start,
    pub(super) stalls: Stalls,
}

/// The health of the targets of one dataset.
#[derive(Debug)]
pub(super) struct Targets {
    pub(super) health: Health,
    pub(super) pushes: Pushes,
    /// By [`TargetId`]: the key of its history.
    pub(super) keys: Arc<[Key]>,
    /// By [`TargetId`]: the services that use it.
    pub(super) used_by: Vec<Vec<ServiceId>>,
    /// Counts accepted datasets; outcomes carry it.
    pub(super) generation: u32,
}

/// The progress of this process's start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    /// True until the first round has ended.
    pub(super) first_round: bool,
    /// True where queries are answered although it has not.
    pub(super) answering: bool,
}

impl Start {
    /// True while nothing is answered yet.
    pub(super) fn is_silent(self) -> bool {
        self.first_round && !self.answering
    }
}

impl Inputs {
    pub(super) fn new(dataset: Arc<Dataset>) -> Inputs {
        Inputs {
            targets: Targets::new(&dataset, 0),
            start: Start {
                // Also after a restart: what the disk says of health is old, and the first round
                // checks it.
                first_round: true,
                answering: false,
            },
            stalls: Stalls::default(),
            dataset,
        }
    }

    /// The inputs of units at `now`, under `overrides`.
    pub(super) fn of_units<'i>(
        &'i self,
        overrides: &'i Overrides,
        now: Moment,
    ) -> units::Inputs<'i> {
        units::Inputs {
            config: &self.dataset.config,
            health: &self.targets.health,
            overrides,
            first_round: self.start.first_round,
            blind: self.stalls.is_blind(now),
            now,
        }
    }

    /// The address or name that a target is probed at, and the name of its check.
    pub(super) fn target_names(&self, target: TargetId) -> (String, String) {
        let config = &self.dataset.config;
        let target = &config.targets[target.index()];
        (
            target.target.to_string(),
            config.checks[target.check.index()].name.clone(),
        )
    }

    /// The names of the regions that have an endpoint at a target.
    pub(super) fn regions_of(&self, target: TargetId) -> Vec<String> {
        let mut regions: BTreeSet<RegionId> = BTreeSet::new();
        regions.extend(&self.targets.health.spec(target).regions);
        let config = &self.dataset.config;
        regions
            .into_iter()
            .map(|region| config.region_name(region).to_owned())
            .collect()
    }
}

impl Targets {
    pub(super) fn new(dataset: &Dataset, generation: u32) -> Targets {
        let config = &dataset.config;
        Targets {
            health: Health::new(TargetSpec::all(
                &config.checks,
                &config.targets,
                &config.services,
                &config.server.sanity,
            )),
            pushes: Pushes::new(&config.checks, &config.targets),
            keys: keys(dataset),
            used_by: used_by(dataset),
            generation,
        }
    }

    /// The services that use a target.
    pub(super) fn used_by(&self, target: TargetId) -> &[ServiceId] {
        &self.used_by[target.index()]
    }
}

/// The keys of a dataset's targets, by [`TargetId`].
pub(super) fn keys(dataset: &Dataset) -> Arc<[Key]> {
    Key::all(&dataset.config.checks, &dataset.config.targets)
}

fn used_by(dataset: &Dataset) -> Vec<Vec<ServiceId>> {
    let mut used_by = vec![Vec::new(); dataset.config.targets.len()];
    for (index, service) in dataset.config.services.iter().enumerate() {
        let endpoints = service.pools.iter().flat_map(|pool| &pool.endpoints);
        let ready = service
            .unit
            .iter()
            .flat_map(|unit| unit.rules.ready.iter().flatten().flatten());
        // Ready checks decide who takes a unit over, so its service has to be looked at when one
        // changes.
        for target in endpoints.flat_map(|endpoint| &endpoint.probes).chain(ready) {
            // Services come in order, so that one that is there already is the last.
            let services: &mut Vec<ServiceId> = &mut used_by[target.index()];
            if services.last() != Some(&ServiceId::from_index(index)) {
                services.push(ServiceId::from_index(index));
            }
        }
    }
    used_by
}
