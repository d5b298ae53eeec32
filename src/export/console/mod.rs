//! The console: each cycle a table for people, or one JSON object for programs.

pub mod human;
pub mod json;
pub mod series;
pub mod table;

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;

use series::History;

/// Table or JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table that people can read, with rates beside the totals from the second cycle on.
    Table,
    /// One JSON object a cycle, in one line.
    Json,
}

/// Prints each collection. Clones share one output.
#[derive(Clone)]
pub struct ConsoleExporter {
    format: Format,
    shared: Arc<Mutex<Shared>>,
    closed: Arc<dyn Fn() + Send + Sync>,
}

struct Shared {
    output: Box<dyn Write + Send>,
    history: History,
}

impl ConsoleExporter {
    /// Prints to `output`; calls `closed` when nobody reads it any more.
    pub fn new(format: Format, output: Box<dyn Write + Send>, closed: impl Fn() + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Mutex::new(Shared { output, history: History::default() }));
        Self { format, shared, closed: Arc::new(closed) }
    }

    fn print(&self, metrics: &ResourceMetrics) -> io::Result<()> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let collection = shared.history.take(metrics);
        let text = match self.format {
            Format::Table => table::render(&collection),
            Format::Json => json::render(&collection),
        };
        shared.output.write_all(text.as_bytes())?;
        shared.output.flush()
    }
}

impl PushMetricExporter for ConsoleExporter {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.print(metrics).map_err(|error| {
            (self.closed)();
            OTelSdkError::InternalFailure(error.to_string())
        })
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
