//! A FUSE file system with a single file whose reads block until the test answers them, or with an empty directory on
//! which statfs(2) and readdir(3) block. Needs root and `/dev/fuse`.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// The requests that are served (`linux/fuse.h`).
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
const READDIR: u32 = 28;
const RELEASEDIR: u32 = 29;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

const NOT_IMPLEMENTED: i32 = -38;
const IO_ERROR: i32 = -5;

/// What a read gets.
#[derive(Clone)]
enum Answer {
    /// Nothing: it waits.
    None,
    Content(Vec<u8>),
    Error,
}

/// A read of the file or the directory that waits, or a statfs.
#[derive(Clone, Copy)]
struct Waiting {
    request: u64,
    offset: u64,
    size: u32,
}

struct State {
    answer: Answer,
    waiting: Vec<Waiting>,
    reads: usize,
}

/// The file, mounted for as long as this lives.
pub struct HangingFile {
    path: PathBuf,
    device: Arc<File>,
    state: Arc<Mutex<State>>,
}

impl HangingFile {
    /// Mounts it over the file at `path`. `None`, with a line on standard error, where this process may not: a test is then
    /// skipped, unless HEKA_REQUIRE_FUSE is set.
    pub fn over(path: &Path) -> Option<Self> {
        Self::of_mode(path, 0o100_444)
    }

    /// Mounts a directory, an empty file system, over the one at `path`.
    pub fn file_system(path: &Path) -> Option<Self> {
        Self::of_mode(path, 0o040_555)
    }

    fn of_mode(path: &Path, mode: u32) -> Option<Self> {
        let mounted = Self::mount(path, mode);
        if let Err(error) = &mounted {
            assert!(std::env::var_os("HEKA_REQUIRE_FUSE").is_none(), "FUSE cannot be mounted: {error}");
            #[allow(clippy::print_stderr)] // that a test did nothing must be seen
            {
                eprintln!("skipped: FUSE cannot be mounted ({error}); it needs root and /dev/fuse");
            }
        }
        mounted.ok()
    }

    fn mount(path: &Path, mode: u32) -> std::io::Result<Self> {
        let device = Arc::new(File::options().read(true).write(true).open("/dev/fuse")?);
        let options = format!("fd={},rootmode={mode:o},user_id=0,group_id=0", device.as_raw_fd());
        let options = std::ffi::CString::new(options).unwrap();
        mount("hanging", path, "fuse", MountFlags::empty(), &*options)?;
        let state = State { answer: Answer::None, waiting: Vec::new(), reads: 0 };
        let state = Arc::new(Mutex::new(state));
        let (file, shared) = (Arc::clone(&device), Arc::clone(&state));
        std::thread::spawn(move || serve(&file, mode, &shared));
        Ok(Self { path: path.to_owned(), device, state })
    }

    /// How many reads have begun.
    pub fn reads(&self) -> usize {
        self.state.lock().unwrap().reads
    }

    /// Answers the reads that wait, and those to come.
    pub fn answer(&self, content: impl Into<Vec<u8>>) {
        self.settle(Answer::Content(content.into()));
    }

    /// Lets the reads to come wait.
    pub fn hang(&self) {
        self.state.lock().unwrap().answer = Answer::None;
    }

    fn settle(&self, answer: Answer) {
        let mut state = self.state.lock().unwrap();
        state.answer = answer.clone();
        for read in std::mem::take(&mut state.waiting) {
            reply_to_read(&self.device, read, &answer);
        }
    }
}

impl Drop for HangingFile {
    fn drop(&mut self) {
        self.settle(Answer::Error);
        let _ = unmount(&self.path, UnmountFlags::DETACH);
    }
}

fn serve(mut device: &File, mode: u32, state: &Mutex<State>) {
    let mut room = vec![0; 256 * 1024];
    loop {
        let length = match device.read(&mut room) {
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            // It was unmounted.
            Err(_) => return,
        };
        let request = &room[..length];
        let (code, unique) = (number32(request, 4), number64(request, 8));
        match code {
            FORGET | BATCH_FORGET | INTERRUPT => {}
            INIT => reply(device, unique, 0, &init()),
            GETATTR => reply(device, unique, 0, &attributes(mode)),
            // Direct I/O: each read comes here.
            OPEN | OPENDIR => reply(device, unique, 0, &[[1, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]].concat()),
            // Another agent on this machine may ask for each mount.
            READ | READDIR | STATFS if !is_of_this_test(number32(request, 32)) => reply(device, unique, IO_ERROR, &[]),
            READ | READDIR | STATFS => {
                let mut state = state.lock().unwrap();
                let (offset, size) =
                    if code != STATFS { (number64(request, 48), number32(request, 56)) } else { (0, u32::MAX) };
                let read = Waiting { request: unique, offset, size };
                state.reads += 1;
                match &state.answer {
                    Answer::None => state.waiting.push(read),
                    answer => reply_to_read(device, read, answer),
                }
            }
            FLUSH | RELEASE | RELEASEDIR => reply(device, unique, 0, &[]),
            _ => reply(device, unique, NOT_IMPLEMENTED, &[]),
        }
    }
}

/// Whether a thread belongs to this process or to one that it started.
fn is_of_this_test(thread: u32) -> bool {
    let mut id = thread;
    while id > 1 {
        let Ok(status) = std::fs::read_to_string(format!("/proc/{id}/status")) else { return false };
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name));
            value.and_then(|value| value.trim().parse::<u32>().ok()).unwrap_or(0)
        };
        if field("Tgid:") == std::process::id() {
            return true;
        }
        id = field("PPid:");
    }
    false
}

fn reply_to_read(device: &File, read: Waiting, answer: &Answer) {
    match answer {
        Answer::Content(content) => {
            let rest = content.get(usize::try_from(read.offset).unwrap()..).unwrap_or_default();
            reply(device, read.request, 0, &rest[..rest.len().min(read.size as usize)]);
        }
        Answer::None | Answer::Error => reply(device, read.request, IO_ERROR, &[]),
    }
}

fn reply(mut device: &File, unique: u64, error: i32, body: &[u8]) {
    let mut message = Vec::new();
    message.extend(u32::try_from(16 + body.len()).unwrap().to_ne_bytes());
    message.extend(error.to_ne_bytes());
    message.extend(unique.to_ne_bytes());
    message.extend(body);
    // A request that was interrupted is gone.
    let _ = device.write(&message);
}

/// `struct fuse_init_out`: version 7.31, no flags, writes of a page.
fn init() -> Vec<u8> {
    let mut out: Vec<u8> = [7u32, 31, 0, 0, 0, 4096, 1].iter().flat_map(|n| n.to_ne_bytes()).collect();
    out.resize(64, 0);
    out
}

/// `struct fuse_attr_out`, of no known size, as in procfs.
fn attributes(mode: u32) -> Vec<u8> {
    let mut out = vec![0; 16]; // how long it is valid
    out.extend([1u64, 0, 0, 0, 0, 0].iter().flat_map(|n| n.to_ne_bytes()));
    out.extend([0u32, 0, 0, mode, 1, 0, 0, 0, 4096, 0].iter().flat_map(|n| n.to_ne_bytes()));
    out
}

fn number32(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn number64(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}
