//! The settings of the outbox: its directory and its bounds.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxConfig {
    /// Directory of the outbox, or `None` to keep batches in memory.
    pub dir: Option<PathBuf>,
    pub max_bytes: u64,
    pub max_age: Duration,
}
