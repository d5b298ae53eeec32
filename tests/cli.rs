//! Tests of the program as run by a person or a service manager: exit codes, messages, the console.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // A test may panic.

#[path = "cli/run.rs"]
mod run;

#[path = "cli/console.rs"]
mod console;
#[path = "cli/environment.rs"]
mod environment;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/usage.rs"]
mod usage;
