//! Directories of sysfs with one entry per device (interfaces, sensors, arrays), and the small files in them. A missing
//! directory or file is normal, because most hosts lack most hardware. A directory or file that exists and may not be
//! read is a failure.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use tracing::{info, warn};

use super::source::NO_ANSWER;
use super::{Host, Reader, files};
use crate::metrics::parse::number;

impl Reader {
    /// The names in a directory, sorted; `None` if it is missing, which `check` lists as absent, or if it cannot be
    /// read, which is a failure.
    pub fn list(&mut self, dir: &Path) -> Option<Vec<OsString>> {
        Some(self.list_inodes(dir)?.into_iter().map(|(name, _)| name).collect())
    }

    /// As [`Reader::list`], with the number of each entry's inode. Of a class of devices, it tells a device from another
    /// that has its name now.
    pub fn list_inodes(&mut self, dir: &Path) -> Option<Vec<(OsString, u64)>> {
        match files::list_inodes(dir) {
            Ok(mut names) => {
                names.sort_unstable();
                self.readable(dir);
                return Some(names);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.readable(dir);
                self.note(dir, false, "");
            }
            Err(error) => self.unreadable(dir, &error),
        }
        None
    }

    /// A small file, trimmed; `None` if it is missing, has no value, or may not be read, which is a failure.
    pub fn small(&mut self, path: &Path) -> Option<Vec<u8>> {
        match files::read(path) {
            Ok(bytes) => {
                self.readable(path);
                return Some(bytes.trim_ascii().to_vec());
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => self.unreadable(path, &error),
            // Drivers have an error for "no value", such as EINVAL for the speed of a link that is down.
            Err(_) => {}
        }
        None
    }

    /// Counts a failure, and logs it if it is new.
    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        self.fail();
        if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) {
            // This was logged when the thread that hangs in it was abandoned.
            return self.note(path, true, NO_ANSWER);
        }
        let right = match error.kind() {
            ErrorKind::PermissionDenied => ": the agent's user needs the right to read it",
            _ => "",
        };
        let words = format!("{error}{right}");
        if self.unreadable.insert(path.to_owned()) {
            warn!("{} cannot be read ({words}); its metrics are left out until it can", path.display());
        }
        self.note(path, true, words);
    }

    fn readable(&mut self, path: &Path) {
        if self.unreadable.remove(path) {
            info!("{} can be read again", path.display());
        }
    }

    pub fn exists(&mut self, path: &Path) -> bool {
        files::metadata(path).is_ok()
    }

    /// The last component of a link's target.
    pub fn link_name(&mut self, link: &Path) -> Option<String> {
        Some(files::read_link(link).ok()?.file_name()?.to_str()?.to_owned())
    }

    pub fn small_number(&mut self, path: &Path) -> Option<u64> {
        number(&self.small(path)?)
    }

    pub fn small_signed(&mut self, path: &Path) -> Option<i64> {
        signed(&self.small(path)?)
    }
}

/// Parses a decimal number with an optional minus sign.
fn signed(text: &[u8]) -> Option<i64> {
    let magnitude = i64::try_from(number(text.strip_prefix(b"-").unwrap_or(text))?).ok()?;
    Some(if text.starts_with(b"-") { -magnitude } else { magnitude })
}

impl Host {
    /// A network file of the host's first process, or of this process if that is unreadable. The collector `network`
    /// logs which one is used.
    #[must_use]
    pub fn network_file(&self, name: &str) -> PathBuf {
        let own = match files::open(&self.proc("1/net/dev")) {
            Ok(_) => "1/net",
            Err(_) => "net",
        };
        self.proc(own).join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_number_is_digits_with_at_most_one_minus() {
        assert_eq!(signed(b"-273150"), Some(-273_150));
        assert_eq!(signed(b"41000"), Some(41_000));
        for bad in [&b""[..], b"-", b"--1", b"+1", b"1.5", b"9223372036854775808"] {
            assert_eq!(signed(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_absent_directory_has_no_names_and_is_listed_by_check() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::new(&crate::host::Roots { root: Some(dir.path().to_owned()), ..Default::default() });
        let mut reader = Reader::new(&host).recording();
        assert_eq!(reader.list(&dir.path().join("gone")), None);
        let problems = reader.problems();
        assert!(problems.len() == 1 && !problems[0].failed && problems[0].words.is_empty(), "{problems:?}");
        std::fs::write(dir.path().join("b"), "").unwrap();
        std::fs::write(dir.path().join("a"), "").unwrap();
        assert_eq!(reader.list(dir.path()).unwrap(), ["a", "b"]);
        assert_eq!(reader.failures(), 0);
    }

    #[test]
    fn a_directory_that_cannot_be_listed_is_a_failure_that_names_the_right() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::new(&crate::host::Roots { root: Some(dir.path().to_owned()), ..Default::default() });
        let mut reader = Reader::new(&host).recording();
        // Root may read every directory, so a file in its place stands for one that may not be listed.
        let file = dir.path().join("hwmon");
        std::fs::write(&file, "").unwrap();
        assert_eq!((reader.list(&file), reader.failures()), (None, 1));
        let problems = reader.problems();
        assert!(problems.len() == 1 && problems[0].failed && problems[0].path == file, "{problems:?}");
        reader.unreadable(&file, &ErrorKind::PermissionDenied.into());
        let problems = reader.problems();
        assert!(problems[0].failed && problems[0].words.ends_with("needs the right to read it"), "{problems:?}");
    }
}
