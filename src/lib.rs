//! heka-insights-agent: a Linux host-metrics agent that speaks OpenTelemetry, and the same collectors for other programs.
//!
//! Data flows one way:
//!
//! ```text
//! /proc, /sys → collectors → instruments → reader → exporter → outbox → backend
//! ```
//!
//! A collector knows nothing of exporters; an exporter knows nothing of procfs. The folders:
//!
//! | folder | contents |
//! |---|---|
//! | `program.rs` | from the command line to the exit code |
//! | `agent/` | the cadence, the SDK's pipeline, signals, systemd, logging, `check`, metrics about the agent |
//! | `config/` | flags, environment variables and `.env`, resolved into one validated `Config` |
//! | `outbox/` | undelivered batches, in memory or on disk |
//! | `export/` | OTLP over gRPC and HTTP, verdicts on a server's answers, Prometheus, the console |
//! | `collectors/` | the trait, the list, registration, and one file or folder per collector |
//! | `host/` | the only code that opens `/proc`, `/sys` and `/etc`: roots, sources, block devices, mounts, identity |
//! | `metrics/` | metrics as data in each naming profile, kernel counters, parsing, filters |
//!
//! A folder imports only from folders after it in this list: `program`, `agent`, `config`, `outbox`, `export`, `collectors`,
//! `host`, `metrics`. `export` imports neither `collectors` nor `host`. `tests/docs` holds the code to this.
//!
//! To add a collector, write one file in `collectors/` and one line in its list. To add a metric, write one row in the
//! collector's table and one arm in `observe`. CONTRIBUTING.md has an example.
//!
//! To embed the collectors in another program, start at [`HostMetrics`]. Without the feature `agent` (a default), the crate
//! is the collectors alone and needs no HTTP, TLS, command line or log subscriber.

// The agent uses parts that the collectors alone do not.
#![cfg_attr(not(feature = "agent"), allow(dead_code))]
// `internals` makes every item public for the compiler. Only the interface for other programs has to document each item;
// `warn(missing_docs)` marks its parts. Elsewhere, comments say what the names do not.
#![allow(missing_docs)]

#[cfg(feature = "agent")]
mod agent;
mod collectors;
#[cfg(feature = "agent")]
mod config;
#[cfg(feature = "agent")]
mod export;
mod host;
mod metrics;
#[cfg(feature = "agent")]
mod outbox;
#[cfg(feature = "agent")]
pub mod program;

#[cfg(test)]
#[path = "../tests/support/exporter.rs"]
mod test_exporter;

pub use collectors::host_metrics::{HostMetrics, HostMetricsBuilder, UnknownCollector};
pub use collectors::{CollectorStats, DiskScope, Registered};
pub use metrics::counter::Since;
pub use metrics::filter::Filter;
pub use metrics::naming::{Detail, Naming};

/// The private modules, for this project's own tests and benchmarks. Not part of the public interface: no version keeps
/// it stable.
#[doc(hidden)]
pub mod internals {
    #[cfg(feature = "agent")]
    pub mod agent {
        pub use crate::agent::*;
    }
    pub mod collectors {
        pub use crate::collectors::*;
    }
    #[cfg(feature = "agent")]
    pub mod config {
        pub use crate::config::*;
    }
    #[cfg(feature = "agent")]
    pub mod export {
        pub use crate::export::*;
    }
    pub mod host {
        pub use crate::host::*;
    }
    pub mod metrics {
        pub use crate::metrics::*;
    }
    #[cfg(feature = "agent")]
    pub mod outbox {
        pub use crate::outbox::*;
    }
}
