//! What the SDK's reader calls: each collection is encoded and pushed to the queue. No network and no disk is waited for.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::account::{Snapshot, Tally};
use super::config::OutboxConfig;
use super::fs::Fs;
use super::moment::Moment;
use super::queue::{Limits, MEMORY_MAX_BYTES, Queue};
use super::sender::Sender;
use super::shared::Shared;
use super::status;
use super::tuning::{STOP_MOST, Tuning};
use super::worker::Worker;
use crate::export::ExportError;
use crate::export::config::OtlpConfig;
use crate::export::encode::{Encoder, count_points};
use crate::export::wire::Wires;

/// Builds the delivery and starts its sender on `runtime`, and its worker where there is a directory, on the file system `fs`.
///
/// `runtime` must be driven by another thread than the one that exports, for as long as the exporter lives. `boot_id` is
/// `/proc/sys/kernel/random/boot_id` as a number, 0 where unknown; it makes the ages of batches exact across restarts of
/// the agent. `stop` turning true announces the end: set it before the meter provider is shut down. The exporter's
/// `shutdown` ends the delivery with or without it, for all clones: whoever rebuilds a meter provider around a clone must
/// not pass the old one's shutdown on.
///
/// # Errors
/// What is wrong with the endpoint, the headers or the certificates, in one line that names the flag; or that there is no
/// thread for the directory.
pub fn start<F: Fs>(
    fs: F,
    otlp: OtlpConfig,
    outbox: &OutboxConfig,
    boot_id: u128,
    runtime: Handle,
    stop: watch::Receiver<bool>,
    tuning: Tuning,
) -> Result<(OutboxExporter, DeliveryHandle), ExportError> {
    let encoder = Encoder::new(&otlp)?;
    let (endpoint, timeout) = (otlp.shown_endpoint(), otlp.timeout);
    let wires = Arc::new(Wires::new(otlp, runtime.clone())?);
    let limits = Limits { max_bytes: outbox.max_bytes, max_age: outbox.max_age };
    // Half of the outbox may travel; the other half takes what comes meanwhile.
    let merge_bytes = tuning.merge_bytes.min(usize::try_from(limits.max_bytes / 2).unwrap_or(usize::MAX));
    let shared = Shared::new(Queue::new(limits, outbox.dir.is_some()));
    if let Some(dir) = outbox.dir.clone() {
        Worker::new(shared.clone(), fs, dir, boot_id)
            .spawn()
            .map_err(|error| ExportError::new(format!("--outbox-dir: no thread for the disk ({error})")))?;
    }
    shared.watch_stop(stop, &runtime);
    let tuning = Tuning { merge_bytes, ..tuning };
    let sender = Sender::new(shared.clone(), wires.clone(), &endpoint, timeout, tuning);
    let task = Arc::new(runtime.spawn(sender.run()));
    let exporter = OutboxExporter { shared: shared.clone(), encoder: Arc::new(encoder), endpoint: endpoint.into() };
    Ok((exporter, DeliveryHandle { shared, wires, task }))
}

/// The default bound of an outbox without a directory.
pub const DEFAULT_MEMORY_BYTES: u64 = MEMORY_MAX_BYTES;

/// The exporter to give to a `PeriodicReader`. Clones share one outbox and one connection.
#[derive(Clone)]
pub struct OutboxExporter {
    shared: Arc<Shared>,
    encoder: Arc<Encoder>,
    endpoint: Arc<str>,
}

/// Looks at the delivery and steers it, from any thread.
#[derive(Clone)]
pub struct DeliveryHandle {
    shared: Arc<Shared>,
    wires: Arc<Wires>,
    task: Arc<JoinHandle<()>>,
}

impl DeliveryHandle {
    /// Delivery now. Does not block.
    pub fn stats(&self) -> Snapshot {
        self.shared.snapshot()
    }

    /// What is lost if the process ends now: batches that are not on disk.
    pub fn unsaved(&self) -> Tally {
        self.shared.lock().queue.close()
    }

    /// Whether the sender lives.
    pub fn is_alive(&self) -> bool {
        !self.task.is_finished()
    }

    /// Reads certificates and headers again and connects again.
    ///
    /// # Errors
    /// What is wrong with them; the old ones stay in use.
    pub fn reload(&self) -> Result<(), ExportError> {
        self.wires.reload()
    }
}

impl PushMetricExporter for OutboxExporter {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let points = count_points(metrics);
        let encoded = self.encoder.encode(metrics).await;
        let wake_worker = {
            let mut state = self.shared.lock();
            match encoded {
                Ok(payload) => state.queue.push(payload, points, &Moment::now()),
                Err(error) => {
                    state.queue.lost_unencoded(points);
                    drop(state);
                    tracing::error!("a collection of {points} data points could not be encoded and is lost: {error}");
                    return Ok(());
                }
            }
            state.queue.to_write(false).is_some()
        };
        self.shared.wake.notify_one();
        // While all is well the disk's thread sleeps.
        if wake_worker {
            self.shared.wake_worker();
        }
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        if let Err(lost) = self.shared.close(timeout, STOP_MOST) {
            status::log_lost_at_end(&self.endpoint, lost, self.shared.lock().queue.on_disk());
        }
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        self.encoder.temporality()
    }
}
