//! A host whose files the fuzzer writes, and a reader that checks each collection.

use std::collections::HashMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::{fs, io};

use heka_insights_agent::{Detail, HostMetrics, Naming, Registered};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use tempfile::TempDir;

#[path = "../../tests/support/manual.rs"]
mod manual;

use manual::Manual;

/// A copy of a recorded host in memory.
pub struct Host(TempDir);

impl Host {
    /// The fixture host of that name.
    pub fn copy(name: &str) -> io::Result<Self> {
        let host = Self(TempDir::new_in("/dev/shm")?);
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name), host.0.path())?;
        Ok(host)
    }

    /// A file's content becomes this; where the host lacks its directory, nothing happens.
    pub fn write(&self, path: &str, content: &[u8]) {
        let _ = fs::write(self.path(path), content);
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else if entry.file_type()?.is_symlink() {
            symlink(fs::read_link(entry.path())?, target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The collectors of a host, and one collection after another.
pub struct Collection {
    reader: Manual,
    into: ResourceMetrics,
    totals: HashMap<String, f64>,
    _keep: (SdkMeterProvider, Registered),
}

impl Collection {
    /// All metrics of one collector.
    pub fn of(host: &Host, collector: &str, naming: Naming) -> Self {
        let reader = Manual::new();
        let provider = SdkMeterProvider::builder().with_reader(reader.clone()).build();
        let metrics = HostMetrics::builder().collectors([collector]).expect("a collector").detail(Detail::Detailed);
        let registered = metrics.naming(naming).root(host.path("")).register(&provider.meter("fuzz"));
        Self { reader, into: ResourceMetrics::default(), totals: HashMap::new(), _keep: (provider, registered) }
    }

    /// Collects, and checks that each value is one that a number of that kind can have, and that no total falls.
    pub fn collect(&mut self) {
        self.reader.collect(&mut self.into).expect("a collection");
        for metric in self.into.scope_metrics().flat_map(|scope| scope.metrics()) {
            let name = metric.name();
            let totals = &mut self.totals;
            let mut total = |attributes: &mut dyn Iterator<Item = &KeyValue>, value: f64| {
                let before = totals.entry(format!("{name} {:?}", attributes.collect::<Vec<_>>())).or_default();
                assert!(value >= *before, "{name} falls from {before} to {value}");
                *before = value;
            };
            match metric.data() {
                AggregatedMetrics::F64(MetricData::Sum(sum)) => {
                    for point in sum.data_points() {
                        check(name, point.value(), sum.is_monotonic());
                        if sum.is_monotonic() {
                            total(&mut point.attributes(), point.value());
                        }
                    }
                }
                AggregatedMetrics::F64(MetricData::Gauge(gauge)) => {
                    gauge.data_points().for_each(|point| check(name, point.value(), false));
                }
                // The wire has signed numbers: a larger one would arrive as 0.
                AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                    for point in sum.data_points() {
                        assert!(i64::try_from(point.value()).is_ok(), "{name} is {}", point.value());
                        if sum.is_monotonic() {
                            #[allow(clippy::cast_precision_loss)] // equal totals stay equal
                            total(&mut point.attributes(), point.value() as f64);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

fn check(name: &str, value: f64, monotonic: bool) {
    assert!(value.is_finite(), "{name} is {value}");
    assert!(!monotonic || value >= 0.0, "{name} is a counter and {value}");
    if name.ends_with(".utilization") {
        assert!((0.0..=1.0 + 1e-9).contains(&value), "{name} is {value}");
    }
}
