//! Tests the examples of new collectors in CONTRIBUTING.md: they must compile as shown and report the documented
//! values.

// The items that the examples import from `src/collectors`.
use heka_insights_agent::internals::collectors::{COLLECTORS, Collector, Context, Definition, Observer, Options};
use heka_insights_agent::internals::metrics::naming::Metric;

use heka_insights_agent::Detail;

use crate::collect::Pipeline;
use crate::fixture::FixtureHost;

// As in the example's second step.
#[path = "freed.rs"]
pub mod freed;
#[path = "inodes.rs"]
pub mod inodes;

#[test]
fn the_examples_of_new_collectors_are_the_ones_that_are_compiled_here() {
    let page = include_str!("../../CONTRIBUTING.md");
    let shown: Vec<&str> =
        page.split("```rust\n").skip(1).filter_map(|block| block.split("```").next()).take(2).collect();
    assert_eq!(shown, [include_str!("freed.rs"), include_str!("inodes.rs")], "CONTRIBUTING.md and tests/host differ");
    for step in ["src/collectors/freed.rs", "pub mod freed;", "freed::DEFINITION"] {
        assert!(page.contains(step), "{step}");
    }
}

fn detailed() -> Options {
    Options { detail: Detail::Detailed, ..Options::default() }
}

#[test]
fn no_other_collector_has_a_metric_of_the_examples() {
    for example in [freed::DEFINITION, inodes::DEFINITION] {
        for other in COLLECTORS.iter().filter(|other| other.name != example.name) {
            let name = |metric: &Metric| metric.semconv.as_ref().map(|shape| shape.name);
            let names: Vec<_> = other.metrics.iter().map(name).collect();
            assert!(!example.metrics.iter().any(|metric| names.contains(&name(metric))), "{}", other.name);
        }
    }
}

#[test]
fn the_example_with_a_file_of_its_own_reports_each_state() {
    let host = FixtureHost::copy("server");
    host.write("proc/sys/fs/inode-nr", "40\t10\n");
    let mut pipeline = Pipeline::with_collectors(&host.context(detailed()), &[inodes::DEFINITION]);
    let series = pipeline.collect();
    let value = |state| series.value("system.filesystem.linux.inode.count", &[state]);
    assert_eq!((value("used"), value("free")), (30.0, 10.0));
    host.write("proc/sys/fs/inode-nr", "10\t40\n");
    assert!(pipeline.collect().0.is_empty(), "more free ones than there are");
}

#[test]
fn the_example_of_a_new_collector_counts_from_its_start() {
    for name in ["server", "old-kernel", "container"] {
        let host = FixtureHost::copy(name);
        let mut pipeline = Pipeline::with_collectors(&host.context(detailed()), &[freed::DEFINITION]);
        let series = pipeline.collect();
        assert_eq!(series.value("system.memory.linux.page_frees", &[]), 0.0, "{name}");
        assert_eq!((&*series.0[0].unit, series.0[0].kind), ("{page}", "counter"), "{name}");
        let vmstat = String::from_utf8(host.read("proc/vmstat")).unwrap();
        let line = vmstat.lines().find(|line| line.starts_with("pgfree ")).unwrap();
        let count: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        host.edit("proc/vmstat", line, &format!("pgfree {}", count + 42));
        assert_eq!(pipeline.collect().value("system.memory.linux.page_frees", &[]), 42.0, "{name}");
    }
}

#[test]
fn the_example_of_a_new_collector_leaves_out_what_is_no_number() {
    let host = FixtureHost::copy("hostile");
    let mut pipeline = Pipeline::with_collectors(&host.context(detailed()), &[freed::DEFINITION]);
    assert!(pipeline.collect().0.is_empty());
}
