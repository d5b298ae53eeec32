//! Metrics as data: names in each naming profile, kernel counters, parsing, filters.

pub mod counter;
#[warn(missing_docs)]
pub mod filter;
pub mod naming;
pub mod parse;
