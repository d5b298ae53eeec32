//! Swap space and paging, from `/proc/swaps` and `/proc/vmstat`.
//!
//! The operations of type `minor` are pgpgin and pgpgout, which the kernel counts in KiB of block I/O. hostmetrics
//! multiplies all of them by 4096 although the units are operations and faults; here they are the kernel's counts.

use super::{Collector, Context, Definition, Observer};
use crate::host::{Health, Reader, Source};
use crate::metrics::counter::{self, Counters, Rules};
use crate::metrics::naming::Detail::{Basic, Detailed};
use crate::metrics::naming::Kind::{Counter, Gauge, UpDownCounter};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names, Naming, attributes, word};
use crate::metrics::parse::{fields, lines, next_number, number, text, unescape};

pub const DEFINITION: Definition =
    Definition { name: "paging", metrics: METRICS, new: |context| Box::new(Paging::new(context)) };

const DEVICE: Attribute = Attribute { key: Names("system.device", "device"), values: &[] };
const STATE: Attribute = Attribute { key: Names("system.paging.state", "state"), values: &[USED, FREE] };
const FAULT_TYPE: Attribute = Attribute { key: Names("system.paging.fault.type", "type"), values: &[MAJOR, MINOR] };
const DIRECTION: Attribute = Attribute { key: Names("system.paging.direction", "direction"), values: &[IN, OUT] };

const USED: Names = Names::both("used");
const FREE: Names = Names::both("free");
const MAJOR: Names = Names::both("major");
const MINOR: Names = Names::both("minor");
const IN: Names = Names("in", "page_in");
const OUT: Names = Names("out", "page_out");

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("usage", UpDownCounter, Int, "Swap space in each state", "/proc/swaps, Size, Used")
        .both("system.paging.usage", "By", Basic, &[&DEVICE, &STATE]),
    Metric::new("utilization", Gauge, Double, "Each state's share of the swap space", "/proc/swaps, Size, Used")
        .semconv("system.paging.utilization", "1", Basic, &[&DEVICE, &STATE])
        .hostmetrics("system.paging.utilization", "1", Detailed, &[&DEVICE, &STATE]),
    Metric::new("faults", Counter, Int, "Page faults: major ones waited for a disk",
        "/proc/vmstat, pgmajfault, pgfault")
        .semconv("system.paging.faults", "{fault}", Basic, &[&FAULT_TYPE])
        .hostmetrics("system.paging.faults", "{faults}", Basic, &[&FAULT_TYPE]),
    Metric::new("operations", Counter, Int, "Pages swapped (major), KiB moved to and from block devices (minor)",
        "/proc/vmstat, pswpin, pswpout, pgpgin, pgpgout")
        .semconv("system.paging.operations", "{operation}", Basic, &[&DIRECTION, &FAULT_TYPE])
        .hostmetrics("system.paging.operations", "{operations}", Basic, &[&DIRECTION, &FAULT_TYPE]),
];

/// Bytes per unit of `/proc/swaps`.
const KB_BYTES: u64 = 1024;

/// A swap area, or all swap areas with the same name.
struct Swap {
    /// The name in `/proc/swaps`. `None` for the total swap from `/proc/meminfo`.
    name: Option<Vec<u8>>,
    series: [Attributes; 2],
    size: u64,
    used: u64,
}

struct Paging {
    naming: Naming,
    word_bits: u32,
    swaps_file: Source,
    /// Read if `/proc/swaps` is missing.
    meminfo_file: Source,
    swaps: Vec<Swap>,
    faults: [Attributes; 2],
    operations: [Attributes; 4],
    /// Totals of the faults, then of the operations.
    totals: Counters<6>,
}

impl Paging {
    fn new(context: &Context) -> Self {
        let options = &context.options;
        let naming = options.naming;
        let operation = |direction, kind| {
            attributes(
                naming,
                &[(&DIRECTION, AttributeValue::Word(direction)), (&FAULT_TYPE, AttributeValue::Word(kind))],
            )
        };
        let events = counter::Kind::EVENTS.word(context.host.word_bits);
        Self {
            naming,
            word_bits: context.host.word_bits,
            swaps_file: Source::new(context.host.proc("swaps"), "this kernel has no swap (CONFIG_SWAP)"),
            meminfo_file: Source::new(context.host.proc("meminfo"), ""),
            swaps: Vec::new(),
            faults: [MAJOR, MINOR].map(|kind| word(naming, &FAULT_TYPE, kind)),
            operations: [operation(IN, MAJOR), operation(OUT, MAJOR), operation(IN, MINOR), operation(OUT, MINOR)],
            totals: Counters::new(Rules::new([events; 6], options.since)),
        }
    }

    fn read_swaps(&mut self, reader: &mut Reader) {
        let kept = std::mem::take(&mut self.swaps);
        let naming = self.naming;
        let areas: Vec<(Option<&[u8]>, u64, u64)> = match reader.read(&mut self.swaps_file) {
            Some(bytes) => {
                lines(bytes).filter_map(parse_swap).map(|(name, size, used)| (Some(name), size, used)).collect()
            }
            None if *self.swaps_file.health() == Health::Unsupported => {
                let all = reader.read(&mut self.meminfo_file).and_then(parse_meminfo);
                all.into_iter().map(|(size, used)| (None, size, used)).collect()
            }
            None => Vec::new(),
        };
        // Used space cannot exceed the size.
        for (name, size, used) in areas.into_iter().filter(|(_, size, used)| used <= size) {
            let (size, used) = (size.saturating_mul(KB_BYTES), used.saturating_mul(KB_BYTES));
            // Two deleted files, or files in different mount namespaces, can have the same name: sum them in one
            // series.
            if let Some(swap) = self.swaps.iter_mut().find(|swap| swap.name.as_deref() == name) {
                (swap.size, swap.used) = (swap.size.saturating_add(size), swap.used.saturating_add(used));
                continue;
            }
            let series = match kept.iter().find(|swap| swap.name.as_deref() == name) {
                Some(swap) => swap.series.clone(),
                None => swap_series(naming, name),
            };
            self.swaps.push(Swap { name: name.map(<[u8]>::to_vec), series, size, used });
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Vmstat {
    swapped_in: Option<u64>,
    swapped_out: Option<u64>,
    paged_in: Option<u64>,
    paged_out: Option<u64>,
    faults: Option<u64>,
    major_faults: Option<u64>,
}

impl Vmstat {
    fn parse(bytes: &[u8]) -> Self {
        let mut stat = Self::default();
        let mut missing = 6;
        for line in lines(bytes) {
            // Fast rejection: all needed names start with p, most lines do not.
            if !line.starts_with(b"p") {
                continue;
            }
            let mut fields = fields(line);
            let slot = match fields.next() {
                Some(b"pswpin") => &mut stat.swapped_in,
                Some(b"pswpout") => &mut stat.swapped_out,
                Some(b"pgpgin") => &mut stat.paged_in,
                Some(b"pgpgout") => &mut stat.paged_out,
                Some(b"pgfault") => &mut stat.faults,
                Some(b"pgmajfault") => &mut stat.major_faults,
                _ => continue,
            };
            let value = next_number(&mut fields);
            if slot.is_none() && value.is_some() {
                *slot = value;
                missing -= 1;
                if missing == 0 {
                    break;
                }
            }
        }
        stat
    }

    /// All faults minus the major ones. On a 32-bit kernel, the two counters wrap at different times.
    fn minor_faults(&self, word_bits: u32) -> Option<u64> {
        let (all, major) = (self.faults?, self.major_faults?);
        match all.checked_sub(major) {
            None if word_bits <= 32 => Some(all.wrapping_sub(major) & u64::from(u32::MAX)),
            minor => Some(minor.unwrap_or(0)),
        }
    }
}

/// Parses a line of `/proc/swaps`: the unmodified name, size and used in kB.
fn parse_swap(line: &[u8]) -> Option<(&[u8], u64, u64)> {
    let mut fields = fields(line);
    let (name, _kind) = (fields.next()?, fields.next()?);
    Some((name, next_number(&mut fields)?, number(fields.next()?)?))
}

/// Parses size and used swap in kB from `/proc/meminfo`; `None` if there is no swap.
fn parse_meminfo(bytes: &[u8]) -> Option<(u64, u64)> {
    let value = |name: &[u8]| lines(bytes).find_map(|line| next_number(&mut fields(line.strip_prefix(name)?)));
    let (total, free) = (value(b"SwapTotal:")?, value(b"SwapFree:")?);
    Some((total, total.checked_sub(free)?)).filter(|(total, _)| *total > 0)
}

impl Collector for Paging {
    fn read(&mut self, reader: &mut Reader) {
        self.read_swaps(reader);
        let now = reader.now();
        if let Some(bytes) = reader.vmstat() {
            let stat = Vmstat::parse(bytes);
            let minor = stat.minor_faults(self.word_bits);
            let Vmstat { swapped_in, swapped_out, paged_in, paged_out, major_faults, .. } = stat;
            self.totals.read(&[major_faults, minor, swapped_in, swapped_out, paged_in, paged_out], now);
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        match metric.id {
            "usage" => {
                for swap in &self.swaps {
                    let [used, free] = &swap.series;
                    out.int(swap.used, used);
                    out.int(swap.size.saturating_sub(swap.used), free);
                }
            }
            "utilization" => {
                for swap in &self.swaps {
                    let [used, free] = &swap.series;
                    #[allow(clippy::cast_precision_loss)] // a ratio
                    let share = swap.used.min(swap.size) as f64 / swap.size as f64;
                    out.float(share, used);
                    out.float(1.0 - share, free);
                }
            }
            "faults" => observe(&self.faults, self.totals.totals(), out),
            "operations" => observe(&self.operations, self.totals.totals().skip(self.faults.len()), out),
            _ => {}
        }
    }
}

fn observe(series: &[Attributes], totals: impl Iterator<Item = Option<u64>>, out: &mut Observer<'_>) {
    for (attributes, total) in series.iter().zip(totals) {
        if let Some(total) = total {
            out.int(total, attributes);
        }
    }
}

fn swap_series(naming: Naming, name: Option<&[u8]>) -> [Attributes; 2] {
    let device: Option<std::sync::Arc<str>> = name.map(|name| match naming {
        Naming::Semconv => text(&unescape(name)).into(),
        Naming::Hostmetrics | Naming::NodeExporter => text(name).into(),
    });
    [USED, FREE].map(|state| {
        let mut pairs: Vec<_> =
            device.iter().map(|device| (&DEVICE, AttributeValue::Text(std::sync::Arc::clone(device)))).collect();
        pairs.push((&STATE, AttributeValue::Word(state)));
        attributes(naming, &pairs)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::testing::{Bench, Host, series};
    use super::*;

    fn usage(files: &[(&str, &str)]) -> Vec<String> {
        let host = Host::empty();
        for (path, content) in files {
            host.write(path, content);
        }
        let mut paging = Paging::new(&host.context(Options::default()));
        host.read(&mut paging);
        series(&paging, METRICS, "usage")
    }

    #[test]
    fn two_swap_areas_of_one_name_are_one_series_with_both() {
        let swaps =
            "Filename Type Size Used Priority\n/swap\\040(deleted) file 100 7 -2\n/swap\\040(deleted) file 50 1 -3\n";
        assert_eq!(
            usage(&[("proc/swaps", swaps)]),
            [
                format!("system.device=/swap (deleted) system.paging.state=used {}", 8 * 1024),
                format!("system.device=/swap (deleted) system.paging.state=free {}", 142 * 1024),
            ]
        );
    }

    #[test]
    fn an_area_with_more_in_use_than_it_has_is_left_out() {
        let swaps = "/dev/zram0 partition 100 101 5\n/dev/sda2 partition 50 50 -2\n";
        assert_eq!(usage(&[("proc/swaps", swaps)]).len(), 2);
        let meminfo = "SwapTotal: 100 kB\nSwapFree: 101 kB\n";
        assert!(usage(&[("proc/meminfo", meminfo)]).is_empty());
    }

    #[test]
    fn without_proc_swaps_the_swap_is_that_of_meminfo() {
        let meminfo = "MemTotal: 9 kB\nSwapCached: 3 kB\nSwapTotal:     100 kB\nSwapFree:   60 kB\n";
        assert_eq!(
            usage(&[("proc/meminfo", meminfo)]),
            [format!("system.paging.state=used {}", 40 * 1024), format!("system.paging.state=free {}", 60 * 1024)]
        );
        assert!(usage(&[("proc/meminfo", "SwapTotal: 0 kB\nSwapFree: 0 kB\n")]).is_empty(), "no swap");
        let listed = [("proc/swaps", "Filename Type Size Used Priority\n"), ("proc/meminfo", meminfo)];
        assert!(usage(&listed).is_empty(), "the list is good and empty");
    }

    #[test]
    fn a_vmstat_of_zeros_once_adds_nothing() {
        let host = Host::empty();
        let write = |n: u64| {
            let line = |name, by: u64| format!("{name} {}\n", n * by);
            host.write(
                "proc/vmstat",
                line("pgpgin", 1000)
                    + &line("pgpgout", 2000)
                    + &line("pswpin", 0)
                    + &line("pswpout", 1)
                    + &line("pgfault", 5000)
                    + &line("pgmajfault", 10),
            );
        };
        write(0);
        let mut paging = Bench::new(DEFINITION, host.context(Options::default()));
        let mut after = |n| {
            write(n);
            let points = paging.next().into_iter().filter(|point| !point.contains("usage"));
            points.map(|point| point.rsplit(' ').next().unwrap().parse().unwrap()).collect::<Vec<u64>>()
        };
        assert_eq!(after(1_000_000), [0; 6]);
        assert_eq!(after(1_000_001), [10, 4990, 0, 1, 1000, 2000]);
        assert_eq!(after(0), [10, 4990, 0, 1, 1000, 2000]);
        assert_eq!(after(1_000_003), [30, 3 * 4990, 0, 3, 3000, 6000]);
    }

    #[test]
    fn minor_faults_are_all_less_the_major_ones() {
        let stat =
            Vmstat::parse(b"nr_free_pages 9\npgpgin 1\npgpgout 2\npswpin 3\npswpout 4\npgfault 100\npgmajfault 7\n");
        assert_eq!(stat.minor_faults(64), Some(93));
        let wrapped = Vmstat { faults: Some(5), major_faults: Some(7), ..Vmstat::default() };
        assert_eq!((wrapped.minor_faults(64), wrapped.minor_faults(32)), (Some(0), Some(u64::from(u32::MAX) - 1)));
        assert_eq!((stat.paged_in, stat.swapped_out), (Some(1), Some(4)));
    }

    #[test]
    fn an_odd_line_of_vmstat_costs_that_line() {
        let stat =
            Vmstat::parse(b"pgpgin\npgpgout x\npswpin -3\npgfault 18446744073709551616\npgmajfault 7\n\xff\xff 1");
        assert_eq!(stat, Vmstat { major_faults: Some(7), ..Vmstat::default() });
    }

    #[test]
    fn the_heading_of_swaps_and_odd_lines_are_no_swap() {
        assert!(parse_swap(b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority").is_none());
        assert!(parse_swap(b"/dev/sda2 partition 100").is_none());
        assert_eq!(
            parse_swap(br"/swap\040file\040(deleted) file 100 7 -2"),
            Some((&br"/swap\040file\040(deleted)"[..], 100, 7))
        );
    }
}
