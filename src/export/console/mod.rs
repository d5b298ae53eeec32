//! Console output: a table for people, or one JSON object per collection for programs.

pub mod human;
pub mod json;
pub mod series;
pub mod table;
mod top;
pub mod view;

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;

use crate::metrics::naming::Naming;
use series::{History, Tables};
use view::View;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table; from the second collection on, it shows rates beside the totals.
    Table,
    /// One JSON object per collection, in one line.
    Json,
}

/// How collections are printed.
pub struct Layout {
    pub format: Format,
    pub naming: Naming,
    pub tables: Tables,
    /// Time until the next collection, if there is one.
    pub interval: Option<Duration>,
    /// Returns the size of the output. Called for each table, because a terminal can be resized.
    pub view: Box<dyn Fn() -> View + Send + Sync>,
}

/// Prints each collection. Clones share one output.
#[derive(Clone)]
pub struct ConsoleExporter {
    layout: Arc<Layout>,
    shared: Arc<Mutex<Shared>>,
    closed: Arc<dyn Fn(&io::Error) + Send + Sync>,
}

struct Shared {
    output: Box<dyn Write + Send>,
    history: History,
}

impl ConsoleExporter {
    /// Prints to `output`. If a write fails, calls `closed` with the error.
    pub fn new(
        layout: Layout,
        output: Box<dyn Write + Send>,
        closed: impl Fn(&io::Error) + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Mutex::new(Shared { output, history: History::default() }));
        Self { layout: Arc::new(layout), shared, closed: Arc::new(closed) }
    }

    fn print(&self, metrics: &ResourceMetrics) -> io::Result<()> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let collection = shared.history.take(metrics, self.layout.naming, &self.layout.tables);
        let text = match self.layout.format {
            Format::Table => {
                let view = (self.layout.view)();
                let lines = table::render(&collection, view, self.layout.interval);
                view.write(&lines, collection.elapsed.is_none())
            }
            Format::Json => json::render(&collection),
        };
        shared.output.write_all(text.as_bytes())?;
        shared.output.flush()
    }
}

impl PushMetricExporter for ConsoleExporter {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.print(metrics).map_err(|error| {
            (self.closed)(&error);
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
