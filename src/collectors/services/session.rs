//! Schedules the requests to systemd and logs failures. The list of units is valid for ten seconds and restarts for a
//! minute, because each reply costs systemd CPU time.

use std::io;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::host::Reader;
use crate::host::systemd::{Property, Systemd, Unit, Value};

/// How long a list of units is valid. Slightly less than the usual interval, which is not exact.
const LIST_LASTS: Duration = Duration::from_millis(9_500);
/// How long counts of restarts are valid.
const RESTARTS_LAST: Duration = Duration::from_millis(59_500);

/// A client of systemd with its schedule.
pub(in crate::collectors) struct Session {
    systemd: Systemd,
    listed: Option<Instant>,
    asked: Option<Instant>,
    health: Health,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    /// There is no bus or no systemd on it, which is normal.
    Absent,
    /// This user may not use the bus or call systemd.
    Denied,
    Failed,
}

/// The right that is missing.
const DENIED: &str = "access is denied; the agent's user needs write access to this socket and a D-Bus policy that lets it send to \
                      org.freedesktop.systemd1";

impl Session {
    pub(in crate::collectors) fn new(systemd: Systemd) -> Self {
        Self { systemd, listed: None, asked: None, health: Health::Good }
    }

    /// Whether a new list is needed; if so, its validity starts now.
    pub(in crate::collectors) fn is_due(&mut self) -> bool {
        let due = self.listed.is_none_or(|when| when.elapsed() >= LIST_LASTS);
        if due {
            self.listed = Some(Instant::now());
        }
        due
    }

    /// Requests the units. Half of the time is reserved for the requests that follow.
    pub(in crate::collectors) fn units(&mut self, reader: &Reader) -> io::Result<Vec<Unit>> {
        self.systemd.units(reader.time_left() / 2)
    }

    pub(in crate::collectors) fn properties(
        &mut self,
        asked: &[Property<'_>],
        reader: &Reader,
    ) -> io::Result<Vec<Option<Value>>> {
        self.systemd.properties(asked, reader.time_left() / 2)
    }

    pub(in crate::collectors) fn restarts_are_due(&self) -> bool {
        self.asked.is_none_or(|when| when.elapsed() >= RESTARTS_LAST)
    }

    /// The number of restarts of each service; `None` if it is unknown (before systemd 235).
    pub(in crate::collectors) fn restarts(
        &mut self,
        services: &[&Unit],
        reader: &Reader,
    ) -> io::Result<Vec<Option<u64>>> {
        let counts = self.systemd.restarts(services, reader.time_left() / 2)?;
        self.asked = Some(Instant::now());
        Ok(counts)
    }

    /// Whether the requests failed, so that outdated values must be dropped. Logs changes of the state.
    pub(in crate::collectors) fn failed(&mut self, result: io::Result<()>, reader: &mut Reader) -> bool {
        let path = self.systemd.socket().clone();
        let (health, error) = match result {
            Ok(()) => (Health::Good, None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Health::Absent, Some(error)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => (Health::Denied, Some(error)),
            Err(error) => (Health::Failed, Some(error)),
        };
        let before = std::mem::replace(&mut self.health, health);
        let Some(error) = error else {
            if matches!(before, Health::Denied | Health::Failed) {
                info!("{} answers again", path.display());
            }
            return false;
        };
        // After a timeout, keep the schedule: a bus that does not answer would delay each collection.
        self.listed = self.listed.filter(|_| error.kind() == io::ErrorKind::TimedOut);
        match health {
            Health::Denied => {
                reader.note(&path, false, DENIED);
                if before != Health::Denied {
                    warn!("{}: {DENIED}; units and services are left out until access is allowed", path.display());
                }
            }
            Health::Failed => {
                reader.fail();
                reader.note(&path, true, error.to_string());
                if before != Health::Failed {
                    warn!(
                        "{} does not answer ({error}); units and services are left out until it does",
                        path.display()
                    );
                }
            }
            Health::Good | Health::Absent => reader.note(path, false, ""),
        }
        true
    }
}
