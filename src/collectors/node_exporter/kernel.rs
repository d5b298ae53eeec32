//! Kernel counts in node_exporter's naming: `/proc/stat`, `/proc/schedstat`, `/proc/sys`.

use super::super::cpu::MOST_CPUS;
use super::super::{Collector, Context, Definition, Observer};
use super::keys::Keys;
use super::rules;
use crate::host::{Reader, Source};
use crate::metrics::counter::{Counters, Kind, Table};
use crate::metrics::naming::Kind::{Counter, Gauge};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, Attributes, Metric, label, labels};
use crate::metrics::parse::{fields, lines, next_number, number, text};

pub const DEFINITION: Definition =
    Definition { name: "kernel", metrics: METRICS, new: |context| Box::new(Kernel::new(context)) };

const CPU: Attribute = label("cpu");

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::node("intr", Counter, Int, "node_intr_total", &[], "Interrupts served", "/proc/stat, intr"),
    Metric::node("ctxt", Counter, Int, "node_context_switches_total", &[], "Context switches", "/proc/stat, ctxt"),
    Metric::node("processes", Counter, Int, "node_forks_total", &[], "Processes and threads created", "/proc/stat, processes"),
    Metric::node("procs_running", Gauge, Int, "node_procs_running", &[], "Threads that run or wait for a CPU", "/proc/stat, procs_running"),
    Metric::node("procs_blocked", Gauge, Int, "node_procs_blocked", &[], "Threads that wait for I/O", "/proc/stat, procs_blocked"),
    Metric::node("hung", Counter, Int, "node_kernel_hung_tasks_total", &[], "Tasks that hung longer than the kernel's timeout", "/proc/sys/kernel/hung_task_detect_count").since("6.13"),
    Metric::node("entropy_avail", Gauge, Int, "node_entropy_available_bits", &[], "Entropy that is available", "/proc/sys/kernel/random/entropy_avail"),
    Metric::node("poolsize", Gauge, Int, "node_entropy_pool_size_bits", &[], "Size of the entropy pool", "/proc/sys/kernel/random/poolsize"),
    Metric::node("files", Gauge, Int, "node_filefd_allocated", &[], "File handles that the kernel has allocated", "/proc/sys/fs/file-nr"),
    Metric::node("files.max", Gauge, Int, "node_filefd_maximum", &[], "File handles that the kernel allows at most", "/proc/sys/fs/file-nr"),
    Metric::node("schedstat.running", Counter, Double, "node_schedstat_running_seconds_total", &[&CPU], "Time that tasks ran on the CPU", "/proc/schedstat"),
    Metric::node("schedstat.waiting", Counter, Double, "node_schedstat_waiting_seconds_total", &[&CPU], "Time that tasks waited for the CPU", "/proc/schedstat"),
    Metric::node("schedstat.timeslices", Counter, Int, "node_schedstat_timeslices_total", &[&CPU], "Time slices that tasks ran for", "/proc/schedstat"),
];

/// Counters of `/proc/stat`, in one row.
const COUNTS: [&str; 3] = ["intr", "ctxt", "processes"];
/// Metrics of the columns of a CPU's line in `/proc/schedstat`, with the maximum growth per second: nanoseconds of one
/// CPU, nanoseconds of all waiting tasks, events.
const SCHEDSTAT: [(&str, Kind); 3] = [
    ("schedstat.running", Kind::at_most(1_000_000_000)),
    ("schedstat.waiting", Kind::UNLIMITED),
    ("schedstat.timeslices", Kind::EVENTS),
];
/// Number of columns before these, including the name.
const SCHEDSTAT_BEFORE: usize = 7;
const NANOSECONDS_PER_SECOND: f64 = 1e9;
struct Kernel {
    counts: Counters<{ COUNTS.len() }>,
    hung: Counters<1>,
    hung_file: Source,
    sysctls: [(Source, &'static str); 2],
    file_nr: Source,
    schedstat: Source,
    cpus: Table<Attributes, { SCHEDSTAT.len() }>,
    keys: Keys,
}

impl Kernel {
    fn new(context: &Context) -> Self {
        let (host, options) = (&context.host, &context.options);
        let random = |name: &'static str| {
            (Source::new(host.proc("sys/kernel/random").join(name), "the kernel needs CONFIG_SYSCTL"), name)
        };
        let missing = "the kernel needs CONFIG_DETECT_HUNG_TASK and Linux 6.13";
        Self {
            counts: Counters::new(rules([Kind::EVENTS; COUNTS.len()], options)),
            hung: Counters::new(rules([Kind::EVENTS], options)),
            hung_file: Source::new(host.proc("sys/kernel/hung_task_detect_count"), missing),
            sysctls: [random("entropy_avail"), random("poolsize")],
            file_nr: Source::new(host.proc("sys/fs/file-nr"), "the kernel needs CONFIG_SYSCTL"),
            schedstat: Source::new(host.proc("schedstat"), "the kernel needs CONFIG_SCHEDSTATS"),
            cpus: Table::new(rules(SCHEDSTAT.map(|(_, kind)| kind), options), MOST_CPUS),
            keys: Keys::new(METRICS),
        }
    }

    fn take_stat(&mut self, stat: &[u8], now: std::time::Duration) {
        let mut counts = [None; COUNTS.len()];
        for line in lines(stat).filter(|line| !line.starts_with(b"cpu")) {
            let mut fields = fields(line);
            let Some(name) = fields.next() else { continue };
            match COUNTS.iter().position(|count| count.as_bytes() == name).and_then(|place| counts.get_mut(place)) {
                Some(count) => *count = next_number(&mut fields),
                None if name.starts_with(b"procs_") => self.keys.set(name, next_number(&mut fields)),
                None => {}
            }
        }
        self.counts.read(&counts, now);
    }
}

impl Collector for Kernel {
    fn read(&mut self, reader: &mut Reader) {
        let now = reader.now();
        self.keys.clear();
        if let Some(stat) = reader.stat() {
            self.take_stat(stat, now);
        }
        for (source, name) in &mut self.sysctls {
            let value = reader.read(source).and_then(|bytes| next_number(&mut fields(bytes)));
            self.keys.set(name.as_bytes(), value);
        }
        if let Some(bytes) = reader.read(&mut self.file_nr) {
            let mut numbers = fields(bytes).map(number);
            self.keys.set(b"files", numbers.next().flatten());
            self.keys.set(b"files.max", numbers.nth(1).flatten());
        }
        if let Some(bytes) = reader.read(&mut self.hung_file) {
            self.hung.read(&[next_number(&mut fields(bytes))], now);
        }
        if let Some(bytes) = reader.read(&mut self.schedstat) {
            self.cpus.begin(now);
            for line in lines(bytes).filter(|line| line.starts_with(b"cpu")) {
                let Some(cpu) = fields(line).next().and_then(|name| name.strip_prefix(b"cpu")) else { continue };
                let mut columns = fields(line).skip(SCHEDSTAT_BEFORE).map(number);
                let readings = [(); SCHEDSTAT.len()].map(|()| columns.next().flatten());
                self.cpus.read(cpu, &readings, || labels(&[("cpu", text(cpu))]));
            }
            self.cpus.end();
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        if let Some(place) = COUNTS.iter().position(|id| *id == metric.id) {
            self.counts.get(place).into_iter().for_each(|total| out.int(total, &[]));
        } else if metric.id == "hung" {
            self.hung.get(0).into_iter().for_each(|total| out.int(total, &[]));
        } else if let Some(place) = SCHEDSTAT.iter().position(|(id, _)| *id == metric.id) {
            for entry in self.cpus.listed() {
                let Some(total) = entry.row().get(place) else { continue };
                #[allow(clippy::cast_precision_loss)] // exact for 104 days of nanoseconds
                match metric.number {
                    Int => out.int(total, &entry.data),
                    Double => out.float(total as f64 / NANOSECONDS_PER_SECOND, &entry.data),
                }
            }
        } else {
            self.keys.observe(metric.id, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Options;
    use super::super::super::testing::{Host as TestHost, series};
    use super::*;
    use crate::metrics::counter::Since;

    #[test]
    fn the_kernels_counts_are_totals_since_boot() {
        let host = TestHost::empty();
        host.write(
            "proc/stat",
            "cpu 1 1 1 1\nintr 8885917 17 0\nctxt 38014093\nbtime 1418183276\nprocesses 26442\nprocs_running 2\nprocs_blocked 0\n",
        );
        host.write("proc/sys/fs/file-nr", "1024\t0\t1631329\n");
        host.write("proc/sys/kernel/random/entropy_avail", "1337\n");
        host.write("proc/sys/kernel/hung_task_detect_count", "0\n");
        host.write(
            "proc/schedstat",
            "version 15\ncpu0 0 0 0 0 0 0 2045936778163039 343796328169361 4767485306\ndomain0 1 2\n",
        );
        let mut kernel = Kernel::new(&host.context(Options { since: Since::Boot, ..Options::default() }));
        assert_eq!(host.read(&mut kernel), 0);
        for (id, value) in [
            ("intr", "8885917"),
            ("ctxt", "38014093"),
            ("processes", "26442"),
            ("procs_running", "2"),
            ("procs_blocked", "0"),
            ("files", "1024"),
            ("files.max", "1631329"),
            ("entropy_avail", "1337"),
            ("hung", "0"),
            ("schedstat.running", "cpu=0 2045936.778163039"),
            ("schedstat.waiting", "cpu=0 343796.328169361"),
            ("schedstat.timeslices", "cpu=0 4767485306"),
        ] {
            assert_eq!(series(&kernel, METRICS, id), [value], "{id}");
        }
    }
}
