//! What the exporter and the drain have in common: the store, the link, the signals between them.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_sdk::metrics::Temporality;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use super::stats::Stats;
use super::status::{Status, Waiting};
use super::{Moment, Store};
use crate::export::ExportError;
use crate::export::config::OtlpConfig;
use crate::export::link::Links;
use crate::export::otlp;
use crate::export::sender::Accepted;

/// The most that the last collection and flush may take; the process ends within 5 s of the signal.
pub const STOP_MOST: Duration = Duration::from_secs(4);

/// Times and sizes that only tests have a reason to change.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// The first wait after a failure is drawn from zero to this.
    pub backoff_base: Duration,
    /// No wait is drawn from a longer range than this.
    pub backoff_cap: Duration,
    /// Whether waits are drawn at all; off only to show what a fleet would do without.
    pub backoff_jitter: bool,
    /// Batches of an earlier run wait up to this long: after a power cut a whole fleet starts at once.
    pub resume_within: Duration,
    /// Stored batches travel together up to this many bytes: well below the 4 MiB that gRPC servers accept by default.
    pub request_bytes: usize,
    /// How long a running export may still finish after the stop signal. A healthy server answers within it, and its batch
    /// is not sent twice.
    pub stop_grace: Duration,
    /// The last collection's live try after the stop signal.
    pub stop_live: Duration,
    /// From the stop signal to the end of every send.
    pub stop_budget: Duration,
    /// From the stop signal to the end of everything, the disk's last word included.
    pub stop_most: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            backoff_base: Duration::from_millis(500),
            backoff_cap: Duration::from_secs(30),
            backoff_jitter: true,
            resume_within: Duration::from_secs(2),
            request_bytes: 450_000,
            stop_grace: Duration::from_millis(200),
            stop_live: Duration::from_secs(2),
            stop_budget: Duration::from_millis(2500),
            stop_most: STOP_MOST,
        }
    }
}

/// What the exporter and the drain have in common.
pub(crate) struct Shared {
    pub links: Links,
    pub status: Status,
    pub stats: Stats,
    stop: watch::Receiver<bool>,
    /// Turns true with `shutdown`, which ends the delivery even if nobody gave a stop signal.
    pub ended: watch::Sender<bool>,
    pub stop_seen: OnceLock<Instant>,
    pub live_deadline: Duration,
    pub tuning: Tuning,
    /// What the disk may take for its last word: a call of the drain that is under way, and the last one.
    disk: Duration,
    /// A batch came into the store or can be read again, or the last one will not come any more.
    pub pushed: Arc<Notify>,
    /// A live export failed just now: the drain waits once before it tries the same server.
    pub live_failed: AtomicBool,
    /// When live exports look for partial success next, and whether the last look found one; see [`Looks`].
    looks: Mutex<Looks>,
    /// Live exports are off until the drain has delivered quickly.
    pub through_store: AtomicBool,
    /// Turns true when no further batch will come.
    pub closing: watch::Sender<bool>,
    drained: (Mutex<bool>, Condvar),
    store: Mutex<Box<dyn Store>>,
    pub runtime: Handle,
    pub temporality: Temporality,
}

impl Shared {
    pub fn new(
        config: OtlpConfig,
        mut store: Box<dyn Store>,
        runtime: Handle,
        live_deadline: Duration,
        stop: watch::Receiver<bool>,
        tuning: Tuning,
    ) -> Result<Self, ExportError> {
        let stats = Stats::default();
        stats.store_changed(&*store);
        let disk = store.patience() * 2;
        let pushed = Arc::new(Notify::new());
        let woken = pushed.clone();
        store.on_wake(Box::new(move || woken.notify_one()));
        Ok(Shared {
            status: Status::new(&config.endpoint, &store.dropped()),
            temporality: otlp::temporality(&config),
            links: Links::new(config, runtime.clone())?,
            store: Mutex::new(store),
            stats,
            runtime,
            live_deadline,
            stop,
            ended: watch::Sender::new(false),
            stop_seen: OnceLock::new(),
            disk,
            tuning,
            pushed,
            live_failed: AtomicBool::new(false),
            looks: Mutex::default(),
            through_store: AtomicBool::new(false),
            closing: watch::Sender::new(false),
            drained: (Mutex::new(false), Condvar::new()),
        })
    }

    /// The store. On disk a call may take its patience: see [`AsideStore`](super::AsideStore).
    pub fn store(&self) -> MutexGuard<'_, Box<dyn Store>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn looks(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn waiting(store: &dyn Store) -> Waiting {
        Waiting {
            batches: store.len(),
            bytes: store.bytes(),
            oldest: store.oldest(Moment::now()).unwrap_or_default(),
            dropped: store.dropped(),
        }
    }

    /// Whether the process ends; the first to see it starts the clock.
    pub fn stopping(&self) -> bool {
        let stopping = *self.stop.borrow() || *self.ended.borrow();
        if stopping {
            self.stop_seen.get_or_init(Instant::now);
        }
        stopping
    }

    /// Ready once the process ends or the exporter is shut down.
    pub async fn stopped(&self) {
        let (mut stop, mut ended) = (self.stop.clone(), self.ended.subscribe());
        let told = async {
            if stop.wait_for(|stop| *stop).await.is_err() {
                // Nobody is left who could tell.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = told => {}
            _ = ended.wait_for(|ended| *ended) => {}
        }
        self.stop_seen.get_or_init(Instant::now);
    }

    /// What is left of the time to stop in.
    pub fn budget_left(&self) -> Duration {
        match self.stop_seen.get() {
            Some(seen) => self.tuning.stop_budget.saturating_sub(seen.elapsed()),
            None => self.tuning.stop_budget,
        }
    }

    /// What is left of it for the drain, once nothing more will come: the disk's last word needs some.
    pub fn drain_left(&self) -> Duration {
        let elapsed = self.stop_seen.get().map(Instant::elapsed).unwrap_or_default();
        self.budget_left().min(self.tuning.stop_most.saturating_sub(self.disk + elapsed))
    }

    /// The drain has nothing left to do, or nothing left to try.
    pub fn report_drained(&self) {
        let (done, changed) = &self.drained;
        *done.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }

    /// Lets the drain finish. Waits on the thread's own clock: it ends in time even if nobody drives the runtime.
    pub fn close(&self, limit: Duration) {
        self.closing.send_replace(true);
        self.pushed.notify_one();
        let (done, changed) = &self.drained;
        let done = done.lock().unwrap_or_else(PoisonError::into_inner);
        drop(changed.wait_timeout_while(done, limit, |done| !*done));
    }
}

/// The library keeps a partial success to itself, and rejections are a server's standing opinion rather than chance. So
/// the first live export and one every few minutes go through our own sender, which sees the answer; while the server
/// turns points down, all of them do, and the count is exact.
#[derive(Default)]
pub(crate) struct Looks {
    next: Option<Instant>,
    rejecting: bool,
}

impl Looks {
    const EVERY: Duration = Duration::from_secs(300);

    pub fn due(&self) -> bool {
        self.rejecting || self.next.is_none_or(|next| next <= Instant::now())
    }

    pub fn looked(&mut self, accepted: &Accepted) {
        self.rejecting = accepted.rejected > 0;
        self.next = Some(Instant::now() + Self::EVERY);
    }
}
