//! Pages of memory that the kernel freed, from `/proc/vmstat` (include/linux/vm_event_item.h).

use super::{Collector, Context, Definition, Observer};
use crate::host::Reader;
use crate::metrics::counter::{Counters, Kind, Rules};
use crate::metrics::naming::Detail::Detailed;
use crate::metrics::naming::Kind::Counter;
use crate::metrics::naming::Metric;
use crate::metrics::naming::Number::Int;
use crate::metrics::parse::{lines, number};

pub const DEFINITION: Definition =
    Definition { name: "freed", metrics: METRICS, new: |context| Box::new(Freed::new(context)) };

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("freed", Counter, Int, "Pages of memory that were freed", "/proc/vmstat, pgfree")
        .semconv("system.memory.linux.page_frees", "{page}", Detailed, &[]),
];

struct Freed {
    counters: Counters<1>,
}

impl Freed {
    fn new(context: &Context) -> Self {
        // The kernel keeps the count as `unsigned long`.
        let kind = Kind::EVENTS.word(context.host.word_bits);
        Self { counters: Counters::new(Rules::new([kind], context.options.since)) }
    }
}

impl Collector for Freed {
    fn read(&mut self, reader: &mut Reader) {
        let now = reader.now();
        // If the file cannot be read, the last total stays and is reported again.
        let Some(vmstat) = reader.vmstat() else { return };
        let value = lines(vmstat).find_map(|line| line.strip_prefix(b"pgfree "));
        self.counters.read(&[value.and_then(number)], now);
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        if let ("freed", Some(total)) = (metric.id, self.counters.get(0)) {
            out.int(total, &[]);
        }
    }
}
