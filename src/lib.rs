//! heka-insights-agent: a Linux host-metrics agent that speaks OpenTelemetry, and the same collectors for other programs.
//!
//! Data flows one way:
//!
//! ```text
//! /proc, /sys → collectors → instruments → reader → outbox exporter ─→ OTLP
//!     host      collectors    the SDK       agent        outbox   └→ store → drain ─→ OTLP
//! ```
//!
//! A collector knows nothing of exporters; an exporter knows nothing of procfs.
//!
//! | room | what is in it |
//! |---|---|
//! | [`program`] | from the command line to the exit code |
//! | [`cli`], [`settings`], [`config`] | flags as text; where a setting comes from; all of them validated |
//! | [`agent`] | keeps the cadence until told to stop, then flushes |
//! | [`generation`] | one run of the SDK: resource → meter provider → reader → exporter |
//! | [`cadence`] | when to collect, and whether the wall clock was set meanwhile |
//! | [`resource`] | who this host is |
//! | [`host`] | the only place that knows where `/proc`, `/sys` and `/etc` are; one read per file per collection |
//! | [`block`] | which disks are whole and physical |
//! | [`mounts`], [`space`] | which mounts are disk-backed, one per device; how full they are, without waiting for one that hangs |
//! | [`sockets`] | how many sockets are in each state |
//! | [`parse`], [`total`] | bytes into numbers; a kernel counter made into a total that never goes back |
//! | [`naming`], [`docs`] | metrics as data, in two naming profiles; the document made from them |
//! | [`collectors`] | the families: a file each, and the list |
//! | [`export`] | the ways out: OTLP over gRPC or HTTP, the console |
//! | [`outbox`] | what an outage must not lose |
//! | [`self_metrics`] | what the agent says about itself: is it working, what does it cost, what has it lost |
//! | [`check`] | what works on this host, what is missing and what to do |
//! | [`log`], [`fault`], [`signals`], [`systemd`] | the program's own words, panics among them; what steers it; word to the service manager |
//! | [`host_metrics`] | the collectors for other programs |
//!
//! To add a collector, write one file in `collectors` and one line in its list. To add a metric, one row in its
//! family's table and one arm in `observe`. CONTRIBUTING.md walks through an example.
//!
//! To embed the collectors, start at [`HostMetrics`].

pub mod agent;
pub mod block;
pub mod cadence;
pub mod check;
pub mod cli;
pub mod collectors;
pub mod config;
pub mod docs;
pub mod export;
pub mod fault;
pub mod generation;
pub mod host;
pub mod host_metrics;
pub mod log;
pub mod mounts;
pub mod naming;
pub mod outbox;
pub mod parse;
pub mod program;
pub mod resource;
pub mod self_metrics;
pub mod settings;
pub mod signals;
pub mod sockets;
pub mod space;
pub mod systemd;
pub mod total;

pub use host_metrics::{HostMetrics, HostMetricsBuilder, UnknownCollector};
