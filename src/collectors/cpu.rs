//! CPU time, utilisation, counts and frequency, from `/proc/stat`, `/proc/cpuinfo` and sysfs.
//!
//! `guest` is inside `user` and `guest_nice` inside `nice` (Documentation/filesystems/proc.rst), so they are subtracted:
//! nothing is counted twice. The host's line `cpu` is used for the whole, not the sum of `cpuN`: it goes on over
//! CPUs that are taken offline.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{Collector, Context, Definition, Observer, Point};
use crate::host::{Host, Reader, Source, files, read_small};
use crate::metrics::naming::Detail::{Basic, Detailed};
use crate::metrics::naming::Kind::{Counter, Gauge, UpDownCounter};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Detail, Metric, Names, Naming, attributes};
use crate::metrics::parse::{fields, lines, number};
use crate::metrics::total::{Since, Total};

/// The family's entry in the list.
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
/// Only hostmetrics tells it from `interrupt`; the conventions have no such mode.
const SOFTIRQ: Names = Names("interrupt", "softirq");
const STEAL: Names = Names::both("steal");

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("cpu.time", Counter, Double,
        "CPU time spent in each mode; guest time is inside no mode twice",
        "/proc/stat, lines cpu")
        .semconv("system.cpu.time", "s", Basic, &[&MODE, &LOGICAL_NUMBER])
        .hostmetrics("system.cpu.time", "s", Basic, &[&MODE, &LOGICAL_NUMBER]),
    Metric::new("cpu.utilization", Gauge, Double,
        "Share of the time between two readings spent in each mode",
        "/proc/stat, lines cpu")
        .semconv("system.cpu.utilization", "1", Basic, &[&MODE, &LOGICAL_NUMBER])
        .hostmetrics("system.cpu.utilization", "1", Detailed, &[&MODE, &LOGICAL_NUMBER]),
    Metric::new("cpu.logical.count", UpDownCounter, Int,
        "Logical CPUs that are online",
        "/proc/stat, lines cpuN")
        .semconv("system.cpu.logical.count", "{cpu}", Basic, &[])
        .hostmetrics("system.cpu.logical.count", "{cpu}", Basic, &[]),
    Metric::new("cpu.physical.count", UpDownCounter, Int,
        "Physical cores",
        "/sys/devices/system/cpu/cpu*/topology")
        .semconv("system.cpu.physical.count", "{cpu}", Detailed, &[])
        .hostmetrics("system.cpu.physical.count", "{cpu}", Detailed, &[]),
    Metric::new("cpu.frequency", Gauge, Int,
        "Current frequency of each logical CPU",
        "/sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq, else /proc/cpuinfo, cpu MHz")
        .semconv("system.cpu.frequency", "Hz", Detailed, &[&LOGICAL_NUMBER]),
    Metric::new("cpu.frequency", Gauge, Double,
        "Current frequency of each logical CPU",
        "/sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq, else /proc/cpuinfo, cpu MHz")
        .hostmetrics("system.cpu.frequency", "Hz", Detailed, &[&LOGICAL_NUMBER]),
];

/// Columns of a cpu line.
const COLUMNS: usize = 10;
type Columns = [u64; COLUMNS];

/// The most modes a profile has.
const MODES: usize = 8;

/// The most series that a metric of this host's CPUs can have: CPUs that are offline now may come online.
#[must_use]
pub fn most_series(host: &Host) -> usize {
    let online = files::read(&host.proc("stat")).unwrap_or_default();
    let online = lines(&online).filter_map(parse_line).filter(|(cpu, _)| cpu.is_some()).count();
    // "0-511", in the odd case with gaps: the last number is the most there can be.
    let possible = read_small(&host.sys("devices/system/cpu/possible"))
        .and_then(|text| number(text.rsplit(|byte| !byte.is_ascii_digit()).next()?))
        .and_then(|last| usize::try_from(last).ok())
        .filter(|last| *last < MOST_CPUS)
        .map_or(0, |last| last + 1);
    online.max(possible).saturating_mul(MODES)
}

/// NR_CPUS at its largest, on x86.
const MOST_CPUS: usize = 8192;

/// The modes of a profile, in the order in which [`modes`] gives their ticks.
fn mode_names(naming: Naming) -> &'static [Names] {
    match naming {
        Naming::Semconv => &[USER, NICE, SYSTEM, IDLE, IOWAIT, INTERRUPT, STEAL],
        Naming::Hostmetrics | Naming::NodeExporter => &[USER, NICE, SYSTEM, IDLE, IOWAIT, INTERRUPT, STEAL, SOFTIRQ],
    }
}

/// Ticks in each mode: no time is in two of them.
fn modes(naming: Naming, columns: &Columns) -> [u64; MODES] {
    let [user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice] = *columns;
    let (interrupt, softirq) = match naming {
        Naming::Semconv => (irq.saturating_add(softirq), 0),
        Naming::Hostmetrics | Naming::NodeExporter => (irq, softirq),
    };
    [user.saturating_sub(guest), nice.saturating_sub(guest_nice), system, idle, iowait, interrupt, steal, softirq]
}

/// One line of `/proc/stat`, the whole or one CPU, over time.
struct Line {
    /// One per mode of the profile.
    series: Vec<Attributes>,
    totals: [Total; MODES],
    /// The reading before, from the second collection on.
    before: Option<[u64; MODES]>,
    /// Share of each mode between the last two readings.
    shares: Option<[f64; MODES]>,
    seen: bool,
}

impl Line {
    fn new(naming: Naming, cpu: Option<u32>, ticks: [u64; MODES], since: Since) -> Self {
        let series = mode_names(naming)
            .iter()
            .map(|&mode| {
                let mut pairs = vec![(&MODE, AttributeValue::Word(mode))];
                pairs.extend(cpu.map(|cpu| logical_number(naming, cpu)));
                attributes(naming, &pairs)
            })
            .collect();
        Self { series, totals: ticks.map(|t| Total::baseline(t, since)), before: None, shares: None, seen: true }
    }

    fn advance(&mut self, ticks: [u64; MODES], first_cycle: bool) {
        for (total, &reading) in self.totals.iter_mut().zip(&ticks) {
            total.advance(reading);
        }
        self.shares = self.before.and_then(|before| shares(&before, &ticks));
        // The baseline is no cycle of the cadence: a share over it would be of an odd, short time.
        self.before = (!first_cycle || self.before.is_some()).then_some(ticks);
        self.seen = true;
    }

    /// Nothing to compare with until two more readings.
    fn forget_shares(&mut self) {
        (self.before, self.shares) = (None, None);
    }
}

/// Each mode's part of what passed between two readings; a mode that stepped back had no part. `None` where no tick
/// passed. The parts sum to 1.
fn shares(before: &[u64; MODES], now: &[u64; MODES]) -> Option<[f64; MODES]> {
    let mut passed = [0; MODES];
    for ((passed, now), before) in passed.iter_mut().zip(now).zip(before) {
        *passed = now.saturating_sub(*before);
    }
    let sum: u64 = passed.iter().sum();
    #[allow(clippy::cast_precision_loss)] // ticks between two readings are far below 2^52
    (sum > 0).then(|| passed.map(|ticks| ticks as f64 / sum as f64))
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
    since: Since,
    delta: bool,
    per_cpu: bool,
    ticks_per_second: f64,
    whole: Option<Line>,
    cpus: BTreeMap<u32, Line>,
    logical: u64,
    slow: Option<SlowFacts>,
}

impl Cpu {
    fn new(context: &Context) -> Self {
        let options = &context.options;
        let sysfs = context.host.sys("devices/system/cpu");
        #[allow(clippy::cast_precision_loss)] // 100 or 1000
        let ticks_per_second = context.host.ticks_per_second as f64;
        Self {
            naming: options.naming,
            since: options.since,
            delta: options.delta,
            per_cpu: options.per_cpu,
            ticks_per_second,
            whole: None,
            cpus: BTreeMap::new(),
            logical: 0,
            slow: (options.detail == Detail::Detailed).then(|| SlowFacts {
                sysfs,
                cpuinfo: Source::new(context.host.proc("cpuinfo"), "no frequencies and no core counts without it"),
                naming: options.naming,
                cores: 0,
                frequencies: Vec::new(),
            }),
        }
    }

    fn take(&mut self, stat: &[u8], cycle: u64) {
        for line in self.whole.iter_mut().chain(self.cpus.values_mut()) {
            line.seen = false;
        }
        self.logical = 0;
        let mut highest = None;
        let (naming, since) = (self.naming, self.since);
        // The kernel writes the cpu lines first and the long `intr` line after them; they are never mixed.
        for text in lines(stat).take_while(|line| !line.starts_with(b"intr")) {
            let Some((cpu, columns)) = parse_line(text) else { continue };
            let ticks = modes(naming, &columns);
            let entry = match cpu {
                None => &mut self.whole,
                Some(number) => {
                    // The kernel writes them in order: a number that comes again can only be damage.
                    if highest.is_none_or(|highest| number > highest) {
                        highest = Some(number);
                        self.logical += 1;
                    }
                    if !self.per_cpu {
                        continue;
                    }
                    match self.cpus.get_mut(&number) {
                        Some(line) => {
                            if !line.seen {
                                line.advance(ticks, cycle == 0);
                            }
                        }
                        None => {
                            self.cpus.insert(number, Line::new(naming, cpu, ticks, since));
                        }
                    }
                    continue;
                }
            };
            match entry {
                Some(line) if line.seen => {}
                Some(line) => line.advance(ticks, cycle == 0),
                None => *entry = Some(Line::new(naming, None, ticks, since)),
            }
        }
        if let Some(whole) = self.whole.as_mut().filter(|whole| !whole.seen) {
            whole.forget_shares();
        }
        for line in self.cpus.values_mut().filter(|line| !line.seen) {
            line.forget_shares();
            // Not so the whole: it is reported in any case, and a total of zero would be a difference below zero.
            if self.delta {
                line.totals.iter_mut().for_each(Total::forget);
            }
        }
    }

    /// The lines that are reported: the CPUs, or the whole. Never both, their sum would be twice the host.
    fn reported(&self) -> impl Iterator<Item = &Line> {
        let whole = if self.per_cpu { None } else { self.whole.as_ref() };
        whole.into_iter().chain(self.cpus.values().filter(|line| line.seen))
    }
}

/// A line `cpu` (`None`) or `cpuN`, or nothing that this collector reads. Kernels before 2.6.33 have fewer columns,
/// newer ones may have more.
pub(super) fn parse_line(line: &[u8]) -> Option<(Option<u32>, Columns)> {
    const LEAST_COLUMNS: usize = 4;
    let mut fields = fields(line);
    let cpu = match fields.next()?.strip_prefix(b"cpu")? {
        b"" => None,
        digits => Some(u32::try_from(number(digits)?).ok()?),
    };
    let mut columns = [0; COLUMNS];
    let mut filled = 0;
    for (column, field) in columns.iter_mut().zip(fields) {
        *column = number(field)?;
        filled += 1;
    }
    (filled >= LEAST_COLUMNS).then_some((cpu, columns))
}

impl Collector for Cpu {
    fn read(&mut self, reader: &mut Reader) {
        let cycle = reader.cycle();
        match reader.stat() {
            Some(stat) => self.take(stat, cycle),
            None => {
                self.logical = 0;
                self.whole.iter_mut().chain(self.cpus.values_mut()).for_each(Line::forget_shares);
            }
        }
        if let Some(slow) = &mut self.slow {
            slow.read(reader);
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        match metric.id {
            "cpu.time" => {
                for line in self.reported() {
                    for (attributes, total) in line.series.iter().zip(&line.totals) {
                        #[allow(clippy::cast_precision_loss)] // exact for 2.8 million years of ticks
                        out.float(total.value() as f64 / self.ticks_per_second, attributes);
                    }
                }
            }
            "cpu.utilization" => {
                for line in self.reported() {
                    for (attributes, &share) in line.series.iter().zip(line.shares.iter().flatten()) {
                        out.float(share, attributes);
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

/// What `--detail detailed` adds: core count and frequencies.
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
            // Siblings of one core have the same list; it is what tells cores apart on every architecture.
            let siblings = ["topology/core_cpus_list", "topology/thread_siblings_list"]
                .iter()
                .find_map(|name| read_small(&dir.join(name)));
            cores.insert(
                siblings.unwrap_or_else(|| cpu.core.clone().unwrap_or_else(|| number.to_string().into_bytes())),
            );
            let khz =
                read_small(&dir.join("cpufreq/scaling_cur_freq")).and_then(|text| crate::metrics::parse::number(&text));
            // Drivers that cannot tell write 0.
            let hertz = khz.filter(|khz| *khz > 0).map(|khz| khz.saturating_mul(1_000));
            if let Some(hertz) = hertz.or(cpu.hertz) {
                let attributes = attributes(self.naming, &[logical_number(self.naming, *number)]);
                self.frequencies.push(Point { attributes, value: hertz });
            }
        }
        self.cores = cores.len() as u64;
    }
}

/// What `/proc/cpuinfo` says of one logical CPU.
#[derive(Default)]
struct CpuInfo {
    hertz: Option<u64>,
    /// Package and core, where the architecture tells them.
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

    #[test]
    fn guest_time_is_not_counted_twice_and_never_below_zero() {
        let (_, columns) = parse_line(b"cpu  100 50 3 4 5 6 7 8 30 60").unwrap();
        assert_eq!(modes(Naming::Semconv, &columns), [70, 0, 3, 4, 5, 13, 8, 0]);
        assert_eq!(modes(Naming::Hostmetrics, &columns), [70, 0, 3, 4, 5, 6, 8, 7]);
    }

    #[test]
    fn old_kernels_have_fewer_columns_and_new_ones_may_have_more() {
        assert_eq!(parse_line(b"cpu0 1 2 3 4").unwrap(), (Some(0), [1, 2, 3, 4, 0, 0, 0, 0, 0, 0]));
        assert_eq!(
            parse_line(b"cpu12 1 2 3 4 5 6 7 8 9 10 11 12").unwrap(),
            (Some(12), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
        );
    }

    #[test]
    fn an_odd_line_is_no_cpu() {
        for odd in [
            &b"cpu0 1 2 3"[..],
            b"cpux 1 2 3 4",
            b"cpu0 1 x 3 4",
            b"intr 1 2 3 4 5",
            b"cpu",
            b"cpu-1 1 2 3 4",
            b"cpu0 1 2 3 18446744073709551616",
        ] {
            assert!(parse_line(odd).is_none(), "{:?}", String::from_utf8_lossy(odd));
        }
    }

    #[test]
    fn shares_sum_to_one_and_a_mode_that_stepped_back_has_none() {
        let before = [100, 0, 50, 1_000, 20, 0, 0, 0];
        let now = [150, 0, 75, 1_025, 10, 0, 0, 0];
        let shares = shares(&before, &now).unwrap();
        assert_eq!(shares[0], 0.5);
        assert_eq!(shares[4], 0.0);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(super::shares(&now, &now).is_none());
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
