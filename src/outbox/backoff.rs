//! How long to wait after a failure: exponential with full jitter, so that a fleet which lost its server at one moment
//! does not come back at one moment.

use std::time::Duration;

/// The waits of one outage.
#[derive(Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    jitter: bool,
    failures: u32,
}

impl Backoff {
    /// The first wait is drawn from zero to `base`, each next one from a range twice as long, up to `cap`.
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, jitter: true, failures: 0 }
    }

    /// With `false`, every wait is the whole of its range: what a fleet without jitter does, for comparison.
    #[must_use]
    pub fn with_jitter(self, jitter: bool) -> Self {
        Self { jitter, ..self }
    }

    /// The wait after one more failure. Where the server asked for one, that is its floor, and the jitter comes on top.
    pub fn next(&mut self, asked: Option<Duration>) -> Duration {
        let range = self.base.saturating_mul(2u32.saturating_pow(self.failures)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        let part = if self.jitter { fastrand::f64() } else { 1.0 };
        asked.unwrap_or_default() + range.mul_f64(part)
    }

    /// Something was delivered.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_doubles_up_to_the_cap_and_the_servers_wish_is_its_floor() {
        let (base, cap) = (Duration::from_millis(500), Duration::from_secs(30));
        for _ in 0..200 {
            let mut backoff = Backoff::new(base, cap);
            for range in [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
                assert!(backoff.next(None) <= Duration::from_millis(range));
            }
            for _ in 0..100 {
                assert!(backoff.next(None) <= cap);
            }
            let asked = Duration::from_secs(40);
            let wait = backoff.next(Some(asked));
            assert!(wait >= asked && wait <= asked + cap);
            backoff.reset();
            assert!(backoff.next(None) <= base);
        }
    }

    #[test]
    fn without_jitter_every_wait_is_the_whole_range() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(3)).with_jitter(false);
        assert_eq!([(); 3].map(|()| backoff.next(None).as_secs()), [1, 2, 3]);
    }
}
