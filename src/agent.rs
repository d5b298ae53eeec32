//! The agent at work: resource → meter provider → reader → exporter. Runs until told to stop, then flushes.
//!
//! Three threads: this one keeps the cadence and asks the SDK's reader to collect at each tick; the reader's thread
//! collects and exports; the runtime's thread serves the connection, drains the outbox and waits for signals.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::InstrumentationScope;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{Instrument, PeriodicReader, SdkMeterProvider, Stream, Temporality};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};
use uuid::Uuid;

use crate::cadence::{StepWatch, Ticks, phase, wait_for_phase};
use crate::collectors::{self, Context};
use crate::config::{Command, Config, Exporter};
use crate::export::console::{ConsoleExporter, Format};
use crate::host::Host;
use crate::outbox::{self, DeliveryHandle, Moment, Tuning};
use crate::resource::{Identity, SCHEMA_URL, resource};
use crate::signals;

/// The scope that the host's metrics are sent in.
pub const SCOPE: &str = env!("CARGO_PKG_NAME");

/// The most that one live export may hold up the collection, and the part of the interval it may at most be.
const LIVE_DEADLINE_MOST: Duration = Duration::from_secs(3);
const LIVE_DEADLINE_SHARE: f64 = 0.6;

/// The most that the last collection and flush may take; the process ends within 5 s of the signal.
const SHUTDOWN_MOST: Duration = Duration::from_secs(4);

/// The interval given to the SDK's reader, whose own timer is not used: it drifts by a wake-up each cycle, has no phase,
/// and makes up for missed ticks. See docs/adr/0001-cadence.md.
const READER_INTERVAL: Duration = Duration::MAX;

/// Why the agent could not run.
#[derive(Debug)]
pub struct AgentError(String);

impl std::fmt::Display for AgentError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AgentError {}

/// The wall clock, which a test replaces.
pub type WallClock = Box<dyn Fn() -> SystemTime + Send>;

/// Runs until `shutdown` is ready, then collects and flushes a last time.
///
/// # Errors
/// What kept it from running: a certificate, an endpoint, a thread that could not be started.
pub fn run(
    config: &Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
    wall: WallClock,
) -> Result<(), AgentError> {
    let host = Host::new(&config.roots);
    let identity = Identity::read(&host);
    let resource = resource(&host, &identity, &config.resource);
    let context = Context { host, options: config.options.clone() };
    let (events, inbox) = mpsc::channel();
    let (stop, stopped) = watch::channel(false);
    let io =
        IoThread::start().map_err(|error| AgentError(format!("the runtime's thread cannot be started: {error}")))?;
    let told = events.clone();
    io.handle.spawn(async move {
        shutdown.await;
        stop.send_replace(true);
        let _ = told.send(Event::Stop);
    });
    let first = if config.phase {
        wait_for_phase(wall(), phase(&identity, config.interval), config.interval)
    } else {
        Duration::ZERO
    };
    let cadence = Cadence { inbox, interval: config.interval, first, once: config.command == Command::Once, wall };
    match config.exporter {
        Exporter::Otlp => {
            let deadline = config.interval.mul_f64(LIVE_DEADLINE_SHARE).min(LIVE_DEADLINE_MOST);
            let boot = identity.boot_id.as_deref().and_then(|id| Uuid::parse_str(id).ok()).unwrap_or_default();
            let store = outbox::open(&config.outbox, boot.as_u128(), Moment::now());
            let started =
                outbox::start(config.otlp.clone(), store, io.handle.clone(), deadline, stopped, Tuning::default());
            let (exporter, delivery) = started.map_err(|error| AgentError(error.to_string()))?;
            reload_on_hangup(&io.handle, delivery);
            info!(endpoint = %config.otlp.endpoint, interval = ?config.interval, first_in = ?first, "sending");
            cadence.run(&context, &resource, &exporter);
        }
        Exporter::ConsoleTable | Exporter::ConsoleJson => {
            let format = if config.exporter == Exporter::ConsoleJson { Format::Json } else { Format::Table };
            let told = std::sync::Mutex::new(events);
            let closed = move || {
                if let Ok(told) = told.lock() {
                    let _ = told.send(Event::Stop);
                }
            };
            let exporter = ConsoleExporter::new(format, Box::new(io::stdout()), closed);
            cadence.run(&context, &resource, &exporter);
        }
        Exporter::None => {
            info!("the exporter is none: nothing is collected or sent");
            let _ = cadence.inbox.recv();
        }
    }
    io.stop();
    Ok(())
}

/// What wakes the cadence besides its ticks.
enum Event {
    /// End: a signal, or an output that nobody reads any more.
    Stop,
}

struct Cadence {
    inbox: Receiver<Event>,
    interval: Duration,
    first: Duration,
    once: bool,
    wall: WallClock,
}

impl Cadence {
    /// Collects at each tick until told to stop.
    fn run<E: PushMetricExporter + Clone>(&self, context: &Context, resource: &Resource, exporter: &E) {
        let mut generation = Generation::new(context, resource, exporter);
        let start = Instant::now();
        let mut ticks = Ticks::new(start + self.first, self.interval);
        let mut watch = StepWatch::new((self.wall)(), start);
        loop {
            let wait = ticks.next().saturating_duration_since(Instant::now());
            match self.inbox.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Some(seconds) = watch.look((self.wall)(), Instant::now()) {
                info!(
                    "the wall clock stepped by {seconds:+.0} s; counters start anew, since their start time would lie"
                );
                generation.mute();
                generation = Generation::new(context, resource, exporter);
            }
            // The exporter has its own bound and keeps what it cannot send, so this returns before the next tick.
            let _ = generation.provider.force_flush();
            if self.once {
                generation.mute();
                break;
            }
            let skipped = ticks.advance(Instant::now());
            if skipped > 0 {
                warn!("a collection took too long: {skipped} ticks were skipped");
            }
        }
        generation.shutdown(exporter);
    }
}

/// One meter provider and the collectors that feed it. A wall clock that steps ends it: the start time that its counters
/// carry cannot be changed.
struct Generation {
    provider: SdkMeterProvider,
    muted: Arc<AtomicBool>,
}

impl Generation {
    fn new<E: PushMetricExporter + Clone>(context: &Context, resource: &Resource, exporter: &E) -> Self {
        let muted = Arc::new(AtomicBool::new(false));
        let exporter = Gate { exporter: exporter.clone(), muted: Arc::clone(&muted) };
        let limit = collectors::limit::by_instrument(context);
        let provider = SdkMeterProvider::builder()
            .with_resource(resource.clone())
            .with_reader(PeriodicReader::builder(exporter).with_interval(READER_INTERVAL).build())
            .with_view(move |instrument: &Instrument| {
                Stream::builder().with_cardinality_limit(limit(instrument.name())).build().ok()
            })
            .build();
        let scope = InstrumentationScope::builder(SCOPE)
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(SCHEMA_URL)
            .build();
        collectors::register(&provider.meter_with_scope(scope), context);
        Self { provider, muted }
    }

    /// Lets nothing more of this generation out: the SDK collects once more when a provider ends.
    fn mute(&self) {
        self.muted.store(true, Ordering::Relaxed);
    }

    /// A last collection and flush, on a thread of its own so that it is bounded whatever happens in it.
    fn shutdown<E: PushMetricExporter + Clone>(self, exporter: &E) {
        let (done, finished) = mpsc::channel();
        let exporter = exporter.clone();
        let flush = move || {
            let _ = self.provider.shutdown();
            // A muted generation does not pass the shutdown on.
            if self.muted.load(Ordering::Relaxed) {
                let _ = exporter.shutdown();
            }
            let _ = done.send(());
        };
        match thread::Builder::new().name("shutdown".to_owned()).spawn(flush) {
            Ok(_) if finished.recv_timeout(SHUTDOWN_MOST).is_ok() => {}
            _ => warn!("the last flush did not end within {SHUTDOWN_MOST:?}"),
        }
    }
}

/// Between one generation and the exporter that all of them share.
struct Gate<E> {
    exporter: E,
    muted: Arc<AtomicBool>,
}

impl<E: PushMetricExporter> PushMetricExporter for Gate<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        if self.muted.load(Ordering::Relaxed) { Ok(()) } else { self.exporter.export(metrics).await }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        if self.muted.load(Ordering::Relaxed) { Ok(()) } else { self.exporter.shutdown_with_timeout(timeout) }
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

fn reload_on_hangup(io: &Handle, delivery: DeliveryHandle) {
    let _inside = io.enter();
    let reload = move || match delivery.reload() {
        Ok(()) => info!("certificates and headers were read again"),
        Err(error) => warn!("{error}; the old certificates and headers stay in use"),
    };
    match signals::on_hangup(reload) {
        Ok(hangups) => drop(io.spawn(hangups)),
        Err(error) => warn!("SIGHUP cannot be handled ({error})"),
    }
}

/// The thread that drives the runtime.
struct IoThread {
    handle: Handle,
    end: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl IoThread {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        let thread = thread::Builder::new().name("io".to_owned()).spawn(move || {
            let _ = runtime.block_on(ended);
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, end, thread })
    }

    fn stop(self) {
        let _ = self.end.send(());
        let _ = self.thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collectors::Options;
    use crate::host::Roots;
    use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
    use std::path::Path;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicU64;

    /// Tells a channel when each collection's counters started and were taken.
    #[derive(Clone)]
    struct Told {
        exports: mpsc::Sender<(SystemTime, SystemTime)>,
        shutdowns: Arc<AtomicU64>,
    }

    impl PushMetricExporter for Told {
        async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
            let sum =
                metrics.scope_metrics().flat_map(|scope| scope.metrics()).find_map(|metric| match metric.data() {
                    AggregatedMetrics::F64(MetricData::Sum(sum)) => Some((sum.start_time(), sum.time())),
                    _ => None,
                });
            self.exports.send(sum.unwrap()).unwrap();
            Ok(())
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
            self.shutdowns.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }

        fn temporality(&self) -> Temporality {
            Temporality::Cumulative
        }
    }

    fn server() -> Context {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/server");
        Context { host: Host::new(&Roots { root: Some(root), ..Roots::default() }), options: Options::default() }
    }

    struct Running {
        exports: mpsc::Receiver<(SystemTime, SystemTime)>,
        wall: Arc<Mutex<SystemTime>>,
        events: mpsc::Sender<Event>,
        shutdowns: Arc<AtomicU64>,
        thread: thread::JoinHandle<()>,
    }

    fn run(interval: Duration, once: bool) -> Running {
        let (told, exports) = mpsc::channel();
        let (events, inbox) = mpsc::channel();
        let shutdowns = Arc::new(AtomicU64::new(0));
        let exporter = Told { exports: told, shutdowns: Arc::clone(&shutdowns) };
        let wall = Arc::new(Mutex::new(SystemTime::now()));
        let clock = Arc::clone(&wall);
        let cadence =
            Cadence { inbox, interval, first: Duration::ZERO, once, wall: Box::new(move || *clock.lock().unwrap()) };
        let thread = thread::spawn(move || cadence.run(&server(), &Resource::builder_empty().build(), &exporter));
        Running { exports, wall, events, shutdowns, thread }
    }

    #[test]
    fn a_wall_clock_that_steps_starts_the_counters_anew() {
        let running = run(Duration::from_millis(20), false);
        let (first, _) = running.exports.recv().unwrap();
        assert_eq!(running.exports.recv().unwrap().0, first, "the start time stays while the clock does");
        *running.wall.lock().unwrap() += Duration::from_secs(3_600);
        let (second, time) = running.exports.iter().find(|(start, _)| *start != first).unwrap();
        assert!(second > first && time >= second);
        assert_eq!(running.exports.recv().unwrap().0, second, "one step, one new start");
        *running.wall.lock().unwrap() -= Duration::from_secs(7_200);
        let (third, time) = running.exports.iter().find(|(start, _)| *start != second).unwrap();
        assert!(third > second && time >= third, "and a step back likewise");
        running.events.send(Event::Stop).unwrap();
        running.thread.join().unwrap();
        assert_eq!(running.shutdowns.load(Ordering::Relaxed), 1, "the exporter outlives its generations");
    }

    #[test]
    fn a_stop_collects_a_last_time_and_shuts_the_exporter_down() {
        let running = run(Duration::from_secs(3_600), false);
        running.exports.recv().unwrap();
        running.events.send(Event::Stop).unwrap();
        running.thread.join().unwrap();
        assert_eq!(running.exports.iter().count(), 1);
        assert_eq!(running.shutdowns.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn once_is_one_collection_and_no_more() {
        let running = run(Duration::from_secs(3_600), true);
        running.thread.join().unwrap();
        assert_eq!(running.exports.iter().count(), 1);
        assert_eq!(running.shutdowns.load(Ordering::Relaxed), 1);
    }
}
