//! What the threads of delivery share: the queue behind one lock, and the means to wake each other.
//!
//! The lock is held for as long as a few entries take to be moved, never while anything is read, written or sent. Only the
//! worker and a shutdown wait on the condition variable; the sender, on the runtime's thread, is woken by a notification.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot, watch};

use super::account::{Snapshot, Tally};
use super::moment::Moment;
use super::queue::{Item, Queue};

/// Where the directory stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Directory {
    /// None was asked for.
    None,
    /// The first try to open it is under way.
    Opening,
    /// It cannot be had now; it is tried again.
    Missing,
    /// It is open.
    Open,
}

/// Records to read, and where to put their payloads.
pub(super) type Read = (Vec<i64>, oneshot::Sender<Vec<Item>>);

pub(super) struct State {
    pub queue: Queue,
    pub directory: Directory,
    /// Records that the sender waits for.
    pub read: Option<Read>,
    /// A record that must hold what is left of its batch before the sender goes on.
    pub rewrite: Option<(i64, oneshot::Sender<()>)>,
    /// A request has been under way for so long that its batches belong on disk.
    pub urgent: bool,
    /// The operation that the disk is busy with began then.
    pub busy: Option<Instant>,
    /// No further batch comes.
    pub closing: bool,
    /// Nothing more is sent: the worker saves the rest and ends.
    pub finish: bool,
    /// There is no worker, or it has ended.
    pub worker_ended: bool,
    /// The last line is written.
    pub ended: bool,
}

pub(super) struct Shared {
    state: Mutex<State>,
    /// Something changed for the worker, or for a shutdown that waits for the end.
    pub changed: Condvar,
    /// Something changed for the sender.
    pub wake: Notify,
    stop: watch::Receiver<bool>,
    /// Turns true with a shutdown, which ends the delivery even without a stop signal.
    closing: watch::Sender<bool>,
    /// When the end began: the stop signal or the shutdown, whichever came first.
    stopped_at: Mutex<Option<Instant>>,
}

impl Shared {
    pub fn new(queue: Queue, on_disk: bool, stop: watch::Receiver<bool>) -> Arc<Self> {
        let directory = if on_disk { Directory::Opening } else { Directory::None };
        let state = State {
            queue,
            directory,
            read: None,
            rewrite: None,
            urgent: false,
            busy: None,
            closing: false,
            finish: false,
            worker_ended: true,
            ended: false,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            wake: Notify::new(),
            stop,
            closing: watch::Sender::new(false),
            stopped_at: Mutex::new(None),
        })
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn snapshot(&self) -> Snapshot {
        self.lock().queue.snapshot(&Moment::now())
    }

    /// Whether the process ends.
    pub fn stopping(&self) -> bool {
        let stopping = *self.stop.borrow() || self.lock().closing;
        if stopping {
            self.since_stop();
        }
        stopping
    }

    /// How long the end has taken so far. The first call starts the clock.
    pub fn since_stop(&self) -> Duration {
        let mut at = self.stopped_at.lock().unwrap_or_else(PoisonError::into_inner);
        at.get_or_insert_with(Instant::now).elapsed()
    }

    /// Ready once the stop signal has come, or a shutdown.
    pub async fn stop_signal(&self) {
        let (mut stop, mut closing) = (self.stop.clone(), self.closing.subscribe());
        let signal = async {
            if stop.wait_for(|stop| *stop).await.is_err() {
                // Nobody is left who could send it.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = signal => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
        self.since_stop();
    }

    /// Lets the worker look for something to do.
    pub fn wake_worker(&self) {
        self.changed.notify_all();
    }

    /// No further batch comes: waits until the sender has written its last line, at most `limit`. The caller's thread waits
    /// on its own clock, so that it ends even if nobody drives the runtime. The batches that are lost then.
    pub fn close(&self, limit: Duration) -> Result<(), Tally> {
        self.since_stop();
        self.lock().closing = true;
        self.closing.send_replace(true);
        self.wake.notify_one();
        self.wake_worker();
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, limit, |state| !state.ended);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.ended { Ok(()) } else { Err(state.queue.close()) }
    }
}
