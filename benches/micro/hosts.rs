//! Hosts of any size, as in benches/compare, below the temporary directory of the build.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use heka_insights_agent::internals::host::Calls;
use heka_insights_agent::internals::host::usage::{Reading, Space};

/// The size of a host.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub cpus: usize,
    pub disks: usize,
    pub interfaces: usize,
    pub processes: usize,
    pub mounts: usize,
    pub containers: usize,
    pub services: usize,
}

/// The smallest host.
pub const SMALL: Size =
    Size { cpus: 2, disks: 4, interfaces: 2, processes: 100, mounts: 1, containers: 0, services: 0 };

impl Size {
    /// The host's root directory; created if missing.
    pub fn root(self) -> PathBuf {
        let Self { cpus, disks, interfaces, processes, mounts, containers, services } = self;
        let name = format!("{cpus}-{disks}-{interfaces}-{processes}-{mounts}-{containers}-{services}");
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hosts").join(name);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/compare/hosts.py");
        let status = Command::new("python3")
            .arg(script)
            .arg(&root)
            .args(["--cpus", &cpus.to_string(), "--disks", &disks.to_string()])
            .args(["--interfaces", &interfaces.to_string(), "--processes", &processes.to_string()])
            .args(["--mounts", &mounts.to_string()])
            .args(["--containers", &containers.to_string(), "--services", &services.to_string()])
            .status()
            .expect("python3, which writes the hosts");
        assert!(status.success(), "benches/compare/hosts.py: {status}");
        root
    }
}

/// Directory of the text files on the host [`server`].
pub const TEXTFILES: &str = "textfiles";

/// A copy of the fixture host `server`, with 100 metrics in a text file.
pub fn server() -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hosts/server");
    if !root.exists() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/server");
        assert!(Command::new("cp").arg("-a").arg(fixture).arg(&root).status().expect("cp").success());
        let metrics: String = (0..100).map(|n| format!("job_{n}_seconds{{name=\"backup\"}} {n}.5\n")).collect();
        fs::create_dir_all(root.join(TEXTFILES)).unwrap();
        fs::write(root.join(TEXTFILES).join("jobs.prom"), metrics).unwrap();
    }
    root
}

/// A copy of a host's `/proc/swaps` or `/proc/vmstat` with an empty file for the other; one collector reads both.
pub fn with_only(root: &Path, file: &str) -> PathBuf {
    let alone = root.join(format!("only-{file}"));
    fs::create_dir_all(alone.join("proc")).unwrap();
    for name in ["swaps", "vmstat"] {
        fs::write(alone.join("proc").join(name), "").unwrap();
    }
    fs::copy(root.join("proc").join(file), alone.join("proc").join(file)).unwrap();
    alone
}

/// Simulated system calls for these hosts: `/mnt/7` is on the device 8:7.
pub const CALLS: Calls = Calls { space, adjtimex: Calls::LIVE.adjtimex, ..Calls::NONE };

#[allow(clippy::unnecessary_wraps)] // as Calls has it
fn space(path: &Path) -> io::Result<Reading> {
    let minor = path.file_name().and_then(|name| name.to_str()?.parse().ok()).unwrap_or(1);
    Ok(Reading {
        device: (8, minor),
        is_directory: true,
        space: Space::new(4_096, 1_000_000, 500_000, 450_000, 64_000, 32_000),
    })
}

/// Advances the idle time of every CPU by one tick per cycle, because a CPU without any time has no utilization.
pub struct Clock {
    file: File,
    text: Vec<u8>,
}

impl Clock {
    pub fn new(root: &Path) -> Self {
        let path = root.join("proc/stat");
        let text = fs::read(&path).unwrap();
        Self { file: File::options().write(true).open(path).unwrap(), text }
    }

    /// Edits the file in place with constant length: the columns have room for more ticks than a benchmark needs.
    pub fn tick(&mut self) {
        for line in self.text.split_mut(|byte| *byte == b'\n').filter(|line| line.starts_with(b"cpu")) {
            let idle = line.split_mut(|byte| *byte == b' ').filter(|field| !field.is_empty()).nth(4).unwrap();
            for digit in idle.iter_mut().rev() {
                *digit = if *digit == b'9' { b'0' } else { *digit + 1 };
                if *digit != b'0' {
                    break;
                }
            }
        }
        self.file.write_all_at(&self.text, 0).unwrap();
    }
}
