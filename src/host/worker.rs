//! The thread that runs the collectors' readings, and is replaced when it hangs.
//!
//! A collection hands all collectors to the thread at once and waits for all of them: two context switches, regardless
//! of the number of files. If a collector takes more than half of the remaining time, the thread is abandoned and
//! another one continues with the other collectors. The abandoned collector is skipped until its thread returns; that
//! thread then ends. A collector therefore has at most one hanging thread; one line is logged when it begins and one
//! when it ends.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use super::bounded::{Access, DEADLINE_MOST, STACK_BYTES, STARVED_MOST, STARVED_STEP, lock};
use super::{Host, Reader};

/// Minimum wait before checking whether a job is late.
const STEP_LEAST: Duration = Duration::from_millis(1);

pub trait Job: Send + Sync {
    /// Its name in the log, such as "the collector cpu".
    fn name(&self) -> String;

    /// Reads its files. Never called by two threads at the same time.
    fn run(&self, reader: &mut Reader);
}

/// Runs [`Job`]s with a deadline.
pub struct Worker(Arc<Shared>);

struct Shared {
    host: Host,
    recording: bool,
    reads: Arc<AtomicU64>,
    state: Mutex<State>,
    /// Signals new jobs.
    work: Condvar,
    /// Signals that all jobs are done.
    done: Condvar,
}

struct State {
    todo: VecDeque<Arc<dyn Job>>,
    cycle: u64,
    deadline: Instant,
    current: Option<Current>,
    /// Number of the current thread. Threads with other numbers have been abandoned.
    thread: u64,
    started: bool,
    left_behind: Vec<(Arc<dyn Job>, PathBuf)>,
    /// Whether the failure to start a thread was logged.
    reported: bool,
    closed: bool,
}

struct Current {
    job: Arc<dyn Job>,
    limit: Instant,
    access: Arc<Access>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl Worker {
    /// Creates a worker. Its thread starts with the first job. If `recording` is set, its readers record problems.
    #[must_use]
    pub fn new(host: &Host, recording: bool) -> Self {
        let state = State {
            todo: VecDeque::new(),
            cycle: 0,
            deadline: Instant::now(),
            current: None,
            thread: 0,
            started: false,
            left_behind: Vec::new(),
            reported: false,
            closed: false,
        };
        Self(Arc::new(Shared {
            host: host.clone(),
            recording,
            reads: Arc::default(),
            state: Mutex::new(state),
            work: Condvar::new(),
            done: Condvar::new(),
        }))
    }

    /// Number of files read so far.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.0.reads.load(Ordering::Relaxed)
    }

    /// The file in which a job hangs, if any; empty if the job is not accessing a file.
    #[must_use]
    pub fn hangs(&self, job: &Arc<dyn Job>) -> Option<PathBuf> {
        let state = lock(&self.0.state);
        state.left_behind.iter().find(|(left, _)| Arc::ptr_eq(left, job)).map(|(_, path)| path.clone())
    }

    /// Runs the jobs in order and waits for them until the host's deadline. Jobs that still hang from an earlier run
    /// are skipped.
    pub fn run(&self, jobs: impl IntoIterator<Item = Arc<dyn Job>>, cycle: u64) {
        let shared = &self.0;
        let mut state = lock(&shared.state);
        state.cycle = cycle;
        // The first run may take longer: no other collection is due yet, and all files are read for the first time.
        state.deadline = Instant::now() + if cycle == 0 { DEADLINE_MOST } else { shared.host.deadline };
        for job in jobs {
            if !state.left_behind.iter().any(|(left, _)| Arc::ptr_eq(left, &job)) {
                state.todo.push_back(job);
            }
        }
        // While the lock is held, the thread would wake only to wait for it.
        drop(state);
        shared.work.notify_one();
        state = lock(&shared.state);
        let starved_until = state.deadline + STARVED_MOST;
        while !(state.todo.is_empty() && state.current.is_none()) {
            if !state.started && !shared.start(&mut state) {
                state.todo.clear();
                return;
            }
            let now = Instant::now();
            // Between two jobs and before the first one, the limit of the next job is not known yet.
            let halfway = now + (state.deadline.saturating_duration_since(now) / 2).max(STEP_LEAST);
            let limit = state.current.as_ref().map_or(state.deadline, |current| current.limit);
            if now < limit {
                let wake = limit.min(halfway);
                state = shared.done.wait_timeout(state, wake - now).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            // A thread that waits for a CPU is late, but no file hangs. A thread without a job also waits for a CPU.
            if now < starved_until && state.current.as_ref().is_none_or(|current| current.access.waits_for_cpu()) {
                let later = now + STARVED_STEP;
                state.deadline = state.deadline.max(later);
                state.current.iter_mut().for_each(|current| current.limit = later);
                continue;
            }
            if let Some(current) = state.current.take() {
                let path = current.access.path();
                shared.host.stuck().add(&path, &current.job.name());
                state.left_behind.push((current.job, path));
                state.thread += 1;
                state.started = false;
            }
            if now >= state.deadline {
                state.todo.clear();
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        lock(&self.0.state).closed = true;
        self.0.work.notify_all();
    }
}

impl Shared {
    fn start(self: &Arc<Self>, state: &mut State) -> bool {
        let (shared, number) = (Arc::clone(self), state.thread);
        let thread = std::thread::Builder::new().name("read".to_owned()).stack_size(STACK_BYTES);
        let outcome = if self.host.stuck().is_full() {
            Err("too many threads hang".to_owned())
        } else {
            thread.spawn(move || shared.work(number)).map_err(|error| error.to_string())
        };
        if let Err(why) = &outcome
            && !std::mem::replace(&mut state.reported, true)
        {
            warn!("cannot start a thread to read the host ({why}); the collectors that are not read yet are left out");
        }
        state.started = outcome.is_ok();
        state.started
    }

    /// Runs jobs until the thread is abandoned or the worker is dropped.
    fn work(&self, number: u64) {
        let access = Access::publish(self.host.stuck());
        let mut reader = Reader::new(&self.host).counting(&self.reads);
        if self.recording {
            reader = reader.recording();
        }
        let mut told = false;
        let mut state = lock(&self.state);
        while state.thread == number && !state.closed {
            let Some(job) = state.todo.pop_front() else {
                state = if std::mem::replace(&mut told, true) {
                    wait(&self.work, state)
                } else {
                    drop(state);
                    self.done.notify_one();
                    lock(&self.state)
                };
                continue;
            };
            told = false;
            let now = Instant::now();
            let limit = now + state.deadline.saturating_duration_since(now) / 2;
            reader.begin(state.cycle, limit);
            state.current = Some(Current { job: Arc::clone(&job), limit, access: Arc::clone(&access) });
            drop(state);
            job.run(&mut reader);
            state = lock(&self.state);
            if state.thread == number {
                state.current = None;
                continue;
            }
            let is_this = |(left, _): &(Arc<dyn Job>, PathBuf)| Arc::ptr_eq(left, &job);
            let path = state.left_behind.iter().find(|left| is_this(left)).map(|(_, path)| path.clone());
            drop(state);
            // Log before the job can be seen running again.
            self.host.stuck().remove(&path.unwrap_or_default(), &job.name());
            lock(&self.state).left_behind.retain(|left| !is_this(left));
            return;
        }
    }
}

fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Roots;
    use crate::host::bounded::{MOST_STUCK, access};
    use std::path::Path;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// A job that counts its runs and hangs at its path for as long as the test requires.
    struct Counting {
        name: &'static str,
        runs: AtomicU64,
        hold: Mutex<Option<Receiver<()>>>,
    }

    impl Counting {
        fn new(name: &'static str) -> Arc<Self> {
            Arc::new(Self { name, runs: AtomicU64::new(0), hold: Mutex::new(None) })
        }

        fn hang(&self) -> Sender<()> {
            let (let_go, hold) = channel();
            *lock(&self.hold) = Some(hold);
            let_go
        }

        fn runs(&self) -> u64 {
            self.runs.load(Ordering::Relaxed)
        }
    }

    impl Job for Counting {
        fn name(&self) -> String {
            self.name.to_owned()
        }

        fn run(&self, _reader: &mut Reader) {
            let _at = access(Path::new(self.name)).unwrap();
            if let Some(hold) = lock(&self.hold).take() {
                let _ended = hold.recv();
            }
            self.runs.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn worker(deadline: Duration) -> Worker {
        let mut host = Host::new(&Roots { root: Some("/no/such/host".into()), ..Roots::default() });
        host.deadline = deadline;
        Worker::new(&host, false)
    }

    fn list(jobs: &[&Arc<Counting>]) -> Vec<Arc<dyn Job>> {
        jobs.iter().map(|job| Arc::clone(*job) as Arc<dyn Job>).collect()
    }

    #[test]
    fn a_job_that_hangs_costs_itself_and_returns_when_it_can() {
        let worker = worker(Duration::from_secs(2));
        let (a, b, c) = (Counting::new("/a"), Counting::new("/b"), Counting::new("/c"));
        let jobs = list(&[&a, &b, &c]);
        worker.run(jobs.clone(), 0);
        let let_go = b.hang();
        worker.run(jobs.clone(), 1);
        assert_eq!((a.runs(), b.runs(), c.runs()), (2, 1, 2));
        assert_eq!(worker.hangs(&jobs[1]).as_deref(), Some(Path::new("/b")));
        let begun = Instant::now();
        worker.run(jobs.clone(), 2);
        assert_eq!((a.runs(), b.runs(), c.runs()), (3, 1, 3), "it is not waited for again");
        assert!(begun.elapsed() < Duration::from_secs(1));
        drop(let_go);
        while worker.hangs(&jobs[1]).is_some() {
            std::thread::yield_now();
        }
        worker.run(jobs, 3);
        assert_eq!((a.runs(), b.runs(), c.runs()), (4, 3, 4));
    }

    #[test]
    fn threads_that_hang_are_bounded_and_are_replaced_again_when_they_return() {
        let worker = worker(Duration::from_millis(20));
        let job = |number: usize| Counting::new(Box::leak(format!("/{number}").into_boxed_str()));
        let hanging: Vec<_> = (0..MOST_STUCK).map(job).collect();
        let held: Vec<_> = hanging.iter().map(|job| job.hang()).collect();
        let last = job(MOST_STUCK);
        // One collection may be late on a busy machine: each job is handed over until its thread is left behind.
        for job in &hanging {
            let job = Arc::clone(job) as Arc<dyn Job>;
            while worker.hangs(&job).is_none() {
                worker.run([Arc::clone(&job)], 1);
            }
        }
        worker.run(list(&[&last]), 2);
        assert_eq!(last.runs(), 0, "there is no thread left");
        assert!(hanging.iter().all(|job| job.runs() == 0));
        drop(held);
        while last.runs() == 0 {
            worker.run(list(&[&last]), 3);
        }
    }

    #[test]
    fn several_that_hang_leave_time_for_those_after_them() {
        let worker = worker(Duration::from_secs(2));
        let jobs: Vec<_> = ["/a", "/b", "/c", "/d"].map(Counting::new).into();
        let held: Vec<_> = jobs.iter().take(3).map(|job| job.hang()).collect();
        worker.run(list(&jobs.iter().collect::<Vec<_>>()), 0);
        assert_eq!(jobs.iter().map(|job| job.runs()).collect::<Vec<_>>(), [0, 0, 0, 1]);
        drop(held);
    }
}
