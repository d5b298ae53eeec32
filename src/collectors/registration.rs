//! How collectors become instruments: one reading a collection, guarded, bounded in series.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::metrics::Meter;
use tracing::error;

use super::discovered::Instruments;
use super::fault::guarded;
use super::held::Held;
use super::observer::{Observer, Sink};
use super::slot::{Collection, Slot};
use super::{COLLECTORS, Context, Definition, Options, cpu, disk, process};
use crate::metrics::naming::{Kind, Metric, Naming, Number};

pub use super::slot::CollectorStats;

/// What a metric may have in any case: what the SDK itself allows an instrument.
pub const DEFAULT_MAX_SERIES: usize = 2_000;

/// The collectors at work: made by [`register`].
#[derive(Debug)]
pub struct Registered {
    /// One entry per definition.
    pub collectors: Vec<Arc<CollectorStats>>,
    collection: Arc<Collection>,
    instruments: Instruments,
}

impl Registered {
    /// Makes the instruments of metrics that the last collection found, such as those of a new text file. Call it between
    /// two collections.
    pub fn discover(&self) {
        self.instruments.make();
    }

    /// Files read so far, the baselines' reading included. Small files of sysfs are not among them.
    #[must_use]
    pub fn file_reads(&self) -> u64 {
        self.collection.reads()
    }
}

/// Takes every counter's baseline and creates the instruments of all selected collectors on `meter`.
pub fn register(meter: &Meter, context: &Context) -> Registered {
    register_from(meter, context, COLLECTORS)
}

/// As [`register`], with a list of collectors of the caller's own.
pub fn register_from(meter: &Meter, context: &Context, list: &[Definition]) -> Registered {
    let options = &context.options;
    let max_series = max_series(context);
    let collection = Arc::new(Collection::new(context, false));
    let mut collectors = Vec::new();
    let mut slots = Vec::new();
    for definition in selected(list, options) {
        let slot = collection.add(definition);
        // Directly before its instruments are created, which is the start time that they carry.
        collection.baseline(&slot);
        if slot.is_broken() {
            continue;
        }
        collectors.push(Arc::clone(slot.stats()));
        slots.push(Arc::clone(&slot));
        for metric in metrics(definition, options) {
            let Some(shape) = metric.shape(options.naming) else { continue };
            let held = (options.delta && metric.kind == Kind::Counter).then(Held::default);
            let callback = Callback {
                collection: Arc::clone(&collection),
                slot: Arc::clone(&slot),
                metric,
                name: shape.name,
                place: collection.add_instrument(),
                max_series,
                held,
            };
            instrument(meter, metric, shape.name, shape.unit, move |sink| callback.run(sink));
        }
    }
    let registered = Registered {
        collectors,
        instruments: Instruments::new(meter, &collection, slots, max_series, options.delta),
        collection,
    };
    registered.discover();
    registered
}

/// The collectors that were asked for and have a metric to report: what another profile calls by no name is not read.
pub(super) fn selected<'a>(list: &'a [Definition], options: &Options) -> impl Iterator<Item = &'a Definition> {
    let asked = |definition: &&Definition| {
        options.collectors.as_ref().is_none_or(|names| names.iter().any(|name| name == definition.name))
    };
    let off = |definition: &&Definition| definition.name == process::DEFINITION.name && options.top_processes == 0;
    list.iter()
        .filter(asked)
        .filter(move |definition| !off(definition))
        .filter(|definition| metrics(definition, options).next().is_some())
}

/// A definition's metrics in the profile and detail that were asked for.
pub(super) fn metrics(definition: &Definition, options: &Options) -> impl Iterator<Item = &'static Metric> {
    let asked = |metric: &&Metric| metric.shape(options.naming).is_some_and(|shape| shape.detail <= options.detail);
    definition.metrics.iter().filter(asked)
}

/// The most series a metric may have on this host: the configured limit; without one, [`DEFAULT_MAX_SERIES`] or what the host's
/// CPUs and disks need, whichever is more.
#[must_use]
pub fn max_series(context: &Context) -> usize {
    context.options.max_series.unwrap_or_else(|| {
        let per_cpu = context.options.per_cpu;
        let needed = context.host.within("the limit of series", move |host| {
            let cpus = if per_cpu { cpu::most_series(host) } else { 0 };
            cpus.max(disk::most_series(host))
        });
        DEFAULT_MAX_SERIES.max(needed.unwrap_or(0))
    })
}

/// Creates an instrument outside the collectors, under the name that node_exporter or the conventions have for it. A panic
/// in its callback costs its points of that cycle.
pub(crate) fn observable(
    meter: &Meter,
    naming: Naming,
    metric: &'static Metric,
    callback: impl Fn(&mut Observer<'_>) + Send + Sync + 'static,
) {
    // hostmetrics has no metrics of this kind: they keep the conventions' names.
    let naming = if naming == Naming::NodeExporter { naming } else { Naming::Semconv };
    let Some(shape) = metric.shape(naming) else { return };
    let fault_reported = AtomicBool::new(false);
    instrument(meter, metric, shape.name, shape.unit, move |sink| {
        let mut out = Observer { sink, left: usize::MAX, seen: 0 };
        if let Err(fault) = guarded(|| callback(&mut out))
            && !fault_reported.swap(true, Ordering::Relaxed)
        {
            error!("internal error in the metric {}, which is left out ({fault}); please report it", metric.id);
        }
    });
}

fn instrument(
    meter: &Meter,
    metric: &Metric,
    name: &'static str,
    unit: &'static str,
    callback: impl Fn(Sink<'_>) + Send + Sync + 'static,
) {
    let about = metric.description;
    match (metric.kind, metric.number) {
        (Kind::Counter, Number::Int) => {
            meter
                .u64_observable_counter(name)
                .with_unit(unit)
                .with_description(about)
                .with_callback(move |out| callback(Sink::U64(out)))
                .build();
        }
        (Kind::Counter, Number::Double) => {
            meter
                .f64_observable_counter(name)
                .with_unit(unit)
                .with_description(about)
                .with_callback(move |out| callback(Sink::F64(out)))
                .build();
        }
        (Kind::UpDownCounter, Number::Int) => {
            meter
                .i64_observable_up_down_counter(name)
                .with_unit(unit)
                .with_description(about)
                .with_callback(move |out| callback(Sink::I64(out)))
                .build();
        }
        (Kind::UpDownCounter, Number::Double) => {
            meter
                .f64_observable_up_down_counter(name)
                .with_unit(unit)
                .with_description(about)
                .with_callback(move |out| callback(Sink::F64(out)))
                .build();
        }
        (Kind::Gauge, Number::Int) => {
            meter
                .i64_observable_gauge(name)
                .with_unit(unit)
                .with_description(about)
                .with_callback(move |out| callback(Sink::I64(out)))
                .build();
        }
        (Kind::Gauge, Number::Double) => {
            meter
                .f64_observable_gauge(name)
                .with_unit(unit)
                .with_description(about)
                .with_callback(move |out| callback(Sink::F64(out)))
                .build();
        }
    }
}

/// One instrument's callback.
struct Callback {
    collection: Arc<Collection>,
    slot: Arc<Slot>,
    metric: &'static Metric,
    /// The metric's name in the profile.
    name: &'static str,
    /// Its place among the collection's instruments.
    place: usize,
    max_series: usize,
    /// Its last totals, where a series that one collection misses would return with its whole total.
    held: Option<Held>,
}

impl Callback {
    fn run(&self, sink: Sink<'_>) {
        self.collection.prepare(self.place);
        match &self.held {
            Some(held) => {
                if !held.keep(sink, |sink| self.observe(sink)) {
                    held.observe(sink);
                }
            }
            None => drop(self.observe(sink)),
        }
    }

    /// Whether the collector was there to observe.
    fn observe(&self, sink: Sink<'_>) -> bool {
        let mut out = Observer { sink, left: self.max_series, seen: 0 };
        let there = self.slot.observe(self.metric, &mut out);
        let reported = self.max_series - out.left;
        self.slot.reported(self.name, reported, out.seen - reported, self.max_series);
        there
    }
}
