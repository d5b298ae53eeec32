//! One test a fault, each named for the behaviour it protects.

mod age;
mod bounds;
mod damage;
mod degrade;
mod hang;
mod kill;
mod logs;
mod model;
mod mounts;
mod opening;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use rustix::io::Errno;

use super::fs::{Fs, OsFs};
use super::*;

/// A day in 2026, where the tests' wall clock starts.
const TODAY: Duration = Duration::from_secs(1_780_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const BOOT: u128 = 0xB007;

/// A moment `secs` after the boot, with a wall clock that agrees.
fn at(secs: u64) -> Moment {
    let up = Duration::from_secs(secs);
    Moment { wall: UNIX_EPOCH + TODAY + up, up }
}

fn limits() -> Limits {
    Limits { max_bytes: DISK_MAX_BYTES, max_age: 24 * HOUR }
}

fn open_dir(dir: &Path) -> DiskStore {
    DiskStore::open(dir, limits(), BOOT, at(0)).unwrap()
}

fn open_faulty(dir: &Path, limits: Limits) -> (DiskStore<FaultyFs>, Arc<Mutex<Faults>>) {
    let fs = FaultyFs::default();
    let faults = fs.0.clone();
    (DiskStore::open_with(fs, dir, limits, BOOT, at(0)).unwrap(), faults)
}

/// The files of records, in order.
fn records(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "batch"))
        .collect();
    paths.sort();
    paths
}

/// Everything that waits, as text, without taking it.
fn contents(store: &mut dyn Store, now: Moment) -> Vec<String> {
    store.peek(usize::MAX, now).iter().map(|batch| String::from_utf8(batch.payload.to_vec()).unwrap()).collect()
}

fn push_all(store: &mut dyn Store, texts: &[&str]) {
    for text in texts {
        store.push(text.as_bytes(), 1, at(0));
    }
}

/// What the file system refuses.
#[derive(Debug, Default)]
struct Faults {
    write: Option<Errno>,
    rename: Option<Errno>,
    sync_dir: Option<Errno>,
    remove: Option<Errno>,
    /// Reading a path that contains this.
    read: Option<(String, Errno)>,
    /// Bytes that fit into the directory, in blocks of 4,096; a write beyond leaves a torn file, as a disk does.
    capacity: Option<u64>,
    /// Writes and directory syncs tried.
    writes: usize,
    syncs: usize,
}

/// The host's file system less its syncs, with faults that a test switches on and off.
#[derive(Clone, Debug, Default)]
struct FaultyFs(Arc<Mutex<Faults>>);

fn fault(errno: Option<Errno>) -> io::Result<()> {
    errno.map_or(Ok(()), |errno| Err(errno.into()))
}

impl Fs for FaultyFs {
    fn write(&self, path: &Path, parts: [&[u8]; 2]) -> io::Result<()> {
        let mut faults = self.0.lock().unwrap();
        faults.writes += 1;
        fault(faults.write)?;
        let bytes = parts.concat();
        if let Some(capacity) = faults.capacity {
            let used: u64 = std::fs::read_dir(path.parent().unwrap())
                .unwrap()
                .map(|entry| entry.unwrap().metadata().unwrap().size().next_multiple_of(4096))
                .sum();
            if used + (bytes.len() as u64).next_multiple_of(4096) > capacity {
                std::fs::write(path, &bytes[..bytes.len() / 2])?;
                return Err(Errno::NOSPC.into());
            }
        }
        std::fs::write(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fault(self.0.lock().unwrap().rename)?;
        OsFs.rename(from, to)
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut faults = self.0.lock().unwrap();
        faults.syncs += 1;
        fault(faults.sync_dir)
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        if let Some((part, errno)) = &self.0.lock().unwrap().read
            && path.to_string_lossy().contains(part)
        {
            return Err((*errno).into());
        }
        OsFs.read(path, limit)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fault(self.0.lock().unwrap().remove)?;
        OsFs.remove(path)
    }
}
