//! Rules about the names that NS, MX and SRV records point at.

use std::collections::HashSet;

use super::Report;
use super::index::{Index, Kinds, Owner, Place};
use crate::dns::{Name, RrType};
use crate::model::{Service, Target};
use crate::zone::Record;
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
            index.at_record(&record, message, "use the name that has the addresses")
        });
    }
}

pub(super) fn ns_target_is_service(index: &Index<'_>, report: &mut Report<'_>) {
    for (record, target, place) in index.targets() {
        if let Place::Found {
            service: Some((_, service)),
            ..
        } = place
            && record.rtype == RrType::NS
        {
            report.add(|| {
                let name = service.name.relative_to(index.zone.origin);
                let server = index.shown(target);
                let message = format!("the name server {server} is the service {name}");
                index.at_record(
                    &record,
                    message,
                    "a name server needs one address for all clients: write A or AAAA records for it",
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
                "the target {} is a name of this zone, but has no address",
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

const NOTHING_HINT: &str =
    "write the records or the service of that name; a name of another zone ends in a dot";

pub(super) fn alias_to_nothing(index: &Index<'_>, report: &mut Report<'_>) {
    for (at, owner) in index.owners.iter().enumerate() {
        if !owner.kinds.any(Kinds::CNAME.or(Kinds::OTHER)) || index.is_occluded(at) {
            continue;
        }
        for (_, record) in index.records(owner) {
            if let Some(target) = alias_target(&record)
                && leads_nowhere(index, target)
            {
                report.add(|| index.at_record(&record, nowhere(index, target), NOTHING_HINT));
            }
        }
    }
    // One finding a service and target, however many units it has.
    let mut found = HashSet::new();
    for service in index.zone.services {
        for target in target_names(service) {
            let wire = target.as_wire();
            if leads_nowhere(index, wire) && found.insert((service.at.line, target)) {
                report.add(|| index.at_service(service, nowhere(index, wire), NOTHING_HINT));
            }
        }
    }
}

/// The name that a record makes its owner an alias of.
fn alias_target<'a>(record: &Record<'a>) -> Option<&'a [u8]> {
    let target = match record.rtype {
        RrType::CNAME => record.rdata,
        RrType::SVCB | RrType::HTTPS => {
            let target = &record.rdata[2..];
            &target[..name_length(target).expect("the parser reads no other")]
        }
        _ => return None,
    };
    // In SVCB and HTTPS the root is the owner itself, or says that there is no service (RFC 9460
    // §2.5).
    (target != [0]).then_some(target)
}

/// The first label of names that get records from operators and not from files.
const CHALLENGE: &[u8] = b"\x0f_acme-challenge";

/// True for a name of the zone with neither records nor a service. Where some could not be read, it
/// may have those, and a challenge comes and goes.
fn leads_nowhere(index: &Index<'_>, target: &[u8]) -> bool {
    let nothing = matches!(
        index.resolve(target),
        Place::Found {
            owner: None,
            service: None
        }
    );
    let first = target.get(..CHALLENGE.len());
    let is_challenge = first.is_some_and(|first| first.eq_ignore_ascii_case(CHALLENGE));
    nothing && !is_challenge && !index.is_epoch(target) && !index.is_unread(target)
}

fn nowhere(index: &Index<'_>, target: &[u8]) -> String {
    let target = index.shown(target);
    format!("the target {target} is a name of this zone, but has no records")
}

/// An alias counts: that is another rule's finding.
fn has_address(owner: Option<&Owner>, service: Option<&Service>) -> bool {
    let kinds = Kinds::A.or(Kinds::AAAA).or(Kinds::CNAME);
    owner.is_some_and(|owner| owner.kinds.any(kinds)) || service.is_some()
}

/// The names among the endpoints of a service.
pub(super) fn target_names(service: &Service) -> impl Iterator<Item = &Name> {
    let endpoints = service.pools.iter().flat_map(|pool| &pool.endpoints);
    endpoints.filter_map(|endpoint| match &endpoint.target {
        Target::Name(name) => Some(name),
        Target::Address(_) => None,
    })
}

/// The first CNAME endpoint of a service, with the name of its region.
pub(super) fn cname_endpoint<'a>(
    index: &Index<'a>,
    service: &'a Service,
) -> Option<(&'a str, &'a Target)> {
    for pool in &service.pools {
        for endpoint in &pool.endpoints {
            if let Target::Name(_) = endpoint.target {
                let region = index.zone.regions.get(pool.region.index());
                let name = region.map_or("?", |region| region.name.as_str());
                return Some((name, &endpoint.target));
            }
        }
    }
    None
}
