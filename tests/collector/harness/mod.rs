//! Test harness: a Collector, an agent, a host with counters that a test changes, and the received points.

mod agent;
mod collector;
mod delivered;
mod host;
mod network;
mod points;
mod process;

use std::time::{Duration, Instant};

pub use agent::Agent;
pub use collector::{Collector, FLUSH, Plan, otlp_grpc};
pub use delivered::{in_order_and_once, no_second_is_missing, waiting};
pub use host::{Host, MINOR_FAULTS, SECTORS_READ, SECTORS_WRITTEN, USER_TICKS, fixture};
pub use network::Network;
pub use points::{Kind, Output, Point, Value, cycles, series, since_epoch};

/// Long enough for anything that happens within a few cycles, on a machine that is busy with other things.
pub const SOON: Duration = Duration::from_secs(60);

/// A second, in the nanoseconds that points are stamped with.
pub const SECOND: u64 = 1_000_000_000;

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Waits for `look` to find something. The failure message names `what` if it does not come within `limit`.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::sleep(LOOK);
    }
}
