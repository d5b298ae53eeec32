//! Space of file systems, queried so that a file system that hangs cannot delay the collection.
//!
//! statvfs blocks as long as the file system does: without limit for an unreachable NFS server, a stopped FUSE process
//! or a failed disk. A separate thread therefore makes the calls, and the [`Prober`] waits for it for a limited time. A
//! mount that does not answer keeps its thread; another thread is started for the next mount, up to [`MAX_STUCK`]. The
//! mount is queried again once its call has returned and [`RETRY`] has elapsed.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time limit for one file system.
pub const EACH: Duration = Duration::from_millis(200);
/// Time limit for all file systems in one collection.
pub const TOTAL: Duration = Duration::from_millis(500);
/// Delay before a file system that did not answer is queried again.
pub const RETRY: Duration = Duration::from_secs(60);
/// Maximum number of threads that hang in file systems.
pub const MAX_STUCK: usize = 4;

/// Stack size: enough for two paths of maximum length and little more.
const STACK_BYTES: usize = 64 * 1024;
/// Number of queued answers, so that the two threads need not alternate.
const ANSWERS: usize = 16;

/// Space of a file system; sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    pub limit: u64,
    /// Used by files and the file system itself.
    pub used: u64,
    /// Available to all users.
    pub free: u64,
    /// Available to root only.
    pub reserved: u64,
    /// Number of inodes; 0 if the file system creates them dynamically.
    pub files: u64,
    pub files_free: u64,
}

impl Space {
    /// Computes sizes from `statvfs`, in blocks of `f_frsize` bytes: all blocks, unused blocks, and unused blocks
    /// available to all users. If root uses reserved blocks, a few file systems report a negative number of available
    /// blocks, which appears as a huge number: it counts as zero.
    #[must_use]
    pub fn new(block_bytes: u64, blocks: u64, unused: u64, available: u64, files: u64, files_free: u64) -> Self {
        let bytes = |blocks: u64| blocks.saturating_mul(block_bytes);
        let unused = unused.min(blocks);
        let available = if available > blocks { 0 } else { available.min(unused) };
        Self {
            limit: bytes(blocks),
            used: bytes(blocks.saturating_sub(unused)),
            free: bytes(available),
            reserved: bytes(unused.saturating_sub(available)),
            files,
            files_free,
        }
    }
}

/// The answer for a path: its device and space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Major and minor device number, from `stat`.
    pub device: (u32, u32),
    /// Whether the path is a directory. Container runtimes mount single files of the host's disk, such as `/etc/hosts`.
    pub is_directory: bool,
    pub space: Space,
}

/// Queries the running kernel.
///
/// # Errors
///
/// Errors of stat(2) and statvfs(3).
pub fn of_path(path: &Path) -> io::Result<Reading> {
    let stat = rustix::fs::stat(path)?;
    let device = stat.st_dev;
    let fs = rustix::fs::statvfs(path)?;
    Ok(Reading {
        is_directory: rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory,
        device: (rustix::fs::major(device), rustix::fs::minor(device)),
        space: Space::new(fs.f_frsize, fs.f_blocks, fs.f_bfree, fs.f_bavail, fs.f_files, fs.f_ffree),
    })
}

#[derive(Debug)]
pub enum Outcome {
    Reading(Reading),
    /// The file system returned an error, or there was no time left to query it.
    Failed(io::Error),
    /// The file system does not answer; this is new.
    Hangs,
    /// The file system did not answer before, and it is too early to query it again.
    StillHangs,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Mount point as seen by this process.
    pub path: Arc<Path>,
    /// Device; another device at the same path is another file system.
    pub device: (u32, u32),
    /// Whether it is on a disk of this host and therefore unlikely to hang.
    pub local: bool,
}

type Ask = Arc<dyn Fn(&Path) -> io::Result<Reading> + Send + Sync>;

/// Queries all given file systems.
pub struct Prober {
    ask: Ask,
    each: Duration,
    total: Duration,
    retry: Duration,
    worker: Option<Worker>,
    hung: Vec<Hung>,
}

struct Hung {
    target: Target,
    thread: JoinHandle<()>,
    since: Instant,
    /// Whether it had its full time and was logged. A file system that was queried shortly before the overall time
    /// limit is queried again as soon as its call has returned.
    logged: bool,
}

impl Prober {
    /// Creates a prober that runs `ask` on its own thread.
    pub fn new(ask: impl Fn(&Path) -> io::Result<Reading> + Send + Sync + 'static) -> Self {
        Self { ask: Arc::new(ask), each: EACH, total: TOTAL, retry: RETRY, worker: None, hung: Vec::new() }
    }

    /// Queries the targets, local disks first, and returns the results in the order of the targets. Takes at most three
    /// quarters of `most` in total and half of that per file system.
    pub fn ask(&mut self, targets: &[Target], most: Duration) -> Vec<Outcome> {
        let total = self.total.min(most / 4 * 3);
        let each = self.each.min(most / 8 * 3);
        self.hung.retain(|hung| !hung.thread.is_finished() || (hung.logged && hung.since.elapsed() < self.retry));
        let mut outcomes: Vec<Outcome> = targets.iter().map(|target| self.of_hung(target, each)).collect();
        let mut todo: Vec<(usize, &Target)> = targets
            .iter()
            .enumerate()
            .filter(|(_, target)| !self.hung.iter().any(|hung| hung.target == **target))
            .collect();
        todo.sort_by_key(|(_, target)| !target.local);
        let deadline = Instant::now() + total;
        while !todo.is_empty() {
            let (ask, rest): (Vec<_>, Vec<_>) = todo.into_iter().partition(|(_, target)| self.may_ask(target));
            let mut settle = |place: usize, outcome| {
                if let Some(slot) = outcomes.get_mut(place) {
                    *slot = outcome;
                }
            };
            rest.iter().for_each(|(place, _)| settle(*place, Outcome::Failed(too_many())));
            if ask.is_empty() {
                break;
            }
            let worker = match self.worker.take().map_or_else(|| Worker::spawn(&self.ask), Ok) {
                Ok(worker) => worker,
                Err(error) => {
                    ask.iter().for_each(|(place, _)| settle(*place, Outcome::Failed(copy_of(&error))));
                    return outcomes;
                }
            };
            let (answered, end) = worker.run(&ask, each, deadline, &mut settle);
            if let Some((place, target)) = ask.get(answered) {
                settle(
                    *place,
                    match end {
                        End::Late => Outcome::Hangs,
                        End::CutShort => Outcome::Failed(io::ErrorKind::TimedOut.into()),
                        End::Complete | End::Fault => Outcome::Failed(fault()),
                    },
                );
                if matches!(end, End::Late | End::CutShort) {
                    let (target, logged) = ((*target).clone(), end == End::Late);
                    self.hung.push(Hung { target, thread: worker.thread, since: Instant::now(), logged });
                }
            } else {
                self.worker = Some(worker);
            }
            todo = ask.into_iter().skip(answered + 1).collect();
            if Instant::now() >= deadline {
                todo.iter().for_each(|(place, _)| settle(*place, Outcome::Failed(io::ErrorKind::TimedOut.into())));
                return outcomes;
            }
        }
        outcomes
    }

    /// The result for a target that cannot be queried now.
    fn of_hung(&mut self, target: &Target, each: Duration) -> Outcome {
        match self.hung.iter_mut().find(|hung| hung.target == *target && !hung.logged) {
            Some(hung) if hung.since.elapsed() >= each => {
                hung.logged = true;
                Outcome::Hangs
            }
            Some(_) => Outcome::Failed(io::ErrorKind::TimedOut.into()),
            None => Outcome::StillHangs,
        }
    }

    /// Whether the target may be queried. The last thread is reserved for local disks, so that an unreachable server
    /// with many mounts does not affect them.
    fn may_ask(&self, target: &Target) -> bool {
        let stuck = self.hung.iter().filter(|hung| !hung.thread.is_finished()).count();
        stuck + 1 < MAX_STUCK || (target.local && stuck < MAX_STUCK)
    }
}

fn too_many() -> io::Error {
    io::Error::other("too many other file systems hang")
}

fn fault() -> io::Error {
    io::Error::other("the thread that asks has a fault; please report it")
}

fn copy_of(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

/// Why the worker ended before all file systems had answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All have answered.
    Complete,
    /// The next file system exceeded its time limit.
    Late,
    /// The overall time limit was reached before the time limit of the next file system.
    CutShort,
    /// The thread has ended unexpectedly.
    Fault,
}

/// The thread that makes the calls.
struct Worker {
    jobs: SyncSender<Vec<Arc<Path>>>,
    answers: Receiver<io::Result<Reading>>,
    thread: JoinHandle<()>,
}

impl Worker {
    fn spawn(ask: &Ask) -> io::Result<Self> {
        let (jobs, incoming) = sync_channel::<Vec<Arc<Path>>>(1);
        let (outgoing, answers) = sync_channel(ANSWERS);
        let ask = Arc::clone(ask);
        let work = move || {
            for paths in incoming {
                for path in paths {
                    // The receiver is gone: this call took too long, and another thread does the rest.
                    if outgoing.send(ask(&path)).is_err() {
                        return;
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("file systems".into()).stack_size(STACK_BYTES).spawn(work)?;
        Ok(Self { jobs, answers, thread })
    }

    /// Returns the number of answers.
    fn run(
        &self,
        targets: &[(usize, &Target)],
        each: Duration,
        deadline: Instant,
        settle: &mut impl FnMut(usize, Outcome),
    ) -> (usize, End) {
        if self.jobs.send(targets.iter().map(|(_, target)| Arc::clone(&target.path)).collect()).is_err() {
            return (0, End::Fault);
        }
        for (answered, (place, _)) in targets.iter().enumerate() {
            let wait = each.min(deadline.saturating_duration_since(Instant::now()));
            match self.answers.recv_timeout(wait) {
                Ok(Ok(reading)) => settle(*place, Outcome::Reading(reading)),
                Ok(Err(error)) => settle(*place, Outcome::Failed(error)),
                Err(RecvTimeoutError::Timeout) if wait < each => return (answered, End::CutShort),
                Err(RecvTimeoutError::Timeout) => return (answered, End::Late),
                Err(RecvTimeoutError::Disconnected) => return (answered, End::Fault),
            }
        }
        (targets.len(), End::Complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    fn target(path: &str, local: bool) -> Target {
        Target { path: Path::new(path).into(), device: (8, 1), local }
    }

    fn reading() -> Reading {
        Reading { device: (8, 1), is_directory: true, space: Space::new(512, 10, 5, 4, 3, 2) }
    }

    /// A prober for which paths that start with `/hung` answer only on request. Nothing else is late.
    fn prober(retry: Duration) -> (Prober, Sender<()>) {
        let (let_go, wait) = channel::<()>();
        let wait = Mutex::new(wait);
        let mut prober = Prober::new(move |path| {
            if path.to_string_lossy().starts_with("/hung") {
                let _ended = wait.lock().unwrap().recv();
            }
            match path.to_str() {
                Some("/missing") => Err(io::ErrorKind::NotFound.into()),
                _ => Ok(reading()),
            }
        });
        (prober.each, prober.total, prober.retry) = (Duration::from_secs(1), Duration::from_secs(60), retry);
        (prober, let_go)
    }

    fn ask(prober: &mut Prober, targets: &[Target]) -> Vec<&'static str> {
        let word = |outcome| match outcome {
            Outcome::Reading(_) => "answers",
            Outcome::Failed(error) if error.kind() == io::ErrorKind::NotFound => "is not there",
            Outcome::Failed(_) => "fails",
            Outcome::Hangs => "hangs",
            Outcome::StillHangs => "still hangs",
        };
        prober.ask(targets, Duration::MAX).into_iter().map(word).collect()
    }

    /// Lets the hanging calls return and waits for their threads to end.
    fn let_go(prober: &Prober, sender: Sender<()>) {
        drop(sender);
        while prober.hung.iter().any(|hung| !hung.thread.is_finished()) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn used_free_and_reserved_add_up_to_the_limit() {
        let space = Space::new(4_096, 1_000, 300, 250, 64, 60);
        assert_eq!((space.limit, space.used, space.free, space.reserved), (4_096_000, 2_867_200, 1_024_000, 204_800));
        assert_eq!(space.used + space.free + space.reserved, space.limit);
    }

    #[test]
    fn odd_sizes_are_held_at_their_bounds() {
        let space = Space::new(4_096, 10, 20, 10, 0, 0);
        assert_eq!((space.used, space.free, space.reserved), (0, 40_960, 0));
        assert_eq!(Space::new(u64::MAX, u64::MAX, 1, 1, 0, 0).limit, u64::MAX);
    }

    #[test]
    fn where_less_than_none_is_available_none_is_free_and_the_states_add_up() {
        let space = Space::new(4_096, 1_000, 30, 0_u64.wrapping_sub(20), 0, 0);
        assert_eq!((space.free, space.reserved, space.used), (0, 30 * 4_096, 970 * 4_096));
        assert_eq!(space.used + space.free + space.reserved, space.limit);
    }

    #[test]
    fn the_running_kernel_answers() {
        let reading = of_path(Path::new("/")).unwrap();
        assert!(reading.space.limit >= reading.space.used);
        assert_eq!(of_path(Path::new("/no/such/path")).unwrap_err().kind(), io::ErrorKind::NotFound);
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(reading.is_directory && !of_path(file.path()).unwrap().is_directory);
    }

    #[test]
    fn a_mount_that_hangs_holds_up_no_other_and_is_left_alone() {
        let (mut prober, sender) = prober(Duration::ZERO);
        let all = [target("/hung", true), target("/", true), target("/missing", true), target("/data", true)];
        assert_eq!(ask(&mut prober, &all), ["hangs", "answers", "is not there", "answers"]);
        assert_eq!(ask(&mut prober, &all), ["still hangs", "answers", "is not there", "answers"]);
        let_go(&prober, sender);
        assert_eq!(ask(&mut prober, &all), ["answers", "answers", "is not there", "answers"]);
    }

    #[test]
    fn a_mount_that_hung_is_not_asked_again_before_its_time() {
        let (mut prober, sender) = prober(Duration::MAX);
        assert_eq!(ask(&mut prober, &[target("/hung", true)]), ["hangs"]);
        let_go(&prober, sender);
        assert_eq!(ask(&mut prober, &[target("/hung", true)]), ["still hangs"]);
        let another = Target { device: (8, 2), ..target("/hung", true) };
        assert_eq!(ask(&mut prober, &[another]), ["answers"], "another file system at its place is asked");
    }

    #[test]
    fn the_last_thread_is_for_local_disks_and_there_are_never_more() {
        let (mut prober, sender) = prober(Duration::ZERO);
        let remote: Vec<Target> = (0..5).map(|n| target(&format!("/hung{n}"), false)).collect();
        let mut all = remote.clone();
        all.extend([target("/", true), target("/nfs", false)]);
        assert_eq!(ask(&mut prober, &all), ["hangs", "hangs", "hangs", "fails", "fails", "answers", "fails"]);
        assert_eq!(
            ask(&mut prober, &all),
            ["still hangs", "still hangs", "still hangs", "fails", "fails", "answers", "fails"]
        );
        all.push(target("/hung-disk", true));
        assert_eq!(ask(&mut prober, &all)[5..], ["answers", "fails", "hangs"]);
        assert_eq!(ask(&mut prober, &all)[5..], ["fails", "fails", "still hangs"], "no thread is left");
        assert_eq!(prober.hung.len(), MAX_STUCK);
        let_go(&prober, sender);
        assert!(ask(&mut prober, &all).iter().all(|word| *word == "answers"));
    }

    #[test]
    fn when_the_time_is_over_the_rest_is_left_out() {
        let (mut prober, sender) = prober(Duration::ZERO);
        prober.total = Duration::ZERO;
        assert_eq!(ask(&mut prober, &[target("/hung", true), target("/", true)]), ["fails", "fails"]);
        drop(sender);
    }

    #[test]
    fn a_mount_that_was_given_less_than_its_time_is_asked_again_as_soon_as_it_can_be() {
        let (mut prober, sender) = prober(Duration::MAX);
        let mount = [target("/hung", true)];
        prober.total = Duration::ZERO;
        assert_eq!(ask(&mut prober, &mount), ["fails"]);
        let_go(&prober, sender);
        prober.total = Duration::from_secs(60);
        assert_eq!(ask(&mut prober, &mount), ["answers"], "it was slow and not hung");
    }

    #[test]
    fn a_mount_that_was_given_less_than_its_time_and_never_answers_hangs() {
        let (mut prober, sender) = prober(Duration::MAX);
        let mount = [target("/hung", true)];
        (prober.each, prober.total) = (Duration::MAX, Duration::ZERO);
        assert_eq!([ask(&mut prober, &mount), ask(&mut prober, &mount)], [["fails"], ["fails"]], "its time goes on");
        prober.each = Duration::ZERO;
        assert_eq!([ask(&mut prober, &mount), ask(&mut prober, &mount)], [["hangs"], ["still hangs"]]);
        assert_eq!(prober.hung.len(), 1, "one thread waits for it");
        let_go(&prober, sender);
        assert_eq!(ask(&mut prober, &mount), ["still hangs"], "from now on it is one that hung");
    }

    #[test]
    fn a_fault_while_asking_costs_that_mount_only() {
        let mut prober = Prober::new(|path| match path.to_str() {
            Some("/odd") => panic!("a fault"),
            _ => Ok(reading()),
        });
        (prober.each, prober.total) = (Duration::from_secs(60), Duration::from_secs(60));
        let all = [target("/", true), target("/odd", true), target("/data", true)];
        assert_eq!(ask(&mut prober, &all), ["answers", "fails", "answers"]);
        assert!(prober.hung.is_empty());
    }
}
