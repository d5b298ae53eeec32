//! Metrics from files: every metric of `*.prom` in the directory of `--textfile-dir`, with unchanged names.
//!
//! A file that is replaced by rename is read either before or after. A file that has not changed since the last
//! collection is not read again. A problem is logged as one warning with the file and the line. A file with a syntax
//! error is dropped as a whole. A single series is dropped if another file already has it, or if its name belongs to
//! this program.
//!
//! Counters count from the agent's start like all counters; with `--counters-since boot` they have the values of the
//! files. If a counter decreases, its total stays unchanged and the reading becomes the new baseline. A reading that is not
//! finite changes neither.
//!
//! Prometheus' OTLP receiver appends `_total` to the name of every counter. Counters without it, and the parts of
//! histograms and summaries, are therefore pushed as up-down counters with the values of the files.
//!
//! Files, series and metrics above the limits are dropped. This sets `heka.textfile.scrape_error` and is logged; dropped series
//! are counted as those above `--max-series` are.

mod parse;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use super::Discovered;
use super::{COLLECTORS, Collector, Context, Definition, Observer};
use crate::host::{Reader, files};
use crate::metrics::counter::Since;
use crate::metrics::naming::Detail::Basic;
use crate::metrics::naming::Kind::{Counter, Gauge, UpDownCounter};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Kind, Metric, Names, Naming, attributes};
use parse::{Parsed, Sample};

pub const DEFINITION: Definition =
    Definition { name: "textfile", metrics: METRICS, new: |context| Box::new(Textfile::new(context)) };

const FILE: Attribute = Attribute { key: Names("file.path", "file"), values: &[] };

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("mtime", Gauge, Double,
        "When the file was last written, in seconds since 1970",
        "--textfile-dir, *.prom")
        .semconv("heka.textfile.mtime", "s", Basic, &[&FILE])
        .hostmetrics("heka.textfile.mtime", "s", Basic, &[&FILE])
        .node_exporter("node_textfile_mtime_seconds", Basic, &[&FILE]),
    Metric::new("error", UpDownCounter, Int,
        "Whether a file, or a part of one, is left out: 1 or 0",
        "--textfile-dir, *.prom")
        .semconv("heka.textfile.scrape_error", "1", Basic, &[])
        .hostmetrics("heka.textfile.scrape_error", "1", Basic, &[])
        .node_exporter("node_textfile_scrape_error", Basic, &[]),
];

const MOST_FILES: usize = 1_000;
/// Maximum number of series in all files.
const MOST_SERIES: usize = 20_000;
/// Maximum number of names with instruments.
const MOST_NAMES: usize = 1_000;
const TOO_MANY_SERIES: &str = "there are too many series";
const TOO_MANY_METRICS: &str = "there are too many metrics";

/// Identifies the version of a file.
type Stamp = (u64, i64, i64, u64);

/// A file as of its last reading.
struct Known {
    name: String,
    path: PathBuf,
    series: Attributes,
    stamp: Stamp,
    /// `None` if the file was dropped.
    parsed: Option<Parsed>,
    /// Whether a part of it was dropped.
    partly: bool,
}

/// A metric in the files.
struct Family {
    kind: Kind,
    points: Vec<(Attributes, f64)>,
}

/// The last reading of a counter and its total.
struct Total {
    reading: f64,
    total: f64,
    seen: bool,
}

struct Textfile {
    dir: Option<PathBuf>,
    naming: Naming,
    since: Since,
    scraped: bool,
    delta: bool,
    known: Vec<Known>,
    families: BTreeMap<String, Family>,
    totals: HashMap<(String, Vec<(String, String)>), Total>,
    /// Names with requested instruments, and their kinds.
    announced: HashMap<String, Kind>,
    fresh: Vec<Discovered>,
    /// Whether the directory could not be read.
    failed: bool,
    too_many: bool,
    /// Number of series above the limits.
    cut: usize,
    first: bool,
}

impl Textfile {
    fn new(context: &Context) -> Self {
        let options = &context.options;
        Self {
            dir: options.textfile_dir.clone(),
            naming: options.naming,
            since: options.since,
            scraped: options.scraped,
            delta: options.delta,
            known: Vec::new(),
            families: BTreeMap::new(),
            totals: HashMap::new(),
            announced: HashMap::new(),
            fresh: Vec::new(),
            failed: false,
            too_many: false,
            cut: 0,
            first: true,
        }
    }

    /// Reads changed files; returns whether any changed.
    fn read_files(&mut self, dir: &Path, reader: &mut Reader) -> bool {
        let mut names = match files::list(dir) {
            Ok(names) => {
                if std::mem::take(&mut self.failed) {
                    info!("{} can be read again", dir.display());
                }
                names
            }
            Err(error) => {
                reader.fail();
                reader.note(dir, true, error.to_string());
                if !std::mem::replace(&mut self.failed, true) {
                    warn!("{} cannot be read ({error}); its files are left out until it can", dir.display());
                }
                self.known.clear();
                return true;
            }
        };
        names.sort_unstable();
        let names = names.iter().filter_map(|name| name.to_str()).filter(|name| name.ends_with(".prom"));
        let names: Vec<&str> = names.collect();
        let excess = names.len().saturating_sub(MOST_FILES);
        if excess > 0 && !self.too_many {
            warn!("{} has more than {MOST_FILES} files; {excess} are left out, the last by name", dir.display());
        }
        self.too_many = excess > 0;
        let mut before = std::mem::take(&mut self.known);
        let mut changed = false;
        for name in names.into_iter().take(MOST_FILES) {
            let path = dir.join(name);
            // The file has been removed meanwhile.
            let Ok(meta) = files::metadata(&path) else { continue };
            let stamp = (meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.size());
            let known = before.iter().position(|known| known.name == name).map(|at| before.swap_remove(at));
            match known.filter(|known| known.stamp == stamp) {
                Some(known) => self.known.push(known),
                None => {
                    changed = true;
                    let whole = path.to_string_lossy().into_owned();
                    let series = attributes(self.naming, &[(&FILE, AttributeValue::Text(whole.into()))]);
                    let mut parsed = read_file(&path);
                    let samples = parsed.iter_mut().flat_map(|parsed| &mut parsed.samples);
                    samples.filter(|sample| !self.scraped && gets_total(sample)).for_each(|sample| {
                        sample.kind = UpDownCounter;
                    });
                    self.known.push(Known { name: name.to_owned(), path, series, stamp, parsed, partly: false });
                }
            }
        }
        changed || !before.is_empty()
    }

    /// Combines the samples of all files. Logs dropped samples, because a file has changed.
    fn assemble(&mut self) {
        for family in self.families.values_mut() {
            family.points.clear();
        }
        self.cut = 0;
        let mut seen: HashSet<(&str, &[(String, String)])> = HashSet::new();
        let mut known = std::mem::take(&mut self.known);
        let mut partly = Vec::new();
        for (file, parsed) in known.iter().filter_map(|file| Some((file, file.parsed.as_ref()?))) {
            let (mut fault, mut left_out) = (None, 0_usize);
            for sample in &parsed.samples {
                let words = if !seen.insert((&sample.name, &sample.labels)) {
                    Some("another file has the same series")
                } else if seen.len() > MOST_SERIES {
                    Some(TOO_MANY_SERIES)
                } else {
                    self.admit(sample, parsed)
                };
                self.cut += usize::from(matches!(words, Some(TOO_MANY_SERIES | TOO_MANY_METRICS)));
                match words {
                    None => self.add(sample),
                    Some(words) => {
                        fault = fault.or(Some((sample.line, words)));
                        left_out += 1;
                    }
                }
            }
            if let Some((line, words)) = fault {
                warn!(
                    "{}, line {line}: {words}; series of this file that are left out: {left_out}",
                    file.path.display()
                );
            }
            partly.push(fault.is_some());
        }
        let whole = known.iter_mut().filter(|file| file.parsed.is_some());
        whole.zip(partly).for_each(|(file, partly)| file.partly = partly);
        self.known = known;
        if self.delta {
            self.totals.retain(|_, total| std::mem::take(&mut total.seen));
        }
    }

    /// Why a sample must be dropped, if so. Requests an instrument for a new name.
    fn admit(&mut self, sample: &Sample, parsed: &Parsed) -> Option<&'static str> {
        match self.announced.get(&sample.name) {
            Some(kind) if *kind == sample.kind => return None,
            Some(_) => return Some("the metric had another type before"),
            None => {}
        }
        let name = sample.name.as_str();
        if name.starts_with("node_textfile_") || is_own(name, self.naming) {
            return Some("this program reports a metric of that name itself");
        }
        if self.announced.len() >= MOST_NAMES {
            return Some(TOO_MANY_METRICS);
        }
        self.announced.insert(sample.name.clone(), sample.kind);
        let description = parsed.helps.get(name).cloned().unwrap_or_default();
        self.fresh.push(Discovered { name: sample.name.clone(), description, kind: sample.kind });
        None
    }

    fn add(&mut self, sample: &Sample) {
        let value = match (sample.kind, self.since) {
            (Counter, Since::Start) => match self.total(sample) {
                Some(total) => total,
                None => return,
            },
            _ => sample.value,
        };
        let pairs = sample.labels.iter().map(|(key, value)| opentelemetry::KeyValue::new(key.clone(), value.clone()));
        let family = self
            .families
            .entry(sample.name.clone())
            .or_insert_with(|| Family { kind: sample.kind, points: Vec::new() });
        family.kind = sample.kind;
        family.points.push((pairs.collect(), value));
    }

    /// The total of a counter; `None` before its first finite reading.
    fn total(&mut self, sample: &Sample) -> Option<f64> {
        let key = (sample.name.clone(), sample.labels.clone());
        if !sample.value.is_finite() {
            let total = self.totals.get_mut(&key)?;
            total.seen = true;
            return Some(total.total);
        }
        let total = self.totals.entry(key).or_insert(Total { reading: sample.value, total: 0.0, seen: false });
        total.total += (sample.value - total.reading).max(0.0);
        (total.reading, total.seen) = (sample.value, true);
        Some(total.total)
    }
}

/// Whether Prometheus' OTLP receiver would append `_total` to the name.
fn gets_total(sample: &Sample) -> bool {
    sample.kind == Counter && !sample.name.ends_with("_total")
}

/// Whether a metric of this program has that name in the profile.
fn is_own(name: &str, naming: Naming) -> bool {
    let metrics = COLLECTORS.iter().flat_map(|definition| definition.metrics);
    metrics.filter_map(|metric| metric.shape(naming)).any(|shape| shape.name == name)
}

/// Reads a file; `None` if it is dropped. Called only when the file has changed, so that an error is logged once.
fn read_file(path: &Path) -> Option<Parsed> {
    let refuse = |line: usize, words: &str| {
        let line = if line > 0 { format!(", line {line}") } else { String::new() };
        warn!("{}{line}: {words}; the file is left out", path.display());
    };
    let content = files::read(path).map_err(|error| refuse(0, &error.to_string())).ok()?;
    parse::parse(&content).map_err(|fault| refuse(fault.line, fault.words)).ok()
}

impl Collector for Textfile {
    fn read(&mut self, reader: &mut Reader) {
        let Some(dir) = self.dir.clone() else { return };
        if self.read_files(&dir, reader) || self.first {
            self.assemble();
        }
        self.first = false;
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        if self.dir.is_none() {
            // node_exporter always has this metric.
            if metric.id == "error" && self.naming == Naming::NodeExporter {
                out.int(0, &[]);
            }
            return;
        }
        match metric.id {
            "mtime" => {
                // As node_exporter: whole seconds, and no series for a file with an error.
                for file in self.known.iter().filter(|file| file.parsed.is_some()) {
                    #[allow(clippy::cast_precision_loss)] // a time in whole seconds
                    out.float(file.stamp.1 as f64, &file.series);
                }
            }
            "error" => {
                let left_out = self.known.iter().any(|file| file.partly || file.parsed.is_none());
                out.int(u64::from(self.failed || self.too_many || left_out), &[]);
                out.cut(self.cut);
            }
            _ => {}
        }
    }

    fn discovered(&mut self) -> Vec<Discovered> {
        std::mem::take(&mut self.fresh)
    }

    fn observe_discovered(&self, name: &str, out: &mut Observer<'_>) {
        if let Some(family) = self.families.get(name) {
            family.points.iter().for_each(|(series, value)| out.float(*value, series));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::observer::Sink;
    use super::super::testing::{Bench, Host, logged};
    use super::*;

    fn bench(host: &Host, since: Since) -> Bench {
        let options = Options { textfile_dir: Some(host.path("textfiles")), since, ..Options::default() };
        Bench::new(DEFINITION, host.context(options))
    }

    /// The points of a metric, `labels value`.
    fn points(textfile: &mut Bench, name: &str) -> Vec<String> {
        textfile.next();
        textfile.discovered_points(name)
    }

    fn error(textfile: &Bench) -> bool {
        textfile.points().contains(&"heka.textfile.scrape_error 1".to_owned())
    }

    #[test]
    fn metrics_have_their_names_labels_and_values() {
        let host = Host::empty();
        host.write("textfiles/backup.prom", "# TYPE backup_bytes gauge\nbackup_bytes{job=\"db\",b=\"2\"} 1.5\n");
        host.write("textfiles/notes.txt", "no metrics\n");
        let mut textfile = bench(&host, Since::Boot);
        assert_eq!(points(&mut textfile, "backup_bytes"), ["{b=2,job=db} 1.5"]);
        assert!(!error(&textfile));
    }

    #[test]
    fn the_time_of_a_file_is_in_whole_seconds_under_its_whole_path_and_missing_for_a_file_with_an_error() {
        let host = Host::empty();
        host.write("textfiles/good.prom", "good 1\n");
        host.write("textfiles/bad.prom", "broken\n");
        let written = std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_900);
        std::fs::File::options()
            .write(true)
            .open(host.path("textfiles/good.prom"))
            .unwrap()
            .set_modified(written)
            .unwrap();
        let mut textfile = bench(&host, Since::Boot);
        textfile.next();
        let points = textfile.points();
        let times: Vec<_> = points.iter().filter(|point| point.contains("mtime")).collect();
        let path = host.path("textfiles/good.prom");
        assert_eq!(times, [&format!("heka.textfile.mtime{{file.path={}}} 1700000000", path.display())]);
    }

    #[test]
    fn a_counter_to_whose_name_prometheus_would_add_total_is_pushed_as_an_up_down_counter() {
        let host = Host::empty();
        let text = "# TYPE runs counter\nruns 40\n# TYPE a_total counter\na_total 2\n\
                    # TYPE h histogram\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\nh_count 3\n";
        host.write("textfiles/a.prom", text);
        for (scraped, other) in [(false, UpDownCounter), (true, Counter)] {
            let dir = Some(host.path("textfiles"));
            let options = Options { textfile_dir: dir, scraped, ..Options::default() };
            let mut textfile = Bench::new(DEFINITION, host.context(options));
            textfile.next();
            let kinds: BTreeMap<_, _> =
                textfile.collector.discovered().into_iter().map(|found| (found.name, found.kind)).collect();
            let expected =
                [("a_total", Counter), ("h_bucket", other), ("h_count", other), ("h_sum", other), ("runs", other)];
            assert_eq!(kinds, expected.map(|(name, kind)| (name.to_owned(), kind)).into());
        }
        assert_eq!(
            points(&mut bench(&host, Since::Start), "runs"),
            [" 40"],
            "a sum that is not a counter has the file's value"
        );
    }

    #[test]
    fn a_counter_counts_from_the_start_and_waits_where_it_steps_back() {
        let host = Host::empty();
        let write = |value: u64| {
            // Renamed into place, as node_exporter recommends.
            host.write("textfiles/a.tmp", format!("# TYPE runs_total counter\nruns_total {value}\n"));
            std::fs::rename(host.path("textfiles/a.tmp"), host.path("textfiles/a.prom")).unwrap();
        };
        write(100);
        let mut textfile = bench(&host, Since::Start);
        for (reading, total) in [(100, " 0"), (107, " 7"), (3, " 7"), (5, " 9")] {
            write(reading);
            assert_eq!(points(&mut textfile, "runs_total"), [total], "{reading}");
        }
        assert_eq!(points(&mut bench(&host, Since::Boot), "runs_total"), [" 5"]);
    }

    #[test]
    fn a_file_with_a_fault_is_left_out_whole_and_the_others_stay() {
        let host = Host::empty();
        host.write("textfiles/good.prom", "good 1\n");
        host.write("textfiles/bad.prom", "half 1\nbroken\n");
        let mut textfile = bench(&host, Since::Boot);
        assert_eq!(points(&mut textfile, "good"), [" 1"]);
        assert!(points(&mut textfile, "half").is_empty());
        assert!(error(&textfile));
        host.write("textfiles/bad.prom", "half 1.25\n");
        assert_eq!(points(&mut textfile, "half"), [" 1.25"]);
        assert!(!error(&textfile));
    }

    #[test]
    fn a_fault_is_one_line_with_the_file_and_the_line_number_until_the_file_changes() {
        let host = Host::empty();
        host.write("textfiles/bad.prom", "half 1\n\nbroken\n");
        let lines = logged(|| {
            let mut textfile = bench(&host, Since::Boot);
            textfile.next();
            textfile.next();
        });
        let path = host.path("textfiles/bad.prom");
        assert_eq!(lines, [format!("WARN {}, line 3: no value; the file is left out", path.display())]);
    }

    #[test]
    fn a_file_that_is_replaced_while_it_is_read_is_read_before_or_after() {
        let host = Host::empty();
        let version = |value: usize| {
            let series: String = (0..2_000).map(|n| format!("a{{n=\"{n}\"}} {value}\n")).collect();
            host.write("textfiles/a.tmp", series);
            std::fs::rename(host.path("textfiles/a.tmp"), host.path("textfiles/a.prom")).unwrap();
        };
        version(0);
        let done = std::sync::atomic::AtomicBool::new(false);
        let (mut textfile, mut values) = (bench(&host, Since::Boot), HashSet::new());
        std::thread::scope(|scope| {
            scope.spawn(|| (1..).take_while(|_| !done.load(std::sync::atomic::Ordering::Relaxed)).for_each(version));
            while values.len() < 20 {
                let read = points(&mut textfile, "a");
                let of_one_file: HashSet<_> =
                    read.iter().map(|point| point.rsplit_once(' ').unwrap().1.to_owned()).collect();
                assert_eq!((read.len(), of_one_file.len()), (2_000, 1));
                values.extend(of_one_file);
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn a_reading_that_is_not_finite_leaves_the_total_as_it_is() {
        let host = Host::empty();
        let mut textfile = bench(&host, Since::Start);
        for (reading, total) in [
            ("+Inf", None),
            ("10", Some(" 0")),
            ("15", Some(" 5")),
            ("+Inf", Some(" 5")),
            ("NaN", Some(" 5")),
            ("17", Some(" 7")),
        ] {
            host.write("textfiles/a.tmp", format!("# TYPE runs_total counter\nruns_total {reading}\n"));
            std::fs::rename(host.path("textfiles/a.tmp"), host.path("textfiles/a.prom")).unwrap();
            assert_eq!(points(&mut textfile, "runs_total").first().map(String::as_str), total, "{reading}");
        }
    }

    #[test]
    fn a_metric_that_changes_its_type_is_left_out_until_it_changes_back() {
        let host = Host::empty();
        let mut textfile = bench(&host, Since::Boot);
        for (kind, reported) in [("gauge", true), ("counter", false), ("gauge", true)] {
            host.write("textfiles/a.tmp", format!("# TYPE a {kind}\na 1\n"));
            std::fs::rename(host.path("textfiles/a.tmp"), host.path("textfiles/a.prom")).unwrap();
            assert_eq!(points(&mut textfile, "a").len(), usize::from(reported), "{kind}");
            assert_eq!(error(&textfile), !reported, "{kind}");
        }
    }

    /// The number of series that are counted as dropped.
    fn cut(textfile: &Bench) -> usize {
        let metric = METRICS.iter().find(|metric| metric.id == "error").unwrap();
        let mut out = Observer::new(Sink::Nowhere, usize::MAX);
        textfile.collector.observe(metric, &mut out);
        out.cut
    }

    #[test]
    fn files_above_the_limit_are_an_error_and_one_line() {
        let host = Host::empty();
        for n in 0..=MOST_FILES {
            host.write(&format!("textfiles/{n:04}.prom"), format!("a{{n=\"{n}\"}} 1\n"));
        }
        let lines = logged(|| {
            let mut textfile = bench(&host, Since::Boot);
            assert_eq!(points(&mut textfile, "a").len(), MOST_FILES);
            assert!(error(&textfile));
            host.remove("textfiles/0000.prom");
            assert_eq!(points(&mut textfile, "a").len(), MOST_FILES);
            assert!(!error(&textfile));
        });
        assert!(lines.len() == 1 && lines[0].contains("more than 1000 files; 1 are left out"), "{lines:#?}");
    }

    #[test]
    fn series_and_metrics_above_the_limits_are_counted_and_one_line() {
        for (text, name, kept, words) in [
            (
                (0..MOST_SERIES + 3).map(|n| format!("a{{n=\"{n}\"}} 1\n")).collect::<String>(),
                "a",
                MOST_SERIES,
                TOO_MANY_SERIES,
            ),
            ((0..MOST_NAMES + 3).map(|n| format!("a{n} 1\n")).collect(), "a999", 1, TOO_MANY_METRICS),
        ] {
            let host = Host::empty();
            host.write("textfiles/a.prom", text);
            let lines = logged(|| {
                let mut textfile = bench(&host, Since::Boot);
                assert_eq!(points(&mut textfile, name).len(), kept);
                assert!(error(&textfile));
                assert_eq!(cut(&textfile), 3);
            });
            assert!(lines.len() == 1 && lines[0].contains("a.prom, line ") && lines[0].contains(words), "{lines:#?}");
        }
    }

    #[test]
    fn a_series_that_two_files_have_is_taken_from_the_first() {
        let host = Host::empty();
        host.write("textfiles/a.prom", "twice 1\n");
        host.write("textfiles/b.prom", "twice 2\ntwice{b=\"1\"} 3\n");
        let mut textfile = bench(&host, Since::Boot);
        assert_eq!(points(&mut textfile, "twice"), [" 1", "{b=1} 3"]);
        assert!(error(&textfile));
    }

    #[test]
    fn names_that_are_reserved_are_left_out_and_all_others_are_taken() {
        let host = Host::empty();
        host.write("textfiles/a.prom", "node_textfile_mtime_seconds 1\njob:rate5m 2\n_hidden 3\nfine 4\n");
        let mut textfile = bench(&host, Since::Boot);
        for (name, point) in [("fine", " 4"), ("job:rate5m", " 2"), ("_hidden", " 3")] {
            assert_eq!(points(&mut textfile, name), [point]);
        }
        assert!(points(&mut textfile, "node_textfile_mtime_seconds").is_empty());
        assert!(error(&textfile));
        assert!(is_own("node_load1", Naming::NodeExporter) && !is_own("node_load1", Naming::Semconv));
    }

    #[test]
    fn a_file_that_is_removed_takes_its_series_along() {
        let host = Host::empty();
        host.write("textfiles/a.prom", "gone 1\n");
        let mut textfile = bench(&host, Since::Boot);
        assert_eq!(points(&mut textfile, "gone").len(), 1);
        host.remove("textfiles/a.prom");
        assert!(points(&mut textfile, "gone").is_empty());
    }

    #[test]
    fn a_name_is_announced_once_and_a_directory_that_is_missing_is_an_error() {
        let host = Host::empty();
        let mut textfile = bench(&host, Since::Boot);
        textfile.next();
        assert!(error(&textfile) && textfile.reader.failures() > 0);
        host.write("textfiles/a.prom", "new 1\n");
        textfile.next();
        let names = |found: Vec<Discovered>| found.into_iter().map(|found| found.name).collect::<Vec<_>>();
        assert_eq!(names(textfile.collector.discovered()), ["new"]);
        textfile.next();
        assert!(textfile.collector.discovered().is_empty());
    }

    #[test]
    fn without_a_directory_nothing_is_reported() {
        let textfile = Bench::new(DEFINITION, Host::empty().context(Options::default()));
        assert!(textfile.points().is_empty());
    }
}
