//! Rules about the records of one name.

use std::cmp::Ordering;

use super::Report;
use super::index::{Index, Kinds, Owner};
use crate::dns::RrType;
use crate::zone::{RR_FIXED, Record};

pub(super) fn soa_missing(index: &Index<'_>, report: &mut Report<'_>) {
    if !index.apex().is_some_and(|apex| apex.kinds.any(Kinds::SOA))
        && !index.zone.unread.covers(index.zone.origin)
    {
        let message = format!(
            "the zone {} has no SOA record at its apex",
            index.zone.origin
        );
        report.add(|| {
            index.at_zone(
                message,
                "write one, like: @ 3600 SOA ns1 hostmaster 1 3600 600 604800 20",
            )
        });
    }
}

pub(super) fn soa_twice(index: &Index<'_>, report: &mut Report<'_>) {
    single(index, report, RrType::SOA, "keep one of them");
}

pub(super) fn soa_not_at_apex(index: &Index<'_>, report: &mut Report<'_>) {
    for owner in with(index, Kinds::SOA).filter(|owner| !index.is_apex(index.owner_name(owner))) {
        for record in of_type(index, owner, RrType::SOA) {
            report.add(|| {
                let message = format!("the SOA record stands below the apex {}", index.zone.origin);
                index.at_record(
                    &record,
                    message,
                    "move it to the apex, or give that name a zone file of its own",
                )
            });
        }
    }
}

pub(super) fn ns_missing(index: &Index<'_>, report: &mut Report<'_>) {
    if !index.apex().is_some_and(|apex| apex.kinds.any(Kinds::NS))
        && !index.zone.unread.covers(index.zone.origin)
    {
        let message = format!(
            "the zone {} has no NS record at its apex",
            index.zone.origin
        );
        report.add(|| {
            index.at_zone(
                message,
                "write one for each server of the zone, like: @ 3600 NS ns1",
            )
        });
    }
}

pub(super) fn out_of_zone(index: &Index<'_>, report: &mut Report<'_>) {
    for at in &index.outside {
        let record = index.zone.records.get(*at as usize);
        report.add(|| {
            let message = format!(
                "{} is not in the zone {}",
                record.owner_name(),
                index.zone.origin
            );
            index.at_record(
                &record,
                message,
                "a name is relative to the zone unless it ends in a dot",
            )
        });
    }
}

pub(super) fn cname_at_apex(index: &Index<'_>, report: &mut Report<'_>) {
    if let Some(record) = index
        .apex()
        .and_then(|apex| index.first_of(apex, Kinds::CNAME))
    {
        let message = "a CNAME cannot stand at the apex, which has SOA and NS".to_owned();
        report.add(|| {
            index.at_record(
                &record,
                message,
                "write addresses, or a service with address endpoints as [services.\"@\"]",
            )
        });
    }
}

pub(super) fn cname_and_other_data(index: &Index<'_>, report: &mut Report<'_>) {
    // "If a CNAME RR is present at a node, no other data should be present" (RFC 1034 §3.6.2).
    let beside = Kinds::CNAME.or(Kinds::DNSSEC);
    for owner in with(index, Kinds::CNAME).filter(|owner| !index.is_apex(index.owner_name(owner))) {
        let others = owner.kinds.without(beside);
        let (Some(cname), Some(other)) = (
            index.first_of(owner, Kinds::CNAME),
            index.first_of(owner, others),
        ) else {
            continue;
        };
        report.add(|| {
            let message = format!(
                "the name has a CNAME and the {} record at {}",
                other.rtype,
                other.at()
            );
            index.at_record(
                &cname,
                message,
                "a name with a CNAME takes every other type from its target: keep one or the other",
            )
        });
    }
}

pub(super) fn cname_twice(index: &Index<'_>, report: &mut Report<'_>) {
    single(
        index,
        report,
        RrType::CNAME,
        "keep one; to share clients by weight, write a service whose endpoints are names",
    );
}

pub(super) fn dname_twice(index: &Index<'_>, report: &mut Report<'_>) {
    single(index, report, RrType::DNAME, "keep one of them");
}

pub(super) fn wildcard_delegation(index: &Index<'_>, report: &mut Report<'_>) {
    let kinds = Kinds::NS.or(Kinds::DNAME);
    for owner in with(index, kinds).filter(|owner| index.owner_name(owner).starts_with(b"\x01*")) {
        if let Some(record) = index.first_of(owner, kinds) {
            report.add(|| {
                let message = format!(
                    "resolvers disagree on what {} records at a wildcard mean",
                    record.rtype
                );
                index.at_record(&record, message, "write the record for each name")
            });
        }
    }
}

pub(super) fn mixed_ttls(index: &Index<'_>, report: &mut Report<'_>) {
    for_each_rrset(index, |set| {
        let lowest = set
            .iter()
            .map(|record| record.ttl)
            .min()
            .expect("an RRset has records");
        let highest = set
            .iter()
            .map(|record| record.ttl)
            .max()
            .expect("an RRset has records");
        if lowest != highest {
            let odd = set
                .iter()
                .find(|record| record.ttl != set[0].ttl)
                .expect("two TTLs differ");
            report.add(|| {
                let message = format!("the records of this RRset have TTLs from {lowest} to {highest}; all are served with {lowest}");
                index.at_record(odd, message, "give them one TTL")
            });
        }
    });
}

pub(super) fn duplicate_record(index: &Index<'_>, report: &mut Report<'_>) {
    for_each_rrset(index, |set| {
        if set.len() < 2 || (set.len() == 2 && canonical_order(&set[0], &set[1]).is_ne()) {
            return;
        }
        let mut by_rdata: Vec<&Record<'_>> = set.iter().collect();
        // A stable order: of equal records the one written first stays first.
        by_rdata.sort_by(|a, b| canonical_order(a, b));
        for pair in by_rdata
            .windows(2)
            .filter(|pair| canonical_order(pair[0], pair[1]).is_eq())
        {
            report.add(|| {
                let message = format!(
                    "the record repeats that at {}; it is served once",
                    pair[0].at()
                );
                index.at_record(pair[1], message, "remove one of them")
            });
        }
    });
}

pub(super) fn rrset_too_large(index: &Index<'_>, report: &mut Report<'_>) {
    // A message has 65 535 octets, and the header, the question and OPT take some of them.
    const ROOM: usize = 65_000;
    let mut judge = |set: &[Record<'_>]| {
        let size: usize = set.iter().map(|record| RR_FIXED + record.rdata.len()).sum();
        if size > ROOM {
            report.add(|| {
                let message =
                    format!("the {} records of this RRset take {size} octets; a message has room for {ROOM}", set.len());
                index.at_record(&set[0], message, "spread them over several names")
            });
        }
    };
    for owner in index.owners.iter().filter(|owner| Index::is_single(owner)) {
        judge(&[index.zone.records.get(owner.first as usize)]);
    }
    for_each_rrset(index, judge);
}

/// Reports the second of two different records of a type that a name has once.
fn single(index: &Index<'_>, report: &mut Report<'_>, rtype: RrType, hint: &'static str) {
    let kinds = match rtype {
        RrType::SOA => Kinds::SOA,
        RrType::CNAME => Kinds::CNAME,
        _ => Kinds::DNAME,
    };
    for owner in with(index, kinds).filter(|owner| !Index::is_single(owner)) {
        let mut records = of_type(index, owner, rtype);
        let Some(first) = records.next() else {
            continue;
        };
        if let Some(second) = records.find(|record| canonical_order(record, &first).is_ne()) {
            report.add(|| {
                index.at_record(
                    &second,
                    format!(
                        "the name has a second {rtype} beside that at {}",
                        first.at()
                    ),
                    hint,
                )
            });
        }
    }
}

fn with<'i>(index: &'i Index<'_>, kinds: Kinds) -> impl Iterator<Item = &'i Owner> {
    index
        .owners
        .iter()
        .filter(move |owner| owner.kinds.any(kinds))
}

fn of_type<'a>(
    index: &Index<'a>,
    owner: &Owner,
    rtype: RrType,
) -> impl Iterator<Item = Record<'a>> {
    index
        .records(owner)
        .map(|(_, record)| record)
        .filter(move |record| record.rtype == rtype)
}

/// Calls `run` with each RRset that may have several records, in the order they are written.
fn for_each_rrset<'a>(index: &Index<'a>, mut run: impl FnMut(&[Record<'a>])) {
    let mut records: Vec<Record<'a>> = Vec::new();
    for owner in index.owners.iter().filter(|owner| !Index::is_single(owner)) {
        records.clear();
        records.extend(index.records(owner).map(|(_, record)| record));
        records.sort_by_key(|record| record.rtype);
        records
            .chunk_by(|a, b| a.rtype == b.rtype)
            .for_each(&mut run);
    }
}

/// The order of two records of a type by their rdata, names in lower case (RFC 4034 §6.2, §6.3).
fn canonical_order(a: &Record<'_>, b: &Record<'_>) -> Ordering {
    let name_at = match a.rtype {
        RrType::NS | RrType::CNAME | RrType::DNAME | RrType::PTR => 0,
        RrType::MX => 2,
        RrType::SRV => 6,
        _ => return a.rdata.cmp(b.rdata),
    };
    let (a, b) = (a.rdata.split_at(name_at), b.rdata.split_at(name_at));
    a.0.cmp(b.0).then_with(|| {
        a.1.iter()
            .map(u8::to_ascii_lowercase)
            .cmp(b.1.iter().map(u8::to_ascii_lowercase))
    })
}
