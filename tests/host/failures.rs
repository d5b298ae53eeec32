//! Rules of truth 4 and 5: absent, unsupported and failed are distinct, each is logged once, and each file is read
//! once.

use std::sync::atomic::Ordering;

use heka_insights_agent::internals::collectors::Options;
use rustix::fs::inotify;

use crate::collect::{Collected, Pipeline};
use crate::fixture::FixtureHost;
use crate::log;

/// The files that the counters come from, each with one of its counters and a text of the server's, before and after.
struct Counted {
    file: &'static str,
    counter: &'static str,
    series: &'static [&'static str],
    before: &'static str,
    after: &'static str,
}

#[rustfmt::skip] // a table
const COUNTERS: [Counted; 3] = [
    Counted { file: "proc/stat", counter: "system.cpu.time", series: &["idle"], before: " 84974547 ", after: " 84974647 " },
    Counted { file: "proc/vmstat", counter: "system.paging.faults", series: &["major"], before: "pgmajfault 123456", after: "pgmajfault 123466" },
    Counted { file: "proc/diskstats", counter: "system.disk.operations", series: &["sda", "read"], before: "sda 500005 ", after: "sda 500105 " },
];

fn kinds(collected: &Collected, kind: &str) -> Vec<String> {
    let mut names: Vec<_> = collected.0.iter().filter(|p| p.kind == kind).map(|p| p.name.clone()).collect();
    names.dedup();
    names
}

#[test]
fn a_file_that_vanishes_holds_its_totals_and_takes_its_states_away() {
    for Counted { file, counter, series, before, after } in COUNTERS {
        let host = FixtureHost::copy("server");
        let mut pipeline = Pipeline::new(&host.context(Options::default()));
        pipeline.collect();
        host.edit(file, before, after);
        let good = pipeline.collect();
        assert!(good.value(counter, series) > 0.0);
        let content = host.read(file);
        host.remove(file);
        let without = pipeline.collect();
        assert_eq!(without.value(counter, series), good.value(counter, series), "{file}");
        assert_eq!(kinds(&without, "counter"), kinds(&good, "counter"), "no series is missed without {file}");
        host.write(file, content);
        assert_eq!(pipeline.collect().value(counter, series), good.value(counter, series), "{file}");
    }
}

#[test]
fn only_of_counters_the_log_states_that_totals_are_held() {
    log::keep();
    for (file, line) in [
        ("proc/vmstat", "its counters hold their last totals until it can"),
        ("proc/meminfo", "its metrics are left out until it can"),
    ] {
        let host = FixtureHost::copy("server");
        let mut pipeline = Pipeline::new(&host.context(Options::default()));
        pipeline.collect();
        host.remove(file);
        std::fs::create_dir(host.root().join(file)).unwrap();
        pipeline.collect();
        pipeline.collect();
        let lines = log::lines(&host.root().join(file).display().to_string());
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("WARN") && lines[0].ends_with(line), "{lines:?}");
    }
}

#[test]
fn a_file_without_a_reading_is_one_line_however_long_it_lasts() {
    log::keep();
    let spoils: [fn(&FixtureHost, &str); 4] = [
        FixtureHost::remove,
        |host, file| host.write(file, ""),
        |host, file| host.write(file, "\0".repeat(4_000)),
        |host, file| host.write(file, "no such thing\n"),
    ];
    for spoil in spoils {
        for file in ["proc/stat", "proc/meminfo", "proc/loadavg", "proc/uptime"] {
            let host = FixtureHost::copy("server");
            let mut pipeline = Pipeline::new(&host.context(Options::default()));
            pipeline.collect();
            spoil(&host, file);
            for _ in 0..3 {
                pipeline.collect();
            }
            let lines = log::lines(&host.root().join(file).display().to_string());
            assert!(lines.len() == 1 && lines[0].starts_with("WARN"), "{file}: {lines:?}");
        }
    }
}

#[test]
fn a_file_that_vanishes_sends_no_wrong_difference() {
    let empty = |host: &FixtureHost, file: &str| host.write(file, "");
    for spoil in [FixtureHost::remove, empty] {
        for Counted { file, counter, series, before, after } in COUNTERS {
            let host = FixtureHost::copy("server");
            let mut pipeline = Pipeline::new(&host.context(Options { delta: true, ..Options::default() }));
            pipeline.collect();
            host.edit(file, before, after);
            assert!(pipeline.collect().value(counter, series) > 0.0);
            let content = host.read(file);
            spoil(&host, file);
            for _ in 0..2 {
                let without = pipeline.collect();
                let nothing = without.series(counter).iter().all(|point| point.value.f64() == 0.0);
                assert!(nothing, "{file}: {without}");
            }
            host.write(file, content);
            assert_eq!(pipeline.collect().value(counter, series), 0.0, "{file}");
        }
    }
}

#[test]
fn states_and_shares_of_a_file_that_cannot_be_read_go_away() {
    let host = FixtureHost::copy("server");
    let mut pipeline = Pipeline::new(&host.context(Options::default()));
    pipeline.collect();
    for (file, gone) in [
        ("proc/meminfo", &["system.memory.usage", "system.memory.limit", "system.memory.utilization"][..]),
        ("proc/swaps", &["system.paging.usage", "system.paging.utilization"]),
        ("proc/stat", &["system.cpu.logical.count", "system.cpu.utilization"]),
    ] {
        assert!(!pipeline.collect().series(gone[0]).is_empty());
        let content = host.read(file);
        host.break_file(file);
        let without = pipeline.collect();
        gone.iter().for_each(|name| assert!(without.series(name).is_empty(), "{name} without {file}"));
        host.mend_file(file, content);
        assert!(!pipeline.collect().series(gone[0]).is_empty(), "{} is back", gone[0]);
    }
}

#[test]
fn utilization_starts_again_after_a_gap() {
    let host = FixtureHost::copy("server");
    let mut pipeline = Pipeline::new(&host.context(Options::default()));
    let stat = host.read("proc/stat");
    pipeline.collect();
    host.break_file("proc/stat");
    pipeline.collect();
    host.mend_file("proc/stat", &stat);
    host.edit("proc/stat", "cpu0 1000000", "cpu0 1000092");
    assert!(
        pipeline.collect().series("system.cpu.utilization").is_empty(),
        "a share over the gap would be of two cycles"
    );
    host.edit("proc/stat", "cpu0 1000092", "cpu0 1000192");
    assert_eq!(pipeline.collect().value("system.cpu.utilization", &["user"]), 1.0);
}

#[test]
fn a_source_that_could_not_be_read_at_first_takes_its_first_reading_as_baseline() {
    for Counted { file, counter, series, .. } in COUNTERS {
        let host = FixtureHost::copy("server");
        let content = host.read(file);
        host.break_file(file);
        let mut pipeline = Pipeline::new(&host.context(Options::default()));
        assert!(pipeline.collect().find(counter, series).is_none(), "{file}");
        host.mend_file(file, content);
        assert_eq!(pipeline.collect().value(counter, series), 0.0, "{file}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_one_warning_and_one_line_when_it_can() {
    log::keep();
    let host = FixtureHost::copy("server");
    let mut pipeline = Pipeline::new(&host.context(Options::default()));
    let content = host.read("proc/vmstat");
    pipeline.collect();
    assert_eq!(log::lines(host.mark()), Vec::<String>::new(), "a good host has nothing to say");
    host.break_file("proc/vmstat");
    (0..5).for_each(|_| drop(pipeline.collect()));
    let lines = log::lines(host.mark());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("WARN") && lines[0].contains("proc/vmstat") && lines[0].contains("directory"));
    let errors = |name| {
        let collector = pipeline.registered.collectors.iter().find(|collector| collector.name == name).unwrap();
        collector.errors.load(Ordering::Relaxed)
    };
    assert_eq!((errors("paging"), errors("cpu")), (5, 0), "each failed reading is counted");
    host.mend_file("proc/vmstat", content);
    (0..3).for_each(|_| drop(pipeline.collect()));
    let lines = log::lines(host.mark());
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].starts_with("INFO") && lines[1].contains("proc/vmstat"), "{lines:?}");
}

#[test]
fn a_host_without_most_hardware_has_nothing_to_say() {
    log::keep();
    let host = FixtureHost::whole("container");
    for absent in ["sys/class/hwmon", "sys/class/thermal", "sys/class/net/bonding_masters", "sys/devices/system/edac"] {
        assert!(!host.root().join(absent).exists(), "{absent}");
    }
    let mut pipeline = Pipeline::new(&host.context(Options::default()));
    (0..2).for_each(|_| drop(pipeline.collect()));
    assert_eq!(log::lines(host.mark()), Vec::<String>::new());
    assert!(pipeline.registered.collectors.iter().all(|collector| collector.errors.load(Ordering::Relaxed) == 0));
}

/// Root may read every directory, so a file in its place stands for one that may not be listed.
#[test]
fn a_directory_of_sysfs_that_cannot_be_listed_is_one_warning_and_one_line_when_it_can() {
    log::keep();
    let host = FixtureHost::whole("container");
    for dir in ["sys/class/hwmon", "sys/devices/system/edac/mc"] {
        host.write(dir, "");
    }
    let mut pipeline = Pipeline::new(&host.context(Options::default()));
    (0..3).for_each(|_| drop(pipeline.collect()));
    let lines = log::lines(host.mark());
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line.starts_with("WARN") && line.contains("cannot be read")), "{lines:?}");
    for dir in ["sys/class/hwmon", "sys/devices/system/edac/mc"] {
        host.remove(dir);
    }
    (0..2).for_each(|_| drop(pipeline.collect()));
    let lines = log::lines(host.mark());
    assert!(lines.len() == 4 && lines[2..].iter().all(|line| line.starts_with("INFO")), "{lines:?}");
}

#[test]
fn a_file_that_this_kernel_lacks_is_one_line_and_no_failure() {
    log::keep();
    let host = FixtureHost::copy("server");
    host.remove("proc/swaps");
    let mut pipeline = Pipeline::new(&host.context(Options::default()));
    (0..3).for_each(|_| drop(pipeline.collect()));
    let lines = log::lines(host.mark());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("INFO") && lines[0].contains("proc/swaps is not there"), "{lines:?}");
    assert!(pipeline.registered.collectors.iter().all(|collector| collector.errors.load(Ordering::Relaxed) == 0));
}

#[test]
fn one_family_that_fails_leaves_the_others_as_they_are() {
    let whole = Pipeline::new(&FixtureHost::copy("server").context(Options::default())).collect();
    for (file, collector) in [("stat", "cpu"), ("meminfo", "memory"), ("diskstats", "disk")] {
        let host = FixtureHost::copy("server");
        host.break_file(&format!("proc/{file}"));
        let rest = Pipeline::new(&host.context(Options::default())).collect();
        let shared = |name: &str| file == "stat" && name.starts_with("system.process");
        let others = |collected: &Collected| -> Vec<_> {
            let own = format!("system.{collector}.");
            collected.0.iter().filter(|p| !p.name.starts_with(&own) && !shared(&p.name)).cloned().collect()
        };
        assert_eq!(others(&rest), others(&whole), "without {file}");
    }
}

#[test]
fn each_file_is_read_once_a_collection_whatever_is_reported_from_it() {
    let host = FixtureHost::copy("server");
    let collectors = ["cpu", "memory", "paging", "disk"].map(str::to_owned).to_vec();
    let mut pipeline = Pipeline::new(&host.context(Options { collectors: Some(collectors), ..Options::default() }));
    pipeline.collect();
    const FILES: [&str; 5] = ["stat", "meminfo", "swaps", "vmstat", "diskstats"];
    let before = pipeline.registered.file_reads();
    pipeline.collect();
    assert_eq!(pipeline.registered.file_reads() - before, FILES.len() as u64);
}

/// What the kernel saw. Readings of one file that follow each other at once are one event, hence the test above.
#[test]
fn the_kernel_sees_each_file_read_once_a_collection() {
    let host = FixtureHost::copy("server");
    let mut pipeline = Pipeline::new(&host.context(Options::default()));
    pipeline.collect();
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(host.root().join("proc")).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            let id = inotify::add_watch(&watch, entry.path(), inotify::WatchFlags::ACCESS).unwrap();
            files.push((id, entry.file_name().into_string().unwrap()));
        }
    }
    pipeline.collect();
    let mut room = [const { std::mem::MaybeUninit::uninit() }; 8192];
    let mut events = inotify::Reader::new(&watch, &mut room);
    let mut read = Vec::new();
    while let Ok(event) = events.next() {
        read.extend(files.iter().find(|(id, _)| *id == event.wd()).map(|(_, name)| name.clone()));
    }
    read.sort();
    let mut once = read.clone();
    once.dedup();
    assert_eq!(read, once);
    for file in ["diskstats", "meminfo", "stat", "swaps", "vmstat"] {
        assert!(read.iter().any(|name| name == file), "{file} of {read:?}");
    }
}
