//! Context switches, from `/proc/stat` (Documentation/filesystems/proc.rst).

use super::{Collector, Context, Definition, Observer};
use crate::host::Reader;
use crate::metrics::counter::{Counters, Kind, Rules};
use crate::metrics::naming::Detail::Basic;
use crate::metrics::naming::Kind::Counter;
use crate::metrics::naming::Metric;
use crate::metrics::naming::Number::Int;
use crate::metrics::parse::{lines, number};

pub const DEFINITION: Definition =
    Definition { name: "switches", metrics: METRICS, new: |context| Box::new(Switches::new(context)) };

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("switches", Counter, Int, "Context switches", "/proc/stat, ctxt")
        .semconv("system.cpu.context_switches", "{switch}", Basic, &[]),
];

struct Switches {
    counters: Counters<1>,
}

impl Switches {
    fn new(context: &Context) -> Self {
        Self { counters: Counters::new(Rules::new([Kind::EVENTS], context.options.since)) }
    }
}

impl Collector for Switches {
    fn read(&mut self, reader: &mut Reader) {
        let now = reader.now();
        // A file that cannot be read is no reading: the total stays and is reported again.
        let Some(stat) = reader.stat() else { return };
        let line = lines(stat).find_map(|line| line.strip_prefix(b"ctxt "));
        self.counters.read(&[line.and_then(number)], now);
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        if let ("switches", Some(total)) = (metric.id, self.counters.get(0)) {
            out.int(total, &[]);
        }
    }
}
