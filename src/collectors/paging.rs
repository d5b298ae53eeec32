//! Swap space and paging, from `/proc/swaps` and `/proc/vmstat`.
//!
//! The operations of type `minor` are pgpgin and pgpgout, which the kernel counts in KiB of block I/O.
//! hostmetrics multiplies all of them by 4096 under units that say operations and faults; here they are the kernel's counts.

use super::{Collector, Context, Definition, Observer};
use crate::host::{Reader, Source};
use crate::metrics::naming::Detail::{Basic, Detailed};
use crate::metrics::naming::Kind::{Counter, Gauge, UpDownCounter};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names, Naming, attributes, word};
use crate::metrics::parse::{fields, lines, next_number, number, text, unescape};
use crate::metrics::total::{Since, Total};

/// The family's entry in the list.
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
    Metric::new("usage", UpDownCounter, Int,
        "Swap space in each state",
        "/proc/swaps, Size, Used")
        .semconv("system.paging.usage", "By", Basic, &[&DEVICE, &STATE])
        .hostmetrics("system.paging.usage", "By", Basic, &[&DEVICE, &STATE]),
    Metric::new("utilization", Gauge, Double,
        "Each state's share of the swap space",
        "/proc/swaps, Size, Used")
        .semconv("system.paging.utilization", "1", Basic, &[&DEVICE, &STATE])
        .hostmetrics("system.paging.utilization", "1", Detailed, &[&DEVICE, &STATE]),
    Metric::new("faults", Counter, Int,
        "Page faults: major ones waited for a disk",
        "/proc/vmstat, pgmajfault, pgfault")
        .semconv("system.paging.faults", "{fault}", Basic, &[&FAULT_TYPE])
        .hostmetrics("system.paging.faults", "{faults}", Basic, &[&FAULT_TYPE]),
    Metric::new("operations", Counter, Int,
        "Pages swapped (major), KiB moved to and from block devices (minor)",
        "/proc/vmstat, pswpin, pswpout, pgpgin, pgpgout")
        .semconv("system.paging.operations", "{operation}", Basic, &[&DIRECTION, &FAULT_TYPE])
        .hostmetrics("system.paging.operations", "{operations}", Basic, &[&DIRECTION, &FAULT_TYPE]),
];

/// Bytes of the unit of `/proc/swaps`.
const KB_BYTES: u64 = 1024;

/// One swap area.
struct Swap {
    name: Vec<u8>,
    series: [Attributes; 2],
    size: u64,
    used: u64,
}

struct Paging {
    naming: Naming,
    since: Since,
    swaps_file: Source,
    swaps: Vec<Swap>,
    vmstat_file: Source,
    faults: Counters<2>,
    operations: Counters<4>,
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
        Self {
            naming,
            since: options.since,
            swaps_file: Source::new(context.host.proc("swaps"), "this kernel has no swap (CONFIG_SWAP)"),
            swaps: Vec::new(),
            vmstat_file: Source::new(context.host.proc("vmstat"), "this kernel has no CONFIG_VM_EVENT_COUNTERS")
                .holds_counters(),
            faults: Counters::new([MAJOR, MINOR].map(|kind| word(naming, &FAULT_TYPE, kind))),
            operations: Counters::new([
                operation(IN, MAJOR),
                operation(OUT, MAJOR),
                operation(IN, MINOR),
                operation(OUT, MINOR),
            ]),
        }
    }
}

/// A few counters of one file, each of which the kernel may lack.
struct Counters<const N: usize> {
    series: [Attributes; N],
    totals: [Option<Total>; N],
}

impl<const N: usize> Counters<N> {
    fn new(series: [Attributes; N]) -> Self {
        Self { series, totals: [None; N] }
    }

    /// A counter that was not there before takes its first reading as baseline.
    fn advance(&mut self, readings: [Option<u64>; N], since: Since) {
        for (total, reading) in self.totals.iter_mut().zip(readings) {
            match (total.as_mut(), reading) {
                (Some(total), Some(reading)) => total.advance(reading),
                (None, Some(reading)) => *total = Some(Total::baseline(reading, since)),
                (_, None) => {}
            }
        }
    }

    fn observe(&self, out: &mut Observer<'_>) {
        for (attributes, total) in self.series.iter().zip(&self.totals) {
            if let Some(total) = total {
                out.int(total.value(), attributes);
            }
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
            // Most of the file's lines are none of ours, and no name of ours begins otherwise.
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

    fn minor_faults(&self) -> Option<u64> {
        Some(self.faults?.saturating_sub(self.major_faults?))
    }
}

/// The columns of a line of `/proc/swaps`: the name as it stands, size and used in kB.
fn parse_swap(line: &[u8]) -> Option<(&[u8], u64, u64)> {
    let mut fields = fields(line);
    let (name, _kind) = (fields.next()?, fields.next()?);
    Some((name, next_number(&mut fields)?, number(fields.next()?)?))
}

impl Collector for Paging {
    fn read(&mut self, reader: &mut Reader) {
        match reader.read(&mut self.swaps_file) {
            Some(bytes) => {
                let mut kept = std::mem::take(&mut self.swaps);
                for (name, size, used) in lines(bytes).filter_map(parse_swap) {
                    let (size, used) = (size.saturating_mul(KB_BYTES), used.saturating_mul(KB_BYTES));
                    let series = match kept.iter().position(|swap| swap.name == name) {
                        Some(at) => kept.swap_remove(at).series,
                        None => swap_series(self.naming, name),
                    };
                    self.swaps.push(Swap { name: name.to_vec(), series, size, used });
                }
            }
            None => self.swaps.clear(),
        }
        if let Some(bytes) = reader.read(&mut self.vmstat_file) {
            let stat = Vmstat::parse(bytes);
            self.faults.advance([stat.major_faults, stat.minor_faults()], self.since);
            self.operations.advance([stat.swapped_in, stat.swapped_out, stat.paged_in, stat.paged_out], self.since);
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
            "faults" => self.faults.observe(out),
            "operations" => self.operations.observe(out),
            _ => {}
        }
    }
}

fn swap_series(naming: Naming, name: &[u8]) -> [Attributes; 2] {
    let device = match naming {
        Naming::Semconv => text(&unescape(name)),
        Naming::Hostmetrics | Naming::NodeExporter => text(name),
    };
    let device: std::sync::Arc<str> = device.into();
    [USED, FREE].map(|state| {
        attributes(naming, &[(&DEVICE, AttributeValue::Text(device.clone())), (&STATE, AttributeValue::Word(state))])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_faults_are_all_less_the_major_ones() {
        let stat =
            Vmstat::parse(b"nr_free_pages 9\npgpgin 1\npgpgout 2\npswpin 3\npswpout 4\npgfault 100\npgmajfault 7\n");
        assert_eq!(stat.minor_faults(), Some(93));
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
