//! The rules that a zone's records and services must keep: a table, one row a rule.
//!
//! The rules are DNS's own and those that follow from serving services beside records. What needs
//! maps or checks (unknown regions, weights, families) is the configuration's to say.

mod delegations;
mod index;
mod loops;
mod overlap;
mod rrsets;
mod services;
mod targets;

use index::Index;
pub use overlap::check_overlap;

use super::{Records, Unread};
use crate::diag::{At, Diagnostics, Severity};
use crate::dns::Name;
use crate::model::{Region, Service};

/// One rule.
pub struct ZoneCheck {
    /// Its stable name.
    pub rule: &'static str,
    /// The severity of breaking it.
    pub severity: Severity,
    /// The rule in one line.
    pub about: &'static str,
    run: fn(&Index<'_>, &mut Report<'_>),
}

/// A zone as the checks see it.
#[derive(Clone, Copy)]
pub struct ZoneUnderCheck<'a> {
    /// Its apex.
    pub origin: &'a Name,
    /// The place of `zone = `.
    pub at: &'a At,
    /// Its records.
    pub records: &'a Records,
    /// Its services; the configuration's reader lets no two of one name through, nor one outside
    /// the zone.
    pub services: &'a [Service],
    /// Every region, for their names in messages.
    pub regions: &'a [Region],
    /// The names of which something could not be read, so that it is not reported as missing.
    pub unread: &'a Unread,
}

/// Every rule, in the order they are checked.
pub const CHECKS: &[ZoneCheck] = &[
    error(
        "soa-missing",
        "a zone has a SOA record at its apex",
        rrsets::soa_missing,
    ),
    error("soa-twice", "a zone has one SOA record", rrsets::soa_twice),
    error(
        "soa-not-at-apex",
        "a SOA record is only at the apex",
        rrsets::soa_not_at_apex,
    ),
    error(
        "ns-missing",
        "a zone has NS records at its apex",
        rrsets::ns_missing,
    ),
    error(
        "out-of-zone",
        "every name is the zone's own or below it",
        rrsets::out_of_zone,
    ),
    error(
        "cname-at-apex",
        "a CNAME cannot stand beside the apex's SOA and NS",
        rrsets::cname_at_apex,
    ),
    error(
        "cname-and-other-data",
        "a name with a CNAME has no other records (RFC 1034 §3.6.2)",
        rrsets::cname_and_other_data,
    ),
    error(
        "cname-twice",
        "a name has one CNAME (RFC 2181 §10.1)",
        rrsets::cname_twice,
    ),
    error(
        "dname-twice",
        "a name has one DNAME (RFC 6672 §2.4)",
        rrsets::dname_twice,
    ),
    error(
        "data-below-dname",
        "no names exist below a DNAME (RFC 6672 §2.4)",
        delegations::data_below_dname,
    ),
    error(
        "wildcard-delegation",
        "no NS or DNAME is at a wildcard (RFC 4592 §4)",
        rrsets::wildcard_delegation,
    ),
    warning(
        "mixed-ttls",
        "all records of an RRset have the same TTL (RFC 2181 §5.2)",
        rrsets::mixed_ttls,
    ),
    warning(
        "duplicate-record",
        "a record is written once",
        rrsets::duplicate_record,
    ),
    error(
        "rrset-too-large",
        "an RRset fits into a message",
        rrsets::rrset_too_large,
    ),
    error(
        "target-is-cname",
        "NS, MX and SRV targets are not aliases (RFC 2181 §10.3)",
        targets::target_is_cname,
    ),
    error(
        "ns-target-is-service",
        "a name server's address is a static record",
        targets::ns_target_is_service,
    ),
    error(
        "target-without-address",
        "NS, MX and SRV targets inside the zone have addresses",
        targets::target_without_address,
    ),
    error(
        "glue-missing",
        "name servers below their own delegation have glue (RFC 1034 §4.2.1)",
        delegations::glue_missing,
    ),
    warning(
        "data-below-delegation",
        "a delegated name holds nothing but glue",
        delegations::data_below_delegation,
    ),
    error(
        "service-below-delegation",
        "a service does not stand at or below a delegation",
        delegations::service_below_delegation,
    ),
    error(
        "service-beside-records",
        "the name of a service has no static A, AAAA or CNAME records",
        services::service_beside_records,
    ),
    error(
        "epoch-beside-records",
        "the name that tells a unit's owner has no static records",
        services::epoch_beside_records,
    ),
    warning(
        "hint-without-family",
        "address hints are only of families that the service has",
        services::hint_without_family,
    ),
    error(
        "cname-endpoint-at-apex",
        "a CNAME endpoint cannot stand beside the apex's SOA and NS",
        services::cname_endpoint_at_apex,
    ),
    error(
        "cname-endpoint-beside-records",
        "a service with CNAME endpoints has no static records at its name",
        services::cname_endpoint_beside_records,
    ),
    error(
        "cname-endpoint-answers",
        "a service with CNAME endpoints has answers = 1",
        services::cname_endpoint_answers,
    ),
    error(
        "cname-loop",
        "no chain of CNAMEs, through services and DNAMEs too, returns to its start",
        loops::cname_loop,
    ),
    error(
        "dname-loop",
        "no chain of DNAMEs is endless",
        loops::dname_loop,
    ),
    warning(
        "alias-to-nothing",
        "an alias inside the zone leads to a name that exists",
        targets::alias_to_nothing,
    ),
    warning(
        "blocks-wildcard",
        "a name below a wildcard service has addresses of its own",
        services::blocks_wildcard,
    ),
    warning(
        "acme-below-wildcard",
        "no wildcard CNAME answers for the name of an ACME challenge",
        services::acme_below_wildcard,
    ),
];

/// Checks one zone by every rule of [`CHECKS`].
pub fn check(zone: &ZoneUnderCheck<'_>, diagnostics: &mut Diagnostics) {
    let index = Index::new(zone);
    for check in CHECKS {
        let mut report = Report {
            diagnostics,
            rule: check.rule,
            severity: check.severity,
            found: 0,
        };
        (check.run)(&index, &mut report);
        report.close(zone);
    }
}

const fn error(
    rule: &'static str,
    about: &'static str,
    run: fn(&Index<'_>, &mut Report<'_>),
) -> ZoneCheck {
    ZoneCheck {
        rule,
        severity: Severity::Error,
        about,
        run,
    }
}

const fn warning(
    rule: &'static str,
    about: &'static str,
    run: fn(&Index<'_>, &mut Report<'_>),
) -> ZoneCheck {
    ZoneCheck {
        rule,
        severity: Severity::Warning,
        about,
        run,
    }
}

/// The findings of one rule.
struct Report<'d> {
    diagnostics: &'d mut Diagnostics,
    rule: &'static str,
    severity: Severity,
    found: usize,
}

/// One place where a rule is broken.
struct Finding {
    at: At,
    key: String,
    message: String,
    hint: &'static str,
}

impl Report<'_> {
    /// Findings of one rule in one zone that are shown.
    const SHOWN: usize = 50;

    /// Adds a finding, which is put into words only when it is shown: a large zone may break a rule a
    /// million times.
    fn add(&mut self, finding: impl FnOnce() -> Finding) {
        self.found += 1;
        if self.found <= Report::SHOWN {
            self.push(finding());
        }
    }

    fn push(
        &mut self,
        Finding {
            at,
            key,
            message,
            hint,
        }: Finding,
    ) {
        let diagnostic = match self.severity {
            Severity::Error => self.diagnostics.error(self.rule, at, key, message),
            Severity::Warning => self.diagnostics.warning(self.rule, at, key, message),
        };
        if !hint.is_empty() {
            diagnostic.hint(hint);
        }
    }

    fn close(mut self, zone: &ZoneUnderCheck<'_>) {
        if self.found > Report::SHOWN {
            let message = format!(
                "{} more findings of this rule in the zone are not shown",
                self.found - Report::SHOWN
            );
            self.push(Finding {
                at: zone.at.clone(),
                key: "zone".to_owned(),
                message,
                hint: "",
            });
        }
    }
}

#[cfg(test)]
mod tests;
