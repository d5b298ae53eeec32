//! Delivery accounting: batches sent, pending and lost, with the reason. Log lines, self-metrics and exit codes use
//! these numbers.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The outbox was full and this was its oldest batch.
    Size,
    /// The batch was larger than the whole outbox.
    Oversize,
    /// The batch exceeded the maximum age.
    Age,
    /// The record on disk was corrupt.
    Corrupt,
    /// The server rejected it permanently.
    Refused,
    /// Disk I/O failed, or the disk was unusable while the memory buffer was full.
    Io,
    /// The collection could not be encoded.
    Encoding,
}

impl DropReason {
    /// All reasons, in documentation order.
    pub const ALL: [Self; 7] =
        [Self::Size, Self::Oversize, Self::Age, Self::Corrupt, Self::Refused, Self::Io, Self::Encoding];

    /// The value of the metric attribute.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Oversize => "oversize",
            Self::Age => "age",
            Self::Corrupt => "corrupt",
            Self::Refused => "refused",
            Self::Io => "io",
            Self::Encoding => "encoding",
        }
    }
}

/// A number of batches and their data points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub batches: u64,
    /// Data points; incomplete where a corrupt record hides its count.
    pub points: u64,
}

impl Tally {
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { batches: self.batches + other.batches, points: self.points + other.points }
    }

    /// The difference, saturating at zero.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self { batches: self.batches.saturating_sub(other.batches), points: self.points.saturating_sub(other.points) }
    }
}

/// Lost batches and data points by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropCounts([Tally; DropReason::ALL.len()]);

impl DropCounts {
    pub fn get(&self, reason: DropReason) -> Tally {
        self.0.get(reason as usize).copied().unwrap_or_default()
    }

    pub fn total(&self) -> Tally {
        self.0.iter().fold(Tally::default(), |sum, tally| sum.and(*tally))
    }

    /// Counts one lost batch.
    pub fn add(&mut self, reason: DropReason, points: u32) {
        self.add_tally(reason, Tally { batches: 1, points: points.into() });
    }

    /// Counts several batches, or part of one.
    pub fn add_tally(&mut self, reason: DropReason, tally: Tally) {
        if let Some(sum) = self.0.get_mut(reason as usize) {
            *sum = sum.and(tally);
        }
    }
}

/// The state of delivery at one moment. Totals count from process start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Batches that the server accepted.
    pub exported_batches: u64,
    /// Data points that the server accepted.
    pub exported_points: u64,
    /// Accepted batches that had been queued during an outage or left by an earlier run.
    pub replayed_batches: u64,
    /// Data points that the server rejected in requests that it accepted (partial success).
    pub rejected_points: u64,
    /// Failed requests, retries included.
    pub failed_sends: u64,
    /// Undelivered batches, including those in flight.
    pub outbox_batches: u64,
    pub outbox_points: u64,
    pub outbox_bytes: u64,
    pub outbox_oldest: Option<Duration>,
    pub dropped: DropCounts,
    /// Losses that were found when the directory was opened: corrupt batches of an earlier run. Included in `dropped`.
    pub found_lost: Tally,
    /// Batches that were neither delivered nor on disk when delivery ended.
    pub lost_at_end: u64,
}

impl Snapshot {
    /// Whether any data of this run was lost or rejected by the server.
    #[must_use]
    pub fn lost_any(&self) -> bool {
        self.rejected_points + self.lost_at_end > 0 || self.dropped.total() != self.found_lost
    }

    /// Accepted batches and data points.
    pub(super) fn taken(&self) -> Tally {
        Tally { batches: self.exported_batches, points: self.exported_points }
    }

    /// Losses without a log line of their own; rejections and losses found when the directory is opened have one.
    pub(super) fn silent_losses(&self) -> Tally {
        self.dropped.total().without(self.dropped.get(DropReason::Refused)).without(self.found_lost)
    }
}
