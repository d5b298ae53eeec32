//! Metrics of the agent's process, from the real `/proc/self`, even if the host's `/proc` is elsewhere.
//!
//! These files are read on the reader's thread without a deadline. The kernel generates them from this process's own
//! counters: no device, server or other process is involved, and neither file needs the lock of the address space
//! (`fs/proc/array.c`).

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::Resource;

use crate::collectors::Observer;
use crate::host::{Source, boot_time, processes};
use crate::metrics::naming::Detail::{Basic, Detailed};
use crate::metrics::naming::Kind::{Counter, Gauge, UpDownCounter};
use crate::metrics::naming::Metric;
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::parse::{fields, next_number};

#[rustfmt::skip] // a table
pub(super) const METRICS: &[Metric] = &[
    Metric::new("cpu.time", Counter, Double,
        "CPU time that the agent used",
        "/proc/self/stat, utime, stime")
        .semconv("heka.process.cpu.time", "s", Basic, &[])
        .node_exporter("process_cpu_seconds_total", Basic, &[]),
    Metric::new("memory.usage", UpDownCounter, Int,
        "Resident memory of the agent",
        "/proc/self/statm, resident")
        .semconv("heka.process.memory.usage", "By", Basic, &[])
        .node_exporter("process_resident_memory_bytes", Basic, &[]),
    Metric::new("uptime", Gauge, Double,
        "Time since the agent started",
        "/proc/self/stat, starttime")
        .semconv("heka.process.uptime", "s", Basic, &[]),
    Metric::new("memory.virtual", UpDownCounter, Int,
        "Address space of the agent",
        "/proc/self/statm, size")
        .semconv("heka.process.memory.virtual", "By", Detailed, &[])
        .node_exporter("process_virtual_memory_bytes", Basic, &[]),
    Metric::new("threads", UpDownCounter, Int,
        "Threads of the agent",
        "/proc/self/stat, num_threads")
        .semconv("heka.process.threads", "{thread}", Detailed, &[]),
    Metric::new("file_descriptors", UpDownCounter, Int,
        "Open file descriptors of the agent",
        "/proc/self/fd")
        .semconv("heka.process.file_descriptors", "{file_descriptor}", Detailed, &[])
        .node_exporter("process_open_fds", Basic, &[]),
    Metric::node("start", Gauge, Double, "process_start_time_seconds", &[],
        "When the agent started, in seconds since 1970", "/proc/self/stat, starttime"),
    Metric::node("limit.file_descriptors", Gauge, Double, "process_max_fds", &[],
        "Most file descriptors that the agent may have open", "getrlimit, RLIMIT_NOFILE"),
    Metric::node("limit.memory", Gauge, Double, "process_virtual_memory_max_bytes", &[],
        "Most address space that the agent may have; 2^64 - 1 without a limit", "getrlimit, RLIMIT_AS"),
];

/// Fields of `/proc/self/stat`; times in clock ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    /// CPU time in user and system mode.
    cpu: u64,
    threads: u64,
    /// Start time since boot.
    started: u64,
}

impl Stat {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let stat = processes::Stat::parse(bytes)?;
        Some(Self { cpu: stat.user.checked_add(stat.system)?, threads: stat.threads.into(), started: stat.start })
    }
}

/// Parses the number of pages of address space and of resident memory.
fn parse_statm(bytes: &[u8]) -> Option<(u64, u64)> {
    let mut fields = fields(bytes);
    Some((next_number(&mut fields)?, next_number(&mut fields)?))
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    /// Since the baseline.
    cpu_seconds: Option<f64>,
    resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    threads: Option<u64>,
    descriptors: Option<u64>,
    uptime_seconds: Option<f64>,
    /// Start time in seconds since 1970.
    started: Option<f64>,
}

/// The sources, which stay open.
pub(super) struct Process {
    stat: Source,
    statm: Source,
    buffer: Vec<u8>,
    ticks_per_second: f64,
    page_bytes: u64,
    /// CPU time at registration.
    base: Option<Stat>,
    /// Start time in seconds since 1970, computed once at the first reading: later clock steps do not change it.
    started: Option<f64>,
}

impl Process {
    pub fn new() -> Self {
        let source = |name| Source::new(Path::new("/proc/self").join(name), "the agent's own metrics need /proc");
        #[allow(clippy::cast_precision_loss)] // 100 or 1000
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        let mut process = Self {
            stat: source("stat"),
            statm: source("statm"),
            buffer: Vec::new(),
            ticks_per_second,
            page_bytes: rustix::param::page_size() as u64,
            base: None,
            started: None,
        };
        process.base = process.stat.read(&mut process.buffer).and_then(Stat::parse);
        process
    }

    pub fn read(&mut self) -> Figures {
        let stat = self.stat.read(&mut self.buffer).and_then(Stat::parse);
        let pages = self.statm.read(&mut self.buffer).and_then(parse_statm);
        self.base = self.base.or(stat);
        let base = self.base;
        #[allow(clippy::cast_precision_loss)] // ticks of one process
        let seconds = |ticks: u64| ticks as f64 / self.ticks_per_second;
        let uptime = stat.map(|stat| (boot_time().as_secs_f64() - seconds(stat.started)).max(0.0));
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|now| now.as_secs_f64());
        self.started = self.started.or_else(|| Some(now()? - uptime?));
        Figures {
            cpu_seconds: stat.zip(base).map(|(stat, base)| seconds(stat.cpu.saturating_sub(base.cpu))),
            virtual_bytes: pages.map(|(size, _)| size.saturating_mul(self.page_bytes)),
            resident_bytes: pages.map(|(_, resident)| resident.saturating_mul(self.page_bytes)),
            threads: stat.map(|stat| stat.threads),
            descriptors: descriptors(),
            uptime_seconds: uptime,
            started: self.started,
        }
    }
}

/// Number of open file descriptors. Since Linux 6.2 it is the size of the directory; before, the entries are counted.
fn descriptors() -> Option<u64> {
    const DIR: &str = "/proc/self/fd";
    let size = std::fs::metadata(DIR).ok()?.len();
    if size > 0 {
        return Some(size);
    }
    // Subtract the descriptor of the listing.
    Some((std::fs::read_dir(DIR).ok()?.count() as u64).saturating_sub(1))
}

pub(super) fn report(figures: &Figures, id: &str, out: &mut Observer<'_>) {
    #[allow(clippy::cast_precision_loss)] // the limit is a round number or unlimited
    let limit = |resource| rustix::process::getrlimit(resource).current.unwrap_or(u64::MAX) as f64;
    let (whole, seconds) = match id {
        "start" => (None, figures.started),
        "limit.file_descriptors" => (None, Some(limit(Resource::Nofile))),
        "limit.memory" => (None, Some(limit(Resource::As))),
        "cpu.time" => (None, figures.cpu_seconds),
        "uptime" => (None, figures.uptime_seconds),
        "memory.usage" => (figures.resident_bytes, None),
        "memory.virtual" => (figures.virtual_bytes, None),
        "threads" => (figures.threads, None),
        "file_descriptors" => (figures.descriptors, None),
        _ => (None, None),
    };
    if let Some(whole) = whole {
        out.int(whole, &[]);
    }
    if let Some(seconds) = seconds {
        out.float(seconds, &[]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn statm_begins_with_size_and_resident_pages() {
        assert_eq!(parse_statm(b"1000 250 100 20 0 300 0\n"), Some((1000, 250)));
        assert_eq!(parse_statm(b"1000\n"), None);
    }

    #[test]
    fn this_process_has_memory_a_thread_and_descriptors() {
        let figures = Process::new().read();
        assert!(figures.resident_bytes.unwrap() > 0 && figures.virtual_bytes >= figures.resident_bytes);
        assert!(figures.threads.unwrap() > 0 && figures.descriptors.unwrap() > 0);
        assert!(figures.uptime_seconds.unwrap() < boot_time().as_secs_f64());
        assert!(figures.cpu_seconds.unwrap() >= 0.0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            Stat::parse(&bytes);
            parse_statm(&bytes);
        }
    }
}
