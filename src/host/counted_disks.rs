//! Selects the devices of a cgroup's `io.stat` that are counted.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::block_devices::{BlockDevices, Class};
use super::{Host, files};

/// Whole physical disks by major and minor number: the devices that the disk collector reports by default. The kernel
/// counts the same bytes again for each device that is stacked on a disk.
#[derive(Debug)]
pub struct CountedDisks {
    dir: PathBuf,
    block: PathBuf,
    /// The entries of `/sys/block` for which the devices are known.
    entries: Vec<(OsString, u64)>,
    /// Whether the entries were compared in this collection.
    compared: bool,
    devices: BlockDevices,
    known: HashMap<(u32, u32), bool>,
}

impl CountedDisks {
    #[must_use]
    pub fn new(host: &Host) -> Self {
        let (dir, block) = (host.sys("dev/block"), host.sys("block"));
        let devices = BlockDevices::new(host);
        Self { dir, block, entries: Vec::new(), compared: false, devices, known: HashMap::new() }
    }

    /// Starts a collection. Without a device in it, nothing is read.
    pub fn refresh(&mut self) {
        self.compared = false;
    }

    /// The kernel reuses device numbers, so the known devices are discarded if any device is new or gone. An entry's inode
    /// shows that it is new although the name is not.
    fn compare(&mut self) {
        let mut entries = files::list_inodes(&self.block).unwrap_or_default();
        entries.sort_unstable();
        if entries.is_empty() || entries != self.entries {
            self.entries = entries;
            self.known.clear();
            self.devices.refresh();
        }
    }

    /// Whether a device is counted.
    pub fn counts(&mut self, major: u32, minor: u32) -> bool {
        if !std::mem::replace(&mut self.compared, true) {
            self.compare();
        }
        if let Some(known) = self.known.get(&(major, minor)) {
            return *known;
        }
        let link = files::read_link(&self.dir.join(format!("{major}:{minor}")));
        let name = link.ok().and_then(|link| link.file_name().map(ToOwned::to_owned));
        let counts = name.is_some_and(|name| *self.devices.class(name.as_bytes()) == Class::Physical);
        self.known.insert((major, minor), counts);
        counts
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::host::Roots;

    #[test]
    fn a_number_that_another_device_has_is_looked_up_again() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for dir in ["proc", "sys/block", "sys/dev/block", "sys/devices/sda", "sys/devices/dm-0"] {
            std::fs::create_dir_all(at(dir)).unwrap();
        }
        std::fs::write(at("proc/devices"), "Block devices:\n  8 sd\n253 device-mapper\n").unwrap();
        let device = |name: &str, number: &str| {
            std::fs::write(at(&format!("sys/devices/{name}/dev")), number).unwrap();
            symlink(format!("../devices/{name}"), at(&format!("sys/block/{name}"))).unwrap();
            symlink(format!("../../devices/{name}"), at(&format!("sys/dev/block/{number}"))).unwrap();
        };
        device("sda", "8:0");
        device("dm-0", "253:0");
        let host = Host::new(&Roots { root: Some(root.path().to_owned()), ..Roots::default() });
        let mut disks = CountedDisks::new(&host);
        let mut counted = || {
            disks.refresh();
            [(8, 0), (253, 0)].map(|(major, minor)| disks.counts(major, minor))
        };
        assert_eq!([counted(), counted()], [[true, false]; 2]);
        // The disk returns with the other number. The first link stays, so that its inode is not used again.
        std::fs::rename(at("sys/block/sda"), at("sys/gone")).unwrap();
        std::fs::remove_file(at("sys/dev/block/8:0")).unwrap();
        std::fs::remove_file(at("sys/dev/block/253:0")).unwrap();
        symlink("../../devices/sda", at("sys/dev/block/253:0")).unwrap();
        symlink("../devices/sda", at("sys/block/sda")).unwrap();
        assert_eq!(counted(), [false, true]);
    }
}
