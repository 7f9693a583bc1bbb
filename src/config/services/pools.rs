//! The pools of a service, and their endpoints.

use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::Range;

use toml::de::DeValue;

use super::check_list;
use super::inherited::{Probing, min_up, probing, weight};
use crate::config::context::Context;
use crate::config::document::{Item, Located, Table};
use crate::config::kinds::{address, distinct, integer, list};
use crate::diag::Diagnostics;
use crate::dns::{Name, NameError};
use crate::model::{
    CheckId, Endpoint, Family, Pool, RegionId, Route, Share, Target, TargetId, Weight,
};

/// The most endpoints of a service, in all its pools: plans count them in 16 bits.
const MAX_ENDPOINTS: usize = 65_535;
/// The most addresses of a last resort.
const MAX_FALLBACK: usize = 1000;

/// The keys of a service that its pools depend on or inherit.
pub(super) struct ServicePools {
    /// `None` where it is wrong and has been reported.
    pub(super) route: Option<Route>,
    pub(super) min_up: Share,
    pub(super) probing: Probing,
}

/// An endpoint and where it stands.
type Placed = (Endpoint, Range<usize>);

/// Reads `pools` of the service `item` in the order of their regions; at least one.
pub(super) fn pools(
    t: &mut Table<'_>,
    item: &Item<'_>,
    service: &ServicePools,
    context: &mut Context<'_>,
    out: &mut Diagnostics,
) -> Option<Vec<Located<Pool>>> {
    let hint = format!(
        "add one: [{}.pools] with REGION = {{ endpoints = [\"192.0.2.1\"] }}",
        item.path
    );
    if t.item("pools").is_none() {
        let message = "the service has no pools";
        out.error("service-without-pools", t.at(), t.path.clone(), message)
            .hint(&hint);
    }
    t.optional(out, "pools", |section, out| {
        pool_list(section, service, &hint, context, out)
    })
}

fn pool_list(
    section: &Item<'_>,
    service: &ServicePools,
    hint: &str,
    context: &mut Context<'_>,
    out: &mut Diagnostics,
) -> Option<Vec<Located<Pool>>> {
    let mut sound = true;
    let mut pools = Vec::new();
    for (name, item) in section.table(out)?.items() {
        match pool(name, &item, service, context, out) {
            Some(pool) => pools.push(pool),
            None => sound = false,
        }
    }
    if !sound {
        return None;
    }
    if pools.is_empty() {
        section
            .key_error(out, "service-without-pools", "the service has no pools")
            .hint(hint);
        return None;
    }
    pools.sort_by_key(|pool| pool.value.region);
    check_count(&pools, section, out).then_some(pools)
}

/// Reports more endpoints than a plan can count.
fn check_count(pools: &[Located<Pool>], section: &Item<'_>, out: &mut Diagnostics) -> bool {
    let count: usize = pools.iter().map(|pool| pool.value.endpoints.len()).sum();
    if count <= MAX_ENDPOINTS {
        return true;
    }
    let message = format!("the service has {count} endpoints; the limit is {MAX_ENDPOINTS}");
    section
        .key_error(out, "too-many", message)
        .hint("list load balancers instead, each with many servers behind it");
    false
}

fn pool(
    name: &str,
    item: &Item<'_>,
    service: &ServicePools,
    context: &mut Context<'_>,
    out: &mut Diagnostics,
) -> Option<Located<Pool>> {
    let regions = context.regions;
    let region = regions.find(name);
    if region.is_none() {
        let message = format!("there is no region \"{name}\"");
        item.key_error(out, regions.unknown_rule(), message)
            .hint(regions.hint(name));
    }
    if let DeValue::Array(_) | DeValue::String(_) = item.value {
        let list = match item.value {
            DeValue::Array(_) => item.written(),
            _ => format!("[{}]", item.written()),
        };
        item.wrong_type(out, "a table")
            .hint(format!("write {name} = {{ endpoints = {list} }}"));
        return None;
    }
    let mut t = item.table(out)?;
    let weight = t.optional(out, "weight", weight).unwrap_or(Weight::ONE);
    let priority = t.located(out, "priority", integer(1..=1_000_000, ""));
    if let (Some(priority), Some(Route::Nearest | Route::Weighted | Route::Sticky)) =
        (&priority, service.route)
    {
        let message = "`priority` does nothing unless route = \"priority\"";
        let (at, path) = (priority.at.clone(), t.key_path("priority"));
        out.warning("useless-key", at, path, message)
            .hint("remove it, or change the route of the service");
    }
    let min_up = min_up(&mut t, service.min_up, out);
    let probing = probing(&mut t, &service.probing, context, out);
    let hint = "list its addresses: endpoints = [\"192.0.2.1\"]";
    let endpoints = t.required(out, "endpoints", hint, |item, out| {
        endpoints(item, &probing, context, out)
    });
    if !t.finish(out) {
        return None;
    }
    let pool = Pool {
        region: RegionId::from_index(region?),
        weight,
        priority: priority.map_or(1, |priority| priority.value),
        min_up,
        endpoints: endpoints?,
    };
    Some(Located {
        value: pool,
        at: item.key_at(),
    })
}

/// Reads the endpoints of a pool, and checks the rules between them.
fn endpoints(
    item: &Item<'_>,
    probing: &Probing,
    context: &mut Context<'_>,
    out: &mut Diagnostics,
) -> Option<Vec<Endpoint>> {
    let read = list(|item: &Item<'_>, out: &mut Diagnostics| {
        Some((endpoint(item, probing, context, out)?, item.span.clone()))
    })(item, out)?;
    if read.is_empty() {
        item.error(out, "pool-without-endpoints", "the pool has no endpoints")
            .hint(
                "list its addresses, or remove the pool; to make a pool a standby, set weight = 0",
            );
        return None;
    }
    // All rules are looked at, one after the other: each reports its own.
    let sound = [
        check_distinct(&read, item, out),
        check_one_kind(&read, item, out),
        check_weights(&read, item, out),
    ];
    // Of its own size, as the list of pools is.
    let mut endpoints = Vec::with_capacity(read.len());
    endpoints.extend(read.into_iter().map(|(endpoint, _)| endpoint));
    (sound == [true; 3]).then_some(endpoints)
}

/// Reports an endpoint that the pool has twice.
fn check_distinct(read: &[Placed], item: &Item<'_>, out: &mut Diagnostics) -> bool {
    let mut sound = true;
    let mut seen = HashSet::with_capacity(read.len());
    for (i, (endpoint, span)) in read.iter().enumerate() {
        if !seen.insert(&endpoint.target) {
            sound = false;
            let message = format!("{} is listed twice in the pool", endpoint.target);
            let at = item.document.at(span.clone());
            let path = format!("{}[{i}]", item.path);
            out.error("duplicate-endpoint", at, path, message)
                .hint("list it once; to give it a larger share, raise its `weight`");
        }
    }
    sound
}

/// Reports a pool with names and addresses: an answer from it is one or the other.
fn check_one_kind(read: &[Placed], item: &Item<'_>, out: &mut Diagnostics) -> bool {
    let first = &read[0].0.target;
    for (i, (endpoint, span)) in read.iter().enumerate() {
        let (name, address) = match (first, &endpoint.target) {
            (Target::Name(_), address @ Target::Address(_)) => (first, address),
            (Target::Address(_), name @ Target::Name(_)) => (name, first),
            _ => continue,
        };
        let message = format!(
            "the pool mixes the name {name} with the address {address}: a client gets either a CNAME or addresses"
        );
        let at = item.document.at(span.clone());
        let path = format!("{}[{i}]", item.path);
        out.error("cname-endpoint-beside-addresses", at, path, message)
            .hint("move the name to a region of its own; regions with the same `metro` are equally near");
        return false;
    }
    true
}

/// Reports a family of which no endpoint would ever be chosen.
fn check_weights(read: &[Placed], item: &Item<'_>, out: &mut Diagnostics) -> bool {
    for family in Family::BOTH {
        let (mut offered, mut weighted) = (false, false);
        for (endpoint, _) in read {
            if endpoint.target.families().contains(family) {
                offered = true;
                weighted |= endpoint.weight.get() > 0;
            }
        }
        if !offered || weighted {
            continue;
        }
        let all = match family {
            Family::V4 => "all IPv4 endpoints",
            Family::V6 => "all IPv6 endpoints",
        };
        let message =
            format!("{all} of the pool have weight 0, so none of them would ever be chosen");
        item.error(out, "all-weights-zero", message).hint(
            "give at least one of them a weight; to make the whole pool a standby, set weight = 0 on the pool",
        );
        return false;
    }
    true
}

fn endpoint(
    item: &Item<'_>,
    probing: &Probing,
    context: &mut Context<'_>,
    out: &mut Diagnostics,
) -> Option<Endpoint> {
    let (target, weight, checks) = match item.value {
        DeValue::Table(_) => written_out(item, context, out)?,
        _ => (plain_target(item, out)?, Weight::ONE, None),
    };
    let checks = checks.as_ref().unwrap_or(&probing.checks);
    let probes: Vec<TargetId> = checks
        .iter()
        .map(|check| context.targets.id(*check, &target))
        .collect();
    Some(Endpoint {
        target,
        weight,
        probes,
        need: probing.need,
    })
}

/// An endpoint written as a table; the checks are its own, if it has any.
fn written_out(
    item: &Item<'_>,
    context: &Context<'_>,
    out: &mut Diagnostics,
) -> Option<(Target, Weight, Option<Vec<CheckId>>)> {
    let mut t = item.table(out)?;
    let address = t.located(out, "address", usable_address);
    let target = t.located(out, "target", target_name);
    let weight = t.optional(out, "weight", weight).unwrap_or(Weight::ONE);
    let checks = t.optional(out, "checks", check_list(context.checks));
    if !t.finish(out) {
        return None;
    }
    let target = match (address, target) {
        (Some(address), None) => Target::Address(address.value),
        (None, Some(target)) => Target::Name(target.value),
        (Some(_), Some(target)) => {
            let message = "the endpoint has both `address` and `target`";
            let path = item.path.clone();
            out.error("address-and-target", target.at, path, message)
                .hint("keep one: an address is answered as A or AAAA, a target as CNAME");
            return None;
        }
        (None, None) => {
            let message = "the endpoint has neither `address` nor `target`";
            item.error(out, "missing-key", message)
                .hint("write { address = \"192.0.2.1\" } or { target = \"lb.example.net.\" }");
            return None;
        }
    };
    Some((target, weight, checks))
}

/// Reads the addresses of a last resort.
pub(super) fn last_resort(item: &Item<'_>, out: &mut Diagnostics) -> Option<Vec<IpAddr>> {
    let addresses = distinct(usable_address, "address")(item, out)?;
    let count = addresses.len();
    if count > MAX_FALLBACK {
        let message = format!("the list has {count} addresses; the limit is {MAX_FALLBACK}");
        item.error(out, "too-many", message);
        return None;
    }
    Some(addresses)
}

/// Reads an address that can be answered: not `0.0.0.0`, `::`, or of a group.
fn usable_address(item: &Item<'_>, out: &mut Diagnostics) -> Option<IpAddr> {
    let address = address(item, out)?;
    check_usable(address, item, out)
}

fn check_usable(address: IpAddr, item: &Item<'_>, out: &mut Diagnostics) -> Option<IpAddr> {
    if address.is_unspecified() || address.is_multicast() {
        let message = format!("{address} is not the address of a single host");
        item.error(out, "bad-address", message);
        return None;
    }
    Some(address)
}

/// A plain string: an address, or a name that ends in a dot.
fn plain_target(item: &Item<'_>, out: &mut Diagnostics) -> Option<Target> {
    let Some(text) = item.value.as_str() else {
        item.wrong_type(
            out,
            "an address, a name ending in a dot, or { address = … }",
        );
        return None;
    };
    if let Ok(address) = text.parse() {
        return check_usable(address, item, out).map(Target::Address);
    }
    // Of what is neither, the message is about what it looks most like.
    let looks_like_name =
        text.bytes().any(|b| b.is_ascii_alphabetic()) && !text.contains([':', '/', ' ']);
    if looks_like_name {
        target_name(item, out).map(Target::Name)
    } else {
        address(item, out).map(Target::Address)
    }
}

/// Reads the target of a CNAME, absolute.
fn target_name(item: &Item<'_>, out: &mut Diagnostics) -> Option<Name> {
    let text = item.string(out, "a name ending in a dot")?;
    if text.parse::<IpAddr>().is_ok() {
        let message = format!("\"{text}\" is an address, not a name");
        item.error(out, "bad-target", message)
            .hint(format!("write address = \"{text}\""));
        return None;
    }
    match Name::from_text(text, None) {
        // Programs of checks are given the target: it holds nothing that a shell would act on.
        Ok(name) if !is_host_name(&name) => {
            let message = format!("\"{text}\" is not a host name");
            item.error(out, "bad-target", message)
                .hint("use letters, digits, `-` and `_`")
        }
        Ok(name) if name.labels().next().is_some() => return Some(name),
        Ok(_) => item.error(out, "bad-target", "the root cannot be a target"),
        Err(NameError::Relative) => {
            let message = format!("\"{text}\" is neither an address nor a name ending in a dot");
            item.error(out, "relative-target", message).hint(format!(
                "write \"{text}.\" if that is the full name of the host"
            ))
        }
        Err(problem) => item.error(out, "bad-target", format!("\"{text}\": {problem}")),
    };
    None
}

fn is_host_name(name: &Name) -> bool {
    name.labels()
        .flatten()
        .all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(octet))
}
