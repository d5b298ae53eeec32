//! The load averages, from `/proc/loadavg`.
//!
//! They count threads that are running, waiting for a CPU or in uninterruptible sleep, averaged by the kernel over 1, 5
//! and 15 minutes. The semantic conventions do not define them yet: both profiles use hostmetrics' names.

use super::{Collector, Definition, Observer};
use crate::host::Reader;
use crate::metrics::naming::Detail::Basic;
use crate::metrics::naming::Kind::Gauge;
use crate::metrics::naming::Metric;
use crate::metrics::naming::Number::Double;
use crate::metrics::parse::{decimal, fields};

pub const DEFINITION: Definition =
    Definition { name: "load", metrics: METRICS, new: |_| Box::new(Load { averages: [None; 3] }) };

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("load.1m", Gauge, Double,
        "Threads that run, wait for a CPU or sleep uninterruptibly, averaged over 1 minute", "/proc/loadavg, field 1")
        .both("system.cpu.load_average.1m", "{thread}", Basic, &[])
        .node_exporter("node_load1", Basic, &[]),
    Metric::new("load.5m", Gauge, Double,
        "Threads that run, wait for a CPU or sleep uninterruptibly, averaged over 5 minutes", "/proc/loadavg, field 2")
        .both("system.cpu.load_average.5m", "{thread}", Basic, &[])
        .node_exporter("node_load5", Basic, &[]),
    Metric::new("load.15m", Gauge, Double,
        "Threads that run, wait for a CPU or sleep uninterruptibly, averaged over 15 minutes", "/proc/loadavg, field 3")
        .both("system.cpu.load_average.15m", "{thread}", Basic, &[])
        .node_exporter("node_load15", Basic, &[]),
];

struct Load {
    averages: [Option<f64>; 3],
}

/// Parses the averages over 1, 5 and 15 minutes, each independently.
fn parse(bytes: &[u8]) -> [Option<f64>; 3] {
    let mut fields = fields(bytes);
    [(); 3].map(|()| fields.next().and_then(decimal))
}

impl Collector for Load {
    fn read(&mut self, reader: &mut Reader) {
        self.averages = reader.loadavg().map(parse).unwrap_or_default();
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        let [one, five, fifteen] = self.averages;
        let average = match metric.id {
            "load.1m" => one,
            "load.5m" => five,
            "load.15m" => fifteen,
            _ => None,
        };
        if let Some(average) = average {
            out.float(average, &[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{Bench, context, fixture};
    use super::super::{Naming, Options};
    use super::*;

    #[test]
    fn the_three_averages_are_reported_with_the_kernels_values() {
        for naming in [Naming::Semconv, Naming::Hostmetrics] {
            let options = Options { naming, ..Options::default() };
            assert_eq!(
                Bench::new(DEFINITION, fixture("server", options)).next(),
                [
                    "system.cpu.load_average.1m 2.17",
                    "system.cpu.load_average.5m 1.83",
                    "system.cpu.load_average.15m 1.42"
                ]
            );
        }
    }

    #[test]
    fn an_average_that_is_missing_or_odd_costs_itself() {
        assert_eq!(
            Bench::new(DEFINITION, fixture("hostile", Options::default())).next(),
            ["system.cpu.load_average.1m 0.42", "system.cpu.load_average.5m 1.5"]
        );
        assert_eq!(parse(b"0.10 nan 0.30 1/2 3\n"), [Some(0.1), None, Some(0.3)]);
    }

    #[test]
    fn averages_that_cannot_be_read_any_more_are_not_reported() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        std::fs::write(dir.path().join("proc/loadavg"), "1.00 2.00 3.00 1/2 3\n").unwrap();
        let mut load = Bench::new(DEFINITION, context(dir.path(), Options::default()));
        assert_eq!(load.next().len(), 3);
        std::fs::remove_file(dir.path().join("proc/loadavg")).unwrap();
        assert!(load.next().is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            prop_assert!(parse(&bytes).iter().flatten().all(|average| average.is_finite()));
        }
    }
}
