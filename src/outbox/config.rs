//! The settings of the outbox: its directory and its bounds.

use std::path::PathBuf;
use std::time::Duration;

/// Location and limits of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxConfig {
    /// Directory of the outbox, or `None` to keep batches in memory.
    pub dir: Option<PathBuf>,
    /// Maximum size in bytes.
    pub max_bytes: u64,
    /// Maximum age of a batch.
    pub max_age: Duration,
}
