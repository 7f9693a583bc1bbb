//! Families of the HTTP interface and the audit log.

use std::fmt::Error;
use std::sync::atomic::Ordering;

use super::family::{Families, families};
use crate::control::Control;

families! { "HTTP interface and audit log"
    RESPONSES: Counter "meridian_http_responses" ["class"]
        "Responses of the admin addresses and the control socket", "4", "`2xx` to `5xx`";
    DENIED: Counter "meridian_http_denied" ["reason"]
        "Requests that were refused before any handler saw them", "10",
        "`host`, `no_token`, `unknown_token`, `expired_token`, `scope`, `origin`, `rate`, `attempts` (too many wrong tokens from one address), `body` and `streams`. See [access](access.md)";
    CONNECTIONS: Gauge "meridian_http_connections" ["kind"]
        "Open connections to the admin addresses and the control socket", "2",
        "`request`, and `stream` for streams of events";
    CERTIFICATE_END: Gauge "meridian_admin_certificate_expiry_timestamp_seconds" []
        "Time at which the certificate of the admin addresses ends", "1",
        "Absent without a certificate";
    CERTIFICATE_FAILURES: Counter "meridian_admin_certificate_failures" []
        "Times that the certificate of the admin addresses or its key could not be used", "1",
        "The one before stays in use";
    AUDIT_ENTRIES: Counter "meridian_audit_entries" []
        "Entries written to the audit log", "1", "";
    AUDIT_LOST: Counter "meridian_audit_entries_lost" []
        "Entries that the audit log lost because the disk did not take them", "1",
        "See [the audit log](access.md#audit)";
}

/// Writes the families of this subject.
pub(super) fn write(control: &Control, out: &mut Families<'_, '_>) -> Result<(), Error> {
    let (counts, certificate) = (&control.gate.counts, &control.gate.certificate);
    let row = |(label, count): (&'static str, u64)| ([label], count);
    out.counters(&RESPONSES, counts.statuses().map(row))?;
    out.counters(&DENIED, counts.denied().map(row))?;
    let open = [
        (["request"], counts.connections.load(Ordering::Relaxed)),
        (["stream"], counts.streams.load(Ordering::Relaxed)),
    ];
    // There are far fewer connections than 2^63.
    out.gauges(
        &CONNECTIONS,
        open.map(|(labels, count)| (labels, count as i64)),
    )?;
    out.gauges(&CERTIFICATE_END, certificate.ends().map(|end| ([], end)))?;
    out.counter(&CERTIFICATE_FAILURES, certificate.failures())?;
    out.counter(&AUDIT_ENTRIES, control.audit.written())?;
    out.counter(&AUDIT_LOST, control.audit.lost())
}
