//! The worker: one thread that owns the directory. All disk operations run here, and no caller waits for them
//! except the sender, for the records that it requested.
//!
//! It has no queue of commands. It reads the shared state and runs the most urgent operation, one at a time:
//! open the directory, delete records that are done with, read the records that the sender waits for, write the oldest
//! batch that belongs on disk. A directory that is not usable (full, read-only, failing, taken by another agent) is tried
//! again after 1 s, then less often, up to every 30 s; one that hangs holds up this thread alone. Batches wait in memory
//! meanwhile.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::account::DropReason;
use super::fs::Fs;
use super::moment::Moment;
use super::names;
use super::opening::{self, number_of};
use super::queue::{Entry, Item};
use super::record::{self, Header};
use super::shared::{Directory, Shared, State};

/// The thread's stack; what it does is shallow.
const STACK_BYTES: usize = 128 * 1024;

const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// A directory that works and fails by turns is logged once in this time.
const LOG_AGAIN: Duration = Duration::from_secs(600);
/// After a fault of the worker itself.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// A record on a failing medium is given up after this many tries.
const READ_TRIES: u32 = 5;

/// Owns the directory.
pub(super) struct Worker<F: Fs> {
    shared: Arc<Shared>,
    fs: F,
    dir: PathBuf,
    boot_id: u128,
    opened: Option<Directories<F::Lock>>,
    /// Present while the directory cannot be had.
    trouble: Option<Trouble>,
    logged_at: Option<Instant>,
    /// Numbers of records that could not be deleted.
    leftovers: Vec<u64>,
    /// The record that could not be read, and how often.
    unread: (i64, u32),
    /// The last try, when delivery ends, was made.
    tried_last: bool,
}

struct Directories<L> {
    _lock: L,
    base: u64,
}

struct Trouble {
    retry_at: Instant,
    wait: Duration,
    logged: bool,
}

/// The most urgent thing to do.
enum Job {
    Open,
    Delete(Vec<i64>),
    Read(Vec<(i64, u64)>, oneshot::Sender<Vec<Item>>),
    Rewrite(Entry, oneshot::Sender<()>),
    Write(Entry),
    Wait(Option<Instant>),
    End,
}

/// The outcome of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Something was done.
    Done,
    /// There is nothing to do before this moment, or before something changes.
    Wait(Option<Instant>),
    /// Delivery is over.
    End,
}

impl<F: Fs> Worker<F> {
    pub fn new(shared: Arc<Shared>, fs: F, dir: PathBuf, boot_id: u128) -> Self {
        Self {
            shared,
            fs,
            dir,
            boot_id,
            opened: None,
            trouble: None,
            logged_at: None,
            leftovers: Vec::new(),
            unread: (0, 0),
            tried_last: false,
        }
    }

    /// Runs on a thread of its own until delivery ends.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn spawn(mut self) -> io::Result<()> {
        let shared = self.shared.clone();
        let run = move || {
            while catch_unwind(AssertUnwindSafe(|| self.run())).is_err() {
                tracing::error!("internal error in the outbox's disk worker; restarting it");
                thread::sleep(RESTART_PAUSE);
            }
            let shared = self.shared.clone();
            // The directory is free for the next process when the end is known.
            drop(self);
            shared.lock().worker_ended = true;
            shared.wake.notify_one();
        };
        thread::Builder::new().name("outbox".into()).stack_size(STACK_BYTES).spawn(run)?;
        shared.lock().worker_ended = false;
        Ok(())
    }

    fn run(&mut self) {
        loop {
            match self.step(Instant::now(), &Moment::now()) {
                Step::Done => {}
                Step::End => return,
                Step::Wait(until) => self.wait(until),
            }
        }
    }

    fn wait(&mut self, until: Option<Instant>) {
        let shared = self.shared.clone();
        let state = shared.lock();
        // Between the step and this lock something may have changed.
        if !matches!(self.peek(&state, Instant::now()), Step::Wait(_)) {
            return;
        }
        match until {
            None => drop(shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner)),
            Some(until) => {
                let time = until.saturating_duration_since(Instant::now());
                drop(shared.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    /// Does the most urgent thing.
    pub fn step(&mut self, now: Instant, moment: &Moment) -> Step {
        let job = {
            let shared = self.shared.clone();
            let mut state = shared.lock();
            let job = self.next(&mut state, now);
            state.busy = (!matches!(job, Job::Wait(_) | Job::End)).then_some(now);
            job
        };
        match job {
            Job::Wait(until) => return Step::Wait(until),
            Job::End => {
                // Deletions are not synced one by one: a power cut may bring back the last seconds' and they are sent
                // twice. Here, at the end, it costs nothing.
                drop(self.opened.as_ref().map(|_| self.fs.sync_dir(&self.dir)));
                return Step::End;
            }
            Job::Open => self.open(now, moment),
            Job::Delete(ids) => self.delete(&ids),
            Job::Read(records, answer) => self.read(records, answer, now),
            Job::Rewrite(entry, answer) => {
                if let Err(error) = self.write(&entry, moment) {
                    self.failed(&error.to_string(), now);
                }
                let _ = answer.send(());
            }
            Job::Write(entry) => self.save(&entry, now, moment),
        }
        self.shared.lock().busy = None;
        Step::Done
    }

    /// Records that could not be deleted.
    #[cfg(test)]
    pub fn leftovers(&self) -> usize {
        self.leftovers.len()
    }

    /// The name of an entry's record.
    #[cfg(test)]
    pub fn record_name(&self, id: i64) -> PathBuf {
        names::record(&self.dir, self.number(id))
    }

    fn may_try(&self, now: Instant) -> bool {
        self.trouble.as_ref().is_none_or(|trouble| now >= trouble.retry_at)
    }

    /// Whether there is something to do, without taking it.
    fn peek(&self, state: &State, now: Instant) -> Step {
        let may_try = self.may_try(now) || (state.finish && !self.tried_last);
        let retry_at = self.trouble.as_ref().map(|trouble| trouble.retry_at);
        // Deleting what was accepted waits for nothing: a record that stays is sent again by the next run.
        let delete = self.opened.is_some() && !state.queue.trash.is_empty();
        let asked = delete || state.read.is_some() || state.rewrite.is_some();
        let wanted = state.urgent || state.finish || state.queue.belongs_on_disk();
        let work = match self.opened {
            None => true,
            Some(_) => wanted && state.queue.first_unsaved().is_some(),
        };
        match (asked || (work && may_try), state.finish) {
            (true, _) => Step::Done,
            (false, true) => Step::End,
            (false, false) => Step::Wait(retry_at.filter(|_| work)),
        }
    }

    fn next(&mut self, state: &mut State, now: Instant) -> Job {
        match self.peek(state, now) {
            Step::Wait(until) => return Job::Wait(until),
            Step::End => return Job::End,
            Step::Done => {}
        }
        self.tried_last |= state.finish;
        if self.opened.is_none() {
            // Without a directory nothing is on disk.
            if state.read.take().is_some() || state.rewrite.take().is_some() {
                return self.next(state, now);
            }
            return Job::Open;
        }
        if !state.queue.trash.is_empty() {
            return Job::Delete(std::mem::take(&mut state.queue.trash));
        }
        if let Some((ids, answer)) = state.read.take() {
            let record = |id: &i64| Some((*id, state.queue.get(*id)?.cost()));
            return Job::Read(ids.iter().filter_map(record).collect(), answer);
        }
        if let Some((id, answer)) = state.rewrite.take() {
            // What is not on disk is written in its turn.
            return match state.queue.get(id).filter(|entry| entry.saved) {
                Some(entry) => Job::Rewrite(entry.clone(), answer),
                None => {
                    let _ = answer.send(());
                    self.next(state, now)
                }
            };
        }
        match state.queue.first_unsaved() {
            Some(entry) => Job::Write(entry.clone()),
            None => Job::Wait(None),
        }
    }

    fn open(&mut self, now: Instant, moment: &Moment) {
        match opening::open(&self.fs, &self.dir, self.boot_id, moment) {
            Ok(opened) => {
                self.opened = Some(Directories { _lock: opened.lock, base: opened.base });
                let mut state = self.shared.lock();
                state.queue.found(opened.entries, &opened.dropped, moment);
                state.directory = Directory::Open;
                drop(state);
                self.works();
            }
            Err(error) => {
                self.shared.lock().directory = Directory::Missing;
                let again =
                    ". Batches wait in memory, which a restart loses, until the directory can be used; retrying";
                self.trouble(now, &format!("{error}{again}"));
            }
        }
        self.shared.wake.notify_one();
    }

    fn number(&self, id: i64) -> u64 {
        number_of(id, self.opened.as_ref().map_or(0, |opened| opened.base))
    }

    fn delete(&mut self, ids: &[i64]) {
        for id in ids {
            let number = self.number(*id);
            self.delete_record(number);
        }
    }

    fn delete_record(&mut self, number: u64) {
        if let Err(error) = self.fs.remove(&names::record(&self.dir, number))
            && error.kind() != io::ErrorKind::NotFound
        {
            self.leftovers.push(number);
        }
    }

    fn read(&mut self, records: Vec<(i64, u64)>, answer: oneshot::Sender<Vec<Item>>, now: Instant) {
        let mut items = Vec::new();
        for (id, file_len) in records {
            let number = self.number(id);
            // One byte more than there should be, to see that the file did not grow.
            match self.fs.read(&names::record(&self.dir, number), file_len + 1) {
                Ok(file) => match record::decode(file, number) {
                    Some(payload) => items.push((id, payload)),
                    None => self.shared.lock().queue.unreadable(id, DropReason::Corrupt),
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.shared.lock().queue.unreadable(id, DropReason::Io);
                }
                Err(error) => {
                    self.unread = if self.unread.0 == id { (id, self.unread.1 + 1) } else { (id, 1) };
                    // A process or host that is short of something recovers, a bad sector does not.
                    let medium = error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
                    if medium && self.unread.1 >= READ_TRIES {
                        self.shared.lock().queue.unreadable(id, DropReason::Io);
                    } else {
                        self.trouble(
                            now,
                            &format!(
                                "outbox directory {} cannot be read ({error}); its batches are kept and read later",
                                self.dir.display()
                            ),
                        );
                    }
                    break;
                }
            }
        }
        let state = self.shared.lock();
        let item = |(id, payload): (i64, Bytes)| Some(Item { id, points: state.queue.get(id)?.points, payload });
        let items = items.into_iter().filter_map(item).collect();
        drop(state);
        let _ = answer.send(items);
    }

    /// Writes the record of an entry, dropping the oldest ones if the disk is full.
    fn save(&mut self, entry: &Entry, now: Instant, moment: &Moment) {
        let result = match self.write(entry, moment) {
            Err(error) if no_room(&error) => {
                let made = self.shared.lock().queue.make_room(entry.cost());
                let trash = std::mem::take(&mut self.shared.lock().queue.trash);
                self.delete(&trash);
                if made { self.write(entry, moment) } else { Err(error) }
            }
            result => result,
        };
        match result {
            Ok(()) => {
                self.shared.lock().queue.saved(entry.id, entry.len);
                self.works();
                for number in std::mem::take(&mut self.leftovers) {
                    self.delete_record(number);
                }
            }
            Err(error) => self.failed(&error.to_string(), now),
        }
    }

    /// Writes one record so that it is there entirely or not at all.
    fn write(&mut self, entry: &Entry, moment: &Moment) -> io::Result<()> {
        let Some(payload) = &entry.payload else { return Ok(()) };
        let number = self.number(entry.id);
        let born = entry.born.age(moment);
        let header = Header {
            seq: number,
            payload_len: entry.len,
            points: entry.points,
            wall_nanos: moment.wall_nanos_before(born),
            up_nanos: moment.up_nanos_before(born),
            boot_id: self.boot_id,
        };
        let (temporary, record) = (names::temporary(&self.dir, number), names::record(&self.dir, number));
        self.fs
            .write(&temporary, [&header.encode(payload), payload])
            .and_then(|()| self.fs.rename(&temporary, &record))
            .inspect_err(|_| drop(self.fs.remove(&temporary)))?;
        // Without this the name may not survive a power cut. A record that failed here is written again later under the
        // same name, so that it cannot be there twice; one that replaces another stays.
        self.fs.sync_dir(&self.dir).inspect_err(|_| {
            if !entry.saved {
                drop(self.fs.remove(&record));
            }
        })
    }

    fn failed(&mut self, error: &str, now: Instant) {
        let dir = self.dir.display();
        self.trouble(now, &format!("outbox directory {dir} refuses batches ({error}); they wait in memory; retrying"));
    }

    fn trouble(&mut self, now: Instant, line: &str) {
        let (wait, logged) = match &self.trouble {
            Some(before) => ((before.wait * 2).min(RETRY_MAX), before.logged),
            None => {
                let log = self.logged_at.is_none_or(|at| now.saturating_duration_since(at) >= LOG_AGAIN);
                if log {
                    self.logged_at = Some(now);
                    tracing::warn!("{line}");
                }
                (RETRY_FIRST, log)
            }
        };
        self.trouble = Some(Trouble { retry_at: now + wait, wait, logged });
    }

    /// The directory took something.
    fn works(&mut self) {
        if self.trouble.take().is_some_and(|trouble| trouble.logged) {
            tracing::info!("outbox directory {} can be used again", self.dir.display());
        }
    }
}

fn no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
