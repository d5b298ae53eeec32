//! Tests of the notifications to the service manager, which a test socket receives.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test may panic.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, mknodat};
use rustix::process::{Pid, Signal, kill_process};

/// Bound on what must come.
const SOON: Duration = Duration::from_secs(20);
/// The silence that the manager takes, and several times that.
const WATCHDOG: Duration = Duration::from_millis(300);

struct Service {
    manager: UnixDatagram,
    agent: Child,
}

impl Service {
    fn start(dir: &Path, host: &Path, interval: &str) -> Self {
        let socket = dir.join("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_read_timeout(Some(SOON)).unwrap();
        let agent = Command::new(env!("CARGO_BIN_EXE_heka-insights-agent"))
            .args(["--interval", interval, "--no-phase", "--endpoint", "http://127.0.0.1:1", "--log-level", "off"])
            .arg("--root-path")
            .arg(host)
            .env_clear()
            .env("NOTIFY_SOCKET", &socket)
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
            .current_dir(dir)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { manager, agent }
    }

    fn told(&self) -> io::Result<String> {
        let mut buffer = [0; 256];
        let length = self.manager.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).trim().to_owned())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

#[test]
fn the_manager_is_notified_of_start_and_stop_and_kept_alive_between_distant_ticks() {
    let dir = tempfile::tempdir().unwrap();
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/server");
    let mut service = Service::start(dir.path(), &host, "1h");
    assert_eq!(service.told().unwrap(), "READY=1");
    assert_eq!(service.told().unwrap(), "WATCHDOG=1");
    assert_eq!(service.told().unwrap(), "WATCHDOG=1");
    kill_process(Pid::from_child(&service.agent), Signal::TERM).unwrap();
    let mut last = service.told().unwrap();
    while last == "WATCHDOG=1" {
        last = service.told().unwrap();
    }
    assert_eq!(last, "STOPPING=1");
    assert!(service.agent.wait().unwrap().success());
}

#[test]
fn a_collection_that_does_not_end_ends_the_sign_of_life() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(SOON)).unwrap();
    // A console whose pipe is full and that nobody reads.
    let (reader, mut writer) = io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();
    let agent = Command::new(env!("CARGO_BIN_EXE_heka-insights-agent"))
        .args(["--exporter", "console", "--interval", "100ms", "--log-level", "off"])
        .env_clear()
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
        .current_dir(dir.path())
        .stdout(writer)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let service = Service { manager, agent };
    assert_eq!(service.told().unwrap(), "READY=1");
    service.manager.set_read_timeout(Some(10 * WATCHDOG)).unwrap();
    let begun = Instant::now();
    while service.told().is_ok() {
        assert!(begun.elapsed() < SOON, "it goes on");
    }
    drop(reader);
}

#[test]
fn files_that_cannot_be_read_do_not_end_the_sign_of_life() {
    let dir = tempfile::tempdir().unwrap();
    let proc = dir.path().join("proc");
    std::fs::create_dir(&proc).unwrap();
    let service = Service::start(dir.path(), dir.path(), "100ms");
    assert_eq!(service.told().unwrap(), "READY=1");
    assert_eq!(service.told().unwrap(), "WATCHDOG=1");
    // A file that is not there is looked for at each collection; a FIFO in its place is refused without waiting for a writer.
    for name in ["stat", "meminfo", "diskstats"] {
        mknodat(CWD, proc.join(name), FileType::Fifo, Mode::RUSR, 0).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(service.told().unwrap(), "WATCHDOG=1");
    }
}
