//! The collectors on fixture hosts, through the SDK: every rule of truth by name, and the golden collections.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // A test may panic.

mod any_bytes;
mod collect;
mod disks;
mod failures;
mod fixture;
mod golden;
mod isolation;
mod kernel;
mod log;
mod scale;
mod totals;
