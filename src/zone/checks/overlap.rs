//! Rules about several zones beside each other.

use std::collections::{HashMap, HashSet};

use super::ZoneUnderCheck;
use crate::diag::Diagnostics;
use crate::dns::{Name, RrType};

/// Checks that no two zones claim the same names: no origin comes twice (`zone-twice`), and a zone
/// inside another loaded one is delegated by it, at its origin or above (`zone-not-delegated`): the
/// parent would otherwise answer differently where it is served without the child.
pub fn check_overlap(zones: &[ZoneUnderCheck<'_>], diagnostics: &mut Diagnostics) {
    let mut by_origin: HashMap<&Name, usize> = HashMap::new();
    for (at, zone) in zones.iter().enumerate() {
        let first = *by_origin.entry(zone.origin).or_insert(at);
        if first != at {
            let message = format!(
                "the zone {} is already defined at {}",
                zone.origin, zones[first].at
            );
            diagnostics
                .error("zone-twice", zone.at.clone(), "zone", message)
                .hint("remove one of the two files, or merge them");
        }
    }
    let mut delegations: HashMap<usize, HashSet<Name>> = HashMap::new();
    for zone in zones {
        let Some(parent) = enclosing(zone.origin, &by_origin) else {
            continue;
        };
        let above = &zones[parent];
        let cuts = delegations.entry(parent).or_insert_with(|| cuts(above));
        let delegated = ancestors(zone.origin)
            .take_while(|name| name != above.origin)
            .any(|name| cuts.contains(&name));
        if !delegated && !above.unread.covers(zone.origin) {
            let name = zone.origin.relative_to(above.origin);
            let message = format!(
                "{} lies inside the zone {} of {}, which does not delegate it",
                zone.origin, above.origin, above.at
            );
            diagnostics
                .error("zone-not-delegated", zone.at.clone(), "zone", message)
                .hint(format!(
                    "write NS records for {name} into {}, or move this zone's records there",
                    above.origin
                ));
        }
    }
}

/// The nearest zone above `origin`.
fn enclosing(origin: &Name, by_origin: &HashMap<&Name, usize>) -> Option<usize> {
    ancestors(origin)
        .skip(1)
        .find_map(|name| by_origin.get(&name).copied())
}

/// The name and those above it.
fn ancestors(name: &Name) -> impl Iterator<Item = Name> {
    std::iter::successors(Some(name.clone()), Name::parent)
}

/// The names that a zone delegates.
fn cuts(zone: &ZoneUnderCheck<'_>) -> HashSet<Name> {
    let servers = zone
        .records
        .iter()
        .filter(|record| record.rtype == RrType::NS);
    servers
        .map(|record| record.owner_name())
        .filter(|name| name != zone.origin)
        .collect()
}
