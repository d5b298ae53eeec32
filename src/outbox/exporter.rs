//! The exporter for the SDK's reader: encodes each collection and pushes it to the queue without waiting for network or
//! disk.

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
use super::opening::OutboxError;
use super::queue::{Limits, Queue};
use super::sender::Sender;
use super::shared::Shared;
use super::status;
use super::tuning::{STOP_MOST, Tuning};
use super::worker::Worker;
use crate::export::ExportError;
use crate::export::config::OtlpConfig;
use crate::export::encode::{Encoder, count_points};
use crate::export::wire::Wires;

/// Starts delivery: the sender on `runtime` and, if there is a directory, its worker on the file system `fs`.
///
/// `runtime` must be driven by a thread other than the exporting one, for as long as the exporter exists. `boot_id` is
/// `/proc/sys/kernel/random/boot_id` as a number, or 0 if unknown; it keeps the ages of batches exact across restarts
/// of the agent. `stop` becoming true announces the end: set it before the meter provider is shut down. The exporter's
/// `shutdown` ends delivery with or without it, for all clones. Code that rebuilds a meter provider around a clone must
/// not forward the old provider's shutdown.
///
/// # Errors
/// An invalid endpoint, header or certificate, in one line that names the flag; or the thread for the directory cannot
/// be started.
pub fn start<F: Fs>(
    fs: F,
    otlp: OtlpConfig,
    outbox: &OutboxConfig,
    boot_id: u128,
    runtime: Handle,
    stop: watch::Receiver<bool>,
    tuning: Tuning,
) -> Result<(OutboxExporter, DeliveryHandle), OutboxError> {
    let encoder = Encoder::new(&otlp)?;
    let (endpoint, timeout) = (otlp.shown_endpoint(), otlp.timeout);
    let wires = Arc::new(Wires::new(otlp, runtime.clone())?);
    let limits = Limits { max_bytes: outbox.max_bytes, max_age: outbox.max_age };
    // Half of the outbox may be in flight; the other half has room for new batches.
    let merge_bytes = tuning.merge_bytes.min(usize::try_from(limits.max_bytes / 2).unwrap_or(usize::MAX));
    let shared = Shared::new(Queue::new(limits, outbox.dir.is_some()));
    if let Some(dir) = outbox.dir.clone() {
        Worker::new(shared.clone(), fs, dir, boot_id).spawn().map_err(OutboxError::Thread)?;
    }
    shared.watch_stop(stop, &runtime);
    let tuning = Tuning { merge_bytes, ..tuning };
    let sender = Sender::new(shared.clone(), wires.clone(), &endpoint, timeout, tuning);
    let task = Arc::new(runtime.spawn(sender.run()));
    let exporter = OutboxExporter { shared: shared.clone(), encoder: Arc::new(encoder), endpoint: endpoint.into() };
    Ok((exporter, DeliveryHandle { shared, wires, task }))
}

/// The exporter for a `PeriodicReader`. Clones share one outbox and one connection.
#[derive(Clone)]
pub struct OutboxExporter {
    shared: Arc<Shared>,
    encoder: Arc<Encoder>,
    endpoint: Arc<str>,
}

/// Inspects and controls delivery from any thread.
#[derive(Clone)]
pub struct DeliveryHandle {
    shared: Arc<Shared>,
    wires: Arc<Wires>,
    task: Arc<JoinHandle<()>>,
}

impl DeliveryHandle {
    /// The current state of delivery. Does not block.
    pub fn stats(&self) -> Snapshot {
        self.shared.snapshot()
    }

    /// Batches that would be lost if the process ended now, because they are not on disk.
    pub fn unsaved(&self) -> Tally {
        self.shared.lock().queue.close()
    }

    /// The reason of the last failed request.
    pub fn last_failure(&self) -> Option<String> {
        self.shared.lock().failure.clone()
    }

    pub fn is_alive(&self) -> bool {
        !self.task.is_finished()
    }

    /// Reloads certificates and headers, then reconnects. Blocks while a file hangs.
    ///
    /// # Errors
    /// Invalid certificates or headers; the previous ones stay in use.
    pub fn reload(&self) -> Result<(), ExportError> {
        self.wires.reload()
    }
}

impl PushMetricExporter for OutboxExporter {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let points = count_points(metrics);
        let encoded = self.encoder.encode(metrics).await;
        // The sender logs the loss.
        let encoded = encoded.inspect_err(|error| tracing::debug!("a collection could not be encoded: {error}"));
        let wake_worker = {
            let mut state = self.shared.lock();
            match encoded {
                Ok(payload) => state.queue.push(payload, points, &Moment::now()),
                Err(_) => state.queue.lost_unencoded(points),
            }
            state.queue.to_write(false).is_some()
        };
        self.shared.wake.notify_one();
        // The disk thread sleeps during normal delivery.
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
            // Not in the call's arguments, where the lock would be held while the line is written.
            let on_disk = self.shared.lock().queue.on_disk();
            status::log_lost_at_end(&self.endpoint, lost, on_disk);
        }
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        self.encoder.temporality()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::encode::tests::broken;
    use crate::outbox::DropReason;
    use opentelemetry::metrics::MeterProvider;
    use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};

    #[test]
    fn a_collection_that_is_not_encoded_is_a_loss_with_a_reason_of_its_own() {
        for fails in [true, false] {
            let limits = Limits { max_bytes: crate::outbox::MEMORY_MAX_BYTES, max_age: Duration::from_secs(60) };
            let shared = Shared::new(Queue::new(limits, false));
            let exporter =
                OutboxExporter { shared: shared.clone(), encoder: Arc::new(broken(fails)), endpoint: "".into() };
            let reader = PeriodicReader::builder(exporter).with_interval(Duration::MAX).build();
            let provider = SdkMeterProvider::builder().with_reader(reader).build();
            let observe = |observer: &dyn opentelemetry::metrics::AsyncInstrument<u64>| observer.observe(1, &[]);
            let _counter = provider.meter("test").u64_observable_counter("test").with_callback(observe).build();
            provider.force_flush().unwrap();
            let stats = shared.snapshot();
            assert_eq!(stats.dropped.get(DropReason::Encoding), Tally { batches: 1, points: 1 }, "fails: {fails}");
            assert_eq!((stats.dropped.total().batches, stats.outbox_batches), (1, 0));
        }
    }
}
