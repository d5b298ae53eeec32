//! Tests of the program on a host with one file that hangs.

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

pub fn text(pipe: Option<impl Read>) -> String {
    let mut text = String::new();
    pipe.unwrap().read_to_string(&mut text).unwrap();
    text
}

/// Waits for the process, and kills it where that takes too long.
pub fn wait(child: &mut Child, most: Duration) -> Option<i32> {
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

/// Whether the process has ended its work. A thread that hangs keeps the process, but not its first thread.
pub fn has_ended(process: &Child) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id()));
    stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
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
    while !has_ended(&agent) {
        assert!(stopped.elapsed() < Duration::from_secs(5), "it still works");
        std::thread::sleep(Duration::from_millis(5));
    }
    hanging.answer("");
    assert_eq!(wait(&mut agent, Duration::from_secs(10)), Some(0));
    let log = text(agent.stderr.take());
    assert_eq!(log.lines().filter(|line| line.contains("does not answer")).count(), 1, "{log}");
    assert!(!log.contains("a collection took too long"), "{log}");
}

/// On this machine's own `/proc`: a recorded host has no file systems to ask.
#[test]
fn with_a_file_system_that_hangs_the_others_are_reported_in_every_tick_and_a_stop_ends_all_work() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().to_str().unwrap();
    let Some(hanging) = HangingFile::file_system(dir.path()) else { return };
    if !std::fs::read_to_string("/proc/1/mountinfo").is_ok_and(|mounts| mounts.contains(place)) {
        return; // the first process has other mounts
    }
    let include = format!("^({place}|/)$");
    let collectors = "filesystem,load,memory";
    let arguments = ["--collectors", collectors, "--filesystem-include", &include, "--exporter", "console"];
    let mut agent = program(Path::new("/"), &arguments);
    let mut agent = agent.args(["--console-format", "json", "--interval", "500ms"]).spawn().unwrap();
    let mut out = BufReader::new(agent.stdout.take().unwrap()).lines();
    let first = out.next().unwrap().unwrap();
    let begun = Instant::now();
    for line in (0..6).map(|_| out.next().unwrap().unwrap()).chain([first]) {
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(object["load"].is_object() && object["memory"].is_object(), "{line}");
        let series = object["filesystem"]["system.filesystem.usage"]["series"].as_array().unwrap();
        let at = |series: &serde_json::Value| series["attributes"]["system.filesystem.mountpoint"] == *"/";
        assert!(series.len() == 3 && series.iter().all(at), "{line}");
    }
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    kill_process(Pid::from_child(&agent), Signal::TERM).unwrap();
    let stopped = Instant::now();
    while !has_ended(&agent) {
        assert!(stopped.elapsed() < Duration::from_secs(5), "it still works");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(hanging.reads(), 1, "it is asked once");
    drop(hanging);
    assert_eq!(wait(&mut agent, Duration::from_secs(10)), Some(0));
    let log = text(agent.stderr.take());
    assert_eq!(log.lines().filter(|line| line.contains(place) && line.contains("WARN")).count(), 1, "{log}");
}

/// Runs `check` to its end.
fn check(command: &mut Command) -> (Option<i32>, String) {
    let mut check = command.spawn().unwrap();
    let code = wait(&mut check, Duration::from_secs(10));
    (code, text(check.stdout.take()))
}

/// The line of `check` about a collector, without the notes below it.
fn line<'a>(out: &'a str, collector: &str) -> &'a str {
    let start = format!("{collector} ");
    out.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{collector} is not in\n{out}"))
}

#[test]
fn a_proc_that_is_not_mounted_and_a_wrong_root_path_are_failures() {
    let unmounted = FixtureHost::copy("server");
    std::fs::remove_dir_all(unmounted.root().join("proc")).unwrap();
    std::fs::create_dir(unmounted.root().join("proc")).unwrap();
    for (root, proc) in [
        (unmounted.root().to_owned(), unmounted.root().join("proc")),
        ("/no/such/root".into(), "/no/such/root/proc".into()),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heka-insights-agent"));
        command.env_clear().current_dir("/tmp").arg("--root-path").arg(&root).args(["--exporter", "none", "check"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let (code, out) = check(&mut command);
        assert_eq!(code, Some(1));
        for collector in ["cpu", "memory", "disk", "network", "load", "system"] {
            let line = line(&out, collector);
            let why = format!("{} is empty or missing: is it mounted, is --root-path right?", proc.display());
            assert!(line.contains("failed") && line.contains(&why), "{line}");
        }
    }
}

#[test]
fn empty_files_and_files_of_nul_bytes_are_failures() {
    for (content, why) in [(Vec::new(), "it is empty"), (vec![0; 4096], "it holds nothing but NUL bytes")] {
        let host = FixtureHost::copy("server");
        for file in ["stat", "meminfo", "loadavg", "uptime", "vmstat", "1/net/dev", "1/mountinfo"] {
            host.write(&format!("proc/{file}"), &content);
        }
        let (code, out) = check(&mut program(host.root(), &["--exporter", "none", "check"]));
        assert_eq!(code, Some(1));
        for collector in ["cpu", "memory", "load", "system", "paging", "network", "filesystem"] {
            let line = line(&out, collector);
            assert!(line.contains("failed") && line.contains(why), "{line}");
        }
    }
}

#[test]
fn a_file_without_one_line_of_its_form_is_a_failure() {
    let host = FixtureHost::copy("server");
    for file in ["stat", "meminfo", "loadavg", "uptime", "vmstat", "diskstats", "1/net/dev", "1/mountinfo"] {
        host.write(&format!("proc/{file}"), "<html>Not Found</html>\n");
    }
    let (code, out) = check(&mut program(host.root(), &["--exporter", "none", "check"]));
    assert_eq!(code, Some(1));
    for collector in ["cpu", "memory", "load", "system", "paging", "disk", "network", "filesystem"] {
        let line = line(&out, collector);
        assert!(line.contains("failed") && line.contains("no line of the expected form"), "{line}");
    }
}

#[test]
fn a_file_and_a_directory_without_read_permission_are_failures() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    if !rustix::process::geteuid().is_root() {
        return; // only root can become a user who may not
    }
    const NOBODY: u32 = 65_534;
    let host = FixtureHost::empty();
    let copied =
        std::process::Command::new("cp").arg("-a").arg(crate::fixture::place("server")).arg(host.root()).status();
    assert!(copied.unwrap().success());
    let root = host.root().join("server");
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(host.root(), 0o755);
    mode(&root.join("proc/meminfo"), 0o600);
    for dir in ["sys/block", "sys/class/hwmon", "sys/class/net"] {
        mode(&root.join(dir), 0o700);
    }
    mode(&root.join("sys/devices/system/edac/mc/mc0/ce_count"), 0o600);
    let binary = host.root().join("agent");
    // Not with a descriptor of this process, which a child of another test would have open for writing at its start.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_heka-insights-agent")).arg(&binary).status();
    assert!(copied.unwrap().success());
    let mut command = Command::new(&binary);
    command.env_clear().current_dir(&root).arg("--root-path").arg(&root).args(["--exporter", "none", "check"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).uid(NOBODY).gid(NOBODY);
    let (code, out) = check(&mut command);
    assert_eq!(code, Some(1), "{out}");
    for (collector, path) in [
        ("memory", "proc/meminfo"),
        ("disk", "sys/block"),
        ("raid", "sys/block"),
        ("sensors", "sys/class/hwmon"),
        ("link", "sys/class/net"),
        ("ecc", "sys/devices/system/edac/mc/mc0/ce_count"),
    ] {
        let line = line(&out, collector);
        let path = root.join(path);
        assert!(line.contains("failed") && line.contains(path.to_str().unwrap()) && line.contains("denied"), "{line}");
    }
    assert_eq!(out.matches(" failed ").count(), 6, "{out}");
    assert!(!out.contains("ABSENT") || !line(&out, "ABSENT").contains("/sys/"), "{out}");
}

#[test]
fn a_device_with_traffic_that_is_left_out_is_seen_in_check() {
    let host = FixtureHost::copy("server");
    let (_, out) = check(&mut program(host.root(), &["--exporter", "none", "check"]));
    let line = line(&out, "disk");
    assert!(line.contains("left out") && line.contains("loop0") && !line.contains("sda"), "{line}");
    assert!(line.contains(" ok "), "a remark is no problem: {line}");
}

#[test]
fn on_a_host_without_an_id_one_line_reports_that_the_instance_id_changes() {
    let host = FixtureHost::whole("server");
    let once = |host: &FixtureHost| {
        let arguments = ["--once", "--exporter", "console", "--collectors", "load"];
        let mut agent = program(host.root(), &arguments).spawn().unwrap();
        assert_eq!(wait(&mut agent, Duration::from_secs(10)), Some(0));
        text(agent.stderr.take()).matches("service.instance.id changes at each start").count()
    };
    assert_eq!(once(&host), 0);
    for file in ["etc/machine-id", "var/lib/dbus/machine-id", "sys/class/dmi/id/product_uuid"] {
        if host.root().join(file).symlink_metadata().is_ok() {
            host.remove(file);
        }
    }
    assert_eq!(once(&host), 1);
}
