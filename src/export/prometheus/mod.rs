//! The endpoint that Prometheus scrapes.
//!
//! | file | contents |
//! |---|---|
//! | [`listen`] | the address, and the sockets that listen on it |
//! | [`server`] | HTTP: paths, gzip, the scrape's timeout, stopping |
//! | [`names`] | the name under which Prometheus stores a metric |
//!
//! The text is made by `opentelemetry-prometheus`, whose reader is the provider's only one: beside a second reader,
//! callbacks would overlap. Names are translated before, by a view, as Prometheus' OTLP receiver translates them: the
//! library differs from it in some units.

pub mod listen;
pub mod names;
pub mod server;

use bytes::Bytes;
use opentelemetry_prometheus::PrometheusExporter;
use prometheus_text::{Registry, TextEncoder};

pub use listen::Listen;

use crate::export::ExportError;

/// The content type of a scrape's answer.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Makes the text of one collection.
#[derive(Debug)]
pub struct Exposition {
    registry: Registry,
}

impl Exposition {
    /// An exposition, and the reader of the provider whose metrics it shows. `target_info` is one more series that
    /// carries the resource's attributes.
    ///
    /// # Errors
    /// The library's own.
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

    /// Collects once. Every instrument's callback runs on the calling thread.
    ///
    /// # Errors
    /// Where a metric cannot be written as text.
    pub fn collect(&self) -> Result<Bytes, ExportError> {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather());
        text.map(Bytes::from).map_err(|error| ExportError::new(error.to_string()))
    }
}
