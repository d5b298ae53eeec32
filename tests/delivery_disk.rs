//! Tests of delivery while the outbox's disk hangs: collections, the runtime and the shutdown must continue.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // A test may panic.

mod support;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use heka_insights_agent::internals::export::config::OtlpConfig;
use heka_insights_agent::internals::outbox::fs::{Fs, Lock, OsFs};
use support::agent::{Agent, Setup, config, on_disk};
use support::grpc::{Answer, GrpcServer};
use support::pages::{PageServer, Reply};
use support::{eventually, log};
use tonic::Status;

/// The host's file system, of which every operation hangs while the gate is shut.
#[derive(Clone, Default)]
struct HangingFs(Arc<(Mutex<bool>, Condvar)>, Arc<AtomicUsize>);

impl HangingFs {
    fn shut(&self, shut: bool) {
        *self.0.0.lock().unwrap() = shut;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |shut| *shut).unwrap());
    }
}

impl Fs for HangingFs {
    type Lock = Lock;
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.pass();
        OsFs.create_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Lock> {
        self.pass();
        OsFs.lock(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.pass();
        OsFs.list(dir)
    }
    fn write(&self, path: &Path, parts: [&[u8]; 2]) -> io::Result<()> {
        self.pass();
        OsFs.write(path, parts)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass();
        OsFs.rename(from, to)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.pass();
        OsFs.sync_dir(dir)?;
        self.1.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.pass();
        OsFs.read(path, limit)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.pass();
        OsFs.remove(path)
    }
}

/// Below the shortest wait for a disk that a tick could have.
const TICK_USUAL: Duration = Duration::from_millis(500);
const STOP_MOST: Duration = Duration::from_secs(5);

fn unavailable() -> Answer {
    Answer::Status(Status::unavailable("busy"))
}

fn agent(server: &GrpcServer, dir: &Path) -> (Agent, HangingFs) {
    let fs = HangingFs::default();
    let setup = Setup { outbox: on_disk(dir), ..Setup::default() };
    (Agent::with_fs(fs.clone(), config(server.endpoint()), setup).unwrap(), fs)
}

#[test]
fn a_disk_that_hangs_delays_no_collection_and_loses_none_when_it_is_back() {
    let (server, dir) = (GrpcServer::start(), tempfile::tempdir().unwrap());
    server.scene.script((0..1000).map(|_| unavailable()));
    let (agent, fs) = agent(&server, dir.path());
    agent.ticks(2);
    eventually("two batches on disk", || fs.1.load(Ordering::SeqCst) >= 2);
    fs.shut(true);
    // A busy machine may delay some ticks, but a wait for the disk would delay all.
    let timed = |_| {
        let begun = Instant::now();
        agent.tick();
        begun.elapsed()
    };
    let mut times: Vec<Duration> = (0..5).map(timed).collect();
    times.sort_unstable();
    assert!(times[2] < TICK_USUAL, "{times:?}");
    let stats = agent.handle.stats();
    assert_eq!((stats.outbox_batches, stats.outbox_points, stats.dropped.total().batches), (7, 7, 0));
    fs.shut(false);
    server.scene.clear();
    let last = agent.ticks(1);
    assert_eq!(server.scene.wait_value(last), (1..=last).collect::<Vec<_>>());
}

#[test]
fn a_batch_that_is_in_flight_for_a_second_is_written_to_disk() {
    for grpc in [false, true] {
        let (server, dir) = (PageServer::start(grpc, |_, _| Reply::hang()), tempfile::tempdir().unwrap());
        let config = OtlpConfig { timeout: Duration::from_secs(60), ..config(server.endpoint()) };
        let agent = Agent::with(config, Setup { outbox: on_disk(dir.path()), ..Setup::default() }).unwrap();
        agent.tick();
        eventually("a record", || {
            let files = std::fs::read_dir(dir.path()).unwrap().flatten();
            files.into_iter().any(|file| file.path().extension().is_some_and(|end| end == "batch"))
        });
        let stats = agent.handle.stats();
        assert_eq!((stats.failed_sends, stats.outbox_batches, server.scene.seen().len()), (0, 1, 1), "grpc: {grpc}");
    }
}

#[test]
fn stopping_while_the_disk_hangs_is_quick_and_logs_the_loss() {
    let (server, dir) = (GrpcServer::start(), tempfile::tempdir().unwrap());
    let endpoint = server.endpoint();
    server.scene.script((0..1000).map(|_| unavailable()));
    let (agent, fs) = agent(&server, dir.path());
    agent.ticks(2);
    eventually("two batches on disk", || fs.1.load(Ordering::SeqCst) >= 2);
    fs.shut(true);
    agent.ticks(3);
    let (_, took) = agent.stop();
    assert!(took < STOP_MOST, "{took:?}");
    let lines = log::lines(&endpoint);
    // Three, and the last collection.
    let told = |line: &&String| line.starts_with("ERROR") && line.contains("4 batches (4 data points) could not be");
    let errors: Vec<_> = lines.iter().filter(told).collect();
    assert!(errors.len() == 1 && errors[0].contains("the outbox directory did not take them"), "{lines:#?}");
    fs.shut(false);
}
