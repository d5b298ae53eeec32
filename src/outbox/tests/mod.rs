//! Tests of queue, worker and sender together, on an in-memory file system whose every operation can be made to fail.

mod account;
mod backoff;
mod bounds;
mod damage;
mod directory;
mod internal;
mod kill;
mod model;
mod splitting;
mod stopping;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use rustix::io::Errno;

use super::account::Tally;
use super::fs::Fs;
use super::moment::Moment;
use super::queue::{Item, Limits, Queue};
use super::shared::{Directory, Phase, Shared};
use super::worker::{Job, Worker};
use super::*;

/// Start of the tests' wall clock: a day in 2026.
const TODAY: Duration = Duration::from_secs(1_780_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const BOOT: u128 = 0xB007;
const DIR: &str = "/outbox";

/// A moment `secs` after boot, on both clocks.
fn at(secs: u64) -> Moment {
    let up = Duration::from_secs(secs);
    Moment { wall: UNIX_EPOCH + TODAY + up, up }
}

fn limits() -> Limits {
    Limits { max_bytes: DISK_MAX_BYTES, max_age: 24 * HOUR }
}

/// A disk in memory: written data survives the process unless an injected fault prevents it.
#[derive(Debug, Default)]
struct Disk {
    files: BTreeMap<String, Vec<u8>>,
    locked: bool,
    faults: Faults,
    /// Number of records written.
    writes: usize,
}

/// Injected faults.
#[derive(Clone, Debug, Default)]
struct Faults {
    open: Option<Errno>,
    write: Option<Errno>,
    rename: Option<Errno>,
    sync: Option<Errno>,
    remove: Option<Errno>,
    read: Option<Errno>,
    /// Free space in bytes, in blocks of 4,096.
    capacity: Option<u64>,
    /// Number of times that opening panics.
    panics: u8,
}

#[derive(Clone, Debug, Default)]
struct FakeFs(Arc<Mutex<Disk>>);

/// Releases the directory when dropped.
struct FakeLock(FakeFs);

impl Drop for FakeLock {
    fn drop(&mut self) {
        self.0.disk().locked = false;
    }
}

impl FakeFs {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    fn fail(&self, faults: Faults) {
        self.disk().faults = faults;
    }

    /// The names of the records, in order.
    fn records(&self) -> Vec<String> {
        self.disk().files.keys().filter(|name| name.ends_with(".batch")).cloned().collect()
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn fault(errno: Option<Errno>) -> io::Result<()> {
    errno.map_or(Ok(()), |errno| Err(errno.into()))
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Fs for FakeFs {
    type Lock = FakeLock;

    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        let (panics, open) = {
            let faults = &mut self.disk().faults;
            let panics = faults.panics;
            faults.panics = panics.saturating_sub(1);
            (panics, faults.open)
        };
        assert_eq!(panics, 0, "a fault that the test wants");
        fault(open)
    }

    fn lock(&self, _path: &Path) -> io::Result<FakeLock> {
        match std::mem::replace(&mut self.disk().locked, true) {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => Ok(FakeLock(self.clone())),
        }
    }

    fn list(&self, _dir: &Path) -> io::Result<Vec<String>> {
        Ok(self.disk().files.keys().rev().cloned().collect())
    }

    fn write(&self, path: &Path, parts: [&[u8]; 2]) -> io::Result<()> {
        let mut disk = self.disk();
        fault(disk.faults.write)?;
        let bytes = parts.concat();
        let blocks = |len: usize| (len as u64).next_multiple_of(4096);
        let used: u64 = disk.files.values().map(|file| blocks(file.len())).sum();
        if disk.faults.capacity.is_some_and(|capacity| used + blocks(bytes.len()) > capacity) {
            disk.files.insert(name(path), bytes[..bytes.len() / 2].to_vec());
            return Err(Errno::NOSPC.into());
        }
        disk.writes += usize::from(!bytes.is_empty());
        disk.files.insert(name(path), bytes);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        fault(disk.faults.rename)?;
        let file = disk.files.remove(&name(from)).ok_or_else(missing)?;
        disk.files.insert(name(to), file);
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        fault(self.disk().faults.sync)
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let disk = self.disk();
        fault(disk.faults.read)?;
        let file = disk.files.get(&name(path)).ok_or_else(missing)?;
        Ok(file[..usize::try_from(limit).unwrap_or(usize::MAX).min(file.len())].to_vec())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        fault(disk.faults.remove)?;
        disk.files.remove(&name(path)).map(drop).ok_or_else(missing)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// An operation was run.
    Done,
    /// Nothing to do until a given time or a change.
    Wait,
    /// Delivery has ended.
    End,
}

impl<F: Fs> Worker<F> {
    /// Runs one iteration of the worker's thread.
    fn step(&mut self, now: Instant, moment: &Moment) -> Step {
        let shared = self.shared.clone();
        let job = self.next(&mut shared.lock(), now);
        let step = match job {
            Job::Wait(_) => Step::Wait,
            Job::End => Step::End,
            _ => Step::Done,
        };
        self.perform(job, now, moment);
        step
    }
}

/// Takes the oldest batches; `None` if the queue is empty or a record must be read or written first.
fn take(shared: &Shared, max_bytes: usize, now: Moment) -> Option<Vec<Item>> {
    let mut state = shared.lock();
    let current = state.directory == Directory::Open;
    Some(state.queue.take(max_bytes, None, current, &now)).filter(|items| !items.is_empty())
}

/// A queue and its worker, driven step by step without threads.
struct Outbox {
    shared: Arc<Shared>,
    worker: Worker<FakeFs>,
    clock: Instant,
}

impl Outbox {
    fn open(fs: &FakeFs, limits: Limits) -> Self {
        let mut outbox = Self::closed(fs, limits);
        outbox.settle(at(0));
        outbox
    }

    /// Creates an outbox whose directory is not open yet.
    fn closed(fs: &FakeFs, limits: Limits) -> Self {
        let shared = Shared::new(Queue::new(limits, true));
        let worker = Worker::new(shared.clone(), fs.clone(), DIR.into(), BOOT);
        Self { shared, worker, clock: Instant::now() }
    }

    fn push(&self, text: &str, now: Moment) {
        self.shared.lock().queue.push(Bytes::copy_from_slice(text.as_bytes()), 1, &now);
    }

    /// Lets a request of the oldest batches fail; from then on, batches are saved to disk.
    fn fail(&mut self, now: Moment) {
        let _ = self.take(usize::MAX, now);
        self.shared.lock().queue.kept(&now);
    }

    /// Runs the worker until it has nothing to do.
    fn settle(&mut self, now: Moment) {
        while self.worker.step(self.clock, &now) == Step::Done {}
    }

    /// Advances the worker's clock by `secs`, then runs it until it has nothing to do.
    fn settle_after(&mut self, secs: u64, now: Moment) {
        self.clock += Duration::from_secs(secs);
        self.settle(now);
    }

    /// Takes the oldest batches and returns them as text.
    fn take(&mut self, max_bytes: usize, now: Moment) -> Vec<String> {
        let items = take(&self.shared, max_bytes, now).or_else(|| {
            self.settle(now);
            take(&self.shared, max_bytes, now)
        });
        let text = |item: Item| String::from_utf8(item.payload.to_vec()).unwrap();
        items.unwrap_or_default().into_iter().map(text).collect()
    }

    /// Delivers all batches, one request at a time, and returns them as text.
    fn drain(&mut self, now: Moment) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let texts = self.take(usize::MAX, now);
            if texts.is_empty() {
                self.settle(now);
                return all;
            }
            all.extend(texts);
            self.shared.lock().queue.delivered(0, None);
        }
    }

    fn stats(&self) -> Snapshot {
        self.shared.snapshot()
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.stats().dropped.get(reason).batches
    }
}
