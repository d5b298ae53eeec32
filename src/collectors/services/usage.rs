//! CPU time, memory, I/O, tasks, OOM kills and pressure of each service, from systemd's cgroups.
//!
//! Reported are the services of `system.slice` and of its slices (templates such as `getty@tty1.service`), the first
//! process as `init.scope`, and every other top-level slice, such as `user.slice`, as a whole. Every process of the
//! host is thus counted once, except for containers in a scope of `system.slice`, which the collector containers
//! reports.

use std::sync::Arc;

use super::super::containers::unescape;
use super::super::groups::{Groups, Identity, Place};
use crate::host::Reader;
use crate::host::cgroups::Visited;
use crate::metrics::filter::Filter;
use crate::metrics::naming::AttributeValue;

/// Reads the usage of every service that matches the filter.
pub(super) fn read(groups: &mut Groups, filter: &Filter, reader: &mut Reader) {
    let place = |visited: &Visited<'_>| match place(visited) {
        Place::Reported if !filter.admits(&unescape(visited.name), true) => Place::Other,
        place => place,
    };
    groups.read(reader, place, |visited| {
        let name = AttributeValue::Text(Arc::from(&*unescape(visited.name)));
        Identity { pairs: vec![(&super::NAME, name)], complete: true }
    });
}

fn place(visited: &Visited<'_>) -> Place {
    let (path, name) = (visited.path, visited.name);
    if path == "system.slice" || (path.starts_with("system.slice/") && name.ends_with(".slice")) {
        Place::Inside
    } else if path == "init.scope" || name.ends_with(".service") || (name == path && name.ends_with(".slice")) {
        Place::Reported
    } else {
        Place::Other
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::super::Options;
    use super::super::super::testing::{Bench, Host as TestHost, fixture};
    use super::super::DEFINITION;
    use crate::metrics::filter::Filter;
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

    /// The longest file of a cgroup, from which no metric of a service comes.
    #[test]
    fn memory_stat_is_not_read_for_services() {
        let host = TestHost::empty();
        let slice = "sys/fs/cgroup/system.slice";
        host.write("sys/fs/cgroup/cgroup.controllers", "memory");
        host.write(&format!("{slice}/a.service/memory.current"), "8\n");
        // What is no regular file is recorded when it is read.
        for name in ["memory.stat", "pids.current"] {
            let path = host.path(&format!("{slice}/a.service/{name}"));
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        }
        let context = host.context(options());
        let mut reader = crate::host::Reader::new(&context.host).recording();
        (DEFINITION.new)(&context).read(&mut reader);
        let refused: Vec<_> =
            reader.problems().into_iter().filter_map(|problem| Some(problem.path.file_name()?.to_owned())).collect();
        assert!(refused.iter().any(|name| name == "pids.current"), "{refused:?}");
        assert!(refused.iter().all(|name| name != "memory.stat"), "{refused:?}");
    }

    const MOUNTS: &str = "30 24 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    /// A host whose slices have the OOM kills of their services.
    fn host_with_kills_in_parents() -> TestHost {
        let host = TestHost::empty();
        host.write("proc/self/mountinfo", MOUNTS);
        host.write("sys/fs/cgroup/cgroup.controllers", "memory");
        host
    }

    #[test]
    fn kills_of_a_service_are_read_again_only_after_a_kill_in_its_slice() {
        let host = host_with_kills_in_parents();
        let slice = "sys/fs/cgroup/system.slice";
        for (path, kills) in [("", 3), ("/a.service", 3)] {
            host.write(&format!("{slice}{path}/memory.events"), format!("oom_kill {kills}\n"));
            host.write(&format!("{slice}{path}/memory.events.local"), "oom_kill 0\n");
        }
        host.write(&format!("{slice}/a.service/cpu.stat"), "user_usec 1\nsystem_usec 5\n");
        let mut bench = Bench::new(DEFINITION, host.context(options()));
        // Not as a kernel does it: the service without its slice.
        host.write(&format!("{slice}/a.service/memory.events"), "oom_kill 4\n");
        assert_eq!(of(&bench.next(), "systemd.service.oom_kills"), ["a.service} 0"]);
        host.write(&format!("{slice}/memory.events"), "oom_kill 4\n");
        assert_eq!(of(&bench.next(), "systemd.service.oom_kills"), ["a.service} 1"]);
        // A kernel that may not count events in parents.
        host.remove(&format!("{slice}/memory.events.local"));
        host.write(&format!("{slice}/a.service/memory.events"), "oom_kill 6\n");
        assert_eq!(of(&bench.next(), "systemd.service.oom_kills"), ["a.service} 3"]);
    }

    /// A kill in the service with this number, the creation or removal of the service, or a reading.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Kill(usize),
        Toggle(usize),
        Read,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..PATHS.len()).prop_map(Step::Kill),
            (0..PATHS.len()).prop_map(Step::Toggle),
            Just(Step::Read),
            Just(Step::Read)
        ]
    }

    const PATHS: [&str; 5] = [
        "system.slice/a.service",
        "system.slice/b.service",
        "system.slice/system-getty.slice/getty@1.service",
        "system.slice/system-getty.slice/getty@2.service",
        "user.slice",
    ];

    /// The kills in each cgroup.
    #[derive(Default)]
    struct Model {
        kills: BTreeMap<String, u64>,
        moved: usize,
    }

    impl Model {
        fn apply(&mut self, step: Step, host: &TestHost) {
            match step {
                Step::Kill(service) if self.kills.contains_key(PATHS[service]) => {
                    for (at, _) in PATHS[service].match_indices('/').chain([(PATHS[service].len(), "")]) {
                        *self.kills.entry(PATHS[service][..at].to_owned()).or_default() += 1;
                    }
                }
                Step::Toggle(service) => {
                    let path = PATHS[service];
                    if self.kills.remove(path).is_some() {
                        self.moved += 1;
                        // A cgroup's inode is never used again.
                        let gone = host.path(&format!("gone/{}", self.moved));
                        std::fs::create_dir_all(gone.parent().unwrap()).unwrap();
                        std::fs::rename(host.path(&format!("sys/fs/cgroup/{path}")), gone).unwrap();
                    } else {
                        for (at, _) in path.match_indices('/').chain([(path.len(), "")]) {
                            self.kills.entry(path[..at].to_owned()).or_default();
                        }
                    }
                }
                Step::Kill(_) | Step::Read => {}
            }
            for (path, kills) in &self.kills {
                let folder = format!("sys/fs/cgroup/{path}");
                host.write(&format!("{folder}/memory.events"), format!("oom_kill {kills}\n"));
                host.write(&format!("{folder}/memory.events.local"), "oom_kill 0\n");
                host.write(&format!("{folder}/cpu.stat"), "user_usec 1\nsystem_usec 5\n");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn kills_are_the_same_as_if_each_service_was_always_read(steps in proptest::collection::vec(step(), 1..40)) {
            // On the second one, nothing says that slices have the kills of their services.
            let hosts = [host_with_kills_in_parents(), TestHost::empty()];
            hosts[1].link(hosts[0].path("sys").to_str().unwrap(), "sys");
            let mut model = Model::default();
            let mut benches = hosts.each_ref().map(|host| Bench::new(DEFINITION, host.context(options())));
            for step in steps {
                model.apply(step, &hosts[0]);
                if matches!(step, Step::Read) {
                    let [skipping, reading] = benches.each_mut().map(|bench| {
                        let mut points = bench.next();
                        points.sort();
                        points
                    });
                    prop_assert_eq!(skipping, reading);
                }
            }
        }
    }

    #[test]
    fn a_host_of_version_1_has_memory_of_units_whose_cpu_time_is_not_counted() {
        let host = TestHost::empty();
        let file = |tree: &str, unit: &str, file: &str, content: &str| {
            host.write(&format!("sys/fs/cgroup/{tree}/system.slice/{unit}/{file}"), content);
        };
        file("cpu,cpuacct", "a.service", "cpuacct.stat", "user 100\nsystem 5\n");
        for unit in ["a.service", "b.service"] {
            file("systemd", unit, "cgroup.procs", "7\n");
            file("memory", unit, "memory.usage_in_bytes", "4096\n");
        }
        let points = Bench::new(DEFINITION, host.context(options())).points();
        assert_eq!(of(&points, "systemd.service.memory.usage"), ["a.service} 4096", "b.service} 4096"]);
        let cpu = |point: &&String| point.starts_with("systemd.service.cpu.time");
        assert!(points.iter().filter(cpu).all(|point| point.contains("a.service")), "{points:#?}");
        assert_eq!(points.iter().filter(cpu).count(), 2);
    }

    #[test]
    fn a_container_and_a_systemd_in_it_are_no_services() {
        let host = TestHost::empty();
        let slice = "sys/fs/cgroup/system.slice";
        host.write("sys/fs/cgroup/cgroup.controllers", "memory");
        let scope = format!("docker-{}.scope", "5".repeat(64));
        let inner = format!("{scope}/system.slice/web.service");
        for path in ["web.service", "web.service/docker/x.service", &scope, &inner] {
            host.write(&format!("{slice}/{path}/memory.current"), "8\n");
        }
        let points = Bench::new(DEFINITION, host.context(options())).points();
        assert_eq!(of(&points, "systemd.service.memory.usage"), ["web.service} 8"]);
    }
}
