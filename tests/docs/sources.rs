//! Where each metric's name comes from, for `docs/metrics.md`. `tests/conventions.py` compares the page with the Go modules
//! of the conventions and of the receiver, `tests/weaver.py` with the registry.

use heka_insights_agent::internals::metrics::naming::Metric;

pub const CONVENTION: &str = "convention";
pub const HOSTMETRICS: &str = "hostmetrics receiver";
pub const SYSTEMD: &str = "systemd receiver";
/// Merged after v0.160.
pub const SYSTEMD_LATER: &str =
    "systemd receiver, [#50209](https://github.com/open-telemetry/opentelemetry-collector-contrib/pull/50209)";
pub const OWN: &str = "own";

/// The conventions v1.44 have these.
const CONVENTIONS: &[&str] = &[
    "container.cpu.time",
    "container.disk.io",
    "container.memory.rss",
    "container.memory.usage",
    "container.memory.working_set",
    "container.paging.faults",
    "container.uptime",
    "hw.errors",
    "hw.fan.speed",
    "hw.network.bandwidth.limit",
    "hw.network.up",
    "hw.power",
    "hw.temperature",
    "hw.temperature.limit",
    "hw.voltage",
    "process.cpu.time",
    "process.disk.io",
    "process.memory.usage",
    "process.memory.virtual",
    "process.thread.count",
    "process.unix.file_descriptor.count",
    "system.cpu.frequency",
    "system.cpu.logical.count",
    "system.cpu.physical.count",
    "system.cpu.time",
    "system.cpu.utilization",
    "system.disk.io",
    "system.disk.io_time",
    "system.disk.limit",
    "system.disk.merged",
    "system.disk.operation_time",
    "system.disk.operations",
    "system.filesystem.limit",
    "system.filesystem.usage",
    "system.filesystem.utilization",
    "system.memory.limit",
    "system.memory.linux.available",
    "system.memory.linux.hugepages.limit",
    "system.memory.linux.hugepages.page_size",
    "system.memory.linux.hugepages.reserved",
    "system.memory.linux.hugepages.surplus",
    "system.memory.linux.hugepages.usage",
    "system.memory.linux.hugepages.utilization",
    "system.memory.linux.shared",
    "system.memory.linux.slab.usage",
    "system.memory.usage",
    "system.memory.utilization",
    "system.network.connection.count",
    "system.network.errors",
    "system.network.io",
    "system.network.packet.count",
    "system.network.packet.dropped",
    "system.paging.faults",
    "system.paging.operations",
    "system.paging.usage",
    "system.paging.utilization",
    "system.process.count",
    "system.process.created",
    "system.process.limit",
    "system.uptime",
];

/// Neither a convention nor a receiver has these, and their names do not show it.
const WITHOUT_A_MODEL: &[&str] = &[
    "system.cpu.context_switches",
    "system.cpu.interrupts",
    "system.pressure.time",
    "systemd.service.disk.io",
    "systemd.service.oom_kills",
    "systemd.service.pressure.time",
    "systemd.service.tasks",
    "systemd.unit.count",
];

/// Where the name of the metric comes from. In hostmetrics' naming, a metric whose name differs is the receiver's.
#[must_use]
pub fn source(metric: &Metric) -> Option<&'static str> {
    let hostmetrics = metric.hostmetrics.as_ref().map(|shape| shape.name);
    let Some(name) = metric.semconv.as_ref().map(|shape| shape.name) else { return hostmetrics.map(|_| HOSTMETRICS) };
    Some(match name {
        _ if CONVENTIONS.contains(&name) => CONVENTION,
        "systemd.service.cpu.time" | "systemd.service.restarts" | "systemd.unit.state" => SYSTEMD,
        "systemd.service.memory.usage" => SYSTEMD_LATER,
        _ if name.starts_with("heka.") => OWN,
        _ if hostmetrics == Some(name) => HOSTMETRICS,
        _ if name.contains(".linux.") || WITHOUT_A_MODEL.contains(&name) => OWN,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use heka_insights_agent::internals::agent::self_metrics;
    use heka_insights_agent::internals::collectors::COLLECTORS;

    use super::*;

    fn metrics() -> impl Iterator<Item = &'static Metric> {
        let own = self_metrics::TABLES.iter().flat_map(|table| table.iter());
        COLLECTORS.iter().flat_map(|definition| definition.metrics).chain(own)
    }

    #[test]
    fn every_name_has_a_source() {
        for metric in metrics() {
            assert!(source(metric).is_some() || metric.semconv.is_none() && metric.hostmetrics.is_none(), "{metric:?}");
        }
    }

    #[test]
    fn every_name_on_the_lists_is_one_of_the_metrics() {
        let names: Vec<_> = metrics().filter_map(|metric| metric.semconv.as_ref()).map(|shape| shape.name).collect();
        for name in CONVENTIONS.iter().chain(WITHOUT_A_MODEL) {
            assert!(names.contains(name), "{name}");
        }
    }
}
