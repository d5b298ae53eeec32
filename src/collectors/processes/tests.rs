use std::os::unix::fs::MetadataExt;
use std::path::Path;

use proptest::prelude::*;

use super::super::testing::{Bench, context, fixture};
use super::super::{Naming, Options};
use super::*;
use crate::metrics::counter::Since;

fn semconv(counts: [u64; 6]) -> Vec<String> {
    let states = ["running", "sleeping", "blocked", "idle", "stopped", "defunct"];
    states.iter().zip(counts).map(|(state, n)| format!("system.process.count{{process.state={state}}} {n}")).collect()
}

/// Creates a host with these processes, `(pid, content of its stat)`.
fn host(processes: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("proc")).unwrap();
    std::fs::write(dir.path().join("proc/stat"), "cpu 1 2 3 4\nprocesses 70\nprocs_running 9\n").unwrap();
    processes.iter().for_each(|(pid, stat)| add(dir.path(), pid, stat));
    dir
}

fn add(root: &Path, pid: &str, stat: &[u8]) {
    let dir = root.join("proc").join(pid);
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("stat"), stat).unwrap();
}

#[test]
fn processes_are_counted_in_the_state_of_their_main_thread() {
    for (host, counts) in
        [("server", [3, 7, 1, 2, 2, 1]), ("old-kernel", [1, 6, 2, 0, 0, 0]), ("container", [2, 4, 0, 1, 0, 0])]
    {
        let points = Bench::new(DEFINITION, fixture(host, Options::default())).next();
        assert_eq!(points[1..], semconv(counts), "{host}");
    }
}

#[test]
fn hostmetrics_has_its_own_states_and_processes_are_not_mixed_with_threads() {
    let options = Options { naming: Naming::Hostmetrics, since: Since::Boot, ..Options::default() };
    assert_eq!(
        Bench::new(DEFINITION, fixture("server", options)).next(),
        [
            "system.processes.created 7413052",
            "system.processes.count{status=running} 3",
            "system.processes.count{status=sleeping} 7",
            "system.processes.count{status=blocked} 1",
            "system.processes.count{status=idle} 2",
            "system.processes.count{status=stopped} 2",
            "system.processes.count{status=zombies} 1",
        ]
    );
}

#[test]
fn a_state_that_has_no_name_is_unknown_and_no_process_is_lost() {
    let options = Options { since: Since::Boot, ..Options::default() };
    let points = Bench::new(DEFINITION, fixture("hostile", options)).next();
    let mut expected = vec!["system.process.created 4242".to_owned()];
    expected.extend(semconv([1, 2, 2, 1, 2, 1]));
    // Pids 4002 4003 4008 4009 4010 4011 4014 4016.
    expected.push("system.process.count{process.state=unknown} 8".to_owned());
    assert_eq!(points, expected);
}

#[test]
fn unknown_stays_from_its_first_sight_on() {
    let dir = host(&[("1", b"1 (init) S 0"), ("7", b"7 (parked) P 2")]);
    let mut processes = Bench::new(DEFINITION, context(dir.path(), Options::default()));
    assert!(processes.next().contains(&"system.process.count{process.state=unknown} 1".to_owned()));
    std::fs::remove_dir_all(dir.path().join("proc/7")).unwrap();
    assert!(processes.next().contains(&"system.process.count{process.state=unknown} 0".to_owned()));
}

#[test]
fn a_name_may_hold_anything_that_looks_like_the_fields_after_it() {
    for (stat, letter) in [
        (&b"5 (a) b) S 1 5 5"[..], 1),
        (b"5 () Z (x) Z 1", 5),
        (b"5 (a\nb) Z 1) R 1", 0),
        (b"5 (\xff\xfe) D", 2),
        (b"5 () t 1", 4),
        (b"5 (x) I\n", 3),
        (b"5 (x)S 1", UNKNOWN_AT),
        (b"5 (x) SS 1", UNKNOWN_AT),
        (b"5 (x)", UNKNOWN_AT),
        (b"5 (x", UNKNOWN_AT),
        (b"5 S 1", UNKNOWN_AT),
        (b"", UNKNOWN_AT),
    ] {
        assert_eq!(walk::state(stat), letter, "{:?}", String::from_utf8_lossy(stat));
    }
}

#[test]
fn only_pids_are_processes_and_one_that_is_gone_is_none() {
    let dir =
        host(&[("1", b"1 (init) S 0"), ("02", b"2 (x) S 0"), ("3x", b"3 (x) S 0"), ("99999999999", b"9 (x) S 0")]);
    std::fs::create_dir(dir.path().join("proc/4")).unwrap();
    assert_eq!(
        Bench::new(DEFINITION, context(dir.path(), Options::default())).next()[1..],
        semconv([0, 1, 0, 0, 0, 0])
    );
}

#[test]
fn created_counts_from_the_agents_start() {
    let dir = host(&[("1", b"1 (init) S 0")]);
    let mut processes = Bench::new(DEFINITION, context(dir.path(), Options::default()));
    std::fs::write(dir.path().join("proc/stat"), "cpu 1 2 3 4\nprocesses 75\n").unwrap();
    assert_eq!(processes.next()[0], "system.process.created 5");
    std::fs::write(dir.path().join("proc/stat"), "cpu 1 2 3 4\n").unwrap();
    assert_eq!(processes.next()[0], "system.process.created 5", "it holds where the line is missing");
}

#[test]
fn the_fork_count_is_the_line_of_that_name_only() {
    assert_eq!(created(b"processes 5\nprocesses x\nprocessesx 9\nprocs_running 1\n"), Some(5));
    assert_eq!(created(b"processes5\nprocesses\n"), None);
    assert_eq!(created(b""), None);
}

#[test]
fn a_proc_that_shows_no_first_process_is_a_failure_and_hidepid_is_not_blamed() {
    let dir = host(&[("500", b"500 (own) S 1")]);
    let mut processes = Bench::new(DEFINITION, context(dir.path(), Options::default()));
    assert_eq!(processes.next(), ["system.process.created 0"]);
    assert_eq!(processes.reader.failures(), 2, "of two readings");
    add(dir.path(), "1", b"1 (init) S 0");
    assert_eq!(processes.next()[1..], semconv([0, 2, 0, 0, 0, 0]), "and it is counted once it is shown");
}

#[test]
fn hidepid_gives_no_count_unless_the_agent_may_see_all() {
    let dir = host(&[("1", b"1 (init) S 0")]);
    let own = dir.path().join("proc/self");
    std::fs::create_dir(&own).unwrap();
    let device = std::fs::metadata(dir.path().join("proc")).unwrap().dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let mounts = format!("22 28 {major}:{minor} / /proc rw - proc proc rw,hidepid=invisible\n");
    std::fs::write(own.join("mountinfo"), mounts).unwrap();
    std::fs::write(own.join("status"), "CapEff:\t0000000000000000\n").unwrap();
    let points = || Bench::new(DEFINITION, context(dir.path(), Options::default())).next();
    assert_eq!(points(), ["system.process.created 0"]);
    std::fs::write(own.join("status"), "CapEff:\t0000000000080000\n").unwrap();
    assert_eq!(points().len(), 7);
}

#[test]
fn a_proc_that_cannot_be_listed_is_a_failure_of_the_count_and_of_stat() {
    let dir = host(&[]);
    std::fs::remove_dir_all(dir.path().join("proc")).unwrap();
    let mut processes = Bench::new(DEFINITION, context(dir.path(), Options::default()));
    let before = processes.reader.failures();
    assert!(processes.next().is_empty());
    assert_eq!(processes.reader.failures() - before, 2);
}

/// A CPU clock that advances by `MILLIS` at each call, so that a count takes that long.
fn slow<const MILLIS: u64>() -> std::time::Duration {
    thread_local!(static LOOKS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });
    LOOKS.set(LOOKS.get() + 1);
    std::time::Duration::from_millis(MILLIS * LOOKS.get())
}

#[test]
fn a_count_that_takes_long_is_not_made_at_every_collection() {
    let dir = host(&[("1", b"1 (init) S 0")]);
    let context = context(dir.path(), Options::default());
    let counted = |cpu_time: fn() -> std::time::Duration| {
        let mut reader = crate::host::Reader::new(&context.host);
        let mut processes = Processes { cpu_time, ..Processes::new(&context) };
        let mut counted = String::new();
        for _ in 0..9 {
            processes.read(&mut reader);
            reader.next_cycle();
            assert!(processes.created.get(0).is_some(), "it is read at every collection");
            counted.push(if processes.counts.is_some() { '#' } else { '.' });
        }
        counted
    };
    assert_eq!(counted(slow::<40>), "#########");
    assert_eq!(counted(slow::<41>), "##.#.#.#.");
    assert_eq!(counted(slow::<100>), "##..#..#.", "the baselines' reading does not count");
}

/// Prints the cost of counting 10,000 processes: `cargo test --release -- --ignored ten_thousand --nocapture`. Uses
/// ordinary files, unless HEKA_MEASURE_ROOT names a root with a real `/proc`.
#[test]
#[ignore = "a measurement"]
fn ten_thousand_processes() {
    let root = std::env::var_os("HEKA_MEASURE_ROOT").map(std::path::PathBuf::from);
    let dir = host(&[("1", b"1 (init) S 0")]);
    let root = root.as_deref().unwrap_or_else(|| {
        let stat = std::fs::read("/proc/self/stat").unwrap();
        (2..=10_000).for_each(|pid| add(dir.path(), &pid.to_string(), &stat));
        dir.path()
    });
    let mut times = Vec::new();
    let mut sum = 0;
    for _ in 0..21 {
        let begun = thread_cpu_time();
        sum = Walk::new().count(&root.join("proc")).unwrap().iter().sum::<u64>();
        times.push(thread_cpu_time() - begun);
    }
    times.sort();
    println!("{sum} processes, CPU time: median {:?}, best {:?}, worst {:?}", times[10], times[0], times[20]);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
        prop_assert!(walk::state(&bytes) < STATES);
        created(&bytes);
    }

    #[test]
    fn the_state_is_found_behind_any_name(name in proptest::collection::vec(any::<u8>(), 0..64), letter in "[RSDITtZ]") {
        let mut stat = b"77 (".to_vec();
        stat.extend(&name);
        stat.extend(format!(") {letter} 1 77 77 0 -1 4194560").as_bytes());
        prop_assert_ne!(walk::state(&stat), UNKNOWN_AT);
    }
}

#[test]
fn a_count_of_forks_that_is_zero_once_adds_nothing() {
    let host = host(&[]);
    let write = |forks: u64| {
        std::fs::write(host.path().join("proc/stat"), format!("cpu 1 2 3 4\nprocesses {forks}\n")).unwrap()
    };
    write(0);
    let mut bench = Bench::new(DEFINITION, context(host.path(), Options::default()));
    let mut after = |forks| {
        write(forks);
        bench.next().swap_remove(0)
    };
    for (forks, total) in [(4_000_000, 0), (4_000_010, 10), (0, 10), (4_000_030, 30)] {
        assert_eq!(after(forks), format!("system.process.created {total}"));
    }
}
