//! Opens an outbox directory: takes its lock and reads the records that an earlier process left.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::account::{DropCounts, DropReason};
use super::fs::Fs;
use super::moment::Moment;
use super::names::{self, Name};
use super::queue::Entry;
use super::record::{HEADER_BYTES, Header};

/// Why a directory cannot be used as the outbox. Displayed as one line that names the directory and the fix.
#[derive(Debug)]
pub struct OpenError {
    /// The directory.
    pub dir: PathBuf,
    /// The cause.
    pub fault: OpenFault,
}

/// A problem with an outbox directory.
#[derive(Debug)]
pub enum OpenFault {
    /// Another agent holds the lock.
    InUse,
    /// It does not exist and cannot be created.
    NotCreated(io::Error),
    /// It cannot be listed.
    NotReadable(io::Error),
    /// It is not writable: permissions or a read-only file system.
    NotWritable(io::Error),
    /// Its file system does not support locks.
    NotLockable(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const OWNED: &str = "); give it to the agent's user, or name another";
        let dir = self.dir.display();
        let (what, error, cure) = match &self.fault {
            OpenFault::InUse => {
                let why = "is in use by another agent; give each agent a directory of its own";
                return write!(f, "outbox directory {dir} {why}");
            }
            OpenFault::NotCreated(error) => {
                ("cannot be created (", error, "); create it for the agent's user, or name another")
            }
            OpenFault::NotReadable(error) => ("cannot be read (", error, OWNED),
            OpenFault::NotWritable(error) => ("cannot be written (", error, OWNED),
            OpenFault::NotLockable(error) => ("cannot be locked (", error, "); name one on a local file system"),
        };
        write!(f, "outbox directory {dir} {what}{error}{cure}")
    }
}

impl std::error::Error for OpenError {}

/// A directory that this process has locked and read.
pub(super) struct Opened<L> {
    /// Held while the directory is in use.
    pub lock: L,
    /// The record number of entry 0.
    pub base: u64,
    /// Batches of an earlier process, in order.
    pub entries: Vec<Entry>,
    /// Records that were corrupt or unreadable.
    pub dropped: DropCounts,
}

/// Creates the directory if needed, locks it, tests that it is writable, and reads the header of each record.
pub(super) fn open<F: Fs>(fs: &F, dir: &Path, boot_id: u128, now: &Moment) -> Result<Opened<F::Lock>, OpenError> {
    let fail = |fault| OpenError { dir: dir.to_path_buf(), fault };
    fs.create_dir(dir).map_err(|error| fail(OpenFault::NotCreated(error)))?;
    let lock = fs.lock(&dir.join(names::LOCK_NAME)).map_err(|error| {
        fail(match error.kind() {
            io::ErrorKind::WouldBlock => OpenFault::InUse,
            _ if refuses_writing(&error) => OpenFault::NotWritable(error),
            _ => OpenFault::NotLockable(error),
        })
    })?;
    // The lock file may be writable although the directory no longer is: test now rather than at the first outage.
    let trial = names::temporary(dir, 0);
    match fs.write(&trial, [&[], &[]]) {
        Err(error) if refuses_writing(&error) => return Err(fail(OpenFault::NotWritable(error))),
        // A full disk is not an error: its records can still be read.
        _ => drop(fs.remove(&trial)),
    }
    let (mut found, mut damaged) = (Vec::new(), Vec::new());
    let mut dropped = DropCounts::default();
    let mut next = 1;
    for name in fs.list(dir).map_err(|error| fail(OpenFault::NotReadable(error)))? {
        match Name::parse(&name) {
            Name::Foreign => {}
            // An unfinished write: never renamed, so never counted as kept.
            Name::Temporary => drop(fs.remove(&dir.join(name))),
            Name::Record(number) => {
                // Never reuse this number, whatever the file contains.
                next = next.max(number + 1);
                match header(fs, dir, number) {
                    Ok(Some(header)) => found.push((number, header)),
                    Ok(None) => damaged.push(name),
                    Err(error) if is_shortage(&error) => return Err(fail(OpenFault::NotReadable(error))),
                    // Counted as lost, but not deleted: the next start may be able to read it.
                    Err(_) => dropped.add(DropReason::Io, 0),
                }
            }
        }
    }
    for name in damaged {
        dropped.add(DropReason::Corrupt, 0);
        drop(fs.remove(&dir.join(name)));
    }
    // Directory entries are unordered.
    found.sort_unstable_by_key(|(number, _)| *number);
    let entry = |(number, header): (u64, Header)| Entry {
        id: id_of(number, next),
        born: now.born(header.age(now, boot_id)),
        len: header.payload_len,
        points: header.points,
        payload: None,
        saved: true,
        stale: false,
    };
    let entries: Vec<Entry> = found.into_iter().map(entry).collect();
    report(dir, entries.len(), &dropped);
    Ok(Opened { lock, base: next, entries, dropped })
}

/// Reads the header of a record; `None` if it is corrupt.
fn header(fs: &impl Fs, dir: &Path, number: u64) -> io::Result<Option<Header>> {
    let head = fs.read(&names::record(dir, number), HEADER_BYTES as u64)?;
    Ok(Header::decode(&head).filter(|header| header.seq == number))
}

/// Whether the error is a temporary shortage of this process or host rather than a problem with the file.
fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::INTR];
    shortages.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Converts a record number to an entry id.
fn id_of(number: u64, base: u64) -> i64 {
    number.wrapping_sub(base).cast_signed()
}

/// Converts an entry id to a record number.
pub(super) fn number_of(id: i64, base: u64) -> u64 {
    base.wrapping_add(id.cast_unsigned())
}

fn report(dir: &Path, kept: usize, dropped: &DropCounts) {
    let (dir, lost) = (dir.display(), dropped.total().batches);
    if lost > 0 {
        let counts = |reason: DropReason| dropped.get(reason).batches;
        tracing::error!(
            "outbox directory {dir}: {lost} batches lost ({} damaged, {} unreadable), {kept} wait to be sent",
            counts(DropReason::Corrupt),
            counts(DropReason::Io),
        );
    } else if kept > 0 {
        tracing::info!("outbox directory {dir}: {} of an earlier run to be sent", super::status::batches(kept as u64));
    }
}

/// A directory that can be used as the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usable {
    /// Another process holds the lock.
    pub in_use: bool,
    /// Number of records.
    pub batches: usize,
}

/// Tests whether `open` would succeed, apart from the lock. Does not touch the lock or the records and leaves no files
/// behind, because the caller may be a different user than the agent.
///
/// # Errors
/// The reason why the directory cannot be used.
pub fn probe(dir: &Path) -> Result<Usable, OpenError> {
    let fail = |fault| OpenError { dir: dir.to_path_buf(), fault };
    let made: Vec<&Path> = dir.ancestors().take_while(|path| !path.exists()).collect();
    let fs = super::fs::OsFs;
    fs.create_dir(dir).map_err(|error| fail(OpenFault::NotCreated(error)))?;
    let trial = dir.join(format!("check.{}.tmp", std::process::id()));
    let outcome = match fs.write(&trial, [&[], &[]]) {
        Err(error) if refuses_writing(&error) => Err(fail(OpenFault::NotWritable(error))),
        _ => fs.list(dir).map_err(|error| fail(OpenFault::NotReadable(error))),
    };
    let _ = fs.remove(&trial);
    for path in made {
        let _ = std::fs::remove_dir(path);
    }
    let in_use = super::fs::is_locked(&dir.join(names::LOCK_NAME));
    let records = |names: Vec<String>| names.iter().filter(|name| matches!(Name::parse(name), Name::Record(_))).count();
    outcome.map(|names| Usable { in_use, batches: records(names) })
}

fn refuses_writing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}
