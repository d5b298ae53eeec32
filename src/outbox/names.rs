//! File names of the outbox: 20 digits of sequence number, so that sorting by name gives the sending order.

use std::path::{Path, PathBuf};

/// The lock file of the agent that owns the directory.
pub(super) const LOCK_NAME: &str = "outbox.lock";
const RECORD_SUFFIX: &str = ".batch";
const TEMPORARY_SUFFIX: &str = ".tmp";
const DIGITS: usize = 20;

/// The path of a record.
pub(super) fn record(dir: &Path, seq: u64) -> PathBuf {
    dir.join(format!("{seq:0DIGITS$}{RECORD_SUFFIX}"))
}

/// The path of a record while it is being written.
pub(super) fn temporary(dir: &Path, seq: u64) -> PathBuf {
    dir.join(format!("{seq:0DIGITS$}{TEMPORARY_SUFFIX}"))
}

/// The kind of a file in the directory, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Record(u64),
    Temporary,
    /// Not created by the outbox; never touched.
    Foreign,
}

impl Name {
    pub fn parse(name: &str) -> Self {
        let seq = |suffix| name.strip_suffix(suffix).and_then(digits);
        match (seq(RECORD_SUFFIX), seq(TEMPORARY_SUFFIX)) {
            // Counting never reaches half of the range. A larger number would leave no room to count on from it.
            (Some(seq), _) if seq <= u64::MAX / 2 => Self::Record(seq),
            (_, Some(_)) => Self::Temporary,
            _ => Self::Foreign,
        }
    }
}

fn digits(stem: &str) -> Option<u64> {
    let plain = stem.len() == DIGITS && stem.bytes().all(|byte| byte.is_ascii_digit());
    if plain { stem.parse().ok() } else { None }
}
