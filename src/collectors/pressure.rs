//! Pressure stall information, from `/proc/pressure` (Documentation/accounting/psi.rst): how long tasks waited for a
//! resource. `some`: at least one task waited. `full`: all tasks that were not idle waited at the same time; this time
//! is included in `some`, so the two must not be added.
//!
//! The semantic conventions do not define it yet. hostmetrics does not have it, so the collector reports nothing in
//! that profile. Each file and line may be missing: `irq` was added in Linux 6.1, needs CONFIG_IRQ_TIME_ACCOUNTING and
//! has no `some`; `cpu` has no `full` before 5.13, and since then the kernel documents it as undefined for a whole host
//! and usually writes 0.

use std::path::Path;

use tracing::{debug, info};

use super::{Collector, Context, Definition, Observer};
use crate::host::{Health, Reader, Source};
use crate::metrics::counter::{self, Counters, Rules};
use crate::metrics::naming::Detail::Basic;
use crate::metrics::naming::Kind::Counter;
use crate::metrics::naming::Number::Double;
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names, Naming, attributes};
use crate::metrics::parse::pressure;

pub const DEFINITION: Definition =
    Definition { name: "pressure", metrics: METRICS, new: |context| Box::new(Pressure::new(context)) };

const RESOURCE: Attribute = Attribute { key: Names::both("system.pressure.resource"), values: &[CPU, MEMORY, IO, IRQ] };
const TYPE: Attribute = Attribute { key: Names::both("system.pressure.type"), values: &[SOME, FULL] };

const CPU: Names = Names::both("cpu");
const MEMORY: Names = Names::both("memory");
const IO: Names = Names::both("io");
const IRQ: Names = Names::both("irq");
const SOME: Names = Names::both("some");
const FULL: Names = Names::both("full");

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("time", Counter, Double, "Time in which some, or all, tasks waited for a resource",
        "/proc/pressure/{cpu,memory,io,irq}, total").since("4.20; cpu full 5.13, irq 6.1")
        .semconv("system.pressure.time", "s", Basic, &[&RESOURCE, &TYPE]),
];

/// Unit of the kernel's totals.
const MICROSECONDS_PER_SECOND: f64 = 1e6;

/// A file in `/proc/pressure`.
struct Resource {
    source: Source,
    /// `some` and `full`.
    series: [Attributes; 2],
    totals: Counters<2>,
}

struct Pressure {
    resources: [Resource; 4],
    logged: bool,
}

impl Pressure {
    fn new(context: &Context) -> Self {
        let options = &context.options;
        // If the kernel does not account pressure, all files are missing: log one line rather than four.
        let resource = |name: Names| Resource {
            source: Source::new(context.host.proc("pressure").join(name.of(Naming::Semconv)), "").holds_counters(),
            series: [SOME, FULL].map(|kind| {
                let pairs = [(&RESOURCE, AttributeValue::Word(name)), (&TYPE, AttributeValue::Word(kind))];
                attributes(options.naming, &pairs)
            }),
            totals: Counters::new(Rules::new([counter::Kind::UNLIMITED; 2], options.since)),
        };
        Self { resources: [CPU, MEMORY, IO, IRQ].map(resource), logged: false }
    }

    /// Logs once which features this kernel lacks.
    fn log_missing(&mut self, reader: &mut Reader) {
        if std::mem::replace(&mut self.logged, true) {
            return;
        }
        let [cpu, memory, io, irq] = self.resources.each_ref().map(|resource| &resource.source);
        let lacks = |source: &Source| *source.health() == Health::Unsupported;
        let mut say = |path: &Path, words: &str| {
            info!("{} is not there: {words}", path.display());
            reader.note(path, false, words);
        };
        if [cpu, memory, io].into_iter().all(lacks) {
            let words =
                "pressure needs CONFIG_PSI=y and, where it is off by default, psi=1 on the kernel's command line";
            say(cpu.path().parent().unwrap_or(cpu.path()), words);
            return;
        }
        for source in [cpu, memory, io].into_iter().filter(|source| lacks(source)) {
            say(source.path(), "this kernel does not count that pressure");
        }
        if lacks(irq) {
            debug!("{} is not there: it needs Linux 6.1 and CONFIG_IRQ_TIME_ACCOUNTING=y", irq.path().display());
            reader.note(irq.path(), false, "");
        }
    }
}

impl Collector for Pressure {
    fn read(&mut self, reader: &mut Reader) {
        let now = reader.now();
        for resource in &mut self.resources {
            if let Some(bytes) = reader.read(&mut resource.source) {
                resource.totals.read(&pressure(bytes), now);
            }
        }
        self.log_missing(reader);
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        if metric.id != "time" {
            return;
        }
        for resource in &self.resources {
            for (attributes, total) in resource.series.iter().zip(resource.totals.totals()) {
                if let Some(total) = total {
                    #[allow(clippy::cast_precision_loss)] // exact for 285 years of microseconds
                    out.float(total as f64 / MICROSECONDS_PER_SECOND, attributes);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Options;
    use super::super::testing::{Bench, context, fixture};
    use super::*;
    use crate::metrics::counter::Since;

    fn since_boot() -> Options {
        Options { since: Since::Boot, ..Options::default() }
    }

    fn points(host: &str) -> Vec<String> {
        let prefix = "system.pressure.time{system.pressure.resource=";
        let points = Bench::new(DEFINITION, fixture(host, since_boot())).next();
        points.iter().map(|point| point.strip_prefix(prefix).unwrap().replace("system.pressure.type=", "")).collect()
    }

    #[test]
    fn every_total_of_every_resource_is_reported_in_seconds() {
        assert_eq!(
            points("server"),
            [
                "cpu,some} 4100.000111",
                "cpu,full} 0",
                "memory,some} 5200.000222",
                "memory,full} 1300.000333",
                "io,some} 61000.000444",
                "io,full} 47000.000555",
                "irq,full} 870.000666",
            ]
        );
    }

    #[test]
    fn a_kernel_without_full_for_cpu_and_without_irq_reports_the_rest() {
        assert_eq!(
            points("container"),
            [
                "cpu,some} 330.000033",
                "memory,some} 4.400044",
                "memory,full} 1.100011",
                "io,some} 550.000055",
                "io,full} 220.000022",
            ]
        );
    }

    #[test]
    fn a_kernel_without_pressure_reports_nothing_and_fails_nothing() {
        let mut pressure = Bench::new(DEFINITION, fixture("old-kernel", since_boot()));
        assert!(pressure.next().is_empty());
        assert_eq!(pressure.reader.failures(), 0);
    }

    #[test]
    fn an_odd_line_costs_that_line() {
        assert_eq!(points("hostile"), ["memory,some} 123.456789", "io,full} 0.424242", "irq,full} 0.031337"]);
        assert_eq!(
            pressure(b"some avg10=0.00 total=x\nsome total=5 total=6\nfull\nfull total=-1\nhalf total=9\nfull total=7"),
            [Some(5), Some(7)]
        );
    }

    #[test]
    fn time_counts_from_the_agents_start_and_holds_while_a_file_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("proc/pressure/io");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "some total=5000000\n").unwrap();
        let mut pressure = Bench::new(DEFINITION, context(dir.path(), Options::default()));
        std::fs::write(&file, "some total=6500000\nfull total=900000\n").unwrap();
        let series = "system.pressure.time{system.pressure.resource=io,system.pressure.type=";
        assert_eq!(pressure.next(), [format!("{series}some}} 1.5"), format!("{series}full}} 0")]);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(pressure.next(), [format!("{series}some}} 1.5"), format!("{series}full}} 0")]);
    }

    #[test]
    fn zeros_once_add_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("proc/pressure/io");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let write =
            |some: u64, full: u64| std::fs::write(&file, format!("some total={some}\nfull total={full}\n")).unwrap();
        write(0, 0);
        let mut pressure = Bench::new(DEFINITION, context(dir.path(), Options::default()));
        let mut after = |some, full| {
            write(some, full);
            pressure.next().iter().map(|point| point.rsplit(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(after(4_000_000_000, 9), ["0", "0"]);
        assert_eq!(after(4_001_000_000, 1_000_009), ["1", "1"]);
        assert_eq!(after(0, 0), ["1", "1"]);
        assert_eq!(after(4_003_000_000, 1_500_009), ["3", "1.5"]);
    }

    #[test]
    fn hostmetrics_has_no_pressure() {
        let options = Options { naming: Naming::Hostmetrics, ..since_boot() };
        assert!(Bench::new(DEFINITION, fixture("server", options)).next().is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _totals = pressure(&bytes);
        }

        #[test]
        fn a_total_is_found_wherever_it_stands(before in "( avg[0-9]+=[0-9.]+){0,4}", total: u64) {
            let file = format!("some{before} total={total}\n");
            prop_assert_eq!(pressure(file.as_bytes()), [Some(total), None]);
        }
    }
}
