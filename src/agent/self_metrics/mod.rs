//! What the agent says about itself (`--self-metrics`): is it working, what does it cost, what has it lost.
//!
//! Names are the conventions' (`otel.sdk.*`, `process.*`, v1.44) where they have one, and `heka.*` for the collectors and
//! the outbox, which they know nothing of. All of it is in a scope of its own, so that it can be told from the host's
//! metrics and dropped in one place. Counters count from the registration, as their start time says.
//!
//! Order matters: [`SelfMetrics::new`] before the collectors are registered, since its first callback is the
//! collection's beginning; the others after, so that what they report is of the same collection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};

use crate::collectors::{CollectorStats, Observer, Registered, observable};
use crate::metrics::naming::Detail::Basic;
use crate::metrics::naming::Kind::{Counter, Gauge, UpDownCounter};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names, Naming, attributes};

mod delivery;
mod process;

pub use delivery::{GRPC_EXPORTER, HTTP_EXPORTER};

/// The scope's name.
pub const SCOPE: &str = concat!(env!("CARGO_PKG_NAME"), ".self");

/// The histogram of the time that collections take. It has no boundaries, as its convention asks: count, sum, least and
/// most.
pub const COLLECTION_DURATION: &str = "otel.sdk.metric_reader.collection.duration";

const READER: &str = "periodic_metric_reader";

const COMPONENT_NAME: Attribute = Attribute { key: Names::both("otel.component.name"), values: &[] };
const COMPONENT_TYPE: Attribute = Attribute { key: Names::both("otel.component.type"), values: &[] };
const COLLECTOR: Attribute = Attribute { key: Names::both("heka.collector.name"), values: &[] };
const NODE_COLLECTOR: Attribute = Attribute { key: Names::both("collector"), values: &[] };

#[rustfmt::skip] // a table
const COLLECTORS: &[Metric] = &[
    Metric::new("collector.duration", Gauge, Double,
        "Time that the collector's last reading took",
        "the agent's clock")
        .semconv("heka.collector.duration", "s", Basic, &[&COLLECTOR])
        .node_exporter("node_scrape_collector_duration_seconds", Basic, &[&NODE_COLLECTOR]),
    Metric::new("collector.success", Gauge, Int,
        "Whether all that the collector read last could be read, 1 or 0",
        "the collector")
        .semconv("heka.collector.success", "{success}", Basic, &[&COLLECTOR])
        .node_exporter("node_scrape_collector_success", Basic, &[&NODE_COLLECTOR]),
    Metric::new("collector.errors", Counter, Int,
        "Readings of files that failed, and faults of the collector",
        "the collector")
        .semconv("heka.collector.errors", "{error}", Basic, &[&COLLECTOR]),
    Metric::new("collector.series", UpDownCounter, Int,
        "Series that the collector reported in this collection",
        "the collector")
        .semconv("heka.collector.series", "{series}", Basic, &[&COLLECTOR]),
    Metric::new("collector.series_cut", UpDownCounter, Int,
        "Series over --max-series that this collection left out",
        "the collector")
        .semconv("heka.collector.series_cut", "{series}", Basic, &[&COLLECTOR]),
];

/// The tables of all self metrics but the histogram, for the documentation.
pub const TABLES: &[&[Metric]] = &[COLLECTORS, delivery::METRICS, process::METRICS];

/// Times collections: from the first callback to the moment in which the exporter is called.
#[derive(Clone, Debug, Default)]
pub struct Timer {
    begun: Arc<Mutex<Option<Instant>>>,
    durations: Arc<OnceLock<(Histogram<f64>, [KeyValue; 2])>>,
}

impl Timer {
    /// To be called first thing in an export: the collection is over. Its time is exported with the next collection.
    pub fn collected(&self) {
        let took = lock(&self.begun).take().map(|begun| begun.elapsed());
        if let (Some(took), Some((durations, attributes))) = (took, self.durations.get()) {
            durations.record(took.as_secs_f64(), attributes);
        }
    }

    fn begin(&self) {
        *lock(&self.begun) = Some(Instant::now());
    }
}

/// The instruments of the agent's own metrics, on a meter whose scope is [`SCOPE`].
#[derive(Debug)]
pub struct SelfMetrics {
    meter: Meter,
    naming: Naming,
}

impl SelfMetrics {
    /// The process's own metrics, and the time of collections. Before the collectors are registered.
    #[must_use]
    pub fn new(meter: Meter, timer: &Timer, naming: Naming) -> Self {
        let durations = meter
            .f64_histogram(COLLECTION_DURATION)
            .with_unit("s")
            .with_description("Time that collections take, from the first reading to the export")
            .with_boundaries(Vec::new())
            .build();
        let component = component(READER);
        let component = component.map(|(attribute, value)| KeyValue::new(attribute.key.of(Naming::Semconv), value));
        let _ = timer.durations.set((durations, component));
        let timer = timer.clone();
        let mut process = process::Process::new();
        let read = move || {
            timer.begin();
            process.read()
        };
        watch(&meter, naming, process::METRICS, read, process::report());
        Self { meter, naming }
    }

    /// How each collector fares. After they are registered.
    pub fn watch_collectors(&self, registered: &Registered) {
        let key = if self.naming == Naming::NodeExporter { &NODE_COLLECTOR } else { &COLLECTOR };
        let collectors: Vec<(Attributes, Arc<CollectorStats>)> = registered
            .collectors
            .iter()
            .map(|stats| (own(&[(key, AttributeValue::Text(stats.name.into()))]), Arc::clone(stats)))
            .collect();
        watch(
            &self.meter,
            self.naming,
            COLLECTORS,
            || (),
            move |(), id, out| {
                let number = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
                for (attributes, stats) in &collectors {
                    match id {
                        "collector.duration" => {
                            let took = Duration::from_nanos(number(&stats.read_nanos));
                            out.float(took.as_secs_f64(), attributes);
                        }
                        "collector.success" => out.int(u64::from(!stats.failed.load(Ordering::Relaxed)), attributes),
                        "collector.errors" => out.int(number(&stats.errors), attributes),
                        "collector.series" => out.int(number(&stats.series), attributes),
                        "collector.series_cut" => out.int(number(&stats.cut), attributes),
                        _ => {}
                    }
                }
            },
        );
    }

    /// What was sent, what waits and what was lost. `exporter` is [`GRPC_EXPORTER`] or [`HTTP_EXPORTER`].
    pub fn watch_delivery(
        &self,
        exporter: &'static str,
        figures: impl Fn() -> crate::outbox::Snapshot + Send + 'static,
    ) {
        let report = delivery::report(exporter, figures());
        watch(&self.meter, self.naming, delivery::METRICS, figures, report);
    }
}

/// Creates a table's instruments. The first one's callback takes the reading that all of them report from.
fn watch<T: Default + Send + 'static>(
    meter: &Meter,
    naming: Naming,
    metrics: &'static [Metric],
    read: impl FnMut() -> T + Send + 'static,
    report: impl Fn(&T, &str, &mut Observer<'_>) + Send + Sync + 'static,
) {
    let state = Arc::new(Mutex::new((read, T::default())));
    let report = Arc::new(report);
    let mut first = true;
    for metric in metrics {
        let (state, report) = (Arc::clone(&state), Arc::clone(&report));
        let anchor = std::mem::take(&mut first);
        observable(meter, naming, metric, move |out| {
            let mut state = lock(&state);
            if anchor {
                state.1 = (state.0)();
            }
            report(&state.1, metric.id, out);
        });
    }
}

/// How the conventions name the one component of this type.
fn component(kind: &'static str) -> [(&'static Attribute, String); 2] {
    [(&COMPONENT_NAME, format!("{kind}/0")), (&COMPONENT_TYPE, kind.to_owned())]
}

/// The attributes of a series; self metrics have the same in every profile.
fn own(pairs: &[(&Attribute, AttributeValue)]) -> Attributes {
    attributes(Naming::Semconv, pairs)
}

/// A lock that a caught panic does not spoil.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
