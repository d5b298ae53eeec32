//! The reader of a collection: the shared buffer, files that several collectors need, and the number of failures.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::bounded::DEADLINE_MOST;
use super::shared::{SharedFile, SharedFiles};
use super::{Host, Problem, Source, files};

/// Reads files for a collection. Each reading thread has its own reader.
#[derive(Debug)]
pub struct Reader {
    buffer: Vec<u8>,
    proc: PathBuf,
    shared: SharedFiles,
    cycle: u64,
    clock: fn(u64) -> Duration,
    now: Duration,
    /// When the waiting thread gives up on the reading.
    limit: Option<Instant>,
    failures: u64,
    /// Directories and small files without a [`Source`] whose failure has been logged.
    pub(super) unreadable: HashSet<PathBuf>,
    reads: Arc<AtomicU64>,
    problems: Option<Vec<Problem>>,
}

impl Reader {
    /// Creates a reader before its first cycle.
    #[must_use]
    pub fn new(host: &Host) -> Self {
        Self {
            buffer: Vec::new(),
            proc: host.proc.clone(),
            shared: SharedFiles::new(host),
            cycle: 0,
            clock: host.calls.clock,
            now: (host.calls.clock)(0),
            limit: None,
            failures: 0,
            unreadable: HashSet::new(),
            reads: Arc::default(),
            problems: None,
        }
    }

    /// Enables recording of problems, for [`Reader::problems`]; includes problems of this thread without a [`Source`].
    #[must_use]
    pub fn recording(mut self) -> Self {
        files::keep_refused();
        self.problems = Some(Vec::new());
        self
    }

    /// Counts read files in `reads`.
    #[must_use]
    pub(super) fn counting(mut self, reads: &Arc<AtomicU64>) -> Self {
        self.reads = Arc::clone(reads);
        self
    }

    /// Problems since the last call.
    pub fn problems(&mut self) -> Vec<Problem> {
        let Some(problems) = &mut self.problems else { return Vec::new() };
        let refused = files::refused().into_iter().map(|(path, words)| Problem { path, failed: true, words });
        // A source reports its own file.
        let refused: Vec<_> =
            refused.filter(|refused| problems.iter().all(|known| known.path != refused.path)).collect();
        std::mem::take(problems).into_iter().chain(refused).collect()
    }

    /// Starts the next collection: each file may be read once more. For tests and benchmarks, which read without a worker.
    pub fn next_cycle(&mut self) {
        self.cycle += 1;
        self.now = (self.clock)(self.cycle);
    }

    /// Start of this collection as time since boot, including suspend.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Starts the reading of a collector in this cycle, with the time limit `limit`.
    pub(super) fn begin(&mut self, cycle: u64, limit: Instant) {
        if self.cycle != cycle {
            self.cycle = cycle;
            self.now = (self.clock)(cycle);
        }
        self.limit = Some(limit);
    }

    /// 0 during the baseline reading, 1 in the first collection.
    #[must_use]
    pub fn cycle(&self) -> u64 {
        self.cycle
    }

    /// Remaining time of this collector. File reads need not check it; operations that wait for anything else (a file
    /// system, a socket) must be limited to a part of it.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.limit.map_or(DEADLINE_MOST, |limit| limit.saturating_duration_since(Instant::now()))
    }

    /// Reads a file of a collector; `None` if there is no data.
    pub fn read(&mut self, source: &mut Source) -> Option<&[u8]> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let content = source.read_below(&mut self.buffer, Some(&self.proc));
        if content.is_none() {
            self.failures += u64::from(source.failed());
            self.problems.iter_mut().for_each(|problems| problems.extend(source.problem()));
        }
        content
    }

    /// The content of `/proc/stat`, shared by the collectors cpu, processes and kernel.
    pub fn stat(&mut self) -> Option<&[u8]> {
        self.shared(|files| &mut files.stat)
    }

    /// The content of `/proc/vmstat`, shared by the collectors paging and kernel.
    pub fn vmstat(&mut self) -> Option<&[u8]> {
        self.shared(|files| &mut files.vmstat)
    }

    /// The content of `/proc/loadavg`, shared by the collectors load and kernel.
    pub fn loadavg(&mut self) -> Option<&[u8]> {
        self.shared(|files| &mut files.loadavg)
    }

    fn shared(&mut self, file: impl FnOnce(&mut SharedFiles) -> &mut SharedFile) -> Option<&[u8]> {
        let file = file(&mut self.shared);
        if file.read(self.cycle, &self.proc) {
            self.reads.fetch_add(1, Ordering::Relaxed);
            self.failures += u64::from(file.source.failed());
            self.problems.iter_mut().for_each(|problems| problems.extend(file.source.problem()));
        }
        file.content()
    }

    /// Counts a failure without a [`Source`].
    pub fn fail(&mut self) {
        self.failures += 1;
    }

    /// Records a missing or failed part without a [`Source`]; used only by `check`.
    pub fn note(&mut self, path: impl Into<PathBuf>, failed: bool, words: impl Into<String>) {
        if let Some(problems) = &mut self.problems {
            problems.push(Problem { path: path.into(), failed, words: words.into() });
        }
    }

    /// Whether problems are recorded.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.problems.is_some()
    }

    /// Adds a remark to the collector's line in `check`; not a problem.
    pub fn remark(&mut self, words: impl Into<String>) {
        self.note(PathBuf::new(), false, words);
    }

    /// Failed readings so far. Missing files are not failures.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures
    }

    #[cfg(test)]
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_file_is_read_once_a_collection() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        let file = dir.path().join("proc/vmstat");
        std::fs::write(&file, "pgfault 1\n").unwrap();
        let host = Host::new(&crate::host::Roots { root: Some(dir.path().to_owned()), ..Default::default() });
        let mut reader = Reader::new(&host);
        assert_eq!(reader.vmstat(), Some(&b"pgfault 1\n"[..]));
        std::fs::write(&file, "pgfault 2\n").unwrap();
        assert_eq!(reader.vmstat(), Some(&b"pgfault 1\n"[..]), "the same collection");
        reader.next_cycle();
        assert_eq!(reader.vmstat(), Some(&b"pgfault 2\n"[..]));
        assert_eq!((reader.reads(), reader.failures()), (2, 0));
    }
}
