//! The collectors: what a family of metrics is, the list of families, and how they become instruments.
//!
//! A collector takes one reading of its files a collection and then reports each of its metrics from that same reading.
//! A family that fails or panics costs its own metrics of that cycle and nothing else.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};
use tracing::{error, warn};

use crate::fault::guarded;
use crate::host::{Host, Problem, Reader};
use crate::naming::{Attributes, Detail, Kind, Metric, Naming, Number};
use crate::total::Since;

mod connections;
pub mod cpu;
pub mod disk;
pub mod filesystem;
pub mod filter;
pub mod limit;
pub mod load;
pub mod memory;
pub mod network;
pub mod paging;
pub mod pressure;
pub mod processes;
pub mod system;
#[cfg(test)]
mod testing;

use filter::Filter;

/// Every family, in the order in which they are read. A new collector is one file and one line here.
#[rustfmt::skip] // one line each
pub static FAMILIES: &[Family] = &[
    cpu::FAMILY,
    memory::FAMILY,
    paging::FAMILY,
    disk::FAMILY,
    filesystem::FAMILY,
    network::FAMILY,
    load::FAMILY,
    processes::FAMILY,
    system::FAMILY,
    pressure::FAMILY,
];

/// A family of metrics.
#[derive(Debug)]
pub struct Family {
    /// Its name for `--collectors`.
    pub name: &'static str,
    /// Its metrics.
    pub metrics: &'static [Metric],
    /// Makes its collector.
    pub new: fn(&Context) -> Box<dyn Collector>,
}

/// What reads a family's files and reports its metrics.
pub trait Collector: Send {
    /// Takes the family's one reading of this cycle. The first call, at cycle 0, is the counters' baseline.
    ///
    /// A source that fails leaves the last totals as they are, so that counters are reported again and no series is
    /// missed; gauges and states of that source are cleared, since what they would say is not true any more.
    fn read(&mut self, reader: &mut Reader);

    /// Reports one metric of the family from the last reading.
    fn observe(&self, metric: &Metric, out: &mut Observer<'_>);
}

/// Which disks are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskScope {
    /// One series per device.
    Device,
    /// One series over the physical devices.
    Total,
    /// Both. Only for an exporter that keeps them apart: in one stream, sums would double.
    Both,
}

/// What to collect, and how to name it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The names of the families, or `None` for all.
    pub families: Option<Vec<String>>,
    /// Basic or detailed metrics.
    pub detail: Detail,
    /// One series per CPU as well as per mode.
    pub per_cpu: bool,
    /// The naming profile.
    pub naming: Naming,
    /// What counters count from.
    pub since: Since,
    /// Whether the reader exports differences, so that a series must not return with a total it had before.
    pub delta: bool,
    /// Per device or in total.
    pub disk_scope: DiskScope,
    /// Which disks.
    pub disks: Filter,
    /// Which file systems, by mount point.
    pub filesystems: Filter,
    /// Which network interfaces.
    pub interfaces: Filter,
    /// Most series a metric may have; `None` is what the host needs, see [`max_series`].
    pub max_series: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            families: None,
            detail: Detail::Basic,
            per_cpu: false,
            naming: Naming::Semconv,
            since: Since::Start,
            delta: false,
            disk_scope: DiskScope::Device,
            disks: Filter::default(),
            filesystems: Filter::default(),
            interfaces: Filter::default(),
            max_series: None,
        }
    }
}

/// What a metric may have in any case: what the SDK itself allows an instrument.
pub const DEFAULT_MAX_SERIES: usize = 2_000;

/// What a collector is made from.
#[derive(Debug)]
pub struct Context {
    /// The host to read.
    pub host: Host,
    /// What was asked for.
    pub options: Options,
}

/// How a family fares, for the agent's own metrics.
#[derive(Debug)]
pub struct FamilyStats {
    /// The family's name.
    pub name: &'static str,
    /// Nanoseconds of the last reading.
    pub read_nanos: AtomicU64,
    /// Readings that failed, and panics.
    pub errors: AtomicU64,
    /// Series that the last collection reported.
    pub series: AtomicU64,
    /// Series that the last collection had to leave out, see [`Options::max_series`].
    pub cut: AtomicU64,
}

/// The collectors at work: made by [`register`].
#[derive(Debug)]
pub struct Registered {
    /// One entry per family.
    pub families: Vec<Arc<FamilyStats>>,
    reader: Arc<Mutex<Reader>>,
}

impl Registered {
    /// Files read so far, the baselines' reading included. Small files of sysfs are not among them.
    #[must_use]
    pub fn file_reads(&self) -> u64 {
        lock(&self.reader).reads()
    }
}

/// Takes every counter's baseline and creates the instruments of all selected families on `meter`.
pub fn register(meter: &Meter, context: &Context) -> Registered {
    register_families(meter, context, FAMILIES)
}

/// As [`register`], with a list of families of the caller's own.
pub fn register_families(meter: &Meter, context: &Context, list: &[Family]) -> Registered {
    let options = &context.options;
    let max_series = max_series(context);
    let reader = Arc::new(Mutex::new(Reader::new(&context.host)));
    let mut families = Vec::new();
    for family in selected(list, options) {
        let collector = match guarded(|| (family.new)(context)) {
            Ok(collector) => collector,
            Err(fault) => {
                error!("the collector {} has a fault and does not run ({fault}); please report it", family.name);
                continue;
            }
        };
        let stats = Arc::new(FamilyStats {
            name: family.name,
            read_nanos: AtomicU64::new(0),
            errors: AtomicU64::new(0),
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
        families.push(stats);
        slot.read();
        for (place, metric) in metrics(family, options).enumerate() {
            let Some(shape) = metric.shape(options.naming) else { continue };
            let callback = Callback { slot: Arc::clone(&slot), metric, name: shape.name, place };
            instrument(meter, metric, shape.name, shape.unit, move |sink| callback.run(sink));
        }
    }
    Registered { families, reader }
}

/// The families that were asked for and have a metric to report: what another profile calls by no name is not read.
fn selected<'a>(list: &'a [Family], options: &Options) -> impl Iterator<Item = &'a Family> {
    let asked =
        |family: &&Family| options.families.as_ref().is_none_or(|names| names.iter().any(|name| name == family.name));
    list.iter().filter(asked).filter(|family| metrics(family, options).next().is_some())
}

/// A family's metrics in the profile and detail that were asked for.
fn metrics(family: &Family, options: &Options) -> impl Iterator<Item = &'static Metric> {
    let asked = |metric: &&Metric| metric.shape(options.naming).is_some_and(|shape| shape.detail <= options.detail);
    family.metrics.iter().filter(asked)
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

/// Creates an instrument outside the families, under the name that the conventions have for it. A panic in its callback
/// costs its points of that cycle.
pub(crate) fn observable(
    meter: &Meter,
    metric: &'static Metric,
    callback: impl Fn(&mut Observer<'_>) + Send + Sync + 'static,
) {
    let Some(shape) = &metric.semconv else { return };
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

/// A family at work.
struct Slot {
    turn: Mutex<Turn>,
    reader: Arc<Mutex<Reader>>,
    collector: Mutex<Box<dyn Collector>>,
    stats: Arc<FamilyStats>,
    max_series: usize,
    cut_reported: AtomicBool,
    fault_reported: AtomicBool,
}

/// Which instruments reported from the family's last reading: when one of them comes again, another collection has begun.
/// The SDK itself does not say so, and a user's view may drop any instrument, the first one too.
#[derive(Default)]
struct Turn {
    cycle: u64,
    reported: Vec<usize>,
}

impl Slot {
    /// Takes the family's reading of this collection, if the instrument is its first one to report in it.
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
    /// Its place in the family's table.
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

/// What one family has to report on this host.
#[derive(Debug)]
pub struct Survey {
    /// Its name.
    pub family: &'static str,
    /// Series of its selected metrics.
    pub series: usize,
    /// Time its reading took.
    pub took: Duration,
    /// What could not be read.
    pub problems: Vec<Problem>,
    /// Whether its collector has a fault.
    pub panicked: bool,
}

/// Reads every selected family twice, as its first cycle would, and counts what it reports.
#[must_use]
pub fn survey(context: &Context) -> Vec<Survey> {
    let mut reader = Reader::new(&context.host).recording();
    let families: Vec<&Family> = selected(FAMILIES, &context.options).collect();
    let mut collectors: Vec<_> = families.iter().map(|family| (family.new)(context)).collect();
    let read = |collector: &mut Box<dyn Collector>, reader: &mut Reader| guarded(|| collector.read(reader)).is_err();
    let mut before = Vec::new();
    for collector in &mut collectors {
        read(collector, &mut reader);
        before.push(reader.problems());
    }
    reader.next_cycle();
    let mut surveys = Vec::new();
    for ((family, collector), mut problems) in families.iter().zip(&mut collectors).zip(before) {
        let begun = Instant::now();
        let mut panicked = read(collector, &mut reader);
        let took = begun.elapsed();
        let mut out = Observer { sink: Sink::Nowhere, left: usize::MAX, seen: 0 };
        for metric in metrics(family, &context.options) {
            panicked |= guarded(|| collector.observe(metric, &mut out)).is_err();
        }
        // What is missing is told once, at the first reading; what fails, at each.
        problems.retain(|problem| !problem.failed);
        problems.extend(reader.problems());
        problems.sort_by(|a, b| a.path.cmp(&b.path));
        problems.dedup_by(|a, b| a.path == b.path);
        surveys.push(Survey { family: family.name, series: out.seen, took, problems, panicked });
    }
    surveys
}

enum Sink<'a> {
    Nowhere,
    U64(&'a dyn AsyncInstrument<u64>),
    I64(&'a dyn AsyncInstrument<i64>),
    F64(&'a dyn AsyncInstrument<f64>),
}

/// Where a collector puts the values of one metric.
pub struct Observer<'a> {
    sink: Sink<'a>,
    left: usize,
    seen: usize,
}

impl Observer<'_> {
    /// One series' whole number. What does not fit OTLP's signed 64 bits is held at its limit.
    pub fn int(&mut self, value: u64, attributes: &[KeyValue]) {
        if !self.admit() {
            return;
        }
        let signed = i64::try_from(value).unwrap_or(i64::MAX);
        match &self.sink {
            Sink::Nowhere => {}
            Sink::U64(out) => out.observe(signed.unsigned_abs(), attributes),
            Sink::I64(out) => out.observe(signed, attributes),
            #[allow(clippy::cast_precision_loss)] // a double is what the metric is declared as
            Sink::F64(out) => out.observe(value as f64, attributes),
        }
    }

    /// One series' floating-point number. A value that is not finite is left out.
    pub fn float(&mut self, value: f64, attributes: &[KeyValue]) {
        if !value.is_finite() || !self.admit() {
            return;
        }
        if let Sink::F64(out) = &self.sink {
            out.observe(value, attributes);
        }
    }

    fn admit(&mut self) -> bool {
        self.seen += 1;
        let room = self.left > 0;
        self.left -= usize::from(room);
        room
    }
}

/// A value and the attributes of its series.
#[derive(Debug)]
pub struct Point<T> {
    /// The series.
    pub attributes: Attributes,
    /// Its value.
    pub value: T,
}
