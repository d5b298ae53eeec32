//! Word to the service manager: ready, alive, stopping (sd_notify(3)). Silent where there is none.
//!
//! The watchdog must notice a stuck collection and a stuck runtime alike. So the cadence asks for a sign of life whenever
//! it is waiting for its tick, never while it collects, and the runtime's thread is the one that sends it: a sign means
//! that both went round.

use std::cell::Cell;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::runtime::Handle;
use tracing::warn;

/// Of the manager's limit: after this part a sign is sent along with a tick, and after the other part without one.
const WITH_A_TICK: u32 = 4;
const AT_THE_LATEST: u32 = 2;

/// The service manager, as the cadence talks to it.
#[derive(Debug, Default)]
pub struct ServiceManager {
    present: bool,
    watchdog: Option<Watchdog>,
}

#[derive(Debug)]
struct Watchdog {
    /// The longest silence that the manager takes.
    limit: Duration,
    last: Cell<Instant>,
    runtime: Handle,
}

impl ServiceManager {
    /// The manager that the environment names (`NOTIFY_SOCKET`, `WATCHDOG_USEC`), if any.
    #[must_use]
    pub fn from_environment(runtime: &Handle) -> Self {
        let watchdog = |limit| Watchdog { limit, last: Cell::new(Instant::now()), runtime: runtime.clone() };
        Self { present: true, watchdog: sd_notify::watchdog_enabled().map(watchdog) }
    }

    /// The agent collects and sends from now on.
    pub fn ready(&self) {
        if self.present {
            tell(NotifyState::Ready);
        }
    }

    /// The agent ends.
    pub fn stopping(&self) {
        if self.present {
            tell(NotifyState::Stopping);
        }
    }

    /// When the cadence must wake for a sign of life even if no tick is due.
    #[must_use]
    pub fn next_sign(&self) -> Option<Instant> {
        self.watchdog.as_ref().map(|watchdog| watchdog.last.get() + watchdog.limit / AT_THE_LATEST)
    }

    /// Sends a sign of life by way of the runtime, if it is time for one.
    pub fn alive(&self, now: Instant) {
        let Some(watchdog) = self.watchdog.as_ref().filter(|watchdog| watchdog.is_due(now)) else { return };
        watchdog.last.set(now);
        watchdog.runtime.spawn(async { tell(NotifyState::Watchdog) });
    }
}

impl Watchdog {
    fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last.get()) >= self.limit / WITH_A_TICK
    }
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!("cannot notify the service manager ({error})");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn without_a_watchdog_nothing_wakes_the_cadence() {
        assert_eq!(ServiceManager::default().next_sign(), None);
    }

    #[tokio::test]
    async fn ticks_carry_the_signs_and_a_long_interval_is_interrupted_for_them() {
        let start = Instant::now();
        let watchdog = Watchdog { limit: MINUTE, last: Cell::new(start), runtime: Handle::current() };
        assert!(!watchdog.is_due(start + MINUTE / 6), "ticks every 10 s need no sign at each");
        assert!(watchdog.is_due(start + MINUTE / 3));
        let manager = ServiceManager { present: false, watchdog: Some(watchdog) };
        assert_eq!(manager.next_sign(), Some(start + MINUTE / 2));
    }
}
