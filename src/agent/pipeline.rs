//! One pipeline of the SDK: resource → meter provider → reader → exporter, and the collectors that feed it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{
    Instrument, InstrumentKind, PeriodicReader, SdkMeterProvider, Stream, StreamBuilder, Temporality,
};
use tracing::warn;

use crate::agent::self_metrics::{self, SelfMetrics, Timer};
use crate::collectors::limit::Limits;
use crate::collectors::{self, Context, Registered};
use crate::export::prometheus::names::prometheus_name;
use crate::host::identity::SCHEMA_URL;
use crate::metrics::naming::{Detail, Kind};
use crate::outbox::{DeliveryHandle, STOP_MOST};

/// Instrumentation scope of the host metrics.
pub const SCOPE: &str = env!("CARGO_PKG_NAME");

/// Interval of the SDK's reader. Its own timer is not used, because it drifts by a wake-up delay per cycle, has no
/// phase, and makes up for missed ticks. See docs/adr/0001-cadence.md.
const READER_INTERVAL: Duration = Duration::MAX;

pub struct SelfReport {
    pub delivery: DeliveryHandle,
    pub detail: Detail,
}

fn meter(provider: &SdkMeterProvider, scope: &'static str) -> Meter {
    let scope =
        InstrumentationScope::builder(scope).with_version(env!("CARGO_PKG_VERSION")).with_schema_url(SCHEMA_URL);
    provider.meter_with_scope(scope.build())
}

/// Creates a provider for the Prometheus reader, with its collectors. Each metric of their tables has the name that
/// Prometheus would give it if it were received over OTLP.
pub fn scraped(
    context: &Context,
    resource: &Resource,
    reader: impl MetricReader,
    self_metrics: Option<Detail>,
    limits: &Limits,
) -> (SdkMeterProvider, Registered) {
    let limit = limits.clone();
    let renamed = move |instrument: &Instrument| {
        let kind = match instrument.kind() {
            InstrumentKind::Counter | InstrumentKind::ObservableCounter => Kind::Counter,
            InstrumentKind::UpDownCounter | InstrumentKind::ObservableUpDownCounter => Kind::UpDownCounter,
            _ => Kind::Gauge,
        };
        let translated = || prometheus_name(instrument.name(), instrument.unit(), kind);
        let name = limit.given_name().unwrap_or_else(translated);
        Stream::builder().with_name(name).with_cardinality_limit(limit.next()).build().ok()
    };
    let provider =
        SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(reader).with_view(renamed).build();
    let naming = context.options.naming;
    let own = self_metrics
        .map(|detail| SelfMetrics::new(meter(&provider, self_metrics::SCOPE), &Timer::default(), naming, detail))
        .map(SelfMetrics::with_outcomes);
    let registered = collectors::register_within(&meter(&provider, SCOPE), context, limits);
    if let Some(own) = own {
        own.watch_collectors(&registered);
    }
    (provider, registered)
}

/// One meter provider and the collectors that feed it. It is replaced when the wall clock steps, because the start time
/// of its counters cannot be changed.
pub struct Pipeline {
    provider: SdkMeterProvider,
    registered: Registered,
    muted: Arc<AtomicBool>,
    /// Set when a collection reaches the exporter.
    collected: Arc<AtomicBool>,
}

impl Pipeline {
    /// Takes the baselines and creates the instruments; `self_report` adds the self-metrics.
    pub fn new<E>(
        context: &Context,
        resource: &Resource,
        exporter: &E,
        self_report: Option<&SelfReport>,
        limits: &Limits,
    ) -> Self
    where
        E: PushMetricExporter + Clone,
    {
        let limit = limits.clone();
        let (muted, collected) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let timer = Timer::default();
        let exporter = MuteSwitch {
            exporter: exporter.clone(),
            muted: Arc::clone(&muted),
            collected: Arc::clone(&collected),
            timer: timer.clone(),
        };
        let provider = SdkMeterProvider::builder()
            .with_resource(resource.clone())
            .with_reader(PeriodicReader::builder(exporter).with_interval(READER_INTERVAL).build())
            .with_view(move |_: &Instrument| {
                let stream = Stream::builder().with_cardinality_limit(limit.next());
                limit.given_name().into_iter().fold(stream, StreamBuilder::with_name).build().ok()
            })
            .build();
        // Self-metrics are registered before and after the collectors: the collection time starts at the first
        // callback.
        let own = self_report.map(|report| {
            SelfMetrics::new(meter(&provider, self_metrics::SCOPE), &timer, context.options.naming, report.detail)
        });
        let registered = collectors::register_within(&meter(&provider, SCOPE), context, limits);
        if let (Some(own), Some(report)) = (own, self_report) {
            let delivery = report.delivery.clone();
            own.watch_collectors(&registered);
            own.watch_delivery(move || delivery.stats());
        }
        Self { provider, registered, muted, collected }
    }

    /// Collects and exports once. Returns when the exporter has accepted the collection.
    ///
    /// # Errors
    /// The reader's thread does not exist: it was not started, or it has ended. Errors of an exporter that prints are
    /// not reported here; such an exporter stops the run through its callback.
    pub fn collect(&self) -> OTelSdkResult {
        let flushed = self.provider.force_flush();
        self.registered.discover();
        match flushed {
            Err(error) if !self.collected.swap(false, Ordering::Relaxed) => Err(error),
            _ => {
                self.collected.store(false, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Whether the last collection dropped series because of the cardinality limit.
    pub fn outgrown(&self) -> bool {
        self.registered.outgrown()
    }

    /// Suppresses further exports: the SDK collects once more when a provider is shut down.
    pub fn mute(&self) {
        self.muted.store(true, Ordering::Relaxed);
    }

    /// Collects and flushes a last time, on a separate thread so that the time is limited. Returns whether it
    /// completed.
    pub fn shutdown<E: PushMetricExporter + Clone>(self, exporter: &E) -> bool {
        let (done, finished) = mpsc::channel();
        let exporter = exporter.clone();
        let flush = move || {
            let _ = self.provider.shutdown();
            // A muted pipeline does not forward the shutdown.
            if self.muted.load(Ordering::Relaxed) {
                let _ = exporter.shutdown();
            }
            let _ = done.send(());
        };
        if let Err(error) = thread::Builder::new().name("shutdown".to_owned()).spawn(flush) {
            warn!("cannot start a thread for the last flush ({error})");
            return false;
        }
        let ended = finished.recv_timeout(STOP_MOST).is_ok();
        if !ended {
            warn!("the last flush did not end within {STOP_MOST:?}");
        }
        ended
    }
}

/// The shared exporter as one pipeline sees it: exports are suppressed when muted.
struct MuteSwitch<E> {
    exporter: E,
    muted: Arc<AtomicBool>,
    collected: Arc<AtomicBool>,
    timer: Timer,
}

impl<E: PushMetricExporter> PushMetricExporter for MuteSwitch<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.timer.collected();
        self.collected.store(true, Ordering::Relaxed);
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
