//! Collection times: a fixed cadence without drift, at a phase of the interval that is specific to this host.
//!
//! The ticks are `first + n × interval` on the monotonic clock. The SDK's reader measures each wait from the end of the
//! previous one and therefore drifts by a wake-up delay per cycle; here every tick is derived from the first one.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::host::identity::Identity;

/// The host's phase in the interval. It is stable within a boot and evenly distributed over a fleet.
#[must_use]
pub fn phase(identity: &Identity, interval: Duration) -> Duration {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let name = format!("{}\n{}\n{}", part(&identity.id), part(&identity.name), part(&identity.boot_id));
    let (hash, _) = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).as_u64_pair();
    let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
    Duration::from_nanos(hash % nanos)
}

/// Time from `now` until the wall clock reaches `phase` of an interval; less than one interval.
#[must_use]
pub fn wait_for_phase(now: SystemTime, phase: Duration, interval: Duration) -> Duration {
    let nanos = interval.as_nanos().max(1);
    let at = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() % nanos;
    let wait = (phase.as_nanos() % nanos + nanos - at) % nanos;
    Duration::from_nanos(u64::try_from(wait).unwrap_or(0))
}

#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    next: Instant,
    interval: Duration,
}

impl Ticks {
    /// Creates a cadence whose first tick is at `first`.
    #[must_use]
    pub fn new(first: Instant, interval: Duration) -> Self {
        Self { next: first, interval }
    }

    /// Creates a cadence that starts at `now`, with its first tick at `first` or, if that is past, at the next tick after it.
    /// `None` is a first tick at once.
    #[must_use]
    pub fn from(first: Option<Instant>, now: Instant, interval: Duration) -> Self {
        let mut ticks = Self::new(first.unwrap_or(now), interval);
        if ticks.next < now {
            ticks.advance(now);
        }
        ticks
    }

    #[must_use]
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Advances to the first tick after `now`. Missed ticks are skipped, not made up for. Returns the number of skipped
    /// ticks.
    pub fn advance(&mut self, now: Instant) -> u64 {
        self.next += self.interval;
        if self.next > now {
            return 0;
        }
        let late = (now - self.next).as_nanos() / self.interval.as_nanos().max(1);
        let skipped = u32::try_from(late).unwrap_or(u32::MAX).saturating_add(1);
        self.next += self.interval.saturating_mul(skipped);
        u64::from(skipped)
    }
}

/// Detects steps of the wall clock by comparison with CLOCK_BOOTTIME, which counts the time of a suspend, as the wall clock does.
#[derive(Clone, Copy, Debug)]
pub struct StepWatch {
    wall: SystemTime,
    boot: Duration,
}

/// A larger difference between the clocks is a step, such as time synchronization after a boot without a clock.
const STEP: Duration = Duration::from_secs(5);

impl StepWatch {
    /// Starts from the current readings of both clocks.
    #[must_use]
    pub fn new(wall: SystemTime, boot: Duration) -> Self {
        Self { wall, boot }
    }

    /// Step of the wall clock since the last call, in seconds, positive or negative; `None` if it did not step.
    pub fn step(&mut self, wall: SystemTime, boot: Duration) -> Option<f64> {
        let expected = self.wall + boot.saturating_sub(self.boot);
        *self = Self { wall, boot };
        match wall.duration_since(expected) {
            Ok(forward) => (forward > STEP).then_some(forward.as_secs_f64()),
            Err(back) => (back.duration() > STEP).then_some(-back.duration().as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn host(id: usize) -> Identity {
        Identity { id: Some(format!("{id:032x}")), name: Some(format!("host{id}")), boot_id: None }
    }

    #[test]
    fn the_phase_is_the_hosts_own_and_a_fleet_is_spread() {
        let interval = 10 * SECOND;
        assert_eq!(phase(&host(1), interval), phase(&host(1), interval));
        let mut seconds = [0; 10];
        for id in 0..1_000 {
            seconds[usize::try_from(phase(&host(id), interval).as_secs()).unwrap()] += 1;
        }
        assert!(seconds.iter().all(|hosts| (60..140).contains(hosts)), "{seconds:?}");
    }

    #[test]
    fn the_first_tick_comes_at_the_phase_and_within_one_interval() {
        let now = UNIX_EPOCH + Duration::from_millis(1_000_000_400);
        assert_eq!(wait_for_phase(now, Duration::from_millis(700), SECOND), Duration::from_millis(300));
        assert_eq!(wait_for_phase(now, Duration::from_millis(400), SECOND), Duration::ZERO);
        assert_eq!(wait_for_phase(now, Duration::from_millis(399), SECOND), Duration::from_millis(999));
    }

    #[test]
    fn a_late_collection_does_not_move_the_ticks_and_missed_ones_are_skipped() {
        let start = Instant::now();
        let mut ticks = Ticks::new(start, SECOND);
        assert_eq!(ticks.advance(start + Duration::from_millis(300)), 0);
        assert_eq!(ticks.next(), start + SECOND);
        assert_eq!(ticks.advance(start + Duration::from_millis(4_500)), 3);
        assert_eq!(ticks.next(), start + 5 * SECOND);
        assert_eq!(ticks.advance(start + 6 * SECOND), 1, "a tick that is due just now counts as missed");
        assert_eq!(ticks.next(), start + 7 * SECOND);
    }

    #[test]
    fn a_start_that_takes_long_does_not_move_the_phase() {
        let now = Instant::now() + 10 * SECOND;
        let next = |first| Ticks::from(first, now, SECOND).next();
        assert_eq!(next(None), now);
        assert_eq!(next(Some(now + SECOND / 4)), now + SECOND / 4);
        assert_eq!(next(Some(now)), now);
        assert_eq!(next(Some(now - SECOND / 4)), now + SECOND * 3 / 4);
        assert_eq!(next(Some(now - SECOND * 9 / 4)), now + SECOND * 3 / 4);
    }

    #[test]
    fn a_wall_clock_that_steps_is_seen_and_one_that_is_slewed_is_not() {
        let (wall, start) = (UNIX_EPOCH + Duration::from_secs(1_000_000), 500 * SECOND);
        let mut watch = StepWatch::new(wall, start);
        assert_eq!(watch.step(wall + 11 * SECOND, start + 10 * SECOND), None);
        assert_eq!(watch.step(wall + 81 * SECOND, start + 20 * SECOND), Some(60.0));
        assert_eq!(watch.step(wall + 91 * SECOND, start + 30 * SECOND), None);
        assert_eq!(watch.step(wall + SECOND, start + 40 * SECOND), Some(-100.0));
    }

    #[test]
    fn a_suspend_is_no_step() {
        let (wall, boot) = (UNIX_EPOCH + Duration::from_secs(1_000_000), 500 * SECOND);
        let mut watch = StepWatch::new(wall, boot);
        let hour = 3_610 * SECOND;
        assert_eq!(watch.step(wall + hour, boot + hour), None);
    }

    proptest! {
        #[test]
        fn ticks_are_always_ahead_and_on_the_grid(millis in proptest::collection::vec(0u64..20_000, 1..50)) {
            let start = Instant::now();
            let mut ticks = Ticks::new(start, SECOND);
            let mut now = start;
            for step in millis {
                now = now.max(ticks.next()) + Duration::from_millis(step);
                ticks.advance(now);
                prop_assert!(ticks.next() > now && ticks.next() <= now + SECOND);
                prop_assert_eq!((ticks.next() - start).as_nanos() % SECOND.as_nanos(), 0);
            }
        }
    }
}
