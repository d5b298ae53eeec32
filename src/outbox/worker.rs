//! The worker: one thread that owns the directory and runs all disk operations. No other thread waits for the disk,
//! except the sender when it needs a record.
//!
//! There is no command queue. The worker checks the shared state and runs the most urgent operation: open the
//! directory, delete delivered records, read the records that the sender needs, or write the oldest batch that must be
//! on disk. If the directory is unusable (full, read-only, failing, locked by another agent), operations other than
//! deletions are retried after 1 s and then less often, up to every 30 s. Batches wait in memory meanwhile. A directory
//! that hangs blocks only this thread.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::account::DropReason;
use super::fs::Fs;
use super::moment::Moment;
use super::names;
use super::opening::{self, number_of};
use super::queue::Entry;
use super::record::{self, Header};
use super::shared::{Directory, Phase, Shared, State};

const STACK_BYTES: usize = 128 * 1024;

const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Minimum time between log lines about a directory that alternates between working and failing.
const LOG_AGAIN: Duration = Duration::from_secs(600);
/// Pause after an internal error of the worker.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// A record on a failing medium is dropped after this many read attempts.
const READ_TRIES: u32 = 5;

pub(super) struct Worker<F: Fs> {
    pub shared: Arc<Shared>,
    fs: F,
    dir: PathBuf,
    boot_id: u128,
    /// The lock on the directory, and the record number of entry 0.
    pub opened: Option<(F::Lock, u64)>,
    /// Next retry and the last delay, while the directory is unusable.
    retry: Option<(Instant, Duration)>,
    /// When a problem was last logged, and whether the current one was.
    logged: (Option<Instant>, bool),
    /// Records that could not be deleted; retried later.
    pub leftovers: Vec<i64>,
    /// The unreadable record and its number of read attempts.
    unread: (i64, u32),
    /// The final attempt at shutdown was made.
    tried_last: bool,
}

#[derive(Debug)]
pub(super) enum Job {
    Open,
    Delete(Vec<i64>),
    Read(Vec<(i64, u64)>),
    Write(Entry),
    /// Nothing to do until this time or a change.
    Wait(Option<Instant>),
    End,
}

impl<F: Fs> Worker<F> {
    pub fn new(shared: Arc<Shared>, fs: F, dir: PathBuf, boot_id: u128) -> Self {
        let (opened, retry, logged, leftovers) = (None, None, (None, false), Vec::new());
        Self { shared, fs, dir, boot_id, opened, retry, logged, leftovers, unread: (0, 0), tried_last: false }
    }

    /// Starts the worker's thread, which runs until delivery ends.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn spawn(mut self) -> io::Result<()> {
        let run = move || {
            while catch_unwind(AssertUnwindSafe(|| self.run())).is_err() {
                tracing::error!("internal error in the outbox's disk worker; restarting it");
                thread::sleep(RESTART_PAUSE);
            }
            let shared = self.shared.clone();
            // Release the directory before the end is signalled, so that the next process can lock it.
            drop(self);
            shared.lock().directory = Directory::None;
            shared.wake.notify_one();
        };
        thread::Builder::new().name("outbox".into()).stack_size(STACK_BYTES).spawn(run).map(drop)
    }

    fn run(&mut self) {
        let shared = self.shared.clone();
        loop {
            let mut state = shared.lock();
            let job = loop {
                match self.next(&mut state, Instant::now()) {
                    Job::Wait(until) => state = shared.wait(state, until),
                    job => break job,
                }
            };
            state.busy = Some(Instant::now());
            drop(state);
            let ended = matches!(job, Job::End);
            self.perform(job, Instant::now(), &Moment::now());
            shared.lock().busy = None;
            if ended {
                return;
            }
        }
    }

    /// Chooses the most urgent operation.
    pub fn next(&mut self, state: &mut State, now: Instant) -> Job {
        let (queue, last) = (&mut state.queue, state.phase >= Phase::Saving);
        queue.writing = None;
        // Delete delivered records first: the next run would send a remaining record again.
        if self.opened.is_some() && !queue.trash.is_empty() {
            return Job::Delete(std::mem::take(&mut queue.trash));
        }
        let job = match self.opened {
            None => Some(Job::Open),
            Some(_) => queue.to_read().map(Job::Read).or_else(|| queue.to_write(last).cloned().map(Job::Write)),
        };
        // A full disk can still be read.
        let readable = matches!(job, Some(Job::Read(_))) && self.unread.1 == 0;
        let retry_at = self.retry.map(|(at, _)| at).filter(|at| now < *at && !readable);
        match job {
            Some(job) if retry_at.is_none() || (last && !self.tried_last) => {
                self.tried_last |= last;
                if let Job::Write(entry) = &job {
                    queue.writing = Some(entry.id);
                }
                job
            }
            _ if last => Job::End,
            job => Job::Wait(job.and(retry_at)),
        }
    }

    pub fn perform(&mut self, job: Job, now: Instant, moment: &Moment) {
        match job {
            Job::Wait(_) => {}
            Job::Open => self.open(now, moment),
            Job::Delete(ids) => self.delete(ids),
            Job::Read(records) => {
                self.read(&records, now);
                self.shared.wake.notify_one();
            }
            Job::Write(entry) => self.save(&entry, now, moment),
            // Deletions are synced only here, at the end. After power loss, records deleted in the last seconds may
            // reappear and are sent again.
            Job::End => drop(self.opened.as_ref().map(|_| self.fs.sync_dir(&self.dir))),
        }
    }

    fn open(&mut self, now: Instant, moment: &Moment) {
        match opening::open(&self.fs, &self.dir, self.boot_id, moment) {
            Ok(opened) => {
                self.opened = Some((opened.lock, opened.base));
                self.shared.lock().queue.found(opened.entries, &opened.dropped, moment);
                self.mark_usable();
            }
            Err(error) => {
                let again = "Batches wait in memory, which a restart loses, until the directory can be used; retrying";
                self.mark_unusable(now, &format!("{error}. {again}"));
            }
        }
        self.shared.wake.notify_one();
    }

    pub fn record(&self, id: i64) -> PathBuf {
        names::record(&self.dir, self.number(id))
    }

    fn number(&self, id: i64) -> u64 {
        number_of(id, self.opened.as_ref().map_or(0, |(_, base)| *base))
    }

    fn delete(&mut self, ids: Vec<i64>) {
        for id in ids {
            if self.fs.remove(&self.record(id)).is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
                self.leftovers.push(id);
            }
        }
    }

    fn read(&mut self, records: &[(i64, u64)], now: Instant) {
        for (id, file_len) in records {
            // Read one byte more than expected, to detect a file that has grown.
            let gone = match self.fs.read(&self.record(*id), file_len + 1) {
                Ok(file) => match record::decode(file, self.number(*id)) {
                    Some(payload) => {
                        self.shared.lock().queue.loaded(*id, payload);
                        continue;
                    }
                    None => DropReason::Corrupt,
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => DropReason::Io,
                Err(error) => {
                    // A bad sector does not recover; other errors may.
                    let medium = error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
                    self.unread = (*id, if medium && self.unread.0 == *id { self.unread.1 + 1 } else { 1 });
                    if self.unread.1 < READ_TRIES {
                        let dir = self.dir.display();
                        let kept = "its batches are kept and read later";
                        return self
                            .mark_unusable(now, &format!("outbox directory {dir} cannot be read ({error}); {kept}"));
                    }
                    DropReason::Io
                }
            };
            self.shared.lock().queue.unreadable(*id, gone);
        }
        self.shared.lock().queue.wanted = None;
        if std::mem::take(&mut self.unread).1 > 0 {
            self.mark_usable();
        }
    }

    /// Writes the record of an entry. If the disk is full, drops the oldest records and retries.
    fn save(&mut self, entry: &Entry, now: Instant, moment: &Moment) {
        let mut result = self.write(entry, moment);
        // Replacing a stale record must not drop the oldest record, which may be this batch's own.
        if !entry.saved && result.as_ref().is_err_and(no_room) {
            let (made, trash) = {
                let queue = &mut self.shared.lock().queue;
                (queue.make_room(entry.cost()), std::mem::take(&mut queue.trash))
            };
            self.delete(trash);
            if made {
                result = self.write(entry, moment);
            }
        }
        match result {
            Ok(()) => {
                self.shared.lock().queue.saved(entry.id, entry.len);
                self.mark_usable();
                let leftovers = std::mem::take(&mut self.leftovers);
                self.delete(leftovers);
            }
            Err(error) => {
                let dir = self.dir.display();
                let why = format!("outbox directory {dir} refuses batches ({error}); they wait in memory; retrying");
                self.mark_unusable(now, &why);
            }
        }
        // The sender may be waiting for a stale record to be replaced.
        self.shared.wake.notify_one();
    }

    /// Writes one record atomically.
    fn write(&self, entry: &Entry, moment: &Moment) -> io::Result<()> {
        let Some(payload) = &entry.payload else { return Ok(()) };
        let (number, age) = (self.number(entry.id), moment.age(entry.born));
        let header = Header {
            seq: number,
            payload_len: entry.len,
            points: entry.points,
            wall_nanos: moment.wall_nanos_before(age),
            up_nanos: moment.up_nanos_before(age),
            boot_id: self.boot_id,
        };
        let (temporary, record) = (names::temporary(&self.dir, number), self.record(entry.id));
        self.fs
            .write(&temporary, [&header.encode(payload), payload])
            .and_then(|()| self.fs.rename(&temporary, &record))
            .inspect_err(|_| drop(self.fs.remove(&temporary)))?;
        // Without the sync, the new name may not survive power loss. After a failed sync the record is removed and
        // written again later, so that it does not exist twice; a record that replaced another one stays.
        self.fs.sync_dir(&self.dir).inspect_err(|_| {
            if !entry.saved {
                drop(self.fs.remove(&record));
            }
        })
    }

    /// Marks the directory as unusable and schedules a retry.
    fn mark_unusable(&mut self, now: Instant, why: &str) {
        let wait = self.retry.map_or(RETRY_FIRST, |(_, before)| (before * 2).min(RETRY_MAX));
        if self.retry.is_none() {
            let (at, _) = self.logged;
            let log = at.is_none_or(|at| now.saturating_duration_since(at) >= LOG_AGAIN);
            self.logged = (if log { Some(now) } else { at }, log);
            if log {
                tracing::warn!("{why}");
            }
        }
        self.retry = Some((now + wait, wait));
        self.shared.lock().directory = Directory::Unusable;
    }

    fn mark_usable(&mut self) {
        if self.retry.take().is_some() && self.logged.1 {
            tracing::info!("outbox directory {} can be used again", self.dir.display());
        }
        self.shared.lock().directory = Directory::Open;
    }
}

fn no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
