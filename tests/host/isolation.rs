//! Tests of panics, of the single reading per collection, and of a user's own views, with collectors made for the
//! tests.

use std::sync::atomic::Ordering;

use heka_insights_agent::internals::collectors::{
    Collector, Context, Definition, Observer, Options, cpu, memory, register_from, survey,
};
use heka_insights_agent::internals::host::Reader;
use heka_insights_agent::internals::metrics::naming::Detail::{self, Basic};
use heka_insights_agent::internals::metrics::naming::Kind::Counter;
use heka_insights_agent::internals::metrics::naming::Metric;
use heka_insights_agent::internals::metrics::naming::Naming::Hostmetrics;
use heka_insights_agent::internals::metrics::naming::Number::Int;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::{Aggregation, SdkMeterProvider, Stream};

use crate::collect::{Pipeline, keeping};
use crate::fixture::FixtureHost;
use crate::log;

const fn metric(id: &'static str, name: &'static str) -> Metric {
    Metric::new(id, Counter, Int, "of a test", "nothing").semconv(name, "1", Basic, &[])
}

/// Counts its readings, and panics where the test asks for it.
struct Faulty {
    at: &'static str,
    readings: u64,
}

impl Collector for Faulty {
    fn read(&mut self, _reader: &mut Reader) {
        self.readings += 1;
        assert!(self.at != "reading" || self.readings < 3, "it broke at {}", self.at);
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        assert!(self.at != metric.id, "it broke at {}", self.at);
        out.int(self.readings, &[]);
    }
}

const fn faulty(name: &'static str, metrics: &'static [Metric], new: fn(&Context) -> Box<dyn Collector>) -> Definition {
    Definition { name, metrics, new }
}

#[test]
fn a_fault_in_reporting_costs_that_metric_and_one_line() {
    log::keep();
    const METRICS: &[Metric] = &[metric("first", "t.first"), metric("second", "t.second"), metric("third", "t.third")];
    let collector = faulty("faulty-observe", METRICS, |_| Box::new(Faulty { at: "second", readings: 0 }));
    let host = FixtureHost::copy("server");
    let mut pipeline =
        Pipeline::with_collectors(&host.context(Options::default()), &[cpu::DEFINITION, collector, memory::DEFINITION]);
    for _ in 0..3 {
        let collected = pipeline.collect();
        assert!(collected.series("t.second").is_empty());
        assert!(!collected.series("t.first").is_empty() && !collected.series("t.third").is_empty());
        assert!(!collected.series("system.cpu.time").is_empty() && !collected.series("system.memory.usage").is_empty());
    }
    let lines = log::lines("faulty-observe");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("ERROR") && lines[0].contains("it broke at second"), "{lines:?}");
    assert_eq!(pipeline.registered.collectors[1].errors.load(Ordering::Relaxed), 3, "and each is counted");
}

#[test]
fn a_fault_in_reading_leaves_the_other_families_running() {
    log::keep();
    const METRICS: &[Metric] = &[metric("readings", "t.readings")];
    let collector = faulty("faulty-read", METRICS, |_| Box::new(Faulty { at: "reading", readings: 0 }));
    let host = FixtureHost::copy("server");
    let mut pipeline = Pipeline::with_collectors(&host.context(Options::default()), &[collector, memory::DEFINITION]);
    for _ in 0..4 {
        assert!(!pipeline.collect().series("system.memory.usage").is_empty());
    }
    assert_eq!(log::lines("faulty-read").len(), 1);
}

#[test]
fn a_fault_at_the_start_costs_that_family() {
    log::keep();
    const METRICS: &[Metric] = &[metric("never", "t.never")];
    let collector = faulty("faulty-new", METRICS, |_| panic!("it broke at the start"));
    let host = FixtureHost::copy("server");
    let mut pipeline = Pipeline::with_collectors(&host.context(Options::default()), &[collector, memory::DEFINITION]);
    let collected = pipeline.collect();
    assert!(collected.series("t.never").is_empty() && !collected.series("system.memory.usage").is_empty());
    assert_eq!(log::lines("faulty-new").len(), 1);
}

#[test]
fn all_instruments_of_a_family_report_from_one_reading() {
    const METRICS: &[Metric] = &[metric("a", "t.a"), metric("b", "t.b"), metric("c", "t.c")];
    let collector = faulty("counting", METRICS, |_| Box::new(Faulty { at: "", readings: 0 }));
    let host = FixtureHost::empty();
    let mut pipeline = Pipeline::with_collectors(&host.context(Options::default()), &[collector]);
    for cycle in 1..4 {
        let collected = pipeline.collect();
        let readings = ["t.a", "t.b", "t.c"].map(|name| collected.value(name, &[]));
        assert_eq!(readings, [f64::from(cycle) + 1.0; 3], "the baseline, and one a collection");
    }
}

#[test]
fn a_family_without_metrics_in_a_profile_does_not_stop_the_clock_of_the_others() {
    let silent = faulty("silent", &[], |_| Box::new(Faulty { at: "", readings: 0 }));
    let host = FixtureHost::copy("server");
    let mut pipeline = Pipeline::with_collectors(&host.context(Options::default()), &[silent, cpu::DEFINITION]);
    pipeline.collect();
    host.edit("proc/stat", "cpu0 1000000", "cpu0 1000100");
    assert_eq!(pipeline.collect().value("system.cpu.time", &["user"]), 1.0);
}

#[test]
fn a_view_that_drops_a_familys_first_metric_leaves_the_others_fresh() {
    let host = FixtureHost::copy("server");
    let context = host.context(Options::default());
    let (reader, last) = keeping(false);
    let provider = SdkMeterProvider::builder()
        .with_reader(reader)
        .with_view(|instrument: &opentelemetry_sdk::metrics::Instrument| {
            let drop = instrument.name() == "system.cpu.time";
            drop.then(|| Stream::builder().with_aggregation(Aggregation::Drop).build().ok()).flatten()
        })
        .build();
    register_from(&provider.meter("test"), &context, &[cpu::DEFINITION], None);
    let collect = || {
        provider.force_flush().unwrap();
        last.lock().unwrap().take().unwrap()
    };
    collect();
    host.edit("proc/stat", "cpu0 1000000", "cpu0 1000100");
    let collected = collect();
    assert!(collected.series("system.cpu.time").is_empty());
    assert_eq!(collected.value("system.cpu.utilization", &["user"]), 1.0);
}

/// "Off costs nothing": a file that is no regular file is recorded when it is read.
#[test]
fn without_detailed_there_is_no_collector_of_containers_and_no_cgroup_is_read() {
    let host = FixtureHost::empty();
    host.write("sys/fs/cgroup/cgroup.controllers", "cpu");
    for cgroup in ["a.service".to_owned(), format!("docker-{}.scope", "4f".repeat(32))] {
        host.write(&format!("sys/fs/cgroup/system.slice/{cgroup}/cgroup.procs"), "1\n");
        let path = host.root().join(format!("sys/fs/cgroup/system.slice/{cgroup}/cpu.stat"));
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    }
    let found = |detail: Detail| {
        let context = host.context(Options { detail, ..Options::default() });
        let registered = Pipeline::new(&context).registered;
        let containers = registered.collectors.iter().filter(|collector| collector.name == "containers").count();
        let problems = survey(&context).into_iter().flat_map(|survey| survey.problems);
        (containers, problems.filter(|problem| problem.path.ends_with("cpu.stat")).count())
    };
    assert_eq!(found(Detail::Detailed), (1, 2));
    assert_eq!(found(Detail::Basic), (0, 0));
}

#[test]
fn a_family_without_a_metric_in_the_profile_is_neither_made_nor_read_nor_checked() {
    let host = FixtureHost::copy("server");
    let collectors = Some(vec!["memory".to_owned(), "pressure".to_owned()]);
    let context = host.context(Options { collectors, naming: Hostmetrics, ..Options::default() });
    let mut pipeline = Pipeline::new(&context);
    pipeline.collect();
    let names: Vec<_> = pipeline.registered.collectors.iter().map(|collector| collector.name).collect();
    assert_eq!(names, ["memory"]);
    assert_eq!(pipeline.registered.file_reads(), 2, "/proc/meminfo, at the start and in the collection");
    let surveyed: Vec<_> = survey(&context).iter().map(|survey| survey.collector).collect();
    assert_eq!(surveyed, ["memory"]);
}
