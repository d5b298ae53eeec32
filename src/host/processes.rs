//! Processes, from `/proc/[pid]` (proc_pid_stat(5)).

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::path::Path;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
use rustix::io::{Errno, read, retry_on_intr};

use super::{bounded, files};
use crate::metrics::parse::{fields, number};

/// Buffer size for `/proc/[pid]/stat`: about 50 numbers and a name.
const STAT_BYTES: usize = 1_024;
/// Buffer size for a few hundred directory entries.
const ENTRIES_BYTES: usize = 16 * 1024;

/// Fields of `/proc/[pid]/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat<'a> {
    /// Name of the executable, truncated to 15 bytes, or the name that the process has set.
    pub name: &'a [u8],
    /// State letter: `R` is running, `S` is sleeping.
    pub state: u8,
    /// CPU time in user mode, in clock ticks.
    pub user: u64,
    /// CPU time in kernel mode, in clock ticks.
    pub system: u64,
    pub threads: u32,
    /// Start time in clock ticks since boot. Pid and start time together identify a process uniquely.
    pub start: u64,
    /// Address space, in bytes.
    pub virtual_bytes: u64,
    /// Resident memory, in pages.
    pub resident_pages: u64,
}

impl<'a> Stat<'a> {
    /// Parses `/proc/[pid]/stat`. The name may contain any byte, so it ends at the last `)`.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let open = bytes.iter().position(|&b| b == b'(')?;
        let close = bytes.iter().rposition(|&b| b == b')')?;
        let name = bytes.get(open + 1..close)?;
        let mut rest = fields(bytes.get(close + 1..)?);
        // `nth` counts from the previous field.
        let state = *rest.next()?.first()?;
        let user = number(rest.nth(14 - 4)?)?;
        let system = number(rest.next()?)?;
        let threads = u32::try_from(number(rest.nth(20 - 16)?)?).ok()?;
        let start = number(rest.nth(22 - 21)?)?;
        let virtual_bytes = number(rest.next()?)?;
        let resident_pages = number(rest.next()?).unwrap_or(0);
        Some(Self { name, state, user, system, threads, start, virtual_bytes, resident_pages })
    }
}

/// Calls `visit` with the directory and with the name and pid of each process in it; `visit` returns whether it could read
/// the process. Returns whether it could read the first process: if not, processes are hidden.
///
/// # Errors
/// The directory cannot be read, or an error of `visit`.
pub(crate) fn each_pid(
    proc: &Path,
    mut visit: impl FnMut(&OwnedFd, &[u8], u32) -> Result<bool, Errno>,
) -> Result<bool, Errno> {
    let dir = openat(CWD, proc, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut room = [MaybeUninit::uninit(); ENTRIES_BYTES];
    let mut entries = RawDir::new(dir.as_fd(), &mut room);
    let mut first_seen = false;
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Err(Errno::INTR) => continue,
            entry => entry?,
        };
        let name = entry.file_name().to_bytes();
        let Some(pid) = pid(name) else { continue };
        first_seen |= visit(&dir, name, pid)? && pid == 1;
    }
    Ok(first_seen)
}

/// Calls `visit` with the pid and stat of each process; `proc` may also be the directory `task` of a process, to visit
/// its threads. Processes that end meanwhile are skipped. Returns whether the first process was visible: if not,
/// processes are hidden.
///
/// # Errors
/// The directory cannot be read.
pub fn each(proc: &Path, visit: &mut impl FnMut(u32, &Stat<'_>)) -> Result<bool, Errno> {
    let _at = bounded::access(proc).map_err(|_| Errno::INPROGRESS)?;
    let mut buffer = [0u8; STAT_BYTES];
    each_pid(proc, |dir, name, pid| {
        let stat = stat_of(dir, name, &mut buffer);
        Ok(stat.map(|stat| visit(pid, &stat)).is_some())
    })
}

/// Calls `read` with the stat of one process; `None` if it has ended or its stat is not readable.
pub fn one<T>(proc: &Path, pid: u32, read: impl FnOnce(&Stat<'_>) -> T) -> Option<T> {
    let stat = files::read_small(&proc.join(format!("{pid}/stat")))?;
    Stat::parse(&stat).map(|stat| read(&stat))
}

/// Parses a directory name that is a pid: digits without a leading zero.
fn pid(name: &[u8]) -> Option<u32> {
    let digits = name.first().is_some_and(|&b| b != b'0') && name.iter().all(u8::is_ascii_digit);
    digits.then(|| number(name)).flatten().and_then(|pid| u32::try_from(pid).ok())
}

/// Opens the stat of the process `pid` in the directory. Does not block on anything but a regular file.
pub(crate) fn open_stat(dir: &OwnedFd, pid: &[u8]) -> Result<OwnedFd, Errno> {
    const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
    const FILE: &[u8] = b"/stat\0";
    let mut path = [0u8; 32];
    for (to, from) in path.iter_mut().zip(pid.iter().chain(FILE)) {
        *to = *from;
    }
    let path = CStr::from_bytes_until_nul(&path).map_err(|_| Errno::NAMETOOLONG)?;
    retry_on_intr(|| openat(dir, path, FLAGS, Mode::empty()))
}

fn stat_of<'b>(dir: &OwnedFd, pid: &[u8], buffer: &'b mut [u8; STAT_BYTES]) -> Option<Stat<'b>> {
    let file = open_stat(dir, pid).ok()?;
    let length = retry_on_intr(|| read(&file, &mut *buffer)).unwrap_or(0);
    if length == 0 {
        files::refuse_odd(&file);
    }
    Stat::parse(buffer.get(..length)?)
}

/// The number of open file descriptors of a process, from `/proc/[pid]/fd`; `None` if it is not accessible. Since Linux
/// 6.2 it is the size of the directory.
#[must_use]
pub fn open_files(dir: &Path) -> Option<u64> {
    let _at = bounded::access(dir).ok()?;
    let procfs = rustix::fs::statfs(dir).ok()?.f_type == rustix::fs::PROC_SUPER_MAGIC;
    match rustix::fs::stat(dir).ok()?.st_size {
        // On other file systems, the size of a directory is not a count.
        count if procfs && count > 0 => u64::try_from(count).ok(),
        _ => files::list(dir).ok().map(|names| names.len() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] =
        b"77 (a) b) S 1 77 77 0 -1 4194560 1 2 3 4 110 20 0 0 20 0 5 0 4242 1048576 250 18446744073709551615 1 1 0\n";

    #[test]
    fn a_line_is_read_from_behind_its_name() {
        let stat = Stat::parse(LINE).unwrap();
        assert_eq!((stat.name, stat.state, stat.user, stat.system), (&b"a) b"[..], b'S', 110, 20));
        assert_eq!((stat.threads, stat.start, stat.virtual_bytes, stat.resident_pages), (5, 4242, 1_048_576, 250));
        for cut in 0..LINE.len() - 30 {
            let _ = Stat::parse(&LINE[..cut]);
        }
    }

    #[test]
    fn each_process_of_a_recorded_host_is_visited_once() {
        let dir = tempfile::tempdir().unwrap();
        for pid in ["1", "77", "self", "0", "12x"] {
            std::fs::create_dir(dir.path().join(pid)).unwrap();
            std::fs::write(dir.path().join(pid).join("stat"), LINE).unwrap();
        }
        std::fs::create_dir(dir.path().join("99")).unwrap();
        let mut seen = Vec::new();
        assert_eq!(each(dir.path(), &mut |pid, _| seen.push(pid)), Ok(true));
        seen.sort_unstable();
        assert_eq!(seen, [1, 77]);
    }
}
