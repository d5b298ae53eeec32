//! Tests of the collectors on fixture hosts, through the SDK: the rules of truth and the golden collections.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // A test may panic.

// The paths under which the examples of CONTRIBUTING.md find these in `src`.
use heka_insights_agent::internals::{host, metrics};
use support::exporter;

mod any_bytes;
mod collect;
mod contributing;
mod cpu_time;
mod disks;
mod every_file;
mod failures;
mod fixture;
mod fuse;
mod golden;
mod hanging;
mod isolation;
mod kernel;
mod log;
mod program;
mod reference;
mod scale;
#[path = "../support/mod.rs"]
mod support;
mod textfile;
mod totals;
#[path = "../support/update.rs"]
mod update;
