//! Tests of the collection ticks, based on the times of the data points.

use std::time::Duration;

use crate::harness::{Agent, Collector, SECOND, cycles};

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn sixty_cycles_keep_to_the_second_and_none_is_missing() {
    const CYCLES: usize = 61;
    let collector = Collector::start();
    let agent = Agent::start(&collector.url(), "--interval 1s");
    let mut metrics = collector.metrics();
    let points = metrics.wait_cycles("system.memory.usage", CYCLES, Duration::from_secs(90));
    let times: Vec<u64> = cycles(points, "system.memory.usage").into_iter().take(CYCLES).collect();
    agent.stop();
    // Off the grid of a second, each of them. A busy machine delays single ones, which does not affect the others.
    let off: Vec<i64> = (0u64..).zip(&times).map(|(n, time)| i64::try_from(time - n * SECOND).unwrap()).collect();
    let usual = median(&off);
    for (number, off) in off.iter().enumerate() {
        let late = off.abs_diff(usual);
        assert!(late < SECOND * 3 / 4, "cycle {number} is {late} ns off its tick");
    }
    // A drift of three milliseconds a cycle moves the last third by 120 ms against the first.
    let drift = median(&off[2 * CYCLES / 3..]) - median(&off[..CYCLES / 3]);
    assert!(drift.unsigned_abs() < SECOND / 8, "the ticks moved by {drift} ns in 40 cycles");
}

fn median(values: &[i64]) -> i64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values[values.len() / 2]
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn the_phase_is_the_hosts_own_and_survives_a_restart() {
    let phase = || {
        let collector = Collector::start();
        let agent = Agent::at_its_phase(&collector.url(), "--interval 2s --collectors memory");
        let mut metrics = collector.metrics();
        let points = metrics.wait_cycles("system.memory.usage", 2, Duration::from_secs(30));
        let time = *cycles(points, "system.memory.usage").iter().next().unwrap();
        agent.stop();
        time % (2 * SECOND)
    };
    let (one, other) = (phase(), phase());
    let apart = one.abs_diff(other);
    assert!(apart.min(2 * SECOND - apart) < SECOND / 4, "at {one} ns of the interval, then at {other} ns");
}
