//! The agent against a real OpenTelemetry Collector: what it sends is what arrives.
//!
//! `tests/collector/run` builds the Collector and runs these; plain `cargo test` leaves them out. Each test has a
//! Collector, an agent and a directory of its own, on ports of its own, so they run side by side.
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
