//! The resource usage of a cgroup, from its files. Some of them stay open for the next reading.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::path::Path;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, openat};
use rustix::io::{Errno, pread, retry_on_intr};

use super::{Hierarchy, OPEN, Visited, list, open_child};
use crate::host::files::{self, Kept};
use crate::host::{bounded, kept};
use crate::metrics::parse::{fields, lines, number, pressure};

/// Buffer size for a file. `io.stat` is the longest, with about 120 bytes per disk.
const FILE_BYTES: usize = 64 * 1024;
/// Maximum number of files that stay open. Each costs the kernel about 4.5 kB.
const MOST_OPEN: usize = 4096;
/// Number of walks after which a file that did not exist is looked for again: a controller can be enabled at any time, and
/// rarely is.
const LOOK_AGAIN: u64 = 6;

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

/// A file of a cgroup, or several that are needed together. A file costs one system call per collection if it stays
/// open, and otherwise three.
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
    open: OpenFiles,
}

/// Files of version 2 that stay open between readings, because opening and closing such a file takes three times as long
/// as reading it. An open file belongs to its cgroup: when that was removed, it cannot be read, even if the path exists
/// again.
#[derive(Debug)]
struct OpenFiles {
    /// By the inode of the cgroup, with the number of the last walk that read it.
    of: HashMap<u64, (u64, FilesOfOne)>,
    /// Number of the current walk.
    walk: u64,
    /// Number of further files that may stay open.
    room: usize,
    most: usize,
}

type FilesOfOne = Vec<(&'static CStr, Found)>;

#[derive(Debug)]
enum Found {
    File(Kept),
    /// There was none in the walk with this number.
    None(u64),
}

impl OpenFiles {
    fn new() -> Self {
        let most = kept::at_most(MOST_OPEN);
        Self { of: HashMap::new(), walk: 0, room: most, most }
    }

    fn count(&self) -> usize {
        let files = self.of.values().flat_map(|(_, files)| files);
        files.filter(|(_, found)| matches!(found, Found::File(_))).count()
    }

    /// Closes the files of the cgroups that were not read since the last call.
    fn close_unread(&mut self) {
        let now = self.walk;
        self.of.retain(|_, (walk, _)| *walk == now);
        self.walk += 1;
        self.room = self.most.saturating_sub(self.count());
    }
}

impl UsageReader {
    /// Creates a reader of these parts for this hierarchy. `ticks_per_second` is the unit of version 1's CPU time.
    #[must_use]
    pub fn new(hierarchy: Hierarchy, ticks_per_second: u64, parts: Vec<Part>) -> Self {
        Self {
            hierarchy,
            ticks_per_second,
            parts,
            kills_above: None,
            buffer: vec![0; FILE_BYTES],
            open: OpenFiles::new(),
        }
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
        let folder = top.and_then(Visited::folder);
        let folder =
            folder.filter(|folder| accessat(folder, c"memory.events.local", Access::EXISTS, AtFlags::empty()).is_ok());
        self.kills_above = folder.and_then(|folder| self.file(folder, c"memory.events")).and_then(kills);
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
            Hierarchy::Unified(_) => {
                let mut open = self.open.of.remove(&visited.inode).map(|(_, files)| files).unwrap_or_default();
                let usage = self.unified(visited, &mut open, last, counted);
                if !open.is_empty() {
                    self.open.of.insert(visited.inode, (self.open.walk, open));
                }
                usage
            }
            Hierarchy::Legacy { cpu, memory, pids, .. } => {
                let [cpu, memory, pids] = [cpu, memory, pids].map(|tree| tree.join(visited.path));
                self.legacy(&cpu, &memory, &pids)
            }
        }
    }

    /// To be called after each walk: closes the files of the cgroups that it did not read.
    pub fn walked(&mut self) {
        self.open.close_unread();
    }

    fn unified(
        &mut self,
        visited: &Visited<'_>,
        open: &mut FilesOfOne,
        last: Option<Kills>,
        counted: &mut dyn FnMut(u32, u32) -> bool,
    ) -> Usage {
        let mut usage = Usage::default();
        for at in 0..self.parts.len() {
            match self.parts.get(at) {
                Some(Part::Cpu) => {
                    if let Some(bytes) = self.kept(visited, open, c"cpu.stat") {
                        [usage.cpu_user, usage.cpu_system, usage.throttled] =
                            keyed(bytes, [b"user_usec", b"system_usec", b"throttled_usec"]);
                    }
                }
                Some(Part::Memory) => usage.memory = self.kept(visited, open, c"memory.current").and_then(single),
                Some(Part::MemoryKinds) => {
                    if let Some(bytes) = self.kept(visited, open, c"memory.stat") {
                        usage.set_kinds(keyed(bytes, [b"anon", b"inactive_file", b"pgfault", b"pgmajfault"]));
                    }
                }
                Some(Part::OomKills) => {
                    let last = last.filter(|last| self.kills_above == Some(last.above));
                    usage.oom_kills = match last {
                        Some(last) => Some(last.own),
                        // Rarely read, so that it does not stay open.
                        None => self.found(visited, open, c"memory.events", false).and_then(kills),
                    };
                }
                Some(Part::Tasks) => usage.tasks = self.kept(visited, open, c"pids.current").and_then(single),
                Some(Part::Io) => usage.io = self.kept(visited, open, c"io.stat").map(|bytes| io_bytes(bytes, counted)),
                Some(Part::Pressure) => {
                    let names = [c"cpu.pressure", c"memory.pressure", c"io.pressure"];
                    for (name, slot) in names.into_iter().zip(&mut usage.pressure) {
                        if let Some(bytes) = self.kept(visited, open, name) {
                            *slot = pressure(bytes);
                        }
                    }
                }
                None => {}
            }
        }
        usage
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
        self.first_below(visited.folder()?, 4)
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
            .filter_map(|name| open_child(folder, name))
            .filter_map(|folder| self.first_below(&folder, depth - 1))
            .min()
    }

    /// As [`UsageReader::found`], for a file that stays open.
    fn kept(&mut self, visited: &Visited<'_>, open: &mut FilesOfOne, name: &'static CStr) -> Option<&[u8]> {
        self.found(visited, open, name, true)
    }

    /// As [`UsageReader::file`], for a cgroup some of whose files are open, or known not to exist.
    fn found(
        &mut self,
        visited: &Visited<'_>,
        open: &mut FilesOfOne,
        name: &'static CStr,
        stays_open: bool,
    ) -> Option<&[u8]> {
        if let Some(at) = open.iter().position(|(open, _)| *open == name) {
            match open.get(at) {
                Some((_, Found::None(walk))) if self.open.walk - walk < LOOK_AGAIN => return None,
                Some((_, Found::File(file))) if file.has_name() => {
                    if let Some(length) = self.fill(&file.file) {
                        return self.buffer.get(..length);
                    }
                }
                _ => {}
            }
            // The file disappeared with its controller; if the controller is back, it is another file.
            open.swap_remove(at);
        }
        let file = match openat(visited.folder()?, name, OPEN, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => {
                open.push((name, Found::None(self.open.walk)));
                return None;
            }
            Err(_) => return None,
        };
        let length = self.fill(&file)?;
        if stays_open && self.open.room > 0 {
            self.open.room -= 1;
            open.push((name, Found::File(Kept::new(File::from(file)))));
        }
        self.buffer.get(..length)
    }

    /// Reads a file of the directory, up to the size of the buffer; `None` if the kernel does not provide it.
    fn file(&mut self, folder: &OwnedFd, name: &CStr) -> Option<&[u8]> {
        let file = openat(folder, name, OPEN, Mode::empty()).ok()?;
        let length = self.fill(&file)?;
        self.buffer.get(..length)
    }

    /// Reads a file into the buffer and returns its length; `None` if it is longer or cannot be read.
    fn fill(&mut self, file: impl AsFd) -> Option<usize> {
        let mut filled = 0;
        loop {
            let room = self.buffer.get_mut(filled..).filter(|room| !room.is_empty())?;
            let asked = room.len();
            match retry_on_intr(|| pread(&file, &mut *room, filled as u64)) {
                // The last two are a pipe's.
                Ok(0) | Err(Errno::AGAIN | Errno::SPIPE) => break,
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
        Some(filled)
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

/// The kills in `memory.events`.
fn kills(bytes: &[u8]) -> Option<u64> {
    let [kills] = keyed(bytes, [b"oom_kill"]);
    kills
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

#[cfg(test)]
mod tests {
    use super::super::tests::write;
    use super::super::{Known, Tree};
    use super::*;

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

    /// Reads the whole tree once, as a collector does.
    fn tasks(root: &Path, reader: &mut UsageReader, known: &mut Known) -> Vec<(String, Option<u64>)> {
        let mut seen = Vec::new();
        Tree::open(root).unwrap().walk(known, &mut |visited| {
            seen.push((visited.path.to_owned(), reader.usage(visited, None, &mut |_, _| true).tasks));
            true
        });
        reader.walked();
        seen.sort();
        seen
    }

    #[test]
    fn files_stay_open_as_long_as_their_cgroup_has_them() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        write(root, "cgroup.controllers", "pids\n");
        write(root, "a/pids.current", "1\n");
        write(root, "b/pids.current", "2\n");
        let mut reader = UsageReader::new(Hierarchy::find(root).unwrap(), 100, vec![Part::Tasks]);
        let mut known = Known::default();
        let mut read = || {
            let seen = tasks(root, &mut reader, &mut known);
            assert_eq!(reader.open.count() + reader.open.room, reader.open.most);
            (seen, reader.open.count())
        };
        let seen = |a, b| vec![("a".to_owned(), a), ("b".to_owned(), b)];
        assert_eq!(read(), (seen(Some(1), Some(2)), 2));
        write(root, "a/pids.current", "11\n");
        assert_eq!(read(), (seen(Some(11), Some(2)), 2), "the open file is read again");
        std::fs::remove_file(root.join("a/pids.current")).unwrap();
        assert_eq!(read(), (seen(None, Some(2)), 1), "the controller is off");
        write(root, "a/pids.current", "3\n");
        for _ in 1..LOOK_AGAIN {
            assert_eq!(read(), (seen(None, Some(2)), 1), "it is not looked for in every walk");
        }
        assert_eq!(read(), (seen(Some(3), Some(2)), 2), "and on again");
        std::fs::rename(root.join("b"), root.join("c")).unwrap();
        write(root, "b/pids.current", "4\n");
        std::fs::remove_dir_all(root.join("c")).unwrap();
        assert_eq!(read(), (seen(Some(3), Some(4)), 2), "another cgroup has the name");
        std::fs::remove_dir_all(root.join("b")).unwrap();
        assert_eq!(read(), (vec![("a".to_owned(), Some(3))], 1), "a removed cgroup's files are closed");
    }

    #[test]
    fn files_above_the_limit_are_read_and_not_left_open() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        write(root, "cgroup.controllers", "pids\n");
        for number in 0..5 {
            write(root, &format!("{number}/pids.current"), &format!("{number}\n"));
        }
        let mut reader = UsageReader::new(Hierarchy::find(root).unwrap(), 100, vec![Part::Tasks]);
        (reader.open.most, reader.open.room) = (3, 3);
        let expected: Vec<_> = (0..5).map(|number| (number.to_string(), Some(number))).collect();
        for _ in 0..3 {
            assert_eq!(tasks(root, &mut reader, &mut Known::default()), expected);
            assert_eq!((reader.open.count(), reader.open.room), (3, 0));
        }
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
}
