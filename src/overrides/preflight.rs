//! The pre-flight: objections to a change of the overrides, now and at every later moment at which
//! one takes effect or ends.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Override, Overrides};
use crate::config::Config;
use crate::health::State;
use crate::model::{Endpoint, Moment, Pool, Region, Service};
use crate::steer::{Plan, Rung};

/// The most objections of a kind that an operator is shown.
const SHOWN: usize = 10;

/// The inputs of the pre-flight.
pub struct PreflightInputs<'i> {
    /// The configuration.
    pub config: &'i Config,
    /// The health of an endpoint as probes see it.
    pub state: &'i dyn Fn(&Endpoint) -> State,
    /// The units that would lose their owner.
    pub stranded: &'i Stranded<'i>,
    /// The present.
    pub now: Moment,
}

/// Names the units whose owners are in use under one list of overrides and not under another, the
/// latter at a moment, and that only an operator moves.
pub type Stranded<'s> = dyn Fn(&Overrides, &Overrides, Moment) -> Vec<String> + 's;

/// The objections to having `after` in place of `before`, as sentences.
pub fn objections(
    before: &Overrides,
    after: &Overrides,
    inputs: &PreflightInputs<'_>,
) -> Vec<String> {
    let mut objections = Vec::new();
    let changed = before.one_sided(after);
    for service in &inputs.config.services {
        // A unit is in one region at a time, so `min_regions` says nothing of it.
        if service.unit.is_none() {
            objections.extend(too_few_regions(before, after, &changed, service, inputs));
        }
    }
    // A unit may be stranded at several moments, and is named once.
    let mut units = BTreeSet::new();
    for at in before.moments(after, inputs.now) {
        units.extend((inputs.stranded)(before, after, at));
    }
    if !units.is_empty() {
        let units = listed(&Vec::from_iter(units), ", ");
        objections.push(format!(
            "it would take the owners of these units out of use, and only an operator moves them: {units}"
        ));
    }
    objections
}

/// The objection that a service has fewer regions up than its `min_regions` at some moment, and
/// fewer than it would have without the change.
fn too_few_regions(
    before: &Overrides,
    after: &Overrides,
    changed: &[&Override],
    service: &Service,
    inputs: &PreflightInputs<'_>,
) -> Option<String> {
    let regions = &inputs.config.regions;
    let mut changed = changed.iter();
    if !changed.any(|own| own.scope.touches(regions, service)) {
        return None;
    }
    // There may be many overrides, and those of other services change nothing here.
    let (before, after) = (
        before.touching(regions, service),
        after.touching(regions, service),
    );
    // The field counts regions, of which there are at most 65 535.
    let least = service.min_regions as usize;
    for at in before.moments(&after, inputs.now) {
        let left = after.regions_up(service, inputs, at);
        // A service that is short of regions already is no reason to refuse what takes none from
        // it.
        if left < least && left < before.regions_up(service, inputs, at) {
            let plural = if left == 1 { "region" } else { "regions" };
            let when = in_time(at, inputs.now);
            let name = &service.name;
            return Some(format!(
                "it would leave {name} {left} {plural} up{when}, and min_regions is {least}"
            ));
        }
    }
    None
}

/// The distance of a later moment, as the end of a phrase; nothing for the present.
fn in_time(at: Moment, now: Moment) -> String {
    if at <= now {
        return String::new();
    }
    let wait = Duration::from_secs(at.since(now).as_secs());
    format!(" {} from now", humantime::format_duration(wait))
}

impl Overrides {
    /// Those that touch `service`.
    fn touching(&self, regions: &[Region], service: &Service) -> Overrides {
        let mut touching = self.clone();
        touching.0.retain(|own| own.scope.touches(regions, service));
        touching
    }

    /// The number of a service's regions that are up at a moment.
    fn regions_up(&self, service: &Service, inputs: &PreflightInputs<'_>, at: Moment) -> usize {
        let regions = &inputs.config.regions;
        let mut conditions = Vec::new();
        let applied = self.apply(regions, service, &mut conditions, at);
        let state = |pool: &Pool, endpoint: &Endpoint| -> State {
            self.state(regions, service, pool, endpoint, at)
                .unwrap_or_else(|| (inputs.state)(endpoint))
        };
        // The plan itself decides what is up, so that the pre-flight and the answers never differ.
        let plan = Plan::compile(&applied, regions, &state, &conditions);
        let mut up = 0;
        for pool in &plan.pools {
            // A region with one family up still serves clients.
            let rungs = pool.rungs[0] | pool.rungs[1];
            up += usize::from(rungs & Rung::Up.bit() != 0);
        }
        up
    }
}

/// The first few of `all`, and how many more there are.
pub(super) fn listed(all: &[String], separator: &str) -> String {
    let shown = all[..all.len().min(SHOWN)].join(separator);
    match all.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}{separator}and {more} more"),
    }
}
