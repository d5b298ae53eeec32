//! The collectors in a pipeline of another program's: the example is run as its first line says, and each setting of the
//! builder reaches the collectors.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // A test may panic.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use heka_insights_agent::internals::metrics::filter::Filter;
use heka_insights_agent::{HostMetrics, HostMetricsBuilder};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};

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
    assert!(!out.contains("system.network"), "only the collectors that were asked for:\n{out}");
}

fn fixture(dir: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/server").join(dir)
}

/// The series of one collection: the metric's name, and its attributes.
type Series = BTreeSet<(String, Vec<String>)>;

fn collect(builder: &HostMetricsBuilder) -> Series {
    let series = Arc::new(Mutex::new(Series::new()));
    let reader = PeriodicReader::builder(Keep(Arc::clone(&series))).with_interval(Duration::MAX).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    builder.register(&provider.meter("test"));
    provider.force_flush().unwrap();
    series.lock().unwrap().clone()
}

/// The different values of an attribute.
fn values(series: &Series, key: &str) -> BTreeSet<String> {
    let prefix = format!("{key}=");
    let pairs = series.iter().flat_map(|(_, pairs)| pairs);
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
    assert_eq!(collect(&limited).iter().filter(|(name, _)| name == "system.disk.io").count(), 1);
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

struct Keep(Arc<Mutex<Series>>);

impl PushMetricExporter for Keep {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let mut kept = self.0.lock().unwrap();
        for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
            let mut keep = |pairs: &mut dyn Iterator<Item = &KeyValue>| {
                let pairs = pairs.map(|pair| format!("{}={}", pair.key, pair.value)).collect();
                kept.insert((metric.name().to_owned(), pairs));
            };
            match metric.data() {
                AggregatedMetrics::F64(data) => each(data, &mut keep),
                AggregatedMetrics::U64(data) => each(data, &mut keep),
                AggregatedMetrics::I64(data) => each(data, &mut keep),
            }
        }
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

fn each<T>(data: &MetricData<T>, keep: &mut dyn FnMut(&mut dyn Iterator<Item = &KeyValue>)) {
    match data {
        MetricData::Gauge(gauge) => gauge.data_points().for_each(|point| keep(&mut point.attributes())),
        MetricData::Sum(sum) => sum.data_points().for_each(|point| keep(&mut point.attributes())),
        _ => panic!("no histogram is collected here"),
    }
}
