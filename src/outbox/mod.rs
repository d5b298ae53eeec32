//! What an outage must not lose: batches wait here until the backend takes them.
//!
//! | file | its one idea |
//! |---|---|
//! | [`exporter`] | what the reader calls: live while all is well, else into the store; never an error, never late |
//! | [`drain`] | the background task: from the store to the server, oldest first |
//! | [`backoff`] | how long to wait after a failure |
//! | [`status`] | what the log says, and how rarely |
//! | `shared` | what exporter and drain have in common: store, link, the signals between them |
//! | [`stats`] | what the self-metrics say |
//! | [`store`] | what a storage does: [`memory`], [`disk`] (with [`fs`], `record`, [`recovery`], `saving`, `health`, `names`), on a thread of its own by [`aside`] and `desk` |
//! | [`moment`] | a point in time on two clocks |
//!
//! # Constraints
//!
//! - **Order.** Batches leave in the order in which they came; nothing overtakes.
//! - **Bounds.** Bytes and age are bounded. What is over a bound is dropped oldest first, and every drop is counted under
//!   one of five reasons ([`DropReason`]).
//! - **Durability.** A push that says [`Kept::OnDisk`] survives a kill, a crash and a power cut.
//! - **Containment.** A damaged record costs that record, never a neighbour, and is never given out altered.
//! - **No failure for the caller.** A disk that is full or refuses costs the oldest batches or durability for a while,
//!   not the agent and not the new batch.
//! - **Size.** At rest nothing is resident; on disk a waiting batch costs 24 bytes of memory. Memory comes back after a
//!   peak.
//! - **At least once.** A crash between the server's answer and the removal sends a batch again; so may a power cut
//!   within the seconds that the file system takes to write a removal.
//!
//! # Layout on disk
//!
//! One directory (mode 0700) belongs to one agent:
//!
//! | name | what |
//! |---|---|
//! | `outbox.lock` | empty; its lock (`flock`) says that an agent runs here, and ends with the process however it ends |
//! | `00000000000000000042.batch` | one batch: a header with two checksums, then the request's bytes; mode 0600 |
//! | `00000000000000000042.tmp` | a batch that was being written |
//!
//! The 20 digits are the sequence number, so `ls` shows the order of sending. A batch is written under its temporary
//! name, synced, renamed, and the directory is synced: at every instant it is there entirely or not at all. The header
//! is in `record.rs`, the reasons against one big queue file in `docs/adr/0003-outbox-storage.md`.
//!
//! # Recovery
//!
//! Opening takes the lock, deletes temporary files, reads each record's header and leaves its payload for the moment of
//! sending. A record whose length, checksum, version or number is wrong is deleted and counted; one whose payload is
//! wrong, when it is met. Foreign files are left alone. Numbering goes on after the highest number found.
//!
//! A disk that hangs delays no collection: `aside.rs`. While the disk refuses new batches (full, read-only, failing) they are held in memory, at most 4 MiB, and written in
//! order when it works again; it is asked after 1 s, then less often, up to every 30 s. A full disk first loses the oldest
//! batches, as many as one new one needs.
//!
//! # Age
//!
//! The wall clock may step, so it never measures age where something better is known. For a batch of this process, and
//! for one that an earlier process left in this boot, it is the kernel's clock since boot. Only a batch from before a
//! reboot has its age from the wall clock, read once at opening and counted on by the clock since boot: a step afterwards
//! changes nothing. A stamp from the future, or from a clock that was never set, counts as fresh at opening: keeping a
//! batch a day too long costs less than losing it.

pub mod aside;
pub mod backoff;
pub mod batch;
pub mod config;
mod desk;
pub mod disk;
pub mod drain;
pub mod exporter;
pub mod fs;
mod health;
pub mod memory;
pub mod moment;
mod names;
mod record;
pub mod recovery;
mod saving;
mod shared;
pub mod stats;
pub mod status;
pub mod store;

#[cfg(test)]
mod tests;

pub use aside::AsideStore;
pub use batch::Batch;
pub use disk::{DISK_MAX_BYTES, DiskStore};
pub use exporter::{DeliveryHandle, OutboxExporter, start};
pub use memory::{MEMORY_MAX_BYTES, MemoryStore};
pub use moment::Moment;
pub use recovery::{OpenError, OpenFault};
pub use shared::{STOP_MOST, Tuning};
pub use stats::Snapshot;
pub use store::{DropCounts, DropReason, Kept, Limits, PushOutcome, Store, Tally, Wake};

use std::time::Duration;

use config::OutboxConfig;

/// A directory that takes longer to open is waited for in the background: the first collection is not.
const OPEN_MOST: Duration = Duration::from_secs(2);

/// The store that the configuration asks for. A directory that cannot be used gives one warning and a store in memory:
/// sending metrics is worth more than keeping them. No call on the store waits for a disk longer than `patience`.
pub fn open(config: &OutboxConfig, boot_id: u128, now: Moment, patience: Duration) -> Box<dyn Store> {
    let limits = Limits::from(config);
    let Some(dir) = config.dir.clone() else { return Box::new(MemoryStore::new(limits)) };
    let instead = Limits { max_bytes: limits.max_bytes.min(MEMORY_MAX_BYTES), ..limits };
    let path = dir.clone();
    let open = move || DiskStore::open(&path, limits, boot_id, now);
    match AsideStore::open(open, instead, dir, patience, OPEN_MOST) {
        Ok(store) => Box::new(store),
        Err(error) => {
            warn_of(&error);
            Box::new(MemoryStore::new(instead))
        }
    }
}

fn warn_of(error: &OpenError) {
    tracing::warn!("{error}. Until then batches wait in memory and a restart loses them");
}
