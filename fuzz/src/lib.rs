//! A host whose files the fuzzer writes, and a reader that checks each collection.

use std::collections::HashMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::{fs, io};

use heka_insights_agent::internals::collectors::{self, Context, Options, Registered};
use heka_insights_agent::internals::host::{Host as RealHost, Roots};
use heka_insights_agent::{Detail, Naming};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use tempfile::TempDir;

#[path = "../../tests/support/manual.rs"]
mod manual;

use manual::Manual;

/// Where the textfile collector looks.
pub const TEXTFILES: &str = "textfile";
/// Directories of files that the recorded host lacks.
const MORE: [&str; 5] = [TEXTFILES, "sys/class/power_supply/BAT0", "sys/class/dmi/id", "sys/class/nvme/nvme0", "proc/2400/task"];

/// A copy of a recorded host in memory.
pub struct Host(TempDir);

impl Host {
    /// The fixture host of that name.
    pub fn copy(name: &str) -> io::Result<Self> {
        let host = Self(TempDir::new_in("/dev/shm")?);
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name), host.0.path())?;
        for directory in MORE {
            fs::create_dir_all(host.path(directory))?;
        }
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
    /// Whether the values are the host's: those of text files are whatever the file has.
    of_host: bool,
    registered: Registered,
    _provider: SdkMeterProvider,
}

impl Collection {
    /// All metrics of one collector.
    pub fn of(host: &Host, collector: &str, naming: Naming) -> Self {
        let reader = Manual::new();
        let provider = SdkMeterProvider::builder().with_reader(reader.clone()).build();
        let context = Context {
            host: RealHost::new(&Roots { root: Some(host.path("")), ..Roots::default() }),
            options: Options {
                collectors: Some(vec![collector.to_owned()]),
                detail: Detail::Detailed,
                naming,
                top_processes: 3,
                process_command_lines: true,
                textfile_dir: Some(host.path(TEXTFILES)),
                ..Options::default()
            },
        };
        let registered = collectors::register(&provider.meter("fuzz"), &context);
        let of_host = collector != "textfile";
        Self { reader, into: ResourceMetrics::default(), totals: HashMap::new(), of_host, registered, _provider: provider }
    }

    /// Collects, and checks that each value is one that a number of that kind can have, and that no total falls.
    pub fn collect(&mut self) {
        self.reader.collect(&mut self.into).expect("a collection");
        self.registered.discover();
        if !self.of_host {
            return;
        }
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
