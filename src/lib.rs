//! heka-insights-agent: a Linux host-metrics agent that speaks OpenTelemetry.
pub mod config;
pub mod outbox;
