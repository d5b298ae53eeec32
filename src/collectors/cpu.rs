//! CPU time, utilization, counts and frequency, from `/proc/stat`, `/proc/cpuinfo` and sysfs.
//!
//! `guest` is included in `user` and `guest_nice` in `nice` (Documentation/filesystems/proc.rst). They are subtracted,
//! so that nothing is counted twice.
//!
//! The host's time is the sum of the growth of all listed CPUs. The line `cpu` is used only if the kernel has no `cpuN`
//! lines: before Linux 6.8 it jumps by hours when a CPU goes offline, because the idle time of that CPU is then
//! computed differently.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::{Collector, Context, DEFAULT_MAX_SERIES, Definition, Observer, Point};
use crate::host::{Host, Reader, Source, files, read_small};
use crate::metrics::counter::{self, Row, Rules, Table, Together, add};
use crate::metrics::naming::Detail::{Basic, Detailed};
use crate::metrics::naming::Kind::{Counter, Gauge, UpDownCounter};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Detail, Metric, Names, Naming, attributes};
use crate::metrics::parse::{fields, lines, number};

pub const DEFINITION: Definition =
    Definition { name: "cpu", metrics: METRICS, new: |context| Box::new(Cpu::new(context)) };

const MODE: Attribute = Attribute {
    key: Names("cpu.mode", "state"),
    values: &[USER, NICE, SYSTEM, IDLE, IOWAIT, INTERRUPT, SOFTIRQ, STEAL],
};
pub(super) const LOGICAL_NUMBER: Attribute = Attribute { key: Names("cpu.logical_number", "cpu"), values: &[] };

const USER: Names = Names::both("user");
const NICE: Names = Names::both("nice");
const SYSTEM: Names = Names::both("system");
const IDLE: Names = Names::both("idle");
const IOWAIT: Names = Names("iowait", "wait");
const INTERRUPT: Names = Names::both("interrupt");
/// Only hostmetrics distinguishes it from `interrupt`; the conventions have no such mode.
const SOFTIRQ: Names = Names("interrupt", "softirq");
const STEAL: Names = Names::both("steal");

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("cpu.time", Counter, Double, "CPU time spent in each mode; guest time is not counted twice",
        "/proc/stat, lines cpu")
        .both("system.cpu.time", "s", Basic, &[&MODE, &LOGICAL_NUMBER]),
    Metric::new("cpu.utilization", Gauge, Double, "Share of the time between two readings spent in each mode",
        "/proc/stat, lines cpu")
        .semconv("system.cpu.utilization", "1", Basic, &[&MODE, &LOGICAL_NUMBER])
        .hostmetrics("system.cpu.utilization", "1", Detailed, &[&MODE, &LOGICAL_NUMBER]),
    Metric::new("cpu.logical.count", UpDownCounter, Int, "Logical CPUs that are online", "/proc/stat, lines cpuN")
        .both("system.cpu.logical.count", "{cpu}", Basic, &[]),
    Metric::new("cpu.physical.count", UpDownCounter, Int, "Physical cores", "/sys/devices/system/cpu/cpu*/topology")
        .both("system.cpu.physical.count", "{cpu}", Detailed, &[]),
    Metric::new("cpu.frequency", Gauge, Int, "Current frequency of each logical CPU",
        "/sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq, else /proc/cpuinfo, cpu MHz")
        .semconv("system.cpu.frequency", "Hz", Detailed, &[&LOGICAL_NUMBER]),
    Metric::new("cpu.frequency", Gauge, Double, "Current frequency of each logical CPU",
        "/sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq, else /proc/cpuinfo, cpu MHz")
        .hostmetrics("system.cpu.frequency", "Hz", Detailed, &[&LOGICAL_NUMBER]),
];

/// Columns of a cpu line.
const COLUMNS: usize = 10;
pub(super) type Columns = [u64; COLUMNS];

/// Maximum number of modes in a profile.
const MODES: usize = 8;

/// Maximum number of series for a CPU metric on this host. CPUs that are offline now may come online.
#[must_use]
pub fn most_series(host: &Host) -> usize {
    let online = files::read(&host.proc("stat")).unwrap_or_default();
    let online =
        lines(&online).filter_map(parse_line).filter(|(cpu, columns)| cpu.is_some() && columns.is_some()).count();
    // "0-511", possibly with gaps: the last number is the maximum.
    let possible = read_small(&host.sys("devices/system/cpu/possible"))
        .and_then(|text| number(text.rsplit(|byte| !byte.is_ascii_digit()).next()?))
        .and_then(|last| usize::try_from(last).ok())
        .filter(|last| *last < MOST_CPUS)
        .map_or(0, |last| last + 1);
    online.max(possible).saturating_mul(MODES)
}

/// Largest NR_CPUS, on x86.
pub(super) const MOST_CPUS: usize = 8192;

/// The modes of a profile, in the order of the result of [`modes`].
fn mode_names(naming: Naming) -> &'static [Names] {
    match naming {
        Naming::Semconv => &[USER, NICE, SYSTEM, IDLE, IOWAIT, INTERRUPT, STEAL],
        Naming::Hostmetrics | Naming::NodeExporter => &[USER, NICE, SYSTEM, IDLE, IOWAIT, INTERRUPT, STEAL, SOFTIRQ],
    }
}

/// Ticks in each mode, without overlap.
fn modes(naming: Naming, columns: &Columns) -> [u64; MODES] {
    let [user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice] = *columns;
    let (interrupt, softirq) = match naming {
        Naming::Semconv => (irq.saturating_add(softirq), 0),
        Naming::Hostmetrics | Naming::NodeExporter => (irq, softirq),
    };
    [user.saturating_sub(guest), nice.saturating_sub(guest_nice), system, idle, iowait, interrupt, steal, softirq]
}

/// The share of each mode in the time between two readings; the shares sum to 1. `None` if no time passed, or more
/// ticks than possible: then a mode caught up after readings in which it was held.
fn shares(passed: &[u64; MODES], most: u64) -> Option<[f64; MODES]> {
    let sum = passed.iter().fold(0, |sum: u64, ticks| sum.saturating_add(*ticks));
    #[allow(clippy::cast_precision_loss)] // ticks between two readings are far below 2^52
    (sum > 0 && sum <= most).then(|| passed.map(|ticks| ticks as f64 / sum as f64))
}

/// The series of one CPU or of the host, one per mode.
fn series(naming: Naming, cpu: Option<u32>) -> Vec<Attributes> {
    let mode_series = |&mode: &Names| {
        let mut pairs = vec![(&MODE, AttributeValue::Word(mode))];
        pairs.extend(cpu.map(|cpu| logical_number(naming, cpu)));
        attributes(naming, &pairs)
    };
    mode_names(naming).iter().map(mode_series).collect()
}

/// This collector's data for one CPU.
struct Line {
    /// Empty if only the host is reported.
    series: Vec<Attributes>,
    period: Period,
}

/// The period of a utilization: from one reading to the first reading at least
/// [`Options::utilization_period`](super::Options) later. Readings in between, caused by a second SDK reader, repeat
/// the shares of the last complete period.
#[derive(Default)]
struct Period {
    /// Ticks in each mode so far; `None` if a reading in the period is not comparable.
    passed: Option<[u64; MODES]>,
    /// Share of each mode in the last complete period.
    shares: Option<[f64; MODES]>,
}

impl Period {
    /// Adds the growth of one reading. If a period ends with it, `ends` is the maximum number of ticks in that period.
    fn read(&mut self, grown: &[u64; MODES], comparable: bool, ends: Option<Option<u64>>) {
        match &mut self.passed {
            Some(passed) if comparable => add(passed, grown),
            _ => *self = Self::default(),
        }
        if let Some(most) = ends {
            self.shares = self.passed.zip(most).and_then(|(passed, most)| shares(&passed, most));
            self.passed = Some([0; MODES]);
        }
    }
}

pub(super) fn logical_number(naming: Naming, cpu: u32) -> (&'static Attribute, AttributeValue) {
    let value = match naming {
        Naming::Semconv => AttributeValue::Int(i64::from(cpu)),
        Naming::Hostmetrics | Naming::NodeExporter => AttributeValue::Text(format!("cpu{cpu}").into()),
    };
    (&LOGICAL_NUMBER, value)
}

struct Cpu {
    naming: Naming,
    per_cpu: bool,
    ticks_per_second: u64,
    cpus: Table<Line, MODES>,
    /// The line `cpu`, used if there are no others.
    whole: Row<MODES>,
    whole_rules: Rules<MODES>,
    /// Whether `cpuN` lines have been seen.
    has_cpus: bool,
    series: Vec<Attributes>,
    /// The host's totals; `None` before the first valid line.
    total: Option<[u64; MODES]>,
    period: Period,
    least_period: Duration,
    logical: u64,
    /// Start of the period; `None` if readings cannot be compared with that one.
    begun: Option<Duration>,
    slow: Option<SlowFacts>,
}

impl Cpu {
    fn new(context: &Context) -> Self {
        let options = &context.options;
        let sysfs = context.host.sys("devices/system/cpu");
        let ticks_per_second = context.host.ticks_per_second;
        let rules = |times| {
            Rules::new([counter::Kind::UNLIMITED; MODES], options.since)
                .delta(options.delta)
                .together(Together { per_second: ticks_per_second, times })
        };
        Self {
            naming: options.naming,
            per_cpu: options.per_cpu,
            ticks_per_second,
            cpus: Table::new(rules(1), options.max_series.unwrap_or(DEFAULT_MAX_SERIES) / MODES),
            whole: Row::default(),
            whole_rules: rules(MOST_CPUS as u64),
            has_cpus: false,
            series: series(options.naming, None),
            total: None,
            period: Period::default(),
            least_period: options.utilization_period,
            logical: 0,
            begun: None,
            slow: (options.detail == Detail::Detailed).then(|| SlowFacts {
                sysfs,
                cpuinfo: Source::new(context.host.proc("cpuinfo"), "no frequencies and no core counts without it"),
                naming: options.naming,
                cores: 0,
                frequencies: Vec::new(),
            }),
        }
    }

    fn take(&mut self, stat: &[u8], now: Duration, cycle: u64) {
        // The kernel writes the cpu lines before the long `intr` line.
        let listing = || lines(stat).take_while(|line| !line.starts_with(b"intr")).filter_map(parse_line);
        self.logical = 0;
        let any = listing().any(|(cpu, columns)| cpu.is_some() && columns.is_some());
        if any && !self.has_cpus {
            self.has_cpus = true;
            self.whole.absent(&self.whole_rules);
        }
        // A file without any CPU is corrupt; it does not mean that all CPUs are gone.
        if self.has_cpus && !any {
            self.forget_shares();
            return;
        }
        let elapsed = self.begun.map(|begun| now.saturating_sub(begun));
        let ends = elapsed.is_none_or(|elapsed| elapsed >= self.least_period);
        let ends = ends.then(|| elapsed.map(|elapsed| self.limit(elapsed)));
        if ends.is_some() {
            // A period must not start at the baseline, which is only a short, irregular time before the first
            // collection.
            self.begun = (cycle > 0).then_some(now);
        }
        let mut host = Growth { modes: [0; MODES], good: 0, comparable: true };
        if self.has_cpus {
            self.cpus.begin(now);
            for (cpu, columns) in listing() {
                if let Some(number) = cpu {
                    self.take_cpu(number, columns.as_ref(), ends, &mut host);
                }
            }
            self.cpus.end();
            self.logical = host.good;
        } else if let Some((_, Some(columns))) = listing().find(|(cpu, _)| cpu.is_none()) {
            host.modes = self.whole.read(&modes(self.naming, &columns).map(Some), now, &self.whole_rules);
            host.comparable = self.whole.is_comparable();
            host.good = MOST_CPUS as u64;
        }
        if host.good == 0 {
            self.forget_shares();
            return;
        }
        add(self.total.get_or_insert_default(), &host.modes);
        let ends = ends.map(|most| most.map(|most| most.saturating_mul(host.good)));
        self.period.read(&host.modes, host.comparable, ends);
    }

    fn take_cpu(
        &mut self,
        number: Number<'_>,
        columns: Option<&Columns>,
        ends: Option<Option<u64>>,
        host: &mut Growth,
    ) {
        let (naming, per_cpu) = (self.naming, self.per_cpu);
        let series = || if per_cpu { series(naming, Some(number.cpu)) } else { Vec::new() };
        let new = || Line { series: series(), period: Period::default() };
        let ticks = columns.map_or([None; MODES], |columns| modes(naming, columns).map(Some));
        let Some((entry, grown)) = self.cpus.read(number.digits, &ticks, new) else { return };
        host.good += u64::from(columns.is_some());
        host.comparable &= entry.row().is_comparable() || entry.row().is_new() && grown == [0; MODES];
        add(&mut host.modes, &grown);
        let comparable = entry.row().is_comparable();
        entry.data.period.read(&grown, comparable, ends);
    }

    /// Maximum number of ticks of one CPU.
    fn limit(&self, elapsed: Duration) -> u64 {
        Together { per_second: self.ticks_per_second, times: 1 }.limit(elapsed)
    }

    /// Discards the shares; two more readings are needed to compute new ones.
    fn forget_shares(&mut self) {
        (self.begun, self.period) = (None, Period::default());
        self.cpus.listed_mut().for_each(|cpu| cpu.data.period = Period::default());
    }

    /// The reported series, totals and shares: either of the CPUs or of the host. Reporting both would double the sum.
    fn reported(&self) -> impl Iterator<Item = (&[Attributes], [u64; MODES], Option<[f64; MODES]>)> {
        let host = self.total.filter(|_| !self.per_cpu).map(|total| (&*self.series, total, self.period.shares));
        let cpus = self.cpus.listed().filter(|cpu| self.per_cpu && cpu.row().get(0).is_some());
        host.into_iter().chain(cpus.map(|cpu| {
            let total = std::array::from_fn(|mode| cpu.row().total(mode));
            (&*cpu.data.series, total, cpu.data.period.shares)
        }))
    }
}

struct Growth {
    modes: [u64; MODES],
    /// Number of valid lines in the sum.
    good: u64,
    comparable: bool,
}

/// Parses a line `cpu` (`None`) or `cpuN`; other lines are ignored. Kernels before 2.6.33 have fewer columns, newer
/// ones may have more. A line with an invalid column has no columns: its CPU exists and keeps its totals.
pub(super) fn parse_line(line: &[u8]) -> Option<(Option<Number<'_>>, Option<Columns>)> {
    let mut fields = fields(line);
    let cpu = match fields.next()?.strip_prefix(b"cpu")? {
        b"" => None,
        digits => Some(Number { digits, cpu: u32::try_from(number(digits)?).ok()? }),
    };
    // A number has no leading zeros.
    let padded = cpu.is_some_and(|cpu| cpu.digits.len() > 1 && cpu.digits.first() == Some(&b'0'));
    (!padded).then(|| (cpu, parse_columns(fields)))
}

/// The number of a CPU, and its digits in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number<'a> {
    pub(super) digits: &'a [u8],
    pub(super) cpu: u32,
}

fn parse_columns<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Option<Columns> {
    const LEAST_COLUMNS: usize = 4;
    let mut columns = [0; COLUMNS];
    let mut filled = 0;
    for (column, field) in columns.iter_mut().zip(fields) {
        *column = number(field)?;
        filled += 1;
    }
    (filled >= LEAST_COLUMNS).then_some(columns)
}

impl Collector for Cpu {
    fn read(&mut self, reader: &mut Reader) {
        let (now, cycle) = (reader.now(), reader.cycle());
        match reader.stat() {
            Some(stat) => self.take(stat, now, cycle),
            None => {
                self.logical = 0;
                self.forget_shares();
            }
        }
        if let Some(slow) = &mut self.slow {
            slow.read(reader);
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        match metric.id {
            "cpu.time" => {
                #[allow(clippy::cast_precision_loss)] // exact for 2.8 million years of ticks
                let seconds = |ticks: u64| ticks as f64 / self.ticks_per_second as f64;
                for (series, total, _) in self.reported() {
                    for (attributes, ticks) in series.iter().zip(total) {
                        out.float(seconds(ticks), attributes);
                    }
                }
            }
            "cpu.utilization" => {
                for (series, _, shares) in self.reported() {
                    for (attributes, share) in series.iter().zip(shares.iter().flatten()) {
                        out.float(*share, attributes);
                    }
                }
            }
            "cpu.logical.count" if self.logical > 0 => out.int(self.logical, &[]),
            "cpu.physical.count" => {
                if let Some(slow) = self.slow.as_ref().filter(|slow| slow.cores > 0) {
                    out.int(slow.cores, &[]);
                }
            }
            "cpu.frequency" => {
                for point in self.slow.iter().flat_map(|slow| &slow.frequencies) {
                    out.int(point.value, &point.attributes);
                }
            }
            _ => {}
        }
    }
}

/// Additional metrics of `--detail detailed`: core count and frequencies.
struct SlowFacts {
    sysfs: PathBuf,
    cpuinfo: Source,
    naming: Naming,
    cores: u64,
    frequencies: Vec<Point<u64>>,
}

impl SlowFacts {
    fn read(&mut self, reader: &mut Reader) {
        let info = reader.read(&mut self.cpuinfo).map(parse_cpuinfo).unwrap_or_default();
        let mut cores = BTreeSet::new();
        self.frequencies.clear();
        for (number, cpu) in &info {
            let dir = self.sysfs.join(format!("cpu{number}"));
            // Siblings of a core have the same list. This identifies cores on every architecture.
            let siblings = ["topology/core_cpus_list", "topology/thread_siblings_list"]
                .iter()
                .find_map(|name| read_small(&dir.join(name)));
            cores.insert(
                siblings.unwrap_or_else(|| cpu.core.clone().unwrap_or_else(|| number.to_string().into_bytes())),
            );
            let khz =
                read_small(&dir.join("cpufreq/scaling_cur_freq")).and_then(|text| crate::metrics::parse::number(&text));
            // Drivers that do not know the frequency write 0.
            let hertz = khz.filter(|khz| *khz > 0).map(|khz| khz.saturating_mul(1_000));
            if let Some(hertz) = hertz.or(cpu.hertz) {
                let attributes = attributes(self.naming, &[logical_number(self.naming, *number)]);
                self.frequencies.push(Point { attributes, value: hertz });
            }
        }
        self.cores = cores.len() as u64;
    }
}

/// The fields of `/proc/cpuinfo` for one logical CPU.
#[derive(Default)]
struct CpuInfo {
    hertz: Option<u64>,
    /// Package and core, if the architecture provides them.
    core: Option<Vec<u8>>,
}

fn parse_cpuinfo(bytes: &[u8]) -> BTreeMap<u32, CpuInfo> {
    let mut cpus = BTreeMap::new();
    let mut current = None;
    let mut package = Vec::new();
    for line in lines(bytes) {
        let mut halves = line.splitn(2, |&b| b == b':');
        let (Some(key), Some(value)) = (halves.next(), halves.next()) else { continue };
        let value = value.trim_ascii();
        if key.trim_ascii() == b"processor" {
            current = number(value).and_then(|n| u32::try_from(n).ok());
            if let Some(cpu) = current {
                cpus.insert(cpu, CpuInfo::default());
            }
            continue;
        }
        let Some(cpu) = current.and_then(|number| cpus.get_mut(&number)) else { continue };
        match key.trim_ascii() {
            b"cpu MHz" => {
                let mhz = std::str::from_utf8(value).ok().and_then(|text| text.parse::<f64>().ok());
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates
                let hertz = mhz.filter(|mhz| mhz.is_finite() && *mhz > 0.0).map(|mhz| (mhz * 1e6).round() as u64);
                cpu.hertz = hertz;
            }
            b"physical id" => package = value.to_vec(),
            b"core id" => cpu.core = Some([&package, &b"/"[..], value].concat()),
            _ => {}
        }
    }
    cpus
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collectors::Options;
    use crate::collectors::testing::{self, Bench};

    fn columns(line: &[u8]) -> Columns {
        parse_line(line).unwrap().1.unwrap()
    }

    #[test]
    fn guest_time_is_not_counted_twice_and_never_below_zero() {
        let columns = columns(b"cpu  100 50 3 4 5 6 7 8 30 60");
        assert_eq!(modes(Naming::Semconv, &columns), [70, 0, 3, 4, 5, 13, 8, 0]);
        assert_eq!(modes(Naming::Hostmetrics, &columns), [70, 0, 3, 4, 5, 6, 8, 7]);
    }

    #[test]
    fn old_kernels_have_fewer_columns_and_new_ones_may_have_more() {
        assert_eq!(columns(b"cpu0 1 2 3 4"), [1, 2, 3, 4, 0, 0, 0, 0, 0, 0]);
        assert_eq!(columns(b"cpu12 1 2 3 4 5 6 7 8"), [1, 2, 3, 4, 5, 6, 7, 8, 0, 0]);
        assert_eq!(columns(b"cpu12 1 2 3 4 5 6 7 8 9 10 11 12"), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        let number = Number { digits: b"12", cpu: 12 };
        assert_eq!(parse_line(b"cpu12 1 2 3 4").unwrap().0, Some(number));
    }

    #[test]
    fn an_odd_line_is_no_cpu_or_has_no_columns() {
        for odd in [&b"cpux 1 2 3 4"[..], b"intr 1 2 3 4 5", b"cpu-1 1 2 3 4", b"cpu01 1 2 3 4", b""] {
            assert!(parse_line(odd).is_none(), "{:?}", String::from_utf8_lossy(odd));
        }
        for odd in [&b"cpu0 1 2 3"[..], b"cpu0 1 x 3 4", b"cpu", b"cpu0", b"cpu0 1 2 3 18446744073709551616"] {
            assert_eq!(parse_line(odd).unwrap().1, None, "{:?}", String::from_utf8_lossy(odd));
        }
    }

    #[test]
    fn shares_sum_to_one_and_are_of_no_more_time_than_there_was() {
        let passed = [50, 0, 25, 25, 0, 0, 0, 0];
        let of = shares(&passed, 100).unwrap();
        assert_eq!((of[0], of[4]), (0.5, 0.0));
        assert!((of.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(shares(&passed, 99).is_none());
        assert!(shares(&[0; MODES], 100).is_none());
    }

    #[test]
    fn a_second_reader_right_after_the_first_gets_the_shares_of_the_same_period() {
        let host = testing::Host::empty();
        let stat = |user: u64, idle: u64| {
            let line = format!("{user} 0 0 {idle} 0 0 0 0 0 0");
            host.write("proc/stat", format!("cpu  {line}\ncpu0 {line}\n"));
        };
        let options = Options { utilization_period: Duration::from_secs(1), ..Options::default() };
        let mut context = testing::context(&host.path(""), options);
        // Pairs of readings: each second reading is half a second after the first.
        context.host.calls.clock = |cycle| Duration::from_millis(cycle.div_ceil(2) * 10_000 - cycle % 2 * 500);
        stat(100, 100);
        let mut bench = Bench::new(DEFINITION, context);
        let mut busy = |user, idle| {
            stat(user, idle);
            let mut points = bench.next().into_iter();
            points.find_map(|point| point.strip_prefix("system.cpu.utilization{cpu.mode=user} ").map(str::to_owned))
        };
        assert_eq!([busy(100, 100), busy(100, 100)], [None, None]);
        assert_eq!(busy(125, 175).as_deref(), Some("0.25"));
        // All of the half second was busy. That share is not the first reader's, nor a period of its own.
        assert_eq!(busy(175, 175).as_deref(), Some("0.25"));
        assert_eq!(busy(225, 1075).as_deref(), Some("0.1"));
    }

    #[test]
    fn cpuinfo_without_frequencies_still_counts_cores() {
        let info = parse_cpuinfo(b"processor\t: 0\ncpu MHz\t\t: 2400.123\nphysical id\t: 0\ncore id\t\t: 1\n\nprocessor : 1\nBogoMIPS : 1\n\xff\xfe: x\n");
        assert_eq!(info.len(), 2);
        assert_eq!(info[&0].hertz, Some(2_400_123_000));
        assert_eq!(info[&0].core.as_deref(), Some(&b"0/1"[..]));
        assert_eq!(info[&1].hertz, None);
    }
}
