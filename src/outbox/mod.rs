//! What an outage must not lose: batches wait here until the backend takes them.
//!
//! | file | its one idea |
//! |---|---|
//! | [`exporter`] | what the reader calls: live while all is well, else into the store; never an error, never late |
//! | [`drain`] | the background task: from the store to the server, oldest first |
//! | [`backoff`] | how long to wait after a failure |
//! | [`status`] | what the log says, and how rarely |
//! | [`stats`] | what the self-metrics say |
//! | [`store`], [`memory`], … | where batches wait |

pub mod backoff;
pub mod batch;
pub mod drain;
pub mod exporter;
pub mod memory;
pub mod moment;
pub mod stats;
pub mod status;
pub mod store;

pub use batch::Batch;
pub use exporter::{DeliveryHandle, OutboxExporter, Tuning, start};
pub use memory::{MEMORY_MAX_BYTES, MemoryStore};
pub use moment::Moment;
pub use stats::Snapshot;
pub use store::{DropCounts, DropReason, Kept, Limits, PushOutcome, Store, Tally};
