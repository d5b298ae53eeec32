//! Tests with collections of any size and the Collector's default message limit of 4 MiB: every point must arrive once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::harness::{Agent, Collector, Kind, Value, cycles};

/// A machine that does other things as well takes its time for 100,000 points, and so does the Collector's file.
const LONG: Duration = Duration::from_secs(180);

/// A host that is large in one way.
struct Large {
    collector: &'static str,
    /// More arguments of the agent.
    arguments: &'static str,
    /// Fills the directory; the counters are the same each time.
    make: fn(&Path),
    /// The file with the counters, each of which is `moved` steps on.
    file: &'static str,
    counters: fn(u64) -> String,
    /// The counters and how many series each has.
    metrics: &'static [(&'static str, usize)],
    /// Its series grow by this much in one step, together.
    growth: (&'static str, f64),
    /// A collection is larger than the Collector takes in one request.
    is_split: bool,
}

/// What a gRPC server takes by default.
const REQUEST_MAX_BYTES: u64 = 4 << 20;

const DISKS: usize = 10_000;
const INTERFACES: usize = 5_000;
const CPUS: usize = 512;

fn make_disks(root: &Path) {
    fs::create_dir_all(root.join("sys/block")).unwrap();
    for disk in 0..DISKS {
        let device = format!("devices/pci0000:00/host0/block/sd{disk}");
        fs::create_dir_all(root.join("sys").join(&device)).unwrap();
        fs::write(root.join("sys").join(&device).join("size"), "2048\n").unwrap();
        std::os::unix::fs::symlink(format!("../{device}"), root.join(format!("sys/block/sd{disk}"))).unwrap();
    }
}

fn diskstats(moved: u64) -> String {
    lines(DISKS, |text, disk| {
        let done = 1_000 + moved;
        writeln!(text, "8 {disk} sd{disk} {done} 2 {done} 4 {done} 6 {done} 8 0 {done} 11").unwrap();
    })
}

fn interfaces(moved: u64) -> String {
    let heads = "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo \
                 frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";
    heads.to_owned()
        + &lines(INTERFACES, |text, n| {
            let done = 1_000 + moved;
            writeln!(text, "  eth{n}: {done} {done} 1 2 0 0 0 0 {done} {done} 3 4 0 0 0 0").unwrap();
        })
}

fn stat(moved: u64) -> String {
    let cpus = lines(CPUS, |text, cpu| {
        let user = 100_000 + moved * 10;
        writeln!(text, "cpu{cpu} {user} 0 50 {user} 0 0 0 0 0 0").unwrap();
    });
    let all = CPUS as u64 * (100_000 + moved * 10);
    format!("cpu  {all} 0 {} {all} 0 0 0 0 0 0\n{cpus}intr 1\nctxt 1\nprocesses 1\n", CPUS * 50)
}

fn lines(count: usize, line: impl Fn(&mut String, usize)) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        line(&mut text, n);
        text
    })
}

/// Runs an agent on the host in both temporalities, moves the counters once, and looks at all that arrived.
fn arrives_whole(host: &Large) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let path = root.join(host.file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    (host.make)(root);
    for (temporality, delta) in [("cumulative", false), ("delta", true)] {
        fs::write(&path, (host.counters)(0)).unwrap();
        let collector = Collector::start();
        let arguments = format!(
            "--root-path {} --collectors {} --temporality {temporality} --interval 20s --max-series 20000 --self-metrics off {}",
            root.display(),
            host.collector,
            host.arguments
        );
        let bytes = Agent::encoded_bytes(&arguments);
        assert_eq!(bytes > REQUEST_MAX_BYTES, host.is_split, "{}: {bytes} bytes", host.collector);
        let agent = Agent::start(&collector.url(), &arguments);
        let mut output = collector.metrics();
        let (grown, steps) = (host.growth.0, 7);
        output.wait_cycles(grown, 1, LONG);
        let moved = path.with_extension("new");
        fs::write(&moved, (host.counters)(steps)).unwrap();
        fs::rename(&moved, &path).unwrap();
        let expected: usize = host.metrics.iter().map(|(_, series)| series).sum();
        let seen = cycles(output.look(), grown).len();
        output.wait("the next cycle", LONG, |points| {
            let of_host =
                points.iter().filter(|point| host.metrics.iter().any(|(metric, _)| *point.metric == **metric));
            of_host.count() >= (seen + 1) * expected
        });
        // The next cycle is some seconds away: what arrived is whole.
        let log = agent.log();
        agent.kill();
        assert!(!log.contains("ERROR") && !log.contains("cannot deliver"), "{log}");

        let points = collector.harvest();
        for (metric, series) in host.metrics {
            let mut times: BTreeMap<u64, Vec<String>> = BTreeMap::new();
            for point in points.iter().filter(|point| *point.metric == **metric) {
                assert!(matches!(point.kind, Kind::Sum { delta: found, .. } if found == delta), "{point:?}");
                times.entry(point.time).or_default().push(point.series());
            }
            assert!(times.len() > seen, "{metric}: {} cycles", times.len());
            for (time, found) in times {
                assert_eq!(found.len(), *series, "{metric} at {time}, {temporality}");
                assert_eq!(found.into_iter().collect::<BTreeSet<_>>().len(), *series, "{metric}: each once");
            }
        }
        let of_growth = points.iter().filter(|point| *point.metric == *grown);
        let values = of_growth.map(|point| (point.time, Value::float(point.value)));
        let total: f64 = match delta {
            true => values.map(|(_, value)| value).sum(),
            false => {
                let values: Vec<_> = values.collect();
                let last = values.iter().map(|(time, _)| *time).max().unwrap();
                values.iter().filter(|(time, _)| *time == last).map(|(_, value)| value).sum()
            }
        };
        let expected = host.growth.1 * 7.0;
        assert!((total - expected).abs() < 1e-6 * expected, "{grown}, {temporality}: {total} of {expected}");
        eprintln!("{} {temporality}: {} points in {} cycles", host.collector, points.len(), seen + 1);
    }
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn ten_thousand_disks_arrive_whole_and_once() {
    arrives_whole(&Large {
        collector: "disk",
        arguments: "",
        make: make_disks,
        file: "proc/diskstats",
        counters: diskstats,
        metrics: &[
            ("system.disk.io", 2 * DISKS),
            ("system.disk.operations", 2 * DISKS),
            ("system.disk.operation_time", 2 * DISKS),
            ("system.disk.merged", 2 * DISKS),
            ("system.disk.io_time", DISKS),
        ],
        growth: ("system.disk.operations", 2.0 * DISKS as f64),
        is_split: true,
    });
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn five_thousand_interfaces_arrive_whole_and_once() {
    arrives_whole(&Large {
        collector: "network",
        arguments: "",
        make: |_| {},
        file: "proc/1/net/dev",
        counters: interfaces,
        metrics: &[
            ("system.network.io", 2 * INTERFACES),
            ("system.network.packet.count", 2 * INTERFACES),
            ("system.network.packet.dropped", 2 * INTERFACES),
            ("system.network.errors", 2 * INTERFACES),
        ],
        growth: ("system.network.io", 2.0 * INTERFACES as f64),
        is_split: true,
    });
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn each_of_512_cpus_arrives_whole_and_once() {
    arrives_whole(&Large {
        collector: "cpu",
        arguments: "--per-cpu",
        make: |root| {
            let cpu = root.join("sys/devices/system/cpu");
            fs::create_dir_all(&cpu).unwrap();
            fs::write(cpu.join("possible"), "0-511\n").unwrap();
        },
        file: "proc/stat",
        counters: stat,
        metrics: &[("system.cpu.time", 7 * CPUS)],
        // Ten ticks of user and ten of idle time, of 10 ms each.
        growth: ("system.cpu.time", 0.2 * CPUS as f64),
        is_split: false,
    });
}
