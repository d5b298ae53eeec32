//! The instruments of the metrics: those in the tables, and those that collectors discover while reading.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::metrics::Meter;
use tracing::warn;

use super::held::Held;
use super::limit::{Limits, admitted, combinations};
use super::observer::{Observer, Sink};
use super::slot::{Collection, Slot};
use crate::metrics::naming::{Kind, Metric, Number, Shape};

/// A discovered metric that is in no table: floating-point, without a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// Its name, which is exported unchanged. The SDK need not accept it as the name of an instrument.
    pub name: String,
    /// Its description; may be empty.
    pub description: String,
    /// Counter, up-down counter or gauge.
    pub kind: Kind,
}

/// Creates the instruments of the collectors on one meter.
pub(super) struct Instruments {
    meter: Meter,
    pub(super) collection: Arc<Collection>,
    max_series: usize,
    delta: bool,
    /// For a provider whose view requests the limit of each instrument.
    limits: Option<Limits>,
    /// Serializes calls of [`Instruments::discover`].
    turn: Mutex<()>,
}

impl std::fmt::Debug for Instruments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instruments").finish_non_exhaustive()
    }
}

impl Instruments {
    pub(super) fn new(
        meter: &Meter,
        collection: Collection,
        max_series: usize,
        delta: bool,
        limits: Option<&Limits>,
    ) -> Self {
        let (meter, collection, limits) = (meter.clone(), Arc::new(collection), limits.cloned());
        Self { meter, collection, max_series, delta, limits, turn: Mutex::default() }
    }

    /// Creates the instrument of a table row. `found` is the number of series that it has or, if it has none yet, may have.
    pub(super) fn row(&self, slot: &Arc<Slot>, metric: &'static Metric, shape: &Shape, found: usize) {
        // If its attributes have fixed values, the number of series is known.
        let (known, room) = (combinations(shape), self.room(found));
        let limit = if known.is_some() { None } else { room };
        let callback = self.callback(slot, Some(metric), metric.kind, shape.name.into(), limit);
        self.within(known.or(room), || instrument(&self.meter, metric, shape, move |sink| callback.run(sink)));
    }

    /// The cardinality limit for an instrument whose metric has this many series.
    fn room(&self, found: usize) -> Option<usize> {
        self.limits.as_ref().map(|limits| limits.room(found, self.max_series))
    }

    /// Runs `create`, whose instrument gets this limit.
    fn within(&self, limit: Option<usize>, create: impl FnOnce()) {
        match self.limits.as_ref().zip(limit) {
            Some((limits, limit)) => limits.with(limit, create),
            None => create(),
        }
    }

    /// Creates the instruments of the metrics discovered since the last call. Must not be called during a collection:
    /// the SDK would wait for its end.
    pub(super) fn discover(&self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in self.collection.slots() {
            for Discovered { name, description, kind } in slot.take_discovered() {
                let limit = self.room(slot.count(|collector, out| collector.observe_discovered(&name, out)));
                let callback = self.callback(&slot, None, kind, name.clone().into(), limit);
                let run = move |sink: Sink<'_>| callback.run(sink);
                let form = (kind, Number::Double);
                let valid = is_valid(&name);
                match self.limits.as_ref().zip(limit) {
                    // The view gives the metric its name: OpenTelemetry's syntax is for instruments only.
                    Some((limits, limit)) => limits.with_name(limit, &name, || {
                        let own = if valid { name.clone() } else { "textfile".to_owned() };
                        build(&self.meter, form, own.into(), "", description.into(), run);
                    }),
                    None if valid => build(&self.meter, form, name.into(), "", description.into(), run),
                    None => warn!("OpenTelemetry does not allow {name} as the name of an instrument; it is left out"),
                }
            }
        }
    }

    fn callback(
        &self,
        slot: &Arc<Slot>,
        metric: Option<&'static Metric>,
        kind: Kind,
        name: Cow<'static, str>,
        limit: Option<usize>,
    ) -> Callback {
        Callback {
            collection: Arc::clone(&self.collection),
            slot: Arc::clone(slot),
            metric,
            name,
            kind,
            place: self.collection.add_instrument(),
            max_series: self.max_series,
            limit,
            reported: AtomicUsize::new(0),
            held: (self.delta && kind == Kind::Counter).then(Held::default),
        }
    }
}

/// Whether OpenTelemetry allows this name of a Prometheus metric for an instrument.
fn is_valid(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && !name.contains(':') && name.len() <= 255
}

/// Creates the instrument of a metric with the given shape.
pub(super) fn instrument(
    meter: &Meter,
    metric: &Metric,
    shape: &Shape,
    callback: impl Fn(Sink<'_>) + Send + Sync + 'static,
) {
    build(meter, (metric.kind, metric.number), shape.name.into(), shape.unit, metric.description.into(), callback);
}

fn build(
    meter: &Meter,
    form: (Kind, Number),
    name: Cow<'static, str>,
    unit: &'static str,
    about: Cow<'static, str>,
    callback: impl Fn(Sink<'_>) + Send + Sync + 'static,
) {
    macro_rules! build {
        ($instrument:ident, $sink:ident) => {{
            let builder = meter.$instrument(name).with_unit(unit).with_description(about);
            builder.with_callback(move |out| callback(Sink::$sink(out))).build();
        }};
    }
    match form {
        (Kind::Counter, Number::Int) => build!(u64_observable_counter, U64),
        (Kind::Counter, Number::Double) => build!(f64_observable_counter, F64),
        (Kind::UpDownCounter, Number::Int) => build!(i64_observable_up_down_counter, I64),
        (Kind::UpDownCounter, Number::Double) => build!(f64_observable_up_down_counter, F64),
        (Kind::Gauge, Number::Int) => build!(i64_observable_gauge, I64),
        (Kind::Gauge, Number::Double) => build!(f64_observable_gauge, F64),
    }
}

/// One instrument's callback.
struct Callback {
    collection: Arc<Collection>,
    slot: Arc<Slot>,
    /// The table row; `None` for a discovered metric.
    metric: Option<&'static Metric>,
    /// The metric's name in the profile.
    name: Cow<'static, str>,
    kind: Kind,
    /// Index of the instrument in the collection.
    place: usize,
    max_series: usize,
    /// Cardinality limit of the instrument in the SDK, if its series could exceed it.
    limit: Option<usize>,
    /// Series in the last collection.
    reported: AtomicUsize,
    /// Its last totals, if a series that is missing from one collection would return with its whole total.
    held: Option<Held>,
}

impl Callback {
    fn run(&self, sink: Sink<'_>) {
        let _turn = self.collection.prepare(self.place);
        match &self.held {
            Some(held) => {
                if !held.keep(sink, |sink| self.observe(sink)) {
                    held.observe(sink);
                }
            }
            None => drop(self.observe(sink)),
        }
    }

    /// Observes the metric. Returns whether the collector had data.
    fn observe(&self, sink: Sink<'_>) -> bool {
        let before = self.reported.load(Ordering::Relaxed);
        let room = self.limit.map_or(usize::MAX, |limit| admitted(self.kind, limit, before));
        let most = self.max_series.min(room);
        let mut out = Observer::new(sink, most);
        let there = self.slot.report(|collector| match self.metric {
            Some(metric) => collector.observe(metric, &mut out),
            None => collector.observe_discovered(&self.name, &mut out),
        });
        let (reported, wanted) = (most - out.left, out.seen.min(self.max_series));
        self.reported.store(reported, Ordering::Relaxed);
        if wanted > reported {
            self.collection.outgrown.store(true, Ordering::Relaxed);
        }
        self.slot.reported(&self.name, reported, [out.seen - wanted, out.cut], self.max_series);
        there
    }
}
