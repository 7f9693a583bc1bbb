//! Rules about services among static records.

use std::collections::{HashMap, HashSet};

use super::Report;
use super::index::{Index, Kinds};
use super::targets::cname_endpoint;
use crate::dns::Name;
use crate::model::{Service, SvcbSet, Unit};

pub(super) fn service_beside_records(index: &Index<'_>, report: &mut Report<'_>) {
    for service in index.zone.services {
        let record = index.find(service.name.as_wire()).and_then(|(_, owner)| {
            index.first_of(owner, Kinds::A.or(Kinds::AAAA).or(Kinds::CNAME))
        });
        if let Some(record) = record {
            report.add(|| {
                let message = format!(
                    "the name of the service also has the {} record at {}",
                    record.rtype,
                    record.at()
                );
                index.at_service(
                    service,
                    message,
                    "remove the record: the service answers for the name",
                )
            });
        }
    }
}

pub(super) fn epoch_beside_records(index: &Index<'_>, report: &mut Report<'_>) {
    let any = Kinds::A
        .or(Kinds::AAAA)
        .or(Kinds::CNAME)
        .or(Kinds::NS)
        .or(Kinds::DNAME)
        .or(Kinds::DNSSEC)
        .or(Kinds::OTHER);
    for service in index.zone.services {
        if service.unit.is_none() {
            continue;
        }
        let Ok(epoch) = Unit::epoch_name(&service.name) else {
            continue;
        };
        let record = index
            .find(epoch.as_wire())
            .and_then(|(_, owner)| index.first_of(owner, any));
        if let Some(record) = record {
            report.add(|| {
                let message = format!(
                    "{} also has the {} record at {}",
                    epoch.relative_to(index.zone.origin),
                    record.rtype,
                    record.at()
                );
                index.at_service(
                    service,
                    message,
                    "remove the record: the service answers with the unit's owner there",
                )
            });
        }
    }
}

pub(super) fn hint_without_family(index: &Index<'_>, report: &mut Report<'_>) {
    if index.zone.services.is_empty() {
        return;
    }
    for record in index.zone.records.iter() {
        if !SvcbSet::TYPES.contains(&record.rtype) || !SvcbSet::is_steered(record.rdata) {
            continue;
        }
        let Some((_, service)) = index.service(record.owner) else {
            continue;
        };
        for family in SvcbSet::hinted(record.rdata) {
            if service.families().contains(family) {
                continue;
            }
            report.add(|| {
                let message = format!(
                    "the record has {family} hints, but the service has no {family} addresses"
                );
                index.at_record(
                    &record,
                    message,
                    "remove the hint: its addresses are taken from the service's endpoints",
                )
            });
        }
    }
}

pub(super) fn blocks_wildcard(index: &Index<'_>, report: &mut Report<'_>) {
    let mut wildcards: HashMap<Vec<u8>, &Service> = HashMap::new();
    for service in index.zone.services {
        if service.name.is_wildcard() {
            let parent = service.name.as_wire()[2..].to_ascii_lowercase();
            wildcards.insert(parent, service);
        }
    }
    if wildcards.is_empty() {
        return;
    }
    let mut found = HashSet::new();
    let records = index.owners.iter().map(|owner| index.owner_name(owner));
    let services = index.zone.services.iter();
    for name in records.chain(services.map(|service| service.name.as_wire())) {
        // Every name up to the apex exists because of this one, be it empty.
        let mut rest = name;
        while !index.is_apex(rest) && index.cut(rest).is_none() {
            let (child, parent) = (rest, &rest[1 + usize::from(rest[0])..]);
            rest = parent;
            let Some(wildcard) = wildcards.get(&parent.to_ascii_lowercase()) else {
                continue;
            };
            if !is_blocked(index, child) || !found.insert(child.to_ascii_lowercase()) {
                continue;
            }
            report.add(|| {
                let (child, name) = (index.shown(child), index.shown(name));
                let because = match child == name {
                    true => String::new(),
                    false => format!(" because of {name}"),
                };
                let message = format!(
                    "{child} exists{because}, so the wildcard does not answer there (RFC 4592), and it has no addresses of its own"
                );
                let hint = "add a service of that name too, with the pools of the wildcard";
                index.at_service(wildcard, message, hint)
            });
        }
    }
}

/// True for a name with nothing of its own to answer clients with.
fn is_blocked(index: &Index<'_>, name: &[u8]) -> bool {
    // Nobody asks for the address of a name like _dmarc, and the wildcard itself is in nobody's
    // way.
    if name.starts_with(b"\x01*") || name[1] == b'_' || index.is_unread(name) {
        return false;
    }
    let answers = Kinds::A
        .or(Kinds::AAAA)
        .or(Kinds::CNAME)
        .or(Kinds::NS)
        .or(Kinds::DNAME);
    if let Some((_, owner)) = index.find(name)
        && owner.kinds.any(answers)
    {
        return false;
    }
    index.service(name).is_none()
}

pub(super) fn acme_below_wildcard(index: &Index<'_>, report: &mut Report<'_>) {
    for service in index.zone.services {
        if !service.name.is_wildcard() {
            continue;
        }
        let Some((_, target)) = cname_endpoint(index, service) else {
            continue;
        };
        let Some(challenge) = service
            .name
            .parent()
            .and_then(|parent| Name::from_text("_acme-challenge", Some(&parent)).ok())
        else {
            continue;
        };
        if index.find(challenge.as_wire()).is_none() && !index.is_unread(challenge.as_wire()) {
            report.add(|| {
                let message = format!(
                    "the wildcard answers for {} too, with a CNAME: a certificate authority looks for the challenge at {target}",
                    challenge.relative_to(index.zone.origin)
                );
                index.at_service(
                    service,
                    message,
                    "if you validate certificates by DNS, write a TXT record of that name, or a CNAME to the name that has it",
                )
            });
        }
    }
}

pub(super) fn cname_endpoint_at_apex(index: &Index<'_>, report: &mut Report<'_>) {
    for service in index.zone.services {
        if !index.is_apex(service.name.as_wire()) {
            continue;
        }
        if let Some((region, target)) = cname_endpoint(index, service) {
            report.add(|| {
                let message = format!("the pool {region} has the CNAME endpoint {target}, which cannot stand beside SOA and NS at the apex");
                index.at_service(service, message, "give the service at the apex addresses as endpoints")
            });
        }
    }
}

pub(super) fn cname_endpoint_beside_records(index: &Index<'_>, report: &mut Report<'_>) {
    // Addresses and CNAMEs are the finding of another rule, and so is everything at the apex.
    let others = Kinds::NS.or(Kinds::SOA).or(Kinds::DNAME).or(Kinds::OTHER);
    for service in index.zone.services {
        if index.is_apex(service.name.as_wire()) {
            continue;
        }
        let record = index
            .find(service.name.as_wire())
            .and_then(|(_, owner)| index.first_of(owner, others));
        if let (Some(record), Some((region, target))) = (record, cname_endpoint(index, service)) {
            report.add(|| {
                let beside = format!("beside the {} record at {}", record.rtype, record.at());
                let message = format!("the pool {region} has the CNAME endpoint {target} {beside}");
                index.at_service(
                    service,
                    message,
                    "a name with a CNAME takes every other type from its target: remove the record",
                )
            });
        }
    }
}

pub(super) fn cname_endpoint_answers(index: &Index<'_>, report: &mut Report<'_>) {
    for service in index.zone.services {
        if let Some((region, target)) = cname_endpoint(index, service)
            && service.answers > 1
        {
            report.add(|| {
                let message = format!(
                    "answers = {}, but the pool {region} has the CNAME endpoint {target}",
                    service.answers
                );
                index.at_service(service, message, "a name has one CNAME: set answers = 1")
            });
        }
    }
}
