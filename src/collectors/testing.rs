//! Helpers for the collectors' unit tests: a host to read, and a metric's series as lines of text.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use opentelemetry::KeyValue;
use opentelemetry::metrics::AsyncInstrument;

use super::observer::Sink;
use super::{Collector, Context, Definition, Observer, Options};
use crate::host::{Reader, Roots};
use crate::metrics::naming::{Kind, Metric, Number};

/// A fixture host, or an empty directory that a test fills.
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

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub fn link(&self, target: &str, path: &str) {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    pub fn remove(&self, path: &str) {
        std::fs::remove_file(self.root.join(path)).unwrap();
    }

    pub fn context(&self, options: Options) -> Context {
        let roots = Roots { root: Some(self.root.clone()), ..Roots::default() };
        Context { host: crate::host::Host::new(&roots), options }
    }

    /// Takes one reading of the collector; returns the number of failures.
    pub fn read(&self, collector: &mut dyn Collector) -> u64 {
        let mut reader = Reader::new(&self.context(Options::default()).host);
        collector.read(&mut reader);
        reader.failures()
    }
}

/// The log lines of `work` on this thread.
pub fn logged(work: impl FnOnce()) -> Vec<String> {
    #[derive(Clone, Default)]
    struct Kept(std::sync::Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let kept = Kept::default();
    let writer = kept.clone();
    let format = tracing_subscriber::fmt().without_time().with_target(false).with_ansi(false);
    tracing::subscriber::with_default(format.with_writer(move || writer.clone()).finish(), work);
    let bytes = std::mem::take(&mut *kept.0.lock().unwrap());
    String::from_utf8(bytes).unwrap().lines().map(|line| line.trim().to_owned()).collect()
}

struct Lines(Mutex<Vec<String>>);

impl<T: std::fmt::Display> AsyncInstrument<T> for Lines {
    fn observe(&self, value: T, attributes: &[KeyValue]) {
        let attributes: String = attributes.iter().map(|pair| format!("{}={} ", pair.key, pair.value)).collect();
        self.0.lock().unwrap().push(format!("{attributes}{value}"));
    }
}

/// The collector's series of the metric with this id: `key=value key=value number`, in the order of observation.
pub fn series(collector: &dyn Collector, metrics: &[Metric], id: &str) -> Vec<String> {
    let metric = metrics.iter().find(|metric| metric.id == id).unwrap();
    let lines = Lines(Mutex::new(Vec::new()));
    let sink = match (metric.kind, metric.number) {
        (_, Number::Double) => Sink::F64(&lines),
        (Kind::Counter, Number::Int) => Sink::U64(&lines),
        (_, Number::Int) => Sink::I64(&lines),
    };
    collector.observe(metric, &mut Observer::new(sink, usize::MAX));
    lines.0.into_inner().unwrap()
}

/// A context for the host at `root`.
pub fn context(root: &Path, options: Options) -> Context {
    let mut host = crate::host::Host::new(&Roots { root: Some(root.to_owned()), ..Roots::default() });
    (host.ticks_per_second, host.page_bytes) = (100, 4096);
    Context { host, options }
}

/// A context for a host in `tests/fixtures`.
pub fn fixture(name: &str, options: Options) -> Context {
    context(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name), options)
}

/// A running collector on one host.
pub struct Bench {
    definition: Definition,
    context: Context,
    pub reader: Reader,
    pub collector: Box<dyn Collector>,
}

impl Bench {
    /// Creates the collector and takes the baseline reading.
    pub fn new(definition: Definition, context: Context) -> Self {
        let mut reader = Reader::new(&context.host);
        let mut collector = (definition.new)(&context);
        collector.read(&mut reader);
        Self { definition, context, reader, collector }
    }

    /// Takes the next reading.
    pub fn next(&mut self) -> Vec<String> {
        self.reader.next_cycle();
        self.collector.read(&mut self.reader);
        self.points()
    }

    /// The points of a discovered metric in the last reading: `{key=value,…} number`.
    pub fn discovered_points(&self, name: &str) -> Vec<String> {
        let recorder = Recorder::default();
        let sink = Sink::F64(&recorder);
        self.collector.observe_discovered(name, &mut Observer::new(sink, usize::MAX));
        recorder.0.into_inner().unwrap()
    }

    /// The points of the last reading: `name{key=value,…} number`, in the order of table and observation.
    pub fn points(&self) -> Vec<String> {
        let options = &self.context.options;
        let mut lines = Vec::new();
        for metric in self.definition.metrics {
            let Some(shape) = metric.shape(options.naming).filter(|shape| shape.detail <= options.detail) else {
                continue;
            };
            let recorder = Recorder::default();
            let sink = match (metric.kind, metric.number) {
                (_, Number::Double) => Sink::F64(&recorder),
                (Kind::Counter, Number::Int) => Sink::U64(&recorder),
                (_, Number::Int) => Sink::I64(&recorder),
            };
            self.collector.observe(metric, &mut Observer::new(sink, usize::MAX));
            lines.extend(recorder.0.into_inner().unwrap().into_iter().map(|point| format!("{}{point}", shape.name)));
        }
        lines
    }
}

#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl<T: std::fmt::Display> AsyncInstrument<T> for Recorder {
    fn observe(&self, value: T, attributes: &[KeyValue]) {
        let pairs: Vec<String> = attributes.iter().map(|pair| format!("{}={}", pair.key, pair.value)).collect();
        let series = if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
        self.0.lock().unwrap().push(format!("{series} {value}"));
    }
}
