//! Families of the notifications of each destination.

use std::fmt::Error;

use super::family::{Families, families};
use crate::control::{Control, Delivery};

families! { "Notifications"
    NOTICES: Counter "meridian_notifications" ["destination", "result"]
        "Notices by destination and by what became of them", "3 per destination",
        "`delivered`; `given_up` where nobody took them in time, or ever will; `dropped` where they found no room. See [events](events.md#notifications)";
    FAILED: Counter "meridian_notification_attempts_failed" ["destination"]
        "Attempts to deliver that failed", "destinations", "";
    WAITING: Gauge "meridian_notifications_waiting" ["destination"]
        "Notices that wait to be delivered", "destinations", "At most 1000";
    SUCCESS: Gauge "meridian_notification_last_success_timestamp_seconds" ["destination"]
        "Time of the last delivery", "destinations", "Absent before the first";
    TROUBLE: Gauge "meridian_notification_failing" ["destination"]
        "1 while the last attempt to deliver failed", "destinations", "";
}

/// Writes the families of this subject.
pub(super) fn write(control: &Control, out: &mut Families<'_, '_>) -> Result<(), Error> {
    let all = control.notifications.all();
    let results = |(name, own): (&String, &Delivery)| {
        [
            ([name.clone(), "delivered".to_owned()], own.delivered),
            ([name.clone(), "given_up".to_owned()], own.given_up),
            ([name.clone(), "dropped".to_owned()], own.dropped),
        ]
    };
    let rows: Vec<_> = all.iter().flat_map(results).collect();
    out.counters(
        &NOTICES,
        rows.iter()
            .map(|(labels, count)| ([labels[0].as_str(), labels[1].as_str()], *count)),
    )?;
    let of = |number: fn(&Delivery) -> u64| {
        let rows = all.iter();
        rows.map(move |(name, own)| ([name.as_str()], number(own)))
    };
    out.counters(&FAILED, of(|own| own.failed_attempts))?;
    // At most as many as a queue has room for.
    let waiting = of(|own| own.waiting).map(|(labels, count)| (labels, count as i64));
    out.gauges(&WAITING, waiting)?;
    let successes = all
        .iter()
        .filter_map(|(name, own)| Some(([name.as_str()], own.last_success?.as_secs_f64())));
    out.gauges(&SUCCESS, successes)?;
    let failing = all
        .iter()
        .map(|(name, own)| ([name.as_str()], i64::from(own.error.is_some())));
    out.gauges(&TROUBLE, failing)
}
