//! Invariants of the delivered data, independent of failures during delivery.

use std::collections::BTreeMap;
use std::fs::DirEntry;
use std::path::Path;

use super::{Point, SECOND};

/// Every series has each of its points once, or twice with the same value, and they came in the order of their times.
pub fn in_order_and_once(points: &[Point]) {
    let mut known: BTreeMap<(String, u64), &Point> = BTreeMap::new();
    let mut newest: BTreeMap<String, u64> = BTreeMap::new();
    for point in points {
        if let Some(twin) = known.insert((point.series(), point.time), point) {
            assert_eq!((twin.value, twin.start), (point.value, point.start), "sent again, but not as it was");
            continue;
        }
        let last = newest.entry(point.series()).or_default();
        assert!(point.time > *last, "{} at {} came after {last}", point.series(), point.time);
        *last = point.time;
    }
}

/// No second between the first and the last of these times lacks its cycle.
pub fn no_second_is_missing<'a>(times: impl IntoIterator<Item = &'a u64>) {
    let times: Vec<_> = times.into_iter().collect();
    for pair in times.windows(2) {
        let apart = pair[1] - pair[0];
        // The last collection, at the end of the agent, comes between two ticks.
        assert!(apart < SECOND * 9 / 5, "{apart} ns without a cycle after {}", pair[0]);
    }
}

/// Batches that wait in an outbox's directory.
pub fn waiting(outbox: &Path) -> usize {
    records(outbox).count()
}

/// The files of these batches.
pub fn records(outbox: &Path) -> impl Iterator<Item = DirEntry> {
    let files = std::fs::read_dir(outbox).into_iter().flatten().flatten();
    files.filter(|file| file.path().extension().is_some_and(|extension| extension == "batch"))
}
