//! Runs the program with an empty environment in an empty directory.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tempfile::TempDir;

/// Longer than any of these runs takes on a machine that is busy.
const MOST: Duration = Duration::from_secs(60);

pub struct Run {
    command: Command,
    pub dir: TempDir,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Run {
    pub fn new(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_heka-insights-agent"));
        command.args(arguments).env_clear().current_dir(dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, dir }
    }

    /// The console on a fixture host, as fast as it goes.
    pub fn console(arguments: &[&str]) -> Self {
        Self::console_of("server", arguments)
    }

    pub fn console_of(host: &str, arguments: &[&str]) -> Self {
        let root = fixture(host);
        let mut run = Self::new(&["--exporter", "console", "--interval", "500ms"]);
        run.command.arg("--root-path").arg(root).args(arguments);
        run
    }

    pub fn set(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Puts a `.env` file in its directory.
    pub fn dot_env(self, content: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.dir.path().join(".env"), content).unwrap();
        self
    }

    /// Runs it to its end with its log in a file, with `JOURNAL_STREAM` as systemd sets it for that file, or for another one.
    /// Returns the log.
    pub fn journal(mut self, is_of_log: bool) -> String {
        let path = self.dir.path().join("log");
        let log = std::fs::File::create(&path).unwrap();
        let meta = log.metadata().unwrap();
        let inode = meta.ino() + u64::from(!is_of_log);
        self.command.env("JOURNAL_STREAM", format!("{}:{inode}", meta.dev())).stdout(Stdio::null()).stderr(log);
        self.command.status().unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    /// Runs it on a terminal of this size until its output is as wanted, and then kills it. Returns the output.
    pub fn on_terminal(mut self, columns: u16, rows: u16, wanted: impl Fn(&str) -> bool) -> String {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).unwrap();
        let mut child = self.command.stdout(terminal).stderr(Stdio::null()).spawn().unwrap();
        // The command's own copy of the terminal: without it a reading ends when the program does.
        drop(self.command);
        let (mut text, mut bytes, mut room) = (String::new(), Vec::new(), [0; 4096]);
        let mut master = std::fs::File::from(master);
        while !wanted(&text) {
            match master.read(&mut room) {
                Ok(length) => bytes.extend(&room[..length]),
                Err(error) => panic!("it ended ({error}) after {text}"),
            }
            text = String::from_utf8_lossy(&bytes).into_owned();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        text
    }

    /// Runs it in a subdirectory of its directory.
    pub fn below(mut self, name: &str) -> Self {
        let dir = self.dir.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        self.command.current_dir(dir);
        self
    }

    /// Runs it to its own end.
    pub fn end(mut self) -> Ended {
        let child = self.command.spawn().unwrap();
        end(child, |out| {
            let mut text = String::new();
            out.read_to_string(&mut text).unwrap();
            text
        })
    }

    /// Runs it until its output is as wanted, and then closes the pipe: the program ends without a signal.
    pub fn until(mut self, wanted: impl Fn(&str) -> bool + Send + 'static) -> Ended {
        let child = self.command.spawn().unwrap();
        end(child, move |out| {
            let (mut text, mut bytes, mut room) = (String::new(), Vec::new(), [0; 4096]);
            while !wanted(&text) {
                match out.read(&mut room).unwrap() {
                    0 => break,
                    length => bytes.extend(&room[..length]),
                }
                text = String::from_utf8_lossy(&bytes).into_owned();
            }
            text
        })
    }
}

/// Waits for the end, of the program and of those who read from it; a program that does not end is killed.
fn end(mut child: Child, read: impl FnOnce(&mut dyn Read) -> String + Send + 'static) -> Ended {
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let out = thread::spawn(move || read(&mut out));
    let (told, ended) = mpsc::channel();
    let err = thread::spawn(move || {
        let mut text = String::new();
        err.read_to_string(&mut text).unwrap();
        told.send(()).unwrap();
        text
    });
    // The program holds its error output open for as long as it runs.
    let in_time = ended.recv_timeout(MOST).is_ok();
    if !in_time {
        child.kill().unwrap();
    }
    let code = child.wait().unwrap().code();
    let ended = Ended { code, out: out.join().unwrap(), err: err.join().unwrap() };
    assert!(in_time, "it did not end in time: {ended:#?}");
    ended
}

pub fn fixture(host: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(host)
}
