//! Access to the host: the only code that knows the locations of `/proc`, `/sys` and `/etc`.
//!
//! A [`Source`] is a file that is read once per collection. Its descriptor stays open, because opening costs several times
//! as much as reading; a [`KeptDir`] does the same for the small files of a device. A [`Reader`] is passed to each
//! collector in turn and contains their shared buffer. All readings of the collectors run on the thread of a
//! [`worker::Worker`], so that a file that hangs affects only one collector. [`files`] is for directories, links and files
//! that are not read in every collection.

pub mod block_devices;
pub mod bounded;
pub mod cgroups;
pub mod counted_disks;
pub mod files;
pub mod identity;
pub mod kept;
pub mod mounts;
pub mod processes;
mod reader;
mod shared;
pub mod sockets;
mod source;
mod sysfs;
pub mod systemd;
pub mod usage;
pub mod worker;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tracing::info;

pub use files::read_small;
pub use heka_adjtimex::{ClockState, Pulse};
pub use kept::KeptDir;
pub use reader::Reader;
pub use source::{Health, Problem, Source};

use bounded::{DEADLINE_MOST, Stuck};
use sockets::{Census, Transport};
use usage::Reading;

/// The locations of the host's files, and the system parameters needed to interpret them.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
    proc: PathBuf,
    sys: PathBuf,
    etc: PathBuf,
    /// Clock ticks per second, the unit of `/proc/stat` (`USER_HZ`).
    pub ticks_per_second: u64,
    pub page_bytes: u64,
    /// Size of the kernel's `unsigned long` in bits; most kernel counters wrap at it.
    pub word_bits: u32,
    pub calls: Calls,
    /// Time limit for the file reads of a collection; see [`bounded::deadline`].
    pub deadline: Duration,
    stuck: Arc<Stuck>,
}

/// The system calls that collectors use. For a recorded host, each returns an error (not supported) unless a test
/// replaces it.
#[derive(Clone, Copy, Debug)]
pub struct Calls {
    /// Space of the file system at a path.
    pub space: fn(&Path) -> io::Result<Reading>,
    /// Number of sockets per state in this process's network namespace.
    pub sockets: fn(Transport) -> io::Result<Census>,
    /// Synchronization state of the wall clock.
    pub adjtimex: fn() -> io::Result<ClockState>,
    /// Time since boot including suspend (CLOCK_BOOTTIME), at the collection with this number.
    pub clock: fn(u64) -> Duration,
}

impl Calls {
    /// Calls the running kernel.
    pub const LIVE: Self =
        Self { space: usage::of_path, sockets: sockets::count, adjtimex: heka_adjtimex::read, clock: |_| boot_time() };
    /// Calls nothing. A recorded host has no clock: its collections are ten seconds apart.
    pub const NONE: Self = Self {
        space: |_| Err(io::ErrorKind::Unsupported.into()),
        sockets: |_| Err(io::ErrorKind::Unsupported.into()),
        adjtimex: || Err(io::ErrorKind::Unsupported.into()),
        clock: |cycle| Duration::from_secs(10).saturating_mul(u32::try_from(cycle).unwrap_or(u32::MAX)),
    };
}

/// Time since boot, suspends included: CLOCK_BOOTTIME.
pub fn boot_time() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The directories of the host; `None` is the default location below `root`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots {
    /// The host's root directory, `/` by default.
    pub root: Option<PathBuf>,
    /// Replaces `<root>/proc`.
    pub proc: Option<PathBuf>,
    /// Replaces `<root>/sys`.
    pub sys: Option<PathBuf>,
    /// Replaces `<root>/etc`.
    pub etc: Option<PathBuf>,
}

impl Host {
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        let root = roots.root.clone().unwrap_or_else(|| PathBuf::from("/"));
        let place = |given: &Option<PathBuf>, name: &str| given.clone().unwrap_or_else(|| root.join(name));
        let proc = place(&roots.proc, "proc");
        let stuck = Arc::new(Stuck::default());
        let dir = proc.clone();
        let live = bounded::within(&stuck, DEADLINE_MOST, "its kernel", move || is_procfs(&dir)).unwrap_or_default();
        Self {
            calls: if live { Calls::LIVE } else { Calls::NONE },
            proc,
            sys: place(&roots.sys, "sys"),
            etc: place(&roots.etc, "etc"),
            root,
            ticks_per_second: rustix::param::clock_ticks_per_second(),
            page_bytes: rustix::param::page_size() as u64,
            word_bits: usize::BITS,
            deadline: DEADLINE_MOST,
            stuck,
        }
    }

    /// Files of this host that do not answer.
    #[must_use]
    pub fn stuck(&self) -> &Arc<Stuck> {
        &self.stuck
    }

    /// Runs `work`, which reads files of this host, on a thread that is abandoned if it hangs; `None` if it takes
    /// longer than [`bounded::DEADLINE_MOST`]. `loser` then names the lost readings in the log.
    pub fn within<T: Send + 'static>(
        &self,
        loser: &'static str,
        work: impl Fn(&Self) -> T + Send + Sync + 'static,
    ) -> Option<T> {
        let host = self.clone();
        bounded::within(&self.stuck, DEADLINE_MOST, loser, move || work(&host))
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    #[must_use]
    pub fn proc(&self, name: &str) -> PathBuf {
        // Joining an empty path would add a trailing slash.
        if name.is_empty() { self.proc.clone() } else { self.proc.join(name) }
    }

    /// The path of the first process's view of `name` (`net/dev`, `mountinfo`). This is the host's own view, from any
    /// container that has the host's `/proc`. If it is unreadable, returns `own` and logs its consequence, `means`.
    ///
    /// The choice is made once, because a series must not mix two views.
    #[must_use]
    pub fn of_first_process(&self, name: &str, own: &str, means: &str) -> PathBuf {
        let (first, own) = (self.proc("1").join(name), self.proc(own));
        let readable = files::read_byte;
        match readable(&first) {
            Err(error) if readable(&own).is_ok() => {
                info!("{} cannot be read ({error}); {} is read instead: {means}", first.display(), own.display());
                own
            }
            _ => first,
        }
    }

    /// Whether this process has the same view of the network as the host's first process. A container with its own
    /// network does not. If it cannot be determined, it is assumed.
    ///
    /// Each network namespace has its own inode for this file, in every mount of `/proc`. Unlike `/proc/1/ns/net`, it
    /// is accessible without root privileges.
    #[must_use]
    pub fn shares_network(&self) -> bool {
        let inode = |path: &Path| files::metadata(path).map(|file| file.ino());
        match (inode(&self.proc("1/net/dev")), inode(Path::new("/proc/self/net/dev"))) {
            (Ok(first), Ok(own)) if is_procfs(&self.proc) => first == own,
            _ => true,
        }
    }

    /// Whether the host's root is the root of this process.
    #[must_use]
    pub fn is_own_root(&self) -> bool {
        self.root == Path::new("/") && self.etc == Path::new("/etc")
    }

    /// Whether this process sees the host's own host name. This is true for a recorded host. For a running kernel it is
    /// true if the host's root is this process's root, or if the first process is in the same namespace
    /// (uts_namespaces(7)).
    #[must_use]
    pub fn shares_hostname(&self) -> bool {
        let namespace = |path: &Path| files::read_link(path).ok();
        !is_procfs(&self.proc)
            || self.is_own_root()
            || namespace(&self.proc("1/ns/uts"))
                .is_some_and(|first| namespace(Path::new("/proc/self/ns/uts")) == Some(first))
    }

    #[must_use]
    pub fn sys(&self, name: &str) -> PathBuf {
        self.sys.join(name)
    }

    #[must_use]
    pub fn etc(&self, name: &str) -> PathBuf {
        self.etc.join(name)
    }
}

/// Whether the directory is the `/proc` of a running kernel rather than a recorded one.
fn is_procfs(dir: &Path) -> bool {
    let Ok(_at) = bounded::access(dir) else { return false };
    rustix::fs::statfs(dir).is_ok_and(|fs| fs.f_type == rustix::fs::PROC_SUPER_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_at(dir: &tempfile::TempDir) -> Host {
        Host::new(&Roots { root: Some(dir.path().to_owned()), ..Roots::default() })
    }

    #[test]
    fn the_files_of_the_first_process_are_read_before_the_agents_own() {
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
}
