//! The outbox on disk: one checksummed file a batch. `recovery.rs` opens it, `saving.rs` writes.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use super::fs::{Fs, Lock, OsFs};
use super::health::Health;
use super::memory::give_back;
use super::moment::Born;
use super::record::{self, HEADER_BYTES, Header};
use super::{Batch, DropCounts, DropReason, Kept, Limits, Moment, PushOutcome, Store, Tally, names};

/// Default bound of an outbox on disk.
pub const DISK_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Batches in a directory that this process has locked.
#[derive(Debug)]
pub struct DiskStore<F: Fs = OsFs> {
    pub(super) fs: F,
    pub(super) dir: PathBuf,
    /// Open for as long as the store is: the lock goes with it.
    pub(super) _lock: Lock,
    pub(super) limits: Limits,
    pub(super) boot_id: u128,
    pub(super) next_seq: u64,
    /// Every batch that waits, oldest first.
    pub(super) index: VecDeque<Entry>,
    pub(super) bytes: u64,
    /// The newest batches of the index, while the disk refuses them. Always its end: nothing overtakes them.
    pub(super) held: VecDeque<Held>,
    pub(super) held_bytes: u64,
    /// Files of batches that are done with and could not be deleted.
    pub(super) leftovers: Vec<u64>,
    pub(super) health: Health,
    pub(super) dropped: DropCounts,
}

/// All that is resident of a batch on disk: 24 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub seq: u64,
    pub born: Born,
    pub payload_len: u32,
    pub points: u32,
}

impl Entry {
    pub fn file_len(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.payload_len)
    }
}

/// A batch that the disk refused so far.
#[derive(Debug)]
pub(super) struct Held {
    pub header: Header,
    pub payload: Bytes,
}

/// What reading one batch gave.
enum Loaded {
    Batch(Batch),
    /// It will never be readable: drop it.
    Gone(DropReason),
    /// The medium fails here. Kept, as a device may come back, but what follows does not wait for it.
    Unreadable,
    /// The process or host is short of something: nothing else would work now either.
    Later,
}

impl<F: Fs> DiskStore<F> {
    fn keep(&mut self, seq: u64, payload: &[u8], points: u32, now: &Moment) -> Kept {
        self.expire(now);
        let fits = |len: &u32| HEADER_BYTES as u64 + u64::from(*len) <= self.limits.max_bytes;
        let Some(payload_len) = u32::try_from(payload.len()).ok().filter(fits) else {
            return Kept::Not(DropReason::Size);
        };
        let (wall_nanos, up_nanos) = (now.wall_nanos(), now.up_nanos());
        let header = Header { seq, payload_len, points, wall_nanos, up_nanos, boot_id: self.boot_id };
        while self.bytes + header.file_len() > self.limits.max_bytes && self.drop_at(0, DropReason::Size) {}
        let kept = if self.save_in_turn(&header, payload, now) {
            Kept::OnDisk
        } else if self.hold(header, payload) {
            Kept::InMemory
        } else {
            return Kept::Not(DropReason::Io);
        };
        self.index.push_back(Entry { seq, born: Born::at(now), payload_len, points });
        self.bytes += header.file_len();
        kept
    }

    pub(super) fn expire(&mut self, now: &Moment) {
        while self.index.front().is_some_and(|entry| entry.born.age(now) > self.limits.max_age) {
            self.drop_at(0, DropReason::Age);
        }
        give_back(&mut self.index);
    }

    /// Takes a batch out of the index, and its file off the disk.
    fn take(&mut self, position: usize) -> Option<Entry> {
        let on_disk = self.index.len().saturating_sub(self.held.len());
        let entry = self.index.remove(position)?;
        self.bytes = self.bytes.saturating_sub(entry.file_len());
        if let Some(position) = position.checked_sub(on_disk) {
            self.held.remove(position);
            self.held_bytes = self.held_bytes.saturating_sub(entry.file_len());
            give_back(&mut self.held);
        } else if !delete(&self.fs, &names::record(&self.dir, entry.seq)) {
            self.leftovers.push(entry.seq);
        }
        Some(entry)
    }

    pub(super) fn drop_at(&mut self, position: usize, reason: DropReason) -> bool {
        self.take(position).map(|entry| self.dropped.add(reason, entry.points)).is_some()
    }

    fn forget(&mut self, seqs: &[u64], reason: Option<DropReason>) -> usize {
        let mut found = 0;
        for seq in seqs {
            if let Ok(position) = self.index.binary_search_by_key(seq, |entry| entry.seq)
                && let Some(entry) = self.take(position)
            {
                found += 1;
                if let Some(reason) = reason {
                    self.dropped.add(reason, entry.points);
                }
            }
        }
        give_back(&mut self.index);
        found
    }

    fn load(&mut self, position: usize, entry: &Entry) -> Loaded {
        let on_disk = self.index.len().saturating_sub(self.held.len());
        if let Some(held) = position.checked_sub(on_disk).and_then(|position| self.held.get(position)) {
            return Loaded::Batch(held.header.batch(held.payload.clone()));
        }
        // One byte more than there should be, to see that the file did not grow.
        match self.fs.read(&names::record(&self.dir, entry.seq), entry.file_len() + 1) {
            Ok(file) => record::decode(file, entry.seq).map_or(Loaded::Gone(DropReason::Corrupt), Loaded::Batch),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Loaded::Gone(DropReason::Io),
            Err(error) => {
                self.health.unreadable(&self.dir, &error);
                let medium = error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
                if medium { Loaded::Unreadable } else { Loaded::Later }
            }
        }
    }
}

/// Deletes a file; true if it is gone.
pub(super) fn delete(fs: &impl Fs, path: &std::path::Path) -> bool {
    fs.remove(path).map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |()| true)
}

impl<F: Fs> Store for DiskStore<F> {
    fn push(&mut self, payload: &[u8], points: u32, now: Moment) -> PushOutcome {
        let before = self.dropped.total().batches;
        let seq = self.next_seq;
        self.next_seq += 1;
        let kept = self.keep(seq, payload, points, &now);
        if let Kept::Not(reason) = kept {
            self.dropped.add(reason, points);
        }
        PushOutcome { seq, kept, dropped: self.dropped.total().batches - before }
    }

    fn peek(&mut self, max_bytes: usize, now: Moment) -> Vec<Batch> {
        let mut room = max_bytes;
        let mut batches = Vec::new();
        let mut position = 0;
        while let Some(entry) = self.index.get(position).copied() {
            // Not only at the front: records of another boot may be older than what they wait behind.
            if entry.born.age(&now) > self.limits.max_age {
                self.drop_at(position, DropReason::Age);
                continue;
            }
            let left = usize::try_from(entry.payload_len).ok().and_then(|len| room.checked_sub(len));
            if left.is_none() && !batches.is_empty() {
                break;
            }
            match self.load(position, &entry) {
                Loaded::Batch(batch) => {
                    room = left.unwrap_or(0);
                    batches.push(batch);
                    position += 1;
                }
                Loaded::Gone(reason) => drop(self.drop_at(position, reason)),
                Loaded::Unreadable => position += 1,
                Loaded::Later => break,
            }
        }
        batches
    }

    fn remove(&mut self, seqs: &[u64]) -> usize {
        self.forget(seqs, None)
    }

    fn refuse(&mut self, seqs: &[u64]) -> usize {
        self.forget(seqs, Some(DropReason::Refused))
    }

    fn len(&self) -> usize {
        self.index.len()
    }

    fn points(&self) -> u64 {
        self.index.iter().map(|entry| u64::from(entry.points)).sum()
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn oldest(&self, now: Moment) -> Option<Duration> {
        self.index.front().map(|entry| entry.born.age(&now))
    }

    fn dropped(&self) -> DropCounts {
        self.dropped
    }

    fn unsaved(&self) -> Tally {
        let mut tally = Tally::default();
        for held in &self.held {
            tally.add(held.header.points);
        }
        tally
    }

    fn on_disk(&self) -> bool {
        true
    }

    fn sync(&mut self, now: Moment) -> Tally {
        if let Some(waited @ 1..) = self.save_held(&now) {
            self.health.works(&self.dir, waited);
        }
        // Removals are not synced one by one: a power cut may bring back the last seconds' and they are sent twice.
        // Here, at the end, it costs nothing.
        drop(self.fs.sync_dir(&self.dir));
        self.unsaved()
    }
}
