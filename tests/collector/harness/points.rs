//! Data points as written by the Collector's file exporter: one JSON object per line, for one or more requests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value as Json;

use super::until;

/// Attributes by key, numbers as their digits.
pub type Attributes = BTreeMap<String, String>;

/// What kind of metric a point is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Gauge,
    Sum { monotonic: bool, delta: bool },
}

/// A point's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    Int(i64),
    Double(f64),
}

impl Value {
    #[allow(clippy::cast_precision_loss)] // the tests' numbers are small
    pub fn float(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Double(value) => value,
        }
    }
}

/// One data point and its description.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub resource: Arc<Attributes>,
    pub scope: Arc<str>,
    pub metric: Arc<str>,
    pub unit: Arc<str>,
    pub kind: Kind,
    pub attributes: Attributes,
    /// Nanoseconds since 1970.
    pub start: u64,
    pub time: u64,
    pub value: Value,
}

impl Point {
    /// `metric{key=value,…}`.
    pub fn series(&self) -> String {
        let pairs: Vec<_> = self.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("{}{{{}}}", self.metric, pairs.join(","))
    }
}

/// The points of one series, in the order in which they arrived.
pub fn series<'a>(points: &'a [Point], name: &str) -> Vec<&'a Point> {
    points.iter().filter(|point| point.series() == name).collect()
}

/// The times at which there are points of `metric`.
pub fn cycles(points: &[Point], metric: &str) -> BTreeSet<u64> {
    points.iter().filter(|point| &*point.metric == metric).map(|point| point.time).collect()
}

/// Now, as points have it.
pub fn since_epoch() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// An output file of the Collector, read as it grows.
pub struct Output {
    path: PathBuf,
    read: u64,
    points: Vec<Point>,
}

impl Output {
    pub fn new(path: PathBuf) -> Self {
        Self { path, read: 0, points: Vec::new() }
    }

    /// All points so far.
    pub fn look(&mut self) -> &[Point] {
        let mut text = String::new();
        if let Ok(mut file) = File::open(&self.path) {
            file.seek(SeekFrom::Start(self.read)).unwrap();
            file.read_to_string(&mut text).unwrap();
        }
        // The last line may still be being written.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        for line in text[..whole].lines() {
            parse(&serde_json::from_str(line).unwrap(), &mut self.points);
        }
        &self.points
    }

    pub fn take(mut self) -> Vec<Point> {
        self.look();
        self.points
    }

    /// Waits until what arrived is as `done` wants it.
    pub fn wait(&mut self, what: &str, limit: Duration, mut done: impl FnMut(&[Point]) -> bool) -> &[Point] {
        until(what, limit, || done(self.look()).then_some(()));
        &self.points
    }

    /// Waits for points of `metric` at `count` different times.
    pub fn wait_cycles(&mut self, metric: &str, count: usize, limit: Duration) -> &[Point] {
        self.wait(&format!("{count} cycles of {metric}"), limit, |points| cycles(points, metric).len() >= count)
    }
}

fn parse(request: &Json, points: &mut Vec<Point>) {
    for resource_metrics in list(&request["resourceMetrics"]) {
        let resource = Arc::new(attributes(&resource_metrics["resource"]["attributes"]));
        for scope_metrics in list(&resource_metrics["scopeMetrics"]) {
            let scope: Arc<str> = text(&scope_metrics["scope"]["name"]).into();
            // The one histogram there is, the time of the agent's own collections, has no single value to compare.
            for metric in list(&scope_metrics["metrics"]).iter().filter(|metric| metric.get("histogram").is_none()) {
                let (kind, data) = kind(metric);
                let (name, unit): (Arc<str>, Arc<str>) = (text(&metric["name"]).into(), text(&metric["unit"]).into());
                points.extend(list(&data["dataPoints"]).iter().map(|point| Point {
                    resource: Arc::clone(&resource),
                    scope: Arc::clone(&scope),
                    metric: Arc::clone(&name),
                    unit: Arc::clone(&unit),
                    kind,
                    attributes: attributes(&point["attributes"]),
                    start: text(&point["startTimeUnixNano"]).parse().unwrap_or(0),
                    time: text(&point["timeUnixNano"]).parse().unwrap(),
                    value: value(point),
                }));
            }
        }
    }
}

fn kind(metric: &Json) -> (Kind, &Json) {
    if let Some(data) = metric.get("gauge") {
        return (Kind::Gauge, data);
    }
    let data = metric.get("sum").unwrap_or_else(|| panic!("neither gauge nor sum: {metric}"));
    let delta = match data["aggregationTemporality"].as_u64() {
        Some(1) => true,
        Some(2) => false,
        other => panic!("temporality {other:?} of {metric}"),
    };
    (Kind::Sum { monotonic: data["isMonotonic"] == true, delta }, data)
}

fn value(point: &Json) -> Value {
    match (point.get("asInt"), point.get("asDouble")) {
        (Some(int), _) => Value::Int(text(int).parse().unwrap()),
        (None, Some(double)) => Value::Double(double.as_f64().unwrap()),
        (None, None) => panic!("no value: {point}"),
    }
}

fn attributes(list_of: &Json) -> Attributes {
    let pair = |pair: &Json| {
        let value = pair["value"].as_object().unwrap().values().next().unwrap();
        (text(&pair["key"]), value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned))
    };
    list(list_of).iter().map(pair).collect()
}

fn list(value: &Json) -> &[Json] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Json) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
