//! How collectors become instruments: one reading a collection, guarded, bounded in series.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use opentelemetry::metrics::Meter;
use tracing::error;

use super::discovered::Instruments;
use super::fault::guarded;
use super::held::Held;
use super::limit::{Limits, admitted, combinations};
use super::observer::{Observer, Sink};
use super::slot::{Collection, From, Slot};
use super::{COLLECTORS, Context, Definition, Options, cpu, disk, process};
use crate::metrics::naming::{Kind, Metric, Naming, Number};

pub use super::slot::CollectorStats;

/// What a metric may have in any case.
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

    /// Whether the instruments have not enough room for the host's series any more. A new provider, with the doubled
    /// [`Limits`], has.
    #[must_use]
    pub fn outgrown(&self) -> bool {
        self.collection.outgrown.load(Ordering::Relaxed)
    }

    /// Files read so far, the baselines' reading included. Small files of sysfs are not among them.
    #[must_use]
    pub fn file_reads(&self) -> u64 {
        self.collection.reads()
    }
}

/// Takes every counter's baseline and creates the instruments of all selected collectors on `meter`, whose provider has no
/// lower limit of series than [`max_series`].
pub fn register(meter: &Meter, context: &Context) -> Registered {
    register_from(meter, context, COLLECTORS, None)
}

/// As [`register`], for a provider whose view gives each instrument the limit of series that `limits` has for it.
pub fn register_within(meter: &Meter, context: &Context, limits: &Limits) -> Registered {
    register_from(meter, context, COLLECTORS, Some(limits))
}

/// As [`register`], with a list of collectors of the caller's own.
pub fn register_from(meter: &Meter, context: &Context, list: &[Definition], limits: Option<&Limits>) -> Registered {
    let options = &context.options;
    let collection = Arc::new(Collection::new(context, false));
    let maker = Maker {
        meter: meter.clone(),
        collection: Arc::clone(&collection),
        max_series: max_series(context),
        delta: options.delta,
        limits: limits.cloned(),
    };
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
        // A metric that compares two readings has no series yet, and as many as another one of its collector.
        let series = metrics(definition, options).map(|metric| slot.count(&From::Table(metric), ""));
        let found = series.max().unwrap_or(0);
        for metric in metrics(definition, options) {
            let Some(shape) = metric.shape(options.naming) else { continue };
            let instrument = Instrument {
                name: Cow::Borrowed(shape.name),
                unit: shape.unit,
                description: Cow::Borrowed(metric.description),
                kind: metric.kind,
                number: metric.number,
            };
            maker.make(instrument, &slot, From::Table(metric), found, combinations(shape));
        }
    }
    let registered = Registered { collectors, instruments: Instruments::new(maker, slots), collection };
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
    let instrument = Instrument {
        name: Cow::Borrowed(shape.name),
        unit: shape.unit,
        description: Cow::Borrowed(metric.description),
        kind: metric.kind,
        number: metric.number,
    };
    instrument.create(meter, move |sink| {
        let mut out = Observer { sink, left: usize::MAX, seen: 0 };
        if let Err(fault) = guarded(|| callback(&mut out))
            && !fault_reported.swap(true, Ordering::Relaxed)
        {
            error!("internal error in the metric {}, which is left out ({fault}); please report it", metric.id);
        }
    });
}

/// An instrument of the SDK to be.
pub(super) struct Instrument {
    pub(super) name: Cow<'static, str>,
    pub(super) unit: &'static str,
    pub(super) description: Cow<'static, str>,
    pub(super) kind: Kind,
    pub(super) number: Number,
}

impl Instrument {
    fn create(self, meter: &Meter, callback: impl Fn(Sink<'_>) + Send + Sync + 'static) {
        macro_rules! build {
            ($builder:ident, $sink:ident) => {
                drop(
                    meter
                        .$builder(self.name)
                        .with_unit(self.unit)
                        .with_description(self.description)
                        .with_callback(move |out| callback(Sink::$sink(out)))
                        .build(),
                )
            };
        }
        match (self.kind, self.number) {
            (Kind::Counter, Number::Int) => build!(u64_observable_counter, U64),
            (Kind::Counter, Number::Double) => build!(f64_observable_counter, F64),
            (Kind::UpDownCounter, Number::Int) => build!(i64_observable_up_down_counter, I64),
            (Kind::UpDownCounter, Number::Double) => build!(f64_observable_up_down_counter, F64),
            (Kind::Gauge, Number::Int) => build!(i64_observable_gauge, I64),
            (Kind::Gauge, Number::Double) => build!(f64_observable_gauge, F64),
        }
    }
}

/// Makes the collectors' instruments.
pub(super) struct Maker {
    meter: Meter,
    collection: Arc<Collection>,
    max_series: usize,
    delta: bool,
    limits: Option<Limits>,
}

impl Maker {
    /// Makes the instrument of a metric, of whose collector's metrics one has `found` series. `known` is how many series
    /// this one can have, where its attributes have fixed values.
    pub(super) fn make(
        &self,
        instrument: Instrument,
        slot: &Arc<Slot>,
        from: From,
        found: usize,
        known: Option<usize>,
    ) {
        let room = |limits: &Limits| known.unwrap_or_else(|| limits.room(found, self.max_series));
        let callback = Callback {
            collection: Arc::clone(&self.collection),
            slot: Arc::clone(slot),
            from,
            name: instrument.name.clone(),
            kind: instrument.kind,
            place: self.collection.add_instrument(),
            max_series: self.max_series,
            limit: self.limits.as_ref().filter(|_| known.is_none()).map(room),
            reported: AtomicUsize::new(0),
            held: (self.delta && instrument.kind == Kind::Counter).then(Held::default),
        };
        let create = || instrument.create(&self.meter, move |sink| callback.run(sink));
        match &self.limits {
            Some(limits) => limits.with(room(limits), create),
            None => create(),
        }
    }
}

/// One instrument's callback.
struct Callback {
    collection: Arc<Collection>,
    slot: Arc<Slot>,
    from: From,
    /// The metric's name in the profile.
    name: Cow<'static, str>,
    kind: Kind,
    /// Its place among the collection's instruments.
    place: usize,
    max_series: usize,
    /// The instrument's limit in the SDK, where its series could exceed it.
    limit: Option<usize>,
    /// Series in the last collection.
    reported: AtomicUsize,
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
        let room =
            self.limit.map_or(usize::MAX, |limit| admitted(self.kind, limit, self.reported.load(Ordering::Relaxed)));
        let admitted = self.max_series.min(room);
        let mut out = Observer { sink, left: admitted, seen: 0 };
        let there = self.slot.observe(&self.from, &self.name, &mut out);
        let reported = admitted - out.left;
        self.reported.store(reported, Ordering::Relaxed);
        let wanted = out.seen.min(self.max_series);
        if wanted > reported {
            self.collection.outgrown.store(true, Ordering::Relaxed);
        }
        self.slot.reported(&self.name, reported, out.seen - wanted, self.max_series);
        there
    }
}
