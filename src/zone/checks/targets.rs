//! Rules about the names that NS, MX and SRV records point at.

use std::collections::HashSet;

use super::Report;
use super::index::{Index, Kinds, Owner, Place};
use crate::dns::RrType;
use crate::model::{Service, Target};
use crate::zone::words::name_length;

pub(super) fn target_is_cname(index: &Index<'_>, report: &mut Report<'_>) {
    // "The domain name used as the value of a NS resource record, or part of the value of a MX
    // resource record must not be an alias" (RFC 2181 §10.3); SRV likewise (RFC 2782).
    for (record, target, place) in index.targets() {
        let why = match place {
            Place::Renamed => "is below a DNAME",
            Place::Found {
                owner: Some((_, owner)),
                ..
            } if owner.kinds.any(Kinds::CNAME) => "is a CNAME",
            Place::Found {
                owner: None,
                service: Some((_, service)),
            } if service.names && record.rtype != RrType::NS => "is a service with CNAME endpoints",
            _ => continue,
        };
        report.add(|| {
            let message = format!("the target {} {why}", index.shown(target));
            index.at_record(&record, message, "point at the name that has the addresses")
        });
    }
}

pub(super) fn ns_target_is_service(index: &Index<'_>, report: &mut Report<'_>) {
    for (record, target, place) in index
        .targets()
        .filter(|(record, ..)| record.rtype == RrType::NS)
    {
        if let Place::Found {
            service: Some((_, service)),
            ..
        } = place
        {
            report.add(|| {
                let name = service.name.relative_to(index.zone.origin);
                let message = format!("the name server {} is the service {name}", index.shown(target));
                index.at_record(
                    &record,
                    message,
                    "a name server's address must be the same for everyone: write A or AAAA records for it",
                )
            });
        }
    }
}

pub(super) fn target_without_address(index: &Index<'_>, report: &mut Report<'_>) {
    for (record, target, place) in index.targets() {
        let Place::Found { owner, service } = place else {
            continue;
        };
        if has_address(
            owner.map(|(_, owner)| owner),
            service.map(|(_, service)| service),
        ) || index.is_unread(target)
        {
            continue;
        }
        report.add(|| {
            let message = format!(
                "the target {} is in this zone and has no address",
                index.shown(target)
            );
            index.at_record(
                &record,
                message,
                "write A or AAAA records for it; a name of another zone ends in a dot",
            )
        });
    }
}

pub(super) fn alias_to_nothing(index: &Index<'_>, report: &mut Report<'_>) {
    const HINT: &str =
        "write the records or the service of that name; a name of another zone ends in a dot";
    // Nothing has records there, or something has and no record was read.
    let is_nothing = |target: &[u8]| {
        let nothing = matches!(
            index.resolve(target),
            Place::Found {
                owner: None,
                service: None
            }
        );
        nothing && !index.is_epoch(target) && !index.is_unread(target)
    };
    let message = |target: &[u8]| {
        format!(
            "the target {} is in this zone and has no records",
            index.shown(target)
        )
    };
    for (at, owner) in index
        .owners
        .iter()
        .enumerate()
        .filter(|(_, owner)| owner.kinds.any(Kinds::CNAME.or(Kinds::OTHER)))
    {
        if index.is_occluded(at) {
            continue;
        }
        for (_, record) in index.records(owner) {
            let target = match record.rtype {
                RrType::CNAME => record.rdata,
                RrType::SVCB | RrType::HTTPS => {
                    let target = &record.rdata[2..];
                    &target[..name_length(target).expect("the parser reads no other")]
                }
                _ => continue,
            };
            // In SVCB and HTTPS the root is the owner itself, or says that there is no service (RFC 9460 §2.5).
            if target != [0] && is_nothing(target) {
                report.add(|| index.at_record(&record, message(target), HINT));
            }
        }
    }
    // One finding a service and target, however many units it has.
    let mut found = HashSet::new();
    for service in index.zone.services {
        let names = service
            .pools
            .iter()
            .flat_map(|pool| &pool.endpoints)
            .filter_map(|endpoint| match &endpoint.target {
                Target::Name(name) => Some(name),
                Target::Address(_) => None,
            });
        for target in names.filter(|target| is_nothing(target.as_wire())) {
            if found.insert((service.at.line, target)) {
                report.add(|| index.at_service(service, message(target.as_wire()), HINT));
            }
        }
    }
}

/// An alias counts: that is another rule's finding.
fn has_address(owner: Option<&Owner>, service: Option<&Service>) -> bool {
    let kinds = Kinds::A.or(Kinds::AAAA).or(Kinds::CNAME);
    owner.is_some_and(|owner| owner.kinds.any(kinds)) || service.is_some()
}

/// The first CNAME endpoint of a service, with the name of its region.
pub(super) fn cname_endpoint<'a>(
    index: &Index<'a>,
    service: &'a Service,
) -> Option<(&'a str, &'a Target)> {
    service.pools.iter().find_map(|pool| {
        let endpoint = pool
            .endpoints
            .iter()
            .find(|endpoint| matches!(endpoint.target, Target::Name(_)))?;
        let region = index
            .zone
            .regions
            .get(pool.region.index())
            .map_or("?", |region| region.name.as_str());
        Some((region, &endpoint.target))
    })
}
