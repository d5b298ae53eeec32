//! Control groups: the tree below `/sys/fs/cgroup` and the resource usage of each group.
//!
//! Source: Documentation/admin-guide/cgroup-v2.rst. For version 1, only CPU time, memory, page faults and tasks are
//! read.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    Access, AtFlags, CWD, FileType, FsWord, Mode, OFlags, RawDir, Stat, accessat, fstat, fstatfs, openat,
};
use rustix::io::{Errno, read, retry_on_intr};

use super::{bounded, files};
use crate::metrics::parse::{fields, lines, number, pressure};

/// Maximum depth of a walk. A nested container in a user session is at a depth of about 10.
const MOST_DEPTH: usize = 16;
/// Maximum number of directories in a walk.
const MOST_FOLDERS: usize = 20_000;
/// Buffer size for a file. `io.stat` is the longest, with about 120 bytes per disk.
const FILE_BYTES: usize = 64 * 1024;
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
    folder: &'a OwnedFd,
}

impl Visited<'_> {
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

/// Maximum number of subdirectories whose names are kept. Their directories are open at the same time.
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
    fn below(&mut self, folder: &OwnedFd, stat: &Stat, name: &str, depth: usize) {
        let links = usize::try_from(stat.st_nlink).ok().filter(|_| self.counts_links);
        let count = links.and_then(|links| links.checked_sub(2));
        if count == Some(0) {
            return;
        }
        let kept = self.known.folders.remove(&stat.st_ino).map(|(_, names)| names);
        let children = kept.filter(|names| Some(names.len()) == count).and_then(|names| open_all(folder, names));
        let mut children = children.unwrap_or_else(|| {
            #[cfg(test)]
            (self.known.listings += 1);
            list(folder)
        });
        let length = self.path.len();
        for (child, opened) in &mut children {
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
            let Some(opened) = opened.take().or_else(|| open_child(folder, child)) else { continue };
            let Ok(stat) = fstat(&opened) else { continue };
            let visited =
                Visited { path: &self.path, parent: name, name: name_here, inode: stat.st_ino, folder: &opened };
            if (self.visit)(&visited) && depth > 1 {
                self.below(&opened, &stat, name_here, depth - 1);
            }
        }
        if children.len() <= MOST_KNOWN && Some(children.len()) == count {
            let names = children.into_iter().map(|(name, _)| name).collect();
            self.known.folders.insert(stat.st_ino, (self.known.walk, names));
        }
    }
}

fn open_child(folder: &OwnedFd, name: &CStr) -> Option<OwnedFd> {
    openat(folder, name, FOLDER.union(OFlags::NOFOLLOW), Mode::empty()).ok()
}

/// Opens all of these subdirectories; `None` if one does not exist.
fn open_all(folder: &OwnedFd, names: Vec<CString>) -> Option<Vec<(CString, Option<OwnedFd>)>> {
    names.into_iter().map(|name| open_child(folder, &name).map(|opened| (name, Some(opened)))).collect()
}

/// The subdirectories, not yet opened, in no particular order.
fn list(folder: &OwnedFd) -> Vec<(CString, Option<OwnedFd>)> {
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
                    found.push((name.to_owned(), None));
                }
            }
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    found
}

/// Whether the kernel counts an event of `memory.events` in the parents of a cgroup, too: without the mount option
/// `memory_localevents`. `mountinfo` is the list of mounts; without a cgroup file system in it, the answer is no.
#[must_use]
pub fn parents_have_events(mountinfo: &[u8]) -> bool {
    let mut options = lines(mountinfo).filter_map(|line| {
        let at = memchr::memmem::find(line, b" - cgroup2 ")?;
        line.get(at..)?.rsplit(|&byte| byte == b' ').next()
    });
    options.next().is_some_and(|options| options.split(|&byte| byte == b',').all(|one| one != b"memory_localevents"))
}

/// Number of OOM kills in a cgroup, and before that in the top-level cgroup that contains it.
///
/// The kernel counts a kill in the cgroup of the process first, then in each cgroup above (`memcg_memory_event`). So
/// while the number of the top-level cgroup stays the same, the number of the cgroup does, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kills {
    above: u64,
    own: u64,
}

/// Usage of a cgroup including its descendants. `None` if the controller is not enabled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in user mode, in microseconds.
    pub cpu_user: Option<u64>,
    /// CPU time in kernel mode, in microseconds.
    pub cpu_system: Option<u64>,
    /// Time throttled by the CPU quota, in microseconds.
    pub throttled: Option<u64>,
    /// Memory including page cache, in bytes.
    pub memory: Option<u64>,
    /// Anonymous memory, in bytes.
    pub anonymous: Option<u64>,
    /// Inactive file-backed memory, in bytes.
    pub inactive_file: Option<u64>,
    /// Page faults without disk access.
    pub minor_faults: Option<u64>,
    /// Page faults with disk access.
    pub major_faults: Option<u64>,
    /// Processes killed by the OOM killer.
    pub oom_kills: Option<u64>,
    /// Tasks: processes and threads.
    pub tasks: Option<u64>,
    /// Bytes read from and written to the counted devices.
    pub io: Option<[u64; 2]>,
    /// Pressure in microseconds: cpu, memory, io, each `some` and `full`.
    pub pressure: [[Option<u64>; 2]; 3],
}

impl Usage {
    /// Memory in use, as computed by the kubelet: memory without inactive file-backed pages.
    #[must_use]
    pub fn working_set(&self) -> Option<u64> {
        Some(self.memory?.saturating_sub(self.inactive_file.unwrap_or(0)))
    }
}

/// A file of a cgroup, or several that are needed together. Each costs three system calls per cgroup and collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// CPU time and throttled time.
    Cpu,
    /// Memory.
    Memory,
    /// Kinds of memory, and page faults. The longest file.
    MemoryKinds,
    /// Kills by the OOM killer.
    OomKills,
    /// Tasks.
    Tasks,
    /// I/O.
    Io,
    /// Pressure: three files.
    Pressure,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Cpu, Self::Memory, Self::MemoryKinds, Self::OomKills, Self::Tasks, Self::Io, Self::Pressure];
}

/// Reads the usage of cgroups with a shared buffer.
#[derive(Debug)]
pub struct UsageReader {
    hierarchy: Hierarchy,
    ticks_per_second: u64,
    parts: Vec<Part>,
    /// OOM kills in the top-level cgroup whose descendants are read.
    kills_above: Option<u64>,
    buffer: Vec<u8>,
}

impl UsageReader {
    /// Creates a reader of these parts for this hierarchy. `ticks_per_second` is the unit of version 1's CPU time.
    #[must_use]
    pub fn new(hierarchy: Hierarchy, ticks_per_second: u64, parts: Vec<Part>) -> Self {
        Self { hierarchy, ticks_per_second, parts, kills_above: None, buffer: vec![0; FILE_BYTES] }
    }

    /// The hierarchy being read.
    #[must_use]
    pub fn hierarchy(&self) -> &Hierarchy {
        &self.hierarchy
    }

    /// Reads the top-level cgroup before those in it, so that [`Kills`] of these can be used again. `None` if these are
    /// not to be used. A kernel without `memory.events.local` (before 5.3) may count events only in the cgroup itself.
    pub fn enter(&mut self, top: Option<&Visited<'_>>) {
        let top = top.filter(|_| self.parts.contains(&Part::OomKills));
        let top =
            top.filter(|top| accessat(top.folder, c"memory.events.local", Access::EXISTS, AtFlags::empty()).is_ok());
        self.kills_above = top.and_then(|top| self.kills(top.folder));
    }

    /// The kills of a cgroup whose usage was just read.
    #[must_use]
    pub fn kills_of(&self, usage: &Usage) -> Option<Kills> {
        Some(Kills { above: self.kills_above?, own: usage.oom_kills? })
    }

    /// The usage of a cgroup. `last` is [`UsageReader::kills_of`] its last usage. `counted` decides by major and minor
    /// number whether a device's I/O is included: a stacked device counts the same bytes again.
    pub fn usage(
        &mut self,
        visited: &Visited<'_>,
        last: Option<Kills>,
        counted: &mut dyn FnMut(u32, u32) -> bool,
    ) -> Usage {
        match &self.hierarchy {
            Hierarchy::Unified(_) => self.unified(visited.folder, last, counted),
            Hierarchy::Legacy { cpu, memory, pids, .. } => {
                let [cpu, memory, pids] = [cpu, memory, pids].map(|tree| tree.join(visited.path));
                self.legacy(&cpu, &memory, &pids)
            }
        }
    }

    fn unified(&mut self, folder: &OwnedFd, last: Option<Kills>, counted: &mut dyn FnMut(u32, u32) -> bool) -> Usage {
        let mut usage = Usage::default();
        for at in 0..self.parts.len() {
            match self.parts.get(at) {
                Some(Part::Cpu) => {
                    if let Some(bytes) = self.file(folder, c"cpu.stat") {
                        [usage.cpu_user, usage.cpu_system, usage.throttled] =
                            keyed(bytes, [b"user_usec", b"system_usec", b"throttled_usec"]);
                    }
                }
                Some(Part::Memory) => usage.memory = self.file(folder, c"memory.current").and_then(single),
                Some(Part::MemoryKinds) => {
                    if let Some(bytes) = self.file(folder, c"memory.stat") {
                        usage.set_kinds(keyed(bytes, [b"anon", b"inactive_file", b"pgfault", b"pgmajfault"]));
                    }
                }
                Some(Part::OomKills) => {
                    let last = last.filter(|last| self.kills_above == Some(last.above));
                    usage.oom_kills = last.map(|last| last.own).or_else(|| self.kills(folder));
                }
                Some(Part::Tasks) => usage.tasks = self.file(folder, c"pids.current").and_then(single),
                Some(Part::Io) => usage.io = self.file(folder, c"io.stat").map(|bytes| io_bytes(bytes, counted)),
                Some(Part::Pressure) => {
                    let names = [c"cpu.pressure", c"memory.pressure", c"io.pressure"];
                    for (name, slot) in names.into_iter().zip(&mut usage.pressure) {
                        if let Some(bytes) = self.file(folder, name) {
                            *slot = pressure(bytes);
                        }
                    }
                }
                None => {}
            }
        }
        usage
    }

    fn kills(&mut self, folder: &OwnedFd) -> Option<u64> {
        let [kills] = keyed(self.file(folder, c"memory.events")?, [b"oom_kill"]);
        kills
    }

    fn legacy(&mut self, cpu: &Path, memory: &Path, pids: &Path) -> Usage {
        let mut usage = Usage::default();
        let wants = |part: Part| self.parts.contains(&part);
        let [wants_cpu, wants_memory, wants_kinds, wants_kills, wants_tasks] =
            [Part::Cpu, Part::Memory, Part::MemoryKinds, Part::OomKills, Part::Tasks].map(wants);
        if let Some(cpu) = open_folder(cpu).filter(|_| wants_cpu) {
            if let Some(bytes) = self.file(&cpu, c"cpuacct.stat") {
                let [user, system] = keyed(bytes, [b"user", b"system"]);
                let micros = |ticks: u64| ticks.saturating_mul(1_000_000) / self.ticks_per_second.max(1);
                (usage.cpu_user, usage.cpu_system) = (user.map(micros), system.map(micros));
            }
            if let Some(bytes) = self.file(&cpu, c"cpu.stat") {
                let [throttled] = keyed(bytes, [b"throttled_time"]);
                usage.throttled = throttled.map(|nanos| nanos / 1_000);
            }
        }
        if let Some(memory) = open_folder(memory).filter(|_| wants_memory || wants_kinds || wants_kills) {
            if wants_memory {
                usage.memory = self.file(&memory, c"memory.usage_in_bytes").and_then(single);
            }
            if wants_kinds && let Some(bytes) = self.file(&memory, c"memory.stat") {
                let keys: [&[u8]; 4] = [b"total_rss", b"total_inactive_file", b"total_pgfault", b"total_pgmajfault"];
                usage.set_kinds(keyed(bytes, keys));
            }
            if wants_kills && let Some(bytes) = self.file(&memory, c"memory.oom_control") {
                [usage.oom_kills] = keyed(bytes, [b"oom_kill"]);
            }
        }
        if let Some(pids) = open_folder(pids).filter(|_| wants_tasks) {
            usage.tasks = self.file(&pids, c"pids.current").and_then(single);
        }
        usage
    }

    /// The lowest pid in the cgroup or, if it has none, in its descendants: the first process, unless pids have
    /// wrapped.
    pub fn first_process(&mut self, visited: &Visited<'_>) -> Option<u32> {
        self.first_below(visited.folder, 4)
    }

    fn first_below(&mut self, folder: &OwnedFd, depth: usize) -> Option<u32> {
        let lowest = |bytes: &[u8]| lines(bytes).filter_map(number).filter(|pid| *pid > 0).min();
        if let Some(pid) = self.file(folder, c"cgroup.procs").and_then(lowest) {
            return u32::try_from(pid).ok();
        }
        if depth == 0 {
            return None;
        }
        list(folder)
            .iter()
            .filter_map(|(name, _)| open_child(folder, name))
            .filter_map(|folder| self.first_below(&folder, depth - 1))
            .min()
    }

    /// Reads a file of the directory, up to the size of the buffer; `None` if the kernel does not provide it.
    fn file(&mut self, folder: &OwnedFd, name: &CStr) -> Option<&[u8]> {
        let file = openat(folder, name, OPEN, Mode::empty()).ok()?;
        let mut filled = 0;
        loop {
            let room = self.buffer.get_mut(filled..).filter(|room| !room.is_empty())?;
            let asked = room.len();
            match retry_on_intr(|| read(&file, &mut *room)) {
                Ok(0) => break,
                Ok(length) => {
                    filled += length;
                    // The kernel returns a short cgroup file in one read; a second read would only return the end of
                    // file.
                    if filled < 4096 && length < asked {
                        break;
                    }
                }
                Err(_) => return None,
            }
        }
        if filled == 0 {
            files::refuse_odd(&file);
        }
        self.buffer.get(..filled)
    }
}

impl Usage {
    fn set_kinds(&mut self, [anonymous, inactive, all, major]: [Option<u64>; 4]) {
        (self.anonymous, self.inactive_file, self.major_faults) = (anonymous, inactive, major);
        self.minor_faults = all.zip(major).map(|(all, major)| all.saturating_sub(major));
    }
}

fn open_folder(path: &Path) -> Option<OwnedFd> {
    let _at = bounded::access(path).ok()?;
    openat(CWD, path, OPEN | OFlags::DIRECTORY, Mode::empty()).ok()
}

/// Parses a file that contains a single number.
fn single(bytes: &[u8]) -> Option<u64> {
    number(bytes.trim_ascii())
}

/// Parses the numbers for `keys`, one `key number` pair per line. Each key is first searched for after the one before: the
/// longest of these files has about 50 lines and is read for every cgroup, and keys in the kernel's order take one pass.
fn keyed<const N: usize>(bytes: &[u8], keys: [&[u8]; N]) -> [Option<u64>; N] {
    let mut rest = bytes;
    keys.map(|key| {
        let (value, after) = keyed_from(rest, key).or_else(|| keyed_from(bytes, key))?;
        rest = after;
        number(value.trim_ascii())
    })
}

/// The value of the first line with the key, and the bytes after that line.
fn keyed_from<'a>(bytes: &'a [u8], key: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', bytes).chain([bytes.len()]) {
        // Comparing the blank first is cheaper.
        if bytes.get(start + key.len()) == Some(&b' ') && bytes.get(start..)?.starts_with(key) {
            return Some((bytes.get(start + key.len()..end)?, bytes.get(end..)?));
        }
        start = end + 1;
    }
    None
}

/// Sums the bytes read and written over the counted devices. A line is `8:0 rbytes=1 wbytes=2 rios=3 …`.
fn io_bytes(bytes: &[u8], counted: &mut dyn FnMut(u32, u32) -> bool) -> [u64; 2] {
    let mut sums = [0u64; 2];
    for line in lines(bytes) {
        let mut parts = fields(line);
        let Some((major, minor)) = parts.next().and_then(device) else { continue };
        if !counted(major, minor) {
            continue;
        }
        for (sum, key) in sums.iter_mut().zip([&b"rbytes="[..], b"wbytes="]) {
            // In the kernel's order. A device without I/O has no keys.
            if let Some(value) = parts.find_map(|part| number(part.strip_prefix(key)?)) {
                *sum = sum.saturating_add(value);
            }
        }
    }
    sums
}

fn device(text: &[u8]) -> Option<(u32, u32)> {
    let colon = text.iter().position(|&b| b == b':')?;
    let part = |bytes: &[u8]| u32::try_from(number(bytes)?).ok();
    Some((part(text.get(..colon)?)?, part(text.get(colon + 1..)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn write(root: &Path, path: &str, content: &str) {
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
    fn events_are_those_of_descendants_unless_the_mount_says_otherwise() {
        let mounts = |options: &str| {
            format!(
                "24 31 0:22 / /sys rw - sysfs sysfs rw\n30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 {options}\n"
            )
        };
        assert!(parents_have_events(mounts("rw,nsdelegate,memory_recursiveprot").as_bytes()));
        assert!(!parents_have_events(mounts("rw,nsdelegate,memory_localevents").as_bytes()));
        assert!(!parents_have_events(b"24 31 0:22 / /sys rw - sysfs sysfs rw\n"), "nothing is known");
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
    fn usage_of_version_2_is_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        write(root, "cgroup.controllers", "cpu io memory pids\n");
        write(root, "web/cpu.stat", "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 1\nthrottled_usec 7\n");
        write(root, "web/memory.current", "1048576\n");
        write(root, "web/memory.stat", "anon 4096\nfile 8192\ninactive_file 2048\npgfault 100\npgmajfault 40\n");
        write(root, "web/memory.events", "low 0\noom 2\noom_kill 1\n");
        write(root, "web/pids.current", "3\n");
        write(root, "web/io.stat", "253:0 rbytes=5 wbytes=6 rios=1\n8:0 rbytes=100 wbytes=200 rios=1 wios=2\n8:16\n");
        write(root, "web/cpu.pressure", "some avg10=0.00 total=11\nfull avg10=0.00 total=12\n");
        write(root, "web/cgroup.procs", "912\n77\n");
        let hierarchy = Hierarchy::find(root).unwrap();
        assert_eq!(hierarchy, Hierarchy::Unified(root.to_owned()));
        let mut reader = UsageReader::new(hierarchy, 100, Part::ALL.to_vec());
        let mut seen = Vec::new();
        Tree::open(root).unwrap().walk(&mut Known::default(), &mut |visited| {
            let usage = reader.usage(visited, None, &mut |major, _| major == 8);
            seen.push((usage, reader.first_process(visited)));
            true
        });
        let [(usage, first)] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((usage.cpu_user, usage.cpu_system, usage.throttled), (Some(20), Some(10), Some(7)));
        assert_eq!(
            (usage.memory, usage.anonymous, usage.working_set()),
            (Some(1 << 20), Some(4096), Some((1 << 20) - 2048))
        );
        assert_eq!((usage.minor_faults, usage.major_faults, usage.oom_kills), (Some(60), Some(40), Some(1)));
        assert_eq!((usage.tasks, usage.io), (Some(3), Some([100, 200])));
        assert_eq!(usage.pressure, [[Some(11), Some(12)], [None; 2], [None; 2]]);
        assert_eq!(*first, Some(77));
    }

    #[test]
    fn of_version_1_cpu_memory_and_tasks_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        write(root, "cpu,cpuacct/docker/cpuacct.stat", "user 200\nsystem 50\n");
        write(root, "cpu,cpuacct/docker/cpu.stat", "nr_periods 0\nthrottled_time 5000\n");
        write(root, "memory/docker/memory.usage_in_bytes", "4096\n");
        write(
            root,
            "memory/docker/memory.stat",
            "rss 1\ntotal_rss 2048\ntotal_inactive_file 96\ntotal_pgfault 9\ntotal_pgmajfault 4\n",
        );
        write(root, "pids/docker/pids.current", "2\n");
        let read = || {
            let mut reader = UsageReader::new(Hierarchy::find(root).unwrap(), 100, Part::ALL.to_vec());
            let mut seen = Vec::new();
            Tree::open(reader.hierarchy().root()).unwrap().walk(&mut Known::default(), &mut |visited| {
                seen.push((visited.path.to_owned(), reader.usage(visited, None, &mut |_, _| true)));
                true
            });
            seen
        };
        let seen = read();
        let [(_, usage)] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((usage.cpu_user, usage.cpu_system, usage.throttled), (Some(2_000_000), Some(500_000), Some(5)));
        assert_eq!((usage.memory, usage.anonymous, usage.working_set()), (Some(4096), Some(2048), Some(4000)));
        assert_eq!((usage.minor_faults, usage.major_faults, usage.tasks), (Some(5), Some(4), Some(2)));
        // systemd's own tree contains every unit, even if a controller is disabled for it.
        write(root, "systemd/docker/cgroup.procs", "");
        write(root, "systemd/web.service/cgroup.procs", "");
        write(root, "memory/web.service/memory.usage_in_bytes", "7\n");
        let mut with_units = read();
        with_units.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(with_units[0], seen[0]);
        assert_eq!((with_units[1].1.memory, with_units[1].1.cpu_user), (Some(7), None));
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
