//! Runs the agent: collects through a [`Pipeline`] at a fixed cadence until it is stopped, then flushes.
//!
//! There are four threads. This one keeps the cadence and triggers the SDK's reader at each tick. The reader's thread
//! collects and exports. A worker thread reads the host's files for it and is abandoned if a file hangs. The runtime's
//! thread serves the connection, drains the outbox and waits for signals. File systems are queried on further threads.

pub mod cadence;
pub mod check;
pub mod journal;
pub mod log;
pub mod pipeline;
pub mod readings;
mod scraping;
pub mod self_metrics;
pub mod signals;
pub mod systemd;

use std::future::Future;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::agent::cadence::{StepWatch, Ticks, phase, wait_for_phase};
use crate::collectors::{COLLECTORS, Context};
use crate::config::{Command, Config, Exporter};

use crate::agent::pipeline::{Pipeline, SelfReport};
use crate::agent::systemd::ServiceManager;
use crate::collectors::limit::Limits;
use crate::export::ExportError;
use crate::export::console::view::View;
use crate::export::console::{ConsoleExporter, Format, Layout};
use crate::export::prometheus::Listen;
use crate::host::bounded::deadline;
use crate::host::identity::{Identity, resource};
use crate::host::{Host, boot_time};
use crate::metrics::naming::Detail;
use crate::outbox::fs::OsFs;
use crate::outbox::{self, DeliveryHandle, Tuning};

/// Time limit for the whole shutdown.
const STOP_MOST: Duration = Duration::from_millis(4_800);

#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The thread for network and signals cannot be started.
    #[error("the runtime's thread cannot be started: {0}")]
    Runtime(#[source] io::Error),
    /// The delivery cannot be started: a certificate, the endpoint, or a thread.
    #[error(transparent)]
    Outbox(#[from] outbox::OutboxError),
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The address for scrapes cannot be used.
    #[error("--listen: '{0}': {1}")]
    Listen(Listen, #[source] io::Error),
    /// The reader's thread was not started, or it has ended.
    #[error("collections cannot be made: {0}")]
    Collection(#[source] OTelSdkError),
    #[error("internal error: the sender has ended")]
    Sender,
    /// The only collection of a run was lost, with the reason of the last failed request.
    #[error("the collection was not delivered: {0}")]
    NotDelivered(String),
    #[error("standard output cannot be written: {0}")]
    Output(String),
}

/// The wall clock; replaced in tests.
pub type WallClock = Box<dyn Fn() -> SystemTime + Send>;

/// Runs until `shutdown` completes, then collects and flushes once more.
///
/// # Errors
/// The reason why the agent cannot run: a certificate, an endpoint, or a thread that cannot be started.
pub fn run(
    config: &Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
    wall: WallClock,
) -> Result<(), AgentError> {
    let io = IoThread::start().map_err(AgentError::Runtime)?;
    let delivery = Reload::default();
    reload_on_hangup(&io.handle, delivery.clone());
    let (events, inbox) = mpsc::channel();
    let stopped = watch_for_stop(&io.handle, shutdown, events.clone(), delivery.clone());
    let mut host = Host::new(&config.roots);
    host.deadline = deadline(config.interval);
    let identity = identify(&host);
    let resource = resource(&host, &identity, &config.resource);
    let context = Context { host, options: config.options.clone() };
    let first = config.phase.then(|| first_tick(&identity, config.interval, wall()));
    let once = config.command == Command::Once;
    let manager = ServiceManager::from_environment(&io.handle);
    let cadence =
        Cadence { inbox, interval: config.interval, first, once, wall, manager, self_report: None, delivery: None };
    let run = Run { config, context, resource, events, stopped, io: &io.handle };
    match config.exporter {
        Exporter::Otlp => run.deliver(cadence, &identity, &delivery),
        Exporter::Prometheus => run.answer_scrapes(&cadence),
        Exporter::Console(format) => run.print(&cadence, format),
        Exporter::None => run.wait(&cadence),
    }?;
    io.stop();
    Ok(())
}

/// The first tick at this host's phase. A point in time, because opening the outbox and reading the baselines take some of
/// the wait.
fn first_tick(identity: &Identity, interval: Duration, now: SystemTime) -> Instant {
    Instant::now() + wait_for_phase(now, phase(identity, interval), interval)
}

fn identify(host: &Host) -> Identity {
    let identity = host.within("the host's identity", Identity::read).unwrap_or_default();
    if identity.id.is_none() {
        info!(
            "this host has no id in /etc/machine-id, D-Bus's machine-id or the firmware: service.instance.id changes at each start"
        );
    }
    identity
}

/// Waits for `shutdown` and notifies the cadence and all receivers. Exits the process if the shutdown takes too long.
fn watch_for_stop(
    io: &Handle,
    shutdown: impl Future<Output = ()> + Send + 'static,
    events: mpsc::Sender<Event>,
    delivery: Reload,
) -> watch::Receiver<bool> {
    let (stop, stopped) = watch::channel(false);
    io.spawn(async move {
        shutdown.await;
        stop.send_replace(true);
        let _ = events.send(Event::Stop);
        // The end of the run also ends this task. A collection that hangs in the kernel must not prevent the exit.
        let why = tokio::select! {
            () = tokio::time::sleep(STOP_MOST) => "the last collection does not end; exiting without it",
            () = signals::terminate_again() => "second signal: exiting at once",
        };
        match delivery.get().map(DeliveryHandle::unsaved).unwrap_or_default() {
            lost if lost.batches == 0 => error!("{why}"),
            lost => {
                error!("{why}; {} batches ({} data points) that are not on disk are lost", lost.batches, lost.points)
            }
        }
        std::process::exit(1);
    });
    stopped
}

/// State of a run, shared by all exporters.
struct Run<'a> {
    config: &'a Config,
    context: Context,
    resource: Resource,
    events: mpsc::Sender<Event>,
    stopped: watch::Receiver<bool>,
    io: &'a Handle,
}

impl Run<'_> {
    fn deliver(self, mut cadence: Cadence, identity: &Identity, reload: &Reload) -> Result<(), AgentError> {
        let config = self.config;
        let boot = identity.boot_id.as_deref().and_then(|id| Uuid::parse_str(id).ok()).unwrap_or_default().as_u128();
        let tuning = Tuning::default();
        let (exporter, delivery) =
            outbox::start(OsFs, config.otlp.clone(), &config.outbox, boot, self.io.clone(), self.stopped, tuning)?;
        let _ = reload.set(delivery.clone());
        cadence.delivery = Some(delivery.clone());
        cadence.self_report = config.self_metrics.map(|detail| SelfReport { delivery: delivery.clone(), detail });
        let endpoint = config.otlp.shown_endpoint();
        let first = cadence.first.map_or(0.0, |at| at.saturating_duration_since(Instant::now()).as_secs_f64());
        info!(%endpoint, interval = ?config.interval, first_in = %format_args!("{first:.1}s"), "sending");
        let flushed = cadence.run(&self.context, &self.resource, &exporter)?;
        // `--once` reports whether the collection was delivered. Otherwise, losses have already been logged.
        if cadence.once && (!flushed || delivery.stats().lost_any()) {
            let why = delivery.last_failure().unwrap_or_else(|| "no request has ended".to_owned());
            return Err(AgentError::NotDelivered(why));
        }
        Ok(())
    }

    fn answer_scrapes(self, cadence: &Cadence) -> Result<(), AgentError> {
        let scraping = scraping::Scraping {
            listen: &self.config.listen,
            self_metrics: self.config.self_metrics,
            events: self.events,
            stopped: self.stopped,
            io: self.io,
        };
        scraping.run(cadence, &self.context, &self.resource)
    }

    fn print(self, cadence: &Cadence, format: Format) -> Result<(), AgentError> {
        let (once, options) = (cadence.once, &self.config.options);
        let full_names = options.detail == Detail::Detailed;
        let layout = Layout {
            format,
            naming: options.naming,
            tables: COLLECTORS.iter().map(|collector| (collector.name, collector.metrics)).collect(),
            interval: (!once).then_some(cadence.interval),
            view: Box::new(move || View::of_stdout(!once, full_names)),
        };
        let events = std::sync::Mutex::new(self.events);
        let failure = Arc::<OnceLock<String>>::default();
        let failed = Arc::clone(&failure);
        let closed = move |error: &io::Error| {
            // A closed pipe is a normal end; any other error is a failure.
            if error.kind() != io::ErrorKind::BrokenPipe {
                let _ = failed.set(error.to_string());
            }
            if let Ok(events) = events.lock() {
                let _ = events.send(Event::Stop);
            }
        };
        let exporter = ConsoleExporter::new(layout, Box::new(io::stdout()), closed);
        cadence.run(&self.context, &self.resource, &exporter)?;
        match failure.get() {
            Some(error) => Err(AgentError::Output(error.clone())),
            None => Ok(()),
        }
    }

    fn wait(self, cadence: &Cadence) -> Result<(), AgentError> {
        info!("exporter none: nothing is collected or sent");
        cadence.manager.ready();
        let interval = cadence.interval;
        while !cadence.once && matches!(cadence.wait(Instant::now() + interval), Err(RecvTimeoutError::Timeout)) {}
        Ok(())
    }
}

/// Events that interrupt the wait for the next tick.
enum Event {
    /// Stop: a signal, or the output was closed.
    Stop,
    /// Collect and reply with the text. Only with the Prometheus exporter.
    Scrape(oneshot::Sender<Bytes>),
}

struct Cadence {
    inbox: Receiver<Event>,
    interval: Duration,
    /// The first tick; at once if `None`.
    first: Option<Instant>,
    once: bool,
    wall: WallClock,
    manager: ServiceManager,
    self_report: Option<SelfReport>,
    /// The delivery, whose sender must be running.
    delivery: Option<DeliveryHandle>,
}

impl Cadence {
    fn sender_is_alive(&self) -> bool {
        self.delivery.as_ref().is_none_or(DeliveryHandle::is_alive)
    }

    /// Waits until the next tick or an event; notifies the service manager's watchdog meanwhile. Ends early if the
    /// sender has ended.
    fn wait(&self, tick: Instant) -> Result<Event, RecvTimeoutError> {
        loop {
            let wake = self.manager.next_sign().map_or(tick, |sign| sign.min(tick));
            match self.inbox.recv_timeout(wake.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Timeout) if self.sender_is_alive() => self.manager.alive(Instant::now()),
                event => return event,
            }
            if wake == tick {
                return Err(RecvTimeoutError::Timeout);
            }
        }
    }

    /// Collects at each tick until stopped. Returns whether the final flush completed.
    ///
    /// # Errors
    /// Collections or delivery are impossible. The process must end, so that the service manager can restart it, which
    /// finds the batches on disk.
    fn run<E>(&self, context: &Context, resource: &Resource, exporter: &E) -> Result<bool, AgentError>
    where
        E: PushMetricExporter + Clone,
    {
        let limits = Limits::default();
        let new = || Pipeline::new(context, resource, exporter, self.self_report.as_ref(), &limits);
        let mut pipeline = new();
        let mut ticks = Ticks::from(self.first, Instant::now(), self.interval);
        // Taken after the pipeline is built, so it is not before the start time that the SDK gave its counters.
        let mut begun = (self.wall)();
        let mut watch = StepWatch::new(begun, boot_time());
        let mut memory = Memory::default();
        self.manager.ready();
        let failed = |pipeline: Pipeline, why: AgentError| {
            pipeline.mute();
            pipeline.shutdown(exporter);
            Err(why)
        };
        // A stop or a closed channel ends the loop.
        while let Err(RecvTimeoutError::Timeout) = self.wait(ticks.next()) {
            if !self.sender_is_alive() {
                return failed(pipeline, AgentError::Sender);
            }
            let now = (self.wall)();
            let step = watch.step(now, boot_time());
            // Even for a small step back: a data point's time must not be before its start time.
            if step.is_some() || now < begun {
                match step {
                    Some(seconds) => {
                        info!("wall clock jumped by {seconds:+.0} s; restarting counters with a new start time")
                    }
                    None => info!(
                        "wall clock is before the counters' start time; restarting counters with a new start time"
                    ),
                }
                pipeline.mute();
                pipeline = new();
                begun = (self.wall)();
            }
            if let Err(error) = pipeline.collect() {
                return failed(pipeline, AgentError::Collection(error));
            }
            if self.once {
                pipeline.mute();
                break;
            }
            memory.collected();
            if pipeline.outgrown() {
                info!("the host has more series than at the start; restarting counters with a new start time");
                limits.double();
                pipeline.mute();
                pipeline = new();
                begun = (self.wall)();
            }
            let skipped = ticks.advance(Instant::now());
            if skipped > 0 {
                warn!("a collection took too long; skipped {skipped} ticks");
            }
        }
        self.manager.stopping();
        Ok(pipeline.shutdown(exporter))
    }
}

/// Releases memory after each collection.
#[derive(Default)]
struct Memory {
    collections: u32,
}

impl Memory {
    /// Number of collections after which startup is over.
    const COLLECTIONS: u32 = 3;

    /// Releases free memory: encoding takes several times the size of the result. After the startup, releases the code
    /// pages that only it needed, including for the first connection.
    fn collected(&mut self) {
        heka_memory::release_free();
        self.collections = self.collections.saturating_add(1);
        if self.collections == Self::COLLECTIONS {
            heka_memory::release_code();
        }
    }
}

/// The delivery that SIGHUP reloads, once it exists.
type Reload = Arc<OnceLock<DeliveryHandle>>;

/// Handles SIGHUP with every exporter, because its default action would end the process.
fn reload_on_hangup(io: &Handle, delivery: Reload) {
    let _inside = io.enter();
    let reload = move || match delivery.get().map(DeliveryHandle::reload) {
        None => info!("SIGHUP: nothing to reload with this exporter"),
        Some(Ok(())) => info!("SIGHUP: reloaded certificates and headers"),
        Some(Err(error)) => warn!("SIGHUP: {error}; keeping the old certificates and headers"),
    };
    match signals::on_hangup(reload) {
        Ok(hangups) => drop(io.spawn(hangups)),
        Err(error) => warn!("SIGHUP cannot be handled ({error})"),
    }
}

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
    use crate::export::config::{OtlpConfig, Protocol, Proxies, Temporality, TlsFiles};
    use crate::host::Roots;
    use crate::metrics::counter::Since;
    use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
    use std::path::Path;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::UNIX_EPOCH;

    use crate::outbox::OutboxExporter;
    use crate::outbox::config::OutboxConfig;
    use crate::test_exporter::Calling;

    /// An exporter that sends the start time and the time of each collection's counters to a channel.
    fn sending(exports: mpsc::Sender<(SystemTime, SystemTime)>) -> Calling {
        Calling::new(move |metrics| {
            let sum =
                metrics.scope_metrics().flat_map(|scope| scope.metrics()).find_map(|metric| match metric.data() {
                    AggregatedMetrics::F64(MetricData::Sum(sum)) => Some((sum.start_time(), sum.time())),
                    _ => None,
                });
            exports.send(sum.unwrap()).unwrap();
        })
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
        thread: thread::JoinHandle<Result<bool, AgentError>>,
    }

    impl Running {
        /// Whether the last flush ended.
        fn end(self) -> bool {
            self.thread.join().unwrap().unwrap()
        }
    }

    fn run(interval: Duration, once: bool) -> Running {
        let wall = Arc::new(Mutex::new(SystemTime::now()));
        let clock = Arc::clone(&wall);
        run_with(interval, once, wall, Box::new(move || *clock.lock().unwrap()))
    }

    fn run_with(interval: Duration, once: bool, wall: Arc<Mutex<SystemTime>>, clock: WallClock) -> Running {
        run_on(server(), interval, once, None, wall, clock)
    }

    fn run_on(
        context: Context,
        interval: Duration,
        once: bool,
        first: Option<Instant>,
        wall: Arc<Mutex<SystemTime>>,
        clock: WallClock,
    ) -> Running {
        let (told, exports) = mpsc::channel();
        let (events, inbox) = mpsc::channel();
        let exporter = sending(told);
        let cadence = Cadence {
            inbox,
            interval,
            first,
            once,
            wall: clock,
            manager: ServiceManager::default(),
            self_report: None,
            delivery: None,
        };
        let shutdowns = exporter.shutdowns();
        let thread = thread::spawn(move || cadence.run(&context, &Resource::builder_empty().build(), &exporter));
        Running { exports, wall, events, shutdowns, thread }
    }

    #[test]
    fn a_wall_clock_that_steps_restarts_the_counters() {
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
        let shutdowns = Arc::clone(&running.shutdowns);
        running.end();
        assert_eq!(shutdowns.load(Ordering::Relaxed), 1, "the exporter outlives its generations");
    }

    #[test]
    fn a_host_that_outgrows_its_instruments_restarts_the_counters_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        let stat = |cpus: usize| {
            let lines = (0..cpus).map(|cpu| format!("cpu{cpu} 1 1 1 1 1 1 1 1 0 0\n"));
            std::fs::write(
                dir.path().join("proc/stat"),
                format!("cpu 9 9 9 9 9 9 9 9 0 0\n{}", lines.collect::<String>()),
            )
        };
        stat(2).unwrap();
        let host = Host::new(&Roots { root: Some(dir.path().to_owned()), ..Roots::default() });
        let options = Options {
            collectors: Some(vec!["cpu".to_owned()]),
            per_cpu: true,
            since: Since::Boot,
            ..Options::default()
        };
        let running = run_on(
            Context { host, options },
            Duration::from_millis(20),
            false,
            None,
            Arc::new(Mutex::new(UNIX_EPOCH)),
            Box::new(SystemTime::now),
        );
        let (first, _) = running.exports.recv().unwrap();
        stat(100).unwrap();
        let (second, time) = running.exports.iter().take(100).find(|(start, _)| *start != first).unwrap();
        assert!(second > first && time >= second);
        assert!(running.exports.iter().take(3).all(|(start, _)| start == second), "there is room now");
        running.events.send(Event::Stop).unwrap();
        assert!(running.end());
    }

    #[test]
    fn a_small_step_back_to_before_the_start_restarts_the_counters() {
        let running = run(Duration::from_millis(20), false);
        let (first, _) = running.exports.recv().unwrap();
        *running.wall.lock().unwrap() -= Duration::from_secs(3);
        let (second, time) = running.exports.iter().take(100).find(|(start, _)| *start != first).unwrap();
        assert!(second > first && time >= second);
        assert_eq!(running.exports.recv().unwrap().0, second, "one step, one new start");
        running.events.send(Event::Stop).unwrap();
        assert!(running.end());
    }

    #[test]
    fn a_small_step_back_to_after_the_start_changes_nothing() {
        let running = run(Duration::from_millis(20), false);
        let (first, _) = running.exports.recv().unwrap();
        *running.wall.lock().unwrap() += Duration::from_secs(3);
        assert!(running.exports.iter().take(3).all(|(start, _)| start == first));
        *running.wall.lock().unwrap() -= Duration::from_secs(2);
        assert!(running.exports.iter().take(3).all(|(start, _)| start == first));
        running.events.send(Event::Stop).unwrap();
        assert!(running.end());
    }

    /// A cadence with a delivery whose sender is alive as long as the runtime.
    fn delivering(outbox: &Path) -> (tokio::runtime::Runtime, OutboxExporter, Cadence, mpsc::Sender<Event>) {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let config = OtlpConfig {
            protocol: Protocol::Grpc,
            endpoint: "http://127.0.0.1:1".to_owned(),
            headers: Vec::new(),
            headers_file: None,
            gzip: false,
            timeout: Duration::from_secs(1),
            proxies: Proxies::default(),
            tls: TlsFiles::default(),
            temporality: Temporality::Cumulative,
        };
        let day = Duration::from_secs(86_400);
        let outbox = OutboxConfig { dir: Some(outbox.to_owned()), max_bytes: 1 << 20, max_age: day };
        let (stop, stopped) = watch::channel(false);
        let handle = runtime.handle().clone();
        let (exporter, delivery) = outbox::start(OsFs, config, &outbox, 1, handle, stopped, Tuning::default()).unwrap();
        drop(stop);
        let (events, inbox) = mpsc::channel();
        let manager = ServiceManager::with_watchdog(Duration::from_millis(20), runtime.handle());
        let cadence = Cadence {
            inbox,
            interval: Duration::from_millis(20),
            first: None,
            once: false,
            wall: Box::new(SystemTime::now),
            manager,
            self_report: None,
            delivery: Some(delivery),
        };
        (runtime, exporter, cadence, events)
    }

    #[test]
    fn the_watchdog_is_fed_only_while_the_sender_lives() {
        let dir = tempfile::tempdir().unwrap();
        let (runtime, _exporter, cadence, _events) = delivering(dir.path());
        let begun = cadence.manager.next_sign();
        assert!(matches!(cadence.wait(Instant::now() + Duration::from_millis(50)), Err(RecvTimeoutError::Timeout)));
        let fed = cadence.manager.next_sign();
        assert!(fed > begun);
        drop(runtime);
        let hour = Duration::from_secs(3_600);
        assert!(matches!(cadence.wait(Instant::now() + hour), Err(RecvTimeoutError::Timeout)), "it waits no longer");
        assert_eq!(cadence.manager.next_sign(), fed);
    }

    #[test]
    fn without_the_sender_the_run_ends_with_an_error_and_the_disk_has_what_waits() {
        let dir = tempfile::tempdir().unwrap();
        let (runtime, exporter, cadence, _events) = delivering(dir.path());
        let delivery = cadence.delivery.clone().unwrap();
        // The runtime is not driven, so the sender lives and sends nothing.
        let run = thread::spawn(move || cadence.run(&server(), &Resource::builder_empty().build(), &exporter));
        let records = || {
            let files = std::fs::read_dir(dir.path()).unwrap().flatten();
            files.filter(|file| file.path().extension().is_some_and(|end| end == "batch")).count()
        };
        while delivery.stats().outbox_batches == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(records(), 0);
        drop(runtime);
        let error = run.join().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "internal error: the sender has ended");
        assert!(records() > 0);
    }

    #[test]
    fn a_stop_collects_a_last_time_and_shuts_the_exporter_down() {
        let running = run(Duration::from_secs(3_600), false);
        running.exports.recv().unwrap();
        running.events.send(Event::Stop).unwrap();
        running.thread.join().unwrap().unwrap();
        assert_eq!(running.exports.iter().count(), 1);
        assert_eq!(running.shutdowns.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn without_the_readers_thread_the_run_ends_with_an_error() {
        let Running { exports, events: _events, thread, .. } = run(Duration::from_millis(20), false);
        exports.recv().unwrap();
        // The exporter panics at the closed channel, and the reader's thread ends.
        drop(exports);
        let error = thread.join().unwrap().unwrap_err();
        assert!(error.to_string().starts_with("collections cannot be made: "), "{error}");
    }

    #[test]
    fn once_is_one_collection_and_no_more() {
        let running = run(Duration::from_secs(3_600), true);
        assert!(running.thread.join().unwrap().unwrap(), "the flush ended");
        assert_eq!(running.exports.iter().count(), 1);
        assert_eq!(running.shutdowns.load(Ordering::Relaxed), 1);
    }
}
