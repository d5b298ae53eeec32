//! Tests of agent restarts through the Collector's cumulative_to_delta: no jumps, no duplicates.

use serde_json::json;

use crate::harness::{Agent, Collector, Host, Plan, Point, SOON, USER_TICKS, series};

const USER: &str = "system.cpu.time{cpu.mode=user}";

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn restarts_add_no_jump_behind_cumulative_to_delta() {
    let collector = Collector::with(Plan { processor: Some(("cumulative_to_delta", json!({}))), ..Plan::default() });
    let mut host = Host::new();
    let mut metrics = collector.metrics();
    for life in 1..=3 {
        let agent = Agent::start(&collector.url(), &host.argument());
        let started = |points: &[Point]| starts(points) == life;
        metrics.wait("the first cycle of this life", SOON, started);
        host.advance(life as u64);
        metrics.wait("the change to arrive", SOON, |points| {
            lives(points).last().is_some_and(|steps| *steps == life as f64)
        });
        if life == 2 {
            agent.kill();
        } else {
            agent.stop();
        }
        // What happens while nobody looks belongs to no life.
        host.advance(1_000);
    }
    let mut processed = collector.processed();
    let sum = |points: &[Point]| series(points, USER).iter().map(|point| point.value.float()).sum::<f64>();
    let wanted = steps(1 + 2 + 3);
    let points = processed.wait("the deltas", SOON, |points| sum(points) > wanted - 1e-9);
    assert!((sum(points) - wanted).abs() < 1e-9, "the deltas add up to {} s, not {wanted} s", sum(points));
}

fn steps(count: u64) -> f64 {
    (count * USER_TICKS) as f64 / 100.0
}

fn starts(points: &[Point]) -> usize {
    lives(points).len()
}

/// How many steps each life of the agent has counted so far.
fn lives(points: &[Point]) -> Vec<f64> {
    let mut lives = std::collections::BTreeMap::new();
    for point in series(points, USER) {
        lives.insert(point.start, (point.value.float() * 100.0 / USER_TICKS as f64).round());
    }
    lives.into_values().collect()
}
