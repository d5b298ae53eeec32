//! Times and sizes of delivery that only tests have a reason to change.

use std::time::Duration;

/// The most that the last collection and the delivery of what waits may take; the process ends within 5 s of the signal.
pub const STOP_MOST: Duration = Duration::from_millis(4_600);

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// The first wait after a failure is drawn from zero to this.
    pub backoff_base: Duration,
    /// No wait is drawn from a longer range than this.
    pub backoff_cap: Duration,
    /// Whether waits are drawn at all; off only to show what a fleet would do without.
    pub backoff_jitter: bool,
    /// Batches of an earlier run wait up to this long: after a power cut a whole fleet starts at once.
    pub resume_within: Duration,
    /// Batches that wait travel together up to this many bytes.
    pub merge_bytes: usize,
    /// No request is larger before compression: below the 4 MiB that gRPC servers accept by default.
    pub request_max_bytes: usize,
    /// After the stop signal, the longest that one request may take: a healthy server answers within it, and its batch is
    /// not sent twice.
    pub stop_send: Duration,
    /// From the stop signal to the end of every request.
    pub stop_budget: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            backoff_base: Duration::from_millis(500),
            backoff_cap: Duration::from_secs(30),
            backoff_jitter: true,
            resume_within: Duration::from_secs(2),
            merge_bytes: 450_000,
            request_max_bytes: 4_000_000,
            stop_send: Duration::from_secs(2),
            stop_budget: Duration::from_secs(4),
        }
    }
}
