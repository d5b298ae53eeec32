//! The endpoint that Prometheus scrapes.
//!
//! | file | contents |
//! |---|---|
//! | [`listen`] | the address, and the sockets that listen on it |
//! | [`server`] | HTTP: paths, gzip, the scrape's timeout, stopping |
//! | [`names`] | the name under which Prometheus stores a metric |
//! | [`text`] | Prometheus' text format |
//!
//! The SDK's reader is the provider's only one: beside a second reader, callbacks would overlap. Names are translated before,
//! by a view, as Prometheus' OTLP receiver translates them. Why the text is written here and not by the library for it:
//! docs/adr/0009-prometheus-text.md.

pub mod listen;
pub mod names;
pub mod server;
pub mod text;

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{InstrumentKind, ManualReader, Pipeline, Temporality};

pub use listen::Listen;

use crate::export::ExportError;

/// The content type of a scrape's answer.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A reader for the SDK, and the text of what it collects.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    reader: Arc<ManualReader>,
    target_info: bool,
}

impl Exposition {
    /// `target_info` is one more series that carries the resource's attributes.
    #[must_use]
    pub fn new(target_info: bool) -> Self {
        Self { reader: Arc::default(), target_info }
    }

    /// Collects once. Every instrument's callback runs on the calling thread.
    ///
    /// # Errors
    /// The SDK's: it has no provider any more.
    pub fn collect(&self) -> Result<Bytes, ExportError> {
        let mut metrics = ResourceMetrics::default();
        self.reader.collect(&mut metrics).map_err(|error| ExportError::new(error.to_string()))?;
        Ok(Bytes::from(text::of(&metrics, self.target_info)))
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
