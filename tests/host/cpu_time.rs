//! Tests of CPU time and shares with unusual `/proc/stat` contents. The collections are ten seconds apart: one CPU can
//! count at most 14.5 s between two of them.

use std::time::Duration;

use heka_insights_agent::internals::collectors::{Context, Options};
use heka_insights_agent::internals::metrics::counter::Since;

use crate::collect::{Collected, Pipeline};
use crate::fixture::FixtureHost;

/// `/proc/stat` with a line `cpu` that nothing may be read from, and these CPUs: number, user, idle and iowait in ticks.
fn stat(cpus: &[(u32, u64, u64, u64)]) -> String {
    let line = |(number, user, idle, iowait): &(u32, u64, u64, u64)| {
        format!("cpu{number} {user} 0 0 {idle} {iowait} 0 0 0 0 0\n")
    };
    "cpu 7 7 7 7 7 7 7 7 7 7\n".to_owned() + &cpus.iter().map(line).collect::<String>() + "intr 1 2 3\n"
}

/// A collection after each of the contents; the first is the baseline.
fn collections(options: Options, contents: &[String]) -> Vec<Collected> {
    let host = FixtureHost::empty();
    collect_each(&host, &host.context(options), contents)
}

/// As [`collections`]; the second collection comes an hour late, since the clock counts a suspend.
fn across_a_suspend(contents: &[String]) -> Vec<Collected> {
    let host = FixtureHost::empty();
    let mut context = host.context(Options::default());
    context.host.calls.clock = |cycle| Duration::from_secs(cycle * 10 + if cycle > 1 { 3_600 } else { 0 });
    collect_each(&host, &context, contents)
}

fn collect_each(host: &FixtureHost, context: &Context, contents: &[String]) -> Vec<Collected> {
    host.write("proc/stat", &contents[0]);
    let mut pipeline = Pipeline::new(context);
    let mut collect = |content: &String| {
        host.write("proc/stat", content);
        pipeline.collect()
    };
    contents[1..].iter().map(&mut collect).collect()
}

fn seconds(collected: &[Collected], series: &[&str]) -> Vec<f64> {
    collected.iter().map(|collected| collected.value("system.cpu.time", series)).collect()
}

/// Every collection has shares that sum to 1, or none. Returns those of a mode.
fn shares(collected: &[Collected], mode: &str) -> Vec<Option<f64>> {
    for one in collected {
        let sum = one.sum("system.cpu.utilization");
        assert!(sum == 0.0 || (sum - 1.0).abs() < 1e-9, "{sum}");
    }
    collected.iter().map(|one| one.find("system.cpu.utilization", &[mode]).map(|share| share.f64())).collect()
}

/// One CPU with this idle and iowait; its user time grows by one second a collection.
fn one_cpu(readings: &[(u64, u64)]) -> Vec<String> {
    let content = |(at, (idle, iowait)): (u64, &(u64, u64))| stat(&[(0, 5_000 + at * 100, *idle, *iowait)]);
    (0..).zip(readings).map(content).collect()
}

fn iowait(readings: &[u64]) -> Vec<Collected> {
    let readings: Vec<_> = readings.iter().map(|iowait| (90_000, *iowait)).collect();
    collections(Options::default(), &one_cpu(&readings))
}

#[test]
fn iowait_that_swings_holds_and_takes_no_share() {
    for readings in [[1_000, 400, 1_000, 400, 1_000, 1_100], [1_000, 400, 400, 400, 1_000, 1_100]] {
        let collected = iowait(&readings);
        assert_eq!(seconds(&collected, &["iowait"]), [0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(seconds(&collected, &["user"]), [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(shares(&collected, "iowait"), [None, Some(0.0), Some(0.0), Some(0.0), Some(0.5)]);
    }
}

#[test]
fn idle_that_steps_back_by_an_hour_after_a_suspend_goes_on() {
    let readings = [6_200_780, 5_851_000, 5_851_900, 5_852_800, 5_853_700, 5_854_600].map(|idle| (idle, 50));
    let collected = collections(Options::default(), &one_cpu(&readings));
    assert_eq!(seconds(&collected, &["idle"]), [0.0, 0.0, 18.0, 27.0, 36.0]);
    assert_eq!(seconds(&collected, &["user"]), [1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(shares(&collected, "idle"), [None, None, None, Some(0.9), Some(0.9)]);
}

#[test]
fn idle_that_steps_back_while_the_clock_counts_the_suspend_is_in_doubt_and_goes_on() {
    let idle = [6_199_880, 6_200_780, 5_851_000, 5_851_900, 5_852_800, 5_853_700];
    let collected = across_a_suspend(&one_cpu(&idle.map(|idle| (idle, 50))));
    assert_eq!(seconds(&collected, &["idle"]), [9.0, 9.0, 9.0, 27.0, 36.0]);
    assert_eq!(seconds(&collected, &["user"]), [1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(shares(&collected, "idle"), [None, None, None, None, Some(0.9)]);
}

#[test]
fn three_of_four_cpus_that_return_with_no_idle_time_add_none() {
    let all = |idle: u64, others: u64| {
        stat(&[(0, 100, idle, 0), (1, 100, others, 0), (2, 100, others, 0), (3, 100, others, 0)])
    };
    let one = |idle: u64| stat(&[(0, 100, idle, 0)]);
    let contents = [
        all(50_000, 50_000),
        all(51_000, 51_000),
        one(52_000),
        one(53_000),
        all(54_000, 0),
        all(55_000, 900),
        all(56_000, 1_900),
    ];
    let collected = collections(Options::default(), &contents);
    assert_eq!(seconds(&collected, &["idle"]), [40.0, 50.0, 60.0, 70.0, 107.0, 147.0]);
    let counts: Vec<f64> = collected.iter().map(|one| one.value("system.cpu.logical.count", &[])).collect();
    assert_eq!(counts, [4.0, 1.0, 1.0, 4.0, 4.0, 4.0]);
    assert_eq!(shares(&collected, "idle")[1..], [Some(1.0); 5]);
}

#[test]
fn a_cpu_that_goes_offline_does_not_make_the_hosts_idle_time_jump() {
    // Kernels before 6.8: the line `cpu` has 26,596 s more as soon as the CPU is gone.
    let content = |whole: u64, cpus: &[(u32, u64, u64, u64)]| {
        stat(cpus).replace("cpu 7 7 7 7 7 7 7 7 7 7", &format!("cpu 0 0 0 {whole} 0 0 0 0 0 0"))
    };
    let contents = [
        content(200_000, &[(0, 1, 100_000, 0), (1, 1, 100_000, 0)]),
        content(202_000, &[(0, 1, 101_000, 0), (1, 1, 101_000, 0)]),
        content(202_000 + 2_659_600, &[(0, 1, 102_000, 0)]),
        content(203_000 + 2_659_600, &[(0, 1, 103_000, 0)]),
    ];
    assert_eq!(seconds(&collections(Options::default(), &contents), &["idle"]), [20.0, 30.0, 40.0]);
}

#[test]
fn all_zeros_once_and_at_the_start_add_nothing() {
    let zeros = (0, 0, 0, 0);
    let at = |n: u64| (0, 5_000 + 100 * n, 4_000_000 + 900 * n, 10);
    let contents = [at(0), at(1), zeros, at(3), at(4)].map(|cpu| stat(&[cpu]));
    let collected = collections(Options::default(), &contents);
    assert_eq!(seconds(&collected, &["idle"]), [9.0, 9.0, 27.0, 36.0]);
    assert_eq!(shares(&collected, "idle"), [None, None, None, Some(0.9)]);
    for first in [stat(&[zeros]), "cpu 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\n".to_owned()] {
        let contents = [first, stat(&[at(1)]), stat(&[at(2)]), stat(&[at(3)])];
        let collected = collections(Options::default(), &contents);
        assert_eq!(seconds(&collected, &["idle"]), [0.0, 9.0, 18.0]);
        assert_eq!(shares(&collected, "idle"), [None, Some(0.9), Some(0.9)]);
    }
}

#[test]
fn a_reading_of_10_to_the_18_is_never_counted_whether_it_lasts_or_not() {
    const HUGE: u64 = 1_000_000_000_000_000_000;
    let once = [90_000, 90_900, HUGE, 92_700, 93_600].map(|idle| (idle, 0));
    let collected = collections(Options::default(), &one_cpu(&once));
    assert_eq!(seconds(&collected, &["idle"]), [9.0, 9.0, 27.0, 36.0]);
    assert_eq!(seconds(&collected, &["user"]), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(shares(&collected, "idle"), [None, None, None, Some(0.9)]);
    let good = [90_000, 90_900, HUGE, HUGE + 900, HUGE + 1_800, HUGE + 2_700, HUGE + 3_600].map(|idle| (idle, 0));
    let collected = collections(Options::default(), &one_cpu(&good));
    assert_eq!(seconds(&collected, &["idle"]), [9.0, 9.0, 9.0, 27.0, 36.0, 45.0]);
    assert_eq!(seconds(&collected, &["user"]), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(shares(&collected, "idle"), [None, None, None, None, Some(0.9), Some(0.9)]);
}

#[test]
fn the_time_of_a_suspend_is_time_that_passed() {
    let contents = [50_000, 51_000, 412_000, 413_000].map(|idle| stat(&[(0, 100, idle, 0)]));
    assert_eq!(seconds(&across_a_suspend(&contents), &["idle"]), [10.0, 3_620.0, 3_630.0]);
}

#[test]
fn a_line_cpu_is_used_only_where_there_are_no_others() {
    let whole = |idle: u64| format!("cpu 10 0 0 {idle} 0 0 0 0\n");
    let contents = [50_000, 60_000, 70_000].map(whole);
    assert_eq!(seconds(&collections(Options::default(), &contents), &["idle"]), [100.0, 200.0], "of many CPUs");
    let huge = [50_000, 1_000_000_000_000_000_000, 70_000].map(whole);
    assert_eq!(seconds(&collections(Options::default(), &huge), &["idle"]), [0.0, 200.0]);
}

#[test]
fn eight_columns_an_empty_line_and_holes_in_the_numbers_are_read() {
    let content = |idle: u64| {
        format!("cpu 0 0 0 0\n\ncpu2 5 0 0 {idle} 0 0 0 0\ncpu7 5 0 0 {idle} 0 0 0 0\n\ncpu41 5 0 0 {idle} 0 0 0 0\n")
    };
    let contents = [50_000, 51_000, 52_000].map(content);
    let collected = collections(Options::default(), &contents);
    assert_eq!(seconds(&collected, &["idle"]), [30.0, 60.0]);
    assert_eq!(collected[0].value("system.cpu.logical.count", &[]), 3.0);
    let collected = collections(Options { per_cpu: true, ..Options::default() }, &contents);
    assert_eq!(seconds(&collected, &["41", "idle"]), [10.0, 20.0]);
}

#[test]
fn a_damaged_line_holds_its_cpu_and_costs_no_other() {
    let good = |n: u64| stat(&[(0, 5 + n, 50_000 + 900 * n, 0), (1, 5 + n, 70_000 + 900 * n, 0)]);
    let damaged = good(2).replace("cpu1 7", "cpu1 x");
    let collected = collections(Options::default(), &[good(0), good(1), damaged, good(3), good(4)]);
    assert_eq!(seconds(&collected, &["idle"]), [18.0, 27.0, 54.0, 72.0]);
    assert_eq!(shares(&collected, "idle").iter().filter(|share| share.is_some()).count(), 1);
}

#[test]
fn a_file_without_one_cpu_holds_the_totals_and_ends_none() {
    let good = |n: u64| stat(&[(0, 5, 50_000 + 900 * n, 0), (1, 5, 70_000 + 900 * n, 0)]);
    for damaged in ["intr 1 2 3\n", "cpu 1 2 3 4\nintr 1\n", "cpu0 x\ncpu1\nintr 1\n"] {
        let contents = [good(0), good(1), damaged.to_owned(), good(3), good(4)];
        let collected = collections(Options { delta: true, ..Options::default() }, &contents);
        assert_eq!(seconds(&collected, &["idle"]), [18.0, 0.0, 36.0, 18.0]);
    }
}

#[test]
fn cpus_of_a_container_that_are_renumbered_add_nothing() {
    // Numbers 0 and 1 stand for other CPUs of the host from the third reading on.
    let pair = |a: u64, b: u64| stat(&[(0, 50, a, 0), (1, 50, b, 0)]);
    let contents = [
        pair(1_000_000, 5_000_000),
        pair(1_000_900, 5_000_900),
        pair(9_000_000, 2_000_000),
        pair(9_000_900, 2_000_900),
        pair(9_001_800, 2_001_800),
        pair(9_002_700, 2_002_700),
    ];
    let collected = collections(Options::default(), &contents);
    assert_eq!(seconds(&collected, &["idle"]), [18.0, 18.0, 18.0, 54.0, 72.0]);
    assert_eq!(shares(&collected, "idle"), [None, None, None, None, Some(1.0)]);
}

#[test]
fn since_boot_the_hosts_time_is_that_of_its_cpus() {
    let contents = [0, 1].map(|n| stat(&[(0, 5_000 + n * 100, 50_000, 0), (1, 7_000, 60_000 + n * 900, 0)]));
    let collected = collections(Options { since: Since::Boot, ..Options::default() }, &contents);
    assert_eq!(seconds(&collected, &["idle"]), [1_109.0]);
    assert_eq!(seconds(&collected, &["user"]), [121.0]);
}
