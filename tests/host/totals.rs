//! Rules of truth 1 and 2: a counter counts the events since its start and never decreases.

use heka_insights_agent::internals::collectors::Options;
use heka_insights_agent::internals::metrics::counter::Since;
use heka_insights_agent::internals::metrics::naming::Naming;

use crate::collect::{Number, Pipeline};
use crate::fixture::FixtureHost;

/// A line of `/proc/stat`: user, idle and iowait, nothing else.
fn cpu(name: &str, user: u64, idle: u64, iowait: u64) -> String {
    format!("{name} {user} 0 0 {idle} {iowait} 0 0 0 0 0\n")
}

fn host_with_stat(stat: &str) -> FixtureHost {
    let host = FixtureHost::empty();
    host.write("proc/stat", stat);
    host
}

fn delta() -> Options {
    Options { delta: true, ..Options::default() }
}

#[test]
fn every_counter_starts_at_zero() {
    let host = FixtureHost::copy("server");
    let collected = Pipeline::new(&host.context(Options::default())).collect();
    let counters: Vec<_> = collected.0.iter().filter(|point| point.kind == "counter").collect();
    assert!(counters.len() > 50);
    for point in counters {
        assert_eq!(point.value.f64(), 0.0, "{point:?}");
    }
}

#[test]
fn a_counter_is_its_reading_less_the_baseline() {
    let host = FixtureHost::copy("server");
    let mut pipeline = Pipeline::new(&host.context(Options::default()));
    host.edit("proc/vmstat", "pgmajfault 123456", "pgmajfault 123466");
    host.edit("proc/diskstats", "sda 500005 6006 40000040 7000007", "sda 500105 6007 40000340 7000257");
    let collected = pipeline.collect();
    assert_eq!(collected.value("system.paging.faults", &["major"]), 10.0);
    assert_eq!(collected.value("system.disk.operations", &["sda", "read"]), 100.0);
    assert_eq!(collected.value("system.disk.merged", &["sda", "read"]), 1.0);
    assert_eq!(collected.value("system.disk.io", &["sda", "read"]), 300.0 * 512.0);
    assert_eq!(collected.value("system.disk.operation_time", &["sda", "read"]), 0.25);
    assert_eq!(collected.value("system.disk.io", &["nvme0n1", "read"]), 0.0);
}

#[test]
fn since_boot_exports_the_kernels_own_totals() {
    let host = FixtureHost::copy("server");
    let collected = Pipeline::new(&host.context(Options { since: Since::Boot, ..Options::default() })).collect();
    assert_eq!(collected.value("system.paging.faults", &["major"]), 123_456.0);
    assert_eq!(collected.value("system.disk.operations", &["sda", "read"]), 500_005.0);
    assert_eq!(collected.value("system.cpu.time", &["steal"]), 66.24);
}

#[test]
fn iowait_that_steps_back_holds() {
    let host = host_with_stat(&cpu("cpu", 100, 1_000, 500));
    let mut pipeline = Pipeline::new(&host.context(Options::default()));
    let mut iowait = |reading| {
        host.write("proc/stat", cpu("cpu", 100, 1_000, reading));
        pipeline.collect().value("system.cpu.time", &["iowait"])
    };
    assert_eq!([600, 590, 599, 600, 650].map(&mut iowait), [1.0, 1.0, 1.0, 1.0, 1.5]);
}

#[test]
fn iowait_that_steps_back_is_no_negative_difference() {
    let host = host_with_stat(&cpu("cpu", 100, 1_000, 500));
    let mut pipeline = Pipeline::new(&host.context(delta()));
    let mut iowait = |reading| {
        host.write("proc/stat", cpu("cpu", 100, 1_000, reading));
        pipeline.collect().value("system.cpu.time", &["iowait"])
    };
    assert_eq!([600, 590, 600, 650].map(&mut iowait), [1.0, 0.0, 0.0, 0.5]);
}

#[test]
fn guest_time_above_user_time_floors_at_zero() {
    let host = host_with_stat("cpu 50 10 0 0 0 0 0 0 900 77\n");
    let mut pipeline = Pipeline::new(&host.context(Options { since: Since::Boot, ..Options::default() }));
    let collected = pipeline.collect();
    assert_eq!(collected.value("system.cpu.time", &["user"]), 0.0);
    assert_eq!(collected.value("system.cpu.time", &["nice"]), 0.0);
    host.write("proc/stat", "cpu 1000 110 0 0 0 0 0 0 900 77\n");
    let collected = pipeline.collect();
    assert_eq!(collected.value("system.cpu.time", &["user"]), 1.0);
    assert_eq!(collected.value("system.cpu.time", &["nice"]), 0.33);
}

/// Two CPUs, of which the second goes offline after the first collection and comes back two later.
fn offline_and_back(options: Options) -> [Option<Number>; 5] {
    let both = |user| cpu("cpu", 2 * user, 0, 0) + &cpu("cpu0", user, 0, 0) + &cpu("cpu1", user, 0, 0);
    let host = host_with_stat(&both(1_000));
    let mut pipeline = Pipeline::new(&host.context(Options { per_cpu: true, ..options }));
    let one = |user| cpu("cpu", 2 * user, 0, 0) + &cpu("cpu0", user, 0, 0);
    [both(1_100), one(1_200), one(1_300), both(1_400), both(1_450)].map(|stat| {
        host.write("proc/stat", stat);
        let collected = pipeline.collect();
        assert_eq!(
            collected.value("system.cpu.logical.count", &[]) as usize,
            collected.series("system.cpu.time").len() / 7
        );
        collected.find("system.cpu.time", &["1", "user"])
    })
}

#[test]
fn a_cpu_that_was_offline_goes_on_from_its_total() {
    let seconds = |seconds| Some(Number::Double(seconds));
    assert_eq!(offline_and_back(Options::default()), [seconds(1.0), None, None, seconds(1.0), seconds(1.5)]);
}

#[test]
fn a_cpu_that_was_offline_does_not_send_its_old_total_as_a_difference() {
    let seconds = |seconds| Some(Number::Double(seconds));
    assert_eq!(offline_and_back(delta()), [seconds(1.0), None, None, seconds(0.0), seconds(0.5)]);
}

#[test]
fn a_cpu_that_comes_online_counts_from_its_first_reading() {
    let host = host_with_stat(&(cpu("cpu", 100, 0, 0) + &cpu("cpu0", 100, 0, 0)));
    let mut pipeline = Pipeline::new(&host.context(Options { per_cpu: true, ..Options::default() }));
    pipeline.collect();
    let mut user = |reading| {
        host.write("proc/stat", cpu("cpu", 0, 0, 0) + &cpu("cpu0", 100, 0, 0) + &cpu("cpu9", reading, 0, 0));
        pipeline.collect().value("system.cpu.time", &["9", "user"])
    };
    assert_eq!([50_000, 50_200].map(&mut user), [0.0, 2.0]);
}

#[test]
fn utilization_is_none_at_first_and_then_the_shares_of_the_time_that_passed() {
    let host = host_with_stat(&cpu("cpu", 1_000, 9_000, 0));
    let mut pipeline = Pipeline::new(&host.context(Options::default()));
    host.write("proc/stat", cpu("cpu", 1_100, 9_000, 0));
    assert_eq!(pipeline.collect().series("system.cpu.utilization"), Vec::<&crate::collect::Point>::new());
    host.write("proc/stat", cpu("cpu", 1_125, 9_050, 25));
    let collected = pipeline.collect();
    assert_eq!(collected.value("system.cpu.utilization", &["user"]), 0.25);
    assert_eq!(collected.value("system.cpu.utilization", &["idle"]), 0.5);
    assert_eq!(collected.value("system.cpu.utilization", &["iowait"]), 0.25);
    assert_eq!(collected.sum("system.cpu.utilization"), 1.0);
    assert!(pipeline.collect().series("system.cpu.utilization").is_empty(), "no time has passed");
}

#[test]
fn utilization_of_each_cpu_sums_to_one() {
    let host = FixtureHost::copy("server");
    let mut pipeline = Pipeline::new(&host.context(Options { per_cpu: true, ..Options::default() }));
    assert!(pipeline.collect().series("system.cpu.utilization").is_empty());
    let text = String::from_utf8(host.read("proc/stat")).unwrap();
    host.write("proc/stat", text.replace(" 1000000 20000", " 1000033 20011"));
    let collected = pipeline.collect();
    assert_eq!(collected.values_of("system.cpu.utilization", "cpu.logical_number"), ["0"], "the others had no time");
    assert!((collected.sum("system.cpu.utilization") - 1.0).abs() < 1e-12);
    assert_eq!(collected.value("system.cpu.utilization", &["0", "user"]), 0.75);
}

#[test]
fn without_memavailable_used_is_what_is_not_free_buffers_or_cached() {
    let host = FixtureHost::copy("old-kernel");
    let collected = Pipeline::new(&host.context(Options::default())).collect();
    assert_eq!(collected.value("system.memory.usage", &["used"]), 1_448_184.0 * 1024.0);
    assert!(collected.series("system.memory.linux.available").is_empty());
}

#[test]
fn whole_numbers_are_integers_on_the_wire() {
    for naming in [Naming::Semconv, Naming::Hostmetrics] {
        let host = FixtureHost::copy("server");
        let collected = Pipeline::new(&host.context(Options { naming, ..Options::default() })).collect();
        for point in &collected.0 {
            // The conventions, and the receiver, give times and shares as doubles and everything else as integers.
            let measured = ["s", "1", "Hz", "{thread}", "Cel"].contains(&point.unit.as_str());
            let double = measured && point.kind != "updowncounter";
            assert_eq!(matches!(point.value, Number::Double(_)), double, "{point:?}");
            assert_eq!(matches!(point.value, Number::Unsigned(_)), point.kind == "counter" && !double, "{point:?}");
        }
    }
}
