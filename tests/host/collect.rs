//! Makes collections through the SDK and returns them as plain values.

use std::fmt;
use std::sync::{Arc, Mutex};

use heka_insights_agent::internals::collectors::limit::Limits;
use heka_insights_agent::internals::collectors::{COLLECTORS, Context, Definition, Registered, register_from};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Stream, StreamBuilder, Temporality};

use crate::exporter::Calling;

/// A number as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Int(i64),
    Unsigned(u64),
    Double(f64),
}

impl Number {
    pub fn f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Unsigned(value) => value as f64,
            Self::Double(value) => value,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Unsigned(value) => write!(f, "{value}"),
            Self::Double(value) => write!(f, "{value:?}"),
        }
    }
}

/// One series of one metric in one collection.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub name: String,
    pub unit: String,
    pub kind: &'static str,
    /// Sorted; texts in quotes, numbers without.
    pub attributes: Vec<(String, String)>,
    pub value: Number,
}

/// One collection, sorted by name and attributes.
#[derive(Clone, Debug, PartialEq)]
pub struct Collected(pub Vec<Point>);

impl Collected {
    fn of(metrics: &ResourceMetrics) -> Self {
        let mut points = Vec::new();
        for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
            let mut add = |kind, attributes: &mut dyn Iterator<Item = &KeyValue>, value| {
                let mut attributes: Vec<_> = attributes.map(|pair| (pair.key.to_string(), text(&pair.value))).collect();
                attributes.sort();
                let (name, unit) = (metric.name().to_owned(), metric.unit().to_owned());
                points.push(Point { name, unit, kind, attributes, value });
            };
            match metric.data() {
                AggregatedMetrics::F64(data) => each(data, Number::Double, &mut add),
                AggregatedMetrics::I64(data) => each(data, Number::Int, &mut add),
                AggregatedMetrics::U64(data) => each(data, Number::Unsigned, &mut add),
            }
        }
        points.sort_by(|a, b| (&a.name, &a.attributes).cmp(&(&b.name, &b.attributes)));
        Self(points)
    }

    /// The series of a metric.
    pub fn series(&self, name: &str) -> Vec<&Point> {
        self.0.iter().filter(|point| point.name == name).collect()
    }

    /// The one series of a metric that has all these words and numbers as attribute values.
    pub fn find(&self, name: &str, words: &[&str]) -> Option<Number> {
        let has = |point: &Point, word: &str| point.attributes.iter().any(|(_, value)| value.trim_matches('"') == word);
        let found: Vec<_> =
            self.series(name).into_iter().filter(|point| words.iter().all(|word| has(point, word))).collect();
        assert!(found.len() <= 1, "{name} {words:?} is no single series: {found:?}");
        found.first().map(|point| point.value)
    }

    /// As [`Collected::find`], of a series that must be there.
    #[track_caller]
    pub fn value(&self, name: &str, words: &[&str]) -> f64 {
        self.find(name, words).unwrap_or_else(|| panic!("{name} {words:?} is missing in\n{self}")).f64()
    }

    pub fn sum(&self, name: &str) -> f64 {
        self.series(name).iter().map(|point| point.value.f64()).sum()
    }

    /// The different values of an attribute of a metric.
    pub fn values_of(&self, name: &str, key: &str) -> Vec<String> {
        let pairs = self.series(name).into_iter().flat_map(|point| &point.attributes);
        let mut values: Vec<_> =
            pairs.filter(|(k, _)| k == key).map(|(_, value)| value.trim_matches('"').to_owned()).collect();
        values.sort();
        values.dedup();
        values
    }
}

/// One metric a paragraph, one series a line.
impl fmt::Display for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut name = "";
        for point in &self.0 {
            if point.name != name {
                name = &point.name;
                let number = if matches!(point.value, Number::Double(_)) { "double" } else { "int" };
                writeln!(f, "{name} [{}] {} {number}", point.unit, point.kind)?;
            }
            let pairs: Vec<_> = point.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
            writeln!(f, "  {{{}}} {}", pairs.join(", "), point.value)?;
        }
        Ok(())
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", text.as_str()),
        other => other.to_string(),
    }
}

fn each<T: Copy>(
    data: &MetricData<T>,
    number: impl Fn(T) -> Number,
    add: &mut dyn FnMut(&'static str, &mut dyn Iterator<Item = &KeyValue>, Number),
) {
    match data {
        MetricData::Gauge(gauge) => {
            gauge.data_points().for_each(|point| add("gauge", &mut point.attributes(), number(point.value())))
        }
        MetricData::Sum(sum) => {
            let kind = if sum.is_monotonic() { "counter" } else { "updowncounter" };
            sum.data_points().for_each(|point| add(kind, &mut point.attributes(), number(point.value())))
        }
        _ => panic!("no histogram is collected here"),
    }
}

/// The collectors on a meter provider as the agent builds it, with an exporter that keeps the last collection.
pub struct Pipeline {
    provider: SdkMeterProvider,
    last: Last,
    limits: Limits,
    pub registered: Registered,
}

impl Pipeline {
    pub fn new(context: &Context) -> Self {
        Self::with_collectors(context, COLLECTORS)
    }

    pub fn with_collectors(context: &Context, collectors: &[Definition]) -> Self {
        Self::within(context, collectors, Limits::default())
    }

    /// Another one in its place, with twice the room for series.
    pub fn renewed(self, context: &Context) -> Self {
        self.limits.double();
        Self::within(context, COLLECTORS, self.limits)
    }

    fn within(context: &Context, collectors: &[Definition], limits: Limits) -> Self {
        let (reader, last) = keeping(context.options.delta);
        let limit = limits.clone();
        let provider = SdkMeterProvider::builder()
            .with_reader(reader)
            .with_view(move |_: &_| {
                let stream = Stream::builder().with_cardinality_limit(limit.next());
                limit.given_name().into_iter().fold(stream, StreamBuilder::with_name).build().ok()
            })
            .build();
        let registered = register_from(&provider.meter("test"), context, collectors, Some(&limits));
        Self { provider, last, limits, registered }
    }

    /// The next collection.
    pub fn collect(&mut self) -> Collected {
        self.provider.force_flush().unwrap();
        // The SDK exports nothing where there is nothing.
        self.last.lock().unwrap().take().unwrap_or(Collected(Vec::new()))
    }
}

/// Where the last collection is kept.
pub type Last = Arc<Mutex<Option<Collected>>>;

/// A reader that collects on request, and the place where it puts what it collected.
pub fn keeping(delta: bool) -> (PeriodicReader<Calling>, Last) {
    let last = Last::default();
    let temporality = if delta { Temporality::Delta } else { Temporality::Cumulative };
    let kept = Arc::clone(&last);
    let exporter = Calling::new(move |metrics| *kept.lock().unwrap() = Some(Collected::of(metrics)));
    (exporter.temporality(temporality).reader(), last)
}
