use std::path::Path;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::{SdkMeterProvider, Stream};

use super::*;
use crate::collectors::{Context, Options, register};
use crate::host::{Host, Roots};
use crate::outbox::{DropCounts, DropReason, Snapshot};
use crate::test_exporter::Calling;

/// The last collection as lines `scope name{key=value,…} number`; a histogram is represented by its count.
#[derive(Clone, Default)]
struct Kept {
    timer: Timer,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Kept {
    fn keep(&self, metrics: &ResourceMetrics) {
        self.timer.collected();
        let mut lines = lock(&self.lines);
        lines.clear();
        for scope in metrics.scope_metrics() {
            for metric in scope.metrics() {
                let prefix = format!("{} {}", scope.scope().name(), metric.name());
                match metric.data() {
                    AggregatedMetrics::F64(data) => points(data, &prefix, &mut lines),
                    AggregatedMetrics::I64(data) => points(data, &prefix, &mut lines),
                    AggregatedMetrics::U64(data) => points(data, &prefix, &mut lines),
                }
            }
        }
    }
}

fn series<'a>(pairs: impl Iterator<Item = &'a KeyValue>) -> String {
    let mut pairs: Vec<String> = pairs.map(|pair| format!("{}={}", pair.key, pair.value)).collect();
    pairs.sort();
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}

fn points<T: std::fmt::Display + Copy>(data: &MetricData<T>, prefix: &str, lines: &mut Vec<String>) {
    let mut push = |attributes: String, value: String| lines.push(format!("{prefix}{attributes} {value}"));
    match data {
        MetricData::Gauge(gauge) => {
            gauge.data_points().for_each(|point| push(series(point.attributes()), point.value().to_string()));
        }
        MetricData::Sum(sum) => {
            let sign = if sum.is_monotonic() { "+" } else { "" };
            sum.data_points().for_each(|point| push(series(point.attributes()), format!("{}{sign}", point.value())));
        }
        MetricData::Histogram(histogram) => histogram.data_points().for_each(|point| {
            let buckets = point.bounds().count();
            push(series(point.attributes()), format!("count={} bounds={buckets}", point.count()));
        }),
        MetricData::ExponentialHistogram(_) => panic!("no exponential histograms here"),
    }
}

struct Agent {
    provider: SdkMeterProvider,
    kept: Kept,
}

impl Agent {
    fn new(detail: Detail) -> (Self, SelfMetrics) {
        let kept = Kept::default();
        let keeping = kept.clone();
        let provider = SdkMeterProvider::builder()
            .with_reader(Calling::new(move |metrics| keeping.keep(metrics)).reader())
            .with_view(|_: &_| Stream::builder().with_cardinality_limit(3_000).build().ok())
            .build();
        let own = SelfMetrics::new(provider.meter(SCOPE), &kept.timer, Naming::Semconv, detail);
        (Self { provider, kept }, own)
    }

    /// The self-metrics of the next collection, without their scope, sorted.
    fn collect(&self) -> Vec<String> {
        self.provider.force_flush().unwrap();
        let prefix = format!("{SCOPE} ");
        let mut lines = lock(&self.kept.lines).clone();
        lines.sort();
        lines.iter().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect()
    }
}

fn of<'a>(lines: &'a [String], name: &str) -> Vec<&'a str> {
    lines.iter().filter_map(|line| line.strip_prefix(name)).collect()
}

#[test]
fn the_duration_of_a_collection_is_exported_with_the_next_one() {
    let (agent, own) = Agent::new(Basic);
    own.watch_collectors(&load_and_system(&agent));
    assert!(of(&agent.collect(), "heka.collection.duration").is_empty());
    let second = agent.collect();
    let duration: f64 = of(&second, "heka.collection.duration")[0].trim().parse().unwrap();
    assert!(duration > 0.0, "{duration}");
}

#[test]
fn the_series_of_the_default_are_at_most_sixteen_and_all_in_the_namespace_of_the_agent() {
    let (agent, own) = Agent::new(Basic);
    own.watch_collectors(&load_and_system(&agent));
    own.watch_delivery(Snapshot::default);
    agent.collect();
    let lines = agent.collect();
    let names: Vec<_> = lines.iter().map(|line| line.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(
        names,
        [
            "heka.collection.duration",
            "heka.collection.errors",
            "heka.collection.series_cut",
            "heka.exporter.points.lost",
            "heka.exporter.points.sent",
            "heka.exporter.requests.failed",
            "heka.outbox.age",
            "heka.outbox.batches",
            "heka.outbox.size",
            "heka.process.cpu.time",
            "heka.process.memory.usage",
            "heka.process.uptime",
        ]
    );
}

#[test]
fn the_number_of_series_is_that_of_a_collection_and_of_a_scrape() {
    for detail in [Basic, Detailed] {
        let (agent, own) = Agent::new(detail);
        own.watch_collectors(&load_and_system(&agent));
        own.watch_delivery(Snapshot::default);
        agent.collect();
        assert_eq!(agent.collect().len(), super::series(Naming::Semconv, detail, false, 2));
        let (agent, own) = Agent::new(detail);
        own.with_outcomes().watch_collectors(&load_and_system(&agent));
        agent.collect();
        assert_eq!(agent.collect().len(), super::series(Naming::Semconv, detail, true, 2));
    }
}

fn load_and_system(agent: &Agent) -> Registered {
    load_and_system_of(agent, &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/server"))
}

fn load_and_system_of(agent: &Agent, root: &Path) -> Registered {
    let collectors = Some(vec!["load".to_owned(), "system".to_owned()]);
    let host = Host::new(&Roots { root: Some(root.to_owned()), ..Roots::default() });
    let context = Context { host, options: Options { collectors, ..Options::default() } };
    register(&agent.provider.meter("host"), &context)
}

#[test]
fn each_collector_reports_its_series_of_the_same_collection_and_its_errors() {
    let (agent, own) = Agent::new(Detailed);
    own.watch_collectors(&load_and_system(&agent));
    let lines = agent.collect();
    assert_eq!(of(&lines, "heka.collector.series{heka.collector.name="), ["load} 3", "system} 1"]);
    assert_eq!(of(&lines, "heka.collector.series_cut{heka.collector.name="), ["load} 0", "system} 0"]);
    assert_eq!(of(&lines, "heka.collector.errors{heka.collector.name="), ["load} 0+", "system} 0+"]);
    assert_eq!(of(&lines, "heka.collector.success{heka.collector.name="), ["load} 1", "system} 1"]);
    let durations = of(&lines, "heka.collector.duration{heka.collector.name=");
    assert!(durations.iter().all(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() > 0.0));
    assert!(lines.iter().all(|line| line.starts_with("heka.")), "{lines:?}");
}

#[test]
fn a_collector_whose_file_cannot_be_read_shows_0_and_the_others_1() {
    let host = tempfile::tempdir().unwrap();
    std::fs::create_dir(host.path().join("proc")).unwrap();
    std::fs::write(host.path().join("proc/uptime"), "3600.00 7200.00\n").unwrap();
    let (agent, own) = Agent::new(Detailed);
    own.watch_collectors(&load_and_system_of(&agent, host.path()));
    let lines = agent.collect();
    assert_eq!(of(&lines, "heka.collector.success{heka.collector.name="), ["load} 0", "system} 1"]);
    assert_ne!(of(&lines, "heka.collector.errors{heka.collector.name=")[0], "load} 0+");
}

#[test]
fn collectors_that_share_a_name_have_one_series_which_shows_a_failure_of_any() {
    let host = tempfile::tempdir().unwrap();
    // The interfaces' file cannot be read; the sockets, which come later under the same name, can.
    std::fs::create_dir_all(host.path().join("proc/1/net/dev")).unwrap();
    let (agent, _) = Agent::new(Basic);
    let own = SelfMetrics::new(agent.provider.meter(SCOPE), &agent.kept.timer, Naming::NodeExporter, Basic);
    let mut reading = Host::new(&Roots { root: Some(host.path().to_owned()), ..Roots::default() });
    reading.calls.sockets = |_| Ok([0; 15]);
    let collectors = Some(vec!["network".to_owned()]);
    let options = Options { collectors, naming: Naming::NodeExporter, detail: Detailed, ..Options::default() };
    let registered = register(&agent.provider.meter("host"), &Context { host: reading, options });
    assert_eq!(registered.collectors.len(), 2);
    own.watch_collectors(&registered);
    let lines = agent.collect();
    assert_eq!(of(&lines, "node_scrape_collector_success{collector="), ["network} 0"]);
    assert_eq!(of(&lines, "node_scrape_collector_duration_seconds{").len(), 1);
}

fn dropped(reasons: &[(DropReason, u32)]) -> DropCounts {
    let mut counts = DropCounts::default();
    reasons.iter().for_each(|(reason, points)| counts.add(*reason, *points));
    counts
}

#[test]
fn delivery_counts_from_the_registration_and_by_reason() {
    let earlier = Snapshot {
        exported_points: 1_000,
        rejected_points: 5,
        failed_sends: 3,
        dropped: dropped(&[(DropReason::Size, 70)]),
        ..Snapshot::default()
    };
    let figures = Arc::new(Mutex::new(earlier));
    let (agent, own) = Agent::new(Detailed);
    let source = Arc::clone(&figures);
    own.watch_delivery(move || *lock(&source));

    let quiet = agent.collect();
    assert_eq!(of(&quiet, "heka.exporter.points.sent"), [" 0+"]);
    assert_eq!(of(&quiet, "heka.exporter.points.lost"), [" 0+"]);
    assert_eq!(of(&quiet, "heka.outbox.age"), [" 0"]);
    assert!(of(&quiet, "heka.outbox.dropped{").iter().all(|line| line.ends_with(" 0+")));

    *lock(&figures) = Snapshot {
        exported_points: 1_500,
        replayed_batches: 2,
        rejected_points: 7,
        failed_sends: 4,
        outbox_batches: 3,
        outbox_points: 240,
        outbox_bytes: 9_000,
        outbox_oldest: Some(Duration::from_millis(2_500)),
        dropped: dropped(&[(DropReason::Size, 70), (DropReason::Size, 80), (DropReason::Refused, 11)]),
        ..Snapshot::default()
    };
    let lines = agent.collect();
    assert_eq!(
        of(&lines, "heka.outbox.dropped{heka.outbox.drop.reason="),
        ["age} 0+", "corrupt} 0+", "encoding} 0+", "io} 0+", "oversize} 0+", "refused} 1+", "size} 1+"]
    );
    for (name, value) in [
        ("heka.exporter.points.sent", " 500+"),
        ("heka.exporter.points.lost", " 93+"),
        ("heka.exporter.requests.failed", " 1+"),
        ("heka.outbox.points", " 240"),
        ("heka.outbox.batches", " 3"),
        ("heka.outbox.size", " 9000"),
        ("heka.outbox.age", " 2.5"),
        ("heka.outbox.replayed", " 2+"),
    ] {
        assert_eq!(of(&lines, name), [value], "{name}");
    }
}
