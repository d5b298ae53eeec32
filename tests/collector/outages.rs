//! Tests of outages, kills and restarts: all measurements must arrive once, in order, with consistent totals.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::sleep;
use std::time::Duration;

use crate::harness::{
    Agent, Collector, Host, MINOR_FAULTS, Point, SECOND, SECTORS_READ, SECTORS_WRITTEN, SOON, USER_TICKS, cycles,
    in_order_and_once, no_second_is_missing, series, since_epoch, until, waiting,
};

const METRIC: &str = "system.memory.usage";
/// One of its series.
const FREE: &str = "system.memory.usage{system.memory.state=free}";

/// How long the Collector is away while the agent is killed; docs/delivery.md reports ten minutes.
fn outage() -> Duration {
    let seconds = std::env::var("HEKA_OUTAGE").map_or(30, |text| text.parse().expect("HEKA_OUTAGE: seconds"));
    Duration::from_secs(seconds)
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn a_collector_that_restarts_costs_no_cycle_and_two_lines() {
    let mut collector = Collector::start();
    let agent = Agent::start(&collector.url(), "");
    let mut metrics = collector.metrics();
    metrics.wait_cycles(METRIC, 3, SOON);
    collector.stop();
    agent.says("cannot deliver");
    sleep(Duration::from_secs(5));
    collector.start_again();
    agent.says("delivering to");
    let seen = cycles(metrics.look(), METRIC).len();
    metrics.wait_cycles(METRIC, seen + 2, SOON);
    let log = agent.stop();
    let points = collector.harvest();
    in_order_and_once(&points);
    let times = cycles(&points, METRIC);
    no_second_is_missing(&times);
    // Three before the outage, five in it, two after it; the first or last may be cut off.
    assert!(times.len() > 8, "{} cycles", times.len());
    let told: Vec<_> = log.lines().filter(|line| line.contains("deliver")).collect();
    assert_eq!(told.len(), 2, "{log}");
    assert!(told[0].contains("WARN") && told[1].contains("INFO"), "{log}");
    assert!(told[1].contains("replayed") && told[1].contains("none lost"), "{log}");
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn an_outage_with_a_kill_in_the_middle_loses_no_cycle_but_the_kills_own() {
    let half = outage() / 2;
    let mut collector = Collector::start();
    let outbox = tempfile::tempdir().unwrap();
    let arguments = format!("--outbox-dir {}", outbox.path().display());
    let first = Agent::start(&collector.url(), &arguments);
    collector.metrics().wait_cycles(METRIC, 3, SOON);
    collector.stop();
    sleep(half);
    let killed = since_epoch();
    first.kill();
    let kept = waiting(outbox.path());
    let seconds = usize::try_from(half.as_secs()).unwrap();
    assert!(kept + 2 >= seconds, "{kept} batches after {half:?} of outage");
    let restarted = since_epoch();
    let second = Agent::start(&collector.url(), &arguments);
    sleep(half);
    collector.start_again();
    until("an empty outbox", SOON, || (waiting(outbox.path()) == 0).then_some(()));
    let again = second.says("delivering to");
    assert!(again.contains("none lost"), "{again}");
    second.stop();

    let points = collector.harvest();
    in_order_and_once(&points);
    let times = cycles(&points, METRIC);
    let (before, after): (Vec<u64>, Vec<u64>) = times.iter().partition(|time| **time < killed);
    no_second_is_missing(&before);
    no_second_is_missing(&after);
    let (last, next) = (before[before.len() - 1], after[0]);
    assert!(killed - last < SECOND * 9 / 5, "the last cycle before the kill came {} ns before it", killed - last);
    assert!(next - restarted < SECOND * 3, "the first cycle came {} ns after the start", next - restarted);
    assert!(before.len() >= seconds + 2 && after.len() >= seconds, "{} and {} cycles", before.len(), after.len());

    // Each time once: `times` is a set, and in_order_and_once takes a second one only if it is the same.
    let arrived = points.iter().filter(|point| point.series() == FREE).count();
    let apart = |from: u64, to: u64| to.saturating_sub(from) as f64 / SECOND as f64;
    eprintln!("--- an outage of {:?}, killed after {half:?} with {kept} batches waiting", outage());
    eprintln!("{} cycles before the kill, {} after it; {arrived} arrived", before.len(), after.len());
    eprintln!(
        "the last one {:.2} s before the kill, the next {:.2} s after the start",
        apart(last, killed),
        apart(restarted, next)
    );
    eprintln!("{}", again.trim());
}

/// Restarts, an outage, a kill in it: what arrives adds up to what the kernel counted while an agent lived.
fn adds_up(temporality: &str) {
    let mut collector = Collector::start();
    let outbox = tempfile::tempdir().unwrap();
    let mut host = Host::new();
    let mut seen = 0;
    let start = |collector: &Collector, host: &Host| {
        let arguments = format!("--temporality {temporality} --outbox-dir {}", outbox.path().display());
        Agent::start(&collector.url(), &format!("{arguments} {}", host.argument()))
    };
    let mut metrics = collector.metrics();
    let mut one_more_arrives = || {
        let before = cycles(metrics.look(), METRIC).len();
        metrics.wait_cycles(METRIC, before + 2, SOON);
    };
    // Two more batches: the second was collected after this was called.
    let two_more_wait = || {
        let before = waiting(outbox.path());
        until("two more batches to wait", SOON, || (waiting(outbox.path()) >= before + 2).then_some(()));
    };
    let mut move_on = |host: &mut Host, steps: u64| {
        host.advance(steps);
        seen += steps;
    };

    let agent = start(&collector, &host);
    one_more_arrives();
    move_on(&mut host, 5);
    one_more_arrives();
    move_on(&mut host, 3);
    agent.stop();

    host.advance(1_000); // nobody looks
    let agent = start(&collector, &host);
    one_more_arrives();
    move_on(&mut host, 2);
    collector.stop();
    let stopped = since_epoch();
    agent.says("cannot deliver");
    move_on(&mut host, 4);
    two_more_wait();
    move_on(&mut host, 6);
    two_more_wait();
    agent.kill();

    host.advance(1_000);
    let agent = start(&collector, &host);
    two_more_wait();
    move_on(&mut host, 9);
    two_more_wait();
    collector.start_again();
    agent.says("delivering to");
    move_on(&mut host, 1);
    agent.stop();

    let points = collector.harvest();
    in_order_and_once(&points);
    // No collection after the stop can have been accepted before the kill, so none may arrive twice.
    let mut known = BTreeSet::new();
    for point in points.iter().filter(|point| point.time > stopped) {
        assert!(known.insert((point.series(), point.time)), "{} at {} arrived twice", point.series(), point.time);
    }
    assert_eq!(seen, 30);
    let ticks = USER_TICKS as f64 / 100.0;
    for (name, step) in [
        ("system.cpu.time{cpu.mode=user}", ticks),
        ("system.disk.io{disk.io.direction=read,system.device=sda}", (SECTORS_READ * 512) as f64),
        ("system.disk.io{disk.io.direction=write,system.device=sda}", (SECTORS_WRITTEN * 512) as f64),
        ("system.paging.faults{system.paging.fault.type=minor}", MINOR_FAULTS as f64),
    ] {
        let (sum, wanted) = (total(&series(&points, name)), step * seen as f64);
        assert!((sum - wanted).abs() < 1e-6 * wanted, "{name}: {sum} arrived of {wanted}");
    }
}

/// The events that a series reports: deltas added up, or the last total of each life.
fn total(points: &[&Point]) -> f64 {
    let delta = matches!(points[0].kind, crate::harness::Kind::Sum { delta: true, .. });
    let mut known = BTreeSet::new();
    let mut lives: BTreeMap<u64, f64> = BTreeMap::new();
    let mut sum = 0.0;
    for point in points.iter().filter(|point| known.insert(point.time)) {
        sum += point.value.float();
        lives.insert(point.start, point.value.float());
    }
    if delta { sum } else { lives.values().sum() }
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn deltas_add_up_to_what_the_kernel_counted_over_restarts_kills_and_outages() {
    adds_up("delta");
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn totals_add_up_to_what_the_kernel_counted_over_restarts_kills_and_outages() {
    adds_up("cumulative");
}
