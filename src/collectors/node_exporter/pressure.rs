//! Pressure stall times in node_exporter's naming, from `/proc/pressure` (Documentation/accounting/psi.rst).

use super::super::{Collector, Context, Definition, Observer};
use super::rules;
use crate::host::{Reader, Source};
use crate::metrics::counter::{Counters, Kind};
use crate::metrics::naming::Kind::Counter;
use crate::metrics::naming::Metric;
use crate::metrics::naming::Number::Double;
use crate::metrics::parse::pressure;

pub const DEFINITION: Definition =
    Definition { name: "pressure", metrics: METRICS, new: |context| Box::new(Pressure::new(context)) };

const fn stall(name: &'static str, description: &'static str, source: &'static str) -> Metric {
    Metric::node(name, Counter, Double, name, &[], description, source).since("4.20")
}

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    stall("node_pressure_cpu_waiting_seconds_total", "Time in which some task waited for a CPU", "/proc/pressure/cpu, some"),
    stall("node_pressure_io_waiting_seconds_total", "Time in which some task waited for I/O", "/proc/pressure/io, some"),
    stall("node_pressure_io_stalled_seconds_total", "Time in which all tasks waited for I/O", "/proc/pressure/io, full"),
    stall("node_pressure_memory_waiting_seconds_total", "Time in which some task waited for memory", "/proc/pressure/memory, some"),
    stall("node_pressure_memory_stalled_seconds_total", "Time in which all tasks waited for memory", "/proc/pressure/memory, full"),
    stall("node_pressure_irq_stalled_seconds_total", "Time in which interrupts kept all tasks waiting", "/proc/pressure/irq, full"),
];

/// The file of each metric and whether it is the line `full`, in the order of the table.
const LINES: [(&str, bool); 6] =
    [("cpu", false), ("io", false), ("io", true), ("memory", false), ("memory", true), ("irq", true)];
const FILES: [&str; 4] = ["cpu", "io", "memory", "irq"];
const MICROSECONDS_PER_SECOND: f64 = 1e6;

struct Pressure {
    files: [(Source, &'static str); FILES.len()],
    /// One row per file and line, because a row of zeros does not count as a reading.
    totals: [Counters<1>; LINES.len()],
}

impl Pressure {
    fn new(context: &Context) -> Self {
        let missing = "the kernel needs CONFIG_PSI, perhaps psi=1 on its command line";
        let source = |name| {
            let path = context.host.proc("pressure").join(name);
            // Many kernels do not account interrupts.
            if name == "irq" { Source::optional(path) } else { Source::new(path, missing) }
        };
        Self {
            files: FILES.map(|name| (source(name), name)),
            totals: [(); LINES.len()].map(|()| Counters::new(rules([Kind::UNLIMITED], &context.options))),
        }
    }
}

impl Collector for Pressure {
    fn read(&mut self, reader: &mut Reader) {
        let now = reader.now();
        for (source, file) in &mut self.files {
            let Some(bytes) = reader.read(source) else { continue };
            let [some, full] = pressure(bytes);
            for ((_, is_full), counter) in LINES.iter().zip(&mut self.totals).filter(|((of, _), _)| of == file) {
                counter.read(&[if *is_full { full } else { some }], now);
            }
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        let place = METRICS.iter().position(|row| row.id == metric.id);
        if let Some(total) = place.and_then(|place| self.totals.get(place)?.get(0)) {
            #[allow(clippy::cast_precision_loss)] // exact for 285 years of microseconds
            out.float(total as f64 / MICROSECONDS_PER_SECOND, &[]);
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
    fn each_line_is_a_metric_and_a_missing_file_is_none() {
        let host = TestHost::empty();
        host.write("proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=14036781\n");
        host.write(
            "proc/pressure/io",
            "some avg10=0.10 avg60=2.00 avg300=3.85 total=0\nfull avg10=0.20 avg60=3.00 avg300=4.95 total=159229614\n",
        );
        let mut pressure = Pressure::new(&host.context(Options { since: Since::Boot, ..Options::default() }));
        host.read(&mut pressure);
        assert_eq!(series(&pressure, METRICS, "node_pressure_cpu_waiting_seconds_total"), ["14.036781"]);
        assert_eq!(series(&pressure, METRICS, "node_pressure_io_waiting_seconds_total"), ["0"]);
        assert_eq!(series(&pressure, METRICS, "node_pressure_io_stalled_seconds_total"), ["159.229614"]);
        assert!(series(&pressure, METRICS, "node_pressure_irq_stalled_seconds_total").is_empty());
    }
}
