//! Usage of cgroups as series, for the collectors containers and services.
//!
//! CPU time, page faults, I/O, OOM kills and pressure are counters since the agent's start: they do not include usage
//! before the first reading of a cgroup. I/O includes only whole physical disks, because the kernel counts the same
//! bytes again for each device that is stacked on them.

use std::time::Duration;

use opentelemetry::KeyValue;
use tracing::{info, warn};

use super::{Context, Observer};
use crate::host::cgroups::{Hierarchy, Kills, Known, Part, Tree, Usage, UsageReader, Visited, parents_have_events};
use crate::host::counted_disks::CountedDisks;
use crate::host::{Host, Reader, files, processes};
use crate::metrics::counter::{Kind, Rules, Table};
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names, Naming, attributes};
use crate::metrics::parse::fields;

pub(super) const MODE: Attribute = Attribute { key: Names::both("cpu.mode"), values: &[USER, SYSTEM] };
pub(super) const FAULT: Attribute = Attribute { key: Names::both("system.paging.fault.type"), values: &[MINOR, MAJOR] };
pub(super) const DIRECTION: Attribute = Attribute { key: Names::both("disk.io.direction"), values: &[READ, WRITE] };
pub(super) const RESOURCE: Attribute =
    Attribute { key: Names::both("system.pressure.resource"), values: &[CPU, MEMORY, IO] };
pub(super) const TYPE: Attribute = Attribute { key: Names::both("system.pressure.type"), values: &[SOME, FULL] };

const USER: Names = Names::both("user");
const SYSTEM: Names = Names::both("system");
const MINOR: Names = Names::both("minor");
const MAJOR: Names = Names::both("major");
const READ: Names = Names::both("read");
const WRITE: Names = Names::both("write");
const CPU: Names = Names::both("cpu");
const MEMORY: Names = Names::both("memory");
const IO: Names = Names::both("io");
const SOME: Names = Names::both("some");
const FULL: Names = Names::both("full");

const MICROSECONDS_PER_SECOND: f64 = 1e6;
/// Maximum CPU time per second, in microseconds: all CPUs that Linux supports.
const CPU_MICROSECONDS: u64 = 8192 * 1_000_000;

/// A column: its metric, the attributes that distinguish it within the metric, and its limit.
struct Column {
    metric: &'static str,
    pairs: &'static [(&'static Attribute, Names)],
    kind: Kind,
}

const fn column(metric: &'static str, pairs: &'static [(&'static Attribute, Names)], kind: Kind) -> Column {
    Column { metric, pairs, kind }
}

const TIME: Kind = Kind::at_most(CPU_MICROSECONDS);

/// In the order of [`readings`].
#[rustfmt::skip] // a table
const COLUMNS: [Column; 14] = [
    column("cpu", &[(&MODE, USER)], TIME),
    column("cpu", &[(&MODE, SYSTEM)], TIME),
    column("throttled", &[], Kind::UNLIMITED),
    column("faults", &[(&FAULT, MINOR)], Kind::EVENTS),
    column("faults", &[(&FAULT, MAJOR)], Kind::EVENTS),
    column("oom_kills", &[], Kind::EVENTS),
    column("io", &[(&DIRECTION, READ)], Kind::BYTES),
    column("io", &[(&DIRECTION, WRITE)], Kind::BYTES),
    column("pressure", &[(&RESOURCE, CPU), (&TYPE, SOME)], Kind::UNLIMITED),
    column("pressure", &[(&RESOURCE, CPU), (&TYPE, FULL)], Kind::UNLIMITED),
    column("pressure", &[(&RESOURCE, MEMORY), (&TYPE, SOME)], Kind::UNLIMITED),
    column("pressure", &[(&RESOURCE, MEMORY), (&TYPE, FULL)], Kind::UNLIMITED),
    column("pressure", &[(&RESOURCE, IO), (&TYPE, SOME)], Kind::UNLIMITED),
    column("pressure", &[(&RESOURCE, IO), (&TYPE, FULL)], Kind::UNLIMITED),
];

/// Whether a metric needs a part of the usage.
fn needs(metric: &str, part: Part) -> bool {
    let parts: &[Part] = match metric {
        "cpu" | "throttled" => &[Part::Cpu],
        "memory" => &[Part::Memory],
        "working_set" => &[Part::Memory, Part::MemoryKinds],
        "rss" | "faults" => &[Part::MemoryKinds],
        "oom_kills" => &[Part::OomKills],
        "tasks" => &[Part::Tasks],
        "io" => &[Part::Io],
        "pressure" => &[Part::Pressure],
        _ => &[],
    };
    parts.contains(&part)
}

fn readings(usage: &Usage) -> [Option<u64>; COLUMNS.len()] {
    let [read, written] = usage.io.map_or([None; 2], |io| io.map(Some));
    let [[cpu, cpu_full], [memory, memory_full], [io, io_full]] = usage.pressure;
    let Usage { cpu_user, cpu_system, throttled, minor_faults, major_faults, oom_kills, .. } = *usage;
    [
        cpu_user,
        cpu_system,
        throttled,
        minor_faults,
        major_faults,
        oom_kills,
        read,
        written,
        cpu,
        cpu_full,
        memory,
        memory_full,
        io,
        io_full,
    ]
}

/// The attributes that identify a cgroup.
pub(super) struct Identity {
    pub(super) pairs: Vec<(&'static Attribute, AttributeValue)>,
    /// Whether all of them are known. If not, they are looked up again in the next collections.
    pub(super) complete: bool,
}

/// Maximum number of collections that look up a missing attribute again.
const MOST_LOOKUPS: u8 = 5;

/// How long the options of the mounts are valid: a remount can change them.
const OPTIONS_LAST: Duration = Duration::from_secs(60);

/// How a collector treats a cgroup of the walk.
pub(super) enum Place {
    /// It is reported; its descendants are part of it.
    Reported,
    /// It is not reported; its descendants may be.
    Inside,
    /// Neither it nor any descendant is reported.
    Other,
}

/// A reported cgroup.
struct Series {
    /// The attributes of the gauges. Those of a column are made when they are observed: kept, they would be most of the
    /// collector's memory.
    plain: Attributes,
    gauges: Gauges,
    /// OOM kills at the last reading.
    kills: Option<Kills>,
    /// Inode of the cgroup: a container that was restarted keeps its path.
    inode: u64,
    /// Start time of its first process, in seconds since boot.
    started: Option<f64>,
    /// In how many collections to look up missing attributes again.
    lookups: u8,
}

impl Series {
    fn new(naming: Naming, inode: u64, identity: &Identity) -> Self {
        let lookups = if identity.complete { 0 } else { MOST_LOOKUPS };
        let plain = attributes(naming, &identity.pairs);
        Self { plain, gauges: Gauges::default(), kills: None, inode, started: None, lookups }
    }
}

/// The values of the last reading that are not counters.
#[derive(Default)]
struct Gauges {
    memory: Option<u64>,
    working_set: Option<u64>,
    anonymous: Option<u64>,
    tasks: Option<u64>,
}

impl Gauges {
    fn new(usage: &Usage) -> Self {
        let Usage { memory, anonymous, tasks, .. } = *usage;
        Self { memory, working_set: usage.working_set(), anonymous, tasks }
    }
}

/// Writes all of these attributes to `out`, in the order of their keys. Both lists are sorted.
fn merge(out: &mut Vec<KeyValue>, plain: &[KeyValue], words: &[KeyValue]) {
    out.clear();
    let mut plain = plain.iter().peekable();
    for word in words {
        while let Some(pair) = plain.next_if(|pair| pair.key < word.key) {
            out.push(pair.clone());
        }
        out.push(word.clone());
    }
    out.extend(plain.cloned());
}

/// The cgroups that a collector reports.
pub(super) struct Groups {
    host: Host,
    naming: Naming,
    metrics: &'static [Metric],
    usage: UsageReader,
    known: Known,
    /// Whether a parent has the OOM kills of its descendants, and when to look again.
    parents_have_kills: (bool, Duration),
    disks: CountedDisks,
    table: Table<Series, { COLUMNS.len() }>,
    /// The attributes that each column adds to those of the cgroup.
    words: [Attributes; COLUMNS.len()],
    /// Maximum number of cgroups to read.
    most: usize,
    /// Number of cgroups that the last reading dropped because of this limit.
    cut: usize,
    cut_reported: bool,
    walk_cut_reported: bool,
    /// The collector's name for log lines.
    name: &'static str,
    /// Seconds since boot at the last reading.
    uptime: Option<f64>,
}

impl Groups {
    /// Creates the groups for these metrics; `None` on a host without control groups. `name` is the collector's name
    /// for log lines; `most_gone` is the maximum number of removed cgroups that are remembered.
    pub(super) fn find(
        context: &Context,
        name: &'static str,
        metrics: &'static [Metric],
        most_gone: usize,
        reader: &mut Reader,
    ) -> Option<Self> {
        let Context { host, options } = context;
        let root = host.sys("fs/cgroup");
        let Some(hierarchy) = Hierarchy::find(&root) else {
            reader.note(&root, false, format!("no control groups are mounted, so {name} have no usage"));
            return None;
        };
        if matches!(hierarchy, Hierarchy::Legacy { .. }) {
            info!("control groups are version 1: {name} are reported without disk I/O and pressure");
        }
        let is_needed = |part: &Part| metrics.iter().any(|metric| needs(metric.id, *part));
        let parts = Part::ALL.into_iter().filter(is_needed).collect();
        let rules = Rules::new(COLUMNS.map(|column| column.kind), options.since).delta(options.delta);
        Some(Self {
            host: host.clone(),
            naming: options.naming,
            metrics,
            usage: UsageReader::new(hierarchy, host.ticks_per_second, parts),
            known: Known::default(),
            parents_have_kills: (false, Duration::ZERO),
            disks: CountedDisks::new(host),
            table: Table::new(rules, most_gone),
            words: COLUMNS.map(|column| {
                let words = column.pairs.iter().map(|(attribute, word)| (*attribute, AttributeValue::Word(*word)));
                attributes(options.naming, &words.collect::<Vec<_>>())
            }),
            // Each cgroup has at least one series per metric.
            most: options.max_series.unwrap_or(super::DEFAULT_MAX_SERIES),
            cut: 0,
            cut_reported: false,
            walk_cut_reported: false,
            name,
            uptime: None,
        })
    }

    /// Reads each cgroup with [`Place::Reported`] once. Calls `identity` for new ones, and for those with an incomplete one.
    pub(super) fn read(
        &mut self,
        reader: &mut Reader,
        mut place: impl FnMut(&Visited<'_>) -> Place,
        mut identity: impl FnMut(&Visited<'_>) -> Identity,
    ) {
        let Self { host, naming, metrics, usage, known, parents_have_kills, disks, table, .. } = self;
        let starts = metrics.iter().any(|metric| metric.id == "uptime");
        if starts {
            self.uptime = files::read_small(&host.proc("uptime"))
                .and_then(|text| std::str::from_utf8(fields(&text).next()?).ok()?.parse().ok());
        }
        let root = usage.hierarchy().root().to_owned();
        let tree = match Tree::open(&root) {
            Ok(tree) => tree,
            Err(error) => {
                reader.fail();
                reader.note(&root, true, error.to_string());
                return;
            }
        };
        disks.refresh();
        if reader.now() >= parents_have_kills.1 {
            let mounts = files::read(&host.proc("self/mountinfo")).unwrap_or_default();
            *parents_have_kills = (parents_have_events(&mounts), reader.now() + OPTIONS_LAST);
        }
        let mut room = self.most.saturating_sub(table.listed().count());
        self.cut = 0;
        let rules = table.rules();
        table.begin(reader.now());
        let whole = tree.walk(known, &mut |visited| {
            let place = place(visited);
            if visited.is_top() {
                usage.enter((matches!(place, Place::Inside) && parents_have_kills.0).then_some(visited));
            }
            match place {
                Place::Inside => return true,
                Place::Other => return false,
                Place::Reported => {}
            }
            let name = visited.path.as_bytes();
            // Cgroups that already have series keep them.
            if room == 0 && !table.had(name) {
                self.cut += 1;
                return false;
            }
            let kills = table.get(name).filter(|entry| entry.data.inode == visited.inode);
            let kills = kills.and_then(|entry| entry.data.kills);
            let reading = usage.usage(visited, kills, &mut |major, minor| disks.counts(major, minor));
            let mut known = false;
            let same = |series: &Series| {
                known = true;
                series.inode == visited.inode
            };
            let new = || Series::new(*naming, visited.inode, &identity(visited));
            let read = table.read_same(name, &readings(&reading), same, new);
            room = room.saturating_sub(usize::from(!known));
            if let Some((entry, grown)) = read {
                if known && entry.data.lookups > 0 {
                    entry.data.lookups -= 1;
                    let identity = identity(visited);
                    if identity.complete {
                        entry.data.lookups = 0;
                        entry.data.plain = attributes(*naming, &identity.pairs);
                        entry.renamed(&grown, &rules);
                    }
                }
                if starts && entry.data.started.is_none() {
                    entry.data.started = usage.first_process(visited).and_then(|pid| start_of(host, pid));
                }
                entry.data.gauges = Gauges::new(&reading);
                entry.data.kills = usage.kills_of(&reading);
            }
            false
        });
        usage.walked();
        table.end();
        if self.cut > 0 && !std::mem::replace(&mut self.cut_reported, true) {
            let (name, most, cut) = (self.name, self.most, self.cut);
            warn!("{name} exceed --max-series ({most}) by {cut}; the excess is not read (logged once)");
        }
        if !whole && !std::mem::replace(&mut self.walk_cut_reported, true) {
            warn!("{} has too many cgroups; some are not read", root.display());
        }
    }

    /// Reports one metric from the last reading.
    pub(super) fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        let columns = COLUMNS.iter().zip(&self.words).enumerate().filter(|(_, (column, _))| column.metric == metric.id);
        let columns: Vec<_> = columns.map(|(at, (_, words))| (at, words)).collect();
        let mut series = Vec::new();
        for entry in self.table.listed() {
            let (Series { plain, gauges, started, .. }, row) = (&entry.data, entry.row());
            let gauge = match metric.id {
                "memory" => gauges.memory,
                "working_set" => gauges.working_set,
                "rss" => gauges.anonymous,
                "tasks" => gauges.tasks,
                "uptime" => {
                    if let Some((now, started)) = self.uptime.zip(*started) {
                        out.float((now - started).max(0.0), plain);
                    }
                    None
                }
                _ => None,
            };
            if let Some(value) = gauge {
                out.int(value, plain);
            }
            for (at, words) in &columns {
                let Some(total) = row.get(*at) else { continue };
                merge(&mut series, plain, words);
                #[allow(clippy::cast_precision_loss)] // exact for 285 years of microseconds
                match metric.id {
                    "cpu" | "throttled" | "pressure" => out.float(total as f64 / MICROSECONDS_PER_SECOND, &series),
                    _ => out.int(total, &series),
                }
            }
        }
        out.cut(self.cut);
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.table.len()
    }
}

/// Start time of a process in seconds since boot: field 22 of `/proc/[pid]/stat`, in clock ticks.
fn start_of(host: &Host, pid: u32) -> Option<f64> {
    let ticks = processes::one(&host.proc(""), pid, |stat| stat.start)?;
    #[allow(clippy::cast_precision_loss)] // exact for millions of years
    Some(ticks as f64 / host.ticks_per_second.max(1) as f64)
}
