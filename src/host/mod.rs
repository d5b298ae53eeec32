//! The host that is read: the only place that knows where `/proc`, `/sys` and `/etc` are.
//!
//! A [`Source`] is one file that is read once a collection, through a descriptor that stays open: opening costs several
//! times as much as reading. A [`Reader`] is handed to each collector in turn and carries the buffer they share. All of a
//! collector's readings run on the thread of a [`worker::Worker`], so that a file that hangs costs that collector only;
//! [`files`] is there for directories, links and files that are not read every time.

pub mod block_devices;
pub mod bounded;
pub mod cgroups;
pub mod counted_disks;
pub mod files;
pub mod identity;
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
pub use reader::Reader;
pub use source::{Health, Problem, Source};

use bounded::{DEADLINE_MOST, Stuck};
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
    /// How long one collection may wait for files, see [`bounded::deadline`].
    pub deadline: Duration,
    /// The files that do not answer.
    stuck: Arc<Stuck>,
}

/// The system calls that collectors make of the kernel. A recorded host has no kernel to ask: there each answers that
/// it is not supported, unless a test gives answers of its own.
#[derive(Clone, Copy, Debug)]
pub struct Calls {
    /// How full the file system at a path is.
    pub space: fn(&Path) -> io::Result<Reading>,
    /// How many sockets this process' network has in each state.
    pub sockets: fn(Transport) -> io::Result<Census>,
    /// How the wall clock is disciplined.
    pub adjtimex: fn() -> io::Result<ClockState>,
    /// The time since boot, suspends included (CLOCK_BOOTTIME), at the collection of that number.
    pub clock: fn(u64) -> Duration,
}

impl Calls {
    /// Asks the running kernel.
    pub const LIVE: Self =
        Self { space: usage::of_path, sockets: sockets::count, adjtimex: heka_adjtimex::read, clock: boot_time };
    /// Asks nobody. A recorded host has no clock: its collections are ten seconds apart.
    pub const NONE: Self = Self {
        space: |_| Err(io::ErrorKind::Unsupported.into()),
        sockets: |_| Err(io::ErrorKind::Unsupported.into()),
        adjtimex: || Err(io::ErrorKind::Unsupported.into()),
        clock: |cycle| Duration::from_secs(10).saturating_mul(u32::try_from(cycle).unwrap_or(u32::MAX)),
    };
}

fn boot_time(_cycle: u64) -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
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

    /// The files of this host that do not answer.
    #[must_use]
    pub fn stuck(&self) -> &Arc<Stuck> {
        &self.stuck
    }

    /// Runs `work`, which reads files of this host, on a thread that is left behind when it hangs; `None` where it takes
    /// longer than [`bounded::DEADLINE_MOST`]. `loser` then names the lost readings in the log.
    pub fn within<T: Send + 'static>(
        &self,
        loser: &'static str,
        work: impl Fn(&Self) -> T + Send + Sync + 'static,
    ) -> Option<T> {
        let host = self.clone();
        bounded::within(&self.stuck, DEADLINE_MOST, loser, move || work(&host))
    }

    /// A path below the host's root, such as a mount point.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path below `/proc`.
    #[must_use]
    pub fn proc(&self, name: &str) -> PathBuf {
        // Joined with nothing, a path ends with a slash.
        if name.is_empty() { self.proc.clone() } else { self.proc.join(name) }
    }

    /// Where the first process' view of `name` is (`net/dev`, `mountinfo`): the host's own, from any container that sees
    /// the host's `/proc`. Where that cannot be read it is `own`, and one line logs what that `means`.
    ///
    /// Decided once: numbers of two different views must not follow each other in one series.
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

    /// Whether this process has the same view of the network as the host's first process. In a container with a
    /// network of its own it is not; where this is unknown it is assumed to be so.
    ///
    /// Each network namespace has its own inode for the file, whatever the mount of `/proc` it is seen through, and
    /// unlike `/proc/1/ns/net` it may be looked at without being root.
    #[must_use]
    pub fn shares_network(&self) -> bool {
        let inode = |path: &Path| files::metadata(path).map(|file| file.ino());
        match (inode(&self.proc("1/net/dev")), inode(Path::new("/proc/self/net/dev"))) {
            (Ok(first), Ok(own)) if is_procfs(&self.proc) => first == own,
            _ => true,
        }
    }

    /// Whether the host's root is this process's.
    #[must_use]
    pub fn is_own_root(&self) -> bool {
        self.root == Path::new("/") && self.etc == Path::new("/etc")
    }

    /// Whether the host name that the kernel gives this process is the host's. A recorded host's is; of a running kernel it
    /// is known at the host's own root, or where the first process is in the same namespace (uts_namespaces(7)).
    #[must_use]
    pub fn shares_hostname(&self) -> bool {
        let namespace = |path: &Path| files::read_link(path).ok();
        !is_procfs(&self.proc)
            || self.is_own_root()
            || namespace(&self.proc("1/ns/uts"))
                .is_some_and(|first| namespace(Path::new("/proc/self/ns/uts")) == Some(first))
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
}
