//! An exporter that passes each collection to a function.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, Temporality};

#[derive(Clone)]
pub struct Calling {
    each: Arc<dyn Fn(&ResourceMetrics) + Send + Sync>,
    temporality: Temporality,
    shutdowns: Arc<AtomicU64>,
}

impl Calling {
    pub fn new(each: impl Fn(&ResourceMetrics) + Send + Sync + 'static) -> Self {
        Self { each: Arc::new(each), temporality: Temporality::Cumulative, shutdowns: Arc::default() }
    }

    #[allow(dead_code)] // not by every test
    pub fn temporality(self, temporality: Temporality) -> Self {
        Self { temporality, ..self }
    }

    /// How often it was shut down.
    #[allow(dead_code)] // not by every test
    pub fn shutdowns(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shutdowns)
    }

    /// A reader that collects on request alone.
    #[allow(dead_code)] // not by every test
    pub fn reader(self) -> PeriodicReader<Self> {
        PeriodicReader::builder(self).with_interval(Duration::MAX).build()
    }
}

impl PushMetricExporter for Calling {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        (self.each)(metrics);
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        self.shutdowns.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        self.temporality
    }
}
