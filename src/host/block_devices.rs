//! Determines which block devices are disks whose I/O no other device counts.
//!
//! An entry of `/sys/block` is a whole device. A stacked device lists its lower devices in `slaves/` (dm, md and bcache
//! do, the NVMe multipath head does not). Devices without slaves may still have no disk of their own, which their
//! driver shows. All others are disks, either on this machine's buses or on a network (NVMe over Fabrics, nbd, AoE,
//! rbd), which sysfs lists below `devices/virtual`. An entry inside another disk's directory is a boot area of an eMMC.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use crate::host::{Host, Problem, files, read_small};
use crate::metrics::parse::{fields, lines, number};

/// The kind of a device in `/proc/diskstats`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// A disk whose I/O no other device counts.
    Physical,
    /// A hidden path to an NVMe multipath disk; `head` is the name of the disk.
    HiddenPath {
        /// The disk behind the path.
        head: Vec<u8>,
    },
    /// A whole device without a disk: in memory, in files, or stacked without `slaves/`.
    NoDisk,
    /// A partition, a stacked device or a boot area: other devices count its I/O.
    Other,
}

/// Drivers of devices without a disk, as named in `/proc/devices`: memory, files, and stacked devices whose `slaves/`
/// can be empty.
const WITHOUT_DISK: [&[u8]; 12] = [
    b"loop",
    b"ramdisk",
    b"zram",
    b"nullb",
    b"device-mapper",
    b"md",
    b"mdp",
    b"drbd",
    b"bcache",
    b"zvol",
    b"ublk-block",
    b"ublkb",
];

/// Device names of these drivers, for devices whose driver cannot be determined.
const NAMES_WITHOUT_DISK: [&[u8]; 10] =
    [b"loop", b"ram", b"zram", b"nullb", b"dm-", b"md", b"drbd", b"bcache", b"zd", b"ublkb"];

/// The host's block devices as of the last [`BlockDevices::refresh`].
#[derive(Debug)]
pub struct BlockDevices {
    dir: PathBuf,
    devices: PathBuf,
    classes: HashMap<Vec<u8>, Class>,
    /// Whether the directory could be listed; otherwise the error.
    listed: Option<Result<(), String>>,
}

impl BlockDevices {
    #[must_use]
    pub fn new(host: &Host) -> Self {
        Self { dir: host.sys("block"), devices: host.proc("devices"), classes: HashMap::new(), listed: None }
    }

    /// Reads `/sys/block` again. If that fails, the known devices are kept.
    pub fn refresh(&mut self) {
        let names = match files::list(&self.dir) {
            Ok(names) => names,
            Err(error) => {
                if !matches!(self.listed, Some(Err(_))) {
                    warn!(
                        "{} cannot be read ({error}); no disk is known to be physical, only those that --disk-include names are reported",
                        self.dir.display()
                    );
                }
                self.listed = Some(Err(error.to_string()));
                return;
            }
        };
        if matches!(self.listed, Some(Err(_))) {
            info!("{} can be read again", self.dir.display());
        }
        self.listed = Some(Ok(()));
        let names: HashSet<OsString> = names.into_iter().collect();
        let drivers = drivers(&files::read(&self.devices).unwrap_or_default());
        self.classes = names.iter().map(|name| (diskstats_name(name), self.classify(name, &names, &drivers))).collect();
    }

    /// Why the last [`BlockDevices::refresh`] could not list the devices.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        let Some(Err(words)) = &self.listed else { return None };
        Some(Problem { path: self.dir.clone(), failed: true, words: words.clone() })
    }

    /// The kind of a device. A name that `/sys/block` does not list is a partition.
    #[must_use]
    pub fn class(&self, name: &[u8]) -> &Class {
        self.classes.get(name).unwrap_or(&Class::Other)
    }

    /// The device's capacity, in sectors of 512 bytes.
    #[must_use]
    pub fn sectors(&self, name: &[u8]) -> Option<u64> {
        number(&read_small(&self.dir.join(sysfs_name(name)).join("size"))?)
    }

    fn classify(&self, name: &OsString, names: &HashSet<OsString>, drivers: &HashMap<u64, Vec<u8>>) -> Class {
        let entry = self.dir.join(name);
        if read_small(&entry.join("hidden")).is_some_and(|hidden| hidden == b"1") {
            return nvme_head(name.as_bytes()).map_or(Class::Other, |head| Class::HiddenPath { head });
        }
        let inside_a_disk = files::read_link(&entry)
            .is_ok_and(|target| target.parent().and_then(Path::file_name).is_some_and(|parent| names.contains(parent)));
        let sits_on_others = || files::list(&entry.join("slaves")).is_ok_and(|slaves| !slaves.is_empty());
        if inside_a_disk || sits_on_others() {
            return Class::Other;
        }
        let major = read_small(&entry.join("dev")).and_then(|dev| number(dev.split(|&b| b == b':').next()?));
        let driver = major.and_then(|major| drivers.get(&major));
        let without_disk = match driver {
            Some(driver) => WITHOUT_DISK.contains(&&driver[..]),
            None => NAMES_WITHOUT_DISK.iter().any(|prefix| is_numbered(name.as_bytes(), prefix)),
        };
        if without_disk { Class::NoDisk } else { Class::Physical }
    }
}

/// The drivers of block devices by major number, from `/proc/devices`. The shared major number is omitted.
fn drivers(devices: &[u8]) -> HashMap<u64, Vec<u8>> {
    let mut block = lines(devices).skip_while(|line| line.trim_ascii() != b"Block devices:").skip(1);
    let mut drivers = HashMap::new();
    while let Some((major, name)) = block.next().and_then(|line| {
        let mut fields = fields(line);
        Some((number(fields.next()?)?, fields.next()?))
    }) {
        if name != b"blkext" {
            drivers.insert(major, name.to_vec());
        }
    }
    drivers
}

/// Whether the name is the prefix followed by a number, or by `_` as in md's partitionable arrays (`md_d0`).
fn is_numbered(name: &[u8], prefix: &[u8]) -> bool {
    name.strip_prefix(prefix).and_then(<[u8]>::first).is_some_and(|next| next.is_ascii_digit() || *next == b'_')
}

/// The disk behind a hidden path `nvme<subsystem>c<controller>n<namespace>`; the driver defines this name
/// (drivers/nvme/host/multipath.c).
fn nvme_head(name: &[u8]) -> Option<Vec<u8>> {
    let rest = name.strip_prefix(b"nvme")?;
    let c = rest.iter().position(|&b| b == b'c')?;
    let n = c + rest.get(c..)?.iter().position(|&b| b == b'n')?;
    Some([b"nvme", rest.get(..c)?, rest.get(n..)?].concat())
}

/// Converts a sysfs name: sysfs replaces `/` in device names by `!`.
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
    fn whole_physical_disks_are_recognized_by_their_place_in_sysfs() {
        let devices = classes("server");
        for physical in ["nvme0n1", "nvme1n1", "sda", "mmcblk0", "sr0", "nvme2n1"] {
            assert_eq!(*devices.class(physical.as_bytes()), Class::Physical, "{physical}");
        }
        for other in ["nvme0n1p1", "sda1", "md0", "dm-0", "loop0", "zram0", "mmcblk0boot0", "no-such"] {
            assert!(matches!(devices.class(other.as_bytes()), Class::Other | Class::NoDisk), "{other}");
        }
    }

    /// Creates entries of `/sys/block`: name, link target, `dev`, a slave.
    fn made(entries: &[(&str, &str, &str, &str)], proc_devices: &str) -> BlockDevices {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("sys/block")).unwrap();
        std::fs::create_dir_all(root.join("proc")).unwrap();
        std::fs::write(root.join("proc/devices"), proc_devices).unwrap();
        for (name, place, dev, slave) in entries {
            let at = if place.is_empty() {
                root.join("sys/block").join(name)
            } else {
                root.join("sys").join(place).join(name)
            };
            std::fs::create_dir_all(&at).unwrap();
            if !place.is_empty() {
                std::os::unix::fs::symlink(format!("../{place}/{name}"), root.join("sys/block").join(name)).unwrap();
            }
            if !dev.is_empty() {
                std::fs::write(at.join("dev"), dev).unwrap();
            }
            if !slave.is_empty() {
                std::fs::create_dir_all(at.join("slaves").join(slave)).unwrap();
            }
        }
        let mut devices = BlockDevices::new(&Host::new(&Roots { root: Some(root.to_owned()), ..Roots::default() }));
        devices.refresh();
        devices
    }

    const PROC_DEVICES: &str = "Character devices:\n  1 mem\n 43 tty43\n\nBlock devices:\n  1 ramdisk\n  7 loop\n  9 md\n 43 nbd\n\
        147 drbd\n152 aoe\n230 zvol\n251 rbd\n252 device-mapper\n253 nullb\n254 mdp\n259 blkext\n";

    #[test]
    fn disks_on_a_network_are_disks() {
        let devices = made(
            &[
                ("nvme0n1", "devices/virtual/nvme-fabrics/ctl/nvme0", "259:0", ""),
                ("nbd0", "devices/virtual/block", "43:0", ""),
                ("etherd!e1.1", "devices/virtual/block", "152:16", ""),
                ("rbd0", "devices/rbd/0/block", "251:0", ""),
            ],
            PROC_DEVICES,
        );
        for name in ["nvme0n1", "nbd0", "etherd/e1.1", "rbd0"] {
            assert_eq!(*devices.class(name.as_bytes()), Class::Physical, "{name}");
        }
    }

    #[test]
    fn devices_on_top_of_others_or_without_a_disk_are_left_out_even_without_slaves() {
        let virtual_ones = [
            ("dm-0", "252:0", "sda"),
            ("dm-1", "252:1", ""),
            ("md127", "9:127", ""),
            ("md_d0", "254:0", ""),
            ("bcache0", "250:0", "sda"),
            ("drbd0", "147:0", ""),
            ("loop0", "7:0", ""),
            ("ram0", "1:0", ""),
            ("zram0", "249:0", ""),
            ("nullb0", "253:0", ""),
            ("zd0", "230:0", ""),
        ];
        let entries = virtual_ones.map(|(name, dev, slave)| (name, "devices/virtual/block", dev, slave));
        for proc_devices in [PROC_DEVICES, ""] {
            let devices = made(&entries, proc_devices);
            for (name, ..) in virtual_ones {
                assert!(matches!(devices.class(name.as_bytes()), Class::Other | Class::NoDisk), "{name}");
            }
        }
    }

    #[test]
    fn an_entry_that_lacks_everything_but_its_name_is_decided_by_driver_and_slaves() {
        let devices = made(
            &[
                ("sda", "", "", ""),
                ("vdb", "", "", ""),
                ("loop1", "", "", ""),
                ("dm-0", "", "", "sda"),
                ("odd", "", "7:9", ""),
            ],
            PROC_DEVICES,
        );
        let physical = |name: &str| *devices.class(name.as_bytes()) == Class::Physical;
        assert_eq!(["sda", "vdb", "loop1", "dm-0", "odd"].map(physical), [true, true, false, false, false]);
    }

    #[test]
    fn a_multipath_disk_of_fabrics_is_its_head_once() {
        let devices = made(&[("nvme0n1", "devices/virtual/nvme-subsystem/nvme-subsys0", "259:1", "")], PROC_DEVICES);
        assert_eq!(*devices.class(b"nvme0n1"), Class::Physical);
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
