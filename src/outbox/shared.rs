//! State shared by the threads of delivery: the queue behind one lock, and the signals between the threads.
//!
//! The lock is held only to move a few entries, never during reads, writes or sends. The worker and a shutdown wait on
//! the condition variable; the sender, on the runtime's thread, waits for a notification.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use super::account::{Snapshot, Tally};
use super::moment::Moment;
use super::queue::Queue;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Directory {
    /// Not configured, or released after the worker saved the remaining batches.
    None,
    /// Not open yet, or currently unusable; retried.
    Unusable,
    Open,
}

/// Phase of delivery. Phases only advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Running,
    /// No more batches are pushed.
    Closing,
    /// No more batches are sent; the worker saves the rest.
    Saving,
    /// The last log line is written.
    Ended,
}

pub(super) struct State {
    pub queue: Queue,
    pub directory: Directory,
    pub phase: Phase,
    /// Start of the current disk operation.
    pub busy: Option<Instant>,
    /// The reason of the last failed request.
    pub failure: Option<String>,
}

pub(super) struct Shared {
    state: Mutex<State>,
    /// Wakes the worker, and a shutdown that waits for the end.
    pub changed: Condvar,
    pub wake: Notify,
    /// Start of the shutdown: the stop signal or the call of `shutdown`, whichever came first.
    stopped: watch::Sender<Option<Instant>>,
}

impl Shared {
    pub fn new(queue: Queue) -> Arc<Self> {
        let directory = if queue.on_disk() { Directory::Unusable } else { Directory::None };
        let state = Mutex::new(State { queue, directory, phase: Phase::Running, busy: None, failure: None });
        Arc::new(Self { state, changed: Condvar::new(), wake: Notify::new(), stopped: watch::Sender::new(None) })
    }

    /// Starts the shutdown when `stop` becomes true.
    pub fn watch_stop(self: &Arc<Self>, mut stop: watch::Receiver<bool>, runtime: &Handle) {
        let shared = self.clone();
        runtime.spawn(async move {
            if stop.wait_for(|stop| *stop).await.is_ok() {
                shared.begin_end();
            }
        });
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn snapshot(&self) -> Snapshot {
        self.lock().queue.snapshot(&Moment::now())
    }

    fn begin_end(&self) {
        self.stopped.send_if_modified(|stopped| {
            let first = stopped.is_none();
            stopped.get_or_insert_with(Instant::now);
            first
        });
    }

    /// Time since shutdown began; `None` before it.
    pub fn since_stop(&self) -> Option<Duration> {
        self.stopped.borrow().map(|at| at.elapsed())
    }

    /// Completes once shutdown has begun.
    pub async fn stop_signal(&self) {
        let _ = self.stopped.subscribe().wait_for(Option::is_some).await;
    }

    /// Makes the worker check for work.
    pub fn wake_worker(&self) {
        self.changed.notify_all();
    }

    /// Waits for a change that may be work for the worker, at most until the given time.
    pub fn wait<'a>(&self, state: MutexGuard<'a, State>, until: Option<Instant>) -> MutexGuard<'a, State> {
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(time) => self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0,
        }
    }

    /// Stops accepting batches and waits for the sender's last log line, for `limit` or until `most` after shutdown
    /// began, whichever is shorter. The caller's thread has its own timeout, so it returns even if nothing drives the
    /// runtime. On a timeout, the error contains the lost batches.
    pub fn close(&self, limit: Duration, most: Duration) -> Result<(), Tally> {
        self.begin_end();
        let limit = limit.min(most.saturating_sub(self.since_stop().unwrap_or_default()));
        let mut state = self.lock();
        state.phase = state.phase.max(Phase::Closing);
        self.wake.notify_one();
        self.wake_worker();
        let waited = self.changed.wait_timeout_while(state, limit, |state| state.phase < Phase::Ended);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.phase == Phase::Ended { Ok(()) } else { Err(state.queue.close()) }
    }
}
