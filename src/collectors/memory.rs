//! Memory, from `/proc/meminfo` (Documentation/filesystems/proc.rst), whose kB are 1024 bytes.
//!
//! `used` is MemTotal − MemAvailable, as the convention has it: it overlaps `cached` and `buffers`, so the states do not
//! add up to the limit. Kernels before 3.14 lack MemAvailable; there `used` is total − free − buffers − cached. Where more is
//! available than there is, as in containers that see a part of the host's numbers, free memory counts as available.

use super::node_exporter::keys::Keys;
use super::{Collector, Context, Definition, Observer};
use crate::host::{Reader, Source};
use crate::metrics::naming::Detail::{Basic, Detailed};
use crate::metrics::naming::Kind::{Gauge, UpDownCounter};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, Attributes, Metric, Names, Naming, word};
use crate::metrics::parse::{fields, lines, next_number, number};

/// The collector's entry in the list.
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
/// States of hostmetrics alone; the conventions have a metric of their own for the slab.
const SLAB_RECLAIMABLE: Names = Names("", "slab_reclaimable");
const SLAB_UNRECLAIMABLE: Names = Names("", "slab_unreclaimable");

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
    Metric::new("Committed_AS", UpDownCounter, Int, "Memory that all programs were promised",
        "/proc/meminfo, Committed_AS")
        .semconv("system.memory.linux.committed", "By", Detailed, &[]),
    Metric::new("CommitLimit", UpDownCounter, Int, "Memory that may be promised where vm.overcommit_memory is 2",
        "/proc/meminfo, CommitLimit")
        .semconv("system.memory.linux.commit_limit", "By", Detailed, &[]),
    Metric::new("Writeback", UpDownCounter, Int, "Memory that is being written to disk", "/proc/meminfo, Writeback")
        .semconv("system.memory.linux.writeback", "By", Detailed, &[]),
    Metric::new("Mapped", UpDownCounter, Int, "Files that are mapped into programs", "/proc/meminfo, Mapped")
        .semconv("system.memory.linux.mapped", "By", Detailed, &[]),
    Metric::new("AnonPages", UpDownCounter, Int, "Memory of programs that no file backs", "/proc/meminfo, AnonPages")
        .semconv("system.memory.linux.anonymous", "By", Detailed, &[]),
    Metric::new("Active", UpDownCounter, Int, "Memory used lately, which is reclaimed last", "/proc/meminfo, Active")
        .semconv("system.memory.linux.active", "By", Detailed, &[]),
    Metric::new("Inactive", UpDownCounter, Int, "Memory not used lately, which is reclaimed first",
        "/proc/meminfo, Inactive")
        .semconv("system.memory.linux.inactive", "By", Detailed, &[]),
    Metric::new("Unevictable", UpDownCounter, Int, "Memory that cannot be reclaimed", "/proc/meminfo, Unevictable")
        .since("2.6.28").semconv("system.memory.linux.unevictable", "By", Detailed, &[]),
    Metric::new("Mlocked", UpDownCounter, Int, "Memory that programs locked", "/proc/meminfo, Mlocked").since("2.6.28")
        .semconv("system.memory.linux.locked", "By", Detailed, &[]),
    Metric::new("PageTables", UpDownCounter, Int, "Page tables of programs", "/proc/meminfo, PageTables")
        .semconv("system.memory.linux.page_tables", "By", Detailed, &[]),
    Metric::new("KernelStack", UpDownCounter, Int, "Stacks of the kernel for the threads", "/proc/meminfo, KernelStack")
        .semconv("system.memory.linux.kernel_stack", "By", Detailed, &[]),
    Metric::new("Percpu", UpDownCounter, Int, "Per-CPU areas of the kernel", "/proc/meminfo, Percpu").since("4.19")
        .semconv("system.memory.linux.per_cpu", "By", Detailed, &[]),
    Metric::new("VmallocUsed", UpDownCounter, Int, "Memory that the kernel allocated with vmalloc",
        "/proc/meminfo, VmallocUsed")
        .semconv("system.memory.linux.vmalloc", "By", Detailed, &[]),
    Metric::new("SwapCached", UpDownCounter, Int, "Memory that was swapped in and is still in swap as well",
        "/proc/meminfo, SwapCached")
        .semconv("system.memory.linux.swap_cached", "By", Detailed, &[]),
    Metric::new("AnonHugePages", UpDownCounter, Int, "Transparent huge pages of programs",
        "/proc/meminfo, AnonHugePages").since("2.6.38")
        .semconv("system.memory.linux.anonymous_hugepages", "By", Detailed, &[]),
    Metric::new("HardwareCorrupted", UpDownCounter, Int,
        "Memory that the kernel took out of use since the hardware reported it as bad",
        "/proc/meminfo, HardwareCorrupted").since("2.6.32")
        .semconv("system.memory.linux.corrupted", "By", Detailed, &[]),
    Metric::new("page_size", Gauge, Int, "Bytes a page", "sysconf(_SC_PAGESIZE)")
        .hostmetrics("system.memory.page_size", "By", Detailed, &[]),
    Metric::new("hugepages.limit", UpDownCounter, Int, "Huge pages in the pool", "/proc/meminfo, HugePages_Total")
        .both("system.memory.linux.hugepages.limit", "{page}", Detailed, &[]),
    Metric::new("hugepages.page_size", UpDownCounter, Int, "Bytes a huge page", "/proc/meminfo, Hugepagesize")
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

/// A line of the file that node_exporter has as a metric of its own.
const fn line(name: &'static str, metric: &'static str) -> Metric {
    Metric::node(name, Gauge, Int, metric, &[], "The line of this name; sizes in bytes", "/proc/meminfo")
}

/// Bytes of a `kB` in `/proc/meminfo`.
const KB_BYTES: u64 = 1024;

/// The values of one reading, sizes in bytes, huge pages in pages; `None` is a line that the kernel lacks.
#[derive(Debug, Default, PartialEq, Eq)]
struct Meminfo {
    total: Option<u64>,
    free: Option<u64>,
    available: Option<u64>,
    buffers: Option<u64>,
    cached: Option<u64>,
    shared: Option<u64>,
    dirty: Option<u64>,
    slab_reclaimable: Option<u64>,
    slab_unreclaimable: Option<u64>,
    huge_total: Option<u64>,
    huge_free: Option<u64>,
    huge_reserved: Option<u64>,
    huge_surplus: Option<u64>,
    huge_page: Option<u64>,
}

impl Meminfo {
    fn parse(bytes: &[u8]) -> Self {
        let mut info = Self::default();
        for line in lines(bytes) {
            let mut fields = fields(line);
            let Some(name) = fields.next().and_then(|field| field.strip_suffix(b":")) else { continue };
            let (slot, unit) = match name {
                b"MemTotal" => (&mut info.total, KB_BYTES),
                b"MemFree" => (&mut info.free, KB_BYTES),
                b"MemAvailable" => (&mut info.available, KB_BYTES),
                b"Buffers" => (&mut info.buffers, KB_BYTES),
                b"Cached" => (&mut info.cached, KB_BYTES),
                b"Shmem" => (&mut info.shared, KB_BYTES),
                b"Dirty" => (&mut info.dirty, KB_BYTES),
                b"SReclaimable" => (&mut info.slab_reclaimable, KB_BYTES),
                b"SUnreclaim" => (&mut info.slab_unreclaimable, KB_BYTES),
                b"Hugepagesize" => (&mut info.huge_page, KB_BYTES),
                b"HugePages_Total" => (&mut info.huge_total, 1),
                b"HugePages_Free" => (&mut info.huge_free, 1),
                b"HugePages_Rsvd" => (&mut info.huge_reserved, 1),
                b"HugePages_Surp" => (&mut info.huge_surplus, 1),
                _ => continue,
            };
            // The first line of a name counts; a second one can only be damage.
            if slot.is_none() {
                *slot = next_number(&mut fields).and_then(|n| n.checked_mul(unit));
            }
        }
        info
    }

    /// What new programs could get. More than there is cannot be: a container has its own total and sees the host's rest.
    /// There, as in procps, it is what is free.
    fn available(&self) -> Option<u64> {
        let possible = |amount: &u64| self.total.is_none_or(|total| *amount <= total);
        let available = self.available?;
        Some(available).filter(possible).or(self.free.filter(possible))
    }

    /// Total less available. Kernels before 3.14 lack MemAvailable: total less what is free or caches files. A container may
    /// lack Buffers and Cached.
    fn used(&self) -> Option<u64> {
        let total = self.total?;
        if self.available.is_some() {
            return Some(total - self.available()?);
        }
        let unused_pages = total.checked_sub(self.free?)?;
        let caches = self.buffers.unwrap_or(0).saturating_add(self.cached.unwrap_or(0));
        // As procps: caches of the host that are more than the container has are not its own.
        Some(unused_pages.checked_sub(caches).unwrap_or(unused_pages))
    }

    fn huge_used(&self) -> Option<u64> {
        Some(self.huge_total?.saturating_sub(self.huge_free?))
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
    /// The lines that are a metric each: every line for node_exporter's naming, which needs nothing else, and the rest of
    /// them in detail.
    lines: Option<Keys>,
}

/// The lines that are a metric each in detail. The ids of the other metrics are not names of lines.
fn rest() -> Vec<&'static str> {
    let is_line =
        |metric: &&Metric| metric.id.starts_with(|c: char| c.is_ascii_uppercase()) && metric.semconv.is_some();
    METRICS.iter().filter(is_line).map(|metric| metric.id).collect()
}

/// Takes the value of every line that is a metric.
fn take_lines(bytes: &[u8], keys: &mut Keys) {
    keys.clear();
    for line in lines(bytes) {
        let mut fields = fields(line);
        let Some(name) = fields.next().and_then(|field| field.strip_suffix(b":")) else { continue };
        let value = next_number(&mut fields);
        let unit = if fields.next() == Some(b"kB") { KB_BYTES } else { 1 };
        keys.set(name, value.and_then(|value| value.checked_mul(unit)));
    }
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
            info: Meminfo::default(),
            states: [USED, FREE, CACHED, BUFFERS, SLAB_RECLAIMABLE, SLAB_UNRECLAIMABLE]
                .map(|state| word(naming, &STATE, state)),
            slab: [RECLAIMABLE, UNRECLAIMABLE].map(|state| word(naming, &SLAB_STATE, state)),
            hugepages: [USED, FREE].map(|state| word(naming, &HUGEPAGES_STATE, state)),
            lines: match (naming, context.options.detail) {
                (Naming::NodeExporter, _) => Some(Keys::new(METRICS)),
                (Naming::Semconv, Detailed) => Some(Keys::of(rest())),
                _ => None,
            },
        }
    }

    /// Bytes in each state, in the order of `states`. hostmetrics has the reclaimable slab inside `cached` too.
    fn states(&self) -> [Option<u64>; 6] {
        let info = &self.info;
        let states = match self.naming {
            Naming::Semconv => [info.used(), info.free, info.cached, info.buffers, None, None],
            Naming::Hostmetrics | Naming::NodeExporter => {
                let cached = info.cached.map(|cached| cached.saturating_add(info.slab_reclaimable.unwrap_or(0)));
                [info.used(), info.free, cached, info.buffers, info.slab_reclaimable, info.slab_unreclaimable]
            }
        };
        states.map(|state| part(state, info.total))
    }

    fn huge_states(&self) -> [Option<u64>; 2] {
        [self.info.huge_used(), self.info.huge_free].map(|state| part(state, self.info.huge_total))
    }
}

impl Collector for Memory {
    fn read(&mut self, reader: &mut Reader) {
        let bytes = reader.read(&mut self.source).unwrap_or_default();
        self.lines.iter_mut().for_each(|keys| take_lines(bytes, keys));
        if self.naming != Naming::NodeExporter {
            self.info = Meminfo::parse(bytes);
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        let info = &self.info;
        match metric.id {
            "usage" => each(out, &self.states, &self.states()),
            "utilization" => each_share(out, &self.states, &self.states(), info.total),
            "limit" => one(out, info.total),
            "available" => one(out, info.available()),
            "shared" => one(out, info.shared),
            "slab" => each(out, &self.slab, &[info.slab_reclaimable, info.slab_unreclaimable]),
            "dirty" => one(out, info.dirty),
            "page_size" => one(out, Some(self.page_bytes)),
            "hugepages.limit" => one(out, info.huge_total),
            "hugepages.page_size" => one(out, info.huge_page),
            "hugepages.reserved" => one(out, info.huge_reserved),
            "hugepages.surplus" => one(out, info.huge_surplus),
            "hugepages.usage" => each(out, &self.hugepages, &self.huge_states()),
            "hugepages.utilization" => each_share(out, &self.hugepages, &self.huge_states(), info.huge_total),
            name => self.lines.iter().for_each(|keys| keys.observe(name, out)),
        }
    }
}

/// A part of a whole; a value above the whole cannot be one, and is left out.
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

/// A share of nothing is not a number, and is not sent.
fn each_share(out: &mut Observer<'_>, series: &[Attributes], values: &[Option<u64>], whole: Option<u64>) {
    for (attributes, value) in series.iter().zip(values) {
        if let (Some(value), Some(whole)) = (value, whole) {
            #[allow(clippy::cast_precision_loss)] // a ratio
            out.float(*value as f64 / whole as f64, attributes);
        }
    }
}

/// `MemTotal:  1234 kB`.
fn is_value(line: &[u8]) -> bool {
    let mut fields = fields(line);
    fields.next().is_some_and(|name| name.ends_with(b":")) && fields.next().and_then(number).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_is_total_less_available() {
        let info = Meminfo::parse(
            b"MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 700 kB\nBuffers: 50 kB\nCached: 500 kB\n",
        );
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
        let info = Meminfo::parse(b"MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 500 kB\n");
        assert_eq!(info.used(), Some(350 * 1024));
        assert_eq!(info.available, None);
    }

    #[test]
    fn more_available_than_there_is_falls_back_to_what_is_free() {
        let info = Meminfo::parse(b"MemTotal: 1000 kB\nMemFree: 400 kB\nMemAvailable: 7000 kB\nCached: 300 kB\n");
        assert_eq!((info.available(), info.used()), (Some(400 * 1024), Some(600 * 1024)));
        let info = Meminfo::parse(b"MemTotal: 10 kB\nMemFree: 500 kB\nMemAvailable: 700 kB\n");
        assert_eq!((info.available(), info.used()), (None, None), "neither can be");
    }

    #[test]
    fn without_buffers_or_cached_there_is_still_a_used() {
        let used = |text: &[u8]| Meminfo::parse(text).used();
        assert_eq!(used(b"MemTotal: 1000 kB\nMemFree: 100 kB\n"), Some(900 * 1024));
        assert_eq!(used(b"MemTotal: 1000 kB\nMemFree: 100 kB\nCached: 200 kB\n"), Some(700 * 1024));
        assert_eq!(used(b"MemTotal: 1000 kB\nMemFree: 100 kB\nCached: 2000 kB\n"), Some(900 * 1024), "not its caches");
        assert_eq!(used(b"MemTotal: 1000 kB\nMemFree: 1001 kB\n"), None);
    }

    #[test]
    fn node_exporter_has_every_line_in_bytes() {
        let mut lines = Keys::new(METRICS);
        take_lines(
            b"MemTotal: 10 kB\nActive(anon): 2 kB\nHugePages_Total: 4\nNew: 5 kB\nZswap: x kB\nMemTotal: 11 kB\n",
            &mut lines,
        );
        let values = ["MemTotal", "Active(anon)", "HugePages_Total", "New", "Zswap"].map(|name| lines.get(name));
        assert_eq!(values, [Some(10_240), Some(2_048), Some(4), None, None]);
        take_lines(b"", &mut lines);
        assert_eq!(lines.get("MemTotal"), None);
    }

    #[test]
    fn an_odd_line_costs_that_line() {
        let info = Meminfo::parse(b"MemTotal: x kB\nMemFree 5 kB\n\xff\xfe: 1 kB\nMemAvailable: 18446744073709551615 kB\nCached: 7 kB\nCached: 9 kB\nHugePages_Total:       4");
        assert_eq!(info, Meminfo { cached: Some(7 * 1024), huge_total: Some(4), ..Meminfo::default() });
    }
}
