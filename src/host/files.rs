//! The only functions that open files of the host. Each one limits the size, opens only regular files, does not block
//! on a FIFO, and publishes its path for the waiting thread ([`super::bounded`]).
//!
//! A collector that needs more than a [`super::Source`] (a directory, a link, a small sysfs file that is read rarely)
//! uses these instead of `std::fs`.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, FsWord, Mode, OFlags, PROC_SUPER_MAGIC, fstat, fstatfs, openat};
use rustix::io::{pread, retry_on_intr};

use super::bounded::access;

/// Maximum file size.
pub const MOST_BYTES: usize = 16 << 20;
/// Maximum number of directory entries.
pub const MOST_ENTRIES: usize = 1 << 16;

thread_local! {
    /// Files that this thread refused to read, if recording is enabled.
    static REFUSED: RefCell<Option<Vec<(PathBuf, String)>>> = const { RefCell::new(None) };
}

/// Enables recording of refused files on this thread, for [`refused`].
pub(super) fn keep_refused() {
    REFUSED.set(Some(Vec::new()));
}

/// Files that this thread refused to read since the last call, with the reason.
pub(super) fn refused() -> Vec<(PathBuf, String)> {
    REFUSED.with_borrow_mut(|refused| refused.as_mut().map(std::mem::take).unwrap_or_default())
}

/// Records `file`, which was empty, if it is not a regular file.
pub fn refuse_odd(file: impl AsFd) {
    let is_regular = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !fstat(&file).is_ok_and(is_regular) {
        let link = PathBuf::from(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()));
        refuse(|| std::fs::read_link(&link).unwrap_or(link), "it is no regular file");
    }
}

/// Records that `path` was refused, if recording is enabled.
fn refuse(path: impl FnOnce() -> PathBuf, why: &str) {
    REFUSED.with_borrow_mut(|refused| {
        if let Some(refused) = refused {
            refused.push((path(), why.to_owned()));
        }
    });
}

/// Opens a file, which must be a regular file.
///
/// # Errors
/// Errors of open(2), and an error with the file type if it is not a regular file.
pub fn open(path: &Path) -> io::Result<File> {
    let _at = access(path)?;
    open_here(path)
}

pub(super) fn open_here(path: &Path) -> io::Result<File> {
    // Without O_NONBLOCK, opening a FIFO blocks until there is a writer.
    const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
    let file = openat(CWD, path, FLAGS, Mode::empty())?;
    let stat = fstat(&file)?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let long = usize::try_from(stat.st_size).is_ok_and(|size| size > MOST_BYTES);
            return if long { Err(too_long()) } else { Ok(file.into()) };
        }
        FileType::Directory => "a directory",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        _ => "no regular file",
    };
    let why = format!("it is {kind}");
    refuse(|| path.to_owned(), &why);
    Err(io::Error::other(why))
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {} MiB", MOST_BYTES >> 20))
}

/// Reads from the start of the file to its end, independent of earlier reads. procfs returns one page at a time, so a
/// short read is not the end. Returns the number of bytes. `buffer` is only working memory; it grows to the size of the
/// file and shrinks if the file needs far less.
pub(super) fn read_at_start(file: &File, buffer: &mut Vec<u8>) -> io::Result<usize> {
    const ROOM_BYTES: usize = 4096;
    /// Size to which the buffer may always grow without shrinking again.
    const KEPT_BYTES: usize = 64 << 10;
    let mut filled = 0;
    loop {
        if buffer.len() - filled < ROOM_BYTES {
            if filled > MOST_BYTES {
                *buffer = Vec::new();
                return Err(too_long());
            }
            buffer.resize((buffer.len() * 2).max(2 * ROOM_BYTES), 0);
        }
        match file.read_at(buffer.get_mut(filled..).unwrap_or_default(), filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if filled > MOST_BYTES {
        *buffer = Vec::new();
        return Err(too_long());
    }
    if buffer.len() > KEPT_BYTES && filled < buffer.len() / 8 {
        buffer.truncate((2 * filled).max(2 * ROOM_BYTES));
        buffer.shrink_to_fit();
    }
    Ok(filled)
}

/// Reads a file.
///
/// # Errors
/// Errors of [`open`] and read(2), and [`io::ErrorKind::FileTooLarge`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let _at = access(path)?;
    let file = open_here(path)?;
    // Most files are a single number or word.
    let mut short = [0; 256];
    let length = retry_on_intr(|| pread(&file, &mut short, 0))?;
    if let Some((content, rest)) = short.split_at_mut_checked(length)
        && !rest.is_empty()
        && retry_on_intr(|| pread(&file, &mut *rest, length as u64))? == 0
    {
        return Ok(content.to_vec());
    }
    let mut content = Vec::new();
    let length = read_at_start(&file, &mut content)?;
    content.truncate(length);
    Ok(content)
}

/// Tests whether a file can be opened and read, without reading all of it.
///
/// # Errors
/// Errors of [`open`] and read(2).
pub(super) fn read_byte(path: &Path) -> io::Result<()> {
    let _at = access(path)?;
    open_here(path)?.read_at(&mut [0], 0).map(drop)
}

/// Reads a small file of sysfs or procfs, trimmed; `None` if it does not exist or is unreadable.
#[must_use]
pub fn read_small(path: &Path) -> Option<Vec<u8>> {
    read(path).ok().map(|bytes| bytes.trim_ascii().to_vec())
}

/// The names in a directory, at most [`MOST_ENTRIES`], in no particular order.
///
/// # Errors
/// Errors of opendir(3).
pub fn list(dir: &Path) -> io::Result<Vec<OsString>> {
    Ok(list_inodes(dir)?.into_iter().map(|(name, _)| name).collect())
}

/// As [`list`], with the number of each entry's inode.
///
/// # Errors
/// Errors of opendir(3).
pub(super) fn list_inodes(dir: &Path) -> io::Result<Vec<(OsString, u64)>> {
    let _at = access(dir)?;
    let entries = std::fs::read_dir(dir)?.take(MOST_ENTRIES).filter_map(Result::ok);
    Ok(entries.map(|entry| (entry.file_name(), entry.ino())).collect())
}

/// A file that stays open between readings.
#[derive(Debug)]
pub(super) struct Kept {
    pub file: File,
    /// Whether it is of procfs, sysfs or cgroup2, where a file exists as long as its mount, its device or its cgroup.
    is_kernels: bool,
}

impl Kept {
    /// Opens a file, within an access to it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::new(open_here(path)?))
    }

    pub(super) fn new(file: File) -> Self {
        const SYSFS_MAGIC: FsWord = 0x6265_6572;
        const CGROUP2_MAGIC: FsWord = 0x6367_7270;
        let kernels = [PROC_SUPER_MAGIC, SYSFS_MAGIC, CGROUP2_MAGIC];
        let is_kernels = fstatfs(&file).is_ok_and(|system| kernels.contains(&system.f_type));
        Self { file, is_kernels }
    }

    /// Whether it still has a name. An ordinary file (a fixture, a copy) may have been replaced.
    pub(super) fn has_name(&self) -> bool {
        self.is_kernels || self.file.metadata().is_ok_and(|metadata| metadata.nlink() > 0)
    }
}

/// The target of a symbolic link.
///
/// # Errors
/// Errors of readlink(2).
pub fn read_link(path: &Path) -> io::Result<PathBuf> {
    let _at = access(path)?;
    std::fs::read_link(path)
}

/// Whether a directory exists, can be listed and is not empty. A directory that hangs counts as such.
pub(super) fn has_entries(dir: &Path) -> bool {
    let Ok(_at) = access(dir) else { return true };
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some())
}

/// Resolves all symbolic links of a path.
///
/// # Errors
/// Errors of realpath(3).
pub fn canonicalize(path: &Path) -> io::Result<PathBuf> {
    let _at = access(path)?;
    std::fs::canonicalize(path)
}

/// Calls stat(2) on a path.
///
/// # Errors
/// Errors of stat(2).
pub fn metadata(path: &Path) -> io::Result<std::fs::Metadata> {
    let _at = access(path)?;
    std::fs::metadata(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn anything_but_a_regular_file_is_refused_at_once_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        rustix::fs::mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        for (name, kind) in [("fifo", "a FIFO"), ("zero", "a character device"), ("", "a directory")] {
            let error = read(&at(name)).unwrap_err().to_string();
            assert!(error.contains(kind), "{name}: {error}");
        }
    }

    #[test]
    fn a_file_of_100_megabytes_is_refused_unread() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long");
        File::create(&path).unwrap().set_len(100 << 20).unwrap();
        assert_eq!(read(&path).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        File::create(&path).unwrap().set_len(MOST_BYTES as u64).unwrap();
        assert_eq!(read(&path).unwrap().len(), MOST_BYTES, "the bound itself is read");
    }

    #[test]
    fn a_file_that_grows_past_the_bound_while_it_is_open_is_refused_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "short").unwrap();
        let (file, mut buffer) = (open(&path).unwrap(), Vec::new());
        File::options().write(true).open(&path).unwrap().set_len(100 << 20).unwrap();
        assert_eq!(read_at_start(&file, &mut buffer).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(buffer.capacity(), 0);
    }

    #[test]
    fn the_room_of_a_large_file_is_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![b'x'; 4 << 20]).unwrap();
        let mut buffer = Vec::new();
        assert_eq!(read_at_start(&open(&path).unwrap(), &mut buffer).unwrap(), 4 << 20);
        std::fs::write(&path, "short").unwrap();
        assert_eq!(read_at_start(&open(&path).unwrap(), &mut buffer).unwrap(), 5);
        assert!(buffer.capacity() <= 64 << 10, "{}", buffer.capacity());
        assert_eq!(&buffer[..5], b"short");
    }

    #[test]
    fn a_directory_is_listed_and_a_link_is_read() {
        let dir = tempfile::tempdir().unwrap();
        symlink("target", dir.path().join("link")).unwrap();
        assert_eq!(list(dir.path()).unwrap(), ["link"]);
        assert_eq!(read_link(&dir.path().join("link")).unwrap(), Path::new("target"));
        assert_eq!(list(&dir.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
