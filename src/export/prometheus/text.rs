//! Prometheus' text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>), written straight from the SDK's data.

use std::fmt::{Display, Write};

use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData, ResourceMetrics};

/// What a series takes, about, for the first allocation.
const SERIES_BYTES: usize = 128;

/// The page of one collection. Histograms, which the agent does not have, are left out.
#[must_use]
pub fn of(metrics: &ResourceMetrics, target_info: bool) -> Vec<u8> {
    let all = || metrics.scope_metrics().flat_map(|scope| scope.metrics());
    let mut page = Page(String::with_capacity(SERIES_BYTES * all().map(series).sum::<usize>()));
    if target_info {
        page.head("target_info", "Target metadata", "gauge");
        page.resource(metrics);
    }
    for metric in all() {
        match metric.data() {
            AggregatedMetrics::F64(data) => page.metric(metric, data, |page, value| page.double(value)),
            AggregatedMetrics::I64(data) => page.metric(metric, data, |page, value| page.write(value)),
            AggregatedMetrics::U64(data) => page.metric(metric, data, |page, value| page.write(value)),
        }
    }
    page.0.into_bytes()
}

fn series(metric: &Metric) -> usize {
    fn of<T: Copy>(data: &MetricData<T>) -> usize {
        match data {
            MetricData::Gauge(gauge) => gauge.data_points().count(),
            MetricData::Sum(sum) => sum.data_points().count(),
            _ => 0,
        }
    }
    match metric.data() {
        AggregatedMetrics::F64(data) => of(data),
        AggregatedMetrics::I64(data) => of(data),
        AggregatedMetrics::U64(data) => of(data),
    }
}

struct Page(String);

impl Page {
    fn metric<T: Copy>(&mut self, metric: &Metric, data: &MetricData<T>, value: impl Fn(&mut Self, T)) {
        let name = metric.name();
        match data {
            MetricData::Gauge(gauge) => {
                self.head(name, metric.description(), "gauge");
                for point in gauge.data_points() {
                    self.series(name, point.attributes());
                    value(self, point.value());
                    self.0.push('\n');
                }
            }
            MetricData::Sum(sum) => {
                self.head(name, metric.description(), if sum.is_monotonic() { "counter" } else { "gauge" });
                for point in sum.data_points() {
                    self.series(name, point.attributes());
                    value(self, point.value());
                    self.0.push('\n');
                }
            }
            _ => {}
        }
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        if !help.is_empty() {
            self.0.extend(["# HELP ", name, " "]);
            self.escaped(help, false);
            self.0.push('\n');
        }
        self.0.extend(["# TYPE ", name, " ", kind, "\n"]);
    }

    /// A series up to its value.
    fn series<'a>(&mut self, name: &str, attributes: impl Iterator<Item = &'a KeyValue>) {
        self.0.push_str(name);
        let mut between = '{';
        for attribute in attributes {
            self.0.push(between);
            self.label(attribute.key.as_str());
            self.0.push_str("=\"");
            self.escaped(&attribute.value.as_str(), true);
            self.0.push('"');
            between = ',';
        }
        self.0.push_str(if between == ',' { "} " } else { " " });
    }

    /// `target_info`. The operator chooses these attributes: where two have one label, their values are joined in the order of
    /// the attributes' names, as in Prometheus' translation.
    fn resource(&mut self, metrics: &ResourceMetrics) {
        let mut attributes: Vec<_> = metrics.resource().iter().collect();
        attributes.sort_by_key(|(key, _)| key.as_str());
        let mut labels: Vec<(String, String)> = Vec::new();
        for (key, value) in attributes {
            let mut label = Self(String::new());
            label.label(key.as_str());
            labels.push((label.0, value.to_string()));
        }
        labels.sort_by(|a, b| a.0.cmp(&b.0));
        labels.dedup_by(|next, first| {
            let same = next.0 == first.0;
            if same {
                first.1.extend([";", next.1.as_str()]);
            }
            same
        });
        let labels: Vec<_> = labels.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect();
        self.series("target_info", labels.iter());
        self.0.push_str("1\n");
    }

    /// A label's name: `_` for what it may not hold, and `key_` before a digit, as in Prometheus' translation.
    fn label(&mut self, key: &str) {
        if key.starts_with(|c: char| c.is_ascii_digit()) {
            self.0.push_str("key_");
        }
        self.0.extend(key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
    }

    fn escaped(&mut self, text: &str, quotes: bool) {
        for part in text.split_inclusive(['\\', '\n', '"']) {
            let (before, escape) = match part.chars().next_back() {
                Some('\\') => (part.get(..part.len() - 1), "\\\\"),
                Some('\n') => (part.get(..part.len() - 1), "\\n"),
                Some('"') if quotes => (part.get(..part.len() - 1), "\\\""),
                _ => (Some(part), ""),
            };
            self.0.extend([before.unwrap_or_default(), escape]);
        }
    }

    fn double(&mut self, value: f64) {
        if value.is_infinite() {
            self.0.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
        } else {
            self.write(value);
        }
    }

    fn write(&mut self, value: impl Display) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{value}");
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
