//! Receives the values of a metric from a collector.

use opentelemetry::KeyValue;
use opentelemetry::metrics::AsyncInstrument;

use crate::metrics::naming::Attributes;

#[derive(Clone, Copy)]
pub(super) enum Sink<'a> {
    Nowhere,
    U64(&'a dyn AsyncInstrument<u64>),
    I64(&'a dyn AsyncInstrument<i64>),
    F64(&'a dyn AsyncInstrument<f64>),
}

/// Receives the values of one metric from a collector.
pub struct Observer<'a> {
    pub(super) sink: Sink<'a>,
    pub(super) left: usize,
    pub(super) seen: usize,
    /// Series that the collector itself dropped because of a limit.
    pub(super) cut: usize,
}

impl<'a> Observer<'a> {
    /// An observer of at most `left` series.
    pub(super) fn new(sink: Sink<'a>, left: usize) -> Self {
        Self { sink, left, seen: 0, cut: 0 }
    }

    /// Observes an integer. Values above the maximum of OTLP's signed 64-bit integer are set to that maximum.
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

    /// Observes a floating-point number. Values that are not finite are dropped.
    pub fn float(&mut self, value: f64, attributes: &[KeyValue]) {
        if !value.is_finite() || !self.admit() {
            return;
        }
        if let Sink::F64(out) = &self.sink {
            out.observe(value, attributes);
        }
    }

    /// Observes a number, as an integer if the metric is declared so.
    pub fn number(&mut self, value: f64, attributes: &[KeyValue]) {
        match self.sink {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // as it saturates
            Sink::U64(_) | Sink::I64(_) => self.int(value as u64, attributes),
            Sink::F64(_) | Sink::Nowhere => self.float(value, attributes),
        }
    }

    /// Counts series that the collector itself dropped because of a limit. It logs them.
    pub(super) fn cut(&mut self, count: usize) {
        self.cut += count;
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
