//! Directories of sysfs with one entry per device (interfaces, sensors, arrays), and the small files in them. A missing
//! directory or file is normal, because most hosts lack most hardware.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Host, Reader, files, read_small};
use crate::metrics::parse::number;

impl Reader {
    /// The names in a directory, sorted; `None` if it is missing or unreadable, which `check` lists as absent.
    pub fn list(&mut self, dir: &Path) -> Option<Vec<OsString>> {
        let names = names(dir);
        if names.is_none() {
            self.note(dir, false, "");
        }
        names
    }

    /// A small file, trimmed; `None` if it is missing or unreadable.
    pub fn small(&mut self, path: &Path) -> Option<Vec<u8>> {
        read_small(path)
    }

    /// Whether the path exists.
    pub fn exists(&mut self, path: &Path) -> bool {
        files::metadata(path).is_ok()
    }

    /// The last component of a link's target.
    pub fn link_name(&mut self, link: &Path) -> Option<String> {
        Some(files::read_link(link).ok()?.file_name()?.to_str()?.to_owned())
    }

    /// Parses a small file as an unsigned integer.
    pub fn small_number(&mut self, path: &Path) -> Option<u64> {
        number(&self.small(path)?)
    }

    /// Parses a small file as a signed integer.
    pub fn small_signed(&mut self, path: &Path) -> Option<i64> {
        signed(&self.small(path)?)
    }
}

/// Parses a decimal number with an optional minus sign.
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
    }
}
