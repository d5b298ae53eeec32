//! CONTRIBUTING.md's example of a new collector: it compiles as it is shown and reports the values in the text.

// What the example finds around it in `src/collectors`.
use heka_insights_agent::internals::collectors::{Collector, Context, Definition, Observer, Options};

use crate::collect::Pipeline;
use crate::fixture::FixtureHost;

// As in the example's second step.
#[path = "switches.rs"]
pub mod switches;

#[test]
fn the_example_of_a_new_collector_is_the_one_that_is_compiled_here() {
    let page = include_str!("../../CONTRIBUTING.md");
    let shown = page.split("```rust\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(shown, include_str!("switches.rs"), "CONTRIBUTING.md and tests/host/switches.rs must be the same");
    for step in ["src/collectors/switches.rs", "pub mod switches;", "switches::DEFINITION"] {
        assert!(page.contains(step), "{step}");
    }
}

#[test]
fn the_example_of_a_new_collector_counts_from_its_start() {
    for name in ["server", "old-kernel", "container"] {
        let host = FixtureHost::copy(name);
        let mut pipeline = Pipeline::with_collectors(&host.context(Options::default()), &[switches::DEFINITION]);
        let series = pipeline.collect();
        assert_eq!(series.value("system.cpu.context_switches", &[]), 0.0, "{name}");
        assert_eq!((&*series.0[0].unit, series.0[0].kind), ("{switch}", "counter"), "{name}");
        let stat = String::from_utf8(host.read("proc/stat")).unwrap();
        let line = stat.lines().find(|line| line.starts_with("ctxt ")).unwrap();
        let count: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        host.edit("proc/stat", line, &format!("ctxt {}", count + 42));
        assert_eq!(pipeline.collect().value("system.cpu.context_switches", &[]), 42.0, "{name}");
    }
}

#[test]
fn the_example_of_a_new_collector_leaves_out_what_is_no_number() {
    let host = FixtureHost::copy("hostile");
    let mut pipeline = Pipeline::with_collectors(&host.context(Options::default()), &[switches::DEFINITION]);
    assert!(pipeline.collect().0.is_empty());
}
