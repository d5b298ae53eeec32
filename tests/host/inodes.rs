//! Inodes in memory, from `/proc/sys/fs/inode-nr` (Documentation/admin-guide/sysctl/fs.rst).

use super::{Collector, Context, Definition, Observer};
use crate::host::{Reader, Source};
use crate::metrics::naming::Detail::Detailed;
use crate::metrics::naming::Kind::UpDownCounter;
use crate::metrics::naming::Number::Int;
use crate::metrics::naming::{Attribute, Attributes, Metric, Names, word};
use crate::metrics::parse::{fields, number};

pub const DEFINITION: Definition =
    Definition { name: "inodes", metrics: METRICS, new: |context| Box::new(Inodes::new(context)) };

const STATE: Attribute = Attribute { key: Names::both("system.filesystem.linux.inode.state"), values: &[USED, FREE] };
const USED: Names = Names::both("used");
const FREE: Names = Names::both("free");

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("inodes", UpDownCounter, Int, "Inodes in memory in each state", "/proc/sys/fs/inode-nr")
        .semconv("system.filesystem.linux.inode.count", "{inode}", Detailed, &[&STATE]),
];

struct Inodes {
    source: Source,
    series: [Attributes; 2],
    values: Option<[u64; 2]>,
}

impl Inodes {
    fn new(context: &Context) -> Self {
        Self {
            // The text is for a kernel without the file: the reason, or the remedy.
            source: Source::new(context.host.proc("sys/fs/inode-nr"), "is this a Linux /proc?")
                .expecting(|bytes| parse(bytes).is_some()),
            series: [USED, FREE].map(|state| word(context.options.naming, &STATE, state)),
            values: None,
        }
    }
}

/// All inodes, and the free ones among them.
fn parse(bytes: &[u8]) -> Option<[u64; 2]> {
    let mut fields = fields(bytes);
    let (all, free) = (number(fields.next()?)?, number(fields.next()?)?);
    Some([all.checked_sub(free)?, free])
}

impl Collector for Inodes {
    fn read(&mut self, reader: &mut Reader) {
        self.values = reader.read(&mut self.source).and_then(parse);
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        if let ("inodes", Some(values)) = (metric.id, self.values) {
            values.into_iter().zip(&self.series).for_each(|(value, series)| out.int(value, series));
        }
    }
}
