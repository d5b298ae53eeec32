//! Disk I/O, from `/proc/diskstats` (Documentation/admin-guide/iostats.rst): cumulative counters, no rates.
//!
//! [`crate::host::block_devices`] determines the whole physical disks; this module reads and sums their counters.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Collector, Context, DEFAULT_MAX_SERIES, Definition, DiskScope, Observer, Options};
use crate::host::block_devices::{BlockDevices, Class};
use crate::host::{Host, Reader, Source, files};
use crate::metrics::counter::{self, Rules, add};
use crate::metrics::naming::Detail::{Basic, Detailed};
use crate::metrics::naming::Kind::{Counter, UpDownCounter};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names, Naming, attributes};
use crate::metrics::parse::{fields, lines, number, text};

pub const DEFINITION: Definition =
    Definition { name: "disk", metrics: METRICS, new: |context| Box::new(Disk::new(context)) };

const DEVICE: Attribute = Attribute { key: Names("system.device", "device"), values: &[] };
const DIRECTION: Attribute = Attribute { key: Names("disk.io.direction", "direction"), values: &[READ, WRITE] };

const READ: Names = Names::both("read");
const WRITE: Names = Names::both("write");

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("io", Counter, Int, "Bytes moved to and from the disk",
        "/proc/diskstats, sectors read and written, of 512 bytes")
        .both("system.disk.io", "By", Basic, &[&DEVICE, &DIRECTION]),
    Metric::new("operations", Counter, Int, "Reads and writes completed", "/proc/diskstats, reads and writes completed")
        .semconv("system.disk.operations", "{operation}", Basic, &[&DEVICE, &DIRECTION])
        .hostmetrics("system.disk.operations", "{operations}", Basic, &[&DEVICE, &DIRECTION]),
    Metric::new("operation_time", Counter, Double, "Time that all reads and writes took, added up",
        "/proc/diskstats, ms spent reading and writing")
        .both("system.disk.operation_time", "s", Basic, &[&DEVICE, &DIRECTION]),
    Metric::new("merged", Counter, Int, "Reads and writes merged into others before they were issued",
        "/proc/diskstats, reads and writes merged")
        .semconv("system.disk.merged", "{operation}", Basic, &[&DEVICE, &DIRECTION])
        .hostmetrics("system.disk.merged", "{operations}", Basic, &[&DEVICE, &DIRECTION]),
    Metric::new("io_time", Counter, Double, "Time the disk was busy", "/proc/diskstats, ms spent doing I/Os")
        .both("system.disk.io_time", "s", Basic, &[&DEVICE]),
    Metric::new("weighted_io_time", Counter, Double, "Time the disk was busy, times the operations in flight",
        "/proc/diskstats, weighted ms spent doing I/Os")
        .both("system.disk.weighted_io_time", "s", Basic, &[&DEVICE]),
    Metric::new("pending_operations", UpDownCounter, Int, "Operations in flight",
        "/proc/diskstats, I/Os currently in progress")
        .semconv("system.disk.pending_operations", "{operation}", Basic, &[&DEVICE])
        .hostmetrics("system.disk.pending_operations", "{operations}", Basic, &[&DEVICE]),
    Metric::new("discards", Counter, Int, "Discards completed, with which a file system gives blocks back",
        "/proc/diskstats, discards completed").since("4.18")
        .semconv("system.disk.linux.discards", "{operation}", Detailed, &[&DEVICE]),
    Metric::new("discarded", Counter, Int, "Bytes discarded", "/proc/diskstats, sectors discarded, of 512 bytes")
        .since("4.18").semconv("system.disk.linux.discarded", "By", Detailed, &[&DEVICE]),
    Metric::new("discards_merged", Counter, Int, "Discards merged into others before they were issued",
        "/proc/diskstats, discards merged").since("4.18")
        .semconv("system.disk.linux.discards_merged", "{operation}", Detailed, &[&DEVICE]),
    Metric::new("discard_time", Counter, Double, "Time that all discards took, added up",
        "/proc/diskstats, ms spent discarding").since("4.18")
        .semconv("system.disk.linux.discard_time", "s", Detailed, &[&DEVICE]),
    Metric::new("flushes", Counter, Int, "Flush requests completed, with which a disk writes out its cache",
        "/proc/diskstats, flush requests completed").since("5.5")
        .semconv("system.disk.linux.flushes", "{operation}", Detailed, &[&DEVICE]),
    Metric::new("flush_time", Counter, Double, "Time that all flush requests took, added up",
        "/proc/diskstats, ms spent flushing").since("5.5")
        .semconv("system.disk.linux.flush_time", "s", Detailed, &[&DEVICE]),
    Metric::new("limit", UpDownCounter, Int, "Capacity of the disk", "/sys/block/*/size, of 512 bytes")
        .semconv("system.disk.limit", "By", Detailed, &[&DEVICE]),
];

/// Size of a sector in `/proc/diskstats` and sysfs, independent of the device's block size.
const SECTOR_BYTES: u64 = 512;

/// The columns after the device name, numbered from 1 in iostats.rst: metric, direction and unit. Kernels before 4.18
/// lack the discards, kernels before 5.5 the flushes.
const COLUMNS: [(&str, Direction, Unit); 17] = [
    ("operations", Direction::Read, Unit::Events),
    ("merged", Direction::Read, Unit::Events),
    ("io", Direction::Read, Unit::Sectors),
    ("operation_time", Direction::Read, Unit::Millis),
    ("operations", Direction::Write, Unit::Events),
    ("merged", Direction::Write, Unit::Events),
    ("io", Direction::Write, Unit::Sectors),
    ("operation_time", Direction::Write, Unit::Millis),
    ("pending_operations", Direction::Neither, Unit::State),
    ("io_time", Direction::Neither, Unit::Millis),
    ("weighted_io_time", Direction::Neither, Unit::Millis),
    ("discards", Direction::Neither, Unit::Events),
    ("discards_merged", Direction::Neither, Unit::Events),
    ("discarded", Direction::Neither, Unit::Sectors),
    ("discard_time", Direction::Neither, Unit::Millis),
    ("flushes", Direction::Neither, Unit::Events),
    ("flush_time", Direction::Neither, Unit::Millis),
];

const ALWAYS: usize = 11;
/// Index of the operations in flight.
const IN_FLIGHT: usize = 8;

/// The columns of a line; `None` if the kernel lacks the column or it is invalid.
type Line = [Option<u64>; COLUMNS.len()];
type Counters = counter::Row<{ COLUMNS.len() }>;
type Growth = [u64; COLUMNS.len()];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
    Neither,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Events,
    Sectors,
    Millis,
    /// Not a counter.
    State,
}

impl Unit {
    /// The counter kind of a unit. Counts have the size of the kernel's `unsigned long`. Milliseconds are printed as 32
    /// bits, which wrap after 49.7 days, and have no rate limit: the duration of an operation is added when it
    /// completes.
    fn kind(self, word_bits: u32) -> counter::Kind {
        match self {
            Self::Events | Self::State => counter::Kind::EVENTS.word(word_bits),
            Self::Sectors => counter::Kind::at_most(1_000_000_000_000 / SECTOR_BYTES).word(word_bits),
            Self::Millis => counter::Kind::UNLIMITED.narrow(),
        }
    }

    fn observe(self, value: u64, series: &Attributes, out: &mut Observer<'_>) {
        match self {
            Self::Events | Self::State => out.int(value, series),
            Self::Sectors => out.int(value.saturating_mul(SECTOR_BYTES), series),
            Self::Millis => out.float(seconds(value), series),
        }
    }
}

/// The counters of a line, without the operations in flight, which are a state.
fn counters(line: &Line) -> Line {
    let mut columns = COLUMNS.iter().zip(line);
    std::array::from_fn(|_| columns.next().and_then(|((.., unit), value)| value.filter(|_| *unit != Unit::State)))
}

fn in_flight(line: &Line) -> Option<u64> {
    line.get(IN_FLIGHT).copied().flatten()
}

fn is_zero(line: &Line) -> bool {
    line.iter().flatten().all(|count| *count == 0)
}

/// Parses device name and columns. A line with an invalid column among the first eleven, or with fewer, has no columns:
/// its disk exists and keeps its totals.
fn parse_line(line: &[u8]) -> Option<(&[u8], Option<Line>)> {
    let mut fields = fields(line);
    number(fields.next()?)?;
    number(fields.next()?)?;
    let name = fields.next()?;
    let columns: Line = std::array::from_fn(|_| fields.next().and_then(number));
    Some((name, columns.iter().take(ALWAYS).all(Option::is_some).then_some(columns)))
}

/// Maximum number of series for a disk metric on this host. Partitions are counted as a reserve for additional disks.
#[must_use]
pub fn most_series(host: &Host) -> usize {
    let listing = files::read(&host.proc("diskstats")).unwrap_or_default();
    lines(&listing).filter_map(parse_line).filter(|(_, line)| line.is_some()).count().saturating_mul(DIRECTIONS)
}

const DIRECTIONS: usize = 2;

/// A disk that is or was reported.
struct Device {
    name: Vec<u8>,
    series: Series,
    counters: Counters,
    /// `None` while the file cannot be read: states are not held like totals.
    in_flight: Option<u64>,
    capacity: Option<u64>,
    physical: bool,
    /// Whether it is in the last valid listing.
    present: bool,
    listed: Listed,
    paths: Vec<Path>,
    /// Whether this kernel counts a multipath disk's I/O on its paths rather than on its head. Determined at the first
    /// nonzero reading and then kept, because the two counts differ.
    from_paths: Option<bool>,
}

/// The disk's entry in the current listing.
#[derive(Clone, Copy, Default)]
struct Listed {
    is_there: bool,
    /// `None` if its line is missing or invalid.
    line: Option<Line>,
}

impl Listed {
    /// Stores a line. A repeated name means that the file is corrupt; the first line is used.
    fn fill(&mut self, line: Option<Line>) {
        if !self.is_there {
            *self = Self { is_there: true, line };
        }
    }
}

/// A hidden path of an NVMe multipath disk. Each path has its own counters; the counts of a removed path stay in the
/// disk's totals.
struct Path {
    name: Vec<u8>,
    listed: Listed,
    counters: Counters,
}

impl Device {
    /// Evaluates its lines in a valid listing. Returns the growth of its totals.
    fn take(&mut self, now: Duration, rules: &Rules<{ COLUMNS.len() }>) -> Growth {
        let Listed { is_there: mut listed, line: head } = std::mem::take(&mut self.listed);
        let mut by_paths = Growth::default();
        let (mut paths_in_flight, mut paths_are_zero) = (0u64, true);
        for path in &mut self.paths {
            let Listed { is_there, line } = std::mem::take(&mut path.listed);
            listed |= is_there;
            if let Some(line) = line {
                paths_are_zero &= is_zero(&line);
                paths_in_flight = paths_in_flight.saturating_add(in_flight(&line).unwrap_or(0));
                add(&mut by_paths, &path.counters.read(&counters(&line), now, rules));
            } else if !is_there {
                path.counters.absent(rules);
            }
        }
        if !listed {
            if self.present {
                self.counters.absent(rules);
            }
            self.present = false;
            return Growth::default();
        }
        self.present = true;
        let head_is_zero = head.as_ref().is_none_or(is_zero);
        if self.from_paths.is_none() && !(self.paths.is_empty() || head_is_zero && paths_are_zero) {
            self.from_paths = Some(head_is_zero);
        }
        if self.from_paths == Some(true) {
            self.in_flight = Some(paths_in_flight);
            self.counters.add(&by_paths);
            return by_paths;
        }
        self.in_flight = head.as_ref().and_then(in_flight);
        self.counters.read(&head.as_ref().map(counters).unwrap_or_default(), now, rules)
    }

    /// The index of the path with this name; created if missing.
    fn path(&mut self, name: &[u8]) -> usize {
        self.paths.iter().position(|path| path.name == name).unwrap_or_else(|| {
            self.paths.push(Path { name: name.to_vec(), listed: Listed::default(), counters: Counters::default() });
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

/// The use of a line in the file, determined once per name. The numbers are indices into [`Disk::devices`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Report(usize),
    /// A hidden path of an NVMe disk: the index of the head, and the index of the path in the head.
    Path(usize, usize),
    Skip,
}

struct Disk {
    options: Options,
    rules: Rules<{ COLUMNS.len() }>,
    source: Source,
    block: BlockDevices,
    /// The lines of the previous reading. Their order rarely changes, so that a comparison with one name replaces a
    /// lookup.
    lines: Vec<(Vec<u8>, Use)>,
    devices: Vec<Device>,
    places: HashMap<Vec<u8>, usize>,
    chosen: Option<Instant>,
    /// Whole devices with traffic that are not reported, because they have no disk of their own.
    left_out: Vec<String>,
    /// Sum over the physical disks, including removed ones. `None` until there is a disk.
    sum: Option<Growth>,
    total: Series,
}

/// How long a selection of devices is valid if no new name appears: a name may be reused for another device.
const CHOICE_LASTS: Duration = Duration::from_secs(60);

impl Disk {
    fn new(context: &Context) -> Self {
        let options = context.options.clone();
        Self {
            rules: Rules::new(COLUMNS.map(|(.., unit)| unit.kind(context.host.word_bits)), options.since)
                .delta(options.delta),
            source: Source::new(context.host.proc("diskstats"), "this kernel has no block devices (CONFIG_BLOCK)")
                .may_be_empty()
                .holds_counters()
                .expecting(|diskstats| lines(diskstats).any(|line| parse_line(line).is_some())),
            block: BlockDevices::new(&context.host),
            lines: Vec::new(),
            devices: Vec::new(),
            places: HashMap::new(),
            chosen: None,
            left_out: Vec::new(),
            sum: None,
            total: Series::new(options.naming, None),
            options,
        }
    }

    fn choice_is_old(&self) -> bool {
        self.chosen.is_none_or(|when| when.elapsed() >= CHOICE_LASTS)
    }

    /// Determines the use of each line. Fast if the names are unchanged.
    fn choose(&mut self, listing: &[(&[u8], Option<Line>)]) {
        let same = self.lines.len() == listing.len()
            && self.lines.iter().zip(listing).all(|((known, _), (name, _))| known == name);
        if same && !self.choice_is_old() {
            return;
        }
        let known: HashMap<Vec<u8>, Use> = std::mem::take(&mut self.lines).into_iter().collect();
        let known = if self.forget_gone() { HashMap::new() } else { known };
        let all_known = listing.iter().all(|(name, _)| known.contains_key(*name));
        let fresh = !all_known || self.choice_is_old();
        if fresh && !listing.is_empty() {
            self.block.refresh();
            let is_left_out = |(name, line): &&(&[u8], Option<Line>)| {
                *self.block.class(name) == Class::NoDisk
                    && line.is_some_and(|line| !is_zero(&line))
                    && !self.options.disks.admits(&text(name), false)
            };
            self.left_out = listing.iter().filter(is_left_out).map(|(name, _)| text(name)).collect();
        }
        for (name, _) in listing {
            let action = match known.get(*name) {
                Some(action) if !fresh => *action,
                _ => self.decide(name),
            };
            if let Use::Report(place) = action {
                self.enter(place);
            }
            self.lines.push((name.to_vec(), action));
        }
        if fresh {
            self.chosen = Some(Instant::now());
        }
    }

    /// Forgets removed disks above the series limit. Returns whether indices changed.
    fn forget_gone(&mut self) -> bool {
        if self.devices.len() <= self.options.max_series.unwrap_or(DEFAULT_MAX_SERIES) {
            return false;
        }
        self.devices.retain(|device| device.present);
        self.places = self.devices.iter().enumerate().map(|(place, device)| (device.name.clone(), place)).collect();
        true
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

    /// The index of the device with this name; created if missing.
    fn place(&mut self, name: &[u8]) -> usize {
        if let Some(&place) = self.places.get(name) {
            return place;
        }
        let place = self.devices.len();
        self.places.insert(name.to_vec(), place);
        self.devices.push(Device {
            name: name.to_vec(),
            series: Series::new(self.options.naming, Some(name)),
            counters: Counters::default(),
            in_flight: None,
            capacity: None,
            physical: false,
            present: false,
            listed: Listed::default(),
            paths: Vec::new(),
            from_paths: None,
        });
        place
    }

    fn enter(&mut self, place: usize) {
        if let Some(device) = self.devices.get_mut(place) {
            device.physical = *self.block.class(&device.name) == Class::Physical;
            device.capacity = self.block.sectors(&device.name).map(|sectors| sectors.saturating_mul(SECTOR_BYTES));
        }
    }

    fn take(&mut self, bytes: &[u8], now: Duration) {
        let listing: Vec<(&[u8], Option<Line>)> = lines(bytes).filter_map(parse_line).collect();
        self.choose(&listing);
        for ((_, action), (_, line)) in self.lines.iter().zip(&listing) {
            match action {
                Use::Report(place) => {
                    if let Some(device) = self.devices.get_mut(*place) {
                        device.listed.fill(*line);
                    }
                }
                Use::Path(place, path) => {
                    let device = self.devices.get_mut(*place);
                    if let Some(path) = device.and_then(|device| device.paths.get_mut(*path)) {
                        path.listed.fill(*line);
                    }
                }
                Use::Skip => {}
            }
        }
        for device in &mut self.devices {
            let grown = device.take(now, &self.rules);
            if device.physical && device.present {
                add(self.sum.get_or_insert_default(), &grown);
            }
        }
    }

    /// Reports a failure if the list of devices is unavailable, because then no device is known to be a disk. Not
    /// needed if the user names the devices.
    fn report_problem(&self, reader: &mut Reader) {
        if let Some(problem) = self.block.problem().filter(|_| self.options.disks.include.is_empty()) {
            reader.fail();
            reader.note(problem.path, true, problem.words);
        }
        if reader.is_recording() && !self.left_out.is_empty() {
            let names = self.left_out.join(", ");
            reader.remark(format!(
                "left out, since they have no disk of their own: {names} (--disk-include reports them)"
            ));
        }
    }

    /// Reports the columns of a metric for every series of the scope. The sum comes first, so that the series limit
    /// does not drop it. Removed disks stay in the sum, so that it never decreases.
    fn counters(&self, id: &str, out: &mut Observer<'_>) {
        let scope = self.options.disk_scope;
        let columns = || COLUMNS.iter().enumerate().filter(|(_, (of, ..))| *of == id);
        let present = || self.devices.iter().filter(|device| device.present);
        let known = |column| column < ALWAYS || present().any(|device| device.counters.get(column).is_some());
        if let Some(sums) = self.sum.as_ref().filter(|_| scope != DiskScope::Device) {
            for (column, (_, direction, unit)) in columns().filter(|(column, _)| known(*column)) {
                let sum = sums.get(column).copied().unwrap_or_default();
                unit.observe(sum, direction.of(&self.total), out);
            }
        }
        if scope == DiskScope::Total {
            return;
        }
        for (column, (_, direction, unit)) in columns() {
            for device in present() {
                if let Some(total) = device.counters.get(column) {
                    unit.observe(total, direction.of(&device.series), out);
                }
            }
        }
    }

    fn state(&self, value: impl Fn(&Device) -> Option<u64>, mut each: impl FnMut(u64, &Attributes)) {
        let present = || self.devices.iter().filter(|device| device.present);
        if self.options.disk_scope != DiskScope::Device {
            let sum = present().filter(|device| device.physical).filter_map(&value).reduce(u64::saturating_add);
            sum.into_iter().for_each(|sum| each(sum, &self.total.device));
        }
        if self.options.disk_scope != DiskScope::Total {
            present()
                .filter_map(|device| Some((value(device)?, device)))
                .for_each(|(value, device)| each(value, &device.series.device));
        }
    }
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
        let now = reader.now();
        match reader.read(&mut self.source) {
            Some(bytes) => self.take(bytes, now),
            None => self.devices.iter_mut().for_each(|device| device.in_flight = None),
        }
        self.report_problem(reader);
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        match metric.id {
            "pending_operations" => self.state(|device| device.in_flight, |value, series| out.int(value, series)),
            "limit" => self.state(|device| device.capacity, |value, series| out.int(value, series)),
            id => self.counters(id, out),
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

    const LINE: &[u8] = b" 259 0 nvme0n1 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17";

    #[test]
    fn columns_are_taken_from_their_places_and_later_ones_may_be_missing() {
        let (name, line) = parse_line(LINE).unwrap();
        let line = line.unwrap();
        assert_eq!(name, b"nvme0n1");
        assert_eq!(line, std::array::from_fn(|place| Some(place as u64 + 1)));
        assert_eq!((counters(&line)[7], counters(&line)[8], in_flight(&line)), (Some(8), None, Some(9)));
        let old = parse_line(b"8 0 sda 1 2 3 4 5 6 7 8 9 10 11").unwrap().1.unwrap();
        assert_eq!((old[10], old[11]), (Some(11), None));
        let odd = parse_line(b"8 0 sda 1 2 3 4 5 6 7 8 9 10 11 x 13").unwrap().1.unwrap();
        assert_eq!((odd[11], odd[12]), (None, Some(13)));
    }

    #[test]
    fn short_and_odd_lines_have_no_numbers() {
        for odd in
            [&b"8 0 sda 1 2 3 4"[..], b"8 0 sda", b"8 0 sda 1 2 3 4 5 6 7 8 9 10", b"8 0 sda 1 2 3 4 5 6 7 8 9 -10 11"]
        {
            assert_eq!(parse_line(odd), Some((&b"sda"[..], None)));
        }
        for odd in [&b"8 x sda 1 2 3 4 5 6 7 8 9 10 11"[..], b"8 0", b""] {
            assert_eq!(parse_line(odd), None);
        }
    }
}
