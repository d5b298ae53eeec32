//! Space of the host's file systems, from `mountinfo` of its first process and statvfs.
//!
//! [`crate::host::mounts`] selects them, and [`crate::host::usage`] queries them without waiting for one that hangs.
//! The device at a mount point is compared with `mountinfo`, because a container without the host's root has other file
//! systems at these paths.
//!
//! Datasets of a ZFS pool share its free space: each reports the same bytes.

use std::path::{Path, PathBuf};

use tracing::{info, warn};

use super::{Collector, Context, Definition, Observer, Options};
use crate::host::mounts::{self, Mount};
use crate::host::usage::{Outcome, Prober, RETRY, Reading, Space, Target};
use crate::host::{Host, Reader, Source, files};
use crate::metrics::naming::Detail::{Basic, Detailed};
use crate::metrics::naming::Kind::{Gauge, UpDownCounter};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names, Naming, attributes, label, labels};
use crate::metrics::parse::text;

pub const DEFINITION: Definition =
    Definition { name: "filesystem", metrics: METRICS, new: |context| Box::new(Filesystem::new(context)) };

const DEVICE: Attribute = Attribute { key: Names("system.device", "device"), values: &[] };
const MODE: Attribute = Attribute { key: Names("system.filesystem.mode", "mode"), values: &[RW, RO] };
const MOUNTPOINT: Attribute = Attribute { key: Names("system.filesystem.mountpoint", "mountpoint"), values: &[] };
const TYPE: Attribute = Attribute { key: Names("system.filesystem.type", "type"), values: &[] };
const STATE: Attribute = Attribute { key: Names("system.filesystem.state", "state"), values: &[USED, FREE, RESERVED] };

/// Labels of node_exporter; the last one is present only with an error.
const NODE: [&Attribute; 4] = [&label("device"), &label("fstype"), &label("mountpoint"), &label("device_error")];
const NODE_MOUNT: [&Attribute; 4] = [&label("device"), &label("major"), &label("minor"), &label("mountpoint")];

const RW: Names = Names::both("rw");
const RO: Names = Names::both("ro");
const USED: Names = Names::both("used");
const FREE: Names = Names::both("free");
const RESERVED: Names = Names::both("reserved");

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("usage", UpDownCounter, Int,
        "Bytes of the file system in each state; reserved is free for root only, and the states add up to the limit",
        "statvfs(3): (f_blocks - f_bfree, f_bavail, f_bfree - f_bavail) * f_frsize")
        .both("system.filesystem.usage", "By", Basic, &[&DEVICE, &MODE, &MOUNTPOINT, &TYPE, &STATE]),
    Metric::new("utilization", Gauge, Double,
        "Each state's share of the limit; in hostmetrics one value, used / (used + free)", "statvfs(3)")
        .semconv("system.filesystem.utilization", "1", Basic, &[&DEVICE, &MODE, &MOUNTPOINT, &TYPE, &STATE])
        .hostmetrics("system.filesystem.utilization", "1", Detailed, &[&DEVICE, &MODE, &MOUNTPOINT, &TYPE]),
    Metric::new("limit", UpDownCounter, Int, "Capacity of the file system", "statvfs(3): f_blocks * f_frsize")
        .semconv("system.filesystem.limit", "By", Detailed, &[&DEVICE, &MODE, &MOUNTPOINT, &TYPE]),
    Metric::new("inodes.usage", UpDownCounter, Int, "Inodes in each state; no semantic convention yet",
        "statvfs(3): f_files - f_ffree, f_ffree")
        .semconv("system.filesystem.inodes.usage", "{inode}", Basic, &[&DEVICE, &MODE, &MOUNTPOINT, &TYPE, &STATE])
        .hostmetrics("system.filesystem.inodes.usage", "{inodes}", Basic, &[&DEVICE, &MODE, &MOUNTPOINT, &TYPE, &STATE]),
    Metric::new("error", UpDownCounter, Int, "1 for each file system that answers with an error, or not at all",
        "statvfs(3)")
        .semconv("system.filesystem.linux.error", "1", Basic, &[&DEVICE, &MODE, &MOUNTPOINT, &TYPE]),
    Metric::node("node.size", Gauge, Int, "node_filesystem_size_bytes", &NODE,
        "Capacity of the file system", "statvfs(3): f_blocks * f_frsize"),
    Metric::node("node.free", Gauge, Int, "node_filesystem_free_bytes", &NODE,
        "Bytes that are free, for root too", "statvfs(3): f_bfree * f_frsize"),
    Metric::node("node.avail", Gauge, Int, "node_filesystem_avail_bytes", &NODE,
        "Bytes that are free for everyone", "statvfs(3): f_bavail * f_frsize"),
    Metric::node("node.files", Gauge, Int, "node_filesystem_files", &NODE,
        "Inodes that there are", "statvfs(3): f_files"),
    Metric::node("node.files_free", Gauge, Int, "node_filesystem_files_free", &NODE,
        "Inodes that are free", "statvfs(3): f_ffree"),
    Metric::node("node.readonly", Gauge, Int, "node_filesystem_readonly", &NODE,
        "Whether it cannot be written, 1 or 0", "/proc/1/mountinfo"),
    Metric::node("node.device_error", Gauge, Int, "node_filesystem_device_error", &NODE,
        "Whether the file system cannot be queried, 1 or 0", "statvfs(3)"),
    Metric::node("node.mount_info", Gauge, Int, "node_filesystem_mount_info", &NODE_MOUNT,
        "A mount, value 1", "/proc/1/mountinfo"),
    Metric::node("node.purgeable", Gauge, Int, "node_filesystem_purgeable_bytes", &NODE,
        "Always 0: no file system of Linux has such bytes", "none"),
];

struct Series {
    /// Used, free, reserved.
    states: [Attributes; 3],
    whole: Attributes,
}

impl Series {
    fn new(naming: Naming, mount: &Mount, device: &str) -> Self {
        let with = |state: Option<Names>| {
            let text = |value: &str| AttributeValue::Text(value.into());
            let mut pairs = vec![
                (&DEVICE, text(device)),
                (&MODE, AttributeValue::Word(if mount.read_only { RO } else { RW })),
                (&MOUNTPOINT, text(&crate::metrics::parse::text(&mount.point))),
                (&TYPE, text(&crate::metrics::parse::text(&mount.fs_type))),
            ];
            pairs.extend(state.map(|state| (&STATE, AttributeValue::Word(state))));
            attributes(naming, &pairs)
        };
        Self { states: [USED, FREE, RESERVED].map(|state| with(Some(state))), whole: with(None) }
    }
}

struct Volume {
    /// Its mounts, the preferred one first.
    mounts: Vec<Mount>,
    /// The mount that is queried and reported.
    mount: Mount,
    series: Series,
    /// `None` while it cannot be queried.
    space: Option<Space>,
    /// Whether the failure to query it was logged.
    reported: bool,
    /// Why it could not be queried, for node_exporter's label.
    trouble: Option<String>,
}

/// Why a mount has no values.
enum Trouble {
    /// Another file system is at its mount point.
    Elsewhere,
    /// It was unmounted since `mountinfo` was read, it is a file, or the host is a recorded one.
    Gone,
    /// It did not answer earlier; this was logged.
    StillHangs,
    Fails(String),
}

impl Volume {
    fn new(options: &Options, host: &Host, mounts: Vec<Mount>) -> Option<Self> {
        let mount = mounts.first()?.clone();
        let series = Self::series(options, host, &mount);
        Some(Self { mounts, mount, series, space: None, reported: false, trouble: None })
    }

    fn series(options: &Options, host: &Host, mount: &Mount) -> Series {
        Series::new(options.naming, mount, &device_label(options.naming, host, mount))
    }

    fn labels(&self) -> Attributes {
        labels(&[
            ("device", text(&self.mount.source)),
            ("device_error", self.trouble.clone().unwrap_or_default()),
            ("fstype", text(&self.mount.fs_type)),
            ("mountpoint", text(&self.mount.point)),
        ])
    }

    fn mount_labels(&self) -> Attributes {
        let (major, minor) = self.mount.device;
        labels(&[
            ("device", text(&self.mount.source)),
            ("major", major.to_string()),
            ("minor", minor.to_string()),
            ("mountpoint", text(&self.mount.point)),
        ])
    }
}

/// Evaluates the query of a mount. node_exporter also reports file systems without capacity, and files.
fn judge(mount: &Mount, outcome: Outcome, naming: Naming) -> Result<Option<Space>, Trouble> {
    let all = naming == Naming::NodeExporter;
    match outcome {
        Outcome::Reading(reading) if !is_at(mount, &reading) => Err(Trouble::Elsewhere),
        Outcome::Reading(reading) if !(reading.is_directory || all) => Err(Trouble::Gone),
        Outcome::Reading(reading) => Ok(Some(reading.space).filter(|space| space.limit > 0 || all)),
        Outcome::StillHangs => Err(Trouble::StillHangs),
        Outcome::Failed(error) if is_normal(&error) => Err(Trouble::Gone),
        Outcome::Failed(error) => Err(Trouble::Fails(error.to_string())),
        Outcome::Hangs => Err(Trouble::Fails(format!("no answer; it is asked again every {RETRY:?}"))),
    }
}

fn target(host: &Host, mount: &Mount) -> Target {
    Target { path: mount.path(host.root()).into(), device: mount.device, local: mount.is_disk_backed() }
}

struct Filesystem {
    options: Options,
    host: Host,
    source: Source,
    /// Whether `source` lists the mounts of this process rather than of the host.
    own_view: bool,
    /// The previous content of the file; mounts rarely change.
    mountinfo: Vec<u8>,
    volumes: Vec<Volume>,
    /// Query targets, in the order of `volumes`.
    targets: Vec<Target>,
    prober: Prober,
    elsewhere_reported: bool,
}

impl Filesystem {
    fn new(context: &Context) -> Self {
        let host = &context.host;
        let file = host.of_first_process(
            "mountinfo",
            "self/mountinfo",
            "the file systems are those that this process sees, in a container with --root-path the host's below it",
        );
        Self {
            options: context.options.clone(),
            own_view: file == host.proc("self/mountinfo"),
            source: Source::new(file, "is this a Linux /proc?")
                .required()
                .expecting(|mountinfo| mounts::parse(mountinfo).next().is_some()),
            mountinfo: Vec::new(),
            volumes: Vec::new(),
            targets: Vec::new(),
            prober: Prober::new(host.calls.space),
            elsewhere_reported: false,
            host: host.clone(),
        }
    }

    fn choose(&mut self) {
        let root = Path::new(if self.own_view { self.host.root() } else { Path::new("/") });
        let mounts = mounts::parse(&self.mountinfo).filter_map(|mount| mount.seen_from(root));
        let mut known = std::mem::take(&mut self.volumes);
        let chosen = match self.options.naming {
            Naming::NodeExporter => {
                let chosen = mounts::choose_as_node_exporter(mounts, &self.options.filesystems);
                chosen.into_iter().map(|mount| vec![mount]).collect()
            }
            _ => mounts::choose(mounts, &self.options.filesystems),
        };
        for mounts in chosen {
            let same = known.iter().position(|volume| volume.mounts == mounts).map(|place| known.swap_remove(place));
            self.volumes.extend(same.or_else(|| Volume::new(&self.options, &self.host, mounts)));
        }
        self.targets = self.volumes.iter().map(|volume| target(&self.host, &volume.mount)).collect();
    }

    /// Queries all file systems. If one cannot be queried at its current mount, tries its other mounts.
    fn ask(&mut self, reader: &mut Reader) {
        let naming = self.options.naming;
        let outcomes = self.prober.ask(&self.targets, reader.time_left());
        let mut troubled = Vec::new();
        for (place, (volume, outcome)) in self.volumes.iter_mut().zip(outcomes).enumerate() {
            volume.trouble = node_error(&outcome);
            volume.space = None;
            match judge(&volume.mount, outcome, naming) {
                Ok(space) => {
                    volume.space = space;
                    if std::mem::take(&mut volume.reported) {
                        info!("the file system at {} answers again", text(&volume.mount.point));
                    }
                }
                Err(trouble) => troubled.push((place, trouble)),
            }
        }
        let mut elsewhere = Vec::new();
        for (place, trouble) in troubled {
            if self.moved(place, reader) {
                continue;
            }
            let Some(volume) = self.volumes.get_mut(place) else { continue };
            let point = text(&volume.mount.point);
            match trouble {
                Trouble::Elsewhere => elsewhere.push(point),
                Trouble::Gone | Trouble::StillHangs => {}
                Trouble::Fails(why) => {
                    reader.fail();
                    if !std::mem::replace(&mut volume.reported, true) {
                        warn!("the file system at {point} is left out: {why}");
                    }
                }
            }
        }
        self.report_elsewhere(reader, &elsewhere);
    }

    /// Whether the file system at this index answers at another mount, which is reported from now on.
    fn moved(&mut self, place: usize, reader: &Reader) -> bool {
        let naming = self.options.naming;
        let Some(volume) = self.volumes.get_mut(place) else { return false };
        let others: Vec<Mount> = volume.mounts.iter().filter(|mount| **mount != volume.mount).cloned().collect();
        for mount in others {
            let target = target(&self.host, &mount);
            let outcome = self.prober.ask(std::slice::from_ref(&target), reader.time_left()).pop();
            if let Some(Ok(space)) = outcome.map(|outcome| judge(&mount, outcome, naming)) {
                let (from, to) = (text(&volume.mount.point), text(&mount.point));
                info!("the file system at {from} cannot be queried there; it is reported at {to}");
                volume.series = Volume::series(&self.options, &self.host, &mount);
                (volume.mount, volume.space, volume.trouble, volume.reported) = (mount, space, None, false);
                if let Some(slot) = self.targets.get_mut(place) {
                    *slot = target;
                }
                return true;
            }
        }
        false
    }

    /// Logs once that other file systems are at these mount points, and adds a remark for `check`.
    fn report_elsewhere(&mut self, reader: &mut Reader, points: &[String]) {
        const NAMED: usize = 3;
        if points.is_empty() {
            return;
        }
        let named = points.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if points.len() > NAMED { format!(" and {} more", points.len() - NAMED) } else { String::new() };
        let line = format!(
            "file systems that this process does not see are left out: {named}{more}. In a container, mount the host's root and give --root-path; in a systemd unit, ProtectHome= hides /home, /root and /run/user"
        );
        reader.remark(&*line);
        if !std::mem::replace(&mut self.elsewhere_reported, true) {
            info!("{line}");
        }
    }

    /// Reports node_exporter's metrics; two of them exist also for file systems that cannot be queried.
    fn observe_as_node_exporter(&self, id: &str, out: &mut Observer<'_>) {
        for volume in self.volumes.iter().filter(|volume| volume.space.is_some() || volume.trouble.is_some()) {
            let value = match (id, &volume.space) {
                ("node.readonly", _) => u64::from(volume.mount.read_only),
                ("node.device_error", space) => u64::from(space.is_none()),
                ("node.mount_info", Some(_)) => {
                    out.int(1, &volume.mount_labels());
                    continue;
                }
                ("node.size", Some(space)) => space.limit,
                ("node.free", Some(space)) => space.free.saturating_add(space.reserved),
                ("node.avail", Some(space)) => space.free,
                ("node.files", Some(space)) => space.files,
                ("node.files_free", Some(space)) => space.files_free,
                ("node.purgeable", Some(_)) => 0,
                _ => continue,
            };
            out.int(value, &volume.labels());
        }
    }

    fn each(&self, mut report: impl FnMut(&Space, &Series)) {
        for volume in &self.volumes {
            if let Some(space) = &volume.space {
                report(space, &volume.series);
            }
        }
    }
}

/// Whether the answer is from the file system in `mountinfo`. Anonymous device numbers are not compared: btrfs gives
/// each subvolume its own.
fn is_at(mount: &Mount, reading: &Reading) -> bool {
    let anonymous = mount.device.0 == 0 && reading.device.0 == 0;
    anonymous || mount.device == reading.device
}

/// Whether the error is expected: the mount was removed since `mountinfo` was read, or the host is a recorded one.
fn is_normal(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound, Unsupported};
    matches!(error.kind(), NotFound | NotADirectory | Unsupported)
}

/// The source of the mount. `/dev/root` is the kernel's name for the boot device, not a device; hostmetrics reports
/// `/dev/dm-0` for a mount of `/dev/mapper/vg0-root`.
fn device_label(naming: Naming, host: &Host, mount: &Mount) -> String {
    let source = text(&mount.source);
    let (major, minor) = mount.device;
    let is_mapped = naming == Naming::Hostmetrics && source.starts_with("/dev/mapper/");
    if is_mapped || source == "/dev/root" {
        let target = |link: PathBuf| Some(files::read_link(&link).ok()?.file_name()?.to_string_lossy().into_owned());
        let mapped = is_mapped.then(|| target(host.root().join(source.trim_start_matches('/')))).flatten();
        let name = mapped.or_else(|| target(host.sys("dev/block").join(format!("{major}:{minor}"))));
        return name.map_or(source, |name| format!("/dev/{name}"));
    }
    if source.is_empty() { format!("{major}:{minor}") } else { source }
}

impl Collector for Filesystem {
    fn read(&mut self, reader: &mut Reader) {
        let Some(bytes) = reader.read(&mut self.source) else {
            self.volumes.iter_mut().for_each(|volume| volume.space = None);
            return;
        };
        if bytes != self.mountinfo {
            self.mountinfo = bytes.to_vec();
            self.choose();
        }
        self.ask(reader);
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        let hostmetrics = self.options.naming == Naming::Hostmetrics;
        match metric.id {
            "usage" => self.each(|space, series| {
                for (bytes, series) in states(space).into_iter().zip(&series.states) {
                    out.int(bytes, series);
                }
            }),
            "utilization" if hostmetrics => {
                self.each(|space, series| {
                    out.float(share(space.used, space.used.saturating_add(space.free)), &series.whole)
                });
            }
            "utilization" => self.each(|space, series| {
                for (bytes, series) in states(space).into_iter().zip(&series.states) {
                    out.float(share(bytes, space.limit), series);
                }
            }),
            "limit" => self.each(|space, series| out.int(space.limit, &series.whole)),
            // File systems that create inodes dynamically have no inode count; hostmetrics sends 0 of 0.
            "inodes.usage" => self.each(|space, series| {
                if space.files > 0 || hostmetrics {
                    let values = [space.files.saturating_sub(space.files_free), space.files_free];
                    values.into_iter().zip(&series.states).for_each(|(value, series)| out.int(value, series));
                }
            }),
            "error" => {
                let failing = self.volumes.iter().filter(|volume| volume.reported);
                failing.for_each(|volume| out.int(1, &volume.series.whole));
            }
            id => self.observe_as_node_exporter(id, out),
        }
    }
}

/// node_exporter's text for an error.
fn node_error(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Hangs | Outcome::StillHangs => Some("mountpoint timeout".to_owned()),
        Outcome::Failed(error) => {
            let text = error.to_string();
            Some(text.split(" (os error").next().unwrap_or_default().to_lowercase())
        }
        Outcome::Reading(_) => None,
    }
}

fn states(space: &Space) -> [u64; 3] {
    [space.used, space.free, space.reserved]
}

/// Divides; a division by zero gives NaN, which is not sent.
#[allow(clippy::cast_precision_loss)] // a ratio
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host as TestHost, series};
    use super::*;
    use crate::metrics::filter::Filter;
    use std::io;
    use std::sync::mpsc::channel;
    use std::sync::{Arc, Mutex};

    /// 1,000 blocks of 4 KiB: 300 unused, of which 250 are available to all users; 64 inodes.
    fn space() -> Space {
        Space::new(4_096, 1_000, 300, 250, 64, 60)
    }

    fn filesystem(
        host: &TestHost,
        options: Options,
        ask: impl Fn(&Path) -> io::Result<Reading> + Send + Sync + 'static,
    ) -> Filesystem {
        let mut filesystem = Filesystem::new(&host.context(options));
        filesystem.prober = Prober::new(ask);
        filesystem
    }

    fn answering(device: (u32, u32)) -> impl Fn(&Path) -> io::Result<Reading> + Send + Sync {
        move |_| Ok(Reading { device, is_directory: true, space: space() })
    }

    fn with_mounts(mountinfo: &str) -> TestHost {
        let host = TestHost::empty();
        host.write("proc/1/mountinfo", mountinfo);
        host
    }

    const ROOT: &str = "28 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n";

    #[test]
    fn node_exporter_has_each_mount_of_a_type_that_is_not_on_its_list_and_its_errors() {
        let host = with_mounts(
            "28 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
             29 1 0:5 / /dev rw - devtmpfs udev rw\n\
             30 1 0:6 / /run ro - tmpfs tmpfs rw\n\
             31 1 8:1 /x /srv rw - ext4 /dev/sda1 rw\n\
             32 1 8:1 /y /var/lib/docker/y rw - ext4 /dev/sda1 rw\n\
             33 1 8:2 / /data rw - xfs /dev/sdb rw\n",
        );
        let options = Options { naming: Naming::NodeExporter, ..Options::default() };
        let mut filesystem = filesystem(&host, options, |path| match path.ends_with("data") {
            true => Err(io::ErrorKind::PermissionDenied.into()),
            false => Ok(Reading {
                device: if path.ends_with("run") { (0, 6) } else { (8, 1) },
                is_directory: true,
                space: space(),
            }),
        });
        host.read(&mut filesystem);
        assert_eq!(
            series(&filesystem, METRICS, "node.avail"),
            [
                "device=/dev/sda1 fstype=ext4 mountpoint=/ 1024000",
                "device=tmpfs fstype=tmpfs mountpoint=/run 1024000",
                "device=/dev/sda1 fstype=ext4 mountpoint=/srv 1024000",
            ]
        );
        assert_eq!(series(&filesystem, METRICS, "node.free")[0], "device=/dev/sda1 fstype=ext4 mountpoint=/ 1228800");
        let errors = series(&filesystem, METRICS, "node.device_error");
        assert_eq!(errors[0], "device=/dev/sda1 fstype=ext4 mountpoint=/ 0");
        assert_eq!(errors[3], "device=/dev/sdb device_error=permission denied fstype=xfs mountpoint=/data 1");
        assert_eq!(series(&filesystem, METRICS, "node.readonly")[1], "device=tmpfs fstype=tmpfs mountpoint=/run 1");
        assert_eq!(
            series(&filesystem, METRICS, "node.mount_info")[0],
            "device=/dev/sda1 major=8 minor=1 mountpoint=/ 1"
        );
    }

    #[test]
    fn a_file_system_reports_its_bytes_its_shares_and_its_inodes() {
        let host = with_mounts(ROOT);
        let mut filesystem = filesystem(&host, Options::default(), answering((8, 1)));
        assert_eq!(host.read(&mut filesystem), 0);
        let states = |values: [&str; 3]| {
            ["used", "free", "reserved"]
                .map(|state| {
                    format!("system.device=/dev/sda1 system.filesystem.mode=rw system.filesystem.mountpoint=/ system.filesystem.state={state} system.filesystem.type=ext4 ")
                })
                .into_iter()
                .zip(values)
                .map(|(series, value)| series + value)
                .collect::<Vec<_>>()
        };
        assert_eq!(series(&filesystem, METRICS, "usage"), states(["2867200", "1024000", "204800"]));
        assert_eq!(series(&filesystem, METRICS, "utilization"), states(["0.7", "0.25", "0.05"]));
        assert_eq!(series(&filesystem, METRICS, "inodes.usage"), states(["4", "60", ""])[..2]);
        assert_eq!(
            series(&filesystem, METRICS, "limit"),
            [
                "system.device=/dev/sda1 system.filesystem.mode=rw system.filesystem.mountpoint=/ system.filesystem.type=ext4 4096000"
            ]
        );
    }

    #[test]
    fn hostmetrics_has_one_utilization_without_what_is_reserved() {
        let host = with_mounts(&ROOT.replace("rw,relatime", "ro"));
        let options = Options { naming: Naming::Hostmetrics, ..Options::default() };
        let mut filesystem = filesystem(&host, options, answering((8, 1)));
        host.read(&mut filesystem);
        let utilization = series(&filesystem, METRICS, "utilization");
        let share: f64 = utilization[0].rsplit(' ').next().unwrap().parse().unwrap();
        assert_eq!((utilization.len(), share), (1, 700.0 / 950.0));
        assert!(utilization[0].starts_with("device=/dev/sda1 mode=ro mountpoint=/ type=ext4 "));
    }

    #[test]
    fn inodes_that_are_made_as_they_are_needed_have_no_number() {
        let host = with_mounts("1 0 0:9 / / rw - btrfs /dev/sda1 rw,subvol=/\n");
        let ask =
            |_: &Path| Ok(Reading { device: (0, 44), is_directory: true, space: Space::new(4_096, 10, 5, 5, 0, 0) });
        let inodes = |naming| {
            let mut filesystem = filesystem(&host, Options { naming, ..Options::default() }, ask);
            host.read(&mut filesystem);
            series(&filesystem, METRICS, "inodes.usage").len()
        };
        assert_eq!((inodes(Naming::Semconv), inodes(Naming::Hostmetrics)), (0, 2));
    }

    #[test]
    fn a_file_system_without_blocks_is_not_reported() {
        let host = with_mounts(ROOT);
        let ask = |_: &Path| Ok(Reading { device: (8, 1), is_directory: true, space: Space::default() });
        let mut filesystem = filesystem(&host, Options::default(), ask);
        assert_eq!(host.read(&mut filesystem), 0);
        assert!(series(&filesystem, METRICS, "usage").is_empty());
    }

    #[test]
    fn a_mount_point_with_another_device_than_the_hosts_is_left_out() {
        let host = with_mounts(ROOT);
        for elsewhere in [(8, 2), (0, 50)] {
            let mut filesystem = filesystem(&host, Options::default(), answering(elsewhere));
            assert_eq!(host.read(&mut filesystem), 0, "not seeing it is no failure");
            assert!(series(&filesystem, METRICS, "usage").is_empty() && filesystem.elsewhere_reported);
        }
    }

    #[test]
    fn a_mount_that_vanished_is_normal_and_one_that_refuses_is_a_failure() {
        let host = with_mounts(ROOT);
        for (kind, failures) in [(io::ErrorKind::NotFound, 0), (io::ErrorKind::PermissionDenied, 1)] {
            let mut filesystem = filesystem(&host, Options::default(), move |_| Err(kind.into()));
            assert_eq!(host.read(&mut filesystem), failures, "{kind:?}");
            assert!(series(&filesystem, METRICS, "usage").is_empty());
            assert_eq!(series(&filesystem, METRICS, "error").len() as u64, failures);
        }
    }

    #[test]
    fn a_mount_that_hangs_is_counted_once_and_the_others_are_reported() {
        let host = with_mounts(&format!("{ROOT}29 28 8:1 / /hung rw - ext4 /dev/sdb1 rw\n").replacen("8:1", "8:2", 1));
        let (let_go, wait) = channel::<()>();
        let wait = Mutex::new(wait);
        let mut filesystem = filesystem(&host, Options::default(), move |path| {
            let hangs = path.ends_with("hung");
            if hangs {
                let _ended = wait.lock().unwrap().recv();
            }
            Ok(Reading { device: if hangs { (8, 1) } else { (8, 2) }, is_directory: true, space: space() })
        });
        assert_eq!(host.read(&mut filesystem), 1);
        assert_eq!(host.read(&mut filesystem), 0, "it is not asked again");
        let usage = series(&filesystem, METRICS, "usage");
        assert!(usage.len() == 3 && usage[0].contains("mountpoint=/ "), "{usage:?}");
        let error = series(&filesystem, METRICS, "error");
        assert!(error.len() == 1 && error[0].contains("mountpoint=/hung ") && error[0].ends_with(" 1"), "{error:?}");
        drop(let_go);
    }

    /// `/a` and `/other` are mounts of the same file system.
    const TWICE: &str = "29 1 8:1 / /a ro - ext4 /dev/sda1 rw\n30 1 8:1 / /other rw - ext4 /dev/sda1 rw\n";

    #[test]
    fn a_mount_that_is_hidden_is_replaced_by_another_of_its_file_system() {
        let host = with_mounts(TWICE);
        let ask = |path: &Path| {
            let device = if path.ends_with("a") { (0, 40) } else { (8, 1) };
            Ok(Reading { device, is_directory: true, space: space() })
        };
        let mut filesystem = filesystem(&host, Options::default(), ask);
        for _ in 0..2 {
            assert_eq!(host.read(&mut filesystem), 0);
            let limit = series(&filesystem, METRICS, "limit");
            assert!(limit.len() == 1 && limit[0].contains("mountpoint=/other "), "{limit:?}");
            assert!(limit[0].contains("mode=rw"), "it can be written at one of its mount points: {limit:?}");
        }
        assert!(!filesystem.elsewhere_reported);
    }

    #[test]
    fn a_mount_that_does_not_answer_is_replaced_by_another_of_its_file_system() {
        let host = with_mounts(TWICE);
        let (let_go, wait) = channel::<()>();
        let wait = Mutex::new(wait);
        let mut filesystem = filesystem(&host, Options::default(), move |path| {
            if path.ends_with("a") {
                let _ended = wait.lock().unwrap().recv();
            }
            Ok(Reading { device: (8, 1), is_directory: true, space: space() })
        });
        for _ in 0..2 {
            assert_eq!(host.read(&mut filesystem), 0);
            let limit = series(&filesystem, METRICS, "limit");
            assert!(limit.len() == 1 && limit[0].contains("mountpoint=/other "), "{limit:?}");
        }
        drop(let_go);
    }

    #[test]
    fn a_file_that_a_container_runtime_mounted_is_no_file_system() {
        let host = with_mounts("29 1 8:1 /var/lib/docker/hosts /etc/hosts rw - ext4 /dev/sda1 rw\n");
        let ask = |_: &Path| Ok(Reading { device: (8, 1), is_directory: false, space: space() });
        let mut filesystem = filesystem(&host, Options::default(), ask);
        assert_eq!(host.read(&mut filesystem), 0);
        assert!(series(&filesystem, METRICS, "usage").is_empty());
    }

    #[test]
    fn a_hidden_path_is_a_remark_of_check_and_no_failure() {
        let host = with_mounts(&(ROOT.to_owned() + "30 28 8:2 / /home rw - ext4 /dev/sdb1 rw\n"));
        let ask = |path: &Path| {
            let device = if path.ends_with("home") { (0, 40) } else { (8, 1) };
            Ok(Reading { device, is_directory: true, space: space() })
        };
        let mut filesystem = filesystem(&host, Options::default(), ask);
        let mut reader = Reader::new(&host.context(Options::default()).host).recording();
        filesystem.read(&mut reader);
        let problems = reader.problems();
        assert!(problems.len() == 1 && problems[0].is_remark(), "{problems:?}");
        assert!(problems[0].words.contains("/home") && problems[0].words.contains("ProtectHome="), "{problems:?}");
        assert_eq!((reader.failures(), series(&filesystem, METRICS, "limit").len()), (0, 1));
    }

    #[test]
    fn mounts_that_come_and_go_are_noticed() {
        let host = with_mounts(ROOT);
        let mut filesystem = filesystem(&host, Options::default(), answering((8, 1)));
        host.read(&mut filesystem);
        host.write("proc/1/mountinfo", ROOT.replace("/ / rw", "/ /new rw"));
        host.read(&mut filesystem);
        let usage = series(&filesystem, METRICS, "usage");
        assert!(usage.len() == 3 && usage[0].contains("mountpoint=/new "), "{usage:?}");
        host.remove("proc/1/mountinfo");
        host.read(&mut filesystem);
        assert!(series(&filesystem, METRICS, "usage").is_empty(), "a state is not held");
    }

    #[test]
    fn without_the_first_process_the_mounts_below_the_hosts_root_lose_its_prefix() {
        let host = TestHost::empty();
        let root = host.context(Options::default()).host.root().to_str().unwrap().to_owned();
        let own = format!(
            "1 0 8:9 / / rw - ext4 /dev/a rw\n2 1 8:1 / {root} rw - ext4 /dev/sda1 rw\n3 2 8:2 / {root}/boot rw - ext4 /dev/sda2 rw\n"
        );
        host.write("proc/self/mountinfo", own);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let paths = Arc::clone(&asked);
        let mut filesystem = filesystem(&host, Options::default(), move |path| {
            paths.lock().unwrap().push(path.to_owned());
            Ok(Reading { device: (8, if path.ends_with("boot") { 2 } else { 1 }), is_directory: true, space: space() })
        });
        host.read(&mut filesystem);
        let usage = series(&filesystem, METRICS, "usage");
        assert!(usage[0].contains("mountpoint=/ ") && usage[3].contains("mountpoint=/boot "), "{usage:?}");
        assert_eq!(*asked.lock().unwrap(), [PathBuf::from(&root), Path::new(&root).join("boot")]);
    }

    #[test]
    fn the_device_is_what_was_mounted() {
        let host = TestHost::empty();
        host.write("sys/devices/virtual/block/dm-3/dev", "253:3");
        std::fs::create_dir_all(host.context(Options::default()).host.sys("dev/block")).unwrap();
        let host = host.context(Options::default()).host;
        std::os::unix::fs::symlink("../../devices/virtual/block/dm-3", host.sys("dev/block/253:3")).unwrap();
        let label = |naming, source: &str| {
            let line = format!("1 0 253:3 / / rw - ext4 {source} rw");
            device_label(naming, &host, &mounts::parse(line.as_bytes()).next().unwrap())
        };
        assert_eq!(label(Naming::Semconv, "/dev/mapper/vg0-root"), "/dev/mapper/vg0-root");
        assert_eq!(label(Naming::Hostmetrics, "/dev/mapper/vg0-root"), "/dev/dm-3");
        assert_eq!(label(Naming::Semconv, "/dev/root"), "/dev/dm-3");
        assert_eq!(label(Naming::Semconv, ""), "253:3");
    }

    #[test]
    fn a_recorded_host_does_not_ask_this_machine() {
        let host = TestHost::fixture("server");
        let mut filesystem = Filesystem::new(&host.context(Options::default()));
        assert_eq!(host.read(&mut filesystem), 0);
        assert_eq!(filesystem.volumes.len(), 8);
        assert!(series(&filesystem, METRICS, "usage").is_empty());
    }

    #[test]
    fn the_fixture_hosts_report_their_disks() {
        let reported = |fixture: &str, include: &[&str]| {
            let host = TestHost::fixture(fixture);
            let include = include.iter().map(|pattern| regex_lite::Regex::new(pattern).unwrap()).collect();
            let filesystems = Filter { include, exclude: Vec::new() };
            let mut filesystem = Filesystem::new(&host.context(Options { filesystems, ..Options::default() }));
            let mountinfo = std::fs::read(filesystem.source.path()).unwrap();
            let devices: Vec<_> =
                mounts::parse(&mountinfo).map(|mount| (mount.path(filesystem.host.root()), mount.device)).collect();
            filesystem.prober = Prober::new(move |path| {
                let device = devices.iter().rev().find(|(point, _)| point == path).unwrap().1;
                Ok(Reading { device, is_directory: true, space: space() })
            });
            assert_eq!(host.read(&mut filesystem), 0);
            series(&filesystem, METRICS, "limit")
        };
        assert_eq!(reported("server", &[]).len(), 8);
        assert!(reported("server", &["^/snap/"])[0].contains("mode=ro"));
        assert_eq!(reported("hostile", &[]).len(), 9);
        assert_eq!(
            reported("container", &[])[1],
            "system.device=/dev/vda15 system.filesystem.mode=rw system.filesystem.mountpoint=/boot/efi system.filesystem.type=vfat 4096000"
        );
        assert_eq!(
            reported("old-kernel", &[])[0],
            "system.device=/dev/mapper/centos-root system.filesystem.mode=rw system.filesystem.mountpoint=/ system.filesystem.type=xfs 4096000"
        );
    }
}
