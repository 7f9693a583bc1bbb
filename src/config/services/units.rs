//! The keys that only `route = "unit"` has, and the services that its units are.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::check_list;
use super::pools::last_resort;
use crate::config::checks::Targets;
use crate::config::context::Context;
use crate::config::document::{Item, Located, Table};
use crate::config::kinds::{duration, integer, name_of, one_of};
use crate::config::names::Names;
use crate::diag::Diagnostics;
use crate::dns::{Name, NameError};
use crate::model::{CheckId, Pool, RegionId, Route, Service, Takeover, TargetId, Unit, UnitRules};

/// The most units of a service: each is a name with a plan of its own.
const MAX_UNITS: u32 = 10_000;
/// Long enough that an answer under way has come home.
const DEFAULT_GRACE: Duration = Duration::from_secs(5);
const GRACE: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(86_400);
const TAKEOVERS: &[(&str, Takeover)] = &[("manual", Takeover::Manual), ("auto", Takeover::Auto)];
/// The most ranges of units that a message lists.
const SHOWN: usize = 5;

/// The keys of a service with units, read.
pub(super) struct UnitKeys {
    count: u32,
    /// By unit.
    owners: Vec<RegionId>,
    takeover: Takeover,
    ready: Vec<CheckId>,
    grace: Duration,
    fence_answer: Vec<IpAddr>,
}

const KEYS: [&str; 6] = [
    "units",
    "owners",
    "takeover",
    "ready_checks",
    "grace",
    "fence_answer",
];

/// Reads the keys of units; of a service with another route they do nothing, which is reported.
pub(super) fn read(
    t: &mut Table<'_>,
    route: Option<Route>,
    context: &Context<'_>,
    out: &mut Diagnostics,
) -> Option<UnitKeys> {
    if route.is_some_and(|route| route != Route::Unit) {
        warn_useless(t, out);
        return None;
    }
    let count = t.optional(out, "units", integer(1..=MAX_UNITS, ""));
    let count = count.unwrap_or(1);
    let ready = t.optional(out, "ready_checks", check_list(context.checks));
    let grace = t.optional(out, "grace", duration(GRACE));
    let fence_answer = t.optional(out, "fence_answer", last_resort);
    let takeover = takeover(t, context, out);
    // Where the route is wrong it may not have been `unit`, so nothing is missing.
    route?;
    let hint = "name the first owner of every unit: owners = { \"0-49\" = \"REGION\", \"50-99\" = \"REGION\" }";
    let owners = t.required(out, "owners", hint, |item, out| {
        owners(item, count, context.regions, out)
    })?;
    Some(UnitKeys {
        count,
        owners,
        takeover,
        ready: ready.unwrap_or_default(),
        grace: grace.unwrap_or(DEFAULT_GRACE),
        fence_answer: fence_answer.unwrap_or_default(),
    })
}

fn warn_useless(t: &mut Table<'_>, out: &mut Diagnostics) {
    for key in KEYS {
        if let Some(item) = t.item(key) {
            let message = format!("`{key}` does nothing unless route = \"unit\"");
            item.key_warning(out, "useless-key", message)
                .hint("remove it, or change the route of the service");
        }
    }
}

/// Reads `takeover`: only where one node answers alone may it decide by itself.
fn takeover(t: &mut Table<'_>, context: &Context<'_>, out: &mut Diagnostics) -> Takeover {
    let Some(takeover) = t.located(out, "takeover", one_of(TAKEOVERS)) else {
        return Takeover::Manual;
    };
    if takeover.value == Takeover::Auto && !context.sole {
        let message = "takeover = \"auto\" needs [server] sole = true: another node could give the unit to a different region";
        let path = t.key_path("takeover");
        out.error("takeover-without-sole", takeover.at, path, message).hint(
            "set takeover = \"manual\", or sole = true if this is the only node that answers these zones",
        );
    }
    takeover.value
}

/// Reads the owner of each unit: a region for all, or ranges of units with a region each, which
/// leave none out.
fn owners(
    item: &Item<'_>,
    count: u32,
    regions: &Names,
    out: &mut Diagnostics,
) -> Option<Vec<RegionId>> {
    let region = name_of(regions);
    if item.value.as_str().is_some() {
        let owner = RegionId::from_index(region(item, out)?);
        return Some(vec![owner; count as usize]);
    }
    let mut owners = Owners {
        by_unit: (0..count).map(|_| None).collect(),
        sound: true,
    };
    for (text, entry) in item.table(out)?.items() {
        let (units, owner) = (range(text, count), region(&entry, out));
        let Some(units) = units else {
            owners.sound = false;
            let last = count - 1;
            let message = format!("\"{text}\" is neither a unit nor a range of units");
            entry.key_error(out, "bad-units", message).hint(format!(
                "the units are 0 to {last}: write \"0-{last}\" for all of them, \"0\" for the first"
            ));
            continue;
        };
        match owner {
            Some(owner) => owners.give(text, units, RegionId::from_index(owner), &entry, out),
            None => owners.give_to_unknown(units, &entry),
        }
    }
    owners.finish(item, out)
}

/// The owners read so far.
struct Owners {
    by_unit: Vec<Option<Located<RegionId>>>,
    sound: bool,
}

impl Owners {
    /// Gives `units`, written `text`, to `owner`; reports those that have one.
    fn give(
        &mut self,
        text: &str,
        units: RangeInclusive<u32>,
        owner: RegionId,
        entry: &Item<'_>,
        out: &mut Diagnostics,
    ) {
        let mut taken = Vec::new();
        let mut other = None;
        for unit in units.clone() {
            if let Some(owner) = &self.by_unit[unit as usize] {
                other = other.or(Some(owner));
                taken.push(unit);
            }
        }
        if let Some(other) = other {
            let message = format!(
                "\"{text}\" overlaps the range at {} in {}",
                other.at,
                listed(&taken)
            );
            entry
                .key_error(out, "overlapping-units", message)
                .hint("give each unit one owner");
            self.sound = false;
            return;
        }
        for unit in units {
            self.by_unit[unit as usize] = Some(Located {
                value: owner,
                at: entry.key_at(),
            });
        }
    }

    /// Gives `units` to any region, since the one named is unknown, which has been reported: they
    /// are no gap.
    fn give_to_unknown(&mut self, units: RangeInclusive<u32>, entry: &Item<'_>) {
        self.sound = false;
        for unit in units {
            self.by_unit[unit as usize] = Some(Located {
                value: RegionId(0),
                at: entry.key_at(),
            });
        }
    }

    /// The owners by unit; `None` where something was wrong, or where units have none, which is
    /// reported.
    fn finish(self, item: &Item<'_>, out: &mut Diagnostics) -> Option<Vec<RegionId>> {
        // A range that could not be read may have been the one that is missing.
        if !self.sound {
            return None;
        }
        let mut owners = Vec::with_capacity(self.by_unit.len());
        let mut missing = Vec::new();
        for (unit, owner) in (0..).zip(self.by_unit) {
            match owner {
                Some(owner) => owners.push(owner.value),
                None => missing.push(unit),
            }
        }
        if missing.is_empty() {
            return Some(owners);
        }
        let have = if missing.len() == 1 { "has" } else { "have" };
        let message = format!("{} {have} no owner", listed(&missing));
        item.error(out, "units-without-owner", message)
            .hint("ranges include both ends: \"0-49\" and \"50-99\" are a hundred units");
        None
    }
}

/// Parses `7`, `0-49`, `00-49`: units below `count`.
fn range(text: &str, count: u32) -> Option<RangeInclusive<u32>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (unit(first, count)?, unit(last, count)?);
    (first <= last).then_some(first..=last)
}

fn unit(text: &str, count: u32) -> Option<u32> {
    // `parse` takes a sign too.
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|unit| *unit < count)
}

/// Units in words, as ranges, the first few of them.
fn listed(units: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for unit in units {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *unit => *last = *unit,
            _ => ranges.push((*unit, *unit)),
        }
    }
    let mut shown = Vec::new();
    for (first, last) in ranges.iter().take(SHOWN) {
        shown.push(match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
    }
    let more = match ranges.len() > SHOWN {
        true => " and more",
        false => "",
    };
    let plural = if units.len() == 1 { "" } else { "s" };
    format!("unit{plural} {}{more}", shown.join(", "))
}

/// Makes one service a unit: `base` with the name and the owner of each. None where a name cannot
/// be made, which is reported.
pub(super) fn expand(
    keys: UnitKeys,
    base: Service,
    item: &Item<'_>,
    context: &mut Context<'_>,
    out: &mut Diagnostics,
) -> Vec<Service> {
    if base.name.labels().next() == Some(b"*") {
        let message = "a service with units cannot be a wildcard: each unit has one name";
        item.key_error(out, "unit-at-wildcard", message)
            .hint("give the service a name of its own");
        return Vec::new();
    }
    if !owners_have_pools(&keys.owners, &base.pools, item, context, out) {
        return Vec::new();
    }
    let rules = Arc::new(UnitRules {
        service: base.name.clone(),
        count: keys.count,
        takeover: keys.takeover,
        ready: ready_targets(&keys.ready, &base.pools, context.targets),
        grace: keys.grace,
        fence_answer: keys.fence_answer,
    });
    let mut units = Vec::with_capacity(keys.owners.len());
    for (index, owner) in (0..).zip(keys.owners) {
        let unit = Unit {
            index,
            owner,
            rules: rules.clone(),
        };
        match unit_name(&unit) {
            Ok(name) => units.push(Service {
                name,
                unit: Some(unit),
                ..base.clone()
            }),
            Err(problem) => {
                let message = format!(
                    "the names of the units, and of `_epoch` below them, cannot be made: {problem}"
                );
                item.key_error(out, "bad-service-name", message);
                return Vec::new();
            }
        }
    }
    units
}

/// The name of a unit, if its `_epoch` fits below it.
fn unit_name(unit: &Unit) -> Result<Name, NameError> {
    let name = unit.name()?;
    Unit::epoch_name(&name)?;
    Ok(name)
}

/// Reports the first owner whose region has no pool to send clients to.
fn owners_have_pools(
    owners: &[RegionId],
    pools: &[Pool],
    item: &Item<'_>,
    context: &Context<'_>,
    out: &mut Diagnostics,
) -> bool {
    for owner in owners {
        if pools.iter().any(|pool| pool.region == *owner) {
            continue;
        }
        let name = context.regions.name(owner.index());
        let message = format!("the region {name} owns units but has no pool in the service");
        let path = format!("{}.owners", item.path);
        out.error("owner-without-pool", item.key_at(), path, message)
            .hint("add a pool there, or name a region that has one");
        return false;
    }
    true
}

/// The targets of `ready_checks`, for each endpoint of each pool.
fn ready_targets(
    checks: &[CheckId],
    pools: &[Pool],
    targets: &mut Targets,
) -> Vec<Vec<Vec<TargetId>>> {
    let mut ready = Vec::with_capacity(pools.len());
    for pool in pools {
        let mut by_endpoint = Vec::with_capacity(pool.endpoints.len());
        for endpoint in &pool.endpoints {
            let ids = checks
                .iter()
                .map(|check| targets.id(*check, &endpoint.target));
            by_endpoint.push(ids.collect());
        }
        ready.push(by_endpoint);
    }
    ready
}
