//! Encodes a collection with `opentelemetry-otlp`'s exporter. The HTTP client passed to the library only stores the
//! encoded request and reports success at once, so the library's own retry never runs.
//!
//! The library reads `OTEL_EXPORTER_OTLP_*`, but none of these variables affects what is sent: only the body of the
//! library's request is used, the endpoint is a placeholder, temporality and protocol are set in code, and the
//! compression variable has no effect without the feature `gzip-http`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{MetricExporter, Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;

use super::config::{self, OtlpConfig};
use super::{ExportError, chain};

/// Never connected to.
const PLACEHOLDER: &str = "http://localhost/v1/metrics";

/// Limit for the library's retry, which the client above never triggers.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Encodes collections as `ExportMetricsServiceRequest`.
pub struct Encoder {
    exporter: MetricExporter,
    slot: Slot,
}

#[derive(Clone, Debug, Default)]
struct Slot(Arc<Mutex<Option<Bytes>>>);

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Option<Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl HttpClient for Slot {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        *self.lock() = Some(request.into_body());
        Ok(Response::new(Bytes::new()))
    }
}

impl Encoder {
    /// Builds the library's exporter with the storing HTTP client.
    ///
    /// # Errors
    /// The error of the library's builder.
    pub fn new(config: &OtlpConfig) -> Result<Self, ExportError> {
        let slot = Slot::default();
        Self::with_client(temporality(config), slot.clone(), slot)
    }

    fn with_client(
        temporality: Temporality,
        client: impl HttpClient + 'static,
        slot: Slot,
    ) -> Result<Self, ExportError> {
        let exporter = MetricExporter::builder()
            .with_temporality(temporality)
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(PLACEHOLDER)
            .with_timeout(TIMEOUT)
            .with_max_request_body_size(usize::MAX)
            .with_http_client(client)
            .build()
            .map_err(|e| ExportError::new(format!("OTLP exporter: {}", chain(&e))))?;
        Ok(Self { exporter, slot })
    }

    /// Encodes a collection.
    ///
    /// # Errors
    /// The library's error; the collection is lost.
    pub async fn encode(&self, metrics: &ResourceMetrics) -> Result<Bytes, String> {
        let exported = self.exporter.export(metrics).await;
        let body = self.slot.lock().take();
        exported.map_err(|e| e.to_string())?;
        body.ok_or_else(|| "the exporter encoded nothing".to_owned())
    }

    /// The temporality that the reader must use.
    pub fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

fn temporality(config: &OtlpConfig) -> Temporality {
    match config.temporality {
        config::Temporality::Cumulative => Temporality::Cumulative,
        config::Temporality::Delta => Temporality::Delta,
        config::Temporality::LowMemory => Temporality::LowMemory,
    }
}

pub fn count_points(metrics: &ResourceMetrics) -> u32 {
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A client that stores nothing and reports success or an error.
    #[derive(Debug)]
    struct Broken {
        fails: bool,
    }

    #[async_trait::async_trait]
    impl HttpClient for Broken {
        async fn send_bytes(&self, _request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
            if self.fails { Err("a fault that the test wants".into()) } else { Ok(Response::new(Bytes::new())) }
        }
    }

    /// An encoder that fails, with an error of the library or without one.
    pub(crate) fn broken(fails: bool) -> Encoder {
        Encoder::with_client(Temporality::Cumulative, Broken { fails }, Slot::default()).unwrap()
    }
}
