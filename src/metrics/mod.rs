//! Metrics as data: names in each naming profile, kernel counters, parsing, filters.

pub mod counter;
pub mod filter;
pub mod naming;
pub mod parse;
