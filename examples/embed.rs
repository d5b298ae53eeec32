//! Host metrics in a pipeline of your own: `cargo run --example embed`.
//!
//! The exporter here prints every value; use your own instead, such as one of `opentelemetry-otlp`.

use std::io::Write;
use std::time::Duration;

use heka_insights_agent::HostMetrics;
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let reader = PeriodicReader::builder(Printer).with_interval(Duration::from_secs(10)).build();
    let metrics = HostMetrics::builder().collectors(["cpu", "memory", "disk"])?;
    // The resource is yours: `host.name`, `host.id` and others are attributes of it, and not of each series.
    let resource = Resource::builder().with_attributes(metrics.resource_attributes()).build();
    let provider = SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build();
    metrics.register(&provider.meter("my-program"));
    provider.force_flush()?;
    Ok(())
}

struct Printer;

impl PushMetricExporter for Printer {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let resource: Vec<_> = metrics.resource().iter().map(|(key, value)| format!("{key}={value}")).collect();
        // Not println!: it panics on a closed pipe, which would end the reader's thread.
        let _ = writeln!(std::io::stdout(), "resource{{{}}}", resource.join(","));
        for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
            let values = match metric.data() {
                AggregatedMetrics::F64(data) => values(data),
                AggregatedMetrics::U64(data) => values(data),
                AggregatedMetrics::I64(data) => values(data),
            };
            for (attributes, value) in values {
                let _ = writeln!(std::io::stdout(), "{}{{{attributes}}} {value} {}", metric.name(), metric.unit());
            }
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

fn values<T: Copy + ToString>(data: &MetricData<T>) -> Vec<(String, String)> {
    match data {
        MetricData::Gauge(gauge) => {
            gauge.data_points().map(|p| (text(p.attributes()), p.value().to_string())).collect()
        }
        MetricData::Sum(sum) => sum.data_points().map(|p| (text(p.attributes()), p.value().to_string())).collect(),
        // The collectors have none of these.
        MetricData::Histogram(_) | MetricData::ExponentialHistogram(_) => Vec::new(),
    }
}

fn text<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> String {
    attributes.map(|pair| format!("{}={}", pair.key, pair.value)).collect::<Vec<_>>().join(",")
}
