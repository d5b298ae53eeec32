//! Rule of truth 5: a file that hangs or is not a regular file affects only its own collector.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use heka_insights_agent::internals::collectors::Options;
use heka_insights_agent::internals::host::identity::Identity;
use heka_insights_agent::internals::metrics::naming::{Detail, Naming};
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

/// Every regular file below a directory, links not followed.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files.extend(self::files(&entry.path()));
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files
}

#[test]
fn every_file_of_procfs_sysfs_and_etc_may_be_a_fifo() {
    let begun = Instant::now();
    let host = FixtureHost::whole("server");
    let mut all = Vec::new();
    for dir in ["proc", "sys", "etc"] {
        all.extend(files(&host.root().join(dir)));
    }
    assert!(all.len() > 100, "{all:?}");
    for path in &all {
        std::fs::remove_file(path).unwrap();
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).unwrap();
    }
    for naming in [Naming::Semconv, Naming::NodeExporter] {
        let context = host.context(Options { naming, ..detailed() });
        assert_eq!(Identity::read(&context.host), Identity::default());
        let mut pipeline = Pipeline::new(&context);
        for _ in 0..2 {
            let collected = pipeline.collect();
            assert!(!has(&collected, "system.memory.limit") && !has(&collected, "system.cpu.time"));
        }
        assert!(!context.host.stuck().any(), "nothing hangs");
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "a FIFO was waited for");
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

/// Files that only `--detail detailed` reads, and those that are read in a collector's own way.
const OTHERS: [(&str, &str); 6] = [
    ("proc/cpuinfo", "system.cpu.frequency"),
    ("proc/1/stat", "system.process.count"),
    ("proc/pressure/io", "system.pressure.time"),
    ("proc/sys/fs/file-nr", "system.filesystem.linux.file_handle.count"),
    ("sys/class/hwmon/hwmon0/temp1_input", "hw.temperature"),
    ("sys/block/sda/size", "system.disk.io"),
];

#[test]
fn a_file_of_sysfs_or_of_a_process_that_hangs_costs_its_collector_and_is_named() {
    log::keep();
    for (file, own) in OTHERS {
        let host = FixtureHost::whole("server");
        let Ok(path) = host.root().join(file).canonicalize() else { panic!("{file} is not in the fixture") };
        let Some(_hanging) = HangingFile::over(&path) else { return };
        let mut context = host.context(detailed());
        context.host.deadline = Duration::from_millis(400);
        let mut pipeline = Pipeline::new(&context);
        for _ in 0..2 {
            let collected = pipeline.collect();
            assert!(has(&collected, "system.memory.limit") && has(&collected, "system.cpu.load_average.1m"), "{file}");
            assert!(!has(&collected, own), "{own} with {file}");
        }
        let lines = log::lines(host.mark());
        let late = lines.iter().filter(|line| line.contains("does not answer")).collect::<Vec<_>>();
        assert!(late.len() == 1 && late[0].contains(file), "{file}: {lines:?}");
    }
}

/// Directories that are listed, each with a metric of the collector that lists it.
const DIRECTORIES: [(&str, &str); 4] = [
    ("sys/class/net", "hw.network.up"),
    ("sys/class/hwmon", "hw.temperature"),
    ("sys/devices/system/edac/mc", "hw.errors"),
    ("proc", "system.process.count"),
];

#[test]
fn a_directory_that_hangs_costs_its_collector_until_it_answers() {
    log::keep();
    for (directory, own) in DIRECTORIES {
        let host = FixtureHost::whole("server");
        let path = host.root().join(directory).canonicalize().unwrap();
        let mut context = host.context(detailed());
        // A file system mounted over `/proc` would hide the other collectors' files.
        if directory == "proc" {
            context.options.collectors = Some(vec!["processes".to_owned(), "sensors".to_owned()]);
        }
        let Some(hanging) = HangingFile::file_system(&path) else { return };
        context.host.deadline = Duration::from_millis(400);
        let mut pipeline = Pipeline::new(&context);
        for _ in 0..2 {
            let collected = pipeline.collect();
            assert!(!has(&collected, own), "{own} with {directory}");
            let other = if directory == "proc" { "hw.temperature" } else { "system.memory.limit" };
            assert!(has(&collected, other), "{other} without {directory}");
        }
        let lines = log::lines(host.mark());
        let late = lines.iter().filter(|line| line.contains("does not answer")).count();
        assert_eq!(late, 1, "{directory}: {lines:?}");
        drop(hanging);
        let begun = Instant::now();
        while !has(&pipeline.collect(), own) {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{own} does not come back: {:?}",
                log::lines(host.mark())
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_file_of_etc_that_hangs_costs_that_part_of_the_identity() {
    log::keep();
    let host = FixtureHost::whole("server");
    let path = host.root().join("etc/machine-id");
    let Some(_hanging) = HangingFile::over(&path) else { return };
    let host_read = host.context(Options::default()).host;
    let begun = Instant::now();
    let identity = host_read.within("the host's identity", Identity::read).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!((identity.id, identity.name.as_deref()), (None, Some("server01")));
    assert_eq!(log::lines(path.to_str().unwrap()).len(), 1);
}

#[test]
fn no_collector_opens_a_file_past_the_bounds() {
    let mut sources = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/collectors"));
    sources.retain(|path| !path.ends_with("tests.rs") && !path.ends_with("testing.rs"));
    assert!(sources.len() > 10);
    for path in sources {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for way in ["std::fs::", "fs::read", "File::open", "read_dir("] {
            let is_ours =
                |line: &&str| line.contains(way) && !line.contains("files::") && !line.contains("rustix::fs::");
            let found: Vec<&str> = code.lines().filter(is_ours).collect();
            assert!(found.is_empty(), "{}: {found:?}; use host::files", path.display());
        }
    }
}
