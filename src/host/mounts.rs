//! The host's mounts, from `mountinfo` (Documentation/filesystems/proc.rst, 3.5), and the selection of reported mounts.
//!
//! By default, mounts on the host's own disks are reported, one per file system. A file system on a block device has
//! the device's number in `mountinfo`; all others have an anonymous number with major 0. A few of the latter still use
//! disks. Excluded are images that are always full (squashfs, iso9660), remote file systems, FUSE without a block
//! device, overlay and in-memory file systems.

use std::collections::HashMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::metrics::filter::Filter;
use crate::metrics::parse::{lines, number, text, unescape};

/// One line of `mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Major and minor number of the file system's device.
    pub device: (u32, u32),
    pub point: Vec<u8>,
    /// Whether it is read-only, at this mount point or as a whole.
    pub read_only: bool,
    /// File system type, such as `ext4`.
    pub fs_type: Vec<u8>,
    /// The source of the mount, such as `/dev/sda1` or `tank/home`; can be empty.
    pub source: Vec<u8>,
    /// Whether only a part of the file system is mounted here. A btrfs subvolume does not count as a part, because
    /// mounting subvolumes is normal for btrfs.
    pub is_part: bool,
}

/// Parses the mounts in file order. Malformed lines are skipped.
pub fn parse(bytes: &[u8]) -> impl Iterator<Item = Mount> {
    lines(bytes).filter_map(parse_line)
}

/// Parses `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`: six fields, any number of
/// optional fields, a dash, three more. The kernel separates fields by one blank each and escapes blanks in names; an
/// empty source is an empty field.
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&b| b == b' ');
    number(fields.next()?)?;
    number(fields.next()?)?;
    let device = parse_device(fields.next()?)?;
    let (root, point, options) = (fields.next()?, fields.next()?, fields.next()?);
    fields.find(|field| *field == b"-")?;
    let (fs_type, source) = (fields.next()?, fields.next()?);
    let super_options = fields.next().unwrap_or_default();
    if !point.starts_with(b"/") || fs_type.is_empty() {
        return None;
    }
    let read_only = [options, super_options].into_iter().any(|options| has_option(options, b"ro"));
    let subvolume = super_options.split(|&b| b == b',').find_map(|option| option.strip_prefix(b"subvol="));
    Some(Mount {
        device,
        point: unescape(point),
        read_only,
        fs_type: unescape(fs_type),
        source: unescape(source),
        is_part: root != b"/" && subvolume != Some(root),
    })
}

fn parse_device(field: &[u8]) -> Option<(u32, u32)> {
    let colon = field.iter().position(|&b| b == b':')?;
    let half = |digits: &[u8]| u32::try_from(number(digits)?).ok();
    Some((half(field.get(..colon)?)?, half(field.get(colon + 1..)?)?))
}

fn has_option(options: &[u8], name: &[u8]) -> bool {
    options.split(|&b| b == b',').any(|option| option == name)
}

impl Mount {
    /// Whether it is on a disk of this host and can fill up.
    #[must_use]
    pub fn is_disk_backed(&self) -> bool {
        match &self.fs_type[..] {
            b"squashfs" | b"erofs" | b"iso9660" | b"cramfs" | b"romfs" => false,
            b"btrfs" | b"zfs" | b"bcachefs" | b"ubifs" => true,
            _ => self.device.0 != 0,
        }
    }

    /// The mount point relative to `root`; `None` if it is not below it.
    #[must_use]
    pub fn seen_from(mut self, root: &Path) -> Option<Self> {
        let below = Path::new(std::ffi::OsStr::from_bytes(&self.point)).strip_prefix(root).ok()?;
        self.point = Path::new("/").join(below).into_os_string().into_vec();
        Some(self)
    }

    /// The path of the mount for this process, if the host's root is at `root`.
    #[must_use]
    pub fn path(&self, root: &Path) -> PathBuf {
        let relative = self.point.strip_prefix(b"/").unwrap_or(&self.point);
        root.join(std::ffi::OsStr::from_bytes(relative))
    }
}

/// Maximum number of mounts per file system: the reported one and its fallbacks.
const MOST_OF_ONE: usize = 4;

/// The file systems to report, in file order: for each one its mounts, the preferred one first. The others are
/// fallbacks if that one is hidden by another mount or does not answer.
///
/// A mount hides earlier mounts at the same mount point. By default, each disk-backed file system is reported once, at
/// the mount of the whole file system rather than of a part, then at the shortest mount point. An include matches mount
/// points; matching mounts are reported regardless of type, also once per file system. A file system that is writable
/// at any mount point is not read-only.
#[must_use]
pub fn choose(mounts: impl Iterator<Item = Mount>, filter: &Filter) -> Vec<Vec<Mount>> {
    let mut visible: Vec<Mount> = Vec::new();
    let mut at: HashMap<Vec<u8>, usize> = HashMap::new();
    for mount in mounts {
        match at.get(&mount.point).and_then(|place| visible.get_mut(*place)) {
            Some(hidden) => *hidden = mount,
            None => {
                at.insert(mount.point.clone(), visible.len());
                visible.push(mount);
            }
        }
    }
    let mut read_only: HashMap<(u32, u32), bool> = HashMap::new();
    for mount in &visible {
        *read_only.entry(mount.device).or_insert(true) &= mount.read_only;
    }
    let by_include = !filter.include.is_empty();
    let mut file_systems: HashMap<(u32, u32), Vec<(usize, Mount)>> = HashMap::new();
    for (place, mut mount) in visible.into_iter().enumerate() {
        let eligible = if by_include { filter.admits(&text(&mount.point), false) } else { mount.is_disk_backed() };
        if eligible {
            mount.read_only = read_only.get(&mount.device).copied().unwrap_or(mount.read_only);
            file_systems.entry(mount.device).or_default().push((place, mount));
        }
    }
    let mut chosen: Vec<Vec<(usize, Mount)>> = file_systems.into_values().collect();
    for mounts in &mut chosen {
        mounts.sort_by_key(|(place, mount)| (mount.is_part, mount.point.len(), *place));
    }
    // If the preferred mount is excluded, the file system is excluded.
    let admitted = |(_, mount): &(usize, Mount)| filter.admits(&text(&mount.point), true);
    chosen.retain(|mounts| mounts.first().is_some_and(admitted));
    chosen.sort_by_key(|mounts| mounts.first().map(|(place, _)| *place));
    let with_fallbacks = |mounts: Vec<(usize, Mount)>| {
        mounts.into_iter().filter(admitted).map(|(_, mount)| mount).take(MOST_OF_ONE).collect()
    };
    chosen.into_iter().map(with_fallbacks).collect()
}

/// The mounts that node_exporter reports, in file order: every mount, unless its type or mount point is in
/// node_exporter's exclude lists. An include or exclude filter replaces the list of mount points.
#[must_use]
pub fn choose_as_node_exporter(mounts: impl Iterator<Item = Mount>, filter: &Filter) -> Vec<Mount> {
    let mut chosen: Vec<Mount> = Vec::new();
    for mount in mounts.filter(|mount| !NO_TYPES.contains(&&*mount.fs_type)) {
        let listed = filter.exclude.is_empty() && is_left_out(&mount.point);
        let same = |known: &Mount| {
            (&known.source, &known.point, &known.fs_type) == (&mount.source, &mount.point, &mount.fs_type)
        };
        // The last mount at a mount point hides the earlier ones.
        if let Some(known) = chosen.iter_mut().find(|known| same(known)) {
            *known = mount;
        } else if filter.admits(&text(&mount.point), !listed) {
            chosen.push(mount);
        }
    }
    chosen
}

/// node_exporter's `collector.filesystem.fs-types-exclude`.
const NO_TYPES: [&[u8]; 25] = [
    b"autofs",
    b"binfmt_misc",
    b"bpf",
    b"cgroup",
    b"cgroup2",
    b"configfs",
    b"debugfs",
    b"devpts",
    b"devtmpfs",
    b"fusectl",
    b"hugetlbfs",
    b"iso9660",
    b"mqueue",
    b"nsfs",
    b"overlay",
    b"proc",
    b"procfs",
    b"pstore",
    b"rpc_pipefs",
    b"securityfs",
    b"selinuxfs",
    b"squashfs",
    b"erofs",
    b"sysfs",
    b"tracefs",
];

/// node_exporter's `collector.filesystem.mount-points-exclude`.
fn is_left_out(point: &[u8]) -> bool {
    let whole = [&b"/dev"[..], b"/proc", b"/sys"];
    let below = [&b"/run/credentials/"[..], b"/var/lib/docker/", b"/var/lib/containers/storage/"];
    let rest = |start: &[u8]| point.strip_prefix(start);
    whole.iter().any(|start| rest(start).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")))
        || below.iter().any(|start| rest(start).is_some_and(|rest| !rest.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex_lite::Regex;

    fn fixture(host: &str, pid: &str) -> Vec<u8> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(host);
        std::fs::read(root.join("proc").join(pid).join("mountinfo")).unwrap()
    }

    fn points(mounts: &[Mount]) -> Vec<String> {
        mounts.iter().map(|mount| text(&mount.point)).collect()
    }

    /// The preferred mount of each file system.
    fn best(mounts: impl Iterator<Item = Mount>, filter: &Filter) -> Vec<Mount> {
        choose(mounts, filter).into_iter().map(|mounts| mounts[0].clone()).collect()
    }

    fn chosen(bytes: &[u8], include: &[&str], exclude: &[&str]) -> Vec<String> {
        let regexes = |patterns: &[&str]| patterns.iter().map(|p| Regex::new(p).unwrap()).collect();
        points(&best(parse(bytes), &Filter { include: regexes(include), exclude: regexes(exclude) }))
    }

    #[test]
    fn optional_fields_may_be_none_or_many() {
        for optional in ["", "shared:1 ", "shared:1 master:2 propagate_from:3 unbindable "] {
            let line = format!("36 35 98:7 / /mnt rw,noatime {optional}- ext3 /dev/sda1 rw,errors=continue");
            let expected = Mount {
                device: (98, 7),
                point: b"/mnt".to_vec(),
                read_only: false,
                fs_type: b"ext3".to_vec(),
                source: b"/dev/sda1".to_vec(),
                is_part: false,
            };
            assert_eq!(parse_line(line.as_bytes()), Some(expected), "{optional}");
        }
    }

    #[test]
    fn a_mount_is_read_only_when_the_mount_or_the_file_system_is() {
        let read_only = |options: &str, super_options: &str| {
            parse_line(format!("1 2 8:1 / /a {options} - ext4 /dev/a {super_options}").as_bytes()).unwrap().read_only
        };
        assert!(read_only("ro,relatime", "rw") && read_only("rw", "errors=remount-ro,ro"));
        assert!(!read_only("rw,relatime", "rw,errors=remount-ro"), "an option that ends in ro is another");
    }

    #[test]
    fn the_disks_of_the_server_are_reported_once_each() {
        assert_eq!(
            chosen(&fixture("server", "1"), &[], &[]),
            [
                "/",
                "/boot/efi",
                "/srv/data",
                "/srv/backup",
                "/mnt/My Backup Card",
                "/tank",
                "/tank/home",
                "/tank/vm\\images"
            ]
        );
    }

    #[test]
    fn remote_fuse_and_image_file_systems_are_there_for_the_asking() {
        let server = fixture("server", "1");
        assert_eq!(
            chosen(&server, &["^/mnt/(nfs|pool)$", "^/snap/", "^/home"], &[]),
            ["/mnt/nfs", "/snap/core22/1380", "/home/anna/Photos", "/mnt/pool"]
        );
        assert_eq!(chosen(&server, &["^/srv"], &["backup"]), ["/srv/data", "/srv/nfs\texport"]);
    }

    #[test]
    fn an_excluded_mount_is_not_replaced_by_another_of_its_device() {
        assert!(!chosen(&fixture("server", "1"), &[], &["^/$"]).contains(&"/srv/nfs\texport".to_owned()));
    }

    #[test]
    fn a_later_mount_hides_an_earlier_one_at_its_place() {
        let old = best(parse(&fixture("old-kernel", "1")), &Filter::default());
        assert_eq!(points(&old), ["/", "/boot"]);
        assert_eq!(old[0].fs_type, b"xfs");
        let hidden = b"1 0 8:1 / /a rw - ext4 /dev/sda1 rw\n2 1 0:9 / /a rw - tmpfs tmpfs rw\n";
        assert!(chosen(hidden, &[], &[]).is_empty());
    }

    #[test]
    fn a_whole_mount_is_preferred_to_a_part_and_a_subvolume_counts_as_whole() {
        let bound = b"1 0 8:1 /deep/inside /a rw - ext4 /dev/sda1 rw\n2 0 8:1 / /longer rw - ext4 /dev/sda1 rw\n";
        assert_eq!(chosen(bound, &[], &[]), ["/longer"]);
        let btrfs =
            b"1 0 0:9 /@ / rw - btrfs /dev/sda1 rw,subvol=/@\n2 0 0:9 / /top rw - btrfs /dev/sda1 rw,subvol=/\n";
        assert_eq!(chosen(btrfs, &[], &[]), ["/"]);
        let only_part = b"1 0 8:1 /var/lib/docker/hosts /etc/hosts rw - ext4 /dev/sda1 rw\n";
        assert_eq!(chosen(only_part, &[], &[]), ["/etc/hosts"]);
    }

    #[test]
    fn the_other_mounts_of_a_file_system_stand_in_and_one_that_can_be_written_makes_it_writable() {
        let bytes = b"1 0 8:1 / /a ro - ext4 /dev/sda1 rw\n2 0 8:1 / /longer rw - ext4 /dev/sda1 rw\n\
            3 0 8:1 /part /p rw - ext4 /dev/sda1 rw\n4 0 8:2 / /ro ro - ext4 /dev/sdb1 rw\n";
        let chosen = choose(parse(bytes), &Filter::default());
        assert_eq!(
            chosen.iter().map(|mounts| points(mounts)).collect::<Vec<_>>(),
            [vec!["/a", "/longer", "/p"], vec!["/ro"]]
        );
        assert!(chosen[0].iter().all(|mount| !mount.read_only) && chosen[1][0].read_only);
        let without = Filter { include: Vec::new(), exclude: vec![Regex::new("longer").unwrap()] };
        assert_eq!(points(&choose(parse(bytes), &without)[0]), ["/a", "/p"], "an excluded mount stands in for none");
    }

    #[test]
    fn in_a_container_the_hosts_mounts_are_seen_from_the_hosts_root() {
        assert_eq!(chosen(&fixture("container", "1"), &[], &[]), ["/", "/boot/efi"]);
        let own = fixture("container", "self");
        let seen = parse(&own).filter_map(|mount| mount.seen_from(Path::new("/host")));
        let mounts = best(seen, &Filter::default());
        assert_eq!(points(&mounts), ["/", "/boot/efi"]);
        assert_eq!(mounts[1].path(Path::new("/host")), Path::new("/host/boot/efi"));
        assert_eq!(mounts[0].path(Path::new("/host")), Path::new("/host"));
    }

    #[test]
    fn a_hostile_file_costs_its_odd_lines_only() {
        let mounts = best(parse(&fixture("hostile", "1")), &Filter::default());
        assert_eq!(
            points(&mounts),
            [
                "/",
                "/mnt/bad\\09octal",
                "/mnt/trail\\04",
                "/mnt/high\\777octal",
                "/mnt/caf\u{fffd}",
                "/mnt/source",
                "/mnt/two words",
                "/mnt/emptysource",
                "/mnt/newline\nin\tname\\x",
            ]
        );
        assert_eq!(mounts[4].path(Path::new("/")).as_os_str().as_bytes(), b"/mnt/caf\xe9");
        assert_eq!((&mounts[7].source[..], &mounts[7].fs_type[..]), (&b""[..], &b"ext4"[..]));
        assert!(mounts[8].read_only);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_and_no_file_system_comes_twice(
            bytes in prop_oneof![
                any::<Vec<u8>>(),
                "([0-9] [0-9] [08]:[0-3] /[ab]? /[a-c]{0,2} r[ow] (x:1 )?- (ext4|tmpfs|btrfs) [a-z/]{0,3} rw\n){0,12}"
                    .prop_map(String::into_bytes),
            ]
        ) {
            let mounts = best(parse(&bytes), &Filter::default());
            let devices: std::collections::HashSet<_> = mounts.iter().map(|mount| mount.device).collect();
            prop_assert_eq!(devices.len(), mounts.len());
        }
    }
}
