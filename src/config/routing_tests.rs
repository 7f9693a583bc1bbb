//! `[[tests]]` of a zone file: what a client is to get.

use std::collections::HashSet;
use std::net::IpAddr;

use super::document::{Item, Table};
use super::kinds::{distinct, name_of, prefix};
use super::names::Names;
use crate::diag::{Diagnostics, did_you_mean};
use crate::dns::{Name, RrType};
use crate::model::{Expect, RegionId, RoutingTest, Target};
use crate::zone::Records;

/// Every name of a zone that a test can ask for.
pub(super) fn owners(services: &[Name], records: &Records) -> HashSet<Name> {
    services.iter().cloned().chain(records.iter().map(|record| record.owner_name())).collect()
}

/// Reads the tests of the zone `origin`. Where its records are wrong, its `owners` are not known.
pub(super) fn tests(
    items: &[Item<'_>],
    origin: &Name,
    owners: Option<&HashSet<Name>>,
    regions: &Names,
    out: &mut Diagnostics,
) -> Vec<RoutingTest> {
    items.iter().filter_map(|item| test(item, origin, owners, regions, out)).collect()
}

fn test(
    item: &Item<'_>,
    origin: &Name,
    owners: Option<&HashSet<Name>>,
    regions: &Names,
    out: &mut Diagnostics,
) -> Option<RoutingTest> {
    let mut t: Table<'_> = item.table(out)?;
    let read_region = name_of(regions);
    let region = |item: &Item<'_>, out: &mut Diagnostics| read_region(item, out).map(RegionId::from_index);
    let client = t.required(out, "client", "say who asks: client = \"203.0.113.0/24\"", prefix);
    let name = t.required(out, "name", "say what is asked: name = \"www\"", |item, out| asked(item, origin, owners, out));
    let rtype = t.optional(out, "type", rtype);
    let down = t.optional(out, "down", distinct(region, "region")).unwrap_or_default();
    let hint = "say what is due: a region, an address, a target ending in a dot, or \"nodata\"";
    let expect = t.required(out, "expect", hint, |item, out| expect(item, regions, out));
    if !t.finish(out) {
        return None;
    }
    Some(RoutingTest { at: item.at(), client: client?, name: name?, rtype, down, expect: expect? })
}

fn asked(item: &Item<'_>, origin: &Name, owners: Option<&HashSet<Name>>, out: &mut Diagnostics) -> Option<Name> {
    let text = item.string(out, "a name of the zone")?;
    let name = match Name::from_text(text, Some(origin)) {
        Ok(name) if name.is_within(origin) => name,
        Ok(_) => {
            item.error(out, "unknown-name", format!("\"{text}\" is outside the zone {origin}"))
                .hint("write a name of this zone: \"www\"");
            return None;
        }
        Err(problem) => {
            item.error(out, "bad-name", format!("\"{text}\" is not a name: {problem}"));
            return None;
        }
    };
    let Some(owners) = owners.filter(|owners| !exists(&name, owners)) else { return Some(name) };
    let known: Vec<String> = owners.iter().map(|owner| owner.relative_to(origin)).collect();
    let diagnostic = item.error(out, "unknown-name", format!("the zone has no service or record \"{text}\""));
    match did_you_mean(text, known.iter().map(String::as_str)) {
        Some(near) => diagnostic.hint(format!("did you mean \"{near}\"?")),
        None => diagnostic.hint("write the name as in this file: \"www\", \"@\" for the zone itself"),
    };
    None
}

/// True when the name is an owner, or a wildcard at one of its ancestors can answer for it.
fn exists(name: &Name, owners: &HashSet<Name>) -> bool {
    let mut ancestors = std::iter::successors(name.parent(), Name::parent);
    let wildcard = |ancestor: Name| Name::from_text("*", Some(&ancestor)).is_ok_and(|name| owners.contains(&name));
    owners.contains(name) || ancestors.any(wildcard)
}

fn rtype(item: &Item<'_>, out: &mut Diagnostics) -> Option<RrType> {
    let text = item.string(out, "a record type")?;
    let rtype = text.parse().ok();
    if rtype.is_none() {
        item.error(out, "unknown-type", format!("\"{text}\" is not a record type"))
            .hint("write \"A\", \"AAAA\", \"MX\" …, or \"TYPE65400\" for one without a name");
    }
    rtype
}

fn expect(item: &Item<'_>, regions: &Names, out: &mut Diagnostics) -> Option<Expect> {
    let text = item.string(out, "a region, an address, a target ending in a dot, or \"nodata\"")?;
    if let Some(region) = regions.find(text) {
        return Some(Expect::Region(RegionId::from_index(region)));
    }
    if text == "nodata" {
        return Some(Expect::NoData);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Expect::Target(Target::Address(address)));
    }
    if let Some(name) = Name::from_text(text, None).ok().filter(|_| text.ends_with('.')) {
        return Some(Expect::Target(Target::Name(name)));
    }
    let message = format!("\"{text}\" is no region, no address, no target ending in a dot, and not \"nodata\"");
    item.error(out, regions.unknown_rule(), message).hint(regions.hint(text));
    None
}
