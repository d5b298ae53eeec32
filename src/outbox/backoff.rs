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
    /// The first wait is drawn from zero to `base`, each next one from a range twice as long, up to `cap`. Without `jitter`
    /// every wait is the whole of its range: what a fleet would do, for comparison.
    pub fn new(base: Duration, cap: Duration, jitter: bool) -> Self {
        Self { base, cap, jitter, failures: 0 }
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
