//! Tests of the collectors in another program's pipeline: runs the example with the command in its first line, and
//! checks that each builder setting reaches the collectors.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // A test may panic.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use heka_insights_agent::internals::metrics::filter::Filter;
use heka_insights_agent::{HostMetrics, HostMetricsBuilder, Registered};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::reader::MetricReader;
use support::manual::Manual;

#[test]
fn the_example_with_the_librarys_grpc_exporter_delivers_to_a_server() {
    let server = support::grpc::GrpcServer::start();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--quiet", "--locked", "--example", "otlp", "--", &server.endpoint()]);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen = server.scene.seen();
    let names = |name: &str| {
        let scopes = seen.iter().flat_map(|seen| &seen.request.resource_metrics).flat_map(|each| &each.scope_metrics);
        scopes.flat_map(|scope| &scope.metrics).any(|metric| metric.name == name)
    };
    assert!(names("system.cpu.time") && names("system.memory.usage"), "{} requests", seen.len());
}

#[test]
fn the_example_runs_and_prints_a_value_for_each_series() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--quiet", "--locked", "--example", "embed"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let out = String::from_utf8(output.stdout).unwrap();
    // What every Linux has; whether there is a disk is the machine's.
    for (metric, unit) in
        [("system.cpu.time", "s"), ("system.cpu.logical.count", "{cpu}"), ("system.memory.usage", "By")]
    {
        let value = |line: &str| {
            let (_, rest) = line.strip_prefix(metric)?.strip_prefix('{')?.split_once("} ")?;
            rest.strip_suffix(unit)?.trim().parse::<f64>().ok()
        };
        assert!(out.lines().any(|line| value(line).is_some()), "no {metric} in:\n{out}");
    }
    assert!(
        out.starts_with("resource{") && out.contains("host.arch="),
        "the host's attributes on the resource:\n{out}"
    );
    assert!(!out.contains("system.network"), "only the collectors that were asked for:\n{out}");
}

fn fixture(dir: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/server").join(dir)
}

/// The series of one collection: the metric's name and its attributes, and the value.
type Series = BTreeMap<(String, Vec<String>), f64>;

fn collect(builder: &HostMetricsBuilder) -> Series {
    let reader = Manual::new();
    let provider = SdkMeterProvider::builder().with_reader(reader.clone()).build();
    builder.register(&provider.meter("test"));
    collected(&reader)
}

fn collected(reader: &Manual) -> Series {
    let mut metrics = ResourceMetrics::default();
    reader.collect(&mut metrics).unwrap();
    series(&metrics)
}

/// The different values of an attribute.
fn values(series: &Series, key: &str) -> BTreeSet<String> {
    let prefix = format!("{key}=");
    let pairs = series.keys().flat_map(|(_, pairs)| pairs);
    pairs.filter_map(|pair| pair.strip_prefix(&prefix)).map(str::to_owned).collect()
}

#[test]
fn filters_and_the_limit_of_series_reach_the_collectors() {
    let of = |collectors: [&str; 1]| HostMetrics::builder().root(fixture("")).collectors(collectors).unwrap();
    let disks = values(&collect(&of(["disk"])), "system.device");
    let one = disks.first().unwrap();
    assert!(disks.len() > 1, "{disks:?}");
    let only = Filter::new(&[&format!("^{one}$")], &[]).unwrap();
    assert_eq!(values(&collect(&of(["disk"]).disks(only)), "system.device"), BTreeSet::from([one.clone()]));

    let network = of(["network"]).interfaces(Filter::new(&["^lo$"], &[]).unwrap());
    assert_eq!(values(&collect(&network), "network.interface.name"), BTreeSet::from(["lo".to_owned()]));

    let limited = of(["disk"]).limit_series(1);
    assert_eq!(limited.max_series(), 1);
    assert_eq!(collect(&limited).keys().filter(|(name, _)| name == "system.disk.io").count(), 1);
}

#[test]
fn a_filter_of_file_systems_reaches_the_collector() {
    // Of this machine, since a recorded file system cannot be asked: whatever it has, nothing is left.
    let none = Filter::new(&[], &["."]).unwrap();
    let builder = HostMetrics::builder().collectors(["filesystem"]).unwrap();
    assert!(collect(&builder.filesystems(none)).is_empty());
    let root = Filter::new(&["^/$"], &[]).unwrap();
    let builder = HostMetrics::builder().collectors(["filesystem"]).unwrap();
    assert_eq!(
        values(&collect(&builder.filesystems(root)), "system.filesystem.mountpoint"),
        BTreeSet::from(["/".to_owned()])
    );
}

#[test]
fn a_hosts_proc_and_sys_can_be_apart_from_its_root() {
    let nowhere = tempfile::tempdir().unwrap();
    let apart =
        HostMetrics::builder().root(nowhere.path()).proc(fixture("proc")).sys(fixture("sys")).etc(fixture("etc"));
    let disks = |builder: HostMetricsBuilder| values(&collect(&builder.collectors(["disk"]).unwrap()), "system.device");
    assert_eq!(disks(apart), disks(HostMetrics::builder().root(fixture(""))));
    assert!(disks(HostMetrics::builder().root(nowhere.path())).is_empty());
}

/// A provider with two readers and the CPU collector of a host whose `/proc/stat` the caller writes.
fn two_readers(host: &Path) -> (SdkMeterProvider, [Manual; 2], Registered) {
    let readers = [Manual::new(), Manual::new()];
    let builder = SdkMeterProvider::builder().with_reader(readers[0].clone()).with_reader(readers[1].clone());
    let provider = builder.build();
    let registered = HostMetrics::builder().root(host).collectors(["cpu"]).unwrap().register(&provider.meter("test"));
    (provider, readers, registered)
}

/// Writes `/proc/stat` with these ticks.
fn stat(host: &Path, user: u64, idle: u64) {
    let line = format!("{user} 0 0 {idle} 0 0 0 0 0 0");
    std::fs::create_dir_all(host.join("proc")).unwrap();
    std::fs::write(host.join("proc/stat"), format!("cpu  {line}\ncpu0 {line}\n")).unwrap();
}

#[test]
fn readers_that_collect_at_the_same_time_read_each_file_once_a_collection_and_miss_nothing() {
    const ROUNDS: u64 = 200;
    let host = tempfile::tempdir().unwrap();
    stat(host.path(), 100, 100);
    let (_provider, readers, registered) = two_readers(host.path());
    let before = registered.file_reads();
    let barrier = std::sync::Barrier::new(readers.len());
    std::thread::scope(|scope| {
        for reader in &readers {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    barrier.wait();
                    let names: BTreeSet<_> = collected(reader).into_keys().map(|(name, _)| name).collect();
                    assert!(names.contains("system.cpu.time") && names.contains("system.cpu.logical.count"));
                }
            });
        }
    });
    // Of `/proc/stat`, the only file of these metrics.
    assert_eq!(registered.file_reads() - before, 2 * ROUNDS);
}

/// The series of a collection.
fn series(metrics: &ResourceMetrics) -> Series {
    let mut kept = Series::new();
    for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
        let mut keep = |pairs: &mut dyn Iterator<Item = &KeyValue>, value: f64| {
            let pairs = pairs.map(|pair| format!("{}={}", pair.key, pair.value)).collect();
            kept.insert((metric.name().to_owned(), pairs), value);
        };
        match metric.data() {
            AggregatedMetrics::F64(data) => each(data, |value| value, &mut keep),
            AggregatedMetrics::U64(data) => each(data, |value| value as f64, &mut keep),
            AggregatedMetrics::I64(data) => each(data, |value| value as f64, &mut keep),
        }
    }
    kept
}

fn each<T: Copy>(
    data: &MetricData<T>,
    number: impl Fn(T) -> f64,
    keep: &mut dyn FnMut(&mut dyn Iterator<Item = &KeyValue>, f64),
) {
    match data {
        MetricData::Gauge(gauge) => {
            gauge.data_points().for_each(|point| keep(&mut point.attributes(), number(point.value())));
        }
        MetricData::Sum(sum) => {
            sum.data_points().for_each(|point| keep(&mut point.attributes(), number(point.value())));
        }
        _ => panic!("no histogram is collected here"),
    }
}
