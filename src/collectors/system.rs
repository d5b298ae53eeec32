//! The host's uptime, from `/proc/uptime`.
//!
//! It includes suspend (CLOCK_BOOTTIME), in hundredths of a second; hostmetrics reports whole seconds. In a container
//! it is the host's uptime, unless a time namespace or lxcfs changes it.

use super::{Collector, Context, Definition, Observer};
use crate::host::{Reader, Source};
use crate::metrics::naming::Detail::Basic;
use crate::metrics::naming::Kind::Gauge;
use crate::metrics::naming::Metric;
use crate::metrics::naming::Number::Double;
use crate::metrics::parse::{decimal, fields};

pub const DEFINITION: Definition =
    Definition { name: "system", metrics: METRICS, new: |context| Box::new(System::new(context)) };

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("uptime", Gauge, Double, "Time since the host booted", "/proc/uptime, field 1")
        .both("system.uptime", "s", Basic, &[]),
];

struct System {
    source: Source,
    uptime: Option<f64>,
}

impl System {
    fn new(context: &Context) -> Self {
        Self {
            source: Source::new(context.host.proc("uptime"), "is this a Linux /proc?")
                .required()
                .expecting(|bytes| parse(bytes).is_some()),
            uptime: None,
        }
    }
}

/// Parses the seconds since boot.
fn parse(bytes: &[u8]) -> Option<f64> {
    decimal(fields(bytes).next()?)
}

impl Collector for System {
    fn read(&mut self, reader: &mut Reader) {
        self.uptime = reader.read(&mut self.source).and_then(parse);
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        if let ("uptime", Some(uptime)) = (metric.id, self.uptime) {
            out.float(uptime, &[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{Bench, fixture};
    use super::super::{Naming, Options};
    use super::*;

    #[test]
    fn uptime_keeps_the_hundredths_that_the_kernel_gives() {
        for naming in [Naming::Semconv, Naming::Hostmetrics] {
            let options = Options { naming, ..Options::default() };
            assert_eq!(Bench::new(DEFINITION, fixture("server", options)).next(), ["system.uptime 864213.47"]);
        }
        for (host, uptime) in [("old-kernel", "system.uptime 312500.42"), ("container", "system.uptime 123456.78")] {
            assert_eq!(Bench::new(DEFINITION, fixture(host, Options::default())).next(), [uptime]);
        }
    }

    #[test]
    fn an_uptime_that_is_no_number_is_not_reported() {
        assert!(Bench::new(DEFINITION, fixture("hostile", Options::default())).next().is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            prop_assert!(parse(&bytes).is_none_or(f64::is_finite));
        }
    }
}
