//! Host metrics under the unchanged gRPC exporter of `opentelemetry-otlp`: `cargo run --example otlp -- http://localhost:4317`.
//!
//! The library retries for a few seconds and keeps nothing longer: the agent's outbox is not part of the collectors.

use heka_insights_agent::HostMetrics;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_otlp::{MetricExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "http://localhost:4317".to_owned());
    // The exporter's connection needs a runtime that runs while the reader's own thread exports.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _runtime = runtime.enter();
    let exporter = MetricExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    let reader = PeriodicReader::builder(exporter).build();
    let metrics = HostMetrics::builder();
    let resource = Resource::builder().with_attributes(metrics.resource_attributes()).build();
    let provider = SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build();
    metrics.register(&provider.meter("my-program"));
    provider.force_flush()?;
    provider.shutdown()?;
    Ok(())
}
