//! Metrics that no table has: a collector finds them while it reads, and their instruments are made between two collections.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use super::registration::{Instrument, Maker};
use super::slot::{From, Slot};
use crate::metrics::naming::{Kind, Number};

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
    maker: Maker,
    slots: Vec<Arc<Slot>>,
    /// One call at a time.
    turn: Mutex<()>,
}

impl std::fmt::Debug for Instruments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instruments").finish_non_exhaustive()
    }
}

impl Instruments {
    pub(super) fn new(maker: Maker, slots: Vec<Arc<Slot>>) -> Self {
        Self { maker, slots, turn: Mutex::default() }
    }

    pub(super) fn make(&self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in &self.slots {
            for Discovered { name, description, kind } in slot.take_discovered() {
                let series = slot.count(&From::Found, &name);
                let (name, description) = (Cow::Owned(name), Cow::Owned(description));
                let instrument = Instrument { name, unit: "", description, kind, number: Number::Double };
                self.maker.make(instrument, slot, From::Found, series, None);
            }
        }
    }
}
