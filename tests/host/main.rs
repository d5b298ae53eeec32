//! The collectors on fixture hosts, through the SDK: every rule of truth by name, and the golden collections.

mod collect;
mod disks;
mod failures;
mod fixture;
mod golden;
mod isolation;
mod log;
mod scale;
mod totals;
