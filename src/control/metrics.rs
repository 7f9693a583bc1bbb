//! `/metrics`: the workers' counters summed at the scrape, and the state of this process and of health.
//!
//! Each method of [`Scrape`] writes the families of one subject; [`Families`] writes one family.

use std::fmt::Error;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
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

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let out = &mut Families(&mut encoder);
        self.messages(out)?;
        self.answers(out)?;
        self.panics(out)?;
        self.tcp(out)?;
        self.liveness(out)?;
        self.work(out)?;
        self.reloads(out)?;
        self.targets(out)?;
        self.operators(out)?;
        self.units(out)
    }
}

impl Scrape {
    fn sum(&self, of: impl Fn(&Counters) -> &Counter) -> u64 {
        let mut sum = 0_u64;
        for counters in &self.control.counters {
            sum = sum.wrapping_add(of(counters).get());
        }
        sum
    }

    fn messages(&self, out: &mut Families<'_, '_>) -> Result<(), Error> {
        let udp = &self.control.server;
        let mut received = Vec::new();
        for transport in Transport::ALL {
            let count = self.sum(|c| &c.queries[transport.index()]);
            received.push((transport.label(), count));
        }
        out.counters(
            "meridian_queries",
            "Messages received, by transport",
            "transport",
            &received,
        )?;
        let mut rcodes = Vec::new();
        for value in 0..17_u16 {
            let count = self.sum(|c| &c.rcodes[usize::from(value)]);
            if count > 0 {
                rcodes.push((Rcode(value).to_string(), count));
            }
        }
        let by_name: Vec<_> = rcodes.iter().map(|(name, n)| (name.as_str(), *n)).collect();
        out.counters(
            "meridian_responses",
            "Answers, by response code",
            "rcode",
            &by_name,
        )?;
        out.counters(
            "meridian_dropped",
            "Messages without an answer, by reason",
            "reason",
            &[
                ("short", self.sum(|c| &c.dropped[0])),
                ("not_a_query", self.sum(|c| &c.dropped[1])),
                ("too_long", udp.sum_udp(|c| &c.too_long)),
                ("port_0", udp.sum_udp(|c| &c.nowhere)),
                ("send_failed", udp.sum_udp(|c| &c.send_errors)),
                ("overflow", udp.overflows()),
            ],
        )?;
        out.counter(
            "meridian_truncated",
            "Answers with TC set",
            self.sum(|c| &c.truncated),
        )
    }

    /// Answers of services. Pools that were never handed out have no line: there may be hundreds of
    /// thousands.
    fn answers(&self, out: &mut Families<'_, '_>) -> Result<(), Error> {
        out.counters(
            "meridian_service_answers",
            "Answers of services, by the rung of the ladder they came from",
            "rung",
            &Rung::ALL.map(|rung| (rung.as_label(), self.sum(|c| &c.rungs[rung as usize]))),
        )?;
        let snapshot = self.control.published.load();
        let config = &snapshot.dataset.config;
        let mut rows = Vec::new();
        for (index, service) in config.services.iter().enumerate() {
            for (region, count) in snapshot.answers_of(ServiceId::from_index(index)) {
                if count > 0 {
                    let region = region.map_or("fallback", |region| config.region_name(region));
                    rows.push((service.name.to_string(), region, count));
                }
            }
        }
        let labelled = rows.iter().map(|(service, region, count)| {
            let labels = [("service", service.as_str()), ("region", *region)];
            (labels, *count)
        });
        out.labelled_counters(
            "meridian_answers",
            "Answers of a service, by the region they sent clients to",
            labelled,
        )
    }

    fn panics(&self, out: &mut Families<'_, '_>) -> Result<(), Error> {
        out.counters(
            "meridian_panics",
            "Requests that failed because of a bug in Meridian, by place",
            "where",
            &[
                ("udp", self.control.server.sum_udp(|c| &c.panics)),
                ("query", self.sum(|c| &c.panics)),
                ("admin", PANICS.load(Ordering::Relaxed)),
            ],
        )
    }

    fn tcp(&self, out: &mut Families<'_, '_>) -> Result<(), Error> {
        let tcp = &self.control.server.tcp;
        for (name, help, counter) in [
            (
                "meridian_tcp_connections_accepted",
                "TCP connections accepted",
                &tcp.accepted,
            ),
            (
                "meridian_tcp_connections_refused",
                "TCP connections over a limit",
                &tcp.refused,
            ),
            (
                "meridian_tcp_connections_timed_out",
                "TCP connections idle or too slow",
                &tcp.timed_out,
            ),
        ] {
            out.counter(name, help, counter.get())?;
        }
        Ok(())
    }

    fn liveness(&self, out: &mut Families<'_, '_>) -> Result<(), Error> {
        let (liveness, now) = (&self.control.liveness, Clock.now());
        out.flag(
            "meridian_ready",
            "1 while this node should be sent queries",
            liveness.ready(now).is_ok(),
        )?;
        out.seconds(
            "meridian_control_loop_late_seconds",
            "Lateness of the control loop, which follows health, operators and the files",
            liveness.late(now).as_secs_f64(),
        )?;
        out.counter(
            "meridian_control_loop_stalls",
            "Times that the control loop was late by a second or more",
            liveness.stalls(),
        )?;
        out.counter(
            "meridian_log_dropped",
            "Log lines dropped because the log reader did not keep up",
            log::dropped(),
        )
    }

    fn work(&self, out: &mut Families<'_, '_>) -> Result<(), Error> {
        let help = "Time that work on files under way has taken so far; 0 while none is";
        let rows = Work::ALL.map(|work| (work.as_label(), self.control.work.get(work)));
        let name = "meridian_file_work_seconds";
        let mut family = out
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (work, takes) in rows {
            let takes = ConstGauge::new(takes.as_secs_f64());
            takes.encode(family.encode_family(&[("work", work)])?)?;
        }
        Ok(())
    }

    fn reloads(&self, out: &mut Families<'_, '_>) -> Result<(), Error> {
        let last = self.control.reloads.load();
        out.flag(
            "meridian_last_reload_success",
            "1 while the files as they were last read are served",
            last.refused.is_none(),
        )?;
        out.gauge(
            "meridian_last_reload_timestamp_seconds",
            "Time of the end of the last reload, or of the start",
            // The clock of a machine that runs this shows no time that 63 bits do not hold.
            last.ended as i64,
        )?;
        out.counter(
            "meridian_reload_failures",
            "Reloads that were refused or failed",
            last.failures,
        )
    }

    fn targets(&self, out: &mut Families<'_, '_>) -> Result<(), Error> {
        let targets = &self.status.targets;
        out.flag(
            "meridian_isolated",
            "1 while this node's own network is assumed down",
            self.status.isolated,
        )?;
        let rechecks = &self.status.rechecks;
        let numbers = [
            (
                "meridian_rechecks",
                "Targets that are rechecked now",
                rechecks.active,
            ),
            (
                "meridian_rechecks_waiting",
                "Targets that wait in line for rechecks",
                rechecks.waiting,
            ),
            (
                "meridian_rechecks_limit",
                "The most targets that are rechecked at once",
                rechecks.limit,
            ),
        ];
        for (name, help, count) in numbers {
            // There are fewer targets than 2³².
            out.gauge(name, help, i64::try_from(count).unwrap_or(i64::MAX))?;
        }
        out.counter(
            "meridian_recheck_probes",
            "Probes that came before their interval was over",
            rechecks.probes,
        )?;
        out.gauges(
            "meridian_target_up",
            "1 while a check of an address is up",
            targets.iter().map(|target| {
                let up = if target.up { 1.0 } else { 0.0 };
                (labels_of(target), up)
            }),
        )?;
        let flapping = targets
            .iter()
            .filter(|target| target.flapping_until.is_some());
        out.gauges(
            "meridian_target_flapping",
            "1 while a target is held down as flapping",
            flapping.map(|target| (labels_of(target), 1.0)),
        )?;
        out.gauges(
            "meridian_target_load",
            "Load that a target reports, averaged, 0 idle to 1 full",
            targets
                .iter()
                .filter_map(|target| Some((labels_of(target), target.load?))),
        )?;
        let reporting = targets
            .iter()
            .filter(|target| target.load.is_some() || target.load_ignored > 0);
        out.labelled_counters(
            "meridian_target_load_ignored",
            "Passes without a report of load that can be used",
            reporting.map(|target| (labels_of(target), target.load_ignored)),
        )
    }

    fn operators(&self, out: &mut Families<'_, '_>) -> Result<(), Error> {
        let held = self.status.returning.iter().filter(|pool| pool.is_held());
        out.gauges(
            "meridian_pool_held",
            "1 while a pool is held until an operator resumes it",
            held.map(|pool| {
                let labels = [
                    ("service", pool.service.as_str()),
                    ("region", pool.region.as_str()),
                ];
                (labels, 1.0)
            }),
        )?;
        let in_force = self.status.overrides.iter().filter(|own| own.in_force);
        out.gauges(
            "meridian_override",
            "1 while an operator's override is in force",
            in_force.map(|own| ([("word", own.word.as_str()), ("of", own.of.as_str())], 1.0)),
        )?;
        out.flag(
            "meridian_overrides_lost",
            "1 while overrides are lost and no operator has accepted that",
            self.status.overrides_lost.is_some(),
        )
    }

    fn units(&self, out: &mut Families<'_, '_>) -> Result<(), Error> {
        let units = &self.status.units.units;
        out.gauges(
            "meridian_unit_owner",
            "1 for the region that owns a unit",
            units.iter().filter_map(|unit| {
                let owner = unit.owner.as_deref()?;
                Some(([("unit", unit.unit.as_str()), ("region", owner)], 1.0))
            }),
        )?;
        out.gauges(
            "meridian_unit_epoch",
            "Epoch of a unit's owner, or of its last one",
            // Epochs stay below 2^53, so a float holds each exactly.
            units
                .iter()
                .map(|unit| (unit_labels(unit), unit.epoch as f64)),
        )?;
        out.gauges(
            "meridian_unit_fenced",
            "1 while nobody owns a unit",
            units.iter().map(|unit| {
                let fenced = if unit.owner.is_none() { 1.0 } else { 0.0 };
                (unit_labels(unit), fenced)
            }),
        )?;
        out.flag(
            "meridian_units_frozen",
            "1 while no unit can change hands",
            self.status.units.frozen.is_some(),
        )
    }
}

/// Two labels of one row.
type Labels<'l> = [(&'static str, &'l str); 2];

fn labels_of(target: &TargetStatus) -> Labels<'_> {
    [("check", &target.check), ("target", &target.target)]
}

fn unit_labels(unit: &UnitStatus) -> Labels<'_> {
    [("unit", &unit.unit), ("service", &unit.service)]
}

/// A writer of metric families.
struct Families<'e, 'w>(&'e mut DescriptorEncoder<'w>);

impl Families<'_, '_> {
    /// A counter without labels.
    fn counter(&mut self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        let family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(family)
    }

    /// Counters with one label.
    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        rows: &[(&str, u64)],
    ) -> Result<(), Error> {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value, count) in rows {
            ConstCounter::new(*count).encode(family.encode_family(&[(label, *value)])?)?;
        }
        Ok(())
    }

    /// Counters with two labels.
    fn labelled_counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl Iterator<Item = (Labels<'l>, u64)>,
    ) -> Result<(), Error> {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, count) in rows {
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// A gauge of 1 or 0.
    fn flag(&mut self, name: &str, help: &str, is_set: bool) -> Result<(), Error> {
        self.gauge(name, help, i64::from(is_set))
    }

    /// A gauge without labels.
    fn gauge(&mut self, name: &str, help: &str, value: i64) -> Result<(), Error> {
        let family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(family)
    }

    /// A gauge of seconds.
    fn seconds(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        let family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(family)
    }

    /// Gauges with two labels.
    fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl Iterator<Item = (Labels<'l>, f64)>,
    ) -> Result<(), Error> {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
