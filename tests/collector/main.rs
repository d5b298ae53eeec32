//! Tests of the agent with a real OpenTelemetry Collector: the received data must equal the sent data.
//!
//! `tests/collector/run` builds the Collector and runs these tests; plain `cargo test` skips them. Each test has its
//! own Collector, agent, directory and ports, so they run in parallel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]

#[allow(dead_code)] // what the in-process servers need of it
#[path = "../support/certs.rs"]
mod certs;
mod harness;
#[path = "../support/manual.rs"]
mod manual;

mod arrival;
mod cadence;
mod fleet;
mod network;
mod outages;
mod parity;
mod restarts;
mod shipped;
mod sizes;
mod stopping;
mod tls;
mod transports;
