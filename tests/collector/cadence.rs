//! The ticks, as the data points' times show them.

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
    let first = times[0];
    for (number, time) in (0u64..).zip(&times) {
        let late = time.abs_diff(first + number * SECOND);
        assert!(late < SECOND / 4, "cycle {number} is {late} ns off its tick");
    }
    let mean = (times[CYCLES - 1] - first) / 60;
    assert!(mean.abs_diff(SECOND) <= SECOND / 1000, "the mean period is {mean} ns");
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
