//! The running collectors: all of them are read on the host's reading thread, once per collection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::thread::{self, ThreadId};
use std::time::Instant;

use tracing::{error, warn};

use super::fault::guarded;
use super::observer::{Observer, Sink};
use super::{Collector, Context, Definition, Discovered};
use crate::host::bounded::lock;
use crate::host::worker::{Job, Worker};
use crate::host::{Problem, Reader};

/// Statistics of a definition, for the self-metrics.
#[warn(missing_docs)]
#[derive(Debug)]
pub struct CollectorStats {
    /// The definition's name.
    pub name: &'static str,
    /// Duration of the last reading in nanoseconds.
    pub read_nanos: AtomicU64,
    /// Number of failed or late readings and of panics.
    pub errors: AtomicU64,
    /// Whether the last reading failed, was late or panicked.
    pub failed: AtomicBool,
    /// Number of series reported by the last collection.
    pub series: AtomicU64,
    /// Number of series dropped by the last collection; see [`super::Options::max_series`].
    pub cut: AtomicU64,
}

/// All collectors, and the thread on which they are read.
#[derive(Debug)]
pub(super) struct Collection {
    context: Arc<Context>,
    worker: Worker,
    slots: Mutex<Vec<Arc<Slot>>>,
    turn: Mutex<Turn>,
    /// Whether the cardinality limit of an instrument was too low for its series.
    pub(super) outgrown: AtomicBool,
}

/// Number of threads whose collections can overlap without additional readings.
const MOST_THREADS: usize = 8;

/// The instruments that each thread's last collection has reported. The SDK does not signal the start of a collection,
/// but all callbacks of one run on the same thread, so a new one has begun when an instrument reports again on a thread.
/// A user's view may drop any instrument, including the first one.
#[derive(Debug, Default)]
pub(super) struct Turn {
    cycle: u64,
    instruments: usize,
    reported: HashMap<ThreadId, Vec<bool>>,
}

impl Turn {
    /// Whether a collection begins with this report.
    fn begins(&mut self, place: usize) -> bool {
        let thread = thread::current().id();
        if self.reported.len() >= MOST_THREADS {
            self.reported.retain(|id, _| *id == thread);
        }
        // The first report of a thread begins a collection.
        let reported = self.reported.entry(thread).or_insert_with(|| vec![true; place + 1]);
        let begins = reported.get(place).copied().unwrap_or(false);
        if begins {
            reported.fill(false);
        }
        reported.resize(reported.len().max(place + 1), false);
        if let Some(reported) = reported.get_mut(place) {
            *reported = true;
        }
        begins
    }
}

impl Collection {
    /// Creates a collection without collectors. If `recording` is set, they record problems.
    pub(super) fn new(context: &Context, recording: bool) -> Self {
        Self {
            worker: Worker::new(&context.host, recording),
            context: Arc::new(context.clone()),
            slots: Mutex::default(),
            turn: Mutex::default(),
            outgrown: AtomicBool::new(false),
        }
    }

    /// Adds a collector, which is created at its first reading.
    pub(super) fn add(&self, definition: &Definition) -> Arc<Slot> {
        let stats = CollectorStats {
            name: definition.name,
            read_nanos: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            series: AtomicU64::new(0),
            cut: AtomicU64::new(0),
        };
        let slot = Arc::new(Slot {
            context: Arc::clone(&self.context),
            new: definition.new,
            work: Mutex::default(),
            discovered: Mutex::default(),
            stats: Arc::new(stats),
            fresh: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            cut_reported: AtomicBool::new(false),
            fault_reported: AtomicBool::new(false),
        });
        lock(&self.slots).push(Arc::clone(&slot));
        slot
    }

    /// Adds an instrument; returns its index for [`Collection::prepare`].
    pub(super) fn add_instrument(&self) -> usize {
        let mut turn = lock(&self.turn);
        let place = turn.instruments;
        turn.instruments += 1;
        place
    }

    /// Creates the collector and takes its baseline reading.
    pub(super) fn baseline(&self, slot: &Arc<Slot>) {
        self.read(std::slice::from_ref(slot), 0);
    }

    /// Reads all collectors if this report of the instrument begins a collection. The instrument reports while it holds
    /// the returned guard, so that a collection on another thread cannot begin to read meanwhile.
    pub(super) fn prepare(&self, place: usize) -> MutexGuard<'_, Turn> {
        let mut turn = lock(&self.turn);
        if turn.begins(place) {
            turn.cycle += 1;
            self.read(&lock(&self.slots), turn.cycle);
        }
        turn
    }

    pub(super) fn read(&self, slots: &[Arc<Slot>], cycle: u64) {
        for slot in slots {
            slot.fresh.store(false, Ordering::Release);
            slot.stats.series.store(0, Ordering::Relaxed);
            slot.stats.cut.store(0, Ordering::Relaxed);
        }
        let jobs = slots.iter().filter(|slot| !slot.is_broken()).map(|slot| Arc::clone(slot) as Arc<dyn Job>);
        self.worker.run(jobs, cycle);
        for slot in slots.iter().filter(|slot| !slot.is_fresh() && !slot.is_broken()) {
            slot.stats.errors.fetch_add(1, Ordering::Relaxed);
            slot.stats.failed.store(true, Ordering::Relaxed);
        }
    }

    /// The problems of a collector's last reading.
    pub(super) fn problems(&self, slot: &Arc<Slot>) -> Vec<Problem> {
        let job: Arc<dyn Job> = Arc::<Slot>::clone(slot);
        if let Some(path) = self.worker.hangs(&job) {
            return vec![Problem::no_answer(path)];
        }
        let mut problems = std::mem::take(&mut lock(&slot.work).problems);
        if !slot.is_fresh() && !slot.is_broken() {
            problems.push(Problem {
                path: self.context.host.proc(""),
                failed: true,
                words: "the collector had no time to read, since other files do not answer".to_owned(),
            });
        }
        problems
    }

    /// All collectors, in the order of addition.
    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        lock(&self.slots).clone()
    }

    /// Number of files read so far.
    pub(super) fn reads(&self) -> u64 {
        self.worker.reads()
    }
}

pub(super) struct Slot {
    context: Arc<Context>,
    new: fn(&Context) -> Box<dyn Collector>,
    work: Mutex<Work>,
    discovered: Mutex<Vec<Discovered>>,
    stats: Arc<CollectorStats>,
    /// Whether its reading of this collection has ended.
    fresh: AtomicBool,
    /// Whether it could not be created.
    broken: AtomicBool,
    cut_reported: AtomicBool,
    fault_reported: AtomicBool,
}

/// The part of a slot that the reading thread uses.
#[derive(Default)]
struct Work {
    collector: Option<Box<dyn Collector>>,
    problems: Vec<Problem>,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("stats", &self.stats).finish_non_exhaustive()
    }
}

impl Job for Slot {
    fn name(&self) -> String {
        format!("the collector {}", self.stats.name)
    }

    fn run(&self, reader: &mut Reader) {
        let begun = Instant::now();
        let failures = reader.failures();
        self.stats.failed.store(false, Ordering::Relaxed);
        let mut work = lock(&self.work);
        if work.collector.is_none() {
            match guarded(|| (self.new)(&self.context)) {
                Ok(collector) => work.collector = Some(collector),
                Err(fault) => {
                    error!(
                        "internal error in the collector {}, which does not run ({fault}); please report it",
                        self.stats.name
                    );
                    self.broken.store(true, Ordering::Release);
                    return;
                }
            }
        }
        if let Some(collector) = &mut work.collector
            && let Err(fault) = guarded(|| collector.read(reader))
        {
            self.panicked(&fault);
        }
        if let Some(collector) = &mut work.collector {
            lock(&self.discovered).extend(collector.discovered());
        }
        work.problems.extend(reader.problems());
        drop(work);
        let failed = reader.failures() - failures;
        if failed > 0 {
            self.stats.errors.fetch_add(failed, Ordering::Relaxed);
            self.stats.failed.store(true, Ordering::Relaxed);
        }
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.stats.read_nanos.store(nanos, Ordering::Relaxed);
        self.fresh.store(true, Ordering::Release);
    }
}

impl Slot {
    pub(super) fn stats(&self) -> &Arc<CollectorStats> {
        &self.stats
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Whether its last reading ended in time.
    pub(super) fn is_fresh(&self) -> bool {
        self.fresh.load(Ordering::Acquire)
    }

    /// Whether a panic was caught.
    pub(super) fn had_fault(&self) -> bool {
        self.is_broken() || self.fault_reported.load(Ordering::Relaxed)
    }

    /// Metrics that were discovered since the last call.
    pub(super) fn take_discovered(&self) -> Vec<Discovered> {
        std::mem::take(&mut lock(&self.discovered))
    }

    /// Lets the collector observe; returns false if its reading has not ended.
    pub(super) fn report(&self, observe: impl FnOnce(&dyn Collector)) -> bool {
        if !self.is_fresh() {
            return false;
        }
        let Some(work) = self.try_work() else { return false };
        if let Some(collector) = &work.collector
            && let Err(fault) = guarded(|| observe(&**collector))
        {
            self.panicked(&fault);
        }
        true
    }

    /// The number of series that the collector observes now. A panic is reported when they are collected.
    pub(super) fn count(&self, observe: impl FnOnce(&dyn Collector, &mut Observer<'_>)) -> usize {
        let mut out = Observer::new(Sink::Nowhere, usize::MAX);
        if let Some(collector) = self.try_work().as_ref().and_then(|work| work.collector.as_ref()) {
            let _fault = guarded(|| observe(&**collector, &mut out));
        }
        out.seen
    }

    /// The collector's state, unless it is being read.
    fn try_work(&self) -> Option<MutexGuard<'_, Work>> {
        match self.work.try_lock() {
            Ok(work) => Some(work),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Counts the series of a metric that were reported, and those that were dropped: here, and by the collector.
    pub(super) fn reported(&self, name: &str, reported: usize, [cut, by_collector]: [usize; 2], max_series: usize) {
        self.stats.series.fetch_add(reported as u64, Ordering::Relaxed);
        self.stats.cut.fetch_add((cut + by_collector) as u64, Ordering::Relaxed);
        if cut > 0 && !self.cut_reported.swap(true, Ordering::Relaxed) {
            warn!("{name} exceeds --max-series ({max_series}) by {cut} series; the excess is dropped (logged once)");
        }
    }

    /// Counts every panic but logs only the first, because a bug recurs in each cycle.
    fn panicked(&self, fault: &str) {
        self.stats.errors.fetch_add(1, Ordering::Relaxed);
        self.stats.failed.store(true, Ordering::Relaxed);
        if !self.fault_reported.swap(true, Ordering::Relaxed) {
            error!(
                "internal error in the collector {}, which loses metrics ({fault}); please report it",
                self.stats.name
            );
        }
    }
}
