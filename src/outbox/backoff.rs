//! Delay after a failure: exponential backoff with full jitter, so that a fleet that loses its server at the same
//! moment does not retry at the same moment.

use std::time::Duration;

/// The retry delays of one outage.
#[derive(Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    jitter: bool,
    failures: u32,
}

impl Backoff {
    /// The first delay is random between zero and `base`; the range doubles with each failure, up to `cap`. Without
    /// `jitter`, each delay is the full range; tests use this to show how a fleet would behave.
    pub fn new(base: Duration, cap: Duration, jitter: bool) -> Self {
        Self { base, cap, jitter, failures: 0 }
    }

    /// The delay after another failure. If the server requested a delay, it is the minimum, and jitter is added to it.
    pub fn next(&mut self, requested: Option<Duration>) -> Duration {
        let range = self.base.saturating_mul(2u32.saturating_pow(self.failures)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        let part = if self.jitter { fastrand::f64() } else { 1.0 };
        requested.unwrap_or_default() + range.mul_f64(part)
    }

    /// Resets the delay after a successful delivery.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}
