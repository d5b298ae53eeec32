//! Copies a fixture host to a temporary directory, so that a test can change its files between collections.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use heka_insights_agent::internals::collectors::{Context, Options};
use heka_insights_agent::internals::host::{Host, Roots};
use tempfile::TempDir;

use crate::kernel;

/// The fixture hosts of `tests/fixtures`.
pub const HOSTS: [&str; 4] = ["server", "old-kernel", "container", "hostile"];

/// Where a fixture host is.
pub fn place(host: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(host)
}

/// What to read at `root`, with the facts that the fixtures are made for, whatever machine the test runs on.
pub fn context(root: &Path, options: Options) -> Context {
    let mut host = Host::new(&Roots { root: Some(root.to_owned()), ..Roots::default() });
    (host.ticks_per_second, host.page_bytes, host.word_bits) = (100, 4096, 64);
    host.calls = kernel::CALLS;
    Context { host, options }
}

/// A host of the test's own.
pub struct FixtureHost(TempDir);

impl FixtureHost {
    /// One of [`HOSTS`]: a copy of its `/proc`, which a test may change, and the rest as it is.
    pub fn copy(host: &str) -> Self {
        let copy = Self::empty();
        for dir in ["sys", "etc"] {
            symlink(place(host).join(dir), copy.root().join(dir)).unwrap();
        }
        fs::create_dir(copy.root().join("proc")).unwrap();
        copy_tree(&place(host).join("proc"), &copy.root().join("proc"));
        copy
    }

    /// One of [`HOSTS`]: a copy of all of it.
    pub fn whole(host: &str) -> Self {
        let copy = Self::empty();
        copy_tree(&place(host), copy.root());
        copy
    }

    /// A host without any file.
    pub fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn root(&self) -> &Path {
        self.0.path()
    }

    /// Text that every log line about one of its files holds.
    pub fn mark(&self) -> &str {
        self.root().to_str().unwrap()
    }

    pub fn context(&self, options: Options) -> Context {
        context(self.root(), options)
    }

    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.root().join(path)).unwrap()
    }

    /// Writes a file, and the directories it is in.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        assert!(path.starts_with("proc/") || !self.root().join("sys").is_symlink(), "{path} is the fixture's own");
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Replaces a text that the file holds just once.
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = String::from_utf8(self.read(path)).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {path}");
        self.write(path, text.replacen(from, to, 1));
    }

    pub fn remove(&self, path: &str) {
        fs::remove_file(self.root().join(path)).unwrap();
    }

    /// Puts a directory in a file's place: reading it fails for everyone, root included.
    pub fn break_file(&self, path: &str) {
        self.remove(path);
        fs::create_dir(self.root().join(path)).unwrap();
    }

    /// Undoes [`FixtureHost::break_file`] with this content.
    pub fn mend_file(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::remove_dir(self.root().join(path)).unwrap();
        self.write(path, content);
    }

    /// A physical disk in sysfs, as `/sys/block/<name>` and the directory it leads to.
    pub fn add_disk(&self, name: &str) {
        let device = format!("devices/pci0000:00/0000:00:1f.2/host9/target9:0:0/9:0:0:0/block/{name}");
        self.write(&format!("sys/{device}/size"), "2048\n");
        fs::create_dir_all(self.root().join("sys/block")).unwrap();
        symlink(format!("../{device}"), self.root().join("sys/block").join(name)).unwrap();
    }
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (kind, source, target) = (entry.file_type().unwrap(), entry.path(), to.join(entry.file_name()));
        if kind.is_symlink() {
            symlink(fs::read_link(source).unwrap(), target).unwrap();
        } else if kind.is_dir() {
            fs::create_dir(&target).unwrap();
            copy_tree(&source, &target);
        } else {
            fs::copy(source, target).unwrap();
        }
    }
}
