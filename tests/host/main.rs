//! The collectors on fixture hosts, through the SDK: every rule of truth by name, and the golden collections.

mod collect;
mod fixture;
mod golden;
mod log;
mod scale;
