//! `[[tests]]` of a zone file: the answers that clients are to get, and how soon they leave a dead
//! region.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use super::context::Context;
use super::document::{Item, Table};
use super::kinds::{duration, list, prefix};
use super::names::Names;
use super::services::Services;
use crate::diag::{At, Diagnostics, did_you_mean};
use crate::dns::{Name, RrType};
use crate::model::{
    AnswerTest, Expect, FailoverTest, Part, RegionId, RoutingTest, Target, regions_named,
};
use crate::zone::Records;

/// The names and endpoints of a zone that its tests may name.
pub(super) struct Known<'z> {
    origin: &'z Name,
    /// The names of its services and of their units; `None` where some could not be read.
    services: Option<HashSet<Name>>,
    /// `None` where the records could not be read.
    owners: Option<HashSet<Name>>,
    /// `None` where anything of the zone could not be read.
    endpoints: Option<HashSet<&'z Target>>,
}

impl<'z> Known<'z> {
    /// Collects the names and endpoints of the zone `origin`; `sound` where nothing of it is wrong.
    pub(super) fn new(
        origin: &'z Name,
        services: &'z Services,
        records: Option<&Records>,
        sound: bool,
    ) -> Known<'z> {
        let mut owners = None;
        if let Some(records) = records {
            let mut names: HashSet<Name> = services.names.iter().cloned().collect();
            names.extend(records.iter().map(|record| record.owner_name()));
            owners = Some(names);
        }
        let mut endpoints = None;
        if sound {
            let mut targets = HashSet::new();
            for pool in services.list.iter().flat_map(|service| &service.pools) {
                targets.extend(pool.endpoints.iter().map(|endpoint| &endpoint.target));
            }
            endpoints = Some(targets);
        }
        Known {
            origin,
            services: (!services.unread.anywhere).then(|| steered_names(services)),
            owners,
            endpoints,
        }
    }
}

/// The names of services and of their units, wrong ones too; not those that tell a unit's owner.
fn steered_names(services: &Services) -> HashSet<Name> {
    let mut names: HashSet<Name> = services.unread.names.iter().cloned().collect();
    for service in &services.list {
        names.insert(service.name.clone());
        names.extend(service.unit.iter().map(|unit| unit.rules.service.clone()));
    }
    names
}

/// Reads the tests of a zone.
pub(super) fn tests(
    items: &[Item<'_>],
    known: &Known<'_>,
    context: &Context<'_>,
    out: &mut Diagnostics,
) -> Vec<RoutingTest> {
    items
        .iter()
        .filter_map(|item| test(item, known, context, out))
        .collect()
}

fn test(
    item: &Item<'_>,
    known: &Known<'_>,
    context: &Context<'_>,
    out: &mut Diagnostics,
) -> Option<RoutingTest> {
    let mut t: Table<'_> = item.table(out)?;
    let hint = "name what the client asks for: name = \"www\"";
    let name = t.required(out, "name", hint, |item, out| asked(item, known, out));
    let failover = t.located(
        out,
        "expect_failover",
        duration(Duration::ZERO..=LONGEST_FAILOVER),
    );
    let failover = failover.map(|own| FailoverTest {
        at: own.at,
        within: own.value,
    });
    // A test of the time alone has no client; what is written about one is incomplete without it.
    let asks = ANSWER_KEYS.iter().any(|key| t.item(key).is_some());
    let answer = if asks || t.item("expect_failover").is_none() {
        Some(answer(&mut t, item.at(), known, context, out))
    } else {
        None
    };
    if let Some(name) = name.as_ref().filter(|_| failover.is_some()) {
        steered(&mut t, name, known, out);
    }
    if !t.finish(out) {
        return None;
    }
    Some(RoutingTest {
        name: name?,
        answer: match answer {
            Some(answer) => Some(answer?),
            None => None,
        },
        failover,
    })
}

/// The keys that say what a client is to get.
const ANSWER_KEYS: [&str; 5] = ["client", "type", "down", "drained", "expect"];
/// A service that may take longer needs no test for it.
const LONGEST_FAILOVER: Duration = Duration::from_secs(30 * 86_400);

/// Reads what a client is to get.
fn answer(
    t: &mut Table<'_>,
    at: At,
    known: &Known<'_>,
    context: &Context<'_>,
    out: &mut Diagnostics,
) -> Option<AnswerTest> {
    let hint = "name the client: client = \"203.0.113.0/24\"";
    let client = t.required(out, "client", hint, prefix);
    let rtype = t.optional(out, "type", rtype);
    let lost = list(|item, out| lost(item, known, context, out));
    let down = t.optional(out, "down", lost).unwrap_or_default();
    let drained = list(|item, out| drained(item, context, out));
    let drained = t.optional(out, "drained", drained).unwrap_or_default();
    let hint =
        "name the expected answer: a region, an address, a target ending in a dot, or \"nodata\"";
    let expect = t.required(out, "expect", hint, |item, out| {
        expect(item, context.regions, out)
    });
    let mut all_down = Part::default();
    for part in down {
        all_down.regions.extend(part.regions);
        all_down.endpoints.extend(part.endpoints);
    }
    Some(AnswerTest {
        at,
        client: client?,
        rtype,
        down: all_down,
        drained: drained.concat(),
        expect: expect?,
    })
}

/// Reports a name that no service steers: it has no region to leave.
fn steered(t: &mut Table<'_>, name: &Name, known: &Known<'_>, out: &mut Diagnostics) {
    let Some(services) = &known.services else {
        return;
    };
    // A record of that very name hides a service at a wildcard.
    let hidden = known.owners.as_ref().is_some_and(|own| own.contains(name));
    if services.contains(name) || !hidden && exists(name, services) {
        return;
    }
    let Some(item) = t.item("name") else { return };
    let message = format!(
        "\"{}\" is no service, so there is no region to leave",
        name.relative_to(known.origin)
    );
    item.error(out, "no-service", message)
        .hint("`expect_failover` is about a service: name one of [services]");
}

const PLACES: &str = "a region, a metro or a label (\"provider:cloud-a\")";
const PLACES_AND_TARGETS: &str =
    "a region, a metro, a label (\"provider:cloud-a\"), an address, or a name ending in a dot";

/// Reads what a test takes as down: places, or an endpoint of the zone.
fn lost(
    item: &Item<'_>,
    known: &Known<'_>,
    context: &Context<'_>,
    out: &mut Diagnostics,
) -> Option<Part> {
    let text = item.string(out, "a region, a metro, a label or an endpoint")?;
    let mut part = Part {
        regions: named(text, context),
        endpoints: Vec::new(),
    };
    if !part.regions.is_empty() {
        return Some(part);
    }
    let Some(target) = target(text) else {
        return unknown(item, text, PLACES_AND_TARGETS, context, out);
    };
    if let Some(endpoints) = &known.endpoints
        && !endpoints.contains(&target)
    {
        let message = format!("no service of the zone has the endpoint {target}");
        item.error(out, "unknown-endpoint", message)
            .hint("write it as its pool does");
        return None;
    }
    part.endpoints.push(target);
    Some(part)
}

/// Parses an address, or a name that ends in a dot.
fn target(text: &str) -> Option<Target> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Target::Address(address));
    }
    let name = Name::from_text(text, None).ok()?;
    text.ends_with('.').then_some(Target::Name(name))
}

/// Reads what a test takes as drained.
fn drained(item: &Item<'_>, context: &Context<'_>, out: &mut Diagnostics) -> Option<Vec<RegionId>> {
    let text = item.string(out, "a region, a metro or a label")?;
    let regions = named(text, context);
    if regions.is_empty() {
        return unknown(item, text, PLACES, context, out);
    }
    Some(regions)
}

fn named(text: &str, context: &Context<'_>) -> Vec<RegionId> {
    // A region that is wrong has been reported, and is known by its name.
    if let Some(region) = context.regions.find(text) {
        return vec![RegionId::from_index(region)];
    }
    let mut sound = Vec::new();
    for (i, region) in context.region_specs.iter().enumerate() {
        if let Some(region) = region {
            sound.push((RegionId::from_index(i), region));
        }
    }
    regions_named(sound.into_iter(), text)
}

fn unknown<T>(
    item: &Item<'_>,
    text: &str,
    expected: &str,
    context: &Context<'_>,
    out: &mut Diagnostics,
) -> Option<T> {
    item.error(
        out,
        "unknown-place",
        format!("\"{text}\" is not {expected}"),
    )
    .hint(context.regions.hint(text));
    None
}

/// Reads the name that a test asks for; one of the zone.
fn asked(item: &Item<'_>, known: &Known<'_>, out: &mut Diagnostics) -> Option<Name> {
    let text = item.string(out, "a name of the zone")?;
    let origin = known.origin;
    let name = match Name::from_text(text, Some(origin)) {
        Ok(name) if name.is_within(origin) => name,
        Ok(_) => {
            let message = format!("\"{text}\" is outside the zone {origin}");
            item.error(out, "unknown-name", message)
                .hint("use a name of this zone: \"www\"");
            return None;
        }
        Err(problem) => {
            let message = format!("\"{text}\" is not a name: {problem}");
            item.error(out, "bad-name", message);
            return None;
        }
    };
    let Some(owners) = &known.owners else {
        return Some(name);
    };
    if exists(&name, owners) {
        return Some(name);
    }
    let written: Vec<String> = owners
        .iter()
        .map(|owner| owner.relative_to(origin))
        .collect();
    let message = format!("the zone has no service or record \"{text}\"");
    let diagnostic = item.error(out, "unknown-name", message);
    match did_you_mean(text, written.iter().map(String::as_str)) {
        Some(near) => diagnostic.hint(format!("did you mean \"{near}\"?")),
        None => diagnostic
            .hint("write the name as this file does: \"www\", or \"@\" for the zone itself"),
    };
    None
}

/// True when the name is an owner, or a wildcard at one of its ancestors can answer for it.
fn exists(name: &Name, owners: &HashSet<Name>) -> bool {
    if owners.contains(name) {
        return true;
    }
    let mut ancestor = name.parent();
    while let Some(above) = ancestor {
        if Name::from_text("*", Some(&above)).is_ok_and(|name| owners.contains(&name)) {
            return true;
        }
        ancestor = above.parent();
    }
    false
}

fn rtype(item: &Item<'_>, out: &mut Diagnostics) -> Option<RrType> {
    let text = item.string(out, "a record type")?;
    let rtype = text.parse().ok();
    if rtype.is_none() {
        item.error(
            out,
            "unknown-type",
            format!("\"{text}\" is not a record type"),
        )
        .hint("write \"A\", \"AAAA\", \"MX\" …, or \"TYPE65400\" for one without a name");
    }
    rtype
}

fn expect(item: &Item<'_>, regions: &Names, out: &mut Diagnostics) -> Option<Expect> {
    let text = item.string(
        out,
        "a region, an address, a target ending in a dot, or \"nodata\"",
    )?;
    if let Some(region) = regions.find(text) {
        return Some(Expect::Region(RegionId::from_index(region)));
    }
    if text == "nodata" {
        return Some(Expect::NoData);
    }
    if let Some(target) = target(text) {
        return Some(Expect::Target(target));
    }
    let message =
        format!("\"{text}\" is not a region, an address, a target ending in a dot, or \"nodata\"");
    item.error(out, regions.unknown_rule(), message)
        .hint(regions.hint(text));
    None
}
