//! `/metrics`: what the workers count, summed at the scrape.

use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::{Control, PANICS, Status, TargetStatus, UnitStatus, Work};
use crate::answer::{Counters, Transport};
use crate::clock::Clock;
use crate::dns::Rcode;
use crate::log;
use crate::metrics::Counter;
use crate::model::ServiceId;
use crate::steer::Rung;

/// All metrics in the OpenMetrics text format.
pub(super) fn encode(control: &Control, status: Status) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape {
        control: control.clone(),
        status,
    }));
    let mut out = String::new();
    text::encode(&mut out, &registry).expect("writing to a string does not fail");
    out
}

struct Scrape {
    control: Control,
    status: Status,
}

impl std::fmt::Debug for Scrape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scrape")
    }
}

impl Scrape {
    fn sum(&self, of: impl Fn(&Counters) -> &Counter) -> u64 {
        self.control
            .counters
            .iter()
            .map(|counters| of(counters).get())
            .fold(0, u64::wrapping_add)
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let out = &mut encoder;
        let udp = &self.control.server;
        family(
            out,
            "meridian_queries",
            "Messages received, by transport",
            "transport",
            Transport::ALL.map(|transport| {
                (
                    transport.label(),
                    self.sum(|c| &c.queries[transport.index()]),
                )
            }),
        )?;
        let rcode = |value: usize| Rcode(value as u16).to_string();
        let rcodes: Vec<_> = (0..17)
            .map(|value| (rcode(value), self.sum(|c| &c.rcodes[value])))
            .filter(|(_, n)| *n > 0)
            .collect();
        family(
            out,
            "meridian_responses",
            "Answers, by response code",
            "rcode",
            rcodes.iter().map(|(name, n)| (name.as_str(), *n)),
        )?;
        family(
            out,
            "meridian_dropped",
            "Messages without an answer, by reason",
            "reason",
            [
                ("short", self.sum(|c| &c.dropped[0])),
                ("not_a_query", self.sum(|c| &c.dropped[1])),
                ("too_long", udp.sum_udp(|c| &c.too_long)),
                ("port_0", udp.sum_udp(|c| &c.nowhere)),
                ("send_failed", udp.sum_udp(|c| &c.send_errors)),
                ("overflow", udp.overflows()),
            ],
        )?;
        counter(
            out,
            "meridian_truncated",
            "Answers with TC set",
            self.sum(|c| &c.truncated),
        )?;
        let rungs = Rung::ALL.map(|rung| (rung.as_label(), self.sum(|c| &c.rungs[rung as usize])));
        family(
            out,
            "meridian_service_answers",
            "Answers of services, by the rung of the ladder they came from",
            "rung",
            rungs,
        )?;
        let panics = [
            ("udp", udp.sum_udp(|c| &c.panics)),
            ("query", self.sum(|c| &c.panics)),
            ("admin", PANICS.load(Ordering::Relaxed)),
        ];
        family(
            out,
            "meridian_panics",
            "Requests given up because of an error in the program, by where",
            "where",
            panics,
        )?;
        self.encode_answers(out)?;
        counter(
            out,
            "meridian_tcp_connections_accepted",
            "TCP connections accepted",
            udp.tcp.accepted.get(),
        )?;
        counter(
            out,
            "meridian_tcp_connections_refused",
            "TCP connections over a limit",
            udp.tcp.refused.get(),
        )?;
        counter(
            out,
            "meridian_tcp_connections_timed_out",
            "TCP connections idle or too slow",
            udp.tcp.timed_out.get(),
        )?;
        self.encode_vitals(out)?;
        self.encode_reloads(out)?;
        encode_health(&self.status, out)
    }
}

impl Scrape {
    /// Pools that were never handed out have no line: there may be hundreds of thousands.
    fn encode_answers(&self, out: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let snapshot = self.control.published.load();
        let config = &snapshot.dataset.config;
        let help = "Answers of a service, by the region they sent clients to";
        let mut family =
            out.encode_descriptor("meridian_answers", help, None, MetricType::Counter)?;
        for (index, service) in config.services.iter().enumerate() {
            for (region, count) in snapshot
                .answers_of(ServiceId::from_index(index))
                .filter(|(_, count)| *count > 0)
            {
                let region = region.map_or("fallback", |region| config.region_name(region));
                let labels = [
                    ("service", service.name.to_string()),
                    ("region", region.to_owned()),
                ];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn encode_reloads(&self, out: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let last = self.control.reloads.load();
        let success = i64::from(last.refused.is_none());
        gauge(
            out,
            "meridian_last_reload_success",
            "1 while what is served are the files as they were last read",
            success,
        )?;
        let ended = last.ended as i64;
        gauge(
            out,
            "meridian_last_reload_timestamp_seconds",
            "When the last reload ended, or the start",
            ended,
        )?;
        counter(
            out,
            "meridian_reload_failures",
            "Reloads that were refused or failed",
            last.failures,
        )
    }

    fn encode_vitals(&self, out: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (liveness, now) = (&self.control.liveness, Clock.now());
        gauge(
            out,
            "meridian_ready",
            "1 when this node should be sent queries",
            i64::from(liveness.ready(now).is_ok()),
        )?;
        let late = out.encode_descriptor(
            "meridian_control_loop_late_seconds",
            "How late the control loop is, which follows health, operators and the files",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(liveness.late(now).as_secs_f64()).encode(late)?;
        counter(
            out,
            "meridian_control_loop_stalls",
            "How often it was late by a second or more",
            liveness.stalls(),
        )?;
        counter(
            out,
            "meridian_log_dropped",
            "Log lines dropped since whoever reads the log did not keep up",
            log::dropped(),
        )?;
        let help = "How long the work on files that is under way takes so far; 0 where none is";
        let mut family =
            out.encode_descriptor("meridian_file_work_seconds", help, None, MetricType::Gauge)?;
        for work in Work::ALL {
            let takes = ConstGauge::new(self.control.work.get(work).as_secs_f64());
            takes.encode(family.encode_family(&[("work", work.as_label())])?)?;
        }
        Ok(())
    }
}

fn encode_health(status: &Status, out: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
    gauge(
        out,
        "meridian_isolated",
        "1 while our own network is taken to be what failed",
        i64::from(status.isolated),
    )?;
    let targets = || status.targets.iter();
    let labels = |target: &TargetStatus| {
        [
            ("check", target.check.clone()),
            ("target", target.target.clone()),
        ]
    };
    let up = targets().map(|target| (labels(target), f64::from(u8::from(target.up))));
    gauges(
        out,
        "meridian_target_up",
        "1 when a check of an address is up",
        up,
    )?;
    let flapping = targets()
        .filter(|target| target.flapping_until.is_some())
        .map(|target| (labels(target), 1.0));
    gauges(
        out,
        "meridian_target_flapping",
        "1 while it is held down as flapping",
        flapping,
    )?;
    let load = targets().filter_map(|target| Some((labels(target), target.load?)));
    gauges(
        out,
        "meridian_target_load",
        "The load it reports, averaged, 0 idle to 1 full",
        load,
    )?;
    let held = status.returning.iter().filter(|pool| pool.is_held());
    let held = held.map(|pool| {
        (
            [
                ("service", pool.service.clone()),
                ("region", pool.region.clone()),
            ],
            1.0,
        )
    });
    gauges(
        out,
        "meridian_pool_held",
        "1 while it is held until an operator resumes it",
        held,
    )?;
    let overrides = status.overrides.iter().filter(|own| own.in_force);
    let overrides =
        overrides.map(|own| ([("word", own.word.clone()), ("of", own.of.clone())], 1.0));
    gauges(
        out,
        "meridian_override",
        "1 while an operator's word is in force",
        overrides,
    )?;
    let lost = i64::from(status.overrides_lost.is_some());
    gauge(
        out,
        "meridian_overrides_lost",
        "1 while a loss of overrides is not accepted by an operator",
        lost,
    )?;
    let units = || status.units.units.iter();
    let unit = |unit: &UnitStatus, region: &Option<String>| {
        [
            ("unit", unit.unit.clone()),
            ("region", region.clone().unwrap_or_default()),
        ]
    };
    let service = |unit: &UnitStatus| {
        [
            ("unit", unit.unit.clone()),
            ("service", unit.service.clone()),
        ]
    };
    let owners = units()
        .filter(|unit| unit.owner.is_some())
        .map(|own| (unit(own, &own.owner), 1.0));
    gauges(
        out,
        "meridian_unit_owner",
        "1 for the region that owns a unit",
        owners,
    )?;
    let epochs = units().map(|own| (service(own), own.epoch as f64));
    gauges(
        out,
        "meridian_unit_epoch",
        "The epoch of a unit's owner, or of its last one",
        epochs,
    )?;
    let fenced = units().map(|own| (service(own), f64::from(u8::from(own.owner.is_none()))));
    gauges(
        out,
        "meridian_unit_fenced",
        "1 while nobody owns a unit",
        fenced,
    )?;
    gauge(
        out,
        "meridian_units_frozen",
        "1 while no unit changes hands",
        i64::from(status.units.frozen.is_some()),
    )?;
    let mut ignored = out.encode_descriptor(
        "meridian_target_load_ignored",
        "Passes without a report of load that can be used",
        None,
        MetricType::Counter,
    )?;
    for target in targets().filter(|target| target.load.is_some() || target.load_ignored > 0) {
        ConstCounter::new(target.load_ignored).encode(ignored.encode_family(&labels(target))?)?;
    }
    Ok(())
}

/// One family of gauges, each with two labels.
fn gauges(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = ([(&'static str, String); 2], f64)>,
) -> Result<(), std::fmt::Error> {
    let mut family = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
    values.into_iter().try_for_each(|(labels, value)| {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)
    })
}

fn counter(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), std::fmt::Error> {
    let metric = ConstCounter::new(value);
    metric.encode(out.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn gauge(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: i64,
) -> Result<(), std::fmt::Error> {
    let metric = ConstGauge::new(value);
    metric.encode(out.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn family<'a>(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    values: impl IntoIterator<Item = (&'a str, u64)>,
) -> Result<(), std::fmt::Error> {
    let mut metrics: MetricEncoder<'_> = out.encode_descriptor(
        name,
        help,
        None,
        prometheus_client::metrics::MetricType::Counter,
    )?;
    for (value, count) in values {
        ConstCounter::new(count).encode(metrics.encode_family(&[(label, value)])?)?;
    }
    Ok(())
}
