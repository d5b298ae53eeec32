//! The outbox: queues undelivered batches and sends them to the backend.
//!
//! ```text
//! reader's thread          runtime's thread                     worker's thread
//! exporter ── push ──▶ ┌─ queue (one lock) ─┐ ◀── load, saved ── worker ◀──▶ directory
//!                      │ oldest … newest    │ ── to read, write, delete ──▶
//!                      └────────────────────┘
//!                        │ take    ▲ delivered, refused, kept
//!                        ▼         │
//!                       sender ────┘
//!                        │ ▲
//!                        ▼ │ answer (export::verdict)
//!                       wire ──▶ backend
//! ```
//!
//! | file | purpose |
//! |---|---|
//! | [`exporter`] | called by the reader: encode, push, return |
//! | `queue` | all undelivered batches in order, and their limits |
//! | [`account`] | counts of sent, pending and lost batches |
//! | `sender` | one task: take the oldest batches, send them, act on the answer |
//! | `worker` | one thread that owns the directory |
//! | `shared` | the lock around the queue, and the signals between the threads |
//! | [`opening`] | locks a directory and reads the records that an earlier process left |
//! | `record`, `names`, [`fs`] | one batch as one file |
//! | [`moment`], [`backoff`], [`tuning`] | time |
//! | `status` | log lines and their rate limits |
//!
//! # Threads, locks, states
//!
//! There are three threads: the SDK's reader (pushes batches), the runtime (sender), and the worker (only with a
//! directory). One lock guards the queue and a little shared state. It is never held during reads, writes or sends. A
//! condition variable wakes the worker and a shutdown that waits for the end; a notification wakes the sender. There are
//! no command queues: each thread derives its next step from the queue. The connection has two locks of its own
//! (`export::wire`, `export::connector`), each held only to copy or swap a value.
//!
//! ```text
//! entry       in memory ──saved──▶ on disk ──loaded──▶ both ──part accepted──▶ stale ──saved──▶ both
//! directory   unusable ◀──▶ open                   (at the start, sending waits for it, up to 30 s)
//! phase       running ──▶ closing ──▶ saving ──▶ ended
//! ```
//!
//! While delivery works, entries go from memory to the network without touching the disk. An entry is written to disk
//! if it arrives after a failed request, if its request has been in flight for a second, if older entries are on disk
//! already, or at shutdown. An entry is stale if part of its batch was accepted and its record still holds the whole
//! batch; its record is replaced before the rest is sent. A directory is unusable until it is opened, and when it is
//! full, read-only, locked by another agent, or unreadable. Batches then wait in memory, up to 4 MiB, and move to disk
//! in order once the directory is usable.
//!
//! # Constraints
//!
//! - **Order.** Batches are sent in the order of arrival. Batches of an earlier run are sent first.
//! - **Limits.** Size and age are limited. Batches over a limit are dropped oldest first, and each drop is counted
//!   under one of seven reasons ([`DropReason`]). A batch that is larger than the whole outbox is tried once; if that
//!   fails, only this batch is lost.
//! - **Durability.** Batches on disk survive kills, crashes and power loss.
//! - **Containment.** A corrupt record is dropped alone and is never sent.
//! - **No failure for the caller.** A full or failing disk costs the oldest batches, or durability for a while. It
//!   stops neither the agent nor the new batch.
//! - **Memory.** An empty outbox uses no memory; a batch on disk uses 40 bytes. Memory is released after a peak.
//! - **At least once.** A batch is sent again after a crash between the server's answer and the removal of the record,
//!   after power loss before the file system has written the removal (seconds), and after a lost answer.
//!
//! # Layout on disk
//!
//! One directory (mode 0700) belongs to one agent:
//!
//! | name | content |
//! |---|---|
//! | `outbox.lock` | empty; the agent holds its lock (`flock`), which the kernel releases when the process ends |
//! | `00000000000000000042.batch` | one batch: a header with two checksums, then the request's bytes; mode 0600 |
//! | `00000000000000000042.tmp` | a batch whose write did not finish |
//!
//! The 20 digits are the sequence number, so `ls` lists batches in sending order. A batch is written under its
//! temporary name, synced, and renamed, and then the directory is synced: its record is either complete or absent.
//! `record.rs` describes the header; `docs/adr/0003-outbox-storage.md` has the reasons against a single queue file.
//!
//! # Recovery
//!
//! Opening takes the lock, deletes temporary files and reads the header of each record. Payloads are read when they are
//! sent. A record whose header is corrupt, or has another version or number, is deleted and counted. A record whose
//! length or payload is wrong is dropped when it is read. Foreign files are not touched. Numbering continues after the
//! highest number found. On a full disk, enough of the oldest batches are dropped to make room for a new one.
//!
//! # Age
//!
//! The wall clock may step, so age is measured with the kernel's clock since boot where possible: for batches of this
//! process and for batches that an earlier process left in the same boot. Only a batch from before a reboot gets its
//! age from the wall clock, once at opening; after that the clock since boot advances it, so later steps have no
//! effect. A timestamp in the future, or from a clock that was never set, counts as age zero at opening: keeping a
//! batch for a day too long costs less than losing it.

pub mod account;
pub mod backoff;
pub mod config;
pub mod exporter;
pub mod fs;
pub mod moment;
mod names;
pub mod opening;
mod queue;
pub mod record;
mod sender;
mod shared;
mod status;
pub mod tuning;
mod worker;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub use account::DropCounts;
pub use account::{DropReason, Snapshot};
pub use exporter::{DeliveryHandle, OutboxExporter, start};
pub use opening::OutboxError;
pub use queue::MEMORY_MAX_BYTES;
pub use tuning::{STOP_MOST, Tuning};

/// Default size limit of an outbox on disk.
pub const DISK_MAX_BYTES: u64 = 64 * 1024 * 1024;
