//! When systemd is asked, and what is logged where it does not answer. The list of units stands for ten seconds, restarts for
//! a minute: each answer costs systemd work.

use std::io;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::host::Reader;
use crate::host::systemd::{Property, Systemd, Unit, Value};

/// How long a list of units stands. A little less than the usual interval, which is not exact.
const LIST_LASTS: Duration = Duration::from_millis(9_500);
/// How long counts of restarts stand.
const RESTARTS_LAST: Duration = Duration::from_millis(59_500);

/// A client of systemd with its timetable.
pub(in crate::collectors) struct Session {
    systemd: Systemd,
    listed: Option<Instant>,
    asked: Option<Instant>,
    health: Health,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    /// There is no bus, or no systemd on it, which is normal.
    Absent,
    Failed,
}

impl Session {
    pub(in crate::collectors) fn new(systemd: Systemd) -> Self {
        Self { systemd, listed: None, asked: None, health: Health::Good }
    }

    /// Whether the list does not stand any more; the next one is taken from now on.
    pub(in crate::collectors) fn is_due(&mut self) -> bool {
        let due = self.listed.is_none_or(|when| when.elapsed() >= LIST_LASTS);
        if due {
            self.listed = Some(Instant::now());
        }
        due
    }

    /// The units. What is asked after it must fit into the time as well.
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

    /// How often systemd restarted each of the services; `None` where it does not say, before systemd 235.
    pub(in crate::collectors) fn restarts(
        &mut self,
        services: &[&Unit],
        reader: &Reader,
    ) -> io::Result<Vec<Option<u64>>> {
        let counts = self.systemd.restarts(services, reader.time_left() / 2)?;
        self.asked = Some(Instant::now());
        Ok(counts)
    }

    /// Whether the questions failed, so that what is not known any more is to be left out. Logs when a state begins.
    pub(in crate::collectors) fn failed(&mut self, result: io::Result<()>, reader: &mut Reader) -> bool {
        let path = self.systemd.socket().clone();
        let (health, error) = match result {
            Ok(()) => (Health::Good, None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Health::Absent, Some(error)),
            Err(error) => (Health::Failed, Some(error)),
        };
        let before = std::mem::replace(&mut self.health, health);
        let Some(error) = error else {
            if before == Health::Failed {
                info!("{} answers again", path.display());
            }
            return false;
        };
        // A bus that does not answer would hold up each collection.
        self.listed = self.listed.filter(|_| error.kind() == io::ErrorKind::TimedOut);
        if health == Health::Absent {
            reader.note(path, false, "");
        } else {
            reader.fail();
            reader.note(&path, true, error.to_string());
            if before != Health::Failed {
                warn!("{} does not answer ({error}); units and services are left out until it does", path.display());
            }
        }
        true
    }
}
