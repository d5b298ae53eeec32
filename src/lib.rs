//! heka-insights-agent: a Linux host-metrics agent that speaks OpenTelemetry.
pub mod agent;
pub mod block;
pub mod cadence;
pub mod cli;
pub mod collectors;
pub mod config;
pub mod export;
pub mod host;
pub mod log;
pub mod naming;
pub mod outbox;
pub mod parse;
pub mod program;
pub mod resource;
pub mod settings;
pub mod signals;
pub mod total;
