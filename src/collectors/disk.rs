//! Disk I/O, from `/proc/diskstats` (Documentation/admin-guide/iostats.rst): cumulative counters, never rates.
//!
//! Which disks are whole and physical is [`crate::host::block_devices`]'s to say; this file reads and adds up their counters.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Collector, Context, Definition, DiskScope, Observer, Options};
use crate::host::block_devices::{BlockDevices, Class};
use crate::host::{Host, Reader, Source, files};
use crate::metrics::naming::Detail::{Basic, Detailed};
use crate::metrics::naming::Kind::{Counter, UpDownCounter};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names, Naming, attributes};
use crate::metrics::parse::{fields, lines, number, text};
use crate::metrics::total::Total;

/// The family's entry in the list.
pub const DEFINITION: Definition =
    Definition { name: "disk", metrics: METRICS, new: |context| Box::new(Disk::new(context)) };

const DEVICE: Attribute = Attribute { key: Names("system.device", "device"), values: &[] };
const DIRECTION: Attribute = Attribute { key: Names("disk.io.direction", "direction"), values: &[READ, WRITE] };

const READ: Names = Names::both("read");
const WRITE: Names = Names::both("write");

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("io", Counter, Int,
        "Bytes moved to and from the disk",
        "/proc/diskstats, sectors read and written, of 512 bytes")
        .semconv("system.disk.io", "By", Basic, &[&DEVICE, &DIRECTION])
        .hostmetrics("system.disk.io", "By", Basic, &[&DEVICE, &DIRECTION]),
    Metric::new("operations", Counter, Int,
        "Reads and writes completed",
        "/proc/diskstats, reads and writes completed")
        .semconv("system.disk.operations", "{operation}", Basic, &[&DEVICE, &DIRECTION])
        .hostmetrics("system.disk.operations", "{operations}", Basic, &[&DEVICE, &DIRECTION]),
    Metric::new("operation_time", Counter, Double,
        "Time that all reads and writes took, added up",
        "/proc/diskstats, ms spent reading and writing")
        .semconv("system.disk.operation_time", "s", Basic, &[&DEVICE, &DIRECTION])
        .hostmetrics("system.disk.operation_time", "s", Basic, &[&DEVICE, &DIRECTION]),
    Metric::new("merged", Counter, Int,
        "Reads and writes merged into others before they were issued",
        "/proc/diskstats, reads and writes merged")
        .semconv("system.disk.merged", "{operation}", Basic, &[&DEVICE, &DIRECTION])
        .hostmetrics("system.disk.merged", "{operations}", Basic, &[&DEVICE, &DIRECTION]),
    Metric::new("io_time", Counter, Double,
        "Time the disk was busy",
        "/proc/diskstats, ms spent doing I/Os")
        .semconv("system.disk.io_time", "s", Basic, &[&DEVICE])
        .hostmetrics("system.disk.io_time", "s", Basic, &[&DEVICE]),
    Metric::new("weighted_io_time", Counter, Double,
        "Time the disk was busy, times the operations in flight",
        "/proc/diskstats, weighted ms spent doing I/Os")
        .hostmetrics("system.disk.weighted_io_time", "s", Basic, &[&DEVICE]),
    Metric::new("pending_operations", UpDownCounter, Int,
        "Operations in flight",
        "/proc/diskstats, I/Os currently in progress")
        .hostmetrics("system.disk.pending_operations", "{operations}", Basic, &[&DEVICE]),
    Metric::new("limit", UpDownCounter, Int,
        "Capacity of the disk",
        "/sys/block/*/size, of 512 bytes").semconv("system.disk.limit", "By", Detailed, &[&DEVICE]),
];

/// Bytes of a sector in `/proc/diskstats` and sysfs, whatever the device's own block size is.
const SECTOR_BYTES: u64 = 512;

/// The columns after the name, as iostats.rst numbers them from 1. Later kernels append discards and flushes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Row {
    reads: u64,
    reads_merged: u64,
    sectors_read: u64,
    read_ms: u64,
    writes: u64,
    writes_merged: u64,
    sectors_written: u64,
    write_ms: u64,
    in_flight: u64,
    busy_ms: u64,
    weighted_ms: u64,
}

/// The columns that the kernel keeps as wide as its `unsigned long`.
const WIDE: usize = 6;
/// The columns that it prints as 32 bits of milliseconds, which wrap after 49.7 days.
const MILLIS: usize = 4;

impl Row {
    fn wide(&self) -> [u64; WIDE] {
        [self.reads, self.writes, self.sectors_read, self.sectors_written, self.reads_merged, self.writes_merged]
    }

    fn millis(&self) -> [u64; MILLIS] {
        [self.read_ms, self.write_ms, self.busy_ms, self.weighted_ms]
    }

    fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    fn add(self, other: Self) -> Self {
        Self {
            reads: self.reads.saturating_add(other.reads),
            reads_merged: self.reads_merged.saturating_add(other.reads_merged),
            sectors_read: self.sectors_read.saturating_add(other.sectors_read),
            read_ms: self.read_ms.saturating_add(other.read_ms),
            writes: self.writes.saturating_add(other.writes),
            writes_merged: self.writes_merged.saturating_add(other.writes_merged),
            sectors_written: self.sectors_written.saturating_add(other.sectors_written),
            write_ms: self.write_ms.saturating_add(other.write_ms),
            in_flight: self.in_flight.saturating_add(other.in_flight),
            busy_ms: self.busy_ms.saturating_add(other.busy_ms),
            weighted_ms: self.weighted_ms.saturating_add(other.weighted_ms),
        }
    }
}

/// A line's device name and counters. Lines with fewer than eleven counters are partitions of very old kernels, or
/// damage.
fn parse_line(line: &[u8]) -> Option<(&[u8], Row)> {
    let mut fields = fields(line);
    number(fields.next()?)?;
    number(fields.next()?)?;
    let name = fields.next()?;
    let mut next = || number(fields.next()?);
    let row = Row {
        reads: next()?,
        reads_merged: next()?,
        sectors_read: next()?,
        read_ms: next()?,
        writes: next()?,
        writes_merged: next()?,
        sectors_written: next()?,
        write_ms: next()?,
        in_flight: next()?,
        busy_ms: next()?,
        weighted_ms: next()?,
    };
    Some((name, row))
}

/// The most series that a metric of this host's disks can have, partitions counted as room for disks to come.
#[must_use]
pub fn most_series(host: &Host) -> usize {
    let listing = files::read(&host.proc("diskstats")).unwrap_or_default();
    lines(&listing).filter_map(parse_line).count().saturating_mul(DIRECTIONS)
}

/// Read and write.
const DIRECTIONS: usize = 2;

/// The totals of one disk.
#[derive(Clone, Copy, Debug)]
struct Totals {
    wide: [Total; WIDE],
    millis: [Total; MILLIS],
    /// `None` while the file cannot be read: a state is not held as a total is.
    in_flight: Option<u64>,
}

impl Totals {
    fn new(row: &Row, make: impl Fn(u64) -> Total) -> Self {
        Self { wide: row.wide().map(&make), millis: row.millis().map(&make), in_flight: Some(row.in_flight) }
    }

    /// The kernel's counts of a disk never step back while it is there: if one did, it is another disk, or the same
    /// one plugged in anew, and all its columns started again. Where they are only 32 bits wide, a single column that
    /// stepped back wrapped.
    fn advance(&mut self, row: &Row, word_bits: u32) {
        let readings = row.wide();
        let stepped_back = self.wide.iter().zip(&readings).filter(|(total, reading)| **reading < total.last()).count();
        let restarted = stepped_back > 1 || (stepped_back == 1 && word_bits > 32);
        for (total, reading) in self.wide.iter_mut().zip(readings) {
            match (restarted, word_bits > 32) {
                (true, _) => total.restart(reading),
                (false, true) => total.advance(reading),
                (false, false) => total.advance_32(reading),
            }
        }
        for (total, reading) in self.millis.iter_mut().zip(row.millis()) {
            if restarted { total.restart(reading) } else { total.advance_32(reading) }
        }
        self.in_flight = Some(row.in_flight);
    }

    /// All that was counted, as a reading that never steps back; without the state in flight.
    fn lifetimes(&self) -> Row {
        let [reads, writes, sectors_read, sectors_written, reads_merged, writes_merged] =
            self.wide.map(|total| total.lifetime());
        let [read_ms, write_ms, busy_ms, weighted_ms] = self.millis.map(|total| total.lifetime());
        Row {
            reads,
            reads_merged,
            sectors_read,
            read_ms,
            writes,
            writes_merged,
            sectors_written,
            write_ms,
            in_flight: 0,
            busy_ms,
            weighted_ms,
        }
    }

    fn get(&self, column: Column) -> Option<&Total> {
        match column {
            Column::Wide(at) => self.wide.get(at),
            Column::Millis(at) => self.millis.get(at),
        }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Total> {
        self.wide.iter_mut().chain(&mut self.millis)
    }
}

/// A disk that is, or was, reported.
struct Device {
    name: Vec<u8>,
    series: Series,
    /// `None` until its first line.
    totals: Option<Totals>,
    capacity: Option<u64>,
    physical: bool,
    /// In the last good listing.
    present: bool,
    /// What its line said in the current reading.
    row: Option<Row>,
    /// The hidden paths that lead to it.
    paths: Vec<Path>,
    /// Whether this kernel counts a multipath disk's I/O on its paths and not on its head; known from the first
    /// reading in which either is not zero, and kept, since the two counts are not the same numbers.
    from_paths: Option<bool>,
}

/// A hidden path of an NVMe multipath disk. Each has totals of its own: a path that goes away takes its counts out of
/// the kernel's listing, and the disk's sum must not step back by them.
struct Path {
    name: Vec<u8>,
    row: Option<Row>,
    totals: Option<Totals>,
}

impl Device {
    fn reading(&mut self, word_bits: u32) -> Option<Row> {
        let row = self.row.take();
        if self.paths.is_empty() {
            return row;
        }
        let mut sum = Row::default();
        let mut listed = false;
        for path in &mut self.paths {
            if let Some(row) = path.row.take() {
                listed = true;
                sum.in_flight = sum.in_flight.saturating_add(row.in_flight);
                match &mut path.totals {
                    Some(totals) => totals.advance(&row, word_bits),
                    none => *none = Some(Totals::new(&row, Total::from_zero)),
                }
            }
            sum = path.totals.as_ref().map_or(sum, |totals| sum.add(totals.lifetimes()));
        }
        let head = row.unwrap_or_default();
        if self.from_paths.is_none() && !(head.is_zero() && sum.is_zero()) {
            self.from_paths = Some(head.is_zero());
        }
        if self.from_paths == Some(true) { (listed || row.is_some()).then_some(sum) } else { row }
    }

    /// The place of the path of that name, made when there is none.
    fn path(&mut self, name: &[u8]) -> usize {
        self.paths.iter().position(|path| path.name == name).unwrap_or_else(|| {
            self.paths.push(Path { name: name.to_vec(), row: None, totals: None });
            self.paths.len() - 1
        })
    }
}

struct Series {
    device: Attributes,
    read: Attributes,
    write: Attributes,
}

impl Series {
    fn new(naming: Naming, name: Option<&[u8]>) -> Self {
        let device: Option<Arc<str>> = name.map(|name| text(name).into());
        let with = |direction: Option<Names>| {
            let mut pairs = Vec::new();
            pairs.extend(device.iter().map(|device| (&DEVICE, AttributeValue::Text(Arc::clone(device)))));
            pairs.extend(direction.map(|direction| (&DIRECTION, AttributeValue::Word(direction))));
            attributes(naming, &pairs)
        };
        Self { device: with(None), read: with(Some(READ)), write: with(Some(WRITE)) }
    }
}

/// What to do with a line of the file, decided once per name. The numbers are places in [`Disk::devices`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Report(usize),
    /// A hidden path of an NVMe disk: the head's place, and the path's own among the head's.
    Path(usize, usize),
    Skip,
}

struct Disk {
    options: Options,
    word_bits: u32,
    source: Source,
    block: BlockDevices,
    /// The lines of the file as they came last: their order hardly ever changes, so that a name is compared with
    /// one other and not looked up.
    lines: Vec<(Vec<u8>, Use)>,
    devices: Vec<Device>,
    places: HashMap<Vec<u8>, usize>,
    chosen: Option<Instant>,
    total: Series,
}

/// How long a choice of devices stands while no new name appears: a name can come to mean another device.
const CHOICE_LASTS: Duration = Duration::from_secs(60);

impl Disk {
    fn new(context: &Context) -> Self {
        let options = context.options.clone();
        Self {
            word_bits: context.host.word_bits,
            source: Source::new(context.host.proc("diskstats"), "this kernel has no block devices (CONFIG_BLOCK)")
                .may_be_empty()
                .holds_counters(),
            block: BlockDevices::new(&context.host),
            lines: Vec::new(),
            devices: Vec::new(),
            places: HashMap::new(),
            chosen: None,
            total: Series::new(options.naming, None),
            options,
        }
    }

    fn choice_is_old(&self) -> bool {
        self.chosen.is_none_or(|when| when.elapsed() >= CHOICE_LASTS)
    }

    /// Decides what to do with each line, cheap while the names are the same as in the reading before.
    fn choose(&mut self, listing: &[(&[u8], Row)]) {
        let same = self.lines.len() == listing.len()
            && self.lines.iter().zip(listing).all(|((known, _), (name, _))| known == name);
        if same && !self.choice_is_old() {
            return;
        }
        let known: HashMap<Vec<u8>, Use> = std::mem::take(&mut self.lines).into_iter().collect();
        let all_known = listing.iter().all(|(name, _)| known.contains_key(*name));
        let fresh = !all_known || self.choice_is_old();
        if fresh {
            self.block.refresh();
        }
        let first = self.chosen.is_none();
        for (name, _) in listing {
            let action = match known.get(*name) {
                Some(action) if !fresh => *action,
                _ => self.decide(name),
            };
            if let Use::Report(place) = action {
                self.enter(place, first || known.contains_key(*name));
            }
            self.lines.push((name.to_vec(), action));
        }
        if fresh {
            self.chosen = Some(Instant::now());
        }
    }

    fn decide(&mut self, name: &[u8]) -> Use {
        let class = self.block.class(name);
        if self.options.disks.admits(&text(name), *class == Class::Physical) {
            return Use::Report(self.place(name));
        }
        match class {
            Class::HiddenPath { head } if self.options.disks.admits(&text(head), true) => {
                let head = head.clone();
                let place = self.place(&head);
                self.devices.get_mut(place).map_or(Use::Skip, |device| Use::Path(place, device.path(name)))
            }
            _ => Use::Skip,
        }
    }

    /// The device of that name, made when there is none.
    fn place(&mut self, name: &[u8]) -> usize {
        if let Some(&place) = self.places.get(name) {
            return place;
        }
        let place = self.devices.len();
        self.places.insert(name.to_vec(), place);
        self.devices.push(Device {
            name: name.to_vec(),
            series: Series::new(self.options.naming, Some(name)),
            totals: None,
            capacity: None,
            physical: false,
            present: false,
            row: None,
            paths: Vec::new(),
            from_paths: None,
        });
        place
    }

    /// What a device's first line means: a disk that an earlier good listing did not have began at zero.
    fn enter(&mut self, place: usize, listed_before: bool) {
        if let Some(device) = self.devices.get_mut(place) {
            device.physical = *self.block.class(&device.name) == Class::Physical;
            device.capacity = self.block.sectors(&device.name).map(|sectors| sectors.saturating_mul(SECTOR_BYTES));
            if device.totals.is_none() && !listed_before {
                device.totals = Some(Totals::new(&Row::default(), Total::from_zero));
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let listing: Vec<(&[u8], Row)> = lines(bytes).filter_map(parse_line).collect();
        self.choose(&listing);
        for ((_, action), (_, row)) in self.lines.iter().zip(&listing) {
            match action {
                // A name that comes twice can only be damage: its first line counts.
                Use::Report(place) => {
                    if let Some(device) = self.devices.get_mut(*place).filter(|device| device.row.is_none()) {
                        device.row = Some(*row);
                    }
                }
                Use::Path(place, path) => {
                    let path = self.devices.get_mut(*place).and_then(|device| device.paths.get_mut(*path));
                    if let Some(path) = path.filter(|path| path.row.is_none()) {
                        path.row = Some(*row);
                    }
                }
                Use::Skip => {}
            }
        }
        let (since, delta, word_bits) = (self.options.since, self.options.delta, self.word_bits);
        for device in &mut self.devices {
            match (device.reading(word_bits), &mut device.totals) {
                (Some(row), Some(totals)) => {
                    totals.advance(&row, word_bits);
                    device.present = true;
                }
                (Some(row), none) => {
                    *none = Some(Totals::new(&row, |reading| Total::baseline(reading, since)));
                    device.present = true;
                }
                (None, totals) => {
                    if delta && device.present {
                        totals.iter_mut().flat_map(Totals::all).for_each(Total::forget);
                    }
                    device.present = false;
                }
            }
        }
    }

    /// Reports one column for every series of the scope.
    fn series(&self, column: Column, direction: Direction, mut each: impl FnMut(u64, &Attributes)) {
        let scope = self.options.disk_scope;
        if scope != DiskScope::Total {
            for device in self.devices.iter().filter(|device| device.present) {
                if let Some(total) = device.totals.as_ref().and_then(|totals| totals.get(column)) {
                    each(total.value(), direction.of(&device.series));
                }
            }
        }
        if scope != DiskScope::Device {
            // A disk that went away stays in the sum: the total never goes back.
            let physical = self.devices.iter().filter(|device| device.physical);
            let totals = physical.filter_map(|device| device.totals.as_ref()?.get(column)).map(Total::lifetime);
            if let Some(sum) = totals.reduce(u64::saturating_add) {
                each(sum, direction.of(&self.total));
            }
        }
    }

    fn state(&self, value: impl Fn(&Device) -> Option<u64>, mut each: impl FnMut(u64, &Attributes)) {
        let present = || self.devices.iter().filter(|device| device.present);
        if self.options.disk_scope != DiskScope::Total {
            present()
                .filter_map(|device| Some((value(device)?, device)))
                .for_each(|(value, device)| each(value, &device.series.device));
        }
        if self.options.disk_scope != DiskScope::Device {
            let sum = present().filter(|device| device.physical).filter_map(value).reduce(u64::saturating_add);
            sum.into_iter().for_each(|sum| each(sum, &self.total.device));
        }
    }
}

/// A place in [`Totals`].
#[derive(Clone, Copy)]
enum Column {
    Wide(usize),
    Millis(usize),
}

#[derive(Clone, Copy)]
enum Direction {
    Read,
    Write,
    Neither,
}

impl Direction {
    fn of(self, series: &Series) -> &Attributes {
        match self {
            Self::Read => &series.read,
            Self::Write => &series.write,
            Self::Neither => &series.device,
        }
    }
}

impl Collector for Disk {
    fn read(&mut self, reader: &mut Reader) {
        let Some(bytes) = reader.read(&mut self.source) else {
            self.devices
                .iter_mut()
                .filter_map(|device| device.totals.as_mut())
                .for_each(|totals| totals.in_flight = None);
            return;
        };
        // The buffer is the reader's, the devices are ours: the listing borrows from the one and changes the other.
        self.take(bytes);
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        use Column::{Millis, Wide};
        use Direction::{Neither, Read, Write};
        match metric.id {
            "operations" => {
                self.series(Wide(0), Read, |value, series| out.int(value, series));
                self.series(Wide(1), Write, |value, series| out.int(value, series));
            }
            "io" => {
                self.series(Wide(2), Read, |value, series| out.int(value.saturating_mul(SECTOR_BYTES), series));
                self.series(Wide(3), Write, |value, series| out.int(value.saturating_mul(SECTOR_BYTES), series));
            }
            "merged" => {
                self.series(Wide(4), Read, |value, series| out.int(value, series));
                self.series(Wide(5), Write, |value, series| out.int(value, series));
            }
            "operation_time" => {
                self.series(Millis(0), Read, |value, series| out.float(seconds(value), series));
                self.series(Millis(1), Write, |value, series| out.float(seconds(value), series));
            }
            "io_time" => self.series(Millis(2), Neither, |value, series| out.float(seconds(value), series)),
            "weighted_io_time" => self.series(Millis(3), Neither, |value, series| out.float(seconds(value), series)),
            "pending_operations" => {
                self.state(|device| device.totals.as_ref()?.in_flight, |value, series| out.int(value, series))
            }
            "limit" => self.state(|device| device.capacity, |value, series| out.int(value, series)),
            _ => {}
        }
    }
}

fn seconds(millis: u64) -> f64 {
    #[allow(clippy::cast_precision_loss)] // exact for 285,000 years of milliseconds
    let millis = millis as f64;
    millis / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::total::Since;

    const LINE: &[u8] = b" 259 0 nvme0n1 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17";

    fn row(reads: u64, sectors_read: u64, busy_ms: u64) -> Row {
        Row { reads, sectors_read, busy_ms, ..Row::default() }
    }

    #[test]
    fn columns_are_taken_from_their_places_and_later_ones_are_let_be() {
        let (name, row) = parse_line(LINE).unwrap();
        assert_eq!(name, b"nvme0n1");
        assert_eq!((row.wide(), row.millis(), row.in_flight), ([1, 5, 3, 7, 2, 6], [4, 8, 10, 11], 9));
        assert_eq!(parse_line(b"8 0 sda 1 2 3 4 5 6 7 8 9 10 11").unwrap().1, row);
    }

    #[test]
    fn short_and_odd_lines_are_no_disk() {
        for odd in [
            &b"8 0 sda 1 2 3 4"[..],
            b"8 0 sda 1 2 3 4 5 6 7 8 9 10",
            b"8 x sda 1 2 3 4 5 6 7 8 9 10 11",
            b"8 0 sda 1 2 3 4 5 6 7 8 9 -10 11",
            b"",
        ] {
            assert!(parse_line(odd).is_none());
        }
    }

    #[test]
    fn a_disk_that_was_plugged_in_anew_goes_on_from_its_total() {
        let mut totals = Totals::new(&row(1_000, 8_000, 500), |reading| Total::baseline(reading, Since::Start));
        totals.advance(&row(1_100, 8_800, 600), 64);
        totals.advance(&row(900, 100, 700), 64);
        assert_eq!(totals.get(Column::Wide(0)).unwrap().value(), 100 + 900);
        assert_eq!(totals.get(Column::Wide(2)).unwrap().value(), 800 + 100);
        assert_eq!(totals.get(Column::Millis(2)).unwrap().value(), 100 + 700, "its milliseconds started again too");
    }

    #[test]
    fn a_32_bit_wrap_of_the_milliseconds_is_no_new_disk() {
        let near = u64::from(u32::MAX) - 9;
        let mut totals = Totals::new(&row(1_000, 8_000, near), |reading| Total::baseline(reading, Since::Start));
        totals.advance(&row(1_001, 8_008, 20), 64);
        assert_eq!(totals.get(Column::Wide(0)).unwrap().value(), 1);
        assert_eq!(totals.get(Column::Millis(2)).unwrap().value(), 30);
    }

    #[test]
    fn on_a_32_bit_kernel_one_column_that_steps_back_wrapped() {
        let near = u64::from(u32::MAX) - 99;
        let mut totals = Totals::new(&row(1_000, near, 5), |reading| Total::baseline(reading, Since::Start));
        totals.advance(&row(1_001, 100, 6), 32);
        assert_eq!(totals.get(Column::Wide(0)).unwrap().value(), 1);
        assert_eq!(totals.get(Column::Wide(2)).unwrap().value(), 200);
    }
}
