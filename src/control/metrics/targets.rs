//! Families of probes and of what they found: targets, checks and changes.

use std::collections::BTreeMap;
use std::fmt::Error;

use super::family::{Distribution, Families, families};
use crate::control::Control;
use crate::health::Watch;
use crate::model::WallTime;
use crate::probe::{CheckCounts, DURATIONS};
use crate::publisher::{TargetView, View};

families! { "Probes and health"
    ISOLATED: Gauge "meridian_isolated" []
        "1 while this node's own network is assumed down", "1", "";
    RECHECKS: Gauge "meridian_rechecks" []
        "Targets that are rechecked now", "1", "See [rechecks](health.md#recheck)";
    RECHECKS_WAITING: Gauge "meridian_rechecks_waiting" []
        "Targets that wait in line for rechecks", "1", "Above 0 only while many endpoints fail at once";
    RECHECKS_LIMIT: Gauge "meridian_rechecks_limit" []
        "The most targets that are rechecked at once", "1", "";
    RECHECK_PROBES: Counter "meridian_recheck_probes" []
        "Probes that came before their interval was over", "1", "";
    WATCHES: Gauge "meridian_watches" ["state"]
        "Watched targets, by the state of the connection that is held to them", "4",
        "`held`; `lost`, until another is opened; `given_up`; `no_descriptor`. See [watch](health.md#watch)";
    TARGET_UP: Gauge "meridian_target_up" ["check", "target"]
        "1 while a check of an address is up", "targets", "";
    IN_DOUBT: Gauge "meridian_target_in_doubt" ["check", "target"]
        "1 while a target is in doubt", "targets", "Exists only then; see [doubt](health.md#doubt)";
    FLAPPING: Gauge "meridian_target_flapping" ["check", "target"]
        "1 while a target is held down as flapping", "targets", "Exists only then";
    LAST_PROBE: Gauge "meridian_target_last_probe_timestamp_seconds" ["check", "target"]
        "Time at which the last probe of a target ended", "targets",
        "Of a `push` check, the time of the last report. Up to a second late";
    CERTIFICATE: Gauge "meridian_target_certificate_expiry_timestamp_seconds" ["check", "target"]
        "End of the certificate that a target presented in its last probe", "targets with TLS",
        "Absent after a probe that did not get that far, as when the certificate is refused";
    LOAD: Gauge "meridian_target_load" ["check", "target"]
        "Load that a target reports, averaged, 0 idle to 1 full", "targets", "Only targets that report one";
    LOAD_IGNORED: Counter "meridian_target_load_ignored" ["check", "target"]
        "Passes without a report of load that can be used", "targets", "Only targets that should report one";
    PROBES: Counter "meridian_probes" ["check", "result"]
        "Probes that ended, by their result", "3 × checks",
        "`pass`, `fail`, and `not_judged` when this node could not tell. `push` checks have none";
    FAILURES: Counter "meridian_probe_failures" ["check", "reason"]
        "Probes that did not pass, by the kind of reason", "24 × checks",
        "Only reasons that occurred. Failures: `connect_refused`, `unreachable`, `timeout`, `closed`, `certificate`, `tls`, `status`, `http`, `no_match`, `json`, `resolve`, `dns`, `grpc`, `exec`, `system`. Not judged: `no_route`, `resources`, `no_icmp`, `program`, `resolver`, `no_roots`, `secret`, `check`, `stalled`";
    DURATION: Histogram "meridian_probe_duration_seconds" ["check"]
        "Time that probes took, all phases together", "15 × checks", "";
    CHANGES: Counter "meridian_changes" ["object", "change"]
        "Changes of the state, by the kind of object and of change", "57",
        "The same that the log tells. `endpoint`: `up`, `down`, `flapping`, `flapping_ended`, `warning`, `warning_ended`, `watch_given_up`; `pool` and `service`: the rung that they came to, and for pools `ramp_began`, `ramp_ended`, `resumed`; also of `override`, `acme`, `unit`, `node`, `history` and `drill`. Exists after the first such change";
}

/// Writes the families of this subject.
pub(super) fn write(
    control: &Control,
    view: &View,
    wall: WallTime,
    out: &mut Families<'_, '_>,
) -> Result<(), Error> {
    out.flag(&ISOLATED, view.is_isolated)?;
    let rechecks = &view.rechecks;
    // There are fewer targets than 2^32.
    out.gauge(&RECHECKS, rechecks.hurried as i64)?;
    out.gauge(&RECHECKS_WAITING, rechecks.waiting as i64)?;
    out.gauge(&RECHECKS_LIMIT, rechecks.limit as i64)?;
    out.counter(&RECHECK_PROBES, rechecks.asked)?;
    watches(view, out)?;
    targets(view, wall, out)?;
    probes(view, &control.probes.get(), out)?;
    out.counters(&CHANGES, control.tallies.changes())
}

fn watches(view: &View, out: &mut Families<'_, '_>) -> Result<(), Error> {
    const SHOWN: [Watch; 4] = [
        Watch::Held,
        Watch::Lost,
        Watch::GivenUp,
        Watch::NoDescriptor,
    ];
    let mut counts = [0_i64; SHOWN.len()];
    for (_, target) in view.targets() {
        if let Some(place) = SHOWN.iter().position(|state| *state == target.watch) {
            counts[place] += 1;
        }
    }
    let rows = SHOWN.map(|state| [state.as_label()]).into_iter();
    out.gauges(&WATCHES, rows.zip(counts))
}

/// A target's names and its state.
struct Row<'v> {
    check: &'v str,
    target: String,
    view: &'v TargetView,
}

impl Row<'_> {
    fn labels(&self) -> [&str; 2] {
        [self.check, &self.target]
    }
}

fn targets(view: &View, wall: WallTime, out: &mut Families<'_, '_>) -> Result<(), Error> {
    let config = &view.dataset.config;
    let rows: Vec<Row<'_>> = view
        .targets()
        .map(|(id, view)| {
            let target = &config.targets[id.index()];
            Row {
                check: &config.checks[target.check.index()].name,
                target: target.target.to_string(),
                view,
            }
        })
        .collect();
    let up = rows
        .iter()
        .map(|row| (row.labels(), i64::from(row.view.state.up)));
    out.gauges(&TARGET_UP, up)?;
    let in_doubt = rows.iter().filter(|row| !row.view.state.settled);
    out.gauges(&IN_DOUBT, in_doubt.map(|row| (row.labels(), 1_i64)))?;
    let flapping = rows.iter().filter(|row| row.view.flapping_until.is_some());
    out.gauges(&FLAPPING, flapping.map(|row| (row.labels(), 1_i64)))?;
    let probed = rows
        .iter()
        .filter_map(|row| Some((row.labels(), wall.unix_seconds(row.view.last.as_ref()?.at))));
    out.gauges(&LAST_PROBE, probed)?;
    let certificates = rows.iter().filter_map(|row| {
        let end = row.view.last.as_ref()?.certificate_end?;
        Some((row.labels(), i64::from(end)))
    });
    out.gauges(&CERTIFICATE, certificates)?;
    let load = rows
        .iter()
        .filter_map(|row| Some((row.labels(), row.view.load?)));
    out.gauges(&LOAD, load)?;
    let reporting = rows
        .iter()
        .filter(|row| row.view.load.is_some() || row.view.load_ignored > 0);
    out.counters(
        &LOAD_IGNORED,
        reporting.map(|row| (row.labels(), row.view.load_ignored)),
    )
}

/// Checks that are in the files no more have no line.
fn probes(
    view: &View,
    counts: &BTreeMap<String, CheckCounts>,
    out: &mut Families<'_, '_>,
) -> Result<(), Error> {
    let checks = view.dataset.config.checks.iter();
    let counted: Vec<(&str, &CheckCounts)> = checks
        .filter_map(|check| Some((check.name.as_str(), counts.get(&check.name)?)))
        .collect();
    let results = counted.iter().flat_map(|(check, counts)| {
        [
            (["pass"], counts.passed),
            (["fail"], counts.failed.values().sum()),
            (["not_judged"], counts.not_judged.values().sum()),
        ]
        .map(|([result], count)| ([*check, result], count))
    });
    out.counters(&PROBES, results)?;
    let reasons = counted.iter().flat_map(|(check, counts)| {
        let all = counts.failed.iter().chain(&counts.not_judged);
        all.map(move |(reason, count)| ([*check, *reason], *count))
    });
    out.counters(&FAILURES, reasons)?;
    let durations = counted.iter().map(|(check, counts)| {
        let most = DURATIONS.into_iter().chain([f64::INFINITY]);
        let distribution = Distribution {
            buckets: most.zip(counts.durations).collect(),
            sum: counts.took.as_secs_f64(),
        };
        ([*check], distribution)
    });
    out.histograms(&DURATION, durations)
}
