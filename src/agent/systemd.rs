//! Notifications to the service manager: ready, watchdog, stopping (sd_notify(3)). Does nothing without a service
//! manager.
//!
//! The watchdog must detect both a stuck collection and a stuck runtime. The cadence requests a notification only while
//! it waits for its tick, never during a collection, and the runtime's thread sends it. A notification therefore means
//! that both are running.

use std::cell::Cell;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::runtime::Handle;
use tracing::warn;

/// Divisors of the watchdog timeout. A notification is due after the first fraction when a tick wakes the cadence, and
/// after the second fraction in any case.
const WITH_A_TICK: u32 = 4;
const AT_THE_LATEST: u32 = 2;

#[derive(Debug, Default)]
pub struct ServiceManager {
    present: bool,
    watchdog: Option<Watchdog>,
}

#[derive(Debug)]
struct Watchdog {
    limit: Duration,
    last: Cell<Instant>,
    runtime: Handle,
}

impl ServiceManager {
    /// The service manager from the environment (`NOTIFY_SOCKET`, `WATCHDOG_USEC`), if any.
    #[must_use]
    pub fn from_environment(runtime: &Handle) -> Self {
        let watchdog = |limit| Watchdog { limit, last: Cell::new(Instant::now()), runtime: runtime.clone() };
        Self { present: true, watchdog: sd_notify::watchdog_enabled().map(watchdog) }
    }

    /// A watchdog without a service manager.
    #[cfg(test)]
    pub fn with_watchdog(limit: Duration, runtime: &Handle) -> Self {
        Self {
            present: false,
            watchdog: Some(Watchdog { limit, last: Cell::new(Instant::now()), runtime: runtime.clone() }),
        }
    }

    /// Reports that the agent is running.
    pub fn ready(&self) {
        if self.present {
            notify(NotifyState::Ready);
        }
    }

    /// Reports that the agent is stopping.
    pub fn stopping(&self) {
        if self.present {
            notify(NotifyState::Stopping);
        }
    }

    /// When the cadence must wake for a watchdog notification, even if no tick is due.
    #[must_use]
    pub fn next_sign(&self) -> Option<Instant> {
        self.watchdog.as_ref().map(|watchdog| watchdog.last.get() + watchdog.limit / AT_THE_LATEST)
    }

    /// Sends a watchdog notification through the runtime, if one is due.
    pub fn alive(&self, now: Instant) {
        let Some(watchdog) = self.watchdog.as_ref().filter(|watchdog| watchdog.is_due(now)) else { return };
        watchdog.last.set(now);
        watchdog.runtime.spawn(async { notify(NotifyState::Watchdog) });
    }
}

impl Watchdog {
    fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last.get()) >= self.limit / WITH_A_TICK
    }
}

fn notify(state: NotifyState<'_>) {
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
