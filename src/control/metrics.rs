//! `/metrics`: what the workers count, summed at the scrape.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::{Control, Status, TargetStatus};
use crate::answer::Counters;
use crate::dns::Rcode;
use crate::metrics::Counter;
use crate::steer::Rung;

/// All metrics in the OpenMetrics text format.
pub(super) fn encode(control: &Control, status: Status) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape { control: control.clone(), status }));
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
        self.control.counters.iter().map(|counters| of(counters).get()).fold(0, u64::wrapping_add)
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
            [("udp", self.sum(|c| &c.queries[0])), ("tcp", self.sum(|c| &c.queries[1]))],
        )?;
        let rcode = |value: usize| Rcode(value as u16).to_string();
        let rcodes: Vec<_> =
            (0..17).map(|value| (rcode(value), self.sum(|c| &c.rcodes[value]))).filter(|(_, n)| *n > 0).collect();
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
                ("send_failed", udp.sum_udp(|c| &c.send_errors)),
            ],
        )?;
        counter(out, "meridian_truncated", "Answers with TC set", self.sum(|c| &c.truncated))?;
        let rungs = Rung::ALL.map(|rung| (rung.as_label(), self.sum(|c| &c.rungs[rung as usize])));
        family(out, "meridian_service_answers", "Answers of services, by the rung of the ladder they came from", "rung", rungs)?;
        counter(out, "meridian_tcp_connections_accepted", "TCP connections accepted", udp.tcp.accepted.get())?;
        counter(out, "meridian_tcp_connections_refused", "TCP connections over a limit", udp.tcp.refused.get())?;
        counter(out, "meridian_tcp_connections_timed_out", "TCP connections idle or too slow", udp.tcp.timed_out.get())?;
        gauge(out, "meridian_ready", "1 when this node should be sent queries", i64::from(self.status.not_ready.is_none()))?;
        gauge(out, "meridian_isolated", "1 while our own network is taken to be what failed", i64::from(self.status.isolated))?;
        self.encode_health(out)
    }
}

impl Scrape {
    fn encode_health(&self, out: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let targets = || self.status.targets.iter();
        let labels = |target: &TargetStatus| [("check", target.check.clone()), ("target", target.target.clone())];
        let up = targets().map(|target| (labels(target), f64::from(u8::from(target.up))));
        gauges(out, "meridian_target_up", "1 when a check of an address is up", up)?;
        let flapping = targets().filter(|target| target.flapping_until.is_some()).map(|target| (labels(target), 1.0));
        gauges(out, "meridian_target_flapping", "1 while it is held down as flapping", flapping)?;
        let load = targets().filter_map(|target| Some((labels(target), target.load?)));
        gauges(out, "meridian_target_load", "The load it reports, averaged, 0 idle to 1 full", load)?;
        let held = self.status.returning.iter().filter(|pool| pool.is_held());
        let held = held.map(|pool| ([("service", pool.service.clone()), ("region", pool.region.clone())], 1.0));
        gauges(out, "meridian_pool_held", "1 while it is held until an operator resumes it", held)?;
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
}

/// One family of gauges, each with two labels.
fn gauges(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = ([(&'static str, String); 2], f64)>,
) -> Result<(), std::fmt::Error> {
    let mut family = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
    values.into_iter().try_for_each(|(labels, value)| ConstGauge::new(value).encode(family.encode_family(&labels)?))
}

fn counter(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), std::fmt::Error> {
    let metric = ConstCounter::new(value);
    metric.encode(out.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn gauge(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> Result<(), std::fmt::Error> {
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
    let mut metrics: MetricEncoder<'_> =
        out.encode_descriptor(name, help, None, prometheus_client::metrics::MetricType::Counter)?;
    for (value, count) in values {
        ConstCounter::new(count).encode(metrics.encode_family(&[(label, value)])?)?;
    }
    Ok(())
}
