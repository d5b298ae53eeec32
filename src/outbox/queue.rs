//! The queue: all undelivered batches, oldest first, in memory or on disk, and the delivery account.
//!
//! The worker writes in order, so entries on disk are older than those in memory. Entries of the current request are
//! *in flight*. Limits never drop them, so no batch is both counted as lost and delivered.
//!
//! Nothing here does I/O or waits. Every method is short, so the lock around the queue is held only briefly.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::account::{DropCounts, DropReason, Snapshot, Tally};
use super::moment::Moment;
use super::record::HEADER_BYTES;

/// Limit for batches in memory while the disk is unusable, and the default size limit of an outbox without a directory.
pub const MEMORY_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Allocation unit of most file systems.
const BLOCK_BYTES: u64 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size in bytes, headers included.
    pub max_bytes: u64,
    pub max_age: Duration,
}

/// An undelivered batch: 40 bytes, plus the payload while it is in memory.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Position in the order. Batches of this process count from 0; batches of an earlier process have negative ids.
    pub id: i64,
    /// See [`Moment::born`].
    pub born: i64,
    pub len: u32,
    pub points: u32,
    /// Boxed, because most entries of a long queue are on disk and have none.
    pub payload: Option<Box<Bytes>>,
    /// A record on disk exists.
    pub saved: bool,
    /// The record holds the whole batch, but part of it has been accepted.
    pub stale: bool,
}

impl Entry {
    pub fn cost(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.len)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub id: i64,
    pub points: u32,
    pub payload: Bytes,
}

#[derive(Debug)]
pub(super) struct Queue {
    limits: Limits,
    /// Limit for batches that are not yet on disk; `None` without a directory.
    unsaved_max: Option<u64>,
    pub entries: VecDeque<Entry>,
    next_id: i64,
    /// Bytes of entries that are larger than the size limit.
    oversize_bytes: u64,
    /// First and last id of the request in flight.
    flight: Option<(i64, i64)>,
    failing: bool,
    /// The current request has been in flight long enough that its batches must be saved.
    pub slow: bool,
    /// The queue holds batches of an outage or an earlier run; batches sent now count as replayed.
    backlog: bool,
    /// Size of the request that waits for records to be read.
    pub wanted: Option<usize>,
    /// The entry whose record is being written.
    pub writing: Option<i64>,
    /// Ids whose records are to be deleted.
    pub trash: Vec<i64>,
    account: Snapshot,
}

impl Queue {
    pub fn new(limits: Limits, on_disk: bool) -> Self {
        Self {
            limits,
            unsaved_max: on_disk.then_some(MEMORY_MAX_BYTES.min(limits.max_bytes)),
            entries: VecDeque::new(),
            next_id: 0,
            oversize_bytes: 0,
            flight: None,
            failing: false,
            slow: false,
            backlog: false,
            wanted: None,
            writing: None,
            trash: Vec::new(),
            account: Snapshot::default(),
        }
    }

    /// Whether there is a directory.
    pub fn on_disk(&self) -> bool {
        self.unsaved_max.is_some()
    }

    /// Appends a batch; drops the oldest ones to make room.
    pub fn push(&mut self, payload: Bytes, points: u32, now: &Moment) {
        let (id, born, len) =
            (self.next_id, now.born(Duration::ZERO), u32::try_from(payload.len()).unwrap_or(u32::MAX));
        self.next_id += 1;
        let entry = Entry { id, born, len, points, payload: Some(Box::new(payload)), saved: false, stale: false };
        // Too large to queue, but it may be sent: it is tried once.
        if self.is_oversize(&entry) && ((self.failing && !self.entries.is_empty()) || self.oversize_bytes > 0) {
            return self.account.dropped.add(DropReason::Oversize, points);
        }
        self.backlog |= self.failing;
        self.count_in(&entry);
        self.entries.push_back(entry);
        self.trim(now);
    }

    /// Counts a collection that could not be encoded.
    pub fn lost_unencoded(&mut self, points: u32) {
        self.account.dropped.add(DropReason::Encoding, points);
    }

    /// Takes the oldest batches that fit into `max_bytes`, at least one, and marks them as in flight. Batches up to the
    /// id `alone_until` are taken one at a time. Returns none if the queue is empty or the worker must first read the
    /// record; with `current`, also if the worker must first replace a stale record.
    pub fn take(&mut self, max_bytes: usize, alone_until: Option<i64>, current: bool, now: &Moment) -> Vec<Item> {
        self.trim(now);
        let (mut items, mut room) = (Vec::<Item>::new(), Some(max_bytes));
        for entry in &self.entries {
            room = room.and_then(|room| room.checked_sub(entry.len as usize));
            let alone = |first: &Item| alone_until.is_some_and(|until| first.id <= until);
            if items.first().is_some_and(|first| room.is_none() || alone(first)) || (current && entry.stale) {
                break;
            }
            let Some(payload) = &entry.payload else {
                self.wanted = items.is_empty().then_some(max_bytes);
                break;
            };
            items.push(Item { id: entry.id, points: entry.points, payload: Bytes::clone(payload) });
        }
        self.flight = items.first().zip(items.last()).map(|(first, last)| (first.id, last.id));
        items
    }

    /// The records that the sender is waiting for, with their file sizes.
    pub fn to_read(&self) -> Option<Vec<(i64, u64)>> {
        let (mut records, mut room) = (Vec::new(), Some(self.wanted?));
        for entry in self.entries.iter().take_while(|entry| entry.payload.is_none()) {
            room = room.and_then(|room| room.checked_sub(entry.len as usize));
            if room.is_none() && !records.is_empty() {
                break;
            }
            records.push((entry.id, entry.cost()));
        }
        (!records.is_empty()).then_some(records)
    }

    /// Stores the payload of a record for the sender.
    pub fn loaded(&mut self, id: i64, payload: Bytes) {
        if let Some(entry) = self.get_mut(id) {
            entry.payload = Some(Box::new(payload));
        }
    }

    /// The request in flight was accepted. If a batch was sent in part, `rest` is the remainder; its points are counted
    /// when it is sent. Returns the accepted batches and points.
    pub fn delivered(&mut self, rejected: u64, rest: Option<(Bytes, u32)>) -> Tally {
        let sent = self.end_flight(rest);
        self.failing = false;
        self.account.exported_batches += sent.batches;
        self.account.exported_points += sent.points.saturating_sub(rejected);
        self.account.rejected_points += rejected;
        if self.backlog {
            self.account.replayed_batches += sent.batches;
        }
        self.backlog &= !self.entries.is_empty();
        sent
    }

    /// The server rejected the request in flight; `rest` is the part of the batch that was not sent.
    pub fn refused(&mut self, rest: Option<(Bytes, u32)>) {
        let refused = self.end_flight(rest);
        self.account.dropped.add_tally(DropReason::Refused, refused);
    }

    /// The request failed; its batches stay queued.
    pub fn kept(&mut self, now: &Moment) {
        self.resend();
        (self.failing, self.backlog) = (true, true);
        // Oversize batches cannot be queued.
        while let Some(position) = self.entries.iter().position(|entry| self.is_oversize(entry)) {
            self.lose(position, DropReason::Oversize);
        }
        // Payloads of batches on disk need not stay in memory.
        self.entries.iter_mut().filter(|entry| entry.saved && !entry.stale).for_each(|entry| entry.payload = None);
        self.trim(now);
    }

    /// The request failed; its batches are sent again immediately, in another form.
    pub fn resend(&mut self) {
        self.flight = None;
        self.account.failed_sends += 1;
    }

    /// Removes the batches in flight, except for the `rest` of a partly sent one. Returns what was removed.
    fn end_flight(&mut self, mut rest: Option<(Bytes, u32)>) -> Tally {
        let mut gone = Tally::default();
        let Some((first, last)) = self.flight.take() else { return gone };
        while let Some(position) = self.entries.iter().position(|entry| (first..=last).contains(&entry.id)) {
            if let Some((payload, points)) = rest.take()
                && let Some(mut entry) = self.take_out(position)
            {
                gone.points = entry.points.saturating_sub(points).into();
                entry.len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
                entry.stale = entry.saved || self.writing == Some(entry.id);
                (entry.points, entry.payload) = (points, Some(Box::new(payload)));
                self.count_in(&entry);
                self.entries.insert(position, entry);
                return gone;
            }
            let points = self.remove(position).map_or(0, |entry| entry.points.into());
            gone = gone.and(Tally { batches: 1, points });
        }
        self.release_memory();
        gone
    }

    fn position(&self, id: i64) -> Option<usize> {
        self.entries.binary_search_by_key(&id, |entry| entry.id).ok()
    }

    fn get_mut(&mut self, id: i64) -> Option<&mut Entry> {
        self.position(id).and_then(|position| self.entries.get_mut(position))
    }

    /// The oldest batch that must be written to disk: a stale one; or an unsaved one if `all` is set, delivery fails or
    /// is slow, or older batches are on disk already.
    pub fn to_write(&self, all: bool) -> Option<&Entry> {
        let front = self.entries.front()?;
        if front.stale {
            return Some(front);
        }
        let belongs = all || self.failing || self.slow || front.saved;
        self.entries.get(self.entries.partition_point(|entry| entry.saved)).filter(|_| belongs)
    }

    /// A record was written. `len` is the payload length that was written; the entry may have changed since.
    pub fn saved(&mut self, id: i64, len: u32) {
        let Some(entry) = self.get_mut(id) else {
            // Delivered or dropped in the meantime.
            return self.trash.push(id);
        };
        // A partly sent batch is sent next: keep its payload.
        let next = entry.stale;
        (entry.saved, entry.stale) = (true, entry.len != len);
        if !next && !entry.stale {
            entry.payload = None;
        }
    }

    /// Inserts the batches of an earlier run before all others. `entries` are in order, with negative ids.
    pub fn found(&mut self, entries: Vec<Entry>, dropped: &DropCounts, now: &Moment) {
        DropReason::ALL.iter().for_each(|reason| self.account.dropped.add_tally(*reason, dropped.get(*reason)));
        self.account.found_lost = dropped.total();
        for entry in entries.into_iter().rev() {
            self.count_in(&entry);
            self.entries.push_front(entry);
            self.backlog = true;
        }
        self.trim(now);
    }

    /// Drops a batch whose record can no longer be read.
    pub fn unreadable(&mut self, id: i64, reason: DropReason) {
        if let Some(position) = self.position(id) {
            self.lose(position, reason);
        }
    }

    /// Drops the oldest records to free `bytes` on disk. Returns whether any was dropped.
    pub fn make_room(&mut self, bytes: u64) -> bool {
        let mut freed = 0;
        while freed < bytes {
            let on_disk = |entry: &Entry| entry.saved && !self.in_flight(entry.id);
            let Some(position) = self.entries.iter().position(on_disk) else { break };
            freed += self.entries.get(position).map_or(0, |entry| entry.cost().next_multiple_of(BLOCK_BYTES));
            self.lose(position, DropReason::Io);
        }
        freed > 0
    }

    /// Ends delivery. Batches that are not on disk are lost; returns them.
    pub fn close(&mut self) -> Tally {
        let batch = |entry: &Entry| Tally { batches: 1, points: entry.points.into() };
        let lost = self.entries.iter().filter(|entry| !entry.saved).map(batch).fold(Tally::default(), Tally::and);
        self.account.lost_at_end = lost.batches;
        lost
    }

    pub fn snapshot(&self, now: &Moment) -> Snapshot {
        Snapshot { outbox_oldest: self.entries.front().map(|entry| now.age(entry.born)), ..self.account }
    }

    fn in_flight(&self, id: i64) -> bool {
        self.flight.is_some_and(|(first, last)| (first..=last).contains(&id))
    }

    fn is_oversize(&self, entry: &Entry) -> bool {
        entry.cost() > self.limits.max_bytes
    }

    /// Enforces the limits on age and size, oldest first.
    fn trim(&mut self, now: &Moment) {
        let droppable = |queue: &Self, unsaved: bool| {
            let free =
                |entry: &Entry| !(queue.in_flight(entry.id) || queue.is_oversize(entry) || unsaved && entry.saved);
            queue.entries.iter().position(free)
        };
        while let Some(position) = droppable(self, false)
            && self.entries.get(position).is_some_and(|entry| now.age(entry.born) > self.limits.max_age)
        {
            self.lose(position, DropReason::Age);
        }
        while self.account.outbox_bytes.saturating_sub(self.oversize_bytes) > self.limits.max_bytes
            && let Some(position) = droppable(self, false)
        {
            self.lose(position, DropReason::Size);
        }
        while self.unsaved_max.is_some_and(|max| self.unsaved_older() > max)
            && let Some(position) = droppable(self, true).filter(|position| position + 1 < self.entries.len())
        {
            self.lose(position, DropReason::Io);
        }
        self.release_memory();
    }

    /// Bytes of unsaved batches, except for the newest one, which may exceed the limit, and for oversize ones, which
    /// are tried only once.
    fn unsaved_older(&self) -> u64 {
        let older = self.entries.iter().rev().take_while(|entry| !entry.saved).skip(1);
        older.filter(|entry| !self.is_oversize(entry)).map(Entry::cost).sum()
    }

    fn lose(&mut self, position: usize, reason: DropReason) {
        if let Some(entry) = self.remove(position) {
            self.account.dropped.add(reason, entry.points);
        }
    }

    fn remove(&mut self, position: usize) -> Option<Entry> {
        self.take_out(position).inspect(|entry| self.trash.extend(entry.saved.then_some(entry.id)))
    }

    fn take_out(&mut self, position: usize) -> Option<Entry> {
        let entry = self.entries.remove(position)?;
        let account = &mut self.account;
        account.outbox_batches = account.outbox_batches.saturating_sub(1);
        account.outbox_bytes = account.outbox_bytes.saturating_sub(entry.cost());
        account.outbox_points = account.outbox_points.saturating_sub(entry.points.into());
        if self.is_oversize(&entry) {
            self.oversize_bytes = self.oversize_bytes.saturating_sub(entry.cost());
        }
        Some(entry)
    }

    fn count_in(&mut self, entry: &Entry) {
        self.account.outbox_batches += 1;
        self.account.outbox_bytes += entry.cost();
        self.account.outbox_points += u64::from(entry.points);
        self.oversize_bytes += if self.is_oversize(entry) { entry.cost() } else { 0 };
    }

    /// Releases memory after a peak, so that an outage does not increase memory use permanently.
    fn release_memory(&mut self) {
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        } else if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }
}
