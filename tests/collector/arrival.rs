//! Tests of the received data: metrics, units, kinds, attributes, values, times, the resource.

use std::collections::{BTreeMap, BTreeSet};

use heka_insights_agent::internals::agent::pipeline::SCOPE;
use heka_insights_agent::internals::collectors::COLLECTORS;
use heka_insights_agent::internals::metrics::naming::{self, Naming, Number};

use crate::harness::{Agent, Collector, Host, Kind, Point, SOON, Value, fixture, since_epoch};

const COUNTER: Kind = Kind::Sum { monotonic: true, delta: false };
const UP_DOWN: Kind = Kind::Sum { monotonic: false, delta: false };
use Kind::Gauge;
use Value::{Double, Int};

/// From tests/fixtures/README.md and the files there: what the semantic conventions make of the host `server`.
#[rustfmt::skip] // a table
const SERVER: &[(&str, &str, Kind, Value)] = &[
    ("system.cpu.time{cpu.mode=user}", "s", COUNTER, Double(67628.56)),
    ("system.cpu.time{cpu.mode=nice}", "s", COUNTER, Double(1482.68)),
    ("system.cpu.time{cpu.mode=system}", "s", COUNTER, Double(24840.84)),
    ("system.cpu.time{cpu.mode=idle}", "s", COUNTER, Double(6793592.96)),
    ("system.cpu.time{cpu.mode=iowait}", "s", COUNTER, Double(4141.40)),
    ("system.cpu.time{cpu.mode=interrupt}", "s", COUNTER, Double(6295.04)),
    ("system.cpu.time{cpu.mode=steal}", "s", COUNTER, Double(66.24)),
    ("system.cpu.logical.count{}", "{cpu}", UP_DOWN, Int(8)),
    ("system.memory.usage{system.memory.state=used}", "By", UP_DOWN, Int(34226132 * 1024)),
    ("system.memory.usage{system.memory.state=free}", "By", UP_DOWN, Int(4102336 * 1024)),
    ("system.memory.usage{system.memory.state=cached}", "By", UP_DOWN, Int(24117248 * 1024)),
    ("system.memory.usage{system.memory.state=buffers}", "By", UP_DOWN, Int(1200144 * 1024)),
    ("system.memory.limit{}", "By", UP_DOWN, Int(65683412 * 1024)),
    ("system.memory.utilization{system.memory.state=used}", "1", Gauge, Double(34226132.0 / 65683412.0)),
    ("system.memory.linux.available{}", "By", UP_DOWN, Int(31457280 * 1024)),
    ("system.paging.usage{system.device=/dev/nvme0n1p2,system.paging.state=used}", "By", UP_DOWN, Int(786432 * 1024)),
    ("system.paging.usage{system.device=/dev/nvme0n1p2,system.paging.state=free}", "By", UP_DOWN, Int((8388604 - 786432) * 1024)),
    ("system.paging.utilization{system.device=/dev/nvme0n1p2,system.paging.state=used}", "1", Gauge, Double(786432.0 / 8388604.0)),
    ("system.paging.faults{system.paging.fault.type=major}", "{fault}", COUNTER, Int(123456)),
    ("system.paging.faults{system.paging.fault.type=minor}", "{fault}", COUNTER, Int(7700000000)),
    ("system.paging.operations{system.paging.direction=in,system.paging.fault.type=major}", "{operation}", COUNTER, Int(33017)),
    ("system.paging.operations{system.paging.direction=out,system.paging.fault.type=minor}", "{operation}", COUNTER, Int(874500222)),
    ("system.disk.io{disk.io.direction=read,system.device=nvme0n1}", "By", COUNTER, Int(88000008 * 512)),
    ("system.disk.io{disk.io.direction=write,system.device=nvme2n1}", "By", COUNTER, Int(460800046 * 512)),
    ("system.disk.operations{disk.io.direction=write,system.device=sda}", "{operation}", COUNTER, Int(300003)),
    ("system.disk.operation_time{disk.io.direction=read,system.device=sda}", "s", COUNTER, Double(7000.007)),
    ("system.disk.merged{disk.io.direction=read,system.device=nvme1n1}", "{operation}", COUNTER, Int(13013)),
    ("system.disk.io_time{system.device=mmcblk0}", "s", COUNTER, Double(70.707)),
];

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn metrics_arrive_with_the_hosts_own_values() {
    let collector = Collector::start();
    let host = fixture("server");
    let _agent = Agent::start(&collector.url(), &format!("--counters-since boot --root-path {}", host.display()));
    let mut metrics = collector.metrics();
    let points = metrics.wait_cycles("system.memory.usage", 2, SOON);
    for (series, unit, kind, value) in SERVER {
        let found =
            points.iter().find(|point| point.series() == *series).unwrap_or_else(|| panic!("{series} is missing"));
        assert_eq!((&*found.unit, found.kind), (*unit, *kind), "{series}");
        match (found.value, value) {
            (Int(found), Int(wanted)) => assert_eq!(found, *wanted, "{series}"),
            (Double(found), Double(wanted)) => {
                assert!((found - wanted).abs() < 1e-6 * wanted, "{series}: {found} {wanted}")
            }
            (found, wanted) => panic!("{series}: {found:?}, not {wanted:?}"),
        }
    }
    // Partitions are inside disks, and dm, md and the paths of a multipath head are counted where they end.
    let disks: BTreeSet<_> = points
        .iter()
        .filter(|point| &*point.metric == "system.disk.io")
        .map(|point| point.attributes["system.device"].as_str())
        .collect();
    assert_eq!(disks, BTreeSet::from(["mmcblk0", "nvme0n1", "nvme1n1", "nvme2n1", "sda", "sr0"]));
}

/// What the tables promise of a metric, and what arrived of it.
type Facts<'a> = (&'a str, Kind, bool, BTreeSet<&'a str>);

fn promised(naming: Naming) -> BTreeMap<&'static str, Facts<'static>> {
    let metrics = COLLECTORS.iter().flat_map(|collector| collector.metrics);
    let shaped = metrics.filter_map(|metric| Some((metric, metric.shape(naming)?)));
    shaped
        .map(|(metric, shape)| {
            let kind = match metric.kind {
                naming::Kind::Counter => COUNTER,
                naming::Kind::UpDownCounter => UP_DOWN,
                naming::Kind::Gauge => Gauge,
            };
            let keys = shape.attributes.iter().map(|attribute| attribute.key.of(naming)).collect();
            (shape.name, (shape.unit, kind, metric.number == Number::Int, keys))
        })
        .collect()
}

fn arrived(points: &[Point]) -> BTreeMap<&str, Facts<'_>> {
    let mut facts = BTreeMap::new();
    for point in points.iter().filter(|point| &*point.scope == SCOPE) {
        let whole = matches!(point.value, Int(_));
        let keys: BTreeSet<_> = point.attributes.keys().map(String::as_str).collect();
        let new = (&*point.unit, point.kind, whole);
        // A series may lack an attribute that its source does not have, such as a sensor's label.
        let (unit, kind, number, all) = facts.entry(&*point.metric).or_insert((new.0, new.1, new.2, BTreeSet::new()));
        assert_eq!((*unit, *kind, *number), new, "{} is not the same in all its series", point.metric);
        all.extend(keys);
    }
    facts
}

/// What this machine may lack and a recorded host cannot have: sockets, file systems, the start of a container, what
/// systemd answers; and what no collector sends by default.
const NOT_EVERYWHERE: [&str; 12] = [
    "system.network.connection.count",
    "system.network.connections",
    "system.filesystem.usage",
    "system.filesystem.utilization",
    "system.filesystem.limit",
    "system.filesystem.inodes.usage",
    "system.filesystem.linux.error",
    "container.uptime",
    "systemd.unit.",
    "systemd.service.restarts",
    // With --textfile-dir and --top-processes.
    "heka.textfile.",
    "process.",
];
/// Metrics whose series may all lack an attribute: a sensor without a label, containers of one runtime.
const ATTRIBUTES_NOT_EVERYWHERE: [&str; 4] = ["hw.", "container.", "systemd.", "system.filesystem."];

fn arrive_as_declared(word: &str, naming: Naming) {
    let collector = Collector::start();
    let mut moving = Host::new();
    // The recorded host has every file but stands still, which leaves nothing for utilisation to share out. File systems
    // and sockets cannot be recorded.
    let server = format!("--root-path {}", fixture("server").display());
    let agents = [server, moving.argument(), String::new()]
        .map(|host| Agent::start(&collector.url(), &format!("--naming {word} --detail detailed --per-cpu {host}")));
    let mut metrics = collector.metrics();
    metrics.wait_cycles("system.memory.usage", 6, SOON);
    metrics.wait("CPU utilisation", SOON, |points| {
        moving.advance(1);
        points.iter().any(|point| &*point.metric == "system.cpu.utilization")
    });
    drop(agents);
    let points = metrics.take();
    let (arrived, mut promised) = (arrived(&points), promised(naming));
    promised.retain(|metric, _| {
        arrived.contains_key(metric) || !NOT_EVERYWHERE.iter().any(|beginning| metric.starts_with(beginning))
    });
    let as_promised = |metric: &str, promised: &Facts<'_>| {
        let Some(arrived) = arrived.get(metric) else { return false };
        let some = ATTRIBUTES_NOT_EVERYWHERE.iter().any(|beginning| metric.starts_with(beginning));
        let keys = arrived.3 == promised.3 || some && arrived.3.is_subset(&promised.3);
        (arrived.0, arrived.1, arrived.2) == (promised.0, promised.1, promised.2) && keys
    };
    let wrong: Vec<_> = promised.iter().filter(|(metric, facts)| !as_promised(metric, facts)).collect();
    let found: Vec<_> = wrong.iter().map(|(metric, _)| arrived.get(*metric)).collect();
    assert!(wrong.is_empty(), "with --naming {word}, declared: {wrong:#?}, arrived: {found:#?}");
    let undeclared: Vec<_> = arrived.keys().filter(|metric| !promised.contains_key(*metric)).collect();
    assert!(undeclared.is_empty(), "with --naming {word}, in no table: {undeclared:?}");
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn every_metric_of_the_conventions_arrives_as_it_is_declared() {
    arrive_as_declared("semconv", Naming::Semconv);
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn every_metric_of_the_hostmetrics_profile_arrives_as_it_is_declared() {
    arrive_as_declared("hostmetrics", Naming::Hostmetrics);
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn the_resource_identifies_the_host() {
    let collector = Collector::start();
    let arguments = format!(
        "--root-path {} --service-name edge --resource-attribute deployment.environment.name=test --collectors memory",
        fixture("server").display()
    );
    let _agent = Agent::start(&collector.url(), &arguments);
    let mut metrics = collector.metrics();
    let resource = metrics.wait_cycles("system.memory.usage", 1, SOON)[0].resource.clone();
    let file = |name: &str| std::fs::read_to_string(fixture("server").join("etc").join(name)).unwrap();
    for (key, value) in [
        ("service.name", "edge"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("deployment.environment.name", "test"),
        ("host.id", file("machine-id").trim()),
        ("host.name", file("hostname").trim()),
        ("os.type", "linux"),
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.name", "opentelemetry"),
    ] {
        assert_eq!(resource.get(key).map(String::as_str), Some(value), "{key}");
    }
    for key in ["service.instance.id", "host.arch", "os.name", "os.version", "os.description", "telemetry.sdk.version"]
    {
        assert!(resource.get(key).is_some_and(|value| !value.is_empty()), "{key}");
    }
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn counters_count_from_the_start_time_they_carry() {
    let collector = Collector::start();
    let before = since_epoch();
    let agent = Agent::start(&collector.url(), "--per-cpu");
    let mut metrics = collector.metrics();
    metrics.wait_cycles("system.cpu.time", 3, SOON);
    agent.stop();
    let points = metrics.take();
    let mut last: BTreeMap<String, &Point> = BTreeMap::new();
    for point in points.iter().filter(|point| point.kind == COUNTER && &*point.scope == SCOPE) {
        assert!(before <= point.start && point.start <= point.time && point.time <= since_epoch(), "{point:?}");
        match last.insert(point.series(), point) {
            Some(previous) => assert!(
                previous.start == point.start
                    && previous.time < point.time
                    && previous.value.float() <= point.value.float(),
                "{previous:?} was before {point:?}"
            ),
            // No CPU spends longer in a mode than there was time, and the clock ticks in steps.
            None if &*point.metric == "system.cpu.time" => {
                let alive = std::time::Duration::from_nanos(point.time - point.start).as_secs_f64();
                assert!(point.value.float() <= alive + 0.1, "began with the host's past: {point:?}");
            }
            None => {}
        }
    }
    assert!(last.len() > 20, "only {} counters", last.len());
}
