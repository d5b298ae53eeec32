//! The two clocks of the outbox. They are read once and passed in, so that tests can step either of them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::host::boot_time;

/// A reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock; it can be wrong and can step in either direction.
    pub wall: SystemTime,
    /// Time since boot including suspend (`CLOCK_BOOTTIME`); it never steps, but restarts at each boot.
    pub up: Duration,
}

impl Moment {
    pub fn now() -> Self {
        Self { wall: SystemTime::now(), up: boot_time() }
    }

    /// Wall-clock time `age` ago, in nanoseconds since 1970; 0 for earlier times.
    pub(super) fn wall_nanos_before(&self, age: Duration) -> u64 {
        nanos(self.wall.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(age))
    }

    /// Time since boot `age` ago, in nanoseconds; 0 for times before the boot.
    pub(super) fn up_nanos_before(&self, age: Duration) -> u64 {
        nanos(self.up.saturating_sub(age))
    }

    /// Time since boot `age` ago, in milliseconds; negative for times before the boot. Half the size of a `Duration`: a
    /// full outbox holds thousands of these.
    pub(super) fn born(&self, age: Duration) -> i64 {
        millis(self.up).saturating_sub(millis(age))
    }

    /// The age of a batch with this [`Moment::born`]; zero if it is in the future.
    pub(super) fn age(&self, born: i64) -> Duration {
        Duration::from_millis(u64::try_from(millis(self.up).saturating_sub(born)).unwrap_or(0))
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
