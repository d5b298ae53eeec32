//! What the self-metrics say about delivery. Reading never waits for a disk or a server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{DropCounts, Moment, Store};

/// Delivery at one moment. Totals count from the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Batches the server took.
    pub exported_batches: u64,
    /// Data points the server took.
    pub exported_points: u64,
    /// Of the batches: those that had waited in the outbox.
    pub replayed_batches: u64,
    /// Data points that the server turned down inside requests that it took (partial success).
    pub rejected_points: u64,
    /// Sends that failed, live ones and those from the outbox, retries included.
    pub failed_sends: u64,
    /// Batches that wait.
    pub outbox_batches: u64,
    /// Data points in them.
    pub outbox_points: u64,
    /// Bytes that they take.
    pub outbox_bytes: u64,
    /// How long the oldest of them has waited.
    pub outbox_oldest: Option<Duration>,
    /// What was lost, by reason.
    pub dropped: DropCounts,
    /// Batches that were still waiting, and not on disk, when delivery ended.
    pub lost_at_end: u64,
    /// When the server last took something.
    pub last_success: Option<SystemTime>,
}

impl Snapshot {
    /// Whether anything was lost, or turned down by the server, since `start`: opening the outbox may have found losses
    /// of earlier runs.
    #[must_use]
    pub fn lost_since(&self, start: &Self) -> bool {
        let dropped = self.dropped.total().batches > start.dropped.total().batches;
        self.rejected_points + self.lost_at_end > 0 || dropped
    }
}

#[derive(Default)]
pub(crate) struct Stats {
    exported_batches: AtomicU64,
    exported_points: AtomicU64,
    replayed_batches: AtomicU64,
    rejected_points: AtomicU64,
    failed_sends: AtomicU64,
    lost_at_end: AtomicU64,
    /// Milliseconds since 1970; 0: never.
    last_success: AtomicU64,
    /// The store as it was after its last change: the store's own lock may be held for as long as a disk takes.
    store: Mutex<Mirror>,
}

#[derive(Clone, Copy, Default)]
struct Mirror {
    batches: u64,
    points: u64,
    bytes: u64,
    /// When the oldest batch was pushed, on the clock since boot.
    oldest_born: Option<Duration>,
    dropped: DropCounts,
}

impl Stats {
    pub fn delivered(&self, batches: u64, points: u64, rejected: u64, replayed: bool) {
        self.exported_batches.fetch_add(batches, Ordering::Relaxed);
        self.exported_points.fetch_add(points.saturating_sub(rejected), Ordering::Relaxed);
        self.rejected_points.fetch_add(rejected, Ordering::Relaxed);
        if replayed {
            self.replayed_batches.fetch_add(batches, Ordering::Relaxed);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_success.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn failed(&self) {
        self.failed_sends.fetch_add(1, Ordering::Relaxed);
    }

    pub fn ended(&self, lost: u64) {
        self.lost_at_end.store(lost, Ordering::Relaxed);
    }

    pub fn store_changed(&self, store: &dyn Store) {
        let now = Moment::now();
        let mirror = Mirror {
            batches: store.len() as u64,
            points: store.points(),
            bytes: store.bytes(),
            oldest_born: store.oldest(now).map(|age| now.up.saturating_sub(age)),
            dropped: store.dropped(),
        };
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = mirror;
    }

    /// Whether the store was empty after its last change. Only the exporter adds to it, so for the exporter "empty" is
    /// never out of date.
    pub fn store_is_empty(&self) -> bool {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).batches == 0
    }

    pub fn snapshot(&self) -> Snapshot {
        let mirror = *self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let last = self.last_success.load(Ordering::Relaxed);
        Snapshot {
            exported_batches: self.exported_batches.load(Ordering::Relaxed),
            exported_points: self.exported_points.load(Ordering::Relaxed),
            replayed_batches: self.replayed_batches.load(Ordering::Relaxed),
            rejected_points: self.rejected_points.load(Ordering::Relaxed),
            failed_sends: self.failed_sends.load(Ordering::Relaxed),
            outbox_batches: mirror.batches,
            outbox_points: mirror.points,
            outbox_bytes: mirror.bytes,
            outbox_oldest: mirror.oldest_born.map(|born| Moment::now().up.saturating_sub(born)),
            dropped: mirror.dropped,
            lost_at_end: self.lost_at_end.load(Ordering::Relaxed),
            last_success: (last > 0).then(|| UNIX_EPOCH + Duration::from_millis(last)),
        }
    }
}
