//! 500 agents and one Collector that stops and starts again: the agents must be spread evenly and lose nothing.
//!
//! An agent is a task here. Like a real agent, it has its own phase of the interval, connection, outbox and sender. It
//! sends one number, `agent × 1,000,000 + cycle`, collected by one SDK pipeline for all agents. docs/fleet.md has the
//! results of a run.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use heka_insights_agent::internals::agent::cadence::{self, Ticks};
use heka_insights_agent::internals::export::config::{OtlpConfig, Protocol, Proxies, Temporality, TlsFiles};
use heka_insights_agent::internals::host::identity::Identity;
use heka_insights_agent::internals::outbox::config::OutboxConfig;
use heka_insights_agent::internals::outbox::fs::OsFs;
use heka_insights_agent::internals::outbox::{self, DeliveryHandle, MEMORY_MAX_BYTES, OutboxExporter, Tuning};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::reader::MetricReader;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::harness::Collector;
use crate::manual::Manual;

const AGENTS: u64 = 500;
const INTERVAL: Duration = Duration::from_secs(2);
const STEADY: Duration = Duration::from_secs(10);
/// An agent's cycles are below this.
const CYCLES: u64 = 1_000_000;
const BUCKET: Duration = Duration::from_millis(100);

/// How long the Collector is away; in CI a part of the minute that docs/fleet.md reports.
fn outage() -> Duration {
    let seconds =
        std::env::var("HEKA_FLEET_OUTAGE").map_or(10, |text| text.parse().expect("HEKA_FLEET_OUTAGE: seconds"));
    Duration::from_secs(seconds)
}

/// Makes a number into what an exporter takes.
struct Numbers {
    reader: Manual,
    number: Arc<AtomicU64>,
    _provider: SdkMeterProvider,
}

impl Numbers {
    fn new() -> Self {
        let reader = Manual::new();
        let provider = SdkMeterProvider::builder().with_reader(reader.clone()).build();
        let number = Arc::new(AtomicU64::new(0));
        let told = number.clone();
        let _ = provider
            .meter("fleet")
            .u64_observable_gauge("fleet.cycle")
            .with_callback(move |gauge| gauge.observe(told.load(Ordering::Relaxed), &[]))
            .build();
        Self { reader, number, _provider: provider }
    }

    fn collect(&self, number: u64) -> ResourceMetrics {
        self.number.store(number, Ordering::Relaxed);
        let mut metrics = ResourceMetrics::default();
        self.reader.collect(&mut metrics).unwrap();
        metrics
    }
}

/// Runs one agent until it is stopped; returns its number of cycles.
async fn agent(
    id: u64,
    phase: Duration,
    exporter: OutboxExporter,
    numbers: Arc<Mutex<Numbers>>,
    done: watch::Receiver<bool>,
) -> u64 {
    let first = cadence::wait_for_phase(SystemTime::now(), phase, INTERVAL);
    let mut ticks = Ticks::new(Instant::now() + first, INTERVAL);
    let mut cycle = 0;
    loop {
        tokio::time::sleep_until(ticks.next().into()).await;
        if *done.borrow() {
            return cycle;
        }
        cycle += 1;
        let metrics = numbers.lock().unwrap().collect(id * CYCLES + cycle);
        exporter.export(&metrics).await.unwrap();
        ticks.advance(Instant::now());
    }
}

/// What arrived at the Collector, as its output file grows: a line a request, and a number a batch.
struct Arrivals {
    file: BufReader<File>,
    line: String,
    begun: Instant,
    /// Requests and batches in each tenth of a second.
    curve: Vec<(u64, u64)>,
    numbers: Vec<u64>,
}

impl Arrivals {
    fn of(collector: &Collector) -> Self {
        let file = BufReader::new(File::open(collector.path("metrics.json")).unwrap());
        Self { file, line: String::new(), begun: Instant::now(), curve: Vec::new(), numbers: Vec::new() }
    }

    fn bucket(&self) -> usize {
        usize::try_from(self.begun.elapsed().as_nanos() / BUCKET.as_nanos()).unwrap()
    }

    fn look(&mut self) {
        let now = self.bucket();
        self.curve.resize(now + 1, (0, 0));
        while self.file.read_line(&mut self.line).unwrap() > 0 {
            // The end of the file may be half a line.
            if !self.line.ends_with('\n') {
                break;
            }
            let before = self.numbers.len();
            let values = self.line.split("\"asInt\":\"").skip(1);
            self.numbers.extend(values.map(|text| text.split('"').next().unwrap().parse::<u64>().unwrap()));
            let (requests, batches) = &mut self.curve[now];
            *requests += 1;
            *batches += (self.numbers.len() - before) as u64;
            self.line.clear();
        }
    }

    fn watch(&mut self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.look();
            sleep(BUCKET / 5);
        }
    }
}

/// Arrivals per tenth of a second.
#[derive(Clone, Copy, Debug)]
struct Load {
    peak: u64,
    mean: f64,
}

fn load(counts: impl ExactSizeIterator<Item = u64> + Clone) -> Load {
    let mean = counts.clone().sum::<u64>() as f64 / counts.len() as f64;
    Load { peak: counts.max().unwrap(), mean }
}

struct Outcome {
    steady: Load,
    /// Requests from the Collector's return until all outboxes were empty.
    recovery: Load,
    drained_in: Duration,
    twice: usize,
}

/// One fleet through one outage. `spread`: with phases and jitter.
fn fleet(spread: bool) -> Outcome {
    let mut collector = Collector::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let numbers = Arc::new(Mutex::new(Numbers::new()));
    let (done, ends) = watch::channel(false);
    let (_never, stop) = watch::channel(false);
    let config = OtlpConfig {
        protocol: Protocol::Grpc,
        endpoint: collector.url(),
        headers: Vec::new(),
        headers_file: None,
        gzip: false,
        timeout: Duration::from_secs(10),
        tls: TlsFiles::default(),
        proxies: Proxies::default(),
        temporality: Temporality::Cumulative,
    };
    let tuning = Tuning { backoff_jitter: spread, ..Tuning::default() };
    let outbox = OutboxConfig { dir: None, max_bytes: MEMORY_MAX_BYTES, max_age: Duration::from_secs(86_400) };
    let start = |id: u64| -> (DeliveryHandle, JoinHandle<u64>) {
        let name = Some(format!("edge-{id}.example"));
        let identity = Identity { id: Some(format!("{id:032x}")), name, boot_id: None };
        let phase = if spread { cadence::phase(&identity, INTERVAL) } else { Duration::ZERO };
        let (exporter, handle) =
            outbox::start(OsFs, config.clone(), &outbox, 0, runtime.handle().clone(), stop.clone(), tuning).unwrap();
        (handle, runtime.spawn(agent(id, phase, exporter, numbers.clone(), ends.clone())))
    };
    let mut arrivals = Arrivals::of(&collector);
    let (handles, agents): (Vec<_>, Vec<_>) = (1..=AGENTS).map(start).unzip();

    // The first interval has the connecting in it.
    arrivals.watch(2 * INTERVAL);
    let from = arrivals.bucket();
    arrivals.watch(STEADY);
    let steady = from..arrivals.bucket();
    collector.stop();
    arrivals.watch(outage());
    collector.start_again();
    let (back, returned) = (arrivals.bucket(), Instant::now());
    let waiting = || handles.iter().map(|handle| handle.stats().outbox_batches).sum::<u64>();
    let held = waiting();
    assert!(held >= AGENTS * (outage().as_secs() / INTERVAL.as_secs()) - AGENTS, "only {held} batches waited");
    // Meanwhile new ones keep coming; empty means that for a moment none waits anywhere.
    while waiting() > 0 {
        assert!(returned.elapsed() < Duration::from_secs(90), "{} batches still wait", waiting());
        arrivals.watch(BUCKET);
    }
    let drained_in = returned.elapsed();
    arrivals.watch(INTERVAL);
    let recovery = back..arrivals.bucket();

    done.send_replace(true);
    let sent: Vec<u64> = runtime.block_on(async {
        let mut sent = Vec::new();
        for agent in agents {
            sent.push(agent.await.unwrap());
        }
        sent
    });
    while waiting() > 0 {
        arrivals.watch(BUCKET);
    }
    for handle in &handles {
        assert_eq!(handle.stats().dropped.total().batches, 0, "an outbox dropped batches");
    }
    collector.stop();
    arrivals.look();
    let twice = all_arrived(&sent, &arrivals.numbers);
    let requests = |range: std::ops::Range<usize>| arrivals.curve[range].iter().map(|(requests, _)| *requests);
    let outcome =
        Outcome { steady: load(requests(steady)), recovery: load(requests(recovery.clone())), drained_in, twice };
    told(spread, &outcome, held, &sent, &arrivals.curve[recovery]);
    outcome
}

/// Every batch of every agent, in its order; how many came twice.
fn all_arrived(sent: &[u64], numbers: &[u64]) -> usize {
    let mut known = HashSet::new();
    let mut newest = vec![0; sent.len() + 1];
    for number in numbers {
        let (agent, cycle) = (number / CYCLES, number % CYCLES);
        if known.insert(number) {
            let newest = &mut newest[usize::try_from(agent).unwrap()];
            assert!(cycle > *newest, "agent {agent}: cycle {cycle} came after {newest}");
            *newest = cycle;
        }
    }
    assert_eq!(known.len() as u64, sent.iter().sum::<u64>(), "not as many batches arrived as were collected");
    numbers.len() - known.len()
}

fn told(spread: bool, outcome: &Outcome, held: u64, sent: &[u64], recovery: &[(u64, u64)]) {
    let Outcome { steady, recovery: load, drained_in, twice } = outcome;
    eprintln!("--- {}", if spread { "phase and jitter" } else { "neither phase nor jitter" });
    eprintln!("steady:   requests in 100 ms: mean {:.1}, peak {}", steady.mean, steady.peak);
    eprintln!("recovery: requests in 100 ms: mean {:.1}, peak {}", load.mean, load.peak);
    let batches = recovery.iter().map(|(_, batches)| *batches).max().unwrap();
    eprintln!("          batches in 100 ms: peak {batches}; {held} waited, all gone after {drained_in:.1?}");
    eprintln!("{} batches collected, as many arrived, {twice} of them twice", sent.iter().sum::<u64>());
    let seconds = recovery.chunks(10).map(|second| second.iter().map(|(requests, _)| *requests).max().unwrap());
    eprintln!("each second's highest 100 ms since the return: {:?}", seconds.collect::<Vec<_>>());
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn a_fleet_does_not_arrive_in_step_and_loses_nothing_in_an_outage() {
    let (alike, spread) = (fleet(false), fleet(true));
    for outcome in [&alike, &spread] {
        // Only a request that the Collector took while it was ending may come again.
        assert!(outcome.twice as u64 <= AGENTS, "{} batches came twice", outcome.twice);
    }
    assert!(spread.steady.peak * 2 <= alike.steady.peak, "steady: {:?}, {:?}", spread.steady, alike.steady);
    assert!(spread.recovery.peak * 2 <= alike.recovery.peak, "{:?}, {:?}", spread.recovery, alike.recovery);
}
