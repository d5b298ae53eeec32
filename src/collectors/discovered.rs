//! Metrics that no table has: a collector finds them while it reads, and their instruments are made between two collections.

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::metrics::Meter;

use super::held::Held;
use super::observer::{Observer, Sink};
use super::slot::{Collection, Slot};
use crate::metrics::naming::Kind;

/// A metric that a collector found, of floating-point numbers and without a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// Its name, which the SDK must allow.
    pub name: String,
    /// The description, if one is given.
    pub description: String,
    /// Counter, up-down counter or gauge.
    pub kind: Kind,
}

/// Makes the instruments of what the collectors found since the last call. Never within a collection: the SDK would wait
/// for its end.
pub(super) struct Instruments {
    meter: Meter,
    collection: Arc<Collection>,
    slots: Vec<Arc<Slot>>,
    max_series: usize,
    delta: bool,
    /// One call at a time.
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
        collection: &Arc<Collection>,
        slots: Vec<Arc<Slot>>,
        max_series: usize,
        delta: bool,
    ) -> Self {
        let (meter, collection) = (meter.clone(), Arc::clone(collection));
        Self { meter, collection, slots, max_series, delta, turn: Mutex::default() }
    }

    pub(super) fn make(&self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in &self.slots {
            for discovered in slot.take_discovered() {
                self.instrument(slot, discovered);
            }
        }
    }

    fn instrument(&self, slot: &Arc<Slot>, discovered: Discovered) {
        let Discovered { name, description, kind } = discovered;
        let callback = Callback {
            collection: Arc::clone(&self.collection),
            slot: Arc::clone(slot),
            name: name.clone(),
            place: self.collection.add_instrument(),
            max_series: self.max_series,
            held: (self.delta && kind == Kind::Counter).then(Held::default),
        };
        let run = move |sink: Sink<'_>| callback.run(sink);
        match kind {
            Kind::Counter => {
                let builder = self.meter.f64_observable_counter(name).with_description(description);
                builder.with_callback(move |out| run(Sink::F64(out))).build();
            }
            Kind::UpDownCounter => {
                let builder = self.meter.f64_observable_up_down_counter(name).with_description(description);
                builder.with_callback(move |out| run(Sink::F64(out))).build();
            }
            Kind::Gauge => {
                let builder = self.meter.f64_observable_gauge(name).with_description(description);
                builder.with_callback(move |out| run(Sink::F64(out))).build();
            }
        }
    }
}

/// One instrument's callback.
struct Callback {
    collection: Arc<Collection>,
    slot: Arc<Slot>,
    name: String,
    place: usize,
    max_series: usize,
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

    fn observe(&self, sink: Sink<'_>) -> bool {
        let mut out = Observer { sink, left: self.max_series, seen: 0 };
        let there = self.slot.observe_discovered(&self.name, &mut out);
        let reported = self.max_series - out.left;
        self.slot.reported(&self.name, reported, out.seen - reported, self.max_series);
        there
    }
}
