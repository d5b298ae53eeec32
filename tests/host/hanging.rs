//! Rule of truth 5: a file that does not answer, or that is none, costs its own collector.

use std::time::{Duration, Instant};

use heka_insights_agent::internals::collectors::Options;
use heka_insights_agent::internals::metrics::naming::Detail;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::collect::{Collected, Pipeline};
use crate::fixture::FixtureHost;
use crate::fuse::HangingFile;
use crate::log;

/// The files that are read once a collection, each with a metric from it and one of another collector.
const FILES: [(&str, &str, &str); 9] = [
    ("proc/stat", "system.cpu.logical.count", "system.memory.limit"),
    ("proc/meminfo", "system.memory.limit", "system.cpu.time"),
    ("proc/loadavg", "system.cpu.load_average.1m", "system.memory.limit"),
    ("proc/uptime", "system.uptime", "system.memory.limit"),
    ("proc/vmstat", "system.paging.faults", "system.memory.limit"),
    ("proc/swaps", "system.paging.usage", "system.memory.limit"),
    ("proc/diskstats", "system.disk.io", "system.memory.limit"),
    ("proc/1/net/dev", "system.network.io", "system.memory.limit"),
    ("proc/1/mountinfo", "system.filesystem.usage", "system.memory.limit"),
];

/// The server, without what is read in place of a file of its first process.
fn server() -> FixtureHost {
    let host = FixtureHost::copy("server");
    for second in ["proc/net/dev", "proc/self/mountinfo"] {
        if host.root().join(second).exists() {
            host.remove(second);
        }
    }
    host
}

fn detailed() -> Options {
    Options { detail: Detail::Detailed, per_cpu: true, ..Options::default() }
}

fn has(collected: &Collected, metric: &str) -> bool {
    !collected.series(metric).is_empty()
}

/// Puts a FIFO without a writer in the file's place.
fn make_fifo(host: &FixtureHost, file: &str) {
    host.remove(file);
    mknodat(CWD, host.root().join(file), FileType::Fifo, Mode::RUSR, 0).unwrap();
}

#[test]
fn a_fifo_in_a_files_place_is_refused_at_once_and_the_other_collectors_go_on() {
    log::keep();
    for (file, own, other) in FILES {
        let host = server();
        make_fifo(&host, file);
        let begun = Instant::now();
        let mut pipeline = Pipeline::new(&host.context(detailed()));
        for _ in 0..2 {
            assert!(has(&pipeline.collect(), other), "{other} without {file}");
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{file} was waited for");
        let path = host.root().join(file);
        let lines = log::lines(path.to_str().unwrap());
        assert!(lines.iter().any(|line| line.contains("it is a FIFO")), "{file}: {lines:?}");
        assert!(lines.len() <= 1, "{lines:?}");
        assert!(!has(&pipeline.collect(), own), "{own} from a FIFO");
    }
}

#[test]
fn every_file_of_the_host_may_be_a_fifo() {
    let begun = Instant::now();
    for file in ["proc/cpuinfo", "proc/1/stat", "proc/self/mountinfo", "proc/self/status", "proc/pressure/cpu"] {
        let host = server();
        if host.root().join(file).exists() {
            make_fifo(&host, file);
        } else {
            host.write(file, "");
            make_fifo(&host, file);
        }
        let mut pipeline = Pipeline::new(&host.context(detailed()));
        assert!(has(&pipeline.collect(), "system.memory.limit"), "{file}");
    }
    let host = FixtureHost::empty();
    host.write("proc/stat", "cpu 1 2 3 4\ncpu0 1 2 3 4\n");
    host.write("proc/diskstats", "8 0 sda 1 2 3 4 5 6 7 8 0 9 10\n");
    for file in
        ["etc/machine-id", "etc/hostname", "etc/os-release", "sys/devices/system/cpu/possible", "sys/block/sda/hidden"]
    {
        host.write(file, "");
        make_fifo(&host, file);
    }
    let mut pipeline = Pipeline::new(&host.context(detailed()));
    assert!(has(&pipeline.collect(), "system.cpu.time"));
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_link_to_an_endless_device_and_a_file_of_100_megabytes_are_refused() {
    log::keep();
    for (file, own, other) in FILES {
        let host = server();
        host.remove(file);
        std::os::unix::fs::symlink("/dev/zero", host.root().join(file)).unwrap();
        let mut pipeline = Pipeline::new(&host.context(Options::default()));
        let collected = pipeline.collect();
        assert!(!has(&collected, own) && has(&collected, other), "{file}");
        let path = host.root().join(file);
        let lines = log::lines(path.to_str().unwrap());
        assert!(lines.iter().any(|line| line.contains("it is a character device")), "{lines:?}");
        host.remove(file);
        host.write(file, "");
        std::fs::File::options().write(true).open(&path).unwrap().set_len(100 << 20).unwrap();
        let collected = Pipeline::new(&host.context(Options::default())).collect();
        assert!(!has(&collected, own) && has(&collected, other), "{file}");
        let lines = log::lines(path.to_str().unwrap());
        assert!(lines.iter().any(|line| line.contains("it is longer than 16 MiB")), "{lines:?}");
    }
}

#[test]
fn a_file_that_hangs_from_the_start_costs_its_collector_until_it_answers() {
    log::keep();
    for (file, own, other) in FILES {
        let host = server();
        let content = host.read(file);
        let path = host.root().join(file);
        let Some(hanging) = HangingFile::over(&path) else { return };
        let mut context = host.context(Options::default());
        context.host.deadline = Duration::from_millis(400);
        let mut pipeline = Pipeline::new(&context);
        for _ in 0..3 {
            let collected = pipeline.collect();
            assert!(!has(&collected, own) && has(&collected, other), "{file}");
        }
        let name = path.to_str().unwrap();
        let lines = log::lines(name);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("WARN") && lines[0].contains("does not answer"), "{lines:?}");
        assert_eq!(hanging.reads(), 1, "{file} is waited for once");
        hanging.answer(content);
        let begun = Instant::now();
        while !has(&pipeline.collect(), own) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{own} does not return");
        }
        let lines = log::lines(name);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[1].starts_with("INFO") && lines[1].contains("answers again"), "{lines:?}");
    }
}

#[test]
fn under_delta_a_counter_whose_file_hangs_sends_no_difference_twice() {
    let host = server();
    let before = String::from_utf8(host.read("proc/vmstat")).unwrap();
    let after = |n: u64| before.replace("pgmajfault 123456", &format!("pgmajfault {}", 123_456 + n));
    let Some(hanging) = HangingFile::over(&host.root().join("proc/vmstat")) else { return };
    hanging.answer(after(0));
    let mut context = host.context(Options { delta: true, ..Options::default() });
    context.host.deadline = Duration::from_millis(400);
    let mut pipeline = Pipeline::new(&context);
    pipeline.collect();
    hanging.answer(after(600));
    let faults = |collected: &Collected| collected.value("system.paging.faults", &["major"]);
    assert_eq!(faults(&pipeline.collect()), 600.0);
    hanging.hang();
    let mut sum = 0.0;
    for _ in 0..3 {
        sum += faults(&pipeline.collect());
    }
    assert_eq!(sum, 0.0, "nothing while it hangs");
    hanging.answer(after(700));
    let begun = Instant::now();
    while sum < 100.0 {
        sum += faults(&pipeline.collect());
        assert!(begun.elapsed() < Duration::from_secs(20), "{sum}");
    }
    assert_eq!(sum, 100.0);
}

#[test]
fn two_files_that_hang_at_once_cost_two_collectors() {
    let host = server();
    let Some(_stat) = HangingFile::over(&host.root().join("proc/stat")) else { return };
    let Some(_meminfo) = HangingFile::over(&host.root().join("proc/meminfo")) else { return };
    let mut context = host.context(Options::default());
    context.host.deadline = Duration::from_millis(800);
    let mut pipeline = Pipeline::new(&context);
    for _ in 0..2 {
        let collected = pipeline.collect();
        for metric in ["system.uptime", "system.disk.io", "system.network.io", "system.paging.faults"] {
            assert!(has(&collected, metric), "{metric}");
        }
        for metric in ["system.cpu.time", "system.memory.limit"] {
            assert!(!has(&collected, metric), "{metric}");
        }
    }
}
