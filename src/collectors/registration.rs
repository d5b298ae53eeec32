//! Selects and registers collectors and metrics, and limits their series.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::metrics::Meter;
use tracing::error;

use super::fault::guarded;
use super::instruments::{Instruments, instrument};
use super::limit::Limits;
use super::observer::Observer;
use super::slot::Collection;
use super::{COLLECTORS, Context, Definition, Options, cpu, disk, names, process};
use crate::metrics::naming::{Metric, Naming};

pub use super::slot::CollectorStats;

/// Minimum of the default series limit per metric.
pub const DEFAULT_MAX_SERIES: usize = 2_000;

/// Registered collectors, returned by [`register`].
#[derive(Debug)]
pub struct Registered {
    /// One entry per definition.
    pub collectors: Vec<Arc<CollectorStats>>,
    instruments: Instruments,
}

impl Registered {
    /// Creates the instruments of metrics that the last collection discovered, such as those of a new text file. Call
    /// it between two collections.
    pub fn discover(&self) {
        self.instruments.discover();
    }

    /// Whether the cardinality limits of the instruments are too low for the host. A new provider with doubled
    /// [`Limits`] is then needed.
    #[must_use]
    pub fn outgrown(&self) -> bool {
        self.instruments.collection.outgrown.load(Ordering::Relaxed)
    }

    /// Number of files read so far, including the baseline. Small sysfs files are not counted.
    #[must_use]
    pub fn file_reads(&self) -> u64 {
        self.instruments.collection.reads()
    }
}

/// Takes the baselines and creates the instruments of all selected collectors on `meter`. The series limit of its
/// provider must be at least [`max_series`].
pub fn register(meter: &Meter, context: &Context) -> Registered {
    register_from(meter, context, COLLECTORS, None)
}

/// As [`register`], for a provider whose view gives each instrument its limit from `limits`.
pub fn register_within(meter: &Meter, context: &Context, limits: &Limits) -> Registered {
    register_from(meter, context, COLLECTORS, Some(limits))
}

/// As [`register`], with the caller's own list of collectors.
pub fn register_from(meter: &Meter, context: &Context, list: &[Definition], limits: Option<&Limits>) -> Registered {
    let options = &context.options;
    let collection = Collection::new(context, false);
    let instruments = Instruments::new(meter, collection, max_series(context), options.delta, limits);
    let mut collectors = Vec::new();
    for definition in selected(list, options) {
        let slot = instruments.collection.add(definition);
        // Directly before its instruments are created, which determines their start time.
        instruments.collection.baseline(&slot);
        if slot.is_broken() {
            continue;
        }
        collectors.push(Arc::clone(slot.stats()));
        let series = |metric| slot.count(|collector, out| collector.observe(metric, out));
        let found: Vec<usize> = metrics(definition, options).map(series).collect();
        // A metric that compares two readings has no series yet; assume as many as the collector's largest metric.
        let most = found.iter().copied().max().unwrap_or(0);
        for (metric, found) in metrics(definition, options).zip(found) {
            let found = if found == 0 { most } else { found };
            metric.shape(options.naming).into_iter().for_each(|shape| instruments.row(&slot, metric, shape, found));
        }
    }
    instruments.discover();
    Registered { collectors, instruments }
}

/// The selected collectors that have a metric in this profile; others are not read.
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

/// The collectors that are selected and not read, with the option that each of them needs.
#[must_use]
pub fn unread(options: &Options) -> Vec<(&'static str, String)> {
    let read: Vec<_> = selected(COLLECTORS, options).map(|definition| definition.name).collect();
    let asked = |name: &&str| options.collectors.as_ref().is_none_or(|names| names.iter().any(|asked| asked == name));
    let unread = names().into_iter().filter(asked).filter(|name| !read.contains(name));
    unread.map(|name| (name, needed(name, options.naming))).collect()
}

fn needed(name: &str, naming: Naming) -> String {
    let has_metrics = |naming: Naming| {
        let mut metrics = COLLECTORS.iter().filter(|definition| definition.name == name).flat_map(|it| it.metrics);
        metrics.any(|metric| metric.shape(naming).is_some())
    };
    if has_metrics(naming) {
        return if name == process::DEFINITION.name { "--top-processes N" } else { "--detail detailed" }.to_owned();
    }
    let namings = Naming::ALL.into_iter().filter(|naming| has_metrics(*naming)).map(Naming::name);
    format!("--naming {}", namings.collect::<Vec<_>>().join(" or "))
}

/// A definition's metrics in the selected profile and detail.
pub(super) fn metrics(definition: &Definition, options: &Options) -> impl Iterator<Item = &'static Metric> {
    let asked = |metric: &&Metric| metric.shape(options.naming).is_some_and(|shape| shape.detail <= options.detail);
    definition.metrics.iter().filter(asked)
}

/// The maximum number of series per metric on this host: the configured limit, otherwise [`DEFAULT_MAX_SERIES`] or the
/// number needed for the host's CPUs and disks, whichever is higher.
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

/// Creates an instrument outside the collectors, with the name from node_exporter or the conventions. A panic in its
/// callback affects only its points in that cycle.
pub(crate) fn observable(
    meter: &Meter,
    naming: Naming,
    metric: &'static Metric,
    callback: impl Fn(&mut Observer<'_>) + Send + Sync + 'static,
) {
    // hostmetrics has no such metrics: they keep the names of the conventions.
    let naming = if naming == Naming::NodeExporter { naming } else { Naming::Semconv };
    let Some(shape) = metric.shape(naming) else { return };
    let fault_reported = AtomicBool::new(false);
    instrument(meter, metric, shape, move |sink| {
        let mut out = Observer::new(sink, usize::MAX);
        if let Err(fault) = guarded(|| callback(&mut out))
            && !fault_reported.swap(true, Ordering::Relaxed)
        {
            error!("internal error in the metric {}, which is left out ({fault}); please report it", metric.id);
        }
    });
}
