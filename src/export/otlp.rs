//! The live exporter: `opentelemetry-otlp`'s, over a connection and with settings that are ours alone.
//!
//! The library reads `OTEL_EXPORTER_OTLP_*` by itself, and for some settings the environment wins over the code. Ours
//! were merged in [`crate::config`] already (a flag beats a variable), so nothing it reads may count:
//!
//! | setting | how the library's reading is kept out |
//! |---|---|
//! | endpoint, insecure, certificates | it gets a finished channel (gRPC) or the endpoint and client (HTTP) |
//! | protocol, timeout, temporality | given in code; there the code wins |
//! | headers | gRPC: an interceptor, which runs last, *replaces* the metadata. HTTP: our client does it |
//! | compression on | given in code; there the code wins |
//! | compression off | cannot be said in code: where a variable would turn it on, the library is not used and batches go through our own sender ([`Live::Own`]) |

use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderMap;
use opentelemetry_otlp::{
    Compression, MetricExporter, Protocol, RetryPolicy, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::metrics::Temporality;
use tonic::Request;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;

use super::http::HttpSender;
use super::{ExportError, chain, config};
use crate::export::config::OtlpConfig;

/// What carries a batch straight from the reader to the wire.
pub enum Live {
    /// The library's exporter, with its bounded retry for a blip.
    Library(Box<MetricExporter>),
    /// Our own sender, one attempt: what the outbox uses. See the module's table, last row.
    Own,
}

/// The variables by which the library would compress although the configuration says no.
const COMPRESSION_VARIABLES: [&str; 2] = ["OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];

/// The retry of the library covers a blip only: what lasts longer is the outbox's. Two tries more, within about half a
/// second, all of it inside the live export's deadline.
fn blip() -> RetryPolicy {
    RetryPolicy::recommended()
        .with_max_retries(2)
        .with_initial_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_millis(400))
}

/// The live exporter over gRPC.
///
/// # Errors
/// What the library's builder refuses.
pub fn grpc(config: &OtlpConfig, channel: Channel, headers: &HeaderMap) -> Result<Live, ExportError> {
    if environment_would_compress(config) {
        return Ok(Live::Own);
    }
    let metadata = MetadataMap::from_headers(headers.clone());
    let builder = MetricExporter::builder()
        .with_temporality(temporality(config))
        .with_tonic()
        .with_channel(channel)
        .with_timeout(config.timeout)
        .with_retry_policy(blip())
        .with_interceptor(move |mut request: Request<()>| {
            *request.metadata_mut() = metadata.clone();
            Ok(request)
        });
    let builder = if config.gzip { builder.with_compression(Compression::Gzip) } else { builder };
    builder
        .build()
        .map(|exporter| Live::Library(Box::new(exporter)))
        .map_err(|e| ExportError::new(format!("OTLP exporter: {}", chain(&e))))
}

/// The live exporter over HTTP.
///
/// # Errors
/// What the library's builder refuses.
pub fn http(config: &OtlpConfig, sender: Arc<HttpSender>) -> Result<Live, ExportError> {
    if environment_would_compress(config) {
        return Ok(Live::Own);
    }
    let builder = MetricExporter::builder()
        .with_temporality(temporality(config))
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(config.endpoint.clone())
        .with_timeout(config.timeout)
        .with_retry_policy(blip())
        .with_http_client(super::http::LibraryClient(sender));
    let builder = if config.gzip { builder.with_compression(Compression::Gzip) } else { builder };
    builder
        .build()
        .map(|exporter| Live::Library(Box::new(exporter)))
        .map_err(|e| ExportError::new(format!("OTLP exporter: {}", chain(&e))))
}

/// The SDK's word for the configured temporality.
pub fn temporality(config: &OtlpConfig) -> Temporality {
    match config.temporality {
        config::Temporality::Cumulative => Temporality::Cumulative,
        config::Temporality::Delta => Temporality::Delta,
        config::Temporality::LowMemory => Temporality::LowMemory,
    }
}

fn environment_would_compress(config: &OtlpConfig) -> bool {
    !config.gzip
        && COMPRESSION_VARIABLES.iter().any(|name| {
            std::env::var_os(name).is_some_and(|value| !value.is_empty() && !value.eq_ignore_ascii_case("none"))
        })
}
