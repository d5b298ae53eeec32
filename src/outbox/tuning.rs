//! Timing and size parameters of delivery; only tests change them.

use std::time::Duration;

/// Limit for the last collection and delivery at shutdown; the process must end within 5 s of the signal.
pub const STOP_MOST: Duration = Duration::from_millis(4_600);

#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Upper end of the range for the first backoff delay.
    pub backoff_base: Duration,
    /// Maximum range of a backoff delay.
    pub backoff_cap: Duration,
    /// Whether delays are random. Only tests disable it, to show how a fleet would behave without jitter.
    pub backoff_jitter: bool,
    /// Batches of an earlier run are sent after a random delay up to this: after power loss, a whole fleet starts at
    /// once.
    pub resume_within: Duration,
    /// Maximum size of a request that merges several batches.
    pub merge_bytes: usize,
    /// Maximum request size before compression: below the 4 MiB that gRPC servers accept by default.
    pub request_max_bytes: usize,
    /// Limit for one request after the stop signal: long enough for a healthy server, so that its batch is not sent
    /// twice.
    pub stop_send: Duration,
    /// Limit for all requests after the stop signal.
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
