//! Opens an outbox directory: takes its lock and reads the records that an earlier process left.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::account::{DropCounts, DropReason};
use super::fs::Fs;
use super::moment::Moment;
use super::names::{self, Name};
use super::queue::Entry;
use super::record::{HEADER_BYTES, Header};
use crate::export::ExportError;

/// Why there is no outbox. Displayed as one line that names the flag or the directory, and the fix.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    #[error("outbox directory {} {fault}", dir.display())]
    Directory {
        dir: PathBuf,
        #[source]
        fault: Fault,
    },
    #[error("--outbox-dir: no thread for the disk ({0})")]
    Thread(#[source] io::Error),
    #[error(transparent)]
    Export(#[from] ExportError),
}

/// A problem with an outbox directory.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("is in use by another agent; give each agent a directory of its own")]
    InUse,
    #[error("cannot be created ({0}); create it for the agent's user, or name another")]
    NotCreated(#[source] io::Error),
    #[error("cannot be read ({0}); give it to the agent's user, or name another")]
    NotReadable(#[source] io::Error),
    /// It is not writable: permissions or a read-only file system.
    #[error("cannot be written ({0}); give it to the agent's user, or name another")]
    NotWritable(#[source] io::Error),
    /// Its file system does not support locks.
    #[error("cannot be locked ({0}); name one on a local file system")]
    NotLockable(#[source] io::Error),
}

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
pub(super) fn open<F: Fs>(fs: &F, dir: &Path, boot_id: u128, now: &Moment) -> Result<Opened<F::Lock>, OutboxError> {
    let fail = |fault| OutboxError::Directory { dir: dir.to_path_buf(), fault };
    fs.create_dir(dir).map_err(|error| fail(Fault::NotCreated(error)))?;
    let lock = fs.lock(&dir.join(names::LOCK_NAME)).map_err(|error| {
        fail(match error.kind() {
            io::ErrorKind::WouldBlock => Fault::InUse,
            _ if refuses_writing(&error) => Fault::NotWritable(error),
            _ => Fault::NotLockable(error),
        })
    })?;
    // The lock file may be writable although the directory no longer is: test now rather than at the first outage.
    let trial = names::temporary(dir, 0);
    match fs.write(&trial, [&[], &[]]) {
        Err(error) if refuses_writing(&error) => return Err(fail(Fault::NotWritable(error))),
        // A full disk is not an error: its records can still be read.
        _ => drop(fs.remove(&trial)),
    }
    let (mut found, mut damaged) = (Vec::new(), Vec::new());
    let mut dropped = DropCounts::default();
    let mut next = 1;
    for name in fs.list(dir).map_err(|error| fail(Fault::NotReadable(error)))? {
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
                    Err(error) if is_shortage(&error) => return Err(fail(Fault::NotReadable(error))),
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
    pub batches: usize,
}

/// Tests whether `open` would succeed, apart from the lock. Does not touch the lock or the records and leaves no files
/// behind, because the caller may be a different user than the agent.
///
/// # Errors
/// The reason why the directory cannot be used.
pub fn probe(dir: &Path) -> Result<Usable, OutboxError> {
    let fail = |fault| OutboxError::Directory { dir: dir.to_path_buf(), fault };
    let made: Vec<&Path> = dir.ancestors().take_while(|path| !path.exists()).collect();
    let fs = super::fs::OsFs;
    fs.create_dir(dir).map_err(|error| fail(Fault::NotCreated(error)))?;
    let trial = dir.join(format!("check.{}.tmp", std::process::id()));
    let outcome = match fs.write(&trial, [&[], &[]]) {
        Err(error) if refuses_writing(&error) => Err(fail(Fault::NotWritable(error))),
        _ => fs.list(dir).map_err(|error| fail(Fault::NotReadable(error))),
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
