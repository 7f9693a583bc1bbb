//! Rules about the names that NS, MX and SRV records point at.

use super::Report;
use super::index::{Index, Kinds, Owner, Place};
use crate::dns::RrType;
use crate::model::{Service, Target};

pub(super) fn target_is_cname(index: &Index<'_>, report: &mut Report<'_>) {
    // "The domain name used as the value of a NS resource record, or part of the value of a MX
    // resource record must not be an alias" (RFC 2181 §10.3); SRV likewise (RFC 2782).
    for (record, target, place) in index.targets() {
        let why = match place {
            Place::Renamed => "is below a DNAME",
            Place::Found { owner: Some((_, owner)), .. } if owner.kinds.any(Kinds::CNAME) => "is a CNAME",
            Place::Found { owner: None, service: Some((_, service)) } if service.is_alias() && record.rtype != RrType::NS => {
                "is a service with CNAME endpoints"
            }
            _ => continue,
        };
        report.add(|| {
            let message = format!("the target {} {why}", index.shown(target));
            index.at_record(&record, message, "point at the name that has the addresses")
        });
    }
}

pub(super) fn ns_target_is_service(index: &Index<'_>, report: &mut Report<'_>) {
    for (record, target, place) in index.targets().filter(|(record, ..)| record.rtype == RrType::NS) {
        if let Place::Found { service: Some((_, service)), .. } = place {
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
        let Place::Found { owner, service } = place else { continue };
        if has_address(owner.map(|(_, owner)| owner), service.map(|(_, service)| service)) {
            continue;
        }
        report.add(|| {
            let message = format!("the target {} is in this zone and has no address", index.shown(target));
            index.at_record(&record, message, "write A or AAAA records for it; a name of another zone ends in a dot")
        });
    }
}

/// An alias counts: that is another rule's finding.
fn has_address(owner: Option<&Owner>, service: Option<&Service>) -> bool {
    let kinds = Kinds::A.or(Kinds::AAAA).or(Kinds::CNAME);
    owner.is_some_and(|owner| owner.kinds.any(kinds)) || service.is_some()
}

/// The first CNAME endpoint of a service, with the name of its region.
pub(super) fn cname_endpoint<'a>(index: &Index<'a>, service: &'a Service) -> Option<(&'a str, &'a Target)> {
    service.pools.iter().find_map(|pool| {
        let endpoint = pool.endpoints.iter().find(|endpoint| matches!(endpoint.target, Target::Name(_)))?;
        let region = index.zone.regions.get(pool.region.index()).map_or("?", |region| region.name.as_str());
        Some((region, &endpoint.target))
    })
}
