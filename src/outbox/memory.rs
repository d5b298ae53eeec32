//! The outbox in memory: the default, and where an agent falls back when its directory cannot be used.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::moment::Born;
use super::{Batch, DropCounts, DropReason, Kept, Limits, Moment, PushOutcome, Store, Tally};

/// Default bound of an outbox in memory: hours of a small host, minutes of a big one, and a resident size that nobody
/// has to plan for.
pub const MEMORY_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Counted for each batch beside its payload, so that many small ones stay within the bound as well.
const ITEM_BYTES: u64 = size_of::<Item>() as u64;

/// Batches in memory; gone with the process.
#[derive(Debug)]
pub struct MemoryStore {
    limits: Limits,
    next_seq: u64,
    items: VecDeque<Item>,
    bytes: u64,
    dropped: DropCounts,
}

#[derive(Debug)]
struct Item {
    batch: Batch,
    born: Born,
}

impl Item {
    fn bytes(&self) -> u64 {
        cost(self.batch.payload.len())
    }
}

fn cost(payload_len: usize) -> u64 {
    ITEM_BYTES + payload_len as u64
}

impl MemoryStore {
    /// An empty store.
    pub fn new(limits: Limits) -> Self {
        Self { limits, next_seq: 1, items: VecDeque::new(), bytes: 0, dropped: DropCounts::default() }
    }

    fn pop(&mut self, reason: DropReason) -> bool {
        self.take(0).map(|points| self.dropped.add(reason, points)).is_some()
    }

    /// Takes a batch out, and returns its number of points.
    fn take(&mut self, position: usize) -> Option<u32> {
        let item = self.items.remove(position)?;
        self.bytes = self.bytes.saturating_sub(item.bytes());
        Some(item.batch.points)
    }

    fn expire(&mut self, now: &Moment) {
        while self.items.front().is_some_and(|item| item.born.age(now) > self.limits.max_age) {
            self.pop(DropReason::Age);
        }
        give_back(&mut self.items);
    }

    fn forget(&mut self, seqs: &[u64], reason: Option<DropReason>) -> usize {
        let mut found = 0;
        for seq in seqs {
            if let Ok(position) = self.items.binary_search_by_key(seq, |item| item.batch.seq)
                && let Some(points) = self.take(position)
            {
                found += 1;
                if let Some(reason) = reason {
                    self.dropped.add(reason, points);
                }
            }
        }
        give_back(&mut self.items);
        found
    }
}

/// Returns a queue's memory after a peak: an outage must not leave the agent larger than it found it.
pub(super) fn give_back<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() {
        *queue = VecDeque::new();
    } else if queue.len() < queue.capacity() / 4 {
        queue.shrink_to(queue.len() * 2);
    }
}

impl Store for MemoryStore {
    fn push(&mut self, payload: &[u8], points: u32, now: Moment) -> PushOutcome {
        let before = self.dropped.total().batches;
        let seq = self.next_seq;
        self.next_seq += 1;
        self.expire(&now);
        let need = cost(payload.len());
        let kept = if need > self.limits.max_bytes {
            self.dropped.add(DropReason::Size, points);
            Kept::Not(DropReason::Size)
        } else {
            while self.bytes + need > self.limits.max_bytes && self.pop(DropReason::Size) {}
            let batch = Batch { seq, created: now.wall, points, payload: Bytes::copy_from_slice(payload) };
            self.items.push_back(Item { batch, born: Born::at(&now) });
            self.bytes += need;
            Kept::InMemory
        };
        PushOutcome { seq, kept, dropped: self.dropped.total().batches - before }
    }

    fn peek(&mut self, max_bytes: usize, now: Moment) -> Vec<Batch> {
        self.expire(&now);
        let mut room = max_bytes;
        let mut batches = Vec::new();
        for item in &self.items {
            match room.checked_sub(item.batch.payload.len()) {
                Some(left) => room = left,
                None if batches.is_empty() => room = 0,
                None => break,
            }
            // Shares the payload, copies nothing.
            batches.push(item.batch.clone());
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
        self.items.len()
    }

    fn points(&self) -> u64 {
        self.items.iter().map(|item| u64::from(item.batch.points)).sum()
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn oldest(&self, now: Moment) -> Option<Duration> {
        self.items.front().map(|item| item.born.age(&now))
    }

    fn dropped(&self) -> DropCounts {
        self.dropped
    }

    fn sync(&mut self, _now: Moment) -> Tally {
        self.unsaved()
    }

    fn unsaved(&self) -> Tally {
        let mut tally = Tally::default();
        for item in &self.items {
            tally.add(item.batch.points);
        }
        tally
    }
}
