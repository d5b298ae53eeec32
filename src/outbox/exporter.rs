//! What the reader calls: a batch goes out live while all is well, and into the store in every other case.
//!
//! - `export` returns within the live deadline, whatever the server does, and always `Ok`: what was not delivered is kept.
//! - While the store holds anything, new batches queue behind it, so order holds.
//! - After a live export that failed, batches go through the store until the drain has delivered one in less time than the
//!   live deadline. A server that always needs longer than that would else get every batch twice: once by the live try
//!   that was given up, once from the store.
//! - On the stop signal a running export gets a short grace, then its batch is kept; the last collection gets one live try;
//!   `shutdown` gives the drain what is left of [`Tuning::stop_budget`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use prost::Message;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::shared::{Shared, Tuning};
use super::stats::Snapshot;
use super::{Moment, Store, drain};
use crate::export::ExportError;
use crate::export::config::OtlpConfig;
use crate::export::otlp::Live;

/// Builds the delivery chain and starts its background task on `runtime`.
///
/// `runtime` must be driven by another thread than the one that exports, for as long as the exporter lives: a reader's
/// thread waits for it. `live_deadline` bounds one `export` call and belongs well below the interval. `stop` turning true
/// says that the process ends: set it before the meter provider is shut down, so that an export that hangs is cut short.
/// The exporter's `shutdown` ends the delivery with or without it, for all clones: whoever rebuilds a meter provider around
/// a clone must not pass the old one's shutdown on.
///
/// # Errors
/// What is wrong with the endpoint, the headers or the certificates, in one line that names the flag.
pub fn start(
    config: OtlpConfig,
    store: Box<dyn Store>,
    runtime: Handle,
    live_deadline: Duration,
    stop: watch::Receiver<bool>,
    tuning: Tuning,
) -> Result<(OutboxExporter, DeliveryHandle), ExportError> {
    let shared = Arc::new(Shared::new(config, store, runtime.clone(), live_deadline, stop, tuning)?);
    runtime.spawn(drain::run(shared.clone()));
    Ok((OutboxExporter { shared: shared.clone() }, DeliveryHandle { shared }))
}

/// The exporter to give to a `PeriodicReader`. Clones share one outbox and one connection.
#[derive(Clone)]
pub struct OutboxExporter {
    shared: Arc<Shared>,
}

/// Looks at the delivery and steers it, from any thread.
#[derive(Clone)]
pub struct DeliveryHandle {
    shared: Arc<Shared>,
}

impl DeliveryHandle {
    /// Delivery now, for the self-metrics. Does not block.
    pub fn stats(&self) -> Snapshot {
        self.shared.stats.snapshot()
    }

    /// Reads certificates and headers again and connects anew.
    ///
    /// # Errors
    /// What is wrong with them; the old ones stay in use.
    pub fn reload(&self) -> Result<(), ExportError> {
        self.shared.links.reload()
    }
}

/// Why a live export did not deliver.
enum Miss {
    /// It did not finish within this time.
    Deadline(Duration),
    /// The process ends.
    Stopped,
    /// The library's or the sender's words. They are not told: the drain tries the same server next and knows more.
    Failed(String),
}

impl PushMetricExporter for OutboxExporter {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let shared = &*self.shared;
        let stopping = shared.stopping();
        shared.links.refresh(false);
        let points = count_points(metrics);
        let queue = shared.through_store.load(Ordering::Relaxed) || !shared.stats.store_is_empty();
        if !queue {
            match (InRuntime { runtime: shared.runtime.clone(), inner: Box::pin(self.live(metrics, stopping)) }).await {
                Ok(rejected) => {
                    shared.stats.delivered(1, points.into(), rejected, false);
                    return Ok(());
                }
                Err(miss) => self.missed(&miss),
            }
        }
        self.keep(metrics, points);
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let shared = &*self.shared;
        shared.ended.send_replace(true);
        shared.stopping();
        if !shared.stats.store_is_empty() {
            shared.close(timeout.min(shared.drain_left()));
        }
        let mut store = shared.store();
        let lost = store.sync(Moment::now());
        shared.stats.ended(lost.batches);
        shared.stats.store_changed(&**store);
        shared.status.last_word(&store.dropped());
        shared.status.closed(lost, store.len(), store.on_disk());
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        self.shared.temporality
    }
}

impl OutboxExporter {
    /// One bounded try; how many points the server turned down, as far as the library tells.
    async fn live(&self, metrics: &ResourceMetrics, stopping: bool) -> Result<u64, Miss> {
        let shared = &*self.shared;
        let link = shared.links.current();
        let sending = async {
            match &link.live {
                Live::Library(exporter) if !shared.looks().due() => {
                    exporter.export(metrics).await.map(|()| 0).map_err(|e| Miss::Failed(e.to_string()))
                }
                _ => match link.send(encode(metrics).into()).await {
                    Ok(accepted) => {
                        shared.looks().looked(&accepted);
                        shared.status.partial(&accepted, Instant::now());
                        Ok(accepted.rejected)
                    }
                    Err(failure) => Err(Miss::Failed(failure.words)),
                },
            }
        };
        let limit = if stopping { shared.tuning.stop_live.min(shared.budget_left()) } else { shared.live_deadline };
        let interrupted = async {
            if stopping {
                std::future::pending::<()>().await;
            }
            shared.stopped().await;
            tokio::time::sleep(shared.tuning.stop_grace).await;
        };
        tokio::select! {
            biased;
            sent = sending => sent,
            () = tokio::time::sleep(limit) => Err(Miss::Deadline(limit)),
            () = interrupted => Err(Miss::Stopped),
        }
    }

    fn missed(&self, miss: &Miss) {
        let shared = &*self.shared;
        shared.through_store.store(true, Ordering::Relaxed);
        match miss {
            // The server may be well, the drain finds out at once.
            Miss::Stopped => return,
            Miss::Deadline(limit) => {
                let words = format!("no answer within {limit:?}");
                shared.status.failed(&words, Shared::waiting(&**shared.store()), Instant::now());
            }
            Miss::Failed(words) => tracing::debug!("live export failed: {words}"),
        }
        shared.stats.failed();
        shared.live_failed.store(true, Ordering::Relaxed);
    }

    fn keep(&self, metrics: &ResourceMetrics, points: u32) {
        let shared = &*self.shared;
        let payload = encode(metrics);
        let mut store = shared.store();
        store.push(&payload, points, Moment::now());
        shared.stats.store_changed(&**store);
        let dropped = store.dropped();
        drop(store);
        shared.status.lost(&dropped, Instant::now());
        shared.pushed.notify_one();
    }
}

fn encode(metrics: &ResourceMetrics) -> Vec<u8> {
    ExportMetricsServiceRequest::from(metrics).encode_to_vec()
}

fn count_points(metrics: &ResourceMetrics) -> u32 {
    fn of<T>(data: &MetricData<T>) -> usize {
        match data {
            MetricData::Gauge(gauge) => gauge.data_points().count(),
            MetricData::Sum(sum) => sum.data_points().count(),
            MetricData::Histogram(histogram) => histogram.data_points().count(),
            MetricData::ExponentialHistogram(histogram) => histogram.data_points().count(),
        }
    }
    let points: usize = metrics
        .scope_metrics()
        .flat_map(|scope| scope.metrics())
        .map(|metric| match metric.data() {
            AggregatedMetrics::F64(data) => of(data),
            AggregatedMetrics::U64(data) => of(data),
            AggregatedMetrics::I64(data) => of(data),
        })
        .sum();
    u32::try_from(points).unwrap_or(u32::MAX)
}

/// Polls a future inside the runtime: the reader's thread drives exports by a bare executor, under which tokio's timers and
/// sockets panic and the library's retry would put the whole thread to sleep.
struct InRuntime<'a, T> {
    runtime: Handle,
    inner: Pin<Box<dyn Future<Output = T> + Send + 'a>>,
}

impl<T> Future for InRuntime<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        let _inside = this.runtime.enter();
        this.inner.as_mut().poll(cx)
    }
}
