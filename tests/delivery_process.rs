//! Tests of the end of a run: its causes, exit statuses and log lines. docs/delivery.md has the table.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // A test may panic.

#[allow(dead_code)] // The tests of collectors use more of it.
#[path = "host/fuse.rs"]
mod fuse;
mod support;

use std::fs::{self, File};
use std::io::{PipeReader, PipeWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};
use support::eventually;
use support::grpc::GrpcServer;
use support::pages::{PageServer, Reply};
use tempfile::TempDir;

/// Longer than any stop may take.
const STOP_MOST: Duration = Duration::from_secs(5);

/// A run whose log goes to a file.
struct Program {
    child: Child,
    dir: TempDir,
}

fn command(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/server");
    command.env_clear().args(arguments).arg("--root-path").arg(root).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// The program with one collector, on a fixture host.
fn agent(arguments: &[&str]) -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_heka-insights-agent"), arguments);
    command.args(["--collectors", "memory", "--no-phase"]);
    command
}

impl Program {
    fn start(mut command: Command) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        let child = command.current_dir(dir.path()).stderr(log).spawn().unwrap();
        Self { child, dir }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    fn says(&self, words: &str) {
        eventually(words, || self.log().contains(words));
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it handles signals: before that they end it as they end any process.
    fn handles(&self, signal: Signal) {
        eventually("a handler", || {
            let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t")).unwrap();
            u64::from_str_radix(caught, 16).unwrap() >> (signal.as_raw() - 1) & 1 == 1
        });
    }

    /// Its status, and how long that took.
    fn end(&mut self) -> (Option<i32>, Duration) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), begun.elapsed());
            }
            assert!(begun.elapsed() < 4 * STOP_MOST, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn terminate(&mut self) -> (Option<i32>, Duration) {
        self.signal(Signal::TERM);
        self.end()
    }

    /// The log's lines of this level.
    fn lines(&self, level: &str) -> Vec<String> {
        self.log().lines().filter(|line| line.contains(&format!(" {level} "))).map(str::to_owned).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn healthy() -> PageServer {
    PageServer::start(true, |_, _| Reply::grpc("0"))
}

fn silent() -> PageServer {
    PageServer::start(true, |_, _| Reply::hang())
}

/// A pipe that takes nothing more, for as long as the reader lives.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    for size in [4096, 1] {
        while writer.write_all(&vec![b'x'; size]).is_ok() {}
    }
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

#[test]
fn a_hangup_ends_nothing_and_a_stop_is_a_clean_end_whatever_the_exporter() {
    let server = healthy();
    for arguments in [
        &["--exporter", "otlp", "--endpoint", &server.endpoint()] as &[_],
        &["--exporter", "console"],
        &["--exporter", "prometheus", "--listen", "127.0.0.1:0"],
        &["--exporter", "none"],
    ] {
        for stop in [Signal::TERM, Signal::INT] {
            let mut program = Program::start(agent(arguments));
            program.handles(Signal::HUP);
            program.signal(Signal::HUP);
            program.says("SIGHUP: ");
            program.handles(stop);
            program.signal(stop);
            let (status, took) = program.end();
            assert_eq!(status, Some(0), "{arguments:?}: {}", program.log());
            assert!(took < STOP_MOST, "{arguments:?}: {took:?}");
            assert!(program.lines("ERROR").is_empty() && program.lines("WARN").is_empty(), "{}", program.log());
        }
    }
}

#[test]
fn check_counts_the_series_that_a_collection_sends() {
    let files = tempfile::tempdir().unwrap();
    let name = |number: usize| format!("backups{{job=\"{number}\"}} {number}\n");
    fs::write(files.path().join("a.prom"), (0..9).map(name).collect::<String>()).unwrap();
    let files = files.path().to_str().unwrap();
    // The first collection does not have the duration of the previous one.
    for (arguments, not_yet) in [
        (&[] as &[&str], 1),
        (&["--self-metrics", "off", "--detail", "detailed"], 0),
        (&["--self-metrics", "detailed", "--textfile-dir", files], 1),
        (&["--max-series", "3", "--textfile-dir", files], 1),
        (&["--naming", "node_exporter"], 0),
    ] {
        let server = GrpcServer::start();
        let endpoint = server.endpoint();
        let all: Vec<&str> =
            ["check", "--send", "--json", "--endpoint", &endpoint].iter().chain(arguments).copied().collect();
        let output = command(env!("CARGO_BIN_EXE_heka-insights-agent"), &all).stdout(Stdio::piped()).output().unwrap();
        let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(object["endpoint"]["state"], "ok", "{arguments:?}: {object}");
        let seen = server.scene.seen();
        let points: usize = seen.iter().map(|seen| support::points(&seen.request)).sum();
        assert_eq!(object["series"].as_u64().unwrap(), (points + not_yet) as u64, "{arguments:?}: {object}");
    }
}

#[test]
fn once_is_one_collection_and_its_status_whatever_the_exporter() {
    let (server, refusing) = (healthy(), PageServer::start(true, |_, _| Reply::grpc("3")));
    let (good, bad, nowhere) = (server.endpoint(), refusing.endpoint(), "http://127.0.0.1:1");
    for (arguments, disabled, expected, line) in [
        (&["--endpoint", &good] as &[_], false, 0, ""),
        (&["--endpoint", &bad], false, 1, "the collection was not delivered"),
        (&["--endpoint", nowhere], false, 1, "the collection was not delivered"),
        (&["--endpoint", nowhere, "--outbox-dir", "outbox"], false, 0, "the outbox on disk keeps 1 batch"),
        (&["--endpoint", nowhere], true, 0, "exporter none"),
        (&["--exporter", "none"], false, 0, "exporter none"),
        (&["--exporter", "console"], false, 0, ""),
        (&["--exporter", "prometheus"], false, 2, "--once: not with --exporter prometheus"),
    ] {
        let mut command = agent(arguments);
        if disabled {
            command.env("OTEL_SDK_DISABLED", "true");
        }
        let mut program = Program::start({
            command.arg("--once");
            command
        });
        let (status, _) = program.end();
        assert_eq!(status, Some(expected), "{arguments:?}: {}", program.log());
        assert!(program.log().contains(line), "{arguments:?}: {}", program.log());
    }
    assert_eq!(server.scene.seen().len(), 1);
}

#[test]
fn a_healthy_backend_gets_the_last_collection_and_the_log_two_lines() {
    let server = healthy();
    let mut program = Program::start(agent(&["--endpoint", &server.endpoint()]));
    program.says("accepted the first batch");
    let (status, took) = program.terminate();
    assert_eq!(status, Some(0), "{}", program.log());
    assert!(took < STOP_MOST, "{took:?}");
    assert_eq!(program.log().lines().count(), 2, "it sends, and the first batch was accepted: {}", program.log());
    assert!(server.scene.seen().len() >= 2);
}

#[test]
fn with_the_backend_down_the_last_line_has_what_the_disk_keeps_or_the_memory_loses() {
    for (outbox, level, words) in [
        (&[] as &[_], "ERROR", "and are lost: the outbox is in memory (--outbox-dir keeps them)"),
        (&["--outbox-dir", "outbox"], "INFO", "for the next start"),
    ] {
        let mut program = Program::start(agent(&[&["--endpoint", "http://127.0.0.1:1"], outbox].concat()));
        program.says("cannot deliver");
        let (status, took) = program.terminate();
        assert_eq!(status, Some(0), "{}", program.log());
        assert!(took < STOP_MOST, "{took:?}");
        let last = program.log().lines().last().unwrap().to_owned();
        assert!(last.contains(level) && last.contains(words), "{last}");
    }
}

#[test]
fn a_second_signal_within_milliseconds_is_the_first_once_more() {
    let server = silent();
    let mut program = Program::start(agent(&["--endpoint", &server.endpoint()]));
    server.scene.wait("a request", |seen| !seen.is_empty());
    program.signal(Signal::TERM);
    program.signal(Signal::INT);
    let (status, took) = program.terminate();
    assert_eq!(status, Some(0), "{}", program.log());
    assert!(took < STOP_MOST, "{took:?}");
    let errors = program.lines("ERROR");
    assert!(errors.len() == 1 && errors[0].contains("could not be delivered"), "{errors:?}");
}

#[test]
fn a_collection_that_does_not_end_is_left_after_4_8_s_or_at_a_second_signal() {
    for impatient in [false, true] {
        let (reader, writer) = full_pipe();
        let mut command = agent(&["--exporter", "console", "--interval", "100ms"]);
        command.stdout(writer);
        let mut program = Program::start(command);
        program.handles(Signal::TERM);
        // The first collection, which nobody reads, has begun when the exporter's thread waits for the pipe.
        eventually("a write", || waits_for_a_pipe(program.child.id()));
        program.signal(Signal::TERM);
        if impatient {
            std::thread::sleep(Duration::from_millis(2_100));
            program.signal(Signal::TERM);
        }
        let (status, took) = program.end();
        assert_eq!(status, Some(1), "{}", program.log());
        let words = if impatient { "second signal: exiting at once" } else { "the last collection does not end" };
        assert!(took < STOP_MOST && (took < Duration::from_secs(2)) == impatient, "{took:?}");
        assert!(program.lines("ERROR")[0].contains(words), "{}", program.log());
        drop(reader);
    }
}

/// Whether a thread of the process is in a write to a pipe.
fn waits_for_a_pipe(process: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    threads.into_iter().any(|thread| {
        let channel = fs::read_to_string(thread.path().join("wchan")).unwrap_or_default();
        channel.contains("pipe_write")
    })
}

#[test]
fn a_log_without_a_reader_stops_neither_delivery_nor_the_exit() {
    let server = healthy();
    let (reader, writer) = full_pipe();
    let mut command = agent(&["--endpoint", &server.endpoint(), "--interval", "100ms", "--log-level", "trace"]);
    let mut child = command.stderr(writer).spawn().unwrap();
    server.scene.wait("five collections", |seen| seen.len() >= 5);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(reader);
}

#[test]
fn a_console_that_cannot_be_written_is_status_1_and_one_line_and_a_reader_that_left_is_none() {
    for once in [&["--once"] as &[_], &[]] {
        let mut command = agent(&[&["--exporter", "console", "--interval", "100ms"], once].concat());
        command.stdout(File::options().write(true).open("/dev/full").unwrap());
        let mut program = Program::start(command);
        assert_eq!(program.end().0, Some(1), "{}", program.log());
        let log = program.log();
        assert!(log.lines().count() == 1 && log.contains("standard output cannot be written: No space left"), "{log}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = agent(&[&["--exporter", "console", "--interval", "100ms"], once].concat());
        command.stdout(writer);
        let mut program = Program::start(command);
        assert_eq!(program.end().0, Some(0), "{}", program.log());
        assert_eq!(program.log(), "");
    }
}

/// A copy of the program that any user may run.
fn copy_for_all(dir: &Path) -> PathBuf {
    let copy = dir.join("agent");
    fs::copy(env!("CARGO_BIN_EXE_heka-insights-agent"), &copy).unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
    copy
}

/// What docs/delivery.md says about a thread that cannot be started.
const THREAD_LINES: [&str; 4] = [
    "the runtime's thread cannot be started: ",
    "no thread for the disk (",
    "collections cannot be made: ",
    "cannot start a thread for the last flush (",
];

#[test]
fn with_too_few_threads_it_delivers_or_ends_with_status_1_and_a_line() {
    // The limit counts the user's threads, and root has none.
    let root = rustix::process::geteuid().is_root();
    let dir = tempfile::tempdir().unwrap();
    let program = copy_for_all(dir.path()).display().to_string();
    let (mut delivered, mut refused) = (0, 0);
    for threads in if root { 1..=12 } else { 1..=1 } {
        let server = healthy();
        let fixture = dir.path().join("host");
        let limit = format!("--nproc={threads}");
        let user: &[&str] = if root { &["setpriv", "--reuid=61234", "--regid=61234", "--clear-groups"] } else { &[] };
        let words = [user, &["prlimit", &limit, &program]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null()).stdout(Stdio::null());
        command.args(["--once", "--collectors", "memory", "--endpoint", &server.endpoint(), "--outbox-dir"]);
        command.arg(dir.path().join(format!("outbox{threads}"))).arg("--root-path").arg(&fixture);
        fs::create_dir_all(fixture.join("proc")).unwrap();
        let meminfo = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/server/proc/meminfo");
        fs::copy(meminfo, fixture.join("proc/meminfo")).unwrap();
        let mut run = Program::start(command);
        let (status, _) = run.end();
        let log = run.log();
        match status {
            Some(0) => {
                delivered += 1;
                assert_eq!(server.scene.seen().len(), 1, "{threads}: {log}");
            }
            Some(1) => {
                refused += 1;
                assert!(THREAD_LINES.iter().any(|line| log.contains(line)), "{threads}: {log}");
            }
            other => panic!("{threads}: {other:?} {log}"),
        }
    }
    assert!(refused > 0 && (delivered > 0 || !root), "{delivered} {refused}");
}

#[test]
fn a_reconnect_without_a_thread_for_the_name_lookup_is_tried_again() {
    let root = rustix::process::geteuid().is_root();
    let (server, dir) = (GrpcServer::start(), tempfile::tempdir().unwrap());
    let program = copy_for_all(dir.path()).display().to_string();
    let endpoint = format!("http://localhost:{}", server.addr.port());
    let user: &[&str] = if root { &["setpriv", "--reuid=61235", "--regid=61235", "--clear-groups"] } else { &[] };
    let fixture = dir.path().join("host");
    fs::create_dir_all(fixture.join("proc")).unwrap();
    let meminfo = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/server/proc/meminfo");
    fs::copy(meminfo, fixture.join("proc/meminfo")).unwrap();
    let words = [user, &[&program, "--collectors", "memory", "--no-phase", "--interval", "1s"]].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null()).stdout(Stdio::null());
    command.args(["--endpoint", &endpoint, "--root-path"]).arg(&fixture);
    let mut run = Program::start(command);
    // No request is in flight until the next tick.
    run.says("accepted the first batch");
    let allow = |threads: &str| {
        let (process, limit) = (run.child.id().to_string(), format!("--nproc={threads}:"));
        let words = [user, &["prlimit", "--pid", &process, &limit]].concat();
        assert!(Command::new(words[0]).args(&words[1..]).status().unwrap().success());
    };
    let limits = fs::read_to_string(format!("/proc/{}/limits", run.child.id())).unwrap();
    let usual = limits.lines().find_map(|line| line.strip_prefix("Max processes")?.split_whitespace().next()).unwrap();
    allow("1");
    let (port, scene) = server.down();
    run.says("no thread to resolve the host name");
    let _server = GrpcServer::restart(port, scene.clone(), None);
    let before = scene.seen().len();
    allow(usual);
    scene.wait("a collection", |seen| seen.len() > before);
    run.says("delivering to");
    assert_eq!(run.terminate().0, Some(0), "{}", run.log());
    assert!(run.lines("ERROR").is_empty() && run.log().contains("none lost"), "{}", run.log());
}

#[test]
fn a_disk_that_hangs_delays_no_exit_and_each_exit_logs_the_loss() {
    for impatient in [false, true] {
        let server = silent();
        let outbox = tempfile::tempdir().unwrap();
        // A batch of an earlier run, whose header cannot be read.
        let record = outbox.path().join("00000000000000000001.batch");
        File::create(&record).unwrap();
        let Some(disk) = fuse::HangingFile::over(&record) else { return };
        let outbox = outbox.path().to_str().unwrap();
        let mut program = Program::start(agent(&["--endpoint", &server.endpoint(), "--outbox-dir", outbox]));
        program.handles(Signal::TERM);
        eventually("a read", || disk.reads() > 0);
        program.says("sending");
        program.signal(Signal::TERM);
        if impatient {
            std::thread::sleep(Duration::from_millis(2_100));
            program.signal(Signal::TERM);
        }
        // A read that the file system has taken holds the process until it is answered, dead or not.
        eventually("the last line", || !program.lines("ERROR").is_empty());
        let line = program.lines("ERROR").remove(0);
        disk.answer("");
        let (status, _) = program.end();
        let (expected, words) = match impatient {
            true => (1, "second signal: exiting at once; "),
            false => (0, "could not be delivered to"),
        };
        assert!(line.contains(words) && line.contains("data points)") && line.contains("lost"), "{line}");
        assert_eq!(status, Some(expected), "{}", program.log());
    }
}

#[test]
fn a_headers_file_that_hangs_stops_neither_delivery_nor_the_end() {
    let (server, dir) = (healthy(), tempfile::tempdir().unwrap());
    let file = dir.path().join("headers");
    fs::write(&file, "x-team: edge\n").unwrap();
    let headers = file.to_str().unwrap();
    let endpoint = server.endpoint();
    let arguments = ["--endpoint", &endpoint, "--interval", "100ms", "--headers-file", headers];
    let mut program = Program::start(agent(&arguments));
    let five_more = || {
        let before = server.scene.seen().len();
        server.scene.wait("five more collections", |seen| seen.len() >= before + 5);
    };
    five_more();
    let Some(hanging) = fuse::HangingFile::over(&file) else { return };
    eventually("a read", || hanging.reads() == 1);
    five_more();
    program.signal(Signal::HUP);
    eventually("a second read", || hanging.reads() == 2);
    five_more();
    let begun = Instant::now();
    program.signal(Signal::TERM);
    // The two reads hold the process until they are answered; its main thread has ended then.
    let stat = format!("/proc/{}/stat", program.child.id());
    eventually("the end", || fs::read_to_string(&stat).unwrap().contains(") Z "));
    assert!(begun.elapsed() < STOP_MOST, "{:?}", begun.elapsed());
    hanging.answer("x-team: edge\n");
    assert_eq!(program.end().0, Some(0), "{}", program.log());
    assert!(program.lines("ERROR").is_empty(), "{}", program.log());
}

#[test]
fn check_recognizes_a_server_that_rejects_an_empty_export_and_send_tries_a_collection() {
    let check = |server: &PageServer, more: &[&str]| {
        let endpoint = server.endpoint();
        let mut command = agent(&[&["check", "--json", "--endpoint", &endpoint], more].concat());
        let output = command.stderr(Stdio::null()).stdout(Stdio::piped()).output().unwrap();
        let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let part = |key: &str| object["endpoint"][key].as_str().unwrap().to_owned();
        (output.status.code(), part("state"), part("message"))
    };
    for grpc in [false, true] {
        // Some servers find nothing in an empty export and say so.
        let choosy = PageServer::start(grpc, move |_, size| match (size, grpc) {
            (0, false) => Reply::page(400).body("no metrics"),
            (0, true) => Reply::grpc("13"),
            _ => Reply::success(grpc),
        });
        let (status, state, message) = check(&choosy, &[]);
        assert_eq!((status, state.as_str()), (Some(0), "ok"), "{message}");
        assert!(message.contains("reachable, does not take an empty export (the server answered"), "{message}");
        let (status, state, message) = check(&choosy, &["--send"]);
        assert_eq!((status, state.as_str()), (Some(0), "ok"), "{message}");
        assert!(message.contains("a collection was accepted in"), "{message}");
        assert_eq!(choosy.scene.seen().iter().filter(|seen| seen.taken).count(), 1);

        let refusing = PageServer::start(grpc, move |_, _| if grpc { Reply::grpc("7") } else { Reply::page(403) });
        let (status, state, message) = check(&refusing, &[]);
        assert_eq!((status, state.as_str()), (Some(1), "failed"), "{message}");
        assert!(message.contains("the server answered") && message.contains("an empty export was sent"), "{message}");
        let (status, state, message) = check(&refusing, &["--send"]);
        assert_eq!((status, state.as_str()), (Some(1), "failed"), "{message}");
        assert!(message.contains("the collection was not delivered: the server answered"), "{message}");

        let portal = PageServer::start(grpc, |_, _| {
            Reply::page(200).header("content-type", "text/html").body("<html><title>Log in</title></html>")
        });
        for send in [&[] as &[_], &["--send"]] {
            let (status, state, message) = check(&portal, send);
            assert_eq!((status, state.as_str()), (Some(1), "failed"), "{message}");
            assert!(message.contains("HTML page"), "{message}");
        }
    }
}

#[test]
fn no_part_of_an_endpoint_but_scheme_host_and_port_is_ever_printed() {
    let endpoints = ["http://localhost:1/s3cr3t", "http://localhost:1/?token=s3cr3t", "http://localhost:1#s3cr3t"];
    for (endpoint, protocol) in endpoints.into_iter().flat_map(|url| [(url, "http/protobuf"), (url, "grpc")]) {
        let arguments = ["--endpoint", endpoint, "--protocol", protocol, "--log-level", "trace"];
        let mut program = Program::start(agent(&[&arguments as &[_], &["--once"]].concat()));
        program.end();
        let check = agent(&[&["check"], &arguments as &[_]].concat()).stdout(Stdio::piped()).output().unwrap();
        let printed = [program.log().into_bytes(), check.stdout, check.stderr].concat();
        let printed = String::from_utf8(printed).unwrap();
        assert!(printed.contains("http://localhost:1") && !printed.contains("s3cr3t"), "{printed}");
    }
}

#[test]
fn an_agent_that_starts_beside_a_looping_check_has_its_directory() {
    let outbox = tempfile::tempdir().unwrap();
    let outbox = outbox.path().join("outbox").display().to_string();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let dir = outbox.clone();
    let checks = std::thread::spawn(move || {
        let mut runs = 0;
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            let arguments = ["check", "--endpoint", "http://127.0.0.1:1", "--outbox-dir", &dir];
            agent(&arguments).stderr(Stdio::null()).status().unwrap();
            runs += 1;
        }
        runs
    });
    for n in 1..=10 {
        let mut program =
            Program::start(agent(&["--once", "--endpoint", "http://127.0.0.1:1", "--outbox-dir", &outbox]));
        assert_eq!(program.end().0, Some(0), "{}", program.log());
        let kept = format!("the outbox on disk keeps {n} batch");
        assert!(program.log().contains(&kept) && !program.log().contains("in use"), "{}", program.log());
    }
    stop.send(()).unwrap();
    assert!(checks.join().unwrap() > 0);
}

#[test]
fn a_second_agent_on_a_directory_logs_it_and_takes_over_when_the_first_ends() {
    let outbox = tempfile::tempdir().unwrap();
    let dir = outbox.path().to_str().unwrap();
    let mut first = Program::start(agent(&["--endpoint", "http://127.0.0.1:1", "--outbox-dir", dir]));
    let records = || {
        let files = fs::read_dir(dir).unwrap().flatten();
        files.filter(|file| file.path().extension().is_some_and(|end| end == "batch")).count()
    };
    eventually("a batch on disk", || records() == 1);
    let server = healthy();
    let mut check = agent(&["check", "--json", "--endpoint", &server.endpoint(), "--outbox-dir", dir]);
    let output = check.stderr(Stdio::null()).stdout(Stdio::piped()).output().unwrap();
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let message = object["outbox"]["message"].as_str().unwrap();
    assert!(message.contains("is in use by a running agent") && message.contains("; 1 batch waits"), "{message}");
    assert_eq!((object["outbox"]["state"].as_str(), output.status.code()), (Some("ok"), Some(0)));

    let mut second = Program::start(agent(&["--endpoint", &server.endpoint(), "--outbox-dir", dir]));
    second.says(&format!("{dir} is in use by another agent"));
    assert_eq!(first.terminate().0, Some(0), "{}", first.log());
    assert!(first.log().contains("the outbox on disk keeps 2 batches"), "{}", first.log());
    second.says("2 batches of an earlier run to be sent");
    second.says(&format!("{dir} can be used again"));
    eventually("an empty directory", || records() == 0);
    assert_eq!(second.terminate().0, Some(0), "{}", second.log());
    assert!(second.lines("ERROR").is_empty(), "{}", second.log());
}

#[test]
fn an_error_names_the_proxy_on_the_way() {
    for (endpoint, variable) in [
        ("http://collector.test:4317", "HTTP_PROXY"),
        ("https://collector.test:4317", "HTTPS_PROXY"),
        ("https://collector.test:4318/v1/metrics", "HTTPS_PROXY"),
    ] {
        let mut command = agent(&["--once", "--endpoint", endpoint]);
        command.env(variable, "http://user:s3cr3t@127.0.0.1:1");
        let mut program = Program::start(command);
        assert_eq!(program.end().0, Some(1));
        let log = program.log();
        assert!(log.contains("through the proxy") && log.contains("127.0.0.1:1"), "{endpoint}: {log}");
        assert!(!log.contains("s3cr3t"), "{log}");
    }
}

#[test]
fn a_proxy_in_an_environment_file_is_used_as_one_in_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.env");
    fs::write(&file, "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector.test:4317\nHTTP_PROXY=http://127.0.0.1:1\n")
        .unwrap();
    let output = agent(&["check", "--env-file", file.to_str().unwrap()]).stdout(Stdio::piped()).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("through the proxy 127.0.0.1:1"), "{printed}");
}

#[test]
fn a_proxy_variable_that_cannot_be_used_ends_the_program_unless_the_target_is_excepted() {
    use std::os::unix::ffi::OsStrExt;
    for value in [&b"http://proxy\xff:3128"[..], b"socks5://user:s3cr3t@proxy.test"] {
        let start = |exceptions: &str| {
            let mut command = agent(&["--once", "--endpoint", "https://collector.test:1"]);
            command.env("HTTPS_PROXY", std::ffi::OsStr::from_bytes(value)).env("NO_PROXY", exceptions);
            let mut program = Program::start(command);
            assert_eq!(program.end().0, Some(1));
            program.log()
        };
        let log = start("elsewhere.example");
        assert!(log.lines().count() == 1 && log.contains("HTTPS_PROXY: "), "{log}");
        assert!(!log.contains("s3cr3t"), "{log}");
        // The name exists nowhere.
        let log = start(".test");
        assert!(log.contains("cannot deliver to https://collector.test:1") && !log.contains("HTTPS_PROXY"), "{log}");
    }
}

#[test]
fn an_error_about_a_file_of_tls_names_what_the_user_set() {
    for (variable, name) in [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"),
        ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE"),
        ("", "--ca-file"),
    ] {
        let mut command = agent(&["--once", "--endpoint", "https://localhost:1"]);
        match variable {
            "" => command.args(["--ca-file", "junk.pem"]),
            variable => command.env(variable, "junk.pem"),
        };
        let mut program = Program::start(command);
        assert_eq!(program.end().0, Some(1));
        let log = program.log();
        assert!(log.lines().count() == 1 && log.contains(&format!("{name} junk.pem: ")), "{log}");
    }
}
