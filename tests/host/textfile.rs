//! Tests of metrics from text files, through the SDK.

use heka_insights_agent::internals::collectors::Options;

use crate::collect::Pipeline;
use crate::fixture::FixtureHost;

fn pipeline(host: &FixtureHost, delta: bool) -> Pipeline {
    let textfile_dir = Some(host.root().join("proc/textfiles"));
    Pipeline::new(&host.context(Options { textfile_dir, delta, ..Options::default() }))
}

fn write(host: &FixtureHost, runs: u64) {
    host.write(
        "proc/textfiles/a.prom",
        format!("# TYPE runs_total counter\nruns_total{{job=\"a\"}} {runs}\nlast 1.5\n"),
    );
}

#[test]
fn a_file_that_is_there_at_the_start_is_in_the_first_collection() {
    let host = FixtureHost::empty();
    write(&host, 40);
    let mut pipeline = pipeline(&host, false);
    let collected = pipeline.collect();
    assert_eq!(collected.value("last", &[]), 1.5);
    assert_eq!(collected.value("runs_total", &["a"]), 0.0);
    write(&host, 142);
    assert_eq!(pipeline.collect().value("runs_total", &["a"]), 102.0);
}

#[test]
fn names_that_opentelemetry_does_not_allow_for_instruments_are_exported_unchanged() {
    let host = FixtureHost::empty();
    host.write("proc/textfiles/a.prom", "job:rate5m{a=\"x\"} 2\n_hidden 3\na__b 4\n");
    let collected = pipeline(&host, false).collect();
    for (name, value) in [("job:rate5m", 2.0), ("_hidden", 3.0), ("a__b", 4.0)] {
        assert_eq!(collected.series(name).len(), 1, "{name}");
        let labels: &[&str] = if name == "job:rate5m" { &["x"] } else { &[] };
        assert_eq!(collected.value(name, labels), value);
    }
}

#[test]
fn a_metric_that_comes_later_has_its_instrument_in_the_next_collection() {
    let host = FixtureHost::empty();
    host.write("proc/textfiles/other.prom", "other 1\n");
    let mut pipeline = pipeline(&host, false);
    assert!(pipeline.collect().series("last").is_empty());
    write(&host, 40);
    pipeline.collect();
    pipeline.registered.discover();
    assert_eq!(pipeline.collect().value("last", &[]), 1.5);
}

#[test]
fn a_metric_has_the_kind_of_its_type_and_changes_it_in_no_file() {
    let host = FixtureHost::empty();
    write(&host, 40);
    let mut pipeline = pipeline(&host, false);
    let kinds = |collected: &crate::collect::Collected, name: &str| {
        collected.series(name).iter().map(|point| point.kind).collect::<Vec<_>>()
    };
    let collected = pipeline.collect();
    assert_eq!((kinds(&collected, "runs_total"), kinds(&collected, "last")), (vec!["counter"], vec!["gauge"]));
    host.write("proc/textfiles/a.prom", "# TYPE runs_total gauge\nruns_total{job=\"a\"} 7\nlast 2.5\n");
    let collected = pipeline.collect();
    assert_eq!((kinds(&collected, "runs_total"), collected.value("last", &[])), (vec![], 2.5));
    assert_eq!(collected.value("heka.textfile.scrape_error", &[]), 1.0);
}

#[test]
fn series_above_the_limits_of_text_files_are_in_the_number_of_dropped_series() {
    let host = FixtureHost::empty();
    let metrics: String = (0..1_004).map(|n| format!("a{n} 1\n")).collect();
    host.write("proc/textfiles/a.prom", metrics);
    let mut pipeline = pipeline(&host, false);
    pipeline.collect();
    let textfile = pipeline.registered.collectors.iter().find(|collector| collector.name == "textfile").unwrap();
    assert_eq!(textfile.cut.load(std::sync::atomic::Ordering::Relaxed), 4);
}

#[test]
fn a_counter_that_comes_back_sends_no_old_total_as_a_difference() {
    let host = FixtureHost::empty();
    write(&host, 40);
    let mut pipeline = pipeline(&host, true);
    pipeline.collect();
    write(&host, 150);
    assert_eq!(pipeline.collect().value("runs_total", &["a"]), 110.0);
    host.remove("proc/textfiles/a.prom");
    assert!(pipeline.collect().series("last").is_empty());
    write(&host, 1_600);
    assert_eq!(pipeline.collect().value("runs_total", &["a"]), 0.0);
}
