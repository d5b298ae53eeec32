//! Tests of `--exporter prometheus` from the scraper's view.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may panic.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fuse::HangingFile;
use rustix::process::{Pid, Signal, kill_process};

#[path = "host/fuse.rs"]
#[allow(dead_code)] // These tests use a part.
mod fuse;

/// Far beyond what any event here takes: reaching it is a failure, never a delay of a good run.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program on the fixture host `server`.
struct Agent {
    child: Child,
    log: BufReader<ChildStderr>,
    lines: Vec<String>,
    address: String,
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/server")
}

/// A host of the test's own: the files of /proc that `cpu,load,memory` need.
fn small_host() -> tempfile::TempDir {
    let host = tempfile::tempdir().unwrap();
    std::fs::create_dir(host.path().join("proc")).unwrap();
    for file in ["proc/stat", "proc/loadavg", "proc/meminfo"] {
        std::fs::copy(fixture().join(file), host.path().join(file)).unwrap();
    }
    host
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heka-insights-agent"));
    if !arguments.contains(&"--root-path") {
        command.arg("--root-path").arg(fixture());
    }
    command
        .env_clear()
        .args(["--exporter", "prometheus"])
        .args(if arguments.contains(&"--collectors") { &[][..] } else { &["--collectors", "cpu,load,memory"] })
        .args(arguments)
        .current_dir(std::env::temp_dir())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

impl Agent {
    fn launch(arguments: &[&str]) -> Self {
        let mut child = command(arguments).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log, lines: Vec::new(), address: String::new() }
    }

    fn start(arguments: &[&str]) -> Self {
        let mut agent = Self::launch(&[&["--listen", "127.0.0.1:0"], arguments].concat());
        let line = agent.wait_for("listening");
        let address = line.split("127.0.0.1:").nth(1).unwrap();
        let port: String = address.chars().take_while(char::is_ascii_digit).collect();
        agent.address = format!("127.0.0.1:{port}");
        agent
    }

    /// The next log line that has this text.
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "no '{text}' in {:?}", self.lines);
            self.lines.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops the program; all its log lines.
    fn stop(self) -> Vec<String> {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Waits for the end of a program that was stopped; all its log lines.
    fn ended(mut self) -> Vec<String> {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
        self.lines.extend(rest.lines().map(str::to_owned));
        std::mem::take(&mut self.lines)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The head and the body of an answer.
fn ask(address: &str, method: &str, path: &str) -> (String, String) {
    ask_with(address, method, path, "")
}

fn ask_with(address: &str, method: &str, path: &str, headers: &str) -> (String, String) {
    let mut stream = connect(address);
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

fn scrape(agent: &Agent) -> String {
    let (head, body) = ask(&agent.address, "GET", "/metrics");
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    body
}

#[test]
fn a_scrape_has_the_names_of_the_otlp_translation_and_totals_since_boot() {
    let agent = Agent::start(&[]);
    let text = scrape(&agent);
    for line in [
        "# TYPE system_cpu_time_seconds_total counter",
        "# TYPE system_memory_usage_bytes gauge",
        "system_cpu_load_average_1m 2.17",
        "heka_collection_errors_total 0",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }
    assert!(text.contains("system_memory_utilization_ratio{"), "{text}");
    assert!(text.contains("target_info{"), "{text}");
    let idle = text.lines().find(|line| line.starts_with(r#"system_cpu_time_seconds_total{cpu_mode="idle"}"#));
    let idle: f64 = idle.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(idle > 1_000.0, "the kernel's own total: {idle}");
    assert!(!text.contains("otel_scope"), "no labels of the scope");
    agent.stop();
}

#[test]
fn many_scrapes_at_once_are_all_answered() {
    let agent = Agent::start(&["--naming", "node_exporter"]);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let text = scrape(&agent);
                assert!(text.lines().any(|line| line == "node_load1 2.17"), "{text}");
                assert!(text.contains(r#"node_scrape_collector_success{collector="load"} 1"#), "{text}");
            });
        }
    });
    agent.stop();
}

/// The time of the collection that made a page, in the digits that it has.
fn time_of(page: &str) -> String {
    page.lines().find_map(|line| line.strip_prefix("node_time_seconds ")).unwrap().to_owned()
}

#[test]
fn each_scrape_is_a_collection_and_scrapes_that_wait_share_one() {
    // So many that a collection takes longer than it takes to accept the requests.
    let collectors = "identity,cpu,memory,disk,network,processes,kernel,protocols,sockets,link,sensors,pressure";
    let agent = Agent::start(&["--naming", "node_exporter", "--collectors", collectors]);
    let one_after_the_other: HashSet<_> = (0..4).map(|_| time_of(&scrape(&agent))).collect();
    assert_eq!(one_after_the_other.len(), 4);
    // While the program stands still, requests gather; the kernel takes the connections.
    agent.signal(Signal::STOP);
    let mut waiting: Vec<_> = (0..12)
        .map(|_| {
            let mut stream = TcpStream::connect(&agent.address).unwrap();
            write!(stream, "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
            stream
        })
        .collect();
    agent.signal(Signal::CONT);
    let collections: HashSet<_> = waiting
        .iter_mut()
        .map(|stream| {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            time_of(&answer)
        })
        .collect();
    assert!(collections.len() <= 2, "{} collections for {} scrapes", collections.len(), waiting.len());
    agent.stop();
}

#[test]
fn each_collector_has_its_success_and_duration_in_every_naming() {
    for naming in ["semconv", "hostmetrics", "node_exporter"] {
        let agent = Agent::start(&["--naming", naming]);
        let text = scrape(&agent);
        let (label, prefix) = match naming {
            "node_exporter" => ("collector", "node_scrape_collector_"),
            _ => ("heka_collector_name", "heka_collector_"),
        };
        for collector in ["cpu", "load", "memory"] {
            assert!(text.contains(&format!("{prefix}success{{{label}=\"{collector}\"}} 1\n")), "{text}");
            assert!(text.contains(&format!("{prefix}duration_seconds{{{label}=\"{collector}\"}} 0.0")), "{text}");
        }
        agent.stop();
    }
}

#[test]
fn a_collector_whose_file_is_broken_shows_0_and_the_others_1() {
    let host = small_host();
    std::fs::write(host.path().join("proc/meminfo"), "broken\n").unwrap();
    for (naming, label, metric) in [
        ("semconv", "heka_collector_name", "heka_collector_success"),
        ("node_exporter", "collector", "node_scrape_collector_success"),
    ] {
        let agent = Agent::start(&["--naming", naming, "--root-path", host.path().to_str().unwrap()]);
        let page = scrape(&agent);
        for (collector, success) in [("cpu", 1), ("load", 1), ("memory", 0)] {
            let line = format!("{metric}{{{label}=\"{collector}\"}} {success}");
            assert!(page.lines().any(|have| have == line), "{line} is not in\n{page}");
        }
        agent.stop();
    }
}

#[test]
fn a_scrape_ends_before_its_timeout_while_a_file_hangs_and_the_next_one_has_the_other_collectors() {
    let host = small_host();
    let file = host.path().join("proc/meminfo");
    let content = std::fs::read(&file).unwrap();
    let Some(hanging) = HangingFile::over(&file) else { return };
    hanging.answer(content.clone());
    let agent = Agent::start(&["--root-path", host.path().to_str().unwrap()]);
    assert!(scrape(&agent).contains("system_memory_limit_bytes "));
    hanging.hang();
    let begun = Instant::now();
    // Less than the time limit of a collection.
    let (head, body) = ask_with(&agent.address, "GET", "/metrics", "X-Prometheus-Scrape-Timeout-Seconds: 0.25\r\n");
    assert!(head.starts_with("http/1.1 503 ") && body.contains("timeout"), "{head}\n{body}");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let page = scrape(&agent);
    assert!(page.contains("heka_collector_success{heka_collector_name=\"memory\"} 0\n"), "{page}");
    assert!(page.contains("system_cpu_load_average_1m 2.17\n"), "{page}");
    hanging.answer(content);
    agent.stop();
}

#[test]
fn a_scraper_gets_in_while_idle_connections_have_every_place() {
    let agent = Agent::start(&[]);
    // Half of them keep their connection between scrapes, the others never ask.
    let healthy = |stream: &mut TcpStream| {
        write!(stream, "HEAD /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert!(stream.read(&mut [0; 512]).unwrap() > 0);
    };
    let mut idle: Vec<_> = (0..64).map(|_| connect(&agent.address)).collect();
    // When the last one has an answer, all are accepted.
    idle.iter_mut().rev().take(1).for_each(healthy);
    idle.iter_mut().step_by(2).for_each(healthy);
    let mut later = [connect(&agent.address), connect(&agent.address)];
    later.iter_mut().for_each(healthy);
    scrape(&agent);
    // Those that were idle for longest had to leave; the others are still served.
    for place in [1, 3, 5] {
        assert_eq!(idle[place].read(&mut [0; 512]).unwrap(), 0, "{place}");
    }
    idle.iter_mut().step_by(2).chain(&mut later).for_each(healthy);
    // Where all of them ask now and then, the one that asked first leaves.
    idle.iter_mut().skip(7).step_by(2).for_each(healthy);
    let mut last: Vec<_> = (0..2).map(|_| connect(&agent.address)).collect();
    last.iter_mut().for_each(healthy);
    assert_eq!(idle[0].read(&mut [0; 512]).unwrap(), 0);
    agent.stop();
}

#[test]
fn a_request_that_arrives_while_the_agent_stops_is_answered_with_503() {
    let agent = Agent::start(&[]);
    let (mut idle, mut late) = (connect(&agent.address), connect(&agent.address));
    write!(idle, "HEAD /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(idle.read(&mut [0; 512]).unwrap() > 0);
    write!(late, "GET /metrics HTTP/1.1\r\nHost: a\r\n").unwrap();
    agent.signal(Signal::TERM);
    // The server closes idle connections when it learns of the stop.
    assert_eq!(idle.read(&mut [0; 512]).unwrap(), 0);
    write!(late, "\r\n").unwrap();
    let mut answer = String::new();
    late.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("the agent is stopping\n"), "{answer}");
    agent.ended();
}

#[test]
fn an_address_of_ipv6_is_listened_on() {
    let taken = TcpListener::bind("[::1]:0");
    let address = match taken.and_then(|listener| listener.local_addr()) {
        Ok(address) => address,
        Err(error) => {
            assert!(std::env::var_os("HEKA_REQUIRE_IPV6").is_none(), "there is no ::1: {error}");
            #[allow(clippy::print_stderr)] // that a test did nothing must be seen
            {
                eprintln!("skipped: this machine has no ::1 ({error})");
            }
            return;
        }
    };
    let mut agent = Agent::launch(&["--listen", &address.to_string()]);
    agent.wait_for("listening");
    agent.address = address.to_string();
    scrape(&agent);
    agent.stop();
}

#[test]
fn a_scraper_that_prefers_openmetrics_gets_text_and_gzip_when_it_takes_it() {
    let agent = Agent::start(&[]);
    let mut stream = TcpStream::connect(&agent.address).unwrap();
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\
         Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(head.contains("content-encoding: gzip"), "{head}");
    assert_eq!(answer[end + 4..end + 6], [0x1f, 0x8b], "the beginning of a gzip stream");
    agent.stop();
}

#[test]
fn attributes_of_the_resource_are_labels_that_prometheus_takes() {
    let odd = ["--resource-attribute", "9.lives=cat", "--resource-attribute", "a:b=c", "--resource-attribute", "é=e"];
    let text = scrape(&Agent::start(&odd));
    let info = text.lines().find(|line| line.starts_with("target_info{")).unwrap();
    for label in ["key_9_lives=\"cat\"", "a_b=\"c\"", "_=\"e\""] {
        assert!(info.contains(label), "{label} is not in {info}");
    }
}

#[test]
fn metrics_of_text_files_have_the_names_and_types_of_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let text = "# TYPE runs counter\nruns 7\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 3\nh_sum 4.5\nh_count 3\n\
                a__b 1\njob:rate5m 2\n_hidden 3\n# TYPE done_total counter\ndone_total 5\n";
    std::fs::write(dir.path().join("a.prom"), text).unwrap();
    let files = dir.path().to_str().unwrap();
    for naming in ["semconv", "node_exporter"] {
        let agent = Agent::start(&["--naming", naming, "--collectors", "textfile", "--textfile-dir", files]);
        let page = scrape(&agent);
        for line in [
            "# TYPE runs counter",
            "runs 7",
            "h_bucket{le=\"+Inf\"} 3",
            "h_sum 4.5",
            "h_count 3",
            "a__b 1",
            "job:rate5m 2",
            "_hidden 3",
            "done_total 5",
        ] {
            assert!(page.lines().any(|have| have == line), "{line} is not in\n{page}");
        }
        agent.stop();
    }
}

#[test]
fn head_has_no_body_and_an_unknown_path_is_404() {
    let agent = Agent::start(&[]);
    let (head, body) = ask(&agent.address, "HEAD", "/metrics");
    assert!(head.starts_with("http/1.1 200 ") && body.is_empty(), "{head}");
    assert!(ask(&agent.address, "GET", "/favicon.ico").0.starts_with("http/1.1 404 "));
    assert_eq!(ask(&agent.address, "GET", "/-/healthy").1, "OK\n");
    agent.stop();
}

#[test]
fn a_hangup_does_not_end_it() {
    let mut agent = Agent::start(&[]);
    agent.signal(Signal::HUP);
    agent.wait_for("SIGHUP");
    scrape(&agent);
    agent.stop();
}

#[test]
fn a_port_in_use_is_one_line_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = command(&["--listen", &address]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.lines().count() == 1 && text.contains("--listen") && text.contains(&address), "{text}");
}

#[test]
fn the_libraries_log_nothing_of_their_own() {
    let agent = Agent::start(&["--log-level", "trace", "--log-format", "json"]);
    scrape(&agent);
    let lines = agent.stop();
    assert!(lines.iter().any(|line| line.contains("listening")), "{lines:?}");
    let own = |line: &&String| line.contains(r#""target":"opentelemetry"#);
    assert_eq!(lines.iter().find(own), None);
}
