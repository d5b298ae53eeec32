//! One kernel counter that need not be there: its total begins with the first reading.

use crate::metrics::total::{Since, Total};

/// A counter's total, once it has been read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally(Option<Total>);

impl Tally {
    /// Takes a reading; `None` leaves the total as it is.
    pub(super) fn take(&mut self, reading: Option<u64>, since: Since) {
        match (reading, &mut self.0) {
            (Some(reading), Some(total)) => total.advance(reading),
            (Some(reading), none) => *none = Some(Total::baseline(reading, since)),
            (None, _) => {}
        }
    }

    /// As [`Tally::take`], of a column that the kernel keeps in 32 bits on every machine.
    pub(super) fn take_32(&mut self, reading: Option<u64>, since: Since) {
        match (reading, &mut self.0) {
            (Some(reading), Some(total)) => total.advance_32(reading),
            (reading, _) => self.take(reading, since),
        }
    }

    /// The total, once there is one.
    pub(super) fn value(&self) -> Option<u64> {
        self.0.as_ref().map(Total::value)
    }

    /// Starts the exported total at zero again: the thing is absent, and under delta temporality its whole total would be
    /// sent when it returns.
    pub(super) fn forget(&mut self) {
        if let Some(total) = &mut self.0 {
            total.forget();
        }
    }
}
