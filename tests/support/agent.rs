//! A minimal agent: a real meter provider with one observable counter, a real reader, and the delivery under test. The
//! reader's interval is an hour; a test triggers each collection.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use heka_insights_agent::internals::export::config::{OtlpConfig, Protocol, Proxies, Temporality, TlsFiles};
use heka_insights_agent::internals::outbox::OutboxError;
use heka_insights_agent::internals::outbox::config::OutboxConfig;
use heka_insights_agent::internals::outbox::fs::{Fs, OsFs};
use heka_insights_agent::internals::outbox::{self, DeliveryHandle, Tuning};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::{Instrument, PeriodicReader, SdkMeterProvider, Stream};
use tokio::sync::{oneshot, watch};

pub fn config(endpoint: impl Into<String>) -> OtlpConfig {
    let endpoint = endpoint.into();
    OtlpConfig {
        protocol: if endpoint.ends_with("/v1/metrics") { Protocol::HttpProtobuf } else { Protocol::Grpc },
        endpoint,
        headers: Vec::new(),
        headers_file: None,
        gzip: false,
        timeout: Duration::from_secs(10),
        tls: TlsFiles::default(),
        proxies: Proxies::default(),
        temporality: Temporality::Cumulative,
    }
}

/// Waits short enough that a test does not feel them.
pub fn quick() -> Tuning {
    Tuning {
        backoff_base: Duration::from_millis(5),
        backoff_cap: Duration::from_millis(20),
        resume_within: Duration::from_millis(5),
        ..Tuning::default()
    }
}

pub fn memory(max_bytes: u64) -> OutboxConfig {
    OutboxConfig { dir: None, max_bytes, max_age: Duration::from_secs(86_400) }
}

pub fn on_disk(dir: &Path) -> OutboxConfig {
    OutboxConfig { dir: Some(dir.into()), ..memory(1 << 20) }
}

pub struct Agent {
    pub handle: DeliveryHandle,
    provider: SdkMeterProvider,
    value: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    end: Option<oneshot::Sender<()>>,
    runtime: Option<JoinHandle<()>>,
}

pub struct Setup {
    pub outbox: OutboxConfig,
    pub tuning: Tuning,
    /// Points in each collection.
    pub series: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self { outbox: memory(4 << 20), tuning: quick(), series: 1 }
    }
}

impl Agent {
    pub fn start(config: OtlpConfig) -> Self {
        Self::with(config, Setup::default()).unwrap()
    }

    /// Waits longer for an answer than any test runs, and hardly at its end.
    pub fn patient(config: OtlpConfig) -> Self {
        let config = OtlpConfig { timeout: Duration::from_secs(3_600), ..config };
        let tuning = Tuning { stop_send: Duration::from_millis(5), stop_budget: Duration::from_millis(5), ..quick() };
        Self::with(config, Setup { tuning, ..Setup::default() }).unwrap()
    }

    pub fn with(config: OtlpConfig, setup: Setup) -> Result<Self, OutboxError> {
        Self::with_fs(OsFs, config, setup)
    }

    pub fn with_fs<F: Fs>(fs: F, config: OtlpConfig, setup: Setup) -> Result<Self, OutboxError> {
        super::log::capture();
        let runtime = super::grpc::runtime();
        let (stop, stopped) = watch::channel(false);
        let handle = runtime.handle().clone();
        let (exporter, handle) = outbox::start(fs, config, &setup.outbox, 1, handle, stopped, setup.tuning)?;
        let (end, ended) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let _ = runtime.block_on(ended);
        });
        let reader = PeriodicReader::builder(exporter).with_interval(Duration::from_secs(3600)).build();
        let view = move |_: &Instrument| Stream::builder().with_cardinality_limit(setup.series + 1).build().ok();
        let provider = SdkMeterProvider::builder().with_reader(reader).with_view(view).build();
        let value = Arc::new(AtomicU64::new(0));
        let observed = value.clone();
        provider
            .meter("test")
            .u64_observable_counter("test.ticks")
            .with_callback(move |observer| {
                let value = observed.load(Ordering::SeqCst);
                if setup.series == 1 {
                    return observer.observe(value, &[]);
                }
                for n in 0..setup.series {
                    observer.observe(value, &[KeyValue::new("series", format!("a series with the number {n:08}"))]);
                }
            })
            .build();
        Ok(Self { handle, provider, value, stop, end: Some(end), runtime: Some(thread) })
    }

    /// Collects once, with the counter one higher; returns its value.
    pub fn tick(&self) -> u64 {
        let value = self.value.fetch_add(1, Ordering::SeqCst) + 1;
        // Ok even when nothing was delivered: the batch is kept.
        self.provider.force_flush().unwrap();
        value
    }

    pub fn ticks(&self, n: usize) -> u64 {
        (0..n).fold(0, |_, _| self.tick())
    }

    /// Collects, and waits until nothing waits any more.
    pub fn tick_through(&self) -> u64 {
        let value = self.tick();
        self.emptied();
        value
    }

    pub fn emptied(&self) {
        super::eventually("an empty outbox", || self.handle.stats().outbox_batches == 0);
    }

    /// As the agent does on SIGTERM; the last collection has one more value.
    pub fn stop(mut self) -> (u64, Duration) {
        let value = self.value.fetch_add(1, Ordering::SeqCst) + 1;
        let began = Instant::now();
        self.stop.send_replace(true);
        self.provider.shutdown().unwrap();
        let took = began.elapsed();
        self.end();
        (value, took)
    }

    /// A shutdown that no stop signal announced.
    pub fn shut_down(mut self) -> u64 {
        let value = self.value.fetch_add(1, Ordering::SeqCst) + 1;
        self.provider.shutdown().unwrap();
        self.end();
        value
    }

    fn end(&mut self) {
        drop(self.end.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.join().unwrap();
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        let _ = self.provider.shutdown();
        self.end();
    }
}
