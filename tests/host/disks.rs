//! Rules of truth 2 and 3 for disks: each I/O is counted once, and totals are kept when disks are removed and added.

use heka_insights_agent::internals::collectors::{DiskScope, Options};
use heka_insights_agent::internals::metrics::counter::Since;
use heka_insights_agent::internals::metrics::filter::Filter;
use regex_lite::Regex;

use crate::collect::{Collected, Number, Pipeline};
use crate::fixture::FixtureHost;

const IO: &str = "system.disk.io";
const OPERATIONS: &str = "system.disk.operations";

/// A line of `/proc/diskstats` whose columns are all `count`.
fn line(name: &str, count: u64) -> String {
    let columns = vec![count.to_string(); 11];
    format!("   8       0 {name} {}\n", columns.join(" "))
}

fn host(disks: &[&str], listing: &str) -> FixtureHost {
    let host = FixtureHost::empty();
    disks.iter().for_each(|disk| host.add_disk(disk));
    host.write("proc/diskstats", listing);
    host
}

fn options() -> Options {
    Options { collectors: Some(vec!["disk".to_owned()]), ..Options::default() }
}

fn boot() -> Options {
    Options { since: Since::Boot, ..options() }
}

fn filter(include: &[&str], exclude: &[&str]) -> Filter {
    let regexes = |patterns: &[&str]| patterns.iter().map(|pattern| Regex::new(pattern).unwrap()).collect();
    Filter { include: regexes(include), exclude: regexes(exclude) }
}

fn devices(collected: &Collected) -> Vec<String> {
    collected.values_of(IO, "system.device")
}

fn reads(collected: &Collected, disk: &str) -> Option<Number> {
    collected.find(OPERATIONS, &[disk, "read"])
}

#[test]
fn only_whole_physical_disks_are_reported() {
    let host = FixtureHost::copy("server");
    let collected = Pipeline::new(&host.context(options())).collect();
    assert_eq!(devices(&collected), ["mmcblk0", "nvme0n1", "nvme1n1", "nvme2n1", "sda", "sr0"]);
}

#[test]
fn an_include_replaces_the_choice_and_an_exclude_takes_away() {
    let host = FixtureHost::copy("server");
    let chosen = |include: &[&str], exclude: &[&str]| {
        devices(&Pipeline::new(&host.context(Options { disks: filter(include, exclude), ..options() })).collect())
    };
    assert_eq!(chosen(&["^dm-", "^md"], &[]), ["dm-0", "dm-1", "md0"]);
    assert_eq!(chosen(&[], &["^nvme", "^sr"]), ["mmcblk0", "sda"]);
    assert_eq!(chosen(&["^dm-", "^sda1?$"], &["-1$"]), ["dm-0", "sda", "sda1"]);
    assert_eq!(chosen(&[".*"], &["."]), Vec::<String>::new());
}

#[test]
fn an_nvme_head_that_the_kernel_fills_is_counted_without_its_paths() {
    let host = FixtureHost::copy("server");
    let mut pipeline = Pipeline::new(&host.context(boot()));
    assert_eq!(pipeline.collect().value(OPERATIONS, &["nvme2n1", "read"]), 2_500_025.0);
    host.edit("proc/diskstats", "nvme2n1 2500025", "nvme2n1 2500125");
    host.edit("proc/diskstats", "nvme2c2n1 2500025", "nvme2c2n1 2500125");
    assert_eq!(pipeline.collect().value(OPERATIONS, &["nvme2n1", "read"]), 2_500_125.0);
}

/// The server as kernels before 6.5 count: the multipath head stays at zero, its two paths carry the numbers.
fn host_with_paths(listing: &str) -> FixtureHost {
    let host = FixtureHost::copy("server");
    host.write("proc/diskstats", listing);
    host
}

fn paths(head: u64, first: u64, second: u64) -> String {
    line("nvme2n1", head) + &line("nvme2c2n1", first) + &line("nvme2c3n1", second)
}

#[test]
fn an_nvme_head_that_the_kernel_leaves_at_zero_is_the_sum_of_its_paths() {
    let host = host_with_paths(&paths(0, 1_000, 500));
    let mut pipeline = Pipeline::new(&host.context(boot()));
    let collected = pipeline.collect();
    assert_eq!(devices(&collected), ["nvme2n1"]);
    assert_eq!(collected.value(OPERATIONS, &["nvme2n1", "read"]), 1_500.0);
    host.write("proc/diskstats", paths(0, 1_001, 510));
    assert_eq!(pipeline.collect().value(OPERATIONS, &["nvme2n1", "read"]), 1_511.0);
}

#[test]
fn an_nvme_path_that_goes_away_does_not_count_the_others_again() {
    let host = host_with_paths(&paths(0, 1_000, 500));
    let mut pipeline = Pipeline::new(&host.context(options()));
    let mut read = |listing: String| {
        host.write("proc/diskstats", listing);
        pipeline.collect().value(OPERATIONS, &["nvme2n1", "read"])
    };
    assert_eq!(read(paths(0, 1_010, 500)), 10.0);
    assert_eq!(read(line("nvme2n1", 0) + &line("nvme2c3n1", 505)), 15.0, "the first path is lost");
    assert_eq!(read(line("nvme2n1", 0)), 15.0, "both are");
    assert_eq!(read(paths(0, 3, 510)), 15.0, "both came back: what happened meanwhile is not known");
    assert_eq!(read(paths(0, 7, 520)), 29.0);
}

#[test]
fn a_disk_that_was_unplugged_goes_on_from_its_total() {
    let both = |sdb: u64| line("sda", 100) + &line("sdb", sdb);
    let host = host(&["sda", "sdb"], &both(1_000));
    let mut pipeline = Pipeline::new(&host.context(options()));
    let read = [both(1_100), line("sda", 100), both(30), both(40)].map(|listing| {
        host.write("proc/diskstats", listing);
        reads(&pipeline.collect(), "sdb")
    });
    assert_eq!(read, [Some(100), None, Some(100), Some(110)].map(|count| count.map(Number::Unsigned)));
}

#[test]
fn the_differences_of_a_disk_that_was_unplugged_add_up_to_what_happened() {
    let both = |sdb: u64| line("sda", 100) + &line("sdb", sdb);
    let host = host(&["sda", "sdb"], &both(1_000));
    let mut pipeline = Pipeline::new(&host.context(Options { delta: true, ..options() }));
    let read =
        [both(1_100), line("sda", 100), both(30), both(40), line("sda", 100), line("sda", 100), both(45), both(48)]
            .map(|listing| {
                host.write("proc/diskstats", listing);
                reads(&pipeline.collect(), "sdb")
            });
    let expected = [Some(100), None, Some(0), Some(10), None, None, Some(0), Some(3)];
    assert_eq!(read, expected.map(|count| count.map(Number::Unsigned)));
}

/// Reads completed and written sectors in bytes of sda, after each listing.
fn sda_after_each(listings: &[String]) -> Vec<(f64, f64)> {
    let host = host(&["sda"], &listings[0]);
    let mut pipeline = Pipeline::new(&host.context(options()));
    let after = |listing: &String| {
        host.write("proc/diskstats", listing);
        let collected = pipeline.collect();
        (collected.value(OPERATIONS, &["sda", "read"]), collected.value(IO, &["sda", "write"]) / 512.0)
    };
    listings[1..].iter().map(after).collect()
}

fn sda(reads: u64, written: u64) -> String {
    format!("8 0 sda {reads} 1 2 3 4 5 {written} 7 0 9 10\n")
}

#[test]
fn a_disk_that_is_plugged_in_again_between_two_collections_adds_no_whole_reading() {
    let listings = [1_000, 1_050, 20, 25, 30, 31].map(|count| line("sda", count));
    let counts: Vec<f64> = sda_after_each(&listings).into_iter().map(|(reads, _)| reads).collect();
    assert_eq!(counts, [50.0, 50.0, 50.0, 60.0, 61.0]);
}

#[test]
fn one_column_that_is_one_lower_than_before_restarts_no_column() {
    let listings = [(585_000_000, 9_000), (584_999_999, 9_010), (585_000_004, 9_020)].map(|(a, b)| sda(a, b));
    assert_eq!(sda_after_each(&listings), [(0.0, 10.0), (4.0, 20.0)]);
}

#[test]
fn zeros_of_a_disk_add_nothing() {
    let zeros = "8 0 sda 0 0 0 0 0 0 0 0 0 0 0\n".to_owned();
    let listings = [sda(500_000, 160_000_000), zeros.clone(), sda(500_007, 160_000_100), sda(500_008, 160_000_100)];
    assert_eq!(sda_after_each(&listings), [(0.0, 0.0), (7.0, 100.0), (8.0, 100.0)]);
    let listings = [zeros.clone(), zeros, sda(500_000, 160_000_000), sda(500_007, 160_000_100)];
    assert_eq!(sda_after_each(&listings), [(0.0, 0.0), (0.0, 0.0), (7.0, 100.0)], "in the first readings");
}

#[test]
fn a_damaged_line_holds_its_disks_totals() {
    let listings = [sda(100, 5), sda(110, 5), "8 0 sda 120 1 x\n".to_owned(), sda(130, 6)];
    assert_eq!(sda_after_each(&listings), [(10.0, 0.0), (10.0, 0.0), (30.0, 1.0)]);
}

#[test]
fn a_disk_that_appears_after_the_first_listing_brings_none_of_its_old_counts() {
    let unsigned = |count| Some(Number::Unsigned(count));
    for (options, counts) in [(options(), [0, 5]), (boot(), [70, 75]), (Options { delta: true, ..options() }, [0, 5])] {
        let host = host(&["sda"], &line("sda", 1_000));
        let mut pipeline = Pipeline::new(&host.context(options));
        pipeline.collect();
        host.add_disk("sdb");
        let read = [70, 75].map(|count| {
            host.write("proc/diskstats", line("sda", 1_000) + &line("sdb", count));
            reads(&pipeline.collect(), "sdb")
        });
        assert_eq!(read, counts.map(unsigned));
    }
}

#[test]
fn disks_without_end_are_not_counted_again_when_the_oldest_are_forgotten() {
    let host = host(&["sda"], &line("sda", 0));
    let disks = filter(&["."], &[]);
    let options = Options { max_series: Some(20), disk_scope: DiskScope::Total, disks, ..options() };
    let mut pipeline = Pipeline::new(&host.context(options));
    for count in 1..60 {
        host.write("proc/diskstats", line("sda", count * 10) + &line(&format!("sd{count}"), 5));
        assert_eq!(pipeline.collect().value(OPERATIONS, &["read"]), (count - 1) as f64 * 10.0);
    }
}

#[test]
fn milliseconds_that_wrap_at_32_bits_go_on() {
    let busy = |ms: u64| format!("8 0 sda 1 2 3 {ms} 5 6 7 8 0 {ms} 11\n");
    let near = u64::from(u32::MAX) - 999;
    let host = host(&["sda"], &busy(near));
    let mut pipeline = Pipeline::new(&host.context(options()));
    let mut seconds = |ms| {
        host.write("proc/diskstats", busy(ms));
        let collected = pipeline.collect();
        let pair = ["sda"].map(|disk| collected.value("system.disk.io_time", &[disk]));
        (pair[0], collected.value("system.disk.operation_time", &["sda", "read"]))
    };
    assert_eq!(seconds(near + 500), (0.5, 0.5));
    assert_eq!(seconds(1_000), (0.5, 0.5), "not decided yet");
    assert_eq!(seconds(1_200), (0.5, 0.5), "not decided yet");
    assert_eq!(seconds(1_500), (2.5, 2.5));
}

#[test]
fn the_total_over_the_disks_goes_on_when_one_leaves() {
    for delta in [false, true] {
        let both = |sda: u64, sdb: u64| line("sda", sda) + &line("sdb", sdb);
        let host = host(&["sda", "sdb"], &both(1_000, 2_000));
        let options = Options { disk_scope: DiskScope::Total, delta, ..options() };
        let mut pipeline = Pipeline::new(&host.context(options));
        let mut before = 0.0;
        let read = [both(1_010, 2_100), line("sda", 1_015), both(1_015, 7), both(1_015, 9)].map(|listing| {
            host.write("proc/diskstats", listing);
            let collected = pipeline.collect();
            assert_eq!(collected.series(OPERATIONS).len(), 2, "one series a direction");
            let value = collected.value(OPERATIONS, &["read"]);
            before = if delta { before + value } else { value };
            before
        });
        assert_eq!(read, [110.0, 115.0, 115.0, 117.0], "delta: {delta}");
    }
}

#[test]
fn the_total_over_the_disks_is_of_the_physical_ones_alone() {
    let host = FixtureHost::copy("server");
    let parts = Pipeline::new(&host.context(boot())).collect();
    for disks in [Filter::default(), filter(&["."], &[])] {
        let options = Options { disk_scope: DiskScope::Total, disks, ..boot() };
        let total = Pipeline::new(&host.context(options)).collect();
        assert_eq!(total.sum(IO), parts.sum(IO));
        assert!((total.sum("system.disk.io_time") - parts.sum("system.disk.io_time")).abs() < 1e-6);
    }
}

#[test]
fn disks_and_their_total_are_never_in_one_stream() {
    let host = FixtureHost::copy("server");
    for (disk_scope, with_device) in [(DiskScope::Device, true), (DiskScope::Total, false)] {
        let collected = Pipeline::new(&host.context(Options { disk_scope, ..boot() })).collect();
        for point in collected.0.iter().filter(|point| point.name.starts_with("system.disk")) {
            assert_eq!(point.attributes.iter().any(|(key, _)| key == "system.device"), with_device, "{point:?}");
        }
    }
}

#[test]
fn a_disk_without_sysfs_is_reported_when_it_is_asked_for() {
    let host = host(&[], &(line("vda", 5) + &line("vda1", 3)));
    let options = Options { disks: filter(&["^vda$"], &[]), ..boot() };
    assert_eq!(devices(&Pipeline::new(&host.context(options)).collect()), ["vda"]);
    assert!(devices(&Pipeline::new(&host.context(boot())).collect()).is_empty());
}

#[test]
fn the_total_over_the_disks_is_never_cut_by_the_limit_of_series() {
    let names: Vec<String> = (0..10).map(|n| format!("sd{}", char::from(b'a' + n))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let listing: String = names.iter().map(|name| line(name, 100)).collect();
    let host = host(&names, &listing);
    let options = Options { disk_scope: DiskScope::Both, max_series: Some(5), ..boot() };
    let collected = Pipeline::new(&host.context(options)).collect();
    for (metric, totals) in [(OPERATIONS, 2), (IO, 2), ("system.disk.io_time", 1)] {
        let series = collected.series(metric);
        let without_device =
            series.iter().filter(|point| point.attributes.iter().all(|(key, _)| key != "system.device"));
        assert_eq!((without_device.count(), series.len()), (totals, 5), "{metric}");
    }
    assert_eq!(collected.series(OPERATIONS).len(), 5);
}
