//! Memory, from `/proc/meminfo` (Documentation/filesystems/proc.rst), where a kB is 1024 bytes.
//!
//! `used` is MemTotal − MemAvailable, as in the conventions. It overlaps `cached` and `buffers`, so the states do not
//! sum to the limit. Kernels before 3.14 lack MemAvailable; `used` is then total − free − buffers − cached. If more
//! memory is available than exists, as in containers that see some of the host's numbers, free memory counts as
//! available.

use super::node_exporter::keys::Keys;
use super::{Collector, Context, Definition, Observer};
use crate::host::{Reader, Source};
use crate::metrics::naming::Detail::{Basic, Detailed};
use crate::metrics::naming::Kind::{Gauge, UpDownCounter};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, Attributes, Detail, Metric, Names, Naming, word};
use crate::metrics::parse::{fields, lines, next_number, number};

pub const DEFINITION: Definition =
    Definition { name: "memory", metrics: METRICS, new: |context| Box::new(Memory::new(context)) };

const STATE: Attribute = Attribute {
    key: Names("system.memory.state", "state"),
    values: &[USED, FREE, CACHED, BUFFERS, SLAB_RECLAIMABLE, SLAB_UNRECLAIMABLE],
};
const SLAB_STATE: Attribute =
    Attribute { key: Names::both("system.memory.linux.slab.state"), values: &[RECLAIMABLE, UNRECLAIMABLE] };
const HUGEPAGES_STATE: Attribute =
    Attribute { key: Names::both("system.memory.linux.hugepages.state"), values: &[USED, FREE] };

const USED: Names = Names::both("used");
const FREE: Names = Names::both("free");
const CACHED: Names = Names::both("cached");
const BUFFERS: Names = Names("buffers", "buffered");
const RECLAIMABLE: Names = Names::both("reclaimable");
const UNRECLAIMABLE: Names = Names::both("unreclaimable");
/// States that only hostmetrics has; in the conventions the slab is a separate metric.
const SLAB_RECLAIMABLE: Names = Names("", "slab_reclaimable");
const SLAB_UNRECLAIMABLE: Names = Names("", "slab_unreclaimable");

/// A line of the file that is a separate detailed metric: line name, metric name, first kernel version and description.
macro_rules! detailed {
    ($line:literal, $name:literal, $since:literal, $about:literal) => {
        Metric::new($line, UpDownCounter, Int, $about, concat!("/proc/meminfo, ", $line)).since($since).semconv(
            concat!("system.memory.linux.", $name),
            "By",
            Detailed,
            &[],
        )
    };
}

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("usage", UpDownCounter, Int,
        "Memory in each state; used is MemTotal - MemAvailable and overlaps cached and buffers",
        "/proc/meminfo, MemTotal, MemAvailable, MemFree, Cached, Buffers")
        .both("system.memory.usage", "By", Basic, &[&STATE]),
    Metric::new("limit", UpDownCounter, Int, "Memory the kernel manages", "/proc/meminfo, MemTotal")
        .semconv("system.memory.limit", "By", Basic, &[])
        .hostmetrics("system.memory.limit", "By", Detailed, &[]),
    Metric::new("utilization", Gauge, Double, "Each state's share of the limit", "/proc/meminfo")
        .semconv("system.memory.utilization", "1", Basic, &[&STATE])
        .hostmetrics("system.memory.utilization", "1", Detailed, &[&STATE]),
    Metric::new("available", UpDownCounter, Int,
        "Memory that new programs could get without swapping, as the kernel estimates it",
        "/proc/meminfo, MemAvailable").since("3.14")
        .semconv("system.memory.linux.available", "By", Basic, &[])
        .hostmetrics("system.linux.memory.available", "By", Detailed, &[]),
    Metric::new("shared", UpDownCounter, Int, "Shared memory, tmpfs included", "/proc/meminfo, Shmem").since("2.6.32")
        .both("system.memory.linux.shared", "By", Detailed, &[]),
    Metric::new("slab", UpDownCounter, Int, "The kernel's own caches", "/proc/meminfo, SReclaimable, SUnreclaim")
        .since("2.6.19").semconv("system.memory.linux.slab.usage", "By", Detailed, &[&SLAB_STATE]),
    Metric::new("dirty", UpDownCounter, Int, "Memory that waits to be written to disk", "/proc/meminfo, Dirty")
        .semconv("system.memory.linux.dirty", "By", Detailed, &[])
        .hostmetrics("system.linux.memory.dirty", "By", Detailed, &[]),
    detailed!("Committed_AS", "committed", "2.6", "Memory that all programs were promised"),
    detailed!("CommitLimit", "commit_limit", "2.6", "Memory that may be promised where vm.overcommit_memory is 2"),
    detailed!("Writeback", "writeback", "2.6", "Memory that is being written to disk"),
    detailed!("Mapped", "mapped", "2.6", "Files that are mapped into programs"),
    detailed!("AnonPages", "anonymous", "2.6", "Memory of programs that no file backs"),
    detailed!("Active", "active", "2.6", "Memory used lately, which is reclaimed last"),
    detailed!("Inactive", "inactive", "2.6", "Memory not used lately, which is reclaimed first"),
    detailed!("Unevictable", "unevictable", "2.6.28", "Memory that cannot be reclaimed"),
    detailed!("Mlocked", "locked", "2.6.28", "Memory that programs locked"),
    detailed!("PageTables", "page_tables", "2.6", "Page tables of programs"),
    detailed!("KernelStack", "kernel_stack", "2.6", "Stacks of the kernel for the threads"),
    detailed!("Percpu", "per_cpu", "4.19", "Per-CPU areas of the kernel"),
    detailed!("VmallocUsed", "vmalloc", "2.6", "Memory that the kernel allocated with vmalloc"),
    detailed!("SwapCached", "swap_cached", "2.6", "Memory that was swapped in and is still in swap as well"),
    detailed!("AnonHugePages", "anonymous_hugepages", "2.6.38", "Transparent huge pages of programs"),
    detailed!("HardwareCorrupted", "corrupted", "2.6.32",
        "Memory that the kernel took out of use since the hardware reported it as bad"),
    Metric::new("page_size", Gauge, Int, "Bytes per page", "sysconf(_SC_PAGESIZE)")
        .hostmetrics("system.memory.page_size", "By", Detailed, &[]),
    Metric::new("hugepages.limit", UpDownCounter, Int, "Huge pages in the pool", "/proc/meminfo, HugePages_Total")
        .both("system.memory.linux.hugepages.limit", "{page}", Detailed, &[]),
    Metric::new("hugepages.page_size", UpDownCounter, Int, "Bytes per huge page", "/proc/meminfo, Hugepagesize")
        .both("system.memory.linux.hugepages.page_size", "By", Detailed, &[]),
    Metric::new("hugepages.reserved", UpDownCounter, Int, "Huge pages promised and not yet used; they are free ones",
        "/proc/meminfo, HugePages_Rsvd")
        .both("system.memory.linux.hugepages.reserved", "{page}", Detailed, &[]),
    Metric::new("hugepages.surplus", UpDownCounter, Int, "Huge pages beyond the pool", "/proc/meminfo, HugePages_Surp")
        .since("2.6.24").both("system.memory.linux.hugepages.surplus", "{page}", Detailed, &[]),
    Metric::new("hugepages.usage", UpDownCounter, Int, "Huge pages in each state",
        "/proc/meminfo, HugePages_Total, HugePages_Free")
        .both("system.memory.linux.hugepages.usage", "{page}", Detailed, &[&HUGEPAGES_STATE]),
    Metric::new("hugepages.utilization", Gauge, Double, "Each state's share of the huge pages",
        "/proc/meminfo, HugePages_Total, HugePages_Free")
        .both("system.memory.linux.hugepages.utilization", "1", Detailed, &[&HUGEPAGES_STATE]),
    line("Active", "node_memory_Active_bytes"),
    line("Active(anon)", "node_memory_Active_anon_bytes"),
    line("Active(file)", "node_memory_Active_file_bytes"),
    line("AnonHugePages", "node_memory_AnonHugePages_bytes"),
    line("AnonPages", "node_memory_AnonPages_bytes"),
    line("Bounce", "node_memory_Bounce_bytes"),
    line("Buffers", "node_memory_Buffers_bytes"),
    line("Cached", "node_memory_Cached_bytes"),
    line("CmaFree", "node_memory_CmaFree_bytes"),
    line("CmaTotal", "node_memory_CmaTotal_bytes"),
    line("CommitLimit", "node_memory_CommitLimit_bytes"),
    line("Committed_AS", "node_memory_Committed_AS_bytes"),
    line("DirectMap1G", "node_memory_DirectMap1G_bytes"),
    line("DirectMap2M", "node_memory_DirectMap2M_bytes"),
    line("DirectMap4k", "node_memory_DirectMap4k_bytes"),
    line("Dirty", "node_memory_Dirty_bytes"),
    line("HardwareCorrupted", "node_memory_HardwareCorrupted_bytes"),
    line("Hugepagesize", "node_memory_Hugepagesize_bytes"),
    line("Inactive", "node_memory_Inactive_bytes"),
    line("Inactive(anon)", "node_memory_Inactive_anon_bytes"),
    line("Inactive(file)", "node_memory_Inactive_file_bytes"),
    line("KernelStack", "node_memory_KernelStack_bytes"),
    line("Mapped", "node_memory_Mapped_bytes"),
    line("MemAvailable", "node_memory_MemAvailable_bytes"),
    line("MemFree", "node_memory_MemFree_bytes"),
    line("MemTotal", "node_memory_MemTotal_bytes"),
    line("Mlocked", "node_memory_Mlocked_bytes"),
    line("NFS_Unstable", "node_memory_NFS_Unstable_bytes"),
    line("PageTables", "node_memory_PageTables_bytes"),
    line("Percpu", "node_memory_Percpu_bytes"),
    line("SReclaimable", "node_memory_SReclaimable_bytes"),
    line("SUnreclaim", "node_memory_SUnreclaim_bytes"),
    line("Shmem", "node_memory_Shmem_bytes"),
    line("ShmemHugePages", "node_memory_ShmemHugePages_bytes"),
    line("ShmemPmdMapped", "node_memory_ShmemPmdMapped_bytes"),
    line("Slab", "node_memory_Slab_bytes"),
    line("SwapCached", "node_memory_SwapCached_bytes"),
    line("SwapFree", "node_memory_SwapFree_bytes"),
    line("SwapTotal", "node_memory_SwapTotal_bytes"),
    line("Unevictable", "node_memory_Unevictable_bytes"),
    line("VmallocChunk", "node_memory_VmallocChunk_bytes"),
    line("VmallocTotal", "node_memory_VmallocTotal_bytes"),
    line("VmallocUsed", "node_memory_VmallocUsed_bytes"),
    line("Writeback", "node_memory_Writeback_bytes"),
    line("WritebackTmp", "node_memory_WritebackTmp_bytes"),
    line("Zswap", "node_memory_Zswap_bytes"),
    line("Zswapped", "node_memory_Zswapped_bytes"),
    line("HugePages_Free", "node_memory_HugePages_Free"),
    line("HugePages_Rsvd", "node_memory_HugePages_Rsvd"),
    line("HugePages_Surp", "node_memory_HugePages_Surp"),
    line("HugePages_Total", "node_memory_HugePages_Total"),
];

/// A line of the file that is a separate metric in node_exporter.
const fn line(name: &'static str, metric: &'static str) -> Metric {
    Metric::node(name, Gauge, Int, metric, &[], "The line of this name; sizes in bytes", "/proc/meminfo")
}

/// Bytes per `kB` in `/proc/meminfo`.
const KB_BYTES: u64 = 1024;

/// The lines from which computed metrics are derived.
const COMPUTED: [&str; 14] = [
    "MemTotal",
    "MemFree",
    "MemAvailable",
    "Buffers",
    "Cached",
    "Shmem",
    "Dirty",
    "SReclaimable",
    "SUnreclaim",
    "Hugepagesize",
    "HugePages_Total",
    "HugePages_Free",
    "HugePages_Rsvd",
    "HugePages_Surp",
];

/// The lines of one reading: sizes in bytes, huge pages in pages. Lines that the kernel lacks have no value.
struct Meminfo(Keys);

impl Meminfo {
    /// Selects the lines that are metrics, and, except in node_exporter's naming, those needed for computed metrics.
    fn new(naming: Naming, detail: Detail) -> Self {
        // The ids of computed metrics are not names of lines.
        let is_line =
            |metric: &&Metric| metric.semconv.is_some() && metric.id.starts_with(|c: char| c.is_ascii_uppercase());
        let lines = METRICS.iter().filter(is_line).map(|metric| metric.id);
        Self(match (naming, detail) {
            (Naming::NodeExporter, _) => Keys::new(METRICS),
            (Naming::Semconv, Detailed) => Keys::of(COMPUTED.into_iter().chain(lines).collect()),
            _ => Keys::of(COMPUTED.to_vec()),
        })
    }

    fn read(&mut self, bytes: &[u8]) {
        self.0.clear();
        for line in lines(bytes) {
            let mut fields = fields(line);
            let Some(name) = fields.next().and_then(|field| field.strip_suffix(b":")) else { continue };
            let unit = if name.starts_with(b"HugePages_") { 1 } else { KB_BYTES };
            self.0.set(name, next_number(&mut fields).and_then(|value| value.checked_mul(unit)));
        }
    }

    fn get(&self, line: &str) -> Option<u64> {
        self.0.get(line)
    }

    /// Memory available to new programs. It cannot exceed the total, but a container may see its own total and the
    /// host's available memory. In that case it is the free memory, as in procps.
    fn available(&self) -> Option<u64> {
        let possible = |amount: &u64| self.get("MemTotal").is_none_or(|total| *amount <= total);
        let available = self.get("MemAvailable")?;
        Some(available).filter(possible).or(self.get("MemFree").filter(possible))
    }

    /// Total minus available memory. Kernels before 3.14 lack MemAvailable: total minus free memory and caches. A
    /// container may lack Buffers and Cached.
    fn used(&self) -> Option<u64> {
        let total = self.get("MemTotal")?;
        if self.get("MemAvailable").is_some() {
            return Some(total - self.available()?);
        }
        let unused_pages = total.checked_sub(self.get("MemFree")?)?;
        let caches = self.get("Buffers").unwrap_or(0).saturating_add(self.get("Cached").unwrap_or(0));
        // As in procps: caches larger than total minus free belong to the host; do not subtract them.
        Some(unused_pages.checked_sub(caches).unwrap_or(unused_pages))
    }

    fn huge_used(&self) -> Option<u64> {
        Some(self.get("HugePages_Total")?.saturating_sub(self.get("HugePages_Free")?))
    }
}

struct Memory {
    naming: Naming,
    page_bytes: u64,
    source: Source,
    info: Meminfo,
    states: [Attributes; 6],
    slab: [Attributes; 2],
    hugepages: [Attributes; 2],
}

impl Memory {
    fn new(context: &Context) -> Self {
        let naming = context.options.naming;
        Self {
            naming,
            page_bytes: context.host.page_bytes,
            source: Source::new(context.host.proc("meminfo"), "is this a Linux /proc?")
                .required()
                .expecting(|meminfo| lines(meminfo).any(is_value)),
            info: Meminfo::new(naming, context.options.detail),
            states: [USED, FREE, CACHED, BUFFERS, SLAB_RECLAIMABLE, SLAB_UNRECLAIMABLE]
                .map(|state| word(naming, &STATE, state)),
            slab: [RECLAIMABLE, UNRECLAIMABLE].map(|state| word(naming, &SLAB_STATE, state)),
            hugepages: [USED, FREE].map(|state| word(naming, &HUGEPAGES_STATE, state)),
        }
    }

    /// Bytes in each state, in the order of `states`. hostmetrics includes the reclaimable slab in `cached` as well.
    fn states(&self) -> [Option<u64>; 6] {
        let info = &self.info;
        let [free, cached, buffers, reclaimable, unreclaimable] =
            ["MemFree", "Cached", "Buffers", "SReclaimable", "SUnreclaim"].map(|line| info.get(line));
        let states = match self.naming {
            Naming::Semconv => [info.used(), free, cached, buffers, None, None],
            Naming::Hostmetrics | Naming::NodeExporter => {
                let cached = cached.map(|cached| cached.saturating_add(reclaimable.unwrap_or(0)));
                [info.used(), free, cached, buffers, reclaimable, unreclaimable]
            }
        };
        states.map(|state| part(state, info.get("MemTotal")))
    }

    fn huge_states(&self) -> [Option<u64>; 2] {
        let info = &self.info;
        [info.huge_used(), info.get("HugePages_Free")].map(|state| part(state, info.get("HugePages_Total")))
    }
}

impl Collector for Memory {
    fn read(&mut self, reader: &mut Reader) {
        self.info.read(reader.read(&mut self.source).unwrap_or_default());
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        let info = &self.info;
        match metric.id {
            "usage" => each(out, &self.states, &self.states()),
            "utilization" => each_share(out, &self.states, &self.states(), info.get("MemTotal")),
            "limit" => one(out, info.get("MemTotal")),
            "available" => one(out, info.available()),
            "shared" => one(out, info.get("Shmem")),
            "slab" => each(out, &self.slab, &["SReclaimable", "SUnreclaim"].map(|line| info.get(line))),
            "dirty" => one(out, info.get("Dirty")),
            "page_size" => one(out, Some(self.page_bytes)),
            "hugepages.limit" => one(out, info.get("HugePages_Total")),
            "hugepages.page_size" => one(out, info.get("Hugepagesize")),
            "hugepages.reserved" => one(out, info.get("HugePages_Rsvd")),
            "hugepages.surplus" => one(out, info.get("HugePages_Surp")),
            "hugepages.usage" => each(out, &self.hugepages, &self.huge_states()),
            "hugepages.utilization" => {
                each_share(out, &self.hugepages, &self.huge_states(), info.get("HugePages_Total"));
            }
            line => one(out, info.get(line)),
        }
    }
}

/// Returns the value unless it exceeds the whole.
fn part(value: Option<u64>, whole: Option<u64>) -> Option<u64> {
    value.filter(|value| whole.is_none_or(|whole| *value <= whole))
}

fn one(out: &mut Observer<'_>, value: Option<u64>) {
    if let Some(value) = value {
        out.int(value, &[]);
    }
}

fn each(out: &mut Observer<'_>, series: &[Attributes], values: &[Option<u64>]) {
    for (attributes, value) in series.iter().zip(values) {
        if let Some(value) = value {
            out.int(*value, attributes);
        }
    }
}

/// Reports values as shares; a division by zero gives NaN, which is not sent.
fn each_share(out: &mut Observer<'_>, series: &[Attributes], values: &[Option<u64>], whole: Option<u64>) {
    for (attributes, value) in series.iter().zip(values) {
        if let (Some(value), Some(whole)) = (value, whole) {
            #[allow(clippy::cast_precision_loss)] // a ratio
            out.float(*value as f64 / whole as f64, attributes);
        }
    }
}

/// Whether the line has the form `MemTotal:  1234 kB`.
fn is_value(line: &[u8]) -> bool {
    let mut fields = fields(line);
    fields.next().is_some_and(|name| name.ends_with(b":")) && fields.next().and_then(number).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meminfo(bytes: &[u8]) -> Meminfo {
        let mut info = Meminfo::new(Naming::Semconv, Detail::Basic);
        info.read(bytes);
        info
    }

    #[test]
    fn used_is_total_less_available() {
        let info =
            meminfo(b"MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 700 kB\nBuffers: 50 kB\nCached: 500 kB\n");
        assert_eq!(info.used(), Some(300 * 1024));
    }

    #[test]
    fn a_state_above_the_total_is_left_out() {
        assert_eq!(part(Some(7), Some(7)), Some(7));
        assert_eq!(part(Some(8), Some(7)), None);
        assert_eq!(part(Some(8), None), Some(8));
    }

    #[test]
    fn without_memavailable_used_is_what_is_not_free_buffers_or_cached() {
        let info = meminfo(b"MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 500 kB\n");
        assert_eq!(info.used(), Some(350 * 1024));
        assert_eq!(info.available(), None);
    }

    #[test]
    fn more_available_than_there_is_falls_back_to_what_is_free() {
        let info = meminfo(b"MemTotal: 1000 kB\nMemFree: 400 kB\nMemAvailable: 7000 kB\nCached: 300 kB\n");
        assert_eq!((info.available(), info.used()), (Some(400 * 1024), Some(600 * 1024)));
        let info = meminfo(b"MemTotal: 10 kB\nMemFree: 500 kB\nMemAvailable: 700 kB\n");
        assert_eq!((info.available(), info.used()), (None, None), "neither can be");
    }

    #[test]
    fn without_buffers_or_cached_there_is_still_a_used() {
        let used = |text: &[u8]| meminfo(text).used();
        assert_eq!(used(b"MemTotal: 1000 kB\nMemFree: 100 kB\n"), Some(900 * 1024));
        assert_eq!(used(b"MemTotal: 1000 kB\nMemFree: 100 kB\nCached: 200 kB\n"), Some(700 * 1024));
        assert_eq!(used(b"MemTotal: 1000 kB\nMemFree: 100 kB\nCached: 2000 kB\n"), Some(900 * 1024), "not its caches");
        assert_eq!(used(b"MemTotal: 1000 kB\nMemFree: 1001 kB\n"), None);
    }

    #[test]
    fn node_exporter_has_every_line_in_bytes() {
        let mut info = Meminfo::new(Naming::NodeExporter, Detail::Basic);
        info.read(
            b"MemTotal: 10 kB\nActive(anon): 2 kB\nHugePages_Total: 4\nNew: 5 kB\nZswap: x kB\nMemTotal: 11 kB\n",
        );
        let values = ["MemTotal", "Active(anon)", "HugePages_Total", "New", "Zswap"].map(|line| info.get(line));
        assert_eq!(values, [Some(10_240), Some(2_048), Some(4), None, None]);
        info.read(b"");
        assert_eq!(info.get("MemTotal"), None);
    }

    #[test]
    fn an_odd_line_costs_that_line() {
        let info = meminfo(b"MemTotal: x kB\nMemFree 5 kB\n\xff\xfe: 1 kB\nMemAvailable: 18446744073709551615 kB\nCached: 7 kB\nCached: 9 kB\nHugePages_Total:       4");
        let values: Vec<_> = COMPUTED.into_iter().filter_map(|line| Some((line, info.get(line)?))).collect();
        assert_eq!(values, [("Cached", 7 * 1024), ("HugePages_Total", 4)]);
    }
}
