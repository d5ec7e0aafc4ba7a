//! Short forms for encoding each kind of metric.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use crate::core::stats::{BOUNDS, Distribution};

/// The labels of a sample, each with its value.
pub(super) type Labels = Vec<(&'static str, &'static str)>;

/// Writes metrics to an encoder of prometheus-client.
pub(super) struct Encoder<'a>(pub DescriptorEncoder<'a>);

impl Encoder<'_> {
    pub(super) fn counter<N: EncodeCounterValue + Copy>(
        &mut self,
        name: &str,
        help: &str,
        count: N,
    ) -> fmt::Result {
        self.start(name, help, MetricType::Counter)?.encode_counter::<NoLabelSet, _, u64>(&count, None)
    }

    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        counts: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> fmt::Result {
        let mut metric = self.start(name, help, MetricType::Counter)?;
        counts.into_iter().try_for_each(|(value, count)| {
            metric.encode_family(&[(label, value)])?.encode_counter::<NoLabelSet, _, u64>(&count, None)
        })
    }

    pub(super) fn labelled_counters(
        &mut self,
        name: &str,
        help: &str,
        counts: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        let mut metric = self.start(name, help, MetricType::Counter)?;
        counts.into_iter().try_for_each(|(labels, count)| {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)
        })
    }

    pub(super) fn gauge<N: EncodeGaugeValue + Copy>(
        &mut self,
        name: &str,
        help: &str,
        value: N,
    ) -> fmt::Result {
        self.start(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    pub(super) fn gauges(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        gauges: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> fmt::Result {
        let mut metric = self.start(name, help, MetricType::Gauge)?;
        gauges
            .into_iter()
            .try_for_each(|(value, gauge)| metric.encode_family(&[(label, value)])?.encode_gauge(&gauge))
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, times: &Distribution) -> fmt::Result {
        encode(self.start(name, help, MetricType::Histogram)?, times)
    }

    pub(super) fn histograms(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        times: &[(&'static str, Distribution)],
    ) -> fmt::Result {
        let mut metric = self.start(name, help, MetricType::Histogram)?;
        times.iter().try_for_each(|(value, times)| encode(metric.encode_family(&[(label, *value)])?, times))
    }

    /// A histogram whose buckets count all that are within their bound, as they are kept elsewhere.
    pub(super) fn histogram_up_to(
        &mut self,
        name: &str,
        help: &str,
        (count, sum): (u64, f64),
        up_to: impl IntoIterator<Item = (f64, u64)>,
    ) -> fmt::Result {
        let mut below = 0;
        let buckets = up_to.into_iter().chain([(f64::INFINITY, count)]);
        let buckets: Vec<_> = buckets
            .map(|(bound, within)| (bound, within.saturating_sub(std::mem::replace(&mut below, within))))
            .collect();
        let mut metric = self.start(name, help, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn start<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }
}

fn encode(mut metric: MetricEncoder<'_>, times: &Distribution) -> fmt::Result {
    let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
    let buckets: Vec<_> = bounds.zip(times.counts).collect();
    metric.encode_histogram::<NoLabelSet>(times.sum.as_secs_f64(), times.count(), &buckets, None)
}
