//! The HTTP endpoint for Prometheus.
//!
//! | file | contents |
//! |---|---|
//! | [`listen`] | the listen address and its sockets |
//! | [`server`] | the HTTP server: paths, gzip, scrape timeout, shutdown |
//! | `sending` | the time limit for sending a response |
//! | [`names`] | the name under which Prometheus stores a metric |
//!
//! `opentelemetry-prometheus` produces the text. Its reader is the only one of the provider, because the callbacks of
//! two readers would overlap. A view translates the names beforehand, in the way of Prometheus' OTLP receiver, because
//! the library translates some units differently.

pub mod listen;
pub mod names;
mod sending;
pub mod server;

use bytes::Bytes;
use opentelemetry_prometheus::PrometheusExporter;
use prometheus_text::{Registry, TextEncoder};

pub use listen::Listen;

use crate::export::ExportError;

/// Content type of the response to a scrape.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Formats one collection as text.
#[derive(Debug)]
pub struct Exposition {
    registry: Registry,
}

impl Exposition {
    /// Creates an exposition, and the reader to add to the provider. `target_info` adds a series with the attributes of
    /// the resource.
    ///
    /// # Errors
    /// An error of the library.
    pub fn new(target_info: bool) -> Result<(Self, PrometheusExporter), ExportError> {
        let registry = Registry::new();
        let builder = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_counter_suffixes()
            .without_units()
            .scope_info_enabled(false);
        let builder = if target_info { builder } else { builder.without_target_info() };
        let reader = builder.build().map_err(|error| ExportError::new(error.to_string()))?;
        Ok((Self { registry }, reader))
    }

    /// Collects once. All callbacks run on the calling thread.
    ///
    /// # Errors
    /// A metric cannot be formatted as text.
    pub fn collect(&self) -> Result<Bytes, ExportError> {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather());
        text.map(Bytes::from).map_err(|error| ExportError::new(error.to_string()))
    }
}
