//! Undelivered batches, and their way to the backend.
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
//! | `queue` | every batch that waits, in order, and its bounds |
//! | [`account`] | the one account of what was sent, waits and was lost |
//! | `sender` | one task: take the oldest, send, judge the answer |
//! | `worker` | one thread that owns the directory |
//! | `shared` | the lock around the queue, and how the three wake each other |
//! | [`opening`] | which process owns a directory, and the files that an earlier process left |
//! | `record`, `names`, [`fs`] | one batch as one file |
//! | [`moment`], [`backoff`], [`tuning`] | time |
//! | `status` | log lines, and how rarely they are written |
//!
//! # Threads, locks, states
//!
//! Three threads take part: the SDK's reader (pushes), the runtime (sender), the worker (only where there is a directory).
//! One lock guards the queue and the little state that they share; it is never held while anything is read, written or
//! sent, and the runtime's thread waits for nothing else. One condition variable wakes the worker and a shutdown that waits
//! for the end, one notification wakes the sender. Nobody sends commands: each looks at the queue for what is its to do.
//!
//! ```text
//! entry       in memory ──saved──▶ on disk ──loaded──▶ both ──part accepted──▶ stale ──saved──▶ both
//! directory   opening ──▶ open ◀──▶ failing        (opening: sending waits for it, up to 30 s)
//! phase       running ──▶ closing ──▶ saving ──▶ ended
//! ```
//!
//! While delivery works an entry goes from memory to the wire and touches no disk. It is written when it comes while the last
//! request failed, when its request has been under way for a second, when older ones are on disk already, and at the end. A
//! stale entry, whose record holds more than what is left of the batch, is not sent before its record is replaced. A directory
//! is failing when it is full, read-only, locked by another agent, or cannot be read: batches wait in memory, at most
//! 4 MiB of them, and move to disk in their order when it is usable.
//!
//! # Constraints
//!
//! - **Order.** Batches leave in the order in which they came; nothing overtakes. What an earlier run left comes first.
//! - **Bounds.** Bytes and age are bounded. What is over a bound is dropped oldest first, and every drop is counted under
//!   one of six reasons ([`DropReason`]). A batch that is larger than the whole outbox has one try and is lost alone.
//! - **Durability.** What is on disk survives a kill, a crash and a power cut.
//! - **Containment.** A damaged record costs that record, never a neighbour, and is never given out altered.
//! - **No failure for the caller.** A disk that is full or refuses costs the oldest batches or durability for a while,
//!   not the agent and not the new batch.
//! - **Size.** At rest nothing is resident; on disk a waiting batch costs 40 bytes of memory. Memory comes back after a
//!   peak.
//! - **At least once.** A crash between the server's answer and the removal sends a batch again; so may a power cut
//!   within the seconds that the file system takes to write a removal, and a lost answer.
//!
//! # Layout on disk
//!
//! One directory (mode 0700) belongs to one agent:
//!
//! | name | content |
//! |---|---|
//! | `outbox.lock` | empty; its lock (`flock`) shows that an agent runs here; the kernel releases it with the process |
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
//! sending. A record whose header is damaged or of another version or number is deleted and counted; one whose length or payload
//! is wrong, when it is met. Foreign files are left alone. Numbering goes on after the highest number found. A full disk first
//! loses the oldest batches, as many as one new one needs.
//!
//! # Age
//!
//! The wall clock may step, so it never measures age where something better is known. For a batch of this process, and
//! for one that an earlier process left in this boot, it is the kernel's clock since boot. Only a batch from before a
//! reboot has its age from the wall clock, read once at opening and counted on by the clock since boot: a step afterwards
//! changes nothing. A stamp from the future, or from a clock that was never set, counts as fresh at opening: keeping a
//! batch a day too long costs less than losing it.

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

pub use account::{DropCounts, DropReason, Snapshot, Tally};
pub use exporter::{DEFAULT_MEMORY_BYTES as MEMORY_MAX_BYTES, DeliveryHandle, OutboxExporter, start};
pub use moment::Moment;
pub use opening::{OpenError, OpenFault};
pub use tuning::{STOP_MOST, Tuning};

/// Default bound of an outbox on disk.
pub const DISK_MAX_BYTES: u64 = 64 * 1024 * 1024;
