//! Which block devices are whole physical disks, as sysfs tells them: never by the look of a name.
//!
//! An entry of `/sys/block` is a link to where the device sits. Below `devices/virtual` are the stacked ones and those
//! made of memory or files (dm, md, bcache, loop, ram, zram); the exception is the head of an NVMe multipath disk in
//! `devices/virtual/nvme-subsystem`. An entry that sits inside another disk's directory is a boot area of an eMMC.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use tracing::{info, warn};

use crate::host::{Host, files, read_small};
use crate::metrics::parse::number;

/// What a name in `/proc/diskstats` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// A whole physical disk.
    Physical,
    /// One of the hidden paths to an NVMe multipath disk; `head` is the disk's name.
    HiddenPath {
        /// The disk that the path leads to.
        head: Vec<u8>,
    },
    /// A partition, a stacked or virtual device, a boot area: what it counts is counted elsewhere, or is no disk.
    Other,
}

/// The host's block devices, as they were at the last [`BlockDevices::refresh`].
#[derive(Debug)]
pub struct BlockDevices {
    dir: PathBuf,
    classes: HashMap<Vec<u8>, Class>,
    readable: Option<bool>,
}

impl BlockDevices {
    /// No devices yet.
    #[must_use]
    pub fn new(host: &Host) -> Self {
        Self { dir: host.sys("block"), classes: HashMap::new(), readable: None }
    }

    /// Reads `/sys/block` anew. When it cannot be read, the devices known before stay.
    pub fn refresh(&mut self) {
        let entries = match files::list(&self.dir) {
            Ok(entries) => entries,
            Err(error) => {
                if self.readable != Some(false) {
                    warn!(
                        "{} cannot be read ({error}); no disk is known to be physical, only those that --disk-include names are reported",
                        self.dir.display()
                    );
                }
                self.readable = Some(false);
                return;
            }
        };
        if self.readable == Some(false) {
            info!("{} can be read again", self.dir.display());
        }
        self.readable = Some(true);
        let names: HashSet<OsString> = entries.into_iter().collect();
        self.classes = names.iter().map(|name| (diskstats_name(name), self.classify(name, &names))).collect();
    }

    /// What the name stands for. A name that `/sys/block` does not list is a partition.
    #[must_use]
    pub fn class(&self, name: &[u8]) -> &Class {
        self.classes.get(name).unwrap_or(&Class::Other)
    }

    /// The device's capacity, in sectors of 512 bytes.
    #[must_use]
    pub fn sectors(&self, name: &[u8]) -> Option<u64> {
        number(&read_small(&self.dir.join(sysfs_name(name)).join("size"))?)
    }

    fn classify(&self, name: &OsString, names: &HashSet<OsString>) -> Class {
        let entry = self.dir.join(name);
        if read_small(&entry.join("hidden")).is_some_and(|hidden| hidden == b"1") {
            return nvme_head(name.as_bytes()).map_or(Class::Other, |head| Class::HiddenPath { head });
        }
        // Without CONFIG_SYSFS's links (kernels before 2.6.26), only a physical device has a `device` of its own.
        let Ok(target) = files::read_link(&entry) else {
            return if files::metadata(&entry.join("device")).is_ok() { Class::Physical } else { Class::Other };
        };
        let inside_a_disk = target.parent().and_then(Path::file_name).is_some_and(|parent| names.contains(parent));
        if inside_a_disk || is_virtual(&target) { Class::Other } else { Class::Physical }
    }
}

fn is_virtual(target: &Path) -> bool {
    let mut parts = target.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.as_bytes()),
        _ => None,
    });
    parts.by_ref().any(|part| part == b"devices")
        && parts.next() == Some(b"virtual")
        && parts.next() != Some(b"nvme-subsystem")
}

/// The disk that a hidden path `nvme<subsystem>c<controller>n<namespace>` leads to; the driver names it so
/// (drivers/nvme/host/multipath.c).
fn nvme_head(name: &[u8]) -> Option<Vec<u8>> {
    let rest = name.strip_prefix(b"nvme")?;
    let c = rest.iter().position(|&b| b == b'c')?;
    let n = c + rest.get(c..)?.iter().position(|&b| b == b'n')?;
    Some([b"nvme", rest.get(..c)?, rest.get(n..)?].concat())
}

/// sysfs writes `!` for the `/` that a few drivers have in their names.
fn diskstats_name(name: &OsString) -> Vec<u8> {
    name.as_bytes().iter().map(|&b| if b == b'!' { b'/' } else { b }).collect()
}

fn sysfs_name(name: &[u8]) -> OsString {
    OsString::from_vec(name.iter().map(|&b| if b == b'/' { b'!' } else { b }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Roots;

    fn classes(host: &str) -> BlockDevices {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(host);
        let mut devices = BlockDevices::new(&Host::new(&Roots { root: Some(root), ..Roots::default() }));
        devices.refresh();
        devices
    }

    #[test]
    fn whole_physical_disks_are_told_by_where_they_sit() {
        let devices = classes("server");
        for physical in ["nvme0n1", "nvme1n1", "sda", "mmcblk0", "sr0", "nvme2n1"] {
            assert_eq!(*devices.class(physical.as_bytes()), Class::Physical, "{physical}");
        }
        for other in ["nvme0n1p1", "sda1", "md0", "dm-0", "loop0", "zram0", "mmcblk0boot0", "no-such"] {
            assert_eq!(*devices.class(other.as_bytes()), Class::Other, "{other}");
        }
    }

    #[test]
    fn a_hidden_nvme_path_belongs_to_its_head() {
        let devices = classes("server");
        assert_eq!(*devices.class(b"nvme2c3n1"), Class::HiddenPath { head: b"nvme2n1".to_vec() });
    }

    #[test]
    fn links_that_lead_nowhere_are_no_harm() {
        assert_eq!(*classes("hostile").class(b"sda"), Class::Physical);
        assert_eq!(*classes("no-such-host").class(b"sda"), Class::Other);
    }

    #[test]
    fn a_slash_in_a_name_is_a_bang_in_sysfs() {
        assert_eq!(diskstats_name(&OsString::from("cciss!c0d0")), b"cciss/c0d0");
        assert_eq!(sysfs_name(b"cciss/c0d0"), "cciss!c0d0");
    }
}
