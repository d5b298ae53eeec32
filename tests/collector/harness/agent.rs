//! Runs the agent's binary.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::delivered::records;
use super::network::End;
use super::process::Process;
use super::{SOON, until};

const BINARY: &str = env!("CARGO_BIN_EXE_heka-insights-agent");

/// A running agent. Its environment and working directory are empty, so only the arguments count.
pub struct Agent {
    process: Process,
    _dir: tempfile::TempDir,
}

impl Agent {
    /// Starts an agent that sends to `endpoint` at once and every second, plus `arguments`, separated by spaces.
    pub fn start(endpoint: &str, arguments: &str) -> Self {
        Self::at_its_phase(endpoint, &format!("--no-phase {arguments}"))
    }

    /// The same, but the agent waits for its own phase of the interval.
    pub fn at_its_phase(endpoint: &str, arguments: &str) -> Self {
        let mut command = Command::new(BINARY);
        command.env_clear();
        Self::run(command, endpoint, arguments)
    }

    /// As [`start`](Self::start), at one end of a network of the test's own.
    pub fn start_at(end: &End, endpoint: &str, arguments: &str) -> Self {
        Self::run(end.command(Path::new(BINARY)), endpoint, &format!("--no-phase {arguments}"))
    }

    fn run(mut command: Command, endpoint: &str, arguments: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        command.current_dir(dir.path());
        command.args(["--endpoint", endpoint]);
        if !arguments.contains("--interval") {
            command.args(["--interval", "1s"]);
        }
        command.args(arguments.split_whitespace());
        let process = Process::start("the agent", &mut command, &dir.path().join("agent.log"));
        Self { process, _dir: dir }
    }

    /// What `check` prints.
    pub fn check(endpoint: &str, arguments: &str) -> String {
        let mut command = Command::new(BINARY);
        command.env_clear().args(["check", "--endpoint", endpoint]).args(arguments.split_whitespace());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    /// The size of one collection as a request, and the header of its record. Not with `--once`, whose stop may take an
    /// unoptimised build longer than it has.
    pub fn encoded_bytes(arguments: &str) -> u64 {
        let outbox = tempfile::tempdir().unwrap();
        let _agent =
            Self::start("http://127.0.0.1:1", &format!("--outbox-dir {} {arguments}", outbox.path().display()));
        until("a record on disk", SOON, || Some(records(outbox.path()).next()?.metadata().unwrap().len()))
    }

    /// Its resident memory without the pages of its program file.
    pub fn anonymous_kib(&self) -> u64 {
        self.process.anonymous_kib()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The lines of its log that hold `words`.
    pub fn lines(&self, words: &str) -> Vec<String> {
        let told = |line: &&str| line.contains(words);
        self.log().lines().filter(told).map(ToOwned::to_owned).collect()
    }

    /// Waits for a line that holds `words`.
    pub fn says(&self, words: &str) -> String {
        until(&format!("the agent to say {words:?}"), SOON, || self.lines(words).into_iter().next())
    }

    /// SIGTERM; its exit code, and how long it took.
    pub fn terminate(&mut self) -> (Option<i32>, Duration) {
        let (status, took) = self.process.end(Signal::TERM, SOON);
        (status.code(), took)
    }

    /// Stops it and insists that it was a clean stop.
    pub fn stop(mut self) -> String {
        let (code, _) = self.terminate();
        assert_eq!(code, Some(0), "not a clean stop");
        self.log()
    }

    /// SIGKILL: what a crash and the out-of-memory killer do.
    pub fn kill(mut self) {
        self.process.end(Signal::KILL, SOON);
    }
}
