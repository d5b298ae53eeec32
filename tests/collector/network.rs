//! Tests of a network that silently drops packets, from the start or on an established connection.

use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::{
    Agent, Collector, Network, Plan, SECOND, SOON, cycles, in_order_and_once, no_second_is_missing, since_epoch, until,
    waiting,
};

const METRIC: &str = "system.memory.usage";

/// With the outbox on disk nothing of what waits is resident.
const GROWTH_ON_DISK_KIB: u64 = 2048;
/// In memory all of it is, and once more in the request that hangs: here about 80 batches of 16 kB.
const GROWTH_IN_MEMORY_KIB: u64 = 4096;

fn in_a_network() -> (Rc<Network>, Collector) {
    let network = Rc::new(Network::new());
    let collector = Collector::with(Plan { network: Some(network.clone()), ..Plan::default() });
    (network, collector)
}

/// How much the agent's anonymous memory grows in `time`. The code of a failure is loaded when it happens, which is no growth.
fn growth_over(agent: &Agent, time: Duration) -> u64 {
    let (begun, before) = (Instant::now(), agent.anonymous_kib());
    let mut most = before;
    while begun.elapsed() < time {
        sleep(Duration::from_secs(1));
        most = most.max(agent.anonymous_kib());
    }
    eprintln!("anonymous memory: {before} kB, at most {most} kB in the {time:?} that followed");
    most - before
}

/// Every collection was on its tick: all but the last of a life, which comes at its end.
fn on_the_grid(times: &[u64]) {
    let ticks = &times[..times.len() - 1];
    for (number, time) in (0u64..).zip(ticks) {
        let off = time.abs_diff(ticks[0] + number * SECOND);
        assert!(off < SECOND * 3 / 4, "cycle {number} is {off} ns off its tick");
    }
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn an_address_that_swallows_packets_delays_no_collection_and_the_next_run_delivers_all() {
    const SWALLOWED: Duration = Duration::from_secs(40);
    let (network, collector) = in_a_network();
    network.cut();
    let outbox = tempfile::tempdir().unwrap();
    let arguments = format!("--outbox-dir {}", outbox.path().display());
    let mut first = Agent::start_at(&network.agent, &collector.url(), &arguments);
    let line = first.says("cannot deliver");
    assert!(line.contains("no answer within") || line.contains("timed out"), "{line}");
    let growth = growth_over(&first, SWALLOWED);
    assert!(growth < GROWTH_ON_DISK_KIB, "{growth} kB in {SWALLOWED:?}");
    let (code, took) = first.terminate();
    let ended = since_epoch();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(first.lines("ERROR"), [""; 0]);
    assert_eq!(first.lines("the outbox on disk keeps").len(), 1, "{}", first.log());
    let kept = waiting(outbox.path());
    assert!(kept >= 40, "{kept} batches kept");
    eprintln!("{kept} batches kept; SIGTERM took {took:?}");

    network.heal();
    let second = Agent::start_at(&network.agent, &collector.url(), &arguments);
    until("an empty outbox", SOON, || (waiting(outbox.path()) == 0).then_some(()));
    second.stop();
    let points = collector.harvest();
    in_order_and_once(&points);
    let times: Vec<u64> = cycles(&points, METRIC).into_iter().filter(|time| *time < ended).collect();
    assert_eq!(times.len(), kept, "what was kept is what arrives");
    on_the_grid(&times);
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn a_connection_cut_silently_for_75_s_costs_no_tick_and_delivers_soon_after_it_heals() {
    const CUT: Duration = Duration::from_secs(75);
    // A request that hangs at that moment ends by its timeout, 10 s; the wait drawn after it is at most 30 s.
    const HEALED: Duration = Duration::from_secs(45);
    let (network, collector) = in_a_network();
    let agent = Agent::start_at(&network.agent, &collector.url(), "");
    let mut metrics = collector.metrics();
    metrics.wait_cycles(METRIC, 3, SOON);
    network.cut();
    let growth = growth_over(&agent, CUT);
    assert!(growth < GROWTH_IN_MEMORY_KIB, "{growth} kB in {CUT:?}");
    network.heal();
    let healed = Instant::now();
    until("the agent to deliver again", HEALED, || agent.lines("delivering to").pop());
    eprintln!("delivered {:.1?} after the network was back", healed.elapsed());
    let seen = cycles(metrics.look(), METRIC).len();
    metrics.wait_cycles(METRIC, seen + 2, SOON);
    let log = agent.stop();
    let points = collector.harvest();
    in_order_and_once(&points);
    let times: Vec<u64> = cycles(&points, METRIC).into_iter().collect();
    assert!(times.len() > 75, "{} cycles", times.len());
    no_second_is_missing(&times);
    on_the_grid(&times);
    let told = |words: &str| log.lines().filter(|line| line.contains(words)).collect::<Vec<_>>();
    assert_eq!(told("; batches wait in the outbox").len(), 1, "{log}");
    let end = told("delivering to");
    assert!(end.len() == 1 && end[0].contains("none lost"), "{log}");
    assert_eq!(told("ERROR"), [""; 0], "{log}");
}
