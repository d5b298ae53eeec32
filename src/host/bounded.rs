//! File access on threads that can be abandoned.
//!
//! A read that hangs cannot be cancelled: a FUSE or NFS server that does not answer blocks the thread, in some cases
//! even against SIGKILL. Files are therefore read on threads that are never joined. Each thread publishes the path that
//! it accesses ([`access`]). A waiter gives up at its deadline, logs the path and adds it to [`Stuck`]. No other thread
//! accesses that path until the first one has returned.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tracing::{info, warn};

/// Maximum number of hanging threads per host. At the limit, nothing is read until one returns.
pub const MOST_STUCK: usize = 64;
/// Stack size; enough for the deepest collector. Pages are allocated on first use.
pub(super) const STACK_BYTES: usize = 512 * 1024;

/// Time limit for all file reads of a collection at this interval: a quarter of it, at least 50 ms, at most 1 s.
#[must_use]
pub fn deadline(interval: Duration) -> Duration {
    const LEAST: Duration = Duration::from_millis(50);
    (interval / 4).clamp(LEAST, DEADLINE_MOST)
}

/// Additional time for a thread that waits for a CPU rather than for a file.
pub(super) const STARVED_MOST: Duration = Duration::from_secs(2);
/// Interval of the checks during the additional time.
pub(super) const STARVED_STEP: Duration = Duration::from_millis(10);

/// Maximum value of [`deadline`].
pub const DEADLINE_MOST: Duration = Duration::from_secs(1);

/// Files that do not answer: a thread hangs in each of them.
#[derive(Debug, Default)]
pub struct Stuck {
    threads: AtomicUsize,
    paths: Mutex<Vec<PathBuf>>,
}

impl Stuck {
    /// Whether a thread hangs in this file.
    #[must_use]
    pub fn holds(&self, path: &Path) -> bool {
        self.any() && lock(&self.paths).iter().any(|stuck| stuck == path)
    }

    /// Whether a thread hangs.
    #[must_use]
    pub fn any(&self) -> bool {
        self.threads.load(Ordering::Acquire) > 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.threads.load(Ordering::Acquire) >= MOST_STUCK
    }

    /// Records and logs a thread that hangs at `path`; `loser` is the collector or reader that loses its readings.
    pub(super) fn add(&self, path: &Path, loser: &str) {
        lock(&self.paths).push(path.to_owned());
        self.threads.fetch_add(1, Ordering::AcqRel);
        if path.as_os_str().is_empty() {
            warn!("{loser} does not finish reading; it is left out until it does");
        } else {
            warn!("{} does not answer; {loser} is left out until it does", path.display());
        }
    }

    /// Removes a thread at `path` that has returned.
    pub(super) fn remove(&self, path: &Path, loser: &str) {
        let mut paths = lock(&self.paths);
        if let Some(at) = paths.iter().position(|stuck| stuck == path) {
            paths.swap_remove(at);
            self.threads.fetch_sub(1, Ordering::AcqRel);
        }
        drop(paths);
        if path.as_os_str().is_empty() {
            info!("{loser} has finished reading");
        } else {
            info!("{} answers again", path.display());
        }
    }
}

/// The current file access of one thread.
#[derive(Debug)]
pub(super) struct Access {
    path: Mutex<Vec<u8>>,
    /// Pid of the process directory being read below the path, or 0.
    process: AtomicU32,
    stuck: Arc<Stuck>,
    /// The thread's directory in `/proc`.
    thread: OnceLock<PathBuf>,
}

thread_local! {
    static ACCESS: RefCell<Option<Arc<Access>>> = const { RefCell::new(None) };
}

impl Access {
    /// Publishes the accesses of this thread from now on.
    pub(super) fn publish(stuck: &Arc<Stuck>) -> Arc<Self> {
        let access = Arc::new(Self::new(stuck));
        access.begin();
        access
    }

    fn new(stuck: &Arc<Stuck>) -> Self {
        Self { path: Mutex::default(), process: AtomicU32::new(0), stuck: Arc::clone(stuck), thread: OnceLock::new() }
    }

    /// Stores the directory of the calling thread.
    fn begin(self: &Arc<Self>) {
        if let Ok(link) = std::fs::read_link("/proc/thread-self") {
            let _first = self.thread.set(Path::new("/proc").join(link));
        }
        ACCESS.set(Some(Arc::clone(self)));
    }

    /// Whether the thread is only waiting for a CPU: on a busy machine it is late although no file hangs.
    pub(super) fn waits_for_cpu(&self) -> bool {
        let Some(thread) = self.thread.get() else { return true };
        let stat = std::fs::read(thread.join("stat")).unwrap_or_default();
        let state = stat.iter().rposition(|&b| b == b')').and_then(|at| stat.get(at + 2));
        state == Some(&b'R')
    }

    /// The path being accessed; empty if there is none.
    pub(super) fn path(&self) -> PathBuf {
        let path = PathBuf::from(OsString::from_vec(lock(&self.path).clone()));
        match self.process.load(Ordering::Relaxed) {
            0 => path,
            process => stat_of(&path, process),
        }
    }
}

/// Guard for an access; the access ends when it is dropped.
#[derive(Debug)]
pub struct At(());

impl Drop for At {
    fn drop(&mut self) {
        ACCESS.with_borrow(|access| {
            if let Some(access) = access {
                access.process.store(0, Ordering::Relaxed);
                lock(&access.path).clear();
            }
        });
    }
}

/// Starts an access to `path`, to open or read it.
///
/// # Errors
/// `EINPROGRESS` if another thread hangs at this path: only one thread may hang there.
pub fn access(path: &Path) -> io::Result<At> {
    let at = At(());
    at.move_below(path, "").map(|()| at)
}

impl At {
    /// Changes the access to `below` in the directory `root`, or to `root` itself if `below` is empty. Allocates no
    /// path, because a walk visits thousands of directories.
    ///
    /// # Errors
    /// As [`access`]; the current access is kept.
    pub fn move_below(&self, root: &Path, below: &str) -> io::Result<()> {
        ACCESS.with_borrow(|access| {
            if let Some(access) = access {
                if access.stuck.any() && access.stuck.holds(&root.join(below)) {
                    return Err(Errno::INPROGRESS.into());
                }
                let mut at = lock(&access.path);
                at.clear();
                at.extend_from_slice(root.as_os_str().as_bytes());
                if !below.is_empty() {
                    at.push(b'/');
                    at.extend_from_slice(below.as_bytes());
                }
            }
            Ok(())
        })
    }
}

/// An access to the processes in `/proc`; there are too many to allocate a path for each.
#[derive(Debug)]
pub struct Walk<'a> {
    proc: &'a Path,
    access: Option<Arc<Access>>,
    _at: At,
}

/// Starts an access to the processes.
///
/// # Errors
/// As [`access`].
pub fn walk(proc: &Path) -> io::Result<Walk<'_>> {
    let at = access(proc)?;
    Ok(Walk { proc, access: ACCESS.with_borrow(Clone::clone), _at: at })
}

impl Walk<'_> {
    /// Changes the access to `<proc>/<pid>/stat`; `pid` is a number.
    ///
    /// # Errors
    /// As [`access`].
    pub fn at(&self, pid: &[u8]) -> io::Result<()> {
        let Some(access) = &self.access else { return Ok(()) };
        let number =
            pid.iter().fold(0_u32, |number, digit| number.wrapping_mul(10).wrapping_add(u32::from(digit & 0xf)));
        access.process.store(number, Ordering::Relaxed);
        if access.stuck.any() && access.stuck.holds(&stat_of(self.proc, number)) {
            access.process.store(0, Ordering::Relaxed);
            return Err(Errno::INPROGRESS.into());
        }
        Ok(())
    }
}

fn stat_of(proc: &Path, process: u32) -> PathBuf {
    proc.join(process.to_string()).join("stat")
}

/// State of a task that runs on a separate thread.
enum Progress<T> {
    Runs,
    /// `None` if it panicked.
    Done(Option<T>),
    LeftBehind(PathBuf),
}

/// Maximum number of attempts of [`within`]: the first, and one after each file that hangs.
const MOST_ATTEMPTS: usize = 6;

/// Runs `work` on a separate thread, which is abandoned if it hangs. `work` then runs again and skips the file that
/// hangs. `None` if it takes longer than `most` in total.
///
/// `loser` names the lost readings in the log.
pub fn within<T: Send + 'static>(
    stuck: &Arc<Stuck>,
    most: Duration,
    loser: &'static str,
    work: impl Fn() -> T + Send + Sync + 'static,
) -> Option<T> {
    let work = Arc::new(work);
    let deadline = Instant::now() + most;
    for _ in 0..MOST_ATTEMPTS {
        let now = Instant::now();
        let limit = now + deadline.checked_duration_since(now)? / 2;
        match once(stuck, limit, loser, &work) {
            Progress::Done(value) => return value,
            // The file is unknown and cannot be skipped, so another attempt would hang too.
            Progress::LeftBehind(path) if path.as_os_str().is_empty() => return None,
            Progress::Runs | Progress::LeftBehind(_) => {}
        }
    }
    None
}

fn once<T: Send + 'static>(
    stuck: &Arc<Stuck>,
    limit: Instant,
    loser: &'static str,
    work: &Arc<impl Fn() -> T + Send + Sync + 'static>,
) -> Progress<T> {
    if stuck.is_full() {
        return Progress::Done(None);
    }
    let shared = Arc::new((Mutex::new(Progress::Runs), Condvar::new()));
    let access = Arc::new(Access::new(stuck));
    let (theirs, their_access, work) = (Arc::clone(&shared), Arc::clone(&access), Arc::clone(work));
    let run = move || {
        their_access.begin();
        let value = catch_unwind(AssertUnwindSafe(|| work())).ok();
        let (progress, done) = &*theirs;
        let mut progress = lock(progress);
        if let Progress::LeftBehind(path) = &*progress {
            their_access.stuck.remove(path, loser);
        } else {
            *progress = Progress::Done(value);
            done.notify_one();
        }
    };
    if std::thread::Builder::new().name("start".to_owned()).stack_size(STACK_BYTES).spawn(run).is_err() {
        return Progress::Done(None);
    }
    let (progress, done) = &*shared;
    let mut progress = lock(progress);
    loop {
        if matches!(&*progress, Progress::Done(_)) {
            return std::mem::replace(&mut *progress, Progress::Runs);
        }
        let wait = limit.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            if Instant::now() < limit + STARVED_MOST && access.waits_for_cpu() {
                progress = done.wait_timeout(progress, STARVED_STEP).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let path = access.path();
            stuck.add(&path, loser);
            *progress = Progress::LeftBehind(path.clone());
            return Progress::LeftBehind(path);
        }
        progress = done.wait_timeout(progress, wait).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Locks a mutex; ignores poisoning by a caught panic.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn the_deadline_is_a_quarter_of_the_interval_within_its_bounds() {
        let millis = |interval| deadline(Duration::from_millis(interval)).as_millis();
        assert_eq!([100, 500, 2_000, 60_000].map(millis), [50, 125, 500, 1_000]);
    }

    #[test]
    fn work_that_hangs_runs_again_without_the_file_in_which_it_hung() {
        let stuck = Arc::new(Stuck::default());
        let (let_go, wait) = channel::<()>();
        let wait = Mutex::new(wait);
        let read = move |path: &'static str| {
            let _at = access(Path::new(path)).map_err(|error| error.raw_os_error())?;
            if path == "/hangs" {
                let _ended = lock(&wait).recv();
            }
            Ok(path)
        };
        let outcome =
            within(&stuck, Duration::from_secs(2), "a test", move || ["/a", "/hangs", "/b"].map(&read)).unwrap();
        assert_eq!(outcome, [Ok("/a"), Err(Some(Errno::INPROGRESS.raw_os_error())), Ok("/b")]);
        assert!(stuck.holds(Path::new("/hangs")) && !stuck.holds(Path::new("/a")));
        drop(let_go);
        while stuck.holds(Path::new("/hangs")) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn work_that_hangs_everywhere_is_given_up_at_the_deadline() {
        let stuck = Arc::new(Stuck::default());
        let (let_go, wait) = channel::<()>();
        let wait = Mutex::new(wait);
        let begun = Instant::now();
        let outcome = within(&stuck, Duration::from_millis(50), "a test", move || lock(&wait).recv().is_ok());
        assert!(outcome.is_none() && begun.elapsed() < Duration::from_secs(20));
        drop(let_go);
    }
}
