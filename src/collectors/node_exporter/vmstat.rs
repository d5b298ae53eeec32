//! The lines of `/proc/vmstat` that node_exporter reports by default, as part of the collector paging.

use super::super::{Collector, Context, Definition, Observer};
use super::keys::Keys;
use crate::host::{Reader, Source};
use crate::metrics::naming::Kind::Gauge;
use crate::metrics::naming::Metric;
use crate::metrics::naming::Number::Int;
use crate::metrics::parse::{fields, lines, next_number};

pub const DEFINITION: Definition =
    Definition { name: "paging", metrics: METRICS, new: |context| Box::new(Vmstat::new(context)) };

const fn field(name: &'static str, metric: &'static str) -> Metric {
    Metric::node(name, Gauge, Int, metric, &[], "The kernel's count of this name since boot", "/proc/vmstat")
}

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    field("oom_kill", "node_vmstat_oom_kill"),
    field("pgfault", "node_vmstat_pgfault"),
    field("pgmajfault", "node_vmstat_pgmajfault"),
    field("pgpgin", "node_vmstat_pgpgin"),
    field("pgpgout", "node_vmstat_pgpgout"),
    field("pswpin", "node_vmstat_pswpin"),
    field("pswpout", "node_vmstat_pswpout"),
];

struct Vmstat {
    source: Source,
    keys: Keys,
}

impl Vmstat {
    fn new(context: &Context) -> Self {
        Self {
            source: Source::new(context.host.proc("vmstat"), "the kernel needs CONFIG_VM_EVENT_COUNTERS"),
            keys: Keys::new(METRICS),
        }
    }
}

impl Collector for Vmstat {
    fn read(&mut self, reader: &mut Reader) {
        self.keys.clear();
        for line in reader.read(&mut self.source).into_iter().flat_map(lines) {
            let mut fields = fields(line);
            if let Some(name) = fields.next() {
                self.keys.set(name, next_number(&mut fields));
            }
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        self.keys.observe(metric.id, out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Options;
    use super::super::super::testing::{Host as TestHost, series};
    use super::*;

    #[test]
    fn a_line_is_a_metric_with_the_kernels_number() {
        let host = TestHost::empty();
        host.write("proc/vmstat", "nr_free_pages 7\npgfault 123\npgmajfault x\noom_kill 0\n");
        let mut vmstat = Vmstat::new(&host.context(Options::default()));
        assert_eq!(host.read(&mut vmstat), 0);
        assert_eq!(series(&vmstat, METRICS, "pgfault"), ["123"]);
        assert_eq!(series(&vmstat, METRICS, "oom_kill"), ["0"]);
        assert!(series(&vmstat, METRICS, "pgmajfault").is_empty());
    }
}
