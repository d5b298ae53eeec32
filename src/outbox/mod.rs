//! What an outage must not lose: batches wait here until the backend takes them.

pub mod batch;
pub mod memory;
pub mod moment;
pub mod store;

pub use batch::Batch;
pub use memory::{MEMORY_MAX_BYTES, MemoryStore};
pub use moment::Moment;
pub use store::{DropCounts, DropReason, Kept, Limits, PushOutcome, Store, Tally};
