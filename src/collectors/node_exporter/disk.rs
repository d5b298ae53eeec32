//! Disks in node_exporter's naming: every column of `/proc/diskstats` (Documentation/admin-guide/iostats.rst) for the
//! devices that node_exporter selects, and information about them from udev's database and sysfs.

use std::collections::BTreeMap;

use super::super::{Collector, Context, Definition, Observer, Options};
use super::facts::Facts;
use super::{MOST_GONE, REFRESH, rules};
use crate::host::{Host, Reader, Source, read_small};
use crate::metrics::counter::{Kind, Table};
use crate::metrics::naming::Kind::{Counter, Gauge};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, Attributes, Metric, label, labels};
use crate::metrics::parse::{fields, lines, number, text};

pub const DEFINITION: Definition =
    Definition { name: "disk", metrics: METRICS, new: |context| Box::new(Disks::new(context)) };

const DEVICE: Attribute = label("device");

const fn column(
    kind: crate::metrics::naming::Kind,
    number: crate::metrics::naming::Number,
    name: &'static str,
    description: &'static str,
) -> Metric {
    Metric::node(name, kind, number, name, &[&DEVICE], description, "/proc/diskstats")
}

/// The metrics of the columns in file order, followed by the device information.
#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    column(Counter, Int, "node_disk_reads_completed_total", "Reads that were completed"),
    column(Counter, Int, "node_disk_reads_merged_total", "Reads that were merged"),
    column(Counter, Double, "node_disk_read_bytes_total", "Bytes read"),
    column(Counter, Double, "node_disk_read_time_seconds_total", "Time that reads took, added up"),
    column(Counter, Int, "node_disk_writes_completed_total", "Writes that were completed"),
    column(Counter, Int, "node_disk_writes_merged_total", "Writes that were merged"),
    column(Counter, Double, "node_disk_written_bytes_total", "Bytes written"),
    column(Counter, Double, "node_disk_write_time_seconds_total", "Time that writes took, added up"),
    column(Gauge, Int, "node_disk_io_now", "Operations in progress"),
    column(Counter, Double, "node_disk_io_time_seconds_total", "Time with an operation in progress"),
    column(Counter, Double, "node_disk_io_time_weighted_seconds_total", "Time that operations took, added up"),
    column(Counter, Int, "node_disk_discards_completed_total", "Discards that were completed"),
    column(Counter, Int, "node_disk_discards_merged_total", "Discards that were merged"),
    column(Counter, Int, "node_disk_discarded_sectors_total", "Sectors that were discarded"),
    column(Counter, Double, "node_disk_discard_time_seconds_total", "Time that discards took, added up"),
    column(Counter, Int, "node_disk_flush_requests_total", "Flush requests that were completed"),
    column(Counter, Double, "node_disk_flush_requests_time_seconds_total", "Time that flush requests took, added up"),
    Metric::node("info", Gauge, Int, "node_disk_info", &[&DEVICE, &label("major"), &label("minor"), &label("model"), &label("path"), &label("revision"), &label("rotational"), &label("serial"), &label("wwn")],
        "A block device, value 1", "/run/udev/data, /sys/block"),
    Metric::node("filesystem", Gauge, Int, "node_disk_filesystem_info", &[&DEVICE, &label("type"), &label("usage"), &label("uuid"), &label("version")],
        "What the device holds, value 1", "/run/udev/data"),
    Metric::node("mapper", Gauge, Int, "node_disk_device_mapper_info", &[&DEVICE, &label("lv_layer"), &label("lv_name"), &label("name"), &label("uuid"), &label("vg_name")],
        "A device of the device mapper, value 1", "/run/udev/data"),
    Metric::node("ID_ATA_WRITE_CACHE", Gauge, Int, "node_disk_ata_write_cache", &[&DEVICE],
        "Whether the disk has a write cache, 1 or 0", "/run/udev/data"),
    Metric::node("ID_ATA_WRITE_CACHE_ENABLED", Gauge, Int, "node_disk_ata_write_cache_enabled", &[&DEVICE],
        "Whether the write cache is enabled, 1 or 0", "/run/udev/data"),
    Metric::node("ID_ATA_ROTATION_RATE_RPM", Gauge, Int, "node_disk_ata_rotation_rate_rpm", &[&DEVICE],
        "Rotations a minute; 0 for a solid-state disk", "/run/udev/data"),
];

const COLUMNS: usize = 17;
/// Index of the operations in progress, which are not a counter.
const IN_PROGRESS: usize = 8;
const SECTOR_BYTES: f64 = 512.0;
const MILLISECONDS_PER_SECOND: f64 = 1e3;

/// Counter kinds. Sectors and operations have the kernel's word size; milliseconds have 32 bits on every kernel, and
/// are added when an operation completes.
fn kinds(word_bits: u32) -> [Kind; COLUMNS] {
    let events = Kind::EVENTS.word(word_bits);
    let time = Kind::UNLIMITED.narrow();
    [
        events,
        events,
        events,
        time,
        events,
        events,
        events,
        time,
        Kind::UNLIMITED,
        time,
        time,
        events,
        events,
        events,
        time,
        events,
        time,
    ]
}

struct Disk {
    series: Attributes,
    in_progress: u64,
    /// Number of columns that this kernel has.
    columns: usize,
}

struct Disks {
    host: Host,
    options: Options,
    source: Source,
    disks: Table<Disk, COLUMNS>,
    facts: Facts,
    /// Names and numbers of the devices whose information was read.
    known: Vec<(String, String, String)>,
}

impl Disks {
    fn new(context: &Context) -> Self {
        let host = context.host.clone();
        Self {
            source: Source::new(host.proc("diskstats"), "the kernel needs CONFIG_PROC_FS and block devices"),
            disks: Table::new(rules(kinds(host.word_bits), &context.options), MOST_GONE),
            options: context.options.clone(),
            facts: Facts::default(),
            known: Vec::new(),
            host,
        }
    }

    fn facts(&mut self) {
        self.facts.clear();
        for (device, major, minor) in &self.known {
            let file = self.host.root().join(format!("run/udev/data/b{major}:{minor}"));
            let udev = read_small(&file).map(|data| parse_udev(&data)).unwrap_or_default();
            let property = |name: &str| udev.get(name).cloned().unwrap_or_default();
            let device = ("device", device.clone());
            let rotational = read_small(&self.host.sys("block").join(&device.1).join("queue/rotational"));
            let serial = ["SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL"].map(property);
            let info = [
                device.clone(),
                ("major", major.clone()),
                ("minor", minor.clone()),
                ("path", property("ID_PATH")),
                ("wwn", property("ID_WWN")),
                ("model", property("ID_MODEL")),
                ("serial", serial.into_iter().find(|serial| !serial.is_empty()).unwrap_or_default()),
                ("revision", property("ID_REVISION")),
                ("rotational", if rotational.as_deref() == Some(b"1") { "1" } else { "0" }.to_owned()),
            ];
            self.facts.add("info", 1.0, &info);
            if !property("ID_FS_TYPE").is_empty() {
                let filesystem = [
                    device.clone(),
                    ("type", property("ID_FS_TYPE")),
                    ("usage", property("ID_FS_USAGE")),
                    ("uuid", property("ID_FS_UUID")),
                    ("version", property("ID_FS_VERSION")),
                ];
                self.facts.add("filesystem", 1.0, &filesystem);
            }
            if !property("DM_NAME").is_empty() {
                let mapper = [
                    device.clone(),
                    ("name", property("DM_NAME")),
                    ("uuid", property("DM_UUID")),
                    ("vg_name", property("DM_VG_NAME")),
                    ("lv_name", property("DM_LV_NAME")),
                    ("lv_layer", property("DM_LV_LAYER")),
                ];
                self.facts.add("mapper", 1.0, &mapper);
            }
            if !property("ID_ATA").is_empty() {
                for id in ["ID_ATA_WRITE_CACHE", "ID_ATA_WRITE_CACHE_ENABLED", "ID_ATA_ROTATION_RATE_RPM"] {
                    if let Ok(value) = property(id).parse() {
                        self.facts.add(id, value, std::slice::from_ref(&device));
                    }
                }
            }
        }
    }
}

/// Parses the properties of a device in udev's database: lines `E:NAME=value`.
fn parse_udev(data: &[u8]) -> BTreeMap<String, String> {
    let property = |line: &[u8]| {
        let line = text(line.strip_prefix(b"E:")?);
        line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    lines(data).filter_map(property).collect()
}

/// node_exporter's `collector.diskstats.device-exclude`: RAM and loop devices, floppies, and partitions of disks named
/// by letters or NVMe namespaces.
fn is_left_out(name: &str) -> bool {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == name.len() {
        return false;
    }
    let letter = |rest: &str| rest.len() == 1 && rest.bytes().all(|b| b.is_ascii_lowercase());
    let namespace = || {
        let (controller, namespace) = stem.strip_prefix("nvme")?.strip_suffix('p')?.split_once('n')?;
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        Some(digits(controller) && digits(namespace))
    };
    matches!(stem, "ram" | "zram" | "loop" | "fd")
        || ["hd", "sd", "vd", "xvd"].iter().any(|kind| stem.strip_prefix(kind).is_some_and(letter))
        || namespace() == Some(true)
}

impl Collector for Disks {
    fn read(&mut self, reader: &mut Reader) {
        let (now, cycle) = (reader.now(), reader.cycle());
        let Some(bytes) = reader.read(&mut self.source) else { return };
        let mut known = Vec::new();
        self.disks.begin(now);
        for line in lines(bytes) {
            let mut fields = fields(line);
            let (Some(major), Some(minor), Some(name)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let device = text(name);
            if !self.options.disks.admits(&device, !is_left_out(&device)) {
                continue;
            }
            let mut columns = [None; COLUMNS];
            let mut count = 0;
            for (column, field) in columns.iter_mut().zip(fields) {
                *column = number(field);
                count += 1;
            }
            let in_progress = columns.get_mut(IN_PROGRESS).and_then(Option::take).unwrap_or(0);
            let series = || Disk { series: labels(&[("device", device.clone())]), in_progress: 0, columns: 0 };
            if let Some((disk, _)) = self.disks.read(name, &columns, series) {
                (disk.data.in_progress, disk.data.columns) = (in_progress, count);
            }
            known.push((device, text(major), text(minor)));
        }
        self.disks.end();
        if known != self.known || cycle.is_multiple_of(REFRESH) {
            self.known = known;
            self.facts();
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        let Some(place) = METRICS.iter().take(COLUMNS).position(|column| column.id == metric.id) else {
            self.facts.observe(metric.id, out);
            return;
        };
        for entry in self.disks.listed().filter(|entry| place < entry.data.columns) {
            if place == IN_PROGRESS {
                out.int(entry.data.in_progress, &entry.data.series);
                continue;
            }
            let Some(total) = entry.row().get(place) else { continue };
            #[allow(clippy::cast_precision_loss)] // doubles in node_exporter too
            match metric.number {
                Int => out.int(total, &entry.data.series),
                Double if metric.id.contains("bytes") => out.float(total as f64 * SECTOR_BYTES, &entry.data.series),
                Double => out.float(total as f64 / MILLISECONDS_PER_SECOND, &entry.data.series),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Host as TestHost, series};
    use super::*;
    use crate::metrics::counter::Since;

    fn disks(host: &TestHost) -> Disks {
        let mut disks = Disks::new(&host.context(Options { since: Since::Boot, ..Options::default() }));
        assert_eq!(host.read(&mut disks), 0);
        disks
    }

    #[test]
    fn partitions_loops_and_memory_are_left_out_and_stacked_devices_are_not() {
        let left_out = ["sda1", "vdb12", "xvda1", "hda3", "nvme0n1p1", "loop0", "ram15", "zram0", "fd0"];
        let reported =
            ["sda", "sdaa", "sdaa1", "nvme0n1", "nvme0c0n1", "dm-0", "md127", "sr0", "mmcblk0", "mmcblk0p1", "nbd0"];
        assert_eq!(left_out.into_iter().filter(|name| !is_left_out(name)).collect::<Vec<_>>(), [""; 0]);
        assert_eq!(reported.into_iter().filter(|name| is_left_out(name)).collect::<Vec<_>>(), [""; 0]);
    }

    #[test]
    fn a_disk_has_the_columns_that_the_kernel_has() {
        let host = TestHost::empty();
        host.write(
            "proc/diskstats",
            "   8       0 sda 10 2 16 3000 20 4 32 5000 7 6000 8000\n   8       1 sda1 1 1 1 1 1 1 1 1 1 1 1\n",
        );
        let disks = disks(&host);
        let value = |id| series(&disks, METRICS, id);
        assert_eq!(value("node_disk_read_bytes_total"), ["device=sda 8192"]);
        assert_eq!(value("node_disk_read_time_seconds_total"), ["device=sda 3"]);
        assert_eq!(value("node_disk_io_now"), ["device=sda 7"]);
        assert_eq!(value("node_disk_io_time_weighted_seconds_total"), ["device=sda 8"]);
        assert!(value("node_disk_discards_completed_total").is_empty());
        assert_eq!(value("info"), ["device=sda major=8 minor=0 rotational=0 1"]);
    }

    #[test]
    fn the_facts_of_a_disk_come_from_udevs_database() {
        let host = TestHost::empty();
        host.write("proc/diskstats", "   8       0 sda 10 2 16 3000 20 4 32 5000 7 6000 8000\n");
        host.write("sys/block/sda/queue/rotational", "1\n");
        host.write(
            "run/udev/data/b8:0",
            "S:disk/by-id/x\nE:ID_MODEL=A_DISK\nE:ID_SERIAL=long\nE:ID_SERIAL_SHORT=short\nE:ID_FS_TYPE=ext4\nE:ID_ATA=1\nE:ID_ATA_ROTATION_RATE_RPM=7200\n",
        );
        let disks = disks(&host);
        let info = "device=sda major=8 minor=0 model=A_DISK rotational=1 serial=short 1";
        assert_eq!(series(&disks, METRICS, "info"), [info]);
        assert_eq!(series(&disks, METRICS, "filesystem"), ["device=sda type=ext4 1"]);
        assert_eq!(series(&disks, METRICS, "ID_ATA_ROTATION_RATE_RPM"), ["device=sda 7200"]);
    }
}
