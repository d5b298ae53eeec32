//! A file that is read once per collection, and the result of its last reading.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use tracing::{info, warn};

use super::bounded::access;
use super::files::{self, Kept, read_at_start};

/// Result of the last reading of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Unread,
    /// The file had data.
    Good,
    /// The kernel does not provide the file. This is not a failure; its metrics are absent.
    Unsupported,
    /// The file exists but cannot be read; the text is the reason.
    Failed(String),
    /// An abandoned thread hangs in it. This was logged when the thread was abandoned.
    Stuck,
}

/// A file that is read once per collection.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    missing: &'static str,
    optional: bool,
    required: bool,
    may_be_empty: bool,
    holds_counters: bool,
    /// Checks whether the content is usable.
    usable: Option<fn(&[u8]) -> bool>,
    file: Option<Kept>,
    health: Health,
}

impl Source {
    /// Creates a source for the file at `path`. `missing` is a short text with the fix or the consequence if the kernel
    /// lacks the file. If it is empty, nothing is logged; the collector logs it once for all of its files.
    #[must_use]
    pub fn new(path: PathBuf, missing: &'static str) -> Self {
        Self {
            path,
            missing,
            optional: false,
            required: false,
            may_be_empty: false,
            holds_counters: false,
            usable: None,
            file: None,
            health: Health::Unread,
        }
    }

    /// A file that many hosts lack. If it is missing, nothing is logged, and `check` lists it as absent.
    #[must_use]
    pub fn optional(path: PathBuf) -> Self {
        Self { optional: true, ..Self::new(path, "") }
    }

    /// A file that every Linux has: if it is missing, the reading fails.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// A file that may be empty; otherwise an empty file is a failure.
    #[must_use]
    pub fn may_be_empty(mut self) -> Self {
        self.may_be_empty = true;
        self
    }

    /// A file with counters. While it cannot be read, their last totals are reported; gauges and states are omitted.
    #[must_use]
    pub fn holds_counters(mut self) -> Self {
        self.holds_counters = true;
        self
    }

    /// A file whose content must be `usable`; otherwise the reading fails.
    #[must_use]
    pub fn expecting(mut self, usable: fn(&[u8]) -> bool) -> Self {
        self.usable = Some(usable);
        self
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    pub(super) fn problem(&self) -> Option<Problem> {
        let (failed, words) = match &self.health {
            Health::Unread | Health::Good => return None,
            Health::Unsupported if self.missing.is_empty() && !self.optional => return None,
            Health::Unsupported => (false, self.missing.to_owned()),
            Health::Failed(why) => (true, why.clone()),
            Health::Stuck => (true, NO_ANSWER.to_owned()),
        };
        Some(Problem { path: self.path.clone(), failed, words })
    }

    /// Whether the last reading failed. A file that this kernel lacks is not a failure.
    #[must_use]
    pub fn failed(&self) -> bool {
        matches!(self.health, Health::Failed(_) | Health::Stuck)
    }

    /// Reads the whole file. `buffer` is only working memory: it grows to the longest file and is never cleared. `None`
    /// if there is no data; this is logged when it begins and when it ends.
    pub fn read<'b>(&mut self, buffer: &'b mut Vec<u8>) -> Option<&'b [u8]> {
        self.read_below(buffer, None)
    }

    /// As [`Source::read`]. A missing file is a failure if `mount`, the mount point of a kernel file system such as
    /// `/proc`, is empty or missing itself.
    pub(super) fn read_below<'b>(&mut self, buffer: &'b mut Vec<u8>, mount: Option<&Path>) -> Option<&'b [u8]> {
        let length = match self.pread(buffer) {
            Ok(length) => length,
            Err(error) => {
                self.file = None;
                self.note(self.classify(&error, mount));
                return None;
            }
        };
        let content = buffer.get(..length)?;
        // A truncated copy, or a file system that lost data in a crash.
        let fault = match content.first() {
            None if !self.may_be_empty => "it is empty",
            Some(0) if content.iter().all(|byte| *byte == 0) => "it holds nothing but NUL bytes",
            Some(_) if self.usable.is_some_and(|usable| !usable(content)) => "it has no line of the expected form",
            _ => {
                self.note(Health::Good);
                return Some(content);
            }
        };
        self.note(Health::Failed(fault.to_owned()));
        None
    }

    fn pread(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let _at = access(&self.path)?;
        self.file.take_if(|file| !file.has_name());
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(Kept::open(&self.path)?),
        };
        read_at_start(&file.file, buffer)
    }

    fn note(&mut self, health: Health) {
        let path = self.path.display();
        match (&self.health, &health) {
            (Health::Stuck, _) | (_, Health::Stuck) => {}
            (Health::Failed(_), Health::Good | Health::Unsupported) => info!("{path} can be read again"),
            (Health::Failed(_), Health::Failed(_)) | (Health::Unsupported, Health::Unsupported) => {}
            (_, Health::Unsupported) if self.missing.is_empty() => {}
            (_, Health::Unsupported) => info!("{path} is not there: {}", self.missing),
            (_, Health::Failed(why)) if self.holds_counters => {
                warn!("{path} cannot be read ({why}); its counters hold their last totals until it can");
            }
            (_, Health::Failed(why)) => {
                warn!("{path} cannot be read ({why}); its metrics are left out until it can");
            }
            _ => {}
        }
        self.health = health;
    }

    fn classify(&self, error: &io::Error, mount: Option<&Path>) -> Health {
        let is_void =
            |dir: &&Path| self.health != Health::Unsupported && self.path.starts_with(dir) && !files::has_entries(dir);
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::INPROGRESS) => Health::Stuck,
            Some(Errno::NOENT) if mount.as_ref().is_some_and(is_void) => {
                let dir = mount.unwrap_or(Path::new("/proc")).display();
                Health::Failed(format!("{dir} is empty or missing: is it mounted, is --root-path right?"))
            }
            Some(Errno::NOENT) if self.required => Health::Failed(if self.missing.is_empty() {
                "it is not there".to_owned()
            } else {
                format!("it is not there: {}", self.missing)
            }),
            Some(Errno::NOENT | Errno::OPNOTSUPP | Errno::NODEV) => Health::Unsupported,
            _ => Health::Failed(error.to_string()),
        }
    }
}

pub(super) const NO_ANSWER: &str = "it does not answer";

/// A file that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its path; empty for a remark.
    pub path: PathBuf,
    /// Whether it failed; otherwise it is only missing.
    pub failed: bool,
    /// The reason or the fix; empty if a missing file is normal.
    pub words: String,
}

impl Problem {
    /// Whether the file is only missing and many hosts lack it.
    #[must_use]
    pub fn is_normal(&self) -> bool {
        !self.failed && self.words.is_empty()
    }

    /// Whether it is a remark rather than a problem.
    #[must_use]
    pub fn is_remark(&self) -> bool {
        !self.failed && self.path.as_os_str().is_empty()
    }

    /// Whether the file did not answer in time.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        self.words == NO_ANSWER
    }

    /// A file that does not answer. An empty path means that the collector was not accessing a file.
    #[must_use]
    pub fn no_answer(path: PathBuf) -> Self {
        let path = if path.as_os_str().is_empty() { PathBuf::from("the collector") } else { path };
        Self { path, failed: true, words: NO_ANSWER.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(dir: &tempfile::TempDir) -> Source {
        Source::new(dir.path().join("file"), "not in this test")
    }

    #[test]
    fn a_file_is_read_whole_however_long() {
        let dir = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..100_000u32).flat_map(|n| n.to_string().into_bytes()).collect();
        std::fs::write(dir.path().join("file"), &content).unwrap();
        let (mut source, mut buffer) = (source(&dir), Vec::new());
        for _ in 0..3 {
            assert_eq!(source.read(&mut buffer), Some(&content[..]));
        }
    }

    #[test]
    fn a_file_that_shrinks_leaves_no_old_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let (mut source, mut buffer) = (source(&dir), Vec::new());
        for content in [&b"a long first content"[..], b"short", b""] {
            std::fs::write(dir.path().join("file"), content).unwrap();
            assert_eq!(source.read(&mut buffer).unwrap_or_default(), content);
        }
    }

    #[test]
    fn a_file_that_is_empty_or_of_nul_bytes_is_a_failure_and_one_that_may_be_empty_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (mut source, mut buffer) = (source(&dir), Vec::new());
        for content in [&b""[..], &[0; 4096]] {
            std::fs::write(dir.path().join("file"), content).unwrap();
            assert!(source.read(&mut buffer).is_none() && source.failed());
        }
        std::fs::write(dir.path().join("file"), "\0text").unwrap();
        assert_eq!(source.read(&mut buffer), Some(&b"\0text"[..]));
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(self::source(&dir).may_be_empty().read(&mut buffer), Some(&b""[..]));
    }

    #[test]
    fn a_content_that_is_not_as_expected_is_one_failure_until_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (mut source, mut buffer) = (source(&dir).expecting(|bytes| bytes.starts_with(b"cpu")), Vec::new());
        for (content, failed) in [("cpu 1", false), ("damage", true), ("damage", true), ("cpu 2", false)] {
            std::fs::write(dir.path().join("file"), content).unwrap();
            assert_eq!((source.read(&mut buffer).is_none(), source.failed()), (failed, failed), "{content}");
        }
    }

    #[test]
    fn a_missing_file_below_a_directory_that_is_not_mounted_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let (mut source, mut buffer) = (source(&dir), Vec::new());
        for _ in 0..2 {
            assert!(source.read_below(&mut buffer, Some(dir.path())).is_none());
            assert!(matches!(source.health(), Health::Failed(why) if why.contains("is it mounted")));
        }
        std::fs::write(dir.path().join("another"), "").unwrap();
        assert!(source.read_below(&mut buffer, Some(dir.path())).is_none());
        assert_eq!(*source.health(), Health::Unsupported);
    }

    #[test]
    fn that_a_required_file_is_missing_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let mut source = source(&dir).required();
        assert!(source.read(&mut Vec::new()).is_none());
        assert!(matches!(source.health(), Health::Failed(why) if why.contains("it is not there: not in this test")));
    }

    #[test]
    fn a_file_that_vanishes_is_unsupported_and_one_that_returns_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (mut source, mut buffer) = (source(&dir), Vec::new());
        assert!(source.read(&mut buffer).is_none());
        assert_eq!(*source.health(), Health::Unsupported);
        std::fs::write(dir.path().join("file"), "one").unwrap();
        assert!(source.read(&mut buffer).is_some());
        std::fs::remove_file(dir.path().join("file")).unwrap();
        assert!(source.read(&mut buffer).is_none());
        assert_eq!(*source.health(), Health::Unsupported);
        std::fs::write(dir.path().join("file"), "two").unwrap();
        assert_eq!(source.read(&mut buffer), Some(&b"two"[..]));
    }

    #[test]
    fn a_directory_in_the_place_of_a_file_is_a_failure_with_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("file")).unwrap();
        let (mut source, mut buffer) = (source(&dir), Vec::new());
        assert!(source.read(&mut buffer).is_none());
        assert!(matches!(source.health(), Health::Failed(why) if why.contains("directory")));
    }
}
