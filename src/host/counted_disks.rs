//! Selects the devices of a cgroup's `io.stat` that are counted.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::block_devices::{BlockDevices, Class};
use super::{Host, files};

/// Whole physical disks by major and minor number: the devices that the disk collector reports by default. The kernel
/// counts the same bytes again for each device that is stacked on a disk.
#[derive(Debug)]
pub struct CountedDisks {
    dir: PathBuf,
    devices: BlockDevices,
    known: HashMap<(u32, u32), bool>,
}

impl CountedDisks {
    #[must_use]
    pub fn new(host: &Host) -> Self {
        Self { dir: host.sys("dev/block"), devices: BlockDevices::new(host), known: HashMap::new() }
    }

    /// Starts a collection. The known devices are discarded, because the kernel reuses device numbers.
    pub fn refresh(&mut self) {
        self.known.clear();
    }

    /// Whether a device is counted.
    pub fn counts(&mut self, major: u32, minor: u32) -> bool {
        if let Some(known) = self.known.get(&(major, minor)) {
            return *known;
        }
        if self.known.is_empty() {
            self.devices.refresh();
        }
        let link = files::read_link(&self.dir.join(format!("{major}:{minor}")));
        let name = link.ok().and_then(|link| link.file_name().map(ToOwned::to_owned));
        let counts = name.is_some_and(|name| *self.devices.class(name.as_bytes()) == Class::Physical);
        self.known.insert((major, minor), counts);
        counts
    }
}
