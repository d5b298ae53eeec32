//! The program on a host of which one file hangs.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};

use crate::fixture::FixtureHost;
use crate::fuse::HangingFile;

fn program(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heka-insights-agent"));
    command.env_clear().current_dir(root).arg("--root-path").arg(root).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(pipe: Option<impl Read>) -> String {
    let mut text = String::new();
    pipe.unwrap().read_to_string(&mut text).unwrap();
    text
}

/// Waits for the process, and kills it where that takes too long.
fn wait(child: &mut Child, most: Duration) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if begun.elapsed() > most {
            child.kill().unwrap();
            panic!("it did not end within {most:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn check_names_a_file_that_hangs_and_ends() {
    let host = FixtureHost::copy("server");
    let path = host.root().join("proc/meminfo");
    let Some(_hanging) = HangingFile::over(&path) else { return };
    let mut check = program(host.root(), &["--exporter", "none", "check"]).spawn().unwrap();
    assert_eq!(wait(&mut check, Duration::from_secs(10)), Some(1));
    let out = text(check.stdout.take());
    let line = out.lines().find(|line| line.contains(path.to_str().unwrap())).unwrap_or_else(|| panic!("{out}"));
    assert!(line.starts_with("memory") && line.contains("does not answer"), "{line}");
    assert_eq!(out.matches("failed").count(), 1, "{out}");
}

#[test]
fn check_names_a_fifo_in_a_files_place() {
    for (file, collector) in [
        ("proc/stat", "cpu"),
        ("proc/meminfo", "memory"),
        ("proc/vmstat", "paging"),
        ("proc/diskstats", "disk"),
        ("proc/1/mountinfo", "filesystem"),
        ("proc/loadavg", "load"),
        ("proc/uptime", "system"),
        ("proc/pressure/io", "pressure"),
    ] {
        let host = FixtureHost::copy("server");
        host.remove(file);
        if host.root().join("proc/self/mountinfo").exists() {
            host.remove("proc/self/mountinfo");
        }
        let path = host.root().join(file);
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let mut check = program(host.root(), &["--exporter", "none", "check"]).spawn().unwrap();
        assert_eq!(wait(&mut check, Duration::from_secs(10)), Some(1), "{file}");
        let out = text(check.stdout.take());
        let line = out.lines().find(|line| line.contains(path.to_str().unwrap())).unwrap_or_else(|| panic!("{out}"));
        assert!(line.starts_with(collector) && line.contains("it is a FIFO"), "{line}");
    }
}

#[test]
fn a_check_of_a_good_host_succeeds() {
    let host = FixtureHost::copy("server");
    let mut check = program(host.root(), &["--exporter", "none", "check"]).spawn().unwrap();
    assert_eq!(wait(&mut check, Duration::from_secs(10)), Some(0));
    let out = text(check.stdout.take());
    assert!(out.lines().any(|line| line.starts_with("cpu ") && line.contains(" ok ")), "{out}");
}

#[test]
fn with_a_file_that_hangs_the_ticks_are_kept_and_a_stop_ends_all_work() {
    const INTERVAL: Duration = Duration::from_millis(500);
    const LINES: u32 = 10;
    let host = FixtureHost::copy("server");
    let path = host.root().join("proc/meminfo");
    let Some(hanging) = HangingFile::over(&path) else { return };
    let arguments = ["--exporter", "console", "--console-format", "json", "--interval", "500ms"];
    let mut agent = program(host.root(), &arguments).spawn().unwrap();
    let mut out = BufReader::new(agent.stdout.take().unwrap()).lines();
    let first = out.next().unwrap().unwrap();
    let begun = Instant::now();
    let lines: Vec<String> = (0..LINES).map(|_| out.next().unwrap().unwrap()).collect();
    let took = begun.elapsed();
    assert!(took.abs_diff(INTERVAL * LINES) < INTERVAL, "{LINES} ticks took {took:?}");
    for line in lines.iter().chain([&first]) {
        assert!(line.contains("cpu") && line.contains("load"), "{line}");
    }
    kill_process(Pid::from_child(&agent), Signal::TERM).unwrap();
    let stopped = Instant::now();
    // The thread that hangs keeps the process, not its first thread.
    let stat = format!("/proc/{}/stat", agent.id());
    let ended = |stat: &str| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z"));
    while !std::fs::read_to_string(&stat).is_ok_and(|stat| ended(&stat)) {
        assert!(stopped.elapsed() < Duration::from_secs(5), "it still works");
        std::thread::sleep(Duration::from_millis(5));
    }
    hanging.answer("");
    assert_eq!(wait(&mut agent, Duration::from_secs(10)), Some(0));
    let log = text(agent.stderr.take());
    assert_eq!(log.lines().filter(|line| line.contains("does not answer")).count(), 1, "{log}");
    assert!(!log.contains("ticks were skipped"), "{log}");
}
