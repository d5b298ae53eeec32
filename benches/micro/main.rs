//! The cost of reading each file, and of a whole collection, for hosts of several sizes: `cargo bench`.
//!
//! Criterion measures the time. If valgrind is installed, callgrind counts the instructions of N and of 2N cycles; the
//! difference excludes startup and is independent of other load on the machine. Both are printed as slopes: the cost of
//! one more CPU, disk, interface or process. benches/README.md explains the columns and how to record a run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)] // no part of the agent
#![allow(missing_docs)] // criterion's macros; there is no documentation of a bench

mod cases;
mod hosts;
mod instructions;
#[allow(missing_docs)]
#[path = "../../tests/support/manual.rs"]
mod manual;
mod report;
mod slope;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};

use cases::{CASES, Case};
use report::Row;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, "--cycles", case, size, count] = &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return instructions::cycles(case, size.parse().unwrap(), count.parse().unwrap());
    }
    assert!(cases::missing().is_empty(), "collectors without a case: {:?}", cases::missing());
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("criterion");
    let mut criterion = Criterion::default()
        .output_directory(&place)
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1_500))
        .configure_from_args();
    let mut rows = Vec::new();
    for case in CASES {
        let costs = times(&mut criterion, &place, case);
        // A filter on the command line excludes some sizes.
        if costs.len() == case.sizes.len() {
            rows.push(Row { case, nanoseconds: costs, instructions: instructions::per_cycle(case) });
        }
    }
    criterion.final_summary();
    let text = report::markdown(&rows);
    println!("\n{text}");
    report::record(&text);
}

/// The median time of one cycle at each size, in nanoseconds.
fn times(criterion: &mut Criterion, place: &Path, case: &Case) -> Vec<f64> {
    let mut found = Vec::new();
    let mut group = criterion.benchmark_group(case.name);
    for &size in case.sizes {
        let mut ran = false;
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            ran = true;
            let mut cycle = case.prepare(size);
            bencher.iter_custom(|count| {
                let mut took = Duration::ZERO;
                for _ in 0..count {
                    cycle.between();
                    let begun = Instant::now();
                    black_box(cycle.run());
                    took += begun.elapsed();
                }
                took
            });
        });
        if ran {
            let file = place.join(case.name).join(size.to_string()).join("new/estimates.json");
            let estimates: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
            found.push(estimates["median"]["point_estimate"].as_f64().unwrap());
        }
    }
    group.finish();
    found
}
