//! Hosts to read: those of tests/fixtures, and one whose counters a test changes between two ticks.

use std::fs;
use std::path::{Path, PathBuf};

/// A recorded host.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A host with one CPU and one disk, whose counters stand still until the test moves them. They began long before the
/// agent did.
pub struct Host {
    dir: tempfile::TempDir,
    moved: u64,
}

/// By how much one step moves each counter; all different, so that a mix-up shows.
pub const USER_TICKS: u64 = 7;
pub const SECTORS_READ: u64 = 8;
pub const SECTORS_WRITTEN: u64 = 24;
pub const MINOR_FAULTS: u64 = 11;

/// Where the counters were before the first step.
const BEGAN: u64 = 100_000_000;

impl Host {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["proc", "etc", "sys/block", "sys/devices/pci0000:00/ata1/block/sda/device"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let sda = dir.path().join("sys/devices/pci0000:00/ata1/block/sda");
        fs::write(sda.join("size"), "1953525168\n").unwrap();
        std::os::unix::fs::symlink("../devices/pci0000:00/ata1/block/sda", dir.path().join("sys/block/sda")).unwrap();
        let host = Self { dir, moved: 0 };
        host.put("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        host.put(
            "proc/meminfo",
            "MemTotal: 8000 kB\nMemFree: 4000 kB\nMemAvailable: 6000 kB\nBuffers: 100 kB\nCached: 900 kB\n",
        );
        host.put("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n");
        host.write();
        host
    }

    /// The argument that makes an agent read this host.
    pub fn argument(&self) -> String {
        format!("--root-path {}", self.dir.path().display())
    }

    /// Moves every counter by `steps` steps, at once as a reader sees it.
    pub fn advance(&mut self, steps: u64) {
        self.moved += steps;
        self.write();
    }

    fn write(&self) {
        let at = |step: u64| BEGAN + self.moved * step;
        self.put(
            "proc/stat",
            &format!("cpu  {user} 0 0 1000 0 0 0 0 0 0\ncpu0 {user} 0 0 1000 0 0 0 0 0 0\n", user = at(USER_TICKS)),
        );
        let (read, written) = (at(SECTORS_READ), at(SECTORS_WRITTEN));
        self.put("proc/diskstats", &format!("   8       0 sda 100 0 {read} 100 100 0 {written} 100 0 100 200\n"));
        self.put(
            "proc/vmstat",
            &format!("pgpgin 1\npgpgout 1\npswpin 1\npswpout 1\npgfault {}\npgmajfault 10\n", at(MINOR_FAULTS)),
        );
    }

    /// Replaces a file at one instant.
    fn put(&self, name: &str, content: &str) {
        let path = self.dir.path().join(name);
        let new = path.with_extension("new");
        fs::write(&new, content).unwrap();
        fs::rename(&new, &path).unwrap();
    }
}
