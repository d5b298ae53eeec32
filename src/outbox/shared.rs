//! What the threads of delivery share: the queue behind one lock, and the means to wake each other.
//!
//! The lock is held for as long as a few entries take to be moved, never while anything is read, written or sent. Only the
//! worker and a shutdown wait on the condition variable; the sender, on the runtime's thread, is woken by a notification.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use super::account::{Snapshot, Tally};
use super::moment::Moment;
use super::queue::Queue;

/// Where the directory stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Directory {
    /// There is none, or the worker has saved the rest and given it back.
    None,
    /// The first try to open it is under way.
    Opening,
    /// It cannot be used now; it is tried again.
    Failing,
    Open,
}

/// Where delivery stands. It only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Running,
    /// No further batch comes.
    Closing,
    /// Nothing more is sent: the worker saves the rest.
    Saving,
    /// The last line is written.
    Ended,
}

pub(super) struct State {
    pub queue: Queue,
    pub directory: Directory,
    pub phase: Phase,
    /// The operation that the disk is busy with began then.
    pub busy: Option<Instant>,
}

pub(super) struct Shared {
    state: Mutex<State>,
    /// Something changed for the worker, or for a shutdown that waits for the end.
    pub changed: Condvar,
    /// Something changed for the sender.
    pub wake: Notify,
    /// When the end began: with the stop signal or the shutdown, whichever came first.
    stopped: watch::Sender<Option<Instant>>,
}

impl Shared {
    pub fn new(queue: Queue) -> Arc<Self> {
        let directory = if queue.on_disk() { Directory::Opening } else { Directory::None };
        let state = Mutex::new(State { queue, directory, phase: Phase::Running, busy: None });
        Arc::new(Self { state, changed: Condvar::new(), wake: Notify::new(), stopped: watch::Sender::new(None) })
    }

    /// Takes `stop` turning true for the beginning of the end.
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

    /// How long the end has taken so far; `None` before it.
    pub fn since_stop(&self) -> Option<Duration> {
        self.stopped.borrow().map(|at| at.elapsed())
    }

    /// Ready once the end has begun.
    pub async fn stop_signal(&self) {
        let _ = self.stopped.subscribe().wait_for(Option::is_some).await;
    }

    /// Lets the worker look for something to do.
    pub fn wake_worker(&self) {
        self.changed.notify_all();
    }

    /// The worker's wait for something to do, and for a moment.
    pub fn wait<'a>(&self, state: MutexGuard<'a, State>, until: Option<Instant>) -> MutexGuard<'a, State> {
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(time) => self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0,
        }
    }

    /// No further batch comes: waits until the sender has written its last line, at most until `most` after the beginning of
    /// the end. The caller's thread waits on its own clock, so that it ends even if nobody drives the runtime. The batches
    /// that are lost then.
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
