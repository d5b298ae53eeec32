//! The one account of delivery: batches sent, waiting and lost, with the reason. Log lines, self-metrics and exit codes
//! all read it.

use std::time::{Duration, SystemTime};

/// Why a batch was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// It was the oldest when the outbox was full.
    Size,
    /// It was larger than the whole outbox.
    Oversize,
    /// It was older than the limit.
    Age,
    /// Its record on disk was damaged.
    Corrupt,
    /// The server rejected it permanently.
    Refused,
    /// The disk lost it or did not take it while memory was full, or it could not be encoded.
    Io,
}

impl DropReason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Self; 6] = [Self::Size, Self::Oversize, Self::Age, Self::Corrupt, Self::Refused, Self::Io];

    /// The reason as a metric's attribute has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Oversize => "oversize",
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
    /// These and those.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { batches: self.batches + other.batches, points: self.points + other.points }
    }

    /// These without those.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self { batches: self.batches.saturating_sub(other.batches), points: self.points.saturating_sub(other.points) }
    }
}

/// What was lost, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropCounts([Tally; DropReason::ALL.len()]);

impl DropCounts {
    /// What was lost for this reason.
    pub fn get(&self, reason: DropReason) -> Tally {
        self.0.get(reason as usize).copied().unwrap_or_default()
    }

    /// Everything that was lost.
    pub fn total(&self) -> Tally {
        self.0.iter().fold(Tally::default(), |sum, tally| sum.and(*tally))
    }

    /// Counts one lost batch.
    pub fn add(&mut self, reason: DropReason, points: u32) {
        self.add_tally(reason, Tally { batches: 1, points: points.into() });
    }

    /// Counts part of a batch or several.
    pub fn add_tally(&mut self, reason: DropReason, tally: Tally) {
        if let Some(sum) = self.0.get_mut(reason as usize) {
            *sum = sum.and(tally);
        }
    }
}

/// Delivery at one moment. Totals count from the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Batches the server took.
    pub exported_batches: u64,
    /// Data points the server took.
    pub exported_points: u64,
    /// Of the batches: those that waited while delivery failed, or came from an earlier run.
    pub replayed_batches: u64,
    /// Data points that the server turned down inside requests that it took (partial success).
    pub rejected_points: u64,
    /// Requests that failed, retries included.
    pub failed_sends: u64,
    /// Batches that wait, those on their way included.
    pub outbox_batches: u64,
    /// Data points in them.
    pub outbox_points: u64,
    /// Bytes that they take.
    pub outbox_bytes: u64,
    /// How long the oldest of them has waited.
    pub outbox_oldest: Option<Duration>,
    /// What was lost, by reason.
    pub dropped: DropCounts,
    /// Of what was lost: batches of an earlier run, found damaged when the directory was opened.
    pub found_lost: Tally,
    /// Batches that were still waiting, and not on disk, when delivery ended.
    pub lost_at_end: u64,
    /// When the server last took something.
    pub last_success: Option<SystemTime>,
}

impl Snapshot {
    /// Whether anything of this run was lost, or turned down by the server.
    #[must_use]
    pub fn lost_any(&self) -> bool {
        self.rejected_points + self.lost_at_end > 0 || self.dropped.total() != self.found_lost
    }

    /// What the server took.
    pub(super) fn taken(&self) -> Tally {
        Tally { batches: self.exported_batches, points: self.exported_points }
    }

    /// What was lost without a line of its own: refusals have one, and so has what the opening of the directory found.
    pub(super) fn silent_losses(&self) -> Tally {
        self.dropped.total().without(self.dropped.get(DropReason::Refused)).without(self.found_lost)
    }
}
