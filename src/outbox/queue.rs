//! The queue: every batch that waits, oldest first, in memory or on disk, and the account of the others' outcomes.
//!
//! Entries on disk are the older ones, since the worker writes in order. The entries of the request that is under way are *in
//! flight*: no bound drops them, so that nothing counts as lost and is delivered nevertheless.
//!
//! Nothing here does I/O or waits: every method is short, so that the lock around the queue is never held for long.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::account::{DropCounts, DropReason, Snapshot, Tally};
use super::moment::Moment;
use super::record::HEADER_BYTES;

/// Most bytes that wait in memory for a disk that does not take them, and the default bound of an outbox without one.
pub const MEMORY_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The unit that most file systems round a file up to.
const BLOCK_BYTES: u64 = 4096;

/// Bounds of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes, headers included.
    pub max_bytes: u64,
    /// Oldest batch worth sending.
    pub max_age: Duration,
}

/// A batch that waits: 40 bytes, and the payload while it is in memory.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Its place in the order. Batches of this process count from 0; those that an earlier one left are below.
    pub id: i64,
    /// See [`Moment::born`].
    pub born: i64,
    pub len: u32,
    pub points: u32,
    /// Boxed, because most entries of a long queue are on disk and have none.
    pub payload: Option<Box<Bytes>>,
    /// There is a record of it on disk.
    pub saved: bool,
    /// The record holds more than what is left of the batch.
    pub stale: bool,
}

impl Entry {
    pub fn cost(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.len)
    }
}

/// A batch to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub id: i64,
    pub points: u32,
    pub payload: Bytes,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    limits: Limits,
    /// Bound of what waits for the disk; `None` where there is no directory.
    unsaved_max: Option<u64>,
    pub entries: VecDeque<Entry>,
    next_id: i64,
    /// Bytes of entries that are larger than the whole queue may be.
    oversize_bytes: u64,
    /// First and last id of the request that is under way.
    flight: Option<(i64, i64)>,
    /// The last request failed.
    failing: bool,
    /// A request has been under way for so long that its batches belong on disk.
    pub slow: bool,
    /// Batches wait because delivery failed or an earlier run left them: what is sent now counts as replayed.
    backlog: bool,
    /// Bytes of records that the sender waits for.
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

    /// Puts a batch behind everything that waits. Makes room by dropping the oldest.
    pub fn push(&mut self, payload: Bytes, points: u32, now: &Moment) {
        let (id, born, len) =
            (self.next_id, now.born(Duration::ZERO), u32::try_from(payload.len()).unwrap_or(u32::MAX));
        self.next_id += 1;
        let entry = Entry { id, born, len, points, payload: Some(Box::new(payload)), saved: false, stale: false };
        // Too large to wait, but not too large to be sent: it has one try.
        if self.is_oversize(&entry) && ((self.failing && !self.entries.is_empty()) || self.oversize_bytes > 0) {
            return self.account.dropped.add(DropReason::Oversize, points);
        }
        self.backlog |= self.failing;
        self.count_in(&entry);
        self.entries.push_back(entry);
        self.trim(now);
    }

    /// A collection was lost before it came here.
    pub fn lost_unencoded(&mut self, points: u32) {
        self.account.dropped.add(DropReason::Io, points);
    }

    /// Takes the oldest batches, as many as fit into `max_bytes`, at least one; up to the id `alone_until` one by one. They
    /// are in flight from now on. Without any, nothing waits, or the worker has to read it first; with `current`, also
    /// where it has to replace the record of what is left of a batch.
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

    /// The records that the sender waits for, and their lengths.
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

    /// The payload of a record, for the sender.
    pub fn loaded(&mut self, id: i64, payload: Bytes) {
        if let Some(entry) = self.get_mut(id) {
            entry.payload = Some(Box::new(payload));
        }
    }

    /// The request that is under way was accepted. Of a batch that travels in parts, `rest` remains: its points count from
    /// now on. Returns what the server has seen.
    pub fn delivered(&mut self, rejected: u64, rest: Option<(Bytes, u32)>) -> Tally {
        let sent = self.land(rest);
        self.failing = false;
        self.account.exported_batches += sent.batches;
        self.account.exported_points += sent.points.saturating_sub(rejected);
        self.account.rejected_points += rejected;
        self.account.last_success = Some(SystemTime::now());
        if self.backlog {
            self.account.replayed_batches += sent.batches;
        }
        self.backlog &= !self.entries.is_empty();
        sent
    }

    /// The server rejected the request that is under way, up to the `rest` of a batch.
    pub fn refused(&mut self, rest: Option<(Bytes, u32)>) {
        let refused = self.land(rest);
        self.account.dropped.add_tally(DropReason::Refused, refused);
    }

    /// The request failed and its batches are kept.
    pub fn kept(&mut self, now: &Moment) {
        self.again();
        (self.failing, self.backlog) = (true, true);
        // Those that are larger than the queue cannot wait.
        while let Some(position) = self.entries.iter().position(|entry| self.is_oversize(entry)) {
            self.lose(position, DropReason::Oversize);
        }
        // A batch that waits on disk takes no memory.
        self.entries.iter_mut().filter(|entry| entry.saved && !entry.stale).for_each(|entry| entry.payload = None);
        self.trim(now);
    }

    /// The request failed and its batches are sent again at once, in another form.
    pub fn again(&mut self) {
        self.flight = None;
        self.account.failed_sends += 1;
    }

    /// Ends the flight: its batches are done with, up to the rest of one. Returns what is gone.
    fn land(&mut self, mut rest: Option<(Bytes, u32)>) -> Tally {
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
        self.give_back();
        gone
    }

    fn position(&self, id: i64) -> Option<usize> {
        self.entries.binary_search_by_key(&id, |entry| entry.id).ok()
    }

    fn get_mut(&mut self, id: i64) -> Option<&mut Entry> {
        self.position(id).and_then(|position| self.entries.get_mut(position))
    }

    /// The oldest batch that belongs on disk and is not there as it is: with `all`, or while delivery fails or is slow, or
    /// behind a backlog that is there already.
    pub fn to_write(&self, all: bool) -> Option<&Entry> {
        let front = self.entries.front()?;
        if front.stale {
            return Some(front);
        }
        let belongs = all || self.failing || self.slow || front.saved;
        self.entries.get(self.entries.partition_point(|entry| entry.saved)).filter(|_| belongs)
    }

    /// The record of this entry is on disk, as the entry is now or as it was (`len`).
    pub fn saved(&mut self, id: i64, len: u32) {
        let Some(entry) = self.get_mut(id) else {
            // It was delivered or dropped meanwhile.
            return self.trash.push(id);
        };
        // What is left of a batch is sent next.
        let next = entry.stale;
        (entry.saved, entry.stale) = (true, entry.len != len);
        if !next && !entry.stale {
            entry.payload = None;
        }
    }

    /// Puts what an earlier run left before everything else; `entries` are in order and below 0.
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

    /// A record cannot be had any more.
    pub fn unreadable(&mut self, id: i64, reason: DropReason) {
        if let Some(position) = self.position(id) {
            self.lose(position, reason);
        }
    }

    /// Drops the oldest records that are worth `bytes` on disk, to make room there; whether any was.
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

    /// Delivery ends: what is not on disk is lost.
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

    /// Enforces age and size, oldest first.
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
        self.give_back();
    }

    /// Bytes that wait for the disk, less the newest batch, since one may be larger than the bound, and less those that have
    /// one try only.
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

    /// Returns memory after a peak: an outage must not leave the agent larger than it found it.
    fn give_back(&mut self) {
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        } else if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }
}
