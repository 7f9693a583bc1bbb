//! `[services.*]` of a zone file: services, their pools and endpoints.
//!
//! ```text
//! keys       the keys of one service, and what they make
//! pools      its pools and endpoints
//! inherited  the keys that a pool takes from its service unless it has its own
//! rules      the rules between its route, map and pools
//! units      the keys of route = "unit", and the services that its units are
//! ```

mod inherited;
mod keys;
mod pools;
mod rules;
mod units;

use std::collections::HashMap;

use super::context::{Context, ZoneDefaults};
use super::document::{Item, Located, Table};
use super::kinds::{distinct, name_of};
use super::names::{NO_MAP, Names};
use crate::diag::Diagnostics;
use crate::dns::Name;
use crate::model::{CheckId, Service, Unit};
use crate::zone::Unread;

/// Short enough that a client leaves a dead region soon, long enough that resolvers' caches work.
pub(super) const DEFAULT_TTL: u32 = 20;
/// The default of `ttl_min`, where the TTL is not shorter.
const DEFAULT_TTL_MIN: u32 = 5;

/// The services of a zone, and the names of all that it defines, wrong ones too.
#[derive(Default)]
pub(super) struct Services {
    pub(super) list: Vec<Service>,
    pub(super) names: Vec<Name>,
    /// The names of services that could not be read.
    pub(super) unread: Unread,
}

/// Reads `[services.*]`, in the order of their names.
pub(super) fn services(
    t: &Table<'_>,
    zone: &ZoneDefaults,
    context: &mut Context<'_>,
    out: &mut Diagnostics,
) -> Services {
    let mut seen = Seen::default();
    let mut list = Vec::new();
    let mut unread = Unread::default();
    for (key, item) in t.items() {
        let name = service_name(key, &item, &zone.origin, out);
        match &name {
            None => unread.anywhere = true,
            Some(name) if !seen.add_service(name, key, &item, out) => continue,
            Some(_) => {}
        }
        let read = keys::service(name.clone(), &item, zone, context, out);
        if read.is_empty() {
            unread.names.extend(name);
        }
        for service in read {
            if !seen.add_unit(&service, key, &item, zone, out) {
                break;
            }
            list.push(service);
        }
    }
    // Keys come in the order of their text, and units after their service: ids follow the names.
    list.sort_by(|a, b| a.name.cmp(&b.name));
    let epochs = epoch_names(&list);
    for (name, unit) in &epochs {
        seen.check_epoch(name, unit, t, zone, out);
    }
    let epochs = epochs.into_iter().map(|(name, _)| name);
    let names = seen.by_name.into_keys().chain(epochs).collect();
    Services {
        list,
        names,
        unread,
    }
}

/// The names met so far, each with the way the file writes it.
#[derive(Default)]
struct Seen {
    by_name: HashMap<Name, String>,
}

impl Seen {
    /// Adds the service `name`, written `key`; false where it is there already, which is reported.
    fn add_service(
        &mut self,
        name: &Name,
        key: &str,
        item: &Item<'_>,
        out: &mut Diagnostics,
    ) -> bool {
        if let Some(other) = self.by_name.get(name) {
            let message = format!("\"{key}\" is the same name as \"{other}\"");
            item.key_error(out, "duplicate-service", message)
                .hint("keep one of the two");
            return false;
        }
        self.by_name.insert(name.clone(), key.to_owned());
        true
    }

    /// Adds the name of a unit; one alone has its service's name, which is there already.
    fn add_unit(
        &mut self,
        service: &Service,
        key: &str,
        item: &Item<'_>,
        zone: &ZoneDefaults,
        out: &mut Diagnostics,
    ) -> bool {
        let Some(unit) = &service.unit else {
            return true;
        };
        if unit.rules.count == 1 {
            return true;
        }
        let written = service.name.relative_to(&zone.origin);
        let Some(other) = self.by_name.insert(service.name.clone(), written) else {
            return true;
        };
        let message = format!(
            "unit {} of \"{key}\" has the same name as \"{other}\"",
            unit.index
        );
        item.key_error(out, "duplicate-service", message)
            .hint("rename one of the two");
        false
    }

    /// Reports a service at the name under which the owner of `unit` is answered.
    fn check_epoch(
        &self,
        name: &Name,
        unit: &Service,
        t: &Table<'_>,
        zone: &ZoneDefaults,
        out: &mut Diagnostics,
    ) {
        let Some(other) = self.by_name.get(name) else {
            return;
        };
        let message = format!(
            "\"{other}\" is reserved: its TXT record tells who owns the unit {}",
            unit.name.relative_to(&zone.origin)
        );
        let path = t.key_path(other);
        out.error("duplicate-service", unit.at.clone(), path, message)
            .hint("rename that service");
    }
}

/// The names under which owners are answered, each with its unit.
fn epoch_names(services: &[Service]) -> Vec<(Name, &Service)> {
    let mut names = Vec::new();
    for service in services {
        if service.unit.is_some()
            && let Ok(name) = Unit::epoch_name(&service.name)
        {
            names.push((name, service));
        }
    }
    names
}

/// Reports a `ttl_min` above the `ttl` it is to undercut.
pub(super) fn check_ttl_min(ttl_min: &Located<u32>, ttl: u32, path: &str, out: &mut Diagnostics) {
    if ttl_min.value > ttl {
        let message = format!("ttl_min = {} is above ttl = {ttl}", ttl_min.value);
        out.error("ttl-min-above-ttl", ttl_min.at.clone(), path, message).hint(
            "ttl_min is the shorter TTL of answers while health is in doubt: lower it, or leave it out for min(ttl, 5)",
        );
    }
}

fn service_name(key: &str, item: &Item<'_>, origin: &Name, out: &mut Diagnostics) -> Option<Name> {
    let name = match Name::from_text(key, Some(origin)) {
        Ok(name) => name,
        Err(problem) => {
            let message = format!("\"{key}\" is not a name: {problem}");
            item.key_error(out, "bad-service-name", message);
            return None;
        }
    };
    let message = if !name.is_within(origin) {
        format!("\"{key}\" is outside the zone {origin}")
    } else if !is_service_name(&name) {
        format!("\"{key}\" is not a valid service name")
    } else {
        warn_doubled(key, &name, item, origin, out);
        return Some(name);
    };
    item.key_error(out, "bad-service-name", message).hint(
        "use a name of this zone: \"www\", \"@\" for the zone itself, \"*.app\" for a wildcard",
    );
    None
}

/// True for letters, digits, `-` and `_`, and for `*` where it makes a wildcard.
fn is_service_name(name: &Name) -> bool {
    for (i, label) in name.labels().enumerate() {
        let is_wildcard = i == 0 && label == b"*";
        let is_plain = label
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b));
        if !is_wildcard && !is_plain {
            return false;
        }
    }
    true
}

/// Warns of `www.gtm.example` in the zone `gtm.example`: without its dot it is
/// `www.gtm.example.gtm.example`.
fn warn_doubled(key: &str, name: &Name, item: &Item<'_>, origin: &Name, out: &mut Diagnostics) {
    if key.ends_with('.') || key == "@" || *origin == Name::root() {
        return;
    }
    let Ok(absolute) = Name::from_text(&format!("{key}."), None) else {
        return;
    };
    if absolute.is_within(origin) {
        let message = format!("\"{key}\" is relative to the zone, so the service is {name}");
        item.key_warning(out, "doubled-zone-name", message)
            .hint(format!(
                "write \"{}\", or \"{key}.\" with its final dot",
                absolute.relative_to(origin)
            ));
    }
}

/// Reads the name of a map, or `none`.
pub(super) fn map_name<'a>(
    maps: &'a Names,
) -> impl Fn(&Item<'_>, &mut Diagnostics) -> Option<Option<usize>> + 'a {
    let read = name_of(maps);
    move |item, out| {
        if item.value.as_str() == Some(NO_MAP) {
            Some(None)
        } else {
            read(item, out).map(Some)
        }
    }
}

/// Reads a list of checks, by their names.
fn check_list<'d>(
    names: &Names,
) -> impl FnMut(&Item<'d>, &mut Diagnostics) -> Option<Vec<CheckId>> {
    let read = name_of(names);
    let check =
        move |item: &Item<'d>, out: &mut Diagnostics| read(item, out).map(CheckId::from_index);
    distinct(check, "check")
}
