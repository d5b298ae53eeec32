//! Collectors for metrics that have another shape in node_exporter's naming: each column of a file is a separate
//! metric, per CPU, for the devices that node_exporter selects. A definition has the name of the collector that reads
//! the same files, so that `--collectors` has the same meaning in every naming.
//!
//! A metric that node_exporter declares as untyped is a gauge here and has the kernel's number. Counters use
//! [`crate::metrics::counter`] like everywhere else.

pub mod connections;
pub mod cpu;
pub mod disk;
pub mod ecc;
pub mod identity;
pub mod kernel;
pub mod link;
pub mod network;
pub mod power;
pub mod pressure;
pub mod processes;
pub mod protocols;
pub mod queues;
pub mod raid;
pub mod sensors;
pub mod sockets;
pub mod systemd;
pub mod vmstat;

mod facts;
pub(super) mod keys;

use std::path::Path;

use super::Options;
use crate::host::{Reader, files};
use crate::metrics::counter::{Kind, Rules};
use crate::metrics::parse::number;

/// Maximum number of directory entries in sysfs.
const MOST: usize = 65_536;

/// Rarely changing files are read again after this many collections.
const REFRESH: u64 = 60;

/// Maximum number of removed devices that are remembered.
const MOST_GONE: usize = 1_024;

/// Counter rules with the configured options.
fn rules<const N: usize>(kinds: [Kind; N], options: &Options) -> Rules<N> {
    Rules::new(kinds, options.since).delta(options.delta)
}

/// The names in a directory, sorted; empty if there is none to read.
fn list(reader: &mut Reader, dir: &Path) -> Vec<String> {
    reader.list(dir).unwrap_or_default().into_iter().filter_map(|name| name.into_string().ok()).collect()
}

/// The numbers of the entries `cpuN` in a directory, sorted.
fn cpus(dir: &Path) -> Vec<u32> {
    let names = files::list(dir).unwrap_or_default();
    let mut numbers: Vec<u32> =
        names.iter().filter_map(|name| name.to_str()?.strip_prefix("cpu")?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// Parses a decimal number with an optional minus sign.
#[allow(clippy::cast_precision_loss)] // readings of sensors and batteries
fn signed(text: &[u8]) -> Option<f64> {
    match text.strip_prefix(b"-") {
        Some(magnitude) => Some(-(number(magnitude)? as f64)),
        None => Some(number(text)? as f64),
    }
}
