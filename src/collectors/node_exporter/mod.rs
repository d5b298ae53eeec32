//! Collectors that report in node_exporter's naming what the other namings report in another shape: each column of a file
//! as a metric of its own, per CPU, and with node_exporter's choice of devices. A definition here has the name of the
//! collector whose files it reads, so that `--collectors` means the same in every naming.
//!
//! Where node_exporter declares a metric untyped, it is a gauge here and passes the kernel's number on. Counters go
//! through [`crate::metrics::counter`] as everywhere.

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
use crate::host::files;
use crate::metrics::counter::{Kind, Rules};

/// The most entries of a directory of sysfs.
const MOST: usize = 65_536;

/// After so many collections, what hardly ever changes is read again.
const REFRESH: u64 = 60;

/// Counters as the options want them.
fn rules<const N: usize>(kinds: [Kind; N], options: &Options) -> Rules<N> {
    Rules::new(kinds, options.since).delta(options.delta)
}

/// The names in a directory, sorted; none where it is not there.
fn list(dir: &Path) -> Vec<String> {
    let names = files::list(dir).unwrap_or_default();
    let mut names: Vec<String> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
    names.sort_unstable();
    names
}

/// The numbers of the entries `cpuN` of a directory, in their order.
fn cpus(dir: &Path) -> Vec<u32> {
    let mut numbers: Vec<u32> = list(dir).iter().filter_map(|name| name.strip_prefix("cpu")?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}
