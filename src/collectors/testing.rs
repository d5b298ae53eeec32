//! What the collectors' unit tests share: a host to read, and a metric's series as lines of text.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use opentelemetry::KeyValue;
use opentelemetry::metrics::AsyncInstrument;

use super::{Collector, Context, Observer, Options, Sink};
use crate::host::{Reader, Roots};
use crate::naming::Metric;

/// A fixture host, or an empty directory in which a test makes its own.
pub struct Host {
    root: PathBuf,
    _dir: Option<tempfile::TempDir>,
}

impl Host {
    pub fn fixture(name: &str) -> Self {
        Self { root: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name), _dir: None }
    }

    pub fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { root: dir.path().to_owned(), _dir: Some(dir) }
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn remove(&self, path: &str) {
        std::fs::remove_file(self.root.join(path)).unwrap();
    }

    pub fn context(&self, options: Options) -> Context {
        let roots = Roots { root: Some(self.root.clone()), ..Roots::default() };
        Context { host: crate::host::Host::new(&roots), options }
    }

    /// Has the collector take one reading; returns the failures it counted.
    pub fn read(&self, collector: &mut dyn Collector) -> u64 {
        let mut reader = Reader::new(&self.context(Options::default()).host);
        collector.read(&mut reader);
        reader.failures()
    }
}

struct Lines(Mutex<Vec<String>>);

impl<T: std::fmt::Display> AsyncInstrument<T> for Lines {
    fn observe(&self, value: T, attributes: &[KeyValue]) {
        let attributes: String = attributes.iter().map(|pair| format!("{}={} ", pair.key, pair.value)).collect();
        self.0.lock().unwrap().push(format!("{attributes}{value}"));
    }
}

/// What the collector reports of the metric with this id: `key=value key=value number`, in its order.
pub fn series(collector: &dyn Collector, metrics: &[Metric], id: &str) -> Vec<String> {
    use crate::naming::{Kind::Counter, Number};
    let metric = metrics.iter().find(|metric| metric.id == id).unwrap();
    let lines = Lines(Mutex::new(Vec::new()));
    let sink = match (metric.kind, metric.number) {
        (_, Number::Double) => Sink::F64(&lines),
        (Counter, Number::Int) => Sink::U64(&lines),
        (_, Number::Int) => Sink::I64(&lines),
    };
    collector.observe(metric, &mut Observer { sink, left: usize::MAX, seen: 0 });
    lines.0.into_inner().unwrap()
}
