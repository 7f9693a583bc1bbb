//! Metric families: what each is called, means and is bounded by, and the writer of their values.

use std::array;
use std::fmt::Error;

use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::metrics::Histogram;

/// A metric family, as its subject's table declares it.
#[derive(Debug)]
pub(super) struct Family {
    /// Its name, without the suffix that the values of counters and histograms have.
    pub(super) name: &'static str,
    /// The kind of its values.
    pub(super) kind: Kind,
    /// The names of its labels.
    pub(super) labels: &'static [&'static str],
    /// Its meaning, as the text of the scrape says it: one phrase without a full stop.
    pub(super) help: &'static str,
    /// The bound on the number of its series.
    pub(super) bound: &'static str,
    /// More about it for the page, in Markdown; may be empty.
    pub(super) more: &'static str,
}

/// A kind of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A count that only grows while the process lives.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// The families of one subject.
#[derive(Debug)]
pub(super) struct Subject {
    /// The heading of its section on the page.
    pub(super) title: &'static str,
    /// Its families, in the order of the text.
    pub(super) families: &'static [&'static Family],
}

/// Declares the families of a subject: `NAME: Kind "metric" ["label", …] "help", "bound", "more";`.
macro_rules! families {
    ($title:literal $($id:ident: $kind:ident $name:literal [$($label:literal),*]
        $help:literal, $bound:literal, $more:literal;)*) => {
        $(
            static $id: $crate::control::metrics::family::Family =
                $crate::control::metrics::family::Family {
                    name: $name,
                    kind: $crate::control::metrics::family::Kind::$kind,
                    labels: &[$($label),*],
                    help: $help,
                    bound: $bound,
                    more: $more,
                };
        )*
        pub(super) static SUBJECT: $crate::control::metrics::family::Subject =
            $crate::control::metrics::family::Subject {
                title: $title,
                families: &[$(&$id),*],
            };
    };
}
pub(super) use families;

impl Kind {
    /// Its name, as the text and the page have it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }

    fn metric_type(self) -> MetricType {
        match self {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        }
    }
}

/// A distribution: counts by bucket, and the sum of all values.
#[derive(Debug, Clone, Default)]
pub(super) struct Distribution {
    /// The upper bound of each bucket, the last infinite, and the count in it alone.
    pub(super) buckets: Vec<(f64, u64)>,
    /// The sum of all values.
    pub(super) sum: f64,
}

/// The writer of metric families.
pub(super) struct Families<'e, 'w>(pub(super) &'e mut DescriptorEncoder<'w>);

impl Families<'_, '_> {
    /// A counter without labels.
    pub(super) fn counter(&mut self, family: &'static Family, value: u64) -> Result<(), Error> {
        self.counters(family, [([], value)])
    }

    /// Counters, by the values of their labels.
    pub(super) fn counters<'l, const N: usize>(
        &mut self,
        family: &'static Family,
        rows: impl IntoIterator<Item = ([&'l str; N], u64)>,
    ) -> Result<(), Error> {
        self.rows(family, rows, ConstCounter::new)
    }

    /// A counter of seconds, without labels.
    pub(super) fn seconds(&mut self, family: &'static Family, value: f64) -> Result<(), Error> {
        self.rows(family, [([], value)], ConstCounter::new)
    }

    /// A gauge of 1 or 0.
    pub(super) fn flag(&mut self, family: &'static Family, is_set: bool) -> Result<(), Error> {
        self.gauge(family, i64::from(is_set))
    }

    /// A gauge without labels.
    pub(super) fn gauge<V: EncodeGaugeValue>(
        &mut self,
        family: &'static Family,
        value: V,
    ) -> Result<(), Error>
    where
        ConstGauge<V>: EncodeMetric,
    {
        self.gauges(family, [([], value)])
    }

    /// Gauges, by the values of their labels.
    pub(super) fn gauges<'l, V: EncodeGaugeValue, const N: usize>(
        &mut self,
        family: &'static Family,
        rows: impl IntoIterator<Item = ([&'l str; N], V)>,
    ) -> Result<(), Error>
    where
        ConstGauge<V>: EncodeMetric,
    {
        self.rows(family, rows, ConstGauge::new)
    }

    /// Histograms, by the values of their labels.
    pub(super) fn histograms<'l, const N: usize>(
        &mut self,
        family: &'static Family,
        rows: impl IntoIterator<Item = ([&'l str; N], Distribution)>,
    ) -> Result<(), Error> {
        self.rows(family, rows, |value| value)
    }

    fn rows<'l, V, M: EncodeMetric, const N: usize>(
        &mut self,
        family: &'static Family,
        rows: impl IntoIterator<Item = ([&'l str; N], V)>,
        metric: impl Fn(V) -> M,
    ) -> Result<(), Error> {
        debug_assert_eq!(family.labels.len(), N, "{}", family.name);
        let kind = family.kind.metric_type();
        let mut encoder = self
            .0
            .encode_descriptor(family.name, family.help, None, kind)?;
        for (values, value) in rows {
            let labels: [(&str, &str); N] =
                array::from_fn(|index| (family.labels[index], values[index]));
            if N == 0 {
                // With an empty set of labels it would write empty braces.
                return metric(value).encode(encoder);
            }
            metric(value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Distribution {
    /// The sum of histograms, in seconds.
    pub(super) fn of<'h>(histograms: impl IntoIterator<Item = &'h Histogram>) -> Distribution {
        let mut all = [0_u64; Histogram::BUCKETS];
        let mut nanos = 0.0;
        for histogram in histograms {
            for (all, own) in all.iter_mut().zip(histogram.counts()) {
                *all += own;
            }
            nanos += histogram.nanos() as f64;
        }
        let buckets = all.into_iter().enumerate().map(|(index, count)| {
            let most = Histogram::most(index).map_or(f64::INFINITY, |most| most.as_secs_f64());
            (most, count)
        });
        Distribution {
            buckets: buckets.collect(),
            sum: nanos / 1e9,
        }
    }
}

impl EncodeMetric for Distribution {
    fn encode(
        &self,
        mut encoder: prometheus_client::encoding::MetricEncoder<'_>,
    ) -> Result<(), Error> {
        let count = self.buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(self.sum, count, &self.buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
