//! Random histories of the whole outbox (exporter's push, queue, worker, disk, sender, server), compared with a plain
//! list of points.
//!
//! A history pushes batches, varies the server's answers and the disk's failures, advances time, and stops or kills the
//! process. Each data point carries a number. At every step the account must be balanced: each pushed point was
//! accepted, was dropped and counted, or is pending. The server must receive the numbers in order. It must not receive
//! a number again after it accepted it, except once for each time that the answer was lost or the process ended before
//! the record was deleted. Once server and disk work, all pending points must arrive. Every number that was pushed must
//! then have been accepted, dropped and counted, or in memory at a kill. In a quarter of the histories nothing may be
//! dropped at all.

use std::collections::{BTreeSet, VecDeque};

use fastrand::Rng;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics};
use prost::Message;
use tokio::task::JoinHandle;

use super::record::HEADER_BYTES;
use super::sender::Sender;
use super::*;
use crate::export::verdict::{Accepted, Failure, Verdict};
use crate::export::wire::{Answer, Carrier};

const HISTORIES: u64 = 10_000;

/// How a server handles one request.
#[derive(Clone, Copy, Debug)]
enum Behaviour {
    Accept,
    /// Rejects some points.
    Partial,
    /// Accepts the data, but the answer is lost.
    LoseAnswer,
    Hang,
    Unavailable,
    Doubt,
    Refuse,
    /// Rejects requests that are larger than this.
    TooLarge(usize),
    TooLargeByTimeout,
}

#[derive(Debug, Default)]
struct Server {
    script: VecDeque<Behaviour>,
    /// Numbers of accepted points.
    accepted: BTreeSet<u64>,
    /// Accepted numbers that may be sent once more.
    again: BTreeSet<u64>,
    /// Numbers on disk that may be sent after newer ones.
    late: BTreeSet<u64>,
    /// Accepted points, including those whose answer was lost.
    taken: u64,
    /// Numbers of the last accepted request.
    last: Vec<u64>,
}

#[derive(Clone, Default)]
struct Backend(Arc<Mutex<Server>>);

impl Carrier for Backend {
    fn send(&self, pieces: Vec<Bytes>) -> Answer {
        let numbers = numbers(&pieces.concat());
        let size: usize = pieces.iter().map(Bytes::len).sum();
        let mut server = self.0.lock().unwrap();
        let behaviour = server.script.pop_front().unwrap_or(Behaviour::Accept);
        let failure = |verdict| Failure {
            verdict,
            local: false,
            too_large: false,
            by_size: false,
            content: false,
            words: format!("{behaviour:?}"),
        };
        let answer = match behaviour {
            Behaviour::TooLarge(limit) if size > limit => Err(failure(Verdict::Smaller)),
            Behaviour::Accept | Behaviour::Partial | Behaviour::TooLarge(_) => {
                server.take(&numbers);
                let rejected = u64::from(matches!(behaviour, Behaviour::Partial));
                Ok(Accepted { rejected, message: String::new() })
            }
            Behaviour::LoseAnswer => {
                server.take(&numbers);
                server.again.extend(&numbers);
                return Box::pin(std::future::pending());
            }
            Behaviour::Hang => return Box::pin(std::future::pending()),
            Behaviour::Unavailable => Err(failure(Verdict::Keep(None))),
            Behaviour::Doubt => Err(failure(Verdict::Doubt)),
            Behaviour::Refuse => Err(failure(Verdict::Drop)),
            Behaviour::TooLargeByTimeout => Err(Failure::timeout(Duration::from_secs(1))),
        };
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            answer
        })
    }

    fn refresh(self: &Arc<Self>, _now: bool) {}
    fn replace(&self) {}
}

impl Server {
    fn take(&mut self, numbers: &[u64]) {
        for number in numbers {
            let next = self.accepted.last().is_none_or(|last| last < number);
            let excused = self.late.remove(number) || self.again.remove(number);
            assert!(next || excused, "{number} came after {:?}", self.accepted.last());
            self.accepted.insert(*number);
        }
        self.taken += numbers.len() as u64;
        self.last = numbers.to_vec();
    }
}

fn request(numbers: std::ops::Range<u64>) -> Bytes {
    let data_points = numbers.map(|n| NumberDataPoint { time_unix_nano: n, ..Default::default() }).collect();
    let metric = Metric { name: "m".repeat(20), data: Some(Data::Gauge(Gauge { data_points })), ..Default::default() };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..Default::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..Default::default() }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec().into()
}

fn numbers(request: &[u8]) -> Vec<u64> {
    let request = ExportMetricsServiceRequest::decode(request).unwrap();
    let metrics = request.resource_metrics.into_iter().flat_map(|r| r.scope_metrics).flat_map(|s| s.metrics);
    metrics
        .flat_map(|metric| match metric.data {
            Some(Data::Gauge(gauge)) => gauge.data_points,
            _ => panic!("not a gauge"),
        })
        .map(|point| point.time_unix_nano)
        .collect()
}

struct Life {
    fs: FakeFs,
    backend: Backend,
    outbox: Outbox,
    sender: JoinHandle<()>,
    begun: tokio::time::Instant,
    /// Points that were pushed or found on disk.
    came: u64,
    taken_before: u64,
    /// Whether the disk has failed in this life.
    faulty: bool,
}

impl Life {
    fn begin(fs: &FakeFs, backend: &Backend, limits: Limits) -> Self {
        let outbox = Outbox::closed(fs, limits);
        let tuning = Tuning { merge_bytes: 300, request_max_bytes: 400, ..Tuning::default() };
        let carrier = Arc::new(backend.clone());
        let sender = Sender::new(outbox.shared.clone(), carrier, "http://model", Duration::from_secs(3), tuning);
        let found = on_disk(fs).len() as u64;
        let taken_before = backend.0.lock().unwrap().taken;
        let sender = tokio::spawn(sender.run());
        let (fs, backend, begun) = (fs.clone(), backend.clone(), tokio::time::Instant::now());
        Self { fs, backend, outbox, sender, begun, came: found, taken_before, faulty: false }
    }

    /// Lets numbers on disk arrive late if newer ones were sent before the directory was open, or, at the end, if they
    /// may have been dropped and their record is not deleted yet.
    fn excuse(&self, at_end: bool) {
        let mut server = self.backend.0.lock().unwrap();
        let overtaken = self.outbox.worker.opened.is_none() && server.taken > self.taken_before;
        let dropped = at_end && self.outbox.stats().dropped.total().points > 0;
        if overtaken || dropped {
            let newest = server.accepted.last().copied();
            let late = on_disk(&self.fs).into_iter().filter(|n| Some(*n) < newest && !server.accepted.contains(n));
            let late: Vec<u64> = late.collect();
            server.late.extend(late);
        }
    }

    fn work(&mut self, steps: u32) {
        self.excuse(false);
        let now = self.outbox.clock + self.begun.elapsed();
        for _ in 0..steps {
            if self.outbox.worker.step(now, &Moment::now()) != Step::Done {
                break;
            }
        }
    }

    /// Asserts that every point is accounted for.
    fn check(&self) {
        let stats = self.outbox.stats();
        let opened = self.outbox.worker.opened.is_some();
        let dropped = stats.dropped.total().points;
        let accounted = stats.exported_points + stats.rejected_points + dropped + stats.outbox_points;
        if opened {
            assert_eq!(accounted, self.came, "{stats:?}");
        } else {
            assert!(accounted <= self.came, "{stats:?}");
        }
        // The server counts an accepted request before its answer arrives.
        let taken = self.backend.0.lock().unwrap().taken - self.taken_before;
        assert!(stats.exported_points + stats.rejected_points <= taken, "{stats:?} of {taken}");
        let state = self.outbox.shared.lock();
        let entries = &state.queue.entries;
        assert!(entries.iter().is_sorted_by(|a, b| a.id < b.id));
        assert!(entries.iter().is_sorted_by_key(|entry| !entry.saved), "the older ones are on disk");
        assert!(entries.iter().all(|entry| entry.saved || entry.payload.is_some()));
        let bytes: u64 = entries.iter().map(|entry| entry.cost()).sum();
        let points: u64 = entries.iter().map(|entry| u64::from(entry.points)).sum();
        assert_eq!((bytes, points), (stats.outbox_bytes, stats.outbox_points));
    }
}

impl Life {
    /// Stops delivery as an agent does. If the disk works, nothing that was pushed may be lost, and nothing that was
    /// accepted may be left.
    async fn stop(&mut self, expected: &BTreeSet<u64>, dropped: u64) {
        let shared = self.outbox.shared.clone();
        let (stop, stopped) = tokio::sync::watch::channel(false);
        shared.watch_stop(stopped, &tokio::runtime::Handle::current());
        stop.send_replace(true);
        shared.lock().phase = Phase::Closing;
        shared.wake.notify_one();
        while !self.sender.is_finished() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let now = self.outbox.clock + self.begun.elapsed();
            if self.outbox.worker.step(now, &Moment::now()) == Step::End {
                shared.lock().directory = Directory::None;
                shared.wake.notify_one();
            }
        }
        (&mut self.sender).await.unwrap();
        assert_eq!(shared.lock().phase, Phase::Ended);
        let stats = self.outbox.stats();
        if self.faulty {
            return;
        }
        assert_eq!(stats.lost_at_end, 0, "{stats:?}");
        let (left, server): (BTreeSet<u64>, _) =
            (on_disk(&self.fs).into_iter().collect(), self.backend.0.lock().unwrap());
        let repeats = left.iter().find(|number| server.accepted.contains(*number) && !server.again.contains(number));
        assert_eq!(repeats, None, "it was accepted and is left on disk");
        let lost = expected.iter().filter(|number| !left.contains(number) && !server.accepted.contains(*number)).count()
            as u64;
        assert!(lost <= dropped + stats.dropped.total().points, "{lost} points are lost: {stats:?}");
    }

    /// Asserts that a kill now would resend only the last request and records that are about to be deleted.
    fn check_records(&self) {
        let (fs, backend) = (&self.fs, &self.backend);
        if self.faulty {
            return;
        }
        let state = self.outbox.shared.lock();
        let deleted: Vec<_> = state.queue.trash.iter().map(|id| name(&self.outbox.worker.record(*id))).collect();
        let server = backend.0.lock().unwrap();
        for record in fs.records().iter().filter(|record| !deleted.contains(record)) {
            for number in numbers(&fs.disk().files[record][HEADER_BYTES..]) {
                // Records of an earlier life were excused when it ended.
                let accepted = server.accepted.contains(&number) && !server.again.contains(&number);
                assert!(!accepted || server.last.contains(&number), "{number} of {record} was accepted long ago");
            }
        }
    }
}

/// The numbers of the points in all records on disk.
fn on_disk(fs: &FakeFs) -> Vec<u64> {
    let records = fs.records();
    let disk = fs.disk();
    records.iter().flat_map(|name| numbers(&disk.files[name][HEADER_BYTES..])).collect()
}

fn behaviour(rng: &mut Rng, lossless: bool) -> Behaviour {
    match rng.u8(0..20) {
        0 => Behaviour::Partial,
        1 => Behaviour::LoseAnswer,
        2 => Behaviour::Hang,
        3..=6 => Behaviour::Unavailable,
        12 => Behaviour::TooLargeByTimeout,
        7 if !lossless => Behaviour::Doubt,
        8 if !lossless => Behaviour::Refuse,
        9..=11 if !lossless => Behaviour::TooLarge(rng.usize(20..300)),
        _ => Behaviour::Accept,
    }
}

fn faults(rng: &mut Rng, lossless: bool) -> Faults {
    let none = Faults::default();
    match rng.u8(0..9) {
        0 => Faults { open: Some(Errno::ACCESS), ..none },
        1 => Faults { write: Some(Errno::ROFS), remove: Some(Errno::ROFS), ..none },
        2 => Faults { rename: Some(Errno::IO), ..none },
        3 => Faults { sync: Some(Errno::IO), ..none },
        4 => Faults { read: Some(Errno::NFILE), ..none },
        5 if !lossless => Faults { capacity: Some(rng.u64(0..4) * 4096), ..none },
        _ => none,
    }
}

async fn history(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let (fs, backend) = (FakeFs::default(), Backend::default());
    // Whether nothing may be dropped.
    let lossless = rng.u8(0..4) == 0;
    let max_bytes = if lossless || rng.bool() { 1 << 20 } else { rng.u64(150..1_500) };
    let limits = Limits { max_bytes, ..limits() };
    let mut life = Life::begin(&fs, &backend, limits);
    // Numbers that must arrive unless they are dropped, and the number of points that were.
    let (mut next, mut expected, mut dropped) = (1, BTreeSet::new(), 0);
    for _ in 0..rng.usize(5..50) {
        match rng.u8(0..20) {
            0..=8 => {
                let most = if rng.u8(0..5) == 0 { 60 } else { 8 };
                let points = rng.u64(1..most);
                let payload = request(next..next + points);
                expected.extend(next..next + points);
                next += points;
                life.came += points;
                let points = u32::try_from(points).unwrap();
                life.outbox.shared.lock().queue.push(payload, points, &Moment::now());
                life.outbox.shared.wake.notify_one();
            }
            9..=12 => {
                let script: Vec<_> = (0..rng.usize(1..8)).map(|_| behaviour(&mut rng, lossless)).collect();
                backend.0.lock().unwrap().script.extend(script);
            }
            13 | 14 => {
                fs.fail(faults(&mut rng, lossless));
                life.faulty = true;
            }
            15 => {
                // A stop or kill -9, then a new process.
                if rng.bool() {
                    life.stop(&expected, dropped).await;
                } else {
                    life.sender.abort();
                    let _ = (&mut life.sender).await;
                }
                dropped += life.outbox.stats().dropped.total().points;
                life.excuse(true);
                drop(life);
                let left: BTreeSet<u64> = on_disk(&fs).into_iter().collect();
                let mut server = backend.0.lock().unwrap();
                expected.retain(|number| left.contains(number) || server.accepted.contains(number));
                let accepted: Vec<u64> = left.into_iter().filter(|number| server.accepted.contains(number)).collect();
                server.again.extend(accepted);
                drop(server);
                fs.fail(Faults::default());
                fs.disk().files.retain(|name, _| !name.ends_with(".tmp"));
                life = Life::begin(&fs, &backend, limits);
            }
            _ => {
                for _ in 0..rng.u8(1..8) {
                    tokio::time::sleep(Duration::from_millis(rng.u64(1..1_500))).await;
                    life.check_records();
                    life.work(rng.u32(0..6));
                }
            }
        }
        life.work(rng.u32(0..4));
        tokio::task::yield_now().await;
        life.check();
        life.check_records();
    }
    // Server and disk work again.
    fs.fail(Faults::default());
    backend.0.lock().unwrap().script.clear();
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        life.work(u32::MAX);
        let open = life.outbox.worker.opened.is_some();
        if open && life.outbox.stats().outbox_batches == 0 {
            break;
        }
    }
    life.check();
    assert_eq!(life.outbox.stats().outbox_batches, 0, "what waits arrives");
    life.work(u32::MAX);
    assert!(fs.records().len() <= life.outbox.worker.leftovers.len(), "{:?}", fs.records());
    assert!(!life.sender.is_finished());
    life.sender.abort();
    dropped += life.outbox.stats().dropped.total().points;
    assert!(!lossless || dropped == 0, "{:?}", life.outbox.stats());
    let server = backend.0.lock().unwrap();
    let missing: Vec<_> = expected.iter().filter(|number| !server.accepted.contains(*number)).collect();
    assert!(missing.len() as u64 <= dropped, "{dropped} points were dropped, but these are missing: {missing:?}");
}

struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the history of seed {} failed", self.0);
        }
    }
}

/// Every fourth history, from `first` on: four tests run in parallel.
fn histories(first: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    for seed in (first..HISTORIES).step_by(4) {
        let _seed = Seed(seed);
        runtime.block_on(history(seed));
    }
}

#[test]
fn ten_thousand_histories_keep_order_and_account_first_quarter() {
    histories(0);
}

#[test]
fn ten_thousand_histories_keep_order_and_account_second_quarter() {
    histories(1);
}

#[test]
fn ten_thousand_histories_keep_order_and_account_third_quarter() {
    histories(2);
}

#[test]
fn ten_thousand_histories_keep_order_and_account_fourth_quarter() {
    histories(3);
}
