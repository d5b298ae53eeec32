//! Directories of sysfs whose entries are things of the host (interfaces, sensors, arrays), and the small files in them.
//! A directory or file that is absent is normal: most hosts lack most hardware.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Host, Reader, files, read_small};
use crate::metrics::parse::number;

impl Reader {
    /// The names in a directory, sorted; `None` where there is none to read. `check` lists it as absent then.
    pub fn list(&mut self, dir: &Path) -> Option<Vec<OsString>> {
        let names = names(dir);
        if names.is_none() {
            self.note(dir, false, "");
        }
        names
    }

    /// A small file, trimmed; `None` where it is absent or cannot be read.
    pub fn small(&mut self, path: &Path) -> Option<Vec<u8>> {
        read_small(path)
    }

    /// Whether there is something at the path.
    pub fn exists(&mut self, path: &Path) -> bool {
        files::metadata(path).is_ok()
    }

    /// The last part of a link's target.
    pub fn link_name(&mut self, link: &Path) -> Option<String> {
        Some(files::read_link(link).ok()?.file_name()?.to_str()?.to_owned())
    }

    /// The whole number in a small file.
    pub fn small_number(&mut self, path: &Path) -> Option<u64> {
        number(&self.small(path)?)
    }

    /// The whole number, with or without a sign, in a small file.
    pub fn small_signed(&mut self, path: &Path) -> Option<i64> {
        signed(&self.small(path)?)
    }
}

/// A decimal number with or without a minus sign.
fn signed(text: &[u8]) -> Option<i64> {
    let magnitude = i64::try_from(number(text.strip_prefix(b"-").unwrap_or(text))?).ok()?;
    Some(if text.starts_with(b"-") { -magnitude } else { magnitude })
}

/// The names in a directory, sorted.
fn names(dir: &Path) -> Option<Vec<OsString>> {
    let mut names = files::list(dir).ok()?;
    names.sort_unstable();
    Some(names)
}

impl Host {
    /// A file of the network of the host's first process, or of this process where that cannot be read. The collector
    /// `network` logs which of them it is.
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
    }
}
