//! Tests of large hosts: every series must arrive, and a configured limit must be enforced.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use heka_insights_agent::internals::collectors::limit::Limits;
use heka_insights_agent::internals::collectors::{COLLECTORS, Options, register_from};
use heka_insights_agent::internals::metrics::naming::Detail;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::{Instrument, SdkMeterProvider};

use crate::collect::{Pipeline, keeping};
use crate::fixture::FixtureHost;
use crate::log;

/// A host with so many CPUs, all columns of each different.
fn host_with_cpus(cpus: u64) -> FixtureHost {
    let host = FixtureHost::empty();
    host.write("proc/stat", stat(cpus, 0));
    host
}

fn stat(cpus: u64, more: u64) -> String {
    let mut text = format!("cpu {0} {0} {0} {0} {0} {0} {0} {0} 0 0\n", cpus * (1_000 + more));
    for cpu in 0..cpus {
        let columns: Vec<String> = (1..=8).map(|column| (cpu * 100 + column * (10 + more)).to_string()).collect();
        writeln!(text, "cpu{cpu} {} 0 0", columns.join(" ")).unwrap();
    }
    text + "intr 0\n"
}

fn host_with_disks(disks: u64) -> FixtureHost {
    let host = FixtureHost::empty();
    let mut text = String::new();
    for disk in 0..disks {
        host.add_disk(&format!("sd{disk}"));
        writeln!(text, "8 {disk} sd{disk} 1 2 3 4 5 6 7 8 0 10 11").unwrap();
    }
    host.write("proc/diskstats", text);
    host
}

fn only(collector: &str) -> Options {
    Options { collectors: Some(vec![collector.to_owned()]), ..Options::default() }
}

#[test]
fn cpu_times_of_512_cpus_in_7_modes_arrive_whole() {
    let host = host_with_cpus(512);
    let mut pipeline = Pipeline::new(&host.context(Options { per_cpu: true, ..only("cpu") }));
    pipeline.collect();
    host.write("proc/stat", stat(512, 1));
    let collected = pipeline.collect();
    assert_eq!(collected.series("system.cpu.time").len(), 512 * 7);
    assert_eq!(collected.values_of("system.cpu.time", "cpu.logical_number").len(), 512);
    assert!(!collected.to_string().contains("otel.metric.overflow"));
    assert_eq!(pipeline.registered.collectors[0].cut.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn a_host_that_grows_past_its_room_has_new_instruments_and_never_an_overflow() {
    let host = host_with_cpus(2);
    host.write("sys/devices/system/cpu/possible", "0-511\n");
    let context = host.context(Options { per_cpu: true, ..only("cpu") });
    let mut pipeline = Pipeline::new(&context);
    assert_eq!(pipeline.collect().series("system.cpu.time").len(), 2 * 7);
    assert!(!pipeline.registered.outgrown());
    for renewals in 0.. {
        host.write("proc/stat", stat(512, renewals));
        let collected = pipeline.collect();
        assert!(!collected.to_string().contains("otel.metric.overflow"));
        assert_eq!(
            pipeline.registered.collectors[0].cut.load(std::sync::atomic::Ordering::Relaxed),
            0,
            "not for --max-series"
        );
        if collected.series("system.cpu.time").len() == 512 * 7 {
            assert!(!pipeline.registered.outgrown() && renewals == 1, "{renewals}");
            break;
        }
        assert!(pipeline.registered.outgrown());
        pipeline = pipeline.renewed(&context);
    }
}

/// A gauge's series that all change their names: the SDK has the old ones and the new ones at once.
#[test]
fn series_that_all_change_between_two_collections_do_not_overflow() {
    let host = FixtureHost::empty();
    let swaps = |from: usize| {
        let lines = (from..from + 200).map(|n| format!("/dev/swap{n} partition 1048576 {n} -2\n"));
        format!("Filename Type Size Used Priority\n{}", lines.collect::<String>())
    };
    host.write("proc/swaps", swaps(0));
    let context = host.context(only("paging"));
    let mut pipeline = Pipeline::new(&context);
    for round in 0..4 {
        host.write("proc/swaps", swaps(round * 200));
        let collected = pipeline.collect();
        assert_eq!(collected.series("system.paging.utilization").len(), 400, "{round}");
        assert!(!collected.to_string().contains("otel.metric.overflow") && !pipeline.registered.outgrown());
    }
}

/// The SDK allocates what an instrument has room for.
#[test]
fn an_instrument_has_room_for_the_series_of_its_own_metric() {
    let host = FixtureHost::empty();
    host.write("sys/fs/cgroup/cgroup.controllers", "memory");
    for number in 0..30 {
        let service = format!("sys/fs/cgroup/system.slice/{number}.service");
        host.write(&format!("{service}/memory.current"), "4096\n");
        host.write(&format!("{service}/io.pressure"), "some avg10=0.00 total=1\nfull avg10=0.00 total=1\n");
    }
    let rooms = Arc::new(Mutex::new(HashMap::new()));
    let (limits, seen) = (Limits::default(), Arc::clone(&rooms));
    let limit = limits.clone();
    let provider = SdkMeterProvider::builder()
        .with_reader(keeping(false).0)
        .with_view(move |instrument: &Instrument| {
            seen.lock().unwrap().insert(instrument.name().to_owned(), limit.next());
            None
        })
        .build();
    let context = host.context(Options { detail: Detail::Detailed, ..only("services") });
    let _registered = register_from(&provider.meter("test"), &context, COLLECTORS, Some(&limits));
    let room = |name: &str| rooms.lock().unwrap()[name];
    assert_eq!(room("systemd.service.pressure.time"), 2 * 60 + 23);
    assert_eq!(room("systemd.service.memory.usage"), 2 * 30 + 23);
    assert_eq!(room("systemd.service.restarts"), 2 * 60 + 23, "without series yet: as for the largest metric");
}

#[test]
fn a_thousand_disks_arrive_whole() {
    let host = host_with_disks(1_200);
    let mut pipeline = Pipeline::new(&host.context(only("disk")));
    let collected = pipeline.collect();
    assert_eq!(collected.series("system.disk.io").len(), 1_200 * 2);
    assert_eq!(collected.series("system.disk.io_time").len(), 1_200);
    assert!(!collected.to_string().contains("otel.metric.overflow"));
}

/// A CronJob a second, collected every ten seconds: ten containers, services and processes end and ten others start between
/// two collections. What was kept of each would exceed every limit within this time: each instrument's default limit of
/// 2,000 series, and the room that the instruments have in the SDK, which is far less.
#[test]
fn containers_services_and_processes_that_come_and_go_leave_nothing_behind() {
    const COLLECTIONS: usize = 210;
    const EACH: usize = 10;
    let host = FixtureHost::empty();
    host.write("sys/fs/cgroup/cgroup.controllers", "cpu memory");
    host.write("proc/stat", "cpu 1 1 1 1\nbtime 1700000000\n");
    let paths = |number: usize| {
        let pod = format!("kubepods/pod{number:08x}-0000-0000-0000-000000000000");
        [
            format!("sys/fs/cgroup/{pod}/{number:064x}"),
            format!("sys/fs/cgroup/system.slice/job-{number}.service"),
            format!("proc/{}", number + 2),
        ]
    };
    let options = Options {
        detail: Detail::Detailed,
        top_processes: EACH,
        collectors: Some(["containers", "services", "process"].map(str::to_owned).to_vec()),
        ..Options::default()
    };
    let mut pipeline = Pipeline::new(&host.context(options.clone()));
    for collection in 0..COLLECTIONS {
        let first = collection * EACH;
        for number in first.saturating_sub(if collection > 0 { EACH } else { 0 })..first {
            let [container, service, process] = paths(number);
            let pod = host.root().join(container);
            for gone in [pod.parent().unwrap(), &host.root().join(service), &host.root().join(process)] {
                std::fs::remove_dir_all(gone).unwrap();
            }
        }
        for number in first..first + EACH {
            let [container, service, process] = paths(number);
            host.write(&format!("{container}/memory.current"), "4096\n");
            host.write(&format!("{service}/cpu.stat"), format!("user_usec {number}\nsystem_usec 1\n"));
            let stat = format!("{0} (job) S 1 1 1 0 -1 0 0 0 0 0 {number} 0 0 0 20 0 3 0 {0} 8192 {0} 0\n", number + 2);
            host.write(&format!("{process}/stat"), stat);
        }
        let collected = pipeline.collect();
        let text = collected.to_string();
        assert!(!text.contains("otel.metric.overflow"), "{collection}");
        let counts = ["container.memory.usage", "systemd.service.cpu.time", "process.memory.usage"];
        assert_eq!(counts.map(|name| collected.series(name).len()), [EACH, 2 * EACH, EACH], "{collection}");
        // The first collections find more than the baseline had.
        if pipeline.registered.outgrown() {
            assert!(collection < 2, "the instruments have no room in collection {collection}");
            pipeline = pipeline.renewed(&host.context(options.clone()));
        }
    }
    let cut = |collector: &std::sync::Arc<heka_insights_agent::internals::collectors::CollectorStats>| {
        collector.cut.load(std::sync::atomic::Ordering::Relaxed)
    };
    assert!(pipeline.registered.collectors.iter().all(|collector| cut(collector) == 0));
}

#[test]
fn series_above_max_series_are_dropped_counted_and_logged_once() {
    log::keep();
    let host = host_with_disks(40);
    let mut pipeline = Pipeline::new(&host.context(Options { max_series: Some(53), ..only("disk") }));
    for _ in 0..3 {
        let collected = pipeline.collect();
        assert_eq!(collected.series("system.disk.io").len(), 53);
        assert_eq!(collected.series("system.disk.io_time").len(), 40);
        assert!(!collected.to_string().contains("otel.metric.overflow"), "the agent cuts before the SDK folds");
    }
    let cut = pipeline.registered.collectors[0].cut.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(cut, 4 * (80 - 53), "of the metrics with a direction, in one collection");
    let lines = log::lines("--max-series (53)");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("WARN") && lines[0].contains("system.disk.io exceeds --max-series (53) by 27 series"),
        "{lines:?}"
    );
}
