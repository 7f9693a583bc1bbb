//! `[[tests]]` of a zone file: what a client is to get.

use std::collections::HashSet;
use std::net::IpAddr;

use super::document::{Item, Table};
use super::kinds::{list, prefix};
use super::names::Names;
use super::zones::Context;
use crate::diag::{Diagnostics, did_you_mean};
use crate::dns::{Name, RrType};
use crate::model::{Expect, Part, RegionId, RoutingTest, Target, regions_named};
use crate::zone::Records;

/// Every name of a zone that a test can ask for.
pub(super) fn owners(services: &[Name], records: &Records) -> HashSet<Name> {
    services
        .iter()
        .cloned()
        .chain(records.iter().map(|record| record.owner_name()))
        .collect()
}

/// Reads the tests of the zone `origin`. Where its records or services are wrong, its `owners` or `endpoints` are not known.
pub(super) fn tests(
    items: &[Item<'_>],
    origin: &Name,
    owners: Option<&HashSet<Name>>,
    endpoints: Option<&HashSet<&Target>>,
    context: &Context<'_>,
    out: &mut Diagnostics,
) -> Vec<RoutingTest> {
    items
        .iter()
        .filter_map(|item| test(item, origin, owners, endpoints, context, out))
        .collect()
}

fn test(
    item: &Item<'_>,
    origin: &Name,
    owners: Option<&HashSet<Name>>,
    endpoints: Option<&HashSet<&Target>>,
    context: &Context<'_>,
    out: &mut Diagnostics,
) -> Option<RoutingTest> {
    let mut t: Table<'_> = item.table(out)?;
    let client = t.required(
        out,
        "client",
        "say who asks: client = \"203.0.113.0/24\"",
        prefix,
    );
    let name = t.required(
        out,
        "name",
        "say what is asked: name = \"www\"",
        |item, out| asked(item, origin, owners, out),
    );
    let rtype = t.optional(out, "type", rtype);
    let down = t
        .optional(
            out,
            "down",
            list(|item, out| lost(item, endpoints, context, out)),
        )
        .unwrap_or_default();
    let drained = t
        .optional(
            out,
            "drained",
            list(|item, out| drained(item, context, out)),
        )
        .unwrap_or_default();
    let hint = "say what is due: a region, an address, a target ending in a dot, or \"nodata\"";
    let expect = t.required(out, "expect", hint, |item, out| {
        expect(item, context.regions, out)
    });
    if !t.finish(out) {
        return None;
    }
    let down = down.into_iter().fold(Part::default(), |mut all, part| {
        all.regions.extend(part.regions);
        all.endpoints.extend(part.endpoints);
        all
    });
    Some(RoutingTest {
        at: item.at(),
        client: client?,
        name: name?,
        rtype,
        down,
        drained: drained.concat(),
        expect: expect?,
    })
}

const PLACES: &str = "region, metro or label (\"provider:cloud-a\")";

/// What a test takes as down: places, or an endpoint of the zone.
fn lost(
    item: &Item<'_>,
    endpoints: Option<&HashSet<&Target>>,
    context: &Context<'_>,
    out: &mut Diagnostics,
) -> Option<Part> {
    let text = item.string(out, "a region, a metro, a label or an endpoint")?;
    let regions = named(text, context);
    if !regions.is_empty() {
        return Some(Part {
            regions,
            endpoints: Vec::new(),
        });
    }
    let target = match text.parse::<IpAddr>() {
        Ok(address) => Some(Target::Address(address)),
        Err(_) => Name::from_text(text, None)
            .ok()
            .filter(|_| text.ends_with('.'))
            .map(Target::Name),
    };
    let Some(target) = target else {
        return unknown(
            item,
            text,
            &format!("{PLACES}, nor an address or a name ending in a dot"),
            context,
            out,
        );
    };
    if endpoints.is_some_and(|endpoints| !endpoints.contains(&target)) {
        item.error(
            out,
            "unknown-endpoint",
            format!("no service of the zone has the endpoint {target}"),
        )
        .hint("write it as in its pool");
        return None;
    }
    Some(Part {
        regions: Vec::new(),
        endpoints: vec![target],
    })
}

/// What a test takes as drained.
fn drained(item: &Item<'_>, context: &Context<'_>, out: &mut Diagnostics) -> Option<Vec<RegionId>> {
    let text = item.string(out, "a region, a metro or a label")?;
    let regions = named(text, context);
    if regions.is_empty() {
        unknown(item, text, PLACES, context, out)
    } else {
        Some(regions)
    }
}

fn named(text: &str, context: &Context<'_>) -> Vec<RegionId> {
    // One that is wrong has been reported, and is known by its name.
    if let Some(region) = context.regions.find(text) {
        return vec![RegionId::from_index(region)];
    }
    let regions = context.region_specs.iter().enumerate();
    regions_named(
        regions.filter_map(|(i, region)| Some((RegionId::from_index(i), region.as_ref()?))),
        text,
    )
}

fn unknown<T>(
    item: &Item<'_>,
    text: &str,
    known: &str,
    context: &Context<'_>,
    out: &mut Diagnostics,
) -> Option<T> {
    item.error(out, "unknown-place", format!("\"{text}\" is no {known}"))
        .hint(context.regions.hint(text));
    None
}

fn asked(
    item: &Item<'_>,
    origin: &Name,
    owners: Option<&HashSet<Name>>,
    out: &mut Diagnostics,
) -> Option<Name> {
    let text = item.string(out, "a name of the zone")?;
    let name = match Name::from_text(text, Some(origin)) {
        Ok(name) if name.is_within(origin) => name,
        Ok(_) => {
            item.error(
                out,
                "unknown-name",
                format!("\"{text}\" is outside the zone {origin}"),
            )
            .hint("write a name of this zone: \"www\"");
            return None;
        }
        Err(problem) => {
            item.error(
                out,
                "bad-name",
                format!("\"{text}\" is not a name: {problem}"),
            );
            return None;
        }
    };
    let Some(owners) = owners.filter(|owners| !exists(&name, owners)) else {
        return Some(name);
    };
    let known: Vec<String> = owners
        .iter()
        .map(|owner| owner.relative_to(origin))
        .collect();
    let diagnostic = item.error(
        out,
        "unknown-name",
        format!("the zone has no service or record \"{text}\""),
    );
    match did_you_mean(text, known.iter().map(String::as_str)) {
        Some(near) => diagnostic.hint(format!("did you mean \"{near}\"?")),
        None => {
            diagnostic.hint("write the name as in this file: \"www\", \"@\" for the zone itself")
        }
    };
    None
}

/// True when the name is an owner, or a wildcard at one of its ancestors can answer for it.
fn exists(name: &Name, owners: &HashSet<Name>) -> bool {
    let mut ancestors = std::iter::successors(name.parent(), Name::parent);
    let wildcard = |ancestor: Name| {
        Name::from_text("*", Some(&ancestor)).is_ok_and(|name| owners.contains(&name))
    };
    owners.contains(name) || ancestors.any(wildcard)
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
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Expect::Target(Target::Address(address)));
    }
    if let Some(name) = Name::from_text(text, None)
        .ok()
        .filter(|_| text.ends_with('.'))
    {
        return Some(Expect::Target(Target::Name(name)));
    }
    let message = format!(
        "\"{text}\" is no region, no address, no target ending in a dot, and not \"nodata\""
    );
    item.error(out, regions.unknown_rule(), message)
        .hint(regions.hint(text));
    None
}
