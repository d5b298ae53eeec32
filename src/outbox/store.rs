//! What every outbox storage can do, and how it says what it lost.

use std::time::Duration;

use super::{Batch, Moment};
use crate::outbox::config::OutboxConfig;

/// A short call that neither blocks nor asks the store.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// A bounded first-in, first-out store of batches.
///
/// No method fails and none panics: an outbox that cannot keep a batch has nobody to tell but its counters. Methods may
/// block for as long as the disk takes (a push on disk waits for the disk to have it);
/// [`AsideStore`](super::AsideStore) bounds that.
pub trait Store: Send {
    /// Keeps an encoded request with its number of data points, behind everything that waits already. Makes room by
    /// dropping the oldest.
    fn push(&mut self, payload: &[u8], points: u32, now: Moment) -> PushOutcome;

    /// The oldest batches, in order: at least one if any can be read, more while their payloads together stay within
    /// `max_bytes`. They stay in the store until [`remove`](Store::remove) or [`refuse`](Store::refuse). Damaged and
    /// expired batches met on the way are dropped and counted.
    ///
    /// Empty although [`len`](Store::len) is not 0: nothing can be read just now; ask again later.
    fn peek(&mut self, max_bytes: usize, now: Moment) -> Vec<Batch>;

    /// Forgets delivered batches by their sequence numbers; unknown ones are ignored, as a push may have dropped them
    /// meanwhile. Returns how many were still there.
    fn remove(&mut self, seqs: &[u64]) -> usize;

    /// Forgets batches that the server refused for good, and counts them as [`DropReason::Refused`].
    fn refuse(&mut self, seqs: &[u64]) -> usize;

    /// Batches that wait.
    fn len(&self) -> usize;

    /// Whether nothing waits.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Data points in the waiting batches.
    fn points(&self) -> u64;

    /// Bytes that the waiting batches take, headers included.
    fn bytes(&self) -> u64;

    /// The age of the batch that is next to be sent; never negative, whatever the wall clock did.
    fn oldest(&self, now: Moment) -> Option<Duration>;

    /// What was lost since this store was opened.
    fn dropped(&self) -> DropCounts;

    /// Whether what it keeps outlives the process, as a rule.
    fn on_disk(&self) -> bool {
        false
    }

    /// What would be lost if the process ended now: for a store in memory, everything.
    fn unsaved(&self) -> Tally;

    /// The longest that one call takes, where the store bounds that.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }

    /// Leaves a call to be made, from any thread, when a store that had nothing to give out may have something again.
    fn on_wake(&mut self, _wake: Wake) {}

    /// Puts everything on disk that can be, and returns what is [`unsaved`](Store::unsaved) then.
    fn sync(&mut self, now: Moment) -> Tally;
}

/// How much a store may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes, headers included.
    pub max_bytes: u64,
    /// Oldest batch worth sending.
    pub max_age: Duration,
}

impl From<&OutboxConfig> for Limits {
    fn from(config: &OutboxConfig) -> Self {
        Self { max_bytes: config.max_bytes, max_age: config.max_age }
    }
}

/// What became of a pushed batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushOutcome {
    /// The batch's sequence number.
    pub seq: u64,
    /// Where it is.
    pub kept: Kept,
    /// Batches that this push dropped, itself included if it was not kept.
    pub dropped: u64,
}

/// Where a pushed batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// On disk: survives a crash and a power cut.
    OnDisk,
    /// In memory: by choice, or until a disk that refused it works again.
    InMemory,
    /// Nowhere; the reason is counted.
    Not(DropReason),
}

/// Why a batch was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// It was the oldest when the store was full, or larger than the whole store.
    Size,
    /// It was older than the limit.
    Age,
    /// Its record on disk was damaged.
    Corrupt,
    /// The server refused it for good.
    Refused,
    /// The disk was full, refused it or lost it, and memory could not hold it.
    Io,
}

impl DropReason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Size, Self::Age, Self::Corrupt, Self::Refused, Self::Io];

    /// The reason as a metric attribute has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Age => "age",
            Self::Corrupt => "corrupt",
            Self::Refused => "refused",
            Self::Io => "io",
        }
    }
}

/// A number of batches and of the data points inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Batches.
    pub batches: u64,
    /// Data points, as far as known: a damaged record does not tell.
    pub points: u64,
}

impl Tally {
    /// Counts one batch.
    pub fn add(&mut self, points: u32) {
        self.batches += 1;
        self.points += u64::from(points);
    }
}

/// What was lost, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropCounts {
    size: Tally,
    age: Tally,
    corrupt: Tally,
    refused: Tally,
    io: Tally,
}

impl DropCounts {
    /// What was lost for this reason.
    pub fn get(&self, reason: DropReason) -> Tally {
        match reason {
            DropReason::Size => self.size,
            DropReason::Age => self.age,
            DropReason::Corrupt => self.corrupt,
            DropReason::Refused => self.refused,
            DropReason::Io => self.io,
        }
    }

    /// Everything that was lost.
    pub fn total(&self) -> Tally {
        DropReason::ALL.iter().map(|reason| self.get(*reason)).fold(Tally::default(), |sum, tally| Tally {
            batches: sum.batches + tally.batches,
            points: sum.points + tally.points,
        })
    }

    /// These and those.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let sum = |reason| {
            let (a, b) = (self.get(reason), other.get(reason));
            Tally { batches: a.batches + b.batches, points: a.points + b.points }
        };
        Self {
            size: sum(DropReason::Size),
            age: sum(DropReason::Age),
            corrupt: sum(DropReason::Corrupt),
            refused: sum(DropReason::Refused),
            io: sum(DropReason::Io),
        }
    }

    /// Counts one lost batch.
    pub fn add(&mut self, reason: DropReason, points: u32) {
        match reason {
            DropReason::Size => self.size.add(points),
            DropReason::Age => self.age.add(points),
            DropReason::Corrupt => self.corrupt.add(points),
            DropReason::Refused => self.refused.add(points),
            DropReason::Io => self.io.add(points),
        }
    }
}
