//! Reading that can be left behind.
//!
//! A read of a file that hangs cannot be taken back: a FUSE or NFS server that does not answer keeps the thread, in some
//! cases even from SIGKILL. So files are read on threads that nobody joins. Each of these threads publishes the path that
//! it is at ([`access`]); whoever waits for the thread gives up at its deadline, names the path and remembers it in
//! [`Stuck`], and no other thread opens that path until the first one has returned.

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

/// The most threads of one host that may hang at once. Above it nothing more is read until one returns.
pub const MOST_STUCK: usize = 64;
/// Room for the deepest collector, in pages that are taken when they are touched.
pub(super) const STACK_BYTES: usize = 512 * 1024;

/// How long one whole collection may wait for files, at this interval: a quarter of it, at least 50 ms, at most 1 s.
#[must_use]
pub fn deadline(interval: Duration) -> Duration {
    const LEAST: Duration = Duration::from_millis(50);
    (interval / 4).clamp(LEAST, DEADLINE_MOST)
}

/// How much longer a thread may take that waits for a CPU and not for a file.
pub(super) const STARVED_MOST: Duration = Duration::from_secs(2);
/// The step in which it is looked at again.
pub(super) const STARVED_STEP: Duration = Duration::from_millis(10);

/// The longest [`deadline`].
pub const DEADLINE_MOST: Duration = Duration::from_secs(1);

/// The files that do not answer: a thread hangs in each of them.
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

    /// Whether no thread hangs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.any()
    }

    fn any(&self) -> bool {
        self.threads.load(Ordering::Acquire) > 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.threads.load(Ordering::Acquire) >= MOST_STUCK
    }

    /// A thread is left behind at `path`, which costs `loser` its readings; one line is logged.
    pub(super) fn add(&self, path: &Path, loser: &str) {
        lock(&self.paths).push(path.to_owned());
        self.threads.fetch_add(1, Ordering::AcqRel);
        if path.as_os_str().is_empty() {
            warn!("{loser} does not finish reading; it is left out until it does");
        } else {
            warn!("{} does not answer; {loser} is left out until it does", path.display());
        }
    }

    /// The thread that was left behind at `path` has returned.
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

/// Where one thread is.
#[derive(Debug)]
pub(super) struct Access {
    path: Mutex<Vec<u8>>,
    /// The process below that path whose state is read, or 0.
    process: AtomicU32,
    stuck: Arc<Stuck>,
    /// The thread's own directory in `/proc`.
    thread: OnceLock<PathBuf>,
}

thread_local! {
    static ACCESS: RefCell<Option<Arc<Access>>> = const { RefCell::new(None) };
}

impl Access {
    /// Makes the paths that this thread is at known from now on.
    pub(super) fn publish(stuck: &Arc<Stuck>) -> Arc<Self> {
        let access = Arc::new(Self::new(stuck));
        access.begin();
        access
    }

    fn new(stuck: &Arc<Stuck>) -> Self {
        Self { path: Mutex::default(), process: AtomicU32::new(0), stuck: Arc::clone(stuck), thread: OnceLock::new() }
    }

    /// Takes the calling thread.
    fn begin(self: &Arc<Self>) {
        if let Ok(link) = std::fs::read_link("/proc/thread-self") {
            let _first = self.thread.set(Path::new("/proc").join(link));
        }
        ACCESS.set(Some(Arc::clone(self)));
    }

    /// Whether the thread waits for a CPU and for nothing else: on a busy machine it is late, but no file hangs.
    pub(super) fn waits_for_cpu(&self) -> bool {
        let Some(thread) = self.thread.get() else { return true };
        let stat = std::fs::read(thread.join("stat")).unwrap_or_default();
        let state = stat.iter().rposition(|&b| b == b')').and_then(|at| stat.get(at + 2));
        state == Some(&b'R')
    }

    /// The path that the thread is at; empty where it is at none.
    pub(super) fn path(&self) -> PathBuf {
        let path = PathBuf::from(OsString::from_vec(lock(&self.path).clone()));
        match self.process.load(Ordering::Relaxed) {
            0 => path,
            process => stat_of(&path, process),
        }
    }
}

/// The thread is at a path for as long as this lives.
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

/// Goes to `path`, to open or read it.
///
/// # Errors
/// `EINPROGRESS` where another thread hangs there: one is enough.
pub fn access(path: &Path) -> io::Result<At> {
    let at = At(());
    at.move_below(path, "").map(|()| at)
}

impl At {
    /// Goes on to `below` in the folder `root`, or to `root` itself where it is empty. Makes no path of it: a walk comes to
    /// thousands.
    ///
    /// # Errors
    /// As [`access`]; the thread stays where it is.
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

/// A pass over the processes of `/proc`, of which there are too many to make a path of each.
#[derive(Debug)]
pub struct Walk<'a> {
    proc: &'a Path,
    access: Option<Arc<Access>>,
    _at: At,
}

/// Begins a pass over the processes.
///
/// # Errors
/// As [`access`].
pub fn walk(proc: &Path) -> io::Result<Walk<'_>> {
    let at = access(proc)?;
    Ok(Walk { proc, access: ACCESS.with_borrow(Clone::clone), _at: at })
}

impl Walk<'_> {
    /// Goes to `<proc>/<pid>/stat`; `pid` is a number.
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

/// What became of a piece of work that runs on a thread of its own.
enum Progress<T> {
    Runs,
    /// `None` where it panicked.
    Done(Option<T>),
    LeftBehind(PathBuf),
}

/// How often [`within`] begins: once, and once more after each file that hangs.
const MOST_ATTEMPTS: usize = 6;

/// Runs `work` on a thread of its own, which is left behind when it hangs; then it runs again, and finds that the file in
/// which it hung does not answer. `None` where the whole takes longer than `most`.
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
            // Nobody knows which file to leave out: it would only hang again.
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

/// A lock that a caught panic does not spoil.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
