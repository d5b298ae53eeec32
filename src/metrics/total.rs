//! A kernel counter made into a total that never goes back.
//!
//! The SDK stamps a counter's start time when its instrument is created, so a total must say what happened since
//! then: the first reading is the baseline. Kernel counters also step back (iowait and idle do on real machines),
//! start again (a device that is plugged in anew) and wrap (32-bit columns); a total does none of that.

pub use super::counter::Since;

/// One counter's total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    last: u64,
    sum: u64,
    forgotten: u64,
}

impl Total {
    /// A total whose first reading is its baseline: it starts at zero, or at the reading when counting since boot.
    #[must_use]
    pub fn baseline(reading: u64, since: Since) -> Self {
        let sum = match since {
            Since::Start => 0,
            Since::Boot => reading,
        };
        Self { last: reading, sum, forgotten: 0 }
    }

    /// A total of a thing that did not exist before: all its first reading holds happened since then.
    #[must_use]
    pub fn from_zero(reading: u64) -> Self {
        Self { last: reading, sum: reading, forgotten: 0 }
    }

    /// Takes a reading of a counter that may step back a little. A small step back holds the high mark; a reading
    /// below half of it is a counter that started again, and is added on top.
    pub fn advance(&mut self, reading: u64) {
        if reading >= self.last {
            self.step(reading - self.last, reading);
        } else if reading < self.last / 2 {
            self.step(reading, reading);
        }
    }

    /// Takes the first reading of a counter that is known to have started again at zero.
    pub fn restart(&mut self, reading: u64) {
        self.step(reading, reading);
    }

    /// Takes a reading of a column that the kernel prints as 32 bits, such as the milliseconds of `/proc/diskstats`:
    /// a step back from the upper half of the range into the lower is the wrap, any other holds the high mark.
    pub fn advance_32(&mut self, reading: u64) {
        const RANGE: u64 = 1 << 32;
        if reading >= self.last {
            self.step(reading - self.last, reading);
        } else if self.last < RANGE && self.last >= RANGE / 2 && reading < RANGE / 2 {
            self.step(RANGE - self.last + reading, reading);
        }
    }

    fn step(&mut self, by: u64, reading: u64) {
        self.sum = self.sum.saturating_add(by);
        self.last = reading;
    }

    /// Starts the exported total at zero again and keeps the reading. Under delta temporality the SDK forgets a
    /// series that one collection misses and would send the whole total as one difference on its return.
    pub fn forget(&mut self) {
        self.forgotten = self.sum;
    }

    /// The total to export.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.sum - self.forgotten
    }

    /// The total with what [`Total::forget`] took off: it never goes back.
    #[must_use]
    pub fn lifetime(&self) -> u64 {
        self.sum
    }

    /// The reading the total stands at.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_total_counts_from_its_first_reading() {
        let mut total = Total::baseline(1_000, Since::Start);
        assert_eq!(total.value(), 0);
        total.advance(1_250);
        assert_eq!(total.value(), 250);
    }

    #[test]
    fn since_boot_exports_the_kernels_own_total() {
        let mut total = Total::baseline(1_000, Since::Boot);
        total.advance(1_250);
        assert_eq!(total.value(), 1_250);
    }

    #[test]
    fn iowait_that_steps_back_holds_the_high_mark() {
        let mut total = Total::baseline(1_000, Since::Start);
        total.advance(1_100);
        total.advance(1_090);
        assert_eq!(total.value(), 100);
        total.advance(1_095);
        assert_eq!(total.value(), 100, "still below the high mark");
        total.advance(1_101);
        assert_eq!(total.value(), 101);
    }

    #[test]
    fn a_reset_adds_the_new_reading_on_top() {
        let mut total = Total::baseline(1_000, Since::Start);
        total.advance(1_500);
        total.advance(20);
        assert_eq!(total.value(), 520);
        total.advance(30);
        assert_eq!(total.value(), 530);
    }

    #[test]
    fn a_millisecond_column_that_wraps_at_32_bits_goes_on() {
        let mut total = Total::baseline(u64::from(u32::MAX) - 99, Since::Start);
        total.advance_32(50);
        assert_eq!(total.value(), 150);
    }

    #[test]
    fn a_32_bit_column_that_steps_back_without_a_wrap_holds() {
        let mut total = Total::baseline(500, Since::Start);
        total.advance_32(400);
        assert_eq!(total.value(), 0);
        total.advance_32(501);
        assert_eq!(total.value(), 1);
    }

    #[test]
    fn a_forgotten_total_starts_at_zero_and_its_lifetime_goes_on() {
        let mut total = Total::baseline(10, Since::Start);
        total.advance(30);
        total.forget();
        total.advance(35);
        assert_eq!((total.value(), total.lifetime()), (5, 25));
    }

    proptest! {
        #[test]
        fn any_sequence_of_readings_gives_a_total_that_never_goes_back(
            first: u64, readings in proptest::collection::vec((any::<u64>(), 0u8..3), 0..60), boot: bool
        ) {
            let mut total = Total::baseline(first, if boot { Since::Boot } else { Since::Start });
            let mut before = total.value();
            for (reading, how) in readings {
                match how {
                    0 => total.advance(reading),
                    1 => total.advance_32(reading),
                    _ => total.restart(reading),
                }
                prop_assert!(total.value() >= before);
                before = total.value();
            }
        }
    }
}
