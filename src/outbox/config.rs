//! The settings of the outbox: its directory and its bounds.

use std::path::PathBuf;
use std::time::Duration;

/// The bounds of what an outage may keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxConfig {
    /// Directory of the outbox, or `None` to hold it in memory.
    pub dir: Option<PathBuf>,
    /// Most bytes it may hold.
    pub max_bytes: u64,
    /// Oldest batch it may hold.
    pub max_age: Duration,
}
