//! Metrics about the agent (`--self-metrics`): health, resource usage and data loss.
//!
//! All names start with `heka.`: the conventions' `process.*` metrics require a resource with `process.pid`, but this
//! resource is the host. A separate scope distinguishes them from host metrics and allows dropping them in one place.
//! Counters start at zero at registration. `Basic` rows are sent by default, with one series each; `Detailed` rows, per
//! collector and per reason, require `--self-metrics detailed`.
//!
//! Call [`SelfMetrics::new`] before registering the collectors, because its first callback marks the start of the
//! collection. Call the other functions afterwards, so that they report on the same collection.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry::metrics::Meter;

use crate::collectors::limit::combinations;
use crate::collectors::{CollectorStats, Observer, Registered, observable};
use crate::host::bounded::lock;
use crate::metrics::naming::Detail::{self, Basic, Detailed};
use crate::metrics::naming::Kind::{Counter, Gauge, UpDownCounter};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names, Naming, Shape, attributes};

mod delivery;
mod process;

/// Instrumentation scope of the self-metrics.
pub const SCOPE: &str = concat!(env!("CARGO_PKG_NAME"), ".self");

const COLLECTOR: Attribute = Attribute { key: Names::both("heka.collector.name"), values: &[] };
const NODE_COLLECTOR: Attribute = Attribute { key: Names::both("collector"), values: &[] };

#[rustfmt::skip] // a table
const COLLECTION: &[Metric] = &[
    Metric::new("duration", Gauge, Double,
        "Time that the previous collection took, from the first reading to the hand-over of the batch",
        "the agent's clock")
        .semconv("heka.collection.duration", "s", Basic, &[]),
    Metric::new("errors", Counter, Int, "Readings of files that failed, and faults of collectors", "the collectors")
        .semconv("heka.collection.errors", "{error}", Basic, &[]),
    Metric::new("series_cut", UpDownCounter, Int, "Series that this collection left out because of --max-series or a limit of the text files",
        "the collectors")
        .semconv("heka.collection.series_cut", "{series}", Basic, &[]),
];

#[rustfmt::skip] // a table
const COLLECTORS: &[Metric] = &[
    Metric::new("collector.duration", Gauge, Double, "Time that the collector's last reading took", "the agent's clock")
        .semconv("heka.collector.duration", "s", Detailed, &[&COLLECTOR])
        .node_exporter("node_scrape_collector_duration_seconds", Basic, &[&NODE_COLLECTOR]),
    Metric::new("collector.success", Gauge, Int, "Whether the last reading of the collector had no failure, 1 or 0",
        "the collector")
        .semconv("heka.collector.success", "{success}", Detailed, &[&COLLECTOR])
        .node_exporter("node_scrape_collector_success", Basic, &[&NODE_COLLECTOR]),
    Metric::new("collector.errors", Counter, Int, "Readings of files that failed, and faults of the collector",
        "the collector")
        .semconv("heka.collector.errors", "{error}", Detailed, &[&COLLECTOR]),
    Metric::new("collector.series", UpDownCounter, Int, "Series that the collector reported in this collection",
        "the collector")
        .semconv("heka.collector.series", "{series}", Detailed, &[&COLLECTOR]),
    Metric::new("collector.series_cut", UpDownCounter, Int, "Series that this collection left out because of --max-series or a limit of the text files",
        "the collector")
        .semconv("heka.collector.series_cut", "{series}", Detailed, &[&COLLECTOR]),
];

/// Rows that every scrape includes.
const OUTCOMES: [&str; 2] = ["collector.duration", "collector.success"];

/// The tables of all self-metrics, for the documentation.
pub const TABLES: &[&[Metric]] = &[COLLECTION, delivery::METRICS, process::METRICS, COLLECTORS];

/// Measures the collection time, from the first callback to the call of the exporter.
#[derive(Clone, Debug, Default)]
pub struct Timer {
    begun: Arc<Mutex<Option<Instant>>>,
    /// Duration of the last collection in nanoseconds; 0 before the first.
    last: Arc<AtomicU64>,
}

impl Timer {
    /// Ends the measurement. Call it at the start of an export; the time is exported with the next collection.
    pub fn collected(&self) {
        if let Some(begun) = lock(&self.begun).take() {
            self.last.store(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    fn begin(&self) {
        *lock(&self.begun) = Some(Instant::now());
    }

    fn last(&self) -> Option<Duration> {
        Some(Duration::from_nanos(self.last.load(Ordering::Relaxed))).filter(|took| !took.is_zero())
    }
}

/// The self-metrics instruments, on a meter with the scope [`SCOPE`].
#[derive(Debug)]
pub struct SelfMetrics {
    meter: Meter,
    timer: Timer,
    naming: Naming,
    detail: Detail,
    outcomes: bool,
}

impl SelfMetrics {
    /// Registers the process metrics. Call it before registering the collectors.
    #[must_use]
    pub fn new(meter: Meter, timer: &Timer, naming: Naming, detail: Detail) -> Self {
        let own = Self { meter, timer: timer.clone(), naming, detail, outcomes: false };
        let timer = timer.clone();
        let mut process = process::Process::new();
        let read = move || {
            timer.begin();
            process.read()
        };
        own.watch(process::METRICS, read, process::report);
        own
    }

    /// Registers the metrics of the collection and of each collector. Call it after registering the collectors.
    pub fn watch_collectors(&self, registered: &Registered) {
        let number = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let all = registered.collectors.clone();
        let timer = self.timer.clone();
        let report = move |(): &(), id: &str, out: &mut Observer<'_>| {
            let sum = |figure: fn(&CollectorStats) -> &AtomicU64| all.iter().map(|stats| number(figure(stats))).sum();
            match id {
                "duration" => timer.last().into_iter().for_each(|took| out.float(took.as_secs_f64(), &[])),
                "errors" => out.int(sum(|stats| &stats.errors), &[]),
                "series_cut" => out.int(sum(|stats| &stats.cut), &[]),
                _ => {}
            }
        };
        self.watch(COLLECTION, || (), report);
        let key = if self.naming == Naming::NodeExporter { &NODE_COLLECTOR } else { &COLLECTOR };
        // In node_exporter's naming, several definitions share a name: one series is for all of them.
        let mut named: BTreeMap<&str, Vec<Arc<CollectorStats>>> = BTreeMap::new();
        for stats in &registered.collectors {
            named.entry(stats.name).or_default().push(Arc::clone(stats));
        }
        let attributes = |name: &str| own(&[(key, AttributeValue::Text(name.to_owned().into()))]);
        let collectors: Vec<_> = named.into_iter().map(|(name, parts)| (attributes(name), parts)).collect();
        let report = move |(): &(), id: &str, out: &mut Observer<'_>| {
            for (attributes, parts) in &collectors {
                let sum =
                    |figure: fn(&CollectorStats) -> &AtomicU64| parts.iter().map(|part| number(figure(part))).sum();
                match id {
                    "collector.duration" => {
                        let took = Duration::from_nanos(sum(|part| &part.read_nanos));
                        out.float(took.as_secs_f64(), attributes);
                    }
                    "collector.success" => {
                        let failed = parts.iter().any(|part| part.failed.load(Ordering::Relaxed));
                        out.int(u64::from(!failed), attributes);
                    }
                    "collector.errors" => out.int(sum(|part| &part.errors), attributes),
                    "collector.series" => out.int(sum(|part| &part.series), attributes),
                    "collector.series_cut" => out.int(sum(|part| &part.cut), attributes),
                    _ => {}
                }
            }
        };
        self.watch(COLLECTORS, || (), report);
    }

    /// Adds the duration and success of each collector, as usual for scrapes.
    #[must_use]
    pub fn with_outcomes(self) -> Self {
        Self { outcomes: true, ..self }
    }

    pub fn watch_delivery(&self, figures: impl Fn() -> crate::outbox::Snapshot + Send + 'static) {
        let report = delivery::report(figures());
        self.watch(delivery::METRICS, figures, report);
    }

    /// Creates the instruments of a table. The callback of the first one takes the reading that all of them report.
    fn watch<T: Default + Send + 'static>(
        &self,
        metrics: &'static [Metric],
        read: impl FnMut() -> T + Send + 'static,
        report: impl Fn(&T, &str, &mut Observer<'_>) + Send + Sync + 'static,
    ) {
        let state = Arc::new(Mutex::new((read, T::default())));
        let report = Arc::new(report);
        let mut first = true;
        for metric in metrics.iter().filter(|metric| shape(metric, self.naming, self.detail, self.outcomes).is_some()) {
            let (state, report) = (Arc::clone(&state), Arc::clone(&report));
            let is_first = std::mem::take(&mut first);
            observable(&self.meter, self.naming, metric, move |out| {
                let mut state = lock(&state);
                if is_first {
                    state.1 = (state.0)();
                }
                report(&state.1, metric.id, out);
            });
        }
    }
}

/// The shape of a selected metric. The profile hostmetrics has the names of the conventions. `outcomes` selects the
/// duration and success of each collector at every level of detail.
fn shape(metric: &Metric, naming: Naming, detail: Detail, outcomes: bool) -> Option<&Shape> {
    let naming = if naming == Naming::NodeExporter { naming } else { Naming::Semconv };
    let is_outcome = outcomes && OUTCOMES.contains(&metric.id);
    metric.shape(naming).filter(|shape| shape.detail <= detail || is_outcome)
}

/// Number of series of a collection with this many collectors. A scrape has no metrics of the delivery. The first
/// collection has one series less: the duration of the previous one.
#[must_use]
pub fn series(naming: Naming, detail: Detail, scraped: bool, collectors: usize) -> usize {
    let tables: &[&[Metric]] = if scraped { &[COLLECTION, process::METRICS, COLLECTORS] } else { TABLES };
    let shapes = tables.iter().copied().flatten().filter_map(|metric| shape(metric, naming, detail, scraped));
    shapes.map(|shape| combinations(shape).unwrap_or(collectors)).sum()
}

/// The attributes of a series; self-metrics have the same attributes in every profile.
fn own(pairs: &[(&Attribute, AttributeValue)]) -> Attributes {
    attributes(Naming::Semconv, pairs)
}

#[cfg(test)]
mod tests;
