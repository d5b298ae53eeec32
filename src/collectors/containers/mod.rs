//! Containers, from the cgroups that their runtimes create. Needs no runtime socket and no privileges.
//!
//! A nested container is part of the outer one and counted there. A container in a systemd service is reported here
//! under `container.*` and as part of the service under `systemd.service.*`; these are different metrics, so that no
//! sum contains it twice.

mod names;
mod recognize;

use std::sync::Arc;

use super::groups::{DIRECTION, FAULT, Groups, Identity, MODE, Place};
use super::{Collector, Context, Definition, Observer};
use crate::host::cgroups::Visited;
use crate::host::{Host, Reader};
use crate::metrics::naming::Detail::Detailed;
use crate::metrics::naming::Kind::{Counter, Gauge, UpDownCounter};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, AttributeValue, Metric, Names};
use names::{Logs, of_conmon};
pub(super) use recognize::unescape;
use recognize::{PODMAN, Qos};

/// The collector's entry in the list.
pub const DEFINITION: Definition =
    Definition { name: "containers", metrics: METRICS, new: |context| Box::new(Containers::new(context)) };

const ID: Attribute = Attribute { key: Names::both("container.id"), values: &[] };
const RUNTIME: Attribute = Attribute { key: Names::both("container.runtime.name"), values: &[] };
const NAME: Attribute = Attribute { key: Names::both("container.name"), values: &[] };
const POD: Attribute = Attribute { key: Names::both("k8s.pod.uid"), values: &[] };
const QOS: Attribute = Attribute { key: Names::both("k8s.pod.qos_class"), values: &[] };
const CONTAINER: Attribute = Attribute { key: Names::both("k8s.container.name"), values: &[] };
const POD_NAME: Attribute = Attribute { key: Names::both("k8s.pod.name"), values: &[] };
const NAMESPACE: Attribute = Attribute { key: Names::both("k8s.namespace.name"), values: &[] };

const IDENTITY: &[&Attribute] = &[&ID, &RUNTIME, &NAME, &POD, &QOS, &CONTAINER, &POD_NAME, &NAMESPACE];

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("cpu", Counter, Double, "CPU time of the container", "cpu.stat, user_usec and system_usec")
        .since("4.15, cgroup 2")
        .semconv("container.cpu.time", "s", Detailed, &[&ID, &RUNTIME, &NAME, &POD, &QOS, &CONTAINER, &POD_NAME, &NAMESPACE, &MODE]),
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
    Metric::new("oom_kills", Counter, Int, "Processes of the container that the kernel killed because memory ran out", "memory.events, oom_kill")
        .since("4.13, cgroup 2")
        .semconv("container.memory.linux.oom_kills", "{process}", Detailed, IDENTITY),
    Metric::new("faults", Counter, Int, "Page faults of the container", "memory.stat, pgfault and pgmajfault")
        .since("4.5, cgroup 2")
        .semconv("container.paging.faults", "{fault}", Detailed, &[&ID, &RUNTIME, &NAME, &POD, &QOS, &CONTAINER, &POD_NAME, &NAMESPACE, &FAULT]),
    Metric::new("io", Counter, Int, "Bytes that the container read from and wrote to physical disks", "io.stat, rbytes and wbytes")
        .since("4.5, cgroup 2")
        .semconv("container.disk.io", "By", Detailed, &[&ID, &RUNTIME, &NAME, &POD, &QOS, &CONTAINER, &POD_NAME, &NAMESPACE, &DIRECTION]),
    Metric::new("tasks", UpDownCounter, Int, "Processes and threads in the container", "pids.current")
        .since("4.5, cgroup 2")
        .semconv("container.linux.tasks", "{task}", Detailed, IDENTITY),
    Metric::new("uptime", Gauge, Double, "Time since the container's first process started", "/proc/[pid]/stat, starttime of the lowest pid of cgroup.procs; /proc/uptime")
        .semconv("container.uptime", "s", Detailed, IDENTITY),
];

/// Maximum number of removed containers that are remembered: an id only reappears after a failed listing.
const MOST_GONE: usize = 64;

struct Containers {
    /// Used at the first reading, because finding the source of the usage needs file access.
    context: Option<Context>,
    host: Host,
    groups: Option<Groups>,
}

impl Containers {
    fn new(context: &Context) -> Self {
        Self { context: Some(context.clone()), host: context.host.clone(), groups: None }
    }
}

impl Collector for Containers {
    fn read(&mut self, reader: &mut Reader) {
        if let Some(context) = self.context.take() {
            self.groups = Groups::find(&context, DEFINITION.name, METRICS, MOST_GONE, reader);
        }
        let Some(groups) = &mut self.groups else { return };
        let place = |visited: &Visited<'_>| match recognize::container(visited.parent, visited.name) {
            Some(_) => Place::Reported,
            None => Place::Inside,
        };
        let mut logs = Logs::new(&self.host);
        groups.read(reader, place, |visited| identity(&self.host, &mut logs, visited));
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        self.groups.iter().for_each(|groups| groups.observe(metric, out));
    }
}

/// The attributes of a container, from its cgroup path and the available names.
fn identity(host: &Host, logs: &mut Logs<'_>, visited: &Visited<'_>) -> Identity {
    let text = |text: &str| AttributeValue::Text(Arc::from(text));
    let mut identity = Identity { pairs: Vec::new(), complete: true };
    let Some(container) = recognize::container(visited.parent, visited.name) else { return identity };
    let pairs = &mut identity.pairs;
    pairs.push((&ID, text(&container.id)));
    pairs.extend(container.runtime.map(|runtime| (&RUNTIME, text(runtime))));
    let podman = container.runtime == Some(PODMAN);
    if container.named {
        pairs.push((&NAME, text(&container.id)));
    } else if podman {
        match of_conmon(host, visited) {
            Some(name) => pairs.push((&NAME, text(&name))),
            None => identity.complete = false,
        }
    }
    if let Some(pod) = visited.path.rsplit('/').skip(1).find_map(recognize::pod) {
        pairs.extend([(&POD, text(&pod.uid)), (&QOS, text(Qos::of_path(visited.path).name()))]);
        match logs.names(&container.id) {
            Some([pod, namespace, name]) => {
                pairs.extend([(&POD_NAME, text(pod)), (&NAMESPACE, text(namespace)), (&CONTAINER, text(name))]);
            }
            None => identity.complete = false,
        }
    }
    identity
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::observer::Sink;
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
        let pod = |id: &str, runtime: &str, qos: &str, uid: &str, count: u32| {
            format!(
                "container.linux.tasks{{container.id={id},{runtime}k8s.pod.qos_class={qos},k8s.pod.uid={uid}}} {count}"
            )
        };
        let burstable = "5d1f7c1e-84a2-4b7e-9c55-7a0c1b2d3e4f";
        let mut expected = [
            pod(&id("ab"), "", "Burstable", burstable, 11),
            pod(&id("cd"), "", "Burstable", burstable, 1),
            pod(
                &id("ef"),
                "container.runtime.name=containerd,",
                "BestEffort",
                "0a1b2c3d-1111-2222-3333-444455556666",
                3,
            ),
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

    /// `docker restart`: the container keeps its id and path, and the kernel counts in a new cgroup.
    #[test]
    fn a_container_that_is_restarted_between_two_collections_has_its_new_uptime_and_its_totals_go_on() {
        let host = TestHost::empty();
        let start = |pid: u32, ticks: u32| {
            host.write(
                &format!("proc/{pid}/stat"),
                format!("{pid} (a) S 1 1 1 0 -1 0 0 0 0 0 1 0 0 0 20 0 1 0 {ticks} 1 1\n"),
            );
        };
        let write =
            |name: &str, file: &str, content: &str| host.write(&format!("{CGROUP}/docker/{name}/{file}"), content);
        host.write(&format!("{CGROUP}/cgroup.controllers"), "cpu memory");
        host.write("proc/uptime", "200.00 1.00\n");
        start(100, 1_000);
        start(300, 15_000);
        write(&id("1"), "cgroup.procs", "100\n");
        write(&id("1"), "cpu.stat", "user_usec 5000000\nsystem_usec 7\n");
        let mut bench = Bench::new(DEFINITION, host.context(options()));
        let value = |points: &[String], metric: &str| {
            let found: Vec<_> = points.iter().filter(|point| point.starts_with(metric)).collect();
            found.iter().map(|point| point.rsplit_once(' ').unwrap().1.to_owned()).collect::<Vec<_>>()
        };
        write(&id("1"), "cpu.stat", "user_usec 6000000\nsystem_usec 7\n");
        let points = bench.next();
        assert_eq!(value(&points, "container.uptime"), ["190"]);
        assert_eq!(value(&points, "container.cpu.time"), ["1", "0"]);
        // Both exist for a moment, so that no file system gives both the same inode.
        write("new", "cgroup.procs", "300\n");
        write("new", "cpu.stat", "user_usec 2000000\nsystem_usec 7\n");
        let at = |name: &str| host.path(&format!("{CGROUP}/docker/{name}"));
        std::fs::rename(at(&id("1")), at("old")).unwrap();
        std::fs::rename(at("new"), at(&id("1"))).unwrap();
        let points = bench.next();
        assert_eq!(value(&points, "container.uptime"), ["50"]);
        assert_eq!(value(&points, "container.cpu.time"), ["1", "0"]);
        write(&id("1"), "cpu.stat", "user_usec 2500000\nsystem_usec 7\n");
        assert_eq!(
            value(&bench.next(), "container.cpu.time"),
            ["1.5", "0"],
            "from the first reading of the new cgroup"
        );
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
    fn few_of_the_containers_that_are_gone_are_remembered() {
        const EACH: usize = 10;
        let host = TestHost::empty();
        host.write(&format!("{CGROUP}/cgroup.controllers"), "cpu");
        let context = host.context(options());
        let mut containers = Containers::new(&context);
        let mut reader = Reader::new(&context.host);
        // CronJobs that end before the next collection. The metrics and the SDK are in tests/host/scale.rs.
        for collection in 0..100 {
            let _gone = std::fs::remove_dir_all(host.path(&format!("{CGROUP}/docker")));
            for number in 0..EACH {
                let id = id(&format!("{:08x}", collection * EACH + number));
                host.write(&format!("{CGROUP}/docker/{id}/memory.current"), "1\n");
            }
            reader.next_cycle();
            containers.read(&mut reader);
            let remembered = containers.groups.as_ref().unwrap().remembered();
            // Those that are just gone, and those that are there.
            assert!(remembered <= MOST_GONE + 2 * EACH, "{remembered} after {collection}");
        }
    }

    #[test]
    fn names_that_any_user_may_see_are_added() {
        let host = TestHost::empty();
        let pod = "kubepods/burstable/pod0f1e2d3c-aaaa-bbbb-cccc-000000000001";
        docker(&host, "1", "memory.current", "1\n");
        host.write(&format!("{CGROUP}/{pod}/{}/memory.current", id("a")), "2\n");
        host.write(&format!("var/log/containers/web-7d9f_shop_nginx-{}.log", id("a")), "");
        host.write(&format!("{CGROUP}/machine.slice/libpod-{}.scope/memory.current", id("b")), "3\n");
        host.write(&format!("{CGROUP}/machine.slice/libpod-conmon-{}.scope/cgroup.procs", id("b")), "77\n");
        host.write("proc/77/cmdline", format!("/usr/bin/conmon\0-c\0{}\0-n\0db\0--exit-dir\0/run\0", id("b")));
        let points = Bench::new(DEFINITION, host.context(options())).points();
        let memory = of(&points, "container.memory.usage");
        let pod = format!(
            "container.memory.usage{{container.id={},k8s.container.name=nginx,k8s.namespace.name=shop,k8s.pod.name=web-7d9f,k8s.pod.qos_class=Burstable,k8s.pod.uid=0f1e2d3c-aaaa-bbbb-cccc-000000000001}} 2",
            id("a")
        );
        let podman = format!(
            "container.memory.usage{{container.id={},container.name=db,container.runtime.name=podman}} 3",
            id("b")
        );
        assert_eq!(memory.len(), 3, "{memory:#?}");
        assert!(memory.contains(&pod) && memory.contains(&podman), "{memory:#?}");
    }

    /// The kubelet makes the link after it has started the container.
    #[test]
    fn a_name_that_appears_after_the_container_is_added_and_no_difference_is_sent_twice() {
        for delta in [false, true] {
            let host = TestHost::empty();
            let cgroup = format!("{CGROUP}/kubepods/pod0f1e2d3c-aaaa-bbbb-cccc-000000000001/{}", id("a"));
            let used = |seconds: u64| {
                host.write(&format!("{cgroup}/cpu.stat"), format!("user_usec {seconds}000000\nsystem_usec 7\n"));
            };
            host.write(&format!("{CGROUP}/cgroup.controllers"), "cpu");
            used(10);
            let mut bench = Bench::new(DEFINITION, host.context(Options { delta, ..options() }));
            let user = |points: Vec<String>| points.into_iter().find(|point| point.contains("cpu.mode=user")).unwrap();
            used(13);
            let point = user(bench.next());
            assert!(!point.contains("k8s.pod.name") && point.ends_with(" 3"), "{point}");
            host.write(&format!("var/log/containers/web_shop_nginx-{}.log", id("a")), "");
            used(15);
            let point = user(bench.next());
            assert!(point.contains("k8s.pod.name=web") && point.ends_with(if delta { " 2" } else { " 5" }), "{point}");
        }
    }

    #[test]
    fn a_name_that_never_appears_is_looked_up_a_few_times() {
        let host = TestHost::empty();
        let cgroup = format!("{CGROUP}/kubepods/pod0f1e2d3c-aaaa-bbbb-cccc-000000000001/{}", id("a"));
        host.write(&format!("{CGROUP}/cgroup.controllers"), "memory");
        host.write(&format!("{cgroup}/memory.current"), "1\n");
        let mut bench = Bench::new(DEFINITION, host.context(options()));
        for _ in 0..10 {
            bench.next();
        }
        host.write(&format!("var/log/containers/web_shop_nginx-{}.log", id("a")), "");
        assert!(!bench.next().concat().contains("k8s.pod.name"));
    }

    #[test]
    fn containers_above_the_limit_are_not_read_and_those_with_series_keep_them() {
        let host = TestHost::empty();
        docker(&host, "1", "memory.current", "1\n");
        docker(&host, "2", "memory.current", "2\n");
        let mut bench = Bench::new(DEFINITION, host.context(Options { max_series: Some(2), ..options() }));
        let before = of(&bench.next(), "container.memory.usage");
        assert_eq!(before.len(), 2);
        for pattern in ["3", "4", "5", "6"] {
            docker(&host, pattern, "memory.current", "3\n");
        }
        assert_eq!(of(&bench.next(), "container.memory.usage"), before);
        let metric = METRICS.iter().find(|metric| metric.id == "memory").unwrap();
        let mut out = Observer::new(Sink::Nowhere, 2);
        bench.collector.observe(metric, &mut out);
        assert_eq!((out.seen, out.cut), (2, 4), "what is left out is counted");
    }
}
