//! heka-insights-agent: a Linux host-metrics agent that speaks OpenTelemetry.
pub mod block;
pub mod collectors;
pub mod config;
pub mod host;
pub mod mounts;
pub mod naming;
pub mod parse;
pub mod sockets;
pub mod space;
pub mod total;
