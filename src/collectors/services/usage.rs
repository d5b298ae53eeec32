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
