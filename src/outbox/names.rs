//! The names of the outbox's files: 20 digits of sequence number, so that the order of names is the order of sending.

use std::path::{Path, PathBuf};

/// The file whose lock shows that an agent owns the directory.
pub(super) const LOCK_NAME: &str = "outbox.lock";
const RECORD_SUFFIX: &str = ".batch";
const TEMPORARY_SUFFIX: &str = ".tmp";
const DIGITS: usize = 20;

/// Where a batch is.
pub(super) fn record(dir: &Path, seq: u64) -> PathBuf {
    dir.join(format!("{seq:0DIGITS$}{RECORD_SUFFIX}"))
}

/// Where a batch is while it is written.
pub(super) fn temporary(dir: &Path, seq: u64) -> PathBuf {
    dir.join(format!("{seq:0DIGITS$}{TEMPORARY_SUFFIX}"))
}

/// The meaning of a name in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Record(u64),
    Temporary,
    /// Not the outbox's; never touched.
    Foreign,
}

impl Name {
    /// Tells what a name is.
    pub fn parse(name: &str) -> Self {
        let seq = |suffix| name.strip_suffix(suffix).and_then(digits);
        match (seq(RECORD_SUFFIX), seq(TEMPORARY_SUFFIX)) {
            // Half of the range is never reached by counting; a name up there would leave no room to count on.
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
