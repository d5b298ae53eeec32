//! Cardinality limits of the SDK's instruments. The SDK folds series above an instrument's limit into one overflow
//! series, and allocates memory for the limit in advance. A low limit loses data; a high limit costs memory: a gauge
//! keeps its allocation, and its few series are scattered over many pages.
//!
//! Each instrument therefore gets room for twice the number of series that its metric had at the first reading, or, if it
//! had none, the collector's largest metric. If the host grows beyond that, series without room are dropped from one collection, and [`super::Registered::outgrown`]
//! requests new instruments with twice the room.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::metrics::naming::{Kind, Shape};

/// Limit for self-metrics, which have at most one series per collector.
const OWN: usize = 64;
/// Reserve for new series: with it, the map of an instrument with one or two series has 32 slots of 32 bytes.
const SPARE: usize = 23;
/// Sufficient to reach any series limit.
const MOST_DOUBLINGS: usize = 16;

/// The limit of the instrument that is created next, and its name if that is not the instrument's own. A view of the SDK
/// reads them while the instrument is created.
#[derive(Clone, Debug)]
pub struct Limits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    next: AtomicUsize,
    /// How often the limits were doubled.
    doublings: AtomicUsize,
    /// The name of the next instrument, for metrics of text files.
    name: Mutex<Option<String>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self(Arc::new(Shared { next: AtomicUsize::new(OWN), doublings: AtomicUsize::new(0), name: Mutex::default() }))
    }
}

impl Limits {
    /// The limit of the instrument that is being created.
    #[must_use]
    pub fn next(&self) -> usize {
        self.0.next.load(Ordering::Relaxed)
    }

    /// The name of the instrument that is being created, if the metric's name is not a valid name of an instrument or
    /// must not be translated.
    #[must_use]
    pub fn given_name(&self) -> Option<String> {
        self.name().clone()
    }

    fn name(&self) -> MutexGuard<'_, Option<String>> {
        self.0.name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Doubles the limits of instruments that are created from now on.
    pub fn double(&self) {
        let doublings = self.0.doublings.load(Ordering::Relaxed);
        self.0.doublings.store((doublings + 1).min(MOST_DOUBLINGS), Ordering::Relaxed);
    }

    /// The limit for an instrument whose metric has this many series. `most` is the maximum number of series.
    pub(super) fn room(&self, found: usize, most: usize) -> usize {
        let room = found.min(most).saturating_mul(2).saturating_add(SPARE);
        room.saturating_mul(1 << self.0.doublings.load(Ordering::Relaxed))
    }

    /// Runs `create`, whose instrument gets this limit.
    pub(super) fn with<T>(&self, limit: usize, create: impl FnOnce() -> T) -> T {
        self.0.next.store(limit, Ordering::Relaxed);
        let created = create();
        self.0.next.store(OWN, Ordering::Relaxed);
        created
    }

    /// As [`Limits::with`], for an instrument whose metric has this name whatever the instrument's own name is.
    pub(super) fn with_name<T>(&self, limit: usize, name: &str, create: impl FnOnce() -> T) -> T {
        *self.name() = Some(name.to_owned());
        let created = self.with(limit, create);
        *self.name() = None;
        created
    }
}

/// Maximum number of series of a metric, if all attribute values are fixed; otherwise `None`.
pub(crate) fn combinations(shape: &Shape) -> Option<usize> {
    let values = shape.attributes.iter().map(|attribute| attribute.values.len());
    Some(values.product::<usize>()).filter(|combinations| *combinations > 0)
}

/// How many series an instrument may report now without an overflow. The SDK keeps a gauge's series for one collection
/// after they were last reported.
pub(super) fn admitted(kind: Kind, limit: usize, reported_before: usize) -> usize {
    if kind == Kind::Gauge { limit.saturating_sub(reported_before) } else { limit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instrument_has_room_for_twice_what_was_found_and_for_some_more() {
        let limits = Limits::default();
        assert_eq!([0, 10, 5_000].map(|found| limits.room(found, 2_000)), [23, 43, 4_023]);
        limits.double();
        assert_eq!(limits.room(10, 2_000), 86);
        (0..100).for_each(|_| limits.double());
        assert!(limits.room(0, 2_000) > 2 * 100_000 && limits.room(usize::MAX, usize::MAX) == usize::MAX);
    }

    #[test]
    fn a_limit_is_for_one_instrument() {
        let limits = Limits::default();
        assert_eq!((limits.next(), limits.with(7, || limits.next()), limits.next()), (OWN, 7, OWN));
    }

    #[test]
    fn a_name_is_for_one_instrument() {
        let limits = Limits::default();
        assert_eq!(limits.with_name(7, "a:b", || limits.given_name()).as_deref(), Some("a:b"));
        assert_eq!(limits.given_name(), None);
    }

    #[test]
    fn all_series_of_a_gauge_may_change_between_two_collections() {
        let limits = Limits::default();
        for found in [0, 1, 300] {
            let limit = limits.room(found, 2_000);
            assert!(admitted(Kind::Gauge, limit, found) >= found && admitted(Kind::Counter, limit, found) >= found);
        }
    }
}
