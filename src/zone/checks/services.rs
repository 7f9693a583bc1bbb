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
                    "a service beside the {} record of {}",
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
    for service in index
        .zone
        .services
        .iter()
        .filter(|service| service.unit.is_some())
    {
        let Ok(epoch) = Unit::epoch_name(&service.name) else {
            continue;
        };
        let record = index
            .find(epoch.as_wire())
            .and_then(|(_, owner)| index.first_of(owner, any));
        if let Some(record) = record {
            report.add(|| {
                let message = format!(
                    "{} has the {} record of {}",
                    epoch.relative_to(index.zone.origin),
                    record.rtype,
                    record.at()
                );
                index.at_service(
                    service,
                    message,
                    "remove the record: the name says who owns the unit",
                )
            });
        }
    }
}

pub(super) fn hint_without_family(index: &Index<'_>, report: &mut Report<'_>) {
    if index.zone.services.is_empty() {
        return;
    }
    for record in index
        .zone
        .records
        .iter()
        .filter(|r| SvcbSet::TYPES.contains(&r.rtype) && SvcbSet::is_steered(r.rdata))
    {
        let Some((_, service)) = index.service(record.owner) else {
            continue;
        };
        for family in
            SvcbSet::hinted(record.rdata).filter(|family| !service.families().contains(*family))
        {
            report.add(|| {
                let message =
                    format!("the record has hints of {family} addresses, and the service has none");
                index.at_record(
                    &record,
                    message,
                    "remove the hint: the addresses in it are those of the service's endpoints",
                )
            });
        }
    }
}

pub(super) fn blocks_wildcard(index: &Index<'_>, report: &mut Report<'_>) {
    let wildcards: Vec<&Service> = index
        .zone
        .services
        .iter()
        .filter(|service| service.name.is_wildcard())
        .collect();
    if wildcards.is_empty() {
        return;
    }
    let parents: HashMap<Vec<u8>, &Service> = wildcards
        .iter()
        .map(|service| (service.name.as_wire()[2..].to_ascii_lowercase(), *service))
        .collect();
    let answers = Kinds::A
        .or(Kinds::AAAA)
        .or(Kinds::CNAME)
        .or(Kinds::NS)
        .or(Kinds::DNAME);
    let mut found = HashSet::new();
    let records = index.owners.iter().map(|owner| index.owner_name(owner));
    for name in records.chain(
        index
            .zone
            .services
            .iter()
            .map(|service| service.name.as_wire()),
    ) {
        let mut rest = name;
        while !index.is_apex(rest) && index.cut(rest).is_none() {
            let (child, parent) = (rest, &rest[1 + usize::from(rest[0])..]);
            rest = parent;
            // Nobody asks for the address of a name like _dmarc, and the wildcard itself is in nobody's way.
            if child.starts_with(b"\x01*") || child[1] == b'_' {
                continue;
            }
            let Some(wildcard) = parents.get(&parent.to_ascii_lowercase()) else {
                continue;
            };
            let has_own = index
                .find(child)
                .is_some_and(|(_, owner)| owner.kinds.any(answers))
                || index.service(child).is_some();
            if has_own || index.is_unread(child) || !found.insert(child.to_ascii_lowercase()) {
                continue;
            }
            report.add(|| {
                let (child, name) = (index.shown(child), index.shown(name));
                let by = if child == name { String::new() } else { format!(" because of {name}") };
                let message =
                    format!("{child} exists{by}, so the wildcard does not answer there (RFC 4592): it has no addresses");
                index.at_service(wildcard, message, "write a service of that name too, with the pools of the wildcard")
            });
        }
    }
}

pub(super) fn acme_below_wildcard(index: &Index<'_>, report: &mut Report<'_>) {
    for service in index
        .zone
        .services
        .iter()
        .filter(|service| service.name.is_wildcard())
    {
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
                    "the wildcard answers for {} too, with a CNAME: a certificate's challenge there is looked for at {target}",
                    challenge.relative_to(index.zone.origin)
                );
                index.at_service(
                    service,
                    message,
                    "write that name's own record, a TXT or a CNAME to where challenges are kept, if you prove names by DNS",
                )
            });
        }
    }
}

pub(super) fn cname_endpoint_at_apex(index: &Index<'_>, report: &mut Report<'_>) {
    for service in index
        .zone
        .services
        .iter()
        .filter(|service| index.is_apex(service.name.as_wire()))
    {
        if let Some((region, target)) = cname_endpoint(index, service) {
            report.add(|| {
                let message = format!("the pool {region} has the CNAME endpoint {target} at the apex, where SOA and NS are");
                index.at_service(service, message, "give the apex address endpoints")
            });
        }
    }
}

pub(super) fn cname_endpoint_beside_records(index: &Index<'_>, report: &mut Report<'_>) {
    // Addresses and CNAMEs are the finding of another rule, and so is everything at the apex.
    let others = Kinds::NS.or(Kinds::SOA).or(Kinds::DNAME).or(Kinds::OTHER);
    for service in index
        .zone
        .services
        .iter()
        .filter(|service| !index.is_apex(service.name.as_wire()))
    {
        let record = index
            .find(service.name.as_wire())
            .and_then(|(_, owner)| index.first_of(owner, others));
        if let (Some(record), Some((region, target))) = (record, cname_endpoint(index, service)) {
            report.add(|| {
                let beside = format!("beside the {} record of {}", record.rtype, record.at());
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
    for service in index
        .zone
        .services
        .iter()
        .filter(|service| service.answers > 1)
    {
        if let Some((region, target)) = cname_endpoint(index, service) {
            report.add(|| {
                let message = format!(
                    "answers = {}, and the pool {region} has the CNAME endpoint {target}",
                    service.answers
                );
                index.at_service(service, message, "a name has one CNAME: write answers = 1")
            });
        }
    }
}
