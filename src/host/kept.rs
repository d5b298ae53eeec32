//! Small files of a device that are read in every collection and stay open in between: in sysfs, opening and closing a
//! file costs ten times as much as reading it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::io::{pread, retry_on_intr};
use rustix::process::{Resource, getrlimit, setrlimit};

use super::bounded::access;
use super::files::{Kept, read_small};

/// Raises this process's limit of open files to the highest that it may set for itself. The usual limit of 1,024 is for
/// programs that use select(2).
pub fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without it, fewer files stay open.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// The number of files that one collector may keep open: `most`, but no more than an eighth of what this process may
/// have open.
pub fn at_most(most: usize) -> usize {
    getrlimit(Resource::Nofile).current.map_or(most, |limit| most.min(usize::try_from(limit / 8).unwrap_or(most)))
}

/// A directory of sysfs and its open files. A new one is needed when another device has its name, because the open files
/// remain those of the first device.
#[derive(Debug)]
pub struct KeptDir {
    path: PathBuf,
    files: BTreeMap<&'static str, Kept>,
}

impl KeptDir {
    /// A directory without open files.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, files: BTreeMap::new() }
    }

    /// The path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a small file, trimmed; `None` if it does not exist or has no value.
    pub fn read(&mut self, name: &'static str) -> Option<Vec<u8>> {
        let at = access(&self.path).ok()?;
        at.move_below(&self.path, name).ok()?;
        if !self.files.get(name).is_some_and(Kept::has_name) {
            self.files.remove(name);
            self.files.insert(name, Kept::open(&self.path.join(name)).ok()?);
        }
        let file = &self.files.get(name)?.file;
        let mut short = [0; 512];
        let length = retry_on_intr(|| pread(file, &mut short, 0)).ok()?;
        if length == short.len() {
            return read_small(&self.path.join(name));
        }
        // sysfs writes a file in one piece, so that a short read is all of it.
        Some(short.get(..length)?.trim_ascii().to_vec())
    }

    /// The number of open files.
    pub fn open(&self) -> usize {
        self.files.len()
    }

    /// Closes the files.
    pub fn close(&mut self) {
        self.files.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_stays_open_and_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("flags");
        let mut kept = KeptDir::new(dir.path().to_owned());
        assert_eq!(kept.read("flags"), None);
        let long = "x".repeat(5_000);
        for content in ["0x1003", "0x1", "", &long] {
            std::fs::write(&path, format!("{content}\n")).unwrap();
            assert_eq!(kept.read("flags"), Some(content.into()));
            assert_eq!(kept.files.len(), 1);
        }
        kept.close();
        assert_eq!((kept.files.len(), kept.read("flags")), (0, Some(long.into())));
    }

    #[test]
    fn a_file_that_was_replaced_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("flags");
        let mut kept = KeptDir::new(dir.path().to_owned());
        for content in ["1", "2"] {
            std::fs::write(dir.path().join("new"), content).unwrap();
            std::fs::rename(dir.path().join("new"), &path).unwrap();
            assert_eq!(kept.read("flags"), Some(content.into()));
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!((kept.read("flags"), kept.files.len()), (None, 0));
    }
}
