//! Counts the processes of `/proc` in one pass. The files of some stay open for the next one.

use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::{PROC_SUPER_MAGIC, fstatfs};
use rustix::io::{Errno, pread, retry_on_intr};

use crate::host::bounded::walk;
use crate::host::processes::{each_pid, open_stat};
use crate::host::{files, kept};

/// Number of distinct states.
pub const STATES: usize = 7;
/// Index in [`Counts`] of all other states.
pub const UNKNOWN_AT: usize = STATES - 1;

/// Number of processes running, sleeping, blocked, idle, stopped, defunct, and in any other state.
pub type Counts = [u64; STATES];

/// Buffer size for the beginning of `/proc/[pid]/stat`: a pid, a name of at most 64 bytes with its escapes, the state.
const STAT_BYTES: usize = 256;

/// Most files that stay open. Each costs the kernel about 5 kB.
const MOST_OPEN: usize = 128;

/// Counts the processes by state.
///
/// Opening and closing `/proc/[pid]/stat` costs more than reading it, so the files of the lowest pids, which are those
/// of the processes that live longest, stay open. An open file belongs to its process: when that has ended, it cannot
/// be read, even if the pid is in use again.
#[derive(Debug)]
pub struct Walk {
    /// In ascending order of their pids, as `/proc` lists them.
    open: Vec<(u32, OwnedFd)>,
    most_open: usize,
}

impl Walk {
    pub fn new() -> Self {
        Self { open: Vec::new(), most_open: kept::at_most(MOST_OPEN) }
    }

    /// Counts once. A process that ends meanwhile is not counted. Returns `EACCES` or `EPERM` if a process is not
    /// readable, and `ESRCH` if there is no process 1, which every pid namespace has.
    pub fn count(&mut self, proc: &Path) -> Result<Counts, Errno> {
        let walk = walk(proc).map_err(|_| Errno::INPROGRESS)?;
        let mut counts = Counts::default();
        let capacity = self.open.len();
        let mut before = std::mem::replace(&mut self.open, Vec::with_capacity(capacity)).into_iter().peekable();
        let first_seen = each_pid(proc, |dir, name, pid| {
            walk.at(name).map_err(|_| Errno::INPROGRESS)?;
            // Processes that have ended are not listed.
            while before.next_if(|(open, _)| *open < pid).is_some() {}
            let open = before.next_if(|(open, _)| *open == pid).map(|(_, file)| file);
            let (state, file) = match read(dir, name, open) {
                Err(Errno::NOENT | Errno::SRCH) => return Ok(false),
                read => read?,
            };
            if let Some(count) = counts.get_mut(state) {
                *count += 1;
            }
            if let Some(file) = file
                && self.open.len() < self.most_open
            {
                self.open.push((pid, file));
            }
            Ok(true)
        })?;
        if first_seen { Ok(counts) } else { Err(Errno::SRCH) }
    }
}

/// The state of one process, and its file if that may stay open. Reads the file that is open, unless its process has
/// ended.
fn read(dir: &OwnedFd, pid: &[u8], open: Option<OwnedFd>) -> Result<(usize, Option<OwnedFd>), Errno> {
    if let Some(file) = open
        && let Ok(state) = state_in(&file)
    {
        return Ok((state, Some(file)));
    }
    let file = open_stat(dir, pid)?;
    let state = state_in(&file)?;
    // In another file system, a file can be read after another one has taken its name.
    let in_procfs = fstatfs(&file).is_ok_and(|system| system.f_type == PROC_SUPER_MAGIC);
    Ok((state, Some(file).filter(|_| in_procfs)))
}

/// The state in an open file, as an index into [`Counts`].
fn state_in(file: &OwnedFd) -> Result<usize, Errno> {
    let mut buffer = [0u8; STAT_BYTES];
    let length = match retry_on_intr(|| pread(file, &mut buffer, 0)) {
        // A pipe.
        Err(Errno::AGAIN | Errno::SPIPE) => 0,
        length => length?,
    };
    if length == 0 {
        files::refuse_odd(file);
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

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::symlink;
    use std::process::{Child, Command, Stdio};

    use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

    use super::*;

    /// A process that waits for its input to end, stopped by a signal.
    fn stopped() -> Child {
        let child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        kill_process(pid, Signal::STOP).unwrap();
        assert!(waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap().1.stopped());
        child
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn stopped_in(counts: &Counts) -> u64 {
        counts[4]
    }

    #[test]
    fn a_file_stays_open_until_its_process_ends_and_a_pid_used_again_is_another_process() {
        let host = tempfile::tempdir().unwrap();
        let process = |pid: &str| host.path().join(pid);
        let (first, second) = (stopped(), stopped());
        symlink("/proc/self", process("1")).unwrap();
        symlink(format!("/proc/{}", first.id()), process("5")).unwrap();
        let mut walk = Walk::new();
        assert_eq!(stopped_in(&walk.count(host.path()).unwrap()), 1);
        let files = |walk: &Walk| walk.open.iter().map(|(pid, file)| (*pid, file.as_raw_fd())).collect::<Vec<_>>();
        let open = files(&walk);
        assert_eq!(open.len(), 2);
        assert_eq!(stopped_in(&walk.count(host.path()).unwrap()), 1);
        assert_eq!(files(&walk), open, "they were opened again");
        // The state is the current one.
        kill_process(Pid::from_child(&first), Signal::KILL).unwrap();
        while stopped_in(&walk.count(host.path()).unwrap()) > 0 {}
        assert_eq!(files(&walk), open);
        end(first);
        assert_eq!(walk.count(host.path()).unwrap().iter().sum::<u64>(), 1, "it has ended");
        assert_eq!(walk.open.len(), 1);
        std::fs::remove_file(process("5")).unwrap();
        symlink(format!("/proc/{}", second.id()), process("5")).unwrap();
        assert_eq!(stopped_in(&walk.count(host.path()).unwrap()), 1);
        // Ends between two walks, and its pid is another process at once.
        end(second);
        let third = stopped();
        std::fs::remove_file(process("5")).unwrap();
        symlink(format!("/proc/{}", third.id()), process("5")).unwrap();
        assert_eq!(walk.open.len(), 2);
        assert_eq!(stopped_in(&walk.count(host.path()).unwrap()), 1);
        end(third);
    }

    #[test]
    fn files_that_are_open_are_bounded_and_of_procfs_only() {
        let host = tempfile::tempdir().unwrap();
        symlink("/proc/self", host.path().join("1")).unwrap();
        std::fs::create_dir(host.path().join("2")).unwrap();
        std::fs::write(host.path().join("2/stat"), "2 (a) S 0").unwrap();
        let mut walk = Walk::new();
        assert_eq!(walk.count(host.path()).unwrap().iter().sum::<u64>(), 2);
        assert_eq!(walk.open.iter().map(|(pid, _)| *pid).collect::<Vec<_>>(), [1]);
        for pid in 3..200 {
            symlink("/proc/self", host.path().join(pid.to_string())).unwrap();
        }
        for _ in 0..2 {
            assert_eq!(walk.count(host.path()).unwrap().iter().sum::<u64>(), 199);
            assert!(!walk.open.is_empty() && walk.open.len() <= MOST_OPEN, "{}", walk.open.len());
        }
    }
}
