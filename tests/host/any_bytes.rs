//! With arbitrary file contents, no collector may panic or stop another one. With arbitrary readings, no total may
//! decrease.

use std::collections::BTreeMap;
use std::path::Path;

use heka_insights_agent::internals::collectors::{DiskScope, Options};
use heka_insights_agent::internals::metrics::naming::Detail;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;

use crate::collect::{Collected, Pipeline};
use crate::fixture::{FixtureHost, HOSTS, place};
use crate::log;

/// Files of `/proc` that a collector reads, and a metric of a collector that does not read it. Those of `/sys` are all
/// that a host has.
const FILES: &[(&str, &str)] = &[
    ("proc/stat", "system.memory.limit"),
    ("proc/cpuinfo", "system.memory.limit"),
    ("proc/meminfo", "system.cpu.time"),
    ("proc/swaps", "system.cpu.time"),
    ("proc/vmstat", "system.cpu.time"),
    ("proc/diskstats", "system.cpu.time"),
    ("proc/1/net/dev", "system.cpu.time"),
    ("proc/1/mountinfo", "system.cpu.time"),
    ("proc/1/stat", "system.cpu.time"),
    ("proc/2400/stat", "system.cpu.time"),
    ("proc/loadavg", "system.cpu.time"),
    ("proc/uptime", "system.cpu.time"),
    ("proc/pressure/cpu", "system.cpu.time"),
    ("proc/pressure/memory", "system.cpu.time"),
    ("proc/pressure/io", "system.cpu.time"),
    ("proc/schedstat", "system.cpu.time"),
    ("proc/sys/fs/file-nr", "system.cpu.time"),
    ("proc/sys/kernel/pid_max", "system.cpu.time"),
    ("proc/1/net/snmp", "system.cpu.time"),
    ("proc/1/net/netstat", "system.cpu.time"),
    ("proc/1/net/snmp6", "system.cpu.time"),
    ("proc/1/net/sockstat", "system.cpu.time"),
    ("proc/1/net/sockstat6", "system.cpu.time"),
    ("proc/1/net/softnet_stat", "system.cpu.time"),
    ("proc/sys/net/netfilter/nf_conntrack_count", "system.cpu.time"),
    (TEXTFILE, "system.cpu.time"),
];

/// Written into each host.
const TEXTFILE: &str = "proc/textfiles/a.prom";
const METRICS: &str =
    "# HELP runs_total Runs\n# TYPE runs_total counter\nruns_total{job=\"a\",of=\"b\"} 40\nlast 1.5\n";

/// A host, a file that it has, and a metric that stays without the file.
type Case = (&'static str, String, &'static str);

fn in_proc() -> Vec<Case> {
    let all = HOSTS.iter().flat_map(|host| FILES.iter().map(move |(file, other)| (*host, (*file).to_owned(), *other)));
    all.filter(|(host, file, _)| file == TEXTFILE || place(host).join(file).exists()).collect()
}

/// Sensors, links, arrays, memory controllers, control groups and the rest.
fn in_sys() -> Vec<Case> {
    let mut found = Vec::new();
    for host in HOSTS {
        let mut dirs = vec![place(host).join("sys")];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
                match entry.file_type().unwrap() {
                    kind if kind.is_dir() => dirs.push(entry.path()),
                    kind if kind.is_file() => {
                        let path = entry.path();
                        let file = path.strip_prefix(place(host)).unwrap().to_str().unwrap().to_owned();
                        found.push((host, file, "system.cpu.time"));
                    }
                    _ => {}
                }
            }
        }
    }
    found.sort();
    found
}

/// What befalls a file.
#[derive(Clone, Debug)]
enum Damage {
    Replaced(Vec<u8>),
    Cut(Index),
    Flipped(Vec<(Index, u8)>),
    LineTwice(Index),
    LinesSwapped(Index, Index),
    NumberReplaced(Index, String),
}

fn damage() -> impl Strategy<Value = Damage> {
    let number = select(vec!["", "-1", "18446744073709551615", "18446744073709551616", "4294967295", "x", "1.5", "0"]);
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(Damage::Replaced),
        any::<Index>().prop_map(Damage::Cut),
        proptest::collection::vec((any::<Index>(), any::<u8>()), 1..8).prop_map(Damage::Flipped),
        any::<Index>().prop_map(Damage::LineTwice),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Damage::LinesSwapped(a, b)),
        (any::<Index>(), number).prop_map(|(at, number)| Damage::NumberReplaced(at, number.to_owned())),
    ]
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    proptest::collection::vec(damage(), 1..6)
}

impl Damage {
    fn befall(&self, content: &[u8]) -> Vec<u8> {
        let mut bytes = content.to_vec();
        if bytes.is_empty() {
            return bytes;
        }
        let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
        match self {
            Self::Replaced(bytes) => return bytes.clone(),
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Flipped(flips) => {
                for (at, with) in flips {
                    let at = at.index(bytes.len());
                    bytes[at] ^= with;
                }
            }
            Self::LineTwice(at) => {
                let line = at.get(&lines).clone();
                lines.insert(at.index(lines.len()), line);
                bytes = lines.concat();
            }
            Self::LinesSwapped(a, b) => {
                let (a, b) = (a.index(lines.len()), b.index(lines.len()));
                lines.swap(a, b);
                bytes = lines.concat();
            }
            Self::NumberReplaced(at, number) => {
                let mut words: Vec<&[u8]> = content.split(|&b| b == b' ').collect();
                let at = at.index(words.len());
                words[at] = number.as_bytes();
                bytes = words.join(&b' ');
            }
        }
        bytes
    }
}

fn everything(delta: bool) -> Options {
    Options {
        detail: Detail::Detailed,
        per_cpu: true,
        disk_scope: DiskScope::Both,
        top_processes: 3,
        process_command_lines: true,
        delta,
        ..Options::default()
    }
}

/// The log lines about panics that were caught, but for those of the tests that cause them.
fn faults() -> Vec<String> {
    log::lines("internal error in the collector")
        .into_iter()
        .filter(|line| !line.contains("the collector faulty-"))
        .collect()
}

/// No total is below what it ever was, no difference below zero.
fn check_counters(before: &mut BTreeMap<String, f64>, collected: &Collected, delta: bool) -> Result<(), TestCaseError> {
    for point in collected.0.iter().filter(|point| point.kind == "counter") {
        let series = format!("{} {:?}", point.name, point.attributes);
        let least = if delta { 0.0 } else { before.get(&series).copied().unwrap_or(0.0) };
        prop_assert!(point.value.f64() >= least, "{series}: {least} and then {}", point.value);
        before.insert(series, point.value.f64());
    }
    Ok(())
}

/// Collects from the host while the file is damaged.
fn damaged(
    host: &FixtureHost,
    file: &str,
    other: &str,
    damages: &[Damage],
    at_the_start: bool,
    delta: bool,
) -> Result<(), TestCaseError> {
    log::keep();
    host.write(TEXTFILE, METRICS);
    let befall = |damage: &Damage| host.write(file, damage.befall(&host.read(file)));
    if at_the_start {
        befall(&damages[0]);
    }
    let textfile_dir = host.root().join(TEXTFILE).parent().map(Path::to_owned);
    let mut pipeline = Pipeline::new(&host.context(Options { textfile_dir, ..everything(delta) }));
    let mut counters = BTreeMap::new();
    check_counters(&mut counters, &pipeline.collect(), delta)?;
    for damage in damages {
        befall(damage);
        let collected = pipeline.collect();
        check_counters(&mut counters, &collected, delta)?;
        prop_assert!(!collected.series(other).is_empty(), "{other} is gone with {file}");
    }
    prop_assert_eq!(faults(), Vec::<String>::new());
    Ok(())
}

/// Each host is copied once: a copy has a thousand files.
#[test]
fn damaged_files_of_sysfs_never_panic_never_stop_others_and_never_turn_a_counter_back() {
    let hosts = HOSTS.map(|host| (host, FixtureHost::whole(host)));
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() });
    let cases = (select(in_sys()), damages(), any::<bool>(), any::<bool>());
    let result = runner.run(&cases, |((name, file, other), damages, at_the_start, delta)| {
        let (_, host) = hosts.iter().find(|(host, _)| *host == name).unwrap();
        let content = host.read(&file);
        let result = damaged(host, &file, other, &damages, at_the_start, delta);
        host.write(&file, content);
        result
    });
    result.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_never_panic_never_stop_others_and_never_turn_a_counter_back(
        (host, file, other) in select(in_proc()),
        damages in damages(),
        at_the_start: bool,
        delta: bool,
    ) {
        damaged(&FixtureHost::copy(host), &file, other, &damages, at_the_start, delta)?;
    }

    #[test]
    fn any_readings_give_counters_that_never_go_back(
        readings in proptest::collection::vec((proptest::collection::vec(any::<u64>(), 24), 0u8..4), 1..12),
        per_cpu: bool,
        delta: bool,
    ) {
        let host = FixtureHost::empty();
        ["sda", "sdb"].iter().for_each(|disk| host.add_disk(disk));
        let mut pipeline = None;
        let mut counters = BTreeMap::new();
        for (numbers, absent) in readings {
            let words = |from: usize, count: usize, narrow: u64| {
                numbers.iter().cycle().skip(from).take(count).map(|n| (n / narrow).to_string()).collect::<Vec<_>>().join(" ")
            };
            let cpu1 = if absent == 1 { String::new() } else { format!("cpu1 {}\n", words(5, 10, 4)) };
            host.write("proc/stat", format!("cpu {}\ncpu0 {}\n{cpu1}intr 0\n", words(0, 10, 4), words(3, 10, 4)));
            let sdb = if absent == 2 { String::new() } else { format!("8 16 sdb {}\n", words(7, 11, 1 << 33)) };
            host.write("proc/diskstats", format!("8 0 sda {}\n{sdb}", words(11, 11, 1 << 33)));
            host.write("proc/vmstat", format!("pgfault {}\npgmajfault {}\npswpin {}\n", numbers[0], numbers[1], numbers[2]));
            if absent == 3 {
                host.remove("proc/vmstat");
            }
            let options = || Options { per_cpu, delta, ..Options::default() };
            let pipeline = pipeline.get_or_insert_with(|| Pipeline::new(&host.context(options())));
            check_counters(&mut counters, &pipeline.collect(), delta)?;
        }
    }
}
