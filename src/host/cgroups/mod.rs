//! Control groups: the tree below `/sys/fs/cgroup` and the resource usage of each group (`usage.rs`).
//!
//! Source: Documentation/admin-guide/cgroup-v2.rst. For version 1, only CPU time, memory, page faults and tasks are
//! read.

mod usage;

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, FsWord, Mode, OFlags, RawDir, Stat, fstat, fstatfs, openat, statat};
use rustix::io::Errno;

use super::bounded;
pub use usage::{Kills, Part, Usage, UsageReader, parents_have_events};

/// Maximum depth of a walk. A nested container in a user session is at a depth of about 10.
const MOST_DEPTH: usize = 16;
/// Maximum number of directories in a walk.
const MOST_FOLDERS: usize = 20_000;
/// Buffer size for a few hundred directory entries.
const ENTRIES_BYTES: usize = 16 * 1024;

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
/// Only to open what is in it, which costs the kernel less than opening it for reading.
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// The type of all file systems in user space, of statfs(2).
const FUSE_MAGIC: FsWord = 0x6573_5546;

/// The cgroup interface of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// Version 2: one tree for all controllers.
    Unified(PathBuf),
    /// Version 1: one tree per controller. `walked` is systemd's own tree, which contains every unit, or the tree of
    /// `cpuacct`.
    Legacy {
        /// The tree that is walked.
        walked: PathBuf,
        /// The tree of `cpuacct`.
        cpu: PathBuf,
        /// The tree of `memory`.
        memory: PathBuf,
        /// The tree of `pids`.
        pids: PathBuf,
    },
}

impl Hierarchy {
    /// Finds the hierarchy below `/sys/fs/cgroup`; `None` if nothing is mounted there. A hybrid host, which has a
    /// version 2 tree without controllers at `unified`, counts as version 1.
    #[must_use]
    pub fn find(root: &Path) -> Option<Self> {
        let _at = bounded::access(root).ok()?;
        if root.join("cgroup.controllers").exists() {
            return Some(Self::Unified(root.to_owned()));
        }
        let of = |names: &[&str]| names.iter().map(|name| root.join(name)).find(|path| path.is_dir());
        let cpu = of(&["cpu,cpuacct", "cpuacct"])?;
        let walked = of(&["systemd"]).unwrap_or_else(|| cpu.clone());
        Some(Self::Legacy { walked, cpu, memory: root.join("memory"), pids: root.join("pids") })
    }

    /// The root of the tree that is walked.
    #[must_use]
    pub fn root(&self) -> &Path {
        match self {
            Self::Unified(root) | Self::Legacy { walked: root, .. } => root,
        }
    }
}

/// A cgroup visited by a walk.
#[derive(Debug)]
pub struct Visited<'a> {
    /// Path below the root, without leading or trailing slashes.
    pub path: &'a str,
    /// Name of the parent cgroup; empty at the top.
    pub parent: &'a str,
    /// Name of the cgroup.
    pub name: &'a str,
    /// Inode of its directory: a cgroup that was removed and created again has another one.
    pub inode: u64,
    above: &'a OwnedFd,
    name_above: &'a CStr,
    folder: OnceCell<Option<OwnedFd>>,
}

impl Visited<'_> {
    /// Its directory, which is opened at the first call; `None` if it was removed meanwhile.
    fn folder(&self) -> Option<&OwnedFd> {
        let is_same = |folder: &OwnedFd| fstat(folder).is_ok_and(|stat| stat.st_ino == self.inode);
        self.folder.get_or_init(|| open_child(self.above, self.name_above).filter(is_same)).as_ref()
    }

    /// Whether its parent is the root.
    #[must_use]
    pub fn is_top(&self) -> bool {
        self.parent.is_empty()
    }
}

/// Names of subdirectories, from earlier walks, by the inode of a directory that has only a few.
///
/// To list a cgroup, the kernel lists its 70 files, too, which costs as much as to read three of them. A directory has two
/// links more than subdirectories. So one with two links has no subdirectory, and one in which as many known
/// subdirectories exist as it has has no other. Neither is listed.
#[derive(Debug, Default)]
pub struct Known {
    folders: HashMap<u64, (u64, Vec<CString>)>,
    walk: u64,
    #[cfg(test)]
    listings: usize,
}

/// Maximum number of subdirectories whose names are kept.
const MOST_KNOWN: usize = 8;

/// A tree with an open root directory.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    folder: OwnedFd,
    at: bounded::At,
}

impl Tree {
    /// Opens the root.
    ///
    /// # Errors
    /// Errors of open(2), and `EINPROGRESS` if another thread hangs there.
    pub fn open(root: &Path) -> io::Result<Self> {
        let at = bounded::access(root)?;
        let folder = openat(CWD, root, FOLDER, Mode::empty())?;
        Ok(Self { root: root.to_owned(), folder, at })
    }

    /// Walks the tree, parents first. `visit` returns whether to walk the children of a cgroup. Directories that
    /// disappear during the walk, or in which another thread hangs, are skipped. Returns whether the whole tree was
    /// walked, within the limits.
    pub fn walk(&self, known: &mut Known, visit: &mut impl FnMut(&Visited<'_>) -> bool) -> bool {
        self.walk_at_most(MOST_FOLDERS, known, visit)
    }

    fn walk_at_most(&self, most: usize, known: &mut Known, visit: &mut impl FnMut(&Visited<'_>) -> bool) -> bool {
        known.walk += 1;
        // A file system in user space, such as lxcfs, need not count links.
        let counts_links = fstatfs(&self.folder).is_ok_and(|fs| fs.f_type != FUSE_MAGIC);
        let mut walk = Walk { tree: self, known, counts_links, left: most, path: String::new(), visit };
        if let Ok(stat) = fstat(&self.folder) {
            walk.below(&self.folder, &stat, "", MOST_DEPTH);
        }
        let (left, now) = (walk.left, known.walk);
        known.folders.retain(|_, (walk, _)| *walk == now);
        left > 0
    }
}

struct Walk<'a, F> {
    tree: &'a Tree,
    known: &'a mut Known,
    counts_links: bool,
    left: usize,
    path: String,
    visit: &'a mut F,
}

impl<F: FnMut(&Visited<'_>) -> bool> Walk<'_, F> {
    /// The number of subdirectories, where the file system counts them.
    fn count(&self, stat: &Stat) -> Option<usize> {
        usize::try_from(stat.st_nlink).ok().filter(|_| self.counts_links)?.checked_sub(2)
    }

    fn is_leaf(&self, stat: &Stat) -> bool {
        self.count(stat) == Some(0)
    }

    fn below(&mut self, folder: &OwnedFd, stat: &Stat, name: &str, depth: usize) {
        if self.is_leaf(stat) {
            return;
        }
        let count = self.count(stat);
        let kept = self.known.folders.remove(&stat.st_ino).map(|(_, names)| names);
        let children = kept.filter(|names| Some(names.len()) == count).and_then(|names| stat_all(folder, names));
        let children = children.unwrap_or_else(|| {
            #[cfg(test)]
            (self.known.listings += 1);
            list(folder).into_iter().map(|name| (name, None)).collect()
        });
        let length = self.path.len();
        for (child, stat) in &children {
            if self.left == 0 {
                return;
            }
            self.left -= 1;
            let Ok(name_here) = child.to_str() else { continue };
            self.path.truncate(length);
            if length > 0 {
                self.path.push('/');
            }
            self.path.push_str(name_here);
            if self.tree.at.move_below(&self.tree.root, &self.path).is_err() {
                continue;
            }
            let Some(stat) = stat.or_else(|| stat_child(folder, child)) else { continue };
            let visited = Visited {
                path: &self.path,
                parent: name,
                name: name_here,
                inode: stat.st_ino,
                above: folder,
                name_above: child,
                folder: OnceCell::new(),
            };
            // Most are leaves, and all that is read of them is open.
            let descends = (self.visit)(&visited) && depth > 1 && !self.is_leaf(&stat) && visited.folder().is_some();
            if let Some(Some(opened)) = visited.folder.into_inner().filter(|_| descends) {
                self.below(&opened, &stat, name_here, depth - 1);
            }
        }
        if children.len() <= MOST_KNOWN && Some(children.len()) == count {
            let names = children.into_iter().map(|(name, _)| name).collect();
            self.known.folders.insert(stat.st_ino, (self.known.walk, names));
        }
    }
}

/// A subdirectory; `None` if there is none of that name.
fn stat_child(folder: &OwnedFd, name: &CStr) -> Option<Stat> {
    let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    (FileType::from_raw_mode(stat.st_mode) == FileType::Directory).then_some(stat)
}

fn open_child(folder: &OwnedFd, name: &CStr) -> Option<OwnedFd> {
    openat(folder, name, FOLDER.union(OFlags::NOFOLLOW), Mode::empty()).ok()
}

/// All of these subdirectories; `None` if one does not exist.
fn stat_all(folder: &OwnedFd, names: Vec<CString>) -> Option<Vec<(CString, Option<Stat>)>> {
    names.into_iter().map(|name| stat_child(folder, &name).map(|stat| (name, Some(stat)))).collect()
}

/// The names of the subdirectories, in no particular order.
fn list(folder: &OwnedFd) -> Vec<CString> {
    let Ok(folder) = openat(folder, c".", OPEN | OFlags::DIRECTORY, Mode::empty()) else { return Vec::new() };
    let mut room = [MaybeUninit::uninit(); ENTRIES_BYTES];
    let mut entries = RawDir::new(folder.as_fd(), &mut room);
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) => {
                let name = entry.file_name();
                let folder = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
                if folder && !matches!(name.to_bytes(), b"." | b"..") {
                    found.push(name.to_owned());
                }
            }
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(super) fn write(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn walked(root: &Path, descend: impl Fn(&str) -> bool) -> Vec<String> {
        let mut seen = Vec::new();
        let whole = Tree::open(root).unwrap().walk(&mut Known::default(), &mut |visited| {
            seen.push(visited.path.to_owned());
            descend(visited.name)
        });
        assert!(whole);
        seen.sort();
        seen
    }

    /// The paths and inodes, in order.
    fn walked_again(root: &Path, known: &mut Known) -> Vec<(String, u64)> {
        let mut seen = Vec::new();
        Tree::open(root).unwrap().walk(known, &mut |visited| {
            seen.push((visited.path.to_owned(), visited.inode));
            true
        });
        seen.sort();
        seen
    }

    #[test]
    fn a_directory_with_few_subdirectories_is_listed_once_and_one_without_never() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "pods/1/box/cgroup.procs", "");
        write(dir.path(), "pods/2/box/cgroup.procs", "");
        if std::os::unix::fs::MetadataExt::nlink(&dir.path().metadata().unwrap()) != 3 {
            return; // a file system that does not count subdirectories
        }
        let mut known = Known::default();
        let listings = [(); 3].map(|()| {
            let before = known.listings;
            assert_eq!(walked_again(dir.path(), &mut known).len(), 5);
            known.listings - before
        });
        assert_eq!(listings, [4, 0, 0], "the root, and the parents of pods and boxes");
        std::fs::rename(dir.path().join("pods/1/box"), dir.path().join("pods/1/jar")).unwrap();
        assert!(walked_again(dir.path(), &mut known).iter().any(|(path, _)| path == "pods/1/jar"));
        std::fs::remove_dir_all(dir.path().join("pods")).unwrap();
        assert!(walked_again(dir.path(), &mut known).is_empty() && known.folders.is_empty(), "{known:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
        /// A step creates this directory, or moves it away if it exists: a cgroup's inode is never used again.
        #[test]
        fn known_subdirectories_hide_no_change(steps in proptest::collection::vec((0..3, 0..3, 0..4, any::<bool>()), 1..40)) {
            let (dir, gone) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let mut known = Known::default();
            for (number, (a, b, c, walks)) in steps.into_iter().enumerate() {
                let path = match c {
                    3 => dir.path().join(format!("{a}/{b}")),
                    c => dir.path().join(format!("{a}/{b}/{c}")),
                };
                if path.exists() {
                    std::fs::rename(&path, gone.path().join(number.to_string())).unwrap();
                } else {
                    std::fs::create_dir_all(&path).unwrap();
                }
                if walks {
                    let seen = walked_again(dir.path(), &mut known);
                    prop_assert_eq!(seen, walked_again(dir.path(), &mut Known::default()));
                }
            }
        }
    }

    #[test]
    fn the_tree_is_walked_as_far_as_asked() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a/b/c/cgroup.procs", "a/d/cgroup.procs", "e/cgroup.procs"] {
            write(dir.path(), path, "");
        }
        assert_eq!(walked(dir.path(), |_| true), ["a", "a/b", "a/b/c", "a/d", "e"]);
        assert_eq!(walked(dir.path(), |name| name != "b"), ["a", "a/b", "a/d", "e"]);
    }

    #[test]
    fn a_link_in_the_tree_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a/cgroup.procs", "");
        std::os::unix::fs::symlink(dir.path(), dir.path().join("a/loop")).unwrap();
        assert_eq!(walked(dir.path(), |_| true), ["a"]);
    }

    #[test]
    fn a_tree_that_is_too_large_is_not_walked_whole() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..3 {
            write(dir.path(), &format!("{number}/cgroup.procs"), "");
        }
        let tree = Tree::open(dir.path()).unwrap();
        let mut seen = 0;
        let whole = tree.walk_at_most(2, &mut Known::default(), &mut |_| {
            seen += 1;
            true
        });
        assert_eq!((whole, seen), (false, 2));
    }

    #[test]
    fn a_host_without_control_groups_has_none() {
        assert_eq!(Hierarchy::find(tempfile::tempdir().unwrap().path()), None);
    }
}
