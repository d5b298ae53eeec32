//! Prometheus' text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>), written from the SDK's data.

use std::fmt::{Display, Write};

use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData, ResourceMetrics};

use super::names::label_name;

/// Size of a series for the first allocation.
const SERIES_BYTES: usize = 128;

/// The page of one collection; `target_info` adds the attributes of the resource. Histograms are left out, because the
/// agent has none.
#[must_use]
pub fn page(collected: &ResourceMetrics, target_info: bool) -> String {
    let mut metrics: Vec<&Metric> = collected.scope_metrics().flat_map(|scope| scope.metrics()).collect();
    metrics.sort_by_key(|metric| metric.name());
    let mut page = Page { text: String::with_capacity(SERIES_BYTES * metrics.len()), name: String::new(), kind: "" };
    if target_info && !collected.resource().is_empty() {
        page.head("target_info", "Target metadata", "gauge");
        let attributes = collected.resource().iter();
        let mut labels: Vec<_> = attributes.map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
        labels.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        page.series("target_info", labels.iter(), 1);
    }
    for metric in metrics {
        match metric.data() {
            AggregatedMetrics::F64(data) => page.metric(metric, data),
            AggregatedMetrics::I64(data) => page.metric(metric, data),
            AggregatedMetrics::U64(data) => page.metric(metric, data),
        }
    }
    page.text
}

struct Page {
    text: String,
    /// The last metric and its type.
    name: String,
    kind: &'static str,
}

impl Page {
    fn metric<T: Copy + Display>(&mut self, metric: &Metric, data: &MetricData<T>) {
        let kind = match data {
            MetricData::Sum(sum) if sum.is_monotonic() => "counter",
            _ => "gauge",
        };
        let name = metric.name();
        let points = match data {
            MetricData::Gauge(gauge) => gauge.data_points().count(),
            MetricData::Sum(sum) => sum.data_points().count(),
            _ => 0,
        };
        // Two metrics of one name are one if they have one type; otherwise the page would be rejected.
        if points == 0 || !self.head(name, metric.description(), kind) {
            return;
        }
        let start = self.text.len();
        match data {
            MetricData::Gauge(gauge) => {
                gauge.data_points().for_each(|point| self.series(name, point.attributes(), point.value()));
            }
            MetricData::Sum(sum) => {
                sum.data_points().for_each(|point| self.series(name, point.attributes(), point.value()));
            }
            _ => {}
        }
        self.sort(start);
    }

    /// Sorts the lines from `start`: the SDK has the points in any order, and equal pages compress better.
    fn sort(&mut self, start: usize) {
        let mut lines: Vec<&str> = self.text.get(start..).unwrap_or_default().split_inclusive('\n').collect();
        if !lines.is_sorted() {
            lines.sort_unstable();
            let sorted = lines.concat();
            self.text.truncate(start);
            self.text.push_str(&sorted);
        }
    }

    /// Writes the lines before the series of a metric; returns whether it has the type of the metric before, if that has
    /// its name.
    fn head(&mut self, name: &str, help: &str, kind: &'static str) -> bool {
        if self.name == name {
            return self.kind == kind;
        }
        name.clone_into(&mut self.name);
        self.kind = kind;
        if !help.is_empty() {
            self.text.extend(["# HELP ", name, " "]);
            self.escaped(help, false);
            self.text.push('\n');
        }
        self.text.extend(["# TYPE ", name, " ", kind, "\n"]);
        true
    }

    fn series<'a>(&mut self, name: &str, attributes: impl Iterator<Item = &'a KeyValue>, value: impl Display) {
        self.text.push_str(name);
        let mut before = '{';
        for attribute in attributes {
            self.text.push(before);
            self.text.push_str(&label_name(attribute.key.as_str()));
            self.text.push_str("=\"");
            self.escaped(&attribute.value.as_str(), true);
            self.text.push('"');
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        // Writing to a String cannot fail. Rust's words for what is no number (`inf`, `NaN`) are read by Prometheus.
        let _ = writeln!(self.text, " {value}");
    }

    fn escaped(&mut self, text: &str, quotes: bool) {
        if !text.bytes().any(|byte| matches!(byte, b'\\' | b'\n' | b'"')) {
            return self.text.push_str(text);
        }
        for character in text.chars() {
            match character {
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '"' if quotes => self.text.push_str("\\\""),
                other => self.text.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::metrics::MeterProvider as _;
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::metrics::SdkMeterProvider;
    use opentelemetry_sdk::metrics::reader::MetricReader;
    use prometheus_text::{Registry, TextEncoder};

    use super::super::Exposition;
    use super::*;

    /// A provider with every kind of instrument, odd texts and odd numbers.
    fn provider(reader: impl MetricReader) -> SdkMeterProvider {
        let resource = Resource::builder_empty().with_attributes(
            [("host_name", "web\"1\""), ("a_b", "c\\\nd")].map(|(key, value)| KeyValue::new(key, value)),
        );
        let provider = SdkMeterProvider::builder().with_resource(resource.build()).with_reader(reader).build();
        let meter = provider.meter("a scope");
        let odd = || [KeyValue::new("path.of", "C:\\\"a\"\n/é"), KeyValue::new("unit", 7)];
        meter
            .u64_observable_counter("written_total")
            .with_description("Backslash \\, quote \" and\nnew line")
            .with_callback(move |out| {
                out.observe(1 << 53, &odd());
                out.observe(0, &[]);
            })
            .build();
        meter.i64_observable_up_down_counter("balance").with_callback(|out| out.observe(-5, &[])).build();
        meter
            .f64_observable_gauge("number")
            .with_callback(|out| {
                for (place, value) in [0.1, -1.5e-9, 3.0e20, 7.0].into_iter().enumerate() {
                    out.observe(value, &[KeyValue::new("place", i64::try_from(place).unwrap_or(0) * 5)]);
                }
            })
            .build();
        meter.f64_observable_gauge("empty").build();
        let other = provider.meter("another scope");
        other.i64_observable_gauge("number").with_callback(|out| out.observe(1, &[])).build();
        provider
    }

    /// The lines of a page: the library has `target_info` between the others, and series without labels first.
    fn sorted(page: &str) -> Vec<&str> {
        let mut lines: Vec<_> = page.lines().collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn the_page_is_that_of_the_library_for_it() {
        for target_info in [true, false] {
            let registry = Registry::new();
            let builder = opentelemetry_prometheus::exporter()
                .with_registry(registry.clone())
                .without_counter_suffixes()
                .without_units()
                .scope_info_enabled(false);
            let builder = if target_info { builder } else { builder.without_target_info() };
            let _provider = provider(builder.build().unwrap());
            let theirs = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
            let exposition = Exposition::new(target_info);
            let _provider = provider(exposition.clone());
            let ours = String::from_utf8(exposition.collect().unwrap().to_vec()).unwrap();
            assert_eq!(sorted(&ours), sorted(&theirs));
        }
    }

    #[test]
    fn a_second_metric_of_a_name_has_no_head_and_with_another_type_no_series() {
        let mut page = Page { text: String::new(), name: String::new(), kind: "" };
        assert!(page.head("a", "", "gauge") && page.head("a", "", "gauge") && !page.head("a", "", "counter"));
        assert_eq!(page.text, "# TYPE a gauge\n");
    }

    #[test]
    fn a_large_number_is_exact_and_lines_are_sorted() {
        let mut page = Page { text: String::new(), name: String::new(), kind: "" };
        for value in [u64::MAX, 1] {
            page.series("a", [KeyValue::new("of", value.to_string())].iter(), value);
        }
        page.sort(0);
        assert_eq!(page.text, "a{of=\"1\"} 1\na{of=\"18446744073709551615\"} 18446744073709551615\n");
    }
}
