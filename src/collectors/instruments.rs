//! The instruments of the collectors' metrics: those of the tables, and those that a collector finds while it reads.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::metrics::Meter;

use super::held::Held;
use super::limit::{Limits, admitted, combinations};
use super::observer::{Observer, Sink};
use super::slot::{Collection, Slot};
use crate::metrics::naming::{Kind, Metric, Number, Shape};

/// A metric that no table has, of floating-point numbers and without a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// Its name, which the SDK must allow.
    pub name: String,
    /// The description, if one is given.
    pub description: String,
    /// Counter, up-down counter or gauge.
    pub kind: Kind,
}

/// Makes the instruments of one meter's collectors.
pub(super) struct Instruments {
    meter: Meter,
    pub(super) collection: Arc<Collection>,
    max_series: usize,
    delta: bool,
    /// For a provider whose view asks for each instrument's limit.
    limits: Option<Limits>,
    /// One call of [`Instruments::discover`] at a time.
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

    /// Makes the instrument of a row of the collector's table, one of whose metrics has `found` series.
    pub(super) fn row(&self, slot: &Arc<Slot>, metric: &'static Metric, shape: &Shape, found: usize) {
        // Where its attributes have fixed values, its series have a known number.
        let (known, room) = (combinations(shape), self.room(found));
        let limit = if known.is_some() { None } else { room };
        let callback = self.callback(slot, Some(metric), metric.kind, shape.name.into(), limit);
        self.within(known.or(room), || instrument(&self.meter, metric, shape, move |sink| callback.run(sink)));
    }

    /// The limit of an instrument of which its collector found so many series.
    fn room(&self, found: usize) -> Option<usize> {
        self.limits.as_ref().map(|limits| limits.room(found, self.max_series))
    }

    /// Runs `create`, whose instrument has this limit.
    fn within(&self, limit: Option<usize>, create: impl FnOnce()) {
        match self.limits.as_ref().zip(limit) {
            Some((limits, limit)) => limits.with(limit, create),
            None => create(),
        }
    }

    /// Makes the instruments of the metrics that the collectors found since the last call. Never within a collection: the
    /// SDK would wait for its end.
    pub(super) fn discover(&self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in self.collection.slots() {
            for Discovered { name, description, kind } in slot.take_discovered() {
                let limit = self.room(slot.count(|collector, out| collector.observe_discovered(&name, out)));
                let callback = self.callback(&slot, None, kind, name.clone().into(), limit);
                let run = move |sink: Sink<'_>| callback.run(sink);
                let form = (kind, Number::Double);
                self.within(limit, || build(&self.meter, form, name.into(), "", description.into(), run));
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

/// Creates the instrument of a metric in one of its shapes.
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
    /// The row of the table; `None` for a metric that the collector found.
    metric: Option<&'static Metric>,
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
        let before = self.reported.load(Ordering::Relaxed);
        let room = self.limit.map_or(usize::MAX, |limit| admitted(self.kind, limit, before));
        let most = self.max_series.min(room);
        let mut out = Observer { sink, left: most, seen: 0 };
        let there = self.slot.report(|collector| match self.metric {
            Some(metric) => collector.observe(metric, &mut out),
            None => collector.observe_discovered(&self.name, &mut out),
        });
        let (reported, wanted) = (most - out.left, out.seen.min(self.max_series));
        self.reported.store(reported, Ordering::Relaxed);
        if wanted > reported {
            self.collection.outgrown.store(true, Ordering::Relaxed);
        }
        self.slot.reported(&self.name, reported, out.seen - wanted, self.max_series);
        there
    }
}
