//! How collectors become instruments: one reading a collection, guarded, bounded in series.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use opentelemetry::metrics::Meter;
use tracing::{error, warn};

use super::fault::guarded;
use super::observer::{Observer, Sink};
use super::{COLLECTORS, Collector, Context, Definition, Options, cpu, disk};
use crate::host::Reader;
use crate::metrics::naming::{Kind, Metric, Naming, Number};

/// What a metric may have in any case: what the SDK itself allows an instrument.
pub const DEFAULT_MAX_SERIES: usize = 2_000;

/// How a definition fares, for the agent's own metrics.
#[derive(Debug)]
pub struct CollectorStats {
    /// The definition's name.
    pub name: &'static str,
    /// Nanoseconds of the last reading.
    pub read_nanos: AtomicU64,
    /// Readings that failed, and panics.
    pub errors: AtomicU64,
    /// Whether the last reading had one of these.
    pub failed: AtomicBool,
    /// Series that the last collection reported.
    pub series: AtomicU64,
    /// Series that the last collection had to leave out, see [`Options::max_series`].
    pub cut: AtomicU64,
}

/// The collectors at work: made by [`register`].
#[derive(Debug)]
pub struct Registered {
    /// One entry per definition.
    pub collectors: Vec<Arc<CollectorStats>>,
    reader: Arc<Mutex<Reader>>,
}

impl Registered {
    /// Files read so far, the baselines' reading included. Small files of sysfs are not among them.
    #[must_use]
    pub fn file_reads(&self) -> u64 {
        lock(&self.reader).reads()
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
    let reader = Arc::new(Mutex::new(Reader::new(&context.host)));
    let mut collectors = Vec::new();
    for definition in selected(list, options) {
        let collector = match guarded(|| (definition.new)(context)) {
            Ok(collector) => collector,
            Err(fault) => {
                error!("the collector {} has a fault and does not run ({fault}); please report it", definition.name);
                continue;
            }
        };
        let stats = Arc::new(CollectorStats {
            name: definition.name,
            read_nanos: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            series: AtomicU64::new(0),
            cut: AtomicU64::new(0),
        });
        let slot = Arc::new(Slot {
            turn: Mutex::new(Turn::default()),
            reader: Arc::clone(&reader),
            collector: Mutex::new(collector),
            stats: Arc::clone(&stats),
            max_series,
            cut_reported: AtomicBool::new(false),
            fault_reported: AtomicBool::new(false),
        });
        collectors.push(stats);
        slot.read();
        for (place, metric) in metrics(definition, options).enumerate() {
            let Some(shape) = metric.shape(options.naming) else { continue };
            let callback = Callback { slot: Arc::clone(&slot), metric, name: shape.name, place };
            instrument(meter, metric, shape.name, shape.unit, move |sink| callback.run(sink));
        }
    }
    Registered { collectors, reader }
}

/// The collectors that were asked for and have a metric to report: what another profile calls by no name is not read.
pub(super) fn selected<'a>(list: &'a [Definition], options: &Options) -> impl Iterator<Item = &'a Definition> {
    let asked = |definition: &&Definition| {
        options.collectors.as_ref().is_none_or(|names| names.iter().any(|name| name == definition.name))
    };
    list.iter().filter(asked).filter(|definition| metrics(definition, options).next().is_some())
}

/// A definition's metrics in the profile and detail that were asked for.
pub(super) fn metrics(definition: &Definition, options: &Options) -> impl Iterator<Item = &'static Metric> {
    let asked = |metric: &&Metric| metric.shape(options.naming).is_some_and(|shape| shape.detail <= options.detail);
    definition.metrics.iter().filter(asked)
}

/// The most series a metric may have on this host: what was asked for, else [`DEFAULT_MAX_SERIES`] or what the host's
/// CPUs and disks need, whichever is more.
#[must_use]
pub fn max_series(context: &Context) -> usize {
    context.options.max_series.unwrap_or_else(|| {
        let cpus = if context.options.per_cpu { cpu::most_series(&context.host) } else { 0 };
        DEFAULT_MAX_SERIES.max(cpus).max(disk::most_series(&context.host))
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
            error!("the metric {} has a fault and is left out ({fault}); please report it", metric.id);
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

/// A definition at work.
struct Slot {
    turn: Mutex<Turn>,
    reader: Arc<Mutex<Reader>>,
    collector: Mutex<Box<dyn Collector>>,
    stats: Arc<CollectorStats>,
    max_series: usize,
    cut_reported: AtomicBool,
    fault_reported: AtomicBool,
}

/// Which instruments reported from the definition's last reading: when one of them comes again, another collection has begun.
/// The SDK itself does not say so, and a user's view may drop any instrument, the first one too.
#[derive(Default)]
struct Turn {
    cycle: u64,
    reported: Vec<usize>,
}

impl Slot {
    /// Takes the definition's reading of this collection, if the instrument is its first one to report in it.
    fn prepare(&self, place: usize) {
        let mut turn = lock(&self.turn);
        let baseline = turn.cycle == 0;
        if !baseline && !turn.reported.contains(&place) {
            turn.reported.push(place);
            return;
        }
        let mut reader = lock(&self.reader);
        if reader.cycle() == turn.cycle {
            reader.next_cycle();
        }
        turn.cycle = reader.cycle();
        turn.reported.clear();
        turn.reported.push(place);
        drop(reader);
        self.read();
    }

    fn read(&self) {
        let begun = Instant::now();
        let mut reader = lock(&self.reader);
        let failures = reader.failures();
        let outcome = guarded(|| lock(&self.collector).read(&mut reader));
        let failed = reader.failures() - failures;
        drop(reader);
        self.stats.failed.store(failed > 0, Ordering::Relaxed);
        if failed > 0 {
            self.stats.errors.fetch_add(failed, Ordering::Relaxed);
        }
        if let Err(fault) = outcome {
            self.panicked(&fault);
        }
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.stats.read_nanos.store(nanos, Ordering::Relaxed);
        self.stats.series.store(0, Ordering::Relaxed);
        self.stats.cut.store(0, Ordering::Relaxed);
    }

    /// A fault is counted each time and said once: what is wrong in the code will be wrong in the next cycle too.
    fn panicked(&self, fault: &str) {
        self.stats.errors.fetch_add(1, Ordering::Relaxed);
        self.stats.failed.store(true, Ordering::Relaxed);
        if !self.fault_reported.swap(true, Ordering::Relaxed) {
            error!("the collector {} has a fault and loses metrics ({fault}); please report it", self.stats.name);
        }
    }

    fn report_cut(&self, name: &str, cut: usize) {
        self.stats.cut.fetch_add(cut as u64, Ordering::Relaxed);
        if !self.cut_reported.swap(true, Ordering::Relaxed) {
            warn!(
                "{name} has {cut} series more than --max-series allows ({}); they are left out, here and from now on",
                self.max_series
            );
        }
    }
}

/// One instrument's callback.
struct Callback {
    slot: Arc<Slot>,
    metric: &'static Metric,
    /// The metric's name in the profile.
    name: &'static str,
    /// Its place in the definition's table.
    place: usize,
}

impl Callback {
    fn run(&self, sink: Sink<'_>) {
        self.slot.prepare(self.place);
        let mut out = Observer { sink, left: self.slot.max_series, seen: 0 };
        let outcome = guarded(|| lock(&self.slot.collector).observe(self.metric, &mut out));
        let (seen, left) = (out.seen, out.left);
        let reported = self.slot.max_series - left;
        self.slot.stats.series.fetch_add(reported as u64, Ordering::Relaxed);
        if seen > reported {
            self.slot.report_cut(self.name, seen - reported);
        }
        if let Err(fault) = outcome {
            self.slot.panicked(&fault);
        }
    }
}

/// A lock that a caught panic does not spoil.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
