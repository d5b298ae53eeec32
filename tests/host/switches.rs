//! Context switches, from `/proc/stat` (Documentation/filesystems/proc.rst).

use super::{Collector, Context, Definition, Observer};
use crate::host::Reader;
use crate::metrics::naming::Detail::Basic;
use crate::metrics::naming::Kind::Counter;
use crate::metrics::naming::Metric;
use crate::metrics::naming::Number::Int;
use crate::metrics::parse::{lines, number};
use crate::metrics::total::{Since, Total};

/// The family's entry in the list.
pub const DEFINITION: Definition =
    Definition { name: "switches", metrics: METRICS, new: |context| Box::new(Switches::new(context)) };

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("switches", Counter, Int,
        "Context switches",
        "/proc/stat, ctxt")
        .semconv("system.cpu.context_switches", "{switch}", Basic, &[]),
];

struct Switches {
    since: Since,
    total: Option<Total>,
}

impl Switches {
    fn new(context: &Context) -> Self {
        Self { since: context.options.since, total: None }
    }
}

impl Collector for Switches {
    fn read(&mut self, reader: &mut Reader) {
        let line = reader.stat().and_then(|stat| lines(stat).find_map(|line| line.strip_prefix(b"ctxt ")));
        let Some(reading) = line.and_then(number) else { return };
        match &mut self.total {
            Some(total) => total.advance(reading),
            None => self.total = Some(Total::baseline(reading, self.since)),
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        if let ("switches", Some(total)) = (metric.id, &self.total) {
            out.int(total.value(), &[]);
        }
    }
}
