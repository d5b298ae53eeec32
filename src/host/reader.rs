//! What a collection reads with: the shared buffer, the files that two collectors need, and the count of failures.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::bounded::DEADLINE_MOST;
use super::shared::SharedFiles;
use super::{Health, Host, Problem, Source, files};
use crate::metrics::parse::{fields, lines, number};

/// What a collection reads with. Each thread that reads has its own.
#[derive(Debug)]
pub struct Reader {
    buffer: Vec<u8>,
    pub(super) proc: PathBuf,
    pub(super) shared: SharedFiles,
    stat: Source,
    stat_buffer: Vec<u8>,
    stat_bytes: Option<usize>,
    stat_cycle: Option<u64>,
    pub(super) cycle: u64,
    clock: fn(u64) -> Duration,
    now: Duration,
    /// When the thread that waits for the reading leaves it behind.
    limit: Option<Instant>,
    pub(super) failures: u64,
    pub(super) reads: Arc<AtomicU64>,
    pub(super) problems: Option<Vec<Problem>>,
}

impl Reader {
    /// A reader of this host, before its first cycle.
    #[must_use]
    pub fn new(host: &Host) -> Self {
        Self {
            buffer: Vec::new(),
            proc: host.proc.clone(),
            shared: SharedFiles::new(host),
            stat: Source::new(host.proc("stat"), "is this a Linux /proc?")
                .required()
                .holds_counters()
                .expecting(|stat| lines(stat).any(is_pair)),
            stat_buffer: Vec::new(),
            stat_bytes: None,
            stat_cycle: None,
            cycle: 0,
            clock: host.calls.clock,
            now: (host.calls.clock)(0),
            limit: None,
            failures: 0,
            reads: Arc::default(),
            problems: None,
        }
    }

    /// Keeps what could not be read, for [`Reader::problems`]; of this thread also what no [`Source`] saw.
    #[must_use]
    pub fn recording(mut self) -> Self {
        files::keep_refused();
        self.problems = Some(Vec::new());
        self
    }

    /// Counts the files that it reads here.
    #[must_use]
    pub(super) fn counting(mut self, reads: &Arc<AtomicU64>) -> Self {
        self.reads = Arc::clone(reads);
        self
    }

    /// What could not be read since the last call.
    pub fn problems(&mut self) -> Vec<Problem> {
        let Some(problems) = &mut self.problems else { return Vec::new() };
        let refused = files::refused().into_iter().map(|(path, words)| Problem { path, failed: true, words });
        // A source reports its own file.
        let refused: Vec<_> =
            refused.filter(|refused| problems.iter().all(|known| known.path != refused.path)).collect();
        std::mem::take(problems).into_iter().chain(refused).collect()
    }

    /// Begins the next collection: each file may be read once more.
    pub fn next_cycle(&mut self) {
        self.cycle += 1;
        self.now = (self.clock)(self.cycle);
    }

    /// When this collection began: the time since boot, suspends included.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Begins a collector's reading in this cycle, which is waited for until `limit`.
    pub(super) fn begin(&mut self, cycle: u64, limit: Instant) {
        if self.cycle != cycle {
            self.cycle = cycle;
            self.now = (self.clock)(cycle);
        }
        self.limit = Some(limit);
    }

    /// 0 while the baselines are read, 1 at the first collection.
    #[must_use]
    pub fn cycle(&self) -> u64 {
        self.cycle
    }

    /// How much longer the collection waits for this collector. Files are read without asking; who waits for something
    /// else (a file system, a socket) waits no longer than a part of this.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.limit.map_or(DEADLINE_MOST, |limit| limit.saturating_duration_since(Instant::now()))
    }

    /// The content of a collector's own file, or `None` when there is none to have.
    pub fn read(&mut self, source: &mut Source) -> Option<&[u8]> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let content = source.read_below(&mut self.buffer, Some(&self.proc));
        if content.is_none() {
            self.failures += u64::from(source.failed());
            self.problems.iter_mut().for_each(|problems| problems.extend(source.problem()));
        }
        content
    }

    /// The content of `/proc/stat`, which the collectors cpu and processes share: one reading serves both.
    pub fn stat(&mut self) -> Option<&[u8]> {
        if self.stat_cycle != Some(self.cycle) {
            self.stat_cycle = Some(self.cycle);
            self.reads.fetch_add(1, Ordering::Relaxed);
            self.stat_bytes = self.stat.read_below(&mut self.stat_buffer, Some(&self.proc)).map(<[u8]>::len);
            self.failures += u64::from(self.stat.failed());
            self.problems.iter_mut().for_each(|problems| problems.extend(self.stat.problem()));
        }
        self.stat_buffer.get(..self.stat_bytes?)
    }

    /// How the last reading of `/proc/stat` went.
    #[must_use]
    pub fn stat_health(&self) -> &Health {
        self.stat.health()
    }

    /// Counts a failure that no [`Source`] saw.
    pub fn fail(&mut self) {
        self.failures += 1;
    }

    /// Records a missing or failed part where no [`Source`] saw it; for `check` alone.
    pub fn note(&mut self, path: impl Into<PathBuf>, failed: bool, words: impl Into<String>) {
        if let Some(problems) = &mut self.problems {
            problems.push(Problem { path: path.into(), failed, words: words.into() });
        }
    }

    /// Whether notes and remarks are kept.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.problems.is_some()
    }

    /// Adds a remark to the collector's line in `check`; nothing is missing or failed.
    pub fn remark(&mut self, words: impl Into<String>) {
        self.note(PathBuf::new(), false, words);
    }

    /// Readings that failed so far. Absent files are no failures.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// Files read so far.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }
}

/// A line of a name and a number, perhaps more.
pub(super) fn is_pair(line: &[u8]) -> bool {
    fields(line).nth(1).and_then(number).is_some()
}
