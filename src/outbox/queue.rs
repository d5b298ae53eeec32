//! The queue: every batch that waits, oldest first, in memory or on disk, and the account of the others' outcomes.
//!
//! Each entry is in one of three places: in memory, in memory and about to be on disk, on disk. Those on disk are the
//! older ones, since the worker writes in order. The entries of the request that is under way are *in flight*: no bound
//! drops them, so that nothing counts as lost and is delivered nevertheless.
//!
//! Nothing here does I/O or waits: every method is short, so that the lock around the queue is never held for long.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::account::{DropCounts, DropReason, Snapshot, Tally};
use super::moment::{Born, Moment};
use super::record::HEADER_BYTES;

/// Most bytes that wait in memory for a disk that does not take them, and the default bound of an outbox without one.
pub const MEMORY_MAX_BYTES: u64 = 4 * 1024 * 1024;

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
    pub born: Born,
    pub len: u32,
    pub points: u32,
    /// Boxed, because most entries of a long queue are on disk and have none.
    pub payload: Option<Box<Bytes>>,
    pub saved: bool,
}

impl Entry {
    pub fn cost(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.len)
    }

    fn unsaved_cost(&self) -> u64 {
        if self.saved { 0 } else { self.cost() }
    }
}

/// The oldest entries, which are in flight from now on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Nothing waits.
    Nothing,
    /// Their payloads.
    Memory(Vec<Item>),
    /// Their records must be read first.
    Disk(Vec<i64>),
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
    bytes: u64,
    points: u64,
    unsaved_bytes: u64,
    /// Bytes of entries that are larger than the whole queue may be.
    oversize_bytes: u64,
    /// First and last id of the request that is under way.
    flight: Option<(i64, i64)>,
    /// The last request failed.
    failing: bool,
    /// Batches wait because delivery failed or an earlier run left them: what is sent now counts as replayed.
    backlog: bool,
    /// Ids whose records are to be deleted.
    pub trash: Vec<i64>,
    account: Snapshot,
    /// Of what was lost to size: batches that are larger than the queue may be.
    pub oversize_lost: u64,
}

impl Queue {
    pub fn new(limits: Limits, on_disk: bool) -> Self {
        Self {
            limits,
            unsaved_max: on_disk.then_some(MEMORY_MAX_BYTES.min(limits.max_bytes)),
            entries: VecDeque::new(),
            next_id: 0,
            bytes: 0,
            points: 0,
            unsaved_bytes: 0,
            oversize_bytes: 0,
            flight: None,
            failing: false,
            backlog: false,
            trash: Vec::new(),
            account: Snapshot::default(),
            oversize_lost: 0,
        }
    }

    /// Puts a batch behind everything that waits. Makes room by dropping the oldest.
    pub fn push(&mut self, payload: Bytes, points: u32, now: &Moment) {
        let id = self.next_id;
        self.next_id += 1;
        let Ok(len) = u32::try_from(payload.len()) else {
            return self.lose_oversize(points);
        };
        let entry = Entry { id, born: Born::at(now), len, points, payload: Some(Box::new(payload)), saved: false };
        // Too large to wait, but not too large to be sent: it has one try.
        if self.is_oversize(&entry) && ((self.failing && !self.entries.is_empty()) || self.oversize_bytes > 0) {
            return self.lose_oversize(points);
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

    /// Takes the oldest entries, as many as fit into `max_bytes` and share one place, at least one. With `alone_until`,
    /// those up to this id are taken one by one.
    pub fn take(&mut self, max_bytes: usize, alone_until: Option<i64>, now: &Moment) -> Taken {
        self.trim(now);
        while self.entries.front().is_some_and(|entry| entry.born.age(now) > self.limits.max_age) {
            self.lose(0, DropReason::Age);
        }
        let Some(front) = self.entries.front() else { return Taken::Nothing };
        let in_memory = front.payload.is_some();
        let (first, mut last, mut room) = (front.id, front.id, max_bytes);
        let mut items = Vec::new();
        let mut ids = Vec::new();
        for entry in &self.entries {
            let left = usize::try_from(entry.len).ok().and_then(|len| room.checked_sub(len));
            let alone = alone_until.is_some_and(|until| entry.id <= until || first <= until);
            let more = entry.id != first;
            if more && (left.is_none() || alone || entry.payload.is_some() != in_memory) {
                break;
            }
            // Records of another boot may be older than those they wait behind: their turn to expire comes at the front.
            room = left.unwrap_or(0);
            last = entry.id;
            match &entry.payload {
                Some(payload) => {
                    items.push(Item { id: entry.id, points: entry.points, payload: Bytes::clone(payload) });
                }
                None => ids.push(entry.id),
            }
        }
        self.flight = Some((first, last));
        if in_memory { Taken::Memory(items) } else { Taken::Disk(ids) }
    }

    /// The request that is under way was accepted.
    pub fn delivered(&mut self, rejected: u64) -> Tally {
        let sent = self.end_flight(|_, _| {});
        self.count_sent(sent, rejected);
        sent
    }

    /// Part of the one batch in flight was accepted, of which `rest` remains. Its points count from now on.
    pub fn part_delivered(&mut self, rejected: u64, rest: Bytes, rest_points: u32) {
        let sent = self.replace(rest, rest_points);
        self.count_sent(sent, rejected);
    }

    /// The server rejected the request that is under way.
    pub fn refused(&mut self) -> Tally {
        self.end_flight(|queue, entry| queue.account.dropped.add(DropReason::Refused, entry.points))
    }

    /// The server rejected part of the one batch in flight, of which `rest` remains.
    pub fn part_refused(&mut self, rest: Bytes, rest_points: u32) -> Tally {
        let refused = self.replace(rest, rest_points);
        self.account.dropped.add_tally(DropReason::Refused, refused);
        refused
    }

    /// The request failed and its batches are kept.
    pub fn kept(&mut self, now: &Moment) {
        self.flight = None;
        self.failing = true;
        self.backlog = true;
        self.account.failed_sends += 1;
        // They cannot wait.
        while self.oversize_bytes > 0
            && let Some(position) = self.entries.iter().position(|entry| self.is_oversize(entry))
        {
            self.lose(position, DropReason::Size);
            self.oversize_lost += 1;
        }
        self.trim(now);
    }

    /// The request failed and its batches are sent again at once, in another form.
    pub fn again(&mut self) {
        self.flight = None;
        self.account.failed_sends += 1;
    }

    /// Nothing was sent: the batches in flight could not be read.
    pub fn landed(&mut self) {
        self.flight = None;
    }

    /// Only these of the entries in flight are.
    pub fn shorten_flight(&mut self, first: i64, last: i64) {
        self.flight = Some((first, last));
    }

    fn count_sent(&mut self, sent: Tally, rejected: u64) {
        self.failing = false;
        self.account.exported_batches += sent.batches;
        self.account.exported_points += sent.points.saturating_sub(rejected);
        self.account.rejected_points += rejected;
        self.account.last_success = Some(SystemTime::now());
        if self.backlog {
            self.account.replayed_batches += sent.batches;
        }
        self.backlog &= !self.entries.is_empty();
    }

    /// Removes the entries in flight.
    fn end_flight(&mut self, mut each: impl FnMut(&mut Self, &Entry)) -> Tally {
        let mut tally = Tally::default();
        let Some((first, last)) = self.flight.take() else { return tally };
        while let Some(position) = self.entries.iter().position(|entry| (first..=last).contains(&entry.id)) {
            if let Some(entry) = self.remove(position) {
                tally = tally.and(Tally { batches: 1, points: entry.points.into() });
                each(self, &entry);
            }
        }
        self.give_back();
        tally
    }

    /// Replaces the one entry in flight by what remains of it, and ends the flight. Returns what is gone: points, and no
    /// batch, since the batch still waits.
    fn replace(&mut self, rest: Bytes, rest_points: u32) -> Tally {
        let Some(position) = self.flight.take().and_then(|(first, _)| self.position(first)) else {
            return Tally::default();
        };
        let Some(mut entry) = self.entries.get(position).cloned() else { return Tally::default() };
        self.count_out(&entry);
        let gone = entry.points.saturating_sub(rest_points);
        entry.len = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        entry.points = rest_points;
        entry.payload = Some(Box::new(rest));
        self.count_in(&entry);
        if let Some(place) = self.entries.get_mut(position) {
            *place = entry;
        }
        Tally { batches: 0, points: gone.into() }
    }

    /// The entry with this id.
    pub fn position(&self, id: i64) -> Option<usize> {
        self.entries.binary_search_by_key(&id, |entry| entry.id).ok()
    }

    pub fn get(&self, id: i64) -> Option<&Entry> {
        self.position(id).and_then(|position| self.entries.get(position))
    }

    /// The oldest entry that is not on disk.
    pub fn first_unsaved(&self) -> Option<&Entry> {
        self.entries.get(self.entries.partition_point(|entry| entry.saved))
    }

    /// Whether batches belong on disk now: delivery fails, or a backlog is there already.
    pub fn belongs_on_disk(&self) -> bool {
        self.failing || self.entries.front().is_some_and(|entry| entry.saved)
    }

    /// The record of this entry is on disk, as the entry is now or as it was (`len`).
    pub fn saved(&mut self, id: i64, len: u32) {
        let Some(position) = self.position(id) else {
            // It was delivered or dropped meanwhile.
            self.trash.push(id);
            return;
        };
        let in_flight = self.in_flight(id);
        if let Some(entry) = self.entries.get_mut(position)
            && !entry.saved
        {
            self.unsaved_bytes = self.unsaved_bytes.saturating_sub(entry.cost());
            entry.saved = true;
            // The request that is under way has its own hold on the bytes.
            if entry.len == len && !in_flight {
                entry.payload = None;
            }
        }
    }

    /// Puts what an earlier run left before everything else; `entries` are in order and below 0.
    pub fn found(&mut self, entries: Vec<Entry>, dropped: &DropCounts, now: &Moment) {
        self.account.dropped.add_all(dropped);
        self.account.found_lost = self.account.found_lost.and(dropped.total());
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
        let lost = self
            .entries
            .iter()
            .filter(|entry| !entry.saved)
            .fold(Tally::default(), |sum, entry| sum.and(Tally { batches: 1, points: entry.points.into() }));
        self.account.lost_at_end = lost.batches;
        lost
    }

    pub fn snapshot(&self, now: &Moment) -> Snapshot {
        Snapshot {
            outbox_batches: self.entries.len() as u64,
            outbox_points: self.points,
            outbox_bytes: self.bytes,
            outbox_oldest: self.entries.front().map(|entry| entry.born.age(now)),
            ..self.account
        }
    }

    fn in_flight(&self, id: i64) -> bool {
        self.flight.is_some_and(|(first, last)| (first..=last).contains(&id))
    }

    fn is_oversize(&self, entry: &Entry) -> bool {
        entry.cost() > self.limits.max_bytes
    }

    fn lose_oversize(&mut self, points: u32) {
        self.account.dropped.add(DropReason::Size, points);
        self.oversize_lost += 1;
    }

    /// Enforces age and size, oldest first.
    fn trim(&mut self, now: &Moment) {
        let droppable = |queue: &Self, unsaved: bool| {
            queue
                .entries
                .iter()
                .position(|entry| !(queue.in_flight(entry.id) || queue.is_oversize(entry) || unsaved && entry.saved))
        };
        while let Some(position) = droppable(self, false)
            && self.entries.get(position).is_some_and(|entry| entry.born.age(now) > self.limits.max_age)
        {
            self.lose(position, DropReason::Age);
        }
        while self.bytes.saturating_sub(self.oversize_bytes) > self.limits.max_bytes
            && let Some(position) = droppable(self, false)
        {
            self.lose(position, DropReason::Size);
        }
        // Of those that wait for the disk, the newest does not count: one batch may be larger than the bound.
        while self.unsaved_max.is_some_and(|max| self.unsaved_older() > max)
            && let Some(position) = droppable(self, true).filter(|position| position + 1 < self.entries.len())
        {
            self.lose(position, DropReason::Io);
        }
        self.give_back();
    }

    /// Bytes that wait for the disk, less the newest entry and those that have one try only.
    fn unsaved_older(&self) -> u64 {
        let newest = self.entries.back().filter(|entry| !self.is_oversize(entry)).map_or(0, Entry::unsaved_cost);
        self.unsaved_bytes.saturating_sub(newest + self.oversize_bytes)
    }

    fn lose(&mut self, position: usize, reason: DropReason) {
        if let Some(entry) = self.remove(position) {
            self.account.dropped.add(reason, entry.points);
        }
    }

    fn remove(&mut self, position: usize) -> Option<Entry> {
        let entry = self.entries.remove(position)?;
        self.count_out(&entry);
        if entry.saved {
            self.trash.push(entry.id);
        }
        Some(entry)
    }

    fn count_in(&mut self, entry: &Entry) {
        self.bytes += entry.cost();
        self.points += u64::from(entry.points);
        self.unsaved_bytes += entry.unsaved_cost();
        self.oversize_bytes += if self.is_oversize(entry) { entry.cost() } else { 0 };
    }

    fn count_out(&mut self, entry: &Entry) {
        self.bytes = self.bytes.saturating_sub(entry.cost());
        self.points = self.points.saturating_sub(entry.points.into());
        self.unsaved_bytes = self.unsaved_bytes.saturating_sub(entry.unsaved_cost());
        let oversize = if self.is_oversize(entry) { entry.cost() } else { 0 };
        self.oversize_bytes = self.oversize_bytes.saturating_sub(oversize);
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

/// The unit that most file systems round a file up to.
const BLOCK_BYTES: u64 = 4096;
