//! Compares `--naming hostmetrics` with the hostmetrics receiver in the same Collector, by names and values.
//!
//! On recorded hosts nothing changes, so all values must be equal. On the live host, the agent's values must be between
//! the receiver's readings before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use heka_insights_agent::internals::agent::pipeline::SCOPE;
use heka_insights_agent::internals::collectors::COLLECTORS;
use serde_json::{Value, json};

use crate::harness::{Agent, Collector, Kind, Output, Plan, Point, SECOND, SOON, fixture};

const METRIC: &str = "system.memory.usage";

/// The receiver's scrapers and what each leaves out by default.
#[rustfmt::skip] // a table
const SCRAPERS: &[(&str, &[&str])] = &[
    ("cpu", &["system.cpu.utilization", "system.cpu.physical.count", "system.cpu.frequency"]),
    ("memory", &[
        "system.memory.utilization", "system.memory.limit", "system.memory.page_size", "system.linux.memory.available",
        "system.linux.memory.dirty", "system.memory.linux.shared", "system.memory.linux.hugepages.limit",
        "system.memory.linux.hugepages.page_size", "system.memory.linux.hugepages.reserved",
        "system.memory.linux.hugepages.surplus", "system.memory.linux.hugepages.usage",
        "system.memory.linux.hugepages.utilization",
    ]),
    ("paging", &["system.paging.utilization"]),
    ("disk", &[]),
    ("filesystem", &["system.filesystem.utilization"]),
    ("network", &["system.network.conntrack.count", "system.network.conntrack.max"]),
    ("load", &[]),
    ("processes", &[]),
    ("system", &[]),
];

/// How series differ from the receiver's on purpose.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Difference {
    /// Theirs is ours times this.
    Times(f64),
    /// Theirs is ours plus the guest time, which the kernel counts inside.
    Guest,
    /// Theirs is rounded to three decimals.
    Rounded,
    /// Only the agent sends it, as long as nothing ever happened on the device.
    OnlyOursAtZero,
    /// On a host that stands still only the receiver sends it.
    OnlyTheirsAtRest,
    /// The receiver reads it from the machine that it runs on, whatever host it is configured to read.
    NotRecorded,
    /// Without MemAvailable the receiver sends an estimate of its own.
    Estimated,
    /// In a container the receiver sends what the container's network namespace has, the agent the host's.
    OwnNamespace,
    /// Of the mounts of one device the agent sends the one with the shortest path, the receiver those of the whole tree.
    OneMount,
}
use Difference::{
    Estimated, Guest, NotRecorded, OneMount, OnlyOursAtZero, OnlyTheirsAtRest, OwnNamespace, Rounded, Times,
};

/// Every difference there is, by the beginning of the series' name, with its reason.
#[rustfmt::skip] // a table
const ON_PURPOSE: &[(&str, Difference, &str)] = &[
    ("system.paging.faults{", Times(4096.0), "they multiply by 4096 what the kernel counts in faults"),
    ("system.paging.operations{", Times(4096.0), "they multiply by 4096 pages and KiB alike, under the unit {operations}"),
    ("system.paging.usage{", NotRecorded, "their path is /proc/swaps itself"),
    ("system.paging.utilization{", NotRecorded, "their path is /proc/swaps itself"),
    ("system.cpu.time{cpu=", Guest, "their user and nice hold the time of guests; ours holds no time twice"),
    ("system.cpu.time{state=", Guest, "their user and nice hold the time of guests; ours holds no time twice"),
    ("system.cpu.utilization{", OnlyTheirsAtRest, "where no tick passed they send zeros, we have nothing to share out"),
    ("system.cpu.frequency{", NotRecorded, "their path is /proc/cpuinfo itself"),
    ("system.memory.usage{state=used}", Estimated, "before Linux 3.14: ours is total - free - buffers - cached"),
    ("system.memory.utilization{state=used}", Estimated, "before Linux 3.14: the same"),
    ("system.linux.memory.available{", Estimated, "before Linux 3.14: ours is missing"),
    ("system.memory.linux.hugepages.utilization{", Rounded, "they round"),
    ("system.disk.", OnlyOursAtZero, "they leave out a disk until its first I/O; asked for, ours has its zeros"),
    ("system.processes.count{", NotRecorded, "they ask the kernel whether each process is there"),
    ("system.network.", OwnNamespace, "they read net/dev of their own process, we that of the host's first"),
    ("system.filesystem.", OneMount, "a device mounted twice is counted once"),
    ("system.uptime{", NotRecorded, "they ask sysinfo(2), in whole seconds"),
];

fn difference(series: &str) -> Option<Difference> {
    ON_PURPOSE.iter().find(|(prefix, ..)| series.starts_with(prefix)).map(|(_, difference, _)| *difference)
}

/// Guest time of a recorded host, in seconds, of the mode that holds it.
fn guest_seconds(root: &Path, point: &Point) -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let column = match point.attributes["state"].as_str() {
        "user" => 9,
        "nice" => 10,
        _ => return 0.0,
    };
    let line = point.attributes.get("cpu").map_or("cpu", String::as_str);
    let stat = std::fs::read_to_string(root.join("proc/stat")).unwrap();
    let line = stat.lines().find(|text| text.split_whitespace().next() == Some(line)).unwrap();
    line.split_whitespace().nth(column).unwrap().parse::<f64>().unwrap() / TICKS_PER_SECOND
}

/// The receiver, with the scrapers of the collectors that the agent has.
fn receiver(detailed: bool, per_cpu: bool, root: Option<&Path>) -> Value {
    let ours = |name: &str| COLLECTORS.iter().any(|collector| collector.name == name);
    let scrapers = SCRAPERS.iter().filter(|(name, _)| ours(name)).map(|(name, opt_in)| {
        let opt_in = if detailed { *opt_in } else { &[] };
        let mut metrics: BTreeMap<_, _> = opt_in.iter().map(|metric| (*metric, json!({"enabled": true}))).collect();
        if per_cpu && *name == "cpu" {
            metrics.insert("system.cpu.time", json!({"enabled": true, "attributes": ["cpu", "state"]}));
            metrics.insert("system.cpu.utilization", json!({"enabled": detailed, "attributes": ["cpu", "state"]}));
        }
        ((*name).to_owned(), json!({"metrics": metrics}))
    });
    let mut receiver = json!({
        "collection_interval": "1s",
        "initial_delay": "0s",
        "scrapers": scrapers.collect::<serde_json::Map<_, _>>(),
    });
    if let Some(root) = root {
        receiver["root_path"] = json!(root);
    }
    receiver
}

/// A Collector that reads the host at `root` itself.
fn collector(detailed: bool, per_cpu: bool, root: Option<&Path>) -> Collector {
    let places = [("HOST_PROC", "proc"), ("HOST_SYS", "sys"), ("HOST_ETC", "etc")];
    // Some of its readers know only the environment.
    let environment = root.map(|root| places.map(|(name, place)| (name, root.join(place))).to_vec());
    Collector::with(Plan {
        host_metrics: Some(receiver(detailed, per_cpu, root)),
        environment: environment.unwrap_or_default(),
        ..Plan::default()
    })
}

/// The agent's arguments for the widest choice: the receiver leaves no disk and no interface out.
const ALL: &str = "--naming hostmetrics --counters-since boot --disk-include . --network-include .";

/// The last point of each series.
fn last(points: &[Point]) -> BTreeMap<String, &Point> {
    points.iter().map(|point| (point.series(), point)).collect()
}

fn ours(output: Output) -> Vec<Point> {
    output.take().into_iter().filter(|point| &*point.scope == SCOPE).collect()
}

/// Unit, kind and number type, in words that an assertion shows.
fn shape(point: &Point) -> String {
    let number = match point.value {
        crate::harness::Value::Int(_) => "int",
        crate::harness::Value::Double(_) => "double",
    };
    format!("{} {:?} {number}", point.unit, point.kind)
}

/// What is different between the two on the recorded host at `root`, and has no reason in the table: a line each.
fn unexplained(root: &Path, ours: &[Point], theirs: &[Point]) -> Vec<String> {
    let (ours, theirs) = (last(ours), last(theirs));
    let file = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let estimated = !file("proc/meminfo").contains("MemAvailable");
    let own_namespace = file("proc/net/dev") != file("proc/1/net/dev");
    // Whether the two read different things on this host.
    let elsewhere = |series: &str| match difference(series) {
        Some(NotRecorded) => true,
        Some(Estimated) => estimated,
        Some(OwnNamespace) => own_namespace,
        _ => false,
    };
    let mut lines = Vec::new();
    for (series, their) in &theirs {
        let their_value = their.value.float();
        let Some(our) = ours.get(series) else {
            if !elsewhere(series) && difference(series) != Some(OnlyTheirsAtRest) {
                lines.push(format!("only theirs: {series} {their_value}"));
            }
            continue;
        };
        let expected = match difference(series) {
            _ if elsewhere(series) => their_value,
            Some(Times(factor)) => our.value.float() * factor,
            Some(Guest) => our.value.float() + guest_seconds(root, our),
            Some(Rounded) => (our.value.float() * 1000.0).round() / 1000.0,
            _ => our.value.float(),
        };
        // They add the CPUs up as floating-point numbers, and round shares to some ten digits.
        if shape(our) != shape(their) || (expected - their_value).abs() > 1e-9 * their_value.abs().max(1.0) {
            lines.push(format!("{series}: {expected} {} expected, theirs {their_value} {}", shape(our), shape(their)));
        }
    }
    for (series, our) in ours.iter().filter(|(series, _)| !theirs.contains_key(*series)) {
        let at_zero = our.value.float() == 0.0 && difference(series) == Some(OnlyOursAtZero);
        if !at_zero && !elsewhere(series) {
            lines.push(format!("only ours: {series} {}", our.value.float()));
        }
    }
    lines
}

fn equal_on(host: &str, per_cpu: bool) {
    let root = &fixture(host);
    let collector = collector(true, per_cpu, Some(root));
    let per_cpu = if per_cpu { "--per-cpu" } else { "" };
    let arguments = format!("{ALL} --detail detailed {per_cpu} --root-path {}", root.display());
    let agent = Agent::start(&collector.url(), &arguments);
    collector.metrics().wait_cycles(METRIC, 3, SOON);
    collector.reference().wait_cycles(METRIC, 3, SOON);
    agent.stop();
    let lines = unexplained(root, &ours(collector.metrics()), &collector.reference().take());
    assert!(lines.is_empty(), "on {host}:\n{}", lines.join("\n"));
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn on_recorded_hosts_every_value_is_that_of_host_metrics() {
    for (host, per_cpu) in [("server", false), ("server", true), ("old-kernel", false), ("container", true)] {
        equal_on(host, per_cpu);
    }
}

/// Each metric's unit, kind, number type and attribute keys.
fn shapes(points: &[Point]) -> BTreeSet<String> {
    let of = |point: &Point| {
        let keys: Vec<_> = point.attributes.keys().map(String::as_str).collect();
        format!("{} {} {}", point.metric, shape(point), keys.join(","))
    };
    points.iter().map(of).collect()
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn by_default_the_metrics_are_those_of_host_metrics() {
    let collector = collector(false, false, None);
    // Every mount, so that there is a file system on each machine: what metrics it has is compared, not which ones it is.
    let agent = Agent::start(&collector.url(), "--naming hostmetrics --filesystem-include .");
    collector.metrics().wait_cycles(METRIC, 3, SOON);
    collector.reference().wait_cycles(METRIC, 3, SOON);
    agent.stop();
    let (ours, theirs) = (shapes(&ours(collector.metrics())), shapes(&collector.reference().take()));
    let apart: Vec<_> = ours.symmetric_difference(&theirs).collect();
    assert!(apart.is_empty(), "only one of the two sends {apart:#?}");
}

/// How far a value that goes up and down may be from the receiver's readings around it.
fn slack(our: &Point, memory: f64) -> f64 {
    match &*our.metric {
        "system.memory.usage" | "system.linux.memory.available" | "system.linux.memory.dirty" => memory / 50.0,
        "system.memory.linux.shared" => memory / 50.0,
        "system.memory.utilization" => 1.0 / 50.0,
        "system.filesystem.usage" => 256e6,
        "system.filesystem.inodes.usage" => 1e6,
        "system.filesystem.utilization" => 0.1,
        "system.disk.pending_operations" => 1_000.0,
        "system.processes.count" | "system.network.connections" => (our.value.float() / 10.0).max(20.0),
        "system.network.conntrack.count" => 20.0,
        "system.uptime" => 1.1,
        // The frequency at one moment does not predict the next.
        "system.cpu.frequency" => f64::MAX,
        _ => 0.0,
    }
}

/// The sum over the series of a metric at each time, as points of one series.
fn sums(points: &[Point], metric: &str) -> Vec<Point> {
    let mut sums: BTreeMap<u64, Point> = BTreeMap::new();
    for point in points.iter().filter(|point| &*point.metric == metric) {
        let sum = sums.entry(point.time).or_insert_with(|| Point {
            attributes: BTreeMap::new(),
            value: crate::harness::Value::Double(0.0),
            ..point.clone()
        });
        sum.value = crate::harness::Value::Double(sum.value.float() + point.value.float());
    }
    sums.into_values().collect()
}

/// The mount point that a series is of.
fn mount(point: &Point) -> Option<&str> {
    point.attributes.get("mountpoint").map(String::as_str)
}

/// A point of ours against the receiver's readings before and after it.
fn enclosed(our: &Point, theirs: &[&Point], memory: f64) -> Result<(), String> {
    // The receiver stamps before it reads, the agent after: with this much between them the order is sure.
    const READING: u64 = SECOND / 4;
    let before: Vec<_> = theirs.iter().filter(|their| their.time + READING <= our.time).collect();
    let after: Vec<_> = theirs.iter().filter(|their| their.time >= our.time).collect();
    let (Some(before), Some(after)) = (before.last(), after.first()) else { return Ok(()) };
    let (before, after) = (before.value.float(), after.value.float());
    let factor = match difference(&our.series()) {
        Some(Times(factor)) => factor,
        _ => 1.0,
    };
    let value = our.value.float() * factor;
    let slack = match our.kind {
        // They add up the CPUs, each in whole ticks; the kernel's own sum is rounded once. Idle time may step back.
        Kind::Sum { monotonic: true, .. } if &*our.metric == "system.cpu.time" => 0.05,
        Kind::Sum { monotonic: true, .. } => 0.0,
        _ => slack(our, memory),
    };
    if before.min(after) - slack <= value && value <= before.max(after) + slack {
        return Ok(());
    }
    Err(format!("{} is {value}, not between {before} and {after}", our.series()))
}

/// Whether what it counts goes from one state to another at any time, and a state that nothing is in has no series: only
/// the sum over the states is compared.
fn transient(metric: &str) -> bool {
    matches!(metric, "system.processes.count" | "system.network.connections")
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn on_this_host_every_value_lies_between_those_of_host_metrics() {
    const CYCLES: usize = 8;
    let collector = collector(true, false, None);
    let agent = Agent::start(&collector.url(), &format!("{ALL} --detail detailed"));
    collector.metrics().wait_cycles(METRIC, CYCLES, SOON);
    collector.reference().wait_cycles(METRIC, CYCLES + 1, SOON);
    agent.stop();
    let (ours, theirs) = (ours(collector.metrics()), collector.reference().take());
    let memory = theirs.iter().find(|point| &*point.metric == "system.memory.limit").unwrap().value.float();
    let mut by_series: BTreeMap<String, Vec<&Point>> = BTreeMap::new();
    for their in &theirs {
        by_series.entry(their.series()).or_default().push(their);
    }
    let mounts = |points: &[Point]| points.iter().filter_map(mount).map(str::to_owned).collect::<BTreeSet<_>>();
    let (our_mounts, their_mounts) = (mounts(&ours), mounts(&theirs));
    // A mount that only one of the two sends, not a metric of one that both do.
    let one_mount = |point: &Point| {
        difference(&point.series()) == Some(OneMount)
            && mount(point).is_some_and(|mount| !our_mounts.contains(mount) || !their_mounts.contains(mount))
    };
    let mut faults = Vec::new();
    let mut compared = 0;
    for our in ours.iter().filter(|our| &*our.metric != "system.cpu.utilization") {
        match by_series.get(&our.series()) {
            Some(theirs) => {
                compared += 1;
                assert_eq!(shape(our), shape(theirs[0]), "{}", our.series());
                if !transient(&our.metric) {
                    faults.extend(enclosed(our, theirs, memory).err());
                }
            }
            None if difference(&our.series()) == Some(OnlyOursAtZero) && our.value.float() == 0.0 => {}
            // Nobody was in that state when they looked, or nobody looked.
            None if transient(&our.metric) || one_mount(our) => {}
            None => faults.push(format!("only ours: {}", our.series())),
        }
    }
    for series in by_series.keys().filter(|series| !ours.iter().any(|our| our.series() == **series)) {
        let point = by_series[series][0];
        if !transient(&point.metric) && !one_mount(point) {
            faults.push(format!("only theirs: {series}"));
        }
    }
    for metric in ["system.processes.count", "system.network.connections"] {
        let (ours, theirs) = (sums(&ours, metric), sums(&theirs, metric));
        assert!(ours.len() >= CYCLES, "{metric}");
        let theirs: Vec<_> = theirs.iter().collect();
        faults.extend(ours.iter().filter_map(|our| enclosed(our, &theirs, memory).err()));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(compared > 50 * CYCLES, "only {compared} values compared");

    // Utilisation is of a time between two readings, which were not the same. Over the whole time it has to agree, but
    // for what passed at the two ends.
    for (series, theirs) in by_series.iter().filter(|(series, _)| series.starts_with("system.cpu.utilization")) {
        let ours: Vec<_> = ours.iter().filter(|our| our.series() == *series).collect();
        let mean =
            |points: &[&Point]| points.iter().map(|point| point.value.float()).sum::<f64>() / points.len() as f64;
        let apart = (mean(&ours) - mean(theirs)).abs();
        assert!(apart <= 2.0 / ours.len() as f64, "{series} is {apart} apart");
    }
}

/// The totals of `/proc/pressure` now, in seconds, by the values of the two attributes.
fn pressure() -> BTreeMap<(String, String), f64> {
    const MICROSECONDS: f64 = 1e-6;
    let mut totals = BTreeMap::new();
    for file in std::fs::read_dir("/proc/pressure").expect("this kernel has no /proc/pressure").map(Result::unwrap) {
        let resource = file.file_name().into_string().unwrap();
        // Switched off at boot, a file that is there refuses to be read.
        let text = std::fs::read_to_string(file.path()).expect("this kernel does not measure pressure (psi=1)");
        for line in text.lines() {
            let kind = line.split(' ').next().unwrap().to_owned();
            let total = line.rsplit_once("total=").unwrap().1.parse::<f64>().unwrap() * MICROSECONDS;
            totals.insert((resource.clone(), kind), total);
        }
    }
    totals
}

/// The receiver has no pressure, so the kernel's files themselves are read before and after.
#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn on_this_host_pressure_lies_between_two_readings_of_the_kernels() {
    const PRESSURE: &str = "system.pressure.time";
    let collector = Collector::start();
    let before = pressure();
    let agent = Agent::start(&collector.url(), "--collectors pressure --counters-since boot");
    collector.metrics().wait_cycles(PRESSURE, 3, SOON);
    agent.stop();
    let after = pressure();
    let ours: Vec<_> = ours(collector.metrics()).into_iter().filter(|point| &*point.metric == PRESSURE).collect();
    let place = |point: &Point| {
        let of = |key: &str| point.attributes[key].clone();
        (of("system.pressure.resource"), of("system.pressure.type"))
    };
    for our in &ours {
        // Doubles of whole microseconds.
        let (low, high) = (before[&place(our)] - 1e-6, after[&place(our)] + 1e-6);
        assert!((low..=high).contains(&our.value.float()), "{} is {:?}, not in {low}..{high}", our.series(), our.value);
    }
    let seen: BTreeSet<_> = ours.iter().map(place).collect();
    assert_eq!(seen, before.into_keys().collect(), "every line of every file");
}
