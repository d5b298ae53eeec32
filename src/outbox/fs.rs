//! The file operations that the outbox needs, behind a trait so that tests can make each of them fail.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// Batches may contain names of hosts, disks and users' mounts: only the agent's user may read them.
const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

/// File operations of the outbox.
pub trait Fs: Send + 'static {
    /// Holds the lock on a directory until dropped.
    type Lock: Send;
    /// Creates a directory and its parents with mode 0700. An existing directory is not changed.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Locks a file. `WouldBlock` if another process holds the lock.
    fn lock(&self, path: &Path) -> io::Result<Self::Lock>;
    /// Lists the names of the regular files in a directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Writes a new file and syncs it to disk.
    fn write(&self, path: &Path, parts: [&[u8]; 2]) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Syncs a directory, so that renames in it survive power loss.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Reads a file, at most `limit` bytes of it.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The host's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsFs;

impl Fs for OsFs {
    type Lock = Lock;

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        create_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        Lock::take(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for found in fs::read_dir(dir)? {
            let found = found?;
            if found.file_type().is_ok_and(|kind| kind.is_file()) {
                names.extend(found.file_name().into_string());
            }
        }
        Ok(names)
    }

    fn write(&self, path: &Path, parts: [&[u8]; 2]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        // `create_new` does not follow an existing symbolic link.
        options.write(true).create_new(true).mode(FILE_MODE);
        let mut file = match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(path)?;
                options.open(path)?
            }
            opened => opened?,
        };
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(limit).unwrap_or(0));
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

fn create_dir(dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|path| !path.exists()).collect();
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)?;
    // Sync the parents, so that power loss cannot remove the new directory and the batches in it. Best effort: a parent
    // may be unreadable for this user.
    for parent in missing.iter().filter_map(|path| path.parent()) {
        let here = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        drop(OsFs.sync_dir(here));
    }
    Ok(())
}

/// An exclusive lock, released when dropped and by the kernel when the process ends.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Creates the lock file if needed and locks it. `WouldBlock` if another process holds the lock.
    fn take(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
        // Equivalent to `File::try_lock`, which needs a newer Rust than the minimum version of this crate.
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Unlock explicitly: closing is not enough while a child process between fork and exec shares the file
        // description.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Whether a process holds the lock on a file. Does not take the lock, because even a short hold could make an agent
/// that is starting fail.
pub(super) fn is_locked(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(meta), Ok(locks)) = (fs::metadata(path), fs::read_to_string("/proc/locks")) else { return false };
    let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    let file = format!("{major:02x}:{minor:02x}:{}", meta.ino());
    locks.lines().any(|line| line.contains(" FLOCK ") && line.split_whitespace().any(|field| field == file))
}
