//! Rules about what a zone hands to others: delegations and DNAMEs.

use super::Report;
use super::index::{Index, Kinds, Place};
use crate::dns::{RrType, is_within};

pub(super) fn data_below_dname(index: &Index<'_>, report: &mut Report<'_>) {
    // "Resource records MUST NOT exist at any subdomain of the owner of a DNAME RR" (RFC 6672
    // §2.4).
    if !index.has_dnames {
        return;
    }
    const HINT: &str = "the DNAME renames everything below it: remove one of the two";
    for (at, owner) in index.owners.iter().enumerate() {
        if index.cut_of_owner(at).is_some() {
            continue;
        }
        if let Some(dname) = index.dname_above(index.owner_name(owner)) {
            let record = index.zone.records.get(owner.first as usize);
            report.add(|| {
                index.at_record(
                    &record,
                    format!(
                        "the record stands below the DNAME of {}",
                        index.shown(dname)
                    ),
                    HINT,
                )
            });
        }
    }
    for service in index.zone.services {
        if let Some(dname) = index.dname_above(service.name.as_wire()) {
            report.add(|| {
                index.at_service(
                    service,
                    format!(
                        "the service stands below the DNAME of {}",
                        index.shown(dname)
                    ),
                    HINT,
                )
            });
        }
    }
}

pub(super) fn glue_missing(index: &Index<'_>, report: &mut Report<'_>) {
    for (record, target, place) in index.targets() {
        // Only the addresses of servers inside what they serve cannot be found anywhere else.
        if record.rtype != RrType::NS
            || index.is_apex(record.owner)
            || !is_within(target, record.owner)
        {
            continue;
        }
        let Place::Delegated { owner } = place else {
            continue;
        };
        if index.is_unread(target) {
            continue;
        }
        let has_glue = owner.is_some_and(|(_, owner)| owner.kinds.any(Kinds::A.or(Kinds::AAAA)));
        if !has_glue && index.service(target).is_none() {
            report.add(|| {
                let message = format!(
                    "the name server {} lies inside the delegation it serves, but has no glue",
                    index.shown(target)
                );
                index.at_record(
                    &record,
                    message,
                    "write its A or AAAA records into this zone too",
                )
            });
        }
    }
}

pub(super) fn data_below_delegation(index: &Index<'_>, report: &mut Report<'_>) {
    if !index.has_cuts {
        return;
    }
    let servers = name_servers(index);
    for (at, owner) in index.owners.iter().enumerate() {
        let Some(cut) = index.cut_of_owner(at) else {
            continue;
        };
        let at_cut = index.owner_name(owner).len() == cut.len();
        let is_glue = || servers[at];
        let foreign = index
            .records(owner)
            .map(|(_, record)| record)
            .find(|record| match record.rtype {
                RrType::A | RrType::AAAA => !is_glue(),
                // "the parent zone's … DS RRset" and what proves it (RFC 4035 §2.4, §2.6).
                RrType::NS | RrType::DS | RrType::NSEC | RrType::RRSIG => !at_cut,
                _ => true,
            });
        if let Some(record) = foreign {
            report.add(|| {
                let message = match at_cut {
                    true => "the record stands at a delegation, whose own servers answer for the name".to_owned(),
                    false => {
                        format!("the record stands below the delegation of {} and is not the address of a name server", index.shown(cut))
                    }
                };
                index.at_record(&record, message, "it is not served: move it into the delegated zone, or remove the NS records")
            });
        }
    }
}

pub(super) fn service_below_delegation(index: &Index<'_>, report: &mut Report<'_>) {
    for service in index.zone.services {
        if let Some(cut) = index.cut(service.name.as_wire()) {
            report.add(|| {
                let message = format!(
                    "the service stands at or below the delegation of {}",
                    index.shown(cut)
                );
                index.at_service(
                    service,
                    message,
                    "move it into the delegated zone, or remove the NS records",
                )
            });
        }
    }
}

/// For each owner, true when some NS record points at it, so that its addresses are glue.
fn name_servers(index: &Index<'_>) -> Vec<bool> {
    let mut servers = vec![false; index.owners.len()];
    for (record, _, place) in index.targets() {
        if let Place::Delegated {
            owner: Some((at, _)),
        }
        | Place::Found {
            owner: Some((at, _)),
            ..
        } = place
        {
            servers[at] |= record.rtype == RrType::NS;
        }
    }
    servers
}
