//! Opening an outbox directory: who may have it, and what a crash left in it.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{DiskStore, Entry, delete};
use super::fs::{self as files, Fs, OsFs};
use super::health::Health;
use super::names::{self, Name};
use super::record::{HEADER_BYTES, Header};
use super::status::batches;
use super::{DropCounts, DropReason, Limits, Moment};

/// Why a directory cannot be the outbox. Its text is one line that names the directory and says what to do.
#[derive(Debug)]
pub struct OpenError {
    /// The directory.
    pub dir: PathBuf,
    /// What is wrong with it.
    pub fault: OpenFault,
}

/// What is wrong with an outbox directory.
#[derive(Debug)]
pub enum OpenFault {
    /// Another agent has it.
    InUse,
    /// It is not there and cannot be made.
    NotCreated(io::Error),
    /// It cannot be listed.
    NotReadable(io::Error),
    /// Nothing can be written there, by mode or because the file system is read-only.
    NotWritable(io::Error),
    /// Its file system has no locks.
    NotLockable(io::Error),
    /// It cannot have a thread of its own.
    NoThread(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = self.dir.display();
        match &self.fault {
            OpenFault::InUse => {
                write!(f, "outbox directory {dir} is in use by another agent; give each agent a directory of its own")
            }
            OpenFault::NotCreated(error) => {
                write!(
                    f,
                    "outbox directory {dir} cannot be created ({error}); create it for the agent's user, or name another"
                )
            }
            OpenFault::NotReadable(error) => {
                write!(
                    f,
                    "outbox directory {dir} cannot be read ({error}); give it to the agent's user, or name another"
                )
            }
            OpenFault::NotWritable(error) => {
                write!(
                    f,
                    "outbox directory {dir} cannot be written ({error}); give it to the agent's user, or name another"
                )
            }
            OpenFault::NoThread(error) => {
                write!(f, "outbox directory {dir} cannot have a thread ({error}); allow the agent's user one more")
            }
            OpenFault::NotLockable(error) => {
                write!(f, "outbox directory {dir} cannot be locked ({error}); name one on a local file system")
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            OpenFault::InUse => None,
            OpenFault::NotCreated(error)
            | OpenFault::NotReadable(error)
            | OpenFault::NotWritable(error)
            | OpenFault::NotLockable(error)
            | OpenFault::NoThread(error) => Some(error),
        }
    }
}

impl DiskStore {
    /// Opens a directory as an outbox, makes it if need be, and takes up what an earlier process left in it.
    ///
    /// `boot_id` is `/proc/sys/kernel/random/boot_id` as a number, 0 where unknown; it makes the ages of batches exact
    /// across restarts of the agent.
    pub fn open(dir: &Path, limits: Limits, boot_id: u128, now: Moment) -> Result<Self, OpenError> {
        Self::open_with(OsFs, dir, limits, boot_id, now)
    }
}

/// Makes the directory if need be, takes its lock, and tries to write there.
fn take(fs: &impl Fs, dir: &Path) -> Result<files::Lock, OpenError> {
    let fail = |fault| OpenError { dir: dir.to_path_buf(), fault };
    files::create_dir(dir).map_err(|error| fail(OpenFault::NotCreated(error)))?;
    let lock = files::Lock::take(&dir.join(names::LOCK_NAME)).map_err(|error| {
        fail(match error.kind() {
            io::ErrorKind::WouldBlock => OpenFault::InUse,
            _ if refuses_writing(&error) => OpenFault::NotWritable(error),
            _ => OpenFault::NotLockable(error),
        })
    })?;
    // The lock file may be older than the mode of its directory: try, rather than learn at the first outage.
    let trial = names::temporary(dir, 0);
    match fs.write(&trial, [&[], &[]]) {
        Err(error) if refuses_writing(&error) => return Err(fail(OpenFault::NotWritable(error))),
        // A full disk is no reason to go without what is on it.
        _ => delete(fs, &trial),
    };
    Ok(lock)
}

/// Whether [`DiskStore::open`] could have the directory. Batches that wait there are not touched, and what it had to
/// make is taken away again: another user may ask than the one that the agent will run as.
///
/// # Errors
/// Why not.
pub fn probe(dir: &Path) -> Result<(), OpenError> {
    let made: Vec<&Path> = dir.ancestors().take_while(|path| !path.exists()).collect();
    let lock_path = dir.join(names::LOCK_NAME);
    let locked_before = lock_path.exists();
    let outcome = take(&OsFs, dir).and_then(|lock| {
        let listed = fs::read_dir(dir);
        if !locked_before {
            delete(&OsFs, &lock_path);
        }
        drop(lock);
        listed.map(drop).map_err(|error| OpenError { dir: dir.to_path_buf(), fault: OpenFault::NotReadable(error) })
    });
    for path in made {
        let _ = fs::remove_dir(path);
    }
    outcome
}

impl<F: Fs> DiskStore<F> {
    /// [`DiskStore::open`] on a file system of the caller's.
    pub fn open_with(fs: F, dir: &Path, limits: Limits, boot_id: u128, now: Moment) -> Result<Self, OpenError> {
        let lock = take(&fs, dir)?;
        let mut store = Self {
            fs,
            dir: dir.to_path_buf(),
            _lock: lock,
            limits,
            boot_id,
            next_seq: 1,
            index: VecDeque::new(),
            bytes: 0,
            held: VecDeque::new(),
            held_bytes: 0,
            leftovers: Vec::new(),
            health: Health::default(),
            dropped: DropCounts::default(),
        };
        store
            .recover(&now)
            .map_err(|error| OpenError { dir: dir.to_path_buf(), fault: OpenFault::NotReadable(error) })?;
        Ok(store)
    }

    fn recover(&mut self, now: &Moment) -> io::Result<()> {
        let mut entries = Vec::new();
        for found in fs::read_dir(&self.dir)? {
            let found = found?;
            let name = found.file_name();
            match name.to_str().map_or(Name::Foreign, Name::parse) {
                Name::Foreign => {}
                // Never renamed, so never reported as kept.
                Name::Temporary => drop(delete(&self.fs, &found.path())),
                Name::Record(seq) => {
                    // Whatever is under this name, nothing new may get it.
                    self.next_seq = self.next_seq.max(seq + 1);
                    entries.extend(self.recover_record(seq, &found, now));
                }
            }
        }
        // Directories list their names in any order.
        entries.sort_unstable_by_key(|entry| entry.seq);
        self.bytes = entries.iter().map(Entry::file_len).sum();
        self.index = entries.into();
        while self.bytes > self.limits.max_bytes && self.drop_at(0, DropReason::Size) {}
        self.expire(now);
        self.report();
        Ok(())
    }

    /// The index entry of a record; a damaged one is deleted and counted.
    fn recover_record(&mut self, seq: u64, found: &fs::DirEntry, now: &Moment) -> Option<Entry> {
        if !found.file_type().is_ok_and(|kind| kind.is_file()) {
            return None;
        }
        let path = found.path();
        let read = found.metadata().and_then(|meta| Ok((meta.len(), self.fs.read(&path, HEADER_BYTES as u64)?)));
        let Ok((len, head)) = read else {
            // The next start may have better luck.
            self.dropped.add(DropReason::Io, 0);
            return None;
        };
        match Header::decode(&head).filter(|header| header.seq == seq && header.file_len() == len) {
            Some(header) => Some(Entry {
                seq,
                born: header.born(now, self.boot_id),
                payload_len: header.payload_len,
                points: header.points,
            }),
            None => {
                self.dropped.add(DropReason::Corrupt, 0);
                if !delete(&self.fs, &path) {
                    self.leftovers.push(seq);
                }
                None
            }
        }
    }

    fn report(&self) {
        let (dir, kept, lost) = (self.dir.display(), self.index.len(), self.dropped.total().batches);
        if lost > 0 {
            let counts = |reason: DropReason| self.dropped.get(reason).batches;
            tracing::error!(
                "outbox directory {dir}: {lost} batches lost ({} damaged, {} unreadable, {} too old, {} over the size), \
                 {kept} wait to be sent",
                counts(DropReason::Corrupt),
                counts(DropReason::Io),
                counts(DropReason::Age),
                counts(DropReason::Size),
            );
        } else if kept > 0 {
            tracing::info!("outbox directory {dir}: {} of an earlier run to be sent", batches(kept as u64));
        }
    }
}

fn refuses_writing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}
