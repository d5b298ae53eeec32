//! Containers, from the cgroups that their runtimes make. No socket of a runtime and no privilege is needed.
//!
//! A container in a container is a part of the outer one, which counts it. A container in a systemd service is reported
//! here under `container.*` and inside the service under `systemd.service.*`; these are different metrics, so that no sum
//! has both.
//!
//! CPU time, page faults, I/O and kills are counters since the agent's start; what a container did before its first
//! reading is not in them. I/O is that of whole physical disks: the kernel counts the same bytes again for each device
//! that is stacked on them.

mod recognize;

use std::sync::Arc;

use tracing::info;

use super::{Collector, Context, Definition, Observer};
use crate::host::cgroups::{Hierarchy, Usage, UsageReader, Visited, walk};
use crate::host::counted_disks::CountedDisks;
use crate::host::{Host, Reader, files};
use crate::metrics::counter::{Kind as Column, Rules, Table};
use crate::metrics::naming::Detail::Detailed;
use crate::metrics::naming::Kind::{Counter, Gauge, UpDownCounter};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names, Naming, attributes};
use crate::metrics::parse::fields;
pub(super) use recognize::unescape;
use recognize::{Container, Pod, Qos};

/// The collector's entry in the list.
pub const DEFINITION: Definition =
    Definition { name: "containers", metrics: METRICS, new: |context| Box::new(Containers::new(context)) };

const ID: Attribute = Attribute { key: Names::both("container.id"), values: &[] };
const RUNTIME: Attribute = Attribute { key: Names::both("container.runtime.name"), values: &[] };
const NAME: Attribute = Attribute { key: Names::both("container.name"), values: &[] };
const POD: Attribute = Attribute { key: Names::both("k8s.pod.uid"), values: &[] };
const QOS: Attribute = Attribute { key: Names::both("k8s.pod.qos_class"), values: &[] };
const MODE: Attribute = Attribute { key: Names::both("cpu.mode"), values: &[USER, SYSTEM] };
const FAULT: Attribute = Attribute { key: Names::both("system.paging.fault.type"), values: &[MINOR, MAJOR] };
const DIRECTION: Attribute = Attribute { key: Names::both("disk.io.direction"), values: &[READ, WRITE] };

const USER: Names = Names::both("user");
const SYSTEM: Names = Names::both("system");
const MINOR: Names = Names::both("minor");
const MAJOR: Names = Names::both("major");
const READ: Names = Names::both("read");
const WRITE: Names = Names::both("write");

const IDENTITY: &[&Attribute] = &[&ID, &RUNTIME, &NAME, &POD, &QOS];

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("cpu", Counter, Double, "CPU time of the container", "cpu.stat, user_usec and system_usec")
        .since("4.15, cgroup 2")
        .semconv("container.cpu.time", "s", Detailed, &[&ID, &RUNTIME, &NAME, &POD, &QOS, &MODE]),
    Metric::new("throttled", Counter, Double, "Time for which a CPU quota stopped the container", "cpu.stat, throttled_usec")
        .since("4.15, cgroup 2")
        .semconv("container.cpu.linux.throttled_time", "s", Detailed, IDENTITY),
    Metric::new("memory", UpDownCounter, Int, "Memory of the container, its page cache included", "memory.current")
        .since("4.5, cgroup 2")
        .semconv("container.memory.usage", "By", Detailed, IDENTITY),
    Metric::new("working_set", UpDownCounter, Int,
        "Memory that is in use: all without file-backed memory that was not used lately", "memory.current − memory.stat, inactive_file")
        .since("4.5, cgroup 2")
        .semconv("container.memory.working_set", "By", Detailed, IDENTITY),
    Metric::new("rss", UpDownCounter, Int, "Anonymous memory of the container", "memory.stat, anon")
        .since("4.5, cgroup 2")
        .semconv("container.memory.rss", "By", Detailed, IDENTITY),
    Metric::new("oom_kills", Counter, Int, "Processes of the container that the kernel killed for want of memory", "memory.events, oom_kill")
        .since("4.13, cgroup 2")
        .semconv("container.memory.linux.oom_kills", "{process}", Detailed, IDENTITY),
    Metric::new("faults", Counter, Int, "Page faults of the container", "memory.stat, pgfault and pgmajfault")
        .since("4.5, cgroup 2")
        .semconv("container.paging.faults", "{fault}", Detailed, &[&ID, &RUNTIME, &NAME, &POD, &QOS, &FAULT]),
    Metric::new("io", Counter, Int, "Bytes that the container read from and wrote to physical disks", "io.stat, rbytes and wbytes")
        .since("4.5, cgroup 2")
        .semconv("container.disk.io", "By", Detailed, &[&ID, &RUNTIME, &NAME, &POD, &QOS, &DIRECTION]),
    Metric::new("tasks", UpDownCounter, Int, "Processes and threads in the container", "pids.current")
        .since("4.5, cgroup 2")
        .semconv("container.linux.tasks", "{task}", Detailed, IDENTITY),
    Metric::new("uptime", Gauge, Double, "Time since the container's first process started", "/proc/[pid]/stat, starttime of the lowest pid of cgroup.procs; /proc/uptime")
        .semconv("container.uptime", "s", Detailed, IDENTITY),
];

/// The columns of a container's counters.
const USER_AT: usize = 0;
const SYSTEM_AT: usize = 1;
const THROTTLED_AT: usize = 2;
const MINOR_AT: usize = 3;
const MAJOR_AT: usize = 4;
const OOM_AT: usize = 5;
const READ_AT: usize = 6;
const WRITE_AT: usize = 7;
const COLUMNS: usize = 8;

const MICROSECONDS_PER_SECOND: f64 = 1e6;
/// Microseconds a second of all CPUs that Linux supports.
const CPU_MICROSECONDS: u64 = 8192 * 1_000_000;

/// A container at work.
struct Series {
    /// Its attributes alone, and with each of the two values of a mode, a kind of fault and a direction.
    plain: Attributes,
    modes: [Attributes; 2],
    faults: [Attributes; 2],
    directions: [Attributes; 2],
    usage: Usage,
    /// When its first process started, in seconds since boot.
    started: Option<f64>,
}

impl Series {
    fn new(naming: Naming, container: &Container, pod: Option<(&Pod, Qos)>) -> Self {
        let text = |text: &str| AttributeValue::Text(Arc::from(text));
        let mut identity = vec![(&ID, text(&container.id))];
        identity.extend(container.runtime.map(|runtime| (&RUNTIME, text(runtime))));
        identity.extend(container.name.as_deref().map(|name| (&NAME, text(name))));
        if let Some((pod, qos)) = pod {
            identity.extend([(&POD, text(&pod.uid)), (&QOS, text(qos.name()))]);
        }
        let with = |attribute: &'static Attribute, values: [Names; 2]| {
            values.map(|value| {
                let mut pairs = identity.clone();
                pairs.push((attribute, AttributeValue::Word(value)));
                attributes(naming, &pairs)
            })
        };
        Self {
            plain: attributes(naming, &identity),
            modes: with(&MODE, [USER, SYSTEM]),
            faults: with(&FAULT, [MINOR, MAJOR]),
            directions: with(&DIRECTION, [READ, WRITE]),
            usage: Usage::default(),
            started: None,
        }
    }
}

struct Containers {
    host: Host,
    naming: Naming,
    usage: Option<UsageReader>,
    disks: CountedDisks,
    table: Table<Series, COLUMNS>,
    /// Seconds since boot, at the last reading.
    uptime: Option<f64>,
    started: bool,
}

impl Containers {
    fn new(context: &Context) -> Self {
        let options = &context.options;
        let kinds = [
            Column::at_most(CPU_MICROSECONDS),
            Column::at_most(CPU_MICROSECONDS),
            Column::UNLIMITED,
            Column::EVENTS,
            Column::EVENTS,
            Column::EVENTS,
            Column::BYTES,
            Column::BYTES,
        ];
        let rules = Rules::new(kinds, options.since).delta(options.delta);
        Self {
            host: context.host.clone(),
            naming: options.naming,
            usage: None,
            disks: CountedDisks::new(&context.host),
            table: Table::new(rules, MOST_GONE),
            uptime: None,
            started: false,
        }
    }
}

/// Containers that went away and are remembered: a container's id never comes back, except after a failed listing.
const MOST_GONE: usize = 64;

impl Collector for Containers {
    fn read(&mut self, reader: &mut Reader) {
        if !std::mem::replace(&mut self.started, true) {
            let root = self.host.sys("fs/cgroup");
            self.usage =
                Hierarchy::find(&root).map(|hierarchy| UsageReader::new(hierarchy, self.host.ticks_per_second, false));
            match self.usage.as_ref().map(UsageReader::hierarchy) {
                None => reader.note(&root, false, "no control groups are mounted, so no containers are reported"),
                Some(Hierarchy::Legacy { .. }) => {
                    info!("control groups are version 1: containers are reported without disk I/O and pressure");
                }
                Some(Hierarchy::Unified(_)) => {}
            }
        }
        let Some(usage) = &mut self.usage else { return };
        self.uptime = files::read_small(&self.host.proc("uptime"))
            .and_then(|text| std::str::from_utf8(fields(&text).next()?).ok()?.parse().ok());
        let root = usage.hierarchy().root().to_owned();
        let (host, naming, table, disks) = (&self.host, self.naming, &mut self.table, &mut self.disks);
        disks.refresh();
        let mut visit = |table: &mut Table<Series, COLUMNS>, visited: &Visited<'_>| {
            let Some(container) = recognize::container(visited.parent, visited.name) else { return true };
            let reading = usage.usage(visited, &mut |major, minor| disks.counts(major, minor));
            let counters = [
                reading.cpu_user,
                reading.cpu_system,
                reading.throttled,
                reading.minor_faults,
                reading.major_faults,
                reading.oom_kills,
                reading.io.map(|[read, _]| read),
                reading.io.map(|[_, written]| written),
            ];
            let pod = visited.path.rsplit('/').skip(1).find_map(recognize::pod);
            let qos = Qos::of_path(visited.path);
            let name = visited.path.as_bytes();
            table.read(name, &counters, || Series::new(naming, &container, pod.as_ref().map(|pod| (pod, qos))));
            if let Some(series) = table.data_mut(name) {
                if series.started.is_none() {
                    series.started = usage.first_process(visited).and_then(|pid| start_of(host, pid));
                }
                series.usage = reading;
            }
            // A container in this one is counted in it.
            false
        };
        table.begin(reader.now());
        let outcome = walk(&root, &mut |visited| visit(table, visited));
        match outcome {
            Ok(()) => table.end(),
            Err(error) => {
                reader.fail();
                reader.note(&root, true, error.to_string());
            }
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        for entry in self.table.listed() {
            let (series, row) = (&entry.data, entry.row());
            let int = |out: &mut Observer<'_>, value: Option<u64>| {
                if let Some(value) = value {
                    out.int(value, &series.plain);
                }
            };
            #[allow(clippy::cast_precision_loss)] // exact for 285 years of microseconds
            let seconds = |micros: u64| micros as f64 / MICROSECONDS_PER_SECOND;
            let pair = |places: [usize; 2], attributes: &'_ [Attributes; 2]| {
                places
                    .into_iter()
                    .zip(attributes.clone())
                    .filter_map(|(at, set)| Some((row.get(at)?, set)))
                    .collect::<Vec<_>>()
            };
            match metric.id {
                "cpu" => {
                    for (micros, attributes) in pair([USER_AT, SYSTEM_AT], &series.modes) {
                        out.float(seconds(micros), &attributes);
                    }
                }
                "throttled" => {
                    if let Some(micros) = row.get(THROTTLED_AT) {
                        out.float(seconds(micros), &series.plain);
                    }
                }
                "faults" => {
                    for (count, attributes) in pair([MINOR_AT, MAJOR_AT], &series.faults) {
                        out.int(count, &attributes);
                    }
                }
                "io" => {
                    for (bytes, attributes) in pair([READ_AT, WRITE_AT], &series.directions) {
                        out.int(bytes, &attributes);
                    }
                }
                "oom_kills" => int(out, row.get(OOM_AT)),
                "memory" => int(out, series.usage.memory),
                "working_set" => int(out, series.usage.working_set()),
                "rss" => int(out, series.usage.anonymous),
                "tasks" => int(out, series.usage.tasks),
                "uptime" => {
                    if let Some((now, started)) = self.uptime.zip(series.started) {
                        out.float((now - started).max(0.0), &series.plain);
                    }
                }
                _ => {}
            }
        }
    }
}

/// When a process started, in seconds since boot: field 22 of `/proc/[pid]/stat`, in clock ticks.
fn start_of(host: &Host, pid: u32) -> Option<f64> {
    let stat = files::read_small(&host.proc(&format!("{pid}/stat")))?;
    let after_name = stat.iter().rposition(|&b| b == b')')? + 1;
    // The state, field 3, is the first one behind the name.
    let start = fields(stat.get(after_name..)?).nth(22 - 3)?;
    #[allow(clippy::cast_precision_loss)] // exact for millions of years
    Some(crate::metrics::parse::number(start)? as f64 / host.ticks_per_second.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::testing::{Bench, Host as TestHost, fixture};
    use super::*;
    use crate::metrics::naming::Detail;

    fn options() -> Options {
        Options { detail: Detail::Detailed, ..Options::default() }
    }

    fn of(points: &[String], id: &str) -> Vec<String> {
        points.iter().filter(|point| point.starts_with(&format!("{id}{{"))).cloned().collect()
    }

    fn id(pattern: &str) -> String {
        pattern.chars().cycle().take(64).collect()
    }

    #[test]
    fn each_container_is_reported_once_with_its_runtime() {
        let bench = Bench::new(DEFINITION, fixture("server", options()));
        let memory = of(&bench.points(), "container.memory.usage");
        let docker =
            format!("container.memory.usage{{container.id={},container.runtime.name=docker}} 268435456", id("4f"));
        let podman = format!("container.memory.usage{{container.id={},container.runtime.name=podman}} 4096", id("9c"));
        let lxc = "container.memory.usage{container.id=web,container.name=web,container.runtime.name=lxc} 33554432";
        assert_eq!(memory.len(), 3, "{memory:#?}");
        for expected in [docker.as_str(), &podman, lxc] {
            assert!(memory.iter().any(|point| point == expected), "{expected} in {memory:#?}");
        }
    }

    #[test]
    fn a_container_of_kubernetes_has_its_pod_and_class_under_both_drivers() {
        let points = Bench::new(DEFINITION, fixture("container", options())).points();
        let tasks = of(&points, "container.linux.tasks");
        let pod = |id: &str, qos: &str, uid: &str, count: u32| {
            format!(
                "container.linux.tasks{{container.id={id},container.runtime.name=containerd,k8s.pod.qos_class={qos},k8s.pod.uid={uid}}} {count}"
            )
        };
        let burstable = "5d1f7c1e-84a2-4b7e-9c55-7a0c1b2d3e4f";
        let mut expected = [
            pod(&id("ab"), "Burstable", burstable, 11),
            pod(&id("cd"), "Burstable", burstable, 1),
            pod(&id("ef"), "BestEffort", "0a1b2c3d-1111-2222-3333-444455556666", 3),
        ];
        let mut tasks = tasks;
        tasks.sort();
        expected.sort();
        assert_eq!(tasks, expected);
    }

    #[test]
    fn a_host_of_version_1_has_cpu_memory_and_tasks() {
        let points = Bench::new(DEFINITION, fixture("old-kernel", options())).points();
        let plain = format!("{{container.id={},container.runtime.name=docker}}", id("7e"));
        assert_eq!(of(&points, "container.memory.usage"), [format!("container.memory.usage{plain} 134217728")]);
        assert_eq!(
            of(&points, "container.memory.working_set"),
            [format!("container.memory.working_set{plain} 100663296")]
        );
        assert_eq!(of(&points, "container.linux.tasks"), [format!("container.linux.tasks{plain} 7")]);
        assert_eq!(of(&points, "container.cpu.time").len(), 2);
        assert!(of(&points, "container.disk.io").is_empty());
    }

    const CGROUP: &str = "sys/fs/cgroup";

    fn docker(host: &TestHost, pattern: &str, file: &str, content: &str) {
        host.write(&format!("{CGROUP}/cgroup.controllers"), "cpu io memory pids");
        host.write(&format!("{CGROUP}/system.slice/docker-{}.scope/{file}", id(pattern)), content);
    }

    #[test]
    fn counters_count_from_the_first_sight_and_a_restarted_container_is_another_one() {
        let host = TestHost::empty();
        docker(&host, "1", "cpu.stat", "user_usec 5000000\nsystem_usec 1000000\n");
        let mut bench = Bench::new(DEFINITION, host.context(options()));
        docker(&host, "1", "cpu.stat", "user_usec 7500000\nsystem_usec 1000000\n");
        docker(&host, "2", "cpu.stat", "user_usec 100000\nsystem_usec 100000\n");
        let user = |points: Vec<String>, pattern: &str| {
            let start = format!(
                "container.cpu.time{{container.id={},container.runtime.name=docker,cpu.mode=user}} ",
                id(pattern)
            );
            points.into_iter().find_map(|point| point.strip_prefix(&start).map(ToOwned::to_owned))
        };
        let points = bench.next();
        assert_eq!(user(points.clone(), "1").as_deref(), Some("2.5"));
        assert_eq!(user(points, "2").as_deref(), Some("0"));
        std::fs::remove_dir_all(
            host.context(options()).host.sys(&format!("fs/cgroup/system.slice/docker-{}.scope", id("1"))),
        )
        .unwrap();
        assert_eq!(user(bench.next(), "1"), None, "a container that is gone has no series");
    }

    #[test]
    fn a_container_in_a_container_is_counted_in_the_outer_one() {
        let host = TestHost::empty();
        docker(&host, "1", "memory.current", "100\n");
        host.write(
            &format!("{CGROUP}/system.slice/docker-{}.scope/docker/{}/memory.current", id("1"), id("2")),
            "60\n",
        );
        let points = Bench::new(DEFINITION, host.context(options())).points();
        assert_eq!(of(&points, "container.memory.usage").len(), 1, "{points:#?}");
    }

    #[test]
    fn containers_that_come_and_go_for_a_day_leave_nothing_behind() {
        let host = TestHost::empty();
        host.write(&format!("{CGROUP}/cgroup.controllers"), "cpu");
        let mut bench = Containers::new(&host.context(options()));
        let context = host.context(options());
        let mut reader = Reader::new(&context.host);
        let mut last: Option<String> = None;
        // A CronJob that ends before the next collection, for the 8,640 collections of a day.
        for number in 0..8_640u32 {
            if let Some(path) = last.replace(format!("fs/cgroup/docker/{}", id(&format!("{number:08x}")))) {
                std::fs::remove_dir_all(context.host.sys(&path)).unwrap();
            }
            host.write(&format!("sys/{}/memory.current", last.as_deref().unwrap_or_default()), "1\n");
            reader.next_cycle();
            bench.read(&mut reader);
            assert!(bench.table.len() <= MOST_GONE + 1, "{} after {number}", bench.table.len());
            assert_eq!(bench.table.listed().count(), 1);
        }
    }
}
