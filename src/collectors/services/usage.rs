//! CPU time, memory, I/O, tasks, kills and pressure of each service, from the cgroups that systemd makes.
//!
//! Reported are the services of `system.slice` and of the slices in it (templates such as `getty@tty1.service`), the first
//! process as `init.scope`, and each other slice at the top, such as `user.slice`, as one. So every process of the host is
//! counted once, apart from containers in a scope of `system.slice`, which the collector containers has.

use std::sync::Arc;

use crate::collectors::{Context, Observer};
use crate::host::Reader;
use crate::host::cgroups::{Hierarchy, Usage, UsageReader, Visited, walk};
use crate::host::counted_disks::CountedDisks;
use crate::metrics::counter::{Kind, Rules, Table};
use crate::metrics::filter::Filter;
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names, Naming, attributes};

pub(super) const MODE: Attribute = Attribute { key: Names::both("cpu.mode"), values: &[USER, SYSTEM] };
pub(super) const DIRECTION: Attribute = Attribute { key: Names::both("disk.io.direction"), values: &[READ, WRITE] };
pub(super) const RESOURCE: Attribute =
    Attribute { key: Names::both("system.pressure.resource"), values: &[CPU, MEMORY, IO] };
pub(super) const TYPE: Attribute = Attribute { key: Names::both("system.pressure.type"), values: &[SOME, FULL] };

const USER: Names = Names::both("user");
const SYSTEM: Names = Names::both("system");
const READ: Names = Names::both("read");
const WRITE: Names = Names::both("write");
const CPU: Names = Names::both("cpu");
const MEMORY: Names = Names::both("memory");
const IO: Names = Names::both("io");
const SOME: Names = Names::both("some");
const FULL: Names = Names::both("full");

const MICROSECONDS_PER_SECOND: f64 = 1e6;
/// Microseconds a second of all CPUs that Linux supports.
const CPU_MICROSECONDS: u64 = 8192 * 1_000_000;

/// The columns: CPU time in user mode and in the kernel, kills, bytes read and written, and six pressures.
const OOM_AT: usize = 2;
const IO_AT: usize = 3;
const PRESSURE_AT: usize = 5;
const COLUMNS: usize = 11;

struct Series {
    plain: Attributes,
    modes: [Attributes; 2],
    directions: [Attributes; 2],
    pressures: [Attributes; 6],
    usage: Usage,
}

impl Series {
    fn new(naming: Naming, unit: &str) -> Self {
        let unit: Arc<str> = Arc::from(unit);
        let with = |pairs: &[(&Attribute, Names)]| {
            let mut all = vec![(&super::NAME, AttributeValue::Text(Arc::clone(&unit)))];
            all.extend(pairs.iter().map(|(attribute, value)| (*attribute, AttributeValue::Word(*value))));
            attributes(naming, &all)
        };
        let resources = [CPU, CPU, MEMORY, MEMORY, IO, IO];
        let mut types = [SOME, FULL].into_iter().cycle();
        Self {
            plain: with(&[]),
            modes: [USER, SYSTEM].map(|mode| with(&[(&MODE, mode)])),
            directions: [READ, WRITE].map(|direction| with(&[(&DIRECTION, direction)])),
            pressures: resources.map(|resource| with(&[(&RESOURCE, resource), (&TYPE, types.next().unwrap_or(SOME))])),
            usage: Usage::default(),
        }
    }
}

/// The usage of the host's services.
pub(super) struct ServiceUsage {
    naming: Naming,
    services: Filter,
    reader: UsageReader,
    disks: CountedDisks,
    table: Table<Series, COLUMNS>,
}

impl ServiceUsage {
    /// `None` where the host has no control groups.
    pub(super) fn new(context: &Context, most_gone: usize) -> Option<Self> {
        let options = &context.options;
        let hierarchy = Hierarchy::find(&context.host.sys("fs/cgroup"))?;
        let mut kinds = [Kind::UNLIMITED; COLUMNS];
        let limited =
            [Kind::at_most(CPU_MICROSECONDS), Kind::at_most(CPU_MICROSECONDS), Kind::EVENTS, Kind::BYTES, Kind::BYTES];
        kinds.iter_mut().zip(limited).for_each(|(kind, limited)| *kind = limited);
        Some(Self {
            naming: options.naming,
            services: options.services.clone(),
            reader: UsageReader::new(hierarchy, context.host.ticks_per_second, true),
            disks: CountedDisks::new(&context.host),
            table: Table::new(Rules::new(kinds, options.since).delta(options.delta), most_gone),
        })
    }

    /// Reads every service once.
    pub(super) fn read(&mut self, reader: &mut Reader) {
        let Self { naming, services, reader: usage, disks, table } = self;
        let root = usage.hierarchy().root().to_owned();
        disks.refresh();
        table.begin(reader.now());
        let outcome = walk(&root, &mut |visited| match place(visited) {
            Place::Inside => true,
            Place::Other => false,
            Place::Unit => {
                let unit = super::super::containers::unescape(visited.name);
                if services.admits(&unit, true) {
                    let reading = usage.usage(visited, &mut |major, minor| disks.counts(major, minor));
                    let name = visited.path.as_bytes();
                    table.read(name, &columns(&reading), || Series::new(*naming, &unit));
                    if let Some(series) = table.data_mut(name) {
                        series.usage = reading;
                    }
                }
                false
            }
        });
        match outcome {
            Ok(()) => table.end(),
            Err(error) => {
                reader.fail();
                reader.note(&root, true, error.to_string());
            }
        }
    }

    pub(super) fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        #[allow(clippy::cast_precision_loss)] // exact for 285 years of microseconds
        let seconds = |micros: u64| micros as f64 / MICROSECONDS_PER_SECOND;
        for entry in self.table.listed() {
            let (series, row) = (&entry.data, entry.row());
            let plain = |value: Option<u64>, out: &mut Observer<'_>| {
                if let Some(value) = value {
                    out.int(value, &series.plain);
                }
            };
            match metric.id {
                "cpu" => each(&series.modes, 0, |at, set| {
                    row.get(at).into_iter().for_each(|micros| out.float(seconds(micros), set));
                }),
                "pressure" => each(&series.pressures, PRESSURE_AT, |at, set| {
                    row.get(at).into_iter().for_each(|micros| out.float(seconds(micros), set));
                }),
                "io" => each(&series.directions, IO_AT, |at, set| {
                    row.get(at).into_iter().for_each(|bytes| out.int(bytes, set));
                }),
                "oom_kills" => plain(row.get(OOM_AT), out),
                "memory" => plain(series.usage.memory, out),
                "tasks" => plain(series.usage.tasks, out),
                _ => {}
            }
        }
    }
}

fn each(sets: &[Attributes], first: usize, mut observe: impl FnMut(usize, &Attributes)) {
    sets.iter().enumerate().for_each(|(place, set)| observe(first + place, set));
}

fn columns(usage: &Usage) -> [Option<u64>; COLUMNS] {
    let io = |at: usize| usage.io.and_then(|io| io.get(at).copied());
    let [cpu, memory, disks] = usage.pressure;
    [
        usage.cpu_user,
        usage.cpu_system,
        usage.oom_kills,
        io(0),
        io(1),
        cpu[0],
        cpu[1],
        memory[0],
        memory[1],
        disks[0],
        disks[1],
    ]
}

enum Place {
    /// A unit that is reported; its parts are in it.
    Unit,
    /// A slice whose units are reported one by one.
    Inside,
    /// Not systemd's, or a container.
    Other,
}

fn place(visited: &Visited<'_>) -> Place {
    let (path, name) = (visited.path, visited.name);
    if path == "system.slice" || (path.starts_with("system.slice/") && name.ends_with(".slice")) {
        Place::Inside
    } else if path == "init.scope" || name.ends_with(".service") || (name == path && name.ends_with(".slice")) {
        Place::Unit
    } else {
        Place::Other
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Options;
    use super::super::super::testing::{Bench, Host as TestHost, fixture};
    use super::super::DEFINITION;
    use super::*;
    use crate::metrics::naming::Detail;

    fn options() -> Options {
        Options { detail: Detail::Detailed, ..Options::default() }
    }

    fn of(points: &[String], id: &str) -> Vec<String> {
        let mut found: Vec<String> = points
            .iter()
            .filter_map(|point| point.strip_prefix(&format!("{id}{{systemd.unit.name=")))
            .map(ToOwned::to_owned)
            .collect();
        found.sort();
        found
    }

    #[test]
    fn services_templates_the_first_process_and_the_users_are_each_reported_once() {
        let points = Bench::new(DEFINITION, fixture("server", options())).points();
        assert_eq!(
            of(&points, "systemd.service.memory.usage"),
            ["getty@tty1.service} 1048576", "init.scope} 16777216", "nginx.service} 104857600", "user.slice} 62914560",]
        );
        assert_eq!(of(&points, "systemd.service.tasks").len(), 4);
        let pressure = points.iter().filter(|point| point.starts_with("systemd.service.pressure.time{")).count();
        assert_eq!(pressure, 4 * 6);
        let points = Bench::new(DEFINITION, fixture("server", Options::default())).points();
        assert!(of(&points, "systemd.service.memory.usage").is_empty(), "it is asked for with detailed");
    }

    #[test]
    fn a_filter_chooses_services() {
        let only = |include: &str, exclude: &str| {
            let list = |text: &str| if text.is_empty() { vec![] } else { vec![regex_lite::Regex::new(text).unwrap()] };
            let services = Filter { include: list(include), exclude: list(exclude) };
            let points = Bench::new(DEFINITION, fixture("server", Options { services, ..options() })).points();
            of(&points, "systemd.service.tasks")
        };
        assert_eq!(only("^nginx", ""), ["nginx.service} 9"]);
        assert_eq!(only("service$", "getty"), ["nginx.service} 9"]);
    }

    #[test]
    fn io_counts_physical_disks_and_counters_count_from_the_first_sight() {
        let host = TestHost::empty();
        let slice = "sys/fs/cgroup/system.slice";
        host.write("sys/fs/cgroup/cgroup.controllers", "io");
        host.write(&format!("{slice}/a.service/memory.events"), "oom_kill 1\n");
        host.write(&format!("{slice}/a.service/cpu.stat"), "user_usec 1000000\nsystem_usec 5\n");
        host.write(&format!("{slice}/a.service/io.stat"), "253:0 rbytes=9 wbytes=9\n");
        let mut bench = Bench::new(DEFINITION, host.context(options()));
        host.write(&format!("{slice}/a.service/memory.events"), "oom_kill 3\n");
        host.write(&format!("{slice}/a.service/cpu.stat"), "user_usec 1500000\nsystem_usec 5\n");
        let points = bench.next();
        assert_eq!(of(&points, "systemd.service.oom_kills"), ["a.service} 2"]);
        let cpu: Vec<_> = points.iter().filter(|point| point.starts_with("systemd.service.cpu.time")).collect();
        assert!(cpu.iter().any(|point| point.contains("cpu.mode=user") && point.ends_with("} 0.5")), "{cpu:?}");
        let io: Vec<_> = points.iter().filter(|point| point.starts_with("systemd.service.disk.io")).collect();
        assert!(io.iter().all(|point| point.ends_with("} 0")), "{io:?}");
    }
}
