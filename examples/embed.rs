//! Host metrics in a pipeline of your own: `cargo run --example embed`.
//!
//! The exporter here prints names and the number of series; put your own in its place.

use std::io::Write;
use std::time::Duration;

use heka_insights_agent::HostMetrics;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let reader = PeriodicReader::builder(Names).with_interval(Duration::from_secs(10)).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    HostMetrics::builder().collectors(["cpu", "memory", "disk"])?.register(&provider.meter("my-program"));
    provider.force_flush()?;
    Ok(())
}

struct Names;

impl PushMetricExporter for Names {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
            let series = match metric.data() {
                AggregatedMetrics::F64(data) => count(data),
                AggregatedMetrics::U64(data) => count(data),
                AggregatedMetrics::I64(data) => count(data),
            };
            // Not println!, which panics when nobody reads any more: that would end the reader's thread.
            let _ = writeln!(std::io::stdout(), "{} {} ({series} series)", metric.name(), metric.unit());
        }
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

fn count<T>(data: &MetricData<T>) -> usize {
    match data {
        MetricData::Gauge(gauge) => gauge.data_points().count(),
        MetricData::Sum(sum) => sum.data_points().count(),
        MetricData::Histogram(histogram) => histogram.data_points().count(),
        MetricData::ExponentialHistogram(histogram) => histogram.data_points().count(),
    }
}
