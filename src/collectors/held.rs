//! The last totals of a counter, for collections that its collector misses because a file hangs.
//!
//! With delta temporality, the SDK drops a series that is missing from one collection and later sends its whole total.
//! The last totals are therefore observed again. A collector whose file fails does this itself; one that hangs cannot.

use std::sync::{Mutex, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::AsyncInstrument;

use super::observer::Sink;
use crate::host::bounded::lock;

/// The data points of a counter's last observation.
#[derive(Debug, Default)]
pub(super) struct Held {
    ints: Mutex<Points<u64>>,
    floats: Mutex<Points<f64>>,
}

type Points<T> = Vec<(Box<[KeyValue]>, T)>;

impl Held {
    /// Runs `observe` with `sink` and keeps the points if it returns true. Returns its result.
    pub(super) fn keep(&self, sink: Sink<'_>, observe: impl FnOnce(Sink<'_>) -> bool) -> bool {
        match sink {
            Sink::U64(out) => keeping(&self.ints, out, |tee| observe(Sink::U64(tee))),
            Sink::F64(out) => keeping(&self.floats, out, |tee| observe(Sink::F64(tee))),
            other => observe(other),
        }
    }

    /// Observes the points again.
    pub(super) fn observe(&self, sink: Sink<'_>) {
        match sink {
            Sink::U64(out) => lock(&self.ints).iter().for_each(|(attributes, value)| out.observe(*value, attributes)),
            Sink::F64(out) => lock(&self.floats).iter().for_each(|(attributes, value)| out.observe(*value, attributes)),
            Sink::I64(_) | Sink::Nowhere => {}
        }
    }
}

fn keeping<T: Copy + Send + Sync>(
    points: &Mutex<Points<T>>,
    out: &dyn AsyncInstrument<T>,
    observe: impl FnOnce(&Tee<'_, T>) -> bool,
) -> bool {
    let tee = Tee { out, seen: Mutex::new((0, std::mem::take(&mut *lock(points)))) };
    let there = observe(&tee);
    let (seen, mut kept) = tee.seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    if there {
        kept.truncate(seen);
    }
    *lock(points) = kept;
    there
}

/// Forwards points and keeps a copy.
struct Tee<'a, T> {
    out: &'a dyn AsyncInstrument<T>,
    /// Number of points seen, and the points: the seen ones, followed by those of the previous observation.
    seen: Mutex<(usize, Points<T>)>,
}

impl<T: Copy + Send + Sync> AsyncInstrument<T> for Tee<'_, T> {
    fn observe(&self, value: T, attributes: &[KeyValue]) {
        self.out.observe(value, attributes);
        let mut seen = lock(&self.seen);
        let (count, points) = &mut *seen;
        match points.get_mut(*count) {
            // The series and their order rarely change.
            Some((known, last)) if **known == *attributes => *last = value,
            Some(point) => *point = (attributes.into(), value),
            None => points.push((attributes.into(), value)),
        }
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<(String, u64)>>);

    impl AsyncInstrument<u64> for Kept {
        fn observe(&self, value: u64, attributes: &[KeyValue]) {
            self.0.lock().unwrap().push((attributes[0].value.to_string(), value));
        }
    }

    fn observed(held: &Held, points: &[(&'static str, u64)], there: bool) -> Vec<(String, u64)> {
        let out = Kept::default();
        let kept = held.keep(Sink::U64(&out), |sink| {
            if let Sink::U64(sink) = sink {
                points.iter().for_each(|(name, value)| sink.observe(*value, &[KeyValue::new("device", *name)]));
            }
            there
        });
        if !kept {
            held.observe(Sink::U64(&out));
        }
        out.0.into_inner().unwrap()
    }

    #[test]
    fn a_collection_without_the_collector_has_the_points_of_the_last_one_with_it() {
        let held = Held::default();
        for points in [&[("a", 1), ("b", 2)][..], &[("a", 3), ("c", 4), ("d", 5)], &[("c", 6)]] {
            let named: Vec<_> = points.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
            assert_eq!(observed(&held, points, true), named);
            assert_eq!(observed(&held, &[], false), named);
            assert_eq!(observed(&held, &[], false), named);
        }
    }
}
