//! The two clocks the outbox needs, read once and handed in: no store reads a clock, so a test can step either.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// An instant on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock: may be wrong, may step either way.
    pub wall: SystemTime,
    /// Time since the kernel booted, suspend included (`CLOCK_BOOTTIME`): never steps, means nothing after a reboot.
    pub up: Duration,
}

impl Moment {
    /// Both clocks, now.
    pub fn now() -> Self {
        let up = clock_gettime(ClockId::Boottime);
        Self { wall: SystemTime::now(), up: Duration::try_from(up).unwrap_or_default() }
    }

    /// The wall clock `age` ago, as nanoseconds since 1970; 0 for anything before.
    pub(super) fn wall_nanos_before(&self, age: Duration) -> u64 {
        nanos(self.wall.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(age))
    }

    /// The time from the boot until `age` ago, in nanoseconds.
    pub(super) fn up_nanos_before(&self, age: Duration) -> u64 {
        nanos(self.up.saturating_sub(age))
    }

    /// The time `age` ago on this boot's clock, in milliseconds, negative before this boot: half the size of a `Duration`, as
    /// the index of a full outbox holds thousands.
    pub(super) fn born(&self, age: Duration) -> i64 {
        millis(self.up).saturating_sub(millis(age))
    }

    /// How long ago that was; zero for what is not yet born.
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
