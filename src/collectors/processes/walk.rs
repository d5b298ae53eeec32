//! Counts the processes of `/proc` in one pass without allocations.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::path::Path;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
use rustix::io::{Errno, read, retry_on_intr};

use crate::host::bounded::walk;
use crate::host::files;

/// Number of distinct states.
pub const STATES: usize = 7;
/// Index in [`Counts`] of all other states.
pub const UNKNOWN_AT: usize = STATES - 1;

/// Number of processes running, sleeping, blocked, idle, stopped, defunct, and in any other state.
pub type Counts = [u64; STATES];

/// Buffer size for the beginning of `/proc/[pid]/stat`: a pid, a name of at most 64 bytes with its escapes, the state.
const STAT_BYTES: usize = 256;
/// Buffer size for a few hundred directory entries.
const ENTRIES_BYTES: usize = 16 * 1024;

/// Counts the processes by state. A process that ends meanwhile is not counted. Returns `EACCES` or `EPERM` if a
/// process is not readable, and `ESRCH` if there is no process 1, which every pid namespace has.
pub fn count(proc: &Path) -> Result<Counts, Errno> {
    let walk = walk(proc).map_err(|_| Errno::INPROGRESS)?;
    let dir = openat(CWD, proc, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut room = [MaybeUninit::uninit(); ENTRIES_BYTES];
    let mut entries = RawDir::new(dir.as_fd(), &mut room);
    let mut counts = Counts::default();
    let mut first_seen = false;
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Err(Errno::INTR) => continue,
            entry => entry?,
        };
        let name = entry.file_name().to_bytes();
        if !is_pid(name) {
            continue;
        }
        walk.at(name).map_err(|_| Errno::INPROGRESS)?;
        match state_of(&dir, name) {
            Ok(state) => {
                first_seen |= name == b"1";
                if let Some(count) = counts.get_mut(state) {
                    *count += 1;
                }
            }
            Err(Errno::NOENT | Errno::SRCH) => {}
            Err(error) => return Err(error),
        }
    }
    if first_seen { Ok(counts) } else { Err(Errno::SRCH) }
}

/// Whether the name is a pid: digits without a leading zero. Pids are below 2^22.
fn is_pid(name: &[u8]) -> bool {
    const MOST_DIGITS: usize = 10;
    name.len() <= MOST_DIGITS && name.first().is_some_and(|&b| b != b'0') && name.iter().all(u8::is_ascii_digit)
}

/// The state of one process, as an index into [`Counts`].
fn state_of(dir: &OwnedFd, pid: &[u8]) -> Result<usize, Errno> {
    const FILE: &[u8] = b"/stat\0";
    let mut path = [0u8; 32];
    for (to, from) in path.iter_mut().zip(pid.iter().chain(FILE)) {
        *to = *from;
    }
    let path = CStr::from_bytes_until_nul(&path).map_err(|_| Errno::NAMETOOLONG)?;
    // Do not block on anything but a regular file, which would have no state.
    const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
    let file = retry_on_intr(|| openat(dir, path, FLAGS, Mode::empty()))?;
    let mut buffer = [0u8; STAT_BYTES];
    let length = match retry_on_intr(|| read(&file, &mut buffer)) {
        Err(Errno::AGAIN) => 0,
        length => length?,
    };
    if length == 0 {
        files::refuse_odd(&file);
    }
    Ok(state(buffer.get(..length).unwrap_or_default()))
}

/// The state in `/proc/[pid]/stat`: the letter after the last `)`, because the name may contain any byte.
pub(super) fn state(stat: &[u8]) -> usize {
    let letter = memchr::memrchr(b')', stat).and_then(|at| match stat.get(at + 1..) {
        Some([b' ', letter] | [b' ', letter, b' ' | b'\n', ..]) => Some(*letter),
        _ => None,
    });
    match letter {
        Some(b'R') => 0,
        Some(b'S') => 1,
        Some(b'D') => 2,
        Some(b'I') => 3,
        Some(b'T' | b't') => 4,
        Some(b'Z') => 5,
        _ => UNKNOWN_AT,
    }
}
