//! The host that is read: the only place that knows where `/proc`, `/sys` and `/etc` are.
//!
//! A [`Source`] is one file that is read once a collection, through a descriptor that stays open: opening costs several
//! times what reading does. A [`Reader`] is handed to each collector in turn and carries the buffer they share.

pub mod block_devices;
pub mod cgroups;
pub mod counted_disks;
pub mod identity;
pub mod mounts;
pub mod processes;
pub mod sockets;
pub mod usage;

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use sockets::{Census, Transport};
use usage::Reading;

/// Where the host's files are, and the facts about the system that its numbers are counted in.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
    proc: PathBuf,
    sys: PathBuf,
    etc: PathBuf,
    /// Clock ticks a second, the unit of `/proc/stat` (`USER_HZ`).
    pub ticks_per_second: u64,
    /// Bytes a page.
    pub page_bytes: u64,
    /// Bits of the kernel's `unsigned long`, at which most of its counters wrap.
    pub word_bits: u32,
    /// What asks the running kernel directly.
    pub calls: Calls,
}

/// The system calls that collectors make of the kernel. A recorded host has no kernel to ask: there each answers that
/// it is not supported, unless a test gives answers of its own.
#[derive(Clone, Copy, Debug)]
pub struct Calls {
    /// How full the file system at a path is.
    pub space: fn(&Path) -> io::Result<Reading>,
    /// How many sockets this process' network has in each state.
    pub sockets: fn(Transport) -> io::Result<Census>,
}

impl Calls {
    /// Asks the running kernel.
    pub const LIVE: Self = Self { space: usage::of_path, sockets: sockets::count };
    /// Asks nobody.
    pub const NONE: Self =
        Self { space: |_| Err(io::ErrorKind::Unsupported.into()), sockets: |_| Err(io::ErrorKind::Unsupported.into()) };
}

/// Which directories stand for the host's own; `None` is the place under `root`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots {
    /// The host's root directory, `/` by default.
    pub root: Option<PathBuf>,
    /// Instead of `<root>/proc`.
    pub proc: Option<PathBuf>,
    /// Instead of `<root>/sys`.
    pub sys: Option<PathBuf>,
    /// Instead of `<root>/etc`.
    pub etc: Option<PathBuf>,
}

impl Host {
    /// The host below the given directories.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        let root = roots.root.clone().unwrap_or_else(|| PathBuf::from("/"));
        let place = |given: &Option<PathBuf>, name: &str| given.clone().unwrap_or_else(|| root.join(name));
        let proc = place(&roots.proc, "proc");
        Self {
            calls: if is_procfs(&proc) { Calls::LIVE } else { Calls::NONE },
            proc,
            sys: place(&roots.sys, "sys"),
            etc: place(&roots.etc, "etc"),
            root,
            ticks_per_second: rustix::param::clock_ticks_per_second(),
            page_bytes: rustix::param::page_size() as u64,
            word_bits: usize::BITS,
        }
    }

    /// A path below the host's root, such as a mount point.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path below `/proc`.
    #[must_use]
    pub fn proc(&self, name: &str) -> PathBuf {
        self.proc.join(name)
    }

    /// Where the first process' view of `name` is (`net/dev`, `mountinfo`): the host's own, from any container that sees
    /// the host's `/proc`. Where that cannot be read it is `own`, and one line says what that `means`.
    ///
    /// Decided once: numbers of two different views must not follow each other in one series.
    #[must_use]
    pub fn of_first_process(&self, name: &str, own: &str, means: &str) -> PathBuf {
        let (first, own) = (self.proc("1").join(name), self.proc(own));
        let readable = |path: &Path| File::open(path).and_then(|file| file.read_at(&mut [0], 0));
        match readable(&first) {
            Err(error) if readable(&own).is_ok() => {
                info!("{} cannot be read ({error}); {} is read instead: {means}", first.display(), own.display());
                own
            }
            _ => first,
        }
    }

    /// Whether what this process sees of the network is what the host's first process sees. In a container with a
    /// network of its own it is not; where it cannot be told it is taken to be so.
    ///
    /// Each network namespace has its own inode for the file, whatever the mount of `/proc` it is seen through, and
    /// unlike `/proc/1/ns/net` it may be looked at without being root.
    #[must_use]
    pub fn shares_network(&self) -> bool {
        let inode = |path: &Path| std::fs::metadata(path).map(|file| file.ino());
        match (inode(&self.proc("1/net/dev")), inode(Path::new("/proc/self/net/dev"))) {
            (Ok(first), Ok(own)) if is_procfs(&self.proc) => first == own,
            _ => true,
        }
    }

    /// A path below `/sys`.
    #[must_use]
    pub fn sys(&self, name: &str) -> PathBuf {
        self.sys.join(name)
    }

    /// A path below `/etc`.
    #[must_use]
    pub fn etc(&self, name: &str) -> PathBuf {
        self.etc.join(name)
    }
}

/// Whether the directory is a running kernel's `/proc`, and not a recorded host's.
fn is_procfs(dir: &Path) -> bool {
    rustix::fs::statfs(dir).is_ok_and(|fs| fs.f_type == rustix::fs::PROC_SUPER_MAGIC)
}

/// How the last reading of a file went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not read yet.
    Unread,
    /// Data.
    Good,
    /// This kernel does not have it: no failure, its metrics are just not there.
    Unsupported,
    /// It is there and cannot be read; the text says why.
    Failed(String),
}

/// One file that is read once a collection.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    missing: &'static str,
    file: Option<File>,
    health: Health,
}

impl Source {
    /// The file at `path`. `missing` says in a few words what to do, or what it means, when the kernel lacks it; where it
    /// is empty nothing is logged then, and the collector says it once for all of its files.
    #[must_use]
    pub fn new(path: PathBuf, missing: &'static str) -> Self {
        Self { path, missing, file: None, health: Health::Unread }
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the last reading went.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    fn problem(&self) -> Option<Problem> {
        let (failed, words) = match &self.health {
            Health::Unread | Health::Good => return None,
            Health::Unsupported if self.missing.is_empty() => return None,
            Health::Unsupported => (false, self.missing.to_owned()),
            Health::Failed(why) => (true, why.clone()),
        };
        Some(Problem { path: self.path.clone(), failed, words })
    }

    /// Whether the last reading failed; a file that this kernel lacks has not failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        matches!(self.health, Health::Failed(_))
    }

    /// Reads the file whole. `buffer` only lends room: it grows to the longest file and is never cleared. `None` when
    /// there is nothing to read; that is logged once when it begins and once when it ends, never in between.
    pub fn read<'b>(&mut self, buffer: &'b mut Vec<u8>) -> Option<&'b [u8]> {
        match self.pread(buffer) {
            Ok(length) => {
                self.note(Health::Good);
                buffer.get(..length)
            }
            Err(error) => {
                self.file = None;
                self.note(classify(&error));
                None
            }
        }
    }

    fn pread(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        // A file of procfs lives as long as its mount. An ordinary file (a fixture, a copy) may have been replaced.
        if self.file.as_ref().is_some_and(|file| !file.metadata().is_ok_and(|meta| meta.nlink() > 0)) {
            self.file = None;
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(&self.path)?),
        };
        read_at_start(file, buffer)
    }

    fn note(&mut self, health: Health) {
        let path = self.path.display();
        match (&self.health, &health) {
            (Health::Failed(_), Health::Good | Health::Unsupported) => info!("{path} can be read again"),
            (Health::Failed(_), Health::Failed(_)) | (Health::Unsupported, Health::Unsupported) => {}
            (_, Health::Unsupported) if self.missing.is_empty() => {}
            (_, Health::Unsupported) => info!("{path} is not there: {}", self.missing),
            (_, Health::Failed(why)) => {
                warn!("{path} cannot be read ({why}); its metrics hold their last totals until it can")
            }
            _ => {}
        }
        self.health = health;
    }
}

/// Reads from the file's beginning, whatever was read before, until the end is seen: procfs hands out a page at a time,
/// so a short read is not the end. Returns the bytes read.
fn read_at_start(file: &File, buffer: &mut Vec<u8>) -> io::Result<usize> {
    const ROOM_BYTES: usize = 4096;
    let mut filled = 0;
    loop {
        if buffer.len() - filled < ROOM_BYTES {
            buffer.resize((buffer.len() * 2).max(2 * ROOM_BYTES), 0);
        }
        match file.read_at(buffer.get_mut(filled..).unwrap_or_default(), filled as u64) {
            Ok(0) => return Ok(filled),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn classify(error: &io::Error) -> Health {
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::NOENT | rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NODEV) => Health::Unsupported,
        _ => Health::Failed(error.to_string()),
    }
}

/// What a collection reads with: the shared buffer, the files that two collectors need, and the count of failures.
#[derive(Debug)]
pub struct Reader {
    buffer: Vec<u8>,
    stat: Source,
    stat_buffer: Vec<u8>,
    stat_bytes: Option<usize>,
    stat_cycle: Option<u64>,
    cycle: u64,
    failures: u64,
    reads: u64,
    problems: Option<Vec<Problem>>,
}

/// A file that a reading could not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its path.
    pub path: PathBuf,
    /// Whether it failed, or is only not there.
    pub failed: bool,
    /// Why, or what to do.
    pub words: String,
}

impl Reader {
    /// A reader of this host, before its first cycle.
    #[must_use]
    pub fn new(host: &Host) -> Self {
        Self {
            buffer: Vec::new(),
            stat: Source::new(host.proc("stat"), "is this a Linux /proc?"),
            stat_buffer: Vec::new(),
            stat_bytes: None,
            stat_cycle: None,
            cycle: 0,
            failures: 0,
            reads: 0,
            problems: None,
        }
    }

    /// Keeps what could not be read, for [`Reader::problems`].
    #[must_use]
    pub fn recording(mut self) -> Self {
        self.problems = Some(Vec::new());
        self
    }

    /// What could not be read since the last call.
    pub fn problems(&mut self) -> Vec<Problem> {
        self.problems.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Begins the next collection: each file may be read once more.
    pub fn next_cycle(&mut self) {
        self.cycle += 1;
    }

    /// 0 while the baselines are read, 1 at the first collection.
    #[must_use]
    pub fn cycle(&self) -> u64 {
        self.cycle
    }

    /// The content of a family's own file, or `None` when there is none to have.
    pub fn read(&mut self, source: &mut Source) -> Option<&[u8]> {
        self.reads += 1;
        let content = source.read(&mut self.buffer);
        if content.is_none() {
            self.failures += u64::from(source.failed());
            self.problems.iter_mut().for_each(|problems| problems.extend(source.problem()));
        }
        content
    }

    /// The content of `/proc/stat`, which the collectors cpu and processes share: one reading serves both.
    pub fn stat(&mut self) -> Option<&[u8]> {
        if self.stat_cycle != Some(self.cycle) {
            self.stat_cycle = Some(self.cycle);
            self.reads += 1;
            self.stat_bytes = self.stat.read(&mut self.stat_buffer).map(<[u8]>::len);
            self.failures += u64::from(self.stat.failed());
            self.problems.iter_mut().for_each(|problems| problems.extend(self.stat.problem()));
        }
        self.stat_buffer.get(..self.stat_bytes?)
    }

    /// How the last reading of `/proc/stat` went.
    #[must_use]
    pub fn stat_health(&self) -> &Health {
        self.stat.health()
    }

    /// Counts a failure that no [`Source`] saw.
    pub fn fail(&mut self) {
        self.failures += 1;
    }

    /// Says what is missing, or failed, where no [`Source`] saw it; for `check` alone.
    pub fn note(&mut self, path: impl Into<PathBuf>, failed: bool, words: impl Into<String>) {
        if let Some(problems) = &mut self.problems {
            problems.push(Problem { path: path.into(), failed, words: words.into() });
        }
    }

    /// Readings that failed so far. Absent files are no failures.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// Files read so far.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.reads
    }
}

/// Reads a small file of sysfs or procfs, trimmed; `None` when it is not there or not readable.
#[must_use]
pub fn read_small(path: &Path) -> Option<Vec<u8>> {
    std::fs::read(path).ok().map(|bytes| bytes.trim_ascii().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(dir: &tempfile::TempDir) -> Source {
        Source::new(dir.path().join("file"), "not in this test")
    }

    #[test]
    fn a_file_is_read_whole_however_long() {
        let dir = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..100_000u32).flat_map(|n| n.to_string().into_bytes()).collect();
        std::fs::write(dir.path().join("file"), &content).unwrap();
        let (mut source, mut buffer) = (source(&dir), Vec::new());
        for _ in 0..3 {
            assert_eq!(source.read(&mut buffer), Some(&content[..]));
        }
    }

    #[test]
    fn a_file_that_shrinks_leaves_no_old_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let (mut source, mut buffer) = (source(&dir), Vec::new());
        for content in [&b"a long first content"[..], b"short", b""] {
            std::fs::write(dir.path().join("file"), content).unwrap();
            assert_eq!(source.read(&mut buffer), Some(content));
        }
    }

    #[test]
    fn a_file_that_vanishes_is_unsupported_and_one_that_returns_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (mut source, mut buffer) = (source(&dir), Vec::new());
        assert!(source.read(&mut buffer).is_none());
        assert_eq!(*source.health(), Health::Unsupported);
        std::fs::write(dir.path().join("file"), "one").unwrap();
        assert!(source.read(&mut buffer).is_some());
        std::fs::remove_file(dir.path().join("file")).unwrap();
        assert!(source.read(&mut buffer).is_none());
        assert_eq!(*source.health(), Health::Unsupported);
        std::fs::write(dir.path().join("file"), "two").unwrap();
        assert_eq!(source.read(&mut buffer), Some(&b"two"[..]));
    }

    fn host_at(dir: &tempfile::TempDir) -> Host {
        Host::new(&Roots { root: Some(dir.path().to_owned()), ..Roots::default() })
    }

    #[test]
    fn the_first_process_tells_of_the_host_and_ones_own_view_is_second_best() {
        let dir = tempfile::tempdir().unwrap();
        let host = host_at(&dir);
        let file = || host.of_first_process("mountinfo", "self/mountinfo", "a test");
        assert_eq!(file(), host.proc("1/mountinfo"), "with neither, the better one is waited for");
        for process in ["self", "1"] {
            std::fs::create_dir_all(host.proc(process)).unwrap();
            std::fs::write(host.proc(process).join("mountinfo"), "x").unwrap();
            assert_eq!(file(), host.proc(process).join("mountinfo"));
        }
    }

    #[test]
    fn a_recorded_host_has_no_kernel_to_ask() {
        let dir = tempfile::tempdir().unwrap();
        let host = host_at(&dir);
        assert_eq!((host.calls.space)(dir.path()).unwrap_err().kind(), io::ErrorKind::Unsupported);
        assert!((host.calls.sockets)(Transport::Tcp).is_err() && host.shares_network());
    }

    #[test]
    fn a_directory_in_a_files_place_is_a_failure_that_says_why() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("file")).unwrap();
        let (mut source, mut buffer) = (source(&dir), Vec::new());
        assert!(source.read(&mut buffer).is_none());
        assert!(matches!(source.health(), Health::Failed(why) if why.contains("directory")));
    }
}
