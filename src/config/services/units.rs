//! What a service with `route = "unit"` has besides, and the services that its units are.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::{check_list, last_resort};
use crate::config::document::{Item, Located, Table};
use crate::config::kinds::{duration, integer, one_of};
use crate::config::names::Names;
use crate::config::zones::Context;
use crate::diag::Diagnostics;
use crate::model::{CheckId, Pool, RegionId, Route, Service, Takeover, Unit, UnitRules};

/// The most units of a service: each is a name with a plan of its own.
const MAX_UNITS: u32 = 10_000;
/// Long enough that an answer under way has come home.
const DEFAULT_GRACE: Duration = Duration::from_secs(5);
const GRACE: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(86_400);
const TAKEOVERS: &[(&str, Takeover)] = &[("manual", Takeover::Manual), ("auto", Takeover::Auto)];
/// How many ranges of units a message lists.
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

/// Reads the keys of units; of a service with another route they do nothing, which is said.
pub(super) fn read(
    t: &mut Table<'_>,
    route: Option<Route>,
    context: &Context<'_>,
    out: &mut Diagnostics,
) -> Option<UnitKeys> {
    if route.is_some_and(|route| route != Route::Unit) {
        for key in [
            "units",
            "owners",
            "takeover",
            "ready_checks",
            "grace",
            "fence_answer",
        ] {
            if let Some(item) = t.item(key) {
                let message = format!("`{key}` does nothing unless route = \"unit\"");
                out.warning("useless-key", item.key_at(), item.path.clone(), message)
                    .hint("remove it, or change the route of the service");
            }
        }
        return None;
    }
    let count = t
        .optional(out, "units", integer(1..=MAX_UNITS, ""))
        .unwrap_or(1);
    let ready = t
        .optional(out, "ready_checks", |item, out| {
            check_list(item, context.checks, out)
        })
        .unwrap_or_default();
    let grace = t
        .optional(out, "grace", duration(GRACE))
        .unwrap_or(DEFAULT_GRACE);
    let fence_answer = t
        .optional(out, "fence_answer", last_resort)
        .unwrap_or_default();
    let takeover = t.located(out, "takeover", one_of(TAKEOVERS));
    if let Some(takeover) = takeover
        .as_ref()
        .filter(|t| t.value == Takeover::Auto && !context.sole)
    {
        let message = "takeover = \"auto\" needs [server] sole = true: another node could hand a unit to another region";
        out.error("takeover-without-sole", takeover.at.clone(), t.key_path("takeover"), message)
            .hint("write takeover = \"manual\", or sole = true where this is the only node that answers these zones");
    }
    route?;
    let hint = "say who owns the units at first: owners = { \"0-49\" = \"REGION\", \"50-99\" = \"REGION\" }";
    let owners = t.required(out, "owners", hint, |item, out| {
        owners(item, count, context.regions, out)
    })?;
    let takeover = takeover.map_or(Takeover::Manual, |takeover| takeover.value);
    Some(UnitKeys {
        count,
        owners,
        takeover,
        ready,
        grace,
        fence_answer,
    })
}

/// By unit its owner: a region for all, or ranges of units with a region each, which leave none out.
fn owners(
    item: &Item<'_>,
    count: u32,
    regions: &Names,
    out: &mut Diagnostics,
) -> Option<Vec<RegionId>> {
    let region = |item: &Item<'_>, out: &mut Diagnostics| {
        crate::config::kinds::name_of(regions)(item, out).map(RegionId::from_index)
    };
    if item.value.as_str().is_some() {
        return region(item, out).map(|region| vec![region; count as usize]);
    }
    let mut owners: Vec<Option<Located<RegionId>>> = (0..count).map(|_| None).collect();
    let mut sound = true;
    for (text, entry) in item.table(out)?.items() {
        let (units, owner) = (range(text, count), region(&entry, out));
        let Some(units) = units else {
            sound = false;
            out.error(
                "bad-units",
                entry.key_at(),
                entry.path.clone(),
                format!("\"{text}\" is no unit and no range of units"),
            )
            .hint(format!(
                "the units are 0 to {}: write \"0-{}\" for all of them, \"0\" for the first",
                count - 1,
                count - 1
            ));
            continue;
        };
        let Some(owner) = owner else {
            sound = false;
            // What it says stands for the units all the same: they are no gap.
            let unknown = || {
                Some(Located {
                    value: RegionId(0),
                    at: entry.key_at(),
                })
            };
            owners[*units.start() as usize..=*units.end() as usize].fill_with(unknown);
            continue;
        };
        let taken: Vec<u32> = units
            .clone()
            .filter(|unit| owners[*unit as usize].is_some())
            .collect();
        if let Some(other) = taken
            .first()
            .and_then(|unit| owners[*unit as usize].as_ref())
        {
            sound = false;
            let message = format!(
                "\"{text}\" overlaps the range at {} in {}",
                other.at,
                listed(&taken)
            );
            out.error(
                "overlapping-units",
                entry.key_at(),
                entry.path.clone(),
                message,
            )
            .hint("a unit has one owner");
            continue;
        }
        for unit in units {
            owners[unit as usize] = Some(Located {
                value: owner,
                at: entry.key_at(),
            });
        }
    }
    let missing: Vec<u32> = (0..count)
        .filter(|unit| owners[*unit as usize].is_none())
        .collect();
    if !missing.is_empty() && sound {
        sound = false;
        let have = if missing.len() == 1 { "has" } else { "have" };
        let message = format!("{} {have} no owner", listed(&missing));
        item.error(out, "units-without-owner", message)
            .hint("ranges include both ends: \"0-49\" and \"50-99\" are a hundred units");
    }
    sound.then(|| {
        owners
            .into_iter()
            .flatten()
            .map(|owner| owner.value)
            .collect()
    })
}

/// `7`, `0-49`, `00-49`: units below `count`.
fn range(text: &str, count: u32) -> Option<RangeInclusive<u32>> {
    let number = |text: &str| {
        text.parse::<u32>()
            .ok()
            .filter(|n| *n < count && text.bytes().all(|b| b.is_ascii_digit()))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some(first..=last)
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
    let range = |(first, last): &(u32, u32)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    };
    let shown: Vec<String> = ranges.iter().take(SHOWN).map(range).collect();
    let more = if ranges.len() > SHOWN {
        " and more"
    } else {
        ""
    };
    format!(
        "unit{} {}{more}",
        if units.len() == 1 { "" } else { "s" },
        shown.join(", ")
    )
}

/// One service a unit: `base` with the name and the owner of each. An error where a name cannot be made.
pub(super) fn expand(
    keys: UnitKeys,
    base: Service,
    item: &Item<'_>,
    context: &mut Context<'_>,
    out: &mut Diagnostics,
) -> Vec<Service> {
    if base.name.labels().next() == Some(b"*") {
        out.error(
            "unit-at-wildcard",
            item.key_at(),
            item.path.clone(),
            "a wildcard stands for many names, a unit for one",
        )
        .hint("give the service a name of its own");
        return Vec::new();
    }
    let in_pool = |region: &RegionId| base.pools.iter().any(|pool| pool.region == *region);
    if let Some(owner) = keys.owners.iter().find(|owner| !in_pool(owner)) {
        let message = format!(
            "the owner {} has no pool in the service",
            context.regions.name(owner.index())
        );
        out.error(
            "owner-without-pool",
            item.key_at(),
            format!("{}.owners", item.path),
            message,
        )
        .hint("add a pool there, or name a region that has one");
        return Vec::new();
    }
    let mut ready = |pool: &Pool| -> Vec<Vec<_>> {
        let endpoints = pool.endpoints.iter();
        endpoints
            .map(|endpoint| {
                keys.ready
                    .iter()
                    .map(|check| context.targets.id(*check, &endpoint.target))
                    .collect()
            })
            .collect()
    };
    let rules = Arc::new(UnitRules {
        service: base.name.clone(),
        count: keys.count,
        takeover: keys.takeover,
        ready: base.pools.iter().map(&mut ready).collect(),
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
        match unit
            .name()
            .and_then(|name| Unit::epoch_name(&name).map(|_| name))
        {
            Ok(name) => units.push(Service {
                name,
                unit: Some(unit),
                ..base.clone()
            }),
            Err(problem) => {
                let message = format!(
                    "the names of its units, and `_epoch` below them, do not fit: {problem}"
                );
                out.error(
                    "bad-service-name",
                    item.key_at(),
                    item.path.clone(),
                    message,
                );
                return Vec::new();
            }
        }
    }
    units
}
