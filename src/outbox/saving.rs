//! Getting a batch to the disk, and what happens to it when the disk refuses.

use std::io;

use bytes::Bytes;

use super::disk::{DiskStore, Held, delete};
use super::fs::Fs;
use super::memory::{MEMORY_MAX_BYTES, give_back};
use super::record::Header;
use super::{DropReason, Moment, names};

/// What most file systems round a file up to: the room that deleting one gives back.
const BLOCK_BYTES: u64 = 4096;

impl<F: Fs> DiskStore<F> {
    /// Writes one record so that it is there entirely or not at all.
    fn write(&self, header: &Header, payload: &[u8]) -> io::Result<()> {
        let temporary = names::temporary(&self.dir, header.seq);
        let record = names::record(&self.dir, header.seq);
        self.fs
            .write(&temporary, [&header.encode(payload), payload])
            .and_then(|()| self.fs.rename(&temporary, &record))
            .inspect_err(|_| drop(self.fs.remove(&temporary)))?;
        // Without this the name may not survive a power cut, and what is reported as kept must. A record that failed
        // here is written again later under the same name, so that it cannot be there twice.
        self.fs.sync_dir(&self.dir).inspect_err(|_| drop(self.fs.remove(&record)))
    }

    /// Writes one record, dropping the oldest ones if the disk is full.
    fn save(&mut self, header: &Header, payload: &[u8], now: &Moment) -> bool {
        let result = match self.write(header, payload) {
            Err(error) if no_room(&error) && self.make_room(header.file_len()) => self.write(header, payload),
            result => result,
        };
        match result {
            Ok(()) => {
                self.leftovers.retain(|seq| !delete(&self.fs, &names::record(&self.dir, *seq)));
                true
            }
            Err(error) => {
                self.health.refused(&self.dir, &error, now);
                false
            }
        }
    }

    /// Drops as many of the oldest batches on disk as free the room for one, and not one more: if others fill the disk,
    /// giving up the backlog would not help.
    fn make_room(&mut self, need: u64) -> bool {
        let mut freed = 0;
        while freed < need.next_multiple_of(BLOCK_BYTES) {
            match self.index.front() {
                Some(entry) if self.index.len() > self.held.len() => {
                    freed += entry.file_len().next_multiple_of(BLOCK_BYTES)
                }
                _ => return freed > 0,
            }
            self.drop_at(0, DropReason::Io);
        }
        true
    }

    /// Writes what memory holds for the disk, in order, and returns how many; `None` if the disk did not take all.
    pub(super) fn save_held(&mut self, now: &Moment) -> Option<usize> {
        let mut written = 0;
        while let Some(held) = self.held.front() {
            let (header, payload) = (held.header, held.payload.clone());
            if !self.save(&header, &payload, now) {
                return None;
            }
            self.held.pop_front();
            self.held_bytes = self.held_bytes.saturating_sub(header.file_len());
            written += 1;
        }
        give_back(&mut self.held);
        Some(written)
    }

    /// Writes a batch behind everything that waits for the disk.
    pub(super) fn save_in_turn(&mut self, header: &Header, payload: &[u8], now: &Moment) -> bool {
        if !self.health.may_try(now) {
            return false;
        }
        match self.save_held(now) {
            Some(waited) if self.save(header, payload, now) => {
                self.health.works(&self.dir, waited);
                true
            }
            _ => false,
        }
    }

    /// Keeps a batch in memory until the disk takes it, at the expense of the oldest one there.
    pub(super) fn hold(&mut self, header: Header, payload: &[u8]) -> bool {
        let bound = MEMORY_MAX_BYTES.min(self.limits.max_bytes);
        if header.file_len() > bound {
            return false;
        }
        while self.held_bytes + header.file_len() > bound {
            let first_held = self.index.len().saturating_sub(self.held.len());
            if !self.drop_at(first_held, DropReason::Io) {
                break;
            }
        }
        self.held.push_back(Held { header, payload: Bytes::copy_from_slice(payload) });
        self.held_bytes += header.file_len();
        true
    }
}

fn no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
