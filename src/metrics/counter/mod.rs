//! Turns kernel counters into totals that count from their start time.
//!
//! The SDK stamps a counter's start time when its instrument is created, so a total counts the events since then. The
//! kernel's counters count from boot, step back a little (iowait, idle after a suspend), restart (a driver that is loaded
//! again) and wrap at 32 bits, and a single reading can be zeros or nonsense. Every kernel counter of every collector goes
//! through this module. The counters of text files do not, because any program writes them and at any rate;
//! `collectors/textfile` takes each step back as a new baseline. For each column, **the total never falls, never exceeds
//! the true growth, and continues at most three readings after the counter does.**
//!
//! # Rules
//! A column has a mark (its last believed reading) and a total.
//!
//! - *Believed*: a reading from the mark to the mark plus the limit. The total grows by the difference.
//! - *In doubt*: any other reading. The total stays. The reading starts a candidate, or continues it if it is not below the
//!   candidate's last reading and within the limit of it. After three readings of which at least one rose, the candidate
//!   replaces the mark and the total grows by the candidate's last reading minus its first.
//! - *Return*: the track that a lower candidate replaced is kept. A reading that leaps over more than half of the gap, to
//!   the old mark or above, shows that the low readings were a glitch: the total continues from the old track, and never
//!   falls. A counter that really restarted and leaps like that loses at most the growth of that one reading.
//! - *Limit*: a rate that no hardware reaches ([`Kind`]), or the time that passed for all modes of a CPU together
//!   ([`Together`]).
//! - *Appears*: a row that is seen for the first time, or was [absent](Row::absent) from a good listing, takes its first
//!   reading as baseline. A source that could not be read is not absent: its row is not called at all, and goes on from
//!   its marks.
//! - *Wraps*: a [narrow](Kind::narrow) column that falls from 2^31 or above to below it wrapped; decided when the candidate
//!   is confirmed.
//!
//! A whole reading is never added to a total. With [`Since::Boot`] a baseline sets the total to the reading itself, unless
//! the total is larger already.
//!
//! # Cases that the rules leave open
//! - **A row of zeros is ignored.** Where all columns of a row are zero it is no baseline, starts no candidate and does
//!   not continue one: a file of zeros, then a counter at one million, is no growth of one million. A zero beside another
//!   column that is not zero is believed, so that the first error or the first killed process counts. Therefore the counters
//!   of one file belong in one row.
//! - **Absence ends every doubt.** Candidate and old tracks are dropped: the device that comes back can be another one.
//! - **Restarts within restarts.** Several old tracks are kept, each inside the next; the outermost that a leap reaches
//!   is continued, since it gives the smallest total.
//! - **A low glitch that rises** for three readings is the same as a restart and is counted as one; so is one that passes the
//!   old mark without a leap. A wrong first reading that is not zero is the baseline. No rule can tell these.
//!
//! # Example
//! ```
//! use std::time::Duration;
//! use heka_insights_agent::internals::metrics::counter::{Counters, Kind, Rules, Since};
//!
//! // Two counters of one file: one row. The kernel may lack either.
//! let mut counters = Counters::new(Rules::new([Kind::EVENTS; 2], Since::Start));
//! let at = Duration::from_secs; // Reader::now() in a collector
//! counters.read(&[Some(1_000), None], at(0));
//! counters.read(&[Some(1_250), None], at(10));
//! assert_eq!(counters.get(0), Some(250));
//! assert_eq!(counters.get(1), None);
//! ```
//! Rows with a name (a device, an interface) are a [`Table`].

mod column;
mod row;
mod table;

pub use row::{Counters, Row};
pub use table::Table;

use std::time::Duration;

/// The origin of the exported totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[warn(missing_docs)]
pub enum Since {
    /// The moment the instrument was created: the total agrees with the start time it carries.
    Start,
    /// The host's boot: the kernel's own totals, for people who compare with `/proc`.
    Boot,
}

/// The kind of a column: how fast it can grow, and how wide it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    per_second: Option<u64>,
    narrow: bool,
}

impl Kind {
    /// Bytes: at most 10^12 a second.
    pub const BYTES: Self = Self::at_most(1_000_000_000_000);
    /// Events such as packets, operations or faults: at most 10^9 a second.
    pub const EVENTS: Self = Self::at_most(1_000_000_000);
    /// No limit: times that are added when something completes, such as a disk's latencies and pressure.
    pub const UNLIMITED: Self = Self { per_second: None, narrow: false };

    /// A column that grows by at most this many a second.
    #[must_use]
    pub const fn at_most(per_second: u64) -> Self {
        Self { per_second: Some(per_second), narrow: false }
    }

    /// A column that the kernel keeps in, or prints as, 32 bits: it wraps at 2^32.
    #[must_use]
    pub const fn narrow(self) -> Self {
        Self { narrow: true, ..self }
    }

    /// A column of the kernel's `unsigned long`, which has this many bits.
    #[must_use]
    pub const fn word(self, bits: u32) -> Self {
        if bits <= 32 { self.narrow() } else { self }
    }

    /// Maximum growth in [`allowed`] milliseconds.
    fn limit(self, allowed: u64) -> u64 {
        self.per_second.map_or(u64::MAX, |per_second| growth(per_second, allowed))
    }
}

/// The elapsed time × 1.25 + 2 s in milliseconds: readings are not taken exactly when the clock is read.
fn allowed(elapsed: Duration) -> u64 {
    let millis = elapsed.as_secs().saturating_mul(1_000).saturating_add(u64::from(elapsed.subsec_millis()));
    millis.saturating_add(millis / 4).saturating_add(2_000)
}

/// Growth at this rate in this many milliseconds.
const fn growth(per_second: u64, millis: u64) -> u64 {
    per_second.saturating_mul(millis) / 1_000
}

/// Adds the growth of one row to the sums of several.
pub fn add<const N: usize>(sums: &mut [u64; N], grown: &[u64; N]) {
    sums.iter_mut().zip(grown).for_each(|(sum, grown)| *sum = sum.saturating_add(*grown));
}

/// Columns that share one limit: the modes of a CPU divide the time that passes among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Together {
    /// Units a second, such as clock ticks.
    pub per_second: u64,
    /// Number of CPUs whose ticks the row sums.
    pub times: u64,
}

impl Together {
    /// Maximum growth of all columns together.
    #[must_use]
    pub fn limit(self, elapsed: Duration) -> u64 {
        growth(self.per_second, allowed(elapsed)).saturating_mul(self.times)
    }
}

/// How the columns of a row are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules<const N: usize> {
    kinds: [Kind; N],
    since: Since,
    delta: bool,
    together: Option<Together>,
}

impl<const N: usize> Rules<N> {
    /// Rules for columns of these kinds.
    #[must_use]
    pub const fn new(kinds: [Kind; N], since: Since) -> Self {
        Self { kinds, since, delta: false, together: None }
    }

    /// Under delta temporality the SDK forgets a series that one collection misses, and sends its whole total on its
    /// return: a row that was absent restarts its totals at zero.
    #[must_use]
    pub const fn delta(self, delta: bool) -> Self {
        Self { delta, ..self }
    }

    /// One limit for all columns together. A step back of less than three times the limit only holds the total.
    #[must_use]
    pub const fn together(self, together: Together) -> Self {
        Self { together: Some(together), ..self }
    }
}

#[cfg(test)]
mod tests;
