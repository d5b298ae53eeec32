//! The HTTP endpoint for Prometheus.
//!
//! | file | contents |
//! |---|---|
//! | [`listen`] | the listen address and its sockets |
//! | [`server`] | the HTTP server: paths, gzip, scrape timeout, shutdown |
//! | `sending` | the time limit for sending a response |
//! | [`names`] | the name under which Prometheus stores a metric |
//! | `text` | Prometheus' text format |
//!
//! The SDK's reader is the only one of the provider, because the callbacks of two readers would overlap. A view
//! translates the names beforehand, in the way of Prometheus' OTLP receiver. Why `opentelemetry-prometheus` does not
//! produce the text: docs/adr/0009-prometheus-text.md.

pub mod listen;
pub mod names;
mod sending;
pub mod server;
mod text;

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{InstrumentKind, ManualReader, Pipeline, Temporality};

pub use listen::Listen;

use crate::export::ExportError;

/// Content type of the response to a scrape.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A reader for the SDK, which formats what it collects as text.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    reader: Arc<ManualReader>,
    target_info: bool,
}

impl Exposition {
    /// Creates an exposition. `target_info` adds a series with the attributes of the resource.
    #[must_use]
    pub fn new(target_info: bool) -> Self {
        Self { reader: Arc::default(), target_info }
    }

    /// Collects once. All callbacks run on the calling thread.
    ///
    /// # Errors
    /// An error of the SDK: the provider is gone.
    pub fn collect(&self) -> Result<Bytes, ExportError> {
        let mut metrics = ResourceMetrics::default();
        self.reader.collect(&mut metrics).map_err(|error| ExportError::new(error.to_string()))?;
        Ok(Bytes::from(text::page(&metrics, self.target_info)))
    }
}

impl MetricReader for Exposition {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.reader.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.reader.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.reader.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.reader.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, _kind: InstrumentKind) -> Temporality {
        Temporality::Cumulative
    }
}
