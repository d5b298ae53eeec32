//! A collection as plain values, in the order of the collectors and their metric tables, with sorted series.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Instant, SystemTime};

use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric as SdkMetric, MetricData, ResourceMetrics};

use crate::metrics::naming::{Kind, Metric, Naming, Number};

/// The collectors by name with their metric tables, in printing order.
pub type Tables = Vec<(&'static str, &'static [Metric])>;

#[derive(Debug)]
pub struct Collection {
    pub time: SystemTime,
    /// Seconds since the previous collection; `None` at the first.
    pub elapsed: Option<f64>,
    /// Host name from the resource.
    pub host: Option<String>,
    pub metrics: Vec<Values>,
}

#[derive(Debug)]
pub struct Values {
    pub collector: &'static str,
    /// The metric's row in the collector's table.
    pub metric: &'static Metric,
    /// The name under which the metric is exported.
    pub name: Cow<'static, str>,
    pub unit: &'static str,
    pub series: Vec<Series>,
}

#[derive(Debug)]
pub struct Series {
    /// Attributes whose values are names on this host, such as a device or a CPU. Empty for a series about the whole
    /// host.
    pub labels: Vec<(String, String)>,
    /// Attributes whose values are from a fixed set.
    pub words: Vec<(String, String)>,
    /// Positions of the fixed attribute values in their sets.
    pub order: Vec<usize>,
    pub value: Value,
    /// A counter's rate per second; available from the second collection on.
    pub rate: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    Int(i64),
    Double(f64),
}

impl Value {
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // for display only
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Double(value) => value,
        }
    }
}

/// The previous collection, needed to compute rates.
#[derive(Debug, Default)]
pub struct History {
    taken: Option<Instant>,
    values: HashMap<String, f64>,
}

impl History {
    /// Converts a collection to plain values and stores its counters.
    pub fn take(&mut self, metrics: &ResourceMetrics, naming: Naming, tables: &Tables) -> Collection {
        // Rates need a monotonic clock.
        let (time, now) = (SystemTime::now(), Instant::now());
        let elapsed = self.taken.map(|before| now.duration_since(before).as_secs_f64());
        let mut found: Vec<(usize, usize, Values)> = Vec::new();
        let scopes = metrics.scope_metrics().flat_map(|scope| scope.metrics().map(|metric| (scope.scope(), metric)));
        for (scope, metric) in scopes {
            let found_by_a_collector = || (scope.name() == HOST_SCOPE).then(|| discovered(metric));
            let Some(row) = row(metric, naming, tables).or_else(found_by_a_collector) else { continue };
            let mut series = points(metric, &row);
            series.sort_by(|a, b| (&a.labels, &a.order).cmp(&(&b.labels, &b.order)));
            found.push((
                row.collector_place,
                row.metric_place,
                Values { collector: row.collector, metric: row.metric, name: row.name, unit: row.unit, series },
            ));
        }
        found.sort_by_key(|(collector, metric, _)| (*collector, *metric));
        let mut metrics_found: Vec<Values> = found.into_iter().map(|(_, _, values)| values).collect();
        self.rates(&mut metrics_found, elapsed.filter(|elapsed| *elapsed > 0.0));
        self.taken = Some(now);
        let host =
            metrics.resource().get(&opentelemetry::Key::from_static_str("host.name")).map(|name| name.to_string());
        Collection { time, elapsed, host, metrics: metrics_found }
    }

    fn rates(&mut self, metrics: &mut [Values], elapsed: Option<f64>) {
        let before = std::mem::take(&mut self.values);
        for values in metrics.iter_mut().filter(|values| values.metric.kind == Kind::Counter) {
            for series in &mut values.series {
                let key = format!("{} {:?} {:?}", values.name, series.labels, series.words);
                let value = series.value.as_f64();
                series.rate =
                    before.get(&key).zip(elapsed).map(|(before, elapsed)| (value - before).max(0.0) / elapsed);
                self.values.insert(key, value);
            }
        }
    }
}

/// The position of a metric in the tables.
struct Row {
    collector: &'static str,
    collector_place: usize,
    metric: &'static Metric,
    metric_place: usize,
    name: Cow<'static, str>,
    unit: &'static str,
    naming: Naming,
}

/// The instrumentation scope of the host metrics.
const HOST_SCOPE: &str = env!("CARGO_PKG_NAME");

/// A row for a metric that was discovered at runtime and is in no table.
fn discovered(metric: &SdkMetric) -> Row {
    static COUNTER: Metric = Metric::new("", Kind::Counter, Number::Double, "", "");
    static GAUGE: Metric = Metric::new("", Kind::Gauge, Number::Double, "", "");
    let is_counter = match metric.data() {
        AggregatedMetrics::F64(MetricData::Sum(sum)) => sum.is_monotonic(),
        _ => false,
    };
    Row {
        collector: "textfile",
        collector_place: usize::MAX,
        metric: if is_counter { &COUNTER } else { &GAUGE },
        metric_place: 0,
        name: metric.name().to_owned().into(),
        unit: "",
        naming: Naming::Semconv,
    }
}

/// The table row of a metric; `None` for other metrics, such as self-metrics.
fn row(metric: &SdkMetric, naming: Naming, tables: &Tables) -> Option<Row> {
    for (collector_place, (collector, table)) in tables.iter().enumerate() {
        for (metric_place, row) in table.iter().enumerate() {
            let shape = row.shape(naming).filter(|shape| shape.name == metric.name() && shape.unit == metric.unit());
            if let Some(shape) = shape {
                return Some(Row {
                    collector,
                    collector_place,
                    metric: row,
                    metric_place,
                    name: shape.name.into(),
                    unit: shape.unit,
                    naming,
                });
            }
        }
    }
    None
}

fn points(metric: &SdkMetric, row: &Row) -> Vec<Series> {
    fn of<T: Copy>(data: &MetricData<T>, row: &Row, value: impl Fn(T) -> Value) -> Vec<Series> {
        let one =
            |attributes: &mut dyn Iterator<Item = &opentelemetry::KeyValue>, value| series(attributes, row, value);
        match data {
            MetricData::Gauge(gauge) => {
                gauge.data_points().map(|point| one(&mut point.attributes(), value(point.value()))).collect()
            }
            MetricData::Sum(sum) => {
                sum.data_points().map(|point| one(&mut point.attributes(), value(point.value()))).collect()
            }
            MetricData::Histogram(_) | MetricData::ExponentialHistogram(_) => Vec::new(),
        }
    }
    match metric.data() {
        AggregatedMetrics::F64(data) => of(data, row, Value::Double),
        AggregatedMetrics::I64(data) => of(data, row, Value::Int),
        AggregatedMetrics::U64(data) => of(data, row, |value| Value::Int(i64::try_from(value).unwrap_or(i64::MAX))),
    }
}

fn series(attributes: &mut dyn Iterator<Item = &opentelemetry::KeyValue>, row: &Row, value: Value) -> Series {
    let shape = row.metric.shape(row.naming);
    let mut series = Series { labels: Vec::new(), words: Vec::new(), order: Vec::new(), value, rate: None };
    for attribute in attributes {
        let (key, word) = (attribute.key.as_str().to_owned(), attribute.value.to_string());
        let known = shape.into_iter().flat_map(|shape| shape.attributes).find(|known| known.key.of(row.naming) == key);
        let place = known.and_then(|known| known.values.iter().position(|names| names.of(row.naming) == word));
        match place {
            Some(place) => {
                series.words.push((key, word));
                series.order.push(place);
            }
            None => series.labels.push((key, word)),
        }
    }
    series
}
