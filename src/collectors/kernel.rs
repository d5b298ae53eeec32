//! Kernel counts and limits: context switches, interrupts, OOM kills, tasks, file handles; with detailed metrics also
//! soft interrupts, entropy, hung tasks and scheduler times. From `/proc/stat`, `/proc/vmstat`, `/proc/loadavg`,
//! `/proc/schedstat` (Documentation/scheduler/sched-stats.rst) and `/proc/sys`.
//!
//! `system.process.limit` is in the semantic conventions; the others are not, and hostmetrics has none of them.

use std::time::Duration;

use opentelemetry::KeyValue;

use super::cpu::{LOGICAL_NUMBER, MOST_CPUS, logical_number};
use super::{Collector, Context, Definition, Observer};
use crate::host::{Reader, Source};
use crate::metrics::counter::{self, Counters, Rules, Table, add};
use crate::metrics::naming::Detail::{Basic, Detailed};
use crate::metrics::naming::Kind::{Counter, UpDownCounter};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, Attributes, Detail, Metric, Names, Naming, attributes, word};
use crate::metrics::parse::{fields, lines, next_number, number};

pub const DEFINITION: Definition =
    Definition { name: "kernel", metrics: METRICS, new: |context| Box::new(Kernel::new(context)) };

const SOFTIRQ: Attribute = Attribute { key: Names::both("system.cpu.linux.softirq.type"), values: &SOFTIRQS };

/// In the order of the line `softirq` (include/linux/interrupt.h).
const SOFTIRQS: [Names; 10] = [
    Names::both("hi"),
    Names::both("timer"),
    Names::both("net_tx"),
    Names::both("net_rx"),
    Names::both("block"),
    Names::both("irq_poll"),
    Names::both("tasklet"),
    Names::both("sched"),
    Names::both("hrtimer"),
    Names::both("rcu"),
];

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("switches", Counter, Int, "Context switches", "/proc/stat, ctxt")
        .semconv("system.cpu.context_switches", "{switch}", Basic, &[]),
    Metric::new("interrupts", Counter, Int, "Interrupts served", "/proc/stat, intr, first number")
        .semconv("system.cpu.interrupts", "{interrupt}", Basic, &[]),
    Metric::new("softirqs", Counter, Int, "Soft interrupts served, by kind", "/proc/stat, softirq").since("2.6.31")
        .semconv("system.cpu.linux.softirqs", "{interrupt}", Detailed, &[&SOFTIRQ]),
    Metric::new("oom_kills", Counter, Int,
        "Processes that the kernel killed because memory ran out, in the host or in a cgroup", "/proc/vmstat, oom_kill")
        .since("4.13").semconv("system.memory.linux.oom_kills", "{kill}", Basic, &[]),
    Metric::new("process.limit", UpDownCounter, Int,
        "Process ids that the kernel hands out at most; each thread takes one", "/proc/sys/kernel/pid_max")
        .semconv("system.process.limit", "{thread}", Basic, &[]),
    Metric::new("threads", UpDownCounter, Int, "Threads of all processes",
        "/proc/loadavg, fourth field, after the slash")
        .semconv("system.process.linux.thread.count", "{thread}", Basic, &[]),
    Metric::new("threads.limit", UpDownCounter, Int, "Threads that the kernel allows at most",
        "/proc/sys/kernel/threads-max")
        .semconv("system.process.linux.thread.limit", "{thread}", Detailed, &[]),
    Metric::new("files", UpDownCounter, Int, "File handles in use", "/proc/sys/fs/file-nr, first less second number")
        .semconv("system.filesystem.linux.file_handle.count", "{handle}", Basic, &[]),
    Metric::new("files.limit", UpDownCounter, Int, "File handles that the kernel allows at most",
        "/proc/sys/fs/file-nr, third number")
        .semconv("system.filesystem.linux.file_handle.limit", "{handle}", Basic, &[]),
    Metric::new("entropy", UpDownCounter, Int, "Available entropy; always 256 since Linux 5.18",
        "/proc/sys/kernel/random/entropy_avail")
        .semconv("system.linux.entropy.available", "{bit}", Detailed, &[]),
    Metric::new("hung_tasks", Counter, Int, "Tasks that hung longer than the kernel's timeout",
        "/proc/sys/kernel/hung_task_detect_count").since("6.13")
        .semconv("system.process.linux.hung_tasks", "{task}", Detailed, &[]),
    Metric::new("schedstat.running", Counter, Double, "Time that tasks ran on the CPUs",
        "/proc/schedstat, lines cpuN, seventh number, of 10^-9 s")
        .semconv("system.cpu.linux.run_queue.running_time", "s", Detailed, &[&LOGICAL_NUMBER]),
    Metric::new("schedstat.waiting", Counter, Double, "Time that tasks waited for a CPU, ready to run",
        "/proc/schedstat, lines cpuN, eighth number, of 10^-9 s")
        .semconv("system.cpu.linux.run_queue.waiting_time", "s", Detailed, &[&LOGICAL_NUMBER]),
    Metric::new("schedstat.timeslices", Counter, Int, "Time slices that tasks ran for",
        "/proc/schedstat, lines cpuN, ninth number")
        .semconv("system.cpu.linux.run_queue.timeslices", "{slice}", Detailed, &[&LOGICAL_NUMBER]),
];

const NANOSECONDS_PER_SECOND: f64 = 1e9;
/// Number of columns read from a CPU's line of `/proc/schedstat`, and of the columns before them.
const SCHEDSTAT: usize = 3;
const SCHEDSTAT_BEFORE: usize = 6;

/// The counters of `/proc/stat`: context switches, interrupts, and the soft interrupts.
const STAT: usize = 2 + SOFTIRQS.len();

/// A file of `/proc/sys` with one number, and its metric.
struct Sysctl {
    id: &'static str,
    source: Source,
    value: Option<u64>,
}

/// Sources of the detailed metrics.
struct More {
    naming: Naming,
    per_cpu: bool,
    softirqs: [Attributes; SOFTIRQS.len()],
    hung_source: Source,
    /// Hung tasks, and a column that is never zero, so that the first hung task is counted.
    hung: Counters<2>,
    schedstat: Source,
    cpus: Table<Attributes, SCHEDSTAT>,
    /// The host's sums, including offline CPUs; `None` before the first line.
    sums: Option<[u64; SCHEDSTAT]>,
}

struct Kernel {
    stat: Counters<STAT>,
    /// OOM kills, and page faults, which are never zero, so that the first OOM kill is counted.
    vmstat: Counters<2>,
    threads: Option<u64>,
    file_nr: Source,
    files: Option<(u64, u64)>,
    sysctls: Vec<Sysctl>,
    more: Option<More>,
}

impl Kernel {
    fn new(context: &Context) -> Self {
        let (host, options) = (&context.host, &context.options);
        let detailed = options.detail == Detail::Detailed;
        let sysctl =
            |id, file: &str| Sysctl { id, source: Source::optional(host.proc("sys/kernel").join(file)), value: None };
        let mut sysctls = vec![sysctl("process.limit", "pid_max")];
        if detailed {
            sysctls.push(sysctl("threads.limit", "threads-max"));
            sysctls.push(sysctl("entropy", "random/entropy_avail"));
        }
        Self {
            stat: Counters::new(rules(context)),
            vmstat: Counters::new(rules(context)),
            threads: None,
            file_nr: Source::optional(host.proc("sys/fs/file-nr")),
            files: None,
            sysctls,
            more: detailed.then(|| More::new(context)),
        }
    }

    fn take_stat(&mut self, stat: &[u8], now: Duration) {
        let mut readings = [None; STAT];
        let [switches, interrupts, softirqs @ ..] = &mut readings;
        // The first line of a name is used; a second one means that the file is corrupt.
        for line in lines(stat) {
            let mut fields = fields(line);
            match fields.next() {
                Some(b"ctxt") => *switches = switches.or_else(|| next_number(&mut fields)),
                Some(b"intr") => *interrupts = interrupts.or_else(|| next_number(&mut fields)),
                // The first number is the sum of the others.
                Some(b"softirq") if softirqs.iter().all(Option::is_none) => {
                    softirqs.iter_mut().zip(fields.skip(1)).for_each(|(slot, field)| *slot = number(field));
                }
                _ => {}
            }
        }
        self.stat.read(&readings, now);
    }
}

/// Counters of events.
fn rules<const N: usize>(context: &Context) -> Rules<N> {
    let kind = counter::Kind::EVENTS.word(context.host.word_bits);
    Rules::new([kind; N], context.options.since).delta(context.options.delta)
}

impl More {
    fn new(context: &Context) -> Self {
        let (host, options) = (&context.host, &context.options);
        // Tasks wait concurrently, so their times can exceed the elapsed time.
        let times = counter::Kind::at_most(1_000_000_000_000);
        let kinds = [times, times, counter::Kind::EVENTS.word(host.word_bits)];
        Self {
            naming: options.naming,
            per_cpu: options.per_cpu,
            softirqs: SOFTIRQS.map(|kind| word(options.naming, &SOFTIRQ, kind)),
            hung_source: Source::optional(host.proc("sys/kernel/hung_task_detect_count")).holds_counters(),
            hung: Counters::new(rules(context)),
            schedstat: Source::optional(host.proc("schedstat")).holds_counters(),
            cpus: Table::new(Rules::new(kinds, options.since).delta(options.delta), MOST_CPUS),
            sums: None,
        }
    }

    fn take_schedstat(&mut self, bytes: &[u8], now: Duration) {
        let (naming, per_cpu) = (self.naming, self.per_cpu);
        self.cpus.begin(now);
        for (cpu, readings) in lines(bytes).filter_map(schedstat_line) {
            let series = || {
                let pairs = if per_cpu { vec![logical_number(naming, cpu)] } else { Vec::new() };
                attributes(naming, &pairs)
            };
            let grown = self.cpus.read(&cpu.to_le_bytes(), &readings.map(Some), series);
            let sums = self.sums.get_or_insert_default();
            grown.into_iter().for_each(|(_, grown)| add(sums, &grown));
        }
        self.cpus.end();
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        let (place, divisor) = match metric.id {
            "hung_tasks" => return one(out, self.hung.get(0)),
            "schedstat.running" => (0, Some(NANOSECONDS_PER_SECOND)),
            "schedstat.waiting" => (1, Some(NANOSECONDS_PER_SECOND)),
            "schedstat.timeslices" => (2, None),
            _ => return,
        };
        let mut report = |value: u64, series: &[KeyValue]| match divisor {
            #[allow(clippy::cast_precision_loss)] // exact for 104 days of one CPU's nanoseconds, close enough after
            Some(divisor) => out.float(value as f64 / divisor, series),
            None => out.int(value, series),
        };
        if self.per_cpu {
            for cpu in self.cpus.listed() {
                cpu.row().get(place).iter().for_each(|value| report(*value, &cpu.data));
            }
        } else if let Some(sum) = self.sums.as_ref().and_then(|sums| sums.get(place)) {
            report(*sum, &[]);
        }
    }
}

/// Parses a CPU's number and the last three columns of its line.
fn schedstat_line(line: &[u8]) -> Option<(u32, [u64; SCHEDSTAT])> {
    let mut fields = fields(line);
    let cpu = u32::try_from(number(fields.next()?.strip_prefix(b"cpu")?)?).ok()?;
    let mut numbers = fields.skip(SCHEDSTAT_BEFORE);
    Some((cpu, [next_number(&mut numbers)?, next_number(&mut numbers)?, next_number(&mut numbers)?]))
}

/// Parses the used file handles and their limit.
fn parse_file_nr(bytes: &[u8]) -> Option<(u64, u64)> {
    let mut fields = fields(bytes);
    let (allocated, free, limit) = (next_number(&mut fields)?, next_number(&mut fields)?, next_number(&mut fields)?);
    Some((allocated.saturating_sub(free), limit))
}

/// Parses the number of threads: after the slash in the fourth field.
fn parse_threads(bytes: &[u8]) -> Option<u64> {
    number(fields(bytes).nth(3)?.split(|&b| b == b'/').nth(1)?)
}

/// Parses OOM kills and page faults from `/proc/vmstat`; of several lines with one name, the first counts.
fn parse_vmstat(bytes: &[u8]) -> [Option<u64>; 2] {
    let [mut kills, mut faults] = [None; 2];
    for line in lines(bytes) {
        let mut fields = fields(line);
        match fields.next() {
            Some(b"oom_kill") => kills = kills.or_else(|| next_number(&mut fields)),
            Some(b"pgfault") => faults = faults.or_else(|| next_number(&mut fields)),
            _ => {}
        }
        if kills.is_some() && faults.is_some() {
            break;
        }
    }
    [kills, faults]
}

fn one(out: &mut Observer<'_>, value: Option<u64>) {
    if let Some(value) = value {
        out.int(value, &[]);
    }
}

impl Collector for Kernel {
    fn read(&mut self, reader: &mut Reader) {
        let now = reader.now();
        if let Some(stat) = reader.stat() {
            self.take_stat(stat, now);
        }
        if let Some(bytes) = reader.vmstat() {
            self.vmstat.read(&parse_vmstat(bytes), now);
        }
        self.threads = reader.loadavg().and_then(parse_threads);
        self.files = reader.read(&mut self.file_nr).and_then(parse_file_nr);
        for sysctl in &mut self.sysctls {
            sysctl.value = reader.read(&mut sysctl.source).and_then(|bytes| number(bytes.trim_ascii()));
        }
        if let Some(more) = &mut self.more {
            if let Some(bytes) = reader.read(&mut more.hung_source) {
                more.hung.read(&[number(bytes.trim_ascii()), Some(1)], now);
            }
            if let Some(bytes) = reader.read(&mut more.schedstat) {
                more.take_schedstat(bytes, now);
            }
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        match metric.id {
            "switches" => one(out, self.stat.get(0)),
            "interrupts" => one(out, self.stat.get(1)),
            "oom_kills" => one(out, self.vmstat.get(0)),
            "threads" => one(out, self.threads),
            "files" => one(out, self.files.map(|(used, _)| used)),
            "files.limit" => one(out, self.files.map(|(_, limit)| limit)),
            "softirqs" => {
                let series = self.more.iter().flat_map(|more| &more.softirqs);
                for (series, total) in series.zip(self.stat.totals().skip(2)) {
                    total.iter().for_each(|total| out.int(*total, series));
                }
            }
            id => {
                one(out, self.sysctls.iter().find(|sysctl| sysctl.id == id).and_then(|sysctl| sysctl.value));
                self.more.iter().for_each(|more| more.observe(metric, out));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Options;
    use super::super::testing::{Bench, Host};
    use super::*;
    use crate::metrics::counter::Since;

    fn host() -> Host {
        let host = Host::empty();
        host.write("proc/stat", "intr 900 1 2\nctxt 5000\nctxt 9\nsoftirq 66 1 2 3\n");
        host.write("proc/vmstat", "pgfault 5\noom_kill 3\noom_kill 9\n");
        host.write("proc/loadavg", "0.1 0.2 0.3 2/187 31125\n");
        host.write("proc/sys/fs/file-nr", "1113\t13\t9223372036854775807\n");
        host.write("proc/sys/kernel/pid_max", "4194304\n");
        host.write(
            "proc/schedstat",
            "version 15\ncpu0 0 0 0 0 0 0 2000000000 1000000000 7\ncpu1 0 0 0 0 0 0 4000000000 500000000 8\n",
        );
        host
    }

    fn points(host: &Host, options: Options) -> Vec<String> {
        Bench::new(DEFINITION, host.context(options)).next()
    }

    #[test]
    fn the_first_line_of_each_count_is_reported_with_the_limits() {
        assert_eq!(
            points(&host(), Options { since: Since::Boot, ..Options::default() }),
            [
                "system.cpu.context_switches 5000",
                "system.cpu.interrupts 900",
                "system.memory.linux.oom_kills 3",
                "system.process.limit 4194304",
                "system.process.linux.thread.count 187",
                "system.filesystem.linux.file_handle.count 1100",
                "system.filesystem.linux.file_handle.limit 9223372036854775807",
            ]
        );
    }

    #[test]
    fn scheduler_times_are_the_hosts_or_each_cpus() {
        let options = Options { since: Since::Boot, detail: Detail::Detailed, ..Options::default() };
        let of =
            |points: Vec<String>| points.into_iter().filter(|point| point.contains("waiting_time")).collect::<Vec<_>>();
        let name = "system.cpu.linux.run_queue.waiting_time";
        assert_eq!(of(points(&host(), options.clone())), [format!("{name} 1.5")]);
        let per_cpu = of(points(&host(), Options { per_cpu: true, ..options }));
        assert_eq!(
            per_cpu,
            [format!("{name}{{cpu.logical_number=0}} 1"), format!("{name}{{cpu.logical_number=1}} 0.5")]
        );
    }

    #[test]
    fn a_cpu_that_goes_offline_stays_in_the_sum() {
        let host = host();
        let options = Options { since: Since::Boot, detail: Detail::Detailed, ..Options::default() };
        let mut kernel = Bench::new(DEFINITION, host.context(options));
        host.write("proc/schedstat", "version 15\ncpu0 0 0 0 0 0 0 2000000000 1000000000 9\n");
        let slices = "system.cpu.linux.run_queue.timeslices 17".to_owned();
        assert!(kernel.next().contains(&slices));
    }

    #[test]
    fn an_oom_kill_counts_from_the_agents_start() {
        let host = host();
        let mut kernel = Bench::new(DEFINITION, host.context(Options::default()));
        host.write("proc/vmstat", "pgfault 6\noom_kill 5\n");
        assert!(kernel.next().contains(&"system.memory.linux.oom_kills 2".to_owned()));
    }

    #[test]
    fn the_first_hung_task_counts_from_the_agents_start() {
        let host = host();
        host.write("proc/sys/kernel/hung_task_detect_count", "0\n");
        let options = Options { detail: Detail::Detailed, ..Options::default() };
        let mut kernel = Bench::new(DEFINITION, host.context(options));
        host.write("proc/sys/kernel/hung_task_detect_count", "3\n");
        assert!(kernel.next().contains(&"system.process.linux.hung_tasks 3".to_owned()));
    }

    #[test]
    fn zeros_for_one_reading_change_no_total() {
        let host = host();
        let mut kernel = Bench::new(DEFINITION, host.context(Options::default()));
        let mut totals = |interrupts: u64, switches: u64, kills: u64| {
            host.write("proc/stat", format!("intr {interrupts} 1 2\nctxt {switches}\n"));
            host.write("proc/vmstat", format!("pgfault 5\noom_kill {kills}\n"));
            let points = kernel.next();
            ["system.cpu.interrupts", "system.cpu.context_switches", "system.memory.linux.oom_kills"].map(|name| {
                let point = points.iter().find_map(|point| point.strip_prefix(name)?.strip_prefix(' '));
                point.unwrap().parse::<u64>().unwrap()
            })
        };
        assert_eq!(totals(950, 5_100, 4), [50, 100, 1]);
        assert_eq!(totals(0, 0, 0), [50, 100, 1]);
        assert_eq!(totals(1_000, 5_200, 5), [100, 200, 2]);
    }

    #[test]
    fn a_host_without_the_files_reports_nothing_and_fails_nothing() {
        let host = Host::empty();
        host.write("proc/stat", "cpu 1 2 3 4\n");
        host.write("proc/loadavg", "0.1 0.2 0.3\n");
        let mut kernel =
            Bench::new(DEFINITION, host.context(Options { detail: Detail::Detailed, ..Options::default() }));
        assert!(kernel.next().is_empty());
        assert_eq!(kernel.reader.failures(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            parse_file_nr(&bytes);
            parse_threads(&bytes);
            parse_vmstat(&bytes);
            schedstat_line(&bytes);
        }
    }
}
