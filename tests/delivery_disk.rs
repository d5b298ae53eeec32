//! Delivery while the outbox's disk hangs: collections, the runtime and the end of the process go on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // A test may panic.

mod support;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use heka_insights_agent::internals::outbox::fs::{Fs, OsFs};
use heka_insights_agent::internals::outbox::{
    AsideStore, Batch, DiskStore, DropCounts, Limits, MemoryStore, Moment, PushOutcome, Store, Tally, Wake,
};
use support::agent::{Agent, Setup, config};
use support::grpc::{Answer, GrpcServer};
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

/// Without the store's patience a tick would take for ever; with it, a fraction of this.
const TICK_MOST: Duration = Duration::from_secs(5);

fn unavailable() -> Answer {
    Answer::Status(Status::unavailable("busy"))
}

fn agent(server: &GrpcServer, dir: &Path) -> (Agent, HangingFs) {
    let fs = HangingFs::default();
    let limits = Limits { max_bytes: 1 << 20, max_age: Duration::from_secs(86_400) };
    let store = DiskStore::open_with(fs.clone(), dir, limits, 1, Moment::now()).unwrap();
    let store = AsideStore::start(store, dir.into(), Duration::from_millis(100)).unwrap();
    let setup = Setup { store: Box::new(store), live_deadline: Duration::from_secs(1), ..Setup::default() };
    (Agent::with(config(server.endpoint()), setup).unwrap(), fs)
}

#[test]
fn a_disk_that_hangs_delays_no_collection_and_loses_none_when_it_is_back() {
    let (server, dir) = (GrpcServer::start(), tempfile::tempdir().unwrap());
    server.scene.script((0..1000).map(|_| unavailable()));
    let (agent, fs) = agent(&server, dir.path());
    agent.ticks(2);
    // A busy disk may need longer than the store's patience.
    eventually("two batches on disk", || fs.1.load(Ordering::SeqCst) >= 2);
    fs.shut(true);
    for _ in 0..5 {
        let (value, took) = agent.tick();
        assert!(took < TICK_MOST, "tick {value} took {took:?}");
    }
    let stats = agent.handle.stats();
    assert_eq!((stats.outbox_batches, stats.outbox_points, stats.dropped.total().batches), (7, 7, 0));
    fs.shut(false);
    server.scene.clear();
    let last = agent.ticks(1);
    assert_eq!(server.scene.wait_value(last), (1..=last).collect::<Vec<_>>());
}

#[test]
fn stopping_while_the_disk_hangs_is_quick_and_says_what_is_lost() {
    let (server, dir) = (GrpcServer::start(), tempfile::tempdir().unwrap());
    let endpoint = server.endpoint();
    server.scene.script((0..1000).map(|_| unavailable()));
    let (agent, fs) = agent(&server, dir.path());
    agent.ticks(2);
    // A busy disk may need longer than the store's patience.
    eventually("two batches on disk", || fs.1.load(Ordering::SeqCst) >= 2);
    fs.shut(true);
    agent.ticks(3);
    let (_, took) = agent.stop();
    assert!(took < TICK_MOST, "{took:?}");
    let lines = log::lines(&endpoint);
    // Three, and the last collection.
    let told = |line: &&String| line.starts_with("ERROR") && line.contains("4 batches (4 data points) could not be");
    let errors: Vec<_> = lines.iter().filter(told).collect();
    assert!(errors.len() == 1 && errors[0].contains("the outbox directory did not take them"), "{lines:#?}");
    fs.shut(false);
}

/// A store that has nothing to give out until it is awake.
struct Sleepy {
    inner: MemoryStore,
    awake: Arc<AtomicBool>,
    peeked: mpsc::Sender<()>,
    wake: Arc<OnceLock<Wake>>,
}

impl Store for Sleepy {
    fn push(&mut self, payload: &[u8], points: u32, now: Moment) -> PushOutcome {
        self.inner.push(payload, points, now)
    }
    fn peek(&mut self, max_bytes: usize, now: Moment) -> Vec<Batch> {
        let _ = self.peeked.send(());
        if self.awake.load(Ordering::SeqCst) { self.inner.peek(max_bytes, now) } else { Vec::new() }
    }
    fn remove(&mut self, seqs: &[u64]) -> usize {
        self.inner.remove(seqs)
    }
    fn refuse(&mut self, seqs: &[u64]) -> usize {
        self.inner.refuse(seqs)
    }
    fn len(&self) -> usize {
        self.inner.len()
    }
    fn points(&self) -> u64 {
        self.inner.points()
    }
    fn bytes(&self) -> u64 {
        self.inner.bytes()
    }
    fn oldest(&self, now: Moment) -> Option<Duration> {
        self.inner.oldest(now)
    }
    fn dropped(&self) -> DropCounts {
        self.inner.dropped()
    }
    fn on_wake(&mut self, wake: Wake) {
        assert!(self.wake.set(wake).is_ok());
    }
    fn unsaved(&self) -> Tally {
        self.inner.unsaved()
    }
    fn sync(&mut self, now: Moment) -> Tally {
        self.inner.sync(now)
    }
}

#[test]
fn a_store_that_can_be_read_again_is_read_at_once_and_not_seconds_later() {
    let server = GrpcServer::start();
    let (awake, wake, (peeked, peeks)) = (Arc::new(AtomicBool::new(false)), Arc::new(OnceLock::new()), mpsc::channel());
    let limits = Limits { max_bytes: 1 << 20, max_age: Duration::from_secs(86_400) };
    let store = Sleepy { inner: MemoryStore::new(limits), awake: awake.clone(), peeked, wake: wake.clone() };
    let agent = Agent::with(config(server.endpoint()), Setup { store: Box::new(store), ..Setup::default() }).unwrap();
    server.scene.script([Answer::Status(Status::invalid_argument("no"))]);
    peeks.recv().unwrap(); // at the start
    let (value, _) = agent.tick();
    peeks.recv().unwrap();
    let begun = Instant::now();
    awake.store(true, Ordering::SeqCst);
    wake.get().unwrap()();
    server.scene.wait_value(value);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}
