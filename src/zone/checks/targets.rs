//! Rules about the names that NS, MX and SRV records point at.

use super::Report;
use super::index::{Index, Kinds, Owner, Place};
use crate::dns::RrType;
use crate::model::{Service, Target};
use crate::zone::{Record, target_offset};

pub(super) fn target_is_cname(index: &Index<'_>, report: &mut Report<'_>) {
    // "The domain name used as the value of a NS resource record, or part of the value of a MX
    // resource record must not be an alias" (RFC 2181 §10.3); SRV likewise (RFC 2782).
    for_each_target(index, |record, target| {
        let why = match index.resolve(target) {
            Place::Renamed => "is below a DNAME",
            Place::Found { owner: Some((_, owner)), .. } if owner.kinds.any(Kinds::CNAME) => "is a CNAME",
            Place::Found { owner: None, service: Some((_, service)) } if service.is_alias() && record.rtype != RrType::NS => {
                "is a service with CNAME endpoints"
            }
            _ => return,
        };
        report.add(|| {
            let message = format!("the target {} {why}", index.shown(target));
            index.at_record(record, message, "point at the name that has the addresses")
        });
    });
}

pub(super) fn ns_target_is_service(index: &Index<'_>, report: &mut Report<'_>) {
    for_each_target(index, |record, target| {
        if record.rtype != RrType::NS {
            return;
        }
        if let Place::Found { service: Some((_, service)), .. } = index.resolve(target) {
            report.add(|| {
                let name = service.name.relative_to(index.zone.origin);
                let message = format!("the name server {} is the service {name}", index.shown(target));
                index.at_record(
                    record,
                    message,
                    "a name server's address must be the same for everyone: write A or AAAA records for it",
                )
            });
        }
    });
}

pub(super) fn target_without_address(index: &Index<'_>, report: &mut Report<'_>) {
    for_each_target(index, |record, target| {
        let Place::Found { owner, service } = index.resolve(target) else { return };
        if has_address(owner.map(|(_, owner)| owner), service.map(|(_, service)| service)) {
            return;
        }
        report.add(|| {
            let message = format!("the target {} is in this zone and has no address", index.shown(target));
            index.at_record(record, message, "write A or AAAA records for it; a name of another zone ends in a dot")
        });
    });
}

/// Calls `run` with each NS, MX and SRV record and its target; `.` is none (RFC 7505, RFC 2782).
pub(super) fn for_each_target<'a>(index: &Index<'a>, mut run: impl FnMut(&Record<'a>, &'a [u8])) {
    for owner in index.owners.iter().filter(|owner| owner.kinds.any(Kinds::NS.or(Kinds::OTHER))) {
        for (_, record) in index.records(owner) {
            if let Some(skip) = target_offset(record.rtype)
                && record.rdata[skip..] != [0]
            {
                run(&record, &record.rdata[skip..]);
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
pub(super) fn cname_endpoint<'a>(index: &Index<'a>, service: &'a Service) -> Option<(&'a str, &'a Target)> {
    service.pools.iter().find_map(|pool| {
        let endpoint = pool.endpoints.iter().find(|endpoint| matches!(endpoint.target, Target::Name(_)))?;
        let region = index.zone.regions.get(pool.region.index()).map_or("?", |region| region.name.as_str());
        Some((region, &endpoint.target))
    })
}
