//! What the outbox asks of a file system, behind a trait so that a test can refuse any of them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// Batches may name hosts, disks and users' mounts: for the agent's own user only.
const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

/// File operations of the outbox.
pub trait Fs: Send + 'static {
    /// Holds a directory until it is dropped.
    type Lock: Send;
    /// Makes a directory and its parents, for this user only; one that exists stays as it is.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the lock that a file stands for. `WouldBlock` if another process has it.
    fn lock(&self, path: &Path) -> io::Result<Self::Lock>;
    /// The names of the regular files in a directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Writes a new file and returns when the disk has it.
    fn write(&self, path: &Path, parts: [&[u8]; 2]) -> io::Result<()>;
    /// Gives a file its final name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Returns when the disk has the directory's names.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Reads a file, at most `limit` bytes of it.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;
    /// Deletes a file.
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
        // `create_new` follows no link that somebody left under this name.
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
    // A power cut must not take the new directory, and with it batches that are synced inside. Best effort: a parent
    // need not be readable for us.
    for parent in missing.iter().filter_map(|path| path.parent()) {
        let here = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        drop(OsFs.sync_dir(here));
    }
    Ok(())
}

/// The lock on a directory: held until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Opens the lock file, creating it if need be, and takes the lock. `WouldBlock` if another process has it.
    fn take(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
        // What `File::try_lock` does, which needs a newer Rust than this crate's minimum.
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing would do, were it not for a child process between its fork and its exec, which has the file as well.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Whether a process holds the lock that a file stands for, without taking it: even a short hold could be the one that an
/// agent which starts now runs into.
pub(super) fn is_locked(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(meta), Ok(locks)) = (fs::metadata(path), fs::read_to_string("/proc/locks")) else { return false };
    let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    let file = format!("{major:02x}:{minor:02x}:{}", meta.ino());
    locks.lines().any(|line| line.contains(" FLOCK ") && line.split_whitespace().any(|field| field == file))
}
