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

    /// The time since boot in milliseconds, signed so that "before this boot" has a value.
    pub(super) fn up_millis(&self) -> i64 {
        i64::try_from(self.up.as_millis()).unwrap_or(i64::MAX)
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// When a batch was born, in milliseconds on this boot's clock; negative before this boot. Half the size of a
/// `Duration`, as the index of a full outbox holds thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Born(i64);

impl Born {
    /// Born now.
    pub(super) fn at(now: &Moment) -> Self {
        Self(now.up_millis())
    }

    /// Born `age` ago.
    pub(super) fn before(now: &Moment, age: Duration) -> Self {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        Self(now.up_millis().saturating_sub(age))
    }

    /// How long ago; zero for what is not yet born.
    pub(super) fn age(self, now: &Moment) -> Duration {
        let millis = now.up_millis().saturating_sub(self.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }
}
