//! The collectors: the trait that each one implements, and the list of all of them.
//!
//! A collector reads its files once per collection and then reports each of its metrics from that reading. A failure or
//! panic of a collector affects only its own metrics in that cycle.

pub mod clock;
mod connections;
pub mod containers;
pub mod cpu;
pub mod disk;
pub mod ecc;
pub mod fault;
pub mod filesystem;
mod groups;
mod held;
#[warn(missing_docs)]
pub mod host_metrics;
mod instruments;
pub mod kernel;
pub mod limit;
pub mod link;
pub mod load;
pub mod memory;
pub mod network;
mod node_exporter;
mod observer;
pub mod paging;
pub mod pressure;
pub mod process;
pub mod processes;
pub mod protocols;
pub mod raid;
#[warn(missing_docs)]
mod registration;
pub mod sensors;
pub mod services;
mod slot;
pub mod sockets;
mod survey;
pub mod system;
#[cfg(test)]
mod testing;
pub mod textfile;

pub use instruments::Discovered;
pub use observer::{Observer, Point};
#[cfg(feature = "agent")]
pub(crate) use registration::observable;
pub use registration::{
    CollectorStats, DEFAULT_MAX_SERIES, Registered, max_series, register, register_from, register_within, unread,
};
pub use survey::{Survey, survey};

use std::path::PathBuf;
use std::time::Duration;

use crate::host::{Host, Reader};
use crate::metrics::counter::Since;
use crate::metrics::filter::Filter;
use crate::metrics::naming::{Detail, Metric, Naming};

/// All collectors, in reading order. To add a collector, add a file and one entry here.
#[rustfmt::skip] // one line each
pub static COLLECTORS: &[Definition] = &[
    cpu::DEFINITION,
    memory::DEFINITION,
    paging::DEFINITION,
    disk::DEFINITION,
    filesystem::DEFINITION,
    network::DEFINITION,
    load::DEFINITION,
    processes::DEFINITION,
    system::DEFINITION,
    pressure::DEFINITION,
    kernel::DEFINITION,
    protocols::DEFINITION,
    sockets::DEFINITION,
    link::DEFINITION,
    clock::DEFINITION,
    sensors::DEFINITION,
    raid::DEFINITION,
    ecc::DEFINITION,
    containers::DEFINITION,
    process::DEFINITION,
    services::DEFINITION,
    textfile::DEFINITION,
    node_exporter::identity::DEFINITION,
    node_exporter::power::DEFINITION,
    node_exporter::queues::DEFINITION,
    node_exporter::cpu::DEFINITION,
    node_exporter::disk::DEFINITION,
    node_exporter::kernel::DEFINITION,
    node_exporter::link::DEFINITION,
    node_exporter::network::DEFINITION,
    node_exporter::pressure::DEFINITION,
    node_exporter::protocols::DEFINITION,
    node_exporter::sockets::DEFINITION,
    node_exporter::vmstat::DEFINITION,
    node_exporter::sensors::DEFINITION,
    node_exporter::raid::DEFINITION,
    node_exporter::ecc::DEFINITION,
    node_exporter::connections::DEFINITION,
    node_exporter::processes::DEFINITION,
    node_exporter::systemd::DEFINITION,
];

/// The names of the collectors, without duplicates: in node_exporter's naming, several definitions share a name.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for definition in COLLECTORS {
        if !names.contains(&definition.name) {
            names.push(definition.name);
        }
    }
    names
}

/// A collector: its name, its metrics, and its constructor.
#[derive(Debug)]
pub struct Definition {
    /// Its name for `--collectors`.
    pub name: &'static str,
    pub metrics: &'static [Metric],
    pub new: fn(&Context) -> Box<dyn Collector>,
}

/// Reads files and reports metrics from them.
pub trait Collector: Send {
    /// Reads the files, once per collection. The first call, at cycle 0, is the baseline of the counters.
    ///
    /// If a source fails, keep its last totals, so that counters are reported again and no series is missing. Clear the
    /// gauges and states of that source, because they are no longer valid.
    fn read(&mut self, reader: &mut Reader);

    /// Reports one metric from the last reading.
    fn observe(&self, metric: &Metric, out: &mut Observer<'_>);

    /// Metrics that were discovered by the last readings and are not in the collector's table. Their instruments are
    /// created after the collection.
    fn discovered(&mut self) -> Vec<Discovered> {
        Vec::new()
    }

    /// Reports one discovered metric from the last reading.
    fn observe_discovered(&self, _name: &str, _out: &mut Observer<'_>) {}
}

/// The scope of disk metrics.
#[warn(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskScope {
    /// One series per device.
    Device,
    /// One series for all physical devices.
    Total,
    /// Both. Only for an exporter that separates them: in one stream, sums would double.
    Both,
}

/// Minimum period of a utilization if several readers or scrapers collect independently.
pub const SHARED_PERIOD: Duration = Duration::from_secs(1);

/// The selection of metrics and their names.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names of the selected collectors, or `None` for all.
    pub collectors: Option<Vec<String>>,
    pub detail: Detail,
    /// Whether to report one series per CPU and mode.
    pub per_cpu: bool,
    /// Minimum period of a utilization. [`SHARED_PERIOD`] if several readers share the instruments, because their
    /// collections can be close together.
    pub utilization_period: Duration,
    pub naming: Naming,
    /// The origin of the counters.
    pub since: Since,
    /// Whether the metrics are scraped as text. A receiver of pushed metrics may rename counters.
    pub scraped: bool,
    /// Whether the reader exports deltas, so that a returning series must not report its previous total again.
    pub delta: bool,
    /// Per device or in total.
    pub disk_scope: DiskScope,
    pub disks: Filter,
    pub filesystems: Filter,
    pub interfaces: Filter,
    /// Number of processes to report by CPU time, and again by memory.
    pub top_processes: usize,
    /// Whether to report the command line of a process as an attribute.
    pub process_command_lines: bool,
    /// Selects the systemd units to report by name.
    pub services: Filter,
    /// The directory whose `*.prom` files are reported; see [`textfile`].
    pub textfile_dir: Option<PathBuf>,
    /// Maximum number of series per metric; if `None`, it depends on the host, see [`max_series`].
    pub max_series: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            collectors: None,
            detail: Detail::Basic,
            per_cpu: false,
            utilization_period: Duration::ZERO,
            naming: Naming::Semconv,
            since: Since::Start,
            scraped: false,
            delta: false,
            disk_scope: DiskScope::Device,
            disks: Filter::default(),
            filesystems: Filter::default(),
            interfaces: Filter::default(),
            top_processes: 0,
            process_command_lines: false,
            services: Filter::default(),
            textfile_dir: None,
            max_series: None,
        }
    }
}

/// The input of a collector's constructor.
#[derive(Clone, Debug)]
pub struct Context {
    pub host: Host,
    pub options: Options,
}
